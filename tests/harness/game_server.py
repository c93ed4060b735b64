"""A game's own server as a program of another language would be it: plain HTTP with its key.

Touches loopback HTTP; starts relays on a real chain.
"""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.harness.nodes import anvil, operator
from tests.harness.process import Fairscore

OPEN = {"FAIRSCORE_OPEN_REGISTRATION": "true"}
PLAYERS = ("ann", "bob", "eve")


class Reply(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def data(self) -> Any:
        """What the envelope of a success holds."""
        assert self.status in {200, 201}, self.json
        assert self.json["success"] is True, self.json
        return self.json["data"]

    @property
    def code(self) -> str:
        """Why it was refused; empty where it was not."""
        return str(self.json.get("code", ""))


class GameServer:
    """Calls one relay, each time over a new connection; several threads may. Any relay of its database will do."""

    def __init__(self, url: str, secret: str = "") -> None:
        self.url, self.secret = url, secret

    def at(self, url: str) -> "GameServer":
        """The same game's server, calling another relay."""
        return GameServer(url, self.secret)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request. Raises OSError or HTTPException where the connection ends before the answer."""
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): it for name, it in headers.items()}
        if self.secret:
            named["Authorization"] = f"Bearer {self.secret}"
        with closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), named)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        return Reply(answer.status, {name.lower(): it for name, it in answer.getheaders()}, told)

    def get(self, path: str) -> Any:
        """What there is, under the prefix of the economy."""
        return self.call("GET", f"/api/economy{path}").data

    def do(self, operation: str, key: str = "", **body: Any) -> Reply:
        """An operation or a declaration: `do("grant", externalId=…)`; with an idempotency key where one is given."""
        headers = {"Idempotency_Key": key} if key else {}
        return self.call("POST", f"/api/economy/{operation}", body, **headers)

    def balance(self, player: str, currency: str = "gold") -> int:
        """What a player has of a currency."""
        found = self.get(f"/players/{player}/balance")["balances"]
        return next((int(one["balance"]) for one in found if one["currencyId"] == currency), 0)

    def items(self, player: str) -> dict[str, tuple[int, int]]:
        """What a player has of each item: to be used, and in escrow."""
        found = self.get(f"/players/{player}/inventory")["items"]
        return {one["itemId"]: (one["quantity"], one["escrowed"]) for one in found}

    def settings(self, **changed: Any) -> None:
        """Change the game's settings."""
        assert self.call("PATCH", "/api/economy/config", changed).data


def register(url: str, admin: str = "", **balances: int) -> tuple[str, GameServer]:
    """Register a game with gold and three players who have so much of it; returns its id and its server."""
    made = GameServer(url, admin).do("games", name="Island").data
    server = GameServer(url, made["apiKey"])
    assert server.do("currencies", currencyId="gold", name="Gold", icon="g").data
    for name in PLAYERS:
        wallets = [{"currencyId": "gold", "balance": balances.get(name, 0)}]
        assert server.do("players", externalId=name, wallets=wallets).data
    return made["gameId"], server


@contextmanager
def relays(folder: Path, database_url: str, count: int, **settings: str) -> Iterator[list[Fairscore]]:
    """Relays on one database and one anvil, where anybody may register a game."""
    with ExitStack() as stack:
        node = stack.enter_context(anvil("--block-time", "1"))
        told = operator(folder / "keys", node.url, database_url) | OPEN | settings
        started = [Fairscore(folder / "home", "relay", settings=told) for _ in range(count)]
        for relay in started:
            stack.callback(relay.cleanup)
            relay.launch()
        for relay in started:
            relay.wait_ready()
        yield started
