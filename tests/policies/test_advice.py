"""Ways to a permit: the smallest, decided again, and never by asking for fewer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies import advice, plain
from policies.advice import Way
from policies.consent import DuoTerm, ProfileId
from policies.decision import Deny, Permit, Refer
from policies.pdp import decide
from policies.request import DonorGroup, Question, Stratum, StratumId
from tests.policies.test_shipped_packs import (
    AGREED,
    BLOOD,
    FOREIGN_UNIVERSITY,
    GENOME,
    HOSPITAL,
    LAW,
    REPORTED,
    STUDY,
    TODAY,
)


def question(facts, stratum=BLOOD, people=30, profile=AGREED) -> Question:
    one = StratumId("s0")
    return Question(
        as_of=TODAY,
        facts=facts,
        purpose=STUDY,
        profiles={profile.id: profile},
        strata=(
            Stratum(id=one, profile=profile.id, facts=stratum, items=people, units=people, people=people),
        ),
        donor_groups=(DonorGroup(strata=(one,), people=people),),
    )  # fmt: skip


def told(ways: tuple[Way, ...]) -> list[tuple[str, list[str]]]:
    return [(way.outcome, [move.fact for move in way.moves]) for way in ways]


BARE_OF_PAPERS = {
    name: False if name.endswith(".recorded") else value
    for name, value in FOREIGN_UNIVERSITY.items()
    if not name.startswith("paper.") or name.endswith(".recorded")
}
ALL_PAPERS = [
    "paper.backup",
    "paper.cooperation",
    "paper.ethics",
    "paper.pia",
    "paper.preservation",
    "paper.prior_report",
    "paper.security_review",
]
ROWS = [
    # name, question, the ways
    ("permitted already", question(HOSPITAL), []),
    (
        "a price above cost",
        question({**HOSPITAL, "request.price_fen": 500, "request.cost_fen": 400}),
        [("permit", ["request.price_fen"])],
    ),
    (
        "report and backup",
        question(FOREIGN_UNIVERSITY, GENOME, 400),
        [("permit", ["paper.backup", "paper.prior_report"])],
    ),
    (
        "501 genomes: the review, never 500",
        question({**FOREIGN_UNIVERSITY, **REPORTED}, GENOME, 501),
        [("permit", ["paper.security_review"])],
    ),
    (
        "origin abroad waits for two officers",
        question(HOSPITAL, {**BLOOD, "item.collected_abroad": True, "item.donor_chinese": False}),
        [("permit", ["item.origin_determined"])],
    ),
    (
        "every paper is wanting, and for the export there is a choice",
        question(BARE_OF_PAPERS, GENOME, 600),
        [
            ("permit", sorted([*ALL_PAPERS, "paper.standard_contract"])),
            ("permit", sorted([*ALL_PAPERS, "paper.certification"])),
        ],
    ),
    (
        "material abroad: with its papers, or judged where it is",
        question({**FOREIGN_UNIVERSITY, "request.material_exits": True}),
        [
            ("permit", ["paper.customs", "paper.exit"]),
            ("refer", ["request.material_exits"]),
        ],
    ),
    (
        "whether a paper is there is not said",
        question({k: v for k, v in HOSPITAL.items() if k != "paper.ethics.recorded"}),
        [("permit", ["paper.ethics"])],
    ),
    ("withdrawn: nothing helps", question(HOSPITAL, {**BLOOD, "donor.withdrawn": True}), []),
    (
        "teaching: only a person's judgement",
        question({**HOSPITAL, "request.action": "teaching"}),
        [],
    ),
    (
        "what is not said",
        question({k: v for k, v in HOSPITAL.items() if k != "request.new_biomedical_technology"}),
        [("permit", ["request.new_biomedical_technology"])],
    ),
]


@pytest.mark.parametrize(
    ("asked", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_the_smallest_ways(asked: Question, expected: list) -> None:
    ways = advice.advise(asked, LAW)
    found = told(ways)
    for way in expected:
        assert way in found
    assert bool(found) == bool(expected)
    for way in ways:
        assert way.people == decide(asked, LAW).selection.asked.people
        for move in way.moves:
            assert move.says["zh"]
            assert not move.fact.startswith(("selection.", "counter.", "pi."))


def test_every_way_is_what_deciding_again_says() -> None:
    asked = question(FOREIGN_UNIVERSITY, GENOME, 600)
    for way in advice.advise(asked, LAW):
        changed = advice._applied(way.moves, asked, LAW)
        assert decide(changed, LAW).outcome == way.outcome
        for left_out in range(len(way.moves)):
            others = way.moves[:left_out] + way.moves[left_out + 1 :]
            fewer = advice._applied(others, asked, LAW)
            assert not isinstance(decide(fewer, LAW), Permit), "no move could be spared"


def test_permits_come_first_and_then_the_shortest() -> None:
    ways = advice.advise(
        question({**FOREIGN_UNIVERSITY, "request.material_exits": True}), LAW, most=2
    )
    assert [way.outcome for way in ways] == ["permit", "refer"]
    assert len(advice.advise(question(BARE_OF_PAPERS, GENOME, 600), LAW, most=1)) == 1


def test_what_is_known_of_other_holdings_stays() -> None:
    """A class that nobody wrote down may be another than that of the 600 genomes beside it."""
    asked = question({**FOREIGN_UNIVERSITY, **REPORTED}, GENOME, 600)
    unknown = StratumId("s1")
    asked = replace(
        asked,
        strata=(
            *asked.strata,
            replace(
                asked.strata[0],
                id=unknown,
                facts={k: v for k, v in GENOME.items() if k != "item.data_class"},
            ),
        ),
        donor_groups=(*asked.donor_groups, DonorGroup(strata=(unknown,), people=600)),
    )
    ways = advice.advise(asked, LAW)
    assert ways
    for way in ways:
        assert "paper.security_review" in way.facts
        (said,) = [move for move in way.moves if move.fact == "item.data_class"]
        assert said.strata == {unknown}


def test_a_way_that_leaves_out_donors_is_none() -> None:
    """Were the source unlawful, those donors would be left out and the rest permitted."""
    asked = question(HOSPITAL)
    open_ = StratumId("s1")
    facts = {k: v for k, v in BLOOD.items() if k != "item.source_lawful"}
    asked = replace(
        asked,
        strata=(*asked.strata, replace(asked.strata[0], id=open_, facts=facts)),
        donor_groups=(*asked.donor_groups, DonorGroup(strata=(open_,), people=30)),
    )
    unlawful = replace(asked.strata[1], facts={**facts, "item.source_lawful": False})
    assert isinstance(decide(replace(asked, strata=(asked.strata[0], unlawful)), LAW), Permit)
    (way,) = advice.advise(asked, LAW)
    (move,) = way.moves
    assert (move.fact, move.value, way.people) == ("item.source_lawful", True, 60)


def test_a_lapsed_licence_is_had_anew() -> None:
    lapsed = {**HOSPITAL, "paper.preservation.valid_to": TODAY.replace(year=2025)}
    assert isinstance(decide(question(lapsed), LAW), Deny)
    assert ("permit", ["paper.preservation"]) in told(advice.advise(question(lapsed), LAW))


def test_what_the_purpose_leaves_out_is_no_move() -> None:
    asked = question(HOSPITAL)
    asked = replace(asked, purpose=replace(asked.purpose, commercial=None, ethics_approved=None))
    named = {name for one in decide(asked, LAW).findings for name in one.missing}
    ways = advice.advise(asked, LAW)
    assert not any(move.fact.startswith("purpose.") for way in ways for move in way.moves), named


def test_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "MOST_DECISIONS", 3)
    bare = question({"request.action": "release"})
    assert advice.advise(bare, LAW) == ()


def test_an_agreement_is_signed_with_all_clauses() -> None:
    unsigned = {**FOREIGN_UNIVERSITY, **REPORTED, "request.agreement_signed": False}
    ways = told(advice.advise(question(unsigned, GENOME, 40), LAW))
    assert ("permit", ["request.agreement_clauses"]) in ways


# ---- plain words ---------------------------------------------------------------------------------


def test_an_answer_in_both_languages() -> None:
    asked = question(
        {**FOREIGN_UNIVERSITY, "request.action": "teaching"}, {**GENOME, "donor.withdrawn": True}
    )
    both = replace(
        asked,
        strata=(
            *asked.strata,
            replace(asked.strata[0], id=StratumId("s1"), facts={**GENOME, "consent.form_mapped": True}),
        ),
        donor_groups=(*asked.donor_groups, DonorGroup(strata=(StratumId("s1"),), people=30)),
    )  # fmt: skip
    decision = decide(both, LAW)
    assert isinstance(decision, Refer)
    said = plain.answer(decision, LAW.vocabulary, as_of=TODAY)
    assert said["zh"].startswith("结论：转合规人员判断\n申请 60 人；可提供 30 人\n")
    assert "Outcome: referred to an officer" in said["en"]
    assert "[INST-05] to be judged" in said["en"]
    assert "an officer will ask: " in said["en"]
    assert "touches 30 people, 30 of them only this" in said["en"]
    assert "Obligations:" in said["en"]
    hidden = plain.answer(
        decision, LAW.vocabulary, as_of=TODAY, shown=lambda _: "<20", donor_level=False
    )
    assert "R-CON-04" not in hidden["en"]
    assert "not available" in hidden["en"]
    assert "60" not in hidden["zh"]


def test_what_waits_what_is_unknown_and_when_duties_are_due() -> None:
    held = plain.answer(
        decide(question(FOREIGN_UNIVERSITY, GENOME, 40), LAW), LAW.vocabulary, as_of=TODAY
    )
    assert "papers waited for: backup, prior_report" in held["en"]
    bare = plain.answer(
        decide(question({"request.action": "release"}), LAW), LAW.vocabulary, as_of=TODAY
    )
    assert "not known whether it bites" in bare["en"]
    assert " more" in bare["en"]
    permit = decide(question(HOSPITAL), LAW)
    text = plain.answer(permit, LAW.vocabulary, as_of=TODAY)
    assert "没有障碍。" in text["zh"]
    months = replace(
        permit, obligations=(replace(permit.obligations[0], before_release=False, months=1),)
    )
    said = plain.answer(months, LAW.vocabulary, as_of=TODAY)["en"]
    assert "within 1 months of the grant (2026-12-22)" in said
    assert "before release" in text["en"]
    assert "stands until 2030-12-31 at the latest" in text["en"]
    dated = replace(
        permit, obligations=(replace(permit.obligations[0], before_release=False, due=TODAY),)
    )
    assert "by 2026-11-22" in plain.answer(dated, LAW.vocabulary, as_of=TODAY)["en"]


def test_what_stands_in_the_purpose_is_no_field_of_the_facts() -> None:
    no_trade = replace(
        AGREED, id=ProfileId("ncu"), modifiers=(DuoTerm(code="DUO:0000046"),)
    )  # non-commercial use only
    unsaid = replace(question(HOSPITAL, profile=no_trade), purpose=replace(STUDY, commercial=None))
    assert any("purpose.commercial" in f.missing for f in decide(unsaid, LAW).findings)
    for way in advice.advise(unsaid, LAW):
        assert not any(move.fact.startswith("purpose.") for move in way.moves)
