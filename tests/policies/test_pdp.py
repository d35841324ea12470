"""The PDP: outcomes, selections, exact people, obligations, and what no change of facts may do."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from enum import StrEnum
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import hearing, packs, rules, vocabulary
from policies.consent import DuoTerm, Duty, Profile, ProfileId
from policies.decision import Deny, Effect, Hold, Permit, Refer, Result
from policies.document import encode
from policies.findings import duties_of_consents, months_after
from policies.pdp import Outcome, Standing, Unknown, combine, decide
from policies.request import PolicyError
from policies.rules import Law
from policies.vocabulary import Vocabulary
from tests.policies.small import (
    CLEAN,
    CLEAR,
    DAY,
    DIRECTORY,
    FUNCTIONS,
    PROFILES,
    group,
    question,
    small_law,
    stratum,
    without,
)


class Act(StrEnum):
    """The text of an act, but not a text."""

    RELEASE = "release"


ONE = (stratum("s1", 10),)
LICENCE_ENDS = date(2026, 12, 31)
FOREIGN = {**CLEAR, "recipient.country": "US"}
REPORTED = {**FOREIGN, "paper.report.recorded": True, "paper.report.valid_to": date(2025, 3, 1)}


def ask(facts=CLEAR, strata=ONE, groups=(), **more):
    return decide(question(facts, strata, groups, **more), small_law())


def finding(decision, rule, result=None):
    found = [f for f in decision.findings if f.rule == rule and result in {None, f.result}]
    assert len(found) == 1, [(f.rule, f.result) for f in decision.findings]
    return found[0]


def item(**facts):
    return {**CLEAN, **{name.replace("__", "."): value for name, value in facts.items()}}


@pytest.mark.parametrize(
    ("facts", "strata", "outcome", "rule", "result"),
    [
        pytest.param(CLEAR, ONE, Permit, "licence-is-a-basis", "holds", id="all clear"),
        pytest.param(
            {**CLEAR, "request.forbidden": True},
            ONE,
            Deny,
            "nothing-forbidden",
            "holds",
            id="deny holds",
        ),
        pytest.param(
            without(CLEAR, "request.forbidden"),
            ONE,
            Refer,
            "nothing-forbidden",
            "unknown",
            id="deny unknown, bank's fact",
        ),
        pytest.param(
            without(CLEAR, "request.price"),
            ONE,
            Hold,
            "price-within-cost",
            "unknown",
            id="deny unknown, applicant's fact",
        ),
        pytest.param(
            {**CLEAR, "request.doubtful": True},
            ONE,
            Refer,
            "doubt-goes-to-a-person",
            "holds",
            id="refer holds",
        ),
        pytest.param(
            without(CLEAR, "request.doubtful"),
            ONE,
            Refer,
            "doubt-goes-to-a-person",
            "unknown",
            id="refer unknown",
        ),
        pytest.param(FOREIGN, ONE, Hold, "report-first", "holds", id="require unmet"),
        pytest.param(
            without(FOREIGN, "paper.report.recorded"),
            ONE,
            Refer,
            "report-first",
            "unknown",
            id="require unknown",
        ),
        pytest.param(REPORTED, ONE, Permit, "report-first", "does_not_hold", id="require met"),
        pytest.param(
            {**CLEAR, "paper.licence.recorded": False},
            ONE,
            Deny,
            "no-basis",
            "holds",
            id="no basis",
        ),
        pytest.param(
            without(CLEAR, "paper.licence.recorded"),
            ONE,
            Refer,
            "no-basis",
            "unknown",
            id="basis unknown",
        ),
        pytest.param(
            {**CLEAR, "material_exits": True},
            (stratum("s1", 10, item(item__class="material")),),
            Deny,
            "no-basis",
            "holds",
            id="domestic basis is none abroad",
        ),
        pytest.param(
            without(CLEAR, "material_exits"),
            (stratum("s1", 10, item(item__class="material")),),
            Refer,
            "no-basis",
            "unknown",
            id="border unknown",
        ),
        pytest.param(
            {**CLEAR, "material_exits": True},
            (stratum("s1", 10, item(item__class="material", item__exempt=True)),),
            Permit,
            "exempt-is-free",
            "holds",
            id="exemption is a basis",
        ),
        pytest.param(
            {**CLEAR, "paper.licence.recorded": False},
            (stratum("s1", 10, without(CLEAN, "item.exempt")),),
            Refer,
            "no-basis",
            "unknown",
            id="exemption unknown",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, without(CLEAN, "item.class")),),
            Permit,
            "licence-is-a-basis",
            "holds",
            id="class unknown, basis for both",
        ),
        pytest.param(
            {**CLEAR, "material_exits": True},
            (stratum("s1", 10, without(CLEAN, "item.class")),),
            Refer,
            "no-basis",
            "unknown",
            id="class unknown, basis for one",
        ),
        pytest.param(
            {**CLEAR, "request.price": 13},
            ONE,
            Refer,
            "rumour-denies",
            "holds",
            id="tentative deny asks a person",
        ),
        pytest.param(
            {**CLEAR, "request.price": 14, "paper.licence.recorded": False, "material_exits": True},
            (stratum("s1", 10, item(item__class="material")),),
            Refer,
            "rumour-permits",
            "unknown",
            id="tentative permit is unknown",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, item(item__suspect=True)),),
            Refer,
            "suspect-items-to-a-person",
            "holds",
            id="stratum refers",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, without(CLEAN, "item.suspect")),),
            Refer,
            "suspect-items-to-a-person",
            "unknown",
            id="stratum refer unknown",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, item(item__kind="inherited", item__owner_consents=False)),),
            Hold,
            "owner-consents",
            "holds",
            id="stratum requires",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, without(CLEAN, "donor.withdrawn")),),
            Refer,
            "withdrawn-donors-stay",
            "unknown",
            id="stratum deny unknown",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, profile="unmapped"),),
            Refer,
            "consent-covers",
            "unknown",
            id="unmapped form",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, item(donor__withdrawn=True)),),
            Deny,
            "withdrawn-donors-stay",
            "holds",
            id="all strata out",
        ),
        pytest.param(
            CLEAR,
            (stratum("s1", 10, profile="ancestry"),),
            Deny,
            "consent-covers",
            "holds",
            id="consent does not cover",
        ),
        pytest.param(CLEAR, (), Deny, "nothing-asked", "holds", id="nothing asked"),
        pytest.param(
            {**CLEAR, "request.action": "collect"},
            (),
            Deny,
            "no-basis",
            "holds",
            id="no strata is never a permit",
        ),
        pytest.param(
            {**CLEAR, "request.action": "collect", "request.forbidden": True},
            (),
            Deny,
            "nothing-forbidden",
            "holds",
            id="no strata, deny",
        ),
        pytest.param(
            {"request.action": "open_access"},
            (),
            Deny,
            "nothing-asked",
            "holds",
            id="open access to nothing",
        ),
    ],
)
def test_outcomes(facts, strata, outcome, rule, result):
    decision = ask(facts, strata)
    assert type(decision) is outcome
    assert finding(decision, rule, Result(result)).touched <= 10


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        pytest.param(
            {"forbidden": True, "doubtful": True, "country": "US"}, Deny, id="deny over all"
        ),
        pytest.param({"doubtful": True, "country": "US"}, Refer, id="refer over require"),
        pytest.param(
            {"doubtful": True, "price": None}, Refer, id="refer over what the applicant can say"
        ),
        pytest.param(
            {"forbidden": None, "price": None}, Refer, id="one fact of the bank's is enough"
        ),
        pytest.param({"price": None, "country": "US"}, Hold, id="two holds"),
        pytest.param({"price": None, "licence": False}, Hold, id="hold before want of a basis"),
    ],
)
def test_the_stronger_effect_wins(changes, outcome):
    names = {"forbidden": "request.forbidden", "doubtful": "request.doubtful", "price": "request.price",
             "country": "recipient.country", "licence": "paper.licence.recorded"}  # fmt: skip
    facts = {**CLEAR, **{names[name]: value for name, value in changes.items()}}
    facts = {name: value for name, value in facts.items() if value is not None}
    assert type(ask(facts)) is outcome


def test_combine_is_total_and_only_a_clean_standing_is_permitted():
    rows = list(product([True, False], Unknown, [True, False], [True, False], [True, False, None]))
    for prohibited, unknown, referred, lacking, grounded in rows:
        standing = Standing(
            prohibited=prohibited,
            unknown=unknown,
            referred=referred,
            lacking=lacking,
            grounded=grounded,
        )
        clean = (
            not (prohibited or referred or lacking)
            and unknown is Unknown.NOTHING
            and grounded is True
        )
        assert (combine(standing) is Outcome.PERMIT) is clean
        if prohibited:
            assert combine(standing) is Outcome.DENY


def test_a_decision_names_the_facts_that_were_missing():
    facts = without(CLEAR, "paper.licence.recorded", "request.forbidden")
    decision = ask(facts)
    assert finding(decision, "nothing-forbidden").missing == ("request.forbidden",)
    assert finding(decision, "licence-is-a-basis").missing == ("paper.licence.recorded",)
    assert ask(without(CLEAR, "paper.licence.recorded")).findings[-1].missing == (
        "paper.licence.recorded",
    )


def test_a_hold_names_the_papers():
    inherited = item(item__kind="inherited", item__owner_consents=False)
    decision = ask(FOREIGN, (stratum("s1", 10, inherited),))
    assert decision.papers == ("owner_consent", "report")
    assert ask(without(CLEAR, "request.price")).papers == ()


def test_donors_first_and_people_are_exact():
    """Ten people: three withdrew, two are minors, one is both; two give two things each."""
    strata = (
        stratum("clean", 6),
        stratum("plasma", 2, item(item__class="material", item__kind="plasma")),
        stratum("withdrawn", 3, item(donor__withdrawn=True)),
        stratum("minor", 3, item(donor__minor=True)),
        stratum("both", 1, item(donor__minor=True, donor__withdrawn=True)),
    )
    groups = (
        group(3, "clean"),
        group(2, "clean", "plasma"),
        group(1, "clean", "withdrawn"),
        group(2, "withdrawn"),
        group(2, "minor"),
        group(1, "minor", "both"),
    )
    decision = ask(CLEAR, strata, groups)
    assert isinstance(decision, Permit)
    chosen = decision.selection
    assert (chosen.asked.people, chosen.asked.items, chosen.asked.units) == (11, 15, 30)
    assert (chosen.permitted.people, chosen.permitted.items) == (6, 8)
    assert chosen.strata == ("clean", "plasma")
    minors, withdrawn = sorted(chosen.excluded, key=lambda one: one.rule)
    assert (minors.rule, minors.strata, minors.touched, minors.alone) == (
        "minors-stay", ("both", "minor"), 3, 3,
    )  # fmt: skip
    # One of the withdrawn gives something else that may go, one is out as a minor too.
    assert (withdrawn.rule, withdrawn.strata, withdrawn.touched, withdrawn.alone) == (
        "withdrawn-donors-stay", ("both", "withdrawn"), 4, 2,
    )  # fmt: skip
    told = finding(decision, "withdrawn-donors-stay")
    assert (told.touched, told.alone, told.strata) == (4, 2, ("both", "withdrawn"))


def test_a_stratum_that_is_out_says_nothing_more():
    strata = (stratum("in", 5), stratum("out", 5, item(donor__withdrawn=True, item__suspect=True)))
    decision = ask(CLEAR, strata)
    assert isinstance(decision, Permit)
    assert finding(decision, "suspect-items-to-a-person").result is Result.DOES_NOT_HOLD


def test_a_rule_may_hold_in_one_stratum_and_be_unknown_in_another():
    strata = (
        stratum("a", 5, item(item__suspect=True)),
        stratum("b", 4, without(CLEAN, "item.suspect")),
    )
    decision = ask(CLEAR, strata)
    holds = finding(decision, "suspect-items-to-a-person", Result.HOLDS)
    unknown = finding(decision, "suspect-items-to-a-person", Result.UNKNOWN)
    assert (holds.strata, holds.touched, holds.alone) == (("a",), 5, 9)
    assert (unknown.strata, unknown.touched, unknown.missing) == (("b",), 4, ("item.suspect",))


def test_alone_says_whom_one_cure_would_free():
    only = finding(ask(FOREIGN), "report-first")
    assert (only.touched, only.alone) == (10, 10)
    both = ask({**FOREIGN, "request.doubtful": True})
    assert finding(both, "report-first").alone == 0
    assert finding(both, "doubt-goes-to-a-person").alone == 0


def test_a_rule_that_does_not_apply_is_not_reported():
    rules = {f.rule for f in ask().findings}
    assert "report-first" not in rules
    assert "owner-consents" not in rules


def test_consent_reasons_are_told():
    decision = ask(CLEAR, (stratum("s1", 5), stratum("s2", 5, profile="ancestry")))
    assert isinstance(decision, Permit)
    assert finding(decision, "consent-covers").reasons == ("ancestry_only",)


def law_without(*rules):
    law = small_law()
    editions = [
        replace(e, rules=tuple(r for r in e.rules if r.id not in rules), ends=())
        for e in law.editions
    ]
    return Law(law.vocabulary, editions, law.digests)


@pytest.mark.parametrize(
    ("profile", "outcome", "result"),
    [("ancestry", Deny, Result.HOLDS), ("unmapped", Refer, Result.UNKNOWN)],
)
def test_no_permit_without_consent_even_if_no_rule_asks(profile, outcome, result):
    decision = decide(
        question(strata=(stratum("s1", 5), stratum("s2", 5, profile=profile))),
        law_without("consent-covers"),
    )
    assert type(decision) is outcome
    told = finding(decision, "no-consent", result)
    assert (told.strata, told.touched) == (("s2",), 5)
    assert told.missing == (() if outcome is Deny else ("consent.covers",))


def test_no_law_is_no_permit():
    decision = ask(as_of=date(2019, 12, 31))
    assert isinstance(decision, Deny)
    assert [f.rule for f in decision.findings] == ["no-basis"]


def test_a_vocabulary_without_the_notion_of_foreign_permits_nothing():
    law = small_law()
    facts = {
        name: f for name, f in law.vocabulary.facts.items() if name != "crosses_border_information"
    }
    bare = Law(Vocabulary(version="1", facts=facts), law.editions, law.digests)
    decision = decide(question(REPORTED, ONE), bare)
    assert isinstance(decision, Permit)  # the recipient is foreign whatever the border
    decision = decide(question(CLEAR, ONE), bare)
    assert isinstance(decision, Refer)
    assert finding(decision, "no-basis").missing == ("crosses_border_information",)


def test_selection_facts_are_three_valued():
    def result(facts, strata, groups=(), rule="crowds-are-told"):
        return finding(ask(facts, strata, groups), rule)

    assert result(CLEAR, (stratum("a", 999),)).result is Result.DOES_NOT_HOLD
    assert result(CLEAR, (stratum("a", 600), stratum("b", 400))).result is Result.HOLDS
    shared = (group(600, "a", "b"),)
    assert (
        result(CLEAR, (stratum("a", 600), stratum("b", 600)), shared).result is Result.DOES_NOT_HOLD
    )


def test_obligations_come_with_a_permit_and_unknown_ones_too():
    permit = ask(REPORTED)
    assert [(o.id, o.months, o.before_release) for o in permit.obligations] == [
        ("archive-report", None, False),
        ("keep-records", 12, False),
    ]
    assert [o.id for o in ask({**CLEAR, "request.action": "collect"}).obligations] == []
    crowd = ask(without(CLEAR, "request.action"), (stratum("a", 1000),))
    assert [(o.id, o.says["en"]) for o in crowd.obligations] == [
        ("keep-records", "keep-records"),
        ("tell-crowd", "tell them"),
    ]
    assert ask({**CLEAR, "request.forbidden": True}).obligations == ()


def with_terms(*terms):
    profile = Profile(
        id=ProfileId("p"), mapped=True, permissions=PROFILES["general"].permissions, modifiers=terms
    )
    asked = question(strata=(stratum("s1", 5, profile="p"),))
    return replace(asked, profiles={profile.id: profile})


def test_consent_duties_become_obligations_and_bound_the_permit():
    decision = decide(
        with_terms(DuoTerm(code="DUO:0000025", values=("6",)), DuoTerm(code="DUO:0000029")),
        small_law(),
    )
    assert isinstance(decision, Permit)
    duties = {o.id: o for o in decision.obligations if o.rule == "consent"}
    assert set(duties) == {"end-use-after-months", "return-derived-data"}
    assert duties["end-use-after-months"].months == 6
    assert decision.until == date(2024, 12, 1)


def test_duties_of_many_consents_merge_to_the_strictest():
    merged = {
        o.no: o
        for o in duties_of_consents(
            [
                Duty(code="DUO:0000024", values=("2025-01-01",)),
                Duty(code="DUO:0000024", values=("2026-06-30",)),
                Duty(code="DUO:0000025", values=("24",)),
                Duty(code="DUO:0000025", values=("6",)),
                Duty(code="DUO:0000022", values=("CN", "HK")),
                Duty(code="DUO:0000022", values=("CN", "MO")),
                Duty(code="DUO:0000020", values=("pi-2",)),
                Duty(code="DUO:0000020", values=("pi-1",)),
                Duty(code="DUO:0000019"),
            ]
        )
    }
    assert merged["DUO:0000024"].values == ("2026-06-30",)
    assert (merged["DUO:0000025"].months, merged["DUO:0000025"].values) == (6, ())
    assert merged["DUO:0000022"].values == ("CN",)
    assert merged["DUO:0000020"].values == ("pi-1", "pi-2")
    assert merged["DUO:0000019"].values == ()


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2023, 1, 31), 1, date(2023, 2, 28)),
        (date(2024, 12, 15), 1, date(2025, 1, 15)),
        (date(2024, 6, 1), 12, date(2025, 6, 1)),
        (date(2024, 6, 1), 0, date(2024, 6, 1)),
        (date(9999, 6, 1), 12, date(9999, 12, 31)),
    ],
)
def test_months_after(day, months, expected):
    assert months_after(day, months) == expected


def consent_until(day):
    return (stratum("s1", 10, {**CLEAN, "consent.earliest_expiry": day}),)


@pytest.mark.parametrize(
    ("facts", "strata", "until"),
    [
        pytest.param(CLEAR, ONE, LICENCE_ENDS, id="the licence"),
        pytest.param(REPORTED, ONE, date(2025, 3, 1), id="the report it rests on"),
        pytest.param(
            {**REPORTED, "recipient.country": "CN"},
            ONE,
            LICENCE_ENDS,
            id="a report it does not need",
        ),
        pytest.param(CLEAR, consent_until(date(2024, 8, 1)), date(2024, 8, 1), id="the consent"),
        pytest.param(
            CLEAR, consent_until(date(2030, 8, 1)), LICENCE_ENDS, id="the consent outlasts"
        ),
        pytest.param(
            {**CLEAR, "paper.licence.recorded": False},
            (stratum("s1", 10, item(item__exempt=True)),),
            None,
            id="nothing that ends",
        ),
        pytest.param(
            {**CLEAR, "paper.licence.valid_to": date(2020, 1, 1)},
            (stratum("s1", 10, item(item__exempt=True)),),
            None,
            id="what lapsed is not relied on",
        ),
        pytest.param({**CLEAR, "paper.licence.valid_to": DAY}, ONE, DAY, id="last day"),
    ],
)
def test_a_permit_stands_as_long_as_what_it_stands_on(facts, strata, until):
    assert ask(facts, strata).until == until


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"facts": {**CLEAR, "request.colour": "red"}},
            "not a fact that can be given",
            id="unknown fact",
        ),
        pytest.param(
            {"facts": {**CLEAR, "item.kind": "dna"}},
            "not a fact that can be given of a request",
            id="wrong level",
        ),
        pytest.param(
            {"facts": {**CLEAR, "any_foreign": False}},
            "not a fact that can be given",
            id="derived fact given",
        ),
        pytest.param(
            {"facts": {**CLEAR, "as_of": DAY}}, "found by the PDP", id="date given as fact"
        ),
        pytest.param(
            {"facts": {**CLEAR, "request.price": True}}, "is no int", id="true is no price"
        ),
        pytest.param({"facts": {**CLEAR, "share": "1/0"}}, "is no fraction", id="no share"),
        pytest.param(
            {"strata": (stratum("s1", 1, item(consent__covers=True)),)},
            "found by the PDP",
            id="coverage given",
        ),
        pytest.param(
            {"strata": (stratum("s1", 1, {"profile.mapped": True}),)},
            "found by the PDP",
            id="profile given",
        ),
        pytest.param(
            {"strata": (stratum("s1", 1), stratum("s1", 1))}, "named twice", id="stratum twice"
        ),
        pytest.param(
            {"strata": (stratum("s1", 1, profile="gone"),)},
            "unknown profile `gone`",
            id="no profile",
        ),
        pytest.param(
            {"strata": (stratum("s1", 2),), "groups": (group(1, "s1"),)},
            "do not add up",
            id="people missing",
        ),
        pytest.param(
            {"strata": ONE, "groups": (group(10, "s1"), group(1, "s2"))},
            "unknown stratum `s2`",
            id="unknown stratum",
        ),
        pytest.param(
            {"strata": ONE, "groups": (group(10, "s1"), group(1))},
            "must name strata",
            id="group of nothing",
        ),
        pytest.param(
            {"strata": ONE, "groups": (group(5, "s1", "s1"),)},
            "each once",
            id="stratum twice in a group",
        ),
        pytest.param({"strata": (stratum("s1", -1),)}, "whole numbers", id="fewer than nobody"),
        pytest.param({"strata": (replace(ONE[0], units=1.5),)}, "whole numbers", id="half a tube"),
        pytest.param(
            {"strata": (replace(ONE[0], items=-1),)}, "whole numbers", id="fewer than nothing"
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(change, words):
    with pytest.raises(PolicyError, match=words):
        ask(**change)


def test_what_fails_inside_is_a_policy_error_and_never_a_permit():
    law = small_law()

    def broken(look):
        return {}["x"]

    fact = law.vocabulary.facts["any_foreign"]
    facts = {
        **law.vocabulary.facts,
        "any_foreign": replace(fact, derived=replace(fact.derived, function=broken)),
    }
    with pytest.raises(PolicyError, match="could not be evaluated"):
        decide(
            question(strata=ONE),
            Law(Vocabulary(version="1", facts=facts), law.editions, law.digests),
        )


def test_a_decision_is_not_taken_for_yes():
    with pytest.raises(TypeError, match="no truth value"):
        bool(ask())


def test_findings_carry_what_a_reader_needs():
    told = finding(ask(FOREIGN), "report-first")
    assert (told.no, told.pack, told.edition, told.effect) == (
        "T-03",
        "alpha",
        date(2020, 1, 1),
        Effect.REQUIRE,
    )
    assert (told.paper, told.owner, told.fix["en"]) == (
        "report",
        "institution",
        "cure report-first",
    )
    assert told.cite[0].zh == "第一条"
    assert finding(ask({**CLEAR, "request.price": 13}), "rumour-denies").effect is Effect.REFER


# ---- properties ----------------------------------------------------------------------------------

FLAGS = (
    "request.forbidden",
    "request.doubtful",
    "material_exits",
    "paper.licence.recorded",
    "paper.report.recorded",
)
ITEM_FLAGS = (
    "item.exempt",
    "item.suspect",
    "item.owner_consents",
    "donor.withdrawn",
    "donor.minor",
    "donor.pedigree",
    "donor.special_region",
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FLAGS, st.booleans()),
        "request.action": st.sampled_from(["release", "collect"]),
        "request.price": st.sampled_from([10, 13, 14, 15, 100]),
        "recipient.country": st.sampled_from(["CN", "US"]),
        "paper.licence.valid_to": st.sampled_from([date(2024, 5, 31), DAY, LICENCE_ENDS]),
        "paper.report.valid_to": st.sampled_from([date(2024, 5, 31), date(2025, 1, 1)]),
        "pi.form": st.sampled_from(["anonymised", "identifiable"]),
        "counter.genome_people_before": st.integers(0, 600),
        "pi.sensitive_people_before": st.integers(0, 600),
    },
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "item.class": st.sampled_from(["material", "information"]),
        "item.data_class": st.sampled_from(["genome", "panel", "clinical"]),
        "item.kind": st.sampled_from(["genome", "inherited"]),
        **dict.fromkeys(ITEM_FLAGS, st.booleans()),
    },
)


@st.composite
def questions(draw):
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=4))
    members = draw(
        st.lists(st.lists(st.sampled_from(names), min_size=1, unique=True), max_size=4)
        if names
        else st.just([])
    )
    groups = tuple(
        group(draw(st.integers(0, 700)), *strata, already=draw(st.booleans())) for strata in members
    )
    held = tuple(
        stratum(
            name,
            sum(one.people for one in groups if name in one.strata),
            draw(st.one_of(st.just(CLEAN), ITEMS)),
            draw(st.sampled_from(sorted(PROFILES))),
        )
        for name in names
    )
    return replace(question(draw(st.one_of(st.just(CLEAR), REQUESTS)), held), donor_groups=groups)


STRENGTH = {Permit: 0, Hold: 1, Refer: 2, Deny: 3}


@settings(max_examples=150, deadline=None)
@given(questions(), st.randoms(use_true_random=False))
def test_order_changes_nothing(asked, random):
    def shuffled(sequence):
        members = list(sequence)
        random.shuffle(members)
        return tuple(members)

    law = small_law()
    other = Law(
        law.vocabulary,
        shuffled(replace(e, rules=shuffled(e.rules)) for e in law.editions),
        dict(shuffled(law.digests.items())),
    )
    mixed = replace(
        asked,
        facts=dict(shuffled(asked.facts.items())),
        profiles=dict(shuffled(asked.profiles.items())),
        strata=shuffled(replace(s, facts=dict(shuffled(s.facts.items()))) for s in asked.strata),
        donor_groups=shuffled(replace(g, strata=shuffled(g.strata)) for g in asked.donor_groups),
    )
    assert encode(asked, decide(asked, law)) == encode(mixed, decide(mixed, other))


@settings(max_examples=150, deadline=None)
@given(questions(), st.randoms(use_true_random=False))
def test_knowing_less_never_turns_another_answer_into_a_permit(asked, random):
    known = decide(asked, small_law())
    facts = {name: value for name, value in asked.facts.items() if random.random() < 0.7}
    fewer = replace(
        asked,
        facts=facts,
        strata=tuple(
            replace(s, facts={n: v for n, v in s.facts.items() if random.random() < 0.8})
            for s in asked.strata
        ),
    )
    less = decide(fewer, small_law())
    if isinstance(less, Permit):
        assert set(less.selection.strata) <= set(known.selection.strata)
        assert isinstance(known, Permit)


@settings(max_examples=100, deadline=None)
@given(questions())
def test_people_add_up(asked):
    decision = decide(asked, small_law())
    chosen = decision.selection
    out = set().union(*(one.strata for one in chosen.excluded))
    assert out | set(chosen.strata) == {s.id for s in asked.strata}
    assert not out & set(chosen.strata)
    assert (
        chosen.permitted.people <= chosen.asked.people <= sum(g.people for g in asked.donor_groups)
    )
    for one in chosen.excluded:
        assert one.alone <= one.touched
        assert one.alone <= chosen.asked.people - chosen.permitted.people
    for told in decision.findings:
        assert 0 <= told.alone <= chosen.asked.people
        assert told.touched <= chosen.asked.people


# ---- what the law keeps of the questions it heard ------------------------------------------------


def anew():
    """The small law with nothing heard yet."""
    return Law(small_law().vocabulary, small_law().editions, small_law().digests)


@pytest.fixture(params=[(8, 8192), (0, 8192), (0, 1)], ids=["few heard anew", "kept", "forgotten"])
def keeping(request, monkeypatch):
    """What was said of strata: of few it is not kept; kept; and forgotten all the time."""
    few, most = request.param
    monkeypatch.setattr(hearing, "_FEW", few)
    monkeypatch.setattr(rules, "_STRATA", most)


@pytest.mark.usefixtures("keeping")
def test_a_question_is_answered_alike_whatever_was_heard_before():
    strata = (stratum("s1", 10), stratum("s2", 3, item(donor__withdrawn=True)))
    asked = [
        question(facts, held, as_of=day)
        for facts in (CLEAR, FOREIGN, REPORTED, without(CLEAR, "request.price"), {})
        for held in ((), strata[:1], strata, (stratum("s1", 10, profile="ancestry"),))
        for day in (DAY, date(2024, 6, 2))
    ]
    first = [encode(one, decide(one, anew())) for one in asked]
    law = anew()
    for order in (asked, asked, asked[::-1]):
        assert {encode(one, decide(one, law)) for one in order} == set(first)
    assert [encode(one, decide(one, law)) for one in asked] == first


@pytest.mark.parametrize("most", [0, 2])
def test_no_more_than_so_many_derived_values_are_kept(monkeypatch, most):
    monkeypatch.setattr(vocabulary, "_KEPT", most)
    law = packs.load(DIRECTORY, FUNCTIONS)
    for price in (1, 2, 3, 1):
        asked = question({**CLEAR, "request.price": price}, ONE)
        assert encode(asked, decide(asked, law)) == encode(asked, decide(asked, anew()))
        for fact in law.vocabulary.facts.values():
            assert fact.derived is None or len(fact.derived.known) <= max(most, 1)


def test_a_derived_fact_that_reads_what_it_does_not_declare_is_no_decision():
    law = small_law()
    fact = law.vocabulary.facts["any_foreign"]
    sly = replace(fact.derived, function=lambda look: look("request.forbidden"))
    facts = {**law.vocabulary.facts, "any_foreign": replace(fact, derived=sly)}
    changed = Law(Vocabulary(version="1", facts=facts), law.editions, law.digests)
    with pytest.raises(PolicyError, match="could not be evaluated"):
        decide(question(CLEAR, ONE), changed)


@pytest.mark.parametrize(
    ("level", "name", "good", "bad"),
    [
        pytest.param("request", "request.forbidden", True, 1, id="one for true"),
        pytest.param("request", "request.price", 1, True, id="true for one"),
        pytest.param("request", "request.price", 1, 1.0, id="a float for one"),
        pytest.param("request", "request.action", "release", Act.RELEASE, id="an enum for a text"),
        pytest.param("request", "request.price", 1, [1], id="a list, which cannot be hashed"),
        pytest.param("stratum", "item.exempt", True, 1, id="of a stratum, one for true"),
        pytest.param("stratum", "item.exempt", True, {}, id="of a stratum, no hash"),
    ],
)
@pytest.mark.usefixtures("keeping")
def test_what_equals_a_value_heard_before_is_verified_all_the_same(level, name, good, bad):
    def asked(value):
        if level == "request":
            return question({**CLEAR, name: value}, ONE)
        return question(CLEAR, (stratum("s1", 10, {**CLEAN, name: value}),))

    law = anew()
    decide(asked(good), law)
    with pytest.raises(PolicyError, match="is no"):
        decide(asked(bad), law)


@pytest.mark.usefixtures("keeping")
def test_what_the_pdp_says_of_a_stratum_cannot_be_given_even_if_it_was_heard_before():
    law = anew()
    decide(question(CLEAR, ONE), law)
    given = {**CLEAN, "profile.mapped": True, "consent.covers": True}
    with pytest.raises(PolicyError, match="found by the PDP"):
        decide(question(CLEAR, (stratum("s1", 10, given),)), law)
    with pytest.raises(PolicyError, match="found by the PDP"):
        decide(question({"as_of": DAY, **CLEAR}, ONE), law)


@pytest.mark.usefixtures("keeping")
def test_many_threads_may_ask_one_law_at_once(monkeypatch):
    """What it keeps is emptied under them all the time, and every answer is the same."""
    monkeypatch.setattr(vocabulary, "_KEPT", 1)
    law = packs.load(DIRECTORY, FUNCTIONS)
    asked = [question({**facts}, ONE) for facts in (CLEAR, FOREIGN, REPORTED, {})]
    wanted = [encode(one, decide(one, anew())) for one in asked]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(
                pool.map(lambda n: encode(asked[n % 4], decide(asked[n % 4], law)), range(400))
            )
    finally:
        sys.setswitchinterval(before)
    assert found == wanted * 100
