"""Rounds over HTTP on real databases: the escs protocol, held scores, seeds, encryption, replays."""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from sqlalchemy import text

from relay import payload
from relay.games import GameConfig
from relay.keccak import checksum_address, keccak
from relay.rounds import player_address
from tests.relay.api.test_openapi import check_answer
from tests.relay.conftest import PLAYER, play

ESCS = ("status", "isDeleted", "_id", "playerId", "tournamentId", "createdAt", "updatedAt", "__v")
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30_000}
# The server's clock is real: a play that claims 30 s half a second after its start is what TIMING_IMPLAUSIBLE is about.
GAME = GameConfig(
    "streambeat",
    anonymous_submit=True,
    switches={"TIMING_IMPLAUSIBLE": "dry_run"},
    confirmation_timeout_s=60,
)
TOURNAMENT = {"id": "cup", "name": "Cup", "requireConfirmation": True}


class Server:
    """A game's server and its players, as they call the relay."""

    def __init__(self, relay: Any) -> None:
        self.relay = relay
        self.key = relay.keys.create("server", game_id="streambeat", name="server").secret

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send one request with the server's key."""
        raw = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.relay.request(method, path, raw, {"prefer": "respond-async"} | named)

    async def tournament(self, **changes: object) -> Any:
        """Make a tournament."""
        return await self.call("POST", "/api/tournaments", TOURNAMENT | changes, authorization=f"Bearer {self.key}")

    async def start(self, base: str = "/tournaments/cup/rounds", **body: object) -> Any:
        """Start a round."""
        return await self.call("POST", base, body or {"playerId": "5f158719c9e95137883b8b7c"})

    async def end(self, round_id: str, base: str = "/tournaments/cup/rounds", **changes: object) -> Any:
        """Report a round."""
        return await self.call("POST", f"{base}/{round_id}/end", PLAY | changes)

    async def confirm(self, round_id: str, base: str = "/tournaments/cup/rounds", **said: object) -> Any:
        """Confirm a round as escs documents it."""
        path = f"{base}/{round_id}/game-server-confirmation"
        return await self.call("PUT", path, said, escs_game_secret_key=self.key)


Play = Callable[[Server], Any]


def served(url: str, relay_at: Any, scenario: Play, *games: GameConfig) -> None:
    """Run a scenario against a relay."""

    async def run() -> None:
        async with relay_at(url, *(games or (GAME,))) as relay:
            await scenario(Server(relay))

    asyncio.run(run())


async def rows(server: Server, statement: str) -> list[Any]:
    """All rows of a query."""
    found: list[Any] = await server.relay.database.read(lambda c: c.execute(text(statement)).all())
    return found


async def turn_back(server: Server, column: str, ms: int = 10_000_000) -> None:
    """Let a deadline lie in the past."""
    shift = text(f"UPDATE rounds SET {column} = {column} - {ms}")
    await server.relay.writer.run(lambda c: c.execute(shift))


def test_the_escs_protocol(database_url: str, relay_at: Any) -> None:
    """Start, end, confirmation as escs documents them: shape, held until confirmed, then level 2 and signed."""

    async def scenario(server: Server) -> None:
        made = await server.tournament()
        assert (made.status, made.json["status"]) == (201, "open")
        started = await server.start()
        told = started.json
        assert started.status == 201
        assert tuple(told)[: len(ESCS)] == ESCS
        assert (told["status"], told["isDeleted"], told["__v"], told["tournamentId"]) == ("active", False, 0, "cup")
        assert (len(told["_id"]), told["playerId"]) == (24, "5f158719c9e95137883b8b7c")
        player = player_address("streambeat", "5f158719c9e95137883b8b7c")
        assert told["player"] == checksum_address(player)
        held = await server.end(told["_id"])
        said = held.json
        assert (held.status, said["status"], said["submission"]["status"]) == (200, "reported", "held")
        assert (said["submission"]["receipt"], said["confirmationDeadline"] is None) == (None, False)
        again = await server.end(told["_id"])
        assert (again.body, again.headers["idempotent-replayed"]) == (held.body, "true")
        other = await server.end(told["_id"], score=2653)
        assert (other.status, other.json["code"]) == (409, "ROUND_ALREADY_USED")
        confirmed = await server.confirm(told["_id"], isValid=True, score=2652)
        assert (confirmed.status, confirmed.json["status"], confirmed.json["evidenceLevel"]) == (200, "accepted", 2)
        assert (await server.confirm(told["_id"], isValid=True, score=2652)).body == confirmed.body
        contradicts = await server.confirm(told["_id"], isValid=False)
        assert (contradicts.status, contradicts.json["code"]) == (409, "CONFIRMATION_CONTRADICTS")
        assert (await server.end(told["_id"])).body == held.body
        await check_accepted(server, said["submissionId"], player)

    served(database_url, relay_at, scenario)


