"""Revocations and reinstatements over the simulated chain, on both databases: every path, every race, every crash."""

import asyncio
import itertools
import random
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, Update, update

from relay.chain_types import ChainError, Log, Receipt
from relay.contract import TOPICS, game_key
from relay.contract_moderation import LOGGED
from relay.keccak import keccak
from relay.outbox.batches import BatchLimits
from relay.outbox.loop import Outbox
from relay.revocation import Action
from relay.store.engine import open_database
from relay.store.outbox import LeaseLostError
from relay.store.queries import evidence_body
from relay.store.revocation_tables import revocations
from relay.store.revocations import Request
from relay.store.revocations import ask as ask_now
from relay.store.tables import submissions
from relay.store.writer import Writer
from tests.harness.fake_chain import GWEI, FakeChain
from tests.harness.moderation import REINSTATE, REVOKE, ask, check_orders, moderating, order, orders, score
from tests.harness.outboxes import CONTRACT, RULES, SETTINGS, Bench, bench

GAME = game_key("streambeat")


async def rounds(outbox: Outbox, chain: FakeChain, b: Bench, count: int = 8) -> None:
    """Step and mine alternately."""
    for _ in range(count):
        await outbox.step()
        chain.mine()
        await b.check_invariants()
        await check_orders(b)


def somebody(chain: FakeChain, topics: tuple[bytes, ...], data: bytes) -> bytes:
    """A log of the contract, made by another account's transaction in the newest block."""
    head = chain.blocks_list[-1]
    tx_hash = keccak(b"".join(topics) + data + head.header.hash)
    log = Log(CONTRACT, topics, data, head.header.number, head.header.hash, tx_hash, 1000 + len(head.receipts))
    head.receipts.append(Receipt(tx_hash, head.header.number, head.header.hash, True, 21_000, (log,), None))
    return tx_hash


def carry(chain: FakeChain, b: Bench, round_id: int) -> bytes:
    """A player carries the receipt of a round."""
    row = b.row("streambeat", round_id, RULES)
    player, evidence = row["player"], row["evidence_hash"]
    assert isinstance(player, bytes)
    assert isinstance(evidence, bytes)
    topics = (TOPICS["ScoreSubmitted"], GAME, bytes(12) + player, round_id.to_bytes(32, "big"))
    return somebody(chain, topics, (1000 + round_id).to_bytes(32, "big") + evidence + RULES)


def moderate(chain: FakeChain, round_id: int, action: Action) -> bytes:
    """Another auditor acts without this relay."""
    return somebody(chain, (LOGGED[action], GAME, round_id.to_bytes(32, "big"), bytes(32)), bytes(64))


def test_a_final_score_is_invalidated_and_reinstated(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            one, two = await b.accept(2)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            assert await ask(b, one) == "revoked"
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke final"]
            assert chain.marked(GAME, 1) == [REVOKE]
            assert chain.marked(GAME, 2) == []
            done = await order(b)
            body = await b.database.read(lambda c: evidence_body(c, done.reason_hash))
            assert body is not None
            assert keccak(body) == done.reason_hash
            assert b'"reason":"revoke it"' in body
            assert (done.tx_hash, done.block_number) != (None, None)
            assert await b.history(one) == ["queued", "sent", "included", "final", "revoked", "revoked"]
            assert await ask(b, one, REINSTATE) == "revoked"
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke final", "reinstate final"]
            assert chain.marked(GAME, 1) == [REVOKE, REINSTATE]
            assert await b.statuses() == Counter(final=2)
            assert (await b.history(one))[-3:] == ["revoked", "revoked", "final"]
            assert (await score(b, two)).status == "final"
            assert not outbox.desk.trouble
            assert not outbox.desk.batches

    asyncio.run(run())


def test_a_score_revoked_before_it_was_sealed_is_never_sent(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            ids = await b.accept(3)
            await ask(b, ids[1])
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=2, revoked=1)
            assert sorted(chain.recorded()) == [(GAME, 1), (GAME, 3)]
            assert await orders(b) == ["revoke waiting"]
            assert "its receipt can be carried there" in (await order(b)).detail
            assert await ask(b, ids[1], REINSTATE) == "accepted"
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=3)
            assert chain.marked(GAME, 2) == []
            assert await orders(b) == ["revoke withdrawn"]

    asyncio.run(run())


