"""What anybody may call: the contract itself, what a problem code means, whether the bank is well."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from sqlalchemy import Connection
from starlette.responses import Response

from audit import log
from gateway.api import contract
from gateway.api.bodies import ACCEPTS_JSON, OpenBank, answered
from gateway.api.operation import Answer, operation
from gateway.api.schemas.parts import Health, ProblemKind, Words
from gateway.errors import KINDS, ProblemError
from gateway.identity.caller import public

router = APIRouter(tags=["public"], dependencies=[Depends(public()), ACCEPTS_JSON])


@operation(
    summary="This contract",
    purpose="OpenAPI 3.1, as committed with the code.",
    answers={200: Answer(says="The contract", media=("application/json",))},
)
@router.get("/openapi.json")
def read_contract(request: Request) -> Response:
    """The contract of the running code."""
    return Response(contract.text(request.app), media_type="application/json")


@operation(
    summary="What a problem code means",
    purpose="In both languages; every problem document's `type` leads here.",
    answers={200: Answer(model=ProblemKind, says="What it means")},
    errors=("not_found",),
    fill={"code": "not_releasable"},
)
@router.get("/problems/{code}")
def read_problem(code: Annotated[str, Path(examples=["not_releasable"])]) -> Response:
    """Status and title of a code."""
    kind = KINDS.get(code)
    if kind is None:
        raise ProblemError("not_found", f"no problem code `{code}`")
    return answered(ProblemKind(code=code, status=kind.status, title=Words(zh=kind.zh, en=kind.en)))


@operation(
    summary="Whether the bank can decide and record",
    purpose="For whoever watches over it: the writer answers, the log's head is whole, nothing is in "
    "doubt.",
    answers={200: Answer(model=Health, says="It can")},
    errors=("log_unavailable", "outcome_unknown", "busy"),
)
@router.get("/healthz")
async def read_health(request: Request, bank: OpenBank) -> Response:
    """200 if the writer answers and the head is whole; a problem otherwise."""
    if request.app.state.doubt.reason:
        raise ProblemError("log_unavailable", "the log is in doubt; see the operator's console")

    def look(conn: Connection) -> int:
        log.check_head(conn, bank.origin)
        return log.head(conn, bank.origin).size

    size = await bank.database.write_async(look)
    return answered(Health(status="ok", log_size=size, checked_at=bank.now()))
