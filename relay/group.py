"""The journey of one group of submissions through one transaction, steps numbered.

Touches the database through the `IntakeStore` it is handed, inside the writer's transaction. Nothing else remembers
what happens here, so a group that was rolled back can simply be run again.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from relay.attestation import Domain, score_batch_digest
from relay.contract import Record, game_key, pack_record
from relay.games import SUBMIT_ACTION, Game
from relay.guard import limits
from relay.guard.flags import Flag, of_limit, of_verdict
from relay.ids import new_ids
from relay.keccak import keccak
from relay.rules.ruleset import Context
from relay.rules.verdict import Verdict
from relay.store.flags import raise_flags
from relay.store.intake_rows import Connection, FirstAnswer, IntakeStore, KeyRow, SubmissionRow, WindowRow
from relay.submission import Submission, evidence

DUPLICATE_MS = 60_000
HISTORY_LENGTH = 50


class Pending(NamedTuple):
    """One submission waiting for its group."""

    submission: Submission
    request_id: str
    scope: bytes | None  # of its idempotency key
    answering_ms: int  # how long its answer may wait for the chain; 0: answered at once


class Kind(StrEnum):
    """What became of a submission."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LIMITED = "limited"
    REPLAYED = "replayed"  # answered before: the first answer again
    IN_FLIGHT = "in_flight"  # accepted before, its answer still waits for the chain
    KEY_REUSED = "key_reused"


class Outcome(NamedTuple):
    """What is answered to one submission."""

    kind: Kind
    first: FirstAnswer | None = None
    limit: limits.Decision | None = None


class Signer(Protocol):
    """Signs digests with the attestation key."""

    address: bytes

    def sign(self, digest: bytes) -> bytes:
        """Return the 65-byte signature of a 32-byte digest."""


@dataclass(frozen=True, slots=True)
class Attestor:
    """Signs what was computed: a batch of one score, valid on one contract until a deadline."""

    signer: Signer
    domain: Domain
    receipt_s: int  # how long a receipt can be carried to the chain

    def sign(self, game: Game, record: Record, deadline: int) -> bytes:
        """Return the signature over `record` (EIP-712 ScoreBatch)."""
        digest = score_batch_digest(self.domain, game_key(game.id), game.rules.hash, deadline, pack_record(record))
        return self.signer.sign(digest)


@dataclass(slots=True)
class _Entry:
    """One submission on its way through the steps."""

    pending: Pending
    id: str
    outcome: Outcome | None = None
    replays: str | None = None  # the id of the submission whose answer is given again
    sibling: "_Entry | None" = None  # the same request, earlier in this group
    decision: limits.Decision | None = None
    verdict: Verdict | None = None
    body: bytes = b""
    evidence_hash: bytes = b""
    row: SubmissionRow | None = None


@dataclass(slots=True)
class _Group:
    connection: Connection
    store: IntakeStore
    now_ms: int
    entries: list[_Entry]
    flags: list[Flag] = field(default_factory=list)

    def open_entries(self) -> list[_Entry]:
        """Those no step has settled yet."""
        return [e for e in self.entries if e.outcome is None and e.replays is None and e.sibling is None]


def process(
    connection: Connection, store: IntakeStore, attestor: Attestor, pendings: Sequence[Pending]
) -> list[Outcome]:
    """Take `pendings` through all steps; returns their outcomes in order, true once the transaction is committed."""
    now_ms = store.now_ms(connection)
    ids = new_ids("sub_", now_ms, len(pendings))
    group = _Group(connection, store, now_ms, [_Entry(p, i) for p, i in zip(pendings, ids, strict=True)])
    if any(pending.scope is not None for pending in pendings):
        _claim_keys(group)  # 1. idempotency, before limits: a retry never costs quota
    by_game: dict[str, list[_Entry]] = {}
    for entry in group.open_entries():
        by_game.setdefault(entry.pending.submission.game.id, []).append(entry)
    judged: list[tuple[Game, list[_Entry]]] = []
    for game_id in sorted(by_game):
        game = by_game[game_id][0].pending.submission.game
        admitted = _admit(group, game, by_game[game_id])  # 2. lock, 3. duplicates, 4. limits
        if admitted:
            _judge(group, game, admitted)  # 5. player history, rules, evidence
            judged.append((game, admitted))
    for game, entries in judged:
        _attest(group, game, entries, attestor)  # 6. serials, late because they are locked until the commit; signatures
    _write(group, [entry for _, entries in judged for entry in entries])  # 7. everything, in bulk
    _replay(group)  # 8. first answers again
    return [entry.outcome for entry in group.entries if entry.outcome is not None]


