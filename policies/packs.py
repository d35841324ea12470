"""The PAP: loads rule packs, checks everything in them, and folds them into the law.

The rules it keeps: all mistakes are told at once, each with file, line and key; with any mistake
nothing is loaded. Editions lie at `packs/<instrument>/<in-force date>.yaml`, corrections of them at
`<date>.r2.yaml`, the cases of either beside it in `<…>.cases.yaml`. Every rule has a case in which it
holds, one in which it does not (or does not apply), and one in which a fact is unknown; derived facts
may be given directly and then win; a derived fact reads only what the vocabulary says it reads.

    rules = load().on(date(2026, 11, 22)).rules
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

from policies import derived, disease, duo, rules, strict
from policies.decision import Result
from policies.pack_files import CASES, CHECKED, edition_from, vocabulary_from
from policies.request import PolicyError, Value
from policies.rules import Edition, Law, Rule
from policies.strict import Document, Mistake, StrictError, shape_mistakes
from policies.vocabulary import Derived, Fact, Function, Lookup, Scope, Vocabulary, is_value_of

_FILE = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:\.r(?P<revision>[2-9]))?(?P<cases>\.cases)?\.yaml\Z"
)

_Row = dict[str, Any]  # one case of a file, its shape already checked


class PackError(PolicyError):
    """The packs are wrong and none of them was loaded; their author is at fault."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file that was strictly read, and the SHA-256 of its bytes in hex."""

    document: Document
    digest: str


def shipped() -> Traversable:
    """Where the packs that come with the product lie."""
    return files("policies") / "packs"


def load(
    directory: Traversable | None = None, functions: Mapping[str, Function] = derived.DERIVED
) -> Law:
    """The law of a directory, by default the shipped one. Raises PackError with all mistakes."""
    reader = _Directory(directory or shipped(), functions)
    law = reader.law()
    if law is None:
        raise PackError(tuple(sorted(reader.mistakes)))
    return law


def check(
    directory: Traversable | None = None, functions: Mapping[str, Function] = derived.DERIVED
) -> tuple[Mistake, ...]:
    """Everything wrong with the packs of a directory, after running all their cases."""
    reader = _Directory(directory or shipped(), functions)
    law = reader.law()
    if law is not None:
        for edition in law.editions:
            reader.run_cases(edition, law)
    return tuple(sorted(reader.mistakes))


def read_all(directory: Traversable) -> dict[str, bytes]:
    """Every pack file of a directory, by its path in it: what `load` and `check` may look at."""
    found: dict[str, bytes] = {}
    for entry in directory.iterdir():
        if entry.is_dir():
            inside = read_all(entry)
            found |= {f"{entry.name}/{path}": content for path, content in inside.items()}
        elif entry.name.endswith(".yaml"):  # not what an interpreter or an editor left beside
            found[entry.name] = entry.read_bytes()
    return dict(sorted(found.items()))


def folder_of(files: Mapping[str, bytes]) -> Traversable:
    """A directory of packs that is nowhere on disk, by path."""
    held = BytesIO()
    with ZipFile(held, "w") as package:
        for path, content in files.items():
            package.writestr(path, content)
    return cast("Traversable", zipfile.Path(ZipFile(held)))


def is_edition(path: str) -> bool:
    """Whether a path in a directory of packs is that of an edition; not of cases, not of words."""
    folder, _, name = path.rpartition("/")
    parts = _FILE.match(name)
    return bool(folder) and parts is not None and not parts["cases"]


