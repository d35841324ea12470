"""Hearing a question: what every rule in force says of each stratum, and of the request.

The rules it keeps: donor- and item-level prohibitions take strata out first, and only what remains is
judged further; request-level rules see the selection, never a stratum; each derived fact, coverage
and rule is computed once. What rules say follows from facts alone, so it is kept with the law by those
facts: the same request comes again as a dry run, when it is submitted, and at each release.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from policies import strata
from policies.consent import Coverage, Matching, ProfileId, left_out
from policies.decision import Effect, Finding, Result
from policies.request import Facts, Question, Stratum, StratumId, Value
from policies.rules import Law, Rule
from policies.vocabulary import ACT, Level, Lookup, Scope

#: How many requests are kept with a law, and how many strata and selections with a request. Where there
#: would be more, all are forgotten and heard again.
KEPT = 256

#: The effects that stand in the way of a permit while they hold or are unknown.
_BLOCKING = frozenset({Effect.DENY, Effect.REFER, Effect.REQUIRE})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """What one rule says that holds, or may hold: that is UNKNOWN.

    `strata` are those of which it says so (none for a request-level rule), `missing` the facts it
    would have to be told where it is UNKNOWN. `takes_out`: it is a prohibition that holds of strata,
    which are then left out; `blocks`: it stands against the request as a whole.
    """

    rule: Rule
    result: Result
    strata: tuple[StratumId, ...] = ()
    missing: frozenset[str] = frozenset()
    takes_out: bool = field(init=False)
    blocks: bool = field(init=False)

    def __post_init__(self) -> None:
        holds, acts_as = self.result is Result.HOLDS, self.rule.acts_as
        takes_out = holds and acts_as is Effect.DENY and self.rule.level is Level.STRATUM
        object.__setattr__(self, "takes_out", takes_out)
        object.__setattr__(self, "blocks", acts_as in _BLOCKING and not takes_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Whether one stratum has a legal basis, and a consent that covers the purpose.

    `missing` are the facts that leave the basis open.
    """

    basis: bool | None
    consent: bool | None
    missing: frozenset[str]


