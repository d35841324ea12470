"""What of a decision an officer must judge, kept with the case from the day it is opened.

The rules it keeps: a denial is never turned and a missing paper never talked away; every finding
that keeps a referred request from passing is disposed of one by one, by rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gateway.review.workflow import Outcome
from policies.decision import Decision, Effect, Finding, Permit, Refer, Result

#: What the PDP calls the want of any legal basis; no officer can supply one.
NO_BASIS = "no-basis"


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
    something go without its paper, so the paper has to come first.
    """
    bites = [one for one in decision.findings if _bites(decision, one)]
    stopped = {
        one.rule
        for one in bites
        if one.effect in {Effect.DENY, Effect.REQUIRE} and one.result is Result.HOLDS
    }
    bases = {Result.HOLDS, Result.UNKNOWN}
    is_based = any(one.effect is Effect.PERMIT and one.result in bases for one in bites)
    if isinstance(decision, Refer) and not is_based:
        stopped.add(NO_BASIS)
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
