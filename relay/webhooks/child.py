"""The delivering process as the relay sees it: started, watched, started again, and asked for its numbers.

Touches one child process. The database's address goes to it through a pipe, where `ps` does not show it.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from relay.store import webhooks as store
from relay.store.intake_rows import Connection
from relay.webhooks.deliverer import RunsJobs
from relay.webhooks.hooks import hooks_of
from relay.webhooks.signing import SecretFile

AGAIN_S, AGAIN_MAX_S = 1.0, 30.0
STEADY_S = 60.0  # a process that lived this long did not end because of how it was started
STOP_S = 2.0

log = logging.getLogger(__name__)


class WebhookProcess:
    """Runs the deliveries of a relay in a process beside it."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], database_url: str, log_level: str) -> None:
        """Take the hooks as the settings declare them.

        Raises:
            StartupError: a hook or its secret file cannot be used.
        """
        self.hooks = hooks_of(tables)
        for hook in self.hooks:
            SecretFile(hook.secret_file)
        given = {"database_url": database_url, "webhooks": tables, "log_level": log_level}
        self._given = json.dumps(given, default=str).encode() + b"\n"
        self._numbers: dict[str, dict[str, float]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process's number, None while there is none."""
        return None if self._process is None else self._process.pid

    async def start(self, writer: RunsJobs) -> None:
        """Start the process, and again whenever it ends. What happens from now on is told."""

        def register(c: Connection) -> None:
            for hook in self.hooks:
                store.register(c, hook.name, hook.target)

        await writer.run(register)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Let the process write down where it is; it is killed if that takes more than two seconds."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        if (process := self._process) is not None:
            await _end(process)

    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """Return the numbers of each hook, as the process last told them."""
        return self._numbers

    def detail(self) -> str:
        """Say in a line how the deliveries are doing."""
        if self.pid is None:
            return "the delivering process is not running; it is started again"
        waiting, dead = (sum(int(each.get(name, 0)) for each in self._numbers.values()) for name in ("waiting", "dead"))
        return f"{len(self.hooks)} configured, {waiting} events to be tried again, {dead} given up"

    async def _watch(self) -> None:
        wait_s, clock = AGAIN_S, asyncio.get_running_loop().time
        while True:
            began_s = clock()
            code = await self._run_once()
            wait_s = AGAIN_S if clock() - began_s >= STEADY_S else wait_s
            log.error("the process that delivers webhooks ended with %s; again in %.0f s", code, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, AGAIN_MAX_S)

    async def _run_once(self) -> int:
        pipe = asyncio.subprocess.PIPE
        command: Sequence[str] = (sys.executable, "-m", "relay.webhooks.process")
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process has no pipes")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(self._given)
            await process.stdin.drain()
        async for line in process.stdout:
            self._numbers = json.loads(line)
        code = await process.wait()
        self._process = None
        return code


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
