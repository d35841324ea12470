"""Obligations with their due dates: what a grant or a withdrawal attached, and what the year brings.

The rules it keeps: a duty of a grant or withdrawal is a row from the moment it arises; the standing ones
(annual report, final report, renewal) follow from the registers and need no row until they are done;
an overdue one is a fact of every later decision. Legal dates are dates in Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.registry import calendar
from gateway.registry.calendar import Imported
from gateway.tables import SHANGHAI, metadata
from policies.decision import Obligation, Owner
from policies.findings import months_after
from policies.request import Value
from policies.rules import LawInForce

_DUTY = metadata.tables["duty"]
_PAPER = metadata.tables["paper"]
_PROJECT = metadata.tables["project"]
_BANK = metadata.tables["bank"]

#: NHC questions and answers of January 2025: renewals are filed this many working days before expiry.
RENEWAL_WORKING_DAYS = 30
#: When the bank is reminded of a renewal, in working days before the licence ends.
ALERTS = (90, 60, 45, 30)
#: The bank's own rule for what the law asks for "promptly": telling past receivers.
NOTIFY_WITHIN = timedelta(days=30)
#: In so many days there are more than ninety working days, whatever the holidays.
_FAR = 200
_REPORT_MONTHS = 6  # Decree 717 art. 26: 六个月内


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One duty of one party. `due` None: not known, for want of a calendar. `alert`: R-PRE-06."""

    id: str
    kind: str
    party_id: str
    subject_id: str
    no: str
    zh: str
    en: str
    due: date | None
    done_on: date | None = None
    done_by: str | None = None
    evidence_sha256: str = ""
    alert: int | None = None

    def is_overdue(self, today: date) -> bool:
        """Whether it should have been done before today."""
        return self.done_on is None and self.due is not None and self.due < today


def attach(
    conn: Connection,
    obligations: Iterable[Obligation],
    law: LawInForce,
    *,
    grant_id: str,
    party_id: str,
    bank_party_id: str,
    today: date,
    now: datetime,
) -> None:
    """Write down the dated duties that a grant brings: the bank's for the bank, the rest for the party."""
    for duty in obligations:
        due = duty.due or (None if duty.months is None else months_after(today, duty.months))
        if duty.before_release or due is None:
            continue
        rule = law.rule(duty.rule)
        of_bank = rule is not None and rule.owner is Owner.BANK
        _insert(
            conn,
            id=f"{grant_id}.{duty.id}",
            kind=duty.id,
            party_id=bank_party_id if of_bank else party_id,
            subject_id=grant_id,
            no=duty.no,
            zh=duty.says["zh"],
            en=duty.says["en"],
            due=due,
            created_at=now,
        )


def notify_receiver(
    conn: Connection,
    *,
    cause_id: str,
    release_id: str,
    receiver_id: str,
    bank_party_id: str,
    today: date,
    now: datetime,
) -> None:
    """The bank's duty to tell one past receiver (R-CON-04, PIPL art. 47)."""
    _insert(
        conn,
        id=f"{cause_id}.{release_id}",
        kind="notify-receiver",
        party_id=bank_party_id,
        subject_id=release_id,
        no="R-CON-04",
        zh=f"通知既往接收方 {receiver_id} 停止使用（{release_id}）",
        en=f"tell the past receiver {receiver_id} to stop using it ({release_id})",
        due=today + NOTIFY_WITHIN,
        created_at=now,
    )


def listed(conn: Connection, *, party_id: str | None, today: date) -> tuple[Duty, ...]:
    """Every duty, of one party or all, soonest first; those done are last."""
    duties = {duty.id: duty for duty in standing(conn, today)}
    for row in conn.execute(sa.select(_DUTY)).mappings():
        known = {name: row[name] for name in row if name != "created_at"}
        duties[row["id"]] = Duty(**known)
    found = [one for one in duties.values() if party_id is None or one.party_id == party_id]
    found.sort(key=lambda one: (one.done_on is not None, one.due or date.max, one.id))
    return tuple(found)


def done(
    conn: Connection,
    duty_id: str,
    *,
    on: date,
    evidence_sha256: str,
    person_id: str,
    today: date,
    now: datetime,
) -> Duty:
    """Record that a duty was met on a day, with its evidence by hash.

    Raises `ProblemError` `not_found`, `already_done`, `invalid_request` for a day still to come.
    """
    duty = next(
        (one for one in listed(conn, party_id=None, today=today) if one.id == duty_id), None
    )
    if duty is None:
        raise ProblemError("not_found", f"there is no duty `{duty_id}`")
    if duty.done_on is not None:
        raise ProblemError("already_done", f"`{duty_id}` was done on `{duty.done_on}`")
    if on > today:
        wrong = FieldError(pointer="/on", detail=f"`{on}` is still to come")
        raise ProblemError("invalid_request", wrong.detail, errors=(wrong,))
    said = {"done_on": on, "done_by": person_id, "evidence_sha256": evidence_sha256}
    if conn.execute(sa.update(_DUTY).where(_DUTY.c.id == duty_id).values(said)).rowcount == 0:
        _insert(
            conn,
            id=duty.id,
            kind=duty.kind,
            party_id=duty.party_id,
            subject_id=duty.subject_id,
            no=duty.no,
            zh=duty.zh,
            en=duty.en,
            due=duty.due,
            created_at=now,
            **said,
        )
    bump(conn)
    return next(one for one in listed(conn, party_id=None, today=today) if one.id == duty_id)


def _insert(conn: Connection, **values: Any) -> None:
    conn.execute(
        sa.insert(_DUTY).values(
            {"done_on": None, "done_by": None, "evidence_sha256": "", "alert": None} | values
        )
    )


# ---- the standing ones ----------------------------------------------------------------------------


