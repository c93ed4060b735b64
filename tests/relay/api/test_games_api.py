"""Games configured while relays run: over HTTP, in several processes, and only once the contract takes their scores."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from relay.chain_types import ChainUnavailableError
from relay.game_watch import GameWatch, Opening
from relay.games import Game, GameConfig, Games
from relay.store import games as store
from relay.store.controls import By
from relay.store.engine import open_database

CHESS = {"anonymousSubmit": True, "allowedOrigins": ["https://chess.example"], "limits": {"submit-score": 5}}


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function."""
    asyncio.run(scenario())  # type: ignore[arg-type]


async def ask(relay: Any, key: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request with a key."""
    raw = None if body is None else json.dumps(body).encode()
    return await relay.request(method, path, raw, {"Authorization": f"Bearer {key}"})


def test_a_game_is_made_served_changed_and_remembered(database_url: str, relay_at: Any, make_play: Any) -> None:
    """From the answer on its scores are taken, under its rules, limits and origins; each version is kept."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            admin = relay.keys.create("admin")
            assert (await relay.submit(make_play(gameId="chess"))).json["code"] == "GAME_UNKNOWN"
            made = await ask(relay, admin.secret, "PUT", "/api/games/chess", {**CHESS, "reason": "new season"})
            assert (made.status, made.json["origin"], made.json["state"]) == (201, "api", "active")
            assert made.json["settings"]["limits"] == {"submit-score": 5}
            taken = await relay.submit(make_play(gameId="chess"), origin="https://chess.example")
            assert (taken.status, taken.json["receipt"]["gameId"]) == (202, "chess")
            assert taken.headers["access-control-allow-origin"] == "*"  # streambeat is for any page
            # Who leaves the game out still means the one that the settings name.
            assert (await relay.submit(make_play(score=2652))).json["receipt"]["gameId"] == "streambeat"
            again = await ask(relay, admin.secret, "PUT", "/api/games/chess", CHESS)
            assert (again.status, again.json["version"]) == (200, 1)
            stricter = {**CHESS, "parameters": {"scoreMax": 1}}
            changed = await ask(relay, admin.secret, "PUT", "/api/games/chess", stricter)
            assert (changed.status, changed.json["version"]) == (200, 2)
            assert changed.json["rulesHash"] != made.json["rulesHash"]
            assert (await relay.submit(make_play(gameId="chess", gameTime=30001))).status == 422
            changes = (await ask(relay, admin.secret, "GET", "/api/games/chess/changes")).json["changes"]
            assert [(one["version"], one["actor"], one["reason"]) for one in changes] == [
                (2, admin.info.id, ""), (1, admin.info.id, "new season"),
            ]  # fmt: skip
            listed = (await ask(relay, admin.secret, "GET", "/api/games")).json["games"]
            assert [(one["gameId"], one["origin"]) for one in listed] == [("streambeat", "file"), ("chess", "api")]

    run(scenario)


@pytest.mark.parametrize(
    ("game_id", "body", "code"),
    [
        ("streambeat", {}, "GAME_CONFIGURED"),
        ("chess", {"ruleset": "nothing@9"}, "PAYLOAD_MALFORMED"),
        ("chess", {"parameters": {"nope": 1}}, "PAYLOAD_MALFORMED"),
        ("chess", {"parameters": {"scoreMax": "x"}}, "PAYLOAD_MALFORMED"),
        ("chess", {"switches": {"NO_SUCH_CHECK": "off"}}, "PAYLOAD_MALFORMED"),
        ("chess", {"allowedOrigins": ["chess.example"]}, "PAYLOAD_MALFORMED"),
        ("chess", {"limits": {"submit-score": 0}}, "PAYLOAD_MALFORMED"),
        ("chess", {"limits": {"dance": 1}}, "PAYLOAD_MALFORMED"),
        ("chess", {"unknown": 1}, "PAYLOAD_MALFORMED"),
        ("chess", {"anonymousSubmit": 1}, "PAYLOAD_MALFORMED"),
        ("no%20id", {}, "PAYLOAD_MALFORMED"),
        ("%00", {}, "PAYLOAD_MALFORMED"),
    ],
)
def test_games_that_cannot_be(sqlite_url: str, relay_at: Any, game_id: str, body: Any, code: str) -> None:
    """Refused, with nothing stored."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            admin = relay.keys.create("admin").secret
            refused = await ask(relay, admin, "PUT", f"/api/games/{game_id}", body)
            assert refused.json["code"] == code
            assert await relay.database.read(store.versions) == {}

    run(scenario)


def test_a_key_of_one_game_sees_and_configures_that_game(sqlite_url: str, relay_at: Any) -> None:
    """Others are 403, and not in its list; a server sees and does not configure."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            own = relay.keys.create("admin", game_id="chess").secret
            server = relay.keys.create("server", game_id="chess").secret
            assert (await ask(relay, own, "PUT", "/api/games/chess", CHESS)).status == 201
            assert (await ask(relay, own, "PUT", "/api/games/go", CHESS)).json["code"] == "FORBIDDEN_GAME"
            assert (await ask(relay, server, "PUT", "/api/games/chess", CHESS)).json["code"] == "FORBIDDEN_ROLE"
            for key in (own, server):
                listed = (await ask(relay, key, "GET", "/api/games")).json["games"]
                assert [one["gameId"] for one in listed] == ["chess"]
                assert (await ask(relay, key, "GET", "/api/games/streambeat")).status == 403
            assert (await ask(relay, relay.keys.create("auditor").secret, "GET", "/api/games/nix")).status == 404

    run(scenario)


def test_every_process_follows_and_waits_for_the_contract(database_url: str, relay_at: Any) -> None:
    """Another process sees a version at its next look, and serves it once its rules can be recorded; then the next."""
    answers: dict[str, str] = {}
    clock = {"s": 0.0}

    async def open_game(game: Game) -> str:
        return answers.get(game.rules.hash_text, "not active")

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            other = open_database(database_url)
            games = Games([GameConfig("streambeat")])
            watch = GameWatch(games, other, open_game, lambda: clock["s"])

            async def put(**table: Any) -> None:
                def job(c: Any) -> None:
                    store.put(c, "chess", table, By("key_x", "", relay.database.now_ms(c)))

                await relay.writer.run(job)
                clock["s"] += 10
                await watch.settle(5)

            first = Game(GameConfig("chess"))
            await put()
            assert "chess" not in games.by_id
            assert watch.waiting == {"chess": "not active"}
            answers[first.rules.hash_text] = ""
            await watch.settle(5)
            assert "chess" not in games.by_id  # it is not asked again at every look
            clock["s"] += 10
            await watch.settle(5)
            assert games.by_id["chess"].rules.hash == first.rules.hash
            assert watch.waiting == {}
            await put(parameters={"scoreMax": 7})
            assert games.by_id["chess"].rules.hash == first.rules.hash  # served as it was
            assert not watch.served_as("chess", 2)
            await put(anonymous_submit=True)  # the rules are the first again: nothing to wait for
            assert games.by_id["chess"].config.anonymous_submit
            await put(ruleset="of a later version@7")
            assert "no ruleset named" in watch.waiting["chess"]
            assert games.by_id["chess"].config.anonymous_submit
            await watch.stop()
            other.close()

    run(scenario)


def test_versions_written_at_once_are_all_kept(postgres_url: str, relay_at: Any) -> None:
    """Two processes write at the same moment: one is version 1, the other 2, and neither fails."""

    async def scenario() -> None:
        async with relay_at(postgres_url) as relay:
            other = open_database(postgres_url)

            def put(database: Any, origin: str) -> int:
                with database.write() as c:
                    table = {"allowed_origins": [origin]}
                    return store.put(c, "chess", table, By("key_x", "", database.now_ms(c)))[0].version

            both = [(relay.database, "https://a.example"), (other, "https://b.example")]
            versions = await asyncio.gather(*(asyncio.to_thread(put, *one) for one in both * 4))
            assert sorted(set(versions)) == list(range(1, max(versions) + 1))
            kept = await relay.database.read(lambda c: store.history(c, "chess", 100))
            assert [row.version for row in kept] == list(range(max(versions), 0, -1))
            other.close()

    run(scenario)


def test_origins_of_a_game_hold_for_its_paths_and_keys(sqlite_url: str, relay_at: Any) -> None:
    """Answers about a game are readable for its pages only, preflight included; open reads for all."""
    games = (
        GameConfig("a", allowed_origins=("https://a.example",)),
        GameConfig("b", allowed_origins=("https://b.example",)),
    )
    name = "access-control-allow-origin"

    async def scenario() -> None:
        async with relay_at(sqlite_url, *games) as relay:
            whole = relay.keys.create("server").secret
            of_a = relay.keys.create("server", game_id="a").secret

            async def shown(path: str, origin: str, key: str) -> str | None:
                headers = {"Origin": origin, "Authorization": f"Bearer {key}"}
                found: str | None = (await relay.request("GET", path, headers=headers)).headers.get(name)
                return found

            assert await shown("/api/games/a", "https://a.example", whole) == "https://a.example"
            assert await shown("/api/games/a", "https://b.example", whole) is None
            assert await shown("/api/games", "https://b.example", of_a) is None  # its key says the game
            assert await shown("/api/games", "https://b.example", whole) == "https://b.example"
            assert await shown("/api/games/a/ruleset", "https://evil.example", whole) == "*"
            for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
                asks = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
                preflight = await relay.request("OPTIONS", "/api/games/a", headers=asks)
                assert (preflight.status, preflight.headers.get(name)) == (204, allowed)

    run(scenario)


def test_what_keeps_a_game_from_being_served(sqlite_url: str, relay_at: Any) -> None:
    """Rules that nobody here can publish, a chain that does not answer, rounds of another database: each in words."""
    game = Game(GameConfig("chess"))

    class Contract:
        """Answers every view function with the same word."""

        def __init__(self, word: bytes | None) -> None:
            self.word = word

        async def call(self, *asked: object) -> bytes:
            if self.word is None or not asked:
                raise ChainUnavailableError("no route to host")
            return self.word

    async def first(game_id: str) -> int:
        return 1

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            for word, said in (
                (bytes(32), "not active on the contract"),
                (None, "no route to host"),
                (bytes(31) + b"\x01", "the contract holds round 1 of game chess"),
            ):
                chain: Any = Contract(word)
                opening = Opening(chain, bytes(20), None, relay.database, relay.writer, first)
                assert said in await opening(game)
            kept = await relay.request("GET", f"/api/evidence/{game.rules.hash_text}")
            assert kept.json["id"] == "streambeat-counts@1"  # whoever sees the hash can look the rules up

    run(scenario)
