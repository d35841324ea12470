"""Lists and single rows that only the API shows: a few Core selects each, never one per row.

`party_id` None is the bank's own people; otherwise only what is that organisation's is found, and
another's is `not_found` like what does not exist.
"""

from __future__ import annotations

from collections.abc import Collection as Many
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.errors import ProblemError
from gateway.tables import (
    Collection,
    ConsentForm,
    ConsentProfile,
    ControlEdge,
    Donor,
    FormerName,
    FormMapping,
    Grant,
    GrantItem,
    Holding,
    Party,
    Project,
    Release,
    table_of,
)

_collection = table_of(Collection)
_donor = table_of(Donor)
_edge = table_of(ControlEdge)
_form = table_of(ConsentForm)
_former = table_of(FormerName)
_grant = table_of(Grant)
_holding = table_of(Holding)
_item = table_of(GrantItem)
_mapping = table_of(FormMapping)
_party = table_of(Party)
_profile = table_of(ConsentProfile)
_project = table_of(Project)
_release = table_of(Release)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One release as it stands."""

    id: str
    grant_id: str
    decision_id: str
    state: str
    manifest: bytes
    manifest_sha256: str
    visa: str
    handed_how: str
    handed_at: datetime | None
    received_by: str
    received_at: datetime | None
    receipt_sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    """One study."""

    id: str
    party_id: str
    title: str
    chinese_partner_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A collection with its distinct donors: in all, and by kind of holding."""

    id: str
    code: str
    name_zh: str
    name_en: str
    country: str
    special_region: bool | None
    owner_consent_needed: bool
    people: int
    kinds: tuple[tuple[str, int], ...]


def grant_counts(conn: Connection, grant_ids: Many[str]) -> dict[str, tuple[int, int]]:
    """Grant → (distinct donors, items) still under it."""
    people = sa.func.count(sa.distinct(_item.c.donor_id))
    query = (
        sa.select(_item.c.grant_id, people, sa.func.count())
        .where(_item.c.grant_id.in_(grant_ids), _item.c.removed_at.is_(None))
        .group_by(_item.c.grant_id)
    )
    return {row[0]: (row[1], row[2]) for row in conn.execute(query)}


def release(conn: Connection, release_id: str, *, party_id: str | None) -> ReleaseRow:
    """One release; raises `not_found`."""
    names = ReleaseRow.__slots__
    query = sa.select(*(_release.c[name] for name in names)).where(_release.c.id == release_id)
    if party_id is not None:
        query = query.join(_grant, _grant.c.id == _release.c.grant_id)
        query = query.where(_grant.c.party_id == party_id)
    row = conn.execute(query).first()
    if row is None:
        raise ProblemError("not_found", f"no release `{release_id}`")
    return ReleaseRow(**dict(zip(names, row, strict=True)))


def donor_id(conn: Connection, name: str) -> str:
    """The id of the donor with this id or this code of the bank; raises `not_found`."""
    query = sa.select(_donor.c.id).where(sa.or_(_donor.c.id == name, _donor.c.code == name))
    found = conn.execute(query).scalar()
    if found is None:
        raise ProblemError("not_found", f"no donor `{name}`")
    return str(found)


def projects(
    conn: Connection, *, party_id: str | None, limit: int, starting_after: str | None
) -> tuple[tuple[ProjectRow, ...], bool]:
    """Studies by id, and whether more follow."""
    names = ProjectRow.__slots__
    query = sa.select(*(_project.c[name] for name in names)).order_by(_project.c.id)
    if party_id is not None:
        query = query.where(_project.c.party_id == party_id)
    if starting_after is not None:
        query = query.where(_project.c.id > starting_after)
    rows = conn.execute(query.limit(limit + 1)).all()
    found = tuple(ProjectRow(**dict(zip(names, row, strict=True))) for row in rows[:limit])
    return found, len(rows) > limit


