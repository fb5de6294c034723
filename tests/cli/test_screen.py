"""The monitor's screen in every size, from states made by hand; and what its words say."""

import io
import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from cli.serial.screen import View, screen
from cli.serial.skyplot import skyplot
from cli.serial.state import MonitorState, Seen
from cli.serial.strength import bar
from cli.serial.tally import Tally, with_checksum
from cli.serial.words import FORMATS, UNITS, clock_offset, degrees, measure
from model import DeviceIdentity, Fix, Report, Satellite
from protocols.base import Decoder, ProtocolError
from tests.gateway.ptys import sentence
from tests.protocols.driver import NOW

SYSTEMS = "GRECJIS"


class Scripted(Decoder):
    """Returns what it is told to."""

    def __init__(self):
        super().__init__()
        self.next: list[Report | ProtocolError] = []

    def feed(self, data, now):
        events, self.next = self.next, []
        for event in events:
            if isinstance(event, ProtocolError):
                raise event
        return events


def report(second: float, **said) -> Report:
    values = {"valid": True, "latitude_deg": 51.5, "longitude_deg": -0.125, **said}
    fix = Fix(time=NOW + timedelta(seconds=second), **values)
    return Report(raw=b"x", device=DeviceIdentity(protocol="nmea0183", ident="m"), fixes=(fix,))


def satellites(count: int) -> tuple[Satellite, ...]:
    return tuple(
        Satellite(
            system=SYSTEMS[n % 7], svid=n + 1, signal="1", elevation_deg=n * 7 % 91,
            azimuth_deg=n * 47 % 360, cn0_dbhz=None if n % 5 == 4 else 20 + n % 30, used=n % 2 == 0,
        )
        for n in range(count)
    )  # fmt: skip


def state(*events: Report, sky: int = 0, data: bytes = b"") -> MonitorState:
    decoder = Scripted()
    made = MonitorState(decoder)
    for second, event in enumerate(events):
        decoder.next = [event]
        made.feed(data or sentence("GNTXT,01,01,02,hello"), event.fixes[0].time, float(second))
    made.sky = satellites(sky)
    return made


def drawn(made: MonitorState, width: int, height: int, view: View | None = None) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(screen(made, view or View(), "/dev/ttyUSB0", 5.0, (width, height)), end="")
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text.split("\n")


FULL = state(
    *(report(n, speed_mps=10.0, altitude_m=100.0, hdop=0.9, satellites=12) for n in range(5)),
    sky=40,
)


@given(width=st.integers(1, 250), height=st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_it_fits_whatever_the_window(width, height):
    for made in (FULL, state()):
        lines = drawn(made, width, height)
        assert max(map(len, lines)) <= width
        assert len([line for line in lines if line.strip()]) <= height


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (160, 50)])
def test_everything_a_technician_looks_for_is_there(width, height):
    text = "\n".join(drawn(FULL, width, height))
    for word in (
        "3D fix" if "GSA" in FULL.tally.latest else "fix", "latitude", "51.5000000° N",
        "0.1250000° W", "36.0 km/h", "100.0 m", "H 0.9", "to our clock", "1 Hz", "GPS", "GLONASS",
        "C/N0", "sentences a second", "GNTXT", "no errors", "$GNTXT,01,01,02,hello*", "quit",
    ):  # fmt: skip
        assert word in text, word
    assert ("bad checksum" in text) == (height > 24)  # in the head line when there is one
    assert ("N" in [line.strip() for line in text.split("\n")] or "⠂" in text) == (width > 80)


def test_the_keys():
    view = View()
    for key, name, values in (
        ("u", "units", ["nautical", "imperial", "metric"]),
        ("f", "degrees", ["dm", "dms", "dd"]),
        ("p", "paused", [True, False]),
        ("e", "explain", [True, False]),
    ):
        for value in values:
            assert view.press(key)
            assert getattr(view, name) == value
    assert view.press("x")
    for key in "q\x03\x1b":
        assert not view.press(key)


def test_a_device_cannot_repaint_the_screen():
    evil = state(report(0), data=b"$GN\x1b[2J\x07TXT,\x9b1m*00\r\n\x1b]0;title\x07\r\n")
    text = "\n".join(drawn(evil, 120, 40))
    assert all(c.isprintable() or c == "\n" for c in text)


def test_no_fix_is_not_an_old_fix():
    made = state(report(0))
    assert made.mode(0.0) == "fix"
    assert not made.stale(1.0)
    assert made.stale(60.0)
    assert made.mode(60.0) == "no position for 60 s"
    assert state().mode(0.0) == "nothing heard yet"
    assert state(report(0, valid=False)).mode(0.0) == "no fix"


def test_gaps_are_counted():
    made = state(*(report(second) for second in (0, 1, 2, 3, 9, 10)))
    assert made.gaps == 1
    assert made.period_s == 1.0
    assert made.clock_offset_s == 0.0


