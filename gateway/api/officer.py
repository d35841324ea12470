"""What officers call: sign in and out, the review queue, donors' withdrawals."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from gateway import deciding, pep
from gateway.api import answers, examples, headroom, reads
from gateway.api.bodies import (
    ACCEPTS_JSON,
    After,
    Body,
    IdempotencyKey,
    IfMatch,
    Limit,
    OpenBank,
    answered,
    etag,
    rendered,
    reply,
    revision_of,
    sent,
)
from gateway.api.contract import Answer, operation
from gateway.api.schemas.parts import Page
from gateway.api.schemas.staff import (
    AskedCommand,
    AskedSession,
    AskedWithdrawal,
    CaseLineOut,
    CaseOut,
    CommandOut,
    EventOut,
    ReceiverOut,
    SessionOut,
    TouchedOut,
    WithdrawalOut,
)
from gateway.errors import FieldError, ProblemError
from gateway.identity import people
from gateway.identity.caller import Caller, public, require
from gateway.registry import facts, requests
from gateway.replies import Rendered
from gateway.review import cases
from gateway.review.workflow import shipped

router = APIRouter(tags=["officer"], dependencies=[ACCEPTS_JSON])

Reading = Annotated[Caller, Depends(require("review:read"))]
Deciding = Annotated[Caller, Depends(require("review:decide"))]
Writing = Annotated[Caller, Depends(require("registry:write"))]
SignedIn = Annotated[Caller, Depends(require("sessions:self"))]

State = Annotated[str | None, Query(json_schema_extra={"enum": sorted(shipped().states)})]


@operation(
    summary="Sign in",
    purpose="For people of the bank, auditors and regulators: password and code. The token is in this "
    "answer and nowhere else; send it as `Authorization: Bearer`.",
    answers={201: Answer(model=SessionOut, says="The session, with its token")},
    errors=("sign_in_refused",),
    example=examples.SESSION,
)
@router.post("/v1/sessions", dependencies=[Depends(public())])
async def open_session(
    request: Request,
    bank: OpenBank,
    asked: Annotated[AskedSession, Depends(Body(AskedSession))],
) -> Response:
    """201 with the token; every refusal looks the same."""

    def prove() -> people.Proof:
        with bank.database.read() as conn:
            return people.prove_password(conn, asked.login, asked.password)

    proof = await asyncio.to_thread(prove)
    enter = partial(people.sign_in, bank=bank, proof=proof, code=asked.code)

    def render(outcome: people.SignedIn | people.Refused) -> Rendered:
        if isinstance(outcome, people.Refused):
            return Rendered(status=401, body=b"")
        return rendered(
            SessionOut(
                id=outcome.session_id,
                token=outcome.token,
                person=outcome.person_id,
                roles=sorted(outcome.roles),
                expires_at=outcome.expires_at,
            ),
            201,
        )

    def subjects(outcome: people.SignedIn | people.Refused) -> dict[str, str]:
        if isinstance(outcome, people.Refused):
            return {"refused": "code"}
        return {"session": outcome.session_id}

    if proof.person_id is None or not proof.is_right:
        # Counted, but no entry: whoever guesses passwords must not be able to grow the log.
        outcome = await bank.database.write_async(enter)
        raise (outcome if isinstance(outcome, people.Refused) else _refused()).problem()
    caller = Caller(
        kind="person", id=proof.person_id, name="", party_id=bank.party_id, scopes=frozenset()
    )
    how = await reply(request, caller, None, render)
    answer = await pep.record_event(
        bank, caller, "session.opened", enter, subjects=subjects, reply=how
    )
    if answer.status == 401:
        raise _refused().problem()
    return sent(answer)


def _refused() -> people.Refused:
    return people.Refused(person_id=None, locked_until=None)


@operation(
    summary="Sign out",
    purpose="Ends the session that this is sent with.",
    answers={204: Answer(says="Signed out")},
)
@router.delete("/v1/sessions")
async def close_session(request: Request, bank: OpenBank, caller: SignedIn) -> Response:
    """204; the token is worth nothing from here on."""
    session_id = caller.session_id or ""
    how = await reply(request, caller, None, lambda _: Rendered(status=204, body=b""))
    await pep.record_event(
        bank,
        caller,
        "session.closed",
        lambda conn: people.sign_out(conn, session_id, now=bank.now()),
        subjects=lambda _: {"session": session_id},
        reply=how,
    )
    return Response(status_code=204)


@operation(
    summary="The review queue",
    purpose="Oldest case first; `state` narrows it.",
    answers={200: Answer(model=Page[CaseLineOut], says="Some cases")},
    errors=("not_found",),
)
@router.get("/v1/cases")
def list_cases(
    bank: OpenBank, _: Reading, state: State = None, limit: Limit = 20, after: After = None
) -> Response:
    """One page of the queue."""
    with bank.database.read() as conn:
        page = cases.list_cases(conn, state=state, limit=limit, starting_after=after)
    data = [
        CaseLineOut(
            id=row.id,
            request=row.request_id,
            decision=row.decision_id,
            state=row.state,
            revision=row.revision,
            opened_at=row.opened_at,
            updated_at=row.updated_at,
        )
        for row in page.cases
    ]
    return answered(Page[CaseLineOut](data=data, has_more=page.has_more))


@operation(
    summary="One case",
    purpose="Its history, the decision in force with exact figures, what can be done now, which findings "
    "need a reason each, and what counters and quotas come to with it, as of today.",
    answers={200: Answer(model=CaseOut, says="The case", headers={"ETag": "its revision"})},
    errors=("not_found",),
    fill={"case_id": "{case}"},
)
@router.get("/v1/cases/{case_id}")
def read_case(bank: OpenBank, caller: Reading, case_id: str) -> Response:
    """The case with its ETag."""
    with bank.database.read() as conn:
        row = cases.get_case(conn, case_id)
        asked = requests.get(conn, row.request_id, party_id=None)
        ask, room = asked.ask, headroom.of_request(conn, bank, asked)
        datasets = facts.asked_datasets(conn, bank, ask)
    made = deciding.read_decision(bank, row.decision_id, party_id=None)
    shape = CaseOut(
        id=row.id,
        request=row.request_id,
        decision=row.decision_id,
        state=row.state,
        revision=row.revision,
        opened_at=row.opened_at,
        updated_at=row.updated_at,
        commands=[str(command) for command in row.commands],
        dispose=list(row.dossier.dispose),
        blocked=list(row.dossier.blocked),
        ask=requests.body(ask),
        datasets=sorted(datasets),
        events=[
            EventOut(
                n=one.n,
                event=one.event,
                from_state=one.from_state,
                to_state=one.to_state,
                person=one.person_id,
                reason=one.reason,
                data=dict(one.data),
                leaf_index=one.leaf_index,
                at=one.at,
            )
            for one in row.events
        ],
        headroom=room,
        evaluation=answers.decision(bank, caller, made),
    )
    return answered(shape, headers=etag(row.revision))


@operation(
    summary="Act on a case",
    purpose="`recommend` by a first officer, then `concur` or `return` by another; `redecide` after a "
    "paper or finding was recorded. An approval is decided again first: if it no longer stands it "
    "becomes a new decision, not a grant.",
    answers={200: Answer(model=CommandOut, says="What it did", headers={"ETag": "its revision"})},
    errors=(
        "not_found",
        "precondition_required",
        "precondition_failed",
        "state_conflict",
        "role_missing",
        "same_person",
        "conflict_of_interest",
        "decision_failed",
    ),
    example={"command": "redecide"},
    fill={"case_id": "{case}"},
)
@router.post("/v1/cases/{case_id}/commands")
async def command_case(
    request: Request,
    bank: OpenBank,
    caller: Deciding,
    case_id: str,
    asked: Annotated[AskedCommand, Depends(Body(AskedCommand))],
    key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """200 with what happened."""

    def render(done: pep.CaseAnswer) -> Rendered:
        made = done.answer
        shape = CommandOut(
            case=done.case_id,
            state=done.state,
            event=done.event,
            revision=done.revision,
            leaf_index=done.leaf_index,
            grant=done.grant_id,
            evaluation=answers.decision(bank, caller, made) if made else None,
        )
        return rendered(shape, headers=etag(done.revision))

    command, recommendation = asked.named()
    wanted = cases.Asked(
        command=command,
        reason=asked.reason,
        recommendation=recommendation,
        dispositions=asked.dispositions,
    )
    how, revision = await reply(request, caller, key, render), revision_of(if_match)
    return sent(await pep.resolve_case(bank, caller, case_id, wanted, revision=revision, reply=how))


@operation(
    summary="Record a donor's withdrawal",
    purpose="From this entry on nothing of its scope leaves: grants shrink, past receivers are to be "
    "told. With `preview=true` nothing is recorded but that somebody looked. `donor_id` is the donor's "
    "id or code.",
    answers={
        200: Answer(model=WithdrawalOut, says="For a preview: whom it would reach"),
        201: Answer(model=WithdrawalOut, says="Whom it reached"),
    },
    errors=("not_found",),
    example={"scope": "contact", "channel": "书面"},
    fill={"donor_id": "{donor}"},
)
@router.post("/v1/donors/{donor_id}/withdrawals")
async def withdraw_consent(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    donor_id: str,
    asked: Annotated[AskedWithdrawal, Depends(Body(AskedWithdrawal))],
    preview: Annotated[str, Query(pattern="^(true|false)$")] = "false",
    key: IdempotencyKey = None,
) -> Response:
    """201, or 200 for a preview."""
    if asked.effective_at is not None and asked.effective_at > bank.now():
        wrong = FieldError(pointer="/effective_at", detail="a withdrawal cannot lie ahead")
        raise ProblemError("invalid_request", wrong.detail, errors=(wrong,))
    with bank.database.read() as conn:
        wanted = pep.WithdrawalAsked(
            donor_id=reads.donor_id(conn, donor_id),
            scope=asked.scope,
            channel=asked.channel,
            project_id=asked.project,
            effective_at=asked.effective_at,
        )
    status = 200 if preview == "true" else 201
    how = await reply(request, caller, key, lambda found: rendered(_withdrawal(found), status))
    if preview == "false":
        return sent(await pep.withdraw_consent(bank, caller, wanted, reply=how))
    found = await asyncio.to_thread(pep.preview_withdrawal, bank, wanted)

    def part(_: Connection) -> pep.Withdrawn:
        return found

    return sent(
        await pep.record_event(
            bank, caller, "withdrawal.previewed", part, subjects=lambda _: {}, reply=how
        )
    )


def _withdrawal(found: pep.Withdrawn) -> WithdrawalOut:
    return WithdrawalOut(
        id=found.withdrawal_id,
        leaf_index=found.leaf_index,
        grants=[
            TouchedOut(
                grant=one.grant_id,
                party=one.party_id,
                project=one.project_id,
                items=len(one.holdings),
                left=one.left,
            )
            for one in found.grants
        ],
        receivers=[ReceiverOut(release=release, party=party) for release, party in found.receivers],
    )
