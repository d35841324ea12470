"""Releases: asked for by the holder of a grant, handed over by the bank's staff, acknowledged."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection
from starlette.responses import Response

from gateway import effects, pep
from gateway.api import answers, examples, reads, views
from gateway.api.bodies import (
    ACCEPTS_JSON,
    Body,
    IdempotencyKey,
    OpenBank,
    refused,
    rendered,
    reply,
    sent,
)
from gateway.api.contract import Answer, operation
from gateway.api.schemas.researcher import AskedReceipt, ReleaseOut
from gateway.api.schemas.staff import AskedHandover, PickListOut, PickOut
from gateway.errors import ProblemError
from gateway.identity.caller import Caller, require
from gateway.release import handover
from gateway.release.handover import HandOver, Way
from gateway.replies import Rendered

router = APIRouter(tags=["releases"], dependencies=[ACCEPTS_JSON])

Reading = Annotated[Caller, Depends(require("releases:read"))]
Releasing = Annotated[Caller, Depends(require("releases:write"))]
HandingOver = Annotated[Caller, Depends(require("handovers:write"))]

_RELEASE = Answer(model=ReleaseOut, says="The release")


@operation(
    summary="Have something released under a grant",
    purpose="Decides again, today: whoever withdrew since the grant is left out. Answers with the "
    "manifest under the project's pseudonyms and a signed GA4GH visa; the intent is durable before. "
    "`Idempotency-Key` is required, so that a retry never releases twice. If today's decision does not "
    "let the grant stand, the grant is suspended and the problem `not_releasable` carries that decision "
    "as its member `decision`.",
    answers={
        201: Answer(model=ReleaseOut, says="The release", headers={"Location": "the release"})
    },
    errors=("not_found", "not_releasable", "idempotency_key_missing", "decision_failed"),
    fill={"grant_id": "{grant}"},
)
@router.post("/v1/grants/{grant_id}/releases")
async def release_grant(
    request: Request,
    bank: OpenBank,
    caller: Releasing,
    grant_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """201 with the release, or 409 with the decision that refused it."""
    if key is None:
        raise ProblemError("idempotency_key_missing", "a release needs an `Idempotency-Key`")

    def render(made: effects.Released | pep.ReleaseRefused) -> Rendered:
        if isinstance(made, pep.ReleaseRefused):
            refusal = ProblemError(
                "not_releasable", "today's decision does not let the grant stand"
            )
            why = answers.decision(bank, caller, made.answer)
            return refused(refusal, request, decision=why.model_dump(mode="json"))
        headers = {"Location": f"/v1/releases/{made.release_id}"}
        return rendered(views.released(made), 201, headers)

    how = await reply(request, caller, key, render)
    return sent(await pep.authorize_release(bank, caller, grant_id, reply=how))


@operation(
    summary="One release",
    purpose="Manifest, visa, and how far it got. Reading it leaves an entry in the log.",
    answers={200: _RELEASE},
    errors=("not_found",),
    fill={"release_id": "{release}"},
)
@router.get("/v1/releases/{release_id}")
async def read_release(
    request: Request, bank: OpenBank, caller: Reading, release_id: str
) -> Response:
    """The release as it stands."""
    side = caller.party_id if caller.kind == "key" else None
    how = await reply(request, caller, None, lambda row: rendered(views.release(row)))
    return sent(
        await pep.record_event(
            bank,
            caller,
            "release.read",
            lambda conn: reads.release(conn, release_id, party_id=side),
            subjects=lambda row: {"release": row.id, "grant": row.grant_id},
            reply=how,
        )
    )


@operation(
    summary="What to fetch for a release",
    purpose="For the bank's staff: the bank's own codes beside those of the manifest, and what was taken "
    "out of the grant since and must stay. Reading it leaves an entry in the log.",
    answers={200: Answer(model=PickListOut, says="The pick list")},
    errors=("not_found",),
    fill={"release_id": "{release}"},
)
@router.get("/v1/releases/{release_id}/pick-list")
async def read_pick_list(
    request: Request, bank: OpenBank, caller: HandingOver, release_id: str
) -> Response:
    """Everything of the release, by the bank's code."""
    pseudonym = bank.keys.pseudonym

    def render(picks: tuple[handover.Pick, ...]) -> Rendered:
        return rendered(PickListOut(data=[PickOut(**asdict(pick)) for pick in picks]))

    how = await reply(request, caller, None, render)
    return sent(
        await pep.record_event(
            bank,
            caller,
            "release.pick_list_read",
            lambda conn: handover.pick_list(conn, release_id, pseudonym=pseudonym),
            subjects=lambda _: {"release": release_id},
            reply=how,
        )
    )


