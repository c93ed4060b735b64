"""Boards with seasons on a real chain: days go by, blocks are taken back, the indexer is killed, all is made again."""

import json
import random
import subprocess
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from indexer.boards import BoardConfig, Operator, Order, Ties
from relay.store.engine import open_database
from relay.store.keys import KeyStore
from tests.conftest import Anvil
from tests.harness.ports import free_port
from tests.harness.process import FAIRSCORE, Fairscore
from tests.indexer.fake_chain import Play
from tests.indexer.test_boards import ranked, worth
from tests.indexer.twin import Twin
from tests.indexer.watching import GAME

HOURLY = "0 * * * *"
LENGTHS_S = {"daily": 86_400, HOURLY: 3_600}
NAMES = {"daily": "%Y-%m-%d", HOURLY: "%Y-%m-%dT%H:%MZ"}
CONFIGURED = [
    BoardConfig(),
    BoardConfig("race", Operator.BEST, Order.ASC, Ties.SHARED, "daily"),
    BoardConfig("effort", Operator.SUM, season=HOURLY, capacity=4),
    BoardConfig("now", Operator.LATEST),
]
ADDED = BoardConfig("often", Operator.COUNT, season="daily")
PLAYERS = [bytes([serial]) * 20 for serial in range(1, 9)]


class World:
    """What happens on the chain, and what every board must therefore show."""

    def __init__(self, anvil: Anvil, seed: int) -> None:
        self.anvil, self.twin, self.dice = anvil, Twin(anvil, (GAME,)), random.Random(seed)
        header: Any = anvil.rpc("eth_getBlockByNumber", "latest", False)
        day_s = LENGTHS_S["daily"]  # the next day, early: the same seasons whatever the time is
        anvil.rpc("evm_increaseTime", day_s - int(header["timestamp"], 16) % day_s + 600)

    def live(self, turns: int) -> None:
        """Plays, rulings, and time that passes between them: minutes, or a night."""
        for _ in range(turns):
            self.anvil.rpc("evm_increaseTime", self.dice.choice([1, 40, 900, 2_000, 30_000]))
            plays = [(self.dice.choice(PLAYERS), self.dice.randint(0, 9)) for _ in range(self.dice.randint(1, 4))]
            self.twin.submit(GAME, plays)
            if self.dice.random() < 0.25:
                self.twin.judge(GAME, self.dice.randint(1, 30), invalid=self.dice.random() < 0.7)

    def take_back(self) -> None:
        """A day begins, scores come in it, and then none of it has happened; another day does."""
        self.anvil.rpc("evm_increaseTime", 86_400)
        self.live(2)
        self.twin.fork(4)
        self.live(4)

    def expected(self, config: BoardConfig) -> tuple[str, dict[str, list[tuple[int, str, int]]]]:
        """Name of the current season, and the rows of each by name, from the node's own times."""
        length_s = LENGTHS_S.get(config.season)

        def name_of(block: int) -> str:
            if length_s is None:
                return "all"
            header: Any = self.anvil.rpc("eth_getBlockByNumber", hex(block), False)
            at_s = int(header["timestamp"], 16)
            return datetime.fromtimestamp(at_s - at_s % length_s, UTC).strftime(NAMES[config.season])

        found: dict[str, dict[bytes, list[Play]]] = {}
        for play in sorted(self.twin.fake.world.plays.values(), key=lambda play: play.position):
            if play.valid:
                found.setdefault(name_of(play.position[0]), {}).setdefault(play.player, []).append(play)
        ahead = -1 if config.order is Order.DESC else 1
        return name_of(self.twin.fake.height), {
            name: ranked(
                config,
                sorted(
                    ((player, *worth(config, plays)) for player, plays in players.items()),
                    key=lambda seat: (ahead * seat[1], seat[2]),
                ),
            )
            for name, players in found.items()
        }


def settled(world: World, indexer: Fairscore) -> None:
    """Wait until the indexer is at the newest block; an orphaned tip may have been higher."""
    deadline = time.monotonic() + 60
    while indexer.get(f"/api/leaderboards/{GAME}/default")["blockNumber"] != world.twin.fake.height:
        assert time.monotonic() < deadline, indexer.tail()
        world.twin.mine()
        time.sleep(0.1)


