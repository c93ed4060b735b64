"""What the `fairscore outbox` commands do: the same as the API's operations, straight on the database.

Touches the database. A sender notices within its next round, in whichever process it runs.
"""

import getpass
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from relay.api.outbox import read_account
from relay.api.outbox_documents import OutboxDocument, key_document, outbox_document
from relay.api.pages import rfc3339, storable
from relay.config import Settings
from relay.errors import CallerError, StartupError
from relay.opening import opened
from relay.store import controls, migrate, outbox_view
from relay.store.controls import By
from relay.store.engine import Database
from relay.store.outbox_leases import Key

T = TypeVar("T")

REASON_MAX = 500


def show(settings: Settings, chain_id: int | None) -> OutboxDocument:
    """Return what GET /api/outbox shows, without what only a running process knows: balances, endpoints, troubles.

    Raises:
        StartupError: the database cannot be used, or the chain must be named.
    """
    with opened(settings) as database:
        _must_be_current(database)

        def job(c: Any) -> OutboxDocument:
            chain = _chain(c, chain_id)
            seen = outbox_view.everything(c, chain, database.now_ms(c))
            return outbox_document(chain, seen, [key_document(key, seen.view.now_ms) for key in seen.view.keys])

        return database.read_now(job)


def shown(document: OutboxDocument) -> str:
    """Return the document as JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def pause(settings: Settings, chain_id: int | None, address: str, reason: str) -> str:
    """Pause a key; returns what to print."""
    found = _change(settings, reason, lambda c, by: controls.pause(c, _key(c, chain_id, address), by))
    return f"{address} is paused since {rfc3339(found.at_ms)}: {found.reason}"


def resume(settings: Settings, chain_id: int | None, address: str, reason: str) -> str:
    """Resume a key; returns what to print."""
    lifted = _change(settings, reason, lambda c, by: controls.resume(c, _key(c, chain_id, address), by))
    return f"{address} sends again" if lifted else f"{address} was not paused"


def void(settings: Settings, chain_id: int | None, address: str, nonce: int, reason: str) -> str:
    """Ask for a nonce to be voided; returns what to print."""
    since = _change(settings, reason, lambda c, by: controls.request_void(c, _key(c, chain_id, address), nonce, by))
    return f"nonce {nonce} of {address} is to be voided since {rfc3339(since)}: see `fairscore outbox show`"


def retry(settings: Settings, submission_id: str, reason: str) -> str:
    """Let a parked score wait again; returns what to print."""
    _change(settings, reason, lambda c, by: controls.retry(c, submission_id, by))
    return f"{submission_id} waits for a transaction again"


def _change(settings: Settings, reason: str, job: Callable[[Any, By], T]) -> T:
    kept = storable(reason).strip()
    if not 1 <= len(kept) <= REASON_MAX:
        raise StartupError(f"--reason says why, in 1 to {REASON_MAX} characters")
    with opened(settings) as database:
        _must_be_current(database)
        try:
            with migrate.explained(), database.write() as c:
                return job(c, By(f"cli:{getpass.getuser()}", kept, database.now_ms(c)))
        except CallerError as refused:
            raise StartupError(refused.detail) from None


def _must_be_current(database: Database) -> None:
    with migrate.explained():
        version = database.read_now(lambda c: migrate.version(c, "relay"))
    if not version.current:
        raise StartupError(
            f"the database is at version {version.at}, this program's is {version.head}: see `fairscore check`"
        )


def _key(c: Any, chain_id: int | None, address: str) -> Key:
    return Key(_chain(c, chain_id), read_account(address))


def _chain(c: Any, chain_id: int | None) -> int:
    if chain_id is not None:
        return chain_id
    known = outbox_view.chain_ids(c)
    if len(known) != 1:
        listed = ", ".join(map(str, known)) or "none yet"
        raise StartupError(f"name the chain with --chain-id; this database has sent to: {listed}")
    return known[0]
