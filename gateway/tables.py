"""Every row the gateway keeps, as SQLModel tables for SQLite and PostgreSQL.

The rules it keeps: a row class is never a response class; instants are aware UTC, legal dates are
plain dates (Asia/Shanghai); what two people must sign carries both ids and counts only when both are
there; nothing here is deleted, a changed mind is a new row. The log's own tables are in `audit.log`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, ClassVar
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

#: Every constraint gets a name, so that migrations on both databases can speak of it.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata: MetaData = SQLModel.metadata

#: Legal dates are dates in Shanghai.
SHANGHAI = ZoneInfo("Asia/Shanghai")


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime; a naive one is refused, for it would be somebody's local time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; SQLite keeps no zone, so it is stored naive there and given back aware."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime was given where an instant is kept")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back aware UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def table_of(row: type[SQLModel]) -> Table:
    """The Core table behind a row class, for the statements of the decision path."""
    return metadata.tables[str(row.__tablename__)]


def new_id(prefix: str) -> str:
    """A fresh opaque id such as `req_5f0c…`: 122 random bits, nothing to guess or to count."""
    return f"{prefix}_{uuid4().hex}"


def _json(default: type[list[Any] | dict[str, Any]] = dict) -> Any:
    return Field(default_factory=default, sa_type=JSON)


def _instant(*, index: bool = False) -> Any:
    return Field(sa_type=Instant, index=index)


def _instant_or_none() -> Any:
    return Field(default=None, sa_type=Instant)


class BankRow(SQLModel, table=True):
    """The one row that says whose bank this is and which version of the facts is in force.

    INVARIANT: every write of a fact a decision may rest on raises `facts_version` in its transaction.
    """

    __tablename__: ClassVar[str] = "bank"
    id: int = Field(primary_key=True)
    party_id: str
    origin: str
    facts_version: int
    created_at: datetime = _instant()
    law_generation_id: str | None = None  # of `law_generation`; None: none was recorded yet
    noted_since: int | None = None  # version from which on `donor_change` is kept; None: it is not


# --- the law --------------------------------------------------------------------------------------


class LawFile(SQLModel, table=True):
    """One file of some generation's packs, by the SHA-256 of its bytes."""

    __tablename__: ClassVar[str] = "law_file"
    digest: str = Field(primary_key=True)
    content: bytes


class LawGeneration(SQLModel, table=True):
    """A whole set of packs the bank decides by from its activation on. Two people sign.

    `files`: path under packs/ → digest; `digest` is over both. Of the first, the product that brought
    it stands for one person.
    """

    __tablename__: ClassVar[str] = "law_generation"
    id: str = Field(primary_key=True)
    digest: str
    files: dict[str, str] = _json()
    reason: str
    proposed_by: str
    proposed_at: datetime = _instant()
    activated_by: str | None = None
    activated_at: datetime | None = _instant_or_none()
    __table_args__ = (
        CheckConstraint("activated_by IS NULL OR activated_by <> proposed_by", name="two_people"),
    )


# --- who -----------------------------------------------------------------------------------------


class Party(SQLModel, table=True):
    """An organisation or a person that may ask, receive, pay, host or own. None is unknown."""

    __tablename__: ClassVar[str] = "party"
    id: str = Field(primary_key=True)
    name_zh: str
    name_en: str
    country: str  # ISO 3166-1 alpha-2; HK, MO and TW stand for themselves
    registration: str = ""  # unified social credit code or foreign registration id, opaque
    individual: bool = False
    legal_person: bool | None = None
    not_for_profit: bool | None = None
    hkmo_entity: bool = False
    mainland_controlled: bool | None = None  # as claimed; counts only with a determination
    banned_until: date | None = None  # Decree 717 art. 43
    ban_checked: bool = False  # somebody looked it up: only then is "no ban" known
    credit_flag: bool = False
    merged_into_id: str | None = Field(default=None, foreign_key="party.id")
    merged_on: date | None = None  # first day it is no more
    invented: bool = False  # demo data, plainly marked so
    created_at: datetime = _instant()
    voided_at: datetime | None = _instant_or_none()  # what was registered of it counts no more


