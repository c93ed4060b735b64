"""What makes a score doubtful, case by case, and what becomes of a doubt."""

import json
from typing import Any

import msgspec
import pytest

from indexer.doubt import (
    SIGNER_PATIENCE_S,
    Doubt,
    Event,
    Known,
    Missing,
    Standing,
    decide,
    flag_of,
    judge,
    out_of_range,
    read,
    rules_of,
)
from relay.canonical import canonical
from relay.contract import game_key
from relay.flag_kinds import DOUBT_KINDS
from relay.games import GameConfig, Games
from relay.keccak import keccak
from relay.rules.registry import bind
from relay.rules.ruleset import Context, RulesetError
from relay.submission import evidence
from relay.submission import read as read_submission
from tests.indexer.proofs import RULES, counts, proof
from tests.indexer.watching import GAME

PLAYER = b"\x0a" * 20
RELAY = b"\x0b" * 20
CLAIM = counts(40)
BODY = proof(PLAYER, CLAIM, 1)
EVENT = Event(7, 1, 3, PLAYER, CLAIM.score, keccak(BODY), RULES.hash, b"\x0c" * 32, RELAY, 7, game_key(GAME), GAME)
KNOWN = Known(frozenset({RELAY}), BODY, RULES)


def found(event: Event = EVENT, **known: Any) -> str | None:
    """The code of what is wrong."""
    doubt = judge(event, KNOWN._replace(**known))
    assert doubt is None or doubt.code in DOUBT_KINDS
    return None if doubt is None else doubt.code


def rewritten(**changes: object) -> bytes:
    """The evidence with some fields changed, canonical."""
    return canonical({**json.loads(BODY), **changes})


def test_an_honest_score_is_sound() -> None:
    assert found() is None
    assert found(attestors=frozenset()) is None  # no attestor is known: the contract's word for the signer is taken


@pytest.mark.parametrize(
    ("event", "known", "code"),
    [
        (EVENT._replace(signer=PLAYER), {}, "SIGNER_UNKNOWN"),
        (EVENT, {"body": Missing("none", 10)}, "EVIDENCE_MISSING"),
        (EVENT, {"body": b"[]"}, "EVIDENCE_MISMATCH"),
        (EVENT, {"body": b"\xff"}, "EVIDENCE_MISMATCH"),
        (EVENT, {"body": b" " + BODY}, "EVIDENCE_MISMATCH"),
        (EVENT, {"body": BODY.replace(b'"outcome"', b'"outcome":"accepted","outcome"')}, "EVIDENCE_MISMATCH"),
        (EVENT, {"body": rewritten(more=1)}, "EVIDENCE_MISMATCH"),
        (EVENT, {"body": rewritten(type="fairscore-moderation@1")}, "EVIDENCE_MISMATCH"),
        (EVENT._replace(key=game_key("other")), {}, "EVIDENCE_MISMATCH"),
        (EVENT._replace(player=RELAY), {}, "EVIDENCE_MISMATCH"),
        (EVENT._replace(score=CLAIM.score + 1), {}, "EVIDENCE_MISMATCH"),
        (EVENT._replace(rules_hash=keccak(b"others")), {}, "EVIDENCE_MISMATCH"),
        (EVENT, {"body": proof(PLAYER, CLAIM, 1, "refused")}, "EVIDENCE_MISMATCH"),
        (EVENT._replace(first=6), {}, "EVIDENCE_REUSED"),
        (EVENT, {"rules": Missing("never published", 10)}, "RULES_UNKNOWN"),
        (EVENT, {"body": rewritten(evidenceLevel=2)}, "RECOMPUTATION_DIFFERS"),
        (EVENT, {"body": rewritten(ruleset="other@1")}, "RECOMPUTATION_DIFFERS"),
        (EVENT, {"body": rewritten(claim={"score": 1})}, "RECOMPUTATION_DIFFERS"),
        (EVENT, {"body": rewritten(checks=[])}, "RECOMPUTATION_DIFFERS"),
    ],
)
def test_what_is_wrong_has_a_name(event: Event, known: dict[str, Any], code: str) -> None:
    assert found(event, **known) == code


def test_a_relay_that_signs_what_it_did_not_compute_is_found_out() -> None:
    """The evidence agrees with the event in every field; only the rules disagree."""
    inflated = msgspec.structs.replace(CLAIM, score=CLAIM.score + 500)
    body = rewritten(claim=json.loads(msgspec.json.encode(inflated)), score=inflated.score)
    doubt = judge(EVENT._replace(score=inflated.score), KNOWN._replace(body=body))
    assert doubt is not None
    assert doubt.code == "RECOMPUTATION_DIFFERS"
    assert "Score mismatch" in doubt.reason


