"""Requests and their versions: draft, submit, amend, withdraw, close. What was submitted stays.

Unit parts: plain functions of a connection inside the writer's transaction. A request of another
organisation and one that does not exist are the same `not_found`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import Connection

from gateway.errors import FieldError, ProblemError
from gateway.registry.ask import Ask
from gateway.tables import AccessRequest, DecisionRow, RequestVersion, new_id, table_of

_requests = table_of(AccessRequest)
_versions = table_of(RequestVersion)
_decisions = table_of(DecisionRow)

# Said once: to build a statement costs more than to run it.
_CREATE, _SAVE = sa.insert(_requests), sa.insert(_versions)
_SUBMIT = (
    sa.update(_versions)
    .where(
        _versions.c.request_id == sa.bindparam("request"), _versions.c.n == sa.bindparam("version")
    )
    .values(submitted_at=sa.bindparam("at"))
)
_MOVE = (
    sa.update(_requests)
    .where(_requests.c.id == sa.bindparam("request"))
    .values(
        state=sa.bindparam("to"),
        revision=_requests.c.revision + 1,
        updated_at=sa.bindparam("at"),
    )
    .returning(_requests.c.revision)
)

#: States from which nothing more can come.
ENDED = frozenset({"withdrawn", "closed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two versions of a request differ (RFC 6901 pointer)."""

    pointer: str
    before: object
    after: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it stands, with what its current version says."""

    id: str
    party_id: str
    key_id: str
    project_id: str
    state: str
    version: int
    revision: int
    ask: Ask
    created_at: datetime
    updated_at: datetime


def create(
    conn: Connection, ask: Ask, *, party_id: str, key_id: str, saved_by: str, now: datetime
) -> Request:
    """A new request in state draft, version 1."""
    made = Request(
        id=new_id("req"),
        party_id=party_id,
        key_id=key_id,
        project_id=ask.project,
        state="draft",
        version=1,
        revision=1,
        ask=ask,
        created_at=now,
        updated_at=now,
    )
    columns = {name: getattr(made, name) for name in Request.__slots__ if name != "ask"}
    conn.execute(_CREATE, columns)
    _save(conn, made.id, 1, ask, saved_by=saved_by, now=now)
    return made


def get(conn: Connection, request_id: str, *, party_id: str | None) -> Request:
    """The request; `party_id` None is the bank's own officers. Raises `not_found`."""
    query = sa.select(_requests, _versions.c.body).join(
        _versions,
        sa.and_(_versions.c.request_id == _requests.c.id, _versions.c.n == _requests.c.version),
    )
    query = query.where(_requests.c.id == request_id)
    if party_id is not None:
        query = query.where(_requests.c.party_id == party_id)
    row = conn.execute(query).first()
    if row is None:
        raise ProblemError("not_found", f"no request `{request_id}`")
    return _from_row(row)


def of_decision(conn: Connection, decision_id: str) -> Request:
    """The request as the version a decision was made on said it, whatever was drafted since."""
    query = (
        sa.select(_requests, _versions.c.body, _versions.c.n)
        .join(_decisions, _decisions.c.request_id == _requests.c.id)
        .join(
            _versions,
            sa.and_(
                _versions.c.request_id == _decisions.c.request_id,
                _versions.c.n == _decisions.c.version,
            ),
        )
        .where(_decisions.c.id == decision_id)
    )
    row = conn.execute(query).one()
    return replace(_from_row(row), version=row.n)


def listing(
    conn: Connection, *, party_id: str | None, limit: int, starting_after: str | None
) -> tuple[tuple[Request, ...], bool]:
    """Newest first, stable under inserts; the flag says whether more follow.

    `party_id` None is every organisation's, for the bank's own people.
    """
    query = sa.select(_requests, _versions.c.body).join(
        _versions,
        sa.and_(_versions.c.request_id == _requests.c.id, _versions.c.n == _requests.c.version),
    )
    if party_id is not None:
        query = query.where(_requests.c.party_id == party_id)
    if starting_after is not None:
        after = get(conn, starting_after, party_id=party_id)
        query = query.where(
            sa.tuple_(_requests.c.created_at, _requests.c.id)
            < sa.tuple_(sa.bindparam("at", after.created_at, _requests.c.created_at.type), after.id)
        )
    query = query.order_by(_requests.c.created_at.desc(), _requests.c.id.desc()).limit(limit + 1)
    rows = conn.execute(query).all()
    return tuple(_from_row(r) for r in rows[:limit]), len(rows) > limit


