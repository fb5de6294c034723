"""What a technician does with a receiver on a port, on real ptys."""

import os
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
import serial

from cli.serial import feeds, probe
from cli.serial.feeds import BAUDS
from cli.serial.list import stable_names
from tests.cli.conftest import one_line
from tests.cli.receiver import capture, epoch, receiver
from tests.gateway.ptys import Cable, sentence

ROOT = Path(__file__).parents[2]
UBX = bytes.fromhex("b56205010200 0601 0f38")  # ACK-ACK of CFG-MSG


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(probe, "SETTLED_S", 0.5)


def test_list_shows_ports(truetrack):
    said = truetrack("serial", "list")
    assert said.code == 0
    for port in said.records:
        assert list(port) == ["port", "description", "usb", "maker", "serial_number", "stable"]


def test_a_port_has_a_name_that_lasts(tmp_path):
    device = tmp_path / "ttyUSB0"
    device.touch()
    folder = tmp_path / "by-id"
    folder.mkdir()
    (folder / "usb-maker-7").symlink_to(device)
    assert stable_names(folder) == {str(device): str(folder / "usb-maker-7")}
    assert stable_names(tmp_path / "nothing") == {}


def test_probe_tells_what_a_receiver_is(truetrack, tmp_path, quick):
    def said(second):
        return epoch(second) + sentence("PMTK010,001") + UBX

    with receiver(tmp_path, said) as (port, _):
        found = truetrack("serial", "probe", port, "--dwell", "0.3", "--json")
    assert found.code == 0
    assert found.err == ""
    (record,) = found.records
    assert record["port"] == port
    assert record["baud"] in BAUDS
    assert record["receiver"] == "MediaTek (MT33xx)"
    assert record["talkers"] == {"GN": "several systems", "GP": "GPS", "GL": "GLONASS"}
    assert record["rates"]["GNGSA"] > record["rates"]["GNRMC"] > 0
    assert list(record["binary"]) == ["UBX (u-blox binary)"]


@pytest.mark.parametrize("command", ["probe", "monitor"])
def test_the_speed_is_found(truetrack, tmp_path, quick, monkeypatch, command):
    """A pty has no rate, but it keeps the one that was asked for."""
    monkeypatch.setattr(feeds, "DWELL_S", 0.15)

    def said(second):
        rate = termios.tcgetattr(cable.ends[1])[4]
        return epoch(second) if rate == termios.B38400 else b"\x80\xfe$\x81!\xe0" * 20

    with receiver(tmp_path, said, period_s=0.02) as (port, cable):
        if command == "probe":
            found = truetrack("serial", "probe", port, "--dwell", "0.15", "--json")
            assert found.records[0]["baud"] == 38_400
        else:
            found = truetrack("serial", "monitor", port, "--seconds", "1.5", "--json")
            assert found.records[-1]["mode"] == "3D fix, autonomous"
            assert found.records[-1]["errors"]["junk bytes"] <= 120  # noise is forgotten
    assert found.code == 0


def test_probe_hears_only_binary(truetrack, tmp_path, quick):
    def said(second):
        return UBX

    with receiver(tmp_path, said) as (port, _):
        found = truetrack("serial", "probe", port, "--baud", "9600", "--dwell", "0.3")
    assert found.code == 1
    assert found.records[0]["receiver"] == "u-blox"
    assert "binary protocol" in found.err


def test_probe_hears_nothing(truetrack, tmp_path, quick):
    with receiver(tmp_path, lambda _: b"") as (port, _):
        found = truetrack("serial", "probe", port, "--baud", "9600", "--dwell", "0.2", "--json")
    assert found.code == 1
    assert one_line(found).endswith("nothing understood at any speed; wiring, power, TX and RX?")


def answer(line: bytes) -> bytes:
    return sentence("PMTK705,AXN_5.1.7,0000") if line == b"$PMTK605*31" else b""


@pytest.mark.parametrize("text", ["PMTK605", "$PMTK605", "$PMTK605*31", " $PMTK605*31 "])
def test_send_supplies_the_checksum_and_shows_the_answer(truetrack, tmp_path, text):
    with receiver(tmp_path, answer=answer) as (port, _):
        said = truetrack("serial", "send", port, text, "--expect", "PMTK705", "--wait", "20")
    assert said.code == 0
    assert said.records == [
        {"sent": "$PMTK605*31"},
        {"received": sentence("PMTK705,AXN_5.1.7,0000").decode().strip()},
    ]


def test_send_without_the_expected_answer_is_1(truetrack, tmp_path):
    with receiver(tmp_path, answer=answer) as (port, _):
        said = truetrack(
            "serial", "send", port, "PMTK000", "--expect", "PMTK705", "--wait", "0.3", "--table"
        )
    assert said.code == 1
    assert said.out == ">>> $PMTK000*32\n"
    assert said.err == f"truetrack: {port}: no PMTK705 within 0.3 s\n"


