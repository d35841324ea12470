"""Opening balances over HTTP: proposed as they stand, read with what they would change, confirmed by another."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import standing
from gateway.bank import Bank, bump, facts_version
from gateway.tables import metadata
from tests.gateway.api.cast import Cast, good, mint
from tests.gateway.api.door import Door
from tests.gateway.registry.asks import FOREIGN
from tests.gateway.registry.test_counters import UNIVERSITY
from tests.gateway.registry.test_openings import HEAD, WHOLE
from tests.gateway.test_acts import kinds


@pytest.fixture
def new(bank: Bank) -> Bank:
    """The bank of the cast before anybody said what it gave."""
    bank.database.write(lambda conn: conn.execute(sa.delete(metadata.tables["opening"])))
    return bank


def test_two_officers_open_the_counters(door: Door, cast: Cast, new: Bank) -> None:
    made = good(door.post("/v1/openings", json={"content": WHOLE}, as_=cast.officer), 201)
    assert made["sha256"] == sha256(WHOLE.encode()).hexdigest()
    assert {one["counter"] for one in made["changes"]} == {"whole", "donors", "people_abroad"}
    path = f"/v1/openings/{made['id']}"
    read = good(door.get(path, as_=cast.second))
    assert (read["content"], read["changes"]) == (WHOLE, made["changes"])
    confirm = {"sha256": made["sha256"]}
    for who, body, code in (
        (cast.officer, confirm, "same_person"),
        (cast.second, {"sha256": "0" * 64}, "invalid_request"),
        (cast.key, confirm, "scope_missing"),
        (cast.roles["auditor"], confirm, "scope_missing"),
    ):
        assert door.post(f"{path}:confirm", json=body, as_=who).json()["code"] == code
    done = good(door.post(f"{path}:confirm", json=confirm, as_=cast.second))
    assert done["confirmed_at"]
    again = door.post(f"{path}:confirm", json=confirm, as_=cast.second)
    assert again.json()["code"] == "already_done"
    (line,) = good(door.get("/v1/openings", as_=cast.officer))["data"]
    assert (line["id"], "content" in line) == (made["id"], False)
    assert good(door.get(path, as_=cast.officer))["changes"] == []
    assert [one for one in kinds(new) if one.startswith("opening")][-4:] == [
        "opening.proposed", "opening.read", "opening.confirmed", "opening.read",
    ]  # fmt: skip


def test_a_live_grant_is_decided_again(door: Door, cast: Cast, new: Bank) -> None:
    content = f"{HEAD}whole: [donors, people_abroad]\n"
    made = good(door.post("/v1/openings", json={"content": content}, as_=cast.officer), 201)
    confirm = {"sha256": made["sha256"]}
    path = f"/v1/openings/{made['id']}:confirm"
    reached = good(door.post(path, json=confirm, as_=cast.second))["reach"]["grants"]
    (one,) = [grant for grant in reached if grant["grant"] == cast.made["grant"]]
    assert one["state"] == "active"


def counted(bank: Bank) -> tuple[int, int, list[str]]:
    """What a preview must leave as it was: the facts' version, the people counted, the log."""
    with bank.database.read() as conn:
        rows = conn.execute(
            sa.select(sa.func.count()).select_from(metadata.tables["released_donor"])
        )
        return facts_version(conn), rows.scalar_one(), kinds(bank)


def test_what_would_come_out_otherwise_is_told_and_then_decided_again(
    door: Door, cast: Cast, new: Bank
) -> None:
    """A foreign university was referred, for nobody knew what it had; with the file it waits for its papers."""
    body, key = {"ask": FOREIGN}, mint(new, UNIVERSITY).text
    asked = good(door.post("/v1/access-requests", json=body, as_=key), 201)
    case = f"/v1/cases/{asked['case']}"
    assert asked["outcome"] == "refer"
    before = counted(new)

    made = good(door.post("/v1/openings", json={"content": WHOLE}, as_=cast.officer), 201)

    told = {one["id"]: one for one in made["reaches"]}
    assert {one["kind"] for one in told.values()} == {"case"}
    assert cast.made["grant"] not in told, "at home no counter matters"
    foreseen = told[asked["case"]]
    assert (foreseen["before"], foreseen["stops"]) == ("refer", False)
    assert foreseen["after"] != "refer"
    assert made["undecidable"] == []
    assert counted(new) == (*before[:2], [*before[2], "opening.proposed"]), "nothing of it stays"
    assert good(door.get(case, as_=cast.officer))["evaluation"]["id"] == asked["id"]

    path, confirm = f"/v1/openings/{made['id']}", {"sha256": made["sha256"]}
    reach = good(door.post(f"{path}:confirm", json=confirm, as_=cast.second))["reach"]

    (reached,) = [one for one in reach["cases"] if one["case"] == asked["case"]]
    assert reached["outcome"] == foreseen["after"]
    assert reach["counts"]["cases"] == len(reach["cases"]) > 1
    assert good(door.get(case, as_=cast.officer))["evaluation"]["id"] == reached["decision"]
    assert "case.redecided" in kinds(new)[len(before[2]) :]
    after = good(door.get(path, as_=cast.officer))
    assert (after["reaches"], after["undecidable"]) == (None, [])


def test_a_grant_that_would_stand_no_longer_is_foreseen_and_stands_still(
    door: Door, cast: Cast, new: Bank
) -> None:
    """Were every paper void, nothing would stand; were only the version raised, all would."""
    grant = cast.made["grant"]
    with new.database.read() as conn:
        live = standing.active(conn, sa.true())
    assert grant in {one.grant_id for one in live}

    def foreseen(conn: sa.Connection) -> standing.Impact:
        def void(conn: sa.Connection) -> None:
            table = metadata.tables["paper"]
            conn.execute(sa.update(table).values(voided_at=new.now()))
            bump(conn)

        return standing.foreseen(conn, new, void)

    before = counted(new)
    found = new.database.write(foreseen)
    told = {one.id: one for one in found.changed}
    assert (told[grant].kind, told[grant].before, told[grant].stops) == ("grant", "permit", True)
    assert told[grant].after in {"hold", "deny"}
    assert counted(new) == before
    assert new.database.write(lambda conn: standing.foreseen(conn, new, bump)).changed == ()


def test_a_file_that_can_count_no_more_says_so(door: Door, cast: Cast, new: Bank) -> None:
    def propose(note: str) -> dict[str, Any]:
        content = f"{HEAD}whole: [donors, people_abroad]\nnote: {note}\n"
        return dict(
            good(door.post("/v1/openings", json={"content": content}, as_=cast.officer), 201)
        )

    first, second = propose("one"), propose("two")
    assert second["reaches"] is not None
    path = f"/v1/openings/{first['id']}:confirm"
    good(door.post(path, json={"sha256": first["sha256"]}, as_=cast.second))
    assert good(door.get(f"/v1/openings/{second['id']}", as_=cast.second))["reaches"] is None


def test_every_mistake_is_pointed_at(door: Door, cast: Cast) -> None:
    bad = {"content": WHOLE.replace("120", "-1").replace("2025", "0")}
    answer = door.post("/v1/openings", json=bad, as_=cast.officer)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [
        "/content/donors/1/year",
        "/content/people_abroad/0/sensitive",
    ]
