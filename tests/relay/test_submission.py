"""Reading submissions: addresses, games, evidence."""

import json
from typing import Any

import pytest
import rfc8785
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import FairscoreError
from relay.games import GameConfig, GameError, Games, game_from_mapping
from relay.rules.ruleset import Context
from relay.submission import evidence, read, read_address

ONE = Games([GameConfig("streambeat")])
TWO = Games([GameConfig("streambeat"), GameConfig("other", parameters={"tolerance": 0})])
PLAYER = "0x52908400098527886E0F7030069857D2E4169EE7"
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}


def body(**fields: Any) -> bytes:
    """A submission's bytes."""
    return json.dumps({"playerAddress": PLAYER, "scoreData": PLAY} | fields).encode()


@given(st.binary(min_size=20, max_size=20))
def test_addresses(raw: bytes) -> None:
    """EIP-55, lower and upper case are one player; a wrong checksum and the zero address are nobody."""
    text = to_checksum_address(raw)
    if not any(raw):
        with pytest.raises(FairscoreError, match="zero"):
            read_address(text, "/p")
        return
    assert {read_address(form, "/p") for form in (text, text.lower(), "0x" + text[2:].upper())} == {raw}
    swapped = "0x" + text[2:].swapcase()
    if swapped[2:] not in (text[2:].lower(), text[2:].upper()) and swapped != text:
        with pytest.raises(FairscoreError, match="checksum"):
            read_address(swapped, "/p")


def test_which_game() -> None:
    """Named, the only one, or the key's; else the caller must say."""
    assert read(body(), ONE).game.id == "streambeat"
    assert read(body(gameId="other"), TWO).game.id == "other"
    assert read(body(), TWO, "other").game.id == "other"
    wrong: list[tuple[Games, dict[str, object], str]] = [
        (TWO, {}, "GAME_REQUIRED"),
        (TWO, {"gameId": "x"}, "GAME_UNKNOWN"),
        (ONE, {"gameId": "x"}, "GAME_UNKNOWN"),
        (TWO, {"gameId": 5}, "PAYLOAD_MALFORMED"),
    ]
    for games, fields, code in wrong:
        with pytest.raises(FairscoreError) as caught:
            read(body(**fields), games)
        assert caught.value.code == code
    for raw in (b"[" * 100_000, b"{", b"\xff", b'{"a":' * 50_000):
        with pytest.raises(FairscoreError) as caught:
            read(raw, TWO)
        assert caught.value.code == "PAYLOAD_MALFORMED"


def test_what_makes_two_claims_the_same() -> None:
    """Spaces, order and the address's case do not; any value does."""
    same = {read(body(), ONE).claim_hash, read(body(playerAddress=PLAYER.lower()), ONE).claim_hash,
            read(json.dumps(json.loads(body()), indent=3).encode(), ONE).claim_hash,
            read(body(gameId="streambeat", roundId=None), ONE).claim_hash,
            read(body(scoreData=dict(reversed(PLAY.items()))), ONE).claim_hash}  # fmt: skip
    assert len(same) == 1
    others = [body(scoreData=PLAY | {name: value + 1}) for name, value in PLAY.items()]
    others += [body(roundId="r"), body(deadline=5), body(signature="0x00"), body(playerAddress="0x" + "01" * 20)]
    assert len({read(raw, ONE).claim_hash for raw in others} | same) == len(others) + 1


def test_evidence_is_canonical() -> None:
    """The hot path's bytes are those of RFC 8785, whatever comes with the claim."""
    given_ = read(body(roundId="z/1", signature="0xAB", deadline=9), ONE)
    verdict = given_.game.rules.judge(given_.claim, Context(given_.player, [2000] * 12, given_.signing is not None))
    raw = evidence(given_, verdict, "sub_1", 5, "accepted")
    document = json.loads(raw)
    assert raw == rfc8785.dumps(document)
    assert document["claim"] == {**PLAY, "deadline": 9, "roundId": "z/1", "signature": "0xab"}
    signed = next(check for check in document["checks"] if check["code"] == "SIGNATURE_INVALID")
    assert signed["result"] == "insufficient_data"  # kept, and nothing concluded from it


@pytest.mark.parametrize(
    "table",
    [{"speed": 1}, {"anonymous_submit": "yes"}, {"limits": {"submit-score": 0}}, {"limits": {"submit-score": True}},
     {"limits": {"craft": 5}}, {"allowed_origins": "*"}, {"allowed_origins": ["example.org"]}, {"parameters": []}],
    ids=str,
)  # fmt: skip
def test_a_games_settings_are_checked_at_start(table: dict[str, Any]) -> None:
    """The message names the game."""
    with pytest.raises(GameError, match="chess"):
        game_from_mapping("chess", table)


def test_games_are_distinct() -> None:
    """No game, a bad id, or the same id twice."""
    for configs in ([], [GameConfig("a"), GameConfig("a")]):
        with pytest.raises(GameError):
            Games(configs)
    with pytest.raises(GameError, match="game id"):
        GameConfig("../a")
    assert (
        game_from_mapping("a", {"limits": {"submit-score": 5}, "allowed_origins": ["https://a.example"]}).limit(
            "submit-score"
        )
        == 5
    )
