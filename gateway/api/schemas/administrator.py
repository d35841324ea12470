"""What administrators send and get: API keys and people."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.api.schemas.parts import Asked, Id, Instant, Shape

KeyScope = Literal[
    "samples:query",
    "requests:read",
    "requests:write",
    "grants:read",
    "releases:read",
    "releases:write",
    "keys:self",
]


class AskedKey(Asked):
    """A new API key of one organisation. `networks` are CIDR; none means from anywhere."""

    party: Id
    label: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: list[KeyScope] = Field(min_length=1, max_length=7)
    expires_at: Instant
    networks: list[Annotated[str, Field(max_length=50)]] = Field(
        default_factory=list, max_length=50
    )


class AskedRotation(Asked):
    """How long the old key keeps working."""

    overlap_hours: Annotated[int, Field(ge=0, le=720)] = 24


class AskedRevocation(Asked):
    """Why the key ends."""

    reason: Annotated[str, Field(min_length=1, max_length=4000)]


class KeyOut(Shape):
    """An API key, without what would let anybody use it."""

    object: Literal["api_key"] = "api_key"
    id: str
    party: str
    label: str
    scopes: list[str]
    networks: list[str]
    created_by: str
    created_at: Instant
    expires_at: Instant
    last_used_at: Instant | None
    rotated_from: str | None
    revoked_at: Instant | None
    revoked_reason: str


class MintedOut(KeyOut):
    """A new key: `key` is its text, shown here and nowhere else."""

    key: str


class KeysOut(Shape):
    """Keys of one organisation, newest first."""

    data: list[KeyOut]


class AskedPerson(Asked):
    """A person who will sign in."""

    login: Annotated[str, Field(min_length=3, max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    party: Id
    roles: list[Literal["officer", "administrator", "auditor", "regulator"]] = Field(
        min_length=1, max_length=4
    )
    password: Annotated[str, Field(min_length=12, max_length=128)]


class PersonOut(Shape):
    """A new person; the secret of their code generator is shown here and nowhere else."""

    object: Literal["person"] = "person"
    id: str
    totp_secret: str
    totp_uri: str
