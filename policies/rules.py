"""Rules, their three gates, and the law on a day: the fold of all editions up to it.

The rules it keeps: a rule speaks only when it applies, is in force and holds; where the gate or the
condition is unknown, so is the rule. Low-confidence content that nobody has confirmed neither
denies nor permits. Nothing is copied from edition to edition: a later one replaces rules by id or
ends them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from policies.compiled import Judge, Line, compiled
from policies.conditions import Condition
from policies.decision import Citation, Effect, Finding, Obligation, Owner, Result
from policies.labels import Labels
from policies.request import Value
from policies.vocabulary import ACT, Function, Level, Lookup, Vocabulary

#: How the file of a draft ends: its authority has published it for comments and not issued it.
DRAFT = ".draft.yaml"

#: The pack of what the PDP itself says.
PDP = "pdp"

#: Of how rules are evaluated and combined; raised with any change that can change a decision.
VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The duty a rule attaches: before release, or so many months after the grant."""

    id: str
    before_release: bool = False
    months: int | None = None
    says: Mapping[str, str] | None = None  # the rule's own sentence where it has none


_CERTAIN = {True: Result.HOLDS, False: Result.DOES_NOT_HOLD, None: Result.UNKNOWN}
_OPEN = {True: Result.UNKNOWN, False: Result.DOES_NOT_HOLD, None: Result.UNKNOWN}
#: What a rule says, by whether it applies and whether it holds, three-valued.
_RESULTS: Mapping[bool | None, Mapping[bool | None, Result]] = {
    True: _CERTAIN,
    None: _OPEN,
    False: dict.fromkeys(_OPEN, Result.NOT_APPLICABLE),
}
#: The same for a tentative permit: if it holds, that is only UNKNOWN.
_TENTATIVE = {**_RESULTS, True: _OPEN}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """One provision as it stands in one edition. `pack` and `edition` say which.

    `level` is request or stratum; `covers` (permits only) holds `material.domestic` and the like;
    `confirmed` says that low-confidence content was checked by somebody (checked.yaml). Rules are the
    same only if they are one object.
    """

    id: str
    no: str
    pack: str
    edition: date
    level: Level
    effect: Effect
    says: Mapping[str, str]
    fix: Mapping[str, str]
    cite: tuple[Citation, ...]
    confidence: Mapping[str, str]
    owner: Owner
    applies: Condition | None
    when: Condition
    confirmed: bool = False
    paper: str | None = None
    covers: frozenset[str] = frozenset()
    obligation: Attached | None = None
    quote: str | None = None
    ask: Mapping[str, str] | None = None
    written: Mapping[str, Any] = field(default_factory=dict)  # as its file has it
    # its effect, but a tentative prohibition only asks a person
    acts_as: Effect = field(init=False)
    results: Mapping[bool | None, Mapping[bool | None, Result]] = field(init=False, repr=False)
    silence: Finding = field(init=False, repr=False)  # what is told of it where it does not hold
    duty: Obligation | None = field(
        init=False, repr=False
    )  # what it attaches, as a decision has it

    def __post_init__(self) -> None:
        asks = self.effect is Effect.DENY and self.is_tentative
        object.__setattr__(self, "acts_as", Effect.REFER if asks else self.effect)
        waits = self.effect is Effect.PERMIT and self.is_tentative
        object.__setattr__(self, "results", _TENTATIVE if waits else _RESULTS)
        silence = Finding(
            rule=self.id,
            no=self.no,
            pack=self.pack,
            edition=self.edition,
            effect=self.acts_as,
            result=Result.DOES_NOT_HOLD,
            says=self.says,
            fix=self.fix,
            cite=self.cite,
            confidence=self.confidence,
            ask=self.ask,
            owner=self.owner,
            paper=self.paper,
        )
        object.__setattr__(self, "silence", silence)
        attached = self.obligation
        duty = attached and Obligation(
            id=attached.id,
            rule=self.id,
            no=self.no,
            says=attached.says or self.says,
            before_release=attached.before_release,
            months=attached.months,
        )
        object.__setattr__(self, "duty", duty)

    @property
    def is_tentative(self) -> bool:
        """Whether its content is of low confidence and nobody has confirmed it (design §5)."""
        return self.confidence["content"] == "low" and not self.confirmed

    @property
    def reads(self) -> frozenset[str]:
        """The facts it may look at itself (what derived ones read in turn is not among them)."""
        return self.when.reads | (self.applies.reads if self.applies else frozenset())

    def cited_on(self, day: date) -> tuple[Citation, ...]:
        """Its citations but those of texts that were not in force yet."""
        return tuple(one for one in self.cite if one.since is None or one.since <= day)

    def result(self, look: Lookup) -> Result:
        """What the rule says of these facts. A tentative permit that holds is only UNKNOWN."""
        gate = True if self.applies is None else self.applies.holds(look)
        return self.results[gate][None if gate is False else self.when.holds(look)]

    def missing(self, look: Lookup) -> frozenset[str]:
        """The unknown facts behind an UNKNOWN result; none for a tentative permit that holds."""
        found = self.when.missing(look)
        return found if self.applies is None else found | self.applies.missing(look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What of one instrument changed on one day. `file` is its path under packs/.

    Of a draft `in_force` is the day it was published, from which `Law.with_drafts` shows it; only a draft
    has derived facts by another function (`derived`).
    """

    pack: str
    in_force: date
    file: str
    digest: str  # SHA-256 of the file, hex
    title: Mapping[str, str]
    link: str
    rules: tuple[Rule, ...]
    ends: tuple[str, ...] = ()
    derived: Mapping[str, Function] = field(default_factory=dict)

    @property
    def is_draft(self) -> bool:
        """Whether it is not law."""
        return self.file.endswith(DRAFT)


#: Whether items go abroad, by the class they may have: asked of each stratum (`policies.hearing`).
ABROAD = ("any_foreign", "crosses_border_material", "crosses_border_information")


class Gates:
    """Rules of one kind, as one function for each act: rules that cannot apply under it are not in it.

    Owns a cache of these functions.
    """

    def __init__(self, rules: Iterable[Rule], places: Mapping[str, int]) -> None:
        self.rules = tuple(rules)
        self._places = places
        self._under: dict[Value | None, Judge] = {}

    def judge(self, act: Value | None) -> Judge:
        """The function that judges all rules which may apply where `act` is asked for (None: unknown)."""
        judge = self._under.get(act)
        if judge is None:
            judge = self._under[act] = compiled([self._line(rule) for rule in self._asked(act)])
        return judge

    def _asked(self, act: Value | None) -> Iterator[Rule]:
        for rule in self.rules:
            acts = rule.applies.acts if rule.applies else None
            if act is None or acts is None or act in acts:
                yield rule

    def _line(self, rule: Rule) -> Line:
        return Line(
            place=self._places[rule.id],
            applies=rule.applies.form if rule.applies else None,
            when=rule.when.form,
            rule=rule,
            silence=rule.silence,
            tentative=rule.effect is Effect.PERMIT and rule.is_tentative,
        )


_STRATA = 8192  # are kept at the most; then all are forgotten


class Kept:
    """What was said of strata before, by the facts of the request that it hangs on. Owns it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(sorted(names))
        self._said: dict[tuple[Value | None, ...], dict[Any, Any]] = {}

    def under(self, request: Mapping[str, Value | None]) -> dict[Any, Any]:
        """What was said under these facts of a request: to be looked up, and to be added to."""
        if sum(map(len, self._said.values())) >= _STRATA:
            self._said = {}
        return self._said.setdefault(tuple([request.get(name) for name in self._names]), {})


@dataclass(frozen=True, slots=True, kw_only=True)
class LawInForce:
    """The law of one day: its rules, also by level, sorted by pack, number, id; and all digests.

    `permits` are the permits by what they cover; `excluding` the prohibitions that take strata out; `gates`
    the rules by what they look at: the request alone, the request with its selection, a stratum;
    `blank` has, as unknown, every fact given or not that some rule may look at; `before_own` is the number
    of rules whose findings stand before those of the PDP itself; `at_strata` are the facts of the request
    that anything said of a stratum may hang on.
    """

    rules: tuple[Rule, ...]
    vocabulary: Vocabulary
    digests: Mapping[str, str]
    request: tuple[Rule, ...] = field(init=False)
    stratum: tuple[Rule, ...] = field(init=False)
    places: Mapping[str, int] = field(init=False)  # of each rule among the rules, by its id
    permits: Mapping[str, tuple[Rule, ...]] = field(init=False)
    # by kind of paper, the rules that look at its last day
    papers: Mapping[str, tuple[Rule, ...]] = field(init=False)
    excluding: tuple[str, ...] = field(init=False)
    gates: Mapping[Level, Gates] = field(init=False)
    blank: Mapping[str, None] = field(init=False)
    before_own: int = field(init=False)
    at_strata: frozenset[str] = field(init=False)
    kept: Kept = field(init=False, compare=False)

    def __post_init__(self) -> None:
        asked: set[str] = set()
        rules = tuple(sorted(self.rules, key=lambda rule: (rule.pack, rule.no, rule.id)))
        by_kind: dict[Level, list[Rule]] = {level: [] for level in Level}
        permits: dict[str, list[Rule]] = {}
        papers: dict[str, list[Rule]] = {}
        for rule in rules:
            read = self.vocabulary.base_facts(rule.reads)
            asked |= read
            levels = {self.vocabulary.facts[name].level for name in read}
            selects = rule.level is Level.REQUEST and Level.SELECTION in levels
            by_kind[Level.SELECTION if selects else rule.level].append(rule)
            for tag in rule.covers:
                permits.setdefault(tag, []).append(rule)
            for name in read:
                if name.startswith("paper.") and name.endswith(".valid_to"):
                    papers.setdefault(name.split(".")[1], []).append(rule)
        places = {rule.id: place for place, rule in enumerate(rules)}
        facts = self.vocabulary.facts
        said_there = {*ABROAD, *(n for n, fact in facts.items() if fact.level is Level.STRATUM)}
        said_there.update(*(rule.reads for rule in by_kind[Level.STRATUM]))
        found = {
            "at_strata": frozenset(
                name
                for name in self.vocabulary.base_facts(said_there & facts.keys())
                if facts[name].level is Level.REQUEST and facts[name].derived is None
            ),
            "rules": rules,
            "request": tuple(r for r in rules if r.level is Level.REQUEST),
            "stratum": tuple(r for r in rules if r.level is Level.STRATUM),
            "places": places,
            "permits": {tag: tuple(each) for tag, each in permits.items()},
            "papers": {kind: tuple(each) for kind, each in papers.items()},
            "excluding": tuple(
                rule.id for rule in by_kind[Level.STRATUM] if rule.acts_as is Effect.DENY
            ),
            "before_own": bisect_right([rule.pack for rule in rules], PDP),
            "blank": {n: None for n in asked if self.vocabulary.facts[n].derived is None},
            "gates": {level: Gates(each, places) for level, each in by_kind.items()},
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "kept", Kept(self.at_strata | {"as_of", ACT}))

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, if it is in force."""
        place = self.places.get(rule_id)
        return None if place is None else self.rules[place]


class Law:
    """All editions with the vocabulary they speak. Immutable but for a cache of days it owns.

    `drafts` are at hand and never speak: a law that hears them is another one, by `with_drafts`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        editions: Sequence[Edition],
        digests: Mapping[str, str],
        drafts: Sequence[Edition] = (),
        labels: Labels | None = None,
    ) -> None:
        """`digests` are those of everything but the editions, by name; `labels` are for people to read."""
        self.labels = labels or Labels()
        self.vocabulary = vocabulary
        # A draft among the editions comes last: it speaks of the law as it is, however new.
        self.editions = tuple(sorted(editions, key=lambda e: (e.is_draft, e.in_force, e.file)))
        self.drafts = tuple(sorted(drafts, key=lambda e: (e.in_force, e.file)))
        self.digests = dict(digests)
        # On a day between two editions a text may come into force that a rule cites besides others.
        cited = [one for each in self.editions for rule in each.rules for one in rule.cite]
        self._days = sorted(
            {edition.in_force for edition in self.editions} | {c.since for c in cited if c.since}
        )
        self._folds: dict[int, LawInForce] = {}  # by how many of _days have come; so bounded

    def on(self, day: date) -> LawInForce:
        """The law in force on a day in Asia/Shanghai, computed once between two editions."""
        come = bisect_right(self._days, day)
        if come not in self._folds:
            self._folds[come] = self._fold([e for e in self.editions if e.in_force <= day], day)
        return self._folds[come]

    def with_drafts(self) -> Law:
        """The law as it would be if every draft had been issued, as it stands, the day it was published.

        To look and never to act by: what it decides `document.encode` refuses, so nothing of it can be
        recorded, and without a record nothing is given effect.
        """
        return Law(
            self.vocabulary, (*self.editions, *self.drafts), self.digests, labels=self.labels
        )

    def _fold(self, editions: Sequence[Edition], day: date) -> LawInForce:
        vocabulary = self.vocabulary
        rules: dict[str, Rule] = {}
        digests = dict(self.digests)
        for edition in editions:
            rules.update((rule.id, _as_of(rule, day)) for rule in edition.rules)
            for ended in edition.ends:
                # A draft may end what only a later edition begins, and is shown before that too.
                rules.pop(ended, None)
            if edition.derived:
                vocabulary = vocabulary.redefined(edition.derived)
            digests[f"packs/{edition.file}"] = edition.digest
        return LawInForce(rules=tuple(rules.values()), vocabulary=vocabulary, digests=digests)


def _as_of(rule: Rule, day: date) -> Rule:
    """The rule with the citations of a day: the same object unless one of them is too early."""
    cite = rule.cited_on(day)
    return rule if cite == rule.cite else replace(rule, cite=cite)
