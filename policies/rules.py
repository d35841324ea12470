"""Rules, their three gates, and the law on a day: the fold of all editions up to it.

The rules it keeps: a rule speaks only when it applies, is in force and holds; where the gate or the
condition is unknown, so is the rule. Low-confidence content that nobody has confirmed neither
denies nor permits. Nothing is copied from edition to edition: a later one replaces rules by id or
ends them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from policies.conditions import Condition
from policies.decision import Citation, Effect, Owner, Result
from policies.vocabulary import Level, Lookup, Vocabulary

#: Of how rules are evaluated and combined; raised with any change that can change a decision.
VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The duty a rule attaches: before release, or so many months after the grant."""

    id: str
    before_release: bool = False
    months: int | None = None
    says: Mapping[str, str] | None = None  # the rule's own sentence where it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One provision as it stands in one edition. `pack` and `edition` say which.

    `level` is request or stratum; `covers` (permits only) holds `material.domestic` and the like;
    `confirmed` says that low-confidence content was checked by somebody (checked.yaml).
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
    acts_as: Effect = field(
        init=False
    )  # its effect, but a tentative prohibition only asks a person

    def __post_init__(self) -> None:
        asks = self.effect is Effect.DENY and self.is_tentative
        object.__setattr__(self, "acts_as", Effect.REFER if asks else self.effect)

    @property
    def is_tentative(self) -> bool:
        """Whether its content is of low confidence and nobody has confirmed it (design §5)."""
        return self.confidence["content"] == "low" and not self.confirmed

    @property
    def reads(self) -> frozenset[str]:
        """The facts it may look at itself (what derived ones read in turn is not among them)."""
        return self.when.reads | (self.applies.reads if self.applies else frozenset())

    def result(self, look: Lookup) -> Result:
        """What the rule says of these facts. A tentative permit that holds is only UNKNOWN."""
        gate = True if self.applies is None else self.applies.holds(look)
        if gate is False:
            return Result.NOT_APPLICABLE
        truth = self.when.holds(look)
        if truth is False:
            return Result.DOES_NOT_HOLD
        if truth is None or gate is None:
            return Result.UNKNOWN
        if self.effect is Effect.PERMIT and self.is_tentative:
            return Result.UNKNOWN
        return Result.HOLDS

    def missing(self, look: Lookup) -> frozenset[str]:
        """The unknown facts behind an UNKNOWN result; none for a tentative permit that holds."""
        found = self.when.missing(look) if self.when.holds(look) is None else frozenset[str]()
        if self.applies is not None and self.applies.holds(look) is None:
            found |= self.applies.missing(look)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What of one instrument changed on one day. `file` is its path under packs/."""

    pack: str
    in_force: date
    file: str
    digest: str  # SHA-256 of the file, hex
    title: Mapping[str, str]
    link: str
    rules: tuple[Rule, ...]
    ends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LawInForce:
    """The law of one day: its rules, also by level, sorted by pack, number, id; and all digests."""

    rules: tuple[Rule, ...]
    request: tuple[Rule, ...] = field(init=False)
    stratum: tuple[Rule, ...] = field(init=False)
    papers: Mapping[str, tuple[Rule, ...]]  # by kind of paper, the rules that look at its last day
    digests: Mapping[str, str]

    def __post_init__(self) -> None:
        rules = tuple(sorted(self.rules, key=lambda rule: (rule.pack, rule.no, rule.id)))
        object.__setattr__(self, "rules", rules)
        for level in (Level.REQUEST, Level.STRATUM):
            object.__setattr__(self, level, tuple(r for r in rules if r.level is level))

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, if it is in force."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)


class Law:
    """All editions with the vocabulary they speak. Immutable but for a cache of days it owns."""

    def __init__(
        self, vocabulary: Vocabulary, editions: Sequence[Edition], digests: Mapping[str, str]
    ) -> None:
        """`digests` are those of everything but the editions, by name."""
        self.vocabulary = vocabulary
        self.editions = tuple(sorted(editions, key=lambda e: (e.in_force, e.file)))
        self.digests = dict(digests)
        self._days = sorted({edition.in_force for edition in self.editions})
        self._folds: dict[int, LawInForce] = {}  # by how many of _days have come; so bounded

    def on(self, day: date) -> LawInForce:
        """The law in force on a day in Asia/Shanghai, computed once between two editions."""
        come = bisect_right(self._days, day)
        if come not in self._folds:
            self._folds[come] = self._fold([e for e in self.editions if e.in_force <= day])
        return self._folds[come]

    def _fold(self, editions: Sequence[Edition]) -> LawInForce:
        rules: dict[str, Rule] = {}
        digests = dict(self.digests)
        for edition in editions:
            rules.update((rule.id, rule) for rule in edition.rules)
            for ended in edition.ends:
                del rules[ended]
            digests[f"packs/{edition.file}"] = edition.digest
        return LawInForce(
            rules=tuple(rules.values()), papers=self._papers(rules.values()), digests=digests
        )

    def _papers(self, rules: Iterable[Rule]) -> dict[str, tuple[Rule, ...]]:
        found: dict[str, tuple[Rule, ...]] = {}
        for rule in rules:
            for name in self.vocabulary.base_facts(rule.reads):
                if name.startswith("paper.") and name.endswith(".valid_to"):
                    kind = name.split(".")[1]
                    found[kind] = (*found.get(kind, ()), rule)
        return found
