"""The version of the facts: rises with every write a decision may rest on.

INVARIANT: whoever writes such a fact calls `bump` in the same transaction; a decision gathered under
one version is only recorded while that version stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.tables import metadata

_BANK = metadata.tables["bank"]


def bump(conn: Connection) -> None:
    """Raise the version of the facts by one."""
    conn.execute(sa.update(_BANK).values(facts_version=_BANK.c.facts_version + 1))


def facts_version(conn: Connection) -> int:
    """The version in force in this transaction."""
    return int(conn.execute(sa.select(_BANK.c.facts_version)).scalar_one())
