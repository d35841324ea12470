"""Shapes that many answers share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.errors import KINDS

S = TypeVar("S")

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,80}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[str, Field(min_length=20, max_length=4000)]


class Asked(BaseModel):
    """A request body: what is not named is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(BaseModel):
    """An answer: exactly these members, always all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(Shape):
    """One text in both languages; the Chinese is authoritative."""

    zh: str
    en: str


class PathOut(Shape):
    """From a foreign holder down to the party, hop by hop."""

    path: str = Field(examples=["pty_foreign_pharma > 1/2 > pty_cart_jv"])
    says: Words


class Number(Shape):
    """A count. For researchers it is banded: rounded to 10, null and `<20` below 20."""

    value: int | None
    shown: str = Field(examples=["<20", "120"])
    exact: bool


class Amount(Shape):
    """How much: distinct donors, holdings, units."""

    people: Number
    items: Number
    units: Number


class Page(Shape, Generic[S]):
    """One page of a list, oldest first; the next one begins after the last `id` seen."""

    data: list[S]
    has_more: bool


class FieldProblem(Shape):
    """One thing wrong with one place: an RFC 6901 pointer into the body, or `/query/…`."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457. `code` is stable; `type` explains it in both languages on the gateway itself."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(json_schema_extra={"enum": [*sorted(KINDS)]})
    request_id: str
    errors: list[FieldProblem]


class ProblemKind(Shape):
    """What a problem code means."""

    code: str
    status: int
    title: Words


class Health(Shape):
    """Whether the bank can decide and record."""

    status: str = Field(examples=["ok"])
    log_size: int
    checked_at: datetime


Instant = Annotated[AwareDatetime, Field(description="RFC 3339 with an offset")]
