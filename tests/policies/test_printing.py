"""Packs and conditions survive printing, and read as sentences."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import packs, printing, strict
from policies.conditions import parse
from policies.decision import Effect
from policies.strict import Data

LAW = packs.load()
FACTS = LAW.vocabulary.facts
FILES = sorted(
    str(path.relative_to(packs.shipped()))  # type: ignore[arg-type]
    for path in packs.shipped().rglob("*.yaml")  # type: ignore[attr-defined]
)


def again(data: Data) -> Data:
    return strict.load(printing.printed(data).encode(), "again.yaml").data


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_reads_the_same_when_printed(name: str) -> None:
    data = strict.load(packs.shipped().joinpath(name).read_bytes(), name).data
    assert again(data) == data


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]), max_size=12)
KEYS = TEXTS.filter(lambda text: text not in {"", "<<"})
LEAVES = st.one_of(
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    TEXTS,
    st.dates(date(1900, 1, 1), date(2999, 12, 31)),
    st.sampled_from(
        ["true", "NO", "1", "2023-07-01", "a: b", "- c", "#", '"', "\\", "’", "是", "~", "null"]
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_any_data_reads_the_same_when_printed(data: Data) -> None:
    assert again(data) == data


LEAF = st.sampled_from(
    [
        {"fact": "any_foreign", "is": True},
        {"fact": "request.action", "in": ["release", "collect"]},
        {"fact": "selection.people", "at_least": 501},
        {"fact": "selection.people", "at_most": {"fact": "paper.exit.people_left"}},
        {"fact": "request.outputs", "within": ["aggregate"]},
        {"fact": "recipient.banned_until", "after": {"fact": "as_of"}},
        {"fact": "recipient.country", "known": False},
    ]
)
CONDITIONS = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts})
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts})
        | inner.map(lambda part: {"not": part})
    ),
    max_leaves=8,
)
SAID = {
    "any_foreign": [True, False, None],
    "request.action": ["release", "teaching", None],
    "selection.people": [500, 501, None],
    "paper.exit.people_left": [500, None],
    "request.outputs": [frozenset({"aggregate"}), frozenset({"individual"}), None],
    "recipient.banned_until": [date(2027, 1, 1), None],
    "as_of": [date(2026, 11, 22)],
    "recipient.country": ["CN", None],
}


@settings(max_examples=200, deadline=None)
@given(CONDITIONS, st.data())
def test_a_printed_condition_holds_where_it_held(condition: Data, data: st.DataObject) -> None:
    said = {name: data.draw(st.sampled_from(values)) for name, values in SAID.items()}
    mistakes: list[str] = []
    once, twice = (
        parse(one, FACTS, (), lambda *told: mistakes.append(told))
        for one in (condition, again(condition))
    )
    assert not mistakes
    assert once is not None
    assert twice is not None
    assert once.holds(said.get) is twice.holds(said.get)
    assert once.reads == twice.reads
    for language in ("zh", "en"):
        assert printing.in_words(condition, LAW, language)


def test_conditions_read_as_sentences() -> None:
    condition = {
        "all": [
            {"fact": "any_foreign", "is": True},
            {"not": {"any": [{"fact": "selection.people", "at_least": 501}, {"fact": "as_of", "known": True}]}},
            {"fact": "request.action", "in": ["release", "collect"]},
            {"fact": "selection.people", "at_most": {"fact": "nobody.knows"}},
        ]
    }  # fmt: skip
    assert printing.in_words(condition, LAW, "en") == (
        "(“whether it is provided or opened to foreign parties” is yes; and not ((“distinct people in the "
        "selection” is at least 501; or “the release date (Asia/Shanghai)” is known)); and “what is asked "
        "for (enforcement_request: a demand of a foreign court or enforcement body)” is among provision "
        "(release), collection (collect); and “distinct people in the selection” is at most “nobody.knows”)"
    )
    plain = {"not": {"fact": "any_foreign", "is": True}}
    assert printing.in_words(plain, LAW, "en").endswith("” is no")
    assert "并且" in printing.in_words(condition, LAW, "zh")
    act = {"fact": "request.action", "is": "release"}
    assert printing.in_words(act, LAW, "zh").endswith("” 为 提供（release）")
    unlabelled = {"fact": "request.purpose", "is": "asthma"}
    assert printing.in_words(unlabelled, LAW, "zh").endswith(" 为 asthma")
    same = {"fact": "item.kind", "is": "dna"}
    assert printing.in_words(same, LAW, "en").endswith("is DNA (dna)")
    with pytest.raises(ValueError, match="is no condition"):
        printing.in_words([], LAW, "en")


# ---- a rule begun ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "when", "values"),
    [
        ("any_foreign", {"is": True}, [True, False]),
        ("request.price_fen", {"at_least": 1}, [1, 0]),
        ("requester.foreign_votes", {"at_least": "1/2"}, ["1/2", "1/3"]),
        ("as_of", {"before": date(2000, 1, 2)}, [date(2000, 1, 1), date(2000, 1, 2)]),
        ("item.class", {"is": "information"}, ["information", "material"]),
        ("request.outputs", {"within": ["aggregate"]}, [["aggregate"], ["individual"]]),
        ("item.kind", {"is": "‹value›"}, ["‹value›", "‹value›"]),
        ("‹fact›", {"is": "‹value›"}, ["‹value›", "‹value›"]),
    ],
)
def test_a_rule_is_begun_on_a_fact_of_any_type(fact: str, when: dict, values: list) -> None:
    day = date(2026, 11, 22)
    rule, cases = printing.scaffold("a-rule", "R-1", Effect.DENY, fact, LAW.vocabulary, day)
    assert rule["when"] == {"fact": fact, **when}
    assert rule["level"] == ("stratum" if fact.startswith("item.") else "request")
    assert [case["facts"] for case in cases] == [{fact: values[0]}, {fact: values[1]}, {}]
    assert [case["expect"] for case in cases] == ["holds", "does_not_hold", "unknown"]


def test_a_basis_of_content_nobody_confirmed_is_only_unknown() -> None:
    _, cases = printing.scaffold(
        "a-rule", "R-1", Effect.PERMIT, "any_foreign", LAW.vocabulary, date(2026, 11, 22)
    )
    assert [case["expect"] for case in cases] == ["unknown", "does_not_hold", "unknown"]


def test_an_edition_begun_reads_back_and_names_what_is_left_to_fill_in() -> None:
    begun = printing.begun("institution", date(2027, 1, 1), [])
    assert strict.load(printing.printed(begun).encode(), "x").data == begun
    assert "‹" in begun["link"]