def test_send_shows_periodic_sentences_only_when_asked(truetrack, tmp_path):
    with receiver(tmp_path) as (port, _):
        said = truetrack("serial", "send", port, "PMTK000", "--wait", "0.4", "--all", "--table")
    assert said.code == 0
    assert "<<< $GNRMC," in said.out


@pytest.mark.parametrize("text", ["PMTK605*00", "", "PM$TK", "PMTK\n605", "ä"])
def test_what_is_no_sentence_is_not_sent(truetrack, tmp_path, text):
    said = truetrack("serial", "send", tmp_path / "tty", text)
    assert said.code == 2
    one_line(said)


@pytest.mark.parametrize("command", ["probe", "monitor", "send"])
def test_a_port_that_is_not_there(truetrack, tmp_path, command):
    extra = ["PMTK000"] if command == "send" else []
    said = truetrack("serial", command, tmp_path / "tty", *extra, "--json")
    assert said.code == 1
    assert one_line(said) == (
        f"truetrack: cannot open {tmp_path}/tty: there is no such port; "
        "`truetrack serial list` shows what there is"
    )


def test_a_port_that_may_not_be_opened(tmp_path):
    """Root may open anything, so this is asked by somebody else."""
    with receiver(tmp_path) as (_, cable):
        device = os.ttyname(cable.ends[1])
        Path(device).chmod(0o600)
        tmp_path.chmod(0o755)
        code = (
            "import os, sys, protocols, storage.errors, storage.store, gateway.errors;"
            "from cli import main; from cli.serial import send;"
            "os.geteuid() or os.seteuid(65534);"
            f"sys.exit(main.run(['serial', 'send', {device!r}, 'PMTK000']))"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if os.geteuid() != 0:
        pytest.skip("only root can make a port that this user may not open")
    assert said.returncode == 1
    assert "permission denied; add yourself to the group of the port" in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_a_port_that_another_program_holds(truetrack, tmp_path):
    with receiver(tmp_path) as (port, _), serial.Serial(port, exclusive=True):
        said = truetrack("serial", "send", port, "PMTK000")
    assert said.code == 1
    assert "another program holds it" in one_line(said)


def test_a_regular_file_is_no_port(truetrack, tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    said = truetrack("serial", "probe", path, "--json")
    assert said.code == 1
    assert one_line(said).startswith(f"truetrack: cannot open {path}: ")


def test_a_port_that_goes_away(truetrack, tmp_path):
    cable = Cable(tmp_path / "tty")
    device = cable.plug()
    ours, theirs = cable.ends
    os.write(ours, sentence("GNTXT,01,01,02,hello"))

    def pull():
        # Once the program has read what was there, both our ends close.
        while b"PMTK" not in os.read(ours, 100):
            pass
        os.close(theirs)
        os.close(ours)

    os.set_blocking(ours, True)
    thread = threading.Thread(target=pull)
    thread.start()
    said = truetrack("serial", "send", device, "PMTK000", "--wait", "20", "--all")
    thread.join(10)
    assert said.code == 1
    assert said.err.startswith(f"truetrack: {device} went away: ")
    assert len(said.err.splitlines()) == 1


def test_monitor_prints_an_object_an_epoch(truetrack, tmp_path):
    log = tmp_path / "log"
    with receiver(tmp_path) as (port, _):
        said = truetrack("serial", "monitor", port, "--seconds", "0.8", "--json", "--log", log)
    assert log.read_bytes().count(b"$GNRMC,") >= len(said.records)
    assert said.code == 0
    assert said.err == ""
    last = said.records[-1]
    assert last["epoch"] == len(said.records) > 3
    assert last["mode"] == "3D fix, autonomous"
    assert last["fix"]["latitude_deg"] == pytest.approx(47.2852283, abs=1e-7)
    assert last["fix"]["speed_mps"] == pytest.approx(12.5 * 1852 / 3600)
    assert sum(satellite["used"] for satellite in last["sky"]) == 4
    assert {satellite["system"] for satellite in last["sky"]} == {"G", "R"}
    assert last["rates"]["GNRMC"] > 1
    assert last["errors"]["bad checksum"] == 0


def test_monitor_reads_a_capture(truetrack):
    said = truetrack("serial", "monitor", capture("ublox-8"), "--json")
    assert said.code == 0
    assert len({record["fix"]["time"] for record in said.records if record["fix"]}) > 60
    assert all(record["errors"]["bad checksum"] == 0 for record in said.records)
    assert any(satellite["cn0_dbhz"] for satellite in said.records[-1]["sky"])


def test_monitor_says_what_it_heard_when_there_was_no_epoch(truetrack, tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(UBX * 50 + b"\xff\xfe")
    said = truetrack("serial", "monitor", "--from", path, "--json")
    assert said.code == 0
    (record,) = said.records
    assert record["fix"] is None
    assert record["binary"] == {"UBX (u-blox binary)": 50 * len(UBX)}
    assert record["errors"]["junk bytes"] == 2


def test_monitor_of_nothing(truetrack):
    said = truetrack("serial", "monitor")
    assert said.code == 2
    assert "name a PORT, or a capture" in one_line(said)
