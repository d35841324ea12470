"""An invented bank of any size from a seed, as the files that `hgr import` loads: for trials and measurements.

The same seed and number of donors give the same bytes. Nobody in it exists. What is skewed as in real banks is
skewed here by Zipf's law with exponent 1 (sites, diseases, what was ticked); shares that a law turns on are
plain numbers below, chosen so that each occurs even in a small bank, and are no statistics of any population.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from policies.disease import DiseaseTree

#: Per thousand donors.
WITHDRAWN, PEDIGREE, CHILDREN, DECEASED, UNKNOWN_BIRTH = 5, 10, 20, 15, 5
SITES = 200  # at the most; one for each fifty donors
DISEASES = 500  # of the ontology, evenly taken; four donors in ten have one
#: What was ticked, most often first.
PROFILES = (
    "hmb;foreign;export;provide;commercial",
    "gru;foreign;export;provide;commercial",
    "hmb;no_foreign;provide;commercial",
    "hmb;npu;foreign;export;provide;no_commercial",
    "gru;gs:CN;no_foreign;provide;commercial",
    "hmb;ncu;foreign;export;provide;no_commercial",
    "hmb;ts:24;foreign;export;provide;commercial",
    "hmb;irb;foreign;export;provide;commercial",
    "gru;pub;foreign;export;provide;commercial",
    "poa;provide;no_commercial",
)
#: What the ticks mean: two people sign it for each form (`POST /v1/consent-forms/{form}/mappings`).
MEANING: dict[str, Any] = {
    "always": {"told": ["purpose", "use", "health_effect", "privacy", "voluntary", "withdrawal"]},
    "ticks": {
        "gru": {"permissions": ["DUO:0000042"]},
        "hmb": {"permissions": ["DUO:0000006"]},
        "poa": {"permissions": ["DUO:0000011"]},
        "npu": {"modifiers": ["DUO:0000045"]},
        "ncu": {"modifiers": ["DUO:0000046"]},
        "gs": {"modifiers": ["DUO:0000022"]},
        "ts": {"modifiers": ["DUO:0000025"]},
        "irb": {"modifiers": ["DUO:0000021"]},
        "pub": {"modifiers": ["DUO:0000019"]},
        "foreign": {"terms": {"hgr:foreign_sharing": True}},
        "no_foreign": {"terms": {"hgr:foreign_sharing": False}},
        "export": {"terms": {"hgr:separate_pi_export": True}},
        "provide": {"terms": {"hgr:separate_pi_provision": True}},
        "commercial": {"terms": {"hgr:commercial_use": True}},
        "no_commercial": {"terms": {"hgr:commercial_use": False}},
    },
}
#: Kind, how many of a hundred donors have it, whether it is data, whether it has cells, nucleic acid.
_KINDS = (
    ("whole_blood", 90, False, True, False),
    ("plasma", 80, False, False, False),
    ("dna", 60, False, False, True),
    ("tumour_tissue", 10, False, True, False),
    ("genome", 30, True, None, None),
    ("exome", 20, True, None, None),
    ("clinical", 70, True, None, None),
)
_FIRST = date(2019, 7, 1)  # from here on the Regulations are in force
_DAYS = 2300


@dataclass(frozen=True, slots=True)
class _Zipf:
    """Places 0 to n-1, the first most often."""

    places: range
    weights: tuple[float, ...] = field(default=())

    @classmethod
    def of(cls, many: int) -> _Zipf:
        return cls(range(many), tuple(accumulate(1 / (n + 1) for n in range(many))))

    def draw(self, chance: Random) -> int:
        return chance.choices(self.places, cum_weights=self.weights)[0]


def write(
    folder: Path,
    *,
    seed: int,
    donors: int,
    diseases: DiseaseTree,
    party_id: str,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, int]:
    """Write the files of an invented bank into a folder that exists; gives the rows of each.

    `party_id` is the party its collections come from. Streams: memory does not grow with the bank. Raises
    `OSError`, also for a file that is there already: nothing is overwritten.
    """
    sites = max(1, min(SITES, donors // 50))
    terms = sorted(diseases.labels)[:: max(1, len(diseases.labels) // DISEASES)][:DISEASES]
    rows = dict.fromkeys(
        ("collections", "forms", "donors", "consents", "holdings", "withdrawals"), 0
    )
    with ExitStack() as stack:
        writers = {}
        for name in rows:
            file = stack.enter_context(
                (folder / f"{name}.csv").open("x", encoding="utf-8", newline="")
            )
            writers[name] = csv.writer(file, lineterminator="\n")
            writers[name].writerow(_HEADERS[name])
        (folder / "mapping.json").write_text(json.dumps(MEANING, indent=1) + "\n", "utf-8")
        for name, row in _sites(sites, party_id):
            writers[name].writerow(row)
            rows[name] += 1
        at_site, ill, ticked = _Zipf.of(sites), _Zipf.of(len(terms)), _Zipf.of(len(PROFILES))
        for number in range(1, donors + 1):
            # Seeded by the number as well: a donor is the same however many there are.
            chance = Random(f"{seed}/{number}")  # noqa: S311 - an invented bank, no secret
            site = f"site-{at_site.draw(chance) + 1:03}"
            disease = terms[ill.draw(chance)] if chance.random() < 0.4 else ""
            for name, row in _donor(number, site, disease, PROFILES[ticked.draw(chance)], chance):
                writers[name].writerow(row)
                rows[name] += 1
            if number % 10_000 == 0:
                progress(number)
    return rows


_HEADERS = {
    "collections": ("code", "name_zh", "name_en", "country", "source_party", "owner_consent_needed",
                    "special_region", "source_documented", "source_lawful"),
    "forms": ("collection", "version", "title", "valid_from", "text_sha256"),
    "donors": ("code", "sex", "born", "deceased_on", "has_capacity", "chinese", "pedigree"),
    "consents": ("code", "donor", "collection", "form", "ticks", "signed_on", "written", "by_guardian",
                 "guardian_consent"),
    "holdings": ("code", "donor", "collection", "consent", "kind", "contains_cells",
                 "extracted_nucleic_acid", "derived", "collected_on", "collected_abroad", "disease", "units",
                 "kept", "volume_ul", "sha256", "bytes"),
    "withdrawals": ("donor", "scope", "channel"),
}  # fmt: skip


def _sites(many: int, party_id: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    for n in range(1, many + 1):
        code = f"site-{n:03}"
        yield "collections", (code, f"虚构收集点 {n}", f"Invented site {n}", "CN", party_id, "false",
                              "true" if n % 40 == 0 else "false", "true", "true")  # fmt: skip
        text = sha256(code.encode()).hexdigest()
        yield "forms", (code, "1", f"虚构知情同意书 {n}", _FIRST.isoformat(), text)


def _donor(
    number: int, site: str, disease: str, ticks: str, chance: Random
) -> Iterator[tuple[str, tuple[object, ...]]]:
    def falls(per_thousand: int) -> bool:
        return chance.random() * 1000 < per_thousand

    code = f"D{number:08}"
    signed = _FIRST + timedelta(days=chance.randrange(_DAYS))
    child = falls(CHILDREN)
    years = chance.randrange(2, 17) if child else min(95, max(18, round(chance.gauss(52, 15))))
    born = date(signed.year - years, chance.randrange(1, 13), chance.randrange(1, 29))
    dead = signed + timedelta(days=chance.randrange(30, 900)) if falls(DECEASED) else None
    yield (
        "donors",
        (
            code,
            chance.choice(("female", "male")),
            "" if falls(UNKNOWN_BIRTH) else born.isoformat(),
            dead.isoformat() if dead else "",
            "true",
            "true",
            "true" if falls(PEDIGREE) else "false",
        ),
    )
    consent = f"C{number:08}"
    guardian = "true" if child else "false"
    yield "consents", (
        consent, code, site, "1", ticks, signed.isoformat(), "true", guardian, "true" if child else "",
    )  # fmt: skip
    collected = signed + timedelta(days=chance.randrange(10))
    for kind, percent, is_data, cells, nucleic in _KINDS:
        if chance.random() * 100 < percent:
            said = ("", "") if is_data else (_flag(cells), _flag(nucleic))
            name = f"{code}-{kind.replace('_', '-').upper()}"
            tubes, kept = (1, 0) if is_data else (chance.randrange(1, 7), int(falls(100)))
            yield "holdings", (
                name, code, site, consent, kind, *said, "" if is_data else "primary",
                collected.isoformat(), "false", disease, tubes, min(kept, tubes),
                "" if is_data else chance.choice((200, 250, 500)),
                sha256(name.encode()).hexdigest() if is_data else "",
                chance.randrange(10**6, 10**9) if is_data else "",
            )  # fmt: skip
    if falls(WITHDRAWN):
        scope = chance.choice(("everything", "everything", "data", "material", "contact"))
        yield "withdrawals", (code, scope, "letter")


def _flag(value: object) -> str:
    return "true" if value else "false"
