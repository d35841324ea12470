"""The ledger: what of a paper's quotas and of the bank's tubes is free, reserved or released.

The rules it keeps: nothing moves but between two accounts of one quota or one holding, and every movement
stays as a posting; more than is free is never taken, by conditional update and by constraint; a grant
reserves all it may need when it is made, consumes it as it goes out, and gives back what can no longer go. What
a grant holds follows from its items and releases alone, so that `settle` may run at any time, any number
of times. Every part runs in the caller's transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import ProblemError
from gateway.tables import metadata

_PAPER = metadata.tables["paper"]
_QUOTA = metadata.tables["quota"]
_POSTING = metadata.tables["posting"]
_HOLDING = metadata.tables["holding"]
_GRANT = metadata.tables["grant_"]
_ITEM = metadata.tables["grant_item"]
_RELEASE = metadata.tables["release"]
_RELEASED = metadata.tables["release_item"]

#: What a paper may limit: distinct people, units (tubes, data items), microlitres, bytes.
MEASURES = ("people", "units", "volume_ul", "bytes")
#: Kinds that speak of material leaving; data never count on them.
AT_THE_BORDER = frozenset({"exit", "customs"})
#: Papers whose quotas stand behind those of the cooperation licence they change (Implementing Rules 46, 47).
CHANGES = ("change_approval", "change_statement")
LIVE = ("active", "suspended")
_OWNERS = sa.select(_HOLDING.c.donor_id).where(
    _HOLDING.c.id.in_(sa.bindparam("tubes", expanding=True))
)
_CHUNK = 5000  # ids in one IN (…): below the variables either database takes


class Account(NamedTuple):
    """What one grant has of one quota or one holding's tubes."""

    reserved: int
    released: int


class Counted(Protocol):
    """What is counted of one item: a holding picked, or under a grant."""

    @property
    def donor_id(self) -> str: ...  # noqa: D102 - a protocol's member says it by its name
    @property
    def units(self) -> int: ...  # noqa: D102 - as above
    @property
    def material(self) -> bool: ...  # noqa: D102 - as above
    @property
    def volume_ul(self) -> int | None: ...  # noqa: D102 - as above
    @property
    def bytes(self) -> int | None: ...  # noqa: D102 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a grant must draw on; `kind` is the paper's.

    `quotas`: each with what is free of it, drawn on in this order, all but the last only while it has any.
    `opened`: of each is known what was drawn on it before.
    """

    measure: str
    kind: str
    paper_id: str
    quotas: tuple[tuple[str, int], ...]
    opened: bool

    def needs(self, items: Iterable[Counted]) -> int | None:
        """How much these items draw; None where it is not known of each."""
        return amount(self.measure, self.kind, items)


def amount(measure: str, kind: str, items: Iterable[Counted]) -> int | None:
    """How much of a measure items come to on a paper of a kind; None where it is not known of each."""
    counted = [one for one in items if one.material or kind not in AT_THE_BORDER]
    if measure == "people":
        return len({one.donor_id for one in counted})
    if measure == "units":
        return sum(one.units for one in counted)
    # Material has a volume and data have bytes; what has neither is not measured.
    material = measure == "volume_ul"
    sizes = [
        one.volume_ul if material else one.bytes for one in counted if one.material is material
    ]
    return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What grants hold already that makes room for the decision about to be made on the same."""

    grants: frozenset[str] = frozenset()
    quotas: Mapping[str, int] = field(default_factory=dict)
    tubes: Mapping[str, int] = field(default_factory=dict)  # by holding


NOTHING_HELD = Own()


