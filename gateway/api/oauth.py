"""The OAuth routes: token, introspection, revocation, metadata and public keys.

Clients authenticate with their API key inside the request, so no scope is asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from gateway.api.contract import Answer as Says
from gateway.api.contract import operation
from gateway.identity import oauth, tokens
from gateway.identity.caller import Gate, public
from gateway.identity.oauth import AuthServer, Form

router = APIRouter(tags=["oauth"], dependencies=[Depends(public())])

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
#: A token request is some 300 bytes, an introspection some 900.
LONGEST: Final = 16_384
#: RFC 6749 §5.1: "Cache-Control: no-store" on all that carries tokens.
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_FOR_MINUTES = {"Cache-Control": "public, max-age=300"}


class AccessToken(BaseModel):
    """An access token (RFC 6749 §5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class Introspected(BaseModel):
    """What a token says (RFC 7662 §2.2); only `active` where it is not in force or not yours."""

    active: bool
    token_type: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    client_id: str | None = None
    org: str | None = None
    scope: str | None = None
    iat: int | None = None
    exp: int | None = None
    jti: str | None = None


class Revoked(BaseModel):
    """Nothing more to say (RFC 7009 §2.2)."""


class OAuthProblem(BaseModel):
    """An error in OAuth's own form (RFC 6749 §5.2)."""

    error: str
    error_description: str | None = None


class ServerMetadata(BaseModel):
    """What the authorization server can do (RFC 8414)."""

    issuer: str
    token_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    scopes_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]


class PublicKey(BaseModel):
    """An ES256 public key (RFC 7517, RFC 7518 §6.2.1)."""

    kty: str
    crv: str
    x: str
    y: str
    use: str
    alg: str
    kid: str


class PublicKeys(BaseModel):
    """A JWK Set (RFC 7517 §5)."""

    keys: list[PublicKey]


async def read_form(request: Request) -> Form:
    """The request, read to its end: the routes below run in threads and cannot."""
    gate: Gate = request.app.state.gate
    body, fault = bytearray(), ""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            body, fault = bytearray(), "the body is too large"
            break
    items: list[tuple[str, str]] = []
    if len(request.headers.getlist("authorization")) > 1:
        fault = "the client authenticates more than once"
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        fault = f"the body must be `{MEDIA_TYPE}`"
    elif not fault:
        try:
            items = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20
            )
        except ValueError:
            fault = "the body cannot be parsed"
    return Form(
        path=request.url.path,
        headers=request.headers,
        items=tuple(items),
        address=gate.address(request),
        is_confidential=gate.is_confidential(request),
        fault=fault,
    )


def _form(required: str, **optional: str) -> dict[str, Any]:
    text = {"type": "string"}
    names = [required, *optional, "client_id", "client_secret"]
    schema = {
        "type": "object",
        "required": [required],
        "properties": dict.fromkeys(names, text),
    }
    return {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}}}


@operation(
    summary="Get an access token",
    purpose="An API key's holder exchanges the key for an access token of some minutes, with all of "
    "the key's scopes or those named in `scope`. HTTP Basic with the key's id and its whole text, "
    "or `client_id` and `client_secret` in the form.",
    answers={
        200: Says(model=AccessToken, says="The token"),
        400: Says(model=OAuthProblem, says="The request is not right"),
        401: Says(model=OAuthProblem, says="The key is not right"),
    },
    example={"grant_type": "client_credentials", "scope": "samples:query"},
)
@router.post("/oauth/token", openapi_extra=_form("grant_type", scope=""))
def token(request: Request, form: Annotated[Form, Depends(read_form)]) -> JSONResponse:
    """Client credentials (RFC 6749 §4.4)."""
    return _answer(request, oauth.TOKEN, form)


@operation(
    summary="Ask what a token says",
    purpose="The key a token was made from asks whether the token is in force and what it says. Any "
    "other key learns only that it is not active for it.",
    answers={
        200: Says(model=Introspected, says="What it says"),
        400: Says(model=OAuthProblem, says="The request is not right"),
        401: Says(model=OAuthProblem, says="The key is not right"),
    },
    example={"token": "{access_token}"},
)
@router.post("/oauth/introspect", openapi_extra=_form("token", token_type_hint=""))
def introspect(request: Request, form: Annotated[Form, Depends(read_form)]) -> JSONResponse:
    """Introspection (RFC 7662)."""
    return _answer(request, oauth.INTROSPECTION, form)


@operation(
    summary="Take a token back",
    purpose="The key a token was made from ends the token at once. A token that is not in force "
    "needs no ending, and gets the same answer.",
    answers={
        200: Says(model=Revoked, says="The token is not in force"),
        400: Says(model=OAuthProblem, says="The request is not right, or the token is another's"),
        401: Says(model=OAuthProblem, says="The key is not right"),
    },
    errors=("outcome_unknown", "busy"),
    example={"token": "{access_token}"},
)
@router.post("/oauth/revoke", openapi_extra=_form("token", token_type_hint=""))
def revoke(request: Request, form: Annotated[Form, Depends(read_form)]) -> JSONResponse:
    """Revocation (RFC 7009)."""
    return _answer(request, oauth.REVOCATION, form)


@operation(
    summary="What the authorization server can do",
    purpose="Anybody may read it; OAuth clients set themselves up from it (RFC 8414).",
    answers={200: Says(model=ServerMetadata, says="Its endpoints and what they support")},
)
@router.get("/.well-known/oauth-authorization-server")
def server_metadata(request: Request) -> JSONResponse:
    """Authorization server metadata (RFC 8414)."""
    return JSONResponse(oauth.metadata(request.app.state.bank), headers=_FOR_MINUTES)


@operation(
    summary="The public keys",
    purpose="Anybody may read them; they verify access tokens and visas (RFC 7517).",
    answers={200: Says(model=PublicKeys, says="A JWK Set")},
)
@router.get("/oauth/jwks.json")
def jwks(request: Request) -> JSONResponse:
    """The JWK Set."""
    return JSONResponse(tokens.jwks(request.app.state.bank), headers=_FOR_MINUTES)


def _answer(request: Request, endpoint: str, form: Form) -> JSONResponse:
    gate: Gate = request.app.state.gate
    answer = AuthServer(gate.bank, gate.verified).answer(endpoint, form)
    headers = {name: text for name, text in answer.headers.items() if name != "Content-Type"}
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=headers | _NO_STORE)
