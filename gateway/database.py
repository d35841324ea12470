"""The database: readers, and the one writer that commits for everybody (group commit).

The rules it keeps:
- Only here is anything committed. A write is a unit, a function of one connection; the writer runs
  waiting units in one transaction, each in a savepoint, so that one that fails sinks no other.
- No answer leaves before COMMIT has returned. If COMMIT itself fails nobody may say what happened:
  every waiting caller gets `CommitUnknownError`, and the connection is thrown away.
- Settings that would lose an acknowledged decision are read back and refused (SQLite answers a
  PRAGMA with the mode in force instead of raising).
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

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, text
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

_Job = tuple[Unit[Any], "Future[Any]"]


class Database:
    """One SQLite file held by one process: many readers, one writer thread."""

    def __init__(self, path: Path) -> None:
        """Open `path` (its folder must exist). Raises `HeldError` if somebody else holds it."""
        self.path = path
        self._lock = _hold(path)
        self.engine = _engine(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._closed = False
        self._door = threading.Lock()  # so that no unit is handed in behind the last one
        with self.engine.connect() as connection:
            verify_durability(connection)
        self._thread.start()

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
        self.engine.dispose()
        os.close(self._lock)

    def _write(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._wait()
            if batch:
                self._run(batch)

    def _wait(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _run(self, batch: list[_Job]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            with self.engine.connect() as connection:
                connection.info["write"] = True  # `_begin` takes the write lock for it
                transaction = connection.begin()
                try:
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
            return
        self.acknowledge(done)

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
    """Read back every PRAGMA; raise `SettingsError` where the mode in force is weaker."""
    for name, wanted in PRAGMAS.items():
        got = connection.execute(text(f"PRAGMA {name}")).scalar_one()
        if got != wanted:
            raise SettingsError(f"sqlite keeps {name} at `{got}`, `{wanted}` is needed")


def _engine(path: Path) -> Engine:
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
    lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise HeldError(f"`{path}` is held by another process") from error
    return lock
