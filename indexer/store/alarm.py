"""Audit flags about the chain itself: it gave up what it had called final, or more than is remembered.

Touches the database on the connection it is given. Flags go into the one table that relay and indexer share.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, inspect

from indexer.doubt import FlagNews
from indexer.messages import FlagMessage, FlagSubject
from indexer.state import State
from indexer.store.stream import append_flag
from relay.flag_kinds import CHAIN_KINDS
from relay.guard.flags import Flag
from relay.store.flags import newest_flag, raise_flags

ACTION = "reorganisation"  # of the flags


def raise_alarm(connection: Connection, state: State, code: str, reason: str, now_ms: int) -> list[FlagNews]:
    """Open a flag for every game, or count another occurrence; returns what auditors' streams show of it."""
    if not inspect(connection).has_table("audit_flags"):
        return []  # an indexer without the shared tables: its log and its readiness have told
    context: Mapping[str, object] = {"tip": state.tip.number, "final": state.final_block}
    severity = CHAIN_KINDS[code].severity
    flags = [
        (game.number, Flag(game.game_id, None, ACTION, code, severity, reason, "chain", str(chain), context))
        for game in state.games.values()
        for chain in [state.identity.chain_id]
    ]
    raise_flags(connection, [flag for _, flag in flags], now_ms)
    return [_news(connection, number, flag, now_ms) for number, flag in flags]


def _news(connection: Connection, game: int, flag: Flag, now_ms: int) -> FlagNews:
    kept = newest_flag(connection, flag.game_id, flag.about, flag.action, flag.code)
    if kept is None:
        raise LookupError("a flag that was raised in this transaction is not there")
    message = FlagMessage(
        id=kept.id, game_id=flag.game_id, severity=kept.severity, code=flag.code, reason=kept.reason, player_id=None,
        subject=FlagSubject(kept.subject_type, kept.subject_id), occurrences=kept.occurrences, status=kept.status,
    )  # fmt: skip
    body = msgspec.json.encode(message)
    return FlagNews(game, append_flag(connection, game, body, now_ms), body)
