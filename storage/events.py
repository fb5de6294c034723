"""What one frame says beside its fixes, as a row of `raw.device_event`."""

from dataclasses import dataclass
from datetime import datetime

from model import Report, Status
from model.codec import KINDS
from model.device import Entry
from storage.digest import event_digest
from storage.plausible import why_absurd

KIND_NAMES = {record: name for name, record in KINDS.items()}


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event is unique on device, time, kind and digest.

    `time` is what the device stated, if that is plausible, else the arrival. An event without a
    time of its own is therefore the same one only when it was received at the same instant,
    which is what a replay of the spool repeats.
    """

    entry: Entry
    frame_id: int
    kind: str
    time: datetime
    device_time: datetime | None
    digest: int

    @property
    def key(self) -> tuple[int | None, datetime, str, int]:
        device = self.entry.device
        return (None if device is None else device.id, self.time, self.kind, self.digest)


def event_row(entry: Entry, frame_id: int) -> EventRow | None:
    """The event of an entry: there is one for everything but a report without alarms."""
    event = entry.event
    kind = KIND_NAMES[type(event)]
    stated: datetime | None = None
    if isinstance(event, Report):
        if not event.alarms:
            return None
        kind, stated = "alarm", event.fixes[0].time
    elif isinstance(event, Status):
        stated = event.time
    plausible = stated is not None and why_absurd(stated, entry.received_at) is None
    return EventRow(
        entry=entry,
        frame_id=frame_id,
        kind=kind,
        time=stated if stated is not None and plausible else entry.received_at,
        device_time=stated,
        digest=event_digest(event),
    )
