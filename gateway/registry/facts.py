"""The information point (PIP): everything one decision needs, gathered in one read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.registry.ask import Ask
from gateway.registry.cohorts import Cohort
from gateway.registry.version import bump, facts_version
from policies.request import Question

__all__ = ["Draw", "Gathered", "bump", "facts_version", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A quota that a grant on these facts must draw on; `measure` is `people` or `units`."""

    quota_id: str
    measure: str
    kind: str  # of the paper
    paper_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The question for the PDP, and what only the gateway needs to give effect to its answer.

    `group_id` is the ultimate control group of the recipient: the key of `released_donor`.
    `papers` maps each kind of paper to the id of the one whose facts were used.
    """

    question: Question
    cohort: Cohort
    facts_version: int
    draws: tuple[Draw, ...]
    group_id: str
    papers: tuple[str, ...] = ()


def gather(  # noqa: PLR0913 - the signature is the contract with the enforcement point
    conn: Connection,
    bank: Bank,
    ask: Ask,
    requester_party_id: str,
    *,
    as_of: date,
    now: datetime,
    only: frozenset[str] | None = None,
) -> Gathered:
    """Gather the question."""
    raise NotImplementedError