def test_a_numbers_line_that_was_touched_up_is_found_out() -> None:
    lines = json.loads(BODY)["checks"]
    lines[2] |= {next(name for name, value in lines[2].items() if type(value) is int and name != "version"): 12_345}
    assert found(body=rewritten(checks=lines)) == "RECOMPUTATION_DIFFERS"


def test_what_only_the_relay_could_know_is_not_held_against_it() -> None:
    """A player's history, round, signature and deadline are in the evidence, and change nothing of the score."""
    request = {
        "playerAddress": "0x" + PLAYER.hex(), "scoreData": json.loads(msgspec.json.encode(CLAIM)),
        "roundId": "r-1", "signature": "0x" + "ab" * 65, "deadline": 1_800_000_000,
    }  # fmt: skip
    submission = read_submission(json.dumps(request).encode(), Games([GameConfig(GAME)]))
    verdict = RULES.judge(submission.claim, Context(PLAYER, [100 + i for i in range(20)], signed=True))
    assert found(body=evidence(submission, verdict, "sub_1", 1, "accepted")) is None


def test_lines_of_the_relays_guard_are_its_own() -> None:
    guard = {"code": "DUPLICATE_SUBMISSION", "result": "pass", "version": 1}
    assert found(body=rewritten(checks=[guard, *json.loads(BODY)["checks"]])) is None


def test_a_game_servers_word_raises_the_level_for_the_same_score_only() -> None:
    said = {"at": 1, "by": "key_1", "score": CLAIM.score}
    played = {"id": "0" * 24, "tournamentId": None}
    assert found(body=rewritten(confirmation=said, evidenceLevel=2, round=played)) is None
    for confirmation, level in ((said, 1), ({**said, "score": CLAIM.score + 1}, 2), (None, 2)):
        assert found(body=rewritten(confirmation=confirmation, evidenceLevel=level)) == "RECOMPUTATION_DIFFERS"


def test_rules_are_read_from_what_the_contract_published() -> None:
    assert rules_of(RULES.body, RULES.hash).hash == RULES.hash
    strict = bind("streambeat-counts@1", {"scoreMax": 5}, {"SCORE_SPIKE": "enforce"})
    assert found(rules=rules_of(strict.body, strict.hash)) == "RECOMPUTATION_DIFFERS"
    for document in (b"[]", b"{}", b'"', canonical({**RULES.document(), "id": "none@1"}), canonical({"id": 1})):
        with pytest.raises(RulesetError):
            rules_of(document, keccak(document))
    with pytest.raises(RulesetError, match="another document"):
        rules_of(RULES.body, keccak(b""))
    later = canonical({**RULES.document(), "version": 9})
    with pytest.raises(RulesetError, match="another version"):
        rules_of(later, keccak(later))


def test_patience_ends_and_a_finding_stays_until_it_is_contradicted() -> None:
    absent, other = Doubt("EVIDENCE_MISSING", "", {}, 10), Doubt("EVIDENCE_MISMATCH", "", {})
    waits = decide(None, absent, 1_000)
    assert waits == Standing("EVIDENCE_MISSING", False, 1_000)
    assert decide(waits, absent, 10_999) == waits
    over = decide(waits, absent, 11_000)
    assert over == Standing("EVIDENCE_MISSING", True, 1_000)
    assert decide(over, absent, 99_000) == over
    worse = decide(over, other, 12_000)
    assert worse == Standing("EVIDENCE_MISMATCH", True, 1_000)
    assert decide(worse, absent, 13_000) == worse  # it cannot be looked at now: that makes nothing better
    assert decide(worse, None, 14_000) is None
    assert SIGNER_PATIENCE_S > 1  # a relay says within a second that it signs with another key


def test_flags_are_critical_and_one_for_each_player_and_kind() -> None:
    doubt = judge(EVENT._replace(signer=PLAYER), KNOWN)
    assert doubt is not None
    flag = flag_of(EVENT, doubt)
    assert (flag.severity, flag.subject_type, flag.subject_id) == ("critical", "score", f"{GAME}:3")
    assert flag.about == "0x" + PLAYER.hex()
    assert flag_of(EVENT._replace(round_id=4), doubt).about == flag.about
    large = flag_of(EVENT, out_of_range(EVENT._replace(score=2**70)))
    assert (large.code, large.context["score"]) == ("SCORE_OUT_OF_RANGE", str(2**70))
    assert {kind.severity for kind in DOUBT_KINDS.values()} == {"critical"}


def test_evidence_is_read_strictly() -> None:
    assert read(BODY) is not None
    assert read(b"{" * 100_000) is None
    assert read(BODY.replace(b"accepted", b"\xc3\x28")) is None
