"""Ports' URLs, and the hunt for a rate: no port is opened here, a pty ignores rates."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transports.serial import (
    MAX_HEARD,
    RATES_BAUD,
    Hunt,
    SerialSettings,
    Verdict,
    count_valid,
    settings_from,
)
from tests.gateway.ptys import sentence

RMC = sentence("GPRMC,120000,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W")
GGA = sentence("GPGGA,120000,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,")
SETTINGS = SerialSettings(path="/dev/none", ident="boat")


# the settings


def test_a_url_says_it_all():
    assert settings_from("serial:///dev/ttyUSB0?baud=9600&ident=boat&stall=7.5") == SerialSettings(
        path="/dev/ttyUSB0", baud=9600, ident="boat", stall_s=7.5
    )


def test_what_a_url_leaves_out_has_a_default():
    settings = settings_from("serial:///dev/ttyUSB0")
    assert (settings.baud, settings.ident, settings.stall_s) == (None, "ttyUSB0", 30.0)


def test_stall_zero_leaves_a_silent_port_alone():
    assert settings_from("serial:///dev/ttyS0?stall=0").stall_s is None


def test_the_ident_of_a_long_name_fits():
    settings = settings_from("serial:///dev/serial/by-id/usb-" + "x" * 100 + "-port0")
    assert len(settings.ident) == 64
    assert settings.ident.endswith("-port0")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("tcp:///dev/ttyUSB0", "expected serial:///dev/NAME"),
        ("serial://dev/ttyUSB0", "expected serial:///dev/NAME"),
        ("serial:ttyUSB0", "expected serial:///dev/NAME"),
        ("serial:///dev/ttyUSB0?speed=1", "unknown speed; known: baud, ident, stall"),
        ("serial:///dev/ttyUSB0?baud=fast", "baud must be a number from 50, not 'fast'"),
        ("serial:///dev/ttyUSB0?baud=", "baud must be a number"),
        ("serial:///dev/ttyUSB0?baud=0", "baud must be a number from 50"),
        ("serial:///dev/ttyUSB0?baud=9600.5", "whole number"),
        ("serial:///dev/ttyUSB0?stall=-1", "stall must be a number from 0"),
        ("serial:///dev/ttyUSB0?stall=nan", "stall must be a number from 0"),
        ("serial:///dev/ttyUSB0?ident=", "ident must be 1 to 64 printable characters"),
        ("serial:///dev/ttyUSB0?ident=a%0Ab", "ident must be 1 to 64 printable characters"),
    ],
)
def test_a_wrong_url_is_refused_with_a_reason(url, complaint):
    with pytest.raises(ValueError, match="^" + url.split("?")[0]) as caught:
        settings_from(url)
    assert complaint in str(caught.value)


# the hunt


def test_checksummed_sentences_are_counted():
    torn = RMC.replace(b"12", b"13")
    noise = b"\x00$\xff$GPRMC,cut off" + RMC + torn + GGA + b"$GPTXT,begun"
    valid, end = count_valid(noise)
    assert valid == 2
    assert noise[end:] == b"\r\n$GPTXT,begun"
    assert count_valid(sentence("AIVDM,1,1,,A,13aEOK?P00PD2wVMdLDRhgvL289?,0", "!"))[0] == 1


@given(st.lists(st.integers(1, 40), max_size=60))
def test_a_rate_is_claimed_however_the_bytes_are_cut(cuts):
    hunt = Hunt(SETTINGS, None, 0.0)
    stream = b"\x80\xf0junk" + RMC + GGA + RMC
    verdicts, start = [], 0
    for cut in [*cuts, len(stream)]:
        if data := stream[start : start + cut]:
            verdicts.append(hunt.feed(data))
        start += cut
    assert verdicts.index(Verdict.CLAIM) == len(verdicts) - 1 or verdicts[-1] is Verdict.CLAIM
    assert hunt.heard == stream


def test_a_rate_without_sentences_is_left_after_the_dwell_and_all_are_tried_in_turn():
    hunt = Hunt(SETTINGS, None, 0.0)
    tried, now = [], 0.0
    for _ in range(len(RATES_BAUD) + 1):
        tried.append(hunt.baud)
        assert hunt.due() - now > 2.1  # two periods of 1 Hz and some
        hunt.feed(b"\xff\x00\xfe" * 50)
        assert hunt.judge(now + 2.0) is Verdict.WAIT
        now = hunt.due()
        assert hunt.judge(now) is Verdict.NEXT
        assert not hunt.heard
    assert tried == [*RATES_BAUD, RATES_BAUD[0]]


def test_the_rate_that_was_right_before_is_tried_first():
    hunt = Hunt(SETTINGS, 57_600, 0.0)
    tried = []
    for _ in RATES_BAUD:
        tried.append(hunt.baud)
        hunt.judge(hunt.due())
    assert tried[0] == 57_600
    assert sorted(tried) == sorted(RATES_BAUD)


def test_a_slow_receiver_that_said_one_good_thing_gets_more_time():
    hunt = Hunt(SETTINGS, None, 0.0)
    hunt.feed(RMC)
    assert hunt.judge(2.2) is Verdict.WAIT
    hunt.feed(RMC)
    assert hunt.feed(RMC) is Verdict.CLAIM


def test_a_chance_match_does_not_hold_the_hunt_for_ever():
    hunt = Hunt(SETTINGS, None, 0.0)
    hunt.feed(RMC)
    assert hunt.judge(3 * 2.2 + 0.1) is Verdict.NEXT


def test_noise_does_not_grow_without_bound():
    hunt = Hunt(SETTINGS, None, 0.0)
    noise = Random(3).randbytes(1000)
    for _ in range(200):
        assert hunt.feed(noise) is Verdict.WAIT
        assert len(hunt.heard) <= MAX_HEARD
    for part in (RMC, GGA):
        assert hunt.feed(part) is Verdict.WAIT
    assert hunt.feed(RMC) is Verdict.CLAIM
