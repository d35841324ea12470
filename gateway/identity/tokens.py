"""Signed tokens: access tokens (RFC 9068) and visas, and the public keys that verify them.

The only file that imports PyJWT. The rules it keeps:
- One issuer, one algorithm: ES256 with the bank's own key. Nothing in a token's header is believed; it
  must say exactly what we would have written, so `none`, other algorithms, `jwk`, `jku`, `x5u` and
  `crit` are refused before any cryptography.
- A token has one spelling: base64url without padding, canonical. (PyJWT tolerates others.)
- A token is worth what its key is worth now: a revoked or expired key takes its tokens with it, and
  they work only from the key's networks.
- Times are judged by the bank's clock, not by the machine's.
- What was verified is believed for ten seconds at most, and never past its end in this process.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.identity import api_keys
from gateway.identity.api_keys import Address, Key
from gateway.identity.scopes import KEY_SCOPES, Caller, Scope
from gateway.tables import ApiKey, RevokedToken

ALGORITHM: Final = "ES256"
ACCESS: Final = "at+jwt"  # RFC 9068 §2.1
VISA: Final = "vnd.ga4gh.visa+jwt"  # GA4GH Passport 1.2
JWKS_PATH: Final = "/oauth/jwks.json"

#: Clocks of two gateways of one bank may differ by this much.
LEEWAY = timedelta(seconds=5)
#: Ours are about 600 characters; nothing longer is even parsed.
LONGEST = 4096
#: How long a verified token is believed without asking again.
LIFE = timedelta(seconds=10)
#: How long nothing about an ended key or token is remembered: longer than any commit takes, so that
#: no answer read before the commit is kept past it.
GUARD = timedelta(minutes=15)
#: More tokens than this at once and all are checked anew.
CAPACITY = 10_000

# RFC 9068 §2.2 names these as required; `org` is ours.
_REQUIRED = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope", "org"]
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

_KEYS: sa.Table = ApiKey.__table__  # type: ignore[attr-defined]  # SQLModel makes it at class creation
_REVOKED: sa.Table = RevokedToken.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a verified access token says. Instants are aware UTC, whole seconds."""

    key_id: str
    party_id: str
    scopes: frozenset[Scope]
    jti: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A new access token: its text and what it says."""

    text: str
    claims: Claims


def issue(bank: Bank, key: Key, scopes: frozenset[Scope]) -> Issued:
    """An access token for a verified key with some of its scopes; never outlives the key."""
    now = bank.now().replace(microsecond=0)
    life = timedelta(seconds=bank.settings.token_seconds)
    claims = Claims(
        key_id=key.id,
        party_id=key.party_id,
        scopes=scopes & key.scopes,
        jti=secrets.token_hex(16),
        issued_at=now,
        expires_at=min(now + life, key.expires_at.replace(microsecond=0)),
    )
    payload = {
        "iss": bank.settings.issuer,
        "aud": bank.settings.issuer,
        # RFC 9068 §2.2: "where no resource owner is involved … the value of sub SHOULD correspond
        # to an identifier the authorization server uses to indicate the client application".
        "sub": key.id,
        "client_id": key.id,
        "org": key.party_id,
        "scope": " ".join(sorted(claims.scopes)),
        "iat": int(claims.issued_at.timestamp()),
        "exp": int(claims.expires_at.timestamp()),
        "jti": claims.jti,
    }
    return Issued(text=_signed(payload, bank.keys.token, {"typ": ACCESS}), claims=claims)


def verify(bank: Bank, text: str) -> Claims:
    """What an access token says, if we wrote it and it is in force; the database is not asked.

    Raises `ProblemError` `token_invalid`; the detail never tells which forgery was noticed.
    """
    _verify_spelling(text)
    try:
        header = jwt.get_unverified_header(text)
        if header != {"alg": ALGORITHM, "typ": ACCESS, "kid": thumbprint(bank.keys.token)}:
            raise _invalid("the token was not issued here")
        payload = jwt.decode(
            text,
            bank.keys.token.public_key(),
            algorithms=[ALGORITHM],
            audience=bank.settings.issuer,
            issuer=bank.settings.issuer,
            options={
                "require": _REQUIRED,
                "strict_aud": True,
                "enforce_minimum_key_length": True,
                # PyJWT knows the machine's clock only: `_times` judges by the bank's.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, RecursionError) as error:
        raise _invalid("the token was not issued here") from error
    issued_at, expires_at = _times(payload, bank.now())
    scopes = _scopes(payload)
    if payload["client_id"] != payload["sub"] or not isinstance(payload["org"], str):
        raise _invalid("the token was not issued here")
    return Claims(
        key_id=payload["sub"],
        party_id=payload["org"],
        scopes=scopes,
        jti=payload["jti"],
        issued_at=issued_at,
        expires_at=expires_at,
    )


def authenticate(
    conn: Connection, bank: Bank, verified: Verified, text: str, *, address: Address | None
) -> Caller:
    """Who presents this access token: one select, and it is remembered for some seconds.

    Raises `ProblemError`: `token_invalid`, and as for its key `key_revoked`, `key_expired`,
    `address_refused`.
    """
    now = bank.now()
    claims = verify(bank, text)
    key = standing(conn, claims)
    api_keys.verify_standing(key, address=address, now=now)
    known = Known(
        caller=replace(api_keys.caller_of(key), scopes=claims.scopes & key.scopes),
        key=key,
        jti=claims.jti,
        since=now,
        until=min(now + LIFE, claims.expires_at + LEEWAY, key.expires_at),
    )
    verified.put(_digest(text), known)
    return known.caller


def remembered(
    bank: Bank, verified: Verified, text: str, *, address: Address | None
) -> Caller | None:
    """Who presented this access token a moment ago, without asking the database; None: ask it.

    The address is judged each time, for the same token may come from another one: raises
    `ProblemError` `address_refused`.
    """
    now = bank.now()
    known = verified.get(_digest(text), now)
    if known is None:
        return None
    api_keys.verify_standing(known.key, address=address, now=now)
    return known.caller


def standing(conn: Connection, claims: Claims) -> Key:
    """The key behind a token, as it stands now. Raises `token_invalid` if the token was revoked."""
    taken_back = sa.exists().where(_REVOKED.c.jti == claims.jti)
    query = sa.select(_KEYS, taken_back.label("taken_back")).where(_KEYS.c.id == claims.key_id)
    row = conn.execute(query).one_or_none()
    if row is None or row.taken_back:
        raise _invalid("the token was revoked")
    return api_keys.from_row(row)


def revoke(conn: Connection, claims: Claims, *, now: datetime, verified: Verified) -> None:
    """Take an access token back before its end (RFC 7009): a unit part. Twice is no error."""
    verified.forget(claims.jti, now)
    known = sa.select(_REVOKED.c.jti).where(_REVOKED.c.jti == claims.jti)
    if conn.execute(known).first() is None:
        conn.execute(
            sa.insert(_REVOKED).values(jti=claims.jti, expires_at=claims.expires_at, revoked_at=now)
        )


def sign_visa(bank: Bank, claims: Mapping[str, Any]) -> str:
    """A GA4GH visa document token over the whole payload `claims`, signed with the visa key.

    Passport 1.2: `kid` and `jku` name the key; `jku` is our own JWKS.
    """
    jku = bank.settings.issuer + JWKS_PATH
    return _signed(dict(claims), bank.keys.visa, {"typ": VISA, "jku": jku})


def jwks(bank: Bank) -> dict[str, list[dict[str, str]]]:
    """The public keys of access tokens and visas as a JWK Set (RFC 7517)."""
    return {"keys": [_public(bank.keys.token), _public(bank.keys.visa)]}


def thumbprint(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> str:
    """The name of a key: its JWK thumbprint with SHA-256 (RFC 7638), base64url."""
    jwk = _members(key)
    # RFC 7638 §3: only the required members, "ordered lexicographically", no whitespace.
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _public(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    jwk = _members(key)
    return {**jwk, "use": "sig", "alg": ALGORITHM, "kid": thumbprint(key)}


def _members(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> dict[str, str]:
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    return {name: str(jwk[name]) for name in ("kty", "crv", "x", "y")}


def _signed(
    payload: dict[str, Any], key: ec.EllipticCurvePrivateKey, header: dict[str, str]
) -> str:
    return jwt.encode(payload, key, ALGORITHM, headers={**header, "kid": thumbprint(key)})


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _verify_spelling(text: str) -> None:
    if len(text) > LONGEST or _COMPACT.fullmatch(text) is None:
        raise _invalid("the credential is not a token")
    for part in text.split("."):
        try:
            octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        except binascii.Error as error:
            raise _invalid("the credential is not a token") from error
        # RFC 4648 §3.5: unused bits must be zero, else one token would have several spellings.
        if base64.urlsafe_b64encode(octets).rstrip(b"=") != part.encode():
            raise _invalid("the credential is not a token")


def _times(payload: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    for name in ("iat", "exp"):
        if type(payload[name]) is not int:  # a bool is an int to isinstance
            raise _invalid("the token was not issued here")
    try:
        issued_at = datetime.fromtimestamp(payload["iat"], UTC)
        expires_at = datetime.fromtimestamp(payload["exp"], UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise _invalid("the token was not issued here") from error
    if issued_at > now + LEEWAY:
        raise _invalid("the token is not in force yet")
    if expires_at + LEEWAY <= now:
        raise _invalid("the token has expired")
    return issued_at, expires_at


def _scopes(payload: Mapping[str, Any]) -> frozenset[Scope]:
    allowed = {scope.value for scope in KEY_SCOPES}
    names = str(payload["scope"]).split()
    if not set(names) <= allowed:
        raise _invalid("the token was not issued here")
    return frozenset(Scope(name) for name in names)


def _invalid(detail: str) -> ProblemError:
    return ProblemError("token_invalid", detail)


# ---- what was verified a moment ago --------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A verified token: its caller, the key behind it, its `jti` and until when to believe it."""

    caller: Caller
    key: Key
    jti: str
    since: datetime
    until: datetime


