"""Tournaments over HTTP, their standings, and the secrets of seeds when their time has come.

Touches the database through the round desk and the store.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from relay import seeds
from relay.api.idempotency import HEADER_TEXT, answer_of, claim_of, idempotency_key
from relay.api.operations import Answer, Call, Credential, Operation, Query, Response, answer
from relay.api.pages import Cursor, Limit, rfc3339, storable
from relay.api.problems import problem
from relay.api.round_documents import (
    MOMENT_MAX_MS,
    CancelRequest,
    SeedDocument,
    StandingsDocument,
    TournamentDocument,
    TournamentPage,
    TournamentRequest,
    epoch_ms,
    standing_document,
    tournament_document,
)
from relay.api.rounds import BODY_ERRORS, KEY_ERRORS, RoundParts
from relay.api.shared_reads import SharedReads
from relay.errors import CallerError, FieldError, PayloadError, WorldError
from relay.games import Game
from relay.round_desk import ID_BYTES
from relay.store import seeds as seed_rows
from relay.store import tournaments as store
from relay.store.engine import StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.kept_answers import Kept, once
from relay.tournaments import OVER, Tournament, final

ORGANISERS = frozenset({"server", "admin"})
ERRORS = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "STORE_UNAVAILABLE")
ONE = {"tournamentId": "The tournament."}


class TournamentQuery(Query, frozen=True):
    """Filters of the list."""

    game_id: str | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class StandingsQuery(Query, frozen=True):
    """A page of standings."""

    limit: Limit = 50
    cursor: Cursor | None = None


class SeedQuery(Query, frozen=True):
    """Which day (UTC) of which game."""

    game_id: str | None = None
    day: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", description="YYYY-MM-DD; today")] | None = (
        None
    )


class Tournaments:
    """The endpoints."""

    def __init__(self, parts: RoundParts) -> None:
        self._parts = parts
        self._rankings: SharedReads[StandingsDocument] = SharedReads()  # each looks at every round of a tournament

    async def create(self, call: Call) -> Answer:
        """Make a tournament; the same again finds it."""
        body: TournamentRequest = call.body
        credential: Credential = call.credential  # type: ignore[assignment]  # the operation declares roles
        game = self._game(body, credential)
        key = idempotency_key(call.headers.get(b"idempotency-key"), body.idempotency_key or None)
        claim = claim_of(credential, "POST /api/tournaments", key, msgspec.json.encode(body).decode())

        def make(c: Connection, now_ms: int) -> Kept:
            try:
                new = _tournament(body, game, credential, now_ms)
                if not body.starts_at and (known := store.find(c, new.id)) is not None:
                    new = new._replace(starts_at_ms=known.starts_at_ms)  # "now" was then
                made = store.create(c, new)
                shown = tournament_document(made, self._commit(c, made, now_ms), now_ms)
                return Kept(201 if made.created_at_ms == now_ms else 200, msgspec.json.encode(shown))
            except CallerError as refusal:
                return Kept(refusal.status, problem(refusal, call.request_id).body)

        def job(c: Connection) -> Kept:
            now_ms = self._parts.database.now_ms(c)
            return once(c, claim, now_ms, partial(make, c, now_ms))

        return answer_of(await self._write(job))

    def _commit(self, c: Connection, made: Tournament, now_ms: int) -> bytes | None:
        if made.ends_at_ms is None:
            return None
        return seed_rows.ensure(c, seeds.of_tournament(made.id), now_ms).commitment

    def _game(self, body: TournamentRequest, credential: Credential) -> Game:
        games = self._parts.games
        named = None if body.game_id is UNSET else body.game_id
        wanted = named or credential.game_id or games.default_id
        if wanted is None:
            raise CallerError("GAME_REQUIRED", "This relay serves several games: name one in `gameId`.")
        if credential.game_id not in (None, wanted):
            raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
        game = games.by_id.get(wanted)
        if game is None:
            raise CallerError("GAME_UNKNOWN", "This relay does not serve the game.")
        return game

    async def page(self, call: Call) -> Answer:
        """Return a page of tournaments."""
        query: TournamentQuery = call.query
        before = None if query.cursor is None else _place(query.cursor, int, str)

        def job(c: Connection) -> TournamentPage:
            now_ms = self._parts.database.now_ms(c)
            game_id = None if query.game_id is None else storable(query.game_id)
            rows = store.page(c, game_id, query.limit + 1, before)
            shown = [self._document(c, row, now_ms) for row in rows[: query.limit]]
            last = rows[query.limit - 1] if len(rows) > query.limit else None
            return TournamentPage(shown, None if last is None else _cursor(last.created_at_ms, last.id))

        return answer(await self._parts.read(job))

    async def one(self, call: Call) -> Answer:
        """Return a tournament."""
        wanted = call.path["tournamentId"]
        return answer(
            await self._parts.read(lambda c: self._document(c, _found(c, wanted), self._parts.database.now_ms(c)))
        )

    async def standings(self, call: Call) -> Answer:
        """Return a page of standings."""
        query: StandingsQuery = call.query
        wanted = call.path["tournamentId"]
        rank, after = 0, None
        if query.cursor is not None:
            rank, *place = _place(query.cursor, int, int, int, str)
            after = store.Place(*place)

        def job(c: Connection) -> StandingsDocument:
            found = _found(c, wanted)
            now_ms = self._parts.database.now_ms(c)
            waiting = store.unresolved(c, found.id, now_ms)
            rows = store.standings(c, found.id, query.limit + 1, after)
            shown = [standing_document(row, rank + nth) for nth, row in enumerate(rows[: query.limit], start=1)]
            more = None
            if len(rows) > query.limit:
                last = rows[query.limit - 1]
                more = _cursor(rank + query.limit, last.score, last.received_at_ms, last.submission_id)
            over = final(found, waiting, now_ms)
            return StandingsDocument(found.id, found.game_id, "final" if over else "provisional", waiting, shown, more)

        question = (wanted, query.limit, query.cursor)
        return answer(await self._rankings.ask(question, lambda: self._parts.read(job)))

    async def cancel(self, call: Call) -> Answer:
        """Call a tournament off; again changes nothing."""
        body: CancelRequest = call.body
        credential: Credential = call.credential  # type: ignore[assignment]  # the operation declares roles
        wanted = call.path["tournamentId"]

        def job(c: Connection) -> TournamentDocument:
            now_ms = self._parts.database.now_ms(c)
            found = store.find(c, storable(wanted), lock="alone") or _found(c, wanted)
            if credential.game_id not in (None, found.game_id):
                raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
            if found.phase(now_ms) not in OVER:
                found = store.cancel(c, found, storable(body.reason), credential.key_id, now_ms)
            return self._document(c, found, now_ms)

        return answer(await self._write(job))

    async def seed(self, call: Call) -> Answer:
        """Return a tournament's secret of seeds once it is over, its commitment before."""
        wanted = call.path["tournamentId"]

        def job(c: Connection) -> SeedDocument:
            found = _found(c, wanted)
            kept = seed_rows.find(c, seeds.of_tournament(found.id))
            if kept is None:
                detail = "A tournament without an end has no seeds of its own: each day has (`GET /api/rounds/seed`)."
                raise CallerError("SEED_NOT_COMMITTED", detail)
            over = found.phase(self._parts.database.now_ms(c)) in OVER
            ends = found.cancelled_at_ms or found.ends_at_ms
            return _seed(found.game_id, kept, ends, revealed=over)

        return answer(await self._parts.read(job))

    async def day_seed(self, call: Call) -> Answer:
        """Return the secret of a game's day once the day is over, its commitment before."""
        query: SeedQuery = call.query
        game_id = query.game_id or self._parts.games.default_id
        if game_id is None:
            raise CallerError("GAME_REQUIRED", "This relay serves several games: name one in `gameId`.")

        def job(c: Connection) -> SeedDocument:
            now_ms = self._parts.database.now_ms(c)
            day = seeds.day_of(now_ms) if query.day is None else _day(query.day)
            kept = seed_rows.find(c, seeds.of_day(storable(game_id), day))
            if kept is None:
                raise CallerError("SEED_NOT_COMMITTED", "Nothing was committed to for that day of the game.")
            return _seed(game_id, kept, seeds.ends_ms(day), revealed=now_ms >= seeds.ends_ms(day))

        return answer(await self._parts.read(job))

    def _document(self, c: Connection, found: Tournament, now_ms: int) -> TournamentDocument:
        kept = None if found.ends_at_ms is None else seed_rows.find(c, seeds.of_tournament(found.id))
        return tournament_document(found, None if kept is None else kept.commitment, now_ms)

    async def _write(self, job: Any) -> Any:
        try:
            return await self._parts.writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The tournament could not be stored; try again.") from None


