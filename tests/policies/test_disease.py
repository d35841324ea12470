"""The disease tree: the shipped release is whole, and kinship runs over every path."""

import csv
from graphlib import TopologicalSorter
from importlib.resources import files

import pytest

from policies import disease

TSV = files("policies").joinpath("data", "HumanDO.tsv")

CANCER = "DOID:162"
LUNG_CANCER = "DOID:1324"
B_CELL_LYMPHOMA = "DOID:707"
DIABETES = "DOID:9351"
BEHCET = "DOID:13241"


def rows():
    with TSV.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_release_is_whole():
    tree = disease.tree()
    assert len(tree.labels) == 12_246
    assert len(set(tree.labels.values())) == 12_246, "labels name parents, so they must be unique"
    assert {term for term in tree.labels if not term.startswith("DOID:")} == set()
    assert sum(len(parents) > 1 for parents in tree.parents.values()) == 49
    labels = set(tree.labels.values())
    assert {row["subClassOf"] for row in rows()} - labels == {"disease"}
    assert len(list(TopologicalSorter(tree.parents).static_order())) == 12_246, "no circles"


def test_every_row_of_the_file_is_an_edge():
    tree = disease.tree()
    edges = {(row["id"], row["subClassOf"]) for row in rows() if row["subClassOf"] != "disease"}
    up = {(term, tree.label(parent)) for term in tree.labels for parent in tree.parents[term]}
    down = {(child, tree.label(term)) for term in tree.labels for child in tree.children[term]}
    assert up == down == edges


def test_a_changed_copy_is_refused():
    data = TSV.read_bytes()
    with pytest.raises(disease.ChangedTreeError, match="pinned"):
        disease.from_bytes(data[:-1])


KINSHIP = {
    "lung cancer is a cancer": (LUNG_CANCER, CANCER, True),
    "B-cell lymphoma is a cancer, four steps up": (B_CELL_LYMPHOMA, CANCER, True),
    "cancer is no lung cancer": (CANCER, LUNG_CANCER, False),
    "cancer is not its own ancestor": (CANCER, CANCER, False),
    "diabetes is no cancer": (DIABETES, CANCER, False),
    "Behcet's disease is an autoimmune disease": (BEHCET, "DOID:417", True),
    "and a vasculitis too": (BEHCET, "DOID:865", True),
}


@pytest.mark.parametrize(("term", "of", "is_kind"), KINSHIP.values(), ids=KINSHIP.keys())
def test_kinship(term, of, is_kind):
    tree = disease.tree()
    assert (of in tree.ancestors(term)) is is_kind
    assert (term in tree.descendants(of)) is is_kind


def test_labels_and_membership():
    tree = disease.tree()
    assert tree.label(CANCER) == "cancer"
    assert tree.label(BEHCET) == "Behcet's disease"
    assert CANCER in tree
    assert "DOID:0" not in tree
    assert tree.ancestors("DOID:7") == frozenset(), "a child of the root has no ancestor here"
    assert len(tree.descendants(CANCER)) > 500


@pytest.mark.parametrize(
    "term", ["DOID:4", "DOID:00000", "162", "cancer", "", "doid:162", "MONDO:0004992"]
)
def test_an_unknown_term_is_an_error(term):
    tree = disease.tree()
    for ask in (tree.label, tree.ancestors, tree.descendants):
        with pytest.raises(disease.UnknownDiseaseError, match=f"`{term}`"):
            ask(term)
