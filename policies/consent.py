"""What a donor agreed to, what a request is for, and whether one covers the other.

The rules it keeps: not asked is not yes (three-valued throughout); a DUO modifier is never ignored;
a narrow permission is never stretched to a broad purpose; what cannot be read makes the answer unknown.
Source: GA4GH Data Use Ontology, release 2021-02-23; Regulations on HGR (Decree 717) art. 12.

    >>> donor = Profile(id=ProfileId("p"), mapped=True, permissions=(DuoTerm(code=Duo.HMB),))
    >>> coverage(donor, Purpose(research=Research.ANCESTRY, commercial=False)).reasons
    (<Reason.ANCESTRY_EXCLUDED: 'ancestry_excluded'>,)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import NewType

from policies.duo import PERMISSIONS, Duo, current, is_complete

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


class _Read:
    """Room beside the fields of a profile for what it says, which is read once."""

    __slots__ = ("_parts",)
    _parts: tuple[_Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(_Read):
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

    @property
    def parts(self) -> tuple[_Part, ...]:
        """What it says, for `Matching`."""
        try:
            return self._parts
        except AttributeError:
            object.__setattr__(self, "_parts", tuple(_parts(self)))
            return self._parts


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
    excluded), taken by the caller from the pinned disease tree so that matching stays pure. Like
    `research`, the diseases state the purpose: naming none states none. `ethics_approved` is False for
    a refusal, None while an approval may still come. `collaborators` empty says: with nobody.
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
    PUBLICATION = "publication"
    GENETIC_REFUSED = "genetic_refused"  # the donor said no to genetic analysis
    PARAMETER = "parameter"  # a term of the consent lacks its parameter, or has one nobody can read
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


#: Reasons that stay open only because the applicant left this attribute of the purpose out.
_LEFT_OUT: Mapping[Reason, str] = {
    Reason.COMMERCIAL: "commercial",
    Reason.ETHICS: "ethics_approved",
    Reason.GENETIC_ONLY: "genetic",
    Reason.PLACE: "countries",
    Reason.USER: "users",
    Reason.COLLABORATION: "collaborators",
    Reason.PUBLICATION: "publication_planned",
    Reason.MORATORIUM: "publication_from",
}


def left_out(coverage: Coverage, purpose: Purpose) -> frozenset[str]:
    """The facts `purpose.…` an applicant must still state to close an open coverage.

    Empty if the coverage is not open, or if something else than the applicant's word leaves it open.
    """
    if coverage.covers is not None:
        return frozenset()
    names = {_LEFT_OUT.get(reason, "") for reason in coverage.reasons}
    if "" in names or any(getattr(purpose, name) is not None for name in names):
        return frozenset()
    return frozenset(f"purpose.{name}" for name in names)


# What one check says, and the reason to give if that is not True.
_Answer = tuple[bool | None, Reason]


def coverage(profile: Profile, purpose: Purpose) -> Coverage:
    """Whether this consent covers this purpose, why not, and the duties that come with it.

    1. A form whose ticks nobody has mapped says nothing: unknown.
    2. Each term is read by its code, whichever list it stands in. One that cannot be read (no code of
       the pinned release, or a parameter missing or malformed) makes the answer at best unknown.
    3. Permissions are a union: one that covers the purpose is enough, none at all is no.
    4. Every modifier, and every answer to a question of our own, can only take away.
    5. False beats unknown beats True; reasons and duties come sorted, so order in the form is nothing.

    Duties are those of every readable term, whether or not the purpose is covered.
    """
    return Matching(purpose).coverage(profile)


class Matching:
    """One purpose held against many consents; what a term says of it is found out once."""

    def __init__(self, purpose: Purpose) -> None:
        self._purpose = purpose
        self._against: dict[_Part, _Against] = {}
        self._coverage: dict[tuple[_Part, ...], Coverage] = {}

    def coverage(self, profile: Profile) -> Coverage:
        """As the function `coverage`."""
        parts = profile.parts
        found = self._coverage.get(parts)
        if found is None:
            found = self._coverage[parts] = self._covered(parts)
        return found

    def _covered(self, parts: tuple[_Part, ...]) -> Coverage:
        # 5
        refused: set[Reason] = set()
        unknown: set[Reason] = set()
        for part in parts:
            against = self._against.get(part)
            if against is None:
                against = self._against[part] = _against(part.answers(self._purpose))
            refused |= against[0]
            unknown |= against[1]
        duties = {part.duty for part in parts if part.duty is not None}
        return Coverage(
            covers=False if refused else None if unknown else True,
            reasons=tuple(sorted(refused or unknown)),
            duties=tuple(sorted(duties, key=lambda duty: (duty.code, duty.values))),
        )


#: The reasons why something is refused, and why it is unknown.
_Against = tuple[frozenset[Reason], frozenset[Reason]]


def _against(answers: Iterable[_Answer]) -> _Against:
    told = tuple(answers)
    refused, unknown = (
        frozenset(reason for verdict, reason in told if verdict is answer)
        for answer in (False, None)
    )
    return refused, unknown


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One thing a consent says: its answers to a purpose, and the duty it attaches.

    Parts that say the same are one object, as long as the caches of the functions that make them hold.
    """

    answers: Callable[[Purpose], Iterable[_Answer]]
    duty: Duty | None = None


