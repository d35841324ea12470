"""The door every request passes: an id, a limit, a language, safe headers, and no way to fall through.

Pure ASGI on purpose: a `BaseHTTPMiddleware` costs a task and a queue per request and breaks streaming.

The rules it keeps:
- Every answer carries `Request-Id`, problem documents included.
- The body is read here, counted as it comes (`Content-Length` is only a claim), and never beyond the
  limit; what comes after sees it whole.
- What nobody expected becomes 500 with an id and no text; the traceback goes to stderr under that id.
- Every refusal and every fault leaves as a problem document (RFC 9457), with a code of `gateway.errors`.
  Input is never echoed from validation errors: a secret typed into the wrong field must not come back,
  nor reach a log.
- While the log is in doubt nothing is written: every method but GET and HEAD is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.leaf import LeafError
from audit.log import LogError
from gateway.errors import CommitUnknownError, FieldError, ProblemError
from policies.request import PolicyError

PROBLEM = "application/problem+json"

_log = logging.getLogger("gateway")

#: JSON needs nothing from anywhere, and nobody may frame it.
_CSP = "default-src 'none'; frame-ancestors 'none'"

#: What must never lie in a cache: personal answers, decisions, credentials.
_PRIVATE = ("/v1/", "/oauth/")

#: What Starlette itself refuses, by status.
_STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable"}


class Door:
    """The outermost middleware. `in_doubt()` says whether writing has been stopped."""

    def __init__(self, app: ASGIApp, *, body_bytes: int, in_doubt: Callable[[], bool]) -> None:
        self._app = app
        self._limit = body_bytes
        self._in_doubt = in_doubt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event; everything but HTTP passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = uuid4().hex
        state["language"] = language_of(Headers(scope=scope).get("accept-language", ""))
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _dress(MutableHeaders(scope=message), scope, request_id)
            await send(message)

        try:
            body = await self._admit(scope, receive)
            if body is None:
                return  # the client hung up before its body was whole: there is nobody to answer
            await self._app(scope, _replay(body, receive), dressed)
        except ProblemError as refused:
            await problem(refused, scope)(scope, receive, dressed)
        except Exception:
            # The outermost edge (style guide, Errors): fail closed, say nothing of the inside.
            _log.exception("request %s failed", request_id)
            if started:
                raise  # half an answer is out; only closing the connection tells the client so
            await problem(ProblemError("internal"), scope)(scope, receive, dressed)

    async def _admit(self, scope: Scope, receive: Receive) -> bytes | None:
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"} and self._in_doubt():
            raise ProblemError("log_unavailable", "the log is in doubt; nothing is written")
        claimed = Headers(scope=scope).get("content-length", "")
        if claimed.isdecimal() and int(claimed[:20]) > self._limit:
            raise ProblemError("body_too_large", f"at most {self._limit} bytes are read")
        return await self._read(receive)

    async def _read(self, receive: Receive) -> bytes | None:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                raise ProblemError("body_too_large", f"at most {self._limit} bytes are read")
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _dress(headers: MutableHeaders, scope: Scope, request_id: str) -> None:
    headers["Request-Id"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers.setdefault("Content-Security-Policy", _CSP)
    if scope["path"].startswith(_PRIVATE):
        headers.setdefault("Cache-Control", "no-store")
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = "max-age=31536000"


def language_of(accepted: str) -> str:
    """`zh` or `en`, whichever `Accept-Language` weighs higher; English when it names neither.

    RFC 9110 §12.5.4: the weight is `q`, 1 where absent, and 0 is "not acceptable".
    """
    weights = {"zh": 0.0, "en": 0.0}
    for part in accepted.split(",")[:20]:
        name, _, parameters = part.strip().partition(";")
        primary = name.strip().lower().partition("-")[0]
        if primary in weights:
            weights[primary] = max(weights[primary], _weight(parameters))
    return "zh" if weights["zh"] > weights["en"] else "en"


def _weight(parameters: str) -> float:
    key, _, value = parameters.strip().partition("=")
    if key.strip().lower() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0


# --- problem documents -----------------------------------------------------------------------------


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
        media_type=PROBLEM,
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
