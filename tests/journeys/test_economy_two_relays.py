"""Two relays on one PostgreSQL, called at once: limits are exact, a key counts once, a listing has one outcome."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from relay.store.engine import open_database
from tests.harness.game_server import PLAYERS, GameServer, Reply, register, relays
from tests.harness.ledgers import check_ledger

GOLD: dict[str, Any] = {"externalId": "ann", "currencyId": "gold", "amount": 1}
CONNECTIONS = 16


class Pair(NamedTuple):
    """Two relays of one database, by URL."""

    one: str
    other: str
    database: str

    def both(self, server: GameServer) -> tuple[GameServer, GameServer]:
        """A game's server at each."""
        return server.at(self.one), server.at(self.other)

    def check_books(self, game_id: str) -> None:
        """All that must hold of a ledger."""
        database = open_database(self.database)
        try:
            database.read_now(lambda c: check_ledger(c, game_id))
        finally:
            database.close()


@pytest.fixture(scope="module")
def pair(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Shared by the tests: each has a game of its own."""
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute('CREATE DATABASE "economy_pair"')
    base, _, query = postgres_server.partition("?")
    url = base.rsplit("/", 1)[0] + "/economy_pair" + (f"?{query}" if query else "")
    with relays(tmp_path_factory.mktemp("pair"), url, 2) as (one, other):
        yield Pair(one.url, other.url, url)
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute('DROP DATABASE "economy_pair" WITH (FORCE)')


def test_sixty_a_minute_pass_and_a_thousand_refusals_are_one_flag(pair: Pair) -> None:
    """Under 16 connections to two relays exactly 60; what is refused says the 61st attempt, and changes nothing."""
    game_id, server = register(pair.one)
    at = pair.both(server)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        replies = list(pool.map(lambda number: at[number % 2].do("grant", **GOLD), range(1_060)))
    outcomes = Counter((reply.status, reply.code) for reply in replies)
    assert outcomes == {(200, ""): 60, (429, "RATE_LIMITED"): 1_000}
    assert (server.balance("ann"), server.balance("bob")) == (60, 0)
    refused = [reply for reply in replies if reply.status == 429]
    assert all(1 <= int(reply.headers["retry-after"]) <= 60 for reply in refused)
    assert {reply.headers["ratelimit-policy"] for reply in replies} == {refused[0].headers["ratelimit-policy"]}
    reasons = {reply.json["reason"] for reply in refused}
    assert "Rate limit exceeded: grant (61/60 per minute)" in reasons
    assert reasons == {f"Rate limit exceeded: grant ({number}/60 per minute)" for number in range(61, 1_061)}
    assert server.at(pair.other).do("grant", **GOLD | {"externalId": "bob"}).data  # each player has limits of his own
    (flag,) = server.call("GET", "/api/audit-flags?reason=RATE_LIMITED").json["flags"]
    assert (flag["code"], flag["playerId"], flag["severity"], flag["occurrences"]) == (
        "RATE_LIMITED", "ann", "warning", 1_000,
    )  # fmt: skip
    pair.check_books(game_id)


def test_one_key_fifty_times_at_once_is_one_effect(pair: Pair) -> None:
    """Over two relays the others get the same answer or are told to come again; another body is refused."""
    game_id, server = register(pair.one)
    at = pair.both(server)
    body = GOLD | {"reference": "quest 1"}
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda number: at[number % 2].do("grant", "once", **body), range(50)))
    told = Counter((reply.status, reply.code) for reply in replies)
    assert set(told) <= {(200, ""), (409, "IDEMPOTENCY_IN_FLIGHT")}
    answers = [reply for reply in replies if reply.status == 200]
    assert len({reply.json["data"]["transactionId"] for reply in answers}) == 1
    assert sum("idempotent-replayed" not in reply.headers for reply in answers) == 1
    assert server.balance("ann") == 1
    other = server.at(pair.other).do("grant", "once", **body | {"amount": 2})
    assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    with psycopg.connect(pair.database, autocommit=True) as day_two:  # the keys are forgotten, the ledger is not
        day_two.execute("DELETE FROM kept_answers")
    again = server.at(pair.other).do("grant", "once", **body)
    assert (again.status, again.code) == (409, "REFERENCE_EXISTS")
    assert answers[0].json["data"]["transactionId"] in again.json["detail"]
    assert server.balance("ann") == 1
    pair.check_books(game_id)


def test_of_buyers_the_seller_and_the_clock_one_has_the_listing(pair: Pair) -> None:
    """Buy, buy, cancel and expiry of thirty listings over two relays: one outcome each, nothing lost or doubled."""
    rounds, price = 30, 10
    game_id, server = register(pair.one, ann=1_000, bob=1_000, eve=1_000)
    server.settings(rateLimits={"default": 10_000, "marketplace_list": 10_000}, marketplaceTaxBps=500)
    assert server.do("items", itemId="sword", name="Sword", prices=[{"currencyId": "gold", "amount": 1}]).data
    assert server.do("purchase", externalId="ann", itemId="sword", quantity=rounds).data
    at = pair.both(server)
    won: Counter[str] = Counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for number in range(rounds):
            over = datetime.now(UTC) + timedelta(milliseconds=150 if number % 3 == 0 else 60_000)
            offer: dict[str, Any] = {
                "externalId": "ann",
                "itemId": "sword",
                "quantity": 1,
                "currencyId": "gold",
                "price": price,
            }
            listed = at[number % 2].do("marketplace/list", **offer, expiresAt=over.isoformat().replace("+00:00", "Z"))
            listing = listed.data["listingId"]
            if number % 3 == 0:
                time.sleep(0.14)
            wanted = [("buy", "bob"), ("buy", "eve"), ("cancel", "ann"), ("buy", "bob")]
            asked = [
                pool.submit(_take, at[(number + turn) % 2], how, who, listing) for turn, (how, who) in enumerate(wanted)
            ]
            replies = [(how, one.result()) for (how, _), one in zip(wanted, asked, strict=True)]
            successes = [how for how, reply in replies if reply.status == 200]
            assert len(successes) <= 1, replies
            lost = {reply.code for _, reply in replies if reply.status != 200}
            assert lost <= {"LISTING_CLOSED", "LISTING_EXPIRED"}, lost
            won[successes[0] if successes else "expire"] += 1
    deadline = time.monotonic() + 30
    while any(held for _, held in server.items("ann").values()):
        assert time.monotonic() < deadline, "an expired listing never went back"
        time.sleep(0.05)
    types = Counter(one["type"] for one in server.get("/transactions?limit=200")["transactions"])
    assert {how: types[how] for how in ("buy", "cancel", "expire")} == {
        how: won[how] for how in ("buy", "cancel", "expire")
    }
    swords = {name: server.items(name).get("sword", (0, 0))[0] for name in PLAYERS}
    assert (sum(swords.values()), swords["bob"] + swords["eve"]) == (rounds, won["buy"])
    gold = {name: server.balance(name) for name in PLAYERS}
    assert gold["bob"] + gold["eve"] == 2_000 - won["buy"] * price
    assert gold["ann"] == 1_000 - rounds + won["buy"] * (price - 1)  # 5 % of 10, rounded up
    assert server.get("/marketplace")["listings"] == []
    pair.check_books(game_id)


def _take(server: GameServer, how: str, who: str, listing: str) -> Reply:
    return server.do(f"marketplace/{how}", externalId=who, listingId=listing)
