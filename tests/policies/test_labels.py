"""Labels of values and papers: whole, of the vocabulary, and of no weight in a decision."""

from __future__ import annotations

import shutil
from datetime import date

import pytest

from policies import labels, packs, strict
from policies.packs import PackError

LAW = packs.load()


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(packs.shipped(), tmp_path / "packs")


def test_every_closed_value_and_every_paper_of_a_rule_is_labelled_in_both_languages():
    for name, fact in LAW.vocabulary.facts.items():
        for value in fact.values or ():
            label = LAW.labels.of(name, value)
            assert label
            assert label.keys() == {"zh", "en"}
    asked = {rule.paper for edition in LAW.editions for rule in edition.rules if rule.paper}
    assert len(asked) > 15
    assert asked <= LAW.labels.papers.keys()


@pytest.mark.parametrize(
    ("fact", "value", "zh"),
    [
        ("request.action", "release", "提供"),
        ("sponsor.country", "NO", "挪威"),
        ("paper.exit.types", "whole_blood", "全血"),
        ("request.purpose", "asthma", None),
        ("no.such.fact", "x", None),
    ],
)
def test_a_value_is_called_what_the_file_says(fact, value, zh):
    label = LAW.labels.of(fact, value)
    assert (label and label["zh"]) == zh


def test_a_law_with_its_drafts_calls_them_the_same():
    assert LAW.with_drafts().labels is LAW.labels


def test_no_decision_hangs_on_a_label(copy):
    text = (copy / "labels.yaml").read_text("utf-8")
    (copy / "labels.yaml").write_text(text.replace("zh: 提供,", "zh: 给予,"), "utf-8")
    law = packs.load(copy)
    assert law.labels.of("request.action", "release")["zh"] == "给予"
    day = date(2026, 11, 22)
    assert law.on(day).digests == LAW.on(day).digests


def test_packs_from_before_there_were_labels_name_their_papers_alone(copy):
    (copy / "labels.yaml").unlink()
    law = packs.load(copy)
    assert law.labels.of("request.action", "release") is None
    assert law.labels.papers["exit"]["zh"] == "人类遗传资源材料出境证明"
    assert labels.Labels().papers == {}


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("facts: [request.site]", "facts: [request.sight]", "unknown_fact", "`request.sight`"),
        ("      lead: {zh: 组长单位, en: lead site}\n", "", "no_label", "`lead` of `request.site`"),
        ("      lead: {zh:", "      boss: {zh:", "bad_value", "`request.site` cannot be `boss`"),
        ("facts: [request.site]", "facts: [request.site, request.site]", "label_twice", "`lead`"),
        ("lead: {zh: 组长单位,", "lead: {", "missing_key", "is missing"),
        ("labels:\n", "labels:\n  - {}\n", "missing_key", "is missing"),
        ("labels:\n", "labels:\n  - &x a\n", "alias", "refused"),
    ],
)
def test_what_is_wrong_with_labels_is_told_and_nothing_is_loaded(copy, old, new, code, words):
    text = (copy / "labels.yaml").read_text("utf-8")
    assert old in text
    (copy / "labels.yaml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(PackError) as caught:
        packs.load(copy)
    told = [one for one in caught.value.mistakes if one.code == code]
    assert told
    assert all(one.file == "labels.yaml" and one.line >= 1 and one.zh for one in told)
    assert any(words in one.en for one in told)


def test_labels_are_not_held_against_a_vocabulary_that_is_wrong(copy):
    text = (copy / "vocabulary.yaml").read_text("utf-8")
    (copy / "vocabulary.yaml").write_text(text.replace("type: date", "type: dat", 1), "utf-8")
    with pytest.raises(PackError) as caught:
        packs.load(copy)
    assert {one.file for one in caught.value.mistakes} == {"vocabulary.yaml"}


def test_labels_of_no_file_are_no_mistake():
    words = strict.load(packs.shipped().joinpath("vocabulary.yaml").read_bytes(), "v")
    found, wrong = labels.labels_from(None, words, LAW.vocabulary)
    assert wrong == []
    assert found.values == {}
