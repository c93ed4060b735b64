"""What is answered to a submission: from the same stored values each time, so that a replay is the same bytes.

Pure.
"""

import json

import msgspec

from relay.api.operations import Answer, Headers
from relay.api.problems import problem
from relay.attestation import Domain, receipt
from relay.contract import Record
from relay.errors import CallerError, LimitedError
from relay.guard.limits import WINDOW_MS, Decision
from relay.store.intake_rows import FirstAnswer

IN_BLOCK = frozenset({"included", "final"})
REPLAYED: Headers = ((b"idempotent-replayed", b"true"),)
MESSAGES = {
    "accepted": "Score validated and accepted; its transaction will be sent shortly.",
    "queued": "Score validated and accepted; its transaction is being prepared.",
    "sent": "Score validated and sent to the chain.",
    "included": "Score validated and recorded on the chain.",
    "final": "Score validated and final on the chain.",
    "revoked": "Score was accepted and later revoked.",
}

_encoder = msgspec.json.Encoder()


def accepted(first: FirstAnswer, domain: Domain) -> tuple[int, bytes]:
    """Return status and body of an accepted submission's answer, as it was (or is now first) given."""
    status = first.answered_status or "accepted"
    evidence = "0x" + first.evidence_hash.hex()
    document = {
        "success": True,
        "validated": True,
        "score": first.score,
        "txHash": "0x" + first.answered_tx.hex() if first.answered_tx else None,
        "message": MESSAGES.get(status, MESSAGES["accepted"]),
        "submissionId": first.id,
        "status": status,
        "evidenceLevel": first.evidence_level,
        "receipt": receipt_of(first, domain),
        "evidenceHash": evidence,
        "links": {"self": f"/api/submissions/{first.id}", "evidence": f"/api/evidence/{evidence}"},
    }
    return (200 if status in IN_BLOCK else 202), _encoder.encode(document)


def receipt_of(first: FirstAnswer, domain: Domain) -> dict[str, object] | None:
    """Return the receipt of an accepted submission, None for a refused one."""
    if first.round_id is None or first.receipt_deadline is None or first.score is None:
        return None
    record = Record(first.player, first.score, first.round_id, first.evidence_hash)
    signer, signature = first.receipt_signer or b"", first.receipt_signature or b""
    return receipt(domain, first.game_id, first.rules_hash, first.receipt_deadline, record, signer, signature)


def refused(first: FirstAnswer) -> Answer:
    """Return the answer of a refused submission: the first failed check's code and reason, and all checks."""
    checks = json.loads(first.evidence or b"{}").get("checks", [])
    code = first.code or "SCORE_NOT_COMPUTED"
    reason = next((check["reason"] for check in checks if check["code"] == code and "reason" in check), None)
    error = CallerError(
        code,
        reason or "The score could not be recomputed from the evidence.",
        extra={
            "error": "Score validation failed",
            "validated": False,
            "checks": checks,
            "submissionId": first.id,
            "evidenceHash": "0x" + first.evidence_hash.hex(),
        },
    )
    return problem(error, first.request_id)


def limit_headers(decision: Decision, limit: int) -> Headers:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers for a player's submissions."""
    seconds = -(-decision.reset_ms // 1000)
    return (
        (b"ratelimit-policy", b'"submit-score";q=%d;w=%d' % (limit, WINDOW_MS // 1000)),
        (b"ratelimit", b'"submit-score";r=%d;t=%d' % (decision.remaining, seconds)),
    )


def limited(decision: Decision, limit: int) -> LimitedError:
    """Return the error of an attempt above the limit."""
    headers = {name.decode(): value.decode() for name, value in limit_headers(decision, limit)}
    detail = f"Rate limit exceeded: submit-score ({decision.attempts}/{limit} per minute)"
    return LimitedError(detail, max(1, -(-decision.reset_ms // 1000)), headers)
