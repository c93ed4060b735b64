"""The whole indexer behind a real uvicorn socket, over a fake chain, on a thread of its own."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from indexer.app import IndexerService
from indexer.boards import BoardConfig
from indexer.follower import Plan
from indexer.store.access import Store
from relay.api.asgi import Api
from relay.api.operations import Authenticate
from relay.server import Server, listen
from relay.store.engine import open_database
from relay.store.writer import Writer
from tests.harness.ports import free_port
from tests.indexer.fake_chain import FakeChain
from tests.indexer.watching import GAME, NoEvidence

T = TypeVar("T")
BOARD = f"/api/leaderboards/{GAME}/default"


class Serving:
    """Starts when made; `stop` ends it as SIGTERM would."""

    def __init__(
        self,
        database_url: str,
        chain: FakeChain,
        port: int | None = None,
        *,
        authenticate: Authenticate | None = None,
        boards: tuple[BoardConfig, ...] = (BoardConfig(),),
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.chain = chain
        self._authenticate, self._boards = authenticate, boards
        self.database = open_database(database_url)
        self.evidence = NoEvidence()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(60)
        deadline = time.monotonic() + 60
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        writer = Writer(self.database)
        plan = Plan(games=(GAME,), boards={GAME: self._boards}, confirmations=2, poll_s=0.02)
        store = Store(self.database, writer)
        self.service = IndexerService(store, self.chain, self.evidence, plan, writer)  # type: ignore[arg-type]
        await self.service.start()
        self._server = Server(Api(self.service.operations, self._authenticate), self.service.close_streams)
        self._ready.set()
        with listen("127.0.0.1", self.port) as listener:
            await self._server.serve(sockets=[listener])
        await self.service.stop()
        for left in list(self._server.server_state.connections):  # a process that ends lets go of them by itself
            left.transport.abort()
        await asyncio.sleep(0)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's loop."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(60)

    def settle(self, timeout_s: float = 60) -> None:
        """Wait until the chain's newest block is committed and shown."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = self.service.follower.state
            if state is not None and state.tip == self.chain.blocks[-1].header.mark:
                return
            time.sleep(0.005)
        raise AssertionError(f"does not settle: {self.service.ready()}")

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Status, headers and body (JSON parsed) of a GET."""
        return self.ask("GET", path, headers)

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, Any, Any]:
        """Status, headers and body (JSON parsed) of an answer."""
        asked = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, answer.headers, _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, _read(error)

    def stop(self) -> None:
        """End it: one that waits for its clients would never end."""
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.database.close()


def _read(answer: Any) -> Any:
    body = answer.read()
    return json.loads(body) if "json" in answer.headers.get("content-type", "") else body
