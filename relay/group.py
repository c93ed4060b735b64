"""The journey of one group of submissions through one transaction, steps numbered.

Touches the database through the `IntakeStore` it is handed, inside the writer's transaction. Nothing else remembers
what happens here, so a group that was rolled back can simply be run again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from relay.attestation import Domain
from relay.errors import SignerError
from relay.games import SUBMIT_ACTION, Game
from relay.group_answers import first_answer, replay, row_of
from relay.group_entries import ID_PREFIX, Entry, Group, Kind, Outcome, Pending, Player
from relay.group_rounds import HELD, Confirmation
from relay.group_steps import conclude, enter_rounds, judge_round
from relay.guard import limits
from relay.guard.flags import of_limit, of_verdict
from relay.guard.lines import admitted as guard_lines
from relay.guard.recent import find, remember
from relay.ids import new_ids
from relay.receipts import Acceptance, Receipt, number
from relay.rules.ruleset import Context
from relay.store.flags import raise_flags
from relay.store.intake_rows import Connection, IntakeStore, KeyRow, SubmissionRow
from relay.store.used_signatures import Used, use
from relay.store.used_signatures import used as used_before

SIGNED_ALONE = 6  # fewer signatures are made sooner than handed to another thread


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


def process(
    connection: Connection, store: IntakeStore, attestor: Attestor | None, waiting: Sequence[Pending | Confirmation]
) -> list[Outcome]:
    """Take all that waits through all steps; returns the outcomes in order, true once the transaction is committed.

    Without an attestor nothing can be accepted: the intake lets only confirmations through that accept nothing.
    """
    now_ms = store.now_ms(connection)
    pendings = [one for one in waiting if isinstance(one, Pending)]
    ids = new_ids(ID_PREFIX, now_ms, len(pendings))
    group = Group(connection, store, now_ms, [Entry(p, i) for p, i in zip(pendings, ids, strict=True)])
    if any(pending.scope is not None for pending in pendings):
        _claim_keys(group)  # 1. idempotency, before limits: a retry never costs quota
    ruled = enter_rounds(group, waiting)  # 2. rounds: locked, entered, ruled on
    judged = _judged(group)
    upheld = group.rounds.upheld() if group.rounds is not None else []
    if group.windows:
        _store(group, _attesting(attestor), judged, upheld)
    elif group.rounds is not None:
        group.rounds.write(())
    if group.signatures:
        use(connection, group.signatures)
    if group.freed:
        store.release_keys(connection, group.freed)
    if group.flags:
        raise_flags(connection, group.flags, now_ms)
    replay(group)  # 10. first answers again
    outcomes = iter([entry.outcome for entry in group.entries if entry.outcome is not None])
    return [next(outcomes) if isinstance(one, Pending) else ruled[one.round_id] for one in waiting]


def _attesting(attestor: Attestor | None) -> Attestor:
    if attestor is None:
        raise SignerError("The relay has no attestation key and signs nothing.")
    return attestor


def _judged(group: Group) -> list[Entry]:
    by_game: dict[str, list[Entry]] = {}
    for entry in group.open_entries():
        by_game.setdefault(entry.pending.submission.game.id, []).append(entry)
    upheld = group.rounds.upheld() if group.rounds is not None else []
    judged: list[Entry] = []
    for game_id in sorted({*by_game, *(one.game_id for one in upheld)}):
        entries = by_game.get(game_id, [])
        accepted = [one for one in upheld if one.game_id == game_id]
        subjects = {*(entry.pending.submission.player for entry in entries), *(one.player for one in accepted)}
        rows = group.store.lock_windows(group.connection, game_id, SUBMIT_ACTION, sorted(subjects))  # 3. lock
        players = {subject: Player(rows[subject]) for subject in sorted(subjects)}
        for one in accepted:
            players[one.player].accept(one.score)
        if entries:
            game = entries[0].pending.submission.game
            admitted = _admit(group, game, players, entries)  # 4. duplicates, 5. limits
            _judge(group, game, players, admitted)  # 6. player history, rules, round, evidence
            judged += admitted
        group.windows.append((game_id, [player.row(subject) for subject, player in players.items() if player.changed]))
    return judged


def _store(group: Group, attestor: Attestor, judged: list[Entry], upheld: list[Acceptance]) -> None:
    accepted = [_acceptance(entry) for entry in judged if entry.accepted]
    deadline = group.now_ms // 1000 + attestor.receipt_s
    serials, structs = number(
        group.connection, group.store, [*accepted, *upheld], deadline
    )  # 7. late: locked from here
    signing = attestor.begin(structs)
    signer = attestor.signer.address
    with group.store.writing(group.connection):
        _write_evidence(group, judged)  # 8. what needs no signature, while the signatures are made
        signed = zip(serials, signing(), strict=True)
        receipts = [Receipt(serial, deadline, signer, signature) for serial, signature in signed]
        _write_submissions(group, judged, receipts[: len(accepted)])  # 9. signed rows
    if group.rounds is not None:
        group.rounds.write(receipts[len(accepted) :])


def _acceptance(entry: Entry) -> Acceptance:
    submission, verdict = entry.pending.submission, entry.verdict
    score = 0 if verdict is None or verdict.score is None else verdict.score
    return Acceptance(submission.game.id, submission.game.rules.hash, submission.player, score, entry.evidence_hash)


def _claim_keys(group: Group) -> None:
    first_by_scope: dict[bytes, Entry] = {}
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


def _admit(group: Group, game: Game, players: dict[bytes, Player], entries: list[Entry]) -> list[Entry]:
    """Settle duplicates and what is above the limit; returns the rest."""
    by_tail = {entry.id[len(ID_PREFIX) :]: entry for entry in entries}
    used = _used_signatures(group, entries)
    admitted: list[Entry] = []
    for entry in entries:
        submission, scope = entry.pending.submission, entry.pending.scope
        player = players[submission.player]
        single = entry.round is not None  # its round says what is a retry
        if (
            scope is None
            and not single
            and (tail := find(player.claims, submission.claim_hash, group.now_ms)) is not None
        ):
            entry.sibling = by_tail.get(tail)
            entry.replays = None if entry.sibling else ID_PREFIX + tail
            continue
        proof = submission.proof
        if proof.refused:  # whoever sent this may not be the player: nothing of the player's is used up
            admitted.append(entry)
            continue
        if proof.digest is not None and proof.digest in used:
            entry.outcome = Outcome(Kind.SIGNATURE_USED, used_by=used[proof.digest])
            group.freed += [scope] if scope is not None else []
            continue
        decision = entry.decision = limits.attempt(player.window, group.now_ms, game.submit_limit)
        player.changed = True
        if decision.admit:
            admitted.append(entry)
            if proof.digest is not None and submission.signing is not None:
                used[proof.digest] = entry.id
                group.signatures.append(Used(proof.digest, entry.id, submission.signing.deadline or 0))
            if scope is None and not single:
                tail = entry.id[len(ID_PREFIX) :]
                player.claims = remember(player.claims, submission.claim_hash, tail, group.now_ms)
            continue
        entry.outcome = Outcome(Kind.LIMITED, None, decision)
        group.flags.append(
            of_limit(game.id, submission.player_text, SUBMIT_ACTION, decision.attempts, game.submit_limit)
        )
        if scope is not None:
            group.freed.append(scope)
    return admitted


def _used_signatures(group: Group, entries: list[Entry]) -> dict[bytes, str]:
    """Return which of the entries' signatures count already, and for which submission."""
    digests = {digest for entry in entries if (digest := entry.pending.submission.proof.digest) is not None}
    return used_before(group.connection, digests) if digests else {}


