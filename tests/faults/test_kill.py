"""SIGKILL under load: every answered acceptance is on chain exactly once; all the rest follows from the chain."""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.harness.nodes import anvil, operator
from tests.harness.plays import play, player, request
from tests.harness.process import Fairscore
from tests.harness.rpc import ChainScore, rpc, scores_on_chain, standings
from tests.harness.stubborn import Ledger, submit_all

CONNECTIONS = 64


@dataclass(frozen=True)
class Bed:
    """A server to be killed, with the chain and the database it stands on."""

    server: Fairscore
    rpc_url: str
    database_url: str


@pytest.fixture(params=["embedded-sqlite", "anvil-postgresql"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """``fairscore run`` on its own chain and SQLite, and on anvil with blocks of 1 s and PostgreSQL."""
    with ExitStack() as stack:
        if request.param == "embedded-sqlite":
            server = Fairscore(tmp_path / "home")
            bed = Bed(server, f"{server.url}/devnet/rpc", f"sqlite:///{tmp_path / 'home' / 'fairscore.db'}")
        else:
            node = stack.enter_context(anvil("--block-time", "1"))
            url = request.getfixturevalue("postgres_url")
            settings = operator(tmp_path / "keys", node.url, url)
            bed = Bed(Fairscore(tmp_path / "home", settings=settings), node.url, url)
        stack.enter_context(bed.server)
        yield bed


def killer(server: Fairscore, at: list[int], seed: int) -> Callable[[Ledger], Coroutine[Any, Any, None]]:
    """Kills and restarts the server each time so many submissions are answered, a random moment later.

    Every second time the embedded chain dies with it, as when the power goes; else it is left an orphan.
    """
    moments = random.Random(seed)

    async def kill(ledger: Ledger) -> None:
        for turn, answered in enumerate(at):
            await ledger.answered(answered)
            await asyncio.sleep(moments.uniform(0, 0.3))  # somewhere in the sender's work, not always at the same place
            await asyncio.to_thread(server.kill, with_children=turn % 2 == 1)
            await asyncio.to_thread(server.start)

    return kill


def requests_of(count: int, players: int) -> list[bytes]:
    """``count`` plays of ``players`` players; every second one carries an idempotency key.

    The others rely on the rule that a byte-identical play within 60 s is a retry.
    """
    return [
        request(
            play(index, player(index % players)),
            "Prefer: respond-async",
            *([f"Idempotency-Key: play-{index}"] if index % 2 else []),
        )
        for index in range(count)
    ]


def wait_until(what: str, holds: Callable[[], bool], timeout_s: float) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.2)


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Read the database beside the running server."""
    if url.startswith("sqlite"):
        reader = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)
        try:
            return list(reader.execute(sql))
        finally:
            reader.close()
    with psycopg.connect(url) as connection:
        return list(connection.execute(sql.encode()))


def check_promises(ledger: Ledger, chain: list[ChainScore], count: int) -> None:
    """What was promised is on chain, once, as promised; nothing else is."""
    assert not ledger.refusals, ledger.refusals[0]
    assert len(ledger.answers) == count
    recorded = Counter(score.round_id for score in chain)
    assert max(recorded.values()) == 1
    by_round = {score.round_id: score for score in chain}
    for answer in ledger.answers.values():
        receipt = answer["receipt"]
        score = by_round[receipt["roundId"]]
        assert (score.player, score.score) == (receipt["player"], receipt["score"])
        assert (score.evidence_hash, score.rules_hash) == (receipt["evidenceHash"], receipt["rulesHash"])
    promised = {answer["receipt"]["roundId"] for answer in ledger.answers.values()}
    assert len(promised) == count, "a retry was counted as a new play, or two plays as one"
    # A kill between commit and answer leaves an acceptance nobody heard of; the retry must find it, not add another.
    assert set(recorded) == promised
    assert sorted(recorded) == list(range(1, count + 1))


def check_nonces(bed: Bed) -> None:
    """Slots are consecutive, all are settled, and the chain's own count is the next one: no gap, nothing foreign."""
    rows = query(bed.database_url, "SELECT signer, nonce, state FROM slots ORDER BY nonce")
    assert {bytes(row[0]) for row in rows} == {bytes(rows[0][0])}
    nonces = [row[1] for row in rows]
    assert nonces == list(range(nonces[0], nonces[0] + len(nonces)))
    assert {row[2] for row in rows} <= {"mined", "final"}
    signer = "0x" + bytes(rows[0][0]).hex()
    for tag in ("latest", "pending"):
        assert int(rpc(bed.rpc_url, "eth_getTransactionCount", signer, tag), 16) == nonces[-1] + 1


def board(server: Fairscore) -> list[tuple[int, str, int]]:
    """The whole default board over the API, page by page."""
    rows: list[tuple[int, str, int]] = []
    cursor = ""
    while True:
        page = server.get(f"/api/leaderboards/streambeat/default?limit=100{cursor}")
        rows += [(row["rank"], row["player"], row["score"]) for row in page["rows"]]
        if page["nextCursor"] is None:
            assert len(rows) == page["total"]
            return rows
        cursor = f"&cursor={page['nextCursor']}"


def check_survival(bed: Bed, count: int, players: int, kills: int) -> None:
    """The whole story: load, kills, settlement, and every comparison."""
    at = [count * (step + 1) // (kills + 1) for step in range(kills)]
    worker = killer(bed.server, at, seed=count)
    rate = 400 + count * 0.4  # slow enough that plays are left at the last kill
    requests = requests_of(count, players)
    ledger = asyncio.run(submit_all(bed.server.port, requests, CONNECTIONS, worker, per_second=rate))
    print(f"{kills} kills: {ledger.broken} requests broken, {ledger.replayed} of them had been accepted unheard")
    assert ledger.broken > 0, "no request was under way at any kill: the test tested nothing"
    contract = next(iter(ledger.answers.values()))["receipt"]["typedData"]["domain"]["verifyingContract"]
    wait_until("on chain", lambda: len(scores_on_chain(bed.rpc_url, contract)) >= count, 120 + count / 10)
    unsettled = "SELECT count(*) FROM slots WHERE state NOT IN ('mined', 'final')"
    wait_until("settled", lambda: query(bed.database_url, unsettled)[0][0] == 0, 120)
    chain = scores_on_chain(bed.rpc_url, contract)
    check_promises(ledger, chain, count)
    check_nonces(bed)
    expected = standings(chain)
    assert len(expected) == players
    wait_until("standings", lambda: len(board(bed.server)) == players and board(bed.server) == expected, 120)
    not_final = "SELECT count(*) FROM submissions WHERE status <> 'final'"
    wait_until("final", lambda: query(bed.database_url, not_final)[0][0] == 0, 120)


def test_two_kills(bed: Bed) -> None:
    """600 submissions, two kills: in every run of the suite."""
    check_survival(bed, count=600, players=50, kills=2)


@pytest.mark.slow
def test_five_kills(bed: Bed) -> None:
    """5,000 submissions of 200 players, five kills."""
    check_survival(bed, count=5_000, players=200, kills=5)
