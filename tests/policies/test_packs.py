"""Packs: what loads, the law on a day, and every kind of mistake told with its file and key."""

import re
import shutil
import subprocess
import sys
from datetime import date, timedelta
from hashlib import sha256

import pytest

from policies import packs
from policies.packs import PackError
from policies.request import PolicyError
from policies.vocabulary import Level, Scope
from tests.policies.small import CLEAR, DIRECTORY, FUNCTIONS, small_law

ALPHA = "alpha/2020-01-01.yaml"
BETA = "beta/2020-01-01.yaml"
BETA_2025 = "beta/2025-01-01.yaml"
BETA_CASES = "beta/2020-01-01.cases.yaml"
WORDS = "vocabulary.yaml"


@pytest.fixture
def copy(tmp_path):
    """A copy of the small packs that may be broken."""
    return shutil.copytree(DIRECTORY, tmp_path / "packs")


def edit(directory, file, old, new):
    path = directory / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def add_rule(directory, file, rule):
    path = directory / file
    path.write_text(path.read_text("utf-8") + rule, "utf-8")


def precise(mistake):
    """Whether it has a code, and names in Chinese whatever it names in English."""
    named = set(re.findall("`[^`]*`", mistake.en))
    return bool(mistake.code and mistake.zh) and named <= set(re.findall("`[^`]*`", mistake.zh))


def test_the_shipped_packs_have_no_mistakes():
    assert packs.check() == ()
    assert packs.load().on(date(2026, 11, 22)).rules


def test_the_small_packs_have_no_mistakes():
    assert packs.check(DIRECTORY, FUNCTIONS) == ()


@pytest.mark.parametrize(
    ("day", "in_force"),
    [
        pytest.param(date(2019, 12, 31), {}, id="before any edition"),
        pytest.param(
            date(2020, 1, 1),
            {"rumour-denies": date(2020, 1, 1), "old-custom": date(2020, 1, 1)},
            id="first day",
        ),
        pytest.param(
            date(2024, 12, 31),
            {"rumour-denies": date(2020, 1, 1), "old-custom": date(2020, 1, 1)},
            id="last day",
        ),
        pytest.param(
            date(2025, 1, 1), {"rumour-denies": date(2025, 1, 1)}, id="replaced and ended"
        ),
        pytest.param(date(9999, 12, 31), {"rumour-denies": date(2025, 1, 1)}, id="ever after"),
    ],
)
def test_the_law_on_a_day_is_the_fold_of_its_editions(day, in_force):
    law = small_law().on(day)
    found = {rule.id: rule.edition for rule in law.rules}
    wanted = ("rumour-denies", "old-custom")
    assert {rule: found[rule] for rule in wanted if rule in found} == in_force
    assert (law.rule("old-custom") is None) is ("old-custom" not in in_force)
    assert law is small_law().on(day)


def test_the_law_has_the_digests_of_what_it_rests_on():
    before = small_law().on(date(2024, 12, 31)).digests
    after = small_law().on(date(2025, 1, 1)).digests
    alpha = sha256((DIRECTORY / ALPHA).read_bytes()).hexdigest()
    assert before[f"packs/{ALPHA}"] == after[f"packs/{ALPHA}"] == alpha
    assert set(after) - set(before) == {f"packs/{BETA_2025}"}
    others = {"checked.yaml", "vocabulary.yaml", "derived", "pdp", "duo", "disease"}
    assert set(before) - {f"packs/{ALPHA}", f"packs/{BETA}"} == others


def test_rules_come_by_level_sorted_by_pack_number_and_id():
    law = small_law().on(date(2025, 1, 1))
    keys = [(rule.pack, rule.no, rule.id) for rule in law.rules]
    assert keys == sorted(keys)
    assert sorted(r.id for r in (*law.request, *law.stratum)) == sorted(r.id for r in law.rules)
    assert {rule.level for rule in law.stratum} == {Level.STRATUM}


def test_a_correction_replaces_its_edition(copy):
    for ending in (".yaml", ".cases.yaml"):
        shutil.copy(copy / f"beta/2025-01-01{ending}", copy / f"beta/2025-01-01.r2{ending}")
    edit(copy, "beta/2025-01-01.r2.yaml", "is: 16", "is: 17")
    edit(copy, "beta/2025-01-01.r2.cases.yaml", "request.price: 16", "request.price: 17")
    assert packs.check(copy, FUNCTIONS) == ()
    digests = packs.load(copy, FUNCTIONS).on(date(2025, 1, 1)).digests
    assert "packs/beta/2025-01-01.r2.yaml" in digests
    assert f"packs/{BETA_2025}" not in digests


