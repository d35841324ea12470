"""Opening balances over HTTP: proposed as they stand, read with what they would change, confirmed by another."""

from __future__ import annotations

from hashlib import sha256

import pytest
import sqlalchemy as sa

from gateway.bank import Bank
from gateway.tables import metadata
from tests.gateway.api.cast import Cast, good
from tests.gateway.api.door import Door
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


def test_every_mistake_is_pointed_at(door: Door, cast: Cast) -> None:
    bad = {"content": WHOLE.replace("120", "-1").replace("2025", "0")}
    answer = door.post("/v1/openings", json=bad, as_=cast.officer)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [
        "/content/donors/1/year",
        "/content/people_abroad/0/sensitive",
    ]
