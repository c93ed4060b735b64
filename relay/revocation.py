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
from relay.outbox.batches import remaining_ms

EVIDENCE_TYPE = "fairscore-moderation@1"
CLOCK_MARGIN_S = 3_600  # between clocks, and for an endpoint whose newest block is old


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
        return Refuse("SUBMISSION_NOT_ACCEPTED", "The submission is not accepted: there is no score to revoke.")
    return Refuse("SUBMISSION_NOT_REVOKED", f"The submission is {status}; only a revoked one can be reinstated.")


def decisive(orders: Sequence[Order]) -> Order | None:
    """The newest order that was not withdrawn: what an auditor wants now."""
    return next((order for order in reversed(orders) if order.state is not State.WITHDRAWN), None)


def leaves_revoked(last: Order | None) -> bool:
    """Whether a submission whose decisive order is `last` is revoked."""
    return last is not None and not (last.action is Action.REINSTATE and last.state is State.FINAL)


# ------------------------------------------------------- a revocation that waits


class WaitingOrder(NamedTuple):
    """An order that no transaction carries, with what its sender has to know of the score.

    `receipt_deadline` in unix seconds. `carried`: one of our transactions that is not final may still record it.
    `recorded`: a transaction of ours that is in a block has it, or the order is a reinstatement; False means unknown.
    """

    seq: int
    order_id: str
    submission_id: str
    game_id: str
    round_id: int
    reason: str
    asked_at_ms: int
    detail: str | None
    receipt_deadline: int
    carried: bool
    recorded: bool


def plans(orders: Sequence[WaitingOrder], now_ms: int, wait_ms: int, capacity: int) -> list[list[WaitingOrder]]:
    """Return the batches to seal now, of one game each: full ones, and those whose oldest order has waited."""
    games: dict[str, list[WaitingOrder]] = {}
    for order in orders:
        games.setdefault(order.game_id, []).append(order)
    cut = [game[at : at + capacity] for game in games.values() for at in range(0, len(game), capacity)]
    due = [plan for plan in cut if len(plan) == capacity or not remaining_ms(since_ms(plan), now_ms, wait_ms)]
    return sorted(due, key=since_ms)


def since_ms(orders: Sequence[WaitingOrder]) -> int:
    """When the oldest of them was asked for."""
    return min(order.asked_at_ms for order in orders)


def signed_until(order: WaitingOrder, batch_deadline_s: int) -> int:
    """Until when (unix s) the contract takes a signature over the score of a revocation.

    There is its receipt, and there may be batches sealed before it was revoked; nothing signs it afterwards.
    """
    return max(order.receipt_deadline, order.asked_at_ms // 1000 + batch_deadline_s) + CLOCK_MARGIN_S


def lapses(order: WaitingOrder, batch_deadline_s: int, final_at: int) -> bool:
    """Whether nothing can record the score any more, which the contract does not have; `final_at` in unix seconds.

    A block's time only rises: once the newest final block is later than every deadline, it never will be recorded.
    """
    return not order.carried and final_at > signed_until(order, batch_deadline_s)


def why_unrecorded(order: WaitingOrder) -> str:
    """Return what a revocation waits for whose score the contract does not have."""
    if order.carried:
        return "waits until the score's own transaction is in a block"
    return f"the score is not on the chain; its receipt can be carried there until {order.receipt_deadline} (unix time)"


# -------------------------------------------------------------------- evidence


def evidence(domain: Domain, action: Action, orders: Sequence[WaitingOrder]) -> bytes:
    """Return the canonical document of a batch of orders of one game; its keccak-256 is the contract's `reasonHash`."""
    return canonical(
        {
            "action": action.value,
            "chainId": domain.chain_id,
            "contract": checksum_address(domain.contract),
            "gameId": orders[0].game_id,
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
