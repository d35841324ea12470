"""Facts written by hand, in the names of vocabulary.yaml, as a question to the PDP: no bank is needed.

The rules it keeps: what is not written is unknown; every mistake is told at once with its line; derived
facts and what the PDP counts itself cannot be written. A consent is written as `consent.covers` and
`profile.…`: whether it covers is then taken as said.

    request.action: release
    strata:
      - {item.class: material, consent.covers: true, people: 30}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from policies import strict
from policies.consent import DuoTerm, Profile, ProfileId, Purpose, Research, Term, Told
from policies.packs import PackError
from policies.request import DonorGroup, Question, Stratum, StratumId, Value
from policies.strict import Data, Document, Mistake, Path, StrictError, shown
from policies.vocabulary import Fact, FactType, Level, Vocabulary, is_value_of

#: Counts of a stratum; `items` and `units` are as many as `people` where they are not written.
_COUNTS = ("people", "items", "units")
#: A consent that allows everything, care included, and one that allows nothing.
_EVERYTHING = (DuoTerm(code="DUO:0000004"), DuoTerm(code="DUO:0000043"))


def read(content: bytes, file: str, vocabulary: Vocabulary, *, on: date) -> Question:
    """The question of a file; `on` is its day unless the file says `as_of`.

    One stratum may be written without `strata`, beside the request's facts. Raises `PackError` with
    every mistake.
    """
    try:
        document = strict.load(content, file)
    except StrictError as error:
        raise PackError(error.mistakes) from error
    reader = _Reader(document, vocabulary)
    question = reader.question(on)
    if reader.mistakes:
        raise PackError(tuple(sorted(reader.mistakes)))
    return question


class _Reader:
    """Reads one file; owns the list of mistakes until it is done."""

    def __init__(self, document: Document, vocabulary: Vocabulary) -> None:
        self.mistakes: list[Mistake] = []
        self._document = document
        self._vocabulary = vocabulary

    def question(self, on: date) -> Question:
        data = self._document.data
        if not isinstance(data, dict):
            self._note(
                (), "not_a_mapping", "must map names of facts to values", "必须是事实名到取值的对应"
            )
            return Question(as_of=on, facts={}, purpose=Purpose(research=Research.GENERAL))
        as_of = data.get("as_of", on)
        if not isinstance(as_of, date):
            self._note(("as_of",), "bad_date", f"`{as_of}` is no date", f"`{as_of}` 不是日期")
            as_of = on
        rows = data.get("strata")
        places: list[tuple[Path, dict[str, Data]]] = []
        if rows is None:
            beside = {name: data[name] for name in data if self._is_of_stratum(name)}
            places = [((), beside)] if beside else []
        elif isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            places = [(("strata", n), row) for n, row in enumerate(rows) if isinstance(row, dict)]
        else:
            self._note(
                ("strata",), "wrong_type", "must be a list of mappings", "必须是由映射组成的列表"
            )
        apart = {"as_of", "strata"} | (
            {n for n in data if self._is_of_stratum(n)} if not rows else set()
        )
        given = {name: value for name, value in data.items() if name not in apart}
        facts = dict(self._facts((), given, Level.REQUEST))
        said = {name: facts.pop(name) for name in list(facts) if name.startswith("purpose.")}
        profiles: dict[ProfileId, Profile] = {}
        strata: list[Stratum] = []
        for number, (path, row) in enumerate(places, 1):
            stratum, profile = self._stratum(f"s{number}", path, row)
            strata.append(stratum)
            profiles[profile.id] = profile
        return Question(
            as_of=as_of,
            facts=facts,
            purpose=_purpose(facts, said),
            profiles=profiles,
            strata=tuple(strata),
            donor_groups=tuple(DonorGroup(strata=(s.id,), people=s.people) for s in strata),
        )

    def _stratum(self, name: str, path: Path, row: dict[str, Data]) -> tuple[Stratum, Profile]:
        counts: dict[str, int] = {}
        for count in _COUNTS:
            value = row.get(count, counts.get("people", 1))
            if type(value) is not int or value < 0:
                self._note(
                    (*path, count),
                    "bad_value",
                    "must be a whole number from nought up",
                    "必须是非负整数",
                )
                value = 0
            counts[count] = value
        given = {key: value for key, value in row.items() if key not in _COUNTS}
        facts = dict(self._facts(path, given, Level.STRATUM))
        said = {key: facts.pop(key) for key in list(facts) if key.startswith("profile.")}
        covers = facts.pop("consent.covers", None)
        profile = _profile(ProfileId(name), covers, said)
        stratum = Stratum(id=StratumId(name), profile=profile.id, facts=facts, **counts)
        return stratum, profile

    def _is_of_stratum(self, name: str) -> bool:
        fact = self._vocabulary.facts.get(name)
        return name in _COUNTS or (fact is not None and fact.level is Level.STRATUM)

    def _facts(
        self, path: Path, given: Mapping[str, Data], level: Level
    ) -> Iterator[tuple[str, Value]]:
        for name, raw in given.items():
            fact = self._vocabulary.facts.get(name)
            wrong = self._wrong(name, fact, level)
            value: Any = raw
            if fact is not None and fact.type is FactType.SET and isinstance(raw, list):
                value = frozenset(one for one in raw if isinstance(one, str))
                value = value if len(value) == len(raw) else raw
            if wrong is not None:
                self._note((*path, name), *wrong)
            elif fact is not None and not is_value_of(value, fact):
                en = f"`{shown(raw)}` is no {fact.type} that it can be"
                zh = f"`{shown(raw)}` 不是 {fact.type} 类型的该事实的可能取值"
                self._note((*path, name), "bad_value", en, zh)
            else:
                yield name, value

    def _wrong(self, name: str, fact: Fact | None, level: Level) -> tuple[str, str, str] | None:
        if fact is None:
            return "unknown_fact", f"unknown fact `{name}`", f"未知事实 `{name}`"
        if fact.derived is not None:
            en, zh = (
                f"`{name}` is derived and cannot be given",
                f"`{name}` 是派生事实，不能直接给出",
            )
            return "derived_fact_given", en, zh
        if fact.level is not level:
            en, zh = f"`{name}` is a {fact.level} fact", f"`{name}` 是 {fact.level} 层级的事实"
            return "out_of_sight", en, zh
        return None

    def _note(self, path: Path, code: str, en: str, zh: str) -> None:
        self.mistakes.append(self._document.mistake(path, code=code, en=en, zh=zh))


def _profile(name: ProfileId, covers: Value | None, said: Mapping[str, Value]) -> Profile:
    """A consent that covers, or does not, as said; one nobody mapped where it is not said."""
    mapped = said.get("profile.mapped", covers is not None)
    told = said.get("profile.told")
    return Profile(
        id=name,
        mapped=mapped is True and covers is not None,
        permissions=_EVERYTHING if covers is True else (),
        told=frozenset(Told(one) for one in told) if isinstance(told, frozenset) else frozenset(),
        terms={
            term: value
            for term in Term
            if isinstance(value := said.get(f"profile.{term.removeprefix('hgr:')}"), bool)
        },
    )


def _purpose(facts: Mapping[str, Value], said: Mapping[str, Value]) -> Purpose:
    purpose = facts.get("request.purpose")
    research = next((one for one in Research if one == purpose), Research.GENERAL)
    given: Any = {name.removeprefix("purpose."): value for name, value in said.items()}
    given |= {
        name: tuple(sorted(given[name])) for name in ("users", "collaborators") if name in given
    }
    return Purpose(research=research, **given)
