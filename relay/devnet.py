"""The embedded chain as its parent sees it: start the child process, learn its URL, stop it; the keys of a home.

Touches the state folder (`devnet-keys.json`, `chain.journal`) and one child process. Nothing here is for real money.
"""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coincurve import PublicKey

from relay.keccak import keccak

log = logging.getLogger(__name__)

CHAIN_ID = 31337
JOURNAL_NAME = "chain.journal"
KEYS_NAME = "devnet-keys.json"
ROLES = ("admin", "attestation", "gas", "guardian", "auditor", "player")
START_S_MAX = 300.0  # rebuilding a very long journal is slow, not wrong
STOP_S_MAX = 5.0
RESTART_S = 0.2
RESTART_S_MAX = 10.0


class DevnetError(Exception):
    """The embedded chain could not be started; the message says what to do."""


@dataclass(frozen=True, repr=False)
class DevnetKey:
    """A funded throw-away account of this home. The key is not part of its repr."""

    address: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"DevnetKey(0x{self.address.hex()})"


def load_keys(home: Path) -> dict[str, DevnetKey]:
    """Read the home's keys by role, or make them (random, mode 0600) on first use.

    Raises DevnetError when the file is damaged, or is gone although a chain exists that funded other keys.
    """
    path = home / KEYS_NAME
    if path.exists():
        if path.stat().st_mode & 0o077:
            raise DevnetError(f"{path} is open to other users: run chmod 600 {path}")
        try:
            stored = json.loads(path.read_text())
            return {role: _key(bytes.fromhex(stored[role][2:])) for role in ROLES}
        except (ValueError, KeyError, TypeError) as error:
            raise DevnetError(f"{KEYS_NAME} is damaged; restore it, or move {home} away to start anew") from error
    keys = {role: _key(secrets.token_bytes(32)) for role in ROLES}
    home.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed, so that a kill leaves either no file or a whole one.
    draft = path.with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({role: "0x" + key.secret.hex() for role, key in keys.items()}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return keys


def _key(secret: bytes) -> DevnetKey:
    return DevnetKey(keccak(PublicKey.from_secret(secret).format(compressed=False)[1:])[12:], secret)


class Devnet:
    """A running embedded chain. Its process ends when this one does, however this one ends."""

    def __init__(
        self, process: asyncio.subprocess.Process, ready: dict[str, Any], home: Path, keys: dict[str, DevnetKey]
    ) -> None:
        self._process = process
        self._home = home
        self._watch: asyncio.Task[None] | None = None
        self.rpc_url = str(ready["rpcUrl"])
        self.chain_id = int(ready["chainId"])
        self.block_number = int(ready["blockNumber"])
        self.notice: str | None = ready["notice"]
        self.keys = keys

    @classmethod
    async def start(cls, home: Path, *, lock_wait_s: float = 10.0) -> "Devnet":
        """Start it on the state in `home`, or on a new chain; returns when it answers.

        Raises DevnetError when the journal is damaged, held by another process or does not rebuild.
        """
        keys = load_keys(home)
        process, ready = await _launch(home, keys, "--lock-wait-s", str(lock_wait_s))
        return cls(process, ready, home, keys)

    def watch(self) -> None:
        """From now on start the chain again, at the same address, whenever its process ends by itself."""
        self._watch = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        port = self.rpc_url.rpartition(":")[2]
        pause_s = RESTART_S
        while True:
            code = await self._process.wait()
            log.error("the embedded chain's process ended with code %d: starting it again", code)
            try:
                self._process, _ = await _launch(self._home, self.keys, "--port", port)
                pause_s = RESTART_S
            except DevnetError as error:
                log.error("the embedded chain does not start: %s", error)  # noqa: TRY400 - a sentence, not a bug
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RESTART_S_MAX)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the child is running."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Return the child's exit code once it ends."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End the child; everything it answered is on disk already."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await _end(self._process)


async def _launch(
    home: Path, keys: dict[str, DevnetKey], *options: str
) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Start the child; returns it and its first line once it answers."""
    command = [sys.executable, "-W", "ignore", "-m", "relay.devnet_server"]
    command += ["--journal", str(home / JOURNAL_NAME), "--chain-id", str(CHAIN_ID), *options]
    command += ["--fund", *("0x" + key.address.hex() for key in keys.values())]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is for the parent, which then stops this one in order
    )
    try:
        ready = await asyncio.wait_for(_first_line(process), START_S_MAX)
    except BaseException:
        await _end(process)
        raise
    if ready.get("notice"):
        log.warning("embedded chain: %s", ready["notice"])
    return process, ready


async def _first_line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdout is None:  # cannot be: it was asked for
        raise DevnetError("the embedded chain has no output")
    line = await process.stdout.readline()
    try:
        ready: dict[str, Any] = json.loads(line)
    except ValueError:
        code = await process.wait()
        raise DevnetError(f"the embedded chain ended at start with exit code {code}; its log says why") from None
    if "error" in ready:
        raise DevnetError(str(ready["error"]))
    return ready


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_S_MAX)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    # Without this the pipe's transport is closed by the garbage collector, after the loop is gone.
    process._transport.close()  # type: ignore[attr-defined]
