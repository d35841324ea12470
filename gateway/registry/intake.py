"""The first import into a new bank: folders, keys, schema, the bank's own party, an empty log.

Only ever run once per bank; nothing that is there is overwritten.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from audit import log
from gateway import keys as key_files
from gateway.bank import Bank, Clock, migrate, open_bank, system_clock
from gateway.database import Database
from gateway.errors import SettingsError
from gateway.settings import Settings
from gateway.tables import metadata


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
    """Make a new bank in the folders of `settings` and open it.

    `origin` names the log and its key for ever: a domain and path one controls, no spaces, no plus.
    Raises `SettingsError` if a bank or its keys are there already, or the origin is unfit.
    """
    settings.verify()
    if settings.database.exists():
        raise SettingsError(f"`{settings.database}` is there already; a bank is never overwritten")
    try:
        # A crash from here on leaves keys without a bank: nothing is lost, and the next try says so.
        key_files.create(settings.keys_dir, origin)
    except ValueError as error:
        raise SettingsError(f"`{origin}` cannot name a log: {error}") from error
    for folder in (settings.data_dir, settings.exports):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database)
    settings.database.chmod(0o600)
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
            sa.insert(metadata.tables["bank"]).values(
                id=1, party_id=party_id, origin=origin, facts_version=1, created_at=now
            )
        )
        log.create(conn, origin, now)

    try:
        migrate(database)
        database.write(first)
    finally:
        database.close()
    return open_bank(settings, clock)
