"""Rounds over HTTP: start, report, the game server's confirmation, and a look at one.

Touches the intake (reports and confirmations) and the database through the round desk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from relay import payload, round_reports
from relay.api import answers
from relay.api.accepted import document
from relay.api.idempotency import HEADER_TEXT, answer_of, claim_of, idempotency_key
from relay.api.operations import Answer, Call, Credential, Operation, Response, answer
from relay.api.pages import storable
from relay.api.problems import problem
from relay.api.revocations import Revocations
from relay.api.round_documents import (
    ConfirmationRequest,
    FreeStartRequest,
    ReportedRound,
    RoundDocument,
    Scored,
    StartRequest,
    round_document,
)
from relay.api.submit import SUBMITTERS, SubmitScore, Taken, admit, caller
from relay.errors import CallerError, FieldError, PayloadError, WorldError
from relay.games import Game, Games
from relay.group_rounds import HELD, Confirmation
from relay.intake import Intake
from relay.round_desk import RoundDesk, Start, Started
from relay.rounds import Report, Round, Said, as_reported, expire, player_address
from relay.rules.registry import RULESETS
from relay.store import encryption, queries
from relay.store import rounds as round_rows
from relay.store import tournaments as tournament_rows
from relay.store.encryption import UsedIv
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.kept_answers import Claim, Kept, once
from relay.store.writer import Writer
from relay.submission import ADDRESS, BODY_MAX_REPLAY, read_address

T = TypeVar("T")

CONFIRMERS = frozenset({"server"})
SECRET_HEADER = b"escs-game-secret-key"
CALLER_ERRORS = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "FORBIDDEN_PLAYER", "GAME_UNKNOWN")
BODY_ERRORS = ("PAYLOAD_MALFORMED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED")
KEY_ERRORS = ("IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REUSED")
PATHS = {"tournamentId": "The tournament.", "roundId": "`_id` of the round, as its start answered it."}


@dataclass(frozen=True)
class RoundParts:
    """What the operations work with."""

    intake: Intake
    submit: SubmitScore
    database: Database
    writer: Writer
    revocations: Revocations
    desk: RoundDesk

    @property
    def games(self) -> Games:
        """The games, as of now."""
        return self.intake.games

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Read from the database.

        Raises:
            WorldError: STORE_UNAVAILABLE.
        """
        try:
            return await self.database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The database cannot be read now; try again.") from None


