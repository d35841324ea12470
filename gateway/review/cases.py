"""Cases of the review queue: open, check a command, record it, read (unit parts, floor 2).

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

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from audit.leaf import canonical
from gateway.errors import ProblemError
from gateway.review.dossier import Dossier
from gateway.review.guards import GATEWAY, GUARDS, Actor, Asked, Situation, verify_carried
from gateway.review.history import (
    CASE,
    EVENT,
    REQUEST,
    Case,
    CaseLine,
    Event,
    Page,
    get_case,
    list_cases,
    open_case_of,
)
from gateway.review.workflow import (
    BY_OUTCOME,
    BY_RECOMMENDATION,
    Command,
    Effect,
    Recommendation,
    Role,
    Step,
    shipped,
)
from gateway.tables import new_id

__all__ = [
    "GATEWAY",
    "Actor",
    "Asked",
    "Case",
    "CaseLine",
    "Command",
    "Dossier",
    "Effect",
    "Event",
    "Page",
    "Recommendation",
    "Role",
    "Transition",
    "check",
    "get_case",
    "list_cases",
    "open_case",
    "open_case_of",
    "record",
]


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


def open_case(
    conn: Connection, *, request_id: str, dossier: Dossier, leaf_index: int, now: datetime
) -> Case:
    """Put a request into the queue, in the state its decision leads to.

    `leaf_index` is the decision's own leaf. Raises `ProblemError`: not_found for an unknown request,
    state_conflict if a case of the request is open, or if the decision ends it without a case.
    """
    request = conn.execute(sa.select(REQUEST).where(REQUEST.c.id == request_id)).one_or_none()
    if request is None:
        raise ProblemError("not_found", f"no request `{request_id}`")
    workflow = shipped()
    state = workflow.states[workflow.outcomes[dossier.outcome]]
    if not state.is_open:
        raise ProblemError("state_conflict", f"a decision `{dossier.outcome}` opens no case")
    if open_case_of(conn, request_id) is not None:
        raise ProblemError("state_conflict", f"a case of `{request_id}` is open already")
    case_id = new_id("case")
    conn.execute(
        sa.insert(CASE).values(
            id=case_id,
            request_id=request_id,
            decision_id=dossier.decision_id,
            state=state.id,
            revision=1,
            opened_at=now,
            updated_at=now,
        )
    )
    data = {"dossier": dossier.data(), "version": request.version, "workflow": workflow.digest}
    conn.execute(
        sa.insert(EVENT).values(
            case_id=case_id,
            n=1,
            event="opened",
            from_state=None,
            to_state=state.id,
            person_id=None,
            reason="",
            data=data,
            dossier_sha256=_seal(case_id, 1, "opened", data, ""),
            leaf_index=leaf_index,
            at=now,
        )
    )
    return get_case(conn, case_id)


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
    verify_carried(step, asked)
    if (redecided is not None) != (asked.command is Command.REDECIDE):
        raise ValueError("a new decision goes with `redecide` and with nothing else")
    # 3. the guards of the table, in its order
    situation = Situation(conn=conn, case=case, asked=asked, actor=actor, redecided=redecided)
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


def _transition(it: Situation, step: Step) -> Transition:
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
        dossier_sha256=_seal(case.id, n, step.event, sealed, case.events[-1].dossier_sha256),
        accepted=accepted,
        officers=officers,
    )


def _seal(case_id: str, n: int, event: str, data: Mapping[str, Any], before: str) -> str:
    """SHA-256 over the event and, through `before`, over the whole history of the case."""
    text = {"case": case_id, "n": n, "event": event, "data": data, "before": before}
    return hashlib.sha256(canonical(text)).hexdigest()
