"""The facts that rules may speak of: their types, levels and sources, and how derived ones are had.

The rules it keeps: a name outside the vocabulary is refused, a value of the wrong type is refused,
and a fact that nobody gave is UNKNOWN (None), never false. A derived fact is computed at most once
per scope; one whose legal content is of low confidence is UNKNOWN until somebody confirmed it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """How a derived fact is had. `trusted` is False while its low-confidence content is unconfirmed.

    `known` are its values by those of its inputs: parties and papers come again in other requests.
    """

    function: Function
    inputs: tuple[str, ...]
    cite: str
    trusted: bool
    known: dict[tuple[Value | None, ...], Value | None] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """All facts by name; again, by level, those that are `derived` and those a question may give.

    `resting_on` names, for each fact, the derived ones that may read it, however far up.
    """

    version: str
    facts: Mapping[str, Fact]
    derived: Mapping[Level, Mapping[str, Fact]] = field(init=False)
    given: Mapping[Level, Mapping[str, Fact]] = field(init=False)
    resting_on: Mapping[str, frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        derived: dict[Level, dict[str, Fact]] = {level: {} for level in Level}
        given: dict[Level, dict[str, Fact]] = {level: {} for level in Level}
        resting: dict[str, set[str]] = {name: set() for name in self.facts}
        for name, fact in self.facts.items():
            if fact.derived is not None:
                derived[fact.level][name] = fact
                for read in self.base_facts(fact.derived.inputs):
                    resting[read].add(name)
            elif not is_set_by_pdp(name):
                given[fact.level][name] = fact
        object.__setattr__(self, "derived", derived)
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "resting_on", {n: frozenset(on) for n, on in resting.items()})

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
        if not all(type(member) is str for member in value):
            return False
        return fact.values is None or value <= fact.values
    if fact.values is not None:
        return value in fact.values
    return fact.type is not FactType.FRACTION or _parsed(str(value)) is not None


class Scope(dict[str, Value | None]):
    """The facts of one request, stratum or selection: what was given, then what is derived.

    A dict of what is known so far, so that a fact that was had before costs no more than a look-up; a
    rule is given its `look`. `parent` answers for the request that a stratum or selection stands in.
    What it holds follows from what was given, so it may serve many decisions.
    """

    __slots__ = ("_derived", "_parent", "_roots")

    def __init__(
        self,
        given: Mapping[str, Value | None],
        derived: Mapping[str, Fact],
        parent: Scope | None = None,
    ) -> None:
        super().__init__(given)
        self._derived = derived
        self._parent = parent
        self._roots: dict[str, frozenset[str]] = {}

    @property
    def look(self) -> Lookup:
        """The value of a fact by its name, or None when it is unknown."""
        return self.__getitem__

    def __call__(self, name: str) -> Value | None:
        """The same, where speed is no matter."""
        return self[name]

    def __missing__(self, name: str) -> Value | None:
        fact = self._derived.get(name)
        if fact is not None and fact.derived is not None:
            value = _derive(fact, fact.derived, self.__getitem__)
        elif self._parent is not None:
            value = self._parent[name]
        else:
            value = None
        self[name] = value
        return value

    def changed(
        self, given: Mapping[str, Value], stale: Collection[str], parent: Scope | None = None
    ) -> Scope:
        """The same facts but for `given` and the derived facts `stale`, which are had anew."""
        scope = Scope(self, self._derived, parent)
        for name in stale:
            scope.pop(name, None)
        scope.update(given)
        return scope

    def roots(self, names: Iterable[str]) -> frozenset[str]:
        """The facts somebody would have to supply so that the unknown facts `names` become known.

        For a derived fact, the absent facts that its function asked for; itself if it asked for none
        (its content is unconfirmed, or it judges that a person must).
        """
        found: set[str] = set()
        for name in names:
            known = self._roots.get(name)
            if known is None:
                known = self._roots[name] = self._roots_of(name)
            found |= known
        return frozenset(found)

    def _roots_of(self, name: str) -> frozenset[str]:
        fact = self._derived.get(name)
        if fact is not None and fact.derived is not None:
            return self.roots(_absent(fact.derived, self.look)) or frozenset({name})
        if self._parent is not None:
            return self._parent.roots((name,))
        return frozenset({name})


_KEPT = 1024  # of each derived fact; where there would be more, all are forgotten


def _derive(fact: Fact, derived: Derived, look: Lookup) -> Value | None:
    if not derived.trusted:
        return None
    values = tuple(map(look, derived.inputs))
    # One look, since another thread may empty it at any time; `derived` itself says: not kept.
    kept = derived.known.get(values, derived)
    if not isinstance(kept, Derived):
        return kept
    # Only the declared inputs: what it read beyond them would be forgotten in `known`.
    value = derived.function(dict(zip(derived.inputs, values, strict=True)).__getitem__)
    if value is not None and not is_value_of(value, fact):
        raise PolicyError(f"derived fact `{fact.name}` came out as `{value!r}`, not a {fact.type}")
    if len(derived.known) >= _KEPT:
        derived.known.clear()
    derived.known[values] = value
    return value


def _absent(derived: Derived, look: Lookup) -> list[str]:
    """The unknown facts that the function of a derived fact asks for."""
    absent: list[str] = []

    def asking(name: str) -> Value | None:
        value = look(name)
        if value is None:
            absent.append(name)
        return value

    if derived.trusted:
        derived.function(asking)
    return absent
