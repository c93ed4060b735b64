"""Alembic migrations of the indexer's tables."""
