"""Hearing a question: what every rule in force says of each stratum, and of the request.

The rules it keeps: donor- and item-level prohibitions take strata out first, and only what remains is
judged further; request-level rules see the selection, never a stratum; each derived fact, coverage
and rule is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from policies import strata
from policies.consent import Coverage, ProfileId, coverage, left_out
from policies.decision import Effect, Result
from policies.request import Facts, Question, Stratum, StratumId, Value
from policies.rules import Law, Rule
from policies.vocabulary import Level, Lookup, Scope

#: The effects that stand in the way of a permit while they hold or are unknown.
_BLOCKING = frozenset({Effect.DENY, Effect.REFER, Effect.REQUIRE})
_SPEAKING = (Result.HOLDS, Result.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule says of a request.

    `strata` are those of which it says so (none for a request-level rule), `missing` the facts it
    would have to be told where it is UNKNOWN.
    """

    rule: Rule
    result: Result
    strata: tuple[StratumId, ...] = ()
    missing: frozenset[str] = frozenset()

    @property
    def blocks(self) -> bool:
        """Whether it stands against the request as a whole, and not against single strata only."""
        if self.rule.acts_as not in _BLOCKING or self.result not in _SPEAKING:
            return False
        return not self.takes_out

    @property
    def takes_out(self) -> bool:
        """Whether it is a prohibition that holds of strata, which are then left out."""
        return (
            self.rule.acts_as is Effect.DENY
            and self.rule.level is Level.STRATUM
            and self.result is Result.HOLDS
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Whether one stratum has a legal basis, and a consent that covers the purpose.

    `missing` are the facts that leave the basis open.
    """

    basis: bool | None
    consent: bool | None
    missing: frozenset[str]


class Hearing:
    """One question heard under the law of its day. Immutable once built, but for memos of scopes."""

    def __init__(self, question: Question, law: Law) -> None:
        """1 the request's facts · 2 the strata's · 3 what is out · 4 the selection's · 5 the rest."""
        strata.verify_question(question, law.vocabulary)
        self.question = question
        self.vocabulary = law.vocabulary
        self.law = law.on(question.as_of)
        self.census = strata.Census(question=question)
        self.coverage: dict[ProfileId, Coverage] = {
            profile_id: coverage(profile, question.purpose)
            for profile_id, profile in question.profiles.items()
        }
        self._profiles = {stratum.id: stratum.profile for stratum in question.strata}
        # 1
        self.request = self._request_scope(question.facts)
        # 2
        held = sorted(question.strata, key=lambda stratum: stratum.id)
        self.scopes = {s.id: self._stratum_scope(s, self.request) for s in held}
        self.said: dict[StratumId, dict[str, Result]] = {
            stratum_id: {rule.id: rule.result(scope) for rule in self.law.stratum}
            for stratum_id, scope in self.scopes.items()
        }
        # 3
        denies = [rule.id for rule in self.law.stratum if rule.acts_as is Effect.DENY]
        self.excluders: dict[StratumId, tuple[str, ...]] = {
            stratum_id: tuple(rule for rule in denies if results[rule] is Result.HOLDS)
            for stratum_id, results in self.said.items()
        }
        self.selected = tuple(one for one, rules in self.excluders.items() if not rules)
        # 4
        chosen = {one: self.scopes[one] for one in self.selected}
        self._selection_facts = strata.selection_facts(self.census, chosen, self.request)
        self.selection = self._selection_scope(self.request)
        # 5
        self.request_said = {rule.id: rule.result(self.selection) for rule in self.law.request}

    def _request_scope(self, facts: Facts) -> Scope:
        given = {**facts, "as_of": self.question.as_of}
        return Scope(given, self.vocabulary.derived[Level.REQUEST])

    def _stratum_scope(self, stratum: Stratum, request: Scope) -> Scope:
        given: dict[str, Value | None] = {
            **stratum.facts,
            **dict(strata.profile_facts(self.question.profiles[stratum.profile])),
            "consent.covers": self.coverage[stratum.profile].covers,
        }
        return Scope(given, self.vocabulary.derived[Level.STRATUM], request)

    def _selection_scope(self, request: Scope) -> Scope:
        return Scope(self._selection_facts, self.vocabulary.derived[Level.SELECTION], request)

    def verdicts(self) -> Iterator[Verdict]:
        """What every applicable rule says, in the order of the law.

        A stratum-level rule may hold in some strata and be unknown in others: that is two verdicts.
        Of strata that are out, only the prohibitions that hold there are told.
        """
        for rule in self.law.request:
            result = self.request_said[rule.id]
            if result is not Result.NOT_APPLICABLE:
                missing = rule.missing(self.selection) if result is Result.UNKNOWN else ()
                yield Verdict(rule=rule, result=result, missing=self.selection.roots(missing))
        for rule in self.law.stratum:
            yield from self._stratum_verdicts(rule)

    def _stratum_verdicts(self, rule: Rule) -> Iterator[Verdict]:
        silent = True
        for result in _SPEAKING:
            excludes = rule.acts_as is Effect.DENY and result is Result.HOLDS
            among: Iterable[StratumId] = self.scopes if excludes else self.selected
            found = tuple(one for one in among if self.said[one][rule.id] is result)
            if found:
                silent = False
                yield Verdict(
                    rule=rule,
                    result=result,
                    strata=found,
                    missing=self._missing(rule, found) if result is Result.UNKNOWN else frozenset(),
                )
        if silent and any(said[rule.id] is Result.DOES_NOT_HOLD for said in self.said.values()):
            yield Verdict(rule=rule, result=Result.DOES_NOT_HOLD)

    def _missing(self, rule: Rule, among: Iterable[StratumId]) -> frozenset[str]:
        found: set[str] = set()
        for one in among:
            scope = self.scopes[one]
            roots = scope.roots(rule.missing(scope))
            if "consent.covers" in roots:
                roots = roots - {"consent.covers"} | self.open_consent(one)
            found |= roots
        return frozenset(found)

    def open_consent(self, stratum_id: StratumId) -> frozenset[str]:
        """What leaves a stratum's coverage open: what the applicant did not say, or the consent."""
        coverage = self.coverage[self._profiles[stratum_id]]
        return left_out(coverage, self.question.purpose) or frozenset({"consent.covers"})

    def grounds(self, stratum_id: StratumId) -> Grounds:
        """Whether a selected stratum has a legal basis for where it goes, and its donors' consent."""
        tags, unknown = self._tags(stratum_id)
        covered = {self._has_permit(tag, stratum_id, unknown) for tag in tags}
        return Grounds(
            basis=covered.pop() if len(covered) == 1 else None,
            consent=self.coverage[self._profiles[stratum_id]].covers,
            missing=self.scopes[stratum_id].roots(unknown),
        )

    def _tags(self, stratum_id: StratumId) -> tuple[frozenset[str], set[str]]:
        """The tags a stratum needs a permit for, `<item class>.<domestic or foreign>`.

        Where the class or the destination is unknown, every tag that it may have, and what is unknown.
        """
        scope = self.scopes[stratum_id]
        item_class = scope("item.class")
        unknown: set[str] = set() if item_class else {"item.class"}
        tags: set[str] = set()
        for each in (str(item_class),) if item_class else ("information", "material"):
            abroad, open_facts = _goes_abroad(scope, each)
            unknown |= open_facts
            tags |= {f"{each}.foreign"} if abroad is not False else set()
            tags |= {f"{each}.domestic"} if abroad is not True else set()
        return frozenset(tags), unknown

    def _has_permit(self, tag: str, stratum_id: StratumId, unknown: set[str]) -> bool | None:
        """Whether a permit covers the tag; what is missing for an unknown one goes to `unknown`."""
        answer: bool | None = False
        for rule in self.law.rules:
            if rule.effect is not Effect.PERMIT or tag not in rule.covers:
                continue
            at_stratum = rule.level is Level.STRATUM
            result = (self.said[stratum_id] if at_stratum else self.request_said)[rule.id]
            if result is Result.HOLDS:
                return True
            if result is Result.UNKNOWN:
                answer = None
                scope = self.scopes[stratum_id] if at_stratum else self.selection
                unknown |= scope.roots(rule.missing(scope))
        return answer

    def papers_relied_on(self) -> Iterator[tuple[str, date]]:
        """Each paper without which the rules would speak otherwise, with its last day.

        Found by letting it lapse the day before and hearing again the rules that look at it.
        """
        facts = self.question.facts
        tags = frozenset[str]().union(*(self._tags(one)[0] for one in self.selected))
        for kind, readers in sorted(self.law.papers.items()):
            rules = [rule for rule in readers if _is_relied_on(rule, tags)]
            last = facts.get(f"paper.{kind}.valid_to")
            if not isinstance(last, date) or last < self.question.as_of:
                continue
            lapsed = {**facts, f"paper.{kind}.valid_to": self.question.as_of - timedelta(days=1)}
            if self._changes(rules, self._request_scope(lapsed)):
                yield kind, last

    def _changes(self, rules: Iterable[Rule], request: Scope) -> bool:
        selection = self._selection_scope(request)
        chosen = {
            stratum.id: self._stratum_scope(stratum, request)
            for stratum in self.question.strata
            if stratum.id in self.selected
        }
        return any(
            rule.result(selection) is not self.request_said[rule.id]
            if rule.level is Level.REQUEST
            else any(
                rule.result(scope) is not self.said[one][rule.id] for one, scope in chosen.items()
            )
            for rule in rules
        )


def _is_relied_on(rule: Rule, tags: frozenset[str]) -> bool:
    """Whether a rule has a say in a permit of these tags; duties have none."""
    if rule.effect is Effect.PERMIT:
        return not rule.covers.isdisjoint(tags)
    return rule.effect is not Effect.OBLIGE


def _goes_abroad(look: Lookup, item_class: str) -> tuple[bool | None, set[str]]:
    """Whether items of a class reach a foreign party or cross the border, and what leaves it open."""
    names = ("any_foreign", f"crosses_border_{item_class}")
    answers: Mapping[str, Value | None] = {name: look(name) for name in names}
    if True in answers.values():
        return True, set()
    unknown = {name for name, answer in answers.items() if answer is None}
    return (None if unknown else False), unknown