def test_a_confirmed_rule_is_no_longer_tentative(copy):
    assert small_law().on(date(2024, 6, 1)).rule("rumour-denies").is_tentative
    (copy / "checked.yaml").write_text(
        "checked:\n  - {rule: rumour-denies, by: 律师甲, on: 2026-01-01, note: 原文已核}\n", "utf-8"
    )
    assert not packs.load(copy, FUNCTIONS).on(date(2024, 6, 1)).rule("rumour-denies").is_tentative


def test_templates_fill_in_names_and_texts():
    facts = small_law().vocabulary.facts
    assert facts["paper.licence.recorded"].says == {
        "zh": "已登记许可",
        "en": "a licence is recorded",
    }
    assert facts["any_paper"].derived.inputs == ("paper.licence.in_force", "paper.report.in_force")


DRAFT = """\
pack: beta
title: {zh: 测试法（草案）, en: Test Law (draft)}
link: https://example.org/draft
published: 2024-06-01
ends: [rumour-permits]
derived: {any_foreign: only_japan}
rules:
  - id: rumour-denies
    no: B-01
    level: request
    effect: deny
    says: {zh: 规则, en: drafted}
    fix: {zh: 补救, en: cure}
    cite: [{law: Test, article: "1", zh: 第一条, en: art. 1}]
    confidence: {content: high, article: high}
    owner: institution
    when: {fact: any_foreign, is: true}
"""
DRAFT_CASES = """\
cases:
  - {rule: rumour-denies, name: "holds", as_of: 2024-06-01, facts: {recipient.country: JP}, expect: holds}
  - {rule: rumour-denies, name: "does not", as_of: 2025-01-01, facts: {recipient.country: US}, expect: does_not_hold}
  - {rule: rumour-denies, name: "unknown", as_of: 2024-06-01, facts: {}, expect: unknown}
"""
DRAFTED = {
    **FUNCTIONS,
    "only_japan": lambda look: (
        None if look("recipient.country") is None else look("recipient.country") == "JP"
    ),
}


@pytest.fixture
def drafted(copy):
    (copy / "beta/2024-06-01.draft.yaml").write_text(DRAFT, "utf-8")
    (copy / "beta/2024-06-01.draft.cases.yaml").write_text(DRAFT_CASES, "utf-8")
    return copy


def test_a_draft_never_speaks_and_is_shown_from_its_publication_over_every_edition(drafted):
    assert packs.check(drafted, DRAFTED) == ()
    law = packs.load(drafted, DRAFTED)
    assert [one.file for one in law.drafts] == ["beta/2024-06-01.draft.yaml"]
    assert not any(one.is_draft for one in law.editions)
    shown = law.with_drafts()
    for day, is_shown in (
        (date(2024, 5, 31), False),
        (date(2024, 6, 1), True),
        (date(2025, 6, 1), True),
    ):
        assert law.on(day).digests == small_law().on(day).digests
        assert law.on(day).vocabulary is law.vocabulary
        rule = shown.on(day).rule("rumour-denies")
        assert (rule.says["en"] == "drafted") is is_shown
        assert ("packs/beta/2024-06-01.draft.yaml" in shown.on(day).digests) is is_shown
        foreign = shown.on(day).vocabulary.facts["any_foreign"].derived.function
        assert foreign({"recipient.country": "US"}.get) is not is_shown
    assert law.on(date(2024, 6, 1)).rule("rumour-permits") is not None
    assert shown.on(date(2024, 6, 1)).rule("rumour-permits") is None


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        pytest.param("published: 2", "in_force: 2", "in_force", "not a key", id="never in force"),
        pytest.param("2024-06-01", "2024-06-02", "published", "named 2024-06-01", id="day"),
        pytest.param(
            "any_foreign: only_japan",
            "request.price: only_japan",
            "derived",
            "no derived",
            id="given",
        ),
        pytest.param(
            "any_foreign: only_japan", "anything: only_japan", "derived", "no derived", id="unknown"
        ),
        pytest.param("any_foreign: only_japan", "any_foreign: [x]", "derived", "", id="no text"),
        pytest.param("only_japan", "nowhere", "derived", "no function `nowhere`", id="function"),
        pytest.param(
            "ends: [rumour-permits]", "ends: [nothing-forbidden]", "ends", "not in force", id="ends"
        ),
    ],
)
def test_what_is_wrong_with_a_draft_is_told(drafted, old, new, key, words):
    edit(drafted, "beta/2024-06-01.draft.yaml", old, new)
    mistakes = packs.check(drafted, DRAFTED)
    assert any(one.key.startswith(key) and words in one.en for one in mistakes), mistakes


