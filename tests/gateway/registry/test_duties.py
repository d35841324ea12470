"""Working days, and obligations with their due dates, as of the day asked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.registry import calendar, duties, papers, parties
from gateway.registry.calendar import is_working, last_day_in_time, working_days
from gateway.tables import metadata
from policies.decision import Obligation
from tests.gateway.conftest import START

DAY = date(2026, 11, 22)


# ---- the calendar --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "worked"),
    [
        (date(2026, 11, 20), True),  # a Friday
        (date(2026, 11, 21), False),  # a Saturday
        (date(2025, 10, 1), False),  # National Day
        (date(2025, 10, 11), True),  # a Saturday worked in place of it
        (date(2025, 9, 28), True),  # a Sunday worked in place of it
        (date(2025, 10, 8), False),  # the last day of that holiday, a Wednesday
        (date(2003, 1, 2), None),  # before the library's first notice
        (date(2099, 1, 5), None),
    ],
)
def test_days_of_the_state_councils_notices(day, worked) -> None:
    assert is_working(day, {}) is worked


def test_an_imported_year_is_known_by_its_file_alone() -> None:
    days = {date(2099, 1, 1): False, date(2099, 1, 3): True}
    assert is_working(date(2099, 1, 1), days) is False
    assert is_working(date(2099, 1, 3), days) is True  # a Saturday
    assert is_working(date(2099, 1, 2), days) is True  # a Friday nobody named
    assert is_working(date(2099, 1, 4), days) is False
    assert is_working(date(2098, 1, 2), days) is None


@pytest.mark.parametrize(
    ("after", "until", "count"),
    [
        (date(2025, 9, 30), date(2025, 10, 9), 1),  # the holiday between counts for nothing
        (date(2025, 9, 27), date(2025, 9, 28), 1),  # a worked Sunday counts
        (date(2026, 11, 20), date(2026, 11, 20), 0),
        (date(2026, 11, 23), date(2026, 11, 20), 0),
        (date(2026, 12, 30), date(2099, 1, 1), None),
    ],
)
def test_working_days_between(after: date, until: date, count: int | None) -> None:
    assert working_days(after, until, {}) == count


def test_the_last_day_in_time_has_exactly_so_many_left() -> None:
    ends = date(2025, 10, 31)
    last = last_day_in_time(ends, 30, {})
    assert last is not None
    assert working_days(last, ends, {}) == 30
    assert working_days(last + timedelta(days=1), ends, {}) in {29, 30}
    assert last_day_in_time(date(2099, 3, 1), 30, {}) is None


GOOD = "day,working,note\n2099-01-01,no,元旦\n2099-01-03,yes,调休\n"


def test_a_year_is_imported_once(bank: Bank) -> None:
    taken = bank.database.write(
        lambda conn: calendar.import_days(conn, GOOD.encode("utf-8-sig"), now=START)
    )
    assert taken == 2099
    with bank.database.read() as conn:
        assert calendar.imported(conn) == {date(2099, 1, 1): False, date(2099, 1, 3): True}
    with pytest.raises(ProblemError, match="imported already") as error:
        bank.database.write(lambda conn: calendar.import_days(conn, GOOD.encode(), now=START))
    assert error.value.code == "already_done"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "not a CSV file in UTF-8"),
        (b"", "exactly one year"),
        (b"day,working\n2099-01-01,maybe\n", "wants `day`"),
        (b"day,working\n2099-13-01,no\n", "wants `day`"),
        (b"date,working\n2099-01-01,no\n", "wants `day`"),
        (b"day,working\n2099-01-01,no\n2098-01-01,no\n", "exactly one year"),
        (b"day,working\n2099-01-01,no\n2099-01-01,yes\n", "`2099-01-01` stands twice"),
        (b"day,working\n2026-10-10,no\n", "2026 is known"),
    ],
)
def test_a_wrong_file_changes_nothing(bank: Bank, content: bytes, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        bank.database.write(lambda conn: calendar.import_days(conn, content, now=START))
    with bank.database.read() as conn:
        assert calendar.imported(conn) == {}


# ---- duties --------------------------------------------------------------------------------------


def licence(conn: Connection, kind: str = "preservation", **changes: object) -> papers.Paper:
    draft = papers.PaperDraft(
        **{
            "kind": kind, "number": f"试〔{kind}〕", "issuer": "主管部门", "holder_id": "pty_bank",
            "valid_from": date(2020, 1, 1), "valid_to": date(2025, 10, 31), "document_sha256": "0" * 64,
        } | changes  # type: ignore[arg-type]
    )  # fmt: skip
    made = papers.record(conn, draft, person_id="psn_a", now=START)
    return papers.check(conn, made.id, person_id="psn_b", now=START)


ENDS = date(2025, 10, 31)
LAST = last_day_in_time(ENDS, 30, {}) or ENDS


@pytest.mark.parametrize(
    ("name", "filed", "as_of", "near", "in_time"),
    [
        ("thirty working days", LAST, LAST, True, True),
        ("twenty-nine", LAST + timedelta(days=1), LAST + timedelta(days=1), True, False),
        ("filed in time, asked after the end", LAST, ENDS + timedelta(days=1), True, True),
        (
            "filed late, asked after the end",
            LAST + timedelta(days=1),
            ENDS + timedelta(days=1),
            True,
            False,
        ),
        ("not filed, still in time", None, LAST, True, True),
        ("not filed, too late", None, LAST + timedelta(days=1), True, False),
        ("far from the end", None, ENDS - timedelta(days=201), False, True),
        (
            "filed far from the end",
            ENDS - timedelta(days=300),
            ENDS - timedelta(days=299),
            False,
            True,
        ),
        ("filed tomorrow is not filed", LAST + timedelta(days=1), LAST, True, True),
    ],
)
def test_a_renewal_thirty_working_days_before_is_in_time(
    bank, name, filed, as_of, near, in_time
) -> None:
    assert working_days(LAST, ENDS, {}) == 30
    assert working_days(LAST + timedelta(days=1), ENDS, {}) == 29

    def unit(conn: Connection) -> dict:
        paper = licence(conn)
        if filed is not None:
            licence(conn, "renewal", valid_from=filed, valid_to=None, open_ended=True)
        return duties.facts(
            conn, requester_id="pty_x", project_id="prj_x", licence=paper, as_of=as_of
        )

    said = bank.database.write(unit)
    assert (said["licence.near_end"], said["licence.renewal_in_time"]) == (near, in_time), name
    assert said["licence.renewal_filed"] is (filed is not None and filed <= as_of)


def test_without_a_calendar_nothing_is_said_of_a_renewal(bank: Bank) -> None:
    def unit(conn: Connection) -> dict:
        paper = licence(conn, valid_to=date(2099, 3, 1))
        return duties.facts(
            conn, requester_id="x", project_id="y", licence=paper, as_of=date(2099, 1, 5)
        )

    said = bank.database.write(unit)
    assert said["licence.near_end"] is None
    assert said["licence.renewal_in_time"] is None
    lasting = duties.facts
    with bank.database.read() as conn:
        none = lasting(conn, requester_id="x", project_id="y", licence=None, as_of=DAY)
    assert not any(name.startswith("licence.") for name in none)


@pytest.mark.parametrize(
    ("today", "overdue"),
    [
        (date(2026, 12, 31), None),  # the year is not closed
        (date(2027, 1, 31), False),
        (date(2027, 2, 1), True),
    ],
)
def test_the_annual_report_is_due_on_31_january(bank: Bank, today: date, overdue) -> None:
    with bank.database.read() as conn:
        found = [one for one in duties.standing(conn, today) if one.kind == "annual-report"]
        said = duties.facts(conn, requester_id="x", project_id="y", licence=None, as_of=today)
    assert [one.due for one in found] == ([] if overdue is None else [date(2027, 1, 31)])
    assert said["bank.annual_report_overdue"] is bool(overdue)


def done(bank: Bank, duty: str, on: date, today: date) -> duties.Duty:
    return bank.database.write(
        lambda conn: duties.done(
            conn, duty, on=on, evidence_sha256="1" * 64, person_id="psn_a", today=today, now=START
        )
    )


def test_what_is_done_is_overdue_no_more(bank: Bank) -> None:
    today = date(2027, 2, 1)
    made = done(bank, "annual-report.2026", date(2027, 1, 30), today)
    assert (made.done_on, made.done_by) == (date(2027, 1, 30), "psn_a")
    with bank.database.read() as conn:
        said = duties.facts(conn, requester_id="x", project_id="y", licence=None, as_of=today)
    assert said["bank.annual_report_overdue"] is False
    for code, duty, on in (
        ("already_done", "annual-report.2026", today),
        ("not_found", "annual-report.1999", today),
        ("invalid_request", "annual-report.2027", date(2028, 1, 2)),
    ):
        with pytest.raises(ProblemError) as error:
            done(bank, duty, on, date(2028, 1, 1))
        assert error.value.code == code


@pytest.mark.parametrize(
    ("name", "ended", "due"),
    [
        ("the licence ends", None, date(2030, 8, 28)),
        ("the study ended before", date(2026, 3, 31), date(2026, 9, 30)),
    ],
)
def test_the_final_report_counts_from_the_earlier_end(
    bank: Bank, name: str, ended: date | None, due: date
) -> None:
    if ended is not None:
        bank.database.write(lambda conn: parties.end_project(conn, "prj_sino_foreign", on=ended))
    with bank.database.read() as conn:
        found = [o for o in duties.standing(conn, date(2030, 3, 1)) if o.kind == "final-report"]
        assert [one.due for one in found] == [due], name
        for day, overdue in ((due, False), (due + timedelta(days=1), True)):
            said = duties.facts(
                conn, requester_id="x", project_id="prj_sino_foreign", licence=None, as_of=day
            )
            assert said["project.report_overdue"] is overdue


def test_a_study_ends_once(bank: Bank) -> None:
    bank.database.write(lambda conn: parties.end_project(conn, "prj_sino_foreign", on=DAY))
    for code, project in (("already_done", "prj_sino_foreign"), ("not_found", "prj_none")):
        with pytest.raises(ProblemError) as error:
            bank.database.write(lambda conn, it=project: parties.end_project(conn, it, on=DAY))
        assert error.value.code == code


@pytest.mark.parametrize(
    ("today", "alert", "listed"),
    [
        (ENDS - timedelta(days=201), None, False),
        (ENDS - timedelta(days=150), None, False),
        (LAST - timedelta(days=1), 45, True),
        (LAST, 30, True),
        (ENDS, 30, True),
        (ENDS + timedelta(days=1), None, False),
    ],
)
def test_a_renewal_is_called_for_as_the_end_nears(bank, today, alert, listed) -> None:
    def unit(conn: Connection) -> list[duties.Duty]:
        licence(conn)
        licence(conn, number="open", valid_to=None, open_ended=True)
        return [one for one in duties.standing(conn, today) if one.kind == "renewal"]

    found = bank.database.write(unit)
    assert [(one.alert, one.due) for one in found] == ([(alert, LAST)] if listed else [])


def test_dated_duties_of_a_grant_are_written_down(bank: Bank) -> None:
    said = {"zh": "某义务", "en": "some duty"}
    obligations = [
        Obligation(id="dated", rule="consent", no="DUO:0000025", says=said, months=3),
        Obligation(id="banks", rule="stock-and-licences-are-reconciled", no="R-AUD-03", says=said, due=DAY),
        Obligation(id="first", rule="consent", no="x", says=said, months=1, before_release=True),
        Obligation(id="undated", rule="consent", no="x", says=said),
    ]  # fmt: skip

    def unit(conn: Connection) -> list[duties.Duty]:
        duties.attach(
            conn, obligations, bank.law.on(DAY), grant_id="gr_1", party_id="pty_shanghai_hospital",
            bank_party_id="pty_bank", today=DAY, now=START,
        )  # fmt: skip
        return list(duties.listed(conn, party_id=None, today=DAY))

    found = {one.id: one for one in bank.database.write(unit)}
    assert {"gr_1.dated", "gr_1.banks"} <= found.keys()
    assert not {"gr_1.first", "gr_1.undated"} & found.keys()
    assert found["gr_1.dated"].due == date(2027, 2, 22)
    assert found["gr_1.dated"].party_id == "pty_shanghai_hospital"
    assert found["gr_1.banks"].party_id == "pty_bank"
    with bank.database.read() as conn:
        for day, overdue in ((date(2027, 2, 22), False), (date(2027, 2, 23), True)):
            known = duties.facts(
                conn, requester_id="pty_shanghai_hospital", project_id="x", licence=None, as_of=day
            )
            assert known["requester.duties_overdue"] is overdue
    made = done(bank, "gr_1.dated", DAY, DAY)
    assert made.done_on == DAY
    with bank.database.read() as conn:
        rows = conn.execute(
            sa.select(metadata.tables["duty"]).where(sa.text("id = 'gr_1.dated'"))
        ).all()
    assert len(rows) == 1


def test_the_instant_is_the_day_in_shanghai() -> None:
    from gateway.tables import SHANGHAI

    late = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)
    assert late.astimezone(SHANGHAI).date() == date(2027, 1, 1)
    assert (late - timedelta(seconds=1)).astimezone(SHANGHAI).date() == date(2026, 12, 31)
