"""Two evaluators, written apart, agree on questions made by chance; and one that is wrong is found out."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from policies.decision import Decision, Hold
from policies.pdp import decide
from policies.request import Question
from tests.oracle import chance, slow
from tests.policies.test_shipped_packs import LAW

TEXT = slow.Law.read()
BATCH = 2000

#: So many decisions are not measured line by line; other tests cover the same code.
pytestmark = pytest.mark.no_cover


def comes_to(decision: Decision) -> slow.Said:
    """A decision of the product in the oracle's terms."""
    return slow.Said(
        outcome=decision.outcome,
        speaking={
            (one.rule, str(one.result), tuple(one.strata))
            for one in decision.findings
            if one.result in {"holds", "unknown"} and one.pack != "pdp"
        },
        selected=tuple(decision.selection.strata),
        people=decision.selection.permitted.people,
        papers=decision.papers if isinstance(decision, Hold) else (),
        duties={one.id for one in decision.obligations if one.rule != "consent"},
    )


def differing(question: Question, law: slow.Law) -> tuple[str, str]:
    """The product's outcome, and in what the two differ; nothing if they agree."""
    ours, theirs = comes_to(decide(question, LAW)), slow.decide(law, question)
    if ours == theirs:
        return ours.outcome, ""
    return ours.outcome, "; ".join(
        f"{name}: {getattr(ours, name)!r} against {getattr(theirs, name)!r}"
        if name != "speaking"
        else f"speaking: only ours {ours.speaking - theirs.speaking}, only theirs {theirs.speaking - ours.speaking}"
        for name in ("outcome", "speaking", "selected", "people", "papers", "duties")
        if getattr(ours, name) != getattr(theirs, name)
    )


def agree(seeds: range) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        question = chance.question(random.Random(seed))
        outcome, wrong = differing(question, TEXT)
        assert not wrong, f"seed {seed}: {wrong}"
        seen[outcome] += 1
    return seen


@pytest.mark.parametrize("batch", range(10))
def test_twenty_thousand_questions(batch: int) -> None:
    seen = agree(range(batch * BATCH, (batch + 1) * BATCH))
    assert set(seen) == {"permit", "hold", "refer", "deny"}, seen
    assert min(seen.values()) > BATCH / 100, seen


@pytest.mark.long
@pytest.mark.parametrize("batch", range(500))
def test_a_million_questions(batch: int) -> None:
    agree(range(10**7 + batch * BATCH, 10**7 + (batch + 1) * BATCH))


@pytest.mark.parametrize("change", ["drop a rule", "at least becomes at most", "unknown is false"])
def test_a_wrong_evaluator_is_found_out(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with one thing wrong in it, the oracle disagrees somewhere in the first batch."""
    wrong = slow.Law.read()
    if change == "drop a rule":
        for edition in wrong.editions:
            edition["rules"] = [r for r in edition["rules"] if r["id"] != "security-review-needed"]
    elif change == "at least becomes at most":
        for edition in wrong.editions:
            for rule in edition["rules"]:
                if rule["id"] == "security-review-needed":
                    rule["when"] = {"fact": "selection.genome_people_total", "at_most": "501"}
    else:
        kleene = slow.holds

        def careless(words, condition, look):
            truth, missing = kleene(words, condition, look)
            return truth is True, missing

        monkeypatch.setattr(slow, "holds", careless)
    found = (differing(chance.question(random.Random(seed)), wrong) for seed in range(BATCH))
    assert any(wrong for _, wrong in found)


def test_no_order_of_rules_donors_or_facts_changes_an_answer() -> None:
    """Rules shuffled in every pack, strata, groups and facts given in another order: the same bytes."""
    from dataclasses import replace

    from policies import document
    from policies.rules import Law

    mixed = random.Random(7)
    for seed in range(300):
        question = chance.question(random.Random(seed))
        editions = [
            replace(edition, rules=tuple(mixed.sample(edition.rules, len(edition.rules))))
            for edition in LAW.editions
        ]
        law = Law(LAW.vocabulary, mixed.sample(editions, len(editions)), LAW.digests)
        other = replace(
            question,
            facts=dict(mixed.sample(sorted(question.facts.items()), len(question.facts))),
            profiles=dict(mixed.sample(sorted(question.profiles.items()), len(question.profiles))),
            strata=tuple(mixed.sample(question.strata, len(question.strata))),
            donor_groups=tuple(mixed.sample(question.donor_groups, len(question.donor_groups))),
        )
        ours, theirs = decide(question, LAW), decide(other, law)
        assert document.encode(question, ours) == document.encode(question, theirs), seed
