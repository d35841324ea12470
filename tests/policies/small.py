"""A small law with one rule of each effect at each level, and questions put to it."""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, partial
from pathlib import Path

from policies import packs
from policies.consent import DuoTerm, Profile, ProfileId, Purpose, Research, Term, Told
from policies.request import DonorGroup, Question, Stratum, StratumId, Value
from policies.rules import Law
from policies.vocabulary import Lookup

DIRECTORY = Path(__file__).parent / "data" / "small"
DAY = date(2024, 6, 1)


def _any_foreign(look: Lookup) -> bool | None:
    country = look("recipient.country")
    return None if country is None else country != "CN"


def _in_force(look: Lookup, paper: str) -> bool | None:
    recorded = look(f"paper.{paper}.recorded")
    if recorded is not True:
        return False if recorded is False else None
    day, last = look("as_of"), look(f"paper.{paper}.valid_to")
    return None if last is None else day <= last


def _any_paper(look: Lookup) -> bool | None:
    papers = [look("paper.licence.in_force"), look("paper.report.in_force")]
    return True if True in papers else None if None in papers else False


def _hgr_material(look: Lookup) -> bool | None:
    item_class = look("item.class")
    return None if item_class is None else item_class == "material"


def _crowded(look: Lookup) -> bool | None:
    people = look("selection.people")
    return None if people is None else people >= 1000


FUNCTIONS: Mapping[str, Callable[[Lookup], Value | None]] = {
    "any_foreign": _any_foreign,
    "crosses_border_material": lambda look: look("material_exits"),
    "in_force.licence": partial(_in_force, paper="licence"),
    "in_force.report": partial(_in_force, paper="report"),
    "any_paper": _any_paper,
    "rumoured": lambda look: look("request.price"),
    "hgr_material": _hgr_material,
    "crowded": _crowded,
}


@cache
def small_law() -> Law:
    return packs.load(DIRECTORY, FUNCTIONS)


GRU = DuoTerm(code="DUO:0000042")
PROFILES = {
    "general": Profile(id=ProfileId("general"), mapped=True, permissions=(GRU,)),
    "told": Profile(
        id=ProfileId("told"),
        mapped=True,
        permissions=(GRU,),
        told=frozenset({Told.PURPOSE, Told.USE}),
        terms={Term.FOREIGN_SHARING: True},
    ),
    "ancestry": Profile(
        id=ProfileId("ancestry"), mapped=True, permissions=(DuoTerm(code="DUO:0000011"),)
    ),
    "unmapped": Profile(id=ProfileId("unmapped"), mapped=False, permissions=(GRU,)),
}

CLEAR: Mapping[str, Value] = {
    "request.action": "release",
    "request.forbidden": False,
    "request.doubtful": False,
    "request.price": 10,
    "recipient.country": "CN",
    "material_exits": False,
    "pi.form": "deidentified",
    "pi.sensitive_people_before": 7,
    "counter.genome_people_before": 3,
    "paper.licence.recorded": True,
    "paper.licence.valid_to": date(2026, 12, 31),
    "paper.report.recorded": False,
}
CLEAN: Mapping[str, Value] = {
    "item.kind": "genome",
    "item.class": "information",
    "item.data_class": "genome",
    "item.exempt": False,
    "item.suspect": False,
    "donor.withdrawn": False,
    "donor.minor": False,
    "donor.pedigree": False,
    "donor.special_region": False,
}
PURPOSE = Purpose(
    research=Research.HEALTH,
    commercial=False,
    not_for_profit=True,
    genetic=True,
    countries=frozenset({"CN"}),
)


def without(facts: Mapping[str, Value], *names: str) -> dict[str, Value]:
    return {name: value for name, value in facts.items() if name not in names}


def stratum(
    name: str, people: int, facts: Mapping[str, Value] = CLEAN, profile: str = "general"
) -> Stratum:
    return Stratum(
        id=StratumId(name),
        profile=ProfileId(profile),
        facts=facts,
        items=people,
        units=2 * people,
        people=people,
    )


def group(people: int, *strata: str, already: bool = False) -> DonorGroup:
    return DonorGroup(
        strata=tuple(StratumId(one) for one in strata), people=people, already=already
    )


def question(
    facts: Mapping[str, Value] = CLEAR,
    strata: tuple[Stratum, ...] = (),
    groups: tuple[DonorGroup, ...] = (),
    purpose: Purpose = PURPOSE,
    as_of: date = DAY,
) -> Question:
    """A question on some strata; without donor groups, each donor is in one stratum only."""
    return Question(
        as_of=as_of,
        facts=facts,
        purpose=purpose,
        profiles={profile.id: profile for profile in PROFILES.values()},
        strata=strata,
        donor_groups=groups or tuple(group(one.people, one.id) for one in strata),
    )
