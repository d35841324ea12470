"""A shared fact voided or corrected: whom it reaches, what stands afterwards, what is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from audit import log
from gateway import deciding, effects, pep, standing
from gateway.bank import Bank
from gateway.demo_world import World
from gateway.errors import ProblemError
from gateway.release import grants, handover
from gateway.review import cases
from gateway.tables import metadata
from tests.gateway.registry.asks import ask
from tests.gateway.test_acts import (
    AGGREGATE,
    HOSPITAL,
    LI,
    WANG,
    approve,
    command,
    count,
    create,
    kinds,
    release,
    run,
    whole,
)
from tests.store import opened, unguard

ETHICS = "ppr_ethics_hospital_hmb"
EVIDENCE = "ab" * 32


def propose(bank: Bank, kind: str, subject: str, said: dict[str, Any] | None = None) -> Any:
    """Void it, or with `said` propose it to be so."""
    return run(
        lambda reply: pep.correct(
            bank,
            LI,
            lambda conn: standing.propose(
                conn,
                kind=kind,
                subject_id=subject,
                act="correct" if said else "void",
                said=said or {},
                reason="the register was compared with the original",
                evidence_sha256=EVIDENCE,
                person_id=LI.id,
                now=bank.now(),
            ),
            reply=reply,
        ),
        LI,
    )


def confirm(bank: Bank, correction_id: str, who: Any = WANG) -> Any:
    return run(
        lambda reply: pep.correct(
            bank,
            who,
            lambda conn: standing.confirm(conn, correction_id, person_id=who.id, now=bank.now()),
            reply=reply,
        ),
        who,
    )


def preview(bank: Bank, kind: str, subject: str) -> standing.Reach:
    with bank.database.read() as conn:
        return standing.touched(conn, kind, subject)


def state(bank: Bank, grant_id: str) -> str:
    with bank.database.read() as conn:
        return grants.get(conn, grant_id).state


def ids(found: standing.Reach) -> tuple[list[str], list[str], list[str]]:
    return (
        [one.case_id for one in found.cases],
        [one.grant_id for one in found.grants],
        [release_id for release_id, _ in found.receivers],
    )


def test_a_voided_paper_reaches_cases_grants_and_receivers_as_its_preview_said(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    made = release(bank, granted.grant_id)
    waiting = create(bank)
    before = count(bank, "decision")
    said = preview(bank, "paper", ETHICS)
    assert ids(said) == ([waiting.case_id], [granted.grant_id], [made.release_id])
    assert said.counts == {"cases": 1, "grants": 1, "receivers": 1}
    assert count(bank, "decision") == before, "a preview decides nothing"

    done = propose(bank, "paper", ETHICS)

    assert ids(done.reach) == ids(said)
    (case,), (grant,) = done.reach.cases, done.reach.grants
    assert (case.outcome, case.state) == ("hold", "awaiting_external")
    assert (grant.outcome, grant.state, state(bank, granted.grant_id)) == (
        "hold",
        "suspended",
        "suspended",
    )
    # Both decisions of each stay, and can be read.
    for old, new in (
        (waiting.decision_id, case.decision_id),
        (granted.decision_id, grant.decision_id),
    ):
        assert deciding.read_decision(bank, old, party_id=None).decision.outcome == "permit"
        assert deciding.read_decision(bank, new, party_id=None).decision.outcome == "hold"
    assert kinds(bank)[-6:] == [
        "paper.voided",
        "decision",
        "case.redecided",
        "decision",
        "grant.suspended",
        "receiver.to_notify",
    ]
    with pytest.raises(ProblemError, match="the grant is `suspended`"):
        release(bank, granted.grant_id)
    whole(bank)


def test_what_waits_for_the_courier_does_not_leave(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    made = release(bank, granted.grant_id)
    propose(bank, "paper", ETHICS)
    handed = handover.HandOver(how=handover.Way.COURIER)
    with pytest.raises(ProblemError, match="the grant is `suspended`"):
        bank.database.write(
            lambda conn: handover.record_handover(
                conn, made.release_id, handed, by=LI.id, now=bank.now()
            )
        )


def test_a_fact_nothing_rests_on_reaches_nobody(bank: Bank, world: World) -> None:
    granted = create(bank, AGGREGATE)
    other = next(
        paper for name, paper in world.papers.items() if paper != ETHICS and "ethics" in name
    )
    assert ids(preview(bank, "paper", other)) == ([], [], [])
    propose(bank, "paper", other)
    assert state(bank, granted.grant_id) == "active"
    assert kinds(bank)[-1] == "paper.voided"


def forms_of(bank: Bank, grant_id: str) -> set[str]:
    item, holding = metadata.tables["grant_item"], metadata.tables["holding"]
    consent, profile = metadata.tables["consent"], metadata.tables["consent_profile"]
    query = (
        sa.select(profile.c.form_id)
        .join(consent, consent.c.profile_id == profile.c.id)
        .join(holding, holding.c.consent_id == consent.c.id)
        .join(item, item.c.holding_id == holding.c.id)
        .where(item.c.grant_id == grant_id, item.c.removed_at.is_(None))
    )
    with bank.database.read() as conn:
        return set(conn.execute(query).scalars())


TWO_COLLECTIONS = {
    "outputs": ["aggregate"],
    "items": {"kinds": ["genome"], "cohort": {"collections": ["col_chb", "col_chs"]}},
}


@pytest.mark.parametrize("kind", ["form", "collection"])
def test_a_grant_loses_what_was_taken_on_a_void_form_or_from_a_void_collection(
    bank: Bank, kind: str
) -> None:
    granted = create(bank, TWO_COLLECTIONS)
    assert granted.grant_id is not None
    form = min(forms_of(bank, granted.grant_id))
    with bank.database.read() as conn:
        all_items = len(grants.items(conn, granted.grant_id))
        of_form = standing.row_of(conn, "form", form)["collection_id"]
    subject = form if kind == "form" else of_form
    (grant,) = propose(bank, kind, subject).reach.grants
    assert (grant.state, grant.outcome) == ("active", "permit")
    assert 0 < grant.removed < all_items
    with bank.database.read() as conn:
        assert len(grants.items(conn, granted.grant_id)) == all_items - grant.removed
    assert form not in forms_of(bank, granted.grant_id)
    assert kinds(bank)[-2:] == ["decision", "grant.shrunk"]
    whole(bank)


def test_a_grant_whose_every_form_is_void_is_suspended(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    for form in forms_of(bank, granted.grant_id):
        propose(bank, "form", form)
    assert state(bank, granted.grant_id) == "suspended"


def test_a_void_party_is_nobody_knows_who(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    (grant,) = propose(bank, "party", HOSPITAL.party_id).reach.grants
    assert (grant.grant_id, grant.state) == (granted.grant_id, "suspended")
    assert grant.outcome in {"refer", "hold"}
    again = create(bank, AGGREGATE)
    assert again.decision.outcome in {"refer", "hold"}


def test_a_correction_needs_two_people_and_keeps_what_was(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    made = propose(bank, "party", HOSPITAL.party_id, {"country": "US"})
    assert made.correction.applied_at is None
    assert ids(made.reach) == ([], [granted.grant_id], []), "whom it would reach"
    assert state(bank, granted.grant_id) == "active", "one person's word counts for nothing yet"
    with pytest.raises(ProblemError) as refused:
        confirm(bank, made.correction.id, LI)
    assert refused.value.code == "same_person"

    done = confirm(bank, made.correction.id)

    assert done.correction.before == {"country": "CN"}
    assert state(bank, granted.grant_id) == "suspended"
    assert done.reach.grants[0].outcome != "permit"
    with bank.database.read() as conn:
        assert standing.row_of(conn, "party", HOSPITAL.party_id)["country"] == "US"
        assert [one.id for one in standing.about(conn, HOSPITAL.party_id)] == [made.correction.id]
    with pytest.raises(ProblemError) as refused:
        confirm(bank, made.correction.id)
    assert refused.value.code == "already_done"
    assert [kind for kind in kinds(bank) if kind.startswith("party.")] == [
        "party.correction-proposed",
        "party.corrected",
    ]


def test_a_corrected_paper_can_let_a_case_go_on(bank: Bank) -> None:
    """Recorded with the wrong last day, it holds; corrected by two, a person confirms the permit."""
    made = propose(bank, "paper", ETHICS, {"valid_to": "2026-10-01", "open_ended": False})
    confirm(bank, made.correction.id)
    held = create(bank)
    assert held.decision.outcome != "permit"
    made = propose(bank, "paper", ETHICS, {"valid_to": "2030-12-31"})
    (case,) = confirm(bank, made.correction.id).reach.cases
    assert (case.outcome, case.state) == ("permit", "first_review")
    assert made.correction.said == {"valid_to": "2030-12-31"}
    assert approve(bank, held.case_id).grant_id is not None


def test_a_permit_that_needs_nobody_is_still_looked_at_when_a_case_was_open(bank: Bank) -> None:
    made = propose(bank, "paper", ETHICS, {"valid_to": "2026-10-01"})
    confirm(bank, made.correction.id)
    held = create(bank, AGGREGATE)
    made = propose(bank, "paper", ETHICS, {"valid_to": "2030-12-31"})
    (case,) = confirm(bank, made.correction.id).reach.cases
    assert (case.case_id, case.outcome, case.state) == (held.case_id, "permit", "first_review")
    assert count(bank, "grant_") == 0


@pytest.mark.parametrize(
    ("kind", "subject", "said", "code", "pointer"),
    [
        ("donor", "x", None, "invalid_request", "/kind"),
        ("paper", "ppr_none", None, "not_found", "/subject"),
        ("party", "pty_bank", {"colour": "red"}, "invalid_request", "/values/colour"),
        ("party", "pty_bank", {"country": "China"}, "invalid_request", "/values/country"),
        ("collection", "col_chb", {"source_party_id": "pty_x"}, "not_found", "/subject"),
        ("form", "frm_acb", {"ethics_paper_id": "ppr_x"}, "not_found", "/subject"),
        ("form", "frm_acb", {"valid_to": "1999-01-01"}, "invalid_request", "/values/valid_to"),
        ("paper", ETHICS, {"valid_to": None}, "invalid_request", "/values/valid_to"),
        ("paper", ETHICS, {"scope": {"moon": 1}}, "invalid_request", "/values/scope/moon"),
    ],
    ids=[
        "no such kind",
        "no such paper",
        "no such value",
        "not a country",
        "an unknown source",
        "an unknown opinion",
        "over before it begins",
        "a paper without an end",
        "a scope of no kind",
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    bank: Bank, kind: str, subject: str, said: Any, code: str, pointer: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        propose(bank, kind, subject, said)
    assert refused.value.code == code
    assert pointer in {one.pointer for one in refused.value.errors}
    assert kinds(bank) == []
    assert count(bank, "correction") == 0


def test_a_voiding_says_nothing_a_correction_something_and_nothing_is_voided_twice(
    bank: Bank,
) -> None:
    with bank.database.read() as conn:
        for act, said in (("void", {"number": "1"}), ("correct", {})):
            with pytest.raises(ProblemError) as refused:
                standing.verify(conn, "paper", ETHICS, act, said)
            assert refused.value.code == "invalid_request"
    waiting = propose(bank, "paper", ETHICS, {"number": "2"})
    propose(bank, "paper", ETHICS)
    for again in (
        lambda: propose(bank, "paper", ETHICS),
        lambda: confirm(bank, waiting.correction.id),
    ):
        with pytest.raises(ProblemError) as refused:
            again()
        assert refused.value.code == "already_done"
    with bank.database.read() as conn, pytest.raises(ProblemError) as refused:
        standing.read(conn, "cor_none")
    assert refused.value.code == "not_found"


def test_a_decision_of_which_nobody_wrote_down_what_it_rests_on_is_touched(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    rests_on = metadata.tables["decision_rests_on"]
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only"),
        opened(bank.settings) as owner,
    ):
        owner.execute(sa.delete(rests_on))
    with opened(bank.settings) as owner:
        unguard(owner, "decision_rests_on")
        owner.execute(sa.delete(rests_on))
    found = preview(bank, "form", "frm_acb")
    assert ids(found) == ([], [granted.grant_id], [])


def test_what_can_no_longer_be_decided_does_not_stand(bank: Bank) -> None:
    """A user changed employer, to one that is no party: the request names what does not fit."""
    granted, waiting = create(bank, AGGREGATE), create(bank)
    researcher = metadata.tables["researcher"]
    bank.database.write(
        lambda conn: conn.execute(sa.update(researcher).values(employer_id="pty_cart_jv"))
    )
    done = propose(bank, "paper", ETHICS)
    (grant,), (case,) = done.reach.grants, done.reach.cases
    assert (grant.state, grant.outcome) == ("suspended", None)
    assert (case.outcome, case.decision_id) == (None, waiting.decision_id)
    assert state(bank, granted.grant_id) == "suspended"
    assert {"case.undecidable", "grant.suspended"} <= set(kinds(bank))
    with bank.database.read() as conn:
        assert cases.get_case(conn, waiting.case_id).state == "first_review"


def test_a_grant_of_which_all_went_out_is_not_decided_again(bank: Bank) -> None:
    answer = create(bank)
    grant_id = approve(bank, answer.case_id).grant_id
    assert isinstance(release(bank, grant_id), effects.Released)
    item = metadata.tables["grant_item"]
    bank.database.write(
        lambda conn: conn.execute(sa.update(item).values(removed_at=bank.now(), removed_reason="x"))
    )
    done = propose(bank, "paper", ETHICS)
    assert [(one.grant_id, one.outcome) for one in done.reach.grants] == [(grant_id, None)]
    assert len(done.reach.receivers) == 1


def test_a_retry_voids_once(bank: Bank) -> None:
    create(bank, AGGREGATE)
    asked = {
        "kind": "paper", "subject_id": ETHICS, "act": "void", "said": {}, "reason": "x",
        "evidence_sha256": EVIDENCE, "person_id": LI.id, "now": bank.now(),
    }  # fmt: skip
    act = lambda reply: pep.correct(  # noqa: E731 - said twice below
        bank, LI, lambda conn: standing.propose(conn, **asked), reply=reply
    )
    assert run(act, LI, key="k", body="b") is not None
    assert run(act, LI, key="k", body="b") is None
    assert count(bank, "correction") == 1


def test_an_officer_sees_the_new_decision_in_the_case(bank: Bank) -> None:
    waiting = create(bank)
    propose(bank, "paper", ETHICS)
    with bank.database.read() as conn:
        case = cases.get_case(conn, waiting.case_id)
        size = log.head(conn, bank.origin).size
        leaf = json.loads(list(log.leaves(conn, bank.origin, 0, size))[-1])
    assert [one.event for one in case.events] == ["opened", "redecided"]
    assert case.events[-1].person_id is None, "the gateway itself"
    assert leaf["subjects"]["paper"] == ETHICS
    with pytest.raises(ProblemError):
        command(bank, waiting.case_id, LI, cases.Asked(command=cases.Command.CONCUR, reason="ok"))
    assert ask() is not None
