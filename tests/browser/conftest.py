"""Real headless Chromium, a static server for the page's modules, and the real `fairscore run`."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.harness.process import Fairscore

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
# Two cores run the chain, the relay and the browser at once.
expect.set_options(timeout=60_000)


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
    context.set_default_timeout(60_000)
    yield context
    for page in context.pages:  # a page that asks once more at its end is not the next test's error
        page.unroute_all(behavior="ignoreErrors")
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


@pytest.fixture
def start_fairscore(tmp_path: Path) -> Iterator[Callable[[], Fairscore]]:
    """Start a `fairscore run` with an empty home; for tests that stop it or need an empty board."""
    with ExitStack() as started:
        yield lambda: started.enter_context(Fairscore(tmp_path / "home"))


@pytest.fixture(scope="session")
def fairscore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of one `fairscore run` shared by the tests that neither stop it nor mind others' scores."""
    with Fairscore(tmp_path_factory.mktemp("fairscore") / "home") as server:
        yield server.url
