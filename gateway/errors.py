"""Errors of the gateway, split by who must act."""


class ConfigError(Exception):
    """The configuration must be mended; the message names the key and what was expected."""


class StartError(Exception):
    """Something outside must be mended before the gateway can start: a port, a file, a server."""
