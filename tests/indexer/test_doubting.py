"""The loop of doubt over a fake chain and both databases: marks, flags, messages, restarts, reorganisations, speed."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import tests.indexer.fake_chain as fakes
from indexer.doubt import read, rules_of
from indexer.doubt_rules import Rules
from indexer.doubting import Doubting, DoubtPlan
from indexer.follower import Plan
from indexer.messages import checksummed
from indexer.store.doubt_access import DoubtTables
from relay.canonical import canonical_ascii
from relay.keccak import keccak
from relay.rules.ruleset import RulesetError
from relay.store.engine import Database, open_database
from relay.store.flags import FlagFilter, list_flags
from relay.store.migrate import upgrade
from tests.indexer.fake_chain import SIGNER, FakeChain
from tests.indexer.proofs import RULES, Shelf
from tests.indexer.watching import GAME, Watching

ALICE, BOB, CAROL = (bytes([n]) * 20 for n in (1, 2, 3))
GRACE_S = 0.3


class Publisher:
    """The contract's published rules."""

    def __init__(self) -> None:
        self.documents = {RULES.hash: RULES.body}

    async def published_rules(self, game: bytes, rules_hash: bytes) -> bytes | None:
        """One document."""
        assert len(game) == 32
        return self.documents.get(rules_hash)


class Doubtful(Watching):
    """An indexer with doubt, whose chain names real evidence."""

    def __init__(self, database: Database, shelf: Shelf, plan: DoubtPlan | None = None) -> None:
        self.shelf, self.publisher = shelf, Publisher()
        self.told: list[dict[str, Any]] = []
        self.resting = False
        self._doubt_plan = plan or DoubtPlan(frozenset({SIGNER}), GRACE_S)
        super().__init__(FakeChain(), database, Plan(games=(GAME,), confirmations=2))
        self.fake: FakeChain = self.chain  # type: ignore[assignment]

    def _build(self) -> None:
        super()._build()
        self.tables = DoubtTables(self.database, self.writer)
        self.doubting = Doubting(
            self.follower, self.tables, self.shelf, Rules((), self.publisher, GRACE_S), self._doubt_plan,
            rests=lambda: self.resting, tell_flag=lambda _game, _seq, body: self.told.append(json.loads(body)),
        )  # fmt: skip

    async def look(self) -> None:
        """Take in what the chain has, and doubt it."""
        await self.catch_up()
        while await self.doubting.step():
            pass

    async def patience(self) -> None:
        """Wait until the grace and the pause between two looks are over, and look."""
        await asyncio.sleep(1.1)
        await self.look()

    def flags(self) -> dict[str, Any]:
        """The flags by code."""
        with self.database.engine.connect() as connection:
            return {flag.code: flag for flag in list_flags(connection, FlagFilter(), 100, None)}

    def disputed(self) -> dict[bytes, bool]:
        """What the board shows, by player."""
        window = self.state.boards[1].window.top()
        return {
            player: row.disputed
            for row in window
            for player in (ALICE, BOB, CAROL)
            if row.player == checksummed(player)
        }


Scenario = Callable[[Doubtful, Shelf], Awaitable[None]]


