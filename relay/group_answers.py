"""What is stored of a submission and said of it: its row, its first answer, and that answer again.

Touches the store it is handed, inside the writer's transaction.
"""

from relay.group_entries import Entry, Group, Kind, Outcome
from relay.group_rounds import HELD, as_first_told
from relay.receipts import Receipt
from relay.store.intake_rows import FirstAnswer, SubmissionRow


def row_of(now_ms: int, entry: Entry, receipt: Receipt | None) -> SubmissionRow:
    """Return what is stored of a submission that was judged; `receipt`: of an accepted one."""
    submission, request_id, _, answering_ms, *_ = entry.pending
    game, refusal = submission.game, entry.refusal
    score = entry.verdict.score if entry.verdict is not None else None
    level = game.rules.ruleset.level if entry.verdict is None else entry.verdict.level
    common = (entry.evidence_hash, level, game.rules.hash, submission.claim_hash, now_ms)
    external = submission.external_round
    if receipt is None:
        code = None if entry.held else refusal.code if refusal is not None else "SCORE_NOT_COMPUTED"
        start = (entry.id, game.id, submission.player, HELD if entry.held else "rejected", score, None, external)
        return SubmissionRow(*start, *common, None, None, None, None, code, request_id, None)
    round_id, deadline, signer, signature = receipt
    start_accepted = (entry.id, game.id, submission.player, "accepted", score, round_id, external)
    until_ms = now_ms + answering_ms if answering_ms else None
    return SubmissionRow(*start_accepted, *common, now_ms, deadline, signer, signature, None, request_id, until_ms)


def first_answer(row: SubmissionRow, body: bytes) -> FirstAnswer:
    """Return what the first answer is made of."""
    return FirstAnswer(
        row.id,
        row.game_id,
        row.player,
        row.score,
        row.round_id,
        row.evidence_hash,
        row.evidence_level,
        row.rules_hash,
        row.receipt_deadline,
        row.receipt_signer,
        row.receipt_signature,
        row.code,
        row.request_id,
        row.answering_until_ms,
        HELD if row.status == HELD else None,
        None,
        None if row.code is None else body,
    )


def replay(group: Group) -> None:
    """Give first answers again: those stored, and those of the same request earlier in this group."""
    wanted = sorted({entry.replays for entry in group.entries if entry.replays is not None})
    stored = group.store.first_answers(group.connection, wanted) if wanted else {}
    expired = [
        first.id
        for first in stored.values()
        if first.answered_status is None and first.answering_until_ms and first.answering_until_ms <= group.now_ms
    ]
    if expired:  # the process that would have answered is gone: the answer is now what was committed
        group.store.settle_answers(group.connection, [(submission_id, "accepted", None) for submission_id in expired])
        for submission_id in expired:
            stored[submission_id] = stored[submission_id]._replace(answered_status="accepted")
    for entry in group.entries:
        if entry.replays is not None:
            first = stored[entry.replays]
            if entry.pending.report is not None:
                first = as_first_told(group.connection, first)
            entry.outcome = _again(first)
    for entry in group.entries:
        if entry.outcome is None and entry.sibling is not None:
            said = entry.sibling.outcome
            told = said.first if said else None
            entry.outcome = said if told is None else _again(told)


def _again(first: FirstAnswer) -> Outcome:
    waiting = first.answering_until_ms is not None and first.answered_status is None
    return Outcome(Kind.IN_FLIGHT if waiting else Kind.REPLAYED, first)
