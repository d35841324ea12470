"""The GA4GH Data Use Ontology (DUO), release 2021-02-23: its codes, what they are, how they are spelt.

The rules it keeps: a shorthand means nothing without its release (`NPU` was DUO:0000018 in 2020 and is
DUO:0000045 in 2021); a retired code is recognised, never guessed at; the class tree of the ontology is
not used to decide, because there NPU and NCU stand *below* the stricter NPUNCU.

    >>> code_from("http://purl.obolibrary.org/obo/DUO_00000044")
    <Duo.NPOA: 'DUO:0000044'>
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import StringIO
from types import MappingProxyType

RELEASE = "2021-02-23"  # owl:versionIRI of the last release of EBISPOT/DUO

#: SHA-256 of `data/duo.csv`, as in `data/README.md`.
SHA256 = "d0b046efddc04b2a59e92fe5cc884e992b850266fb126821cfffa4c7abd04c06"


class DuoError(ValueError):
    """Something said to be DUO is not."""


class UnknownCodeError(DuoError):
    """A code, or a shorthand of a release, that nothing can be tagged with. Whoever wrote it erred."""


class UnknownReleaseError(DuoError):
    """A shorthand of a release we do not hold, and so cannot read."""


class ChangedReleaseError(DuoError):
    """The shipped copy of the ontology is not the bytes we pinned: the installation is at fault."""


class Duo(StrEnum):
    """The 23 codes a consent can be tagged with, by their shorthand of release 2021-02-23."""

    NRES = "DUO:0000004"
    GRU = "DUO:0000042"
    HMB = "DUO:0000006"
    DS = "DUO:0000007"
    POA = "DUO:0000011"
    RS = "DUO:0000012"
    NMDS = "DUO:0000015"
    GSO = "DUO:0000016"
    NPUNCU = "DUO:0000018"
    PUB = "DUO:0000019"
    COL = "DUO:0000020"
    IRB = "DUO:0000021"
    GS = "DUO:0000022"
    MOR = "DUO:0000024"
    TS = "DUO:0000025"
    US = "DUO:0000026"
    PS = "DUO:0000027"
    IS = "DUO:0000028"
    RTN = "DUO:0000029"
    CC = "DUO:0000043"
    NPOA = "DUO:0000044"
    NPU = "DUO:0000045"
    NCU = "DUO:0000046"


_BY_CODE: Mapping[str, Duo] = MappingProxyType({code.value: code for code in Duo})

#: `DUO:0000001` and `DUO:0000017`, the classes above them all; no consent can mean them.
ABSTRACT = frozenset({"DUO:0000001", "DUO:0000017"})

#: Subclasses of `DUO:0000001` data use permission; every other code is a modifier.
PERMISSIONS = frozenset({Duo.NRES, Duo.GRU, Duo.HMB, Duo.DS, Duo.POA})

#: Retired codes and what stands for them now. 0000002 and 0000003 were categories; 0000014 was
#: "research use only", retired without successor when CC became a modifier of its own.
OBSOLETE: Mapping[str, tuple[Duo, ...]] = MappingProxyType(
    {
        "DUO:0000002": (),
        "DUO:0000003": (),
        "DUO:0000005": (Duo.GRU, Duo.CC),  # "general research use and clinical care"
        "DUO:0000014": (),
    },
)


class Parameter(StrEnum):
    """What a code must say beside itself. DUO itself fixes it for DS, RS and GS; the rest is ours."""

    DISEASE = "disease"
    RESEARCH_TYPE = "research_type"
    COLLABORATOR = "collaborator"
    COUNTRY = "country"
    DATE = "date"
    MONTHS = "months"
    USER = "user"
    PROJECT = "project"
    INSTITUTION = "institution"


PARAMETERS: Mapping[Duo, Parameter] = MappingProxyType(
    {
        Duo.DS: Parameter.DISEASE,
        Duo.RS: Parameter.RESEARCH_TYPE,
        Duo.COL: Parameter.COLLABORATOR,
        Duo.GS: Parameter.COUNTRY,
        Duo.MOR: Parameter.DATE,
        Duo.TS: Parameter.MONTHS,
        Duo.US: Parameter.USER,
        Duo.PS: Parameter.PROJECT,
        Duo.IS: Parameter.INSTITUTION,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One row of the release, word for word. `shorthand` is empty for the two abstract classes."""

    code: str
    shorthand: str
    label: str
    description: str