def test_a_reused_idempotency_key_is_refused_beside_others(sqlite_url: str, relay_at: Any) -> None:
    """Whoever sends one again and again does not keep others' rounds and scores from being committed together."""

    async def scenario(server: Server) -> None:
        calls = [
            server.call("POST", "/api/rounds", {"playerId": f"p{number}", "idempotencyKey": "one"})
            for number in range(20)
        ]
        told = await asyncio.gather(*calls)
        assert sorted({(reply.status, reply.json.get("code")) for reply in told[1:]}) == [
            (422, "IDEMPOTENCY_KEY_REUSED")
        ]
        assert (told[0].status, server.relay.writer.stats.alone) == (201, 0)

    served(sqlite_url, relay_at, scenario)


def test_submit_score_reports_a_round_as_documented(sqlite_url: str, relay_at: Any) -> None:
    """A score that its round holds has no receipt yet; a round's refusals are declared."""

    async def scenario(server: Server) -> None:
        api = (await server.call("GET", "/openapi.json")).json
        await server.tournament()
        started = (await server.start(playerAddress=PLAYER)).json
        held = await server.relay.submit(play(roundId=started["_id"]))
        assert (held.status, held.json["status"], held.json["receipt"]) == (202, "held", None)
        other = await server.relay.submit(play(roundId=started["_id"], score=2653))
        assert other.json["code"] == "ROUND_ALREADY_USED"
        for reply in (held, other):
            check_answer(api, "POST", "/api/submit-score", reply)
        assert {"403", "404", "409"} <= set(api["paths"]["/api/submit-score"]["post"]["responses"])

    served(sqlite_url, relay_at, scenario)


async def check_accepted(server: Server, submission_id: str, player: bytes) -> None:
    """The submission is accepted with a receipt over evidence that names round and confirmation."""
    shown = (await server.call("GET", f"/api/submissions/{submission_id}")).json
    assert (shown["status"], shown["evidenceLevel"], shown["roundId"]) == ("accepted", 2, 1)
    receipt = shown["receipt"]
    signable = encode_typed_data(full_message=receipt["typedData"])
    assert Account.recover_message(signable, signature=receipt["signature"]) == receipt["signer"]
    body = (await server.call("GET", f"/api/evidence/{shown['evidenceHash']}")).body
    assert "0x" + keccak(body).hex() == shown["evidenceHash"] == receipt["evidenceHash"]
    evidence = json.loads(body)
    assert (evidence["outcome"], evidence["evidenceLevel"], evidence["confirmation"]["score"]) == ("accepted", 2, 2652)
    assert (evidence["player"], evidence["round"]["tournamentId"]) == ("0x" + player.hex(), "cup")
    assert [step["status"] for step in shown["history"]] == ["held", "accepted"]


@pytest.mark.parametrize(
    ("said", "code"),
    [({"isValid": True, "score": 2651}, "BACKEND_SCORE_MISMATCH"), ({"isValid": False}, "CONFIRMATION_REFUSED")],
)
def test_what_is_not_confirmed_is_given_up(sqlite_url: str, relay_at: Any, said: Any, code: str) -> None:
    """A mismatch and `false` invalidate the round; the held score was never signed."""

    async def scenario(server: Server) -> None:
        await server.tournament()
        round_id = (await server.start()).json["_id"]
        held = await server.end(round_id)
        shown = (await server.confirm(round_id, **said)).json
        assert (shown["status"], shown["reason"], shown["submissionStatus"]) == ("invalidated", code, "rejected")
        assert (await server.end(round_id)).body == held.body
        row = (await rows(server, "SELECT status, code, receipt_signature, round_id FROM submissions"))[0]
        assert tuple(row) == ("rejected", code, None, None)

    served(sqlite_url, relay_at, scenario)


