"""`GET /metrics`: what Prometheus scrapes.

Touches counters in memory, and whatever the fetches touch that it is handed. Requests are counted in plain
dictionaries (a tenth of a microsecond each) and become Prometheus metrics when scraped.
"""

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from relay.api.operations import Answer, Call

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Numbers = Callable[[], Mapping[str, float]]
Fetch = Callable[[], Awaitable[Sequence[Metric]]]


class RequestCounts(Collector):
    """Requests by method, route and status, with their durations. An instance is what `Api` calls as `observe`."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def __call__(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. Methods and routes are declared ones, so there are only so many."""
        known = method if method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"
        key = (known, route, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        buckets = self._buckets.get(route)
        if buckets is None:
            buckets = self._buckets[route] = [0] * (len(BUCKETS_S) + 1)
            self._sums[route] = 0.0
        buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[route] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        requests = CounterMetricFamily(
            "fairscore_http_requests", "Answered requests.", labels=["method", "route", "status"]
        )
        for (method, route, status), count in self._counts.items():
            requests.add_metric([method, route, str(status)], count)
        yield requests
        durations = HistogramMetricFamily(
            "fairscore_http_seconds", "From request to the end of the answer.", labels=["route"]
        )
        for route, counts in self._buckets.items():
            cumulative, total = [], 0
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
                total += count
                cumulative.append((bound, total))
            durations.add_metric([route], cumulative, self._sums[route])
        yield durations


class NumbersCollector(Collector):
    """Named numbers of the parts: `source` is asked at each scrape. Names that end in `_total` are counters."""

    def __init__(self, sources: list[Numbers]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Yield one metric per name."""
        for source in self._sources:
            for name, value in source().items():
                words = name.removesuffix("_total").replace("_", " ") + "."
                if name.endswith("_total"):
                    yield CounterMetricFamily(f"fairscore_{name.removesuffix('_total')}", words, value=value)
                else:
                    yield GaugeMetricFamily(f"fairscore_{name}", words, value=value)


class _Fetched(Collector):
    """Metrics that had to be awaited before the registry asks for them."""

    families: Sequence[Metric] = ()

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        yield from self.families


class Metrics:
    """The endpoint. `fetches` are awaited at each scrape, each for its metrics."""

    def __init__(self, requests: RequestCounts, sources: list[Numbers], fetches: Sequence[Fetch] = ()) -> None:
        self._fetches, self._fetched = fetches, _Fetched()
        self._registry = CollectorRegistry()
        self._registry.register(self._fetched)
        self._registry.register(requests)
        self._registry.register(NumbersCollector(sources))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def __call__(self, call: Call) -> Answer:  # noqa: ARG002 - every endpoint takes the call
        """Return all metrics."""
        found = [await fetch() for fetch in self._fetches]
        self._fetched.families = [family for families in found for family in families]
        return Answer(200, generate_latest(self._registry), CONTENT_TYPE)
