"""The spool gives back what was made safe, in order, whatever the disk did meanwhile."""

import errno
import struct
import zlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.spool import FileDisk, Spool, SpoolBroken, SpoolFull
from tests.simulation.disk import Platter, SimDisk
from tests.simulation.faults import Faults


class Refusing(SimDisk):
    """A disk whose next operations fail as told, and only those."""

    def __init__(self, platter: Platter):
        super().__init__(platter, Faults(0, lambda: 0.0, frozenset()))
        self.refuse: dict[str, int] = {}

    def _maybe(self, operation: str):
        if (number := self.refuse.pop(operation, None)) is not None:
            raise OSError(number, operation)

    def append(self, name: str, data: bytes):
        if "append" in self.refuse:
            self._file(name).data += data[: len(data) // 2]
        self._maybe("append")
        super().append(name, data)

    def sync(self, name: str):
        if "sync" in self.refuse:
            file = self._file(name)
            file.holes.append((file.synced, len(file.data)))
            file.synced = len(file.data)
        self._maybe("sync")
        super().sync(name)

    def replace(self, name: str, data: bytes):
        self._maybe("replace")
        super().replace(name, data)


def drain(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while True:
        records, cursor = spool.read()
        if not records:
            return found
        found += records
        spool.release(cursor)


@pytest.fixture
def disk():
    return Refusing(Platter())


# on a real folder


def test_records_come_back_in_order_from_real_files(tmp_path):
    disk = FileDisk(tmp_path / "spool")
    spool = Spool(disk, segment_bytes=100)
    records = [b"%d" % n * (n % 40 + 1) for n in range(60)]
    for record in records:
        spool.append([record])
        spool.sync()
    disk.close()
    disk = FileDisk(tmp_path / "spool")
    again = Spool(disk, segment_bytes=100)
    assert drain(again) == records
    assert again.backlog_bytes == 0
    disk.close()


def test_released_segments_are_removed_and_the_rest_stays(tmp_path):
    disk = FileDisk(tmp_path)
    spool = Spool(disk, segment_bytes=50)
    for _ in range(20):
        spool.append([b"x" * 30])
        spool.sync()
    segments = len([name for name in disk.names() if name.endswith(".spool")])
    drain(spool)
    assert len([name for name in disk.names() if name.endswith(".spool")]) == 1 < segments
    disk.close()


def test_files_are_for_their_owner_only(tmp_path):
    disk = FileDisk(tmp_path / "spool")
    spool = Spool(disk)
    spool.append([b"where somebody was"])
    spool.sync()
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "spool").glob("*.spool"):
        assert path.stat().st_mode & 0o077 == 0
    disk.close()


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_torn_last_record_is_cut_off(tmp_path, cut):
    disk = FileDisk(tmp_path)
    spool = Spool(disk)
    spool.append([b"first", b"second record"])
    spool.sync()
    disk.close()
    (path,) = tmp_path.glob("*.spool")
    path.write_bytes(path.read_bytes()[:-cut])
    disk = FileDisk(tmp_path)
    spool = Spool(disk)
    assert drain(spool) == [b"first"]
    spool.append([b"third"])
    spool.sync()
    assert drain(spool) == [b"third"]
    disk.close()


def test_a_restart_reads_on_from_what_was_released(disk):
    spool = Spool(disk, segment_bytes=40)
    for n in range(6):
        spool.append([b"record %d" % n])
        spool.sync()
    records, cursor = spool.read(40)
    spool.release(cursor)
    assert records[0] == b"record 0"
    rest = [b"record %d" % n for n in range(len(records), 6)]
    assert drain(Spool(disk, segment_bytes=40)) == rest
    assert drain(Spool(disk, segment_bytes=40)) == []


def test_a_cursor_from_before_the_oldest_segment_starts_there(disk):
    spool = Spool(disk, segment_bytes=40)
    for n in range(6):
        spool.append([b"record %d" % n])
        spool.sync()
    names = [name for name in disk.names() if name.endswith(".spool")]
    disk.remove(names[0])
    disk.replace("cursor", b"%d 1\n" % int(names[0].removesuffix(".spool")))
    again = Spool(disk, segment_bytes=40)
    waiting = sum(disk.size(name) for name in names[1:])
    assert again.backlog_bytes == waiting
    assert drain(again)[-1] == b"record 5"


def test_what_waits_is_counted_without_a_torn_tail(disk):
    spool = Spool(disk)
    spool.append([b"good"])
    spool.sync()
    whole = spool.backlog_bytes
    (name,) = disk.names()
    disk.append(name, b"torn")
    assert Spool(disk).backlog_bytes == whole == 12


# on a disk that fails


def test_zeros_that_a_power_cut_leaves_are_no_record(disk):
    spool = Spool(disk)
    spool.append([b"good"])
    spool.sync()
    (name,) = disk.names()
    disk.append(name, bytes(64))
    assert drain(Spool(disk)) == [b"good"]


def test_a_damaged_record_is_not_given_out(disk):
    spool = Spool(disk)
    spool.append([b"good", b"bad", b"lost behind it"])
    spool.sync()
    (name,) = disk.names()
    data = disk._platter.files[name].data
    data[data.index(b"bad")] ^= 1
    assert drain(Spool(disk)) == [b"good"]


def test_a_record_longer_than_the_window_is_read_whole(disk):
    spool = Spool(disk)
    spool.append([b"x" * 5000, b"y"])
    records, cursor = spool.read(100)
    assert records == [b"x" * 5000, b"y"]
    spool.release(cursor)
    assert spool.backlog_bytes == 0


def test_a_full_spool_refuses_and_takes_again_when_there_is_room(disk):
    spool = Spool(disk, max_bytes=100)
    spool.append([b"x" * 80])
    with pytest.raises(SpoolFull, match="100 bytes"):
        spool.append([b"y" * 20])
    assert drain(spool) == [b"x" * 80]
    spool.append([b"y" * 20])
    assert drain(spool) == [b"y" * 20]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_full_spool_and_leaves_no_half_record(disk, number):
    spool = Spool(disk)
    spool.append([b"before"])
    disk.refuse["append"] = number
    with pytest.raises(SpoolFull):
        spool.append([b"no room for this"])
    spool.append([b"after"])
    spool.sync()
    assert drain(spool) == [b"before", b"after"]


def test_a_disk_that_refuses_a_write_is_an_error_and_leaves_no_half_record(disk):
    spool = Spool(disk)
    disk.refuse["append"] = errno.EIO
    with pytest.raises(OSError, match="append"):
        spool.append([b"refused"])
    spool.append([b"after"])
    assert drain(spool) == [b"after"]


def test_a_failed_sync_breaks_the_spool(disk):
    spool = Spool(disk)
    spool.append([b"unsafe"])
    disk.refuse["sync"] = errno.EIO
    with pytest.raises(SpoolBroken):
        spool.sync()


def test_what_follows_a_failed_sync_survives_a_power_cut(disk):
    spool = Spool(disk)
    spool.append([b"safe"])
    spool.sync()
    spool.append([b"believed safe"])
    disk.refuse["sync"] = errno.EIO
    with pytest.raises(SpoolBroken):
        spool.sync()
    restarted = Spool(disk)
    restarted.append([b"safe too"])
    restarted.sync()
    disk._platter.power_cut(disk._faults.generator("power cut"))
    found = drain(Spool(disk))
    assert b"safe" in found
    assert b"safe too" in found


def test_a_cursor_behind_a_segment_that_a_power_cut_took_hides_nothing(disk):
    spool = Spool(disk)
    spool.append([b"never synced, read all the same after a kill"])
    restarted = Spool(disk)
    assert len(drain(restarted)) == 1
    (segment,) = (name for name in disk.names() if name.endswith(".spool"))
    disk.remove(segment)
    after = Spool(disk)
    after.append([b"new"])
    after.sync()
    assert after.backlog_bytes > 0
    assert drain(Spool(disk)) == [b"new"]


@pytest.mark.parametrize(
    "torn", [b"", b"1", b"1 ", b"1 1", b"1 12", b"junk\n", b"-1 5\n", b"1 5 \n"]
)
def test_a_torn_cursor_starts_from_the_oldest(disk, torn):
    spool = Spool(disk)
    spool.append([b"one", b"two"])
    spool.sync()
    disk.replace("cursor", torn)
    assert drain(Spool(disk)) == [b"one", b"two"]


def test_a_full_disk_does_not_stop_the_release_that_makes_room(disk):
    spool = Spool(disk, segment_bytes=40)
    for n in range(4):
        spool.append([b"record %d" % n * 4])
        spool.sync()
    segments = len(disk.names())
    for _ in range(3):
        _, cursor = spool.read()
        disk.refuse["replace"] = errno.ENOSPC
        spool.release(cursor)
    assert len(disk.names()) < segments
    assert drain(Spool(disk, segment_bytes=40))[-1] == b"record 3" * 4


def test_the_format_is_the_one_that_is_written_down(disk):
    spool = Spool(disk)
    spool.append([b"payload"])
    (name,) = disk.names()
    length, checksum = struct.unpack("<II", disk.read(name, 0, 8))
    assert disk.read(name, 8, 99) == b"payload"
    assert length == 7
    assert checksum == zlib.crc32(b"payload", 0x7472756C)


class FailsOnce(SimDisk):
    """The n-th operation fails, reading excepted."""

    def __init__(self, platter: Platter, at: int, number: int):
        super().__init__(platter, Faults(0, lambda: 0.0, frozenset()))
        self.left, self._number = at, number

    def _step(self):
        self.left -= 1
        if self.left == 0:
            raise OSError(self._number, "this once")

    def append(self, name: str, data: bytes):
        self._step()
        super().append(name, data)

    def sync(self, name: str):
        self._step()
        super().sync(name)

    def truncate(self, name: str, length: int):
        self._step()
        super().truncate(name, length)

    def replace(self, name: str, data: bytes):
        self._step()
        super().replace(name, data)

    def remove(self, name: str):
        self._step()
        super().remove(name)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EINTR])
