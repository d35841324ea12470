"""The PDP (policy decision point): the pure function from a question and the law to a decision.

The rules it keeps: donors first, then the request; every applicable rule is evaluated and reported,
and their order never matters; what is unknown never helps; nothing that goes wrong ends in a permit.

    decision = decide(question, load())
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from datetime import date
from enum import Enum, auto
from operator import attrgetter
from typing import assert_never

from policies.decision import (
    Count,
    Decision,
    Deny,
    Effect,
    Exclusion,
    Finding,
    Hold,
    Obligation,
    Permit,
    Refer,
    Result,
    Selection,
)
from policies.derived import PROVIDING
from policies.findings import (
    END_OF_USE,
    NOTHING_ASKED,
    Weights,
    duties_of_consents,
    duties_of_rules,
    months_after,
    no_grounds,
)
from policies.hearing import Grounds, Hearing, Verdict
from policies.request import PolicyError, Question, StratumId
from policies.rules import Law, Rule
from policies.vocabulary import Vocabulary


class Outcome(Enum):
    """The four answers, before what comes with them."""

    PERMIT = auto()
    HOLD = auto()
    REFER = auto()
    DENY = auto()


class Unknown(Enum):
    """Who could clear up what is unknown about a prohibition, judgement or requirement."""

    NOTHING = auto()
    BY_APPLICANT = auto()
    BY_PERSON = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a request stands with all rules taken together; what `combine` decides on.

    `prohibited`: a deny holds of the request, or every stratum is out, or nothing was asked for.
    `grounded`: every selected stratum has a legal basis and a consent that covers the purpose.
    """

    prohibited: bool
    unknown: Unknown
    referred: bool
    lacking: bool
    grounded: bool | None


def combine(standing: Standing) -> Outcome:  # noqa: PLR0911 - one arm, one sentence
    """The truth table of design §5, strongest first."""
    match standing:
        # A prohibition holds: no paper and no person can lift it.
        case Standing(prohibited=True):
            return Outcome.DENY
        # Whether a prohibition or requirement bites is open, and the applicant cannot say: a person must.
        case Standing(unknown=Unknown.BY_PERSON):
            return Outcome.REFER
        # The law itself leaves it to a person's judgement.
        case Standing(referred=True):
            return Outcome.REFER
        # What is open, the applicant can say.
        case Standing(unknown=Unknown.BY_APPLICANT):
            return Outcome.HOLD
        # A paper is missing that can still be obtained.
        case Standing(lacking=True):
            return Outcome.HOLD
        # Nothing stands in the way, and every item has a basis and a covering consent.
        case Standing(grounded=True):
            return Outcome.PERMIT
        # Nothing stands in the way, but whether there is a basis or consent is open.
        case Standing(grounded=None):
            return Outcome.REFER
        # What no law allows is not allowed.
        case _:
            return Outcome.DENY


def decide(question: Question, law: Law) -> Decision:
    """The decision on a question under the law of its day, the same bytes every time.

    Raises PolicyError for a question that makes no sense or a derived fact that fails; whoever called
    must then give no access.
    """
    try:
        return _decide(Hearing(question, law))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PolicyError(f"the rules could not be evaluated: {error}") from error


def _decide(hearing: Hearing) -> Decision:
    """1 what the rules say · 2 the grounds · 3 combine · 4 report · 5 what comes with it."""
    # 1
    verdicts = tuple(hearing.verdicts())
    asked_nothing = not hearing.scopes and hearing.request("request.action") in PROVIDING
    out_altogether = bool(hearing.scopes) and not hearing.selected
    # 2
    grounds = {one: hearing.grounds(one) for one in hearing.selected}
    # 3
    blocking = [verdict for verdict in verdicts if verdict.blocks]
    holding = {one.rule.acts_as for one in blocking if one.result is Result.HOLDS}
    standing = Standing(
        prohibited=asked_nothing or out_altogether or Effect.DENY in holding,
        unknown=_unknown(blocking, hearing.vocabulary),
        referred=Effect.REFER in holding,
        lacking=Effect.REQUIRE in holding,
        grounded=_grounded(list(grounds.values())),
    )
    outcome = combine(standing)
    # 4
    weights = Weights(hearing, verdicts)
    own: tuple[Finding, ...] = ()
    if asked_nothing:
        own = (NOTHING_ASKED,)
    elif not standing.prohibited and outcome is not Outcome.HOLD:
        # Whoever judges a refer must see that something of it has no basis or consent; a hold is
        # decided again anyway, and its paper may well be the basis.
        own = tuple(sorted(no_grounds(hearing, grounds), key=_ORDER))
    told = _findings(hearing, weights, verdicts, own)
    selection = _selection(hearing, weights)
    digests = hearing.law.digests
    # 5
    duties = () if outcome is Outcome.DENY else _duties(hearing, verdicts)
    match outcome:
        case Outcome.PERMIT:
            return Permit(
                findings=told,
                obligations=duties,
                selection=selection,
                digests=digests,
                until=_until(hearing, duties),
            )
        case Outcome.HOLD:
            return Hold(
                findings=told,
                obligations=duties,
                selection=selection,
                digests=digests,
                papers=_papers(verdicts),
            )
        case Outcome.REFER:
            return Refer(
                findings=told,
                obligations=duties,
                selection=selection,
                digests=digests,
                until=_until(hearing, duties),  # officers may approve it, and then it ends
            )
        case Outcome.DENY:
            return Deny(findings=told, obligations=duties, selection=selection, digests=digests)
        case _:
            assert_never(outcome)


