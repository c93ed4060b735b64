"""Anchors over the simulated chain, on both databases: every path, every race, every crash."""

import asyncio
import itertools
import json
import random
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from relay.attestation import economy_anchor_digest, recover
from relay.chain_types import Log, Receipt
from relay.contract_anchors import Anchor, Anchored, decode_anchor, encode_anchor
from relay.economy.checkpoints import Cadence
from relay.economy.proofs import OnChain, read_proof, verify
from relay.findings import passed
from relay.keccak import keccak
from relay.outbox.loop import Outbox
from relay.store.checkpoint_tables import checkpoints, ledger_tiles, ledger_trees
from relay.store.checkpoints import LedgerChangedError, Where, final_checkpoints, prove_consistency, prove_inclusion
from relay.store.flags import FlagFilter, list_flags
from tests.harness.anchors import (
    DOMAIN,
    ECONOMY,
    GAME,
    anchoring,
    anchoring_outbox,
    book,
    check_checkpoints,
    newest,
    play,
    real_root,
    states,
)
from tests.harness.fake_chain import FakeChain, Tx
from tests.harness.outboxes import ATTESTER, CHAIN_ID, CONTRACT, Bench, bench


async def rounds(outbox: Outbox, chain: FakeChain, b: Bench, count: int = 8) -> None:
    """Step and mine alternately."""
    for _ in range(count):
        await outbox.step()
        chain.mine()
        await b.check_invariants()
        await check_checkpoints(b)


def somebody(chain: FakeChain, data: bytes) -> bytes:
    """Another account's transaction in the newest block; returns its hash."""
    head = chain.blocks_list[-1]
    tx = Tx(keccak(data + head.header.hash), 0, 0, 0, 0, data)
    logs = chain._logs_of(tx, head.header, [])  # the same contract, another sender
    assert not isinstance(logs, bytes)
    made: tuple[Log, ...] = logs
    head.receipts.append(Receipt(tx.tx_hash, head.header.number, head.header.hash, True, 21_000, made, None))
    return tx.tx_hash


async def elsewhere(chain: FakeChain, b: Bench, first: int, count: int, root: bytes | None = None) -> bytes:
    """Somebody anchors a stretch of the game's ledger, or something else."""
    if root is None:
        root = await b.database.read(lambda c: real_root(c, GAME, first + count))
    return somebody(chain, encode_anchor(Anchor(ECONOMY, first, count, root, 2**40, bytes(65))))


def on_chain(chain: FakeChain) -> OnChain:
    """What a verifier reads."""
    found = chain.anchors(ECONOMY)
    return OnChain(CHAIN_ID, CONTRACT, [Anchored(event, bytes(32), 0) for event in found], found[-1].head)


def held(document: dict[str, Any], chain: FakeChain) -> bool:
    """Whether a proof convinces somebody who asks the chain alone."""
    return passed(verify(read_proof(json.dumps(document).encode()), on_chain(chain)))


