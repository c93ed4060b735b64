"""The detectors at work: pairs in the transaction that transfers, cycles and velocity after its commit.

Touches `transfers_seen` and `audit_flags` through their modules. Seam: whoever executes a group calls `executed` with
what moved and raises the flags it returns in the same transaction (`Gate.flag`); a loop hands `examine` to the writer
after commits and every few seconds, until it returns 0. What waits survives a crash; replicas share it without doing
any twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from sqlalchemy import Connection

from relay.economy.config import EconomyConfig
from relay.guard import laundering, velocity
from relay.guard.flags import Flag
from relay.guard.laundering import Transfer
from relay.store import economy_config, transfers_seen
from relay.store.flags import raise_flags
from relay.store.transfers_seen import NearbyGraph, Seen

EXAMINED_MAX = 200  # in one transaction, so that no operation waits long behind it


def executed(c: Connection, rows: Sequence[Seen], configs: Mapping[str, EconomyConfig]) -> list[Flag]:
    """Record executed transfers and grants; returns the flags of pairs. Games with the guard off record nothing."""
    rows = [row for row in rows if configs[row.game_id].enabled]
    transfers_seen.record(c, rows)
    flags: list[Flag] = []
    for (game_id, currency_id), group in _grouped(row for row in rows if row.sender is not None):
        one_way = {(row.sender or "", row.receiver) for row in group}
        pairs = sorted(one_way | {(receiver, sender) for sender, receiver in one_way})
        by_pair: dict[frozenset[str], list[Transfer]] = {}
        for one in transfers_seen.between(c, game_id, currency_id, pairs, transfers_seen.pair_window(group)):
            by_pair.setdefault(frozenset((one.sender, one.receiver)), []).append(one)
        config = configs[game_id]
        for row in group:
            newest = row.transfer
            earlier = by_pair[frozenset((newest.sender, newest.receiver))]
            found = laundering.pair(game_id, currency_id, newest, earlier, config.laundering_threshold)
            if found is not None:
                flags.append(_cited(found, config))
    return flags


def examine(c: Connection, now_ms: int, limit: int = EXAMINED_MAX) -> int:
    """Look at the oldest movements that wait for it, raise what is found, and write down the verdicts.

    Returns how many were looked at.
    """
    rows = transfers_seen.waiting(c, limit)
    configs = economy_config.in_force(c, {row.game_id for row in rows})
    flags: list[Flag] = []
    verdicts: dict[str, list[Seen]] = {}
    for (game_id, _), group in _grouped(rows):
        config = configs[game_id]
        if not config.enabled:
            verdicts.setdefault("off", []).extend(group)
            continue
        found = [*_cycles(c, group), *_velocity(c, group, config)]
        for row, verdict, flag in found:
            verdicts.setdefault(verdict, []).append(row)
            if flag is not None:
                flags.append(_cited(flag, config))
    transfers_seen.conclude(c, verdicts)
    raise_flags(c, flags, now_ms)
    return len(rows)


_Found = list[tuple[Seen, str, Flag | None]]


def _cycles(c: Connection, group: Sequence[Seen]) -> _Found:
    found: _Found = []
    transfers = [row for row in group if row.sender is not None]
    if not transfers:
        return found
    game_id, currency_id = group[0].game_id, group[0].currency_id
    graph = NearbyGraph(c, game_id, currency_id, [row.transfer for row in transfers])
    for row in transfers:
        done = laundering.search(row.transfer, graph)
        flag = laundering.cycle_flag(game_id, currency_id, done) if done.result == "flag" else None
        found.append((row, done.result, flag))
    return found


def _velocity(c: Connection, group: Sequence[Seen], config: EconomyConfig) -> _Found:
    """Judge each granted player once, as of the newest grant of the group, whose flag names that player's newest."""
    grants = {row.receiver: row for row in group if row.sender is None}
    if not grants:
        return []
    until_ms = max(row.at_ms for row in grants.values())
    game_id, currency_id = group[0].game_id, group[0].currency_id
    sums = transfers_seen.grant_sums(c, game_id, currency_id, until_ms - velocity.WINDOW_MS, until_ms)
    judged = velocity.judge(sums, list(grants), config.velocity_multiplier)
    found: _Found = []
    for row in group:
        if row.sender is None:
            result, newest = judged[row.receiver], grants[row.receiver] is row
            flag = None
            if result.result == "flag" and newest:
                multiplier, transaction_id = config.velocity_multiplier, row.transaction_id
                flag = velocity.flag(game_id, row.receiver, currency_id, result, multiplier, transaction_id)
            found.append((row, result.result, flag))
    return found


def _grouped(rows: Iterable[Seen]) -> list[tuple[tuple[str, str], list[Seen]]]:
    """Return the rows by game and currency, in the order of the ledger."""
    ordered = sorted(rows, key=lambda row: row[:3])
    return [(key, list(group)) for key, group in groupby(ordered, key=lambda row: row[:2])]


def _cited(flag: Flag, config: EconomyConfig) -> Flag:
    return flag._replace(context={**flag.context, "configVersion": config.version})
