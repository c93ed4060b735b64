"""Rounds: every interleaving of report, confirmation, deadline and cancellation, against what was promised."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product

import pytest

from relay import seeds
from relay.guard.rounds import Clocks, clock_lines, clocks_of, round_modes
from relay.keccak import keccak
from relay.rounds import (
    CANCELLED,
    MISMATCH,
    NO_REPORT,
    REFUSED,
    TIMEOUT,
    Effect,
    Refuse,
    Repeat,
    Report,
    Round,
    Said,
    State,
    Step,
    abandons,
    as_reported,
    chart_hash,
    confirm,
    crowded_out,
    deadline_ms,
    enter,
    expire,
    player_address,
    report,
    tournament_cancelled,
)
from relay.rules.ruleset import RulesetError
from relay.rules.verdict import Mode
from relay.tournaments import Tournament, entry, final

PLAYER, OTHER = b"\x0a" * 20, b"\x0b" * 20
RULES, CLAIM = b"\x01" * 32, b"\x02" * 32
LIFE_MS, PATIENCE_S = 1_000, 2
START = Round(
    id="0" * 24, game_id="g", tournament_id="t", player=PLAYER, player_id="p", chart="c", chart_hash=chart_hash("c"),
    rules_hash=RULES, seed=bytes(32), seed_subject="s", seed_commitment=bytes(32), chain_id=1, contract=bytes(20),
    needs_confirmation=True, confirmation_timeout_s=PATIENCE_S, issued_at_ms=0, expires_at_ms=LIFE_MS,
    state=State.ACTIVE, updated_at_ms=0, due_at_ms=LIFE_MS,
)  # fmt: skip
SCORE = 10
EVENTS = ("report", "bad report", "true", "mismatch", "false", "deadline", "cancel")
SAID = {"true": Said(True, SCORE), "mismatch": Said(True, 11), "false": Said(False)}
Log = list[tuple[str, str]]


def play(events: tuple[str, ...], needs: bool) -> tuple[Round, Log, list[Effect]]:
    """Let events happen to a round one after the other; returns it, what each was answered, and all effects."""
    found, now_ms, log, effects = replace(START, needs_confirmation=needs), 0, Log(), list[Effect]()
    for event in events:
        now_ms += 1
        if event == "deadline":
            now_ms = max(now_ms, found.due_at_ms or 0)
        step = expire(found, now_ms)
        effects.append(step.effect)
        found, answer = step.round, "ok"
        if event.endswith("report"):
            answer, found = reported(found, event, now_ms)
        elif event in SAID:
            ruling = confirm(found, SAID[event], "key", now_ms)
            answer = ruling.code if isinstance(ruling, Refuse) else "same" if ruling.round is found else "ok"
            if isinstance(ruling, Step):
                found = ruling.round
                effects.append(ruling.effect)
        elif event == "cancel":
            found, effect = tournament_cancelled(found, now_ms)
            effects.append(effect)
        check_stored(found)
        log.append((event, answer))
    return found, log, [effect for effect in effects if effect is not Effect.NOTHING]


def reported(found: Round, event: str, now_ms: int) -> tuple[str, Round]:
    """Report a round as the group does: what was said before is compared by a check that refuses."""
    claim = CLAIM if event == "report" else b"\x03" * 32
    entered = enter(found, Report(found.id, "t"), PLAYER, claim, RULES)
    if isinstance(entered, Refuse):
        return entered.code, found
    if isinstance(entered, Repeat):
        return "repeat", found
    refusal = "SCORE_MISMATCH" if event == "bad report" else None
    if refusal is None and found.said is not None and found.said.score != SCORE:
        refusal = MISMATCH
    return "ok", report(found, "sub_1", claim, SCORE, refusal, now_ms)


def check_stored(found: Round) -> None:
    """What the table's constraints hold."""
    is_open = found.state in {State.ACTIVE, State.REPORTED, State.CONFIRMED}
    assert (found.due_at_ms is not None) == is_open
    assert (found.reason is not None) == (found.state in {State.INVALIDATED, State.EXPIRED})
    assert found.state not in {State.REPORTED, State.ACCEPTED} or found.submission_id is not None
    assert (found.said_at_ms is None) == (found.said is None)


