"""What researchers counted before: so that two counts cannot be taken one from the other.

The rules it keeps: a dry run over a cohort that differs by fewer than 20 donors from one its organisation counted,
whatever else was asked then, is answered for that one; a key makes so many dry runs for a project in a day, and no
more. Conditions are kept, not donors: who met an earlier one is found with the index as it now is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank, Recall, facts_version
from gateway.errors import ProblemError
from gateway.registry.ask import Ask, CohortAsked, ItemsAsked
from gateway.registry.index.conditions import Condition
from gateway.registry.index.there import Outrun
from gateway.registry.naming import Naming
from gateway.tables import SHANGHAI, metadata
from policies.disease import DiseaseTree

_QUERY = metadata.tables["count_query"]
_DECISION = metadata.tables["decision"]
_CHANGE = metadata.tables["donor_change"]

#: Fewer donors than that tell of one (design §5).
SMALL = 20
#: A question is held against all of so many days; of more than so many it is refused, for that takes long.
_DAYS, _HELD = 90, 500


def earlier(
    conn: Connection, bank: Bank, ask: Ask, party_id: str, *, people: int
) -> ItemsAsked | None:
    """What to count instead: of a cohort counted before that differs by too few donors; None if none does.

    On a reader's connection; `bank.index` is open; `people` are those asked for. Raises `ProblemError`
    `too_many_requests` where it cannot be held against all of them, `busy` where the index has gone on.
    """
    if ask.items is None:
        return None
    own, version = ask.items, facts_version(conn)
    same = (_text(own.cohort), _kinds(own))
    rows = [row for row in _like(conn, bank, party_id, people) if (row.cohort, row.kinds) != same]
    if not rows:
        return None
    read = _Read(conn, bank.diseases, bank.remembered.at(conn, version))
    asked = (read.condition(own.cohort, "/items/cohort"), frozenset(own.kinds))
    counted = [(before, told, kinds) for row in rows for before, told, kinds in read.again(row)]
    with bank.index.under(conn, version, bank.today()) as speaks:
        if speaks is None:
            raise ProblemError("busy", "the cohort index is not to be had; ask again")
        there, behind = speaks
        try:
            located = there.located(conn, read.named, behind) if read.named else {}
        except Outrun as error:
            raise ProblemError("busy", "the rows have just changed; ask again") from error
        for before, told, kinds in counted:
            if there.near(asked, (told, kinds), located, fewer=SMALL):
                return own.model_copy(update={"cohort": before, "kinds": sorted(kinds)})
    return None


class _Read:
    """Cohorts as conditions. `named` are ids of the holdings that any of them lists."""

    def __init__(self, conn: Connection, diseases: DiseaseTree, recall: Recall) -> None:
        self._conn, self._diseases, self._recall = conn, diseases, recall
        self.named: set[str] = set()

    def condition(self, cohort: CohortAsked, pointer: str) -> Condition:
        """The condition a cohort puts on holdings."""
        naming = Naming(
            self._conn, self._diseases, self._recall
        )  # each may have as many parts as any
        found = naming.condition(cohort, pointer)
        self.named |= naming.holdings
        return found

    def again(self, row: Any) -> Iterator[tuple[CohortAsked, Condition, frozenset[str]]]:
        """A cohort counted before, with its kinds; nothing if it names what is no more.

        Nobody can count that again, so nothing can be taken from it.
        """
        before = CohortAsked.model_validate_json(row.cohort)
        try:
            yield before, self.condition(before, ""), frozenset(row.kinds.split())
        except ProblemError as error:
            if error.code not in {"unknown_term", "unknown_sample"}:
                raise


def _like(conn: Connection, bank: Bank, party_id: str, people: int) -> list[Any]:
    """The cohorts an organisation counted that may be near one of so many people, newest first.

    Two that differ by fewer than 20 donors now differed by no more than that and whoever changed since.
    """
    q, d, c = _QUERY.c, _DECISION.c, _CHANGE.c
    changed = (
        sa.select(sa.func.count()).where(c.version > d.facts_version).correlate(_DECISION)
    ).scalar_subquery()
    rows = conn.execute(
        sa.select(q.cohort, q.kinds)
        .join(_DECISION, d.id == q.decision_id)
        .where(
            q.party_id == party_id,
            q.asked_at >= bank.now() - timedelta(days=_DAYS),
            q.cohort.is_not(None),
            sa.func.abs(q.people - people) < SMALL + changed,
        )
        .group_by(q.cohort, q.kinds)
        .order_by(sa.func.max(q.n).desc())
        .limit(_HELD + 1)
    ).all()
    if len(rows) > _HELD:
        detail = f"more than {_HELD} cohorts like this one were counted in {_DAYS} days"
        raise ProblemError("too_many_requests", detail)
    return list(rows)


def _text(cohort: CohortAsked) -> str:
    return cohort.model_dump_json(exclude_defaults=True)


def _kinds(items: ItemsAsked) -> str:
    return " ".join(sorted(set(items.kinds)))


def newest(conn: Connection, party_id: str) -> int:
    """The number of an organisation's newest dry run; 0 if there is none."""
    highest = sa.func.coalesce(sa.func.max(_QUERY.c.n), 0)
    return int(conn.execute(sa.select(highest).where(_QUERY.c.party_id == party_id)).scalar_one())


def verify_budget(conn: Connection, bank: Bank, key_id: str, project_id: str) -> None:
    """Raise `ProblemError` `too_many_requests` if the key has spent its dry runs of the day for a project."""
    q, today = _QUERY.c, bank.today()
    begun = datetime.combine(today, time(), SHANGHAI)
    mine = sa.and_(q.key_id == key_id, q.project_id == project_id, q.asked_at >= begun)
    spent = conn.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
    if spent >= bank.settings.count_budget:
        ends = datetime.combine(today + timedelta(days=1), time(), SHANGHAI)
        raise ProblemError(
            "too_many_requests",
            f"the {bank.settings.count_budget} dry runs of this key for this project are spent today",
            retry_after=max(1, int((ends - bank.now()).total_seconds())),
        )


def record(
    conn: Connection,
    ask: Ask,
    decision_id: str,
    *,
    party_id: str,
    key_id: str,
    people: int | None,
    now: datetime,
) -> None:
    """Remember that it was asked. `people`: how many were counted; None: nothing later is held against it."""
    counted = people is not None and ask.items is not None
    conn.execute(
        sa.insert(_QUERY).values(
            party_id=party_id,
            key_id=key_id,
            project_id=ask.project,
            kinds=_kinds(ask.items) if ask.items else "",
            people=people or 0,
            cohort=_text(ask.items.cohort) if counted and ask.items else None,
            decision_id=decision_id,
            asked_at=now,
        )
    )
