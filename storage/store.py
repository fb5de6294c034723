"""What the gateway asks of a database, and the errors that say who must act."""

from collections.abc import Sequence
from typing import Protocol

from model.device import Device, DevicePolicy, Item
from model.records import DeviceIdentity


class StorageUnavailable(Exception):
    """The database did not confirm: the work may or may not be in it. Try again later."""


class QuarantineFull(Exception):
    """No place for one more unknown identity; an operator or retention must make room."""


class Store(Protocol):
    """Two stand behind this: `storage.postgres.PostgresStore` and `storage.model_store.ModelStore`.

    One state machine of the tests holds both to the same behaviour.
    """

    async def commit(self, items: Sequence[Item]) -> None:
        """Make all items durable in one transaction, or raise StorageUnavailable.

        It may be called again before it has returned; calls are served in their order.

        After the error it is unknown whether they are stored; committing them again changes
        nothing, since a fix is unique on (device, time, digest of its content).
        """

    async def devices(self) -> list[Device]:
        """The whole register, retired and quarantined devices included."""

    async def admit(self, identity: DeviceIdentity, policy: DevicePolicy) -> Device:
        """The device of this identity; a new row, active or quarantined by `policy`, if none.

        Raises StorageUnavailable, QuarantineFull.
        """

    async def close(self) -> None:
        """Give back connections. Nothing committed depends on it."""
