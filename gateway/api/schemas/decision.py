"""A decision as people read it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from gateway.api.schemas.parts import Amount, Instant, Number, Shape, Words

Outcome = Literal["permit", "hold", "refer", "deny"]


class CitationOut(Shape):
    """Where the law says so; `pending`: the article number is still to be checked (条号待核)."""

    law: str
    article: str
    text: Words
    pending: bool


class MissingFact(Shape):
    """A fact nobody has given yet, and who can: the applicant, the bank or an officer."""

    fact: str
    says: Words
    source: str | None


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
    owner: Literal["researcher", "institution", "bank", "government"]
    cite: list[CitationOut]
    content_pending: bool = Field(description="the rule's content is still to be confirmed")
    paper: str | None
    touched: Number | None
    freed_if_fixed_alone: Number | None
    missing: list[MissingFact]
    reasons: list[str] = Field(description="codes of why a consent does not cover the purpose")


class Basis(Shape):
    """A legal basis that holds: what makes the permit lawful."""

    rule: str
    no: str
    says: Words
    cite: list[CitationOut]


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
    fewer than 20 donors: it is answered as if every donor-level answer were favourable.
    """

    object: Literal["decision"] = "decision"
    id: str
    occasion: Literal["evaluation", "submission", "redecision", "release"]
    outcome: Outcome
    binding: bool
    donor_level: Literal["considered", "not_considered"]
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
    blockers: list[Blocker]
    basis: list[Basis]
    obligations: list[ObligationOut]
    papers: list[str] = Field(description="papers a hold waits for")
    difference: list[DifferenceOut]
    policy: dict[str, str] = Field(description="digests of packs, vocabulary and term lists")
    log: LogPlace
    links: DecisionLinks


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
