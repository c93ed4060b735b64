"""What is decided about a provider's answers without asking anybody: logs, ranges, ancestors, readiness, evidence."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from indexer.backfill import RangeSize
from indexer.chain import MalformedError, RefusedError, Rpc, TooMuchError, UnreachableError, UnsupportedError
from indexer.decoding import LogError, RpcLog, decode
from indexer.events import Header, Mark, Recorded
from indexer.evidence import Bodies, HttpEvidence, read
from indexer.fold import Evidence
from indexer.health import Health
from indexer.reorg import common_ancestor, confirmed, continues, linked, windows
from relay.contract import decode_log
from relay.keccak import keccak
from tests.indexer.fake_chain import CONTRACT, FakeChain
from tests.indexer.watching import GAME

CONTRACT_TEXT = "0x" + CONTRACT.hex()


def a_log() -> RpcLog:
    """A ScoreSubmitted."""
    chain = FakeChain()
    chain.submit(GAME, [(b"\x01" * 20, 2652)])
    chain.mine()
    return chain.blocks[1].logs[0]


def test_the_quick_decoder_agrees_with_the_general_one() -> None:
    log = a_log()
    [fact] = decode([log], CONTRACT_TEXT, {})
    event = decode_log([bytes.fromhex(topic[2:]) for topic in log.topics], bytes.fromhex(log.data[2:]))
    assert isinstance(fact, Recorded)
    names = ("game", "player", "round_id", "score", "evidence_hash", "rules_hash")
    assert [getattr(fact, name) for name in names] == [getattr(event, name) for name in names]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("removed", True),
        ("address", "0x" + "11" * 20),
        ("data", "0x12"),
        ("data", "0xzz"),
        ("topics", []),
        ("topics", ["0x" + "00" * 32]),
        ("block_number", "latest"),
        ("block_timestamp", "soon"),
        ("transaction_hash", "0x1"),
        ("log_index", "-0x1"),
    ],
)
def test_malformed_logs_are_refused(field: str, value: object) -> None:
    changed = msgspec.structs.replace(a_log(), **{field: value})
    if field == "topics" and value:
        assert decode([changed], CONTRACT_TEXT, {}) == []  # another event: none of ours
        return
    with pytest.raises(LogError):
        decode([changed], CONTRACT_TEXT, {})


def test_ranges_shrink_when_refused_and_grow_while_small() -> None:
    sizes = RangeSize(64)
    sizes.took(64, 10)
    assert sizes.size == 128
    assert sizes.refused(128) == 64
    for _ in range(8):
        sizes.took(sizes.size, 10)
    assert sizes.size <= 127  # what was refused is not asked for again at once
    for _ in range(60):
        sizes.took(sizes.size, 10)
    assert sizes.size > 1000  # but limits count results, so in time it is
    sizes.took(1000, 50_000)
    assert sizes.size == 500
    for _ in range(20):
        sizes.refused(sizes.size)
    assert sizes.size == 1


@given(st.lists(st.booleans(), min_size=1, max_size=3000))
def test_windows_cover_every_block_once(blocks: list[bool]) -> None:
    ours = [Mark(number, bytes([number % 256])) for number in range(len(blocks), 0, -1)]
    assert [mark for window in windows(ours) for mark in window] == ours


def test_ancestors_and_links() -> None:
    ours = [Mark(3, b"c"), Mark(2, b"b"), Mark(1, b"a")]
    assert common_ancestor(ours, {3: b"x", 2: b"b", 1: b"a"}) == Mark(2, b"b")
    assert common_ancestor(ours, {1: b"a"}) == Mark(1, b"a")
    assert common_ancestor(ours, {3: b"x"}) is None
    chain = [Header(2, b"b", b"a", 0), Header(3, b"c", b"b", 0)]
    assert linked(chain)
    assert not linked([chain[0], chain[1]._replace(parent=b"z")])
    assert continues(Mark(1, b"a"), chain)
    assert not continues(Mark(1, b"z"), chain)
    assert not continues(Mark(1, b"a"), [])
    assert (confirmed(10, 2), confirmed(1, 2)) == (8, -1)


def test_readiness_fails_by_name() -> None:
    health = Health(head=100, tip=99, polled_at_s=10.0, trouble="")
    assert all(check.ok for check in health.checks(11.0).values())
    assert not health.checks(100.0)["indexer.lag"].ok
    health.head = 1000
    assert not health.checks(11.0)["indexer.lag"].ok
    assert "901 blocks behind" in health.checks(11.0)["indexer.lag"].detail
    health.broken = "events are missing"
    assert health.checks(11.0)["indexer.events"] == (False, "events are missing")
    assert not Health().checks(0.0)["indexer.chain"].ok


def test_evidence_is_believed_only_if_it_is_what_was_asked_for() -> None:
    body = json.dumps({"submissionId": "sub_1", "evidenceLevel": 1, "more": [1]}).encode()
    assert read(keccak(body), body) == Evidence("sub_1", 1)
    assert read(keccak(b"other"), body) is None
    assert read(keccak(b"[1]"), b"[1]") is None
    assert read(keccak(b"{"), b"{") is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"evidenceLevel":1000000000000000000000000000000}',
        b'{"evidenceLevel":-5}',
        b'{"evidenceLevel":32768}',
        b'{"submissionId":"a\\u0000b"}',
        b'{"submissionId":"' + b"a" * 129 + b'"}',
        b'{"submissionId":"\xff"}',
        b'{"submissionId":"\\ud800"}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_evidence_made_to_stop_us_is_none(body: bytes) -> None:
    """Its hash is right: whoever has a signer's key can name any bytes in a score."""
    assert read(keccak(body), body) is None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def with_server(handler: Handler, work: Callable[[str], Awaitable[None]]) -> None:
    """Run `work` beside a real HTTP server."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        await work(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def test_evidence_over_http_is_found_or_not_but_never_an_error() -> None:
    good, lied = b'{"submissionId":"sub_1","evidenceLevel":3}', b'{"submissionId":"sub_2","evidenceLevel":4}'
    bodies = {keccak(good): good, keccak(lied): good}

    async def relay(request: web.Request) -> web.Response:
        found = bodies.get(bytes.fromhex(request.path.rpartition("0x")[2]))
        return web.Response(status=404) if found is None else web.Response(body=found)

    async def work(url: str) -> None:
        source = HttpEvidence(url + "/")
        assert await source.find([keccak(good), keccak(lied), keccak(b"none")]) == {keccak(good): Evidence("sub_1", 3)}
        assert await source.find([]) == {}
        asked = [keccak(good), keccak(lied), keccak(b"none")]  # other bytes than the hash's are as good as none
        assert await source.bodies(asked) == Bodies({keccak(good): good}, frozenset())
        await source.close()
        nobody = HttpEvidence("http://127.0.0.1:1")
        assert await nobody.find([keccak(good)]) == {}
        assert await nobody.bodies([keccak(good)]) == Bodies({}, frozenset({keccak(good)}))
        await nobody.close()

    asyncio.run(with_server(relay, work))


def test_whoever_publishes_at_length_what_nobody_asked_for_fills_no_memory() -> None:
    """Long lies, a bomb, a way to somewhere else: nothing of it is believed, and little of it is held."""
    hashes, bomb, went = [bytes([number]) * 32 for number in range(100)], gzip.compress(bytes(2**26)), []
    lie = b"x" * (2**20 - 1)

    async def liar(request: web.Request) -> web.Response:
        number = int(request.path.rpartition("0x")[2][:2] or "0", 16)
        if request.path == "/elsewhere":
            went.append(number)
        if number % 10 == 0:
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if number % 10 == 1:
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
        return web.Response(body=lie)

    async def work(url: str) -> None:
        source = HttpEvidence(url)
        tracemalloc.start()
        try:
            assert (await source.bodies(hashes)).found == {}
            assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
        finally:
            tracemalloc.stop()
            await source.close()

    asyncio.run(with_server(liar, work))
    assert went == []


REFUSALS = [
    ({"error": {"code": -32005, "message": "query returned more than 10000 results"}}, TooMuchError),
    ({"error": {"code": -32602, "message": "block range is too wide"}}, TooMuchError),
    ({"error": {"code": -32601, "message": "the method does not exist"}}, UnsupportedError),
    ({"error": {"code": -32000, "message": "header not found"}}, RefusedError),
    ({"result": {"number": 5}}, MalformedError),
    ({"result": {"number": "0xzz", "hash": "0x", "parentHash": "0x", "timestamp": "0x1"}}, MalformedError),
    ({"result": None}, MalformedError),
    (b"<html>", MalformedError),
]


@pytest.mark.parametrize(
    ("answer", "kind"), REFUSALS, ids=[str(kind.__name__) + str(i) for i, (_, kind) in enumerate(REFUSALS)]
)
def test_what_a_provider_answers_becomes_a_typed_error(answer: object, kind: type[Exception]) -> None:
    async def provider(_: web.Request) -> web.Response:
        body = answer if isinstance(answer, bytes) else json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode()  # type: ignore[dict-item]
        return web.Response(body=body)

    async def work(url: str) -> None:
        rpc = Rpc(url, CONTRACT)
        with pytest.raises(kind) as caught:
            await rpc.head()
        assert type(caught.value) is kind
        await rpc.close()

    asyncio.run(with_server(provider, work))


def test_a_provider_without_batches_is_asked_one_by_one() -> None:
    chain, singles = FakeChain(), list[int]()
    for _ in range(5):
        chain.mine()

    async def provider(request: web.Request) -> web.Response:
        asked = await request.json()
        if isinstance(asked, list):
            fault = {"code": -32600, "message": "batches are not supported"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": fault})
        number = int(asked["params"][0], 16)
        singles.append(number)
        header = chain.blocks[number].header
        block = {
            "number": hex(number), "hash": "0x" + header.hash.hex(),
            "parentHash": "0x" + header.parent.hex(), "timestamp": hex(header.time_s),
        }  # fmt: skip
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": block})

    async def work(url: str) -> None:
        rpc = Rpc(url, CONTRACT)
        assert await rpc.headers([1, 2, 3]) == [chain.blocks[number].header for number in (1, 2, 3)]
        assert await rpc.headers([4, 5]) == [chain.blocks[number].header for number in (4, 5)]
        assert sorted(singles) == [1, 2, 3, 4, 5]
        await rpc.close()

    asyncio.run(with_server(provider, work))


def test_a_provider_that_is_down_or_slow_is_unreachable() -> None:
    async def provider(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.sleep(3)
        return web.Response(status=502, text="bad gateway")

    async def work(url: str) -> None:
        for path in ("/slow", "/down"):
            rpc = Rpc(url + path, CONTRACT, timeout_s=0.1)
            with pytest.raises(UnreachableError):
                await rpc.head()
            await rpc.close()

    asyncio.run(with_server(provider, work))