def own(conn: Connection, held_by: str | None, *, whole: bool) -> Own:
    """What a grant holds, or the live grants of a request, by its id; nothing for None.

    `whole`: all that was drawn, gone or not, for a grant decided again over what it was made for. A
    request decided anew is given another grant in its place, and takes over only what is reserved.
    """
    if held_by is None:
        return NOTHING_HELD
    mine = sa.or_(_GRANT.c.id == held_by, _GRANT.c.request_id == held_by)
    live = sa.select(_GRANT.c.id).where(mine, _GRANT.c.state.in_(LIVE))
    grants = frozenset(conn.execute(live).scalars())
    quotas: Counter[str] = Counter()
    tubes: Counter[str] = Counter()
    for grant_id in grants:
        for (quota_id, holding_id), has in _accounts(conn, grant_id).items():
            if quota_id is not None:
                quotas[quota_id] += has.reserved + (has.released if whole else 0)
            elif holding_id is not None and has.reserved:
                tubes[holding_id] += has.reserved
    return Own(grants=grants, quotas=quotas, tubes=tubes)


def tubes_of(own: Own) -> sa.ColumnElement[bool]:
    """The condition on holdings that something of them is free, or these grants' own."""
    h = _HOLDING.c
    free: sa.ColumnElement[bool] = h.units - h.kept - h.reserved > 0
    if not own.grants:
        return free
    items = sa.select(_ITEM.c.holding_id).where(_ITEM.c.grant_id.in_(sorted(own.grants)))
    return sa.or_(free, h.id.in_(items))


# ---- moving --------------------------------------------------------------------------------------


class _Move(NamedTuple):
    """One movement to be: of a quota, or of the tubes of a holding."""

    quota_id: str | None
    holding_id: str | None
    source: str
    target: str
    amount: int


def open_quota(
    conn: Connection, quota_id: str, drawn: int, *, cause_id: str, now: datetime
) -> None:
    """Book what was drawn on a quota before it was kept here; from here on it can be drawn on.

    Raises `ProblemError` `already_done` if it is opened, `invalid_request` for more than it allows,
    `not_found`.
    """
    row = conn.execute(sa.select(_QUOTA).where(_QUOTA.c.id == quota_id)).one_or_none()
    if row is None:
        raise ProblemError("not_found", f"there is no quota `{quota_id}`")
    if row.opened:
        raise ProblemError("already_done", f"quota `{quota_id}` is opened already")
    if not 0 <= drawn <= row.total - row.reserved - row.released:
        detail = f"`{drawn}` is not from 0 to the {row.total} allowed less what is drawn here"
        raise ProblemError("invalid_request", detail)
    conn.execute(sa.update(_QUOTA).where(_QUOTA.c.id == quota_id).values(opened=True))
    if drawn:
        _move(conn, _Move(quota_id, None, "free", "released", drawn), None, cause_id, now)
    bump(conn)


def reserve(conn: Connection, grant_id: str, draws: Iterable[Draw], *, now: datetime) -> None:
    """Reserve what a new grant's items need: on every draw, and their tubes; all of it or nothing.

    Raises `ProblemError` `decision_failed` where there is no room: the facts said there was and they were
    current, so somebody is wrong and the transaction must end.
    """
    items = [row for row in _items(conn, grant_id) if row.removed_at is None]
    moves: list[_Move] = []
    for draw in draws:
        needed = draw.needs(items)
        if needed is None:
            detail = f"how much of `{draw.paper_id}` is needed is not known: {draw.measure}"
            raise ProblemError("decision_failed", detail)
        for place, (quota_id, free) in enumerate(draw.quotas):
            last = place == len(draw.quotas) - 1
            part = needed if last else min(needed, max(free, 0))
            needed -= part
            if part:
                moves.append(_Move(quota_id, None, "free", "reserved", part))
    moves += [
        _Move(None, row.holding_id, "free", "reserved", row.units) for row in items if row.material
    ]
    for move in moves:
        _move(conn, move, grant_id, grant_id, now)
    if moves:  # a grant that draws on nothing is no fact of another decision
        bump(conn, _donors(conn, moves))


def settle(conn: Connection, grant_id: str, *, cause_id: str, now: datetime) -> int:
    """Book what a grant's items and releases have come to since; how many movements that took.

    What went out is consumed, and what can no longer go out (withdrawn, or the grant is over) is free
    again. Raises `ProblemError` `not_releasable` where tubes that went out were not there.
    """
    moves = plan(conn, grant_id)
    for move in moves:
        _move(conn, move, grant_id, cause_id, now)
    if moves:
        bump(conn, _donors(conn, moves))
    return len(moves)