class FormerName(SQLModel, table=True):
    """What a party was called until a day; papers and contracts of that time bear it."""

    __tablename__: ClassVar[str] = "former_name"
    party_id: str = Field(primary_key=True, foreign_key="party.id")
    until: date = Field(primary_key=True)  # the last day it was called so
    name_zh: str
    name_en: str
    evidence: str
    created_at: datetime = _instant()


class ControlEdge(SQLModel, table=True):
    """Who holds or steers whom: shares and votes as exact fractions "p/q" (Order 21 art. 12)."""

    __tablename__: ClassVar[str] = "control_edge"
    id: str = Field(primary_key=True)
    owner_id: str = Field(foreign_key="party.id", index=True)
    owned_id: str = Field(foreign_key="party.id", index=True)
    share: str = "0/1"
    votes: str = "0/1"
    contract_control: bool = False
    influence: str = "none"  # none | major | dominant
    valid_from: date
    valid_to: date | None = None
    evidence: str = ""


class Researcher(SQLModel, table=True):
    """A person who would use what is released: employer and nationality; access is per request."""

    __tablename__: ClassVar[str] = "researcher"
    id: str = Field(primary_key=True)
    employer_id: str = Field(foreign_key="party.id", index=True)
    name: str
    nationality: str
    individual_capacity: bool = False
    created_at: datetime = _instant()


class Project(SQLModel, table=True):
    """A study of one party, with its Chinese partner and what its plan says (Decree 717 art. 24)."""

    __tablename__: ClassVar[str] = "project"
    id: str = Field(primary_key=True)
    party_id: str = Field(foreign_key="party.id", index=True)
    title: str
    chinese_partner_id: str | None = Field(default=None, foreign_key="party.id")
    chinese_participation: bool | None = None
    records_open_and_backed_up: bool | None = None
    ended_on: date | None = None  # the last day of the study, where it has ended
    created_at: datetime = _instant()


class DutyRow(SQLModel, table=True):
    """An obligation with its due date, from the grant or withdrawal that brought it, or once it is done."""

    __tablename__: ClassVar[str] = "duty"
    id: str = Field(primary_key=True)  # `<cause>.<kind>`
    kind: str
    party_id: str = Field(foreign_key="party.id", index=True)
    subject_id: str
    no: str
    zh: str
    en: str
    due: date | None = None
    done_on: date | None = None
    done_by: str | None = None
    evidence_sha256: str = ""
    alert: int | None = None
    created_at: datetime = _instant()


class CalendarDay(SQLModel, table=True):
    """A day of a year that the kept calendar does not know, as the State Council's notice says."""

    __tablename__: ClassVar[str] = "calendar_day"
    day: date = Field(primary_key=True)
    working: bool
    note: str = ""
    created_at: datetime = _instant()


class Person(SQLModel, table=True):
    """A person who signs in: officers, administrators, auditors, regulators. Never shared."""

    __tablename__: ClassVar[str] = "person"
    id: str = Field(primary_key=True)
    login: str = Field(unique=True)
    name: str
    party_id: str = Field(foreign_key="party.id")
    roles: list[str] = _json(list)
    password_hash: str
    totp_secret: str  # sealed under a key outside the database
    totp_last_step: int = 0  # a code is good once (RFC 6238 §5.2)
    failures: int = 0
    locked_until: datetime | None = _instant_or_none()
    active: bool = True
    created_at: datetime = _instant()


class SignIn(SQLModel, table=True):
    """A signed-in session of a person; only the hash of its token is kept."""

    __tablename__: ClassVar[str] = "sign_in"
    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    token_hash: str = Field(unique=True)
    created_at: datetime = _instant()
    last_seen_at: datetime = _instant()
    expires_at: datetime = _instant()
    ended_at: datetime | None = _instant_or_none()


class ApiKey(SQLModel, table=True):
    """An API key: its public id and the HMAC of the whole; the secret is shown once, never kept."""

    __tablename__: ClassVar[str] = "api_key"
    id: str = Field(primary_key=True)  # the public part, inside the key text
    party_id: str = Field(foreign_key="party.id", index=True)
    label: str
    secret_hmac: str
    pepper: str  # which pepper made the HMAC
    scopes: list[str] = _json(list)
    networks: list[str] = _json(list)  # CIDR; empty: from anywhere
    created_by: str
    created_at: datetime = _instant()
    expires_at: datetime = _instant()
    last_used_at: datetime | None = _instant_or_none()
    rotated_from: str | None = None
    revoked_at: datetime | None = _instant_or_none()
    revoked_reason: str = ""


