"""The whole system behind an endpoint that loses, delays, refuses and lies: what is promised is on chain and ranked."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.test_kill import (
    Bed,
    board,
    check_nonces,
    check_promises,
    query,
    requests_of,
    wait_until,
)  # fmt: skip
from tests.harness.fault_proxy import EVERY, WRONG_CHAIN, fault_proxy, seeded
from tests.harness.nodes import anvil, operator
from tests.harness.process import Fairscore
from tests.harness.rpc import scores_on_chain, standings
from tests.harness.stubborn import Ledger, submit_all

PLAYS, PLAYERS = 400, 40
FAULTS = [fault for fault in EVERY if fault is not WRONG_CHAIN]


@pytest.mark.parametrize("options", [("--block-time", "1"), ("--block-time", "0.1")], ids=["1 s", "0.1 s"])
def test_players_notice_nothing(options: tuple[str, ...], database_url: str, tmp_path: Path) -> None:
    """`fairscore run` sees the chain through a proxy that spoils a fifth of all requests, from its first one on."""
    with anvil(*options) as node, fault_proxy(node.url) as proxy:
        settings = operator(tmp_path / "keys", proxy.url, database_url)
        with Fairscore(tmp_path / "home", settings=settings) as server:
            proxy.plan = seeded(11, 0.2, *FAULTS)
            load = submit_all(server.port, requests_of(PLAYS, PLAYERS), 16, nothing_else, per_second=80)
            ledger = asyncio.run(load)
            contract = next(iter(ledger.answers.values()))["receipt"]["typedData"]["domain"]["verifyingContract"]
            not_final = "SELECT count(*) FROM submissions WHERE status <> 'final'"
            wait_until("final", lambda: query(database_url, not_final)[0][0] == 0, 120)
            chain = scores_on_chain(node.url, contract)
            check_promises(ledger, chain, PLAYS)
            check_nonces(Bed(server, node.url, database_url))
            wait_until("ranked", lambda: board(server) == standings(chain), 60)
            print(f"{sum(proxy.met.values())} faults of {len(proxy.met)} kinds")
            assert sum(proxy.met.values()) > 20
            assert "Traceback" not in server.output()


async def nothing_else(_ledger: Ledger) -> None:
    """The endpoint is trouble enough."""
