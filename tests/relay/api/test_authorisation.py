"""Who may call what: every operation of the whole system is called with every role, and compared with the table.

The table (`tests/vectors/roles.md`, made by `fairscore openapi --roles`) is what people read and agree to; it is held
against the declarations, and the answers of the running application against it.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event

from indexer.app import build as build_indexer
from indexer.config import IndexerSettings
from relay.api.asgi import Api
from relay.api.auth import PLAYER_TOKEN, KeyRing
from relay.api.devnet import DevnetProxy
from relay.api.operations import Answer, Call, Operation, answer
from relay.api.roles import BY_GAME, COLUMNS, NOBODY, YES
from relay.api.security import SECURITY
from relay.api.shields import Shields
from relay.client_address import Proxies
from relay.document import roles_document
from relay.games import GameConfig
from relay.store import keys as key_store
from relay.store import migrate, sessions

TABLE = Path(__file__).parents[2] / "vectors/roles.md"
PLAYER = bytes.fromhex("52908400098527886e0f7030069857d2e4169ee7")
ROLES = tuple(column for column in COLUMNS if column not in {NOBODY, "player"})


class Row(NamedTuple):
    """One operation's line: what each column may do."""

    method: str
    path: str
    marks: dict[str, str]


def rows() -> list[Row]:
    """The table, read as people read it."""
    found = []
    for line in TABLE.read_text().splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for named in re.findall(r"`([^`]+)`", cells[0]):
            *methods, path = named.split()
            found += [Row(method, path, dict(zip(COLUMNS, cells[1:], strict=True))) for method in methods]
    return found


def test_the_table_is_the_declarations() -> None:
    """An operation that is added, or whose roles change, changes the table: somebody reads it again.

    `fairscore openapi --roles > tests/vectors/roles.md` writes it anew.
    """
    assert TABLE.read_text().strip() == roles_document().strip()


@asynccontextmanager
async def everything(url: str, relay_at: Any) -> AsyncIterator[Any]:
    """A relay whose application serves the whole system; the indexer has not started, and says so."""
    async with relay_at(url) as relay:
        indexer = build_indexer(
            IndexerSettings(games={"streambeat": {}}), relay.database, rpc_url="http://127.0.0.1:1",
            contract="0x" + "00" * 20, writer=relay.writer,
        )  # fmt: skip
        migrate.upgrade(relay.database, "indexer")
        proxy = DevnetProxy("http://127.0.0.1:1")
        operations = [*relay.api.operations, *indexer.operations, *proxy.operations()]
        relay.api = Api(operations, KeyRing(relay.database, relay.writer))
        yield relay
        await proxy.close()


async def tokens(relay: Any, game_id: str | None = None) -> dict[str, str]:
    """A key of each role (good for every game unless one is named), and a player's session."""
    made = {role: relay.keys.create(role, game_id=game_id).secret for role in ROLES}
    token = made["player"] = PLAYER_TOKEN + "x" * 43
    ends_ms = int(time.time() * 1000) + 3_600_000
    session = sessions.Session("ses_x", PLAYER, "signature", 0, ends_ms, None)
    await relay.writer.run(lambda c: sessions.open_session(c, session, key_store.digest(token)))
    return made


async def ask(relay: Any, method: str, path: str, token: str | None) -> Any:
    """Call an operation with an empty object, or nothing; paths are filled in with what does not exist."""
    filled = path.replace("{gameId}", "streambeat").replace("{board}", "default")
    filled = re.sub(r"\{\w+\}", "x", filled)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = b"{}" if method in {"POST", "PUT", "PATCH"} else None
    return await relay.request(method, filled, body, headers)


def test_every_operation_answers_every_role_as_the_table_says(sqlite_url: str, relay_at: Any) -> None:
    """Where the table has a mark nobody is refused for who they are; where it has none, everybody is: 401 or 403.

    Aliases are called, too, and nothing is ever a 500.
    """

    async def scenario() -> None:
        async with everything(sqlite_url, relay_at) as relay:
            shown = {(row.method, row.path): row.marks for row in rows()}
            listed = [one for one in relay.api.operations if not one.hidden]
            assert {(one.method, one.path) for one in listed} == set(shown)
            # A session that is ended is a session no more: that operation comes last.
            listed.sort(key=lambda one: one.method == "DELETE" and one.path == "/api/sessions/current")
            keys = await tokens(relay)
            for operation in listed:
                for path in (operation.path, *operation.aliases):
                    for column, mark in shown[operation.method, operation.path].items():
                        reply = await ask(relay, operation.method, path, keys.get(column))
                        said = (operation.method, path, column, reply.status, reply.body[:200])
                        assert reply.status != 500, said
                        if mark in {YES, BY_GAME}:
                            assert reply.status not in {401, 403}, said
                        else:
                            code = "NOT_AUTHENTICATED" if column == NOBODY else "FORBIDDEN_ROLE"
                            assert (reply.status, reply.json["code"]) == (401 if column == NOBODY else 403, code), said

    asyncio.run(scenario())


