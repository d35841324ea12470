"""What is gathered for one decision: every fact, every count, and nothing the law does not know."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank, facts_version
from gateway.demo_world import World
from gateway.errors import ProblemError
from gateway.registry import consents, determinations, duties, facts, intake, papers
from gateway.registry.ask import Ask, pointer_of
from gateway.registry.counters import Recipient
from gateway.registry.facts import Gathered
from gateway.tables import metadata
from policies import pdp
from policies.decision import Deny, Hold, Permit, Refer, Result
from policies.request import Stratum
from tests.gateway.conftest import START, SettableClock
from tests.gateway.registry.asks import FOREIGN, PLAIN, ask
from tests.gateway.registry.test_papers import DRAFT, put

HOSPITAL = "pty_shanghai_hospital"
UNIVERSITY = "pty_foreign_university"
ALL_KINDS = [
    "whole_blood", "blood_cells", "tumour_tissue", "dna", "plasma", "genome", "exome", "clinical",
]  # fmt: skip


def gather(
    conn: Connection,
    bank: Bank,
    changes: dict | None = None,
    *,
    of: dict = PLAIN,
    party: str = HOSPITAL,
    **kwargs,
) -> Gathered:
    as_of = kwargs.pop("as_of", bank.today())
    return facts.gather(
        conn, bank, ask(changes, of=of), party, as_of=as_of, now=bank.now(), **kwargs
    )


def items(kinds: list[str], **cohort: object) -> dict:
    return {"items": {"kinds": kinds, "cohort": cohort}}


def everything(gathered: Gathered) -> set[str]:
    strata = (stratum.facts for stratum in gathered.question.strata)
    return set(chain(gathered.question.facts, *strata))


def confirmed(
    conn: Connection, subject: str, finding: str, *, value: bool = True, now: datetime = START
) -> None:
    proposed = determinations.propose(
        conn, subject_id=subject, finding=finding, value=value, reason="已核实相关材料",
        evidence_sha256="0" * 64, expires_on=None, person_id="psn_a", now=now,
    )  # fmt: skip
    determinations.confirm(conn, proposed.id, person_id="psn_b", now=now)


def expecting_a_feed(bank: Bank, *, hours: int) -> Bank:
    return replace(bank, settings=bank.settings.model_copy(update={"feed_max_age_hours": hours}))


# ---- the vocabulary ------------------------------------------------------------------------------


def test_every_fact_is_in_the_vocabulary_and_every_such_fact_can_be_gathered(bank: Bank) -> None:
    """Nothing is gathered that no rule could read; what the vocabulary has is gathered or named."""
    bank = expecting_a_feed(bank, hours=24)
    trial = {
        "for_marketing": True, "in_registered_institution": True, "collected_in_institution": True,
        "tested_in_institution_or_named_unit": True, "exploratory_part": False,
    }  # fmt: skip
    whole = FOREIGN | {
        "sponsor": "pty_contract_lab", "beneficiary": "pty_hk_subsidiary", "trial": trial,
        "host": {"operator": "pty_cart_jv", "place": "CN"}, "prc_authority_approval": False,
        "price": {"price_fen": 1, "cost_fen": 2, "cost_documented": True}, "banned_care": False,
        "care_kind": "other", "ftz_pilot": False, "emergency_exemption": False,
        "collection": {
            "affected_generations": 3, "common_disease": False, "special_region": False,
            "large_population_study": True, "people_planned": 3000,
        },
    } | items(ALL_KINDS)  # fmt: skip

    def unit(conn: Connection) -> set[str]:
        for name in ("foreign_university", "contract_lab", "hk_subsidiary", "cart_jv"):
            party = metadata.tables["party"]
            conn.execute(
                sa.update(party)
                .where(party.c.id == f"pty_{name}")
                .values(banned_until=date(2027, 1, 1), mainland_controlled=True)
            )
            confirmed(conn, f"pty_{name}", "party_chinese")
        confirmed(conn, "frm_chb", "form_adequate")
        for finding in ("lines_untraceable", "storage_outside_norms", "state_secret"):
            confirmed(conn, "col_chb", finding)
        for finding in (
            "shipment_outside_norms", "forged_documents", "exit_use_reasonable", "special_exit"
        ):  # fmt: skip
            confirmed(conn, "prj_sino_foreign", finding)
        for kind in papers.KINDS:
            flags = {
                "ethics": {
                    "committee_registered": True, "names_embryo": False, "foreign_side": "approved",
                }, "filing": {"before_start": True},
            }  # fmt: skip
            put(
                conn,
                papers.PaperDraft(
                    kind=kind, number="x", issuer="x", valid_from=date(2026, 1, 1),
                    valid_to=date(2040, 1, 1), document_sha256="0" * 64,
                    holder_id="pty_bank",
                    project_id=None if kind in {"preservation", "deposit"} else "prj_sino_foreign",
                    collection_id="col_chs" if kind == "deposit" else None,
                    scope={
                        "purposes": ["health"], "types": ["dna"], "parties": [UNIVERSITY],
                        "dataset_sha256": [], **flags.get(kind, {}),
                    },
                    quotas={"people": 1, "units": 1}, drawn={"people": 0, "units": 0},
                ),
            )  # fmt: skip
        names = everything(gather(conn, bank, of=whole, party=UNIVERSITY))
        # The recipient's standing towards the requester shows with another requester.
        return names | everything(gather(conn, bank))

    gathered = bank.database.write(unit)
    vocabulary = {n for n, fact in bank.law.vocabulary.facts.items() if fact.derived is None}
    assert gathered <= vocabulary
    by_the_pdp = {
        name
        for name in vocabulary
        if name.startswith(("selection.", "profile.", "purpose."))
        or name in {"as_of", "consent.covers"}
    }
    # Only the recipient says what it does and whether it has access; the sponsor's slot says it.
    roles = {
        f"{party}.{what}" for party in ("beneficiary", "host") for what in ("role", "has_access")
    }
    unsaid = vocabulary - gathered - by_the_pdp - facts.NEVER - roles - {"sponsor.has_access"}
    assert unsaid == set()
    assert vocabulary >= facts.NEVER
    assert not facts.NEVER & gathered


# ---- whole decisions -----------------------------------------------------------------------------


def decide(conn: Connection, bank: Bank, *args, **kwargs) -> tuple[Gathered, object]:
    gathered = gather(conn, bank, *args, **kwargs)
    return gathered, pdp.decide(gathered.question, bank.law)


def holding(decision) -> set[str]:
    return {f.no for f in decision.findings if f.result is Result.HOLDS}


def test_the_hospitals_plain_request_is_permitted_but_for_some_donors(bank: Bank) -> None:
    with bank.database.read() as conn:
        gathered, decision = decide(conn, bank)
    assert isinstance(decision, Permit)
    asked, permitted = decision.selection.asked, decision.selection.permitted
    assert 0 < permitted.people < asked.people
    assert "officer-confirmation" in {each.id for each in decision.obligations}
    picked = gathered.cohort.select(conn, decision.selection.strata)
    assert len({item.holding_id for item in picked}) == len(picked) == permitted.items
    assert len({item.donor_id for item in picked}) == permitted.people
    assert sum(item.units for item in picked) == permitted.units


def heard(bank: Bank, kind: str = "holdings", written_at: datetime | None = None) -> None:
    """A file is begun and comes to its end, now."""

    def unit(conn: Connection) -> None:
        sha256 = f"{bank.now().timestamp():064.0f}"
        begun = intake.begin(conn, intake.KINDS[kind], sha256, "", now=bank.now())
        intake.finish(conn, begun.id, now=bank.now())
        intake.heard(conn, begun.id, written_at)

    bank.database.write(unit)


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (timedelta(0), Permit),
        (timedelta(hours=24), Permit),
        (timedelta(hours=24, seconds=1), Refer),
    ],
    ids=["at once", "on the bound", "a second behind it"],
)
def test_where_the_feed_of_holdings_is_too_old_people_judge(
    bank: Bank, clock: SettableClock, after: timedelta, outcome: type
) -> None:
    bank = expecting_a_feed(bank, hours=24)
    heard(bank)
    clock.instant += after
    with bank.database.read() as conn:
        gathered, decision = decide(conn, bank)
    assert gathered.question.facts["holdings.feed_stale"] is (outcome is Refer)
    assert isinstance(decision, outcome)
    assert ("INST-08" in holding(decision)) is (outcome is Refer)


def test_a_feed_that_never_came_is_too_old_and_where_none_is_expected_there_is_no_such_fact(
    bank: Bank,
) -> None:
    with bank.database.read() as conn:
        assert "INST-08" not in holding(decide(conn, bank)[1])
        assert "holdings.feed_stale" not in gather(conn, bank).question.facts
        expecting = expecting_a_feed(bank, hours=24 * 365)
        assert gather(conn, expecting).question.facts["holdings.feed_stale"] is True


def test_a_feed_is_as_old_as_its_rows_and_only_holdings_count(
    bank: Bank, clock: SettableClock
) -> None:
    bank = expecting_a_feed(bank, hours=24)

    def is_stale() -> object:
        with bank.database.read() as conn:
            return gather(conn, bank).question.facts["holdings.feed_stale"]

    heard(bank, kind="donors")
    assert is_stale() is True
    clock.advance(seconds=1)
    heard(bank, written_at=bank.now() - timedelta(hours=25))
    assert is_stale() is True
    clock.advance(seconds=1)
    heard(bank, written_at=bank.now() - timedelta(hours=23))
    assert is_stale() is False, "what was read before is not kept"
    clock.advance(hours=2)
    assert is_stale() is True, "nor how old it was"


def test_it_stands_a_year_later_as_well(bank: Bank, clock: SettableClock) -> None:
    clock.advance(days=365)
    with bank.database.read() as conn:
        overdue = decide(conn, bank)[1]
    assert isinstance(overdue, Refer)
    assert [f.no for f in overdue.findings if f.effect == "refer" and f.result == "holds"] == [
        "R-PRE-04"
    ]
    bank.database.write(
        lambda conn: duties.done(
            conn, "annual-report.2026", on=date(2027, 1, 20), evidence_sha256="0" * 64,
            person_id="psn_a", today=bank.today(), now=START,
        )
    )  # fmt: skip
    with bank.database.read() as conn:
        assert isinstance(decide(conn, bank)[1], Permit)


@pytest.mark.parametrize(
    ("quotas", "drawn", "said", "outcome"),
    [
        ({"volume_ul": 10**9}, {"volume_ul": 0}, "suffice", Permit),
        ({"volume_ul": 10**9}, {}, "unopened", Refer),
        ({"units": 10**6, "volume_ul": 1}, {"units": 0, "volume_ul": 0}, "short", Hold),
        ({"bytes": 1}, {"bytes": 0}, "suffice", Permit),  # of material there are none
    ],
)
def test_a_paper_that_counts_volume_or_bytes(
    bank: Bank, quotas: dict[str, int], drawn: dict[str, int], said: str, outcome: type
) -> None:
    """Whatever a paper counts and no rule of its own looks at holds the request, or is judged."""
    draft = replace(
        DRAFT, kind="ethics", project_id=PLAIN["project"], quotas=quotas, drawn=drawn,
        scope={"committee_registered": True, "purposes": ["disease", "health"]},
        valid_to=date(2040, 1, 1),
    )  # fmt: skip
    h = metadata.tables["holding"]

    def unit(conn: Connection) -> None:
        before = decide(conn, bank)[0].question.facts
        assert "papers.quotas" not in before, "nothing would be drawn on"
        put(conn, draft)
        if "volume_ul" in quotas:
            assert decide(conn, bank)[0].question.facts["papers.quotas"] in {
                "unmeasured",
                "unopened",
            }
        conn.execute(sa.update(h).values(volume_ul=100))
        gathered, decision = decide(conn, bank)
        assert gathered.question.facts["papers.quotas"] == said
        assert isinstance(decision, outcome), holding(decision)

    bank.database.write(unit)


def test_genomes_abroad_wait_for_report_and_backup_of_these_very_data(bank: Bank) -> None:
    def unit(conn: Connection) -> None:
        held = decide(conn, bank, of=FOREIGN, party=UNIVERSITY)[1]
        assert isinstance(held, Hold)
        assert {"prior_report", "backup"} <= set(held.papers)
        put(conn, replace(DRAFT, scope={"parties": [UNIVERSITY]}))
        put(
            conn,
            papers.PaperDraft(
                kind="backup", number="虚构备份", issuer="虚构", holder_id="pty_bank",
                project_id="prj_sino_foreign", valid_from=date(2026, 11, 1), valid_to=date(2027, 11, 1),
                document_sha256="0" * 64,
                scope={"dataset_sha256": sorted(facts.asked_datasets(conn, bank, ask(of=FOREIGN)))},
            ),
        )  # fmt: skip
        gathered, decision = decide(conn, bank, of=FOREIGN, party=UNIVERSITY)
        assert isinstance(decision, Permit), holding(decision)
        assert {draw.kind for draw in gathered.draws} == {"cooperation"}
        assert {draw.measure for draw in gathered.draws} == {"people", "units"}
        # A genome added since is in no backup.
        h = metadata.tables["holding"]
        conn.execute(sa.update(h).where(h.c.id == "hld_na18525_genome").values(sha256="f" * 64))
        genomes = sa.select(h.c.id).where(h.c.collection_id == "col_chb", h.c.kind == "genome")
        conn.execute(
            sa.update(h).where(h.c.id == genomes.limit(1).scalar_subquery()).values(sha256="f" * 64)
        )
        assert isinstance(decide(conn, bank, of=FOREIGN, party=UNIVERSITY)[1], Hold)

    bank.database.write(unit)


OUTCOMES = [
    # name, requester, what differs from the plain request, outcome, a rule that says so
    ("a foreign party keeps leftovers", UNIVERSITY, FOREIGN | {"project": "prj_foreign_bank", "leftover": "keep", "users": [], **items(["dna"], collections=["col_chb"])}, Deny, "R-FOR-01"),
    ("a foreign party preserves", UNIVERSITY, FOREIGN | {"project": "prj_foreign_bank", "action": "preserve", "items": None, "users": []}, Deny, "R-FOR-01"),
    ("a price above cost", HOSPITAL, {"price": {"price_fen": 500_00, "cost_fen": 100_00, "cost_documented": True}}, Deny, "R-GEN-04"),
    ("a foreign court", "pty_contract_lab", {"project": "prj_lab_sponsor", "recipient": "pty_foreign_court", "action": "enforcement_request", "prc_authority_approval": False, "users": []}, Deny, "R-GEN-06"),
    ("the exact half is foreign", "pty_cart_jv", {"project": "prj_jv_car_t", "recipient": "pty_cart_jv", "users": []}, Hold, "R-INT-01"),
    ("hong kong, undetermined", "pty_hk_subsidiary", {"project": "prj_hk_biomarker", "recipient": "pty_hk_subsidiary", "users": []}, Refer, "R-FOR-05"),
    ("collected abroad", HOSPITAL, items(["dna"], collections=["col_fin"]), Refer, "R-SCO-08"),
    ("the old form", HOSPITAL, items(["dna"], collections=["col_acb"]), Refer, "R-CON-02"),
    ("another's collection", "pty_cart_domestic", {"project": "prj_car_t_hmb", "recipient": "pty_cart_domestic", "users": [{"researcher": "res_chen_xi", "access_country": "CN"}], **items(["dna"], collections=["CHS"])}, Hold, "INST-02"),
    ("the source asks itself", HOSPITAL, items(["dna"], collections=["col_chs"]), Permit, None),
    ("guardian-signed, now adult", HOSPITAL, items(["dna"], collections=["col_gih"]), Refer, "R-CON-08"),
    ("a company at home", "pty_cart_domestic", {"project": "prj_car_t_hmb", "recipient": "pty_cart_domestic", "users": [{"researcher": "res_chen_xi", "access_country": "CN"}], "purpose": PLAIN["purpose"] | {"commercial": True}}, Permit, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("party", "changes", "outcome", "rule"), [r[1:] for r in OUTCOMES], ids=[r[0] for r in OUTCOMES]
)
def test_the_demo_comes_out_as_it_should(bank: Bank, party, changes, outcome, rule) -> None:
    with bank.database.read() as conn:
        decision = decide(conn, bank, changes, party=party)[1]
    assert isinstance(decision, outcome), holding(decision)
    assert rule is None or rule in holding(decision)


def test_two_people_reading_the_old_form_turn_the_refer(bank: Bank) -> None:
    old = items(["dna"], collections=["col_acb"])
    mapping = {
        "always": {
            "told": ["purpose", "use", "health_effect", "privacy", "voluntary", "withdrawal"],
            "terms": {"hgr:separate_pi_provision": True},
        },
        "ticks": {"option_a": {"permissions": ["DUO:0000006"]}},
    }

    def unit(conn: Connection) -> object:
        proposed = consents.propose_mapping(conn, "frm_acb", mapping, person_id="psn_a", now=START)
        consents.confirm_mapping(conn, proposed.id, person_id="psn_b", now=START)
        return decide(conn, bank, old)[1]

    assert isinstance(bank.database.write(unit), Permit)


# ---- counts ----------------------------------------------------------------------------------


def test_counts_are_those_of_the_rows(bank: Bank) -> None:
    with bank.database.read() as conn:
        question = gather(conn, bank, items(["dna", "genome"], collections=["col_chb"])).question
        rows = conn.execute(
            sa.text(
                "SELECT count(*), count(DISTINCT donor_id) FROM holding"
                " WHERE collection_id = 'col_chb' AND kind IN ('dna', 'genome')"
            )
        ).one()
    assert sum(stratum.items for stratum in question.strata) == rows[0]
    assert sum(group.people for group in question.donor_groups) == rows[1]
    for stratum in question.strata:
        inside = (group.people for group in question.donor_groups if stratum.id in group.strata)
        assert sum(inside) == stratum.people


def test_units_asked_are_never_more_than_there_are(bank: Bank) -> None:
    with bank.database.read() as conn:
        wanted = {"items": {"kinds": ["plasma"], "units_each": 5}}
        gathered = gather(conn, bank, wanted)
        total = conn.execute(
            sa.text(
                "SELECT sum(CASE WHEN units < 5 THEN units ELSE 5 END) FROM holding WHERE kind = 'plasma'"
            )
        ).scalar_one()
    assert gathered.question.facts["request.asked_units"] == total


def test_what_is_not_on_the_shelf_is_not_asked_for(bank: Bank) -> None:
    def unit(conn: Connection) -> list[int]:
        h = metadata.tables["holding"]
        one = {"kinds": ["dna"], "cohort": {"samples": [code]}}
        counts = []
        for values in ({}, {"units": 0}, {"units": 1, "available": False}):
            if values:
                conn.execute(sa.update(h).where(h.c.code == code).values(values))
            counts.append(len(gather(conn, bank, {"items": one}).question.strata))
        return counts

    with bank.database.read() as conn:
        code = (
            conn.execute(sa.text("SELECT code FROM holding WHERE kind = 'dna'")).scalars().first()
        )
    assert bank.database.write(unit) == [1, 0, 0]


def test_asks_by_donor_sample_sex_and_disease(bank: Bank) -> None:
    with bank.database.read() as conn:
        by_donor = gather(conn, bank, items(ALL_KINDS, samples=["HG00403"]))
        assert sum(g.people for g in by_donor.question.donor_groups) == 1
        code = (
            conn.execute(
                sa.text("SELECT code FROM holding WHERE donor_id = 'dnr_hg00403' ORDER BY code")
            )
            .scalars()
            .first()
        )
        by_tube = gather(conn, bank, items(ALL_KINDS, samples=[code]))
        assert [stratum.items for stratum in by_tube.question.strata] == [1]
        # Lymphoma holds its descendants; nobody here was given the parent term itself.
        lymphoma = gather(conn, bank, items(["dna"], disease="DOID:0060058"))
        count = sa.text(
            "SELECT count(*) FROM holding WHERE kind = 'dna'"
            " AND disease IN ('DOID:0050745', 'DOID:0050873')"
        )
        found = sum(stratum.items for stratum in lymphoma.question.strata)
        assert found == conn.execute(count).scalar_one() > 0
        women, men, both = (
            gather(conn, bank, items(["dna"], collections=["col_chb"], **sex)).question.facts
            for sex in ({"sex": "female"}, {"sex": "male"}, {})
        )
        asked = "request.asked_units"
        assert women[asked] + men[asked] == both[asked]


def test_only_narrows_to_the_holdings_of_a_grant(bank: Bank) -> None:
    with bank.database.read() as conn:
        whole = gather(conn, bank)
        some = frozenset(
            item.holding_id for item in whole.cohort.select(conn, whole.cohort.strata)[:7]
        )
        narrowed = gather(conn, bank, only=some)
    picked = narrowed.cohort.select(conn, narrowed.cohort.strata)
    assert {item.holding_id for item in picked} == some


def test_the_same_rows_give_the_same_question(bank: Bank) -> None:
    with bank.database.read() as conn:
        first, second = (gather(conn, bank, items(ALL_KINDS)).question for _ in range(2))
    assert first == second
    assert [stratum.id for stratum in first.strata] == [
        f"s{n + 1}" for n in range(len(first.strata))
    ]


def test_no_stratum_names_a_donor_or_a_sample(bank: Bank, world: World) -> None:
    with bank.database.read() as conn:
        text = repr(gather(conn, bank, items(ALL_KINDS, collections=["col_chb"])).question)
    assert not any(code in text or id_ in text for code, id_ in world.donors.items())


def test_the_whole_bank_takes_well_under_a_second(bank: Bank) -> None:
    with bank.database.read() as conn:
        gather(conn, bank, items(ALL_KINDS))
        started = time.process_time()
        gathered = gather(conn, bank, items(ALL_KINDS))
        took = time.process_time() - started
    assert sum(stratum.items for stratum in gathered.question.strata) > 13_000
    assert took < 2, "0.3 s on the machine it was written on, alone"


# ---- dates and withdrawals ------------------------------------------------------------------------


def one(bank: Bank, conn: Connection, donor: str, kind: str = "dna", **kwargs: object) -> Stratum:
    """The stratum of one donor's one holding."""
    wanted = items([kind], samples=[f"{donor}-{kind.upper()}"])
    return gather(conn, bank, wanted, **kwargs).question.strata[0]


