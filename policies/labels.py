"""What the values of facts and the kinds of paper are called, in both languages, for people to read; and since
when the texts are in force that rules cite.

The rules it keeps: labels decide nothing, so no decision names their digest; of a fact with a closed list
every value has a label, none has two, and a value without one is shown as it is written. They stand in
packs/labels.yaml, those of papers that facts speak of in the templates of vocabulary.yaml. Packs kept from
before there were labels have no such file: theirs are those of papers alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from policies.strict import Document, Mistake, Path, Shape, shape_mistakes
from policies.vocabulary import Vocabulary

Texts = Mapping[str, str]

_TEXT: Shape = {"type": "string", "empty": False, "required": True}
_BOTH: Shape = {"type": "dict", "schema": {"zh": _TEXT, "en": _TEXT}}
_ROW: Shape = {
    "facts": {"type": "list", "empty": False, "required": True, "schema": {"type": "string"}},
    "values": {
        "type": "dict",
        "empty": False,
        "required": True,
        "valuesrules": _BOTH,
    },
}
_SHAPE: Shape = {
    "labels": {"type": "list", "required": True, "schema": {"type": "dict", "schema": _ROW}},
    "papers": {"type": "dict", "valuesrules": _BOTH},
    "laws": {"type": "dict", "valuesrules": {"type": "date"}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """By fact and value, and by kind of paper, the texts in `zh` and `en`.

    `laws` has the day from which a text is in force, by the name rules cite it by; None: no such list.
    """

    values: Mapping[str, Mapping[str, Texts]] = field(default_factory=dict)
    papers: Mapping[str, Texts] = field(default_factory=dict)
    laws: Mapping[str, date] | None = None

    def of(self, fact: str, value: str) -> Texts | None:
        """What a value of a fact is called, or None if nobody has said."""
        return self.values.get(fact, {}).get(value)


def labels_from(
    document: Document | None, words: Document, vocabulary: Vocabulary
) -> tuple[Labels, list[Mistake]]:
    """The labels of labels.yaml (None: there is none) and everything wrong with it.

    `words` is vocabulary.yaml, which has passed as the `vocabulary`.
    """
    content: Any = words.data
    templates: Mapping[str, Mapping[str, Texts]] = content.get("templates", {})
    values: dict[str, dict[str, Texts]] = {}
    papers: Mapping[str, Texts] = {}
    laws: Mapping[str, date] | None = None
    mistakes = shape_mistakes(document, _SHAPE) if document else []
    if document and not mistakes:
        read: Any = document.data
        for place, row in enumerate(read["labels"]):
            for at, written in enumerate(row["facts"]):
                for name in _filled(written, templates):
                    there = values.setdefault(name, {})
                    mistakes += _wrong(document, vocabulary, (place, at), (name, row, there))
                    there.update(row["values"])
        papers, laws = read.get("papers", {}), read.get("laws")
        mistakes += _unlabelled(document, vocabulary, values)
    papers = {**papers, **templates.get("paper", {})}
    return Labels(values=values, papers=papers, laws=laws), mistakes


def _filled(written: str, templates: Mapping[str, Mapping[str, Texts]]) -> Iterator[str]:
    """The names a row speaks of: `<party>.country` is that of every party."""
    for word, names in templates.items():
        if f"<{word}>" in written:
            yield from (written.replace(f"<{word}>", name) for name in names)
            return
    yield written


def _wrong(
    document: Document,
    vocabulary: Vocabulary,
    where: tuple[int, int],
    said: tuple[str, Mapping[str, Any], Mapping[str, Texts]],
) -> Iterator[Mistake]:
    """What is wrong with the labels a row gives one fact, beside those it has."""
    (place, at), (name, row, there) = where, said
    fact = vocabulary.facts.get(name)
    path: Path = ("labels", place, "facts", at)
    if fact is None:
        en, zh = f"unknown fact `{name}`", f"未知事实 `{name}`"
        yield document.mistake(path, code="unknown_fact", en=en, zh=zh)
        return
    for value in row["values"]:
        path = ("labels", place, "values", value)
        if fact.values is not None and value not in fact.values:
            en, zh = f"`{name}` cannot be `{value}`", f"`{value}` 不是 `{name}` 的可能取值"
            yield document.mistake(path, code="bad_value", en=en, zh=zh)
        if value in there:
            en, zh = f"`{value}` of `{name}` has two labels", f"`{name}` 的 `{value}` 有两个名称"
            yield document.mistake(path, code="label_twice", en=en, zh=zh)


def _unlabelled(
    document: Document, vocabulary: Vocabulary, values: Mapping[str, Mapping[str, Texts]]
) -> Iterator[Mistake]:
    for name, fact in vocabulary.facts.items():
        for value in sorted((fact.values or frozenset()) - values.get(name, {}).keys()):
            en, zh = f"`{value}` of `{name}` has no label", f"`{name}` 的 `{value}` 没有名称"
            yield document.mistake(("labels",), code="no_label", en=en, zh=zh)
