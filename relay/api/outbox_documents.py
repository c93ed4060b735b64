"""The shapes of `GET /api/outbox` and of what operators send to it.

Pure. Amounts of wei are JSON strings of digits, because they pass 2^53; times are RFC 3339, ages whole seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from relay.api.pages import rfc3339
from relay.chain_types import ProviderState
from relay.keccak import checksum_address
from relay.store.controls import Pause
from relay.store.outbox_view import AttemptView, Depth, KeyView, Seen, SlotView
from relay.strict_json import Request

Why = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S", description="kept in the record of actions")]


class Reason(Request, frozen=True):
    """Why an operator does something."""

    reason: Why


class VoidRequest(Request, frozen=True):
    """Which nonce is to be used up by a transaction to oneself, and why."""

    nonce: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    reason: Why


class StateDocument(msgspec.Struct, frozen=True, rename="camel"):
    """Submissions in one state that is not an end; the oldest is the one accepted first."""

    state: str
    count: int
    oldest_accepted_at: str | None
    oldest_age_s: int | None


class PauseDocument(msgspec.Struct, frozen=True):
    """Since when a key is paused, by whom, and why."""

    at: str
    by: str
    reason: str


class AttemptDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A signed transaction of a nonce; all of them are watched until one is final."""

    tx_hash: str
    fee_wei: str
    tip_wei: str | None
    gas_limit: int
    signed_at: str
    age_s: int
    void: bool


class NonceDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A nonce that is not final, and what it carries. `txHash` and `blockNumber` are set while it is mined."""

    nonce: int
    state: str
    kind: str
    game_id: str
    size: int
    reserved_at: str
    age_s: int
    tx_hash: str | None
    block_number: int | None
    void_requested_at: str | None
    attempts: list[AttemptDocument]


class Stuck(msgspec.Struct, frozen=True):
    """Something that keeps a key from sending: a short name, and what to do."""

    what: str
    detail: str


class KeyDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A key that sends. `leads`: a process holds its lease now; `here`: its sender runs in this process."""

    address: str
    carries: list[str]
    holder: str
    epoch: int
    leads: bool
    here: bool
    paused: PauseDocument | None
    next_nonce: int | None
    balance_wei: str | None
    reserved_wei: str
    stuck: list[Stuck]
    in_flight: list[NonceDocument]


class ProviderDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An RPC endpoint by host and port, as this process sees it."""

    name: str
    healthy: bool
    head: int | None
    lag_blocks: int | None
    reason: str


class ParkedDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A score that the contract refused."""

    submission_id: str
    game_id: str
    reason: str
    since: str


class RevocationsDocument(msgspec.Struct, frozen=True, rename="camel"):
    """Orders to take scores back or to put them back that are in one state; `detail` is what keeps the newest."""

    state: str
    count: int
    oldest_asked_at: str
    detail: str | None


class ActionDocument(msgspec.Struct, frozen=True):
    """What an operator did: who (id of a key, or cli:<user>), when, to what, and why."""

    at: str
    actor: str
    action: str
    subject: str
    reason: str


class OutboxDocument(msgspec.Struct, frozen=True, rename="camel"):
    """All of the outbox. `parked` and `actions` hold the newest 100 and 20."""

    chain_id: int
    at: str
    states: list[StateDocument]
    keys: list[KeyDocument]
    providers: list[ProviderDocument]
    parked: list[ParkedDocument]
    revocations: list[RevocationsDocument]
    actions: list[ActionDocument]


class Controlled(msgspec.Struct, frozen=True):
    """A key after the change."""

    address: str
    paused: PauseDocument | None


class VoidAccepted(msgspec.Struct, frozen=True, rename="camel"):
    """The request is stored; the key's next attempt for this nonce is a transaction to itself."""

    address: str
    nonce: int
    requested_at: str


class RetryAccepted(msgspec.Struct, frozen=True, rename="camel"):
    """The score waits for a transaction again."""

    submission_id: str
    status: str


