"""What a cohort names, resolved: a condition on holdings, and the same as a condition on their rows.

The rules it keeps: a name that nobody knows refuses the whole request, each pointed at; what the bank does not
know of a holding meets no condition, and so is not left out by a condition's not being met either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, assert_never

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import Recall
from gateway.errors import FieldError, ProblemError
from gateway.registry.ask import CohortAsked, Span
from gateway.registry.index.conditions import (
    Among,
    Both,
    Condition,
    Either,
    Without,
)
from gateway.tables import metadata
from policies.disease import DiseaseTree, UnknownDiseaseError

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
#: So many unknown names are listed at the most in one answer.
_NAMED = 20
#: A cohort is put together of so many parts at the most, and no deeper.
PARTS, DEEP = 100, 6
#: No year and no age lies beyond.
_YEARS, _AGES = range(1900, 2201), range(151)


class Naming:
    """Resolves the names of one cohort. Owns what it read."""

    def __init__(self, conn: Connection, diseases: DiseaseTree, recall: Recall) -> None:
        self._conn, self._diseases, self._recall = conn, diseases, recall
        self._parts = 0
        #: Ids of the holdings that some part lists.
        self.holdings: set[str] = set()

    def condition(self, cohort: CohortAsked, pointer: str, deep: int = 1) -> Condition:
        """The condition a cohort puts on holdings.

        Raises `ProblemError` `unknown_sample`, `unknown_term`, or `invalid_request` for too many parts.
        """
        self._parts += 1
        if self._parts > PARTS or deep > DEEP:
            detail = f"a cohort has at most {PARTS} parts, {DEEP} deep"
            wrong = (FieldError(pointer=pointer, detail=detail),)
            raise ProblemError("invalid_request", detail, errors=wrong)
        parts = [*self._own(cohort, pointer)]
        for name, together in (("any_of", Either), ("all_of", Both), ("none_of", Either)):
            asked: list[CohortAsked] = getattr(cohort, name)
            if asked:
                each = tuple(
                    self.condition(part, f"{pointer}/{name}/{index}", deep + 1)
                    for index, part in enumerate(asked)
                )
                found: Condition = together(parts=each)
                parts.append(Without(part=found) if name == "none_of" else found)
        return parts[0] if len(parts) == 1 else Both(parts=tuple(parts))

    def _own(self, cohort: CohortAsked, pointer: str) -> Iterator[Condition]:
        if cohort.collections:
            yield Among(of="collection", values=frozenset(self.collections(cohort, pointer).keys()))
        listed: tuple[tuple[str, Iterable[str | int]], ...] = (
            ("sex", [] if cohort.sex is None else [cohort.sex]),
            ("kind", cohort.kinds),
            ("data_class", cohort.data_classes),
            *(("flag", [flag]) for flag in sorted(set(cohort.flags))),
        )
        for of, values in listed:
            if values:
                yield Among(of=of, values=frozenset(values))
        for of, span, known in (
            ("collected", cohort.collected, _YEARS),
            ("age", cohort.age, _AGES),
        ):
            if span is not None:
                yield Among(of=of, values=_within(span, known))
        if cohort.disease is not None:
            try:
                terms = {cohort.disease, *self._diseases.descendants(cohort.disease)}
            except UnknownDiseaseError as error:
                wrong = FieldError(pointer=f"{pointer}/disease", detail=str(error))
                raise ProblemError("unknown_term", str(error), errors=(wrong,)) from error
            yield Among(of="disease", values=frozenset(terms))
        if cohort.samples:
            yield self._samples(cohort, pointer)

    def collections(self, cohort: CohortAsked, pointer: str) -> Mapping[str, Row[Any]]:
        """The collections a cohort names, by id or code, or all; by id."""
        key = ("collections", tuple(cohort.collections))
        return self._recall(key, lambda: self._collections(cohort, pointer))

    def _collections(self, cohort: CohortAsked, pointer: str) -> Mapping[str, Row[Any]]:
        named, c = sorted(set(cohort.collections)), _COLLECTION.c
        wanted = sa.or_(c.id.in_(named), c.code.in_(named)) if named else sa.true()
        rows = self._conn.execute(sa.select(_COLLECTION).where(wanted)).all()
        known = {row.id for row in rows} | {row.code for row in rows}
        wrong = tuple(
            FieldError(
                pointer=f"{pointer}/collections/{index}", detail=f"there is no collection `{name}`"
            )
            for index, name in enumerate(cohort.collections)
            if name not in known
        )
        if wrong:
            raise ProblemError("unknown_term", wrong[0].detail, errors=wrong[:_NAMED])
        return {row.id: row for row in rows}

    def _samples(self, cohort: CohortAsked, pointer: str) -> Condition:
        names = {"codes": sorted(set(cohort.samples))}
        donors = {code: id_ for id_, code in self._conn.execute(_DONORS_BY_CODE, names)}
        holdings = {code: id_ for id_, code in self._conn.execute(_HOLDINGS_BY_CODE, names)}
        unknown = [
            FieldError(pointer=f"{pointer}/samples/{index}", detail=f"there is no sample `{name}`")
            for index, name in enumerate(cohort.samples)
            if name not in donors and name not in holdings
        ]
        if unknown:
            detail = unknown[0].detail
            if len(unknown) > 1:
                detail += f", and {len(unknown) - 1} more"
            raise ProblemError("unknown_sample", detail, errors=tuple(unknown[:_NAMED]))
        self.holdings |= set(holdings.values())
        # Only what was named: an empty list beside an OR keeps an index of the database from being used.
        listed = [
            Among(of=of, values=frozenset(ids.values()))
            for of, ids in (("donor", donors), ("holding", holdings))
            if ids
        ]
        return listed[0] if len(listed) == 1 else Either(parts=tuple(listed))


def _within(span: Span, known: range) -> frozenset[int]:
    first = known.start if span.first is None else max(span.first, known.start)
    last = known.stop - 1 if span.last is None else min(span.last, known.stop - 1)
    return frozenset(range(first, last + 1))


def where(condition: Condition) -> sa.ColumnElement[bool]:
    """A condition as one on rows of `holding`; never NULL."""
    match condition:
        case Among():
            return _among(condition)
        case Both(parts=parts):
            return sa.and_(sa.true(), *map(where, parts))
        case Either(parts=parts):
            return sa.or_(sa.false(), *map(where, parts))
        case Without(part=part):
            return sa.not_(where(part))
        case _:
            assert_never(condition)


_COLUMNS = {
    "kind": _HOLDING.c.kind,
    "data_class": _HOLDING.c.data_class,
    "collection": _HOLDING.c.collection_id,
    "disease": _HOLDING.c.disease,
    "donor": _HOLDING.c.donor_id,
    "holding": _HOLDING.c.id,
}


def _among(asked: Among) -> sa.ColumnElement[bool]:
    h, d = _HOLDING.c, _DONOR.c
    values: list[Any] = sorted(asked.values)
    match asked.of:
        case "sex":
            return h.donor_id.in_(sa.select(d.id).where(d.sex.in_(values)))
        case "flag":
            return sa.or_(sa.false(), *map(_flagged, values))
        case "collected":
            return _known(h.collected_on, sa.extract("year", h.collected_on).in_(values))
        case "age":
            of = sa.select(_age(d.born, h.collected_on)).where(
                d.id == h.donor_id, d.born <= h.collected_on
            )
            return _known(of.scalar_subquery(), of.scalar_subquery().in_(values))
        case _:
            column = _COLUMNS[asked.of]
            found = column.in_(values)
            return _known(column, found) if column.nullable else found


def _known(column: sa.ColumnElement[Any], found: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """What is not known is not so: `NOT` of it must not be NULL."""
    return sa.and_(column.is_not(None), found)


def _flagged(flag: str) -> sa.ColumnElement[bool]:
    h, d = _HOLDING.c, _DONOR.c
    if flag == "pedigree":
        return h.donor_id.in_(sa.select(d.id).where(d.pedigree.is_(True)))
    return _known(h[flag], h[flag].is_(True))


def _age(born: sa.ColumnElement[Any], day: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """Full years on a day, as `index.rows.age_on` counts them."""
    later = [sa.extract("month", one) * 100 + sa.extract("day", one) for one in (born, day)]
    years = sa.extract("year", day) - sa.extract("year", born)
    return years - sa.case((later[1] < later[0], 1), else_=0)
