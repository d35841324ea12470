"""Rules and conditions printed: back into strict YAML that reads as the same, in plain words, and anew.

load(printed(data).encode(), "x").data == data
in_words({"fact": "any_foreign", "is": True}, law, "en")
scaffold("data-leave-encrypted", "R-INF-08", Effect.REQUIRE, "request.purpose", vocabulary, day)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, assert_never

from policies.decision import Effect
from policies.rules import Law
from policies.strict import Data
from policies.vocabulary import Fact, FactType, Level, Vocabulary

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
        case _:
            assert_never(data)


def _text(text: str) -> str:
    if _BARE.match(text) and text not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)  # a YAML 1.2 double-quoted scalar is JSON's


class Code(str):
    """A value as files write it, beside what it is called."""

    __slots__ = ()


def in_words(condition: Any, law: Law, language: str) -> str:
    """A condition as a sentence; facts and values by what the law's words call them, each code beside it."""
    shown = {"zh": "（{}）", "en": " ({})"}[language]
    return "".join(
        shown.format(piece) if isinstance(piece, Code) else piece
        for piece in pieces(condition, law, language)
    )


def pieces(condition: Any, law: Law, language: str) -> Iterator[str]:
    """The same in pieces, so that a page can set the codes apart."""
    match condition:
        case {"not": {"fact": name, "is": bool(yes)}}:  # Kleene: the same, said straight
            yield from pieces({"fact": name, "is": not yes}, law, language)
        case {"not": part}:
            yield {"zh": "并非（", "en": "not ("}[language]
            yield from pieces(part, law, language)
            yield {"zh": "）", "en": ")"}[language]
        case {"all": [*parts]} | {"any": [*parts]}:
            join = _JOINED["all" if "all" in condition else "any"][language]
            yield {"zh": "（", "en": "("}[language]
            for number, part in enumerate(parts):
                yield join if number else ""
                yield from pieces(part, law, language)
            yield {"zh": "）", "en": ")"}[language]
        case {"fact": str(name), "known": bool(known)}:
            yield f"{_of(name, law, language)} {_KNOWN[known][language]}"
        case {"fact": str(name), **rest}:
            ((operator, value),) = rest.items()
            yield f"{_of(name, law, language)} {_OPERATORS[str(operator)][language]} "
            yield from value_pieces(name, value, law, language)
        case _:
            raise ValueError(f"`{condition!r}` is no condition")


def _of(name: str, law: Law, language: str) -> str:
    fact = law.vocabulary.facts.get(name)
    said = fact.says[language] if fact else name
    return f"“{said}”"


def value_pieces(name: str, value: Any, law: Law, language: str) -> Iterator[str]:
    """A value of the fact `name` by what it is called, its code beside it where that is something else."""
    match value:
        case bool():
            yield _TRUTH[value][language]
        case {"fact": str(other)}:
            yield _of(other, law, language)
        case list():
            for number, one in enumerate(value):
                if number:
                    yield "、" if language == "zh" else ", "
                yield from value_pieces(name, one, law, language)
        case _:
            written = str(value)
            label = law.labels.of(name, written)
            yield label[language] if label else written
            if label and label[language] != written:
                yield Code(written)


# ---- a rule begun ---------------------------------------------------------------------------------

_FIX: Data = {"zh": "‹如何处理›", "en": "‹what to do›"}
#: What a rule must have by its effect; `hgr packs check` names every ‹…› that is left.
_BEGUN: Mapping[Effect, dict[str, Data]] = {
    Effect.DENY: {"fix": _FIX},
    Effect.REFER: {
        "fix": _FIX,
        "ask": {"zh": "‹问合规人员什么›", "en": "‹what an officer is asked›"},
    },
    Effect.REQUIRE: {"paper": "‹kind of paper›", "fix": _FIX},
    Effect.OBLIGE: {"obligation": {"id": "‹name-of-the-duty›", "months": 1}},
    Effect.PERMIT: {"covers": ["‹material or information›.‹domestic or foreign›"]},
}


def scaffold(
    rule_id: str, number: str, effect: Effect, fact: str, vocabulary: Vocabulary, day: date
) -> tuple[dict[str, Data], list[Data]]:
    """A rule on one fact and its three cases, as data of their files; ‹…› is for its author to fill in."""
    known = vocabulary.facts.get(fact)
    operator, right, yes, no = _asked_of(known)
    rule: dict[str, Data] = {
        "id": rule_id,
        "no": number,
        "level": "stratum" if known and known.level is Level.STRATUM else "request",
        "effect": str(effect),
        "says": {"zh": "‹中文，以此为准›", "en": "‹English›"},
        **_BEGUN[effect],
        "cite": [{"law": "‹law›", "article": "‹n›", "zh": "‹《……》第……条›", "en": "‹… art. n›"}],
        "confidence": {"content": "low", "article": "low"},
        "owner": "bank",
        "when": {"fact": fact, operator: right},
    }
    said: Mapping[str, dict[str, Data]] = {
        "holds": {fact: yes},
        "does_not_hold": {fact: no},
        "unknown": {},
    }
    # A permit of content that nobody confirmed is no more than unknown (design §5).
    tentative = {"holds": "unknown"} if effect is Effect.PERMIT else {}
    cases: list[Data] = [
        {
            "rule": rule_id,
            "name": name.replace("_", " "),
            "as_of": day,
            "facts": {**facts},
            "expect": tentative.get(name, name),
        }
        for name, facts in said.items()
    ]
    return rule, cases


def begun(pack: str, day: date, rules: list[Data]) -> dict[str, Data]:
    """An edition of an instrument with its first rules, as data of its file."""
    return {
        "pack": pack,
        "title": {"zh": "‹中文名称›", "en": "‹English title›"},
        "link": "‹https://…›",
        "in_force": day,
        "rules": rules,
    }


_Asked = tuple[str, Data, Data, Data]
_ASKED: Mapping[FactType, _Asked] = {
    FactType.BOOL: ("is", True, True, False),
    FactType.INT: ("at_least", 1, 1, 0),
    FactType.FRACTION: ("at_least", "1/2", "1/2", "1/3"),
    FactType.DATE: ("before", date(2000, 1, 2), date(2000, 1, 1), date(2000, 1, 2)),
}


def _asked_of(fact: Fact | None) -> _Asked:
    """An operator that suits the fact, its right side, and values for which it holds and does not."""
    if fact is not None and fact.type in _ASKED:
        return _ASKED[fact.type]
    values = sorted(fact.values or ()) if fact is not None else []
    first, second, *_ = [*values, "‹value›", "‹value›"]
    if fact is not None and fact.type is FactType.SET:
        return "within", [first], [first], [second]
    return "is", first, first, second
