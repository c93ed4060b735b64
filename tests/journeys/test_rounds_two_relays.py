"""Two relays on one PostgreSQL and a real chain: what stands on the chain is what the rounds came to."""

import json
import random
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from eth_utils.crypto import keccak

from relay.store.engine import open_database
from relay.store.keys import KeyStore
from tests.harness.nodes import DEVELOPMENT_KEYS, anvil, operator
from tests.harness.process import Fairscore
from tests.harness.rpc import rpc, scores_on_chain

ROUNDS = 60
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30_000}
WORDS = ({"isValid": True, "score": 2652}, {"isValid": True, "score": 1}, {"isValid": False})
GAME = {"streambeat": {"anonymous_submit": True, "switches": {"TIMING_IMPLAUSIBLE": "dry_run"}}}
# A score revoked before any transaction carried it is never sent; its order waits as long as its receipt could be.
OPEN = """
SELECT (SELECT count(*) FROM submissions WHERE status IN ('accepted', 'queued', 'sent', 'included', 'held'))
     + (SELECT count(*) FROM submissions WHERE status_beneath IN ('queued', 'sent', 'included'))
     + (SELECT count(*) FROM revocations v JOIN submissions s ON s.id = v.submission_id
        WHERE v.state <> 'final' AND s.status_beneath <> 'accepted')
"""
STATE = "SELECT r.state, r.reason, r.needs_confirmation, s.status, s.round_id, s.status_beneath, v.state \
FROM rounds r LEFT JOIN submissions s ON s.id = r.submission_id LEFT JOIN revocations v ON v.submission_id = s.id"


def call(url: str, method: str, body: Any, **headers: str) -> tuple[int, Any]:
    """One request."""
    named = {"Content-Type": "application/json", "Prefer": "respond-async"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(url, json.dumps(body).encode(), named, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def storm(relays: list[Fairscore], secret: str, chance: random.Random) -> list[tuple[int, Any]]:
    """Every round is reported and judged by its server through both relays, all at once."""
    server = {"escs_game_secret_key": secret}
    terms = {"id": "cup", "name": "Cup", "requireConfirmation": True, "confirmationTimeout": 20}
    assert call(f"{relays[0].url}/tournaments", "POST", terms, Authorization=f"Bearer {secret}")[0] == 201
    rounds: list[str] = []
    for number in range(ROUNDS):
        base = "/tournaments/cup/rounds" if number % 2 else "/rounds"
        told = call(relays[number % 2].url + base, "POST", {"playerId": f"p{number}"})[1]
        rounds.append(f"{base}/{told['_id']}")
    calls: list[tuple[str, str, Any, dict[str, str]]] = []
    for path in rounds:
        for relay in relays:
            calls.append((f"{relay.url}{path}/end", "POST", PLAY, {}))
            word = chance.choice(WORDS)
            calls.append((f"{relay.url}{path}/game-server-confirmation", "PUT", word, server))
    chance.shuffle(calls)
    calls = [one for one in calls if one[1] == "POST" or chance.random() < 0.8]  # some are never confirmed
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda one: call(one[0], one[1], one[2], **one[3]), calls))


@pytest.mark.slow
def test_the_chain_says_what_the_rounds_came_to(tmp_path: Path, postgres_url: str) -> None:
    """What was invalidated before it was accepted is not there; what was after is invalidated there, too."""
    with anvil("--block-time", "1") as node:
        auditor = tmp_path / "auditor.key"
        auditor.write_text(DEVELOPMENT_KEYS[3])
        auditor.chmod(0o600)
        settings = operator(tmp_path / "keys", node.url, postgres_url)
        settings |= {"FAIRSCORE_GAMES": json.dumps(GAME), "FAIRSCORE_AUDITOR_KEY_FILE": str(auditor)}
        relays = [Fairscore(tmp_path / "home", "relay", settings=settings) for _ in range(2)]
        try:
            for relay in relays:
                relay.start()
            database = open_database(postgres_url)
            secret = KeyStore(database).create("server", game_id="streambeat", name="server").secret
            database.close()
            answers = storm(relays, secret, random.Random(7))
            assert not [one for one in answers if one[0] >= 500]
            check_chain(node.url, postgres_url, relays[0])
        finally:
            for relay in relays:
                relay.cleanup()


def check_chain(node: str, postgres: str, relay: Fairscore) -> None:
    """Wait until nothing is under way, then compare rounds with logs and with the contract's own word."""
    with psycopg.connect(postgres, autocommit=True) as database:
        deadline = time.monotonic() + 90
        while (waiting := database.execute(OPEN).fetchone()) != (0,):
            assert time.monotonic() < deadline, (waiting, database.execute(STATE).fetchall(), relay.tail())
            time.sleep(0.2)
        rows = database.execute(STATE).fetchall()
    contract = next(iter(json.loads((relay.home / "contracts.json").read_text()).values()))["contract"]
    recorded = {score.round_id for score in scores_on_chain(node, contract)}
    game = keccak(text="streambeat").hex()
    assert len(rows) == ROUNDS
    revoked = 0
    for state, reason, needs, status, serial, beneath, order in rows:
        selector = keccak(text="isInvalidated(bytes32,uint64)")[:4].hex()
        asked = {"to": contract, "data": f"0x{selector}{game}{serial or 0:064x}"}
        invalidated = serial is not None and int(rpc(node, "eth_call", asked, "latest"), 16) == 1
        if state == "accepted":
            assert (status, serial in recorded, invalidated) == ("final", True, False), (reason, order)
        elif serial is None:
            assert status in {None, "rejected"}, (state, reason)
        else:  # it was accepted at first: on the chain and invalidated there, or never brought there
            assert (state, needs, status) == ("invalidated", False, "revoked")
            assert invalidated == (serial in recorded), (beneath, order)
            revoked += 1
    assert revoked
    assert recorded <= {row[4] for row in rows}