@dataclass
class Promise:
    """The promise in other words: which report and which word count, and what follows from the two."""

    needs: bool
    counted: str | None = None  # the report
    word: Said | None = None
    over: tuple[State, str] | None = None
    waiting: bool = False  # a score is held
    effects: list[Effect] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        """Whether a score counts now."""
        return self.counted == "report" and not self.waiting and self.over is None

    def reported(self, event: str) -> None:
        """The first report counts, if the round is not over."""
        if self.counted is not None or self.over is not None:
            return
        self.counted = event
        if event == "bad report":
            self.over = (State.INVALIDATED, "SCORE_MISMATCH")
        elif self.word is not None and self.word.score != SCORE:
            self.over = (State.INVALIDATED, MISMATCH)
        self.waiting = self.over is None and self.needs and self.word is None

    def heard(self, word: Said) -> None:
        """The first word counts, if the round is not over."""
        if self.word is not None or self.over is not None:
            return
        self.word = word
        if not word.valid or (self.counted is not None and word.score != SCORE):
            self.effects += [Effect.REJECT] if self.waiting else [Effect.REVOKE] if self.accepted else []
            self.over = (State.INVALIDATED, MISMATCH if word.valid else REFUSED)
        elif self.counted is not None:
            self.effects.append(Effect.ACCEPT if self.waiting else Effect.RAISE)
        self.waiting = False

    def ended(self, held: str, unreported: tuple[State, str]) -> None:
        """What is not accepted by then is over."""
        if self.over is None and not self.accepted:
            self.over = (State.INVALIDATED, held) if self.waiting else unreported
            self.effects += [Effect.REJECT] if self.waiting else []
            self.waiting = False

    def outcome(self) -> tuple[State, str | None, list[Effect]]:
        """State, reason and effects after all of it."""
        if self.over is not None:
            return *self.over, self.effects
        reported = State.REPORTED if self.waiting else State.ACCEPTED
        return reported if self.counted else State.CONFIRMED if self.word else State.ACTIVE, None, self.effects


def expected(events: tuple[str, ...], needs: bool) -> tuple[State, str | None, list[Effect]]:
    """What should come of a sequence."""
    promise = Promise(needs)
    for event in events:
        if event.endswith("report"):
            promise.reported(event)
        elif event in SAID:
            promise.heard(SAID[event])
        elif event == "deadline":
            promise.ended(TIMEOUT, (State.EXPIRED, NO_REPORT))
        else:
            promise.ended(CANCELLED, (State.INVALIDATED, CANCELLED))
    return promise.outcome()


def sequences() -> Iterator[tuple[str, ...]]:
    """Every sequence of up to five events: no behaviour needs more, as only a report and a word are remembered."""
    for length in range(6):
        yield from product(EVENTS, repeat=length)


@pytest.mark.parametrize("needs", [True, False])
def test_every_interleaving(needs: bool) -> None:
    """State, reason and effects are those promised; a score is accepted once and taken back once, never both ways."""
    for events in sequences():
        found, log, effects = play(events, needs)
        assert (found.state, found.reason, effects) == expected(events, needs), events
        assert sum(effect in {Effect.REJECT, Effect.REVOKE} for effect in effects) <= 1, events
        assert effects.count(Effect.ACCEPT) <= 1, events
        assert not (needs and Effect.REVOKE in effects), events  # what needs a word is never signed without one
        check_answers(log)


def check_answers(log: Log) -> None:
    """A word once taken stands: the same again changes nothing, any other contradicts it. One report counts."""
    taken = next((event for event, answer in log if event in SAID and answer == "ok"), None)
    if taken is not None:
        at = log.index((taken, "ok"))
        for event, answer in log[at + 1 :]:
            if event in SAID:
                assert answer == ("same" if event == taken else "CONFIRMATION_CONTRADICTS")
    reports = [answer for event, answer in log if event.endswith("report")]
    assert reports.count("ok") <= 1
    assert set(reports) <= {"ok", "repeat", "ROUND_ALREADY_USED", "ROUND_EXPIRED", "ROUND_INVALIDATED"}


@pytest.mark.parametrize(
    ("changes", "given", "code"),
    [
        ({}, {"tournament_id": "another"}, "ROUND_UNKNOWN"),
        ({"player": OTHER}, {}, "ROUND_WRONG_PLAYER"),
        ({"chart_hash": chart_hash("d")}, {"chart": "c"}, "ROUND_WRONG_CHART"),
        ({"rules_hash": b"\x09" * 32}, {}, "ROUND_WRONG_RULES"),
        ({"state": State.EXPIRED, "reason": NO_REPORT}, {}, "ROUND_EXPIRED"),
        ({"state": State.INVALIDATED, "reason": REFUSED}, {}, "ROUND_INVALIDATED"),
        ({"submission_id": "sub_1", "claim_hash": b"\x07" * 32}, {}, "ROUND_ALREADY_USED"),
    ],
)
def test_who_may_report(changes: dict[str, object], given: dict[str, str], code: str) -> None:
    """A round is bound to its tournament, player, chart and rules, and is used once."""
    refused = enter(replace(START, **changes), Report(START.id, **given), PLAYER, CLAIM, RULES)  # type: ignore[arg-type]
    assert isinstance(refused, Refuse)
    assert refused.code == code
    assert enter(START, Report(START.id, "t", "c"), PLAYER, CLAIM, RULES) is None


