"""The OAuth endpoints over HTTP, as a client sees them."""

from __future__ import annotations

import json
import logging

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from gateway.identity import api_keys
from gateway.identity.api_keys import checksum

from .conftest import bearer

GRANT = {"grant_type": "client_credentials"}


def basic(minted):
    return (minted.key.id, minted.text)


def in_form(minted):
    return {"client_id": minted.key.id, "client_secret": minted.text}


def token_of(http, minted, **more):
    return http.post("/oauth/token", data=GRANT | more, auth=basic(minted)).json()


@pytest.mark.parametrize("way", ["basic", "form"])
def test_a_key_becomes_a_token(bank, http, mint, way):
    minted = mint("samples:query", "grants:read")
    answer = (
        http.post("/oauth/token", data=GRANT, auth=basic(minted))
        if way == "basic"
        else http.post("/oauth/token", data=GRANT | in_form(minted))
    )
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == bank.settings.token_seconds
    assert body["scope"] == "grants:read samples:query"
    assert "refresh_token" not in body
    who = http.get("/who", headers=bearer(body["access_token"]))
    assert who.json()["id"] == f"key_{minted.key.id}"


def test_scopes_can_be_narrowed(http, mint):
    minted = mint("samples:query", "grants:read")
    narrow = token_of(http, minted, scope="grants:read")
    assert narrow["scope"] == "grants:read"
    assert http.get("/who", headers=bearer(narrow["access_token"])).status_code == 403


