"""A receiver of webhooks that behaves as told, and remembers everything it was sent."""

import asyncio
import base64
import json
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

Respond = Callable[["Message"], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass(frozen=True)
class Message:
    """One request as it came in."""

    headers: dict[str, str]
    body: bytes
    request: web.Request = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """The message's id."""
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        """The event's type."""
        return str(json.loads(self.body)["type"])

    @property
    def data(self) -> dict[str, Any]:
        """What it tells."""
        found: dict[str, Any] = json.loads(self.body)["data"]
        return found


@dataclass
class Receiver:
    """A server on the loopback interface; `respond` decides what each message is answered."""

    url: str = ""
    respond: Respond = lambda _: web.Response(status=200)
    messages: list[Message] = field(default_factory=list)  # every attempt
    taken: list[Message] = field(default_factory=list)  # those answered with 2xx
    under_way: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by submission
    overlaps: int = 0  # two events of one submission at the same time

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take one message."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        message = Message(headers, await request.read(), request)
        self.messages.append(message)
        submission = message.data.get("submissionId", "")
        self.overlaps += self.under_way[submission] > 0
        self.under_way[submission] += 1
        try:
            answer = self.respond(message)
            response = answer if isinstance(answer, web.StreamResponse) else await answer
        finally:
            self.under_way[submission] -= 1
        if 200 <= response.status < 300:
            self.taken.append(message)
        return response

    def sequences(self) -> list[int]:
        """Sequences taken, in the order of their first coming."""
        return list(dict.fromkeys(message.data["sequence"] for message in self.taken))

    def stories(self) -> dict[str, list[int]]:
        """Sequences taken per submission, in the order of their first coming."""
        found: dict[str, list[int]] = defaultdict(list)
        for message in self.taken:
            story, seq = found[message.data["submissionId"]], message.data["sequence"]
            if seq not in story:
                story.append(seq)
        return dict(found)

    async def wait(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what is waited for may be anything
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving(respond: Respond | None = None) -> AsyncIterator[Receiver]:
    """A receiver that is listening."""
    receiver = Receiver()
    if respond is not None:
        receiver.respond = respond
    app = web.Application()
    app.router.add_post("/hook/{token}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook/t0ken"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def new_secret() -> str:
    """A webhook secret as an operator makes one."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_file(folder: Path, *secrets_: str, name: str = "hook.secret") -> Path:
    """A file of secrets that only its owner can read."""
    path = folder / name
    path.touch(0o600)
    path.write_text("\n".join(secrets_) + "\n")
    return path
