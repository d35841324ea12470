"""Conditions: Kleene's tables, each operator at its edge, and what is refused when a pack is loaded."""

import re
from dataclasses import replace
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.conditions import parse
from policies.request import PolicyError
from policies.vocabulary import (
    ACT,
    Derived,
    Fact,
    FactType,
    Level,
    Scope,
    fraction,
    is_value_of,
)

SAYS = {"zh": "事实", "en": "fact"}


def fact(name, kind, values=None):
    return Fact(name=name, type=kind, level=Level.REQUEST, says=SAYS, values=values)


FACTS = {
    one.name: one
    for one in [
        fact("a", FactType.BOOL),
        fact("b", FactType.BOOL),
        fact("c", FactType.BOOL),
        fact("count", FactType.INT),
        fact("limit", FactType.INT),
        fact("day", FactType.DATE),
        fact("last", FactType.DATE),
        fact("place", FactType.TEXT),
        fact("home", FactType.TEXT),
        fact("act", FactType.TEXT, frozenset({"go", "stay"})),
        fact("places", FactType.SET),
        fact("allowed", FactType.SET),
        fact("colours", FactType.SET, frozenset({"red", "blue"})),
        fact("share", FactType.FRACTION),
        fact("votes", FactType.FRACTION),
    ]
}


def compiled(data):
    mistakes = []
    condition = parse(data, FACTS, ("when",), lambda *told: mistakes.append(told))
    assert not mistakes
    return condition


def leaf(name):
    return {"fact": name, "is": True}


TRUTHS = (True, False, None)
#: Kleene's strong three-valued logic (Introduction to Metamathematics, §64).
AND = {
    (True, True): True, (True, False): False, (True, None): None,
    (False, True): False, (False, False): False, (False, None): False,
    (None, True): None, (None, False): False, (None, None): None,
}  # fmt: skip
OR = {
    (True, True): True, (True, False): True, (True, None): True,
    (False, True): True, (False, False): False, (False, None): None,
    (None, True): True, (None, False): None, (None, None): None,
}  # fmt: skip


@pytest.mark.parametrize(("left", "right"), list(product(TRUTHS, TRUTHS)))
def test_all_and_any_follow_kleene(left, right):
    facts = {"a": left, "b": right}
    assert compiled({"all": [leaf("a"), leaf("b")]}).holds(facts.get) is AND[left, right]
    assert compiled({"any": [leaf("a"), leaf("b")]}).holds(facts.get) is OR[left, right]


@pytest.mark.parametrize(("truth", "negated"), [(True, False), (False, True), (None, None)])
def test_not_follows_kleene(truth, negated):
    assert compiled({"not": leaf("a")}).holds({"a": truth}.get) is negated


