"""The OAuth authorization server: an API key becomes a short-lived access token.

Authlib's grants and endpoints over our keys and tokens; everything that touches Authlib is here.
Client credentials only (RFC 6749 §4.4), introspection (RFC 7662) and revocation (RFC 7009) by the key
a token was made from, metadata (RFC 8414). The client id is the key's public id, the client secret
its whole text, by HTTP Basic or in the form.

The rules it keeps:
- Authlib is synchronous: the form is read before, the routes run in the thread pool.
- Errors have OAuth's form (RFC 6749 §5.2), and a wrong secret the same as an unknown client.
- A parameter sent twice is refused (RFC 6749 §3.2), and so are two ways to authenticate (§2.3).
- Tokens are ours (`gateway.identity.tokens`): Authlib's own would live ten days.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from authlib.oauth2 import AuthorizationServer, OAuth2Error
from authlib.oauth2.rfc6749 import (
    ClientCredentialsGrant,
    ClientMixin,
    InsecureTransportError,
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Payload,
    OAuth2Request,
    TokenMixin,
)
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.identity import api_keys, tokens
from gateway.identity.api_keys import Address, Key
from gateway.identity.scopes import KEY_SCOPES, Scope
from gateway.identity.tokens import Claims, Verified

# Authlib writes every token it issues to its debug log; a log is no place for credentials.
logging.getLogger("authlib.oauth2").setLevel(logging.INFO)

TOKEN: Final = "token"  # noqa: S105 - the name of an endpoint
INTROSPECTION: Final = "introspection"
REVOCATION: Final = "revocation"
GRANT_TYPE: Final = "client_credentials"
_GRANT_TYPE = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_METHODS = ["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A request to an OAuth endpoint, read to its end. Header names are lower case.

    `fault` says what was wrong with the body itself; empty when nothing was.
    """

    path: str
    headers: Mapping[str, str]
    items: tuple[tuple[str, str], ...]
    address: Address | None
    is_confidential: bool
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer: a JSON body and headers that forbid keeping it."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class _Payload(OAuth2Payload):  # type: ignore[misc]  # Authlib carries no types
    def __init__(self, form: Form) -> None:
        self._form = form

    @property
    def data(self) -> dict[str, str]:
        return dict(self._form.items)


class _Request(OAuth2Request):  # type: ignore[misc]  # Authlib carries no types
    def __init__(self, form: Form) -> None:
        # Authlib judges transport by the address the client wrote; we by how it really came.
        super().__init__("POST", f"https://gateway{form.path}", headers=form.headers)
        self.payload = _Payload(form)
        self.address = form.address

    @property
    def form(self) -> dict[str, str]:
        data: dict[str, str] = self.payload.data
        return data


class _Client(ClientMixin):  # type: ignore[misc]  # Authlib carries no types
    def __init__(self, key: Key) -> None:
        self.key = key

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT_TYPE


