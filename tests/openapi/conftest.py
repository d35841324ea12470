"""The examples run against the bank in whose story every kind of thing has happened once."""

from __future__ import annotations

from tests.gateway.api.conftest import bank, cast, door, staged_bank
from tests.gateway.conftest import clock, filled_bank, world

__all__ = ["bank", "cast", "clock", "door", "filled_bank", "staged_bank", "world"]
