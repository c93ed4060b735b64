"""Payload encryption keys of the games, and the IVs used with each.

The only SQL on `encryption_keys` and `used_ivs`. A game's newest key that is not retired is given out with new rounds;
an older one still decrypts the rounds that were started with it, until it is retired. Each function works in the
transaction of the connection it is given.
"""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.ids import new_id
from relay.payload import KEY_BYTES
from relay.store.encryption_tables import encryption_keys, used_ivs

ID_PREFIX = "ek_"
BY_FIRST_ROUND = "round"


class KeyInfo(NamedTuple):
    """What may be shown of a key. Times in epoch ms; a retired one decrypts nothing any more."""

    id: str
    game_id: str
    created_at_ms: int
    created_by: str
    retired_at_ms: int | None
    retired_by: str | None


class GameKey(NamedTuple):
    """A key to derive from; never shown, never logged."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        """Never show the secret."""
        return f"GameKey({self.id})"


class UsedIv(NamedTuple):
    """One encrypted report: under which key, with which IV, and the hash of all of it."""

    key_id: str
    iv: bytes
    digest: bytes


def current(c: Connection, game_id: str, now_ms: int) -> GameKey:
    """Return the key that new rounds of a game get; its first is made here.

    Two processes may both make a game's first key: both are kept and decrypt, the newer one is current.
    """
    k = encryption_keys.c
    statement = select(k.id, k.secret).where(k.game_id == game_id, k.retired_at_ms.is_(None)).order_by(k.id.desc())
    found = c.execute(statement.limit(1)).first()
    if found is not None:
        return GameKey(found.id, bytes(found.secret))
    made = create(c, game_id, BY_FIRST_ROUND, now_ms)
    return GameKey(made.id, secret(c, game_id, made.id) or b"")


def secret(c: Connection, game_id: str, key_id: str) -> bytes | None:
    """Return the 32 bytes of one of the game's keys; None where it has no such key or that is retired."""
    k = encryption_keys.c
    found = c.execute(
        select(k.secret).where(k.id == key_id, k.game_id == game_id, k.retired_at_ms.is_(None))
    ).scalar_one_or_none()
    return None if found is None else bytes(found)


def create(c: Connection, game_id: str, by: str, now_ms: int) -> KeyInfo:
    """Make a key, which is the game's current one from now on; those before it go on decrypting their rounds."""
    info = KeyInfo(new_id(ID_PREFIX, now_ms), game_id, now_ms, by, None, None)
    c.execute(insert(encryption_keys).values(**info._asdict(), secret=secrets.token_bytes(KEY_BYTES)))
    return info


def listed(c: Connection, game_id: str) -> list[KeyInfo]:
    """Return a game's keys without their secrets, newest first."""
    k = encryption_keys.c
    statement = select(*(k[name] for name in KeyInfo._fields)).where(k.game_id == game_id).order_by(k.id.desc())
    return [KeyInfo(*row) for row in c.execute(statement)]


def retire(c: Connection, game_id: str, key_id: str, by: str, now_ms: int) -> KeyInfo | None:
    """Let a key decrypt nothing any more, and forget its IVs; again changes nothing. None: the game has no such key."""
    k = encryption_keys.c
    retiring = update(encryption_keys).where(k.id == key_id, k.game_id == game_id, k.retired_at_ms.is_(None))
    if c.execute(retiring.values(retired_at_ms=now_ms, retired_by=by)).rowcount:
        c.execute(delete(used_ivs).where(used_ivs.c.key_id == key_id))
    return next((info for info in listed(c, game_id) if info.id == key_id), None)


def claim_ivs(c: Connection, wanted: Sequence[UsedIv], now_ms: int) -> list[bool]:
    """Use up the IVs of a group's encrypted reports; returns which of them may count, in order.

    False: another report had that IV under that key. The very same report again may count: it is a retry. Rows are
    written in ascending order, so that two groups never wait for each other in a circle.
    """
    if not wanted:
        return []
    dialect = postgresql if c.dialect.name == "postgresql" else sqlite
    for one in sorted(wanted):
        row = {**one._asdict(), "used_at_ms": now_ms}
        c.execute(dialect.insert(used_ivs).values(row).on_conflict_do_nothing())
    place = tuple_(used_ivs.c.key_id, used_ivs.c.iv)
    found = c.execute(select(used_ivs).where(place.in_([(one.key_id, one.iv) for one in wanted])))
    first = {(row.key_id, bytes(row.iv)): bytes(row.digest) for row in found}
    return [first[one.key_id, one.iv] == one.digest for one in wanted]
