"""Cohorts: the asked-for holdings reduced to strata, and permitted strata turned back into ids.

The rules it keeps: the strata carry no id of a donor or sample; a holding is in exactly one stratum, with
all others that look the same to every rule on that day; what left the bank's shelves (`available` false,
no units), stays for its donor or was promised to another is not asked for. What is asked for by name is read
row by row; any other cohort is counted with the index, and both ways make the same strata.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import NOTHING_KEPT, Recall
from gateway.registry import ledger
from gateway.registry.ask import ItemsAsked
from gateway.registry.counters import Counted
from gateway.registry.index.conditions import EVERYTHING, Condition
from gateway.registry.index.kept import Index
from gateway.registry.index.there import Outrun
from gateway.registry.ledger import NOTHING_HELD, Own
from gateway.registry.naming import Naming
from gateway.registry.naming import where as meeting
from gateway.registry.strata import Key, Named, Reader, Teller
from gateway.registry.tallies import ByIndex, Tally, by_index
from gateway.tables import metadata
from policies.consent import Profile, ProfileId
from policies.disease import DiseaseTree
from policies.request import DonorGroup, Stratum, StratumId

_HOLDING = metadata.tables["holding"]

#: What is read of a holding.
_READ = (
    "id",
    "donor_id",
    "consent_id",
    "collection_id",
    "kind",
    "item_class",
    "data_class",
    "contains_cells",
    "extracted_nucleic_acid",
    "derived",
    "collected_on",
    "collected_abroad",
    "units",
    "kept",
    "reserved",
    "available",
    "volume_ul",
    "bytes",
)
#: Up to so many holdings the database is asked by name for what belongs to them.
_FEW = 500
#: More donors than that are not read beside the index: below the variables either database takes.
_MANY = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """One holding, and how many units of it are asked for (1 for a data item)."""

    holding_id: str
    donor_id: str
    units: int
    kind: str
    data_class: str | None
    material: bool = True  # or of unknown class, which counts as material
    volume_ul: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Which holdings make up each stratum of one question; never leaves the bank.

    `read` are those whose rows were read; `found` the others, counted with the index.
    """

    strata: Mapping[StratumId, Key]
    read: Mapping[Key, tuple[Picked, ...]]
    asked: Asked | None = None
    found: ByIndex | None = None

    def select(self, conn: Connection, strata: Iterable[StratumId]) -> tuple[Picked, ...]:
        """The holdings of these strata, by holding id. Raises KeyError on a stratum not in it.

        Those found with the index are read in the caller's transaction; `ProblemError`
        `decision_failed` where one is not what was counted.
        """
        keys = {self.strata[stratum] for stratum in strata}
        picked = [item for key in keys for item in self.read.get(key, ())]
        if self.found is not None and self.asked is not None:
            rows = self.found.rows(conn, keys)
            picked += [_picked(row, self.asked, whole=False) for row in rows]
        return tuple(sorted(picked, key=lambda item: item.holding_id))


