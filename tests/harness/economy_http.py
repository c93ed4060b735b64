"""A game's server that calls the economy over HTTP, with what every answer of it must be like."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from tests.harness.ledgers import check_ledger

BASE = "/api/economy"
GAME = "chess"


class Server:
    """Calls with one key, by default a server's of the game `chess`."""

    def __init__(self, relay: Any, role: str = "server", game_id: str | None = GAME) -> None:
        self.relay = relay
        made = relay.keys.create(role, game_id=game_id)
        self.secret, self.key_id = made.secret, made.info.id

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send one request; a body that is no bytes is sent as JSON."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {"authorization": f"Bearer {self.secret}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.relay.request(method, BASE + path, raw, named)

    async def post(self, path: str, body: object, **headers: str) -> Any:
        """Send a body."""
        return await self.call("POST", path, body, **headers)

    async def data(self, path: str) -> Any:
        """Read, and return what the envelope holds."""
        return data_of(await self.call("GET", path))

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(await self.relay.database.read(lambda c: c.scalar(text(f"SELECT count(*) FROM {table}"))))

    async def check_ledger(self, game_id: str = GAME) -> Any:
        """Assert all that must hold of the game's ledger; returns it told again."""
        return await self.relay.database.read(lambda c: check_ledger(c, game_id))


def data_of(reply: Any, *statuses: int) -> Any:
    """Return what an answer's envelope holds, once it is one."""
    assert reply.status in (statuses or (200, 201)), reply.body
    assert set(reply.json) == {"success", "data", "requestId"}
    assert reply.json["success"] is True
    return reply.json["data"]


def check_refused(reply: Any, status: int, code: str, *pointers: str) -> None:
    """Assert that an answer is this problem, naming these fields."""
    assert (reply.status, reply.json["code"]) == (status, code), reply.body
    assert reply.headers["content-type"] == "application/problem+json"
    assert [one["pointer"] for one in reply.json.get("errors", [])] == list(pointers), reply.body


def with_server(url: str, relay_at: Any, scenario: Callable[[Server], Awaitable[None]]) -> None:
    """Run a scenario against a relay."""

    async def run() -> None:
        async with relay_at(url) as relay:
            await scenario(Server(relay))

    asyncio.run(run())
