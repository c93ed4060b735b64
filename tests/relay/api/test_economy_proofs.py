"""What anybody checks an economy with: an answer, saved as it is, is proved offline; one that was changed is not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from typer.testing import CliRunner

from relay.anchoring import Anchoring
from relay.cli import app
from relay.economy.checkpoints import Cadence
from relay.seeds import DAY_MS
from relay.store.checkpoint_tables import checkpoints, ledger_tiles
from tests.harness.economy_http import Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

GAME = "streambeat"  # which the relay serves, so that who has no key can name it
Q = f"?gameId={GAME}"
GRANT = {"externalId": "ann", "currencyId": "gold", "amount": 3}
PAGE = "/api/audit/checkpoints"


async def found(server: Server) -> None:
    """A game that the relay serves, with a player, a recipe by chance and a nested loot table."""
    data_of(await server.post("/currencies", {"currencyId": "gold", "name": "Gold", "icon": "o"}))
    for item_id in ("iron", "sword"):
        data_of(await server.post("/items", {"itemId": item_id, "name": item_id}))
    chances = [{"itemId": "sword", "quantity": 1, "chance": 0.5}, {"itemId": "iron", "quantity": 2, "chance": 0.125}]
    data_of(await server.post("/recipes", {"recipeId": "blade", "outputs": chances,
                                           "costs": [{"currencyId": "gold", "amount": 1}]}))  # fmt: skip
    inner = [{"itemId": "sword", "weight": 3}, {"currencyId": "gold", "amount": 50, "weight": 7}]
    data_of(await server.post("/loot-tables", {"lootTableId": "pouch", "rolls": 2, "entries": inner}))
    outer = [{"lootTableId": "pouch", "weight": 1}, {"weight": 1}]
    data_of(await server.post("/loot-tables", {"lootTableId": "chest", "rolls": 5, "entries": outer}))
    data_of(await server.post("/players", {"externalId": "ann", "wallets": [{"currencyId": "gold", "balance": 99}]}))


async def granted(server: Server, count: int) -> list[str]:
    """Grant so often; returns the transactions' ids."""
    return [data_of(await server.post("/grant", GRANT))["transactionId"] for _ in range(count)]


async def anchored(server: Server, number: int) -> None:
    """Make a checkpoint of all there is, and let it be final as if a transaction with it were."""
    relay = server.relay
    (made,) = await Anchoring(relay.database, relay.writer, Cadence(every_ms=0)).advance()
    values = {"state": "final", "tx_hash": bytes([number]) * 32, "block_number": number, "head": bytes([number]) * 32,
              "signer": bytes([number]) * 20, "resolved_at_ms": 1}  # fmt: skip
    await relay.writer.run(
        lambda c: c.execute(update(checkpoints).where(checkpoints.c.id == made.checkpoint_id).values(values))
    )


async def public(server: Server, path: str) -> Any:
    """Ask without a key."""
    return await server.relay.request("GET", path)


@pytest.fixture
def play(database_url: str, relay_at: Any) -> Callable[[Callable[[Server], Any]], None]:
    """Run a scenario in a founded game."""

    def run(scenario: Callable[[Server], Any]) -> None:
        async def all_of_it(other: Server) -> None:
            server = Server(other.relay, game_id=GAME)
            await found(server)
            await scenario(server)

        with_server(database_url, relay_at, all_of_it)

    return run


def verified(folder: Path, command: str, body: bytes, *options: str) -> tuple[int, dict[str, str]]:
    """Save an answer and run the verifier on it; returns its exit code and the state of each step."""
    file = folder / "saved.json"
    file.write_bytes(body)
    ran = CliRunner().invoke(app, [command, str(file), "--json", *options])
    return ran.exit_code, {one["check"]: one["state"] for one in json.loads(ran.output)["checks"]}


Play = Callable[[Callable[[Server], Any]], None]


