"""What outbox tests share: a database with accepted scores, an outbox over any chain, the oracle of its promises."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select, text

from relay.attestation import Domain
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import Desk, Hook, OutboxChain, OutboxSettings, no_hook
from relay.outbox.loop import Outbox
from relay.outbox.scores import ScoreCargo
from relay.outbox.slots import Policy
from relay.signer import LocalSigner
from relay.store.engine import Database, open_database
from relay.store.outbox import OutboxStore
from relay.store.outbox_scores import ScoreRows
from relay.store.schema import metadata
from relay.store.tables import history, submissions
from relay.store.writer import Writer

GAS_KEY = LocalSigner(b"\x01" * 32)
ATTESTER = LocalSigner(b"\x02" * 32)
CONTRACT = b"\xcc" * 20
RULES = b"\x77" * 32
CHAIN_ID = 31337
SETTINGS = OutboxSettings(
    limits=BatchLimits(size=4, wait_ms=0),
    confirmations=2,
    policy=Policy(),
    estimate_gas=False,
    steal_lease=True,
    lease_ttl_ms=60_000,
)


@dataclass
class Ears:
    """Records what the outbox announces."""

    heard: list[tuple[str, str, bytes | None]] = field(default_factory=list)

    def changed(self, ids: Iterable[str], status: str, tx_hash: bytes | None) -> None:
        """Remember it."""
        self.heard += [(item, status, tx_hash) for item in ids]


@dataclass
class Clock:
    """Seconds that move when told to."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time."""
        self.now += 0.001
        return self.now


@dataclass
class Bench:
    """A database with its writer, and outboxes over it."""

    database: Database
    writer: Writer
    ears: Ears = field(default_factory=Ears)
    clock: Clock = field(default_factory=Clock)
    rounds: Counter[str] = field(default_factory=Counter)

    def outbox(
        self,
        chain: OutboxChain,
        *,
        settings: OutboxSettings = SETTINGS,
        hook: Hook = no_hook,
        domain: Domain | None = None,
        keys: tuple[LocalSigner, LocalSigner] = (GAS_KEY, ATTESTER),
    ) -> Outbox:
        """A sender as a fresh process would make it: it remembers nothing."""
        domain = domain or Domain(CHAIN_ID, CONTRACT)
        store = OutboxStore(self.writer, self.database, domain.chain_id, keys[0].address, uuid.uuid4().hex)
        scores = ScoreCargo(chain, ScoreRows(self.database), keys[1], domain, settings)
        cargoes = {scores.kind: scores}
        return Outbox(Desk(chain, store, keys[0], cargoes, domain, self.ears, self.clock, settings, hook))

    async def accept(self, count: int, game: str = "streambeat", rules: bytes = RULES) -> list[str]:
        """Store accepted submissions as the intake does."""
        start = self.rounds[game]
        self.rounds[game] += count
        rows = [self.row(game, start + number + 1, rules) for number in range(count)]
        await self.writer.run(lambda c: c.execute(submissions.insert(), rows).rowcount)
        return [str(row["id"]) for row in rows]

    def row(self, game: str, round_id: int, rules: bytes) -> dict[str, object]:
        """One accepted submission."""
        return {
            "id": f"sub_{game}_{round_id:08d}",
            "game_id": game,
            "player": (round_id % 7 + 1).to_bytes(20, "big"),
            "status": "accepted",
            "score": 1000 + round_id,
            "round_id": round_id,
            "evidence_hash": round_id.to_bytes(32, "big"),
            "evidence_level": 1,
            "rules_hash": rules,
            "claim_hash": round_id.to_bytes(32, "big"),
            "received_at_ms": 1,
            "accepted_at_ms": 1,
            "receipt_deadline": 2**40,
            "receipt_signer": ATTESTER.address,
            "receipt_signature": bytes(65),
            "request_id": "req",
        }

    async def statuses(self) -> Counter[str]:
        """How many submissions have each status."""
        query = select(submissions.c.status, func.count()).group_by(submissions.c.status)
        rows = await self.database.read(lambda c: c.execute(query).all())
        return Counter({str(row[0]): int(row[1]) for row in rows})

    async def all_final(self, count: int) -> bool:
        """Whether that many submissions are final."""
        return (await self.statuses())["final"] == count

    async def history(self, submission_id: str) -> list[str]:
        """The statuses a submission went through."""
        query = select(history.c.status).where(history.c.submission_id == submission_id).order_by(history.c.seq)
        return list(await self.database.read(lambda c: c.scalars(query).all()))

    async def check_invariants(self) -> None:
        """Invariants that hold in the database at any moment, whatever crashed."""
        problems = await self.database.read(_problems)
        assert not problems, problems


def _problems(c: Connection) -> list[str]:
    checks = {
        "a nonce is missing": "SELECT count(*) FROM (SELECT max(nonce) - min(nonce) + 1 - count(*) AS gap FROM slots "
        "GROUP BY chain_id, signer) g WHERE gap <> 0",
        "a live slot has no attempt": "SELECT count(*) FROM slots s WHERE s.state IN ('live', 'mined', 'final') AND "
        "NOT EXISTS (SELECT 1 FROM attempts a WHERE a.nonce = s.nonce AND a.signer = s.signer)",
        "an accepted score is in an open batch": "SELECT count(*) FROM submissions s JOIN batch_scores b ON "
        "b.submission_id = s.id AND b.unresolved = 1 WHERE s.status = 'accepted'",
        "a queued score is in no open batch": "SELECT count(*) FROM submissions s WHERE s.status IN "
        "('queued', 'sent', 'included') AND NOT EXISTS (SELECT 1 FROM batch_scores b WHERE b.submission_id = s.id "
        "AND b.unresolved = 1)",
        "a status without its history": "SELECT count(*) FROM submissions s WHERE s.status <> 'accepted' AND s.status "
        "<> (SELECT h.status FROM history h WHERE h.submission_id = s.id ORDER BY h.seq DESC LIMIT 1)",
    }
    return [name for name, query in checks.items() if c.scalar(text(query))]


async def eventually(holds: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Wait until it holds."""
    for _ in range(int(timeout_s / 0.05)):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never held")


@asynccontextmanager
async def bench(url: str) -> AsyncIterator[Bench]:
    """A fresh schema in `url` and a running writer."""
    database = open_database(url)
    metadata.create_all(database.engine)
    writer = Writer(database)
    writer.start()
    try:
        yield Bench(database, writer)
    finally:
        await writer.stop()
        database.close()
