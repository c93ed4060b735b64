"""Who carries scores to the chain in this benchmark: the product's relay over a backlog, and one score per transaction.

Touches processes, databases, temporary folders and loopback HTTP.
"""

import asyncio
import json
import shutil
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account

from relay.attestation import Domain, score_batch_digest
from relay.chain import Chain
from relay.contract import Record, encode_submit_scores, pack_record
from relay.signer import LocalSigner
from relay.store.engine import open_database
from relay.store.tables import submissions
from tests.harness.nodes import DEVELOPMENT_KEYS, Node, Postgres, anvil, operator
from tests.harness.plays import play, player
from tests.harness.process import Fairscore, cpu_seconds
from tests.harness.rpc import RpcError, rpc

# Blocks every second, as on a fast L2; the gas limit leaves room for what is measured to be the sender, not the block.
CHAIN = ("--block-time", "1", "--gas-limit", "300000000")
GWEI = 10**9
SINGLE_GAS = 150_000
UNDER_WAY = 64  # sends of the pipelined baseline that wait for their answer at a time
FAR = 2**40
INSERT_ROWS = 5_000
RECEIPT_POLL_S = 0.05


@dataclass(frozen=True)
class Ground:
    """A contract that takes scores of one game: what both contestants stand on."""

    node: Node
    contract: str
    game: str  # keccak-256 of the game's id, 0x text
    rules_hash: str
    first_round: int  # lower ones are in use


@dataclass
class Clock(threading.Thread):
    """When each block was first seen, in seconds of the performance counter."""

    url: str
    seen: dict[int, float] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Ask twenty times a second."""
        while not self.ended.wait(0.05):
            number = int(rpc(self.url, "eth_blockNumber"), 16)
            self.seen.setdefault(number, time.perf_counter())

    def __enter__(self) -> "Clock":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()

    def at(self, block: int) -> float:
        """When this block or, if it was missed between two looks, the next one was seen."""
        return min(when for number, when in self.seen.items() if number >= block)


@dataclass(frozen=True)
class Relay:
    """A running relay with its chain and its database."""

    ground: Ground
    server: Fairscore
    database_url: str
    cpu: dict[str, Callable[[], float]]


def submit(server: Fairscore, serial: int) -> dict[str, Any]:
    """One honest play; the answer after it is in a block."""
    body = json.dumps(play(serial, player(serial))).encode()
    headers = {"Content-Type": "application/json", "Prefer": "wait=10"}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/api/submit-score", body, headers)) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@contextmanager
def relay(keys: int, postgres: Postgres | None) -> Iterator[Relay]:
    """The product's relay with `keys` gas keys on a fresh chain and database (SQLite without `postgres`)."""
    folder = Path(tempfile.mkdtemp(prefix="fairscore-chain-"))
    url = postgres.database() if postgres else f"sqlite:///{folder / 'fairscore.db'}"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        node = stack.enter_context(anvil(*CHAIN))
        given = operator(folder / "keys", node.url, url)
        given["FAIRSCORE_GAS_KEY_FILE"] = ",".join(gas_keys(folder / "keys", node, keys))
        server = stack.enter_context(Fairscore(folder / "home", "relay", settings=given))
        domain = submit(server, 1)["receipt"]["typedData"]
        message = domain["message"]
        ground = Ground(node, domain["domain"]["verifyingContract"], message["gameId"], message["rulesHash"], 2)
        cpu: dict[str, Callable[[], float]] = {
            "relay": server.cpu_seconds,
            "chain": lambda: cpu_seconds(node.pid),
        }
        if postgres:
            cpu["database"] = postgres.cpu_seconds
        yield Relay(ground, server, url, cpu)


def gas_keys(folder: Path, node: Node, count: int) -> list[str]:
    """Key files of `count` funded accounts; the first is the operator's own."""
    files = [str(folder / "gas.key")]
    for number in range(1, count):
        account = Account.from_key((0x6A5 + number).to_bytes(32, "big"))
        rpc(node.url, "anvil_setBalance", account.address, hex(10**22))
        file = folder / f"gas{number}.key"
        file.write_text(account.key.hex() + "\n")
        file.chmod(0o600)
        files.append(str(file))
    return files


def record(ground: Ground, round_id: int) -> Record:
    """The score of a round, made from its number alone: what the chain shows is compared with it."""
    player_address = (0xFA12 + round_id % 5_000).to_bytes(20, "big")
    return Record(player_address, 1_000 + round_id, round_id, round_id.to_bytes(32, "big"))


def backlog(running: Relay, count: int) -> float:
    """Accepted scores that no batch holds appear in the database in one commit; the moment of the commit."""
    ground = running.ground
    rounds = range(ground.first_round, ground.first_round + count)
    rows = [row(ground, record(ground, round_id)) for round_id in rounds]
    database = open_database(running.database_url)
    try:
        with database.write() as connection:
            for start in range(0, count, INSERT_ROWS):
                connection.execute(submissions.insert(), rows[start : start + INSERT_ROWS])
        return time.perf_counter()
    finally:
        database.close()


def row(ground: Ground, score: Record) -> dict[str, object]:
    """One accepted submission as the intake stores it."""
    now_ms = time.time_ns() // 1_000_000
    return {
        "id": f"sub_bench{score.round_id:017d}",
        "game_id": "streambeat",
        "player": score.player,
        "status": "accepted",
        "score": score.score,
        "round_id": score.round_id,
        "evidence_hash": score.evidence_hash,
        "evidence_level": 1,
        "rules_hash": bytes.fromhex(ground.rules_hash[2:]),
        "claim_hash": score.evidence_hash,
        "received_at_ms": now_ms,
        "accepted_at_ms": now_ms,
        "receipt_deadline": FAR,
        "receipt_signer": bytes(20),
        "receipt_signature": bytes(65),
        "request_id": "req_bench",
    }


async def one_by_one(ground: Ground, count: int, *, pipelined: bool) -> None:
    """One score per transaction from the gas key: sent 64 at a time, or each only after the last one's receipt.

    Kinder than a plain relay: nothing is stored, nonces are counted in memory, gas and fee are fixed.
    """
    gas, attester = (LocalSigner(bytes.fromhex(DEVELOPMENT_KEYS[number][2:])) for number in (2, 1))
    chain = Chain(ground.node.url, timeout_s=60)
    domain = Domain(31337, bytes.fromhex(ground.contract[2:]))
    game, rules = bytes.fromhex(ground.game[2:]), bytes.fromhex(ground.rules_hash[2:])
    nonce = await chain.nonce(gas.address)
    turns = asyncio.Semaphore(UNDER_WAY if pipelined else 1)

    async def send(number: int) -> None:
        records = pack_record(record(ground, ground.first_round + number))
        signature = attester.sign(score_batch_digest(domain, game, rules, FAR, records))
        fields = {
            "chainId": domain.chain_id, "nonce": nonce + number, "gas": SINGLE_GAS, "to": domain.contract, "value": 0,
            "data": encode_submit_scores(game, rules, FAR, records, signature),
            "maxFeePerGas": 10 * GWEI, "maxPriorityFeePerGas": GWEI,
        }  # fmt: skip
        async with turns:
            raw, tx_hash = gas.sign_transaction(fields)
            answer = await chain.send_raw(raw)
            if not answer.accepted:
                raise RpcError(answer.message)
            while not pipelined and (await chain.receipts([tx_hash]))[0] is None:  # noqa: ASYNC110 - polled
                await asyncio.sleep(RECEIPT_POLL_S)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(send(number))
    finally:
        await chain.close()
