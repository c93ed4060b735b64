"""Liveness, readiness and the summary of both.

Touches nothing: it asks the checks it is handed, and lists only those that run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from relay.api.operations import Answer, Call, answer
from relay.health import Check

Ready = Callable[[], Awaitable[Mapping[str, Check]]]
CHECK_TIMEOUT_S = 5.0


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class CheckDocument(msgspec.Struct, frozen=True):
    """One named check."""

    ok: bool
    detail: str


class Health(msgspec.Struct, frozen=True):
    """All checks that run; `status` is `ready` when all of them hold."""

    status: str
    version: str
    checks: dict[str, CheckDocument]


class HealthEndpoints:
    """The endpoints."""

    def __init__(self, ready: Ready, version: str) -> None:
        self._ready = ready
        self._version = version

    async def live(self, call: Call) -> Answer:  # noqa: ARG002 - every endpoint takes the call
        """Say that the process answers."""
        return answer(Live("live"))

    async def ready(self, call: Call) -> Answer:  # noqa: ARG002
        """Say whether every check holds: 200, or 503 with the same body."""
        health = await self._health()
        return answer(health, 200 if health.status == "ready" else 503, ((b"cache-control", b"no-store"),))

    async def summary(self, call: Call) -> Answer:  # noqa: ARG002
        """Return the same body as readiness, always with 200."""
        return answer(await self._health(), 200, ((b"cache-control", b"no-store"),))

    async def _health(self) -> Health:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                found = await self._ready()
        except TimeoutError:
            found = {"checks": Check(False, f"no answer within {CHECK_TIMEOUT_S:.0f} s")}
        checks = {name: CheckDocument(check.ok, check.detail) for name, check in found.items()}
        status = "ready" if all(check.ok for check in found.values()) else "not ready"
        return Health(status, self._version, checks)
