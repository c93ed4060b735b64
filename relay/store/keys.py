"""API keys: created, listed, revoked, found.

The only SQL of this package for keys. Only a SHA-256 and a short prefix of a key are stored. A slow hash would add
nothing: it defends guessable secrets, and these are 256 random bits; it would cost every request milliseconds.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from relay.ids import new_id
from relay.store.engine import Database
from relay.store.tables import api_keys

ROLE_MARKS = {"server": "sk", "client": "pk", "auditor": "au", "admin": "ad"}
PREFIX_LENGTH = 15  # fs_live_sk_ and four characters: enough to recognise, useless to guess
SECRET_BYTES = 32


class KeyInfo(NamedTuple):
    """What is known of a key. Times in epoch milliseconds; game None: every game."""

    id: str
    prefix: str
    role: str
    game_id: str | None
    name: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    last_used_at_ms: int | None


class NewKey(NamedTuple):
    """A key just made; `secret` exists nowhere else and cannot be shown again."""

    secret: str
    info: KeyInfo

    def __repr__(self) -> str:
        """Never show the secret in a log."""
        return f"NewKey({self.info.prefix}…)"


class KeyStore:
    """Keys in one database. Synchronous: the CLI and start-up use it directly, requests through `relay.api.auth`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, role: str, *, game_id: str | None = None, name: str = "", expires_at_ms: int | None = None
    ) -> NewKey:
        """Make a key.

        Raises:
            ValueError: there is no such role.
            StoreUnavailableError: the database is out of reach.
        """
        if role not in ROLE_MARKS:
            raise ValueError(f"a key's role is one of {', '.join(ROLE_MARKS)}, not {role!r}")
        secret = f"fs_live_{ROLE_MARKS[role]}_{secrets.token_urlsafe(SECRET_BYTES)}"
        with self._database.write() as connection:
            now_ms = self._database.now_ms(connection)
            key_id = new_id("key_", now_ms)
            info = KeyInfo(key_id, secret[:PREFIX_LENGTH], role, game_id, name, now_ms, expires_at_ms, None, None)
            connection.execute(insert(api_keys).values(**info._asdict(), hash=digest(secret)))
        return NewKey(secret, info)

    def list(self) -> list[KeyInfo]:
        """Return all keys, newest first."""
        statement = select(*_COLUMNS).order_by(api_keys.c.id.desc())
        return self._database.read_now(lambda connection: [_info(row) for row in connection.execute(statement)])

    def valid_secrets(self, secrets_given: Iterable[str]) -> set[str]:
        """Return which of some keys are valid now."""

        def job(connection: Connection) -> set[str]:
            now_ms = self._database.now_ms(connection)
            return {secret for secret in secrets_given if find(connection, digest(secret), now_ms) is not None}

        return self._database.read_now(job)

    def revoke(self, key_id: str) -> bool:
        """Revoke a key by id or by its whole prefix, if that names one; False if there is none to revoke."""
        with self._database.write() as connection:
            now_ms = self._database.now_ms(connection)
            named = (api_keys.c.id == key_id) | (api_keys.c.prefix == key_id)
            found = connection.execute(select(api_keys.c.id).where(named, api_keys.c.revoked_at_ms.is_(None))).all()
            if len(found) != 1:
                return False
            statement = update(api_keys).where(api_keys.c.id == found[0].id).values(revoked_at_ms=now_ms)
            return connection.execute(statement).rowcount == 1


def digest(secret: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(secret.encode()).digest()


def find(connection: Connection, hashed: bytes, now_ms: int) -> KeyInfo | None:
    """Return the key with this hash if it is valid now."""
    row = connection.execute(select(*_COLUMNS, api_keys.c.hash).where(api_keys.c.hash == hashed)).first()
    if row is None or not hmac.compare_digest(row.hash, hashed):
        return None
    info = _info(row)
    expired = info.expires_at_ms is not None and info.expires_at_ms <= now_ms
    return None if expired or info.revoked_at_ms is not None else info


def mark_used(connection: Connection, used: Mapping[str, int]) -> None:
    """Record when keys were last used (id: epoch ms), for many requests at once."""
    statement = update(api_keys).where(api_keys.c.id == bindparam("key")).values(last_used_at_ms=bindparam("at_ms"))
    rows: Iterable[dict[str, Any]] = [{"key": key, "at_ms": used[key]} for key in sorted(used)]
    connection.execute(statement, list(rows))


_COLUMNS = [api_keys.c[name] for name in KeyInfo._fields]


def _info(row: Any) -> KeyInfo:
    return KeyInfo(*(getattr(row, name) for name in KeyInfo._fields))
