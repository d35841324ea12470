"""What goes out under a grant: the manifest under the project's pseudonyms, the visa, the record of it.

The rules it keeps: no id of a donor, a holding or a tube leaves the bank, only names made for one
project, which no other project's names join; a visa (GA4GH Passports 1.2) never outlives its grant and
names nobody but by opaque id. Signing it is for whoever holds the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from audit.leaf import canonical
from gateway import tables
from gateway.release.grants.standing import HOLDING, RELEASE, RELEASED, Grant, Picked
from gateway.tables import SHANGHAI

DECISION = tables.table_of(tables.DecisionRow)
VERSION = tables.table_of(tables.RequestVersion)

CHUNK = 500  # ids in one IN (…): well below the 32,766 variables SQLite takes

#: A visa cannot be called back from whoever holds it, while a donor may withdraw any day: so it is
#: short, and the next release gives the next one. Our own choice, not the specification's.
VISA_LONGEST = timedelta(days=30)
URL_MOST = 255  # characters of a URL claim in a Passport

Pseudonym = Callable[[str, str], str]
"""`pseudonym(project, name)`: what one project knows something by (`Keys.pseudonym`)."""


def item_code(pseudonym: Pseudonym, project_id: str, holding_id: str) -> str:
    """The code one project knows a holding by; it stands on the tube that is handed over."""
    return "I" + pseudonym(project_id, f"holding\x00{holding_id}")[1:]


def manifest(  # noqa: PLR0913 - what a manifest says, each by its name
    conn: Connection,
    *,
    release_id: str,
    grant: Grant,
    items: Sequence[Picked],
    decision_id: str,
    leaf_index: int,
    obligations: Sequence[str],
    pseudonym: Pseudonym,
    now: datetime,
) -> bytes:
    """What is handed over, as canonical JSON (RFC 8785), items by code.

    A tube has its `units`, a data item the SHA-256 and size of its file. `leaf_index` is the leaf of
    the decision it rests on; `until` the last good day. Raises `ValueError` for no items.
    """
    if not items:
        raise ValueError("a manifest of nothing")
    held = _held(conn, [one.holding_id for one in items])
    lines = [_line(grant.project_id, one, held[one.holding_id], pseudonym) for one in items]
    return canonical(
        {
            "format": "hgr-manifest-1",
            "release": release_id,
            "grant": grant.id,
            "project": grant.project_id,
            "recipient": grant.party_id,
            "decision": decision_id,
            "leaf": leaf_index,
            "made": now.astimezone(SHANGHAI).isoformat(timespec="seconds"),
            "until": grant.until.isoformat(),
            "purpose": _purpose(conn, grant),
            "obligations": sorted(set(obligations)),
            "counts": {
                "donors": len({one.donor_id for one in items}),
                "items": len(items),
                "units": sum(one.units for one in items),
            },
            "items": sorted(lines, key=lambda line: str(line["code"])),
        }
    )


def release_url(issuer: str, grant_id: str, release_id: str) -> str:
    """Where the release lies on the gateway; the `value` of its visa."""
    return f"{issuer}/v1/grants/{grant_id}/releases/{release_id}"


def end_of(until: date) -> datetime:
    """The first instant at which a grant good through `until` (Shanghai) is over."""
    return datetime.combine(until + timedelta(days=1), time(), SHANGHAI)


def visa_claims(grant: Grant, *, issuer: str, release_id: str, now: datetime) -> dict[str, object]:
    """The claims of a ControlledAccessGrants visa for one release to the organisation of `grant`, by its opaque id.

    `iss, sub, iat, exp, jti` and `ga4gh_visa_v1`; times in seconds since 1970 UTC. `exp` is the end
    of the grant's last day or 30 days from now, whichever comes first. Raises `ValueError` if the
    grant is over, or if the URL is longer than the specification lets it be.
    """
    end = min(end_of(grant.until), now + VISA_LONGEST)
    if end <= now:
        raise ValueError(f"the grant ended on {grant.until}")
    value = release_url(issuer, grant.id, release_id)
    if len(value) > URL_MOST:
        raise ValueError(f"`{value}` is longer than {URL_MOST} characters")
    return {
        "iss": issuer,
        "sub": grant.party_id,
        "iat": int(now.timestamp()),
        "exp": int(end.timestamp()),
        "jti": release_id,
        "ga4gh_visa_v1": {
            "type": "ControlledAccessGrants",
            "asserted": int(grant.created_at.timestamp()),
            "value": value,
            "source": issuer,
            # `by` is mandatory for this type; the bank's rules and officers stand where a data
            # access committee (dac) does.
            "by": "dac",
        },
    }


def record_release(  # noqa: PLR0913 - a row's columns, each by its name
    conn: Connection,
    *,
    release_id: str,
    grant: Grant,
    decision_id: str,
    items: Sequence[Picked],
    manifest: bytes,
    visa: str,
    pseudonym: Pseudonym,
    now: datetime,
) -> None:
    """Write down what is about to go out: release and items.

    The caller settles the grant's account of quotas and tubes, and counts the people.
    """
    conn.execute(
        sa.insert(RELEASE).values(
            id=release_id,
            grant_id=grant.id,
            decision_id=decision_id,
            state="intended",
            manifest=manifest,
            manifest_sha256=hashlib.sha256(manifest).hexdigest(),
            visa=visa,
            handed_by="",
            handed_how="",
            received_by="",
            receipt_sha256="",
            created_at=now,
        )
    )
    conn.execute(
        sa.insert(RELEASED),
        [
            {
                "release_id": release_id,
                "holding_id": one.holding_id,
                "donor_id": one.donor_id,
                "pseudonym": pseudonym(grant.project_id, one.donor_id),
                "units": one.units,
            }
            for one in items
        ],
    )


def _held(conn: Connection, ids: Sequence[str]) -> dict[str, sa.Row[Any]]:
    found: dict[str, sa.Row[Any]] = {}
    for start in range(0, len(ids), CHUNK):
        rows = conn.execute(sa.select(HOLDING).where(HOLDING.c.id.in_(ids[start : start + CHUNK])))
        found |= {row.id: row for row in rows}
    return found


def _line(
    project_id: str, item: Picked, held: sa.Row[Any], pseudonym: Pseudonym
) -> dict[str, object]:
    line: dict[str, object] = {
        "code": item_code(pseudonym, project_id, item.holding_id),
        "donor": pseudonym(project_id, item.donor_id),
        "kind": held.kind,
        "units": item.units,
    }
    if held.sha256 is not None:
        line |= {"sha256": held.sha256, "bytes": held.bytes}
    return line


def _purpose(conn: Connection, grant: Grant) -> dict[str, object]:
    """The purpose the grant was decided on; a later version of the request says nothing here."""
    body = conn.execute(
        sa.select(VERSION.c.body)
        .join(
            DECISION,
            sa.and_(
                DECISION.c.request_id == VERSION.c.request_id, DECISION.c.version == VERSION.c.n
            ),
        )
        .where(DECISION.c.id == grant.decision_id)
    ).scalar_one()
    purpose: dict[str, object] = json.loads(body)["purpose"]
    return purpose
