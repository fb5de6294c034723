"""Frames put into a database as the gateway would."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

import protocols
from model import Event
from model.device import Contact, DevicePolicy, Entry
from storage.postgres import PostgresStore
from tests.protocols.driver import NOW


def store(
    url: str,
    events: Iterable[Event],
    *,
    policy: DevicePolicy = DevicePolicy.REGISTER,
    received_at: datetime = NOW,
    decoder: str = "toy/0",
) -> None:
    """Commit `events`, all of one contact."""

    async def commit() -> None:
        database = PostgresStore(url)
        contact = Contact(
            id=uuid4(),
            source="trackers",
            transport="tcp",
            peer="192.0.2.1:7",
            opened_at=received_at,
        )
        try:
            entries = [
                Entry(
                    event=event,
                    device=await database.admit(event.device, policy) if event.device else None,
                    contact=contact,
                    received_at=received_at,
                    decoder=decoder,
                )
                for event in events
            ]
            await database.commit(entries)
        finally:
            await database.close()

    asyncio.run(commit())


def decoded(protocol: str, data: bytes, ident: str | None = None) -> list[Event]:
    decoder = protocols.load(protocol).Decoder(ident=ident)
    return [*decoder.feed(data, NOW), *decoder.flush(NOW)]