def test_a_key_of_another_game_is_refused_where_the_game_is_named(sqlite_url: str, relay_at: Any) -> None:
    """Of every operation that is not for everybody and names a game in its path; and where senders serve all games."""

    async def scenario() -> None:
        async with everything(sqlite_url, relay_at) as relay:
            keys = await tokens(relay, "another")
            seen = 0
            for row in rows():
                whole = row.path.startswith("/api/outbox")
                if row.marks[NOBODY] == YES or not ("{gameId}" in row.path or whole):
                    continue
                for column in ROLES:
                    if row.marks[column] == YES:
                        reply = await ask(relay, row.method, row.path, keys[column])
                        if whole and reply.json["code"] == "PAYLOAD_MALFORMED":
                            continue  # an empty order is refused before anybody asks for whom
                        assert (reply.status, reply.json["code"]) == (403, "FORBIDDEN_GAME"), (row, column)
                        seen += 1
            assert seen >= 15

    asyncio.run(scenario())


def test_the_game_decides_about_callers_without_a_key(sqlite_url: str, relay_at: Any, make_play: Any) -> None:
    """`by game`: one that is open takes them, another does not; a key of another game is refused for both."""
    games = (GameConfig("open", anonymous_submit=True), GameConfig("closed"))

    async def scenario() -> None:
        async with relay_at(sqlite_url, *games) as relay:
            foreign = {"authorization": f"Bearer {relay.keys.create('client', game_id='open').secret}"}
            for game, status in (("open", 202), ("closed", 401)):
                assert (await relay.submit(make_play(gameId=game))).status == status
            assert (await relay.submit(make_play(gameId="closed"), **foreign)).json["code"] == "FORBIDDEN_GAME"
            for game, status in (("open", 201), ("closed", 401)):
                body = json.dumps({"gameId": game, "playerId": "p"}).encode()
                assert (await relay.request("POST", "/api/rounds", body)).status == status

    asyncio.run(scenario())


def test_every_answer_has_security_headers_and_those_of_keys_are_not_stored(sqlite_url: str, relay_at: Any) -> None:
    """Also errors, what is nowhere, preflights and pages; no header twice; what a key has shown is `no-store`."""

    async def scenario() -> None:
        async with everything(sqlite_url, relay_at) as relay:
            admin = relay.keys.create("admin").secret
            paths = [one.path for one in relay.api.operations if one.method == "GET" and one.path != "/metrics"]
            for path in [*paths, "/nowhere", "/metrics"]:
                for token in (None, admin, "wrong"):
                    reply = await ask(relay, "GET", path, token)
                    for name, value in SECURITY:
                        found = reply.headers.get(name.decode())
                        assert found is not None, path
                        assert name in {b"content-security-policy", b"referrer-policy"} or found == value.decode()
                    names = [name for name, _ in reply.raw]
                    assert len(names) == len(set(names)), (path, names)
                    if token == admin and path.startswith("/api/keys"):
                        assert reply.headers["cache-control"] == "no-store"
            options = await relay.request("OPTIONS", "/api/keys")
            assert options.headers["x-content-type-options"] == "nosniff"

    asyncio.run(scenario())


def counting(shields: Shields, ring: KeyRing | None = None) -> Api:
    """An application of one operation behind shields."""

    async def fine(call: Call) -> Answer:
        return answer({"client": call.client})

    return Api([Operation("GET", "/x", "", fine)], ring, shields=shields)


