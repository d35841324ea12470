"""A decision taken from an export and decided again from its facts gives the same bytes."""

from __future__ import annotations

import asyncio
import json
import random
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit.verify import RefusedError
from gateway import demo_world, pep
from gateway.bank import open_bank
from gateway.demo_world import World
from gateway.identity.scopes import Caller
from gateway.registry.ask import KINDS, Ask
from gateway.replies import Rendered, Reply
from gateway.reports import exports, reading
from policies import document, packs, pdp
from tests.gateway.conftest import SettableClock, settings_in
from tests.store import copy_bank

ASKS, SEED = 200, 20261122
WORLD = demo_world._world()


def generated(chance: random.Random, world: World) -> tuple[str, Ask]:
    """A party and a whole request of one of its projects, of which up to three answers are changed.

    A changed answer that is None is left out: nobody said.
    """
    study = chance.choice(WORLD["projects"])
    mine = {study["party"], study.get("partner")}
    place = "CN" if study["party"] != "foreign_university" else "GB"
    requester, parties = world.parties[study["party"]], sorted(world.parties.values())
    users = [
        {"researcher": world.researchers[person["id"]], "access_country": place}
        for person in WORLD["researchers"]
        if person["employer"] in mine
    ]
    body: dict[str, Any] = {
        "project": world.projects[study["id"]],
        "recipient": requester,
        "recipient_role": "partner",
        "recipient_has_access": True,
        "sponsor": "none",
        "beneficiary": "none",
        "host": {"operator": requester, "place": place},
        "users": users,
        "outputs": ["individual"],
        "purpose": {
            "research": "health",
            "commercial": False,
            "genetic": True,
            "publication_planned": True,
            "publication_from": "2028-01-01",
            "collaborators": [],
        },
        "items": {
            "kinds": [chance.choice(KINDS)],
            "cohort": {
                "collections": [chance.choice(sorted(world.collections.values()))],
                "sex": chance.choice(["female", "male"]),
            },
            "units_each": chance.randint(1, 3),
        },
        "price": {"price_fen": 0, "cost_fen": 50_000, "cost_documented": True},
        "agreement": {
            "signed": True,
            "clauses": ["records_open", "backup", "joint_patents", "benefit", "no_onward"],
        },
        "leftover": "destroy",
        "material_exits": False,
        "extracts_nucleic_acid": False,
        "produced_in_cooperation": False,
        "clinical_care": False,
        "research_use": True,
        "prc_authority_approval": False,
        "embryo_or_germline": "none",
        "new_biomedical_technology": False,
        "site": "single",
        "changes": [],
        "quantities": {"protocol_people": 10_000, "protocol_units": 100_000, "form_units": 100_000},
        "pi_form": "deidentified",
    }
    answers: dict[str, list[Any]] = {
        "action": [
            "preserve",
            "collect",
            "open_access",
            "enforcement_request",
            "teaching",
            "inspection",
        ],
        "recipient": parties,
        "recipient_role": ["sponsor", "cro", "lab", "edc_only", "funder_only", None],
        "recipient_has_access": [False, None],
        "sponsor": [*parties, None],
        "beneficiary": [*parties, None],
        "host": [{"operator": chance.choice(parties), "place": "US"}, None],
        "users": [[], None],
        "outputs": [["aggregate"], ["aggregate", "model_weights"], None],
        "purpose": [
            {"research": "general"},
            {"research": "ancestry", "commercial": False},
            {"research": "disease", "diseases": ["DOID:0050745"], "commercial": True},
            body["purpose"] | {"research": "disease", "diseases": ["DOID:9351"]},
        ],
        "price": [{"price_fen": 90_000, "cost_fen": 50_000, "cost_documented": True}, {}],
        "agreement": [{"signed": False}, {}],
        "leftover": ["return", "keep", None],
        "material_exits": [True, None],
        "extracts_nucleic_acid": [True, None],
        "produced_in_cooperation": [True, None],
        "clinical_care": [True, None],
        "research_use": [False, None],
        "embryo_or_germline": ["research", "reproductive", None],
        "new_biomedical_technology": [True, None],
        "site": ["participating", None],
        "changes": [["purpose"], ["legal_name"], None],
        "collection": [
            {"affected_generations": 3, "common_disease": False, "special_region": False},
            {"large_population_study": True, "people_planned": 3001},
        ],
        "pi_form": ["anonymised", "identifiable", None],
        "until": ["2027-06-30"],
    }
    for name in chance.sample(sorted(answers), chance.randint(0, 3)):
        body[name] = chance.choice(answers[name])
    given = {name: value for name, value in body.items() if value is not None}
    return requester, Ask.model_validate_json(json.dumps(given))


