"""Tournaments over HTTP: who gets in, who leads, how they end."""

import asyncio
import json
from collections import Counter
from typing import Any

from sqlalchemy import text

from relay.games import GameConfig
from relay.round_desk import RoundDesk, Start
from tests.relay.conftest import DOMAIN

PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30_000}
LESS = {"score": 2600, "perfect": 44, "good": 12, "miss": 4, "combo": 42, "gameTime": 30_000}
GAME = GameConfig("streambeat", anonymous_submit=True, switches={"TIMING_IMPLAUSIBLE": "dry_run"})


class Organiser:
    """Makes tournaments and lets players play in them."""

    def __init__(self, relay: Any) -> None:
        self.relay = relay
        self.key = relay.keys.create("server", game_id="streambeat", name="server").secret

    async def call(self, method: str, path: str, body: object = None, *, keyed: bool = False) -> Any:
        """Send one request."""
        raw = None if body is None else json.dumps(body).encode()
        headers = {"prefer": "respond-async"} | ({"authorization": f"Bearer {self.key}"} if keyed else {})
        return await self.relay.request(method, path, raw, headers)

    async def make(self, **terms: object) -> Any:
        """Make a tournament."""
        return await self.call("POST", "/tournaments", {"id": "cup", "name": "Cup"} | terms, keyed=True)

    async def start(self, player: str, **body: object) -> Any:
        """Start a round."""
        return await self.call("POST", "/tournaments/cup/rounds", {"playerId": player} | body)

    async def play(self, player: str, play: Any = PLAY) -> Any:
        """Start a round and report it."""
        told = (await self.start(player)).json
        return (await self.call("POST", f"/tournaments/cup/rounds/{told['_id']}/end", play)).json

    async def standings(self, query: str = "") -> Any:
        """The standings."""
        return (await self.call("GET", f"/api/tournaments/cup/standings{query}")).json

    async def change(self, statement: str) -> None:
        """Change the database behind the relay's back."""
        await self.relay.writer.run(lambda c: c.execute(text(statement)))


def organised(url: str, relay_at: Any, scenario: Any) -> None:
    """Run a scenario against a relay."""

    async def run() -> None:
        async with relay_at(url, GAME) as relay:
            await scenario(Organiser(relay))

    asyncio.run(run())


def test_attempts_and_capacity_are_exact(database_url: str, relay_at: Any) -> None:
    """However many ask at once: two players, two attempts each; the tournament asked for twice is one."""

    async def scenario(cup: Organiser) -> None:
        terms = {"attemptsPerPlayer": 2, "capacity": 2}
        made, again = await cup.make(**terms), await cup.make(**terms)
        assert (made.status, again.status, made.json == again.json) == (201, 200, True)
        assert (await cup.make(capacity=3)).json["code"] == "TOURNAMENT_EXISTS"
        replies = await asyncio.gather(*(cup.start(f"p{n % 4}") for n in range(16)))
        codes = Counter(reply.json.get("code", "started") for reply in replies)
        assert codes["started"] == 4, codes
        assert codes["TOURNAMENT_FULL"] == 8, codes
        assert codes["ATTEMPTS_EXHAUSTED"] == 4, codes
        started = Counter(reply.json["playerId"] for reply in replies if reply.status == 201)
        assert sorted(started.values()) == [2, 2]

    organised(database_url, relay_at, scenario)


def test_standings_are_provisional_until_every_round_has_its_outcome(database_url: str, relay_at: Any) -> None:
    """Best accepted score of each player, ties to the earlier; pages; final after the end; a revoked score is gone."""

    async def scenario(cup: Organiser) -> None:
        await cup.make(endsAt="2999-01-01T00:00:00+02:00")
        for player, play in (("a", LESS), ("b", PLAY), ("a", PLAY), ("c", LESS)):
            assert (await cup.play(player, play))["status"] == "accepted"
            await asyncio.sleep(0.002)  # ties are by the millisecond
        await cup.start("d")
        shown = await cup.standings()
        assert (shown["state"], shown["unresolvedRounds"]) == ("provisional", 1)
        assert [(row["rank"], row["playerId"], row["score"]) for row in shown["standings"]] == [
            (1, "b", 2652), (2, "a", 2652), (3, "c", 2600),
        ]  # fmt: skip
        first = await cup.standings("?limit=2")
        second = await cup.standings(f"?limit=2&cursor={first['nextCursor']}")
        assert first["standings"] + second["standings"] == shown["standings"]
        assert second["nextCursor"] is None
        assert (await cup.standings("?cursor=zzz"))["code"] == "QUERY_INVALID"
        leader = shown["standings"][0]["roundId"]
        path = f"/rounds/{leader}/game-server-confirmation"
        assert (await cup.call("PUT", path, {"isValid": False}, keyed=True)).json["submissionStatus"] == "revoked"
        assert [row["playerId"] for row in (await cup.standings())["standings"]] == ["a", "c"]
        await cup.change("UPDATE tournaments SET ends_at_ms = starts_at_ms + 1")
        assert (await cup.standings())["state"] == "provisional"  # one round is open until its own deadline
        await cup.change("UPDATE rounds SET due_at_ms = 1 WHERE due_at_ms IS NOT NULL")
        assert (await cup.standings())["state"] == "final"
        assert (await cup.start("e")).json["code"] == "TOURNAMENT_NOT_OPEN"

    organised(database_url, relay_at, scenario)