NOBODY = Cohort(strata={}, read={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """A cohort with what the PDP is told of it."""

    cohort: Cohort
    strata: tuple[Stratum, ...]
    profiles: Mapping[ProfileId, Profile]
    donor_groups: tuple[DonorGroup, ...]
    rests_on: frozenset[tuple[str, str]] = frozenset()  # forms and collections, as (kind, id)

    def amount(self, conn: Connection, measure: str, kind: str) -> int | None:
        """How much of a measure all of it comes to on a paper of a kind; None where that is not known."""
        if measure in {"volume_ul", "bytes"}:
            return ledger.amount(measure, kind, self.cohort.select(conn, self.cohort.strata))
        counted = {
            one.id
            for one in self.strata
            if kind not in ledger.AT_THE_BORDER or one.facts.get("item.class") != "information"
        }
        if measure == "units":
            return sum(one.units for one in self.strata if one.id in counted)
        return sum(g.people for g in self.donor_groups if not counted.isdisjoint(g.strata))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The cohort an ask names, its names resolved: a condition on holdings."""

    items: ItemsAsked
    condition: Condition
    named: frozenset[str]  # ids of holdings that some part of it lists
    collections: Mapping[str, Row[Any]]  # every collection it may reach into, by id
    own: Own

    @cached_property
    def where(self) -> tuple[sa.ColumnElement[bool], ...]:
        """The same as a condition on rows: built once, and not at all where the index answers."""
        h = _HOLDING.c
        return (
            h.kind.in_(sorted(set(self.items.kinds))),
            h.available.is_(True),
            ledger.tubes_of(self.own),
            *([] if self.condition == EVERYTHING else [meeting(self.condition)]),
        )

    @property
    def is_list(self) -> bool:
        """Whether it names what it wants one by one: then the rows are read, and not the index."""
        return bool(self.items.cohort.samples)


def resolve(
    conn: Connection,
    items: ItemsAsked,
    diseases: DiseaseTree,
    own: Own = NOTHING_HELD,
    *,
    recall: Recall = NOTHING_KEPT,
) -> Asked:
    """The condition an ask puts on holdings; `own`: what is promised to whoever asks.

    Raises `ProblemError` `unknown_sample` or `unknown_term`, pointing at each name nobody knows, and
    `invalid_request` for a cohort of too many parts.
    """
    naming = Naming(conn, diseases, recall)
    condition = naming.condition(items.cohort, "/items/cohort")
    return Asked(
        items=items,
        condition=condition,
        named=frozenset(naming.holdings),
        collections=naming.collections(items.cohort, "/items/cohort"),
        own=own,
    )


def dataset_digests(conn: Connection, asked: Asked) -> frozenset[str] | None:
    """The digest of every data set an ask reaches into; None if it asks for no data.

    A data set is all the bank's data of one kind in one collection: SHA-256 over its items' codes and
    digests by code. Whoever leaves it or is not asked for does not change it; a data item added or
    replaced does.
    """
    h = _HOLDING.c
    touched = sa.select(h.collection_id, h.kind).where(*asked.where, h.item_class == "information")
    pairs = sorted({(row.collection_id, row.kind) for row in conn.execute(touched.distinct())})
    if not pairs:
        return None
    digests: dict[tuple[str, str], Any] = {pair: hashlib.sha256() for pair in pairs}
    rows = conn.execute(
        sa.select(h.collection_id, h.kind, h.code, h.sha256)
        .where(
            h.item_class == "information",
            h.collection_id.in_(sorted({collection for collection, _ in pairs})),
            h.kind.in_(sorted({kind for _, kind in pairs})),
        )
        .order_by(h.code)
    )
    for collection, kind, code, sha256 in rows:
        digest = digests.get((collection, kind))
        if digest is not None:
            digest.update(f"{code}\t{sha256}\n".encode())
    return frozenset(
        hashlib.sha256(f"{collection}\t{kind}\t{digest.hexdigest()}".encode()).hexdigest()
        for (collection, kind), digest in digests.items()
    )


def read(
    conn: Connection, asked: Asked, donors: frozenset[str] | None = None
) -> Sequence[Row[Any]]:
    """The holdings asked for (of these donors), by id: what rules tell them by and what is free of them."""
    wanted = sa.select(*(_HOLDING.c[name] for name in _READ)).where(*asked.where)
    if donors is not None:
        wanted = wanted.where(_HOLDING.c.donor_id.in_(sorted(donors)))
    return conn.execute(wanted.order_by(_HOLDING.c.id)).all()


def named_by(
    asked: Asked,
    holdings: Sequence[Row[Any]],
    column: str,
    donors: frozenset[str] | None = None,
) -> Named:
    """What the holdings asked for name in a column: the values while they are few, else a statement."""
    if len(holdings) <= _FEW:
        return sorted({getattr(row, column) for row in holdings} - {None})
    named = sa.select(_HOLDING.c[column]).where(*asked.where)
    return named if donors is None else named.where(_HOLDING.c.donor_id.in_(sorted(donors)))


def reduce(
    conn: Connection,
    asked: Asked,
    holdings: Sequence[Row[Any]],
    teller: Teller,
    counted: Counted,
    *,
    only: frozenset[str] | None,
) -> Reduced:
    """Reduce the asked-for holdings to strata, by the rows that were read.

    `only` these of them; `counted`: what was given before.
    """
    tally = Tally(teller, counted.already)
    read_ = _by_rows(conn, asked, holdings, tally, only=only)
    return _reduced(asked, tally, read_, None)


def reduce_by_index(
    conn: Connection,
    index: Index,
    asked: Asked,
    teller: Teller,
    counted: Counted,
    *,
    version: int,
) -> Reduced | None:
    """The same with the cohort index; None where it cannot speak.

    Of whoever's rows have changed in this very transaction, and of what is promised to whoever asks, it
    knows nothing: those are read.
    """
    with index.under(conn, version, teller.fit.as_of) as speaks:
        if speaks is None:
            return None
        there, behind = speaks
        apart = behind | _promised(conn, asked.own)
        if len(apart) > _MANY:
            return None
        tally = Tally(teller, counted.already)
        read_: dict[Key, tuple[Picked, ...]] = {}
        if apart:
            rows = read(conn, asked, apart)
            read_ = _by_rows(conn, asked, rows, tally, donors=apart)
        try:
            found = by_index(
                conn,
                there,
                asked.condition,
                frozenset(asked.items.kinds),
                tally,
                counted,
                units_each=asked.items.units_each,
                named=asked.named,
                without=apart,
            )
        except Outrun:
            return None
        return _reduced(asked, tally, read_, found)


def _promised(conn: Connection, own: Own) -> frozenset[str]:
    """The donors of what these grants hold."""
    if not own.grants:
        return frozenset()
    i = metadata.tables["grant_item"].c
    held = sa.select(i.donor_id).where(i.grant_id.in_(sorted(own.grants))).distinct()
    return frozenset(conn.execute(held).scalars())


def _by_rows(
    conn: Connection,
    asked: Asked,
    holdings: Sequence[Row[Any]],
    tally: Tally,
    *,
    only: frozenset[str] | None = None,
    donors: frozenset[str] | None = None,
) -> dict[Key, tuple[Picked, ...]]:
    reader = Reader(
        conn,
        tally.teller,
        donors=named_by(asked, holdings, "donor_id", donors),
        consent_ids=named_by(asked, holdings, "consent_id", donors),
    )
    picked: dict[Key, list[Picked]] = defaultdict(list)
    strata: dict[str, set[int]] = defaultdict(set)
    for row in holdings:
        if only is not None and row.id not in only:
            continue
        key, ends = reader.key(row)
        one, number = _picked(row, asked, whole=only is not None), tally.number(key)
        picked[key].append(one)
        strata[row.donor_id].add(number)
        tally.items[number] += 1
        tally.units[number] += one.units
        if ends is not None:
            tally.ends_on(number, ends)
    for donor_id, numbers in strata.items():
        tally.people(frozenset(numbers), 1, already=donor_id in tally.already)
    return {key: tuple(each) for key, each in picked.items()}


def _reduced(
    asked: Asked, tally: Tally, read_: dict[Key, tuple[Picked, ...]], found: ByIndex | None
) -> Reduced:
    order = tally.order()
    strata = tally.strata(order)
    keys = {one.id: tally.keys[number] for one, number in zip(strata, order, strict=True)}
    return Reduced(
        cohort=Cohort(strata=keys, read=read_, asked=asked, found=found),
        strata=strata,
        profiles=tally.profiles(),
        donor_groups=tally.groups(order),
        rests_on=frozenset(tally.teller.rests_on),
    )


def _picked(row: Row[Any], asked: Asked, *, whole: bool) -> Picked:
    """A holding, with as many units as are asked for and free, or (`whole`) as were promised."""
    material, mine = row.item_class != "information", asked.own.tubes.get(row.id, 0)
    free = row.units - row.kept - row.reserved + mine
    units = (mine if whole else min(asked.items.units_each, free)) if material else 1
    return Picked(
        holding_id=row.id,
        donor_id=row.donor_id,
        units=units,
        kind=row.kind,
        data_class=row.data_class,
        material=material,
        volume_ul=row.volume_ul * units if material and row.volume_ul is not None else None,
        bytes=None if material else row.bytes,
    )