def test_a_saved_proof_is_proved_and_a_changed_one_is_not(play: Play, tmp_path: Path) -> None:
    """Of every transaction, by whoever knows the anchored root; any change of amount, place or path is found out."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        ids = await granted(server, 5)
        check_refused(await public(server, f"/api/economy/proofs/{ids[0]}{Q}"), 409, "NOT_ANCHORED_YET")
        await anchored(server, 1)
        late = (await granted(server, 1))[0]
        check_refused(await public(server, f"/api/economy/proofs/{late}{Q}"), 409, "NOT_ANCHORED_YET")
        root = data_of(await public(server, PAGE + Q))["checkpoints"][0]["root"]
        for transaction_id in ids:
            reply = await public(server, f"/api/economy/proofs/{transaction_id}{Q}")
            check_answer(api, "GET", "/api/economy/proofs/{transactionId}", reply)
            assert reply.headers["cache-control"] == "public, max-age=86400"
            assert reply.headers["access-control-allow-origin"] == "*"
            code, steps = verified(tmp_path, "verify-proof", reply.body, "--root", root)
            assert (code, set(steps.values())) == (0, {"ok"}), steps
        proof = reply.json["data"]
        assert proof["transaction"]["id"] == ids[-1]
        assert verified(tmp_path, "verify-proof", json.dumps(proof).encode(), "--root", root)[0] == 0
        for change in (
            {"transaction": {**proof["transaction"], "moves": [{**proof["transaction"]["moves"][0], "amount": 4}]}},
            {"path": proof["path"][::-1]},
            {"gameId": "another"},
        ):
            forged = json.dumps({**reply.json, "data": {**proof, **change}}).encode()
            assert verified(tmp_path, "verify-proof", forged, "--root", root)[0] == 1, change
        assert verified(tmp_path, "verify-proof", reply.body, "--root", "0x" + "00" * 32)[0] == 1
        twice = reply.body.replace(b'{"success":true', b'{"data":{},"success":true')
        assert verified(tmp_path, "verify-proof", twice, "--root", root)[0] == 1
        listed = await server.data("/transactions?limit=200")
        assert [one["anchored"] for one in listed["transactions"]] == [False] + [True] * 6

    play(scenario)


def test_a_later_ledger_is_proved_to_begin_with_an_earlier_one(play: Play, tmp_path: Path) -> None:
    """Between any two final checkpoints, by default up to the newest; the wrong way round is refused."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        for number, count in enumerate((3, 9, 2), 1):
            await granted(server, count)
            await anchored(server, number)
        await granted(server, 1)
        await Anchoring(server.relay.database, server.relay.writer, Cadence(every_ms=0)).advance()
        reply = await public(server, PAGE + Q)
        check_answer(api, "GET", PAGE, reply)
        page = data_of(reply)
        assert [(one["state"], one["size"], one["count"]) for one in page["checkpoints"]] == [
            ("waiting", 16, 1), ("final", 15, 2), ("final", 13, 9), ("final", 4, 4)]  # fmt: skip
        waiting, newest, middle, first = page["checkpoints"]
        roots = ("--root", newest["root"], "--root", middle["root"], "--root", first["root"])
        for to in ("", f"?to={middle['checkpointId']}", f"?to={newest['checkpointId']}"):
            reply = await public(server, f"{PAGE}/{first['checkpointId']}/consistency{to}")
            check_answer(api, "GET", PAGE + "/{checkpointId}/consistency", reply)
            code, steps = verified(tmp_path, "verify-proof", reply.body, *roots)
            assert (code, set(steps.values())) == (0, {"ok"}), steps
            assert reply.json["data"]["later"]["size"] == (13 if middle["checkpointId"] in to else 15)
        for earlier, later, status, why in (
            (newest, first, 400, "QUERY_INVALID"),
            (first, waiting, 409, "CHECKPOINT_NOT_FINAL"),
            (waiting, newest, 409, "CHECKPOINT_NOT_FINAL"),
        ):
            path = f"{PAGE}/{earlier['checkpointId']}/consistency?to={later['checkpointId']}"
            check_refused(await public(server, path), status, why, *(["?to"] if status == 400 else []))
        check_refused(await public(server, f"{PAGE}/cp_none/consistency"), 404, "CHECKPOINT_UNKNOWN")

    play(scenario)


def test_a_ledger_that_was_changed_has_no_proofs_and_one_flag(play: Play) -> None:
    """What does not lead to the anchor is never given out; asked again and again, that is one flag."""

    def forge(c: Connection) -> None:
        leaves = bytes(c.execute(select(ledger_tiles.c.hashes).where(ledger_tiles.c.level == 0)).scalar_one())
        c.execute(update(ledger_tiles).where(ledger_tiles.c.level == 0).values(hashes=bytes(32) + leaves[32:]))

    async def scenario(server: Server) -> None:
        ids = await granted(server, 4)
        await anchored(server, 1)
        first = data_of(await public(server, PAGE + Q))["checkpoints"][0]["checkpointId"]
        await granted(server, 2)
        await anchored(server, 2)
        proofs = (f"/api/economy/proofs/{ids[1]}{Q}", f"{PAGE}/{first}/consistency")
        for path in proofs:
            data_of(await public(server, path))
        await server.relay.writer.run(forge)  # no request can
        for path in proofs * 2:
            check_refused(await public(server, path), 503, "LEDGER_CONTRADICTED")
        bearer = {"authorization": f"Bearer {server.secret}"}
        reply = await server.relay.request("GET", "/api/audit-flags?reason=LEDGER_CONTRADICTED", headers=bearer)
        flags = [(one["severity"], one["occurrences"], one["subject"]["id"]) for one in reply.json["flags"]]
        assert flags == [("critical", 1, GAME)]

    play(scenario)


