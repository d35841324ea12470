"""One open bank: its settings, keys, database, law and clock, handed to whoever acts.

The clock is injected: nothing in the gateway asks the system for the time but through it. A bank opens
only when its settings, keys, schema, log and packs all stand; whatever does not stops the start with
its name and the reason (`SettingsError`, `audit.log.LogError`, `policies.packs.PackError`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Row

from audit.check import check_head
from gateway import keys as key_files
from gateway.database import Database
from gateway.errors import SettingsError
from gateway.keys import Keys
from gateway.settings import Settings
from gateway.tables import metadata
from policies import disease, packs
from policies.disease import DiseaseTree
from policies.rules import Law

#: Legal dates are dates in Shanghai.
SHANGHAI = ZoneInfo("Asia/Shanghai")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The time now, aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Everything an act needs. `party_id` is the bank's own party."""

    settings: Settings
    keys: Keys
    database: Database
    law: Law
    diseases: DiseaseTree
    origin: str
    party_id: str
    clock: Clock = system_clock

    def now(self) -> datetime:
        """The instant, aware UTC."""
        return self.clock()

    def today(self) -> date:
        """The legal date: today in Shanghai."""
        return self.now().astimezone(SHANGHAI).date()


def open_bank(settings: Settings, clock: Clock = system_clock) -> Bank:
    """Open the bank in `settings.data_dir`; it is this process's alone until its database closes.

    1 settings; 2 keys; 3 the file and its durability; 4 schema; 5 whose bank it is; 6 the log's right
    edge; 7 the law. Raises `SettingsError`, `LogError` or `PackError`, and then holds nothing open.
    """
    settings.verify()
    keys = key_files.load(settings.keys_dir)
    if not settings.database.exists():
        raise SettingsError(f"there is no bank in `{settings.data_dir}`; `hgr init` makes one")
    database = Database(settings.database)
    try:
        with database.read() as conn:
            verify_schema(conn)
            row = _whose(conn, settings, keys)
            check_head(conn, row.origin)
        return Bank(
            settings=settings,
            keys=keys,
            database=database,
            law=_shipped_law(),
            diseases=disease.tree(),
            origin=row.origin,
            party_id=row.party_id,
            clock=clock,
        )
    except BaseException:
        database.close()
        raise


def migrate(database: Database) -> None:
    """Bring an open database's schema to the newest version; from empty, make it.

    Each migration is one transaction: a crash leaves the schema before it or after it.
    """
    config = _alembic()
    with database.engine.connect() as conn:
        conn.info["write"] = True  # the write lock is taken at BEGIN, as for any unit
        try:
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
        finally:
            conn.info.pop("write", None)


def verify_schema(conn: Connection) -> None:
    """Raise `SettingsError` unless the schema is exactly the version this code speaks."""
    newest = ScriptDirectory.from_config(_alembic()).get_current_head()
    current = MigrationContext.configure(conn).get_current_revision()
    if current != newest:
        raise SettingsError(
            f"the schema is at `{current or 'none'}`, this version needs `{newest}`: "
            "stop the gateway, back up, run `hgr migrate`"
        )


@cache
def _shipped_law() -> Law:
    """The packs that came with this version, read once: they do not change under a running process."""
    return packs.load(files("policies") / "packs")


def _whose(conn: Connection, settings: Settings, keys: Keys) -> Row[Any]:
    row = conn.execute(sa.select(metadata.tables["bank"])).one_or_none()
    if row is None:
        raise SettingsError(f"`{settings.database}` holds no bank; `hgr init` makes one")
    if row.origin != keys.log.name:
        raise SettingsError(
            f"the keys in `{settings.keys_dir}` are those of `{keys.log.name}`, "
            f"the bank is `{row.origin}`"
        )
    return row


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
