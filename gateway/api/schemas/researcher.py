"""What a researcher sends and gets, but for decisions."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel

from gateway.api.schemas.decision import DecisionOut
from gateway.api.schemas.parts import Asked, Id, Instant, Number, Sha256, Shape, Words
from gateway.registry.ask import Ask


class AskedEvaluation(Asked):
    """A dry run: nothing is asked for yet."""

    ask: Ask


class AskedRequest(Asked):
    """A request: submitted at once, or saved as a draft."""

    ask: Ask
    draft: bool = False


class AskPatch(RootModel[dict[str, Any]]):
    """A JSON merge patch (RFC 7396) of the request's `ask`: null takes a member away."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"type": "object", "title": "AskPatch"}
    )


class AskedReceipt(Asked):
    """The receiver's word: which manifest arrived, and its own statement, kept by digest."""

    manifest_sha256: Sha256
    statement: Annotated[str, Field(min_length=1, max_length=4000)]


class RequestOut(Shape):
    """A request as it stands; what it says is in `ask`."""

    object: Literal["access_request"] = "access_request"
    id: str
    project: str
    state: str
    version: int
    revision: int
    ask: dict[str, Any]
    created_at: Instant
    updated_at: Instant


class SubmittedOut(RootModel[DecisionOut | RequestOut]):
    """The decision of what was submitted; for a draft, the request as it was saved."""


class GrantOut(Shape):
    """Access until a day (Asia/Shanghai, included)."""

    object: Literal["grant"] = "grant"
    id: str
    request: str
    decision: str
    project: str
    state: Literal["active", "suspended", "expired", "revoked", "completed"]
    until: date
    people: Number
    items: Number
    revision: int
    created_at: Instant
    updated_at: Instant


class ReleaseOut(Shape):
    """One handing-over under a grant.

    `manifest` is the exact text whose SHA-256 is `manifest_sha256`; `visa` a signed GA4GH
    ControlledAccessGrants visa (JWT). `left_out`: items that left the grant since it was made, if this
    answer is of the release's own making.
    """

    object: Literal["release"] = "release"
    id: str
    grant: str
    decision: str
    state: str
    manifest: str
    manifest_sha256: str
    visa: str
    left_out: Number | None
    handed_how: str
    handed_at: Instant | None
    received_by: str
    received_at: Instant | None
    receipt_sha256: str
    created_at: Instant


class KindCount(Shape):
    """How many donors of a collection have a kind of holding."""

    kind: str
    people: Number


class CollectionOut(Shape):
    """One collection of the catalogue; a count never promises that anything may go."""

    id: Id
    code: str
    name: Words
    country: str
    special_region: bool | None
    owner_consent_needed: bool
    people: Number
    kinds: list[KindCount]


class CatalogueOut(Shape):
    """What the bank keeps."""

    object: Literal["catalogue"] = "catalogue"
    collections: list[CollectionOut]
    as_of: date


class ProjectOut(Shape):
    """A study of one organisation."""

    id: str
    party: str
    title: str
    chinese_partner: str | None
    created_at: Instant
