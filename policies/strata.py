"""Strata and people: what a question must look like, exact counts, and facts of a selection.

The rules it keeps: people are counted through donor groups, so each is counted once however many
strata hold something of theirs; numbers that do not add up are refused; a fact of the selection is
absent when a stratum leaves it open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from policies.consent import Profile
from policies.decision import Count
from policies.request import Facts, PolicyError, Question, Stratum, StratumId, Value
from policies.vocabulary import Level, Lookup, Vocabulary, is_set_by_pdp, is_value_of

#: 实施细则第三十七条（三）: exome and genome sequencing information, "外显子组测序、基因组测序".
GENOME_CLASSES = frozenset({"genome", "exome"})
#: Other nucleic-acid data of 实施细则第二条, for the wider reading of art. 37(3).
OTHER_SEQUENCE_CLASSES = frozenset({"panel", "transcriptome", "epigenome", "ctDNA"})


def verify_strata(question: Question) -> None:
    """Refuse, with PolicyError, strata and donors that do not add up."""
    ids = [stratum.id for stratum in question.strata]
    if len(set(ids)) < len(ids):
        raise PolicyError("a stratum is named twice")
    people = dict.fromkeys(ids, 0)
    for group in question.donor_groups:
        _verify_counts(group.people)
        if not group.strata or len(set(group.strata)) < len(group.strata):
            raise PolicyError("a donor group must name strata, each once")
        for stratum_id in group.strata:
            if stratum_id not in people:
                raise PolicyError(f"a donor group names the unknown stratum `{stratum_id}`")
            people[stratum_id] += group.people
    for stratum in question.strata:
        _verify_counts(stratum.items, stratum.units, stratum.people)
        if stratum.profile not in question.profiles:
            raise PolicyError(f"stratum `{stratum.id}` has the unknown profile `{stratum.profile}`")
        if people[stratum.id] != stratum.people:
            raise PolicyError(f"the donor groups of stratum `{stratum.id}` do not add up")


def verify_facts(facts: Facts, level: Level, vocabulary: Vocabulary) -> None:
    """Refuse, with PolicyError, facts that nobody can give of a request or a stratum."""
    given, plain = vocabulary.given[level], vocabulary.plain[level]
    for name, value in facts.items():
        if type(value) is plain.get(name):
            continue  # most are; `is_value_of` would say so too, in thrice the time
        fact = given.get(name)
        if fact is None:
            if name in vocabulary.facts and is_set_by_pdp(name):
                raise PolicyError(f"`{name}` is found by the PDP and cannot be given")
            raise PolicyError(f"`{name}` is not a fact that can be given of a {level}")
        if not is_value_of(value, fact):
            raise PolicyError(f"`{value!r}` is no {fact.type} that `{name}` can be")


def _verify_counts(*counts: int) -> None:
    if any(type(count) is not int or count < 0 for count in counts):
        raise PolicyError("counts are whole numbers from nought up")


def profile_facts(profile: Profile) -> Iterator[tuple[str, Value]]:
    """What a stratum-level rule may ask of a consent profile; of an unmapped one, almost nothing."""
    yield "profile.mapped", profile.mapped
    if profile.mapped:
        yield "profile.told", frozenset(str(told) for told in profile.told)
        for term, said in profile.terms.items():
            yield f"profile.{term.removeprefix('hgr:')}", said


class Census:
    """Counts over the strata and donor groups of one question; owns a cache of them."""

    def __init__(self, question: Question) -> None:
        self.question = question
        # A set of strata is a whole number with a bit for each: of many groups a test is cheap then.
        self._bit = {one.id: 1 << place for place, one in enumerate(question.strata)}
        self._groups = [
            (self._bits(group.strata), group.people, group.already)
            for group in question.donor_groups
        ]
        self._people: dict[tuple[int, int], int] = {}

    def _bits(self, strata: Iterable[StratumId]) -> int:
        bits = 0
        for one in strata:
            bits |= self._bit[one]
        return bits

    def people(self, strata: Iterable[StratumId], *, outside: Iterable[StratumId] = ()) -> int:
        """Distinct donors with something in `strata` and nothing in `outside`."""
        asked = within, without = self._bits(strata), self._bits(outside)
        found = self._people.get(asked)
        if found is None:
            found = self._people[asked] = sum(
                [people for bits, people, _ in self._groups if bits & within and not bits & without]
            )
        return found

    def new_people(self, strata: Iterable[StratumId]) -> int:
        """Distinct donors of `strata` not yet counted for this recipient group and project."""
        within = self._bits(strata)
        return sum(
            [people for bits, people, already in self._groups if not already and bits & within]
        )

    def count(self, strata: Collection[StratumId]) -> Count:
        """People, holdings and units of `strata`."""
        within = frozenset(strata)
        held = [stratum for stratum in self.question.strata if stratum.id in within]
        return Count(
            people=self.people(strata),
            items=sum([stratum.items for stratum in held]),
            units=sum([stratum.units for stratum in held]),
        )


def selection_facts(
    census: Census, selected: Mapping[StratumId, Lookup], request: Lookup
) -> dict[str, Value]:
    """The `selection.*` facts over the selected strata, each given as the lookup of its facts.

    Absent where a stratum leaves the answer open. With no strata asked for there is no selection and
    so no fact of one.
    """
    question = census.question
    if not question.strata:
        return {}
    count = census.count(selected)
    form = request("pi.form")
    before = request("counter.genome_people_before")
    sensitive = request("pi.sensitive_people_before")
    genome = _having(selected, _of_class(GENOME_CLASSES))
    other = _having(selected, _of_class(OTHER_SEQUENCE_CLASSES))
    facts: dict[str, Value | None] = {
        "selection.people": count.people,
        "selection.items": count.items,
        "selection.units": count.units,
        "selection.kinds": _kinds(selected),
        "selection.material_units": _material_units(question.strata, selected),
        "selection.has_hgr_material": _any(selected, "hgr_material"),
        "selection.has_hgr_information": _any(selected, "hgr_information"),
        # A record that does not call it blank matrix is judged as what it is.
        "selection.has_blank_matrix": any(
            look("item.derived") == "blank_matrix" for look in selected.values()
        ),
        "selection.has_pedigree": _any(selected, "donor.pedigree"),
        "selection.has_special_region": _any(selected, "donor.special_region"),
        "selection.has_unknown_class": any(_is_unknown_class(look) for look in selected.values()),
        # PIPL art. 73: only what is anonymised, not what is de-identified, leaves the law.
        "selection.has_personal_information": None if form is None else form != "anonymised",
        "selection.genome_people": None if genome is None else census.people(genome),
        "selection.genome_people_total": (
            before + census.new_people(genome)
            if genome is not None and isinstance(before, int)
            else None
        ),
        "selection.other_sequence_people": None if other is None else census.people(other),
        "selection.sensitive_people_total": (
            sensitive + count.people if isinstance(sensitive, int) else None
        ),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _any(selected: Mapping[StratumId, Lookup], name: str) -> bool | None:
    """True if any stratum has it, else None if any leaves it open, else False."""
    values = {look(name) for look in selected.values()}
    if True in values:
        return True
    return None if None in values else False


def _kinds(selected: Mapping[StratumId, Lookup]) -> frozenset[str] | None:
    kinds = {look("item.kind") for look in selected.values()}
    return None if None in kinds else frozenset(str(kind) for kind in kinds)


def _material_units(
    strata: Collection[Stratum], selected: Mapping[StratumId, Lookup]
) -> int | None:
    classes = {stratum_id: look("item.class") for stratum_id, look in selected.items()}
    if None in classes.values():
        return None
    return sum(s.units for s in strata if classes.get(s.id) == "material")


def _having(
    selected: Mapping[StratumId, Lookup], test: Callable[[Lookup], bool | None]
) -> frozenset[StratumId] | None:
    """The strata that pass a test; None if that is open for any of them."""
    results = {stratum_id: test(look) for stratum_id, look in selected.items()}
    if None in results.values():
        return None
    return frozenset(stratum_id for stratum_id, passed in results.items() if passed)


def _of_class(classes: frozenset[str]) -> Callable[[Lookup], bool | None]:
    def test(look: Lookup) -> bool | None:
        if look("item.class") == "material":
            return False  # counted when sequenced, not when handed over as tubes
        data_class = look("item.data_class")
        return None if data_class is None else data_class in classes

    return test


def _is_unknown_class(look: Lookup) -> bool:
    item_class = look("item.class")
    return item_class is None or (item_class == "information" and look("item.data_class") is None)
