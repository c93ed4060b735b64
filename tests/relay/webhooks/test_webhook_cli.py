"""`fairscore webhooks …` as an operator types it, and the whole system telling a real score's story."""

import asyncio
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from relay.errors import StartupError
from relay.store.engine import Database
from relay.store.webhooks import register, standings
from relay.webhooks.operate import replay
from tests.harness.histories import AT_MS, opened, tell, tell_many
from tests.harness.process import FAIRSCORE, Fairscore
from tests.harness.receiver import Receiver, new_secret, receiving, secret_file

STORY = ("accepted", "queued", "sent", "included", "final")
PLAYER = "0x52908400098527886E0F7030069857D2E4169EE7"
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}


def configured(folder: Path, url: str, *secrets: str, **more: object) -> dict[str, str]:
    """Write a TOML file with one hook named `board`; returns the environment that names it."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    secret = secret_file(folder, *(secrets or (new_secret(),)))
    text = f'[webhooks.board]\nurl = "{url}"\nsecret_file = "{secret}"\n' + "\n".join(lines)
    (folder / "fairscore.toml").write_text(text)
    return {"FAIRSCORE_CONFIG": str(folder / "fairscore.toml"), "FAIRSCORE_HOME": str(folder / "home")}


async def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run `fairscore webhooks …`; returns its exit code and all it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSCORE_")}
    process = await asyncio.create_subprocess_exec(
        str(FAIRSCORE),
        "webhooks",
        *arguments,
        env=inherited | {"NO_COLOR": "1", "COLUMNS": "200"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, printed.decode()


def home_database(folder: Path) -> Database:
    """The database in the home folder."""
    (folder / "home").mkdir(mode=0o700, exist_ok=True)
    return opened(f"sqlite:///{folder / 'home' / 'fairscore.db'}")


def test_test_sends_one_signed_event_and_says_what_was_answered(tmp_path: Path) -> None:
    status = [204]

    async def scenario() -> None:
        async with receiving(lambda _: web.Response(status=status[0])) as receiver:
            secret = new_secret()
            environment = configured(tmp_path, receiver.url, secret)
            code, printed = await run(environment, "test", "board")
            assert (code, "answered 204" in printed) == (0, True)
            (message,) = receiver.messages
            assert Webhook(secret).verify(message.body, message.headers)["type"] == "webhook.test"
            status[0] = 500
            code, printed = await run(environment, "test", "board")
            assert (code, "answered 500" in printed) == (1, True)
            assert "t0ken" not in printed
            assert secret not in printed
            code, printed = await run(environment, "test", "unknown")
            assert (code, "known: board" in printed) == (2, True)

    asyncio.run(scenario())


def test_list_and_replay(tmp_path: Path) -> None:
    """Before, during and after; the address is shown without its path, and a replay while it runs takes effect."""

    async def scenario() -> None:
        database = home_database(tmp_path)
        async with receiving() as receiver:
            environment = configured(tmp_path, receiver.url)
            code, printed = await run(environment, "list")
            assert (code, "never delivered" in printed, "t0ken" in printed) == (0, True, False)
            code, printed = await run(environment, "replay", "board", "--sequence", "1")
            assert (code, "was ever delivered" in printed) == (2, True)
            delivering = asyncio.create_task(run_until_stopped(environment))
            await receiver.wait(lambda: bool(database.read_now(standings)))
            told = tell_many(database, 4, STORY)
            later = tell(database, "sub_later", "accepted", at_ms=1_795_000_000_000)  # 2026-11-18
            await receiver.wait(lambda: len(receiver.taken) == 21)
            await check_replays(environment, receiver, told + later)
            code, printed = await run(environment, "list")
            assert "delivered by" in printed
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            code, printed = await run(environment, "list")
            assert (code, "nobody delivers" in printed, "t0ken" in printed) == (0, True, False)
        database.close()

    asyncio.run(scenario())


async def check_replays(environment: dict[str, str], receiver: Receiver, told: list[int]) -> None:
    """From a sequence, since a time, and what is refused."""
    receiver.taken.clear()
    code, printed = await run(environment, "replay", "board", "--sequence", str(told[15]))
    assert (code, f"from sequence {told[15]} on" in printed) == (0, True)
    await receiver.wait(lambda: sorted(receiver.sequences()) == told[15:])
    receiver.taken.clear()
    code, printed = await run(environment, "replay", "board", "--since", "2026-11-01")
    assert (code, f"from sequence {told[-1]} on" in printed) == (0, True)
    await receiver.wait(lambda: receiver.sequences() == told[-1:])
    code, printed = await run(environment, "replay", "board")
    assert (code, "one of --sequence, --since and --dead" in printed) == (2, True)


async def run_until_stopped(environment: dict[str, str]) -> None:
    """`fairscore webhooks deliver`, ended with SIGTERM when the task is cancelled."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSCORE_")}
    process = await asyncio.create_subprocess_exec(
        str(FAIRSCORE), "webhooks", "deliver", env=inherited | environment, stderr=subprocess.DEVNULL
    )
    try:
        await process.wait()
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0