class RevokedToken(SQLModel, table=True):
    """An access token taken back before its end, by its `jti` (RFC 7009)."""

    __tablename__: ClassVar[str] = "revoked_token"
    jti: str = Field(primary_key=True)
    expires_at: datetime = _instant()
    revoked_at: datetime = _instant()


class Idempotency(SQLModel, table=True):
    """What was answered to one client's `Idempotency-Key`, so that a retry gets the same answer."""

    __tablename__: ClassVar[str] = "idempotency"
    client: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    route: str
    body_hash: str
    status: int
    response: bytes
    headers: dict[str, str] = _json()
    created_at: datetime = _instant()


# --- what is held and what was agreed -----------------------------------------------------------


class Collection(SQLModel, table=True):
    """Where holdings come from: site, source institution, deposit agreement. None is unknown."""

    __tablename__: ClassVar[str] = "collection"
    id: str = Field(primary_key=True)
    code: str = Field(unique=True)
    name_zh: str
    name_en: str
    country: str
    source_party_id: str = Field(foreign_key="party.id")
    owner_consent_needed: bool = False  # the deposit agreement reserves a say to the source
    special_region: bool | None = None
    source_documented: bool | None = None
    source_lawful: bool | None = None
    invented: bool = False
    created_at: datetime = _instant()
    voided_at: datetime | None = _instant_or_none()  # nothing of it may be provided any more


class ConsentForm(SQLModel, table=True):
    """A consent form of one site and version. Its ticks mean nothing until a mapping is signed."""

    __tablename__: ClassVar[str] = "consent_form"
    id: str = Field(primary_key=True)
    collection_id: str = Field(foreign_key="collection.id", index=True)
    version: str
    title: str
    ethics_paper_id: str | None = Field(default=None, foreign_key="paper.id")
    valid_from: date
    valid_to: date | None = None
    text_sha256: str
    created_at: datetime = _instant()
    voided_at: datetime | None = _instant_or_none()  # nobody agreed to anything on it
    __table_args__ = (UniqueConstraint("collection_id", "version"),)


class FormMapping(SQLModel, table=True):
    """What a form's ticks mean: DUO terms, the six statutory items, our own terms. Two people sign.

    `mapping`: {"always": {...}, "ticks": {tick: {...}}}, each part with permissions, modifiers, told
    and terms as `policies.consent.Profile` names them.
    """

    __tablename__: ClassVar[str] = "form_mapping"
    id: str = Field(primary_key=True)
    form_id: str = Field(foreign_key="consent_form.id", index=True)
    mapping: dict[str, Any] = _json()
    proposed_by: str
    proposed_at: datetime = _instant()
    confirmed_by: str | None = None
    confirmed_at: datetime | None = _instant_or_none()
    __table_args__ = (
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", name="two_people"),
    )


class ConsentProfile(SQLModel, table=True):
    """One form with one set of ticks, shared by many donors. Its meaning follows the mapping."""

    __tablename__: ClassVar[str] = "consent_profile"
    id: str = Field(primary_key=True)  # one per form and ticks: whoever interns them sees to that
    form_id: str = Field(foreign_key="consent_form.id", index=True)
    ticks: list[str] = _json(list)  # sorted; e.g. "gru", "ds:DOID:162"


class Donor(SQLModel, table=True):
    """A donor: opaque id, the bank's code, and the few facts the law asks for. None is unknown."""

    __tablename__: ClassVar[str] = "donor"
    id: str = Field(primary_key=True)
    code: str = Field(unique=True)
    sex: str | None = None
    born: date | None = None
    deceased_on: date | None = None
    has_capacity: bool | None = None
    chinese: bool | None = None
    pedigree: bool | None = None  # member of an important pedigree (重要遗传家系)
    created_at: datetime = _instant()


class Consent(SQLModel, table=True):
    """What one donor agreed to at one collection. `code` is the bank's own number of it, if it has one."""

    __tablename__: ClassVar[str] = "consent"
    id: str = Field(primary_key=True)
    code: str | None = Field(default=None, unique=True)
    donor_id: str = Field(foreign_key="donor.id", index=True)
    collection_id: str = Field(foreign_key="collection.id", index=True)
    profile_id: str = Field(foreign_key="consent_profile.id", index=True)
    signed_on: date
    written: bool | None = None
    by_guardian: bool = False
    guardian_consent: bool | None = None
    reconsented_on: date | None = None  # the donor agreed anew as an adult
    expires_on: date | None = None
    recorded_at: datetime = _instant()


