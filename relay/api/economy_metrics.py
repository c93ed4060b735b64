"""The economy's part of `GET /metrics`: what this process counted, and one short look at the database.

Touches the database through `relay.store.economy_gauges`. Counters are this process's own, as Prometheus expects of a
target; gauges are of all games together, since anybody may be allowed to add games, and a label for each would never
end.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from relay.api.economy_parts import EconomyParts
from relay.economy.checkpoints import OPEN, State
from relay.economy_meter import EconomyMeter
from relay.flag_kinds import ANCHOR_KINDS, ECONOMY_KINDS
from relay.store.economy_gauges import Gauges, gauges
from relay.store.engine import StoreUnavailableError, one_picture
from relay.store.intake_rows import Connection

CODES = (*ECONOMY_KINDS, *ANCHOR_KINDS)
SHOWN = (*(state.value for state in OPEN), State.CONTRADICTED.value)


async def economy_families(parts: EconomyParts) -> list[Metric]:
    """Return every metric of the economy; without the database, those of this process alone."""
    counted = [*_counted(parts.intake.meter)]

    def look(c: Connection) -> Gauges:
        one_picture(c)
        return gauges(c, CODES, parts.database.now_ms(c))

    try:
        seen = await parts.database.read(look)
    except StoreUnavailableError:
        return counted
    return [*counted, *_plain(seen), _checkpoints(seen), _flags(seen)]


def _counted(meter: EconomyMeter) -> Iterator[Metric]:
    operations = CounterMetricFamily(
        "fairscore_economy_operations", "Decided operations, by action and outcome.", labels=["action", "outcome"]
    )
    for (action, outcome), times in sorted(meter.operations.items()):
        operations.add_metric([action, outcome], times)
    yield operations
    yield CounterMetricFamily(
        "fairscore_economy_replays", "Requests answered by what their idempotency key keeps.", value=meter.replays
    )
    groups = HistogramMetricFamily("fairscore_economy_group_size", "Operations made durable by one commit.")
    groups.add_metric([], meter.groups.cumulative(), meter.groups.total)
    yield groups


def _plain(seen: Gauges) -> Iterator[Metric]:
    age_ms = 0 if seen.oldest_checkpoint_ms is None else max(0, seen.now_ms - seen.oldest_checkpoint_ms)
    values = {
        "games": ("Games that ever booked anything.", seen.games),
        "ledger_transactions": ("Transactions in all ledgers.", seen.transactions),
        "unhashed_transactions": ("Transactions no Merkle tree holds yet.", seen.transactions - seen.in_trees),
        "unanchored_transactions": ("Transactions no final checkpoint covers.", seen.transactions - seen.anchored),
        "checkpoint_oldest_age_seconds": ("Age of the oldest checkpoint under way; 0: none.", age_ms / 1000),
        "listings": ("Open listings of the marketplace.", seen.listings),
        "listings_overdue": ("Open listings whose time is over.", seen.overdue),
        "unexamined_transfers": ("Transfers and grants that wait for the slower detectors.", seen.unexamined),
    }
    for name, (text, value) in values.items():
        yield GaugeMetricFamily(f"fairscore_economy_{name}", text, value=value)


def _checkpoints(seen: Gauges) -> Metric:
    found = GaugeMetricFamily(
        "fairscore_economy_checkpoints", "Checkpoints under way, and those the chain contradicts.", labels=["state"]
    )
    for state in SHOWN:
        found.add_metric([state], seen.checkpoints.get(state, 0))
    return found


def _flags(seen: Gauges) -> Metric:
    found = GaugeMetricFamily("fairscore_economy_open_flags", "Open flags of the economy, by code.", labels=["code"])
    for code in CODES:  # each is there from the start, so that an alert on the first one can fire
        found.add_metric([code], seen.flags.get(code, 0))
    return found
