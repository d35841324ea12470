"""Consents: forms, what their ticks mean, what each donor agreed to, and what was taken back.

The rules it keeps: a tick means nothing until two people have signed a mapping of its form; a tick the
mapping does not know makes the whole profile unknown; two ticks that contradict each other say no.
A mapping is `{"always": PART, "ticks": {name: PART}}`, each PART with any of `permissions` and
`modifiers` (DUO codes, or `{"code": …, "values": […]}`), `told` (the six items) and `terms` (ours, true
or false). What stands after a tick's name, `ds:DOID:162`, `mor:2027-01-01`, `ts:24`, is the value of the
codes of that tick.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.tables import metadata, new_id
from policies import duo
from policies.consent import DuoTerm, Profile, ProfileId, Term, Told

_FORM = metadata.tables["consent_form"]
_MAPPING = metadata.tables["form_mapping"]
_PROFILE = metadata.tables["consent_profile"]
_WITHDRAWAL = metadata.tables["withdrawal"]

SCOPES = ("everything", "study", "data", "material", "contact")
_PARTS = frozenset({"permissions", "modifiers", "told", "terms"})

#: What every consent says whose form nobody has mapped, and every holding without a consent.
UNMAPPED = Profile(id=ProfileId("unmapped"), mapped=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A proposed or confirmed meaning of a form; counts once `confirmed_by` is there."""

    id: str
    form_id: str
    mapping: Mapping[str, Any]
    proposed_by: str
    proposed_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one row of `consent_profile` stands for, and the form it was ticked on."""

    profile: Profile
    form_id: str
    form_from: date
    form_void: bool


def register_form(  # noqa: PLR0913 - one row of the register, field by field
    conn: Connection,
    *,
    collection_id: str,
    version: str,
    title: str,
    ethics_paper_id: str | None,
    valid_from: date,
    valid_to: date | None,
    text_sha256: str,
    now: datetime,
) -> str:
    """Register a form's version for a collection; gives its id. It means nothing until mapped.

    Raises `already_done` for a version that is there, `not_found` for the collection.
    """
    collections = metadata.tables["collection"].c.id
    known = conn.execute(sa.select(collections).where(collections == collection_id)).first()
    if known is None:
        raise ProblemError("not_found", f"there is no collection `{collection_id}`")
    same = sa.and_(_FORM.c.collection_id == collection_id, _FORM.c.version == version)
    if conn.execute(sa.select(_FORM.c.id).where(same)).first() is not None:
        raise ProblemError("already_done", f"`{collection_id}` has a form `{version}` already")
    form_id = new_id("frm")
    conn.execute(
        sa.insert(_FORM).values(
            id=form_id,
            collection_id=collection_id,
            version=version,
            title=title,
            ethics_paper_id=ethics_paper_id,
            valid_from=valid_from,
            valid_to=valid_to,
            text_sha256=text_sha256,
            created_at=now,
        )
    )
    bump(conn)
    return form_id


def propose_mapping(
    conn: Connection, form_id: str, mapping: Mapping[str, Any], *, person_id: str, now: datetime
) -> Mapped:
    """The first person's reading of a form; counts for nothing yet.

    Raises `not_found`, or `unknown_term` naming each entry that is no code, item or term.
    """
    if conn.execute(sa.select(_FORM.c.id).where(_FORM.c.id == form_id)).first() is None:
        raise ProblemError("not_found", f"there is no form `{form_id}`")
    wrong = tuple(_mistakes(mapping))
    if wrong:
        raise ProblemError("unknown_term", wrong[0].detail, errors=wrong)
    mapping_id = new_id("map")
    conn.execute(
        sa.insert(_MAPPING).values(
            id=mapping_id,
            form_id=form_id,
            mapping=dict(mapping),
            proposed_by=person_id,
            proposed_at=now,
        )
    )
    return read_mapping(conn, mapping_id)


def confirm_mapping(conn: Connection, mapping_id: str, *, person_id: str, now: datetime) -> Mapped:
    """The second person's signature: from here on the form means this.

    Raises `same_person` if it is the first's, `already_done` if it has one.
    """
    proposed = read_mapping(conn, mapping_id)
    if proposed.confirmed_by is not None:
        raise ProblemError("already_done", f"mapping `{mapping_id}` is confirmed already")
    if proposed.proposed_by == person_id:
        raise ProblemError("same_person", "whoever proposed a mapping cannot confirm it")
    conn.execute(
        sa.update(_MAPPING)
        .where(_MAPPING.c.id == mapping_id)
        .values(confirmed_by=person_id, confirmed_at=now)
    )
    bump(conn)
    return read_mapping(conn, mapping_id)


def read_mapping(conn: Connection, mapping_id: str) -> Mapped:
    """One mapping; `ProblemError` `not_found`."""
    found = conn.execute(sa.select(_MAPPING).where(_MAPPING.c.id == mapping_id)).mappings()
    row = found.one_or_none()
    if row is None:
        raise ProblemError("not_found", f"there is no mapping `{mapping_id}`")
    return Mapped(**row)


def record_withdrawal(
    conn: Connection,
    donor_id: str,
    scope: str,
    *,
    project_id: str | None = None,
    channel: str,
    person_id: str,
    effective_at: datetime,
    now: datetime,
) -> str:
    """A donor takes back agreement: from everything, one study, data, material or contact.

    Gives the withdrawal's id. Raises `not_found` for the donor or project, `invalid_request` for a
    scope that does not exist or a study without (or anything else with) its project.
    """
    if scope not in SCOPES or (scope == "study") != (project_id is not None):
        wrong = FieldError(
            pointer="/scope",
            detail=f"`{scope}` must be one of {', '.join(SCOPES)}; `study` goes with its project, and "
            "no other does",
        )
        raise ProblemError("invalid_request", wrong.detail, errors=(wrong,))
    for table, subject in (("donor", donor_id), ("project", project_id)):
        ids = metadata.tables[table].c.id
        if subject and conn.execute(sa.select(ids).where(ids == subject)).first() is None:
            raise ProblemError("not_found", f"there is no {table} `{subject}`")
    withdrawal_id = new_id("wdr")
    conn.execute(
        sa.insert(_WITHDRAWAL).values(
            id=withdrawal_id,
            donor_id=donor_id,
            scope=scope,
            project_id=project_id,
            effective_at=effective_at,
            channel=channel,
            recorded_by=person_id,
            recorded_at=now,
        )
    )
    bump(conn, [donor_id])
    return withdrawal_id


def touches(
    *, scope: str, withdrawn_project: str | None, project_id: str, item_class: str | None
) -> bool:
    """Whether one withdrawal in force keeps one holding out of one project.

    One for data or material also covers a holding of unknown class; one from contact leaves samples and
    data where they are.
    """
    match scope:
        case "everything":
            return True
        case "study":
            return withdrawn_project == project_id
        case "data":
            return item_class != "material"
        case "material":
            return item_class != "information"
        case _:
            return False


def meanings(conn: Connection, profile_ids: Iterable[str]) -> dict[str, Meaning]:
    """What these rows of `consent_profile` mean today, by row id.

    Profiles that say the same share one `ProfileId`, a digest of what they say.
    """
    rows = conn.execute(
        sa.select(
            _PROFILE.c.id,
            _PROFILE.c.form_id,
            _PROFILE.c.ticks,
            _FORM.c.valid_from,
            _FORM.c.voided_at,
        )
        .join(_FORM, _FORM.c.id == _PROFILE.c.form_id)
        .where(_PROFILE.c.id.in_(sorted(set(profile_ids))))
    ).all()
    forms = sorted({row.form_id for row in rows})
    signed = conn.execute(
        sa.select(_MAPPING.c.form_id, _MAPPING.c.mapping)
        .where(_MAPPING.c.form_id.in_(forms), _MAPPING.c.confirmed_by.is_not(None))
        .order_by(_MAPPING.c.confirmed_at, _MAPPING.c.id)
    )
    latest = {row.form_id: row.mapping for row in signed}  # the one confirmed last stands
    texts = {form_id: json.dumps(mapping, sort_keys=True) for form_id, mapping in latest.items()}
    return {
        row.id: Meaning(
            profile=_read(texts.get(row.form_id), tuple(row.ticks)),
            form_id=row.form_id,
            form_from=row.valid_from,
            form_void=row.voided_at is not None,
        )
        for row in rows
    }


@lru_cache(maxsize=4096)
def _read(mapping: str | None, ticks: tuple[str, ...]) -> Profile:
    """`profile_from` of a mapping's text: sites share forms, requests share sites."""
    return profile_from(None if mapping is None else json.loads(mapping), ticks)