#: How findings stand in a decision, as the rules do in the law; of one rule, what holds comes first.
_ORDER = attrgetter("pack", "no", "rule", "result")


def _findings(
    hearing: Hearing, weights: Weights, verdicts: tuple[Verdict, ...], own: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    """What is told of every rule that applies, and the PDP's `own` findings, in order."""
    told = hearing.silent()
    places = hearing.law.places
    again: list[Finding] = []  # of rules that hold in some strata and are unknown in others
    spoken: set[Rule] = set()
    for verdict, finding in zip(verdicts, weights.findings(verdicts), strict=True):
        if verdict.strata:
            if verdict.rule in spoken:
                again.append(finding)
                continue
            spoken.add(verdict.rule)
        told[places[finding.rule]] = finding
    at = hearing.law.before_own
    found = [*filter(None, told[:at]), *own, *filter(None, told[at:])]
    for finding in again:
        insort(found, finding, key=_ORDER)
    return tuple(found)


def _unknown(blocking: list[Verdict], vocabulary: Vocabulary) -> Unknown:
    open_verdicts = [verdict for verdict in blocking if verdict.result is Result.UNKNOWN]
    if not open_verdicts:
        return Unknown.NOTHING
    if all(verdict.missing <= vocabulary.applicants for verdict in open_verdicts):
        return Unknown.BY_APPLICANT
    return Unknown.BY_PERSON


def _grounded(grounds: list[Grounds]) -> bool | None:
    """True only if every stratum has both; False if one is without either. No strata: no grounds."""
    answers = {answer for each in grounds for answer in (each.basis, each.consent)}
    if False in answers or not answers:
        return False
    return None if None in answers else True


_NO_COUNT = Count(people=0, items=0, units=0)
_NOTHING = Selection(asked=_NO_COUNT, permitted=_NO_COUNT, strata=(), excluded=())


def _selection(hearing: Hearing, weights: Weights) -> Selection:
    if not hearing.scopes:
        return _NOTHING
    out: dict[str, list[StratumId]] = {}
    for one, rules in hearing.excluders.items():
        for rule_id in rules:
            out.setdefault(rule_id, []).append(one)
    excluded = [
        Exclusion(
            rule=rule.id,
            no=rule.no,
            strata=tuple(out[rule.id]),
            touched=weights.touched(out[rule.id]),
            alone=weights.alone_out(rule.id),
        )
        for rule in (hearing.law.stratum if out else ())
        if rule.id in out
    ]
    asked = hearing.census.count(tuple(hearing.scopes))
    return Selection(
        asked=asked,
        permitted=hearing.census.count(hearing.selected) if out else asked,
        strata=hearing.selected,
        excluded=tuple(excluded),
    )


def _duties(hearing: Hearing, verdicts: tuple[Verdict, ...]) -> tuple[Obligation, ...]:
    profiles = {hearing.profiles[one] for one in hearing.selected}
    consents = [duty for one in profiles for duty in hearing.coverage[one].duties]
    return (*duties_of_rules(verdicts), *duties_of_consents(consents))


def _papers(verdicts: tuple[Verdict, ...]) -> tuple[str, ...]:
    lacking = [v.rule for v in verdicts if v.blocks and v.result is Result.HOLDS]
    return tuple(sorted({rule.paper for rule in lacking if rule.paper is not None}))


def _until(hearing: Hearing, duties: tuple[Obligation, ...]) -> date | None:
    """The last day a permit can stand on; None if nothing it stands on ends."""
    as_of = hearing.question.as_of
    end = hearing.first_end()
    days = [] if end is None else [end]
    days += [
        expiry
        for one in hearing.selected
        if isinstance(expiry := hearing.scopes[one]("consent.earliest_expiry"), date)
    ]
    days += [
        months_after(as_of, duty.months)
        for duty in duties
        if duty.id == END_OF_USE and duty.months is not None
    ]
    return min(days, default=None)
