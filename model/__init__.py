"""The records that cross folder borders, and the words they use."""

from model.faults import fault
from model.records import (
    Alarm,
    Cell,
    CommandResult,
    DeviceIdentity,
    Event,
    Fix,
    FixSource,
    Heartbeat,
    Login,
    Rejected,
    Report,
    Satellite,
    Scalar,
    Status,
    TimeSource,
    WifiAp,
)
from model.telemetry import VOCABULARY, Term

__all__ = [
    "VOCABULARY",
    "Alarm",
    "Cell",
    "CommandResult",
    "DeviceIdentity",
    "Event",
    "Fix",
    "FixSource",
    "Heartbeat",
    "Login",
    "Rejected",
    "Report",
    "Satellite",
    "Scalar",
    "Status",
    "Term",
    "TimeSource",
    "WifiAp",
    "fault",
]
