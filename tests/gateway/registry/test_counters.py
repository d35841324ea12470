"""What counts with a release: for whom, over what, in which year, and from when it is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.registry import counters, facts, parties
from gateway.registry.counters import Recipient
from gateway.registry.facts import Gathered
from gateway.registry.openings import Opened
from gateway.settings import Counting
from gateway.tables import metadata
from policies import pdp
from policies.decision import Result
from tests.gateway.conftest import START
from tests.gateway.registry.asks import FOREIGN, ask

UNIVERSITY, SISTER, PARENT = "pty_foreign_university", "pty_sister", "pty_parent"
PROJECT = "prj_sino_foreign"
RULES = {"security-review-needed", "covered-genomes-over-500-are-judged"}


@dataclass(frozen=True)
class Item:
    donor_id: str
    kind: str = "genome"
    data_class: str | None = "genome"


def people(first: int, last: int, data_class: str = "genome") -> list[Item]:
    """Invented donors, by number; none is in the register."""
    return [Item(f"dnr_past_{n}", data_class, data_class) for n in range(first, last)]


def give(
    conn: Connection,
    items: Iterable[Item],
    *,
    to: str = UNIVERSITY,
    group: str | None = None,
    project: str = PROJECT,
    overseas: bool = True,
    now: datetime = START,
) -> None:
    source = f"rel_{conn.execute(sa.select(sa.func.count()).select_from(metadata.tables['released_donor'])).scalar_one()}"
    counters.add(
        conn, items, source_id=source, recipient=Recipient(party_id=to, group_id=group or to),
        project_id=project, overseas=overseas, now=now,
    )  # fmt: skip


def gather(conn: Connection, bank: Bank, *, day: date | None = None, **changes: object) -> Gathered:
    return facts.gather(
        conn, bank, ask(changes, of=FOREIGN), UNIVERSITY, as_of=day or bank.today(), now=bank.now()
    )


def genomes_before(conn: Connection, bank: Bank, **changes: object) -> object:
    return gather(conn, bank, **changes).question.facts.get("counter.genome_people_before")


def counting(bank: Bank, way: Counting) -> Bank:
    return replace(bank, settings=bank.settings.model_copy(update={"counting": way}))


def add_party(conn: Connection, party_id: str) -> None:
    parties.add_party(
        conn, party_id=party_id, name_zh=party_id, name_en=party_id, country="GB", now=START,
        invented=True,
    )  # fmt: skip


def hold(conn: Connection, owner: str, owned: str, on: date) -> str:
    return parties.add_edge(
        conn, owner_id=owner, owned_id=owned, share=Fraction(3, 5), valid_from=on, evidence="test"
    )


# ---- splitting -----------------------------------------------------------------------------------


def test_six_requests_count_as_one(bank: Bank) -> None:
    def unit(conn: Connection) -> list[object]:
        seen = []
        for n in range(6):
            give(conn, people(100 * n, 100 * (n + 1)))
            seen.append(genomes_before(conn, bank))
        return seen

    assert bank.database.write(unit) == [100, 200, 300, 400, 500, 600]


@pytest.mark.parametrize(("asked", "caught"), [(1, False), (2, True)], ids=["499 + 1", "499 + 2"])
def test_five_hundred_are_not_more_than_five_hundred(bank: Bank, asked: int, caught: bool) -> None:  # noqa: FBT001 - a row of the table
    def unit(conn: Connection) -> set[str]:
        give(conn, people(0, 499))
        whole = gather(conn, bank)
        willing = whole.cohort.select(conn, pdp.decide(whole.question, bank.law).selection.strata)
        codes = [one.donor_id.removeprefix("dnr_").upper() for one in willing[:asked]]
        gathered = gather(conn, bank, items={"kinds": ["genome"], "cohort": {"samples": codes}})
        made = pdp.decide(gathered.question, bank.law)
        assert len(gathered.cohort.select(conn, made.selection.strata)) == asked
        return {one.rule for one in made.findings if one.result is Result.HOLDS} & RULES

    assert bool(bank.database.write(unit)) is caught


def test_the_same_person_counts_once_over_releases_classes_and_years(bank: Bank) -> None:
    def unit(conn: Connection) -> Gathered:
        give(conn, people(0, 3), now=START - timedelta(days=400))
        give(conn, people(0, 3))
        give(conn, people(1, 4, "exome"))
        gathered = gather(conn, bank)
        assert counters.by_class(conn, gathered.counted) == {"genome": 3, "exome": 3}
        return gathered

    gathered = bank.database.write(unit)
    assert gathered.question.facts["counter.genome_people_before"] == 4


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_any_partition_comes_to_the_same(data: st.DataObject) -> None:
    """However a set is cut into releases, over which receivers of a group and in which order."""
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    many = data.draw(st.integers(1, 40))
    cut = data.draw(st.lists(st.integers(0, 5), min_size=many, max_size=many))
    with engine.begin() as conn:
        conn.execute(
            sa.insert(metadata.tables["bank"]).values(
                id=1, party_id="pty_bank", origin="x", facts_version=1, created_at=START
            )
        )
        for n in sorted(set(cut)):
            part = [item for item, into in zip(people(0, many), cut, strict=True) if into == n]
            give(conn, part, to=data.draw(st.sampled_from([UNIVERSITY, SISTER])), group=PARENT)
        opened = Opened(people_abroad={}, years_from=2026)
        before = counters.past(conn, PROJECT, Counting.RECIPIENT_PROJECT)
        counted = counters.count(
            conn,
            replace(before, opened=opened),
            recipient=Recipient(party_id=UNIVERSITY, group_id=PARENT),
            project_id=PROJECT,
            ownership=_Held(),
            asked=sa.select(sa.literal("dnr_past_0")),
            as_of=date(2026, 12, 1),
        )
    engine.dispose()
    assert counted.people == many
    assert counted.already == counted.linked == {"dnr_past_0"}
    assert counted.abroad == (many, many)


class _Held:
    """Everybody is held by the parent."""

    def group(self, _: str) -> str:
        return PARENT


# ---- for whom ------------------------------------------------------------------------------------


def test_a_sister_company_counts(bank: Bank) -> None:
    def unit(conn: Connection) -> object:
        for name in (SISTER, PARENT):
            add_party(conn, name)
        for owned in (SISTER, UNIVERSITY):
            hold(conn, PARENT, owned, date(2020, 1, 1))
        give(conn, people(0, 300), to=SISTER, group=PARENT)
        return genomes_before(conn, bank)

    assert bank.database.write(unit) == 300


def test_a_company_bought_counts_from_that_day_on(bank: Bank) -> None:
    today = bank.today()

    def unit(conn: Connection) -> list[object]:
        add_party(conn, SISTER)
        give(conn, people(0, 300), to=SISTER)
        give(conn, people(200, 400))
        before = genomes_before(conn, bank)
        hold(conn, UNIVERSITY, SISTER, today)
        yesterday = gather(conn, bank, day=today - timedelta(days=1)).question.facts
        return [before, yesterday["counter.genome_people_before"], genomes_before(conn, bank)]

    assert bank.database.write(unit) == [200, 200, 400]


def test_a_merger_between_two_releases_adds_both_up(bank: Bank) -> None:
    def unit(conn: Connection) -> list[object]:
        add_party(conn, SISTER)
        give(conn, people(0, 300), to=SISTER)
        before = genomes_before(conn, bank)
        parties.merge_party(conn, SISTER, into_id=UNIVERSITY, on=bank.today(), evidence="test")
        give(conn, people(300, 350))
        return [before, genomes_before(conn, bank)]

    assert bank.database.write(unit) == [0, 350]


def test_a_company_sold_has_what_it_got_and_so_has_who_sold_it(bank: Bank) -> None:
    def unit(conn: Connection) -> list[object]:
        for name in (SISTER, PARENT):
            add_party(conn, name)
        edge = hold(conn, UNIVERSITY, SISTER, date(2020, 1, 1))
        give(conn, people(0, 300), to=SISTER, group=UNIVERSITY)
        edges = metadata.tables["control_edge"]
        gone = bank.today() - timedelta(days=1)
        conn.execute(sa.update(edges).where(edges.c.id == edge).values(valid_to=gone))
        hold(conn, PARENT, SISTER, bank.today())
        return [genomes_before(conn, bank), genomes_before(conn, bank, recipient=SISTER)]

    assert bank.database.write(unit) == [300, 300]


def test_a_stranger_does_not_count(bank: Bank) -> None:
    def unit(conn: Connection) -> object:
        add_party(conn, SISTER)
        give(conn, people(0, 300), to=SISTER)
        return genomes_before(conn, bank)

    assert bank.database.write(unit) == 0


WAYS = [
    (Counting.RECIPIENT_PROJECT, 1),
    (Counting.RECIPIENT, 1 + 10),
    (Counting.PROJECT, 1 + 100),
    (Counting.TRANSFER, 0),
]


@pytest.mark.parametrize(("way", "expected"), WAYS)
def test_the_way_of_counting_is_chosen_and_said(bank: Bank, way: Counting, expected: int) -> None:
    """All ways read the same rows: what was given under another way is not lost."""

    def unit(conn: Connection) -> Gathered:
        add_party(conn, SISTER)
        first = gather(conn, bank).cohort
        asked = Item(first.select(conn, first.strata)[0].donor_id)
        give(conn, [asked])
        give(conn, people(1, 11), project="prj_foreign_bank")
        give(conn, people(11, 111), to=SISTER)
        give(conn, people(111, 1111), to=SISTER, project="prj_foreign_bank")
        return gather(conn, counting(bank, way))

    gathered = bank.database.write(unit)
    assert gathered.question.facts["counter.genome_people_before"] == expected
    assert gathered.question.facts["counter.way"] == way
    (linked,) = gathered.counted.linked  # what makes one file is no matter of counting
    assert gathered.counted.already == ({linked} if expected else set())


# ---- the year ------------------------------------------------------------------------------------


def test_a_person_given_in_two_years_counts_in_both(bank: Bank) -> None:
    # 16:00 UTC on New Year's Eve is next year in Shanghai
    eve = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)

    def unit(conn: Connection) -> list[object]:
        give(conn, people(0, 3), now=eve - timedelta(seconds=1))
        give(conn, people(2, 7), now=eve)
        return [
            gather(conn, bank, day=day).question.facts.get("pi.sensitive_people_before")
            for day in (date(2026, 12, 31), date(2027, 1, 1), date(2028, 1, 1))
        ]

    assert bank.database.write(unit) == [3, 5, 0]


def test_what_counts_abroad_in_a_year(bank: Bank) -> None:
    """Each person once whoever received it; tubes too; what stayed, or is an aggregate, not."""

    def unit(conn: Connection) -> object:
        give(conn, people(0, 3))
        give(conn, people(0, 3, "clinical"), to=SISTER, project="prj_foreign_bank")
        give(conn, [Item("dnr_past_9", "whole_blood", None)])
        give(conn, people(10, 20), overseas=False)
        give(conn, people(20, 30, "aggregate"))
        return gather(conn, bank).question.facts["pi.people_before"]

    assert bank.database.write(unit) == 4


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item("d", "exome", "exome"), "exome"),
        (Item("d", "genome", None), "genome"),  # nobody classed it: still one
        (Item("d", "whole_blood", None), "material"),
    ],
)
def test_what_a_holding_counts_as(item: Item, expected: str) -> None:
    assert counters.class_of(item) == expected
