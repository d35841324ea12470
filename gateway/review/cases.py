"""Commands of the review queue: check one, record it; `dossier` opens and reads (unit parts, floor 2).

The rules it keeps: nothing is allowed that `workflow.yaml` does not list; a case that changed since
the officer read it is not acted upon (If-Match); events are only ever added; the second officer is
another person than anyone who recommended in the whole history of the case.

The enforcement point drives one command so, inside one unit:

    step = cases.check(conn, case_id, asked, actor, revision=3)
    index = log.append(…)                 # with step.subjects(), step.dossier_sha256
    case = cases.record(conn, step, leaf_index=index, now=now)
    match step.effect: …                  # APPROVE → grants.create(accepted=step.accepted)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.errors import FieldError, ProblemError
from gateway.review.dossier import (
    CASE,
    EVENT,
    REQUEST,
    VERSION,
    Case,
    Dossier,
    Event,
    get_case,
    list_cases,
    open_case,
    open_case_of,
    open_states,
    seal,
)
from gateway.review.workflow import (
    BY_OUTCOME,
    BY_RECOMMENDATION,
    Command,
    Effect,
    Guard,
    Needs,
    Recommendation,
    Role,
    Step,
    shipped,
)

__all__ = [
    "GATEWAY",
    "Actor",
    "Asked",
    "Case",
    "Command",
    "Dossier",
    "Effect",
    "Recommendation",
    "Role",
    "Transition",
    "check",
    "get_case",
    "list_cases",
    "open_case",
    "open_case_of",
    "open_states",
    "record",
]

TEXT_MOST = 4000  # characters of a reason or a disposition
DISPOSITION_LEAST = 4  # characters: shorter says nothing in either language


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks. `id` is the opaque actor id of the log; `person_id` None is not a person."""

    id: str
    roles: frozenset[Role]
    party_id: str | None = None
    person_id: str | None = None


