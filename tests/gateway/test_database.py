"""The writer: one commit for many, one that fails sinks no other, nobody hears of a lost batch."""

from __future__ import annotations

import sqlite3
import subprocess
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError, InternalError

from audit import log
from gateway import database as database_module
from gateway.bank import Bank
from gateway.database import BATCH, PRAGMAS, Database, rewritable, verify_durability
from gateway.errors import CommitUnknownError, ProblemError, SettingsError
from tests import store
from tests.gateway.test_acts import AGGREGATE, count, create
from tests.store import place_in

TABLE = sa.Table("t", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))


@pytest.fixture
def database(tmp_path: Path):
    made = Database(place_in(tmp_path))
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
    place = database.place
    other = sa.create_engine(f"sqlite:///{place}" if database.is_file else place)
    with other.connect() as conn:
        assert conn.execute(sa.text("SELECT n FROM t")).all() == [(1,)]
    other.dispose()


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
        driver = sqlite3 if database.is_file else psycopg
        raise driver.OperationalError("disk I/O error")

    event.listen(database.engine, "commit", fail)
    with pytest.raises(CommitUnknownError):
        database.write(insert(3))
    event.remove(database.engine, "commit", fail)
    assert stored(database) == ({3} if durable else set())
    assert database.write(insert(4)) == 4


def test_a_session_only_reads(database: Database) -> None:
    refused = nullcontext() if database.is_file else pytest.raises(InternalError, match="read-only")
    with database.session() as session, refused:
        session.connection().execute(TABLE.insert().values(n=9))
    assert stored(database) == set()


@pytest.mark.sqlite
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


@pytest.mark.sqlite
def test_a_second_holder_is_refused(database: Database) -> None:
    with pytest.raises(SettingsError, match="held by another process"):
        Database(database.place)


def test_a_closed_database_takes_nothing(tmp_path: Path) -> None:
    database = Database(place_in(tmp_path))
    database.close()
    database.close()
    with pytest.raises(SettingsError, match="closed"):
        database.write(lambda _conn: None)


def test_parameters_never_reach_an_errors_text(database: Database) -> None:
    database.write(insert(424242))
    with pytest.raises(IntegrityError) as caught:
        database.write(insert(424242))
    assert "424242" not in str(caught.value)


@pytest.mark.sqlite
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = database_module._file_system(tmp_path)
    assert here
    monkeypatch.setattr(database_module, "NETWORK", {here})
    with pytest.raises(SettingsError, match="network file system"):
        Database(tmp_path / "bank.sqlite")


# ---- PostgreSQL ----------------------------------------------------------------------------------


@pytest.mark.postgresql
def test_two_writers_of_one_database_take_turns(database: Database) -> None:
    """What one process reads in a write, no other changes before that write is committed."""
    other = Database(database.place)
    reading, gate = threading.Event(), threading.Event()

    def next_number(conn: Connection) -> int:
        n = conn.execute(sa.select(sa.func.coalesce(sa.func.max(TABLE.c.n), 0))).scalar_one() + 1
        reading.set()
        gate.wait(10)
        conn.execute(TABLE.insert().values(n=n))
        return n

    first = database.submit(next_number)
    assert reading.wait(10)
    rest = [(other if n % 2 else database).submit(next_number) for n in range(40)]
    assert stored(other) == set(), "readers do not wait"
    gate.set()
    assert sorted(one.result(20) for one in [first, *rest]) == list(range(1, 42))
    other.close()


@pytest.mark.postgresql
def test_who_came_while_another_process_wrote_goes_in_one_transaction(database: Database) -> None:
    other = Database(database.place)
    commits = []
    event.listen(other.engine, "commit", lambda _conn: commits.append(1))
    writing, gate = threading.Event(), threading.Event()

    def hold(_conn: Connection) -> None:
        writing.set()
        gate.wait(10)

    held = database.submit(hold)
    assert writing.wait(10)
    first = other.submit(insert(0))
    with store._server() as server:
        asks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while server.execute(asks).fetchone() == (0,):
            pass  # until its writer asks for the lock
    rest = [other.submit(insert(n)) for n in range(1, BATCH)]
    gate.set()
    assert [one.result(20) for one in [first, *rest]] == list(range(BATCH))
    held.result(10)
    assert len(commits) == 1
    other.close()


@pytest.mark.postgresql
def test_a_reader_sees_one_snapshot(database: Database) -> None:
    with database.read() as conn:
        assert conn.execute(sa.select(TABLE.c.n)).all() == []
        database.write(insert(1))
        assert conn.execute(sa.select(TABLE.c.n)).all() == []
    assert stored(database) == {1}


@pytest.mark.postgresql
def test_a_server_that_ends_our_connections_loses_no_answer(database: Database) -> None:
    """The writer's connection is cut in the middle of a batch: nobody is told that all is well."""

    def cut(conn: Connection) -> None:
        insert(1)(conn)
        own = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with store._server() as server:
            server.execute("SELECT pg_terminate_backend(%s, 5000)", (own,))

    with pytest.raises(CommitUnknownError):
        database.write(cut)
    assert database.write(insert(2)) == 2
    assert stored(database) == {2}


@pytest.mark.postgresql
def test_a_sum_is_a_whole_number(database: Database) -> None:
    database.write(insert(2**31 - 1))
    with database.read() as conn:
        total = conn.execute(sa.select(sa.func.sum(sa.cast(TABLE.c.n, sa.BigInteger)))).scalar_one()
    assert (type(total), total) == (int, 2**31 - 1)


