"""A wallet that the reconciler froze, and the auditor who lets it be used again."""

from typing import Any

from sqlalchemy import text

from relay.store import ledger_reconcile, ledger_view
from tests.harness.economy_http import GAME, Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

SPEND = {"externalId": "ann", "currencyId": "gold", "amount": 5}


async def tampered(server: Server) -> str:
    """Give a player gold by changing the database; the reconciler finds it. Returns the flag's id."""
    data_of(await server.post("/currencies", {"currencyId": "gold", "name": "Gold", "icon": "o"}))
    for name in ("ann", "bob"):
        data_of(await server.post("/players", {"externalId": name, "wallets": [{"currencyId": "gold", "balance": 10}]}))
    relay = server.relay
    await relay.writer.run(
        lambda c: c.execute(text("UPDATE ledger_balances SET amount = 900 WHERE account = 'player:ann'"))
    )
    found, _ = await relay.database.read(lambda c: ledger_view.mismatches_of(c, GAME, None))
    await relay.writer.run(lambda c: ledger_reconcile.seize(c, GAME, found, relay.database.now_ms(c)))
    check_refused(await server.post("/spend", SPEND), 409, "WALLET_FROZEN")
    (flag,) = (await flags(server))["flags"]
    return str(flag["id"])


async def flags(server: Server) -> Any:
    """The audit flags, as the server sees them."""
    return (await server.call("GET", "/audit-flags")).json


async def repair(server: Server, flag_id: str, body: str = '{"note":"restored a backup by hand"}') -> Any:
    """Ask for a repair."""
    bearer = {"authorization": f"Bearer {server.secret}"}
    return await server.relay.request("POST", f"/api/audit-flags/{flag_id}/repair", body.encode(), bearer)


def test_an_auditor_sets_a_balance_right(database_url: str, relay_at: Any) -> None:
    """It is the sum of its entries and can be spent; the flag is confirmed; again, nothing is left to do."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        flag_id = await tampered(server)
        auditor = Server(server.relay, "auditor")
        reply = await repair(auditor, flag_id)
        check_answer(api, "POST", "/api/audit-flags/{flagId}/repair", reply)
        about = {"flagId": flag_id, "account": "player:ann", "asset": "currency:gold"}
        assert data_of(reply) == about | {"recorded": 900, "balance": 10, "thawed": True}
        (flag,) = (await flags(server))["flags"]
        assert (flag["status"], flag["resolution"]["by"]) == ("confirmed", auditor.key_id)
        assert data_of(await server.post("/spend", SPEND))["balances"][0]["balance"] == 5
        assert data_of(await repair(auditor, flag_id)) == about | {"recorded": None, "balance": None, "thawed": False}
        assert await server.count("audit_flag_history") == 1
        assert await server.count("operator_actions WHERE action = 'ledger.repair'") == 1
        await server.check_ledger()

    with_server(database_url, relay_at, scenario)


def test_a_balance_that_was_set_right_by_hand_is_thawed(database_url: str, relay_at: Any) -> None:
    """The wallet would stay frozen for good otherwise."""

    async def scenario(server: Server) -> None:
        flag_id = await tampered(server)
        await server.relay.writer.run(
            lambda c: c.execute(text("UPDATE ledger_balances SET amount = 10 WHERE account = 'player:ann'"))
        )
        check_refused(await server.post("/spend", SPEND), 409, "WALLET_FROZEN")
        told = data_of(await repair(Server(server.relay, "auditor"), flag_id))
        assert (told["recorded"], told["thawed"]) == (None, True)
        data_of(await server.post("/spend", SPEND))

    with_server(database_url, relay_at, scenario)


def test_only_an_auditor_repairs_and_only_what_such_a_flag_names(sqlite_url: str, relay_at: Any) -> None:
    """Nobody else, no other game's auditor, no other kind of flag, not without a reason; nothing thaws then."""

    async def scenario(server: Server) -> None:
        flag_id = await tampered(server)
        check_refused(await repair(server, flag_id), 403, "FORBIDDEN_ROLE")
        check_refused(await repair(Server(server.relay, "auditor", "go"), flag_id), 404, "FLAG_UNKNOWN")
        auditor = Server(server.relay, "auditor")
        check_refused(await repair(auditor, "flg_none"), 404, "FLAG_UNKNOWN")
        check_refused(await repair(auditor, flag_id, '{"note":" "}'), 400, "PAYLOAD_MALFORMED", "/note")
        check_refused(
            await server.post("/grant", SPEND | {"externalId": "bob", "amount": 2_000_000}), 422, "MAX_AMOUNT_EXCEEDED"
        )
        other = next(one["id"] for one in (await flags(server))["flags"] if one["id"] != flag_id)
        check_refused(await repair(auditor, other), 409, "FLAG_NOT_REPAIRABLE")
        check_refused(await server.post("/spend", SPEND), 409, "WALLET_FROZEN")

    with_server(sqlite_url, relay_at, scenario)


def test_forged_moves_are_no_balance_to_set_right(database_url: str, relay_at: Any) -> None:
    """Somebody who adds a move to the database must not have an auditor make money of it."""

    async def scenario(server: Server) -> None:
        flag_id = await tampered(server)
        forged = f"INSERT INTO ledger_moves VALUES ('{GAME}', 0, 7, 'currency:gold', 890, 'mint', 'player:ann')"
        await server.relay.writer.run(lambda c: c.execute(text(forged)))
        refused = await repair(Server(server.relay, "auditor"), flag_id)
        check_refused(refused, 409, "FLAG_NOT_REPAIRABLE")
        assert "transaction 0" in refused.json["detail"]
        check_refused(await server.post("/spend", SPEND), 409, "WALLET_FROZEN")

    with_server(database_url, relay_at, scenario)