def test_after_acceptance_false_revokes_and_true_raises(database_url: str, relay_at: Any) -> None:
    """A round that needs no confirmation is accepted at once; what the server says later still counts."""

    async def scenario(server: Server) -> None:
        raised = (await server.start("/api/rounds", playerAddress="0x" + secrets.token_hex(20))).json["_id"]
        first = await server.end(raised, "/api/rounds")
        assert (first.json["status"], first.json["submission"]["evidenceLevel"]) == ("accepted", 1)
        shown = (await server.confirm(raised, "/api/rounds", isValid=True, score=2652)).json
        assert (shown["status"], shown["evidenceLevel"], shown["submissionStatus"]) == ("accepted", 2, "accepted")
        assert (await server.end(raised, "/api/rounds")).body == first.body
        taken = (await server.start("/rounds", playerId="x")).json["_id"]
        assert (await server.end(taken, "/rounds")).json["submission"]["receipt"]["signature"]
        shown = (await server.confirm(taken, "/rounds", isValid=False)).json
        assert (shown["status"], shown["reason"]) == ("invalidated", "CONFIRMATION_REFUSED")
        assert shown["submissionStatus"] == "revoked"
        orders = await rows(server, "SELECT action, state, asked_by FROM revocations")
        assert [(row.action, row.state, row.asked_by[:4]) for row in orders] == [("revoke", "waiting", "key_")]

    served(database_url, relay_at, scenario)


def test_confirmed_before_the_report(sqlite_url: str, relay_at: Any) -> None:
    """Either order works; with another score the report is refused with the check that says so."""

    async def scenario(server: Server) -> None:
        await server.tournament()
        first, second = [(await server.start(playerId=f"p{n}")).json["_id"] for n in range(2)]
        for one in (first, second):
            assert (await server.confirm(one, isValid=True, score=2652)).json["status"] == "confirmed"
        accepted = (await server.end(first)).json
        assert (accepted["status"], accepted["submission"]["evidenceLevel"]) == ("accepted", 2)
        assert accepted["confirmation"]["score"] == 2652
        refused = await server.end(second, score=2653)
        assert (refused.status, refused.json["code"]) == (422, "BACKEND_SCORE_MISMATCH")
        shown = (await server.call("GET", f"/tournaments/cup/rounds/{second}")).json
        assert (shown["status"], shown["reason"]) == ("invalidated", "BACKEND_SCORE_MISMATCH")

    served(sqlite_url, relay_at, scenario)


def test_a_wrong_secret_changes_nothing(sqlite_url: str, relay_at: Any) -> None:
    """401 without or with a wrong secret, 403 with a key that is no server's or another game's."""

    async def scenario(server: Server) -> None:
        await server.tournament()
        round_id = (await server.start()).json["_id"]
        path = f"/api/tournaments/cup/rounds/{round_id}/game-server-confirmation"
        said = {"isValid": False}
        client = server.relay.keys.create("client", game_id="streambeat", name="c").secret
        other = server.relay.keys.create("server", game_id="another", name="o").secret
        assert (await server.call("PUT", path, said)).status == 401
        assert (await server.call("PUT", path, said, escs_game_secret_key="fs_live_sk_wrong")).status == 401
        assert (await server.call("PUT", path, said, escs_game_secret_key=client)).status == 403
        assert (await server.call("PUT", path, said, escs_game_secret_key=other)).json["code"] == "FORBIDDEN_GAME"
        assert (await server.call("GET", f"/rounds/{round_id}")).json["status"] == "active"
        assert (await server.call("PUT", path, said, authorization=f"Bearer {server.key}")).status == 200

    served(sqlite_url, relay_at, scenario)


