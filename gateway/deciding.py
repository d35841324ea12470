"""One decision: gathered and decided, recorded with its leaf and row, read again.

The rules it keeps: neither facts nor packs may change under a decision (`current`); a researcher's dry run over few
donors is decided without anything a donor said or is (`_blind`). Here alone the gateway appends to the
log. No record, no access: whoever gives effect does so in the transaction that appended. A leaf carries
opaque ids, rule numbers and digests, donors and samples only as commitments.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from hashlib import sha256
from typing import assert_never

import sqlalchemy as sa
from sqlalchemy import Connection

from audit import log
from audit.leaf import Draft
from audit.merkle import leaf_hash
from gateway.bank import Bank, facts_version
from gateway.errors import ProblemError
from gateway.identity.scopes import Caller
from gateway.registry import facts, generations, requests
from gateway.registry.ask import Ask
from gateway.registry.facts import Gathered
from gateway.registry.requests import Difference, Request
from gateway.review.dossier import blocking, to_dispose
from gateway.tables import DecisionRestsOn, DecisionRow, new_id, table_of
from policies import document, pdp
from policies.consent import DuoTerm, Profile, ProfileId, Term, Told
from policies.decision import Decision, Deny, Hold, Permit, Refer, Result
from policies.request import DonorGroup, Facts, Question, Stratum, StratumId, Value
from policies.rules import Law
from policies.vocabulary import Level, is_value_of

#: Below this many donors a researcher's dry run must not tell one donor's will (design §5).
SMALL = 20

_decisions = table_of(DecisionRow)
_rests_on = table_of(DecisionRestsOn)
# Said once: to build a statement costs more than to run it.
_RECORD, _REST = sa.insert(_decisions), sa.insert(_rests_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Gathered and decided, not yet recorded. `only`: the holdings of the grant it is about.

    `dry`: a researcher's dry run. `blind`: decided without donor-level facts. `generation`: of the law
    it was decided by. `held_by`: whose draws on quotas and tubes are room for it (a grant, a request).
    """

    ask: Ask
    party_id: str
    only: frozenset[str] | None
    dry: bool
    held_by: str | None
    gathered: Gathered
    question: Question
    decision: Decision
    blind: bool
    generation: str


async def prepare_outside(
    bank: Bank,
    ask: Ask,
    party_id: str,
    *,
    only: frozenset[str] | None = None,
    dry: bool = False,
    held_by: str | None = None,
) -> Prepared:
    """Gather and decide on a reader's connection, off the event loop."""

    def gather_and_decide() -> Prepared:
        if ask.items is not None and not ask.items.cohort.samples:
            bank.open_index()
        with bank.database.read() as conn:
            return prepare(conn, bank, ask, party_id, only=only, dry=dry, held_by=held_by)

    return await asyncio.to_thread(gather_and_decide)


def prepare(
    conn: Connection,
    bank: Bank,
    ask: Ask,
    party_id: str,
    *,
    only: frozenset[str] | None = None,
    dry: bool = False,
    held_by: str | None = None,
) -> Prepared:
    """Gather and decide on this connection, as of today in Shanghai.

    Raises `ProblemError` where the request names what does not exist.
    """
    generation, law = bank.laws.in_force(conn)
    gathered = facts.gather(
        conn,
        bank,
        ask,
        party_id,
        as_of=bank.today(),
        now=bank.now(),
        only=only,
        held_by=held_by,
    )
    question = gathered.question
    blind = dry and 0 < sum(g.people for g in question.donor_groups) < SMALL
    if blind:
        question = _blind(question)
    if law is not generations.shipped_law():  # which has a word for all that is gathered
        question = in_words_of(question, law)
    return Prepared(
        ask=ask,
        party_id=party_id,
        only=only,
        dry=dry,
        held_by=held_by,
        gathered=gathered,
        question=question,
        decision=pdp.decide(question, law),
        blind=blind,
        generation=generation,
    )


def in_words_of(question: Question, law: Law) -> Question:
    """The question as a law can be asked it: what it has no word for, or no such value, is left out.

    A newer version of the product gathers more than the packs in force know; an older question may hold
    a fact that newer packs dropped. What a rule asks for and is not said is unknown, never false.
    """

    def known(facts: Facts, level: Level) -> Facts:
        given = law.vocabulary.given[level]
        return {n: v for n, v in facts.items() if n in given and is_value_of(v, given[n])}

    strata = (replace(one, facts=known(one.facts, Level.STRATUM)) for one in question.strata)
    return replace(question, facts=known(question.facts, Level.REQUEST), strata=tuple(strata))


def current(conn: Connection, bank: Bank, prepared: Prepared) -> Prepared:
    """The same if neither a fact nor the legal day has changed since; decided anew otherwise."""
    same_facts = facts_version(conn) == prepared.gathered.facts_version
    if same_facts and prepared.question.as_of == bank.today():
        return prepared
    return prepare(
        conn,
        bank,
        prepared.ask,
        prepared.party_id,
        only=prepared.only,
        dry=prepared.dry,
        held_by=prepared.held_by,
    )


def stands(decision: Decision, accepted: frozenset[str]) -> bool:
    """Whether something may leave on this decision.

    A refer stands only where two officers disposed of every rule that refers it; a deny and a hold
    never do, whoever accepted what.
    """
    match decision:
        case Permit():
            return True
        case Refer():
            return not blocking(decision) and set(to_dispose(decision)) <= accepted
        case Hold() | Deny():
            return False
        case _:
            assert_never(decision)


