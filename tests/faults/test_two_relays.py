"""Two relays on one PostgreSQL and one gas key: one is killed, or stopped amid a commit and woken, under load."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from tests.faults.test_kill import Bed, check_nonces, check_promises, query, requests_of, wait_until
from tests.harness.nodes import anvil, operator
from tests.harness.process import Fairscore
from tests.harness.rpc import scores_on_chain
from tests.harness.stubborn import Ledger, submit_all

CONNECTIONS = 16
PER_SECOND = 60.0  # to each relay
IN_TRANSACTION = (
    "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class t ON t.oid = l.relation "
    "WHERE t.relname = 'leases' AND l.mode = 'RowShareLock' AND a.state = 'idle in transaction' "
    "AND a.datname = current_database()"
)


@dataclass(frozen=True)
class Lease:
    """Who sends: an epoch and the process that holds it."""

    epoch: int
    pid: int


@dataclass(frozen=True)
class Pair:
    """Two relays with the same settings on one chain and one database."""

    relays: tuple[Fairscore, Fairscore]
    rpc_url: str
    database_url: str

    def lease(self) -> Lease:
        """The gas key's lease as the database has it."""
        epoch, holder = query(self.database_url, "SELECT epoch, holder FROM leases")[0]
        return Lease(int(epoch), int(holder.split(":")[1]))

    def leader(self) -> Fairscore:
        """The relay that sends now."""
        pid = self.lease().pid
        return next(relay for relay in self.relays if relay.running.pid == pid)

    def other(self, relay: Fairscore) -> Fairscore:
        """The one beside it."""
        return self.relays[1 - self.relays.index(relay)]

    def reserved_under(self, epoch: int) -> list[int]:
        """Nonces that were reserved under an epoch of the lease."""
        return [row[0] for row in query(self.database_url, f"SELECT nonce FROM slots WHERE epoch = {epoch} ORDER BY 1")]

    def stuck(self) -> str:
        """What every connection to the database is at, what it waits for, and the ends of both logs."""
        rows = query(
            self.database_url,
            "SELECT pid, state, wait_event, pg_blocking_pids(pid), now() - xact_start, left(query, 120) "
            "FROM pg_stat_activity WHERE datname = current_database()",
        )
        return "\n".join([*map(str, rows), *(relay.tail(12) for relay in self.relays)])


@pytest.fixture
def pair(postgres_url: str, tmp_path: Path) -> Iterator[Pair]:
    """Both relays ready, blocks of 1 s."""
    with ExitStack() as stack:
        node = stack.enter_context(anvil("--block-time", "1"))
        settings = operator(tmp_path / "keys", node.url, postgres_url)
        # Small batches, so that there are many transactions to double or lose.
        settings |= {"FAIRSCORE_BATCH_SIZE": "20", "FAIRSCORE_BATCH_WAIT_MS": "200"}
        relays = (
            Fairscore(tmp_path / "home", "relay", settings=settings),
            Fairscore(tmp_path / "home", "relay", settings=settings),
        )
        for relay in relays:
            stack.enter_context(relay)
        yield Pair(relays, node.url, postgres_url)


Worst = Callable[[Pair], Coroutine[Any, Any, None]]


