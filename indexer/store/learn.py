"""Evidence that was found after its score: fill it in, and tell the stream's readers.

Touches the database on the connection it is given.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, update

from indexer.fold import Evidence, Fold
from indexer.state import Outcome, State
from indexer.store.commit import guard, write_messages
from indexer.store.ledger import SqlLedger
from indexer.store.tables import scores


def learn(
    connection: Connection,
    state: State,
    found: Mapping[tuple[int, bytes], Evidence],
    *,
    names: dict[bytes, str],
    now_ms: int,
) -> Outcome:
    """Write what `found` says, by (place, evidence hash), to the scores that are still there.

    Raises:
        SupersededError: the database is not where `state` is.
    """
    guard(connection, state)
    ledger = SqlLedger(connection)
    fold = Fold(state, ledger, names=names, quiet=False, evidence={})
    here = ledger.entries_at([place for place, _ in found])
    for (place, evidence_hash), evidence in found.items():
        entry = here.get(place)
        if entry is None or entry.evidence_hash != evidence_hash:
            continue  # reorganised away since it was looked for
        values = {"submission_id": evidence.submission_id, "evidence_level": evidence.evidence_level}
        connection.execute(update(scores).where(scores.c.place == place).values(**values))
        fold.learned(entry._replace(submission_id=evidence.submission_id, evidence_level=evidence.evidence_level))
    outcome = Outcome(
        state.tip, state.tip_time_s, state.final_block, state.verified, state.epoch,
        fold.games, [], {}, [], fold.seqs(), fold.messages(), state.recent, None,
    )  # fmt: skip
    write_messages(connection, outcome, now_ms)
    return outcome
