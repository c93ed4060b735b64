"""Rounds and tournaments as they begin and end by the clock; what players and servers say comes through the intake.

Touches the database through the writer. What may happen is decided in `relay.rounds` and `relay.tournaments`.
"""

import secrets
from typing import NamedTuple

from relay import rounds, seeds
from relay.attestation import Domain
from relay.errors import CallerError
from relay.games import Game, Games
from relay.guard.flags import Flag
from relay.rounds import Round, State
from relay.store import encryption
from relay.store import rounds as round_rows
from relay.store import seeds as seed_rows
from relay.store import tournaments as rows
from relay.store.encryption import GameKey
from relay.store.engine import Database, StoreUnavailableError
from relay.store.flags import raise_flags
from relay.store.intake_rows import Connection
from relay.store.writer import Writer
from relay.tournaments import Tournament, entry

ID_BYTES = 12
# The tournament in escs' own documentation, so that its examples work as they stand there.
OPEN_TOURNAMENT = "5f0f7c60c9e95137883b55cc"
START_ACTION = "start-round"
SEEDS_EVERY_S = 600.0
EVERY_S = 1.0  # how late a deadline may be noticed when nobody looks at the round


class Start(NamedTuple):
    """Who wants to play what."""

    game: Game
    tournament_id: str | None
    player: bytes
    player_id: str
    chart: str | None


class Started(NamedTuple):
    """A round that was just started, and the key its report may be encrypted with."""

    round: Round
    key: GameKey | None


class RoundDesk:
    """Starts rounds, lets them expire, keeps tournaments."""

    def __init__(self, database: Database, writer: Writer, games: Games, domain: Domain) -> None:
        self._database, self._writer, self._games, self._domain = database, writer, games, domain

    def start(self, c: Connection, wish: Start, now_ms: int) -> Started:
        """Start a round: 1. its tournament takes it, 2. the player's other rounds, 3. its seed, 4. stored.

        Raises:
            CallerError: TOURNAMENT_UNKNOWN, TOURNAMENT_NOT_OPEN, TOURNAMENT_FULL, ATTEMPTS_EXHAUSTED,
                ROUND_WRONG_CHART.
        """
        game = wish.game
        tournament = None if wish.tournament_id is None else _entered(c, wish, wish.tournament_id, now_ms)  # 1.
        self._make_room(c, wish, now_ms)  # 2.
        made = self._round(c, wish, tournament, now_ms)  # 3.
        round_rows.insert(c, made)  # 4.
        key = None if game.config.encryption == "off" else encryption.current(c, game.id, now_ms)
        return Started(made, key)

    def _make_room(self, c: Connection, wish: Start, now_ms: int) -> None:
        game_id, player = wish.game.id, wish.player
        steps = [rounds.expire(one, now_ms) for one in round_rows.unreported(c, game_id, player)]
        still_open = [step.round for step in steps if step.round.state in rounds.UNREPORTED]
        too_many = max(0, len(still_open) + 1 - rounds.OPEN_MAX)
        crowd = [rounds.crowded_out(one, now_ms) for one in still_open[:too_many]]
        ended = [step for step in steps if step.round.state is State.EXPIRED]
        rows.carry_out(c, [*ended, *crowd], now_ms)
        if ended or crowd:
            _note_abandoned(c, wish, now_ms)

    def _round(self, c: Connection, wish: Start, tournament: Tournament | None, now_ms: int) -> Round:
        game, config = wish.game, wish.game.config
        round_id = secrets.token_hex(ID_BYTES)
        chart = wish.chart if tournament is None else tournament.chart
        if tournament is None or tournament.ends_at_ms is None:
            secret = seed_rows.ensure_days(c, game.id, now_ms)
        else:
            secret = seed_rows.ensure(c, seeds.of_tournament(tournament.id), now_ms)
        chart_hash = rounds.chart_hash(chart)
        expires = rounds.deadline_ms(now_ms, config.round_timeout_s, tournament and tournament.ends_at_ms)
        return Round(
            id=round_id,
            game_id=game.id,
            tournament_id=wish.tournament_id,
            player=wish.player,
            player_id=wish.player_id,
            chart=chart,
            chart_hash=chart_hash,
            rules_hash=game.rules.hash,
            seed=seeds.seed(secret.secret, round_id, wish.player, chart_hash),
            seed_subject=secret.subject,
            seed_commitment=secret.commitment,
            chain_id=self._domain.chain_id,
            contract=self._domain.contract,
            needs_confirmation=config.require_confirmation if tournament is None else tournament.require_confirmation,
            confirmation_timeout_s=(tournament or config).confirmation_timeout_s,
            issued_at_ms=now_ms,
            expires_at_ms=expires,
            state=State.ACTIVE,
            updated_at_ms=now_ms,
            due_at_ms=expires,
        )

    async def offer(self, game_id: str) -> str:
        """Keep a tournament of a game that anybody can play in, from the first start on; returns its id.

        Raises:
            StoreUnavailableError: the database is away.
        """
        timeout_s = self._games.by_id[game_id].config.confirmation_timeout_s

        def job(c: Connection) -> None:
            if rows.find(c, OPEN_TOURNAMENT) is None:
                now_ms = self._database.now_ms(c)
                terms = (None, None, None, False, timeout_s, None)
                rows.create(
                    c, Tournament(OPEN_TOURNAMENT, game_id, "Open tournament", now_ms, *terms, now_ms, "devnet")
                )

        await self._writer.run(job)
        return OPEN_TOURNAMENT

    async def expire(self) -> None:
        """Let every deadline that has passed take effect, and commit to tomorrow's seeds. For the scheduler."""

        def job(c: Connection) -> int:
            now_ms = self._database.now_ms(c)
            return len(rows.carry_out(c, [rounds.expire(one, now_ms) for one in round_rows.due(c, now_ms)], now_ms))

        try:
            if await self._database.read(lambda c: round_rows.any_due(c, self._database.now_ms(c))):
                while await self._writer.run(job) >= round_rows.DUE_ROWS:
                    pass
        except StoreUnavailableError:
            return  # a deadline counts from the moment it passed, whenever it is looked at

    async def commit_seeds(self) -> None:
        """Commit to the seeds of today and tomorrow, of every game. For the scheduler."""

        def job(c: Connection) -> None:
            now_ms = self._database.now_ms(c)
            for game_id in sorted(self._games.by_id):
                seed_rows.ensure_days(c, game_id, now_ms)

        try:
            await self._writer.run(job)
        except StoreUnavailableError:
            return  # it comes again, and the first round of a day commits as well


