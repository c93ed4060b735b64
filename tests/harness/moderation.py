"""What tests of revocations share: an outbox whose key carries everything, an auditor, the oracle of their promises."""

from typing import Any

from sqlalchemy import Connection, select, text

from relay.attestation import Domain
from relay.outbox.desk import Hook, OutboxChain, OutboxSettings, no_hook
from relay.outbox.loop import Outbox
from relay.outbox.revocations import KINDS, ModerationCargo
from relay.revocation import Action
from relay.store import revocations as store
from relay.store.revocation_moves import OrderRows
from relay.store.revocation_tables import revocations
from relay.store.tables import submissions
from relay.store.writer import Writer
from tests.harness.outboxes import CHAIN_ID, CONTRACT, SETTINGS, Bench

REVOKE, REINSTATE = Action.REVOKE, Action.REINSTATE


def moderating(
    b: Bench,
    chain: OutboxChain,
    *,
    settings: OutboxSettings = SETTINGS,
    hook: Hook = no_hook,
    domain: Domain | None = None,
    **more: Any,
) -> Outbox:
    """A sender of scores, revocations and reinstatements, as a fresh process would make it."""
    outbox = b.outbox(chain, settings=settings, hook=hook, domain=domain, **more)
    where = domain or Domain(CHAIN_ID, CONTRACT)
    sender = outbox.desk.gas_signer.address
    outbox.desk.cargoes = {
        **outbox.desk.cargoes,
        **{
            kind: ModerationCargo(action, chain, OrderRows(b.database), sender, where, settings)
            for action, kind in KINDS.items()
        },
    }
    return outbox


async def ask(b: Bench, submission_id: str, action: Action = REVOKE, writer: Writer | None = None) -> str:
    """Ask for something; returns the submission's status."""
    request = store.Request(submission_id, action, f"{action} it", "key_test")
    shown = await (writer or b.writer).run(lambda c: store.ask(c, request, b.database.now_ms(c)))
    return shown.status


async def orders(b: Bench, submission_id: str | None = None) -> list[str]:
    """The orders as `action state`, oldest first."""
    query = select(revocations.c.action, revocations.c.state).order_by(revocations.c.seq)
    if submission_id is not None:
        query = query.where(revocations.c.submission_id == submission_id)
    return [f"{row.action} {row.state}" for row in await b.database.read(lambda c: c.execute(query).all())]


async def order(b: Bench) -> Any:
    """The newest order."""
    query = select(revocations).order_by(revocations.c.seq.desc()).limit(1)
    return await b.database.read(lambda c: c.execute(query).one())


async def score(b: Bench, submission_id: str) -> Any:
    """The row of a submission."""
    query = select(submissions).where(submissions.c.id == submission_id)
    return await b.database.read(lambda c: c.execute(query).one())


async def check_orders(b: Bench) -> None:
    """What holds of orders in the database at any moment, whatever crashed."""
    problems = await b.database.read(_problems)
    assert not problems, problems


def _problems(c: Connection) -> list[str]:
    last = (
        "SELECT o.submission_id, o.action, o.state FROM revocations o WHERE o.state <> 'withdrawn' AND o.seq = "
        "(SELECT max(n.seq) FROM revocations n WHERE n.submission_id = o.submission_id AND n.state <> 'withdrawn')"
    )
    checks = {
        "revoked, or not, against its last order": f"SELECT count(*) FROM submissions s LEFT JOIN ({last}) l ON "
        "l.submission_id = s.id WHERE (s.status = 'revoked') <> (l.action IS NOT NULL AND NOT (l.action = 'reinstate' "
        "AND l.state = 'final'))",
        "something beneath what is not revoked": "SELECT count(*) FROM submissions WHERE (status = 'revoked') <> "
        "(status_beneath IS NOT NULL)",
        "under way in no open batch": "SELECT count(*) FROM revocations o WHERE o.state IN ('queued', 'sent', "
        "'included') AND NOT EXISTS (SELECT 1 FROM batch_scores b WHERE b.submission_id = o.id AND b.unresolved = 1)",
        "waiting in an open batch": "SELECT count(*) FROM revocations o JOIN batch_scores b ON b.submission_id = o.id "
        "AND b.unresolved = 1 WHERE o.state NOT IN ('queued', 'sent', 'included')",
        "sealed without evidence": "SELECT count(*) FROM revocations o WHERE o.state IN ('queued', 'sent', 'included') "
        "AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.hash = o.reason_hash)",
    }
    return [name for name, query in checks.items() if c.scalar(text(query))]
