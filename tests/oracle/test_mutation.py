"""The cases of the packs catch what an author may get wrong: 95 of 100 mutants, survivors by name.

A mutant is one rule with one thing changed: an operator turned, a bound shifted by one, `all` and `any`
swapped, a condition negated, a part dropped, the effect or the rule itself taken away. It is caught if a
case of its edition no longer comes out as expected.

    make mutants        # every survivor by name, also while enough are caught; exit 1 if too few are
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from policies import packs, strict
from policies.conditions import parse
from policies.rules import Rule
from policies.vocabulary import Scope

LAW = packs.load()
FACTS = LAW.vocabulary.facts
DERIVED = {name: fact for name, fact in FACTS.items() if fact.derived}
TURNED = {"at_least": "at_most", "at_most": "at_least", "before": "after", "after": "before"}
#: How many of a hundred mutants must be caught.
FLOOR = 95


def mutants(condition: Any) -> Iterator[tuple[str, Any]]:
    """Each condition that differs from this one in one place, with what was done."""
    yield "negated", {"not": deepcopy(condition)}
    yield from _inside(condition)


def _inside(condition: Any) -> Iterator[tuple[str, Any]]:
    if "not" in condition:
        yield "not dropped", condition["not"]
        yield from ((what, {"not": inner}) for what, inner in _inside(condition["not"]))
        return
    for word, other in (("all", "any"), ("any", "all")):
        if word not in condition:
            continue
        parts = condition[word]
        if len(parts) > 1:
            yield f"{word} for {other}", {other: parts}
        for at, part in enumerate(parts):
            rest = parts[:at] + parts[at + 1 :]
            if rest:
                yield f"part {at} dropped", {word: rest}
            for what, inner in _inside(part):
                yield what, {word: [*parts[:at], inner, *parts[at + 1 :]]}
        return
    if "fact" not in condition:
        return
    name = condition["fact"]
    for operator, value in condition.items():
        if operator in TURNED:
            yield f"{name}: {operator} turned", {"fact": name, TURNED[operator]: value}
        if isinstance(value, bool):
            yield f"{name}: {value} turned", {"fact": name, operator: not value}
        elif isinstance(value, int):
            for step in (-1, 1):
                yield f"{name}: {value}{step:+}", {"fact": name, operator: value + step}
        elif isinstance(value, list) and len(value) > 1:
            for one in value:
                less = [each for each in value if each != one]
                yield f"{name}: without {one}", {"fact": name, operator: less}


def changed(rule: Rule) -> Iterator[tuple[str, Rule]]:
    for key in ("applies", "when"):
        if key not in rule.written:
            continue
        for what, condition in mutants(rule.written[key]):
            parsed = parse(condition, FACTS, (), lambda *_: None)
            if parsed is not None:
                yield f"{key}: {what}", replace(rule, **{key: parsed})
    if rule.applies is not None:
        yield "applies dropped", replace(rule, applies=None)


def tells(rule: Rule, case: dict[str, Any]) -> bool:
    """Whether a case does not come out as expected."""
    given = {
        name: frozenset(raw) if isinstance(raw, list) else raw
        for name, raw in case["facts"].items()
    }
    scope = Scope({"as_of": case["as_of"], **given}, DERIVED)
    return rule.result(scope) != case["expect"]


def speaks(rule: Rule, day: date) -> bool:
    """Whether it is this edition of the rule that is in force."""
    now = LAW.on(day).rule(rule.id)
    return now is not None and now.edition == rule.edition


def survivors(change: Callable[[Rule], Iterator[tuple[str, Rule]]]) -> tuple[int, list[str]]:
    made, left = 0, []
    for edition in LAW.editions:
        name = edition.file.replace(".yaml", ".cases.yaml")
        content: Any = strict.load(packs.shipped().joinpath(name).read_bytes(), name).data
        for rule in edition.rules:
            # A case may also show that the rule has ended; that is no matter of what it says.
            cases = [
                case
                for case in content["cases"]
                if case["rule"] == rule.id and speaks(rule, case["as_of"])
            ]
            assert not any(tells(rule, case) for case in cases)
            # A rule taken away says nothing of what its cases expect of it.
            made += 1
            if all(case["expect"] == "not_applicable" for case in cases):
                left.append(f"{edition.file} {rule.id}: dropped")
            for what, mutant in change(rule):
                made += 1
                if not any(tells(mutant, case) for case in cases):
                    left.append(f"{edition.file} {rule.id}: {what}")
    return made, left


def told(made: int, left: list[str]) -> tuple[bool, str]:
    """Whether enough were caught, and the survivors by name with the count."""
    caught = 100 * (made - len(left)) / made
    count = f"{len(left)} of {made} mutants survive: {caught:.2f} of 100 caught, {FLOOR} are wanted"
    return caught >= FLOOR, "\n".join([*left, count])


def test_the_cases_catch_what_an_author_may_get_wrong() -> None:
    made, left = survivors(changed)
    enough, report = told(made, left)
    assert made > 2000
    assert enough, report


@pytest.mark.parametrize(("survive", "enough"), [(0, True), (5, True), (6, False)])
def test_survivors_are_named_whether_or_not_enough_are_caught(survive: int, enough: bool) -> None:  # noqa: FBT001
    left = [f"cn-hgr/2019-07-01.yaml rule-{n}: negated" for n in range(survive)]
    assert told(100, left)[0] is enough
    assert told(100, left)[1].splitlines()[:-1] == left


def test_a_mutant_nobody_tells_survives() -> None:
    """The control: a rule changed into itself is caught by no case."""
    made, left = survivors(lambda rule: iter([("itself", replace(rule))]))
    assert sum(line.endswith(": itself") for line in left) == made / 2


if __name__ == "__main__":
    ENOUGH, REPORT = told(*survivors(changed))
    sys.stdout.write(f"{REPORT}\n")
    sys.exit(0 if ENOUGH else 1)
