"""Links that cannot be answered: what they bring is on disk first, and then in the database.

    session -> put -> (one append, one fdatasync a turn of the loop) -> spool
    spool -> run -> writer -> (durable) -> release

What finds the spool or its disk full waits in memory, as much as is bearable, and goes into the
database from there.

A record is the event as JSON with all that was known around it, so that the process that
commits it may be another than the one that read it.
"""

import asyncio
import json
import logging
from collections import deque
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.directory import Directory
from gateway.link import Done
from model import Event
from model.codec import from_json, stamp, to_json
from model.device import Contact, Durability, Entry, IdentityStrength
from storage.spool import Spool, SpoolBroken, SpoolFull
from storage.store import QuarantineFull, StorageUnavailable
from storage.writer import Writer

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
MAX_HELD = 10_000  # records in memory while the disk is full
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0


class SpoolDesk:
    """The way into the spool and the way out of it."""

    def __init__(self, spool: Spool, writer: Writer, directory: Directory) -> None:
        self.spool = spool
        self.lost = 0  # events for which there was no room at all: said loudly, counted, gone
        self._held: deque[tuple[bytes, tuple[Done, ...]]] = deque()
        self._writer = writer
        self._directory = directory
        self._pending: list[tuple[bytes, tuple[Done, ...]]] = []
        self._arrived = asyncio.Event()
        self._failure: OSError | SpoolBroken | None = None
        self._failed = asyncio.Event()

    @property
    def held(self) -> int:
        """How many events are neither on disk nor in the database: a kill would lose them."""
        return len(self._held)

    def put(
        self,
        event: Event,
        received_at: datetime,
        contact: Contact,
        decoder: str,
        dones: tuple[Done, ...] = (),
    ) -> None:
        """Keep one event; it is on disk before the loop turns to anything new.

        `dones` are called once it is safe there; without room, once the database has it.
        """
        record = {
            "event": to_json(event),
            "contact": contact_to_json(contact),
            "received_at": stamp(received_at),
            "decoder": decoder,
        }
        self._pending.append((json.dumps(record, separators=(",", ":")).encode(), dones))
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        pending, self._pending = self._pending, []
        try:
            self.spool.append([payload for payload, _ in pending])
            self.spool.sync()
        except SpoolFull as error:
            self._hold(pending, error)
        except (OSError, SpoolBroken) as error:
            self._failure = error
            self._failed.set()
        else:
            for _, dones in pending:
                for done in dones:
                    done()
        self._arrived.set()

    def _hold(self, pending: list[tuple[bytes, tuple[Done, ...]]], why: SpoolFull) -> None:
        room = MAX_HELD - len(self._held)
        self._held += pending[:room]
        self.lost += len(pending[room:])
        log.error("spool: %s; %d events held in memory, %d lost", why, self.held, self.lost)

    async def run(self) -> None:
        """Carry the spool into the database until cancelled.

        Raises SpoolBroken or OSError when the disk fails: what is safe is then unknown, and
        only a new start reads it.
        """
        carrying = asyncio.ensure_future(self._carry())
        failing = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait([carrying, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            carrying.cancel()
            failing.cancel()
            await asyncio.wait([carrying, failing])
        if self._failure is not None:
            raise self._failure
        carrying.result()

    async def _carry(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            self._arrived.clear()
            records, cursor = self.spool.read(READ_BYTES)
            held = len(self._held)
            if not records and not held:
                await self._arrived.wait()
                continue
            waiting = [*records, *(record for record, _ in self._held)]
            try:
                durable = await self._commit([json.loads(record) for record in waiting])
            except StorageUnavailable as error:
                log.info("spool waits for the database: %s", error)
                durable = False
            if durable:
                if records:
                    self.spool.release(cursor)
                for _ in range(held):
                    for done in self._held.popleft()[1]:
                        done()
                retry_s = FIRST_RETRY_S
            else:
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _commit(self, records: list[dict[str, Any]]) -> bool:
        """True when all of them are durable."""
        entries = [await self._entry(record) for record in records]
        last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        verdicts: list[bool] = []

        def settled(durable: bool) -> None:
            verdicts.append(durable)
            if len(verdicts) == len(entries) and not last.done():
                last.set_result(None)

        for entry in entries:
            self._writer.submit(entry, settled)
        await last
        return all(verdicts)

    async def _entry(self, record: dict[str, Any]) -> Entry:
        event = from_json(record["event"])
        contact = contact_from_json(record["contact"])
        device = None
        if event.device is not None:
            device = self._directory.get(event.device)
            if device is None:
                try:
                    device = await self._directory.admit(event.device, "")
                except QuarantineFull as error:
                    # Its frame is archived; waiting would stop every other device's records.
                    log.info("spool: %s", error)
        return Entry(
            event=event,
            device=device,
            contact=contact,
            received_at=datetime.fromisoformat(record["received_at"]),
            durability=Durability.SPOOL,
            decoder=record["decoder"],
        )


def contact_to_json(contact: Contact) -> dict[str, str]:
    return {
        "id": contact.id.hex,
        "source": contact.source,
        "transport": contact.transport,
        "peer": contact.peer,
        "opened_at": stamp(contact.opened_at),
        "strength": contact.strength,
    }


def contact_from_json(data: dict[str, str]) -> Contact:
    return Contact(
        id=UUID(data["id"]),
        source=data["source"],
        transport=data["transport"],
        peer=data["peer"],
        opened_at=datetime.fromisoformat(data["opened_at"]),
        strength=IdentityStrength(data["strength"]),
    )