def settle_all(conn: Connection, *, now: datetime) -> int:
    """`settle` every grant that ever drew on something; how many movements that took."""
    drawn = sa.select(_POSTING.c.grant_id).where(_POSTING.c.grant_id.is_not(None)).distinct()
    grants = sorted(conn.execute(drawn).scalars())
    return sum(settle(conn, one, cause_id=one, now=now) for one in grants)


def plan(conn: Connection, grant_id: str) -> tuple[_Move, ...]:
    """What `settle` would book; nothing where all is booked."""
    released, due = _standing(conn, grant_id)
    accounts = _accounts(conn, grant_id)
    return (
        *_quota_moves(conn, accounts, released, due),
        *_tube_moves(accounts, {r.holding_id for r in released}, {r.holding_id for r in due}),
    )


def _quota_moves(
    conn: Connection,
    accounts: Mapping[tuple[str | None, str | None], Account],
    released: Sequence[sa.Row[Any]],
    due: Sequence[sa.Row[Any]],
) -> Iterator[_Move]:
    chains: dict[tuple[str, str], list[tuple[str, Account]]] = defaultdict(list)
    ids = [quota_id for quota_id, _ in accounts if quota_id is not None]
    papers = {
        row.id: row
        for row in conn.execute(
            sa.select(_QUOTA.c.id, _QUOTA.c.measure, _PAPER.c.kind)
            .join(_PAPER, _PAPER.c.id == _QUOTA.c.paper_id)
            .where(_QUOTA.c.id.in_(ids))
        )
    }
    for (quota_id, _), has in accounts.items():  # in the order in which the grant drew on them
        if quota_id is not None:
            kind = papers[quota_id].kind
            chain = (papers[quota_id].measure, "cooperation" if kind in CHANGES else kind)
            chains[chain].append((quota_id, has))
    for (measure, kind), quotas in chains.items():
        gone = amount(measure, kind, released) or 0
        whole = amount(measure, kind, [*released, *due]) or 0
        consumed = gone - sum(has.released for _, has in quotas)
        left = []
        for quota_id, has in quotas:
            part = min(max(consumed, 0), has.reserved)
            consumed -= part
            left.append((quota_id, has.reserved - part))
            if part:
                yield _Move(quota_id, None, "reserved", "released", part)
        spare = sum(reserved for _, reserved in left) - (whole - gone)
        for quota_id, reserved in reversed(left):  # the last drawn on is the first given back
            part = min(max(spare, 0), reserved)
            spare -= part
            if part:
                yield _Move(quota_id, None, "reserved", "free", part)


def _tube_moves(
    accounts: Mapping[tuple[str | None, str | None], Account],
    released: set[str],
    due: set[str],
) -> Iterator[_Move]:
    for (_, holding_id), has in accounts.items():
        if holding_id is not None and has.reserved and holding_id not in due:
            target = "released" if holding_id in released else "free"
            yield _Move(None, holding_id, "reserved", target, has.reserved)


def _donors(conn: Connection, moves: Iterable[_Move]) -> list[str]:
    """Whose tubes were moved."""
    tubes = [move.holding_id for move in moves if move.holding_id is not None]
    return [
        donor_id
        for at in range(0, len(tubes), _CHUNK)
        for donor_id in conn.execute(_OWNERS, {"tubes": tubes[at : at + _CHUNK]}).scalars()
    ]


def _move(
    conn: Connection, move: _Move, grant_id: str | None, cause_id: str, now: datetime
) -> None:
    values = _tubes(move) if move.quota_id is None else _quota(move)
    if conn.execute(values).rowcount != 1:
        what = move.quota_id or move.holding_id
        if move.target == "released" and move.holding_id is not None:
            raise ProblemError("not_releasable", "some of the tubes are no longer there")
        raise ProblemError("decision_failed", f"`{what}` has no room")
    posting = {**move._asdict(), "grant_id": grant_id, "cause_id": cause_id, "at": now}
    conn.execute(sa.insert(_POSTING).values(posting))