class _Directory:
    """Reads one directory of packs; owns the list of mistakes until it is done."""

    def __init__(self, directory: Traversable, functions: Mapping[str, Function]) -> None:
        self.mistakes: list[Mistake] = []
        self._directory = directory
        self._functions = functions

    def law(self) -> Law | None:
        """1 checked.yaml · 2 vocabulary.yaml · 3 each edition · 4 what they say together."""
        # 1
        checked = self._file("checked.yaml")
        confirmed = self._confirmed(checked.document) if checked else {}
        # 2
        words = self._file("vocabulary.yaml")
        if checked is None or words is None:
            return None
        vocabulary, wrong = vocabulary_from(words.document, self._functions, frozenset(confirmed))
        self.mistakes += wrong
        if vocabulary is None:
            return None
        # 3
        editions = [
            edition
            for folder in sorted(self._directory.iterdir(), key=lambda entry: entry.name)
            if folder.is_dir()
            for edition in self._editions(folder, vocabulary, frozenset(confirmed))
        ]
        # 4
        self.mistakes += _across(editions)
        named = {rule.id for edition in editions for rule in edition.rules} | set(vocabulary.facts)
        self.mistakes += [
            checked.document.mistake(
                ("checked", place, "rule"), en=f"no rule or derived fact `{name}`", zh="没有该规则"
            )
            for name, place in confirmed.items()
            if name not in named
        ]
        if self.mistakes:
            return None
        digests = {
            "checked.yaml": checked.digest,
            "vocabulary.yaml": words.digest,
            "derived": derived.VERSION,
            "pdp": rules.VERSION,
            "duo": duo.SHA256,
            "disease": disease.SHA256,
        }
        return Law(vocabulary, editions, digests)

    def run_cases(self, edition: Edition, law: Law) -> None:
        file = self._file(edition.file.replace(".yaml", ".cases.yaml"))
        if file is not None:
            self.mistakes += _case_mistakes(edition, file.document, law)

    def _file(self, name: str) -> _File | None:
        """One file, named from the directory down; None after noting why it cannot be had."""
        try:
            content = self._directory.joinpath(name).read_bytes()
            document = strict.load(content, name)
        except OSError:
            self._note(name, "the file cannot be read", "无法读取文件")
            return None
        except StrictError as error:
            self.mistakes.append(error.mistake)
            return None
        return _File(document=document, digest=sha256(content).hexdigest())

    def _note(self, name: str, en: str, zh: str) -> None:
        self.mistakes.append(Mistake(file=name, line=1, key="-", en=en, zh=zh))

    def _confirmed(self, document: Document) -> dict[str, int]:
        """Rules and derived facts that somebody has checked, with their places in the list."""
        wrong = shape_mistakes(document, CHECKED)
        self.mistakes += wrong
        content: Any = {"checked": []} if wrong else document.data
        return {row["rule"]: place for place, row in enumerate(content["checked"])}

    def _editions(
        self, folder: Traversable, vocabulary: Vocabulary, confirmed: frozenset[str]
    ) -> Iterator[Edition]:
        """The editions of one instrument, each as last corrected."""
        for day, name in self._last_revisions(folder).items():
            file = self._file(name)
            if file is None:
                continue
            edition, wrong = edition_from(file.document, file.digest, vocabulary, confirmed)
            self.mistakes += wrong
            if edition is None:
                continue
            if edition.pack != folder.name:
                en = f"lies in the folder `{folder.name}`"
                self.mistakes.append(file.document.mistake(("pack",), en=en, zh="与目录名不一致"))
            if edition.in_force.isoformat() != day:
                en = f"the file is named {day}"
                self.mistakes.append(
                    file.document.mistake(("in_force",), en=en, zh="与文件名不一致")
                )
            yield edition

    def _last_revisions(self, folder: Traversable) -> dict[str, str]:
        """File names, from the directory down, by in-force date."""
        revisions: dict[str, dict[int, str]] = {}
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            name = f"{folder.name}/{entry.name}"
            parts = _FILE.match(entry.name)
            if parts is None:
                self._note(name, "is neither an edition nor its cases", "文件名不符合规定")
            elif not parts["cases"]:
                revisions.setdefault(parts["day"], {})[int(parts["revision"] or 1)] = name
            elif not folder.joinpath(entry.name.replace(".cases", "")).is_file():
                self._note(name, "has no edition beside it", "没有对应的版本")
        for numbers in revisions.values():
            if sorted(numbers) != list(range(1, len(numbers) + 1)):
                self._note(numbers[max(numbers)], "corrects no edition", "缺少被更正的版本")
        return {day: numbers[max(numbers)] for day, numbers in revisions.items()}


def _across(editions: list[Edition]) -> Iterator[Mistake]:
    """What no single file shows: an id in two packs, the end of a rule that is not in force."""
    owner: dict[str, str] = {}
    alive: set[str] = set()
    for edition in sorted(editions, key=lambda edition: edition.in_force):
        begun = {rule.id for rule in edition.rules}
        wrong = [
            (f"rule `{rule}` is also in the pack `{owner[rule]}`", "规则编号与其他规则包重复")
            for rule in sorted(begun)
            if owner.setdefault(rule, edition.pack) != edition.pack
        ] + [
            (f"ends `{rule}`, which is not in force before that day", "所终止的规则尚未生效")
            for rule in edition.ends
            if rule in begun or rule not in alive or owner[rule] != edition.pack
        ]
        alive = (alive | begun) - set(edition.ends)
        for en, zh in wrong:
            yield Mistake(file=edition.file, line=1, key="rules", en=en, zh=zh)


# ---- the cases -----------------------------------------------------------------------------------