class Rounds:
    """The endpoints, in a tournament or outside of one."""

    def __init__(self, parts: RoundParts) -> None:
        self._parts = parts

    async def start(self, call: Call) -> Answer:
        """Start a round: 1. whose and of which game, 2. admit the caller, 3. start it or replay, in one commit."""
        body: StartRequest = call.body
        tournament_id = call.path.get("tournamentId")
        game = await self._game(call, tournament_id)  # 1.
        admit(game, call)  # 2.
        player, player_id = _player(body, game, call.credential)
        chart = None if body.chart_id is UNSET else body.chart_id
        wish = Start(game, tournament_id, player, player_id, chart)
        key = idempotency_key(call.headers.get(b"idempotency-key"), body.idempotency_key or None)
        who = Credential("", caller(call.credential), game.id)
        route = f"POST /api/tournaments/{tournament_id}/rounds" if tournament_id else "POST /api/rounds"
        claim = claim_of(who, route, key, player.hex(), player_id, chart or "")
        return answer_of(await self._started(call, claim, wish))  # 3.

    async def _started(self, call: Call, claim: Claim | None, wish: Start) -> Kept:
        parts = self._parts

        def make(c: Connection, now_ms: int) -> Kept:
            try:
                return Kept(201, _started_body(parts.desk.start(c, wish, now_ms)))
            except CallerError as refusal:  # kept as well: a refusal is an answer
                return Kept(refusal.status, problem(refusal, call.request_id).body)

        def job(c: Connection) -> Kept | CallerError:
            now_ms = parts.database.now_ms(c)
            try:
                return once(c, claim, now_ms, partial(make, c, now_ms))
            except CallerError as reused:  # raised here, it would undo what others write in the same transaction
                return reused

        try:
            kept = await parts.writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The round could not be stored; try again.") from None
        if isinstance(kept, CallerError):
            raise kept
        return kept

    async def _game(self, call: Call, tournament_id: str | None) -> Game:
        games = self._parts.games
        if tournament_id is not None:
            found = await self._parts.read(lambda c: tournament_rows.find(c, storable(tournament_id)))
            if found is None:
                raise CallerError("TOURNAMENT_UNKNOWN", "There is no tournament with this id.")
            wanted: str | None = found.game_id
        else:
            named = call.body.game_id
            of_key = call.credential.game_id if call.credential is not None else None
            wanted = (None if named is UNSET else named) or of_key or games.default_id
        if wanted is None:
            raise CallerError("GAME_REQUIRED", "This relay serves several games: name one in `gameId`.")
        return _served(games, wanted)

    async def end(self, call: Call) -> Answer:
        """Take a report: 1. its round, 2. admit the caller, 3. open and read it, 4. decide as on every submission."""
        found = await self._found(call)  # 1.
        game = _served(self._parts.games, found.game_id)
        admit(game, call)  # 2.
        body, used = await self._opened(call.body, game, found)  # 3.
        submission, chart = round_reports.read(body, game, found)
        report = Report(found.id, found.tournament_id, chart, known_only=True)
        taken = await self._parts.submit.take(call, submission, f"POST /api/rounds/{found.id}/end", report, used)  # 4.
        if taken.first.code is not None:
            refused = answers.refused(taken.first)
            return refused._replace(headers=refused.headers + taken.headers)
        return answer(await self._reported(taken, found), headers=taken.headers)

    async def _opened(self, body: bytes, game: Game, found: Round) -> tuple[bytes, UsedIv | None]:
        """Return a report in plain, and the IV it used up if it was encrypted."""
        sealed = round_reports.sealed(body)
        wanted = game.config.encryption
        if sealed is None:
            if wanted == "required":
                raise CallerError("ENCRYPTION_REQUIRED", "This game takes encrypted reports only.")
            return body, None
        key_id = storable(sealed.key_id)
        secret = None
        if wanted != "off":
            secret = await self._parts.read(lambda c: encryption.secret(c, game.id, key_id))
        if secret is None:
            raise payload.failed()
        plain = payload.decrypt(secret, found.id, sealed.encrypted)
        iv, _, digest = payload.envelope(sealed.encrypted)
        return plain, UsedIv(key_id, iv, digest)

    async def _reported(self, taken: Taken, before: Round) -> ReportedRound:
        """Return the answer to a report, the same again whenever it is asked for: as the report left the round."""
        attestor, first = self._parts.intake.attestor, taken.first
        if attestor is None:
            raise CallerError("SIGNER_UNAVAILABLE", "The relay has no attestation key.")
        after = taken.round or await self._parts.read(lambda c: round_rows.find(c, before.id)) or before
        said = document(first, attestor.domain)
        scored = Scored(str(said["status"]), first.score, first.evidence_level)
        shown = as_reported(after, held=first.answered_status == HELD)
        fields = msgspec.structs.asdict(round_document(shown, scored))
        return ReportedRound(**fields, success=True, validated=True, message=str(said["message"]), submission=said)

    async def confirm(self, call: Call) -> Answer:
        """Take the game server's word; the same again changes nothing."""
        body: ConfirmationRequest = call.body
        credential: Credential = call.credential  # type: ignore[assignment]  # the operation declares roles
        tournament_id, round_id = call.path.get("tournamentId"), storable(call.path["roundId"])
        said = _said(body)
        confirmation = Confirmation(
            round_id, tournament_id, said, credential.key_id, credential.game_id, call.request_id
        )
        outcome = await self._parts.intake.submit(confirmation)
        if outcome.refusal is not None or outcome.round is None:
            refusal = outcome.refusal
            raise (
                CallerError(refusal.code, refusal.detail) if refusal else CallerError("ROUND_UNKNOWN", "No such round.")
            )
        if outcome.revoked is not None:
            self._parts.revocations.tell(outcome.revoked)
        return answer(await self._shown(outcome.round))

    async def one(self, call: Call) -> Answer:
        """Return a round, for whoever knows its id."""
        return answer(await self._shown(await self._found(call)))

    async def _found(self, call: Call) -> Round:
        round_id, tournament_id = call.path["roundId"], call.path.get("tournamentId")
        found = await self._parts.read(lambda c: self._now(c, round_id))
        if found is None or tournament_id not in (None, found.tournament_id):
            raise CallerError("ROUND_UNKNOWN", "There is no round with this id.")
        return found

    def _now(self, c: Connection, round_id: str) -> Round | None:
        """Return a round as it is now: a deadline that has passed counts, though nobody wrote it down yet."""
        found = round_rows.find(c, storable(round_id))
        return None if found is None else expire(found, self._parts.database.now_ms(c)).round

    async def _shown(self, found: Round) -> RoundDocument:
        submission_id = found.submission_id
        if submission_id is None:
            return round_document(found, None)
        row = await self._parts.read(lambda c: queries.scored(c, submission_id))
        return round_document(found, None if row is None else Scored(*row))


