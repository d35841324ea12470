"""Questions made by chance: plausible ones changed in a few places, and wild ones; edges preferred."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

from policies.consent import DuoTerm, Profile, ProfileId, Purpose, Research, Term, Told
from policies.request import DonorGroup, Question, Stratum, StratumId
from policies.vocabulary import Fact, FactType, Level
from tests.policies import test_shipped_packs as shipped

FACTS = shipped.LAW.vocabulary.facts
GIVEN = {
    level: [
        fact
        for name, fact in sorted(FACTS.items())
        if fact.level is level
        and fact.derived is None
        and name not in {"as_of", "consent.covers"}
        and not name.startswith(("selection.", "profile.", "purpose."))
    ]
    for level in (Level.REQUEST, Level.STRATUM)
}
#: The figures rules compare with, and their neighbours.
EDGES = sorted(
    {
        n + d
        for n in (0, 1, 3, 30, 100, 500, 501, 1000, 3000, 9999, 10_000, 1_000_000)
        for d in (-1, 0, 1)
    }
    - {-1}
)
SHARES = ["0/1", "49/100", "1/2", "51/100", "1/1", "1/10", "9/100", "11/100"]
DAYS = sorted({edition.in_force for edition in shipped.LAW.editions} | {shipped.TODAY})
BASES = [
    shipped.HOSPITAL,
    shipped.FOREIGN_UNIVERSITY,
    {**shipped.FOREIGN_UNIVERSITY, **shipped.REPORTED},
]
STRATA = [shipped.BLOOD, shipped.GENOME]


def value(chance: random.Random, fact: Fact, day: date) -> Any:
    """A value of the fact's type, or None for not known."""
    if chance.random() < 0.25:
        return None
    match fact.type:
        case FactType.BOOL:
            return chance.random() < 0.5
        case FactType.INT:
            return chance.choice(EDGES)
        case FactType.DATE:
            return day + timedelta(days=chance.choice((-400, -1, 0, 1, 400)))
        case FactType.FRACTION:
            return chance.choice(SHARES)
        case FactType.SET:
            pool = sorted(fact.values or {"CN", "US", "HK", "genome", "whole_blood", "health"})
            return frozenset(chance.sample(pool, chance.randint(0, min(3, len(pool)))))
        case FactType.TEXT:
            pool = sorted(
                fact.values
                or {"CN", "US", "HK", "MO", "DE", "genome", "plasma", "health", "clinical_care"}
            )
            return chance.choice(pool)


def profile(chance: random.Random, name: str) -> Profile:
    return Profile(
        id=ProfileId(name),
        mapped=chance.random() < 0.85,
        permissions=tuple(
            DuoTerm(code=code)
            for code in chance.sample(
                ["DUO:0000004", "DUO:0000006", "DUO:0000011"], chance.randint(0, 2)
            )
        ),
        told=frozenset(Told) if chance.random() < 0.8 else frozenset(list(Told)[:3]),
        terms={term: chance.random() < 0.7 for term in Term if chance.random() < 0.8},
    )


def question(chance: random.Random) -> Question:
    """One question; the same for the same seed."""
    near = chance.choice(DAYS) + timedelta(days=chance.choice((-1, 0, 1)))
    day = shipped.TODAY if chance.random() < 0.6 else near
    wild = chance.random() < 0.2
    facts = {} if wild else dict(chance.choice(BASES))
    pool = GIVEN[Level.REQUEST]
    for fact in pool if wild else chance.sample(pool, chance.choice((0, 0, 1, 2, 3, 6))):
        facts[fact.name] = value(chance, fact, day)
    strata, profiles = [], {}
    many = chance.choice((0, 1, 1, 2, 3, 4))
    for number in range(many):
        held = {} if wild else dict(chance.choice(STRATA))
        pool = GIVEN[Level.STRATUM]
        for fact in pool if wild else chance.sample(pool, chance.choice((0, 0, 0, 1, 2, 4))):
            held[fact.name] = value(chance, fact, day)
        who = shipped.AGREED if chance.random() < 0.6 else profile(chance, f"p{number}")
        profiles[who.id] = who
        strata.append(
            (StratumId(f"s{number}"), who.id, {n: v for n, v in held.items() if v is not None})
        )
    groups = [
        (
            tuple(sorted(chance.sample([s for s, _, _ in strata], chance.randint(1, many)))),
            chance.choice((1, 2, 20)),
            chance.random() < 0.2,
        )
        for _ in range(chance.randint(1, 3) if many else 0)
    ]
    if many and chance.random() < 0.15:
        groups.append(((strata[0][0],), chance.choice((499, 500, 501)), False))
    count = {s: sum(people for where, people, _ in groups if s in where) for s, _, _ in strata}
    return Question(
        as_of=day,
        facts={n: v for n, v in facts.items() if v is not None},
        purpose=Purpose(
            research=chance.choice(list(Research)),
            commercial=chance.choice((True, False, None)),
            not_for_profit=chance.choice((True, None)),
            genetic=chance.choice((True, False, None)),
            ethics_approved=chance.choice((True, None)),
            publication_planned=False,
        ) if chance.random() < 0.4 else shipped.STUDY,
        profiles=profiles,
        strata=tuple(
            Stratum(id=s, profile=p, facts=f, items=count[s] + chance.randint(0, 2), units=count[s], people=count[s])
            for s, p, f in strata
        ),
        donor_groups=tuple(DonorGroup(strata=w, people=n, already=a) for w, n, a in groups),
    )  # fmt: skip
