"""Cohorts: the asked-for holdings reduced to strata, and permitted strata turned back into ids.

The rules it keeps: the strata carry no id of a donor or sample; a holding is in exactly one stratum;
what left the bank's shelves (`available` false, no units) is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies.request import StratumId


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """One holding, and how many units of it are asked for (1 for a data item)."""

    holding_id: str
    donor_id: str
    units: int
    kind: str
    data_class: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Which holdings make up each stratum of one question; never leaves the bank."""

    strata: Mapping[StratumId, tuple[Picked, ...]]

    def select(self, strata: Iterable[StratumId]) -> tuple[Picked, ...]:
        """The holdings of these strata, by holding id. Raises KeyError on a stratum not in it."""
        picked = [item for stratum in set(strata) for item in self.strata[stratum]]
        return tuple(sorted(picked, key=lambda item: item.holding_id))
