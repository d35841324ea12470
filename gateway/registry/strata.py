"""What rules can tell a holding by: each distinct combination of dated facts, found once.

The rules it keeps: a date is compared with the day asked about, never with today; what a row leaves open
is left out of the facts, so unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.registry import consents
from gateway.registry.determinations import Found
from gateway.registry.papers import OWNER_CONSENT, Fit, Paper, choose
from gateway.tables import metadata
from policies.consent import Profile, ProfileId
from policies.request import Facts, Value

_HOLDING = metadata.tables["holding"]
_CONSENT = metadata.tables["consent"]
_DONOR = metadata.tables["donor"]
_WITHDRAWAL = metadata.tables["withdrawal"]

#: Decree 717 came into force: what was collected or worded before is legacy.
REGULATIONS = date(2019, 7, 1)
#: Data of these classes make clinical data in the same release HGR information (R-SCO-01).
GENOMIC = frozenset({"genome", "exome"})
#: What is read of a holding, in this order.
HELD = (
    "id",
    "donor_id",
    "consent_id",
    "collection_id",
    "kind",
    "item_class",
    "data_class",
    "contains_cells",
    "extracted_nucleic_acid",
    "derived",
    "collected_on",
    "collected_abroad",
    "units",
)


class Key(NamedTuple):
    """All that a stratum's holdings share, as indexes into the distinct facts of each kind."""

    profile: ProfileId
    item: int
    donor: int
    consent: int


class _Distinct:
    """Distinct sets of facts, numbered as they come."""

    def __init__(self) -> None:
        self.facts: list[Facts] = []
        self._index: dict[tuple[Any, ...], int] = {}

    def number(self, known: Mapping[str, Value | None]) -> int:
        facts = {name: value for name, value in known.items() if value is not None}
        key = tuple(facts.items())
        if key not in self._index:
            self._index[key] = len(self.facts)
            self.facts.append(facts)
        return self._index[key]


