"""The facts that rules may speak of: their types, levels and sources, and how derived ones are had.

The rules it keeps: a name outside the vocabulary is refused, a value of the wrong type is refused,
and a fact that nobody gave is UNKNOWN (None), never false. A derived fact is computed at most once
per scope; one whose legal content is of low confidence is UNKNOWN until somebody confirmed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from operator import itemgetter

from policies.request import PolicyError, Value

#: Facts by name; None for what is not known.
Lookup = Callable[[str], Value | None]
#: A derived fact: a pure function of other facts (policies/derived.py).
Function = Callable[[Lookup], Value | None]


class FactType(StrEnum):
    """What a fact's value may be. A fraction is the text `p/q`, compared exactly."""

    BOOL = "bool"
    INT = "int"
    TEXT = "text"
    DATE = "date"
    SET = "set"
    FRACTION = "fraction"


class Level(StrEnum):
    """Of what a fact or rule speaks: the request, one stratum, or the strata that may go."""

    REQUEST = "request"
    STRATUM = "stratum"
    SELECTION = "selection"


class Source(StrEnum):
    """Who can supply a fact that is missing."""

    APPLICANT = "applicant"
    BANK = "bank"
    OFFICER = "officer"


#: What each level may read: a stratum and the selection stand within a request.
READABLE: Mapping[Level, frozenset[Level]] = {
    Level.REQUEST: frozenset({Level.REQUEST}),
    Level.STRATUM: frozenset({Level.REQUEST, Level.STRATUM}),
    Level.SELECTION: frozenset({Level.REQUEST, Level.SELECTION}),
}

_PYTHON: Mapping[FactType, type] = {
    FactType.BOOL: bool,
    FactType.INT: int,
    FactType.TEXT: str,
    FactType.DATE: date,
    FactType.SET: frozenset,
    FactType.FRACTION: str,
}
#: The fact that says what is asked for. Most rules are of some acts only.
ACT = "request.action"

#: Facts the PDP sets itself; a question that gave them would be answering for the law.
_SET_BY_PDP = frozenset({"as_of", "consent.covers"})
_SET_BY_PDP_UNDER = ("selection.", "profile.", "purpose.")

_FRACTION = re.compile(
    r"(0|[1-9][0-9]{0,17})/([1-9][0-9]{0,17})\Z"
)  # 10^18 outdoes any share capital


_Values = tuple[Value | None, ...]
ValuesOf = Callable[[Mapping[str, Value | None]], _Values]


