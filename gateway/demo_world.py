"""The invented world of the demo and the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from gateway.bank import Bank


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The ids of what was filled in, by the short name it has in `demo_data/world.yaml`."""

    parties: Mapping[str, str]
    projects: Mapping[str, str]
    collections: Mapping[str, str]
    researchers: Mapping[str, str]
    papers: Mapping[str, str]
    forms: Mapping[str, str]


def fill(conn: Connection, bank: Bank, *, seed: int = 20260101, now: datetime) -> World:
    """Fill a new bank."""
    raise NotImplementedError
