"""What a change touches: the grants to cut down, the receivers to tell.

A withdrawal, a voided form or collection: `touching` and `receivers` say whom it reaches (the
preview), `shrink_touched` takes it out. A withdrawal has its own three, by its scope.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway import tables
from gateway.release.grants.standing import (
    GRANT,
    HOLDING,
    ITEM,
    LIVE,
    RELEASE,
    RELEASED,
    GrantState,
    get,
    items,
    move,
)

CONSENT = tables.table_of(tables.Consent)
PROFILE = tables.table_of(tables.ConsentProfile)

CHUNK = 500  # ids in one IN (…): well below the 32,766 variables SQLite takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """What changed: every condition given must hold for an item to be touched. One must be given."""

    donor_id: str | None = None
    holding_id: str | None = None
    project_id: str | None = None
    party_id: str | None = None
    collection_id: str | None = None
    form_id: str | None = None
    item_class: str | None = None  # material | information


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """One live grant that a change touches: which of its items, and how many are left without."""

    grant_id: str
    party_id: str
    project_id: str
    holdings: tuple[str, ...]
    donors: tuple[str, ...]
    left: int


def touching(conn: Connection, touch: Touch) -> tuple[Touched, ...]:
    """The live grants a change touches, by id. Writes nothing."""
    rows = conn.execute(
        sa.select(ITEM.c.grant_id, ITEM.c.holding_id)
        .join(GRANT, GRANT.c.id == ITEM.c.grant_id)
        .join(HOLDING, HOLDING.c.id == ITEM.c.holding_id)
        .where(GRANT.c.state.in_(LIVE), ITEM.c.removed_at.is_(None), *_conditions(touch))
    )
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row.grant_id].add(row.holding_id)
    return tuple(_touched(conn, grant_id, ids) for grant_id, ids in sorted(found.items()))


def receivers(conn: Connection, touch: Touch) -> tuple[tuple[str, str], ...]:
    """(release, receiving party) of each release that already carried what a change touches."""
    rows = conn.execute(
        sa.select(RELEASE.c.id, GRANT.c.party_id)
        .join(GRANT, GRANT.c.id == RELEASE.c.grant_id)
        .join(RELEASED, RELEASED.c.release_id == RELEASE.c.id)
        .join(HOLDING, HOLDING.c.id == RELEASED.c.holding_id)
        .where(*_conditions(touch))
        .distinct()
        .order_by(RELEASE.c.id)
    )
    return tuple((row.id, row.party_id) for row in rows)


def shrink_touched(
    conn: Connection, touch: Touch, *, reason: str, now: datetime
) -> tuple[Touched, ...]:
    """Take what a change touches out of every live grant; what each lost, by id."""
    touched = touching(conn, touch)
    for one in touched:
        shrink(conn, one.grant_id, one.holdings, reason=reason, now=now)
    return touched


def shrink(
    conn: Connection, grant_id: str, holdings: Collection[str], *, reason: str, now: datetime
) -> int:
    """Take holdings out of a grant; how many were in it. A grant with nothing left is revoked.

    `reason` is a short code or an id, never a sentence about a donor.
    """
    wanted = set(holdings)
    out = [one.holding_id for one in items(conn, grant_id) if one.holding_id in wanted]
    if not out:
        return 0
    for start in range(0, len(out), CHUNK):
        conn.execute(
            sa.update(ITEM)
            .where(ITEM.c.grant_id == grant_id, ITEM.c.holding_id.in_(out[start : start + CHUNK]))
            .values(removed_at=now, removed_reason=reason)
        )
    grant = get(conn, grant_id)
    move(conn, grant, grant.state if items(conn, grant_id) else GrantState.REVOKED, now)
    return len(out)


# --- a donor's withdrawal, by its scope -----------------------------------------------------------


def touched_by(
    conn: Connection, *, donor_id: str, scope: str, project_id: str | None
) -> tuple[Touched, ...]:
    """The live grants a withdrawal would cut down."""
    touch = of_withdrawal(donor_id=donor_id, scope=scope, project_id=project_id)
    return touching(conn, touch) if touch else ()


def receivers_of(
    conn: Connection, *, donor_id: str, scope: str, project_id: str | None
) -> tuple[tuple[str, str], ...]:
    """(release, receiving party) of what already went out under what a withdrawal ends."""
    touch = of_withdrawal(donor_id=donor_id, scope=scope, project_id=project_id)
    return receivers(conn, touch) if touch else ()


def shrink_for_withdrawal(
    conn: Connection, *, donor_id: str, scope: str, project_id: str | None, now: datetime
) -> tuple[Touched, ...]:
    """Take what a withdrawal ends out of every live grant."""
    touch = of_withdrawal(donor_id=donor_id, scope=scope, project_id=project_id)
    return shrink_touched(conn, touch, reason="withdrawal", now=now) if touch else ()


def of_withdrawal(*, donor_id: str, scope: str, project_id: str | None) -> Touch | None:
    """What a withdrawal of this scope touches; None: nothing that is held or was let out.

    Raises `ValueError` for an unknown scope, or a withdrawal from one study that names none.
    """
    match scope:
        case "everything":
            return Touch(donor_id=donor_id, project_id=project_id)
        case "study" if project_id is not None:
            return Touch(donor_id=donor_id, project_id=project_id)
        case "data":
            return Touch(donor_id=donor_id, item_class="information", project_id=project_id)
        case "material":
            return Touch(donor_id=donor_id, item_class="material", project_id=project_id)
        case "contact":
            return None  # the donor is not to be asked again; what was agreed stands
        case _:
            raise ValueError(f"no withdrawal of scope `{scope}` from project `{project_id}`")


def _touched(conn: Connection, grant_id: str, holdings: set[str]) -> Touched:
    grant, inside = get(conn, grant_id), items(conn, grant_id)
    return Touched(
        grant_id=grant_id,
        party_id=grant.party_id,
        project_id=grant.project_id,
        holdings=tuple(sorted(holdings)),
        donors=tuple(sorted({one.donor_id for one in inside if one.holding_id in holdings})),
        left=len(inside) - len(holdings),
    )


def _conditions(touch: Touch) -> list[sa.ColumnElement[bool]]:
    wanted: list[tuple[str | None, sa.ColumnElement[bool]]] = [
        (touch.donor_id, HOLDING.c.donor_id == touch.donor_id),
        (touch.holding_id, HOLDING.c.id == touch.holding_id),
        (touch.project_id, GRANT.c.project_id == touch.project_id),
        (touch.party_id, GRANT.c.party_id == touch.party_id),
        (touch.collection_id, HOLDING.c.collection_id == touch.collection_id),
        (
            touch.form_id,
            HOLDING.c.consent_id.in_(
                sa.select(CONSENT.c.id)
                .join(PROFILE, PROFILE.c.id == CONSENT.c.profile_id)
                .where(PROFILE.c.form_id == touch.form_id)
            ),
        ),
        # An item of unknown class might be of either, so it is touched.
        (
            touch.item_class,
            sa.or_(HOLDING.c.item_class == touch.item_class, HOLDING.c.item_class.is_(None)),
        ),
    ]
    conditions = [condition for value, condition in wanted if value is not None]
    if not conditions:
        raise ValueError("a touch that names nothing would touch everything")
    return conditions
