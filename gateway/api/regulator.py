"""What auditors and regulators call: audit exports, made, listed and downloaded.

A package verifies offline with the file `verify.py` inside it and trusts nothing of ours.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, Response

from gateway import pep
from gateway.api.bodies import (
    ACCEPTS_JSON,
    Accepts,
    After,
    IdempotencyKey,
    Limit,
    OpenBank,
    answered,
    rendered,
    reply,
    sent,
)
from gateway.api.contract import Answer, operation
from gateway.api.schemas.parts import Page
from gateway.api.schemas.staff import ExportOut
from gateway.identity.caller import Caller, require
from gateway.replies import Rendered, replayed
from gateway.reports import exports
from gateway.reports.exports import Export

router = APIRouter(tags=["regulator"])

Exporting = Annotated[Caller, Depends(require("audit:export"))]
Reading = Annotated[Caller, Depends(require("audit:read"))]

ZIP = "application/zip"


@operation(
    summary="Export the log",
    purpose="Everything recorded so far, in one package: entries, decision documents, the rules they "
    "were decided by, and a verifier that needs nothing of the bank. That it was made is itself recorded.",
    answers={201: Answer(model=ExportOut, says="The export", headers={"Location": "the export"})},
)
@router.post("/v1/audit/exports", dependencies=[ACCEPTS_JSON])
async def make_export(
    request: Request, bank: OpenBank, caller: Exporting, key: IdempotencyKey = None
) -> Response:
    """201 with the export; its package is at `package`."""

    def render(made: Export) -> Rendered:
        return rendered(_export(made), 201, {"Location": f"/v1/audit/exports/{made.id}"})

    how = await reply(request, caller, key, render)
    if (before := replayed(bank, how)) is not None:
        return sent(before)  # a retry makes no second file
    made = await asyncio.to_thread(exports.make, bank, asked_by=caller.id)
    return sent(
        await pep.record_event(
            bank,
            caller,
            "audit.exported",
            lambda conn: exports.record(conn, made),
            subjects=lambda row: {"export": row.id, "size": str(row.size), "sha256": row.sha256},
            reply=how,
        )
    )


@operation(
    summary="Audit exports",
    purpose="Oldest first, with digest and size of each package.",
    answers={200: Answer(model=Page[ExportOut], says="Some exports")},
    errors=("not_found",),
)
@router.get("/v1/audit/exports", dependencies=[ACCEPTS_JSON])
def list_exports(bank: OpenBank, _: Reading, limit: Limit = 20, after: After = None) -> Response:
    """One page of exports."""
    with bank.database.read() as conn:
        page = exports.list_exports(conn, limit=limit, starting_after=after)
    data = [_export(row) for row in page.exports]
    return answered(Page[ExportOut](data=data, has_more=page.has_more))


@operation(
    summary="One audit export",
    purpose="Its digest, size and how much of the log it holds.",
    answers={200: Answer(model=ExportOut, says="The export")},
    errors=("not_found",),
    fill={"export_id": "{export}"},
)
@router.get("/v1/audit/exports/{export_id}", dependencies=[ACCEPTS_JSON])
def read_export(bank: OpenBank, _: Reading, export_id: str) -> Response:
    """The export."""
    with bank.database.read() as conn:
        return answered(_export(exports.get(conn, export_id)))


@operation(
    summary="Download an audit package",
    purpose="The zip whose SHA-256 the export names; byte ranges are served. The download is recorded.",
    answers={200: Answer(says="The package", media=(ZIP,))},
    errors=("not_found",),
    fill={"export_id": "{export}"},
)
@router.get("/v1/audit/exports/{export_id}/package", dependencies=[Depends(Accepts(ZIP))])
async def download_package(
    request: Request, bank: OpenBank, caller: Exporting, export_id: str
) -> Response:
    """The file, as a stream."""
    how = await reply(request, caller, None, lambda row: rendered(_export(row)))
    await pep.record_event(
        bank,
        caller,
        "audit.downloaded",
        lambda conn: exports.get(conn, export_id),
        subjects=lambda row: {"export": row.id},
        reply=how,
    )
    with bank.database.read() as conn:
        row = exports.get(conn, export_id)
    path = exports.path_of(bank, row)
    return FileResponse(path, media_type=ZIP, filename=row.file_name)


def _export(row: Export) -> ExportOut:
    return ExportOut(
        id=row.id,
        asked_by=row.asked_by,
        size=row.size,
        sha256=row.sha256,
        bytes=row.bytes,
        created_at=row.created_at,
        package=f"/v1/audit/exports/{row.id}/package",
    )
