"""Reading one edition file: its shape, its rules, and the conditions compiled to closures.

The rules it keeps: every mistake of the file is told; a rule may name only facts of the vocabulary
at a level it can see, and must carry what its effect demands (a require names the paper, a permit
what it covers, an oblige its obligation, a blocker how it is cured).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from policies.conditions import Condition, parse
from policies.decision import Citation, Effect, Owner
from policies.rules import Attached, Edition, Rule
from policies.shapes import PACK, shape_mistakes
from policies.strict import Document, Mistake, Path
from policies.vocabulary import READABLE, Level, Vocabulary

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
_Row = dict[str, Any]  # one rule of the file, its shape already checked


def from_document(
    document: Document, digest: str, vocabulary: Vocabulary, confirmed: Collection[str]
) -> tuple[Edition | None, list[Mistake]]:
    """The edition of a file, or None and everything wrong with it.

    `digest` is the SHA-256 of the file's bytes in hex; `confirmed` the rules of low confidence that
    somebody has checked.
    """
    mistakes = shape_mistakes(document, PACK)
    if mistakes:
        return None, mistakes
    content: Any = document.data
    reader = _Reader(document, vocabulary, confirmed)
    rules = [reader.rule(row, place) for place, row in enumerate(content["rules"])]
    if reader.mistakes:
        return None, reader.mistakes
    return Edition(
        pack=content["pack"],
        in_force=content["in_force"],
        file=document.file,
        digest=digest,
        title=content["title"],
        link=content["link"],
        rules=tuple(rule for rule in rules if rule is not None),
        ends=tuple(content.get("ends", ())),
    ), []


class _Reader:
    """Reads the rules of one file; owns the list of mistakes until the file is done."""

    def __init__(
        self, document: Document, vocabulary: Vocabulary, confirmed: Collection[str]
    ) -> None:
        self.mistakes: list[Mistake] = []
        self._content: Any = document.data
        self._document = document
        self._vocabulary = vocabulary
        self._confirmed = confirmed
        self._ids: set[str] = set()

    def report(self, path: Path, en: str, zh: str) -> None:
        self.mistakes.append(self._document.mistake(path, en=en, zh=zh))

    def rule(self, row: _Row, place: int) -> Rule | None:
        path: Path = ("rules", place)
        effect, level = Effect(row["effect"]), Level(row["level"])
        if row["id"] in self._ids:
            self.report((*path, "id"), f"rule `{row['id']}` stands here twice", "规则重复定义")
        self._ids.add(row["id"])
        for key in _DEMANDED[effect]:
            if key not in row:
                self.report((*path, key), f"is missing: {effect} demands it", "缺少该键")
        applies = self.condition(row, "applies", level, path) if "applies" in row else None
        when = self.condition(row, "when", level, path)
        if when is None:
            return None
        return Rule(
            id=row["id"],
            no=row["no"],
            pack=self._content["pack"],
            edition=self._content["in_force"],
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
        )

    def condition(self, row: _Row, key: str, level: Level, path: Path) -> Condition | None:
        condition = parse(row[key], self._vocabulary.facts, (*path, key), self.report)
        for name in sorted(condition.reads) if condition else ():
            seen = self._vocabulary.facts[name].level
            if seen not in _SEES[level]:
                en = f"a {level} rule cannot see `{name}`, a {seen} fact"
                self.report((*path, key), en, "该层级的规则不能引用此事实")
        return condition