_Papers = tuple[tuple[str, date], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """What the rules of one kind that apply say of one set of facts.

    `said` by rule id; `verdicts` of those that hold or may hold; `silent` the findings of those that do
    not. `below` are the strata and the selections heard under a request, `papers` those that a
    selection relies on, by the strata in it.
    """

    scope: Scope
    said: Mapping[str, Result]
    verdicts: tuple[Verdict, ...]
    silent: tuple[Finding, ...]
    below: dict[Hashable, Heard] = field(default_factory=dict)
    papers: dict[tuple[Heard, ...], _Papers] = field(default_factory=dict)


def _kept(
    heard: dict[Hashable, Heard], facts: Facts, beside: Hashable, make: Callable[[], Heard]
) -> Heard:
    """What was heard of these facts, and what stands `beside` them, before; or else is made now."""
    # Python takes True for 1 and a StrEnum for its text: the types too were verified, and only they.
    key = (beside, *facts, *facts.values(), *map(type, facts.values()))
    try:
        found = heard.get(key)
    except TypeError:  # what cannot be hashed is no value of a fact, and `make` says so
        return make()
    if found is None:
        found = make()
        if len(heard) >= KEPT:
            heard.clear()
        heard[key] = found
    return found


class Hearing:
    """One question heard under the law of its day. Immutable once built, but for memos of scopes."""

    def __init__(self, question: Question, law: Law) -> None:
        """1 the request's facts · 2 the strata's · 3 what is out · 4 the selection's."""
        self.question = question
        self.law = law.on(question.as_of)
        self.vocabulary = self.law.vocabulary
        self.census = strata.Census(question=question)
        # 1
        self._request = _kept(self.law.heard, question.facts, question.as_of, self._hear_request)
        self.request = self._request.scope
        # 2
        strata.verify_strata(question)
        matching = Matching(question.purpose)
        self.coverage: dict[ProfileId, Coverage] = {
            profile_id: matching.coverage(profile)
            for profile_id, profile in question.profiles.items()
        }
        self._profiles = {stratum.id: stratum.profile for stratum in question.strata}
        held = sorted(question.strata, key=lambda stratum: stratum.id)
        self._strata = {stratum.id: self._heard_of(stratum) for stratum in held}
        self.scopes = {one: heard.scope for one, heard in self._strata.items()}
        # 3
        self.excluders: dict[StratumId, tuple[str, ...]] = {
            one: tuple(rule for rule in self.law.excluding if heard.said.get(rule) is Result.HOLDS)
            for one, heard in self._strata.items()
        }
        self.selected = tuple(one for one, rules in self.excluders.items() if not rules)
        # 4
        chosen = {one: self.scopes[one].look for one in self.selected}
        facts = strata.selection_facts(self.census, chosen, self.request.look)
        self._selection = _kept(
            self._request.below, facts, None, lambda: self._hear(Level.SELECTION, facts)
        )
        self.selection = self._selection.scope
        self.request_said = {**self._request.said, **self._selection.said}

    def _hear_request(self) -> Heard:
        strata.verify_facts(self.question.facts, Level.REQUEST, self.vocabulary)
        given = {**self.question.facts, "as_of": self.question.as_of}
        return self._hear(Level.REQUEST, given)

    def _heard_of(self, stratum: Stratum) -> Heard:
        profile = tuple(strata.profile_facts(self.question.profiles[stratum.profile]))
        covers = self.coverage[stratum.profile].covers

        def hear() -> Heard:
            strata.verify_facts(stratum.facts, Level.STRATUM, self.vocabulary)
            given = {**stratum.facts, **dict(profile), "consent.covers": covers}
            return self._hear(Level.STRATUM, given)

        return _kept(self._request.below, stratum.facts, (profile, covers), hear)

    def _hear(self, kind: Level, given: Mapping[str, Value | None]) -> Heard:
        """What the rules of a kind say; those that cannot apply under the act are not asked."""
        request = None if kind is Level.REQUEST else self.request
        scope = Scope(given, self.vocabulary.derived[kind], request)
        said = self.law.gates[kind].said(scope[ACT], scope.look)
        places = self.law.places
        rules = [self.law.rules[place] for place in sorted(places[rule_id] for rule_id in said)]
        return Heard(
            scope=scope,
            said=said,
            verdicts=tuple(
                _verdict(rule, said[rule.id], scope)
                for rule in rules
                if said[rule.id] is not Result.DOES_NOT_HOLD
            ),
            silent=tuple(rule.silence for rule in rules if said[rule.id] is Result.DOES_NOT_HOLD),
        )

    def verdicts(self) -> Iterator[Verdict]:
        """What every rule says that holds or may hold.

        A stratum-level rule may hold in some strata and be unknown in others: that is two verdicts.
        Of strata that are out, only the prohibitions that hold there are told.
        """
        yield from self._request.verdicts
        yield from self._selection.verdicts
        found: dict[tuple[Rule, Result], dict[StratumId, frozenset[str]]] = {}
        for one, heard in self._strata.items():
            for each in heard.verdicts:
                if each.takes_out or one in self.selected:
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

    def silent(self, verdicts: Iterable[Verdict]) -> list[Finding]:
        """The findings on the rules that apply and do not hold, in any stratum that may go."""
        told = {verdict.rule.id for verdict in verdicts}
        found = {
            finding.rule: finding
            for heard in self._strata.values()
            for finding in heard.silent
            if finding.rule not in told
        }
        return [*self._request.silent, *self._selection.silent, *found.values()]

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
        item_class = scope["item.class"]
        unknown: set[str] = set() if item_class else {"item.class"}
        tags: set[str] = set()
        for each in (str(item_class),) if item_class else ("information", "material"):
            abroad, open_facts = _goes_abroad(scope.look, each)
            unknown |= open_facts
            tags |= {f"{each}.foreign"} if abroad is not False else set()
            tags |= {f"{each}.domestic"} if abroad is not True else set()
        return frozenset(tags), unknown

    def _has_permit(self, tag: str, stratum_id: StratumId, unknown: set[str]) -> bool | None:
        """Whether a permit covers the tag; what is missing for an unknown one goes to `unknown`."""
        answer: bool | None = False
        for rule in self.law.permits.get(tag, ()):
            at_stratum = rule.level is Level.STRATUM
            result = (self._strata[stratum_id].said if at_stratum else self.request_said).get(
                rule.id
            )
            if result is Result.HOLDS:
                return True
            if result is Result.UNKNOWN:
                answer = None
                scope = self.scopes[stratum_id] if at_stratum else self.selection
                unknown |= scope.roots(rule.missing(scope.look))
        return answer

    def papers_relied_on(self) -> _Papers:
        """Each paper without which the rules would speak otherwise, with its last day."""
        key = tuple(self._strata[one] for one in self.selected)
        kept = self._selection.papers
        found = kept.get(key)
        if found is None:
            found = tuple(self._papers_relied_on())
            if len(kept) >= KEPT:
                kept.clear()
            kept[key] = found
        return found

    def _papers_relied_on(self) -> Iterator[tuple[str, date]]:
        """Found by letting each lapse the day before and hearing again the rules that look at it."""
        tags = frozenset[str]().union(*(self._tags(one)[0] for one in self.selected))
        for kind, readers in sorted(self.law.papers.items()):
            name = f"paper.{kind}.valid_to"
            last = self.question.facts.get(name)
            if not isinstance(last, date) or last < self.question.as_of:
                continue
            rules = [rule for rule in readers if _is_relied_on(rule, tags)]
            if self._changes(rules, name, self.question.as_of - timedelta(days=1)):
                yield kind, last

    def _changes(self, rules: Iterable[Rule], name: str, value: date) -> bool:
        """Whether any of the rules would speak otherwise if one fact of the request were another."""
        stale = self.vocabulary.resting_on[name]
        request = self.request.changed({name: value}, stale)
        selection = self.selection.changed({name: value}, stale, request).look
        said = self.request_said
        if any(_differs(rule, selection, said) for rule in rules if rule.level is Level.REQUEST):
            return True
        at_strata = [rule for rule in rules if rule.level is Level.STRATUM]
        return any(
            _differs(rule, scope.look, self._strata[one].said)
            for one in self.selected
            for scope in [self.scopes[one].changed({name: value}, stale, request)]
            for rule in at_strata
        )


def _verdict(rule: Rule, result: Result, scope: Scope) -> Verdict:
    unknown = rule.missing(scope.look) if result is Result.UNKNOWN else frozenset[str]()
    return Verdict(rule=rule, result=result, missing=scope.roots(unknown))


def _differs(rule: Rule, look: Lookup, said: Mapping[str, Result]) -> bool:
    return rule.result(look) is not said.get(rule.id, Result.NOT_APPLICABLE)


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
