"""Scores that wait for their game server's confirmation: how they are accepted and given up.

Touches `submissions`, `history` and `evidence`, in the transaction that changes their round.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from relay.receipts import Receipt
from relay.store.intake import keep_document
from relay.store.outbox_moves import move
from relay.store.tables import evidence, submissions


class Judged(NamedTuple):
    """A submission that was judged, with its evidence as it is now."""

    id: str
    game_id: str
    player: bytes
    score: int
    rules_hash: bytes
    evidence_level: int
    evidence: bytes
    status: str


def judged(c: Connection, submission_id: str) -> Judged:
    """Lock and return the submission of a round."""
    s = submissions.c
    columns = (s.id, s.game_id, s.player, s.score, s.rules_hash, s.evidence_level, s.evidence_hash, s.status)
    row: Any = c.execute(select(*columns).where(s.id == submission_id).with_for_update()).one()
    body = c.scalar(select(evidence.c.body).where(evidence.c.hash == row.evidence_hash))
    return Judged(
        row.id, row.game_id, bytes(row.player), row.score, bytes(row.rules_hash), row.evidence_level,
        bytes(body or b""), row.status,
    )  # fmt: skip


def accept(
    c: Connection, one: Judged, receipt: Receipt, body_hash: bytes, body: bytes, level: int, now_ms: int
) -> None:
    """Accept a held score under its new evidence: from here on it is sent as every other."""
    keep_document(c, c.dialect.name, body_hash, body)
    values = {
        "round_id": receipt.round_id,
        "accepted_at_ms": now_ms,
        "receipt_deadline": receipt.deadline,
        "receipt_signer": receipt.signer,
        "receipt_signature": receipt.signature,
        "evidence_hash": body_hash,
        "evidence_level": level,
    }
    move(c, [one.id], "accepted", now_ms, ("held",), values=values, detail="confirmed by the game's server")


def reject(c: Connection, codes: Sequence[tuple[str, str]], now_ms: int) -> None:
    """Give up held scores: (submission, code)."""
    for submission_id, code in codes:
        move(c, [submission_id], "rejected", now_ms, ("held",), values={"code": code}, detail=code)


def raise_level(c: Connection, submission_id: str, level: int, body_hash: bytes, body: bytes) -> None:
    """Keep the document that confirms an accepted score, and its level."""
    keep_document(c, c.dialect.name, body_hash, body)
    c.execute(update(submissions).where(submissions.c.id == submission_id).values(evidence_level=level))
