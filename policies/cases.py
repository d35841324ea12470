"""The cases beside each edition: facts, a rule, and what the rule must say of them.

The rules it keeps: every rule has a case in which it holds, one in which it does not (or does not
apply), and one in which a fact is unknown; derived facts may be given directly and then win; a
derived fact reads only what the vocabulary says it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from policies.decision import Result
from policies.request import PolicyError, Value
from policies.rules import Edition, Law, Rule
from policies.shapes import CASES, shape_mistakes
from policies.strict import Document, Mistake
from policies.vocabulary import Derived, Fact, Lookup, Scope, Vocabulary, is_value_of

_Row = dict[str, Any]  # one case of the file, its shape already checked

#: What must be shown of every rule: one case out of each group.
_WANTED: tuple[tuple[frozenset[Result], str], ...] = (
    (frozenset({Result.HOLDS}), "holds"),
    (frozenset({Result.DOES_NOT_HOLD, Result.NOT_APPLICABLE}), "does not hold"),
    (frozenset({Result.UNKNOWN}), "is unknown"),
)


def case_mistakes(edition: Edition, document: Document, law: Law) -> list[Mistake]:
    """Everything wrong with the cases of one edition: too few, misspelt, or not as expected."""
    mistakes = shape_mistakes(document, CASES)
    if mistakes:
        return mistakes
    content: Any = document.data
    rows: list[_Row] = content["cases"]
    facts = _observed(law.vocabulary)
    for place, row in enumerate(rows):
        mistakes += [
            document.mistake(("cases", place, key), en=f"case `{row['name']}`: {en}", zh=zh)
            for key, en, zh in _wrong(row, edition, law, facts)
        ]
    for rule in edition.rules:
        shown = {Result(row["expect"]) for row in rows if row["rule"] == rule.id}
        mistakes += [
            document.mistake((), en=f"no case in which `{rule.id}` {words}", zh="缺少案例")
            for group, words in _WANTED
            if shown.isdisjoint(group) and not _cannot_be(rule, group)
        ]
    return mistakes


def _cannot_be(rule: Rule, group: frozenset[Result]) -> bool:
    """A rule that asks only what is known is never unknown; a tentative permit never just holds."""
    if Result.UNKNOWN in group:
        return rule.when.total and (rule.applies is None or rule.applies.total)
    return Result.HOLDS in group and rule.is_tentative and rule.covers != frozenset()


def _wrong(
    row: _Row, edition: Edition, law: Law, facts: dict[str, Fact]
) -> Iterator[tuple[str, str, str]]:
    """What is wrong with one case: the key, the sentence in English and in Chinese."""
    rule = law.on(row["as_of"]).rule(row["rule"])
    if row["rule"] not in {one.id for one in edition.rules}:
        yield "rule", f"`{row['rule']}` is not in this edition", "本版本没有该规则"
    elif rule is not None and rule.edition != edition.in_force:
        yield "as_of", f"that day edition {rule.edition} speaks", "该日适用另一版本"
    else:
        given: dict[str, Value] = {}
        for name, raw in row["facts"].items():
            value = frozenset(raw) if isinstance(raw, list) and _flat(raw) else raw
            fact = facts.get(name)
            if fact is None:
                yield "facts", f"unknown fact `{name}`", "未知事实"
            elif not is_value_of(value, fact):
                yield "facts", f"`{raw}` is no {fact.type} that `{name}` can be", "取值不符合要求"
            else:
                given[name] = value
        if len(given) == len(row["facts"]):
            yield from _unexpected(row, rule, {"as_of": row["as_of"], **given}, facts)


def _unexpected(
    row: _Row, rule: Rule | None, given: dict[str, Value], facts: dict[str, Fact]
) -> Iterator[tuple[str, str, str]]:
    derived = {name: fact for name, fact in facts.items() if fact.derived}
    try:
        result = rule.result(Scope(given, derived)) if rule else Result.NOT_APPLICABLE
    except PolicyError as error:
        yield "facts", str(error), "派生事实计算出错"
        return
    if result != row["expect"]:
        yield "expect", f"came out as {result}, not {row['expect']}", f"实际结果为 {result}"


def _flat(raw: list[Any]) -> bool:
    return all(isinstance(member, str) for member in raw)


def _observed(vocabulary: Vocabulary) -> dict[str, Fact]:
    """The vocabulary, each derived function watched: it may read only its declared inputs."""
    return {
        name: fact if fact.derived is None else replace(fact, derived=_watched(fact, fact.derived))
        for name, fact in vocabulary.facts.items()
    }


def _watched(fact: Fact, derived: Derived) -> Derived:
    def function(look: Lookup) -> Value | None:
        def asking(name: str) -> Value | None:
            if name not in derived.inputs:
                raise PolicyError(f"`{fact.name}` reads `{name}`, which is not among its inputs")
            return look(name)

        return derived.function(asking)

    return replace(derived, function=function)