class Withdrawal(SQLModel, table=True):
    """A donor's withdrawal: from everything, one study, data, material or contact."""

    __tablename__: ClassVar[str] = "withdrawal"
    id: str = Field(primary_key=True)
    donor_id: str = Field(foreign_key="donor.id", index=True)
    scope: str  # everything | study | data | material | contact
    project_id: str | None = Field(default=None, foreign_key="project.id")
    effective_at: datetime = _instant()
    channel: str
    recorded_by: str
    recorded_at: datetime = _instant()


class DonorChange(SQLModel, table=True):
    """The version of the facts at which rows of a donor last changed: their own, a consent, a holding.

    What a cohort index reads anew. Kept once there is an index (`bank.noted_since`).
    """

    __tablename__: ClassVar[str] = "donor_change"
    donor_id: str = Field(primary_key=True)
    version: int = Field(index=True)


class Holding(SQLModel, table=True):
    """One tube or one data item, under the consent it was taken under."""

    __tablename__: ClassVar[str] = "holding"
    id: str = Field(primary_key=True)
    code: str = Field(unique=True)  # tube id or data item id
    donor_id: str = Field(foreign_key="donor.id", index=True)
    consent_id: str | None = Field(default=None, foreign_key="consent.id", index=True)
    collection_id: str = Field(foreign_key="collection.id", index=True)
    kind: str  # whole_blood, blood_cells, …, genome, exome, clinical
    item_class: str | None = None  # material | information
    data_class: str | None = None
    contains_cells: bool | None = None
    extracted_nucleic_acid: bool | None = None
    derived: str | None = None  # primary | immortalised | CDX | PDX | blank_matrix
    collected_on: date | None = None
    collected_abroad: bool | None = None
    disease: str | None = Field(default=None, index=True)  # DOID term
    units: int = 1  # tubes left, or 1 for a data item
    sha256: str | None = None  # of a data item
    bytes: int | None = None
    available: bool = True
    kept: int = 0  # tubes of these that stay, for the donor
    reserved: int = 0  # tubes of these that live grants were promised
    volume_ul: int | None = None  # in each tube, microlitres
    __table_args__ = (
        CheckConstraint("units >= 0", name="units_left"),
        CheckConstraint("reserved >= 0 AND kept >= 0", name="reserved"),
    )


# --- papers, findings of fact ---------------------------------------------------------------------


class Paper(SQLModel, table=True):
    """Licence, approval, filing, certificate, report, receipt, ethics opinion, waiver, agreement.

    Counts only when a second person has checked it, and until it is voided. `number` is opaque.
    `scope`: purposes, types, parties (party ids), sites, collections, dataset_sha256, clauses, and
    flags of its kind (committee_registered, before_start, …); an absent list means not stated.
    `documents`: what belongs to it, by name → SHA-256. `issued_on` None: on its first day.
    """

    __tablename__: ClassVar[str] = "paper"
    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    number: str
    issuer: str
    holder_id: str = Field(foreign_key="party.id")
    project_id: str | None = Field(default=None, foreign_key="project.id", index=True)
    collection_id: str | None = Field(default=None, foreign_key="collection.id", index=True)
    valid_from: date
    valid_to: date | None = None
    open_ended: bool = False
    scope: dict[str, Any] = _json()
    document_sha256: str
    recorded_by: str
    recorded_at: datetime = _instant()
    checked_by: str | None = None
    checked_at: datetime | None = _instant_or_none()
    voided_at: datetime | None = _instant_or_none()
    void_reason: str = ""
    invented: bool = False
    issued_on: date | None = None
    documents: dict[str, str] | None = Field(default=None, sa_type=JSON)
    __table_args__ = (
        CheckConstraint("checked_by IS NULL OR checked_by <> recorded_by", name="two_people"),
    )


