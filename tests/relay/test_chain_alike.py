"""One suite over one endpoint and over a pool: whoever asks the chain need not know which of them it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from relay.chain import Chain
from relay.chain_pool import ChainPool
from relay.chain_types import ChainAnswerError, ChainUnavailableError, Receipt, SendAnswer
from relay.contract import decode_result, encode_call, game_key, revert_name
from relay.deployment import Roles, deploy, publish_rules, rules_active, verify
from relay.keccak import keccak
from relay.outbox.desk import OutboxChain
from relay.outbox.providers import names
from relay.outbox.send_errors import SendClass, classify
from relay.signer import LocalSigner
from tests.harness.chains import actor
from tests.harness.nodes import DEVELOPMENT_KEYS, anvil
from tests.harness.rpc import rpc

ADMIN = LocalSigner(bytes.fromhex(DEVELOPMENT_KEYS[0][2:]))
RULES = b'{"ruleset":"test@1"}'
NOBODY_THERE = "http://127.0.0.1:1"
Asked = Chain | ChainPool


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A chain that mines each transaction at once, shared by the suite."""
    with anvil() as node:
        yield node.url


@asynccontextmanager
async def opened(kind: str, url: str) -> AsyncIterator[Asked]:
    """The chain in one of its forms."""
    urls = {"pool of one": [url], "pool of two": [url, url], "dead first": [NOBODY_THERE, url]}.get(kind)
    chain: Asked = Chain(url) if urls is None else ChainPool(list(zip(names(urls), map(Chain, urls), strict=True)))
    try:
        yield chain
    finally:
        await chain.close()


@pytest.fixture(params=["endpoint", "pool of one", "pool of two", "dead first"])
def ask(request: pytest.FixtureRequest, url: str) -> Callable[[Callable[[Asked], Awaitable[None]]], None]:
    """`ask(job)` runs a job over the chain."""

    def over(job: Callable[[Asked], Awaitable[None]]) -> None:
        async def body() -> None:
            async with opened(str(request.param), url) as chain:
                await job(chain)

        asyncio.run(body())

    return over


Ask = Callable[[Callable[[Asked], Awaitable[None]]], None]


def plain(answer: SendAnswer) -> tuple[bool, int | None, str]:
    """An answer without who gave it."""
    return answer.accepted, answer.code, answer.message


