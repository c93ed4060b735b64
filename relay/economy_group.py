"""The journey of one group of operations through one transaction, steps numbered.

Touches the database through the stores of keys, guard, desks and ledger, inside the economy's writer. Nothing else
remembers what happens here, so a group that was rolled back can simply be run again. Locks are taken in the order of
the steps: idempotency keys (1), the guard's windows (3), the books (4); each kind in ascending order, so that no two
groups wait for each other in a circle.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay.economy import entries
from relay.economy.config import EconomyConfig
from relay.economy.desk import Cooling, Desk, Names, Outcome, Step
from relay.economy.ledger import Posted, Refusal
from relay.economy.requests import step_of
from relay.economy_entries import Decided, Order, Render, Reply
from relay.guard.gate import Attempt
from relay.store import desks, economy_config, kept_many, ledger, suspicions, tallies
from relay.store.gate import Gate, Place
from relay.store.intake_rows import Connection, IntakeStore
from relay.store.kept_answers import Claim, Kept
from relay.store.kept_many import Known
from relay.store.transfers_seen import Seen

KEY_REUSED = Refusal("IDEMPOTENCY_KEY_REUSED", "This idempotency key was used for a different request.")
UNKEPT = {429}  # later the same request may pass; a failure of ours is never kept, for it rolls all of this back


@dataclass
class _Group:
    """What the steps hand on to each other."""

    configs: Mapping[str, EconomyConfig]
    gate: Gate
    desks: dict[str, Desk] = field(default_factory=dict)
    steps: dict[int, Step] = field(default_factory=dict)  # by the order's place in the group
    answers: dict[bytes, Known] = field(default_factory=dict)  # by key: those given before, and those of this group
    kept: list[tuple[Claim, Kept]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    tally: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def process(c: Connection, store: IntakeStore, orders: Sequence[Order], render: Render) -> list[Reply]:
    """Take all that waits through all steps; returns the replies in order, true once the transaction is committed."""
    answers = kept_many.look(c, {order.claim.scope for order in orders if order.claim is not None})  # 1. keys
    new = {at: order for at, order in enumerate(orders) if order.claim is None or order.claim.scope not in answers}
    if not new:
        return [_reply(None, order, answers, render, at) for at, order in enumerate(orders)]
    games = {order.game_id for order in new.values()}
    configs = economy_config.in_force(c, games)  # 2. settings
    places = [Place(order.game_id, order.action, player) for order in new.values() if (player := _limited(order))]
    group = _Group(configs, Gate(c, store, places, configs), answers=answers)  # 3. windows
    _open(c, store, group, new)  # 4. books, and all that is needed of them
    replies = [_reply(group, order, answers, render, at) for at, order in enumerate(orders)]  # 5. one by one
    _write(c, group)
    return replies


def _limited(order: Order) -> str | None:
    """Return whose windows an order counts in; None: a correction counts in nobody's."""
    return order.asked.body.player


def _open(c: Connection, store: IntakeStore, group: _Group, orders: Mapping[int, Order]) -> None:
    """Lock the books of the games, then read for each what its orders need: names first, then positions."""
    books = ledger.open_books(c, {order.game_id for order in orders.values()})
    now_ms = store.now_ms(c)
    names = {game_id: Names() for game_id in books}
    steps: dict[str, list[Step]] = {game_id: [] for game_id in books}
    for at, order in orders.items():
        step = group.steps[at] = step_of(order.asked, group.configs[order.game_id])
        step.names(names[order.game_id])
        steps[order.game_id].append(step)
    for game_id, book in books.items():
        desk = group.desks[game_id] = desks.read(c, book, names[game_id], now_ms)
        desks.load(c, desk, [draft for step in steps[game_id] for draft in step.drafts(desk)])


def _reply(group: _Group | None, order: Order, answers: dict[bytes, Known], render: Render, at: int) -> Reply:
    """Answer an order: again what was answered to its key, or what is decided now."""
    known = None if order.claim is None else answers.get(order.claim.scope)
    if known is not None and order.claim is not None:
        if known.request == order.claim.request:
            return Reply(known.kept)
        reused = Decided(KEY_REUSED, None, None, 0)
        return Reply(render(order, reused), reused)
    if group is None:
        raise RuntimeError("an order whose key is new has no group")
    decided = _decide(group, order, group.steps[at])
    group.tally[order.game_id, order.action, decided.code or tallies.OK] += 1
    kept = render(order, decided)
    if order.claim is not None and kept.status not in UNKEPT:
        answers[order.claim.scope] = Known(order.claim.request, kept._replace(replayed=True))
        group.kept.append((order.claim, kept))
    return Reply(kept, decided)


def _decide(group: _Group, order: Order, step: Step) -> Decided:
    """(a) the guard; (b) the operation; (c) what took effect counts, and is looked at."""
    config, desk, player = group.configs[order.game_id], group.desks[order.game_id], _limited(order)
    limit = config.rate_limit(order.action)
    if player is None:
        return Decided(step.decide(desk), None, config.version, limit)
    attempt = Attempt(order.game_id, order.action, player, step.amounts(desk))
    ruling = group.gate.rule(attempt)  # (a)
    if ruling.refusal is not None:
        return Decided(ruling.refusal, ruling, config.version, limit)
    outcome = step.decide(desk)  # (b)
    if not isinstance(outcome, Refusal | Cooling):
        group.gate.executed(attempt)  # (c)
        group.seen += _seen(order.game_id, outcome)
    return Decided(outcome, ruling, config.version, limit)


def _seen(game_id: str, outcome: Outcome) -> list[Seen]:
    """Return what the detectors look at: transfers, and grants, which nobody sends."""
    if not isinstance(outcome, Posted) or outcome.transaction.draft.type not in ("transfer", "grant"):
        return []
    made = outcome.transaction
    (move,) = made.draft.moves
    sender, receiver = entries.owner(move.source), entries.owner(move.target) or ""
    currency_id = entries.currency_of(move.asset) or ""
    return [Seen(game_id, currency_id, made.sequence, made.id, sender, receiver, move.amount, made.at_ms)]


def _write(c: Connection, group: _Group) -> None:
    """6. Detectors and flags, windows, counts; 7. what was decided; 8. the answers, for whoever asks again."""
    gate = group.gate
    gate.flag(suspicions.executed(c, group.seen, group.configs))
    gate.save()
    tallies.add_operations(c, group.tally, gate.now_ms)
    for desk in group.desks.values():
        desks.write(c, desk)
        ledger.write(c, desk.book)
    kept_many.keep(c, group.kept, gate.now_ms)
