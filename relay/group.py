"""The journey of one group of submissions through one transaction, steps numbered.

Touches the database through the `IntakeStore` it is handed, inside the writer's transaction. Nothing else remembers
what happens here, so a group that was rolled back can simply be run again.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from relay.attestation import Domain, score_batch_struct
from relay.contract import Record, game_key, pack_record
from relay.games import SUBMIT_ACTION, Game
from relay.guard import limits
from relay.guard.flags import Flag, of_limit, of_verdict
from relay.guard.lines import admitted as guard_lines
from relay.guard.recent import find, remember
from relay.ids import new_ids
from relay.keccak import keccak
from relay.rules.ruleset import Context
from relay.rules.verdict import Check, Verdict
from relay.store.flags import raise_flags
from relay.store.intake_rows import Connection, FirstAnswer, IntakeStore, KeyRow, SubmissionRow, WindowRow
from relay.store.used_signatures import Used, use
from relay.store.used_signatures import used as used_before
from relay.submission import Submission, evidence

ID_PREFIX = "sub_"
HISTORY_LENGTH = 50
SIGNED_ALONE = 6  # fewer signatures are made sooner than handed to another thread


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
    SIGNATURE_USED = "signature_used"  # by the submission it names


class Outcome(NamedTuple):
    """What is answered to one submission."""

    kind: Kind
    first: FirstAnswer | None = None
    limit: limits.Decision | None = None
    used_by: str | None = None  # the submission that used the signature


class Signer(Protocol):
    """Signs with the attestation key."""

    address: bytes

    def attest_all(self, domain: Domain, structs: Sequence[bytes]) -> list[bytes]:
        """Return the 65-byte signatures of encoded EIP-712 structs for one contract."""


@dataclass(frozen=True, slots=True)
class Attestor:
    """Signs what was computed: a batch of one score, valid on one contract until a deadline."""

    signer: Signer
    domain: Domain
    receipt_s: int  # how long a receipt can be carried to the chain
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="fairscore-sign"), repr=False, compare=False
    )

    def begin(self, structs: list[bytes]) -> Callable[[], list[bytes]]:
        """Start signing; returns the function that waits for the signatures, and raises SignerError without them.

        libsecp256k1 runs without the interpreter's lock, so a second thread signs while this one writes.
        """
        if len(structs) < SIGNED_ALONE:
            return lambda: self.signer.attest_all(self.domain, structs)
        return self._pool.submit(self.signer.attest_all, self.domain, structs).result


class _Receipt(NamedTuple):
    round_id: int
    deadline: int
    signer: bytes
    signature: bytes


class _Player:
    """A player's row, unpacked."""

    __slots__ = ("changed", "claims", "scores", "window")

    def __init__(self, row: WindowRow) -> None:
        self.window = limits.unpack(row.admitted, row.refused)
        self.scores = array("q", row.scores)
        self.claims = row.claims
        self.changed = False

    def row(self, subject: bytes) -> WindowRow:
        admitted, refused = self.window
        return WindowRow(subject, admitted.tobytes(), refused.tobytes(), self.scores.tobytes(), self.claims)


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
    refusal: Check | None = None
    accepted: bool = False
    body: bytes = b""
    evidence_hash: bytes = b""
    serial: int = 0


@dataclass(slots=True)
class _Group:
    connection: Connection
    store: IntakeStore
    now_ms: int
    entries: list[_Entry]
    flags: list[Flag] = field(default_factory=list)
    windows: list[tuple[str, list[WindowRow]]] = field(default_factory=list)  # by game, to be written
    signatures: list[Used] = field(default_factory=list)  # players' signatures that this group uses

    def open_entries(self) -> list[_Entry]:
        """Those no step has settled yet."""
        return [e for e in self.entries if e.outcome is None and e.replays is None and e.sibling is None]