def test_only_a_draft_redefines_what_is_derived(copy):
    edit(copy, BETA_2025, "ends:", "derived: {any_foreign: any_foreign}\nends:")
    assert [(one.key, "not a key" in one.en) for one in packs.check(copy, FUNCTIONS)] == [
        ("derived", True)
    ]


RULE = """
  - id: new-rule
    no: B-09
    level: request
    effect: deny
    says: {zh: 规则, en: rule}
    fix: {zh: 补救, en: cure}
    cite: [{law: Test, article: "1", zh: 第一条, en: art. 1}]
    confidence: {content: high, article: high}
    owner: bank
    when: {fact: request.price, is: 1}
"""


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "words"),
    [
        pytest.param(
            ALPHA, "effect: deny", "effect: forbid", "rules.0.effect", "not one of", id="effect"
        ),
        pytest.param(
            ALPHA, "owner: institution", "owner: nobody", "rules.0.owner", "not one of", id="owner"
        ),
        pytest.param(
            ALPHA, "level: request", "level: selection", "rules.0.level", "not one of", id="level"
        ),
        pytest.param(
            ALPHA,
            "id: nothing-forbidden",
            "id: Nothing Forbidden",
            "rules.0.id",
            "breaks regex",
            id="slug",
        ),
        pytest.param(
            ALPHA,
            "id: nothing-forbidden",
            'id: "nothing-forbidden\\n"',
            "rules.0.id",
            "breaks regex",
            id="newline",
        ),
        pytest.param(
            ALPHA, "no: T-01", "number: T-01", "rules.0.no", "is missing", id="missing key"
        ),
        pytest.param(
            ALPHA,
            "no: T-01",
            "no: T-01\n    note: x",
            "rules.0.note",
            "not a key",
            id="unknown key",
        ),
        pytest.param(
            ALPHA,
            'cite: [{law: Test, article: "1", zh: 第一条, en: art. 1}]',
            "cite: []",
            "rules.0.cite",
            "empty",
            id="no citation",
        ),
        pytest.param(
            ALPHA,
            'article: "1"',
            "article: 1",
            "rules.0.cite.0.article",
            "of type string",
            id="article is text",
        ),
        pytest.param(
            ALPHA,
            "content: high",
            "content: sure",
            "rules.0.confidence.content",
            "not one of",
            id="confidence",
        ),
        pytest.param(
            ALPHA,
            "months: 12",
            "months: true",
            "rules.12.obligation.months",
            "of type integer",
            id="true is no integer",
        ),
        pytest.param(
            ALPHA,
            "months: 12",
            "months: -1",
            "rules.12.obligation.months",
            "breaks min",
            id="negative months",
        ),
        pytest.param(
            ALPHA,
            "covers: [material.domestic,",
            "covers: [material.abroad,",
            "rules.9.covers.0",
            "not one of",
            id="cover tag",
        ),
        pytest.param(
            ALPHA,
            "    fix: {zh: 补救, en: cure nothing-forbidden}\n",
            "",
            "rules.0.fix",
            "deny demands it",
            id="deny without cure",
        ),
        pytest.param(
            ALPHA,
            "    paper: report\n",
            "",
            "rules.2.paper",
            "require demands it",
            id="require without paper",
        ),
        pytest.param(
            ALPHA,
            "    covers: [material.domestic, information.domestic]\n",
            "",
            "rules.9.covers",
            "permit demands it",
            id="permit without cover",
        ),
        pytest.param(
            ALPHA,
            "    obligation: {id: keep-records, months: 12}\n",
            "",
            "rules.12.obligation",
            "oblige demands it",
            id="oblige without duty",
        ),
        pytest.param(
            ALPHA,
            "when: {fact: request.forbidden,",
            "when: {fact: request.forbiden,",
            "rules.0.when.fact",
            "unknown fact `request.forbiden`",
            id="misspelt fact",
        ),
        pytest.param(
            ALPHA,
            "applies: {fact: any_foreign,",
            "applies: {fact: any_foreigner,",
            "rules.2.applies.fact",
            "unknown fact",
            id="misspelt gate",
        ),
        pytest.param(
            ALPHA,
            "when: {fact: request.forbidden, is: true}",
            "when: {fact: item.suspect, is: true}",
            "rules.0.when",
            "a request rule cannot see `item.suspect`",
            id="request sees no stratum",
        ),
        pytest.param(
            ALPHA,
            "when: {fact: donor.withdrawn, is: true}",
            "when: {fact: selection.people, is: 1}",
            "rules.4.when",
            "a stratum rule cannot see",
            id="stratum sees no selection",
        ),
        pytest.param(
            ALPHA,
            "id: doubt-goes-to-a-person",
            "id: nothing-forbidden",
            "rules.1.id",
            "stands here twice",
            id="duplicate id",
        ),
        pytest.param(
            ALPHA, "pack: alpha", "pack: omega", "pack", "folder `alpha`", id="wrong folder"
        ),
        pytest.param(
            ALPHA,
            "in_force: 2020-01-01",
            "in_force: 2020-01-02",
            "in_force",
            "named 2020-01-01",
            id="wrong date",
        ),
        pytest.param(
            ALPHA,
            "in_force: 2020-01-01",
            "in_force: soon",
            "in_force",
            "of type date",
            id="no date",
        ),
        pytest.param(
            ALPHA, "link: https://example.org/law", "link: law", "link", "breaks regex", id="link"
        ),
        pytest.param(
            ALPHA, "rules:", "rules: x\nold_rules:", "old_rules", "not a key", id="unknown top key"
        ),
        pytest.param(
            ALPHA, "pack: alpha", "pack: alpha\npack: alpha", "-", "duplicate key", id="not strict"
        ),
        pytest.param(
            BETA_2025,
            "ends: [old-custom]",
            "ends: [older-custom]",
            "ends.0",
            "not in force before",
            id="ends nothing",
        ),
        pytest.param(
            BETA_2025,
            "ends: [old-custom]",
            "ends: [rumour-denies]",
            "ends.0",
            "not in force before",
            id="ends what it begins",
        ),
        pytest.param(
            BETA_2025,
            "ends: [old-custom]",
            "ends: [keep-records]",
            "ends.0",
            "not in force before",
            id="ends another pack's",
        ),
        pytest.param(
            BETA_2025,
            "id: rumour-denies",
            "id: keep-records",
            "rules.0.id",
            "also in the pack `alpha`",
            id="another pack's id",
        ),
        pytest.param(
            "checked.yaml",
            "checked: []",
            "checked: [{rule: gone, by: a, on: 2026-01-01, note: b}]",
            "checked.0.rule",
            "no rule or derived fact `gone`",
            id="confirms nothing",
        ),
        pytest.param(
            "checked.yaml",
            "checked: []",
            "checked: [gone]",
            "checked.0",
            "of type dict",
            id="checked misshapen",
        ),
        pytest.param(
            "checked.yaml", "checked: []", "[]", "-", "must be a mapping", id="no mapping"
        ),
        pytest.param(
            WORDS,
            "function: crowded",
            "function: crowds",
            "derived.7",
            "no function `crowds`",
            id="no function",
        ),
        pytest.param(
            WORDS,
            "inputs: [selection.people]",
            "inputs: [selection.persons]",
            "derived.7",
            "unknown fact `selection.persons`",
            id="unknown input",
        ),
        pytest.param(
            WORDS,
            "inputs: [request.price]",
            "inputs: [selection.people]",
            "derived.5",
            "may not read `selection.people`",
            id="input out of sight",
        ),
        pytest.param(
            WORDS,
            "inputs: [item.class]",
            "inputs: [hgr_material]",
            "derived.6",
            "in a circle",
            id="circle",
        ),
        pytest.param(
            WORDS,
            "{name: share,",
            "{name: as_of,",
            "facts.10",
            "declared twice",
            id="duplicate fact",
        ),
        pytest.param(
            WORDS,
            "{name: share,",
            "{name: <party>.share,",
            "facts.10",
            "no template",
            id="no template",
        ),
        pytest.param(
            WORDS,
            "{name: share, type: fraction",
            "{name: share, type: float",
            "facts.10.type",
            "not one of",
            id="no floats",
        ),
    ],
)
def test_mistakes_are_told_with_file_and_key(copy, file, old, new, key, words):
    edit(copy, file, old, new)
    with pytest.raises(PackError) as caught:
        packs.load(copy, FUNCTIONS)
    told = [m for m in caught.value.mistakes if m.file == file and m.key == key]
    assert [m for m in told if words in m.en], caught.value
    assert all(m.line > 0 and precise(m) for m in caught.value.mistakes)
    assert str(told[0]) in str(caught.value)


