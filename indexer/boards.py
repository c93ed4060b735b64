"""What a leaderboard is configured to be: operator, order, ties, season, capacity; and how a score changes a standing.

Pure. Whatever ranks, pages, streams or rebuilds a board goes through these few functions, so that all of them agree.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from indexer.ordering import POSITION_BITS, POSITION_MAX, VALUE_MAX
from indexer.seasons import NEVER, Calendar, SeasonRuleError
from relay.canonical import canonical

DEFAULT_BOARD = "default"
BOARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
CAPACITY_MAX = 10_000_000
PLAIN: dict[str, tuple[type, ...]] = {"season": (str,), "capacity": (int, type(None))}


class BoardError(ValueError):
    """A board's configuration cannot be used; the message names the board and the setting."""


class Operator(StrEnum):
    """What a player's valid scores of a season add up to."""

    BEST = "best"
    LATEST = "latest"
    SUM = "sum"  # never beyond 2^63-1
    COUNT = "count"


class Order(StrEnum):
    """Which value is ahead."""

    DESC = "desc"
    ASC = "asc"


class Ties(StrEnum):
    """Equal values: ranked by who had it first, or one shared rank (1, 1, 3) listed in that order."""

    EARLIEST = "earliest"
    SHARED = "shared"


class Standing(NamedTuple):
    """A player on a board: the value ranked by, and the position of the score that made it so."""

    value: int
    place: int


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """One board. `season` is a rule of `indexer.seasons`; `capacity` is how many players it shows, None: all."""

    name: str = DEFAULT_BOARD
    operator: Operator = Operator.BEST
    order: Order = Order.DESC
    ties: Ties = Ties.EARLIEST
    season: str = NEVER
    capacity: int | None = None
    calendar: Calendar = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could only fail later.

        Raises:
            BoardError: a name, season or capacity is not usable.
        """
        if not BOARD_NAME.fullmatch(self.name):
            raise BoardError(f"board {self.name!r}: 1 to 64 letters, digits, dots, dashes or underscores")
        if self.capacity is not None and not 1 <= self.capacity <= CAPACITY_MAX:
            raise BoardError(f"board {self.name}: capacity is 1 to {CAPACITY_MAX}")
        try:
            object.__setattr__(self, "calendar", Calendar(self.season))
        except SeasonRuleError as wrong:
            raise BoardError(f"board {self.name}: {wrong}") from None

    @property
    def descending(self) -> bool:
        """Whether the larger value is ahead."""
        return self.order is Order.DESC

    @property
    def shared(self) -> bool:
        """Whether equal values have one rank."""
        return self.ties is Ties.SHARED

    def key(self, standing: Standing) -> int:
        """Return the one ordering key of a standing: smaller is ahead; no two players share one."""
        value = VALUE_MAX - standing.value if self.descending else standing.value
        return value << POSITION_BITS | standing.place

    def standing(self, key: int) -> Standing:
        """Return what `key` was made of."""
        value = key >> POSITION_BITS
        return Standing(VALUE_MAX - value if self.descending else value, key & POSITION_MAX)

    def joined(self, before: int | None, score: int, place: int) -> int:
        """Return a player's ordering key after one more valid score, at whatever position it stands in the chain."""
        if self.operator is Operator.BEST or self.operator is Operator.LATEST:
            # Without a Standing in between: this is what indexing history does most.
            key = (VALUE_MAX - score if self.order is Order.DESC else score) << POSITION_BITS | place
            if before is None:
                return key
            if self.operator is Operator.BEST:
                return min(key, before)
            return key if place > before & POSITION_MAX else before
        added = 1 if self.operator is Operator.COUNT else score
        known = Standing(0, place) if before is None else self.standing(before)
        return self.key(Standing(min(known.value + added, VALUE_MAX), max(place, known.place)))

    def document(self) -> bytes:
        """Return the configuration as canonical JSON (RFC 8785): equal documents rank equally."""
        return canonical({name: value for name, value in asdict(self).items() if name != "calendar"})


def board_from_mapping(name: str, table: Mapping[str, Any]) -> BoardConfig:
    """Return the board of one `[games.<id>.boards.<name>]` table, whose keys are the fields of `BoardConfig`.

    Raises:
        BoardError: an unknown key or a value that is not usable.
    """
    choices: dict[str, type[StrEnum]] = {"operator": Operator, "order": Order, "ties": Ties}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in choices:
            known = [str(choice) for choice in choices[key]]
            if value not in known:
                raise BoardError(f"board {name}: {key} is one of {', '.join(known)}")
            values[key] = choices[key](value)
        elif key in PLAIN:
            if type(value) not in PLAIN[key]:
                raise BoardError(f"board {name}: {key} is not of the right type")
            values[key] = value
        else:
            raise BoardError(f"board {name}: no setting named {key!r}")
    return BoardConfig(name, **values)


def boards_of_game(game_id: str, table: Mapping[str, Any]) -> tuple[BoardConfig, ...]:
    """Return the boards in one `[games.<id>]` table, `default` among them and first.

    Raises:
        BoardError: the message names the game.
    """
    listed = table.get("boards", {})
    if not isinstance(listed, Mapping) or not all(isinstance(one, Mapping) for one in listed.values()):
        raise BoardError(f"game {game_id}: boards are tables, [games.{game_id}.boards.<name>]")
    try:
        found = {name: board_from_mapping(name, one) for name, one in listed.items()}
    except BoardError as wrong:
        raise BoardError(f"game {game_id}, {wrong}") from None
    default = found.pop(DEFAULT_BOARD, BoardConfig())
    return (default, *found.values())
