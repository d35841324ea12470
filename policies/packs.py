"""The PAP: loads rule packs, checks everything in them, and folds them into the law.

The rules it keeps: all mistakes are told at once, each with file, line and key; with any mistake
nothing is loaded. Editions lie at `packs/<instrument>/<in-force date>.yaml`, corrections of them at
`<date>.r2.yaml`, drafts at `<day published>.draft.yaml`, the cases of each beside it in
`<…>.cases.yaml`. Every rule has a case in which it holds, one in which it does not (or does not apply),
and one in which a fact is unknown; derived facts may be given directly and then win; a derived fact reads
only what the vocabulary says it reads.

    rules = load().on(date(2026, 11, 22)).rules
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

from policies import derived, disease, duo, rules, strict
from policies.decision import Result
from policies.labels import Labels, labels_from
from policies.pack_files import CASES, CHECKED, edition_from, shape_of, unfilled, vocabulary_from
from policies.request import PolicyError, Value
from policies.rules import Edition, Law, Rule
from policies.strict import Document, Mistake, StrictError, shape_mistakes, shown
from policies.vocabulary import Derived, Fact, Function, Lookup, Scope, Vocabulary, is_value_of

_FILE = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:\.(?:(?P<draft>draft)|r(?P<revision>[2-9])))?(?P<cases>\.cases)?\.yaml\Z"
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
    return tuple(sorted(_checked(directory, functions).mistakes))


def _checked(directory: Traversable | None, functions: Mapping[str, Function]) -> _Directory:
    reader = _Directory(directory or shipped(), functions)
    reader.check_cases(reader.law())
    return reader


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
    """Whether a path in a directory of packs is that of an edition; not of cases, words or a draft."""
    folder, _, name = path.rpartition("/")
    parts = _FILE.match(name)
    return bool(folder) and parts is not None and not (parts["cases"] or parts["draft"])


class _Directory:
    """Reads one directory of packs; owns the list of mistakes until it is done."""

    def __init__(self, directory: Traversable, functions: Mapping[str, Function]) -> None:
        self.mistakes: list[Mistake] = []
        self.notes: list[Mistake] = []  # what may be right and that nobody could check
        self._directory = directory
        self._functions = functions
        self._files: list[str] = []  # of the editions
        self._documents: dict[str, Document] = {}  # of those that could be read, for their lines
        self._broken: set[str] = set()  # the folders with an edition that could not be read

    def law(self) -> Law | None:
        """1 checked.yaml · 2 vocabulary.yaml, labels.yaml · 3 each edition · 4 what they say together.

        What is wrong in one file hides nothing that is wrong in another, but what the other says of it.
        """
        # 1
        checked = self._file("checked.yaml")
        confirmed = self._confirmed(checked.document) if checked else {}
        # 2
        words = self._file("vocabulary.yaml")
        vocabulary = None
        if words is not None:
            vocabulary, wrong = vocabulary_from(
                words.document, self._functions, frozenset(confirmed)
            )
            self.mistakes += wrong
        labels = Labels()
        if words is not None and vocabulary is not None:
            labels = self._labels(words.document, vocabulary)
        # 3
        entries = list(self._directory.iterdir()) if self._directory.is_dir() else []
        editions = [
            edition
            for folder in sorted(entries, key=lambda entry: entry.name)
            if folder.is_dir()
            for edition in self._editions(folder, vocabulary, frozenset(confirmed))
        ]
        # 4
        whole = [one for one in editions if one.pack not in self._broken]
        self.mistakes += _across(whole, self._documents)
        wrong, self.notes = _citations(whole, self._documents, labels.laws)
        self.mistakes += wrong
        if checked is None or words is None or vocabulary is None or self._broken:
            return None
        named = {rule.id for edition in editions for rule in edition.rules} | set(vocabulary.facts)
        self.mistakes += [
            checked.document.mistake(
                ("checked", place, "rule"),
                code="no_such_rule",
                en=f"no rule or derived fact `{name}`",
                zh=f"没有规则或者派生事实 `{name}`",
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
        drafts = [edition for edition in editions if edition.is_draft]
        return Law(vocabulary, [e for e in editions if not e.is_draft], digests, drafts, labels)

    def _labels(self, words: Document, vocabulary: Vocabulary) -> Labels:
        """What values are called. Packs kept from before there were labels have no file of them."""
        there = self._directory.joinpath("labels.yaml").is_file()
        file = self._file("labels.yaml") if there else None
        labels, wrong = labels_from(file.document if file else None, words, vocabulary)
        self.mistakes += wrong
        return labels

    def check_cases(self, law: Law | None) -> None:
        """Run the cases of every edition; without a law, only their shape can be checked."""
        editions = {one.file: one for one in (*law.editions, *law.drafts)} if law else {}
        for name in self._files:
            file = self._file(name.replace(".yaml", ".cases.yaml"))
            if file is None:
                continue
            if law is None:
                self.mistakes += shape_mistakes(file.document, CASES)
            else:
                edition = editions[name]
                speaking = law.with_drafts() if edition.is_draft else law
                self.mistakes += _case_mistakes(edition, file.document, speaking)

    def _file(self, name: str) -> _File | None:
        """One file, named from the directory down; None after noting why it cannot be had."""
        try:
            content = self._directory.joinpath(name).read_bytes()
            document = strict.load(content, name)
        except OSError:
            self._note(name, "unreadable", "the file cannot be read", "无法读取文件")
            return None
        except StrictError as error:
            self.mistakes += error.mistakes
            return None
        return _File(document=document, digest=sha256(content).hexdigest())

    def _note(self, name: str, code: str, en: str, zh: str) -> None:
        self.mistakes.append(Mistake(file=name, line=1, key="-", code=code, en=en, zh=zh))

    def _confirmed(self, document: Document) -> dict[str, int]:
        """Rules and derived facts that somebody has checked, with their places in the list."""
        wrong = shape_mistakes(document, CHECKED)
        self.mistakes += wrong
        content: Any = {"checked": []} if wrong else document.data
        return {row["rule"]: place for place, row in enumerate(content["checked"])}

    def _editions(
        self, folder: Traversable, vocabulary: Vocabulary | None, confirmed: frozenset[str]
    ) -> Iterator[Edition]:
        """The editions of one instrument, each as last corrected; without words only their shape."""
        for day, name in self._last_revisions(folder).items():
            self._files.append(name)
            file = self._file(name)
            edition = None
            if file is not None and vocabulary is None:
                self.mistakes += shape_mistakes(file.document, shape_of(file.document))
            elif file is not None and vocabulary is not None:
                edition, wrong = edition_from(
                    file.document, file.digest, vocabulary, confirmed, self._functions
                )
                self.mistakes += wrong
            if file is None or edition is None:
                self._broken.add(folder.name)
                continue
            self._documents[name] = file.document
            if edition.pack != folder.name:
                en, zh = f"lies in the folder `{folder.name}`", f"与所在目录 `{folder.name}` 不一致"
                self.mistakes.append(
                    file.document.mistake(("pack",), code="wrong_folder", en=en, zh=zh)
                )
            if edition.in_force.isoformat() != day.removesuffix(".draft"):
                key = "published" if edition.is_draft else "in_force"
                en, zh = f"the file is named {day}", f"与文件名 {day} 不一致"
                self.mistakes.append(file.document.mistake((key,), code="wrong_day", en=en, zh=zh))
            yield edition

    def _last_revisions(self, folder: Traversable) -> dict[str, str]:
        """File names, from the directory down, by in-force date; a draft by `<date>.draft`."""
        revisions: dict[str, dict[int, str]] = {}
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            name = f"{folder.name}/{entry.name}"
            parts = _FILE.match(entry.name)
            if parts is None:
                en = "is neither an edition nor its cases"
                zh = "文件名既不是版本（YYYY-MM-DD.yaml）也不是其案例（YYYY-MM-DD.cases.yaml）"
                self._note(name, "not_an_edition", en, zh)
            elif not parts["cases"]:
                day = parts["day"] + (".draft" if parts["draft"] else "")
                revisions.setdefault(day, {})[int(parts["revision"] or 1)] = name
            elif not folder.joinpath(entry.name.replace(".cases", "")).is_file():
                self._note(name, "no_edition", "has no edition beside it", "旁边没有对应的版本")
        for numbers in revisions.values():
            if sorted(numbers) != list(range(1, len(numbers) + 1)):
                name = numbers[max(numbers)]
                self._note(name, "corrects_nothing", "corrects no edition", "缺少被更正的版本")
        return {day: numbers[max(numbers)] for day, numbers in revisions.items()}


def _across(editions: list[Edition], documents: Mapping[str, Document]) -> Iterator[Mistake]:
    """What no single file shows: two editions of one pack and day, an id in two packs, the end of a rule
    that is not in force.
    """
    first: dict[tuple[str, date, bool], str] = {}
    owner: dict[str, str] = {}
    alive: set[str] = set()
    for edition in sorted(editions, key=lambda edition: (edition.is_draft, edition.in_force)):
        document, pack, day = documents[edition.file], edition.pack, edition.in_force
        other = first.setdefault((pack, day, edition.is_draft), edition.file)
        if other != edition.file:
            en, zh = (
                f"`{pack}` has another edition of {day}",
                f"规则包 `{pack}` 在 {day} 已有另一版本",
            )
            yield document.mistake(
                ("in_force",), code="overlapping_editions", en=f"{en}: {other}", zh=f"{zh}：{other}"
            )
        for place, rule in enumerate(edition.rules):
            holder = owner.setdefault(rule.id, pack)
            if holder != pack:
                en = f"rule `{rule.id}` is also in the pack `{holder}`"
                zh = f"规则 `{rule.id}` 也在规则包 `{holder}` 中"
                path = ("rules", place, "id")
                yield document.mistake(path, code="id_in_two_packs", en=en, zh=zh)
        begun = {rule.id for rule in edition.rules}
        for place, ended in enumerate(edition.ends):
            if ended in begun or ended not in alive or owner[ended] != pack:
                en = f"ends `{ended}`, which is not in force before that day"
                zh = f"所终止的规则 `{ended}` 在该日之前并未生效"
                yield document.mistake(("ends", place), code="ends_nothing", en=en, zh=zh)
        alive = (alive | begun) - set(edition.ends)


def _citations(
    editions: list[Edition], documents: Mapping[str, Document], laws: Mapping[str, date] | None
) -> tuple[list[Mistake], list[Mistake]]:
    """Rules that cite nothing in force on their first day, or a text before its first day; and, once for
    each, the texts whose first day is not known (`laws`, None: none was listed).
    """
    wrong: list[Mistake] = []
    unknown: dict[str, Mistake] = {}
    places = ((one, place, rule) for one in editions for place, rule in enumerate(one.rules))
    for edition, place, rule in places:
        document, day = documents[edition.file], edition.in_force
        if rule.cite and not rule.cited_on(day):
            en = f"`{rule.id}` cites nothing that is in force on {day}"
            zh = f"规则 `{rule.id}` 所引的条文在 {day} 均未施行"
            path: tuple[str | int, ...] = ("rules", place, "cite")
            wrong.append(document.mistake(path, code="nothing_in_force", en=en, zh=zh))
        for at, cited in enumerate(rule.cite if laws is not None else ()):
            first = laws.get(cited.law) if laws else None
            path = ("rules", place, "cite", at)
            if first is None and not edition.is_draft:
                en = f"no day is known on which `{cited.law}` came into force; taken to be before {day}"
                zh = f"`{cited.law}` 的施行日未知，按早于 {day} 处理"
                note = document.mistake(path, code="day_unknown", en=en, zh=zh)
                unknown.setdefault(cited.law, note)
            elif first is not None and (cited.since or day) < first:
                en = f"`{cited.law}` is in force from {first} on: cite it since then"
                zh = f"`{cited.law}` 自 {first} 起施行，应当写明 since"
                wrong.append(document.mistake(path, code="cited_too_early", en=en, zh=zh))
    return wrong, list(unknown.values())


# ---- the cases -----------------------------------------------------------------------------------

#: What must be shown of every rule: one case out of each group.
_WANTED: tuple[tuple[frozenset[Result], str, str], ...] = (
    (frozenset({Result.HOLDS}), "holds", "成立"),
    (frozenset({Result.DOES_NOT_HOLD, Result.NOT_APPLICABLE}), "does not hold", "不成立"),
    (frozenset({Result.UNKNOWN}), "is unknown", "未知"),
)


def _case_mistakes(edition: Edition, document: Document, law: Law) -> list[Mistake]:
    """Everything wrong with the cases of one edition: too few, misspelt, or not as expected."""
    mistakes = unfilled(document) + shape_mistakes(document, CASES)
    if mistakes:
        return mistakes
    content: Any = document.data
    rows: list[_Row] = content["cases"]
    facts = _observed(law.on(edition.in_force).vocabulary)
    for place, row in enumerate(rows):
        mistakes += [
            document.mistake(
                ("cases", place, key),
                code=code,
                en=f"case `{row['name']}`: {en}",
                zh=f"案例 `{row['name']}`：{zh}",
            )
            for key, code, en, zh in _wrong(row, edition, law, facts)
        ]
    for rule in edition.rules:
        shown = {Result(row["expect"]) for row in rows if row["rule"] == rule.id}
        mistakes += [
            document.mistake(
                (),
                code="no_case",
                en=f"no case in which `{rule.id}` {words}",
                zh=f"缺少规则 `{rule.id}` {worded}的案例",
            )
            for group, words, worded in _WANTED
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
) -> Iterator[tuple[str, str, str, str]]:
    """What is wrong with one case: the key, the code, the sentence in English and in Chinese."""
    rule = law.on(row["as_of"]).rule(row["rule"])
    if row["rule"] not in {one.id for one in edition.rules}:
        en, zh = f"`{row['rule']}` is not in this edition", f"本版本没有规则 `{row['rule']}`"
        yield "rule", "no_such_rule", en, zh
    elif rule is not None and rule.edition != edition.in_force:
        en, zh = f"that day edition {rule.edition} speaks", f"该日适用 {rule.edition} 的版本"
        yield "as_of", "other_edition", en, zh
    else:
        given: dict[str, Value] = {}
        for name, raw in row["facts"].items():
            value = frozenset(raw) if isinstance(raw, list) and _flat(raw) else raw
            fact = facts.get(name)
            if fact is None:
                yield "facts", "unknown_fact", f"unknown fact `{name}`", f"未知事实 `{name}`"
            elif not is_value_of(value, fact):
                en = f"`{shown(raw)}` is no {fact.type} that `{name}` can be"
                zh = f"`{shown(raw)}` 不是 {fact.type} 类型的 `{name}` 的可能取值"
                yield "facts", "bad_value", en, zh
            else:
                given[name] = value
        if len(given) == len(row["facts"]):
            yield from _unexpected(row, rule, {"as_of": row["as_of"], **given}, facts)


def _unexpected(
    row: _Row, rule: Rule | None, given: dict[str, Value], facts: dict[str, Fact]
) -> Iterator[tuple[str, str, str, str]]:
    derived = {name: fact for name, fact in facts.items() if fact.derived}
    try:
        result = rule.result(Scope(given, derived)) if rule else Result.NOT_APPLICABLE
    except PolicyError as error:
        yield "facts", "derived_fact_fails", str(error), f"派生事实计算出错：{error}"
        return
    if result != row["expect"]:
        expected = row["expect"]
        en = f"came out as {result}, not {expected}"
        yield "expect", "case_fails", en, f"实际结果为 {result}，而不是 {expected}"


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
    """Print every mistake of the packs (of the shipped ones, or a directory) and count them; then, as notes,
    what could not be checked.
    """
    found = _checked(Path(arguments[0]) if arguments else None, derived.DERIVED)
    mistakes = found.mistakes
    for mistake in sorted(mistakes):
        sys.stdout.write(f"{mistake}\n")
    for note in sorted(found.notes):
        sys.stdout.write(f"note · 提示: {note}\n")
    many = "mistake" if len(mistakes) == 1 else "mistakes"
    sys.stdout.write(f"{len(mistakes)} {many} in the packs\n")
    return 1 if mistakes else 0


if __name__ == "__main__":  # pragma: no cover - a test runs it as a process of its own
    sys.exit(main(sys.argv[1:]))
