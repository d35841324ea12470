"""What officers call to keep the registers: parties and control, papers, forms, findings, studies.

What counts in a decision needs two people: one records or proposes, another checks or confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from fractions import Fraction
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from gateway import pep, standing
from gateway.api import examples, reads
from gateway.api.bodies import (
    ACCEPTS_JSON,
    After,
    Body,
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
from gateway.api.schemas.registry import (
    AskedCorrection,
    AskedDetermination,
    AskedDone,
    AskedEdge,
    AskedEnd,
    AskedMapping,
    AskedMerger,
    AskedName,
    AskedPaper,
    AskedParty,
    AskedProject,
    AskedResearcher,
    AskedVoid,
    ControlOut,
    CorrectionOut,
    DeterminationOut,
    DutyOut,
    EdgeOut,
    FormOut,
    MappingOut,
    PaperOut,
    PartyOut,
    Registered,
)
from gateway.api.views import (
    control,
    correction,
    determination,
    duty,
    edge,
    form,
    mapping,
    paper,
    party,
    reach,
)
from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.identity.caller import Caller, require
from gateway.registry import consents, determinations, duties, papers, parties
from gateway.registry.ownership import ownership_of
from gateway.replies import Rendered
from gateway.tables import new_id

T = TypeVar("T")

router = APIRouter(tags=["registry"], dependencies=[ACCEPTS_JSON])

Reading = Annotated[Caller, Depends(require("registry:read"))]
Writing = Annotated[Caller, Depends(require("registry:write"))]
Wanted = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.:-]{1,80}$")]

_PAPER = Answer(model=PaperOut, says="The paper")
_FINDING = Answer(model=DeterminationOut, says="The determination")
_MAPPING = Answer(model=MappingOut, says="The mapping")
_NEW = Answer(model=Registered, says="Its id")


async def _recorded(  # noqa: PLR0913 - what an entry is made of, each by its name
    request: Request,
    bank: Bank,
    caller: Caller,
    key: str | None,
    kind: str,
    part: Callable[[Connection], T],
    subjects: Callable[[T], Mapping[str, str]],
    render: Callable[[T], Rendered],
    *,
    reaches: Callable[[T], tuple[str, str]] | None = None,
) -> Response:
    how = await reply(request, caller, key, render)
    return sent(
        await pep.record_event(
            bank, caller, kind, part, subjects=subjects, reply=how, reaches=reaches
        )
    )


def _registered(name: str) -> Rendered:
    return rendered(Registered(id=name), 201)


# --- papers ---------------------------------------------------------------------------------------


@operation(
    summary="Record a paper",
    purpose="Licence, approval, filing, certificate, report, receipt, ethics opinion, agreement. It "
    "counts when another person has checked it.",
    answers={201: _PAPER},
    errors=("not_found",),
    example=examples.PAPER,
)
@router.post("/v1/papers")
async def record_paper(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedPaper, Depends(Body(AskedPaper))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the paper, not yet checked."""
    draft = papers.PaperDraft(
        kind=asked.kind,
        number=asked.number,
        issuer=asked.issuer,
        holder_id=asked.holder,
        valid_from=asked.valid_from,
        document_sha256=asked.document_sha256,
        valid_to=asked.valid_to,
        open_ended=asked.open_ended,
        project_id=asked.project,
        collection_id=asked.collection,
        scope=asked.scope.model_dump(exclude_none=True),
        quotas=asked.quotas.model_dump(exclude_none=True),
        drawn=asked.drawn.model_dump(exclude_none=True),
        issued_on=asked.issued_on,
        documents=asked.documents,
    )
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "paper.recorded",
        lambda conn: papers.record(conn, draft, person_id=caller.id, now=bank.now()),
        lambda made: {"paper": made.id, "kind": made.kind},
        lambda made: rendered(paper(made), 201),
    )


@operation(
    summary="Check a paper",
    purpose="The second person's word: from here on it counts in every decision.",
    answers={200: _PAPER},
    errors=("not_found", "same_person", "already_done", "state_conflict"),
    fill={"paper_id": "{unchecked_paper}"},
)
@router.post("/v1/papers/{paper_id}:check")
async def check_paper(
    request: Request, bank: OpenBank, caller: Writing, paper_id: str, key: IdempotencyKey = None
) -> Response:
    """The paper, checked."""
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "paper.checked",
        lambda conn: papers.check(conn, paper_id, person_id=caller.id, now=bank.now()),
        lambda made: {"paper": made.id, "kind": made.kind},
        lambda made: rendered(paper(made)),
    )


