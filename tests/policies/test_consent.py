"""Consent coverage: permission by purpose, modifier by state, and that not knowing never permits."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import disease
from policies.consent import (
    Coverage,
    DuoTerm,
    Duty,
    Profile,
    ProfileId,
    Purpose,
    Reason,
    Research,
    Term,
    coverage,
    left_out,
)
from policies.duo import PERMISSIONS, Duo

CANCER = "DOID:162"
LUNG_CANCER = "DOID:1324"
LYMPHOMA = "DOID:707"  # B-cell lymphoma
DIABETES = "DOID:9351"


def consent(*terms, mapped=True, **answers):
    """A profile of codes, or of (code, value, …), with answers to our own questions."""
    written = [(term,) if isinstance(term, str) else term for term in terms]
    read = [DuoTerm(code=str(code), values=tuple(values)) for code, *values in written]
    permits = {code.value for code in PERMISSIONS}
    return Profile(
        id=ProfileId("p"),
        mapped=mapped,
        permissions=tuple(term for term in read if term.code in permits),
        modifiers=tuple(term for term in read if term.code not in permits),
        terms={Term[name.upper()]: answer for name, answer in answers.items()},
    )


def purpose(research, *diseases, **facts):
    """A use that is not commercial unless said, with ancestors from the shipped tree."""
    ancestors = {disease_: disease.tree().ancestors(disease_) for disease_ in diseases}
    known = {"commercial": False, "disease_ancestors": ancestors, **facts}
    return Purpose(research=Research(research), diseases=diseases, **known)


def answer(covers, *reasons, duties=()):
    return Coverage(covers=covers, reasons=tuple(sorted(reasons)), duties=duties)


# Permission by purpose: Y covered, N not, ? a person must judge. Against the grid of DUOS v4: general
# research on POA and DS, and methods on DS, are refused here though DUOS approves them.
CONSENTS = {
    "NRES": (Duo.NRES,),
    "GRU": (Duo.GRU,),
    "GRU+CC": (Duo.GRU, Duo.CC),
    "HMB": (Duo.HMB,),
    "HMB+CC": (Duo.HMB, Duo.CC),
    "DS": ((Duo.DS, CANCER),),
    "DS+CC": ((Duo.DS, CANCER), Duo.CC),
    "POA": (Duo.POA,),
    "POA+CC": (Duo.POA, Duo.CC),
    "HMB+POA": (Duo.HMB, Duo.POA),
    "HMB+DS": (Duo.HMB, (Duo.DS, CANCER)),
    "CC alone": (Duo.CC,),
    "nothing": (),
}
GRID = """
purpose             | NRES GRU GRU+CC HMB HMB+CC DS DS+CC POA POA+CC HMB+POA HMB+DS CC_alone nothing
general             | Y    Y   Y      N   N      N  N     N   N      N       N      N        N
health              | Y    Y   Y      Y   Y      N  N     N   N      Y       Y      N        N
health+child        | Y    Y   Y      Y   Y      N  N     N   N      Y       Y      N        N
disease+same        | Y    Y   Y      Y   Y      Y  Y     N   N      Y       Y      N        N
disease+child       | Y    Y   Y      Y   Y      Y  Y     N   N      Y       Y      N        N
disease+parent      | Y    Y   Y      Y   Y      N  N     N   N      Y       Y      N        N
disease+unrelated   | Y    Y   Y      Y   Y      N  N     N   N      Y       Y      N        N
disease+both        | Y    Y   Y      Y   Y      N  N     N   N      Y       Y      N        N
disease             | Y    Y   Y      Y   Y      ?  ?     N   N      Y       Y      N        N
ancestry            | Y    Y   Y      N   N      N  N     Y   Y      Y       N      N        N
ancestry+child      | Y    Y   Y      N   N      N  N     N   N      N       N      N        N
methods             | Y    Y   Y      ?   ?      N  N     N   N      ?       ?      N        N
methods+child       | Y    Y   Y      Y   Y      Y  Y     N   N      Y       Y      N        N
methods+unrelated   | Y    Y   Y      Y   Y      N  N     N   N      Y       Y      N        N
clinical_care       | Y    N   Y      N   Y      N  ?     N   ?      N       N      N        N
clinical_care+child | Y    N   Y      N   Y      N  Y     N   ?      N       N      N        N
clinical_care+unrelated | Y N  Y      N   Y      N  N     N   ?      N       N      N        N
"""
NAMED = {
    "": (),
    "same": (CANCER,),
    "child": (LUNG_CANCER, LYMPHOMA),
    "parent": ("DOID:14566",),  # disease of cellular proliferation, the parent of cancer
    "unrelated": (DIABETES,),
    "both": (LUNG_CANCER, DIABETES),
}


def grid():
    head, *lines = GRID.strip().splitlines()
    names = [name.replace("_", " ") for name in head.split("|")[1].split()]
    for line in lines:
        row, cells = (half.strip() for half in line.split("|"))
        research, _, named = row.partition("+")
        for name, cell in zip(names, cells.split(), strict=True):
            asked = purpose(research, *NAMED[named])
            yield pytest.param(CONSENTS[name], asked, cell, id=f"{row} on {name}")


@pytest.mark.parametrize(("terms", "asked", "cell"), list(grid()))
def test_permission_by_purpose(terms, asked, cell):
    assert coverage(consent(*terms), asked).covers is {"Y": True, "N": False, "?": None}[cell]


def test_the_grid_asks_every_kind_of_use():
    assert {row.values[1].research for row in grid()} == set(Research)


WHY = {
    "a form nobody has mapped": (
        consent(Duo.GRU, mapped=False),
        purpose("health"),
        answer(None, Reason.FORM_UNMAPPED),
    ),
    "no permission": (consent(), purpose("health"), answer(False, Reason.NO_PERMISSION)),
    "a modifier is no permission": (
        consent(Duo.PUB),
        purpose("health", publication_planned=True),
        answer(False, Reason.NO_PERMISSION, duties=(Duty(code="DUO:0000019"),)),
    ),
    "ancestry on HMB": (
        consent(Duo.HMB),
        purpose("ancestry"),
        answer(False, Reason.ANCESTRY_EXCLUDED),
    ),
    "anything on HMB": (
        consent(Duo.HMB),
        purpose("general"),
        answer(False, Reason.PERMISSION_TOO_NARROW),
    ),
    "health on POA": (consent(Duo.POA), purpose("health"), answer(False, Reason.ANCESTRY_ONLY)),
    "another disease": (
        consent((Duo.DS, CANCER)),
        purpose("disease", DIABETES),
        answer(False, Reason.DISEASE_NOT_COVERED),
    ),
    "care without CC": (
        consent(Duo.HMB),
        purpose("clinical_care"),
        answer(False, Reason.CLINICAL_CARE),
    ),
    "each permission says why not": (
        consent((Duo.DS, CANCER), Duo.POA),
        purpose("disease", DIABETES),
        answer(False, Reason.ANCESTRY_ONLY, Reason.DISEASE_NOT_COVERED),
    ),
    "of several permissions only the unknown is the reason": (
        consent(Duo.HMB, Duo.POA),
        purpose("methods"),
        answer(None, Reason.PERMISSION_TOO_NARROW),
    ),
    "a disease whose ancestors are unknown": (
        consent((Duo.DS, CANCER)),
        purpose("disease", LUNG_CANCER, disease_ancestors={}),
        answer(None, Reason.DISEASE_NOT_COVERED),
    ),
    "the consented disease needs no ancestors": (
        consent((Duo.DS, CANCER)),
        purpose("disease", CANCER, disease_ancestors={}),
        answer(True),
    ),
    "one disease outside outweighs one unknown": (
        consent((Duo.DS, CANCER)),
        purpose("disease", LUNG_CANCER, DIABETES, disease_ancestors={DIABETES: frozenset()}),
        answer(False, Reason.DISEASE_NOT_COVERED),
    ),
    "diseases consented to one by one are pooled": (
        consent((Duo.DS, CANCER), (Duo.DS, DIABETES)),
        purpose("disease", LYMPHOMA, DIABETES),
        answer(True),
    ),
    "diseases consented to in one term": (
        consent((Duo.DS, CANCER, DIABETES)),
        purpose("disease", LYMPHOMA, DIABETES),
        answer(True),
    ),
    "DS without its disease": (
        consent(Duo.DS),
        purpose("disease", CANCER),
        answer(None, Reason.PARAMETER),
    ),
    "DS without its disease, and a permission that refuses": (
        consent(Duo.DS, Duo.POA),
        purpose("disease", CANCER),
        answer(None, Reason.PARAMETER),
    ),
    "an unknown code beside a permission that covers": (
        consent(Duo.GRU, "DUO:0000099"),
        purpose("health"),
        answer(None, Reason.UNKNOWN_CODE),
    ),
    "an unknown code alone": (
        consent("DUO:0000099"),
        purpose("health"),
        answer(None, Reason.UNKNOWN_CODE),
    ),
    "an unknown code and a modifier that refuses": (
        consent(Duo.GRU, "DUO:0000099", Duo.NPOA),
        purpose("ancestry"),
        answer(False, Reason.ANCESTRY_EXCLUDED),
    ),
    "a malformed modifier does not soften a refusal": (
        consent(Duo.HMB, (Duo.MOR, "soon")),
        purpose("ancestry"),
        answer(False, Reason.ANCESTRY_EXCLUDED),
    ),
    "a malformed CC may still be a CC": (
        consent(Duo.HMB, (Duo.CC, "x")),
        purpose("clinical_care"),
        answer(None, Reason.PARAMETER),
    ),
    "a code of another vocabulary": (
        consent(Duo.GRU, "ICO:0000001"),
        purpose("health"),
        answer(None, Reason.UNKNOWN_CODE),
    ),
    "retired research use only": (
        consent(Duo.GRU, "DUO:0000014"),
        purpose("health"),
        answer(None, Reason.UNKNOWN_CODE),
    ),
    "retired GRU-CC covers research": (consent("DUO:0000005"), purpose("health"), answer(True)),
    "retired GRU-CC covers care": (consent("DUO:0000005"), purpose("clinical_care"), answer(True)),
    "NPOA by its misspelt IRI": (
        consent(Duo.GRU, "http://purl.obolibrary.org/obo/DUO_00000044"),
        purpose("ancestry"),
        answer(False, Reason.ANCESTRY_EXCLUDED),
    ),
    "all reasons, sorted": (
        consent(Duo.GRU, Duo.NPU, (Duo.GS, "CN"), Duo.IRB),
        purpose("health", not_for_profit=False, countries=frozenset({"US"}), ethics_approved=False),
        answer(
            False,
            Reason.ETHICS,
            Reason.FOR_PROFIT,
            Reason.PLACE,
            duties=(Duty(code="DUO:0000022", values=("CN",)),),
        ),
    ),
    "a refusal hides what is merely unknown": (
        consent(Duo.GRU, Duo.NPU, Duo.IRB),
        purpose("health", not_for_profit=False),
        answer(False, Reason.FOR_PROFIT),
    ),
}


@pytest.mark.parametrize(("donor", "asked", "expected"), WHY.values(), ids=WHY.keys())
def test_why(donor, asked, expected):
    assert coverage(donor, asked) == expected


# Every modifier by every state of what it looks at: on GRU, for health research unless said.
HEALTH = purpose("health")
PLAN = replace(HEALTH, publication_planned=True)
PI = (Duo.COL, "pi-1", "pi-2")
MODIFIERS = {
    "NPU: not for profit": (Duo.NPU, replace(HEALTH, not_for_profit=True), True),
    "NPU: a company": (Duo.NPU, replace(HEALTH, not_for_profit=False), Reason.FOR_PROFIT),
    "NPU: unknown": (Duo.NPU, HEALTH, (None, Reason.FOR_PROFIT)),
    "NCU: a company's non-commercial use": (
        Duo.NCU,
        replace(HEALTH, not_for_profit=False),
        True,
    ),
    "NPUNCU: both": (Duo.NPUNCU, replace(HEALTH, not_for_profit=True), True),
    "NPUNCU: a company's non-commercial use": (
        Duo.NPUNCU,
        replace(HEALTH, not_for_profit=False),
        Reason.FOR_PROFIT,
    ),
    "NPUNCU: unknown organisation": (Duo.NPUNCU, HEALTH, (None, Reason.FOR_PROFIT)),
    "GSO: genetic": (Duo.GSO, replace(HEALTH, genetic=True), True),
    "GSO: phenotype only": (Duo.GSO, replace(HEALTH, genetic=False), Reason.GENETIC_ONLY),
    "GSO: unknown": (Duo.GSO, HEALTH, (None, Reason.GENETIC_ONLY)),
    "NMDS: health": (Duo.NMDS, HEALTH, True),
    "NMDS: methods": (Duo.NMDS, purpose("methods"), Reason.METHODS_EXCLUDED),
    "NMDS: methods for a disease": (Duo.NMDS, purpose("methods", CANCER), Reason.METHODS_EXCLUDED),
    "NMDS: any research": (Duo.NMDS, purpose("general"), Reason.METHODS_EXCLUDED),
    "NPOA: health": (Duo.NPOA, HEALTH, True),
    "NPOA: ancestry": (Duo.NPOA, purpose("ancestry"), Reason.ANCESTRY_EXCLUDED),
    "NPOA: any research": (Duo.NPOA, purpose("general"), Reason.ANCESTRY_EXCLUDED),
    "RS: the type named": (
        (Duo.RS, "topic:3337"),
        replace(HEALTH, research_types=("topic:3337",)),
        True,
    ),
    "RS: another, perhaps narrower": (
        (Duo.RS, "topic:3337"),
        replace(HEALTH, research_types=("topic:3337", "topic:3063")),
        (None, Reason.RESEARCH_TYPE),
    ),
    "RS: none named": ((Duo.RS, "topic:3337"), HEALTH, (None, Reason.RESEARCH_TYPE)),
    "GS: there": ((Duo.GS, "CN", "HK"), replace(HEALTH, countries=frozenset({"CN"})), True),
    "GS: also elsewhere": (
        (Duo.GS, "CN", "HK"),
        replace(HEALTH, countries=frozenset({"CN", "US"})),
        Reason.PLACE,
    ),
    "GS: Hong Kong is not meant by CN": (
        (Duo.GS, "CN"),
        replace(HEALTH, countries=frozenset({"HK"})),
        Reason.PLACE,
    ),
    "GS: unknown": ((Duo.GS, "CN"), HEALTH, (None, Reason.PLACE)),
    "GS: nowhere is not everywhere": (
        (Duo.GS, "CN"),
        replace(HEALTH, countries=frozenset()),
        (None, Reason.PLACE),
    ),
    "GS: a region nobody can read": (
        (Duo.GS, "Greater Bay Area"),
        replace(HEALTH, countries=frozenset({"CN"})),
        (None, Reason.PARAMETER),
    ),
    "US: approved users": ((Duo.US, "u-1", "u-2"), replace(HEALTH, users=("u-2",)), True),
    "US: one more": ((Duo.US, "u-1"), replace(HEALTH, users=("u-1", "u-3")), Reason.USER),
    "US: unknown": ((Duo.US, "u-1"), HEALTH, (None, Reason.USER)),
    "US: nobody named": ((Duo.US, "u-1"), replace(HEALTH, users=()), (None, Reason.USER)),
    "PS: the project": ((Duo.PS, "p-1"), replace(HEALTH, project="p-1"), True),
    "PS: another": ((Duo.PS, "p-1"), replace(HEALTH, project="p-2"), Reason.PROJECT),
    "PS: unknown": ((Duo.PS, "p-1"), HEALTH, (None, Reason.PROJECT)),
    "IS: the institution": ((Duo.IS, "i-1"), replace(HEALTH, institution="i-1"), True),
    "IS: another": ((Duo.IS, "i-1"), replace(HEALTH, institution="i-2"), Reason.INSTITUTION),
    "IS: unknown": ((Duo.IS, "i-1"), HEALTH, (None, Reason.INSTITUTION)),
    "IRB: approved": (Duo.IRB, replace(HEALTH, ethics_approved=True), True),
    "IRB: refused": (Duo.IRB, replace(HEALTH, ethics_approved=False), Reason.ETHICS),
    "IRB: not yet": (Duo.IRB, HEALTH, (None, Reason.ETHICS)),
    "PUB: planned": (Duo.PUB, PLAN, True),
    "PUB: not planned": (Duo.PUB, replace(HEALTH, publication_planned=False), Reason.PUBLICATION),
    "PUB: unknown": (Duo.PUB, HEALTH, (None, Reason.PUBLICATION)),
    "COL: with every investigator": (
        PI,
        replace(HEALTH, collaborators=("pi-2", "pi-1", "x")),
        True,
    ),
    "COL: with one of two": (PI, replace(HEALTH, collaborators=("pi-1",)), Reason.COLLABORATION),
    "COL: with nobody": (PI, replace(HEALTH, collaborators=()), Reason.COLLABORATION),
    "COL: unknown": (PI, HEALTH, (None, Reason.COLLABORATION)),
    "COL: of nobody named": (
        Duo.COL,
        replace(HEALTH, collaborators=("pi-1",)),
        (None, Reason.PARAMETER),
    ),
    "MOR: on the day": (
        (Duo.MOR, "2027-01-01"),
        replace(PLAN, publication_from=date(2027, 1, 1)),
        True,
    ),
    "MOR: the day before": (
        (Duo.MOR, "2027-01-01"),
        replace(PLAN, publication_from=date(2026, 12, 31)),
        Reason.MORATORIUM,
    ),
    "MOR: no publication": (
        (Duo.MOR, "2027-01-01"),
        replace(HEALTH, publication_planned=False),
        True,
    ),
    "MOR: day unknown": ((Duo.MOR, "2027-01-01"), PLAN, (None, Reason.MORATORIUM)),
    "MOR: no such day": (
        (Duo.MOR, "2027-13-01"),
        replace(HEALTH, publication_planned=False),
        (None, Reason.PARAMETER),
    ),
    "TS: a duty only": ((Duo.TS, "24"), HEALTH, True),
    "TS: no number": ((Duo.TS, "two years"), HEALTH, (None, Reason.PARAMETER)),
    "RTN: a duty only": (Duo.RTN, HEALTH, True),
    "CC: takes nothing away": (Duo.CC, HEALTH, True),
}


@pytest.mark.parametrize(("term", "asked", "says"), MODIFIERS.values(), ids=MODIFIERS.keys())
def test_modifier_by_state(term, asked, says):
    match says:
        case True:
            expected = (True, ())
        case Reason():
            expected = (False, (says,))
        case (None, reason):
            expected = (None, (reason,))
    found = coverage(consent(Duo.GRU, term), asked)
    assert (found.covers, found.reasons) == expected


def test_no_modifier_is_left_out_of_the_table():
    # What DUOS gets wrong: it ignores every modifier of the dataset.
    assert {name.partition(":")[0] for name in MODIFIERS} == {
        code.name for code in Duo if code not in PERMISSIONS
    }


@pytest.mark.parametrize(
    ("terms", "duties"),
    [
        pytest.param((Duo.RTN, Duo.PUB), (("DUO:0000019",), ("DUO:0000029",)), id="sorted"),
        pytest.param(((Duo.GS, "HK", "CN"),), (("DUO:0000022", "CN", "HK"),), id="places"),
        pytest.param(
            ((Duo.TS, "24"), (Duo.TS, "12"), (Duo.TS, "24")),
            (("DUO:0000025", "12"), ("DUO:0000025", "24")),
            id="each once",
        ),
        pytest.param(
            ((Duo.MOR, "2027-01-01"), PI),
            (("DUO:0000020", "pi-1", "pi-2"), ("DUO:0000024", "2027-01-01")),
            id="moratorium and collaboration",
        ),
        pytest.param(((Duo.MOR, "soon"),), (), id="what nobody can read is no duty"),
        pytest.param((Duo.NPU, Duo.IRB, (Duo.IS, "i-1")), (), id="eligibility only"),
    ],
)
def test_duties(terms, duties):
    found = coverage(consent(Duo.GRU, *terms), HEALTH)
    assert tuple((duty.code, *duty.values) for duty in found.duties) == duties


# Commercial use by what the donor said: no DUO permission stands for a yes.
COMMERCIAL = """
commercial | yes no not_asked NCU NCU+yes NPUNCU+yes
True       | Y   N  ?         N   N       N
False      | Y   Y  Y         Y   Y       Y
None       | Y   ?  ?         ?   ?       ?
"""
ANSWERS = {
    "yes": consent(Duo.NRES, commercial_use=True),
    "no": consent(Duo.NRES, commercial_use=False),
    "not_asked": consent(Duo.NRES),
    "NCU": consent(Duo.GRU, Duo.NCU),
    "NCU+yes": consent(Duo.GRU, Duo.NCU, commercial_use=True),
    "NPUNCU+yes": consent(Duo.GRU, Duo.NPUNCU, commercial_use=True),
}


def commercial():
    head, *lines = COMMERCIAL.strip().splitlines()
    for line in lines:
        state, cells = (half.strip() for half in line.split("|"))
        for name, cell in zip(head.split("|")[1].split(), cells.split(), strict=True):
            commercial = {"True": True, "False": False, "None": None}[state]
            yield pytest.param(ANSWERS[name], commercial, cell, id=f"{state} on {name}")


@pytest.mark.parametrize(("donor", "state", "cell"), list(commercial()))
def test_commercial_use(donor, state, cell):
    found = coverage(donor, purpose("health", commercial=state, not_for_profit=True))
    assert found.covers is {"Y": True, "N": False, "?": None}[cell]
    assert found.reasons == (() if cell == "Y" else (Reason.COMMERCIAL,))


@pytest.mark.parametrize(
    ("donor", "genetic", "covers"),
    [
        pytest.param(consent(Duo.GRU, genetic_analysis=False), True, False, id="refused"),
        pytest.param(consent(Duo.GRU, genetic_analysis=False), False, True, id="not genetic"),
        pytest.param(consent(Duo.GRU, genetic_analysis=False), None, None, id="perhaps genetic"),
        pytest.param(consent(Duo.GRU, genetic_analysis=True), True, True, id="agreed"),
        pytest.param(consent(Duo.GRU), True, True, id="not asked: the permission speaks"),
    ],
)
def test_a_refusal_of_genetic_analysis(donor, genetic, covers):
    found = coverage(donor, purpose("health", genetic=genetic))
    assert found.covers is covers
    assert found.reasons == (() if covers else (Reason.GENETIC_REFUSED,))


# Properties, over arbitrary consents and purposes.
PARAMETERS = {
    Duo.DS: st.sampled_from([(CANCER,), (DIABETES,), (LUNG_CANCER, DIABETES), ()]),
    Duo.RS: st.sampled_from([("t",), ()]),
    Duo.COL: st.sampled_from([("a",), ("a", "b"), ()]),
    Duo.GS: st.sampled_from([("CN",), ("CN", "US"), ("China",)]),
    Duo.MOR: st.sampled_from([("2027-01-01",), ("2026-01-01",), ("x",)]),
    Duo.TS: st.sampled_from([("12",), ("x",)]),
    Duo.US: st.sampled_from([("a",), ("a", "b")]),
    Duo.PS: st.just(("a",)),
    Duo.IS: st.just(("a",)),
}


def terms(codes):
    return st.sampled_from(codes).flatmap(
        lambda code: st.builds(
            DuoTerm,
            code=st.just(code.value),
            values=PARAMETERS.get(code, st.just(())),
        )
    )


PERMITTING = st.lists(terms(sorted(PERMISSIONS)), max_size=3).map(tuple)
MODIFYING = st.lists(terms(sorted(set(Duo) - PERMISSIONS)), max_size=4).map(tuple)
PROFILES = st.builds(
    Profile,
    id=st.just(ProfileId("p")),
    mapped=st.just(True),
    permissions=PERMITTING,
    modifiers=MODIFYING,
    terms=st.dictionaries(
        st.sampled_from([Term.COMMERCIAL_USE, Term.GENETIC_ANALYSIS]), st.booleans()
    ),
)
MAYBE = st.sampled_from([None, True, False])
NAMES = st.sampled_from([None, ("a",), ("a", "b"), ("c",)])
PURPOSES = st.builds(
    lambda research, named, **facts: purpose(research, *named, **facts),
    research=st.sampled_from(Research),
    named=st.sampled_from([(), (CANCER,), (LUNG_CANCER,), (LUNG_CANCER, DIABETES)]),
    research_types=st.sampled_from([(), ("t",), ("t", "s")]),
    commercial=MAYBE,
    not_for_profit=MAYBE,
    genetic=MAYBE,
    countries=st.sampled_from([None, frozenset({"CN"}), frozenset({"CN", "US"})]),
    institution=st.sampled_from([None, "a", "c"]),
    users=NAMES,
    project=st.sampled_from([None, "a", "c"]),
    collaborators=NAMES,
    ethics_approved=MAYBE,
    publication_planned=MAYBE,
    publication_from=st.sampled_from([None, date(2026, 6, 1), date(2028, 1, 1)]),
)
UNKNOWN = {
    "disease_ancestors": {},
    "research_types": (),
    "commercial": None,
    "not_for_profit": None,
    "genetic": None,
    "countries": None,
    "institution": None,
    "users": None,
    "project": None,
    "collaborators": None,
    "ethics_approved": None,
    "publication_planned": None,
    "publication_from": None,
}


@given(PROFILES, PURPOSES, st.sets(st.sampled_from(sorted(UNKNOWN))))
def test_forgetting_a_fact_of_the_purpose_never_permits(donor, asked, forgotten):
    known = coverage(donor, asked)
    less = coverage(donor, replace(asked, **{name: UNKNOWN[name] for name in forgotten}))
    assert less.covers is not True or known.covers is True
    assert less.covers is not False or known.covers is False, "not knowing refuses nothing either"


@given(PROFILES, PURPOSES, st.data())
def test_a_term_nobody_can_read_never_permits(donor, asked, data):
    unreadable = DuoTerm(code=data.draw(st.sampled_from(["DUO:0000099", "DUO:0000014", "NPU"])))
    at = data.draw(st.integers(0, len(donor.modifiers)))
    modifiers = (*donor.modifiers[:at], unreadable, *donor.modifiers[at + 1 :])
    found = coverage(replace(donor, modifiers=modifiers), asked)
    assert found.covers is not True


@given(PROFILES, PURPOSES)
def test_what_was_not_asked_or_not_mapped_never_permits(donor, asked):
    known = coverage(donor, asked)
    answers = {term: said for term, said in donor.terms.items() if term is not Term.COMMERCIAL_USE}
    assert coverage(replace(donor, terms=answers), asked).covers is not True or known.covers is True
    assert coverage(replace(donor, mapped=False), asked) == answer(None, Reason.FORM_UNMAPPED)


@given(PROFILES, PURPOSES, terms(sorted(set(Duo) - PERMISSIONS - {Duo.CC})))
def test_a_further_modifier_only_takes_away(donor, asked, further):
    before = coverage(donor, asked)
    after = coverage(replace(donor, modifiers=(*donor.modifiers, further)), asked)
    assert after.covers is not True or before.covers is True
    assert set(before.duties) <= set(after.duties)


@given(PROFILES, PURPOSES, terms(sorted(PERMISSIONS)))
def test_a_further_permission_that_can_be_read_takes_nothing_away(donor, asked, further):
    if further.code == Duo.DS and not further.values:
        further = DuoTerm(code=Duo.DS.value, values=(CANCER,))
    before = coverage(donor, asked)
    after = coverage(replace(donor, permissions=(*donor.permissions, further)), asked)
    assert before.covers is not True or after.covers is True


@given(PROFILES, PURPOSES, st.randoms(use_true_random=False))
def test_the_order_and_the_list_of_terms_are_nothing(donor, asked, random):
    written = [*donor.permissions, *donor.modifiers]
    random.shuffle(written)
    cut = random.randint(0, len(written))
    other = replace(donor, permissions=tuple(written[:cut]), modifiers=tuple(written[cut:]))
    assert coverage(other, asked) == coverage(donor, asked)


@given(PROFILES, PURPOSES)
def test_reasons_stand_where_the_answer_is_not_yes(donor, asked):
    found = coverage(donor, asked)
    assert (found.covers is True) == (not found.reasons)
    assert list(found.reasons) == sorted(set(found.reasons))


# ---- what the applicant left out ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modifier", "stated", "missing"),
    [
        ("DUO:0000046", {"commercial": None}, {"purpose.commercial"}),
        ("DUO:0000016", {"genetic": None}, {"purpose.genetic"}),
        ("DUO:0000019", {"publication_planned": None}, {"purpose.publication_planned"}),
        ("DUO:0000021", {"ethics_approved": None}, {"purpose.ethics_approved"}),
        ("DUO:0000045", {"not_for_profit": None}, set()),  # the bank's register says it
        ("DUO:9999999", {}, set()),  # nobody can say what an unknown code means
        ("DUO:0000046", {"commercial": True}, set()),  # not open: not covered
        ("DUO:0000046", {"commercial": False}, set()),  # not open: covered
    ],
    ids=["NCU", "GSO", "PUB", "IRB", "NPU", "unknown code", "refused", "covered"],
)
def test_what_an_applicant_must_still_say(
    modifier: str, stated: dict[str, object], missing: set[str]
) -> None:
    profile = Profile(
        id=ProfileId("p"),
        mapped=True,
        permissions=(DuoTerm(code="DUO:0000042"),),
        modifiers=(DuoTerm(code=modifier),),
        terms={Term.COMMERCIAL_USE: True},
    )
    whole = {
        "commercial": False,
        "genetic": True,
        "not_for_profit": True,
        "ethics_approved": True,
        "publication_planned": True,
    }
    purpose = Purpose(research=Research.HEALTH, **(whole | stated))
    assert left_out(coverage(profile, purpose), purpose) == missing


def test_an_open_consent_is_not_the_applicants_to_close() -> None:
    """Asked for commercially, and the form never asked: the donor's word is missing, not theirs."""
    profile = Profile(id=ProfileId("p"), mapped=True, permissions=(DuoTerm(code="DUO:0000042"),))
    purpose = Purpose(research=Research.HEALTH, commercial=True)
    assert coverage(profile, purpose).covers is None
    assert left_out(coverage(profile, purpose), purpose) == set()
