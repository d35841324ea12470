"""Who is at the door: from the headers of a request to a `Caller`, and the scope a route names.

    @router.get("/v1/grants")
    async def grants(caller: Annotated[Caller, Depends(require("grants:read"))]) -> …

The rules it keeps:
- A credential comes in a header, once: `Authorization: Bearer` (key, access token or session) or
  `X-API-Key` (key). Two are refused; one in the address of a request is not looked at.
- Every route says which scope it needs (`require`) or that it needs none (`public`); the app does
  not start while `unscoped_routes` names any.
- A forwarded address counts only from a trusted proxy. The server must not rewrite addresses itself.
"""

# NOTE: no `from __future__ import annotations` here: FastAPI reads the annotations of `__call__`
# below and cannot resolve strings on an instance.

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.identity import api_keys, people, tokens
from gateway.identity.api_keys import Address
from gateway.identity.scopes import Caller, Scope
from gateway.identity.tokens import Verified

__all__ = ["Caller", "Gate", "Public", "Require", "Scope", "install", "public", "require"]


class Gate:
    """What one process needs at its door: the bank, and what was verified a moment ago."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.verified = Verified()
        self._trusted = tuple(ip_network(each) for each in bank.settings.trusted_proxies)
        self._touched: dict[str, datetime] = {}

    def identify(self, request: Request) -> Caller:
        """Who sends this request; one select at the most. Raises `ProblemError`."""
        return self.caller_of(_credential(request), self.address(request))

    def caller_of(self, credential: str, address: Address | None) -> Caller:
        """Who presents this key, token or session from this address. Raises `ProblemError`."""
        bank = self.bank
        caller = tokens.remembered(bank, self.verified, credential, address=address)
        seen_at: datetime | None = None
        if caller is None:
            with bank.database.read() as conn:
                if credential.startswith(people.PREFIX):
                    caller, seen_at = people.authenticate_session(conn, bank, credential)
                elif credential.startswith(api_keys.PREFIX):
                    caller, key = api_keys.verify(
                        conn, credential, address=address, now=bank.now(), pepper=bank.keys.pepper
                    )
                    seen_at = key.last_used_at
                else:
                    caller = tokens.authenticate(
                        conn, bank, self.verified, credential, address=address
                    )
        self._touch(caller, seen_at)
        return caller

    def address(self, request: Request) -> Address | None:
        """Where the request comes from; None where that is not an IP address.

        The nearest hop that is not a trusted proxy: everything left of it in `X-Forwarded-For` is
        only what a client said. A proxy that forwards no address leaves it unknown: counting the
        proxy's own would let everybody in whom the proxy's network lets in.
        """
        address = _address(request.client.host if request.client else "")
        if address is None or not self.is_trusted(address):
            return address
        address = None
        for hop in reversed(",".join(request.headers.getlist("x-forwarded-for")).split(",")):
            address = _address(hop.strip())
            if address is None or not self.is_trusted(address):
                break
        return address

    def is_trusted(self, address: Address) -> bool:
        """Whether this is one of the proxies the operator declared."""
        return any(address in network for network in self._trusted)

    def is_confidential(self, request: Request) -> bool:
        """Whether nobody else could read the request: TLS to us or our proxy, or loopback."""
        peer = _address(request.client.host if request.client else "")
        if peer is not None and self.is_trusted(peer):
            return request.headers.getlist("x-forwarded-proto") == ["https"]
        return request.url.scheme == "https" or (peer is not None and peer.is_loopback)

    def _touch(self, caller: Caller, seen_at: datetime | None) -> None:
        # Not awaited: when a credential was last used is for people to read, and a request must
        # not wait for it. Remembered at once, so that a burst writes once.
        now = self.bank.now()
        if caller.key_id is not None:
            name, every = caller.key_id, api_keys.TOUCH_EVERY
            unit = partial(api_keys.touch, key_id=name, now=now)
        elif caller.session_id is not None:
            name, every = caller.session_id, people.touch_every(self.bank)
            unit = partial(people.touch, session_id=name, now=now)
        else:
            return
        last = max((at for at in (seen_at, self._touched.get(name)) if at), default=None)
        if last is None or now - last >= every:
            if len(self._touched) >= 10_000:  # bounded: sessions come and go
                self._touched = {}
            self._touched[name] = now
            self.bank.database.submit(unit)


@dataclass(frozen=True, slots=True)
class Require:
    """The dependency of a route that needs a scope; gives the caller."""

    scope: Scope

    async def __call__(self, request: Request) -> Caller:
        """The caller, if their credential holds the scope. Raises `ProblemError`."""
        gate: Gate = request.app.state.gate
        caller = gate.identify(request)
        if self.scope not in caller.scopes:
            raise ProblemError("scope_missing", f"this needs the scope `{self.scope}`")
        return caller


@dataclass(frozen=True, slots=True)
class Public:
    """The dependency of a route that anybody may call, or that authenticates its clients itself."""

    async def __call__(self) -> None:
        """Nothing to check."""


def require(scope: str) -> Require:
    """The dependency that demands `scope`. Raises `ValueError` for one that does not exist."""
    return Require(Scope(scope))


def public() -> Public:
    """The dependency that says: this route needs no scope, on purpose."""
    return Public()


def install(app: FastAPI, bank: Bank) -> Gate:
    """Put the bank and its gate where the dependencies look for them: `app.state`."""
    gate = Gate(bank)
    app.state.bank, app.state.gate = bank, gate
    return gate


def unscoped_routes(app: FastAPI) -> list[str]:
    """The routes that name neither a scope nor `public()`, as `GET /path`, sorted.

    What is not a FastAPI route (mounts, Starlette's own) can name none and is always listed.
    """
    unscoped = []
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        if not isinstance(dependant, Dependant) or not any(_named(dependant)):
            methods = ",".join(sorted(route.methods or {"*"}))
            unscoped.append(f"{methods} {route.path}")
    return sorted(unscoped)


def scopes_named(dependant: Dependant) -> frozenset[Scope]:
    """The scopes a route's dependencies demand; empty for a public one. For the contract."""
    return frozenset(named.scope for named in _named(dependant) if isinstance(named, Require))


def _named(dependant: Dependant) -> Iterator[Require | Public]:
    for part in dependant.dependencies:
        if isinstance(part.call, (Require, Public)):
            yield part.call
        yield from _named(part)


def _credential(request: Request) -> str:
    bearers = request.headers.getlist("authorization")
    keys = request.headers.getlist("x-api-key")
    if len(bearers) + len(keys) > 1:
        raise ProblemError("unauthenticated", "send one credential, not several")
    if keys:
        if not keys[0].startswith(api_keys.PREFIX):
            raise ProblemError("unauthenticated", "`X-API-Key` takes an api key only")
        return keys[0]
    scheme, _, credential = (bearers[0] if bearers else "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise ProblemError("unauthenticated", "send `Authorization: Bearer` or `X-API-Key`")
    return credential.strip()


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped  # one client, one spelling
    return address
