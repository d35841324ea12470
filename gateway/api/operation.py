"""What the contract says of one operation, written beside the route that keeps it.

`@operation(...)` stands above the route's own decorator. `openapi/check.py` refuses a route without one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from gateway.errors import KINDS

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "__operation__"

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
