"""Handing over: what left the building, by whom and how, and the receiver's receipt (floor 4).

The rules it keeps: what is handed over is exactly what the manifest names, tube by tube and checksum
by checksum, less what was taken out of the grant since; a receipt quotes the manifest it is for; a
release that broke is never handed over after all. The three `record_*` are unit parts for
`pep.record_event`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway import tables
from gateway.errors import FieldError, ProblemError
from gateway.release import grants
from gateway.release.grants.outgoing import Pseudonym, item_code
from gateway.tables import SHANGHAI

RELEASE = tables.table_of(tables.Release)
RELEASED = tables.table_of(tables.ReleaseItem)
GRANT = tables.table_of(tables.Grant)
HOLDING = tables.table_of(tables.Holding)
ITEM = tables.table_of(tables.GrantItem)

PAGE = 100  # the most a list gives at once
ERRORS_MOST = 50  # differences named in one answer


class ReleaseState(StrEnum):
    """Intended once recorded, then done or broken; received once the other side says so."""

    INTENDED = "intended"
    DONE = "done"
    RECEIVED = "received"
    BROKEN = "broken"


class Way(StrEnum):
    """How something was handed over."""

    COURIER = "courier"
    PICKED_UP = "picked_up"
    ENCRYPTED_DISK = "encrypted_disk"
    ENCRYPTED_TRANSFER = "encrypted_transfer"
    SECURE_WORKSPACE = "secure_workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """A release as it stands; the manifest in its exact bytes."""

    id: str
    grant_id: str
    decision_id: str
    party_id: str
    project_id: str
    state: ReleaseState
    manifest: bytes
    manifest_sha256: str
    handed_by: str
    handed_how: str
    handed_at: datetime | None
    received_by: str
    received_at: datetime | None
    receipt_sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some releases, oldest first."""

    releases: tuple[ReleaseView, ...]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """What staff scanned as it left: the bank's own tube codes, and code → SHA-256 of each file."""

    how: Way
    tubes: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)


def get(conn: Connection, release_id: str, *, party_id: str | None = None) -> ReleaseView:
    """The release; with `party_id`, only that organisation's. Raises `ProblemError` not_found."""
    query = _query().where(RELEASE.c.id == release_id)
    if party_id is not None:
        query = query.where(GRANT.c.party_id == party_id)
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", f"no release `{release_id}`")
    return _view(row)