def _entered(c: Connection, wish: Start, tournament_id: str, now_ms: int) -> Tournament:
    found = rows.find(c, tournament_id)
    if found is not None:  # whoever counts waits for whoever counts; whoever calls it off, for every start
        counted = found.capacity is not None or found.attempts_max is not None
        found = rows.find(c, tournament_id, lock="alone" if counted else "shared")
    if found is None:
        raise CallerError("TOURNAMENT_UNKNOWN", "There is no tournament with this id.")
    attempts = round_rows.attempts(c, tournament_id, wish.player)
    players = 0 if found.capacity is None else round_rows.players(c, tournament_id)
    refusal = entry(found, now_ms, wish.chart, attempts=attempts, players=players, known=attempts > 0)
    if refusal is not None:
        raise CallerError(refusal.code, refusal.detail)
    return found


def _note_abandoned(c: Connection, wish: Start, now_ms: int) -> None:
    resolved, unreported = round_rows.resolved(c, wish.game.id, wish.player, rounds.ABANDON_LOOK)
    if not rounds.abandons(resolved, unreported):
        return
    player = "0x" + wish.player.hex()
    context: dict[str, object] = {"action": START_ACTION, "rounds": resolved, "unreported": unreported}
    reason = f"Rounds abandoned: {unreported} of the last {resolved} were never reported"
    flag = Flag(wish.game.id, player, START_ACTION, "ABANDON_RATIO_HIGH", "warning", reason, "player", player, context)
    raise_flags(c, [flag], now_ms)
