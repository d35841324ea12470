"""Canonical JSON (RFC 8785, JCS) for the values we use: the same data, the same bytes, everywhere.

The rules it keeps: ASCII keys, so that their order by code unit is their order by character; no
floats; integers every JSON reader holds exactly; text verbatim (never normalised), but no lone
surrogates. What breaks one of these is refused, not bent.
"""

from __future__ import annotations

import json
from typing import NoReturn, TypeAlias

from policies.request import PolicyError

#: What canonical JSON holds here.
Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

MAX_INTEGER = 2**53 - 1  # RFC 8785 §3.2.2.3, I-JSON: ±(2^53-1)


class DocumentError(PolicyError):
    """Bytes that are not a document of ours, or values that cannot stand in one."""


def dumps(value: Json) -> bytes:
    """The canonical bytes of a value. Raises DocumentError."""
    _verify(value)
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    try:
        # RFC 8785 §3.2.2.2: lone surrogates "MUST cause a compliant JCS implementation to terminate".
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DocumentError("a text holds a lone surrogate") from error


def loads(content: bytes) -> Json:
    """The value of canonical bytes; anything not canonical is refused with DocumentError."""
    try:
        value: Json = json.loads(
            content.decode("utf-8"), parse_float=_refuse_number, parse_constant=_refuse_number
        )
    except (ValueError, RecursionError) as error:
        raise DocumentError("not JSON") from error
    # Also catches duplicate keys, spaces and other spellings of the same data.
    if dumps(value) != content:
        raise DocumentError("not canonical JSON")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise DocumentError(f"`{text}` is not a whole number")


def _verify(value: Json) -> None:
    kind = type(value)  # exact types: a bool is no integer here, and nothing is half a list
    if kind in _PLAIN:
        return
    if isinstance(value, dict):
        for key, member in value.items():
            if not key.isascii():
                raise DocumentError(f"key `{key}` is not ASCII")
            _verify(member)
    elif isinstance(value, list):
        for member in value:
            _verify(member)
    elif not isinstance(value, int):
        raise DocumentError(f"a {kind.__name__} cannot stand in a document")
    elif abs(value) > MAX_INTEGER:
        raise DocumentError(f"`{value}` is beyond 2^53-1")


_PLAIN = frozenset({str, bool, type(None)})