def check_under_load(pair: Pair, count: int, worst: Worst) -> None:
    """Players send to both relays while the worst happens; then every promise is compared with the chain."""
    requests = requests_of(count, max(10, count // 30))
    ledgers: list[Ledger] = []

    async def load() -> None:
        async def begin(ledger: Ledger) -> None:
            await ledger.answered(count // 20)
            await worst(pair)

        async def nothing(_ledger: Ledger) -> None:
            return

        ledgers.extend(
            await asyncio.gather(
                submit_all(pair.relays[0].port, requests[0::2], CONNECTIONS, begin, per_second=PER_SECOND),
                submit_all(pair.relays[1].port, requests[1::2], CONNECTIONS, nothing, per_second=PER_SECOND),
            )
        )

    asyncio.run(load())
    ledger = Ledger()
    for number, each in enumerate(ledgers):
        ledger.refusals += each.refusals
        ledger.answers |= {2 * index + number: answer for index, answer in each.answers.items()}
    contract = next(iter(ledger.answers.values()))["receipt"]["typedData"]["domain"]["verifyingContract"]
    not_final = "SELECT count(*) FROM submissions WHERE status <> 'final'"
    wait_until("final", lambda: query(pair.database_url, not_final)[0][0] == 0, 60 + count / 25)
    check_promises(ledger, scores_on_chain(pair.rpc_url, contract), count)
    check_nonces(Bed(pair.relays[0], pair.rpc_url, pair.database_url))
    check_attempts(pair)


def check_attempts(pair: Pair) -> None:
    """Whatever was signed for a nonce says the same to the contract: attempts differ in fees only."""
    said: dict[int, set[bytes]] = {}
    for nonce, raw in query(pair.database_url, "SELECT nonce, raw FROM attempts"):
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        assert fields["nonce"] == nonce
        said.setdefault(nonce, set()).add(bytes(fields["data"]))
    assert said
    assert {len(calldata) for calldata in said.values()} == {1}


async def hand_over(pair: Pair, before: Lease) -> float:
    """Wait until another process holds the lease and has reserved a nonce under it; the seconds since the call."""
    started = time.monotonic()

    def taken() -> bool:
        now = pair.lease()
        return now.epoch > before.epoch and now.pid != before.pid and bool(pair.reserved_under(now.epoch))

    try:
        await asyncio.to_thread(wait_until, "hand-over", taken, 120)
    except AssertionError as error:
        raise AssertionError(f"{error}; {before} -> {pair.lease()}\n{pair.stuck()}") from error
    return time.monotonic() - started


async def kill_the_leader(pair: Pair) -> None:
    """SIGKILL; the other takes over in time; then the dead one is started again, as a supervisor would."""
    before, leader = pair.lease(), pair.leader()
    leader.kill()
    seconds = await hand_over(pair, before)
    print(f"SIGKILL of the leader: the other sends after {seconds:.1f} s")
    await asyncio.to_thread(leader.start)


def stop_amid_a_commit(pair: Pair, leader: Fairscore) -> None:
    """SIGSTOP the leader while it holds the lease's row in an open transaction: the worst moment there is."""
    until = time.monotonic() + 60
    with psycopg.connect(pair.database_url, autocommit=True) as watch:

        def open_transactions() -> int:
            row = watch.execute(IN_TRANSACTION.encode()).fetchone()
            return int(row[0]) if row else 0

        while time.monotonic() < until:
            if not open_transactions():
                continue
            os.kill(leader.running.pid, signal.SIGSTOP)
            time.sleep(0.05)  # what PostgreSQL was doing for it is done now
            if open_transactions():
                return
            os.kill(leader.running.pid, signal.SIGCONT)
    raise AssertionError("the leader was never amid a commit")


async def stop_and_wake_the_leader(pair: Pair) -> None:
    """SIGSTOP amid a commit; the other takes over; the woken one changes nothing under its old epoch."""
    before, leader = pair.lease(), pair.leader()
    await asyncio.to_thread(stop_amid_a_commit, pair, leader)
    try:
        seconds = await hand_over(pair, before)
        print(f"SIGSTOP of the leader amid a commit: the other sends after {seconds:.1f} s")
        await asyncio.sleep(2)
        reserved = pair.reserved_under(before.epoch)
    finally:
        os.kill(leader.running.pid, signal.SIGCONT)
    await asyncio.sleep(3)
    assert pair.reserved_under(before.epoch) == reserved, "the woken one reserved a nonce under its old epoch"
    after = pair.lease()
    assert after.epoch > before.epoch
    assert after.pid == pair.other(leader).running.pid, "nobody took the lease from a holder that lives"
    await asyncio.to_thread(leader.wait_ready)
    assert "stands by" in str(leader.get("/health/ready"))


def test_the_leader_is_killed(pair: Pair) -> None:
    """Once, in every run of the suite."""
    check_under_load(pair, 1_200, kill_the_leader)


def test_the_leader_is_stopped_and_woken(pair: Pair) -> None:
    """Once, in every run of the suite."""
    check_under_load(pair, 1_200, stop_and_wake_the_leader)


@pytest.mark.slow
def test_leaders_come_and_go(pair: Pair) -> None:
    """Four of each, one after another: each time another process leads."""

    async def worst(pair: Pair) -> None:
        for _ in range(4):
            await kill_the_leader(pair)
            await stop_and_wake_the_leader(pair)

    check_under_load(pair, 12_000, worst)
