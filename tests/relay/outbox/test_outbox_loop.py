"""The outbox over the simulated chain, on both databases: every path from accepted to final."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from relay.contract import game_key
from relay.outbox.batches import BatchLimits
from relay.outbox.loop import Outbox
from relay.store.outbox import ChainMismatchError, LeaseLostError
from tests.harness.fake_chain import GWEI, FakeChain
from tests.harness.outboxes import CONTRACT, SETTINGS, Bench, bench, carry

GAME = game_key("streambeat")


async def rounds(outbox: Outbox, chain: FakeChain, bench_: Bench, count: int = 8) -> None:
    """Step and mine alternately."""
    for _ in range(count):
        await outbox.step()
        chain.mine()
        await bench_.check_invariants()


def test_a_score_goes_all_the_way(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            ids = await b.accept(10)
            outbox = b.outbox(chain)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=10)
            assert sorted(chain.recorded()) == [(GAME, number) for number in range(1, 11)]
            assert await b.history(ids[0]) == ["queued", "sent", "included", "final"]
            assert [s for i, s, _ in b.ears.heard if i == ids[9]] == ["queued", "sent", "included", "final"]
            assert chain.next_nonce() == 3  # 4 + 4 + 2
            assert not outbox.desk.batches
            assert not outbox.desk.sent_at
            assert not outbox.desk.trouble

    asyncio.run(run())


def test_games_and_rules_never_share_a_batch(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(3)
            await b.accept(2, game="other")
            await b.accept(2, rules=b"\x78" * 32)
            await rounds(b.outbox(chain), chain, b)
            assert await b.statuses() == Counter(final=7)
            assert chain.next_nonce() == 3

    asyncio.run(run())


def test_a_small_batch_waits_for_company_and_a_full_one_does_not(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            settings = replace(SETTINGS, limits=BatchLimits(size=4, wait_ms=10**15))
            await b.accept(6)
            await rounds(b.outbox(chain, settings=settings), chain, b)
            assert await b.statuses() == Counter(final=4, accepted=2)

    asyncio.run(run())


def test_never_more_in_flight_than_allowed(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            await b.accept(40)
            outbox = b.outbox(chain, settings=replace(SETTINGS, in_flight_max=3))
            await outbox.step()
            await outbox.step()
            assert sorted(chain.pool) == [0, 1, 2]
            assert await b.statuses() == Counter(sent=12, accepted=28)

    asyncio.run(run())


def test_what_a_player_carried_is_included_by_their_transaction(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(4)
            carried = carry(chain, b, [2])
            await rounds(b.outbox(chain), chain, b)
            assert await b.statuses() == Counter(final=4)
            assert sorted(chain.recorded()) == [(GAME, number) for number in range(1, 5)]
            hashes = {i: tx for i, s, tx in b.ears.heard if s == "final"}
            assert hashes[ids[1]] == carried
            assert hashes[ids[0]] != carried

    asyncio.run(run())


def test_a_round_recorded_with_other_values_is_parked(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(4)
            carry(chain, b, [3], score=1)
            await rounds(b.outbox(chain), chain, b)
            assert await b.statuses() == Counter(final=3, parked=1)
            assert (await b.history(ids[2]))[-1] == "parked"

    asyncio.run(run())


def test_a_batch_with_nothing_left_to_record_ends_without_another_transaction(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            ids = await b.accept(2)
            carried = carry(chain, b, [1, 2])
            await rounds(b.outbox(chain), chain, b, 10)
            assert await b.history(ids[0]) == ["queued", "sent", "final"]
            assert {(i, tx) for i, s, tx in b.ears.heard if s == "final"} == {(ids[0], carried), (ids[1], carried)}
            assert not caplog.records  # nothing went wrong: the players were faster
            assert await b.statuses() == Counter(final=2)
            assert sorted(chain.recorded()) == [(GAME, 1), (GAME, 2)]
            assert chain.next_nonce() == 1  # the one that failed

    asyncio.run(run())


def test_a_poisonous_score_is_parked_and_the_others_go_on(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.poison = {6}
            ids = await b.accept(12)
            await rounds(b.outbox(chain), chain, b, 16)
            assert await b.statuses() == Counter(final=11, parked=1)
            assert await b.history(ids[5]) == ["queued", "sent", "accepted", "parked"]
            assert sorted(Counter(chain.recorded()).values()) == [1] * 11

    asyncio.run(run())


def test_a_paused_contract_stops_sending_and_parks_nothing(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.paused = True
            await b.accept(4)
            outbox = b.outbox(chain)
            await rounds(outbox, chain, b, 12)
            assert await b.statuses() == Counter(accepted=4)
            assert chain.next_nonce() == 1
            assert "EnforcedPause" in outbox.desk.trouble["contract"]
            assert not outbox.ready()["contract"].ok
            chain.paused = False
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=4)
            assert not outbox.desk.trouble

    asyncio.run(run())


@pytest.mark.parametrize("back_to_pool", [True, False])
def test_a_reorg_takes_included_back_and_ends_well(database_url: str, back_to_pool: bool) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False, confirmations=4)
            ids = await b.accept(4)
            outbox = b.outbox(chain, settings=replace(SETTINGS, confirmations=4))
            await outbox.step()
            chain.mine()
            await outbox.step()
            assert await b.statuses() == Counter(included=4)
            chain.reorg(1, back_to_pool=back_to_pool)
            await outbox.step()
            assert await b.statuses() == Counter(sent=4)
            await rounds(outbox, chain, b, 10)
            assert await b.statuses() == Counter(final=4)
            assert len(chain.recorded()) == 4
            assert await b.history(ids[0]) == ["queued", "sent", "included", "sent", "included", "final"]

    asyncio.run(run())


def test_lost_requests_lost_answers_and_dropped_transactions(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.fate = ["lose answer", "lose request", "", "drop"] * 3
            await b.accept(16)
            await rounds(b.outbox(chain), chain, b, 20)
            assert await b.statuses() == Counter(final=16)
            assert len(chain.recorded()) == 16

    asyncio.run(run())


def test_a_fee_spike_is_outbid_with_every_attempt_kept(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            chain.base_fee = 50 * GWEI
            await rounds(outbox, chain, b, 10)
            assert await b.statuses() == Counter(final=4)
            assert len(chain.recorded()) == 4

    asyncio.run(run())


def test_at_the_fee_cap_it_keeps_trying_and_says_so(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            await b.accept(4)
            outbox = b.outbox(chain, settings=replace(SETTINGS, fee_wei_cap=4 * GWEI))
            await outbox.step()
            chain.base_fee = 50 * GWEI
            await rounds(outbox, chain, b, 10)
            assert "fees" in outbox.desk.trouble
            chain.base_fee = GWEI
            await rounds(outbox, chain, b, 6)
            assert await b.statuses() == Counter(final=4)

    asyncio.run(run())


def test_a_nonce_used_by_another_program_releases_the_scores(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(8)
            outbox = b.outbox(chain)
            await outbox.step()
            chain.pool.clear()
            chain.someone_else(0)
            await rounds(outbox, chain, b, 14)
            assert await b.statuses() == Counter(final=8)
            assert len(chain.recorded()) == 8

    asyncio.run(run())


def test_nonces_used_while_nothing_was_under_way_are_recorded_as_foreign(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await rounds(outbox, chain, b)
            for nonce in (1, 2):
                chain.someone_else(nonce)
            chain.mine()
            await b.accept(4)
            await outbox.step()
            assert "nonce" in outbox.desk.trouble  # not before it is final
            await rounds(outbox, chain, b, 10)
            assert await b.statuses() == Counter(final=8)
            assert chain.next_nonce() == 4

    asyncio.run(run())


def test_a_key_with_a_past_begins_at_its_nonce(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            chain.first_nonce = 41
            await b.accept(4)
            await rounds(b.outbox(chain), chain, b)
            assert await b.statuses() == Counter(final=4)
            assert chain.next_nonce() == 42

    asyncio.run(run())


def test_without_money_nothing_is_sealed(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            chain.money = 1
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            assert await b.statuses() == Counter(accepted=4)
            assert "fill it" in outbox.ready()["gas"].detail
            chain.money = 10**21
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=4)

    asyncio.run(run())


def test_a_fenced_sender_changes_nothing(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(8)
            first, second = b.outbox(chain), b.outbox(chain)
            await first.desk.store.acquire(60_000, steal=True)
            first._leads = True
            first._renew_at = 10**9
            await second.step()
            pool = dict(chain.pool)
            await b.accept(4)
            with pytest.raises(LeaseLostError):
                await first.step()  # it may repeat what is committed, but adds nothing
            assert chain.pool == pool
            await rounds(second, chain, b)
            assert await b.statuses() == Counter(final=12)
            assert len(chain.recorded()) == 12

    asyncio.run(run())


def test_a_second_sender_stands_by(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            patient = replace(SETTINGS, steal_lease=False)
            first, second = b.outbox(chain, settings=patient), b.outbox(chain, settings=patient)
            await b.accept(4)
            await first.step()
            await second.step()
            assert chain.sends == 1
            await first.desk.store.release()
            chain.mine()
            await second.step()
            assert (await b.statuses())["included"] == 4

    asyncio.run(run())


def test_another_chain_under_the_same_id_is_refused(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            first = b.outbox(FakeChain(CONTRACT))
            await first.start()
            await first.stop()
            other = FakeChain(CONTRACT)
            other.mine()
            other.blocks_list = other.blocks_list[1:]
            with pytest.raises(ChainMismatchError, match="point FAIRSCORE_RPC_URL back"):
                await b.outbox(other).start()

    asyncio.run(run())


def test_the_running_loop_survives_an_endpoint_that_is_down(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            outbox = b.outbox(chain, settings=replace(SETTINGS, poll_ms=5, step_gap_ms=1))
            await outbox.start()
            chain.down = True
            await b.accept(4)
            outbox.wake()
            async with asyncio.timeout(60):
                while outbox.ready()["chain"].ok:  # noqa: ASYNC110 - it finds out at its next step
                    await asyncio.sleep(0.02)
            chain.down = False
            for _ in range(3_000):
                await asyncio.sleep(0.02)
                chain.mine()
                if await b.statuses() == Counter(final=4):
                    break
            assert await b.statuses() == Counter(final=4)
            assert outbox.ready()["chain"].ok
            await outbox.stop()

    asyncio.run(run())
