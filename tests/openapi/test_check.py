"""The committed contract is the code's, and the check would notice if it were not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import APIRouter, Depends

from gateway.api import contract
from gateway.app import routes
from gateway.identity.caller import public
from openapi import check


def test_committed_contract_is_that_of_the_code() -> None:
    assert check.difference(check.COMMITTED.read_bytes(), contract.text(routes())) == []


def test_contract_is_complete() -> None:
    assert list(check.gaps(routes())) == []


def test_it_is_openapi_3_1_with_every_operation_answering_problems() -> None:
    document = json.loads(check.COMMITTED.read_bytes())
    assert document["openapi"] == "3.1.0"
    for path, item in document["paths"].items():
        for method, one in item.items():
            problems = [s for s in one["responses"] if int(s) >= 400]
            assert "500" in problems, (method, path)
            assert one["summary"], (method, path)
            assert one["description"], (method, path)


def changed(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a path is gone", lambda d: d["paths"].pop("/v1/grants")),
        ("a field is gone", lambda d: d["components"]["schemas"]["GrantOut"].pop("properties")),
        ("a summary differs", lambda d: d["paths"]["/healthz"]["get"].update(summary="x")),
    ],
)
def test_a_difference_is_shown(name: str, change: Any) -> None:
    document = json.loads(check.COMMITTED.read_bytes())
    change(document)
    assert check.difference(changed(document), contract.text(routes())), name


def test_an_undescribed_route_is_a_gap() -> None:
    router = APIRouter()

    @router.get("/v1/quiet", dependencies=[Depends(public())])
    def quiet() -> None: ...

    app = routes()
    app.include_router(router)
    assert any("/v1/quiet: nothing is said" in gap for gap in check.gaps(app))


def test_a_wrong_call_is_told_apart_from_a_difference() -> None:
    assert check.main(["--unknown"]) == 2
