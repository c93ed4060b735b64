"""What stands before every operation: allowances per address and key, and an eye on failed authentications.

Touches the clock, and in its job the database. Counts are of this process: behind several, the allowances add up.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from relay.api.operations import Credential, Scope
from relay.client_address import Proxies, limited_as
from relay.errors import CallerError
from relay.guard.failures import Failures, Subject, flag_of_address, flag_of_key
from relay.guard.flags import Flag
from relay.guard.shield import WINDOW_S, Shield, Taken
from relay.store import keys
from relay.store.engine import Database, StoreUnavailableError
from relay.store.flags import raise_flags
from relay.store.writer import Writer

FAILURE_COST = 20  # requests that a failed authentication costs its address


class Shields:
    """The shields of one process; 0 requests a minute: no limit. `report` is a job of the scheduler."""

    def __init__(
        self,
        address_per_minute: int = 0,
        key_per_minute: int = 0,
        proxies: Proxies | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses, self._keys = Shield(address_per_minute), Shield(key_per_minute)
        self._proxies, self._clock_s = proxies or Proxies(), clock_s
        self._failures = Failures()
        self._refused = {"address": 0, "key": 0}

    def client(self, scope: Scope) -> str | None:
        """Return the address of who calls, None where there is none."""
        peer = scope.get("client")
        return None if peer is None else self._proxies.client(peer[0], scope["headers"])

    def admit(self, address: str | None) -> None:
        """Let a request of an address pass.

        Raises:
            CallerError: TOO_MANY_REQUESTS.
        """
        subject = None if address is None else limited_as(address)
        if subject is not None:
            taken = self._addresses.take(subject, self._clock_s())
            if not taken.admit:
                raise self._too_many("address", self._addresses.per_minute, taken)

    def admit_key(self, credential: Credential) -> None:
        """Let a request with a valid key pass.

        Raises:
            CallerError: TOO_MANY_REQUESTS.
        """
        taken = self._keys.take(credential.key_id, self._clock_s())
        if not taken.admit:
            raise self._too_many("key", self._keys.per_minute, taken)

    def failed(self, address: str | None, token: str) -> None:
        """Count a key that is none; of what was sent, only the prefix of something like a key is remembered."""
        now_s = self._clock_s()
        found = keys.PREFIX.match(token)
        self._failures.count(address, None if found is None else found[0], now_s)
        subject = None if address is None else limited_as(address)
        if subject is not None:
            self._addresses.take(subject, now_s, FAILURE_COST)

    def numbers(self) -> Mapping[str, float]:
        """Return what a scrape of the metrics is told."""
        return {
            "authentication_failures_total": float(self._failures.total),
            "shielded_address_total": float(self._refused["address"]),
            "shielded_key_total": float(self._refused["key"]),
        }

    async def report(self, database: Database, writer: Writer) -> int:
        """Write suspicious failures down as flags, one open flag per address and key; returns how many subjects."""
        found = self._failures.take()
        if not found:
            return 0

        def job(c: Any) -> None:
            now_ms = database.now_ms(c)
            prefixes = [one.id for one in found if one.type == "prefix"]
            known = keys.of_prefixes(c, prefixes) if prefixes else {}
            raise_flags(c, _flags(found, known, now_ms), now_ms)

        try:
            await writer.run(job)
        except StoreUnavailableError:
            self._failures.give_back(found)
            return 0
        return len(found)

    def _too_many(self, what: str, per_minute: int, taken: Taken) -> CallerError:
        self._refused[what] += 1
        return too_many("requests", what, per_minute, taken)


def too_many(things: str, what: str, per_minute: int, taken: Taken) -> CallerError:
    """Return the 429 of who is beyond an allowance."""
    retry_s = max(1, int(-(-taken.retry_s // 1)))
    detail = f"More than {per_minute} {things} a minute from one {what}: the next is taken in {retry_s} s."
    headers = {
        "RateLimit-Policy": f'"{what}";q={per_minute};w={int(WINDOW_S)}',
        "RateLimit": f'"{what}";r=0;t={int(-(-taken.full_s // 1))}',
        "Retry-After": str(retry_s),
    }
    return CallerError("TOO_MANY_REQUESTS", detail, headers=headers)


def _flags(found: Mapping[Subject, int], known: Mapping[str, keys.KeyInfo], now_ms: int) -> list[Flag]:
    """Return a flag per failure; a prefix that no key has is nobody's, and its address tells more."""
    flags: list[Flag] = []
    for subject, times in found.items():
        if subject.type == "address":
            flags += [flag_of_address(subject.id, times)] * times
        elif (key := known.get(subject.id)) is not None:
            flags += [flag_of_key(key.id, key.prefix, key.game_id, key.state(now_ms), times)] * times
    return flags