def _claim_keys(group: _Group) -> None:
    first_by_scope: dict[bytes, _Entry] = {}
    for entry in group.entries:
        scope = entry.pending.scope
        if scope is None:
            continue
        first = first_by_scope.setdefault(scope, entry)
        if first is not entry:
            entry.sibling = first
            if first.pending.submission.claim_hash != entry.pending.submission.claim_hash:
                entry.outcome = Outcome(Kind.KEY_REUSED)
    keys = [KeyRow(scope, e.pending.submission.claim_hash, e.id) for scope, e in sorted(first_by_scope.items())]
    taken = group.store.claim_keys(group.connection, keys, group.now_ms)
    for entry in group.entries:
        before = taken.get(entry.pending.scope or b"")
        if before is None:
            continue
        entry.sibling = None
        if before.claim_hash == entry.pending.submission.claim_hash:
            entry.replays, entry.outcome = before.submission_id, None
        else:
            entry.outcome = Outcome(Kind.KEY_REUSED)


def _admit(group: _Group, game: Game, entries: list[_Entry]) -> list[_Entry]:
    """Settle duplicates and what is above the limit; returns the rest. The windows' locks cover all of it."""
    store, connection, now_ms = group.store, group.connection, group.now_ms
    players = sorted({entry.pending.submission.player for entry in entries})
    rows = store.lock_windows(connection, game.id, SUBMIT_ACTION, players)
    _find_duplicates(group, entries)
    windows: dict[bytes, limits.Window] = {}
    admitted: list[_Entry] = []
    for entry in entries:
        if entry.replays is not None or entry.sibling is not None:
            continue
        player = entry.pending.submission.player
        window = windows.get(player)
        if window is None:
            window = windows[player] = limits.unpack(rows[player].admitted, rows[player].refused)
        decision = entry.decision = limits.attempt(window, now_ms, game.submit_limit)
        if decision.admit:
            admitted.append(entry)
        else:
            entry.outcome = Outcome(Kind.LIMITED, None, decision)
            text = entry.pending.submission.player_text
            group.flags.append(of_limit(game.id, text, SUBMIT_ACTION, decision.attempts, game.submit_limit))
    if windows:
        packed = [WindowRow(p, w.admitted.tobytes(), w.refused.tobytes()) for p, w in windows.items()]
        store.save_windows(connection, game.id, SUBMIT_ACTION, packed, now_ms)
    refused = [e.pending.scope for e in entries if e.pending.scope and e.outcome and e.outcome.kind is Kind.LIMITED]
    if refused:
        store.release_keys(connection, refused)
    return admitted


def _find_duplicates(group: _Group, entries: list[_Entry]) -> None:
    """Without an idempotency key, the same player's identical evidence within 60 s is a retry."""
    keyless = [entry for entry in entries if entry.pending.scope is None]
    if not keyless:
        return
    hashes = [entry.pending.submission.claim_hash for entry in keyless]
    recent = group.store.recent_claims(group.connection, hashes, group.now_ms - DUPLICATE_MS)
    first_by_claim: dict[bytes, _Entry] = {}
    for entry, claim_hash in zip(keyless, hashes, strict=True):
        entry.replays = recent.get(claim_hash)
        if entry.replays is None:
            first = first_by_claim.setdefault(claim_hash, entry)
            entry.sibling = first if first is not entry else None


