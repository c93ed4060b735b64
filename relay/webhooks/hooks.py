"""The operator's webhooks, as the configuration file declares them: `[webhooks.<name>]`.

Pure. A table that cannot be used is refused at start, by name; addresses are shown without path, for it may hold a
token. Which network an address is in is the operator's own decision: nobody else can add a webhook.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relay.errors import StartupError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEYS = {"url", "secret_file", "game", "statuses", "timeout_s"}
STATUSES = ("accepted", "rejected", "held", "queued", "sent", "included", "final", "revoked", "parked")
TIMEOUT_S, TIMEOUT_MAX_S = 15, 60


@dataclass(frozen=True)
class Hook:
    """One webhook. `game` None: every game; `statuses` None: every change."""

    name: str
    url: str = field(repr=False)
    secret_file: Path
    game: str | None = None
    statuses: frozenset[str] | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def target(self) -> bytes:
        """Return the SHA-256 of the address: what the database may know of it."""
        return hashlib.sha256(self.url.encode()).digest()

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}" + ("/…" if parts.path not in {"", "/"} or parts.query else "")


def hooks_of(tables: Mapping[str, Mapping[str, Any]]) -> list[Hook]:
    """Return the declared hooks, by name.

    Raises:
        StartupError: one of them cannot be used; the text names it and says what is expected.
    """
    return [_hook(name, table) for name, table in sorted(tables.items())]


def _hook(name: str, table: Mapping[str, Any]) -> Hook:
    if not NAME.fullmatch(name):
        raise StartupError(f"webhook {name!r}: a name is 1 to 64 letters, digits, dots, dashes or underscores")
    where = f"[webhooks.{name}]"
    if not isinstance(table, Mapping):
        raise StartupError(f"{where} is not a table: write url and secret_file under it")
    if unknown := sorted(set(table) - KEYS):
        raise StartupError(f"{where}: {unknown[0]!r} is no setting of a webhook ({', '.join(sorted(KEYS))})")
    secret_file, game, timeout_s = table.get("secret_file"), table.get("game"), table.get("timeout_s", TIMEOUT_S)
    if not isinstance(secret_file, str) or not secret_file:
        raise StartupError(f"{where}: secret_file names the file of its signing secret (whsec_…, one a line)")
    if game is not None and (not isinstance(game, str) or not game):
        raise StartupError(f"{where}: game is a game's id, or left out for every game")
    if type(timeout_s) not in {int, float} or not 0 < timeout_s <= TIMEOUT_MAX_S:
        raise StartupError(f"{where}: timeout_s is a number of seconds up to {TIMEOUT_MAX_S}")
    url = _url(where, table.get("url"))
    return Hook(name, url, Path(secret_file).expanduser(), game, _statuses(where, table.get("statuses")), timeout_s)


def _url(where: str, url: object) -> str:
    refusal = StartupError(
        f"{where}: url is an address that begins with https:// or http://, without user and password"
    )
    if not isinstance(url, str) or not url.isascii() or any(character.isspace() for character in url):
        raise refusal
    try:
        parts = urlsplit(url)
        port_known = parts.port is None or parts.port > 0
    except ValueError:
        raise refusal from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not port_known:
        raise refusal
    return url


def _statuses(where: str, statuses: object) -> frozenset[str] | None:
    if statuses is None:
        return None
    if not isinstance(statuses, list) or not statuses or not all(status in STATUSES for status in statuses):
        raise StartupError(f"{where}: statuses is a list of some of {', '.join(STATUSES)}, or left out for all")
    return frozenset(statuses)
