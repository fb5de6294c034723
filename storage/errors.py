"""Errors of storage besides those of `storage.store`, split by who must act."""


class DatabaseStartError(Exception):
    """The embedded database cannot be started; the text is one line and says what to do."""


class SchemaError(Exception):
    """The database's schema is not this program's; the text says what to do."""
