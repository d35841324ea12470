"""How a request is read and an answer written: bodies, preconditions, idempotency keys, JSON.

A body is read strictly: JSON `"true"` is not `true`, a key given twice is refused, an unknown field is
an error, every error names its place (RFC 6901). The raw bytes are kept for the idempotency digest.
"""

# NOTE: no `from __future__ import annotations` here: FastAPI reads the annotations of `__call__` and
# cannot resolve strings on an instance.

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Header, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from gateway.api.door import invalid, problem
from gateway.bank import Bank
from gateway.errors import FieldError, ProblemError
from gateway.identity.scopes import Caller
from gateway.replies import Rendered, Reply

M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


class Body(Generic[M]):
    """A dependency that gives the parsed body; the contract reads model and media type from it."""

    def __init__(self, model: type[M], *, media_type: str = JSON) -> None:
        self.model = model
        self.media_type = media_type

    async def __call__(self, request: Request) -> M:
        """The body. 415 for another media type, 400 if it is no JSON or says a thing twice, 422 if it
        does not fit.
        """
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != self.media_type:
            raise ProblemError("unsupported_media_type", f"send `{self.media_type}`")
        body = await request.body()
        try:
            fitting = self.model.model_validate_json(body, strict=True)
        except ValidationError as error:
            raise _unfit(error, body) from None
        _verify_keys(body)
        _verify_text(body)
        return fitting


def _unfit(error: ValidationError, body: bytes) -> ProblemError:
    # Neither the input nor the URL of pydantic's manual may leave: the one may be a secret.
    details = error.errors(include_url=False, include_input=False, include_context=False)
    if details[0]["type"] == "json_invalid":
        return ProblemError("malformed_body", "the body is not JSON in UTF-8")
    _verify_keys(body)
    return invalid(details)


def _verify_keys(body: bytes) -> None:
    """Raise `malformed_body` if an object of this JSON names a key twice.

    Which of the two counts is left to each reader (RFC 8259 §4), so the sender may have meant the other.
    """

    def once(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ProblemError("malformed_body", f"`{key}` is given twice in one object")
            seen.add(key)

    # Numbers stay text: only the keys matter here.
    json.loads(body.decode(), object_pairs_hook=once, parse_int=str, parse_float=str)


#: What no reader would see, or what would make a reader see something else: control characters but
#: tab and line ends, and those that turn the direction of writing (Unicode UAX #9, Trojan Source).
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def _verify_text(body: bytes) -> None:
    """Raise `invalid_request` naming every text that carries a hidden character.

    These texts are evidence: what an officer reads must be what was written.
    """
    found: list[FieldError] = []
    waiting: list[tuple[str, object]] = [("", json.loads(body))]
    while waiting:
        pointer, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{pointer}/{name}", each) for name, each in value.items()]
            waiting += [(f"{pointer}/~name", name) for name in value]
        elif isinstance(value, list):
            waiting += [(f"{pointer}/{index}", each) for index, each in enumerate(value)]
        elif isinstance(value, str) and _HIDDEN.search(value):
            detail = "control characters and marks of writing direction are not taken"
            found.append(FieldError(pointer=pointer, detail=detail))
    if found:
        raise ProblemError(
            "invalid_request",
            "a text carries characters that cannot be seen",
            errors=tuple(sorted(found, key=lambda error: error.pointer)),
        )


class Accepts:
    """A dependency that refuses (406) a caller who will take none of `media_types`."""

    def __init__(self, *media_types: str) -> None:
        self.media_types = media_types

    async def __call__(self, request: Request) -> str:
        """The media type to answer with: the first of ours that the caller takes."""
        ranges = [
            part.partition(";")[0].strip().lower()
            for part in request.headers.get("accept", "*/*").split(",")
        ]
        for ours in self.media_types:
            if ours in ranges or "*/*" in ranges or f"{ours.partition('/')[0]}/*" in ranges:
                return ours
        raise ProblemError("not_acceptable", f"this answers with {' or '.join(self.media_types)}")


ACCEPTS_JSON = Depends(Accepts(JSON))


async def bank_of(request: Request) -> Bank:
    """The bank this app serves."""
    bank: Bank = request.app.state.bank
    return bank


OpenBank = Annotated[Bank, Depends(bank_of)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,64}$",
        description="1 to 64 visible ASCII characters. A retry with the same key and body gets the "
        "stored answer; another body under the same key is refused (409).",
    ),
]

#: Optional in the signature so that its absence is 428 (RFC 6585), not a validation error.
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=r'^"[1-9][0-9]{0,9}"$',
        description="The `ETag` you read. Without it 428; if the thing has changed since, 412.",
    ),
]

Limit = Annotated[
    int, Query(ge=1, le=100, description="How many at the most.", examples=[20], strict=False)
]
After = Annotated[
    str | None,
    Query(
        alias="starting_after",
        pattern=r"^[A-Za-z0-9_.:-]{1,80}$",
        description="The `id` of the last one already seen.",
    ),
]


def revision_of(if_match: str | None) -> int | None:
    """The revision an `If-Match` names; None without one."""
    return None if if_match is None else int(if_match.strip('"'))


def etag(revision: int) -> dict[str, str]:
    """The header with the entity tag of a revision."""
    return {"ETag": f'"{revision}"'}


async def reply(
    request: Request, caller: Caller, key: str | None, render: Callable[[Any], Rendered]
) -> Reply:
    """How to answer this request. An idempotency key is good for one method and path, and one body."""
    return Reply(
        client=caller.id,
        key=key,
        route=f"{request.method} {request.url.path}",
        body_hash=hashlib.sha256(await request.body()).hexdigest(),
        render=render,
    )


def rendered(
    shape: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Rendered:
    """An answer in JSON, as bytes."""
    return Rendered(status=status, body=to_json(shape), headers=dict(headers or {}))


def refused(error: ProblemError, request: Request, **members: object) -> Rendered:
    """A refusal that an act stands behind and that is durable, as a problem document."""
    answer = problem(error, request.scope, **members)
    return Rendered(
        status=answer.status_code,
        body=bytes(answer.body),
        headers={"Content-Type": answer.headers["Content-Type"]},
    )


def sent(answer: Rendered) -> Response:
    """What was rendered, on its way out."""
    headers = {"Content-Type": JSON} | dict(answer.headers)
    return Response(answer.body, status_code=answer.status, headers=headers)


def to_json(shape: BaseModel) -> bytes:
    """The bytes of an answer; absent members are written as null, so that the shape is constant."""
    return shape.__pydantic_serializer__.to_json(shape)


def answered(
    shape: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON that no act stands behind: a read."""
    return sent(rendered(shape, status, headers))


def dependencies_of(dependant: Any) -> list[Any]:
    """Every callable a route depends on, however deep (FastAPI's `Dependant` has no public type)."""
    found: list[Any] = []
    for part in dependant.dependencies:
        found += [part.call, *dependencies_of(part)]
    return found