#: What must be shown of every rule: one case out of each group.
_WANTED: tuple[tuple[frozenset[Result], str], ...] = (
    (frozenset({Result.HOLDS}), "holds"),
    (frozenset({Result.DOES_NOT_HOLD, Result.NOT_APPLICABLE}), "does not hold"),
    (frozenset({Result.UNKNOWN}), "is unknown"),
)


def _case_mistakes(edition: Edition, document: Document, law: Law) -> list[Mistake]:
    """Everything wrong with the cases of one edition: too few, misspelt, or not as expected."""
    mistakes = shape_mistakes(document, CASES)
    if mistakes:
        return mistakes
    content: Any = document.data
    rows: list[_Row] = content["cases"]
    facts = _observed(law.vocabulary)
    for place, row in enumerate(rows):
        mistakes += [
            document.mistake(("cases", place, key), en=f"case `{row['name']}`: {en}", zh=zh)
            for key, en, zh in _wrong(row, edition, law, facts)
        ]
    for rule in edition.rules:
        shown = {Result(row["expect"]) for row in rows if row["rule"] == rule.id}
        mistakes += [
            document.mistake((), en=f"no case in which `{rule.id}` {words}", zh="缺少案例")
            for group, words in _WANTED
            if shown.isdisjoint(group) and not _cannot_be(rule, group)
        ]
    return mistakes


def _cannot_be(rule: Rule, group: frozenset[Result]) -> bool:
    """A rule that asks only what is known is never unknown; a tentative permit never just holds."""
    if Result.UNKNOWN in group:
        return rule.when.total and (rule.applies is None or rule.applies.total)
    return Result.HOLDS in group and rule.is_tentative and rule.covers != frozenset()


def _wrong(
    row: _Row, edition: Edition, law: Law, facts: dict[str, Fact]
) -> Iterator[tuple[str, str, str]]:
    """What is wrong with one case: the key, the sentence in English and in Chinese."""
    rule = law.on(row["as_of"]).rule(row["rule"])
    if row["rule"] not in {one.id for one in edition.rules}:
        yield "rule", f"`{row['rule']}` is not in this edition", "本版本没有该规则"
    elif rule is not None and rule.edition != edition.in_force:
        yield "as_of", f"that day edition {rule.edition} speaks", "该日适用另一版本"
    else:
        given: dict[str, Value] = {}
        for name, raw in row["facts"].items():
            value = frozenset(raw) if isinstance(raw, list) and _flat(raw) else raw
            fact = facts.get(name)
            if fact is None:
                yield "facts", f"unknown fact `{name}`", "未知事实"
            elif not is_value_of(value, fact):
                yield "facts", f"`{raw}` is no {fact.type} that `{name}` can be", "取值不符合要求"
            else:
                given[name] = value
        if len(given) == len(row["facts"]):
            yield from _unexpected(row, rule, {"as_of": row["as_of"], **given}, facts)


def _unexpected(
    row: _Row, rule: Rule | None, given: dict[str, Value], facts: dict[str, Fact]
) -> Iterator[tuple[str, str, str]]:
    derived = {name: fact for name, fact in facts.items() if fact.derived}
    try:
        result = rule.result(Scope(given, derived)) if rule else Result.NOT_APPLICABLE
    except PolicyError as error:
        yield "facts", str(error), "派生事实计算出错"
        return
    if result != row["expect"]:
        yield "expect", f"came out as {result}, not {row['expect']}", f"实际结果为 {result}"


def _flat(raw: list[Any]) -> bool:
    return all(isinstance(member, str) for member in raw)


def _observed(vocabulary: Vocabulary) -> dict[str, Fact]:
    """The vocabulary, each derived function watched: it may read only its declared inputs."""
    return {
        name: fact if fact.derived is None else replace(fact, derived=_watched(fact, fact.derived))
        for name, fact in vocabulary.facts.items()
    }


def _watched(fact: Fact, derived: Derived) -> Derived:
    def function(look: Lookup) -> Value | None:
        def asking(name: str) -> Value | None:
            if name not in derived.inputs:
                raise PolicyError(f"`{fact.name}` reads `{name}`, which is not among its inputs")
            return look(name)

        return derived.function(asking)

    return replace(derived, function=function)


# ---- the check by hand ---------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Print every mistake of the packs (of the shipped ones, or a directory) and count them."""
    mistakes = check(Path(arguments[0]) if arguments else None)
    for mistake in mistakes:
        sys.stdout.write(f"{mistake}\n")
    sys.stdout.write(f"{len(mistakes)} mistakes in the packs\n")
    return 1 if mistakes else 0


if __name__ == "__main__":  # pragma: no cover - a test runs it as a process of its own
    sys.exit(main(sys.argv[1:]))
