"""The disease tree: which disease is a kind of which, from one pinned release of the Disease Ontology.

The rules it keeps: a disease has all its ancestors on every path (a term may have several parents);
a term the release does not have is an error, never a disease without relatives.

    >>> "DOID:162" in tree().ancestors("DOID:1324")  # lung cancer is a cancer
    True
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import StringIO
from types import MappingProxyType

RELEASE = "2026-07/08"  # the file names no release; its digest is what identifies it

#: SHA-256 of `data/HumanDO.tsv`, as in `data/README.md`.
SHA256 = "c862a3523b0308ae82df6ffd5b0781af83cc561a9e9aa2b25a3cee7e2b33452d"

# The root of the ontology is named as a parent but has no row of its own, hence no term here.
_ROOT = "disease"


class DiseaseError(ValueError):
    """Something said to be a disease, or the tree of them, is not."""


class UnknownDiseaseError(DiseaseError):
    """A disease term the release does not have. Whoever named it erred."""


class ChangedTreeError(DiseaseError):
    """The shipped copy of the tree is not the bytes we pinned: the installation is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiseaseTree:
    """The terms (`DOID:…`) of one release with their English labels and direct relatives.

    A directed graph without cycles rather than a tree: 49 terms have several parents. Owns a cache of who is
    related, by term.
    """

    labels: Mapping[str, str]
    parents: Mapping[str, frozenset[str]]
    children: Mapping[str, frozenset[str]]
    _above: dict[str, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)
    _below: dict[str, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def __contains__(self, term: object) -> bool:
        return term in self.labels

    def label(self, term: str) -> str:
        """The English label of a term. Raises UnknownDiseaseError."""
        self._verify_known(term)
        return self.labels[term]

    def ancestors(self, term: str) -> frozenset[str]:
        """Every disease that `term` is a kind of, itself excluded. Raises UnknownDiseaseError."""
        self._verify_known(term)
        return _reached(term, self.parents, self._above)

    def descendants(self, term: str) -> frozenset[str]:
        """Every disease that is a kind of `term`, itself excluded. Raises UnknownDiseaseError."""
        self._verify_known(term)
        return _reached(term, self.children, self._below)

    def _verify_known(self, term: str) -> None:
        if term not in self.labels:
            raise UnknownDiseaseError(
                f"`{term}` is not a term of the disease ontology shipped here"
            )


def from_bytes(data: bytes) -> DiseaseTree:
    """Read `HumanDO.tsv` as released.

    Raises ChangedTreeError if these are not the pinned bytes, and so needs no other check; that every
    parent has a row, labels are unique and no path is a circle is held by the tests of this file.
    """
    if sha256(data).hexdigest() != SHA256:
        raise ChangedTreeError(f"HumanDO.tsv is not the pinned copy with sha-256 {SHA256}")
    text = StringIO(data.decode("utf-8"), newline="")
    rows = list(csv.DictReader(text, delimiter="\t", strict=True))
    labels = {row["id"]: row["label"] for row in rows}
    terms = {label: term for term, label in labels.items()}
    parents: dict[str, set[str]] = defaultdict(set)
    children: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["subClassOf"] != _ROOT:
            parents[row["id"]].add(terms[row["subClassOf"]])
            children[terms[row["subClassOf"]]].add(row["id"])
    return DiseaseTree(
        labels=MappingProxyType(labels),
        parents=MappingProxyType({term: frozenset(parents[term]) for term in labels}),
        children=MappingProxyType({term: frozenset(children[term]) for term in labels}),
    )


@cache
def tree() -> DiseaseTree:
    """The shipped release, read once."""
    return from_bytes(files("policies").joinpath("data", "HumanDO.tsv").read_bytes())


def _reached(
    start: str, edges: Mapping[str, frozenset[str]], known: dict[str, frozenset[str]]
) -> frozenset[str]:
    reached = known.get(start)
    if reached is None:
        found: set[str] = set()
        ahead = set(edges[start])
        while ahead:
            found |= ahead
            ahead = {further for term in ahead for further in edges[term]} - found
        reached = known[start] = frozenset(found)
    return reached