def _values_of(names: Sequence[str]) -> ValuesOf:
    """The values of some facts, as fast as Python has them."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda facts: tuple([facts[name] for name in names])


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """How a derived fact is had. `trusted` is False while its low-confidence content is unconfirmed.

    `known` are its values by those of its inputs (`values_of`), for parties and papers come again in other
    requests; beside an unknown one stand the absent facts that its function asked for.
    """

    function: Function
    inputs: tuple[str, ...]
    cite: str
    trusted: bool
    values_of: ValuesOf = field(init=False, repr=False, compare=False)
    known: dict[_Values, Known] = field(init=False, default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values_of", _values_of(self.inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One named fact. `values` is its closed list, of the text itself or of a set's members."""

    name: str
    type: FactType
    level: Level
    says: Mapping[str, str]
    values: frozenset[str] | None = None
    source: Source | None = None
    derived: Derived | None = None
    python: object = field(init=False)  # the Python type of its values

    def __post_init__(self) -> None:
        object.__setattr__(self, "python", _PYTHON[self.type])

    @property
    def is_plain(self) -> bool:
        """Whether every value of its Python type is one of its values."""
        return self.values is None and self.type not in {FactType.SET, FactType.FRACTION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """All facts by name; again, by level, those that are `derived` there or above, and those given.

    `given` has those a question may give, `plain` the Python types of the plain ones among them; `alone`
    every fact that is not derived, in a set of its own; `applicants` are those the applicant can say;
    `resting_on` names, for each, the derived ones that may read it; `families` has those of the derived
    ones that are had together.
    """

    version: str
    facts: Mapping[str, Fact]
    derived: Mapping[Level, Mapping[str, Fact]] = field(init=False)
    alone: Mapping[str, frozenset[str]] = field(init=False)
    given: Mapping[Level, Mapping[str, Fact]] = field(init=False)
    families: Mapping[str, Family] = field(init=False)
    plain: Mapping[Level, Mapping[str, object]] = field(init=False)
    applicants: frozenset[str] = field(init=False)
    resting_on: Mapping[str, frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        derived: dict[Level, dict[str, Fact]] = {level: {} for level in Level}
        given: dict[Level, dict[str, Fact]] = {level: {} for level in Level}
        resting: dict[str, set[str]] = {name: set() for name in self.facts}
        for name, fact in self.facts.items():
            if fact.derived is not None:
                for level in Level:
                    if fact.level in READABLE[level]:
                        derived[level][name] = fact
                for read in self.base_facts(fact.derived.inputs):
                    resting[read].add(name)
            elif not is_set_by_pdp(name):
                given[fact.level][name] = fact
        found = {
            "derived": derived,
            "alone": {n: _itself(n) for n, fact in self.facts.items() if fact.derived is None},
            "families": self._families(),
            "given": given,
            "plain": {
                level: {n: fact.python for n, fact in each.items() if fact.is_plain}
                for level, each in given.items()
            },
            "applicants": frozenset(
                n for n, fact in self.facts.items() if fact.source is Source.APPLICANT
            ),
            "resting_on": {n: frozenset(on) for n, on in resting.items()},
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def _families(self) -> dict[str, Family]:
        """By its name, of each derived fact that has one."""
        together: dict[str, list[str]] = {}
        for name, fact in self.facts.items():
            if fact.derived is not None and fact.level is Level.REQUEST:
                together.setdefault(name.rpartition(".")[0], []).append(name)
        found: dict[str, Family] = {}
        for stem, names in together.items():
            inputs = sorted(n for n in self.base_facts(names) if self.facts[n].derived is None)
            if all(name == "as_of" or name.startswith(f"{stem}.") for name in inputs):
                family = Family(names=tuple(names), values_of=_values_of(inputs))
                found.update(dict.fromkeys(names, family) if len(names) >= _MANY else {})
        return found

    def redefined(self, functions: Mapping[str, Function]) -> Vocabulary:
        """The same words, with some derived facts had by other functions of the same inputs."""
        again = {
            name: replace(fact, derived=replace(fact.derived, function=functions[name]))
            for name, fact in self.facts.items()
            if fact.derived is not None and name in functions
        }
        return replace(self, facts={**self.facts, **again})

    def base_facts(self, names: Iterable[str]) -> frozenset[str]:
        """`names`, and every fact that the derived ones among them may read, however far down."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                derived = self.facts[name].derived
                waiting.extend(derived.inputs if derived else ())
        return frozenset(found)


def is_set_by_pdp(name: str) -> bool:
    """Whether the PDP itself says what a fact is."""
    return name in _SET_BY_PDP or name.startswith(_SET_BY_PDP_UNDER)


def fraction(text: str) -> Fraction:
    """The exact share that the text `p/q` names. Raises PolicyError for any other text."""
    found = _parsed(text)
    if found is None:
        raise PolicyError(f"`{text}` is not a fraction p/q")
    return found


@lru_cache(maxsize=4096)  # shares repeat from request to request; parsing costs more than comparing
def _parsed(text: str) -> Fraction | None:
    parts = _FRACTION.match(text)
    return Fraction(int(parts[1]), int(parts[2])) if parts else None


def is_value_of(value: object, fact: Fact) -> bool:
    """Whether `value` has the fact's type and stands in its closed list. `True` is not an integer."""
    python = fact.python
    if type(value) is not python:
        return False
    if python is bool or python is int or python is date:
        return True
    if isinstance(value, frozenset):
        for member in value:
            if type(member) is not str:
                return False
        return fact.values is None or value <= fact.values
    if fact.values is not None:
        return value in fact.values
    return fact.type is not FactType.FRACTION or _parsed(str(value)) is not None


_Had = tuple[dict[str, Value | None], dict[str, frozenset[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Derived facts of one party, which hang on the same few facts: they are had together.

    `known` are their values, and the roots of those that are unknown, by the values of these facts.
    """

    names: tuple[str, ...]
    values_of: ValuesOf
    known: dict[_Values, _Had] = field(default_factory=dict, repr=False, compare=False)


class Scope(dict[str, Value | None]):
    """The facts of one request, stratum or selection: what was given, then what is derived.

    A dict of what is known so far, so that a fact that was had before costs no more than a look-up; a
    rule is given its `look`. Owns, for each derived fact that came out unknown, its roots.
    """

    __slots__ = ("_derived", "_families", "_roots")

    def __init__(
        self,
        given: Mapping[str, Value | None],
        derived: Mapping[str, Fact],
        families: Mapping[str, Family] | None = None,
    ) -> None:
        super().__init__(given)
        self._derived = derived
        self._families = families or {}
        self._roots: dict[str, frozenset[str]] = {}

    @property
    def look(self) -> Lookup:
        """The value of a fact by its name, or None when it is unknown."""
        return self.__getitem__

    def __call__(self, name: str) -> Value | None:
        """The same, where speed is no matter."""
        return self[name]

    def __missing__(self, name: str) -> Value | None:
        family = self._families.get(name)
        if family is not None:
            values, roots = family.known.get(family.values_of(self)) or self._had(family)
            self.update(values)
            self._roots.update(roots)
            return values[name]
        return self._have(name)

    def _have(self, name: str) -> Value | None:
        fact = self._derived.get(name)
        if fact is None or fact.derived is None:
            return None
        derived = fact.derived
        values = derived.values_of(self)
        value, absent, roots = derived.known.get(values) or _derive(
            fact, derived, values, self._derived
        )
        if value is None:
            self._roots[name] = roots or self.roots(absent)
        self[name] = value
        return value

    def _had(self, family: Family) -> _Had:
        """All facts of a family, each by itself."""
        apart = Scope(self, self._derived)
        values = {name: apart[name] for name in family.names}
        roots = {name: apart._roots[name] for name in values if values[name] is None}
        if len(family.known) >= _KEPT:
            family.known.clear()
        had = family.known[family.values_of(self)] = (values, roots)
        return had

    def stratum(self, given: Mapping[str, Value | None], derived: Mapping[str, Fact]) -> Scope:
        """The scope of a stratum that stands in this request."""
        scope = Scope(self, derived, self._families)
        scope._roots.update(self._roots)
        scope.update(given)
        return scope

    def select(self, given: Mapping[str, Value | None], derived: Mapping[str, Fact]) -> None:
        """Add the facts of the selection: what was had of the request does not hang on them."""
        self._derived = derived
        self.update(given)

    def changed(self, given: Mapping[str, Value], stale: Collection[str]) -> Lookup:
        """The same facts but for `given` and the derived facts `stale`, which are had anew."""
        scope = Scope(self, self._derived)
        for name in stale:
            scope.pop(name, None)
        scope.update(given)
        return scope.look

    def roots(self, names: tuple[str, ...]) -> frozenset[str]:
        """What somebody would have to supply so that some unknown facts become known.

        For a derived fact, that is what the absent facts want which its function asked for; itself if
        it asked for none (its content is unconfirmed, or it judges that a person must).
        """
        for name in names:
            self[name]
        return united(tuple([self._roots.get(name) or _itself(name) for name in names]))

    def root_by(self, alone: Mapping[str, frozenset[str]]) -> Callable[[str], frozenset[str]]:
        """The same of each fact that was looked at and found unknown; `alone` are those not derived."""
        return _Roots(self._roots, alone).__getitem__


class _Roots(dict[str, frozenset[str]]):
    """The roots of derived facts that are unknown, and, once asked for, those of others."""

    __slots__ = ("_alone",)

    def __init__(
        self, known: Mapping[str, frozenset[str]], alone: Mapping[str, frozenset[str]]
    ) -> None:
        super().__init__(known)
        self._alone = alone

    def __missing__(self, name: str) -> frozenset[str]:
        found = self[name] = self._alone[name]
        return found


@lru_cache(maxsize=4096)
def _itself(name: str) -> frozenset[str]:
    return _shared(frozenset({name}))


@lru_cache(maxsize=8192)
def united(sets: tuple[frozenset[str], ...]) -> frozenset[str]:
    """One set of many, the same object each time: who looks it up need not compare it."""
    return _shared(frozenset[str]().union(*sets))


@lru_cache(maxsize=8192)
def _shared(names: frozenset[str]) -> frozenset[str]:
    return names


#: The value of a derived fact; if it is unknown, the absent facts its function asked for; and what they
#: want, if none of them is derived.
Known = tuple[Value | None, tuple[str, ...], frozenset[str] | None]

_MANY = 3  # facts are worth having together
_KEPT = 1024  # of each derived fact; where there would be more, all are forgotten


def _derive(fact: Fact, derived: Derived, values: _Values, others: Mapping[str, Fact]) -> Known:
    absent: list[str] = []
    # Only the declared inputs: what it read beyond them would be forgotten in `known`.
    read = dict(zip(derived.inputs, values, strict=True))

    def look(name: str) -> Value | None:
        value = read[name]
        if value is None:
            absent.append(name)
        return value

    value = derived.function(look) if derived.trusted else None
    found: Known = (value, (), None)
    if value is None:
        names = tuple(dict.fromkeys(absent)) or (fact.name,)
        alone = others.keys().isdisjoint(absent)
        found = (None, names, united(tuple(map(_itself, names))) if alone else None)
    elif not is_value_of(value, fact):
        raise PolicyError(f"derived fact `{fact.name}` came out as `{value!r}`, not a {fact.type}")
    if len(derived.known) >= _KEPT:
        derived.known.clear()
    derived.known[values] = found
    return found
