"""Facts written by hand: what reads, what is refused, and where the mistake stands."""

from __future__ import annotations

from datetime import date

import pytest

from policies import packs, plain_facts
from policies.consent import Research, Term
from policies.packs import PackError
from policies.pdp import decide
from policies.request import Question

LAW = packs.load()
DAY = date(2026, 11, 22)


def read(text: str) -> Question:
    return plain_facts.read(text.encode(), "facts.yaml", LAW.vocabulary, on=DAY)


def test_facts_of_a_request_and_its_strata() -> None:
    question = read("""
as_of: 2024-01-01
request.action: release
request.purpose: health
request.outputs: [individual]
purpose.commercial: false
purpose.users: [b, a]
strata:
  - {item.class: material, consent.covers: true, profile.told: [purpose], people: 30}
  - {item.class: information, consent.covers: false, profile.foreign_sharing: true, people: 3, units: 6}
  - {item.class: information}
""")
    assert question.as_of == date(2024, 1, 1)
    assert question.facts["request.outputs"] == frozenset({"individual"})
    assert (question.purpose.research, question.purpose.commercial) == (Research.HEALTH, False)
    assert question.purpose.users == ("a", "b")
    assert [(s.people, s.items, s.units) for s in question.strata] == [
        (30, 30, 30), (3, 3, 6), (1, 1, 1),
    ]  # fmt: skip
    yes, no, unsaid = (question.profiles[s.profile] for s in question.strata)
    assert yes.mapped
    assert not no.permissions
    assert no.terms == {Term.FOREIGN_SHARING: True}
    assert not unsaid.mapped
    decision = decide(question, LAW)
    assert decision.selection.asked.people == 34


def test_one_stratum_may_stand_beside_the_request() -> None:
    question = read("request.action: release\nitem.class: material\npeople: 12\n")
    (stratum,) = question.strata
    assert (stratum.people, dict(stratum.facts)) == (12, {"item.class": "material"})
    assert read("request.action: collect\n").strata == ()
    assert read("request.action: collect\n").as_of == DAY


def test_a_purpose_no_consent_speaks_of_is_general() -> None:
    assert read("request.purpose: beauty\n").purpose.research is Research.GENERAL


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("no mapping", "[a]\n", "must map names of facts"),
        ("unknown fact", "request.acton: release\n", "facts.yaml:1: request.acton: unknown fact `request.acton`"),
        ("wrong value", "request.action: buy\n", "`buy` is no text"),
        ("wrong type", "request.commercial: 1\n", "`1` is no bool"),
        ("members that are no text", "request.outputs: [individual, 1]\n", "is no set"),
        ("derived", "any_foreign: true\n", "is derived and cannot be given"),
        ("found by the PDP", "selection.people: 3\n", "is a selection fact"),
        ("a request fact of a stratum", "strata:\n  - {request.action: release}\n", "facts.yaml:2: strata.0.request.action"),
        ("a stratum fact beside strata", "item.class: material\nstrata: [{item.kind: dna}]\n", "is a stratum fact"),
        ("strata that are none", "strata: 3\n", "must be a list of mappings"),
        ("a day that is none", "as_of: today\n", "`today` is no date"),
        ("a count that is none", "strata: [{people: -1}]\n", "whole number"),
        ("a count that is a truth", "strata: [{people: true}]\n", "whole number"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(name: str, text: str, said: str) -> None:
    with pytest.raises(PackError) as error:
        read(text)
    assert said in str(error.value), name


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(PackError) as error:
        read("a: 1\nb: 2\nas_of: never\n")
    assert len(error.value.mistakes) == 3


def test_a_file_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(PackError, match="duplicate key"):
        read("a: 1\na: 2\n")