class Reader:
    """Says, of one holding after another, what rules can tell it by; each distinct thing once."""

    def __init__(
        self,
        conn: Connection,
        *,
        holdings: tuple[sa.ColumnElement[bool], ...],
        kinds: frozenset[str],
        collections: Mapping[str, Row[Any]],
        fit: Fit,
        found: Found,
        papers: tuple[Paper, ...],
        purpose: str,
    ) -> None:
        h = _HOLDING.c
        donors = sa.select(h.donor_id).where(*holdings)
        consent_ids = sa.select(h.consent_id).where(*holdings)
        self.items, self.donors, self.consents = _Distinct(), _Distinct(), _Distinct()
        self._fit, self._found, self._papers, self._purpose = fit, found, papers, purpose
        self._genomic = bool(GENOMIC & kinds)
        self._collections = collections
        self._consents = {
            row.id: row
            for row in conn.execute(sa.select(_CONSENT).where(_CONSENT.c.id.in_(consent_ids)))
        }
        self._donors = {
            row.id: row for row in conn.execute(sa.select(_DONOR).where(_DONOR.c.id.in_(donors)))
        }
        self._withdrawals: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in conn.execute(sa.select(_WITHDRAWAL).where(_WITHDRAWAL.c.donor_id.in_(donors))):
            self._withdrawals[row.donor_id].append(row)
        ticked = {row.profile_id for row in self._consents.values()}
        self._meanings = consents.meanings(conn, ticked)
        self.profiles: dict[ProfileId, Profile] = {consents.UNMAPPED.id: consents.UNMAPPED}
        self.profiles |= {each.profile.id: each.profile for each in self._meanings.values()}
        self._memo: dict[tuple[Any, ...], int] = {}

    def key(self, row: Row[Any]) -> tuple[Key, date | None]:
        """The stratum of a holding, and when its consent ends (if it still runs)."""
        consent = None if row.consent_id is None else self._consents[row.consent_id]
        collected, memo = row.collected_on, self._memo
        legacy = None if collected is None else collected < REGULATIONS
        before = None if consent is None or collected is None else consent.signed_on <= collected
        chinese = self._donors[row.donor_id].chinese
        item_key = ("item", *row[3:10], row.collected_abroad, legacy, chinese)
        item = memo.get(item_key)
        if item is None:
            item = memo[item_key] = self.items.number(self._item(row, legacy=legacy))
        donor_key = ("donor", row.donor_id, row.collection_id, row.item_class)
        donor = memo.get(donor_key)
        if donor is None:
            donor = memo[donor_key] = self.donors.number(self._donor(row))
        consent_key = ("consent", row.consent_id, before)
        said = memo.get(consent_key)
        if said is None:
            said = memo[consent_key] = self.consents.number(self._consent(consent, before=before))
        if consent is None:
            return Key(consents.UNMAPPED.id, item, donor, said), None
        profile = self._meanings[consent.profile_id].profile.id
        running = consent.expires_on is not None and consent.expires_on >= self._fit.as_of
        return Key(profile, item, donor, said), consent.expires_on if running else None

    def _item(self, row: Row[Any], *, legacy: bool | None) -> dict[str, Value | None]:
        collection = self._collections[row.collection_id]
        lawful = self._found.get(("collection", collection.id, "source_lawful"))
        return {
            "item.kind": row.kind,
            "item.class": row.item_class,
            "item.data_class": row.data_class,
            "item.contains_cells": row.contains_cells,
            "item.extracted_nucleic_acid": row.extracted_nucleic_acid,
            "item.derived": row.derived,
            # Linked in this release: genomic data are asked for beside it.
            "item.linked_genomic": self._genomic,
            "item.collected_abroad": row.collected_abroad,
            "item.origin_determined": self._found.get(
                ("collection", collection.id, "origin_abroad"), False
            ),
            "item.donor_chinese": self._donors[row.donor_id].chinese,
            "item.legacy": legacy,
            "item.source_documented": collection.source_documented,
            "item.source_lawful": collection.source_lawful if lawful is None else lawful,
            "item.source_determined": lawful is True,
            # The schema lets no holding be without a donor, a code and a collection.
            "item.donor_linked": True,
            "item.source_id_known": True,
            **self._owner(collection, row.kind),
        }

    def _owner(self, collection: Row[Any], kind: str) -> dict[str, Value | None]:
        """What the source institution reserved: its consent, and the deposit agreement's reach."""
        mine = [paper for paper in self._papers if paper.collection_id == collection.id]
        deposit = choose(mine, "deposit", self._fit)
        consented = [
            self._reaches(paper, kind) is not False
            for paper in mine
            if paper.kind == OWNER_CONSENT and paper.is_in_force(self._fit.as_of)
        ]
        return {
            "collection.owner_consent_needed": collection.owner_consent_needed,
            "collection.owner_consent_given": any(consented),
            "collection.deposit_in_force": (
                None if deposit is None else deposit.is_in_force(self._fit.as_of)
            ),
            "collection.deposit_covers": None if deposit is None else self._reaches(deposit, kind),
        }

    def _reaches(self, paper: Paper, kind: str) -> bool | None:
        """Whether a paper names this purpose and kind; None where it leaves one of them open."""
        stated = [
            None if names is None else wanted in names
            for names, wanted in (
                (paper.states("purposes"), self._purpose),
                (paper.states("types"), kind),
            )
        ]
        if False in stated:
            return False
        return None if None in stated else True

    def _donor(self, row: Row[Any]) -> dict[str, Value | None]:
        donor, as_of = self._donors[row.donor_id], self._fit.as_of
        age = None if donor.born is None else _age(donor.born, as_of)
        return {
            "donor.withdrawn": any(
                consents.touches(
                    scope=each.scope,
                    withdrawn_project=each.project_id,
                    effective_at=each.effective_at,
                    project_id=self._fit.project_id,
                    item_class=row.item_class,
                    as_of=as_of,
                )
                for each in self._withdrawals.get(donor.id, ())
            ),
            "donor.under_14": None if age is None else age < 14,
            "donor.minor_14_17": None if age is None else 14 <= age < 18,
            "donor.adult": None if age is None else age >= 18,
            "donor.capacity": donor.has_capacity,
            "donor.deceased": donor.deceased_on is not None and donor.deceased_on <= as_of,
            "donor.pedigree": donor.pedigree,
            "donor.special_region": self._collections[row.collection_id].special_region,
        }

    def _consent(self, consent: Row[Any] | None, *, before: bool | None) -> dict[str, Value | None]:
        if consent is None:
            return {"consent.exists": False}
        as_of, meaning = self._fit.as_of, self._meanings[consent.profile_id]
        return {
            "consent.exists": True,
            "consent.written": consent.written,
            "consent.before_collection": before,
            "consent.expired": consent.expires_on is not None and consent.expires_on < as_of,
            "consent.by_guardian": consent.by_guardian,
            "consent.guardian_consent": consent.guardian_consent,
            "consent.reconsented": (
                consent.reconsented_on is not None and consent.reconsented_on <= as_of
            ),
            "consent.form_mapped": meaning.profile.mapped,
            "consent.form_legacy": meaning.form_from < REGULATIONS,
            "consent.form_adequate": self._found.get(("form", meaning.form_id, "form_adequate")),
        }


def _age(born: date, day: date) -> int:
    """Full years on a day; somebody born on 29 February turns older on 1 March."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
