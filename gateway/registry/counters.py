"""Counters across requests: who was given whose exome or genome before, whose data went abroad this year.

The rules it keeps: what is kept is what happened (party, its group of the day, project, class, year); whom
it counts for is found on the day of each decision, so a company bought counts from then on and one sold
takes with it what it got, while the seller's group keeps it too; another way of counting reads the same
rows; until the bank's past was stated by two people a counter is unknown (`gateway.registry.openings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, auto
from itertools import chain
from typing import Protocol, assert_never

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import NOTHING_KEPT, Recall, bump
from gateway.registry import openings
from gateway.registry.openings import DONORS, Opened
from gateway.registry.ownership import Ownership
from gateway.settings import Counting
from gateway.tables import SHANGHAI, metadata
from policies.request import Value

_RELEASED = metadata.tables["released_donor"]

#: What art. 37(3) counts together; and what makes clinical data in the same release HGR information (R-SCO-01).
GENOMIC = frozenset({"genome", "exome"})
#: Tubes, whatever is in them: a person's, so they count abroad; not sequenced, so no genome.
MATERIAL = "material"
#: Data of these classes are no personal information that went abroad.
_NOT_PERSONAL = ("aggregate",)


class Asked(Enum):
    """Who is asked for, where it is not said one by one."""

    EVERYBODY = auto()


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

    `people`: donors whose exome or genome counts with this release; `already`: those of them asked for again.
    `linked`: donors asked for whose genome this group has in this project, whatever the way of counting.
    `is_open` False: there may be more of all three. `abroad`: people of this year, None while unknown.
    `which`: the condition on the rows that count.
    """

    way: Counting
    people: int
    already: frozenset[str]
    linked: frozenset[str]
    is_open: bool
    abroad: tuple[int, int] | None
    which: tuple[sa.ColumnElement[bool], ...]

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
            "counter.genome_people_before": self.people if known else None,
            "pi.sensitive_people_before": sensitive,
            "pi.people_before": everybody,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is looked at to count one way. `receivers`: (party, its group of the day) of exomes or genomes."""

    way: Counting
    opened: Opened
    receivers: frozenset[tuple[str, str]]

    @property
    def parties(self) -> frozenset[str]:
        """All of them: whoever counts has to know who controls each today."""
        return frozenset(chain(*self.receivers))


def past(conn: Connection, project_id: str, way: Counting) -> Past:
    """Who was given exomes or genomes in the project; or ever, where the way counts over all projects."""
    r, opened = _RELEASED.c, openings.opened(conn)
    wanted = [r.data_class.in_(sorted(GENOMIC)), *_stands(opened)]
    if way is not Counting.RECIPIENT:
        wanted.append(r.project_id == project_id)
    rows = conn.execute(sa.select(r.party_id, r.group_id).where(*wanted).distinct())
    return Past(
        way=way,
        opened=opened,
        receivers=frozenset((row.party_id, row.group_id) for row in rows),
    )


def count(
    conn: Connection,
    before: Past,
    *,
    recipient: Recipient,
    project_id: str,
    ownership: Ownership,
    asked: Sequence[str] | sa.Select[tuple[str]] | Asked | None,
    as_of: date,
    recall: Recall = NOTHING_KEPT,
) -> Counted:
    """What counts with a release of that day. `ownership` knows all parties of the past.

    `asked` are the ids of the donors asked for, or a statement that gives them; None: nothing is. Of
    `EVERYBODY` those are told who were given something, asked for or not.

    Implementing Rules art. 37(3), "人数大于500例": per transfer, project or recipient the words do not say
    (law.md, ambiguities, 2). Exome and genome are counted together, each person once.
    """
    # A row counts for the group that controls the party today, or that did when it was given, or that has
    # bought that group since: the company that is sold has what it got, and so has its former owner.
    ours = {one for one in before.parties if ownership.group(one) == recipient.group_id}
    r = _RELEASED.c
    in_project = r.project_id == project_id
    in_group = sa.or_(r.party_id.in_(sorted(ours)), r.group_id.in_(sorted(ours)))
    genomes = (r.data_class.in_(sorted(GENOMIC)), *_stands(before.opened))
    which: tuple[sa.ColumnElement[bool], ...]
    match before.way:
        case Counting.RECIPIENT_PROJECT:
            which = (in_project, in_group, *genomes)
        case Counting.RECIPIENT:
            which = (in_group, *genomes)
        case Counting.PROJECT:
            which = (in_project, *genomes)
        case Counting.TRANSFER:
            which = (sa.false(),)
        case _:
            assert_never(before.way)

    def asked_again(*where: sa.ColumnElement[bool]) -> frozenset[str]:
        if asked is None:
            return frozenset()
        given = sa.select(r.donor_id).where(*where).distinct()
        if not isinstance(asked, Asked):
            given = given.where(r.donor_id.in_(asked))
        return frozenset(conn.execute(given).scalars())

    linked = asked_again(in_project, in_group, *genomes)
    same = before.way is Counting.RECIPIENT_PROJECT
    return Counted(
        way=before.way,
        people=recall(
            ("counted", before.way, project_id, recipient.group_id, as_of),
            lambda: _people(conn, *which),
        ),
        already=linked if same else asked_again(*which),
        linked=linked,
        is_open=DONORS in before.opened.whole,
        abroad=recall(("abroad", as_of.year), lambda: _abroad(conn, as_of, before.opened)),
        which=which,
    )


def by_class(conn: Connection, counted: Counted) -> dict[str, int]:
    """Of the people that count, how many by class; who has both is in both."""
    r = _RELEASED.c
    return {name: _people(conn, *counted.which, r.data_class == name) for name in sorted(GENOMIC)}


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
    people = _people(
        conn,
        r.overseas.is_(True),
        r.year == as_of.year,
        r.data_class.not_in(_NOT_PERSONAL),
        *_stands(opened),
    )
    sensitive, everybody = opened.people_abroad.get(as_of.year, (0, 0))
    return people + sensitive, people + everybody


def _people(conn: Connection, *which: sa.ColumnElement[bool]) -> int:
    # A list of the distinct and not count(DISTINCT …): that one would not use the order of an index.
    each = sa.select(_RELEASED.c.donor_id).where(*which).distinct().subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(each)).scalar_one())


def _stands(opened: Opened) -> list[sa.ColumnElement[bool]]:
    """What an opening said that another has corrected since counts no more."""
    return [_RELEASED.c.source_id.not_in(sorted(opened.corrected))] if opened.corrected else []
