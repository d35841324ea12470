"""What MIABIS calls the columns of samples and donors, and which of its values are certain in our words.

From the MIABIS components Sample and Sample donor 1.1, which go with MIABIS Core 3.0 (github.com/BBMRI-ERIC/miabis,
folder Individual; Eklund et al. 2020, doi 10.1089/bio.2019.0129, for the names of 1.0). A column may bear the code
of an attribute (MIABIS-SAMPLE-01) or its name, however it is written (Sample ID, sample_id).

Left out on purpose, so that a file that has them says what they are: the time a sample was *created*
(MIABIS-SAMPLE-04), which is that of an extract and not of the taking, before which consent must stand; the
conditions of its use (MIABIS-SAMPLE-11), which consent forms say here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LETTERS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute: which of our columns it is, if any, and its values in our words.

    `only`: what it must say, if anything, for the row to be one of ours.
    """

    ours: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[str] = frozenset()


#: Only what is certain: of "Tissue (fixed)" nobody knows whether it is of a tumour.
_KINDS = {
    "Whole blood": "whole_blood",
    "Plasma": "plasma",
    "DNA": "dna",
    "Buffy Coat": "blood_cells",
    "Buffy coat": "blood_cells",
    "Peripheral blood mononuclear cells (PBMC)": "blood_cells",
    "PBMC": "blood_cells",
    "Red blood cells": "blood_cells",
}
_SEX = {"Female": "female", "Male": "male"} | dict.fromkeys(
    ("Unknown", "Undifferentiated", "Not applicable", "unknown", "undifferentiated"), ""
)
_KEPT_ELSEWHERE = Attribute()  # of the sample system: nothing is decided by it here

_ATTRIBUTES: Mapping[str, Mapping[tuple[str, ...], Attribute]] = {
    "holdings": {
        ("MIABIS-SAMPLE-01", "Sample ID"): Attribute(ours="code"),
        ("MIABIS-SAMPLE-02", "Sample type", "Detailed sample type"): Attribute(
            ours="kind", values=_KINDS
        ),
        ("MIABIS-SAMPLE-03", "Sample storage temperature"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-05", "Anatomical site"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-05-01", "Anatomical site ontology"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-05-02", "Anatomical site ontology version"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-05-03", "Anatomical site ontology code"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-05-04", "Anatomical site ontology description"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-05-05", "Anatomical site free text"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLE-10", "Sample content diagnosis"): Attribute(ours="disease"),
        ("MIABIS-SAMPLE-12", "Sample source"): Attribute(only=frozenset({"Human", "human", ""})),
        ("MIABIS-SAMPLEDONOR-01", "Sample donor ID", "Donor ID"): Attribute(ours="donor"),
    },
    "donors": {
        ("MIABIS-SAMPLEDONOR-01", "Sample donor ID", "Donor ID"): Attribute(ours="code"),
        ("MIABIS-SAMPLEDONOR-02", "Sex"): Attribute(ours="sex", values=_SEX),
        ("MIABIS-SAMPLEDONOR-03", "Dataset type", "Data categories"): _KEPT_ELSEWHERE,
        ("MIABIS-SAMPLEDONOR-04", "Birth date"): Attribute(ours="born"),
    },
}


def _plain(name: str) -> str:
    return _LETTERS.sub("", name.lower())


_BY_NAME = {
    kind: {_plain(name): one for names, one in attributes.items() for name in names}
    for kind, attributes in _ATTRIBUTES.items()
}


def attribute(kind: str, name: str) -> Attribute | None:
    """The attribute that a column of a file of this kind is called by; None for any other name."""
    return _BY_NAME.get(kind, {}).get(_plain(name))
