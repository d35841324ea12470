"""What rules can tell a holding by: each distinct combination of dated facts, found once.

The rules it keeps: a date is compared with the day asked about, never with today; what a row leaves open
is left out of the facts, so unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import Recall
from gateway.registry import consents
from gateway.registry.counters import GENOMIC, Counted
from gateway.registry.determinations import Found
from gateway.registry.index.rows import REGULATIONS, Agreed, Item, Person, agreed, item, person
from gateway.registry.papers import OWNER_CONSENT, Fit, Paper, choose
from gateway.tables import metadata
from policies.consent import Profile, ProfileId
from policies.request import Facts, Value

_CONSENT = metadata.tables["consent"]
_DONOR = metadata.tables["donor"]
_WITHDRAWAL = metadata.tables["withdrawal"]

#: Ids: some, or a statement that gives them.
Named = Sequence[str] | sa.Select[tuple[str]]


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
        self._said: list[str] = []

    def number(self, values: tuple[Value | None, ...]) -> int:
        """The number of these values, given in the order of the names; None is not a fact."""
        number = self._numbers.setdefault(values, len(self._facts))
        if number == len(self._facts):
            named = zip(self._names, values, strict=True)
            self._facts.append({name: value for name, value in named if value is not None})
            self._said.append(str(values))
        return number

    def said(self, number: int) -> str:
        """The facts behind a number as one text, to be sorted by."""
        return self._said[number]

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


class Alike:
    """Which of many numbered things are alike: the class of each, by number."""

    def __init__(self, told: Iterable[Any]) -> None:
        numbers: dict[Any, int] = {}
        self.classes = np.array(
            [numbers.setdefault(what, len(numbers)) for what in told], dtype=np.int64
        )
        self.many = max(len(numbers), 1)


class Teller:
    """Says what rules can tell a holding by, from what is known of it; each distinct thing once."""

    def __init__(  # noqa: PLR0913 - everything a holding is compared with, each once
        self,
        conn: Connection,
        *,
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
        self.fit, self._found, self._purpose, self._recall = fit, found, purpose, recall
        self._papers: dict[str, list[Paper]] = defaultdict(list)
        for paper in papers:
            if paper.collection_id is not None:
                self._papers[paper.collection_id].append(paper)
        self._genomic, self._linked = bool(GENOMIC & kinds), counted.linked
        # Whether a genome of anybody else went there before is unknown until the past was stated.
        self._unlinked = False if counted.is_open else None
        self._collections = collections
        whose = sa.select(metadata.tables["bank"].c.party_id)
        self._bank = recall("bank", lambda: conn.execute(whose).scalar_one())
        self._meanings: dict[str, consents.Meaning] = {}
        #: The shared facts that the holdings' strata rest on, as (kind, id).
        self.rests_on: set[tuple[str, str]] = set()
        #: What the consents of the strata say, by profile.
        self.profiles: dict[ProfileId, Profile] = {}
        self._memo: dict[tuple[Any, ...], int] = {}

    def learn(self, conn: Connection, profiles: Iterable[str]) -> None:
        """Read what these rows of `consent_profile` mean: all that will be told of, at once."""
        wanted = frozenset(profiles)
        self._meanings |= self._recall(
            ("meanings", wanted), lambda: consents.meanings(conn, wanted)
        )

    def facts(self, key: Key) -> dict[str, Value]:
        """All facts that a stratum's holdings share."""
        return {
            **self._items.facts(key.item),
            **self._donor_facts.facts(key.donor),
            **self._consent_facts.facts(key.consent),
        }

    def order(self, key: Key) -> tuple[str, ...]:
        """What strata are sorted by: what they say, whenever it was first said."""
        return (
            key.profile,
            self._items.said(key.item),
            self._donor_facts.said(key.donor),
            self._consent_facts.said(key.consent),
        )

    def is_linked(self, donor_id: str) -> bool | None:
        """Whether genomic data of the donor are asked for, or went to the same project before."""
        return True if self._genomic or donor_id in self._linked else self._unlinked

    @property
    def linked_otherwise(self) -> bool | None:
        """The same of every donor to whom nothing was given before."""
        return True if self._genomic else self._unlinked

    def key(
        self,
        collection_id: str,
        one: Item,
        who: Person,
        said: Agreed | None,
        linked: bool | None,  # noqa: FBT001 - a fact like the others
    ) -> Key:
        """The stratum of a holding."""
        memo, of_item = self._memo, (collection_id, one[:8], who.chinese, linked)
        item_number = memo.get(of_item)
        if item_number is None:
            told = self._item(collection_id, one, who.chinese, linked)
            item_number = memo[of_item] = self._items.number(told)
        of_donor = (who, collection_id, one.item_class)
        donor_number = memo.get(of_donor)
        if donor_number is None:
            region = self._collections[collection_id].special_region
            told = (self._is_withdrawn(who, one.item_class), *who[1:-1], region)
            donor_number = memo[of_donor] = self._donor_facts.number(told)
        meaning = None if said is None else self._meanings[said.profile_id]
        # What was signed on a form that is void is no consent: as if there were none.
        if said is None or meaning is None or meaning.form_void:
            unsaid = (False, *(None for _ in _CONSENT_FACTS[1:]))
            self.profiles[consents.UNMAPPED.id] = consents.UNMAPPED
            consent = self._consent_facts.number(unsaid)
            return Key(consents.UNMAPPED.id, item_number, donor_number, consent)
        of_consent = (said, one.before)
        consent_number = memo.get(of_consent)
        if consent_number is None:
            told = (True, one.before, *said[1:], *self._of_form(meaning))
            consent_number = memo[of_consent] = self._consent_facts.number(told)
            self.profiles[meaning.profile.id] = meaning.profile
        return Key(meaning.profile.id, item_number, donor_number, consent_number)

    def collections_alike(
        self, ids: Sequence[str], kinds: frozenset[str], numbering: Hashable
    ) -> Alike:
        """Collections that make the same strata. `numbering`: whose numbers these are."""

        def told(id_: str) -> tuple[Any, ...]:
            collection = self._collections.get(id_)
            if collection is None:  # nothing of it is asked for
                return ()
            return (
                collection.special_region,
                *self._of_collection(collection),
                *(self._owner(collection, kind) for kind in sorted(kinds)),
            )

        key = ("collections alike", numbering, self.fit, self._purpose, kinds, len(ids))
        return self._recall(key, lambda: Alike(map(told, ids)))

    def consents_alike(
        self, conn: Connection, said: Sequence[Agreed | None], numbering: Hashable
    ) -> Alike:
        """Consents that make the same strata. `numbering`: whose numbers these are."""
        self.learn(conn, {one.profile_id for one in said if one is not None})

        def told(one: Agreed | None) -> tuple[Any, ...]:
            meaning = None if one is None else self._meanings[one.profile_id]
            if one is None or meaning is None or meaning.form_void:
                return ()
            return (meaning.profile.id, *self._of_form(meaning), *one[1:])

        return self._recall(
            ("consents alike", numbering, self.fit.as_of, len(said)),
            lambda: Alike(map(told, said)),
        )

    def rest_on(self, collections: Iterable[str], said: Iterable[Agreed | None]) -> None:
        """The strata rest on these."""
        self.rests_on |= {("collection", id_) for id_ in collections}
        self.rests_on |= {
            ("form", self._meanings[one.profile_id].form_id) for one in said if one is not None
        }

    def _of_form(self, meaning: consents.Meaning) -> tuple[bool | None, ...]:
        return (
            meaning.profile.mapped,
            meaning.form_from < REGULATIONS,
            self._found.get(("form", meaning.form_id, "form_adequate")),
        )

    def is_void(self, said: Agreed) -> bool:
        """Whether a consent was signed on a form that is void."""
        return self._meanings[said.profile_id].form_void

    def _item(
        self,
        collection_id: str,
        one: Item,
        chinese: bool | None,  # noqa: FBT001 - a fact like the others
        linked: bool | None,  # noqa: FBT001 - as above
    ) -> tuple[Value | None, ...]:
        collection = self._collections[collection_id]
        untraceable, outside_norms, secret, abroad, documented, lawful, determined = (
            self._of_collection(collection)
        )
        return (
            *one[:6],
            untraceable,
            outside_norms,
            secret,
            # Genomic data are asked for beside it, or went to this project before: under the
            # project's pseudonyms the two are one file.
            linked,
            one.collected_abroad,
            abroad,
            chinese,
            one.legacy,
            documented,
            lawful,
            determined,
            True,  # the schema lets no holding be without a donor,
            True,  # nor without a code and a collection
            *self._owner(collection, one.kind),
        )

    def _of_collection(self, collection: Row[Any]) -> tuple[bool | None, ...]:
        """What was found of a collection, and where it came from."""
        lawful = self._found.get(("collection", collection.id, "source_lawful"))
        if collection.voided_at is not None:  # whatever its source was, it is this one no longer
            lawful = False
        return (
            *(
                self._found.get(("collection", collection.id, finding))
                for finding in ("lines_untraceable", "storage_outside_norms", "state_secret")
            ),
            self._found.get(("collection", collection.id, "origin_abroad"), False),
            collection.source_documented,
            collection.source_lawful if lawful is None else lawful,
            lawful is True,
        )

    def _owner(self, collection: Row[Any], kind: str) -> tuple[bool | None, ...]:
        """What the source institution reserved: its consent, and the deposit agreement's reach."""
        mine = self._papers.get(collection.id, [])
        deposit = choose(mine, "deposit", self.fit)
        consented = [
            self._reaches(paper, kind) is not False
            for paper in mine
            if paper.kind == OWNER_CONSENT and paper.is_in_force(self.fit.as_of)
        ]
        # Somebody else's collection without an agreement on record is only theirs to release.
        unagreed = deposit is None and collection.source_party_id != self._bank
        return (
            collection.owner_consent_needed or unagreed,
            any(consented),
            None if deposit is None else deposit.is_in_force(self.fit.as_of),
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

    def _is_withdrawn(self, who: Person, item_class: str | None) -> bool:
        return any(
            consents.touches(
                scope=scope,
                withdrawn_project=project,
                project_id=self.fit.project_id,
                item_class=item_class,
            )
            for scope, project in who.withdrawn
        )


class Reader:
    """The strata of holdings, one after another, from the rows of their donors and consents."""

    def __init__(
        self, conn: Connection, teller: Teller, *, donors: Named, consent_ids: Named
    ) -> None:
        as_of = teller.fit.as_of
        signed = conn.execute(sa.select(_CONSENT).where(_CONSENT.c.id.in_(consent_ids))).all()
        teller.learn(conn, [row.profile_id for row in signed])
        self._teller = teller
        self._consents = {row.id: (row.signed_on, *agreed(row, as_of)) for row in signed}
        teller.rest_on((), [said for _, said, _ in self._consents.values()])
        withdrawals: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in conn.execute(sa.select(_WITHDRAWAL).where(_WITHDRAWAL.c.donor_id.in_(donors))):
            withdrawals[row.donor_id].append(row)
        self._people = {
            row.id: person(row, withdrawals.get(row.id, ()), as_of)
            for row in conn.execute(sa.select(_DONOR).where(_DONOR.c.id.in_(donors)))
        }

    def key(self, holding: Row[Any]) -> tuple[Key, date | None]:
        """The stratum of a holding, and when its consent ends (if it still runs)."""
        teller = self._teller
        signed_on, said, ends = self._consents.get(holding.consent_id, (None, None, None))
        if said is not None and teller.is_void(said):
            ends = None
        donor_id = holding.donor_id
        teller.rest_on((holding.collection_id,), ())
        key = teller.key(
            holding.collection_id,
            item(holding, signed_on),
            self._people[donor_id],
            said,
            teller.is_linked(donor_id),
        )
        return key, ends
