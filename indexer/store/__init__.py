"""SQL of the indexer. The only place of this package that knows SQLAlchemy."""
