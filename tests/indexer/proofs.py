"""Honest plays of a real ruleset with the evidence that a relay would publish, and where it can be had."""

import json
from collections.abc import Sequence

import msgspec

from indexer.evidence import Bodies
from relay.contract import Record
from relay.games import GameConfig, Games
from relay.keccak import keccak
from relay.rules.ruleset import BoundRuleset, Context
from relay.rules.streambeat import Counts
from relay.submission import evidence, read
from tests.indexer.watching import GAME

GAMES = Games([GameConfig(GAME)])
RULES: BoundRuleset = GAMES.by_id[GAME].rules


def counts(perfect: int) -> Counts:
    """A play with that many perfect notes, and the score that they give."""
    blank = Counts(0, perfect, 20, 5, 10, 60_000)
    score = RULES.judge(blank, Context(b"\x01" * 20)).score
    assert score is not None
    return msgspec.structs.replace(blank, score=score)


def proof(player: bytes, claim: Counts, serial: int, outcome: str = "accepted") -> bytes:
    """The evidence of a play, made by the relay's own code."""
    body = {"playerAddress": "0x" + player.hex(), "scoreData": json.loads(msgspec.json.encode(claim))}
    submission = read(json.dumps(body).encode(), GAMES)
    verdict = RULES.judge(submission.claim, Context(player))
    return evidence(submission, verdict, f"sub_{serial:026d}", 1_700_000_000_000 + serial, outcome)


class Shelf:
    """Published evidence; `answers` is whether whoever publishes it can be asked."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.behind: dict[tuple[bytes, int], bytes] = {}  # evidence by player and score, as the chain names it
        self.answers = True
        self.asked = 0

    def play(self, player: bytes, perfect: int, *, published: bool = True) -> tuple[bytes, int]:
        """An honest play: returns what goes into a batch."""
        claim = counts(perfect)
        body = proof(player, claim, len(self.behind))
        self.behind[player, claim.score] = body
        if published:
            self.publish(body)
        return player, claim.score

    def publish(self, body: bytes) -> None:
        """Let evidence be found."""
        self.kept[keccak(body)] = body

    def record_of(self, round_id: int, player: bytes, score: int) -> Record:
        """What stands on the chain; a play that nobody knows names a hash of nothing."""
        body = self.behind.get((player, score), b"forged %d" % round_id)
        return Record(player, score, round_id, keccak(body))

    async def bodies(self, hashes: Sequence[bytes]) -> Bodies:
        """What is published under some hashes."""
        self.asked += len(hashes)
        if not self.answers:
            return Bodies({}, frozenset(hashes))
        return Bodies({known: self.kept[known] for known in hashes if known in self.kept}, frozenset())
