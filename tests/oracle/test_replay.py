"""Decisions made by chance are decided again, from what was recorded alone, to the same bytes."""

from __future__ import annotations

import random

import pytest

from policies import document
from policies.pdp import decide
from policies.rules import Law
from tests.oracle import chance
from tests.policies.test_shipped_packs import LAW

#: So many decisions are not measured line by line; other tests cover the same code.
pytestmark = pytest.mark.no_cover


def again(seeds: range) -> None:
    for seed in seeds:
        question = chance.question(random.Random(seed))
        content = document.encode(question, decide(question, LAW))
        replay = document.replay(content, LAW)
        assert replay.same, f"seed {seed}: {replay}"


def test_five_thousand_decisions() -> None:
    again(range(5_000))


@pytest.mark.long
@pytest.mark.parametrize("batch", range(20))
def test_a_hundred_thousand_decisions(batch: int) -> None:
    again(range(10**6 + batch * 5_000, 10**6 + (batch + 1) * 5_000))


def test_under_another_law_the_first_difference_is_told() -> None:
    """The control: without one instrument, some of the same documents no longer come out so."""
    editions = [one for one in LAW.editions if one.pack != "cn-civil-code"]
    other = Law(LAW.vocabulary, editions, LAW.digests)
    replays = []
    for seed in range(50):
        question = chance.question(random.Random(seed))
        replays.append(document.replay(document.encode(question, decide(question, LAW)), other))
    assert any(not one.same for one in replays)
