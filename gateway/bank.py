"""One bank: its settings, keys, database, law and clock, handed to whoever acts; made once, then opened.

The clock is injected: nothing in the gateway asks the system for the time but through it. A bank opens
only when its settings, keys, schema, log and packs all stand; whatever does not stops the start with
its name and the reason (`SettingsError`, `audit.log.LogError`, `policies.packs.PackError`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Row

from audit import log
from audit.check import check_head
from gateway import keys as key_files
from gateway.database import Database
from gateway.errors import SettingsError
from gateway.keys import Keys
from gateway.registry import generations
from gateway.registry.generations import Laws
from gateway.registry.index.kept import Index
from gateway.settings import Settings
from gateway.tables import SHANGHAI, metadata
from policies import disease
from policies.disease import DiseaseTree
from policies.rules import Law

Clock = Callable[[], datetime]
T = TypeVar("T")

_BANK = metadata.tables["bank"]
_VERSION = sa.select(_BANK.c.facts_version)
_CHANGE = metadata.tables["donor_change"]
# Said once: to build a statement costs more than to run it.
_RAISE = (
    sa.update(_BANK)
    .values(facts_version=_BANK.c.facts_version + 1)
    .returning(_BANK.c.facts_version, _BANK.c.noted_since)
)
_NOTE = sa.insert(_CHANGE)
_NOTED = 5000  # donors in one statement


def system_clock() -> datetime:
    """The time now, aware UTC."""
    return datetime.now(UTC)


#: So many readings of one version of the facts are kept at the most; then all are forgotten.
_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Readings of the registers under one version of the facts: `recall(key, read)` reads each once."""

    kept: dict[Hashable, Any]
    keeps: bool

    def __call__(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` says, which must hang on the version of the facts and on `key` alone."""
        if key in self.kept:
            return cast("T", self.kept[key])
        value = read()
        if self.keeps:
            if len(self.kept) >= _KEPT:
                self.kept.clear()
            self.kept[key] = value
        return value


#: Nothing is kept of it: each is read anew.
NOTHING_KEPT = Recall(kept={}, keeps=False)


class Remembered:
    """Readings of the registers that hold as long as no fact changes.

    INVARIANT (see `bump`): under one committed version every reader reads the same. Only readers' readings
    are kept: a version that a unit of the writer has just made may never be committed, and then be made
    again by another.
    """

    def __init__(self) -> None:
        self._version, self._kept = -1, dict[Hashable, Any]()
        self._door = threading.Lock()

    def at(self, conn: Connection, version: int) -> Recall:
        """Those under the version that `conn` sees; of an older one than is kept, none."""
        reads = not conn.info.get("write")
        with self._door:
            if version > self._version and reads:
                self._version, self._kept = version, {}
            if version == self._version:
                return Recall(kept=self._kept, keeps=reads)
        return Recall(kept={}, keeps=True)  # for this one reading alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Everything an act needs. `party_id` is the bank's own party.

    Decide by `laws.in_force(conn)`: which packs are in force is a fact of the transaction.
    """

    settings: Settings
    keys: Keys
    database: Database
    laws: Laws
    diseases: DiseaseTree
    origin: str
    party_id: str
    clock: Clock = system_clock
    remembered: Remembered = field(default_factory=Remembered, compare=False)
    index: Index = field(default_factory=Index, compare=False)

    @property
    def law(self) -> Law:
        """The law last seen in force: its words, and what is shown beside a decision."""
        return self.laws.law

    def now(self) -> datetime:
        """The instant, aware UTC."""
        return self.clock()

    def today(self) -> date:
        """The legal date: today in Shanghai."""
        return self.now().astimezone(SHANGHAI).date()

    def open_index(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Have the cohort index, made from the rows if it must be; never within a transaction."""
        self.index.open(self.database, self.origin, self.index_file, self.today(), progress)

    def keep_index(self) -> None:
        """Write the cohort index down, so that the next start need not read anew what changed since."""
        self.index.keep(self.database, self.origin, self.index_file)

    @property
    def index_file(self) -> Path:
        """Where the cohort index is kept: it can always be made anew."""
        return self.settings.data_dir / "cohorts.index"


def create_bank(
    settings: Settings,
    *,
    origin: str,
    name_zh: str,
    name_en: str,
    registration: str = "",
    party_id: str = "pty_bank",
    invented: bool = False,
    clock: Clock = system_clock,
) -> Bank:
    """Make a new bank in the folders of `settings` and open it; only ever run once per bank.

    Made are its folders, keys and schema, the bank's own party, the shipped packs as its first generation,
    an empty log. Nothing that is there is overwritten.

    `origin` names the log and its key for ever: a domain and path one controls, no spaces, no plus.
    Raises `SettingsError` if a bank or its keys are there already, or the origin is unfit; `PackError`.
    """
    settings.verify()
    generations.shipped_law()  # first of all: no bank is made of packs that do not hold together
    if isinstance(settings.place, Path):
        if settings.place.exists():
            raise SettingsError(f"`{settings.place}` is there already; a bank is never overwritten")
    else:
        _verify_empty(settings.place)
    try:
        # A crash from here on leaves keys without a bank: nothing is lost, and the next try says so.
        key_files.create(settings.keys_dir, origin)
    except ValueError as error:
        raise SettingsError(f"`{origin}` cannot name a log: {error}") from error
    for folder in (settings.data_dir, settings.exports):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.place)
    if isinstance(settings.place, Path):
        settings.place.chmod(0o600)
    now = clock()

    def first(conn: Connection) -> None:
        conn.execute(
            sa.insert(metadata.tables["party"]).values(
                id=party_id,
                name_zh=name_zh,
                name_en=name_en,
                country="CN",
                registration=registration,
                individual=False,
                legal_person=True,
                hkmo_entity=False,
                ban_checked=False,
                credit_flag=False,
                invented=invented,
                created_at=now,
            )
        )
        conn.execute(
            sa.insert(_BANK).values(
                id=1, party_id=party_id, origin=origin, facts_version=1, created_at=now
            )
        )
        generations.first(conn, by=origin, now=now)
        log.create(conn, origin, now)

    try:
        migrate(database)
        database.write(first)
    finally:
        database.close()
    return open_bank(settings, clock)


def open_bank(settings: Settings, clock: Clock = system_clock) -> Bank:
    """Open the bank of these settings; a SQLite file is this process's alone until it closes.

    1 settings; 2 keys; 3 the file and its durability; 4 schema; 5 whose bank it is; 6 the log's right
    edge; 7 the law. Raises `SettingsError`, `LogError` or `PackError`, and then holds nothing open.
    """
    settings.verify()
    keys = key_files.load(settings.keys_dir)
    database = open_database(settings)
    try:
        with database.read() as conn:
            verify_schema(conn)
            row = _whose(conn, settings, keys)
            check_head(conn, row.origin)
            laws = generations.opened(conn)
        return Bank(
            settings=settings,
            keys=keys,
            database=database,
            laws=laws,
            diseases=disease.tree(),
            origin=row.origin,
            party_id=row.party_id,
            clock=clock,
        )
    except BaseException:
        database.close()
        raise


def open_database(settings: Settings) -> Database:
    """The database of a bank that was made, of whatever schema. Raises `SettingsError`."""
    if isinstance(settings.place, Path) and not settings.place.exists():
        raise SettingsError(f"there is no bank in `{settings.data_dir}`; `hgr init` makes one")
    database = Database(settings.place)
    if not database.is_file:
        with database.read() as conn:
            made = MigrationContext.configure(conn).get_current_revision()
        if made is None:
            database.close()
            raise SettingsError(f"there is no bank in {_named(settings)}; `hgr init` makes one")
    return database


def migrate(database: Database, *, to: str = "head") -> None:
    """Bring an open database's schema to the newest version, or to `to`; from empty, make it.

    Each migration is one transaction: a crash leaves the schema before it or after it. SQLite alters a
    table by making it anew, which its rows' references forbid; so they are not enforced meanwhile, but
    checked before anything is kept. Raises `SettingsError` where one is broken.
    """
    config = _alembic()
    with database.engine.connect() as conn:
        driver = conn.connection.cursor()
        if database.is_file:
            driver.execute("PRAGMA foreign_keys=OFF")
        conn.info["write"] = True  # the write lock is taken at BEGIN, as for any unit
        try:
            config.attributes["connection"] = conn
            command.upgrade(config, to)
        finally:
            conn.info.pop("write", None)
            conn.rollback()
            if database.is_file:
                driver.execute("PRAGMA foreign_keys=ON")


def verify_schema(conn: Connection) -> None:
    """Raise `SettingsError` unless the schema is exactly the version this code speaks."""
    newest = ScriptDirectory.from_config(_alembic()).get_current_head()
    current = MigrationContext.configure(conn).get_current_revision()
    if current != newest:
        raise SettingsError(
            f"the schema is at `{current or 'none'}`, this version needs `{newest}`: "
            "stop the gateway, back up, run `hgr migrate`"
        )


def bump(conn: Connection, donors: Iterable[str] = ()) -> None:
    """Raise the version of the facts by one; `donors` are the ids of those of whom a row has changed.

    INVARIANT: whoever writes a fact that a decision may rest on calls this in the same transaction; a
    decision gathered under one version is only recorded while that version stands. Whoever writes a row
    of a donor, of a consent, withdrawal or holding names the donor: the cohort index reads it anew.
    """
    version, noted_since = conn.execute(_RAISE).one()
    changed = sorted(set(donors)) if noted_since is not None else []
    for at in range(0, len(changed), _NOTED):
        some = changed[at : at + _NOTED]
        conn.execute(sa.delete(_CHANGE).where(_CHANGE.c.donor_id.in_(some)))
        conn.execute(_NOTE, [{"donor_id": one, "version": version} for one in some])


def facts_version(conn: Connection) -> int:
    """The version of the facts in force in this transaction."""
    return int(conn.execute(_VERSION).scalar_one())


def _whose(conn: Connection, settings: Settings, keys: Keys) -> Row[Any]:
    row = conn.execute(sa.select(_BANK)).one_or_none()
    if row is None:
        raise SettingsError(f"{_named(settings)} holds no bank; `hgr init` makes one")
    if row.origin != keys.log.name:
        raise SettingsError(
            f"the keys in `{settings.keys_dir}` are those of `{keys.log.name}`, "
            f"the bank is `{row.origin}`"
        )
    return row


def _named(settings: Settings) -> str:
    """The place of a bank's rows in words, without a password."""
    place = settings.place
    return f"`{place}`" if isinstance(place, Path) else f"`{place.render_as_string()}`"


def _verify_empty(url: URL) -> None:
    """Raise `SettingsError` if there is a bank in this PostgreSQL database, or anything else."""
    database = Database(url)
    try:
        with database.read() as conn:
            found = sa.inspect(conn).get_table_names()
    finally:
        database.close()
    if found:
        raise SettingsError(
            f"`{url.render_as_string()}` is not empty; a bank is never overwritten: it needs a "
            "database of its own"
        )


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
