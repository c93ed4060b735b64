"""Honest StreamBeat plays and the HTTP requests that submit them.

Pure.
"""

import json
import random
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address


def streambeat_score(perfect: int, good: int, combo: int) -> int:
    """The published formula, for plays where it is a whole number: the tests' own oracle, not the relay's code."""
    score, fraction = divmod(min(10 + combo, 500) * (10 * perfect + 5 * good), 10)
    if fraction:
        raise ValueError("choose counts whose score is whole")
    return score


def player(index: int) -> str:
    """A deterministic player's EIP-55 address."""
    return to_checksum_address((0xFA1250_0000 + index).to_bytes(20, "big"))


def wallet(index: int) -> Any:
    """A deterministic player with a private key."""
    return Account.from_key((0xFA1250_0000 + index).to_bytes(32, "big"))


def play(serial: int, address: str) -> dict[str, Any]:
    """One valid submission; no two serials below 1,000,000 give the same claim.

    The numbers stay in a narrow band, as an honest player's do: no statistical check has a reason to raise a flag.
    """
    chooser = random.Random(serial)
    perfect, good, miss = 40 + chooser.randrange(12), chooser.choice((10, 12, 14)), chooser.randrange(5)
    combo = chooser.randrange(30, 40)
    return {
        "playerAddress": address,
        "gameId": "streambeat",
        "scoreData": {
            "score": streambeat_score(perfect, good, combo),
            "perfect": perfect,
            "good": good,
            "miss": miss,
            "combo": combo,
            "gameTime": 30_000 + serial,
        },
    }


def request(body: dict[str, Any], *headers: str, path: str = "/api/submit-score") -> bytes:
    """The bytes of one keep-alive HTTP/1.1 POST of a JSON body, with further header lines."""
    content = json.dumps(body, separators=(",", ":")).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
