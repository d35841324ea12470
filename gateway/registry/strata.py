"""What rules can tell a holding by: each distinct combination of dated facts, found once.

The rules it keeps: a date is compared with the day asked about, never with today; what a row leaves open
is left out of the facts, so unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import Recall
from gateway.registry import consents
from gateway.registry.counters import GENOMIC, Counted
from gateway.registry.determinations import Found
from gateway.registry.papers import OWNER_CONSENT, Fit, Paper, choose
from gateway.tables import metadata
from policies.consent import Profile, ProfileId
from policies.request import Facts, Value

_CONSENT = metadata.tables["consent"]
_DONOR = metadata.tables["donor"]
_WITHDRAWAL = metadata.tables["withdrawal"]

#: Ids: some, or a statement that gives them.
Named = Sequence[str] | sa.Select[tuple[str]]

#: Decree 717 came into force: what was collected or worded before is legacy.
REGULATIONS = date(2019, 7, 1)
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

    def __init__(self, *names: str) -> None:
        self._names = names
        self._numbers: dict[tuple[Value | None, ...], int] = {}
        self._facts: list[Facts] = []

    def number(self, values: tuple[Value | None, ...]) -> int:
        """The number of these values, given in the order of the names; None is not a fact."""
        number = self._numbers.setdefault(values, len(self._facts))
        if number == len(self._facts):
            named = zip(self._names, values, strict=True)
            self._facts.append({name: value for name, value in named if value is not None})
        return number

    def facts(self, number: int) -> Facts:
        """The facts behind a number."""
        return self._facts[number]


_ITEM = (
    "item.kind",
    "item.class",
    "item.data_class",
    "item.contains_cells",
    "item.extracted_nucleic_acid",
    "item.derived",
    "item.anonymised_untraceable",
    "item.storage_outside_norms",
    "item.state_secret",
    "item.linked_genomic",
    "item.collected_abroad",
    "item.origin_determined",
    "item.donor_chinese",
    "item.legacy",
    "item.source_documented",
    "item.source_lawful",
    "item.source_determined",
    "item.donor_linked",
    "item.source_id_known",
    "collection.owner_consent_needed",
    "collection.owner_consent_given",
    "collection.deposit_in_force",
    "collection.deposit_covers",
)
_DONOR_FACTS = (
    "donor.withdrawn",
    "donor.under_14",
    "donor.minor_14_17",
    "donor.adult",
    "donor.capacity",
    "donor.deceased",
    "donor.pedigree",
    "donor.special_region",
)
_CONSENT_FACTS = (
    "consent.exists",
    "consent.before_collection",
    "consent.written",
    "consent.expired",
    "consent.by_guardian",
    "consent.guardian_consent",
    "consent.reconsented",
    "consent.form_mapped",
    "consent.form_legacy",
    "consent.form_adequate",
)


class Reader:
    """Says, of one holding after another, what rules can tell it by; each distinct thing once."""

    def __init__(  # noqa: PLR0913 - everything a holding is compared with, each once
        self,
        conn: Connection,
        *,
        donors: Named,
        consent_ids: Named,
        kinds: frozenset[str],
        collections: Mapping[str, Row[Any]],
        fit: Fit,
        found: Found,
        papers: tuple[Paper, ...],
        counted: Counted,
        purpose: str,
        recall: Recall,
    ) -> None:
        self._items, self._donor_facts = _Distinct(*_ITEM), _Distinct(*_DONOR_FACTS)
        self._consent_facts = _Distinct(*_CONSENT_FACTS)
        self._fit, self._found, self._papers, self._purpose = fit, found, papers, purpose
        self._genomic, self._linked = bool(GENOMIC & kinds), counted.linked
        # Whether a genome of anybody else went there before is unknown until the past was stated.
        self._unlinked = False if counted.is_open else None
        self._collections = collections
        whose = sa.select(metadata.tables["bank"].c.party_id)
        self._bank = recall("bank", lambda: conn.execute(whose).scalar_one())
        self._regions = {id_: row.special_region for id_, row in collections.items()}
        signed = conn.execute(sa.select(_CONSENT).where(_CONSENT.c.id.in_(consent_ids))).all()
        profiles = frozenset(row.profile_id for row in signed)
        meanings = recall(("meanings", profiles), lambda: consents.meanings(conn, profiles))
        #: The shared facts that the holdings' strata rest on, as (kind, id).
        self.rests_on = {("form", meaning.form_id) for meaning in meanings.values()}
        # What was signed on a form that is void is no consent: as if there were none.
        self._consents = {
            row.id: self._agreed(row, meanings[row.profile_id])
            for row in signed
            if not meanings[row.profile_id].form_void
        }
        people = conn.execute(sa.select(_DONOR).where(_DONOR.c.id.in_(donors)))
        self._donors = {row.id: self._person(row) for row in people}
        self._withdrawals: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in conn.execute(sa.select(_WITHDRAWAL).where(_WITHDRAWAL.c.donor_id.in_(donors))):
            self._withdrawals[row.donor_id].append(row)
        self.profiles: dict[ProfileId, Profile] = {consents.UNMAPPED.id: consents.UNMAPPED}
        self.profiles |= {each.profile.id: each.profile for each in meanings.values()}
        self._memo: dict[tuple[Any, ...], int] = {}

    def facts(self, key: Key) -> dict[str, Value]:
        """All facts that a stratum's holdings share."""
        shared = (
            self._items.facts(key.item),
            self._donor_facts.facts(key.donor),
            self._consent_facts.facts(key.consent),
        )
        return {name: value for facts in shared for name, value in facts.items()}

    def key(self, row: Sequence[Any]) -> tuple[Key, date | None]:
        """The stratum of a holding (`HELD`), and when its consent ends (if it still runs)."""
        _, donor_id, consent_id, collection_id, *rest, collected, abroad, _ = row
        consent, (chinese, person) = self._consents.get(consent_id), self._donors[donor_id]
        legacy = None if collected is None else collected < REGULATIONS
        linked = True if self._genomic or donor_id in self._linked else self._unlinked
        memo, of_item = self._memo, (collection_id, *rest, abroad, legacy, chinese, linked)
        item = memo.get(of_item)
        if item is None:
            item = memo[of_item] = self._items.number(self._item(of_item))
        of_donor = (donor_id, collection_id, rest[1])
        who = memo.get(of_donor)
        if who is None:
            withdrawn = self._is_withdrawn(donor_id, rest[1])
            region = self._regions[collection_id]
            who = memo[of_donor] = self._donor_facts.number((withdrawn, *person, region))
        if consent is None:
            unsaid = (False, *(None for _ in _CONSENT_FACTS[1:]))
            return Key(consents.UNMAPPED.id, item, who, self._consent_facts.number(unsaid)), None
        profile, signed_on, said, ends = consent
        before = None if collected is None else signed_on <= collected
        return Key(profile, item, who, self._consent_facts.number((True, before, *said))), ends

    def _item(self, of_item: tuple[Any, ...]) -> tuple[Value | None, ...]:
        collection_id, kind, class_, data_class, cells, nucleic_acid, derived, *rest = of_item
        abroad, legacy, chinese, linked = rest
        collection = self._collections[collection_id]
        self.rests_on.add(("collection", collection_id))
        lawful = self._found.get(("collection", collection_id, "source_lawful"))
        if collection.voided_at is not None:  # whatever its source was, it is this one no longer
            lawful = False
        return (
            kind,
            class_,
            data_class,
            cells,
            nucleic_acid,
            derived,
            *(
                self._found.get(("collection", collection_id, finding))
                for finding in ("lines_untraceable", "storage_outside_norms", "state_secret")
            ),
            # Genomic data are asked for beside it, or went to this project before: under the
            # project's pseudonyms the two are one file.
            linked,
            abroad,
            self._found.get(("collection", collection_id, "origin_abroad"), False),
            chinese,
            legacy,
            collection.source_documented,
            collection.source_lawful if lawful is None else lawful,
            lawful is True,
            True,  # the schema lets no holding be without a donor,
            True,  # nor without a code and a collection
            *self._owner(collection, kind),
        )

    def _owner(self, collection: Row[Any], kind: str) -> tuple[Value | None, ...]:
        """What the source institution reserved: its consent, and the deposit agreement's reach."""
        mine = [paper for paper in self._papers if paper.collection_id == collection.id]
        deposit = choose(mine, "deposit", self._fit)
        consented = [
            self._reaches(paper, kind) is not False
            for paper in mine
            if paper.kind == OWNER_CONSENT and paper.is_in_force(self._fit.as_of)
        ]
        # Somebody else's collection without an agreement on record is only theirs to release.
        unagreed = deposit is None and collection.source_party_id != self._bank
        return (
            collection.owner_consent_needed or unagreed,
            any(consented),
            None if deposit is None else deposit.is_in_force(self._fit.as_of),
            None if deposit is None else self._reaches(deposit, kind),
        )

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

    def _is_withdrawn(self, donor_id: str, item_class: str | None) -> bool:
        return any(
            consents.touches(
                scope=each.scope,
                withdrawn_project=each.project_id,
                effective_at=each.effective_at,
                project_id=self._fit.project_id,
                item_class=item_class,
                as_of=self._fit.as_of,
            )
            for each in self._withdrawals.get(donor_id, ())
        )

    def _person(self, donor: Row[Any]) -> tuple[bool | None, tuple[Value | None, ...]]:
        """Whether a donor is Chinese; and the facts of the donor alone, on the day asked about."""
        as_of = self._fit.as_of
        age = None if donor.born is None else _age(donor.born, as_of)
        return donor.chinese, (
            None if age is None else age < 14,
            None if age is None else 14 <= age < 18,
            None if age is None else age >= 18,
            donor.has_capacity,
            donor.deceased_on is not None and donor.deceased_on <= as_of,
            donor.pedigree,
        )

    def _agreed(
        self, consent: Row[Any], meaning: consents.Meaning
    ) -> tuple[ProfileId, date, tuple[Value | None, ...], date | None]:
        """A consent's profile, when it was signed, its facts that day, and its end if still to come."""
        as_of, ends = self._fit.as_of, consent.expires_on
        expired = ends is not None and ends < as_of
        said = (
            consent.written,
            expired,
            consent.by_guardian,
            consent.guardian_consent,
            consent.reconsented_on is not None and consent.reconsented_on <= as_of,
            meaning.profile.mapped,
            meaning.form_from < REGULATIONS,
            self._found.get(("form", meaning.form_id, "form_adequate")),
        )
        return meaning.profile.id, consent.signed_on, said, None if expired else ends


def _age(born: date, day: date) -> int:
    """Full years on a day; somebody born on 29 February turns older on 1 March."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
