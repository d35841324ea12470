"""The index as it stands under one version of the facts on one day: numbers, columns and bitmaps.

Numbers, each dense from 0: a *holding* in order of its donor; a *sheaf* is one donor's holdings of one collection
under one consent; a *pattern* is what a sheaf looks like: its *context* (collection, consent, donor, as rules can
tell them) and its *item set* (what its holdings look like, in order); a *draw* is what is wanted of an item set.
"""

from __future__ import annotations

import threading
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from hashlib import blake2b
from operator import and_, itemgetter
from typing import Any, NamedTuple, assert_never

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from pyroaring import BitMap
from sqlalchemy import Connection, Row

from gateway.registry.index.conditions import (
    EVERYTHING,
    Among,
    Both,
    Condition,
    Either,
    Without,
    is_of_sheaf,
)
from gateway.registry.index.rows import Context, Item, Rows, age_on, agreed, item, person, rows_of
from gateway.tables import metadata

_HOLDING = metadata.tables["holding"]

#: No more units of one holding are ever asked for.
MOST_UNITS = 100
_PLACES = 64  # holdings in one sheaf at the most: a bit for each
_AT_ONCE = 500  # holdings looked for by one statement
_CHUNK = 1 << 17  # holdings worked on together
_TOLD = 100_000  # donors read between two tellings of progress
_KINDS = 32  # sets of kinds of which is kept what is wanted of each item set
_FRESH = 1 << 18  # new ids before all are sorted anew
NEVER = date.max.toordinal()

Whole = NDArray[np.integer[Any]]


class Numbers(dict[Any, int]):
    """Distinct values, numbered as they come."""

    def __init__(self, known: Iterable[Any] = ()) -> None:
        super().__init__()
        self.all: list[Any] = []
        for value in known:
            self[value]

    def __missing__(self, value: Any) -> int:
        number = self[value] = len(self.all)
        self.all.append(value)
        return number


class Ids:
    """Ids by number and numbers by id, in a third of the room that a dict of texts takes."""

    def __init__(
        self,
        text: bytes | memoryview = b"",
        ends: array[int] | None = None,
        hashes: array[int] | None = None,
    ) -> None:
        self.text, self.ends, self.hashes = (
            bytearray(text),
            ends or array("Q"),
            hashes or array("Q"),
        )
        self._fresh: dict[str, int] = {}  # those not yet among the sorted
        self._sort()

    def _sort(self) -> None:
        self._order = np.argsort(np.frombuffer(self.hashes, np.uint64)).astype(np.uint32)
        self._sorted = np.frombuffer(self.hashes, np.uint64)[self._order]
        self._fresh = {}

    def __getitem__(self, number: int) -> str:
        start = self.ends[number - 1] if number else 0
        return self.text[start : self.ends[number]].decode()

    def add(self, id_: str) -> int:
        """The number of an id that is not there yet."""
        self.text += id_.encode()
        self.ends.append(len(self.text))
        self.hashes.append(_hash(id_))
        self._fresh[id_] = len(self.ends) - 1
        if len(self._fresh) >= _FRESH:
            self._sort()
        return len(self.ends) - 1

    def find(self, id_: str) -> int | None:
        """The number of an id, if it has one."""
        found = self._fresh.get(id_)
        if found is not None:
            return found
        wanted = np.uint64(_hash(id_))
        place = int(np.searchsorted(self._sorted, wanted))
        while place < len(self._sorted) and self._sorted[place] == wanted:
            number = int(self._order[place])
            if self[number] == id_:
                return number
            place += 1
        return None


def _hash(id_: str) -> int:
    return int.from_bytes(blake2b(id_.encode(), digest_size=8).digest(), "little")


