"""What researchers counted before: so that two counts cannot be taken one from the other.

The rules it keeps: a dry run over a cohort that differs from one the same organisation asked of for the same by
fewer than 20 donors, and is not the same, gets the earlier answer; a key makes so many dry runs for a project in a
day, and no more. Conditions are kept, not donors: who met an earlier one is found with the index as it now is.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, time, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank, facts_version
from gateway.errors import ProblemError
from gateway.registry.ask import Ask, CohortAsked
from gateway.registry.index.conditions import Condition
from gateway.registry.index.there import Outrun
from gateway.registry.naming import Naming
from gateway.tables import SHANGHAI, metadata

_QUERY = metadata.tables["count_query"]

#: Fewer donors than that tell of one (design §5).
SMALL = 20
#: Earlier questions that one is held against: the newest so many, of so many days.
_HELD, _DAYS = 200, 90


def question(ask: Ask) -> str:
    """A digest of all that is asked but for the cohort: only such answers can be told apart by donors."""
    said = ask.model_dump(mode="json")
    if said["items"] is not None:
        del said["items"]["cohort"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def earlier(conn: Connection, bank: Bank, ask: Ask, party_id: str) -> str | None:
    """The decision that answers this question too: its cohort differs by too few donors to be told apart.

    On a reader's connection; `bank.index` is open. Raises `ProblemError` for what the ask names wrongly.
    """
    if ask.items is None:
        return None
    q = _QUERY.c
    since = bank.now() - timedelta(days=_DAYS)
    rows = conn.execute(
        sa.select(q.decision_id, q.cohort)
        .where(
            q.party_id == party_id,
            q.question == question(ask),
            q.asked_at >= since,
            q.cohort.is_not(None),
        )
        .order_by(q.asked_at.desc(), q.decision_id)
        .limit(_HELD)
    ).all()
    if not rows:
        return None
    kinds, version = frozenset(ask.items.kinds), facts_version(conn)
    naming = Naming(conn, bank.diseases, bank.remembered.at(conn, version))
    asked = naming.condition(ask.items.cohort, "/items/cohort")
    cohorts: list[tuple[str, Condition]] = []
    for row in rows:
        try:
            before = CohortAsked.model_validate_json(row.cohort)
            cohorts.append((row.decision_id, naming.condition(before, "", deep=1)))
        except ProblemError:  # it named what is no more: nothing can be taken from it
            continue
    with bank.index.under(conn, version, bank.today()) as speaks:
        if speaks is None:
            raise ProblemError("busy", "the cohort index is not to be had; ask again")
        there, behind = speaks
        try:
            located = there.located(conn, naming.holdings, behind) if naming.holdings else {}
        except Outrun as error:
            raise ProblemError("busy", "the rows have just changed; ask again") from error
        for decision_id, before_ in cohorts:
            if 0 < there.differ(asked, before_, kinds, located, most=SMALL) < SMALL:
                return decision_id
    return None


def newest(conn: Connection, ask: Ask, party_id: str) -> int:
    """The number of the newest dry run like this one; 0 if there is none."""
    q = _QUERY.c
    mine = sa.and_(q.party_id == party_id, q.question == question(ask))
    return int(
        conn.execute(sa.select(sa.func.coalesce(sa.func.max(q.n), 0)).where(mine)).scalar_one()
    )


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
    decided: bool,
    now: datetime,
) -> None:
    """Remember that it was asked. `decided`: later ones are held against it, for `decision_id` tells of it."""
    cohort = CohortAsked() if ask.items is None else ask.items.cohort
    conn.execute(
        sa.insert(_QUERY).values(
            party_id=party_id,
            key_id=key_id,
            project_id=ask.project,
            question=question(ask),
            cohort=cohort.model_dump_json(exclude_defaults=True) if decided else None,
            decision_id=decision_id,
            asked_at=now,
        )
    )
