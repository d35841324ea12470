"""A case as it is kept: what of its decision an officer must judge, how it opens, what happened to it.

The rules it keeps: a denial is never turned and a missing paper never talked away; every finding
that keeps a referred request from passing is disposed of one by one, by rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Connection

from audit.leaf import canonical
from gateway.errors import ProblemError
from gateway.review.workflow import Command, Outcome, Role, shipped
from gateway.tables import AccessRequest, CaseEvent, RequestVersion, ReviewCase, new_id, table_of
from policies.decision import Decision, Effect, Finding, Permit, Refer, Result

CASE = table_of(ReviewCase)
EVENT = table_of(CaseEvent)
REQUEST = table_of(AccessRequest)
VERSION = table_of(RequestVersion)

PAGE = 100  # the most a list gives at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """One decision as the queue sees it.

    `dispose`: rule ids a first officer must give a reason for, each, before approving.
    `blocked`: rule ids that keep anybody from approving. `parties`: party ids on the requester's
    side (requester, recipient, sponsor, beneficiary, host); an officer of one has a conflict.
    """

    decision_id: str
    document_sha256: str
    outcome: Outcome
    parties: frozenset[str]
    dispose: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        decision: Decision,
        *,
        decision_id: str,
        document_sha256: str,
        parties: frozenset[str],
        at_once: bool = False,
    ) -> Self:
        """Read a decision; `at_once` says that the institution's pack lets this permit stand alone.

        Raises `ValueError` if no party is named: nobody could then have a conflict.
        """
        if not parties:
            raise ValueError("a dossier names the parties of the request")
        permit_at_once = at_once and isinstance(decision, Permit)
        return cls(
            decision_id=decision_id,
            document_sha256=document_sha256,
            outcome=Outcome.PERMIT_AT_ONCE if permit_at_once else Outcome(decision.outcome),
            parties=parties,
            dispose=to_dispose(decision),
            blocked=blocking(decision),
        )

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The dossier as an event kept it."""
        return cls(
            decision_id=data["decision_id"],
            document_sha256=data["document_sha256"],
            outcome=Outcome(data["outcome"]),
            parties=frozenset(data["parties"]),
            dispose=tuple(data["dispose"]),
            blocked=tuple(data["blocked"]),
        )

    def data(self) -> dict[str, Any]:
        """The dossier as an event keeps it."""
        return {
            "decision_id": self.decision_id,
            "document_sha256": self.document_sha256,
            "outcome": str(self.outcome),
            "parties": sorted(self.parties),
            "dispose": list(self.dispose),
            "blocked": list(self.blocked),
        }

    @property
    def may_be_approved(self) -> bool:
        """A denial is never turned; a hold is never approved, only decided again with its paper."""
        passable = {Outcome.PERMIT_AT_ONCE, Outcome.PERMIT, Outcome.REFER}
        return self.outcome in passable and not self.blocked


def to_dispose(decision: Decision) -> tuple[str, ...]:
    """Rule ids, sorted, that an officer must judge one by one before approving a refer."""
    if not isinstance(decision, Refer):
        return ()
    return tuple(sorted({one.rule for one in decision.findings if _to_judge(decision, one)}))


def blocking(decision: Decision) -> tuple[str, ...]:
    """Rule ids, sorted, that no officer can pass: denials that stand, papers that are missing.

    A refer may hide a missing paper, for referring is the stronger effect; approving it would let
    something go without its paper, so the paper has to come first. That something of it has no legal
    basis or no consent, the PDP says in a finding of its own.
    """
    stopped = {
        one.rule
        for one in decision.findings
        if _bites(decision, one)
        and one.effect in {Effect.DENY, Effect.REQUIRE}
        and one.result is Result.HOLDS
    }
    return tuple(sorted(stopped))


def _to_judge(decision: Decision, finding: Finding) -> bool:
    if not _bites(decision, finding):
        return False
    match finding.effect:
        case Effect.REFER:
            return finding.result in {Result.HOLDS, Result.UNKNOWN}
        case Effect.DENY | Effect.REQUIRE | Effect.PERMIT:
            return finding.result is Result.UNKNOWN  # those that hold are in `blocking`
        case Effect.OBLIGE:
            return False  # an unknown obligation attaches all the same


