"""What Alembic runs: the migrations of the relay's tables on the connection it is handed.

Touches the database, inside the caller's transaction.
"""

from alembic import context

from relay.store.migrate import version_table
from relay.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=version_table("relay"),
    include_name=lambda name, kind, _parents: kind != "table" or name in metadata.tables,
    render_as_batch=True,
)
context.run_migrations()
