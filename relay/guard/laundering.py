"""Laundering: two players who transfer to and fro, and money that comes back to its sender through others.

Pure. What is found is a warning: the transfers execute. Times are epoch ms; sequences are those of the game's ledger,
so that "before" means the same to every replica.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from relay.flag_kinds import ECONOMY_KINDS
from relay.guard.flags import Flag

ACTION = "transfer"
PAIR_MS = 60_000
CYCLE_MS = 600_000
EDGES_MAX = 2_000  # visited in one search: beyond it the answer is insufficient_data, and costs no more
NAMED_MAX = 20  # transactions named in a flag


class Transfer(NamedTuple):
    """One executed transfer of one currency."""

    sequence: int
    transaction_id: str
    sender: str
    receiver: str
    amount: int
    at_ms: int


class Graph(Protocol):
    """Who transferred to whom, of one game and currency."""

    def leaving(self, senders: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        """Return at most `limit` transfers by `senders`, later than `since_ms`, of a sequence less than `before`."""

    def arriving(self, receivers: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        """Return at most `limit` transfers to `receivers`, later than `since_ms`, of a sequence less than `before`."""


class Search(NamedTuple):
    """How a search for a cycle ended: pass, flag or insufficient_data; the transfers of the cycle, in their order."""

    result: str
    cycle: tuple[Transfer, ...]
    visited: int


# --- pairs


def pair(game_id: str, currency_id: str, newest: Transfer, earlier: Iterable[Transfer], threshold: int) -> Flag | None:
    """Return the flag of two players' `threshold`-th or later transfer in (t - 60 s, t], None below it.

    `earlier` are transfers of the currency before `newest`; those of others, or too old, are passed over. With at least
    one in each direction it is LAUNDERING_PAIR, else PAIR_TRANSFER_BURST.
    """
    two = {newest.sender, newest.receiver}
    inside = [
        one
        for one in earlier
        if one.sequence < newest.sequence and one.at_ms > newest.at_ms - PAIR_MS and {one.sender, one.receiver} == two
    ]
    inside = [*sorted(inside), newest]
    if len(inside) < threshold:
        return None
    there = [one for one in inside if one.sender == newest.sender]
    back = [one for one in inside if one.sender != newest.sender]
    code, arrow = ("LAUNDERING_PAIR", "↔") if back else ("PAIR_TRANSFER_BURST", "→")
    what = "Laundering suspected" if back else "Transfer burst"
    reason = f"{what}: {newest.sender} {arrow} {newest.receiver} ({len(inside)} transfers of {currency_id} in 60 s)"
    context = {
        **_context(currency_id, sorted(two), PAIR_MS, inside),
        "count": len(inside), "threshold": threshold, "directions": [_direction(one) for one in (there, back) if one],
        "net": _net(newest, sum(one.amount for one in there) - sum(one.amount for one in back)),
    }  # fmt: skip
    return _flag(game_id, currency_id, newest, code, reason, context, sorted(two))


def _direction(transfers: Sequence[Transfer]) -> dict[str, object]:
    first, total = transfers[0], sum(one.amount for one in transfers)
    return {"from": first.sender, "to": first.receiver, "count": len(transfers), "amount": total}


def _net(newest: Transfer, flow: int) -> dict[str, object]:
    """Who gained from whom in the end."""
    sender, receiver = (newest.sender, newest.receiver) if flow >= 0 else (newest.receiver, newest.sender)
    return {"from": sender, "to": receiver, "amount": abs(flow)}


# --- cycles


class _Visits:
    """Reads the graph, never more than EDGES_MAX transfers."""

    def __init__(self) -> None:
        self.visited = 0
        self.cut = False

    def keep(self, found: Sequence[Transfer]) -> Sequence[Transfer]:
        """Count what was read; one more than was left means that something was not seen."""
        left = self.left
        self.cut |= len(found) > left
        kept = found[:left]
        self.visited += len(kept)
        return kept

    @property
    def left(self) -> int:
        return EDGES_MAX - self.visited


def search(closing: Transfer, graph: Graph) -> Search:
    """Search a cycle that `closing`, u→v, closes: a path v→x→u or v→x→y→u of transfers one after the other before it.

    All lie in (t - 10 min, t]. v→u alone is no cycle but a pair. Of several the shortest is returned.
    """
    u, v, since_ms = closing.sender, closing.receiver, closing.at_ms - CYCLE_MS
    visits = _Visits()
    out = visits.keep(graph.leaving([v], since_ms, closing.sequence, visits.left + 1))
    into = visits.keep(graph.arriving([u], since_ms, closing.sequence, visits.left + 1))
    # Of several transfers the earliest leaves most time for what follows, the latest for what came before.
    first: dict[str, Transfer] = {}
    for one in sorted(out, reverse=True):
        if one.receiver not in (u, v):
            first[one.receiver] = one
    last = {one.sender: one for one in sorted(into) if one.sender not in (u, v)}
    middle = _through_one(first, last) or _through_two(first, last, since_ms, graph, visits)
    if middle:
        return Search("flag", (*middle, closing), visits.visited)
    return Search("insufficient_data" if visits.cut else "pass", (), visits.visited)


def _through_one(first: dict[str, Transfer], last: dict[str, Transfer]) -> tuple[Transfer, ...]:
    found = [(last[x], first[x]) for x in first.keys() & last.keys() if first[x].sequence < last[x].sequence]
    return max(found)[::-1] if found else ()


def _through_two(
    first: dict[str, Transfer], last: dict[str, Transfer], since_ms: int, graph: Graph, visits: _Visits
) -> tuple[Transfer, ...]:
    """Read on from the side with fewer players."""
    if not first or not last:
        return ()
    before = max(one.sequence for one in last.values())
    if len(first) <= len(last):
        found = graph.leaving(sorted(first), since_ms, before, visits.left + 1)
    else:
        found = graph.arriving(sorted(last), since_ms, before, visits.left + 1)
    paths = [
        (last[one.receiver], one, first[one.sender])
        for one in visits.keep(found)
        if one.sender in first
        and one.receiver in last
        and one.sender != one.receiver
        and first[one.sender].sequence < one.sequence < last[one.receiver].sequence
    ]
    return max(paths)[::-1] if paths else ()


def cycle_flag(game_id: str, currency_id: str, found: Search) -> Flag:
    """Return the flag of a search that found a cycle."""
    closing = found.cycle[-1]
    players = [one.sender for one in found.cycle]
    reason = (
        f"Laundering cycle: {' → '.join([*players, closing.receiver])} "
        f"({len(players)} transfers of {currency_id} in 10 min)"
    )
    context = {
        **_context(currency_id, players, CYCLE_MS, found.cycle),
        "hops": len(players) - 1, "visited": found.visited, "returned": min(one.amount for one in found.cycle),
    }  # fmt: skip
    return _flag(game_id, currency_id, closing, "LAUNDERING_CYCLE", reason, context, sorted(players))


# --- both


def _context(
    currency_id: str, players: Sequence[str], window_ms: int, transfers: Sequence[Transfer]
) -> dict[str, object]:
    return {
        "action": ACTION, "currencyId": currency_id, "players": list(players), "windowSeconds": window_ms // 1000,
        "transactionIds": [one.transaction_id for one in transfers][-NAMED_MAX:],
    }  # fmt: skip


def _flag(
    game_id: str, currency_id: str, newest: Transfer, code: str, reason: str, context: dict[str, object],
    players: Sequence[str],
) -> Flag:  # fmt: skip
    """One open flag per set of players and currency, whoever of them sent last."""
    together = json.dumps([*players, currency_id], ensure_ascii=False, separators=(",", ":"))
    return Flag(
        game_id, newest.sender, ACTION, code, ECONOMY_KINDS[code].severity, reason, "transaction",
        newest.transaction_id, context, together,
    )  # fmt: skip