def test_all_mistakes_of_all_files_are_told_at_once(copy):
    edit(copy, ALPHA, "owner: institution", "owner: nobody")
    edit(copy, ALPHA, "no: T-02", "number: T-02")
    edit(copy, BETA, "effect: permit", "effect: allow")
    found = {(m.file, m.key) for m in packs.check(copy, FUNCTIONS)}
    assert {(ALPHA, "rules.0.owner"), (ALPHA, "rules.1.no"), (BETA, "rules.1.effect")} <= found


@pytest.mark.parametrize(
    ("made", "removed", "file", "words"),
    [
        pytest.param("beta/notes.txt", None, "beta/notes.txt", "neither an edition", id="stray"),
        pytest.param("beta/2030.yaml", None, "beta/2030.yaml", "neither an edition", id="no date"),
        pytest.param(
            "beta/2030-01-01.cases.yaml",
            None,
            "beta/2030-01-01.cases.yaml",
            "no edition beside",
            id="stray cases",
        ),
        pytest.param(
            "beta/2030-01-01.r2.yaml",
            None,
            "beta/2030-01-01.r2.yaml",
            "corrects no edition",
            id="corrects nothing",
        ),
        pytest.param(
            "beta/2020-01-01.r3.yaml",
            None,
            "beta/2020-01-01.r3.yaml",
            "corrects no edition",
            id="skips a revision",
        ),
        pytest.param(
            None, "vocabulary.yaml", "vocabulary.yaml", "cannot be read", id="no vocabulary"
        ),
        pytest.param(None, "checked.yaml", "checked.yaml", "cannot be read", id="no checked.yaml"),
    ],
)
def test_files_that_do_not_belong_or_are_not_there_are_told(copy, made, removed, file, words):
    if made:
        shutil.copy(copy / BETA, copy / made)
    if removed:
        (copy / removed).unlink()
    with pytest.raises(PackError, match=words) as caught:
        packs.load(copy, FUNCTIONS)
    assert file in {mistake.file for mistake in caught.value.mistakes}


