"""The pool over real anvils, behind endpoints that lie, lag, refuse or are not there."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from relay import chain_pool
from relay.chain import Chain
from relay.chain_limits import EndpointLimits
from relay.chain_pool import ChainPool
from relay.chain_types import ChainAnswerError, ChainUnavailableError, ProviderState, Receipt
from relay.keccak import keccak
from relay.outbox.providers import names
from relay.outbox.send_errors import SendClass, classify
from relay.provider_pool import ROUND_S
from relay.signer import LocalSigner
from tests.harness.fault_proxy import (
    BAD_GATEWAY,
    DROPPED_ANSWER,
    DROPPED_REQUEST,
    ERRORS,
    STALE_HEAD,
    TOO_MANY,
    UNAVAILABLE,
    WRONG_CHAIN,
    Fault,
    FaultProxy,
    Manners,
    always,
    fault_proxy,
    honest,
    script,
)
from tests.harness.nodes import DEVELOPMENT_KEYS, Node, anvil
from tests.harness.rpc import rpc

RICH = LocalSigner(bytes.fromhex(DEVELOPMENT_KEYS[0][2:]))
NOBODY_THERE = "http://127.0.0.1:1/s3cret-token"
SURELY_THERE = {SendClass.ACCEPTED, SendClass.ALREADY_KNOWN, SendClass.NONCE_TOO_LOW}  # or mined already
SLOW = Fault("slow", delay_s=600)


class Clock:
    """A clock that only moves when it is moved: then rests end and rounds are due, however slow the machine is."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return self.ahead_s


@pytest.fixture
def node() -> Iterator[Node]:
    """A chain that makes a block per transaction."""
    with anvil() as running:
        yield running


@pytest.fixture
def front() -> Iterator[Callable[[Node], FaultProxy]]:
    """`front(node)` is another endpoint of that node."""
    with ExitStack() as stack:
        yield lambda node: stack.enter_context(fault_proxy(node.url))


@asynccontextmanager
async def pool(
    *urls: str, clock: Clock | None = None, timeout_s: float = 60.0, limits: EndpointLimits | None = None
) -> AsyncIterator[ChainPool]:
    """A pool over these URLs, as `relay.startup` makes it."""
    chains = [Chain(url, timeout_s, limits or EndpointLimits()) for url in urls]
    made = ChainPool(list(zip(names(urls), chains, strict=True)), clock=clock or time.monotonic)
    try:
        yield made
    finally:
        await made.close()


def run(job: Callable[[], Awaitable[None]]) -> None:
    """Run one asynchronous test."""

    async def body() -> None:
        await job()

    asyncio.run(body())


def mine(node: Node, count: int = 1, *, seconds: int = 1) -> None:
    """Make blocks, so many seconds apart."""
    rpc(node.url, "anvil_mine", hex(count), hex(seconds))


