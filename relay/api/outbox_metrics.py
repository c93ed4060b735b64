"""The outbox's metrics: what its senders counted in this process, and one short look at the database.

Touches the database through `relay.store.outbox_view`. Counters are this process's own, as Prometheus expects of a
target; gauges of depth and of keys are the same wherever they are asked for.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from relay.api.outbox_parts import OutboxParts, Sender
from relay.keccak import checksum_address
from relay.outbox.meter import Histogram, Meter
from relay.store.engine import StoreUnavailableError
from relay.store.outbox_view import View, view
from relay.store.revocations import Backlog, backlog

log = logging.getLogger(__name__)

ORDER_STATES = ("waiting", "queued", "sent", "included")
SLOT_STATES = ("reserved", "live", "mined")
COUNTERS: tuple[tuple[str, str, Callable[[Meter], int]], ...] = (
    ("attempts", "Transactions signed and committed, replacements included.", lambda meter: meter.attempts),
    ("bumps", "Stuck transactions that were replaced with higher fees.", lambda meter: meter.bumps),
    ("fee_capped", "Times a stuck transaction could not be raised above the fee cap.", lambda meter: meter.fee_caps),
    ("voids", "Nonces for which a transaction to oneself was signed.", lambda meter: meter.voids),
    ("failed", "Final transactions that failed.", lambda meter: meter.failures),
    ("foreign_nonces", "Nonces used by someone else, for good.", lambda meter: meter.foreign_nonces),
    ("gas_used", "Gas used by final transactions.", lambda meter: meter.gas_used),
    ("scores_recorded", "Scores that final transactions recorded.", lambda meter: meter.scores_paid),
)
HISTOGRAMS: tuple[tuple[str, str, Callable[[Meter], Histogram]], ...] = (
    ("reorg_depth_blocks", "Depth of the reorgs that took a mined transaction back.", lambda meter: meter.reorgs),
    ("batch_size", "Scores per sealed batch.", lambda meter: meter.batch_sizes),
    ("gas_per_score", "Gas per recorded score, by final transaction.", lambda meter: meter.gas_per_score),
)


async def families(parts: OutboxParts) -> list[Metric]:
    """Return every metric of the outbox; without the database, those of this process alone."""
    senders = {checksum_address(address): sender for address, sender in parts.senders().items()}
    found = [*_counted(senders), *_funds(senders), *_providers(parts)]
    up = GaugeMetricFamily("fairscore_database_up", "1 while the database answers.")
    try:
        seen, orders = await parts.database.read(
            lambda c: (view(c, parts.chain_id, parts.database.now_ms(c)), backlog(c))
        )
    except StoreUnavailableError:
        up.add_metric([], 0)
        return [*found, up]
    up.add_metric([], 1)
    return [*found, up, *_depth(seen), *_keys(seen), _revocations(orders)]


def _counted(senders: Mapping[str, Sender]) -> Iterator[Metric]:
    for name, text, value in COUNTERS:
        counter = CounterMetricFamily(f"fairscore_outbox_{name}", text, labels=["key"])
        for key, sender in senders.items():
            counter.add_metric([key], value(sender.meter))
        yield counter
    sends = CounterMetricFamily(
        "fairscore_outbox_sends", "Answers to broadcasts, by provider and class.", labels=["key", "provider", "class"]
    )
    for key, sender in senders.items():
        for (provider, send_class), count in sorted(sender.meter.sends.items()):
            sends.add_metric([key, provider, send_class], count)
    yield sends
    for name, text, histogram in HISTOGRAMS:
        buckets = HistogramMetricFamily(f"fairscore_outbox_{name}", text, labels=["key"])
        for key, sender in senders.items():
            observed = histogram(sender.meter)
            buckets.add_metric([key], observed.cumulative(), observed.total)
        yield buckets


def _funds(senders: Mapping[str, Sender]) -> Iterator[Metric]:
    balance = GaugeMetricFamily("fairscore_outbox_balance_wei", "Balance of the key's account.", labels=["key"])
    trouble = GaugeMetricFamily(
        "fairscore_outbox_trouble", "1 while the named thing keeps a key from sending.", labels=["key", "what"]
    )
    for key, sender in senders.items():
        if sender.meter.balance_wei is not None:
            balance.add_metric([key], sender.meter.balance_wei)
        for what in sorted(sender.trouble):
            trouble.add_metric([key, what], 1)
    yield from (balance, trouble)


def _providers(parts: OutboxParts) -> Iterator[Metric]:
    up = GaugeMetricFamily("fairscore_provider_up", "1 while an RPC endpoint is used.", labels=["provider"])
    head = GaugeMetricFamily("fairscore_provider_head_block", "Newest block seen there.", labels=["provider"])
    lag = GaugeMetricFamily("fairscore_provider_lag_blocks", "Blocks behind the best endpoint.", labels=["provider"])
    for provider in parts.providers():
        up.add_metric([provider.name], provider.healthy)
        if provider.head is not None:
            head.add_metric([provider.name], provider.head)
        if provider.lag_blocks is not None:
            lag.add_metric([provider.name], provider.lag_blocks)
    yield from (up, head, lag)


def _depth(seen: View) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "fairscore_outbox_depth", "Submissions in each state that is not an end.", labels=["state"]
    )
    oldest = GaugeMetricFamily(
        "fairscore_outbox_oldest_age_seconds", "Since the oldest of them was accepted; 0: none.", labels=["state"]
    )
    for state, one in seen.depth.items():
        depth.add_metric([state], one.size)
        age_ms = 0 if one.oldest_ms is None else max(0, seen.now_ms - one.oldest_ms)
        oldest.add_metric([state], age_ms / 1000)
    yield from (depth, oldest)


def _keys(seen: View) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(
        "fairscore_outbox_in_flight", "Nonces of a key that are not final.", labels=["key", "state"]
    )
    paused = GaugeMetricFamily("fairscore_outbox_paused", "1 while an operator paused the key.", labels=["key"])
    reserved = GaugeMetricFamily(
        "fairscore_outbox_reserved_wei", "Worst case of what the key has under way.", labels=["key"]
    )
    led = GaugeMetricFamily("fairscore_outbox_led", "1 while a process holds the key's lease.", labels=["key"])
    for one in seen.keys:
        key = checksum_address(one.key.signer)
        for state in SLOT_STATES:
            in_flight.add_metric([key, state], sum(slot.state == state for slot in one.slots))
        paused.add_metric([key], one.pause is not None)
        reserved.add_metric([key], one.reserved_wei)
        led.add_metric([key], one.led)
    yield from (in_flight, paused, reserved, led)


def _revocations(orders: Sequence[Backlog]) -> Metric:
    waiting = GaugeMetricFamily(
        "fairscore_revocations", "Orders to take scores back or to put them back, by state.", labels=["state"]
    )
    known = {one.state: one.orders for one in orders}
    for state in ORDER_STATES:
        waiting.add_metric([state], known.get(state, 0))
    return waiting