def _tournament(body: TournamentRequest, game: Game, credential: Credential, now_ms: int) -> Tournament:
    starts = now_ms if not isinstance(body.starts_at, datetime) else epoch_ms(body.starts_at)
    ends = None if not isinstance(body.ends_at, datetime) else epoch_ms(body.ends_at)
    for pointer, at_ms in (("/startsAt", starts), ("/endsAt", ends)):
        if at_ms is not None and not 0 <= at_ms < MOMENT_MAX_MS:
            detail = "A tournament lies between 1970 and 9999."
            raise PayloadError(detail, [FieldError(pointer, "FIELD_INVALID", detail)])
    if ends is not None and ends <= starts:
        detail = "A tournament ends after it starts."
        raise PayloadError(detail, [FieldError("/endsAt", "FIELD_INVALID", detail)])
    return Tournament(
        id=body.id or secrets.token_hex(ID_BYTES),
        game_id=game.id,
        name=storable(body.name),
        starts_at_ms=starts,
        ends_at_ms=ends,
        attempts_max=body.attempts_per_player or None,
        capacity=body.capacity or None,
        require_confirmation=body.require_confirmation,
        confirmation_timeout_s=body.confirmation_timeout or game.config.confirmation_timeout_s,
        chart=body.chart or None,
        created_at_ms=now_ms,
        created_by=credential.key_id,
    )


