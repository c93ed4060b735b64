"""The outbox over HTTP, over a real sender on the simulated chain: what it shows, what an operator may tell it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from relay.api.application import RelayParts, application
from relay.api.auth import KeyRing
from relay.api.economy import economy_parts
from relay.api.outbox_parts import OutboxParts
from relay.api.revocations import Revocations
from relay.chain_pool import ChainPool
from relay.chain_types import ProviderState
from relay.games import GameConfig, Games
from relay.intake import Intake
from relay.keccak import checksum_address
from relay.outbox.loop import Outbox
from relay.players import Players
from relay.progress import Progress
from relay.store.checkpoints import Where
from relay.store.keys import KeyStore
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import CHAIN_ID, CONTRACT, GAS_KEY, SETTINGS, Bench, bench
from tests.relay.api.test_openapi import check_answer
from tests.relay.conftest import DOMAIN, Relay, Reply

ADDRESS = checksum_address(GAS_KEY.address)
KEY_PATH = "/api/outbox/keys/{address}/"
PROVIDERS = [
    ProviderState("rpc.example:443", True, 7, 0, ""),
    ProviderState("slow.example:443", False, 3, 4, "it lags 4 blocks"),
]


@dataclass
class Desk:
    """A running system seen through HTTP, every answer held against the OpenAPI document."""

    bench: Bench
    chain: FakeChain
    relay: Relay
    outboxes: dict[bytes, Outbox]
    api: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: object = None, *, role: str | None = "admin") -> Reply:
        """Send a request with a key of the role; the answer must be as documented."""
        if role is not None and role not in self.secrets:
            self.secrets[role] = self.relay.keys.create(role).secret
        headers = {"authorization": f"Bearer {self.secrets[role]}"} if role else {}
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        reply = await self.relay.request(method, path, raw, headers)
        check_answer(self.api, method, self.template(path), reply)
        return reply

    async def control(self, action: str, address: str = ADDRESS, **body: object) -> Reply:
        """Tell a key to do something."""
        return await self.ask("POST", f"/api/outbox/keys/{address}/{action}", {"reason": "a test"} | body)

    async def shown(self) -> dict[str, Any]:
        """GET /api/outbox."""
        reply = await self.ask("GET", "/api/outbox", role="auditor")
        assert reply.status == 200
        document: dict[str, Any] = reply.json
        return document

    def template(self, path: str) -> str:
        """The declared path of a path."""
        parts = path.split("/")
        if parts[3:4] == ["keys"]:
            parts[4] = "{address}"
        elif parts[3:4] == ["submissions"]:
            parts[4] = "{submissionId}"
        return "/".join(parts)


@asynccontextmanager
async def desk_at(url: str, chain: FakeChain | None = None, pool: ChainPool | None = None) -> AsyncIterator[Desk]:
    """A desk over an empty database, and over a chain alone or behind a pool of endpoints."""
    async with bench(url) as b:
        chain = chain or FakeChain(CONTRACT)
        edge = pool or chain
        outboxes = {GAS_KEY.address: b.outbox(edge)}
        progress = Progress()
        intake = Intake(b.writer, b.database, None, Games([GameConfig("streambeat")]), progress)
        providers = pool.providers if pool else lambda: PROVIDERS
        parts = OutboxParts(b.database, b.writer, edge, CHAIN_ID, lambda: outboxes, providers)

        async def ready() -> dict[str, Any]:
            return {}

        revocations = Revocations(b.database, b.writer, progress, lambda: None)
        api = application(
            ready=ready,
            relay=RelayParts(
                intake,
                b.database,
                revocations,
                parts,
                Players(b.database, chain, DOMAIN),
                economy_parts(b.database, b.writer, intake.games, Where(CHAIN_ID, CONTRACT)),
            ),
            authenticate=KeyRing(b.database, b.writer),
        )
        relay = Relay(b.database, b.writer, intake, api, KeyStore(b.database), [])
        desk = Desk(b, chain, relay, outboxes)
        desk.api = (await relay.request("GET", "/openapi.json")).json
        yield desk


def run(url: str, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    """Run a scenario on a desk of its own."""

    async def go() -> None:
        async with desk_at(url) as desk:
            await scenario(desk)

    asyncio.run(go())


def test_what_is_under_way_is_shown(database_url: str) -> None:
    """States with their oldest, the key with its nonces and transactions, balance and worst case, endpoints."""

    async def scenario(desk: Desk) -> None:
        await desk.bench.accept(10)
        outbox = desk.outboxes[GAS_KEY.address]
        await outbox.step()
        shown = await desk.shown()
        assert shown["chainId"] == CHAIN_ID
        states = {one["state"]: (one["count"], one["oldestAcceptedAt"]) for one in shown["states"]}
        assert states["sent"] == (10, "1970-01-01T00:00:00.001Z")
        assert states["accepted"] == states["parked"] == (0, None)
        (key,) = shown["keys"]
        assert (key["address"], key["carries"], key["leads"], key["here"]) == (ADDRESS, ["scores"], True, True)
        assert (key["nextNonce"], key["balanceWei"], key["paused"], key["stuck"]) == (3, str(10**21), None, [])
        assert [(one["nonce"], one["state"], one["size"], one["kind"]) for one in key["inFlight"]] == [
            (0, "live", 4, "scores"), (1, "live", 4, "scores"), (2, "live", 2, "scores"),
        ]  # fmt: skip
        tried = [one["attempts"][0] for one in key["inFlight"]]
        assert {one["txHash"] for one in tried} == {"0x" + tx.tx_hash.hex() for tx in desk.chain.pool.values()}
        assert int(key["reservedWei"]) == sum(int(one["feeWei"]) * one["gasLimit"] for one in tried)
        assert [(one["name"], one["healthy"], one["lagBlocks"]) for one in shown["providers"]] == [
            ("rpc.example:443", True, 0), ("slow.example:443", False, 4),
        ]  # fmt: skip
        desk.chain.mine()
        await outbox.step()
        (key,) = (await desk.shown())["keys"]
        assert {(one["state"], one["blockNumber"]) for one in key["inFlight"]} == {("mined", 1)}
        assert key["reservedWei"] == "0"

    run(database_url, scenario)


def test_the_chain_being_away_hides_balances_only(sqlite_url: str) -> None:
    """What is stuck is shown when it matters most; a key nobody runs says what to do."""

    async def scenario(desk: Desk) -> None:
        await desk.bench.accept(1)
        await desk.outboxes[GAS_KEY.address].step()
        desk.chain.down = True
        desk.outboxes[GAS_KEY.address].desk.trouble["gas"] = "fill it"
        (key,) = (await desk.shown())["keys"]
        assert key["balanceWei"] is None
        assert key["stuck"] == [{"what": "gas", "detail": "fill it"}]
        await desk.outboxes.pop(GAS_KEY.address).stop()
        (key,) = (await desk.shown())["keys"]
        assert (key["here"], key["leads"], key["carries"]) == (False, False, [])
        assert [one["what"] for one in key["stuck"]] == ["lease"]

    run(sqlite_url, scenario)


def test_what_is_stuck_is_shown_by_every_process(sqlite_url: str) -> None:
    """Whoever holds the lease writes it there; one that stands by, or runs no sender at all, shows it."""

    async def scenario(desk: Desk) -> None:
        leader = desk.outboxes[GAS_KEY.address]
        await leader.step()
        leader.desk.trouble["gas"] = "fill it"
        stand_by = desk.outboxes[GAS_KEY.address] = desk.bench.outbox(
            desk.chain, settings=replace(SETTINGS, steal_lease=False)
        )
        leader.desk.clock.now += 60  # type: ignore[attr-defined]
        await leader.step()
        await stand_by.step()
        assert (leader.leads, stand_by.leads) == (True, False)
        (key,) = (await desk.shown())["keys"]
        assert (key["here"], key["stuck"]) == (True, [{"what": "gas", "detail": "fill it"}])
        del desk.outboxes[GAS_KEY.address]
        (key,) = (await desk.shown())["keys"]
        assert (key["here"], key["stuck"]) == (False, [{"what": "gas", "detail": "fill it"}])
        leader.desk.trouble.clear()
        leader.desk.clock.now += 60  # type: ignore[attr-defined]
        await leader.step()
        assert (await desk.shown())["keys"][0]["stuck"] == []

    run(sqlite_url, scenario)


def test_pause_and_resume_over_http(database_url: str) -> None:
    """A paused key sends nothing; resumed, it does; who and why is on record."""

    async def scenario(desk: Desk) -> None:
        outbox = desk.outboxes[GAS_KEY.address]
        await outbox.step()
        paused = await desk.control("pause", reason="the node is upgraded\0")
        assert paused.status == 200
        assert paused.json["paused"]["reason"] == "the node is upgraded\ufffd"
        assert (await desk.control("pause")).json == paused.json
        await desk.bench.accept(1)
        await outbox.step()
        assert desk.chain.sends == 0
        (key,) = (await desk.shown())["keys"]
        assert key["paused"] == paused.json["paused"]
        assert (await desk.control("resume", address=ADDRESS.lower())).json == {"address": ADDRESS, "paused": None}
        await outbox.step()
        assert desk.chain.sends == 1
        shown = await desk.shown()
        assert shown["keys"][0]["paused"] is None
        assert [(one["action"], one["subject"]) for one in shown["actions"]] == [
            ("resume", ADDRESS),
            ("pause", ADDRESS),
        ]
        assert {one["actor"] for one in shown["actions"]} == {desk.relay.keys.list()[-1].id}

    run(database_url, scenario)


def test_a_stuck_nonce_is_voided(database_url: str) -> None:
    """The void is mined in place of the batch; its scores go with another nonce; every step is shown."""

    async def scenario(desk: Desk) -> None:
        await desk.bench.accept(3)
        outbox = desk.outboxes[GAS_KEY.address]
        await outbox.step()
        asked = await desk.control("void", nonce=0)
        assert asked.status == 202
        assert (await desk.control("void", nonce=0)).json == asked.json
        desk.chain.base_fee *= 50  # the next block takes nothing of ours
        desk.chain.mine()
        await outbox.step()
        (key,) = (await desk.shown())["keys"]
        (nonce,) = key["inFlight"]
        assert nonce["voidRequestedAt"] == asked.json["requestedAt"]
        assert [one["void"] for one in nonce["attempts"]] == [False, True]
        for _ in range(8):
            desk.chain.mine()
            await outbox.step()
        assert await desk.bench.all_final(3)
        assert desk.chain.next_nonce() == 2
        refused = await desk.control("void", nonce=0)
        assert (refused.status, refused.json["code"]) == (409, "NONCE_NOT_VOIDABLE")

    run(database_url, scenario)


def test_a_parked_score_is_shown_and_tried_again(database_url: str) -> None:
    """With the contract's reason; once that is gone, it is recorded."""

    async def scenario(desk: Desk) -> None:
        (parked,) = await desk.bench.accept(1)
        outbox = desk.outboxes[GAS_KEY.address]
        desk.chain.poison = {1}
        for _ in range(8):
            await outbox.step()
            desk.chain.mine()
        shown = await desk.shown()
        assert [one["submissionId"] for one in shown["parked"]] == [parked]
        assert shown["parked"][0]["reason"]
        desk.chain.poison = set()
        path = f"/api/outbox/submissions/{parked}/retry"
        reply = await desk.ask("POST", path, {"reason": "the contract was fixed"})
        assert (reply.status, reply.json["status"]) == (202, "accepted")
        again = await desk.ask("POST", path, {"reason": "the contract was fixed"})
        assert (again.status, again.json["code"]) == (409, "SUBMISSION_NOT_PARKED")
        for _ in range(6):
            await outbox.step()
            desk.chain.mine()
        assert await desk.bench.all_final(1)

    run(database_url, scenario)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (f"keys/{ADDRESS}/void", {"nonce": 5, "reason": "x"}, 404, "NONCE_UNKNOWN"),
        (f"keys/{ADDRESS}/void", {"nonce": -1, "reason": "x"}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/void", {"nonce": 2**53, "reason": "x"}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/void", {"nonce": True, "reason": "x"}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/void", {"reason": "x"}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/pause", {}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/pause", {"reason": " "}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/pause", {"reason": "x" * 501}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/pause", {"reason": "x", "for": 5}, 400, "PAYLOAD_MALFORMED"),
        (f"keys/{ADDRESS}/resume", b"\xff", 400, "PAYLOAD_MALFORMED"),
        (f"keys/0x{'11' * 20}/pause", {"reason": "x"}, 404, "SENDER_UNKNOWN"),
        (f"keys/0x{'11' * 20}/void", {"nonce": 0, "reason": "x"}, 404, "SENDER_UNKNOWN"),
        ("keys/0x12/pause", {"reason": "x"}, 400, "PATH_INVALID"),
        (f"keys/0x{ADDRESS[2:].swapcase()}/pause", {"reason": "x"}, 400, "PATH_INVALID"),
        ("submissions/sub_none/retry", {"reason": "x"}, 404, "SUBMISSION_UNKNOWN"),
        ("submissions/%00/retry", {"reason": "x"}, 404, "SUBMISSION_UNKNOWN"),
    ],
)
def test_refusals(sqlite_url: str, path: str, body: object, status: int, code: str) -> None:
    """Each has its own code, changes nothing, and is recorded nowhere."""

    async def scenario(desk: Desk) -> None:
        await desk.outboxes[GAS_KEY.address].step()
        reply = await desk.ask("POST", f"/api/outbox/{path}", body)
        assert (reply.status, reply.json["code"]) == (status, code)
        assert (await desk.shown())["actions"] == []

    run(sqlite_url, scenario)


