"""Checkpoints of ledgers: made when they are due, listed, and what is proved with them.

The only SQL on `checkpoints` beside `relay.store.checkpoint_moves`, which moves them with the transactions that carry
them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text

from relay.contract import EconomyAnchored, game_key
from relay.contract_anchors import Anchored
from relay.economy.checkpoints import OPEN, Cadence, Checkpoint, State, first_disproved, is_due
from relay.economy.merkle import (
    ProofError,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_head,
)
from relay.economy.proofs import anchored_tree, consistency_document, inclusion_document
from relay.ids import new_id
from relay.store import economy_games, ledger_view
from relay.store.checkpoint_tables import checkpoints, ledger_trees
from relay.store.ledger_tree import GROW_MAX, lock_tree, nodes

# A literal, because both databases use a partial index only for its own words.
IS_FINAL = text("checkpoints.state = 'final'")
_STOPS = checkpoints.c.state.in_([State.CONTRADICTED.value, *(one.value for one in OPEN)])


class LedgerChangedError(Exception):
    """A transaction is not what was taken into the tree: somebody changed it in the database."""


class NotAnchoredError(Exception):
    """No final checkpoint covers it yet; the text says what is known."""


class Where(NamedTuple):
    """The contract that anchors: part of every proof."""

    chain_id: int
    contract: bytes


# ------------------------------------------------------------------------- making


def propose(c: Connection, game_id: str, cadence: Cadence, now: Callable[[Connection], int]) -> Checkpoint | None:
    """Make a checkpoint of what is in the tree, where one is due at the database's time `now` (ms); None: not now.

    One at a time is open, and none is made after one that the chain contradicts.
    """
    size, now_ms = lock_tree(c, game_id), now(c)
    p = checkpoints.c
    if c.execute(select(p.id).where(p.game_id == game_id, _STOPS).limit(1)).first() is not None:
        return None
    first, last_ms = anchored_size(c, game_id), c.scalar(select(func.max(p.created_at_ms)).where(p.game_id == game_id))
    if not is_due(cadence, size - first, last_ms, now_ms):
        return None
    root = tree_head(size, nodes(c, game_id))
    made = Checkpoint(new_id("cp_", now_ms), game_id, first, size - first, root)
    values = {
        "id": made.checkpoint_id, "game_id": game_id, "first_sequence": first, "entries": made.count, "root": root,
        "state": State.WAITING.value, "created_at_ms": now_ms,
    }  # fmt: skip
    c.execute(checkpoints.insert().values(values))
    return made


def anchored_size(c: Connection, game_id: str) -> int:
    """Return up to which transaction a game's ledger is anchored for good."""
    p = checkpoints.c
    return int(c.scalar(select(func.max(p.first_sequence + p.entries)).where(p.game_id == game_id, IS_FINAL)) or 0)


def unanchored(c: Connection, cadence: Cadence, now_ms: int, *, strangers: bool = True) -> list[str]:
    """Return the games of which `propose` would make a checkpoint now. Locks nothing.

    Without `strangers`: none that was registered where anybody may.
    """
    t, p = ledger_trees.c, checkpoints.c
    of_game = p.game_id == t.game_id
    final = func.coalesce(select(func.max(p.first_sequence + p.entries)).where(of_game, IS_FINAL).scalar_subquery(), 0)
    newest = select(func.max(p.created_at_ms)).where(of_game).scalar_subquery()
    stopped = select(p.id).where(of_game, _STOPS).exists()
    query = select(t.game_id, t.size - final, newest).where(t.size > final, ~stopped).order_by(t.game_id)
    if not strangers:
        query = query.where(t.game_id.not_in(economy_games.open_ones()))
    return [game_id for game_id, new, last_ms in c.execute(query) if is_due(cadence, new, last_ms, now_ms)]


# ------------------------------------------------------------------------- reading


def listed(c: Connection, game_id: str | None, before_id: str | None, limit: int) -> Sequence[Any]:
    """Return at most `limit` checkpoints, newest first, older than `before_id`; of every game where none is named."""
    p = checkpoints.c
    query = select(checkpoints).order_by(p.id.desc()).limit(limit)
    if game_id is not None:
        query = query.where(p.game_id == game_id)
    return c.execute(query if before_id is None else query.where(p.id < before_id)).all()


def game_of(c: Connection, checkpoint_id: str) -> str | None:
    """Return whose ledger a checkpoint is of."""
    return c.scalar(select(checkpoints.c.game_id).where(checkpoints.c.id == checkpoint_id))


