"""Hearing a question: what every rule in force says of each stratum, and of the request.

The rules it keeps: donor- and item-level prohibitions take strata out first, and only what remains is
judged further; request-level rules see the selection, never a stratum; each derived fact, coverage
and rule is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from policies import strata
from policies.consent import Coverage, Matching, ProfileId, left_out
from policies.decision import Effect, Finding, Obligation, Result
from policies.request import Question, Stratum, StratumId, Value
from policies.rules import ABROAD, Law, Rule
from policies.vocabulary import ACT, Level, Lookup, Scope, united

_FEW = 8
#: The effects that stand in the way of a permit while they hold or are unknown.
_BLOCKING = frozenset({Effect.DENY, Effect.REFER, Effect.REQUIRE})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What one rule says that holds, or may hold: that is UNKNOWN.

    `strata` are those of which it says so (none for a request-level rule), `missing` the facts it
    would have to be told where it is UNKNOWN. `takes_out`: it is a prohibition that holds of strata,
    which are then left out; `blocks`: it stands against the request as a whole; `duty`: what comes with it.
    """

    rule: Rule
    result: Result
    strata: tuple[StratumId, ...] = ()
    missing: frozenset[str] = frozenset()
    takes_out: bool = field(init=False)
    blocks: bool = field(init=False)
    duty: Obligation | None = field(init=False)

    def __post_init__(self) -> None:
        holds, acts_as = self.result is Result.HOLDS, self.rule.acts_as
        takes_out = holds and acts_as is Effect.DENY and self.rule.level is Level.STRATUM
        object.__setattr__(self, "takes_out", takes_out)
        object.__setattr__(self, "blocks", acts_as in _BLOCKING and not takes_out)
        # What may oblige obliges; what only may hold attaches nothing to do beside.
        attaches = holds or self.rule.effect is Effect.OBLIGE
        object.__setattr__(self, "duty", self.rule.duty if attaches else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Whether one stratum has a legal basis, and a consent that covers the purpose.

    `missing` are the facts that leave the basis open.
    """

    basis: bool | None
    consent: bool | None
    missing: frozenset[str]


@dataclass(slots=True, kw_only=True, eq=False)
class Heard:
    """What the rules of a level say of the facts of one scope.

    `spoke` are those that hold, with None, and those that may, with the unknown facts that leave it open;
    `silent` has, by the rule's place, what is told of each that applies and does not hold; `permits`, by
    what they cover, what the permits of this level say.
    """

    scope: Scope
    silent: dict[int, Finding] | list[Finding | None]
    spoke: list[tuple[Rule, tuple[str, ...] | None]] = field(default_factory=list)
    permits: dict[str, tuple[tuple[Result, frozenset[str]], ...]] = field(default_factory=dict)
    _said: dict[str, tuple[str, ...] | None] | None = None
    _verdicts: list[Verdict] | None = None
    _out: tuple[str, ...] | None = None
    _tags: tuple[frozenset[str], frozenset[str]] | None = None

    @property
    def said(self) -> Mapping[str, tuple[str, ...] | None]:
        """`spoke` by rule id."""
        if self._said is None:
            self._said = {rule.id: unknown for rule, unknown in self.spoke}
        return self._said

    def result(self, rule: Rule, place: int) -> Result:
        """What a rule said."""
        if rule.id in self.said:
            return Result.HOLDS if self.said[rule.id] is None else Result.UNKNOWN
        silent = self.silent
        told = silent.get(place) if isinstance(silent, dict) else silent[place]
        return Result.NOT_APPLICABLE if told is None else Result.DOES_NOT_HOLD

    def verdicts(self, alone: Mapping[str, frozenset[str]]) -> list[Verdict]:
        """Of all that spoke, in their order."""
        if self._verdicts is None:
            root = self.scope.root_by(alone)
            self._verdicts = [
                _holds(rule) if names is None else _waits(rule, tuple(map(root, names)))
                for rule, names in self.spoke
            ]
        return self._verdicts

    @property
    def out(self) -> tuple[str, ...]:
        """The prohibitions (ids) that hold."""
        if self._out is None:
            self._out = tuple(
                rule.id
                for rule, unknown in self.spoke
                if unknown is None and rule.acts_as is Effect.DENY
            )
        return self._out

    @property
    def tags(self) -> tuple[frozenset[str], frozenset[str]]:
        """The tags a permit is needed for, `<item class>.<domestic or foreign>`.

        Where the class or the destination is unknown, every tag that it may have, and what is unknown.
        """
        if self._tags is None:
            item_class = self.scope["item.class"]
            unknown: set[str] = set() if item_class else {"item.class"}
            tags: set[str] = set()
            for each in (str(item_class),) if item_class else ("information", "material"):
                abroad, open_facts = _goes_abroad(self.scope.look, each)
                unknown |= open_facts
                tags |= {f"{each}.foreign"} if abroad is not False else set()
                tags |= {f"{each}.domestic"} if abroad is not True else set()
            self._tags = frozenset(tags), frozenset(unknown)
        return self._tags


class Hearing:
    """One question heard under the law of its day. Immutable once built, but for memos of scopes."""

    def __init__(self, question: Question, law: Law) -> None:
        """1 the request's facts · 2 the strata's · 3 what is out · 4 the selection's."""
        self.question = question
        self.law = law.on(question.as_of)
        self.vocabulary = self.law.vocabulary
        # 1
        strata.verify_facts(question.facts, Level.REQUEST, self.vocabulary)
        self.request = Scope(
            self.law.blank,
            self.vocabulary.derived[Level.REQUEST],
            self.vocabulary.families,
        )
        self.request.update(question.facts)
        self.request["as_of"] = question.as_of
        self._request = Heard(scope=self.request, silent=[None] * len(self.law.rules))
        self._permits: dict[Any, tuple[bool | None, frozenset[str]]] = {}
        self._judge(Level.REQUEST, self._request)
        # 2
        strata.verify_strata(question)
        self.census = strata.Census(question)
        matching = Matching(question.purpose)
        self.coverage: dict[ProfileId, Coverage] = {
            stratum.profile: matching.coverage(question.profiles[stratum.profile])
            for stratum in question.strata
        }
        self.profiles = {stratum.id: stratum.profile for stratum in question.strata}
        self._profile_facts = {
            name: tuple(strata.profile_facts(question.profiles[name])) for name in self.coverage
        }
        # To look up what was said before costs as much as a few strata.
        many = len(question.strata) > _FEW
        self._kept = self.law.kept.under(self.request) if many else {}
        held = sorted(question.strata, key=lambda stratum: stratum.id)
        self._strata = {stratum.id: self._heard_of(stratum) for stratum in held}
        self.scopes = {one: heard.scope for one, heard in self._strata.items()}
        # 3
        self.excluders: dict[StratumId, tuple[str, ...]] = {
            one: heard.out for one, heard in self._strata.items()
        }
        self.selected = tuple(one for one, rules in self.excluders.items() if not rules)
        # 4
        chosen = {one: self.scopes[one].look for one in self.selected}
        facts = strata.selection_facts(self.census, chosen, self.request.look)
        self.request.select(facts, self.vocabulary.derived[Level.SELECTION])
        self.selection = self.request  # by now one scope: it holds the facts of both
        self._judge(Level.SELECTION, self._request)

    def _heard_of(self, stratum: Stratum) -> Heard:
        covers, told = self.coverage[stratum.profile].covers, self._profile_facts[stratum.profile]
        # Of the same types as well: a fact that is no boolean must be refused, though 1 == True.
        types = tuple(map(type, stratum.facts.values()))
        like = (tuple(stratum.facts.items()), types, told, covers)
        try:
            heard = self._kept.get(like)
        except TypeError:  # of a value that no fact can be, as is said now
            heard = None
        if heard is None:
            strata.verify_facts(stratum.facts, Level.STRATUM, self.vocabulary)
            scope = self.request.stratum(stratum.facts, self.vocabulary.derived[Level.STRATUM])
            scope.update(told)
            scope["consent.covers"] = covers
            heard = Heard(scope=scope, silent={})
            self._judge(Level.STRATUM, heard)
            self._kept[like] = heard
        return heard

    def _judge(self, kind: Level, heard: Heard) -> None:
        """Let the rules of a kind speak; those that cannot apply under the act are not asked."""
        judge = self.law.gates[kind].judge(self.request[ACT])
        judge(heard.scope, heard.silent, heard.spoke.append)

    def verdicts(self) -> Iterator[Verdict]:
        """What every rule says that holds or may hold.

        A stratum-level rule may hold in some strata and be unknown in others: that is two verdicts.
        Of strata that are out, only the prohibitions that hold there are told.
        """
        yield from self._request.verdicts(self.vocabulary.alone)
        found: dict[tuple[Rule, Result], dict[StratumId, frozenset[str]]] = {}
        selected = frozenset(self.selected)
        for one, heard in self._strata.items():
            for each in heard.verdicts(self.vocabulary.alone):
                if each.takes_out or one in selected:
                    missing = each.missing
                    if "consent.covers" in missing:
                        missing = missing - {"consent.covers"} | self.open_consent(one)
                    found.setdefault((each.rule, each.result), {})[one] = missing
        for (rule, result), by_stratum in sorted(found.items(), key=lambda each: each[0][1]):
            yield Verdict(
                rule=rule,
                result=result,
                strata=tuple(by_stratum),
                missing=frozenset[str]().union(*by_stratum.values()),
            )

    def silent(self) -> list[Finding | None]:
        """At its rule's place, the finding on each that applies and does not hold, somewhere at least."""
        found = [*self._request.silent]
        for heard in {id(heard): heard for heard in self._strata.values()}.values():
            for place, finding in heard.silent.items():  # type: ignore[union-attr] # of a stratum: a dict
                found[place] = finding
        return found

    def open_consent(self, stratum_id: StratumId) -> frozenset[str]:
        """What leaves a stratum's coverage open: what the applicant did not say, or the consent."""
        coverage = self.coverage[self.profiles[stratum_id]]
        return left_out(coverage, self.question.purpose) or frozenset({"consent.covers"})

    def grounds(self, stratum_id: StratumId) -> Grounds:
        """Whether a selected stratum has a legal basis for where it goes, and its donors' consent."""
        heard = self._strata[stratum_id]
        tags, open_tags = heard.tags
        answers = [self._permit(tag, heard) for tag in tags]
        covered = {answer for answer, _ in answers}
        unknown = open_tags.union(*(missing for _, missing in answers))
        return Grounds(
            basis=covered.pop() if len(covered) == 1 else None,
            consent=self.coverage[self.profiles[stratum_id]].covers,
            missing=heard.scope.roots(tuple(sorted(unknown))),
        )

    def _permit(self, tag: str, heard: Heard) -> tuple[bool | None, frozenset[str]]:
        """Whether a permit covers the tag, and what is missing for unknown ones."""
        at_stratum = heard.permits.get(tag)
        if at_stratum is None:
            at_stratum = heard.permits[tag] = tuple(
                self._said_of(rule, heard)
                for rule in self.law.permits.get(tag, ())
                if rule.level is Level.STRATUM
            )
        found = self._permits.get((tag, at_stratum))
        if found is None:  # the same of every stratum of which these say the same
            found = self._permits[tag, at_stratum] = self._has_permit(tag, iter(at_stratum))
        return found

    def _said_of(self, rule: Rule, heard: Heard) -> tuple[Result, frozenset[str]]:
        result = heard.result(rule, self.law.places[rule.id])
        names = heard.said[rule.id] if result is Result.UNKNOWN else None
        return result, heard.scope.roots(names or ())

    def _has_permit(
        self, tag: str, at_stratum: Iterator[tuple[Result, frozenset[str]]]
    ) -> tuple[bool | None, frozenset[str]]:
        answer: bool | None = False
        unknown: frozenset[str] = frozenset()
        for rule in self.law.permits.get(tag, ()):
            here = rule.level is Level.STRATUM
            result, missing = next(at_stratum) if here else self._said_of(rule, self._request)
            if result is Result.HOLDS:
                return True, unknown
            if result is Result.UNKNOWN:
                answer = None
                unknown |= missing
        return answer, unknown

    def first_end(self) -> date | None:
        """The last day of the paper that ends first, of those without which rules would speak otherwise.

        Found by letting each lapse the day before, the first to end first, and hearing again the rules
        that look at it.
        """
        tags = frozenset[str]().union(*(self._strata[one].tags[0] for one in self.selected))
        as_of = self.question.as_of
        names = {kind: f"paper.{kind}.valid_to" for kind in self.law.papers}
        ends = {kind: self.question.facts.get(name) for kind, name in names.items()}
        days = [(last, kind) for kind, last in ends.items() if isinstance(last, date)]
        for last, kind in sorted(days):
            rules = [rule for rule in self.law.papers[kind] if _is_relied_on(rule, tags)]
            if last >= as_of and self._changes(rules, names[kind], as_of - timedelta(days=1)):
                return last
        return None

    def _changes(self, rules: Iterable[Rule], name: str, value: date) -> bool:
        """Whether any of the rules would speak otherwise if one fact of the request were another."""
        stale = self.vocabulary.resting_on[name]
        at_request = [rule for rule in rules if rule.level is Level.REQUEST]
        at_strata = [rule for rule in rules if rule.level is Level.STRATUM]
        heard = [(self._request, at_request)]
        heard += [(self._strata[one], at_strata) for one in self.selected]
        places = self.law.places
        return any(
            rule.result(look) is not each.result(rule, places[rule.id])
            for each, asked in heard
            if asked
            for look in [each.scope.changed({name: value}, stale)]
            for rule in asked
        )


@lru_cache(maxsize=1024)
def _holds(rule: Rule) -> Verdict:
    return Verdict(rule=rule, result=Result.HOLDS)


@lru_cache(maxsize=8192)  # most rules miss again what they missed of another request
def _waits(rule: Rule, missing: tuple[frozenset[str], ...]) -> Verdict:
    return Verdict(rule=rule, result=Result.UNKNOWN, missing=united(missing))


def _is_relied_on(rule: Rule, tags: frozenset[str]) -> bool:
    """Whether a rule has a say in a permit of these tags; duties have none."""
    if rule.effect is Effect.PERMIT:
        return not rule.covers.isdisjoint(tags)
    return rule.effect is not Effect.OBLIGE


def _goes_abroad(look: Lookup, item_class: str) -> tuple[bool | None, set[str]]:
    """Whether items of a class reach a foreign party or cross the border, and what leaves it open."""
    names = (ABROAD[0], f"crosses_border_{item_class}")
    answers: Mapping[str, Value | None] = {name: look(name) for name in names}
    if True in answers.values():
        return True, set()
    unknown = {name for name, answer in answers.items() if answer is None}
    return (None if unknown else False), unknown
