"""Reading an audit package: verify it, decide its decisions again, say in plain words what is in it.

The rules it keeps: nothing of a package is used before it is verified; the law is the one inside the
package; no bank, no database, no network is needed.

    for one in replay(Path("export.zip")):
        print(one.index, one.same)
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

from audit.verify import ENTRIES, Container, Folder, Key, Verified, Zip, key_from_vkey
from audit.verify import verify as verify_package
from gateway.reports.exports import EARLIER, GENERATIONS, PACKS
from policies import document, packs
from policies.request import PolicyError
from policies.rules import Law

DECISION = "decision"  # the type of the records that carry a decision document


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One decision decided again from its document with the packs inside the package.

    `same`: to the byte. Otherwise `differs` names the parts that came out another way and `first` the
    first place, `digests` what the law, its releases or the code were changed in since; `failed` says
    why it could not be decided at all.
    """

    index: int  # of the record
    digest: str  # of the document
    decision_id: str
    same: bool
    differs: tuple[str, ...] = ()
    first: str = ""
    digests: tuple[str, ...] = ()
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    index: int
    type: str
    time: str
    outcome: str
    rules: tuple[str, ...]
    subjects: Mapping[str, str]
    docs: tuple[str, ...]


def verify(package: Path, *, vkey: str | None = None) -> Verified:
    """Verify a package (zip or folder), with the bank's verifier key where one is at hand.

    Raises `audit.verify.RefusedError` naming the first bad record, `ValueError` for a bad key,
    `OSError` if the package cannot be read.
    """
    return verify_package(package, key=_key(vkey))


def replay(package: Path, *, vkey: str | None = None) -> Iterator[Replayed]:
    """Verify a package, then decide each of its decisions again, in the order of the log.

    Each by the generation of the packs inside that decided it. Raises what `verify` raises, and
    `policies.packs.PackError` if the packs inside do not load.
    """
    verify(package, vkey=vkey)
    with _opened(package) as container:
        laws = _Laws(package)
        for record in _records(container):
            if record.type != DECISION:
                continue
            for digest in record.docs:
                with container.open(f"documents/{digest}.json") as file:
                    content = file.read()
                yield _replayed(record, digest, content, laws.of(content))


