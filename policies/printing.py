"""Rules and conditions printed: back into strict YAML that reads as the same, and in plain words.

load(printed(data).encode(), "x").data == data
in_words({"fact": "any_foreign", "is": True}, vocabulary, "en")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from policies.strict import Data
from policies.vocabulary import Vocabulary

#: Text that strict YAML reads back as this very text without quotes (policies/strict.py).
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_WORDS = frozenset({"true", "false"})

_OPERATORS: Mapping[str, Mapping[str, str]] = {
    "is": {"zh": "为", "en": "is"},
    "in": {"zh": "属于", "en": "is among"},
    "at_least": {"zh": "不少于", "en": "is at least"},
    "at_most": {"zh": "不多于", "en": "is at most"},
    "before": {"zh": "早于", "en": "is before"},
    "after": {"zh": "晚于", "en": "is after"},
    "within": {"zh": "均属于", "en": "holds nothing but"},
}
_JOINED = {"all": {"zh": "；并且", "en": "; and "}, "any": {"zh": "；或者", "en": "; or "}}
_KNOWN = {True: {"zh": "已知", "en": "is known"}, False: {"zh": "未知", "en": "is not known"}}
_TRUTH = {True: {"zh": "是", "en": "yes"}, False: {"zh": "否", "en": "no"}}


def printed(data: Data) -> str:
    """Strict YAML that reads back as `data`; a mapping or list of them in blocks, the rest in a line."""
    if isinstance(data, dict) and data:
        return "".join(_entries(data, 0))
    return f"{_inline(data)}\n"


def _entries(data: Mapping[str, Data], depth: int) -> Iterator[str]:
    margin = "  " * depth
    for key, value in data.items():
        name = _text(key)
        if isinstance(value, dict) and value and depth < 1:
            yield f"{margin}{name}:\n"
            yield from _entries(value, depth + 1)
        elif (
            isinstance(value, list)
            and value
            and all(isinstance(one, dict) and one for one in value)
        ):
            yield f"{margin}{name}:\n"
            for one in value:
                rows = list(_entries(one, depth + 2)) if isinstance(one, dict) else []
                yield f"{margin}  - {rows[0].lstrip()}"
                yield from rows[1:]
        else:
            yield f"{margin}{name}: {_inline(value)}\n"


def _inline(data: Data) -> str:
    match data:
        case bool():
            return "true" if data else "false"
        case int():
            return str(data)
        case date():
            return data.isoformat()
        case str():
            return _text(data)
        case list():
            return f"[{', '.join(map(_inline, data))}]"
        case dict():
            return (
                f"{{{', '.join(f'{_text(key)}: {_inline(value)}' for key, value in data.items())}}}"
            )


def _text(text: str) -> str:
    if _BARE.match(text) and text not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)  # a YAML 1.2 double-quoted scalar is JSON's


def in_words(condition: Any, vocabulary: Vocabulary, language: str) -> str:
    """A condition as a sentence; facts by what the vocabulary says of them."""
    match condition:
        case {"not": part}:
            return {"zh": "并非（{}）", "en": "not ({})"}[language].format(
                in_words(part, vocabulary, language)
            )
        case {"all": [*parts]} | {"any": [*parts]}:
            join = _JOINED["all" if "all" in condition else "any"][language]
            texts = [in_words(part, vocabulary, language) for part in parts]
            return f"（{join.join(texts)}）" if language == "zh" else f"({join.join(texts)})"
        case {"fact": str(name), "known": bool(known)}:
            return f"{_of(name, vocabulary, language)} {_KNOWN[known][language]}"
        case {"fact": str(name), **rest}:
            ((operator, value),) = rest.items()
            said = _value(value, vocabulary, language)
            return f"{_of(name, vocabulary, language)} {_OPERATORS[str(operator)][language]} {said}"
        case _:
            raise ValueError(f"`{condition!r}` is no condition")


def _of(name: str, vocabulary: Vocabulary, language: str) -> str:
    fact = vocabulary.facts.get(name)
    said = fact.says[language] if fact else name
    return f"“{said}”"


def _value(value: Any, vocabulary: Vocabulary, language: str) -> str:
    match value:
        case bool():
            return _TRUTH[value][language]
        case {"fact": str(name)}:
            return _of(name, vocabulary, language)
        case list():
            return ("、" if language == "zh" else ", ").join(str(one) for one in value)
        case _:
            return str(value)
