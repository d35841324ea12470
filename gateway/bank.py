"""One open bank: its settings, keys, database, law and clock, handed to whoever acts.

The clock is injected: nothing in the gateway asks the system for the time but through it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from policies.disease import DiseaseTree
from policies.packs import Law

from gateway.database import Database
from gateway.keys import Keys
from gateway.settings import Settings

#: Legal dates are dates in Shanghai.
SHANGHAI = ZoneInfo("Asia/Shanghai")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """The time now, aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """Everything an act needs. `party_id` is the bank's own party."""

    settings: Settings
    keys: Keys
    database: Database
    law: Law
    diseases: DiseaseTree
    origin: str
    party_id: str
    clock: Clock = system_clock

    def now(self) -> datetime:
        """The instant, aware UTC."""
        return self.clock()

    def today(self) -> date:
        """The legal date: today in Shanghai."""
        return self.now().astimezone(SHANGHAI).date()
