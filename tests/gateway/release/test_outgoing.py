"""What goes out: pseudonymous manifests, tubes drawn once, people counted, hand-over, receipt, visa."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection

from gateway import keys
from gateway.errors import ProblemError
from gateway.release import grants, handover
from gateway.release.grants import Grant, Item, Touch
from gateway.release.handover import HandOver, ReleaseState, Way
from tests.gateway.release.test_grants import UNTIL, granted
from tests.gateway.stage import NOW, Stage, later

TUBE = Item(holding_id="hld_1t", donor_id="dnr_1", units=2)
DATA = Item(holding_id="hld_1d", donor_id="dnr_1", units=1)
OTHER = Item(holding_id="hld_2d", donor_id="dnr_2", units=1)
HANDED = HandOver(
    how=Way.COURIER,
    tubes=frozenset({"HLD_1T"}),
    files={"HLD_1D": "11" * 32, "HLD_2D": "22" * 32},
)


@pytest.fixture(scope="module")
def bank_keys(tmp_path_factory: pytest.TempPathFactory) -> keys.Keys:
    return keys.create(tmp_path_factory.mktemp("keys") / "k", "bank.example/hgr")


def release(
    stage: Stage,
    bank_keys: keys.Keys,
    grant: Grant,
    *items: Item,
    release_id: str = "rel_1",
    now: datetime = NOW,
) -> bytes:
    def unit(conn: Connection) -> bytes:
        manifest = grants.manifest(
            conn,
            release_id=release_id,
            grant=grant,
            items=items,
            decision_id=grant.decision_id,
            leaf_index=7,
            obligations=("report-use", "delete-after", "report-use"),
            pseudonym=bank_keys.pseudonym,
            now=now,
        )
        grants.record_release(
            conn,
            release_id=release_id,
            grant=grant,
            decision_id=grant.decision_id,
            items=items,
            manifest=manifest,
            visa="a.b.c",
            pseudonym=bank_keys.pseudonym,
            now=now,
        )
        return manifest

    return stage.do(unit)


def test_a_manifest_says_everything_and_names_nobody(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[TUBE, DATA, OTHER])
    raw = release(stage, bank_keys, grant, TUBE, DATA, OTHER)
    told = json.loads(raw)
    assert told["counts"] == {"donors": 2, "items": 3, "units": 4}
    assert told["obligations"] == ["delete-after", "report-use"]
    assert (told["decision"], told["leaf"]) == (grant.decision_id, 7)
    assert (told["until"], told["made"]) == ("2027-11-22", "2026-11-22T10:00:00+08:00")
    assert told["purpose"] == {"research": "health", "text": "v1"}
    (tube,) = [one for one in told["items"] if "sha256" not in one]
    assert (tube["kind"], tube["units"]) == ("plasma", 2)
    assert {(one["sha256"], one["bytes"]) for one in told["items"] if "sha256" in one} == {
        ("11" * 32, 1000),
        ("22" * 32, 1000),
    }
    assert tube["donor"] == bank_keys.pseudonym("prj_1", "dnr_1")
    assert len({one["code"] for one in told["items"]}) == 3
    for hidden in (b"dnr_", b"hld_", b"DNR_", b"HLD_"):
        assert hidden not in raw


def test_the_names_of_two_projects_never_join(bank_keys: keys.Keys) -> None:
    from gateway.release.grants.outgoing import item_code

    names = {
        one
        for project in ("prj_1", "prj_2")
        for one in (
            bank_keys.pseudonym(project, "dnr_1"),
            item_code(bank_keys.pseudonym, project, "dnr_1"),
        )
    }
    assert len({one[1:] for one in names}) == 4


def test_the_purpose_is_the_one_that_was_decided(stage: Stage, bank_keys: keys.Keys) -> None:
    stage.request("req_1", version=2)  # amended since
    decision = stage.decision("req_1", version=1)
    grant = stage.do(
        lambda conn: grants.create(
            conn, request_id="req_1", decision_id=decision, party_id="pty_asker",
            project_id="prj_1", items=[TUBE], until=UNTIL, now=NOW,
        )
    )  # fmt: skip
    assert json.loads(release(stage, bank_keys, grant, TUBE))["purpose"]["text"] == "v1"


def test_a_manifest_of_nothing_is_refused(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage)
    with pytest.raises(ValueError, match="of nothing"):
        release(stage, bank_keys, grant)


def test_tubes_go_out_once_and_data_again(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[TUBE, DATA])
    release(stage, bank_keys, grant, TUBE, DATA)
    with stage.read() as conn:
        assert grants.live_holdings(conn, grant.id) == {"hld_1d"}
    stage.do(lambda conn: grants.shrink(conn, grant.id, {"hld_1d"}, reason="x", now=NOW))
    with stage.read() as conn, pytest.raises(ProblemError, match="not_releasable"):
        grants.live_holdings(conn, grant.id)


def test_handed_over_and_received(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[TUBE, DATA, OTHER])
    raw = release(stage, bank_keys, grant, TUBE, DATA, OTHER)
    done = stage.do(
        lambda conn: handover.record_handover(
            conn, "rel_1", HANDED, by="psn_ada", now=later(days=1)
        )
    )
    assert (done.state, done.handed_by, done.handed_how) == ("done", "psn_ada", "courier")
    digest = hashlib.sha256(raw).hexdigest()
    got = stage.do(
        lambda conn: handover.record_receipt(
            conn, "rel_1", party_id="pty_asker", manifest_sha256=digest, receipt=b"all there",
            by="key_1", now=later(days=2),
        )
    )  # fmt: skip
    assert (got.state, got.received_by, got.received_at) == ("received", "key_1", later(days=2))
    assert got.receipt_sha256 == hashlib.sha256(b"all there").hexdigest()
    assert got.manifest == raw


@pytest.mark.parametrize(
    ("handed", "pointers"),
    [
        pytest.param(HandOver(how=Way.COURIER), ["/files/HLD_1D", "/files/HLD_2D", "/tubes/HLD_1T"],
                     id="nothing"),
        pytest.param(HandOver(how=Way.COURIER, tubes=HANDED.tubes | {"HLD_2T"}, files=HANDED.files),
                     ["/tubes/HLD_2T"], id="a tube too many"),
        pytest.param(HandOver(how=Way.COURIER, tubes=HANDED.tubes,
                              files={**HANDED.files, "HLD_2D": "11" * 32}),
                     ["/files/HLD_2D"], id="another file"),
        pytest.param(HandOver(how=Way.COURIER, tubes=HANDED.tubes,
                              files={**HANDED.files, "HLD_9D": "11" * 32}),
                     ["/files/HLD_9D"], id="a file too many"),
    ],
)  # fmt: skip
def test_what_differs_is_not_handed_over(
    stage: Stage, bank_keys: keys.Keys, handed: HandOver, pointers: list[str]
) -> None:
    grant = granted(stage, items=[TUBE, DATA, OTHER])
    release(stage, bank_keys, grant, TUBE, DATA, OTHER)
    with pytest.raises(ProblemError) as caught:
        stage.do(
            lambda conn: handover.record_handover(conn, "rel_1", handed, by="psn_ada", now=NOW)
        )
    assert [one.pointer for one in caught.value.errors] == pointers


def test_a_receipt_quotes_its_manifest(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[DATA, OTHER])
    raw = release(stage, bank_keys, grant, DATA, OTHER)
    good = hashlib.sha256(raw).hexdigest()

    def receive(party: str, digest: str) -> str:
        with pytest.raises(ProblemError) as caught:
            stage.do(
                lambda conn: handover.record_receipt(
                    conn, "rel_1", party_id=party, manifest_sha256=digest, receipt=b"x",
                    by="key_1", now=NOW,
                )
            )  # fmt: skip
        return caught.value.code

    assert receive("pty_asker", good) == "state_conflict"  # not handed over yet
    handed = HandOver(how=Way.PICKED_UP, files=HANDED.files)
    stage.do(lambda conn: handover.record_handover(conn, "rel_1", handed, by="psn_ada", now=NOW))
    assert receive("pty_asker", "00" * 32) == "invalid_request"
    assert receive("pty_other", good) == "not_found"


def test_what_broke_is_gone(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[TUBE, DATA])
    release(stage, bank_keys, grant, TUBE)
    broken = stage.do(lambda conn: handover.record_break(conn, "rel_1", by="psn_ada", now=NOW))
    assert (broken.state, broken.handed_by) == (ReleaseState.BROKEN, "psn_ada")
    with stage.read() as conn:
        assert grants.live_holdings(conn, grant.id) == {"hld_1d"}
    for act in (
        lambda conn: handover.record_break(conn, "rel_1", by="psn_ada", now=NOW),
        lambda conn: handover.record_handover(conn, "rel_1", HANDED, by="psn_ada", now=NOW),
    ):
        with pytest.raises(ProblemError, match="state_conflict"):
            stage.do(act)


def test_what_broke_on_its_way_keeps_who_sent_it(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[TUBE])
    release(stage, bank_keys, grant, TUBE)
    handed = HandOver(how=Way.COURIER, tubes=HANDED.tubes)
    stage.do(lambda conn: handover.record_handover(conn, "rel_1", handed, by="psn_ada", now=NOW))
    broken = stage.do(lambda conn: handover.record_break(conn, "rel_1", by="psn_bo", now=NOW))
    assert (broken.state, broken.handed_by) == ("broken", "psn_ada")


def test_whoever_received_is_told(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[TUBE, DATA, OTHER])
    release(stage, bank_keys, grant, TUBE, DATA)
    release(stage, bank_keys, grant, OTHER, release_id="rel_2")
    with stage.read() as conn:
        assert grants.receivers(conn, Touch(donor_id="dnr_1")) == (("rel_1", "pty_asker"),)
        about = {"donor_id": "dnr_2", "project_id": None}
        assert grants.receivers_of(conn, scope="data", **about) == (("rel_2", "pty_asker"),)
        assert grants.receivers_of(conn, scope="material", **about) == ()
        assert grants.receivers_of(conn, scope="contact", **about) == ()


def test_the_releases_page_by_page(stage: Stage, bank_keys: keys.Keys) -> None:
    grant = granted(stage, items=[DATA])
    for n in range(3):
        release(stage, bank_keys, grant, DATA, release_id=f"rel_{n}", now=later(minutes=n // 2))
    with stage.read() as conn:
        first = handover.list_releases(conn, grant.id, limit=2)
        rest = handover.list_releases(conn, grant.id, starting_after=first.releases[-1].id)
        seen = [one.id for one in (*first.releases, *rest.releases)]
        assert (seen, first.has_more, rest.has_more) == (["rel_0", "rel_1", "rel_2"], True, False)
        with pytest.raises(ProblemError, match="invalid_request"):
            handover.list_releases(conn, grant.id, limit=0)
        with pytest.raises(ProblemError, match="not_found"):
            handover.get(conn, "rel_0", party_id="pty_other")


# --- visas ----------------------------------------------------------------------------------------


def claims(stage: Stage, now: datetime) -> dict[str, object]:
    with stage.read() as conn:
        grant = grants.list_grants(conn).grants[0]
    return grants.visa_claims(grant, issuer="https://bank.example", release_id="rel_1", now=now)


def test_a_visa_as_the_specification_wants_it(stage: Stage) -> None:
    grant = granted(stage)
    told = claims(stage, later(hours=1))
    assert told == {
        "iss": "https://bank.example",
        "sub": "pty_asker",
        "iat": 1795316400,  # 2026-11-22T03:00:00Z
        "exp": 1795316400 + 30 * 86400,
        "jti": "rel_1",
        "ga4gh_visa_v1": {
            "type": "ControlledAccessGrants",
            "asserted": 1795312800,  # 2026-11-22T02:00:00Z
            "value": f"https://bank.example/v1/grants/{grant.id}/releases/rel_1",
            "source": "https://bank.example",
            "by": "dac",
        },
    }


def test_a_visa_ends_with_its_grant(stage: Stage) -> None:
    granted(stage)
    end = datetime(2027, 11, 22, 16, 0, tzinfo=UTC)  # midnight after the last day, in Shanghai
    assert claims(stage, end - timedelta(hours=1))["exp"] == int(end.timestamp())
    with pytest.raises(ValueError, match="the grant ended on 2027-11-22"):
        claims(stage, end)


def test_a_url_longer_than_the_specification_lets_it_be(stage: Stage) -> None:
    grant = granted(stage)
    with pytest.raises(ValueError, match="longer than 255"):
        grants.visa_claims(grant, issuer="https://" + "x" * 200, release_id="rel_1", now=NOW)


def test_the_last_day_ends_at_midnight_in_shanghai() -> None:
    assert grants.end_of(date(2026, 11, 22)) == datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