def _quota(move: _Move) -> sa.Update:
    """However many draw at once: one conditional UPDATE, all of the amount or nothing."""
    q = _QUOTA.c
    update = sa.update(_QUOTA).where(q.id == move.quota_id)
    if move.source == "reserved":
        update = update.where(q.reserved >= move.amount)
    else:
        update = update.where(q.reserved + q.released + move.amount <= q.total)
    named = {"reserved": q.reserved, "released": q.released}
    deltas = {move.source: -move.amount, move.target: move.amount}
    return update.values({n: c + deltas[n] for n, c in named.items() if n in deltas})


def _tubes(move: _Move) -> sa.Update:
    """The same for tubes; those released are the bank's no more."""
    h, many = _HOLDING.c, move.amount
    update = sa.update(_HOLDING).where(h.id == move.holding_id)
    if move.source == "free":
        free = h.units - h.kept - h.reserved >= many
        return update.where(free, h.available).values(reserved=h.reserved + many)
    update = update.where(h.reserved >= many)
    if move.target == "free":
        return update.values(reserved=h.reserved - many)
    # What must stay for the donor stays, even if that was said after the grant.
    there = h.units - h.kept >= many
    return update.where(there).values(units=h.units - many, reserved=h.reserved - many)


def unkept(conn: Connection, holdings: Sequence[str]) -> dict[str, list[str]]:
    """Which promises cannot be kept: by grant, the holdings of which too little is there for it.

    Whoever was promised first keeps what is left; nothing is left of what is not available. Writes nothing.
    """
    h, p, g = _HOLDING.c, _POSTING.c, _GRANT.c
    promised = sa.func.sum(_into("reserved")).label("promised")
    query = (
        sa.select(h.id, h.units, h.kept, h.reserved, h.available, p.grant_id, promised)
        .join(_POSTING, p.holding_id == h.id)
        .join(_GRANT, g.id == p.grant_id)
        .where(h.reserved > 0, sa.or_(h.available.is_(False), h.reserved > h.units - h.kept))
        .group_by(h.id, h.units, h.kept, h.reserved, h.available, p.grant_id, g.created_at)
        .having(sa.func.sum(_into("reserved")) > 0)
        .order_by(h.id, g.created_at.desc(), p.grant_id.desc())
    )
    found: dict[str, list[str]] = defaultdict(list)
    lacking: dict[str, int] = {}
    for at in range(0, len(holdings), _CHUNK):
        for row in conn.execute(query.where(h.id.in_(holdings[at : at + _CHUNK]))):
            left = max(row.units - row.kept, 0) if row.available else 0
            if lacking.setdefault(row.id, row.reserved - left) > 0:
                lacking[row.id] -= row.promised
                found[row.grant_id].append(row.id)
    return dict(found)


# ---- looking -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where the ledger and what it is about do not agree: `booked` against what is `found`."""

    kind: str  # quota | holding | grant
    id: str
    what: str
    booked: int
    found: int


def differences(
    conn: Connection, progress: Callable[[str], None] = lambda _: None
) -> list[Difference]:
    """Every place where balances, postings, grants, releases and holdings do not agree; none if all do."""
    found: list[Difference] = []
    for name, table, column in (
        ("quota", _QUOTA, _POSTING.c.quota_id),
        ("holding", _HOLDING, _POSTING.c.holding_id),
    ):
        progress(name)
        found += _balances(conn, name, table, column)
    progress("grant")
    drawn = sa.select(_POSTING.c.grant_id).where(_POSTING.c.grant_id.is_not(None))
    live = sa.select(_GRANT.c.id).where(_GRANT.c.state.in_(LIVE))
    for grant_id in sorted(conn.execute(drawn.union(live)).scalars()):
        for move in plan(conn, grant_id):
            what = f"{move.source} → {move.target} {move.quota_id or move.holding_id}"
            found.append(
                Difference(kind="grant", id=grant_id, what=what, booked=0, found=move.amount)
            )
        found += _unreserved(conn, grant_id)
    return found


