"""What a donor agreed to, what a request is for, and whether one covers the other.

The rules it keeps: not asked is not yes (three-valued throughout); a DUO modifier is never ignored;
a narrow permission is never stretched to a broad purpose. Source: GA4GH Data Use Ontology, release
2021-02-23; Regulations on HGR (Decree 717) art. 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NewType

ProfileId = NewType("ProfileId", str)


class Told(StrEnum):
    """The six things a donor must have been told beforehand (Decree 717 art. 12)."""

    PURPOSE = "purpose"
    USE = "use"
    HEALTH_EFFECT = "health_effect"
    PRIVACY = "privacy"
    VOLUNTARY = "voluntary"
    WITHDRAWAL = "withdrawal"


class Term(StrEnum):
    """Our own consent terms, beside DUO and never minted under its prefix: True, False or absent."""

    FOREIGN_SHARING = "hgr:foreign_sharing"
    SEPARATE_PI_EXPORT = "hgr:separate_pi_export"
    SEPARATE_PI_PROVISION = "hgr:separate_pi_provision"
    COMMERCIAL_USE = "hgr:commercial_use"
    GENETIC_ANALYSIS = "hgr:genetic_analysis"
    LINKAGE = "hgr:linkage"
    RECONTACT = "hgr:recontact"


@dataclass(frozen=True, slots=True, kw_only=True)
class DuoTerm:
    """One DUO code of a consent with its parameters.

    `values`: disease terms (DS), research types (RS), countries (GS), users (US), project ids (PS),
    institution ids (IS), collaborator ids (COL), one ISO date (MOR), one number of months (TS).
    """

    code: str  # "DUO:0000007"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The distinct combination of choices and form that many donors share.

    `mapped` is False for a form whose ticks two officers have not yet mapped: everything it says is
    then unknown. `terms` holds Term values that were asked; a term not asked is absent.
    """

    id: ProfileId
    mapped: bool
    permissions: tuple[DuoTerm, ...] = ()
    modifiers: tuple[DuoTerm, ...] = ()
    told: frozenset[Told] = frozenset()
    terms: Mapping[Term, bool] = field(default_factory=dict)


class Research(StrEnum):
    """What kind of use is asked for (DUO investigation classes DUO:0000031 to 0000040)."""

    GENERAL = "general"
    HEALTH = "health"
    DISEASE = "disease"
    ANCESTRY = "ancestry"
    METHODS = "methods"
    CLINICAL_CARE = "clinical_care"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """The use asked for, in the terms a consent speaks of. None is unknown, never no.

    `diseases` are disease terms (DOID); `disease_ancestors` maps each to all its ancestors (itself
    excluded), taken by the caller from the pinned disease tree so that matching stays pure.
    """

    research: Research
    diseases: tuple[str, ...] = ()
    disease_ancestors: Mapping[str, frozenset[str]] = field(default_factory=dict)
    research_types: tuple[str, ...] = ()
    commercial: bool | None = None
    not_for_profit: bool | None = None  # every organisation that would receive is not-for-profit
    genetic: bool | None = None  # the study includes genotype research
    countries: frozenset[str] | None = None  # ISO 3166-1 alpha-2, where it is used and accessed
    institution: str | None = None
    users: tuple[str, ...] | None = None
    project: str | None = None
    collaborators: tuple[str, ...] | None = None
    ethics_approved: bool | None = None
    publication_planned: bool | None = None
    publication_from: date | None = None


class Reason(StrEnum):
    """Why a consent does not cover a purpose, or why that is not known: stable codes."""

    FORM_UNMAPPED = "form_unmapped"
    NO_PERMISSION = "no_permission"
    PERMISSION_TOO_NARROW = "permission_too_narrow"
    DISEASE_NOT_COVERED = "disease_not_covered"
    ANCESTRY_EXCLUDED = "ancestry_excluded"
    ANCESTRY_ONLY = "ancestry_only"
    METHODS_EXCLUDED = "methods_excluded"
    GENETIC_ONLY = "genetic_only"
    FOR_PROFIT = "for_profit"
    COMMERCIAL = "commercial"
    PLACE = "place"
    RESEARCH_TYPE = "research_type"
    INSTITUTION = "institution"
    USER = "user"
    PROJECT = "project"
    COLLABORATION = "collaboration"
    ETHICS = "ethics"
    MORATORIUM = "moratorium"
    CLINICAL_CARE = "clinical_care"
    UNKNOWN_CODE = "unknown_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """A duty a consent attaches to a use: PUB, COL, RTN, MOR, TS, GS and their parameter."""

    code: str  # DUO code
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Whether one consent covers one purpose: True, False, or None (unknown), with reasons."""

    covers: bool | None
    reasons: tuple[Reason, ...] = ()  # why not (covers False) or what is missing (covers None)
    duties: tuple[Duty, ...] = ()
