"""DUO: the shipped release, the spellings of a code, and what a code must say beside itself."""

import csv
from importlib.resources import files

import pytest

from policies import duo
from policies.duo import Duo, Parameter

CSV = files("policies").joinpath("data", "duo.csv")


def rows():
    with CSV.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_release_has_its_25_terms_word_for_word():
    assert len(duo.definitions()) == 25
    for row in rows():
        definition = duo.definitions()[row["id"]]
        assert definition.shorthand == row["shorthand"]
        assert definition.label == row["label"]
        assert definition.description == row["description"]


def test_our_codes_are_the_shorthands_of_the_release():
    # CSCfi/rems#2732: hand-kept lists of codes drift; this one is held to the file.
    released = {row["shorthand"]: row["id"] for row in rows() if row["shorthand"]}
    assert {code.name: code.value for code in Duo} == released
    assert {row["id"] for row in rows() if not row["shorthand"]} == duo.ABSTRACT


def test_permissions_and_modifiers_are_as_their_definitions_say():
    for code in Duo:
        description = duo.definitions()[code].description
        is_permission = description.startswith("This data use permission indicates")
        assert is_permission != description.startswith("This data use modifier indicates")
        assert is_permission == (code in duo.PERMISSIONS), code.name


def test_a_changed_copy_is_refused():
    data = CSV.read_bytes()
    assert len(duo.from_bytes(data)) == 25
    with pytest.raises(duo.ChangedReleaseError, match=r"release 2021-02-23"):
        duo.from_bytes(data.replace(b"not-for-profit", b"for-profit"))


SPELLINGS = {
    "as in the csv": ("DUO:0000007", Duo.DS),
    "with an underscore": ("DUO_0000007", Duo.DS),
    "as an IRI": ("http://purl.obolibrary.org/obo/DUO_0000042", Duo.GRU),
    "NPOA as in the csv": ("DUO:0000044", Duo.NPOA),
    "NPOA as the OWL file misspells it": (
        "http://purl.obolibrary.org/obo/DUO_00000044",
        Duo.NPOA,
    ),
    "NPOA misspelt as a short code": ("DUO:00000044", Duo.NPOA),
}


@pytest.mark.parametrize(("text", "code"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_spellings_that_are_read(text, code):
    assert duo.code_from(text) is code
    assert duo.current(text) == (code,)


NOT_CODES = {
    "nothing": ("", "is not a code"),
    "a shorthand": ("GRU", "is not a code"),
    "no such number": ("DUO:0000099", "is not a code"),
    "the object property": ("DUO:0000010", "is not a code"),
    "an investigation class": ("DUO:0000031", "is not a code"),
    "another code with eight digits": ("DUO:00000042", "is not a code"),
    "six digits": ("DUO:000042", "is not a code"),
    "digits of another script": ("DUO:００００04２", "is not a code"),
    "trailing line end": ("DUO:0000042\n", "is not a code"),
    "lower case": ("duo:0000042", "is not a code"),
    "another ontology": ("http://purl.obolibrary.org/obo/MONDO_0000001", "is not a code"),
    "the class of permissions": ("DUO:0000001", "abstract"),
    "the class of modifiers": ("DUO:0000017", "abstract"),
    "retired primary category": ("DUO:0000002", "replaced by nothing"),
    "retired secondary category": ("DUO:0000003", "replaced by nothing"),
    "retired research use only": ("DUO:0000014", "replaced by nothing"),
}


@pytest.mark.parametrize(("text", "why"), NOT_CODES.values(), ids=NOT_CODES.keys())
def test_what_is_no_current_code(text, why):
    assert duo.current(text) == ()
    with pytest.raises(duo.UnknownCodeError, match=why):
        duo.code_from(text)


def test_retired_general_research_and_clinical_care_is_two_codes_now():
    assert duo.current("DUO_0000005") == (Duo.GRU, Duo.CC)
    with pytest.raises(duo.UnknownCodeError, match="replaced by DUO:0000042 with DUO:0000043"):
        duo.code_from("DUO:0000005")


@pytest.mark.parametrize("code", list(Duo), ids=lambda code: code.name)
def test_a_shorthand_is_read_in_its_release_only(code):
    assert duo.code_from_shorthand(code.name, release="2021-02-23") is code
    # In the release of 2020 NPU meant DUO:0000018.
    for release in ("2020", "", "latest"):
        with pytest.raises(duo.UnknownReleaseError):
            duo.code_from_shorthand(code.name, release=release)


@pytest.mark.parametrize("shorthand", ["RUO", "RU", "npu", "", "GRU-CC", "mro"])
def test_a_shorthand_of_no_code_is_refused(shorthand):
    with pytest.raises(duo.UnknownCodeError, match="is not a shorthand"):
        duo.code_from_shorthand(shorthand, release=duo.RELEASE)


COMPLETE = {
    "one disease": (Duo.DS, ("DOID:162",), True),
    "two diseases": (Duo.DS, ("DOID:162", "DOID:9351"), True),
    "DS of nothing": (Duo.DS, (), False),
    "DS of a blank": (Duo.DS, ("DOID:162", " "), False),
    "date": (Duo.MOR, ("2027-01-01",), True),
    "leap day": (Duo.MOR, ("2028-02-29",), True),
    "no such day": (Duo.MOR, ("2027-02-29",), False),
    "date without dashes": (Duo.MOR, ("20270101",), False),
    "week date": (Duo.MOR, ("2027-W01-1",), False),
    "two dates": (Duo.MOR, ("2027-01-01", "2028-01-01"), False),
    "no date": (Duo.MOR, (), False),
    "months": (Duo.TS, ("24",), True),
    "zero months": (Duo.TS, ("0",), False),
    "months with a sign": (Duo.TS, ("-3",), False),
    "months with a fraction": (Duo.TS, ("1.5",), False),
    "months of another script": (Duo.TS, ("２４",), False),
    "two terms": (Duo.TS, ("12", "24"), False),
    "countries": (Duo.GS, ("CN", "HK"), True),
    "a country's name": (Duo.GS, ("China",), False),
    "a country in lower case": (Duo.GS, ("cn",), False),
    "no country": (Duo.GS, (), False),
    "users": (Duo.US, ("u-1", "u-2"), True),
    "no user": (Duo.US, (), False),
    "no collaborator": (Duo.COL, (), False),
    "code without parameter": (Duo.HMB, (), True),
    "a value nobody would read": (Duo.HMB, ("DOID:162",), False),
}


@pytest.mark.parametrize(("code", "values", "complete"), COMPLETE.values(), ids=COMPLETE.keys())
def test_what_a_code_must_say_beside_itself(code, values, complete):
    assert duo.is_complete(code, values) is complete


def test_every_parameter_belongs_to_one_code():
    assert sorted(duo.PARAMETERS.values()) == sorted(Parameter)
    # standards: RS, GS and DS carry an OWL restriction, and no permission but DS takes a parameter.
    assert duo.PERMISSIONS & set(duo.PARAMETERS) == {Duo.DS}
