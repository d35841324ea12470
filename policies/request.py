"""What is asked of the PDP: facts, strata and donors, as of one date.

The rules it keeps: a fact that is absent is UNKNOWN, never false; no floats; a stratum never names a
donor or a sample, so a decision can be run again from its document without any personal data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NewType

from policies.consent import Profile, ProfileId, Purpose

StratumId = NewType("StratumId", str)

#: What a fact may be. Exact decimals and fractions are text ("12.50", "1/2"); money is whole fen.
Value = bool | int | str | date | frozenset[str]
Facts = Mapping[str, Value]


class PolicyError(Exception):
    """The PDP was given what it cannot judge; the caller is at fault and must fail closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Profile × dated flags × kind of item, with counts (design §2).

    `facts` holds the `item.*`, `donor.*`, `consent.*` and `collection.*` facts that all its holdings
    share on the as-of date. `items` counts holdings, `units` what is asked of them (tubes, or one per
    data item), `people` distinct donors.
    """

    id: StratumId
    profile: ProfileId
    facts: Facts
    items: int
    units: int
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DonorGroup:
    """Donors who appear in exactly these strata: makes distinct people exact for any selection.

    `already`: these donors were counted before against the same recipient group and project.
    """

    strata: tuple[StratumId, ...]
    people: int
    already: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to the PDP. `as_of` is the release date in Asia/Shanghai."""

    as_of: date
    facts: Facts
    purpose: Purpose
    profiles: Mapping[ProfileId, Profile] = field(default_factory=dict)
    strata: tuple[Stratum, ...] = ()
    donor_groups: tuple[DonorGroup, ...] = ()