def profile_from(mapping: Mapping[str, Any] | None, ticks: Sequence[str]) -> Profile:
    """What a set of ticks says under a mapping; `UNMAPPED` without one, or with a foreign tick."""
    if mapping is None:
        return UNMAPPED
    parts: list[tuple[Mapping[str, Any], tuple[str, ...]]] = [(mapping.get("always", {}), ())]
    for tick in ticks:
        name, colon, value = tick.partition(":")
        part = mapping.get("ticks", {}).get(name)
        if part is None or bool(colon) != _asks_value(part):
            return UNMAPPED
        parts.append((part, (value,) if colon else ()))
    codes: dict[str, dict[str, set[str]]] = {"permissions": {}, "modifiers": {}}
    told: set[Told] = set()
    terms: dict[Term, bool] = {}
    for part, values in parts:
        for kind, found in codes.items():
            for code, own in _codes(part.get(kind, [])):
                taken = values if code in duo.PARAMETERS else ()
                found.setdefault(code, set()).update(own or taken)
        told |= {Told(item) for item in part.get("told", [])}
        for term, answer in part.get("terms", {}).items():
            terms[Term(term)] = answer and terms.get(Term(term), True)
    said = {
        kind: tuple(
            DuoTerm(code=code, values=tuple(sorted(values)))
            for code, values in sorted(found.items())
        )
        for kind, found in codes.items()
    }
    content = [
        [[[term.code, *term.values] for term in said[kind]] for kind in sorted(said)],
        sorted(told),
        sorted(terms.items()),
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return Profile(
        id=ProfileId(f"prf_{digest[:16]}"),
        mapped=True,
        permissions=said["permissions"],
        modifiers=said["modifiers"],
        told=frozenset(told),
        terms=dict(sorted(terms.items())),
    )


def _asks_value(part: Mapping[str, Any]) -> bool:
    """Whether a code of a tick wants what stands after the tick's name."""
    entries = [*_codes(part.get("permissions", [])), *_codes(part.get("modifiers", []))]
    return any(code in duo.PARAMETERS and not own for code, own in entries)


def _codes(entries: Sequence[str | Mapping[str, Any]]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry, ()
        else:
            yield entry["code"], tuple(entry["values"])


def _mistakes(mapping: Mapping[str, Any]) -> Iterable[FieldError]:
    if not mapping.keys() <= {"always", "ticks"} or not isinstance(mapping.get("ticks", {}), dict):
        yield FieldError(pointer="", detail="a mapping has `always` and `ticks`")
        return
    parts = {"/always": mapping.get("always", {})}
    parts |= {f"/ticks/{name}": part for name, part in mapping.get("ticks", {}).items()}
    for pointer, part in parts.items():
        if not isinstance(part, dict) or not part.keys() <= _PARTS:
            yield FieldError(pointer=pointer, detail=f"has only {sorted(_PARTS)}")
            continue
        yield from _wrong_in(pointer, part)


def _wrong_in(pointer: str, part: Mapping[str, Any]) -> Iterable[FieldError]:
    for kind in ("permissions", "modifiers"):
        for index, entry in enumerate(part.get(kind, [])):
            code = entry.get("code") if isinstance(entry, dict) else entry
            known = (
                set(duo.PERMISSIONS) if kind == "permissions" else set(duo.Duo) - duo.PERMISSIONS
            )
            if not isinstance(code, str) or code not in known:
                yield FieldError(
                    pointer=f"{pointer}/{kind}/{index}",
                    detail=f"`{code}` is not one of the {kind} of DUO release {duo.RELEASE}",
                )
    for item in part.get("told", []):
        if item not in set(Told):
            yield FieldError(pointer=f"{pointer}/told", detail=f"`{item}` is not a statutory item")
    for term, answer in part.get("terms", {}).items():
        if term not in set(Term) or not isinstance(answer, bool):
            yield FieldError(
                pointer=f"{pointer}/terms/{term}", detail="not a term, or not yes or no"
            )
