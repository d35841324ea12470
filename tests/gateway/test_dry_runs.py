"""Dry runs: two counts cannot be taken one from the other, and a key has so many of them a day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import deciding, pep
from gateway.bank import Bank, bump
from gateway.deciding import Answer
from gateway.errors import ProblemError
from gateway.registry import queries
from gateway.tables import metadata
from tests.gateway.conftest import SettableClock
from tests.gateway.registry.asks import ask
from tests.gateway.test_acts import HOSPITAL, LI, Kept, run

GENOMES = {"collections": ["col_chb"]}


def dry(
    bank: Bank, cohort: dict[str, Any], *, kinds: tuple[str, ...] = ("genome",), who=HOSPITAL
) -> Answer:
    asked = ask({"outputs": ["aggregate"], "items": {"kinds": list(kinds), "cohort": cohort}})
    answer: Answer = run(lambda reply: pep.evaluate(bank, who, asked, reply), who)
    return answer


def codes(bank: Bank, many: int) -> list[str]:
    """Codes of donors who gave a genome to the collection."""
    held, donor = metadata.tables["holding"], metadata.tables["donor"]
    named = (
        sa.select(donor.c.code)
        .join(held, held.c.donor_id == donor.c.id)
        .where(held.c.collection_id == "col_chb", held.c.kind == "genome")
        .distinct()
        .order_by(donor.c.code)
        .limit(many)
    )
    with bank.database.read() as conn:
        return list(conn.execute(named).scalars())


@pytest.mark.parametrize(("left_out", "told_apart"), [(1, False), (19, False), (20, True)])
def test_who_is_left_out_cannot_be_counted(bank: Bank, left_out: int, told_apart: bool) -> None:  # noqa: FBT001 - a case
    first = dry(bank, GENOMES)
    second = dry(bank, GENOMES | {"none_of": [{"samples": codes(bank, left_out)}]})
    asked = [one.decision.selection.asked.people for one in (first, second)]
    assert asked[0] - 20 > 20  # neither is small by itself
    assert second.earlier is not told_apart
    assert asked[0] - asked[1] == (left_out if told_apart else 0)
    read = deciding.read_decision(bank, second.decision_id, party_id=HOSPITAL.party_id)
    assert read.earlier is second.earlier


#: One donor fewer, in ways that a word, another kind or much beside it would hide.
@pytest.mark.parametrize(
    "hidden",
    [
        {"purpose": {"research": "health", "text": "another word"}},
        {"price": {"price_fen": 7}},
        {"items": {"kinds": ["genome", "blood_cells"], "cohort": {"kinds": ["genome"]}}},
        {"items": {"units_each": 2}},
        {"items": {"cohort": {"any_of": [{"collections": ["col_chb"]}] * 20, "all_of": [{}] * 20}}},
        {"items": {"cohort": {"any_of": [{"all_of": [{}] * 18}] * 5}}},
    ],
)
def test_nothing_else_that_is_asked_hides_it(bank: Bank, hidden: dict[str, Any]) -> None:
    first = dry(bank, GENOMES)
    more = dict(hidden)
    items = {"kinds": ["genome"]} | more.pop("items", {})
    without = GENOMES | {"none_of": [{"samples": codes(bank, 1)}]}
    items["cohort"] = without | items.get("cohort", {})
    asked = ask({"outputs": ["aggregate"], "items": items} | more)
    second: Answer = run(lambda reply: pep.evaluate(bank, HOSPITAL, asked, reply), HOSPITAL)
    assert second.earlier
    assert second.decision.selection.asked.people == first.decision.selection.asked.people


def test_nor_do_many_others_in_between(bank: Bank) -> None:
    """Those before are not forgotten over those since, and their parts are not spent by one another."""
    dry(bank, GENOMES)
    for year in range(1990, 1998):
        wide = {"any_of": [GENOMES] * 20, "none_of": [{"collected": {"last": year}}]}
        dry(bank, wide, kinds=("clinical",))
    assert dry(bank, GENOMES | {"none_of": [{"samples": codes(bank, 1)}]}).earlier


def test_one_tube_of_several_cannot_be_counted_either(bank: Bank) -> None:
    """Whoever has other holdings in both is no other person, but what may be given of it would tell."""
    held = metadata.tables["holding"]
    wanted = sa.select(held.c.code).where(
        held.c.collection_id == "col_chb", held.c.kind == "genome"
    )
    with bank.database.read() as conn:
        code = conn.execute(wanted.order_by(held.c.code)).scalars().first()
    kinds = ("genome", "clinical", "exome", "plasma", "dna", "whole_blood")
    dry(bank, GENOMES, kinds=kinds)
    assert dry(bank, GENOMES | {"none_of": [{"samples": [code]}]}, kinds=kinds).earlier


def test_much_that_is_left_out_beside_does_not_hide_one_person(bank: Bank) -> None:
    """Of thirty others one of two holdings is left out: they are counted as people all the same."""
    held, donor = metadata.tables["holding"], metadata.tables["donor"]
    one, *others = codes(bank, 40)
    theirs = (
        sa.select(held.c.code)
        .join(donor, donor.c.id == held.c.donor_id)
        .where(donor.c.code.in_(others), held.c.kind == "clinical")
        .limit(30)
    )
    with bank.database.read() as conn:
        clinical = list(conn.execute(theirs).scalars())
    assert len(clinical) >= 20
    kinds = ("genome", "clinical")
    dry(bank, GENOMES, kinds=kinds)
    without = GENOMES | {"none_of": [{"samples": [one, *clinical]}]}
    assert dry(bank, without, kinds=kinds).earlier


def test_what_changed_since_does_not_hide_it(bank: Bank) -> None:
    """Those counted then are no longer as many: held against is what would be counted now."""
    dry(bank, GENOMES)
    held, names = metadata.tables["holding"], codes(bank, 31)
    donor = metadata.tables["donor"]

    def gone(conn: sa.Connection) -> None:
        named = sa.select(donor.c.id).where(donor.c.code.in_(names[:30]))
        ids = list(conn.execute(named).scalars())
        conn.execute(sa.update(held).where(held.c.donor_id.in_(ids)).values(available=False))
        bump(conn, ids)

    bank.database.write(gone)
    assert dry(bank, GENOMES | {"none_of": [{"samples": names[30:]}]}).earlier


def test_more_than_can_be_held_against_are_refused(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry(bank, GENOMES)
    dry(bank, GENOMES | {"none_of": [{"samples": codes(bank, 20)}]})
    monkeypatch.setattr(queries, "_HELD", 1)
    monkeypatch.setattr(queries, "SMALL", 1000)  # all are near enough to be looked at
    with pytest.raises(ProblemError) as error:
        dry(bank, GENOMES | {"sex": "female"})
    assert error.value.code == "too_many_requests"


def test_a_list_of_names_is_held_against_a_condition(bank: Bank) -> None:
    named = codes(bank, 60)
    dry(bank, {"samples": named})
    assert dry(bank, {"samples": named[1:]}).earlier
    assert not dry(bank, {"samples": named[:30]}).earlier


def test_an_answer_that_tells_nothing_of_a_donor_is_held_against_nothing(bank: Bank) -> None:
    few = dry(bank, {"samples": codes(bank, 5)})
    assert few.blind
    nobody = dry(bank, {"collections": ["col_chb"], "collected": {"last": 1900}})
    assert not nobody.earlier
    assert nobody.decision.selection.asked.people == 0


def test_the_same_again_is_decided_again(bank: Bank) -> None:
    first, second = (dry(bank, GENOMES) for _ in range(2))
    assert not second.earlier
    assert first.decision_id != second.decision_id


def test_other_people_and_long_ago_are_no_matter(bank: Bank, clock: SettableClock) -> None:
    dry(bank, GENOMES)
    without = GENOMES | {"none_of": [{"samples": codes(bank, 1)}]}
    assert not dry(bank, without, who=LI).earlier  # the bank's own people see figures anyway
    clock.advance(days=91)
    assert not dry(bank, without).earlier


def test_small_steps_get_a_new_answer_once_they_come_to_twenty(bank: Bank) -> None:
    """What is held against is what was decided on, or a cohort changed little by little were stuck."""
    named = codes(bank, 40)
    cohorts = [GENOMES] + [GENOMES | {"none_of": [{"samples": named[:n]}]} for n in (10, 20, 30)]
    answers = [dry(bank, cohort) for cohort in cohorts]
    assert [one.earlier for one in answers] == [False, True, False, True]
    first, *people = (one.decision.selection.asked.people for one in answers)
    assert people == [first, first - 20, first - 20]


def test_so_many_a_day_and_no_more(bank: Bank, clock: SettableClock) -> None:
    few = replace(bank, settings=bank.settings.model_copy(update={"count_budget": 2}))
    for _ in range(2):
        dry(few, GENOMES)
    with pytest.raises(ProblemError) as error:
        dry(few, GENOMES)
    assert error.value.code == "too_many_requests"
    assert error.value.retry_after == 14 * 3600  # from ten in the morning to midnight in Shanghai
    dry(few, GENOMES, who=LI)  # who has no such budget
    clock.advance(hours=14)
    dry(few, GENOMES)


def test_two_at_once_do_not_slip_past_one_another(bank: Bank) -> None:
    """Of two that differ by one donor, asked at the same moment, one is told to ask again."""
    asked = [
        ask({"outputs": ["aggregate"], "items": {"kinds": ["genome"], "cohort": cohort}})
        for cohort in (GENOMES, GENOMES | {"none_of": [{"samples": codes(bank, 1)}]})
    ]
    kept = [Kept(), Kept()]

    async def both() -> list[Any]:
        acts = (
            pep.evaluate(bank, HOSPITAL, one, of.reply(HOSPITAL))
            for one, of in zip(asked, kept, strict=True)
        )
        return await asyncio.gather(*acts, return_exceptions=True)

    bank.open_index()
    told = asyncio.run(both())
    refused = [one for one in told if isinstance(one, ProblemError)]
    answers = [one.result for one in kept if one.result is not None]
    if refused:
        assert [one.code for one in refused] == ["busy"]
        assert len(answers) == 1
    else:  # they came one after the other
        assert len({one.decision.selection.asked.people for one in answers}) == 1


def test_others_at_once_are_all_answered(bank: Bank) -> None:
    bank.open_index()
    asked = [
        ask({"outputs": ["aggregate"], "items": {"kinds": [kind], "cohort": GENOMES}})
        for kind in ("genome", "clinical", "plasma", "dna")
    ]
    kept = [Kept() for _ in asked]

    async def everybody() -> None:
        acts = (
            pep.evaluate(bank, HOSPITAL, one, of.reply(HOSPITAL))
            for one, of in zip(asked, kept, strict=True)
        )
        await asyncio.gather(*acts)

    asyncio.run(everybody())
    assert all(isinstance(one.result, Answer) for one in kept)