def _bites(decision: Decision, finding: Finding) -> bool:
    """The finding is about the request as a whole, or about something still selected."""
    return not finding.strata or not set(decision.selection.strata).isdisjoint(finding.strata)


# ---- the case and its history --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to a case."""

    n: int
    event: str
    from_state: str | None
    to_state: str
    person_id: str | None
    reason: str
    data: Mapping[str, Any]
    dossier_sha256: str
    leaf_index: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case with its history, oldest event first, and the dossier in force."""

    id: str
    request_id: str
    decision_id: str
    state: str
    revision: int
    opened_at: datetime
    updated_at: datetime
    events: tuple[Event, ...]
    dossier: Dossier

    @property
    def commands(self) -> tuple[Command, ...]:
        """What the table lists in this state for an officer."""
        steps = shipped().states[self.state].steps
        return tuple(command for command, step in steps.items() if Role.OFFICER in step.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    """One line of the queue."""

    id: str
    request_id: str
    decision_id: str
    state: str
    revision: int
    opened_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some lines of the queue, oldest case first."""

    cases: tuple[CaseLine, ...]
    has_more: bool


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
            dossier_sha256=seal(case_id, 1, "opened", data, ""),
            leaf_index=leaf_index,
            at=now,
        )
    )
    return get_case(conn, case_id)


def get_case(conn: Connection, case_id: str) -> Case:
    """The case with its whole history; raises `ProblemError` not_found."""
    row = conn.execute(sa.select(CASE).where(CASE.c.id == case_id)).one_or_none()
    if row is None:
        raise ProblemError("not_found", f"no case `{case_id}`")
    events = tuple(
        Event(**{key: value for key, value in one._mapping.items() if key != "case_id"})  # noqa: SLF001 - SQLAlchemy's public name for it
        for one in conn.execute(
            sa.select(EVENT).where(EVENT.c.case_id == case_id).order_by(EVENT.c.n)
        )
    )
    decided = next(one.data["dossier"] for one in reversed(events) if "dossier" in one.data)
    return Case(**row._mapping, events=events, dossier=Dossier.from_data(decided))  # noqa: SLF001 - as above


def list_cases(
    conn: Connection,
    *,
    state: str | None = None,
    limit: int = 20,
    starting_after: str | None = None,
) -> Page:
    """The queue, oldest case first; `starting_after` is the id of the last case already seen.

    Raises `ProblemError` invalid_request for an unknown state or a limit outside 1 to 100, not_found
    for an unknown cursor.
    """
    if not 1 <= limit <= PAGE:
        raise ProblemError("invalid_request", f"`limit` must be 1 to {PAGE}")
    if state is not None and state not in shipped().states:
        raise ProblemError("invalid_request", f"no state `{state}`")
    query = sa.select(CASE).order_by(CASE.c.opened_at, CASE.c.id).limit(limit + 1)
    if state is not None:
        query = query.where(CASE.c.state == state)
    if starting_after is not None:
        after = conn.execute(
            sa.select(CASE.c.opened_at).where(CASE.c.id == starting_after)
        ).scalar_one_or_none()
        if after is None:
            raise ProblemError("not_found", f"no case `{starting_after}`")
        query = query.where(
            sa.or_(
                CASE.c.opened_at > after,
                sa.and_(CASE.c.opened_at == after, CASE.c.id > starting_after),
            )
        )
    rows = conn.execute(query).all()
    lines = tuple(CaseLine(**row._mapping) for row in rows[:limit])  # noqa: SLF001 - as above
    return Page(cases=lines, has_more=len(rows) > limit)


def open_case_of(conn: Connection, request_id: str) -> str | None:
    """The id of the request's open case, if there is one."""
    return conn.execute(
        sa.select(CASE.c.id).where(CASE.c.request_id == request_id, CASE.c.state.in_(open_states()))
    ).scalar_one_or_none()


def open_states() -> list[str]:
    """The states from which a case can still move."""
    return [state.id for state in shipped().states.values() if state.is_open]


def seal(case_id: str, n: int, event: str, data: Mapping[str, Any], before: str) -> str:
    """SHA-256 over the event and, through `before`, over the whole history of the case."""
    text = {"case": case_id, "n": n, "event": event, "data": data, "before": before}
    return hashlib.sha256(canonical(text)).hexdigest()
