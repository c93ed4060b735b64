"""The outbox over real chains and the real contract; and the simulated chain held to the same behaviour."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from relay.attestation import Domain, score_batch_digest
from relay.chain import Chain
from relay.chain_types import ChainAnswerError, Receipt
from relay.contract import TOPICS, Record, encode_submit_scores, game_key, pack_record, revert_name
from relay.deployment import DeploymentError, Roles, deploy, publish_rules, verify
from relay.devnet import Devnet
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import OutboxChain
from relay.outbox.send_errors import SendClass, classify
from relay.signer import LocalSigner
from tests.harness.fake_chain import GWEI, FakeChain
from tests.harness.outboxes import ATTESTER, CHAIN_ID, CONTRACT, GAS_KEY, RULES, SETTINGS, bench, eventually

GAME = game_key("streambeat")
DOCUMENT = b'{"ruleset":"test@1"}'


@dataclass
class Ground:
    """A chain with the contract on it, and who may use it."""

    chain: OutboxChain
    domain: Domain
    gas: LocalSigner
    attester: LocalSigner
    rules: bytes
    advance: Callable[[], None]  # makes the simulated chain's next block; the real one makes its own

    def call(self, nonce: int, rounds: list[int], fee: int = 4 * GWEI, score: int = 5) -> tuple[bytes, bytes]:
        """A signed transaction that records rounds; returns (raw, hash)."""
        records = b"".join(pack_record(Record(b"\x05" * 20, score, number, b"\x06" * 32)) for number in rounds)
        signature = self.attester.sign(score_batch_digest(self.domain, GAME, self.rules, 2**40, records))
        data = encode_submit_scores(GAME, self.rules, 2**40, records, signature)
        fields = {
            "chainId": self.domain.chain_id, "nonce": nonce, "gas": 300_000, "to": self.domain.contract, "value": 0,
            "data": data, "maxFeePerGas": fee, "maxPriorityFeePerGas": fee // 4,
        }  # fmt: skip
        return self.gas.sign_transaction(fields)

    async def mined(self, tx_hash: bytes) -> Receipt:
        """Wait for the receipt."""
        for _ in range(6_000):
            self.advance()
            receipt = (await self.chain.receipts([tx_hash]))[0]
            if receipt is not None:
                return receipt
            await asyncio.sleep(0.01)
        raise AssertionError("not mined")


@asynccontextmanager
async def ground(kind: str, home: Path) -> AsyncIterator[Ground]:
    """The simulated chain, or the embedded one with the compiled contract."""
    if kind == "simulated":
        fake = FakeChain(CONTRACT)
        yield Ground(fake, Domain(CHAIN_ID, CONTRACT), GAS_KEY, ATTESTER, RULES, fake.mine)
        return
    devnet = await Devnet.start(home)
    chain = Chain(devnet.rpc_url)
    keys = {role: LocalSigner(key.secret) for role, key in devnet.keys.items()}
    roles = Roles(*(keys[role].address for role in ("admin", "attestation", "guardian", "auditor")))
    deployment = await deploy(chain, keys["admin"], roles)
    rules = await publish_rules(chain, keys["admin"], deployment.address, "streambeat", DOCUMENT)
    try:
        domain = Domain(devnet.chain_id, deployment.address)
        yield Ground(chain, domain, keys["gas"], keys["attestation"], rules, lambda: None)
    finally:
        await chain.close()
        await devnet.stop()


@pytest.mark.parametrize("kind", ["simulated", "embedded"])
def test_the_simulated_chain_behaves_as_the_real_one(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with ground(kind, tmp_path) as g:
            first, first_hash = g.call(0, [1, 2])
            assert classify(await g.chain.send_raw(first)) is SendClass.ACCEPTED
            receipt = await g.mined(first_hash)
            assert receipt.succeeded
            rounds = [
                int.from_bytes(log.topics[3], "big")
                for log in receipt.logs
                if log.topics[0] == TOPICS["ScoreSubmitted"]
            ]
            assert rounds == [1, 2]
            assert receipt.logs[0].data == (5).to_bytes(32, "big") + b"\x06" * 32 + g.rules
            block = await g.chain.block(receipt.block_number)
            assert block is not None
            assert block.hash == receipt.block_hash
            assert classify(await g.chain.send_raw(first)) is SendClass.NONCE_TOO_LOW
            # a round that is recorded is skipped; nothing new at all fails
            again, again_hash = g.call(1, [2, 3])
            await g.chain.send_raw(again)
            receipt = await g.mined(again_hash)
            assert len([log for log in receipt.logs if log.topics[0] == TOPICS["ScoreSubmitted"]]) == 1
            nothing, nothing_hash = g.call(2, [1, 2, 3])
            await g.chain.send_raw(nothing)
            assert not (await g.mined(nothing_hash)).succeeded
            data = encode_submit_scores(GAME, g.rules, 2**40, pack_record(Record(b"\x05" * 20, 5, 1, b"\x06" * 32)),
                                        g.attester.sign(score_batch_digest(g.domain, GAME, g.rules, 2**40, pack_record(
                                            Record(b"\x05" * 20, 5, 1, b"\x06" * 32)))))  # fmt: skip
            with pytest.raises(ChainAnswerError) as refused:
                await g.chain.call(g.domain.contract, data, g.gas.address)
            assert refused.value.revert is not None
            assert revert_name(refused.value.revert) == "NothingToRecord"
            # by round, whoever's transaction it was
            found = await g.chain.logs(
                g.domain.contract, [TOPICS["ScoreSubmitted"], GAME, None, [(3).to_bytes(32, "big"), bytes(32)]], 0
            )
            assert [log.tx_hash for log in found] == [again_hash]
            assert await g.chain.nonce(g.gas.address) == 3
            # a gap waits; a replacement needs 10 % more on both fees; the same one twice is known
            gap, gap_hash = g.call(4, [5])
            assert classify(await g.chain.send_raw(gap)) is SendClass.ACCEPTED
            assert classify(await g.chain.send_raw(gap)) is SendClass.ALREADY_KNOWN
            assert classify(await g.chain.send_raw(g.call(4, [5], fee=4 * GWEI + 8)[0])) is SendClass.UNDERPRICED
            assert classify(await g.chain.send_raw(g.call(3, [4], fee=8)[0])) is SendClass.UNDERPRICED
            better, better_hash = g.call(4, [5], fee=5 * GWEI)
            assert classify(await g.chain.send_raw(better)) is SendClass.ACCEPTED
            filler, _ = g.call(3, [4])
            assert classify(await g.chain.send_raw(filler)) is SendClass.ACCEPTED
            assert (await g.mined(better_hash)).succeeded
            assert await g.chain.receipts([gap_hash]) == [None]
            head = await g.chain.head()
            assert await g.chain.nonce(g.gas.address, 0) == 0
            assert await g.chain.finalized(1, head) == head.number - 1
            assert await g.chain.block(head.number + 1000) is None

    asyncio.run(run())


def test_a_thousand_scores_through_the_embedded_chain(database_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with ground("embedded", tmp_path) as g, bench(database_url) as b:
            settings = replace(SETTINGS, limits=BatchLimits(100, 50), poll_ms=50, step_gap_ms=10)
            outbox = b.outbox(g.chain, settings=settings, domain=g.domain, keys=(g.gas, g.attester))
            await outbox.start()
            started = time.perf_counter()
            await b.accept(1000, rules=g.rules)
            outbox.wake()
            await eventually(lambda: b.all_final(1000))
            print(f"\n1000 scores final after {time.perf_counter() - started:.1f} s")
            await outbox.stop()
            logs = await g.chain.logs(g.domain.contract, [TOPICS["ScoreSubmitted"], GAME], 0)
            seen = Counter(int.from_bytes(log.topics[3], "big") for log in logs)
            assert seen == Counter(range(1, 1001))
            assert await g.chain.nonce(g.gas.address) == 10
            await b.check_invariants()
            assert b.ears.heard.count((f"sub_streambeat_{7:08d}", "final", logs[6].tx_hash)) == 1

    asyncio.run(run())


def test_the_embedded_chain_killed_under_the_outbox(sqlite_url: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with ground("embedded", tmp_path) as g, bench(sqlite_url) as b:
            settings = replace(SETTINGS, limits=BatchLimits(10, 0), poll_ms=20, step_gap_ms=5)
            outbox = b.outbox(g.chain, settings=settings, domain=g.domain, keys=(g.gas, g.attester))
            await b.accept(60, rules=g.rules)
            await outbox.step()
            assert isinstance(g.chain, Chain)
            await g.chain.request("eth_blockNumber")
            # the whole machine goes down: this outbox and the chain's process
            kill_devnet(tmp_path)
            devnet = await Devnet.start(tmp_path)
            chain = Chain(devnet.rpc_url)
            try:
                await b.accept(40, rules=g.rules)
                second = b.outbox(chain, settings=settings, domain=g.domain, keys=(g.gas, g.attester))
                await second.start()
                await eventually(lambda: b.all_final(100))
                await second.stop()
                logs = await chain.logs(g.domain.contract, [TOPICS["ScoreSubmitted"]], 0)
                assert Counter(int.from_bytes(log.topics[3], "big") for log in logs) == Counter(range(1, 101))
            finally:
                await chain.close()
                await devnet.stop()

    asyncio.run(run())


def kill_devnet(home: Path) -> None:
    """SIGKILL the process whose command line names this home's journal."""
    wanted = str(home / "chain.journal").encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and wanted in (process / "cmdline").read_bytes().split(b"\0"):
            os.kill(int(process.name), signal.SIGKILL)
            return
    raise AssertionError("no such process")


def test_a_contract_that_is_not_ours_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with ground("embedded", tmp_path) as g:
            assert isinstance(g.chain, Chain)
            nobody = bytes(20)
            roles = Roles(nobody, g.attester.address, nobody, nobody)
            await verify(g.chain, g.domain.contract, roles)
            with pytest.raises(DeploymentError, match="no contract at"):
                await verify(g.chain, b"\x01" * 20, roles)
            with pytest.raises(DeploymentError, match="has not the signer role"):
                await verify(g.chain, g.domain.contract, replace(roles, signer=g.gas.address))
            with pytest.raises(DeploymentError, match="cannot send this transaction"):
                await publish_rules(g.chain, g.gas, g.domain.contract, "streambeat", b"{}")
            assert await publish_rules(g.chain, g.gas, g.domain.contract, "streambeat", DOCUMENT) == g.rules
            assert "nobody" in roles.lines()[0]

    asyncio.run(run())