@pytest.fixture
def play_out(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    """Run a scenario over a new database."""
    shelf = Shelf()
    monkeypatch.setattr(fakes, "record_of", shelf.record_of)
    monkeypatch.setattr(fakes, "RULES", RULES.hash)

    def run(scenario: Scenario) -> None:
        async def around() -> None:
            database = open_database(database_url)
            for package in ("relay", "indexer"):
                upgrade(database, package)
            doubtful = Doubtful(database, shelf)
            try:
                await scenario(doubtful, shelf)
            finally:
                await doubtful.stop()
                database.close()

        asyncio.run(around())

    return run


def test_honest_scores_are_looked_at_once_and_leave_nothing(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        at.fake.submit(GAME, [shelf.play(ALICE, 40), shelf.play(BOB, 41)])
        at.fake.mine()
        await at.look()
        assert (at.doubting.judged, shelf.asked) == (2, 2)
        await at.restart()
        await at.look()
        assert (at.doubting.judged, shelf.asked) == (0, 2)
        assert at.flags() == {}
        assert at.disputed() == {ALICE: False, BOB: False}
        assert at.doubting.check().detail == "0 scores wait for their evidence, 0 are disputed"

    play_out(scenario)


def test_a_forged_score_is_disputed_after_its_grace_and_sound_when_evidence_turns_up(
    play_out: Callable[[Scenario], None],
) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        late = shelf.play(BOB, 45, published=False)
        at.fake.submit(GAME, [shelf.play(ALICE, 40), late])
        at.fake.mine()
        await at.look()
        assert at.disputed() == {ALICE: False, BOB: False}
        assert await at.tables.counts() == (1, 0)
        reader = await at.join()
        await at.patience()
        assert at.disputed() == {ALICE: False, BOB: True}
        assert await at.tables.counts() == (0, 1)
        await asyncio.sleep(0)
        assert reader.kinds == ["snapshot", "standing"]
        assert reader.rows[checksummed(BOB)]["disputed"] is True
        flag = at.flags()["EVIDENCE_MISSING"]
        assert (flag.severity, flag.status, flag.subject_id, flag.occurrences) == ("critical", "open", f"{GAME}:2", 1)
        assert [(news["type"], news["code"], news["status"]) for news in at.told] == [
            ("flag", "EVIDENCE_MISSING", "open")
        ]
        await at.patience()  # looking again is no other occurrence
        assert at.flags()["EVIDENCE_MISSING"].occurrences == 1
        await at.restart()
        assert at.disputed() == {ALICE: False, BOB: True}
        shelf.publish(shelf.behind[late])
        await at.patience()
        assert at.disputed() == {ALICE: False, BOB: False}
        assert await at.tables.counts() == (0, 0)
        flag = at.flags()["EVIDENCE_MISSING"]
        assert (flag.status, flag.resolved_by) == ("dismissed", "indexer")
        assert at.told[-1]["status"] == "dismissed"
        await reader.leave()

    play_out(scenario)


def test_evidence_of_another_score_or_used_twice_is_disputed_at_once(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        honest = shelf.play(ALICE, 40)
        shelf.behind[BOB, 9_999] = shelf.behind[honest]
        at.fake.submit(GAME, [honest, (BOB, 9_999)])
        at.fake.mine()
        at.fake.submit(GAME, [honest])
        at.fake.mine()
        await at.look()
        assert set(at.flags()) == {"EVIDENCE_MISMATCH", "EVIDENCE_REUSED"}
        assert at.flags()["EVIDENCE_REUSED"].subject_id == f"{GAME}:3"
        assert at.disputed() == {ALICE: False, BOB: True}  # Alice's best is the first of the two
        again = shelf.play(ALICE, 40)
        assert again == honest

    play_out(scenario)


def test_evidence_made_to_stop_doubt_is_disputed_and_the_rest_is_looked_at(
    play_out: Callable[[Scenario], None],
) -> None:
    """Texts that PostgreSQL does not take, texts without end, numbers beyond any column; an honest score behind it."""

    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        honest = json.loads(shelf.behind[shelf.play(ALICE, 40, published=False)])
        claim = honest["claim"]
        forged = [
            {**honest, "gameId": "a\0b"},
            {**honest, "type": "x" * 1_000_000},
            {**honest, "score": 10**4_000},
            {**honest, "submissionId": "\0", "outcome": "\0"},
            {**honest, "claim": {**claim, "a\0b": 1}},
            {**honest, "claim": {**claim, "perfect": 10**400}},
        ]
        for number, document in enumerate(forged):
            score = honest["score"] + (number < 4)
            body = canonical_ascii({**document, "player": "0x" + bytes([9, number]).hex() * 10})
            shelf.publish(body)
            shelf.behind[bytes([9, number]) * 10, score] = body
            at.fake.submit(GAME, [(bytes([9, number]) * 10, score)])
            at.fake.mine()
        at.fake.submit(GAME, [(BOB, 7)])
        at.fake.mine()
        await at.look()
        await at.patience()
        assert set(at.flags()) == {"EVIDENCE_MISMATCH", "RECOMPUTATION_DIFFERS", "EVIDENCE_MISSING"}
        assert await at.tables.counts() == (0, len(forged) + 1)

    play_out(scenario)


@pytest.mark.parametrize(
    "document",
    [b"[" * 100_000, b'{"id":"\xff"}', b"null", b'{"id":"streambeat-counts@1","parameters":"x","checks":[]}'],
    ids=lambda document: document[:40].decode("latin-1"),
)
def test_rules_made_to_stop_doubt_are_no_rules(document: bytes) -> None:
    with pytest.raises(RulesetError):
        rules_of(document, keccak(document))


def test_an_unknown_signer_is_disputed_until_a_relay_says_that_it_signs_so(
    play_out: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.doubt.SIGNER_PATIENCE_S", 0.5)

    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        at.fake.signer = b"\x99" * 20
        at.fake.submit(GAME, [shelf.play(ALICE, 40)])
        at.fake.mine()
        await at.look()
        assert at.disputed() == {ALICE: False}
        await at.patience()
        assert at.disputed() == {ALICE: True}
        assert at.flags()["SIGNER_UNKNOWN"].status == "open"
        await at.tables.remember([b"\x99" * 20])
        await at.tables.remember([b"\x99" * 20])
        await at.patience()
        assert at.disputed() == {ALICE: False}
        assert at.flags()["SIGNER_UNKNOWN"].status == "dismissed"

    play_out(scenario)


def test_a_silent_relay_is_waited_for_longer_than_missing_evidence(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        shelf.answers = False
        at.fake.submit(GAME, [shelf.play(ALICE, 40)])
        at.fake.mine()
        await at.look()
        await at.patience()
        assert at.disputed() == {ALICE: False}
        assert at.doubting.check().detail.startswith("1 scores wait")
        shelf.answers = True
        await at.patience()
        assert await at.tables.counts() == (0, 0)

    play_out(scenario)


def test_a_reorganisation_takes_doubts_back_and_its_branch_is_looked_at(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        honest = shelf.play(ALICE, 40)
        shelf.behind[BOB, 9_999] = shelf.behind[honest]
        at.fake.mine()
        at.fake.submit(GAME, [(BOB, 9_999)])
        at.fake.mine()
        await at.look()
        assert at.disputed() == {BOB: True}
        at.fake.fork(1)
        at.fake.submit(GAME, [honest])
        at.fake.mine()
        at.fake.mine()
        await at.look()
        assert at.disputed() == {ALICE: False}  # Bob's was the first to name that evidence, on a branch that is gone
        assert await at.tables.counts() == (0, 0)
        assert at.flags()["EVIDENCE_MISMATCH"].status == "open"  # somebody signed it: an auditor decides

    play_out(scenario)


def test_a_stretch_that_the_chain_left_behind_is_not_written(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        at.fake.mine()
        at.fake.submit(GAME, [shelf.play(ALICE, 40)])
        at.fake.mine()
        await at.look()
        at.fake.submit(GAME, [shelf.play(BOB, 41)])
        at.fake.mine()
        await at.catch_up()
        games = {game.number: game for game in at.state.games.values()}
        looked = await at.tables.stretch(games, 10)
        assert len(looked.events) == 1
        at.fake.fork(1)
        at.fake.mine()
        at.fake.mine()
        await at.catch_up()
        with pytest.raises(Exception, match="another indexer moved"):
            await at.tables.advance(looked)

    play_out(scenario)


def test_doubt_rests_while_history_is_read(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        at.fake.submit(GAME, [shelf.play(ALICE, 40)])
        at.fake.mine()
        at.resting = True
        await at.look()
        assert at.doubting.judged == 0
        at.resting = False
        at.publisher.documents = {}
        await at.look()
        await at.patience()
        assert at.flags()["RULES_UNKNOWN"].reason == "The contract never published the rules"

    play_out(scenario)


def test_scores_beyond_ranking_are_flagged(play_out: Callable[[Scenario], None]) -> None:
    async def scenario(at: Doubtful, _shelf: Shelf) -> None:
        at.fake.submit(GAME, [(ALICE, 2**63)])
        at.fake.mine()
        await at.look()
        flag = at.flags()["SCORE_OUT_OF_RANGE"]
        assert (flag.severity, json.loads(flag.context)["score"]) == ("critical", str(2**63))
        await at.look()
        assert at.flags()["SCORE_OUT_OF_RANGE"].occurrences == 1

    play_out(scenario)


def test_two_thousand_scores_a_second_are_judged(play_out: Callable[[Scenario], None]) -> None:
    """The promise is of an idle machine; a fifth of it is demanded of a busy one."""

    async def scenario(at: Doubtful, shelf: Shelf) -> None:
        players = [keccak(b"%d" % n)[:20] for n in range(2_000)]
        plays = [shelf.play(player, 40 + n % 20) for n, player in enumerate(players)]
        for start in range(0, len(plays), 200):
            at.fake.submit(GAME, plays[start : start + 200])
            at.fake.mine()
        await at.catch_up()
        started = time.process_time()
        while await at.doubting.step():
            pass
        taken_s = time.process_time() - started
        assert at.doubting.judged == len(plays)
        assert at.flags() == {}
        print(f"{len(plays) / taken_s:,.0f} scores a CPU second")
        assert len(plays) / taken_s > 400

    play_out(scenario)


def test_evidence_nested_without_end_is_no_evidence() -> None:
    """No parser goes down there: where a library has raised the limit of recursion, that would end the process."""
    assert read(b'{"claim":' + b"[" * 500_000 + b"]" * 500_000 + b"}") is None