class _Token(TokenMixin):  # type: ignore[misc]  # Authlib carries no types
    """A token verified and in force: `_query` finds no other."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims

    def check_client(self, client: _Client) -> bool:
        return self.claims.key_id == client.key.id

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False


class _Grant(ClientCredentialsGrant):  # type: ignore[misc]  # Authlib carries no types
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def validate_requested_scope(self) -> None:
        # RFC 6749 §3.3 lets us ignore what the client may not have; saying so serves it better.
        wanted = set((self.request.payload.scope or "").split())
        if not wanted <= {scope.value for scope in self.request.client.key.scopes}:
            raise InvalidScopeError


class _Introspection(IntrospectionEndpoint):  # type: ignore[misc]  # Authlib carries no types
    CLIENT_AUTH_METHODS = _METHODS

    def check_permission(self, token: _Token, client: _Client, request: _Request) -> bool:
        del request
        return token.check_client(client)

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Token | None:
        del token_type_hint  # RFC 7662 §2.1: a server "MAY ignore this parameter"
        found: _Token | None = self.server.find(token_string)
        return found

    def introspect_token(self, token: _Token) -> dict[str, object]:
        claims, issuer = token.claims, self.server.bank.settings.issuer
        return {
            "active": True,
            "token_type": "Bearer",
            "iss": issuer,
            "aud": issuer,
            "sub": claims.key_id,
            "client_id": claims.key_id,
            "org": claims.party_id,
            "scope": " ".join(sorted(claims.scopes)),
            "iat": int(claims.issued_at.timestamp()),
            "exp": int(claims.expires_at.timestamp()),
            "jti": claims.jti,
        }


class _Revocation(RevocationEndpoint):  # type: ignore[misc]  # Authlib carries no types
    CLIENT_AUTH_METHODS = _METHODS

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Token | None:
        del token_type_hint  # RFC 7009 §2.1: a server "MAY ignore this parameter"
        found: _Token | None = self.server.find(token_string)
        return found

    def revoke_token(self, token: _Token, request: _Request) -> None:
        del request
        self.server.take_back(token.claims)


class AuthServer(AuthorizationServer):  # type: ignore[misc]  # Authlib carries no types
    """The endpoints over one bank; cheap to make, holds nothing of its own."""

    def __init__(self, bank: Bank, verified: Verified) -> None:
        super().__init__(scopes_supported=[scope.value for scope in sorted(KEY_SCOPES)])
        self.bank = bank
        self.verified = verified
        self.register_grant(_Grant)
        self.register_endpoint(_Introspection)
        self.register_endpoint(_Revocation)
        self.register_token_generator("default", self._issue)
        self.authenticate_client = self._authenticate

    def answer(self, endpoint: str, form: Form) -> Answer:
        """What `TOKEN`, `INTROSPECTION` or `REVOCATION` answers; blocks for database work.

        Raises only what the database does; every fault of the client is an answer.
        """
        try:
            _verify_form(form, is_token=endpoint == TOKEN)
        except OAuth2Error as error:
            refused: Answer = self.handle_error_response(None, error)
            return refused
        answered: Answer = (
            self.create_token_response(form)
            if endpoint == TOKEN
            else self.create_endpoint_response(endpoint, form)
        )
        return answered

    def find(self, text: str) -> _Token | None:
        """The access token so written, if it is ours and in force."""
        try:
            claims = tokens.verify(self.bank, text)
            with self.bank.database.read() as conn:
                tokens.standing(conn, claims)
        except ProblemError:
            return None
        return _Token(claims)

    def take_back(self, claims: Claims) -> None:
        """Revoke an access token and wait until that is durable."""
        self.bank.database.write(
            partial(tokens.revoke, claims=claims, now=self.bank.now(), verified=self.verified)
        )

    def create_oauth2_request(self, request: Form) -> _Request:
        """Authlib's view of the form."""
        return _Request(request)

    def handle_response(
        self, status: int, body: Mapping[str, Any], headers: list[tuple[str, str]]
    ) -> Answer:
        """What Authlib decided, as an `Answer`."""
        return Answer(status=status, body=body, headers=dict(headers))

    def save_token(self, token: Mapping[str, Any], request: _Request) -> None:
        """Nothing to keep, a token carries itself; the key was used."""
        del token
        key_id, now = request.client.key.id, self.bank.now()
        self.bank.database.submit(partial(api_keys.touch, key_id=key_id, now=now))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens to Authlib's signals."""

    def _issue(
        self, *, client: _Client, scope: str | None, **unused: object
    ) -> dict[str, str | int]:
        del unused
        wanted = frozenset(Scope(name) for name in (scope or "").split()) or client.key.scopes
        issued = tokens.issue(self.bank, client.key, wanted)
        life = issued.claims.expires_at - issued.claims.issued_at
        return {
            "access_token": issued.text,
            "token_type": "Bearer",
            "expires_in": int(life.total_seconds()),
            "scope": " ".join(sorted(issued.claims.scopes)),
        }

    def _authenticate(self, request: _Request, methods: object, endpoint: str = TOKEN) -> _Client:
        # In place of Authlib's own, which answers an unknown client otherwise than a wrong secret.
        del methods, endpoint
        client_id, text = request.form.get("client_id"), request.form.get("client_secret")
        request.auth_method = "client_secret_post"
        if "authorization" in request.headers:
            if text is not None:
                raise InvalidRequestError("authenticate in one way, not in two")
            named = client_id
            client_id, text = _basic(request.headers)
            request.auth_method = "client_secret_basic"
            if named not in {None, client_id}:
                raise InvalidRequestError("`client_id` is not the client that authenticates")
        if client_id is None or text is None or api_keys.id_of(text) != client_id:
            raise InvalidClientError(status_code=401, description="the client is not known")
        try:
            with self.bank.database.read() as conn:
                _, key = api_keys.verify(
                    conn,
                    text,
                    address=request.address,
                    now=self.bank.now(),
                    pepper=self.bank.keys.pepper,
                )
        except ProblemError as error:
            is_known = error.code != "unauthenticated"
            raise InvalidClientError(
                status_code=401,
                description=error.detail if is_known else "the client is not known",
            ) from error
        return _Client(key)


def metadata(bank: Bank) -> dict[str, object]:
    """What the server can do (RFC 8414), for `/.well-known/oauth-authorization-server`."""
    issuer = bank.settings.issuer
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "jwks_uri": issuer + tokens.JWKS_PATH,
        "grant_types_supported": [GRANT_TYPE],
        "response_types_supported": [],  # §2 requires it; there is no authorization endpoint
        "scopes_supported": sorted(scope.value for scope in KEY_SCOPES),
        "token_endpoint_auth_methods_supported": _METHODS,
        "introspection_endpoint_auth_methods_supported": _METHODS,
        "revocation_endpoint_auth_methods_supported": _METHODS,
    }


def _verify_form(form: Form, *, is_token: bool) -> None:
    if not form.is_confidential:
        raise InsecureTransportError
    if form.fault:
        raise InvalidRequestError(form.fault)
    # RFC 6749 §3.2: "Request and response parameters MUST NOT be included more than once."
    if any(count > 1 for count in Counter(name for name, _ in form.items).values()):
        raise InvalidRequestError("a parameter was sent more than once")
    grant_type = dict(form.items).get("grant_type", "")
    # RFC 6749 §A.10; Authlib would repeat whatever was sent in its own answer.
    if is_token and _GRANT_TYPE.fullmatch(grant_type) is None:
        raise InvalidRequestError("`grant_type` is missing or not a name")


def _basic(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    try:
        client_id, text = extract_basic_authorization(headers)
    except ValueError:  # not ASCII, not base64, not UTF-8: Authlib lets some of these through
        return None, None
    return client_id, text
