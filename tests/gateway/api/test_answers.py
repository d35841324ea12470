"""What a decision shows to whom."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api import answers
from gateway.demo_world import World
from tests.gateway.api.cast import Cast, ask, submit
from tests.gateway.api.door import Door, good
from tests.store import execute


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "<20"), (1, "<20"), (19, "<20"), (20, "20"), (24, "20"), (25, "30"), (104, "100")],
)
def test_researchers_see_bands(value: int, shown: str) -> None:
    number = answers.number(value, exact=False)
    assert (number.shown, number.exact) == (shown, False)
    assert number.value == (None if shown == "<20" else int(shown))


def test_officers_see_figures() -> None:
    number = answers.number(7, exact=True)
    assert (number.value, number.shown, number.exact) == (7, "7", True)


def _one_donor(door: Door, cast: Cast, code: str, who: str) -> dict[str, Any]:
    items = {"kinds": ["plasma"], "cohort": {"samples": [code]}}
    return dict(good(door.post("/v1/evaluations", json={"ask": ask(items=items)}, as_=who)))


def _codes(door: Door, world: World) -> tuple[str, str]:
    """A donor who holds plasma under the same consent form: one who stayed, one who withdrew."""
    with door.app.state.bank.database.read() as conn:
        rows = execute(
            conn,
            "SELECT d.id, d.code FROM donor d JOIN holding h ON h.donor_id = d.id "
            "WHERE h.kind = 'plasma' AND h.collection_id = 'col_chb' ORDER BY d.id",
        ).fetchall()
    gone = set(world.withdrawn["everything"])
    withdrew = [code for donor, code in rows if donor in gone]
    stayed = [code for donor, code in rows if donor not in gone]
    return stayed[0], withdrew[0] if withdrew else ""


#: What differs between any two answers, whoever they are about.
PASSING = ("id", "decided_at", "log", "links")


def test_a_one_donor_dry_run_is_the_same_whether_or_not_that_donor_withdrew(
    door: Door, cast: Cast, world: World
) -> None:
    code, _ = _codes(door, world)
    before = _one_donor(door, cast, code, cast.key)
    body = {"scope": "everything", "channel": "书面"}
    path = f"/v1/donors/{code}/withdrawals"
    assert good(door.post(path, json=body, as_=cast.officer), 201)["leaf_index"] is not None
    after = _one_donor(door, cast, code, cast.key)
    for name in PASSING:
        before.pop(name)
        after.pop(name)
    assert before == after
    assert before["donor_level"] == "not_considered"


def test_the_officer_sees_that_the_donor_withdrew(door: Door, cast: Cast, world: World) -> None:
    code, _ = _codes(door, world)
    body = {"scope": "everything", "channel": "书面"}
    good(door.post(f"/v1/donors/{code}/withdrawals", json=body, as_=cast.officer), 201)
    seen = _one_donor(door, cast, code, cast.officer)
    assert any(b["no"] == "R-CON-04" and b["touched"]["value"] == 1 for b in seen["blockers"])


def test_a_submission_over_few_donors_gives_no_donor_level_reason(
    door: Door, cast: Cast, world: World
) -> None:
    code, _ = _codes(door, world)
    body = {"scope": "everything", "channel": "书面"}
    good(door.post(f"/v1/donors/{code}/withdrawals", json=body, as_=cast.officer), 201)
    made = submit(door, cast, items={"kinds": ["plasma"], "cohort": {"samples": [code]}})
    assert made["outcome"] == "deny"
    donors = [b for b in made["blockers"] if b["level"] == "donor"]
    assert [(b["rule"], b["no"], b["touched"]) for b in donors] == [("not_available", None, None)]
    again = good(door.get(f"/v1/decisions/{made['id']}", as_=cast.key))
    assert again["blockers"] == made["blockers"]


def test_a_blocker_says_whose_move_it_is_what_to_do_and_by_which_article(
    door: Door, cast: Cast
) -> None:
    price = {"price_fen": 90000, "cost_fen": 50000, "cost_documented": True}
    made = good(door.post("/v1/evaluations", json={"ask": ask(price=price)}, as_=cast.key))
    assert made["outcome"] == "deny"
    (blocker,) = [b for b in made["blockers"] if b["no"] == "R-GEN-04"]
    assert blocker["owner"] in {"researcher", "institution", "bank", "government"}
    assert blocker["fix"]["zh"]
    assert blocker["fix"]["en"]
    assert blocker["cite"][0]["text"]["zh"]


def test_a_missing_fact_is_named_in_words(door: Door, cast: Cast) -> None:
    made = good(door.post("/v1/evaluations", json={"ask": ask(beneficiary=None)}, as_=cast.key))
    missing = [fact for b in made["blockers"] for fact in b["missing"]]
    assert any(fact["fact"].startswith("beneficiary.") and fact["says"]["zh"] for fact in missing)


def test_strata_and_document_digests_never_reach_a_researcher(door: Door, cast: Cast) -> None:
    answer = door.get(f"/v1/decisions/{cast.made['decision']}", as_=cast.key)
    with door.app.state.bank.database.read() as conn:
        (digest,) = execute(
            conn, "SELECT document_sha256 FROM decision WHERE id = ?", cast.made["decision"]
        ).one()
    assert digest not in answer.text
    assert '"strata"' not in answer.text


def test_a_decision_names_the_path_of_foreign_control(door: Door, cast: Cast) -> None:
    made = good(
        door.post("/v1/evaluations", json={"ask": ask(recipient="pty_cart_jv")}, as_=cast.key)
    )
    path = {
        "path": "pty_foreign_pharma > 1/2 > pty_cart_jv",
        "says": {
            "zh": "pty_foreign_pharma 持有 pty_cart_jv 的 1/2",
            "en": "pty_foreign_pharma holds 1/2 of pty_cart_jv",
        },
    }
    assert {"role": "recipient", "paths": [path]} in made["control"]
    assert good(door.get(made["links"]["self"], as_=cast.key))["control"] == made["control"]
    held = good(door.get("/v1/parties/pty_cart_jv/control", as_=cast.officer))
    assert (held["group"], held["foreign_share_chain"]) == ("pty_foreign_pharma", "1/2")
    assert "虚构" in held["paths"][0]["says"]["zh"], "officers read names"
    before = "/v1/parties/pty_cart_jv/control?on=1990-01-01"
    assert good(door.get(before, as_=cast.officer))["paths"] == []
    assert door.get("/v1/parties/pty_nobody/control", as_=cast.officer).status_code == 404


def test_a_merged_party_is_no_longer_named(door: Door, cast: Cast) -> None:
    merger = {"into": "pty_foreign_pharma", "on": "2026-01-01", "evidence": "公告"}
    good(door.post("/v1/parties/pty_cart_jv:merge", json=merger, as_=cast.officer), 201)
    made = good(
        door.post("/v1/evaluations", json={"ask": ask(recipient="pty_cart_jv")}, as_=cast.key)
    )
    assert "INST-07" in [blocker["no"] for blocker in made["blockers"]]
    listed = good(door.get("/v1/parties?limit=100", as_=cast.officer))["data"]
    (gone,) = [one for one in listed if one["id"] == "pty_cart_jv"]
    assert (gone["merged_into"], gone["merged_on"]) == ("pty_foreign_pharma", "2026-01-01")


@pytest.mark.parametrize("action", ["ai_training", "court_order", "relatives_of_deceased"])
def test_an_act_without_rules_yet_comes_with_the_officers_question(
    door: Door, cast: Cast, action: str
) -> None:
    made = good(door.post("/v1/evaluations", json={"ask": ask(action=action)}, as_=cast.key))
    assert made["outcome"] == "refer"
    (asked,) = [one["ask"] for one in made["blockers"] if one["no"] == "INST-05"]
    assert asked["zh"].endswith("？")
    assert asked["en"].endswith("?")
    again = good(door.get(made["links"]["self"], as_=cast.key))
    assert again["blockers"] == made["blockers"]


def test_duties_are_listed_met_and_the_overdue_ones_felt(door: Door, cast: Cast) -> None:
    path = "/v1/duties"
    mine = good(door.get(f"{path}/own", as_=cast.key))["data"]
    assert mine
    assert {one["party"] for one in mine} == {"pty_shanghai_hospital"}
    assert door.get(path, as_=cast.key).status_code == 403
    body = {"on": "2020-01-01", "evidence_sha256": "1" * 64}
    met = good(door.post(f"{path}/{mine[0]['id']}:done", json=body, as_=cast.officer))
    assert (met["done_on"], met["overdue"]) == ("2020-01-01", False)
    assert door.post(f"{path}/{mine[0]['id']}:done", json=body, as_=cast.officer).status_code == 409
    overdue = "UPDATE duty SET due = '2020-01-01', done_on = NULL"
    door.app.state.bank.database.write(lambda conn: execute(conn, overdue))
    made = good(door.post("/v1/evaluations", json={"ask": ask()}, as_=cast.key))
    assert "INST-06" in [one["no"] for one in made["blockers"]]
