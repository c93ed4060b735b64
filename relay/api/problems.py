"""Errors as HTTP answers: `application/problem+json` (RFC 9457) and the page behind each problem's `type`.

Pure: texts in, bytes out.
"""

from html import escape

import msgspec

from relay.api.operations import Answer, Headers
from relay.errors import PROBLEMS, FairscoreError

PROBLEM_JSON = b"application/problem+json"

_encoder = msgspec.json.Encoder()


class FieldProblem(msgspec.Struct, frozen=True):
    """One wrong field."""

    pointer: str
    code: str
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Every error answer. `success`, `error` and `reason` are what StreamBeat's clients read."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    success: bool
    error: str
    reason: str
    errors: list[FieldProblem] = []
    checks: list[dict[str, str | int | None]] = []
    submission_id: str | None = None
    evidence_hash: str | None = None
    transaction_id: str | None = None
    roll_id: str | None = None
    config_version: int | None = None


def problem(error: FairscoreError, request_id: str) -> Answer:
    """Return the answer of `error`."""
    known = PROBLEMS[error.code]
    document: dict[str, object] = {
        "type": f"/problems/{error.code}",
        "title": known.title,
        "status": known.status,
        "detail": error.detail,
        "code": error.code,
        "requestId": request_id,
        "success": False,
        "error": known.title,
        "reason": error.detail,
    }
    if error.fields:
        document["errors"] = [field._asdict() for field in error.fields]
    document.update(error.extra)
    headers: Headers = tuple((name.lower().encode(), value.encode()) for name, value in error.headers.items())
    return Answer(known.status, _encoder.encode(document), PROBLEM_JSON, headers)


def problem_page(code: str) -> bytes | None:
    """Return the page that explains `code`, None if there is no such code."""
    known = PROBLEMS.get(code)
    if known is None:
        return None
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(code)} - Fairscore</title>"
        "<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}"
        "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style>"
        f"<h1>{escape(known.title)}</h1><p><code>{escape(code)}</code>, HTTP status {known.status}</p>"
        f"<p>{escape(known.explanation)}</p><p><a href='/docs'>API documentation</a></p></html>"
    ).encode()
