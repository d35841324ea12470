"""What officers call to state what the bank gave before the gateway kept count: two people, one file.

The file is proposed as it stands and kept to the byte; another person confirms it by its digest.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection
from starlette.responses import Response

from gateway import pep
from gateway.api import examples
from gateway.api.bodies import (
    ACCEPTS_JSON,
    Body,
    IdempotencyKey,
    OpenBank,
    answered,
    rendered,
    reply,
    sent,
)
from gateway.api.contract import Answer, operation
from gateway.api.schemas.registry import (
    AskedConfirmation,
    AskedOpening,
    ChangedOut,
    OpeningChange,
    OpeningConfirmedOut,
    OpeningLineOut,
    OpeningOut,
    OpeningsOut,
)
from gateway.api.views import reach
from gateway.bank import Bank
from gateway.identity.caller import Caller, require
from gateway.registry import openings
from gateway.registry.openings import Draft, Opening
from gateway.replies import Rendered

router = APIRouter(tags=["registry"], dependencies=[ACCEPTS_JSON])

Reading = Annotated[Caller, Depends(require("registry:read"))]
Writing = Annotated[Caller, Depends(require("registry:write"))]


@operation(
    summary="Propose opening balances",
    purpose="What the bank gave before this gateway kept count: donors by recipient, project, class and year, people "
    "abroad by number, and which counters that makes whole. The first of two people: nothing counts yet. The answer "
    "says what would change, and which open cases and live grants would come out otherwise. Every mistake of the file "
    "is named with its line.",
    answers={201: Answer(model=OpeningOut, says="The opening, not yet counted")},
    errors=("already_done",),
    example=examples.OPENING,
)
@router.post("/v1/openings")
async def propose_opening(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedOpening, Depends(Body(AskedOpening))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the opening."""
    draft = await asyncio.to_thread(openings.from_file, asked.content.encode())

    def part(conn: Connection) -> OpeningOut:
        made = openings.propose(conn, draft, person_id=caller.id, now=bank.now())
        return _whole(conn, bank, made, draft)

    how = await reply(request, caller, key, lambda out: rendered(out, 201))
    return sent(
        await pep.record_event(bank, caller, "opening.proposed", part, subjects=_named, reply=how)
    )


@operation(
    summary="Opening balances",
    purpose="All files that were proposed or confirmed, without what they say.",
    answers={200: Answer(model=OpeningsOut, says="The openings")},
)
@router.get("/v1/openings")
def list_openings(bank: OpenBank, _: Reading) -> Response:
    """All of them, oldest first."""
    with bank.database.read() as conn:
        data = [OpeningLineOut(**_line(one)) for one in openings.listed(conn)]
    return answered(OpeningsOut(data=data))


@operation(
    summary="One file of opening balances",
    purpose="The file, and until it counts what confirming it would change. It names donors, so that it was read is "
    "recorded.",
    answers={200: Answer(model=OpeningOut, says="The opening")},
    errors=("not_found",),
    fill={"opening_id": "{proposed_opening}"},
)
@router.get("/v1/openings/{opening_id}")
async def read_opening(
    request: Request, bank: OpenBank, caller: Writing, opening_id: str
) -> Response:
    """The opening with its file."""
    draft = await asyncio.to_thread(_draft, bank, opening_id)

    def part(conn: Connection) -> OpeningOut:
        return _whole(conn, bank, openings.read(conn, opening_id), draft)

    how = await reply(request, caller, None, rendered)
    return sent(
        await pep.record_event(bank, caller, "opening.read", part, subjects=_named, reply=how)
    )


@operation(
    summary="Confirm opening balances",
    purpose="The second person's word, quoting the digest of the file as it was read: from this entry on its lines "
    "count. Every open case and live grant is decided again with them; what no longer stands is suspended.",
    answers={200: Answer(model=OpeningConfirmedOut, says="Whom it reached")},
    errors=("not_found", "same_person", "already_done"),
    example=examples.CONFIRMATION,
    fill={"opening_id": "{proposed_opening}"},
)
@router.post("/v1/openings/{opening_id}:confirm")
async def confirm_opening(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    opening_id: str,
    asked: Annotated[AskedConfirmation, Depends(Body(AskedConfirmation))],
    key: IdempotencyKey = None,
) -> Response:
    """What the confirmation reached."""
    draft = await asyncio.to_thread(_draft, bank, opening_id)

    def show(done: pep.OpeningConfirmed) -> Rendered:
        return rendered(
            OpeningConfirmedOut(
                **_line(done.opening), leaf_index=done.leaf_index, reach=reach(done.reach)
            )
        )

    how = await reply(request, caller, key, show)
    return sent(
        await pep.confirm_opening(bank, caller, opening_id, draft, digest=asked.sha256, reply=how)
    )


def _draft(bank: Bank, opening_id: str) -> Draft:
    with bank.database.read() as conn:
        content = openings.content(conn, opening_id)
    return openings.from_file(content)


def _named(out: OpeningOut) -> dict[str, str]:
    return {"opening": out.id, "sha256": out.sha256}


def _whole(conn: Connection, bank: Bank, made: Opening, draft: Draft) -> OpeningOut:
    waits = made.confirmed_at is None
    changes = openings.changes(conn, draft) if waits else ()
    found = pep.opening_foreseen(conn, bank, made, draft) if waits else None
    return OpeningOut(
        reaches=None if found is None else [ChangedOut(**asdict(one)) for one in found.changed],
        undecidable=[] if found is None else list(found.undecidable),
        **_line(made),
        content=draft.content.decode(),
        changes=[
            OpeningChange(counter=one.counter, of=list(one.of), before=one.before, after=one.after)
            for one in changes
        ],
    )


def _line(made: Opening) -> dict[str, Any]:
    return {
        "id": made.id,
        "sha256": made.sha256,
        "through": made.through,
        "whole": list(made.whole),
        "corrects": made.corrects,
        "corrected_by": made.corrected_by,
        "proposed_by": made.proposed_by,
        "proposed_at": made.proposed_at,
        "confirmed_by": made.confirmed_by,
        "confirmed_at": made.confirmed_at,
    }
