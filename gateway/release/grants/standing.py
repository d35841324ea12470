"""How a grant stands: made, read, suspended, ended."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway import tables
from gateway.errors import ProblemError
from gateway.tables import SHANGHAI

GRANT = tables.table_of(tables.Grant)
ITEM = tables.table_of(tables.GrantItem)
HOLDING = tables.table_of(tables.Holding)
RELEASE = tables.table_of(tables.Release)
RELEASED = tables.table_of(tables.ReleaseItem)

PAGE = 100  # the most a list gives at once


class GrantState(StrEnum):
    """Where a grant stands; only the first two are alive."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"
    COMPLETED = "completed"


LIVE = (GrantState.ACTIVE, GrantState.SUSPENDED)


# Said once: to build a statement costs more than to run it.
_CREATE, _CREATE_ITEMS = sa.insert(GRANT), sa.insert(ITEM)
_STANDS = sa.select(GRANT.c.id).where(
    sa.or_(
        GRANT.c.id == sa.bindparam("grant"),
        sa.and_(GRANT.c.request_id == sa.bindparam("request"), GRANT.c.state.in_(LIVE)),
    )
)


class Picked(Protocol):
    """One holding that a selection picked (`registry.cohorts` makes them)."""

    @property
    def holding_id(self) -> str: ...  # noqa: D102 - a protocol's member says it by its name
    @property
    def donor_id(self) -> str: ...  # noqa: D102 - as above
    @property
    def units(self) -> int: ...  # noqa: D102 - as above
    @property
    def material(self) -> bool: ...  # noqa: D102 - as above
    @property
    def volume_ul(self) -> int | None: ...  # noqa: D102 - as above
    @property
    def bytes(self) -> int | None: ...  # noqa: D102 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One holding under a grant: `units` tubes of it, or 1 for a data item; `volume_ul` is of all of them."""

    holding_id: str
    donor_id: str
    units: int
    material: bool = True  # or of unknown class, which counts as material
    volume_ul: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A grant as it stands, without its items. `accepted`: rule ids officers disposed of."""

    id: str
    request_id: str
    decision_id: str
    party_id: str
    project_id: str
    state: GrantState
    until: date
    accepted: tuple[str, ...]
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some grants, oldest first."""

    grants: tuple[Grant, ...]
    has_more: bool


def grant_id_for(decision_id: str) -> str:
    """The id of the grant of a decision: derived, so that the primary key refuses a second one."""
    return f"gnt_{hashlib.sha256(decision_id.encode()).hexdigest()[:32]}"


def create(  # noqa: PLR0913 - a row's columns, each by its name
    conn: Connection,
    *,
    request_id: str,
    decision_id: str,
    party_id: str,
    project_id: str,
    items: Sequence[Picked],
    until: date,
    accepted: Collection[str] = (),
    now: datetime,
) -> Grant:
    """Grant `items` until the end of the day `until`.

    Raises `ProblemError`: already_done if the decision has its grant or the request a live one (end
    that first), not_releasable if nothing is selected or `until` has passed.
    """
    if not items:
        raise ProblemError("not_releasable", "nothing is selected")
    if until < now.astimezone(SHANGHAI).date():
        raise ProblemError("not_releasable", f"the last good day, {until}, has passed")
    grant_id = grant_id_for(decision_id)
    there = conn.execute(_STANDS, {"grant": grant_id, "request": request_id}).first()
    if there is not None:
        raise ProblemError("already_done", f"grant `{there.id}` stands for this")
    made = Grant(
        id=grant_id,
        request_id=request_id,
        decision_id=decision_id,
        party_id=party_id,
        project_id=project_id,
        state=GrantState.ACTIVE,
        until=until,
        accepted=tuple(sorted(accepted)),
        revision=1,
        created_at=now,
        updated_at=now,
    )
    columns = {one.name: getattr(made, one.name) for one in fields(Grant)}
    conn.execute(_CREATE, columns | {"accepted": list(made.accepted)})
    conn.execute(
        _CREATE_ITEMS,
        [
            {
                "grant_id": grant_id,
                "holding_id": one.holding_id,
                "donor_id": one.donor_id,
                "units": one.units,
                "material": one.material,
                "volume_ul": one.volume_ul,
                "bytes": one.bytes,
                "removed_at": None,
                "removed_reason": "",
            }
            for one in items
        ],
    )
    return made


def get(conn: Connection, grant_id: str, *, party_id: str | None = None) -> Grant:
    """The grant; with `party_id`, only that organisation's. Raises `ProblemError` not_found."""
    query = sa.select(GRANT).where(GRANT.c.id == grant_id)
    if party_id is not None:
        query = query.where(GRANT.c.party_id == party_id)
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", f"no grant `{grant_id}`")
    return _view(row)


def items(conn: Connection, grant_id: str) -> tuple[Item, ...]:
    """What is in the grant now, by holding id; what was taken out is not."""
    rows = conn.execute(
        sa.select(*(ITEM.c[one.name] for one in fields(Item)))
        .where(ITEM.c.grant_id == grant_id, ITEM.c.removed_at.is_(None))
        .order_by(ITEM.c.holding_id)
    ).mappings()
    return tuple(Item(**one) for one in rows)


