"""People: how a person is made, signs in with password and code, and is signed out.

The rules it keeps:
- Two factors, always: a password (argon2id, RFC 9106) and a time-based code (RFC 6238), whose secret
  is sealed under a key outside the database. A code is good once (RFC 6238 §5.2).
- Every refused sign-in gets the same answer after the same slow work: unknown login, wrong password,
  wrong or used code, a locked or closed account. Each costs one durable write, counted or not. Who
  is locked out learns it from the administrator, who sees it; an attacker learns nothing.
- Ten failures in a row lock the account for a minute, each further one for twice as long, up to
  fifteen. While it is locked nothing is counted, so nobody can be kept out for ever.
- A session is a random token of which only the hash is kept; it ends when idle, at its last hour,
  at sign-out, and when the person is closed. Roles are read anew at every request.

Signing in takes two steps, because argon2 is slow by design and there is one writer:

    proof = people.prove_password(conn, login, password)          # in a reading thread, some 50 ms
    outcome = database.write(partial(people.sign_in, bank=bank, proof=proof, code=code))
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import pyotp
import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pyotp.totp import TOTP
from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.errors import FieldError, ProblemError
from gateway.identity.api_keys import BASE62
from gateway.identity.scopes import Caller, Role, roles_from, scopes_of
from gateway.tables import Party, Person, RevokedToken, SignIn, new_id

PREFIX: Final = "hgr_session_"
TOKEN = re.compile(r"hgr_session_[0-9A-Za-z]{43}")
_TOKEN_LENGTH = 43  # log2(62 ** 43) = 256 bits

LOCK_AFTER = 10
_FIRST_LOCK = timedelta(minutes=1)
_LONGEST_LOCK = timedelta(minutes=15)

SHORTEST_PASSWORD = 12  # with a second factor NIST SP 800-63B-4 §3.1.1.2 asks for 8
LONGEST_PASSWORD = 128  # longer ones only cost work
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{2,63}")
_CODE = re.compile(r"[0-9]{6}")

_ISSUER = "HGR gateway"

#: RFC 9106 §4, second recommended option: 3 passes over 64 MiB. Two at a time, so that a flood of
#: sign-ins costs its senders patience and not the machine its memory.
_hasher = PasswordHasher()
_turns = threading.BoundedSemaphore(2)
#: What an unknown login's password is verified against: same parameters, so the same work.
_NOBODY: Final = _hasher.hash(secrets.token_hex(16))

_PEOPLE: sa.Table = Person.__table__  # type: ignore[attr-defined]  # SQLModel makes it at class creation
_SIGN_INS: sa.Table = SignIn.__table__  # type: ignore[attr-defined]  # as above
_PARTIES: sa.Table = Party.__table__  # type: ignore[attr-defined]  # as above
_REVOKED: sa.Table = RevokedToken.__table__  # type: ignore[attr-defined]  # as above


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPerson:
    """A person to be made; `password_hash` is from `hash_password`, made before the writer's turn."""

    login: str
    name: str
    party_id: str
    roles: tuple[str, ...]
    password_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A new person and the secret of their code generator, shown once."""

    person_id: str
    totp_secret: str
    totp_uri: str  # for a QR code


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a password proved about a login. `person_id` is None for an unknown login."""

    person_id: str | None
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A new session; `token` exists only here. Instants are UTC."""

    session_id: str
    person_id: str
    token: str
    expires_at: datetime
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A sign-in that failed. A value, for the failure it counted must be committed.

    `person_id` and `locked_until` are for the log and the administrator, never for the answer.
    """

    person_id: str | None
    locked_until: datetime | None

    def problem(self) -> ProblemError:
        """The one answer to every refused sign-in."""
        return ProblemError(
            "sign_in_refused",
            "login, password or code is not right, or the account is locked for some minutes "
            f"after {LOCK_AFTER} failures",
        )


def hash_password(password: str, *, login: str) -> str:
    """The argon2id hash of a new password; some 50 ms. Raises `ProblemError` if it is too weak."""
    text = _normal(password)
    detail = ""
    if not SHORTEST_PASSWORD <= len(text) <= LONGEST_PASSWORD:
        detail = f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
    elif len(set(text)) < SHORTEST_PASSWORD // 2 or login.casefold() in text.casefold():
        detail = "the password is too easy to guess"
    if detail:
        errors = (FieldError(pointer="/password", detail=detail),)
        raise ProblemError("invalid_request", detail, errors=errors)
    with _turns:
        return _hasher.hash(text)


