"""`truetrack decode` on every protocol's own vectors: the contract, and nothing but the decoder's word."""

import json

import pytest

import protocols
from model.codec import to_json
from tests.cli.conftest import one_line
from tests.cli.test_decode import FIX_KEYS, KEYS
from tests.protocols.driver import SHARED, Vector, decode_message, vectors

NAMES = protocols.names()
EACH = pytest.mark.parametrize("protocol", NAMES)
KINDS = {"login", "heartbeat", "report", "status", "command_result", "rejected", "error"}


def alone(protocol: str) -> list[Vector]:
    """Vectors of one message for a decoder that was told nothing before."""
    return [
        vector
        for vector in vectors(protocol)
        if not {"prelude", "prelude_hex", "profile"} & set(vector.table) and (vector.octets("wire"))
    ]


def in_hex(messages: list[bytes]) -> bytes:
    return "".join(f"{message.hex()}\n" for message in messages).encode()


@EACH
def test_every_vector_is_printed_as_the_decoder_reads_it(protocol, truetrack):
    for vector in alone(protocol):
        ident = vector.table.get("ident")
        options = ["--device", ident] if ident else []
        said = truetrack(
            "decode", protocol, "--hex-lines", "--reply", "--now", vector.now.isoformat(), *options,
            stdin=in_hex([vector.octets("wire")]),
        )  # fmt: skip
        assert said.code == 0, vector.name
        assert said.err == "", vector.name
        events = decode_message(protocol, vector.octets("wire"), ident=ident, now=vector.now)
        if not events:
            assert [record["kind"] for record in said.records] == ["error"], vector.name
            continue
        assert len(said.records) == len(events), vector.name
        for record, event in zip(said.records, events, strict=True):
            assert list(record)[:8] == KEYS
            assert record["line"] == 1
            assert record["raw"] == event.raw.hex()
            assert record["device"] == (event.device.ident if event.device else None)
            plain = to_json(event)
            assert record["kind"] == plain["kind"]
            assert len(record["fixes"]) == len(plain.get("fixes", []))
            for fix in record["fixes"]:
                assert set(FIX_KEYS) <= set(fix)
                assert fix["time"].endswith("Z")
                assert len(fix["time"]) == len("2026-01-02T03:04:05.000Z")


@EACH
def test_foreign_messages_come_out_whole(protocol, truetrack):
    """Each line of many: an object or more, in order, whatever the message holds."""
    path = SHARED / "traccar" / f"{'t55' if protocol == 'nmea0183' else protocol}.jsonl"
    if not path.exists():
        pytest.skip(f"the reference messages are not here: {path}")
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    messages = [bytes.fromhex(case["wire_hex"]) for case in cases if case["kind"] == "message"]
    said = truetrack(
        "decode", protocol, "--hex-lines", "--reply", "--device", "863300000000001",
        stdin=in_hex(messages),
    )  # fmt: skip
    assert said.code == 0
    assert said.err == ""
    records = said.records
    numbers = [record["line"] for record in records]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, len(messages) + 1))
    for record in records:
        assert list(record)[:8] == KEYS
        assert record["kind"] in KINDS
        assert (record["reason"] is not None) == (record["kind"] in {"rejected", "error"})


@EACH
def test_noise_is_no_crash(protocol, truetrack):
    noise = bytes(n * 131 % 251 for n in range(100_000))
    said = truetrack("decode", protocol, stdin=noise)
    assert said.code in (0, 1)
    assert len(said.err.splitlines()) <= 1
    assert (said.code == 1) == bool(said.err)


@EACH
def test_a_table_of_it_can_be_shown(protocol, truetrack):
    messages = [vector.octets("wire") for vector in alone(protocol)]
    said = truetrack("decode", protocol, "--hex-lines", "--table", stdin=in_hex(messages))
    assert said.code == 0
    assert all(c.isprintable() or c == "\n" for c in said.out)
    assert len(said.out.splitlines()) > 1


def test_nmea_can_be_explained(truetrack):
    wire = b"$GPGLL,4916.45,N,12311.12,W,225444,A,*1D\r\n"
    said = truetrack("decode", "nmea0183", "--device", "x", "--explain", stdin=wire)
    assert said.code == 0
    (record,) = said.records
    (explained,) = record["explain"]
    assert explained["type"] == "GPGLL"
    assert explained["fields"]["Latitude"] == "4916.45"
    table = truetrack("decode", "nmea0183", "--device", "x", "--explain", "--table", stdin=wire)
    assert "            Latitude: 4916.45\n" in table.out
    said = truetrack("decode", "h02", "--explain", stdin=wire)
    assert said.code == 2
    assert "nmea0183 only" in one_line(said)
