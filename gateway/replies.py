"""How an act answers: rendered inside its transaction, remembered under its `Idempotency-Key`.

The rule it keeps: a retry learns the one outcome (reliability: I6). The rendered answer is stored in
the transaction of the act itself, so there is no moment in which the act is durable and its answer is
not. The same key with another body or route is refused; an act that raised is not remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.tables import Idempotency, table_of

T = TypeVar("T")
_answers = table_of(Idempotency)
# Said once: to build a statement costs more than to run it.
_STORE = sa.insert(_answers)
_STORED = sa.select(_answers).where(
    _answers.c.client == sa.bindparam("who"), _answers.c.key == sa.bindparam("under")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An answer as it leaves the process."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How to answer one caller, and under which `Idempotency-Key` to remember it (None: none given).

    `client` is the caller's opaque id; `route` method and path; `body_hash` the SHA-256 of the raw
    body, in hex; `render` turns the act's result into the answer.
    """

    client: str
    key: str | None
    route: str
    body_hash: str
    render: Callable[[Any], Rendered]


async def commit(bank: Bank, reply: Reply, act: Callable[[Connection], T]) -> Rendered:
    """Run `act` as a unit of the writer; the answer leaves after COMMIT.

    Raises whatever `act` raises (nothing is then stored), `idempotency_conflict`, or
    `CommitUnknownError`.
    """
    now = bank.now()

    def unit(conn: Connection) -> Rendered:
        stored = _stored(conn, reply)
        if stored is not None:
            return stored
        rendered = reply.render(act(conn))
        _store(conn, reply, rendered, now)
        return rendered

    return await bank.database.write_async(unit)


def replayed(bank: Bank, reply: Reply) -> Rendered | None:
    """What was answered before under this key; None if nothing was.

    For an act that looks at something before its transaction: a retry must not be told what has become
    of it since, but what was answered. Raises `idempotency_conflict`.
    """
    with bank.database.read() as conn:
        return _stored(conn, reply)


def _stored(conn: Connection, reply: Reply) -> Rendered | None:
    if reply.key is None:
        return None
    row = conn.execute(_STORED, {"who": reply.client, "under": reply.key}).first()
    if row is None:
        return None
    if (row.route, row.body_hash) != (reply.route, reply.body_hash):
        raise ProblemError("idempotency_conflict", f"`{reply.key}` was used for another request")
    return Rendered(
        status=row.status,
        body=row.response,
        headers={**row.headers, "Idempotent-Replayed": "true"},
    )


def _store(conn: Connection, reply: Reply, rendered: Rendered, now: datetime) -> None:
    if reply.key is None:
        return
    answered = {
        "client": reply.client,
        "key": reply.key,
        "route": reply.route,
        "body_hash": reply.body_hash,
        "status": rendered.status,
        "response": rendered.body,
        "headers": dict(rendered.headers),
        "created_at": now,
    }
    conn.execute(_STORE, answered)