def some_donor(conn: Connection, kind: str = "dna") -> str:
    return str(
        conn.execute(
            sa.text(
                "SELECT d.code FROM donor d JOIN holding h ON h.donor_id = d.id"
                " WHERE h.collection_id = 'col_chb' AND h.kind = :kind"
                " AND d.id NOT IN (SELECT donor_id FROM withdrawal) ORDER BY d.code"
            ),
            {"kind": kind},
        )
        .scalars()
        .first()
    )


def test_a_withdrawal_counts_from_its_shanghai_day(bank: Bank, clock: SettableClock) -> None:
    def unit(conn: Connection) -> list[object]:
        donor = some_donor(conn)
        before = facts_version(conn)
        consents.record_withdrawal(
            conn, f"dnr_{donor.lower()}", "everything", channel="电话", person_id="psn_a",
            effective_at=START + timedelta(days=1), now=START,
        )  # fmt: skip
        assert facts_version(conn) == before + 1
        return [
            one(bank, conn, donor, as_of=bank.today() + timedelta(days=days)).facts[
                "donor.withdrawn"
            ]
            for days in (0, 1, 2)
        ]

    assert bank.database.write(unit) == [False, True, True]


def test_a_withdrawal_from_one_study_leaves_the_others(bank: Bank, world: World) -> None:
    donor = world.withdrawn["study"][0].removeprefix("dnr_").upper()
    company = {
        "project": "prj_car_t_hmb", "recipient": "pty_cart_domestic", "users": [],
        **items(ALL_KINDS, samples=[donor]),
    }  # fmt: skip
    with bank.database.read() as conn:
        here = gather(conn, bank, items(ALL_KINDS, samples=[donor])).question.strata
        there = gather(conn, bank, company, party="pty_cart_domestic").question.strata
    assert {stratum.facts["donor.withdrawn"] for stratum in here} == {True}
    assert {stratum.facts["donor.withdrawn"] for stratum in there} == {False}