def prove_inclusion(c: Connection, where: Where, game_id: str, sequence: int) -> dict[str, Any]:
    """Return the proof that a transaction is in the first final checkpoint that covers it.

    Raises:
        NotAnchoredError: none does yet.
        LedgerChangedError: it is not what was taken into the tree.
    """
    p = checkpoints.c
    covers = (p.first_sequence <= sequence, p.first_sequence + p.entries > sequence)
    row = c.execute(select(checkpoints).where(p.game_id == game_id, IS_FINAL, *covers)).first()
    if row is None:
        known = anchored_size(c, game_id)
        raise NotAnchoredError(f"transaction {sequence} is not anchored yet; those before {known} are")
    found, node = _anchored(row), nodes(c, game_id)
    body = ledger_view.read(c, game_id, sequence, 1)[0]
    if leaf_hash(body) != node(0, sequence):
        raise LedgerChangedError(f"transaction {sequence} of game {game_id} is not the one that was anchored")
    path = inclusion_proof(sequence, found.size, node)
    try:
        check_inclusion(leaf_hash(body), sequence, found.size, path, found.event.merkle_root)
    except ProofError as error:
        raise LedgerChangedError(f"the tree of game {game_id} is not the one that was anchored: {error}") from None
    return inclusion_document(game_id, body, anchored_tree(*where, found), path)


def prove_consistency(c: Connection, where: Where, game_id: str, earlier: str, later: str | None) -> dict[str, Any]:
    """Return the proof that the ledger of one final checkpoint (by id) begins with the ledger of another.

    `later` None: the newest one.

    Raises:
        NotAnchoredError: one of them is not final, or none of this game's.
        LedgerChangedError: the tree is not the one that was anchored.
        ValueError: the earlier is the larger.
    """
    p = checkpoints.c
    if later is None:
        newest = select(p.id).where(p.game_id == game_id, IS_FINAL).order_by(p.first_sequence.desc()).limit(1)
        later = str(c.scalar(newest) or earlier)
    query = select(checkpoints).where(p.id.in_([earlier, later]), p.game_id == game_id, IS_FINAL)
    rows = {row.id: _anchored(row) for row in c.execute(query)}
    for named in (earlier, later):
        if named not in rows:
            raise NotAnchoredError(f"{named} is no final checkpoint of game {game_id}")
    before, after = rows[earlier], rows[later]
    path = consistency_proof(before.size, after.size, nodes(c, game_id))
    try:
        check_consistency(before.size, after.size, path, before.event.merkle_root, after.event.merkle_root)
    except ProofError as error:
        raise LedgerChangedError(f"the tree of game {game_id} is not the one that was anchored: {error}") from None
    trees = (anchored_tree(*where, before), anchored_tree(*where, after))
    return consistency_document(game_id, *trees, path)


def final_checkpoints(c: Connection, game_id: str) -> list[Checkpoint]:
    """Return a game's final checkpoints, smallest first."""
    p = checkpoints.c
    query = select(p.id, p.game_id, p.first_sequence, p.entries, p.root)
    rows = c.execute(query.where(p.game_id == game_id, IS_FINAL).order_by(p.first_sequence))
    return [Checkpoint(row[0], row[1], row[2], row[3], bytes(row[4])) for row in rows]


def _anchored(row: Any) -> Anchored:
    event = EconomyAnchored(
        game_key(row.game_id), bytes(row.signer), row.first_sequence, row.entries, bytes(row.root), bytes(row.head)
    )
    return Anchored(event, bytes(row.tx_hash), row.block_number)


# ------------------------------------------------------------------------ auditing


def games_with_checkpoints(c: Connection) -> list[str]:
    """Return the games of which something is anchored for good."""
    p = checkpoints.c
    return list(c.scalars(select(p.game_id).where(IS_FINAL).distinct().order_by(p.game_id)))


def disproved(c: Connection, game_id: str) -> Checkpoint | None:
    """Return the first final checkpoint that the game's transactions, read from the first on, do not lead to."""
    return first_disproved(_all_bodies(c, game_id), final_checkpoints(c, game_id))


def _all_bodies(c: Connection, game_id: str) -> Iterator[bytes]:
    at = 0
    while page := ledger_view.read(c, game_id, at, GROW_MAX):
        yield from page
        at += len(page)
