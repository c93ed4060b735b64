"""SIGKILL amid the economy's operations: whatever was answered is booked once, and a retry finds what was not."""

import json
import random
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay.store.engine import open_database
from tests.harness.game_server import GameServer, Reply, register, relays
from tests.harness.ledgers import check_ledger
from tests.harness.process import Fairscore

PATIENCE_S = 60.0


@pytest.fixture
def relay(database_url: str, tmp_path: Path) -> Iterator[Fairscore]:
    """A relay on a real chain, with a database of each kind."""
    with relays(tmp_path, database_url, 1) as (one,):
        yield one


def booked(url: str, game_id: str) -> list[tuple[Any, ...]]:
    """Type and id of every transaction of a game, read beside the running relay; fresh each time."""
    query = "SELECT type, id FROM ledger_transactions WHERE game_id = {} ORDER BY sequence"
    if url.startswith("sqlite"):
        reader = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)
        try:
            return list(reader.execute(query.format("?"), (game_id,)))
        finally:
            reader.close()
    with psycopg.connect(url) as connection:
        return list(connection.execute(query.format("%s").encode(), (game_id,)))


def check_books(url: str, game_id: str) -> None:
    """All that must hold of a ledger."""
    database = open_database(url)
    try:
        database.read_now(lambda c: check_ledger(c, game_id))
    finally:
        database.close()


def ask_and_hang_up(relay: Fairscore, server: GameServer, key: str, body: dict[str, Any]) -> socket.socket:
    """Send a grant and read nothing of the answer."""
    raw = json.dumps(body).encode()
    head = (
        f"POST /api/economy/grant HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.secret}\r\n"
        f"Content-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", relay.port), 10)
    connection.sendall(head.encode() + raw)
    return connection


def test_a_kill_between_effect_and_answer_then_a_retry_is_one_effect(relay: Fairscore, database_url: str) -> None:
    """The process dies as soon as the effect is in the database, and nobody saw an answer; twice."""
    game_id, server = register(relay.url)
    for turn in (1, 2):
        body = {"externalId": "ann", "currencyId": "gold", "amount": 7, "reference": f"quest {turn}"}
        connection = ask_and_hang_up(relay, server, f"key-{turn}", body)
        deadline = time.monotonic() + PATIENCE_S
        while len(booked(database_url, game_id)) < turn:
            assert time.monotonic() < deadline, relay.tail()
        relay.kill()
        connection.close()
        (*_, (kind, effect)) = booked(database_url, game_id)
        relay.start()
        again = server.do("grant", f"key-{turn}", **body)
        assert (kind, again.headers.get("idempotent-replayed")) == ("grant", "true")
        assert again.data["transactionId"] == effect
        other = server.do("grant", f"another-{turn}", **body)  # the reference holds whatever became of the key
        assert (other.status, other.code) == (409, "REFERENCE_EXISTS")
        assert effect in other.json["detail"]
        assert server.balance("ann") == 7 * turn
    check_books(database_url, game_id)


@pytest.mark.slow
def test_kills_at_any_moment_lose_and_double_nothing(relay: Fairscore, database_url: str) -> None:
    """Players who do not give up: transfers to and fro, killed twice in between; each counts once."""
    count, workers, moments = 240, 16, random.Random(6)
    game_id, server = register(relay.url, ann=10_000, bob=10_000)
    server.settings(rateLimits={"default": 10_000})

    def transfer(number: int) -> str:
        source, target = ("ann", "bob") if number % 3 else ("bob", "ann")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            reply = _try(server, f"t{number}", fromExternalId=source, toExternalId=target)
            if reply is not None and reply.status != 503:
                return str(reply.data["transactionId"])
            assert time.monotonic() < deadline, relay.tail()
            time.sleep(0.02)

    with ThreadPoolExecutor(workers) as pool:
        asked = [pool.submit(transfer, number) for number in range(count)]
        for share in (0.2, 0.6):
            while sum(one.done() for one in asked) < share * count:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.05))
            relay.kill()
            relay.start()
        made = [one.result() for one in asked]
    assert len(set(made)) == count
    moved = [one for kind, one in booked(database_url, game_id) if kind == "transfer"]
    assert sorted(moved) == sorted(made)
    there = sum(1 for number in range(count) if number % 3)
    assert (server.balance("ann"), server.balance("bob")) == (10_000 - there + 80, 10_000 + there - 80)
    check_books(database_url, game_id)


def _try(server: GameServer, key: str, **body: Any) -> Reply | None:
    try:
        return server.do("transfer", key, currencyId="gold", amount=1, **body)
    except (OSError, HTTPException, ValueError):  # cut off, perhaps amid the answer
        return None