def test_a_ledger_is_anchored_and_proved(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain, job = FakeChain(CONTRACT), anchoring(b)
            outbox = anchoring_outbox(b, chain)
            for count in (5, 300, 1):
                await play(b, count)
                assert len(await job.advance()) == 1
                assert await job.advance() == []  # one at a time
                await rounds(outbox, chain, b)
            assert await states(b) == ["final"] * 3
            assert [one.count for one in chain.anchors(ECONOMY)] == [5, 300, 1]
            last = await newest(b)
            assert last.head == chain.anchors(ECONOMY)[-1].head
            assert await job.advance() == []  # nothing new, nothing to pay for
            where = Where(CHAIN_ID, CONTRACT)
            for sequence in (0, 4, 5, 299, 305):
                proof = await b.database.read(lambda c, n=sequence: prove_inclusion(c, where, GAME, n))  # type: ignore[misc]
                assert proof["transaction"]["sequence"] == sequence
                assert held(proof, chain)
            ids = [one.checkpoint_id for one in await b.database.read(lambda c: final_checkpoints(c, GAME))]
            for pair in itertools.combinations(ids, 2):
                proof = await b.database.read(lambda c, p=pair: prove_consistency(c, where, GAME, *p))  # type: ignore[misc]
                assert held(proof, chain)
            assert not outbox.desk.trouble
            assert await job.audit() == []

    asyncio.run(run())


def test_what_is_signed_is_the_checkpoint(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await anchoring(b).advance()
            outbox = anchoring_outbox(b, chain)
            await outbox.step()
            (tx,) = chain.pool.values()
            call = decode_anchor(tx.data)
            fields = (call.economy, call.first_sequence, call.count, call.merkle_root, call.deadline)
            assert fields[:4] == (ECONOMY, 0, 3, await b.database.read(lambda c: real_root(c, GAME, 3)))
            assert recover(economy_anchor_digest(DOMAIN, *fields), call.signature) == ATTESTER.address

    asyncio.run(run())


def test_scores_and_anchors_go_side_by_side(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            outbox = anchoring_outbox(b, chain)
            await play(b, 2)
            await play(b, 4, "other")
            await b.accept(6)
            assert len(await anchoring(b).advance()) == 2
            await rounds(outbox, chain, b)
            assert await states(b) == ["final", "final"]
            assert await b.all_final(6)

    asyncio.run(run())


def test_an_anchor_that_somebody_carries_is_taken_over(database_url: str) -> None:
    """The signed anchor is public as soon as it is sent: whoever carries it does the relay's work."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await anchoring(b).advance()
            chain.mine(3)
            carried = await elsewhere(chain, b, 0, 3)
            outbox = anchoring_outbox(b, chain)
            await outbox.step()
            assert await states(b) == ["waiting"]
            assert "waiting until that is final" in (await newest(b)).detail
            await rounds(outbox, chain, b)
            assert await states(b) == ["final"]
            assert (await newest(b)).tx_hash == carried
            assert chain.sends == 0
            assert not outbox.desk.trouble

    asyncio.run(run())


def test_an_anchor_carried_while_ours_is_under_way(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await anchoring(b).advance()
            outbox = anchoring_outbox(b, chain)
            await outbox.step()
            assert await states(b) == ["sent"]
            await elsewhere(chain, b, 0, 2)  # a shorter one, which another relay had signed: ours reverts
            await rounds(outbox, chain, b, 10)
            assert await states(b) == ["superseded", "final"]
            assert len(await anchoring(b).advance()) == 1
            await rounds(outbox, chain, b)
            assert [(one.first_sequence, one.count) for one in chain.anchors(ECONOMY)] == [(0, 2), (2, 1)]

    asyncio.run(run())


def test_a_database_without_its_checkpoints_learns_them_from_the_chain(database_url: str) -> None:
    """A backup from before the anchors, over a ledger that has since grown to the same transactions."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 9)
            for first, count in ((0, 2), (2, 3)):
                await elsewhere(chain, b, first, count)
            chain.mine(5)
            await anchoring(b).advance()
            outbox = anchoring_outbox(b, chain)
            await rounds(outbox, chain, b)
            assert sorted(await states(b)) == ["final", "final", "superseded"]
            await anchoring(b).advance()
            await rounds(outbox, chain, b)
            assert [one.count for one in chain.anchors(ECONOMY)] == [2, 3, 4]
            proof = await b.database.read(lambda c: prove_inclusion(c, Where(CHAIN_ID, CONTRACT), GAME, 1))
            assert held(proof, chain)

    asyncio.run(run())


@pytest.mark.parametrize(("count", "root", "why"), [(3, keccak(b"else"), "another history"), (7, None, "has 3")])
def test_a_ledger_that_the_chain_contradicts_is_flagged(
    database_url: str, count: int, root: bytes | None, why: str
) -> None:
    """Another history of the same length, or a longer one: the database was changed, or is an old copy."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await elsewhere(chain, b, 0, count, root or keccak(b"more"))
            chain.mine(5)
            job = anchoring(b)
            await job.advance()
            outbox = anchoring_outbox(b, chain)
            await rounds(outbox, chain, b)
            assert await states(b) == ["contradicted"]
            (flag,) = await b.database.read(lambda c: list_flags(c, FlagFilter(), 10, None))
            assert (flag.code, flag.severity, flag.game_id) == ("LEDGER_CONTRADICTED", "critical", GAME)
            assert why in flag.reason
            await play(b, 2)
            assert await job.advance() == []  # until somebody looked
            assert chain.sends == 0

    asyncio.run(run())


def test_what_was_agreed_before_does_not_hide_a_contradiction(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await elsewhere(chain, b, 0, 2)
            await elsewhere(chain, b, 2, 1, keccak(b"else"))
            chain.mine(5)
            job = anchoring(b)
            await job.advance()
            await rounds(anchoring_outbox(b, chain), chain, b, 3)
            assert sorted(await states(b)) == ["contradicted", "final"]
            await play(b, 2)
            assert await job.advance() == []

    asyncio.run(run())


def test_whatever_is_in_the_way_is_said_and_goes_away(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await anchoring(b).advance()
            outbox = anchoring_outbox(b, chain)
            chain.paused = True
            await outbox.step()
            assert "paused" in outbox.desk.trouble["anchor"]
            assert "paused" in (await newest(b)).detail
            chain.paused, chain.signer = False, False
            await outbox.step()
            assert "roles grant signer" in outbox.desk.trouble["anchor"]
            chain.signer = True
            await rounds(outbox, chain, b)
            assert await states(b) == ["final"]
            assert (await newest(b)).detail is None
            assert "anchor" not in outbox.desk.trouble

    asyncio.run(run())


def test_a_failed_transaction_leaves_the_checkpoint_waiting(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await anchoring(b).advance()
            chain.gas_fault = {0}
            outbox = anchoring_outbox(b, chain)
            await rounds(outbox, chain, b, 12)
            assert await states(b) == ["final"]
            assert chain.next_nonce() == 2

    asyncio.run(run())


def test_reorgs_send_it_again(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await play(b, 3)
            await anchoring(b).advance()
            outbox = anchoring_outbox(b, chain)
            await outbox.step()
            chain.mine()
            await outbox.step()
            assert await states(b) == ["included"]
            chain.reorg(1, back_to_pool=False)
            await outbox.step()
            assert await states(b) == ["sent"]
            await rounds(outbox, chain, b, 12)
            assert await states(b) == ["final"]
            assert len(chain.anchors(ECONOMY)) == 1

    asyncio.run(run())


class CrashError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("seed", range(3))
def test_crashes_anywhere_anchor_everything_once(database_url: str, seed: int) -> None:
    """A process that dies at random points between commits and sends; the ledger goes on meanwhile."""
    rng = random.Random(seed)

    def perhaps(_point: str) -> None:
        if rng.random() < 0.15:
            raise CrashError

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            outbox = anchoring_outbox(b, chain, hook=perhaps)
            for number in range(60):
                if number % 10 == 0:
                    await play(b, rng.randrange(1, 5))
                    await anchoring(b).advance()
                try:
                    await outbox.step()
                except CrashError:
                    outbox = anchoring_outbox(b, chain, hook=perhaps)
                if rng.random() < 0.1:
                    chain.reorg(1, back_to_pool=rng.random() < 0.5)
                chain.mine()
                await b.check_invariants()
                await check_checkpoints(b)
            outbox = anchoring_outbox(b, chain)
            await rounds(outbox, chain, b, 12)
            await anchoring(b).advance()
            await rounds(outbox, chain, b, 12)
            assert set(await states(b)) == {"final"}
            size = sum(one.count for one in chain.anchors(ECONOMY))
            assert chain.anchors(ECONOMY)[-1].merkle_root == await b.database.read(lambda c: real_root(c, GAME, size))
            assert await anchoring(b).advance() == []

    asyncio.run(run())


def test_checkpoints_come_at_the_cadence(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain, job = FakeChain(CONTRACT), anchoring(b, Cadence(every_ms=3_600_000, most=10))
            outbox = anchoring_outbox(b, chain)
            assert await job.advance() == []
            await play(b, 1)
            assert [one.size for one in await job.advance()] == [1]  # the first at once
            await rounds(outbox, chain, b)
            await play(b, 9)
            assert await job.advance() == []
            await play(b, 1)
            assert [one.size for one in await job.advance()] == [11]

    asyncio.run(run())


def test_a_changed_ledger_is_found_and_no_proof_is_given(database_url: str) -> None:
    """Somebody with the database in his hands changes a transaction that is anchored."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain, job = FakeChain(CONTRACT), anchoring(b)
            outbox = anchoring_outbox(b, chain)
            await play(b, 20)
            await job.advance()
            await rounds(outbox, chain, b)
            forged = b'{"gameId":"island","sequence":7}'
            await b.writer.run(
                lambda c: (
                    c.execute(
                        text("UPDATE ledger_transactions SET body = :body WHERE sequence = 7"), {"body": forged}
                    ).rowcount
                )
            )
            (wrong,) = await job.audit()
            assert wrong.size == 20
            with pytest.raises(Exception, match="not the one that was anchored"):
                await b.database.read(lambda c: prove_inclusion(c, Where(CHAIN_ID, CONTRACT), GAME, 7))
            await b.writer.run(lambda c: c.execute(delete(ledger_tiles)).rowcount)
            await b.writer.run(lambda c: c.execute(update(ledger_trees).values(size=0)).rowcount)
            await play(b, 1)
            await job.advance()  # a tree made to fit the forged ledger does not fit the anchors
            with pytest.raises(AssertionError, match="is not that of the ledger"):
                await check_checkpoints(b)
            with pytest.raises(LedgerChangedError, match="the tree of game island"):
                await b.database.read(lambda c: prove_inclusion(c, Where(CHAIN_ID, CONTRACT), GAME, 8))

    asyncio.run(run())


def test_two_processes_make_one_checkpoint(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            await play(b, 500)
            made = await asyncio.gather(*(anchoring(b).advance() for _ in range(8)))
            assert sum(len(one) for one in made) == 1
            await check_checkpoints(b)
            size = await b.database.read(lambda c: c.execute(text("SELECT size FROM ledger_trees")).scalar_one())
            assert size == 500

    asyncio.run(run())


def test_a_refused_seal_leaves_a_checkpoint_that_was_overtaken(database_url: str) -> None:
    """Between choosing and sealing, another sender of this database took it."""

    async def run() -> None:
        async with bench(database_url) as b:
            await play(b, 3)
            await anchoring(b).advance()
            taken = update(checkpoints).values(state="superseded", resolved_at_ms=1)

            class Late(FakeChain):
                """Somebody else is faster than this chain's answer."""

                async def call(
                    self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None
                ) -> bytes:
                    await b.writer.run(lambda c: c.execute(taken).rowcount)
                    return await super().call(to, data, sender, gas)

            chain = Late(CONTRACT)
            outbox = anchoring_outbox(b, chain)
            await outbox.step()
            assert await states(b) == ["superseded"]
            assert chain.sends == 0
            await b.check_invariants()

    asyncio.run(run())


def test_the_ledger_is_real(database_url: str) -> None:
    """The harness books through the ledger itself."""

    async def run() -> None:
        async with bench(database_url) as b:
            await b.writer.run(lambda c: book(c, 2))
            root = await b.database.read(lambda c: real_root(c, GAME, 2))
            assert len(root) == 32

    asyncio.run(run())
