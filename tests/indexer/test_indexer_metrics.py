"""What Prometheus is told about following and about providers."""

import asyncio
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from indexer.api.metrics import indexer_families
from indexer.health import Health
from relay.chain_types import ProviderState


class Known:
    """A service as metrics see it."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self.lies: Mapping[str, int] = {"b:2": 3}
        self.subscriptions: Mapping[str, bool] = {"c:3": True, "d:4": False}

    def providers(self) -> list[ProviderState]:
        """One is believed, the other was never reached."""
        return [ProviderState("a:1", True, 9, 0, ""), ProviderState("b:2", False, None, None, "lies")]


def shown(known: Known) -> set[str]:
    """The lines of a scrape."""
    families: list[Metric] = asyncio.run(indexer_families(known))

    class Fixed(Collector):
        def collect(self) -> list[Metric]:
            """What was asked for."""
            return families

    registry = CollectorRegistry()
    registry.register(Fixed())
    return {line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")}


def test_following_and_providers_are_shown() -> None:
    assert shown(Known(Health(head=9, tip=8, reorganisations=2, broken="missing"))) == {
        "fairscore_indexer_head_block 9.0",
        "fairscore_indexer_tip_block 8.0",
        "fairscore_indexer_reorganisations_total 2.0",
        "fairscore_indexer_events_broken 1.0",
        'fairscore_indexer_provider_up{provider="a:1"} 1.0',
        'fairscore_indexer_provider_up{provider="b:2"} 0.0',
        'fairscore_indexer_provider_head_block{provider="a:1"} 9.0',
        'fairscore_indexer_provider_lies_total{provider="a:1"} 0.0',
        'fairscore_indexer_provider_lies_total{provider="b:2"} 3.0',
        'fairscore_indexer_subscription_up{provider="c:3"} 1.0',
        'fairscore_indexer_subscription_up{provider="d:4"} 0.0',
    }


def test_what_was_never_seen_is_not_shown() -> None:
    lines = shown(Known(Health()))
    assert not any("head_block " in line or "tip_block" in line for line in lines)
    assert "fairscore_indexer_events_broken 0.0" in lines