@pytest.mark.parametrize(
    ("born", "under_14", "minor", "adult"),
    [
        (date(2012, 11, 23), True, False, False),
        (date(2012, 11, 22), False, True, False),
        (date(2008, 11, 23), False, True, False),
        (date(2008, 11, 22), False, False, True),
        (None, None, None, None),
    ],
)
def test_age_is_full_years_on_the_day(bank: Bank, born, under_14, minor, adult) -> None:
    def unit(conn: Connection) -> list[object]:
        donor = some_donor(conn)
        d = metadata.tables["donor"]
        conn.execute(sa.update(d).where(d.c.code == donor).values(born=born))
        said = one(bank, conn, donor).facts
        return [said.get(f"donor.{name}") for name in ("under_14", "minor_14_17", "adult")]

    assert bank.database.write(unit) == [under_14, minor, adult]


@pytest.mark.parametrize(
    ("values", "fact", "expected"),
    [
        ({"expires_on": date(2026, 11, 21)}, "consent.expired", True),
        ({"expires_on": date(2026, 11, 22)}, "consent.expired", False),
        ({"expires_on": date(2026, 11, 22)}, "consent.earliest_expiry", date(2026, 11, 22)),
        ({"expires_on": date(2026, 11, 21)}, "consent.earliest_expiry", None),
        ({"written": None}, "consent.written", None),
        ({"reconsented_on": date(2026, 11, 23)}, "consent.reconsented", False),
        ({"signed_on": date(2040, 1, 1)}, "consent.before_collection", False),
    ],
)
def test_consent_dates(bank: Bank, values, fact, expected) -> None:
    def unit(conn: Connection) -> object:
        donor = some_donor(conn)
        c = metadata.tables["consent"]
        conn.execute(sa.update(c).where(c.c.id == f"cns_{donor.lower()}").values(values))
        return one(bank, conn, donor).facts.get(fact)

    assert bank.database.write(unit) == expected


