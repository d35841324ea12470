"""The answer of the PDP: permit, hold, refer or deny, with findings, obligations and selection.

A decision has no truth value on purpose: match on it and end with `assert_never`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import ClassVar, NoReturn

from policies.request import StratumId


class Effect(StrEnum):
    """What a rule does when it holds, strongest first (design §5)."""

    DENY = "deny"
    REFER = "refer"
    REQUIRE = "require"
    OBLIGE = "oblige"
    PERMIT = "permit"


class Result(StrEnum):
    """What a rule said: its three gates are applies, in force, holds."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does_not_hold"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Owner(StrEnum):
    """Whose move it is to remove a blocker."""

    RESEARCHER = "researcher"
    INSTITUTION = "institution"
    BANK = "bank"
    GOVERNMENT = "government"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How much: distinct donors, holdings, units asked of them."""

    people: int
    items: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where the law says so; `since` when, if that text came into force later than the rule itself."""

    law: str
    article: str
    zh: str
    en: str
    since: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one rule said about one request.

    `strata` names the strata where the result holds (empty for a request-level rule). `touched` is the
    distinct people the rule bites on; `alone` those it alone keeps out (freed if only this is fixed).
    `missing` names the facts that were unknown. `ask` is the rule's question to the officer.
    """

    rule: str
    no: str
    pack: str
    edition: date
    effect: Effect
    result: Result
    says: Mapping[str, str]  # zh, en
    fix: Mapping[str, str]  # zh, en: what to do about it
    cite: tuple[Citation, ...]
    confidence: Mapping[str, str]  # content, article
    owner: Owner
    paper: str | None = None
    strata: tuple[StratumId, ...] = ()
    touched: int = 0
    alone: int = 0
    missing: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()  # consent reason codes behind a consent finding
    ask: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """A duty attached to a decision (XACML sense).

    `before_release` must be met first; otherwise `due` (a date) or `months` after the grant.
    """

    id: str
    rule: str
    no: str
    says: Mapping[str, str]
    before_release: bool = False
    due: date | None = None
    months: int | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Why strata were left out: donor- or item-level reasons only."""

    rule: str
    no: str
    strata: tuple[StratumId, ...]
    touched: int
    alone: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of the asked-for may go (if the request as a whole is permitted)."""

    asked: Count
    permitted: Count
    strata: tuple[StratumId, ...]
    excluded: tuple[Exclusion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    findings: tuple[Finding, ...]
    obligations: tuple[Obligation, ...]
    selection: Selection
    digests: Mapping[str, str]  # of packs, checked.yaml, vocabulary, derived, DUO, disease tree
    until: date | None = None  # last day it can stand on: consent, papers, licence, DUO TS

    outcome: ClassVar[str]

    def __bool__(self) -> NoReturn:
        """Refuse truthiness: a Deny taken for "something" would be a wrong permit."""
        message = "a decision has no truth value; match on it"
        raise TypeError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit(_Decided):
    """Every item has a legal basis and a consent that covers the purpose."""

    outcome: ClassVar[str] = "permit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(_Decided):
    """A paper is missing that can still be obtained; `papers` names them."""

    outcome: ClassVar[str] = "hold"
    papers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refer(_Decided):
    """A person must judge; the findings say what."""

    outcome: ClassVar[str] = "refer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny(_Decided):
    """Not allowed; the findings say by which article."""

    outcome: ClassVar[str] = "deny"


Decision = Permit | Hold | Refer | Deny