def process(
    connection: Connection, store: IntakeStore, attestor: Attestor, pendings: Sequence[Pending]
) -> list[Outcome]:
    """Take `pendings` through all steps; returns their outcomes in order, true once the transaction is committed."""
    now_ms = store.now_ms(connection)
    ids = new_ids(ID_PREFIX, now_ms, len(pendings))
    group = _Group(connection, store, now_ms, [_Entry(p, i) for p, i in zip(pendings, ids, strict=True)])
    if any(pending.scope is not None for pending in pendings):
        _claim_keys(group)  # 1. idempotency, before limits: a retry never costs quota
    by_game: dict[str, list[_Entry]] = {}
    for entry in group.open_entries():
        by_game.setdefault(entry.pending.submission.game.id, []).append(entry)
    judged: list[_Entry] = []
    for game_id in sorted(by_game):
        game = by_game[game_id][0].pending.submission.game
        players, admitted = _admit(group, game, by_game[game_id])  # 2. lock, 3. duplicates, 4. limits
        _judge(group, game, players, admitted)  # 5. player history, rules, evidence
        judged += admitted
    deadline = now_ms // 1000 + attestor.receipt_s
    signing = attestor.begin(_number(group, judged, deadline))  # 6. serials, late: locked until the commit
    with store.writing(connection):
        _write_evidence(group, judged)  # 7. what needs no signature, while the signatures are made
        _write_submissions(group, judged, attestor.signer.address, deadline, signing())  # 8. signed rows
    if group.signatures:
        use(connection, group.signatures)
    if group.flags:
        raise_flags(connection, group.flags, now_ms)
    _replay(group)  # 9. first answers again
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


def _admit(group: _Group, game: Game, entries: list[_Entry]) -> tuple[dict[bytes, _Player], list[_Entry]]:
    """Settle duplicates and what is above the limit; returns the rest, and what is known of their players."""
    subjects = sorted({entry.pending.submission.player for entry in entries})
    rows = group.store.lock_windows(group.connection, game.id, SUBMIT_ACTION, subjects)
    players = {subject: _Player(rows[subject]) for subject in subjects}
    by_tail = {entry.id[len(ID_PREFIX) :]: entry for entry in entries}
    used = _used_signatures(group, entries)
    admitted: list[_Entry] = []
    freed: list[bytes] = []
    for entry in entries:
        submission, scope = entry.pending.submission, entry.pending.scope
        player = players[submission.player]
        if scope is None and (tail := find(player.claims, submission.claim_hash, group.now_ms)) is not None:
            entry.sibling = by_tail.get(tail)
            entry.replays = None if entry.sibling else ID_PREFIX + tail
            continue
        proof = submission.proof
        if proof.refused:  # whoever sent this may not be the player: nothing of the player's is used up
            admitted.append(entry)
            continue
        if proof.digest is not None and proof.digest in used:
            entry.outcome = Outcome(Kind.SIGNATURE_USED, used_by=used[proof.digest])
            freed += [scope] if scope is not None else []
            continue
        decision = entry.decision = limits.attempt(player.window, group.now_ms, game.submit_limit)
        player.changed = True
        if decision.admit:
            admitted.append(entry)
            if proof.digest is not None and submission.signing is not None:
                used[proof.digest] = entry.id
                group.signatures.append(Used(proof.digest, entry.id, submission.signing.deadline or 0))
            if scope is None:
                tail = entry.id[len(ID_PREFIX) :]
                player.claims = remember(player.claims, submission.claim_hash, tail, group.now_ms)
            continue
        entry.outcome = Outcome(Kind.LIMITED, None, decision)
        group.flags.append(
            of_limit(game.id, submission.player_text, SUBMIT_ACTION, decision.attempts, game.submit_limit)
        )
        if scope is not None:
            freed.append(scope)
    if freed:
        group.store.release_keys(group.connection, freed)
    return players, admitted


def _used_signatures(group: _Group, entries: list[_Entry]) -> dict[bytes, str]:
    """Return which of the entries' signatures count already, and for which submission."""
    digests = {digest for entry in entries if (digest := entry.pending.submission.proof.digest) is not None}
    return used_before(group.connection, digests) if digests else {}


