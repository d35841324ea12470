"""FHIR Consent: what says that it is consent loads, whatever does not is named."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import intake_fhir, intake_files
from gateway.registry.intake import KINDS, Row
from tests.gateway.test_cli import folder, hgr
from tests.gateway.test_intake import made, put, rows

__all__ = ["folder", "made"]

DATA = Path(__file__).parent / "data"
CONSENTS = KINDS["consents"]
PROVISIONS = """
provisions:
  - {system: https://bank.example/fhir/choices, code: gru, permit: gru, deny: no_gru}
  - {system: https://bank.example/fhir/choices, code: foreign, permit: foreign, deny: no_foreign}
  - {system: https://bank.example/fhir/choices, code: commercial, permit: commercial, deny: no_commercial}
  - {system: "http://purl.obolibrary.org/obo/duo.owl", code: "DUO:0000006", permit: hmb}
  - {system: "http://purl.obolibrary.org/obo/duo.owl", code: "DUO:0000045", permit: npu}
"""
R4B = f"""
fhir: R4B
columns:
  code: identifier:https://bank.example/consents
  donor: patient
  signed_on: dateTime
  form: {{column: policy.uri, values: {{https://bank.example/consent/v2: v2}}}}
constants: {{collection: chb, written: 是}}
related_person: guardian
{PROVISIONS}"""
R5 = (
    R4B.replace("R4B", "R5")
    .replace("donor: patient", "donor: subject")
    .replace("dateTime", "date")
    .replace("policy.uri", "policyBasis.url")
)
MAPPINGS = {"R4B": R4B, "R5": R5}


def resources(release: str) -> list[dict[str, Any]]:
    path = DATA / f"consents-{release.lower()}.ndjson"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read(tmp_path: Path, release: str, *said: Any, mapping: str = "") -> list[Any]:
    path = tmp_path / "consents.ndjson"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in said), "utf-8")
    how = intake_files.mapping_from((mapping or MAPPINGS[release]).encode(), "m.yaml", CONSENTS)
    with intake_files.opened(path, CONSENTS, how) as source:
        return list(source.rows())


@pytest.mark.parametrize("release", MAPPINGS)
def test_the_consents_of_a_hospital_load(made: Path, release: str) -> None:
    mapping = put(made, "m.yaml", MAPPINGS[release])
    path = DATA / f"consents-{release.lower()}.ndjson"
    how = ["--mapping", str(mapping), "--bad", str(made / "bad.csv")]
    told = hgr("import", "consents", str(path), *how)
    assert told.exit_code == 0, told.output
    found = {row["code"]: row for row in rows(made, "consent") if row["code"].startswith("F")}
    profiles = {row["id"]: row["ticks"] for row in rows(made, "consent_profile")}
    ticks = {code: profiles[row["profile_id"]] for code, row in found.items()}
    none = {"R4B": [], "R5": ["no_commercial"]}[release]
    more = {"R4B": ["no_commercial"], "R5": []}[release]
    assert ticks == {
        "F1": sorted(["foreign", "gru", *more]), "F2": ["hmb", "npu"], "F3": none,
    }  # fmt: skip
    assert found["F1"]["expires_on"] == date(2031, 5, 31), "the first of two permissions that ends"
    assert found["F2"]["expires_on"] is None
    assert {row["signed_on"] for row in found.values()} == {date(2021, 6, day) for day in (1, 2, 3)}
    by = {code: (row["by_guardian"], row["guardian_consent"]) for code, row in found.items()}
    assert by == {"F1": (False, None), "F2": (True, True), "F3": (False, None)}
    assert all(row["written"] for row in found.values())
    donors = {row["id"]: row["code"] for row in rows(made, "donor")}
    assert {code: donors[row["donor_id"]] for code, row in found.items()} == {
        "F1": "D1", "F2": "D2", "F3": "D3",
    }  # fmt: skip
    assert "nothing to do" in hgr("import", "consents", str(path), *how).output


Change = Callable[[dict[str, Any]], object]


def at(path: str, value: Any = None) -> Change:
    """Sets what stands at `a.0.b`, or takes it away."""

    def change(said: Any) -> None:
        *way, last = [int(one) if one.isdigit() else one for one in path.split(".")]
        for one in way:
            said = said[one]
        if value is None:
            del said[last]
        else:
            said[last] = value

    return change


def coded(code: str) -> list[dict[str, Any]]:
    return [{"coding": [{"system": "https://bank.example/fhir/choices", "code": code}]}]


BOTH: list[tuple[str, str, Change]] = [
    *((status, "not_active", at("status", status)) for status in ("draft", "inactive", "entered-in-error", "unknown", "proposed", "rejected", "not-done", "Active")),
    ("another resource", "not_a_consent", at("resourceType", "Patient")),
    ("a bundle", "not_a_consent", at("resourceType", "Bundle")),
    ("no status", "not_fhir", at("status")),
    ("a modifier", "not_fhir", at("modifierExtension", [{"url": "https://x.example", "valueBoolean": True}])),
    ("rules of its own", "not_fhir", at("implicitRules", "https://x.example")),
    ("a status that is absent for a reason", "not_fhir", at("_status", {"extension": []})),
    ("an element of no release", "not_fhir", at("agreedTo", "everything")),
    ("a status that is a list", "not_fhir", at("status", ["active"])),
    ("not verified", "not_verified", at("verification", [{"verified": False}])),
    ("several numbers", "several", at("identifier", [{"system": "https://bank.example/consents", "value": one} for one in "ab"])),
    ("no number", "missing", at("identifier")),
    ("a number of another system", "missing", at("identifier.0.system", "https://x.example")),
]  # fmt: skip
ONLY: dict[str, list[tuple[str, str, Change]]] = {
    "R4B": [
        ("to be treated", "other_scope", at("scope.coding.0.code", "treatment")),
        ("no scope", "not_fhir", at("scope")),
        ("a day that is a year", "not_a_date", at("dateTime", "2021")),
        ("nobody agreed", "nobody_agreed", at("performer")),
        ("the hospital agreed", "nobody_agreed", at("performer", [{"reference": "Organization/f001"}])),
        ("somebody else agreed", "another_patient", at("performer.0.reference", "Patient/D2")),
        ("a code nobody mapped", "unknown_provision", at("provision.provision.0.code", coded("ai"))),
        ("a system nobody mapped", "unknown_provision", at("provision.provision.0.code.0.coding.0.system", "https://x.example")),
        ("denied, and nobody mapped that", "unknown_provision", at("provision.provision.2", {"type": "deny", "purpose": [{"system": "http://purl.obolibrary.org/obo/duo.owl", "code": "DUO:0000006"}]})),
        ("a text instead of a code", "unknown_provision", at("provision.provision.0.code", [{"text": "gru"}])),
        ("both ways", "contradicts", at("provision.provision.2.code", coded("gru"))),
        ("the root and the policy disagree", "contradicts", at("policyRule", {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]})),
        ("only for one recipient", "limited", at("provision.provision.0.actor", [{"role": {"text": "IRCP"}, "reference": {"reference": "Organization/1"}}])),
        ("only some data", "limited", at("provision.provision.0.data", [{"meaning": "related", "reference": {"reference": "Task/3"}}])),
        ("only of some time", "limited", at("provision.dataPeriod", {"start": "2020-01-01"})),
        ("a code and a purpose", "limited", at("provision.provision.0.purpose", [{"system": "http://purl.obolibrary.org/obo/duo.owl", "code": "DUO:0000006"}])),
        ("neither permit nor deny", "missing", at("provision.provision.0.type")),
        ("about nothing", "no_code", at("provision.provision.0.code")),
        ("an exception to an exception", "too_deep", at("provision.provision.0.provision", [{"type": "deny", "code": coded("foreign")}])),
        ("begins later", "begins_later", at("provision.period.start", "2022-01-01")),
        ("one permission begins later", "begins_later", at("provision.provision.1.period.start", "2021-06-02")),
        ("ends in a year", "not_a_date", at("provision.period.end", "2051")),
        ("all is denied", "permits_nothing", at("provision.provision", [{"type": "deny", "code": coded("gru")}])),
        ("no provision and no policy", "permits_nothing", at("provision")),
        ("two policies", "several", at("policy", [{"uri": "https://bank.example/consent/v2"}, {"uri": "https://bank.example/consent/v3"}])),
    ],
    "R5": [
        ("of a group", "not_a_patient", at("subject.reference", "Group/g1")),
        ("nobody agreed", "nobody_agreed", at("grantor")),
        ("a decision that is none", "not_fhir", at("decision", "maybe")),
        ("no decision", "missing", at("decision")),
        ("exceptions to a permission", "permits_nothing", lambda said: (at("decision", "deny")(said), at("provision")(said))),
        ("denied by exception, and nobody mapped that", "unknown_provision", lambda said: (at("decision", "permit")(said), at("provision", [{"code": coded("ai")}])(said))),
        ("an exception to an exception", "too_deep", at("provision.0.provision", [{"code": coded("foreign")}])),
        ("only for one recipient", "limited", at("provision.0.actor", [{"reference": {"reference": "Organization/1"}}])),
        ("by an expression", "limited", at("provision.0.expression", {"language": "text/fhirpath", "expression": "true"})),
        ("begins later", "begins_later", at("period.start", "2021-06-02")),
        ("an R4B element", "not_fhir", at("patient", {"reference": "Patient/D1"})),
    ],
}  # fmt: skip
REFUSED = [
    pytest.param(release, code, change, id=f"{release}-{name}")
    for release in MAPPINGS
    for name, code, change in [*BOTH, *ONLY[release]]
]


@pytest.mark.parametrize(("release", "code", "change"), REFUSED)
def test_what_does_not_say_that_it_is_consent_is_refused(
    tmp_path: Path, release: str, code: str, change: Change
) -> None:
    good, *others = resources(release)
    said = copy.deepcopy(good)
    change(said)
    wrong, *rest = read(tmp_path, release, said, *others)
    assert isinstance(wrong, list)
    assert code in {one.code for one in wrong}
    assert all(one.line == 1 and one.zh and one.en for one in wrong)
    assert all(isinstance(one, Row) for one in rest), "and it stops no other"


@pytest.mark.parametrize("status", ["inactive", "entered-in-error", "rejected"])
def test_what_may_be_a_withdrawal_says_where_those_go(tmp_path: Path, status: str) -> None:
    good = resources("R4B")[0]
    ((bad,),) = read(tmp_path, "R4B", good | {"status": status})
    assert "hgr import withdrawals" in bad.en
    assert "hgr import withdrawals" in bad.zh
    assert bad.row == "consent-1"


def test_a_relative_is_no_guardian_unless_the_mapping_says_so(tmp_path: Path) -> None:
    mapping = R4B.replace("related_person: guardian", "")
    _, relative, _ = read(tmp_path, "R4B", *resources("R4B"), mapping=mapping)
    assert [one.code for one in relative] == ["related_person"]


def test_a_constant_may_say_who_agreed(tmp_path: Path) -> None:
    mapping = R4B.replace("written: 是", "written: 是, by_guardian: 否")
    good = resources("R4B")[0]
    del good["performer"]
    (found,) = read(tmp_path, "R4B", good, mapping=mapping)
    assert isinstance(found, Row)
    assert found.cells["by_guardian"] is False


def test_a_code_in_two_systems_is_one_choice(tmp_path: Path) -> None:
    good = resources("R4B")[0]
    good["provision"]["provision"][0]["code"][0]["coding"].insert(
        0, {"system": "http://loinc.org", "code": "1"}
    )
    (found,) = read(tmp_path, "R4B", good)
    assert isinstance(found, Row)
    assert "gru" in found.cells["ticks"]


ELEMENTS = [
    ("extension:https://x.example/form", {"extension": [{"url": "https://x.example/form", "valueCode": "v2"}]}),
    ("extension:https://x.example/form", {"extension": [{"url": "https://x.example/form", "valueCoding": {"system": "s", "code": "v2"}}]}),
    ("extension:https://x.example/form", {"extension": [{"url": "https://x.example/form", "valueIdentifier": {"system": "s", "value": "v2"}}]}),
    ("policyRule", {"policyRule": {"coding": [{"system": "s", "code": "v2"}]}}),
    ("policyRule", {"policyRule": {"text": "v2"}}),
    ("sourceReference", {"sourceReference": {"reference": "v2"}}),
    ("id", {"id": "v2"}),
]  # fmt: skip


@pytest.mark.parametrize(("element", "said"), ELEMENTS)
def test_the_form_is_read_where_the_mapping_says(
    tmp_path: Path, element: str, said: dict[str, Any]
) -> None:
    mapping = R4B.replace("column: policy.uri, values: {https://bank.example/consent/v2: v2}", f'column: "{element}", values: {{x: y}}')  # fmt: skip
    (found,) = read(tmp_path, "R4B", resources("R4B")[0] | said, mapping=mapping)
    assert isinstance(found, Row)
    assert found.cells["form"] == "v2"


def test_the_donor_may_be_known_by_a_number_beside_the_reference(tmp_path: Path) -> None:
    mapping = R5.replace("donor: subject", "donor: subject:https://bank.example/donors")
    identifier = {"system": "https://bank.example/donors", "value": "D7"}
    good = resources("R5")[0] | {
        "subject": {"identifier": identifier, "type": "Patient"},
        "grantor": [{"identifier": identifier, "type": "Patient"}],
    }
    (found,) = read(tmp_path, "R5", good, mapping=mapping)
    assert isinstance(found, Row)
    assert found.cells["donor"] == "D7"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("fhir: R4B", "fhir: R4", "fhir"),
        ("fhir: R4B", "", "R4B or R5"),
        ("  donor: patient\n", "", "must say where `donor` is read"),
        ("  signed_on: dateTime\n", "", "must say where `signed_on` is read"),
        ("dateTime", "date", "`date` is no element that is read"),
        ("donor: patient", "donor: patient.reference", "is no element that is read"),
        ("donor: patient", "donor: patient\n  ticks: policyRule", "is read of provisions"),
        ("written: 是", "ticks: gru", "is read of the resource"),
        ("code: foreign, permit", "code: gru, permit", "stands here twice"),
        (", permit: npu", "", "needs `permit` or `deny`"),
        (", permit: npu", ", permit: npu, oblige: npu", "oblige"),
        ("related_person: guardian", "related_person: spouse", "spouse"),
    ],
)
def test_a_mapping_that_is_none_is_refused(
    tmp_path: Path, before: str, after: str, words: str
) -> None:
    from gateway.errors import ProblemError

    assert before in R4B
    with pytest.raises(ProblemError, match=words):
        read(tmp_path, "R4B", mapping=R4B.replace(before, after))


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [("donors", "x.ndjson", "consents alone"), ("consents", "x.csv", "must end in .ndjson")],
)
def test_fhir_is_for_consents_in_lines(made: Path, kind: str, name: str, words: str) -> None:
    path, mapping = put(made, name, "\n"), put(made, "m.yaml", R4B)
    told = hgr("import", kind, str(path), "--mapping", str(mapping))
    assert told.exit_code == 2
    assert words in told.stderr


def test_a_wrong_resource_stands_in_the_file_of_wrong_rows(made: Path) -> None:
    good, second, _ = resources("R4B")
    second["status"] = "inactive"
    text = "".join(f"{json.dumps(one)}\n" for one in (good, second, []))
    path, mapping = put(made, "c.ndjson", text), put(made, "m.yaml", R4B)
    told = hgr("import", "consents", str(path), "--mapping", str(mapping))
    assert told.exit_code == 1
    assert "added 1" in told.output
    with (made / "c.ndjson.bad.csv").open(encoding="utf-8") as file:
        bad = [(one["line"], one["row"], one["code"]) for one in csv.DictReader(file)]
    assert bad == [("2", "consent-2", "not_active"), ("3", "", "not_a_row")]


def test_a_resource_that_says_a_thing_twice_says_nothing(tmp_path: Path) -> None:
    path, text = tmp_path / "c.ndjson", json.dumps(resources("R4B")[0])
    path.write_text(text.replace('"status"', '"status": "inactive", "status"', 1) + "\n", "utf-8")
    how = intake_files.mapping_from(R4B.encode(), "m.yaml", CONSENTS)
    with intake_files.opened(path, CONSENTS, how) as source:
        ((bad,),) = source.rows()
    assert (bad.code, "`status` stands twice" in bad.en) == ("not_a_row", True)


def deep(levels: int) -> str:
    return '{"resourceType":"Consent","contained":' + "[" * levels + "]" * levels + "}"


@pytest.mark.parametrize("levels", [100, 500, 900, 100_000])
def test_a_resource_without_a_bottom_stops_no_other(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "c.ndjson"
    path.write_text(f"{deep(levels)}\n{json.dumps(resources('R4B')[0])}\n", "utf-8")
    how = intake_files.mapping_from(R4B.encode(), "m.yaml", CONSENTS)
    with intake_files.opened(path, CONSENTS, how) as source:
        first, second = source.rows()
    assert isinstance(first, list)
    assert isinstance(second, Row)


def _paths(said: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        said.items()
        if isinstance(said, dict)
        else enumerate(said)
        if isinstance(said, list)
        else ()
    )
    return [way, *(path for key, one in inner for path in _paths(one, (*way, key)))]


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([{}]),
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_it_it_is_read_or_named(data: st.DataObject) -> None:
    """And what was changed into something else never permits more than it did."""
    release = data.draw(st.sampled_from(sorted(MAPPINGS)))
    said = copy.deepcopy(data.draw(st.sampled_from(resources(release))))
    how = intake_files.mapping_from(MAPPINGS[release].encode(), "m.yaml", CONSENTS).fhir
    assert how is not None
    before = intake_fhir.read(how, said, 1)
    assert isinstance(before, dict)
    path = data.draw(st.sampled_from([one for one in _paths(said) if one]))
    place: Any = said
    for key in path[:-1]:
        place = place[key]
    if data.draw(st.booleans()):
        place[path[-1]] = data.draw(JSON)
    elif isinstance(place, dict):
        del place[path[-1]]
    else:
        place.pop(path[-1])
    after = intake_fhir.read(how, said, 1)
    if isinstance(after, list):
        assert after
        assert all(one.code and one.zh and one.en for one in after)
    else:
        assert set(after["ticks"]) <= {*before["ticks"]}