def test_a_holding_without_consent_says_so_and_nothing_else(bank: Bank) -> None:
    def unit(conn: Connection) -> Stratum:
        donor = some_donor(conn)
        h = metadata.tables["holding"]
        conn.execute(
            sa.update(h)
            .where(h.c.code == f"{donor}-DNA")
            .values(consent_id=None, collected_on=None, item_class=None)
        )
        return one(bank, conn, donor)

    stratum = bank.database.write(unit)
    said = {name: value for name, value in stratum.facts.items() if name.startswith("consent.")}
    assert said == {"consent.exists": False}
    assert stratum.profile == consents.UNMAPPED.id
    assert not {"item.class", "item.legacy"} & stratum.facts.keys()


def test_determinations_reach_the_strata(bank: Bank) -> None:
    def unit(conn: Connection) -> list[dict[str, object]]:
        donor, names = some_donor(conn), ("source_determined", "origin_determined", "source_lawful")
        said = []
        for value, now in ((True, START), (False, START + timedelta(days=1))):
            for finding in ("source_lawful", "origin_abroad"):
                confirmed(conn, "col_chb", finding, value=value, now=now)
            stratum = one(bank, conn, donor)
            said.append({name: stratum.facts[f"item.{name}"] for name in names})
        return said

    assert bank.database.write(unit) == [
        {"source_determined": True, "origin_determined": True, "source_lawful": True},
        {"source_determined": False, "origin_determined": False, "source_lawful": False},
    ]