def test_a_wrong_vocabulary_says_so_and_not_that_the_packs_name_no_facts(copy):
    edit(copy, WORDS, 'version: "1"', "version: 1")
    assert [(m.key, m.line) for m in packs.check(copy, FUNCTIONS)] == [("version", 2)]


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "words"),
    [
        pytest.param(
            BETA_CASES,
            "request.price: 13}, expect: holds",
            "request.price: 13}, expect: unknown",
            "cases.0.expect",
            "came out as holds, not unknown",
            id="not as expected",
        ),
        pytest.param(
            BETA_CASES,
            "request.price: 13",
            "request.pric: 13",
            "cases.0.facts",
            "unknown fact `request.pric`",
            id="misspelt",
        ),
        pytest.param(
            BETA_CASES,
            "request.price: 13",
            'request.price: "13"',
            "cases.0.facts",
            "is no int",
            id="wrong type",
        ),
        pytest.param(
            BETA_CASES,
            "request.price: 13",
            "request.price: [13]",
            "cases.0.facts",
            "is no int",
            id="list of no texts",
        ),
        pytest.param(
            BETA_CASES,
            "rule: rumour-denies",
            "rule: keep-records",
            "cases.0.rule",
            "not in this edition",
            id="another edition's rule",
        ),
        pytest.param(
            BETA_CASES,
            "as_of: 2024-06-01",
            "as_of: 2025-06-01",
            "cases.0.as_of",
            "edition 2025-01-01 speaks",
            id="another edition's day",
        ),
        pytest.param(
            BETA_CASES,
            "expect: holds",
            "expect: maybe",
            "cases.0.expect",
            "not one of",
            id="misshapen",
        ),
        pytest.param(
            "alpha/2020-01-01.cases.yaml",
            '{rule: crowds-are-told, name: "unknown"',
            '{rule: keep-records, name: "again"',
            "-",
            "no case in which `crowds-are-told` is unknown",
            id="unknown not shown",
        ),
    ],
)
def test_wrong_cases_are_told(copy, file, old, new, key, words):
    edit(copy, file, old, new)
    found = [m for m in packs.check(copy, FUNCTIONS) if m.file == file and m.key == key]
    assert any(words in m.en for m in found), packs.check(copy, FUNCTIONS)
    assert all(precise(m) for m in found)


