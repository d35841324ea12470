"""What researchers call: dry runs, requests, decisions and their proofs, grants, releases.

A person of the bank who holds the read scopes sees every organisation's; a key only its own.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gateway import deciding, pep
from gateway.api import answers, examples, public, reads, views
from gateway.api.bodies import (
    ACCEPTS_JSON,
    JSON,
    MERGE_PATCH,
    Accepts,
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
from gateway.api.schemas.parts import Page, Words
from gateway.api.schemas.researcher import (
    AskedEvaluation,
    AskedRequest,
    AskPatch,
    CatalogueOut,
    CollectionOut,
    DecisionOut,
    GrantOut,
    KindCount,
    ProjectOut,
    ProofOut,
    RequestOut,
    SubmittedOut,
    WaysOut,
)
from gateway.identity.caller import Caller, require
from gateway.registry import requests
from gateway.release import grants
from gateway.replies import Rendered
from policies import advice

router = APIRouter(tags=["researcher"])

Querying = Annotated[Caller, Depends(require("samples:query"))]
Reading = Annotated[Caller, Depends(require("requests:read"))]
Requesting = Annotated[Caller, Depends(require("requests:write"))]
ReadingGrants = Annotated[Caller, Depends(require("grants:read"))]

_ASK_ERRORS = ("unknown_sample", "unknown_term", "not_found", "decision_failed")
_DECIDED = Answer(
    model=DecisionOut, says="The decision", headers={"ETag": "revision of the request"}
)
_REQUEST = Answer(model=RequestOut, says="The request", headers={"ETag": "its revision"})


def side(caller: Caller) -> str | None:
    """Whose things the caller may see: None, everybody's, for the bank's own people."""
    return caller.party_id if caller.kind == "key" else None


@operation(
    summary="Dry run: would this be permitted, and what stands in the way",
    purpose="Decides as a request would be decided today and lists every blocker at once, with article, "
    "whose move it is, and what to do. Creates nothing but a log entry; promises nothing.",
    answers={200: Answer(model=DecisionOut, says="What would be decided")},
    errors=_ASK_ERRORS,
    example={"ask": examples.ASK},
)
@router.post("/v1/evaluations", dependencies=[ACCEPTS_JSON])
async def evaluate(
    request: Request,
    bank: OpenBank,
    caller: Querying,
    asked: Annotated[AskedEvaluation, Depends(Body(AskedEvaluation))],
    key: IdempotencyKey = None,
) -> Response:
    """200 with the decision, whatever it is."""

    def render(answer: deciding.Answer) -> Rendered:
        return rendered(answers.decision(bank, caller, answer))

    how = await reply(request, caller, key, render)
    return sent(await pep.evaluate(bank, caller, asked.ask, how))


@operation(
    summary="Ask for samples or data",
    purpose="Submits a request and answers with the decision, or saves a draft. The decision is durable "
    "in the log before this answers. A permit may still wait for a person of the bank.",
    answers={
        201: Answer(
            model=SubmittedOut,
            says="The decision; for a draft, the request",
            headers={"Location": "the request", "ETag": "its revision"},
        )
    },
    errors=_ASK_ERRORS,
    example={"ask": examples.ASK, "draft": False},
)
@router.post("/v1/access-requests", dependencies=[ACCEPTS_JSON])
async def create_request(
    request: Request,
    bank: OpenBank,
    caller: Requesting,
    asked: Annotated[AskedRequest, Depends(Body(AskedRequest))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the decision or the draft."""

    def render(made: deciding.Answer | requests.Request) -> Rendered:
        row = made if isinstance(made, requests.Request) else made.request
        headers = {}
        if row is not None:
            headers = {"Location": f"/v1/access-requests/{row.id}"} | etag(row.revision)
        if isinstance(made, requests.Request):
            return rendered(views.request(made), 201, headers)
        return rendered(answers.decision(bank, caller, made), 201, headers)

    how = await reply(request, caller, key, render)
    return sent(await pep.create_request(bank, caller, asked.ask, draft=asked.draft, reply=how))


@operation(
    summary="Your organisation's requests",
    purpose="Newest first.",
    answers={200: Answer(model=Page[RequestOut], says="Some requests")},
    errors=("not_found",),
)
@router.get("/v1/access-requests", dependencies=[ACCEPTS_JSON])
def list_requests(
    bank: OpenBank, caller: Reading, limit: Limit = 20, after: After = None
) -> Response:
    """One page of requests."""
    with bank.database.read() as conn:
        rows, more = requests.listing(
            conn, party_id=side(caller), limit=limit, starting_after=after
        )
    return answered(Page[RequestOut](data=[views.request(row) for row in rows], has_more=more))


