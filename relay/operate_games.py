"""What the `fairscore games` commands do: the same as the API's operations, straight on the database.

Touches the database. Running relays follow within a second.
"""

import getpass
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from relay.api.games import GameSettings, checked_game
from relay.api.pages import rfc3339
from relay.config import Settings
from relay.errors import CallerError, StartupError
from relay.opening import migrated
from relay.startup import DEFAULT_GAME
from relay.store import games as store
from relay.store.controls import By


class ShownGame(NamedTuple):
    """A game as `list` shows it; version None: the settings name it."""

    game_id: str
    version: int | None
    at: str
    actor: str
    table: Mapping[str, Any]


def listed(settings: Settings) -> list[ShownGame]:
    """Return every game, those of the settings first."""
    named = _named(settings)
    with migrated(settings) as database:
        rows = database.read_now(store.read)
    shown = [ShownGame(game_id, None, "", "settings", _whole(table)) for game_id, table in named.items()]
    return shown + [
        ShownGame(row.game_id, row.version, rfc3339(row.at_ms), row.actor, _whole(row.table))
        for row in rows
        if row.game_id not in named
    ]


def shown(settings: Settings, game_id: str) -> str:
    """Return one game's settings as JSON; StartupError if there is no such game."""
    found = next((game for game in listed(settings) if game.game_id == game_id), None)
    if found is None:
        raise StartupError(f"no game {game_id!r}: see `fairscore games list`")
    return msgspec.json.format(msgspec.json.encode(found.table), indent=1).decode()


def change(settings: Settings, game_id: str, assignments: Sequence[str], reason: str) -> str:
    """Make a game, or change what the assignments (`key=value`, as in `[games.<id>]`) name; returns what to print."""
    given = assigned(assignments)
    return _put(settings, game_id, lambda table: _merged(table, given), reason)


def origins(settings: Settings, game_id: str, add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Add and remove origins of a game; returns what it allows then."""

    def edit(table: dict[str, Any]) -> dict[str, Any]:
        kept = [one for one in table.get("allowed_origins", []) if one not in remove]
        return {**table, "allowed_origins": list(dict.fromkeys([*kept, *add]))}

    if add or remove:
        if game_id not in {game.game_id for game in listed(settings)}:
            raise StartupError(f"no game {game_id!r}: see `fairscore games list`")
        _put(settings, game_id, edit, "origins")
    found = next((game.table for game in listed(settings) if game.game_id == game_id), None)
    if found is None:
        raise StartupError(f"no game {game_id!r}: see `fairscore games list`")
    return list(found["allowedOrigins"])


def _put(settings: Settings, game_id: str, edit: Any, reason: str) -> str:
    if game_id in _named(settings):
        raise StartupError(f"the settings name the game {game_id}: change it there, and start the relay again")
    with migrated(settings) as database, database.write() as c:
        row = next(iter(store.read(c, [game_id])), None)
        table = edit({} if row is None else dict(row.table))
        try:
            checked_game(game_id, table)
        except CallerError as refused:
            raise StartupError(refused.detail) from None
        by = By(f"cli:{getpass.getuser()}", reason, database.now_ms(c))
        made, new = store.put(c, game_id, table, by)
    return f"{game_id}: version {made.version}" if new else f"{game_id}: unchanged, version {made.version}"


def _named(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    return settings.games or {DEFAULT_GAME: {}}


def _whole(table: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in msgspec.structs.fields(GameSettings)}
    whole: dict[str, Any] = msgspec.to_builtins(GameSettings(**{k: v for k, v in table.items() if k in known}))
    return whole


def assigned(assignments: Sequence[str]) -> dict[str, Any]:
    """Return `a.b=value …` as a table; a value is TOML, and plain text where it is none.

    Raises:
        StartupError: one is not of this form.
    """
    found: dict[str, Any] = {}
    for one in assignments:
        key, sign, text = one.partition("=")
        if not sign or not key:
            raise StartupError(f"{one!r} is not key=value; keys are those of the settings file")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table, _, name = key.rpartition(".")
        if table:
            found.setdefault(table, {})[name] = value
        else:
            found[name] = value
    return found


def _merged(table: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a game's table with what is given put in; tables are merged, one level deep."""
    merged = dict(table)
    for name, value in given.items():
        before = merged.get(name)
        merged[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