_KEPT = 4096  # forms are few, and so are their terms

# The codes that allow something; every other only takes away.
_GIVING = PERMISSIONS | {Duo.CC}


def _parts(profile: Profile) -> Iterator[_Part]:
    """What a profile says, in parts that each are answered apart."""
    # 1
    if not profile.mapped:
        yield _open(Reason.FORM_UNMAPPED)
        return
    # 2
    terms: list[tuple[Duo, tuple[str, ...]]] = []
    doubt = False
    for term in (*profile.permissions, *profile.modifiers):
        codes = current(term.code)  # a retired code is read as its successors
        if codes and all(is_complete(code, term.values) for code in codes):
            terms.extend((code, term.values) for code in codes)
            continue
        yield _open(Reason.PARAMETER if codes else Reason.UNKNOWN_CODE)
        # It may have been the permission that covers: then the refusal by the others does not stand.
        doubt = doubt or not codes or not _GIVING.isdisjoint(codes)
    # 3. Diseases are pooled over all DS terms: two consented to one by one are both consented to.
    given = frozenset(code for code, _ in terms)
    diseases = frozenset(value for code, values in terms if code is Duo.DS for value in values)
    yield _union(given & PERMISSIONS, diseases, Duo.CC in given, doubt)
    # 4
    for code, values in terms:
        if code not in PERMISSIONS:
            yield _term(code, frozenset(values))
    said = profile.terms
    yield _own(said.get(Term.COMMERCIAL_USE), said.get(Term.GENETIC_ANALYSIS))


@lru_cache(maxsize=_KEPT)
def _open(reason: Reason) -> _Part:
    """What cannot be read is unknown."""
    return _Part(answers=lambda _: ((None, reason),))


@lru_cache(maxsize=_KEPT)
def _term(code: Duo, values: frozenset[str]) -> _Part:
    """A modifier: what it demands before release, and its duty after."""
    checks = _CHECKS.get(code, ())
    return _Part(
        answers=lambda purpose: [(check(values, purpose), reason) for reason, check in checks],
        duty=Duty(code=code.value, values=tuple(sorted(values))) if code in _DUTIES else None,
    )


@lru_cache(maxsize=_KEPT)
def _own(commercial: bool | None, genetic: bool | None) -> _Part:  # noqa: FBT001 - what was ticked
    """The answers to two questions of our own."""
    return _Part(
        answers=lambda purpose: (
            (_commercial_use(commercial, purpose), Reason.COMMERCIAL),
            (_genetic_analysis(genetic, purpose), Reason.GENETIC_REFUSED),
        )
    )


@lru_cache(maxsize=_KEPT)
def _union(
    permissions: frozenset[Duo],
    diseases: frozenset[str],
    care: bool,  # noqa: FBT001 - a key of the cache
    doubt: bool,  # noqa: FBT001 - as above
) -> _Part:
    """The union of the permissions: nothing if one covers the purpose, else why each does not.

    `doubt`: a term that could not be read may have been the permission that covers. Its own unknown
    then stands, and the refusal by the others does not.
    """

    def answers(purpose: Purpose) -> list[_Answer]:
        found = [_covered_by(code, diseases, purpose, care=care) for code in permissions]
        if not found:
            found = [(False, Reason.NO_PERMISSION)]
        verdicts = {verdict for verdict, _ in found}
        if True in verdicts:
            return []
        if None in verdicts or doubt:
            return [answer for answer in found if answer[0] is None]
        return found

    return _Part(answers=answers)


