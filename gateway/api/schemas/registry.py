"""What officers send to and read from the registers: parties, papers, forms, findings."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.api.schemas.parts import (
    Asked,
    Id,
    Instant,
    PathOut,
    Reason,
    Sha256,
    Shape,
    Words,
)
from gateway.registry.ask import Country, Day

Name = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[str, Field(pattern=r"^[0-9]{1,18}/[1-9][0-9]{0,17}$", examples=["1/2"])]
Total = Annotated[int, Field(ge=0, le=10**12)]

PaperKind = Literal[
    "preservation",
    "cooperation",
    "filing",
    "exit",
    "prior_report",
    "backup",
    "security_review",
    "ethics",
    "standard_contract",
    "cac_assessment",
    "pia",
    "customs",
    "deposit",
    "collection",
    "waiver",
    "decree_818",
    "certification",
    "change_approval",
    "change_statement",
    "site_undertaking",
    "renewal",
    "owner_consent",
]


class PaperScope(Asked):
    """What a paper is good for; what it does not state is left out, and so unknown."""

    purposes: list[Name] | None = Field(default=None, max_length=100)
    types: list[Name] | None = Field(default=None, max_length=100)
    parties: list[Id] | None = Field(default=None, max_length=100)
    sites: list[Name] | None = Field(default=None, max_length=500)
    collections: list[Id] | None = Field(default=None, max_length=500)
    dataset_sha256: list[Sha256] | None = Field(default=None, max_length=1000)
    clauses: list[Name] | None = Field(default=None, max_length=100)
    committee_registered: bool | None = None
    names_embryo: bool | None = None
    foreign_side: Literal["approved", "accepts_chinese", "none"] | None = None
    before_start: bool | None = None


class PaperQuotas(Asked):
    """How much a paper allows."""

    people: Total | None = None
    units: Total | None = Field(default=None, description="tubes and data items")
    volume_ul: Total | None = Field(default=None, description="microlitres of material")
    bytes: Total | None = Field(default=None, description="bytes of data")


class AskedPaper(Asked):
    """A paper as its first person records it; it counts when a second has checked it."""

    kind: PaperKind
    number: Name
    issuer: Name
    holder: Id
    valid_from: Day
    valid_to: Day | None = None
    open_ended: bool = False
    project: Id | None = None
    collection: Id | None = None
    scope: PaperScope = PaperScope()
    quotas: PaperQuotas = PaperQuotas()
    drawn: PaperQuotas = Field(
        default=PaperQuotas(),
        description="what was drawn of each quota before it is recorded here; say 0 where nothing was. "
        "Of what is left unsaid nobody knows what is left, until an opening balance says so",
    )
    document_sha256: Sha256
    documents: dict[Name, Sha256] = Field(default={}, max_length=100)
    issued_on: Day | None = Field(
        default=None, description="the day it was issued, where that is not its first day"
    )


class QuotaOut(Shape):
    """One quota of a paper."""

    measure: str
    total: int
    used: int = Field(description="reserved and released together")
    reserved: int = Field(description="promised to live grants")
    released: int = Field(description="gone out, or drawn before it was kept here")
    opened: bool = Field(description="it is known what was drawn before it was kept here")


class PaperOut(Shape):
    """A paper as it stands."""

    object: Literal["paper"] = "paper"
    id: str
    kind: str
    number: str
    issuer: str
    holder: str
    project: str | None
    collection: str | None
    valid_from: date
    valid_to: date | None
    open_ended: bool
    scope: dict[str, Any]
    quotas: list[QuotaOut]
    document_sha256: str
    documents: dict[str, str]
    issued_on: date | None
    recorded_by: str
    recorded_at: Instant
    checked_by: str | None
    checked_at: Instant | None
    voided_at: Instant | None
    void_reason: str


class AskedVoid(Asked):
    """Why a paper counts no more."""

    reason: Reason


class AskedCorrection(Asked):
    """A shared fact is wrong: voided by one person, or said anew by two."""

    kind: Literal["paper", "form", "collection", "party"]
    subject: Id
    act: Literal["void", "correct"]
    values: dict[str, Any] = Field(
        default={}, description="with `correct`, and only then: what is right, by name"
    )
    reason: Reason
    evidence_sha256: Sha256


class ReachedCaseOut(Shape):
    """An open case that rests on the fact; `outcome` of the new decision, null if none was made."""

    case: str
    request: str
    party: str
    state: str
    decision: str
    outcome: str | None


class ReachedGrantOut(Shape):
    """A live grant that rests on the fact: where it stands now, and how many items it lost.

    `outcome` is the new decision's, null if none was made.
    """

    grant: str
    request: str
    party: str
    state: str
    decision: str
    outcome: str | None
    removed: int


class ReachedReceiverOut(Shape):
    """Who already received something that rests on the fact and must be told."""

    release: str
    party: str


class ReachOut(Shape):
    """Whom a change reached, or would reach, with counts."""

    cases: list[ReachedCaseOut]
    grants: list[ReachedGrantOut]
    receivers: list[ReachedReceiverOut]
    counts: dict[str, int] = Field(examples=[{"cases": 1, "grants": 2, "receivers": 0}])


class ChangedOut(Shape):
    """One past decision, open case or live grant that would come out otherwise.

    `rules` say something else, as number and id; `people` selected before and after; it `stops` where
    what stands now would not.
    """

    kind: Literal["decision", "case", "grant"]
    id: str
    before: str
    after: str
    what: list[Literal["outcome", "selection", "obligations"]]
    rules: list[tuple[str, str]]
    people: tuple[int, int]
    stops: bool


class CorrectionOut(Shape):
    """A voiding or correction as it stands, with whom it reached or, until it counts, would reach.

    A preview has no `id`, `leaf_index`, `proposed_by` and `proposed_at`.
    """

    object: Literal["correction"] = "correction"
    id: str | None
    kind: str
    subject: str
    act: str
    values: dict[str, Any]
    before: dict[str, Any]
    reason: str
    evidence_sha256: str
    proposed_by: str | None
    proposed_at: Instant | None
    confirmed_by: str | None
    applied_at: Instant | None
    leaf_index: int | None
    reach: ReachOut


class AskedDetermination(Asked):
    """An officers' finding, as the first of two proposes it."""

    subject: Id
    finding: Literal[
        "party_chinese",
        "form_adequate",
        "source_lawful",
        "origin_abroad",
        "ciio",
        "important_data",
        "harm",
        "security",
        "prc_authority_approval",
        "produced_in_cooperation",
        "storage_outside_norms",
        "state_secret",
        "lines_untraceable",
        "shipment_outside_norms",
        "forged_documents",
        "exit_use_reasonable",
        "special_exit",
        "emergency_plan",
    ]
    value: bool
    reason: Reason
    evidence_sha256: Sha256
    expires_on: Day | None = None