def create(conn: Connection, bank: Bank, new: NewPerson) -> Enrolled:
    """Make a person: a unit part. Raises `ProblemError` for a bad or taken login, an unknown party,
    or roles that must be different people.
    """
    roles = roles_from(new.roles)
    if _LOGIN.fullmatch(new.login) is None:
        detail = "3 to 64 of a-z, 0-9, `.`, `_`, `@`, `-`, and begins with a letter or digit"
        errors = (FieldError(pointer="/login", detail=detail),)
        raise ProblemError("invalid_request", "the login is not right", errors=errors)
    if conn.execute(sa.select(_PEOPLE.c.id).where(_PEOPLE.c.login == new.login)).first():
        raise ProblemError("already_done", f"login `{new.login}` is taken")
    if not conn.execute(sa.select(_PARTIES.c.id).where(_PARTIES.c.id == new.party_id)).first():
        raise ProblemError("not_found", f"no party `{new.party_id}`")
    person_id, secret = new_id("psn"), pyotp.random_base32()
    conn.execute(
        sa.insert(_PEOPLE).values(
            id=person_id,
            login=new.login,
            name=new.name,
            party_id=new.party_id,
            roles=sorted(roles),
            password_hash=new.password_hash,
            totp_secret=bank.keys.sealed(secret),
            totp_last_step=0,
            failures=0,
            active=True,
            created_at=bank.now(),
        )
    )
    uri = TOTP(secret).provisioning_uri(name=new.login, issuer_name=_ISSUER)
    return Enrolled(person_id=person_id, totp_secret=secret, totp_uri=uri)


def close(conn: Connection, person_id: str, *, now: datetime) -> None:
    """Close a person's account and end their sessions: a unit part. Raises `not_found`."""
    closed = conn.execute(sa.update(_PEOPLE).where(_PEOPLE.c.id == person_id).values(active=False))
    if closed.rowcount == 0:
        raise ProblemError("not_found", f"no person `{person_id}`")
    conn.execute(
        sa.update(_SIGN_INS)
        .where(_SIGN_INS.c.person_id == person_id, _SIGN_INS.c.ended_at.is_(None))
        .values(ended_at=now)
    )


def prove_password(conn: Connection, login: str, password: str) -> Proof:
    """Whether the password is that login's. Reads only; the same work whether or not it exists."""
    query = sa.select(_PEOPLE.c.id, _PEOPLE.c.password_hash).where(_PEOPLE.c.login == login)
    row = conn.execute(query).one_or_none()
    # Cut before hashing: a megabyte of password must not buy a megabyte of normalising.
    text = _normal(password[: LONGEST_PASSWORD + 1])
    with _turns:
        is_right = _matches(_NOBODY if row is None else row.password_hash, text)
    return Proof(person_id=None if row is None else row.id, is_right=is_right and row is not None)


def sign_in(conn: Connection, bank: Bank, *, proof: Proof, code: str) -> SignedIn | Refused:
    """Begin a session if password and code are right and the account is open: a unit part.

    1 the account; 2 locked?; 3 both factors; 4 count a failure, or 5 begin the session.
    """
    now = bank.now()
    # 1
    row = conn.execute(sa.select(_PEOPLE).where(_PEOPLE.c.id == proof.person_id)).one_or_none()
    if row is None or not row.active:
        _write_as_much(conn)
        return Refused(person_id=proof.person_id, locked_until=None)
    # 2
    if row.locked_until is not None and now < row.locked_until:
        _write_as_much(conn)
        return Refused(person_id=row.id, locked_until=row.locked_until)
    # 3
    step = _step(bank.keys.opened(row.totp_secret), code, now)
    this_person = sa.update(_PEOPLE).where(_PEOPLE.c.id == row.id)
    if not proof.is_right or step is None or step <= row.totp_last_step:
        # 4
        locked_until = _lock(row.failures + 1, now)
        conn.execute(this_person.values(failures=row.failures + 1, locked_until=locked_until))
        return Refused(person_id=row.id, locked_until=locked_until)
    # 5
    conn.execute(this_person.values(failures=0, locked_until=None, totp_last_step=step))
    token = PREFIX + "".join(secrets.choice(BASE62) for _ in range(_TOKEN_LENGTH))
    session_id = new_id("ses")
    expires_at = now + timedelta(hours=bank.settings.session_hours)
    conn.execute(
        sa.insert(_SIGN_INS).values(
            id=session_id,
            person_id=row.id,
            token_hash=_hash(token),
            created_at=now,
            last_seen_at=now,
            expires_at=expires_at,
        )
    )
    return SignedIn(
        session_id=session_id,
        person_id=row.id,
        token=token,
        expires_at=expires_at,
        roles=_roles(row.roles),
    )


