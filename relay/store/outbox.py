"""The outbox's store: nonce slots, attempts and batches, whatever the batches carry.

The only SQL on `batches`, `slots`, `attempts` and `batch_scores`. Each change is one commit together with what it means
for the cargo (a `Move`, which writes its history), and checks the lease it was made under.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias

from sqlalchemy import Connection, Update, and_, bindparam, func, select, text, update

from relay.outbox.fees import Bid
from relay.outbox.slots import Attempt, Slot, SlotState
from relay.store import outbox_leases as leases
from relay.store.controls import Pause, paused
from relay.store.engine import Database
from relay.store.outbox_leases import ChainMismatchError, LeaseLostError
from relay.store.outbox_tables import attempts, batch_scores, batches, slots
from relay.store.writer import Writer

__all__ = [
    "ChainMismatchError", "Change", "Landed", "LeaseLostError", "Move", "NewAttempt", "OutboxStore",
    "Pause", "SealConflictError", "Sealed", "StoredBatch", "WithdrawnError",
]  # fmt: skip

# A literal, because both databases use a partial index only for its own words.
IS_UNFINISHED = text("slots.state IN ('reserved', 'live', 'mined')")

IS_OF = leases.is_of(slots.c.chain_id, slots.c.signer)
UNFINISHED = (
    select(slots.c.nonce, slots.c.state, slots.c.batch_id, slots.c.tx_hash, slots.c.block_number, slots.c.block_hash)
    .add_columns(slots.c.void_requested_at_ms, slots.c.void_by, attempts.c.tx_hash, attempts.c.fee_wei_max)
    .add_columns(attempts.c.tip_wei_max, attempts.c.gas_limit, attempts.c.created_at_block, attempts.c.void)
    .select_from(
        slots.outerjoin(
            attempts, and_(*(attempts.c[name] == slots.c[name] for name in ("chain_id", "signer", "nonce")))
        )
    )
    .where(IS_OF, IS_UNFINISHED)
    # Not by time, for clocks are set back: each attempt bids more than the one before, and voids come last.
    .order_by(slots.c.nonce, attempts.c.void, attempts.c.fee_wei_max)
)
HIGHEST = select(func.max(slots.c.nonce)).where(IS_OF)
BATCH = select(batches.c.id, batches.c.kind, batches.c.game_id, batches.c.rules_hash, batches.c.calldata).where(
    batches.c.id == bindparam("batch")
)
ITEMS = (
    select(batch_scores.c.submission_id)
    .where(batch_scores.c.batch_id == bindparam("batch"))
    .order_by(batch_scores.c.position)
)
RAW = select(attempts.c.raw).where(attempts.c.tx_hash == bindparam("hash"))
NEW_BATCH = batches.insert().returning(batches.c.id)
IS_BATCH = batches.c.id == bindparam("batch")
BATCH_STATE = update(batches).where(IS_BATCH).values(state=bindparam("state"))
BATCH_RESOLVED = BATCH_STATE.values(resolved_at_ms=bindparam("resolved_at_ms"))
RESOLVED = update(batch_scores).where(batch_scores.c.batch_id == bindparam("batch")).values(unresolved=0)

Move: TypeAlias = Callable[[Connection, int], None]
"""What a change of a slot means for its cargo's rows: run in the slot's own commit, at the database's time (ms)."""


@lru_cache
def _setting(*names: str) -> Update:
    """Build the change of these columns of one slot; parameters: the columns, those of `Key.of`, `of_nonce`, `was`."""
    chosen = (IS_OF, slots.c.nonce == bindparam("of_nonce"), slots.c.state == bindparam("was"))
    return update(slots).where(*chosen).values({name: bindparam(name) for name in names})


class SealConflictError(Exception):
    """An item of the batch is not waiting any more. Raised by a claim before it changes anything."""


class WithdrawnError(Exception):
    """An item must not be sent any more, and nothing that carries it was signed before. Raised by a first `sent`."""


