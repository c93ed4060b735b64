"""The tables of the relay that more than one part reads: submissions, evidence, history, guard, flags, keys.

Pure: declarations only. Times are epoch milliseconds named `*_ms`, addresses 20 bytes, hashes 32 bytes.
Hot tables carry no foreign keys: both rows are written in one transaction, and each key would cost a lookup per row.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from relay.store.metadata import metadata

# SQLite numbers rows by itself only for a column declared exactly INTEGER PRIMARY KEY.
Serial = BigInteger().with_variant(Integer, "sqlite")

submissions = Table(
    "submissions",
    metadata,
    Column("id", Text, primary_key=True),  # sub_<26>, time-ordered: pages and appends follow the order of arrival
    Column("game_id", Text, nullable=False),
    Column("player", LargeBinary(20), nullable=False),
    Column("status", Text, nullable=False),
    Column("score", BigInteger),  # recomputed, never claimed; null when nothing could be computed
    Column("round_id", BigInteger),  # serial per game without a gap; accepted submissions only
    Column("external_round", Text),
    Column("evidence_hash", LargeBinary(32), nullable=False),
    Column("evidence_level", SmallInteger, nullable=False),
    Column("rules_hash", LargeBinary(32), nullable=False),
    Column("claim_hash", LargeBinary(32), nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("accepted_at_ms", BigInteger),
    Column("receipt_deadline", BigInteger),  # unix seconds
    Column("receipt_signer", LargeBinary(20)),
    Column("receipt_signature", LargeBinary(65)),
    Column("tx_hash", LargeBinary(32)),
    Column("block_number", BigInteger),
    Column("code", Text),  # of the refusal
    Column("failures", SmallInteger, nullable=False, server_default="0"),  # batches with it that failed on the chain
    Column("request_id", Text, nullable=False),
    # What the first answer said, so that a replay says it again byte for byte. Null answered_status with null
    # answering_until_ms means: answered at once, as the row was committed.
    Column("answering_until_ms", BigInteger),
    Column("answered_status", Text),
    Column("answered_tx", LargeBinary(32)),
    Column("status_beneath", Text),  # what it would be were it not revoked; null unless it is
    UniqueConstraint("game_id", "round_id"),
    CheckConstraint("(round_id IS NULL) = (accepted_at_ms IS NULL)", name="serial_iff_accepted"),
    CheckConstraint("(receipt_signature IS NULL) = (round_id IS NULL)", name="signed_iff_accepted"),
)
Index("ix_submissions_player_id", submissions.c.player, submissions.c.id)
# The outbox's work list: small however many submissions there are.
Index(
    "ix_submissions_ready",
    submissions.c.game_id,
    submissions.c.round_id,
    sqlite_where=text("status = 'accepted'"),
    postgresql_where=text("status = 'accepted'"),
)
# What waits for a person; few, and asked for at every scrape of the metrics.
Index(
    "ix_submissions_aside",
    submissions.c.status,
    submissions.c.id,
    sqlite_where=text("status IN ('held', 'parked')"),
    postgresql_where=text("status IN ('held', 'parked')"),
)

history = Table(
    "history",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("submission_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("detail", Text),
    # What the submission had from this change on: a webhook told late still tells what was so then.
    Column("tx_hash", LargeBinary(32)),
    Column("block_number", BigInteger),
)
Index("ix_history_submission_id", history.c.submission_id)

evidence = Table(
    "evidence",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),  # keccak-256 of body
    Column("body", LargeBinary, nullable=False),  # canonical bytes: submissions' evidence and ruleset documents
)

round_counters = Table(
    "round_counters",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", LargeBinary(32), primary_key=True),  # hash of game, role, route and key
    Column("claim_hash", LargeBinary(32), nullable=False),
    Column("submission_id", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_idempotency_created_at_ms", idempotency.c.created_at_ms)

# Whole answers of rare operations by idempotency key; a submission's is rebuilt from its rows instead.
kept_answers = Table(
    "kept_answers",
    metadata,
    Column("scope", LargeBinary(32), primary_key=True),  # hash of game, role, route and key
    Column("claim_hash", LargeBinary(32), nullable=False),  # of the request the key was first used for
    Column("status", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_kept_answers_created_at_ms", kept_answers.c.created_at_ms)

# All that a decision about one player needs is one row, so that a decision locks, reads and writes one page: on SQLite
# every further random page costs more than judging the score.
limit_windows = Table(
    "limit_windows",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("action", Text, primary_key=True),
    Column("subject", LargeBinary, primary_key=True),  # a player's address, or an external id in UTF-8
    Column("admitted", LargeBinary, nullable=False),  # epoch ms as little-endian int64, oldest first
    Column("refused", LargeBinary, nullable=False),  # the same, bounded; counted in the flag's text only
    Column("scores", LargeBinary, nullable=False),  # the player's last 50 accepted, little-endian int64, oldest first
    Column("claims", LargeBinary, nullable=False),  # claims of the last 60 s, see relay.guard.recent
    Column("updated_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,  # one tree instead of a table and its index: half the pages per submission
)

audit_flags = Table(
    "audit_flags",
    metadata,
    Column("id", Text, primary_key=True),  # flg_<26>, time-ordered
    Column("game_id", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("player_id", Text),  # lower-case address or external id; null where no player is meant
    Column("about", Text, nullable=False),  # the player, else the subject: whom one open flag is about
    Column("subject_type", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("context", Text, nullable=False),  # JSON object
    Column("occurrences", BigInteger, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("resolved_by", Text),
    Column("resolved_at_ms", BigInteger),
    Column("resolution_note", Text),
    CheckConstraint("severity IN ('warning', 'critical')", name="severity"),
    CheckConstraint("status IN ('open', 'confirmed', 'false_positive', 'dismissed')", name="status"),
)
# One open flag per (game, player or subject, action, code): a repeat raises its occurrences, no flood for the auditor.
Index(
    "uq_audit_flags_open",
    audit_flags.c.game_id,
    audit_flags.c.about,
    audit_flags.c.action,
    audit_flags.c.code,
    unique=True,
    sqlite_where=text("status = 'open'"),
    postgresql_where=text("status = 'open'"),
)
Index("ix_audit_flags_player_id_id", audit_flags.c.player_id, audit_flags.c.id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),  # key_<26>
    Column("prefix", Text, nullable=False),  # what a log or a list may show
    Column("hash", LargeBinary(32), nullable=False, unique=True),  # SHA-256 of the whole key
    Column("role", Text, nullable=False),
    Column("game_id", Text),  # null: every game
    Column("name", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("revoked_at_ms", BigInteger),
    Column("last_used_at_ms", BigInteger),
    CheckConstraint("role IN ('server', 'client', 'auditor', 'admin')", name="role"),
)
