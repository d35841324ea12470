"""The register of parties, of who holds whom, of studies and of the researchers who work on them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.registry.ownership import INFLUENCE
from gateway.tables import metadata, new_id

_PARTY = metadata.tables["party"]
_EDGE = metadata.tables["control_edge"]
_FORMER = metadata.tables["former_name"]
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
        _party(conn, party_id, "/owner" if party_id == owner_id else "/owned")
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


def rename_party(
    conn: Connection,
    party_id: str,
    *,
    name_zh: str,
    name_en: str,
    since: date,
    evidence: str,
    now: datetime,
) -> str:
    """Call a party otherwise from a Shanghai day on; what it was called stays, with its last day.

    Papers and decisions name a party by its id, so none of them changes. Gives that id. Raises
    `ProblemError` `not_found` for a party, `state_conflict` for a day not after its last change of name.
    """
    party = _party(conn, party_id, "/party")
    until = since - timedelta(days=1)
    last = conn.execute(
        sa.select(sa.func.max(_FORMER.c.until)).where(_FORMER.c.party_id == party_id)
    ).scalar_one()
    if last is not None and until <= last:
        detail = f"`{party_id}` got the name it has on `{last + timedelta(days=1)}`"
        raise ProblemError("state_conflict", detail, errors=(_at("/since", detail),))
    conn.execute(
        sa.insert(_FORMER).values(
            party_id=party_id,
            until=until,
            name_zh=party.name_zh,
            name_en=party.name_en,
            evidence=evidence,
            created_at=now,
        )
    )
    conn.execute(
        sa.update(_PARTY).where(_PARTY.c.id == party_id).values(name_zh=name_zh, name_en=name_en)
    )
    bump(conn)
    return party_id


def merge_party(conn: Connection, party_id: str, *, into_id: str, on: date, evidence: str) -> str:
    """Record that a party is merged into another from a Shanghai day on; gives the new edge's id.

    It stays in the register, wholly held by its successor from that day: so who it was counts for every
    day before, and what went to it counts with what goes to the successor's group. Its former holders'
    edges end the day before.

    Raises `ProblemError` `not_found` for a party, `already_done` if it is merged, `state_conflict` if the
    successor is itself or merged, or if a holder's edge begins on that day or later.
    """
    party, into = _party(conn, party_id, "/party"), _party(conn, into_id, "/into")
    if party.merged_on is not None:
        raise ProblemError("already_done", f"`{party_id}` merged into `{party.merged_into_id}`")
    if into_id == party_id or into.merged_on is not None:
        detail = f"nothing merges into `{into_id}`"
        raise ProblemError("state_conflict", detail, errors=(_at("/into", detail),))
    held = _EDGE.c.owned_id == party_id
    lasting = sa.or_(_EDGE.c.valid_to.is_(None), _EDGE.c.valid_to >= on)
    later = conn.execute(sa.select(_EDGE.c.id).where(held, _EDGE.c.valid_from >= on)).first()
    if later is not None:
        detail = f"edge `{later.id}` says that somebody holds it on that day or later"
        raise ProblemError("state_conflict", detail, errors=(_at("/on", detail),))
    conn.execute(sa.update(_EDGE).where(held, lasting).values(valid_to=on - timedelta(days=1)))
    conn.execute(
        sa.update(_PARTY)
        .where(_PARTY.c.id == party_id)
        .values(merged_into_id=into_id, merged_on=on)
    )
    return add_edge(
        conn,
        owner_id=into_id,
        owned_id=party_id,
        share=Fraction(1),
        valid_from=on,
        evidence=evidence,
    )


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
    _party(conn, party_id, "/party")
    if chinese_partner_id is not None:
        _party(conn, chinese_partner_id, "/chinese_partner")
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


def end_project(conn: Connection, project_id: str, *, on: date) -> str:
    """Record the last day of a study; the report on its cooperation is due from then.

    Raises `ProblemError` `not_found`, `already_done`.
    """
    row = conn.execute(sa.select(_PROJECT).where(_PROJECT.c.id == project_id)).first()
    if row is None:
        raise ProblemError("not_found", f"there is no project `{project_id}`")
    if row.ended_on is not None:
        raise ProblemError("already_done", f"`{project_id}` ended on `{row.ended_on}`")
    conn.execute(sa.update(_PROJECT).where(_PROJECT.c.id == project_id).values(ended_on=on))
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
    _party(conn, employer_id, "/employer")
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


def _party(conn: Connection, party_id: str, pointer: str) -> Row[Any]:
    row = conn.execute(sa.select(_PARTY).where(_PARTY.c.id == party_id)).first()
    if row is None:
        wrong = _at(pointer, f"there is no party `{party_id}`")
        raise ProblemError("not_found", wrong.detail, errors=(wrong,))
    return row


def _at(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer, detail=detail)
