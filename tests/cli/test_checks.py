"""What `doctor` finds, and the benchmarks' frame."""

import socket
from contextlib import closing
from pathlib import Path

import pytest

from cli import bench, checks
from cli.explain import explain, in_one_line, in_words
from tests.cli.conftest import one_line


def test_the_mount_that_holds_a_path_decides(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
        "/dev/sdb1 /run/data xfs rw 0 0\noverlay / overlay rw 0 0\n"
    )
    assert checks.filesystem(Path("/run/data/spool"), mounts) == "xfs"
    assert checks.filesystem(Path("/run/other"), mounts) == "tmpfs"
    assert checks.filesystem(Path("/home"), mounts) == "overlay"  # the last mounted is on top
    assert checks.filesystem(Path("/home"), tmp_path / "nothing") is None


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path):
    assert checks.existing(tmp_path / "a" / "b") == tmp_path
    assert checks.disk_space(tmp_path / "a" / "b").check == "disk space"
    assert checks.spool(tmp_path / "a" / "b").verdict in (checks.Verdict.OK, checks.Verdict.WARN)


def test_a_port_that_answers_and_one_that_does_not():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert checks.listening(url).verdict is checks.Verdict.OK
    silent = checks.listening(url)
    assert silent.verdict is checks.Verdict.WARN
    assert "Connection refused" in silent.found
    assert silent.advice


def test_each_check_that_is_not_ok_says_what_to_do(tmp_path):
    for check in (checks.python(), checks.extension(), checks.clock(), checks.spool(tmp_path)):
        assert bool(check.advice) == (check.verdict is not checks.Verdict.OK)


def test_doctor_s_table_is_readable_in_a_narrow_terminal(truetrack, tmp_path):
    said = truetrack("doctor", "--table", "--data-dir", tmp_path)
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80


def test_the_benchmarks_are_named(truetrack):
    listed = truetrack("bench", "--list").records
    assert [record["name"] for record in listed] == bench.names()
    said = truetrack("bench", "nothing")
    assert said.code == 2
    assert "no benchmark 'nothing'; there are: " in one_line(said)


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("$GPTXT,01,01,02,hello*0D", "GPTXT"),
        ("$GPGLL,4916.45,N,12311.12,W,225444,A,*1D", "Latitude=4916.45"),
        ("$GPGLL,4916.45,N*00", "checksum does not match"),
        ("rubbish", "could not parse data"),
        ("$GPXXX,1*52", "Unknown"),
    ],
)
def test_a_sentence_in_words_or_why_not(sentence, shown):
    assert shown in in_one_line(sentence)
    assert sentence in in_words(explain(sentence))
