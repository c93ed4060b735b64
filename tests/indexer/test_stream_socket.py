"""The stream over WebSocket: the event stream's messages, resume, keys, refusals, an end that ends."""

import asyncio
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from indexer import stream
from relay.api.operations import Credential
from relay.errors import WorldError
from relay.socket import MESSAGE_MAX
from tests.harness.sse import Stream
from tests.indexer.fake_chain import FakeChain
from tests.indexer.serving import BOARD, Serving
from tests.indexer.watching import GAME, named

PLAYERS = [bytes([2, number]) * 10 for number in range(20)]
KEYS = {
    "auditor": Credential("k1", "auditor", None),
    "admin": Credential("k2", "admin", GAME),
    "elsewhere": Credential("k3", "auditor", "another"),
    "server": Credential("k4", "server", GAME),
}


@pytest.fixture
def serving(sqlite_url: str) -> Iterator[Serving]:
    async def authenticate(token: str) -> Credential | None:
        return KEYS.get(token)

    running = Serving(sqlite_url, FakeChain(), authenticate=authenticate)
    yield running
    running.stop()


def mine(serving: Serving, *scores: tuple[bytes, int]) -> None:
    """One block with one batch."""
    serving.chain.submit(GAME, scores)
    serving.chain.mine()
    serving.settle()


def opened(serving: Serving, query: str = "", headers: dict[str, str] | None = None) -> ClientConnection:
    """A connection."""
    url = f"ws://127.0.0.1:{serving.port}{BOARD}/ws{query}"
    return connect(url, additional_headers=headers, compression=None, max_size=2**24)


def told(client: ClientConnection, timeout_s: float = 60) -> Any:
    """The next message."""
    return json.loads(client.recv(timeout_s))


def test_both_transports_tell_the_same(serving: Serving) -> None:
    """Byte for byte: what one has in `data:` is the other's message."""
    events = Stream(f"{serving.url}{BOARD}/stream")
    with opened(serving) as client:
        mine(serving, *[(player, 100 + number) for number, player in enumerate(PLAYERS)])
        mine(serving, (PLAYERS[3], 1000))
        serving.chain.mine()
        serving.chain.mine()
        serving.settle()
        seq = serving.service.reading.first_board().seq
        events.wait(lambda event: event.data["seq"] == seq)
        messages = [told(client) for _ in events.events]
    assert messages == [event.data for event in events.events]
    assert [message["type"] for message in messages[:3]] == ["snapshot", "score", "standing"]
    events.close()


@pytest.mark.parametrize("by_message", [False, True])
def test_resuming_leaves_no_gap_and_no_repeat(serving: Serving, by_message: bool) -> None:
    mine(serving, (PLAYERS[0], 5))
    with opened(serving) as client:
        snapshot = told(client)
    last = f"{snapshot['epoch']}-{snapshot['seq']}"
    mine(serving, (PLAYERS[1], 6), (PLAYERS[2], 7))
    with opened(serving, "?hello=wait" if by_message else f"?after={last}") as client:
        if by_message:
            client.send(json.dumps({"after": last}))
        seqs = [told(client)["seq"] for _ in range(4)]
    assert seqs == list(range(snapshot["seq"] + 1, snapshot["seq"] + 5))


def test_only_one_players_messages(serving: Serving) -> None:
    """The snapshot holds the player's row however far down it is; a heartbeat moves the place to resume from."""
    mine(serving, *[(bytes([3, number]) * 10, 1000 + number) for number in range(150)])
    me = bytes([3, 0]) * 10  # rank 150: beyond the rows that everybody is given
    with opened(serving, f"?player=0x{me.hex()}") as client:
        snapshot = told(client)
        assert [(row["player"], row["rank"]) for row in snapshot["rows"]] == [(named(me), 150)]
        assert snapshot["total"] == 150
        mine(serving, (PLAYERS[0], 9))
        mine(serving, (me, 5000))
        later = [told(client) for _ in range(3)]
        assert [message["type"] for message in later] == ["score", "standing", "final"]
        assert (later[1]["player"], later[1]["rank"], later[1]["previousRank"]) == (named(me), 1, 150)
    with opened(serving, f"?player=0x{bytes(19).hex()}07") as client:
        assert told(client)["rows"] == []


def test_heartbeats_say_where_the_stream_is(serving: Serving) -> None:
    mine(serving, (PLAYERS[0], 5))

    async def beat() -> None:
        serving.service.hub.beat()

    with opened(serving) as client:
        snapshot = told(client)
        serving.do(beat())
        assert told(client) == {"type": "heartbeat", "epoch": snapshot["epoch"], "seq": snapshot["seq"]}


