"""The PAP: loads rule packs, checks everything in them, and folds them into the law.

The rules it keeps: all mistakes are told at once, each with file, line and key; with any mistake
nothing is loaded. Editions lie at `packs/<instrument>/<in-force date>.yaml`, corrections of them at
`<date>.r2.yaml`, the cases of either beside it in `<…>.cases.yaml`.

    rules = load().on(date(2026, 11, 22)).rules
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from policies import derived, disease, duo, pack_file, rules, strict, vocabulary_file
from policies.cases import case_mistakes
from policies.request import PolicyError
from policies.rules import Edition, Law
from policies.shapes import CHECKED, shape_mistakes
from policies.strict import Document, Mistake, StrictError
from policies.vocabulary import Function, Vocabulary

_FILE = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:\.r(?P<revision>[2-9]))?(?P<cases>\.cases)?\.yaml\Z"
)


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
        vocabulary, wrong = vocabulary_file.from_document(
            words.document, self._functions, frozenset(confirmed)
        )
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
            self.mistakes += case_mistakes(edition, file.document, law)

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
            edition, wrong = pack_file.from_document(
                file.document, file.digest, vocabulary, confirmed
            )
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


def main(arguments: list[str]) -> int:
    """Print every mistake of the packs (of the shipped ones, or a directory) and count them."""
    mistakes = check(Path(arguments[0]) if arguments else None)
    for mistake in mistakes:
        sys.stdout.write(f"{mistake}\n")
    sys.stdout.write(f"{len(mistakes)} mistakes in the packs\n")
    return 1 if mistakes else 0


if __name__ == "__main__":  # pragma: no cover - a test runs it as a process of its own
    sys.exit(main(sys.argv[1:]))