def _covered_by(  # noqa: C901, PLR0911, PLR0912 - the truth table: one arm, one sentence
    permission: Duo, diseases: frozenset[str], purpose: Purpose, *, care: bool
) -> _Answer:
    """Whether one permission covers the kind of use asked for, before any modifier.

    `diseases` are those consented to; `care` says that the modifier CC stands beside the permission.
    """
    named = bool(purpose.diseases)
    match permission, purpose.research:
        # "there is no restriction on use"
        case Duo.NRES, _:
            return True, Reason.PERMISSION_TOO_NARROW
        # "limited to the study of population origins or ancestry": not of a disease as well.
        case Duo.POA, Research.ANCESTRY if not named:
            return True, Reason.ANCESTRY_ONLY
        # CC adds clinical care, POA says nothing but ancestry: a person must read the form.
        case Duo.POA, Research.CLINICAL_CARE if care:
            return None, Reason.CLINICAL_CARE
        case Duo.POA, _:
            return False, Reason.ANCESTRY_ONLY
        # Care is not research; DUO gives it a modifier of its own (CC), so GRU, HMB, DS lack it.
        case _, Research.CLINICAL_CARE if not care:
            return False, Reason.CLINICAL_CARE
        # "general research use for any research purpose"
        case Duo.GRU, _:
            return True, Reason.PERMISSION_TOO_NARROW
        # HMB "does not include the study of population origins or ancestry"; DS stands below HMB.
        case _, Research.ANCESTRY:
            return False, Reason.ANCESTRY_EXCLUDED
        # Any research is more than health research, more than one disease (DUOS v3-v5 permit it on DS).
        case _, Research.GENERAL:
            return False, Reason.PERMISSION_TOO_NARROW
        # Methods for nothing in particular: the US NIMH repository lets HMB data be used for them given
        # "sufficient evidence that the methodology will further" health research. A person weighs that.
        case Duo.HMB, Research.METHODS if not named:
            return None, Reason.PERMISSION_TOO_NARROW
        # "allowed for health/medical/biomedical purposes"
        case Duo.HMB, _:
            return True, Reason.PERMISSION_TOO_NARROW
        # DS from here. Health at large is more than the disease, even if diseases are named beside it,
        # and so are methods for no disease (DUOS permits these by matching an empty list).
        case _, Research.HEALTH:
            return False, Reason.PERMISSION_TOO_NARROW
        case _, Research.METHODS if not named:
            return False, Reason.PERMISSION_TOO_NARROW
        # "allowed provided it is related to the specified disease"
        case _:
            return _every_disease_within(diseases, purpose), Reason.DISEASE_NOT_COVERED


def _every_disease_within(consented: frozenset[str], purpose: Purpose) -> bool | None:
    """Every disease asked for is one consented to or a kind of one (descendant closure).

    Unknown when none is named (an empty list is no match) or a disease comes without its ancestors.
    """
    if not purpose.diseases:
        return None
    verdicts: list[bool | None] = []
    for disease in purpose.diseases:
        ancestors = purpose.disease_ancestors.get(disease)
        if disease in consented:
            verdicts.append(True)
        else:
            verdicts.append(None if ancestors is None else not ancestors.isdisjoint(consented))
    return _every(verdicts)


def _every(verdicts: Iterable[bool | None]) -> bool | None:
    """Kleene's conjunction: False beats unknown beats True."""
    seen = set(verdicts)
    if False in seen:
        return False
    return None if None in seen else True


def _within(asked: Collection[str] | None, allowed: frozenset[str]) -> bool | None:
    """Everything asked for is allowed; unknown if nothing is named, since nothing is always within."""
    return None if not asked else allowed.issuperset(asked)


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _non_commercial(_: frozenset[str], purpose: Purpose) -> bool | None:
    return None if purpose.commercial is None else not purpose.commercial


