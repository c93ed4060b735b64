"""How checkpoints move with the slot that carries them, and how the ledger is held against what the chain anchors.

Touches `checkpoints`, and `audit_flags` where the chain contradicts the ledger. Every function that begins with a verb
returns a `Move` for the commit of the slot's change.
"""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, and_, select, text, update

from relay.contract_anchors import Anchored
from relay.economy.checkpoints import OPEN, Checkpoint, Comparison, State, compare, contradiction
from relay.economy.merkle import tree_head
from relay.ids import new_id
from relay.store.checkpoint_tables import checkpoints
from relay.store.checkpoints import anchored_size
from relay.store.engine import Database
from relay.store.flags import raise_flags
from relay.store.ledger_tree import nodes, tree_size
from relay.store.outbox import Move, SealConflictError

# Literals, because both databases use a partial index only for its own words.
IS_OPEN = text("checkpoints.state IN ('waiting', 'queued', 'sent', 'included')")

SUPERSEDED = "the contract holds another checkpoint of this ledger: the next begins where that ends"


class CheckpointRows:
    """Reads of checkpoints. Methods raise StoreUnavailableError when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, limit: int) -> list[Checkpoint]:
        """The checkpoints that no slot carries, oldest first."""
        return await self._database.read(partial(_waiting, limit=limit))

    async def compare(self, game_id: str, found: Sequence[Anchored]) -> Comparison:
        """Hold the anchors of a game's economy, oldest first, against its ledger."""

        def job(c: Connection) -> Comparison:
            node = nodes(c, game_id)
            known, size = anchored_size(c, game_id), tree_size(c, game_id)
            return compare(known, found, size, lambda upto: tree_head(upto, node))

        return await self._database.read(job)


def _waiting(c: Connection, limit: int) -> list[Checkpoint]:
    p = checkpoints.c
    query = select(p.id, p.game_id, p.first_sequence, p.entries, p.root, p.detail)
    query = query.where(IS_OPEN, p.state == State.WAITING.value)  # the index is of all that are open
    rows = c.execute(query.order_by(p.id).limit(limit))
    return [Checkpoint(row[0], row[1], row[2], row[3], bytes(row[4]), row[5]) for row in rows]


# ------------------------------------------------------------------------------ moves


def claim(checkpoint_id: str) -> Move:
    """Queue a waiting checkpoint, or raise SealConflictError: it may just have been overtaken."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001 - a move is given the time
        waits = checkpoints.c.id == checkpoint_id, checkpoints.c.state == State.WAITING.value
        free = select(checkpoints.c.id).where(*waits).with_for_update(skip_locked=True)
        if c.execute(free).first() is None:
            raise SealConflictError("the checkpoint is not waiting any more")
        _set(c, [checkpoint_id], (State.WAITING,), state="queued", detail=None)

    return run


def sent(ids: Sequence[str], tx_hash: bytes) -> Move:
    """Their first transaction is committed."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        _set(c, ids, (State.QUEUED,), state="sent", tx_hash=tx_hash)

    return run


def included(ids: Sequence[str], tx_hash: bytes, block_number: int) -> Move:
    """They are in a block."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        _set(c, ids, (State.SENT,), state="included", tx_hash=tx_hash, block_number=block_number)

    return run


def sent_again(ids: Sequence[str]) -> Move:
    """Their block left the chain."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        _set(c, ids, (State.INCLUDED,), state="sent", block_number=None)

    return run


def together(moves: Sequence[Move]) -> Move:
    """Return one move that makes all of them, in order."""

    def run(c: Connection, now_ms: int) -> None:
        for move in moves:
            move(c, now_ms)

    return run


def wait(checkpoint_id: str, why: str) -> Move:
    """Write down why a checkpoint waits, or waits again."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        _set(c, [checkpoint_id], OPEN, state="waiting", detail=why, tx_hash=None, block_number=None)

    return run


def take_over(game_id: str, comparison: Comparison) -> Move:
    """Take over what final logs say of a game: checkpoints that are on the chain, whoever carried them.

    Whatever was open and begins before their end is superseded; or contradicted, where the chain has another ledger.
    """

    def run(c: Connection, now_ms: int) -> None:
        for one in comparison.agreed:
            _agree(c, game_id, one, now_ms)
        p = checkpoints.c
        late = IS_OPEN if comparison.contradiction is not None else and_(IS_OPEN, p.first_sequence < comparison.upto)
        rest = list(c.scalars(select(p.id).where(p.game_id == game_id, late)))
        nowhere = {"tx_hash": None, "block_number": None, "resolved_at_ms": now_ms}
        if comparison.contradiction is not None:
            _set(c, rest, OPEN, state="contradicted", detail=comparison.contradiction, **nowhere)
            raise_flags(c, [contradiction(game_id, comparison.contradiction)], now_ms)
        else:
            _set(c, rest, OPEN, state="superseded", detail=SUPERSEDED, **nowhere)

    return run


def _agree(c: Connection, game_id: str, one: Anchored, now_ms: int) -> None:
    """Make a checkpoint final, or write down one that this database did not know of."""
    p, event = checkpoints.c, one.event
    same = (p.game_id == game_id, p.first_sequence == event.first_sequence, p.entries == event.count)
    mine = select(p.id).where(*same, p.root == event.merkle_root, p.state.in_([*_names(OPEN), "final"]))
    known = c.scalar(mine.limit(1))
    proved = {
        "state": "final", "tx_hash": one.tx_hash, "block_number": one.block_number, "head": event.head,
        "signer": event.signer, "detail": None, "resolved_at_ms": now_ms,
    }  # fmt: skip
    if known is not None:
        _set(c, [known], OPEN, **proved)
        return
    covers = {"first_sequence": event.first_sequence, "entries": event.count, "root": event.merkle_root}
    found = {"id": new_id("cp_", now_ms), "game_id": game_id, "created_at_ms": now_ms}
    c.execute(checkpoints.insert().values(**found, **covers, **proved))


def _set(c: Connection, ids: Sequence[str], was: Sequence[State], **values: object) -> None:
    chosen = (checkpoints.c.id.in_(ids), checkpoints.c.state.in_(_names(was)))
    c.execute(update(checkpoints).where(*chosen).values(**values))


def _names(states: Sequence[State]) -> list[str]:
    return [state.value for state in states]
