"""Sign-in nonces, players' sessions and the keys that players delegate to.

The only SQL on these tables. Every function works inside the caller's transaction; a token is stored as its SHA-256.
"""

import hmac
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.session_tables import player_sessions, session_keys, sign_in_nonces

SWEEP_ROWS = 5_000
KEPT_MS = 86_400_000


class Session(NamedTuple):
    """A player's session. `proof`: how the wallet signed, `signature` or `contract_wallet`. Times in epoch ms."""

    id: str
    player: bytes
    proof: str
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None


class SessionKey(NamedTuple):
    """A key that may sign scores for a player.

    `digest` is what the player's wallet signed, `delegation` the evidence hash of the document that shows it.
    """

    id: str
    player: bytes
    address: bytes
    scope: str
    digest: bytes
    delegation: bytes
    created_at_ms: int
    expires_at_ms: int
    revoked_at_ms: int | None

    @property
    def until_ms(self) -> int:
        """When it ends, or ended."""
        return self.expires_at_ms if self.revoked_at_ms is None else min(self.expires_at_ms, self.revoked_at_ms)


# ------------------------------------------------------------------- nonces


def give_nonce(c: Connection, nonce: str, expires_at_ms: int) -> None:
    """Remember a nonce that was given out."""
    c.execute(insert(sign_in_nonces).values(nonce=nonce, expires_at_ms=expires_at_ms))


def take_nonce(c: Connection, nonce: str, now_ms: int) -> bool:
    """Take a nonce back, once and for all; False where it was never given, was taken before or has expired."""
    n = sign_in_nonces.c
    return c.execute(delete(sign_in_nonces).where(n.nonce == nonce, n.expires_at_ms > now_ms)).rowcount == 1


# ----------------------------------------------------------------- sessions


def open_session(c: Connection, session: Session, token_hash: bytes) -> None:
    """Store a new session."""
    c.execute(insert(player_sessions).values(**session._asdict(), hash=token_hash))


def find(c: Connection, token_hash: bytes, now_ms: int) -> Session | None:
    """Return the session whose token has this hash, if it is open now."""
    row = c.execute(select(*_SESSION, player_sessions.c.hash).where(player_sessions.c.hash == token_hash)).first()
    if row is None or not hmac.compare_digest(bytes(row.hash), token_hash):
        return None
    session = _session(row)
    return None if session.revoked_at_ms is not None or session.expires_at_ms <= now_ms else session


def one(c: Connection, session_id: str) -> Session | None:
    """Return a session by its id, open or not."""
    row = c.execute(select(*_SESSION).where(player_sessions.c.id == session_id)).first()
    return None if row is None else _session(row)


def close_session(c: Connection, session_id: str, now_ms: int) -> None:
    """End a session; one that has ended stays as it is."""
    s = player_sessions.c
    c.execute(update(player_sessions).where(s.id == session_id, s.revoked_at_ms.is_(None)).values(revoked_at_ms=now_ms))


# ------------------------------------------------------------- session keys


def delegate(c: Connection, key: SessionKey) -> bool:
    """Store a delegation; False where the same signature has delegated before."""
    once = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    added = once(session_keys).values(**key._asdict()).on_conflict_do_nothing().returning(session_keys.c.id)
    return c.execute(added).first() is not None


def key_of(c: Connection, player: bytes, address: bytes, now_ms: int) -> SessionKey | None:
    """Return what a player delegated to `address`: a delegation that holds now before one that has ended."""
    k = session_keys.c
    holds = (k.revoked_at_ms.is_(None)) & (k.expires_at_ms > now_ms)
    query = select(*_KEY).where(k.player == player, k.address == address).order_by(holds.desc(), k.id.desc()).limit(1)
    row = c.execute(query).first()
    return None if row is None else _key(row)


def open_keys(c: Connection, player: bytes, now_ms: int) -> int:
    """Return how many delegations of a player hold now."""
    k = session_keys.c
    held = select(func.count()).where(k.player == player, k.revoked_at_ms.is_(None), k.expires_at_ms > now_ms)
    return int(c.execute(held).scalar_one())


def keys_of(c: Connection, player: bytes, now_ms: int) -> list[SessionKey]:
    """Return the delegations of a player that hold now, newest first."""
    k = session_keys.c
    query = select(*_KEY).where(k.player == player, k.revoked_at_ms.is_(None), k.expires_at_ms > now_ms)
    return [_key(row) for row in c.execute(query.order_by(k.id.desc()))]


def revoke_key(c: Connection, player: bytes, key_id: str, now_ms: int) -> SessionKey | None:
    """End a delegation of this player; returns it, None if the player has none of this id. Twice is the same."""
    k = session_keys.c
    mine = (k.id == key_id) & (k.player == player)
    c.execute(update(session_keys).where(mine, k.revoked_at_ms.is_(None)).values(revoked_at_ms=now_ms))
    row = c.execute(select(*_KEY).where(mine)).first()
    return None if row is None else _key(row)


def sweep(c: Connection, now_ms: int) -> int:
    """Forget at most 5,000 of each kind: nonces when they expire, the rest a day later; returns how many rows."""
    gone = 0
    kinds = ((sign_in_nonces, "nonce", 0), (player_sessions, "id", KEPT_MS), (session_keys, "id", KEPT_MS))
    for table, name, kept_ms in kinds:
        old = select(table.c[name]).where(table.c.expires_at_ms < now_ms - kept_ms).limit(SWEEP_ROWS)
        gone += c.execute(delete(table).where(table.c[name].in_(old))).rowcount
    return gone


_SESSION = [player_sessions.c[name] for name in Session._fields]
_KEY = [session_keys.c[name] for name in SessionKey._fields]


def _session(row: Any) -> Session:
    return Session(*(getattr(row, name) for name in Session._fields))


def _key(row: Any) -> SessionKey:
    return SessionKey(*(getattr(row, name) for name in SessionKey._fields))
