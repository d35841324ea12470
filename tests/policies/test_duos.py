"""The DUOS matchers: the published grid of v4, what v5 changes, and where `safe` is stricter.

The grid was made by replaying an independent restatement of the matchers' rules, with every cell that an
upstream test covers agreeing; so these rows are not this code's own output.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from policies import duos
from policies.duos import DataUse, DuosError, Result, match, match_file

ROOT = Path(__file__).parents[2]
CHILD, PARENT, OTHER = "DOID:1324", "DOID:162", "DOID:9352"  # lung cancer, cancer, type 2 diabetes
ANCESTORS = {CHILD: frozenset({PARENT, "DOID:14566", "DOID:4"}), OTHER: frozenset({"DOID:9351"})}
LETTERS = {"A": Result.APPROVE, "D": Result.DENY, "M": Result.ABSTAIN}

DATASETS = {
    "GRU": {"generalUse": True},
    "HMB": {"hmbResearch": True},
    "POA": {"populationOriginsAncestry": True},
    "DS parent": {"diseaseRestrictions": [PARENT]},
    "DS same": {"diseaseRestrictions": [CHILD]},
    "DS unrelated": {"diseaseRestrictions": [OTHER]},
    "empty": {},
    "OTHER text": {"other": "only on Tuesdays"},
    "GRU+HMB": {"generalUse": True, "hmbResearch": True},
    "HMB+DS": {"hmbResearch": True, "diseaseRestrictions": [PARENT]},
}
PURPOSES = {
    "GRU": {"generalUse": True},
    "HMB": {"hmbResearch": True},
    "POA": {"populationOriginsAncestry": True},
    "DS child": {"diseaseRestrictions": [CHILD]},
    "MDS": {"methodsResearch": True},
    "MDS + DS child": {"methodsResearch": True, "diseaseRestrictions": [CHILD]},
    "HMB + DS child": {"hmbResearch": True, "diseaseRestrictions": [CHILD]},
    "HMB + POA": {"hmbResearch": True, "populationOriginsAncestry": True},
    "sensitive": {"hmbResearch": True, "stigmatizeDiseases": True},
    "nothing": {},
    "only OTHER": {"other": "curiosity"},
    "collaboration alone": {"collaboratorRequired": True},
}
#: Purpose by dataset, in the order of DATASETS.
GRID = {
    "GRU": "A D A A A A A A A D",
    "HMB": "A A D D D D A A A A",
    "POA": "A D A D D D D D A D",
    "DS child": "A A D A A D D D A A",
    "MDS": "A A A A A A A A A A",
    "MDS + DS child": "A A D A A D D D A A",
    "HMB + DS child": "A A D D D D D D A A",
    "HMB + POA": "A D D D D D D D A D",
    "sensitive": "M M M M M M M M M M",
    "nothing": "M M M M M M M M M M",
    "only OTHER": "M M M M M M M M M M",
    "collaboration alone": "M M M M M M M M M M",
}
CELLS = [
    (purpose, dataset, letter)
    for purpose, row in GRID.items()
    for dataset, letter in zip(DATASETS, row.split(), strict=True)
]


def answer(purpose: dict, dataset: dict, algorithm: duos.Algorithm) -> Result:
    return match(DataUse.of(purpose), DataUse.of(dataset), ANCESTORS, algorithm).result


@pytest.mark.parametrize(("purpose", "dataset", "letter"), CELLS)
def test_v4_answers_as_the_published_grid(purpose: str, dataset: str, letter: str) -> None:
    assert answer(PURPOSES[purpose], DATASETS[dataset], "v4") is LETTERS[letter]


@pytest.mark.parametrize(("purpose", "dataset", "letter"), CELLS)
def test_v5_changes_only_what_has_not_one_primary_use(
    purpose: str, dataset: str, letter: str
) -> None:
    manual = dataset in {"empty", "OTHER text", "GRU+HMB", "HMB+DS"}
    expected = Result.ABSTAIN if manual else LETTERS[letter]
    assert answer(PURPOSES[purpose], DATASETS[dataset], "v5") is expected


@pytest.mark.parametrize(
    ("purpose", "row"), [(None, "A D A"), (True, "A A A"), (False, "A D A")], ids=str
)
def test_non_profit_use_in_v4(purpose, row: str) -> None:
    for dataset, letter in zip((None, True, False), row.split(), strict=True):
        got = answer(
            {"generalUse": True, "nonProfitUse": purpose},
            {"generalUse": True, "nonProfitUse": dataset},
            "v4",
        )
        assert got is LETTERS[letter], (purpose, dataset)


def test_non_profit_alone_is_a_primary_purpose_once_either_side_speaks() -> None:
    assert answer({}, {}, "v4") is Result.ABSTAIN
    assert answer({"nonProfitUse": False}, {}, "v4") is Result.APPROVE
    assert answer({}, {"nonProfitUse": False}, "v4") is Result.APPROVE
    assert answer({}, {"nonProfitUse": True}, "v4") is Result.DENY


@pytest.mark.parametrize(
    ("purpose", "dataset", "expected"),
    [
        ({"hmbResearch": False}, {"diseaseRestrictions": [PARENT]}, Result.ABSTAIN),
        ({"populationOriginsAncestry": False}, {"hmbResearch": True}, Result.ABSTAIN),
        ({"populationOriginsAncestry": False, "hmbResearch": True}, {"hmbResearch": True}, Result.DENY),
        ({"generalUse": True, "gender": "F"}, {"generalUse": True}, Result.ABSTAIN),
        ({"generalUse": True, "gender": ""}, {"generalUse": True}, Result.ABSTAIN),
        ({"diseaseRestrictions": [CHILD, OTHER]}, {"diseaseRestrictions": [PARENT]}, Result.DENY),
        ({"diseaseRestrictions": ["DOID:0000"]}, {"diseaseRestrictions": ["DOID:0000"]}, Result.APPROVE),
    ],
)  # fmt: skip
def test_nulls_and_falses_in_v4(purpose: dict, dataset: dict, expected: Result) -> None:
    assert answer(purpose, dataset, "v4") is expected


def test_a_failed_lookup_denies_whatever_the_dataset_allows() -> None:
    purpose, dataset = (
        DataUse.of({"diseaseRestrictions": [CHILD]}),
        DataUse.of({"generalUse": True}),
    )
    for algorithm in ("v4", "v5", "safe"):
        matched = match(purpose, dataset, {CHILD: None}, algorithm)
        assert matched.result is Result.DENY
        assert matched.reasons == ("disease-lookup-failed",)


# ---- safe ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "dataset", "expected", "code"),
    [
        ("GRU", "DS parent", Result.DENY, "general-purpose-on-narrow-dataset"),
        ("GRU", "POA", Result.DENY, "general-purpose-on-narrow-dataset"),
        ("GRU", "empty", Result.ABSTAIN, "missing-primary"),
        ("HMB", "OTHER text", Result.ABSTAIN, "other-primary"),
        ("MDS", "DS unrelated", Result.ABSTAIN, "methods-on-disease-dataset"),
        ("MDS", "empty", Result.ABSTAIN, "missing-primary"),
        ("HMB", "GRU+HMB", Result.ABSTAIN, "multiple-primary"),
        ("POA", "empty", Result.DENY, "ancestry-not-allowed"),
        ("HMB", "HMB", Result.APPROVE, "health-within-health-research"),
        ("DS child", "DS parent", Result.APPROVE, None),
        ("MDS + DS child", "DS parent", Result.APPROVE, "methods-allowed"),
        ("MDS", "HMB", Result.APPROVE, None),
    ],
)  # fmt: skip
def test_safe_does_not_copy_what_duos_overlooks(
    purpose: str, dataset: str, expected: Result, code: str | None
) -> None:
    sides = DataUse.of(PURPOSES[purpose]), DataUse.of(DATASETS[dataset])
    matched = match(*sides, ANCESTORS, "safe")
    assert matched.result is expected
    assert code is None or code in matched.reasons


@pytest.mark.parametrize("modifier", duos.MODIFIERS)
def test_safe_sees_every_condition_of_a_dataset_that_duos_does_not(modifier: str) -> None:
    value = "anything" if modifier in duos._TEXTS else True
    dataset = {"hmbResearch": True, modifier: value}
    assert answer({"hmbResearch": True}, dataset, "v4") is Result.APPROVE
    assert answer({"hmbResearch": True}, dataset, "safe") is Result.ABSTAIN
    assert answer({"hmbResearch": True}, {**dataset, modifier: None}, "safe") is Result.APPROVE


def test_safe_reads_free_text_and_strange_fields_to_a_person() -> None:
    for purpose, code in (
        ({"hmbResearch": True, "secondaryOther": "and more"}, "free-text-to-read"),
        ({"hmbResearch": True, "forProfitResale": True}, "unknown-field"),
    ):
        matched = match(DataUse.of(purpose), DataUse.of({"hmbResearch": True}), {}, "safe")
        assert matched == duos.Matched(result=Result.ABSTAIN, reasons=(code,))
    silent = {"hmbResearch": True, "other": "  ", "forProfitResale": False}
    assert answer(silent, {"hmbResearch": True}, "safe") is Result.APPROVE


def test_safe_is_only_ever_stricter_and_says_why_from_the_published_list() -> None:
    values = {
        "generalUse": (None, True),
        "hmbResearch": (None, False, True),
        "populationOriginsAncestry": (None, False, True),
        "diseaseRestrictions": (None, [CHILD], [PARENT], [OTHER]),
        "methodsResearch": (None, True),
        "nonProfitUse": (None, True),
        "geneticStudiesOnly": (None, True),
        "other": (None, "text"),
        "pediatric": (None, True),
    }
    sides = [
        DataUse.of(dict(zip(values, chosen, strict=True)))
        for chosen in itertools.product(*values.values())
    ]
    differing = 0
    for purpose, dataset in itertools.product(sides[::7], sides[::5]):
        safe = match(purpose, dataset, ANCESTORS, "safe")
        for algorithm in ("v4", "v5"):
            theirs = match(purpose, dataset, ANCESTORS, algorithm)
            if theirs.result is not safe.result:
                differing += 1
                strictness = duos._STRICTNESS.index
                assert strictness(safe.result) > strictness(theirs.result)
                assert not set(safe.reasons).isdisjoint(duos.STRICTER)
    assert differing > 1000


def test_the_published_list_is_in_the_docs_with_every_reason() -> None:
    page = (ROOT / "docs" / "duos.md").read_text()
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == set(duos.STRICTER)
    for code, least in duos.STRICTER.items():
        assert (
            f"| `{code}` | {least} | {duos.REASONS[code]['zh']} | {duos.REASONS[code]['en']} |"
            in page
        )


# ---- a file --------------------------------------------------------------------------------------

PAIRS = [
    {
        "id": "1",
        "dataset": {"diseaseRestrictions": [PARENT]},
        "purpose": {"diseaseRestrictions": [CHILD]},
        "disease_ancestors": {CHILD: [PARENT]},
    },
    {"id": "2", "dataset": None, "purpose": {"generalUse": True}},
]


def test_a_file_is_answered_in_its_order_with_both_languages(tmp_path: Path) -> None:
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(PAIRS))
    for algorithm, second in (("v4", "approve"), ("v5", "abstain"), ("safe", "abstain")):
        run = CliRunner().invoke(app, ["duos", "match", str(file), "--algorithm", algorithm])
        assert run.exit_code == 0, run.output
        answers = json.loads(run.stdout)
        assert [(one["id"], one["result"]) for one in answers] == [("1", "approve"), ("2", second)]
        for reason in (reason for one in answers for reason in one["reasons"]):
            assert set(reason) == {"code", "zh", "en"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'"\xff"', "is not JSON"),
        (b"{}", "must be a list of pairs"),
        (b"[1]", "/0: must be an object"),
        (b'[{"id": 1}]', "/0: `id` must be a text"),
        (b'[{"id": "a"}, {"id": "a"}]', "/1: `id` `a` stands here twice"),
        (b'[{"id": "a", "datset": {}}]', "/0: there is no member `datset`"),
        (b'[{"id": "a", "dataset": []}]', "/0: dataset: must be an object"),
        (b'[{"id": "a", "dataset": {"generalUse": "yes"}}]', "/0: dataset: `generalUse` must be true, false or null"),
        (b'[{"id": "a", "purpose": {"gender": 1}}]', "/0: purpose: `gender` must be a text or null"),
        (b'[{"id": "a", "purpose": {"diseaseRestrictions": "x"}}]', "/0: purpose: `diseaseRestrictions` must be a list of texts or null"),
        (b'[{"id": "a", "disease_ancestors": {"x": [1]}}]', "/0: `disease_ancestors` must map terms to lists of texts"),
    ],
)  # fmt: skip
def test_a_file_in_another_form_is_refused_with_each_mistake(content: bytes, says: str) -> None:
    with pytest.raises(DuosError, match=re.escape(says)):
        match_file(content, "v4")


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "pairs.json"
    file.write_text('[{"id": "a", "dataset": {"generalUse": 1, "other": 2}}, {}]')
    run = CliRunner().invoke(app, ["duos", "match", str(file), "--algorithm", "safe"])
    assert run.exit_code == 2
    assert len(run.stderr.splitlines()) == 3
    assert CliRunner().invoke(app, ["duos", "match", str(file), "--algorithm", "v3"]).exit_code == 2
    assert (
        CliRunner().invoke(app, ["duos", "match", "nowhere.json", "--algorithm", "v4"]).exit_code
        == 2
    )
