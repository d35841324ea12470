"""Record: the one place that appends to the log, and where decisions are kept and read again.

The rules it keeps: no record, no access (whoever gives effect does so in the transaction that
appended); a leaf carries opaque ids, rule numbers and digests, donors and samples only as commitments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy import Connection

from audit import log
from audit.leaf import Draft
from audit.merkle import leaf_hash
from gateway.bank import Bank
from gateway.deciding import Prepared
from gateway.errors import ProblemError
from gateway.identity.scopes import Caller
from gateway.registry import requests
from gateway.registry.requests import Difference, Request
from gateway.tables import DecisionRow, new_id, table_of
from policies import document
from policies.decision import Decision, Result

_decisions = table_of(DecisionRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One decision and what became of it. `blind`: made without donor-level facts."""

    decision_id: str
    occasion: str  # evaluation | submission | redecision | release
    party_id: str
    decision: Decision
    document_sha256: str
    leaf_index: int
    leaf_hash: bytes
    as_of: date
    decided_at: datetime
    blind: bool = False
    request: Request | None = None
    grant_id: str | None = None
    case_id: str | None = None
    difference: tuple[Difference, ...] = ()


def append(
    conn: Connection,
    bank: Bank,
    caller: Caller,
    kind: str,
    subjects: Mapping[str, str],
    *,
    outcome: str | None = None,
    commitments: Mapping[str, str] | None = None,
) -> log.Appended:
    """One entry in the caller's transaction, about what `subjects` names by opaque ids."""
    draft = Draft(
        kind=kind,
        actor=caller.id,
        outcome=outcome,
        subjects=subjects,
        commitments=commitments or {},
    )
    (entry,) = log.append(conn, bank.origin, [draft], now=bank.now())
    return entry


def record(
    conn: Connection,
    bank: Bank,
    caller: Caller,
    prepared: Prepared,
    *,
    occasion: str,
    request: Request | None = None,
) -> Answer:
    """A decision's document, leaf and row, in the caller's transaction."""
    decision, decision_id = prepared.decision, new_id("dec")
    body = document.encode(prepared.question, decision)
    subjects = {"decision": decision_id, "occasion": occasion, "party": prepared.party_id}
    if request is not None:
        subjects |= {"request": request.id, "version": str(request.version)}
    draft = Draft(
        kind="decision",
        actor=caller.id,
        outcome=decision.outcome,
        rules=_speaking(decision),
        subjects=subjects,
        documents=(body,),
    )
    (entry,) = log.append(conn, bank.origin, [draft], now=bank.now())
    answer = Answer(
        decision_id=decision_id,
        occasion=occasion,
        party_id=prepared.party_id,
        decision=decision,
        document_sha256=sha256(body).hexdigest(),
        leaf_index=entry.index,
        leaf_hash=entry.leaf_hash,
        as_of=prepared.question.as_of,
        decided_at=entry.time,
        blind=prepared.blind,
        request=request,
    )
    conn.execute(
        sa.insert(_decisions).values(
            id=decision_id,
            request_id=request.id if request else None,
            version=request.version if request else None,
            party_id=prepared.party_id,
            occasion=occasion,
            outcome=decision.outcome,
            blind=prepared.blind,
            as_of=answer.as_of,
            document_sha256=answer.document_sha256,
            leaf_index=entry.index,
            facts_version=prepared.gathered.facts_version,
            decided_at=entry.time,
        )
    )
    return answer


def publish(bank: Bank) -> None:
    """Sign and store the checkpoint of the log as it stands (from a thread)."""
    bank.database.write(lambda conn: log.publish(conn, bank.origin, bank.keys.log))


def read_decision(bank: Bank, decision_id: str, *, party_id: str | None) -> Answer:
    """A decision as it was made, from its stored document; `party_id` None: the bank's own people.

    Raises `not_found` for an unknown decision and for another organisation's alike.
    """
    query = sa.select(_decisions).where(_decisions.c.id == decision_id)
    if party_id is not None:
        query = query.where(_decisions.c.party_id == party_id)
    with bank.database.read() as conn:
        row = conn.execute(query).first()
        if row is None:
            raise ProblemError("not_found", f"no decision `{decision_id}`")
        body = log.document(conn, bytes.fromhex(row.document_sha256))
        leaf = log.leaf(conn, bank.origin, row.leaf_index)
        request = requests.get(conn, row.request_id, party_id=None) if row.request_id else None
    return Answer(
        decision_id=row.id,
        occasion=row.occasion,
        party_id=row.party_id,
        decision=document.decision_from(body, bank.law),
        document_sha256=row.document_sha256,
        leaf_index=row.leaf_index,
        leaf_hash=leaf_hash(leaf),
        as_of=row.as_of,
        decided_at=row.decided_at,
        blind=row.blind,
        request=request,
    )


def _speaking(decision: Decision) -> tuple[str, ...]:
    """Numbers of the rules that held or were unknown."""
    said = {Result.HOLDS, Result.UNKNOWN}
    return tuple(sorted({f.no for f in decision.findings if f.result in said}))
