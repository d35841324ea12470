"""The shapes of our YAML files, checked with Cerberus once a file is strictly read.

The rules it keeps: unknown keys are mistakes, `True` is no integer, texts are never empty, and every
mistake of a file is told with its line. What one file cannot show (unknown facts, duplicate ids
across files) is checked by the loader.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cerberus import TypeDefinition, Validator
from cerberus.errors import ValidationError

from policies.decision import Effect, Owner, Result
from policies.strict import Document, Mistake
from policies.vocabulary import FactType, Level, Source

_Shape = dict[str, Any]  # Cerberus's own schema language

_SLUG = r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z"  # \Z, since Cerberus would let a newline pass after $
_NUMBER = r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*\Z"
_NAME = r"[a-z<][A-Za-z0-9_.<>*]*\Z"  # `<party>` and the like are filled in from the templates
_HTTPS = r"https?://[!-~]+\Z"

_TEXT: _Shape = {"type": "string", "empty": False}
_BOTH: _Shape = {
    "type": "dict",
    "schema": {"zh": {**_TEXT, "required": True}, "en": {**_TEXT, "required": True}},
}
_CONFIDENCE: _Shape = {
    "type": "dict",
    "schema": {
        part: {"type": "string", "allowed": ["high", "medium", "low"], "required": True}
        for part in ("content", "article")
    },
}
_CONDITION: _Shape = {"type": "dict", "empty": False}  # compiled by conditions.parse


def _needed(shape: _Shape) -> _Shape:
    return {**shape, "required": True}


def _one_of(allowed: Iterable[str]) -> _Shape:
    return {"type": "string", "allowed": [str(one) for one in allowed]}


def _list_of(shape: _Shape) -> _Shape:
    return {"type": "list", "schema": shape}


def _texts(pattern: str) -> _Shape:
    return _list_of({**_TEXT, "regex": pattern})


_FACT: _Shape = {
    "name": _needed({**_TEXT, "regex": _NAME}),
    "type": _needed(_one_of(FactType)),
    "level": _needed(_one_of(Level)),
    "values": {"type": "list", "empty": False, "schema": _TEXT},
    "says": _needed(_BOTH),
}

VOCABULARY: _Shape = {
    "version": _needed(_TEXT),
    "templates": {
        "type": "dict",
        "keysrules": {"type": "string", "regex": r"[a-z]+\Z"},
        "valuesrules": {
            "type": "dict",
            "empty": False,
            "keysrules": {"type": "string", "regex": r"[a-z][a-z0-9_]*\Z"},
            "valuesrules": _BOTH,
        },
    },
    "facts": _needed(
        _list_of({"type": "dict", "schema": {**_FACT, "from": _needed(_one_of(Source))}})
    ),
    "derived": _list_of(
        {
            "type": "dict",
            "schema": {
                **_FACT,
                "function": _needed({**_TEXT, "regex": _NAME}),
                "inputs": _needed(_texts(_NAME)),
                "cite": _needed(_TEXT),
                "confidence": _needed(_CONFIDENCE),
            },
        }
    ),
}

CHECKED: _Shape = {
    "checked": _needed(
        _list_of(
            {
                "type": "dict",
                "schema": {
                    "rule": _needed(_TEXT),
                    "by": _needed(_TEXT),
                    "on": _needed({"type": "date"}),
                    "note": _needed(_TEXT),
                },
            }
        )
    )
}

_RULE: _Shape = {
    "id": _needed({**_TEXT, "regex": _SLUG}),
    "no": _needed({**_TEXT, "regex": _NUMBER}),
    "level": _needed(_one_of((Level.REQUEST, Level.STRATUM))),
    "effect": _needed(_one_of(Effect)),
    "says": _needed(_BOTH),
    "fix": _BOTH,
    "cite": _needed(
        {
            "type": "list",
            "empty": False,
            "schema": {
                "type": "dict",
                "schema": {part: _needed(_TEXT) for part in ("law", "article", "zh", "en")},
            },
        }
    ),
    "confidence": _needed(_CONFIDENCE),
    "owner": _needed(_one_of(Owner)),
    "applies": _CONDITION,
    "when": _needed(_CONDITION),
    "paper": {**_TEXT, "regex": r"[a-z][a-z0-9_]*\Z"},
    "covers": {
        "type": "list",
        "empty": False,
        "schema": _one_of(
            f"{what}.{where}"
            for what in ("material", "information")
            for where in ("domestic", "foreign")
        ),
    },
    "obligation": {
        "type": "dict",
        "schema": {
            "id": _needed({**_TEXT, "regex": _SLUG}),
            "before_release": {"type": "boolean"},
            "months": {"type": "integer", "min": 0},
            "says": _BOTH,
        },
    },
    "quote": _TEXT,
    "ask": _BOTH,
}

PACK: _Shape = {
    "pack": _needed({**_TEXT, "regex": _SLUG}),
    "title": _needed(_BOTH),
    "link": _needed({**_TEXT, "regex": _HTTPS}),
    "in_force": _needed({"type": "date"}),
    "ends": _texts(_SLUG),
    "rules": _needed(_list_of({"type": "dict", "schema": _RULE})),
}

CASES: _Shape = {
    "cases": _needed(
        _list_of(
            {
                "type": "dict",
                "schema": {
                    "rule": _needed({**_TEXT, "regex": _SLUG}),
                    "name": _needed(_TEXT),
                    "as_of": _needed({"type": "date"}),
                    "facts": _needed({"type": "dict"}),
                    "expect": _needed(_one_of(Result)),
                },
            }
        )
    )
}


class _StrictValidator(Validator):  # type: ignore[misc]  # Cerberus ships no types
    """Cerberus, but `True` is not an integer and a date is a date."""

    types_mapping: Mapping[str, TypeDefinition] = {
        **Validator.types_mapping,
        "integer": TypeDefinition("integer", (int,), (bool,)),
    }


def shape_mistakes(document: Document, shape: _Shape) -> list[Mistake]:
    """Everything in which a document does not have a shape; empty when it has."""
    if not isinstance(document.data, dict):
        return [document.mistake((), en="must be a mapping", zh="顶层必须是映射")]
    # Validators hold state, so each file has its own.
    validator = _StrictValidator(shape, allow_unknown=False)
    validator.validate(document.data, normalize=False)
    return [
        document.mistake(tuple(error.document_path), en=en, zh=zh)
        for error in _leaves(validator._errors)  # noqa: SLF001 - the only list that keeps paths
        for en, zh in [_sentence(error)]
    ]


def _leaves(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    for error in errors:
        if error.is_group_error:
            yield from _leaves(error.child_errors)
        else:
            yield error


def _sentence(error: ValidationError) -> tuple[str, str]:
    match error.rule:
        case "required":
            return "is missing", "缺少该键"
        case None:
            return "is not a key we know", "未知的键"
        case "type":
            return f"must be of type {error.constraint}", f"类型必须是 {error.constraint}"
        case "allowed":
            options = " | ".join(error.constraint)
            return f"`{error.value}` is not one of {options}", f"取值必须是 {options} 之一"
        case _:
            return f"`{error.value}` breaks {error.rule} {error.constraint}", "取值不符合要求"