class DeterminationOut(Shape):
    """A finding as it stands; it counts once confirmed, until revoked or expired."""

    object: Literal["determination"] = "determination"
    id: str
    subject_kind: str
    subject: str
    finding: str
    value: bool
    reason: str
    evidence_sha256: str
    expires_on: date | None
    proposed_by: str
    proposed_at: Instant
    confirmed_by: str | None
    confirmed_at: Instant | None
    revoked_at: Instant | None


class AskedMapping(Asked):
    """What a form's ticks mean: `always`, and per tick; codes, items and terms are checked."""

    always: dict[str, Any] = Field(default_factory=dict)
    ticks: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=200)


class MappingOut(Shape):
    """A proposed or confirmed reading of a form."""

    object: Literal["form_mapping"] = "form_mapping"
    id: str
    form: str
    mapping: dict[str, Any]
    proposed_by: str
    proposed_at: Instant
    confirmed_by: str | None
    confirmed_at: Instant | None


class FormOut(Shape):
    """A consent form; `mapped` when two people have signed what its ticks mean."""

    id: str
    collection: str
    version: str
    title: str
    ethics_paper: str | None
    valid_from: date
    valid_to: date | None
    text_sha256: str
    mapped: bool
    ticks: list[str] = Field(description="every tick found on it")


class AskedParty(Asked):
    """An organisation or person; what is left out is unknown, never no."""

    name_zh: Name
    name_en: Name
    country: Country
    registration: Annotated[str, Field(max_length=200)] = ""
    individual: bool = False
    legal_person: bool | None = None
    not_for_profit: bool | None = None
    hkmo_entity: bool = False
    mainland_controlled: bool | None = None
    banned_until: Day | None = None
    ban_checked: bool = False
    credit_flag: bool = False


class AskedName(Asked):
    """What a party is called from a day on."""

    name_zh: Name
    name_en: Name
    since: Day
    evidence: Annotated[str, Field(min_length=1, max_length=4000)]


class AskedMerger(Asked):
    """Which party takes it over, and the first day it is no more."""

    into: Id
    on: Day
    evidence: Annotated[str, Field(min_length=1, max_length=4000)]


class FormerNameOut(Shape):
    """What a party was called, and the last day it was."""

    name: Words
    until: date
    evidence: str


