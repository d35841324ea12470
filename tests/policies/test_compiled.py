"""The generated function says of each rule what its closures say, and holds nothing but its own nodes."""

import random
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.compiled import Line, compiled
from policies.conditions import parse
from policies.decision import Result
from policies.rules import Gates
from policies.vocabulary import Fact, FactType, Level, Scope
from tests.oracle import chance
from tests.policies.test_shipped_packs import LAW, TODAY

DAYS = st.sampled_from([date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)])
SHARES = st.sampled_from(["0/1", "1/3", "1/2", "2/4", "1/1"])
TEXTS = st.sampled_from(["a", "b", "'", '"] or True #', "__import__('os')"])
SETS = st.frozensets(TEXTS, max_size=3)
VALUES = {
    FactType.BOOL: st.booleans(),
    FactType.INT: st.integers(-2, 2),
    FactType.TEXT: TEXTS,
    FactType.DATE: DAYS,
    FactType.SET: SETS,
    FactType.FRACTION: SHARES,
}
#: Two of each type, so that a fact may stand beside another; a name may hold anything.
FACTS = {
    name: Fact(
        name=name, type=kind, level=Level.REQUEST, says={"zh": "事实", "en": "fact"}, values=None
    )
    for kind in FactType
    for name in (f"one.{kind}", f"{kind}'] or True #")
}
NAMES = {kind: [name for name, one in FACTS.items() if one.type is kind] for kind in FactType}
ORDERED = (FactType.INT, FactType.FRACTION)


def written(value):
    return sorted(value) if isinstance(value, frozenset) else value


def leaf(kind, sign, right):
    return st.builds(lambda n, r: {"fact": n, sign: r}, st.sampled_from(NAMES[kind]), right)


def beside(kind, sign, other):
    return leaf(kind, sign, st.sampled_from(NAMES[other]).map(lambda name: {"fact": name}))


LEAVES = st.one_of(
    *(leaf(kind, "known", st.booleans()) for kind in FactType),
    *(leaf(kind, "is", VALUES[kind]) for kind in FactType if kind is not FactType.SET),
    *(beside(kind, "is", kind) for kind in FactType if kind is not FactType.SET),
    *(
        leaf(kind, "in", st.lists(VALUES[kind], min_size=1, max_size=3))
        for kind in (FactType.INT, FactType.TEXT, FactType.DATE, FactType.FRACTION)
    ),
    beside(FactType.TEXT, "in", FactType.SET),
    *(leaf(kind, sign, VALUES[kind]) for kind in ORDERED for sign in ("at_least", "at_most")),
    *(beside(kind, sign, kind) for kind in ORDERED for sign in ("at_least", "at_most")),
    *(leaf(FactType.DATE, sign, DAYS) for sign in ("before", "after")),
    *(beside(FactType.DATE, sign, FactType.DATE) for sign in ("before", "after")),
    leaf(FactType.SET, "within", st.lists(TEXTS, min_size=1, max_size=3)),
    beside(FactType.SET, "within", FactType.SET),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=6,
)
KNOWN = st.fixed_dictionaries(
    {name: st.one_of(st.none(), VALUES[one.type]) for name, one in FACTS.items()}
)


def condition(data):
    found = parse(data, FACTS, (), lambda *told: pytest.fail(str(told)))
    assert found is not None
    return found


def said(judge, facts):
    """What a generated function says: the silent, and those that speak with what is unknown to them."""
    silent, spoke = {}, []
    judge(facts, silent, spoke.append)
    return silent, {
        rule: None if missing is None else frozenset(missing) for rule, missing in spoke
    }


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), CONDITIONS), CONDITIONS, st.booleans()),
        min_size=1,
        max_size=5,
    ),
    KNOWN,
)
def test_it_says_what_the_closures_say(rows, facts):
    rules = [(gate and condition(gate), condition(when), open_) for gate, when, open_ in rows]
    lines = [
        Line(
            place=place,
            applies=gate and gate.form,
            when=when.form,
            rule=place,
            silence=f"silent {place}",
            tentative=open_,
        )
        for place, (gate, when, open_) in enumerate(rules)
    ]
    silent, spoke = {}, {}
    for place, (gate, when, tentative) in enumerate(rules):
        applies = True if gate is None else gate.holds(facts.get)
        holds = None if applies is False else when.holds(facts.get)
        if applies is False:
            continue
        if holds is False:
            silent[place] = f"silent {place}"
        elif applies and holds and not tentative:
            spoke[place] = None
        else:
            spoke[place] = when.missing(facts.get) | (gate.missing(facts.get) if gate else set())
    assert said(compiled(lines), facts) == (silent, spoke)


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in (0, 100)])
def test_the_whole_law_says_what_its_rules_say_one_by_one(seeds):
    """Under every act, of facts made by chance, known and unknown, at all three levels."""
    law = LAW.on(TODAY)
    derived = {name: fact for name, fact in LAW.vocabulary.facts.items() if fact.derived}
    results = set()
    for seed in seeds:
        made = random.Random(seed)
        question = chance.question(made)
        facts = dict(question.facts)
        for stratum in question.strata[:1]:
            facts |= stratum.facts
        facts |= {"selection.people": made.choice([0, 499, 500, 10_000])} if seed % 3 else {}
        scope = Scope({**facts, "as_of": TODAY}, derived)
        for gates in law.gates.values():
            silent, spoke = said(gates.judge(scope["request.action"]), scope)
            for rule in gates.rules:
                result = rule.result(scope.look)
                results.add(result)
                place = law.places[rule.id]
                assert (place in silent) is (result is Result.DOES_NOT_HOLD), rule.id
                assert (rule in spoke) is (result in {Result.HOLDS, Result.UNKNOWN}), rule.id
                if rule in spoke:
                    missing = rule.missing(scope.look) if result is Result.UNKNOWN else None
                    assert spoke[rule] == missing, rule.id
    assert results == set(Result)


def test_one_function_is_made_for_an_act_and_kept():
    gates = Gates(LAW.on(TODAY).request, LAW.on(TODAY).places)
    assert gates.judge("release") is gates.judge("release")
    assert gates.judge("release") is not gates.judge("teaching")


def test_it_can_reach_nothing_but_what_it_was_given():
    data = {"all": [{"fact": name, "known": True} for name in FACTS]}
    judge = compiled(
        [
            Line(
                place=0,
                applies=None,
                when=condition(data).form,
                rule="rule",
                silence="silence",
                tentative=False,
            )
        ]
    )
    assert judge.__globals__["__builtins__"] == {}
    assert {name for name in judge.__globals__ if not name.startswith("value")} == {
        "__builtins__",
        "fraction",
        "judge",
    }
    assert set(judge.__code__.co_names) <= set(judge.__globals__)


def test_no_rule_is_no_word():
    assert said(compiled([]), {}) == ({}, {})
