"""The shipped packs on whole questions: what each kind of asker is told, and by which article."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from policies import packs, strict
from policies.consent import DuoTerm, Profile, ProfileId, Purpose, Research, Term, Told
from policies.decision import Deny, Hold, Permit, Refer, Result
from policies.document import decision_from, encode
from policies.packs import check, load
from policies.pdp import decide
from policies.request import DonorGroup, Question, Stratum, StratumId
from policies.vocabulary import Scope

LAW = load()
TODAY = date(2026, 11, 22)

HMB = "DUO:0000006"

CLEAN = {"legal_person": True, "individual": False, "never_banned": True, "credit_flag": False}
NO_FOREIGN_HAND = {
    "foreign_share_product": "0/1",
    "foreign_share_chain": "0/1",
    "foreign_votes": "0/1",
    "contract_control": False,
    "influence": "none",
}


def party(name, country="CN", **facts):
    said = {
        "present": True,
        "country": country,
        "role": "partner",
        "has_access": True,
        **CLEAN,
        **(NO_FOREIGN_HAND if country == "CN" else {}),
        **facts,
    }
    return {f"{name}.{word}": value for word, value in said.items()}


def nobody(*roles):
    return {f"{role}.present": False for role in roles}


def paper(kind, **facts):
    said = {
        "recorded": True,
        "valid_from": date(2024, 1, 1),
        "valid_to": date(2030, 12, 31),
        "exhausted": False,
        **facts,
    }
    return {f"paper.{kind}.{word}": value for word, value in said.items()}


NO_PAPERS = {
    f"paper.{kind}.recorded": False
    for kind in (
        "cooperation",
        "filing",
        "exit",
        "prior_report",
        "backup",
        "security_review",
        "standard_contract",
        "cac_assessment",
        "customs",
        "deposit",
        "waiver",
        "certification",
        "decree_818",
        "change_approval",
        "site_undertaking",
    )
}
BANK = {
    **paper(
        "preservation",
        types=frozenset({"whole_blood", "genome", "plasma"}),
        purposes=frozenset({"health"}),
    ),
    **paper(
        "ethics",
        purposes=frozenset({"health"}),
        committee_registered=True,
        foreign_side="approved",
    ),
    "bank.emergency_plan": True,
    **paper("pia"),
    "officer.harm_flag": False,
    "officer.security_flag": False,
    "counter.genome_people_before": 0,
    "pi.form": "deidentified",
    "pi.sensitive_people_before": 0,
    "pi.people_before": 0,
    "pi.ciio": False,
    "pi.important_data": False,
}
RESEARCH = {
    "request.action": "release",
    "request.leftover": "destroy",
    "request.commercial": False,
    "request.price_fen": 0,
    "request.cost_fen": 0,
    "request.cost_documented": True,
    "request.clinical_care": False,
    "request.research_use": True,
    "request.banned_care": False,
    "request.embryo_or_germline": "none",
    "request.new_biomedical_technology": False,
    "request.site": "single",
    "request.changes": frozenset(),
    "request.protocol_people": 10_000,
    "request.protocol_units": 10_000,
    "request.form_units": 10_000,
    "request.us_persons_genomic": 0,
    "request.us_persons_other_omic": 0,
    "request.extracts_nucleic_acid": True,
    "request.material_exits": False,
    "request.outputs": frozenset({"individual"}),
    "request.purpose": "health",
    "users.access_countries": frozenset({"CN"}),
    "users.nationalities": frozenset({"CN"}),
    "users.individual_capacity": False,
}
HOSPITAL = {
    **NO_PAPERS,
    **BANK,
    **RESEARCH,
    **party("requester"),
    **party("recipient"),
    **nobody("sponsor", "beneficiary", "host"),
}
JOINT_VENTURE = party(
    "recipient", foreign_share_product="1/2", foreign_share_chain="1/2", foreign_votes="1/2"
)
HONG_KONG = party("recipient", country="HK", hkmo_entity=True, mainland_controlled=True)
FOREIGN_UNIVERSITY = {
    **HOSPITAL,
    **party("recipient", country="US"),
    "users.access_countries": frozenset({"CN", "US"}),
    "project.chinese_partner": True,
    "project.chinese_participation": True,
    "project.records_open_and_backed_up": True,
    "request.agreement_signed": True,
    "request.agreement_clauses": frozenset(
        {"records_open", "backup", "joint_patents", "benefit", "no_onward"}
    ),
    "request.produced_in_cooperation": False,
    **paper(
        "cooperation",
        parties_match=True,
        types=frozenset({"genome", "whole_blood"}),
        purposes=frozenset({"health"}),
        counts=frozenset({"units"}),
        units_total=10_000,
        units_left=10_000,
    ),
    **paper("standard_contract"),
}
REPORTED = {
    **paper("prior_report", parties_match=True, holder_chinese=True),
    **paper("backup", matches_dataset=True),
}

ITEM = {
    "item.legacy": False,
    "item.collected_abroad": False,
    "item.origin_determined": False,
    "item.donor_chinese": True,
    "item.source_documented": True,
    "item.source_lawful": True,
    "item.source_determined": False,
    "item.source_id_known": True,
    "item.donor_linked": True,
    "donor.withdrawn": False,
    "donor.under_14": False,
    "donor.minor_14_17": False,
    "donor.adult": True,
    "donor.capacity": True,
    "donor.deceased": False,
    "donor.pedigree": False,
    "donor.special_region": False,
    "consent.exists": True,
    "consent.written": True,
    "consent.before_collection": True,
    "consent.expired": False,
    "consent.by_guardian": False,
    "consent.guardian_consent": False,
    "consent.reconsented": False,
    "consent.form_mapped": True,
    "consent.form_legacy": False,
    "consent.form_adequate": False,
    "collection.owner_consent_needed": False,
}
BLOOD = {
    **ITEM,
    "item.kind": "whole_blood",
    "item.class": "material",
    "item.contains_cells": True,
    "item.extracted_nucleic_acid": False,
    "item.derived": "primary",
}
GENOME = {
    **ITEM,
    "item.kind": "genome",
    "item.class": "information",
    "item.data_class": "genome",
}
AGREED = Profile(
    id=ProfileId("agreed"),
    mapped=True,
    permissions=(DuoTerm(code=HMB),),
    told=frozenset(Told),
    terms=dict.fromkeys(Term, True),
)
NO_FOREIGNERS = replace(
    AGREED, id=ProfileId("home"), terms={**AGREED.terms, Term.FOREIGN_SHARING: False}
)
UNMAPPED = Profile(id=ProfileId("old"), mapped=False)
STUDY = Purpose(
    research=Research.HEALTH,
    commercial=False,
    not_for_profit=True,
    genetic=True,
    countries=frozenset({"CN"}),
    ethics_approved=True,
    publication_planned=False,
)


def asked(facts, *strata, purpose=STUDY, as_of=TODAY):
    """A question over strata given as (facts, profile, people), every donor in one of them."""
    held = tuple(
        Stratum(
            id=StratumId(f"s{place}"),
            profile=profile.id,
            facts=said,
            items=people,
            units=people,
            people=people,
        )
        for place, (said, profile, people) in enumerate(strata)
    )
    return Question(
        as_of=as_of,
        facts=facts,
        purpose=purpose,
        profiles={profile.id: profile for _, profile, _ in strata},
        strata=held,
        donor_groups=tuple(
            DonorGroup(strata=(stratum.id,), people=stratum.people) for stratum in held
        ),
    )


def ask(facts, *strata, law=LAW, **how):
    """The decision on such a question."""
    return decide(asked(facts, *strata, **how), law)


def told(decision, result=Result.HOLDS):
    """The numbers of the rules that stand against it with this result."""
    return {
        finding.no
        for finding in decision.findings
        if finding.result is result and finding.effect not in {"oblige", "permit"}
    }


def test_the_packs_and_all_their_cases_are_in_order():
    assert check() == ()


def test_a_hospital_is_permitted_once_an_officer_confirms():
    decision = ask(HOSPITAL, (BLOOD, AGREED, 30), (GENOME, AGREED, 40))
    assert isinstance(decision, Permit), (told(decision), told(decision, Result.UNKNOWN))
    assert decision.selection.permitted.people == 70
    assert {duty.id for duty in decision.obligations} == {
        "officer-confirmation",
        "append-only-record",
        "reconcile-stock",
    }
    assert decision.until == date(2030, 12, 31)


def test_aggregates_at_home_wait_for_nobody():
    aggregates = {**HOSPITAL, "request.outputs": frozenset({"aggregate"}), "host.is_bank": True}
    decision = ask(aggregates, (GENOME, AGREED, 40))
    assert isinstance(decision, Permit)
    assert {duty.id for duty in decision.obligations} == {"append-only-record"}


def test_aggregates_of_data_that_leave_the_bank_wait_for_an_officer():
    aggregates = {**HOSPITAL, "request.outputs": frozenset({"aggregate"}), "host.is_bank": False}
    decision = ask(aggregates, (GENOME, AGREED, 40))
    assert "officer-confirmation" in {duty.id for duty in decision.obligations}


def test_a_company_pays_cost_for_commercial_use():
    company = {
        **HOSPITAL,
        "recipient.not_for_profit": False,
        "request.commercial": True,
        "request.price_fen": 100,
        "request.cost_fen": 100,
    }
    trade = replace(STUDY, commercial=True, not_for_profit=False)
    assert isinstance(ask(company, (BLOOD, AGREED, 30), purpose=trade), Permit)


def test_withdrawn_and_uncovered_donors_stay_out_and_the_rest_go():
    withdrawn = {**BLOOD, "donor.withdrawn": True}
    narrow = replace(
        AGREED, id=ProfileId("poa"), permissions=(DuoTerm(code="DUO:0000011"),)
    )  # ancestry research only
    decision = ask(HOSPITAL, (BLOOD, AGREED, 30), (withdrawn, AGREED, 2), (BLOOD, narrow, 5))
    assert isinstance(decision, Permit)
    assert decision.selection.permitted.people == 30
    assert {(one.no, one.touched, one.alone) for one in decision.selection.excluded} == {
        ("R-CON-04", 2, 2),
        ("R-CON-03", 5, 5),
    }


def test_a_foreign_university_is_held_for_report_and_backup_then_permitted():
    held = ask(FOREIGN_UNIVERSITY, (GENOME, AGREED, 400))
    assert isinstance(held, Hold), (told(held), told(held, Result.UNKNOWN))
    assert held.papers == ("backup", "prior_report")
    permitted = ask({**FOREIGN_UNIVERSITY, **REPORTED}, (GENOME, AGREED, 400))
    assert isinstance(permitted, Permit), (told(permitted), told(permitted, Result.UNKNOWN))


def test_data_of_the_cooperation_need_no_report_but_are_judged_above_500():
    covered = {
        **FOREIGN_UNIVERSITY,
        "request.produced_in_cooperation": True,
        "request.agreement_clauses": FOREIGN_UNIVERSITY["request.agreement_clauses"]
        | {"data_use_both"},
    }
    assert isinstance(ask(covered, (GENOME, AGREED, 500)), Permit)
    decision = ask(covered, (GENOME, AGREED, 501))
    assert isinstance(decision, Refer)
    assert told(decision) == {"R-INF-04"}


def test_501_genomes_need_a_security_review_and_no_donor_is_dropped_to_avoid_it():
    decision = ask({**FOREIGN_UNIVERSITY, **REPORTED}, (GENOME, AGREED, 501))
    assert isinstance(decision, Hold)
    assert decision.papers == ("security_review",)
    assert decision.selection.permitted.people == 501


def test_people_who_said_no_to_foreigners_stay_out_and_the_unasked_are_judged():
    foreign = {**FOREIGN_UNIVERSITY, **REPORTED}
    decision = ask(foreign, (GENOME, AGREED, 40), (GENOME, NO_FOREIGNERS, 3))
    assert isinstance(decision, Permit)
    assert [one.no for one in decision.selection.excluded] == ["R-CON-05"]
    unasked = replace(AGREED, id=ProfileId("unasked"), terms={})
    assert isinstance(ask(foreign, (GENOME, unasked, 40)), Refer)


def test_material_abroad_needs_its_certificate():
    shipped = {**FOREIGN_UNIVERSITY, "request.material_exits": True}
    decision = ask(shipped, (BLOOD, AGREED, 10))
    assert isinstance(decision, Hold)
    assert decision.papers == ("customs", "exit")
    certified = {
        **paper("exit", parties_match=True, types=frozenset({"whole_blood"}), units_left=10),
        **paper("customs"),
    }
    assert isinstance(ask({**shipped, **certified}, (BLOOD, AGREED, 10)), Permit)
    over = ask({**shipped, **certified}, (BLOOD, AGREED, 11))
    assert isinstance(over, Deny)
    assert told(over) == {"R-EXP-02"}


DENIED = [
    (
        "a foreign party that wants to keep leftovers as its own bank",
        {**FOREIGN_UNIVERSITY, "request.leftover": "keep"},
        "R-FOR-01",
    ),
    (
        "a price above documented cost",
        {**HOSPITAL, "request.price_fen": 500, "request.cost_fen": 499},
        "R-GEN-04",
    ),
    (
        "a foreign party without a Chinese partner",
        {**FOREIGN_UNIVERSITY, "project.chinese_partner": False},
        "R-FOR-02",
    ),
    (
        "another purpose than the licence's",
        {
            **HOSPITAL,
            "request.purpose": "cosmetics",
            "paper.ethics.purposes": frozenset({"cosmetics"}),
        },
        "R-GEN-07",
    ),
    (
        "a lapsed licence",
        {**HOSPITAL, "paper.preservation.valid_to": date(2026, 11, 21)},
        "R-PRE-01",
    ),
]


@pytest.mark.parametrize(("facts", "no"), [pytest.param(*row[1:], id=row[0]) for row in DENIED])
def test_denied(facts, no):
    decision = ask(facts, (BLOOD, AGREED, 10))
    assert isinstance(decision, Deny)
    denied = {f.no for f in decision.findings if f.effect == "deny" and f.result is Result.HOLDS}
    assert denied == {no}


CARE = {
    **HOSPITAL,
    "request.purpose": "clinical_care",
    "request.clinical_care": True,
    "request.research_use": False,
    "paper.ethics.recorded": False,
}
COVERED = {
    **FOREIGN_UNIVERSITY,
    "request.produced_in_cooperation": True,
    "request.agreement_clauses": FOREIGN_UNIVERSITY["request.agreement_clauses"]
    | {"data_use_both"},
}
PROVIDED = {**FOREIGN_UNIVERSITY, **REPORTED, "paper.cooperation.recorded": False}
SEEN_ABROAD = {"host.present": False, "host.place": "US"}

# The asker's word alone must not open a door that the law keeps shut.
NOT_ON_A_WORD = [
    ("care that calls itself no research for a research purpose", {**CARE, "request.purpose": "health"}, BLOOD, Hold, "R-GEN-01"),
    ("care for which material leaves", {**CARE, "request.material_exits": True}, BLOOD, Refer, "R-SCO-03"),
    ("care by a foreign party", {**CARE, **party("recipient", country="US")}, BLOOD, Refer, "R-SCO-03"),
    ("banned care that is not called care", {**HOSPITAL, "request.banned_care": True}, BLOOD, Deny, "R-SCO-03"),
    ("a foreign recipient that says it only funds", {**FOREIGN_UNIVERSITY, **NO_PAPERS, "recipient.role": "funder_only", "recipient.has_access": False}, GENOME, Refer, "INST-05"),
    ("blood for a foreign university that says it stays", FOREIGN_UNIVERSITY, BLOOD, Refer, "R-EXP-01"),
    ("no research abroad, for a research purpose", {**PROVIDED, "request.research_use": False}, GENOME, Hold, "R-INT-01"),
    ("anonymised genomes", {**HOSPITAL, "pi.form": "anonymised"}, GENOME, Refer, "R-PIP-04"),
    ("data abroad, with nobody said to operate the place", {**HOSPITAL, **SEEN_ABROAD}, GENOME, Hold, "R-PIP-01"),
    ("a banned beneficiary", {**HOSPITAL, **party("beneficiary", never_banned=False, banned_until=date(9999, 12, 31))}, BLOOD, Deny, "R-CPT-02"),
    ("a company found to be foreign", {**HOSPITAL, "recipient.determined_chinese": False}, BLOOD, Hold, "R-INT-01"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "item", "outcome", "no"),
    [pytest.param(*row[1:], id=row[0]) for row in NOT_ON_A_WORD],
)
def test_a_word_of_the_asker_opens_no_door(facts, item, outcome, no):
    decision = ask(facts, (item, AGREED, 10))
    assert isinstance(decision, outcome), (told(decision), told(decision, Result.UNKNOWN))
    assert no in told(decision)


def test_care_at_home_needs_a_consent_to_care():
    assert isinstance(ask(CARE, (BLOOD, AGREED, 10)), Permit)  # on a purpose the consent covers
    care = replace(STUDY, research=Research.CLINICAL_CARE)
    decision = ask(CARE, (BLOOD, AGREED, 10), purpose=care)
    assert isinstance(decision, Deny)
    assert told(decision) == {"R-CON-03"}


def test_genomes_are_opened_to_everybody_only_by_a_person():
    public = {
        **{name: said for name, said in COVERED.items() if not name.startswith("recipient.")},
        **nobody("recipient"),
        "request.action": "open_access",
    }
    unreported = ask(public, (GENOME, AGREED, 10))
    assert isinstance(unreported, Refer)  # the cooperation stands in for no report here
    assert told(unreported) == {"R-INF-01", "R-INF-02", "R-INF-05", "PDP-2"}
    reported = ask({**public, **REPORTED}, (GENOME, AGREED, 10))
    assert isinstance(reported, Refer)
    assert told(reported) == {"R-INF-05"}
    assert not told(reported, Result.UNKNOWN)


def test_foreign_staff_of_a_chinese_hospital_are_judged():
    staff = {**HOSPITAL, "users.nationalities": frozenset({"CN", "US"})}
    decision = ask(staff, (GENOME, AGREED, 10))
    assert isinstance(decision, Refer)
    assert told(decision) == {"R-FOR-06"}


def test_data_at_home_need_no_word_on_care_or_leftovers():
    unsaid = {"request.leftover", "request.extracts_nucleic_acid", "request.clinical_care"}
    unsaid |= {"request.banned_care", "request.research_use"}
    brief = {name: said for name, said in HOSPITAL.items() if name not in unsaid}
    assert isinstance(ask(brief, (GENOME, AGREED, 10)), Permit)


def test_a_foreign_party_may_not_preserve():
    decision = ask({"request.action": "preserve", **party("recipient", country="US")})
    assert isinstance(decision, Deny)
    assert "R-FOR-01" in told(decision)


def test_a_foreign_court_is_denied():
    demand = {"request.action": "enforcement_request", "request.prc_authority_approval": False}
    decision = ask(demand)
    assert isinstance(decision, Deny)
    assert told(decision) == {"R-GEN-06"}


def test_a_joint_venture_held_exactly_one_half_is_a_foreign_party():
    decision = ask({**HOSPITAL, **JOINT_VENTURE}, (BLOOD, AGREED, 10))
    assert isinstance(decision, Hold)  # its partner, participation and agreement are not said
    assert "R-INT-01" in told(decision)
    partnered = {**FOREIGN_UNIVERSITY, **JOINT_VENTURE, "users.access_countries": frozenset({"CN"})}
    assert isinstance(ask(partnered, (BLOOD, AGREED, 10)), Permit)


@pytest.mark.parametrize(
    ("hand", "by_the_draft"),
    [
        pytest.param({"contract_control": True}, {"R-FOR-04"}, id="VIE"),
        pytest.param(
            {"foreign_share_chain": "49/100", "influence": "major"},
            {"R-FOR-04"},
            id="49 % and a veto",
        ),
        pytest.param({"foreign_votes": "1/2"}, None, id="half of the votes"),
    ],
)
def test_the_draft_of_2026_would_make_no_party_foreign_by_control(hand, by_the_draft):
    """It shows what would change, from the day it was published; what is decided stays what it was."""
    facts = {**HOSPITAL, **party("recipient", role="partner", **hand)}
    day_before = date(2026, 5, 7)
    for day in (day_before, date(2026, 5, 8), TODAY):
        decided, shown = (
            ask(facts, (BLOOD, AGREED, 10), as_of=day, law=law) for law in (LAW, LAW.with_drafts())
        )
        assert "R-INT-01" in told(decided)
        assert not any("draft" in name for name in decided.digests)
        if by_the_draft is None or day == day_before:
            assert told(shown) == told(decided)
        else:
            assert (told(shown), isinstance(shown, Refer)) == (by_the_draft, True)


def test_a_contract_laboratory_is_looked_through_to_its_foreign_sponsor():
    acting = {
        **HOSPITAL,
        **party("recipient", role="lab"),
        **party("sponsor", country="US", role="sponsor"),
        "project.chinese_partner": False,
    }
    decision = ask(acting, (BLOOD, AGREED, 10))
    assert isinstance(decision, Deny)
    assert told(decision) >= {"R-FOR-02"}


def test_a_hong_kong_subsidiary_is_judged_until_it_is_determined():
    subsidiary = {**HOSPITAL, **HONG_KONG, **paper("standard_contract")}
    decision = ask(subsidiary, (GENOME, AGREED, 10))
    assert isinstance(decision, Refer)
    assert "R-FOR-05" in told(decision)
    determined = ask({**subsidiary, "recipient.determined_chinese": True}, (GENOME, AGREED, 10))
    assert isinstance(determined, Permit), (told(determined), told(determined, Result.UNKNOWN))
    foreign = ask({**subsidiary, "recipient.determined_chinese": False}, (GENOME, AGREED, 10))
    assert isinstance(foreign, Hold)


def test_european_samples_are_judged_until_their_origin_is_determined():
    european = {**BLOOD, "item.collected_abroad": True, "item.donor_chinese": False}
    decision = ask(HOSPITAL, (european, AGREED, 10))
    assert isinstance(decision, Refer)
    assert told(decision) == {"R-SCO-08"}
    determined = {**european, "item.origin_determined": True}
    assert isinstance(ask(HOSPITAL, (determined, AGREED, 10)), Permit)


def test_an_old_form_is_judged_until_it_is_mapped_and_found_adequate():
    old = {**BLOOD, "consent.form_legacy": True, "consent.form_mapped": False, "item.legacy": True}
    decision = ask(HOSPITAL, (old, UNMAPPED, 10))
    assert isinstance(decision, Refer)
    assert told(decision) == {"R-CON-02"}
    assert told(decision, Result.UNKNOWN) >= {"R-CON-03"}
    four = replace(AGREED, told=frozenset({Told.PURPOSE, Told.USE, Told.PRIVACY, Told.VOLUNTARY}))
    mapped = {**old, "consent.form_mapped": True}
    assert told(ask(HOSPITAL, (mapped, four, 10))) == {"R-CON-02"}
    adequate = {**mapped, "consent.form_adequate": True}
    assert isinstance(ask(HOSPITAL, (adequate, four, 10)), Permit)


def test_a_collection_of_another_hospital_waits_for_its_consent():
    theirs = {
        **BLOOD,
        "collection.owner_consent_needed": True,
        "collection.owner_consent_given": False,
        "collection.deposit_in_force": True,
        "collection.deposit_covers": True,
    }
    decision = ask(HOSPITAL, (theirs, AGREED, 10))
    assert isinstance(decision, Hold)
    assert decision.papers == ("owner_consent",)
    agreed = {**theirs, "collection.owner_consent_given": True}
    assert isinstance(ask(HOSPITAL, (agreed, AGREED, 10)), Permit)


def test_a_request_that_names_nothing_is_denied():
    assert isinstance(ask(HOSPITAL), Deny)


@pytest.mark.parametrize("name", sorted(HOSPITAL))
def test_a_fact_left_out_never_turns_a_denial_into_a_permit(name):
    dear = {**HOSPITAL, "request.price_fen": 500, "request.cost_fen": 499}
    lacking = {each: said for each, said in dear.items() if each != name}
    assert not isinstance(ask(lacking, (BLOOD, AGREED, 10)), Permit)


@pytest.mark.parametrize("name", sorted(BLOOD))
def test_an_item_with_a_fact_left_out_never_goes_where_the_whole_item_does_not(name):
    withdrawn = {**BLOOD, "donor.withdrawn": True}
    lacking = {each: said for each, said in withdrawn.items() if each != name}
    assert not isinstance(ask(HOSPITAL, (lacking, AGREED, 10)), Permit)


@pytest.mark.parametrize("day", [date(2019, 7, 1), date(2021, 4, 15), date(2022, 3, 1)])
def test_earlier_days_are_decided_by_the_law_of_the_day(day):
    decision = ask(
        {**HOSPITAL, "paper.preservation.valid_from": date(2019, 7, 1)},
        (BLOOD, AGREED, 10),
        as_of=day,
    )
    assert isinstance(decision, Hold)  # the ethics opinion of 2024 is not yet there
    assert "ethics" in decision.papers


def test_no_rule_cites_on_a_day_what_was_not_in_force():
    first = LAW.labels.laws
    cited = [c for edition in LAW.editions for rule in edition.rules for c in rule.cite]
    days = {edition.in_force for edition in LAW.editions} | {*first.values()}
    assert sum(one.since is not None for one in cited) == 17
    for day in sorted(days | {day - timedelta(days=1) for day in days}):
        for rule in LAW.on(day).rules:
            assert rule.cite, (day, rule.id)
            for one in rule.cite:
                assert first.get(one.law, day) <= day, (day, rule.id)
                assert one.since is None or one.since <= day


@pytest.mark.parametrize(
    ("day", "laws"),
    [
        (date(2021, 4, 14), ["Regs"]),
        (date(2021, 4, 15), ["Regs", "BSL"]),
        (TODAY, ["Regs", "BSL"]),
    ],
)
def test_a_decision_cites_what_was_in_force_that_day_also_when_it_is_read_again(day, laws):
    question = asked(HOSPITAL, (BLOOD, AGREED, 10), as_of=day)
    decision = decide(question, LAW)
    rule = "no-harm-to-health-security-or-public-interest"
    (harm,) = [one for one in decision.findings if one.rule == rule]
    assert [one.law for one in harm.cite] == laws
    again = decision_from(encode(question, decision), LAW)
    assert again.findings == decision.findings


@pytest.mark.parametrize("day", sorted({one.in_force for one in LAW.editions}))
def test_a_rule_that_is_not_asked_under_an_act_would_not_apply(day):
    """Whatever else is known or not: the rules skipped are those that say nothing anyway."""
    acts = LAW.vocabulary.facts["request.action"].values
    derived = {name: fact for name, fact in LAW.vocabulary.facts.items() if fact.derived}
    skipped = 0
    for rule in LAW.on(day).rules:
        only = rule.applies.acts if rule.applies else None
        for act in acts - (acts if only is None else only):
            for facts in ({}, HOSPITAL, FOREIGN_UNIVERSITY, {**GENOME, **HOSPITAL}):
                look = Scope({**facts, "as_of": day, "request.action": act}, derived).look
                assert rule.result(look) is Result.NOT_APPLICABLE, (rule.id, act)
                skipped += 1
    assert skipped > 0


def _bounds(condition):
    """The numbers a written condition compares a fact with."""
    if isinstance(condition, list):
        for part in condition:
            yield from _bounds(part)
    elif isinstance(condition, dict) and "fact" not in condition:
        yield from _bounds(list(condition.values()))
    elif isinstance(condition, dict):
        for operator, other in (("at_least", -1), ("at_most", 1)):
            bound = condition.get(operator)
            if isinstance(bound, int):
                yield condition["fact"], {bound, bound + other}


def test_every_number_in_a_rule_has_a_case_on_it_and_one_beyond():
    """500/501, 3,000/3,001, 9,999/10,000, 100/101 and the like."""
    found, lacking = 0, {}
    for edition in LAW.editions:
        name = edition.file.replace(".yaml", ".cases.yaml")
        rows = strict.load(packs.shipped().joinpath(name).read_bytes(), name).data["cases"]
        for rule in edition.rules:
            for fact, wanted in _bounds([rule.written.get("applies"), rule.written["when"]]):
                shown = {row["facts"].get(fact) for row in rows if row["rule"] == rule.id}
                found += 1
                if not wanted <= shown:
                    lacking[rule.id, fact] = wanted - shown
    assert (lacking, found > 20) == ({}, True)


#: The same facts as of the last day before a text and its first: what speaks on each.
AS_OF = [
    pytest.param({**HOSPITAL, "paper.ethics.recorded": False}, BLOOD, date(2019, 6, 30), date(2019, 7, 1), "R-GEN-01", True, id="Regulations"),
    pytest.param(
        {**HOSPITAL, "request.embryo_or_germline": "reproductive"}, BLOOD,
        date(2020, 12, 31), date(2021, 1, 1), "R-GEN-08", True, id="Civil Code",
    ),
    pytest.param(
        {**FOREIGN_UNIVERSITY, "request.produced_in_cooperation": False, **paper("prior_report", parties_match=False)}, GENOME,
        date(2021, 4, 14), date(2021, 4, 15), "R-INF-01", True, id="Biosecurity Law: another receiver's report",
    ),
    pytest.param(
        {"request.action": "enforcement_request", "request.prc_authority_approval": False}, None,
        date(2021, 10, 31), date(2021, 11, 1), "R-GEN-06", True, id="PIPL: a foreign court",
    ),
    pytest.param(HOSPITAL, {**BLOOD, "donor.minor_14_17": True, "donor.adult": False}, date(2023, 2, 17), date(2023, 2, 18), "R-CON-07", True, id="Ethics Measures: a minor of 15"),
    pytest.param(
        FOREIGN_UNIVERSITY, {**GENOME, "item.data_class": "clinical", "item.linked_genomic": False},
        date(2023, 6, 30), date(2023, 7, 1), "R-SCO-01", False, id="Implementing Rules: clinical data",
    ),
    pytest.param(
        {**FOREIGN_UNIVERSITY, **REPORTED, "officer.security_flag": True}, GENOME,
        date(2023, 6, 30), date(2023, 7, 1), "R-INF-03", True, id="Implementing Rules: security review",
    ),
    pytest.param(
        {**FOREIGN_UNIVERSITY, "paper.standard_contract.recorded": False, "paper.certification.recorded": False}, GENOME,
        date(2024, 3, 21), date(2024, 3, 22), "R-PIP-01", True, id="CAC Provisions: no route",
    ),
    pytest.param(HOSPITAL, {**BLOOD, "item.derived": "organoid"}, date(2024, 12, 31), date(2025, 1, 1), "R-SCO-05", True, id="NHC answers: an organoid"),
    pytest.param(
        {**FOREIGN_UNIVERSITY, "request.us_persons_genomic": 101}, GENOME,
        date(2025, 4, 7), date(2025, 4, 8), "R-US-01", True, id="28 CFR 202",
    ),
    pytest.param(
        {**FOREIGN_UNIVERSITY, **paper("certification"), "pi.ciio": True}, GENOME,
        date(2025, 12, 31), date(2026, 1, 1), "R-PIP-06", True, id="certification measures",
    ),
    pytest.param({**HOSPITAL, "request.new_biomedical_technology": True}, BLOOD, date(2026, 4, 30), date(2026, 5, 1), "R-818-01", True, id="Decree 818"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "item", "before", "since", "no", "begins"), AS_OF)
def test_the_same_facts_as_of_two_dates_give_each_dates_answer(
    facts, item, before, since, no, begins
):
    """Papers cover both days, so that the law alone makes the difference."""
    both = {**facts, **{n: date(2019, 1, 1) for n in facts if n.endswith(".valid_from")}}
    asked = () if item is None else ((item, AGREED, 10),)
    spoke = [no in told(ask(both, *asked, as_of=day)) for day in (before, since)]
    assert spoke == [not begins, begins]