@operation(
    summary="Record the handing-over of a release",
    purpose="For the bank's staff: how it left, and the tubes and checksums as they were scanned. What "
    "differs from the release is refused.",
    answers={200: _RELEASE},
    errors=("not_found", "state_conflict", "not_releasable"),
    example=examples.HANDOVER,
    fill={"release_id": "{release}"},
)
@router.post("/v1/releases/{release_id}/handover")
async def hand_over(
    request: Request,
    bank: OpenBank,
    caller: HandingOver,
    release_id: str,
    asked: Annotated[AskedHandover, Depends(Body(AskedHandover))],
    key: IdempotencyKey = None,
) -> Response:
    """The release, handed over."""
    handed = HandOver(how=Way(asked.how), tubes=frozenset(asked.tubes), files=asked.files)
    how = await reply(request, caller, key, lambda row: rendered(views.release(row)))

    def part(conn: Connection) -> reads.ReleaseRow:
        handover.record_handover(conn, release_id, handed, by=caller.id, now=bank.now())
        return reads.release(conn, release_id, party_id=None)

    return sent(
        await pep.record_event(
            bank,
            caller,
            "release.handed_over",
            part,
            subjects=lambda row: {
                "release": row.id,
                "grant": row.grant_id,
                "manifest": row.manifest_sha256,
            },
            reply=how,
        )
    )


@operation(
    summary="Record that a handing-over failed",
    purpose="For the bank's staff: nobody can say what reached the other side, so tubes stay drawn and "
    "people counted.",
    answers={200: _RELEASE},
    errors=("not_found", "state_conflict"),
    fill={"release_id": "{release}"},
)
@router.post("/v1/releases/{release_id}:break")
async def break_release(
    request: Request,
    bank: OpenBank,
    caller: HandingOver,
    release_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """The release, broken."""
    how = await reply(request, caller, key, lambda row: rendered(views.release(row)))

    def part(conn: Connection) -> reads.ReleaseRow:
        handover.record_break(conn, release_id, by=caller.id, now=bank.now())
        return reads.release(conn, release_id, party_id=None)

    return sent(
        await pep.record_event(
            bank,
            caller,
            "release.broken",
            part,
            subjects=lambda row: {"release": row.id, "grant": row.grant_id},
            reply=how,
        )
    )


@operation(
    summary="Acknowledge a release",
    purpose="The receiving organisation's receipt: it quotes the manifest it is for.",
    answers={200: _RELEASE},
    errors=("not_found", "state_conflict"),
    example=examples.RECEIPT,
    fill={"release_id": "{handed_release}"},
)
@router.post("/v1/releases/{release_id}/receipt")
async def acknowledge(
    request: Request,
    bank: OpenBank,
    caller: Releasing,
    release_id: str,
    asked: Annotated[AskedReceipt, Depends(Body(AskedReceipt))],
    key: IdempotencyKey = None,
) -> Response:
    """The release, received."""
    how = await reply(request, caller, key, lambda row: rendered(views.release(row)))

    def part(conn: Connection) -> reads.ReleaseRow:
        handover.record_receipt(
            conn,
            release_id,
            party_id=caller.party_id,
            manifest_sha256=asked.manifest_sha256,
            receipt=asked.statement.encode(),
            by=caller.id,
            now=bank.now(),
        )
        return reads.release(conn, release_id, party_id=caller.party_id)

    return sent(
        await pep.record_event(
            bank,
            caller,
            "release.received",
            part,
            subjects=lambda row: {
                "release": row.id,
                "grant": row.grant_id,
                "receipt": row.receipt_sha256,
            },
            reply=how,
        )
    )