# ---- claims, counters, users ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "found", "expected"),
    [(True, None, None), (False, None, False), (None, None, None), (True, True, True), (False, True, True), (True, False, False)],
)  # fmt: skip
@pytest.mark.parametrize("claim", ["prc_authority_approval", "produced_in_cooperation"])
def test_an_applicants_claim_needs_officers(bank: Bank, claim, said, found, expected) -> None:
    def unit(conn: Connection) -> object:
        if found is not None:
            confirmed(conn, "prj_hospital_hmb", claim, value=found)
        return gather(conn, bank, {claim: said}).question.facts.get(f"request.{claim}")

    assert bank.database.write(unit) is expected


def test_what_went_out_before_is_counted_once_per_person(bank: Bank) -> None:
    def unit(conn: Connection) -> Gathered:
        before = gather(conn, bank, of=FOREIGN, party=UNIVERSITY)
        donors = sorted(
            {item.donor_id for item in before.cohort.select(conn, before.cohort.strata)}
        )[:3]
        rows = [
            {"source_id": "rel_1", "party_id": UNIVERSITY, "group_id": before.recipient.group_id, "project_id": "prj_sino_foreign", "data_class": kind,
             "donor_id": donor, "overseas": True, "year": year}
            for donor in donors
            for kind, year in (("genome", 2026), ("exome", 2025), ("clinical", 2026))
        ]  # fmt: skip
        conn.execute(sa.insert(metadata.tables["released_donor"]), rows)
        return gather(conn, bank, of=FOREIGN, party=UNIVERSITY)

    question = bank.database.write(unit).question
    assert question.facts["counter.genome_people_before"] == 3
    assert question.facts["pi.sensitive_people_before"] == 3
    assert sum(group.people for group in question.donor_groups if group.already) == 3


