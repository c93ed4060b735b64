"""The tables of player identity: sign-in nonces, sessions, delegated session keys, signatures that were used.

Pure (schema only). The queries are in `relay.store.sessions` and `relay.store.used_signatures`.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, UniqueConstraint

from relay.store.metadata import metadata

# A nonce is in the database, not in a process: the one that gives it is seldom the one that takes it back.
sign_in_nonces = Table(
    "sign_in_nonces",
    metadata,
    Column("nonce", Text, primary_key=True),
    Column("expires_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_sign_in_nonces_expires_at_ms", sign_in_nonces.c.expires_at_ms)

player_sessions = Table(
    "player_sessions",
    metadata,
    Column("id", Text, primary_key=True),  # ses_<26>
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # SHA-256 of the whole token
    Column("player", LargeBinary(20), nullable=False),
    Column("proof", Text, nullable=False),  # how the wallet signed: `signature` or `contract_wallet`
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
)
Index("ix_player_sessions_expires_at_ms", player_sessions.c.expires_at_ms)

# Which other keys may sign scores for a player, and until when: at most 24 hours.
session_keys = Table(
    "session_keys",
    metadata,
    Column("id", Text, primary_key=True),  # skey_<26>
    Column("player", LargeBinary(20), nullable=False),
    Column("address", LargeBinary(20), nullable=False),
    Column("scope", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),  # of what the wallet signed: taken once
    Column("delegation", LargeBinary(32), nullable=False),  # evidence hash of the document that shows it
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("revoked_at_ms", BigInteger),
    UniqueConstraint("digest"),
)
Index("ix_session_keys_player_address", session_keys.c.player, session_keys.c.address)
Index("ix_session_keys_expires_at_ms", session_keys.c.expires_at_ms)

# A player's signature counts for one submission. Kept until its own deadline refuses it anyway.
used_signatures = Table(
    "used_signatures",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),  # EIP-712 digest of the SubmitScore that was signed
    Column("submission_id", Text, nullable=False),
    Column("deadline_s", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_used_signatures_deadline_s", used_signatures.c.deadline_s)