@operation(
    summary="Void a paper",
    purpose="It counts no more, from now on; the reason stays with it. Open cases and live grants that "
    "rest on it are decided again; `POST /v1/corrections?preview=true` says beforehand which.",
    answers={200: _PAPER},
    errors=("not_found", "already_done"),
    example={"reason": "批件登记有误,编号与原件不符,应重新登记。特此作废。"},
    fill={"paper_id": "{unchecked_paper}"},
)
@router.post("/v1/papers/{paper_id}:void")
async def void_paper(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    paper_id: str,
    asked: Annotated[AskedVoid, Depends(Body(AskedVoid))],
    key: IdempotencyKey = None,
) -> Response:
    """The paper, void."""
    void: list[papers.Paper] = []

    def part(conn: Connection) -> standing.Correction:
        made = standing.propose(
            conn,
            kind="paper",
            subject_id=paper_id,
            act="void",
            said={},
            reason=asked.reason,
            evidence_sha256=papers.read(conn, paper_id).document_sha256,
            person_id=caller.id,
            now=bank.now(),
        )
        void.append(papers.read(conn, paper_id))
        return made

    how = await reply(request, caller, key, lambda _: rendered(paper(void[0])))
    return sent(await pep.correct(bank, caller, part, reply=how))


@operation(
    summary="Papers",
    purpose="Of a project, of a holder, or all; oldest first, unchecked and void ones included.",
    answers={200: Answer(model=Page[PaperOut], says="Some papers")},
)
@router.get("/v1/papers")
def list_papers(
    bank: OpenBank,
    _: Reading,
    project: Wanted = None,
    holder: Wanted = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """One page of papers."""
    with bank.database.read() as conn:
        rows = papers.listed(conn, project_id=project, holder_id=holder)
    seen = next((at for at, row in enumerate(rows, 1) if row.id == after), 0)
    page = rows[seen : seen + limit]
    more = len(rows) > seen + limit
    return answered(Page[PaperOut](data=[paper(row) for row in page], has_more=more))


# --- voiding and correcting -----------------------------------------------------------------------


@operation(
    summary="Void or correct a shared fact",
    purpose="A paper (an ethics opinion too), a consent form's version, a collection or a party. Voided by "
    "one person it counts no more at once; corrected, it counts when another has confirmed it. Open cases "
    "and live grants that rest on it are then decided again, both decisions stay, and past receivers are to "
    "be told. With `preview=true` nothing is recorded but that somebody looked.",
    answers={
        200: Answer(model=CorrectionOut, says="For a preview: whom it would reach"),
        201: Answer(model=CorrectionOut, says="Whom it reached, or would reach once confirmed"),
    },
    errors=("not_found", "already_done"),
    example=examples.CORRECTION,
)
@router.post("/v1/corrections")
async def void_or_correct(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedCorrection, Depends(Body(AskedCorrection))],
    preview: Annotated[str, Query(pattern="^(true|false)$")] = "false",
    key: IdempotencyKey = None,
) -> Response:
    """201, or 200 for a preview."""
    if preview == "true":
        return await _previewed(request, bank, caller, key, asked)

    def part(conn: Connection) -> standing.Correction:
        return standing.propose(
            conn,
            kind=asked.kind,
            subject_id=asked.subject,
            act=asked.act,
            said=asked.values,
            reason=asked.reason,
            evidence_sha256=asked.evidence_sha256,
            person_id=caller.id,
            now=bank.now(),
        )

    how = await reply(request, caller, key, partial(_corrected, status=201))
    return sent(await pep.correct(bank, caller, part, reply=how))


async def _previewed(
    request: Request, bank: Bank, caller: Caller, key: str | None, asked: AskedCorrection
) -> Response:
    def look(conn: Connection) -> standing.Reach:
        standing.verify(conn, asked.kind, asked.subject, asked.act, asked.values)
        return standing.touched(conn, asked.kind, asked.subject)

    def show(found: standing.Reach) -> Rendered:
        return rendered(
            CorrectionOut(
                id=None,
                kind=asked.kind,
                subject=asked.subject,
                act=asked.act,
                values=asked.values,
                before={},
                reason=asked.reason,
                evidence_sha256=asked.evidence_sha256,
                proposed_by=None,
                proposed_at=None,
                confirmed_by=None,
                applied_at=None,
                leaf_index=None,
                reach=reach(found),
            )
        )

    about: dict[str, str] = {asked.kind: asked.subject}
    return await _recorded(
        request, bank, caller, key, "correction.previewed", look, lambda _: about, show
    )