def test_deadlines_take_effect_by_the_clock(database_url: str, relay_at: Any) -> None:
    """Without anybody touching a round: unreported ones expire, held scores are given up, their players' flags open."""

    async def scenario(cup: Organiser) -> None:
        await cup.make(requireConfirmation=True, confirmationTimeout=60)
        held = await cup.play("a")
        assert held["status"] == "reported"
        open_id = (await cup.start("b")).json["_id"]
        desk = RoundDesk(cup.relay.database, cup.relay.writer, cup.relay.intake.games, DOMAIN)
        await desk.expire()
        assert (await cup.call("GET", f"/rounds/{held['_id']}")).json["status"] == "reported"
        await cup.change("UPDATE rounds SET due_at_ms = 1")
        await desk.expire()
        shown = (await cup.call("GET", f"/rounds/{held['_id']}")).json
        assert (shown["status"], shown["reason"]) == ("invalidated", "CONFIRMATION_TIMEOUT")
        assert shown["submissionStatus"] == "rejected"
        late = await cup.call("PUT", f"/rounds/{held['_id']}/game-server-confirmation",
                              {"isValid": True, "score": 2652}, keyed=True)  # fmt: skip
        assert (late.status, late.json["code"]) == (409, "ROUND_INVALIDATED")
        assert (await cup.call("GET", f"/rounds/{open_id}")).json["status"] == "expired"
        for _ in range(13):
            await cup.start("picky")
        flags = await cup.relay.database.read(lambda c: c.execute(text("SELECT code FROM audit_flags")).all())
        assert [flag.code for flag in flags] == ["ABANDON_RATIO_HIGH"]

    organised(database_url, relay_at, scenario)


def test_calling_a_tournament_off(sqlite_url: str, relay_at: Any) -> None:
    """Open rounds end and held scores are given up; what was accepted stays; nobody starts any more."""

    async def scenario(cup: Organiser) -> None:
        await cup.make(requireConfirmation=True)
        accepted, held = [await cup.play(player) for player in "ab"]
        path = f"/tournaments/cup/rounds/{accepted['_id']}/game-server-confirmation"
        await cup.call("PUT", path, {"isValid": True, "score": 2652}, keyed=True)
        waiting = (await cup.start("c")).json["_id"]
        off = await cup.call("POST", "/tournaments/cup/cancel", {"reason": "storm"}, keyed=True)
        assert (off.status, off.json["status"]) == (200, "cancelled")
        assert (await cup.call("POST", "/tournaments/cup/cancel", {"reason": "again"}, keyed=True)).json == off.json
        states = [
            (shown["status"], shown["reason"], shown["submissionStatus"])
            for one in (accepted["_id"], held["_id"], waiting)
            for shown in [(await cup.call("GET", f"/rounds/{one}")).json]
        ]
        assert states == [
            ("accepted", None, "accepted"),
            ("invalidated", "TOURNAMENT_CANCELLED", "rejected"),
            ("invalidated", "TOURNAMENT_CANCELLED", None),
        ]
        assert ((await cup.standings())["state"], len((await cup.standings())["standings"])) == ("final", 1)
        assert (await cup.start("d")).json["code"] == "TOURNAMENT_NOT_OPEN"

    organised(sqlite_url, relay_at, scenario)


def test_a_round_started_while_it_is_called_off_ends_with_it(postgres_url: str, relay_at: Any) -> None:
    """Another process's start that is not committed yet is waited for: else its round could still be won."""

    async def scenario(cup: Organiser) -> None:
        await cup.make()
        database, games = cup.relay.database, cup.relay.intake.games
        desk = RoundDesk(database, cup.relay.writer, games, DOMAIN)
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        with database.write() as c:
            wish = Start(games.by_id["streambeat"], "cup", b"\x01" * 20, "p", None)
            started = desk.start(c, wish, database.now_ms(c)).round
            off = asyncio.create_task(cup.call("POST", "/tournaments/cup/cancel", {"reason": "storm"}, keyed=True))
            while not off.done() and not await database.read(lambda c: c.scalar(waiting)):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert (await off).json["status"] == "cancelled"
        assert (await cup.call("GET", f"/rounds/{started.id}")).json["reason"] == "TOURNAMENT_CANCELLED"

    organised(postgres_url, relay_at, scenario)


def test_what_makes_no_tournament(sqlite_url: str, relay_at: Any) -> None:
    """Names, times and keys that are not right; lists."""

    async def scenario(cup: Organiser) -> None:
        assert (await cup.call("POST", "/tournaments", {"name": "x"})).status == 401
        for wrong in ({"name": " "}, {"startsAt": "2026-01-01T00:00:00"}, {"endsAt": "2000-01-01T00:00:00Z"},
                      {"capacity": 0}, {"id": "a b"}, {"confirmationTimeout": 1.5}):  # fmt: skip
            assert (await cup.make(**wrong)).status == 400, wrong
        assert (await cup.make(gameId="another")).json["code"] == "FORBIDDEN_GAME"
        for n in range(3):
            assert (await cup.make(id=f"t{n}", startsAt="2999-01-01T00:00:00Z")).json["status"] == "scheduled"
        first = (await cup.call("GET", "/api/tournaments?limit=2")).json
        rest = (await cup.call("GET", f"/api/tournaments?limit=2&cursor={first['nextCursor']}")).json
        assert [one["id"] for one in first["tournaments"] + rest["tournaments"]] == ["t2", "t1", "t0"]
        assert (await cup.call("GET", "/tournaments/t9")).json["code"] == "TOURNAMENT_UNKNOWN"
        assert (await cup.call("GET", "/tournaments/t%009")).json["code"] == "TOURNAMENT_UNKNOWN"
        assert (await cup.call("POST", "/tournaments/t0/rounds", {"playerId": "p"})).json[
            "code"
        ] == "TOURNAMENT_NOT_OPEN"
        for player in ({}, {"playerId": "a", "playerAddress": "0x" + "a1" * 20}, {"playerAddress": "0x12"}):
            assert (await cup.call("POST", "/rounds", player)).status == 400

    organised(sqlite_url, relay_at, scenario)
