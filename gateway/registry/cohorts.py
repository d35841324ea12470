"""Cohorts: the asked-for holdings reduced to strata, and permitted strata turned back into ids.

The rules it keeps: the strata carry no id of a donor or sample; a holding is in exactly one stratum, with
all others that look the same to every rule on that day; what left the bank's shelves (`available` false,
no units), stays for its donor or was promised to another is not asked for. Five statements however large
the cohort; the rest is comparing stored dates with the day.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import NOTHING_KEPT, Recall
from gateway.errors import FieldError, ProblemError
from gateway.registry import ledger
from gateway.registry.ask import CohortAsked, ItemsAsked
from gateway.registry.counters import Counted
from gateway.registry.determinations import Found
from gateway.registry.ledger import NOTHING_HELD, Own
from gateway.registry.papers import Fit, Paper
from gateway.registry.strata import HELD, Key, Named, Reader
from gateway.tables import metadata
from policies.consent import Profile, ProfileId
from policies.disease import DiseaseTree, UnknownDiseaseError
from policies.request import DonorGroup, Stratum, StratumId, Value

_HOLDING = metadata.tables["holding"]
_DONOR = metadata.tables["donor"]
_COLLECTION = metadata.tables["collection"]

# Said once: to build a statement costs more than to run it.
_DONORS_BY_CODE, _HOLDINGS_BY_CODE = (
    sa.select(table.c.id, table.c.code).where(
        table.c.code.in_(sa.bindparam("codes", expanding=True))
    )
    for table in (_DONOR, _HOLDING)
)
#: What is read of a holding beside what rules tell it by: what is free of it, and how large it is.
_SHELF = ("kept", "reserved", "volume_ul", "bytes")
#: Up to so many holdings the database is asked by name for what belongs to them.
_FEW = 500
#: So many unknown names are listed at the most in one answer.
_NAMED = 20


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
    """Which holdings make up each stratum of one question; never leaves the bank."""

    strata: Mapping[StratumId, tuple[Picked, ...]]

    def select(self, strata: Iterable[StratumId]) -> tuple[Picked, ...]:
        """The holdings of these strata, by holding id. Raises KeyError on a stratum not in it."""
        picked = [item for stratum in set(strata) for item in self.strata[stratum]]
        return tuple(sorted(picked, key=lambda item: item.holding_id))


NOBODY = Cohort(strata={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """A cohort with what the PDP is told of it."""

    cohort: Cohort
    strata: tuple[Stratum, ...]
    profiles: Mapping[ProfileId, Profile]
    donor_groups: tuple[DonorGroup, ...]
    rests_on: frozenset[tuple[str, str]] = frozenset()  # forms and collections, as (kind, id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The cohort an ask names, its names resolved: a condition on holdings."""

    items: ItemsAsked
    where: tuple[sa.ColumnElement[bool], ...]
    collections: Mapping[str, Row[Any]]  # every collection it reaches into, by id
    own: Own


def resolve(
    conn: Connection,
    items: ItemsAsked,
    diseases: DiseaseTree,
    own: Own = NOTHING_HELD,
    *,
    recall: Recall = NOTHING_KEPT,
) -> Asked:
    """The condition an ask puts on holdings; `own`: what is promised to whoever asks.

    Raises `ProblemError` `unknown_sample` or `unknown_term`, pointing at each name nobody knows.
    """
    cohort, h = items.cohort, _HOLDING.c
    where: list[sa.ColumnElement[bool]] = [
        h.kind.in_(sorted(set(items.kinds))),
        h.available.is_(True),
        ledger.tubes_of(own),
    ]
    named = tuple(cohort.collections)
    collections = recall(("collections", named), lambda: _collections(conn, cohort))
    if cohort.collections:
        where.append(h.collection_id.in_(sorted(collections)))
    if cohort.sex is not None:
        where.append(h.donor_id.in_(sa.select(_DONOR.c.id).where(_DONOR.c.sex == cohort.sex)))
    if cohort.disease is not None:
        try:
            terms = {cohort.disease, *diseases.descendants(cohort.disease)}
        except UnknownDiseaseError as error:
            wrong = FieldError(pointer="/items/cohort/disease", detail=str(error))
            raise ProblemError("unknown_term", str(error), errors=(wrong,)) from error
        where.append(h.disease.in_(sorted(terms)))
    if cohort.samples:
        where.append(_samples(conn, cohort))
    return Asked(items=items, where=tuple(where), collections=collections, own=own)


def _collections(conn: Connection, cohort: CohortAsked) -> dict[str, Row[Any]]:
    """The collections named, by id or code, or all."""
    named, c = sorted(set(cohort.collections)), _COLLECTION.c
    wanted = sa.or_(c.id.in_(named), c.code.in_(named)) if named else sa.true()
    rows = conn.execute(sa.select(_COLLECTION).where(wanted)).all()
    known = {row.id for row in rows} | {row.code for row in rows}
    wrong = tuple(
        FieldError(
            pointer=f"/items/cohort/collections/{index}", detail=f"there is no collection `{name}`"
        )
        for index, name in enumerate(cohort.collections)
        if name not in known
    )
    if wrong:
        raise ProblemError("unknown_term", wrong[0].detail, errors=wrong[:_NAMED])
    return {row.id: row for row in rows}


