"""What auditors and regulators get."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import Field

from audit.merkle import leaf_hash
from gateway.api.schemas.parts import Instant, Shape


class EntryOut(Shape):
    """One entry of the log: its place, its hash, and what the leaf says."""

    index: int
    leaf_hash: str = Field(description="SHA-256 of the leaf (RFC 6962), hex")
    leaf: dict[str, Any]

    @classmethod
    def of(cls, index: int, leaf: bytes) -> Self:
        """From the leaf's stored bytes."""
        return cls(index=index, leaf_hash=leaf_hash(leaf).hex(), leaf=json.loads(leaf))


class EntriesOut(Shape):
    """Some entries in order; `size` is that of the whole log."""

    origin: str
    size: int
    data: list[EntryOut]
    has_more: bool


class ExportOut(Shape):
    """One audit export: everything up to `size` entries, in a package that verifies offline."""

    object: Literal["export"] = "export"
    id: str
    asked_by: str
    size: int
    sha256: str
    bytes: int
    created_at: Instant
    package: str = Field(description="Where to download it.")
