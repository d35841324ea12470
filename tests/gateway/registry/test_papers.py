"""Papers count by two people, for what they are bound to."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import Connection

from gateway.bank import Bank, facts_version
from gateway.errors import ProblemError
from gateway.registry import papers
from gateway.registry.papers import Fit, Paper, PaperDraft
from tests.gateway.conftest import START

DAY = date(2026, 11, 22)
DRAFT = PaperDraft(
    kind="prior_report",
    number="虚构报告2026-01",
    issuer="虚构主管部门",
    holder_id="pty_partner_institute",
    project_id="prj_sino_foreign",
    valid_from=date(2026, 11, 1),
    valid_to=date(2027, 10, 31),
    document_sha256="0" * 64,
)
FIT = Fit(
    as_of=DAY,
    project_id="prj_sino_foreign",
    parties=frozenset({"pty_foreign_university"}),
    collections=frozenset({"col_chb"}),
    datasets=frozenset({"d1"}),
)


def put(conn: Connection, draft: PaperDraft, *, checked: bool = True) -> Paper:
    paper = papers.record(conn, draft, person_id="psn_a", now=START)
    return papers.check(conn, paper.id, person_id="psn_b", now=START) if checked else paper


def chosen(conn: Connection, kind: str = "prior_report", fit: Fit = FIT) -> Paper | None:
    return papers.choose(papers.counting(conn, fit, bank_party_id="pty_bank"), kind, fit)


def test_a_paper_counts_from_the_second_person_to_its_voiding(bank: Bank) -> None:
    def unit(conn: Connection) -> None:
        versions = [facts_version(conn)]
        paper = put(conn, DRAFT, checked=False)
        assert chosen(conn) is None
        versions.append(facts_version(conn))
        with pytest.raises(ProblemError, match="same_person"):
            papers.check(conn, paper.id, person_id="psn_a", now=START)
        papers.check(conn, paper.id, person_id="psn_b", now=START)
        assert (chosen(conn) or paper).checked_by == "psn_b"
        versions.append(facts_version(conn))
        with pytest.raises(ProblemError, match="already_done"):
            papers.check(conn, paper.id, person_id="psn_c", now=START)
        papers.void(conn, paper.id, reason="证书作废", now=START)
        assert chosen(conn) is None
        versions.append(facts_version(conn))
        with pytest.raises(ProblemError, match="already_done"):
            papers.void(conn, paper.id, reason="again", now=START)
        with pytest.raises(ProblemError, match="state_conflict"):
            papers.check(conn, paper.id, person_id="psn_c", now=START)
        assert versions == sorted(set(versions)), "every write raises the version of the facts"

    bank.database.write(unit)


WRONG = [
    ("kind nobody knows", {"kind": "letter"}, "/kind"),
    ("no last day, not open-ended", {"valid_to": None}, "/valid_to"),
    ("both", {"open_ended": True}, "/valid_to"),
    ("ends before it begins", {"valid_to": date(2026, 1, 1)}, "/valid_to"),
    ("a list that is none", {"scope": {"types": "dna"}}, "/scope/types"),
    ("an entry of another kind", {"scope": {"before_start": True}}, "/scope/before_start"),
    ("a flag that is no truth", {"kind": "filing", "scope": {"before_start": 1}}, "/scope/before_start"),
    ("a measure nobody counts", {"quotas": {"litres": 3}}, "/quotas/litres"),
    ("less than nothing", {"quotas": {"people": -1}}, "/quotas/people"),
    ("a blank number", {"number": " "}, "/number"),
    ("an issuer with a line break", {"issuer": "a\nb"}, "/issuer"),
    ("a digest that is none", {"document_sha256": "0" * 63}, "/document_sha256"),
    ("a document by no digest", {"documents": {"annex": "0" * 63 + "G"}}, "/documents/annex"),
    ("a list that repeats", {"scope": {"sites": ["CHB", "CHB"]}}, "/scope/sites"),
    ("the ministry after it", {"issuer": "科学技术部", "valid_from": date(2024, 5, 1)}, "/issuer"),
    ("the commission too early", {"issuer": "国家卫生健康委员会", "valid_from": date(2024, 4, 30)}, "/issuer"),
    ("the day it was issued counts", {"issuer": "科技部", "issued_on": date(2024, 5, 1)}, "/issuer"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "pointer"), [r[1:] for r in WRONG], ids=[r[0] for r in WRONG])
def test_wrong_papers_are_refused(bank: Bank, changes, pointer) -> None:
    with pytest.raises(ProblemError) as error:
        bank.database.write(lambda conn: put(conn, replace(DRAFT, **changes)))
    assert error.value.code == "invalid_request"
    assert pointer in {each.pointer for each in error.value.errors}


RIGHT = [
    ("the ministry's last day", {"issuer": "科学技术部", "valid_from": date(2024, 4, 30)}),
    ("the commission's first", {"issuer": "国家卫生健康委", "valid_from": date(2024, 5, 1)}),
    ("issued before it begins", {"issuer": "MOST", "issued_on": date(2024, 4, 30)}),
    ("a province's commission", {"issuer": "广东省卫生健康委", "valid_from": date(2024, 4, 30)}),
    ("no paper of the authority's", {"kind": "ethics", "issuer": "科技部 committee"}),
    ("a number like no other", {"number": "国科遗办审字〔2015〕83号"}),
]


@pytest.mark.parametrize("changes", [r[1] for r in RIGHT], ids=[r[0] for r in RIGHT])
def test_a_paper_says_what_it_is(bank: Bank, changes) -> None:
    whole = {"scope": {"sites": ["CHB"]}, "documents": {"annex": "a" * 64}}
    draft = replace(DRAFT, **whole | changes)
    paper = bank.database.write(lambda conn: put(conn, draft))
    assert (paper.number, paper.issued_on) == (draft.number, draft.issued_on)
    assert (paper.states("sites"), paper.documents) == ({"CHB"}, {"annex": "a" * 64})
    assert (paper.recorded_by, paper.checked_by) == ("psn_a", "psn_b")


@pytest.mark.parametrize("wrong", ["holder_id", "project_id", "collection_id"])
def test_papers_of_nobody_are_refused(bank: Bank, wrong: str) -> None:
    with pytest.raises(ProblemError, match="not_found"):
        bank.database.write(lambda conn: put(conn, replace(DRAFT, **{wrong: "x_nothing"})))


FREE: dict[str, object] = {"project_id": None, "holder_id": "pty_foreign_university"}
OURS = FREE | {"holder_id": "pty_bank"}
BINDING = [
    # name, what differs from a paper of this project, whether it speaks to the question
    ("of this project", {}, True),
    ("of another project", {"project_id": "prj_hospital_hmb"}, False),
    ("of none", FREE, False),
    ("ethics of none", FREE | {"kind": "ethics"}, False),
    ("a licence not the bank's", FREE | {"kind": "preservation"}, False),
    ("the bank's licence", OURS | {"kind": "preservation"}, True),
    ("of a collection asked for", FREE | {"kind": "deposit", "collection_id": "col_chb"}, True),
    ("of another collection", FREE | {"kind": "deposit", "collection_id": "col_chs"}, False),
    (
        "an assessment naming the parties",
        OURS | {"kind": "pia", "scope": {"parties": ["pty_foreign_university"]}},
        True,
    ),
    ("one naming others", OURS | {"kind": "pia", "scope": {"parties": ["pty_cart_jv"]}}, False),
]


@pytest.mark.parametrize(
    ("changes", "speaks"), [r[1:] for r in BINDING], ids=[r[0] for r in BINDING]
)
def test_binding(bank: Bank, changes, speaks) -> None:
    def unit(conn: Connection) -> bool:
        paper = put(conn, replace(DRAFT, **changes))
        counting = papers.counting(conn, FIT, bank_party_id="pty_bank")
        return paper.id in {each.id for each in counting}

    assert bank.database.write(unit) is speaks


BETTER = [
    ("in force", {}, {"valid_to": date(2026, 11, 21)}),
    ("on its last day", {"valid_to": DAY}, {"valid_from": date(2026, 11, 23)}),
    ("with the right parties", {"scope": {"parties": ["pty_foreign_university"]}}, {}),
    ("for this data set", {"scope": {"dataset_sha256": ["d1", "d2"]}}, {"scope": {"dataset_sha256": ["d2"]}}),
    ("with something left", {"quotas": {"people": 1}}, {"quotas": {"people": 0}, "valid_to": date(2030, 1, 1)}),
    ("lasting longer", {"valid_to": date(2029, 1, 1)}, {}),
    ("without an end", {"valid_to": None, "open_ended": True}, {"valid_to": date(2050, 1, 1)}),
]  # fmt: skip


@pytest.mark.parametrize(("better", "worse"), [r[1:] for r in BETTER], ids=[r[0] for r in BETTER])
def test_the_best_paper_is_chosen_in_either_order(bank: Bank, better, worse) -> None:
    for first, second in ((better, worse), (worse, better)):

        def unit(conn: Connection, first=first, second=second) -> str:
            for draft in (first, second):
                put(conn, replace(DRAFT, **draft))
            found = papers.counting(conn, FIT, bank_party_id="pty_bank")
            paper = papers.choose(found, "prior_report", FIT)
            assert paper is not None
            for each in found:
                if each.kind == "prior_report":
                    papers.void(conn, each.id, reason="test", now=START)
            return "better" if _is(paper, better) else "worse"

        assert bank.database.write(unit) == "better"


def _is(paper: Paper, draft: dict[str, object]) -> bool:
    said = {"valid_to": DRAFT.valid_to, "valid_from": DRAFT.valid_from, "scope": {}} | draft
    quotas = {quota.measure: quota.total for quota in paper.quotas}
    return (
        paper.valid_to == said["valid_to"]
        and paper.valid_from == said["valid_from"]
        and dict(paper.scope) == said["scope"]
        and quotas == draft.get("quotas", {})
    )


def test_facts_of_a_paper(bank: Bank) -> None:
    draft = replace(
        DRAFT,
        kind="ethics",
        scope={"purposes": ["health"], "parties": ["pty_foreign_university"], "committee_registered": True},
        quotas={"people": 5, "units": 0, "bytes": 9}, drawn={"people": 1, "units": 0, "bytes": 0},
    )  # fmt: skip
    paper = bank.database.write(lambda conn: put(conn, draft))
    assert papers.facts(paper, "ethics", FIT) == {
        "paper.ethics.recorded": True,
        "paper.ethics.valid_from": date(2026, 11, 1),
        "paper.ethics.valid_to": date(2027, 10, 31),
        "paper.ethics.open_ended": False,
        "paper.ethics.purposes": frozenset({"health"}),
        "paper.ethics.parties_match": True,
        "paper.ethics.counts": frozenset({"people", "units"}),
        "paper.ethics.people_total": 5,
        "paper.ethics.units_total": 0,
        "paper.ethics.people_left": 4,
        "paper.ethics.units_left": 0,
        "paper.ethics.exhausted": True,
        "paper.ethics.committee_registered": True,
    }
    assert papers.facts(None, "exit", FIT) == {"paper.exit.recorded": False}


def test_what_was_drawn_before_a_paper_was_recorded_is_unknown_until_it_is_said(bank: Bank) -> None:
    draft = replace(DRAFT, quotas={"people": 5, "units": 9}, drawn={"people": 2})
    said = papers.facts(bank.database.write(lambda conn: put(conn, draft)), "exit", FIT)
    assert (said["paper.exit.people_left"], said["paper.exit.units_total"]) == (3, 9)
    assert {"paper.exit.units_left", "paper.exit.exhausted"}.isdisjoint(said)
    draft = replace(draft, drawn={"people": 5})
    said = papers.facts(bank.database.write(lambda conn: put(conn, draft)), "exit", FIT)
    assert said["paper.exit.exhausted"] is True, "of people, whatever is left of units"


def test_lists(bank: Bank) -> None:
    with bank.database.read() as conn:
        mine = papers.listed(conn, project_id="prj_sino_foreign")
        assert {paper.kind for paper in mine} == {
            "ethics",
            "cooperation",
            "standard_contract",
            "pia",
        }
        assert [p.id for p in papers.listed(conn, holder_id="pty_cart_jv")] == [
            "ppr_ethics_jv_car_t"
        ]
        assert len(papers.listed(conn)) > len(mine)
        with pytest.raises(ProblemError, match="not_found"):
            papers.read(conn, "ppr_none")


def test_papers_that_change_a_licence_count_with_it(bank: Bank) -> None:
    approval = bank.database.write(
        lambda conn: put(
            conn,
            replace(DRAFT, kind="change_approval", quotas={"units": 200}, drawn={"units": 0}),
        )
    )
    drawn = replace(QUOTA, total=100, reserved=40, released=0)
    statement = replace(approval, kind="change_statement", quotas=(drawn,))
    licence = replace(
        approval, kind="cooperation", quotas=(QUOTA, replace(QUOTA, measure="people"))
    )
    day = approval.valid_from
    raised = papers.raised(licence, [approval, statement, None], day)
    assert raised is not None
    assert [(quota.total, quota.used) for quota in raised.quotas] == [(1205, 45), (1005, 5)]
    before = papers.raised(licence, [approval, statement], day - timedelta(days=1))
    assert before == licence
    assert papers.raised(None, [approval], day) is None


QUOTA = papers.Quota(id="q", measure="units", total=1005, opened=True, reserved=3, released=2)
