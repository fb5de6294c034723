"""Frozen records in SI units with the unit in the name, valid once built.

A constructor raises ValueError rather than hold a latitude of 91. A value that the device did
not state is None, never 0. All coordinates are WGS-84, all times UTC and aware.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

Scalar = bool | int | float | str

NOTHING: Mapping[str, Scalar] = MappingProxyType({})
_ZERO = timedelta(0)


class Alarm(StrEnum):
    """What a device raised an alarm about."""

    SOS = "sos"
    GENERAL = "general"
    OVERSPEED = "overspeed"
    VIBRATION = "vibration"
    MOVEMENT = "movement"
    TOW = "tow"
    COLLISION = "collision"
    FALL = "fall"
    HARSH_ACCELERATION = "harsh_acceleration"
    HARSH_BRAKING = "harsh_braking"
    HARSH_CORNERING = "harsh_cornering"
    GEOFENCE = "geofence"
    GEOFENCE_ENTER = "geofence_enter"
    GEOFENCE_EXIT = "geofence_exit"
    POWER_CUT = "power_cut"
    POWER_ON = "power_on"
    POWER_OFF = "power_off"
    POWER_RESTORED = "power_restored"
    LOW_BATTERY = "low_battery"
    LOW_EXTERNAL = "low_external"
    REMOVED = "removed"
    TAMPER = "tamper"
    DOOR = "door"
    IGNITION_ON = "ignition_on"
    IGNITION_OFF = "ignition_off"
    ILLEGAL_IGNITION = "illegal_ignition"
    GNSS_LOST = "gnss_lost"
    GNSS_FOUND = "gnss_found"
    GNSS_ANTENNA = "gnss_antenna"
    JAMMING = "jamming"
    FALSE_BASE_STATION = "false_base_station"
    SIM_CHANGED = "sim_changed"
    AIRPLANE_MODE = "airplane_mode"
    SLEEP = "sleep"
    IDLE = "idle"
    TEMPERATURE = "temperature"
    HUMIDITY = "humidity"
    FUEL_LEAK = "fuel_leak"
    FATIGUE = "fatigue"
    VOICE = "voice"
    FAULT = "fault"


class FixSource(StrEnum):
    """What the position was made from."""

    GNSS = "gnss"
    WIFI = "wifi"
    CELL = "cell"
    FUSED = "fused"  # a phone's location service, which does not say
    ESTIMATED = "estimated"  # dead reckoning
    SIMULATED = "simulated"  # the receiver says so itself
    MANUAL = "manual"


class TimeSource(StrEnum):
    """Where `Fix.time` comes from."""

    DEVICE = "device"
    DATE_ASSUMED = (
        "date_assumed"  # the device gave a time of day; the date is the nearest to arrival
    )
    RECEIVED = "received"  # the device gave no time


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    protocol: str
    ident: str  # as the device states it: IMEI, terminal number, MQTT user

    def __post_init__(self) -> None:
        if not 0 < len(self.ident) <= 64 or not self.ident.isprintable():
            raise ValueError(f"not a device's identity: {self.ident!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a mobile network that the device heard."""

    mcc: int
    mnc: int
    lac: int  # location or tracking area
    cid: int
    rssi_dbm: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.mcc <= 999 and 0 <= self.mnc <= 999 and self.lac >= 0 and self.cid >= 0):
            raise ValueError(f"no such cell: {self.mcc}/{self.mnc}/{self.lac}/{self.cid}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WifiAp:
    """One Wi-Fi access point that the device heard."""

    mac: str  # aa:bb:cc:dd:ee:ff, lower case
    rssi_dbm: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Satellite:
    """One satellite's signal, as the receiver sees it."""

    system: str  # RINEX letter: G GPS, R GLONASS, E Galileo, C BeiDou, J QZSS, I NavIC, S SBAS
    svid: int  # number within the system
    signal: str  # NMEA 4.11 signal id, "" when not stated
    elevation_deg: float | None = None
    azimuth_deg: float | None = None
    cn0_dbhz: float | None = None
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One position, as the device reported it (WGS-84)."""

    time: datetime  # UTC, of the fix itself, not of its arrival
    valid: bool  # the receiver's own verdict; False also for a last known position
    latitude_deg: float  # north positive
    longitude_deg: float  # east positive
    altitude_m: float | None = None  # above mean sea level
    speed_mps: float | None = None
    course_deg: float | None = None  # clockwise from north, 0 <= course < 360
    accuracy_m: float | None = None  # radius, as the device estimates it
    hdop: float | None = None
    satellites: int | None = None  # used in the fix
    source: FixSource = FixSource.GNSS
    time_source: TimeSource = TimeSource.DEVICE
    mock: bool | None = None  # the platform says that the position was injected
    telemetry: Mapping[str, Scalar] = field(default_factory=lambda: NOTHING)  # model.telemetry
    cells: tuple[Cell, ...] = ()
    wifi: tuple[WifiAp, ...] = ()
    sky: tuple[Satellite, ...] = ()

    def __post_init__(self) -> None:
        if self.time.tzinfo is not UTC and self.time.utcoffset() != _ZERO:
            raise ValueError(f"fix time is not UTC: {self.time}")
        if not (-90 <= self.latitude_deg <= 90 and -180 <= self.longitude_deg <= 180):
            raise ValueError(f"no such place: {self.latitude_deg}, {self.longitude_deg}")
        if self.speed_mps is not None and not 0 <= self.speed_mps < 1e5:
            raise ValueError(f"no such speed: {self.speed_mps}")
        if self.course_deg is not None and not 0 <= self.course_deg < 360:
            raise ValueError(f"course out of range: {self.course_deg}")
        if self.altitude_m is not None and not -1e6 < self.altitude_m < 1e8:
            raise ValueError(f"no such altitude: {self.altitude_m}")
        if self.accuracy_m is not None and not 0 <= self.accuracy_m < 1e9:
            raise ValueError(f"no such accuracy: {self.accuracy_m}")
        if self.hdop is not None and not 0 <= self.hdop < 1e6:
            raise ValueError(f"no such HDOP: {self.hdop}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What one frame said. Not to be subclassed elsewhere: consumers match on the kinds below."""

    raw: bytes  # the whole frame, kept so that a better decoder can read it again
    device: DeviceIdentity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login(Event):
    """The device introduced itself; its identity holds for the rest of the link."""

    telemetry: Mapping[str, Scalar] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Event):
    """The device lives, and perhaps says how it feels."""

    telemetry: Mapping[str, Scalar] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Event):
    """At least one position."""

    fixes: tuple[Fix, ...]
    alarms: frozenset[Alarm] = frozenset()

    def __post_init__(self) -> None:
        if not self.fixes:
            raise ValueError("a report without a fix is a Status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Event):
    """Something other than a position: cells, Wi-Fi, battery, a region entered, an alarm."""

    time: datetime | None = None  # UTC, when the device states one
    alarms: frozenset[Alarm] = frozenset()
    telemetry: Mapping[str, Scalar] = field(default_factory=lambda: NOTHING)
    cells: tuple[Cell, ...] = ()
    wifi: tuple[WifiAp, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult(Event):
    """The device's answer to a command."""

    text: str
    token: str | None = None  # what ties the answer to the command, where the protocol has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Event):
    """A whole frame we cannot read. Stored and counted; never an exception."""

    reason: str