@dataclass(frozen=True)
class Sealed:
    """A batch ready to be stored: its calldata is fixed from here on. `items`: ids in the order of the calldata.

    `claim` takes the items for this batch, or raises SealConflictError. `rules_hash` is zero where no rules apply.
    """

    kind: str
    game_id: str
    rules_hash: bytes
    calldata: bytes
    items: tuple[str, ...]
    claim: Move


@dataclass(frozen=True)
class NewAttempt:
    """A signed transaction to be stored before it is sent. `move` runs when it is its slot's first.

    It may raise WithdrawnError then: the transaction is forgotten, and its nonce is to be voided.
    """

    nonce: int
    raw: bytes
    attempt: Attempt
    move: Move


@dataclass(frozen=True)
class StoredBatch:
    """A batch as it was sealed; ids in the order of its calldata."""

    batch_id: int
    kind: str
    game_id: str
    rules_hash: bytes
    calldata: bytes
    items: tuple[str, ...]


@dataclass(frozen=True)
class Landed:
    """A slot whose transaction is in a block."""

    nonce: int
    batch_id: int
    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    void: bool = False  # of the attempt: the batch has no part in it


Change = tuple[Landed, Move]
"""A slot's change and what it means for what the slot carries."""


class OutboxStore:
    """Reads and writes for one key on one chain.

    Methods raise StoreUnavailableError when the database is away; writes raise LeaseLostError when the lease is.
    """

    def __init__(self, writer: Writer, database: Database, chain_id: int, signer: bytes, holder: str) -> None:
        """`holder` names this process among those that share the key."""
        self._writer = writer
        self._database = database
        self._key = leases.Key(chain_id, signer)
        self._holder = holder
        self._epoch = 0

    # ------------------------------------------------------------ who may send

    async def bind(self, genesis_hash: bytes, contract: bytes) -> None:
        """Remember the chain's first block and our contract, or raise ChainMismatchError when they changed."""
        chain_id, now_ms = self._key.chain_id, self._database.now_ms
        await self._writer.run(lambda c: leases.bind(c, chain_id, genesis_hash, contract, now_ms(c)))

    async def acquire(self, ttl_ms: int, *, steal: bool, trouble: Mapping[str, str] = leases.NONE) -> bool:
        """Take or renew the lease of the key; `steal` takes it from a holder that has not expired.

        `trouble` is what operators are shown of this sender, whichever process they ask.
        """
        key, holder, now_ms, told = self._key, self._holder, self._database.now_ms, dict(trouble)
        self._epoch = await self._writer.run(
            lambda c: leases.acquire(c, key, holder, now_ms(c), ttl_ms, steal=steal, trouble=told)
        )
        return self._epoch > 0

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait."""
        key, epoch = self._key, self._epoch
        if epoch:
            self._epoch = 0
            await self._writer.run(lambda c: leases.release(c, key, epoch))

    def _fence(self, epoch: int, c: Connection) -> int:
        leases.fence(c, self._key, epoch)
        return self._database.now_ms(c)

    # ------------------------------------------------------------------- reads

    async def look(self) -> tuple[list[Slot], Pause | None]:
        """Slots that are not final, lowest nonce first, with their attempts; and whether an operator paused the key."""
        return await self._database.read(lambda c: (self._unfinished(c), paused(c, self._key)))

    def _unfinished(self, c: Connection) -> list[Slot]:
        found: dict[int, Slot] = {}
        for row in c.execute(UNFINISHED, self._key.of()):
            nonce, state, batch_id, tx_hash, number, block_hash, since, by, made, fee, tip, gas, at_block, void = row
            attempt = () if made is None else (Attempt(made, Bid(fee, tip), gas, at_block, bool(void)),)
            before = found[nonce].attempts if nonce in found else ()
            asked = None if since is None else by or "an operator"
            where = (tx_hash, number, block_hash)
            found[nonce] = Slot(nonce, SlotState(state), batch_id, before + attempt, *where, asked)
        return list(found.values())

    async def batch(self, batch_id: int) -> StoredBatch:
        """A sealed batch with its items in order."""
        return await self._database.read(partial(self._batch, batch_id))

    def _batch(self, batch_id: int, c: Connection) -> StoredBatch:
        chosen = {"batch": batch_id}
        return StoredBatch(*c.execute(BATCH, chosen).one(), tuple(c.scalars(ITEMS, chosen)))

    async def raw(self, tx_hash: bytes) -> bytes:
        """The signed bytes of a stored attempt."""
        return bytes(await self._database.read(lambda c: c.execute(RAW, {"hash": tx_hash}).scalar_one()))

    async def next_nonce(self) -> int | None:
        """One above the highest nonce ever reserved; None when there is none."""
        return await self._database.read(self._next_nonce)

    def _next_nonce(self, c: Connection) -> int | None:
        highest = c.scalar(HIGHEST, self._key.of())
        return None if highest is None else int(highest) + 1

    async def next_nonces(self) -> dict[bytes, int]:
        """One above the highest nonce ever reserved, for every key that ever sent on this chain, whoever holds it."""
        query = select(slots.c.signer, func.max(slots.c.nonce)).where(slots.c.chain_id == self._key.chain_id)
        rows = await self._database.read(lambda c: c.execute(query.group_by(slots.c.signer)).all())
        return {bytes(signer): int(highest) + 1 for signer, highest in rows}

    # ------------------------------------------------------------------ writes

    async def seal(
        self, sealed: Sequence[Sealed], nonce_if_first: int, foreign_below: int
    ) -> list[tuple[Slot, Sealed]]:
        """Store batches with their nonces: batch, items, slot, and the cargo's own rows in one commit.

        `nonce_if_first`: where to begin when no nonce was ever reserved. `foreign_below`: nonces below it that are
        not ours are recorded as used by someone else. A batch of which an item is not waiting any more (another key's
        sender, or an operator, was faster) is left out.
        """
        return await self._writer.run(partial(self._seal, self._epoch, sealed, nonce_if_first, foreign_below))

    def _seal(
        self, epoch: int, sealed: Sequence[Sealed], nonce_if_first: int, foreign_below: int, c: Connection
    ) -> list[tuple[Slot, Sealed]]:
        now = self._fence(epoch, c)
        known = self._next_nonce(c)
        nonce = nonce_if_first if known is None else known
        slot = {**vars(self._key), "epoch": epoch, "reserved_at_ms": now}
        if known is not None and nonce < foreign_below:
            c.execute(slots.insert(), [{**slot, "nonce": n, "state": "foreign"} for n in range(nonce, foreign_below)])
            nonce = foreign_below
        made: list[tuple[Slot, Sealed]] = []
        for one in sealed:
            try:
                one.claim(c, now)
            except SealConflictError:
                continue
            batch_id = self._insert_batch(one, now, c)
            c.execute(slots.insert(), [{**slot, "nonce": nonce, "state": "reserved", "batch_id": batch_id}])
            made.append((Slot(nonce, SlotState.RESERVED, batch_id, ()), one))
            nonce += 1
        return made

    def _insert_batch(self, one: Sealed, now: int, c: Connection) -> int:
        values = {
            "kind": one.kind,
            "game_id": one.game_id,
            "rules_hash": one.rules_hash,
            "size": len(one.items),
            "calldata": one.calldata,
            "state": "open",
            "created_at_ms": now,
        }
        batch_id = int(c.execute(NEW_BATCH, values).scalar_one())
        items = [
            {"batch_id": batch_id, "position": position, "submission_id": item}
            for position, item in enumerate(one.items)
        ]
        c.execute(batch_scores.insert(), items)
        return batch_id

    async def record_attempts(self, made: Sequence[NewAttempt]) -> list[NewAttempt]:
        """Store signed transactions; a first attempt makes its slot live. Returns those that may be sent."""
        return await self._writer.run(partial(self._record_attempts, self._epoch, made))

    def _record_attempts(self, epoch: int, made: Sequence[NewAttempt], c: Connection) -> list[NewAttempt]:
        now = self._fence(epoch, c)
        return [item for item in made if self._record_attempt(item, now, c)]

    def _record_attempt(self, item: NewAttempt, now: int, c: Connection) -> bool:
        row = {
            **vars(self._key),
            "tx_hash": item.attempt.tx_hash,
            "nonce": item.nonce,
            "raw": item.raw,
            "gas_limit": item.attempt.gas_limit,
            "fee_wei_max": item.attempt.bid.fee_max,
            "tip_wei_max": item.attempt.bid.tip_max,
            "created_at_ms": now,
            "created_at_block": item.attempt.created_at_block,
            "void": int(item.attempt.void),
        }
        try:
            with c.begin_nested():
                c.execute(attempts.insert(), [row])
                if self._set_slot(c, item.nonce, "reserved", state="live"):
                    item.move(c, now)
        except WithdrawnError as error:
            self._set_slot(c, item.nonce, "reserved", void_requested_at_ms=now, void_by=str(error))
            return False
        return True

    def _set_slot(self, c: Connection, nonce: int, was: str, **values: object) -> bool:
        chosen = {**self._key.of(), "of_nonce": nonce, "was": was}
        return c.execute(_setting(*values), {**chosen, **values}).rowcount == 1

    async def mined(self, changes: Sequence[Change]) -> None:
        """Live slots are in a block now."""
        await self._writer.run(partial(self._mined, self._epoch, changes))

    def _mined(self, epoch: int, changes: Sequence[Change], c: Connection) -> None:
        now = self._fence(epoch, c)
        for item, move in changes:
            where = {"tx_hash": item.tx_hash, "block_number": item.block_number, "block_hash": item.block_hash}
            how = {"succeeded": int(item.succeeded), "gas_used": item.gas_used}
            changed = self._set_slot(c, item.nonce, "live", state="mined", **where, **how)
            if changed and item.succeeded and not item.void:
                c.execute(BATCH_STATE, {"batch": item.batch_id, "state": "included"})
                move(c, now)

    async def unmined(self, slot: Slot, move: Move) -> None:
        """The block of a mined slot left the chain: live again."""
        await self._writer.run(partial(self._unmined, self._epoch, slot, move))

    def _unmined(self, epoch: int, slot: Slot, move: Move, c: Connection) -> None:
        now = self._fence(epoch, c)
        nothing = {"tx_hash": None, "block_number": None, "block_hash": None, "succeeded": None, "gas_used": None}
        if self._set_slot(c, slot.nonce, "mined", state="live", **nothing):
            c.execute(BATCH_STATE, {"batch": slot.batch_id, "state": "open"})
            move(c, now)

    async def finish(self, changes: Sequence[Change]) -> None:
        """Close mined slots whose batches did what they should."""
        await self._writer.run(partial(self._finish, self._epoch, changes))

    def _finish(self, epoch: int, changes: Sequence[Change], c: Connection) -> None:
        now = self._fence(epoch, c)
        for item, move in changes:
            if self._set_slot(c, item.nonce, "mined", state="final"):
                self._resolve(c, item.batch_id, "final", now)
                move(c, now)

    async def give_up(self, slot: Slot, closed_as: SlotState, move: Move) -> None:
        """Close a slot that did nothing (failed, or used by someone else); its items are free for another batch."""
        await self._writer.run(partial(self._give_up, self._epoch, (slot, closed_as), move))

    def _give_up(self, epoch: int, what: tuple[Slot, SlotState], move: Move, c: Connection) -> None:
        slot, closed_as = what
        now = self._fence(epoch, c)
        if self._set_slot(c, slot.nonce, slot.state.value, state=closed_as.value):
            self._resolve(c, slot.batch_id, "failed", now)
            move(c, now)

    def _resolve(self, c: Connection, batch_id: int, state: str, now_ms: int) -> None:
        """Close a batch: its items may be in another one from here on."""
        c.execute(RESOLVED, {"batch": batch_id})
        c.execute(BATCH_RESOLVED, {"batch": batch_id, "state": state, "resolved_at_ms": now_ms})

    async def apply(self, move: Move) -> None:
        """Move rows of a cargo that no slot carries, under the lease."""
        await self._writer.run(partial(self._apply, self._epoch, move))

    def _apply(self, epoch: int, move: Move, c: Connection) -> None:
        move(c, self._fence(epoch, c))
