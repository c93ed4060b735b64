"""Chance that nobody can choose and anybody can check: commit and reveal, and draws without bias.

Pure. An *epoch* is a day (UTC) of a game; its secret is committed to (SHA-256) the day before and revealed when it is
over. A roll's key is HMAC-SHA-256(secret, game ‖ 0 ‖ roll id ‖ 0 ‖ client seed); no id and no seed holds a zero byte,
so no two rolls have the same key. Rolls of an epoch are numbered from 0 without a gap and the number is in the roll's
id: whoever holds the secret cannot try ids until one pleases. Draws are the 64-bit words of HMAC-SHA-256(key, 0),
(key, 1) … with the counter as 4 bytes, all big-endian; a word that would favour small numbers is drawn again (rejection
sampling).
"""

import hmac
import re
from collections.abc import Sequence
from typing import NamedTuple

from relay.economy.entries import valid_id

WORD = 1 << 64
_ROLL_ID = re.compile(r"roll_(0|[1-9][0-9]{0,8})_(0|[1-9][0-9]{0,15})")


class RollNumber(NamedTuple):
    """Which roll of a game it is: its epoch (days since 1970-01-01 UTC), and how many came before in it."""

    epoch: int
    number: int


def secret_name(game_id: str, epoch: int) -> str:
    """Return the name of the secret of a game's epoch, another than that of its rounds' seeds."""
    return f"economy:{epoch}:{game_id}"


def roll_id(roll: RollNumber) -> str:
    """Return the id of a roll within its game."""
    return f"roll_{roll.epoch}_{roll.number}"


def parse_roll_id(text: str) -> RollNumber | None:
    """Return which roll an id is of; None where it is none."""
    found = _ROLL_ID.fullmatch(text)
    return None if found is None else RollNumber(int(found[1]), int(found[2]))


def valid_client_seed(text: str) -> bool:
    """Whether `text` can be a client's seed: empty, or 1 to 128 printable characters."""
    return text == "" or valid_id(text)


def roll_key(secret: bytes, game_id: str, roll: str, client_seed: str) -> bytes:
    """Return the 32 bytes that a roll's draws come from."""
    return hmac.digest(secret, b"\0".join(part.encode() for part in (game_id, roll, client_seed)), "sha256")


class Draws:
    """The numbers of one roll, in order."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._block = 0
        self._words: list[int] = []

    def below(self, bound: int) -> int:
        """Return the next number from 0 to `bound` - 1, each as likely as any other; ValueError beyond 2^64."""
        if not 1 <= bound <= WORD:
            raise ValueError(f"a draw is among 1 to 2^64, not {bound}")
        fair = WORD - WORD % bound  # the largest multiple of `bound`: what is above would favour small numbers
        while (word := self._word()) >= fair:
            pass
        return word % bound

    def weighted(self, weights: Sequence[int]) -> int:
        """Return the index of one of `weights` (each at least 1), as often as its share of their sum."""
        drawn = self.below(sum(weights))
        for index, weight in enumerate(weights):
            if drawn < weight:
                return index
            drawn -= weight
        raise AssertionError("a draw is below the sum")

    def _word(self) -> int:
        if not self._words:
            block = hmac.digest(self._key, self._block.to_bytes(4, "big"), "sha256")
            self._words = [int.from_bytes(block[at : at + 8], "big") for at in (24, 16, 8, 0)]
            self._block += 1
        return self._words.pop()