class ControlOut(Shape):
    """Who holds or steers a party on one day, by both ways of looking through; null is unknown."""

    object: Literal["control"] = "control"
    party: str
    on: date
    group: str = Field(description="whose ultimate control group it counts with")
    foreign_share_product: str | None = Field(description="shares along a chain multiplied")
    foreign_share_chain: str | None = Field(
        description="a holder half foreign or more counts whole"
    )
    foreign_votes: str | None
    contract_control: bool | None
    influence: str | None
    paths: list[PathOut]


class PartyOut(Shape):
    """A party as registered."""

    object: Literal["party"] = "party"
    id: str
    name: Words
    country: str
    registration: str
    individual: bool
    legal_person: bool | None
    not_for_profit: bool | None
    hkmo_entity: bool
    mainland_controlled: bool | None
    banned_until: date | None
    ban_checked: bool
    credit_flag: bool
    former_names: list[FormerNameOut]
    merged_into: str | None
    merged_on: date | None
    invented: bool
    created_at: Instant


class AskedEdge(Asked):
    """Who holds or steers whom, in exact shares."""

    owner: Id
    owned: Id
    share: Share
    votes: Share | None = None
    contract_control: bool = False
    influence: Literal["none", "major", "dominant"] = "none"
    valid_from: Day
    valid_to: Day | None = None
    evidence: Annotated[str, Field(min_length=1, max_length=4000)]


class EdgeOut(Shape):
    """One holding of one party in another."""

    object: Literal["control_edge"] = "control_edge"
    id: str
    owner: str
    owned: str
    share: str
    votes: str
    contract_control: bool
    influence: str
    valid_from: date
    valid_to: date | None
    evidence: str


class AskedDone(Asked):
    """That a duty was met: the day, and its evidence by hash."""

    on: Day
    evidence_sha256: Sha256


class DutyOut(Shape):
    """One duty with its due date; null where no calendar of that year is known."""

    object: Literal["duty"] = "duty"
    id: str
    kind: str
    party: str
    subject: str
    no: str
    says: Words
    due: date | None
    overdue: bool
    alert: int | None = Field(
        description="working days left before a licence ends: 90, 60, 45 or 30"
    )
    done_on: date | None
    evidence_sha256: str


class AskedEnd(Asked):
    """The last day of a study, and what shows it."""

    on: Day
    evidence: Annotated[str, Field(min_length=1, max_length=4000)]


class AskedProject(Asked):
    """A study of one party."""

    party: Id
    title: Name
    chinese_partner: Id | None = None
    chinese_participation: bool | None = None
    records_open_and_backed_up: bool | None = None


class AskedResearcher(Asked):
    """A person who would use what is released."""

    employer: Id
    name: Name
    nationality: Country
    individual_capacity: bool = False


class Registered(Shape):
    """The id of what was registered."""

    id: str


class AskedOpening(Asked):
    """Opening balances, as the text of one file (`hgr-opening-1`); its digest is that of the text in UTF-8."""

    content: Annotated[str, Field(min_length=1, max_length=512 * 1024)]


class AskedConfirmation(Asked):
    """The digest of the file that was read and is confirmed."""

    sha256: Sha256


class OpeningChange(Shape):
    """What one counter comes to: `whole` declares it complete, the others count people, before and after."""

    counter: str = Field(examples=["donors", "people_abroad", "whole"])
    of: list[str] = Field(examples=[["pty_foreign_university", "prj_sino_foreign", "genome"]])
    before: int | None
    after: int | None


class OpeningLineOut(Shape):
    """One opening: who proposed and who confirmed it; it counts once `confirmed_at` is there."""

    id: str
    sha256: str
    through: date
    whole: list[str]
    corrects: str | None
    corrected_by: str | None
    proposed_by: str
    proposed_at: Instant
    confirmed_by: str | None
    confirmed_at: Instant | None


class OpeningOut(OpeningLineOut):
    """One opening with its file; until it counts, with what confirming it would change.

    `reaches` are the open cases and live grants that would come out otherwise; null where it counts already
    or can count no more. `undecidable` are those whose request names what does not fit together any more.
    """

    object: Literal["opening"] = "opening"
    content: str
    changes: list[OpeningChange]
    reaches: list[ChangedOut] | None
    undecidable: list[str]


class OpeningsOut(Shape):
    """All openings, oldest first."""

    data: list[OpeningLineOut]


class OpeningConfirmedOut(OpeningLineOut):
    """An opening that counts from here on, and the open cases and live grants decided again with it."""

    object: Literal["opening_confirmation"] = "opening_confirmation"
    leaf_index: int
    reach: ReachOut