@pytest.mark.parametrize(
    ("condition", "facts", "expected"),
    [
        pytest.param({"fact": "place", "is": "CN"}, {"place": "CN"}, True, id="text is"),
        pytest.param({"fact": "place", "is": "CN"}, {"place": "HK"}, False, id="text is not"),
        pytest.param({"fact": "place", "is": "CN"}, {}, None, id="text unknown"),
        pytest.param({"fact": "a", "is": False}, {"a": False}, True, id="false is false"),
        pytest.param(
            {"fact": "place", "is": {"fact": "home"}},
            {"place": "CN", "home": "CN"},
            True,
            id="fact is fact",
        ),
        pytest.param(
            {"fact": "place", "is": {"fact": "home"}}, {"place": "CN"}, None, id="right unknown"
        ),
        pytest.param(
            {"fact": "place", "is": {"fact": "home"}}, {"home": "CN"}, None, id="left unknown"
        ),
        pytest.param({"fact": "place", "in": ["CN", "HK"]}, {"place": "HK"}, True, id="in list"),
        pytest.param({"fact": "place", "in": ["CN"]}, {"place": "HK"}, False, id="not in list"),
        pytest.param({"fact": "count", "in": [1, 2]}, {"count": 2}, True, id="integer in list"),
        pytest.param(
            {"fact": "place", "in": {"fact": "allowed"}},
            {"place": "CN", "allowed": frozenset({"CN"})},
            True,
            id="in set fact",
        ),
        pytest.param(
            {"fact": "place", "in": {"fact": "allowed"}},
            {"place": "CN", "allowed": frozenset()},
            False,
            id="in empty set",
        ),
        pytest.param(
            {"fact": "place", "in": {"fact": "allowed"}}, {"place": "CN"}, None, id="set unknown"
        ),
        pytest.param({"fact": "count", "at_least": 500}, {"count": 500}, True, id="at least: edge"),
        pytest.param(
            {"fact": "count", "at_least": 500}, {"count": 499}, False, id="at least: below"
        ),
        pytest.param({"fact": "count", "at_most": 500}, {"count": 500}, True, id="at most: edge"),
        pytest.param({"fact": "count", "at_most": 500}, {"count": 501}, False, id="at most: above"),
        pytest.param(
            {"fact": "count", "at_most": {"fact": "limit"}},
            {"count": 5, "limit": 5},
            True,
            id="at most a fact",
        ),
        pytest.param(
            {"fact": "day", "before": date(2023, 7, 1)},
            {"day": date(2023, 6, 30)},
            True,
            id="before: day before",
        ),
        pytest.param(
            {"fact": "day", "before": date(2023, 7, 1)},
            {"day": date(2023, 7, 1)},
            False,
            id="before is strict",
        ),
        pytest.param(
            {"fact": "day", "after": date(2023, 7, 1)},
            {"day": date(2023, 7, 1)},
            False,
            id="after is strict",
        ),
        pytest.param(
            {"fact": "day", "after": {"fact": "last"}},
            {"day": date(2023, 7, 2), "last": date(2023, 7, 1)},
            True,
            id="after a fact",
        ),
        pytest.param(
            {"fact": "places", "within": ["CN", "HK"]},
            {"places": frozenset({"CN"})},
            True,
            id="within",
        ),
        pytest.param(
            {"fact": "places", "within": ["CN"]},
            {"places": frozenset({"CN", "US"})},
            False,
            id="not within",
        ),
        pytest.param(
            {"fact": "places", "within": ["CN"]},
            {"places": frozenset()},
            True,
            id="nothing is within anything",
        ),
        pytest.param(
            {"fact": "places", "within": {"fact": "allowed"}},
            {"places": frozenset({"CN"}), "allowed": frozenset({"CN"})},
            True,
            id="within a fact",
        ),
        pytest.param(
            {"fact": "colours", "within": ["red"]},
            {"colours": frozenset({"blue"})},
            False,
            id="closed set",
        ),
        pytest.param(
            {"fact": "share", "at_least": "1/2"}, {"share": "50/100"}, True, id="exactly one half"
        ),
        pytest.param(
            {"fact": "share", "at_least": "1/2"},
            {"share": "4999999/10000000"},
            False,
            id="just below one half",
        ),
        pytest.param(
            {"fact": "share", "is": "1/3"}, {"share": "2/6"}, True, id="fractions are numbers"
        ),
        pytest.param(
            {"fact": "share", "in": ["1/3", "1/2"]}, {"share": "2/4"}, True, id="fraction in list"
        ),
        pytest.param(
            {"fact": "share", "at_most": {"fact": "votes"}},
            {"share": "1/3", "votes": "2/6"},
            True,
            id="fraction beside fraction",
        ),
        pytest.param({"fact": "share", "at_least": "1/2"}, {}, None, id="fraction unknown"),
        pytest.param({"fact": "place", "known": True}, {"place": "CN"}, True, id="known"),
        pytest.param({"fact": "place", "known": True}, {}, False, id="known is never unknown"),
        pytest.param({"fact": "a", "known": False}, {"a": False}, False, id="false is known"),
        pytest.param({"fact": "a", "known": False}, {}, True, id="unknown is not known"),
    ],
)
def test_operators_at_their_edges(condition, facts, expected):
    assert compiled(condition).holds(facts.get) is expected


