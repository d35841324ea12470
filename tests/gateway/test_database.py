"""The writer: one commit for many, one that fails sinks no other, nobody hears of a lost batch."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError

from gateway.database import BATCH, PRAGMAS, Database, verify_durability
from gateway.errors import CommitUnknownError, ProblemError, SettingsError

TABLE = sa.Table("t", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))


@pytest.fixture
def database(tmp_path: Path):
    made = Database(tmp_path / "bank.sqlite")
    made.write(TABLE.create)
    yield made
    made.close()


def insert(n: int):
    def unit(conn: Connection) -> int:
        conn.execute(TABLE.insert().values(n=n))
        return n

    return unit


def stored(database: Database) -> set[int]:
    with database.read() as conn:
        return set(conn.execute(sa.select(TABLE.c.n)).scalars())


def test_what_was_acknowledged_is_there_for_another_process(database: Database) -> None:
    assert database.write(insert(1)) == 1
    other = sqlite3.connect(database.path)
    assert other.execute("SELECT n FROM t").fetchall() == [(1,)]
    other.close()


def test_one_failing_unit_leaves_its_neighbours(database: Database) -> None:
    gate = threading.Event()
    held = database.submit(lambda _conn: gate.wait(10))  # the three below wait and share a batch

    def refused(conn: Connection) -> None:
        insert(7)(conn)
        raise ProblemError("not_found", "half-way")

    good, bad, twice = (
        database.submit(insert(2)),
        database.submit(refused),
        database.submit(insert(2)),
    )
    gate.set()
    assert held.result(10)
    assert good.result(10) == 2
    with pytest.raises(ProblemError):
        bad.result(10)
    with pytest.raises(IntegrityError):
        twice.result(10)
    assert stored(database) == {2}


def test_not_even_an_exit_inside_a_unit_stops_the_writer(database: Database) -> None:
    def leave(_conn: Connection) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        database.write(leave)
    assert database.write(insert(5)) == 5


def test_a_caller_that_hung_up_does_not_stop_the_writer(database: Database) -> None:
    gate = threading.Event()
    held = database.submit(lambda _conn: gate.wait(10))
    gone = database.submit(insert(6))
    assert gone.cancel()
    gate.set()
    assert held.result(10)
    assert database.write(insert(8)) == 8
    assert stored(database) == {8}


def test_a_caller_that_hangs_up_while_its_unit_runs_is_served(database: Database) -> None:
    running, gate = threading.Event(), threading.Event()

    def slow(conn: Connection) -> int:
        running.set()
        gate.wait(10)
        return insert(6)(conn)

    late = database.submit(slow)
    running.wait(10)
    assert not late.cancel()
    gate.set()
    assert late.result(10) == 6
    assert stored(database) == {6}


def test_many_waiting_units_share_commits(database: Database) -> None:
    commits = []
    event.listen(database.engine, "commit", lambda _conn: commits.append(1))
    gate = threading.Event()
    database.submit(lambda _conn: gate.wait(10))
    futures = [database.submit(insert(n)) for n in range(3 * BATCH)]
    gate.set()
    assert [f.result(10) for f in futures] == list(range(3 * BATCH))
    assert len(commits) <= 5


@pytest.mark.parametrize("durable", [False, True], ids=["lost", "stored but reported failed"])
def test_a_failed_commit_is_told_to_all_and_the_writer_goes_on(
    database: Database, *, durable: bool
) -> None:
    def fail(conn: Connection) -> None:
        if durable:
            conn.connection.dbapi_connection.commit()
        raise sqlite3.OperationalError("disk I/O error")

    event.listen(database.engine, "commit", fail)
    with pytest.raises(CommitUnknownError):
        database.write(insert(3))
    event.remove(database.engine, "commit", fail)
    assert stored(database) == ({3} if durable else set())
    assert database.write(insert(4)) == 4


def test_a_session_only_reads(database: Database) -> None:
    with database.session() as session:
        session.connection().execute(TABLE.insert().values(n=9))
    assert stored(database) == set()


@pytest.mark.parametrize("name", PRAGMAS)
def test_weaker_settings_are_refused(database: Database, name: str) -> None:
    weaker = {"journal_mode": "delete", "busy_timeout": "1", "trusted_schema": "1"}
    with database.engine.connect() as conn:
        raw = conn.connection.dbapi_connection
        raw.rollback()
        if name == "journal_mode":
            fake = sa.create_engine("sqlite://")
            with fake.connect() as memory, pytest.raises(SettingsError, match="journal_mode"):
                verify_durability(memory)
            fake.dispose()
        else:
            raw.execute(f"PRAGMA {name}={weaker.get(name, '0')}")
            with pytest.raises(SettingsError, match=name):
                verify_durability(conn)
        conn.invalidate()


def test_a_second_holder_is_refused(database: Database) -> None:
    with pytest.raises(SettingsError, match="held by another process"):
        Database(database.path)


def test_a_closed_database_takes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "bank.sqlite")
    database.close()
    database.close()
    with pytest.raises(SettingsError, match="closed"):
        database.write(lambda _conn: None)


def test_parameters_never_reach_an_errors_text(database: Database) -> None:
    database.write(insert(424242))
    with pytest.raises(IntegrityError) as caught:
        database.write(insert(424242))
    assert "424242" not in str(caught.value)