@operation(
    summary="Confirm a correction",
    purpose="The second person's word: from here on the fact is as corrected, and all that rests on it is "
    "decided again.",
    answers={200: Answer(model=CorrectionOut, says="Whom it reached")},
    errors=("not_found", "same_person", "already_done"),
    fill={"correction_id": "{proposed_correction}"},
)
@router.post("/v1/corrections/{correction_id}:confirm")
async def confirm_correction(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    correction_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """The correction, confirmed."""

    def part(conn: Connection) -> standing.Correction:
        return standing.confirm(conn, correction_id, person_id=caller.id, now=bank.now())

    how = await reply(request, caller, key, _corrected)
    return sent(await pep.correct(bank, caller, part, reply=how))


@operation(
    summary="One correction",
    purpose="What the second person reads before confirming, with whom it would reach if confirmed now.",
    answers={200: Answer(model=CorrectionOut, says="The correction")},
    errors=("not_found",),
    fill={"correction_id": "{proposed_correction}"},
)
@router.get("/v1/corrections/{correction_id}")
def read_correction(bank: OpenBank, _: Reading, correction_id: str) -> Response:
    """The correction as it stands; what rests on the fact today."""
    with bank.database.read() as conn:
        made = standing.read(conn, correction_id)
        found = standing.touched(conn, made.kind, made.subject_id)
    return answered(correction(made, found, None))


def _corrected(done: pep.Corrected, status: int = 200) -> Rendered:
    return rendered(correction(done.correction, done.reach, done.leaf_index), status)


# --- determinations -------------------------------------------------------------------------------


@operation(
    summary="Propose a determination",
    purpose="What no paper says and no machine may judge, with reason and evidence: the first of two.",
    answers={201: _FINDING},
    errors=("not_found", "unknown_term"),
    example=examples.DETERMINATION,
)
@router.post("/v1/determinations")
async def propose_determination(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedDetermination, Depends(Body(AskedDetermination))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the determination, not yet confirmed."""

    def propose(conn: Connection) -> determinations.Determined:
        return determinations.propose(
            conn,
            subject_id=asked.subject,
            finding=asked.finding,
            value=asked.value,
            reason=asked.reason,
            evidence_sha256=asked.evidence_sha256,
            expires_on=asked.expires_on,
            person_id=caller.id,
            now=bank.now(),
        )

    return await _recorded(
        request,
        bank,
        caller,
        key,
        "determination.proposed",
        propose,
        _of_finding,
        lambda made: rendered(determination(made), 201),
    )


@operation(
    summary="Confirm a determination",
    purpose="The second person's word: from here on it is a fact in every decision; live grants "
    "that rest on its subject are decided again.",
    answers={200: _FINDING},
    errors=("not_found", "same_person", "already_done", "state_conflict"),
    fill={"determination_id": "{proposed_determination}"},
)
@router.post("/v1/determinations/{determination_id}:confirm")
async def confirm_determination(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    determination_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """The determination, confirmed."""
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "determination.confirmed",
        lambda conn: determinations.confirm(
            conn, determination_id, person_id=caller.id, now=bank.now()
        ),
        _of_finding,
        lambda made: rendered(determination(made)),
        reaches=lambda made: (made.subject_kind, made.subject_id),
    )


@operation(
    summary="Determinations about a subject",
    purpose="Oldest first, unconfirmed and revoked ones included.",
    answers={200: Answer(model=Page[DeterminationOut], says="All of them")},
)
@router.get("/v1/determinations")
def list_determinations(
    bank: OpenBank,
    _: Reading,
    subject: Annotated[
        str, Query(pattern=r"^[A-Za-z0-9_.:-]{1,80}$", examples=["pty_hk_subsidiary"])
    ],
) -> Response:
    """Everything ever found about a party, form, collection or project."""
    with bank.database.read() as conn:
        found = determinations.about(conn, subject)
    data = [determination(one) for one in found]
    return answered(Page[DeterminationOut](data=data, has_more=False))


def _of_finding(made: determinations.Determined) -> dict[str, str]:
    return {"determination": made.id, "subject": made.subject_id, "finding": made.finding}


# --- forms ----------------------------------------------------------------------------------------


@operation(
    summary="Consent forms",
    purpose="By id, with the ticks found on each and whether two people have signed what they mean.",
    answers={200: Answer(model=Page[FormOut], says="Some forms")},
)
@router.get("/v1/forms")
def list_forms(bank: OpenBank, _: Reading, limit: Limit = 20, after: After = None) -> Response:
    """One page of forms."""
    with bank.database.read() as conn:
        rows, more = reads.forms(conn, limit=limit, starting_after=after)
    return answered(Page[FormOut](data=[form(*row) for row in rows], has_more=more))


@operation(
    summary="Propose what a form's ticks mean",
    purpose="DUO terms, the six statutory items and our own terms: the first of two signatures.",
    answers={201: _MAPPING},
    errors=("not_found", "unknown_term"),
    example=examples.MAPPING,
    fill={"form_id": "frm_acb"},
)
@router.post("/v1/forms/{form_id}/mappings")
async def propose_mapping(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    form_id: str,
    asked: Annotated[AskedMapping, Depends(Body(AskedMapping))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the mapping, not yet confirmed."""
    said = asked.model_dump(exclude_unset=True)
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "mapping.proposed",
        lambda conn: consents.propose_mapping(
            conn, form_id, said, person_id=caller.id, now=bank.now()
        ),
        _of_mapping,
        lambda made: rendered(mapping(made), 201),
    )


@operation(
    summary="Confirm a mapping",
    purpose="The second signature: from here on the form means this, for every donor who signed it; live "
    "grants that rest on the form are decided again.",
    answers={200: _MAPPING},
    errors=("not_found", "same_person", "already_done"),
    fill={"mapping_id": "{proposed_mapping}"},
)
@router.post("/v1/form-mappings/{mapping_id}:confirm")
async def confirm_mapping(
    request: Request, bank: OpenBank, caller: Writing, mapping_id: str, key: IdempotencyKey = None
) -> Response:
    """The mapping, confirmed."""
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "mapping.confirmed",
        lambda conn: consents.confirm_mapping(
            conn, mapping_id, person_id=caller.id, now=bank.now()
        ),
        _of_mapping,
        lambda made: rendered(mapping(made)),
        reaches=lambda made: ("form", made.form_id),
    )