def test_a_round_is_its_players_its_charts_and_in_time(database_url: str, relay_at: Any) -> None:
    """Every code of the round protocol, over submit-score and over `/end`."""

    async def scenario(server: Server) -> None:
        mine, others = "0x" + "a1" * 20, "0x" + "b2" * 20
        first = (await server.start("/api/rounds", playerAddress=mine, chartId="c1")).json["_id"]

        async def submit(player: str, round_id: str, **changes: object) -> Any:
            body = {"playerAddress": player, "roundId": round_id, "scoreData": PLAY | changes}
            return await server.call("POST", "/api/submit-score", body)

        assert (await submit(others, first)).json["code"] == "ROUND_WRONG_PLAYER"
        assert (await submit(mine, "ab" * 12)).json["code"] == "ROUND_UNKNOWN"
        assert (await submit(mine, "ours")).json["code"] == "ROUND_UNKNOWN"
        bare = await server.call("POST", "/api/submit-score", {"playerAddress": mine, "scoreData": PLAY})
        assert bare.json["code"] == "ROUND_REQUIRED"
        wrapped = {"scoreData": PLAY, "chartId": "c2"}
        wrong = await server.call("POST", f"/rounds/{first}/end", wrapped)
        assert wrong.json["code"] == "ROUND_WRONG_CHART"
        assert (await submit(mine, first)).json["status"] == "accepted"
        assert (await server.end(first, "/rounds")).headers["idempotent-replayed"] == "true"
        assert (await server.end(first, "/rounds", miss=4)).json["code"] == "ROUND_ALREADY_USED"
        late = (await server.start("/api/rounds", playerAddress=mine)).json["_id"]
        await turn_back(server, "due_at_ms")
        assert (await submit(mine, late)).json["code"] == "ROUND_EXPIRED"
        assert (await server.confirm(late, "/rounds", isValid=True, score=1)).json["code"] == "ROUND_EXPIRED"
        assert (await server.call("GET", f"/rounds/{late}")).json["reason"] == "ROUND_EXPIRED"
        opened = [(await server.start("/rounds", playerAddress=mine)).json["_id"] for _ in range(3)]
        reasons = [(await server.call("GET", f"/rounds/{one}")).json["reason"] for one in opened]
        assert reasons == ["TOO_MANY_OPEN_ROUNDS", None, None]
        assert (await rows(server, "SELECT count(*) AS n FROM submissions"))[0].n == 1

    game = GameConfig("streambeat", anonymous_submit=True, require_rounds=True, switches={"TIMING_IMPLAUSIBLE": "flag"})
    served(database_url, relay_at, scenario, game)


def test_the_servers_clock(sqlite_url: str, relay_at: Any) -> None:
    """A play longer than its round is refused; one much shorter is flagged and accepted."""

    async def scenario(server: Server) -> None:
        fast = (await server.start("/rounds", playerId="fast")).json["_id"]
        refused = await server.end(fast, "/rounds")
        assert (refused.status, refused.json["code"]) == (422, "TIMING_IMPLAUSIBLE")
        slow = (await server.start("/rounds", playerId="slow")).json["_id"]
        await turn_back(server, "issued_at_ms", 40_000)
        accepted = (await server.end(slow, "/rounds")).json
        assert accepted["status"] == "accepted"
        codes = [row.code for row in await rows(server, "SELECT code FROM audit_flags ORDER BY code")]
        assert codes == ["TIMING_IMPLAUSIBLE", "WALL_CLOCK_DRIFT"]

    served(sqlite_url, relay_at, scenario, GameConfig("streambeat", anonymous_submit=True))


def test_anybody_can_recompute_a_seed(sqlite_url: str, relay_at: Any) -> None:
    """The secret's hash stands in the tournament and its rounds from the start; the secret after the end only."""

    async def scenario(server: Server) -> None:
        made = (await server.tournament(endsAt="2999-01-01T00:00:00Z", requireConfirmation=False, chart="c")).json
        started = (await server.start()).json
        assert started["seedCommitment"] == made["seedCommitment"]
        hidden = (await server.call("GET", "/tournaments/cup/seed")).json
        assert (hidden["secret"], hidden["seedCommitment"]) == (None, made["seedCommitment"])
        cancelled = await server.call(
            "POST", "/tournaments/cup/cancel", {"reason": "rain"}, authorization=f"Bearer {server.key}"
        )
        assert (cancelled.json["status"], cancelled.json["cancelReason"]) == ("cancelled", "rain")
        secret = bytes.fromhex((await server.call("GET", "/tournaments/cup/seed")).json["secret"][2:])
        assert "0x" + hashlib.sha256(secret).hexdigest() == made["seedCommitment"]
        message = bytes.fromhex(started["_id"] + started["player"][2:] + started["chartHash"][2:])
        assert "0x" + hmac.new(secret, message, "sha256").hexdigest() == started["seed"]
        assert started["chartHash"] == "0x" + keccak(b"c").hex()
        free = (await server.start("/rounds")).json
        today = (await server.call("GET", "/api/rounds/seed")).json
        assert (today["seedCommitment"], today["secret"]) == (free["seedCommitment"], None)
        over = (await server.call("GET", "/api/rounds/seed?day=2020-01-01")).json
        assert over["code"] == "SEED_NOT_COMMITTED"

    served(sqlite_url, relay_at, scenario)


