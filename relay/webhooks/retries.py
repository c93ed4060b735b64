"""When a delivery that failed is tried again, and when it is given up.

Pure. The waits are the schedule that the Standard Webhooks specification recommends: ten tries in a little over three
days, so that a receiver that is down over a long weekend misses nothing.
"""

WAITS_MS = tuple(1000 * seconds for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
GIVE_UP_MS = sum(WAITS_MS)  # after the first try
JITTER = 0.2  # of a wait, up or down: receivers that come back are not met by everything at once
RETRY_AFTER_MAX_MS = WAITS_MS[-1]

OUTAGE = 8  # failures in a row after which the receiver, not an event, is taken to be the trouble
PROBE_MS, PROBE_MAX_MS = 5_000, 300_000


def next_try_ms(attempts: int, first_at_ms: int, now_ms: int, chance: float, asked_ms: int = 0) -> int | None:
    """Return when to try again after `attempts` failed, None when it is given up.

    `chance` is a random number in [0, 1); `asked_ms` is how long the receiver asked to be left alone (Retry-After).
    """
    if now_ms - first_at_ms >= GIVE_UP_MS:
        return None
    wait_ms = WAITS_MS[min(attempts, len(WAITS_MS)) - 1]
    scattered_ms = int(wait_ms * (1 + JITTER * (2 * chance - 1)))
    due_ms = now_ms + max(scattered_ms, min(asked_ms, RETRY_AFTER_MAX_MS))
    return min(due_ms, max(first_at_ms + GIVE_UP_MS, now_ms + WAITS_MS[0]))  # the last try is not later than promised


def probe_ms(probes: int, chance: float) -> int:
    """Return how long to leave a receiver in outage alone after `probes` attempts that were let through to it."""
    wait_ms = min(PROBE_MS << min(probes, 16), PROBE_MAX_MS)
    return int(wait_ms * (1 + JITTER * (2 * chance - 1)))