def _judge(group: _Group, game: Game, players: dict[bytes, _Player], entries: list[_Entry]) -> None:
    for entry in entries:
        submission = entry.pending.submission
        scores = players[submission.player].scores
        proof = submission.proof
        unread = submission.signing is not None and not proof.findings  # kept, and nothing is concluded from it
        verdict = entry.verdict = game.rules.judge(submission.claim, Context(submission.player, scores, unread))
        verdict.findings += proof.findings
        verdict.violated |= proof.refused
        verdict.level = proof.level(verdict.level)
        if entry.decision is not None:
            count = game.submit_limit - entry.decision.remaining
            verdict.findings += guard_lines(count, game.submit_limit, keyed=entry.pending.scope is not None)
        refusal = entry.refusal = verdict.refusal
        entry.accepted = refusal is None and verdict.score is not None
        outcome = "accepted" if entry.accepted else "refused"
        entry.body = evidence(submission, verdict, entry.id, group.now_ms, outcome)
        entry.evidence_hash = keccak(entry.body)
        if entry.accepted and verdict.score is not None:
            scores.append(verdict.score)
            del scores[:-HISTORY_LENGTH]
        if verdict.violated:
            group.flags += of_verdict(game.id, submission.player_text, SUBMIT_ACTION, entry.id, verdict)
    group.windows.append((game.id, [player.row(subject) for subject, player in players.items() if player.changed]))


def _number(group: _Group, entries: list[_Entry], deadline: int) -> list[bytes]:
    """Give each accepted entry its game's next serial; returns the structs to be signed, in the entries' order."""
    structs: list[bytes] = []
    counts = Counter(entry.pending.submission.game.id for entry in entries if entry.accepted)
    serials = {
        game_id: group.store.take_serials(group.connection, game_id, counts[game_id]) for game_id in sorted(counts)
    }
    for entry in entries:
        verdict, submission = entry.verdict, entry.pending.submission
        if not entry.accepted or verdict is None or verdict.score is None:
            continue
        game = submission.game
        entry.serial = serials[game.id]
        serials[game.id] += 1
        record = pack_record(Record(submission.player, verdict.score, entry.serial, entry.evidence_hash))
        structs.append(score_batch_struct(game_key(game.id), game.rules.hash, deadline, record))
    return structs


def _write_evidence(group: _Group, entries: list[_Entry]) -> None:
    connection, store, now_ms = group.connection, group.store, group.now_ms
    for game_id, rows in group.windows:
        if rows:
            store.save_windows(connection, game_id, SUBMIT_ACTION, rows, now_ms)
    if entries:
        history = [(entry.id, "accepted" if entry.accepted else "rejected", now_ms) for entry in entries]
        store.insert_evidence(connection, [(entry.evidence_hash, entry.body) for entry in entries], history)


def _write_submissions(
    group: _Group, entries: list[_Entry], signer: bytes, deadline: int, signatures: list[bytes]
) -> None:
    unused = iter(signatures)
    rows: list[SubmissionRow] = []
    for entry in entries:
        receipt = _Receipt(entry.serial, deadline, signer, next(unused)) if entry.accepted else None
        row = _row(group.now_ms, entry, receipt)
        rows.append(row)
        kind = Kind.ACCEPTED if entry.accepted else Kind.REFUSED
        entry.outcome = Outcome(kind, _first_answer(row, entry.body), entry.decision)
    if rows:
        group.store.insert_submissions(group.connection, rows)


def _row(now_ms: int, entry: _Entry, receipt: _Receipt | None) -> SubmissionRow:
    submission, request_id, _, answering_ms = entry.pending
    game, refusal = submission.game, entry.refusal
    score = entry.verdict.score if entry.verdict is not None else None
    level = game.rules.ruleset.level if entry.verdict is None else entry.verdict.level
    common = (entry.evidence_hash, level, game.rules.hash, submission.claim_hash, now_ms)
    external = submission.external_round
    if receipt is None:
        code = refusal.code if refusal is not None else "SCORE_NOT_COMPUTED"
        start = (entry.id, game.id, submission.player, "rejected", score, None, external)
        return SubmissionRow(*start, *common, None, None, None, None, code, request_id, None)
    round_id, deadline, signer, signature = receipt
    start_accepted = (entry.id, game.id, submission.player, "accepted", score, round_id, external)
    until_ms = now_ms + answering_ms if answering_ms else None
    return SubmissionRow(*start_accepted, *common, now_ms, deadline, signer, signature, None, request_id, until_ms)


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