#: Columns, by name: what each keeps, and in which C type.
_COLUMNS = {
    # of donors
    "first_sheaf": "I",
    "sheaves": "H",  # how many
    "turns": "I",  # day (ordinal) on which a dated fact of the donor is another
    # of sheaves
    "donor": "I",
    "pattern": "I",
    "first": "I",  # of its holdings
    "ends": "I",  # day (ordinal) on which its consent ends, 0 for never
    "alone": "B",  # 1: its donor has no other; 0: has, or it is no more
    # of holdings
    "sheaf": "I",
    "free": "B",  # units, up to MOST_UNITS
    # of patterns
    "context": "I",
    "item_set": "I",
    # of contexts
    "collection": "I",
    "consent": "I",
    "person": "I",
}


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was found, one entry for all donors alike: who has one sheaf, and is not one of those apart.

    `contexts` and `draws` by entry, `donors` how many, `ends` the day (ordinal) on which the first of their
    consents ends. `apart`: of each other donor the id, and (context, draw, end) of each of its sheaves.
    """

    contexts: Whole
    draws: Whole
    donors: Whole
    ends: Whole
    apart: list[tuple[str, list[tuple[int, int, int]]]]
    selected: Selected


class Selected(NamedTuple):
    """Sheaves, and of each which of its holdings: a bit for each place, or none for all that are wanted."""

    sheaves: Whole
    places: Whole | None

    def narrowed(self, to: NDArray[np.bool_]) -> Selected:
        """Only some of the sheaves."""
        return Selected(self.sheaves[to], None if self.places is None else self.places[to])


class There:
    """The index as it stands under one version of the facts on one day."""

    def __init__(self, version: int, day: date) -> None:
        self.version, self.day = version, day
        self.numbering = object()  # told from that of any other index
        self.door = threading.RLock()  # of the index: nobody reads while it is brought up to date
        self.items, self.people, self.consents = Numbers(), Numbers(), Numbers([None])
        self.collections, self.contexts = Numbers(), Numbers()
        self.sets, self.patterns, self.draws = Numbers([()]), Numbers(), Numbers([()])
        self.ids = Ids()
        self.columns = {name: array(kind) for name, kind in _COLUMNS.items()}
        self.shown, self.live = BitMap(), BitMap()  # holdings to be had, sheaves that still are
        self.of_holdings: dict[tuple[str, str | int], BitMap] = defaultdict(BitMap)
        self.of_sheaves: dict[tuple[str, str | int], BitMap] = defaultdict(BitMap)
        self.changed = 0  # donors read anew since it was saved
        self.revision = (
            0  # rises whenever something is read anew: numbers found before are good no more
        )
        self._drawn: dict[frozenset[str], list[int]] = {}
        self._all: tuple[_Entries, Selected, Selected] | None = None

    def column(self, name: str) -> Whole:
        """A column to compute with; not to be kept, for the index cannot grow while it is."""
        return np.frombuffer(self.columns[name], dtype=np.dtype(_COLUMNS[name]))

    # -- reading -------------------------------------------------------------------------------

    def place(self, rows: Rows) -> list[tuple[Context, list[tuple[int, Row[Any]]], int]]:
        """The sheaves of a donor: context, (item, holding) in their order, and end; numbers new ones."""
        who = self.people[person(rows.donor, rows.withdrawals, self.day)]
        by: dict[tuple[str, str], list[tuple[int, Row[Any]]]] = defaultdict(list)
        for holding in rows.holdings:
            consent = rows.consents.get(holding.consent_id)
            one = item(holding, None if consent is None else consent.signed_on)
            of = (holding.collection_id, holding.consent_id or "")
            by[of].append((self.items[one], holding))
        found = []
        for (collection_id, consent_id), held in sorted(by.items(), key=itemgetter(0)):
            said, ends = None, None
            if consent_id:
                said, ends = agreed(rows.consents[consent_id], self.day)
            context = Context(self.collections[collection_id], self.consents[said], who)
            held.sort(key=lambda each: (each[0], each[1].id))
            for at in range(0, len(held), _PLACES):
                part = held[at : at + _PLACES]
                found.append((context, part, 0 if ends is None else ends.toordinal()))
        return found

    def read(self, every: Iterable[Rows], progress: Callable[[int], None] = lambda _: None) -> None:
        """Take these donors in, anew if they were there."""
        waiting = _Waiting(self)
        for number, rows in enumerate(every, start=1):
            self._take(rows, waiting)
            if len(waiting.holdings) >= _CHUNK:
                waiting.flush()
            if number % _TOLD == 0:
                progress(number)
        waiting.flush()
        self._all = None
        self.revision += 1

    def _take(self, rows: Rows, waiting: _Waiting) -> None:
        c = self.columns
        number = self.ids.find(rows.donor.id)
        if number is None:
            number = self.ids.add(rows.donor.id)
            for name in ("first_sheaf", "sheaves", "turns"):
                c[name].append(0)
        else:
            self._forget(number)
        c["turns"][number] = rows.turns(self.day)
        sheaves = self.place(rows)
        c["first_sheaf"][number], c["sheaves"][number] = len(c["donor"]), len(sheaves)
        for context, held, ends in sheaves:
            sheaf = len(c["donor"])
            of_context = self.contexts[context]
            if of_context == len(c["collection"]):
                for name, value in zip(Context._fields, context, strict=True):
                    c[name].append(value)
            pattern = self.patterns[of_context, self.sets[tuple([one for one, _ in held])]]
            if pattern == len(c["context"]):
                c["context"].append(of_context)
                c["item_set"].append(self.patterns.all[pattern][1])
            c["donor"].append(number)
            c["pattern"].append(pattern)
            c["first"].append(len(c["sheaf"]))
            c["ends"].append(ends)
            c["alone"].append(len(sheaves) == 1)
            waiting.sheaf(sheaf, held[0][1].collection_id, rows.donor)
            for one, holding in held:
                waiting.holding(len(c["sheaf"]), self.items.all[one], holding, rows.donor)
                c["sheaf"].append(sheaf)
                left = holding.units - holding.kept - holding.reserved
                c["free"].append(max(0, min(left, MOST_UNITS)))

    def _forget(self, donor: int) -> None:
        """What stood of a donor stands no more; its numbers are not given again."""
        c = self.columns
        first, many = c["first_sheaf"][donor], c["sheaves"][donor]
        for sheaf in range(first, first + many):
            self.live.discard(sheaf)
            c["alone"][sheaf] = 0
            start = c["first"][sheaf]
            self.shown.remove_range(start, start + self._size(sheaf))
        self.changed += 1

    def _size(self, sheaf: int) -> int:
        c = self.columns
        return len(self.sets.all[c["item_set"][c["pattern"][sheaf]]])

    # -- asking --------------------------------------------------------------------------------

    def where(  # noqa: PLR0911 - one arm, one kind of condition
        self, condition: Condition, located: Mapping[str, int], *, sheaves: bool
    ) -> BitMap:
        """The holdings, or (`sheaves`) the sheaves, of which a condition is true."""
        everything = self.live if sheaves else self.shown
        maps = self.of_sheaves if sheaves else self.of_holdings
        match condition:
            case Among(of="holding", values=values):
                return BitMap([located[str(one)] for one in values if one in located])
            case Among(of="donor", values=values):
                return self._of_donors(map(str, values), sheaves=sheaves)
            case Among(of="flag", values=values):
                return _union([maps[str(one), True] for one in values if (str(one), True) in maps])
            case Among(of=of, values=values):
                return _union([maps[of, one] for one in values if (of, one) in maps])
            case Both(parts=parts):
                found = [self.where(one, located, sheaves=sheaves) for one in parts]
                return reduce(and_, found) if found else everything
            case Either(parts=parts):
                return _union([self.where(one, located, sheaves=sheaves) for one in parts])
            case Without(part=part):
                return everything - self.where(part, located, sheaves=sheaves)
            case _:
                assert_never(condition)

    def near(
        self,
        one: tuple[Condition, frozenset[str]],
        other: tuple[Condition, frozenset[str]],
        located: Mapping[str, int],
        *,
        fewer: int,
    ) -> bool:
        """Whether two cohorts (each with its kinds) differ, but by fewer donors than that.

        By whoever has anything in one alone; and, of the same kinds, by whoever is in one alone: people,
        holdings and units are told, and by none of them may few be counted.
        """
        first, second = (self._holdings(*each, located) for each in (one, other))
        differing = [self._donors_of(first ^ second)]
        if one[1] == other[1]:
            differing.append(self._donors_of(first) ^ self._donors_of(second))
        return any(0 < np.count_nonzero(donors) < fewer for donors in differing)

    def _holdings(
        self, condition: Condition, kinds: frozenset[str], located: Mapping[str, int]
    ) -> BitMap:
        of_kinds = _union([self.of_holdings["kind", kind] for kind in sorted(kinds)])
        return self.where(condition, located, sheaves=False) & of_kinds & self.shown

    def _donors_of(self, holdings: BitMap) -> NDArray[np.bool_]:
        donors = np.zeros(len(self.columns["turns"]), dtype=bool)
        donors[self.column("donor")[self.column("sheaf")[_numbers_in(holdings)]]] = True
        return donors

    def _of_donors(self, ids: Iterable[str], *, sheaves: bool) -> BitMap:
        c, found = self.columns, BitMap()
        for sheaf in self.sheaves_of(ids):
            if sheaves:
                found.add(sheaf)
            else:
                found.add_range(c["first"][sheaf], c["first"][sheaf] + self._size(sheaf))
        return found

    def sheaves_of(self, ids: Iterable[str]) -> list[int]:
        """The sheaves of donors by their ids; of one it does not know, none."""
        c = self.columns
        numbers = [number for id_ in ids if (number := self.ids.find(id_)) is not None]
        return [
            sheaf
            for number in numbers
            for sheaf in range(
                c["first_sheaf"][number], c["first_sheaf"][number] + c["sheaves"][number]
            )
        ]

    def count(
        self,
        condition: Condition,
        kinds: frozenset[str],
        located: Mapping[str, int],
        *,
        apart: Iterable[str],
        without: Iterable[str],
    ) -> Counts:
        """Which sheaves hold something of these kinds that meets a condition, all alike in one entry.

        `apart` are donors (ids) to be given one by one; `without` donors to be left out.
        """
        c = {name: self.column(name) for name in _COLUMNS}
        special, left_out = (
            np.array(self.sheaves_of(each), dtype=np.intp) for each in (apart, without)
        )
        if condition == EVERYTHING and not len(special) and not len(left_out):
            entries, others, selected = self._everybody(c)
        else:
            selected = self._select(condition, kinds, located, c)
            there = np.ones(len(c["donor"]), dtype=bool)
            there[left_out] = False
            selected = selected.narrowed(there[selected.sheaves])
            alone = c["alone"].astype(bool)
            alone[special] = False
            single = alone[selected.sheaves]
            entries, others = (
                self._entries(selected.narrowed(single), c),
                selected.narrowed(~single),
            )
        drawn = self._drawn_by(entries, kinds, c)
        wanted = drawn > 0
        return Counts(
            contexts=c["context"][entries.patterns[wanted]],
            draws=drawn[wanted],
            donors=entries.donors[wanted],
            ends=entries.ends[wanted],
            apart=self._one_by_one(others, kinds, c),
            selected=selected,
        )

    def _select(
        self,
        condition: Condition,
        kinds: frozenset[str],
        located: Mapping[str, int],
        c: Mapping[str, Whole],
    ) -> Selected:
        if is_of_sheaf(condition):
            found = self.where(condition, located, sheaves=True) & self.live
            return Selected(_numbers_in(found), None)
        holdings = _numbers_in(self._holdings(condition, kinds, located))
        if not len(holdings):
            return Selected(holdings, None)
        sheaf_of = c["sheaf"][holdings]
        starts = np.concatenate([[0], np.flatnonzero(sheaf_of[1:] != sheaf_of[:-1]) + 1])
        sheaves, many = sheaf_of[starts], np.diff(starts, append=len(holdings))
        # Of most sheaves it is all that is wanted; only of the others is it told which.
        sizes = self._wanted_sizes(kinds)
        whole = many == sizes[c["item_set"][c["pattern"][sheaves]]]
        places = np.zeros(len(sheaves), dtype=np.uint64)
        if not whole.all():
            part = np.repeat(~whole, many)
            place = (holdings[part] - c["first"][sheaf_of[part]]).astype(np.uint64)
            bits = np.uint64(1) << place
            each = many[~whole]
            places[~whole] = np.bitwise_or.reduceat(bits, np.cumsum(each) - each)
        return Selected(sheaves, places)

    def _everybody(self, c: Mapping[str, Whole]) -> tuple[_Entries, Selected, Selected]:
        """All donors with one sheaf, the sheaves of the others, and all: found once between two changes."""
        if self._all is None:
            alone, live = c["alone"].astype(bool), _numbers_in(self.live)
            self._all = (
                self._entries(Selected(np.flatnonzero(alone), None), c),
                Selected(live[~alone[live]], None),
                Selected(live, None),
            )
        return self._all

    def _entries(self, selected: Selected, c: Mapping[str, Whole]) -> _Entries:
        """Sheaves that look alike, counted."""
        pattern, ends = c["pattern"][selected.sheaves], c["ends"][selected.sheaves]
        places = selected.places
        if places is None or not places.any():
            whole: Any = slice(None)
        else:
            whole = places == 0
        donors = np.bincount(pattern[whole], minlength=len(c["context"]))
        first = _first_ends(pattern[whole], ends[whole], len(donors))
        found = np.flatnonzero(donors)
        entries = _Entries(found, np.zeros(len(found), np.uint64), donors[found], first[found])
        if isinstance(whole, slice) or places is None:
            return entries
        pattern, ends, places = pattern[~whole], ends[~whole], places[~whole]
        order = np.lexsort((places, pattern))
        pattern, ends, places = pattern[order], ends[order], places[order]
        new = (pattern[1:] != pattern[:-1]) | (places[1:] != places[:-1])
        starts = np.concatenate([[0], np.flatnonzero(new) + 1])
        many = np.diff(starts, append=len(pattern))
        number = np.repeat(np.arange(len(starts)), many)
        partly = _Entries(
            pattern[starts], places[starts], many, _first_ends(number, ends, len(starts))
        )
        return _Entries(*(np.concatenate(both) for both in zip(entries, partly, strict=True)))

    def _drawn_by(self, entries: _Entries, kinds: frozenset[str], c: Mapping[str, Whole]) -> Whole:
        """The draw of each entry: what is wanted of its holdings; 0 for nothing."""
        sets = c["item_set"][entries.patterns]
        drawn = self._draws(kinds)[sets]
        for at in np.flatnonzero(entries.places):
            drawn[at] = self._draw(int(sets[at]), int(entries.places[at]), kinds)
        return drawn

    def _draws(self, kinds: frozenset[str]) -> Whole:
        """Item set → the draw of all that is wanted of it."""
        if len(self._drawn) > _KINDS:
            self._drawn.clear()
        known = self._drawn.setdefault(kinds, [])
        known += [self._draw(one, 0, kinds) for one in range(len(known), len(self.sets.all))]
        return np.array(known, dtype=np.uint32)

    def _draw(self, item_set: int, places: int, kinds: frozenset[str]) -> int:
        items = self.items.all
        return self.draws[
            tuple(
                [
                    one
                    for place, one in enumerate(self.sets.all[item_set])
                    if (not places or places >> place & 1)
                    and items[one].shown
                    and items[one].kind in kinds
                ]
            )
        ]

    def _wanted_sizes(self, kinds: frozenset[str]) -> Whole:
        draws = self._draws(kinds)
        sizes = np.array([len(one) for one in self.draws.all], dtype=np.int64)
        return sizes[draws]

    def _one_by_one(
        self, selected: Selected, kinds: frozenset[str], c: Mapping[str, Whole]
    ) -> list[tuple[str, list[tuple[int, int, int]]]]:
        found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        sheaves, draws = selected.sheaves, self._draws(kinds)
        patterns = c["pattern"][sheaves]
        columns = (
            c["donor"][sheaves],
            c["context"][patterns],
            c["item_set"][patterns],
            c["ends"][sheaves],
        )
        places = [0] * len(sheaves) if selected.places is None else selected.places.tolist()
        for donor, context, item_set, ends, some in zip(
            *(each.tolist() for each in columns), places, strict=True
        ):
            draw = self._draw(item_set, some, kinds) if some else int(draws[item_set])
            if draw:
                found[donor].append((context, draw, ends or NEVER))
        return [(self.ids[donor], each) for donor, each in found.items()]

    # -- finding the holdings again ------------------------------------------------------------

    def spread(
        self, selected: Selected, kinds: frozenset[str]
    ) -> Iterator[tuple[Whole, Whole, Whole]]:
        """The wanted holdings of sheaves, part by part: their sheaf, place in it, and item."""
        sizes = np.array([len(one) for one in self.sets.all], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        flat = np.array([one for each in self.sets.all for one in each], dtype=np.int64)
        wanted = np.array([one.shown and one.kind in kinds for one in self.items.all], dtype=bool)
        for at in range(0, len(selected.sheaves), _CHUNK):
            sheaves = selected.sheaves[at : at + _CHUNK]
            item_set = self.column("item_set")[self.column("pattern")[sheaves]]
            many = sizes[item_set]
            place = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
            one = flat[np.repeat(starts[item_set], many) + place]
            keep = wanted[one]
            if selected.places is not None:
                some = np.repeat(selected.places[at : at + _CHUNK], many)
                keep &= (some == 0) | (some >> place.astype(np.uint64) & np.uint64(1)).astype(bool)
            yield np.repeat(sheaves, many)[keep], place[keep], one[keep]

    def found_again(self, conn: Connection, sheaves: Whole, places: Whole) -> Iterator[Row[Any]]:
        """The rows of these holdings (by sheaf and place), as they stand in the caller's transaction.

        Raises `Outrun` where a donor's rows are no longer what was counted.
        """
        wanted: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        donors = self.column("donor")[sheaves].tolist()
        for donor, sheaf, place in zip(donors, sheaves.tolist(), places.tolist(), strict=True):
            wanted[donor][sheaf].add(place)
        for rows in rows_of(conn, [self.ids[donor] for donor in wanted]):
            for sheaf, held in self._verified(rows):
                some = wanted[self.columns["donor"][sheaf]].pop(sheaf, ())
                yield from (held[place][1] for place in sorted(some))
        if any(wanted.values()):
            raise Outrun("a donor who is gone")

    def _verified(self, rows: Rows) -> Iterator[tuple[int, list[tuple[int, Row[Any]]]]]:
        """The sheaves of a donor as their rows now are, which is as they were."""
        c, donor, sheaves = self.columns, self.ids.find(rows.donor.id), self.place(rows)
        if donor is None or len(sheaves) != c["sheaves"][donor]:
            raise Outrun(rows.donor.id)
        for sheaf, (context, held, _) in enumerate(sheaves, start=c["first_sheaf"][donor]):
            of_context, item_set = self.patterns.all[c["pattern"][sheaf]]
            same_set = self.sets.all[item_set] == tuple([one for one, _ in held])
            if self.contexts.all[of_context] != context or not same_set:
                raise Outrun(rows.donor.id)
            yield sheaf, held

    def located(
        self, conn: Connection, holdings: Iterable[str], without: Iterable[str]
    ) -> dict[str, int]:
        """The numbers of holdings by their ids; donors `without` are passed over."""
        wanted, h = sorted(holdings), _HOLDING.c
        donors: set[str] = set()
        for at in range(0, len(wanted), _AT_ONCE):
            some = sa.select(h.donor_id).where(h.id.in_(wanted[at : at + _AT_ONCE])).distinct()
            donors |= set(conn.execute(some).scalars())
        found, ids = {}, set(wanted)
        for rows in rows_of(conn, sorted(donors - set(without))):
            for sheaf, held in self._verified(rows):
                for place, (_, holding) in enumerate(held):
                    if holding.id in ids:
                        found[holding.id] = self.columns["first"][sheaf] + place
        return found


class _Entries(NamedTuple):
    """Sheaves of one pattern and places: how many donors, and the day (ordinal) the first consent ends."""

    patterns: Whole
    places: Whole
    donors: Whole
    ends: Whole


class Outrun(Exception):  # noqa: N818 - no error: whoever asks reads anew
    """A donor's rows are not what the index last saw."""