class Quota(SQLModel, table=True):
    """How much of one measure a paper allows, and its ledger accounts: never overdrawn, by constraint.

    Free is what is neither reserved nor released. Until `opened`, by two people's word on what was drawn
    before it was kept here, nobody knows how much that is.
    """

    __tablename__: ClassVar[str] = "quota"
    id: str = Field(primary_key=True)
    paper_id: str = Field(foreign_key="paper.id", index=True)
    measure: str  # people | units | volume_ul | bytes
    total: int
    opened: bool = False
    reserved: int = 0
    released: int = 0
    __table_args__ = (
        CheckConstraint(
            "reserved >= 0 AND released >= 0 AND reserved + released <= total",
            name="never_overdrawn",
        ),
        UniqueConstraint("paper_id", "measure"),
    )


class Posting(SQLModel, table=True):
    """One movement in the ledger, from one account of a quota or of a holding's tubes to another.

    Accounts: free | reserved | released. Append-only: the postings of an account sum to its balance.
    """

    __tablename__: ClassVar[str] = "posting"
    n: int | None = Field(default=None, primary_key=True)
    quota_id: str | None = Field(default=None, foreign_key="quota.id", index=True)
    holding_id: str | None = Field(default=None, foreign_key="holding.id", index=True)
    source: str
    target: str
    amount: int
    grant_id: str | None = Field(default=None, index=True)
    cause_id: str  # of the grant, release, opening or paper that moved it
    at: datetime = _instant()
    __table_args__ = (
        CheckConstraint("(quota_id IS NULL) <> (holding_id IS NULL)", name="one_subject"),
        CheckConstraint("amount > 0 AND source <> target", name="moves"),
    )


class Determination(SQLModel, table=True):
    """An officers' finding for a form, collection or party, by two people, with reason and expiry.

    `finding`: party_chinese | form_adequate | source_lawful | origin_abroad.
    """

    __tablename__: ClassVar[str] = "determination"
    id: str = Field(primary_key=True)
    subject_kind: str  # party | form | collection
    subject_id: str = Field(index=True)
    finding: str
    value: bool
    reason: str
    evidence_sha256: str
    expires_on: date | None = None
    proposed_by: str
    proposed_at: datetime = _instant()
    confirmed_by: str | None = None
    confirmed_at: datetime | None = _instant_or_none()
    revoked_at: datetime | None = _instant_or_none()
    __table_args__ = (
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", name="two_people"),
    )


class Correction(SQLModel, table=True):
    """A shared fact voided by one person, or corrected by two; `before` is what it said until then.

    `kind`: paper | form | collection | party. `act`: void, which counts at once, or correct, which
    counts once `confirmed_by` is there.
    """

    __tablename__: ClassVar[str] = "correction"
    id: str = Field(primary_key=True)
    kind: str
    subject_id: str = Field(index=True)
    act: str  # void | correct
    said: dict[str, Any] = _json()
    before: dict[str, Any] = _json()
    reason: str
    evidence_sha256: str
    proposed_by: str
    proposed_at: datetime = _instant()
    confirmed_by: str | None = None
    applied_at: datetime | None = _instant_or_none()
    __table_args__ = (
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", name="two_people"),
    )


# --- requests, decisions, cases -------------------------------------------------------------------


class AccessRequest(SQLModel, table=True):
    """A request of one party; what it says is in its versions."""

    __tablename__: ClassVar[str] = "access_request"
    id: str = Field(primary_key=True)
    party_id: str = Field(foreign_key="party.id", index=True)
    key_id: str
    project_id: str = Field(foreign_key="project.id", index=True)
    state: str  # draft | held | in_review | granted | denied | rejected | withdrawn | closed
    version: int
    revision: int  # for ETag / If-Match; rises with every change
    created_at: datetime = _instant(index=True)
    updated_at: datetime = _instant()


class RequestVersion(SQLModel, table=True):
    """One version of a request, frozen once submitted."""

    __tablename__: ClassVar[str] = "request_version"
    request_id: str = Field(primary_key=True, foreign_key="access_request.id")
    n: int = Field(primary_key=True)
    body: bytes  # canonical JSON of the schema `AccessRequestBody`
    submitted_at: datetime | None = _instant_or_none()
    saved_by: str
    saved_at: datetime = _instant()


