"""The games that are known by name, and the boards that each has from the start.

Pure. Shared by all who show or make boards: a game that is configured while the system runs is learned here.
"""

from collections.abc import Iterable, Mapping, Sequence

from indexer.boards import BoardConfig
from relay.contract import game_key

DEFAULT: Sequence[BoardConfig] = (BoardConfig(),)


class KnownGames:
    """Ids and boards by the key that the contract names a game by."""

    def __init__(self, games: Iterable[str], boards: Mapping[str, Sequence[BoardConfig]]) -> None:
        """`boards` are those of each game, `default` first; a game without any has that one."""
        self.names = {game_key(game): game for game in games}
        self.boards = {key: boards.get(game, DEFAULT) for key, game in self.names.items()}

    def learn(self, games: Iterable[str]) -> bool:
        """Know these games, too; returns whether one of them is new."""
        new = {key: game for game in games if (key := game_key(game)) not in self.names}
        self.names.update(new)
        self.boards.update(dict.fromkeys(new, DEFAULT))
        return bool(new)
