"""Storage: schema and migrations, the group-commit writer, the spool, embedded Postgres."""
