"""Problem documents (RFC 9457): every refusal and every fault leaves as one of them.

Only the codes of `gateway.errors` exist. Input is never echoed from validation errors: a secret typed
into the wrong field must not come back, nor reach a log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from audit.leaf import LeafError
from audit.log import LogError
from gateway.errors import CommitUnknownError, FieldError, ProblemError
from policies.request import PolicyError

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger("gateway")

#: What Starlette itself refuses, by status.
_STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable"}


def problem(error: ProblemError, scope: Scope, **members: object) -> Response:
    """The answer for `error`, in the language asked for; `members` are RFC 9457 extensions."""
    state = scope.get("state", {})
    document = error.document(
        language=state.get("language", "en"),
        request_id=state.get("request_id", ""),
        instance=scope["path"],
    )
    headers = {"Content-Language": state.get("language", "en"), "Vary": "Accept-Language"}
    if error.kind.status == 401:
        # RFC 9110 §11.6.1: a 401 must carry a challenge.
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(
        json.dumps(document | members, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        ),
        status_code=error.kind.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def invalid(errors: Sequence[Any], *, at: str = "") -> ProblemError:
    """What pydantic found wrong, one error per place, without the input itself.

    `errors` are pydantic's error details; `at` is put before each pointer.
    """
    found = {at + pointer(e["loc"]): _lower(e["msg"]) for e in reversed(errors)}
    return ProblemError(
        "invalid_request",
        "one or more fields do not fit the contract",
        errors=tuple(FieldError(pointer=p, detail=d) for p, d in sorted(found.items())),
    )


def pointer(location: Sequence[str | int]) -> str:
    """RFC 6901: each step after a slash, `~` and `/` inside a step escaped."""
    return "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in location)


def install(app: FastAPI) -> None:
    """Teach `app` to answer every expected error as a problem document."""
    # The types are those of Starlette's registry, which knows only `Exception`.
    handlers: dict[Any, Callable[[Request, Any], Any]] = {
        ProblemError: _refused,
        RequestValidationError: _unfit,
        HTTPException: _starlette,
        CommitUnknownError: _fault("outcome_unknown"),
        LogError: _fault("log_unavailable"),
        LeafError: _fault("decision_failed"),
        PolicyError: _fault("decision_failed"),
    }
    for error, handler in handlers.items():
        app.add_exception_handler(error, handler)


async def _refused(request: Request, error: ProblemError) -> Response:
    return problem(error, request.scope)


async def _unfit(request: Request, error: RequestValidationError) -> Response:
    return problem(invalid(error.errors()), request.scope)


async def _starlette(request: Request, error: HTTPException) -> Response:
    code = _STATUS_CODES.get(error.status_code, "malformed_body")
    answer = problem(ProblemError(code), request.scope)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value  # Allow, with a 405
    return answer


def _fault(code: str) -> Callable[[Request, Exception], Any]:
    async def answer(request: Request, error: Exception) -> Response:
        _log.error("request %s failed", request.state.request_id, exc_info=error)
        return problem(ProblemError(code), request.scope)

    return answer


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