@pytest.mark.parametrize(
    ("condition", "facts", "missing"),
    [
        pytest.param({"all": [leaf("a"), leaf("b")]}, {"a": True}, {"b"}, id="the open part"),
        pytest.param(
            {"any": [leaf("a"), {"all": [leaf("b"), leaf("c")]}]},
            {"b": False},
            {"a"},
            id="a closed part does not matter",
        ),
        pytest.param({"not": {"any": [leaf("a"), leaf("b")]}}, {}, {"a", "b"}, id="through not"),
        pytest.param(
            {"fact": "count", "at_most": {"fact": "limit"}},
            {"count": 1},
            {"limit"},
            id="right side",
        ),
        pytest.param(
            {"all": [{"fact": "c", "known": False}, leaf("a")]},
            {},
            {"a"},
            id="known asks for nothing",
        ),
    ],
)
def test_missing_names_what_made_it_unknown(condition, facts, missing):
    found = compiled(condition)
    assert found.holds(facts.get) is None
    assert found.missing(facts.get) == missing


def test_known_alone_is_total_and_asks_for_nothing():
    condition = compiled(
        {"all": [{"fact": "a", "known": True}, {"not": {"fact": "b", "known": True}}]}
    )
    assert condition.total
    assert condition.reads == {"a", "b"}
    assert condition.missing({}.get) == frozenset()
    assert not compiled({"all": [{"fact": "a", "known": True}, leaf("b")]}).total


