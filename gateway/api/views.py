"""Rows and room values as the shapes of the contract."""

from __future__ import annotations

from gateway.api import answers
from gateway.api.reads import ReleaseRow
from gateway.api.schemas.researcher import GrantOut, ReleaseOut, RequestOut
from gateway.identity.scopes import Caller
from gateway.pep import Released
from gateway.registry import requests
from gateway.registry.requests import Request
from gateway.release.grants import Grant


def request(row: Request) -> RequestOut:
    """A request with what its current version says."""
    return RequestOut(
        id=row.id,
        project=row.project_id,
        state=row.state,
        version=row.version,
        revision=row.revision,
        ask=requests.body(row.ask),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def grant(caller: Caller, row: Grant, counts: tuple[int, int]) -> GrantOut:
    """A grant with its distinct donors and its items, as the caller may see them."""
    exact = answers.is_exact(caller)
    return GrantOut(
        id=row.id,
        request=row.request_id,
        decision=row.decision_id,
        project=row.project_id,
        state=row.state.value,
        until=row.until,
        people=answers.number(counts[0], exact=exact),
        items=answers.number(counts[1], exact=exact),
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def release(row: ReleaseRow) -> ReleaseOut:
    """A release; whoever may see it was given exactly what its manifest lists."""
    return ReleaseOut(
        id=row.id,
        grant=row.grant_id,
        decision=row.decision_id,
        state=row.state,
        manifest=row.manifest.decode(),
        manifest_sha256=row.manifest_sha256,
        visa=row.visa,
        left_out=None,
        handed_how=row.handed_how,
        handed_at=row.handed_at,
        received_by=row.received_by,
        received_at=row.received_at,
        receipt_sha256=row.receipt_sha256,
        created_at=row.created_at,
    )


def released(made: Released) -> ReleaseOut:
    """A release just authorized: nothing has left yet."""
    return ReleaseOut(
        id=made.release_id,
        grant=made.grant_id,
        decision=made.answer.decision_id,
        state="intended",
        manifest=made.manifest.decode(),
        manifest_sha256=made.manifest_sha256,
        visa=made.visa,
        left_out=answers.number(made.removed, exact=False),
        handed_how="",
        handed_at=None,
        received_by="",
        received_at=None,
        receipt_sha256="",
        created_at=made.answer.decided_at,
    )