@pytest.fixture(scope="module")
def package(
    filled_bank: tuple[Path, World], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The export of a bank in which two hundred generated requests were decided."""
    folder = tmp_path_factory.mktemp("replay") / "bank"
    copy_bank(filled_bank[0], folder)
    bank = open_bank(settings_in(folder), SettableClock())
    chance = random.Random(SEED)
    how = Reply(
        client="test",
        key=None,
        route="test",
        body_hash="",
        render=lambda _: Rendered(status=200, body=b""),
    )

    async def decide_all() -> None:
        for _ in range(ASKS):
            party, one = generated(chance, filled_bank[1])
            caller = Caller(
                kind="key", id=f"key_{party}", name=party, party_id=party, scopes=frozenset()
            )
            await pep.evaluate(bank, caller, one, how)

    try:
        asyncio.run(decide_all())
        made = exports.make(bank, asked_by="psn_regulator")
        yield exports.path_of(bank, made)
    finally:
        bank.database.close()


@pytest.fixture(scope="module")
def documents(package: Path) -> tuple[bytes, ...]:
    with zipfile.ZipFile(package) as archive:
        names = sorted(one for one in archive.namelist() if one.startswith("documents/"))
        return tuple(archive.read(one) for one in names)


def test_every_generated_decision_comes_out_the_same(
    package: Path, documents: tuple[bytes, ...]
) -> None:
    again = list(reading.replay(package))
    assert len(again) == ASKS
    assert [one for one in again if not one.same] == []
    # The generator reaches all there is to decide.
    outcomes = Counter(json.loads(one)["outcome"] for one in documents)
    assert set(outcomes) == {"permit", "hold", "refer", "deny"}


def test_the_bytes_come_from_the_facts_alone(package: Path, documents: tuple[bytes, ...]) -> None:
    """Without the file's own reader: question out of the document, decided, written down again."""
    with zipfile.ZipFile(package) as archive:
        law = packs.load(zipfile.Path(archive, "packs/"))
    for content in documents[::10]:
        question = document.question_from(content)
        assert document.encode(question, pdp.decide(question, law)) == content


def written(value: dict[str, Any]) -> bytes:
    """RFC 8785 for what a document holds: ASCII names, no fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_changed_fact_does_not(documents: tuple[bytes, ...]) -> None:
    """Two officers' finding of harm, put in where there was none: no decision stays as it was."""
    law = packs.load()
    for content in documents[::4]:
        changed: dict[str, Any] = json.loads(content)
        assert changed["facts"]["officer.harm_flag"] is False
        changed["facts"]["officer.harm_flag"] = True
        again = document.replay(written(changed), law)
        assert not again.same
        assert "findings" in again.differs
        assert again.digests == ()


def test_a_changed_outcome_does_not(documents: tuple[bytes, ...]) -> None:
    law = packs.load()
    for content in documents[::4]:
        changed: dict[str, Any] = json.loads(content)
        changed["outcome"] = "deny" if changed["outcome"] == "permit" else "permit"
        again = document.replay(written(changed), law)
        assert "outcome" in again.differs


def test_a_document_changed_in_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path)
    one = next((tmp_path / "documents").iterdir())
    one.write_bytes(
        one.read_bytes().replace(b'"officer.harm_flag":false', b'"officer.harm_flag":true')
    )
    with pytest.raises(RefusedError):
        list(reading.replay(tmp_path))
