"""Laundering on labelled transfers (IBM/AMLSim): the confusion matrix of the detectors, in memory and in the tables.

The data is synthetic: its launderers repeat a transfer within a step, which no honest account does, and its cycles take
longer than ten minutes of ours more often than not. The matrix says what the detectors see, not what they are worth.
"""

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from relay.economy.config import DEFAULTS, read
from relay.guard.flags import Flag
from relay.guard.laundering import CYCLE_MS, PAIR_MS, Transfer, cycle_flag, pair, search
from relay.store import migrate
from relay.store.engine import open_database
from relay.store.flags import FlagFilter, list_flags, raise_flags
from relay.store.suspicions import examine, executed
from relay.store.transfers_seen import Seen

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "amlsim_20K_cycle200.tgz"
STEP_MS = 60_000  # a step of the simulation is a minute: the pairs' window is one step, the cycles' is ten
CODES = ("LAUNDERING_PAIR", "PAIR_TRANSFER_BURST", "LAUNDERING_CYCLE")

needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"the labelled transfers are not here: {DATA.name}")


class Matrix(NamedTuple):
    """Accounts: flagged and fraudulent, flagged though honest, missed, rightly left alone."""

    hits: int
    false: int
    missed: int
    clean: int

    @property
    def text(self) -> str:
        precision = self.hits / max(1, self.hits + self.false)
        recall = self.hits / max(1, self.hits + self.missed)
        numbers = " ".join(f"{number:>6}" for number in self)
        return f"{numbers}   {precision:>9.2f} {recall:>6.2f}"


class Labelled(NamedTuple):
    transfers: list[Transfer]
    accounts: set[str]
    frauds: set[str]

    def matrix(self, flagged: set[str]) -> Matrix:
        hits = len(flagged & self.frauds)
        false = len(flagged) - hits
        return Matrix(hits, false, len(self.frauds) - hits, len(self.accounts) - len(self.frauds) - false)


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    with tarfile.open(DATA) as archive:
        nodes = list(_rows(archive, "nodes.csv"))
        rows = list(_rows(archive, "transactions.csv"))
    transfers = [
        Transfer(
            number, f"txn_{number}", row["sourceNodeId"], row["targetNodeId"],
            round(float(row["value"]) * 100), int(row["time"]) * STEP_MS,
        )
        for number, row in enumerate(rows)
        if row["sourceNodeId"] != row["targetNodeId"]
    ]  # fmt: skip
    accounts = {row["nodeid"] for row in nodes}
    return Labelled(transfers, accounts, {row["nodeid"] for row in nodes if row["isFraud"] == "1"})


def _rows(archive: tarfile.TarFile, name: str) -> Iterator[dict[str, str]]:
    file = archive.extractfile(f"20K_cycle200/{name}")
    assert file is not None
    yield from csv.DictReader(io.TextIOWrapper(file, "utf-8"))


