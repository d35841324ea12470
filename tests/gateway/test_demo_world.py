"""The invented world is what it says: real ids, marked inventions, everything the demo needs."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.bank import Bank, create_bank
from gateway.demo_world import World, fill
from gateway.registry import consents
from tests.gateway.conftest import ORIGIN, START, SettableClock, settings_in

DATA = files("gateway").joinpath("demo_data")


def count(bank: Bank, statement: str) -> int:
    with bank.database.read() as conn:
        return int(conn.execute(sa.text(statement)).scalar_one())


def test_the_panel_is_the_one_the_readme_names() -> None:
    panel = DATA.joinpath("1000genomes-phase3.panel.tsv").read_bytes()
    assert hashlib.sha256(panel).hexdigest() in DATA.joinpath("README.md").read_text("utf-8")
    assert panel.startswith(b"sample\tpop\tsuper_pop\tgender\t\t\n")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT count(*) FROM donor", 2535),
        ("SELECT count(*) FROM collection", 26),
        ("SELECT count(*) FROM collection WHERE country <> 'CN'", 5),
        ("SELECT count(DISTINCT donor_id) FROM holding WHERE collected_abroad", 505),
        ("SELECT count(DISTINCT kind) FROM holding", 8),
        ("SELECT count(*) FROM collection WHERE owner_consent_needed", 1),
        ("SELECT count(*) FROM party WHERE NOT invented", 0),
        ("SELECT count(*) FROM collection WHERE NOT invented", 0),
        ("SELECT count(*) FROM paper WHERE NOT invented OR checked_by IS NULL", 0),
        ("SELECT count(*) FROM consent_form WHERE id NOT IN (SELECT form_id FROM form_mapping)", 1),
        ("SELECT count(*) FROM holding WHERE kind = 'tumour_tissue' AND disease IS NULL", 0),
        ("SELECT count(*) FROM party WHERE name_zh NOT LIKE '%虚构%'", 0),
        ("SELECT count(*) FROM paper WHERE number NOT LIKE '%虚构%'", 0),
    ],
)  # fmt: skip
def test_counts(bank: Bank, statement: str, expected: int) -> None:
    assert count(bank, statement) == expected


def test_at_least_a_dozen_profiles_and_three_scopes_of_withdrawal(bank: Bank, world: World) -> None:
    with bank.database.read() as conn:
        used = conn.execute(sa.text("SELECT DISTINCT profile_id FROM consent")).scalars().all()
        meanings = consents.meanings(conn, used)
    profiles = [meaning.profile for meaning in meanings.values() if meaning.profile.mapped]
    assert len({profile.id for profile in profiles}) >= 12
    codes = {term.code for profile in profiles for term in profile.permissions + profile.modifiers}
    wanted = {"42", "06", "07", "11", "45", "46", "22", "25", "24", "21"}
    assert {f"DUO:00000{number}" for number in wanted} <= codes
    assert set(world.withdrawn) == {"everything", "study", "data"}
    assert count(bank, "SELECT count(*) FROM consent WHERE by_guardian") > 3


def test_every_id_of_the_world_is_there(bank: Bank, world: World) -> None:
    tables = {
        "party": world.parties, "project": world.projects, "collection": world.collections,
        "researcher": world.researchers, "paper": world.papers, "consent_form": world.forms,
        "donor": world.donors,
    }  # fmt: skip
    with bank.database.read() as conn:
        for table, ids in tables.items():
            known = set(conn.execute(sa.text(f"SELECT id FROM {table}")).scalars())  # noqa: S608 - our names
            assert set(ids.values()) <= known, table
    assert world.parties["shanghai_hospital"] == "pty_shanghai_hospital"
    assert world.collections["chb"] == "col_chb"


def test_the_same_seed_gives_the_same_world_and_another_another(
    tmp_path: Path, bank: Bank, world: World
) -> None:
    rows = sa.text("SELECT id, units, disease, collected_on FROM holding ORDER BY id")
    with bank.database.read() as conn:
        template = conn.execute(rows).all()
    for seed, same in ((20260101, True), (7, False)):
        other = create_bank(
            settings_in(tmp_path / str(seed)), origin=ORIGIN, name_zh="虚构", name_en="x",
            clock=SettableClock(),
        )  # fmt: skip
        filled = other.database.write(lambda c, o=other, s=seed: fill(c, o, seed=s, now=START))
        with other.database.read() as conn:
            assert (conn.execute(rows).all() == template) is same
        assert (filled == world) is same
        other.database.close()