def standing(conn: Connection, today: date) -> Iterator[Duty]:
    """Annual reports, final reports and renewals that the registers show by a day."""
    days = calendar.imported(conn)
    bank = conn.execute(sa.select(_BANK.c.party_id, _BANK.c.created_at)).one()
    p = _PAPER.c
    papers = conn.execute(
        sa.select(_PAPER).where(
            p.checked_by.is_not(None),
            p.voided_at.is_(None),
            p.kind.in_(("preservation", "cooperation", "renewal")),
        )
    ).all()
    licences = [
        one for one in papers if one.kind == "preservation" and one.holder_id == bank.party_id
    ]
    yield from _annual(licences, bank.party_id, bank.created_at.astimezone(SHANGHAI).year, today)
    ended = dict(
        conn.execute(
            sa.select(_PROJECT.c.id, _PROJECT.c.ended_on).where(_PROJECT.c.ended_on.is_not(None))
        ).all()
    )
    for paper in papers:
        if paper.kind == "cooperation":
            yield from _final_report(paper, ended.get(paper.project_id), today)
    renewals = [one for one in papers if one.kind == "renewal"]
    for paper in licences:
        yield from _renewal(paper, renewals, days, today)


def _annual(licences: list[Any], party_id: str, since: int, today: date) -> Iterator[Duty]:
    """Implementing Rules art. 30: every year by 31 January for the year before.

    Years before this bank's records began are not its to report.
    """
    for year in range(since, today.year):
        if not any(one.valid_from.year <= year for one in licences):
            continue
        yield Duty(
            id=f"annual-report.{year}",
            kind="annual-report",
            party_id=party_id,
            subject_id=str(year),
            no="R-PRE-04",
            zh=f"提交 {year} 年度保藏报告",
            en=f"submit the preservation report for {year}",
            due=date(year + 1, 1, 31),
        )


def _final_report(paper: Any, ended: date | None, today: date) -> Iterator[Duty]:
    """Decree 717 art. 26, from the earlier of the cooperation's end and the licence's."""
    ends = [day for day in (ended, paper.valid_to) if day is not None]
    if ends and min(ends) < today:
        yield Duty(
            id=f"final-report.{paper.id}",
            kind="final-report",
            party_id=paper.holder_id,
            subject_id=paper.project_id or paper.id,
            no="R-INT-07",
            zh=f"双方共同提交合作研究情况报告（{paper.number}）",
            en=f"both sides submit the report on the cooperation ({paper.number})",
            due=months_after(min(ends), _REPORT_MONTHS),
        )


def _is_near_end(valid_to: date, day: date, days: Imported) -> bool | None:
    """Whether no more than the first alert's working days are left; None for want of a calendar."""
    if (valid_to - day).days > _FAR:
        return False
    left = calendar.working_days(day, valid_to, days)
    return None if left is None else left <= ALERTS[0]


def _renewal(paper: Any, renewals: list[Any], days: Imported, today: date) -> Iterator[Duty]:
    if paper.valid_to is None or paper.valid_to < today:
        return
    if _is_near_end(paper.valid_to, today, days) is False:
        return
    left = calendar.working_days(today, paper.valid_to, days)
    filed = [one for one in renewals if _is_for(one, paper)]
    yield Duty(
        id=f"renewal.{paper.id}",
        kind="renewal",
        party_id=paper.holder_id,
        subject_id=paper.id,
        no="R-PRE-06",
        zh=f"申请延续 {paper.number}（至迟届满三十个工作日前）",
        en=f"apply to renew {paper.number}, thirty working days before it ends at the latest",
        due=calendar.last_day_in_time(paper.valid_to, RENEWAL_WORKING_DAYS, days),
        done_on=min((one.valid_from for one in filed), default=None),
        alert=None if left is None else min(one for one in ALERTS if left <= one),
    )


def _is_for(renewal: Any, paper: Any) -> bool:
    """Whether an application was made by the same holder while the licence lasted."""
    return bool(
        renewal.holder_id == paper.holder_id
        and paper.valid_from <= renewal.valid_from <= paper.valid_to
    )


# ---- facts ---------------------------------------------------------------------------------------


def facts(
    conn: Connection, *, requester_id: str, project_id: str, licence: Any, as_of: date
) -> dict[str, Value | None]:
    """What duties say of a request: overdue ones, and how the bank's licence stands to its renewal."""
    duties = listed(conn, party_id=None, today=as_of)
    overdue = [one for one in duties if one.is_overdue(as_of)]
    known: dict[str, Value | None] = {
        "bank.annual_report_overdue": any(one.kind == "annual-report" for one in overdue),
        "project.report_overdue": any(
            (one.kind, one.subject_id) == ("final-report", project_id) for one in overdue
        ),
        "requester.duties_overdue": any(one.party_id == requester_id for one in overdue),
    }
    if licence is None or licence.valid_to is None:
        return known
    days = calendar.imported(conn)
    rows = conn.execute(
        sa.select(_PAPER.c.holder_id, _PAPER.c.valid_from).where(
            _PAPER.c.kind == "renewal",
            _PAPER.c.checked_by.is_not(None),
            _PAPER.c.voided_at.is_(None),
            _PAPER.c.valid_from <= as_of,
        )
    )
    filed = min((row.valid_from for row in rows if _is_for(row, licence)), default=None)
    since = filed or as_of
    far = (licence.valid_to - since).days > _FAR
    ahead = _FAR if far else calendar.working_days(since, licence.valid_to, days)
    return known | {
        "licence.renewal_filed": filed is not None,
        "licence.near_end": _is_near_end(licence.valid_to, as_of, days),
        "licence.renewal_in_time": None if ahead is None else ahead >= RENEWAL_WORKING_DAYS,
    }
