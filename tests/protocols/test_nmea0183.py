"""What one vector cannot show: epochs that follow each other, dates, silence, faults on the line."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from pathlib import Path
from random import Random

import pytest

from core_ext.nmea import GOOD, Scanner
from model import Event, Fix, Login, Rejected, Report, Status, TimeSource
from protocols.base import Checksum, DeviceProfile
from protocols.nmea0183 import MAX_EPOCH_BYTES, Decoder
from tests.protocols.driver import NOW, SHARED, decoder

LOGS = sorted((SHARED / "gpsd").glob("*.log"))
needs_logs = pytest.mark.skipif(not LOGS, reason=f"no captures: {SHARED / 'gpsd'} is not there")


def summed(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()


def rmc(time: str, date: str = "020126", minutes: str = "3723.2475", status: str = "A") -> bytes:
    return summed(f"GPRMC,{time},{status},{minutes},N,12158.3416,W,0.13,309.62,{date},,")


def gga(time: str, minutes: str = "3723.2475") -> bytes:
    return summed(f"GPGGA,{time},{minutes},N,12158.3416,W,1,07,1.0,9.0,M,,,,")


def receiver(**kind) -> Decoder:
    subject = decoder("nmea0183", **kind)
    assert isinstance(subject, Decoder)
    return subject


def read(*chunks: bytes, now: datetime = NOW, **kind) -> list[Event]:
    subject = receiver(**kind)
    events = [event for chunk in chunks for event in subject.feed(chunk, now)]
    return events + subject.flush(now)


def fixes(events: list[Event]) -> list[Fix]:
    return [fix for event in events if isinstance(event, Report) for fix in event.fixes]


def times(events: list[Event]) -> list[datetime]:
    return [fix.time for fix in fixes(events)]


class TestEpoch:
    def test_a_new_time_ends_it_and_a_repeated_sentence_does_not(self):
        gsa = summed("GNGSA,A,3,10,07,,,,,,,,,,,1.9,1.0,1.6,1")
        gsv = summed("GPGSV,1,1,01,10,20,100,30")
        first = gga("101500") + gsa + gsa + gsv + gsv + rmc("101500") + gga("101500")
        events = read(first + gga("101501") + rmc("101501"))
        assert [event.raw for event in events] == [first, gga("101501") + rmc("101501")]
        assert len(fixes(events)) == 2

    def test_sentences_without_a_time_join_the_one_that_is_open(self):
        vtg = summed("GPVTG,77.52,T,,M,5.000,N,9.260,K,A")
        events = read(vtg + gga("101500") + summed("PGRMZ,246,f,3") + gga("101501"))
        assert [len(event.raw.splitlines()) for event in events] == [3, 1]
        assert fixes(events)[0].course_deg == 77.52

    def test_nothing_is_told_before_it_ends(self):
        subject = receiver()
        assert subject.feed(gga("101500") + rmc("101500"), NOW) == []
        assert subject.pending
        (event,) = subject.flush(NOW)
        assert isinstance(event, Report)
        assert not subject.pending
        assert subject.flush(NOW) == []

    def test_what_comes_late_makes_no_second_fix(self):
        subject = receiver()
        subject.feed(rmc("101500"), NOW)
        assert len(fixes(subject.flush(NOW))) == 1
        subject.feed(gga("101500"), NOW)
        (late,) = subject.flush(NOW)
        assert isinstance(late, Status)
        assert late.raw == gga("101500")

    def test_a_late_position_still_counts_where_none_was_told(self):
        subject = receiver()
        subject.feed(summed("GPZDA,101500,02,01,2026,00,00"), NOW)
        assert fixes(subject.flush(NOW)) == []
        subject.feed(gga("101500"), NOW)
        assert len(fixes(subject.flush(NOW))) == 1

    def test_void_anywhere_makes_it_invalid(self):
        (fix,) = fixes(read(gga("101500") + rmc("101500", status="V")))
        assert not fix.valid

    def test_void_and_empty_is_a_status(self):
        events = read(
            summed("GPGGA,101500,,,,,0,00,99.9,,,,,,") + summed("GPRMC,101500,V,,,,,,,020126,,,N")
        )
        (status,) = events
        assert isinstance(status, Status)
        assert status.time == datetime(2026, 1, 2, 10, 15, tzinfo=UTC)

    def test_a_receiver_that_loses_its_time_does_not_spoil_the_last_epoch(self):
        events = read(gga("101500") + rmc("101500") + summed("GPGGA,,,,,,0,,,,,,,,"))
        assert [type(event) for event in events] == [Report, Status]
        assert fixes(events)[0].valid

    def test_its_size_is_bounded(self):
        subject = receiver()
        events = [e for _ in range(2000) for e in subject.feed(summed("PABCD," + "x" * 60), NOW)]
        assert events
        assert all(len(event.raw) <= MAX_EPOCH_BYTES for event in events)


class TestDate:
    def test_is_carried_over_midnight(self):
        data = rmc("235958", "311225") + gga("235959") + gga("000000") + gga("000001")
        assert times(read(data)) == [
            datetime(2025, 12, 31, 23, 59, 58, tzinfo=UTC) + timedelta(seconds=n) for n in range(4)
        ]
        assert all(fix.time_source is TimeSource.DEVICE for fix in fixes(read(data)))

    def test_is_that_of_an_epoch_whose_rmc_comes_last(self):
        data = rmc("235959", "311225") + gga("000000") + rmc("000000", "010126")
        assert times(read(data))[1] == datetime(2026, 1, 1, tzinfo=UTC)

    def test_before_the_first_one_is_the_nearest_to_the_clock(self):
        now = datetime(2026, 1, 2, 0, 0, 10, tzinfo=UTC)
        first, second = fixes(read(gga("235959") + gga("000005"), now=now))
        assert first.time == datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)
        assert second.time == datetime(2026, 1, 2, 0, 0, 5, tzinfo=UTC)
        assert {first.time_source, second.time_source} == {TimeSource.DATE_ASSUMED}

    def test_survives_a_long_pause(self):
        subject = receiver()
        subject.feed(rmc("100000"), NOW)
        subject.flush(NOW)
        later = NOW + timedelta(hours=49)
        subject.feed(gga("110000"), later)
        assert times(subject.flush(later)) == [datetime(2026, 1, 4, 11, tzinfo=UTC)]

    def test_of_a_void_sentence_counts(self):
        data = summed("GPRMC,101500,V,,,,,,,311225,,,N") + gga("101501")
        assert times(read(data)) == [datetime(2025, 12, 31, 10, 15, 1, tzinfo=UTC)]

    @pytest.mark.parametrize("date", ["", "320126", "021326", "000000", "2208-1"])
    def test_that_is_none_is_not_used(self, date):
        (fix,) = fixes(read(rmc("030000", date)))
        assert fix.time_source is TimeSource.DATE_ASSUMED


class TestSilence:
    @pytest.mark.parametrize(
        ("step_ms", "low", "high"), [(100, 0.02, 0.05), (1000, 0.2, 0.5), (10_000, 0.5, 1)]
    )
    def test_is_learnt_from_the_period(self, step_ms, low, high):
        subject = receiver()
        for n in range(5):
            at = timedelta(milliseconds=step_ms * n)
            subject.feed(gga(f"{datetime(2026, 1, 2, 10, tzinfo=UTC) + at:%H%M%S.%f}"[:10]), NOW)
        assert low <= subject.silence_s <= high

    def test_in_a_sentence_loses_nothing(self):
        data = gga("101500") + rmc("101500")
        for cut in range(1, len(data)):
            subject = receiver()
            events = subject.feed(data[:cut], NOW) + subject.flush(NOW)
            events += subject.feed(data[cut:], NOW) + subject.flush(NOW)
            assert sum(len(event.raw) for event in events) + sum(subject.dropped.values()) == len(
                data
            )
            assert not any(isinstance(event, Rejected) for event in events)
            assert len(fixes(events)) == 1


class TestChecksum:
    def test_missing_where_there_was_one_means_that_the_end_was_lost(self):
        torn = rmc("101501")[:40] + b"\r\n"
        events = read(rmc("101500") + torn)
        assert [type(event) for event in events] == [Rejected, Report]

    def test_wrong_ones_of_a_device_that_never_got_one_right(self):
        wrong = b"$GPGGA,101500,3723.2475,N,12158.3416,W,1,07,1.0,9.0,M,,,,*00\r\n"
        (fix,) = fixes(read(wrong))
        assert fix.telemetry["io_checksum"] == "wrong"
        (event,) = read(wrong, checksum=Checksum.REQUIRE)
        assert isinstance(event, Rejected)
        events = read(wrong + rmc("101501"))
        assert [type(event) for event in events] == [Rejected, Report]


class TestIdentity:
    def test_of_a_login_holds_until_the_next(self):
        data = (
            b"$PGID,359853000144328*0F\r\n"
            + rmc("101500")
            + b"IMEI 351467108700000\r\n"
            + rmc("101501")
        )
        events = read(data)
        assert [type(event) for event in events] == [Login, Report, Login, Report]
        assert [event.device.ident for event in events if event.device] == [
            "359853000144328", "359853000144328", "351467108700000", "351467108700000",
        ]  # fmt: skip

    def test_before_every_sentence(self):
        data = b"123456789" + gga("101500") + b"987654321" + gga("101500")
        assert [event.device and event.device.ident for event in read(data)] == [
            "123456789",
            "987654321",
        ]

    def test_a_bare_line_renames_no_configured_port(self):
        data = b"086415031C20\r\n" + rmc("101500")
        assert {event.device.ident for event in read(data, ident="port") if event.device} == {
            "port"
        }
        device = read(data)[1].device
        assert device is not None
        assert device.ident == "086415031C20"

    def test_is_none_without_any(self):
        assert read(rmc("101500"))[0].device is None

    def test_its_profile_holds_from_there_on(self):
        subject = Decoder(profile_of=decoder_profile)
        events = subject.feed(b"$PGID,359853000144328*0F\r\n" + rmc("101500")[:-5] + b"\r\n", NOW)
        assert [type(event) for event in events] == [Login, Rejected]


def decoder_profile(ident: str) -> DeviceProfile:
    return DeviceProfile(checksum=Checksum.REQUIRE if ident else Checksum.ACCEPT_MISSING)


def test_the_sky_is_kept_between_the_sentences_that_tell_it():
    subject = receiver()
    gsv = summed("GPGSV,1,1,02,10,20,100,30,11,30,200,")
    gsa = summed("GPGSA,A,3,10,,,,,,,,,,,,1.9,1.0,1.6")
    subject.feed(gga("101500") + gsa + gsv + gga("101501"), NOW)
    assert [(one.svid, one.cn0_dbhz, one.used) for one in subject.sky] == [
        (10, 30, True),
        (11, None, False),
    ]
    (fix,) = fixes(subject.flush(NOW))
    assert fix.sky == ()


def test_it_acknowledges_nothing():
    subject = receiver()
    assert not subject.acknowledges
    (event,) = read(rmc("101500"))
    assert subject.reply_to(event, accepted=True, now=NOW) == b""


# Faults on the line.

TRIALS = 400
SLICE = 8_000


def sentences(data: bytes) -> Counter[bytes]:
    """What a perfect reader finds: sentences whose checksum holds."""
    scanner = Scanner()
    items = scanner.feed(data) + scanner.flush()
    return Counter(item[3].rstrip(b"\r\n") for item in items if item[0] == GOOD)


def kept(data: bytes, random: Random) -> Counter[bytes]:
    """The sentences in the events that the decoder makes, fed in random chunks."""
    subject = receiver(ident="receiver")
    events: list[Event] = []
    at = 0
    while at < len(data):
        size = random.choice((1, 7, 64, 512, 4096))
        events += subject.feed(data[at : at + size], NOW)
        at += size
    events += subject.flush(NOW)
    assert sum(len(e.raw) for e in events) + sum(
        subject.dropped.values()
    ) + subject._scanner.held == len(data)
    return sum((sentences(e.raw) for e in events if not isinstance(e, Rejected)), Counter())


def slices():
    for seed in range(TRIALS):
        random = Random(seed)
        data = random.choice(LOGS).read_bytes()
        begin = data.find(b"$", random.randrange(max(1, len(data) - SLICE // 2)))
        yield random, data[max(0, begin) :][:SLICE]


def lost(clean: bytes, faulty: bytes, random: Random) -> int:
    return (sentences(clean) - kept(faulty, random)).total()


@needs_logs
class TestFaults:
    """At most one good sentence is lost for each fault, and nothing is raised."""

    def test_none(self):
        for random, data in slices():
            assert lost(data, data, random) == 0

    def test_cut(self):
        for random, data in slices():
            begin, end = sorted((random.randrange(len(data)), random.randrange(len(data) + 1)))
            assert (
                lost(data, data[:begin] + data[end:], random)
                <= 2 + sentences(data[begin:end]).total()
            )

    def test_bits_flipped(self):
        for random, data in slices():
            faulty = bytearray(data)
            faults = random.randrange(1, 9)
            for _ in range(faults):
                faulty[random.randrange(len(data))] ^= 1 << random.randrange(8)
            assert lost(data, bytes(faulty), random) <= faults

    def test_binary_spliced_in(self):
        for random, data in slices():
            at = random.randrange(len(data))
            noise = random.randbytes(random.randrange(1, 400)) + random.choice(
                (b"", b"\xb5\x62\x01\x02\xff\x1f", b"\xd3\x03\xff", b"\xa0\xa2\x1f\xff", b"$GPRMC,")
            )
            assert lost(data, data[:at] + noise + data[at:], random) <= 1

    def test_two_captures_interleaved(self):
        for random, data in slices():
            other = random.choice(LOGS).read_bytes()[:SLICE]
            mixed, switches, parts = b"", 0, [data, other]
            while all(parts):
                size = random.randrange(1, 2000)
                mixed += parts[switches % 2][:size]
                parts[switches % 2] = parts[switches % 2][size:]
                switches += 1
            mixed += parts[0] + parts[1]
            found = kept(mixed, random)
            assert (sentences(data) + sentences(other) - found).total() <= switches + 1

    def test_a_flipped_bit_never_moves_a_position(self):
        for random, data in slices():
            stated = {
                (fix.latitude_deg, fix.longitude_deg)
                for line in data.splitlines(keepends=True)
                for fix in fixes(read(line, ident="receiver"))
            }
            faulty = bytearray(data)
            faulty[random.randrange(len(data))] ^= 1 << random.randrange(8)
            for fix in fixes(read(bytes(faulty), ident="receiver")):
                assert (fix.latitude_deg, fix.longitude_deg) in stated


@needs_logs
@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_an_archived_epoch_reads_the_same_alone(path: Path):
    """Given its own time as the clock, since an epoch may lack its date."""
    events = read(path.read_bytes()[:100_000], ident="receiver")
    for event in events[:300]:
        if isinstance(event, Report):
            (fix,) = event.fixes
            (alone,) = fixes(read(event.raw, ident="receiver", now=fix.time + timedelta(seconds=1)))
            assert (alone.time, alone.valid) == (fix.time, fix.valid)
            assert (alone.latitude_deg, alone.longitude_deg) == (
                fix.latitude_deg,
                fix.longitude_deg,
            )
            assert (alone.altitude_m, alone.speed_mps) == (fix.altitude_m, fix.speed_mps)


def test_a_hostile_sky_is_bounded():
    subject = receiver()
    for n in range(1000):
        talker = chr(65 + n % 26) + chr(65 + n // 26 % 26)
        subject.feed(summed(f"{talker}GSV,1,1,01,10,20,100,30,{n % 16:X}") * 3, NOW)
    assert len(subject._sky._groups) <= 64
    assert len(subject.sky) <= 1024
