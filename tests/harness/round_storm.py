"""One relay process amid a storm: reports, confirmations and deadlines of the same rounds, as fast as they go.

Run as `python -m tests.harness.round_storm URL SEED SECRET ROUND,…`; prints what was answered, as JSON.
"""

import asyncio
import json
import random
import sys
from typing import Any

from relay.games import GameConfig
from relay.round_desk import RoundDesk
from tests.relay.conftest import DOMAIN, PLAY, running

GAME = GameConfig("streambeat", anonymous_submit=True, switches={"TIMING_IMPLAUSIBLE": "dry_run"})
WORDS = (
    {"isValid": True, "score": 2652},
    {"isValid": True, "score": 2652},
    {"isValid": True, "score": 1},
    {"isValid": False},
)


async def storm(url: str, seed: int, secret: str, rounds: list[str]) -> list[tuple[str, str, int, str]]:
    """Send everything at once; returns (round, what, HTTP status, the round's status or the code)."""
    chance = random.Random(seed)
    told: list[tuple[str, str, int, str]] = []
    async with running(url, GAME) as relay:
        desk = RoundDesk(relay.database, relay.writer, relay.intake.games, DOMAIN)

        async def send(round_id: str, what: str, method: str, path: str, body: Any, **headers: str) -> None:
            await asyncio.sleep(chance.random() * (1.5 if what == "word" else 0.5))
            sent = {"prefer": "respond-async"} | {name.replace("_", "-"): value for name, value in headers.items()}
            reply = await relay.request(method, f"/rounds/{round_id}/{path}", json.dumps(body).encode(), sent)
            told.append((round_id, what, reply.status, reply.json.get("code") or reply.json["status"]))

        async def deadlines() -> None:
            for _ in range(30):
                await asyncio.sleep(0.05)
                await desk.expire()

        calls = [send(one, "report", "POST", "end", PLAY) for one in rounds]
        calls += [
            send(one, "word", "PUT", "game-server-confirmation", chance.choice(WORDS), escs_game_secret_key=secret)
            for one in rounds
        ]
        chance.shuffle(calls)
        await asyncio.gather(deadlines(), *calls)
        await desk.expire()
    return told


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(asyncio.run(storm(given[0], int(given[1]), given[2], given[3].split(",")))))
