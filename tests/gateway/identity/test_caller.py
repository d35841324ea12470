"""The door: where a credential may stand, which address counts, and routes that name no scope."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi import APIRouter, Depends, FastAPI
from pyotp.totp import TOTP
from starlette.routing import Mount, Route

from gateway.identity import api_keys, people, tokens
from gateway.identity.caller import public, require, unscoped_routes

from .conftest import PASSWORD, START, bearer


def signed_in(bank, enrolled, login="li.officer"):
    with bank.database.read() as conn:
        proof = people.prove_password(conn, login, PASSWORD)
    code = TOTP(enrolled.totp_secret).at(bank.now())
    return bank.database.write(lambda conn: people.sign_in(conn, bank, proof=proof, code=code))


def test_the_three_credentials(bank, http, mint, enrol):
    minted = mint()
    token = tokens.issue(bank, minted.key, minted.key.scopes).text
    session = signed_in(bank, enrol()).token
    kinds = [
        http.get("/who", headers=headers).json()["kind"]
        for headers in (
            bearer(minted.text),
            {"X-API-Key": minted.text},
            bearer(token),
            {"authorization": f"bearer {token}"},
            bearer(session),
        )
    ]
    assert kinds == ["key", "key", "key", "key", "person"]


def test_a_key_and_its_token_are_the_same_caller(bank, http, mint):
    minted = mint()
    token = tokens.issue(bank, minted.key, minted.key.scopes).text
    by_key = http.get("/who", headers=bearer(minted.text)).json()
    assert http.get("/who", headers=bearer(token)).json() == by_key


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic {key}"},
        {"Authorization": "{key}"},
        {"X-API-Key": ""},
        {"X-API-Key": "{token}"},
        {"X-API-Key": "Bearer {key}"},
        {"Authorization": "Bearer {key}", "X-API-Key": "{key}"},
        [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {token}")],
        [("X-API-Key", "{key}"), ("X-API-Key", "{key}")],
    ],
)
def test_where_a_credential_may_not_stand(bank, http, mint, headers):
    minted = mint()
    token = tokens.issue(bank, minted.key, minted.key.scopes).text
    pairs = headers.items() if isinstance(headers, dict) else headers
    filled = [(name, text.format(key=minted.text, token=token)) for name, text in pairs]
    answer = http.get("/who", headers=filled)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_address_of_a_request_carries_no_credential(http, mint):
    answer = http.get("/who", params={"access_token": mint().text, "api_key": mint().text})
    assert answer.status_code == 401


def test_a_credential_without_the_scope(bank, http, mint, enrol):
    answers = [
        http.get("/who", headers=bearer(mint("grants:read").text)),
        http.get(
            "/who",
            headers=bearer(
                signed_in(bank, enrol("chen.admin", ("administrator",)), "chen.admin").token
            ),
        ),
    ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "scope_missing")] * 2


@pytest.mark.parametrize(
    ("end", "code"),
    [("revoke", "key_revoked"), ("expire", "key_expired"), ("forge", "token_invalid")],
)
def test_what_a_refused_caller_is_told(bank, http, clock, mint, end, code):
    minted = mint(days=1)
    text = minted.text
    if end == "revoke":
        bank.database.write(
            lambda conn: api_keys.revoke(
                conn,
                minted.key.id,
                reason="x",
                now=bank.now(),
                forget=http.app.state.gate.verified.forget,
            )
        )
    elif end == "expire":
        clock.advance(days=1)
    else:
        text = "a.b.c"
    answer = http.get("/who", headers=bearer(text))
    assert (answer.status_code, answer.json()["code"]) == (401, code)


class TestProxies:
    @pytest.fixture
    def options(self):
        return {"trusted_proxies": ["10.0.0.0/8"]}

    @pytest.mark.parametrize(
        ("peer", "forwarded", "allowed"),
        [
            ("203.0.113.7", None, True),
            ("::ffff:203.0.113.7", None, True),
            ("198.51.100.1", None, False),
            # not a proxy of ours: what it forwards does not count
            ("198.51.100.1", "203.0.113.7", False),
            ("203.0.113.7", "198.51.100.1", True),
            # a proxy of ours
            ("10.0.0.1", "203.0.113.7", True),
            ("10.0.0.1", "203.0.113.7, 10.0.0.2", True),
            ("10.0.0.1", "198.51.100.1", False),
            # left of the nearest stranger stands only what a client said
            ("10.0.0.1", "203.0.113.7, 198.51.100.1", False),
            ("10.0.0.1", "203.0.113.7, nonsense", False),
            # a proxy that forwards no address leaves it unknown
            ("10.0.0.1", None, False),
            ("10.0.0.1", "", False),
            ("not-an-address", "203.0.113.7", False),
        ],
    )
    def test_which_address_counts(self, http, mint, peer, forwarded, allowed):
        text = mint(networks=("203.0.113.0/24",)).text
        headers = bearer(text) | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
        answer = http.coming_from(peer).get("/who", headers=headers)
        assert answer.status_code == (200 if allowed else 403)

    def test_two_headers_are_one_list(self, http, mint):
        text = mint(networks=("203.0.113.0/24",)).text
        headers = [
            *bearer(text).items(),
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-For", "198.51.100.1"),
        ]
        assert http.coming_from("10.0.0.1").get("/who", headers=headers).status_code == 403

    def test_a_proxys_own_network_lets_nobody_in(self, http, mint):
        text = mint(networks=("10.0.0.0/8",)).text
        assert http.coming_from("10.0.0.1").get("/who", headers=bearer(text)).status_code == 403


def test_use_is_noted(bank, http, clock, mint):
    minted = mint()

    def last_used():
        bank.database.write(lambda _: None)  # units run in order: this one comes after
        with bank.database.read() as conn:
            return api_keys.get(conn, minted.key.id).last_used_at

    assert last_used() is None
    http.get("/who", headers=bearer(minted.text))
    assert last_used() == START
    clock.advance(seconds=59)
    http.get("/who", headers=bearer(minted.text))
    assert last_used() == START
    clock.advance(seconds=1)
    token = tokens.issue(bank, minted.key, minted.key.scopes).text
    http.get("/who", headers=bearer(token))
    assert last_used() == START + timedelta(minutes=1)


def test_a_used_session_stays(bank, http, clock, enrol):
    session = signed_in(bank, enrol())
    for _ in range(4):
        clock.advance(minutes=10)
        assert http.get("/who", headers=bearer(session.token)).status_code == 200
        bank.database.write(lambda _: None)
    clock.advance(minutes=15)
    answer = http.get("/who", headers=bearer(session.token))
    assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


async def nothing():
    return {}


async def plain(request):
    return None


def test_routes_that_name_no_scope_are_found():
    app = FastAPI(openapi_url=None)
    app.get("/scoped", dependencies=[Depends(require("grants:read"))])(nothing)
    app.get("/public", dependencies=[Depends(public())])(nothing)
    app.get("/bare")(nothing)
    inner = APIRouter()
    inner.post("/bare")(nothing)
    inner.get("/scoped", dependencies=[Depends(require("grants:read"))])(nothing)
    outer = APIRouter()
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")
    app.websocket("/socket")(plain)
    guarded = APIRouter(dependencies=[Depends(require("review:read"))])
    guarded.get("/whole-router")(nothing)
    app.include_router(guarded)
    app.router.routes += [Route("/starlette", plain), Mount("/files", plain)]
    assert unscoped_routes(app) == [
        "* /files",
        "* /socket",
        "GET /bare",
        "GET,HEAD /starlette",
        "POST /outer/inner/bare",
    ]


def test_fastapis_own_pages_name_no_scope():
    assert "GET,HEAD /openapi.json" in unscoped_routes(FastAPI())


def test_the_app_of_these_tests_names_all(http):
    assert unscoped_routes(http.app) == []


@pytest.mark.parametrize("name", ["grants", "grants:*", "Grants:read", ""])
def test_a_scope_that_does_not_exist(name):
    with pytest.raises(ValueError, match="is not a valid Scope"):
        require(name)