@pytest.mark.parametrize(
    ("condition", "path", "words"),
    [
        pytest.param({"all": []}, ("when", "all"), "empty list", id="empty all"),
        pytest.param({"any": []}, ("when", "any"), "empty list", id="empty any"),
        pytest.param({"all": leaf("a")}, ("when",), "a condition is one of", id="all of no list"),
        pytest.param(
            {"all": [leaf("a")], "any": [leaf("a")]},
            ("when",),
            "a condition is one of",
            id="two at once",
        ),
        pytest.param({"none": [leaf("a")]}, ("when",), "a condition is one of", id="no such word"),
        pytest.param("a", ("when",), "a condition is one of", id="text"),
        pytest.param([leaf("a")], ("when",), "a condition is one of", id="list"),
        pytest.param({"fact": "a"}, ("when",), "exactly one operator", id="no operator"),
        pytest.param(
            {"fact": "count", "at_least": 1, "at_most": 2},
            ("when",),
            "exactly one operator",
            id="two operators",
        ),
        pytest.param(
            {"fact": "a", "equals": True}, ("when",), "exactly one operator", id="no such operator"
        ),
        pytest.param(
            {"not": {"fact": "nobody", "is": True}},
            ("when", "not", "fact"),
            "unknown fact `nobody`",
            id="unknown fact",
        ),
        pytest.param(
            {"all": [leaf("a"), {"fact": "b"}]},
            ("when", "all", 1),
            "exactly one operator",
            id="second part",
        ),
        pytest.param(
            {"fact": "place", "is": {"fact": "nobody"}},
            ("when", "is"),
            "unknown fact `nobody`",
            id="unknown right",
        ),
        pytest.param(
            {"fact": "a", "is": 1}, ("when", "is"), "`1` is no bool", id="one is not true"
        ),
        pytest.param(
            {"fact": "count", "is": True},
            ("when", "is"),
            "`True` is no int",
            id="true is not an integer",
        ),
        pytest.param(
            {"fact": "count", "is": "5"},
            ("when", "is"),
            "`5` is no int",
            id="text is not an integer",
        ),
        pytest.param(
            {"fact": "place", "is": False}, ("when", "is"), "is no text", id="Norway misread"
        ),
        pytest.param(
            {"fact": "act", "is": "run"},
            ("when", "is"),
            "`run` is no text that `act` can be",
            id="outside the closed list",
        ),
        pytest.param(
            {"fact": "act", "in": ["go", "run"]},
            ("when", "in"),
            "`run` is no text",
            id="list outside the closed list",
        ),
        pytest.param(
            {"fact": "colours", "within": ["green"]},
            ("when", "within"),
            "`green` is no set",
            id="set outside the closed list",
        ),
        pytest.param(
            {"fact": "places", "within": [["CN"]]},
            ("when", "within"),
            "is no set",
            id="list in a list",
        ),
        pytest.param(
            {"fact": "places", "within": [1]},
            ("when", "within"),
            "is no set",
            id="integer in a set",
        ),
        pytest.param(
            {"fact": "share", "at_least": "0.5"},
            ("when", "at_least"),
            "is no fraction",
            id="decimal share",
        ),
        pytest.param(
            {"fact": "share", "at_least": "1/0"},
            ("when", "at_least"),
            "is no fraction",
            id="nought below",
        ),
        pytest.param(
            {"fact": "day", "before": "2023"},
            ("when", "before"),
            "is no date",
            id="year is no date",
        ),
        pytest.param(
            {"fact": "place", "before": date(2023, 1, 1)},
            ("when", "before"),
            "does not fit `place`",
            id="before of text",
        ),
        pytest.param(
            {"fact": "day", "at_least": date(2023, 1, 1)},
            ("when", "at_least"),
            "does not fit `day`",
            id="at least of a date",
        ),
        pytest.param(
            {"fact": "places", "is": "CN"},
            ("when", "is"),
            "does not fit `places`",
            id="is of a set",
        ),
        pytest.param(
            {"fact": "a", "in": [True]}, ("when", "in"), "does not fit `a`", id="bool in list"
        ),
        pytest.param(
            {"fact": "place", "within": ["CN"]},
            ("when", "within"),
            "does not fit `place`",
            id="within of text",
        ),
        pytest.param({"fact": "place", "in": []}, ("when", "in"), "takes a list", id="in nothing"),
        pytest.param(
            {"fact": "place", "in": "CN"}, ("when", "in"), "takes a list", id="in one value"
        ),
        pytest.param(
            {"fact": "place", "is": ["CN"]}, ("when", "is"), "takes one value", id="is a list"
        ),
        pytest.param(
            {"fact": "place", "is": {"fact": "count"}},
            ("when", "is"),
            "cannot stand beside",
            id="text beside integer",
        ),
        pytest.param(
            {"fact": "place", "in": {"fact": "home"}},
            ("when", "in"),
            "cannot stand beside",
            id="in a text",
        ),
        pytest.param(
            {"fact": "count", "in": {"fact": "places"}},
            ("when", "in"),
            "cannot stand beside",
            id="integer in a set of texts",
        ),
        pytest.param(
            {"fact": "place", "is": {"fact": "home", "or": "CN"}},
            ("when", "is"),
            "is no text",
            id="too much on the right",
        ),
        pytest.param(
            {"fact": "a", "known": "yes"}, ("when", "known"), "true or false", id="known what"
        ),
    ],
)
def test_mistakes_are_told_with_their_path(condition, path, words):
    mistakes = []
    assert parse(condition, FACTS, ("when",), lambda *told: mistakes.append(told)) is None
    assert [told[0] for told in mistakes] == [path]
    _, code, en, zh = mistakes[0]
    assert code
    assert words in en
    assert set(re.findall("`[^`]*`", en)) <= set(re.findall("`[^`]*`", zh))


def test_every_mistake_of_a_condition_is_told():
    mistakes = []
    data = {"any": [{"fact": "x", "is": True}, {"not": {"fact": "y", "is": True}}]}
    assert parse(data, FACTS, (), lambda *told: mistakes.append(told)) is None
    assert [told[0] for told in mistakes] == [("any", 0, "fact"), ("any", 1, "not", "fact")]


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "-1/2", "1/-2", "01/2", "1/2 ", "1/2\n", "½", "1/0", "١/٢"]
)
def test_what_is_no_fraction_is_refused(text):
    assert not is_value_of(text, FACTS["share"])
    with pytest.raises(PolicyError, match="not a fraction"):
        fraction(text)


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (True, "a", True),
        (1, "a", False),
        (1, "count", True),
        (True, "count", False),
        ("CN", "place", True),
        ("run", "act", False),
        ("go", "act", True),
        (frozenset({"red"}), "colours", True),
        (frozenset({"green"}), "colours", False),
        (frozenset({"x"}), "places", True),
        (frozenset({1}), "places", False),
        ({"x"}, "places", False),
        (date(2023, 1, 1), "day", True),
        ("2023-01-01", "day", False),
        ("1/2", "share", True),
        (1.5, "count", False),
        (None, "place", False),
    ],
)
def test_values_have_their_fact_s_type(value, name, expected):
    assert is_value_of(value, FACTS[name]) is expected


