"""Voiding, correcting and other packs over HTTP: previews, two people, what is decided again."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api import answers
from gateway.bank import Bank
from gateway.registry import generations
from tests.gateway.api.cast import Cast, approve, release, submit
from tests.gateway.api.door import Door, good
from tests.gateway.registry.test_generations import CASES, EDITION, REFUSES

VOID = {
    "kind": "paper",
    "subject": "ppr_ethics_hospital_hmb",
    "act": "void",
    "reason": "伦理委员会已撤回该批件,原件已核对,予以作废。",
    "evidence_sha256": "0" * 63 + "1",
}
NEW = {
    "files": {
        "institution/2026-11-01.yaml": REFUSES,
        "institution/2026-11-01.cases.yaml": CASES,
    },
    "reason": "机构决定自十一月起暂停提供汇总结果,待复核后恢复。",
}
AGGREGATE: dict[str, Any] = {
    "outputs": ["aggregate"],
    "items": {"kinds": ["genome"], "cohort": {"collections": ["col_chb"]}},
}


def state(door: Door, cast: Cast, grant: str) -> str:
    return str(good(door.get(f"/v1/grants/{grant}", as_=cast.officer))["state"])


def test_a_preview_says_whom_and_the_voiding_reaches_them(door: Door, cast: Cast) -> None:
    said = good(door.post("/v1/corrections?preview=true", json=VOID, as_=cast.officer), 200)
    assert (said["id"], said["leaf_index"], said["applied_at"]) == (None, None, None)
    assert cast.made["case"] in {one["case"] for one in said["reach"]["cases"]}
    assert cast.made["grant"] in {one["grant"] for one in said["reach"]["grants"]}
    assert cast.made["release"] in {one["release"] for one in said["reach"]["receivers"]}
    assert state(door, cast, cast.made["grant"]) == "active"

    done = good(door.post("/v1/corrections", json=VOID, as_=cast.officer), 201)

    assert done["reach"]["counts"] == said["reach"]["counts"]
    assert state(door, cast, cast.made["grant"]) == "suspended"
    case = good(door.get(f"/v1/cases/{cast.made['case']}", as_=cast.officer))
    assert case["state"] == "awaiting_external"
    again = door.post("/v1/corrections", json=VOID, as_=cast.officer)
    assert (again.status_code, again.json()["code"]) == (409, "already_done")
    refused = door.post(f"/v1/grants/{cast.made['grant']}/releases", as_=cast.key)
    assert refused.json()["code"] in {"not_releasable", "idempotency_key_missing"}


def test_the_old_way_to_void_a_paper_reaches_as_far(door: Door, cast: Cast) -> None:
    path = "/v1/papers/ppr_ethics_hospital_hmb:void"
    paper = good(door.post(path, json={"reason": VOID["reason"]}, as_=cast.officer))
    assert paper["void_reason"] == VOID["reason"]
    assert state(door, cast, cast.made["grant"]) == "suspended"


def test_a_correction_waits_for_its_second_person(door: Door, cast: Cast) -> None:
    asked = {**VOID, "act": "correct", "values": {"valid_to": "2026-01-02"}}
    made = good(door.post("/v1/corrections", json=asked, as_=cast.officer), 201)
    path = f"/v1/corrections/{made['id']}"
    assert state(door, cast, cast.made["grant"]) == "active"
    own = door.post(f"{path}:confirm", as_=cast.officer)
    assert (own.status_code, own.json()["code"]) == (403, "same_person")
    seen = good(door.get(path, as_=cast.second))
    assert (seen["values"], seen["applied_at"]) == ({"valid_to": "2026-01-02"}, None)
    done = good(door.post(f"{path}:confirm", as_=cast.second))
    assert done["before"]["valid_to"] != "2026-01-02"
    assert state(door, cast, cast.made["grant"]) == "suspended"


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"kind": "donor"}, 422, "/kind"),
        ({"subject": "ppr_nowhere"}, 404, "/subject"),
        ({"values": {"number": "1"}}, 422, "/values"),
        ({"act": "correct", "values": {"moon": 1}}, 422, "/values/moon"),
    ],
    ids=["no such kind", "no such paper", "a voiding that says something", "no such value"],
)
def test_what_cannot_be_is_named(
    door: Door, cast: Cast, changes: dict[str, Any], status: int, pointer: str
) -> None:
    for query in ("", "?preview=true"):
        answer = door.post(f"/v1/corrections{query}", json={**VOID, **changes}, as_=cast.officer)
        assert answer.status_code == status
        assert pointer in {one["pointer"] for one in answer.json()["errors"]}


def test_a_finding_about_what_a_grant_rests_on_decides_it_again(door: Door, cast: Cast) -> None:
    """Two officers flag harm to the public interest: what was granted stops at once."""
    finding = {
        "subject": "prj_hospital_hmb",
        "finding": "harm",
        "value": True,
        "reason": "经两名合规人员核实,该研究可能危害社会公共利益。",
        "evidence_sha256": "0" * 63 + "1",
    }
    made = good(door.post("/v1/determinations", json=finding, as_=cast.officer), 201)
    assert state(door, cast, cast.made["grant"]) == "active"
    good(door.post(f"/v1/determinations/{made['id']}:confirm", as_=cast.second))
    assert state(door, cast, cast.made["grant"]) == "suspended"


def test_two_people_let_other_packs_decide_in_the_running_gateway(
    door: Door, cast: Cast, bank: Bank
) -> None:
    granted = submit(door, cast, **AGGREGATE)
    assert granted["outcome"] == "permit"
    grant = granted["grant"] or approve(door, cast, granted["case"])["grant"]
    first = cast.sessions["admin.one"]
    made = good(door.post("/v1/law/generations", json=NEW, as_=first), 201)
    assert made["in_force"] is False
    path = f"/v1/law/generations/{made['id']}:activate"
    assert door.post(path, as_=first).json()["code"] == "same_person"
    assert door.post(path, as_=cast.key).json()["code"] == "scope_missing"
    impact = f"/v1/law/generations/{made['id']}/impact"
    told = good(door.get(impact, as_=cast.officer))
    (stopped,) = [one for one in told["changed"] if one["id"] == grant]
    assert (stopped["before"], stopped["after"], stopped["stops"]) == ("permit", "deny", True)
    assert told["looked_at"]["grant"] > 1
    assert told["by_outcome"]["permit → deny"]["grant"] == 1
    assert "INST-99 no-aggregates-at-all" in told["by_rule"]
    assert door.get(impact, as_=cast.key).json()["code"] == "scope_missing"
    assert door.get("/v1/law/generations/gen_none/impact", as_=first).status_code == 404
    assert state(door, cast, grant) == "active", "looking changes nothing"

    done = good(door.post(path, as_=cast.officer))

    reached = {one["grant"]: one for one in done["reach"]["grants"]}
    assert reached[grant]["state"] == "suspended"
    assert reached[cast.made["grant"]]["state"] == "active"
    assert submit(door, cast, **AGGREGATE)["outcome"] == "deny"
    listed = good(door.get("/v1/law/generations", as_=cast.officer))["data"]
    assert [one["id"] for one in listed if one["in_force"]] == [made["id"]]
    old = good(door.get(f"/v1/decisions/{granted['id']}", as_=cast.key))
    assert old["outcome"] == "permit"
    assert release(door, cast, cast.made["grant"], "after")["state"] == "intended"


def test_a_changed_edition_is_refused_by_name_and_the_running_packs_stay(
    door: Door, cast: Cast
) -> None:
    changed = generations.shipped_files()[EDITION].decode() + "# a word more\n"
    asked = {**NEW, "files": {EDITION: changed}}
    answer = door.post("/v1/law/generations", json=asked, as_=cast.officer)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == f"/files/{EDITION}"
    assert "was activated and cannot be changed" in error["detail"]
    assert submit(door, cast, **AGGREGATE)["outcome"] == "permit"
    gone = {**NEW, "files": {EDITION: None}}
    assert door.post("/v1/law/generations", json=gone, as_=cast.officer).status_code == 422


def test_a_fact_of_packs_that_are_gone_keeps_its_name(bank: Bank) -> None:
    missing = answers._missing(bank, "request.of_old")
    assert (missing.says.en, missing.source, missing.pointer) == ("request.of_old", None, None)
