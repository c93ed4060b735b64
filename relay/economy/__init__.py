"""The economy of a game: a ledger that cannot be wrong, and what is built on it.

Pure, all of it. The SQL is in `relay.store`.
"""