def _judge(group: _Group, game: Game, entries: list[_Entry]) -> None:
    players = {entry.pending.submission.player for entry in entries}
    stored = group.store.player_scores(group.connection, game.id, sorted(players))
    scores = {player: array("q", stored.get(player, b"")) for player in players}
    changed: dict[bytes, bytes] = {}
    for entry in entries:
        submission = entry.pending.submission
        player = submission.player
        past = scores[player]
        verdict = entry.verdict = game.rules.judge(submission.claim, Context(player, past, submission.signed))
        accepted = verdict.refusal is None and verdict.score is not None
        outcome = "accepted" if accepted else "refused"
        entry.body = evidence(submission, verdict, entry.id, group.now_ms, outcome)
        entry.evidence_hash = keccak(entry.body)
        if accepted and verdict.score is not None:
            past.append(verdict.score)
            del past[:-HISTORY_LENGTH]
            changed[player] = past.tobytes()
        group.flags += of_verdict(game.id, submission.player_text, SUBMIT_ACTION, entry.id, verdict)
    if changed:
        group.store.save_player_scores(group.connection, game.id, dict(sorted(changed.items())))


def _attest(group: _Group, game: Game, entries: list[_Entry], attestor: Attestor) -> None:
    accepted = [e for e in entries if e.verdict and e.verdict.refusal is None and e.verdict.score is not None]
    serial = group.store.take_serials(group.connection, game.id, len(accepted)) if accepted else 0
    deadline = group.now_ms // 1000 + attestor.receipt_s
    signer = attestor.signer.address
    taken = iter(range(serial, serial + len(accepted)))
    signed = {id(entry) for entry in accepted}
    for entry in entries:
        verdict = entry.verdict
        if verdict is None:
            continue
        if id(entry) in signed and verdict.score is not None:
            record = Record(entry.pending.submission.player, verdict.score, next(taken), entry.evidence_hash)
            signature = attestor.sign(game, record, deadline)
            receipt = (group.now_ms, deadline, signer, signature)
            entry.row = _row(group, game, entry, verdict, "accepted", record.round_id, receipt)
        else:
            entry.row = _row(group, game, entry, verdict, "rejected", None, (None, None, None, None))
        entry.outcome = Outcome(
            Kind.ACCEPTED if entry.row.code is None else Kind.REFUSED,
            _first_answer(entry.row, entry.body),
            entry.decision,
        )


def _row(
    group: _Group,
    game: Game,
    entry: _Entry,
    verdict: Verdict,
    status: str,
    round_id: int | None,
    receipt: tuple[int | None, int | None, bytes | None, bytes | None],
) -> SubmissionRow:
    submission = entry.pending.submission
    refusal = verdict.refusal
    code = None if status == "accepted" else (refusal.code if refusal else "SCORE_NOT_COMPUTED")
    waits = status == "accepted" and entry.pending.answering_ms > 0
    return SubmissionRow(
        entry.id,
        game.id,
        submission.player,
        status,
        verdict.score,
        round_id,
        submission.external_round,
        entry.evidence_hash,
        verdict.level,
        game.rules.hash,
        submission.claim_hash,
        group.now_ms,
        *receipt,
        code,
        entry.pending.request_id,
        group.now_ms + entry.pending.answering_ms if waits else None,
    )


def _first_answer(row: SubmissionRow, body: bytes) -> FirstAnswer:
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
        None,
        None,
        None if row.code is None else body,
    )


def _write(group: _Group, entries: list[_Entry]) -> None:
    if entries:
        rows = [entry.row for entry in entries if entry.row is not None]
        bodies = [(entry.evidence_hash, entry.body) for entry in entries]
        history = [(row.id, row.status, group.now_ms) for row in rows]
        group.store.insert(group.connection, rows, bodies, history)
    if group.flags:
        raise_flags(group.connection, group.flags, group.now_ms)


def _replay(group: _Group) -> None:
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
            entry.outcome = _again(stored[entry.replays])
    for entry in group.entries:
        if entry.outcome is None and entry.sibling is not None:
            said = entry.sibling.outcome
            first = said.first if said else None
            entry.outcome = said if first is None else _again(first)


def _again(first: FirstAnswer) -> Outcome:
    waiting = first.answering_until_ms is not None and first.answered_status is None
    return Outcome(Kind.IN_FLIGHT if waiting else Kind.REPLAYED, first)
