"""What is answered to a submission that is refused or limited, from the same stored values each time.

Pure.
"""

import json

from relay.api.operations import Answer, Headers
from relay.api.problems import problem
from relay.errors import CallerError, LimitedError
from relay.guard.limits import WINDOW_MS, Decision
from relay.store.intake_rows import FirstAnswer

REPLAYED: Headers = ((b"idempotent-replayed", b"true"),)


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


def signature_used(submission_id: str | None) -> CallerError:
    """Return the error of a signature that counts already, naming the submission it counts for."""
    detail = "This signature was used: a player's signature counts for one submission."
    return CallerError("SIGNATURE_USED", detail, extra={"submissionId": submission_id})


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
