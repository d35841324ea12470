"""Quotas and tubes in double entry: reserve, consume, give back; never overdrawn, always explained."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Connection

from gateway import tables
from gateway.bank import facts_version
from gateway.errors import ProblemError
from gateway.registry import ledger
from gateway.registry.ledger import Draw
from gateway.release import grants
from gateway.release.grants import GrantState, Item
from gateway.tables import table_of
from tests.gateway.stage import DAY, NOW, Stage, put, stage_in
from tests.store import execute

TUBE = Item(holding_id="hld_1t", donor_id="dnr_1", units=2, volume_ul=500)
DATA = Item(holding_id="hld_1d", donor_id="dnr_1", units=1, material=False, bytes=1000)
OTHER = Item(holding_id="hld_2d", donor_id="dnr_2", units=1, material=False, bytes=1000)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with stage_in(tmp_path) as stage:
        yield stage


def paper(
    stage: Stage, kind: str, *, opened: bool = True, **totals: int
) -> tuple[str, dict[str, str]]:
    """A paper with these quotas: its id, and their ids by measure."""

    def unit(conn: Connection) -> None:
        put(conn, tables.Paper, id=f"ppr_{kind}", kind=kind, number="虚构", issuer="虚构",
            holder_id="pty_bank", valid_from=DAY, document_sha256="0" * 64, recorded_by="psn_ada",
            recorded_at=NOW)  # fmt: skip
        for measure, total in totals.items():
            put(conn, tables.Quota, id=f"qta_{kind}_{measure}", paper_id=f"ppr_{kind}",
                measure=measure, total=total, opened=opened)  # fmt: skip

    stage.do(unit)
    return f"ppr_{kind}", {measure: f"qta_{kind}_{measure}" for measure in totals}


def draw(measure: str, *quotas: tuple[str, int], kind: str = "cooperation") -> Draw:
    return Draw(measure=measure, kind=kind, paper_id=f"ppr_{kind}", quotas=quotas, opened=True)


def grant(stage: Stage, *items: Item, draws: list[Draw], request: str = "req_1") -> str:
    stage.request(request)
    decision = stage.decision(request)

    def unit(conn: Connection) -> str:
        made = grants.create(conn, request_id=request, decision_id=decision, party_id="pty_asker",
                             project_id="prj_1", items=items, until=DAY, now=NOW)  # fmt: skip
        ledger.reserve(conn, made.id, draws, now=NOW)
        return made.id

    return stage.do(unit)


def release(stage: Stage, grant_id: str, *items: Item, release_id: str = "rel_1") -> None:
    def unit(conn: Connection) -> None:
        made = grants.get(conn, grant_id)
        put(conn, tables.Release, id=release_id, grant_id=grant_id, decision_id=made.decision_id,
            state="intended", manifest=b"", manifest_sha256="", visa="", created_at=NOW)  # fmt: skip
        for one in items:
            put(conn, tables.ReleaseItem, release_id=release_id, holding_id=one.holding_id,
                donor_id=one.donor_id, pseudonym="D", units=one.units)  # fmt: skip
        ledger.settle(conn, grant_id, cause_id=release_id, now=NOW)

    stage.do(unit)


def balances(stage: Stage) -> dict[str, tuple[int, int]]:
    """Reserved and released of every quota."""
    quota = table_of(tables.Quota)
    with stage.read() as conn:
        rows = conn.execute(sa.select(quota).order_by(quota.c.id.desc()))
        return {row.id: (row.reserved, row.released) for row in rows}


def tubes(stage: Stage, holding_id: str) -> tuple[int, int]:
    """There, and of them reserved."""
    h = table_of(tables.Holding)
    with stage.read() as conn:
        row = conn.execute(sa.select(h).where(h.c.id == holding_id)).one()
    return row.units, row.reserved


def settle(stage: Stage, grant_id: str) -> int:
    return stage.do(lambda conn: ledger.settle(conn, grant_id, cause_id="x", now=NOW))


def agreed(stage: Stage) -> None:
    with stage.read() as conn:
        assert ledger.differences(conn) == []


def test_reserved_then_consumed_then_given_back(stage: Stage) -> None:
    _, ids = paper(stage, "cooperation", people=5, units=9, volume_ul=900, bytes=5000)
    free = {"people": 5, "units": 9, "volume_ul": 900, "bytes": 5000}
    draws = [draw(measure, (ids[measure], free[measure])) for measure in ids]
    made = grant(stage, TUBE, DATA, OTHER, draws=draws)
    assert balances(stage) == {
        "qta_cooperation_people": (2, 0),
        "qta_cooperation_units": (4, 0),
        "qta_cooperation_volume_ul": (500, 0),
        "qta_cooperation_bytes": (2000, 0),
    }
    assert tubes(stage, "hld_1t") == (3, 2)
    release(stage, made, TUBE, DATA)
    assert balances(stage) == {
        "qta_cooperation_people": (1, 1),
        "qta_cooperation_units": (1, 3),
        "qta_cooperation_volume_ul": (0, 500),
        "qta_cooperation_bytes": (1000, 1000),
    }
    assert tubes(stage, "hld_1t") == (1, 0)
    release(stage, made, DATA, release_id="rel_2")  # data handed over again count once
    agreed(stage)
    stage.do(lambda conn: grants.revoke(conn, made, now=NOW))
    assert settle(stage, made) == 3
    assert balances(stage)["qta_cooperation_people"] == (0, 1)
    assert settle(stage, made) == 0
    agreed(stage)


@pytest.mark.parametrize(("item", "moves"), [(TUBE, True), (DATA, False)])
def test_what_moves_is_a_fact_of_other_decisions_and_what_moves_nothing_is_not(
    stage: Stage, item: Item, *, moves: bool
) -> None:
    """Who waits beside a grant of tubes must be decided anew; beside one of data alone nobody need."""

    def version() -> int:
        with stage.read() as conn:
            return facts_version(conn)

    granted = grant(stage, item, draws=[])
    assert version() == (2 if moves else 1)
    release(stage, granted, item)
    assert version() == (3 if moves else 1)


def test_a_draw_is_a_fact_of_other_decisions(stage: Stage) -> None:
    _, ids = paper(stage, "cooperation", people=5)

    grant(stage, DATA, draws=[draw("people", (ids["people"], 5))])
    with stage.read() as conn:
        assert facts_version(conn) == 2


def test_the_licence_is_drawn_on_first_and_given_back_last(stage: Stage) -> None:
    _, licence = paper(stage, "cooperation", units=3)
    _, more = paper(stage, "change_statement", units=2)
    made = grant(
        stage, TUBE, DATA, OTHER, draws=[draw("units", (licence["units"], 3), (more["units"], 2))]
    )
    assert list(balances(stage).values()) == [(3, 0), (1, 0)]
    stage.do(lambda conn: grants.shrink(conn, made, {"hld_1d"}, reason="withdrawal", now=NOW))
    settle(stage, made)
    assert list(balances(stage).values()) == [(3, 0), (0, 0)]
    release(stage, made, TUBE)
    assert list(balances(stage).values()) == [(1, 2), (0, 0)]
    agreed(stage)


def test_only_material_counts_at_the_border(stage: Stage) -> None:
    _, ids = paper(stage, "customs", units=5, people=5)
    draws = [draw(measure, (ids[measure], 5), kind="customs") for measure in ids]
    grant(stage, TUBE, DATA, OTHER, draws=draws)
    assert balances(stage) == {"qta_customs_units": (2, 0), "qta_customs_people": (1, 0)}


@pytest.mark.parametrize(
    ("item", "draws", "detail"),
    [
        (TUBE, {"units": 1}, "no room"),
        (TUBE, {"bytes": 0}, None),  # material has no bytes
        (Item(holding_id="hld_1t", donor_id="dnr_1", units=4), {}, "no room"),  # of three
        (Item(holding_id="hld_1t", donor_id="dnr_1", units=1), {"volume_ul": 9}, "not known"),
    ],
)
def test_no_room_is_no_grant(
    stage: Stage, item: Item, draws: dict[str, int], detail: str | None
) -> None:
    _, ids = paper(stage, "cooperation", **draws)
    asked = [draw(measure, (ids[measure], total)) for measure, total in draws.items()]
    if detail is None:
        grant(stage, item, draws=asked)
        return
    with pytest.raises(ProblemError, match=detail) as refused:
        grant(stage, item, draws=asked)
    assert refused.value.code == "decision_failed"
    with stage.read() as conn:  # nothing half-done
        assert conn.execute(sa.select(table_of(tables.Posting))).all() == []
    agreed(stage)


def test_a_tube_is_promised_once_and_what_is_kept_stays(stage: Stage) -> None:
    grant(stage, TUBE, draws=[])  # two of three
    with pytest.raises(ProblemError, match="no room"):
        grant(stage, TUBE, draws=[], request="req_2")
    h = table_of(tables.Holding)
    stage.do(lambda conn: conn.execute(sa.update(h).where(h.c.id == "hld_3t").values(kept=1)))
    third = Item(holding_id="hld_3t", donor_id="dnr_3", units=2)
    with pytest.raises(ProblemError, match="no room"):
        grant(stage, third, draws=[], request="req_3")


def test_what_is_kept_after_the_grant_stays_all_the_same(stage: Stage) -> None:
    made = grant(stage, TUBE, draws=[])
    h = table_of(tables.Holding)
    stage.do(lambda conn: conn.execute(sa.update(h).where(h.c.id == "hld_1t").values(kept=2)))
    with pytest.raises(ProblemError, match="no longer there"):
        release(stage, made, TUBE)
    with stage.read() as conn:
        (short,) = ledger.differences(conn)
    assert (short.kind, short.id, short.booked, short.found) == ("holding", "hld_1t", 2, 1)


def test_a_quota_is_opened_once_and_within_its_total(stage: Stage) -> None:
    _, ids = paper(stage, "cooperation", units=9, opened=False)

    def opening(drawn: int) -> None:
        stage.do(
            lambda conn: ledger.open_quota(conn, ids["units"], drawn, cause_id="opn_1", now=NOW)
        )

    for wrong in (-1, 10):
        with pytest.raises(ProblemError, match="invalid_request"):
            opening(wrong)
    opening(9)
    assert balances(stage) == {"qta_cooperation_units": (0, 9)}
    with pytest.raises(ProblemError, match="already_done"):
        opening(0)
    with pytest.raises(ProblemError, match="not_found"):
        stage.do(lambda conn: ledger.open_quota(conn, "qta_x", 0, cause_id="opn_1", now=NOW))
    agreed(stage)


def test_what_is_held_is_room_for_whoever_holds_it(stage: Stage) -> None:
    _, ids = paper(stage, "cooperation", units=9)
    made = grant(stage, TUBE, DATA, draws=[draw("units", (ids["units"], 9))])
    release(stage, made, DATA)
    with stage.read() as conn:
        nobody = ledger.own(conn, None, whole=True)
        whole = ledger.own(conn, made, whole=True)
        request = ledger.own(conn, "req_1", whole=False)
        stranger = ledger.own(conn, "req_2", whole=False)
    assert (nobody, stranger) == (ledger.NOTHING_HELD, ledger.NOTHING_HELD)
    assert (dict(whole.quotas), dict(whole.tubes)) == ({ids["units"]: 3}, {"hld_1t": 2})
    assert (dict(request.quotas), dict(request.tubes)) == ({ids["units"]: 2}, {"hld_1t": 2})
    stage.do(lambda conn: grants.revoke(conn, made, now=NOW))
    with stage.read() as conn:
        assert ledger.own(conn, made, whole=True) == ledger.NOTHING_HELD


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("UPDATE quota SET released = released + 1", "quota"),
        ("UPDATE quota SET reserved = 0", "quota"),
        ("UPDATE holding SET reserved = 1 WHERE id = 'hld_1t'", "holding"),
        ("UPDATE holding SET units = 1 WHERE id = 'hld_1t'", "holding"),
        ("UPDATE grant_ SET state = 'expired'", "grant"),
        ("DELETE FROM posting WHERE holding_id IS NOT NULL", "grant"),
        ("UPDATE grant_item SET removed_at = '2026-11-22 00:00:00'", "grant"),
    ],
)
def test_whatever_does_not_agree_is_named(stage: Stage, damage: str, kind: str) -> None:
    _, ids = paper(stage, "cooperation", units=9)
    grant(stage, TUBE, DATA, draws=[draw("units", (ids["units"], 9))])
    agreed(stage)
    stage.do(lambda conn: execute(conn, damage))
    told: list[str] = []
    with stage.read() as conn:
        found = ledger.differences(conn, told.append)
    assert kind in {one.kind for one in found}
    assert told == ["quota", "holding", "grant"]


@pytest.mark.parametrize(("there", "allowed"), [(100, 1000), (1000, 100)])
def test_two_hundred_at_once_on_a_hundred(stage: Stage, there: int, allowed: int) -> None:
    """However many grants reserve at once, no more tubes go than there are, nor than a paper allows."""
    _, ids = paper(stage, "cooperation", units=allowed)
    draws = [draw("units", (ids["units"], allowed))]
    h = table_of(tables.Holding)
    stage.do(lambda conn: conn.execute(sa.update(h).where(h.c.id == "hld_1t").values(units=there)))
    one = Item(holding_id="hld_1t", donor_id="dnr_1", units=1)
    decisions = [stage.decision(stage.request(f"req_{n}")) for n in range(200)]

    def take(number: int) -> bool:
        def unit(conn: Connection) -> None:
            made = grants.create(conn, request_id=f"req_{number}", decision_id=decisions[number],
                                 party_id="pty_asker", project_id="prj_1", items=[one], until=DAY,
                                 now=NOW)  # fmt: skip
            ledger.reserve(conn, made.id, draws, now=NOW)

        try:
            stage.do(unit)
        except ProblemError:
            return False
        return True

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(take, range(200))).count(True) == 100
    assert tubes(stage, "hld_1t") == (there, 100)
    assert balances(stage) == {ids["units"]: (100, 0)}
    agreed(stage)


class Interleaved(RuleBasedStateMachine):
    """Grants made, cut down, released and ended in any order: books and things always agree."""

    ITEMS = (TUBE, DATA, OTHER, Item(holding_id="hld_2t", donor_id="dnr_2", units=1, volume_ul=10))
    TOTALS = {"people": 3, "units": 8, "volume_ul": 800, "bytes": 4000}  # noqa: RUF012 - never written
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.alive: list[str] = []
        self.context = stage_in(self.folder / str(id(self)))
        (self.folder / str(id(self))).mkdir()
        self.stage = self.context.__enter__()
        self.ids = paper(self.stage, "cooperation", **self.TOTALS)[1]

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)

    @rule(items=st.sets(st.sampled_from(ITEMS), min_size=1))
    def make(self, items: set[Item]) -> None:
        self.number += 1
        had = balances(self.stage)
        draws = [
            draw(measure, (self.ids[measure], total - sum(had[self.ids[measure]])))
            for measure, total in self.TOTALS.items()
        ]
        try:
            self.alive.append(grant(self.stage, *items, draws=draws, request=f"req_{self.number}"))
        except ProblemError:
            assert balances(self.stage) == had

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), ends=st.booleans())
    def change(self, data: st.DataObject, ends: bool) -> None:  # noqa: FBT001 - drawn
        made = data.draw(st.sampled_from(self.alive))
        with self.stage.read() as conn:
            left = [one.holding_id for one in grants.items(conn, made)]
        out = data.draw(st.sets(st.sampled_from(left)))

        def unit(conn: Connection) -> None:
            grants.shrink(conn, made, out, reason="x", now=NOW)
            if ends and grants.get(conn, made).state is GrantState.ACTIVE:
                grants.revoke(conn, made, now=NOW)
            ledger.settle(conn, made, cause_id="x", now=NOW)

        self.stage.do(unit)
        self.drop_ended()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def go_out(self, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(self.alive))
        with self.stage.read() as conn:
            left = list(grants.releasable(conn, made))
        if left:
            self.number += 1
            some = data.draw(st.lists(st.sampled_from(left), min_size=1, unique=True))
            release(self.stage, made, *some, release_id=f"rel_{self.number}")

    def drop_ended(self) -> None:
        with self.stage.read() as conn:
            self.alive = [
                one for one in self.alive if grants.get(conn, one).state is GrantState.ACTIVE
            ]

    @invariant()
    def books_agree(self) -> None:
        agreed(self.stage)
        for measure, total in self.TOTALS.items():
            assert 0 <= sum(balances(self.stage)[self.ids[measure]]) <= total


def test_any_order_of_events_keeps_the_books(tmp_path: Path) -> None:
    Interleaved.folder = tmp_path
    machine = Interleaved.TestCase
    machine.settings = settings(
        max_examples=15,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()


@given(
    st.lists(st.sampled_from([TUBE, DATA, OTHER])),
    st.lists(st.sampled_from([TUBE, DATA, OTHER])),
    st.sampled_from(ledger.MEASURES),
)
def test_more_items_never_need_less(some: list[Item], more: list[Item], measure: str) -> None:
    few, many = (ledger.amount(measure, "cooperation", each) for each in (some, some + more))
    assert few is not None
    assert many is not None
    assert few <= many