class DecisionRow(SQLModel, table=True):
    """Where a decision is: its document's digest and its leaf; the document is in the log."""

    __tablename__: ClassVar[str] = "decision"
    id: str = Field(primary_key=True)
    request_id: str | None = Field(default=None, foreign_key="access_request.id", index=True)
    version: int | None = None
    party_id: str = Field(index=True)
    occasion: str  # evaluation | submission | redecision | release
    outcome: str
    blind: bool = False  # a researcher's dry run over few donors: made without donor-level facts
    as_of: date
    document_sha256: str
    leaf_index: int = Field(index=True)
    facts_version: int
    decided_at: datetime = _instant()
    law_generation_id: str | None = None  # None: decided before generations were kept
    earlier: bool | None = (
        None  # a dry run answered for a cohort counted before, too near to be told apart
    )


class DecisionRestsOn(SQLModel, table=True):
    """A shared fact one decision rests on: whom its voiding or correction reaches.

    `kind`: party | paper | form | collection | project.
    """

    __tablename__: ClassVar[str] = "decision_rests_on"
    decision_id: str = Field(primary_key=True, foreign_key="decision.id")
    kind: str = Field(primary_key=True)
    subject_id: str = Field(primary_key=True, index=True)


class CountQuery(SQLModel, table=True):
    """A researcher's dry run: what was counted, and the decision that says how many."""

    __tablename__: ClassVar[str] = "count_query"
    n: int | None = Field(default=None, primary_key=True)
    party_id: str
    key_id: str
    project_id: str
    kinds: str  # sorted, a space between two
    people: int  # asked for, exact
    cohort: str | None = None  # JSON; None: nothing later is held against it
    decision_id: str = Field(foreign_key="decision.id")
    asked_at: datetime = _instant()
    __table_args__ = (
        Index("ix_count_query_party", "party_id", "asked_at"),
        Index("ix_count_query_key", "key_id", "project_id", "asked_at"),
    )


class ReviewCase(SQLModel, table=True):
    """One item of the review queue, over one request."""

    __tablename__: ClassVar[str] = "review_case"
    id: str = Field(primary_key=True)
    request_id: str = Field(foreign_key="access_request.id", index=True)
    decision_id: str = Field(foreign_key="decision.id")
    state: str = Field(index=True)
    revision: int
    opened_at: datetime = _instant(index=True)
    updated_at: datetime = _instant()


class CaseEvent(SQLModel, table=True):
    """What happened to a case, in order; append-only. `data` keeps what the command carried."""

    __tablename__: ClassVar[str] = "case_event"
    case_id: str = Field(primary_key=True, foreign_key="review_case.id")
    n: int = Field(primary_key=True)
    event: str
    from_state: str | None = None
    to_state: str
    person_id: str | None = None  # None: the gateway itself
    reason: str = ""
    data: dict[str, Any] = _json()
    dossier_sha256: str = ""
    leaf_index: int | None = None
    at: datetime = _instant()


# --- grants and releases --------------------------------------------------------------------------