# ---- recording -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One decision and what became of it.

    `blind`: made without donor-level facts; `earlier`: on a cohort counted before, too near to be told apart.
    """

    decision_id: str
    occasion: str  # evaluation | submission | redecision | release
    party_id: str
    question: Question
    decision: Decision
    document_sha256: str
    leaf_index: int
    leaf_hash: bytes
    as_of: date
    decided_at: datetime
    blind: bool = False
    earlier: bool = False
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
    earlier: bool = False,
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
        question=prepared.question,
        decision=decision,
        document_sha256=sha256(body).hexdigest(),
        leaf_index=entry.index,
        leaf_hash=entry.leaf_hash,
        as_of=prepared.question.as_of,
        decided_at=entry.time,
        blind=prepared.blind,
        earlier=earlier,
        request=request,
    )
    row = {
        "id": decision_id,
        "request_id": request.id if request else None,
        "version": request.version if request else None,
        "party_id": prepared.party_id,
        "occasion": occasion,
        "outcome": decision.outcome,
        "blind": prepared.blind,
        "as_of": answer.as_of,
        "document_sha256": answer.document_sha256,
        "leaf_index": entry.index,
        "facts_version": prepared.gathered.facts_version,
        "decided_at": entry.time,
        "law_generation_id": prepared.generation,
        "earlier": earlier,
    }
    conn.execute(_RECORD, row)
    if request is not None:  # a dry run has no effect that could be undone
        conn.execute(
            _REST,
            [
                {"decision_id": decision_id, "kind": kind, "subject_id": subject}
                for kind, subject in sorted(prepared.gathered.rests_on)
            ],
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
        # Its texts are those of the packs it was made by.
        generation = row.law_generation_id
        law = bank.law if generation is None else bank.laws.of(conn, generation)
    return Answer(
        decision_id=row.id,
        occasion=row.occasion,
        party_id=row.party_id,
        question=document.question_from(body),
        decision=document.decision_from(body, law),
        document_sha256=row.document_sha256,
        leaf_index=row.leaf_index,
        leaf_hash=leaf_hash(leaf),
        as_of=row.as_of,
        decided_at=row.decided_at,
        blind=row.blind,
        earlier=bool(row.earlier),
        request=request,
    )


def _speaking(decision: Decision) -> tuple[str, ...]:
    """Numbers of the rules that held or were unknown."""
    said = {Result.HOLDS, Result.UNKNOWN}
    return tuple(sorted({f.no for f in decision.findings if f.result in said}))


# ---- a blind dry run -----------------------------------------------------------------------------

#: What a donor's consent is taken to say in a blind dry run: everything, to everybody.
_WILLING = Profile(
    id=ProfileId("blind"),
    mapped=True,
    permissions=(DuoTerm(code="DUO:0000004"), DuoTerm(code="DUO:0000043")),  # NRES, CC
    told=frozenset(Told),
    terms=dict.fromkeys(Term, True),
)
_WILLING_FACTS: Mapping[str, Value] = {
    "consent.exists": True,
    "consent.written": True,
    "consent.before_collection": True,
    "consent.expired": False,
    "consent.by_guardian": False,
    "consent.guardian_consent": True,
    "consent.reconsented": True,
    "consent.form_mapped": True,
    "consent.form_legacy": False,
    "consent.form_adequate": True,
    "donor.withdrawn": False,
    "donor.under_14": False,
    "donor.minor_14_17": False,
    "donor.adult": True,
    "donor.capacity": True,
    "donor.deceased": False,
    "donor.pedigree": False,
}


def _blind(question: Question) -> Question:
    """The question without anything a donor said or is: the same whoever of them withdrew.

    What told them apart goes too: strata that now look alike are one, under a new number.
    """
    alike: dict[str, list[Stratum]] = defaultdict(list)
    for stratum in question.strata:
        kept = {n: v for n, v in stratum.facts.items() if not n.startswith(("donor.", "consent."))}
        if "donor.special_region" in stratum.facts:  # of the collection, whoever gave to it
            kept["donor.special_region"] = stratum.facts["donor.special_region"]
        facts = kept | dict(_WILLING_FACTS)
        blinded = replace(stratum, profile=_WILLING.id, facts=facts)
        alike[str(sorted(facts.items()))].append(blinded)
    parts = {StratumId(f"s{n}"): alike[said] for n, said in enumerate(sorted(alike), start=1)}
    now = {old.id: new for new, olds in parts.items() for old in olds}
    people: Counter[tuple[tuple[StratumId, ...], bool]] = Counter()
    for group in question.donor_groups:
        people[tuple(sorted({now[old] for old in group.strata})), group.already] += group.people
    return replace(
        question,
        profiles={_WILLING.id: _WILLING},
        strata=tuple(
            replace(
                olds[0],
                id=new,
                items=sum(old.items for old in olds),
                units=sum(old.units for old in olds),
                people=sum(many for (where, _), many in people.items() if new in where),
            )
            for new, olds in parts.items()
        ),
        donor_groups=tuple(
            DonorGroup(strata=where, people=many, already=already)
            for (where, already), many in sorted(people.items())
        ),
    )
