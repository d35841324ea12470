"""What a researcher asks, parsed once at the door; and in the terms of the law: who it is for, and what.

Tri-state throughout: a field left out is unknown, never no. A party that does not exist in the
arrangement is said to be `"none"`; left out, it is unknown. Amounts of money are whole fen (分).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.errors import FieldError, ProblemError
from gateway.registry.ownership import Ownership
from gateway.registry.papers import Paper
from policies.consent import Purpose, Research
from policies.disease import DiseaseTree, UnknownDiseaseError

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,80}$")]
PartyOrNone = Annotated[str, Field(pattern=r"^(none|pty_[A-Za-z0-9_]{1,64})$")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")]
Text = Annotated[str, Field(max_length=4000)]


def _written_out(value: object) -> object:
    # pydantic would read "1640995200" as seconds since 1970; RFC 3339 §5.6 knows only full-date.
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("a date is written YYYY-MM-DD")
    return date.fromisoformat(value)


Day = Annotated[date, BeforeValidator(_written_out)]

KINDS = (
    "whole_blood",
    "blood_cells",
    "tumour_tissue",
    "dna",
    "plasma",
    "genome",
    "exome",
    "clinical",
)
Action = Literal[
    "release",
    "preserve",
    "collect",
    "open_access",
    "enforcement_request",
    "deposit_repository",
    "teaching",
    "method_validation",
    "return_of_findings",
    "court_order",
    "police_request",
    "insurer_or_employer",
    "ai_training",
    "model_export",
    "bank_transfer",
    "return_to_source",
    "destruction",
    "relatives_of_deceased",
    "state_use",
    "delete_records",
    "inspection",
    "incident",
]
#: What may have changed since an approval or filing (Implementing Rules arts 44-48).
Change = Literal[
    "partner",
    "sponsor",
    "lead_site",
    "cro",
    "third_lab",
    "purpose",
    "content",
    "term",
    "type",
    "use",
    "unit",
    "plan",
    "item_name",
    "other_site",
    "legal_name",
    "plan_within_approval",
    "quantity",
]
ItemKind = Literal[
    "whole_blood", "blood_cells", "tumour_tissue", "dna", "plasma", "genome", "exome", "clinical"
]
DataClass = Literal[
    "genome",
    "exome",
    "panel",
    "transcriptome",
    "epigenome",
    "ctDNA",
    "clinical",
    "imaging",
    "protein",
    "metabolic",
    "aggregate",
]
Flag = Literal["contains_cells", "extracted_nucleic_acid", "collected_abroad", "pedigree"]
#: Kinds of the catalogue that are data, not tubes.
_DATA_KINDS = frozenset({"genome", "exome", "clinical"})


class _Part(BaseModel):
    # Strict: the JSON text "true" is not true, and 1.0 is not a date.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class UserAsked(_Part):
    """One person who would use what is released, and the country they would access it from."""

    researcher: Identifier
    access_country: Country | None = None


class HostAsked(_Part):
    """Where data would lie, and who operates that place."""

    operator: PartyOrNone | None = None
    place: Country | None = None


class PurposeAsked(_Part):
    """What it is for, in the terms consents speak of."""

    research: Research
    text: Text = ""
    diseases: list[Identifier] = Field(default_factory=list, max_length=50)
    research_types: list[Identifier] = Field(default_factory=list, max_length=50)
    commercial: bool | None = None
    genetic: bool | None = None
    publication_planned: bool | None = None
    publication_from: Day | None = None
    collaborators: list[Identifier] | None = Field(default=None, max_length=50)


class Span(_Part):
    """From a number to a number, both included; left out, it has no end on that side."""

    first: int | None = Field(default=None, ge=0, le=9999)
    last: int | None = Field(default=None, ge=0, le=9999)

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.first is not None and self.last is not None and self.last < self.first:
            raise ValueError("it ends before it begins")
        return self


class CohortAsked(_Part):
    """Which holdings: every condition given must hold; none given means the whole bank.

    `samples` lists donor codes or holding codes; an unknown one refuses the request (422). `disease`
    includes all descendants of the term. `collected` are calendar years; `age` is in full years when
    collected. Each of `flags` must be known to be so. Of `any_of` at least one part must hold, of
    `all_of` every, of `none_of` none. What the bank does not know of a holding meets no condition on it.
    """

    collections: list[Identifier] = Field(default_factory=list, max_length=500)
    sex: Literal["female", "male"] | None = None
    disease: Identifier | None = None
    samples: list[Identifier] = Field(default_factory=list, max_length=10_000)
    kinds: list[ItemKind] = Field(default_factory=list, max_length=len(KINDS))
    data_classes: list[DataClass] = Field(default_factory=list, max_length=11)
    collected: Span | None = None
    age: Span | None = None
    flags: list[Flag] = Field(default_factory=list, max_length=4)
    any_of: list[CohortAsked] = Field(default_factory=list, max_length=20)
    all_of: list[CohortAsked] = Field(default_factory=list, max_length=20)
    none_of: list[CohortAsked] = Field(default_factory=list, max_length=20)


class ItemsAsked(_Part):
    """Which kinds of holdings of which donors, and how many tubes of each."""

    kinds: list[ItemKind] = Field(min_length=1, max_length=len(KINDS))
    cohort: CohortAsked = CohortAsked()
    units_each: int = Field(default=1, ge=1, le=100)


class PriceAsked(_Part):
    """What the bank would be paid and what it can document as cost, in fen (Decree 717 art. 10)."""

    price_fen: int | None = Field(default=None, ge=0, le=10**12)
    cost_fen: int | None = Field(default=None, ge=0, le=10**12)
    cost_documented: bool | None = None


class AgreementAsked(_Part):
    """The agreement between the sides (Decree 717 arts 24–25)."""

    signed: bool | None = None
    clauses: (
        list[
            Literal[
                "records_open", "backup", "joint_patents", "benefit", "data_use_both", "no_onward"
            ]
        ]
        | None
    ) = Field(default=None, max_length=6)


class TrialAsked(_Part):
    """A clinical trial that rests on a filing instead of an approval (Decree 717 art. 22)."""

    for_marketing: bool | None = None
    in_registered_institution: bool | None = None
    collected_in_institution: bool | None = None
    tested_in_institution_or_named_unit: bool | None = None
    exploratory_part: bool | None = None


class CollectionAsked(_Part):
    """What is to be collected or taken in (Decree 717 art. 11, Implementing Rules art. 27)."""

    affected_generations: int | None = Field(default=None, ge=0, le=20)
    common_disease: bool | None = None
    special_region: bool | None = None
    large_population_study: bool | None = None
    people_planned: int | None = Field(default=None, ge=0, le=10**9)


class QuantitiesAsked(_Part):
    """How much the protocol and the consent form name (NHC answers of 2025)."""

    protocol_people: int | None = Field(default=None, ge=0, le=10**9)
    protocol_units: int | None = Field(default=None, ge=0, le=10**9)
    form_units: int | None = Field(default=None, ge=0, le=10**9)


class UsPersonsAsked(_Part):
    """US persons whose data or biospecimens are involved (28 CFR 202.205)."""

    genomic: int | None = Field(default=None, ge=0, le=10**9)
    other_omic: int | None = Field(default=None, ge=0, le=10**9)


class Ask(_Part):
    """One whole request. Everything the gateway needs to know and only the applicant can say."""

    project: Identifier
    action: Action = "release"
    recipient: PartyOrNone
    recipient_role: (
        Literal["partner", "sponsor", "cro", "lab", "edc_only", "funder_only"] | None
    ) = None
    recipient_has_access: bool | None = None
    sponsor: PartyOrNone | None = None
    beneficiary: PartyOrNone | None = None
    host: HostAsked | None = None
    users: list[UserAsked] | None = Field(default=None, max_length=200)
    outputs: list[Literal["individual", "aggregate", "model_weights"]] | None = Field(
        default=None, max_length=3
    )
    purpose: PurposeAsked
    items: ItemsAsked | None = None
    price: PriceAsked = PriceAsked()
    agreement: AgreementAsked = AgreementAsked()
    trial: TrialAsked | None = None
    leftover: Literal["destroy", "return", "keep"] | None = None
    material_exits: bool | None = None
    extracts_nucleic_acid: bool | None = None
    produced_in_cooperation: bool | None = None
    clinical_care: bool | None = None
    banned_care: bool | None = None
    research_use: bool | None = None
    prc_authority_approval: bool | None = None
    site: Literal["single", "lead", "participating"] | None = None
    changes: list[Change] | None = Field(default=None, max_length=17)
    care_kind: Literal["car_t", "gene_test", "other"] | None = None
    embryo_or_germline: Literal["none", "research", "reproductive"] | None = None
    new_biomedical_technology: bool | None = None
    collection: CollectionAsked | None = None
    quantities: QuantitiesAsked = QuantitiesAsked()
    us_persons: UsPersonsAsked = UsPersonsAsked()
    ftz_pilot: bool | None = None
    emergency_exemption: bool | None = None
    pi_form: Literal["identifiable", "deidentified", "anonymised"] | None = None
    until: Day | None = None


# --- who it is for, and what -----------------------------------------------------------------------


#: Where an applicant says what a fact is about, where the name of the fact does not tell.
_SAID_AT = {
    "request.commercial": "/purpose/commercial",
    "request.price_fen": "/price/price_fen",
    "request.cost_fen": "/price/cost_fen",
    "request.cost_documented": "/price/cost_documented",
    "request.agreement_signed": "/agreement/signed",
    "request.agreement_clauses": "/agreement/clauses",
    "request.protocol_people": "/quantities/protocol_people",
    "request.protocol_units": "/quantities/protocol_units",
    "request.form_units": "/quantities/form_units",
    "request.us_persons_genomic": "/us_persons/genomic",
    "request.us_persons_other_omic": "/us_persons/other_omic",
    "request.affected_generations": "/collection/affected_generations",
    "request.common_disease": "/collection/common_disease",
    "request.collects_special_region": "/collection/special_region",
    "request.large_population_study": "/collection/large_population_study",
    "request.people_planned": "/collection/people_planned",
    "recipient.role": "/recipient_role",
    "recipient.has_access": "/recipient_has_access",
    "sponsor.present": "/sponsor",
    "beneficiary.present": "/beneficiary",
    "host.present": "/host/operator",
    "host.place": "/host/place",
    "pi.form": "/pi_form",
    "users.access_countries": "/users",
    "users.nationalities": "/users",
    "users.individual_capacity": "/users",
    "purpose.countries": "/users",
    "purpose.users": "/users",
}


def pointer_of(fact: str) -> str | None:
    """Where in an ask (RFC 6901) a missing fact is said; None if an ask does not say it."""
    if fact in _SAID_AT:
        return _SAID_AT[fact]
    group, _, name = fact.partition(".")
    if group == "request" and name in Ask.model_fields:
        return f"/{name}"
    if group == "request" and name.startswith("trial_"):
        return f"/trial/{name.removeprefix('trial_')}"
    if group == "purpose" and name in PurposeAsked.model_fields:
        return f"/purpose/{name}"
    return None


def roles_of(ask: Ask) -> dict[str, tuple[str | None, str]]:
    """Role → who is said to be in it (`none`: nobody, None: not said), and where it is said."""
    return {
        "recipient": (ask.recipient, "/recipient"),
        "sponsor": (ask.sponsor, "/sponsor"),
        "beneficiary": (ask.beneficiary, "/beneficiary"),
        "host": (ask.host.operator if ask.host else None, "/host/operator"),
    }


def named_in(ask: Ask, requester_party_id: str) -> dict[str, str]:
    """Role → party id, the requester first; roles nobody is said to be in are left out."""
    named = {
        role: who for role, (who, _) in roles_of(ask).items() if who not in {None, "none"} and who
    }
    return {"requester": requester_party_id} | named


def purpose_of(
    ask: Ask,
    diseases: DiseaseTree,
    named: Mapping[str, str],
    ownership: Ownership,
    ethics: Paper | None,
    as_of: date,
) -> Purpose:
    """The purpose of an ask. Raises `ProblemError` `unknown_term` pointing at each unknown disease."""
    asked = ask.purpose
    ancestors: dict[str, frozenset[str]] = {}
    wrong: list[FieldError] = []
    for index, term in enumerate(asked.diseases):
        try:
            ancestors[term] = diseases.ancestors(term)
        except UnknownDiseaseError as error:
            wrong.append(FieldError(pointer=f"/purpose/diseases/{index}", detail=str(error)))
    if wrong:
        raise ProblemError("unknown_term", wrong[0].detail, errors=tuple(wrong))
    recipient = named.get("recipient", named["requester"])
    return Purpose(
        research=asked.research,
        diseases=tuple(asked.diseases),
        disease_ancestors=ancestors,
        research_types=tuple(asked.research_types),
        commercial=asked.commercial,
        not_for_profit=_not_for_profit(ask, named, ownership),
        genetic=asked.genetic,
        countries=_countries(ask, ownership.parties[recipient].country),
        institution=recipient,
        users=None if ask.users is None else tuple(user.researcher for user in ask.users),
        project=ask.project,
        collaborators=None if asked.collaborators is None else tuple(asked.collaborators),
        # None, not False: an opinion that is absent or has lapsed may still come.
        ethics_approved=True if ethics is not None and ethics.is_in_force(as_of) else None,
        publication_planned=asked.publication_planned,
        publication_from=asked.publication_from,
    )


def _not_for_profit(ask: Ask, named: Mapping[str, str], ownership: Ownership) -> bool | None:
    """Whether everybody it is for is not-for-profit; unknown if somebody is not named."""
    roles = ("recipient", "sponsor", "beneficiary")
    unnamed = None in {roles_of(ask)[role][0] for role in roles}
    known = [
        ownership.parties[named[role]].not_for_profit
        for role in ("requester", *roles)
        if role in named
    ]
    if False in known:
        return False
    return None if unnamed or None in known else True


def _countries(ask: Ask, recipient: str) -> frozenset[str] | None:
    """Where it is used and accessed; unknown unless every user and the place of the data is said.

    The place of data only matters where data are asked for; a tube is where its recipient is.
    """
    if ask.users is None or any(user.access_country is None for user in ask.users):
        return None
    places = {user.access_country for user in ask.users if user.access_country} | {recipient}
    data = ask.items is not None and bool(_DATA_KINDS & set(ask.items.kinds))
    if ask.host is not None and ask.host.place is not None:
        places.add(ask.host.place)
    elif data:
        return None
    return frozenset(places)
