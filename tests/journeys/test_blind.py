"""What a researcher is told of few donors is the same whatever one of them wants, says or is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from audit import log
from gateway import tables
from gateway.app import create_app
from gateway.bank import Bank, open_bank
from gateway.demo_world import World
from gateway.registry import consents
from gateway.tables import table_of
from tests.gateway.api.cast import enrol, mint, sign_in
from tests.gateway.api.door import Door, good
from tests.gateway.conftest import START, SettableClock, settings_in
from tests.gateway.registry.asks import PLAIN
from tests.store import copy_bank, execute

HOSPITAL = "pty_shanghai_hospital"
OWN_PROJECT = "prj_own"
#: One whom nothing keeps from the study: written consent to all research, of age, alive.
WILLING = (
    "SELECT d.id, d.code FROM donor d JOIN holding h ON h.donor_id = d.id "
    "JOIN consent c ON c.id = h.consent_id JOIN consent_profile p ON p.id = c.profile_id "
    "WHERE h.kind = 'genome' AND h.collection_id IN ('col_chb', 'col_asw', 'col_beb') AND CAST(p.ticks AS TEXT) LIKE '%\"gru\"%' "
    "AND CAST(p.ticks AS TEXT) NOT LIKE '%gs:%' AND CAST(p.ticks AS TEXT) NOT LIKE '%\"pub\"%' "
    "AND c.written AND c.signed_on <= h.collected_on AND c.expires_on IS NULL "
    "AND d.deceased_on IS NULL AND d.id NOT IN (SELECT donor_id FROM withdrawal) ORDER BY d.code"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """An open bank with a researcher's key and an officer's session."""

    bank: Bank
    door: Door
    key: str
    officer: str
    donors: tuple[tuple[str, str], ...]  # id, code; the first is the one who changes

    def ask(self, people: int, **changes: Any) -> dict[str, Any]:
        samples = [code for _, code in self.donors[:people]]
        items = {"kinds": ["genome"], "cohort": {"samples": samples}}
        return {"ask": PLAIN | {"items": items} | changes}

    def dry_run(self, who: str, body: dict[str, Any]) -> Said:
        answer = self.door.post("/v1/evaluations", json=body, as_=who)
        good(answer)
        return Said(answer=answer, document=self.document(answer.json()["id"]))

    def document(self, decision: str) -> bytes:
        with self.bank.database.read() as conn:
            query = "SELECT document_sha256 FROM decision WHERE id = ?"
            digest = execute(conn, query, decision).scalar_one()
            return log.document(conn, bytes.fromhex(digest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer and the document the bank keeps of it."""

    answer: httpx.Response
    document: bytes

    @property
    def alike(self) -> tuple[str, list[tuple[str, str]]]:
        """The answer's bytes but for its id, its time and its place in the log; and its headers."""
        said, text = self.answer.json(), self.answer.text
        for value in (said["id"], said["decided_at"], said["log"]["leaf_hash"]):
            text = text.replace(value, "-")
        text = text.replace(f'"index":{said["log"]["index"]}', '"index":-')
        own = {"request-id", "content-length"}
        return text, [(n, v) for n, v in self.answer.headers.items() if n not in own]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A closed bank to copy, and who has what to enter it with."""

    folder: Path
    key: str
    officer: str
    donors: tuple[tuple[str, str], ...]

    @contextmanager
    def house(self, folder: Path, change: Change | None = None) -> Iterator[House]:
        """A copy of it, opened and served, after a change of the first donor."""
        copy_bank(self.folder, folder)
        bank = open_bank(settings_in(folder), SettableClock())
        try:
            if change is not None:
                bank.database.write(lambda conn: change(conn, self.donors[0][0]))
            with Door(create_app(bank)) as door:
                yield House(
                    bank=bank, door=door, key=self.key, officer=self.officer, donors=self.donors
                )
        finally:
            bank.database.close()


@pytest.fixture(scope="module")
def staged(filled_bank: tuple[Path, World], tmp_path_factory: pytest.TempPathFactory) -> Staged:
    folder = tmp_path_factory.mktemp("blind") / "bank"
    copy_bank(filled_bank[0], folder)
    bank = open_bank(settings_in(folder), SettableClock())
    try:
        secrets = enrol(bank)
        with bank.database.read() as conn:
            donors = tuple((row.id, row.code) for row in execute(conn, WILLING))
        project = sa.insert(table_of(tables.Project)).values(
            id=OWN_PROJECT, party_id=bank.party_id, title="本库质控研究（虚构）", created_at=START
        )
        bank.database.write(lambda conn: conn.execute(project).rowcount)
        key = mint(bank, HOSPITAL).text
        with Door(create_app(bank)) as door:
            officer = sign_in(door, bank, "officer.one", secrets["officer.one"])
    finally:
        bank.database.close()
    return Staged(folder=folder, key=key, officer=officer, donors=donors)


@pytest.fixture(scope="module")
def plain(staged: Staged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The bank in which the donor wants what everybody wants."""
    with staged.house(tmp_path_factory.mktemp("plain") / "bank") as house:
        yield house