@pytest.mark.postgresql
@pytest.mark.parametrize("weaker", ["off", "local", "remote_write"])
def test_a_database_that_acknowledges_early_is_refused(database: Database, weaker: str) -> None:
    with database.engine.connect() as conn:
        raw = conn.connection.dbapi_connection
        name = raw.info.dbname
    with store._server() as server:
        server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {weaker}')
    with pytest.raises(SettingsError, match=f"synchronous_commit at `{weaker}`"):
        Database(database.place)


@pytest.mark.postgresql
def test_a_server_that_could_lose_pages_or_follows_another_is_refused() -> None:
    with store.own_server() as server:
        place = server.place()
        Database(place).close()
        for name in ("fsync", "full_page_writes"):
            server.configure(name, "off")
            with pytest.raises(SettingsError, match=f"{name} at `off`"):
                Database(place)
            server.configure(name, "on")
        Database(place).close()
        server.follow()
        with pytest.raises(SettingsError, match="standby"):
            Database(place)
        server.stop()
        with pytest.raises(SettingsError, match="does not let us in"):
            Database(place)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("encoding", "said"), [("SQL_ASCII", "server_encoding at `SQL_ASCII`")], ids=["no encoding"]
)
def test_a_database_of_another_encoding_is_refused(
    database: Database, tmp_path: Path, encoding: str, said: str
) -> None:
    name = store._name(tmp_path / "other")
    with store._server() as server:
        store._create(server, name, f"template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        with pytest.raises(SettingsError, match=said):
            Database(sa.make_url(store.address(name)))
    finally:
        with store._server() as server:
            server.execute(f'DROP DATABASE "{name}"')


#: A locale in which capitals stand beside their small letters, as in most languages.
LOCALE = """\
comment_char %
escape_char /
LC_COLLATE
order_start forward
{}
order_end
END LC_COLLATE
LC_CTYPE
upper <U0041>..<U005A>
lower <U0061>..<U007A>
digit <U0030>..<U0039>
END LC_CTYPE
"""
CHARMAP = """\
<code_set_name> UTF-8
<comment_char> %
<escape_char> /
<mb_cur_min> 1
<mb_cur_max> 6
CHARMAP
{}
END CHARMAP
"""


@pytest.mark.postgresql
def test_a_database_whose_texts_stand_in_another_order_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order is the C library's (localedef makes one here), and may change with its next version."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may be another user
        pairs = "\n".join(f"<U{code:04X}>\n<U{code + 32:04X}>" for code in range(0x41, 0x5B))
        (folder / "locale").write_text(LOCALE.format(pairs))
        letters = "\n".join(f"<U{code:04X}> /x{code:02x} {code}" for code in range(128))
        (folder / "charmap").write_text(CHARMAP.format(letters))
        # It warns, with exit code 1, of what this locale does not say (money, dates).
        told = ["localedef", "-c", "-i", "locale", "-f", "charmap", "--no-archive", "./odd.utf8"]
        subprocess.run(told, cwd=folder, capture_output=True, check=False)
        monkeypatch.setenv("LOCPATH", name)
        with store.own_server() as server, pytest.raises(SettingsError, match="by code point"):
            Database(server.place("odd.utf8"))


# ---- who may change what -------------------------------------------------------------------------

GUARDED = {"log_leaf", "log_checkpoint", "log_document", "decision", "case_event", "withdrawal"}


@pytest.mark.postgresql
def test_the_gateways_role_adds_and_changes_nothing_that_is_only_added_to(bank: Bank) -> None:
    """The role that docs/postgresql.md makes; every test on PostgreSQL with a copied bank is it."""
    before = count(bank, "grant_")
    create(bank, AGGREGATE)
    assert count(bank, "grant_") == before + 1
    name = str(bank.database.place.database)
    with psycopg.connect(store.address(name, store.GATEWAY).replace("+psycopg", "")) as conn:
        conn.autocommit = True
        asked = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%append_only'"
        kept = {table for (table,) in conn.execute(asked)}
        assert kept >= GUARDED
        tried = [
            statement
            for table in kept
            for statement in (
                f"DELETE FROM {table}",  # noqa: S608 - a name of ours
                f"TRUNCATE {table}",
                f"DROP TRIGGER {table}_append_only ON {table}",
                f"ALTER TABLE {table} DISABLE TRIGGER ALL",
                f"DROP TABLE {table}",
            )
        ]
        tried += [
            "UPDATE log_leaf SET leaf = ''",
            "UPDATE decision SET outcome = 'permit'",
            "DELETE FROM log_head",
            "DELETE FROM log_tile",
            "UPDATE alembic_version SET version_num = ''",
            "SET session_replication_role = replica",
            "ALTER FUNCTION append_only() RENAME TO anything",
        ]
        for statement in tried:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
    with bank.database.read() as conn:
        assert rewritable(conn) == []
        log.check(conn, bank.origin)


@pytest.mark.postgresql
def test_the_owner_is_refused_by_the_trigger_and_told_by_the_doctor(bank: Bank) -> None:
    with store.opened(bank.settings) as conn:
        assert set(rewritable(conn)) >= GUARDED
        with pytest.raises(IntegrityError, match="append-only: log_leaf"):
            store.execute(conn, "UPDATE log_leaf SET leaf = leaf")
        conn.rollback()


@pytest.mark.sqlite
def test_of_a_file_nothing_is_said(database: Database) -> None:
    with database.read() as conn:
        assert rewritable(conn) == []