def _found(c: Connection, tournament_id: str) -> Tournament:
    found = store.find(c, storable(tournament_id))
    if found is None:
        raise CallerError("TOURNAMENT_UNKNOWN", "There is no tournament with this id.")
    return found


def _seed(game_id: str, kept: seed_rows.SeedSecret, ends_ms: int | None, *, revealed: bool) -> SeedDocument:
    secret = "0x" + kept.secret.hex() if revealed else None
    return SeedDocument(game_id, "0x" + kept.commitment.hex(), None if ends_ms is None else rfc3339(ends_ms), secret)


def _day(text: str) -> int:
    try:
        return seeds.day_of(epoch_ms(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)))
    except ValueError:
        field = FieldError("?day", "FIELD_INVALID", "no such day")
        raise CallerError("QUERY_INVALID", "There is no such day.", fields=[field]) from None


def _cursor(*place: object) -> str:
    return urlsafe_b64encode("/".join(map(str, place)).encode()).decode().rstrip("=")


def _place(cursor: str, *kinds: type) -> Any:
    try:
        parts = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii").split("/")
        found = tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
    except ValueError:
        found = ()
    if not found or any(isinstance(part, int) and abs(part) >= 1 << 63 for part in found):
        field = FieldError("?cursor", "FIELD_INVALID", "not a cursor of this list")
        raise CallerError("QUERY_INVALID", "The cursor is not one of this list.", fields=[field])
    return found


def tournament_operations(parts: RoundParts) -> list[Operation]:
    """Return the declarations, each with and without `/api`."""
    here = Tournaments(parts)

    def operation(method: str, path: str, summary: str, endpoint: Any, **more: Any) -> Operation:
        return Operation(method, f"/api{path}", summary, endpoint, aliases=(path,), tag="Tournaments", **more)

    one, missing = "/tournaments/{tournamentId}", ("TOURNAMENT_UNKNOWN", "STORE_UNAVAILABLE")
    return [
        operation(
            "POST", "/tournaments", "Make a tournament", here.create,
            responses={201: Response(TournamentDocument, "Made."), 200: Response(TournamentDocument, "It is there.")},
            errors=("GAME_REQUIRED", "GAME_UNKNOWN", "TOURNAMENT_EXISTS", *ERRORS, *BODY_ERRORS, *KEY_ERRORS),
            roles=ORGANISERS, request=TournamentRequest, request_headers={"Idempotency-Key": HEADER_TEXT},
        ),
        operation("GET", "/tournaments", "Tournaments, newest first", here.page, responses={200: TournamentPage},
                  errors=("QUERY_INVALID", "STORE_UNAVAILABLE"), query=TournamentQuery),
        operation("GET", one, "One tournament", here.one, responses={200: TournamentDocument}, errors=missing,
                  parameters=ONE),
        operation("GET", f"{one}/standings", "Standings of a tournament", here.standings,
                  responses={200: StandingsDocument}, errors=("QUERY_INVALID", *missing), parameters=ONE,
                  query=StandingsQuery),
        operation("GET", f"{one}/seed", "Secret of a tournament's seeds, when it is over", here.seed,
                  responses={200: SeedDocument}, errors=("SEED_NOT_COMMITTED", *missing), parameters=ONE),
        operation(
            "POST", f"{one}/cancel", "Call a tournament off", here.cancel, responses={200: TournamentDocument},
            errors=("TOURNAMENT_UNKNOWN", *ERRORS, *BODY_ERRORS), roles=ORGANISERS, request=CancelRequest,
            parameters=ONE,
            description="Open rounds end at once and scores that wait for their confirmation are given up; accepted "
                        "scores stay. A tournament that is over stays as it is.",
        ),
        operation("GET", "/rounds/seed", "Secret of a day's seeds, when the day is over", here.day_seed,
                  responses={200: SeedDocument},
                  errors=("QUERY_INVALID", "GAME_REQUIRED", "SEED_NOT_COMMITTED", "STORE_UNAVAILABLE"),
                  query=SeedQuery),
    ]  # fmt: skip