def test_clinical_data_are_linked_to_genomes_that_went_to_the_project_before(bank: Bank) -> None:
    clinical = items(["clinical"], collections=["col_chb"])

    def linked(conn: Connection) -> dict[object, int]:
        strata = gather(conn, bank, clinical, of=FOREIGN, party=UNIVERSITY).question.strata
        counts: dict[object, int] = {}
        for one in strata:
            is_linked = one.facts["item.linked_genomic"]
            counts[is_linked] = counts.get(is_linked, 0) + one.people
        return counts

    def unit(conn: Connection) -> tuple[dict[object, int], dict[object, int]]:
        before = gather(conn, bank, clinical, of=FOREIGN, party=UNIVERSITY)
        donor = before.cohort.select(conn, before.cohort.strata)[0].donor_id
        alone = linked(conn)
        conn.execute(
            sa.insert(metadata.tables["released_donor"]),
            {"source_id": "rel_1", "party_id": UNIVERSITY, "group_id": before.recipient.group_id, "project_id": "prj_sino_foreign", "data_class": "genome",
             "donor_id": donor, "overseas": True, "year": 2026},
        )  # fmt: skip
        return alone, linked(conn)

    alone, after = bank.database.write(unit)
    assert set(alone) == {False}
    assert after == {False: alone[False] - 1, True: 1}


