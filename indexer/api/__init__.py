"""HTTP of the indexer: one module per area."""
