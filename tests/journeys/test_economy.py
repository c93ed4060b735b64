"""An economy from the first line that is pasted to a proof that needs nobody's word (embedded chain, SQLite)."""

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.harness.game_server import GameServer, register
from tests.harness.process import FAIRSCORE, Fairscore

QUICK = {"FAIRSCORE_ANCHOR_S": "1", "FAIRSCORE_RECONCILE_S": "1"}
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """One `fairscore run`, shared."""
    with Fairscore(tmp_path_factory.mktemp("economy") / "home", settings=QUICK) as running:
        yield running


def devnet(relay: Fairscore) -> dict[str, Any]:
    """What scripts may know."""
    found: dict[str, Any] = json.loads((relay.home / "devnet.json").read_text())
    return found


def until(relay: Fairscore, what: str, holds: Callable[[], Any]) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what}: not in time\n{relay.tail()}"
        time.sleep(0.05)
    return found


def verify(relay: Fairscore, folder: Path, command: str, document: object) -> tuple[int, dict[str, Any]]:
    """Run `fairscore verify-…` on a saved document: the exit code, and each step with what was seen."""
    file = folder / "saved.json"
    file.write_text(json.dumps(document))
    told = devnet(relay)
    chain = ["--rpc-url", told["rpcUrl"], "--contract", told["contract"]] if command == "verify-proof" else []
    ran = subprocess.run(
        [FAIRSCORE, command, str(file), *chain, "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    return ran.returncode, {one["check"]: one["state"] for one in json.loads(ran.stdout)["checks"]}


def tamper(relay: Fairscore, *statements: str) -> None:
    """Change the database as no request can."""
    with sqlite3.connect(relay.home / "fairscore.db", timeout=30) as file:
        for statement in statements:
            assert file.execute(statement).rowcount > 0, statement
    file.close()


def test_the_printed_line_founds_an_economy(relay: Fairscore, tmp_path: Path) -> None:
    """Pasted in any folder, and again: three answers, a hundred gold more each time."""
    found = until(relay, "the line", lambda: re.findall(r"^\s*(e\(\) \{.+?)\s*$", relay.output(), re.MULTILINE))
    for times in (1, 2):
        ran = subprocess.run(
            ["bash", "-c", found[0]], capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path
        )
        told = [json.loads(line) for line in ran.stdout.splitlines() if line]
        assert [one["success"] for one in told] == [True, True, True], told
        assert told[2]["data"]["balances"] == [{"externalId": "ann", "currencyId": "gold", "balance": 100 * times}]


def found_island(relay: Fairscore) -> tuple[str, GameServer]:
    """A game with something to buy, to craft and to roll."""
    game_id, server = register(relay.url, devnet(relay)["keys"]["admin"], ann=1_000, bob=1_000)
    price = {"currencyId": "gold", "amount": 10}
    assert server.do("items", itemId="ore", name="Ore", prices=[price]).data
    assert server.do("items", itemId="blade", name="Blade").data
    output, entry = {"itemId": "blade", "quantity": 1, "chance": 0.5}, {"itemId": "ore", "quantity": 2, "weight": 1}
    assert server.do("recipes", recipeId="forge", inputs=[{"itemId": "ore", "quantity": 1}], outputs=[output]).data
    assert server.do("loot-tables", lootTableId="chest", rolls=1, entries=[entry]).data
    return game_id, server


def play(server: GameServer) -> list[dict[str, Any]]:
    """One operation of each kind; what each answered."""
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    ann, gold = {"externalId": "ann"}, {"currencyId": "gold"}
    done = [
        server.do("grant", "g-1", **ann, **gold, amount=50, reason="quest"),
        server.do("spend", "s-1", **ann, **gold, amount=5),
        server.do("transfer", "t-1", fromExternalId="ann", toExternalId="bob", **gold, amount=7),
        server.do("purchase", "p-1", **ann, itemId="ore", quantity=5),
        server.do("loot/roll", "l-1", **ann, lootTableId="chest", clientSeed="mine"),
        server.do("craft", "c-1", **ann, recipeId="forge"),
        server.do("marketplace/list", "m-1", **ann, itemId="ore", quantity=1, **gold, price=20),
        server.do("marketplace/list", "m-2", **ann, itemId="ore", quantity=1, **gold, price=20, expiresAt=soon),
    ]
    listing = done[-2].data["listingId"]
    done.append(server.do("marketplace/buy", "b-1", externalId="bob", listingId=listing))
    done.append(server.do(f"transactions/{done[0].data['transactionId']}/reverse", "r-1", reason="a mistake"))
    return [reply.data for reply in done]


def test_from_an_operation_to_a_proof_that_needs_nobodys_word(relay: Fairscore, tmp_path: Path) -> None:
    """Booked, anchored by itself, fetched without a key, proved by the chain; what was changed is not."""
    game_id, server = found_island(relay)
    answers = play(server)
    sources = ["server"] * 3 + ["purchase", "loot", "craft"] + ["marketplace"] * 3 + ["server"]
    assert [one["source"] for one in answers] == sources
    craft = server.do("craft", "c-1", externalId="ann", recipeId="forge")
    assert (craft.headers["idempotent-replayed"], craft.data) == ("true", answers[5])
    until(relay, "expired", lambda: server.items("ann")["ore"][1] == 0)
    stranger, query = GameServer(relay.url), f"?gameId={game_id}"
    bought = answers[8]["transactionId"]
    proof = until(relay, "anchored", lambda: _found(stranger.call("GET", f"/api/economy/proofs/{bought}{query}")))
    code, steps = verify(relay, tmp_path, "verify-proof", proof)
    assert (code, set(steps.values())) == (0, {"ok"}), steps
    wrong = json.loads(
        json.dumps(proof).replace('\\"amount\\":20', '\\"amount\\":2').replace('"amount": 20', '"amount": 2')
    )
    assert wrong != proof
    code, steps = verify(relay, tmp_path, "verify-proof", wrong)
    assert code == 1
    assert "failed" in set(steps.values()), steps
    roll = stranger.call("GET", f"/api/economy/randomness/{answers[4]['rollId']}{query}").data
    assert (roll["seed"], roll["commitment"]) == (None, stranger.call(
        "GET", f"/api/economy/randomness{query}").data["commitments"][0]["commitment"])  # fmt: skip
    marks = until(relay, "all of it", lambda: _all_final(stranger, query, server))
    grown = stranger.call("GET", f"/api/audit/checkpoints/{marks[-1]}/consistency").data
    code, steps = verify(relay, tmp_path, "verify-proof", grown)
    assert (code, set(steps.values())) == (0, {"ok"}), steps
    # Somebody with the database's password: what is proved is not what is stored any more, and that is said.
    tamper(
        relay, f"UPDATE ledger_tiles SET hashes = zeroblob(length(hashes)) WHERE game_id = '{game_id}' AND level = 0"
    )
    refused = stranger.call("GET", f"/api/economy/proofs/{bought}{query}")
    assert (refused.status, refused.code) == (503, "LEDGER_CONTRADICTED")
    (flag,) = server.call("GET", "/api/audit-flags?reason=LEDGER_CONTRADICTED").json["flags"]
    assert (flag["severity"], flag["status"]) == ("critical", "open")


def _found(reply: Any) -> Any:
    assert reply.status == 200 or reply.code == "NOT_ANCHORED_YET", reply
    return reply.json["data"] if reply.status == 200 else None


def _all_final(stranger: GameServer, query: str, server: GameServer) -> list[str]:
    """The checkpoints, newest first, once they cover the ledger."""
    ledger = server.get("/stats")["ledger"]
    found = stranger.call("GET", f"/api/audit/checkpoints{query}").data["checkpoints"]
    return [one["checkpointId"] for one in found] if ledger["anchored"] == ledger["size"] else []


def test_a_balance_changed_behind_the_ledger_is_frozen_and_flagged(relay: Fairscore) -> None:
    """The reconciler finds it by itself; the player cannot spend what was never booked, and others are untouched."""
    game_id, server = found_island(relay)
    tamper(
        relay,
        f"UPDATE ledger_balances SET amount = 1000000 WHERE game_id = '{game_id}' AND account = 'player:bob'",
    )
    query = "/api/audit-flags?reason=LEDGER_MISMATCH"
    (flag,) = until(relay, "flag", lambda: server.call("GET", query).json["flags"])
    assert (flag["severity"], flag["playerId"]) == ("critical", "bob")
    assert flag["reason"] == "Balance of currency:gold is 1000000, and its entries add up to 1000"
    spent = server.do("spend", externalId="bob", currencyId="gold", amount=1)
    assert (spent.status, spent.code) == (409, "WALLET_FROZEN")
    assert server.do("spend", externalId="ann", currencyId="gold", amount=1).data


def test_money_that_goes_round_is_noticed_and_moves(relay: Fairscore) -> None:
    """Five transfers to and fro are one warning at once; a circle of three is one after the commit; all execute."""
    _, server = found_island(relay)
    for number in range(5):
        source, target = ("ann", "bob") if number % 2 == 0 else ("bob", "ann")
        assert server.do("transfer", fromExternalId=source, toExternalId=target, currencyId="gold", amount=5).data
    (flag,) = server.call("GET", "/api/audit-flags").json["flags"]
    assert (flag["code"], flag["severity"], flag["occurrences"]) == ("LAUNDERING_PAIR", "warning", 1)
    for source, target in (("ann", "bob"), ("bob", "eve"), ("eve", "ann")):
        assert server.do("transfer", fromExternalId=source, toExternalId=target, currencyId="gold", amount=5).data
    cycle = "/api/audit-flags?reason=LAUNDERING_CYCLE"
    assert until(relay, "the circle", lambda: server.call("GET", cycle).json["flags"])
    assert (server.balance("ann"), server.balance("bob"), server.balance("eve")) == (995, 1_005, 0)