def catalogue(conn: Connection) -> tuple[Counted, ...]:
    """Every collection by id, counted over what is still available."""
    people = sa.func.count(sa.distinct(_holding.c.donor_id))
    available = _holding.c.available.is_(True)
    kinds: dict[str, list[tuple[str, int]]] = {}
    by_kind = sa.select(_holding.c.collection_id, _holding.c.kind, people).where(available)
    by_kind = by_kind.group_by(_holding.c.collection_id, _holding.c.kind)
    for collection, kind, count in conn.execute(by_kind.order_by(_holding.c.kind)):
        kinds.setdefault(collection, []).append((kind, count))
    counted = sa.select(_holding.c.collection_id, people).where(available)
    in_all = {row[0]: row[1] for row in conn.execute(counted.group_by(_holding.c.collection_id))}
    return tuple(
        Counted(
            id=row.id,
            code=row.code,
            name_zh=row.name_zh,
            name_en=row.name_en,
            country=row.country,
            special_region=row.special_region,
            owner_consent_needed=row.owner_consent_needed,
            people=in_all.get(row.id, 0),
            kinds=tuple(kinds.get(row.id, ())),
        )
        for row in conn.execute(sa.select(_collection).order_by(_collection.c.id))
    )


def parties(
    conn: Connection, *, limit: int, starting_after: str | None
) -> tuple[tuple[sa.RowMapping, ...], bool]:
    """Parties by id, as rows, and whether more follow."""
    return _by_id(conn, sa.select(_party), _party.c.id, limit, starting_after)


def former_names(conn: Connection, party_ids: Many[str]) -> dict[str, list[sa.RowMapping]]:
    """What these parties were called before, oldest first."""
    rows = conn.execute(
        sa.select(_former)
        .where(_former.c.party_id.in_(sorted(party_ids)))
        .order_by(_former.c.party_id, _former.c.until)
    )
    names: dict[str, list[sa.RowMapping]] = {}
    for row in rows.mappings():
        names.setdefault(row["party_id"], []).append(row)
    return names


def edges(
    conn: Connection, *, party_id: str | None, limit: int, starting_after: str | None
) -> tuple[tuple[sa.RowMapping, ...], bool]:
    """Control edges by id, as rows: those that touch a party, or all."""
    query = sa.select(_edge)
    if party_id is not None:
        query = query.where(sa.or_(_edge.c.owner_id == party_id, _edge.c.owned_id == party_id))
    return _by_id(conn, query, _edge.c.id, limit, starting_after)


def forms(
    conn: Connection, *, limit: int, starting_after: str | None
) -> tuple[tuple[tuple[sa.RowMapping, bool, tuple[str, ...]], ...], bool]:
    """Forms by id: each with whether two people signed a mapping, and the ticks found on it."""
    rows, more = _by_id(conn, sa.select(_form), _form.c.id, limit, starting_after)
    ids = [row["id"] for row in rows]
    signed = set(
        conn.execute(
            sa.select(_mapping.c.form_id).where(
                _mapping.c.form_id.in_(ids), _mapping.c.confirmed_by.is_not(None)
            )
        ).scalars()
    )
    ticks: dict[str, set[str]] = {form_id: set() for form_id in ids}
    found = sa.select(_profile.c.form_id, _profile.c.ticks).where(_profile.c.form_id.in_(ids))
    for form_id, ticked in conn.execute(found):
        ticks[form_id].update(ticked)
    return tuple((row, row["id"] in signed, tuple(sorted(ticks[row["id"]]))) for row in rows), more


def _by_id(
    conn: Connection,
    query: sa.Select[Any],
    column: sa.Column[Any],
    limit: int,
    starting_after: str | None,
) -> tuple[tuple[sa.RowMapping, ...], bool]:
    if starting_after is not None:
        query = query.where(column > starting_after)
    rows = conn.execute(query.order_by(column).limit(limit + 1)).mappings().all()
    return tuple(rows[:limit]), len(rows) > limit
