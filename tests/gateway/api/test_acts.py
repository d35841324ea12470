"""Retries, revisions, and what a release and a withdrawal do, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json

import httpx
import pytest
import sqlalchemy as sa

from audit.check import checkpoint_of
from audit.merkle import verify_inclusion
from audit.note import TlogProof, open_checkpoint
from gateway.bank import Bank
from gateway.tables import ReleasedDonor, ReleaseItem, table_of
from tests.gateway.api.cast import HOSPITAL, Cast, approve, ask, release, submit
from tests.gateway.api.door import Door, good
from tests.store import execute

REQUESTS = "/v1/access-requests"


def _size(door: Door) -> int:
    return int(good(door.get("/healthz"))["log_size"])


def test_a_retry_gets_the_first_answer_and_decides_nothing(door: Door, cast: Cast) -> None:
    headers, body = {"Idempotency-Key": "retry-1"}, {"ask": ask()}
    first = door.post(REQUESTS, json=body, headers=headers, as_=cast.key)
    size = _size(door)
    again = door.post(REQUESTS, json=body, headers=headers, as_=cast.key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]
    assert _size(door) == size


@pytest.mark.parametrize(
    ("name", "path", "draft"),
    [("another body", REQUESTS, True), ("another route", "/v1/evaluations", None)],
)
def test_a_key_is_good_for_one_request(
    door: Door, cast: Cast, name: str, path: str, draft: object
) -> None:
    headers = {"Idempotency-Key": "once"}
    assert door.post(REQUESTS, json={"ask": ask()}, headers=headers, as_=cast.key).is_success
    body = {"ask": ask()} | ({} if draft is None else {"draft": draft})
    answer = door.post(path, json=body, headers=headers, as_=cast.key)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict"), name


def test_another_organisation_may_use_the_same_key(door: Door, cast: Cast) -> None:
    headers, body = {"Idempotency-Key": "mine"}, {"ask": ask()}
    assert door.post("/v1/evaluations", json=body, headers=headers, as_=cast.key).is_success
    body = {"ask": ask(project="prj_car_t_hmb", recipient="pty_cart_domestic")}
    other = door.post("/v1/evaluations", json=body, headers=headers, as_=cast.other_key)
    assert other.status_code == 200
    assert "Idempotent-Replayed" not in other.headers


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (None, 428, "precondition_required"),
        ('"99"', 412, "precondition_failed"),
        ("1", 422, "invalid_request"),
        ('W/"1"', 422, "invalid_request"),
    ],
)
def test_a_change_names_what_was_read(
    door: Door, cast: Cast, given: str | None, status: int, code: str
) -> None:
    headers = {"If-Match": given} if given else {}
    path = f"{REQUESTS}/{cast.made['draft']}"
    for answer in (
        door.patch(path, {"leftover": "return"}, headers=headers, as_=cast.key),
        door.post(f"{path}:submit", headers=headers, as_=cast.key),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert good(door.get(path, as_=cast.key))["ask"]["leftover"] == "destroy"


def test_an_amendment_is_decided_anew_and_shows_its_difference(door: Door, cast: Cast) -> None:
    path = f"{REQUESTS}/{cast.made['request']}"
    headers = {"If-Match": door.get(path, as_=cast.key).headers["ETag"]}
    amended = door.patch(path, {"leftover": "return"}, headers=headers, as_=cast.key)
    assert good(amended)["version"] == 2
    headers = {"If-Match": amended.headers["ETag"]}
    made = good(door.post(f"{path}:submit", headers=headers, as_=cast.key))
    assert [(d["pointer"], d["before"], d["after"]) for d in made["difference"]] == [
        ("/leftover", "destroy", "return")
    ]


def test_a_release_carries_its_manifest_and_a_retry_releases_nothing_more(
    door: Door, cast: Cast
) -> None:
    grant = approve(door, cast, submit(door, cast)["case"])["grant"]
    made = release(door, cast, grant, "rel-1")
    assert hashlib.sha256(made["manifest"].encode()).hexdigest() == made["manifest_sha256"]
    assert json.loads(made["manifest"])["grant"] == grant
    payload = made["visa"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["ga4gh_visa_v1"]["type"] == "ControlledAccessGrants"
    assert release(door, cast, grant, "rel-1") == made
    answer = door.post(
        f"/v1/grants/{grant}/releases", headers={"Idempotency-Key": "rel-2"}, as_=cast.key
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "not_releasable")  # tubes go once


def test_a_release_counts_everybody_in_it_once_for_who_received_it(
    door: Door, bank: Bank, cast: Cast
) -> None:
    counted, item = table_of(ReleasedDonor), table_of(ReleaseItem)
    release_id = release(door, cast, cast.made["grant"], "once")["id"]
    with bank.database.read() as conn:
        rows = conn.execute(sa.select(counted).where(counted.c.source_id == release_id)).all()
        went = conn.execute(sa.select(item.c.donor_id).where(item.c.release_id == release_id))
        assert {row.donor_id for row in rows} == set(went.scalars())
    assert {(row.party_id, row.group_id, row.project_id, row.year) for row in rows} == {
        (HOSPITAL, HOSPITAL, "prj_hospital_hmb", 2026)
    }
    assert {row.overseas for row in rows} == {False}
    assert len(rows) == len({(row.donor_id, row.data_class) for row in rows})


def test_a_release_without_an_idempotency_key_is_refused(door: Door, cast: Cast) -> None:
    answer = door.post(f"/v1/grants/{cast.made['grant']}/releases", as_=cast.key)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


def _donor_of(bank: Bank, grant: str) -> str:
    with bank.database.read() as conn:
        query = "SELECT donor_id FROM grant_item WHERE grant_id = ? ORDER BY donor_id LIMIT 1"
        return str(execute(conn, query, grant).scalar_one())


def test_a_withdrawal_shrinks_the_grant_and_the_next_release_leaves_the_donor_out(
    door: Door, bank: Bank, cast: Cast
) -> None:
    grant = cast.made["grant"]
    donor = _donor_of(bank, grant)
    path, body = f"/v1/donors/{donor}/withdrawals", {"scope": "everything", "channel": "书面"}
    params = {"preview": "true"}
    preview = good(door.post(path, json=body, params=params, as_=cast.officer))
    assert (preview["id"], preview["leaf_index"]) == (None, None)
    touched = {one["grant"]: one["left"] for one in preview["grants"]}
    assert grant in touched
    recorded = good(door.post(path, json=body, as_=cast.officer), 201)
    assert {one["grant"]: one["left"] for one in recorded["grants"]} == touched
    assert {one["release"] for one in recorded["receivers"]} >= {cast.made["release"]}
    made = release(door, cast, grant, "after-withdrawal")
    pseudonym = bank.keys.pseudonym("prj_hospital_hmb", donor)
    assert pseudonym not in made["manifest"]
    assert json.loads(made["manifest"])["counts"]["items"] <= touched[grant]


def test_a_withdrawal_cannot_lie_ahead(door: Door, cast: Cast) -> None:
    body = {"scope": "contact", "channel": "电话", "effective_at": "2027-01-01T00:00:00Z"}
    path = f"/v1/donors/{cast.made['donor']}/withdrawals"
    assert door.post(path, json=body, as_=cast.officer).status_code == 422


def test_the_second_officer_is_another_person(door: Door, cast: Cast) -> None:
    path = f"/v1/cases/{submit(door, cast)['case']}"
    case = door.get(path, as_=cast.officer)
    dispose = dict.fromkeys(case.json()["dispose"], "已逐项核对,予以接受。")
    reason = "经核对,研究目的与知情同意范围一致,拟同意提供所申请的样本。"
    body = {"command": "recommend", "recommendation": "approve", "reason": reason}
    body["dispositions"] = dispose
    headers = {"If-Match": case.headers["ETag"]}
    first = door.post(f"{path}/commands", json=body, headers=headers, as_=cast.officer)
    headers = {"If-Match": first.headers["ETag"]}
    body = {"command": "concur", "reason": reason}
    same = door.post(f"{path}/commands", json=body, headers=headers, as_=cast.officer)
    assert (same.status_code, same.json()["code"]) == (403, "same_person")
    stale = door.post(f"{path}/commands", json=body, headers={"If-Match": '"1"'}, as_=cast.second)
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")


def test_who_recorded_a_paper_cannot_check_it(door: Door, cast: Cast) -> None:
    path = f"/v1/papers/{cast.made['unchecked_paper']}:check"
    assert door.post(path, as_=cast.second).json()["code"] == "same_person"
    assert good(door.post(path, as_=cast.officer))["checked_by"]


def test_a_decision_is_proven_to_whoever_asked_for_it(door: Door, bank: Bank, cast: Cast) -> None:
    made = good(door.post("/v1/evaluations", json={"ask": ask()}, as_=cast.key))
    proof = good(door.get(made["links"]["proof"], as_=cast.key))
    assert (proof["index"], proof["leaf_hash"]) == (made["log"]["index"], made["log"]["leaf_hash"])
    checkpoint = open_checkpoint(proof["checkpoint"].encode(), bank.keys.log.verifier())
    hashes = tuple(bytes.fromhex(one) for one in proof["inclusion"])
    leaf_hash = bytes.fromhex(proof["leaf_hash"])
    verify_inclusion(proof["index"], checkpoint.size, leaf_hash, hashes, checkpoint.root)
    text = door.get(made["links"]["proof"], headers={"Accept": "text/plain"}, as_=cast.key)
    assert TlogProof.from_bytes(text.content).index == proof["index"]


def test_anybody_can_follow_the_log_by_its_tiles(door: Door, bank: Bank, cast: Cast) -> None:
    note = door.get("/log/checkpoint")
    size = checkpoint_of(note.content, bank.origin).size
    partial = "" if size == 256 else f".p/{size}"
    tile = door.get(f"/log/tile/0/000{partial}")
    assert len(tile.content) == 32 * size
    assert "immutable" in tile.headers["Cache-Control"]
    bundle = f"/log/tile/entries/000{partial}"
    assert door.get(bundle).status_code == 401
    assert door.get(bundle, as_=cast.key).status_code == 403
    assert door.get(bundle, as_=cast.sessions["auditor.one"]).status_code == 200


@pytest.mark.parametrize(
    "path", ["0/000.p/255", "0/999", "64/000", "x/000", "0/0000", "0/000.p/0", "entries", ""]
)
def test_what_is_no_tile_is_not_found(door: Door, path: str) -> None:
    assert door.get(f"/log/tile/{path}").status_code == 404


def test_the_regulator_downloads_what_the_export_names(door: Door, cast: Cast) -> None:
    who = cast.sessions["regulator.one"]
    made = good(door.get(f"/v1/audit/exports/{cast.made['export']}", as_=who))
    package = door.get(made["package"], as_=who)
    assert hashlib.sha256(package.content).hexdigest() == made["sha256"]
    assert package.headers["Content-Type"] == "application/zip"


def test_every_refused_sign_in_looks_the_same(door: Door, cast: Cast) -> None:
    def told(login: str, password: str, code: str) -> tuple[int, str]:
        body = {"login": login, "password": password, "code": code}
        answer: httpx.Response = door.post("/v1/sessions", json=body)
        return answer.status_code, answer.json()["detail"]

    wrong = told("officer.one", "not the passphrase", "000000")
    assert wrong[0] == 401
    assert told("nobody.here", "not the passphrase", "000000") == wrong
    assert told("officer.one", "a long invented passphrase", "000000") == wrong


def test_a_checkpoint_is_published_at_the_start(door: Door, bank: Bank) -> None:
    size = _size(door)
    assert checkpoint_of(door.get("/log/checkpoint").content, bank.origin).size == size