@pytest.mark.parametrize(
    ("kinds", "said", "expected"),
    [(["genome"], None, False), (["genome"], True, True), (["genome", "dna"], None, None)],
)
def test_where_only_data_are_asked_for_no_material_leaves(bank: Bank, kinds, said, expected):
    wanted = {"material_exits": said, **items(kinds, collections=["col_chb"])}
    with bank.database.read() as conn:
        facts_ = gather(conn, bank, wanted).question.facts
    assert facts_.get("request.material_exits") is expected


def test_a_list_of_no_users_says_nothing_of_users(bank: Bank) -> None:
    with bank.database.read() as conn:
        facts_ = gather(conn, bank, {"users": []}).question.facts
    assert not [name for name in facts_ if name.startswith("users.")]


def test_people_of_a_partner_in_foreign_hands_are_no_users_of_its_own(bank: Bank) -> None:
    """The foreign-party test runs on the parties named, and the partner of a project is none."""

    def unit(conn: Connection) -> None:
        projects = metadata.tables["project"]
        conn.execute(
            sa.update(projects)
            .where(projects.c.id == "prj_hospital_hmb")
            .values(chinese_partner_id="pty_cart_jv")
        )
        gather(conn, bank, {"users": [{"researcher": "res_zhou_jv", "access_country": "CN"}]})

    with pytest.raises(ProblemError, match="is no party of this request"):
        bank.database.write(unit)


def test_users_and_places(bank: Bank) -> None:
    with bank.database.read() as conn:
        question = gather(conn, bank, of=FOREIGN, party=UNIVERSITY).question
        unsaid = FOREIGN | {"users": [{"researcher": "res_smith"}], "host": None}
        open_ = gather(conn, bank, of=unsaid, party=UNIVERSITY).question
    assert question.facts["users.access_countries"] == {"GB", "CN"}
    assert question.facts["users.nationalities"] == {"GB", "CN"}
    assert question.purpose.countries == {"GB", "CN"}
    assert "users.access_countries" not in open_.facts
    assert "host.present" not in open_.facts
    assert open_.purpose.countries is None