def _balances(
    conn: Connection, name: str, table: sa.Table, column: sa.ColumnElement[Any]
) -> Iterator[Difference]:
    """Accounts against the sum of their postings; of tubes released the bank keeps no balance."""
    accounts = [one for one in ("reserved", "released") if one in table.c]
    sums = {
        account: sa.func.coalesce(sa.func.sum(_into(account)), 0).label(account)
        for account in accounts
    }
    booked = sa.select(column.label("id"), *sums.values()).where(column.is_not(None))
    sub = booked.group_by(column).subquery()
    query = sa.select(
        table, *(sa.func.coalesce(sub.c[a], 0).label(f"booked_{a}") for a in accounts)
    )
    query = query.join_from(table, sub, table.c.id == sub.c.id, isouter=True)
    wrong = [table.c[a] != sa.func.coalesce(sub.c[a], 0) for a in accounts]
    for row in conn.execute(query.where(sa.or_(*wrong)).order_by(table.c.id)).mappings():
        for account in accounts:
            has, posted = row[account], row[f"booked_{account}"]
            if has != posted:
                yield Difference(kind=name, id=row["id"], what=account, booked=posted, found=has)
    if table is _HOLDING:
        h = _HOLDING.c
        short = sa.select(_HOLDING).where(h.reserved > h.units - h.kept, h.reserved > 0)
        for row in conn.execute(short.order_by(h.id)).mappings():
            yield Difference(
                kind=name,
                id=row["id"],
                what="tubes there but for those kept",
                booked=row["reserved"],
                found=row["units"] - row["kept"],
            )


def _unreserved(conn: Connection, grant_id: str) -> Iterator[Difference]:
    """What a live grant should hold and does not: `settle` gives back, and never takes."""
    accounts, (_, due) = _accounts(conn, grant_id), _standing(conn, grant_id)
    for row in due:
        has = accounts.get((None, row.holding_id), Account(0, 0))
        if row.material and has.reserved != row.units:
            what = f"tubes of {row.holding_id}"
            yield Difference(
                kind="grant", id=grant_id, what=what, booked=has.reserved, found=row.units
            )


def _into(account: str) -> sa.Case[int]:
    amount, p = _POSTING.c.amount, _POSTING.c
    return sa.case((p.target == account, amount), (p.source == account, -amount), else_=0)


def _accounts(conn: Connection, grant_id: str) -> dict[tuple[str | None, str | None], Account]:
    """What a grant has on each quota and each holding it drew on, in the order of its first draws."""
    p = _POSTING.c
    rows = conn.execute(
        sa.select(
            p.quota_id,
            p.holding_id,
            sa.func.sum(_into("reserved")).label("reserved"),
            sa.func.sum(_into("released")).label("released"),
        )
        .where(p.grant_id == grant_id)
        .group_by(p.quota_id, p.holding_id)
        .order_by(sa.func.min(p.n))
    )
    return {
        (row.quota_id, row.holding_id): Account(int(row.reserved), int(row.released))
        for row in rows
    }


def _standing(conn: Connection, grant_id: str) -> tuple[list[sa.Row[Any]], list[sa.Row[Any]]]:
    """A grant's items that have gone out, and those that still may."""
    gone = set(
        conn.execute(
            sa.select(_RELEASED.c.holding_id)
            .join(_RELEASE, _RELEASE.c.id == _RELEASED.c.release_id)
            .where(_RELEASE.c.grant_id == grant_id)
        ).scalars()
    )
    query = sa.select(_GRANT.c.state).where(_GRANT.c.id == grant_id)
    alive, items = conn.execute(query).scalar() in LIVE, _items(conn, grant_id)
    return (
        [row for row in items if row.holding_id in gone],
        [row for row in items if alive and row.removed_at is None and row.holding_id not in gone],
    )


def _items(conn: Connection, grant_id: str) -> Sequence[sa.Row[Any]]:
    query = sa.select(_ITEM).where(_ITEM.c.grant_id == grant_id).order_by(_ITEM.c.holding_id)
    return conn.execute(query).all()
