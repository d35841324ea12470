"""Cases and their events as they are stored, and the queue; reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.errors import ProblemError
from gateway.review.dossier import Dossier
from gateway.review.workflow import Command, shipped
from gateway.tables import AccessRequest, CaseEvent, RequestVersion, ReviewCase

CASE: sa.Table = ReviewCase.__table__  # type: ignore[attr-defined]  # SQLModel hides its table
EVENT: sa.Table = CaseEvent.__table__  # type: ignore[attr-defined]  # as above
REQUEST: sa.Table = AccessRequest.__table__  # type: ignore[attr-defined]  # as above
VERSION: sa.Table = RequestVersion.__table__  # type: ignore[attr-defined]  # as above

PAGE = 100  # the most a list gives at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to a case."""

    n: int
    event: str
    from_state: str | None
    to_state: str
    person_id: str | None
    reason: str
    data: Mapping[str, Any]
    dossier_sha256: str
    leaf_index: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case with its history, oldest event first, and the dossier in force."""

    id: str
    request_id: str
    decision_id: str
    state: str
    revision: int
    opened_at: datetime
    updated_at: datetime
    events: tuple[Event, ...]
    dossier: Dossier

    @property
    def commands(self) -> tuple[Command, ...]:
        """What the table lists in this state, whoever may ask it."""
        return tuple(shipped().states[self.state].steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    """One line of the queue."""

    id: str
    request_id: str
    decision_id: str
    state: str
    revision: int
    opened_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some lines of the queue, oldest case first."""

    cases: tuple[CaseLine, ...]
    has_more: bool


def get_case(conn: Connection, case_id: str) -> Case:
    """The case with its whole history; raises `ProblemError` not_found."""
    row = conn.execute(sa.select(CASE).where(CASE.c.id == case_id)).one_or_none()
    if row is None:
        raise ProblemError("not_found", f"no case `{case_id}`")
    events = tuple(
        Event(**{key: value for key, value in one._mapping.items() if key != "case_id"})  # noqa: SLF001 - SQLAlchemy's public name for it
        for one in conn.execute(
            sa.select(EVENT).where(EVENT.c.case_id == case_id).order_by(EVENT.c.n)
        )
    )
    decided = next(one.data["dossier"] for one in reversed(events) if "dossier" in one.data)
    return Case(**row._mapping, events=events, dossier=Dossier.from_data(decided))  # noqa: SLF001 - as above


def list_cases(
    conn: Connection,
    *,
    state: str | None = None,
    limit: int = 20,
    starting_after: str | None = None,
) -> Page:
    """The queue, oldest case first; `starting_after` is the id of the last case already seen.

    Raises `ProblemError` invalid_request for an unknown state or a limit outside 1 to 100, not_found
    for an unknown cursor.
    """
    if not 1 <= limit <= PAGE:
        raise ProblemError("invalid_request", f"`limit` must be 1 to {PAGE}")
    if state is not None and state not in shipped().states:
        raise ProblemError("invalid_request", f"no state `{state}`")
    query = sa.select(CASE).order_by(CASE.c.opened_at, CASE.c.id).limit(limit + 1)
    if state is not None:
        query = query.where(CASE.c.state == state)
    if starting_after is not None:
        after = conn.execute(
            sa.select(CASE.c.opened_at).where(CASE.c.id == starting_after)
        ).scalar_one_or_none()
        if after is None:
            raise ProblemError("not_found", f"no case `{starting_after}`")
        query = query.where(
            sa.or_(
                CASE.c.opened_at > after,
                sa.and_(CASE.c.opened_at == after, CASE.c.id > starting_after),
            )
        )
    rows = conn.execute(query).all()
    lines = tuple(CaseLine(**row._mapping) for row in rows[:limit])  # noqa: SLF001 - as above
    return Page(cases=lines, has_more=len(rows) > limit)


def open_case_of(conn: Connection, request_id: str) -> str | None:
    """The id of the request's open case, if there is one."""
    ended = [state.id for state in shipped().states.values() if not state.is_open]
    return conn.execute(
        sa.select(CASE.c.id).where(CASE.c.request_id == request_id, CASE.c.state.not_in(ended))
    ).scalar_one_or_none()
