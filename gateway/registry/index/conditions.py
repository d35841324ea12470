"""What a cohort may be asked for by: conditions on holdings, and and, or and not of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """Holdings of which an attribute is known and has one of some values.

    `of`: kind, data_class, collection, sex, disease (terms), collected (years), age (full years when
    collected), flag (its name), donor or holding (ids).
    """

    of: str
    values: frozenset[str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Holdings of which every part is true; of no part, all are."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Either:
    """Holdings of which some part is true; of no part, none is."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """Holdings of which the part is not true, be it false or not known."""

    part: Condition


Condition = Among | Both | Either | Without

#: What is the same of all holdings of a sheaf.
_OF_SHEAF = frozenset({"collection", "sex", "pedigree", "donor"})

#: The condition that every holding meets.
EVERYTHING = Both(parts=())


def is_of_sheaf(condition: Condition) -> bool:
    """Whether it is the same of all that one donor gave to one collection."""
    match condition:
        case Among(of="flag", values=values):
            return bool(values <= _OF_SHEAF)
        case Among(of=of):
            return of in _OF_SHEAF
        case Both(parts=parts) | Either(parts=parts):
            return all(map(is_of_sheaf, parts))
        case Without(part=part):
            return is_of_sheaf(part)
        case _:
            assert_never(condition)