def _started_body(started: Started) -> bytes:
    found, key = started
    shown = round_document(found, None)
    if key is not None:
        sealing = {"encryption_key_id": key.id, "encryption_key": payload.shown_key(key.secret, found.id)}
        shown = msgspec.structs.replace(shown, **sealing)
    return msgspec.json.encode(shown)


def _served(games: Games, game_id: str) -> Game:
    game = games.by_id.get(game_id)
    if game is None:
        raise CallerError("GAME_UNKNOWN", "This relay does not serve the game.")
    return game


def _player(body: StartRequest, game: Game, credential: Credential | None) -> tuple[bytes, str]:
    """Return whose round it is: their address, and how the client named them."""
    session = None if credential is None else credential.player
    named, address = body.player_id, body.player_address
    if named is not UNSET and address is not UNSET:
        raise _field("/playerId", "A round is started for `playerId` or for `playerAddress`, not for both.")
    if address is not UNSET:
        player, shown = read_address(address, "/playerAddress"), address
    elif named is not UNSET:
        is_address = ADDRESS.fullmatch(named) is not None
        player = read_address(named, "/playerId") if is_address else player_address(game.id, named)
        shown = named
    elif session is not None:
        player, shown = session, "0x" + session.hex()
    else:
        raise _field("/playerId", "Name the player: `playerId` or `playerAddress`.", "FIELD_REQUIRED")
    if session not in (None, player):
        raise CallerError("FORBIDDEN_PLAYER", "The session is another player's: it acts for its own address only.")
    if game.config.identity == "required" and session is None and (credential is None or credential.role != "server"):
        # Else anybody could use up a player's attempts, and end the rounds that the player has open.
        detail = "This game starts rounds for signed-in players: present a session's token (`POST /api/sessions`)."
        raise CallerError("SIGNATURE_REQUIRED", detail)
    return player, shown


def _said(body: ConfirmationRequest) -> Said:
    if not body.is_valid:
        return Said(valid=False)
    if body.score is UNSET or body.score is None:
        raise _field("/score", "A valid round is confirmed with its `score`.", "FIELD_REQUIRED")
    return Said(valid=True, score=body.score)


def _field(pointer: str, detail: str, code: str = "FIELD_INVALID") -> PayloadError:
    return PayloadError(detail, [FieldError(pointer, code, detail)])


def round_operations(parts: RoundParts) -> list[Operation]:
    """Return the declarations: each route in a tournament and outside of one, with and without `/api`."""
    rounds = Rounds(parts)
    return [one for base in ("/tournaments/{tournamentId}/rounds", "/rounds") for one in _operations(rounds, base)]


