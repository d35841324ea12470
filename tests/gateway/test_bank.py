"""A bank is made once, opens only whole, and keeps its histories by the database itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from audit import check
from audit.tree import metadata as log_metadata
from gateway import tables
from gateway.bank import Bank, Recall, bump, create_bank, facts_version, migrate, open_bank
from gateway.database import Database
from gateway.demo_world import World
from gateway.errors import SettingsError
from gateway.settings import Settings
from tests.gateway.conftest import ORIGIN, SettableClock, settings_in
from tests.store import execute, opened, place_in


def make(folder: Path, origin: str = ORIGIN) -> Bank:
    return create_bank(
        settings_in(folder), origin=origin, name_zh="虚构库", name_en="x", clock=SettableClock()
    )


def test_a_new_bank_has_its_party_an_empty_log_and_a_law(tmp_path: Path) -> None:
    bank = make(tmp_path)
    with bank.database.read() as conn:
        assert conn.execute(sa.text("SELECT id, name_zh FROM party")).all() == [
            ("pty_bank", "虚构库")
        ]
        check.check(conn, ORIGIN)
    assert bank.party_id == "pty_bank"
    assert bank.origin == ORIGIN
    bank.database.close()


def test_the_migrated_schema_is_the_one_the_code_declares(tmp_path: Path) -> None:
    bank = make(tmp_path)
    with bank.database.read() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "include_object": _ours}
        )
        assert compare_metadata(context, [tables.metadata, log_metadata]) == []
    bank.database.close()


def test_a_bank_with_rows_in_it_is_migrated_whole(tmp_path: Path) -> None:
    database = Database(place_in(tmp_path))
    migrate(database, to="0001")
    triggers = (
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
        if database.is_file
        else "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
    )

    def fill(conn: Connection) -> int:
        party = (
            "INSERT INTO party VALUES (:id, 'x', 'x', 'CN', '', false, NULL, NULL, false, NULL, NULL, "
            "false, false, false, '2026-01-01 00:00:00')"
        )
        conn.execute(sa.text(party), [{"id": "pty_bank"}, {"id": "pty_x"}])
        edge = "INSERT INTO control_edge VALUES ('e', 'pty_x', 'pty_bank', '1/1', '1/1', false, 'none', "
        conn.execute(sa.text(edge + "'2026-01-01', NULL, '')"))
        return int(conn.execute(sa.text(triggers)).scalar_one())

    kept = database.write(fill)
    migrate(database)
    with database.read() as conn:
        assert conn.execute(sa.text("SELECT id FROM party ORDER BY id")).scalars().all() == [
            "pty_bank",
            "pty_x",
        ]
        assert conn.execute(sa.text(triggers)).scalar_one() >= kept, "histories stay append-only"
        if database.is_file:
            assert conn.execute(sa.text("PRAGMA foreign_keys")).scalar_one() == 1
    with pytest.raises(sa.exc.IntegrityError, match=r"(?i)foreign key"):
        database.write(lambda conn: conn.execute(sa.text("DELETE FROM party WHERE id = 'pty_x'")))
    database.close()


def test_what_was_counted_before_the_recipient_was_kept_counts_for_its_group(
    tmp_path: Path,
) -> None:
    database = Database(place_in(tmp_path))
    migrate(database, to="0005")
    old = "INSERT INTO released_donor VALUES ('pty_g', 'prj_1', :cls, :donor, true, 'rel_1', 2025)"
    rows = [{"cls": c, "donor": d} for c in ("genome", "clinical") for d in ("dnr_1", "dnr_2")]
    database.write(lambda conn: conn.execute(sa.text(old), rows))
    migrate(database)
    with database.read() as conn:
        kept = conn.execute(sa.text("SELECT * FROM released_donor")).mappings().all()
    assert len(kept) == len(rows)
    assert {(r["source_id"], r["party_id"], r["group_id"], r["year"]) for r in kept} == {
        ("rel_1", "pty_g", "pty_g", 2025)
    }
    for change in ("DELETE FROM released_donor", "UPDATE released_donor SET year = 2024"):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"):
            database.write(lambda conn, change=change: conn.execute(sa.text(change)))
    database.close()


@pytest.mark.sqlite  # PostgreSQL enforces references while it migrates
def test_a_migration_over_broken_references_changes_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "old.sqlite")
    migrate(database, to="0001")
    with sqlite3.connect(tmp_path / "old.sqlite") as raw:  # enforces no reference of its own accord
        raw.execute(
            "INSERT INTO control_edge VALUES "
            "('e', 'nobody', 'nobody', '1/1', '1/1', 0, 'none', '2026-01-01', NULL, '')"
        )
    raw.close()
    with pytest.raises(SettingsError, match="reference to nothing"):
        migrate(database)
    with database.read() as conn:
        assert MigrationContext.configure(conn).get_current_revision() == "0001"
    database.close()


def _ours(_: object, name: str | None, kind: str, *__: object) -> bool:
    return not (kind == "table" and name == "alembic_version")


def lose(settings: Settings) -> None:
    """All rows of a bank, and the tables with them."""
    if isinstance(settings.place, Path):
        settings.place.unlink()
        return
    with opened(settings) as conn:
        execute(conn, "DROP SCHEMA public CASCADE")
        execute(conn, "CREATE SCHEMA public")


def test_a_bank_is_never_made_twice_nor_keys_overwritten(tmp_path: Path) -> None:
    make(tmp_path).database.close()
    with pytest.raises(SettingsError, match="never overwritten"):
        make(tmp_path)
    lose(settings_in(tmp_path))
    with pytest.raises(SettingsError, match="never overwritten"):
        make(tmp_path)


@pytest.mark.parametrize("origin", ["with space", "with+plus", ""])
def test_an_origin_that_cannot_name_a_log_leaves_no_bank(tmp_path: Path, origin: str) -> None:
    with pytest.raises(SettingsError, match="cannot name a log"):
        make(tmp_path, origin)
    with pytest.raises(SettingsError, match="missing"):
        open_bank(settings_in(tmp_path))


def test_opening_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="missing"):
        open_bank(settings_in(tmp_path))
    make(tmp_path).database.close()
    lose(settings_in(tmp_path))
    with pytest.raises(SettingsError, match="hgr init"):
        open_bank(settings_in(tmp_path))


def test_opening_refuses_another_banks_keys(tmp_path: Path) -> None:
    make(tmp_path / "a").database.close()
    make(tmp_path / "b", "other.example/hgr").database.close()
    settings = settings_in(tmp_path / "a").model_copy(
        update={"keys_dir": settings_in(tmp_path / "b").keys_dir}
    )
    with pytest.raises(SettingsError, match="the keys in"):
        open_bank(settings)
    open_bank(settings_in(tmp_path / "a")).database.close()  # and held nothing open


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("hgr migrate", "UPDATE alembic_version SET version_num = '0000'"),
        ("hgr (migrate|init)", "DROP TABLE alembic_version"),
        ("holds no bank", "DELETE FROM bank"),
    ],
)
def test_opening_refuses_another_schema_or_an_empty_file(
    tmp_path: Path, said: str, change: str
) -> None:
    make(tmp_path).database.close()
    with opened(settings_in(tmp_path)) as conn:
        execute(conn, change)
    with pytest.raises(SettingsError, match=said):
        open_bank(settings_in(tmp_path))


@pytest.mark.sqlite
def test_a_bank_open_elsewhere_is_refused(bank: Bank) -> None:
    with pytest.raises(SettingsError, match="held by another"):
        open_bank(bank.settings)


@pytest.mark.parametrize(
    "change", ["UPDATE withdrawal SET scope = 'contact'", "DELETE FROM withdrawal"]
)
def test_the_database_itself_keeps_withdrawals(bank: Bank, world: World, change: str) -> None:
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only: withdrawal"),
        opened(bank.settings) as owner,
    ):
        owner.execute(sa.text(change))


@pytest.mark.sqlite
def test_files_of_a_bank_are_for_its_owner_alone(bank: Bank, tmp_path: Path) -> None:
    fresh = make(tmp_path / "fresh")
    assert fresh.settings.database.stat().st_mode & 0o077 == 0
    assert fresh.settings.data_dir.stat().st_mode & 0o077 == 0
    fresh.database.close()


# ---- what is remembered of the registers ---------------------------------------------------------


def named(conn: Connection) -> str:
    return str(conn.execute(sa.text("SELECT name_en FROM party WHERE id = 'pty_bank'")).scalar())


def rename(conn: Connection, name: str) -> None:
    conn.execute(sa.text("UPDATE party SET name_en = :name WHERE id = 'pty_bank'"), {"name": name})
    bump(conn)


def recalled(bank: Bank, conn: Connection) -> str:
    recall = bank.remembered.at(conn, facts_version(conn))
    return recall("name", lambda: named(conn))


def test_a_register_is_read_once_while_no_fact_changes(bank: Bank) -> None:
    read: list[str] = []
    for _ in range(3):
        with bank.database.read() as conn:
            recall = bank.remembered.at(conn, facts_version(conn))
            recall("name", lambda: read.append("once"))
    assert read == ["once"]


def test_after_a_change_nothing_read_before_it_is_told(bank: Bank) -> None:
    with bank.database.read() as conn:
        before = recalled(bank, conn)
    bank.database.write(lambda conn: rename(conn, "anew"))
    with bank.database.read() as conn:
        assert recalled(bank, conn) == "anew" != before


def test_a_reader_of_an_older_snapshot_is_told_what_it_sees(bank: Bank) -> None:
    with bank.database.read() as old:
        before = recalled(bank, old)
        bank.database.write(lambda conn: rename(conn, "anew"))
        with bank.database.read() as conn:
            assert recalled(bank, conn) == "anew"
        assert recalled(bank, old) == before, "it still reads as of its first statement"
    with bank.database.read() as conn:
        assert recalled(bank, conn) == "anew", "and left nothing behind"


def test_what_a_unit_reads_that_is_rolled_back_is_told_to_nobody(bank: Bank) -> None:
    """The version it made is made again by the next, with other facts."""

    def fails(conn: Connection) -> None:
        rename(conn, "never")
        assert recalled(bank, conn) == "never"
        raise SettingsError("after all not")

    with pytest.raises(SettingsError, match="after all not"):
        bank.database.write(fails)
    bank.database.write(lambda conn: rename(conn, "instead"))
    with bank.database.read() as conn:
        assert recalled(bank, conn) == "instead"


def test_a_writer_is_told_what_readers_read_of_the_version_it_stands_on(bank: Bank) -> None:
    with bank.database.read() as conn:
        before = recalled(bank, conn)

    def unit(conn: Connection) -> tuple[str, str]:
        first = recalled(bank, conn)
        rename(conn, "anew")
        return first, recalled(bank, conn)

    assert bank.database.write(unit) == (before, "anew")


def test_no_more_than_so_many_readings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.bank._KEPT", 2)
    recall = Recall(kept={}, keeps=True)
    assert [recall(number, lambda number=number: number) for number in (1, 2, 3, 1)] == [1, 2, 3, 1]
    assert len(recall.kept) <= 2