@pytest.mark.parametrize(
    "scope", ["releases:write", "samples:query releases:write", "review:decide", "x", '"\\']
)
def test_scopes_cannot_be_widened(http, mint, scope):
    answer = http.post(
        "/oauth/token", data=GRANT | {"scope": scope}, auth=basic(mint("samples:query"))
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_an_unknown_client_reads_like_a_wrong_secret(http, mint):
    minted, other = mint(), mint()
    body = minted.text[:-7] + ("0" if minted.text[-7] != "0" else "1")
    wrong = body + checksum(body)
    body = "hgr_live_" + "0" * 10 + "_" + "0" * 30
    answers = [
        http.post("/oauth/token", data=GRANT, auth=auth)
        for auth in (
            (minted.key.id, wrong),
            ("0" * 10, body + checksum(body)),
            ("nobody", "nothing"),
            (other.key.id, minted.text),
            (minted.key.id, ""),
            ("é", "é"),
        )
    ]
    assert {(a.status_code, a.text, a.headers["WWW-Authenticate"]) for a in answers} == {
        (401, answers[0].text, answers[0].headers["WWW-Authenticate"])
    }
    assert answers[0].json() == {
        "error": "invalid_client",
        "error_description": "the client is not known",
    }
    assert answers[0].headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic !", "Basic é", "Basic /w==", "Bearer x", "Basic Og=="]
)
def test_a_broken_authorization_header(http, authorization):
    headers = {"Authorization": authorization.encode()}
    answer = http.post("/oauth/token", data=GRANT, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_no_authentication_at_all(http):
    answer = http.post("/oauth/token", data=GRANT)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_an_ended_key_gets_no_token(bank, http, clock, mint):
    expired, revoked, bound = mint(days=1), mint(), mint(networks=("203.0.113.0/24",))
    clock.advance(days=1)
    bank.database.write(
        lambda conn: api_keys.revoke(
            conn,
            revoked.key.id,
            reason="x",
            now=bank.now(),
            forget=http.app.state.gate.verified.forget,
        )
    )
    for minted, said in ((expired, "ended"), (revoked, "revoked"), (bound, "may not be used")):
        answer = http.post("/oauth/token", data=GRANT, auth=basic(minted))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert said in answer.json()["error_description"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=%22", "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=refresh_token", "unsupported_grant_type"),
        (
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange",
            "unsupported_grant_type",
        ),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials&scope=x&scope=x", "invalid_request"),
        ("grant_type=client_credentials&client_id=other", "invalid_request"),
        ("grant_type=client_credentials&client_secret=x", "invalid_request"),
        ("&".join(f"p{n}=x" for n in range(21)), "invalid_request"),
        ("grant_type=%ff", "invalid_request"),
        (b"grant_type=\xff", "invalid_request"),
        ("x=" + "y" * 20_000, "invalid_request"),
    ],
)
def test_a_broken_token_request(http, mint, body, error):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.post("/oauth/token", content=body, headers=headers, auth=basic(mint()))
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_token_request_in_json(http, mint):
    answer = http.post("/oauth/token", json=GRANT, auth=basic(mint()))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_two_authorization_headers(http, mint):
    credential = httpx_basic(mint())
    headers = [
        ("Authorization", credential),
        ("Authorization", credential),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]
    answer = http.post("/oauth/token", content="grant_type=client_credentials", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def httpx_basic(minted):
    import base64

    pair = f"{minted.key.id}:{minted.text}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def test_parameters_in_the_address_do_not_count(http, mint):
    answer = http.post("/oauth/token", params=GRANT, data={"x": "y"}, auth=basic(mint()))
    assert answer.json()["error"] == "invalid_request"


def test_introspection_by_the_owning_key(bank, http, mint):
    minted = mint("samples:query")
    token = token_of(http, minted)["access_token"]
    answer = http.post("/oauth/introspect", data={"token": token}, auth=basic(minted))
    said = answer.json()
    assert said["active"] is True
    assert said["client_id"] == minted.key.id
    assert said["scope"] == "samples:query"
    assert said["exp"] - said["iat"] == bank.settings.token_seconds
    assert answer.headers["Cache-Control"] == "no-store"


def test_introspection_tells_others_nothing(http, mint):
    minted, other = mint(), mint()
    token = token_of(http, minted)["access_token"]
    for text, auth in ((token, other), ("a.b.c", minted), (minted.text, minted), ("", minted)):
        answer = http.post("/oauth/introspect", data={"token": text}, auth=basic(auth))
        assert (answer.status_code, answer.json()) == (200, {"active": False})


def test_an_expired_token_is_not_active(bank, http, clock, mint):
    minted = mint()
    token = token_of(http, minted)["access_token"]
    clock.advance(seconds=bank.settings.token_seconds + 5)
    answer = http.post("/oauth/introspect", data={"token": token}, auth=basic(minted))
    assert answer.json() == {"active": False}


def test_revocation_is_immediate(http, mint):
    minted = mint()
    token = token_of(http, minted)["access_token"]
    assert http.get("/who", headers=bearer(token)).status_code == 200
    for _ in range(2):
        answer = http.post("/oauth/revoke", data={"token": token}, auth=basic(minted))
        assert (answer.status_code, answer.json()) == (200, {})
    assert http.get("/who", headers=bearer(token)).json()["code"] == "token_invalid"
    said = http.post("/oauth/introspect", data={"token": token}, auth=basic(minted))
    assert said.json() == {"active": False}
    assert http.get("/who", headers=bearer(token_of(http, minted)["access_token"])).is_success


def test_nobody_revokes_anothers_token(http, mint):
    minted, other = mint(), mint()
    token = token_of(http, minted)["access_token"]
    answer = http.post("/oauth/revoke", data={"token": token}, auth=basic(other))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert http.get("/who", headers=bearer(token)).status_code == 200


def test_revoking_what_is_no_token(http, mint):
    answer = http.post("/oauth/revoke", data={"token": "nonsense"}, auth=basic(mint()))
    assert (answer.status_code, answer.json()) == (200, {})


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
def test_a_token_must_be_named(http, mint, path):
    answer = http.post(path, data={"x": "y"}, auth=basic(mint()))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert http.post(path, data={"token": "x"}).status_code == 401


def test_metadata_is_what_rfc_8414_asks_for(bank, http):
    answer = http.get("/.well-known/oauth-authorization-server")
    metadata = answer.json()
    # §2 requires the array, §3.2 would omit an empty one; Authlib takes empty for absent.
    assert metadata["response_types_supported"] == []
    AuthorizationServerMetadata(metadata | {"response_types_supported": ["none"]}).validate()
    assert metadata["issuer"] == bank.settings.issuer
    for name in ("token", "introspection", "revocation"):
        path = metadata[f"{name}_endpoint"].removeprefix(bank.settings.issuer)
        assert http.post(path).status_code in {400, 401}
    assert http.get(metadata["jwks_uri"].removeprefix(bank.settings.issuer)).status_code == 200


def test_jwks_holds_both_public_keys(http):
    keys = http.get("/oauth/jwks.json").json()["keys"]
    assert len({key["kid"] for key in keys}) == 2
    assert all("d" not in key for key in keys)


class TestTransport:
    @pytest.fixture
    def options(self):
        return {"trusted_proxies": ["10.0.0.0/8"]}

    @pytest.mark.parametrize(
        ("peer", "headers", "heard"),
        [
            ("127.0.0.1", {}, True),
            ("::1", {}, True),
            ("203.0.113.7", {}, False),
            ("203.0.113.7", {"X-Forwarded-Proto": "https"}, False),
            ("203.0.113.7", {"Host": "127.0.0.1"}, False),
            ("10.0.0.1", {"X-Forwarded-Proto": "https"}, True),
            ("10.0.0.1", {"X-Forwarded-Proto": "http"}, False),
            ("10.0.0.1", {}, False),
            ("10.0.0.1", {"X-Forwarded-Proto": "https, http"}, False),
        ],
    )
    def test_credentials_only_over_what_nobody_reads(self, http, mint, peer, headers, heard):
        client = http.coming_from(peer)
        answer = client.post("/oauth/token", data=GRANT, auth=basic(mint()), headers=headers)
        assert answer.status_code == (200 if heard else 400)
        if not heard:
            assert answer.json()["error"] == "insecure_transport"


def test_no_log_holds_a_credential(http, mint, caplog):
    caplog.set_level(logging.DEBUG)
    minted = mint()
    token = token_of(http, minted)["access_token"]
    http.post("/oauth/introspect", data={"token": token}, auth=basic(minted))
    http.post("/oauth/revoke", data={"token": token}, auth=basic(minted))
    logged = json.dumps([record.getMessage() for record in caplog.records])
    assert minted.text not in logged
    assert token not in logged
