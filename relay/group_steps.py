"""The steps of a group that are about rounds: entering them, judging their reports, and what the verdict does to them.

Touches rounds through `relay.group_rounds`, inside the writer's transaction.
"""

from collections.abc import Sequence

from relay.canonical import canonical_ascii
from relay.group_entries import Entry, Group, Kind, Outcome, Pending
from relay.group_rounds import HELD, Confirmation, GroupRounds, confirmation_document, round_document
from relay.keccak import keccak
from relay.payload import failed
from relay.rounds import CONFIRMED_LEVEL, Refuse, Repeat, Round, State
from relay.rules.verdict import Verdict
from relay.store.encryption import claim_ivs
from relay.submission import evidence


def round_of(waiting: Pending | Confirmation) -> str | None:
    """Return the round that something in a group is about."""
    if isinstance(waiting, Confirmation):
        return waiting.round_id
    return None if waiting.report is None else waiting.report.round_id


def enter_rounds(group: Group, waiting: Sequence[Pending | Confirmation]) -> dict[str, Outcome]:
    """Lock the rounds of a group, let reports in or refuse them, rule on confirmations; returns those by round."""
    ids = {named for one in waiting if (named := round_of(one)) is not None}
    if not ids:
        return {}
    group.rounds = GroupRounds(group.connection, group.now_ms, ids)
    for entry in group.open_entries():
        _enter(group, group.rounds, entry)
    _claim_ivs(group)
    return {one.round_id: _ruled(group.rounds, one) for one in waiting if isinstance(one, Confirmation)}


def _enter(group: Group, rounds: GroupRounds, entry: Entry) -> None:
    pending = entry.pending
    if pending.report is None:
        return
    found = rounds.enter(pending.report, pending.submission)
    if isinstance(found, Repeat):
        entry.replays = found.submission_id
    elif isinstance(found, Refuse):
        _refuse(group, entry, found)
    else:
        entry.round = found


def _refuse(group: Group, entry: Entry, refusal: Refuse) -> None:
    entry.outcome = Outcome(Kind.ROUND_REFUSED, refusal=refusal)
    if entry.pending.scope is not None:
        group.freed.append(entry.pending.scope)


def _claim_ivs(group: Group) -> None:
    encrypted = [(entry, iv) for entry in group.open_entries() if (iv := entry.pending.iv) is not None]
    claimed = claim_ivs(group.connection, [iv for _, iv in encrypted], group.now_ms)
    for (entry, _), fresh in zip(encrypted, claimed, strict=True):
        if not fresh:
            again = failed()
            _refuse(group, entry, Refuse(again.code, again.detail))


def _ruled(rounds: GroupRounds, confirmation: Confirmation) -> Outcome:
    ruled = rounds.rule(confirmation)
    return Outcome(Kind.RULED, refusal=ruled.refusal, round=ruled.round, revoked=ruled.revoked)


def judge_round(group: Group, entry: Entry, found: Round, verdict: Verdict) -> None:
    """Add what a report's round says about it to the verdict."""
    if group.rounds is None:
        return
    lines = group.rounds.lines(found, entry.pending.submission)
    verdict.findings += lines
    verdict.violated |= any(finding[0] for _, finding in lines)
    if found.said is not None and found.said.valid:
        verdict.level = max(verdict.level, CONFIRMED_LEVEL)


def conclude(group: Group, entry: Entry, verdict: Verdict) -> None:
    """Write the evidence of what was judged; a report's round follows, and may hold the score."""
    submission, found, extra = entry.pending.submission, entry.round, {}
    if found is not None and group.rounds is not None:
        extra["round"] = canonical_ascii(round_document(found)).decode()
        if (said := confirmation_document(found)) is not None:
            extra["confirmation"] = canonical_ascii(said).decode()
        if not submission.proof.refused:  # else nobody knows that this was the player: the round is not used up
            code = entry.refusal.code if entry.refusal is not None else "SCORE_NOT_COMPUTED"
            refusal = None if entry.accepted else code
            found = entry.round = group.rounds.reported(found, submission, entry.id, verdict, refusal)
            entry.held = found.state is State.REPORTED
            entry.accepted = found.state is State.ACCEPTED
    outcome = "accepted" if entry.accepted else HELD if entry.held else "refused"
    entry.body = evidence(submission, verdict, entry.id, group.now_ms, outcome, **extra)
    entry.evidence_hash = keccak(entry.body)
    if entry.held and found is not None and group.rounds is not None:
        group.rounds.held(found, entry.evidence_hash)
