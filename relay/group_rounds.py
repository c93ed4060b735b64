"""The rounds of one group: reports and confirmations that go through its transaction, and what they do to submissions.

Touches rounds and submissions through the store, inside the writer's transaction. What may happen is decided in
`relay.rounds`. A group holds at most one report or confirmation of a round: the intake leaves others to the next.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from relay import rounds
from relay.canonical import canonical
from relay.errors import CallerError
from relay.guard.rounds import Lines, clock_lines, clocks_of, confirmed_lines
from relay.keccak import keccak
from relay.receipts import Acceptance, Receipt
from relay.revocation import Action
from relay.rounds import Effect, Refuse, Repeat, Report, Round, Said, Step
from relay.rules.verdict import Verdict
from relay.store import held, revocations
from relay.store import rounds as store
from relay.store.intake_rows import Connection, FirstAnswer
from relay.submission import Submission

EVIDENCE_TYPE = "fairscore-confirmation@1"
HELD = "held"


class Confirmation(NamedTuple):
    """A game server's word, waiting for its group. `game_id`: the game its key belongs to, None: every game."""

    round_id: str
    tournament_id: str | None
    said: Said
    by: str  # id of the API key
    game_id: str | None
    request_id: str


class Ruled(NamedTuple):
    """What became of a confirmation: the round as it is now, or why not; `revoked`: an order to take the score back."""

    round: Round | None = None
    refusal: Refuse | None = None
    changed: bool = False
    revoked: revocations.Shown | None = None


class _Upheld(NamedTuple):
    """A held score that is accepted now, under its new evidence."""

    submission: held.Judged
    body: bytes
    body_hash: bytes
    level: int


