"""Working days of the People's Republic: weekends, statutory holidays and the days worked in their place.

The years a kept library knows (the State Council's notices, 2004 on) come from it; later years are
imported from a dated file, day by day, once. A year that neither knows is unknown, never guessed.

    day,working,note        2027-01-01,no,元旦        2027-02-06,yes,春节调休

Legal dates are dates in Asia/Shanghai.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import chinese_calendar
import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.tables import metadata

_DAY = metadata.tables["calendar_day"]

_WORDS = {"yes": True, "no": False}
_ONE = timedelta(days=1)
#: The longest span counted: no paper is renewed further ahead.
_FURTHEST = 400

#: What was imported: day → whether it is worked. A year with any day here is known by it alone.
Imported = Mapping[date, bool]


def imported(conn: Connection) -> dict[date, bool]:
    """All imported days."""
    return {row.day: row.working for row in conn.execute(sa.select(_DAY))}


def is_working(day: date, days: Imported) -> bool | None:
    """Whether a day is worked; None for a year nobody knows."""
    if day in days:
        return days[day]
    if any(each.year == day.year for each in days):
        return day.weekday() < 5
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:  # the library's word for a year it has no notice of
        return None


def working_days(after: date, until: date, days: Imported) -> int | None:
    """Working days after one day, up to and with another; 0 if it is not later, None if unknown.

    The day itself is not counted (Civil Code art. 201: 开始的当日不计入); the last one is.
    """
    count, day = 0, after
    while day < until:
        day += _ONE
        working = is_working(day, days)
        if working is None:
            return None
        count += working
    return count


def last_day_in_time(ends: date, ahead: int, days: Imported) -> date | None:
    """The last day from which there are still `ahead` working days to `ends`; None if unknown."""
    day, left = ends, ahead
    for _ in range(_FURTHEST):
        if left == 0:
            return day
        working = is_working(day, days)
        if working is None:
            return None
        left -= working
        day -= _ONE
    return None


def import_days(conn: Connection, content: bytes, *, now: datetime) -> int:
    """Take in a file of days; gives the year. Only days that differ from Monday to Friday need stand in it.

    Raises `ProblemError` `invalid_request` naming each wrong line, `already_done` for a year that the
    library knows or that was imported before: what decisions counted by is never changed.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProblemError("invalid_request", f"not a CSV file in UTF-8: {error}") from error
    found: dict[date, bool] = {}
    wrong: list[FieldError] = []
    for number, row in enumerate(rows, 2):
        try:
            day, working = date.fromisoformat(row["day"]), _WORDS[row["working"]]
        except (KeyError, TypeError, ValueError):
            detail = "wants `day` (YYYY-MM-DD) and `working` (yes or no)"
            wrong.append(FieldError(pointer=f"/line/{number}", detail=detail))
            continue
        if day in found:
            wrong.append(FieldError(pointer=f"/line/{number}", detail=f"`{day}` stands twice"))
        found[day] = working
    years = {day.year for day in found}
    if not wrong and len(years) != 1:
        wrong.append(FieldError(pointer="/line/2", detail="wants the days of exactly one year"))
    if wrong:
        raise ProblemError("invalid_request", wrong[0].detail, errors=tuple(wrong))
    (year,) = years
    if any(day.year == year for day in imported(conn)):
        raise ProblemError("already_done", f"{year} was imported already")
    if is_working(date(year, 1, 1), {}) is not None:
        raise ProblemError("already_done", f"{year} is known from the State Council's notice")
    notes = {date.fromisoformat(row["day"]): (row.get("note") or "") for row in rows}
    conn.execute(
        sa.insert(_DAY),
        [
            {"day": day, "working": working, "note": notes[day], "created_at": now}
            for day, working in found.items()
        ],
    )
    bump(conn)
    return year