LEAVES = st.sampled_from(["a", "b", "c"]).map(leaf)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
        inner.map(lambda part: {"not": part}),
    ),
    max_leaves=8,
)
KNOWN = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.booleans())


@given(CONDITIONS, KNOWN)
def test_what_is_decided_stays_decided_whatever_more_is_known(data, facts):
    condition = compiled(data)
    verdict = condition.holds(facts.get)
    for rest in product([True, False], repeat=3):
        complete = {**dict(zip("abc", rest, strict=True)), **facts}
        final = condition.holds(complete.get)
        assert final is not None
        assert verdict in {None, final}
    assert (condition.missing(facts.get) == frozenset()) is (verdict is not None)


# ---- the acts under which a condition can be other than False ------------------------------------


def _goes(look):
    act = look(ACT)
    return None if act is None else act in {"go", "run"}


ACTS = {
    ACT: fact(ACT, FactType.TEXT, frozenset({"go", "run", "stay"})),
    "a": FACTS["a"],
    "goes": replace(
        FACTS["a"],
        name="goes",
        derived=Derived(function=_goes, inputs=(ACT,), cite="-", trusted=True),
    ),
    "rumoured": replace(
        FACTS["a"],
        name="rumoured",
        derived=Derived(function=_goes, inputs=(ACT,), cite="-", trusted=False),
    ),
    "mixed": replace(
        FACTS["a"],
        name="mixed",
        derived=Derived(function=_goes, inputs=(ACT, "a"), cite="-", trusted=True),
    ),
    "odd": replace(
        FACTS["a"],
        name="odd",
        derived=Derived(
            function=lambda look: None if look(ACT) == "stay" else False,
            inputs=(ACT,),
            cite="-",
            trusted=True,
        ),
    ),
}
GO, RUN = {"fact": ACT, "is": "go"}, {"fact": ACT, "is": "run"}


@pytest.mark.parametrize(
    ("condition", "acts"),
    [
        pytest.param(GO, {"go"}, id="the act is"),
        pytest.param({"fact": ACT, "in": ["go", "run"]}, {"go", "run"}, id="the act is among"),
        pytest.param(leaf("goes"), {"go", "run"}, id="a notion of the act alone"),
        pytest.param({"fact": "goes", "is": False}, {"stay"}, id="the notion is false"),
        pytest.param(leaf("odd"), {"stay"}, id="unknown is not false"),
        pytest.param(leaf("rumoured"), None, id="an unconfirmed notion is unknown"),
        pytest.param(leaf("mixed"), None, id="a notion of more than the act"),
        pytest.param(leaf("a"), None, id="another fact"),
        pytest.param({"fact": ACT, "known": True}, None, id="known hangs on no value"),
        pytest.param({"not": GO}, None, id="not the act"),
        pytest.param({"all": [GO, leaf("a")]}, {"go"}, id="all: any part rules out"),
        pytest.param({"all": [GO, RUN]}, set(), id="all: two acts at once"),
        pytest.param({"all": [leaf("a"), leaf("a")]}, None, id="all of other facts"),
        pytest.param({"any": [GO, RUN]}, {"go", "run"}, id="any: each part names its acts"),
        pytest.param({"any": [GO, leaf("a")]}, None, id="any: one part hangs on more"),
    ],
)
def test_the_acts_of_a_condition(condition, acts):
    found = parse(condition, ACTS, (), lambda *_told: None)
    assert found.acts == acts
    for act in ("go", "run", "stay"):
        if acts is not None and act not in acts:
            for a in TRUTHS:
                look = Scope({ACT: act, "a": a}, ACTS).look
                assert found.holds(look) is False
