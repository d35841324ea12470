"""The contract: what is said of an operation beside its route, and the OpenAPI 3.1 made from it.

`@operation(...)` stands above the route's own decorator; `openapi/check.py` refuses a route without one.
FastAPI contributes paths and parameters; bodies, answers, problems and security come from what stands
beside each route (`@operation`, `Body`, `require`), because the routes answer with ready bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.bodies import JSON, Body, dependencies_of
from gateway.api.door import PROBLEM
from gateway.api.schemas.parts import Problem
from gateway.errors import KINDS
from gateway.identity.caller import Require

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__operation__"
_REF = "#/components/schemas/{model}"

TITLE = "HGR gateway"
#: Of the contract, not of the code: rises when a client would notice.
VERSION = "0.1.0"
ABOUT = """\
人类遗传资源合规网关:申请样本或数据、作出判定、存证、放行。
Human genetic resource gateway: ask for samples or data, have it decided, recorded and released.

Every refusal is a problem document (RFC 9457) with a stable `code`; `GET /problems/{code}` explains it in \
Chinese and English, and `Accept-Language` picks the language of titles. Every answer carries `Request-Id`.
Lists give `limit` items and `has_more`; go on with `starting_after`. Writes take an `Idempotency-Key`."""

#: What may happen to anybody anywhere: the door, the writer, the log.
ANYWHERE = ("not_acceptable", "internal")
WITH_BODY = ("malformed_body", "body_too_large", "unsupported_media_type", "invalid_request")
WITH_CREDENTIAL = (
    "unauthenticated",
    "key_expired",
    "key_revoked",
    "token_invalid",
    "session_ended",
    "address_refused",
    "scope_missing",
)
WHILE_WRITING = ("outcome_unknown", "log_unavailable", "busy", "body_too_large")
WITH_IDEMPOTENCY = ("idempotency_conflict",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A success: its JSON model, or the media types of what is not JSON."""

    model: type[BaseModel] | None = None
    says: str = "Done"
    media: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)  # name → what it tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. `example` is a body that a test sends; `fill` names what stands in its path.

    In examples and `fill` a text `{name}` is replaced by the id the demo world gives that name.
    """

    summary: str
    purpose: str
    answers: Mapping[int, Answer]
    errors: tuple[str, ...] = ()
    example: Mapping[str, Any] | None = None
    fill: Mapping[str, str] = field(default_factory=dict)


def operation(
    *,
    summary: str,
    purpose: str,
    answers: Mapping[int, Answer],
    errors: tuple[str, ...] = (),
    example: Mapping[str, Any] | None = None,
    fill: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Attach an `Operation` to a route function. Unknown error codes stop the import."""
    unknown = [code for code in errors if code not in KINDS]
    if unknown:
        raise KeyError(f"no such problem code: {unknown}")
    said = Operation(
        summary=summary,
        purpose=purpose,
        answers=answers,
        errors=errors,
        example=example,
        fill=fill or {},
    )

    def attach(function: F) -> F:
        setattr(function, _ATTRIBUTE, said)
        return function

    return attach


def operation_of(function: Callable[..., Any]) -> Operation | None:
    """What `@operation` attached, if anything."""
    return getattr(function, _ATTRIBUTE, None)


# --- the whole contract ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One route as the contract sees it. `operation` is None where nobody described it."""

    path: str
    method: str
    name: str
    tags: tuple[str, ...]
    operation: Operation | None
    body: Body[Any] | None
    scopes: tuple[str, ...]
    parameters: frozenset[str]


def text(app: FastAPI) -> bytes:
    """The contract as canonical text: what is committed, what is served."""
    return (json.dumps(document(app), ensure_ascii=False, indent=1) + "\n").encode()


def document(app: FastAPI) -> dict[str, Any]:
    """The contract of the running code."""
    known: dict[str, Any] | None = getattr(app.state, "contract", None)
    if known is None:
        known = app.state.contract = _build(app)
    return known


def described(app: FastAPI) -> Iterator[Described]:
    """Every route of the app that is in the contract, in the order of its declaration."""
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        endpoint = getattr(route, "endpoint", None)
        if dependant is None or endpoint is None:
            continue
        calls = dependencies_of(dependant)
        for method in sorted(route.methods or ()):
            yield Described(
                path=str(route.path).replace(":path}", "}"),
                method=method.lower(),
                name=endpoint.__name__,
                tags=tuple(str(tag) for tag in getattr(route, "tags", ())),
                operation=operation_of(endpoint),
                body=next((call for call in calls if isinstance(call, Body)), None),
                scopes=tuple(str(call.scope) for call in calls if isinstance(call, Require)),
                parameters=frozenset(
                    field.alias for field in (*dependant.header_params, *dependant.query_params)
                ),
            )


