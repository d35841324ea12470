"""Every example in the contract is sent as it stands, by somebody who may, and works."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from gateway.api import contract
from gateway.api.contract import Described
from gateway.app import routes
from gateway.bank import Bank
from tests.gateway.api.cast import PASSWORD, Cast, code_for, tubes_of
from tests.gateway.api.door import Door
from tests.gateway.conftest import SettableClock

OPERATIONS = list(contract.described(routes()))
PLACEHOLDER = re.compile(r"\{([a-z_0-9]+)\}")

#: scope → who holds it, first of those that do
HOLDERS = {
    "admin:keys": "administrator",
    "admin:people": "administrator",
    "admin:law": "officer",
    "audit:read": "auditor",
    "audit:export": "regulator",
    "review:read": "officer",
    "review:decide": "officer",
    "registry:read": "officer",
    "registry:write": "officer",
    "handovers:write": "officer",
    "sessions:self": "officer",
}


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
def test_the_example_works(
    row: Described, door: Door, bank: Bank, cast: Cast, clock: SettableClock
) -> None:
    clock.advance(minutes=1)  # a code is good once, and signing in used this minute's
    said = row.operation
    assert said is not None
    names = {
        **cast.made,
        "officer_login": "officer.three",
        "officer_password": PASSWORD,
        "officer_code": code_for(bank, cast.totp["officer.three"]),
        "access_token": cast.token,
    }
    path = PLACEHOLDER.sub(lambda one: said.fill[one[1]], row.path)
    path = PLACEHOLDER.sub(lambda one: names[one[1]], path)
    who = cast.roles[HOLDERS.get(row.scopes[0], "researcher key")] if row.scopes else None
    headers = {"Idempotency-Key": "example"} if "Idempotency-Key" in row.parameters else {}
    if "If-Match" in row.parameters:
        headers["If-Match"] = _etag(door, path, who)
    query = {"party": "pty_shanghai_hospital"} if row.name == "list_keys" else {}
    query |= {"subject": "pty_hk_subsidiary"} if row.name == "list_determinations" else {}
    sent = _body(row, said.example, names, tubes_of(bank, cast.made["release"]), cast)
    answer = door.request(
        row.method.upper(), path, as_=who, headers=headers | sent.pop("headers", {}),
        params=query, **sent,
    )  # fmt: skip
    assert answer.status_code in said.answers, answer.text
    assert answer.status_code < 300, answer.text
    _verify_headers(answer)


def _body(
    row: Described, example: Any, names: dict[str, str], tubes: list[str], cast: Cast
) -> dict[str, Any]:
    if example is None:
        return {}
    text = json.dumps(example).replace('["{tubes}"]', json.dumps(tubes))
    body = json.loads(PLACEHOLDER.sub(lambda one: names[one[1]], text))
    if row.body is None:  # a form, to the authorization server
        return {"data": body | {"client_id": cast.key_id, "client_secret": cast.key}}
    return {
        "content": json.dumps(body).encode(),
        "headers": {"Content-Type": row.body.media_type},
    }


def _etag(door: Door, path: str, who: str | None) -> str:
    thing = path.partition(":")[0].removesuffix("/commands")
    return door.get(thing, as_=who).headers["ETag"]


def _verify_headers(answer: httpx.Response) -> None:
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["Request-Id"])
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
