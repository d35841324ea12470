"""Grants: made once, cut down by what changes, ended for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from gateway import tables
from gateway.errors import ProblemError
from gateway.release import grants
from gateway.release.grants import Grant, GrantState, Item, Touch
from tests.gateway.stage import DAY, HOLDINGS, NOW, Stage, later

ALL = [Item(holding_id=h[0], donor_id=h[1], units=1) for h in HOLDINGS]
UNTIL = date(2027, 11, 22)


def granted(stage: Stage, request: str = "req_1", items: list[Item] | None = None) -> Grant:
    stage.request(request)
    return regranted(stage, request, items)


def regranted(stage: Stage, request: str, items: list[Item] | None = None) -> Grant:
    decision = stage.decision(request)
    return stage.do(
        lambda conn: grants.create(
            conn,
            request_id=request,
            decision_id=decision,
            party_id="pty_asker",
            project_id="prj_1",
            items=ALL if items is None else items,
            until=UNTIL,
            accepted={"b", "a"},
            now=NOW,
        )
    )


def holdings(stage: Stage, grant: Grant) -> list[str]:
    with stage.read() as conn:
        return [one.holding_id for one in grants.items(conn, grant.id)]


def test_a_grant_as_it_was_made(stage: Stage) -> None:
    grant = granted(stage)
    assert (grant.state, grant.until, grant.accepted) == (GrantState.ACTIVE, UNTIL, ("a", "b"))
    assert holdings(stage, grant) == sorted(one[0] for one in HOLDINGS)


def test_one_decision_one_grant(stage: Stage) -> None:
    grant = granted(stage)

    def again(conn: Connection) -> Grant:
        return grants.create(
            conn, request_id="req_1", decision_id=grant.decision_id, party_id="pty_asker",
            project_id="prj_1", items=ALL, until=UNTIL, now=NOW,
        )  # fmt: skip

    with pytest.raises(ProblemError, match="already_done"):
        stage.do(again)
    stage.do(lambda conn: grants.revoke(conn, grant.id, now=NOW))
    with pytest.raises(ProblemError, match="already_done"):  # nor once the first has ended
        stage.do(again)


def test_a_request_has_one_live_grant(stage: Stage) -> None:
    first = granted(stage)
    with pytest.raises(ProblemError, match=first.id):
        regranted(stage, "req_1")
    ended = stage.do(lambda conn: grants.end_for_request(conn, "req_1", state="revoked", now=NOW))
    assert [(one.id, one.state) for one in ended] == [(first.id, GrantState.REVOKED)]
    assert regranted(stage, "req_1").id != first.id


def test_the_database_itself_refuses_a_second_grant(stage: Stage) -> None:
    grant = granted(stage)
    row = tables.table_of(tables.Grant)

    def unit(conn: Connection) -> None:
        values = dict(conn.execute(sa.select(row).where(row.c.id == grant.id)).mappings().one())
        conn.execute(sa.insert(row).values(**values | {"id": grant.id}))

    with pytest.raises(sa.exc.IntegrityError):
        stage.do(unit)


@pytest.mark.parametrize(
    ("items", "until", "said"),
    [
        pytest.param([], UNTIL, "nothing is selected", id="nothing"),
        pytest.param(ALL, DAY - timedelta(days=1), "has passed", id="yesterday"),
    ],
)
def test_what_is_no_grant(stage: Stage, items: list[Item], until: date, said: str) -> None:
    stage.request("req_1")
    decision = stage.decision("req_1")
    with pytest.raises(ProblemError, match=said):
        stage.do(
            lambda conn: grants.create(
                conn, request_id="req_1", decision_id=decision, party_id="pty_asker",
                project_id="prj_1", items=items, until=until, now=NOW,
            )
        )  # fmt: skip


def test_today_is_still_good_in_shanghai(stage: Stage) -> None:
    stage.request("req_1")
    decision = stage.decision("req_1")
    # 15:59 UTC is one minute before midnight in Shanghai, 16:00 is the next day there.
    for hours, good in ((13, True), (14, False)):

        def unit(conn: Connection, hours: int = hours) -> Grant:
            return grants.create(
                conn, request_id="req_1", decision_id=decision, party_id="pty_asker",
                project_id="prj_1", items=ALL, until=DAY, now=later(hours=hours),
            )  # fmt: skip

        if good:
            grant = stage.do(unit)
            stage.do(lambda conn, g=grant: grants.revoke(conn, g.id, now=NOW))
        else:
            with pytest.raises(ProblemError, match="has passed"):
                stage.do(unit)


@pytest.mark.parametrize(
    ("touch", "hit"),
    [
        pytest.param(Touch(donor_id="dnr_1"), ["hld_1d", "hld_1t"], id="a donor"),
        pytest.param(Touch(holding_id="hld_2t"), ["hld_2t"], id="a holding"),
        pytest.param(Touch(donor_id="dnr_1", item_class="material"), ["hld_1t"], id="tubes"),
        pytest.param(Touch(donor_id="dnr_3", item_class="information"), ["hld_3x"],
                     id="unknown class may be data"),
        pytest.param(Touch(donor_id="dnr_3", item_class="material"), ["hld_3t", "hld_3x"],
                     id="unknown class may be tubes"),
        pytest.param(Touch(collection_id="col_1"), sorted(h[0] for h in HOLDINGS),
                     id="a collection"),
        pytest.param(Touch(form_id="frm_1"), sorted(h[0] for h in HOLDINGS), id="a form"),
        pytest.param(Touch(form_id="frm_0"), [], id="another form"),
        pytest.param(Touch(donor_id="dnr_1", project_id="prj_2"), [], id="another project"),
        pytest.param(Touch(donor_id="dnr_1", party_id="pty_other"), [], id="another party"),
    ],
)  # fmt: skip
def test_what_a_change_touches(stage: Stage, touch: Touch, hit: list[str]) -> None:
    grant = granted(stage)
    with stage.read() as conn:
        preview = grants.touching(conn, touch)
    assert [list(one.holdings) for one in preview] == ([hit] if hit else [])
    cut = stage.do(lambda conn: grants.shrink_touched(conn, touch, reason="why", now=NOW))
    assert cut == preview
    left = holdings(stage, grant)
    assert left == sorted({h[0] for h in HOLDINGS} - set(hit))
    with stage.read() as conn:
        state = grants.get(conn, grant.id).state
    assert state is (GrantState.ACTIVE if left else GrantState.REVOKED)


def test_what_touches_nothing_named_is_refused(stage: Stage) -> None:
    with stage.read() as conn, pytest.raises(ValueError, match="would touch everything"):
        grants.touching(conn, Touch())


def test_what_was_taken_out_stays_listed(stage: Stage) -> None:
    grant = granted(stage)
    took = stage.do(
        lambda conn: grants.shrink(conn, grant.id, {"hld_1t", "hld_0"}, reason="wdr_1", now=NOW)
    )
    again = stage.do(
        lambda conn: grants.shrink(conn, grant.id, {"hld_1t"}, reason="wdr_2", now=NOW)
    )
    assert (took, again) == (1, 0)
    item = tables.table_of(tables.GrantItem)
    with stage.read() as conn:
        row = conn.execute(sa.select(item).where(item.c.holding_id == "hld_1t")).one()
    assert (row.removed_reason, row.removed_at) == ("wdr_1", NOW)


@pytest.mark.parametrize(
    ("scope", "project", "hit"),
    [
        pytest.param("everything", None, ["hld_1d", "hld_1t"], id="everything"),
        pytest.param("study", "prj_1", ["hld_1d", "hld_1t"], id="this study"),
        pytest.param("study", "prj_2", [], id="another study"),
        pytest.param("data", None, ["hld_1d"], id="data"),
        pytest.param("material", None, ["hld_1t"], id="material"),
        pytest.param("contact", None, [], id="contact"),
    ],
)
def test_a_withdrawal_by_its_scope(
    stage: Stage, scope: str, project: str | None, hit: list[str]
) -> None:
    grant = granted(stage)
    about = {"donor_id": "dnr_1", "scope": scope, "project_id": project}
    with stage.read() as conn:
        preview = grants.touched_by(conn, **about)
    cut = stage.do(lambda conn: grants.shrink_for_withdrawal(conn, **about, now=NOW))
    assert cut == preview
    assert [list(one.holdings) for one in cut] == ([hit] if hit else [])
    assert holdings(stage, grant) == sorted({h[0] for h in HOLDINGS} - set(hit))


@pytest.mark.parametrize(("scope", "project"), [("study", None), ("some", None)])
def test_no_such_withdrawal(stage: Stage, scope: str, project: str | None) -> None:
    with stage.read() as conn, pytest.raises(ValueError, match="no withdrawal of scope"):
        grants.touched_by(conn, donor_id="dnr_1", scope=scope, project_id=project)


def test_a_grant_that_ended_is_touched_no_more(stage: Stage) -> None:
    grant = granted(stage)
    stage.do(lambda conn: grants.revoke(conn, grant.id, now=NOW))
    with stage.read() as conn:
        assert grants.touching(conn, Touch(donor_id="dnr_1")) == ()


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        pytest.param(["suspend"], "suspended", id="suspended"),
        pytest.param(["suspend", "revoke"], "revoked", id="suspended, then revoked"),
        pytest.param(["complete"], "completed", id="completed"),
        pytest.param(["revoke", "revoke"], None, id="ended twice"),
        pytest.param(["suspend", "complete"], None, id="completed while in doubt"),
        pytest.param(["suspend", "suspend"], None, id="suspended twice"),
    ],
)
def test_how_a_grant_moves(stage: Stage, steps: list[str], end: str | None) -> None:
    grant = granted(stage)

    def walk(conn: Connection) -> Grant:
        for step in steps:
            moved: Grant = getattr(grants, step)(conn, grant.id, now=NOW)
        return moved

    if end is None:
        with pytest.raises(ProblemError, match="state_conflict"):
            stage.do(walk)
    else:
        moved = stage.do(walk)
        assert (moved.state, moved.revision) == (end, 1 + len(steps))


def test_a_grant_ends_after_its_last_good_day(stage: Stage) -> None:
    grant = granted(stage)
    assert stage.do(lambda conn: grants.expire(conn, today=UNTIL, now=NOW)) == ()
    ended = stage.do(lambda conn: grants.expire(conn, today=UNTIL + timedelta(days=1), now=NOW))
    assert [(one.id, one.state) for one in ended] == [(grant.id, GrantState.EXPIRED)]


def test_active_is_no_end(stage: Stage) -> None:
    with pytest.raises(ValueError, match="is no end"):
        stage.do(lambda conn: grants.end_for_request(conn, "req_1", state="active", now=NOW))


def test_two_changes_of_one_grant_do_not_both_count(stage: Stage) -> None:
    from gateway.release.grants.standing import move

    grant = granted(stage)
    with pytest.raises(ProblemError, match="precondition_failed"):
        stage.do(lambda conn: [move(conn, grant, GrantState.SUSPENDED, NOW) for _ in range(2)])


def test_the_list_page_by_page(stage: Stage) -> None:
    made = [granted(stage, f"req_{n}").id for n in range(5)]
    with stage.read() as conn:

        def walk() -> Iterator[str]:
            page = grants.list_grants(conn, party_id="pty_asker", limit=2)
            while True:
                yield from (one.id for one in page.grants)
                if not page.has_more:
                    return
                last = page.grants[-1].id
                page = grants.list_grants(conn, party_id="pty_asker", limit=2, starting_after=last)

        assert sorted(walk()) == sorted(made)
        assert grants.list_grants(conn, party_id="pty_other").grants == ()
        assert grants.list_grants(conn, state=GrantState.SUSPENDED).grants == ()
        with pytest.raises(ProblemError, match="invalid_request"):
            grants.list_grants(conn, limit=101)
        with pytest.raises(ProblemError, match="not_found"):
            grants.list_grants(conn, party_id="pty_other", starting_after=made[0])
        with pytest.raises(ProblemError, match="not_found"):
            grants.get(conn, made[0], party_id="pty_other")