class GroupRounds:
    """The rounds of one group, locked. Deadlines that have passed count as soon as they are looked at."""

    def __init__(self, c: Connection, now_ms: int, ids: Collection[str]) -> None:
        self._c, self._now_ms = c, now_ms
        self._changed: dict[str, Round] = {}
        self._rejected: list[tuple[str, str]] = []
        self._upheld: list[_Upheld] = []
        self._by_id = store.lock(c, ids)
        for found in list(self._by_id.values()):
            self._take(rounds.expire(found, now_ms))

    def _take(self, step: Step) -> None:
        after, effect = step
        if self._by_id[after.id] is not after:
            self._by_id[after.id] = self._changed[after.id] = after
        if effect is Effect.REJECT and after.submission_id is not None:
            self._rejected.append((after.submission_id, after.reason or ""))

    # ------------------------------------------------------------------ reports

    def enter(self, report: Report, submission: Submission) -> Round | Refuse | Repeat | None:
        """Return the round that may be reported now; None where the report only names a round of another system."""
        found = self._by_id.get(report.round_id)
        if found is None or found.game_id != submission.game.id:
            if not report.known_only:
                return None
            return Refuse("ROUND_UNKNOWN", "No round of this game has this id.")
        rules_hash = submission.game.rules.hash
        return rounds.enter(found, report, submission.player, submission.claim_hash, rules_hash) or found

    def lines(self, found: Round, submission: Submission) -> Lines:
        """Return the lines of the verdict that speak of the round."""
        clocks = clocks_of(submission.claim, self._now_ms - found.issued_at_ms)
        lines = clock_lines(clocks, submission.game.round_modes)
        if found.said is not None and found.said.score is not None:
            lines += confirmed_lines(claimed_score(submission), found.said.score)
        return lines

    def reported(
        self, found: Round, submission: Submission, submission_id: str, verdict: Verdict, refusal: str | None
    ) -> Round:
        """Return the round after its report was judged."""
        score = claimed_score(submission)
        after = rounds.report(found, submission_id, submission.claim_hash, score, refusal, self._now_ms)
        if after.state is rounds.State.REPORTED:
            after = replace(after, first_level=verdict.level)
        self._take(Step(after))
        return after

    def held(self, found: Round, evidence_hash: bytes) -> None:
        """Note what the first answer to a held score names."""
        self._take(Step(replace(self._by_id[found.id], first_evidence=evidence_hash)))

    # ------------------------------------------------------------ confirmations

    def rule(self, confirmation: Confirmation) -> Ruled:
        """Carry out a confirmation, but for what needs a signature: that is in `upheld`."""
        found = self._by_id.get(confirmation.round_id)
        if found is None or confirmation.tournament_id not in (None, found.tournament_id):
            return Ruled(refusal=Refuse("ROUND_UNKNOWN", "No round has this id."))
        if confirmation.game_id not in (None, found.game_id):
            return Ruled(refusal=Refuse("FORBIDDEN_GAME", "The key belongs to another game."))
        ruling = rounds.confirm(found, confirmation.said, confirmation.by, self._now_ms)
        if isinstance(ruling, Refuse):
            return Ruled(refusal=ruling)
        if ruling.round is found:
            return Ruled(found)
        self._take(ruling)
        shown = None
        if ruling.effect is Effect.REVOKE:
            shown = self._revoke(ruling.round, confirmation)
        elif ruling.effect is Effect.ACCEPT:
            self._uphold(ruling.round)
        elif ruling.effect is Effect.RAISE:
            self._raise(ruling.round)
        return Ruled(self._by_id[found.id], changed=True, revoked=shown)

    def _revoke(self, after: Round, confirmation: Confirmation) -> revocations.Shown | None:
        reason = f"{after.reason}: the game's server did not confirm the score of round {after.id}"
        wish = revocations.Request(after.submission_id or "", Action.REVOKE, reason, confirmation.by)
        try:
            return revocations.ask(self._c, wish, self._now_ms)
        except CallerError:  # it was taken back, or never counted: the round is invalidated all the same
            return None

    def _uphold(self, after: Round) -> None:
        found = held.judged(self._c, after.submission_id or "")
        level = max(found.evidence_level, rounds.CONFIRMED_LEVEL)
        document = {
            **_document(found.evidence),
            "confirmation": confirmation_document(after),
            "evidenceLevel": level,
            "outcome": "accepted",
        }
        body = canonical(document)
        self._upheld.append(_Upheld(found, body, keccak(body), level))

    def _raise(self, after: Round) -> None:
        found = held.judged(self._c, after.submission_id or "")
        named = keccak(found.evidence)
        body = canonical(
            {
                "confirmation": confirmation_document(after),
                "evidenceHash": "0x" + named.hex(),
                "gameId": after.game_id,
                "roundId": after.id,
                "submissionId": found.id,
                "type": EVIDENCE_TYPE,
            }
        )
        level = max(found.evidence_level, rounds.CONFIRMED_LEVEL)
        held.raise_level(self._c, found.id, level, keccak(body), body)
        told = replace(after, first_evidence=named, first_level=found.evidence_level)
        self._take(Step(replace(told, confirmation_hash=keccak(body))))

    # ----------------------------------------------------------------- the end

    def upheld(self) -> list[Acceptance]:
        """Return the held scores that are accepted now, to be numbered and signed."""
        return [
            Acceptance(one.submission.game_id, one.submission.rules_hash, one.submission.player, one.submission.score,
                       one.body_hash)
            for one in self._upheld
        ]  # fmt: skip

    def write(self, receipts: Sequence[Receipt]) -> None:
        """Write all down; `receipts` are those of `upheld`, in its order."""
        for one, receipt in zip(self._upheld, receipts, strict=True):
            held.accept(self._c, one.submission, receipt, one.body_hash, one.body, one.level, self._now_ms)
        held.reject(self._c, self._rejected, self._now_ms)
        store.save(self._c, list(self._changed.values()))


def claimed_score(submission: Submission) -> int:
    """Return the score as the client reports it: that is what a game server confirms."""
    score: Any = getattr(submission.claim, "score", 0)  # every ruleset's claim has one
    return int(score)


def confirmation_document(found: Round) -> dict[str, object] | None:
    """Return what evidence says of a round's confirmation; None without one that is valid."""
    if found.said is None or not found.said.valid:
        return None
    return {"at": found.said_at_ms, "by": found.said_by, "score": found.said.score}


def round_document(found: Round) -> dict[str, object]:
    """Return what evidence says of a round: who may play what, since when, with which seed."""
    return {
        "chainId": found.chain_id,
        "chartHash": "0x" + found.chart_hash.hex(),
        "contract": "0x" + found.contract.hex(),
        "id": found.id,
        "issuedAt": found.issued_at_ms,
        "playerId": found.player_id,
        "seed": "0x" + found.seed.hex(),
        "seedCommitment": "0x" + found.seed_commitment.hex(),
        "tournamentId": found.tournament_id,
    }


def as_first_told(c: Connection, first: FirstAnswer) -> FirstAnswer:
    """Return a first answer as it was given before its round's confirmation changed the submission."""
    named = store.first_answers(c, [first.id]).get(first.id)
    if named is None:
        return first
    told = first._replace(evidence_hash=named.evidence_hash, evidence_level=named.level)
    if first.answered_status == HELD:
        told = told._replace(
            round_id=None, receipt_deadline=None, receipt_signer=None, receipt_signature=None, code=None
        )
    return told


def _document(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(body)
    return found
