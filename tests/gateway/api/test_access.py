"""Who reaches what: another organisation's thing and no thing at all look the same."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.api import contract
from gateway.api.contract import Described
from gateway.app import routes
from gateway.bank import Bank
from gateway.identity import api_keys
from tests.gateway.api.cast import HOSPITAL, Cast, ask, mint
from tests.gateway.api.door import Door
from tests.gateway.conftest import SettableClock
from tests.store import execute

#: Routes about one thing of an organisation: path parameter → what the story made.
OWN = {
    "request_id": "request",
    "decision_id": "decision",
    "grant_id": "grant",
    "release_id": "release",
    "key_id": "spare_key",
}
ROWS = list(contract.described(routes()))
ABOUT_ONE = [row for row in ROWS if any(f"{{{name}}}" in row.path for name in OWN)]
SCOPED = [row for row in ROWS if row.scopes]
ROLES = ("researcher key", "researcher token", "officer", "administrator", "auditor", "regulator")


def _send(door: Door, row: Described, thing: str, who: str | None) -> tuple[int, str]:
    path = row.path
    for name in OWN:
        path = path.replace(f"{{{name}}}", thing)
    headers = {"Idempotency-Key": "access-1", "If-Match": '"1"'}
    body = {}
    if row.body is not None and row.operation is not None:
        headers["Content-Type"] = row.body.media_type
        body = {"json": dict(row.operation.example or {})}
    if row.name == "acknowledge":
        body = {"json": {"manifest_sha256": "0" * 64, "statement": "收到"}}
    answer = door.request(row.method.upper(), path, as_=who, headers=headers, **body)
    problem = answer.json() if answer.content else {}
    return answer.status_code, str(problem.get("detail", "")).replace(thing, "…")


@pytest.mark.parametrize("row", ABOUT_ONE, ids=lambda row: row.name)
def test_anothers_thing_looks_like_no_thing(door: Door, cast: Cast, row: Described) -> None:
    name = next(made for parameter, made in OWN.items() if f"{{{parameter}}}" in row.path)
    foreign = _send(door, row, cast.made[name], cast.other_key)
    unknown = _send(door, row, "thing_that_is_not", cast.other_key)
    assert foreign == unknown
    assert foreign[0] in {403, 404}


@pytest.mark.parametrize("role", ROLES)
def test_a_scope_one_does_not_hold_is_refused_before_anything_is_looked_at(
    door: Door, bank: Bank, cast: Cast, role: str
) -> None:
    who = cast.roles[role]
    caller = door.app.state.gate.caller_of(who, None)
    for row in SCOPED:
        if not set(row.scopes) <= {str(scope) for scope in caller.scopes}:
            assert _send(door, row, "thing_that_is_not", who)[0] == 403, (role, row.name)


def test_without_a_credential_nothing_scoped_answers(door: Door) -> None:
    for row in SCOPED:
        assert _send(door, row, "thing_that_is_not", None)[0] == 401, row.name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("expired", "key_expired"),
        ("revoked", "key_revoked"),
        ("mistyped", "unauthenticated"),
        ("unknown", "unauthenticated"),
        ("forged token", "token_invalid"),
        ("unsigned token", "token_invalid"),
        ("session after sign-out", "session_ended"),
    ],
)
def test_a_credential_that_is_not_good_any_more(
    door: Door, bank: Bank, cast: Cast, clock: SettableClock, name: str, code: str
) -> None:
    credential = cast.key
    claims = {"iss": bank.settings.issuer, "aud": bank.settings.issuer, "sub": cast.key_id,
              "client_id": cast.key_id, "scope": "grants:read", "jti": "x", "org": HOSPITAL,
              "iat": int(bank.now().timestamp()),
              "exp": int((bank.now() + timedelta(minutes=5)).timestamp())}  # fmt: skip
    match name:
        case "expired":
            clock.advance(days=301)
        case "revoked":
            path = f"/v1/keys/{cast.key_id}:revoke"
            admin = cast.sessions["admin.one"]
            assert door.post(path, json={"reason": "疑似泄露"}, as_=admin).status_code == 200
        case "mistyped":
            credential = cast.key[:-1] + ("a" if cast.key[-1] != "a" else "b")
        case "unknown":
            credential = "hgr_live_" + "0" * 10 + "_" + "0" * 30
            credential += api_keys.checksum(credential)
        case "forged token":
            key = ec.generate_private_key(ec.SECP256R1())
            credential = jwt.encode(claims, key, "ES256", headers={"typ": "at+jwt"})
        case "unsigned token":
            credential = jwt.encode(claims, None, "none", headers={"typ": "at+jwt"})
        case _:
            credential = cast.second
            assert door.request("DELETE", "/v1/sessions", as_=credential).status_code == 204
    answer = door.get("/v1/grants", as_=credential)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_tokens_end_with_their_key(door: Door, cast: Cast) -> None:
    assert door.get("/v1/grants", as_=cast.token).status_code == 200
    path = f"/v1/organisation/keys/{cast.key_id}:revoke"
    assert door.post(path, json={"reason": "疑似泄露"}, as_=cast.key).status_code == 200
    assert door.get("/v1/grants", as_=cast.token).status_code == 401


def test_a_key_of_few_scopes_reaches_no_further(door: Door, bank: Bank, cast: Cast) -> None:
    narrow = mint(bank, HOSPITAL, ("samples:query",)).text
    assert door.post("/v1/evaluations", json={"ask": ask()}, as_=narrow).status_code == 200
    assert door.get("/v1/grants", as_=narrow).json()["code"] == "scope_missing"


def test_a_new_key_is_shown_once(door: Door, bank: Bank, cast: Cast) -> None:
    body = {"party": HOSPITAL, "label": "x", "scopes": ["grants:read"]}
    body["expires_at"] = "2027-01-01T00:00:00Z"
    admin, headers = cast.sessions["admin.one"], {"Idempotency-Key": "k"}
    first = door.post("/v1/keys", json=body, headers=headers, as_=admin).json()
    assert door.get("/v1/grants", as_=first["key"]).status_code == 200
    listed = door.get("/v1/keys", params={"party": HOSPITAL}, as_=admin)
    assert first["id"] in listed.text
    assert first["key"] not in listed.text
    kept = bank.database.write(partial(_everything_kept))
    assert first["key"] not in kept


def _everything_kept(conn: object) -> str:
    rows = execute(conn, "SELECT * FROM idempotency").fetchall()  # type: ignore[attr-defined]  # a Connection
    return str(rows)
