"""Who a request is for, and what: its roles, and its purpose in the terms consents speak of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from gateway.errors import FieldError, ProblemError
from gateway.registry.ask import Ask
from gateway.registry.ownership import Ownership
from gateway.registry.papers import Paper
from policies.consent import Purpose
from policies.disease import DiseaseTree, UnknownDiseaseError

#: Kinds of the catalogue that are data, not tubes.
_DATA_KINDS = frozenset({"genome", "exome", "clinical"})


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