def _kinds(types: frozenset[str], purpose: Purpose) -> bool | None:
    """A type not named may still be a kind of one that is: the topics of EDAM are not shipped."""
    return _within(purpose.research_types, types) or None


def _collaboration(investigators: frozenset[str], purpose: Purpose) -> bool | None:
    """DUO:0000020: "the requestor must agree to collaboration with the … investigator(s)": all named."""
    return None if purpose.collaborators is None else investigators.issubset(purpose.collaborators)


def _moratorium(until: frozenset[str], purpose: Purpose) -> bool | None:
    """DUO:0000024: "requestor agrees not to publish results of studies until a specific date"."""
    if purpose.publication_planned is False:
        return True
    if purpose.publication_from is None:
        return None
    return all(purpose.publication_from >= date.fromisoformat(day) for day in until)


_Check = tuple[Reason, Callable[[frozenset[str], Purpose], bool | None]]

_NOT_FOR_PROFIT: _Check = (Reason.FOR_PROFIT, lambda _, purpose: purpose.not_for_profit)
_NON_COMMERCIAL: _Check = (Reason.COMMERCIAL, _non_commercial)

#: What each modifier demands before release. TS and RTN demand nothing before, only after (`_DUTIES`);
#: CC gives instead of taking (`_covered_by`). `_` is the parameter of a code that has none.
_CHECKS: Mapping[Duo, tuple[_Check, ...]] = MappingProxyType(
    {
        Duo.NPU: (_NOT_FOR_PROFIT,),
        Duo.NCU: (_NON_COMMERCIAL,),
        Duo.NPUNCU: (_NOT_FOR_PROFIT, _NON_COMMERCIAL),
        Duo.GSO: ((Reason.GENETIC_ONLY, lambda _, purpose: purpose.genetic),),
        # Any research includes methods and ancestry: who asks for it asks for what is prohibited.
        Duo.NMDS: (
            (
                Reason.METHODS_EXCLUDED,
                lambda _, purpose: purpose.research not in {Research.METHODS, Research.GENERAL},
            ),
        ),
        Duo.NPOA: (
            (
                Reason.ANCESTRY_EXCLUDED,
                lambda _, purpose: purpose.research not in {Research.ANCESTRY, Research.GENERAL},
            ),
        ),
        Duo.RS: ((Reason.RESEARCH_TYPE, _kinds),),
        Duo.GS: ((Reason.PLACE, lambda places, purpose: _within(purpose.countries, places)),),
        Duo.US: ((Reason.USER, lambda users, purpose: _within(purpose.users, users)),),
        Duo.PS: ((Reason.PROJECT, lambda ids, purpose: _within(_one(purpose.project), ids)),),
        Duo.IS: (
            (Reason.INSTITUTION, lambda ids, purpose: _within(_one(purpose.institution), ids)),
        ),
        Duo.IRB: ((Reason.ETHICS, lambda _, purpose: purpose.ethics_approved),),
        # "requestor agrees to make results … available": a plan not to publish is no agreement.
        Duo.PUB: ((Reason.PUBLICATION, lambda _, purpose: purpose.publication_planned),),
        Duo.COL: ((Reason.COLLABORATION, _collaboration),),
        Duo.MOR: ((Reason.MORATORIUM, _moratorium),),
    },
)

#: The modifiers that go on binding the receiver after release.
_DUTIES = frozenset({Duo.PUB, Duo.COL, Duo.RTN, Duo.MOR, Duo.TS, Duo.GS})


def _commercial_use(granted: bool | None, purpose: Purpose) -> bool | None:  # noqa: FBT001 - as below
    """Commercial use needs a yes of its own: no DUO permission speaks of it, so not asked is unknown."""
    if granted is True or purpose.commercial is False:
        return True
    return False if granted is False and purpose.commercial is True else None


def _genetic_analysis(granted: bool | None, purpose: Purpose) -> bool | None:  # noqa: FBT001 - a tick
    """A no to genetic analysis stands; where it was not asked, the permission speaks for itself."""
    if granted is not False or purpose.genetic is False:
        return True
    return False if purpose.genetic else None
