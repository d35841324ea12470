"""What is left before a rule speaks is read off the rules: another literal in a pack, another bound here."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from policies import headroom, packs
from policies.headroom import Bound, Room
from policies.request import DonorGroup, Question, Stratum, StratumId
from policies.rules import Law
from tests.policies.small import question, small_law

LAW = packs.load()
DAY = date(2026, 11, 22)
GENOMES = "selection.genome_people_total"


def of(law: Law, fact: str) -> list[tuple[str, int]]:
    return [(one.no, one.least) for one in headroom.bounds(law.on(DAY), fact)]


def test_the_bounds_are_those_of_the_packs() -> None:
    assert of(LAW, GENOMES) == [("R-INF-03", 501), ("R-INF-04", 501)]
    assert of(LAW, "pi_people_total") == [("R-PIP-02", 1_000_000), ("R-PIP-02", 1_000_000)]
    assert ("R-PIP-02", 10_000) in of(LAW, "selection.sensitive_people_total")
    assert headroom.bounds(LAW.on(date(2018, 1, 1)), GENOMES) == ()


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"fact": GENOMES, "at_least": 7}, [7]),
        ({"fact": GENOMES, "at_most": 7}, []),
        ({"fact": GENOMES, "at_least": 1}, []),
        ({"fact": GENOMES, "at_least": "selection.people"}, []),
        ({"fact": "selection.people", "at_least": 7}, []),
        ({"not": {"fact": GENOMES, "at_most": 6}}, [7]),
        ({"not": {"fact": GENOMES, "at_least": 7}}, []),
        ({"not": {"not": {"fact": GENOMES, "at_least": 7}}}, [7]),
        ({"all": [{"fact": GENOMES, "at_least": 7}, {"any": [{"fact": GENOMES, "at_least": 5}, {"fact": GENOMES, "at_least": 7}]}]}, [5, 7]),
    ],
)  # fmt: skip
def test_what_is_a_bound(when: dict[str, Any], expected: list[int]) -> None:
    law = LAW.on(DAY)
    rule = next(one for one in law.rules if one.id == "security-review-needed")
    other = replace(law, rules=(replace(rule, written={"when": when}),))
    assert [one.least for one in headroom.bounds(other, GENOMES)] == expected


def genomes(people: int, already: int, **facts: Any) -> Question:
    """A selection of so many people with genomes, some of them counted before."""
    one = Stratum(
        id=StratumId("s1"),
        profile=PROFILE,
        facts={"item.class": "information", "item.data_class": "genome", "item.kind": "genome"},
        items=people,
        units=people,
        people=people,
    )
    groups = ((people - already, False), (already, True))
    return replace(
        BASE,
        facts=facts,
        strata=(one,),
        donor_groups=tuple(
            DonorGroup(strata=(one.id,), people=many, already=before)
            for many, before in groups
            if many
        ),
    )


BASE = replace(question(), as_of=DAY)
PROFILE = next(iter(BASE.profiles))


def test_the_people_of_this_release_are_in_it_and_each_once() -> None:
    known = {"counter.genome_people_before": 490, "pi.people_before": 7}
    found = {one.fact: one for one in headroom.rooms(genomes(20, 5, **known), LAW)}
    room = found[GENOMES]
    assert (room.before, room.after) == (490, 505)
    assert {room.left(bound) for bound in room.bounds} == {-5}
    assert (found["pi_people_total"].before, found["pi_people_total"].after) == (7, 27)
    unknown = found["selection.sensitive_people_total"]
    assert (unknown.before, unknown.after) == (None, None)
    assert {unknown.left(bound) for bound in unknown.bounds} == {None}


def test_where_no_rule_has_a_bound_nothing_is_counted() -> None:
    assert headroom.rooms(question(), Law(small_law().vocabulary, [], {})) == ()


def test_exactly_at_the_bound_nothing_is_left_and_the_rule_is_silent() -> None:
    room = Room(fact=GENOMES, before=499, after=500, bounds=())
    assert room.left(Bound(no="R-INF-03", rule="x", least=501)) == 0
