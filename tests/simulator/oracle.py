"""What must hold after every commit, every announcement and every send, and what must hold in the end.

Reads the committed database and the true chain; changes neither. Numbers are those of the ten invariants.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from relay.contract import Record, game_key
from relay.outbox.results import SCORE_SUBMITTED
from tests.simulator.storage import Disk
from tests.simulator.world import World, read_raw

MOVES = {
    "accepted": {"queued", "final", "parked", "revoked"},
    "queued": {"sent", "accepted", "revoked"},
    "sent": {"included", "final", "accepted", "parked", "revoked"},
    "included": {"sent", "final", "accepted", "parked", "revoked"},
    "parked": {"accepted", "revoked"},
    "final": {"revoked"},
    "revoked": {"accepted", "queued", "sent", "included", "final", "parked"},
}
NO_BATCH = {"accepted", "final", "parked"}
IN_BATCH = {"queued", "sent", "included"}


class BrokenError(BaseException):
    """A promise is broken. Not an Exception: the loop under test survives those."""


@dataclass(frozen=True, slots=True)
class Score:
    """What was accepted."""

    game: bytes
    rules_hash: bytes
    record: Record


class Oracle:
    """Holds what was promised."""

    def __init__(self, disk: Disk, world: World, signers: Iterable[bytes]) -> None:
        self.disk = disk
        self.world = world
        self.signers = tuple(signers)
        self.scores: dict[str, Score] = {}
        self.status: dict[str, str] = {}
        self.reached: set[tuple[str, str]] = set()
        self._promised: dict[str, Score] = {}  # what was ever accepted, also if an older database forgot it
        self._seq = 0
        self._amnesia = False  # an older database does not know what auditors asked for since

    def accepted(self, submission_id: str, game_id: str, rules_hash: bytes, record: Record) -> None:
        """A score was promised."""
        self.scores[submission_id] = self._promised[submission_id] = Score(game_key(game_id), rules_hash, record)
        self.status[submission_id] = "accepted"

    # ------------------------------------------------------------- after every commit

    def committed(self, by: str) -> None:
        """Check what the last commit changed. `by`: the process that committed."""
        rows = self.disk.rows
        for (rule,) in rows("SELECT rule FROM sim_broken"):
            raise BrokenError(rule)
        attempts = rows("SELECT tx_hash FROM sim_attempts")
        slots = rows("SELECT signer, nonce FROM sim_slots")
        batches = rows("SELECT id FROM sim_batches")
        moved = rows("SELECT id FROM sim_submissions")
        self._fenced(by, [row[0] for row in slots], [row[0] for row in attempts], bool(moved))
        if attempts:
            self._attempts(tx_hash for (tx_hash,) in attempts)
            self.disk.run("DELETE FROM sim_attempts")
        if batches:
            self._batches()
            self.disk.run("DELETE FROM sim_batches")
        if slots:
            self._nonces()
            for signer, nonce in slots:
                self._slot(signer, nonce)
            self.disk.run("DELETE FROM sim_slots")
        if moved:
            self._submissions()
            self.disk.run("DELETE FROM sim_submissions")

    def _fenced(self, by: str, signers: list[bytes], hashes: list[bytes], moved: bool) -> None:
        """9. Who wrote holds the lease of the key it wrote for; of any key, where only scores moved."""
        held = {signer for (signer,) in self.disk.rows("SELECT signer FROM leases WHERE holder = ?", by)}
        for tx_hash in hashes:
            signers += [
                signer for (signer,) in self.disk.rows("SELECT signer FROM attempts WHERE tx_hash = ?", tx_hash)
            ]
        if not held.issuperset(signers) or (moved and not held):
            raise BrokenError(f"9: {by} wrote for a key whose lease another process holds")

    def _attempts(self, hashes: Iterable[bytes]) -> None:
        """4. An attempt carries its batch's calldata to the contract, or is a void: nothing, to the key itself."""
        for tx_hash in hashes:
            query = (
                "SELECT a.raw, a.signer, a.nonce, a.fee_wei_max, b.calldata, s.state FROM attempts a "
                "JOIN slots s USING (chain_id, signer, nonce) LEFT JOIN batches b ON b.id = s.batch_id "
                "WHERE a.tx_hash = ?"
            )
            ((raw, signer, nonce, fee, calldata, state),) = self.disk.rows(query, tx_hash)
            tx = read_raw(raw, signer)
            named = (tx.tx_hash, tx.nonce, tx.fee, tx.chain_id) == (tx_hash, nonce, fee, self.world.chain_id)
            cargo = (tx.to, tx.value, tx.data) == (self.world.contract, 0, calldata)
            void = (tx.to, tx.value, tx.data, tx.gas) == (signer, 0, b"", 21_000)
            if not named or not (cargo or void) or state not in ("live", "mined"):
                raise BrokenError(f"4: attempt of nonce {nonce} ({state}) is neither its batch nor a void")

    def _batches(self) -> None:
        """2. A batch has its nonce in the same commit, and all of its scores."""
        query = (
            "SELECT b.id FROM sim_batches t JOIN batches b ON b.id = t.id LEFT JOIN slots s ON s.batch_id = b.id "
            "WHERE s.nonce IS NULL OR b.size <> (SELECT count(*) FROM batch_scores m WHERE m.batch_id = b.id)"
        )
        for (batch_id,) in self.disk.rows(query):
            raise BrokenError(f"2: batch {batch_id} was committed without its nonce or its scores")

    def _nonces(self) -> None:
        """2. No gap: what is reserved later can be mined only after all before it."""
        query = "SELECT signer, max(nonce) - min(nonce) + 1 - count(*) FROM slots GROUP BY chain_id, signer"
        for _, gap in self.disk.rows(query):
            if gap:
                raise BrokenError(f"2: {gap} nonces are missing")

    def _slot(self, signer: bytes, nonce: int) -> None:
        """7, 8. A nonce is closed only by what used it for good."""
        query = "SELECT state, tx_hash, batch_id FROM slots WHERE signer = ? AND nonce = ?"
        ((state, tx_hash, batch_id),) = self.disk.rows(query, signer, nonce)
        attempts = "SELECT tx_hash FROM attempts WHERE signer = ? AND nonce = ?"
        tried = {one for (one,) in self.disk.rows(attempts, signer, nonce)}
        if state in ("live", "mined", "final") and not tried:
            raise BrokenError(f"5: nonce {nonce} is {state} without an attempt")
        if state not in ("final", "foreign"):
            return
        used = self.world.final_tx(signer, nonce)
        if used is None:
            raise BrokenError(f"8: nonce {nonce} was closed as {state}, but is not used at the finality point")
        if state == "final" and (used.tx_hash != tx_hash or tx_hash not in tried):
            raise BrokenError(f"7: nonce {nonce} is final with a transaction that did not use it")
        receipt = self.world.receipt(used.tx_hash, self.world.chain, self.world.final)
        recorded = receipt is not None and receipt.logs  # one that recorded nothing leaves no trace but its receipt
        if state == "foreign" and used.tx_hash in tried and recorded:
            raise BrokenError(f"8: nonce {nonce} was called foreign, but batch {batch_id}'s own transaction used it")

    def _submissions(self) -> None:
        """3, 7, 10. Each change has its history, each history is a legal path, and final means on the chain."""
        rows = self.disk.rows("SELECT seq, submission_id, status FROM history WHERE seq > ? ORDER BY seq", self._seq)
        for seq, submission_id, status in rows:
            before = self.status.get(submission_id)
            if before is None or (status not in MOVES[before] and status != before):
                raise BrokenError(f"10: {submission_id} went from {before} to {status}")
            self.status[submission_id] = status
            self.reached.add((submission_id, status))
            self._seq = seq
            if status == "final":
                self._final(submission_id)
            if status == "parked" and self.scores[submission_id].record.round_id not in self.world.poison:
                raise BrokenError(f"{submission_id} is parked without a reason")
        query = (
            "SELECT s.id, s.status, b.batch_id FROM sim_submissions t JOIN submissions s ON s.id = t.id "
            "LEFT JOIN batch_scores b ON b.submission_id = s.id AND b.unresolved = 1"
        )
        for submission_id, status, batch_id in self.disk.rows(query):
            if status != self.status[submission_id]:
                raise BrokenError(f"10: {submission_id} is {status}, its history says {self.status[submission_id]}")
            if (status in NO_BATCH and batch_id is not None) or (status in IN_BATCH and batch_id is None):
                raise BrokenError(f"3: {submission_id} is {status}, its open batch is {batch_id}")

    def _final(self, submission_id: str) -> None:
        score, world = self.scores[submission_id], self.world
        what = (score.game, score.record.round_id)
        query = "SELECT tx_hash FROM submissions WHERE id = ?"
        ((tx_hash,),) = self.disk.rows(query, submission_id)
        for log in world.marks(what, world.chain, world.final):
            data = score.record.score.to_bytes(32, "big") + score.record.evidence_hash
            same = log.topics[0] == SCORE_SUBMITTED and log.data[:64] == data
            if same and log.topics[2][12:] == score.record.player and log.tx_hash == tx_hash:
                return
        raise BrokenError(f"7: {submission_id} is final, but no final block has its log from the transaction named")

    # ------------------------------------------------------------- at other moments

    def sent(self, tx_hash: bytes) -> None:
        """5. What reaches a pool was committed before."""
        if not self.disk.rows("SELECT 1 FROM attempts WHERE tx_hash = ?", tx_hash):
            raise BrokenError("5: a transaction was sent before it was committed")

    def announced(self, ids: Iterable[str], status: str) -> None:
        """10. Nobody is told what is not committed."""
        for submission_id in ids:
            beneath = self.status[submission_id] == "revoked"  # its transaction goes on beneath the revocation
            if not beneath and (submission_id, status) not in self.reached:
                raise BrokenError(f"10: {submission_id} was announced as {status} before it was committed")

    def restored(self) -> None:
        """An older database took the place of this one: what was accepted since is lost with it, by nobody's fault."""
        self.status = dict(self.disk.rows("SELECT id, status FROM submissions"))
        self.scores = {name: self._promised[name] for name in self.status}
        self._amnesia = True
        self.reached = set(self.disk.rows("SELECT submission_id, status FROM history"))
        ((self._seq,),) = self.disk.rows("SELECT coalesce(max(seq), 0) FROM history")

    def operated(self) -> None:
        """Check what a person changed."""
        self._submissions()
        self.disk.run("DELETE FROM sim_submissions")

    def over(self) -> bool:
        """Whether nothing is left to do: every score final, rightly parked or revoked, every nonce closed."""
        if any(status not in ("final", "parked", "revoked") for status in self.status.values()):
            return False
        for game, round_id, state in self.disk.rows("SELECT game_id, round_id, state FROM revocations"):
            if state in ("queued", "sent", "included"):
                return False
            # A score that is not on the chain can still be brought there by its player until its receipt runs out.
            if state == "waiting" and self.world.recorded()[game_key(game), round_id]:
                return False
        return not self.disk.rows("SELECT 1 FROM slots WHERE state NOT IN ('final', 'foreign') LIMIT 1")

    def unfinished(self) -> str:
        """What is left, in words."""
        statuses = dict(Counter(self.status.values()))
        slots = self.disk.rows("SELECT nonce, state FROM slots WHERE state NOT IN ('final', 'foreign')")
        return f"unfinished: {statuses}, nonces {slots[:8]}"

    def ended(self) -> None:
        """No score lost, none doubled, none invented; and the contract withholds exactly what is revoked."""
        found = self.world.recorded()
        for submission_id, score in self.scores.items():
            what, status = (score.game, score.record.round_id), self.status[submission_id]
            times = found[what]
            if times > 1 or (status == "final" and times != 1) or (status == "parked" and times):
                raise BrokenError(f"exactly once: {submission_id} is {status} and recorded {times} times")
            invalid = self.world.is_invalid(what, self.world.chain, self.world.chain[-1])
            if times and not self._amnesia and invalid is not (status == "revoked"):
                raise BrokenError(f"{submission_id} is {status}, which the contract contradicts")
        promised = {(score.game, score.record.round_id) for score in self._promised.values()}
        if not promised.issuperset(found):
            raise BrokenError("some scores on the chain were never accepted")
