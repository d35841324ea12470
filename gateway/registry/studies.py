"""Projects and the researchers who would work on them (unit parts)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.tables import metadata, new_id

_PROJECT = metadata.tables["project"]
_RESEARCHER = metadata.tables["researcher"]
_PARTY = metadata.tables["party"]


def add_project(
    conn: Connection,
    *,
    party_id: str,
    title: str,
    chinese_partner_id: str | None,
    chinese_participation: bool | None,
    records_open_and_backed_up: bool | None,
    now: datetime,
) -> str:
    """Register a study of one party; gives its id. Raises `not_found` for a party."""
    _verify_party(conn, party_id, "/party")
    if chinese_partner_id is not None:
        _verify_party(conn, chinese_partner_id, "/chinese_partner")
    project_id = new_id("prj")
    conn.execute(
        sa.insert(_PROJECT).values(
            id=project_id,
            party_id=party_id,
            title=title,
            chinese_partner_id=chinese_partner_id,
            chinese_participation=chinese_participation,
            records_open_and_backed_up=records_open_and_backed_up,
            created_at=now,
        )
    )
    bump(conn)
    return project_id


def add_researcher(
    conn: Connection,
    *,
    employer_id: str,
    name: str,
    nationality: str,
    individual_capacity: bool,
    now: datetime,
) -> str:
    """Register a person who would use what is released; gives their id. Raises `not_found`."""
    _verify_party(conn, employer_id, "/employer")
    researcher_id = new_id("rsr")
    conn.execute(
        sa.insert(_RESEARCHER).values(
            id=researcher_id,
            employer_id=employer_id,
            name=name,
            nationality=nationality,
            individual_capacity=individual_capacity,
            created_at=now,
        )
    )
    bump(conn)
    return researcher_id


def _verify_party(conn: Connection, party_id: str, pointer: str) -> None:
    if conn.execute(sa.select(_PARTY.c.id).where(_PARTY.c.id == party_id)).first() is None:
        wrong = FieldError(pointer=pointer, detail=f"there is no party `{party_id}`")
        raise ProblemError("not_found", wrong.detail, errors=(wrong,))
