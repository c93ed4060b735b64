"""web3 over our endpoint client, on a real node: its whole interface works, and our limits and errors stay."""

import asyncio

import pytest
from web3.exceptions import Web3RPCError

from relay.chain import Chain
from relay.chain_types import ChainUnavailableError
from relay.chain_web3 import NOTHING_SAID, Node, node, web3_over
from tests.conftest import Anvil
from tests.harness.fault_proxy import BAD_GATEWAY, Fault, always, fault_proxy

QUIET = Fault("says nothing of itself", methods=frozenset({"web3_clientVersion", "eth_syncing"}), error=(-32601, "no"))


def test_everything_web3_offers(anvil: Anvil) -> None:
    async def ask() -> None:
        chain = Chain(anvil.url)
        web3 = web3_over(chain)
        try:
            assert await web3.is_connected()
            assert await web3.eth.chain_id == anvil.chain_id
            block = await web3.eth.get_block("latest")
            assert block["hash"] == (await chain.head()).hash
            async with web3.batch_requests() as batch:
                batch.add(web3.eth.get_block(0))
                batch.add(web3.eth.get_block("latest"))
                first, last = await batch.async_execute()
            assert [dict(one)["number"] for one in (first, last)] == [0, block["number"]]
            with pytest.raises(Web3RPCError):
                await web3.manager.coro_request("no_such_method", [])  # type: ignore[arg-type]
        finally:
            await chain.close()

    asyncio.run(ask())


def test_a_node_is_asked_what_it_is(anvil: Anvil) -> None:
    async def ask(url: str) -> Node:
        chain = Chain(url)
        try:
            return await node(chain)
        finally:
            await chain.close()

    told = asyncio.run(ask(anvil.url))
    assert told.version.startswith("anvil/")
    assert told.blocks_left is None
    with fault_proxy(anvil.url) as proxy:
        proxy.plan = always(QUIET)
        assert asyncio.run(ask(proxy.url)) == (NOTHING_SAID, None)
        proxy.plan = always(BAD_GATEWAY)
        with pytest.raises(ChainUnavailableError, match="HTTP 502"):
            asyncio.run(ask(proxy.url))
