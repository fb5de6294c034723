"""What Alembic runs. The connection, inside its transaction, is given by `storage.migrate`."""

from alembic import context

from storage.schema import metadata, ours

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=ours,
    include_schemas=True,
    version_table_schema="public",
    version_table="truetrack_version",
    compare_type=True,
)
context.run_migrations()
