"""Reading vocabulary.yaml: the facts as they are declared, templates filled in, cross-checked.

The rules it keeps: names are unique, a derived fact names a function that exists and inputs that
exist at a level it may read, and no derived fact rests on itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from policies.shapes import VOCABULARY, shape_mistakes
from policies.strict import Document, Mistake, Path
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

_Row = dict[str, Any]  # one entry of the file, its shape already checked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    """One name to fill in: `<word>` becomes `name`, and in texts its label."""

    word: str
    name: str
    label: Mapping[str, str]

    def fill(self, text: str, language: str | None = None) -> str:
        return text.replace(f"<{self.word}>", self.label[language] if language else self.name)


def from_document(
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
            mistakes.append(
                document.mistake(path, en=f"fact `{name}` is declared twice", zh="事实重复定义")
            )
        if "<" in name:
            mistakes.append(
                document.mistake(path, en=f"no template fills in `{name}`", zh="没有对应的模板")
            )
        if "function" in row and row["function"] not in functions:
            mistakes.append(
                document.mistake(
                    path, en=f"no function `{row['function']}` in derived.py", zh="派生函数不存在"
                )
            )
            continue
        facts[name] = _fact(row, functions, confirmed)
        places[name] = path
    for name, fact in facts.items():
        mistakes.extend(
            document.mistake(places[name], en=en, zh=zh) for en, zh in _wrong_inputs(fact, facts)
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


def _wrong_inputs(fact: Fact, facts: Mapping[str, Fact]) -> Iterator[tuple[str, str]]:
    for name in fact.derived.inputs if fact.derived else ():
        if name not in facts:
            yield f"`{fact.name}` reads the unknown fact `{name}`", "派生事实引用了未知事实"
        elif facts[name].level not in READABLE[fact.level]:
            level = facts[name].level
            yield f"`{fact.name}` may not read `{name}`, a {level} fact", "层级不允许引用"


def _cycle(
    document: Document, facts: Mapping[str, Fact], places: Mapping[str, Path]
) -> Iterator[Mistake]:
    graph = {name: fact.derived.inputs for name, fact in facts.items() if fact.derived}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        yield document.mistake(
            places[circle[0]], en=f"derived facts in a circle: {' > '.join(circle)}", zh="循环引用"
        )
