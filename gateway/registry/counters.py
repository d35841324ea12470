"""Counters across requests: who was given whose exome or genome before, whose data went abroad this year.

The rules it keeps: what is kept is what happened (party, its group of the day, project, class, year); whom
it counts for is found on the day of each decision, so a company bought counts from then on and one sold
takes with it what it got, while the seller's group keeps it too; another way of counting reads the same
rows; until the bank's past was stated by two people a counter is unknown (`gateway.registry.openings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from typing import Protocol, assert_never

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import SHANGHAI, bump
from gateway.registry.openings import DONORS, Opened
from gateway.registry.ownership import Ownership
from gateway.settings import Counting
from gateway.tables import metadata
from policies.request import Value

_RELEASED = metadata.tables["released_donor"]

#: What art. 37(3) counts together; and what makes clinical data in the same release HGR information (R-SCO-01).
GENOMIC = frozenset({"genome", "exome"})
#: Tubes, whatever is in them: a person's, so they count abroad; not sequenced, so no genome.
MATERIAL = "material"
#: Data of these classes are no personal information that went abroad.
_NOT_PERSONAL = ("aggregate",)


class Given(Protocol):
    """One holding that goes out (`registry.cohorts` picks them)."""

    @property
    def donor_id(self) -> str: ...  # noqa: D102 - a protocol's member says it by its name
    @property
    def kind(self) -> str: ...  # noqa: D102 - as above
    @property
    def data_class(self) -> str | None: ...  # noqa: D102 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Whom a release is for: the party itself, and the group that controls it on the day."""

    party_id: str
    group_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was given before, as of one decision.

    `already`: donors whose exome or genome counts with this release. `linked`: those whose genome this group
    has in this project, whatever the way of counting; `is_open` False: there may be more of both. `by_class`:
    of `already`, how many by class. `abroad`: people of this year, None while unknown.
    """

    way: Counting
    already: frozenset[str]
    linked: frozenset[str]
    is_open: bool
    by_class: Mapping[str, int]
    abroad: tuple[int, int] | None

    @property
    def facts(self) -> dict[str, Value | None]:
        """The facts of a decision; what is not known is None.

        Whatever a biobank sends about a person is sensitive (PIPL art. 28: medical health), so of what the
        gateway released both counts abroad are one.
        """
        sensitive, everybody = self.abroad or (None, None)
        # Of one transfer taken alone nothing went before, whatever the past.
        known = self.is_open or self.way is Counting.TRANSFER
        return {
            "counter.way": self.way.value,
            "counter.genome_people_before": len(self.already) if known else None,
            "pi.sensitive_people_before": sensitive,
            "pi.people_before": everybody,
        }


def receivers(
    conn: Connection, project_id: str, way: Counting, opened: Opened
) -> frozenset[tuple[str, str]]:
    """Party and group of the day of all that was given exomes or genomes: in the project, or ever.

    Ever where the way counts over all projects: whoever of them is in the recipient's group today counts.
    """
    r = _RELEASED.c
    wanted = [r.data_class.in_(sorted(GENOMIC)), *_stands(opened)]
    if way is not Counting.RECIPIENT:
        wanted.append(r.project_id == project_id)
    rows = conn.execute(sa.select(r.party_id, r.group_id).where(*wanted).distinct())
    return frozenset((row.party_id, row.group_id) for row in rows)


def count(
    conn: Connection,
    *,
    recipient: Recipient,
    project_id: str,
    given: frozenset[tuple[str, str]],
    ownership: Ownership,
    way: Counting,
    opened: Opened,
    as_of: date,
) -> Counted:
    """What counts with a release of that day. `given` is `receivers`', and `ownership` knows them all.

    Implementing Rules art. 37(3), "人数大于500例": per transfer, project or recipient the words do not say
    (law.md, ambiguities, 2). Exome and genome are counted together, each person once.
    """
    # A row counts for the group that controls the party today, or that did when it was given, or that has
    # bought that group since: the company that is sold has what it got, and so has its former owner.
    ours = {one for one in chain(*given) if ownership.group(one) == recipient.group_id}
    r = _RELEASED.c
    same_group = sa.or_(r.party_id.in_(sorted(ours)), r.group_id.in_(sorted(ours)))
    rows = conn.execute(
        sa.select(r.donor_id, r.data_class, r.project_id == project_id, same_group)
        .where(
            r.data_class.in_(sorted(GENOMIC)),
            same_group if way is Counting.RECIPIENT else r.project_id == project_id,
            *_stands(opened),
        )
        .distinct()
    ).all()

    def counts(*, in_project: bool, in_group: bool) -> bool:
        match way:
            case Counting.RECIPIENT_PROJECT:
                return in_project and in_group
            case Counting.RECIPIENT:
                return in_group
            case Counting.PROJECT:
                return in_project
            case Counting.TRANSFER:
                return False
            case _:
                assert_never(way)

    counted = [
        (donor, class_)
        for donor, class_, in_project, in_group in rows
        if counts(in_project=in_project, in_group=in_group)
    ]
    return Counted(
        way=way,
        already=frozenset(donor for donor, _ in counted),
        linked=frozenset(donor for donor, _, *where in rows if all(where)),
        is_open=DONORS in opened.whole,
        by_class={
            name: len({donor for donor, class_ in counted if class_ == name})
            for name in sorted(GENOMIC)
        },
        abroad=_abroad(conn, as_of, opened),
    )


def add(
    conn: Connection,
    items: Iterable[Given],
    *,
    source_id: str,
    recipient: Recipient,
    project_id: str,
    overseas: bool,
    now: datetime,
) -> None:
    """Count what is about to go out: each person once per class, under the release it is.

    What is counted are facts of the next decision: their version rises.
    """
    year = now.astimezone(SHANGHAI).year
    people = {(class_of(one), one.donor_id) for one in items}
    rows = [
        {
            "source_id": source_id,
            "party_id": recipient.party_id,
            "group_id": recipient.group_id,
            "project_id": project_id,
            "data_class": data_class,
            "donor_id": donor_id,
            "overseas": overseas,
            "year": year,
        }
        for data_class, donor_id in sorted(people)
    ]
    if rows:
        conn.execute(sa.insert(_RELEASED), rows)
        bump(conn)


def class_of(item: Given) -> str:
    """What a holding counts as; a genome that nobody classed is one all the same."""
    return item.data_class or (item.kind if item.kind in GENOMIC else MATERIAL)


def _abroad(conn: Connection, as_of: date, opened: Opened) -> tuple[int, int] | None:
    """People whose data went abroad since 1 January, sensitive and in all (CAC 2024 arts 7-8).

    Each once, however often; on top those an opening knows by number only.
    """
    if not opened.knows_year(as_of.year):
        return None
    r = _RELEASED.c
    people = conn.execute(
        sa.select(sa.func.count(r.donor_id.distinct())).where(
            r.overseas.is_(True),
            r.year == as_of.year,
            r.data_class.not_in(_NOT_PERSONAL),
            *_stands(opened),
        )
    ).scalar_one()
    sensitive, everybody = opened.people_abroad.get(as_of.year, (0, 0))
    return people + sensitive, people + everybody


def _stands(opened: Opened) -> list[sa.ColumnElement[bool]]:
    """What an opening said that another has corrected since counts no more."""
    return [_RELEASED.c.source_id.not_in(sorted(opened.corrected))] if opened.corrected else []