@pytest.mark.parametrize("point", ["sealed", "record"])
def test_a_score_revoked_before_its_transaction_was_stored_is_never_sent(database_url: str, point: str) -> None:
    """Its batch is sealed, or signed too: the nonce is voided, the other score goes with another; also where it comes
    between the signing and the commit."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            one, two = await b.accept(2)
            first = moderating(b, chain)
            if point == "sealed":
                with pytest.raises(KilledError):
                    await killed_at(first, point)
                assert await ask(b, one) == "revoked"
            else:
                asked: list[bool] = []

                def hook(reached: str) -> None:
                    if reached == point and not asked:
                        asked.append(True)
                        with b.database.write() as c:
                            ask_now(c, Request(one, REVOKE, "revoke it", "key_1"), b.database.now_ms(c))

                first.desk.hook = hook
                await first.step()
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b, 16)
            assert chain.recorded() == [(GAME, 2)]
            assert chain.marked(GAME, 1) == []
            assert await b.statuses() == Counter(final=1, revoked=1)
            assert "sent" not in await b.history(one)
            assert (await b.history(two))[:3] == ["queued", "accepted", "queued"]
            assert await orders(b) == ["revoke waiting"]

    asyncio.run(run())


@pytest.mark.parametrize("point", ["recorded", "settled", "finished"])
def test_revoked_while_its_transaction_is_under_way(database_url: str, point: str) -> None:
    """Sent, included, final: it is recorded, then invalidated; and what it is beneath comes back."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            (one,) = await b.accept(1)
            reached: list[str] = []
            first = moderating(b, chain, hook=reached.append)
            while point not in reached:
                before = len(reached)
                try:
                    await killed_at(first, point)
                except KilledError:
                    first = moderating(b, chain, hook=reached.append)
                reached += [] if len(reached) > before else ["idle"]
                chain.mine() if point not in reached and "recorded" in reached else None
            was = (await score(b, one)).status
            assert was == {"recorded": "sent", "settled": "included", "finished": "final"}[point]
            assert await ask(b, one) == "revoked"
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b, 12)
            assert await orders(b) == ["revoke final"]
            assert (await score(b, one)).status_beneath == "final"
            assert (await score(b, one)).block_number is not None
            await ask(b, one, REINSTATE)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=1)
            assert chain.recorded() == [(GAME, 1)]
            assert chain.marked(GAME, 1) == [REVOKE, REINSTATE]

    asyncio.run(run())


class KilledError(BaseException):
    """The process ends here."""


async def killed_at(outbox: Outbox, point: str) -> None:
    """One step that ends right after `point`, if it gets there."""
    noted = outbox.desk.hook

    def hook(reached: str) -> None:
        noted(reached)
        if reached == point:
            raise KilledError(point)

    outbox.desk.hook = hook
    try:
        await outbox.step()
    finally:
        outbox.desk.hook = noted


def test_a_receipt_carried_after_the_revocation_is_invalidated(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            (one,) = await b.accept(1)
            await ask(b, one)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b, 4)
            carried = carry(chain, b, 1)
            chain.mine()
            await rounds(outbox, chain, b, 8)
            assert await orders(b) == ["revoke final"]
            assert chain.marked(GAME, 1) == [REVOKE]
            assert ((await score(b, one)).status_beneath, (await score(b, one)).tx_hash) == ("final", carried)
            await ask(b, one, REINSTATE)
            await rounds(outbox, chain, b)
            assert (await score(b, one)).status == "final"
            assert chain.recorded() == [(GAME, 1)]

    asyncio.run(run())


def changed(statement: Update, c: Connection) -> int:
    """Rows that a statement changed."""
    return c.execute(statement).rowcount