def _first_ends(groups: Whole, ends: Whole, many: int) -> Whole:
    """By group the first day (ordinal) on which something ends; `NEVER` for none."""
    first = np.full(many, NEVER, dtype=np.int64)
    some = ends > 0
    np.minimum.at(first, groups[some], ends[some])
    return first


def _union(maps: Sequence[BitMap]) -> BitMap:
    return BitMap.union(*maps) if maps else BitMap()


def _numbers_in(found: BitMap) -> Whole:
    return np.frombuffer(found.to_array(), dtype=np.uint32)


class _Waiting:
    """Attributes of new holdings and sheaves, put into the bitmaps many at once."""

    def __init__(self, there: There) -> None:
        self._there = there
        self._forget()

    def _forget(self) -> None:
        self.holdings: list[int] = []
        self._attributes: dict[tuple[str, str | int], list[int]] = defaultdict(list)
        self._of_sheaf: dict[tuple[str, str | int], list[int]] = defaultdict(list)
        self._shown: list[int] = []
        self._sheaves: list[int] = []
        self._said: list[tuple[str, str | int]] = []

    def sheaf(self, number: int, collection_id: str, donor: Row[Any]) -> None:
        """A new sheaf; the holdings that follow are its own."""
        self._said = [("collection", collection_id)]
        if donor.sex is not None:
            self._said.append(("sex", donor.sex))
        if donor.pedigree:
            self._said.append(("pedigree", True))
        self._sheaves.append(number)
        for one in self._said:
            self._of_sheaf[one].append(number)

    def holding(self, number: int, one: Item, row: Row[Any], donor: Row[Any]) -> None:
        """A new holding."""
        self.holdings.append(number)
        if not one.shown:
            return  # nobody can be given it, so nobody finds it
        self._shown.append(number)
        said = [*self._said, ("kind", one.kind)]
        if one.data_class is not None:
            said.append(("data_class", one.data_class))
        if row.disease is not None:
            said.append(("disease", row.disease))
        if row.collected_on is not None:
            said.append(("collected", row.collected_on.year))
            if donor.born is not None and donor.born <= row.collected_on:
                said.append(("age", age_on(donor.born, row.collected_on)))
        said += [
            (flag, True)
            for flag in ("contains_cells", "extracted_nucleic_acid", "collected_abroad")
            if getattr(one, flag)
        ]
        for each in said:
            self._attributes[each].append(number)

    def flush(self) -> None:
        """Put all that waits into the index."""
        there = self._there
        for maps, waiting in (
            (there.of_holdings, self._attributes),
            (there.of_sheaves, self._of_sheaf),
        ):
            for key, numbers in waiting.items():
                maps[key].update(numbers)
        there.shown.update(self._shown)
        there.live.update(self._sheaves)
        self._forget()
