"""What a researcher sends and gets: decisions as people read them, requests, grants, releases."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from gateway.api.schemas.parts import (
    Amount,
    Asked,
    Id,
    Instant,
    Number,
    PathOut,
    Sha256,
    Shape,
    Words,
)
from gateway.registry.ask import Ask

Outcome = Literal["permit", "hold", "refer", "deny"]


# --- decisions -------------------------------------------------------------------------------------


class CitationOut(Shape):
    """Where the law says so; `pending`: the article number is still to be checked (条号待核)."""

    law: str
    article: str
    text: Words
    pending: bool


class MissingFact(Shape):
    """A fact nobody has given yet, and who can: the applicant, the bank or an officer.

    `pointer`: where in the body the applicant says it (RFC 6901), if it is theirs to say.
    """

    fact: str
    says: Words
    source: str | None
    pointer: str | None


class Blocker(Shape):
    """One thing that stands in the way, whose move it is, and what to do about it.

    `touched`: donors it bites on. `freed_if_fixed_alone`: donors that only this keeps out. Over fewer
    than 20 donors a researcher sees every donor-level reason as one `not_available` without a number.
    """

    rule: str
    no: str | None = Field(description="the number people quote, such as R-INF-02")
    level: Literal["request", "donor"]
    effect: Literal["deny", "refer", "require"]
    result: Literal["holds", "unknown"]
    says: Words
    fix: Words
    ask: Words | None = Field(description="what an officer will ask about it")
    owner: Literal["researcher", "institution", "bank", "government"]
    cite: list[CitationOut]
    content_pending: bool = Field(description="the rule's content is still to be confirmed")
    paper: str | None
    touched: Number | None
    freed_if_fixed_alone: Number | None
    missing: list[MissingFact]
    reasons: list[str] = Field(description="codes of why a consent does not cover the purpose")
    law: str | None = Field(description="where the rule is read, as of its edition")


class Basis(Shape):
    """A legal basis that holds: what makes the permit lawful."""

    rule: str
    no: str
    says: Words
    cite: list[CitationOut]
    law: str | None = Field(description="where the rule is read, as of its edition")


class ObligationOut(Shape):
    """A duty attached to the decision: before release, or by a day, or so many months after."""

    id: str
    rule: str
    no: str
    says: Words
    before_release: bool
    due: date | None
    months: int | None
    values: list[str]


class DifferenceOut(Shape):
    """One place where this version differs from the last submitted one (RFC 6901)."""

    pointer: str
    before: object
    after: object


class LogPlace(Shape):
    """Where the decision stands in the tamper-evident log."""

    origin: str
    index: int
    leaf_hash: str = Field(description="SHA-256 of the leaf (RFC 6962), hex")


class ControlPaths(Shape):
    """Through whom a party of the request is held or steered from abroad, as the decision found it."""

    role: Literal["requester", "recipient", "sponsor", "beneficiary", "host"]
    paths: list[PathOut]


class DecisionLinks(Shape):
    """Where to go next."""

    self: str
    proof: str
    request: str | None
    case: str | None
    grant: str | None


class DecisionOut(Shape):
    """One decision, its reasons and its place in the log.

    `binding` is false for a dry run. `donor_level` is `not_considered` for a researcher's dry run over
    fewer than 20 donors: it is answered as if every donor-level answer were favourable. `cohort` is
    `earlier` where it is answered for a cohort counted before, which differs by fewer than 20 donors.
    """

    object: Literal["decision"] = "decision"
    id: str
    occasion: Literal["evaluation", "submission", "redecision", "release"]
    outcome: Outcome
    binding: bool
    donor_level: Literal["considered", "not_considered"]
    cohort: Literal["asked", "earlier"]
    as_of: date
    decided_at: Instant
    until: date | None
    request: str | None
    version: int | None
    state: str | None
    revision: int | None
    case: str | None
    grant: str | None
    asked: Amount
    permitted: Amount
    text: Words = Field(description="the whole answer in plain words")
    control: list[ControlPaths]
    blockers: list[Blocker]
    basis: list[Basis]
    obligations: list[ObligationOut]
    papers: list[str] = Field(description="papers a hold waits for")
    difference: list[DifferenceOut]
    policy: dict[str, str] = Field(description="digests of packs, vocabulary and term lists")
    log: LogPlace
    links: DecisionLinks


class MoveOut(Shape):
    """One change: a paper to obtain, a field to say or change, or a determination of two officers."""

    kind: Literal["paper", "field", "determination"]
    fact: str
    says: Words
    pointer: str | None = Field(description="where the applicant says it")


class WayOut(Shape):
    """Changes that together were decided again and came out so."""

    outcome: Literal["permit", "refer"]
    people: Number
    moves: list[MoveOut]


class WaysOut(Shape):
    """The smallest changes that would permit, fewest first; none may be known."""

    object: Literal["ways"] = "ways"
    decision: str
    ways: list[WayOut]


class ProofOut(Shape):
    """That the decision stands in the log: a C2SP inclusion proof under a signed checkpoint.

    `text` is the same as a tlog-proof file; hashes are hex, from the leaf's sibling to the root's child.
    """

    decision: str
    origin: str
    index: int
    size: int
    leaf_hash: str
    inclusion: list[str]
    checkpoint: str
    text: str


# --- requests, grants, releases, the catalogue -----------------------------------------------------


class AskedEvaluation(Asked):
    """A dry run: nothing is asked for yet."""

    ask: Ask


class AskedRequest(Asked):
    """A request: submitted at once, or saved as a draft."""

    ask: Ask
    draft: bool = False


class AskPatch(RootModel[dict[str, Any]]):
    """A JSON merge patch (RFC 7396) of the request's `ask`: null takes a member away."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"type": "object", "title": "AskPatch"}
    )


