"""`truetrack tail` shows what became durable, once and in order, and waits for more."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from model.device import DevicePolicy
from tests.cli.rows import decoded, store

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("toy_protocol")


def following(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", "tail", *arguments],
        cwd=ROOT, env={**os.environ, "TRUETRACK_DATABASE_URL": url},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def tail(truetrack, postgres_url):
    return lambda *arguments: truetrack(
        "tail", "--no-follow", "--database-url", postgres_url, *arguments
    )


def test_an_object_a_change_with_the_columns_of_the_feed(tail, postgres_url):
    store(postgres_url, decoded("toy", b"7,1.5,2.5;?;", ident="7"))
    said = tail()
    assert said.code == 0
    by_kind = {record["kind"]: record for record in said.records}
    position = by_kind["position"]
    assert (position["latitude"], position["longitude"]) == (1.5, 2.5)
    assert (position["protocol"], position["ident"]) == ("toy", "7")
    assert position["time"] == position["received_at"] == "2026-01-02T03:04:05.000Z"
    assert by_kind["heartbeat"]["telemetry"] == {"battery_percent": 80}
    assert by_kind["alarm"]["alarms"] == ["sos"]
    with psycopg.connect(postgres_url) as connection:
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = 'api_v1' AND table_name = 'changes'"
        ).fetchall()
    assert set(position) == {name for (name,) in columns}


def test_the_newest_lines_or_those_after_a_cursor(tail, postgres_url):
    for number in range(1, 5):
        store(postgres_url, decoded("toy", f"{number},1,2;".encode()))
    positions = tail("--kind", "position", "-n", "100").records
    assert [r["ident"] for r in positions] == ["1", "2", "3", "4"]
    assert [r["ident"] for r in tail("-n", "2").records] == ["4", "4"]
    rest = tail("--after", str(positions[1]["cursor"]), "--kind", "position").records
    assert [r["ident"] for r in rest] == ["3", "4"]
    assert tail("-n", "0").records == []
    assert [r["ident"] for r in tail("--device", "2", "-n", "9").records] == ["2", "2"]


def test_quarantined_devices_are_not_shown(tail, postgres_url):
    store(postgres_url, decoded("toy", b"7,1,2;"), policy=DevicePolicy.KNOWN)
    assert tail().records == []


def test_a_table_for_people(tail, postgres_url):
    store(postgres_url, decoded("toy", b"7,1.5,2.5;"))
    header, *rows = tail("--table").out.splitlines()
    assert header.split() == [
        "time", "kind", "device", "latitude", "longitude", "speed_mps", "what",
    ]  # fmt: skip
    assert ["2026-01-02T03:04:05.000Z", "position", "7", "1.5", "2.5"] in [r.split() for r in rows]


def test_it_follows_until_it_is_interrupted(postgres_url):
    store(postgres_url, decoded("toy", b"1,1,2;"))
    with following(postgres_url, "--kind", "position") as tail:
        assert tail.stdout and tail.stderr
        assert json.loads(tail.stdout.readline())["ident"] == "1"
        for number in ("2", "3"):
            store(postgres_url, decoded("toy", f"{number},1,2;".encode()))
            assert json.loads(tail.stdout.readline())["ident"] == number
        tail.send_signal(signal.SIGINT)
        assert tail.wait() == 130
        assert tail.stderr.read() == ""


def test_it_goes_on_where_it_was_when_the_database_comes_back(postgres_url):
    store(postgres_url, decoded("toy", b"1,1,2;"))
    with following(postgres_url, "--kind", "position") as tail:
        assert tail.stdout and tail.stderr
        assert json.loads(tail.stdout.readline())["ident"] == "1"
        store(postgres_url, decoded("toy", b"2,1,2;"))
        assert json.loads(tail.stdout.readline())["ident"] == "2"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        store(postgres_url, decoded("toy", b"3,1,2;"))
        assert json.loads(tail.stdout.readline())["ident"] == "3"
        tail.terminate()
        assert "waiting for the database" in tail.stderr.read()


def test_a_reader_who_has_enough_may_leave(postgres_url):
    store(postgres_url, decoded("toy", b"1,1,2;"))
    with following(postgres_url) as tail:
        assert tail.stdout and tail.stderr
        tail.stdout.readline()
        tail.stdout.close()
        store(postgres_url, decoded("toy", b"2,1,2;"))
        assert tail.wait() == 0
        assert tail.stderr.read() == ""