START_ERRORS = (
    "TOURNAMENT_UNKNOWN", "TOURNAMENT_NOT_OPEN", "TOURNAMENT_FULL", "ATTEMPTS_EXHAUSTED", "ROUND_WRONG_CHART",
)  # fmt: skip
END_ERRORS = (
    "PAYLOAD_DECRYPT_FAILED", "ENCRYPTION_REQUIRED", "ROUND_UNKNOWN", "ROUND_WRONG_PLAYER", "ROUND_WRONG_CHART",
    "ROUND_WRONG_RULES", "ROUND_ALREADY_USED", "ROUND_EXPIRED", "ROUND_INVALIDATED", "SIGNATURE_USED",
    "IDEMPOTENCY_IN_FLIGHT", "RATE_LIMITED", "STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE", "SCORE_MISMATCH",
    "TIMING_IMPLAUSIBLE", "BACKEND_SCORE_MISMATCH",
)  # fmt: skip
CONFIRM_ERRORS = (
    "NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "ROUND_UNKNOWN", "ROUND_EXPIRED", "ROUND_INVALIDATED",
    "CONFIRMATION_CONTRADICTS", "STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE",
)  # fmt: skip
END_TEXT = (
    "The body is the play itself; or `{scoreData, signature?, deadline?, chartId?}` with the play in `scoreData`; or "
    "either encrypted, `{encrypted, keyId}`. The same report again hears the first answer; another is refused."
)
PREFER_TEXT = "`respond-async`: answer at once; `wait=N`: wait up to N (at most 30) seconds for inclusion."


def _operations(rounds: Rounds, base: str) -> list[Operation]:
    inside = "tournamentId" in base
    names = {name: text for name, text in PATHS.items() if inside or name == "roundId"}
    of_start = {name: text for name, text in names.items() if name != "roundId"}
    where = "in a tournament" if inside else "outside of tournaments"
    claim: Any = next(iter(RULESETS.values())).claim

    def operation(method: str, path: str, summary: str, endpoint: Any, **more: Any) -> Operation:
        summary = f"{summary} {where}"
        return Operation(
            method, f"/api{base}{path}", summary, endpoint, aliases=(f"{base}{path}",), tag="Rounds", **more
        )

    return [
        operation(
            "POST", "", "Start a round", rounds.start,
            responses={201: Response(RoundDocument, "Started: to be reported by `expiresAt`.")},
            errors=("PLAYER_INVALID", "SIGNATURE_REQUIRED", "STORE_UNAVAILABLE", *BODY_ERRORS, *CALLER_ERRORS,
                    *KEY_ERRORS, *(START_ERRORS if inside else ("GAME_REQUIRED",))),
            roles=SUBMITTERS, guests=True,
            request=StartRequest if inside else FreeStartRequest, parameters=of_start,
            request_headers={"Idempotency-Key": HEADER_TEXT},
        ),
        operation(
            "POST", "/{roundId}/end", "Report a round", rounds.end,
            responses={200: Response(ReportedRound, "Judged: accepted, or held until the game's server confirms it.")},
            errors=(*END_ERRORS, *BODY_ERRORS, *CALLER_ERRORS, *KEY_ERRORS),
            roles=SUBMITTERS, guests=True,
            request=claim, raw_body=True, body_max=2 * BODY_MAX_REPLAY, parameters=names, description=END_TEXT,
            request_headers={"Idempotency-Key": HEADER_TEXT, "Prefer": PREFER_TEXT},
        ),
        operation(
            "PUT", "/{roundId}/game-server-confirmation", "Confirm or invalidate a round", rounds.confirm,
            responses={200: Response(RoundDocument, "Taken; the same confirmation again changes nothing.")},
            errors=(*CONFIRM_ERRORS, *BODY_ERRORS),
            roles=CONFIRMERS, secret_header=SECRET_HEADER, request=ConfirmationRequest, parameters=names,
            request_headers={SECRET_HEADER.decode(): "A server key, instead of `Authorization`."},
            description="Before the report or after it. Another score than reported, or `isValid: false`, invalidates "
                        "the round; a score that was accepted is revoked.",
        ),
        operation(
            "GET", "/{roundId}", "One round", rounds.one, responses={200: RoundDocument},
            errors=("ROUND_UNKNOWN", "STORE_UNAVAILABLE"), parameters=names,
        ),
    ]  # fmt: skip