def report(package: Path, *, vkey: str | None = None) -> str:
    """What a package says, in plain words: Chinese first, then English, then each decision.

    Raises what `replay` raises.
    """
    found = verify(package, vkey=vkey)
    with _opened(package) as container:
        law = packs.load(_root(package) / PACKS)
        decisions = [record for record in _records(container) if record.type == DECISION]
    outcomes = Counter(record.outcome for record in decisions)
    rules = Counter(rule for record in decisions for rule in record.rules)
    # Several rules may share a number, so it is told by its articles, not by one rule's text.
    articles: dict[str, dict[str, set[str]]] = defaultdict(lambda: {"zh": set(), "en": set()})
    for edition in law.editions:
        for rule in edition.rules:
            for cite in rule.cite:
                articles[rule.no]["zh"].add(cite.zh)
                articles[rule.no]["en"].add(cite.en)
    said = {
        no: {"zh": "、".join(sorted(each["zh"])), "en": "; ".join(sorted(each["en"]))}
        for no, each in articles.items()
    }
    return "\n".join(
        [
            *_page(_ZH, "zh", found, outcomes, rules, said),
            "",
            *_page(_EN, "en", found, outcomes, rules, said),
            "",
            "判定逐条 / Each decision",
            *(_line(record) for record in decisions),
            "",
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    title: str
    verified: str
    records: str
    outcomes: str
    rules: str
    names: Mapping[str, str]


_ZH = _Words(
    title="审计包摘要",
    verified="验证通过：日志 {origin} 共 {size} 条记录，最后一条 {created}；密钥指纹 {fingerprint}",
    records="记录种类",
    outcomes="判定结果",
    rules="规则被触发或者不明的次数",
    names={"permit": "准予", "hold": "暂缓", "refer": "转人工", "deny": "不予"},
)
_EN = _Words(
    title="Summary of the audit package",
    verified="Verified: log {origin}, {size} records, the last at {created}; key {fingerprint}",
    records="Records by type",
    outcomes="Decisions by outcome",
    rules="How often each rule held or was unknown",
    names={"permit": "permit", "hold": "hold", "refer": "refer", "deny": "deny"},
)


def _page(
    words: _Words,
    language: str,
    found: Verified,
    outcomes: Mapping[str, int],
    rules: Mapping[str, int],
    said: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    yield words.title
    yield words.verified.format(
        origin=found.origin,
        size=found.size,
        created=found.created or "-",
        fingerprint=found.fingerprint,
    )
    yield f"{words.outcomes}:"
    for outcome, count in sorted(outcomes.items()):
        yield f"  {words.names.get(outcome, outcome)}  {count}"
    yield f"{words.rules}:"
    for rule, count in sorted(rules.items()):
        yield f"  {rule}  {count}  {said.get(rule, {}).get(language, '')}".rstrip()
    yield f"{words.records}:"
    for kind, count in sorted(found.records.items()):
        yield f"  {kind}  {count}"


def _line(record: _Record) -> str:
    about = record.subjects
    what = about.get("request", "-")
    where = f"{record.index}  {record.time}  {about.get('decision', '-')}  {what}"
    return f"{where}  {about.get('occasion', '-')}  {record.outcome}  {' '.join(record.rules)}".rstrip()


class _Laws:
    """The laws of a package: the one in force last, and those before it, each loaded when asked for."""

    def __init__(self, package: Path) -> None:
        root = _root(package)
        self._loaded = [packs.load(root / PACKS)]
        self._waiting: list[dict[str, str]] = []
        self._content: dict[str, bytes] = {}
        listed = root / GENERATIONS
        if not listed.is_file():  # of a version that knew one generation only
            return
        known = packs.read_all(root / PACKS)
        earlier = packs.read_all(root / EARLIER) if (root / EARLIER).is_dir() else {}
        self._content = {
            sha256(content).hexdigest(): content for content in (*known.values(), *earlier.values())
        }
        now = {path: sha256(content).hexdigest() for path, content in known.items()}
        told: list[dict[str, Any]] = json.loads(listed.read_bytes())
        self._waiting = [one["files"] for one in told if one["files"] != now]

    def of(self, content: bytes) -> Law:
        """The law that decided a document; if none of them did, the one most like it."""
        try:
            asked = document.digests_from(content)
        except PolicyError:  # no document: whoever decides it again says so
            return self._loaded[0]
        for law in self._all():
            if law.on(asked.as_of).digests == asked.digests:
                return law
        return min(self._loaded, key=lambda law: self._apart(law, asked))

    def _all(self) -> Iterator[Law]:
        yield from self._loaded
        while self._waiting:
            files = self._waiting.pop()  # the latest first
            law = packs.load(packs.folder_of({p: self._content[d] for p, d in files.items()}))
            self._loaded.append(law)
            yield law

    @staticmethod
    def _apart(law: Law, asked: document.Digests) -> int:
        ours = law.on(asked.as_of).digests
        return sum(ours.get(name) != asked.digests.get(name) for name in {*ours, *asked.digests})


def _replayed(record: _Record, digest: str, content: bytes, law: Law) -> Replayed:
    first = Replayed(
        index=record.index,
        digest=digest,
        decision_id=record.subjects.get("decision", ""),
        same=False,
    )
    try:
        again = document.replay(content, law)
    except PolicyError as error:
        return replace(first, failed=str(error))
    if again.content == content:
        return replace(first, same=True)
    return replace(first, differs=again.differs, first=again.first, digests=again.digests)


def _records(container: Container) -> Iterator[_Record]:
    with container.open(ENTRIES) as lines:
        for index, line in enumerate(lines):
            leaf: dict[str, Any] = json.loads(line)
            yield _Record(
                index=index,
                type=leaf["type"],
                time=leaf["time"],
                outcome=leaf.get("outcome", "-"),
                rules=tuple(leaf.get("rules", ())),
                subjects=leaf.get("subjects", {}),
                docs=tuple(leaf.get("docs", ())),
            )


@contextmanager
def _opened(package: Path) -> Iterator[Container]:
    if package.is_dir():
        yield Folder(package)
        return
    container = Zip(package)
    try:
        yield container
    finally:
        container.close()


def _root(package: Path) -> Traversable:
    """What is inside, read where it lies: nothing of a package is ever extracted."""
    return package if package.is_dir() else cast("Traversable", zipfile.Path(package))


def _key(vkey: str | None) -> Key | None:
    return None if vkey is None else key_from_vkey(vkey)
