"""What goes through a group's steps: what waits, what becomes of it, and what the steps know of it meanwhile.

Pure: values only.
"""

from array import array
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from relay.group_rounds import HELD, GroupRounds
from relay.guard import limits
from relay.guard.flags import Flag
from relay.rounds import Refuse, Report, Round
from relay.rules.verdict import Check, Verdict
from relay.store.encryption import UsedIv
from relay.store.intake_rows import Connection, FirstAnswer, IntakeStore, WindowRow
from relay.store.revocations import Shown
from relay.store.used_signatures import Used
from relay.submission import Submission

ID_PREFIX = "sub_"
HISTORY_LENGTH = 50


class Pending(NamedTuple):
    """One submission waiting for its group."""

    submission: Submission
    request_id: str
    scope: bytes | None  # of its idempotency key
    answering_ms: int  # how long its answer may wait for the chain; 0: answered at once
    report: Report | None = None  # of the round it names
    iv: UsedIv | None = None  # of a report that came encrypted


class Kind(StrEnum):
    """What became of a submission."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LIMITED = "limited"
    REPLAYED = "replayed"  # answered before: the first answer again
    IN_FLIGHT = "in_flight"  # accepted before, its answer still waits for the chain
    KEY_REUSED = "key_reused"
    HELD = "held"  # judged, and waits for its game server's confirmation
    ROUND_REFUSED = "round_refused"  # its round does not take it: nothing is recorded
    RULED = "ruled"  # a confirmation
    SIGNATURE_USED = "signature_used"  # by the submission it names


class Outcome(NamedTuple):
    """What is answered to one submission."""

    kind: Kind
    first: FirstAnswer | None = None
    limit: limits.Decision | None = None
    used_by: str | None = None  # the submission that used the signature
    refusal: Refuse | None = None
    round: Round | None = None  # of a report, as it is after it; of a confirmation, too
    revoked: Shown | None = None


class Player:
    """A player's row, unpacked."""

    __slots__ = ("changed", "claims", "scores", "window")

    def __init__(self, row: WindowRow) -> None:
        self.window = limits.unpack(row.admitted, row.refused)
        self.scores = array("q", row.scores)
        self.claims = row.claims
        self.changed = False

    def accept(self, score: int) -> None:
        """Remember an accepted score."""
        self.scores.append(score)
        del self.scores[:-HISTORY_LENGTH]
        self.changed = True

    def row(self, subject: bytes) -> WindowRow:
        """Return the row as it is now."""
        admitted, refused = self.window
        return WindowRow(subject, admitted.tobytes(), refused.tobytes(), self.scores.tobytes(), self.claims)


@dataclass(slots=True)
class Entry:
    """One submission on its way through the steps."""

    pending: Pending
    id: str
    outcome: Outcome | None = None
    replays: str | None = None  # the id of the submission whose answer is given again
    sibling: "Entry | None" = None  # the same request, earlier in this group
    decision: limits.Decision | None = None
    verdict: Verdict | None = None
    refusal: Check | None = None
    accepted: bool = False
    held: bool = False
    round: Round | None = None  # that it reports, as it is after it
    body: bytes = b""
    evidence_hash: bytes = b""

    @property
    def status(self) -> str:
        """What its submission's status is at first."""
        return "accepted" if self.accepted else HELD if self.held else "rejected"


@dataclass(slots=True)
class Group:
    """A group on its way through the steps, and what they leave to be written."""

    connection: Connection
    store: IntakeStore
    now_ms: int
    entries: list[Entry]
    flags: list[Flag] = field(default_factory=list)
    windows: list[tuple[str, list[WindowRow]]] = field(default_factory=list)  # by game, to be written
    signatures: list[Used] = field(default_factory=list)  # players' signatures that this group uses
    rounds: GroupRounds | None = None
    freed: list[bytes] = field(default_factory=list)  # scopes of keys whose request left nothing behind

    def open_entries(self) -> list[Entry]:
        """Those no step has settled yet."""
        return [e for e in self.entries if e.outcome is None and e.replays is None and e.sibling is None]
