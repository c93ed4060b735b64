"""The games a relay serves: what each allows, judges by and limits.

Pure. The settings hand in plain values; a wrong one is refused at start, by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.guard.rounds import ROUND_MODES, round_modes
from relay.rules.registry import bind
from relay.rules.ruleset import BoundRuleset

GAME_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
ANY_ORIGIN = "*"
ECONOMY_PREFIX = "eco_"  # of the ids that games with an economy only are given: no game of scores is called so
SUBMIT_ACTION = "submit-score"
LIMITS_PER_MINUTE = {SUBMIT_ACTION: 60}
ROUND_S_MAX = 30 * 86_400
LIMIT_MAX = 10_000  # a window is a ring of that many timestamps in one row
DEFAULT_RULESET = "streambeat-counts@1"
CHOICES = ("off", "optional", "required")  # of what a game may ask of its clients


class GameError(ValueError):
    """A game's configuration cannot be used; the message names the game and the setting."""


@dataclass(frozen=True, slots=True)
class GameConfig:
    """One game. `limits` are admissions per player and action in 60 s; `switches` map check codes to modes."""

    game_id: str
    ruleset: str = DEFAULT_RULESET
    parameters: Mapping[str, object] = field(default_factory=dict)
    switches: Mapping[str, str] = field(default_factory=dict)
    anonymous_submit: bool = False
    allowed_origins: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    encryption: str = "optional"  # of the reports of rounds
    require_rounds: bool = False
    require_confirmation: bool = False  # of rounds outside of tournaments
    confirmation_timeout_s: int = 300
    round_timeout_s: int = 3_600  # how long a round can be reported
    identity: str = "off"  # proof of the player with a score: kept unread, checked where there is one, or demanded

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            GameError: an id, origin or limit is not usable.
        """
        if not GAME_ID.fullmatch(self.game_id):
            raise GameError(f"game id {self.game_id!r}: 1 to 64 letters, digits, dots, dashes or underscores")
        if self.game_id.startswith(ECONOMY_PREFIX):
            raise GameError(f"game id {self.game_id!r}: {ECONOMY_PREFIX}… is given to games without scores")
        for origin in self.allowed_origins:
            if origin != ANY_ORIGIN and not ORIGIN.fullmatch(origin):
                raise GameError(f"game {self.game_id}: {origin!r} is not an origin (https://host) or *")
        for name in ("encryption", "identity"):
            if getattr(self, name) not in CHOICES:
                raise GameError(f"game {self.game_id}: {name} is one of {', '.join(CHOICES)}")
        for name in ("confirmation_timeout_s", "round_timeout_s"):
            if not 1 <= getattr(self, name) <= ROUND_S_MAX:
                raise GameError(f"game {self.game_id}: {name} is 1 to {ROUND_S_MAX} seconds")
        self._check_limits()

    def _check_limits(self) -> None:
        for action, limit in self.limits.items():
            if action not in LIMITS_PER_MINUTE:
                raise GameError(f"game {self.game_id}: no action named {action!r} is limited")
            if type(limit) is not int or not 1 <= limit <= LIMIT_MAX:
                raise GameError(f"game {self.game_id}: the limit of {action} is 1 to {LIMIT_MAX} a minute")

    def limit(self, action: str) -> int:
        """Admissions per player in 60 s."""
        return self.limits.get(action, LIMITS_PER_MINUTE[action])

    def allows_origin(self, origin: str) -> bool:
        """Whether a browser page of `origin` may call this game's operations."""
        return ANY_ORIGIN in self.allowed_origins or origin in self.allowed_origins


class Game:
    """A configured game with its ruleset bound."""

    __slots__ = ("config", "id", "round_modes", "rules", "submit_limit")

    def __init__(self, config: GameConfig) -> None:
        """Raises `relay.rules.ruleset.RulesetError` for an unknown ruleset, parameter or switch."""
        self.config = config
        self.id = config.game_id
        of_rules = {code: mode for code, mode in config.switches.items() if code not in ROUND_MODES}
        self.rules: BoundRuleset = bind(config.ruleset, config.parameters, of_rules)
        self.round_modes = round_modes(config.switches)
        self.submit_limit = config.limit(SUBMIT_ACTION)


class Games:
    """All games of one relay, by id: those the settings name, and those that are configured while it runs.

    `by_id` is replaced as a whole when a game changes, so it is read at each request and never kept.
    """

    def __init__(self, configs: list[GameConfig] | tuple[GameConfig, ...]) -> None:
        """Raises GameError when there is none or an id is repeated."""
        if not configs:
            raise GameError("a relay serves at least one game")
        self._named = {config.game_id: Game(config) for config in configs}
        if len(self._named) != len(configs):
            raise GameError("two games have the same id")
        # A body may leave `gameId` out where the settings name one game, and that stays so when others are added.
        self.default_id = next(iter(self._named)) if len(self._named) == 1 else None
        self.serve({})

    def serve(self, others: Mapping[str, Game]) -> None:
        """Serve these games, too, from the next request on; one that the settings name stays as they say."""
        self.by_id: Mapping[str, Game] = {**others, **self._named}
        self.only = next(iter(self.by_id.values())) if len(self.by_id) == 1 else None
        self._origins = frozenset(origin for game in self.by_id.values() for origin in game.config.allowed_origins)

    def named(self, game_id: str) -> bool:
        """Whether the settings name this game: then nothing else configures it."""
        return game_id in self._named

    def origins(self) -> frozenset[str]:
        """Every origin some game allows."""
        return self._origins

    def allows_origin(self, origin: str, game_id: str | None) -> bool:
        """Whether a page of `origin` may call a game's operations; None or an unknown game: those of some game."""
        game = None if game_id is None else self.by_id.get(game_id)
        if game is not None:
            return game.config.allows_origin(origin)
        return ANY_ORIGIN in self._origins or origin in self._origins


def game_from_mapping(game_id: str, table: Mapping[str, Any]) -> GameConfig:
    """Return the game of one `[games.<id>]` table, whose keys are the fields of `GameConfig`.

    Raises:
        GameError: an unknown key or a value of the wrong type.
    """
    known = {
        "ruleset": str,
        "parameters": Mapping,
        "switches": Mapping,
        "anonymous_submit": bool,
        "limits": Mapping,
        "encryption": str,
        "identity": str,
        "require_rounds": bool,
        "require_confirmation": bool,
        "confirmation_timeout_s": int,
        "round_timeout_s": int,
    }
    for key, value in table.items():
        if key == "boards":
            continue  # the indexer's
        if key == "allowed_origins":
            if not isinstance(value, list | tuple) or not all(isinstance(origin, str) for origin in value):
                raise GameError(f"game {game_id}: allowed_origins is a list of texts")
        elif key not in known:
            raise GameError(f"game {game_id}: no setting named {key!r}")
        elif not isinstance(value, known[key]) or (known[key] is int and isinstance(value, bool)):
            raise GameError(f"game {game_id}: {key} is not of type {known[key].__name__}")
    values = {key: value for key, value in table.items() if key != "boards"}
    values["allowed_origins"] = tuple(values.get("allowed_origins", ()))
    return GameConfig(game_id, **values)