def test_whichever_operation_fails_nothing_safe_is_lost(number):
    at, failed = 0, True
    while failed:
        at, failed = at + 1, False
        platter, safe, found = Platter(), set(), set()
        disk = FailsOnce(platter, at, number)
        spool = Spool(disk, segment_bytes=60)
        for n in range(12):
            record = b"record %d" % n
            try:
                spool.append([record])
                spool.sync()
                safe.add(record)
                if n % 3 == 2:
                    records, cursor = spool.read(40)
                    found |= set(records)
                    spool.release(cursor)
            except (OSError, SpoolBroken, SpoolFull):
                disk = FailsOnce(platter, 0, number)
                spool = Spool(disk, segment_bytes=60)
                failed = True
        failed |= disk.left <= 0
        found |= set(drain(Spool(Refusing(platter), segment_bytes=60)))
        assert safe <= found
    assert at > 25  # so many operations there were


class SpoolMachine(RuleBasedStateMachine):
    """What was made safe and not released is always there, in order, after any ending.

    More may come back than is owed (released again after a lost cursor, safe by luck), never
    less, and nothing that was not put in.
    """

    @initialize(segment_bytes=st.sampled_from([1, 60, 1 << 20]), seed=st.integers(0, 1 << 16))
    def begin(self, segment_bytes, seed):
        self.platter = Platter()
        self.chance = Faults(seed, lambda: 0.0, frozenset()).generator("machine")
        self.segment_bytes = segment_bytes
        self.number = 0
        self.put: list[int] = []  # every number that may ever come back
        self.unsafe: list[int] = []
        self.owed: list[int] = []  # safe and not released
        self.window: tuple[list[int], tuple[int, int]] | None = None
        self.open()

    def open(self):
        self.disk = Refusing(self.platter)
        self.spool = Spool(self.disk, segment_bytes=self.segment_bytes)
        self.window = None
        self.unsafe = []

    @rule(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=4))
    def append(self, sizes):
        records = []
        for size in sizes:
            self.number += 1
            records.append(b"%d " % self.number + b"x" * size)
            self.put.append(self.number)
            self.unsafe.append(self.number)
        self.spool.append(records)

    @rule(number=st.sampled_from([errno.ENOSPC, errno.EIO]))
    def append_is_refused(self, number):
        self.disk.refuse["append"] = number
        with pytest.raises((SpoolFull, OSError)):
            self.spool.append([b"0 refused"])

    @rule()
    def sync(self):
        self.spool.sync()
        self.owed += self.unsafe
        self.unsafe = []

    @rule()
    def sync_fails(self):
        if not self.spool._dirty:
            return
        self.disk.refuse["sync"] = errno.EIO
        with pytest.raises(SpoolBroken):
            self.spool.sync()
        self.open()  # nothing may go on with it

    @rule(size=st.sampled_from([10, 200, 1 << 20]))
    def read(self, size):
        records, cursor = self.spool.read(size)
        numbers = [int(record.split()[0]) for record in records]
        assert set(numbers) <= set(self.put)
        assert numbers == sorted(numbers)
        self.window = (numbers, cursor) if numbers else None

    @rule()
    def release(self):
        if self.window is None:
            return
        numbers, cursor = self.window
        assert not [n for n in self.owed if n < numbers[0]], "something safe was passed over"
        self.spool.release(cursor)
        self.owed = [number for number in self.owed if number > numbers[-1]]
        self.unsafe = [number for number in self.unsafe if number > numbers[-1]]
        self.window = None

    @rule()
    def kill(self):
        self.open()

    @rule()
    def power_cut(self):
        self.platter.power_cut(self.chance)
        self.open()

    @invariant()
    def nothing_owed_is_missing(self):
        if not hasattr(self, "spool"):
            return
        # A look with a second process's eyes, at a copy of the disk.
        copy = Platter()
        for name, file in self.platter.files.items():
            copy.files[name] = type(file)(data=bytearray(file.data), synced=len(file.data))
        found = [int(r.split()[0]) for r in drain(Spool(Refusing(copy)))]
        assert set(self.owed) <= set(found)
        assert 0 not in found
        assert found == sorted(found)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