def test_what_a_request_does_not_say_is_unknown(bank: Bank) -> None:
    bare = {
        "project": "prj_hospital_hmb", "recipient": "none", "purpose": {"research": "health"},
    }  # fmt: skip
    with bank.database.read() as conn:
        gathered = gather(conn, bank, of=bare)
    said = gathered.question.facts
    assert said["recipient.present"] is False
    assert not {"sponsor.present", "host.present", "users.nationalities", "pi.form"} & said.keys()
    assert gathered.question.strata == ()
    assert gathered.question.purpose.not_for_profit is None
    assert gathered.recipient == Recipient(party_id=HOSPITAL, group_id=HOSPITAL)


def test_for_profit_receivers_are_seen(bank: Bank) -> None:
    with bank.database.read() as conn:
        plain = gather(conn, bank).question.purpose
        sold = gather(conn, bank, {"beneficiary": "pty_cart_domestic"}).question.purpose
    assert (plain.not_for_profit, sold.not_for_profit) == (True, False)


def test_disease_ancestors_come_from_the_tree(bank: Bank) -> None:
    purpose = PLAIN["purpose"] | {"research": "disease", "diseases": ["DOID:0050745"]}
    with bank.database.read() as conn:
        found = gather(conn, bank, {"purpose": purpose}).question.purpose
    assert "DOID:162" in found.disease_ancestors["DOID:0050745"]


# ---- refusals ------------------------------------------------------------------------------------

REFUSED = [
    ("another's project", {"project": "prj_car_t_hmb"}, "not_found", "/project"),
    ("no such project", {"project": "prj_none"}, "not_found", "/project"),
    ("no such party", {"recipient": "pty_none"}, "unknown_term", "/recipient"),
    ("no such operator", {"host": {"operator": "pty_none"}}, "unknown_term", "/host/operator"),
    ("no such researcher", {"users": [{"researcher": "res_none"}]}, "unknown_term", "/users/0/researcher"),
    ("a stranger's employee", {"users": [{"researcher": "res_smith"}]}, "invalid_request", "/users/0/researcher"),
    ("no such sample", items(["dna"], samples=["HG00403", "HG99999"]), "unknown_sample", "/items/cohort/samples/1"),
    ("no such collection", items(["dna"], collections=["col_none"]), "unknown_term", "/items/cohort/collections/0"),
    ("no such disease", items(["dna"], disease="DOID:1"), "unknown_term", "/items/cohort/disease"),
    ("no such purpose", {"purpose": PLAIN["purpose"] | {"diseases": ["DOID:162", "DOID:1"]}}, "unknown_term", "/purpose/diseases/1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "code", "pointer"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_names_nobody_knows_are_pointed_at(bank: Bank, changes, code, pointer) -> None:
    with bank.database.read() as conn, pytest.raises(ProblemError) as error:
        gather(conn, bank, changes)
    assert error.value.code == code
    assert [each.pointer for each in error.value.errors] == [pointer]


def test_many_unknown_samples_are_named_up_to_a_point(bank: Bank) -> None:
    wrong = items(["dna"], samples=[f"XX{n:05}" for n in range(50)])
    with bank.database.read() as conn, pytest.raises(ProblemError) as error:
        gather(conn, bank, wrong)
    assert len(error.value.errors) == 20
    assert "49 more" in error.value.detail


@pytest.mark.parametrize(
    ("fact", "pointer"),
    [
        ("request.material_exits", "/material_exits"),
        ("request.trial_for_marketing", "/trial/for_marketing"),
        ("request.commercial", "/purpose/commercial"),
        ("purpose.publication_planned", "/purpose/publication_planned"),
        ("host.present", "/host/operator"),
        ("pi.form", "/pi_form"),
        ("users.nationalities", "/users"),
        ("sponsor.country", None),  # the register says it, once a sponsor is named
        ("purpose.ethics_approved", None),  # a paper says it
        ("consent.covers", None),
    ],
)
def test_a_missing_fact_points_to_where_it_is_said(fact: str, pointer: str | None) -> None:
    assert pointer_of(fact) == pointer


def test_every_pointer_leads_somewhere_and_every_question_is_known(bank: Bank) -> None:
    names = [n for n, f in bank.law.vocabulary.facts.items() if f.derived is None]
    for name in names:
        pointer = pointer_of(name)
        if pointer is None:
            continue
        model: Any = Ask
        for part in pointer.strip("/").split("/"):
            assert part in model.model_fields, name
            inner = [
                a
                for a in get_args(model.model_fields[part].annotation)
                if hasattr(a, "model_fields")
            ]
            model = inner[0] if inner else model.model_fields[part].annotation
