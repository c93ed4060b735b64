"""The tables of rounds, tournaments and the secrets of their seeds.

Pure (schema only). The queries are in `relay.store.rounds`, `relay.store.tournaments` and `relay.store.seeds`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from relay.store.metadata import metadata

tournaments = Table(
    "tournaments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("game_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger),  # null: open until it is cancelled
    Column("attempts_max", Integer),  # rounds of a player; null: any number
    Column("capacity", Integer),  # players; null: any number
    Column("require_confirmation", Boolean, nullable=False),
    Column("confirmation_timeout_s", Integer, nullable=False),
    Column("chart", Text),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("cancelled_at_ms", BigInteger),
    Column("cancelled_by", Text),
    Column("cancel_reason", Text),
    CheckConstraint("ends_at_ms IS NULL OR ends_at_ms > starts_at_ms", name="lasts"),
    CheckConstraint("(cancelled_at_ms IS NULL) = (cancel_reason IS NULL)", name="cancelled_why"),
)
Index("ix_tournaments_created_at_ms_id", tournaments.c.created_at_ms, tournaments.c.id)

rounds = Table(
    "rounds",
    metadata,
    Column("id", Text, primary_key=True),  # 24 hexadecimal digits, random
    Column("game_id", Text, nullable=False),
    Column("tournament_id", Text),
    Column("player", LargeBinary(20), nullable=False),
    Column("player_id", Text, nullable=False),
    Column("chart", Text),
    Column("chart_hash", LargeBinary(32), nullable=False),
    Column("rules_hash", LargeBinary(32), nullable=False),
    Column("seed", LargeBinary(32), nullable=False),
    Column("seed_subject", Text, nullable=False),
    Column("seed_commitment", LargeBinary(32), nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("contract", LargeBinary(20), nullable=False),
    Column("needs_confirmation", Boolean, nullable=False),
    Column("confirmation_timeout_s", Integer, nullable=False),
    Column("issued_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("due_at_ms", BigInteger),  # the next deadline; null: none is left
    Column("reported_at_ms", BigInteger),
    Column("claim_hash", LargeBinary(32)),
    Column("submission_id", Text),
    Column("score", BigInteger),  # as the client reported it
    Column("said_valid", Boolean),
    Column("said_score", BigInteger),
    Column("said_at_ms", BigInteger),
    Column("said_by", Text),  # id of the API key
    Column("reason", Text),  # code: why it was invalidated or expired
    Column("confirmation_hash", LargeBinary(32)),
    Column("first_evidence", LargeBinary(32)),
    Column("first_level", SmallInteger),
    CheckConstraint("state IN ('active', 'reported', 'confirmed', 'accepted', 'invalidated', 'expired')", name="state"),
    CheckConstraint("(reason IS NOT NULL) = (state IN ('invalidated', 'expired'))", name="over_why"),
    CheckConstraint("(due_at_ms IS NOT NULL) = (state IN ('active', 'reported', 'confirmed'))", name="due"),
    CheckConstraint("state NOT IN ('reported', 'accepted') OR submission_id IS NOT NULL", name="reported"),
    CheckConstraint("(said_at_ms IS NULL) = (said_valid IS NULL)", name="said"),
)
Index("ix_rounds_due_at_ms", rounds.c.due_at_ms, sqlite_where=text("due_at_ms IS NOT NULL"),
      postgresql_where=text("due_at_ms IS NOT NULL"))  # fmt: skip
Index("ix_rounds_tournament_id_player", rounds.c.tournament_id, rounds.c.player)
Index("ix_rounds_game_id_player_issued_at_ms", rounds.c.game_id, rounds.c.player, rounds.c.issued_at_ms)
Index("uq_rounds_submission_id", rounds.c.submission_id, unique=True)

seed_secrets = Table(
    "seed_secrets",
    metadata,
    Column("subject", Text, primary_key=True),  # tournament:<id>, or day:<number>:<game>
    Column("secret", LargeBinary(32), nullable=False),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