def test_every_rule_needs_its_three_cases(copy):
    add_rule(copy, BETA, RULE)
    told = [m.en for m in packs.check(copy, FUNCTIONS)]
    assert told == [
        "no case in which `new-rule` does not hold",
        "no case in which `new-rule` holds",
        "no case in which `new-rule` is unknown",
    ]


def test_a_rule_that_is_never_unknown_needs_no_case_for_it(copy):
    gate = "    applies: {fact: share, known: true}\n"
    add_rule(
        copy,
        BETA,
        RULE.replace("{fact: request.price, is: 1}", "{fact: share, known: true}") + gate,
    )
    told = [m.en for m in packs.check(copy, FUNCTIONS)]
    assert not [words for words in told if "is unknown" in words]


def test_an_edition_without_cases_is_told(copy):
    (copy / BETA_CASES).unlink()
    assert [(m.file, m.en) for m in packs.check(copy, FUNCTIONS)] == [
        (BETA_CASES, "the file cannot be read")
    ]


def test_cases_may_give_sets_and_derived_facts(copy):
    rule = RULE.replace("level: request", "level: stratum").replace(
        "{fact: request.price, is: 1}",
        "{all: [{fact: profile.told, within: [purpose]}, {fact: hgr_material, is: true}]}",
    )
    add_rule(copy, BETA, rule)
    row = "  - {{rule: new-rule, name: {0}, as_of: 2024-06-01, facts: {1}, expect: {2}}}\n"
    (copy / BETA_CASES).write_text(
        (copy / BETA_CASES).read_text("utf-8")
        + row.format("given", "{profile.told: [purpose], hgr_material: true}", "holds")
        + row.format("derived", "{profile.told: [], item.class: information}", "does_not_hold")
        + row.format("open", "{profile.told: [purpose]}", "unknown"),
        "utf-8",
    )
    assert packs.check(copy, FUNCTIONS) == ()


def test_a_derived_fact_that_reads_what_it_did_not_declare_is_told():
    functions = {**FUNCTIONS, "crowded": lambda look: look("request.forbidden")}
    assert any(
        "`crowded` reads `request.forbidden`, which is not among its inputs" in mistake.en
        for mistake in packs.check(DIRECTORY, functions)
    )


def test_a_derived_fact_of_low_confidence_is_unknown_until_confirmed(copy):
    def rumoured(law):
        scope = Scope({**CLEAR}, law.vocabulary.derived[Level.REQUEST])
        return scope("rumoured"), scope.roots(("rumoured",))

    assert rumoured(small_law()) == (None, {"rumoured"})
    (copy / "checked.yaml").write_text(
        "checked: [{rule: rumoured, by: 律师甲, on: 2026-01-01, note: 原文已核}]\n", "utf-8"
    )
    functions = {**FUNCTIONS, "rumoured": lambda look: look("request.price") == 10}
    assert rumoured(packs.load(copy, functions)) == (True, {"rumoured"})
    with pytest.raises(PolicyError, match="came out as `10`, not a bool"):
        rumoured(packs.load(copy, FUNCTIONS))


def test_roots_are_the_facts_that_would_have_to_be_supplied():
    vocabulary = small_law().vocabulary
    request = Scope({"as_of": date(2024, 6, 1)}, vocabulary.derived[Level.REQUEST])
    stratum = request.stratum({}, vocabulary.derived[Level.STRATUM])
    assert stratum("any_paper") is None
    assert stratum.roots(("any_paper", "hgr_material", "item.kind")) == {
        "paper.licence.recorded",
        "paper.report.recorded",
        "item.class",
        "item.kind",
    }