@operation(
    summary="One mapping",
    purpose="What the second person reads before confirming.",
    answers={200: _MAPPING},
    errors=("not_found",),
    fill={"mapping_id": "{proposed_mapping}"},
)
@router.get("/v1/form-mappings/{mapping_id}")
def read_mapping(bank: OpenBank, _: Reading, mapping_id: str) -> Response:
    """The mapping as proposed or confirmed."""
    with bank.database.read() as conn:
        return answered(mapping(consents.read_mapping(conn, mapping_id)))


def _of_mapping(made: consents.Mapped) -> dict[str, str]:
    return {"mapping": made.id, "form": made.form_id}


# --- parties, control, studies --------------------------------------------------------------------


@operation(
    summary="Register a party",
    purpose="An organisation or person that may ask, receive, pay, host or own.",
    answers={201: _NEW},
    errors=("already_done",),
    example=examples.PARTY,
)
@router.post("/v1/parties")
async def add_party(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedParty, Depends(Body(AskedParty))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with its id."""
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "party.registered",
        lambda conn: parties.add_party(
            conn, party_id=new_id("pty"), now=bank.now(), **_members(asked)
        ),
        lambda name: {"party": name},
        _registered,
    )


@operation(
    summary="Parties",
    purpose="By id.",
    answers={200: Answer(model=Page[PartyOut], says="Some parties")},
)
@router.get("/v1/parties")
def list_parties(bank: OpenBank, _: Reading, limit: Limit = 20, after: After = None) -> Response:
    """One page of parties."""
    with bank.database.read() as conn:
        rows, more = reads.parties(conn, limit=limit, starting_after=after)
        former = reads.former_names(conn, [row["id"] for row in rows])
    data = [party(row, former.get(row["id"], ())) for row in rows]
    return answered(Page[PartyOut](data=data, has_more=more))


@operation(
    summary="Rename a party",
    purpose="From a day on; its former name stays. Papers and decisions name it by its id. A partner's "
    "new legal name is told to the authority in a written statement (Implementing Rules art. 47).",
    answers={200: _NEW},
    errors=("not_found", "state_conflict"),
    example=examples.NAME,
    fill={"party_id": "pty_foreign_pharma"},
)
@router.post("/v1/parties/{party_id}:rename")
async def rename_party(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    party_id: str,
    asked: Annotated[AskedName, Depends(Body(AskedName))],
    key: IdempotencyKey = None,
) -> Response:
    """200 with its id."""

    def rename(conn: Connection) -> str:
        return parties.rename_party(
            conn,
            party_id,
            name_zh=asked.name_zh,
            name_en=asked.name_en,
            since=asked.since,
            evidence=asked.evidence,
            now=bank.now(),
        )

    return await _recorded(
        request,
        bank,
        caller,
        key,
        "party.renamed",
        rename,
        lambda name: {"party": name},
        lambda name: rendered(Registered(id=name)),
    )


@operation(
    summary="Merge a party into another",
    purpose="From a day on it is no more: who held it stays known for every day before, what went to it "
    "counts with its successor's group, and requests that still name it are referred.",
    answers={201: _NEW},
    errors=("not_found", "already_done", "state_conflict"),
    example=examples.MERGER,
    fill={"party_id": "pty_cart_jv"},
)
@router.post("/v1/parties/{party_id}:merge")
async def merge_party(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    party_id: str,
    asked: Annotated[AskedMerger, Depends(Body(AskedMerger))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the id of the edge by which the successor holds it whole."""
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "party.merged",
        lambda conn: parties.merge_party(
            conn, party_id, into_id=asked.into, on=asked.on, evidence=asked.evidence
        ),
        lambda name: {"party": party_id, "into": asked.into, "edge": name},
        _registered,
        reaches=lambda _: ("party", party_id),
    )