def _build(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=TITLE,
        version=app.version,
        openapi_version="3.1.0",
        description=ABOUT,
        routes=app.routes,
    )
    rows = list(described(app))
    models = [(row.body.model, "validation") for row in rows if row.body]
    models += [
        (answer.model, "serialization")
        for row in rows
        if row.operation
        for answer in row.operation.answers.values()
        if answer.model is not None
    ]
    models.append((Problem, "serialization"))
    names, schemas = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF)  # type: ignore[arg-type]  # modes are literals
    for row in rows:
        if row.operation is not None:
            _describe(made["paths"][row.path][row.method], row, row.operation, names)
    made["components"] = {
        "schemas": dict(sorted(schemas.get("$defs", {}).items())),
        "securitySchemes": _SECURITY,
    }
    return made


#: RFC 6749 §4.4 for tokens; keys and sessions are bearers of their own.
_SECURITY: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, an API key, or the token of a person's session.",
    },
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _describe(
    operation: dict[str, Any],
    row: Described,
    said: Operation,
    names: Mapping[Any, Mapping[str, Any]],
) -> None:
    who = f"Scope `{'`, `'.join(row.scopes)}`." if row.scopes else "Anybody may call it."
    operation["operationId"] = row.name
    operation["summary"] = said.summary
    operation["description"] = f"{said.purpose}\n\n{who}"
    operation["x-scopes"] = list(row.scopes)
    operation["security"] = [{"bearer": []}, {"api_key": []}] if row.scopes else []
    if row.body is not None:
        schema = names[row.body.model, "validation"]
        content: dict[str, Any] = {"schema": schema}
        if said.example is not None:
            content["example"] = said.example
        operation["requestBody"] = {"required": True, "content": {row.body.media_type: content}}
    elif said.example is not None:
        for content in operation["requestBody"]["content"].values():
            content["example"] = said.example
    for parameter in operation.get("parameters", []):
        _never_null(parameter)
        if parameter["name"] in said.fill:
            parameter["example"] = said.fill[parameter["name"]]
    responses: dict[str, Any] = {
        str(status): _success(answer, names) for status, answer in said.answers.items()
    }
    for status, codes in _by_status(codes_of(row)).items():
        refusal = _refusal(status, codes, names)
        if status in responses:
            responses[status]["content"] |= refusal["content"]
            responses[status]["description"] += "; or " + refusal["description"]
        else:
            responses[status] = refusal
    operation["responses"] = dict(sorted(responses.items()))


def _never_null(parameter: dict[str, Any]) -> None:
    # A header or query parameter is there or it is not; pydantic's "or null" cannot be sent.
    given = parameter["schema"].get("anyOf", [])
    kept = [one for one in given if one.get("type") != "null"]
    if len(kept) == 1 < len(given):
        parameter["schema"] = kept[0]


def codes_of(row: Described) -> list[str]:
    """Every problem code an operation may answer with."""
    said = row.operation
    codes = set(said.errors if said else ())
    codes.update(ANYWHERE)
    if row.body is not None:
        codes.update(WITH_BODY)
    if row.parameters:
        codes.add("invalid_request")
    if row.scopes:
        codes.update(WITH_CREDENTIAL)
    if row.method != "get" or row.name in {"read_proof", "read_release", "download_package"}:
        codes.update(WHILE_WRITING)  # these reads leave an entry or a checkpoint
    if "Idempotency-Key" in row.parameters:
        codes.update(WITH_IDEMPOTENCY)
    return sorted(codes)


def _by_status(codes: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for code in codes:
        found.setdefault(str(KINDS[code].status), []).append(code)
    return found


def _success(answer: Answer, names: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in answer.media}
    if answer.model is not None:
        content[JSON] = {"schema": names[answer.model, "serialization"]}
    elif JSON in content:
        content[JSON] = {"schema": {"type": "object"}}
    told: dict[str, Any] = {"description": answer.says, "content": content}
    told["headers"] = _headers(answer.headers)
    if not content:
        del told["content"]
    return told


def _refusal(
    status: str, codes: list[str], names: Mapping[Any, Mapping[str, Any]]
) -> dict[str, Any]:
    lines = [f"`{code}`: {KINDS[code].zh} / {KINDS[code].en}" for code in codes]
    headers = {"Retry-After": "seconds"} if status == str(int(HTTPStatus.TOO_MANY_REQUESTS)) else {}
    return {
        "description": "\n".join(lines),
        "content": {PROBLEM: {"schema": names[Problem, "serialization"]}},
        "headers": _headers(headers),
    }


def _headers(extra: Mapping[str, str]) -> dict[str, Any]:
    told = {"Request-Id": "names this answer in every log"} | dict(extra)
    return {
        name: {"description": says, "schema": {"type": "string"}} for name, says in told.items()
    }
