"""Officers read how far each counter and quota is from its bound; an applicant never does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.bank import Bank, bump
from gateway.tables import metadata
from tests.gateway.api.cast import Cast, good, mint, submit
from tests.gateway.api.door import Door
from tests.gateway.registry.asks import FOREIGN
from tests.gateway.registry.test_counters import PROJECT, UNIVERSITY, give, people

GENOMES, SENSITIVE, PEOPLE = (
    "selection.genome_people_total", "selection.sensitive_people_total", "pi_people_total",
)  # fmt: skip


@pytest.fixture
def key(bank: Bank) -> str:
    """Of the foreign university."""
    return mint(bank, UNIVERSITY).text


def asked(door: Door, key: str) -> dict[str, Any]:
    return dict(good(door.post("/v1/access-requests", json={"ask": FOREIGN}, as_=key), 201))


def headroom(door: Door, cast: Cast, case: str) -> dict[str, Any]:
    return dict(good(door.get(f"/v1/cases/{case}", as_=cast.officer))["headroom"])


def test_each_counter_with_its_bounds_and_each_quota(
    door: Door, cast: Cast, bank: Bank, key: str
) -> None:
    bank.database.write(lambda conn: give(conn, [*people(0, 490), *people(480, 499, "exome")]))
    made = asked(door, key)

    room = headroom(door, cast, made["case"])

    counters = {one["counter"]: one for one in room["counters"]}
    assert set(counters) == {GENOMES, SENSITIVE, PEOPLE}
    asks = good(door.get(f"/v1/cases/{made['case']}", as_=cast.officer))["evaluation"]["permitted"]
    here = asks["people"]["value"]
    genomes = counters[GENOMES]
    assert (genomes["way"], genomes["group"], genomes["project"], genomes["year"]) == (
        "recipient-project", UNIVERSITY, PROJECT, None,
    )  # fmt: skip
    assert (genomes["before"], genomes["after"]) == (499, 499 + here)
    assert genomes["before_by_class"] == {"exome": 19, "genome": 490}
    assert {(one["no"], one["least"], one["left"]) for one in genomes["bounds"]} == {
        ("R-INF-03", 501, 1 - here), ("R-INF-04", 501, 1 - here),
    }  # fmt: skip
    everybody = counters[PEOPLE]
    assert (everybody["year"], everybody["group"], everybody["before_by_class"]) == (
        2026,
        None,
        None,
    )
    assert {one["left"] for one in everybody["bounds"]} == {999_999 - 499 - here}
    quotas = {(one["kind"], one["measure"]): one for one in room["quotas"]}
    cooperation = quotas["cooperation", "people"]
    assert (
        cooperation["left"]
        == cooperation["total"] - cooperation["reserved"] - cooperation["consumed"]
    )
    zh, en = room["text"]["zh"], room["text"]["en"]
    assert (
        f"接收方控制集团 {UNIVERSITY} 在项目 {PROJECT} 中所得）：此前 499，连同本次 {499 + here}"
        in zh
    )
    assert f"[R-INF-03] speaks from 501 people on, left {1 - here}" in en
    assert "共 " in zh
    assert "2026" in en


def test_what_is_unknown_says_so(door: Door, cast: Cast, bank: Bank, key: str) -> None:
    bank.database.write(lambda conn: conn.execute(sa.delete(metadata.tables["opening"])))
    quotas = metadata.tables["quota"]
    bank.database.write(lambda conn: conn.execute(sa.update(quotas).values(opened=False)))
    room = headroom(door, cast, asked(door, key)["case"])
    assert {(one["before"], one["after"]) for one in room["counters"]} == {(None, None)}
    assert {bound["left"] for one in room["counters"] for bound in one["bounds"]} == {None}
    assert {one["left"] for one in room["quotas"]} == {None}
    assert "此前 未知" in room["text"]["zh"]
    assert "never opened" in room["text"]["en"]


def test_an_applicant_is_never_told(door: Door, cast: Cast, key: str) -> None:
    made = asked(door, key)
    said = [
        made,
        good(door.post("/v1/evaluations", json={"ask": FOREIGN}, as_=key)),
        good(door.get(f"/v1/decisions/{made['id']}", as_=key)),
        good(door.get(f"/v1/access-requests/{made['request']}", as_=key)),
    ]
    assert "headroom" not in json.dumps(said)
    assert door.get(f"/v1/cases/{made['case']}", as_=key).json()["code"] == "scope_missing"


def test_a_request_that_no_longer_fits_together_has_none(
    door: Door, cast: Cast, bank: Bank
) -> None:
    case = submit(door, cast)["case"]
    researchers = metadata.tables["researcher"]

    def elsewhere(conn: sa.Connection) -> None:
        conn.execute(sa.update(researchers).values(employer_id="pty_contract_lab"))
        bump(conn)

    bank.database.write(elsewhere)
    assert good(door.get(f"/v1/cases/{case}", as_=cast.officer))["headroom"] is None
