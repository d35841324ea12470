"""The register of parties, of who holds whom, of studies and of the researchers who work on them."""

from __future__ import annotations

from datetime import date, datetime
from fractions import Fraction
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.registry.ownership import INFLUENCE
from gateway.tables import metadata, new_id

_PARTY = metadata.tables["party"]
_EDGE = metadata.tables["control_edge"]
_PROJECT = metadata.tables["project"]
_RESEARCHER = metadata.tables["researcher"]


def add_party(
    conn: Connection,
    *,
    party_id: str,
    name_zh: str,
    name_en: str,
    country: str,
    now: datetime,
    **known: Any,
) -> str:
    """Register a party; `known` are further columns of `tables.Party`. Gives its id."""
    if conn.execute(sa.select(_PARTY.c.id).where(_PARTY.c.id == party_id)).first() is not None:
        raise ProblemError("already_done", f"there is a party `{party_id}` already")
    conn.execute(
        sa.insert(_PARTY).values(
            {
                "registration": "",
                "individual": False,
                "hkmo_entity": False,
                "ban_checked": False,
                "credit_flag": False,
                "invented": False,
            }
            | known
            | {
                "id": party_id,
                "name_zh": name_zh,
                "name_en": name_en,
                "country": country,
                "created_at": now,
            }
        )
    )
    bump(conn)
    return party_id


def add_edge(  # noqa: PLR0913 - one row of the register, field by field
    conn: Connection,
    *,
    owner_id: str,
    owned_id: str,
    share: Fraction,
    votes: Fraction | None = None,
    contract_control: bool = False,
    influence: str = "none",
    valid_from: date,
    valid_to: date | None = None,
    evidence: str,
) -> str:
    """Record one hold; votes follow the share unless said otherwise. Gives the edge's id.

    Raises `ProblemError` `invalid_request` for a share no holder can have, `not_found` for a party.
    """
    voting = share if votes is None else votes
    for name, value in (("share", share), ("votes", voting)):
        if not 0 <= value <= 1:
            wrong = FieldError(pointer=f"/{name}", detail=f"`{value}` is not between 0 and 1")
            raise ProblemError("invalid_request", wrong.detail, errors=(wrong,))
    if influence not in INFLUENCE:
        wrong = FieldError(pointer="/influence", detail=f"`{influence}` is not one of {INFLUENCE}")
        raise ProblemError("invalid_request", wrong.detail, errors=(wrong,))
    for party_id in (owner_id, owned_id):
        if conn.execute(sa.select(_PARTY.c.id).where(_PARTY.c.id == party_id)).first() is None:
            raise ProblemError("not_found", f"there is no party `{party_id}`")
    edge_id = new_id("edg")
    conn.execute(
        sa.insert(_EDGE).values(
            id=edge_id,
            owner_id=owner_id,
            owned_id=owned_id,
            share=f"{share.numerator}/{share.denominator}",
            votes=f"{voting.numerator}/{voting.denominator}",
            contract_control=contract_control,
            influence=influence,
            valid_from=valid_from,
            valid_to=valid_to,
            evidence=evidence,
        )
    )
    bump(conn)
    return edge_id


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
