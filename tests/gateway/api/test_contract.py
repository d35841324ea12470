"""Schemathesis: whoever calls, whatever is sent, no 5xx and no answer outside the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.python.asgi import shutdown_lifespans

from gateway.app import create_app
from gateway.bank import Bank
from tests.gateway.api.cast import Cast

ROLES = (
    "researcher key",
    "researcher token",
    "officer",
    "administrator",
    "auditor",
    "regulator",
    "nobody",
)

#: What a well-formed request may meet beyond Schemathesis' own list: no such term, no `If-Match`, an
#: address that is not a tile. The schema cannot know what the bank holds.
EXPECTED = ["2xx", "400", "401", "403", "404", "409", "412", "422", "428"]
CONFIG: dict[str, Any] = {
    "checks": {"positive_data_acceptance": {"expected-statuses": EXPECTED}},
}
EXAMPLES = 8  # times some 60 operations times 7 roles

ROUNDS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def contract(bank: Bank) -> Iterator[schemathesis.BaseSchema]:
    config = schemathesis.Config.from_dict(CONFIG)
    yield schemathesis.openapi.from_asgi("/openapi.json", create_app(bank), config=config)
    shutdown_lifespans()


@pytest.mark.parametrize("role", ROLES)
def test_no_answer_is_outside_the_contract(
    contract: schemathesis.BaseSchema, cast: Cast, role: str
) -> None:
    credential = cast.roles[role]
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    operations = [found.ok() for found in contract.get_all_operations()]
    # Signing out would leave the rest without a session.
    operations.sort(key=lambda one: one.method == "delete")

    for operation in operations:

        @ROUNDS
        @given(case=operation.as_strategy(), known=st.booleans())
        def attempt(case: Any, *, known: bool) -> None:
            if known:
                _aim(case, cast)
            case.call_and_validate(headers=headers)

        attempt()


#: Members of bodies that name something: what to name instead of a word nobody knows.
NAMES = {
    "party": "pty_shanghai_hospital",
    "holder": "pty_shanghai_hospital",
    "owner": "pty_foreign_pharma",
    "owned": "pty_shanghai_hospital",
    "employer": "pty_shanghai_hospital",
    "chinese_partner": "pty_partner_institute",
    "subject": "pty_hk_subsidiary",
    "project": "prj_hospital_hmb",
    "collection": "col_chb",
    "recipient": "pty_shanghai_hospital",
    "sponsor": "none",
    "beneficiary": "none",
}


def _aim(case: Any, cast: Cast) -> None:
    """Half of what is sent is about something that is there."""
    for name in case.path_parameters or {}:
        made = cast.made.get(name.removesuffix("_id"))
        if made is not None:
            case.path_parameters[name] = made
    if case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        for said in (case.body, case.body.get("ask")):
            if isinstance(said, dict):
                said |= {name: known for name, known in NAMES.items() if said.get(name)}
                # Diseases, collaborators and cohorts are words of their own lists.
                for name in ("diseases", "collections", "samples", "disease"):
                    for part in _parts(said):
                        part.pop(name, None)


def _parts(said: dict[str, Any]) -> list[dict[str, Any]]:
    inside = [part for part in said.values() if isinstance(part, dict)]
    return inside + [one for part in inside for one in _parts(part)]