def test_it_lapses_when_no_signature_can_bring_the_score_to_the_chain(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            one, two = await b.accept(2)
            await b.writer.run(lambda c: c.execute(update(submissions).values(receipt_deadline=1_700_000_000)).rowcount)
            for item in (one, two):
                await ask(b, item)
            # long ago, but for the first the margin of an hour is not over
            for item, asked_s in ((one, 1_700_000_000), (two, 1_699_900_000)):
                old = update(revocations).where(revocations.c.submission_id == item).values(asked_at_ms=asked_s * 1000)
                await b.writer.run(partial(changed, old))
            outbox = moderating(b, chain, settings=replace(SETTINGS, deadline_s=60))
            chain.mine(3_602)
            await rounds(outbox, chain, b, 1)
            assert await orders(b) == ["revoke waiting", "revoke waiting"]
            chain.mine(2)
            await rounds(outbox, chain, b, 2)
            assert await orders(b) == ["revoke waiting", "revoke lapsed"]
            assert (await score(b, two)).status == "revoked"
            assert (await b.history(two))[-1] == "revoked"
            chain.mine(70)
            await rounds(outbox, chain, b, 2)
            assert await orders(b) == ["revoke lapsed", "revoke lapsed"]
            assert await ask(b, two, REINSTATE) == "accepted"
            await rounds(outbox, chain, b)
            assert (await score(b, two)).status == "final"

    asyncio.run(run())


def test_another_auditor_was_faster(database_url: str) -> None:
    """NothingToRecord counts as done, by the log, once that is final; a mixed batch is sent for the rest."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(3)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            nonces = chain.next_nonce()
            theirs = moderate(chain, 1, REVOKE)
            await ask(b, ids[0])
            await outbox.step()
            assert await orders(b) == ["revoke waiting"]
            assert "another sender" in (await order(b)).detail
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke final"]
            assert (await order(b)).tx_hash == theirs
            assert chain.next_nonce() == nonces
            moderate(chain, 2, REVOKE)
            await ask(b, ids[1])
            await ask(b, ids[2])
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke final"] * 3
            assert [chain.marked(GAME, number) for number in (1, 2, 3)] == [[REVOKE]] * 3
            assert chain.next_nonce() == nonces + 1
            assert not outbox.desk.trouble

    asyncio.run(run())


def test_another_auditor_between_trying_out_and_mining(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            one, two = await b.accept(2)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            await ask(b, one)
            await outbox.step()  # sent
            theirs = moderate(chain, 1, REVOKE)  # ours will fail: nothing to record
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke final"]
            assert (await order(b)).tx_hash == theirs
            await ask(b, one, REINSTATE)
            await outbox.step()
            moderate(chain, 1, REINSTATE)
            await ask(b, two)
            await rounds(outbox, chain, b, 12)
            assert await orders(b) == ["revoke final", "reinstate final", "revoke final"]
            assert (await score(b, one)).status == "final"
            assert chain.marked(GAME, 1) == [REVOKE, REINSTATE]

    asyncio.run(run())


@pytest.mark.parametrize(("block", "says"), [("auditor", "fairscore roles grant auditor"), ("paused", "is paused")])
def test_without_the_role_or_while_paused_it_waits_and_says_what_to_do(sqlite_url: str, block: str, says: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            (one,) = await b.accept(1)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            setattr(chain, block, block == "paused")
            nonces = chain.next_nonce()
            await ask(b, one)
            await rounds(outbox, chain, b, 4)
            assert await orders(b) == ["revoke waiting"]
            assert says in (await order(b)).detail
            assert says in outbox.ready()["invalidate"].detail
            assert not outbox.ready()["invalidate"].ok
            assert chain.next_nonce() == nonces
            assert outbox._waits_ms is None  # it asks again with the chain's news, not forty times a second
            setattr(chain, block, block == "auditor")
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke final"]
            assert not outbox.desk.trouble

    asyncio.run(run())


def test_one_score_that_is_not_recorded_does_not_hold_up_the_others(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(4)
            await ask(b, ids[2])  # not sent yet: it never is
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            for item in (ids[0], ids[1], ids[3]):
                await ask(b, item)
            lied = update(submissions).where(submissions.c.id == ids[2]).values(status_beneath="final")
            await b.writer.run(lambda c: c.execute(lied).rowcount)  # as after a reorg deeper than finality
            nonces = chain.next_nonce()
            await rounds(outbox, chain, b)
            assert sorted(await orders(b)) == ["revoke final"] * 3 + ["revoke waiting"]
            assert chain.next_nonce() == nonces + 1
            assert chain.marked(GAME, 3) == []

    asyncio.run(run())


def test_revoke_reinstate_revoke_quickly(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            (one,) = await b.accept(1)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            for action in (REVOKE, REINSTATE, REVOKE):
                await ask(b, one, action)
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke withdrawn", "revoke final"]
            assert chain.marked(GAME, 1) == [REVOKE]
            await ask(b, one, REINSTATE)
            await outbox.step()  # sent
            await ask(b, one, REVOKE)
            assert await orders(b) == ["revoke withdrawn", "revoke final", "reinstate sent", "revoke waiting"]
            await rounds(outbox, chain, b, 14)
            assert (await orders(b))[2:] == ["reinstate final", "revoke final"]
            assert chain.marked(GAME, 1) == [REVOKE, REINSTATE, REVOKE]
            assert await b.statuses() == Counter(revoked=1)

    asyncio.run(run())


def test_a_failed_revocation_and_a_waiting_reinstatement_cancel_each_other(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            (one,) = await b.accept(1)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            await ask(b, one)
            chain.gas_fault = {chain.next_nonce()}
            await outbox.step()
            await ask(b, one, REINSTATE)
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke withdrawn", "reinstate withdrawn"]
            assert await b.statuses() == Counter(final=1)
            assert chain.marked(GAME, 1) == []

    asyncio.run(run())


def test_an_order_withdrawn_as_it_is_sealed_is_not_sent(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            one, two = await b.accept(2)
            await rounds(moderating(b, chain), chain, b)
            request = Request(one, REINSTATE, "no", "key_test")

            def hook(point: str) -> None:
                if point == "seal":  # planned and tried out, not committed yet
                    with b.database.write() as connection:
                        ask_now(connection, request, 1)

            for item in (one, two):
                await ask(b, item)
            outbox = moderating(b, chain, hook=hook)
            await outbox.step()
            assert await orders(b) == ["revoke withdrawn", "revoke waiting"]
            await rounds(outbox, chain, b)
            assert await orders(b) == ["revoke withdrawn", "revoke final"]
            assert (chain.marked(GAME, 1), chain.marked(GAME, 2)) == ([], [REVOKE])
            assert (await score(b, one)).status == "final"

    asyncio.run(run())


def test_what_an_earlier_order_did_is_not_taken_for_this_one(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            (one,) = await b.accept(1)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            for action in (REVOKE, REINSTATE, REVOKE):
                await ask(b, one, action)
                chain.gas_fault = {chain.next_nonce()}  # each fails once; the contract's last word is the opposite
                await rounds(outbox, chain, b, 12)
            assert await orders(b) == ["revoke final", "reinstate final", "revoke final"]
            assert chain.marked(GAME, 1) == [REVOKE, REINSTATE, REVOKE]

    asyncio.run(run())


def test_failed_transactions_foreign_nonces_lost_answers_and_spikes(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(4)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            nonce = chain.next_nonce()
            chain.gas_fault = {nonce}
            chain.fate = ["lose answer", "lose request", "drop"]
            await ask(b, ids[0])
            await rounds(outbox, chain, b, 10)
            assert await orders(b) == ["revoke final"]
            await ask(b, ids[1])
            await outbox.step()
            chain.pool.clear()
            chain.someone_else(chain.next_nonce())
            await rounds(outbox, chain, b, 12)
            await ask(b, ids[2])
            await outbox.step()
            chain.base_fee = 50 * GWEI
            await rounds(outbox, chain, b, 12)
            assert await orders(b) == ["revoke final"] * 3
            assert [chain.marked(GAME, number) for number in (1, 2, 3)] == [[REVOKE]] * 3

    asyncio.run(run())


@pytest.mark.parametrize("back_to_pool", [True, False])
def test_a_reorg_takes_an_included_revocation_back_and_ends_well(database_url: str, back_to_pool: bool) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, confirmations=4)
            settings = replace(SETTINGS, confirmations=4)
            (one,) = await b.accept(1)
            outbox = moderating(b, chain, settings=settings)
            await rounds(outbox, chain, b)
            await ask(b, one)
            await rounds(outbox, chain, b, 1)
            await outbox.step()
            assert await orders(b) == ["revoke included"]
            chain.reorg(1, back_to_pool=back_to_pool)
            await outbox.step()
            assert await orders(b) == ["revoke sent"]
            await rounds(outbox, chain, b, 10)
            assert await orders(b) == ["revoke final"]
            assert chain.marked(GAME, 1) == [REVOKE]

    asyncio.run(run())


def test_a_reorg_of_the_score_beneath_its_revocation(database_url: str) -> None:
    """Both are gone from the chain, in which the revocation comes back first: it fails, waits, and is sent again."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, confirmations=6)
            outbox = moderating(b, chain, settings=replace(SETTINGS, confirmations=6))
            (one,) = await b.accept(1)
            await rounds(outbox, chain, b, 2)
            await ask(b, one)
            await rounds(outbox, chain, b, 2)
            assert await orders(b) == ["revoke included"]
            chain.reorg(4, back_to_pool=False)
            chain.gas_fault = {0}  # the score's transaction, when it comes again
            await rounds(outbox, chain, b, 40)
            assert await orders(b) == ["revoke waiting"]  # nobody sends a revoked score anew
            assert chain.recorded() == []
            assert ((await score(b, one)).status, (await score(b, one)).status_beneath) == ("revoked", "accepted")
            carry(chain, b, 1)
            await rounds(outbox, chain, b, 14)
            assert await orders(b) == ["revoke final"]

    asyncio.run(run())


def test_many_at_once_travel_in_one_transaction(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            settings = replace(SETTINGS, limits=BatchLimits(size=50, wait_ms=0))
            ids = await b.accept(50)
            other = await b.accept(2, game="other")
            outbox = moderating(b, chain, settings=settings)
            await rounds(outbox, chain, b)
            nonces = chain.next_nonce()
            for item in (*ids, *other):
                await ask(b, item)
            await rounds(outbox, chain, b)
            assert Counter(await orders(b)) == Counter({"revoke final": 52})
            assert chain.next_nonce() == nonces + 2

    asyncio.run(run())


def test_scores_that_never_come_are_asked_about_once_a_block_and_hide_nobody(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(45)
            for item in ids:
                await ask(b, item)
            outbox = moderating(b, chain)
            asked = Counter[str]()
            real = chain.call

            async def call(to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
                asked[data[:4].hex()] += 1
                return await real(to, data, sender, gas)

            chain.call = call  # type: ignore[method-assign]
            for _ in range(10):
                await outbox.step()
            assert asked.total() == 45
            chain.mine()
            for _ in range(10):
                await outbox.step()
            assert asked.total() == 90
            more = (await b.accept(1))[0]
            await ask(b, more)
            await outbox.step()
            assert asked.total() == 91
            carry(chain, b, 45)
            chain.mine()
            await rounds(outbox, chain, b, 10)
            assert (await orders(b, ids[44])) == ["revoke final"]

    asyncio.run(run())


POINTS = ("seal", "sealed", "record", "recorded", "send", "sent", "settle", "settled", "finish", "finished", "unmine",
          "unmined", "give_up", "gave_up", "note", "noted")  # fmt: skip


class Killer:
    """A hook that kills at the first visit of given points, one after the other, once it is armed."""

    def __init__(self, *plan: str) -> None:
        self.plan = list(plan)
        self.armed = False
        self.kills = 0

    def __call__(self, point: str) -> None:
        if self.armed and self.plan and self.plan[0] == point:
            self.plan.pop(0)
            self.kills += 1
            raise KilledError(point)


async def story(url: str, *plan: str) -> int:
    """Revoke, reinstate and revoke again, with a reorg, a failed transaction and an order that cannot be sent."""
    async with bench(url) as b:
        chain, killer = FakeChain(CONTRACT), Killer(*plan)
        settings = replace(SETTINGS, confirmations=4)
        ids = await b.accept(3)
        outbox = moderating(b, chain, settings=settings, hook=killer)
        await rounds(outbox, chain, b, 8)
        killer.armed = True
        (never,) = await b.accept(1)
        wishes = {0: (never, REVOKE), 1: (ids[0], REVOKE), 2: (ids[1], REVOKE), 10: (ids[0], REINSTATE),
                  18: (ids[0], REVOKE), 19: (ids[2], REVOKE), 20: (ids[2], REINSTATE)}  # fmt: skip
        chain.gas_fault = {chain.next_nonce() + 2}
        for turn in range(44):
            if turn in wishes:
                await ask(b, *wishes[turn])
            if turn == 4:
                chain.reorg(2, back_to_pool=True)
            for _ in range(4):
                try:
                    await outbox.step()
                except KilledError:
                    outbox = moderating(b, chain, settings=settings, hook=killer)
                else:
                    break
            await b.check_invariants()
            await check_orders(b)
            chain.mine()
        assert await orders(b, ids[0]) == ["revoke final", "reinstate final", "revoke final"]
        assert chain.marked(GAME, 1) == [REVOKE, REINSTATE, REVOKE]
        assert await orders(b, ids[1]) == ["revoke final"]
        assert chain.marked(GAME, 2) == [REVOKE]
        assert chain.marked(GAME, 3) in ([], [REVOKE, REINSTATE])
        assert (await score(b, ids[2])).status == "final"
        assert await orders(b, never) == ["revoke waiting"]
        assert sorted(chain.recorded()) == [(GAME, 1), (GAME, 2), (GAME, 3)]
        return killer.kills


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(sqlite_url: str, point: str) -> None:
    kills = asyncio.run(story(sqlite_url, point))
    assert kills == 1


@pytest.mark.parametrize("point", ["sealed", "record", "sent", "settle", "finish", "gave_up", "note"])
def test_killed_on_postgresql(postgres_url: str, point: str) -> None:
    kills = asyncio.run(story(postgres_url, point))
    assert kills == 1


@pytest.mark.parametrize("first", POINTS)
def test_killed_twice(sqlite_url: str, first: str) -> None:
    second = POINTS[(POINTS.index(first) * 5 + 3) % len(POINTS)]  # 5 and 16 have no factor in common: each once
    kills = asyncio.run(story(sqlite_url, first, second))
    assert kills >= 1


async def random_story(url: str, seed: int) -> None:
    """Scores, wishes, kills, reorgs and drops by chance; in the end the chain is what was wished last."""
    chance = random.Random(seed)
    async with bench(url) as b:
        chain = FakeChain(CONTRACT)
        limits = BatchLimits(size=chance.randint(1, 5), wait_ms=0)
        settings = replace(SETTINGS, confirmations=6, limits=limits, in_flight_max=chance.randint(1, 6))

        def hook(point: str) -> None:
            if chance.random() < 0.03:
                raise KilledError(point)

        outbox = moderating(b, chain, settings=settings, hook=hook)
        ids: list[str] = []
        wished: dict[str, Action] = {}
        for _ in range(60):
            if chance.random() < 0.25:
                ids += await b.accept(chance.randint(1, 3))
            if ids and chance.random() < 0.5:
                item = chance.choice(ids)
                if wished.get(item) is None:
                    wished[item] = REVOKE
                else:
                    wished[item] = chance.choice([REVOKE, REINSTATE])
                await ask(b, item, wished[item])
            trouble(chain, chance)
            try:
                await outbox.step()
            except (KilledError, ChainError, LeaseLostError) as error:
                if isinstance(error, KilledError):
                    outbox = moderating(b, chain, settings=settings, hook=hook)
            await b.check_invariants()
            await check_orders(b)
        await calm(b, chain, moderating(b, chain, settings=settings))
        for number, item in enumerate(ids, 1):
            row = await score(b, item)
            revoked = wished.get(item) is REVOKE
            assert row.status == ("revoked" if revoked else "final"), (seed, item)
            last = chain.marked(GAME, number)[-1:]
            recorded = (GAME, number) in chain.recorded()
            assert recorded or revoked, (seed, item)
            assert (last == [REVOKE]) == (revoked and recorded), (seed, item)
            assert row.status_beneath == (("final" if recorded else "accepted") if revoked else None), (seed, item)
            found = chain.marked(GAME, number)
            assert all(one is not other for one, other in itertools.pairwise(found))


def trouble(chain: FakeChain, chance: random.Random) -> None:
    """Something happens to the chain."""
    event = chance.random()
    if event < 0.08:
        chain.reorg(chance.randint(1, 5), back_to_pool=chance.random() < 0.5)
    elif event < 0.16:
        chain.pool.clear()
    elif event < 0.2:
        chain.base_fee = GWEI * chance.choice([1, 1, 5, 50])
    elif event < 0.24:
        chain.down = not chain.down
    elif event < 0.36:
        chain.fate.append(chance.choice(["lose request", "lose answer", "drop"]))
    elif event < 0.44:
        chain.gas_fault.add(chain.next_nonce() + chance.randint(0, 3))
    if chance.random() < 0.7:
        chain.mine(limit=chance.randint(0, 4))


async def calm(b: Bench, chain: FakeChain, outbox: Outbox) -> None:
    """The troubles end; run until nothing is under way."""
    chain.base_fee, chain.down, chain.fate, chain.gas_fault = GWEI, False, [], set()
    quiet = 0
    for _ in range(400):
        await outbox.step()
        chain.mine()
        statuses = await b.statuses()
        under_way = [one for one in await orders(b) if one.split()[1] in {"queued", "sent", "included"}]
        moving = sum(statuses[name] for name in ("accepted", "queued", "sent", "included"))
        quiet = 0 if under_way or moving else quiet + 1
        if quiet > 12:
            break
    await b.check_invariants()
    await check_orders(b)


@pytest.mark.parametrize("seed", range(6))
def test_random_stories(sqlite_url: str, seed: int) -> None:
    asyncio.run(random_story(sqlite_url, seed))
    assert seed >= 0


@pytest.mark.parametrize("seed", range(100, 102))
def test_random_stories_on_postgresql(postgres_url: str, seed: int) -> None:
    asyncio.run(random_story(postgres_url, seed))
    assert seed >= 0


def test_revoking_races_with_sealing(postgres_url: str) -> None:
    """Two processes on one PostgreSQL, one seals as the other revokes: whoever is first, no score is lost sight of."""

    async def run() -> None:
        async with bench(postgres_url) as b:
            other_database = open_database(postgres_url)
            other = Writer(other_database)
            other.start()
            chain = FakeChain(CONTRACT)
            outbox = moderating(b, chain, settings=replace(SETTINGS, limits=BatchLimits(size=1, wait_ms=0)))
            ids: list[str] = []
            try:
                for number in range(60):
                    ids += await b.accept(1)
                    pause = 0.0005 * (number % 12)

                    async def late(item: str = ids[-1], pause: float = pause) -> None:
                        await asyncio.sleep(pause)
                        await ask(b, item, REVOKE, other)

                    if number % 12 == 0:  # the two ends of the race, whatever the machine does; between them it is open
                        await ask(b, ids[-1], REVOKE, other)
                        await outbox.step()
                    elif number % 12 == 11:
                        await outbox.step()
                        await ask(b, ids[-1], REVOKE, other)
                    else:
                        await asyncio.gather(outbox.step(), late())
                    await b.check_invariants()
                    await check_orders(b)
                    chain.mine()
            finally:
                await other.stop()
                other_database.close()
            await calm(b, chain, outbox)
            sent = {number for _, number in chain.recorded()}
            told = {number for number, item in enumerate(ids, 1) if "sent" in await b.history(item)}
            assert sent == told  # what was revoked before its transaction was stored is not sent, whatever was is
            assert {number for number in range(1, 61) if chain.marked(GAME, number) == [REVOKE]} == sent
            assert await b.statuses() == Counter(revoked=60)
            assert 0 < len(sent) < 60  # both happened

    asyncio.run(run())


def test_evidence_of_a_batch_names_all_of_it(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(3)
            outbox = moderating(b, chain)
            await rounds(outbox, chain, b)
            for item in ids:
                await ask(b, item)
            await rounds(outbox, chain, b)
            hashed = (await order(b)).reason_hash
            body = await b.database.read(lambda c: evidence_body(c, hashed)) or b""
            for item in ids:
                assert f'"submissionId":"{item}"'.encode() in body
            assert [log.data[:32] for log in chain.all_logs() if log.topics[0] == LOGGED[REVOKE]] == [hashed] * 3

    asyncio.run(run())
