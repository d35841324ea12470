"""Cases: who may do what, four eyes, and a history that is only added to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from sqlalchemy import Connection

from gateway.errors import ProblemError
from gateway.review import cases
from gateway.review.cases import (
    GATEWAY,
    Actor,
    Asked,
    Case,
    Command,
    Dossier,
    Effect,
    Recommendation,
    Role,
    Transition,
)
from gateway.review.workflow import Outcome
from tests.gateway.stage import NOW, Stage, later

WHY = "已阅看全部材料与规则结果,理由充分,同意提交复核"
OFFICER = frozenset({Role.OFFICER})


def officer(name: str, party: str = "pty_bank") -> Actor:
    return Actor(id=f"psn_{name}", roles=OFFICER, party_id=party, person_id=f"psn_{name}")


ADA, BO, CAI = officer("ada"), officer("bo"), officer("cai")
ASKER = Actor(id="key_1", roles=frozenset({Role.APPLICANT}), party_id="pty_asker")


def dossier(stage: Stage, outcome: Outcome = Outcome.REFER, **fields: tuple[str, ...]) -> Dossier:
    return Dossier(
        decision_id=stage.decision("req_1", outcome=outcome),
        document_sha256="ab" * 32,
        outcome=outcome,
        parties=frozenset({"pty_asker", "pty_other"}),
        **fields,
    )


def opened(stage: Stage, outcome: Outcome = Outcome.REFER, **fields: tuple[str, ...]) -> Case:
    stage.request("req_1")
    told = dossier(stage, outcome, **fields)
    return stage.do(
        lambda conn: cases.open_case(conn, request_id="req_1", dossier=told, leaf_index=4, now=NOW)
    )


def act(
    stage: Stage, case: Case, actor: Actor, asked: Asked, *, again: Dossier | None = None
) -> tuple[Transition, Case]:
    def unit(conn: Connection) -> tuple[Transition, Case]:
        revision = None if actor is GATEWAY else case.revision
        step = cases.check(conn, case.id, asked, actor, revision=revision, redecided=again)
        return step, cases.record(conn, step, leaf_index=9, now=later(hours=case.revision))

    return stage.do(unit)


def recommend(what: str = "approve", dispositions: Mapping[str, str] | None = None) -> Asked:
    return Asked(
        command=Command.RECOMMEND,
        reason=WHY,
        recommendation=Recommendation(what),
        dispositions=dispositions or {},
    )


CONCUR = Asked(command=Command.CONCUR, reason="同意")
RETURN = Asked(command=Command.RETURN, reason="第三条规则的处置理由与所附文件不符,请补充说明后再报")
REDECIDE = Asked(command=Command.REDECIDE)
WITHDRAW = Asked(command=Command.WITHDRAW)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        pytest.param(Outcome.PERMIT, "first_review", id="a permit to confirm"),
        pytest.param(Outcome.REFER, "first_review", id="a refer"),
        pytest.param(Outcome.HOLD, "awaiting_external", id="a hold waits for its paper"),
    ],
)
def test_where_a_case_begins(stage: Stage, outcome: Outcome, state: str) -> None:
    case = opened(stage, outcome)
    assert (case.state, case.revision) == (state, 1)
    assert [(e.event, e.leaf_index, e.at) for e in case.events] == [("opened", 4, NOW)]


@pytest.mark.parametrize("outcome", [Outcome.DENY, Outcome.PERMIT_AT_ONCE])
def test_what_opens_no_case(stage: Stage, outcome: Outcome) -> None:
    with pytest.raises(ProblemError, match="opens no case"):
        opened(stage, outcome)


def test_one_open_case_for_a_request(stage: Stage) -> None:
    opened(stage)
    told = dossier(stage)
    with pytest.raises(ProblemError, match="is open already"):
        stage.do(
            lambda conn: cases.open_case(
                conn, request_id="req_1", dossier=told, leaf_index=5, now=NOW
            )
        )


def test_two_people_approve_a_refer(stage: Stage) -> None:
    case = opened(stage, dispose=("old-form", "party-unclear"))
    given = {"old-form": "两名审查员已核对原始表格", "party-unclear": "股权结构已核实"}
    step, case = act(stage, case, ADA, recommend("approve", given))
    assert (step.effect, case.state) == (Effect.NONE, "second_review")
    step, case = act(stage, case, BO, CONCUR)
    assert (step.effect, case.state) == (Effect.APPROVE, "approved")
    assert step.accepted == ("old-form", "party-unclear")
    assert step.officers == ("psn_ada", "psn_bo")
    assert [e.event for e in case.events] == ["opened", "recommended", "concurred"]
    assert [e.person_id for e in case.events] == [None, "psn_ada", "psn_bo"]
    assert case.commands == ()


def test_two_people_reject(stage: Stage) -> None:
    case = opened(stage, dispose=("old-form",))
    _, case = act(stage, case, ADA, recommend("reject"))
    step, case = act(stage, case, BO, CONCUR)
    assert (step.effect, step.accepted, case.state) == (Effect.REJECT, (), "rejected")


def test_two_people_reject_what_will_never_get_its_paper(stage: Stage) -> None:
    case = opened(stage, Outcome.HOLD, blocked=("exit-certificate",))
    _, case = act(stage, case, ADA, recommend("reject"))
    step, _ = act(stage, case, BO, CONCUR)
    assert step.effect is Effect.REJECT


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        pytest.param(Outcome.HOLD, {}, id="a hold"),
        pytest.param(Outcome.REFER, {"blocked": ("no-basis",)}, id="a refer without a basis"),
        pytest.param(Outcome.PERMIT, {"blocked": ("x",)}, id="whatever is blocked"),
    ],
)
def test_nobody_approves(
    stage: Stage, outcome: Outcome, fields: dict[str, tuple[str, ...]]
) -> None:
    case = opened(stage, outcome, **fields)
    with pytest.raises(ProblemError, match="cannot be approved"):
        act(stage, case, ADA, recommend("approve"))


def test_the_second_is_another_person_over_the_whole_history(stage: Stage) -> None:
    case = opened(stage)
    _, case = act(stage, case, ADA, recommend())
    with pytest.raises(ProblemError) as caught:
        act(stage, case, ADA, CONCUR)
    assert caught.value.code == "same_person"
    _, case = act(stage, case, BO, RETURN)
    assert case.state == "first_review"
    _, case = act(stage, case, BO, recommend())
    for one in (ADA, BO):  # each of them recommended once
        with pytest.raises(ProblemError) as caught:
            act(stage, case, one, CONCUR)
        assert caught.value.code == "same_person"
    step, _ = act(stage, case, CAI, CONCUR)
    assert step.officers == ("psn_bo", "psn_cai")


def test_a_return_goes_back_to_where_the_decision_leads(stage: Stage) -> None:
    case = opened(stage, Outcome.HOLD)
    _, case = act(stage, case, ADA, recommend("reject"))
    _, case = act(stage, case, BO, RETURN)
    assert case.state == "awaiting_external"


@pytest.mark.parametrize(
    ("actor", "code"),
    [
        pytest.param(officer("x", "pty_asker"), "conflict_of_interest", id="of the requester"),
        pytest.param(officer("x", "pty_other"), "conflict_of_interest", id="of the recipient"),
        pytest.param(Actor(id="key_1", roles=OFFICER, party_id="pty_bank"),
                     "conflict_of_interest", id="wrote the request"),
        pytest.param(Actor(id="psn_x", roles=OFFICER), "conflict_of_interest", id="of nobody"),
        pytest.param(ASKER, "role_missing", id="the applicant"),
        pytest.param(Actor(id="psn_x", roles=frozenset(), party_id="pty_bank"), "role_missing",
                     id="no role"),
    ],
)  # fmt: skip
def test_who_may_not_recommend(stage: Stage, actor: Actor, code: str) -> None:
    case = opened(stage)
    with pytest.raises(ProblemError) as caught:
        act(stage, case, actor, recommend())
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("asked", "pointers"),
    [
        pytest.param(Asked(command=Command.RECOMMEND, reason=WHY), ["/recommendation"],
                     id="no recommendation"),
        pytest.param(Asked(command=Command.RECOMMEND, reason="太短",
                           recommendation=Recommendation.REJECT), ["/reason"], id="short reason"),
        pytest.param(Asked(command=Command.RECOMMEND, reason=" " * 30,
                           recommendation=Recommendation.REJECT), ["/reason"], id="blank reason"),
        pytest.param(recommend("approve"), ["/dispositions/old-form"], id="a finding left open"),
        pytest.param(recommend("approve", {"old-form": "已核对原件", "else": "已核对原件"}),
                     ["/dispositions/else"], id="no such finding"),
        pytest.param(recommend("approve", {"old-form": "行"}), ["/dispositions/old-form"],
                     id="says nothing"),
        pytest.param(Asked(command=Command.REDECIDE, reason=WHY), ["/reason"],
                     id="what is not needed"),
    ],
)  # fmt: skip
def test_what_a_command_must_carry(stage: Stage, asked: Asked, pointers: list[str]) -> None:
    case = opened(stage, dispose=("old-form",))
    with pytest.raises(ProblemError) as caught:
        act(stage, case, ADA, asked)
    assert caught.value.code == "invalid_request"
    assert [one.pointer for one in caught.value.errors] == pointers


def test_a_case_that_changed_is_not_acted_upon(stage: Stage) -> None:
    case = opened(stage)
    act(stage, case, ADA, recommend())
    with pytest.raises(ProblemError) as caught:
        act(stage, case, BO, CONCUR)  # read before the recommendation
    assert caught.value.code == "precondition_failed"


def test_an_unread_case_is_not_acted_upon(stage: Stage) -> None:
    case = opened(stage)
    with stage.read() as conn, pytest.raises(ProblemError) as caught:
        cases.check(conn, case.id, recommend(), ADA, revision=None)
    assert caught.value.code == "precondition_required"


def test_two_checks_of_one_state_record_once(stage: Stage) -> None:
    case = opened(stage)

    def unit(conn: Connection) -> None:
        step = cases.check(conn, case.id, recommend(), ADA, revision=1)
        cases.record(conn, step, leaf_index=9, now=NOW)
        cases.record(conn, step, leaf_index=10, now=NOW)

    with pytest.raises(ProblemError) as caught:
        stage.do(unit)
    assert caught.value.code == "precondition_failed"
    with stage.read() as conn:
        assert cases.get_case(conn, case.id) == case  # nothing half-done


@pytest.mark.parametrize("asked", [CONCUR, RETURN])
def test_what_the_table_does_not_list(stage: Stage, asked: Asked) -> None:
    case = opened(stage)
    with pytest.raises(ProblemError, match="is not possible in `first_review`"):
        act(stage, case, BO, asked)


@pytest.mark.parametrize(
    ("outcome", "state", "effect"),
    [
        pytest.param(Outcome.PERMIT, "first_review", Effect.NONE, id="to confirm"),
        pytest.param(Outcome.PERMIT_AT_ONCE, "approved", Effect.APPROVE, id="at once"),
        pytest.param(Outcome.REFER, "first_review", Effect.NONE, id="still to judge"),
        pytest.param(Outcome.HOLD, "awaiting_external", Effect.NONE, id="still missing"),
        pytest.param(Outcome.DENY, "rejected", Effect.REJECT, id="now denied"),
    ],
)
@pytest.mark.parametrize("actor", [ADA, GATEWAY], ids=["officer", "gateway"])
def test_decided_again(
    stage: Stage, outcome: Outcome, state: str, effect: Effect, actor: Actor
) -> None:
    case = opened(stage, Outcome.HOLD)
    again = dossier(stage, outcome, dispose=("later",))
    step, case = act(stage, case, actor, REDECIDE, again=again)
    assert (case.state, step.effect) == (state, effect)
    assert (case.decision_id, case.dossier) == (again.decision_id, again)


def test_a_new_decision_makes_the_recommendation_stale(stage: Stage) -> None:
    case = opened(stage)
    _, case = act(stage, case, ADA, recommend())
    _, case = act(stage, case, GATEWAY, REDECIDE, again=dossier(stage, dispose=("new",)))
    assert case.state == "first_review"
    with pytest.raises(ProblemError) as caught:
        act(stage, case, ADA, recommend())
    assert [one.pointer for one in caught.value.errors] == ["/dispositions/new"]


def test_the_decision_in_force_is_no_new_one(stage: Stage) -> None:
    case = opened(stage)
    with pytest.raises(ValueError, match="after the one in force"):
        act(stage, case, ADA, REDECIDE, again=case.dossier)
    with pytest.raises(ValueError, match="goes with `redecide`"):
        act(stage, case, ADA, REDECIDE)
    with pytest.raises(ValueError, match="goes with `redecide`"):
        act(stage, case, ADA, recommend(), again=dossier(stage))


def test_the_applicant_withdraws(stage: Stage) -> None:
    case = opened(stage)
    _, case = act(stage, case, ADA, recommend())
    step, case = act(stage, case, ASKER, WITHDRAW)
    assert (step.effect, case.state) == (Effect.WITHDRAW, "withdrawn")
    with stage.read() as conn:
        assert cases.open_case_of(conn, "req_1") is None


def test_another_organisation_sees_no_case(stage: Stage) -> None:
    case = opened(stage)
    stranger = Actor(id="key_2", roles=frozenset({Role.APPLICANT}), party_id="pty_other")
    with pytest.raises(ProblemError) as caught:
        act(stage, case, stranger, WITHDRAW)
    assert caught.value.code == "not_found"


def test_the_dossier_digest_binds_what_was_done_and_all_before(stage: Stage) -> None:
    case = opened(stage, dispose=("x",))
    seen = set()
    for text in ("已核对原件", "已核对复印件"):
        for reason in (WHY, WHY + "。"):
            asked = Asked(
                command=Command.RECOMMEND,
                reason=reason,
                recommendation=Recommendation.APPROVE,
                dispositions={"x": text},
            )
            for actor in (ADA, BO):
                with stage.read() as conn:
                    step = cases.check(conn, case.id, asked, actor, revision=1)
                seen.add(step.dossier_sha256)
    assert len(seen) == 8
    assert step.subjects()["dossier"] == step.dossier_sha256


def test_the_queue_page_by_page(stage: Stage) -> None:
    made = []
    for n in range(5):
        stage.request(f"req_q{n}")
        told = dossier_of(stage, f"req_q{n}", Outcome.HOLD if n == 2 else Outcome.REFER)

        def unit(conn: Connection, n: int = n, told: Dossier = told) -> Case:
            return cases.open_case(
                conn, request_id=f"req_q{n}", dossier=told, leaf_index=n, now=later(minutes=n // 2)
            )

        made.append(stage.do(unit).id)
    with stage.read() as conn:
        seen, after, pages = [], None, 0
        while True:
            page = cases.list_cases(conn, limit=2, starting_after=after)
            seen += [one.id for one in page.cases]
            pages += 1
            if not page.has_more:
                break
            after = seen[-1]
        assert (sorted(seen), pages) == (sorted(made), 3)
        waiting = cases.list_cases(conn, state="awaiting_external")
        assert [one.id for one in waiting.cases] == [made[2]]
        for wrong in ({"limit": 0}, {"limit": 101}, {"state": "nowhere"}):
            with pytest.raises(ProblemError, match="invalid_request"):
                cases.list_cases(conn, **wrong)
        with pytest.raises(ProblemError, match="not_found"):
            cases.list_cases(conn, starting_after="case_0")
        with pytest.raises(ProblemError, match="not_found"):
            cases.get_case(conn, "case_0")


def dossier_of(stage: Stage, request_id: str, outcome: Outcome) -> Dossier:
    return Dossier(
        decision_id=stage.decision(request_id, outcome=outcome),
        document_sha256="ab" * 32,
        outcome=outcome,
        parties=frozenset({"pty_asker"}),
    )


def test_no_request_no_case(stage: Stage) -> None:
    told = dossier_of(stage, stage.request("req_1"), Outcome.REFER)
    with pytest.raises(ProblemError, match="no request `req_0`"):
        stage.do(
            lambda conn: cases.open_case(
                conn, request_id="req_0", dossier=told, leaf_index=1, now=NOW
            )
        )
