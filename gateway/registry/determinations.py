"""Determinations: what officers found, once, by two people, with reason, evidence and expiry.

What a machine must not judge and no paper says: whether a Hong Kong entity is in mainland hands,
whether an old form told enough, whether a source was lawful. A fact in every later decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.tables import metadata, new_id

_DETERMINATION = metadata.tables["determination"]

#: finding → the kind of subject it is about. `ciio`, `important_data` and `emergency_plan` are about
#: the bank's own party; those on a project speak of every request of that project.
FINDINGS: Mapping[str, str] = MappingProxyType(
    {
        "party_chinese": "party",
        "form_adequate": "form",
        "source_lawful": "collection",
        "origin_abroad": "collection",
        "storage_outside_norms": "collection",
        "state_secret": "collection",
        "lines_untraceable": "collection",
        "ciio": "party",
        "important_data": "party",
        "harm": "project",
        "security": "project",
        "prc_authority_approval": "project",
        "produced_in_cooperation": "project",
        "shipment_outside_norms": "project",
        "forged_documents": "project",
        "exit_use_reasonable": "project",
        "special_exit": "project",
        "emergency_plan": "party",
    }
)

#: (subject kind, subject id, finding) → what was found.
Found = Mapping[tuple[str, str, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Determined:
    """One determination as it stands; counts once `confirmed_by` is there and it is not revoked."""

    id: str
    subject_kind: str
    subject_id: str
    finding: str
    value: bool
    reason: str
    evidence_sha256: str
    expires_on: date | None
    proposed_by: str
    proposed_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None
    revoked_at: datetime | None


def propose(  # noqa: PLR0913 - one row of the register, field by field
    conn: Connection,
    *,
    subject_id: str,
    finding: str,
    value: bool,
    reason: str,
    evidence_sha256: str,
    expires_on: date | None,
    person_id: str,
    now: datetime,
) -> Determined:
    """The first person's word; counts for nothing yet.

    Raises `ProblemError` `unknown_term` for a finding nobody may make, `not_found` for its subject.
    """
    kind = FINDINGS.get(finding)
    if kind is None:
        wrong = FieldError(pointer="/finding", detail=f"`{finding}` is not one of {list(FINDINGS)}")
        raise ProblemError("unknown_term", wrong.detail, errors=(wrong,))
    subject = metadata.tables["consent_form" if kind == "form" else kind]
    if conn.execute(sa.select(subject.c.id).where(subject.c.id == subject_id)).first() is None:
        raise ProblemError("not_found", f"there is no {kind} `{subject_id}`")
    row = {
        "id": new_id("det"),
        "subject_kind": kind,
        "subject_id": subject_id,
        "finding": finding,
        "value": value,
        "reason": reason,
        "evidence_sha256": evidence_sha256,
        "expires_on": expires_on,
        "proposed_by": person_id,
        "proposed_at": now,
    }
    conn.execute(sa.insert(_DETERMINATION).values(row))
    return read(conn, str(row["id"]))


def confirm(
    conn: Connection, determination_id: str, *, person_id: str, now: datetime
) -> Determined:
    """The second person's word: from here on it counts.

    Raises `same_person` if it is the first's, `already_done` if it has one, `state_conflict` if it
    was revoked.
    """
    proposed = read(conn, determination_id)
    if proposed.revoked_at is not None:
        raise ProblemError("state_conflict", f"`{determination_id}` was revoked")
    if proposed.confirmed_by is not None:
        raise ProblemError("already_done", f"`{determination_id}` is confirmed already")
    if proposed.proposed_by == person_id:
        raise ProblemError("same_person", "whoever proposed a determination cannot confirm it")
    _change(conn, determination_id, confirmed_by=person_id, confirmed_at=now)
    return read(conn, determination_id)


def revoke(conn: Connection, determination_id: str, *, now: datetime) -> Determined:
    """Take it back: it counts no more. The reason goes into the log with the act."""
    if read(conn, determination_id).revoked_at is not None:
        raise ProblemError("already_done", f"`{determination_id}` is revoked already")
    _change(conn, determination_id, revoked_at=now)
    return read(conn, determination_id)


def read(conn: Connection, determination_id: str) -> Determined:
    """One determination; `ProblemError` `not_found`."""
    row = (
        conn.execute(sa.select(_DETERMINATION).where(_DETERMINATION.c.id == determination_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise ProblemError("not_found", f"there is no determination `{determination_id}`")
    return Determined(**row)


def about(conn: Connection, subject_id: str) -> tuple[Determined, ...]:
    """Everything ever found about a subject, oldest first, revoked and unconfirmed included."""
    rows = conn.execute(
        sa.select(_DETERMINATION)
        .where(_DETERMINATION.c.subject_id == subject_id)
        .order_by(_DETERMINATION.c.proposed_at, _DETERMINATION.c.id)
    ).mappings()
    return tuple(Determined(**row) for row in rows)


def in_force(conn: Connection, as_of: date) -> Found:
    """All that counts on a day; of several about the same, the one confirmed last."""
    d = _DETERMINATION.c
    rows = conn.execute(
        sa.select(d.subject_kind, d.subject_id, d.finding, d.value)
        .where(
            d.confirmed_by.is_not(None),
            d.revoked_at.is_(None),
            sa.or_(d.expires_on.is_(None), d.expires_on >= as_of),
        )
        .order_by(d.confirmed_at, d.id)
    )
    return {(kind, subject, finding): value for kind, subject, finding, value in rows}


def current(
    conn: Connection, subject_kind: str, subject_id: str, finding: str, as_of: date
) -> bool | None:
    """What counts about one subject on a day; None if nothing was found."""
    return in_force(conn, as_of).get((subject_kind, subject_id, finding))


def _change(conn: Connection, determination_id: str, **values: Any) -> None:
    conn.execute(
        sa.update(_DETERMINATION).where(_DETERMINATION.c.id == determination_id).values(values)
    )
    bump(conn)
