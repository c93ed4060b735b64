"""The webhooks' part of `GET /metrics`.

Touches nothing: the delivering process tells its numbers once a second, by hook.
"""

from collections.abc import Callable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

COUNTERS = {
    "delivered": "Events that a receiver took.",
    "failed": "Attempts that a receiver did not take.",
}
GAUGES = {
    "waiting": "Events to be tried again, and those held behind one of their submission.",
    "dead": "Events given up, until they are replayed.",
    "lag_seconds": "Age of the oldest event neither delivered nor set aside.",
}

HookNumbers = Callable[[], Mapping[str, Mapping[str, float]]]


async def webhook_families(numbers: HookNumbers) -> list[Metric]:
    """Return the metrics; a hook that another process delivers has no gauges here."""
    found = numbers()
    families: list[Metric] = []
    for name, text in COUNTERS.items():
        counter = CounterMetricFamily(f"fairscore_webhook_{name}", text, labels=["hook"])
        for hook, values in found.items():
            counter.add_metric([hook], values.get(f"{name}_total", 0.0))
        families.append(counter)
    for name, text in GAUGES.items():
        gauge = GaugeMetricFamily(f"fairscore_webhook_{name}", text, labels=["hook"])
        for hook, values in found.items():
            if name in values:
                gauge.add_metric([hook], values[name])
        families.append(gauge)
    return families
