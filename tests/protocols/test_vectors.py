"""Every protocol against its vector file. Adding a protocol adds no code here.

A vector: `name`, `source` (document and section, or device, firmware, date), `wire` or
`wire_hex`; optionally `ident` and `profile` (known before the device speaks), `prelude` (what it
said first), `reply`, `event = {kind, ident, ...}`, `fixes = [...]`. What `event` and `fixes`
leave out must be at its default in what the decoder returns. `stream = true` is for protocols
whose epochs are told apart by their time: the same bytes twice are one event. `raw` is given
where the archived frame is not the whole wire, `refusal` where a refusal is answered, `once`
where the peer sends nothing after this message.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import protocols
from model import Event
from protocols.base import ProtocolError
from tests.protocols.driver import NOW, VECTORS, Vector, decoder, stated, vectors

PROTOCOLS = protocols.names()
CASES = [
    pytest.param(v, id=v.name)
    for p in PROTOCOLS
    if (VECTORS / f"{p}.toml").exists()
    for v in vectors(p)
]


def test_every_protocol_has_vectors_with_provenance():
    assert {path.stem for path in VECTORS.glob("*.toml")} == set(PROTOCOLS)
    for protocol in PROTOCOLS:
        names = [vector.table["name"] for vector in vectors(protocol)]
        assert len(names) == len(set(names)), f"{protocol}: two vectors of one name"
        assert all(vector.table["source"] for vector in vectors(protocol))


def check(event: Event, vector: Vector) -> None:
    said: dict[str, Any] = stated(event)
    raw, device, fixes = said.pop("raw"), said.pop("device", None), said.pop("fixes", [])
    assert raw == (vector.octets("raw") or vector.octets("wire"))
    assert device is None or device["protocol"] == vector.protocol
    said = {"kind": type(event).__name__, **said}
    if device:
        said["ident"] = device["ident"]
    assert near(said) == near(vector.table["event"])
    assert [near(fix) for fix in fixes] == [near(fix) for fix in vector.table.get("fixes", [])]


def near(value: Any) -> Any:
    """Floats to 1e-7, which is a centimetre of arc."""
    if isinstance(value, float):
        return round(value, 7)
    if isinstance(value, dict):
        return {name: near(part) for name, part in value.items()}
    if isinstance(value, list):
        return [near(part) for part in value]
    return value


def whole(vector: Vector) -> list[Event]:
    subject = vector.decoder()
    return [*subject.feed(vector.octets("wire"), vector.now), *subject.flush(vector.now)]


@pytest.mark.parametrize("vector", CASES)
class TestVector:
    def test_whole(self, vector: Vector):
        (event,) = whole(vector)
        check(event, vector)

    def test_byte_by_byte(self, vector: Vector):
        subject = vector.decoder()
        events: list[Event] = []
        for byte in vector.octets("wire"):
            events += subject.feed(bytes([byte]), vector.now)
        (event,) = events + subject.flush(vector.now)
        check(event, vector)

    def test_twice_in_a_row(self, vector: Vector):
        if vector.table.get("once"):
            pytest.skip("the peer closes after this message")
        subject = vector.decoder()
        events = subject.feed(vector.octets("wire") * 2, vector.now) + subject.flush(vector.now)
        if vector.table.get("stream"):  # the same epoch again: one fix, not two
            assert len(events) == 1
            return
        first, second = events
        check(first, vector)
        check(second, vector)

    def test_reply_only_when_accepted(self, vector: Vector):
        subject = vector.decoder()
        (event,) = subject.feed(vector.octets("wire"), vector.now) + subject.flush(vector.now)
        assert subject.reply_to(event, accepted=True, now=vector.now) == vector.octets("reply")
        refusal = subject.reply_to(event, accepted=False, now=vector.now)
        assert refusal == vector.octets("refusal")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(chunks=st.lists(st.binary()))
def test_garbage_never_escapes(protocol: str, chunks: list[bytes]):
    """Whatever a device sends makes events or a ProtocolError, nothing else."""
    subject = decoder(protocol)
    try:
        for chunk in chunks:
            for event in subject.feed(chunk, NOW):
                subject.reply_to(event, accepted=True, now=NOW)
        subject.flush(NOW)
    except ProtocolError:
        pass