def test_an_encrypted_report(database_url: str, relay_at: Any) -> None:
    """The same report encrypted anew is the same report; an IV used for another one is refused like any failure."""

    async def scenario(server: Server) -> None:
        first, second = [(await server.start("/rounds", playerId=f"p{n}")).json for n in range(2)]
        game_key = (await rows(server, "SELECT secret FROM encryption_keys"))[0].secret
        assert payload.shown_key(bytes(game_key), first["_id"]) == first["encryptionKey"]
        iv = secrets.token_bytes(12)

        async def end(told: Any, iv: bytes, **changes: object) -> Any:
            sealed = payload.encrypt(bytes(game_key), told["_id"], iv, json.dumps(PLAY | changes).encode())
            body = {"encrypted": sealed, "keyId": told["encryptionKeyId"]}
            return await server.call("POST", f"/rounds/{told['_id']}/end", body)

        accepted = await end(first, iv)
        assert (accepted.status, accepted.json["status"]) == (200, "accepted")
        anew = await end(first, secrets.token_bytes(12))
        assert (anew.body, anew.headers["idempotent-replayed"]) == (accepted.body, "true")
        reused = await end(second, iv)
        assert (reused.status, reused.json["code"]) == (400, "PAYLOAD_DECRYPT_FAILED")
        assert (await server.call("GET", f"/rounds/{second['_id']}")).json["status"] == "active"
        assert (await end(second, secrets.token_bytes(12))).status == 200

    served(database_url, relay_at, scenario)


BODIES = (
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff", b"{}", b'{"a":1}', b"[" * 5_000, b'{"a":' * 5_000,
    b'{"playerId":"\\u0000"}', b'{"playerId":""}', b'{"playerId":"a b"}', b'{"playerId":1}', b'{"playerId":"\\ud800"}',
    b'{"playerId":"p","playerId":"q"}', b'{"playerAddress":"0x' + b"f" * 39 + b'"}', b'{"chartId":"c"}',
    b'{"isValid":1}', b'{"isValid":"true"}', b'{"isValid":true}', b'{"isValid":true,"score":1.0}',
    b'{"isValid":true,"score":1e3}', b'{"isValid":true,"score":9007199254740993}', b'{"isValid":true,"score":null}',
    b'{"scoreData":{}}', b'{"scoreData":null}', b'{"scoreData":1,"encrypted":2}', b'{"encrypted":"","keyId":""}',
    b'{"encrypted":"AAAA","keyId":"\\u0000"}', b'{"encrypted":1}', b'{"score":true}', b'{"reason":" "}',
    b'{"name":"x","startsAt":"0001-01-01T00:00:00+23:59"}', b'{"name":"x","endsAt":"9999-12-31T23:59:59-23:59"}',
    b'{"name":"\\u0000","id":"z"}', b'{"name":"x","gameId":"\\u0000"}',
)  # fmt: skip
IDS = ("x", "0" * 24, "0" * 5_000, "%00", "\0", "\ud800", "é", "..", "' OR 1=1")


def test_nothing_that_is_sent_breaks_it(database_url: str, relay_at: Any) -> None:
    """Every route of rounds and tournaments with bodies and ids nobody should send: refused, never a 500."""

    async def scenario(server: Server) -> None:
        await server.tournament()
        started = (await server.start()).json["_id"]
        word = f"/rounds/{started}/game-server-confirmation"
        wrong = [("POST", path, body) for path in ("/tournaments", "/rounds", "/tournaments/cup/rounds",
                 f"/rounds/{started}/end") for body in BODIES]  # fmt: skip
        wrong += [("PUT", word, body) for body in BODIES]
        for one in IDS:
            paths = (
                f"/rounds/{one}",
                f"/tournaments/{one}",
                f"/tournaments/{one}/standings",
                f"/tournaments/{one}/seed",
            )
            wrong += [("GET", path, b"") for path in (*paths, f"/tournaments/cup/rounds/{one}")]
            wrong.append(("POST", f"/rounds/{one}/end", b"{}"))
            wrong.append(("PUT", f"/rounds/{one}/game-server-confirmation", b'{"isValid":false}'))
        days = ("day=0000-00-00", "day=0001-01-01", "day=9999-12-31", "day=x", "gameId=%00", "day=2026-02-30")
        wrong += [("GET", f"/rounds/seed?{query}", b"") for query in days]
        for cursor in ("", "AA", "MC8wLzAvMA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5LzEvMS94", "LTEvMC8wL3g"):
            wrong += [
                ("GET", f"{path}?cursor={cursor}", b"") for path in ("/tournaments", "/tournaments/cup/standings")
            ]
        keyed = {"authorization": f"Bearer {server.key}"}
        broke = [one for one in wrong if (await server.relay.request(*one, keyed)).status >= 500]
        assert broke == []
        assert (await server.call("GET", f"/rounds/{started}")).json["status"] == "active"

    served(database_url, relay_at, scenario)