# `DUO:`, `DUO_` or the OBO IRI, and seven digits.
_SPELLING = re.compile(r"(?:http://purl\.obolibrary\.org/obo/)?DUO[:_]([0-9]{7,8})", re.ASCII)

# duo.owl of 2021-02-23 spells NPOA's IRI with eight digits, duo.csv with seven.
_MISSPELT = {"00000044": "0000044"}

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTHS = re.compile(r"[1-9][0-9]{0,3}")
_COUNTRY = re.compile(r"[A-Z]{2}")  # ISO 3166-1 alpha-2


def from_bytes(data: bytes) -> Mapping[str, Definition]:
    """Read `duo.csv` as released: the 25 terms by code.

    Raises ChangedReleaseError if these are not the pinned bytes, and so needs no other check.
    """
    if sha256(data).hexdigest() != SHA256:
        raise ChangedReleaseError(
            f"duo.csv is not the copy of release {RELEASE} with sha-256 {SHA256}"
        )
    rows = csv.DictReader(StringIO(data.decode("utf-8"), newline=""), strict=True)
    return MappingProxyType(
        {
            row["id"]: Definition(
                code=row["id"],
                shorthand=row["shorthand"],
                label=row["label"],
                description=row["description"],
            )
            for row in rows
        },
    )


@cache
def definitions() -> Mapping[str, Definition]:
    """The 25 terms of the shipped release by code, read once."""
    return from_bytes(files("policies").joinpath("data", "duo.csv").read_bytes())


def canonical(text: str) -> str | None:
    """`DUO:` and seven digits, from any accepted spelling of a code; None if it is not one."""
    match = _SPELLING.fullmatch(text)
    if match is None:
        return None
    digits = _MISSPELT.get(match[1], match[1])
    return f"DUO:{digits}" if len(digits) == 7 else None


def current(text: str) -> tuple[Duo, ...]:
    """The codes that stand today for a code in any spelling; empty if nothing does.

    Empty for what is no DUO code, for the abstract classes and for codes retired without successor:
    a caller must treat that as unknown, never as no restriction.
    """
    code = canonical(text) or ""
    known = _BY_CODE.get(code)
    return OBSOLETE.get(code, ()) if known is None else (known,)


def code_from(text: str) -> Duo:
    """One current code from any accepted spelling.

    Raises UnknownCodeError, saying whether the code is abstract, retired or not DUO at all.
    """
    code = canonical(text) or ""
    if code in ABSTRACT:
        raise UnknownCodeError(
            f"`{text}` is an abstract class of DUO: nothing can be tagged with it"
        )
    if code in OBSOLETE:
        successors = " with ".join(OBSOLETE[code]) or "nothing"
        raise UnknownCodeError(f"`{text}` is retired from DUO, replaced by {successors}")
    if code not in _BY_CODE:
        raise UnknownCodeError(f"`{text}` is not a code of DUO release {RELEASE}")
    return _BY_CODE[code]


def code_from_shorthand(shorthand: str, *, release: str) -> Duo:
    """One current code from its shorthand in a release.

    Raises UnknownReleaseError for any release but ours, since shorthands changed their meaning between
    releases, and UnknownCodeError for a shorthand this release does not have.
    """
    if release != RELEASE:
        raise UnknownReleaseError(
            f"shorthands of DUO release `{release}` cannot be read, only {RELEASE}"
        )
    if shorthand not in Duo.__members__:
        raise UnknownCodeError(f"`{shorthand}` is not a shorthand of DUO release {RELEASE}")
    return Duo[shorthand]


def is_complete(code: Duo, values: Sequence[str]) -> bool:
    """Whether `values` is what this code must say beside itself.

    A code without parameter takes none: a value nobody reads would be a restriction ignored. MOR takes
    one ISO date, TS one whole number of months, GS countries as ISO 3166-1 alpha-2, the rest one or
    more non-empty names.
    """
    match PARAMETERS.get(code):
        case None:
            return not values
        case Parameter.DATE:
            return len(values) == 1 and _is_date(values[0])
        case Parameter.MONTHS:
            return len(values) == 1 and _MONTHS.fullmatch(values[0]) is not None
        case Parameter.COUNTRY:
            return bool(values) and all(_COUNTRY.fullmatch(value) for value in values)
        case _:
            return bool(values) and all(value.strip() for value in values)


def _is_date(text: str) -> bool:
    if _ISO_DATE.fullmatch(text) is None:  # fromisoformat also reads 20260101 and 2026-W01-1
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