def _judge(group: Group, game: Game, players: dict[bytes, Player], entries: list[Entry]) -> None:
    for entry in entries:
        submission = entry.pending.submission
        player = players[submission.player]
        proof = submission.proof
        unread = submission.signing is not None and not proof.findings  # kept, and nothing is concluded from it
        verdict = entry.verdict = game.rules.judge(submission.claim, Context(submission.player, player.scores, unread))
        verdict.findings += proof.findings
        verdict.violated |= proof.refused
        verdict.level = proof.level(verdict.level)
        if entry.round is not None:
            judge_round(group, entry, entry.round, verdict)
        if entry.decision is not None:
            count = game.submit_limit - entry.decision.remaining
            keyed = entry.pending.scope is not None or entry.round is not None
            verdict.findings += guard_lines(count, game.submit_limit, keyed=keyed)
        entry.refusal = verdict.refusal
        entry.accepted = entry.refusal is None and verdict.score is not None
        conclude(group, entry, verdict)
        if entry.accepted and verdict.score is not None:
            player.accept(verdict.score)
        if verdict.violated:
            group.flags += of_verdict(game.id, submission.player_text, SUBMIT_ACTION, entry.id, verdict)


def _write_evidence(group: Group, entries: list[Entry]) -> None:
    connection, store, now_ms = group.connection, group.store, group.now_ms
    for game_id, rows in group.windows:
        if rows:
            store.save_windows(connection, game_id, SUBMIT_ACTION, rows, now_ms)
    if entries:
        history = [(entry.id, entry.status, now_ms) for entry in entries]
        store.insert_evidence(connection, [(entry.evidence_hash, entry.body) for entry in entries], history)


def _write_submissions(group: Group, entries: list[Entry], receipts: Sequence[Receipt]) -> None:
    unused = iter(receipts)
    rows: list[SubmissionRow] = []
    for entry in entries:
        row = row_of(group.now_ms, entry, next(unused) if entry.accepted else None)
        rows.append(row)
        kind = Kind.ACCEPTED if entry.accepted else Kind.HELD if entry.held else Kind.REFUSED
        entry.outcome = Outcome(kind, first_answer(row, entry.body), entry.decision, round=entry.round)
    if rows:
        group.store.insert_submissions(group.connection, rows)
    if held := [(entry.id, HELD, None) for entry in entries if entry.held]:
        group.store.settle_answers(group.connection, held)  # said so, whatever becomes of it