@pytest.mark.parametrize(
    ("key", "sees"), [("auditor", True), ("admin", True), ("elsewhere", False), ("server", False), ("", False)]
)
@pytest.mark.parametrize("by_message", [False, True])
def test_flags_are_for_those_who_audit_the_game(serving: Serving, key: str, sees: bool, by_message: bool) -> None:
    """By header, or by the first message; the board's numbers do not move."""
    headers = {"Authorization": f"Bearer {key}"} if key and not by_message else None

    async def flag(number: int) -> None:
        serving.service.hub.tell_flag(1, number, json.dumps({"type": "flag", "id": f"flag_{number}"}).encode())

    mine(serving, (PLAYERS[0], 5))
    serving.do(flag(1))
    with opened(serving, "?hello=wait" if by_message else "", headers) as client:
        if by_message:
            client.send(json.dumps({"key": key} if key else {}))
        heard = [told(client)]
        if sees:
            heard.append(told(client))
        serving.do(flag(2))
        mine(serving, (PLAYERS[1], 6))
        while heard[-1]["type"] != "standing":
            heard.append(told(client))
    assert [message["id"] for message in heard if message["type"] == "flag"] == (["flag_1", "flag_2"] if sees else [])
    seqs = [message["seq"] for message in heard if message["type"] != "flag"]
    assert seqs == list(range(seqs[0], seqs[0] + 3))


