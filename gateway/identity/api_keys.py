"""API keys: how they are written, made, verified, rotated and revoked.

A key reads `hgr_live_<id>_<secret><checksum>`: 10 base62 characters of public id, 30 of secret
(178 bits), 6 of CRC-32 over all that precedes, so that a scanner can tell a leaked key from noise
offline and a mistyped one is refused before any database work. `PATTERN` may be published.

The rules it keeps:
- The text is shown once; what is kept is its HMAC-SHA-256 under a pepper outside the database. A slow
  hash would add nothing to 178 random bits but a way to keep us busy.
- An unknown id and a wrong secret get the same answer after the same work. Only who has shown the
  right secret learns that the key has expired, was revoked, or may not come from that address.
- Keys are never deleted: a revoked one stays, with its reason. Whoever ends one also tells the
  process's memory of verified tokens (`forget`), in the same unit.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.errors import FieldError, ProblemError
from gateway.identity.scopes import Caller, Scope, key_scopes_from
from gateway.tables import ApiKey, Party

PREFIX = "hgr_live_"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 10
SECRET_LENGTH = 30  # log2(62 ** 30) = 178 bits
CHECK_LENGTH = 6  # 62 ** 6 > 2 ** 32
PATTERN = re.compile(r"hgr_live_([0-9A-Za-z]{10})_([0-9A-Za-z]{30})([0-9A-Za-z]{6})")

#: The longest time both the old and the new key of a rotation work.
LONGEST_OVERLAP = timedelta(days=30)
#: `last_used_at` is for people; a write per request would make every read a write.
TOUCH_EVERY = timedelta(minutes=1)

Address = IPv4Address | IPv6Address
#: `Verified.forget` of the process: takes the id of what ends, and the instant.
Forget = Callable[[str, datetime], None]

#: Compared against when the id is unknown, so that both wrong answers cost the same.
_NOBODY = "0" * 64

_KEYS: sa.Table = ApiKey.__table__  # type: ignore[attr-defined]  # as above
_PARTIES: sa.Table = Party.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it is kept, without what would let anybody verify it. Instants are UTC."""

    id: str
    party_id: str
    label: str
    scopes: frozenset[Scope]
    networks: tuple[str, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    rotated_from: str | None
    revoked_at: datetime | None
    revoked_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A key somebody asks for. `networks` are CIDR; none means from anywhere."""

    party_id: str
    label: str
    scopes: tuple[str, ...]
    expires_at: datetime
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A new key and its text, which exists only here."""

    key: Key
    text: str


def checksum(text: str) -> str:
    """Six base62 digits of the CRC-32 (IEEE 802.3) of ASCII `text`, most significant first."""
    left = zlib.crc32(text.encode("ascii"))
    digits = []
    for _ in range(CHECK_LENGTH):
        left, digit = divmod(left, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def id_of(text: str) -> str | None:
    """The public id inside a well-formed key text, or None where form or checksum is wrong."""
    match = PATTERN.fullmatch(text)
    if match is None or checksum(text[:-CHECK_LENGTH]) != match[3]:
        return None
    return match[1]


def pepper_id(pepper: bytes) -> str:
    """The name a pepper goes by in the database; it says nothing about the pepper."""
    return hashlib.sha256(b"pepper\x00" + pepper).hexdigest()[:16]


def mint(conn: Connection, bank: Bank, wanted: Wanted, *, created_by: str) -> Minted:
    """Make a key: a unit part. `created_by` is the actor's opaque id.

    Raises `ProblemError` for an unknown party, a scope no key may carry, a broken network, or an
    end that is past or further off than the operator allows (`HGR_KEY_DAYS`).
    """
    party = sa.select(_PARTIES.c.id).where(_PARTIES.c.id == wanted.party_id)
    if conn.execute(party).first() is None:
        raise ProblemError("not_found", f"no party `{wanted.party_id}`")
    now, longest = bank.now(), timedelta(days=bank.settings.key_days)
    if not now < wanted.expires_at <= now + longest:
        detail = f"the end must lie within {longest.days} days from now"
        errors = (FieldError(pointer="/expires_at", detail=detail),)
        raise ProblemError("invalid_request", detail, errors=errors)
    key = Key(
        id=_random(ID_LENGTH),
        party_id=wanted.party_id,
        label=wanted.label,
        scopes=key_scopes_from(wanted.scopes),
        networks=_networks_from(wanted.networks),
        created_by=created_by,
        created_at=now,
        expires_at=wanted.expires_at,
        last_used_at=None,
        rotated_from=None,
        revoked_at=None,
        revoked_reason="",
    )
    return _keep(conn, key, bank.keys.pepper)


def rotate(
    conn: Connection,
    bank: Bank,
    key_id: str,
    *,
    overlap: timedelta,
    created_by: str,
    forget: Forget,
) -> Minted:
    """Give a live key a successor with the same rights and life: a unit part.

    The old key keeps working for `overlap` at the most, and never longer than it would have. Raises
    `ProblemError` for an unknown key, one that has ended, or an overlap over 30 days.
    """
    now, longest = bank.now(), timedelta(days=bank.settings.key_days)
    old = get(conn, key_id)
    if old.revoked_at is not None or old.expires_at <= now:
        raise ProblemError("state_conflict", f"key `{key_id}` has ended; make a new one")
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        detail = f"the overlap must be between 0 and {LONGEST_OVERLAP.days} days"
        errors = (FieldError(pointer="/overlap", detail=detail),)
        raise ProblemError("invalid_request", detail, errors=errors)
    forget(key_id, now)
    conn.execute(
        sa.update(_KEYS)
        .where(_KEYS.c.id == key_id)
        .values(expires_at=min(old.expires_at, now + overlap))
    )
    new = Key(
        id=_random(ID_LENGTH),
        party_id=old.party_id,
        label=old.label,
        scopes=old.scopes,
        networks=old.networks,
        created_by=created_by,
        created_at=now,
        expires_at=now + min(old.expires_at - old.created_at, longest),
        last_used_at=None,
        rotated_from=old.id,
        revoked_at=None,
        revoked_reason="",
    )
    return _keep(conn, new, bank.keys.pepper)


def revoke(conn: Connection, key_id: str, *, reason: str, now: datetime, forget: Forget) -> Key:
    """End a key now: a unit part. Its tokens end with it, the remembered ones too.

    Raises `ProblemError` `not_found`, or `already_done` where it was revoked before.
    """
    forget(key_id, now)
    done = conn.execute(
        sa.update(_KEYS)
        .where(_KEYS.c.id == key_id, _KEYS.c.revoked_at.is_(None))
        .values(revoked_at=now, revoked_reason=reason)
    )
    if done.rowcount == 0:
        get(conn, key_id)
        raise ProblemError("already_done", f"key `{key_id}` was revoked before")
    return get(conn, key_id)


def touch(conn: Connection, key_id: str, now: datetime) -> None:
    """Note that a key was used, at most once a minute: a unit part."""
    conn.execute(
        sa.update(_KEYS)
        .where(
            _KEYS.c.id == key_id,
            sa.or_(_KEYS.c.last_used_at.is_(None), _KEYS.c.last_used_at <= now - TOUCH_EVERY),
        )
        .values(last_used_at=now)
    )


def get(conn: Connection, key_id: str, *, party_id: str | None = None) -> Key:
    """One key; with `party_id`, only of that party. Raises `ProblemError` `not_found` alike for
    an unknown key and somebody else's.
    """
    query = sa.select(_KEYS).where(_KEYS.c.id == key_id)
    if party_id is not None:
        query = query.where(_KEYS.c.party_id == party_id)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise ProblemError("not_found", f"no key `{key_id}`")
    return from_row(row)


def of_party(conn: Connection, party_id: str) -> tuple[Key, ...]:
    """All keys of a party, newest first, the ended ones too."""
    query = sa.select(_KEYS).where(_KEYS.c.party_id == party_id)
    rows = conn.execute(query.order_by(_KEYS.c.created_at.desc(), _KEYS.c.id))
    return tuple(from_row(row) for row in rows)


def verify(
    conn: Connection, text: str, *, address: Address | None, now: datetime, pepper: bytes
) -> tuple[Caller, Key]:
    """Who presents this key text; `address` is where from, None where that is not known.

    Raises `ProblemError`: `unauthenticated` for a malformed or unknown key or a wrong secret;
    `key_revoked`, `key_expired`, `address_refused` for the right one that may not be used.
    """
    key_id = id_of(text)
    if key_id is None:
        raise _unauthenticated()
    row = conn.execute(sa.select(_KEYS).where(_KEYS.c.id == key_id)).one_or_none()
    kept = _NOBODY if row is None else str(row.secret_hmac)
    if not hmac.compare_digest(_hmac(pepper, text), kept) or row is None:
        raise _unauthenticated()
    key = from_row(row)
    verify_standing(key, address=address, now=now)
    return caller_of(key), key


def verify_standing(key: Key, *, address: Address | None, now: datetime) -> None:
    """Raise `ProblemError` unless the key may be used now from that address."""
    if key.revoked_at is not None:
        raise ProblemError("key_revoked", f"key `{key.id}` was revoked")
    if key.expires_at <= now:
        raise ProblemError("key_expired", f"key `{key.id}` ended {key.expires_at.isoformat()}")
    if key.networks and not _is_within(address, key.networks):
        # An unknown address is in no network: a bound key never works from nowhere.
        raise ProblemError("address_refused", f"key `{key.id}` may not be used from `{address}`")


def caller_of(key: Key) -> Caller:
    """The caller a key stands for."""
    return Caller(
        kind="key",
        id=f"key_{key.id}",
        name=key.label,
        party_id=key.party_id,
        scopes=key.scopes,
        key_id=key.id,
    )


def _keep(conn: Connection, key: Key, pepper: bytes) -> Minted:
    body = f"{PREFIX}{key.id}_{_random(SECRET_LENGTH)}"
    text = body + checksum(body)
    conn.execute(
        sa.insert(_KEYS).values(
            id=key.id,
            party_id=key.party_id,
            label=key.label,
            secret_hmac=_hmac(pepper, text),
            pepper=pepper_id(pepper),
            scopes=sorted(key.scopes),
            networks=list(key.networks),
            created_by=key.created_by,
            created_at=key.created_at,
            expires_at=key.expires_at,
            rotated_from=key.rotated_from,
            revoked_reason="",
        )
    )
    return Minted(key=key, text=text)


def from_row(row: sa.Row[Any]) -> Key:
    """The key of a row of `api_key`, whatever else was selected beside it."""
    kept = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return Key(
        id=kept["id"],
        party_id=kept["party_id"],
        label=kept["label"],
        scopes=frozenset(Scope(name) for name in kept["scopes"]),
        networks=tuple(kept["networks"]),
        created_by=kept["created_by"],
        created_at=kept["created_at"],
        expires_at=kept["expires_at"],
        last_used_at=kept["last_used_at"],
        rotated_from=kept["rotated_from"],
        revoked_at=kept["revoked_at"],
        revoked_reason=kept["revoked_reason"],
    )


def _networks_from(networks: Sequence[str]) -> tuple[str, ...]:
    good: list[str] = []
    wrong: list[FieldError] = []
    for at, network in enumerate(networks):
        try:
            good.append(str(ip_network(network)))
        except ValueError as error:
            wrong.append(FieldError(pointer=f"/networks/{at}", detail=str(error)))
    if wrong:
        raise ProblemError("invalid_request", "the networks are not right", errors=tuple(wrong))
    return tuple(good)


def _is_within(address: Address | None, networks: Sequence[str]) -> bool:
    return address is not None and any(address in ip_network(network) for network in networks)


def _hmac(pepper: bytes, text: str) -> str:
    return hmac.new(pepper, text.encode("ascii"), hashlib.sha256).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def _unauthenticated() -> ProblemError:
    return ProblemError("unauthenticated", "the api key is not known")
