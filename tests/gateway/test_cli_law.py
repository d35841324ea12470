"""The policy author's commands as they are typed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app

FACTS = """
as_of: 2026-11-22
request.action: release
request.price_fen: 500
request.cost_fen: 400
item.class: material
consent.covers: true
people: 30
"""


def hgr(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    file = tmp_path / "facts.yaml"
    file.write_text(FACTS)
    return file


def test_decide_explains_in_both_languages(facts: Path) -> None:
    made = hgr("decide", str(facts))
    assert made.exit_code == 1
    assert "结论：不得提供" in made.output
    assert "Outcome: denied" in made.output
    assert "R-GEN-04" in made.output


def test_decide_as_json_with_one_instrument_and_a_way(facts: Path) -> None:
    facts.write_text(
        "request.action: teaching\nitem.class: material\nconsent.covers: true\npeople: 30\n"
    )
    made = hgr("decide", str(facts), "--packs", "institution", "--on", "2026-01-31", "--json")
    answer = json.loads(made.stdout)
    assert answer["outcome"] == "refer"
    assert {one["pack"] for one in answer["findings"]} <= {"institution", "pdp"}
    assert answer["ways"] == [] or answer["ways"][0]["outcome"] in {"permit", "refer"}
    assert made.exit_code == 0


def test_decide_shows_a_way(facts: Path) -> None:
    facts.write_text(
        "request.action: incident\nitem.class: information\nitem.data_class: aggregate\n"
        "consent.covers: true\npeople: 30\nrequest.emergency_exemption: true\n"
    )
    made = hgr("decide", str(facts), "--packs", "us-28cfr202,cn-criminal-law", "--no-ways")
    assert made.exit_code in {0, 1}
    assert "Way 1" not in made.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--on", "tomorrow"], "`tomorrow` is no day"),
        (["--packs", "cn-hgrr"], "no instrument `cn-hgrr`"),
        (["--from", "/nowhere"], "cannot be read"),
    ],
)
def test_decide_names_what_is_wrong(facts: Path, arguments: list[str], said: str) -> None:
    made = hgr("decide", str(facts), *arguments)
    assert made.exit_code == 2
    assert said in made.output


def test_decide_tells_every_mistake_of_the_file(facts: Path) -> None:
    facts.write_text("request.acton: release\nrequest.commercial: 1\n")
    made = hgr("decide", str(facts))
    assert made.exit_code == 2
    assert "facts.yaml:1: request.acton: unknown fact" in made.output
    assert "未知事实 `request.acton`" in made.output
    assert "[unknown_fact]" in made.output
    assert "facts.yaml:2: request.commercial" in made.output
    facts.write_text("a: [")
    assert "not YAML" in hgr("decide", str(facts)).output


VIE = """
request.action: release
request.purpose: HMB
request.research_use: true
requester.present: false
sponsor.present: false
beneficiary.present: false
host.present: false
users.individual_capacity: false
recipient.present: true
recipient.country: CN
recipient.individual: false
recipient.foreign_share_product: 0/1
recipient.foreign_share_chain: 0/1
recipient.foreign_votes: 0/1
recipient.contract_control: true
recipient.influence: none
recipient.role: partner
recipient.has_access: true
project.chinese_partner: false
item.class: material
item.contains_cells: true
item.extracted_nucleic_acid: false
item.derived: primary
consent.covers: true
people: 30
"""


def test_decide_with_draft_says_what_the_draft_would_change(facts: Path) -> None:
    facts.write_text(VIE)
    plain = hgr("decide", str(facts), "--no-ways", "--on", "2026-11-22")
    made = hgr("decide", str(facts), "--no-ways", "--on", "2026-11-22", "--with-draft")
    assert plain.exit_code == made.exit_code == 1
    assert made.output.startswith(plain.output)
    rest = made.output.removeprefix(plain.output)
    assert "it is not law and decides nothing): cn-hgr/2026-05-08.draft.yaml" in rest
    assert "不得提供 denied → 转合规人员判断 referred to an officer" in rest
    assert "[R-FOR-02] foreign-party-works-with-chinese-partner" in rest
    before = hgr("decide", str(facts), "--no-ways", "--on", "2026-05-07", "--with-draft")
    assert "no draft had been published by that day" in before.output


def test_decide_with_draft_as_json_keeps_the_decision_apart(facts: Path) -> None:
    facts.write_text(VIE)
    arguments = ("decide", str(facts), "--no-ways", "--on", "2026-11-22", "--with-draft", "--json")
    answer = json.loads(hgr(*arguments).stdout)
    assert answer["outcome"] == "deny"
    assert not any("draft" in name for name in answer["digests"])
    assert answer["with_draft"]["outcome"] == "refer"
    assert answer["with_draft"]["drafts"] == ["cn-hgr/2026-05-08.draft.yaml"]
    assert ["R-FOR-02", "foreign-party-works-with-chinese-partner"] in answer["with_draft"]["rules"]


def test_there_may_be_no_draft(facts: Path) -> None:
    facts.write_text(VIE)
    made = hgr("decide", str(facts), "--packs", "eu-gdpr", "--with-draft")
    assert (made.exit_code, "no draft among the packs" in made.output) == (2, True)


def test_show_marks_a_draft_as_not_in_force() -> None:
    shown = hgr("packs", "show", "cn-hgr", "--on", "2026-11-22", "--with-draft").output
    assert "未施行 · not in force" in shown
    assert "征求意见稿不再以实际控制认定外方单位" in shown
    assert "征求意见稿" not in hgr("packs", "show", "cn-hgr", "--on", "2026-11-22").output


def test_show_a_rule_as_of_a_day() -> None:
    shown = hgr("packs", "show", "cn-pipl", "--on", "2021-11-01")
    assert shown.exit_code == 0
    assert "R-GEN-06" in shown.output
    assert "R-PIP-06" not in shown.output
    assert "条号待核" not in shown.output
    assert "any_foreign" not in shown.output
    none = hgr("packs", "show", "cn-decree-818", "--on", "2026-04-30")
    assert none.exit_code == 2
    assert "no rule in force on 2026-04-30 is or speaks of `cn-decree-818`" in none.output


def test_diff_of_days_and_directories(tmp_path: Path) -> None:
    same = hgr("packs", "diff", "2026-11-01", "2026-11-02")
    assert (same.exit_code, "0 rules differ" in same.output) == (0, True)
    changed = hgr("packs", "diff", "2026-04-30", "2026-05-01")
    assert changed.exit_code == 1
    assert "+ R-818-01" in changed.output
    assert "    开展生物医学新技术临床研究，应当备案" in changed.output
    assert hgr("packs", "diff", "2026-04-30", str(tmp_path)).exit_code == 2
    assert hgr("packs", "diff", "2023-07-01").exit_code == 1


def test_diff_shows_conditions_before_and_after() -> None:
    made = hgr("packs", "diff", "2024-12-31", "2025-01-01")
    assert (
        "~ R-PRE-01  preservation-licence-has-not-lapsed (cn-hgr/2025-01-01) applies" in made.output
    )
    assert "    + applies: (“" in made.output
    assert "    - applies: ·" in made.output or "    - applies: (“" in made.output


def test_diff_shows_what_a_rule_cites_since_a_text_is_in_force() -> None:
    made = hgr("packs", "diff", "2021-04-14", "2021-04-15")
    assert "~ R-GEN-02  no-harm-to-health-security-or-public-interest" in made.output
    assert "    - cite: HGR Regulations art. 8\n" in made.output
    assert "    + cite: HGR Regulations art. 8; Biosecurity Law art. 55\n" in made.output


def test_diff_hears_a_draft_only_if_asked_and_says_that_it_is_one() -> None:
    same = hgr("packs", "diff", "2026-05-09", "2026-05-09")
    drafted = hgr("packs", "diff", "2026-05-09", "2026-05-09", "--with-draft")
    assert (same.exit_code, drafted.exit_code) == (0, 1)
    assert "征求意见稿 · draft, not law" in drafted.output
    assert drafted.output.count("draft, not law") == 2
    assert "2 rules differ" in drafted.output


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("R-INF-03", "security-review-needed"),
        ("security-review-needed", "R-INF-03"),
        ("安全审查", "security-review-needed"),
        ("r-inf-03 exome", "→ "),
    ],
)
def test_show_finds_a_rule_by_number_id_or_word(wanted: str, said: str) -> None:
    made = hgr("packs", "show", wanted, "--on", "2026-11-22")
    assert made.exit_code == 0
    assert said in made.output
    assert "R-PIP-01" not in made.output


@pytest.mark.parametrize("effect", ["deny", "refer", "require", "oblige", "permit"])
def test_a_new_rule_is_shown_for_every_effect(effect: str) -> None:
    made = hgr("packs", "new-rule", "my-rule", "--no", "R-XXX-01", "--effect", effect)
    assert made.exit_code == 0
    assert f"effect: {effect}" in made.output
    assert made.output.count("expect:") == 3


def test_a_new_rule_is_begun_in_its_files_and_passes_once_filled_in(tmp_path: Path) -> None:
    directory = tmp_path / "packs"
    shutil.copytree(Path("policies/packs"), directory)
    edition = directory / "cn-decree-818/2026-05-01.yaml"
    before = edition.read_text("utf-8")
    begin = ("packs", "new-rule", "my-rule", "--no", "R-XXX-01", "--into", str(edition))
    assert hgr(*begin, "--fact", "request.commercial").exit_code == 0
    assert edition.read_text("utf-8").startswith(before.rstrip())
    open_ = hgr("packs", "check", "--packs", str(directory))
    assert open_.exit_code == 1
    assert (
        "rules.2.says.zh: `‹中文，以此为准›` is to be filled in (尚待填写) [unfilled]"
        in open_.output
    )
    told = [line for line in open_.output.splitlines()[:-1] if not line.startswith("note · ")]
    assert told
    assert all("[unfilled]" in line for line in told)
    for file in (edition, edition.with_suffix(".cases.yaml")):
        file.write_text(re.sub("‹[^›]*›", "x", file.read_text("utf-8")), "utf-8")
    assert hgr("packs", "check", "--packs", str(directory)).exit_code == 0
    changed = hgr("packs", "diff", "2026-05-01", str(directory))
    assert "+ R-XXX-01" in changed.output


def test_a_new_rule_begins_an_edition(tmp_path: Path) -> None:
    """And a list that is empty: what the file says above it stays."""
    directory = tmp_path / "packs"
    shutil.copytree(Path("policies/packs"), directory)
    edition = directory / "institution/2027-01-01.yaml"
    begin = ("packs", "new-rule", "my-rule", "--no", "R-XXX-01", "--fact", "any_foreign", "--into")
    assert hgr(*begin, str(edition)).exit_code == 0
    assert hgr(*begin, str(directory / "institution/2023-07-01.yaml")).exit_code == 0
    text = (directory / "institution/2023-07-01.yaml").read_text("utf-8")
    assert text.startswith(Path("policies/packs/institution/2023-07-01.yaml").read_text()[:-10])
    shutil.copy(Path("policies/packs/institution/2023-07-01.yaml"), directory / "institution")
    shutil.copy(Path("policies/packs/institution/2023-07-01.cases.yaml"), directory / "institution")
    left = hgr("packs", "check", str(directory))
    assert left.exit_code == 1
    assert "institution/2027-01-01.yaml:3: title.zh" in left.output
    for file in (edition, edition.with_suffix(".cases.yaml")):
        text = file.read_text("utf-8").replace("‹https://…›", "https://bank.example/rules")
        file.write_text(re.sub("‹[^›]*›", "x", text), "utf-8")
    assert hgr("packs", "check", str(directory)).output.endswith("\n0 mistakes in the packs\n")
    assert hgr("packs", "show", "R-XXX-01", "--packs", str(directory)).exit_code == 2
    shown = hgr("packs", "show", "R-XXX-01", "--packs", str(directory), "--on", "2027-01-01")
    assert "institution/2027-01-01" in shown.output


def test_a_new_rule_on_an_unknown_fact_is_told_what_is_near() -> None:
    made = hgr("packs", "new-rule", "my-rule", "--no", "R-XXX-01", "--fact", "recipient.forein")
    assert "no fact of the shipped vocabulary: `recipient.forein`" in made.stderr
    assert "recipient.foreign" in made.stderr
    assert "recipient.forein" in made.stdout


def test_a_new_rule_goes_only_where_it_belongs(tmp_path: Path) -> None:
    begin = ("packs", "new-rule", "my-rule", "--no", "R-XXX-01", "--into")
    file = tmp_path / "2027-01-01.yaml"
    file.write_text("rules:\n  - {id: a}\nends: [b]\n")
    refused = hgr(*begin, str(file))
    assert refused.exit_code == 2
    assert "must be a list at the end of the file" in refused.output
    assert file.read_text() == "rules:\n  - {id: a}\nends: [b]\n"
    assert "is no day" in hgr(*begin, str(tmp_path / "new.yaml")).output
    assert hgr("packs", "new-rule", "r", "--no", "R-1", "--effect", "allow").exit_code == 2


def test_generated_pages_are_checked_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies/packs").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for command, file in (
        ("readme", "policies/packs/README.md"), ("coverage", "docs/law-coverage.md"),
    ):  # fmt: skip
        stale = hgr("packs", command, "--check")
        assert stale.exit_code == 1
        assert "write it with --write" in stale.output
        hgr("packs", command, "--write")
        assert (tmp_path / file).is_file()
    assert hgr("packs", "readme").exit_code == 0