async def call(api: Api, peer: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Call the operation from an address."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": named, "client": (peer, 1)}
    await api(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, json.loads(sent[1]["body"])


def test_an_address_has_an_allowance() -> None:
    """Beyond it 429 with the fields of the draft; another address, and loopback, are not touched."""
    clock = {"s": 0.0}
    shields = Shields(3, 0, Proxies(["10.0.0.1"]), lambda: clock["s"])
    api = counting(shields)

    async def scenario() -> None:
        assert [(await call(api, "9.9.9.9"))[0] for _ in range(4)] == [200, 200, 200, 429]
        status, headers, problem = await call(api, "9.9.9.9")
        assert (status, problem["code"]) == (429, "TOO_MANY_REQUESTS")
        assert headers["retry-after"] == "20"
        assert headers["ratelimit-policy"] == '"address";q=3;w=60'
        assert headers["ratelimit"] == '"address";r=0;t=60'
        assert (await call(api, "8.8.8.8"))[0] == 200
        assert {(await call(api, "127.0.0.1"))[0] for _ in range(10)} == {200}
        # Behind the proxy each client has its own allowance, and cannot write itself another's.
        assert [(await call(api, "10.0.0.1", x_forwarded_for="7.7.7.7"))[0] for _ in range(4)] == [200] * 3 + [429]
        assert (await call(api, "9.9.9.9", x_forwarded_for="1.2.3.4"))[0] == 429
        assert (await call(api, "10.0.0.1", x_forwarded_for="6.6.6.6"))[2] == {"client": "6.6.6.6"}
        clock["s"] = 20.0
        assert (await call(api, "9.9.9.9"))[0] == 200
        assert shields.numbers()["shielded_address_total"] == 4

    asyncio.run(scenario())


def test_a_key_has_an_allowance(sqlite_url: str, relay_at: Any) -> None:
    """Whatever addresses it comes from; another key is not touched."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            one, two = relay.keys.create("server"), relay.keys.create("server")
            shields = Shields(0, 2)
            api = counting(shields, KeyRing(relay.database, relay.writer))
            answers = [await call(api, f"9.9.9.{n}", authorization=f"Bearer {one.secret}") for n in range(3)]
            assert [status for status, _, _ in answers] == [200, 200, 429]
            assert answers[2][1]["ratelimit-policy"] == '"key";q=2;w=60'
            assert (await call(api, "9.9.9.9", authorization=f"Bearer {two.secret}"))[0] == 200
            assert shields.numbers()["shielded_key_total"] == 1

    asyncio.run(scenario())


def test_failed_authentications_are_counted_flagged_and_cost(database_url: str, relay_at: Any) -> None:
    """One open flag per address, one per key whose prefix is tried; guesses use up the address's allowance."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            shields = Shields(6_000, 0, clock_s=lambda: 0.0)
            api = counting(shields, KeyRing(relay.database, relay.writer))
            real = relay.keys.create("server", game_id="streambeat")
            guess, nobody = real.secret[:-4] + "zzzz", "fs_live_sk_" + "n" * 43
            for token in [guess] * 25 + [nobody] * 25 + ["not a key at all"]:
                assert (await call(api, "9.9.9.9", authorization=f"Bearer {token}"))[0] == 401
            assert await shields.report(relay.database, relay.writer) == 3
            assert (await call(api, "9.9.9.9", authorization=f"Bearer {guess}"))[0] == 401
            assert await shields.report(relay.database, relay.writer) == 2
            assert await shields.report(relay.database, relay.writer) == 0
            admin = {"Authorization": f"Bearer {relay.keys.create('admin').secret}"}
            flags = (await relay.request("GET", "/api/audit-flags", headers=admin)).json["flags"]
            found = {(one["subject"]["type"], one["subject"]["id"]): one for one in flags}
            assert set(found) == {("address", "9.9.9.9"), ("key", real.info.id)}
            assert [found[subject]["occurrences"] for subject in sorted(found)] == [52, 26]
            assert {one["code"] for one in flags} == {"AUTHENTICATION_FAILED"}
            assert guess not in json.dumps(flags)
            assert shields.numbers()["authentication_failures_total"] == 52
            # 6,000 requests a minute, of which a failure costs twenty more: soon nothing of that address is taken.
            codes = [(await call(api, "9.9.9.9", authorization="Bearer wrong"))[0] for _ in range(400)]
            assert 200 < codes.index(429) < 300

    asyncio.run(scenario())


def test_a_key_that_many_present_at_once_is_looked_up_once(sqlite_url: str, relay_at: Any) -> None:
    """And again for whoever comes after it was revoked, though the first look is still under way."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            made = relay.keys.create("server")
            ring = KeyRing(relay.database, relay.writer)
            looks: list[str] = []

            def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
                looks.extend([statement] if "FROM api_keys" in statement else [])

            event.listen(relay.database.engine, "before_cursor_execute", note)
            before = asyncio.gather(*(ring(made.secret) for _ in range(100)))
            await asyncio.sleep(0)
            relay.keys.revoke(made.info.id)
            ring.forget(key_store.digest(made.secret))
            looks.clear()
            after = await asyncio.gather(*(ring(made.secret) for _ in range(100)))
            assert len(set(await before)) == 1
            assert after == [None] * 100
            assert len([one for one in looks if one.startswith("SELECT")]) <= 2

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_time_of_a_wrong_key_tells_nothing_of_its_prefix(sqlite_url: str, relay_at: Any) -> None:
    """Wrong keys that share 0, 20, 40 or all but one character with a real one are refused in the same time.

    Each is looked up anew (the clock stands a second further every time), in turn and mixed, and the medians are
    compared with the scatter between two halves of the same kind.
    """
    clock = {"s": 0.0}

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            real = relay.keys.create("server").secret
            ring = KeyRing(relay.database, relay.writer, lambda: clock["s"])
            took: dict[int, list[int]] = {shared: [] for shared in (11, 20, 40, len(real) - 1)}
            for turn in range(3_000):
                for shared in sorted(took, key=lambda n: (n * 7919 + turn * 104729) % 1009):
                    clock["s"] += 2.0
                    wrong = real[:shared] + "".join("-" if c != "-" else "_" for c in real[shared:])
                    began = time.perf_counter_ns()
                    assert await ring(wrong) is None
                    took[shared].append(time.perf_counter_ns() - began)
            medians = {shared: sorted(times)[len(times) // 2] for shared, times in took.items()}
            halves = [abs(_median(times[::2]) - _median(times[1::2])) for times in took.values()]
            spread = max(medians.values()) - min(medians.values())
            # Comparing byte by byte in Python would cost a microsecond for every forty characters that agree.
            assert spread <= max(5 * max(halves), min(medians.values()) // 20), (medians, halves)

    asyncio.run(scenario())


def _median(times: list[int]) -> int:
    return sorted(times)[len(times) // 2]
