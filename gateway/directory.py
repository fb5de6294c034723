"""Who is who: the register in memory, the policy for strangers, and the slowing down of guessers."""

import asyncio
import logging
from collections import OrderedDict

from model import DeviceIdentity
from model.device import Device, DevicePolicy, DeviceState
from protocols.base import Checksum, Datum, DeviceProfile, SpeedUnit
from storage.store import Store

log = logging.getLogger(__name__)

_DEFAULT = DeviceProfile()
_MAX_NETWORKS = 10_000


def profile_from(settings: dict[str, str], default: DeviceProfile = _DEFAULT) -> DeviceProfile:
    """A DeviceProfile from a device's settings. Raises ValueError naming a value that is none."""
    return DeviceProfile(
        model=settings.get("model", default.model),
        datum=Datum(settings.get("datum", default.datum)),
        checksum=Checksum(settings.get("checksum", default.checksum)),
        speed_unit=SpeedUnit(settings.get("speed_unit", default.speed_unit)),
        secret=settings.get("secret", default.secret),
    )


def _named(identity: DeviceIdentity) -> tuple[str, str]:
    return identity.protocol, identity.ident


class Directory:
    """The devices of the register, looked up without waiting; strangers are admitted by policy.

    An address that names more than `guesses_per_hour` strangers waits longer with each, which
    costs an honest device nothing: its identity is found in memory.
    """

    def __init__(self, store: Store, *, policy: DevicePolicy, guesses_per_hour: int = 20) -> None:
        self._store = store
        self._policy = policy
        self._guesses_per_hour = guesses_per_hour
        self._devices: dict[DeviceIdentity, Device] = {}
        self._fresh: dict[DeviceIdentity, Device] = {}  # a reading under way may not know them
        self._profiles: dict[tuple[str, str], DeviceProfile] = {}
        self._admitting: dict[DeviceIdentity, asyncio.Task[Device]] = {}
        self._guesses: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._devices)

    async def refresh(self) -> None:
        """Read the register anew. Raises StorageUnavailable."""
        self._fresh = {}
        devices = {device.identity: device for device in await self._store.devices()}
        profiles = {}
        for identity, device in devices.items():
            if device.settings:
                try:
                    profile = profile_from(dict(device.settings))
                except ValueError as error:  # one row's fault must not cost the others
                    log.warning("settings of %s %s: %s", *_named(identity), error)
                    continue
                profiles[_named(identity)] = profile
        self._profiles = profiles
        self._devices = {**self._fresh, **devices}

    def get(self, identity: DeviceIdentity) -> Device | None:
        """The device, if the register is known to hold it."""
        return self._devices.get(identity)

    @property
    def profiled(self) -> bool:
        """Whether any device has settings of its own."""
        return bool(self._profiles)

    def profile(self, protocol: str, ident: str, default: DeviceProfile) -> DeviceProfile:
        return self._profiles.get((protocol, ident), default) if self._profiles else default

    async def admit(self, identity: DeviceIdentity, network: str) -> Device:
        """The device of an identity that `get` does not know.

        Raises StorageUnavailable, QuarantineFull.
        """
        if wait := self._penalty(network):
            await asyncio.sleep(wait)
        task = self._admitting.get(identity)
        if task is None:
            task = asyncio.ensure_future(self._store.admit(identity, self._policy))
            self._admitting[identity] = task
            task.add_done_callback(lambda _: self._admitting.pop(identity, None))
        device = await asyncio.shield(task)
        self._devices[identity] = self._fresh[identity] = device
        if device.state is DeviceState.QUARANTINED:
            self._count_guess(network)
        return device

    def _penalty(self, network: str) -> float:
        begun, guesses = self._guesses.get(network, (0.0, 0))
        if asyncio.get_running_loop().time() - begun > 3600:
            return 0.0
        excess = guesses - self._guesses_per_hour
        return 0.0 if excess < 0 else min(60.0, 0.5 * 2.0 ** min(excess, 7))

    def _count_guess(self, network: str) -> None:
        if not network:
            return
        now = asyncio.get_running_loop().time()
        begun, guesses = self._guesses.pop(network, (now, 0))
        if now - begun > 3600:
            begun, guesses = now, 0
        self._guesses[network] = (begun, guesses + 1)
        while len(self._guesses) > _MAX_NETWORKS:
            self._guesses.popitem(last=False)
