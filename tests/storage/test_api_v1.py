"""The contract with other systems: what is in the snapshot stays as it is.

After adding to the contract: TRUETRACK_ACCEPT=1 scripts/test tests/storage/test_api_v1.py
"""

import os
from pathlib import Path

import psycopg
import pytest

from model import Alarm
from model.device import DevicePolicy
from storage.postgres import PostgresStore
from tests.storage.things import contact, fix, identity, report, rows, value

SNAPSHOT = Path(__file__).parent / "api_v1.snapshot"

COLUMNS = """
SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' -- '
       || coalesce(col_description(attrelid, attnum), '')
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'api_v1'::regnamespace AND relkind = 'v' AND attnum > 0
UNION ALL
SELECT relname || ' -- ' || coalesce(obj_description(oid), '')
FROM pg_class WHERE relnamespace = 'api_v1'::regnamespace AND relkind = 'v'
UNION ALL
SELECT proname || '(' || pg_get_function_arguments(oid) || ') ' || pg_get_function_result(oid)
       || ' -- ' || coalesce(obj_description(oid), '')
FROM pg_proc WHERE pronamespace = 'api_v1'::regnamespace
ORDER BY 1
"""


def test_it_only_grows(postgres_url):
    now = [line for (line,) in rows(postgres_url, COLUMNS)]
    known = SNAPSHOT.read_text().splitlines() if SNAPSHOT.exists() else []
    assert [line for line in known if line not in now] == [], "changed or taken away"
    if os.environ.get("TRUETRACK_ACCEPT"):
        SNAPSHOT.write_text("\n".join(now) + "\n")
        known = now
    assert [line for line in now if line not in known] == [], "new: accept it into the snapshot"


def test_everything_is_explained_with_its_unit(postgres_url):
    lines = [line for (line,) in rows(postgres_url, COLUMNS)]
    assert [line for line in lines if line.endswith("-- ")] == []
    units = {
        "_m": "(m)",
        "_mps": "(m/s)",
        "_deg": "degree",
        "latitude": "degree",
        "longitude": "degree",
    }
    for line in lines:
        column, _, comment = line.partition(" -- ")
        name = column.split(" ")[0]
        for ending, unit in units.items():
            if name.endswith(ending):
                assert unit in comment, line


REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)


@pytest.fixture
async def stored(postgres_url):
    store = PostgresStore(postgres_url)
    tracker = await store.admit(identity(), DevicePolicy.REGISTER)
    await store.commit([report(tracker, fix(), fix(1), over=contact(), alarms=[Alarm.SOS])])
    await store.close()
    return postgres_url


async def test_what_grafana_looks_for(stored):
    for view in ("positions", "latest_positions", "changes"):
        assert rows(stored, f"SELECT time, latitude, longitude FROM api_v1.{view} LIMIT 1")


async def test_the_reader_reads_the_views_and_nothing_else(stored):
    with psycopg.connect(stored, autocommit=True) as connection:
        connection.execute("SET ROLE truetrack_reader")
        for (view,) in connection.execute(
            "SELECT viewname FROM pg_views WHERE schemaname = 'api_v1'"
        ).fetchall():
            assert connection.execute(f"SELECT count(*) FROM api_v1.{view}").fetchone() != (0,)
            for change in (
                f"DELETE FROM api_v1.{view}",
                f"INSERT INTO api_v1.{view} DEFAULT VALUES",
            ):
                with pytest.raises(REFUSED):
                    connection.execute(change)
        assert connection.execute("SELECT count(*) FROM api_v1.changes(0)").fetchone() == (3,)
        for table in ("raw.position", "raw.frame", "ref.device", "public.truetrack_version"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine ()")
    assert (
        value(stored, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'truetrack_reader'")
        is False
    )


async def test_retired_devices_keep_their_history_and_leave_the_map(stored):
    with psycopg.connect(stored) as connection:
        connection.execute("UPDATE ref.device SET state = 'retired'")
    assert value(stored, "SELECT count(*) FROM api_v1.latest_positions") == 0
    assert value(stored, "SELECT count(*) FROM api_v1.positions") == 2


def test_the_page_for_people_says_the_same(postgres_url):
    page = (Path(__file__).parents[2] / "docs" / "database.md").read_text()
    for (line,) in rows(postgres_url, COLUMNS):
        what, _, comment = line.partition(" -- ")
        name = what.split(" ")[0]
        if "." not in name:  # a view's own line, or a function's
            continue
        view, column = name.split(".")
        section = page.partition(f"### api_v1.{view}\n")[2].partition("\n### ")[0]
        assert f"| `{column}` | " in section, what
        assert comment in section, what
