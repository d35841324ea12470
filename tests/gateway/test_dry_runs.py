"""Dry runs: two counts cannot be taken one from the other, and a key has so many of them a day."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from audit import log
from gateway import pep
from gateway.bank import Bank
from gateway.deciding import Answer
from gateway.errors import ProblemError
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
    without = GENOMES | {"none_of": [{"samples": codes(bank, left_out)}]}
    second = dry(bank, without)
    assert first.decision.selection.asked.people - 20 > 20  # neither is small by itself
    assert second.earlier is not told_apart
    assert (second.decision_id == first.decision_id) is not told_apart
    if told_apart:
        asked = [one.decision.selection.asked.people for one in (first, second)]
        assert asked[0] - asked[1] == left_out


def test_the_log_has_that_it_was_asked(bank: Bank) -> None:
    first = dry(bank, GENOMES)
    dry(bank, GENOMES | {"none_of": [{"samples": codes(bank, 1)}]})
    with bank.database.read() as conn:
        newest = log.leaf(conn, bank.origin, log.head(conn, bank.origin).size - 1)
    assert b'"evaluation.repeated"' in newest
    assert first.decision_id.encode() in newest


def test_a_list_of_names_is_held_against_a_condition(bank: Bank) -> None:
    named = codes(bank, 60)
    first = dry(bank, {"samples": named})
    assert dry(bank, {"samples": named[1:]}).decision_id == first.decision_id
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


def test_other_questions_and_other_people_are_no_matter(bank: Bank, clock: SettableClock) -> None:
    dry(bank, GENOMES)
    without = GENOMES | {"none_of": [{"samples": codes(bank, 1)}]}
    assert not dry(bank, without, kinds=("exome",)).earlier  # of other kinds
    assert not dry(bank, without, who=LI).earlier  # the bank's own people see figures anyway
    clock.advance(days=91)
    assert not dry(bank, without).earlier  # long ago


def test_small_steps_get_a_new_answer_once_they_come_to_twenty(bank: Bank) -> None:
    """What is held against is what was decided on, or a cohort changed little by little were stuck."""
    named = codes(bank, 40)
    cohorts = [GENOMES] + [GENOMES | {"none_of": [{"samples": named[:n]}]} for n in (10, 20, 30)]
    first, ten, twenty, thirty = (dry(bank, cohort).decision_id for cohort in cohorts)
    assert ten == first
    assert twenty != first
    assert thirty == twenty


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
        assert len({one.decision_id for one in answers}) == 1
