"""Two relay processes on one PostgreSQL, and everything that can happen to the same rounds at once."""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.harness.round_storm import GAME

ROUNDS = 100
ROOT = Path(__file__).resolve().parents[2]
STATE = """
SELECT r.id, r.state, r.reason, r.needs_confirmation, r.said_valid, r.said_score, r.submission_id, s.status, s.round_id,
       s.receipt_signature IS NOT NULL AS signed, s.evidence_level AS level,
       (SELECT count(*) FROM revocations v WHERE v.submission_id = s.id) AS revocations,
       (SELECT count(*) FROM history h WHERE h.submission_id = s.id AND h.status = 'accepted') AS acceptances
FROM rounds r LEFT JOIN submissions s ON s.id = r.submission_id
"""


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_exactly_one_outcome_each(postgres_url: str, relay_at: Any, seed: int) -> None:
    """200 reports, 200 confirmations and deadlines of 100 rounds from two processes."""
    secret, rounds = asyncio.run(prepare(postgres_url, relay_at, random.Random(seed)))
    command = [sys.executable, "-m", "tests.harness.round_storm", postgres_url]
    both = [
        subprocess.Popen(
            [*command, str(2 * seed + nth), secret, ",".join(rounds)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for nth in range(2)
    ]
    told = [tuple(one) for process in both for one in json.loads(process.communicate(timeout=60)[0])]
    rows = asyncio.run(state(postgres_url, relay_at))
    assert len(rows) == ROUNDS
    for row in rows:
        check(row)
    serials = sorted(row.round_id for row in rows if row.round_id is not None)
    assert serials == list(range(1, len(serials) + 1))
    assert not [one for one in told if one[2] >= 500]
    check_answers(told, {row.id: row for row in rows})
    assert asyncio.run(deadlocks(postgres_url, relay_at)) == 0
    outcomes = Counter(row.state for row in rows)
    assert {"accepted", "invalidated", "expired"} <= set(outcomes)
    assert Counter(row.status for row in rows)["revoked"] > 0


async def prepare(url: str, relay_at: Any, chance: random.Random) -> tuple[str, list[str]]:
    """Start rounds of as many players, half of which need a word; some deadlines fall into the storm."""
    async with relay_at(url, GAME) as relay:
        secret = relay.keys.create("server", game_id="streambeat", name="server").secret
        replies = await asyncio.gather(
            *(relay.request("POST", "/rounds", json.dumps({"playerId": f"p{n}"}).encode(), {}) for n in range(ROUNDS))
        )
        rounds = [reply.json["_id"] for reply in replies]
        marked = text(
            "UPDATE rounds SET needs_confirmation = :needs, confirmation_timeout_s = :patience WHERE id = :id"
        )
        late = text("UPDATE rounds SET due_at_ms = issued_at_ms WHERE id = :id")

        def mark(c: Any) -> None:
            for one in rounds:
                patience = chance.choice((0, 30, 30, 30))
                c.execute(marked, {"needs": chance.random() < 0.5, "patience": patience, "id": one})
                if chance.random() < 0.15:
                    c.execute(late, {"id": one})

        await relay.writer.run(mark)
        return secret, rounds


async def state(url: str, relay_at: Any) -> list[Any]:
    """Rounds with their submissions."""
    async with relay_at(url, GAME) as relay:
        found: list[Any] = await relay.database.read(lambda c: c.execute(text(STATE)).all())
        return found


async def deadlocks(url: str, relay_at: Any) -> int:
    """How often PostgreSQL had to end a transaction because two waited for each other."""
    counted = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    async with relay_at(url, GAME) as relay:
        found: int = await relay.database.read(lambda c: c.scalar(counted))
        return found


def check(row: Any) -> None:
    """A round has one outcome, and its score the only fate that fits it."""
    assert row.acceptances <= 1, row
    assert row.signed == (row.round_id is not None) == (row.acceptances == 1), row
    if row.state == "accepted":
        assert (row.status, row.revocations) == ("accepted", 0), row
        assert not row.needs_confirmation or (row.said_valid, row.said_score) == (True, 2652), row
        assert row.level == (2 if row.said_valid else 1), row
    elif row.state == "invalidated" and row.signed:  # after it was accepted: taken back, once
        assert (row.status, row.revocations) == ("revoked", 1), row
        assert not row.needs_confirmation, row
    elif row.state == "invalidated":  # before: nothing of it was ever signed
        assert row.status in {None, "rejected"}, row
        assert row.revocations == 0, row
    else:
        assert (row.state, row.submission_id) == ("expired", None), row


def check_answers(told: list[Any], rounds: dict[str, Any]) -> None:
    """What was answered agrees with the outcome: whoever reported twice heard the same."""
    for row in rounds.values():
        mine = [one for one in told if one[0] == row.id]
        reports = {code for _, what, status, code in mine if what == "report" and status == 200}
        assert len(reports) <= 1, (row, mine)
        assert (row.submission_id is not None) or not reports, (row, mine)
        words = [(status, code) for _, what, status, code in mine if what == "word"]
        assert {status for status, _ in words} <= {200, 409}, (row, mine)
