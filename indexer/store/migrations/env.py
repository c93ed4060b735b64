"""What Alembic runs: the migrations of the indexer's tables on the connection it is handed.

Touches the database, inside the caller's transaction.
"""

from alembic import context

from indexer.store.schema import metadata
from relay.store.migrate import version_table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=version_table("indexer"),
    include_name=lambda name, kind, _parents: kind != "table" or name in metadata.tables,
    render_as_batch=True,
)
context.run_migrations()