def sign_out(conn: Connection, session_id: str, *, now: datetime) -> None:
    """End a session: a unit part. Ending it twice is no error."""
    conn.execute(
        sa.update(_SIGN_INS)
        .where(_SIGN_INS.c.id == session_id, _SIGN_INS.c.ended_at.is_(None))
        .values(ended_at=now)
    )


def authenticate_session(conn: Connection, bank: Bank, token: str) -> tuple[Caller, datetime]:
    """Who holds this session token, and when it was last seen (UTC): one select.

    Raises `ProblemError` `unauthenticated` for an unknown token, `session_ended` for one that is
    over: signed out, idle too long, past its last hour, or of a closed account.
    """
    if TOKEN.fullmatch(token) is None:
        raise ProblemError("unauthenticated", "the session is not known")
    query = (
        sa.select(
            _SIGN_INS.c.id.label("session_id"),
            _SIGN_INS.c.last_seen_at,
            _SIGN_INS.c.expires_at,
            _SIGN_INS.c.ended_at,
            _PEOPLE.c.id.label("person_id"),
            _PEOPLE.c.name,
            _PEOPLE.c.party_id,
            _PEOPLE.c.roles,
            _PEOPLE.c.active,
        )
        .join(_PEOPLE, _PEOPLE.c.id == _SIGN_INS.c.person_id)
        .where(_SIGN_INS.c.token_hash == _hash(token))
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        raise ProblemError("unauthenticated", "the session is not known")
    idle = timedelta(minutes=bank.settings.session_idle_minutes)
    now = bank.now()
    is_over = row.ended_at is not None or row.expires_at <= now or row.last_seen_at + idle <= now
    if is_over or not row.active:
        raise ProblemError("session_ended", "sign in again")
    roles = _roles(row.roles)
    caller = Caller(
        kind="person",
        id=row.person_id,
        name=row.name,
        party_id=row.party_id,
        scopes=scopes_of(roles),
        roles=roles,
        person_id=row.person_id,
        session_id=row.session_id,
    )
    return caller, row.last_seen_at


def touch(conn: Connection, session_id: str, now: datetime) -> None:
    """Note that a session was used: a unit part. Never sets it back."""
    conn.execute(
        sa.update(_SIGN_INS)
        .where(_SIGN_INS.c.id == session_id, _SIGN_INS.c.last_seen_at < now)
        .values(last_seen_at=now)
    )


def touch_every(bank: Bank) -> timedelta:
    """How stale `last_seen_at` may get: a minute, and never much of the idle time allowed."""
    idle = timedelta(minutes=bank.settings.session_idle_minutes)
    return min(timedelta(minutes=1), idle / 4)


def _write_as_much(conn: Connection) -> None:
    # A counted failure waits for the disk. One that counts nothing must too, or the time it takes
    # would tell which logins exist. (Setting a row to what it is would not do: SQLite skips that.)
    nothing, now = new_id("nothing"), datetime.fromtimestamp(0, UTC)
    conn.execute(sa.insert(_REVOKED).values(jti=nothing, expires_at=now, revoked_at=now))
    conn.execute(sa.delete(_REVOKED).where(_REVOKED.c.jti == nothing))


def _step(secret: str, code: str, now: datetime) -> int | None:
    # RFC 6238 §5.2: "at most one time step is allowed as the network delay"; one ahead for clocks.
    if _CODE.fullmatch(code) is None:
        return None
    step = TOTP(secret).verify_and_get_timecode(code, for_time=now, valid_window=1)
    return None if step is False else int(step)


def _lock(failures: int, now: datetime) -> datetime | None:
    if failures < LOCK_AFTER:
        return None
    doubled: int = 1 << min(failures - LOCK_AFTER, 10)  # capped before it grows without bound
    return now + min(_FIRST_LOCK * doubled, _LONGEST_LOCK)


def _matches(password_hash: str, text: str) -> bool:
    try:
        return _hasher.verify(password_hash, text)
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    # NIST SP 800-63B-4 §3.1.1.2: normalise before hashing, else one password has two spellings.
    return unicodedata.normalize("NFKC", password)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _roles(names: Iterable[str]) -> frozenset[Role]:
    return frozenset(Role(name) for name in names)


def active_roles() -> sa.Select[list[str]]:
    """The roles of every open account, a row each: who is there to do the work."""
    return sa.select(_PEOPLE.c.roles).where(_PEOPLE.c.active)