def list_releases(
    conn: Connection, grant_id: str, *, limit: int = 20, starting_after: str | None = None
) -> Page:
    """The releases of a grant, oldest first.

    Raises `ProblemError` invalid_request for a limit outside 1 to 100, not_found for an unknown
    cursor.
    """
    if not 1 <= limit <= PAGE:
        raise ProblemError("invalid_request", f"`limit` must be 1 to {PAGE}")
    query = _query().where(RELEASE.c.grant_id == grant_id)
    if starting_after is not None:
        after = get(conn, starting_after)
        query = query.where(
            sa.or_(
                RELEASE.c.created_at > after.created_at,
                sa.and_(RELEASE.c.created_at == after.created_at, RELEASE.c.id > after.id),
            )
        )
    query = query.order_by(RELEASE.c.created_at, RELEASE.c.id).limit(limit + 1)
    rows = conn.execute(query).mappings().all()
    return Page(releases=tuple(_view(row) for row in rows[:limit]), has_more=len(rows) > limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One thing to fetch for a release, by the bank's own code and by the code of its manifest.

    `withheld`: taken out of the grant since, so it must stay. `sha256` is that of a file, None for
    a tube.
    """

    code: str
    item: str
    kind: str
    units: int
    sha256: str | None
    withheld: bool


def pick_list(conn: Connection, release_id: str, *, pseudonym: Pseudonym) -> tuple[Pick, ...]:
    """What staff fetch for a release, by code. Raises `ProblemError` not_found."""
    release = get(conn, release_id)
    return tuple(
        Pick(
            code=row.code,
            item=item_code(pseudonym, release.project_id, row.id),
            kind=row.kind,
            units=row.units,
            sha256=row.sha256,
            withheld=row.removed_at is not None,
        )
        for row in _fetched(conn, release)
    )


def record_handover(
    conn: Connection, release_id: str, handed: HandOver, *, by: str, now: datetime
) -> ReleaseView:
    """Staff handed a release over; `by` is the actor's opaque id.

    Looked at again as it leaves: of a grant that no longer lives nothing goes, and what was taken
    out of it since (a donor withdrew) stays. Raises `ProblemError`: not_found; state_conflict unless
    it is intended; not_releasable; invalid_request, naming each tube and file that is missing, not of
    the release, or of another checksum.
    """
    release = get(conn, release_id)
    _verify_state(release, ReleaseState.INTENDED)
    grant = grants.get(conn, release.grant_id)
    if grant.state is not grants.GrantState.ACTIVE:
        raise ProblemError("not_releasable", f"the grant is `{grant.state}`")
    if now.astimezone(SHANGHAI).date() > grant.until:
        raise ProblemError("not_releasable", f"the grant ended on `{grant.until}`")
    rows = _fetched(conn, release)
    withheld = {row.code for row in rows if row.removed_at is not None}
    leaving = sorted(withheld & (handed.tubes | handed.files.keys()))
    if leaving:
        raise ProblemError(
            "not_releasable",
            "what was taken out of the grant must not leave",
            errors=tuple(
                FieldError(pointer=f"/{code}", detail="taken out since; put it back")
                for code in leaving[:ERRORS_MOST]
            ),
        )
    go = [row for row in rows if row.removed_at is None]
    tubes = {row.code for row in go if row.sha256 is None}
    files = {row.code: row.sha256 for row in go if row.sha256 is not None}
    errors = [(f"/tubes/{code}", "this tube is of the release") for code in tubes - handed.tubes]
    errors += [(f"/tubes/{code}", "no tube of the release") for code in handed.tubes - tubes]
    errors += [
        (f"/files/{code}", "this file is of the release") for code in files - handed.files.keys()
    ]
    errors += [(f"/files/{code}", "no file of the release") for code in handed.files.keys() - files]
    errors += [
        (f"/files/{code}", "the checksum is another")
        for code in handed.files.keys() & files.keys()
        if handed.files[code] != files[code]
    ]
    if errors:
        raise ProblemError(
            "invalid_request",
            f"what was handed over differs from the release in {len(errors)} places",
            errors=tuple(
                FieldError(pointer=pointer, detail=detail)
                for pointer, detail in sorted(errors)[:ERRORS_MOST]
            ),
        )
    return _move(
        conn,
        release,
        {"state": ReleaseState.DONE, "handed_by": by, "handed_how": handed.how, "handed_at": now},
    )


def record_receipt(
    conn: Connection,
    release_id: str,
    *,
    party_id: str,
    manifest_sha256: str,
    receipt: bytes,
    by: str,
    now: datetime,
) -> ReleaseView:
    """The receiving organisation acknowledges; `receipt` is its own statement, kept by digest.

    Raises `ProblemError`: not_found for another organisation's release; state_conflict unless it was
    handed over; invalid_request if it quotes another manifest.
    """
    release = get(conn, release_id, party_id=party_id)
    _verify_state(release, ReleaseState.DONE)
    if manifest_sha256 != release.manifest_sha256:
        detail = "not the SHA-256 of this release's manifest"
        raise ProblemError(
            "invalid_request",
            detail,
            errors=(FieldError(pointer="/manifest_sha256", detail=detail),),
        )
    return _move(
        conn,
        release,
        {
            "state": ReleaseState.RECEIVED,
            "received_by": by,
            "received_at": now,
            "receipt_sha256": hashlib.sha256(receipt).hexdigest(),
        },
    )


def record_break(conn: Connection, release_id: str, *, by: str, now: datetime) -> ReleaseView:
    """A handing-over failed, before or on its way. Tubes stay drawn and people counted.

    Nobody can say what reached the other side, so it counts as gone; what comes back is taken in
    anew. Raises `ProblemError`: not_found; state_conflict if it was received or is broken already.
    """
    release = get(conn, release_id)
    _verify_state(release, ReleaseState.INTENDED, ReleaseState.DONE)
    values: dict[str, object] = {"state": ReleaseState.BROKEN}
    if release.state is ReleaseState.INTENDED:
        values |= {"handed_by": by, "handed_at": now}
    return _move(conn, release, values)


def _fetched(
    conn: Connection, release: ReleaseView
) -> Sequence[sa.Row[Any, Any, Any, Any, Any, Any]]:
    inside = sa.and_(ITEM.c.holding_id == HOLDING.c.id, ITEM.c.grant_id == release.grant_id)
    return conn.execute(
        sa.select(
            HOLDING.c.id,
            HOLDING.c.code,
            HOLDING.c.kind,
            HOLDING.c.sha256,
            RELEASED.c.units,
            ITEM.c.removed_at,
        )
        .join(RELEASED, RELEASED.c.holding_id == HOLDING.c.id)
        .join(ITEM, inside)
        .where(RELEASED.c.release_id == release.id)
        .order_by(HOLDING.c.code)
    ).all()


def _query() -> sa.Select[tuple[object, ...]]:
    columns = [column for column in RELEASE.c if column.name != "visa"]
    return sa.select(*columns, GRANT.c.party_id, GRANT.c.project_id).join(
        GRANT, GRANT.c.id == RELEASE.c.grant_id
    )


def _verify_state(release: ReleaseView, *allowed: ReleaseState) -> None:
    if release.state not in allowed:
        raise ProblemError("state_conflict", f"the release is {release.state}")


def _move(conn: Connection, release: ReleaseView, values: dict[str, object]) -> ReleaseView:
    moved = conn.execute(
        sa.update(RELEASE)
        .where(RELEASE.c.id == release.id, RELEASE.c.state == release.state)
        .values(**values)
    )
    if moved.rowcount != 1:
        raise ProblemError("state_conflict", f"release `{release.id}` has moved on")
    return get(conn, release.id)


def _view(row: sa.RowMapping) -> ReleaseView:
    return ReleaseView(**{**row, "state": ReleaseState(row["state"])})
