"""Rulesets: pure functions from evidence to a recomputed score and its checks."""
