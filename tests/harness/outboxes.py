"""What outbox tests share: a database with accepted scores, an outbox over any chain, the oracle of its promises."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import rlp
from sqlalchemy import Connection, and_, func, select, text

from relay.attestation import Domain
from relay.chain_types import Log, Receipt
from relay.contract import TOPICS, game_key
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import Desk, Hook, OutboxChain, OutboxSettings, no_hook
from relay.outbox.loop import Outbox
from relay.outbox.scores import ScoreCargo
from relay.outbox.slots import Policy
from relay.signer import LocalSigner
from relay.store.engine import Database, open_database
from relay.store.outbox import OutboxStore
from relay.store.outbox_scores import ScoreRows
from relay.store.outbox_tables import attempts, batches, slots
from relay.store.schema import metadata
from relay.store.tables import history, submissions
from relay.store.writer import Writer
from tests.harness.fake_chain import FakeChain

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


UNDER_WAY = "s.state IN ('reserved', 'live', 'mined')"
CHECKS = {
    # (2) next = max + 1, so a key's nonces have no gap
    "a nonce is missing": """
        SELECT count(*) FROM (SELECT max(nonce) - min(nonce) + 1 - count(*) AS gap FROM slots
        GROUP BY chain_id, signer) g WHERE gap <> 0""",
    # (3) what a batch holds is held by no other, and a closed batch holds nothing
    "an item is in two open batches": """
        SELECT count(*) FROM (SELECT submission_id FROM batch_scores WHERE unresolved = 1
        GROUP BY submission_id HAVING count(*) > 1) d""",
    "a closed batch holds items": """
        SELECT count(*) FROM batch_scores i JOIN batches b ON b.id = i.batch_id
        WHERE i.unresolved = 1 AND b.state IN ('final', 'failed')""",
    "an open batch has no nonce under way": f"""
        SELECT count(*) FROM batches b WHERE b.state IN ('open', 'included')
        AND NOT EXISTS (SELECT 1 FROM slots s WHERE s.batch_id = b.id AND {UNDER_WAY})""",
    "an accepted score is in an open batch": """
        SELECT count(*) FROM submissions s JOIN batch_scores b ON b.submission_id = s.id AND b.unresolved = 1
        WHERE s.status = 'accepted'""",
    "a queued score is in no open batch": """
        SELECT count(*) FROM submissions s WHERE s.status IN ('queued', 'sent', 'included')
        AND NOT EXISTS (SELECT 1 FROM batch_scores b WHERE b.submission_id = s.id AND b.unresolved = 1)""",
    # (4) a void makes the batch fail, whatever else happened to the nonce
    "a batch whose void is final did not fail": """
        SELECT count(*) FROM slots s JOIN attempts a ON a.tx_hash = s.tx_hash JOIN batches b ON b.id = s.batch_id
        WHERE s.state = 'final' AND a.void = 1 AND b.state <> 'failed'""",
    "a void nobody asked for": """
        SELECT count(*) FROM attempts a JOIN slots s
        ON s.chain_id = a.chain_id AND s.signer = a.signer AND s.nonce = a.nonce
        WHERE a.void = 1 AND s.void_requested_at_ms IS NULL""",
    # (5) nothing is live without its signed bytes; what is mined or final is one of ours
    "a live slot has no attempt": """
        SELECT count(*) FROM slots s WHERE s.state IN ('live', 'mined', 'final')
        AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.nonce = s.nonce AND a.signer = s.signer)""",
    "a mined slot is not where it was mined": """
        SELECT count(*) FROM slots s WHERE s.state IN ('mined', 'final')
        AND (s.block_number IS NULL OR s.block_hash IS NULL OR NOT EXISTS (SELECT 1 FROM attempts a
        WHERE a.tx_hash = s.tx_hash AND a.nonce = s.nonce AND a.signer = s.signer))""",
    # (7) final is somewhere
    "a final score is in no transaction": """
        SELECT count(*) FROM submissions WHERE status = 'final' AND (tx_hash IS NULL OR block_number IS NULL)""",
    # (9) no slot was reserved under an epoch that never was
    "a slot of a later epoch than the lease": """
        SELECT count(*) FROM slots s JOIN leases l ON l.chain_id = s.chain_id AND l.signer = s.signer
        WHERE s.epoch > l.epoch""",
    # (10) the history's end is the status
    "a status without its history": """
        SELECT count(*) FROM submissions s WHERE s.status <> 'accepted' AND s.status
        <> (SELECT h.status FROM history h WHERE h.submission_id = s.id ORDER BY h.seq DESC LIMIT 1)""",
}


def _problems(c: Connection) -> list[str]:
    found = [name for name, query in CHECKS.items() if c.scalar(text(query))]
    return found + _changed_contents(c)


def _changed_contents(c: Connection) -> list[str]:
    """(4) Attempts of unfinished nonces whose content is neither the batch's nor nothing at all to ourselves."""
    same = (attempts.c.chain_id == slots.c.chain_id, attempts.c.signer == slots.c.signer)
    query = (
        select(attempts.c.raw, attempts.c.void, attempts.c.signer, batches.c.calldata)
        .join(slots, and_(*same, attempts.c.nonce == slots.c.nonce))
        .join(batches, batches.c.id == slots.c.batch_id)
        .where(slots.c.state.in_(("live", "mined")))
    )
    wrong = 0
    for raw, void, signer, calldata in c.execute(query):
        fields = rlp.decode(raw[1:])[5:8] if raw[0] == 2 else rlp.decode(raw)[3:6]
        receiver, value, data = (bytes(field) for field in fields)
        wrong += value != b"" or data != (b"" if void else calldata) or (void and receiver != signer)
    return ["an attempt with another content"] if wrong else []


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


def carry(chain: FakeChain, b: Bench, round_ids: list[int], score: int | None = None) -> bytes:
    """Record rounds on the chain by somebody's own transaction."""
    tx_hash = bytes([7]) * 32
    head = chain.blocks_list[-1]
    logs = []
    for index, round_id in enumerate(round_ids):
        row = b.row("streambeat", round_id, RULES)
        player, evidence = row["player"], row["evidence_hash"]
        assert isinstance(player, bytes)
        assert isinstance(evidence, bytes)
        topics = (TOPICS["ScoreSubmitted"], game_key("streambeat"), bytes(12) + player, round_id.to_bytes(32, "big"))
        data = (score or 1000 + round_id).to_bytes(32, "big") + evidence + RULES
        logs.append(Log(CONTRACT, topics, data, head.header.number, head.header.hash, tx_hash, index))
    head.receipts.append(Receipt(tx_hash, head.header.number, head.header.hash, True, 21_000, tuple(logs), None))
    return tx_hash