class Grant(SQLModel, table=True):
    """Access until a date, resting on one decision. `accepted`: rules officers disposed of."""

    __tablename__: ClassVar[str] = "grant_"  # GRANT is a word of SQL
    id: str = Field(primary_key=True)
    request_id: str = Field(foreign_key="access_request.id", index=True)
    decision_id: str = Field(foreign_key="decision.id")
    party_id: str = Field(foreign_key="party.id", index=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    state: str  # active | suspended | expired | revoked | completed
    until: date
    accepted: list[str] = _json(list)
    revision: int = 1
    created_at: datetime = _instant(index=True)
    updated_at: datetime = _instant()


class GrantItem(SQLModel, table=True):
    """One holding under a grant; taken out, it stays listed with the reason."""

    __tablename__: ClassVar[str] = "grant_item"
    grant_id: str = Field(primary_key=True, foreign_key="grant_.id")
    holding_id: str = Field(primary_key=True, foreign_key="holding.id")
    donor_id: str = Field(foreign_key="donor.id", index=True)
    units: int
    material: bool = True  # or of unknown class, which counts as material
    volume_ul: int | None = None  # of all its units; None: not known, and of data none
    bytes: int | None = None  # of a data item; None: not known, and of material none
    removed_at: datetime | None = _instant_or_none()
    removed_reason: str = ""


class Release(SQLModel, table=True):
    """One handing-over under a live grant: intended, done or broken, then received."""

    __tablename__: ClassVar[str] = "release"
    id: str = Field(primary_key=True)
    grant_id: str = Field(foreign_key="grant_.id", index=True)
    decision_id: str = Field(foreign_key="decision.id")
    state: str  # intended | done | received | broken
    manifest: bytes
    manifest_sha256: str
    visa: str
    handed_by: str = ""
    handed_how: str = ""
    handed_at: datetime | None = _instant_or_none()
    received_by: str = ""
    received_at: datetime | None = _instant_or_none()
    receipt_sha256: str = ""
    created_at: datetime = _instant(index=True)


class ReleaseItem(SQLModel, table=True):
    """One holding that went out, under the project's pseudonym."""

    __tablename__: ClassVar[str] = "release_item"
    release_id: str = Field(primary_key=True, foreign_key="release.id")
    holding_id: str = Field(primary_key=True, foreign_key="holding.id")
    donor_id: str = Field(foreign_key="donor.id", index=True)
    pseudonym: str
    units: int


class ReleasedDonor(SQLModel, table=True):
    """A donor given to a party for a project, by class and year: what the counters count.

    Kept as it was, and counted for whoever controls the recipient on the day of a decision. `group_id` is
    its control group on the day itself: what a group got stays with it when it sells the company.
    """

    __tablename__: ClassVar[str] = "released_donor"
    source_id: str = Field(primary_key=True)  # of the release, or of the opening that states it
    party_id: str = Field(primary_key=True)
    project_id: str = Field(primary_key=True)
    data_class: str = Field(primary_key=True)
    donor_id: str = Field(primary_key=True)
    year: int = Field(primary_key=True)  # of the release, in Shanghai
    group_id: str
    overseas: bool
    __table_args__ = (  # every decision counts: these hold all it reads, donors in order
        Index(
            "ix_released_donor_project",
            "project_id",
            "donor_id",
            "data_class",
            "party_id",
            "group_id",
            "source_id",
        ),
        Index("ix_released_donor_year", "year", "overseas", "donor_id", "data_class", "source_id"),
    )


class Opening(SQLModel, table=True):
    """Opening balances as one signed file: proposed by one person, counted once another confirms its digest.

    `whole`: the counters it declares complete up to the end of `through` (`donors`, `people_abroad`).
    `people_abroad`: year → [sensitive, all] of people it knows only by number. An opening that a confirmed
    one `corrects` counts no more.
    """

    __tablename__: ClassVar[str] = "opening"
    id: str = Field(primary_key=True)
    sha256: str = Field(unique=True)
    content: bytes
    through: date
    whole: list[str] = _json(list)
    people_abroad: dict[str, list[int]] = _json()
    corrects: str | None = Field(default=None, foreign_key="opening.id")
    proposed_by: str
    proposed_at: datetime = _instant()
    confirmed_by: str | None = None
    confirmed_at: datetime | None = _instant_or_none()
    __table_args__ = (
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", name="two_people"),
    )


class IntakeFile(SQLModel, table=True):
    """How far the loading of one file has come, so that it goes on behind what was loaded.

    `mapping_sha256` is of the mapping it is read by; empty for none. `feed_at` is of when its rows speak: as
    its sample system said, or else when its loading began; None until it came to its end.
    """

    __tablename__: ClassVar[str] = "intake_file"
    id: str = Field(primary_key=True)
    kind: str
    sha256: str
    mapping_sha256: str
    line: int  # the last one loaded, or found wrong
    wrong: int = 0  # rows up to there that were not loaded
    begun_at: datetime = _instant()
    done_at: datetime | None = _instant_or_none()
    feed_at: datetime | None = _instant_or_none()
    __table_args__ = (
        UniqueConstraint("kind", "sha256", "mapping_sha256"),
        Index("ix_intake_file_kind_feed_at", "kind", "feed_at"),
    )


class ExportRow(SQLModel, table=True):
    """One audit export: who asked, up to which checkpoint, where the file is and its digest."""

    __tablename__: ClassVar[str] = "export"
    id: str = Field(primary_key=True)
    asked_by: str
    size: int  # leaves inside
    file_name: str
    sha256: str
    bytes: int
    created_at: datetime = _instant()


# Bytes and microlitres pass 2³¹. An INTEGER of SQLite is as long as it must be; PostgreSQL's is not.
for _table in metadata.tables.values():
    for _column in _table.columns:
        if type(_column.type) is Integer:
            _column.type = BigInteger().with_variant(Integer(), "sqlite")
