"""The condition language of rules: closed operators over facts, three-valued after Kleene.

The rules it keeps: an unknown fact makes a leaf None, and None is never taken for False; `all`
with a False is False whatever is unknown, `any` with a True is True. Every name and type is checked
when a pack is loaded, so that evaluating can no longer go wrong; conditions become closures once. Their
form stays at hand: `policies/compiled.py` makes one function of many of them, and says the same.

    {all: [{fact: recipient.foreign, is: true}, {not: {fact: paper.exit.in_force, is: true}}]}
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policies.strict import Data, Path, shown
from policies.vocabulary import ACT, Fact, FactType, Lookup, fraction, is_value_of

#: Told of each mistake: the path in the file, its code, then the sentence in English and Chinese.
Report = Callable[[Path, str, str, str], None]


_Why = Callable[[Lookup], bool | frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A fact and an operator beside its right side: values of the pack, or the fact that `other` names.

    `share`: both sides are fractions, of which a literal was parsed already.
    """

    fact: str
    sign: str
    right: Any = None
    other: str | None = None
    share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """`any` (one True decides it) or `all` (one False does) of the parts."""

    deciding: bool
    parts: tuple[Form, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Negated:
    """`not`."""

    part: Form


#: What a condition says, checked: every name, operator and value in it fits.
Form = Leaf | Several | Negated


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A checked condition.

    `holds` gives True, False or None (unknown); `why` the same, but instead of None the unknown facts
    that made it so, and only those; `reads` every fact it may look at; `total` says that it can never be
    None; `acts` are the acts under which alone it can be other than False, None if that hangs on more
    than the act; `data` is what stands in the file, for the outermost condition.
    """

    form: Form
    holds: Callable[[Lookup], bool | None]
    why: _Why
    reads: frozenset[str]
    total: bool
    acts: frozenset[str] | None = None
    data: Data = ""

    def missing(self, look: Lookup) -> frozenset[str]:
        """The unknown facts that make it unknown; none if it is not."""
        why = self.why(look)
        return _NONE if isinstance(why, bool) else why


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    """One leaf operator: the types of its left side, whether its right side is many, its test.

    The test takes the right side first, so that every one is a function of `operator` itself.
    """

    types: frozenset[FactType]
    many: bool
    test: Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in a file the parser stands, what may be named there, and whom to tell of mistakes."""

    facts: Mapping[str, Fact]
    path: Path
    report: Report

    def under(self, *keys: str | int) -> _Place:
        return _Place(facts=self.facts, path=(*self.path, *keys), report=self.report)

    def fact(self, name: str) -> Fact | None:
        found = self.facts.get(name)
        if found is None:
            en, zh = f"unknown fact `{shown(name)}`", f"未知事实 `{shown(name)}`"
            self.report(self.path, "unknown_fact", en, zh)
        return found


_NONE: frozenset[str] = frozenset()
_SCALARS = frozenset(FactType) - {FactType.SET}
_ORDERED = frozenset({FactType.INT, FactType.FRACTION})
_DATES = frozenset({FactType.DATE})
_SETS = frozenset({FactType.SET})

_OPERATORS: Mapping[str, _Operator] = {
    "is": _Operator(types=_SCALARS, many=False, test=operator.eq),
    "in": _Operator(types=_SCALARS - {FactType.BOOL}, many=True, test=operator.contains),
    "at_least": _Operator(types=_ORDERED, many=False, test=operator.le),
    "at_most": _Operator(types=_ORDERED, many=False, test=operator.ge),
    "before": _Operator(types=_DATES, many=False, test=operator.gt),
    "after": _Operator(types=_DATES, many=False, test=operator.lt),
    "within": _Operator(types=_SETS, many=True, test=operator.ge),
}
_IN_SETS = frozenset({FactType.TEXT, FactType.SET})  # sets hold texts
_LEAVES = frozenset({*_OPERATORS, "known"})


def parse(data: Data, facts: Mapping[str, Fact], path: Path, report: Report) -> Condition | None:
    """Compile one condition as it stands in a file; None after reporting everything wrong in it."""
    found = _parse(data, _Place(facts=facts, path=path, report=report))
    return None if found is None else replace(found, data=data)


def _parse(data: Data, place: _Place) -> Condition | None:
    parts_of = data if isinstance(data, dict) else {}
    match parts_of, len(parts_of):
        case {"all": list(parts)}, 1:
            return _several(parts, place.under("all"), deciding=False)
        case {"any": list(parts)}, 1:
            return _several(parts, place.under("any"), deciding=True)
        case {"not": part}, 1:
            inner = _parse(part, place.under("not"))
            return None if inner is None else _negated(inner)
        case {"fact": str(name)}, 2 if not _LEAVES.isdisjoint(parts_of):
            sign = next(key for key in parts_of if key != "fact")
            return _leaf(name, sign, parts_of[sign], place)
    place.report(
        place.path,
        "bad_condition",
        "a condition is one of all, any, not, or a fact with exactly one operator",
        "条件必须是 all、any、not 之一，或一个事实加恰好一个运算符",
    )
    return None


def _several(parts: Sequence[Data], place: _Place, *, deciding: bool) -> Condition | None:
    """`all` (decided by one False) and `any` (decided by one True)."""
    if not parts:
        en, zh = "an empty list decides nothing", "空列表不能决定任何事"
        place.report(place.path, "empty_list", en, zh)
        return None
    parsed = [_parse(part, place.under(index)) for index, part in enumerate(parts)]
    inner = [condition for condition in parsed if condition is not None]
    if len(inner) < len(parts):
        return None
    acts = [condition.acts for condition in inner if condition.acts is not None]
    return Condition(
        form=Several(deciding=deciding, parts=tuple(condition.form for condition in inner)),
        holds=_holds_of(inner, deciding=deciding),
        why=_why_of(inner, deciding=deciding),
        reads=_NONE.union(*(condition.reads for condition in inner)),
        total=all(condition.total for condition in inner),
        acts=_acts_of_any(acts, len(inner)) if deciding else _acts_of_all(acts),
    )


def _holds_of(inner: Sequence[Condition], *, deciding: bool) -> Callable[[Lookup], bool | None]:
    tests = tuple(condition.holds for condition in inner)

    def holds(look: Lookup) -> bool | None:
        otherwise: bool | None = not deciding
        for test in tests:
            truth = test(look)
            if truth is deciding:
                return deciding
            if truth is None:
                otherwise = None
        return otherwise

    return holds


def _why_of(inner: Sequence[Condition], *, deciding: bool) -> _Why:
    whys = tuple(condition.why for condition in inner)

    def why(look: Lookup) -> bool | frozenset[str]:
        missing = _NONE
        for ask in whys:
            told = ask(look)
            if told is deciding:
                return deciding
            if not isinstance(told, bool):
                missing |= told
        return missing or not deciding

    return why


def _acts_of_all(acts: Sequence[frozenset[str]]) -> frozenset[str] | None:
    return acts[0].intersection(*acts) if acts else None


def _acts_of_any(acts: Sequence[frozenset[str]], parts: int) -> frozenset[str] | None:
    return frozenset[str]().union(*acts) if len(acts) == parts else None


def _negated(inner: Condition) -> Condition:
    test = inner.holds

    def holds(look: Lookup) -> bool | None:
        truth = test(look)
        return None if truth is None else not truth

    def why(look: Lookup) -> bool | frozenset[str]:
        told = inner.why(look)
        return not told if isinstance(told, bool) else told

    form = Negated(part=inner.form)
    return Condition(form=form, holds=holds, why=why, reads=inner.reads, total=inner.total)


def _leaf(name: str, sign: str, right: Data, place: _Place) -> Condition | None:
    fact = place.under("fact").fact(name)
    if fact is None:
        return None
    beside = place.under(sign)
    if sign == "known":
        if not isinstance(right, bool):
            en, zh = "`known` takes true or false", "`known` 只能取 true 或 false"
            beside.report(beside.path, "bad_operand", en, zh)
            return None
        return _known(name, wanted=right)
    if fact.type not in _OPERATORS[sign].types:
        en = f"`{sign}` does not fit `{name}`, a {fact.type}"
        zh = f"`{sign}` 不适用于 {fact.type} 类型的 `{name}`"
        beside.report(beside.path, "operator_does_not_fit", en, zh)
        return None
    match right:
        case {"fact": str(other), **rest} if not rest:
            return _against_fact(fact, sign, other, beside)
    return _against_literal(fact, sign, right, beside)


def _known(name: str, *, wanted: bool) -> Condition:
    def holds(look: Lookup) -> bool:
        return (look(name) is not None) is wanted

    return Condition(
        form=Leaf(fact=name, sign="known", right=wanted),
        holds=holds,
        why=holds,
        reads=frozenset({name}),
        total=True,
    )


def _against_literal(fact: Fact, sign: str, right: Data, place: _Place) -> Condition | None:
    """A fact beside a value, or beside a list of values, written in the pack."""
    kind = _OPERATORS[sign]
    if kind.many is not isinstance(right, list) or right == []:
        takes = ("a list that is not empty, or a set", "一个非空列表或者集合事实")
        en, zh = takes if kind.many else ("one value", "一个值")
        place.report(place.path, "bad_operand", f"`{sign}` takes {en}", f"`{sign}` 右侧应为{zh}")
        return None
    members = right if isinstance(right, list) else [right]
    wrong = [member for member in members if not _is_literal_of(member, fact)]
    for member in wrong:
        en = f"`{shown(member)}` is no {fact.type} that `{fact.name}` can be"
        zh = f"`{shown(member)}` 不是 {fact.type} 类型的 `{fact.name}` 的可能取值"
        place.report(place.path, "bad_value", en, zh)
    if wrong:
        return None
    shares = fact.type is FactType.FRACTION
    values = [fraction(str(member)) if shares else member for member in members]
    literal: Any = frozenset(values) if kind.many else values[0]
    return _comparison(
        Leaf(fact=fact.name, sign=sign, right=literal, share=shares),
        _tested(fact, kind.test, literal),
        _acts_of(fact, kind.test, literal, place.facts),
    )


def _tested(
    fact: Fact, test: Callable[[Any, Any], bool], right: Any
) -> Callable[[Lookup], bool | None]:
    """Most leaves ask whether something is true; it is asked without comparing."""
    name = fact.name
    if right is True:
        return lambda look: look(name)  # type: ignore[return-value]  # its type was checked

    def holds(look: Lookup) -> bool | None:
        left = look(name)
        return None if left is None else test(right, left)

    def holds_share(look: Lookup) -> bool | None:
        left = look(name)
        return None if left is None else test(right, fraction(str(left)))

    return holds_share if fact.type is FactType.FRACTION else holds


def _acts_of(
    fact: Fact, test: Callable[[Any, Any], bool], right: Any, facts: Mapping[str, Fact]
) -> frozenset[str] | None:
    """The acts under which a leaf can hold, if it speaks of the act or of what follows from it alone."""
    act = facts.get(ACT)
    if act is None or act.values is None:
        return None
    if fact is act:
        return frozenset(one for one in act.values if test(right, one))
    derived = fact.derived
    if derived is None or derived.inputs != (ACT,) or not derived.trusted:
        return None
    said = {one: derived.function({ACT: one}.get) for one in act.values}
    return frozenset(one for one, left in said.items() if left is None or test(right, left))


def _against_fact(fact: Fact, sign: str, other: str, place: _Place) -> Condition | None:
    """A fact beside another fact of its type, or a text or set beside a set."""
    beside = place.fact(other)
    if beside is None:
        return None
    many = _OPERATORS[sign].many
    wanted = FactType.SET if many else fact.type
    if beside.type is not wanted or (many and fact.type not in _IN_SETS):
        en = f"`{fact.name}`, a {fact.type}, cannot stand beside `{other}`, a {beside.type}"
        zh = f"{fact.type} 类型的 `{fact.name}` 不能与 {beside.type} 类型的 `{other}` 比较"
        place.report(place.path, "types_differ", en, zh)
        return None
    shares = fact.type is FactType.FRACTION
    name, test = fact.name, _OPERATORS[sign].test

    def holds(look: Lookup) -> bool | None:
        left, right = look(name), look(other)
        if left is None or right is None:
            return None
        return test(fraction(str(right)), fraction(str(left))) if shares else test(right, left)

    return _comparison(Leaf(fact=name, sign=sign, other=other, share=shares), holds)


def _comparison(
    leaf: Leaf, holds: Callable[[Lookup], bool | None], acts: frozenset[str] | None = None
) -> Condition:
    names = (leaf.fact,) if leaf.other is None else (leaf.fact, leaf.other)
    alone = {name: frozenset({name}) for name in names}

    def why(look: Lookup) -> bool | frozenset[str]:
        truth = holds(look)
        if truth is not None:
            return truth
        return _NONE.union(*[alone[name] for name in names if look(name) is None])

    return Condition(
        form=leaf,
        holds=holds,
        why=why,
        reads=frozenset(names),
        total=False,
        acts=acts,
    )


def _is_literal_of(value: Data, fact: Fact) -> bool:
    if fact.type is FactType.SET:
        return isinstance(value, str) and is_value_of(frozenset({value}), fact)
    return is_value_of(value, fact)