Change = Callable[[Connection, str], None]


def changed(table: str, key: str, **values: Any) -> Change:
    """One row of this donor's with other values."""

    def change(conn: Connection, donor: str) -> None:
        rows = tables.metadata.tables[table]
        conn.execute(sa.update(rows).where(rows.c[key] == donor).values(**values))

    return change


def withdraws(scope: str, *projects: str) -> Change:
    def change(conn: Connection, donor: str) -> None:
        for project in projects or (None,):
            consents.record_withdrawal(
                conn,
                donor,
                scope,
                project_id=project,
                channel="书面",
                person_id="psn_1",
                effective_at=START,
                now=START,
            )

    return change


DAY = START.date()
CHANGES: dict[str, Change] = {
    "withdrew from everything": withdraws("everything"),
    "withdrew the data": withdraws("data"),
    "withdrew from this study": withdraws("study", PLAIN["project"], OWN_PROJECT),
    "is a child of ten": changed("donor", "id", born=DAY.replace(year=DAY.year - 10)),
    "is sixteen": changed("donor", "id", born=DAY.replace(year=DAY.year - 16)),
    "has died": changed("donor", "id", deceased_on=DAY.replace(year=DAY.year - 1)),
    "lacks capacity": changed("donor", "id", has_capacity=False),
    "is of an important pedigree": changed("donor", "id", pedigree=True),
    "is of unknown age": changed("donor", "id", born=None),
    "agreed by word only": changed("consent", "donor_id", written=False),
    "agreed after collection": changed("consent", "donor_id", signed_on=DAY),
    "agreed until yesterday": changed("consent", "donor_id", expires_on=DAY.replace(day=21)),
    "agreed until next month": changed("consent", "donor_id", expires_on=DAY.replace(month=12)),
    "agreed through a guardian": changed("consent", "donor_id", by_guardian=True),
    "agreed to something else": changed("consent", "donor_id", profile_id="cpr_chb_10"),
    "agreed to other disease": changed("consent", "donor_id", profile_id="cpr_chb_14"),
    "signed an unmapped form": changed("consent", "donor_id", profile_id="cpr_acb_0"),
    "signed nothing": changed("holding", "donor_id", consent_id=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_dry_run_over_few_tells_nothing_of_one(
    staged: Staged, plain: House, tmp_path: Path, change: Change
) -> None:
    with staged.house(tmp_path / "bank", change) as other:
        for people in (1, 19):
            one, two = (house.dry_run(house.key, house.ask(people)) for house in (plain, other))
            assert one.answer.json()["donor_level"] == "not_considered"
            assert two.alike == one.alike
            assert two.document == one.document
        # The control: an officer's dry run over the same donor does show that something changed.
        own = plain.ask(1, project=OWN_PROJECT, recipient=plain.bank.party_id, users=[])
        one, two = (house.dry_run(house.officer, own) for house in (plain, other))
        assert one.answer.json()["donor_level"] == "considered"
        assert two.document != one.document


def test_a_larger_dry_run_considers_everybody(staged: Staged, plain: House, tmp_path: Path) -> None:
    """From twenty donors on the one who withdrew is left out."""
    with staged.house(tmp_path / "bank", withdraws("everything")) as other:
        one, two = (house.dry_run(house.key, house.ask(20)) for house in (plain, other))
    assert two.answer.json()["donor_level"] == "considered"
    assert two.document != one.document


def test_a_submission_over_one_says_only_not_available(staged: Staged, tmp_path: Path) -> None:
    told = set()
    for name in ("withdrew from everything", "agreed by word only", "agreed to something else"):
        with staged.house(tmp_path / name, CHANGES[name]) as house:
            answer = house.door.post("/v1/access-requests", json=house.ask(1), as_=house.key)
            said = good(answer, 201)
            read = good(house.door.get(f"/v1/decisions/{said['id']}", as_=house.key))
        assert said["outcome"] == "deny"
        assert [blocker["rule"] for blocker in said["blockers"]] == ["not_available"]
        assert (said["blockers"][0]["touched"], said["blockers"][0]["missing"]) == (None, [])
        assert read["blockers"] == said["blockers"]
        told.add(Said(answer=answer, document=b"").alike[0].replace(said["request"], "-"))
    assert len(told) == 1
