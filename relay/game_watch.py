"""Games that are configured while this relay runs: seen within a second, served once the contract takes their scores.

Touches the database, and the chain through what opens a game. A score of a game whose rules the contract does not know
would hold up every other on the same key, so such a game (or its newest version) waits, visibly.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from relay import continuity
from relay.chain_types import ChainError
from relay.deployment import DeployChain, DeploymentError, publish_rules, rules_active
from relay.errors import StartupError
from relay.games import Game, GameError, Games, game_from_mapping
from relay.rules.ruleset import RulesetError
from relay.signer import LocalSigner
from relay.store import games as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake import keep_document
from relay.store.writer import Writer

LOOK_S = 0.5
RETRY_S = 2.0  # between two attempts to open a game that waits

log = logging.getLogger(__name__)
OpenGame = Callable[[Game], Awaitable[str]]
"""Makes ready what a game's scores need; returns why that is not possible now, "" when the game can be served."""


class GameWatch:
    """Keeps `games` as the database configures them. `waiting` says which are not served yet (as configured) and why.

    All methods run on one event loop.
    """

    def __init__(
        self, games: Games, database: Database, open_game: OpenGame, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._games, self._database, self._open, self._clock_s = games, database, open_game, clock_s
        self._versions: dict[str, int] = {}  # of each game, as last read
        self._wanted: dict[str, Game] = {}
        self._served: dict[str, Game] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._again_s: dict[str, float] = {}
        self.waiting: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look twice a second from now on."""
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Read what changed, and begin to open what is not served as it is configured."""
        try:
            await self._read()
        except StoreUnavailableError:
            return  # what is served stays served; the next look comes soon
        for game_id, game in self._wanted.items():
            due = self._again_s.get(game_id, 0.0) <= self._clock_s()
            if self._served.get(game_id) is not game and game_id not in self._opening and due:
                self._opening[game_id] = asyncio.create_task(self._bring(game))

    async def settle(self, wait_s: float) -> None:
        """Look, and wait a while for what is being opened."""
        await self.look()
        if self._opening:
            await asyncio.wait(set(self._opening.values()), timeout=wait_s)

    async def stop(self) -> None:
        """Look no more, and open nothing more."""
        tasks = [*self._opening.values(), *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def served_as(self, game_id: str, version: int) -> bool:
        """Whether a game is served here as its `version` says."""
        game = self._served.get(game_id)
        return game is not None and game is self._wanted.get(game_id) and self._versions.get(game_id) == version

    async def _read(self) -> None:
        versions = await self._database.read(store.versions)
        changed = [one for one, version in versions.items() if self._versions.get(one) != version]
        changed = [one for one in changed if not self._games.named(one)]
        if changed:
            for row in await self._database.read(lambda c: store.read(c, changed)):
                self._take(row)

    def _take(self, row: store.GameRow) -> None:
        self._versions[row.game_id] = row.version
        self._again_s.pop(row.game_id, None)
        self.waiting.pop(row.game_id, None)
        try:
            game = Game(game_from_mapping(row.game_id, row.table))
        except (GameError, RulesetError) as wrong:  # written by another version of this program
            self.waiting[row.game_id] = str(wrong)
            self._wanted.pop(row.game_id, None)
            return
        self._wanted[row.game_id] = game
        served = self._served.get(row.game_id)
        if served is not None and served.rules.hash == game.rules.hash:
            self._serve(game)

    async def _bring(self, game: Game) -> None:
        try:
            why = await self._open(game)
        except Exception:
            log.exception("game %s could not be opened", game.id)
            why = "opening it failed: see the log"
        finally:
            self._opening.pop(game.id, None)
        if self._wanted.get(game.id) is not game:
            return  # it was configured anew meanwhile
        if why:
            if self.waiting.get(game.id) != why:
                log.warning("game %s waits: %s", game.id, why)
            self.waiting[game.id] = why
            self._again_s[game.id] = self._clock_s() + RETRY_S
        else:
            self._serve(game)

    def _serve(self, game: Game) -> None:
        self.waiting.pop(game.id, None)
        self._served[game.id] = game
        self._games.serve(self._served)


async def at_once(game: Game) -> str:  # noqa: ARG001 - every game is opened alike
    """Open a game where nothing is needed for it: in a process that takes no scores."""
    return ""


class Opening:
    """Opens a game on one contract: its rules are kept as evidence, its rounds are known, its rules are active."""

    def __init__(
        self,
        chain: DeployChain,
        contract: bytes,
        admin: LocalSigner | None,
        database: Database,
        writer: Writer,
        next_round: continuity.NextRound,
    ) -> None:
        self._chain, self._contract, self._admin = chain, contract, admin
        self._database, self._writer, self._next_round = database, writer, next_round
        self._turn = asyncio.Lock()  # the admin's account sends one transaction after the other

    async def __call__(self, game: Game) -> str:
        """Return "" when the contract takes the game's scores, else what is in the way."""
        hashed, body = game.rules.hash, game.rules.body
        try:
            await self._writer.run(lambda c: keep_document(c, self._database.dialect, hashed, body))
            await continuity.check(self._chain, self._contract, [game.id], self._next_round)
            if await rules_active(self._chain, self._contract, game.id, hashed):
                return ""
            if self._admin is None:
                return "its rules are not active on the contract: let a relay that holds the admin's key run"
            async with self._turn:
                await publish_rules(self._chain, self._admin, self._contract, game.id, body)
        except (ChainError, DeploymentError, StartupError, StoreUnavailableError) as error:
            return str(error)
        return ""
