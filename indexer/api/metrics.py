"""The indexer's part of `GET /metrics`: how far it is, whom it reads from, and who of them was found to lie.

Touches nothing: asks the service for what it knows.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from indexer.health import Health
from relay.chain_types import ProviderState


class Numbers(Protocol):
    """What is asked of the service."""

    @property
    def health(self) -> Health:
        """How following goes."""

    @property
    def lies(self) -> Mapping[str, int]:
        """How often each provider gave what could not be true."""

    @property
    def subscriptions(self) -> Mapping[str, bool]:
        """Whether each WebSocket endpoint announces blocks."""

    def providers(self) -> Sequence[ProviderState]:
        """Every provider as last seen."""


async def indexer_families(numbers: Numbers) -> list[Metric]:
    """Return the metrics; an indexer that stands by has not looked at the chain and shows no blocks."""
    return [*_following(numbers.health), *_providers(numbers), _subscriptions(numbers.subscriptions)]


def _following(health: Health) -> list[Metric]:
    families: list[Metric] = []
    for name, text, block in (
        ("head_block", "Newest block of the chain that was seen.", health.head),
        ("tip_block", "Newest block that is committed.", health.tip),
    ):
        gauge = GaugeMetricFamily(f"fairscore_indexer_{name}", text)
        if block is not None:
            gauge.add_metric([], block)
        families.append(gauge)
    return [
        *families,
        CounterMetricFamily(
            "fairscore_indexer_reorganisations", "Times that committed blocks were replaced.",
            value=health.reorganisations,
        ),
        GaugeMetricFamily(
            "fairscore_indexer_events_broken", "1 while events do not reproduce the contract's record.",
            value=bool(health.broken),
        ),
    ]  # fmt: skip


def _providers(numbers: Numbers) -> list[Metric]:
    up = GaugeMetricFamily("fairscore_indexer_provider_up", "1 while a provider is believed.", labels=["provider"])
    head = GaugeMetricFamily("fairscore_indexer_provider_head_block", "Newest block seen there.", labels=["provider"])
    lies = CounterMetricFamily(
        "fairscore_indexer_provider_lies", "Times it gave what could not be true.", labels=["provider"]
    )
    for provider in numbers.providers():
        up.add_metric([provider.name], provider.healthy)
        if provider.head is not None:
            head.add_metric([provider.name], provider.head)
        lies.add_metric([provider.name], numbers.lies.get(provider.name, 0))
    return [up, head, lies]


def _subscriptions(live: Mapping[str, bool]) -> Metric:
    up = GaugeMetricFamily(
        "fairscore_indexer_subscription_up", "1 while a WebSocket endpoint announces blocks.", labels=["provider"]
    )
    for name, there in live.items():
        up.add_metric([name], there)
    return up
