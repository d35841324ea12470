"""The law as a reader finds it: by instrument and edition, each rule with its citation; and its coverage.

    packs/README.md        `readme(law)`: instrument → editions → rules in force with citation
    docs/law-coverage.md   `coverage(law, …)`: every number of the list → rules, editions, cases, confidence

Both are generated and checked for being current. The list of numbers (law_numbers.csv) was drawn up
from the texts of the law by the house's lawyers; a number with no rule is told as missing.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from policies import packs, strict
from policies.decision import Effect, Result
from policies.rules import Edition, Law, Rule
from policies.strict import Data

EFFECTS: Mapping[Effect, Mapping[str, str]] = {
    Effect.DENY: {"zh": "禁止", "en": "deny"},
    Effect.REFER: {"zh": "转人工", "en": "refer"},
    Effect.REQUIRE: {"zh": "须备文件", "en": "require"},
    Effect.OBLIGE: {"zh": "义务", "en": "oblige"},
    Effect.PERMIT: {"zh": "依据", "en": "permit"},
}
#: What follows where a rule holds.
FOLLOWS: Mapping[Effect, Mapping[str, str]] = {
    Effect.DENY: {"zh": "不得提供", "en": "nothing goes"},
    Effect.REFER: {
        "zh": "由合规人员判断，其间不提供",
        "en": "an officer judges; until then nothing goes",
    },
    Effect.REQUIRE: {"zh": "所需文件登记之前暂缓", "en": "it is held until the paper is recorded"},
    Effect.OBLIGE: {"zh": "可以提供，附带义务", "en": "it may go, with a duty"},
    Effect.PERMIT: {"zh": "构成提供的依据", "en": "it is a basis on which it may go"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One instrument: its editions up to a day, oldest first, its rules in force that day, and those that
    had ended by then as they last were.
    """

    name: str
    editions: tuple[Edition, ...]
    rules: tuple[Rule, ...]
    ended: tuple[Rule, ...]

    @property
    def title(self) -> Mapping[str, str]:
        """The title of its first edition, which the later ones change."""
        return self.editions[0].title


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A rule as one edition has it, and the edition that replaced or ended it (None: none did)."""

    rule: Rule
    edition: Edition
    until: Edition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A situation and what a rule says of it; facts left out are unknown."""

    rule: str
    name: str
    as_of: date
    facts: Mapping[str, Data]
    expect: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One number of the list: what people call it, from which day it stands (None: from the first)."""

    no: str
    tier: int
    title: Mapping[str, str]
    in_force: date | None


def instruments(law: Law, day: date) -> tuple[Instrument, ...]:
    """Every instrument that has begun by a day, by name."""
    now = law.on(day)
    begun = [edition for edition in law.editions if edition.in_force <= day]
    last = {rule.id: rule for edition in begun for rule in edition.rules}
    ended = [rule for rule in last.values() if now.rule(rule.id) is None]
    return tuple(
        Instrument(
            name=name,
            editions=tuple(edition for edition in begun if edition.pack == name),
            rules=tuple(rule for rule in now.rules if rule.pack == name),
            ended=tuple(rule for rule in ended if rule.pack == name),
        )
        for name in sorted({edition.pack for edition in begun})
    )


def versions(law: Law, pack: str, rule: str) -> tuple[Version, ...]:
    """A rule in every edition that has it, oldest first, the drafts last; none if there is no such rule."""
    found: list[Version] = []
    for edition in law.editions:
        begun = [one for one in edition.rules if (one.pack, one.id) == (pack, rule)]
        if found and found[-1].until is None and (begun or rule in edition.ends):
            found[-1] = replace(found[-1], until=edition)
        found += [Version(rule=one, edition=edition) for one in begun]
    found += [
        Version(rule=one, edition=draft)
        for draft in law.drafts
        for one in draft.rules
        if (one.pack, one.id) == (pack, rule)
    ]
    return tuple(found)


def speaking_of(rules: Iterable[Rule], wanted: str) -> tuple[Rule, ...]:
    """The rules whose number, id, text, quote or citation has every word of `wanted`, in either language."""
    words = wanted.casefold().split()
    return tuple(rule for rule in rules if all(word in _told(rule) for word in words))


def _told(rule: Rule) -> str:
    texts = [rule.no, rule.id, rule.quote or "", rule.paper or ""]
    texts += [text for said in (rule.says, rule.fix, rule.ask or {}) for text in said.values()]
    texts += [text for one in rule.cite for text in (one.zh, one.en)]
    return "\n".join(texts).casefold()


def address(pack: str, rule: str, day: date) -> str:
    """Where a running gateway shows a rule as of a day; what every finding links to."""
    return f"/laws/{pack}/{rule}?on={day}"


def numbers() -> tuple[Number, ...]:
    """The list of numbers, in its order."""
    text = (files("policies") / "law_numbers.csv").read_text("utf-8")
    return tuple(
        Number(
            no=row["no"],
            tier=int(row["tier"]),
            title={"zh": row["zh"], "en": row["en"]},
            in_force=date.fromisoformat(row["in_force"]) if row["in_force"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    )


def missing(law: Law) -> tuple[str, ...]:
    """The numbers of the list that no rule of any edition bears."""
    borne = {rule.no for edition in law.editions for rule in edition.rules}
    return tuple(one.no for one in numbers() if one.no not in borne)


def readme(law: Law) -> str:
    """packs/README.md as of the newest edition, so that it changes with the packs and not with time."""
    day = max(edition.in_force for edition in law.editions)
    return "\n".join(_readme(law, day)) + "\n"


def _readme(law: Law, day: date) -> Iterator[str]:
    yield "# 规则包 · The packs"
    yield ""
    yield f"Generated by `hgr packs readme --write` as of {day}; the Chinese text is authoritative."
    yield "条号后的“*”表示条号待核；“?”表示内容待核，未核实前只暂缓或者转人工，不禁止也不作为依据。"
    for one in instruments(law, day):
        yield ""
        yield f"## {one.name}"
        yield ""
        for edition in one.editions:
            begins = f"{len(edition.rules)} rules begin or change"
            yield f"- [{edition.title['zh']}]({edition.link}) · {edition.in_force} · {begins}"
        yield ""
        yield "| 编号 No. | 规则 Rule | 效果 Effect | 内容 Says | 依据 Citation |"
        yield "|---|---|---|---|---|"
        for rule in one.rules:
            yield (
                f"| {rule.no} | `{rule.id}` | {EFFECTS[rule.effect]['zh']} {rule.effect}"
                f"{'?' if rule.is_tentative else ''} | {_cell(rule.says['zh'])} | {cited(rule, 'zh')} |"
            )
    if law.drafts:
        yield from _drafts(law)


def _drafts(law: Law) -> Iterator[str]:
    yield ""
    yield "## 征求意见稿 · Drafts"
    yield ""
    yield "Not law: they decide nothing. `hgr decide --with-draft` shows what they would change."
    yield ""
    for draft in law.drafts:
        rules = "、".join(f"{rule.no} `{rule.id}`" for rule in draft.rules)
        yield f"- [{draft.title['zh']}]({draft.link}) · `{draft.file}` · {draft.in_force} · {rules}"


def coverage(law: Law, directory: Traversable | None = None) -> str:
    """docs/law-coverage.md: every number with its rules, editions, cases and confidence."""
    return "\n".join(_coverage(law, directory or packs.shipped())) + "\n"


def _coverage(law: Law, directory: Traversable) -> Iterator[str]:
    by_number: dict[str, list[Rule]] = {}
    for edition in law.editions:
        for rule in edition.rules:
            by_number.setdefault(rule.no, []).append(rule)
    counted = _cases(law, directory)
    lacking = missing(law)
    yield "# What of the law the packs hold"
    yield ""
    yield "Generated by `hgr packs coverage --write`. One line per rule and edition; cases are those of the"
    yield "edition's own file. Confidence: content / article number, as the packs say it."
    yield ""
    count = len(numbers())
    yield f"{count - len(lacking)} of {count} numbers have a rule. Missing: {', '.join(lacking) or 'none'}."
    yield ""
    yield "| No. | Title | Rule | Edition | Effect | Cases | Confidence |"
    yield "|---|---|---|---|---|---|---|"
    known = {one.no: f"{one.title['zh']} {one.title['en']}" for one in numbers()}
    extra = sorted(set(by_number) - set(known))
    for no in [*known, *extra]:
        if no in lacking:
            yield f"| {no} | {known[no]} | **missing** | | | | |"
        for rule in by_number.get(no, ()):
            file = f"{rule.pack}/{rule.edition}"
            yield (
                f"| {no} | {known.get(no, '')} | `{rule.id}` | {file} | {rule.effect} "
                f"| {counted[rule.pack, rule.edition, rule.id]} "
                f"| {rule.confidence['content']} / {rule.confidence['article']} |"
            )


def _cases(law: Law, directory: Traversable) -> Counter[tuple[str, date, str]]:
    found: Counter[tuple[str, date, str]] = Counter()
    for edition in law.editions:
        file = cases_file(edition)
        for case in cases(directory.joinpath(file).read_bytes(), file):
            found[edition.pack, edition.in_force, case.rule] += 1
    return found


def cases_file(edition: Edition) -> str:
    """Where the cases of an edition lie, under packs/."""
    return edition.file.replace(".yaml", ".cases.yaml")


@lru_cache(maxsize=64)  # strict YAML is slow to read, and anybody may ask for a page
def cases(content: bytes, file: str) -> tuple[Case, ...]:
    """The cases of an edition, from the bytes of their file; packs that were checked have no bad ones."""
    read: Any = strict.load(content, file).data
    return tuple(Case(**{**row, "expect": Result(row["expect"])}) for row in read["cases"])


def cited(rule: Rule, language: str, *, since: bool = False) -> str:
    """Its citations in one language, with a mark where the article's number is to be checked; with `since`,
    those that came into force later than the rule say when.
    """
    mark = "*" if rule.confidence["article"] == "low" else ""
    begun = {"zh": "（{} 起）", "en": " (since {})"}[language]
    texts = (
        (one.zh if language == "zh" else one.en)
        + (begun.format(one.since) if since and one.since else "")
        for one in rule.cite
    )
    return _cell("；".join(texts) if language == "zh" else "; ".join(texts)) + mark


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# ---- what changed ---------------------------------------------------------------------------------


def differences(
    old: Mapping[str, Rule], new: Mapping[str, Rule]
) -> Iterator[tuple[str, Rule, str]]:
    """Rules that are `added`, `gone` or `changed`, by number and id, and in which fields."""
    for rule in sorted({**old, **new}.values(), key=lambda one: (one.no, one.id)):
        if rule.id not in old:
            yield "added", rule, ""
        elif rule.id not in new:
            yield "gone", rule, ""
        elif fields := changed(old[rule.id], new[rule.id]):
            yield "changed", rule, ", ".join(fields)


def changed(old: Rule, new: Rule) -> tuple[str, ...]:
    """The keys of the file under which two editions of a rule say something else.

    `cite` also where one edition cites more than before, because a text has come into force since.
    """
    keys = {**old.written, **new.written}
    cites = {"cite"} if old.cite != new.cite else set[str]()
    return tuple(
        key for key in keys if key in cites or old.written.get(key) != new.written.get(key)
    )