def outbox_document(
    chain_id: int, seen: Seen, keys: list[KeyDocument], providers: Sequence[ProviderState] = ()
) -> OutboxDocument:
    """Return the whole document; `keys` hold what only a process knows of its senders."""
    return OutboxDocument(
        chain_id=chain_id,
        at=rfc3339(seen.view.now_ms),
        states=state_documents(seen.view.depth, seen.view.now_ms),
        keys=keys,
        providers=[ProviderDocument(*one) for one in providers],
        parked=[
            ParkedDocument(one.submission_id, one.game_id, one.reason, rfc3339(one.since_ms)) for one in seen.parked
        ],
        revocations=[
            RevocationsDocument(one.state, one.orders, rfc3339(one.oldest_at_ms), one.detail) for one in seen.orders
        ],
        actions=[
            ActionDocument(rfc3339(one.at_ms), one.actor, one.action, one.subject, one.reason) for one in seen.actions
        ],
    )


def state_documents(depth: Mapping[str, Depth], now_ms: int) -> list[StateDocument]:
    """Return one line per state."""
    return [
        StateDocument(state, found.size, _time(found.oldest_ms), _age_s(found.oldest_ms, now_ms))
        for state, found in depth.items()
    ]


def pause_document(pause: Pause | None) -> PauseDocument | None:
    """Return the pause of a key as shown."""
    return None if pause is None else PauseDocument(rfc3339(pause.at_ms), pause.by, pause.reason)


def key_document(
    view: KeyView,
    now_ms: int,
    *,
    carries: Sequence[str] = (),
    here: bool = False,
    balance_wei: int | None = None,
    trouble: Mapping[str, str] | None = None,
) -> KeyDocument:
    """Return a key as shown; what the database does not know is given by the process that knows it.

    `trouble` is the sender's own where it runs here; what the database holds of it is a few seconds old.
    """
    stuck = dict(view.trouble if trouble is None else trouble)
    if not view.led and view.slots:
        stuck["lease"] = "transactions are under way and no process holds this key's lease: start a relay with it"
    return KeyDocument(
        address=checksum_address(view.key.signer),
        carries=list(carries),
        holder=view.holder,
        epoch=view.epoch,
        leads=view.led,
        here=here,
        paused=pause_document(view.pause),
        next_nonce=view.next_nonce,
        balance_wei=None if balance_wei is None else str(balance_wei),
        reserved_wei=str(view.reserved_wei),
        stuck=[Stuck(what, detail) for what, detail in sorted(stuck.items())],
        in_flight=[_nonce(slot, now_ms) for slot in view.slots],
    )


def _nonce(slot: SlotView, now_ms: int) -> NonceDocument:
    return NonceDocument(
        nonce=slot.nonce,
        state=slot.state,
        kind=slot.kind,
        game_id=slot.game_id,
        size=slot.size,
        reserved_at=rfc3339(slot.reserved_at_ms),
        age_s=(now_ms - slot.reserved_at_ms) // 1000,
        tx_hash=None if slot.tx_hash is None else "0x" + slot.tx_hash.hex(),
        block_number=slot.block_number,
        void_requested_at=_time(slot.void_requested_at_ms),
        attempts=[_attempt(one, now_ms) for one in slot.attempts],
    )


def _attempt(one: AttemptView, now_ms: int) -> AttemptDocument:
    return AttemptDocument(
        tx_hash="0x" + one.tx_hash.hex(),
        fee_wei=str(one.fee_wei_max),
        tip_wei=None if one.tip_wei_max is None else str(one.tip_wei_max),
        gas_limit=one.gas_limit,
        signed_at=rfc3339(one.created_at_ms),
        age_s=(now_ms - one.created_at_ms) // 1000,
        void=one.void,
    )


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def _age_s(at_ms: int | None, now_ms: int) -> int | None:
    return None if at_ms is None else max(0, now_ms - at_ms) // 1000