def test_a_saved_roll_is_computed_again_once_its_seed_is_out(play: Play, tmp_path: Path) -> None:
    """Crafts and nested loot; before, neither the answer nor the commitment gives the seed away."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        told = data_of(await public(server, f"/api/economy/randomness{Q}"))
        today, tomorrow = told["commitments"]
        assert (tomorrow["epoch"], tomorrow["beginsAt"]) == (today["epoch"] + 1, today["revealedAt"])
        rolls: list[str] = []
        outputs: list[object] = []
        for number in range(6):
            body = {"externalId": "ann", "clientSeed": f"mine {number}"}
            rolls.append(data_of(await server.post("/loot/roll", body | {"lootTableId": "chest"}))["rollId"])
            rolls.append(data_of(await server.post("/craft", body | {"recipeId": "blade"}))["rollId"])
        again = await public(server, f"/api/economy/randomness{Q}")
        assert data_of(again) == told
        check_answer(api, "GET", "/api/economy/randomness", again)
        early = await public(server, f"/api/economy/randomness/{rolls[0]}{Q}")
        assert (early.json["data"]["seed"], early.headers["cache-control"]) == (None, "public, max-age=60")
        assert verified(tmp_path, "verify-roll", early.body)[0] == 1
        now_ms = server.relay.database.now_ms
        server.relay.database.now_ms = lambda c: now_ms(c) + DAY_MS
        for roll in rolls:
            reply = await public(server, f"/api/economy/randomness/{roll}{Q}")
            check_answer(api, "GET", "/api/economy/randomness/{rollId}", reply)
            assert reply.headers["cache-control"] == "public, max-age=86400"
            code, steps = verified(tmp_path, "verify-roll", reply.body, "--commitment", today["commitment"])
            assert (code, set(steps.values())) == (0, {"ok"}), (steps, reply.json)
            outputs += reply.json["data"]["outputs"]
            lucky = {**reply.json["data"], "outputs": [{"asset": "item:sword", "quantity": 9}]}
            assert verified(tmp_path, "verify-roll", json.dumps(lucky).encode())[0] == 1
        assert outputs
        for unknown in ("roll_1_1", "roll_x", rolls[0] + "0"):
            check_refused(await public(server, f"/api/economy/randomness/{unknown}{Q}"), 404, "ROLL_UNKNOWN")

    play(scenario)


def test_who_has_no_key_names_the_game_and_sees_no_more(play: Play) -> None:
    """Of all games only whose key is good for all; why a checkpoint waits only with a key."""

    async def scenario(server: Server) -> None:
        await granted(server, 1)
        await Anchoring(server.relay.database, server.relay.writer, Cadence(every_ms=0)).advance()
        await server.relay.writer.run(lambda c: c.execute(update(checkpoints).values(detail="no gas")))
        for path in (PAGE, "/api/economy/proofs/txn_1", "/api/economy/randomness", "/api/economy/randomness/roll_1_1"):
            check_refused(await public(server, path), 400, "GAME_REQUIRED")
            check_refused(await public(server, f"{path}?gameId=none"), 404, "GAME_UNKNOWN")
        check_refused(await public(server, f"/api/economy/proofs/txn_1{Q}"), 404, "TRANSACTION_UNKNOWN")
        (shown,) = data_of(await public(server, PAGE + Q))["checkpoints"]
        assert (shown["detail"], shown["txHash"], shown["signer"]) == (None, None, None)
        auditor = Server(server.relay, "auditor", None)
        bearer = {"authorization": f"Bearer {auditor.secret}"}
        every = data_of(await server.relay.request("GET", PAGE, headers=bearer))
        assert [(one["gameId"], one["detail"]) for one in every["checkpoints"]] == [(GAME, "no gas")]
        assert every["nextCursor"] is None
        client = Server(server.relay, "client", "go")
        other = await server.relay.request("GET", PAGE + Q, headers={"authorization": f"Bearer {client.secret}"})
        check_refused(other, 403, "FORBIDDEN_GAME")

    play(scenario)
