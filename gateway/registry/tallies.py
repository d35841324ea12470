"""Tallies: how many holdings, units and people each stratum has, and who is in several.

The rules it keeps: a holding is in exactly one stratum; people are told by the set of strata they are in, so
that they stay exact for any selection; strata and groups are numbered and sorted by what they say, so that the
same register gives the same document, whichever way it was counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row

from gateway.errors import ProblemError
from gateway.registry.counters import Counted
from gateway.registry.index.conditions import Condition
from gateway.registry.index.rows import Context
from gateway.registry.index.there import NEVER, Counts, Outrun, There
from gateway.registry.strata import Key, Teller
from policies.consent import Profile, ProfileId
from policies.request import DonorGroup, Stratum, StratumId, Value


class Tally:
    """What was counted so far, by stratum; owns the counts. Strata are numbered as they come."""

    def __init__(self, teller: Teller, already: frozenset[str]) -> None:
        self.teller, self.already = teller, already
        self.keys: list[Key] = []
        self.items: list[int] = []
        self.units: list[int] = []
        self._numbers: dict[Key, int] = {}
        self._ends: dict[int, date] = {}
        self._people: Counter[tuple[frozenset[int], bool]] = Counter()

    def number(self, key: Key) -> int:
        """The number of a stratum."""
        number = self._numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append(key)
            self.items.append(0)
            self.units.append(0)
        return number

    def ends_on(self, number: int, day: date) -> None:
        """A consent of the stratum ends on a day."""
        if day < self._ends.get(number, date.max):
            self._ends[number] = day

    def people(self, strata: frozenset[int], many: int, *, already: bool) -> None:
        """So many people have something in exactly these strata."""
        self._people[strata, already] += many

    def order(self) -> list[int]:
        """The strata by what they say."""
        order, ends = self.teller.order, self._ends

        def says(number: int) -> tuple[Any, ...]:
            return (*order(self.keys[number]), ends.get(number, date.max))

        return sorted(range(len(self.keys)), key=says)

    def strata(self, order: Sequence[int]) -> tuple[Stratum, ...]:
        """The strata as the PDP is told of them."""
        people = [0] * len(self.keys)
        for (numbers, _), many in self._people.items():
            for number in numbers:
                people[number] += many
        return tuple(
            [
                Stratum(
                    id=StratumId(f"s{place}"),
                    profile=self.keys[number].profile,
                    facts=self._facts(number),
                    items=self.items[number],
                    units=self.units[number],
                    people=people[number],
                )
                for place, number in enumerate(order, start=1)
            ]
        )

    def _facts(self, number: int) -> dict[str, Value]:
        facts = self.teller.facts(self.keys[number])
        if number in self._ends:
            facts["consent.earliest_expiry"] = self._ends[number]
        return facts

    def groups(self, order: Sequence[int]) -> tuple[DonorGroup, ...]:
        """Who is in which strata."""
        places = {number: place for place, number in enumerate(order, start=1)}
        ids = [StratumId(f"s{place}") for place in range(len(order) + 1)]
        told = sorted(
            [
                (sorted([places[number] for number in numbers]), already, many)
                for (numbers, already), many in self._people.items()
            ]
        )
        return tuple(
            [
                DonorGroup(strata=tuple([ids[one] for one in where]), people=many, already=already)
                for where, already, many in told
            ]
        )

    def profiles(self) -> dict[ProfileId, Profile]:
        """The profiles of the strata."""
        return dict(sorted(self.teller.profiles.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ByIndex:
    """What was counted with the index: enough to find again the holdings of its strata."""

    there: There
    revision: int  # of the index
    counts: Counts
    kinds: frozenset[str]
    linked: NDArray[np.bool_]  # by sheaf: linked otherwise than most
    teller: Teller
    numbers: dict[tuple[int, bool], dict[int, int]] = field(default_factory=dict)

    def rows(self, conn: Connection, keys: Iterable[Key]) -> list[Row[Any]]:
        """The holdings of some strata, as their rows stand in the caller's transaction.

        Raises `ProblemError` `decision_failed` where the index has gone on or a row is another than was
        counted: nothing is picked on what is no longer so.
        """
        wanted = frozenset(keys)
        found: list[Row[Any]] = []
        with self.there.door:
            if self.there.revision != self.revision:
                detail = "the facts have changed since they were counted"
                raise ProblemError("decision_failed", detail)
            for sheaves, places, keyed in self._spread():
                chosen = np.array([key in wanted for key in keyed.keys], dtype=bool)[keyed.number]
                try:
                    found += self.there.found_again(conn, sheaves[chosen], places[chosen])
                except Outrun as error:
                    detail = f"the rows of `{error}` have changed"
                    raise ProblemError("decision_failed", detail) from error
        return found

    def units(self, each: int) -> Counter[Key]:
        """How many units of each stratum are asked for, at most `each` of one tube."""
        units: Counter[Key] = Counter()
        free = self.there.column("free")
        first = self.there.column("first")
        for sheaves, places, found in self._spread():
            many = np.minimum(free[first[sheaves] + places], each)
            many[~found.material] = 1
            sums = np.bincount(found.number, weights=many, minlength=len(found.keys))
            for key, total in zip(found.keys, sums.tolist(), strict=True):
                units[key] += int(total)
        return units

    def _spread(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], _Keyed]]:
        there = self.there
        many = len(there.items.all)
        for sheaves, places, items in there.spread(self.counts.selected, self.kinds):
            context = there.column("context")[there.column("pattern")[sheaves]].astype(np.int64)
            code = (context * many + items) * 2 + self.linked[sheaves]
            codes, number = np.unique(code, return_inverse=True)
            told = [
                self.key(code // 2 // many, code // 2 % many, linked=bool(code % 2))
                for code in codes.tolist()
            ]
            material = [
                there.items.all[code // 2 % many].item_class != "information"
                for code in codes.tolist()
            ]
            yield (
                sheaves,
                places,
                _Keyed(keys=told, number=number, material=np.array(material, dtype=bool)[number]),
            )

    def key(self, context: int, item: int, *, linked: bool) -> Key:
        """The stratum of an item in a context. `linked`: otherwise than most donors."""
        collection, consent, who = self.there.contexts.all[context]
        return self.teller.key(
            self.there.collections.all[collection],
            self.there.items.all[item],
            self.there.people.all[who],
            self.there.consents.all[consent],
            True if linked else self.teller.linked_otherwise,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keyed:
    """Holdings by the stratum each is in: `keys[number]`; whether each counts as material."""

    keys: Sequence[Key]
    number: NDArray[np.intp]
    material: NDArray[np.bool_]


def by_index(  # noqa: PLR0913 - everything a holding is compared with, each once
    conn: Connection,
    there: There,
    condition: Condition,
    kinds: frozenset[str],
    tally: Tally,
    counted: Counted,
    *,
    units_each: int,
    named: frozenset[str],
    without: frozenset[str],
) -> ByIndex:
    """Count into a tally what the index finds, but of the donors `without`.

    1 find the sheaves, counted by what they look like; 2 bring together those that look alike to the
    rules; 3 count them into strata. `named` are ids of holdings that the condition names. Raises `Outrun`
    where one of these is not what the index saw.
    """
    # 1
    teller = tally.teller
    linked = counted.linked if teller.linked_otherwise is not True else frozenset[str]()
    counts = there.count(
        condition,
        kinds,
        there.located(conn, named, without) if named else {},
        apart=linked | counted.already,
        without=without,
    )
    otherwise = np.zeros(len(there.column("donor")), dtype=bool)
    otherwise[there.sheaves_of(linked)] = True
    found = ByIndex(
        there=there,
        revision=there.revision,
        counts=counts,
        kinds=kinds,
        linked=otherwise,
        teller=teller,
    )
    # 2
    contexts = np.zeros(len(there.contexts.all), dtype=bool)
    contexts[counts.contexts] = True
    contexts[[context for _, held in counts.apart for context, _, _ in held]] = True
    used = np.flatnonzero(contexts)
    like, first = _alike(conn, there, used, kinds, teller)
    at = np.zeros(len(contexts), dtype=np.int64)
    at[used] = like
    draws = len(there.draws.all)
    code, where = at[counts.contexts] * draws + counts.draws, len(first) * draws
    donors = np.bincount(code, weights=counts.donors, minlength=where)
    ends = np.full(where, NEVER, dtype=np.int64)
    np.minimum.at(ends, code, counts.ends)
    # 3
    before = [*tally.items]
    some = np.flatnonzero(donors)
    for one, many, end in zip(
        some.tolist(), donors[some].astype(np.int64).tolist(), ends[some].tolist(), strict=True
    ):
        context = int(used[first[one // draws]])
        strata = _drawn(found, tally, context, one % draws, many, end, linked=False)
        tally.people(strata, many, already=False)
    for donor_id, held in counts.apart:
        everything = frozenset[int]()
        for context, draw, end in held:
            rep = int(used[first[at[context]]])
            everything |= _drawn(found, tally, rep, draw, 1, end, linked=donor_id in linked)
        tally.people(everything, 1, already=donor_id in tally.already)
    if units_each > 1:
        for key, units in found.units(units_each).items():
            tally.units[tally.number(key)] += units
    else:  # one of each
        before += [0] * (len(tally.items) - len(before))
        for number, items in enumerate(before):
            tally.units[number] += tally.items[number] - items
    return found


def _drawn(
    found: ByIndex, tally: Tally, context: int, draw: int, donors: int, end: int, *, linked: bool
) -> frozenset[int]:
    """Count what was drawn of so many donors alike; the strata it is in."""
    there, numbers = found.there, found.numbers.setdefault((context, linked), {})
    drawn = there.draws.all[draw]
    for item in drawn:
        number = numbers.get(item)
        if number is None:
            number = numbers[item] = tally.number(found.key(context, item, linked=linked))
        tally.items[number] += donors
    strata = frozenset([numbers[item] for item in drawn])
    if end != NEVER:
        said = there.consents.all[there.contexts.all[context].consent]
        if said is not None and not tally.teller.is_void(said):
            for number in strata:
                tally.ends_on(number, date.fromordinal(end))
    return strata


def _alike(
    conn: Connection, there: There, used: NDArray[np.intp], kinds: frozenset[str], teller: Teller
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which contexts are alike to the rules: the class of each, and of each class the first of them."""
    collection, consent, who = (there.column(name)[used] for name in Context._fields)
    collections = teller.collections_alike(there.collections.all, kinds, there.numbering)
    consents = teller.consents_alike(conn, there.consents.all, there.numbering)
    teller.rest_on(
        (there.collections.all[number] for number in np.unique(collection).tolist()),
        (there.consents.all[number] for number in np.unique(consent).tolist()),
    )
    code = collections.classes[collection] * consents.many + consents.classes[consent]
    code = code * len(there.people.all) + who
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return inverse, first
