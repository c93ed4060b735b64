"""SQL of the relay. The only place of this package that knows SQLAlchemy."""
