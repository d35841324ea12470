"""Which scopes and roles go together."""

from __future__ import annotations

import pytest

from gateway.errors import ProblemError
from gateway.identity.scopes import HELD, KEY_SCOPES, Role, Scope, key_scopes_from, roles_from


@pytest.mark.parametrize("room", ["review", "registry", "admin", "audit", "handovers", "sessions"])
def test_no_key_scope_belongs_to_people(room):
    assert not [scope for scope in KEY_SCOPES if scope.startswith(f"{room}:")]


@pytest.mark.parametrize(
    "name", ["review:decide", "audit:read", "admin:keys", "registry:write", "*", ""]
)
def test_a_key_cannot_carry(name):
    with pytest.raises(ProblemError) as refused:
        key_scopes_from(["samples:query", name])
    assert refused.value.code == "invalid_request"
    assert refused.value.errors[0].pointer == "/scopes/1"


def test_a_key_needs_a_scope():
    with pytest.raises(ProblemError):
        key_scopes_from([])


@pytest.mark.parametrize(
    "roles",
    [
        ("officer", "administrator"),
        ("officer", "auditor"),
        ("officer", "regulator"),
        ("administrator", "auditor"),
        ("administrator", "regulator"),
    ],
)
def test_roles_kept_apart(roles):
    with pytest.raises(ProblemError) as refused:
        roles_from(roles)
    assert refused.value.errors[0].pointer == "/roles"


@pytest.mark.parametrize("roles", [(), ("approver",), ("officer", "root")])
def test_roles_unknown_or_none(roles):
    with pytest.raises(ProblemError):
        roles_from(roles)


def test_auditor_and_regulator_judge_nothing():
    for role in (Role.AUDITOR, Role.REGULATOR):
        assert not [s for s in HELD[role] if s.endswith((":write", ":decide"))]


def test_only_officers_decide():
    assert [role for role in Role if Scope.REVIEW_DECIDE in HELD[role]] == [Role.OFFICER]


def test_every_scope_is_held_by_somebody():
    assert KEY_SCOPES.union(*HELD.values()) == set(Scope)
