"""Real headless Chromium, a static server for the page's modules, and the real `fairscore run`."""

import functools
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PAGE_FOLDER = ROOT / "indexer" / "page"
# No sandbox (CI runs as root in a container) and no background traffic of the browser's own.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY_S_MAX = 60
# Two cores run the chain, the relay and the browser at once.
expect.set_options(timeout=15_000)
STOP_S_MAX = 10


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium or `FAIRSCORE_TEST_CHROMIUM`; absent it skips, except in CI, which must never skip."""
    executable = os.environ.get("FAIRSCORE_TEST_CHROMIUM") or shutil.which("chromium")
    if executable is None:
        reason = "Chromium is not installed (apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, headless=True, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of this test's own: no storage is shared."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def complaints(context: BrowserContext) -> list[str]:
    """What the pages of this test wrote to the console as errors, and what they threw; CSP violations too."""
    heard: list[str] = []
    context.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda failure: heard.append(str(failure.error)))
    return heard


class _ModuleFiles(http.server.SimpleHTTPRequestHandler):
    """The page's folder, with an empty document at /blank to import modules from; quiet."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path != "/blank":
            super().do_GET()
            return
        body = b"<!doctype html><title>blank</title><link rel=icon href=/icon.svg>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing: pytest's output is for tests."""


@pytest.fixture(scope="session")
def module_files() -> Iterator[str]:
    """URL of a plain file server over indexer/page, for tests of the modules' pure functions."""
    handler = functools.partial(_ModuleFiles, directory=str(PAGE_FOLDER))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def blank(context: BrowserContext, module_files: str) -> Page:
    """An empty page of the same origin as the modules."""
    page = context.new_page()
    page.goto(f"{module_files}/blank")
    return page


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RunningFairscore:
    """`fairscore run` on a port and a home of its own; may be killed and started again on the same state."""

    port: int
    home: Path
    log: IO[bytes]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until /health/ready is 200."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("FAIRSCORE_")}
        environment |= {
            "FAIRSCORE_HOST": "127.0.0.1",
            "FAIRSCORE_PORT": str(self.port),
            "FAIRSCORE_HOME": str(self.home),
        }
        command = [str(Path(sys.executable).with_name("fairscore")), "run"]
        self.process = subprocess.Popen(
            command, env=environment, cwd=self.home.parent, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        give_up_at = time.monotonic() + READY_S_MAX
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                said = Path(self.log.name).read_text(errors="replace")[-4000:]
                self.stop(signal.SIGKILL)
                pytest.fail(f"`fairscore run` is not ready:\n{said}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as answer:
                status: int = answer.status
                return status == 200
        except OSError:  # refused while it starts; HTTPError 503 is an OSError too
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the process; SIGKILL when it does not obey."""
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@pytest.fixture
def start_fairscore(tmp_path: Path) -> Iterator[Callable[[], RunningFairscore]]:
    """Start a `fairscore run` with an empty home; for tests that stop it or need an empty board."""
    started: list[RunningFairscore] = []
    with (tmp_path / "fairscore.log").open("wb") as log:

        def start() -> RunningFairscore:
            server = RunningFairscore(_free_port(), tmp_path / "home", log)
            started.append(server)
            server.start()
            return server

        yield start
        for server in started:
            server.stop()


@pytest.fixture(scope="session")
def fairscore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one `fairscore run` shared by the tests that neither stop it nor mind others' scores."""
    folder = tmp_path_factory.mktemp("fairscore")
    with (folder / "fairscore.log").open("wb") as log:
        server = RunningFairscore(_free_port(), folder / "home", log)
        server.start()
        yield server.url
        server.stop()
