"""Every record survives its way through JSON."""

import json
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import (
    Alarm,
    Cell,
    CommandResult,
    DeviceIdentity,
    Event,
    Fix,
    FixSource,
    Heartbeat,
    Login,
    Rejected,
    Report,
    Satellite,
    Status,
    TimeSource,
    WifiAp,
)
from model import records as records_module
from model.codec import KINDS, from_json, to_json


def number(low, high):
    return st.floats(low, high, exclude_max=True, allow_nan=False)


def maybe(strategy):
    return st.none() | strategy


times = st.datetimes(min_value=datetime(1, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
idents = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=64)
devices = st.builds(DeviceIdentity, protocol=st.sampled_from(["gt06", "h02"]), ident=idents)
scalars = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
telemetry = st.dictionaries(st.text(min_size=1), scalars, max_size=4)
rssi = maybe(st.integers(-150, 0))
cells = st.lists(
    st.builds(
        Cell,
        mcc=st.integers(0, 999),
        mnc=st.integers(0, 999),
        lac=st.integers(0, 2**16),
        cid=st.integers(0, 2**36),
        rssi_dbm=rssi,
    ),
    max_size=3,
).map(tuple)
wifi = st.lists(st.builds(WifiAp, mac=st.text(), rssi_dbm=rssi), max_size=3).map(tuple)
angles = maybe(number(0, 360))
sky = st.lists(
    st.builds(
        Satellite,
        system=st.sampled_from("GRECJIS"),
        svid=st.integers(1, 255),
        signal=st.sampled_from(["", "1", "A"]),
        elevation_deg=angles,
        azimuth_deg=angles,
        cn0_dbhz=angles,
        used=st.booleans(),
    ),
    max_size=3,
).map(tuple)
fixes = st.builds(
    Fix,
    time=times,
    valid=st.booleans(),
    latitude_deg=number(-90, 90),
    longitude_deg=number(-180, 180),
    altitude_m=maybe(number(-500, 1e5)),
    speed_mps=maybe(number(0, 1000)),
    course_deg=angles,
    accuracy_m=maybe(number(0, 1e6)),
    hdop=maybe(number(0, 100)),
    satellites=maybe(st.integers(0, 100)),
    source=st.sampled_from(FixSource),
    time_source=st.sampled_from(TimeSource),
    mock=maybe(st.booleans()),
    telemetry=telemetry,
    cells=cells,
    wifi=wifi,
    sky=sky,
)
alarms = st.frozensets(st.sampled_from(Alarm), max_size=3)
base = {"raw": st.binary(), "device": maybe(devices)}
STRATEGIES = {
    Login: st.builds(Login, telemetry=telemetry, **base),
    Heartbeat: st.builds(Heartbeat, telemetry=telemetry, **base),
    Report: st.builds(
        Report, fixes=st.lists(fixes, min_size=1, max_size=3).map(tuple), alarms=alarms, **base
    ),
    Status: st.builds(
        Status,
        time=maybe(times),
        alarms=alarms,
        telemetry=telemetry,
        cells=cells,
        wifi=wifi,
        **base,
    ),
    CommandResult: st.builds(CommandResult, text=st.text(), token=maybe(st.text()), **base),
    Rejected: st.builds(Rejected, reason=st.text(), **base),
}


def test_every_kind_of_event_has_a_name_and_a_strategy():
    kinds = {
        value
        for value in vars(records_module).values()
        if isinstance(value, type) and issubclass(value, Event) and value is not Event
    }
    assert kinds == set(KINDS.values()) == set(STRATEGIES)


@pytest.mark.parametrize("kind", STRATEGIES)
@given(data=st.data())
def test_what_goes_out_comes_back(kind, data):
    event = data.draw(STRATEGIES[kind])
    again = from_json(json.loads(json.dumps(to_json(event))))
    assert again == event
    assert type(again) is type(event)
    for fix, same in zip(getattr(event, "fixes", ()), getattr(again, "fixes", ()), strict=True):
        kinds = {name: type(value) for name, value in fix.telemetry.items()}
        assert kinds == {name: type(value) for name, value in same.telemetry.items()}
        assert same.time.tzinfo is UTC


def test_the_form_is_stable():
    """Spools on disk and scripts depend on it: a change of this test is a new version."""
    fix = Fix(
        time=datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
        valid=True,
        latitude_deg=1.5,
        longitude_deg=-2.5,
        source=FixSource.WIFI,
        telemetry={"ignition": True},
        cells=(Cell(mcc=250, mnc=1, lac=2, cid=3),),
    )
    event = Report(
        raw=b"\x78\x78",
        device=DeviceIdentity(protocol="gt06", ident="8633"),
        fixes=(fix,),
        alarms=frozenset({Alarm.SOS, Alarm.DOOR}),
    )
    assert to_json(event) == {
        "kind": "report",
        "protocol": "gt06",
        "device": "8633",
        "raw": "7878",
        "fixes": [
            {
                "time": "2026-01-02T03:04:05.000600Z",
                "valid": True,
                "latitude_deg": 1.5,
                "longitude_deg": -2.5,
                "altitude_m": None,
                "speed_mps": None,
                "course_deg": None,
                "accuracy_m": None,
                "hdop": None,
                "satellites": None,
                "source": "wifi",
                "telemetry": {"ignition": True},
                "cells": [{"mcc": 250, "mnc": 1, "lac": 2, "cid": 3}],
            }
        ],
        "alarms": ["door", "sos"],
    }


def test_only_json_types_come_out():
    event = from_json(to_json(Rejected(raw=b"", device=None, reason="why")))
    assert {type(value) for value in to_json(event).values()} <= {str, type(None)}
    assert get_args(records_module.Scalar) == (bool, int, float, str)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"v": 2, "kind": "login", "device": None, "raw": ""},
        {"v": "x", "kind": "login", "device": None, "raw": ""},
        {"kind": "nonsense", "device": None, "raw": ""},
        {"kind": "login", "device": None, "raw": "zz"},
        {"kind": "login", "device": None, "raw": 5},
        {"kind": "login", "device": "1", "raw": ""},
        {"kind": "report", "device": None, "raw": ""},
        {"kind": "report", "device": None, "raw": "", "fixes": [{"time": "yesterday"}]},
        {"kind": "report", "device": None, "raw": "", "fixes": [None]},
        {"kind": "status", "device": None, "raw": "", "alarms": ["no such alarm"]},
    ],
)
def test_anything_else_is_a_value_error(data):
    with pytest.raises(ValueError):
        from_json(data)


def test_fields_of_a_newer_writer_are_passed_over():
    data = {**to_json(Login(raw=b"1", device=None)), "mood": "good"}
    assert from_json(data) == Login(raw=b"1", device=None)
