"""What tests of anchors share: ledgers that grow, an outbox whose key carries anchors, the oracle of their promises."""

from typing import Any

from sqlalchemy import Connection, select, text

from relay.anchoring import Anchoring
from relay.attestation import Domain
from relay.contract import game_key
from relay.economy import drafts
from relay.economy.checkpoints import Cadence
from relay.economy.ledger import Posted
from relay.economy.merkle import leaf_hash, nodes_over, tree_head
from relay.outbox.anchors import AnchorCargo
from relay.outbox.desk import Hook, OutboxChain, OutboxSettings, no_hook
from relay.outbox.loop import Outbox
from relay.store import ledger_view
from relay.store.checkpoint_moves import CheckpointRows
from relay.store.checkpoint_tables import checkpoints
from tests.harness.ledgers import BY, NOW, found_game, post
from tests.harness.outboxes import ATTESTER, CHAIN_ID, CONTRACT, SETTINGS, Bench

GAME = "island"
ECONOMY = game_key(GAME)
DOMAIN = Domain(CHAIN_ID, CONTRACT)
ALWAYS = Cadence(every_ms=0)


def anchoring_outbox(
    b: Bench, chain: OutboxChain, *, settings: OutboxSettings = SETTINGS, hook: Hook = no_hook
) -> Outbox:
    """A sender of scores and anchors, as a fresh process would make it."""
    outbox = b.outbox(chain, settings=settings, hook=hook)
    anchors = AnchorCargo(chain, CheckpointRows(b.database), ATTESTER, DOMAIN, settings)
    outbox.desk.cargoes = {**outbox.desk.cargoes, anchors.kind: anchors}
    return outbox


def anchoring(b: Bench, cadence: Cadence = ALWAYS) -> Anchoring:
    """The job that makes checkpoints."""
    return Anchoring(b.database, b.writer, cadence)


def book(c: Connection, count: int, game_id: str = GAME) -> None:
    """Book `count` grants more in a game's ledger; founds it where it is new."""
    if game_id not in ledger_view.sizes(c):
        found_game(c, game_id)
    posted = post(c, {game_id: [drafts.grant("ann", "gold", 1, BY)] * count}, NOW)
    assert all(isinstance(one, Posted) for one in posted[game_id])


async def play(b: Bench, count: int, game_id: str = GAME) -> None:
    """Book through the writer, as requests do."""
    await b.writer.run(lambda c: book(c, count, game_id))


def real_root(c: Connection, game_id: str, size: int) -> bytes:
    """The tree head over a game's first transactions, from the transactions themselves."""
    leaves = [leaf_hash(body) for body in ledger_view.read(c, game_id, 0, size)]
    return tree_head(size, nodes_over(leaves))


async def states(b: Bench) -> list[str]:
    """The states of all checkpoints, oldest first."""
    query = select(checkpoints.c.state).order_by(checkpoints.c.created_at_ms, checkpoints.c.id)
    return list(await b.database.read(lambda c: c.scalars(query).all()))


async def newest(b: Bench) -> Any:
    """The row of the newest checkpoint."""
    query = select(checkpoints).order_by(checkpoints.c.id.desc()).limit(1)
    return await b.database.read(lambda c: c.execute(query).one())


async def check_checkpoints(b: Bench) -> None:
    """What holds of checkpoints in the database at any moment, whatever crashed."""
    problems = await b.database.read(_problems)
    assert not problems, problems


def _problems(c: Connection) -> list[str]:
    checks = {
        "final ones leave a gap, or overlap": "SELECT count(*) FROM checkpoints p WHERE p.state = 'final' AND "
        "p.first_sequence <> COALESCE((SELECT max(q.first_sequence + q.entries) FROM checkpoints q WHERE q.state = "
        "'final' AND q.game_id = p.game_id AND q.first_sequence < p.first_sequence), 0)",
        "two are open": "SELECT count(*) FROM (SELECT game_id FROM checkpoints WHERE state IN ('waiting', 'queued', "
        "'sent', 'included') GROUP BY game_id HAVING count(*) > 1) d",
        "under way in no open batch": "SELECT count(*) FROM checkpoints p WHERE p.state IN ('queued', 'sent', "
        "'included') AND NOT EXISTS (SELECT 1 FROM batch_scores b WHERE b.submission_id = p.id AND b.unresolved = 1)",
        "waiting in an open batch": "SELECT count(*) FROM checkpoints p JOIN batch_scores b ON b.submission_id = p.id "
        "AND b.unresolved = 1 WHERE p.state = 'waiting'",
    }
    found = [name for name, query in checks.items() if c.scalar(text(query))]
    p = checkpoints.c
    for row in c.execute(select(checkpoints).where(p.state.in_(["waiting", "queued", "sent", "included", "final"]))):
        size = row.first_sequence + row.entries
        if bytes(row.root) != real_root(c, row.game_id, size):
            found.append(f"the root of {row.id} is not that of the ledger's first {size}")
    return found
