"""What must be true when a run is over, read from the database and from what the devices know."""

from model import Report
from storage.digest import fix_digest
from tests.simulation.world import History, World


def play(seed: int, *, only: frozenset[str] | None = None) -> History:
    """Run one seed and judge it."""
    world = World(seed, only=only)
    history = world.run()
    _judge(world)
    return history


def _judge(world: World) -> None:
    model, stored = world.model, world.model.places
    kept = stored.keys() | model.set_apart()
    sent = {(ident, place) for (ident, _), places in world.reports.items() for place in places}
    for ident, number in world.promises:
        for place in world.reports[ident, number]:
            if (ident, place) not in kept:
                world.problem(f"acknowledged and not stored: {ident} {number} {place}", "lost")
    for device in world.devices:
        for (ident, number), places in world.reports.items():
            if ident != device.ident or device.dialect.deaf or number in device.flash:
                continue
            if any((ident, place) not in kept for place in places):
                world.problem(f"let go by the device and not stored: {ident} {number}", "lost")
    for what in sorted(kept - sent):
        world.problem(f"stored and never sent: {what}", "invented")
    for what, count in stored.items():
        if count > 1:
            world.problem(f"stored {count} times: {what}", "doubled")
    for key, count in model.inserts.items():
        if count > 1:
            world.problem(f"inserted {count} times: {key}", "doubled")
    _judge_traces(world)
    _judge_contacts(world)
    _judge_spool(world)


def _judge_traces(world: World) -> None:
    """Every fix can be traced to its frame, and its day will be analysed."""
    archived = set()
    for entry in world.model.frames:
        if entry.device is None or not isinstance(entry.event, Report):
            continue
        if entry.event.raw.strip(b"\r\n") not in world.frames:
            world.problem(
                f"a report from a frame that nobody sent: {entry.event.raw!r}", "invented"
            )
        for fix in entry.event.fixes:
            archived.add((entry.device.id, fix.time, fix_digest(fix)))
    for key in world.model.positions:
        if key not in archived:
            world.problem(f"no frame in the archive: {key}", "no frame")
        if (key[0], key[1].date()) not in world.model.dirty:
            world.problem(f"its day is not marked: {key}", "no day")


def _judge_spool(world: World) -> None:
    kept = world.model.places.keys() | world.model.set_apart()
    for raw in sorted(world.spooled & world.frames.keys()):
        ident, number = world.frames[raw]
        for place in world.reports[ident, number]:
            if (ident, place) not in kept:
                world.problem(f"safe in the spool and not stored: {ident} {number}", "lost")


def _judge_contacts(world: World) -> None:
    """A process that drained has told how each of its contacts ended."""
    contacts = world.process.contacts if world.process else set()
    for entry in world.model.frames:
        contact = entry.contact.id
        if contact in contacts and contact not in world.model.closed:
            world.problem(f"no end of contact {contact} of {entry.contact.peer}", "no end")
            contacts.discard(contact)
