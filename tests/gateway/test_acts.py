"""The acts of the enforcement point, on a filled bank: what each leaves behind, and in which order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from audit import log
from gateway import deciding, effects, pep
from gateway.app import create_app
from gateway.bank import Bank, bump
from gateway.demo_world import World
from gateway.errors import ProblemError
from gateway.identity.scopes import KEY_SCOPES, Caller, Role, scopes_of
from gateway.registry import ledger, papers, requests
from gateway.registry.ask import Ask
from gateway.release import grants, handover
from gateway.replies import Rendered, Reply
from gateway.review import cases
from gateway.tables import metadata
from tests.gateway.conftest import SettableClock
from tests.gateway.registry.asks import PLAIN, ask
from tests.store import opened

HOSPITAL = Caller(
    kind="key",
    id="key_hospital",
    name="hospital",
    party_id="pty_shanghai_hospital",
    scopes=KEY_SCOPES,
    key_id="hospital",
)
STRANGER = Caller(
    kind="key",
    id="key_jv",
    name="jv",
    party_id="pty_cart_jv",
    scopes=KEY_SCOPES,
    key_id="jv",
)


def officer(name: str) -> Caller:
    roles = frozenset({Role.OFFICER})
    return Caller(
        kind="person",
        id=f"psn_{name}",
        name=name,
        party_id="pty_bank",
        scopes=scopes_of(roles),
        roles=roles,
        person_id=f"psn_{name}",
    )


LI, WANG = officer("li"), officer("wang")

#: Aggregates at home: permitted and granted at once.
AGGREGATE = {
    "outputs": ["aggregate"],
    "items": {"kinds": ["genome"], "cohort": {"collections": ["col_chb"]}},
}


class Kept:
    """Runs an act and keeps its result beside the rendered answer."""

    def __init__(self) -> None:
        self.result: Any = None

    def reply(self, caller: Caller, key: str | None = None, body: str = "") -> Reply:
        def render(result: Any) -> Rendered:
            self.result = result
            return Rendered(status=200, body=json.dumps({"kind": type(result).__name__}).encode())

        return Reply(client=caller.id, key=key, route="POST /x", body_hash=body, render=render)


def run(act: Callable[[Reply], Any], caller: Caller, **how: Any) -> Any:
    kept = Kept()
    asyncio.run(act(kept.reply(caller, **how)))
    return kept.result


def create(
    bank: Bank, changes: dict[str, Any] | None = None, *, draft: bool = False, **how: Any
) -> Any:
    asked = ask(changes)
    return run(
        lambda reply: pep.create_request(bank, HOSPITAL, asked, draft=draft, reply=reply),
        HOSPITAL,
        **how,
    )


def command(bank: Bank, case_id: str, who: Caller, asked: cases.Asked) -> pep.CaseAnswer:
    with bank.database.read() as conn:
        revision = cases.get_case(conn, case_id).revision
    return run(
        lambda reply: pep.resolve_case(bank, who, case_id, asked, revision=revision, reply=reply),
        who,
    )


def approve(bank: Bank, case_id: str) -> pep.CaseAnswer:
    recommend = cases.Asked(
        command=cases.Command.RECOMMEND,
        reason="scope, ethics and licence were compared with the request",
        recommendation=cases.Recommendation.APPROVE,
    )
    command(bank, case_id, LI, recommend)
    return command(bank, case_id, WANG, cases.Asked(command=cases.Command.CONCUR, reason="agreed"))


def kinds(bank: Bank) -> list[str]:
    with bank.database.read() as conn:
        size = log.head(conn, bank.origin).size
        leaves = [json.loads(leaf) for leaf in log.leaves(conn, bank.origin, 0, size)]
    return [leaf["type"] for leaf in leaves]


def whole(bank: Bank) -> None:
    """Log and ledger are as they should be."""
    with bank.database.read() as conn:
        log.check(conn, bank.origin)
        assert ledger.differences(conn) == []


def count(bank: Bank, table: str) -> int:
    with bank.database.read() as conn:
        return conn.execute(
            sa.select(sa.func.count()).select_from(metadata.tables[table])
        ).scalar_one()


def test_a_permit_without_confirmation_is_granted_at_once(bank: Bank) -> None:
    answer = create(bank, AGGREGATE)
    assert answer.decision.outcome == "permit"
    assert answer.request.state == "granted"
    assert answer.grant_id is not None
    assert kinds(bank) == ["decision", "grant.created"]
    whole(bank)


def test_a_dry_run_is_recorded_and_has_no_effect(bank: Bank) -> None:
    answer = run(lambda reply: pep.evaluate(bank, HOSPITAL, ask(AGGREGATE), reply), HOSPITAL)
    assert answer.decision.outcome == "permit"
    assert kinds(bank) == ["decision"]
    assert count(bank, "access_request") == count(bank, "grant_") == count(bank, "review_case") == 0


def test_two_officers_make_a_grant_and_one_does_not(bank: Bank) -> None:
    answer = create(bank)
    assert answer.request.state == "in_review"
    done = approve(bank, answer.case_id)
    assert done.state == "approved"
    assert done.grant_id is not None
    with bank.database.read() as conn:
        assert requests.get(conn, answer.request.id, party_id=None).state == "granted"
    assert kinds(bank) == [
        "decision",
        "case.recommended",
        "decision",
        "case.concurred",
        "grant.created",
    ]
    whole(bank)


def test_officers_can_approve_a_refer_finding_by_finding_and_only_that(bank: Bank) -> None:
    """Items from abroad are for people to judge (R-SCO-08); what they disposed of stays disposed of."""
    abroad = {"items": {"kinds": ["genome"], "cohort": {"collections": ["col_gbr"]}}}
    answer = create(bank, abroad)
    assert answer.decision.outcome == "refer"
    with bank.database.read() as conn:
        wanted = cases.get_case(conn, answer.case_id).dossier.dispose
    assert wanted
    recommend = cases.Asked(
        command=cases.Command.RECOMMEND,
        reason="the papers of origin were read, case by case",
        recommendation=cases.Recommendation.APPROVE,
    )
    with pytest.raises(ProblemError) as refused:
        command(bank, answer.case_id, LI, recommend)
    assert {e.pointer for e in refused.value.errors} == {f"/dispositions/{rule}" for rule in wanted}
    disposed = replace(recommend, dispositions=dict.fromkeys(wanted, "papers of origin seen"))
    command(bank, answer.case_id, LI, disposed)
    done = command(
        bank, answer.case_id, WANG, cases.Asked(command=cases.Command.CONCUR, reason="agreed")
    )
    assert done.grant_id is not None
    released = release(bank, done.grant_id)
    assert isinstance(released, effects.Released)
    assert released.answer.decision.outcome == "refer"
    with bank.database.read() as conn:
        assert set(grants.get(conn, done.grant_id).accepted) == set(wanted)


def test_nobody_can_approve_a_hold(bank: Bank, world: World) -> None:
    opinion = world.papers["ethics_hospital_hmb"]
    bank.database.write(lambda conn: papers.void(conn, opinion, reason="void", now=bank.now()))
    held = create(bank)
    assert held.decision.outcome == "hold"
    with bank.database.read() as conn:
        case = cases.get_case(conn, held.case_id)
    recommend = cases.Asked(
        command=cases.Command.RECOMMEND,
        reason="it would be so convenient if this could go out",
        recommendation=cases.Recommendation.APPROVE,
        dispositions=dict.fromkeys(case.dossier.dispose, "never mind"),
    )
    with pytest.raises(ProblemError) as refused:
        command(bank, held.case_id, LI, recommend)
    assert refused.value.code == "state_conflict"


def test_an_approval_that_no_longer_stands_makes_no_grant(bank: Bank, world: World) -> None:
    answer = create(bank)
    recommend = cases.Asked(
        command=cases.Command.RECOMMEND,
        reason="scope, ethics and licence were compared with the request",
        recommendation=cases.Recommendation.APPROVE,
    )
    command(bank, answer.case_id, LI, recommend)
    paper_id = world.papers["ethics_hospital_hmb"]
    bank.database.write(
        lambda conn: papers.void(
            conn, paper_id, reason="withdrawn by the committee", now=bank.now()
        )
    )
    done = command(
        bank, answer.case_id, WANG, cases.Asked(command=cases.Command.CONCUR, reason="ok")
    )
    assert done.grant_id is None
    assert done.state == "awaiting_external"
    assert done.answer is not None
    assert done.answer.decision.outcome == "hold"
    assert count(bank, "grant_") == 0


def test_the_same_key_gives_the_one_outcome(bank: Bank) -> None:
    first = create(bank, AGGREGATE, key="k-1", body="a")
    assert create(bank, AGGREGATE, key="k-1", body="a") is None  # nothing was acted, only replayed
    assert count(bank, "access_request") == 1
    with pytest.raises(ProblemError) as conflict:
        create(bank, AGGREGATE, key="k-1", body="b")
    assert conflict.value.code == "idempotency_conflict"
    assert first.grant_id is not None


def test_an_act_that_was_refused_is_not_remembered(bank: Bank) -> None:
    with pytest.raises(ProblemError):
        create(bank, {"project": "prj_nowhere"}, key="k-2", body="a")
    assert create(bank, AGGREGATE, key="k-2", body="a").grant_id is not None


def test_a_draft_is_amended_submitted_and_its_difference_shown(bank: Bank) -> None:
    draft = create(bank, AGGREGATE, draft=True)
    assert (draft.state, draft.version, kinds(bank)) == ("draft", 1, [])
    answer = run(
        lambda reply: pep.submit_request(
            bank, HOSPITAL, draft.id, revision=draft.revision, reply=reply
        ),
        HOSPITAL,
    )
    assert answer.request.state == "granted"
    patch = json.dumps({"outputs": ["individual"], "purpose": {"text": "narrower"}}).encode()
    amended = run(
        lambda reply: pep.amend_request(
            bank, HOSPITAL, draft.id, patch, revision=answer.request.revision, reply=reply
        ),
        HOSPITAL,
    )
    assert (amended.state, amended.version) == ("draft", 2)
    again = run(
        lambda reply: pep.submit_request(
            bank, HOSPITAL, draft.id, revision=amended.revision, reply=reply
        ),
        HOSPITAL,
    )
    assert {d.pointer for d in again.difference} == {"/outputs", "/purpose/text"}
    assert again.request.state == "in_review"


@pytest.mark.parametrize(
    ("revision", "code"), [(None, "precondition_required"), (99, "precondition_failed")]
)
def test_a_stale_reader_changes_nothing(bank: Bank, revision: int | None, code: str) -> None:
    draft = create(bank, AGGREGATE, draft=True)
    for act in (
        lambda reply: pep.submit_request(bank, HOSPITAL, draft.id, revision=revision, reply=reply),
        lambda reply: pep.amend_request(
            bank, HOSPITAL, draft.id, b"{}", revision=revision, reply=reply
        ),
    ):
        with pytest.raises(ProblemError) as refused:
            run(act, HOSPITAL)
        assert refused.value.code == code
    assert kinds(bank) == []


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        (b"{", "malformed_body"),
        (b"[]", "invalid_request"),
        (b'{"recipient": null}', "invalid_request"),
        (b'{"surprise": 1}', "invalid_request"),
        (b'{"project": "prj_sino_foreign"}', "not_found"),
    ],
    ids=["no json", "no object", "needed field gone", "unknown field", "another's project"],
)
def test_a_bad_patch_leaves_the_draft(bank: Bank, patch: bytes, code: str) -> None:
    draft = create(bank, AGGREGATE, draft=True)
    with pytest.raises(ProblemError) as refused:
        run(
            lambda reply: pep.amend_request(
                bank, HOSPITAL, draft.id, patch, revision=1, reply=reply
            ),
            HOSPITAL,
        )
    assert refused.value.code == code
    with bank.database.read() as conn:
        assert requests.get(conn, draft.id, party_id=HOSPITAL.party_id).ask == draft.ask


def test_nobody_else_sees_a_request(bank: Bank) -> None:
    mine = create(bank, AGGREGATE)
    acts = (
        lambda reply: pep.submit_request(bank, STRANGER, mine.request.id, revision=1, reply=reply),
        lambda reply: pep.amend_request(
            bank, STRANGER, mine.request.id, b"{}", revision=1, reply=reply
        ),
        lambda reply: pep.end_request(bank, STRANGER, mine.request.id, close=False, reply=reply),
        lambda reply: pep.authorize_release(bank, STRANGER, mine.grant_id, reply=reply),
    )
    for act in acts:
        with pytest.raises(ProblemError) as refused:
            run(act, STRANGER)
        assert refused.value.code == "not_found"


@pytest.mark.parametrize("close", [False, True], ids=["withdraw", "close"])
def test_an_ended_request_takes_its_case_and_grant_along(bank: Bank, *, close: bool) -> None:
    in_review, granted = create(bank), create(bank, AGGREGATE)
    for answer in (in_review, granted):
        ended = run(
            lambda reply, id_=answer.request.id: pep.end_request(
                bank, HOSPITAL, id_, close=close, reply=reply
            ),
            HOSPITAL,
        )
        assert ended.state == ("closed" if close else "withdrawn")
        with pytest.raises(ProblemError) as again:
            run(
                lambda reply, id_=answer.request.id: pep.end_request(
                    bank, HOSPITAL, id_, close=close, reply=reply
                ),
                HOSPITAL,
            )
        assert again.value.code == "already_done"
    with bank.database.read() as conn:
        assert cases.get_case(conn, in_review.case_id).state == "withdrawn"
    with pytest.raises(ProblemError) as over:
        run(
            lambda reply: pep.authorize_release(bank, HOSPITAL, granted.grant_id, reply=reply),
            HOSPITAL,
        )
    assert over.value.code == "not_releasable"
    whole(bank)


def release(bank: Bank, grant_id: str) -> Any:
    return run(lambda reply: pep.authorize_release(bank, HOSPITAL, grant_id, reply=reply), HOSPITAL)


def test_a_withdrawal_reaches_grants_and_receivers(bank: Bank) -> None:
    grant_id = create(bank, AGGREGATE).grant_id
    first = release(bank, grant_id)
    with bank.database.read() as conn:
        item = metadata.tables["grant_item"]
        donor = (
            conn.execute(sa.select(item.c.donor_id).where(item.c.grant_id == grant_id))
            .scalars()
            .first()
        )
    asked = pep.WithdrawalAsked(donor_id=donor, scope="everything", channel="letter")
    preview = pep.preview_withdrawal(bank, asked)
    before = kinds(bank)
    done = run(lambda reply: pep.withdraw_consent(bank, LI, asked, reply=reply), LI)
    assert [g.grant_id for g in done.grants] == [g.grant_id for g in preview.grants] == [grant_id]
    assert done.receivers == preview.receivers == ((first.release_id, HOSPITAL.party_id),)
    assert kinds(bank)[len(before) :] == ["withdrawal", "grant.shrunk", "receiver.to_notify"]
    second = release(bank, grant_id)
    donors = [json.loads(r.manifest)["counts"]["donors"] for r in (first, second)]
    assert donors[1] == donors[0] - 1
    # The donor is in no leaf but as a salted commitment.
    with bank.database.read() as conn:
        size = log.head(conn, bank.origin).size
        assert all(donor.encode() not in leaf for leaf in log.leaves(conn, bank.origin, 0, size))
    whole(bank)


def tubes_of(bank: Bank, release_id: str) -> dict[str, bool]:
    with bank.database.read() as conn:
        picks = handover.pick_list(conn, release_id, pseudonym=bank.keys.pseudonym)
    return {pick.code: pick.withheld for pick in picks}


def hand_over(bank: Bank, release_id: str, tubes: set[str]) -> None:
    handed = handover.HandOver(how=handover.Way.COURIER, tubes=frozenset(tubes))
    bank.database.write(
        lambda conn: handover.record_handover(conn, release_id, handed, by=LI.id, now=bank.now())
    )


def test_what_a_donor_took_back_does_not_leave_with_the_courier(bank: Bank) -> None:
    """Looked at again at picking time: the release was intended before the donor withdrew."""
    grant_id = approve(bank, create(bank).case_id).grant_id
    released = release(bank, grant_id)
    before = tubes_of(bank, released.release_id)
    assert not any(before.values())
    with bank.database.read() as conn:
        holding, item = metadata.tables["holding"], metadata.tables["release_item"]
        query = sa.select(holding.c.code, holding.c.donor_id).join(
            item, item.c.holding_id == holding.c.id
        )
        code, donor = conn.execute(query.where(item.c.release_id == released.release_id)).first()
    asked = pep.WithdrawalAsked(donor_id=donor, scope="everything", channel="letter")
    run(lambda reply: pep.withdraw_consent(bank, LI, asked, reply=reply), LI)
    after = tubes_of(bank, released.release_id)
    assert after[code]
    with pytest.raises(ProblemError) as refused:
        hand_over(bank, released.release_id, set(after))
    assert refused.value.code == "not_releasable"
    assert f"/{code}" in {error.pointer for error in refused.value.errors}
    hand_over(bank, released.release_id, {one for one, withheld in after.items() if not withheld})


def test_nothing_leaves_under_a_grant_that_ended(bank: Bank) -> None:
    answer = create(bank)
    grant_id = approve(bank, answer.case_id).grant_id
    released = release(bank, grant_id)
    run(
        lambda reply: pep.end_request(bank, HOSPITAL, answer.request.id, close=True, reply=reply),
        HOSPITAL,
    )
    with pytest.raises(ProblemError) as refused:
        hand_over(bank, released.release_id, set(tubes_of(bank, released.release_id)))
    assert refused.value.code == "not_releasable"


@pytest.mark.parametrize("draft", [False, True], ids=["at once", "draft"])
def test_a_last_day_that_has_passed_is_said_at_once(bank: Bank, *, draft: bool) -> None:
    with pytest.raises(ProblemError) as refused:
        create(bank, AGGREGATE | {"until": "2026-11-21"}, draft=draft)
    assert [error.pointer for error in refused.value.errors] == ["/until"]
    with pytest.raises(ProblemError):
        run(
            lambda reply: pep.evaluate(bank, HOSPITAL, ask({"until": "2020-01-01"}), reply),
            HOSPITAL,
        )


def test_a_grant_ends_with_what_it_stands_on(bank: Bank, clock: SettableClock) -> None:
    grant_id = create(bank, AGGREGATE | {"until": "2026-12-01"}).grant_id
    clock.advance(days=9)
    release(bank, grant_id)  # 1 December in Shanghai is its last good day
    clock.advance(days=1)
    with pytest.raises(ProblemError) as over:
        release(bank, grant_id)
    assert over.value.code == "not_releasable"


def promised(bank: Bank) -> int:
    """Tubes that live grants have not got yet."""
    with bank.database.read() as conn:
        return int(
            conn.execute(sa.select(sa.func.sum(metadata.tables["holding"].c.reserved))).scalar_one()
        )


def test_what_a_grant_was_promised_is_free_again_when_its_last_day_has_passed(
    bank: Bank, clock: SettableClock
) -> None:
    approve(bank, create(bank, {"until": "2026-12-01"}).case_id)
    assert promised(bank) > 0
    clock.advance(days=9)
    assert asyncio.run(pep.end_expired(bank)) == 0
    clock.advance(days=1)
    assert asyncio.run(pep.end_expired(bank)) == 1
    assert kinds(bank)[-1] == "grant.expired"
    assert promised(bank) == 0
    whole(bank)


def test_books_that_do_not_agree_keep_nobody_from_the_log(bank: Bank, clock: SettableClock) -> None:
    grant_id = approve(bank, create(bank, {"until": "2026-12-01"}).case_id).grant_id
    holding = metadata.tables["holding"]
    bank.database.write(lambda conn: conn.execute(sa.update(holding).values(reserved=0)))
    clock.advance(days=20)
    with pytest.raises(ProblemError, match="no room"):
        asyncio.run(pep.end_expired(bank))
    app = create_app(bank)

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(start())
    with bank.database.read() as conn:
        assert log.latest_checkpoint(conn, bank.origin) is not None
        assert grants.get(conn, grant_id).state is grants.GrantState.ACTIVE, "rolled back, whole"
    with pytest.raises(ProblemError, match="ended on"):
        release(bank, grant_id)


def test_tubes_are_promised_once_but_to_whoever_has_them_already(bank: Bank) -> None:
    """Another request finds them gone; the same one, amended, keeps its own."""
    first = create(bank)
    approve(bank, first.case_id)
    mine = promised(bank)
    other = create(bank)
    assert other.decision.selection.permitted.units < first.decision.selection.permitted.units

    def seen() -> int:
        with bank.database.read() as conn:
            return requests.get(conn, first.request.id, party_id=None).revision

    amend = partial(pep.amend_request, patch=b'{"until": "2027-06-30"}')
    for act in (amend, pep.submit_request):
        again = run(
            lambda reply, act=act: act(
                bank, HOSPITAL, first.request.id, revision=seen(), reply=reply
            ),
            HOSPITAL,
        )
    assert again.decision.selection.permitted == first.decision.selection.permitted
    approve(bank, again.case_id)
    assert promised(bank) == mine
    whole(bank)


def test_a_release_that_no_longer_stands_is_refused_recorded_and_suspends(
    bank: Bank, world: World
) -> None:
    grant_id = create(bank, AGGREGATE).grant_id
    licence = world.papers["preservation"]
    bank.database.write(lambda conn: papers.void(conn, licence, reason="revoked", now=bank.now()))
    refused = release(bank, grant_id)
    assert isinstance(refused, pep.ReleaseRefused)
    assert refused.answer.decision.outcome != "permit"
    assert kinds(bank)[-2:] == ["decision", "grant.suspended"]
    assert count(bank, "release") == 0
    with pytest.raises(ProblemError):
        release(bank, grant_id)


def test_a_refer_that_no_officer_disposed_of_lets_nothing_out(bank: Bank) -> None:
    """Granted at once; then the recipient is entered as dishonest, which is for people to judge."""
    grant_id = create(bank, AGGREGATE).grant_id
    party = metadata.tables["party"]
    flagged = party.update().where(party.c.id == HOSPITAL.party_id).values(credit_flag=True)
    bank.database.write(lambda conn: (conn.execute(flagged), bump(conn)))
    refused = release(bank, grant_id)
    assert isinstance(refused, pep.ReleaseRefused)
    assert refused.answer.decision.outcome == "refer"
    assert count(bank, "release") == 0


def test_a_release_is_judged_by_what_was_granted_not_by_a_later_draft(bank: Bank) -> None:
    answer = create(bank, AGGREGATE)
    patch = json.dumps(
        {"price": {"price_fen": 10**9, "cost_fen": 1, "cost_documented": True}}
    ).encode()
    run(
        lambda reply: pep.amend_request(
            bank, HOSPITAL, answer.request.id, patch, revision=answer.request.revision, reply=reply
        ),
        HOSPITAL,
    )
    assert isinstance(release(bank, answer.grant_id), effects.Released)


def test_a_new_day_decides_anew(bank: Bank, clock: SettableClock) -> None:
    """What was prepared before midnight in Shanghai is decided again after it."""
    prepared = asyncio.run(deciding.prepare_outside(bank, ask(AGGREGATE), HOSPITAL.party_id))
    clock.advance(hours=15)  # 10:00 → 01:00 of the next day in Shanghai
    with bank.database.read() as conn:
        fresh = deciding.current(conn, bank, prepared)
    assert fresh.question.as_of == bank.today() != prepared.question.as_of


def test_a_recorded_decision_reads_back_as_it_was_made(bank: Bank) -> None:
    made = create(bank)
    read = deciding.read_decision(bank, made.decision_id, party_id=HOSPITAL.party_id)
    assert read.decision == made.decision
    assert read.leaf_hash == made.leaf_hash
    with pytest.raises(ProblemError) as refused:
        deciding.read_decision(bank, made.decision_id, party_id=STRANGER.party_id)
    assert refused.value.code == "not_found"


def test_if_the_log_cannot_be_written_nothing_is_let_out(bank: Bank) -> None:
    with opened(bank.settings) as owner:
        owner.execute(sa.text("DELETE FROM log_head"))
    with pytest.raises(log.LogError):
        create(bank, AGGREGATE)
    assert count(bank, "access_request") == count(bank, "decision") == count(bank, "grant_") == 0


def test_plain_asks_stay_what_they_were() -> None:
    """The JSON form of an ask is stored and read back to the letter, unknowns left out."""
    assert Ask.model_validate(requests.body(ask()), strict=False) == ask()
    assert set(requests.body(ask())) == set(PLAIN)