@operation(
    summary="One request",
    purpose="What it says in its current version, and where it stands.",
    answers={200: _REQUEST},
    errors=("not_found",),
    fill={"request_id": "{request}"},
)
@router.get("/v1/access-requests/{request_id}", dependencies=[ACCEPTS_JSON])
def read_request(bank: OpenBank, caller: Reading, request_id: str) -> Response:
    """The request with its ETag."""
    with bank.database.read() as conn:
        row = requests.get(conn, request_id, party_id=side(caller))
    return answered(views.request(row), headers=etag(row.revision))


@operation(
    summary="Amend a request",
    purpose="A JSON merge patch (RFC 7396) of `ask`. A submitted request becomes a draft of its next "
    "version; what was submitted stays as it was.",
    answers={200: _REQUEST},
    errors=(
        *_ASK_ERRORS,
        "precondition_required",
        "precondition_failed",
        "state_conflict",
    ),
    example={"purpose": {"text": "淋巴瘤早筛模型的外部验证"}},
    fill={"request_id": "{draft}"},
)
@router.patch("/v1/access-requests/{request_id}", dependencies=[ACCEPTS_JSON])
async def amend_request(
    request: Request,
    bank: OpenBank,
    caller: Requesting,
    request_id: str,
    _: Annotated[AskPatch, Depends(Body(AskPatch, media_type=MERGE_PATCH))],
    key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """The request as amended."""

    def render(row: requests.Request) -> Rendered:
        return rendered(views.request(row), headers=etag(row.revision))

    how, patch = await reply(request, caller, key, render), await request.body()
    revision = revision_of(if_match)
    return sent(
        await pep.amend_request(bank, caller, request_id, patch, revision=revision, reply=how)
    )


@operation(
    summary="Submit a draft",
    purpose="Freezes the version and decides it; for an amended request the answer shows what changed.",
    answers={200: _DECIDED},
    errors=(*_ASK_ERRORS, "precondition_required", "precondition_failed", "state_conflict"),
    fill={"request_id": "{draft}"},
)
@router.post("/v1/access-requests/{request_id}:submit", dependencies=[ACCEPTS_JSON])
async def submit_request(
    request: Request,
    bank: OpenBank,
    caller: Requesting,
    request_id: str,
    key: IdempotencyKey = None,
    if_match: IfMatch = None,
) -> Response:
    """200 with the decision."""

    def render(answer: deciding.Answer) -> Rendered:
        headers = etag(answer.request.revision) if answer.request else {}
        return rendered(answers.decision(bank, caller, answer), headers=headers)

    how, revision = await reply(request, caller, key, render), revision_of(if_match)
    return sent(await pep.submit_request(bank, caller, request_id, revision=revision, reply=how))


async def _end(
    request: Request,
    bank: OpenBank,
    caller: Caller,
    request_id: str,
    key: str | None,
    *,
    close: bool,
) -> Response:
    def render(row: requests.Request) -> Rendered:
        return rendered(views.request(row), headers=etag(row.revision))

    how = await reply(request, caller, key, render)
    return sent(await pep.end_request(bank, caller, request_id, close=close, reply=how))


@operation(
    summary="Withdraw a request",
    purpose="Ends it: its case and its grants end with it. What was decided stays in the log.",
    answers={200: _REQUEST},
    errors=("not_found", "already_done"),
    fill={"request_id": "{request}"},
)
@router.post("/v1/access-requests/{request_id}:withdraw", dependencies=[ACCEPTS_JSON])
async def withdraw_request(
    request: Request,
    bank: OpenBank,
    caller: Requesting,
    request_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """The request, withdrawn."""
    return await _end(request, bank, caller, request_id, key, close=False)


@operation(
    summary="Close a request whose work is done",
    purpose="Ends its grants. What was decided and released stays in the log.",
    answers={200: _REQUEST},
    errors=("not_found", "already_done"),
    fill={"request_id": "{request}"},
)
@router.post("/v1/access-requests/{request_id}:close", dependencies=[ACCEPTS_JSON])
async def close_request(
    request: Request,
    bank: OpenBank,
    caller: Requesting,
    request_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """The request, closed."""
    return await _end(request, bank, caller, request_id, key, close=True)


@operation(
    summary="A decision, as it was made",
    purpose="Rebuilt from the document in the log: outcome, every blocker, legal basis, obligations.",
    answers={200: Answer(model=DecisionOut, says="The decision")},
    errors=("not_found",),
    fill={"decision_id": "{decision}"},
)
@router.get("/v1/decisions/{decision_id}", dependencies=[ACCEPTS_JSON])
def read_decision(bank: OpenBank, caller: Reading, decision_id: str) -> Response:
    """The decision as the caller may see it."""
    answer = deciding.read_decision(bank, decision_id, party_id=side(caller))
    return answered(answers.decision(bank, caller, answer))


@operation(
    summary="What would permit it",
    purpose="The smallest changes (papers, things to say or do, determinations of two officers) under "
    "which the same question, decided again by the law of its day, would be permitted, or would need "
    "nothing more than an officer's judgement. Never fewer people.",
    answers={200: Answer(model=WaysOut, says="The ways, fewest changes first")},
    errors=("not_found",),
    fill={"decision_id": "{decision}"},
)
@router.get("/v1/decisions/{decision_id}/ways", dependencies=[ACCEPTS_JSON])
def read_ways(bank: OpenBank, caller: Reading, decision_id: str) -> Response:
    """The ways, each decided again."""
    answer = deciding.read_decision(bank, decision_id, party_id=side(caller))
    found = advice.advise(deciding.in_words_of(answer.question, bank.law), bank.law)
    return answered(answers.ways(answer, found, exact=answers.is_exact(caller)))


@operation(
    summary="Proof that a decision stands in the log",
    purpose="A C2SP inclusion proof under a signed checkpoint: as JSON, or with `Accept: text/plain` as "
    "a tlog-proof file that any tlog client verifies.",
    answers={200: Answer(model=ProofOut, says="The proof", media=("text/plain",))},
    errors=("not_found",),
    fill={"decision_id": "{decision}"},
)
@router.get("/v1/decisions/{decision_id}/proof")
async def read_proof(
    bank: OpenBank,
    kind: Annotated[str, Depends(Accepts(JSON, "text/plain"))],
    caller: Reading,
    decision_id: str,
) -> Response:
    """The proof; a checkpoint is published first if none covers the decision yet."""
    proof = await public.proof_of(bank, decision_id, party_id=side(caller))
    return answered(proof) if kind == JSON else Response(proof.text, media_type="text/plain")


@operation(
    summary="Grants",
    purpose="What your organisation may have released, until when; oldest first.",
    answers={200: Answer(model=Page[GrantOut], says="Some grants")},
    errors=("not_found",),
)
@router.get("/v1/grants", dependencies=[ACCEPTS_JSON])
def list_grants(
    bank: OpenBank, caller: ReadingGrants, limit: Limit = 20, after: After = None
) -> Response:
    """One page of grants."""
    with bank.database.read() as conn:
        page = grants.list_grants(conn, party_id=side(caller), limit=limit, starting_after=after)
        counts = reads.grant_counts(conn, [row.id for row in page.grants])
    data = [views.grant(caller, row, counts.get(row.id, (0, 0))) for row in page.grants]
    return answered(Page[GrantOut](data=data, has_more=page.has_more))


@operation(
    summary="One grant",
    purpose="Its state, its last good day, and how much is still under it.",
    answers={200: Answer(model=GrantOut, says="The grant", headers={"ETag": "its revision"})},
    errors=("not_found",),
    fill={"grant_id": "{grant}"},
)
@router.get("/v1/grants/{grant_id}", dependencies=[ACCEPTS_JSON])
def read_grant(bank: OpenBank, caller: ReadingGrants, grant_id: str) -> Response:
    """The grant with its ETag."""
    with bank.database.read() as conn:
        row = grants.get(conn, grant_id, party_id=side(caller))
        counts = reads.grant_counts(conn, [row.id])
    shape = views.grant(caller, row, counts.get(row.id, (0, 0)))
    return answered(shape, headers=etag(row.revision))


@operation(
    summary="Your organisation's studies",
    purpose="The projects a request can name.",
    answers={200: Answer(model=Page[ProjectOut], says="Some projects")},
)
@router.get("/v1/projects", dependencies=[ACCEPTS_JSON])
def list_projects(
    bank: OpenBank, caller: Reading, limit: Limit = 20, after: After = None
) -> Response:
    """One page of projects."""
    with bank.database.read() as conn:
        rows, more = reads.projects(conn, party_id=side(caller), limit=limit, starting_after=after)
    data = [
        ProjectOut(
            id=row.id,
            party=row.party_id,
            title=row.title,
            chinese_partner=row.chinese_partner_id,
            created_at=row.created_at,
        )
        for row in rows
    ]
    return answered(Page[ProjectOut](data=data, has_more=more))


@operation(
    summary="What the bank keeps",
    purpose="Every collection with its kinds of holdings and banded numbers of donors. A number here "
    "promises nothing: ask with a dry run.",
    answers={200: Answer(model=CatalogueOut, says="The catalogue")},
)
@router.get("/v1/catalogue", dependencies=[ACCEPTS_JSON])
def read_catalogue(bank: OpenBank, caller: Querying) -> Response:
    """All collections."""
    exact = answers.is_exact(caller)
    with bank.database.read() as conn:
        rows = reads.catalogue(conn)
    return answered(
        CatalogueOut(
            as_of=bank.today(),
            collections=[
                CollectionOut(
                    id=row.id,
                    code=row.code,
                    name=Words(zh=row.name_zh, en=row.name_en),
                    country=row.country,
                    special_region=row.special_region,
                    owner_consent_needed=row.owner_consent_needed,
                    people=answers.number(row.people, exact=exact),
                    kinds=[
                        KindCount(kind=kind, people=answers.number(count, exact=exact))
                        for kind, count in row.kinds
                    ],
                )
                for row in rows
            ],
        )
    )
