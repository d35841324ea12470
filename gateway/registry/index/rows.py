"""The rows of donors, and what rules can tell of each on a day.

The rules it keeps: a date is compared with the day asked about, never with today; what a row leaves open
is None, so unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.tables import SHANGHAI, metadata

_DONOR = metadata.tables["donor"]
_CONSENT = metadata.tables["consent"]
_WITHDRAWAL = metadata.tables["withdrawal"]
_HOLDING = metadata.tables["holding"]

#: Decree 717 came into force: what was collected or worded before is legacy.
REGULATIONS = date(2019, 7, 1)
_AT_ONCE = 500  # donors whose rows are read by one statement


class Item(NamedTuple):
    """What rules can tell of one holding by itself. `shown`: something of it is free."""

    kind: str
    item_class: str | None
    data_class: str | None
    contains_cells: bool | None
    extracted_nucleic_acid: bool | None
    derived: str | None
    collected_abroad: bool | None
    legacy: bool | None
    before: bool | None  # the consent was signed by the day of collection
    shown: bool


class Person(NamedTuple):
    """What rules can tell of a donor on a day. `withdrawn`: scopes with the project of a study, sorted."""

    chinese: bool | None
    under_14: bool | None
    minor_14_17: bool | None
    adult: bool | None
    capacity: bool | None
    deceased: bool
    pedigree: bool | None
    withdrawn: tuple[tuple[str, str], ...]


class Agreed(NamedTuple):
    """What rules can tell of a consent on a day, but for what its profile means."""

    profile_id: str
    written: bool | None
    expired: bool
    by_guardian: bool
    guardian_consent: bool | None
    reconsented: bool


class Context(NamedTuple):
    """What all holdings of a sheaf share, by numbers; consent 0 is none."""

    collection: int
    consent: int
    person: int


def person(donor: Row[Any], withdrawals: Iterable[Row[Any]], as_of: date) -> Person:
    """A donor on a day; what was withdrawn from contact alone leaves samples and data where they are."""
    age = None if donor.born is None else age_on(donor.born, as_of)
    return Person(
        chinese=donor.chinese,
        under_14=None if age is None else age < 14,
        minor_14_17=None if age is None else 14 <= age < 18,
        adult=None if age is None else age >= 18,
        capacity=donor.has_capacity,
        deceased=donor.deceased_on is not None and donor.deceased_on <= as_of,
        pedigree=donor.pedigree,
        withdrawn=tuple(
            sorted(
                {
                    (one.scope, one.project_id or "")
                    for one in withdrawals
                    if one.scope != "contact" and _effective(one) <= as_of
                }
            )
        ),
    )


def agreed(consent: Row[Any], as_of: date) -> tuple[Agreed, date | None]:
    """A consent on a day, and its end if still to come."""
    ends = consent.expires_on
    expired = ends is not None and ends < as_of
    return Agreed(
        profile_id=consent.profile_id,
        written=consent.written,
        expired=expired,
        by_guardian=consent.by_guardian,
        guardian_consent=consent.guardian_consent,
        reconsented=consent.reconsented_on is not None and consent.reconsented_on <= as_of,
    ), None if expired else ends


def item(holding: Row[Any], signed_on: date | None) -> Item:
    """A holding by itself, `signed_on` being the day of its consent."""
    collected = holding.collected_on
    return Item(
        kind=holding.kind,
        item_class=holding.item_class,
        data_class=holding.data_class,
        contains_cells=holding.contains_cells,
        extracted_nucleic_acid=holding.extracted_nucleic_acid,
        derived=holding.derived,
        collected_abroad=holding.collected_abroad,
        legacy=None if collected is None else collected < REGULATIONS,
        before=None if collected is None or signed_on is None else signed_on <= collected,
        shown=holding.available and holding.units - holding.kept - holding.reserved > 0,
    )


def age_on(born: date, day: date) -> int:
    """Full years on a day; somebody born on 29 February turns older on 1 March."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def _birthday(born: date, age: int) -> date:
    """The first day of an age."""
    if born.year + age > date.max.year:
        return date.max
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 3, 1)


def _effective(withdrawal: Row[Any]) -> date:
    moment: datetime = withdrawal.effective_at
    return moment.astimezone(SHANGHAI).date()


class Rows(NamedTuple):
    """All rows of one donor."""

    donor: Row[Any]
    consents: Mapping[str, Row[Any]]
    withdrawals: Sequence[Row[Any]]
    holdings: Sequence[Row[Any]]

    def turns(self, day: date) -> int:
        """The next day (ordinal) behind `day` on which a dated fact of the donor is another."""
        donor, days = self.donor, [date.max]
        if donor.born is not None:
            days += [_birthday(donor.born, age) for age in (14, 18)]
        if donor.deceased_on is not None:
            days.append(donor.deceased_on)
        for consent in self.consents.values():
            if consent.reconsented_on is not None:
                days.append(consent.reconsented_on)
            if consent.expires_on is not None and consent.expires_on < date.max:
                days.append(consent.expires_on + timedelta(days=1))
        days += [_effective(one) for one in self.withdrawals]
        return min(one for one in days if one > day or one == date.max).toordinal()


def rows_of(conn: Connection, donors: Sequence[str] | None = None) -> Iterator[Rows]:
    """The rows of these donors, or of all, by donor id: streamed, whatever the size of the bank."""
    if donors is not None:
        wanted = sorted(set(donors))
        for at in range(0, len(wanted), _AT_ONCE):
            yield from _rows(conn, wanted[at : at + _AT_ONCE])
        return
    yield from _rows(conn, None)


def _rows(conn: Connection, wanted: list[str] | None) -> Iterator[Rows]:
    def read(table: sa.Table, column: sa.ColumnElement[str]) -> _Following:
        query = sa.select(table).order_by(column)
        if wanted is not None:
            return _Following(conn.execute(query.where(column.in_(wanted))), column.name)
        streamed = conn.execution_options(stream_results=True, yield_per=5000).execute(query)
        return _Following(streamed, column.name)

    consents = read(_CONSENT, _CONSENT.c.donor_id)
    withdrawals = read(_WITHDRAWAL, _WITHDRAWAL.c.donor_id)
    holdings = read(_HOLDING, _HOLDING.c.donor_id)
    for donor in read(_DONOR, _DONOR.c.id).rows:
        yield Rows(
            donor=donor,
            consents={one.id: one for one in consents.of(donor.id)},
            withdrawals=withdrawals.of(donor.id),
            holdings=holdings.of(donor.id),
        )


class _Following:
    """Rows in order of an id, taken group by group as the ids come."""

    def __init__(self, rows: Iterable[Row[Any]], column: str) -> None:
        self.rows = iter(rows)
        self._groups = groupby(self.rows, key=lambda row: getattr(row, column)) if column else None
        self._next: tuple[str, list[Row[Any]]] | None = None

    def of(self, id_: str) -> list[Row[Any]]:
        """The rows of an id; whoever asks, asks for ids in their order."""
        if self._next is None and self._groups is not None:
            found = next(self._groups, None)
            if found is None:
                self._groups = None
                return []
            self._next = (found[0], list(found[1]))
        if self._next is not None and self._next[0] == id_:
            rows, self._next = self._next[1], None
            return rows
        return []