def test_a_decoder_that_gives_up_is_a_line_on_the_screen():
    decoder = Scripted()
    made = MonitorState(decoder)
    decoder.next = [ProtocolError("nonsense")]
    made.feed(b"x", NOW, 0.0)
    assert "nonsense" in "\n".join(drawn(made, 120, 40))


def test_a_satellite_is_a_row_with_all_its_signals():
    made = state()
    made.sky = (
        Satellite(system="G", svid=7, signal="1", elevation_deg=30, azimuth_deg=90, cn0_dbhz=30),
        Satellite(system="G", svid=7, signal="6", cn0_dbhz=44, used=True),
        Satellite(system="R", svid=7, signal="1", cn0_dbhz=20),
    )
    gps, glonass = made.satellites()
    assert gps == Seen(
        system="G", svid=7, elevation_deg=30, azimuth_deg=90,
        signals=(("6", 44), ("1", 30)), used=True,
    )  # fmt: skip
    assert not glonass.used
    assert made.systems() == {"G": (1, 1), "R": (0, 1)}


@given(st.integers(0, 60), st.integers(11, 120), st.integers(7, 60))
@settings(deadline=None)
def test_the_plot_keeps_to_its_room(count, columns, rows):
    made = state(sky=count)
    lines = skyplot(made.satellites(), columns, rows).plain.split("\n")
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns


def test_the_plot_is_the_sky_from_below_with_north_up():
    def at(elevation, azimuth):
        one = Seen(
            system="G", svid=7, elevation_deg=elevation, azimuth_deg=azimuth,
            signals=(("1", 40.0),), used=True,
        )  # fmt: skip
        lines = skyplot([one], 61, 31).plain.split("\n")
        row = next(n for n, line in enumerate(lines) if "G7" in line)
        return lines[row].index("G7") - 30, 15 - row

    assert at(90, 0) == pytest.approx((0, 0), abs=1)
    assert at(0, 90)[0] > 20
    assert at(0, 270)[0] < -20
    assert at(0, 0)[1] > 10
    assert at(0, 180)[1] < -10
    assert at(45, 90)[0] == pytest.approx(at(0, 90)[0] / 2, abs=1.5)


def test_bars_grow_with_the_signal():
    lengths = [len(bar(cn0, 20).plain.rstrip()) for cn0 in (None, 0, 10, 25, 50, 99)]
    assert lengths == [0, 0, 4, 10, 20, 20]


@given(st.floats(-180, 180), st.sampled_from(FORMATS))
def test_an_angle_is_the_same_in_every_form(value, form):
    text = degrees(value, "EW", form)
    numbers = [float(number) for number in re.findall(r"[\d.]+", text)]
    size = sum(number / 60**power for power, number in enumerate(numbers))
    assert size == pytest.approx(abs(value), abs=2e-7)
    assert all(number < 60 for number in numbers[1:])
    assert text.endswith("E" if value >= 0 else "W")


@pytest.mark.parametrize(
    ("units", "speed", "altitude"),
    [("metric", "36.0 km/h", "100.0 m"), ("nautical", "19.4 kn", "100.0 m"),
     ("imperial", "22.4 mph", "328.1 ft")],
)  # fmt: skip
def test_units(units, speed, altitude):
    speed_unit, altitude_unit = UNITS[units]
    assert measure(10.0, speed_unit, 1) == speed
    assert measure(100.0, altitude_unit, 1) == altitude
    assert measure(None, speed_unit, 1) == ""


def test_the_clock():
    assert clock_offset(0.25) == "+0.250 s to our clock"
    assert clock_offset(-86_400.0 * 7168) == "-7,168.0 days to our clock"  # a week rollover


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_a_sentence_gets_the_checksum_that_a_receiver_expects(body):
    if any(c in body for c in "$!*") or not body.strip():
        with pytest.raises(ValueError, match=r"not a sentence|checksum"):
            with_checksum(f"${body}$")
        return
    whole = with_checksum(body.strip())
    assert with_checksum(whole) == whole
    tally = Tally()
    tally.feed(whole.encode() + b"\r\n", 0.0)
    assert not tally.faults["bad checksum"]


def test_the_line_is_counted():
    tally = Tally()
    tally.feed(sentence("GPRMC,,V,,,,,,,,,,N") * 3, 0.0)
    tally.feed(b"$GPGLL,,,,,,V\r\n", 1.0)
    tally.feed(b"$GPRMC,,V*00\r\n", 1.0)
    tally.feed(sentence("GPTXT," + "x" * 90), 2.0)
    tally.feed(b"\xff\xfe\xfd", 2.0)
    assert tally.sentences == 5
    assert tally.valid == 4
    assert tally.types == {"GPRMC": 3, "GPGLL": 1, "GPTXT": 1}
    assert tally.faults == {
        "no checksum": 1, "bad checksum": 1, "over-length": 1, "junk bytes": 3,
    }  # fmt: skip
    assert tally.rates(2.0)["GPRMC"] == pytest.approx(1.5)
    assert tally.rates(60.0) == {}