def test_who_audits_by_a_key_that_is_revoked_hears_no_more(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both transports; another auditor's stream and one without a key go on, also while keys cannot be looked up."""
    monkeypatch.setattr(stream, "RECHECK_S", 0.02)
    keys, away = dict(KEYS), False

    async def authenticate(token: str) -> Credential | None:
        if away:
            raise WorldError("STORE_UNAVAILABLE", "The database is away.")
        return keys.get(token)

    serving = Serving(sqlite_url, FakeChain(), authenticate=authenticate)
    auditor, admin = ({"Authorization": f"Bearer {key}"} for key in ("auditor", "admin"))
    try:
        with (
            opened(serving, headers=auditor) as first,
            opened(serving, "?hello=wait") as second,
            opened(serving, headers=admin) as other,
            opened(serving) as anybody,
            ExitStack() as stack,
        ):
            second.send(json.dumps({"key": "auditor"}))
            request = urllib.request.Request(f"{serving.url}{BOARD}/stream", headers=auditor)
            events = stack.enter_context(urllib.request.urlopen(request, timeout=60))
            assert [told(client)["type"] for client in (first, second, other, anybody)] == ["snapshot"] * 4
            away = True
            time.sleep(0.1)
            assert serving.service.hub.readers == 5
            del keys["auditor"]
            away = False
            for client in (first, second):
                with pytest.raises(ConnectionClosed):
                    client.recv(60)
            assert b"event: snapshot" in events.read()  # to its end
            mine(serving, (PLAYERS[0], 5))
            assert [told(client)["type"] for client in (other, anybody)] == ["score"] * 2
            until_readers(serving, 2)
    finally:
        serving.stop()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/leaderboards/nowhere/default/ws", 404, "GAME_UNKNOWN"),
        (f"/api/leaderboards/{GAME}/nowhere/ws", 404, "BOARD_UNKNOWN"),
        (f"{BOARD}/ws?player=0x12", 400, "PLAYER_INVALID"),
        (f"{BOARD}/ws?hello=no", 400, "QUERY_INVALID"),
        (f"{BOARD}/ws?other=1", 400, "QUERY_INVALID"),
        (f"{BOARD}/stream", 404, "NOT_FOUND"),
        ("/nothing", 404, "NOT_FOUND"),
    ],
)
def test_a_handshake_that_cannot_be_taken_is_answered(serving: Serving, path: str, status: int, code: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{serving.port}{path}").__enter__()
    assert refused.value.response.status_code == status
    problem = json.loads(refused.value.response.body or b"")
    assert problem["code"] == code
    assert refused.value.response.headers["x-request-id"] == problem["requestId"]


def test_a_wrong_key_is_refused(serving: Serving) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(serving, headers={"Authorization": "Bearer wrong"})
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("hello", ['{"key": "wrong"}', '{"other": 1}', "nonsense", "", "[" * 2000, '{"after": 5}'])
def test_a_first_message_that_is_not_one_closes(serving: Serving, hello: str) -> None:
    with opened(serving, "?hello=wait") as client:
        client.send(hello)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason.split(":")[0] in {"NOT_AUTHENTICATED", "PAYLOAD_MALFORMED"}


def test_a_first_message_that_is_no_text_closes(serving: Serving) -> None:
    with opened(serving, "?hello=wait") as client:
        client.send(b"\xff", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


def test_what_a_client_says_later_is_ignored_but_not_without_bound(serving: Serving) -> None:
    with opened(serving) as client:
        told(client)
        for _ in range(100):
            client.send("anything")
        client.send(b"\x00\x01")
        mine(serving, (PLAYERS[0], 5))
        assert told(client)["type"] == "score"
        client.send("x" * (MESSAGE_MAX + 1))
        with pytest.raises(ConnectionClosed):
            drain(client)
    assert serving.get(f"{BOARD}/stats")[0] == 200


def shaken(serving: Serving, query: str = "") -> socket.socket:
    """A connection after its handshake, on which a client may do as it likes."""
    client = socket.create_connection(("127.0.0.1", serving.port), timeout=60)
    client.sendall(
        f"GET {BOARD}/ws{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(1)
    return client


def test_who_asks_for_pongs_and_takes_none_is_not_heard_without_end(serving: Serving) -> None:
    """What the kernel does not take back does not pile up in ours."""
    pings, sent = (b"\x89\xfd\0\0\0\0" + b"p" * 125) * 2_000, 0
    with shaken(serving) as client:
        client.settimeout(0.5)
        try:
            while sent < 64 * 2**20:
                client.sendall(pings)
                sent += len(pings)
        except TimeoutError:
            pass

        async def held() -> list[int]:
            left = serving._server.server_state.connections
            return [connection.transport.get_write_buffer_size() for connection in left]

        assert max(serving.do(held())) < 2**20


def test_what_comes_with_the_first_message_does_not_deafen(serving: Serving) -> None:
    """A text more in the same packet: pings are still answered afterwards."""
    with shaken(serving, "?hello=wait") as client:
        client.sendall(b"\x81\x82\0\0\0\0{}" + b"\x81\x82\0\0\0\0{}")
        received = client.recv(65_536)
        client.sendall(b"\x89\x81\0\0\0\0x")
        while b"\x8a\x01x" not in received:
            received += client.recv(65_536)
    assert b'"type":"snapshot"' in received


def drain(client: ClientConnection) -> None:
    """Take messages until there are no more."""
    while True:
        client.recv(60)


def test_a_plain_request_is_told_to_upgrade(serving: Serving) -> None:
    status, headers, body = serving.get(f"{BOARD}/ws")
    assert (status, body["code"], headers["Upgrade"]) == (426, "UPGRADE_REQUIRED", "websocket")


def test_a_thousand_open_streams_of_both_kinds_are_ended_in_order(sqlite_url: str) -> None:
    serving = Serving(sqlite_url, FakeChain())
    handshake = (
        f"GET {BOARD}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    plain = f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ExitStack() as stack:
        readers = [stack.enter_context(socket.create_connection(("127.0.0.1", serving.port))) for _ in range(1000)]
        ends = ends_of_streams(serving, readers, [plain, handshake])
    assert set(ends[::2]) == {b"0\r\n\r\n"}
    assert set(ends[1::2]) == {b"\x88\x02" + (1012).to_bytes(2, "big")}


def ends_of_streams(serving: Serving, readers: list[socket.socket], requests: list[bytes]) -> list[bytes]:
    """Open a stream on each connection, stop the server, and return the last bytes that each was sent."""
    for number, reader in enumerate(readers):
        reader.sendall(requests[number % 2])
    until_readers(serving, 1000)
    serving.stop()
    ends = []
    for reader in readers:
        reader.settimeout(60)
        received = b""
        while more := reader.recv(65536):
            received += more
        ends.append(received[-4:] if received.startswith(b"HTTP/1.1 101") else received[-5:])
    return ends


def until_readers(serving: Serving, count: int) -> None:
    """Wait until so many streams are open."""
    deadline = time.monotonic() + 60
    while serving.service.hub.readers != count:
        assert time.monotonic() < deadline, serving.service.hub.readers
        time.sleep(0.01)


def test_a_reader_of_either_kind_that_leaves_is_forgotten(serving: Serving) -> None:
    with ExitStack() as stack:
        for client in [stack.enter_context(opened(serving)) for _ in range(5)]:
            told(client)
        stack.enter_context(Stream(f"{serving.url}{BOARD}/stream"))
        until_readers(serving, 6)
    until_readers(serving, 0)

    async def left() -> int:
        await asyncio.sleep(0.05)
        return sum(len(channel.readers) for channel in serving.service.hub._channels.values())

    assert serving.do(left()) == 0