def transfer(nonce: int) -> tuple[bytes, bytes]:
    """A signed transaction of the rich account; (raw, hash)."""
    fields = {"chainId": 31337, "nonce": nonce, "gas": 21_000, "to": RICH.address, "value": 0, "data": b"",
              "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}  # fmt: skip
    return RICH.sign_transaction(fields)


async def mined(chain: ChainPool, tx_hash: bytes) -> Receipt:
    """The receipt, once there is one."""
    for _ in range(3_000):
        receipt = (await chain.receipts([tx_hash]))[0]
        if receipt is not None:
            return receipt
        await asyncio.sleep(0.02)
    raise AssertionError("not mined")


def state(chain: ChainPool, index: int) -> ProviderState:
    """What operators see of one provider."""
    return chain.providers()[index]


Front = Callable[[Node], FaultProxy]


# ------------------------------------------------------------------------------- who is asked


def test_reads_go_to_the_first_and_sends_to_all(node: Node, front: Front) -> None:
    first, second = front(node), front(node)

    async def job() -> None:
        async with pool(first.url, second.url) as chain:
            assert await chain.chain_id() == 31337
            looks = second.asked.total()
            await chain.head()
            await chain.balance(RICH.address)
            assert second.asked.total() == looks, "the second is only looked at"
            raw, tx_hash = transfer(0)
            answer = await chain.send_raw(raw)
            assert answer.accepted
            assert [name for name, _ in answer.by] == [name for name, *_ in chain.providers()]
            assert first.asked["eth_sendRawTransaction"] == second.asked["eth_sendRawTransaction"] == 1
            assert (await mined(chain, tx_hash)).succeeded
            assert all(one.healthy for one in chain.providers())

    run(job)


def test_a_dead_first_provider_costs_nothing_but_its_name(node: Node) -> None:
    async def job() -> None:
        async with pool(NOBODY_THERE, node.url) as chain:
            assert await chain.chain_id() == 31337
            assert (await chain.send_raw(transfer(0)[0])).accepted
            assert chain.leader() == 1
            dead = state(chain, 0)
            assert (dead.name, dead.healthy, dead.head) == ("127.0.0.1:1", False, None)
            assert "s3cret-token" not in repr(chain.providers())
            assert dead.reason

    run(job)


def test_a_provider_that_hangs_does_not_hold_up_the_start(node: Node, front: Front) -> None:
    hung = front(node)
    hung.plan = always(Fault("hung", delay_s=600))

    async def job() -> None:
        async with pool(hung.url, node.url, timeout_s=300) as chain, asyncio.timeout(60):
            assert await chain.chain_id() == 31337
            assert not state(chain, 0).healthy

    run(job)


def test_nobody_answers(front: Front) -> None:
    async def job() -> None:
        async with pool(NOBODY_THERE, "http://127.0.0.1:2") as chain:
            with pytest.raises(ChainUnavailableError) as raised:
                await chain.head()
            assert "127.0.0.1:1: " in str(raised.value)
            assert "127.0.0.1:2: " in str(raised.value)
            assert "s3cret" not in str(raised.value)
            answer = await chain.send_raw(b"\x01")
            assert (answer.accepted, answer.code) == (False, None)
        async with pool(NOBODY_THERE) as alone:
            with pytest.raises(ChainUnavailableError, match=r"^Client"):
                await alone.head()

    run(job)


# ------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("fault", [DROPPED_REQUEST, DROPPED_ANSWER, UNAVAILABLE, BAD_GATEWAY, TOO_MANY], ids=str)
def test_a_failing_provider_is_replaced_within_the_same_call(fault: Fault, node: Node, front: Front) -> None:
    first = front(node)
    clock = Clock()

    async def job() -> None:
        async with pool(first.url, node.url, clock=clock) as chain:
            await chain.head()
            first.plan = always(fault)
            assert (await chain.head()).number == 0
            assert chain.leader() == 1
            asked = first.asked.total()
            for _ in range(5):
                await chain.head()
            assert first.asked.total() == asked, "it rests"
            first.plan = honest
            clock.ahead_s += 20
            await asyncio.sleep(1.1)  # what it asked for with Retry-After
            await chain.examine()
            assert chain.leader() == 0
            assert state(chain, 0).healthy

    run(job)


@pytest.mark.parametrize("fault", [DROPPED_REQUEST, DROPPED_ANSWER, UNAVAILABLE], ids=str)
def test_a_single_endpoint_is_asked_again_for_reads_and_never_for_sends(fault: Fault, node: Node, front: Front) -> None:
    only = front(node)

    async def job() -> None:
        async with pool(only.url) as chain:
            await chain.chain_id()
            only.plan = script(fault, fault)
            assert (await chain.head()).number == 0
            assert only.met[fault.name] == 2
            only.plan = always(fault)
            assert (await chain.send_raw(transfer(0)[0])).code is None
            assert only.asked["eth_sendRawTransaction"] == 1
            with pytest.raises(ChainUnavailableError):
                await chain.head()
            only.plan = honest
            assert (await chain.head()).number in (0, 1)

    run(job)


def test_errors_of_the_application_count_against_nobody(node: Node, front: Front) -> None:
    first = front(node)

    async def job() -> None:
        async with pool(first.url, node.url) as chain:
            await chain.chain_id()
            first.plan = always(Fault("error", forwarded=False, error=(-32000, "insufficient funds")))
            for _ in range(3):
                with pytest.raises(ChainAnswerError):
                    await chain.estimate_gas(RICH.address, RICH.address, b"")
            assert chain.leader() == 0
            assert state(chain, 0).healthy

    run(job)


def test_an_endpoint_s_own_trouble_is_asked_around(node: Node, front: Front) -> None:
    first = front(node)

    async def job() -> None:
        async with pool(first.url, node.url) as chain:
            await chain.chain_id()
            first.plan = always(ERRORS)
            assert await chain.balance(RICH.address) > 0
            await chain.examine()
            assert state(chain, 0).healthy, "an error object never counts against health"
        async with pool(first.url) as alone:
            first.plan = honest
            await alone.chain_id()
            first.plan = script(ERRORS, ERRORS)
            assert await alone.balance(RICH.address) > 0
            first.plan = always(ERRORS)
            with pytest.raises(ChainAnswerError, match="internal error"):
                await alone.balance(RICH.address)

    run(job)


def test_finality_does_not_shrink_because_an_endpoint_is_in_trouble(node: Node, front: Front) -> None:
    only = front(node)
    mine(node, 100)

    async def job() -> None:
        async with pool(only.url) as chain:
            head = await chain.head()
            only.plan = script(*[ERRORS] * 3)
            with pytest.raises(ChainAnswerError):
                await chain.finalized(0, head)
            only.plan = honest
            tagged = await chain.finalized(0, head)
            assert tagged < head.number - 12
            only.manners = Manners(knows_finalized=False)
            with pytest.raises(ChainAnswerError):
                await chain.finalized(0, head)
        async with pool(only.url) as fresh:
            assert await fresh.finalized(0, head) == head.number - 12, "a chain that never knew the tag"

    run(job)


def test_retry_after_is_honoured_by_a_single_endpoint_too(node: Node, front: Front) -> None:
    only = front(node)
    long = Fault("429", forwarded=False, status=429, headers={"Retry-After": "30"})

    async def job() -> None:
        async with pool(only.url) as chain:
            await chain.chain_id()
            only.plan = script(long)
            with pytest.raises(ChainUnavailableError) as raised:
                await chain.head()
            assert raised.value is not None
            asked = only.asked.total()
            with pytest.raises(ChainUnavailableError, match=r"left alone for \d+ s more"):
                await chain.head()
            assert only.asked.total() == asked, "not a single request more"
        async with pool(only.url) as chain:
            await chain.chain_id()
            only.plan = script(TOO_MANY)  # Retry-After: 1
            began = time.monotonic()
            await chain.head()
            assert time.monotonic() - began >= 0.9, "a short rest is waited for"

    run(job)


# ------------------------------------------------------------------------------------- chains


def test_another_chain_is_refused_and_named(node: Node) -> None:
    with anvil("--chain-id", "31338") as other:

        async def job() -> None:
            async with pool(node.url, other.url) as chain:
                assert await chain.chain_id() == 31337
                assert state(chain, 1).reason == "it is on chain 31338, not 31337"
                answer = await chain.send_raw(transfer(0)[0])
                assert [name for name, _ in answer.by] == [state(chain, 0).name], "nothing is sent there"

        run(job)


def test_the_same_chain_id_on_another_chain_is_refused(node: Node) -> None:
    with anvil("--timestamp", "1700000000") as other:

        async def job() -> None:
            async with pool(node.url, other.url, node.url) as chain:
                await chain.chain_id()
                assert [one.healthy for one in chain.providers()] == [True, False, True]
                assert "its block 0 is" in state(chain, 1).reason

        run(job)


def test_the_majority_is_right_about_the_chain(node: Node) -> None:
    with anvil("--chain-id", "31338") as other:

        async def job() -> None:
            async with pool(other.url, node.url, node.url) as chain:
                assert await chain.chain_id() == 31337
                assert [one.healthy for one in chain.providers()] == [False, True, True]

        run(job)


def test_an_endpoint_that_moves_to_another_chain_is_refused_until_it_is_back(node: Node, front: Front) -> None:
    first, clock = front(node), Clock()

    async def job() -> None:
        async with pool(first.url, node.url, clock=clock) as chain:
            await chain.head()
            first.plan = always(WRONG_CHAIN)
            await chain.examine()
            assert chain.leader() == 1
            assert "it is on chain 1, not 31337" in state(chain, 0).reason
            first.plan = honest
            clock.ahead_s += 31
            await chain.examine()
            assert chain.leader() == 0
        async with pool(first.url, clock=clock) as alone:
            await alone.head()
            first.plan = always(WRONG_CHAIN)
            await alone.examine()
            with pytest.raises(ChainUnavailableError, match="it is on chain 1, not 31337"):
                await alone.head()
            assert not (await alone.send_raw(transfer(0)[0])).accepted
            assert first.asked["eth_sendRawTransaction"] == 0

    run(job)


def test_an_endpoint_that_comes_back_as_another_chain_is_looked_at_before_it_is_asked(node: Node, front: Front) -> None:
    only, clock = front(node), Clock()

    async def job() -> None:
        async with pool(only.url, clock=clock) as chain:
            await chain.head()
            only.plan = always(DROPPED_REQUEST)
            with pytest.raises(ChainUnavailableError):
                await chain.balance(RICH.address)
            clock.ahead_s += 5
            only.plan = always(WRONG_CHAIN)
            asked = only.asked["eth_getBalance"]
            with pytest.raises(ChainUnavailableError, match="it is on chain 1"):
                await chain.balance(RICH.address)
            assert only.asked["eth_getBalance"] == asked

    run(job)


def test_another_fork_at_a_final_height_is_refused(node: Node, front: Front) -> None:
    def forged(method: str, params: list[Any], result: Any) -> Any:
        return result | {"hash": "0x" + "fe" * 32} if result and params[0] == hex(5) else result

    liar, clock = front(node), Clock()
    mine(node, 20)

    async def job() -> None:
        async with pool(node.url, liar.url, clock=clock) as chain:
            head = await chain.head()
            assert await chain.finalized(15, head) == 5
            liar.plan = always(Fault("forged", methods=frozenset({"eth_getBlockByNumber"}), lie=forged))
            await chain.examine()
            assert not state(chain, 1).healthy
            assert "its block 5 is 0xfefefefe" in state(chain, 1).reason
            liar.plan = honest
            clock.ahead_s += 31
            await chain.examine()
            assert state(chain, 1).healthy

    run(job)


# ----------------------------------------------------------------------------------- lag, back


def test_a_provider_that_lags_is_passed_over_until_it_caught_up(node: Node, front: Front) -> None:
    first, clock = front(node), Clock()
    mine(node, 10)

    async def job() -> None:
        async with pool(first.url, node.url, clock=clock) as chain:
            assert (await chain.head()).number == 10
            mine(node, 6, seconds=12)
            first.plan = always(Fault("stale", lag_blocks=6))
            await chain.examine()
            assert state(chain, 0)[1:] == (False, 10, 6, "its head is 6 blocks behind")
            assert (await chain.head()).number == 16
            first.plan = always(STALE_HEAD)  # three blocks are no lag
            await chain.examine()
            assert state(chain, 0)[1:] == (True, 13, 3, "")

    run(job)


def test_a_head_that_goes_back_is_not_passed_on(node: Node, front: Front) -> None:
    first, clock = front(node), Clock()
    mine(node, 10)

    async def job() -> None:
        async with pool(first.url, node.url, clock=clock) as chain:
            for _ in range(4):
                await chain.head()
                mine(node)
            assert (await chain.head()).number == 14
            first.plan = always(STALE_HEAD)
            assert (await chain.head()).number == 14
            assert "went back from block 14 to 11" in state(chain, 0).reason
            first.plan = honest
            clock.ahead_s += 3
            await chain.examine()
            assert state(chain, 0).healthy

    run(job)


def test_a_real_reorg_demotes_nobody(node: Node, front: Front) -> None:
    first = front(node)
    mine(node, 10)

    async def job() -> None:
        async with pool(first.url, node.url) as chain:
            for _ in range(4):
                before = await chain.head()
                mine(node)
            before = await chain.head()
            rpc(node.url, "anvil_reorg", 3, [])
            after = await chain.head()
            assert (after.number, after.hash != before.hash) == (before.number, True)
            rpc(node.url, "anvil_rollback", 2)
            mine(node, 1, seconds=77)
            assert (await chain.head()).number == before.number - 1
            await chain.examine()
            assert all(one.healthy for one in chain.providers())

    run(job)


# --------------------------------------------------------------------------------------- sends


def test_a_send_succeeds_where_one_provider_takes_it(node: Node, front: Front) -> None:
    first = front(node)

    async def job() -> None:
        async with pool(first.url, node.url) as chain:
            await chain.chain_id()
            refusal = Fault(
                "no", frozenset({"eth_sendRawTransaction"}), forwarded=False, error=(-32000, "txpool is full")
            )
            first.plan = always(refusal)
            answer = await chain.send_raw(transfer(0)[0])
            assert answer.accepted
            assert [(one.accepted, one.message) for _, one in answer.by] == [(False, "txpool is full"), (True, "")]
            assert state(chain, 0).healthy, "a refusal is an answer"
            first.plan = always(DROPPED_ANSWER)
            answer = await chain.send_raw(transfer(1)[0])
            assert classify(answer) in SURELY_THERE, answer
            assert not state(chain, 0).healthy

    run(job)


def test_a_slow_provider_does_not_hold_up_sends(node: Node, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = front(node)

    async def job() -> None:
        async with pool(node.url, slow.url, timeout_s=300) as chain, asyncio.timeout(60):
            await chain.chain_id()
            slow.plan = always(SLOW)
            assert (await chain.send_raw(transfer(0)[0])).accepted
            assert state(chain, 1).reason == "no answer yet"
            monkeypatch.setattr(chain_pool, "SEND_GRACE_S", 300)  # it is not waited for again
            assert (await chain.send_raw(transfer(1)[0])).accepted

    run(job)


# --------------------------------------------------------------------------------- confirmation


def test_bad_news_needs_a_second_provider(node: Node, front: Front) -> None:
    first, clock = front(node), Clock()
    raw, tx_hash = transfer(0)
    ghost = keccak(b"never sent")

    async def job() -> None:
        async with pool(first.url, node.url, clock=clock) as chain:
            assert (await chain.send_raw(raw)).accepted
            receipt = await mined(chain, tx_hash)
            assert await chain.confirm_absent(RICH.address, [ghost], 0, 1)
            assert not await chain.confirm_absent(RICH.address, [ghost], 1, 1), "the nonce is not used"
            assert not await chain.confirm_absent(RICH.address, [ghost, tx_hash], 0, 1), "one of them is mined"
            assert not await chain.confirm_absent(RICH.address, [ghost], 0, 99), "nobody has that block"
            assert not await chain.confirm_failed(tx_hash, receipt.block_hash), "it did not fail"
            first.plan = always(Fault("none", frozenset({"eth_getTransactionReceipt"}), lie=lambda *_: None))
            assert not await chain.confirm_absent(RICH.address, [tx_hash], 0, 1), "the other one shows it"
            first.plan = always(DROPPED_REQUEST)
            assert not await chain.confirm_absent(RICH.address, [ghost], 0, 1), "no second one answers"
        async with pool(node.url) as alone:
            assert await alone.confirm_absent(RICH.address, [ghost], 0, 1)
            assert await alone.confirm_failed(ghost, bytes(32))

    run(job)


def test_a_failed_transaction_is_confirmed_by_two(node: Node, front: Front) -> None:
    first = front(node)
    # Deploying one INVALID opcode fails and is mined all the same.
    fields = {"chainId": 31337, "nonce": 0, "gas": 100_000, "to": None, "value": 0, "data": b"\xfe",
              "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9}  # fmt: skip
    raw, tx_hash = RICH.sign_transaction(fields)

    async def job() -> None:
        async with pool(first.url, node.url) as chain:
            assert (await chain.send_raw(raw)).accepted
            receipt = await mined(chain, tx_hash)
            assert not receipt.succeeded
            assert await chain.confirm_failed(tx_hash, receipt.block_hash)
            assert not await chain.confirm_failed(tx_hash, bytes(32)), "in another block"
            first.plan = always(
                Fault("flip", frozenset({"eth_getTransactionReceipt"}), lie=lambda _m, _p, r: r | {"status": "0x1"})
            )
            assert not await chain.confirm_failed(tx_hash, receipt.block_hash), "they contradict each other"

    run(job)


# ------------------------------------------------------------------------------ endpoint limits


def test_batches_shrink_to_what_the_endpoint_takes_and_stay_so(node: Node, front: Front) -> None:
    only = front(node)
    mine(node, 60)

    async def job() -> None:
        for allowed, settles in ((7, 6), (1, 1), (0, 1)):
            only.manners = Manners(batch_max=allowed)
            chain = Chain(only.url)
            found = await chain.blocks(range(60))
            assert [block.number for block in found if block is not None] == list(range(60))
            refused = only.met["batch refused"]
            await chain.blocks(range(60))
            assert only.met["batch refused"] == refused, "learnt once"
            assert settles <= max(allowed, 1)
            await chain.close()

    run(job)


def test_logs_are_asked_for_in_parts_where_ranges_are_refused(node: Node, front: Front) -> None:
    only = front(node)
    emitter = "0x" + "e1" * 20
    rpc(node.url, "anvil_setCode", emitter, "0x60006000a000")  # LOG0 of nothing
    for _ in range(5):
        rpc(node.url, "eth_sendTransaction", {"from": "0x" + RICH.address.hex(), "to": emitter})
        mine(node, 97)

    async def job() -> None:
        plain = Chain(node.url)
        chain = Chain(only.url)
        expected = await plain.logs(bytes.fromhex(emitter[2:]), [], 0)
        assert len(expected) == 5
        only.manners = Manners(logs_blocks_max=50)
        for last in (None, 400, 3):
            found = await chain.logs(bytes.fromhex(emitter[2:]), [], 0, last)
            assert found == [log for log in expected if last is None or log.block_number <= last]
        refused = only.met["refused call"]
        await chain.logs(bytes.fromhex(emitter[2:]), [], 0, 400)
        assert only.met["refused call"] == refused, "learnt once"
        assert refused <= 2, "the refusal names its limit"
        only.plan = always(Fault("413", frozenset({"eth_getLogs"}), status=413))
        with pytest.raises(ChainUnavailableError, match="413"):
            await chain.logs(bytes.fromhex(emitter[2:]), [], 0, 10)  # refused down to one block: not for its width
        await chain.close()
        await plain.close()

    run(job)


def test_a_rate_limit_is_kept_from_our_side(node: Node, front: Front) -> None:
    only = front(node)
    only.manners = Manners(per_second=12)

    async def job() -> None:
        async with pool(only.url, limits=EndpointLimits(calls_per_s=10)) as chain:
            began = time.monotonic()
            for _ in range(25):
                await chain.balance(RICH.address)
            assert time.monotonic() - began >= 2.3
            assert only.met["rate limit"] == 0

    run(job)


def test_rounds_come_beside_the_requests_and_are_few(node: Node, front: Front) -> None:
    first, second, clock = front(node), front(node), Clock()

    async def job() -> None:
        async with pool(first.url, second.url, clock=clock) as chain:
            await chain.head()
            at_start = second.asked.total()
            for _ in range(50):
                await chain.head()
            assert (first.asked.total(), second.asked.total()) == (at_start + 51, at_start)
            clock.ahead_s += ROUND_S
            await chain.head()
            async with asyncio.timeout(60):
                while second.asked["eth_chainId"] < 2:  # noqa: ASYNC110 - the round runs beside
                    await asyncio.sleep(0.02)
            assert second.asked["eth_chainId"] == 2
        only = front(node)
        async with pool(only.url, clock=clock) as alone:
            await alone.head()
            at_start = only.asked.total()
            for _ in range(50):
                await alone.head()
            assert only.asked.total() == at_start + 50, "one endpoint costs nothing more"

    run(job)
