"""`POST /api/submit-score`: from bytes to a durable answer.

Touches the intake and the progress of submissions; bytes in, bytes out, for this is the hot route.
"""

import asyncio
from typing import NamedTuple

from relay.api import answers
from relay.api.accepted import accepted
from relay.api.admission import unauthenticated
from relay.api.idempotency import idempotency_key, scope_of
from relay.api.operations import PLAYER, Answer, Call, Credential, Headers
from relay.api.prefer import Preference, preference
from relay.errors import CallerError
from relay.games import Game
from relay.group_entries import Kind, Outcome, Pending
from relay.intake import ANSWERING_S, Intake, answering_ms
from relay.players import Players
from relay.progress import Standing
from relay.rounds import ROUND_ID, Report, Round
from relay.store.encryption import UsedIv
from relay.store.intake_rows import FirstAnswer
from relay.submission import Submission, read

SUBMITTERS = frozenset({"server", "client", PLAYER})
ROUTE = "POST /api/submit-score"
RETRY_S = 0.1  # how often a retry without a key looks whether the first answer is given


class SubmitScore:
    """The endpoint."""

    def __init__(self, intake: Intake, players: Players) -> None:
        self._intake = intake
        self._players = players

    async def __call__(self, call: Call) -> Answer:
        """Answer one submission: read it, then take it."""
        credential: Credential | None = call.credential
        submission = read(call.body, self._intake.games, credential.game_id if credential else None)
        admit(submission.game, call)
        taken = await self.take(call, submission, ROUTE, _report(submission))
        if taken.first.code is not None:
            refused = answers.refused(taken.first)
            return refused._replace(headers=refused.headers + taken.headers)
        attestor = self._intake.attestor
        if attestor is None:
            raise CallerError("SIGNER_UNAVAILABLE", "The relay has no attestation key.")
        status, body = accepted(taken.first, attestor.domain)
        return Answer(status, body, headers=taken.headers)

    async def take(
        self, call: Call, submission: Submission, route: str, report: Report | None, iv: UsedIv | None = None
    ) -> "Taken":
        """Take a submission whose caller may send it; returns what is answered to it, once that is durable.

        1. find out who played, 2. decide and commit, 3. wait if asked to.

        Raises:
            FairscoreError: it was not taken: nothing of it is recorded, but for the limit's counters.
        """
        credential, game = call.credential, submission.game
        intake = self._intake
        submission = submission._replace(proof=await self._players.prove(submission, credential))
        key = idempotency_key(call.headers.get(b"idempotency-key"), submission.idempotency_key)
        scope = None if key is None else scope_of(game.id, caller(credential), route, key)
        wish = preference(call.headers.get(b"prefer"))
        pending = Pending(submission, call.request_id, scope, answering_ms(wish.wait_s), report, iv)
        outcome = await intake.submit(pending)
        while outcome.kind is Kind.IN_FLIGHT and scope is None:
            await asyncio.sleep(RETRY_S)  # a retry that carries no key cannot be told "in flight": it waits along
            outcome = await intake.submit(pending)
        if outcome.kind is Kind.ACCEPTED and wish.wait_s:
            outcome = await self._wait(outcome, wish)
        return _taken(outcome, submission, wish)

    async def _wait(self, outcome: Outcome, wish: Preference) -> Outcome:
        """Wait for the chain, then write down what will be said, so that a replay says the same."""
        first = outcome.first
        if first is None:
            return outcome
        standing = await self._watch(first.id, wish)
        settled = await self._intake.settle(first, standing or Standing("accepted", None))
        return outcome._replace(first=settled)

    async def _watch(self, submission_id: str, wish: Preference) -> Standing | None:
        """Wait for the chain, saying now and then that the answer is still coming."""
        now_s = asyncio.get_running_loop().time
        ends_s = now_s() + wish.wait_s
        while (left_s := ends_s - now_s()) > 0:
            standing = await self._intake.progress.wait(submission_id, wish.until, min(left_s, ANSWERING_S))
            if standing is not None:
                return standing
            if ends_s - now_s() > 0:
                await self._intake.still_answering(submission_id)
        return None


class Taken(NamedTuple):
    """What is answered to a submission, the headers of that, and its round as it is after it."""

    first: FirstAnswer
    headers: Headers
    round: Round | None
    replayed: bool


def _taken(outcome: Outcome, submission: Submission, wish: Preference) -> Taken:
    kind, first, decision, *_ = outcome
    limit = submission.game.submit_limit
    if kind is Kind.LIMITED and decision is not None:
        raise answers.limited(decision, limit)
    if outcome.refusal is not None:
        raise CallerError(outcome.refusal.code, outcome.refusal.detail)
    if kind is Kind.SIGNATURE_USED:
        raise answers.signature_used(outcome.used_by)
    if kind is Kind.KEY_REUSED or first is None:
        raise CallerError("IDEMPOTENCY_KEY_REUSED", "This idempotency key was used for a different request.")
    if kind is Kind.IN_FLIGHT:
        detail = "The first request with this idempotency key is still being answered."
        raise CallerError("IDEMPOTENCY_IN_FLIGHT", detail, headers={"Retry-After": "1"})
    headers: Headers = answers.limit_headers(decision, limit) if decision is not None else ()
    if kind is Kind.REPLAYED:
        headers += answers.REPLAYED
    if wish.applied:
        headers += ((b"preference-applied", wish.applied),)
    return Taken(first, headers, outcome.round, kind is Kind.REPLAYED)


def _report(submission: Submission) -> Report | None:
    """Return which round a submission reports: one that is named as ours are, or that the game requires.

    Raises:
        CallerError: ROUND_REQUIRED, ENCRYPTION_REQUIRED.
    """
    named, required = submission.external_round, submission.game.config.require_rounds
    if named is None:
        if required:
            raise CallerError("ROUND_REQUIRED", "This game takes scores of rounds only: name one in `roundId`.")
        return None
    if not required and ROUND_ID.fullmatch(named) is None:
        return None
    if submission.game.config.encryption == "required":
        detail = "This game takes the reports of its rounds encrypted only: report the round at its own address."
        raise CallerError("ENCRYPTION_REQUIRED", detail)
    return Report(named, known_only=required)


def caller(credential: Credential | None) -> str:
    """Whose idempotency keys these are: a role's of a game, or one player's."""
    if credential is None:
        return "anonymous"
    return credential.role if credential.player is None else f"{credential.role}:{credential.player.hex()}"


def admit(game: Game, call: Call) -> None:
    """Let in whoever may send scores of a game, and let pages of its origins read the answer.

    Raises:
        CallerError: NOT_AUTHENTICATED, FORBIDDEN_GAME.
    """
    if (origin := call.headers.get(b"origin")) is not None:
        call.origin_allowed = game.config.allows_origin(origin.decode("latin-1"))
    credential = call.credential
    if credential is None:
        if not game.config.anonymous_submit:
            raise unauthenticated("This game takes scores from callers with a client or server key.", presented=False)
    elif credential.game_id is not None and credential.game_id != game.id:
        raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