def releasable(conn: Connection, grant_id: str) -> tuple[Item, ...]:
    """What of the grant may still go out, by holding id.

    Tubes go out once, and a release that broke on its way has used them up as well; data may be
    handed over again.
    """
    gone = (
        sa.select(RELEASED.c.holding_id)
        .join(RELEASE, RELEASE.c.id == RELEASED.c.release_id)
        .join(HOLDING, HOLDING.c.id == RELEASED.c.holding_id)
        .where(RELEASE.c.grant_id == grant_id, HOLDING.c.item_class.is_distinct_from("information"))
    )
    used = set(conn.execute(gone).scalars())
    return tuple(one for one in items(conn, grant_id) if one.holding_id not in used)


def live_holdings(conn: Connection, grant_id: str) -> frozenset[str]:
    """The holdings that may still go out under the grant; never empty.

    Raises `ProblemError` not_releasable if there are none: asking the PDP about nothing would read as
    a denial.
    """
    found = frozenset(one.holding_id for one in releasable(conn, grant_id))
    if not found:
        raise ProblemError("not_releasable", "everything under this grant has gone out or is out")
    return found


def list_grants(
    conn: Connection,
    *,
    party_id: str | None = None,
    state: GrantState | None = None,
    limit: int = 20,
    starting_after: str | None = None,
) -> Page:
    """Grants, oldest first; `party_id` None is every organisation's (for officers).

    Raises `ProblemError` invalid_request for a limit outside 1 to 100, not_found for an unknown
    cursor.
    """
    if not 1 <= limit <= PAGE:
        raise ProblemError("invalid_request", f"`limit` must be 1 to {PAGE}")
    query = sa.select(GRANT).order_by(GRANT.c.created_at, GRANT.c.id).limit(limit + 1)
    if party_id is not None:
        query = query.where(GRANT.c.party_id == party_id)
    if state is not None:
        query = query.where(GRANT.c.state == state)
    if starting_after is not None:
        after = get(conn, starting_after, party_id=party_id)
        query = query.where(
            sa.or_(
                GRANT.c.created_at > after.created_at,
                sa.and_(GRANT.c.created_at == after.created_at, GRANT.c.id > after.id),
            )
        )
    rows = conn.execute(query).mappings().all()
    return Page(grants=tuple(_view(row) for row in rows[:limit]), has_more=len(rows) > limit)


def suspend(conn: Connection, grant_id: str, *, now: datetime) -> Grant:
    """Stop an active grant for as long as something it rests on is in doubt; the leaf says why.

    Raises `ProblemError` state_conflict if it is not active, as for the two below.
    """
    return _from(conn, grant_id, (GrantState.ACTIVE,), GrantState.SUSPENDED, now)


def revoke(conn: Connection, grant_id: str, *, now: datetime) -> Grant:
    """End a live grant for good."""
    return _from(conn, grant_id, LIVE, GrantState.REVOKED, now)


def complete(conn: Connection, grant_id: str, *, now: datetime) -> Grant:
    """End an active grant because everything was handed over."""
    return _from(conn, grant_id, (GrantState.ACTIVE,), GrantState.COMPLETED, now)


def end_for_request(
    conn: Connection, request_id: str, *, state: GrantState | str, now: datetime
) -> tuple[Grant, ...]:
    """End every live grant of a request, in `state` revoked or completed; by id."""
    to = GrantState(state)
    if to in LIVE:
        raise ValueError(f"`{to}` is no end")
    live = GRANT.c.state.in_(LIVE)
    return _end_all(conn, sa.and_(GRANT.c.request_id == request_id, live), to, now)


def expire(conn: Connection, *, today: date, now: datetime) -> tuple[Grant, ...]:
    """End every live grant whose last good day has passed; by id."""
    over = sa.and_(GRANT.c.state.in_(LIVE), GRANT.c.until < today)
    return _end_all(conn, over, GrantState.EXPIRED, now)


def move(conn: Connection, grant: Grant, to: GrantState, now: datetime) -> Grant:
    """Write a change of `grant`; raises `ProblemError` precondition_failed if it moved meanwhile."""
    moved = conn.execute(
        sa.update(GRANT)
        .where(GRANT.c.id == grant.id, GRANT.c.revision == grant.revision)
        .values(state=to, revision=grant.revision + 1, updated_at=now)
    )
    if moved.rowcount != 1:
        raise ProblemError("precondition_failed", f"grant `{grant.id}` has moved on")
    return get(conn, grant.id)


def _from(
    conn: Connection,
    grant_id: str,
    allowed: Collection[GrantState],
    to: GrantState,
    now: datetime,
) -> Grant:
    grant = get(conn, grant_id)
    if grant.state not in allowed:
        raise ProblemError("state_conflict", f"the grant is {grant.state}")
    return move(conn, grant, to, now)


def _end_all(
    conn: Connection, which: sa.ColumnElement[bool], to: GrantState, now: datetime
) -> tuple[Grant, ...]:
    rows = conn.execute(sa.select(GRANT).where(which).order_by(GRANT.c.id)).mappings().all()
    return tuple(move(conn, _view(row), to, now) for row in rows)


def _view(row: sa.RowMapping) -> Grant:
    fields: dict[str, Any] = dict(row)
    fields |= {"state": GrantState(row["state"]), "accepted": tuple(row["accepted"])}
    return Grant(**fields)
