"""What is generated from the packs is current, and tells what is missing and what changed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from policies import pack_pages, packs
from policies.rules import Law

LAW = packs.load()
ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_current() -> None:
    assert (ROOT / "policies/packs/README.md").read_text("utf-8") == pack_pages.readme(LAW)
    assert (ROOT / "docs/law-coverage.md").read_text("utf-8") == pack_pages.coverage(LAW)


def test_the_list_has_all_numbers_once() -> None:
    numbers = pack_pages.numbers()
    assert len(numbers) == len({one.no for one in numbers}) == 95
    assert {one.tier for one in numbers} == {1, 2}


def test_a_number_begins_no_earlier_than_the_list_says() -> None:
    """A rule of a number stands from the day of the list, or changes one that does."""
    begins: dict[str, list[date]] = {}
    for edition in LAW.editions:
        for rule in edition.rules:
            begins.setdefault(rule.no, []).append(edition.in_force)
    late = {
        one.no: (one.in_force, min(begins[one.no]))
        for one in pack_pages.numbers()
        if one.no in begins and one.in_force and min(begins[one.no]) > one.in_force
    }
    assert late == {}
    never = {
        one.no: one.in_force
        for one in pack_pages.numbers()
        if one.no in begins and one.in_force and one.in_force not in begins[one.no]
    }
    # Their table dates the Implementing Rules; before them the Regulations said the same more broadly.
    assert set(never) <= {"R-FOR-06", "R-AUD-03"}


def test_a_number_without_a_rule_is_told() -> None:
    bare = Law(LAW.vocabulary, [e for e in LAW.editions if e.pack != "eu-gdpr"], LAW.digests)
    assert "R-EU-01" in pack_pages.missing(bare)
    assert "R-EU-01" in pack_pages.coverage(bare).splitlines()[5]
    assert "| R-EU-01 | 欧盟接收方 EU receiver | **missing** |" in pack_pages.coverage(bare)


def test_drafts_stand_apart_from_what_is_in_force() -> None:
    assert "`cn-hgr/2026-05-08.draft.yaml`" in pack_pages.readme(LAW)
    bare = Law(LAW.vocabulary, LAW.editions, LAW.digests)
    assert pack_pages.readme(LAW).startswith(pack_pages.readme(bare))
    assert "draft" not in pack_pages.readme(bare)


def test_instruments_of_a_day() -> None:
    early = pack_pages.instruments(LAW, date(2018, 6, 1))
    assert [one.name for one in early] == ["eu-gdpr"]
    names = [one.name for one in pack_pages.instruments(LAW, date(2026, 11, 22))]
    assert names == sorted(names)
    assert "cn-decree-818" in names


def test_differences_are_told_rule_by_rule() -> None:
    def on(day: date) -> dict:
        return {rule.id: rule for rule in LAW.on(day).rules}

    before, after = on(date(2023, 6, 30)), on(date(2023, 7, 1))
    found = {
        rule.id: (what, fields) for what, rule, fields in pack_pages.differences(before, after)
    }
    assert found["kind-within-preservation-licence"] == ("added", "")
    assert found["information-class-open-before-implementing-rules"] == ("gone", "")
    what, fields = found["filed-trial-is-a-basis"]
    assert what == "changed"
    assert "when" in fields
    assert "level" not in fields
    assert not list(pack_pages.differences(after, after))


def test_a_citation_more_is_a_difference_and_the_rule_says_since_when() -> None:
    def on(day: date) -> dict:
        return {rule.id: rule for rule in LAW.on(day).rules}

    before, after = on(date(2021, 4, 14)), on(date(2021, 4, 15))
    found = {rule.id: fields for _, rule, fields in pack_pages.differences(before, after)}
    harm = "no-harm-to-health-security-or-public-interest"
    assert found[harm] == "cite"
    (edition,) = [one.rule for one in pack_pages.versions(LAW, "cn-hgr", harm)]
    said = "《人类遗传资源管理条例》第八条；《生物安全法》第五十五条"
    assert pack_pages.cited(edition, "zh") == said
    assert pack_pages.cited(edition, "zh", since=True) == f"{said}（2021-04-15 起）"
    assert pack_pages.cited(edition, "en", since=True).endswith("art. 55 (since 2021-04-15)")
    assert pack_pages.cited(before[harm], "en") == "HGR Regulations art. 8"


def test_an_instrument_is_called_by_its_first_edition_and_keeps_what_ended() -> None:
    hgr = {one.name: one for one in pack_pages.instruments(LAW, date(2026, 11, 22))}["cn-hgr"]
    assert "Decree 717" in hgr.title["en"]
    assert [rule.id for rule in hgr.ended] == ["information-class-open-before-implementing-rules"]
    before = {one.name: one for one in pack_pages.instruments(LAW, date(2023, 6, 30))}["cn-hgr"]
    assert before.ended == ()
    assert hgr.ended[0] in before.rules


def test_versions_of_a_rule() -> None:
    old, new = pack_pages.versions(LAW, "cn-hgr", "prior-report-needed")
    assert (old.edition.in_force, new.edition.in_force) == (date(2019, 7, 1), date(2021, 4, 15))
    assert (old.until, new.until) == (new.edition, None)
    (gone,) = pack_pages.versions(LAW, "cn-hgr", "information-class-open-before-implementing-rules")
    assert gone.until is not None
    assert gone.rule.id in gone.until.ends
    *_, stands, draft = pack_pages.versions(LAW, "cn-hgr", "non-genetic-information-is-outside")
    assert draft.edition.is_draft
    assert stands.until is None
    assert pack_pages.versions(LAW, "cn-pipl", "prior-report-needed") == ()


def test_rules_are_found_by_every_word_in_either_language() -> None:
    rules = LAW.on(date(2026, 11, 22)).rules
    found = {rule.no for rule in pack_pages.speaking_of(rules, "R-INF-03 security 安全审查")}
    assert found == {"R-INF-03"}
    assert pack_pages.speaking_of(rules, "") == rules
    assert pack_pages.speaking_of(rules, "no rule says this") == ()
