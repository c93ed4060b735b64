"""The economy of a game: a ledger that cannot be wrong, and what is built on it. Decisions only; SQL is in the store."""