@pytest.mark.parametrize("role", ["server", "client", "auditor", None])
def test_only_admins_change_things(sqlite_url: str, role: str | None) -> None:
    """Auditors may look; nobody else may even do that."""

    async def scenario(desk: Desk) -> None:
        await desk.outboxes[GAS_KEY.address].step()
        expected = (401, "NOT_AUTHENTICATED") if role is None else (403, "FORBIDDEN_ROLE")
        for action, body in (("pause", {}), ("resume", {}), ("void", {"nonce": 0})):
            path = f"/api/outbox/keys/{ADDRESS}/{action}"
            reply = await desk.ask("POST", path, {"reason": "x", **body}, role=role)
            assert (reply.status, reply.json["code"]) == expected
        reply = await desk.ask("POST", "/api/outbox/submissions/sub_x/retry", {"reason": "x"}, role=role)
        assert (reply.status, reply.json["code"]) == expected
        looked = await desk.ask("GET", "/api/outbox", role=role)
        assert looked.status == (200 if role == "auditor" else expected[0])

    run(sqlite_url, scenario)


def test_a_key_of_one_game_is_refused(sqlite_url: str) -> None:
    """Senders serve all games."""

    async def scenario(desk: Desk) -> None:
        desk.secrets["admin"] = desk.relay.keys.create("admin", game_id="streambeat").secret
        refused = [
            await desk.ask("GET", "/api/outbox"),
            await desk.control("pause"),
            await desk.ask("POST", "/api/outbox/submissions/sub_x/retry", {"reason": "x"}),
        ]
        assert [(reply.status, reply.json["code"]) for reply in refused] == [(403, "FORBIDDEN_GAME")] * 3

    run(sqlite_url, scenario)