async def transfer(chain: Asked, nonce: int, fee: int = 10**10) -> tuple[bytes, bytes]:
    """A signed transaction of the admin to itself."""
    fields = {"chainId": 31337, "nonce": nonce, "gas": 21_000, "to": ADMIN.address, "value": 0, "data": b"",
              "maxFeePerGas": fee, "maxPriorityFeePerGas": fee // 10}  # fmt: skip
    return ADMIN.sign_transaction(fields)


async def mined(chain: Asked, tx_hash: bytes) -> Receipt:
    """The receipt, once there is one."""
    for _ in range(200):
        receipt = (await chain.receipts([tx_hash]))[0]
        if receipt is not None:
            return receipt
        await asyncio.sleep(0.02)
    raise AssertionError("not mined")


def test_it_is_what_the_outbox_works_with(ask: Ask) -> None:
    async def job(chain: Asked) -> None:
        port: OutboxChain = chain
        assert (await port.head()).number >= 0

    ask(job)


def test_blocks(ask: Ask, url: str) -> None:
    async def job(chain: Asked) -> None:
        rpc(url, "anvil_mine", hex(20))
        assert await chain.chain_id() == 31337
        head = await chain.head()
        first, last, none = await chain.blocks([0, head.number, head.number + 9])
        assert first == await chain.block(0)
        assert (last, none) == (head, None)
        assert (await chain.block(head.number - 1)) is not None
        assert await chain.finalized(7, head) == head.number - 7
        assert 0 <= await chain.finalized(0, head) <= head.number

    ask(job)


def test_accounts_and_fees(ask: Ask) -> None:
    async def job(chain: Asked) -> None:
        fees = await chain.fees()
        assert fees.base is not None
        assert fees.price >= fees.base
        assert await chain.balance(ADMIN.address) > 10**18
        assert await chain.balance(actor("nobody").address) == 0
        assert await chain.code(ADMIN.address) == b""
        assert await chain.nonce(actor("nobody").address) == 0
        assert await chain.nonce(actor("nobody").address, 0) == 0

    ask(job)


def test_sending(ask: Ask) -> None:
    async def job(chain: Asked) -> None:
        nonce = await chain.nonce(ADMIN.address)
        raw, tx_hash = await transfer(chain, nonce)
        assert (await chain.receipts([tx_hash])) == [None]
        assert (await chain.send_raw(raw)).accepted
        receipt = await mined(chain, tx_hash)
        assert (receipt.tx_hash, receipt.succeeded, receipt.gas_used) == (tx_hash, True, 21_000)
        assert await chain.receipts([keccak(b"no"), tx_hash]) == [None, receipt]
        assert await chain.nonce(ADMIN.address) == nonce + 1
        assert classify(await chain.send_raw(raw)) in (SendClass.NONCE_TOO_LOW, SendClass.ALREADY_KNOWN)
        poor = await transfer(chain, nonce + 1, fee=10**30)
        assert classify(await chain.send_raw(poor[0])) is SendClass.INSUFFICIENT_FUNDS
        assert not plain(await chain.send_raw(b"\x02nonsense"))[0]

    ask(job)


def test_second_opinions(ask: Ask) -> None:
    async def job(chain: Asked) -> None:
        nonce = await chain.nonce(ADMIN.address)
        raw, tx_hash = await transfer(chain, nonce)
        await chain.send_raw(raw)
        block = (await mined(chain, tx_hash)).block_number
        told = await chain.confirm_absent(ADMIN.address, [keccak(b"no")], nonce, block)
        alone = isinstance(chain, ChainPool) and [one.healthy for one in chain.providers()] == [False, True]
        assert told is not alone, "two are configured and one is dead: nobody confirms"
        assert await chain.confirm_failed(tx_hash, bytes(32)) is (
            isinstance(chain, Chain) or len(chain.providers()) == 1
        )

    ask(job)


def test_the_contract(ask: Ask) -> None:
    async def job(chain: Asked) -> None:
        game = "streambeat"
        people = Roles(ADMIN.address, actor("signer").address, ADMIN.address, ADMIN.address)
        before = (await chain.head()).number
        made = await deploy(chain, ADMIN, people)
        await verify(chain, made.address, people)
        rules_hash = await publish_rules(chain, ADMIN, made.address, game, RULES)
        assert await rules_active(chain, made.address, game, rules_hash)
        asked = [encode_call("isRecorded", game_key(game), number) for number in range(120)]
        answers = await chain.calls(made.address, asked)
        assert [decode_result("isRecorded", answer) for answer in answers] == [False] * 120
        logs = await chain.logs(made.address, [], before)
        assert logs
        assert {log.address for log in logs} == {made.address}
        assert await chain.logs(made.address, [[logs[0].topics[0]], None], before, logs[0].block_number)
        assert await chain.logs(made.address, [keccak(b"no such event")], before) == []
        pause = encode_call("pause")
        with pytest.raises(ChainAnswerError) as raised:
            await chain.call(made.address, pause, actor("nobody").address)
        assert raised.value.revert is not None
        assert revert_name(raised.value.revert) == "AccessControlUnauthorizedAccount"
        with pytest.raises(ChainAnswerError):
            await chain.estimate_gas(actor("nobody").address, made.address, pause)
        assert await chain.estimate_gas(ADMIN.address, made.address, pause) > 21_000

    ask(job)


@pytest.mark.parametrize("kind", ["endpoint", "pool of one", "pool of two"])
def test_nobody_there(kind: str) -> None:
    async def body() -> None:
        async with opened(kind, NOBODY_THERE) as chain:
            with pytest.raises(ChainUnavailableError):
                await chain.head()
            with pytest.raises(ChainUnavailableError):
                await chain.logs(bytes(20), [], 0)
            accepted, code, message = plain(await chain.send_raw(b"\x01"))
            assert (accepted, code) == (False, None)
            assert message

    asyncio.run(body())
