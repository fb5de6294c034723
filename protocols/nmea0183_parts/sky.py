"""The satellites that NMEA 0183 sentences speak of: one numbering, whatever the receiver's.

    $GPGSV,3,1,11,03,03,111,00,04,15,270,00,06,01,010,00,13,06,292,00*74
           | | |  | id, elevation, azimuth, C/N0; up to four times; perhaps a signal id
           parts, part, in view
    $GNGSA,A,3,10,07,05,02,29,04,08,13,,,,,1.72,1.03,1.38,1*01       ids used, DOPs, system id

[0183]  NMEA 0183 4.11, GSA and GSV with their tables of ids
[mvg]   mvglasow/satstat wiki, "NMEA IDs": the ranges that makers use in the field

An id means what the talker (or GSA's system id) says; ids above 100 and those of a receiver that
speaks of all systems as one (`GN` without a system id, old `GP`) are told apart by their range.
"""

from functools import lru_cache

from model import Satellite

Key = tuple[str, int]  # system, number within it
Values = tuple[int | float | str | None, ...]

TALKERS = {
    "GP": "G", "GL": "R", "GA": "E", "GB": "C", "BD": "C", "GQ": "J", "QZ": "J", "GI": "I",
    "PQ": "C",  # SPEC-GAP: Quectel's $PQGSV
}  # fmt: skip
SYSTEM_IDS = {"1": "G", "2": "R", "3": "E", "4": "C", "5": "J", "6": "I"}  # [0183] table of GSA

# First and last id, system, what to take away for the number within it.
OWN_RANGES = {
    "G": ((1, 32, "G", 0), (33, 64, "S", -87), (65, 96, "R", 64)),
    "R": ((1, 32, "R", 0), (33, 64, "S", -87), (65, 96, "R", 64)),
    "E": ((1, 36, "E", 0), (101, 136, "E", 100)),  # SPEC-GAP: 101-136 are Quectel's
    "C": ((1, 64, "C", 0), (201, 264, "C", 200)),  # SPEC-GAP: the second of several makers
    "J": ((1, 10, "J", 0),),
    "I": ((1, 15, "I", 0),),
}
COMMON_RANGES = (
    (101, 119, "E", 100),  # SPEC-GAP: Quectel's Galileo, where it is not taken for SBAS
    (120, 158, "S", 0),  # by PRN
    (193, 202, "J", 192),
    (201, 264, "C", 200),  # SPEC-GAP: several makers' BeiDou
    (301, 336, "E", 300),
    (401, 464, "C", 400),
    (500, 514, "I", 499),  # SPEC-GAP
)
MAX_GROUPS = 64  # talkers times signals; more is noise
MAX_PARTS = 16
KEPT_EPOCHS = 10  # a group that was not repeated for so long is no longer in view


@lru_cache(maxsize=4096)
def identify(home: str, number: int) -> Key | None:
    """The system and number of id `number`, said where `home` is spoken of ("" for all)."""
    for first, last, system, less in (*OWN_RANGES.get(home or "G", ()), *COMMON_RANGES):
        if first <= number <= last:
            return system, number - less
    return None


class Sky:
    """What is in view and what is used, kept over the epochs since not every epoch says it."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], tuple[int, list[Values]]] = {}
        self._used: set[Key] = set()
        self._used_in = -1
        self._epoch = 0

    def next_epoch(self) -> None:
        self._epoch += 1

    def in_view(self, talker: str, values: Values) -> None:
        """A GSV sentence. One group is all parts of one talker and one signal."""
        part = values[1]
        signal = str(values[-1] or "") if len(values) % 4 == 0 else ""
        group = (talker, signal)
        if part == 1 or group not in self._groups:
            if len(self._groups) >= MAX_GROUPS:
                self._forget()
            self._groups[group] = (self._epoch, [values])
        else:
            _, parts = self._groups[group]
            if len(parts) < MAX_PARTS:
                parts.append(values)

    def _forget(self) -> None:
        since = self._epoch - KEPT_EPOCHS
        fresh = {group: told for group, told in self._groups.items() if told[0] >= since}
        self._groups = fresh if len(fresh) < MAX_GROUPS else {}

    def uses(self, talker: str, values: Values) -> None:
        """A GSA sentence: one for each system, or one for all."""
        if self._used_in != self._epoch:
            self._used_in = self._epoch
            self._used = set()
        home = SYSTEM_IDS.get(str(values[17]), "") or TALKERS.get(talker, "")
        for number in values[2:14]:
            if isinstance(number, int) and (key := identify(home, number)):
                self._used.add(key)

    def used(self) -> int | None:
        """How many satellites this epoch's GSA sentences named; None without any."""
        return len(self._used) if self._used_in == self._epoch and self._used else None

    def now(self) -> tuple[Satellite, ...]:
        """What this epoch itself said of the sky."""
        return self._satellites(age=0)

    def latest(self) -> tuple[Satellite, ...]:
        """What is known of the sky."""
        return self._satellites(age=KEPT_EPOCHS)

    def _satellites(self, age: int) -> tuple[Satellite, ...]:
        since = self._epoch - age
        seen: dict[tuple[str, int, str], Satellite] = {}
        for (talker, signal), (epoch, parts) in self._groups.items():
            if epoch < since:
                continue
            home = TALKERS.get(talker, "")
            for values in parts:
                for at in range(3, len(values) - 3, 4):
                    number = values[at]
                    if isinstance(number, int) and (key := identify(home, number)):
                        seen[(*key, signal)] = _satellite(
                            key, signal, values[at + 1 : at + 4], key in self._used
                        )
        return tuple(seen.values())


@lru_cache(maxsize=4096)  # records are immutable, and little changes from epoch to epoch
def _satellite(key: Key, signal: str, measured: Values, used: bool) -> Satellite:
    elevation, azimuth, cn0 = measured
    return Satellite(
        system=key[0],
        svid=key[1],
        signal=signal,
        elevation_deg=_within(elevation, -90, 90),
        azimuth_deg=_within(azimuth, 0, 360),
        cn0_dbhz=_within(cn0, 0, 99),
        used=used,
    )


def _within(value: float | str | None, low: float, high: float) -> float | None:
    if isinstance(value, int | float) and low <= value <= high:
        return float(value)
    return None