#: The gateway itself, when facts change under a case.
GATEWAY = Actor(id="gateway", roles=frozenset({Role.GATEWAY}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One command with what it carries; what it does not need must be left out."""

    command: Command
    reason: str = ""
    recommendation: Recommendation | None = None
    dispositions: Mapping[str, str] = field(default_factory=dict)  # rule id → reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A command that was checked and may be recorded.

    `accepted` (on APPROVE): rules the first officer disposed of. `officers`: person ids of the first
    and second officer where the step ends a review. `dossier_sha256` binds the case, the decision
    document, what was asked and everything recorded before.
    """

    case_id: str
    request_id: str
    decision_id: str
    revision: int  # the case's revision that was checked
    n: int  # the number of the event to write
    command: Command
    event: str
    from_state: str
    to_state: str
    effect: Effect
    actor: Actor
    reason: str
    data: Mapping[str, Any]
    dossier_sha256: str
    accepted: tuple[str, ...] = ()
    officers: tuple[str, ...] = ()

    def subjects(self) -> dict[str, str]:
        """Opaque ids for the leaf."""
        return {
            "case": self.case_id,
            "request": self.request_id,
            "decision": self.decision_id,
            "dossier": self.dossier_sha256,
        }


def check(
    conn: Connection,
    case_id: str,
    asked: Asked,
    actor: Actor,
    *,
    revision: int | None,
    redecided: Dossier | None = None,
) -> Transition:
    """Whether `actor` may do this to the case now, and what it would lead to. Writes nothing.

    `revision` is what the asker read (If-Match); only the gateway itself may leave it out.
    `redecided` is the new decision, given with `redecide` and with nothing else. Raises
    `ProblemError`: not_found, precondition_required, precondition_failed, state_conflict,
    role_missing, conflict_of_interest, same_person, invalid_request.
    """
    case = get_case(conn, case_id)
    # 1. who, and what they read
    if revision is None and Role.GATEWAY not in actor.roles:
        raise ProblemError("precondition_required")
    if revision is not None and revision != case.revision:
        raise ProblemError("precondition_failed", f"the case is at revision {case.revision}")
    step = shipped().states[case.state].steps.get(asked.command)
    if step is None:
        raise ProblemError("state_conflict", f"`{asked.command}` is not possible in `{case.state}`")
    if step.by.isdisjoint(actor.roles):
        raise ProblemError("role_missing", f"`{asked.command}` is for {', '.join(sorted(step.by))}")
    # 2. what they bring
    _verify_carried(step, asked)
    if (redecided is not None) != (asked.command is Command.REDECIDE):
        raise ValueError("a new decision goes with `redecide` and with nothing else")
    # 3. the guards of the table, in its order
    situation = _Situation(conn=conn, case=case, asked=asked, actor=actor, redecided=redecided)
    for guard in step.guards:
        GUARDS[guard](situation)
    # 4. where it leads
    return _transition(situation, step)


def record(conn: Connection, transition: Transition, *, leaf_index: int, now: datetime) -> Case:
    """Write what `check` allowed, with the leaf that says so.

    Raises `ProblemError` precondition_failed if the case moved in between.
    """
    moved = conn.execute(
        sa.update(CASE)
        .where(CASE.c.id == transition.case_id, CASE.c.revision == transition.revision)
        .values(
            state=transition.to_state,
            decision_id=transition.decision_id,
            revision=transition.revision + 1,
            updated_at=now,
        )
    )
    if moved.rowcount != 1:
        raise ProblemError("precondition_failed", "the case has moved on")
    conn.execute(
        sa.insert(EVENT).values(
            case_id=transition.case_id,
            n=transition.n,
            event=transition.event,
            from_state=transition.from_state,
            to_state=transition.to_state,
            person_id=transition.actor.person_id,
            reason=transition.reason,
            data=dict(transition.data),
            dossier_sha256=transition.dossier_sha256,
            leaf_index=leaf_index,
            at=now,
        )
    )
    return get_case(conn, transition.case_id)


def _transition(it: _Situation, step: Step) -> Transition:
    workflow, case, asked = shipped(), it.case, it.asked
    dossier = it.redecided or case.dossier
    if step.to == BY_OUTCOME:
        to_state = workflow.outcomes[dossier.outcome]
    elif step.to == BY_RECOMMENDATION and it.recommendation is not None:
        to_state = workflow.recommendations[it.recommendation]
    else:
        to_state = step.to
    data: dict[str, Any] = {"document_sha256": dossier.document_sha256}
    if asked.recommendation is not None:
        data |= {
            "recommendation": str(asked.recommendation),
            "dispositions": dict(sorted(asked.dispositions.items())),
        }
    if it.redecided is not None:
        version = it.conn.execute(
            sa.select(REQUEST.c.version).where(REQUEST.c.id == case.request_id)
        ).scalar_one()
        data |= {"dossier": dossier.data(), "version": version, "workflow": workflow.digest}
    effect = workflow.states[to_state].effect
    accepted: tuple[str, ...] = ()
    officers: tuple[str, ...] = ()
    if it.recommended is not None and asked.command is Command.CONCUR:
        officers = tuple(
            one for one in (it.recommended.person_id, it.actor.person_id) if one is not None
        )
        if effect is Effect.APPROVE:
            accepted = tuple(sorted(it.recommended.data["dispositions"]))
    n = case.events[-1].n + 1
    sealed = {**data, "reason": asked.reason, "actor": it.actor.id, "to": to_state}
    return Transition(
        case_id=case.id,
        request_id=case.request_id,
        decision_id=dossier.decision_id,
        revision=case.revision,
        n=n,
        command=asked.command,
        event=step.event,
        from_state=case.state,
        to_state=to_state,
        effect=effect,
        actor=it.actor,
        reason=asked.reason,
        data=data,
        dossier_sha256=seal(case.id, n, step.event, sealed, case.events[-1].dossier_sha256),
        accepted=accepted,
        officers=officers,
    )


# ---- the guards ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Situation:
    """A command, the case it is about, and who asks."""

    conn: Connection
    case: Case
    asked: Asked
    actor: Actor
    redecided: Dossier | None

    @property
    def recommended(self) -> Event | None:
        """The recommendation that brought the case to where it lies now."""
        last = self.case.events[-1]
        return last if last.event == "recommended" else None

    @property
    def recommendation(self) -> Recommendation | None:
        """What is recommended: by this command, or by the first officer before."""
        if self.asked.recommendation is not None:
            return self.asked.recommendation
        return Recommendation(self.recommended.data["recommendation"]) if self.recommended else None


def _no_conflict(it: _Situation) -> None:
    if Role.GATEWAY in it.actor.roles:
        return
    askers = set(
        it.conn.execute(
            sa.select(VERSION.c.saved_by).where(VERSION.c.request_id == it.case.request_id)
        ).scalars()
    )
    if askers & {it.actor.id, it.actor.person_id}:
        raise ProblemError("conflict_of_interest", "you wrote this request yourself")
    parties = it.case.dossier.parties | (it.redecided.parties if it.redecided else frozenset())
    if it.actor.party_id is None or it.actor.party_id in parties:
        raise ProblemError("conflict_of_interest", "your organisation is a side of this request")


def _another_person(it: _Situation) -> None:
    first = {one.person_id for one in it.case.events if one.event == "recommended"}
    if it.actor.person_id is None or it.actor.person_id in first:
        raise ProblemError("same_person", "whoever recommended in this case cannot be its second")


def _may_be_approved(it: _Situation) -> None:
    if it.recommendation is Recommendation.REJECT:
        return
    dossier = it.case.dossier
    if it.recommendation is None or not dossier.may_be_approved:
        stops = ", ".join(dossier.blocked)
        raise ProblemError(
            "state_conflict",
            f"a decision `{dossier.outcome}` cannot be approved" + (f": {stops}" if stops else ""),
        )


def _every_finding_disposed(it: _Situation) -> None:
    wanted, given = set(it.case.dossier.dispose), set(it.asked.dispositions)
    missing = wanted - given if it.recommendation is Recommendation.APPROVE else set()
    errors = [(rule, "this finding needs a disposition") for rule in missing]
    errors += [(rule, "no finding of this rule is open") for rule in given - wanted]
    if errors:
        raise ProblemError(
            "invalid_request",
            "the dispositions do not match the findings",
            errors=tuple(
                FieldError(pointer=f"/dispositions/{rule}", detail=detail)
                for rule, detail in sorted(errors)
            ),
        )


def _new_decision(it: _Situation) -> None:
    if it.redecided is None or it.redecided.decision_id == it.case.decision_id:
        raise ValueError("`redecide` brings a decision made after the one in force")


def _own_request(it: _Situation) -> None:
    owner = it.conn.execute(
        sa.select(REQUEST.c.party_id).where(REQUEST.c.id == it.case.request_id)
    ).scalar_one()
    if it.actor.party_id != owner:
        # The same answer as for a case that does not exist: it is none of theirs.
        raise ProblemError("not_found", f"no case `{it.case.id}`")


#: The function of each guard; raises `ProblemError` where it does not hold.
GUARDS = {
    Guard.NO_CONFLICT: _no_conflict,
    Guard.ANOTHER_PERSON: _another_person,
    Guard.MAY_BE_APPROVED: _may_be_approved,
    Guard.EVERY_FINDING_DISPOSED: _every_finding_disposed,
    Guard.NEW_DECISION: _new_decision,
    Guard.OWN_REQUEST: _own_request,
}


def _verify_carried(step: Step, asked: Asked) -> None:
    """The command brings what it needs and nothing else; raises `ProblemError` invalid_request."""
    errors = []
    given = {
        Needs.REASON: bool(asked.reason),
        Needs.RECOMMENDATION: asked.recommendation is not None,
        Needs.DISPOSITIONS: bool(asked.dispositions),
    }
    for one, is_given in given.items():
        if is_given and one not in step.needs:
            errors.append(FieldError(pointer=f"/{one}", detail=f"`{step.command}` takes no {one}"))
    if Needs.RECOMMENDATION in step.needs and asked.recommendation is None:
        errors.append(FieldError(pointer="/recommendation", detail="approve or reject"))
    if Needs.REASON in step.needs and not (
        step.reason_least <= len(asked.reason.strip()) <= TEXT_MOST
    ):
        detail = f"{step.reason_least} to {TEXT_MOST} characters are needed"
        errors.append(FieldError(pointer="/reason", detail=detail))
    errors += [
        FieldError(
            pointer=f"/dispositions/{rule}",
            detail=f"{DISPOSITION_LEAST} to {TEXT_MOST} characters are needed",
        )
        for rule, text in sorted(asked.dispositions.items())
        if not DISPOSITION_LEAST <= len(text.strip()) <= TEXT_MOST
    ]
    if errors:
        raise ProblemError(
            "invalid_request", f"`{step.command}` is not complete", errors=tuple(errors)
        )
