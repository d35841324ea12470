"""Opening balances: a file of two people, or nothing counts; what is wrong in it is told line by line."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank, facts_version
from gateway.errors import ProblemError
from gateway.registry import ledger, openings, papers
from gateway.registry.openings import Change, Draft, Opening
from gateway.settings import Counting
from gateway.tables import metadata
from policies import pdp
from policies.decision import Refer
from tests.gateway.conftest import START
from tests.gateway.registry.test_counters import (
    PROJECT,
    UNIVERSITY,
    add_party,
    counting,
    gather,
    give,
    hold,
    people,
)
from tests.gateway.registry.test_papers import DRAFT, put

FIRST, SECOND = "psn_first", "psn_second"
COUNTERS = ("counter.genome_people_before", "pi.sensitive_people_before", "pi.people_before")
HEAD = """format: hgr-opening-1
bank: bank.example/hgr
through: 2026-11-22
"""
GIVEN = """donors:
  - {recipient: pty_foreign_university, project: prj_sino_foreign, class: genome, overseas: true, year: 2026, codes: [HG00403, HG00404]}
  - {recipient: pty_foreign_university, project: prj_sino_foreign, class: exome, overseas: true, year: 2025, codes: [HG00404, HG00406]}
people_abroad:
  - {year: 2026, sensitive: 120, all: 150}
"""
WHOLE = f"{HEAD}whole: [donors, people_abroad]\n{GIVEN}"
NONE = f"{HEAD}whole: [donors, people_abroad]\n"


@pytest.fixture
def new(bank: Bank) -> Bank:
    """The invented bank before anybody said what it gave."""
    bank.database.write(lambda conn: conn.execute(sa.delete(metadata.tables["opening"])))
    return bank


def draft(text: str) -> Draft:
    return openings.from_file(text.encode())


def proposed(conn: Connection, text: str) -> Opening:
    return openings.propose(conn, draft(text), person_id=FIRST, now=START)


def confirmed(
    conn: Connection, text: str, *, person: str = SECOND, digest: str | None = None
) -> Opening:
    made = proposed(conn, text)
    return openings.confirm(
        conn, made.id, draft(text), digest=digest or made.sha256, person_id=person, now=START
    )


def before(conn: Connection, bank: Bank, **changes: Any) -> list[object]:
    facts = gather(conn, bank, **changes).question.facts
    return [facts.get(name) for name in COUNTERS]


# ---- until two people said so --------------------------------------------------------------------


def test_a_counter_is_unknown_until_two_people_opened_it(new: Bank) -> None:
    def unit(conn: Connection) -> list[list[object]]:
        seen = [before(conn, new)]
        made = proposed(conn, WHOLE)
        seen.append(before(conn, new))
        version = facts_version(conn)
        openings.confirm(
            conn, made.id, draft(WHOLE), digest=made.sha256, person_id=SECOND, now=START
        )
        assert facts_version(conn) > version
        return [*seen, before(conn, new)]

    # 2 + 2 donors, one of them in both; abroad in 2026 two by name, and those known by number
    assert new.database.write(unit) == [[None] * 3, [None] * 3, [3, 122, 152]]


def test_unknown_refers_and_declared_zero_does_not(new: Bank) -> None:
    """To hospitals at home nothing changes; for a foreign party the 500 cannot be counted."""
    missing = {
        "selection.genome_people_total",
        "selection.sensitive_people_total",
        "pi.people_before",
    }

    def unit(conn: Connection) -> list[tuple[type, set[str]]]:
        seen = []
        for text in (None, NONE):
            if text is not None:
                confirmed(conn, text)
            made = pdp.decide(gather(conn, new).question, new.law)
            lacking = {name for one in made.findings for name in one.missing}
            seen.append((type(made), lacking & missing))
        return seen

    (outcome, lacking), (_, nothing) = new.database.write(unit)
    assert (outcome, lacking) == (Refer, missing)
    assert not nothing


def test_whether_clinical_data_make_one_file_with_genomes_is_unknown_too(new: Bank) -> None:
    wanted = {"items": {"kinds": ["clinical"], "cohort": {"collections": ["col_chb"]}}}

    def unit(conn: Connection) -> list[set[object]]:
        seen = []
        for text in (None, WHOLE):
            if text is not None:
                confirmed(conn, text)
            strata = gather(conn, new, **wanted).question.strata
            seen.append({one.facts.get("item.linked_genomic") for one in strata})
        return seen

    assert new.database.write(unit) == [{None}, {False}]


def test_of_one_transfer_alone_the_past_does_not_matter(new: Bank) -> None:
    with new.database.read() as conn:
        alone = counting(new, Counting.TRANSFER)
        assert before(conn, alone) == [0, None, None]


def test_a_part_counts_nothing_until_the_whole_is_declared(new: Bank) -> None:
    """A large bank states its past in several files; the last declares the counter whole."""
    part = f"{HEAD}whole: []\n{GIVEN}"
    rest = f"""{HEAD}whole: [donors, people_abroad]