@operation(
    summary="Who controls a party",
    purpose="On a day (today if not said): shares and votes by both ways of looking through, its control "
    "group, and the chain from every foreign holder down to it.",
    answers={200: Answer(model=ControlOut, says="Its control")},
    errors=("not_found",),
    fill={"party_id": "pty_cart_jv"},
)
@router.get("/v1/parties/{party_id}/control")
def read_control(
    bank: OpenBank, _: Reading, party_id: str, on: Annotated[date | None, Query()] = None
) -> Response:
    """The walk of its holders on that day."""
    day = on or bank.today()
    with bank.database.read() as conn:
        found = determinations.in_force(conn, day)
        held = ownership_of(conn, [party_id], found, as_of=day)
    if party_id not in held.parties:
        raise ProblemError("not_found", f"there is no party `{party_id}`")
    return answered(control(held, party_id))


@operation(
    summary="Record who holds or steers whom",
    purpose="One control edge with exact shares; what it makes foreign, decisions say from then on; live "
    "grants of those it holds are decided again.",
    answers={201: _NEW},
    errors=("not_found",),
    example=examples.EDGE,
)
@router.post("/v1/control-edges")
async def add_edge(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedEdge, Depends(Body(AskedEdge))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with its id."""

    def add(conn: Connection) -> str:
        return parties.add_edge(
            conn,
            owner_id=asked.owner,
            owned_id=asked.owned,
            share=Fraction(asked.share),
            votes=None if asked.votes is None else Fraction(asked.votes),
            contract_control=asked.contract_control,
            influence=asked.influence,
            valid_from=asked.valid_from,
            valid_to=asked.valid_to,
            evidence=asked.evidence,
        )

    return await _recorded(
        request,
        bank,
        caller,
        key,
        "control_edge.recorded",
        add,
        lambda name: {"edge": name, "owner": asked.owner, "owned": asked.owned},
        _registered,
        reaches=lambda _: ("party", asked.owned),
    )


@operation(
    summary="Control edges",
    purpose="By id: those above and below one party, or all.",
    answers={200: Answer(model=Page[EdgeOut], says="Some edges")},
)
@router.get("/v1/control-edges")
def list_edges(
    bank: OpenBank, _: Reading, party: Wanted = None, limit: Limit = 20, after: After = None
) -> Response:
    """One page of edges."""
    with bank.database.read() as conn:
        rows, more = reads.edges(conn, party_id=party, limit=limit, starting_after=after)
    return answered(Page[EdgeOut](data=[edge(row) for row in rows], has_more=more))


@operation(
    summary="Register a project",
    purpose="A study of one organisation; requests name it.",
    answers={201: _NEW},
    errors=("not_found",),
    example=examples.PROJECT,
)
@router.post("/v1/projects")
async def add_project(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedProject, Depends(Body(AskedProject))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with its id."""

    def add(conn: Connection) -> str:
        return parties.add_project(
            conn,
            party_id=asked.party,
            title=asked.title,
            chinese_partner_id=asked.chinese_partner,
            chinese_participation=asked.chinese_participation,
            records_open_and_backed_up=asked.records_open_and_backed_up,
            now=bank.now(),
        )

    return await _recorded(
        request,
        bank,
        caller,
        key,
        "project.registered",
        add,
        lambda name: {"project": name, "party": asked.party},
        _registered,
    )


@operation(
    summary="End a project",
    purpose="The last day of the study: the joint report on its cooperation is due six months on.",
    answers={200: _NEW},
    errors=("not_found", "already_done"),
    example={"on": "2026-11-01", "evidence": "虚构的结题证明"},
    fill={"project_id": "prj_sino_foreign"},
)
@router.post("/v1/projects/{project_id}:end")
async def end_project(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    project_id: str,
    asked: Annotated[AskedEnd, Depends(Body(AskedEnd))],
    key: IdempotencyKey = None,
) -> Response:
    """200 with its id."""
    return await _recorded(
        request,
        bank,
        caller,
        key,
        "project.ended",
        lambda conn: parties.end_project(conn, project_id, on=asked.on),
        lambda name: {"project": name},
        lambda name: rendered(Registered(id=name)),
    )


@operation(
    summary="Register a researcher",
    purpose="A person who would use what is released, with employer and nationality.",
    answers={201: _NEW},
    errors=("not_found",),
    example=examples.RESEARCHER,
)
@router.post("/v1/researchers")
async def add_researcher(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    asked: Annotated[AskedResearcher, Depends(Body(AskedResearcher))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with their id."""

    def add(conn: Connection) -> str:
        return parties.add_researcher(
            conn,
            employer_id=asked.employer,
            name=asked.name,
            nationality=asked.nationality,
            individual_capacity=asked.individual_capacity,
            now=bank.now(),
        )

    return await _recorded(
        request,
        bank,
        caller,
        key,
        "researcher.registered",
        add,
        lambda name: {"researcher": name, "party": asked.employer},
        _registered,
    )


# --- duties ---------------------------------------------------------------------------------------


@operation(
    summary="Duties with their due dates",
    purpose="Of one party or all: reports, renewals, statements, people to tell. Soonest first, those "
    "done last. Overdue ones are facts of later decisions.",
    answers={200: Answer(model=Page[DutyOut], says="All of them")},
)
@router.get("/v1/duties")
def list_duties(bank: OpenBank, _: Reading, party: Wanted = None) -> Response:
    """Every duty."""
    today = bank.today()
    with bank.database.read() as conn:
        found = duties.listed(conn, party_id=party, today=today)
    return answered(Page[DutyOut](data=[duty(one, today) for one in found], has_more=False))


@operation(
    summary="Your duties",
    purpose="What your organisation owes under its grants and cooperations, soonest first.",
    answers={200: Answer(model=Page[DutyOut], says="All of them")},
)
@router.get("/v1/duties/own")
def list_own_duties(
    bank: OpenBank, caller: Annotated[Caller, Depends(require("grants:read"))]
) -> Response:
    """Every duty of the caller's own party."""
    today = bank.today()
    with bank.database.read() as conn:
        found = duties.listed(conn, party_id=caller.party_id, today=today)
    return answered(Page[DutyOut](data=[duty(one, today) for one in found], has_more=False))


@operation(
    summary="Record that a duty was met",
    purpose="On a day, with its evidence by hash. A renewal is met by its checked paper instead.",
    answers={200: Answer(model=DutyOut, says="The duty")},
    errors=("not_found", "already_done"),
    example={"on": "2026-11-01", "evidence_sha256": examples.DIGEST},
    fill={"duty_id": "{duty}"},
)
@router.post("/v1/duties/{duty_id}:done")
async def finish_duty(
    request: Request,
    bank: OpenBank,
    caller: Writing,
    duty_id: str,
    asked: Annotated[AskedDone, Depends(Body(AskedDone))],
    key: IdempotencyKey = None,
) -> Response:
    """The duty, done."""
    today = bank.today()

    def finish(conn: Connection) -> duties.Duty:
        return duties.done(
            conn,
            duty_id,
            on=asked.on,
            evidence_sha256=asked.evidence_sha256,
            person_id=caller.id,
            today=today,
            now=bank.now(),
        )

    return await _recorded(
        request,
        bank,
        caller,
        key,
        "duty.done",
        finish,
        lambda made: {"duty": made.id, "evidence": made.evidence_sha256},
        lambda made: rendered(duty(made, today)),
    )


def _members(asked: AskedParty) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in AskedParty.model_fields}
