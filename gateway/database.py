"""The database: readers, and the one writer that commits for everybody (group commit).

The rules it keeps:
- Only here is anything committed. A write is a unit, a function of one connection; the writer runs
  waiting units in one transaction, each in a savepoint, so that one that fails sinks no other.
- No answer leaves before COMMIT has returned. If COMMIT itself fails nobody may say what happened:
  every waiting caller gets `CommitUnknownError`, and the connection is thrown away.
- INVARIANT: one write transaction at a time on one database, whichever process began it, so that the
  order of commits is the order of the log. SQLite: the file's write lock, and the file is one
  process's. PostgreSQL: an advisory lock, taken before a write reads anything; each statement after it
  sees all that was committed before (READ COMMITTED).
- A reader sees one snapshot from its first statement on.
- Settings that would lose an acknowledged decision are read back and refused (SQLite answers a
  PRAGMA with the mode in force instead of raising; PostgreSQL is asked on every new connection, for
  its settings may change and another server may have taken over).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.types.numeric import IntLoader
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    Table,
    create_engine,
    event,
    insert,
    text,
)
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from gateway.errors import CommitUnknownError, HeldError, SettingsError

T = TypeVar("T")
Unit = Callable[[Connection], T]

#: Units in one transaction at the most; the measured knee of group commit lies here.
BATCH = 64

#: What must be read back from SQLite: name → value. synchronous 2 is FULL.
PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "trusted_schema": 0,
    "busy_timeout": 5000,
}

#: The number of the advisory lock that orders all writes to one PostgreSQL database: "hgr_log".
WRITE_LOCK = int.from_bytes(b"hgr_log")

#: What each new PostgreSQL connection is told. Nobody waits for ever for the lock of a process that is
#: paused or cut off, and the server ends what such a one began.
SESSION = "SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '60s'; SET TimeZone = 'UTC'"

#: What must be read back from PostgreSQL: name → values that lose nothing.
DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "remote_apply"),
    "server_encoding": ("UTF8",),
}
OLDEST = 15  # the oldest PostgreSQL the tests run on

#: File systems of other machines: their locks do not hold, or only as long as they can be reached.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "afs", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs"}
)

_Job = tuple[Unit[Any], "Future[Any]"]


class Database:
    """One bank's database: many readers, one writer thread.

    A SQLite file is held by one process; a PostgreSQL database may be shared by several.
    """

    def __init__(self, place: Path | URL) -> None:
        """Open a SQLite file (its folder must exist) or a PostgreSQL database.

        Raises `HeldError` if another process holds the file, `SettingsError` if the server does not
        answer, or its settings could lose what was acknowledged.
        """
        self.place = place
        self._lock: int | None = None
        if isinstance(place, Path):
            self._lock = _hold(place)
            self.engine = _sqlite(place)
        else:
            self.engine = _postgresql(place)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._closed = False
        self._door = threading.Lock()  # so that no unit is handed in behind the last one
        try:
            with self.engine.connect() as connection:
                verify_durability(connection)
        except BaseException as error:
            self._let_go()
            if isinstance(error, OperationalError) and not self.is_file:
                # It names host and role, never the password.
                raise SettingsError(
                    f"HGR_DATABASE_URL: the server does not let us in: {error.orig}"
                ) from error
            raise
        self._thread.start()

    @property
    def is_file(self) -> bool:
        """Whether this is a SQLite file, this process's alone."""
        return isinstance(self.place, Path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading: one snapshot from its first statement on, rolled back after."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Session]:
        """An ORM session for the administration path. It only reads: what it changes is lost."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    def submit(self, unit: Unit[T]) -> Future[T]:
        """Hand a unit to the writer; the future resolves after COMMIT, or with the unit's error."""
        future: Future[T] = Future()
        with self._door:
            if self._closed:
                raise SettingsError("the database is closed")
            self._jobs.put((unit, future))
        return future

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken in any more."""
        return self._closed

    def write(self, unit: Unit[T]) -> T:
        """Run a unit and wait for its COMMIT (from a thread; never on the event loop)."""
        return self.submit(unit).result()

    async def write_async(self, unit: Unit[T]) -> T:
        """Run a unit and await its COMMIT (on the event loop)."""
        return await asyncio.wrap_future(self.submit(unit))

    def close(self) -> None:
        """Let the writer finish what waits, then close everything."""
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._let_go()

    def _let_go(self) -> None:
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)

    def _write(self) -> None:
        going = True
        while going:
            job = self._jobs.get()
            going = job is not None and self._run([job])

    def _join(self, batch: list[_Job]) -> bool:
        """Let whoever waits into the batch, as long as there is room; False once none will come any more."""
        while len(batch) < BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return True
            if job is None:
                return False
            batch.append(job)
        return True

    def _run(self, batch: list[_Job]) -> bool:
        """Run and commit whoever waits with the batch; False once none will come any more."""
        going = True
        done: list[tuple[Future[Any], Any]] = []
        try:
            with self.engine.connect() as connection:
                connection.info["write"] = True  # `_begin` takes the write lock
                transaction = connection.begin()
                try:
                    # Whoever came while another process had the lock goes along: to wait for its next
                    # turn would cost them as long again (bench/group_commit.py).
                    going = self._join(batch)
                    for unit, future in batch:
                        done += _savepoint(connection, unit, future)
                    # A crash before this line leaves nothing of the batch; after it, all of it.
                    transaction.commit()
                finally:
                    connection.info.pop("write", None)
                    if transaction.is_active:
                        connection.invalidate()
        except BaseException as error:  # noqa: BLE001 - the writer's outermost edge, fails closed
            # Nobody can say whether it is durable. SQLite itself would carry on; a connection is
            # never used again after an I/O error, and no caller hears that all is well.
            self.engine.dispose()
            unknown = CommitUnknownError(str(error))
            for _, future in batch:
                if not future.done():
                    future.set_exception(unknown)
            return going
        self.acknowledge(done)
        return going

    def acknowledge(self, done: list[tuple[Future[Any], Any]]) -> None:
        """Let the answers of a committed batch go."""
        for future, result in done:
            future.set_result(result)


def _savepoint(
    connection: Connection, unit: Unit[Any], future: Future[Any]
) -> list[tuple[Future[Any], Any]]:
    # From here on nobody can cancel it: whoever hung up before is not served, whoever hangs up now
    # is. Without this a caller that went away would break the writer's `set_result`.
    if not future.set_running_or_notify_cancel():
        return []
    savepoint = connection.begin_nested()
    try:
        result = unit(connection)
    except OperationalError:
        raise  # a dead disk or a lost connection: nothing of this batch may be acknowledged
    except BaseException as error:  # noqa: BLE001 - handed to the caller, who waits for it
        savepoint.rollback()
        future.set_exception(error)
        return []
    savepoint.commit()
    return [(future, result)]


def insert_many(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that each name every column of `table`, as the driver takes them: for millions of rows.

    Each value is made what the driver wants by its column's type, as SQLAlchemy would; but values are few beside
    rows, so each is made once, and no statement is built for a row.
    """
    if not rows:
        return
    statement = insert(table).compile(dialect=conn.dialect, column_keys=list(table.c.keys()))
    made: list[Iterable[Any]] = []
    for column in table.c:
        process = column.type.dialect_impl(conn.dialect).bind_processor(conn.dialect)
        values = [row[column.name] for row in rows]
        if process is not None:
            taken = {value: process(value) for value in set(values)}
            values = [taken[value] for value in values]
        made.append(values)
    each = zip(*made, strict=True)
    if statement.positional:
        conn.exec_driver_sql(str(statement), list(each))
    else:
        names = table.c.keys()
        conn.exec_driver_sql(str(statement), [dict(zip(names, one, strict=True)) for one in each])


def verify_durability(connection: Connection) -> None:
    """Read back what keeps acknowledged decisions; `SettingsError` where the mode in force is weaker."""
    if connection.dialect.name == "postgresql":
        _verify_server(connection.connection.dbapi_connection)
        return
    for name, wanted in PRAGMAS.items():
        got = connection.execute(text(f"PRAGMA {name}")).scalar_one()
        if got != wanted:
            raise SettingsError(f"sqlite keeps {name} at `{got}`, `{wanted}` is needed")


def rewritable(connection: Connection) -> list[str]:
    """The append-only tables that this role could change all the same, by name; on a file, none is said.

    Their triggers refuse it to everybody, but an owner may drop a trigger (docs/postgresql.md).
    """
    if connection.dialect.name != "postgresql":
        return []
    asked = """
        SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE t.tgfoid = to_regproc('append_only')
        AND (pg_has_role(c.relowner, 'USAGE') OR has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'))
        ORDER BY c.relname"""
    return list(connection.execute(text(asked)).scalars())


def _verify_server(raw: Any) -> None:
    version = raw.info.server_version // 10_000
    if version < OLDEST:
        raise SettingsError(f"postgresql {version} is too old, {OLDEST} or newer is needed")
    for name, wanted in DURABLE.items():
        (got,) = raw.execute(f"SHOW {name}").fetchone()
        if got not in wanted:
            raise SettingsError(
                f"postgresql keeps {name} at `{got}`, `{'` or `'.join(wanted)}` is needed"
            )
    asked = """SELECT pg_is_in_recovery(), 'Z' < 'a' AND 'a-b' < 'aa' AND '_' < 'a'"""
    is_standby, by_code_point = raw.execute(asked).fetchone()
    if is_standby:
        raise SettingsError("postgresql is a standby: its readings are late and it takes no entry")
    if not by_code_point:
        # An order that a library of the machine decides changes with its updates, and then an index
        # no longer finds its rows.
        raise SettingsError(
            "postgresql does not sort by code point: make the database with "
            "`CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`"
        )


def _postgresql(url: URL) -> Engine:
    # As many as there are threads that may ask (40 readers, the writer); opened only when needed.
    engine = create_engine(
        url,
        pool_size=48,
        max_overflow=16,
        hide_parameters=True,
        connect_args={
            "client_encoding": "utf8",
            "connect_timeout": 10,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _record: object) -> None:
        raw.autocommit = True
        _verify_server(raw)
        # From here on a change of the server's configuration does not reach this connection.
        (kept,) = raw.execute("SHOW synchronous_commit").fetchone()
        raw.execute(f"{SESSION}; SET synchronous_commit = {kept}")
        raw.autocommit = False
        # No column is a numeric: one only comes of a sum, and is a whole number as in SQLite.
        raw.adapters.register_loader("numeric", IntLoader)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        writes = bool(connection.info.get("write"))
        level = psycopg.IsolationLevel
        raw.isolation_level = level.READ_COMMITTED if writes else level.REPEATABLE_READ
        raw.read_only = not writes
        if writes:
            raw.execute(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    @event.listens_for(engine, "handle_error")
    def _without_values(context: ExceptionContext) -> None:
        # "DETAIL: Key (code)=(…) already exists": what a row says may be a donor's.
        error, said = context.original_exception, context.sqlalchemy_exception
        if isinstance(error, psycopg.Error):
            error.args = (error.diag.message_primary or str(error),)
            if said is not None:
                said.args = (f"({type(error).__name__}) {error}",)

    return engine


def _sqlite(path: Path) -> Engine:
    # Readers run in the thread pool (40 threads): a smaller pool would starve them.
    # Parameters never reach an error's text: they may be a donor's.
    engine = create_engine(f"sqlite:///{path}", pool_size=48, max_overflow=16, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _connect(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None  # we say BEGIN ourselves
        cursor = dbapi.cursor()
        for name, value in PRAGMAS.items():
            # Fetched, because an I/O error during the switch to WAL only surfaces with the row.
            cursor.execute(f"PRAGMA {name}={value}").fetchall()
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = "IMMEDIATE" if connection.info.get("write") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _hold(path: Path) -> int:
    system = _file_system(path.parent)
    if system in NETWORK:
        raise SettingsError(
            f"`{path}` lies on a network file system ({system}), where SQLite may lose what it "
            "acknowledged: use a local disk, or PostgreSQL (HGR_DATABASE_URL)"
        )
    lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise HeldError(f"`{path}` is held by another process") from error
    return lock


def _file_system(folder: Path) -> str:
    """The kind of file system a folder lies on; empty where the machine does not tell (not Linux)."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return ""
    # proc(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
    kinds = [line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == wanted]
    return kinds[-1] if kinds else ""
