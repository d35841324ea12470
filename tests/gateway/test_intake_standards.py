"""MIABIS and SPREC: what is certain of a sample in their words is read, what is not is named."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.registry.ask import KINDS as ITEM_KINDS
from gateway.registry.intake import KINDS, SPREC_KINDS, Row, read_row
from tests.gateway.test_cli import folder, hgr
from tests.gateway.test_intake import made, put, rows

__all__ = ["folder", "made"]


def bad(path: Path) -> list[tuple[str, str, str]]:
    with path.with_name(f"{path.name}.bad.csv").open(encoding="utf-8") as file:
        return [(one["line"], one["column"], one["code"]) for one in csv.DictReader(file)]


# ---- MIABIS --------------------------------------------------------------------------------------


def test_donors_as_miabis_has_them(made: Path) -> None:
    path = put(
        made,
        "d.csv",
        "Sample donor ID,Sex,Dataset type,Birth date\n"
        "M1,Female,Clinical dataset,1980-02-29T00:00:00\nM2,Undifferentiated,,\nM3,male,,1979\n",
    )
    told = hgr("import", "donors", str(path))
    assert told.exit_code == 1
    donors = {row["code"]: (row["sex"], row["born"]) for row in rows(made, "donor")}
    assert (donors["M1"], donors["M2"]) == (("female", date(1980, 2, 29)), (None, None))
    assert bad(path) == [("4", "born", "not_a_date")], "a year is no day"


SAMPLES = (
    "{code},{donor},{kind},{temperature},{diagnosis},{source}\n"
    "S1,D1,Whole blood,LN,DOID:162,Human\n"
    "S2,D1,Peripheral blood mononuclear cells (PBMC),,,\n"
    "S3,D1,Tissue (fixed),,,Human\n"
    "S4,D1,Plasma,,,Animal\n"
    "S5,D1,Plasma,,C34.1,Human\n"
)
NAMES = {
    "names": {"code": "Sample ID", "donor": "Donor ID", "kind": "Sample type", "temperature": "Sample storage temperature", "diagnosis": "Sample content diagnosis", "source": "Sample source"},
    "codes": {"code": "MIABIS-SAMPLE-01", "donor": "MIABIS-SAMPLEDONOR-01", "kind": "MIABIS-SAMPLE-02", "temperature": "MIABIS-SAMPLE-03", "diagnosis": "MIABIS-SAMPLE-10", "source": "MIABIS-SAMPLE-12"},
    "snakes, and the names of 1.0": {"code": "sample_id", "donor": "sample_donor_id", "kind": "detailed_sample_type", "temperature": "sample_storage_temperature", "diagnosis": "sample_content_diagnosis", "source": "sample_source"},
}  # fmt: skip


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_samples_as_miabis_has_them(made: Path, names: dict[str, str]) -> None:
    mapping = put(made, "m.yaml", "standard: MIABIS\nconstants: {collection: chb}\n")
    path = put(made, "s.csv", SAMPLES.format(**names))
    told = hgr("import", "holdings", str(path), "--mapping", str(mapping))
    assert told.exit_code == 1, told.output
    held = {row["code"]: row for row in rows(made, "holding")}
    assert (held["S1"]["kind"], held["S1"]["disease"]) == ("whole_blood", "DOID:162")
    assert held["S2"]["kind"] == "blood_cells"
    assert bad(path) == [
        ("4", "kind", "not_in_list"),
        ("5", names["source"], "not_ours"),
        ("6", "disease", "unknown_disease"),
    ]


def test_samples_as_miabis_has_them_in_json_lines_and_with_a_table_of_diagnoses(made: Path) -> None:
    mapping = put(
        made,
        "m.yaml",
        "standard: MIABIS\nconstants: {collection: chb}\n"
        "columns: {disease: {column: Sample content diagnosis, icd10: {C34: DOID:1324}}}\n",
    )
    said = [
        {"Sample ID": "S1", "Donor ID": "D1", "Sample type": "DNA", "Sample source": "Human"},
        {"Sample ID": "S2", "Donor ID": "D1", "Sample type": "DNA", "Sample content diagnosis": "C34.1"},
        {"Sample ID": "S3", "Donor ID": "D1", "Sample type": "DNA", "Sample source": "Environment"},
        {"Sample ID": "S4", "Donor ID": "D1", "Sample type": "DNA", "Use & Access conditions": "Xenograft"},
    ]  # fmt: skip
    path = put(made, "s.jsonl", "".join(f"{json.dumps(one)}\n" for one in said))
    told = hgr("import", "holdings", str(path), "--mapping", str(mapping))
    assert told.exit_code == 1, told.output
    held = {row["code"]: (row["kind"], row["disease"]) for row in rows(made, "holding")}
    assert (held["S1"], held["S2"]) == (("dna", None), ("dna", "DOID:1324"))
    assert bad(path) == [("3", "Sample source", "not_ours"), ("4", "", "not_a_row")]


@pytest.mark.parametrize(
    ("header", "mapping", "words"),
    [
        ("Sample ID,donor", None, ""),
        ("Sample ID,donor,Sample creation date and time", None, "`Sample creation date and time`"),
        ("Sample ID,donor,Use & Access conditions", None, "`Use & Access conditions` is not mapped"),
        ("Sample ID,code,donor", None, "`Sample ID` is not mapped"),
        ("Sample ID,MIABIS-SAMPLE-01,donor", None, "`MIABIS-SAMPLE-01` is not mapped"),
        ("Sample ID,donor", "columns: {donor: donor}\n", "`Sample ID` is not mapped"),
        ("Sample ID,donor", "standard: MIABIS\ncolumns: {donor: donor}\n", ""),
        ("Sample ID,Donor ID", "standard: MIABIS\nconstants: {donor: D1}\n", "`Donor ID` is not mapped"),
        ("Sample ID,donor", "standard: SNOMED\ncolumns: {donor: donor}\n", "standard"),
    ],
)  # fmt: skip
def test_what_is_not_certain_of_a_header_is_refused(
    made: Path, header: str, mapping: str | None, words: str
) -> None:
    path = put(made, "s.csv", f"{header}\n")
    how = [] if mapping is None else ["--mapping", str(put(made, "m.yaml", mapping))]
    told = hgr("import", "holdings", str(path), *how)
    assert told.exit_code == (2 if words else 0), told.output
    assert words in told.stderr


# ---- SPREC ---------------------------------------------------------------------------------------

HEAD = "code,donor,collection,sprec\n"


@pytest.mark.parametrize(
    ("sprec", "expected"),
    [
        ("PL1-SED-B-C-N-A-A", "plasma"),
        ("BLD-PED-A-N-N-A-N", "whole_blood"),
        ("CEL-CPT-A-B-N-A-A", "blood_cells"),
        ("SER-SST-A-B-N-A-A", "sprec_type_unknown"),
        ("TIS-SRG-E-N-SNP-A-A", "sprec_type_unknown"),
        ("PL1-SED-B-C-N-A", "not_sprec"),
        ("PL1-SED-B-C-N-A-A-A", "not_sprec"),
        ("PL1-SED-B-C-NN-A-A", "not_sprec"),
        ("PL-SED-B-C-N-A-A", "not_sprec"),
        ("pl1-sed-b-c-n-a-a", "not_sprec"),
        ("PL1 SED B C N A A", "not_sprec"),
        ("PL1-SRG-E-N-SNP-A-A", "not_sprec"),  # a fluid in the shape of a solid
    ],
)
def test_a_sprec_code_says_the_kind_or_why_it_does_not(
    made: Path, sprec: str, expected: str
) -> None:
    path = put(made, "s.csv", f"{HEAD}S1,D1,chb,{sprec}\n")
    told = hgr("import", "holdings", str(path))
    held = {row["code"]: row["kind"] for row in rows(made, "holding")}
    if expected in ITEM_KINDS:
        assert (told.exit_code, held["S1"]) == (0, expected)
        again = hgr(
            "import", "holdings", str(put(made, "again.csv", f"{HEAD}S1,D1,chb,{sprec}\n\n"))
        )
        assert "same 1" in again.output
    else:
        assert "S1" not in held
        assert bad(path)[0][2] == expected


def test_a_kind_beside_it_must_agree_where_both_are_certain(made: Path) -> None:
    path = put(
        made,
        "s.csv",
        "code,donor,collection,kind,sprec\n"
        "S1,D1,chb,plasma,PL2-PED-A-B-C-A-A\n"
        "S2,D1,chb,dna,PL2-PED-A-B-C-A-A\n"
        "S3,D1,chb,tumour_tissue,TIS-SRG-E-N-SNP-A-A\n"
        "S4,D1,chb,plasma,\n",
    )
    assert hgr("import", "holdings", str(path)).exit_code == 1
    assert bad(path) == [("3", "sprec", "sprec_differs")]
    assert {row["code"] for row in rows(made, "holding")} >= {"S1", "S3", "S4"}


def test_a_later_code_corrects_the_kind_of_a_tube_and_an_uncertain_one_leaves_it(
    made: Path,
) -> None:
    path = put(made, "s.csv", "code,sprec\nT1,BLD-PED-A-N-N-A-N\nT2,SER-SST-A-B-N-A-A\n")
    assert hgr("import", "holdings", str(path)).exit_code == 0
    held = {row["code"]: row["kind"] for row in rows(made, "holding")}
    assert (held["T1"], held["T2"]) == ("whole_blood", "whole_blood")


@given(st.text(alphabet="ABZ019-pl \n", max_size=24))
def test_whatever_stands_there_has_the_shape_or_is_named(text: str) -> None:
    found = read_row(KINDS["holdings"], 2, {"code": "S1", "sprec": text})
    lengths = [len(one) for one in text.strip().split("-")]
    if isinstance(found, Row):
        assert not text.strip() or lengths in ([3, 3, 1, 1, 1, 1, 1], [3, 3, 1, 1, 3, 1, 1])
    else:
        assert [one.code for one in found] == ["not_sprec"]


def test_every_type_of_sample_that_is_certain_is_a_kind() -> None:
    assert set(SPREC_KINDS.values()) <= set(ITEM_KINDS)