def test_the_oldest_of_too_many_rounds_expires_unless_it_is_reported() -> None:
    assert crowded_out(START, 7).round.reason == "TOO_MANY_OPEN_ROUNDS"
    held = report(START, "sub_1", CLAIM, SCORE, None, 5)
    assert crowded_out(held, 7).round is held
    assert (abandons(9, 9), abandons(10, 8), abandons(10, 9)) == (False, False, True)


def test_a_round_ends_with_its_tournament() -> None:
    assert deadline_ms(1_000, 60, None) == 61_000
    assert deadline_ms(1_000, 60, 5_000) == 5_000


def test_the_first_answer_shows_the_round_as_the_report_left_it() -> None:
    held = report(START, "sub_1", CLAIM, SCORE, None, 5)
    later = confirm(held, Said(valid=True, score=SCORE), "key", 9)
    assert isinstance(later, Step)
    assert as_reported(later.round, held=True) == replace(held, said_at_ms=9, said_by="key")
    known = confirm(START, Said(valid=True, score=SCORE), "key", 3)
    assert isinstance(known, Step)
    told = report(known.round, "sub_1", CLAIM, SCORE, None, 5)
    assert as_reported(told, held=False) == told


def test_players_without_an_address_get_one_of_their_game() -> None:
    """Nobody holds its key, and two games' players of one name are not one."""
    assert player_address("g", "p") != player_address("h", "p")
    named = keccak(b"fairscore-player:1:streambeat:5f158719c9e95137883b8b7c")
    assert player_address("streambeat", "5f158719c9e95137883b8b7c") == named[12:]


def test_a_seed_follows_from_its_secret() -> None:
    """HMAC-SHA-256 by the standard library, over the three parts at fixed width."""
    secret, round_id = b"\x05" * 32, "5f158727c9e95137883b8b96"
    message = bytes.fromhex(round_id) + PLAYER + chart_hash("c")
    assert seeds.seed(secret, round_id, PLAYER, chart_hash("c")) == hmac.new(secret, message, hashlib.sha256).digest()
    assert seeds.commitment(secret) == hashlib.sha256(secret).digest()
    day = seeds.day_of(1_700_000_000_000)
    assert seeds.ends_ms(day) == 1_700_006_400_000  # 2023-11-15T00:00:00Z
    assert (seeds.day_of(seeds.ends_ms(day) - 1), seeds.day_of(seeds.ends_ms(day))) == (day, day + 1)


@pytest.mark.parametrize(
    ("clocks", "violated"),
    [
        (Clocks(30_000, 30_250, None), {}),
        (Clocks(30_000, 30_251, None), {"TIMING_IMPLAUSIBLE"}),
        (Clocks(37_500, 30_000, None), {}),
        (Clocks(37_501, 30_000, None), {"WALL_CLOCK_DRIFT"}),
        (Clocks(29_750, None, 30_000), {}),
        (Clocks(29_749, None, 30_000), {"WALL_CLOCK_TOO_SHORT"}),
        (Clocks(1, None, None), {}),
    ],
)
def test_the_clocks_limits(clocks: Clocks, violated: set[str]) -> None:
    """Both sides of each limit."""
    lines = clock_lines(clocks, round_modes({}))
    assert {row.code for row, finding in lines if finding[0]} == set(violated)


def test_checks_of_the_clock_are_switched_as_others() -> None:
    assert round_modes({"WALL_CLOCK_DRIFT": "enforce", "SCORE_SPIKE": "flag"})["WALL_CLOCK_DRIFT"] is Mode.ENFORCE
    with pytest.raises(RulesetError):
        round_modes({"WALL_CLOCK_DRIFT": "maybe"})
    assert clocks_of(object(), 5) == Clocks(5, None, None)


def test_a_tournament_takes_whom_it_has_room_for() -> None:
    cup = Tournament("t", "g", "Cup", 10, 20, 2, 3, False, 60, "c", 0, "key")

    def code(now_ms: int = 15, chart: str | None = None, **counts: object) -> str | None:
        given = {"attempts": 0, "players": 0, "known": False} | counts
        refusal = entry(cup, now_ms, chart, **given)  # type: ignore[arg-type]
        return None if refusal is None else refusal.code

    assert (code(9), code(10), code(19), code(20)) == ("TOURNAMENT_NOT_OPEN", None, None, "TOURNAMENT_NOT_OPEN")
    assert (code(chart="c"), code(chart="d")) == (None, "ROUND_WRONG_CHART")
    assert (code(players=3), code(players=3, known=True)) == ("TOURNAMENT_FULL", None)
    assert (code(attempts=1), code(attempts=2)) == (None, "ATTEMPTS_EXHAUSTED")
    assert (final(cup, 0, 19), final(cup, 1, 20), final(cup, 0, 20)) == (False, False, True)
