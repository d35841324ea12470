"""Who may do what to a case: what a command carries, and the guards the table names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.errors import FieldError, ProblemError
from gateway.review.dossier import Dossier
from gateway.review.history import REQUEST, VERSION, Case, Event
from gateway.review.workflow import Command, Guard, Needs, Recommendation, Role, Step

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
class Situation:
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


def _no_conflict(it: Situation) -> None:
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


def _another_person(it: Situation) -> None:
    first = {one.person_id for one in it.case.events if one.event == "recommended"}
    if it.actor.person_id is None or it.actor.person_id in first:
        raise ProblemError("same_person", "whoever recommended in this case cannot be its second")


def _may_be_approved(it: Situation) -> None:
    if it.recommendation is Recommendation.REJECT:
        return
    dossier = it.case.dossier
    if it.recommendation is None or not dossier.may_be_approved:
        stops = ", ".join(dossier.blocked)
        raise ProblemError(
            "state_conflict",
            f"a decision `{dossier.outcome}` cannot be approved" + (f": {stops}" if stops else ""),
        )


def _every_finding_disposed(it: Situation) -> None:
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


def _new_decision(it: Situation) -> None:
    if it.redecided is None or it.redecided.decision_id == it.case.decision_id:
        raise ValueError("`redecide` brings a decision made after the one in force")


def _own_request(it: Situation) -> None:
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


def verify_carried(step: Step, asked: Asked) -> None:
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
