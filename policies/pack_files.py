"""The files of the packs: their shapes, and what vocabulary.yaml and an edition say.

The rules it keeps: every mistake of a file is told with its line; unknown keys are mistakes and texts
are never empty. In the vocabulary names are unique, a derived fact names a function that exists and
inputs that exist at a level it may read, and none rests on itself. A rule may name only facts at a level
it can see, and must carry what its effect demands (a require names the paper, a permit what it covers,
an oblige its obligation, a blocker how it is cured). What one file cannot show (ids across files) is
checked by `packs`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from policies.conditions import Condition, parse
from policies.decision import Citation, Effect, Owner, Result
from policies.rules import DRAFT, Attached, Edition, Rule
from policies.strict import Document, Mistake, Path, Shape, shape_mistakes
from policies.vocabulary import (
    READABLE,
    Derived,
    Fact,
    FactType,
    Function,
    Level,
    Source,
    Vocabulary,
)

_Row = dict[str, Any]  # one entry of a file, its shape already checked

_SLUG = r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z"  # \Z, since Cerberus would let a newline pass after $
_NUMBER = r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*\Z"
_NAME = r"[a-z<][A-Za-z0-9_.<>*]*\Z"  # `<party>` and the like are filled in from the templates
_HTTPS = r"https?://[!-~]+\Z"

_TEXT: Shape = {"type": "string", "empty": False}
_DATE: Shape = {"type": "date"}
_CONDITION: Shape = {"type": "dict", "empty": False}  # compiled by conditions.parse


def _like(pattern: str) -> Shape:
    return {**_TEXT, "regex": pattern}


def _one_of(allowed: Iterable[str]) -> Shape:
    return {"type": "string", "allowed": [str(one) for one in allowed]}


def _list_of(shape: Shape) -> Shape:
    return {"type": "list", "schema": shape}


def _keys(needed: Mapping[str, Shape], also: Mapping[str, Shape] | None = None) -> Shape:
    """What a mapping must have, and what it may have."""
    return {**{key: {**one, "required": True} for key, one in needed.items()}, **(also or {})}


def _mapping(needed: Mapping[str, Shape], also: Mapping[str, Shape] | None = None) -> Shape:
    return {"type": "dict", "schema": _keys(needed, also)}


_BOTH = _mapping({"zh": _TEXT, "en": _TEXT})
_CONFIDENCE = _mapping(dict.fromkeys(("content", "article"), _one_of(("high", "medium", "low"))))

CHECKED = _keys(
    {"checked": _list_of(_mapping({"rule": _TEXT, "by": _TEXT, "on": _DATE, "note": _TEXT}))}
)
_CASE = _mapping(
    {
        "rule": _like(_SLUG),
        "name": _TEXT,
        "as_of": _DATE,
        "facts": {"type": "dict"},
        "expect": _one_of(Result),
    }
)
CASES = _keys({"cases": _list_of(_CASE)})


# ---- the vocabulary ------------------------------------------------------------------------------

_FACT: Mapping[str, Shape] = {
    "name": _like(_NAME),
    "type": _one_of(FactType),
    "level": _one_of(Level),
    "says": _BOTH,
}
_VALUES: Mapping[str, Shape] = {"values": {**_list_of(_TEXT), "empty": False}}
_TEMPLATES: Shape = {
    "type": "dict",
    "keysrules": {"type": "string", "regex": r"[a-z]+\Z"},
    "valuesrules": {
        "type": "dict",
        "empty": False,
        "keysrules": {"type": "string", "regex": r"[a-z][a-z0-9_]*\Z"},
        "valuesrules": _BOTH,
    },
}
_DERIVED: Mapping[str, Shape] = {
    **_FACT,
    "function": _like(_NAME),
    "inputs": _list_of(_like(_NAME)),
    "cite": _TEXT,
    "confidence": _CONFIDENCE,
}
VOCABULARY = _keys(
    {
        "version": _TEXT,
        "facts": _list_of(_mapping({**_FACT, "from": _one_of(Source)}, _VALUES)),
    },
    {"templates": _TEMPLATES, "derived": _list_of(_mapping(_DERIVED, _VALUES))},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """One name to fill in: `<word>` becomes `name`, and in texts its label."""

    word: str
    name: str
    label: Mapping[str, str]

    def fill(self, text: str, language: str | None = None) -> str:
        return text.replace(f"<{self.word}>", self.label[language] if language else self.name)


def vocabulary_from(
    document: Document, functions: Mapping[str, Function], confirmed: frozenset[str]
) -> tuple[Vocabulary | None, list[Mistake]]:
    """The vocabulary of a file, or None and everything wrong with it.

    `functions` are those of policies/derived.py by name; `confirmed` the derived facts of low
    confidence that somebody has checked.
    """
    mistakes = shape_mistakes(document, VOCABULARY)
    if mistakes:
        return None, mistakes
    content: Any = document.data
    facts: dict[str, Fact] = {}
    places: dict[str, Path] = {}
    for path, row in _filled(content):
        name = row["name"]
        if name in facts:
            en, zh = f"fact `{name}` is declared twice", f"事实 `{name}` 重复定义"
            mistakes.append(document.mistake(path, code="fact_declared_twice", en=en, zh=zh))
        if "<" in name:
            en, zh = f"no template fills in `{name}`", f"没有模板可以填入 `{name}`"
            mistakes.append(document.mistake(path, code="no_template", en=en, zh=zh))
        if "function" in row and row["function"] not in functions:
            function = row["function"]
            en, zh = (
                f"no function `{function}` in derived.py",
                f"derived.py 中没有函数 `{function}`",
            )
            mistakes.append(document.mistake(path, code="no_function", en=en, zh=zh))
            continue
        facts[name] = _fact(row, functions, confirmed)
        places[name] = path
    for name, fact in facts.items():
        mistakes.extend(
            document.mistake(places[name], code=code, en=en, zh=zh)
            for code, en, zh in _wrong_inputs(fact, facts)
        )
    mistakes.extend(_cycle(document, facts, places))
    if mistakes:
        return None, mistakes
    return Vocabulary(version=content["version"], facts=facts), []


def _filled(content: _Row) -> Iterator[tuple[Path, _Row]]:
    """Every row of the file with its templates filled in, beside its path in the file."""
    templates = {
        word: [_Template(word=word, name=name, label=label) for name, label in names.items()]
        for word, names in content.get("templates", {}).items()
    }
    for part in ("facts", "derived"):
        for place, row in enumerate(content.get(part, [])):
            row_templates = next(
                (templates[word] for word in templates if f"<{word}>" in row["name"]), [None]
            )
            for template in row_templates:
                yield (part, place), _fill(row, template, templates)


def _fill(row: _Row, template: _Template | None, templates: Mapping[str, list[_Template]]) -> _Row:
    """One row for one name; `<word*>` in an input stands for every name of the template."""
    filled = dict(row)
    if template is not None:
        filled["name"] = template.fill(row["name"])
        filled["says"] = {
            language: template.fill(text, language) for language, text in row["says"].items()
        }
    if "function" in row:
        inputs = [name for text in row["inputs"] for name in _spread(text, templates)]
        filled["inputs"] = [template.fill(text) for text in inputs] if template else inputs
        filled["function"] = template.fill(row["function"]) if template else row["function"]
    return filled


def _spread(text: str, templates: Mapping[str, list[_Template]]) -> list[str]:
    for word, names in templates.items():
        if f"<{word}*>" in text:
            return [text.replace(f"<{word}*>", each.name) for each in names]
    return [text]


def _fact(row: _Row, functions: Mapping[str, Function], confirmed: frozenset[str]) -> Fact:
    derived = None
    if "function" in row:
        derived = Derived(
            function=functions[row["function"]],
            inputs=tuple(row["inputs"]),
            cite=row["cite"],
            trusted=row["confidence"]["content"] != "low" or row["name"] in confirmed,
        )
    return Fact(
        name=row["name"],
        type=FactType(row["type"]),
        level=Level(row["level"]),
        says=row["says"],
        values=frozenset(row["values"]) if "values" in row else None,
        source=Source(row["from"]) if "from" in row else None,
        derived=derived,
    )


def _wrong_inputs(fact: Fact, facts: Mapping[str, Fact]) -> Iterator[tuple[str, str, str]]:
    for name in fact.derived.inputs if fact.derived else ():
        if name not in facts:
            en = f"`{fact.name}` reads the unknown fact `{name}`"
            yield "unknown_fact", en, f"`{fact.name}` 引用了未知事实 `{name}`"
        elif facts[name].level not in READABLE[fact.level]:
            level = facts[name].level
            en = f"`{fact.name}` may not read `{name}`, a {level} fact"
            yield "out_of_sight", en, f"`{fact.name}` 不能引用 {level} 层级的事实 `{name}`"


def _cycle(
    document: Document, facts: Mapping[str, Fact], places: Mapping[str, Path]
) -> Iterator[Mistake]:
    graph = {name: fact.derived.inputs for name, fact in facts.items() if fact.derived}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        way = " > ".join(circle)
        en, zh = f"derived facts in a circle: {way}", f"派生事实循环引用：{way}"
        yield document.mistake(places[circle[0]], code="circle", en=en, zh=zh)


# ---- an edition ----------------------------------------------------------------------------------

#: `since`: the day a text came into force that a rule cites besides one that was in force before.
_CITED = _mapping(dict.fromkeys(("law", "article", "zh", "en"), _TEXT), {"since": _DATE})
_COVERED = [
    f"{what}.{where}" for what in ("material", "information") for where in ("domestic", "foreign")
]
_RULE = _mapping(
    {
        "id": _like(_SLUG),
        "no": _like(_NUMBER),
        "level": _one_of((Level.REQUEST, Level.STRATUM)),
        "effect": _one_of(Effect),
        "says": _BOTH,
        "cite": {**_list_of(_CITED), "empty": False},
        "confidence": _CONFIDENCE,
        "owner": _one_of(Owner),
        "when": _CONDITION,
    },
    {
        "fix": _BOTH,
        "applies": _CONDITION,
        "paper": _like(r"[a-z][a-z0-9_]*\Z"),
        "covers": {**_list_of(_one_of(_COVERED)), "empty": False},
        "obligation": _mapping(
            {"id": _like(_SLUG)},
            {
                "before_release": {"type": "boolean"},
                "months": {"type": "integer", "min": 0},
                "says": _BOTH,
            },
        ),
        "quote": _TEXT,
        "ask": _BOTH,
    },
)
_PACK: Mapping[str, Shape] = {
    "pack": _like(_SLUG),
    "title": _BOTH,
    "link": _like(_HTTPS),
    "rules": _list_of(_RULE),
}
_ENDS: Mapping[str, Shape] = {"ends": _list_of(_like(_SLUG))}
PACK = _keys({**_PACK, "in_force": _DATE}, _ENDS)
#: A draft is never in force; it may say how a derived fact would be had: `derived: {<fact>: <function>}`.
_REDEFINED: Shape = {"type": "dict", "keysrules": _like(_NAME), "valuesrules": _like(_NAME)}
DRAFTED = _keys({**_PACK, "published": _DATE}, {**_ENDS, "derived": _REDEFINED})

#: What a rule must have, by its effect, beyond what every rule has.
_DEMANDED: Mapping[Effect, tuple[str, ...]] = {
    Effect.DENY: ("fix",),
    Effect.REFER: ("fix",),
    Effect.REQUIRE: ("fix", "paper"),
    Effect.OBLIGE: ("obligation",),
    Effect.PERMIT: ("covers",),
}
#: What a rule can see: a request-level rule also sees the selection it is asked about.
_SEES: Mapping[Level, frozenset[Level]] = {
    Level.REQUEST: READABLE[Level.SELECTION],
    Level.STRATUM: READABLE[Level.STRATUM],
}


def unfilled(document: Document) -> list[Mistake]:
    """Every text in which `hgr packs new-rule` has left something to its author."""
    waiting: list[tuple[Path, Any]] = [((), document.data)]
    found: list[Mistake] = []
    while waiting:
        path, data = waiting.pop()
        if isinstance(data, (dict, list)):
            parts = list(data.items() if isinstance(data, dict) else enumerate(data))
            waiting += [((*path, key), part) for key, part in parts]
            waiting += [((*path, key), key) for key, _ in parts]
        elif isinstance(data, str) and "‹" in data:
            found.append(
                document.mistake(
                    path, en=f"`{data}` is to be filled in", zh="尚待填写", code="unfilled"
                )
            )
    return sorted(found)


def edition_from(
    document: Document,
    digest: str,
    vocabulary: Vocabulary,
    confirmed: Collection[str],
    functions: Mapping[str, Function],
) -> tuple[Edition | None, list[Mistake]]:
    """The edition or draft of a file, or None and everything wrong with it.

    `digest` is the SHA-256 of the file's bytes in hex; `confirmed` the rules of low confidence that
    somebody has checked; `functions` those of policies/derived.py by name.
    """
    mistakes = unfilled(document) + shape_mistakes(document, shape_of(document))
    content: Any = document.data
    reader = _Reader(document, vocabulary, confirmed)
    redefined = {} if _stands_in("derived", mistakes) else reader.redefined(functions)
    rules = [
        reader.rule(row, place)
        for place, row in enumerate(_list_in(content, "rules"))
        # The rules that have their shape are read though another has not: all mistakes are told at once.
        if not _stands_in(f"rules.{place}", mistakes)
    ]
    mistakes += reader.mistakes
    if mistakes:
        return None, mistakes
    return Edition(
        pack=content["pack"],
        in_force=reader.day,
        file=document.file,
        digest=digest,
        title=content["title"],
        link=content["link"],
        rules=tuple(rule for rule in rules if rule is not None),
        ends=tuple(content.get("ends", ())),
        derived=redefined,
    ), []


def shape_of(document: Document) -> Shape:
    """The shape of an edition, or of a draft, by the name of the file."""
    return DRAFTED if document.file.endswith(DRAFT) else PACK


def _list_in(content: object, key: str) -> list[Any]:
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def _stands_in(place: str, mistakes: Iterable[Mistake]) -> bool:
    return any(one.key == place or one.key.startswith(f"{place}.") for one in mistakes)


class _Reader:
    """Reads the rules of one file; owns the list of mistakes until the file is done."""

    def __init__(
        self, document: Document, vocabulary: Vocabulary, confirmed: Collection[str]
    ) -> None:
        self.mistakes: list[Mistake] = []
        content: Any = document.data if isinstance(document.data, dict) else {}
        # Either may be missing: then that is a mistake of the file, and its rules come to nothing.
        day = "published" if document.file.endswith(DRAFT) else "in_force"
        self._pack, self.day = content.get("pack"), content.get(day)
        self._derived: Mapping[str, str] = content.get("derived", {})
        self._document = document
        self._vocabulary = vocabulary
        self._confirmed = confirmed
        self._ids: set[str] = set()

    def report(self, path: Path, code: str, en: str, zh: str) -> None:
        self.mistakes.append(self._document.mistake(path, code=code, en=en, zh=zh))

    def redefined(self, functions: Mapping[str, Function]) -> dict[str, Function]:
        """The derived facts that a draft would have by another function."""
        found: dict[str, Function] = {}
        for name, function in self._derived.items():
            fact = self._vocabulary.facts.get(name)
            if fact is None or fact.derived is None:
                en, zh = f"no derived fact `{name}`", f"没有派生事实 `{name}`"
                self.report(("derived", name), "unknown_fact", en, zh)
            elif function not in functions:
                en = f"no function `{function}` in derived.py"
                zh = f"derived.py 中没有函数 `{function}`"
                self.report(("derived", name), "unknown_function", en, zh)
            else:
                found[name] = functions[function]
        return found

    def rule(self, row: _Row, place: int) -> Rule | None:
        path: Path = ("rules", place)
        effect, level = Effect(row["effect"]), Level(row["level"])
        if row["id"] in self._ids:
            en, zh = f"rule `{row['id']}` stands here twice", f"规则 `{row['id']}` 在本文件中重复"
            self.report((*path, "id"), "rule_twice", en, zh)
        self._ids.add(row["id"])
        for key in _DEMANDED[effect]:
            if key not in row:
                en, zh = f"is missing: {effect} demands it", f"缺少该键：{effect} 规则必须写明"
                self.report((*path, key), "missing_key", en, zh)
        applies = self.condition(row, "applies", level, path) if "applies" in row else None
        when = self.condition(row, "when", level, path)
        if when is None:
            return None
        return Rule(
            id=row["id"],
            no=row["no"],
            pack=self._pack,
            edition=self.day,
            level=level,
            effect=effect,
            says=row["says"],
            fix=row.get("fix", {}),
            cite=tuple(Citation(**cited) for cited in row["cite"]),
            confidence=row["confidence"],
            owner=Owner(row["owner"]),
            applies=applies,
            when=when,
            confirmed=row["id"] in self._confirmed,
            paper=row.get("paper"),
            covers=frozenset(row.get("covers", ())),
            obligation=Attached(**row["obligation"]) if "obligation" in row else None,
            quote=row.get("quote"),
            ask=row.get("ask"),
            written=row,
        )

    def condition(self, row: _Row, key: str, level: Level, path: Path) -> Condition | None:
        condition = parse(row[key], self._vocabulary.facts, (*path, key), self.report)
        for name in sorted(condition.reads) if condition else ():
            seen = self._vocabulary.facts[name].level
            if seen not in _SEES[level]:
                en = f"a {level} rule cannot see `{name}`, a {seen} fact"
                zh = f"{level} 层级的规则不能引用 {seen} 层级的事实 `{name}`"
                self.report((*path, key), "out_of_sight", en, zh)
        return condition