class AskedReceipt(Asked):
    """The receiver's word: which manifest arrived, and its own statement, kept by digest."""

    manifest_sha256: Sha256
    statement: Annotated[str, Field(min_length=1, max_length=4000)]


class RequestOut(Shape):
    """A request as it stands; what it says is in `ask`."""

    object: Literal["access_request"] = "access_request"
    id: str
    project: str
    state: str
    version: int
    revision: int
    ask: dict[str, Any]
    created_at: Instant
    updated_at: Instant


class SubmittedOut(RootModel[DecisionOut | RequestOut]):
    """The decision of what was submitted; for a draft, the request as it was saved."""


class GrantOut(Shape):
    """Access until a day (Asia/Shanghai, included)."""

    object: Literal["grant"] = "grant"
    id: str
    request: str
    decision: str
    project: str
    state: Literal["active", "suspended", "expired", "revoked", "completed"]
    until: date
    people: Number
    items: Number
    revision: int
    created_at: Instant
    updated_at: Instant


class ReleaseOut(Shape):
    """One handing-over under a grant.

    `manifest` is the exact text whose SHA-256 is `manifest_sha256`; `visa` a signed GA4GH
    ControlledAccessGrants visa (JWT). `left_out`: items that left the grant since it was made, if this
    answer is of the release's own making.
    """

    object: Literal["release"] = "release"
    id: str
    grant: str
    decision: str
    state: str
    manifest: str
    manifest_sha256: str
    visa: str
    left_out: Number | None
    handed_how: str
    handed_at: Instant | None
    received_by: str
    received_at: Instant | None
    receipt_sha256: str
    created_at: Instant


class KindCount(Shape):
    """How many donors of a collection have a kind of holding."""

    kind: str
    people: Number


class CollectionOut(Shape):
    """One collection of the catalogue; a count never promises that anything may go."""

    id: Id
    code: str
    name: Words
    country: str
    special_region: bool | None
    owner_consent_needed: bool
    people: Number
    kinds: list[KindCount]


class CatalogueOut(Shape):
    """What the bank keeps."""

    object: Literal["catalogue"] = "catalogue"
    collections: list[CollectionOut]
    as_of: date


class ProjectOut(Shape):
    """A study of one organisation."""

    id: str
    party: str
    title: str
    chinese_partner: str | None
    created_at: Instant