def amend(
    conn: Connection, request: Request, patch: bytes, *, saved_by: str, now: datetime
) -> Request:
    """Apply a JSON merge patch (RFC 7396): a draft is changed in place, else the next version begins.

    Raises `state_conflict` for an ended request, `invalid_request` where the result is no request.
    """
    if request.state in ENDED:
        raise ProblemError("state_conflict", f"the request is `{request.state}`")
    ask = ask_from(_merge(body(request.ask), _parse(patch)))
    version = request.version if request.state == "draft" else request.version + 1
    conn.execute(
        sa.delete(_versions).where(
            _versions.c.request_id == request.id,
            _versions.c.n == version,
            _versions.c.submitted_at.is_(None),
        )
    )
    _save(conn, request.id, version, ask, saved_by=saved_by, now=now)
    conn.execute(
        sa.update(_requests)
        .where(_requests.c.id == request.id)
        .values(version=version, project_id=ask.project)
    )
    set_state(conn, request.id, "draft", now=now)
    return get(conn, request.id, party_id=None)


def mark_submitted(conn: Connection, request: Request, *, now: datetime) -> None:
    """Freeze the current version."""
    conn.execute(_SUBMIT, {"request": request.id, "version": request.version, "at": now})


def set_state(conn: Connection, request_id: str, state: str, *, now: datetime) -> int:
    """Move a request on; returns its new revision."""
    moved = conn.execute(_MOVE, {"request": request_id, "to": state, "at": now})
    return int(moved.scalar_one())


def difference(conn: Connection, request: Request) -> tuple[Difference, ...]:
    """What the current version changes against the last submitted one; empty for the first."""
    if request.version == 1:
        return ()
    query = sa.select(_versions.c.body).where(
        _versions.c.request_id == request.id, _versions.c.n == request.version - 1
    )
    before = conn.execute(query).scalar()
    if before is None:
        return ()
    return tuple(_differences("", json.loads(before), body(request.ask)))


def verify_revision(request: Request, revision: int | None) -> None:
    """`If-Match` must name the revision the caller saw (RFC 9110 §13.1.1)."""
    if revision is None:
        raise ProblemError("precondition_required", "send the ETag you last saw as If-Match")
    if request.revision != revision:
        raise ProblemError(
            "precondition_failed", f"you saw revision `{revision}`, it is `{request.revision}`"
        )


def ask_from(value: object) -> Ask:
    """An `Ask` from decoded JSON; raises `invalid_request` with a pointer for every mistake."""
    try:
        return Ask.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise ProblemError(
            "invalid_request",
            "the request does not fit the contract",
            errors=tuple(
                FieldError(pointer="".join(f"/{p}" for p in e["loc"]), detail=e["msg"])
                for e in error.errors()
            ),
        ) from error


def body(ask: Ask) -> dict[str, object]:
    """What a request says, as JSON values; what was left out stays left out."""
    decoded: dict[str, object] = json.loads(ask.model_dump_json(exclude_unset=True))
    return decoded


def _save(
    conn: Connection, request_id: str, n: int, ask: Ask, *, saved_by: str, now: datetime
) -> None:
    text = json.dumps(body(ask), ensure_ascii=False, sort_keys=True).encode()
    saved = {"request_id": request_id, "n": n, "body": text, "saved_by": saved_by, "saved_at": now}
    conn.execute(_SAVE, saved)


def _from_row(row: sa.Row[tuple[object, ...]]) -> Request:
    values = row._mapping  # noqa: SLF001 - the public name SQLAlchemy gives to a row's mapping
    return Request(
        **{name: values[name] for name in Request.__slots__ if name != "ask"},
        ask=Ask.model_validate_json(values["body"]),
    )


def _parse(patch: bytes) -> object:
    try:
        return json.loads(patch)
    except ValueError as error:
        raise ProblemError("malformed_body", "the patch is not JSON") from error


def _merge(target: object, patch: object) -> object:
    # RFC 7396 §2: MergePatch(Target, Patch)
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged


def _differences(pointer: str, before: object, after: object) -> list[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for name in sorted(before.keys() | after.keys())
            for found in _differences(f"{pointer}/{name}", before.get(name), after.get(name))
        ]
    if before == after:
        return []
    return [Difference(pointer=pointer, before=before, after=after)]
