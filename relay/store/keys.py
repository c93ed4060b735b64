"""API keys: created, listed, rotated, revoked, found.

The only SQL of this package for keys. Only a SHA-256 and a short prefix of a key are stored. A slow hash would add
nothing: it defends guessable secrets, and these are 256 random bits; it would cost every request milliseconds.
"""

import getpass
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from relay.errors import CallerError
from relay.ids import new_id
from relay.store.controls import By, record
from relay.store.engine import Database
from relay.store.tables import api_keys

ROLE_MARKS = {"server": "sk", "client": "pk", "auditor": "au", "admin": "ad"}
PREFIX_LENGTH = 15  # fs_live_sk_ and four characters: enough to recognise, useless to guess
SECRET_BYTES = 32
PREFIX = re.compile(rf"fs_live_(?:{'|'.join(ROLE_MARKS.values())})_[A-Za-z0-9_-]{{4}}")


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

    def state(self, now_ms: int) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked_at_ms is not None:
            return "revoked"
        return "expired" if self.expires_at_ms is not None and self.expires_at_ms <= now_ms else "active"


class NewKey(NamedTuple):
    """A key just made; `secret` exists nowhere else and cannot be shown again."""

    secret: str
    info: KeyInfo

    def __repr__(self) -> str:
        """Never show the secret in a log."""
        return f"NewKey({self.info.prefix}…)"


class Wanted(NamedTuple):
    """What a new key is to be."""

    role: str
    game_id: str | None = None
    name: str = ""
    expires_at_ms: int | None = None


class KeyFilter(NamedTuple):
    """Which keys a list shows; None means any."""

    role: str | None = None
    game_id: str | None = None
    active: bool | None = None


class KeyStore:
    """Keys in one database. Synchronous: the CLI and start-up use it directly, requests through `relay.api.keys`."""

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
        with self._database.write() as connection:
            return create(connection, Wanted(role, game_id, name, expires_at_ms), self._by(connection))

    def list(self) -> list[KeyInfo]:
        """Return all keys, newest first."""
        return self._database.read_now(lambda connection: page(connection, KeyFilter(), 0))

    def valid_secrets(self, secrets_given: Iterable[str]) -> set[str]:
        """Return which of some keys are valid now."""

        def job(connection: Connection) -> set[str]:
            now_ms = self._database.now_ms(connection)
            return {secret for secret in secrets_given if find(connection, digest(secret), now_ms) is not None}

        return self._database.read_now(job)

    def revoke(self, key: str) -> bool:
        """Revoke a key by id or by its whole prefix, if that names one; False if there is none to revoke."""
        with self._database.write() as connection:
            named = _named(connection, key)
            if named is None:
                return False
            revoke(connection, named, None, self._by(connection))
            return True

    def rotate(self, key: str, overlap_ms: int) -> NewKey:
        """Make the successor of a key named by id or whole prefix, which stays valid for the overlap.

        Raises:
            CallerError: API_KEY_UNKNOWN, API_KEY_NOT_ACTIVE.
        """
        with self._database.write() as connection:
            named = _named(connection, key)
            if named is None:
                raise CallerError("API_KEY_UNKNOWN", f"no active key {key!r}: see `fairscore keys list`")
            return rotate(connection, named, overlap_ms, None, self._by(connection)).new

    def _by(self, connection: Connection) -> By:
        return By(f"cli:{getpass.getuser()}", "", self._database.now_ms(connection))


class Rotated(NamedTuple):
    """A key's successor, the key as it is now, and its hash (for who remembers it to forget)."""

    new: NewKey
    old: KeyInfo
    hash: bytes


def create(c: Connection, wanted: Wanted, by: By) -> NewKey:
    """Make a key, and record who did."""
    secret = f"fs_live_{ROLE_MARKS[wanted.role]}_{secrets.token_urlsafe(SECRET_BYTES)}"
    role, game_id, name, expires_at_ms = wanted
    key_id = new_id("key_", by.at_ms)
    info = KeyInfo(key_id, secret[:PREFIX_LENGTH], role, game_id, name, by.at_ms, expires_at_ms, None, None)
    c.execute(insert(api_keys).values(**info._asdict(), hash=digest(secret)))
    record(c, by, "key.create", key_id)
    return NewKey(secret, info)


def page(c: Connection, wanted: KeyFilter, now_ms: int, limit: int | None = None, before: str | None = None) -> Any:
    """Return keys, newest first, older than the id `before`; a list of KeyInfo."""
    k = api_keys.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.role is not None:
        conditions.append(k.role == wanted.role)
    if wanted.game_id is not None:
        conditions.append(k.game_id == wanted.game_id)
    if wanted.active is not None:
        valid = k.revoked_at_ms.is_(None) & (k.expires_at_ms.is_(None) | (k.expires_at_ms > now_ms))
        conditions.append(valid if wanted.active else ~valid)
    if before is not None:
        conditions.append(k.id < before)
    query = select(*_COLUMNS).where(*conditions).order_by(k.id.desc()).limit(limit)
    return [_info(row) for row in c.execute(query)]


