"""What an operator does with webhooks by hand: look, try one out, tell events again, deliver in a process of its own.

Touches the database, and in `try_once` the receiver.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import uvloop

from relay.api.pages import rfc3339
from relay.errors import StartupError
from relay.store import webhooks as store
from relay.store.engine import Database
from relay.store.history_feed import first_since
from relay.store.webhooks import Aside, Standing
from relay.webhooks.hooks import Hook
from relay.webhooks.post import Answer, Post
from relay.webhooks.process import deliver, until_signal
from relay.webhooks.signing import SecretFile

DEAD_SHOWN = 20


class Listed(NamedTuple):
    """A hook as it is listed. `hook` None: the database knows it, the settings do not."""

    name: str
    hook: Hook | None
    standing: Standing | None
    dead: Sequence[Aside]


def listed(database: Database, hooks: Sequence[Hook]) -> list[Listed]:
    """Return every hook that is configured or was once delivered, by name."""
    standings = {each.name: each for each in database.read_now(store.standings)}
    configured = {hook.name: hook for hook in hooks}
    return [
        Listed(
            name,
            configured.get(name),
            standings.get(name),
            database.read_now(lambda c, name=name: store.dead(c, name, DEAD_SHOWN)),  # type: ignore[misc]
        )
        for name in sorted({*standings, *configured})
    ]


def try_once(hook: Hook) -> Answer:
    """Send one signed `webhook.test` now; returns what the receiver answered."""
    signing, at_ms = SecretFile(hook.secret_file), time.time_ns() // 1_000_000
    document = {"type": "webhook.test", "timestamp": rfc3339(at_ms), "data": {"hook": hook.name}}
    content = msgspec.json.encode(document)
    headers = signing.headers(f"evt_test_{secrets.token_hex(8)}", at_ms / 1000, content)

    async def send() -> Answer:
        async with Post() as post:
            return await post(hook.url, content, headers, hook.timeout_s)

    return asyncio.run(send())


def replay(database: Database, name: str, *, sequence: int | None, since_ms: int | None, dead: bool) -> str:
    """Have events told again; returns what will be, in a sentence.

    Raises:
        StartupError: not exactly one of the three is given, or nothing is known of the hook.
    """
    if sum((sequence is not None, since_ms is not None, dead)) != 1:
        raise StartupError("say what to replay with one of --sequence, --since and --dead")
    with database.write() as c:
        if dead:
            count = store.replay_dead(c, name, database.now_ms(c))
            if count is not None:
                return f"{count} events that were given up or waited are tried again"
        else:
            first = first_since(c, since_ms) if since_ms is not None else sequence
            if first is None:
                return "nothing happened since then: there is nothing to replay"
            was = store.replay_from(c, name, first)
            if was is not None and first > was + 1:
                raise StartupError(f"{name} is at sequence {was}: a replay only goes back")  # nothing is committed
            if was is not None:
                return f"events from sequence {first} on are told again (it was at {was})"
    raise StartupError(f"no webhook {name!r} was ever delivered from this database: see `fairscore webhooks list`")


def deliver_until_signal(database_url: str, hooks: Sequence[Hook]) -> None:
    """Deliver in this process until SIGTERM or SIGINT.

    Raises:
        StartupError: a secret file cannot be used.
    """
    uvloop.run(deliver(database_url, hooks, until_signal, lambda _: None))