def _samples(conn: Connection, cohort: CohortAsked) -> sa.ColumnElement[bool]:
    names = sorted(set(cohort.samples))
    donors = {code: id_ for id_, code in conn.execute(_DONORS_BY_CODE, {"codes": names})}
    holdings = {code: id_ for id_, code in conn.execute(_HOLDINGS_BY_CODE, {"codes": names})}
    unknown = [
        FieldError(pointer=f"/items/cohort/samples/{index}", detail=f"there is no sample `{name}`")
        for index, name in enumerate(cohort.samples)
        if name not in donors and name not in holdings
    ]
    if unknown:
        detail = unknown[0].detail
        if len(unknown) > 1:
            detail += f", and {len(unknown) - 1} more"
        raise ProblemError("unknown_sample", detail, errors=tuple(unknown[:_NAMED]))
    # Only what was named: an empty list beside an OR keeps the index from being used.
    named = [
        column.in_(sorted(ids.values()))
        for column, ids in ((_HOLDING.c.donor_id, donors), (_HOLDING.c.id, holdings))
        if ids
    ]
    return sa.or_(*named)


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


def read(conn: Connection, asked: Asked) -> Sequence[Row[Any]]:
    """The holdings asked for, by id: what rules tell them by and what is free of them."""
    wanted = sa.select(*(_HOLDING.c[name] for name in (*HELD, *_SHELF))).where(*asked.where)
    return conn.execute(wanted.order_by(_HOLDING.c.id)).all()


def named_by(asked: Asked, holdings: Sequence[Row[Any]], column: str) -> Named:
    """What the holdings asked for name in a column: the values while they are few, else a statement."""
    if len(holdings) <= _FEW:
        return sorted({getattr(row, column) for row in holdings} - {None})
    return sa.select(_HOLDING.c[column]).where(*asked.where)


def reduce(  # noqa: PLR0913 - everything a holding is compared with, each once
    conn: Connection,
    asked: Asked,
    holdings: Sequence[Row[Any]],
    *,
    fit: Fit,
    found: Found,
    papers: tuple[Paper, ...],
    counted: Counted,
    purpose: str,
    only: frozenset[str] | None,
    recall: Recall = NOTHING_KEPT,
) -> Reduced:
    """Reduce the asked-for holdings to strata as of `fit.as_of`.

    1 read their consents, donors, withdrawals and forms; 2 number what rules can tell apart;
    3 sort every holding into its stratum; 4 count. `holdings` are those `read`; `counted`: what was given
    before.
    """
    reader = Reader(
        conn,
        donors=named_by(asked, holdings, "donor_id"),
        consent_ids=named_by(asked, holdings, "consent_id"),
        kinds=frozenset(asked.items.kinds),
        collections=asked.collections,
        fit=fit,
        found=found,
        papers=papers,
        counted=counted,
        purpose=purpose,
        recall=recall,
    )
    strata: dict[Key, list[Picked]] = defaultdict(list)
    expiries: dict[Key, date] = {}
    for row in holdings:
        if only is not None and row.id not in only:
            continue
        key, expiry = reader.key(row[: len(HELD)])
        strata[key].append(_picked(row, asked, whole=only is not None))
        if expiry is not None and expiry < expiries.get(key, date.max):
            expiries[key] = expiry
    return _counted(strata, expiries, reader, counted.already)


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


def _counted(
    strata: Mapping[Key, list[Picked]],
    expiries: Mapping[Key, date],
    reader: Reader,
    already: frozenset[str],
) -> Reduced:
    told: list[tuple[dict[str, Value], Key]] = []
    for key in strata:
        facts = reader.facts(key)
        if key in expiries:
            facts["consent.earliest_expiry"] = expiries[key]
        told.append((facts, key))
    # Numbered by what they say, so that the same register gives the same document.
    told.sort(key=lambda each: (each[1].profile, str(each[0])))
    cohort: dict[StratumId, tuple[Picked, ...]] = {}
    counted: list[Stratum] = []
    places: dict[str, list[StratumId]] = defaultdict(list)
    for number, (facts, key) in enumerate(told, start=1):
        stratum, picked = StratumId(f"s{number}"), tuple(strata[key])
        cohort[stratum] = picked
        people = {item.donor_id for item in picked}
        for donor in people:
            places[donor].append(stratum)
        counted.append(
            Stratum(
                id=stratum,
                profile=key.profile,
                facts=facts,
                items=len(picked),
                units=sum(item.units for item in picked),
                people=len(people),
            )
        )
    groups = Counter((tuple(where), donor in already) for donor, where in places.items())
    used = {key.profile for key in strata}
    return Reduced(
        cohort=Cohort(strata=cohort),
        strata=tuple(counted),
        profiles={id_: each for id_, each in sorted(reader.profiles.items()) if id_ in used},
        donor_groups=tuple(
            DonorGroup(strata=where, people=people, already=before)
            for (where, before), people in sorted(groups.items())
        ),
        rests_on=frozenset(reader.rests_on),
    )