class Verified:
    """What this process verified a moment ago, so that a token is not checked anew at each request.

    INVARIANT: an answer from here is at most `LIFE` old, and never about a key or token whose end was
    asked for in this process. `forget` is called inside the unit that ends it, before the commit: from
    then on every request asks the database, which says "still good" until the commit and "ended" after
    it, whether or not the unit is rolled back. Other processes see the end within `LIFE`.

    Safe from threads, for each step is one dictionary operation.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._ended: dict[str, datetime] = {}

    def get(self, digest: bytes, now: datetime) -> Known | None:
        """What is known of the token with this SHA-256, or None: ask the database."""
        known = self._known.get(digest)
        if known is None:
            return None
        # A clock set back must not lengthen an answer's life either.
        if known.since <= now < known.until and not self._is_ended(known):
            return known
        self._known.pop(digest, None)
        return None

    def put(self, digest: bytes, known: Known) -> None:
        """Remember a token just verified against the database."""
        if len(self._known) >= CAPACITY:
            self._known = {}
        self._known[digest] = known

    def forget(self, ended: str, now: datetime) -> None:
        """Never again answer for this key id or `jti` from memory."""
        if len(self._ended) >= CAPACITY:
            self._ended = {name: until for name, until in self._ended.items() if now < until}
        self._ended[ended] = now + GUARD

    def _is_ended(self, known: Known) -> bool:
        return any(
            known.since < self._ended[name]
            for name in (known.key.id, known.jti)
            if name in self._ended
        )