def test_what_cannot_be_replayed(database_url: str) -> None:
    """Forward (that would skip events), what never was, or two things at once; nothing is changed by a refusal."""
    with closing(opened(database_url)) as database:
        tell(database, "sub_a", *STORY)
        with database.write() as c:
            register(c, "board", bytes(32))
        with pytest.raises(StartupError, match="only goes back"):
            replay(database, "board", sequence=99, since_ms=None, dead=False)
        assert [each.position for each in database.read_now(standings)] == [5]
        with pytest.raises(StartupError, match="one of --sequence"):
            replay(database, "board", sequence=1, since_ms=None, dead=True)
        with pytest.raises(StartupError, match="ever delivered"):
            replay(database, "other", sequence=1, since_ms=None, dead=False)
        assert "nothing happened" in replay(database, "board", sequence=None, since_ms=AT_MS + 1, dead=False)
        assert "0 events" in replay(database, "board", sequence=None, since_ms=None, dead=True)
        assert "from sequence 1 on" in replay(database, "board", sequence=None, since_ms=AT_MS, dead=False)
        assert [each.position for each in database.read_now(standings)] == [0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "hook.secret").chmod(0o640), "chmod 600"),
        (lambda folder: (folder / "hook.secret").unlink(), "cannot be read"),
        (lambda folder: (folder / "hook.secret").write_text("password123"), "24 to 64 random bytes"),
        (lambda folder: (folder / "fairscore.toml").write_text('[webhooks.board]\nurl = "x"\n'), "[webhooks.board]"),
    ],
)
def test_a_relay_with_a_hook_that_cannot_work_does_not_start(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    """Said before anything is deployed, in a sentence, with exit code 2."""
    environment = configured(tmp_path, "https://board.example/t0ken")
    damage(tmp_path)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSCORE_")}
    ran = subprocess.run(
        [str(FAIRSCORE), "run", "--port", "0"],
        env=inherited | {"NO_COLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    assert words in ran.stderr
    assert "password123" not in ran.stderr
    assert not (tmp_path / "home" / "devnet-keys.json").exists()


def metrics(system: Fairscore) -> dict[str, float]:
    """The hook's metrics."""
    with urllib.request.urlopen(f"{system.url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if "webhook" in line]
    return {name: float(value) for name, _, value in lines if not name.startswith("#")}


def test_the_whole_system_tells_a_scores_story(tmp_path: Path) -> None:
    """`fairscore run`: accepted … final with the transaction; a dead receiver never makes it unready; SIGKILL leaves
    no orphan and loses no event."""

    async def scenario() -> None:
        bad = [False]
        async with receiving(lambda _: web.Response(status=503 if bad[0] else 200)) as receiver:
            environment = configured(tmp_path, receiver.url)
            system = Fairscore(tmp_path / "home", settings=environment)
            try:
                await asyncio.to_thread(system.start)
                ids = [await submit(system)]
                await receiver.wait(lambda: "final" in story(receiver, ids[0]), 60)
                events = [m.data for m in receiver.taken if m.data["submissionId"] == ids[0]]
                assert [event["status"] for event in events] == list(STORY)
                shown = await asyncio.to_thread(system.get, f"/api/submissions/{ids[0]}")
                for event in events[3:]:
                    assert (event["txHash"], event["blockNumber"]) == (shown["txHash"], shown["blockNumber"])
                assert (events[0]["txHash"], events[0]["player"], events[0]["score"]) == (None, PLAYER, 2652)
                assert events[0]["roundId"] == shown["roundId"] == 1
                bad[0] = True
                ids.append(await submit(system))
                await receiver.wait(lambda: any(m.data["submissionId"] == ids[1] for m in receiver.messages))
                # Both come from the delivering process, which tells them now and then.
                await until(lambda: "to be tried again" in system.get("/health/ready")["checks"]["webhooks"]["detail"])
                await until(lambda: metrics(system)['fairscore_webhook_delivered_total{hook="board"}'] >= 1)
                await asyncio.to_thread(system.kill)
                bad[0] = False
                await asyncio.sleep(2)
                before = len(receiver.messages)
                await asyncio.sleep(2)
                assert len(receiver.messages) == before  # no orphan
                await asyncio.to_thread(system.start)
                await receiver.wait(lambda: "final" in story(receiver, ids[1]), 120)
                assert story(receiver, ids[1]) == list(STORY)
            finally:
                await asyncio.to_thread(system.cleanup)

    asyncio.run(scenario())


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; it may block."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.1)


def story(receiver: Receiver, submission_id: str) -> list[str]:
    """Statuses of a submission in the order in which they first came."""
    found = [m.data["status"] for m in receiver.taken if m.data["submissionId"] == submission_id]
    return list(dict.fromkeys(found))


async def submit(system: Fairscore) -> str:
    """Submit a score of now; returns its id."""
    body: dict[str, Any] = {"playerAddress": PLAYER, "scoreData": PLAY, "idempotencyKey": f"k{time.time_ns()}"}
    request = urllib.request.Request(
        f"{system.url}/api/submit-score", json.dumps(body).encode(), {"content-type": "application/json"}
    )

    def post() -> str:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["submissionId"])

    return await asyncio.to_thread(post)
