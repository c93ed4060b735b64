"""`POST /api/submit-score`: from bytes to a durable answer.

Touches the intake and the progress of submissions; bytes in, bytes out, for this is the hot route.
"""

import asyncio

from relay.api import answers
from relay.api.accepted import accepted
from relay.api.asgi import forbidden_role, unauthenticated
from relay.api.idempotency import idempotency_key, scope_of
from relay.api.operations import PLAYER, Answer, Call, Credential, Headers
from relay.api.prefer import Preference, preference
from relay.errors import CallerError
from relay.games import Game
from relay.group import Kind, Outcome, Pending
from relay.intake import ANSWERING_S, Intake, answering_ms
from relay.players import Players
from relay.progress import Standing
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
        """Answer one submission.

        1. read, 2. admit the caller, 3. find out who played, 4. decide and commit, 5. wait if asked to, 6. answer.
        """
        credential: Credential | None = call.credential
        intake = self._intake
        submission = read(call.body, intake.games, credential.game_id if credential else None)
        game = submission.game
        if (origin := call.headers.get(b"origin")) is not None:
            call.origin_allowed = game.config.allows_origin(origin.decode("latin-1"))
        _admit(game, credential)
        submission = submission._replace(proof=await self._players.prove(submission, credential))
        key = idempotency_key(call.headers.get(b"idempotency-key"), submission.idempotency_key)
        scope = None if key is None else scope_of(game.id, _caller(credential), ROUTE, key)
        wish = preference(call.headers.get(b"prefer"))
        pending = Pending(submission, call.request_id, scope, answering_ms(wish.wait_s))
        outcome = await intake.submit(pending)
        while outcome.kind is Kind.IN_FLIGHT and scope is None:
            await asyncio.sleep(RETRY_S)  # a retry that carries no key cannot be told "in flight": it waits along
            outcome = await intake.submit(pending)
        if outcome.kind is Kind.ACCEPTED and wish.wait_s:
            outcome = await self._wait(outcome, wish)
        return self._answer(outcome, submission, wish)

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

    def _answer(self, outcome: Outcome, submission: Submission, wish: Preference) -> Answer:
        kind, first, decision, _ = outcome
        limit = submission.game.submit_limit
        if kind is Kind.LIMITED and decision is not None:
            raise answers.limited(decision, limit)
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
        if first.code is not None:
            refused = answers.refused(first)
            return refused._replace(headers=refused.headers + headers)
        attestor = self._intake.attestor
        if attestor is None:
            raise CallerError("SIGNER_UNAVAILABLE", "The relay has no attestation key.")
        status, body = accepted(first, attestor.domain)
        return Answer(status, body, headers=headers)


def _caller(credential: Credential | None) -> str:
    """Whose idempotency keys these are: a role's of a game, or one player's."""
    if credential is None:
        return "anonymous"
    return credential.role if credential.player is None else f"{credential.role}:{credential.player.hex()}"


def _admit(game: Game, credential: Credential | None) -> None:
    if credential is None:
        if not game.config.anonymous_submit:
            raise unauthenticated("This game takes scores from callers with a client or server key.", presented=False)
    elif credential.role not in SUBMITTERS:
        raise forbidden_role(credential.role, "client, player, server")
    elif credential.game_id is not None and credential.game_id != game.id:
        raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