def test_the_command_prints_mistakes_and_says_so_by_its_exit_status(copy):
    edit(copy, ALPHA, "owner: institution", "owner: nobody")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "policies.packs", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    shipped = run()
    *notes, last = shipped.stdout.splitlines()
    assert (shipped.returncode, last) == (0, "0 mistakes in the packs")
    unknown = {re.search(r"on which `(\w+)` came into force", note)[1] for note in notes}
    assert unknown == {"ALL", "Customs", "Ethics2016", "Guide2019", "Institution"}
    assert all(note.startswith("note · 提示: ") and "施行日未知" in note for note in notes)
    broken = run(str(copy))
    assert broken.returncode == 1
    assert packs.main([str(copy)]) == 1


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (', en: "Civil Code art. 1007", since: 2021-01-01}', ', en: "Civil Code art. 1007"}', 2),
        ('art. 1007", since: 2021-01-01', 'art. 1007", since: 2020-12-31', 2),
    ],
)
def test_a_text_is_cited_from_its_first_day_on_and_not_before(tmp_path, old, new, key):
    copied = shutil.copytree(packs.shipped(), tmp_path / "packs")
    edit(copied, "cn-hgr/2019-07-01.yaml", old, new)
    (mistake,) = packs.check(copied)
    assert mistake.code == "cited_too_early"
    assert mistake.key.endswith(f".cite.{key}")
    assert "`CivilCode` is in force from 2021-01-01 on" in mistake.en
    assert precise(mistake)
    edit(copied, "labels.yaml", "  CivilCode: 2021-01-01\n", "")
    assert packs.check(copied) == (), "of a text whose day nobody gave there is only a note"


def test_a_later_text_may_be_cited_beside_one_in_force(copy):
    one = 'cite: [{law: Test, article: "1", zh: 第一条, en: art. 1}'
    edit(
        copy,
        ALPHA,
        f"{one}]",
        f'{one}, {{law: Later, article: "2", zh: 第二条, en: art. 2, since: 2022-03-01}}]',
    )
    assert packs.check(copy, FUNCTIONS) == ()
    law = packs.load(copy, FUNCTIONS)
    before, after = (law.on(day) for day in (date(2022, 2, 28), date(2022, 3, 1)))
    rule = "nothing-forbidden"
    assert [one.law for one in before.rule(rule).cite] == ["Test"]
    assert [one.law for one in before.rule(rule).silence.cite] == ["Test"]
    assert [one.law for one in after.rule(rule).cite] == ["Test", "Later"]
    assert before.digests == after.digests
    assert before is law.on(date(2020, 1, 1)), "computed once between two days on which it changes"


def test_editions_far_apart_are_all_found():
    law = small_law()
    days = [date(2020, 1, 1) + timedelta(days=500 * n) for n in range(8)]
    assert [len(law.on(day).rules) for day in days] == [17] * 4 + [16] * 4


# ---- bad input, by kind --------------------------------------------------------------------------

DEEP = "{not: " * 400 + "{fact: request.forbidden, is: true}" + "}" * 400
WHEN = "when: {fact: request.forbidden, is: true}"
BOMB = "\n".join(f"x{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "key", "code"),
    [
        pytest.param(ALPHA, "request.forbidden", "request.forbiden", 15, "rules.0.when.fact", "unknown_fact", id="unknown fact"),
        pytest.param(ALPHA, "request.forbidden, is: true", "request.forbidden, is: 1", 15, "rules.0.when.is", "bad_value", id="wrong type of a value"),
        pytest.param(ALPHA, "request.forbidden, is: true", "request.forbidden, before: 2020-01-01", 15, "rules.0.when.before", "operator_does_not_fit", id="operator of another type"),
        pytest.param(ALPHA, "in_force: 2020-01-01", "in_force: [2020-01-01]", 4, "in_force", "wrong_type", id="wrong type of a key"),
        pytest.param(BETA_2025, "in_force: 2025-01-01", "in_force: 2020-01-01", 4, "in_force", "overlapping_editions", id="overlapping editions"),
        pytest.param(BETA_2025, "id: rumour-denies", "id: keep-records", 7, "rules.0.id", "id_in_two_packs", id="a rule in two packs"),
        pytest.param(ALPHA, "    cite: [{law: Test", "    cited: [{law: Test", 6, "rules.0.cite", "missing_key", id="rule without citation"),
        pytest.param(ALPHA, "en: art. 1}]", "en: art. 1, since: 2020-01-02}]", 12, "rules.0.cite", "nothing_in_force", id="nothing to cite yet"),
        pytest.param(ALPHA, "en: art. 1}]", "en: art. 1, since: soon}]", 12, "rules.0.cite.0.since", "wrong_type", id="no day"),
        pytest.param(ALPHA, WHEN, f"when: {DEEP}", 15, "rules.0.when.not", "too_deep", id="condition of 400 levels"),
        pytest.param(ALPHA, "pack: alpha", f"x0: &a0 [lol]\n{BOMB}\npack: alpha", 1, "x0", "alias", id="billion laughs"),
        pytest.param(ALPHA, "pack: alpha", "pack: alpha\npack: alpha", 2, "-", "duplicate_key", id="duplicate key"),
        pytest.param(ALPHA, "months: 12", f"months: {'9' * 5000}", 140, "rules.12.obligation.months", "integer_too_large", id="enormous integer"),
        pytest.param(ALPHA, "months: 12", "months: -1", 140, "rules.12.obligation.months", "out_of_range", id="negative months"),
        pytest.param(BETA_2025, "ends: [old-custom]", "ends: [older]", 5, "ends.0", "ends_nothing", id="ends nothing"),
        pytest.param(ALPHA, "rules:", "rules: [", 6, "-", "not_yaml", id="no YAML"),
    ],
)  # fmt: skip
def test_bad_packs_are_refused_by_file_line_key_and_code_and_the_running_ones_stay(
    copy, file, old, new, line, key, code
):
    running = packs.load(copy, FUNCTIONS)
    before = running.on(date(2025, 6, 1))
    edit(copy, file, old, new)
    with pytest.raises(PackError) as caught:
        packs.load(copy, FUNCTIONS)
    found = {(m.file, m.line, m.key, m.code) for m in caught.value.mistakes}
    assert (file, line, key, code) in found, caught.value
    assert all(precise(m) for m in caught.value.mistakes)
    assert len(str(caught.value)) < 5000
    assert set(caught.value.mistakes) <= set(packs.check(copy, FUNCTIONS))
    assert running.on(date(2025, 6, 1)) is before


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(copy):
    path = copy / ALPHA
    lines = path.read_bytes().split(b"\n")
    lines[1] = "title: {zh: 甲法, en: A}".encode("gb18030")
    path.write_bytes(b"\n".join(lines))
    told = packs.check(copy, FUNCTIONS)
    assert [(m.file, m.line, m.code) for m in told] == [(ALPHA, 2, "not_utf8")]