def look(c: Connection, key_id: str, game_id: str | None) -> KeyInfo:
    """Return a key that an admin of `game_id` (None: of every game) may see.

    Raises:
        CallerError: API_KEY_UNKNOWN.
    """
    return _one(c, key_id, game_id, lock=False)[0]


def revoke(c: Connection, key_id: str, game_id: str | None, by: By) -> tuple[KeyInfo, bytes]:
    """Let a key be good for nothing from now on; returns it and its hash. To revoke it again changes nothing.

    Raises:
        CallerError: API_KEY_UNKNOWN.
    """
    info, hashed = _one(c, key_id, game_id)
    if info.revoked_at_ms is None:
        c.execute(update(api_keys).where(api_keys.c.id == key_id).values(revoked_at_ms=by.at_ms))
        record(c, by, "key.revoke", key_id)
        info = info._replace(revoked_at_ms=by.at_ms)
    return info, hashed


def rotate(c: Connection, key_id: str, overlap_ms: int, game_id: str | None, by: By) -> Rotated:
    """Make a key's successor: same role, game, name and length of life; the key itself ends after the overlap.

    Raises:
        CallerError: API_KEY_UNKNOWN, API_KEY_NOT_ACTIVE.
    """
    info, hashed = _one(c, key_id, game_id)
    if (state := info.state(by.at_ms)) != "active":
        raise CallerError("API_KEY_NOT_ACTIVE", f"The key is {state}; only a valid one can be rotated.")
    life_ms = None if info.expires_at_ms is None else info.expires_at_ms - info.created_at_ms
    expires_at_ms = None if life_ms is None else by.at_ms + life_ms
    new = create(c, Wanted(info.role, info.game_id, info.name, expires_at_ms), by)
    ends_ms = min(by.at_ms + overlap_ms, info.expires_at_ms or by.at_ms + overlap_ms)
    c.execute(update(api_keys).where(api_keys.c.id == key_id).values(expires_at_ms=ends_ms))
    record(c, by._replace(reason=f"replaced by {new.info.id}"), "key.rotate", key_id)
    return Rotated(new, info._replace(expires_at_ms=ends_ms), hashed)


def digest(secret: str) -> bytes:
    """Return what is stored of a key."""
    return hashlib.sha256(secret.encode()).digest()


def find(connection: Connection, hashed: bytes, now_ms: int) -> KeyInfo | None:
    """Return the key with this hash if it is valid now."""
    row = connection.execute(select(*_COLUMNS, api_keys.c.hash).where(api_keys.c.hash == hashed)).first()
    if row is None or not hmac.compare_digest(row.hash, hashed):
        return None
    info = _info(row)
    return info if info.state(now_ms) == "active" else None


def of_prefixes(c: Connection, prefixes: Sequence[str]) -> dict[str, KeyInfo]:
    """Return the newest key of each of these prefixes, where there is one, valid or not."""
    rows = c.execute(select(*_COLUMNS).where(api_keys.c.prefix.in_(prefixes)).order_by(api_keys.c.id))
    return {row.prefix: _info(row) for row in rows}


def mark_used(connection: Connection, used: Mapping[str, int]) -> None:
    """Record when keys were last used (id: epoch ms), for many requests at once; never an earlier time than before."""
    known = api_keys.c.last_used_at_ms
    later = known.is_(None) | (known < bindparam("at_ms"))
    statement = update(api_keys).where(api_keys.c.id == bindparam("key"), later)
    rows: Iterable[dict[str, Any]] = [{"key": key, "at_ms": used[key]} for key in sorted(used)]
    connection.execute(statement.values(last_used_at_ms=bindparam("at_ms")), list(rows))


_COLUMNS = [api_keys.c[name] for name in KeyInfo._fields]


def _info(row: Any) -> KeyInfo:
    return KeyInfo(*(getattr(row, name) for name in KeyInfo._fields))


def _one(c: Connection, key_id: str, game_id: str | None, *, lock: bool = True) -> tuple[KeyInfo, bytes]:
    """Return a key and its hash; locked, it stays as it is until the commit."""
    query = select(*_COLUMNS, api_keys.c.hash).where(api_keys.c.id == key_id)
    row = c.execute(query.with_for_update() if lock else query).first()
    if row is None or game_id not in (None, row.game_id):
        raise CallerError("API_KEY_UNKNOWN", "No key has this id, or yours is of another game than it.")
    return _info(row), bytes(row.hash)


def _named(c: Connection, key: str) -> str | None:
    """Return the id of the one key, not revoked, that has this id or this whole prefix."""
    named = (api_keys.c.id == key) | (api_keys.c.prefix == key)
    found = c.execute(select(api_keys.c.id).where(named, api_keys.c.revoked_at_ms.is_(None))).all()
    return found[0].id if len(found) == 1 else None