def check_boards(world: World, indexer: Fairscore, boards: list[BoardConfig]) -> int:
    """Every season of every board is what the definition says; returns how many seasons were looked at."""
    settled(world, indexer)
    seen = 0
    for config in boards:
        current, expected = world.expected(config)
        base = f"/api/leaderboards/{GAME}/{config.name}"
        assert indexer.get(base)["season"]["name"] == current
        listed = [season["name"] for season in indexer.get(f"{base}/seasons")["seasons"]]
        assert sorted(listed) == sorted({*expected, current})
        for name in listed:
            page = indexer.get(f"{base}?limit=200&season={name}")
            rows = [(row["rank"], row["player"], row["score"]) for row in page["rows"]]
            assert rows == expected.get(name, []), (config.name, name)
            assert page["total"] == len(rows)
            seen += 1
    return seen


def put(indexer: Fairscore, key: str, config: BoardConfig) -> dict[str, Any]:
    """Configure a board over HTTP, and wait until it is made."""
    path = f"/api/boards/{GAME}/{config.name}"
    wanted = {"operator": config.operator, "order": config.order, "season": config.season, "reason": "a journey"}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    asked = urllib.request.Request(indexer.url + path, json.dumps(wanted).encode(), headers, method="PUT")
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status in {200, 201}
    deadline = time.monotonic() + 60
    while (found := indexer.get(path))["state"] != "ready":
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    document: dict[str, Any] = found
    return document


def rebuild(indexer: Fairscore, *options: str) -> subprocess.CompletedProcess[str]:
    """`fairscore indexer rebuild` with the indexer's own settings."""
    command: list[str | Path] = [FAIRSCORE, "indexer", "rebuild", *options]
    return subprocess.run(
        command, env=indexer.environment, cwd=indexer.home.parent, capture_output=True, text=True, check=False
    )


def settings_of(world: World, database_url: str, port: int) -> dict[str, str]:
    """What an operator sets."""
    boards = {
        one.name: {
            "operator": one.operator, "order": one.order, "ties": one.ties, "season": one.season,
            **({} if one.capacity is None else {"capacity": one.capacity}),
        }
        for one in CONFIGURED
    }  # fmt: skip
    return {
        "FAIRSCORE_RPC_URL": world.anvil.url,
        "FAIRSCORE_CONTRACT": "0x" + world.twin.contract.hex(),
        "FAIRSCORE_DATABASE_URL": database_url,
        "FAIRSCORE_INDEXER_PORT": str(port),
        "FAIRSCORE_INDEXER_POLL_MS": "20",
        "FAIRSCORE_FINALITY": "3",
        "FAIRSCORE_GAMES": json.dumps({GAME: {"boards": boards}}),
    }


def test_boards_through_days_reorganisations_and_restarts(anvil: Anvil, database_url: str, tmp_path: Path) -> None:
    world, port = World(anvil, 4), free_port()
    world.live(6)
    boards = list(CONFIGURED)
    with Fairscore(tmp_path / "home", "indexer", settings=settings_of(world, database_url, port), port=port) as indexer:
        world.live(6)
        check_boards(world, indexer, boards)
        database = open_database(database_url)
        key = KeyStore(database).create("admin").secret
        assert put(indexer, key, ADDED)["origin"] == "api"
        boards.append(ADDED)
        check_boards(world, indexer, boards)
        world.take_back()
        check_boards(world, indexer, boards)
        indexer.kill()
        world.take_back()
        world.live(3)
        indexer.start()
        assert check_boards(world, indexer, boards) > 12
        boards[-1] = BoardConfig(ADDED.name, Operator.COUNT, Order.ASC, season=HOURLY)
        put(indexer, key, boards[-1])
        check_boards(world, indexer, boards)
        refused = rebuild(indexer)
        assert (refused.returncode, "an indexer runs on it" in refused.stderr) == (2, True), refused.stderr
        indexer.stop()

        for options in ([], ["--from-chain"]):
            again = rebuild(indexer, *options)
            assert (again.returncode, "identical: 5 boards" in again.stdout) == (0, True), again.stdout + again.stderr
        with database.write() as connection:
            connection.execute(text("UPDATE ix_standings SET value = value + 1 WHERE board = 1"))
        database.close()
        again = rebuild(indexer, "--from-chain")
        assert (again.returncode, "different" in again.stdout) == (1, True), again.stdout + again.stderr
        indexer.start()
        check_boards(world, indexer, boards)
