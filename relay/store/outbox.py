"""The outbox's store: batches, nonce slots, attempts, and through them the statuses of submissions.

The only SQL on `batches`, `slots`, `attempts` and `batch_scores` (with `outbox_moves` beside it). Each change is one
commit together with its history rows, and checks the lease it was made under.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, and_, func, select, text, update

from relay.outbox.batches import Waiting
from relay.outbox.fees import Bid
from relay.outbox.slots import Attempt, Slot, SlotState
from relay.store import outbox_leases as leases
from relay.store import outbox_moves as moves
from relay.store.engine import Database
from relay.store.outbox_leases import ChainMismatchError, LeaseLostError
from relay.store.outbox_moves import Landed
from relay.store.outbox_tables import attempts, batch_scores, batches, slots
from relay.store.tables import submissions
from relay.store.writer import Writer

__all__ = [
    "ChainMismatchError", "Landed", "LeaseLostError", "NewAttempt", "OutboxStore", "Recorded", "SealConflictError",
    "Sealed", "StoredBatch",
]  # fmt: skip

# Literals, because both databases use a partial index only for its own words.
IS_WAITING = text("submissions.status = 'accepted'")
IS_UNFINISHED = text("slots.state IN ('reserved', 'live', 'mined')")

Recorded = tuple[str, bytes, int]
"""A submission that another transaction recorded: id, transaction hash, block number."""


class SealConflictError(Exception):
    """A score of the batch is not waiting any more; nothing was stored."""


@dataclass(frozen=True)
class Sealed:
    """A batch ready to be stored: its calldata is fixed from here on."""

    game_id: str
    rules_hash: bytes
    calldata: bytes
    submission_ids: tuple[str, ...]


@dataclass(frozen=True)
class NewAttempt:
    """A signed transaction to be stored before it is sent."""

    nonce: int
    batch_id: int
    raw: bytes
    attempt: Attempt


@dataclass(frozen=True)
class StoredBatch:
    """A batch as it was sealed; ids in the order of its records."""

    batch_id: int
    game_id: str
    rules_hash: bytes
    calldata: bytes
    submission_ids: tuple[str, ...]


class OutboxStore:
    """Reads and writes for one key on one chain.

    Methods raise StoreUnavailableError when the database is away; writes raise LeaseLostError when the lease is.
    """

    def __init__(self, writer: Writer, database: Database, chain_id: int, signer: bytes, holder: str) -> None:
        """`holder` names this process among those that share the key."""
        self._writer = writer
        self._database = database
        self._key = leases.Key(chain_id, signer)
        self._mine = (slots.c.chain_id == chain_id, slots.c.signer == signer)
        self._holder = holder
        self._epoch = 0

    # ------------------------------------------------------------ who may send

    async def bind(self, genesis_hash: bytes, contract: bytes) -> None:
        """Remember the chain's first block and our contract, or raise ChainMismatchError when they changed."""
        chain_id, now_ms = self._key.chain_id, self._database.now_ms
        await self._writer.run(lambda c: leases.bind(c, chain_id, genesis_hash, contract, now_ms(c)))

    async def acquire(self, ttl_ms: int, *, steal: bool) -> bool:
        """Take or renew the lease of the key; `steal` takes it from a holder that has not expired."""
        key, holder, now_ms = self._key, self._holder, self._database.now_ms
        self._epoch = await self._writer.run(lambda c: leases.acquire(c, key, holder, now_ms(c), ttl_ms, steal=steal))
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

    async def waiting(self, per_game_max: int) -> tuple[list[Waiting], int]:
        """Accepted scores by game in round order, and the database's time (ms)."""
        return await self._database.read(partial(self._waiting, per_game_max))

    def _waiting(self, per_game_max: int, c: Connection) -> tuple[list[Waiting], int]:
        s = submissions.c
        columns = (s.id, s.game_id, s.rules_hash, s.player, s.score, s.round_id, s.evidence_hash, s.accepted_at_ms)
        found: list[Waiting] = []
        game = ""
        # From game to game, so that a busy one does not hide the others behind the row limit.
        while (game := c.scalar(select(func.min(s.game_id)).where(IS_WAITING, s.game_id > game))) is not None:
            rows = select(*columns).where(IS_WAITING, s.game_id == game).order_by(s.round_id).limit(per_game_max)
            found += [Waiting(*row) for row in c.execute(rows)]
        return found, self._database.now_ms(c)

    async def unfinished(self) -> list[Slot]:
        """Slots that are not final, lowest nonce first, with their attempts."""
        return await self._database.read(self._unfinished)

    def _unfinished(self, c: Connection) -> list[Slot]:
        s, a = slots.c, attempts.c
        same = and_(a.chain_id == s.chain_id, a.signer == s.signer, a.nonce == s.nonce)
        mined = (s.tx_hash, s.block_number, s.block_hash)
        query = (
            select(s.nonce, s.state, s.batch_id, *mined)
            .add_columns(a.tx_hash, a.fee_wei_max, a.tip_wei_max, a.gas_limit, a.created_at_block)
            .select_from(slots.outerjoin(attempts, same))
            .where(*self._mine, IS_UNFINISHED)
            .order_by(s.nonce, a.created_at_ms, a.fee_wei_max)
        )
        found: dict[int, Slot] = {}
        for nonce, state, batch_id, tx_hash, number, block_hash, made, fee, tip, gas, at_block in c.execute(query):
            attempt = () if made is None else (Attempt(made, Bid(fee, tip), gas, at_block),)
            before = found[nonce].attempts if nonce in found else ()
            found[nonce] = Slot(nonce, SlotState(state), batch_id, before + attempt, tx_hash, number, block_hash)
        return list(found.values())

    async def batch(self, batch_id: int) -> StoredBatch:
        """A sealed batch with its submissions in record order."""
        return await self._database.read(partial(self._batch, batch_id))

    def _batch(self, batch_id: int, c: Connection) -> StoredBatch:
        columns = (batches.c.game_id, batches.c.rules_hash, batches.c.calldata)
        game, rules, calldata = c.execute(select(*columns).where(batches.c.id == batch_id)).one()
        ids = select(batch_scores.c.submission_id).where(batch_scores.c.batch_id == batch_id)
        members = tuple(c.scalars(ids.order_by(batch_scores.c.position)))
        return StoredBatch(batch_id, game, rules, calldata, members)

    async def raw(self, tx_hash: bytes) -> bytes:
        """The signed bytes of a stored attempt."""
        query = select(attempts.c.raw).where(attempts.c.tx_hash == tx_hash)
        return bytes(await self._database.read(lambda c: c.execute(query).scalar_one()))

    async def next_nonce(self) -> int | None:
        """One above the highest nonce ever reserved; None when there is none."""
        return await self._database.read(self._next_nonce)

    def _next_nonce(self, c: Connection) -> int | None:
        highest = c.scalar(select(func.max(slots.c.nonce)).where(*self._mine))
        return None if highest is None else int(highest) + 1

    # ------------------------------------------------------------------ writes

    async def seal(self, sealed: Sequence[Sealed], nonce_if_first: int, foreign_below: int) -> list[Slot]:
        """Store batches with their nonces: batch, members, slot, statuses and history in one commit.

        `nonce_if_first`: where to begin when no nonce was ever reserved. `foreign_below`: nonces below it that are
        not ours are recorded as used by someone else. Raises SealConflictError.
        """
        return await self._writer.run(partial(self._seal, self._epoch, sealed, nonce_if_first, foreign_below))

    def _seal(
        self, epoch: int, sealed: Sequence[Sealed], nonce_if_first: int, foreign_below: int, c: Connection
    ) -> list[Slot]:
        now = self._fence(epoch, c)
        known = self._next_nonce(c)
        nonce = nonce_if_first if known is None else known
        slot = {**vars(self._key), "epoch": epoch, "reserved_at_ms": now}
        if known is not None and nonce < foreign_below:
            c.execute(slots.insert(), [{**slot, "nonce": n, "state": "foreign"} for n in range(nonce, foreign_below)])
            nonce = foreign_below
        self._claim([item for one in sealed for item in one.submission_ids], c)
        made: list[Slot] = []
        for one in sealed:
            values = {
                "game_id": one.game_id,
                "rules_hash": one.rules_hash,
                "size": len(one.submission_ids),
                "calldata": one.calldata,
                "state": "open",
                "created_at_ms": now,
            }
            batch_id = int(c.execute(batches.insert().values(values).returning(batches.c.id)).scalar_one())
            members = [
                {"batch_id": batch_id, "position": position, "submission_id": item}
                for position, item in enumerate(one.submission_ids)
            ]
            c.execute(batch_scores.insert(), members)
            c.execute(slots.insert(), [{**slot, "nonce": nonce, "state": "reserved", "batch_id": batch_id}])
            if moves.move(c, batch_id, "queued", now, ("accepted",)) != len(members):
                raise SealConflictError("a score of the batch is not waiting any more")
            made.append(Slot(nonce, SlotState.RESERVED, batch_id, ()))
            nonce += 1
        return made

    def _claim(self, submission_ids: Sequence[str], c: Connection) -> None:
        """Lock the scores, or raise SealConflictError: a sender with another key may be sealing them now."""
        free = select(submissions.c.id).where(submissions.c.id.in_(submission_ids), IS_WAITING)
        if len(c.execute(free.with_for_update(skip_locked=True)).all()) != len(submission_ids):
            raise SealConflictError("a score of the batch is not waiting any more")

    async def record_attempts(self, made: Sequence[NewAttempt]) -> None:
        """Store signed transactions; a first attempt makes its slot live and its scores sent."""
        await self._writer.run(partial(self._record_attempts, self._epoch, made))

    def _record_attempts(self, epoch: int, made: Sequence[NewAttempt], c: Connection) -> None:
        now = self._fence(epoch, c)
        rows = [
            {
                **vars(self._key),
                "tx_hash": item.attempt.tx_hash,
                "nonce": item.nonce,
                "raw": item.raw,
                "gas_limit": item.attempt.gas_limit,
                "fee_wei_max": item.attempt.bid.fee_max,
                "tip_wei_max": item.attempt.bid.tip_max,
                "created_at_ms": now,
                "created_at_block": item.attempt.created_at_block,
            }
            for item in made
        ]
        c.execute(attempts.insert(), rows)
        for item in made:
            if self._set_slot(c, item.nonce, "reserved", state="live"):
                moves.move(c, item.batch_id, "sent", now, ("queued",), values={"tx_hash": item.attempt.tx_hash})

    def _set_slot(self, c: Connection, nonce: int, was: str, **values: object) -> bool:
        chosen = (*self._mine, slots.c.nonce == nonce, slots.c.state == was)
        return c.execute(update(slots).where(*chosen).values(**values)).rowcount == 1

    async def mined(self, landed: Sequence[Landed]) -> None:
        """Live slots are in a block now; the scores their logs show are included."""
        await self._writer.run(partial(self._mined, self._epoch, landed))

    def _mined(self, epoch: int, landed: Sequence[Landed], c: Connection) -> None:
        now = self._fence(epoch, c)
        for item in landed:
            where = {"tx_hash": item.tx_hash, "block_number": item.block_number, "block_hash": item.block_hash}
            changed = self._set_slot(c, item.nonce, "live", state="mined", succeeded=int(item.succeeded), **where)
            if changed and item.succeeded:
                moves.land(c, item, "included", now, ("sent",))
                c.execute(update(batches).where(batches.c.id == item.batch_id).values(state="included"))

    async def unmined(self, slot: Slot) -> None:
        """The block of a mined slot left the chain: live again, its scores sent again."""
        await self._writer.run(partial(self._unmined, self._epoch, slot))

    def _unmined(self, epoch: int, slot: Slot, c: Connection) -> None:
        now = self._fence(epoch, c)
        nothing = {"tx_hash": None, "block_number": None, "block_hash": None, "succeeded": None}
        if self._set_slot(c, slot.nonce, "mined", state="live", **nothing):
            back = {"block_number": None}
            moves.move(c, slot.batch_id, "sent", now, ("included",), values=back, detail="reorg")
            c.execute(update(batches).where(batches.c.id == slot.batch_id).values(state="open"))

    async def finish(self, landed: Sequence[tuple[Landed, Sequence[tuple[str, str]]]]) -> None:
        """Close mined slots: their scores are final, parked ones (id, reason) wait for an operator."""
        await self._writer.run(partial(self._finish, self._epoch, landed))

    def _finish(self, epoch: int, landed: Sequence[tuple[Landed, Sequence[tuple[str, str]]]], c: Connection) -> None:
        now = self._fence(epoch, c)
        for item, parked in landed:
            if self._set_slot(c, item.nonce, "mined", state="final"):
                for submission_id, reason in parked:
                    moves.move_one(c, submission_id, "parked", now, moves.UNFINISHED, detail=reason)
                moves.land(c, item, "final", now, moves.UNFINISHED)
                moves.resolve(c, item.batch_id, "final", now)

    async def give_up(self, slot: Slot, closed_as: SlotState, reason: str, elsewhere: Sequence[Recorded] = ()) -> None:
        """Close a slot that recorded nothing (failed, or used by someone else) and let its scores wait again.

        `elsewhere` ones are on the contract already, and final.
        """
        await self._writer.run(partial(self._give_up, self._epoch, (slot, closed_as, reason), elsewhere))

    def _give_up(
        self, epoch: int, what: tuple[Slot, SlotState, str], elsewhere: Sequence[Recorded], c: Connection
    ) -> None:
        slot, closed_as, reason = what
        now = self._fence(epoch, c)
        if self._set_slot(c, slot.nonce, slot.state.value, state=closed_as.value):
            for submission_id, tx_hash, number in elsewhere:
                found = {"tx_hash": tx_hash, "block_number": number}
                moves.move_one(c, submission_id, "final", now, moves.UNFINISHED, values=found)
            back = {"tx_hash": None, "block_number": None}
            moves.move(c, slot.batch_id, "accepted", now, moves.UNFINISHED, values=back, detail=reason)
            moves.resolve(c, slot.batch_id, "failed", now)

    async def settle_waiting(self, recorded: Sequence[Recorded], parked: Sequence[tuple[str, str]]) -> None:
        """Move waiting scores that need no transaction: already final on the contract, or refused by it (reason)."""
        await self._writer.run(partial(self._settle_waiting, self._epoch, recorded, parked))

    def _settle_waiting(
        self, epoch: int, recorded: Sequence[Recorded], parked: Sequence[tuple[str, str]], c: Connection
    ) -> None:
        now = self._fence(epoch, c)
        for submission_id, tx_hash, number in recorded:
            values = {"tx_hash": tx_hash, "block_number": number}
            moves.move_one(c, submission_id, "final", now, ("accepted",), values=values)
        for submission_id, reason in parked:
            moves.move_one(c, submission_id, "parked", now, ("accepted",), detail=reason)
