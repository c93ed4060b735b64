"""Fairscore's indexer: watches, ranks, streams, doubts."""
