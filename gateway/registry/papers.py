"""Papers: recorded by one person, checked by another, and then counting until voided or used up."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.tables import metadata

_QUOTA = metadata.tables["quota"]


def draw(conn: Connection, quota_id: str, amount: int) -> bool:
    """Draw `amount` (at least 0) from a quota, all of it or nothing; says which.

    One conditional UPDATE: however many draw at once, a quota is never overdrawn.
    """
    if amount < 0:
        raise ValueError("a draw cannot be negative")
    drawn = conn.execute(
        sa.update(_QUOTA)
        .where(_QUOTA.c.id == quota_id, _QUOTA.c.used + amount <= _QUOTA.c.total)
        .values(used=_QUOTA.c.used + amount)
    )
    return drawn.rowcount == 1
