"""Who may do what: the closed lists of scopes and roles, and the caller that carries them.

The rules it keeps:
- A credential holds scopes; a route names the one it needs. Nothing is allowed by default.
- An API key never judges, never writes facts, never governs, never reads the log: those scopes are
  for people who signed in with two factors.
- Roles that would let one person undo another's control are kept apart (`APART`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from types import MappingProxyType
from typing import Literal

from gateway.errors import FieldError, ProblemError


class Scope(StrEnum):
    """Everything a route may ask for; the name is what travels in tokens and in the contract."""

    SAMPLES_QUERY = "samples:query"  # dry runs, counts, what is held
    REQUESTS_READ = "requests:read"  # own requests, decisions and their proofs
    REQUESTS_WRITE = "requests:write"  # draft, submit, amend, withdraw
    GRANTS_READ = "grants:read"
    RELEASES_READ = "releases:read"
    RELEASES_WRITE = "releases:write"  # ask for a release under a grant, acknowledge its receipt
    KEYS_SELF = "keys:self"  # see, rotate and revoke the organisation's own keys
    REVIEW_READ = "review:read"
    REVIEW_DECIDE = "review:decide"  # recommend, concur, return, reject
    REGISTRY_READ = "registry:read"
    REGISTRY_WRITE = "registry:write"  # papers, parties, forms, determinations, withdrawals
    HANDOVERS_WRITE = "handovers:write"  # record what left the building, by whom and how
    ADMIN_PEOPLE = "admin:people"
    ADMIN_KEYS = "admin:keys"  # keys of every organisation
    ADMIN_LAW = "admin:law"  # propose and activate packs; two people, of either role that holds it
    AUDIT_READ = "audit:read"  # entries and their documents
    AUDIT_EXPORT = "audit:export"
    SESSIONS_SELF = "sessions:self"  # who am I, sign out


class Role(StrEnum):
    """What a person is for the bank; a person may hold several that are not kept apart."""

    OFFICER = "officer"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    REGULATOR = "regulator"


#: What an API key (and so an access token) may carry; the rest is for people.
KEY_SCOPES = frozenset({
    Scope.SAMPLES_QUERY,
    Scope.REQUESTS_READ,
    Scope.REQUESTS_WRITE,
    Scope.GRANTS_READ,
    Scope.RELEASES_READ,
    Scope.RELEASES_WRITE,
    Scope.KEYS_SELF,
})  # fmt: skip

#: role → the scopes it holds.
HELD = MappingProxyType({
    Role.OFFICER: frozenset({
        Scope.SAMPLES_QUERY,
        Scope.REQUESTS_READ,
        Scope.GRANTS_READ,
        Scope.RELEASES_READ,
        Scope.REVIEW_READ,
        Scope.REVIEW_DECIDE,
        Scope.REGISTRY_READ,
        Scope.REGISTRY_WRITE,
        Scope.HANDOVERS_WRITE,
        Scope.ADMIN_LAW,
        Scope.SESSIONS_SELF,
    }),
    Role.ADMINISTRATOR: frozenset({
        Scope.ADMIN_PEOPLE,
        Scope.ADMIN_KEYS,
        Scope.ADMIN_LAW,
        Scope.REGISTRY_READ,
        Scope.SESSIONS_SELF,
    }),
    Role.AUDITOR: frozenset({
        Scope.AUDIT_READ,
        Scope.AUDIT_EXPORT,
        Scope.REQUESTS_READ,
        Scope.GRANTS_READ,
        Scope.RELEASES_READ,
        Scope.REVIEW_READ,
        Scope.REGISTRY_READ,
        Scope.SESSIONS_SELF,
    }),
    Role.REGULATOR: frozenset({Scope.AUDIT_READ, Scope.AUDIT_EXPORT, Scope.SESSIONS_SELF}),
})  # fmt: skip

#: Pairs no person may hold together: who makes accounts could make a second officer of himself;
#: who audits or supervises would judge what he did himself.
APART = frozenset({
    frozenset({Role.ADMINISTRATOR, Role.OFFICER}),
    frozenset({Role.AUDITOR, Role.OFFICER}),
    frozenset({Role.AUDITOR, Role.ADMINISTRATOR}),
    frozenset({Role.REGULATOR, Role.OFFICER}),
    frozenset({Role.REGULATOR, Role.ADMINISTRATOR}),
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who stands at the door. `id` is the opaque actor id the log names; `name` is for people.

    A `key` caller has `key_id` and no roles; a `person` caller has `person_id` and `session_id`.
    """

    kind: Literal["key", "person"]
    id: str
    name: str
    party_id: str
    scopes: frozenset[Scope]
    roles: frozenset[Role] = frozenset()
    key_id: str | None = None
    person_id: str | None = None
    session_id: str | None = None


def scopes_of(roles: Iterable[Role]) -> frozenset[Scope]:
    """The union of what the roles hold."""
    return frozenset().union(*(HELD[role] for role in roles))


def roles_from(names: Iterable[str]) -> frozenset[Role]:
    """The roles so named. Raises `ProblemError` for none, an unknown one, or two kept apart."""
    names = tuple(names)
    known = {role.value for role in Role}
    wrong = [
        FieldError(pointer=f"/roles/{at}", detail=f"unknown role `{name}`")
        for at, name in enumerate(names)
        if name not in known
    ]
    if wrong:
        raise ProblemError("invalid_request", "no such role", errors=tuple(wrong))
    roles = frozenset(Role(name) for name in names)
    if not roles:
        raise _roles_problem("a person needs a role")
    for one, other in combinations(sorted(roles), 2):
        if frozenset({one, other}) in APART:
            raise _roles_problem(f"`{one}` and `{other}` must be different people")
    return roles


def key_scopes_from(names: Iterable[str]) -> frozenset[Scope]:
    """The scopes so named, for an API key. Raises `ProblemError` for none or one no key may carry."""
    names = tuple(names)
    allowed = {scope.value for scope in KEY_SCOPES}
    wrong = [
        FieldError(pointer=f"/scopes/{at}", detail=f"an api key cannot carry `{name}`")
        for at, name in enumerate(names)
        if name not in allowed
    ]
    if not names:
        wrong.append(FieldError(pointer="/scopes", detail="an api key needs a scope"))
    if wrong:
        raise ProblemError("invalid_request", "the scopes are not right", errors=tuple(wrong))
    return frozenset(Scope(name) for name in names)


def _roles_problem(detail: str) -> ProblemError:
    return ProblemError(
        "invalid_request", detail, errors=(FieldError(pointer="/roles", detail=detail),)
    )
