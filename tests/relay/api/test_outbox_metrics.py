"""/metrics of a real sender on the simulated chain, scraped and read as Prometheus reads it."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace

import psycopg
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from relay.chain_pool import ChainPool
from relay.chain_types import Look
from relay.keccak import checksum_address
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import CHAIN_ID, CONTRACT, GAS_KEY, SETTINGS
from tests.relay.api.test_outbox_api import Desk, desk_at

KEY = checksum_address(GAS_KEY.address)
NAME = re.compile(r"[a-z][a-z0-9_]*")


class LookedAt(FakeChain):
    """The simulated chain as one endpoint of a pool."""

    lag = 0

    async def close(self) -> None:
        """Nothing is open."""

    async def chain_id(self) -> int:
        """The harness's chain."""
        return CHAIN_ID

    async def look(self, heights: Sequence[int]) -> Look:
        """What it shows: its head, as far back as it lags."""
        blocks = [block.header for block in self.blocks_list]
        known = {height: blocks[height].hash for height in heights if height < len(blocks)}
        return Look(CHAIN_ID, blocks[max(0, len(blocks) - 1 - self.lag)], known)


class Scrape:
    """One scrape, by family and by sample."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.families: dict[str, Metric] = {}
        for family in text_string_to_metric_families(page):
            assert family.name not in self.families, f"{family.name} twice"
            self.families[family.name] = family

    def value(self, sample: str, **labels: str) -> float:
        """The one sample of that name with these labels."""
        found = [
            one.value
            for family in self.families.values()
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        ]
        assert len(found) == 1, (sample, labels, found)
        return float(found[0])


async def scrape(desk: Desk) -> Scrape:
    """GET /metrics."""
    reply = await desk.relay.request("GET", "/metrics")
    assert reply.status == 200
    return Scrape(reply.body.decode())


def check_conventions(found: Scrape) -> None:
    """What `promtool check metrics` and the exposition format ask for."""
    for family in found.families.values():
        assert NAME.fullmatch(family.name), family.name
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram", "summary", "info"}, family
        seen = [(one.name, tuple(sorted(one.labels.items()))) for one in family.samples]
        assert len(seen) == len(set(seen)), f"{family.name} has a sample twice"
        assert f"# HELP {family.name}" in found.page
        for one in family.samples:
            assert one.value == one.value, f"{one.name} is not a number"
            assert not {"le", "quantile"} & set(one.labels) or one.name.endswith("_bucket") or family.type == "summary"
            if family.type == "counter":
                assert one.name.endswith(("_total", "_created")), one.name
                assert one.value >= 0
            if family.type == "gauge":
                assert not one.name.endswith(("_total", "_count", "_sum", "_bucket")), one.name
        if family.type == "histogram":
            check_histogram(family)


def check_histogram(family: Metric) -> None:
    """Buckets never fall, and the last one holds everything."""
    by_series: dict[tuple[tuple[str, str], ...], list[float]] = {}
    counts: dict[tuple[tuple[str, str], ...], float] = {}
    for one in family.samples:
        labels = tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
        if one.name.endswith("_bucket"):
            by_series.setdefault(labels, []).append(one.value)
        elif one.name.endswith("_count"):
            counts[labels] = one.value
    for labels, buckets in by_series.items():
        assert buckets == sorted(buckets)
        assert buckets[-1] == counts[labels]


def test_a_running_outbox_is_measured(database_url: str) -> None:
    """From acceptance to final, through one endpoint of a pool."""

    async def run() -> None:
        good = LookedAt(CONTRACT)
        pool = ChainPool([("good.example:443", good)])
        async with desk_at(database_url, good, pool) as desk:
            await pool.examine()
            await desk.bench.accept(10)
            outbox = desk.outboxes[GAS_KEY.address]
            before = await scrape(desk)
            check_conventions(before)
            assert before.value("fairscore_outbox_depth", state="accepted") == 10
            assert before.value("fairscore_outbox_oldest_age_seconds", state="accepted") > 1e9
            assert before.value("fairscore_outbox_oldest_age_seconds", state="sent") == 0
            assert before.value("fairscore_outbox_attempts_total", key=KEY) == 0

            await outbox.step()
            found = await scrape(desk)
            check_conventions(found)
            assert found.value("fairscore_outbox_depth", state="sent") == 10
            assert found.value("fairscore_outbox_in_flight", key=KEY, state="live") == 3
            assert found.value("fairscore_outbox_attempts_total", key=KEY) == 3
            assert found.value("fairscore_outbox_batch_size_bucket", key=KEY, le="5.0") == 3
            assert found.value("fairscore_outbox_batch_size_sum", key=KEY) == 10
            accepted = {"key": KEY, "provider": "good.example:443", "class": "accepted"}
            assert found.value("fairscore_outbox_sends_total", **accepted) == 3
            assert found.value("fairscore_outbox_balance_wei", key=KEY) == 10**21
            assert found.value("fairscore_outbox_reserved_wei", key=KEY) > 0
            assert found.value("fairscore_outbox_led", key=KEY) == 1
            assert found.value("fairscore_outbox_paused", key=KEY) == 0
            assert found.value("fairscore_database_up") == 1

            await until_final(desk, good)
            found = await scrape(desk)
            check_conventions(found)
            assert found.value("fairscore_outbox_depth", state="sent") == 0
            assert found.value("fairscore_outbox_in_flight", key=KEY, state="mined") == 0
            assert found.value("fairscore_outbox_reserved_wei", key=KEY) == 0
            assert found.value("fairscore_outbox_scores_recorded_total", key=KEY) == 10
            assert found.value("fairscore_outbox_gas_used_total", key=KEY) > 0
            assert found.value("fairscore_outbox_gas_per_score_count", key=KEY) == 3

    asyncio.run(run())


async def until_final(desk: Desk, chain: FakeChain) -> None:
    """Make blocks until everything accepted is final."""
    for _ in range(12):
        chain.mine()
        await desk.outboxes[GAS_KEY.address].step()
    assert await desk.bench.all_final(10)


def test_reorgs_and_bumps_are_measured(sqlite_url: str) -> None:
    """Three transactions taken back at once, then a base fee fifty times as high."""

    async def run() -> None:
        async with desk_at(sqlite_url) as desk:
            await desk.bench.accept(10)
            outbox, chain = desk.outboxes[GAS_KEY.address], desk.chain
            await outbox.step()
            chain.mine()
            await outbox.step()
            chain.reorg(1, back_to_pool=True)
            await outbox.step()
            found = await scrape(desk)
            assert found.value("fairscore_outbox_reorg_depth_blocks_count", key=KEY) == 3
            assert found.value("fairscore_outbox_reorg_depth_blocks_bucket", key=KEY, le="1.0") == 3
            chain.base_fee *= 50
            for _ in range(5):
                chain.mine()
                await outbox.step()
            found = await scrape(desk)
            bumps = found.value("fairscore_outbox_bumps_total", key=KEY)
            assert bumps >= 1
            assert found.value("fairscore_outbox_attempts_total", key=KEY) == 3 + bumps
            chain.base_fee //= 50
            await until_final(desk, chain)

    asyncio.run(run())


def test_a_lagging_provider_is_measured(sqlite_url: str) -> None:
    """Up, head and lag of each, by host and port."""

    async def run() -> None:
        good, slow = LookedAt(CONTRACT), LookedAt(CONTRACT)
        good.mine(20)
        slow.blocks_list, slow.lag = good.blocks_list, 7
        pool = ChainPool([("good.example:443", good), ("slow.example:8545", slow)])
        async with desk_at(sqlite_url, good, pool) as desk:
            await pool.examine()
            found = await scrape(desk)
            check_conventions(found)
            for provider, up, head, lag in (("good.example:443", 1, 20, 0), ("slow.example:8545", 0, 13, 7)):
                assert found.value("fairscore_provider_up", provider=provider) == up
                assert found.value("fairscore_provider_head_block", provider=provider) == head
                assert found.value("fairscore_provider_lag_blocks", provider=provider) == lag

    asyncio.run(run())


def test_troubles_are_measured(postgres_url: str, postgres_server: str) -> None:
    """Foreign nonces, the fee cap, an empty account, a parked score, a pause; and all of it without a database."""

    async def run() -> None:
        async with desk_at(postgres_url) as desk:
            outbox = desk.outboxes[GAS_KEY.address]
            outbox.desk.settings = replace(SETTINGS, fee_wei_cap=3 * 10**9)
            await desk.bench.accept(3)
            await outbox.step()
            desk.chain.base_fee *= 50
            for _ in range(5):
                desk.chain.mine()
                await outbox.step()
            found = await scrape(desk)
            assert found.value("fairscore_outbox_fee_capped_total", key=KEY) >= 1
            assert found.value("fairscore_outbox_trouble", key=KEY, what="fees") == 1

            desk.chain.base_fee //= 50
            desk.chain.pool.clear()
            desk.chain.someone_else(0)
            for _ in range(6):
                desk.chain.mine()
                await outbox.step()
            await desk.control("pause")
            await desk.bench.writer.run(
                lambda c: c.execute(text("UPDATE submissions SET status = 'parked' WHERE round_id = 1")).rowcount
            )
            found = await scrape(desk)
            check_conventions(found)
            assert found.value("fairscore_outbox_foreign_nonces_total", key=KEY) == 1
            assert found.value("fairscore_outbox_depth", state="parked") == 1
            assert found.value("fairscore_outbox_paused", key=KEY) == 1

            take_away(postgres_server, desk.bench.database.engine.url.database or "")
            found = await scrape(desk)
            check_conventions(found)
            assert found.value("fairscore_database_up") == 0
            assert found.value("fairscore_outbox_foreign_nonces_total", key=KEY) == 1
            assert "fairscore_outbox_depth" not in found.families

    asyncio.run(run())


def take_away(server: str, name: str) -> None:
    """Let the server end all connections to a database and take none."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


def test_the_parser_would_notice(sqlite_url: str) -> None:
    """The checks above can fail."""
    with pytest.raises(AssertionError, match="twice"):
        check_conventions(Scrape('# HELP a A.\n# TYPE a gauge\na{x="1"} 1\na{x="1"} 2\n'))
    with pytest.raises(AssertionError):
        check_conventions(Scrape("# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n"))
