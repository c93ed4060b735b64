"""Everything that can go wrong, as one tree; their codes are in `relay.error_codes` and beside it.

Pure. The tree says whose fault it is, the table of codes what a client is told.

    FairscoreError
    ├── CallerError          4xx: the request is wrong; the same request again is wrong again
    │   ├── PayloadError     400: the body cannot be read as what the operation takes; names each field
    │   └── LimitedError     429: right, but too often; says when to come back
    ├── WorldError           503: database, chain or provider out of reach; the same request again may work
    └── OurError             500: a bug of ours; carries nothing of it to the client
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from relay.error_codes import PROBLEMS as GENERAL_PROBLEMS
from relay.error_codes_economy import ECONOMY_PROBLEMS

PROBLEMS = {**GENERAL_PROBLEMS, **ECONOMY_PROBLEMS}


class FieldError(NamedTuple):
    """One wrong field: JSON pointer (RFC 6901) into the body (or `?name` of a query), stable code, human text."""

    pointer: str
    code: str
    detail: str


class FairscoreError(Exception):
    """Anything this system refuses or fails to do; `code` is a key of PROBLEMS and `detail` is shown to the caller."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        fields: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = tuple(fields)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return PROBLEMS[self.code].status


class CallerError(FairscoreError):
    """The request is wrong."""


class PayloadError(CallerError):
    """The body cannot be read as what the operation takes."""

    def __init__(self, detail: str, fields: Sequence[FieldError] = (), code: str = "PAYLOAD_MALFORMED") -> None:
        super().__init__(code, detail, fields=fields)


class LimitedError(CallerError):
    """Right, but too often; `retry_after_s` says when the next attempt can be admitted."""

    def __init__(self, detail: str, retry_after_s: int, headers: Mapping[str, str]) -> None:
        super().__init__("RATE_LIMITED", detail, headers={**headers, "Retry-After": str(retry_after_s)})
        self.retry_after_s = retry_after_s


class WorldError(FairscoreError):
    """Something outside of us is out of reach; nothing was changed."""


class SignerError(WorldError):
    """Nothing was signed: the remote signer is away or answers wrongly, or the policy forbids it; tells which."""

    def __init__(self, detail: str) -> None:
        super().__init__("SIGNER_UNAVAILABLE", detail)


class OurError(FairscoreError):
    """A bug of ours."""

    def __init__(self) -> None:
        super().__init__("INTERNAL_ERROR", "The server failed; the fault is ours and has been recorded.")


class StartupError(Exception):
    """The system cannot do what its operator asked as it is set up; the message says what to change."""
