"""Gather and decide: from what is asked to a question to the PDP's answer, before anything is recorded.

The rules it keeps: facts may not change under a decision (`current`); a researcher's dry run over few
donors is decided without anything a donor said or is (`_blind`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.registry import facts
from gateway.registry.ask import Ask
from gateway.registry.facts import Gathered
from gateway.review.dossier import blocking, to_dispose
from policies import pdp
from policies.consent import DuoTerm, Profile, ProfileId, Term, Told
from policies.decision import Decision, Deny, Hold, Permit, Refer
from policies.request import DonorGroup, Question, Stratum, StratumId, Value

#: Below this many donors a researcher's dry run must not tell one donor's will (design §5).
SMALL = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Gathered and decided, not yet recorded. `only`: the holdings of the grant it is about.

    `dry`: a researcher's dry run. `blind`: decided without donor-level facts.
    """

    ask: Ask
    party_id: str
    only: frozenset[str] | None
    dry: bool
    gathered: Gathered
    question: Question
    decision: Decision
    blind: bool


async def prepare_outside(
    bank: Bank,
    ask: Ask,
    party_id: str,
    *,
    only: frozenset[str] | None = None,
    dry: bool = False,
) -> Prepared:
    """Gather and decide on a reader's connection, off the event loop."""

    def gather_and_decide() -> Prepared:
        with bank.database.read() as conn:
            return prepare(conn, bank, ask, party_id, only=only, dry=dry)

    return await asyncio.to_thread(gather_and_decide)


def prepare(
    conn: Connection,
    bank: Bank,
    ask: Ask,
    party_id: str,
    *,
    only: frozenset[str] | None = None,
    dry: bool = False,
) -> Prepared:
    """Gather and decide on this connection, as of today in Shanghai.

    Raises `ProblemError` where the request names what does not exist.
    """
    gathered = facts.gather(
        conn, bank, ask, party_id, as_of=bank.today(), now=bank.now(), only=only
    )
    question = gathered.question
    blind = dry and 0 < sum(g.people for g in question.donor_groups) < SMALL
    if blind:
        question = _blind(question)
    return Prepared(
        ask=ask,
        party_id=party_id,
        only=only,
        dry=dry,
        gathered=gathered,
        question=question,
        decision=pdp.decide(question, bank.law),
        blind=blind,
    )


def current(conn: Connection, bank: Bank, prepared: Prepared) -> Prepared:
    """The same if neither a fact nor the legal day has changed since; decided anew otherwise."""
    same_facts = facts.facts_version(conn) == prepared.gathered.facts_version
    if same_facts and prepared.question.as_of == bank.today():
        return prepared
    return prepare(
        conn, bank, prepared.ask, prepared.party_id, only=prepared.only, dry=prepared.dry
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