donors:
  - {{recipient: {UNIVERSITY}, project: {PROJECT}, class: genome, overseas: false, year: 2024, codes: [HG00410]}}
"""

    def unit(conn: Connection) -> list[list[object]]:
        confirmed(conn, part)
        seen = [before(conn, new)]
        confirmed(conn, rest)
        return [*seen, before(conn, new)]

    assert new.database.write(unit) == [[None] * 3, [4, 122, 152]]


def test_what_the_gateway_released_itself_adds_to_it(new: Bank) -> None:
    def unit(conn: Connection) -> list[object]:
        confirmed(conn, WHOLE)
        give(conn, people(0, 10))
        return before(conn, new)

    assert new.database.write(unit) == [13, 132, 162]


def test_an_earlier_years_opening_says_nothing_of_the_year_before_it(new: Bank) -> None:
    days = (START.date().replace(year=year) for year in (2025, 2026, 2027))

    def unit(conn: Connection) -> list[object]:
        confirmed(conn, NONE)
        return [gather(conn, new, day=day).question.facts.get("pi.people_before") for day in days]

    assert new.database.write(unit) == [None, 0, 0]


def test_its_recipients_count_for_whoever_controlled_them_then(new: Bank) -> None:
    """And for whoever does today: a sister sold since still counts for the seller."""
    text = WHOLE.replace("recipient: pty_foreign_university", "recipient: pty_sister")

    def unit(conn: Connection) -> list[object]:
        add_party(conn, "pty_sister")
        edge = hold(conn, UNIVERSITY, "pty_sister", START.date())
        confirmed(conn, text)
        edges = metadata.tables["control_edge"]
        conn.execute(sa.update(edges).where(edges.c.id == edge).values(valid_to=START.date()))
        return [
            gather(conn, new, day=day).question.facts["counter.genome_people_before"]
            for day in (START.date(), START.date() + timedelta(days=1))
        ]

    assert new.database.write(unit) == [3, 3]


# ---- who, and what exactly -----------------------------------------------------------------------


def test_the_same_person_cannot_confirm(new: Bank) -> None:
    with pytest.raises(ProblemError) as error:
        new.database.write(lambda conn: confirmed(conn, WHOLE, person=FIRST))
    assert error.value.code == "same_person"


def test_another_digest_is_refused_and_nothing_counts(new: Bank) -> None:
    made = new.database.write(lambda conn: proposed(conn, WHOLE))
    for digest, text in (("0" * 64, WHOLE), (made.sha256, NONE), (draft(NONE).sha256, NONE)):
        with pytest.raises(ProblemError) as error:
            new.database.write(
                lambda conn, digest=digest, text=text: openings.confirm(
                    conn, made.id, draft(text), digest=digest, person_id=SECOND, now=START
                )
            )
        assert [one.pointer for one in error.value.errors] == ["/sha256"]
    with new.database.read() as conn:
        assert before(conn, new) == [None] * 3
        assert openings.content(conn, made.id) == WHOLE.encode()


def test_a_double_click_does_nothing_twice(new: Bank) -> None:
    made = new.database.write(lambda conn: confirmed(conn, WHOLE))

    def again(conn: Connection) -> None:
        openings.confirm(
            conn, made.id, draft(WHOLE), digest=made.sha256, person_id="psn_third", now=START
        )

    for act in (again, lambda conn: proposed(conn, WHOLE)):
        with pytest.raises(ProblemError) as error:
            new.database.write(act)
        assert error.value.code == "already_done"
    with new.database.read() as conn:
        assert before(conn, new) == [3, 122, 152]


@pytest.mark.parametrize("act", [openings.read, openings.content])
def test_there_is_no_such_opening(bank: Bank, act: Any) -> None:
    with bank.database.read() as conn, pytest.raises(ProblemError) as error:
        act(conn, "opn_none")
    assert error.value.code == "not_found"


# ---- once more, and instead ----------------------------------------------------------------------


def codes(error: ProblemError) -> list[str]:
    return [one.detail.rsplit("[", 1)[1].rstrip("]") for one in error.errors]


def refused(bank: Bank, text: str) -> ProblemError:
    with pytest.raises(ProblemError) as error:
        bank.database.write(lambda conn: proposed(conn, text))
    assert error.value.code == "invalid_request"
    return error.value


def test_a_counter_is_not_opened_twice(bank: Bank) -> None:
    assert codes(refused(bank, WHOLE)) == ["already_open"] * 4


def test_two_files_waiting_do_not_both_open_it(new: Bank) -> None:
    one = new.database.write(lambda conn: proposed(conn, WHOLE))
    new.database.write(lambda conn: confirmed(conn, NONE))
    with pytest.raises(ProblemError) as error:
        new.database.write(
            lambda conn: openings.confirm(
                conn, one.id, draft(WHOLE), digest=one.sha256, person_id=SECOND, now=START
            )
        )
    assert codes(error.value) == ["already_open"] * 4
    with new.database.read() as conn:
        assert before(conn, new) == [0, 0, 0]


def test_a_correction_counts_instead_and_the_corrected_file_stays(new: Bank) -> None:
    def unit(conn: Connection) -> tuple[Opening, list[Change], Opening]:
        made = confirmed(conn, WHOLE)
        text = f"corrects: {made.id}\n{WHOLE.replace('120', '20').replace('[HG00403, HG00404]', '[HG00407]')}"
        found = openings.changes(conn, draft(text))
        return made, list(found), confirmed(conn, text)

    made, told, instead = new.database.write(unit)
    with new.database.read() as conn:
        assert before(conn, new) == [3, 21, 151]  # HG00404 and HG00406 by exome, and HG00407
        kept = openings.read(conn, made.id)
        assert openings.content(conn, made.id) == WHOLE.encode()
        rows = sa.select(sa.func.count()).select_from(metadata.tables["released_donor"])
        assert conn.execute(rows).scalar_one() == 4 + 3, "what it said is still there to be read"
    assert (kept.corrected_by, instead.corrects) == (instead.id, made.id)
    of = (UNIVERSITY, PROJECT)
    assert told == [
        Change(counter="donors", of=(*of, "exome"), before=2, after=2),
        Change(counter="donors", of=(*of, "genome"), before=2, after=1),
        Change(counter="people_abroad", of=("2026", "sensitive"), before=120, after=20),
        Change(counter="people_abroad", of=("2026", "all"), before=150, after=150),
    ]


def test_what_a_correction_takes_away_is_told(new: Bank) -> None:
    def unit(conn: Connection) -> tuple[Change, ...]:
        made = confirmed(conn, WHOLE)
        return openings.changes(conn, draft(f"corrects: {made.id}\n{NONE}"))

    of = (UNIVERSITY, PROJECT)
    assert new.database.write(unit) == (
        Change(counter="donors", of=(*of, "exome"), before=2, after=0),
        Change(counter="donors", of=(*of, "genome"), before=2, after=0),
        Change(counter="people_abroad", of=("2026", "sensitive"), before=120, after=0),
        Change(counter="people_abroad", of=("2026", "all"), before=150, after=0),
    )


def test_a_correction_that_does_not_declare_it_whole_leaves_it_unknown(new: Bank) -> None:
    def unit(conn: Connection) -> list[object]:
        made = confirmed(conn, WHOLE)
        confirmed(conn, f"{HEAD}whole: [donors]\ncorrects: {made.id}\n")
        return before(conn, new)

    assert new.database.write(unit) == [0, None, None]


def test_only_what_counts_can_be_corrected_and_once(new: Bank) -> None:
    waiting = new.database.write(lambda conn: proposed(conn, WHOLE))
    assert codes(refused(new, f"{NONE}corrects: opn_none\n")) == ["unknown_opening"]
    assert codes(refused(new, f"{NONE}corrects: {waiting.id}\n")) == ["not_confirmed"]

    def unit(conn: Connection) -> str:
        made = confirmed(conn, NONE)
        confirmed(conn, f"{NONE}corrects: {made.id}\n")
        return made.id

    old = new.database.write(unit)
    assert codes(refused(new, f"{NONE}corrects: {old}\nnote: x\n"))[0] == "corrected_already"


def test_what_it_would_change_is_told_before_it_does(new: Bank) -> None:
    def unit(conn: Connection) -> list[Change]:
        give(conn, people(0, 5))
        return list(openings.changes(conn, draft(WHOLE)))

    of = (UNIVERSITY, PROJECT)
    assert new.database.write(unit) == [
        Change(counter="whole", of=("donors",), before=None, after=None),
        Change(counter="whole", of=("people_abroad",), before=None, after=None),
        Change(counter="donors", of=(*of, "exome"), before=0, after=2),
        Change(counter="donors", of=(*of, "genome"), before=0, after=2),
        Change(counter="people_abroad", of=("2026", "sensitive"), before=0, after=120),
        Change(counter="people_abroad", of=("2026", "all"), before=0, after=150),
    ]


# ---- draws on papers -----------------------------------------------------------------------------


def test_a_quota_is_opened_by_the_file_and_once(new: Bank) -> None:
    undrawn = replace(DRAFT, quotas={"units": 50, "people": 9}, drawn={"people": 0})
    paper = new.database.write(lambda conn: put(conn, undrawn)).id

    def text(measure: str, amount: int) -> str:
        head = HEAD + "whole: []\n"
        return f"{head}draws:\n  - {{paper: {paper}, measure: {measure}, amount: {amount}}}\n"

    assert codes(refused(new, text("units", 51))) == ["overdrawn"]
    assert codes(refused(new, text("people", 1))) == ["already_open"]
    told = new.database.write(lambda conn: openings.changes(conn, draft(text("units", 40))))
    assert told == (Change(counter="draws", of=(paper, "units"), before=None, after=40),)
    new.database.write(lambda conn: confirmed(conn, text("units", 40)))
    with new.database.read() as conn:
        quotas = {one.measure: one for one in papers.read(conn, paper).quotas}
        assert not [*ledger.differences(conn)]
    assert (quotas["units"].opened, quotas["units"].released, quotas["units"].reserved) == (
        True,
        40,
        0,
    )
    assert codes(refused(new, text("units", 40) + "note: x\n")) == ["already_open"]


# ---- files that cannot be ------------------------------------------------------------------------

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
BAD = [
    ("a bomb", BOMB, ["alias"], None),
    ("no mapping", "- x\n", ["not_a_mapping"], None),
    ("another format", WHOLE.replace("opening-1", "opening-2"), ["not_allowed"], 1),
    ("a key nobody knows", f"{WHOLE}donor: 1\n", ["unknown_key"], 10),
    ("a negative number", WHOLE.replace("120", "-1"), ["out_of_range"], 9),
    ("a number that is none", WHOLE.replace("120", "1.5"), ["wrong_type"], 9),
    ("more sensitive than all", WHOLE.replace("120", "151"), ["contradiction"], 9),
    ("another bank", WHOLE.replace("bank.example", "other.example"), ["other_bank"], 2),
    ("a day ahead", WHOLE.replace("2026-11-22", "2026-11-23"), ["not_yet"], 3),
    ("days nobody counted", NONE.replace("2026-11-22", "2026-11-20"), ["gap"], 3),
    ("whole twice", NONE.replace("[donors,", "[donors, donors,"), ["repeated_line"], 4),
    ("no such donor", WHOLE.replace("[HG00403", "[HG99999"), ["unknown_donor"], 6),
    ("no such party", WHOLE.replace("{recipient: pty_foreign_university, project: prj_sino_foreign, class: genome", "{recipient: pty_none, project: prj_sino_foreign, class: genome"), ["unknown_party"], 6),
    ("no such project", WHOLE.replace("prj_sino_foreign, class: genome", "prj_none, class: genome"), ["unknown_project"], 6),
    ("no such class", WHOLE.replace("class: genome", "class: genomes"), ["not_allowed"], 6),
    ("a year ahead", WHOLE.replace("year: 2025", "year: 2027"), ["after_through"], 7),
    ("people of a year ahead", WHOLE.replace("{year: 2026, s", "{year: 2027, s"), ["after_through"], 9),
    ("a donor twice in a line", WHOLE.replace("[HG00403,", "[HG00404,"), ["repeated_donor"], 6),
    ("a line twice", WHOLE.replace("class: exome, overseas: true, year: 2025", "class: genome, overseas: false, year: 2026"), ["repeated_donor"], 7),
    ("a year twice", f"{WHOLE}  - {{year: 2026, sensitive: 1, all: 1}}\n", ["repeated_line"], 10),
    ("no donor in a line", WHOLE.replace("[HG00403, HG00404]", "[]"), ["empty"], 6),
    ("no such paper", f"{NONE}draws:\n  - {{paper: ppr_none, measure: units, amount: 1}}\n", ["unknown_paper"], 6),
    ("a draw twice", f"{NONE}draws:\n" + "  - {paper: ppr_none, measure: units, amount: 1}\n" * 2, ["repeated_line", "unknown_paper", "unknown_paper"], 7),
    ("no such quota", f"{NONE}draws:\n  - {{paper: ppr_preservation, measure: units, amount: 1}}\n", ["unknown_quota"], 6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected", "line"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_file_that_cannot_be_is_refused_with_its_line(
    new: Bank, text: str, expected: list[str], line: int | None
) -> None:
    error = refused(new, text)
    assert codes(error) == expected
    if line is not None:
        assert error.errors[0].detail.startswith(f"line {line}, ")
    with new.database.read() as conn:
        assert openings.listed(conn) == ()


def test_all_mistakes_are_told_at_once_up_to_a_point(new: Bank) -> None:
    many = ", ".join(f"X{n}" for n in range(80))
    error = refused(new, WHOLE.replace("HG00403, HG00404", many))
    assert len(error.errors) == 50
    assert error.detail == "80 mistakes in the opening"
