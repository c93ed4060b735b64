"""A fairscore command as a real process: start, wait until ready, kill, restart, read its log and its CPU time.

Touches processes, files under its home and loopback HTTP.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.harness.ports import free_port

FAIRSCORE = Path(sys.executable).with_name("fairscore")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ProcessError(AssertionError):
    """The process under test did not do what was asked in time; the message ends with its log."""


def descendants(pid: int) -> list[int]:
    """A process and everything below it that is alive."""
    found = [pid]
    for known in found:
        for task in Path(f"/proc/{known}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:  # the process ended while we looked
                continue
    return found


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """User and system time of a process so far, of its dead children too; with_children adds those alive."""
    total = 0
    for each in descendants(pid) if with_children else [pid]:
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS_PER_SECOND


class Fairscore:
    """One ``fairscore <command>`` with its own environment, home folder, port and log file."""

    def __init__(
        self, home: Path, *command: str, settings: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        self.home = home
        self.command = command or ("run",)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.parent / f"{home.name}-{'-'.join(self.command)}-{self.port}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSCORE_")}
        self.environment = inherited | {
            "FAIRSCORE_HOME": str(home),
            "FAIRSCORE_HOST": "127.0.0.1",
            "FAIRSCORE_PORT": str(self.port),
            "NO_COLOR": "1",
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cleanup()

    def launch(self) -> None:
        """Start the process without waiting for it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [FAIRSCORE, *self.command],
                env=self.environment,
                cwd=self.home.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self, timeout_s: float = 60) -> None:
        """Start the process and return when /health/ready answers 200."""
        self.launch()
        self.wait_ready(timeout_s)

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Poll /health/ready until it is 200; a process that ends meanwhile is reported with its log."""
        deadline = time.monotonic() + timeout_s
        last = "never answered"
        while time.monotonic() < deadline:
            if self.running.poll() is not None:
                raise ProcessError(f"{self} ended with {self.running.returncode}\n{self.tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=60):
                    return
            except urllib.error.HTTPError as error:
                last = f"{error.code}: {error.read().decode(errors='replace')[:600]}"
            except OSError as error:
                last = str(error)
            time.sleep(0.02)
        raise ProcessError(f"{self} is not ready after {timeout_s} s ({last})\n{self.tail()}")

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process that was started last."""
        if self.process is None:
            raise ProcessError(f"{self} was never started")
        return self.process

    def kill(self, *, with_children: bool = False) -> None:
        """SIGKILL to the process alone (what it leaves behind is its own affair), or to all of its session at once."""
        if with_children:
            os.killpg(self.running.pid, signal.SIGKILL)
        else:
            self.running.kill()
        self.running.wait(60)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 60) -> None:
        """Signal the process and wait: one that waits for its clients would never end."""
        self.running.send_signal(number)
        try:
            self.running.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ProcessError(f"{self} ignored {number.name} for {timeout_s} s\n{self.tail()}") from error

    def cleanup(self) -> None:
        """End the process and whatever is still in its session, by any means."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def tail(self, lines: int = 60) -> str:
        """The end of the log."""
        written = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(["--- log", *written[-lines:]])

    def output(self) -> str:
        """Everything the process printed, since the first start."""
        return self.log.read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """CPU time of this process so far, its children left out."""
        return cpu_seconds(self.running.pid)

    def get(self, path: str, timeout_s: float = 60) -> Any:
        """The JSON of a successful GET."""
        with urllib.request.urlopen(self.url + path, timeout=timeout_s) as answer:
            return json.load(answer)

    def __str__(self) -> str:
        return f"fairscore {' '.join(self.command)} on port {self.port}"