def test_a_rule_without_a_case_is_refused(copy):
    add_rule(copy, BETA, RULE)
    told = packs.check(copy, FUNCTIONS)
    assert {(m.file, m.line, m.key, m.code) for m in told} == {(BETA_CASES, 1, "-", "no_case")}
    assert all(precise(m) for m in told)


def test_what_is_wrong_in_one_file_hides_nothing_wrong_in_another(copy):
    edit(copy, "checked.yaml", "checked: []", "checked: {}")
    edit(copy, WORDS, 'version: "1"', "version: 1")
    edit(copy, ALPHA, "owner: institution", "owner: nobody")
    edit(copy, BETA, "effect: permit", "effect: allow")
    edit(copy, BETA_CASES, "expect: holds", "expect: maybe")
    found = {(m.file, m.code) for m in packs.check(copy, FUNCTIONS)}
    assert found == {
        ("checked.yaml", "wrong_type"),
        (WORDS, "wrong_type"),
        (ALPHA, "not_allowed"),
        (BETA, "not_allowed"),
        (BETA_CASES, "not_allowed"),
    }


def test_a_rule_that_has_its_shape_is_read_beside_one_that_has_not(copy):
    edit(copy, ALPHA, "owner: institution", "owner: nobody")
    edit(copy, ALPHA, "when: {fact: donor.withdrawn,", "when: {fact: donor.withdrew,")
    found = {(m.key, m.code) for m in packs.check(copy, FUNCTIONS)}
    assert ("rules.0.owner", "not_allowed") in found
    assert ("rules.4.when.fact", "unknown_fact") in found


def test_an_edition_that_cannot_be_read_is_not_held_against_a_later_one(copy):
    """Its rules are unknown, not absent: what ends or confirms them may be right."""
    edit(copy, BETA, "effect: permit", "effect: allow")
    edit(copy, "checked.yaml", "[]", "[{rule: old-custom, by: a, on: 2026-01-01, note: b}]")
    assert {(m.file, m.code) for m in packs.check(copy, FUNCTIONS)} == {(BETA, "not_allowed")}


def test_a_file_of_rules_that_is_no_mapping_is_told_once(copy):
    (copy / ALPHA).write_text("- a\n", "utf-8")
    told = [m for m in packs.check(copy, FUNCTIONS) if m.file == ALPHA]
    assert [(m.line, m.code) for m in told] == [(1, "not_a_mapping")]


def test_a_directory_that_is_not_there_is_told(tmp_path):
    told = packs.check(tmp_path / "nowhere", FUNCTIONS)
    assert [(m.file, m.code) for m in told] == [
        ("checked.yaml", "unreadable"),
        ("vocabulary.yaml", "unreadable"),
    ]
