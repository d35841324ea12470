"""The straightforward way, as a baseline: one ORM session and one commit for every request.

It is given what we are given (the same body, a bearer token of the same algorithm, ten samples of a filled
bank) and answers with as little: some twenty rules in plain Python, a grant and one row of audit. It has no
packs, no strata, no log that proves anything and no idempotency; SQLite as durable as ours.

    python -m bench.straightforward PORT DATABASE BODY TOKEN_FILE      (BODY: a file with one request)
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import selectinload
from sqlmodel import Field, Relationship, Session, SQLModel, select

KEY = ec.generate_private_key(ec.SECP256R1())
DONORS = 2500  # about as many as the bank beside it has


# ---- tables ----------------------------------------------------------------------------------------


class Party(SQLModel, table=True):
    id: str = Field(primary_key=True)
    name: str
    country: str
    foreign_share: int = 0
    suspended: bool = False


class Project(SQLModel, table=True):
    id: str = Field(primary_key=True)
    party_id: str = Field(foreign_key="party.id")
    purpose: str
    ends_on: date


class Paper(SQLModel, table=True):
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    party_id: str = Field(foreign_key="party.id", index=True)
    valid_from: date
    valid_to: date
    people: int


class Donor(SQLModel, table=True):
    id: str = Field(primary_key=True)
    code: str = Field(index=True, unique=True)
    born_on: date
    region: str


class Consent(SQLModel, table=True):
    id: str = Field(primary_key=True)
    donor_id: str = Field(foreign_key="donor.id", index=True)
    signed_on: date
    expires_on: date | None = None
    written: bool = True
    commercial: bool = False
    foreign: bool = False
    purpose: str = "health"
    withdrawn_on: date | None = None


class Sample(SQLModel, table=True):
    id: str = Field(primary_key=True)
    donor_id: str = Field(foreign_key="donor.id", index=True)
    consent_id: str = Field(foreign_key="consent.id")
    kind: str
    collected_on: date
    donor: Donor = Relationship()
    consent: Consent = Relationship()


class Grant(SQLModel, table=True):
    id: str = Field(primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    ends_on: date


class Audit(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    at: datetime
    who: str
    outcome: str
    reasons: str
    request: str


def database(path: str) -> Engine:
    # Its default of 15 connections starves 40 threads; that would be a lesser baseline.
    engine = create_engine(f"sqlite:///{path}", pool_size=48)

    @event.listens_for(engine, "connect")
    def _connect(raw: Any, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            raw.execute(f"PRAGMA {pragma}").fetchall()

    SQLModel.metadata.create_all(engine)
    return engine


def fill(session: Session, asked: dict[str, Any]) -> None:
    today, party = date.today(), asked["recipient"]  # noqa: DTZ011 - an invented day
    for name in {party, asked["host"]["operator"]}:
        session.add(Party(id=name, name=name, country="CN"))
    session.add(
        Project(id=asked["project"], party_id=party, purpose="health", ends_on=date(2099, 1, 1))
    )
    for kind in ("preservation", "ethics", "filing", "security"):
        dates = {"valid_from": date(2020, 1, 1), "valid_to": date(2099, 1, 1)}
        session.add(Paper(id=kind, kind=kind, party_id=party, people=10**6, **dates))
    codes = [*asked["items"]["cohort"]["samples"], *(f"OTHER{n}" for n in range(DONORS))]
    for n, code in enumerate(codes[:DONORS]):
        session.add(Donor(id=f"d{n}", code=code, born_on=date(1970, 1, 1), region="CN"))
        session.add(Consent(id=f"c{n}", donor_id=f"d{n}", signed_on=date(2021, 1, 1)))
        taken = today - timedelta(days=400)
        ids = {"id": f"s{n}", "donor_id": f"d{n}", "consent_id": f"c{n}"}
        session.add(Sample(kind="genome", collected_on=taken, **ids))
    session.commit()


# ---- the request -----------------------------------------------------------------------------------


class Host(BaseModel):
    operator: str
    place: str


class User(BaseModel):
    researcher: str
    access_country: str


class Purpose(BaseModel):
    model_config = ConfigDict(extra="allow")
    research: str
    text: str
    commercial: bool
    genetic: bool
    publication_planned: bool


class Cohort(BaseModel):
    samples: list[str]


class Items(BaseModel):
    kinds: list[str]
    cohort: Cohort


class Ask(BaseModel):
    model_config = ConfigDict(extra="allow")
    project: str
    recipient: str
    sponsor: str
    beneficiary: str
    host: Host
    users: list[User]
    outputs: list[str]
    purpose: Purpose
    items: Items
    material_exits: bool
    clinical_care: bool
    research_use: bool
    embryo_or_germline: str
    pi_form: str


class Request(BaseModel):
    ask: Ask


# ---- deciding --------------------------------------------------------------------------------------


def decide(  # noqa: C901, PLR0912, PLR0915 - that is what it looks like
    ask: Ask,
    project: Project,
    recipient: Party,
    host: Party,
    papers: dict[str, Paper],
    samples: list[Sample],
) -> list[str]:
    """What stands against it: some twenty rules, as one would write them down."""
    today = date.today()  # noqa: DTZ011 - as one would write it
    abroad = any(user.access_country != "CN" for user in ask.users) or ask.host.place != "CN"
    foreign = recipient.country != "CN" or recipient.foreign_share >= 50
    against = []
    if recipient.suspended:
        against.append("the recipient is suspended")
    if host.suspended:
        against.append("the host is suspended")
    if project.party_id != recipient.id:
        against.append("not the recipient's project")
    if project.ends_on < today:
        against.append("the project has ended")
    if foreign and not ask.sponsor:
        against.append("a foreign party needs a partner")
    if abroad and "security" not in papers:
        against.append("a security review is missing")
    if foreign and "filing" not in papers:
        against.append("a filing is missing")
    if ask.material_exits and "certificate" not in papers:
        against.append("an exit certificate is missing")
    if ask.embryo_or_germline != "none":
        against.append("embryos and the germline are not for this")
    if ask.clinical_care and ask.research_use:
        against.append("care and research are asked for apart")
    if ask.pi_form not in {"deidentified", "anonymous"}:
        against.append("the data are not de-identified")
    if ask.purpose.research != project.purpose:
        against.append("not the project's purpose")
    for kind in ("preservation", "ethics"):
        paper = papers.get(kind)
        if paper is None or not paper.valid_from <= today <= paper.valid_to:
            against.append(f"{kind} is missing or not valid")
        elif paper.people < len(samples):
            against.append(f"{kind} covers fewer people")
    for one in samples:
        consent, donor = one.consent, one.donor
        if one.kind not in ask.items.kinds:
            against.append(f"{one.id}: of another kind")
        if not consent.written or consent.signed_on > one.collected_on:
            against.append(f"{one.id}: no consent before it was taken")
        if consent.withdrawn_on is not None:
            against.append(f"{one.id}: withdrawn")
        if consent.expires_on is not None and consent.expires_on < today:
            against.append(f"{one.id}: the consent has expired")
        if ask.purpose.commercial and not consent.commercial:
            against.append(f"{one.id}: not for commercial use")
        if (abroad or foreign) and not consent.foreign:
            against.append(f"{one.id}: not for sharing abroad")
        if consent.purpose != ask.purpose.research:
            against.append(f"{one.id}: not for this purpose")
        if (today - donor.born_on).days < 18 * 365:
            against.append(f"{one.id}: of a minor")
    return against


# ---- serving ---------------------------------------------------------------------------------------


def application(engine: Engine) -> FastAPI:
    app = FastAPI()

    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    def caller(authorization: Annotated[str, Header()]) -> str:
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "), KEY.public_key(), algorithms=["ES256"]
            )
        except jwt.InvalidTokenError as error:
            raise HTTPException(401) from error
        return str(claims["sub"])

    @app.post("/v1/access-requests", status_code=201)
    def ask_for(
        request: Request,
        who: Annotated[str, Depends(caller)],
        db: Annotated[Session, Depends(session)],
    ) -> dict[str, Any]:
        ask = request.ask
        project = db.get(Project, ask.project)
        recipient, host = db.get(Party, ask.recipient), db.get(Party, ask.host.operator)
        if project is None or recipient is None or host is None:
            raise HTTPException(422)
        papers = {p.kind: p for p in db.exec(select(Paper).where(Paper.party_id == recipient.id))}
        codes = ask.items.cohort.samples
        both = (selectinload(Sample.donor), selectinload(Sample.consent))
        found = select(Sample).join(Donor).where(Donor.code.in_(codes)).options(*both)
        samples = list(db.exec(found))
        if len(samples) != len(codes):
            raise HTTPException(422)
        against = decide(ask, project, recipient, host, papers, samples)
        outcome, grant = "deny" if against else "permit", None
        now = datetime.now(UTC)
        if not against:
            grant = Grant(id=uuid4().hex, project_id=project.id, ends_on=now.date())
            db.add(grant)
        said = json.dumps(against)
        db.add(Audit(at=now, who=who, outcome=outcome, reasons=said, request=ask.model_dump_json()))
        made = grant.id if grant else None
        db.commit()
        return {"outcome": outcome, "reasons": against, "grant": made}

    return app


def main() -> None:
    port, path, body, token = sys.argv[1:]
    engine = database(path)
    with Session(engine) as session:
        fill(session, json.loads(Path(body).read_bytes())["ask"])
    claims = {"sub": "bench", "exp": datetime.now(UTC) + timedelta(days=1)}
    Path(token).write_text(jwt.encode(claims, KEY, algorithm="ES256"))
    uvicorn.run(application(engine), port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
