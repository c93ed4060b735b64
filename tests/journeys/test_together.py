"""Processes with the same settings, started at the same moment in an empty home: one contract, everybody ready."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account

from tests.harness.nodes import anvil, operator
from tests.harness.ports import free_port
from tests.harness.process import Fairscore
from tests.harness.rpc import rpc

Settings = dict[str, str]


@pytest.fixture
def together(tmp_path: Path) -> Callable[[Settings, tuple[str, ...]], list[Fairscore]]:
    """Launch all commands before any is ready, then wait for all."""

    def start(settings: Settings, commands: tuple[str, ...]) -> list[Fairscore]:
        indexer_port = free_port()
        settings |= {"FAIRSCORE_INDEXER_PORT": str(indexer_port)}
        ports = [indexer_port if command == "indexer" else None for command in commands]
        home = tmp_path / "home"
        pairs = zip(commands, ports, strict=True)
        started = [Fairscore(home, command, settings=settings, port=port) for command, port in pairs]
        for process in started:
            process.launch()
        return started

    return start


@pytest.mark.parametrize(
    ("database", "commands"),
    [("sqlite_url", ("indexer", "relay")), ("postgres_url", ("indexer", "relay", "relay"))],
    ids=["sqlite", "postgresql"],
)
def test_one_contract_and_everybody_ready(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    together: Callable[[Settings, tuple[str, ...]], list[Fairscore]],
    database: str,
    commands: tuple[str, ...],
) -> None:
    """The indexer holds no key and deploys nothing; of two relays one deploys and publishes, the other finds both."""
    with anvil("--block-time", "1") as node:
        settings = operator(tmp_path / "keys", node.url, request.getfixturevalue(database))
        admin = Account.from_key(Path(settings["FAIRSCORE_ADMIN_KEY_FILE"]).read_text().strip()).address
        started = together(settings, commands)
        try:
            for process in started:
                process.wait_ready()
            assert len(json.loads((tmp_path / "home" / "contracts.json").read_text())) == 1
            assert all(process.get("/health")["status"] == "ready" for process in started)
            deployed = [
                receipt["contractAddress"]
                for number in range(int(rpc(node.url, "eth_blockNumber"), 16) + 1)
                for tx in rpc(node.url, "eth_getBlockByNumber", hex(number), True)["transactions"]
                if tx["to"] is None and (receipt := rpc(node.url, "eth_getTransactionReceipt", tx["hash"]))
            ]
            assert len(deployed) == 1
            assert int(rpc(node.url, "eth_getTransactionCount", admin, "latest"), 16) >= 2
            deadline = time.monotonic() + 60
            while any("stop with Ctrl-C" not in process.output() for process in started):
                assert time.monotonic() < deadline, [process.tail() for process in started]
                time.sleep(0.05)
            indexer = started[0].output()
            assert "deploying" not in indexer
            assert not re.search(r"^ *curl", indexer, re.MULTILINE)  # it takes no scores
            assert "leaderboard  " in indexer
            assert "leaderboard  " not in started[1].output()  # it serves no page
        finally:
            for process in started:
                process.cleanup()
