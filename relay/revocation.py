"""Taking an accepted score back, and putting it back: what a request changes, and when an order waits or lapses.

Pure. An *order* is one decision of an auditor that has to reach the contract. Those of a submission alternate (revoke,
reinstate, revoke …), at most one waits and at most one is under way, in this order:

    waiting ──► queued ──► sent ◄──► included ──► final      as a nonce slot does; back on a reorg
     │  │ ▲        │         │           │
     │  │ └────────┴─────────┴───────────┘  its transaction failed, or another used its nonce
     │  ├──► final       another auditor did it already: its log is final
     │  └──► lapsed      the score is not on the chain, and nothing can bring it there any more
     └─────► withdrawn   the opposite was asked for before it was sealed (from `lapsed` too)

A submission is `revoked` from the request on until the reinstatement is final, or the revocation is withdrawn. What it
would be otherwise goes on beneath: a score revoked while its transaction was under way is recorded all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from relay.attestation import Domain
from relay.canonical import canonical
from relay.keccak import checksum_address

EVIDENCE_TYPE = "fairscore-moderation@1"
CLOCK_MARGIN_S = 3_600  # between the database's clock and the chain's


class Action(StrEnum):
    """What an order asks of the contract."""

    REVOKE = "revoke"  # invalidateScores
    REINSTATE = "reinstate"  # reinstateScores


class State(StrEnum):
    """Where an order is."""

    WAITING = "waiting"
    QUEUED = "queued"
    SENT = "sent"
    INCLUDED = "included"
    FINAL = "final"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"


UNDER_WAY = (State.QUEUED, State.SENT, State.INCLUDED)
UNSENT = (State.WAITING, State.LAPSED)  # nothing of it can reach the chain unless it is sealed anew


@dataclass(frozen=True, slots=True)
class Order:
    """An order as far as the next request needs it; `seq` rises from order to order of a submission."""

    seq: int
    action: Action
    state: State


# ------------------------------------------------------------------ a request


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request makes no sense now: code of the problem, and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It was asked for before: that order is the answer."""

    seq: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back an order that was not sealed; `revoked`: whether the submission still is, afterwards."""

    seq: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Make a new order."""


Response: TypeAlias = Refuse | Unchanged | Withdraw | Place


def respond(action: Action, status: str, orders: Sequence[Order]) -> Response:
    """Return what a request does to a submission with this status and these orders, oldest first.

    (1) never accepted, or never revoked: refused. (2) what is asked for holds or is under way: unchanged. (3) the
    opposite was not sealed: withdrawn. (4) else: a new order, behind the one under way if there is one.
    """
    last = decisive(orders)
    if status == "rejected" or (action is Action.REINSTATE and not orders):  # (1)
        return _refusal(action, status)
    if status != "revoked":
        return Place() if action is Action.REVOKE else Unchanged((last or orders[-1]).seq)  # (4), (2)
    if last is not None and last.action is action:  # (2)
        return Unchanged(last.seq)
    if last is not None and last.state in UNSENT:  # (3)
        return Withdraw(last.seq, leaves_revoked(decisive([order for order in orders if order.seq != last.seq])))
    return Place()  # (4)


def _refusal(action: Action, status: str) -> Refuse:
    if action is Action.REVOKE:
        return Refuse("SUBMISSION_NOT_ACCEPTED", "The submission was refused: there is no score to revoke.")
    return Refuse("SUBMISSION_NOT_REVOKED", f"The submission is {status}; only a revoked one can be reinstated.")


def decisive(orders: Sequence[Order]) -> Order | None:
    """The newest order that was not withdrawn: what an auditor wants now."""
    return next((order for order in reversed(orders) if order.state is not State.WITHDRAWN), None)


def leaves_revoked(last: Order | None) -> bool:
    """Whether a submission whose decisive order is `last` is revoked."""
    return last is not None and not (last.action is Action.REINSTATE and last.state is State.FINAL)


# ------------------------------------------------------- a revocation that waits


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A score that the contract does not have. Times in unix seconds, `final_at` of the newest final block.

    `carried`: one of our transactions that is not final may still record it. `signed_until`: until when the contract
    takes any signature made of it: its receipt's, and those of batches sealed before it was revoked.
    """

    carried: bool
    signed_until: int
    final_at: int


def lapses(score: Unrecorded) -> bool:
    """Whether nothing can record the score any more.

    A block's time only rises, so once a final block is later than every deadline, what is not recorded never will be.
    """
    return not score.carried and score.final_at > score.signed_until


def signed_until(receipt_deadline: int, asked_at_ms: int, batch_deadline_s: int) -> int:
    """Until when (unix s) a signature over the score can be used: nothing signs it after it was revoked."""
    return max(receipt_deadline, asked_at_ms // 1000 + batch_deadline_s + CLOCK_MARGIN_S)


# -------------------------------------------------------------------- evidence


class Ordered(NamedTuple):
    """What the evidence says about one order."""

    order_id: str
    submission_id: str
    round_id: int
    reason: str
    asked_at_ms: int


def evidence(domain: Domain, game_id: str, action: Action, orders: Sequence[Ordered]) -> bytes:
    """Return the canonical document of a batch of orders; its keccak-256 is the contract's `reasonHash`."""
    return canonical(
        {
            "action": action.value,
            "chainId": domain.chain_id,
            "contract": checksum_address(domain.contract),
            "gameId": game_id,
            "orders": [
                {
                    "reason": order.reason,
                    "requestedAt": order.asked_at_ms,
                    "revocationId": order.order_id,
                    "roundId": order.round_id,
                    "submissionId": order.submission_id,
                }
                for order in orders
            ],
            "type": EVIDENCE_TYPE,
        }
    )