class Remembered:
    """What the tables hold, in memory: transfers by who sent and who received them."""

    def __init__(self) -> None:
        self._sent: dict[str, list[Transfer]] = {}
        self._received: dict[str, list[Transfer]] = {}

    def add(self, one: Transfer) -> None:
        self._sent.setdefault(one.sender, []).append(one)
        self._received.setdefault(one.receiver, []).append(one)

    def leaving(self, senders: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        return self._newest(self._sent, senders, since_ms, before, limit)

    def arriving(self, receivers: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        return self._newest(self._received, receivers, since_ms, before, limit)

    @staticmethod
    def _newest(
        by: dict[str, list[Transfer]], whose: Sequence[str], since_ms: int, before: int, limit: int
    ) -> Sequence[Transfer]:
        found = [
            one
            for player in whose
            for one in by.get(player, ())
            if one.at_ms > since_ms and one.sequence < before
        ]  # fmt: skip
        return sorted(found, key=lambda one: (one.at_ms, one.sequence), reverse=True)[:limit]


def judged(transfers: Sequence[Transfer]) -> dict[str, set[str]]:
    """Return the accounts that each code names, judging one transfer after the other in memory."""
    graph, threshold = Remembered(), read(DEFAULTS, 0).laundering_threshold
    named: dict[str, set[str]] = {code: set() for code in CODES}
    for one in transfers:
        graph.add(one)
        both = graph.leaving([one.sender, one.receiver], one.at_ms - PAIR_MS, one.sequence, 10_000)
        flags: list[Flag | None] = [pair("g", "gold", one, both, threshold)]
        done = search(one, graph)
        flags.append(cycle_flag("g", "gold", done) if done.result == "flag" else None)
        for flag in flags:
            if flag is not None:
                named[flag.code] |= _players(flag.context["players"])
    return named


def _players(named: object) -> set[str]:
    assert isinstance(named, list)
    return set(named)


# By how much of our time a step of the simulation is taken for: hits, false, missed, clean.
MATRICES = {
    60: {
        "LAUNDERING_PAIR": (0, 0, 945, 19055),
        "PAIR_TRANSFER_BURST": (410, 0, 535, 19055),
        "LAUNDERING_CYCLE": (18, 7, 927, 19048),
        "any of them": (415, 7, 530, 19048),
    },
    30: {
        "LAUNDERING_PAIR": (6, 0, 939, 19055),
        "PAIR_TRANSFER_BURST": (410, 0, 535, 19055),
        "LAUNDERING_CYCLE": (56, 57, 889, 18998),
        "any of them": (432, 57, 513, 18998),
    },
}


@needs_data
@pytest.mark.parametrize("step_s", MATRICES)
def test_the_confusion_matrix(labelled: Labelled, step_s: int, capsys: pytest.CaptureFixture[str]) -> None:
    scaled = [one._replace(at_ms=one.at_ms // STEP_MS * step_s * 1_000) for one in labelled.transfers]
    named = judged(scaled)
    named["any of them"] = set().union(*named.values())
    matrices = {code: labelled.matrix(players) for code, players in named.items()}
    with capsys.disabled():
        title = f"accounts, {step_s} s steps"
        print(f"\n{title:<22}{'hits':>6} {'false':>6} {'missed':>6} {'clean':>6}   precision recall")
        for code, matrix in matrices.items():
            print(f"{code:<22}{matrix.text}")
    assert matrices == MATRICES[step_s]


@needs_data
def test_the_stored_detectors_name_the_same_accounts(labelled: Labelled, sqlite_url: str) -> None:
    """The first steps of the simulation through the tables, in groups as a writer commits them."""
    transfers = [one for one in labelled.transfers if one.at_ms <= 4 * STEP_MS]
    assert stored(transfers, sqlite_url) == judged(transfers)


@needs_data
@pytest.mark.slow
def test_all_of_it_through_the_tables(labelled: Labelled, database_url: str) -> None:
    assert stored(labelled.transfers, database_url) == judged(labelled.transfers)


def stored(transfers: Sequence[Transfer], url: str) -> dict[str, set[str]]:
    """Return the accounts that each code names, with everything written to a database and read from it."""
    named: dict[str, set[str]] = {code: set() for code in CODES}
    configs = {"g": read(DEFAULTS, 0)}
    with closing(open_database(url)) as database:
        migrate.upgrade(database, "relay")
        for start in range(0, len(transfers), 500):
            group = [Seen("g", "gold", *one) for one in transfers[start : start + 500]]
            with database.write() as c:
                raise_flags(c, executed(c, group, configs), group[-1].at_ms)
            with database.write() as c:
                assert examine(c, group[-1].at_ms, len(group)) == len(group)
        with database.write() as c:
            assert examine(c, 0) == 0
        for flag in database.read_now(lambda c: list_flags(c, FlagFilter(), 1_000_000, None)):
            *players, _ = json.loads(flag.about)
            named[flag.code] |= set(players)
    return named


def test_the_windows_are_whole_steps() -> None:
    assert (PAIR_MS, CYCLE_MS) == (STEP_MS, 10 * STEP_MS)
