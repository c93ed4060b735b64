"""Alembic migrations of the relay's tables."""
