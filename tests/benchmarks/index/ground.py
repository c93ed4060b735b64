"""The chains of the index benchmark: anvil with so many scores in so many blocks, made once and kept as a state file.

Touches anvil, a cache folder and loopback HTTP. Everything comes from a seed, so a state that was kept is as good as
one made anew.
"""

import http.client
import json
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relay.attestation import Domain, score_batch_digest
from relay.contract import Record, encode_call, encode_submit_scores, game_key, init_code, pack_record
from relay.keccak import keccak
from relay.signer import LocalSigner
from tests.conftest import Anvil, start_anvil

GAME = "streambeat"
CHAIN_ID = 31337
# Blocks hold what they are given; no state of old blocks is kept, so that the heads of the past cannot be asked for.
OPTIONS = ("--no-mining", "--gas-limit", "300000000")
RULES = b"rules"
FAR = 2**40
SCORE_MAX = 1_000_000
SCORES_PER_PLAYER = 10
SAY_EVERY_S = 10.0
LOAD_S = 180.0


class NodeError(RuntimeError):
    """Anvil refused, or did not do what was asked."""


class Talk:
    """JSON-RPC over one connection that stays open: a benchmark's own calls must cost little."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=LOAD_S)
        self._serial = count(1)

    def ask(self, method: str, *params: Any) -> Any:
        """Return one result; NodeError for an error."""
        body = {"jsonrpc": "2.0", "id": next(self._serial), "method": method, "params": params}
        self._connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())
        if "error" in answer:
            raise NodeError(f"{method}: {answer['error']}")
        return answer["result"]


@dataclass(frozen=True)
class Size:
    """How much a chain holds."""

    scores: int
    blocks: int

    @property
    def per_block(self) -> int:
        """Scores in one block: one batch."""
        return self.scores // self.blocks

    def __str__(self) -> str:
        return f"{self.scores:,} scores in {self.blocks:,} blocks"


class Ground:
    """A chain with a Leaderboard on it, and the one who writes to it."""

    def __init__(self, node: Anvil, seed: int) -> None:
        self.node, self.talk = node, Talk(node.url)
        self._sender = str(self.talk.ask("eth_accounts")[0])
        self._signer = LocalSigner(bytes(31) + b"\x07")
        self._dice = random.Random(seed)
        self._game = game_key(GAME)
        self._players: Sequence[bytes] = ()
        self.contract = b""
        self.recorded = 0

    @property
    def address(self) -> str:
        """The contract's address, as settings have it."""
        return "0x" + self.contract.hex()

    def head(self) -> int:
        """The newest block."""
        return int(self.talk.ask("eth_blockNumber"), 16)

    def deploy(self, players: int) -> None:
        """Put the contract there, with its rules."""
        owner = bytes.fromhex(self._sender[2:])
        tx_hash = self._send(None, init_code(owner, 0, self._signer.address, owner, owner))
        self.talk.ask("evm_mine")
        self.resume(str(self.talk.ask("eth_getTransactionReceipt", tx_hash)["contractAddress"]), players, 0)
        self._send(self.contract, encode_call("publishRules", self._game, RULES))
        self.talk.ask("evm_mine")

    def resume(self, contract: str, players: int, recorded: int) -> None:
        """Go on with a contract that is there."""
        self.contract, self.recorded = bytes.fromhex(contract[2:]), recorded
        seeded = random.Random(players)
        self._players = [seeded.randbytes(20) for _ in range(players)]

    def block(self, scores: int) -> None:
        """Mine one block with one batch."""
        self.send(scores)
        self.mine()

    def send(self, scores: int) -> None:
        """Hand anvil one batch, which waits for the next block."""
        dice = self._dice
        packed = b"".join(
            pack_record(Record(dice.choice(self._players), dice.randrange(SCORE_MAX), serial, dice.randbytes(32)))
            for serial in range(self.recorded + 1, self.recorded + 1 + scores)
        )
        self.recorded += scores
        rules = keccak(RULES)
        digest = score_batch_digest(Domain(CHAIN_ID, self.contract), self._game, rules, FAR, packed)
        self._send(self.contract, encode_submit_scores(self._game, rules, FAR, packed, self._signer.sign(digest)))

    def mine(self) -> None:
        """Mine what waits."""
        self.talk.ask("evm_mine")

    def fill(self, size: Size) -> None:
        """Mine `size`, saying how far it is."""
        said = began = time.monotonic()
        for number in range(size.blocks):
            self.block(size.per_block)
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                say(f"making {size}: block {number:,}, {said - began:.0f} s")

    def _send(self, to: bytes | None, data: bytes) -> str:
        call = {"from": self._sender, "data": "0x" + data.hex(), "gas": hex(20_000_000)}
        return str(self.talk.ask("eth_sendTransaction", call if to is None else call | {"to": "0x" + to.hex()}))


@contextmanager
def ground(size: Size, cache: Path, seed: int = 1) -> Iterator[Ground]:
    """A running anvil with `size` on it: from the cache folder, or made and put there."""
    state, about = cache / f"{size.scores}-{size.blocks}.state", cache / f"{size.scores}-{size.blocks}.json"
    players = max(1, size.scores // SCORES_PER_PLAYER)
    if not about.is_file():
        make(size, state, about, seed)
    found = json.loads(about.read_text())
    node = start_anvil(*OPTIONS, "--load-state", str(state), wait_s=LOAD_S)
    try:
        there = Ground(node, seed + 1)
        there.resume(found["contract"], players, size.scores)
        if there.head() < size.blocks:
            raise NodeError(f"the state in {state} has {there.head()} blocks")
        yield there
    finally:
        node.process.kill()
        node.process.wait()


def make(size: Size, state: Path, about: Path, seed: int) -> None:
    """Make a chain and keep it."""
    say(f"making {size}, once")
    state.parent.mkdir(parents=True, exist_ok=True)
    node = start_anvil(*OPTIONS, "--dump-state", str(state))
    try:
        made = Ground(node, seed)
        made.deploy(max(1, size.scores // SCORES_PER_PLAYER))
        made.fill(size)
    finally:
        node.process.send_signal(signal.SIGINT)  # then it writes the file
        node.process.wait(LOAD_S)
    about.write_text(json.dumps({"contract": made.address}))


def say(text: str) -> None:
    """Progress, on standard error: standard output is for the table."""
    print(f"  {text}", file=sys.stderr, flush=True)
