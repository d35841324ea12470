"""A decision as a document: canonical bytes that hold all it rests on, so it can be run again.

The rules it keeps: what was asked and what was decided stand side by side; rules are named by id,
number and edition, their texts stay in the packs; no donor, sample or person is named. Strata and
donor groups are sorted, so that how they were gathered leaves no trace. The bytes are canonical JSON
(RFC 8785, JCS), the same data in the same bytes everywhere: ASCII keys, so that their order by code
unit is their order by character; no floats; integers every JSON reader holds exactly; text verbatim
(never normalised), but no lone surrogates. What breaks one of these is refused, not bent.

    again = replay(content, load())
    assert again.same, again.differs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any, NoReturn, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

from policies.consent import Profile, ProfileId, Purpose
from policies.decision import (
    Decision,
    Deny,
    Finding,
    Hold,
    Obligation,
    Owner,
    Permit,
    Refer,
    Selection,
)
from policies.findings import DUTIES_SAID, PACK, SAID
from policies.pdp import decide
from policies.request import DonorGroup, Facts, PolicyError, Question, Stratum, Value
from policies.rules import DRAFT, Law, Rule

#: What canonical JSON holds here.
Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

#: Of this layout; a reader refuses any other.
VERSION = 1
MAX_SHOWN = 80  # characters of a value in the first difference
MAX_INTEGER = 2**53 - 1  # RFC 8785 §3.2.2.3, I-JSON: ±(2^53-1)

_PLAIN = frozenset({str, int, bool, type(None)})
_T = TypeVar("_T")
_PURPOSE = TypeAdapter(Purpose)
_PROFILE = TypeAdapter(Profile)
_STRATUM = TypeAdapter(Stratum)
_GROUP = TypeAdapter(DonorGroup)
_DATE = TypeAdapter(date)
_BARE = TypeAdapter(Finding)
_DUTY = TypeAdapter(Obligation)
_SELECTION = TypeAdapter(Selection)
_TEXTS = TypeAdapter(frozenset[str])


class DocumentError(PolicyError):
    """Bytes that are not a document of ours, or values that cannot stand in one."""


def encode(question: Question, decision: Decision) -> bytes:
    """The document of a decision.

    Raises DocumentError for values that canonical JSON cannot hold, and for what a draft had a say in:
    that is no decision, and whoever would record it must fail.
    """
    drafts = [name for name in decision.digests if name.endswith(DRAFT)]
    if drafts:
        raise DocumentError(f"decided with the draft `{drafts[0]}`: it is shown and never recorded")
    parts = {name: dumps(part) for name, part in {"v": VERSION, **_asked(question)}.items()}
    parts |= {name: dumps(part) for name, part in _decided(decision).items()}
    parts["findings"] = b"[" + b",".join(map(_finding, decision.findings)) + b"]"
    # As `dumps` writes an object: its names are ASCII, so in the order of their code points.
    return b"{" + b",".join(b'"%s":%s' % (n.encode(), parts[n]) for n in sorted(parts)) + b"}"


def question_from(content: bytes) -> Question:
    """The question of a document, to the letter. Raises DocumentError for any other bytes."""
    return _question(_read(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A decision taken again: the new document, and the parts in which it differs from the old one.

    `digests` names what the law or code was changed in since; with none and yet `differs`, the old
    document is not what the PDP decided.
    """

    content: bytes
    differs: tuple[str, ...]
    digests: tuple[str, ...]
    first: str  # where the first difference is, and what stands there now and then; empty if none

    @property
    def same(self) -> bool:
        """Whether both documents are the same bytes."""
        return not self.differs


def decision_from(content: bytes, law: Law) -> Decision:
    """The decision as it was recorded; texts come from the pack edition each finding names.

    Nothing is decided again, so the outcome stays what it was whatever the law says now. A rule whose
    edition `law` no longer has keeps its number, and its id for a text. Raises DocumentError.
    """
    stored = _read(content)
    known = [rule for edition in law.editions for rule in edition.rules]
    rules = {(rule.pack, rule.edition.isoformat(), rule.id): rule for rule in known}
    says = {r.obligation.id: r.obligation.says or r.says for r in known if r.obligation is not None}
    says |= DUTIES_SAID
    try:
        day = _as(_DATE, stored["as_of"])
        told = [_finding_from(_dict(one), rules, day) for one in _list(stored["findings"])]
        duties = [_obligation_from(_dict(one), says) for one in _list(stored["obligations"])]
        parts: dict[str, Any] = {
            "findings": tuple(told),
            "obligations": tuple(duties),
            "selection": _as(_SELECTION, stored["selection"]),
            "digests": {k: str(v) for k, v in _dict(stored["digests"]).items()},
            "until": None if stored["until"] is None else _as(_DATE, stored["until"]),
        }
        match stored["outcome"]:
            case "permit":
                return Permit(**parts)
            case "hold":
                return Hold(**parts, papers=tuple(str(p) for p in _list(stored["papers"])))
            case "refer":
                return Refer(**parts)
            case "deny":
                return Deny(**parts)
            case other:
                raise DocumentError(f"no such outcome: `{other}`")
    except KeyError as error:
        raise DocumentError(f"the document has no {error}") from error
    except ValidationError as error:
        raise DocumentError(f"the document is misshapen: {error.errors()[0]['msg']}") from error


def replay(content: bytes, law: Law) -> Replay:
    """Decide the question of a document again under a law.

    Raises DocumentError for bytes that are no document, PolicyError if the law cannot judge it.
    """
    old = _read(content)
    question = _question(old)
    again = encode(question, decide(question, law))
    if again == content:
        return Replay(content=again, differs=(), digests=(), first="")
    new = _read(again)
    return Replay(
        content=again,
        differs=_differing(old, new),
        digests=_differing(old.get("digests"), new["digests"]),
        first=_first("", old, new),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """What a document says it was decided by, and for which day."""

    as_of: date
    digests: Mapping[str, str]


def digests_from(content: bytes) -> Digests:
    """The digests of a document; nothing is decided. Raises DocumentError."""
    stored = _read(content)
    try:
        named = _dict(stored["digests"])
        return Digests(
            as_of=_as(_DATE, stored["as_of"]), digests={k: str(v) for k, v in named.items()}
        )
    except KeyError as error:
        raise DocumentError(f"the document has no {error}") from error


def _first(pointer: str, old: Json, new: Json) -> str:
    """The first place, by pointer (RFC 6901), in which two documents differ; `-` is for what is not there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            # RFC 6901 §3: "'~' needs to be encoded as '~0' and '/' needs to be encoded as '~1'".
            place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in old or key not in new:
                before, after = (_short(one[key]) if key in one else "-" for one in (old, new))
                return f"{place}: {before} → {after}"
            if found := _first(place, old[key], new[key]):
                return found
        return ""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return next(filter(None, (_first(f"{pointer}/{at}", *both) for at, both in pairs)), "")
    return f"{pointer}: {_short(old)} → {_short(new)}" if not _same(old, new) else ""


def _short(value: Json) -> str:
    text = dumps(value).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _differing(old: Json, new: Json) -> tuple[str, ...]:
    before, after = _object_or_nothing(old), _object_or_nothing(new)
    return tuple(
        sorted(
            key
            for key in {*before, *after}
            if key not in before or key not in after or not _same(before[key], after[key])
        )
    )


def _object_or_nothing(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _same(old: Json, new: Json) -> bool:
    # To Python, True equals 1; to a reader of the document it does not.
    return dumps(old) == dumps(new)


# ---- writing -------------------------------------------------------------------------------------


def _asked(question: Question) -> dict[str, Json]:
    strata = sorted(question.strata, key=lambda stratum: stratum.id)
    groups = [replace(group, strata=tuple(sorted(group.strata))) for group in question.donor_groups]
    groups.sort(key=lambda group: (group.strata, group.already, group.people))
    return {
        "as_of": question.as_of.isoformat(),
        "facts": _facts(question.facts),
        "purpose": _json(question.purpose),
        "profiles": [_json(question.profiles[one]) for one in sorted(question.profiles)],
        "strata": [{**_object(s), "facts": _facts(s.facts)} for s in strata],
        "donor_groups": [_json(group) for group in groups],
    }


def _facts(facts: Facts) -> Json:
    return {name: _value(value) for name, value in facts.items()}


def _value(value: Value) -> Json:
    """Texts, integers and booleans as they are; a date or a set says what it is."""
    if isinstance(value, frozenset):
        return {"set": [*sorted(value)]}
    return {"date": value.isoformat()} if isinstance(value, date) else value


def _decided(decision: Decision) -> dict[str, Json]:
    decided: dict[str, Json] = {
        "outcome": decision.outcome,
        "obligations": [_obligation(obligation) for obligation in decision.obligations],
        "selection": _json(decision.selection),
        "digests": _json(decision.digests),
        "until": _json(decision.until),
    }
    if isinstance(decision, Hold):
        decided["papers"] = _json(decision.papers)
    return decided


#: What a reader finds in the pack of that edition, under the rule's id.
_IN_THE_PACK = frozenset({"says", "fix", "cite", "confidence", "owner", "paper", "ask"})


#: The canonical bytes of findings by identity, each finding held so that no other can take its place: most
#: are said again, as the same object, of another request.
_written: dict[int, tuple[Finding, bytes]] = {}
_KEPT = 16_384  # then all are forgotten


def _finding(finding: Finding) -> bytes:
    held = _written.get(id(finding))
    if held is None:
        said = {k: v for k, v in _object(finding).items() if k not in _IN_THE_PACK}
        if len(_written) >= _KEPT:
            _written.clear()
        held = _written[id(finding)] = (finding, dumps(said))
    return held[1]


def _obligation(obligation: Obligation) -> Json:
    return {key: value for key, value in _object(obligation).items() if key != "says"}


def _object(value: Any) -> dict[str, Json]:  # any dataclass of ours
    return {name: _json(getattr(value, name)) for name in value.__dataclass_fields__}


def _json(value: Any) -> Json:
    """Our dataclasses, mappings, tuples, sets and dates as JSON."""
    kind = type(value)
    if kind in _PLAIN:
        plain: Json = value
        return plain
    if kind is tuple:
        return [_json(member) for member in value]
    if is_dataclass(kind):
        return _object(value)
    match value:
        case StrEnum() | date():
            return str(value)  # of a date, ISO 8601
        case frozenset():
            return [*sorted(str(member) for member in value)]
        case dict():
            return {str(key): _json(member) for key, member in value.items()}
        case _:
            raise DocumentError(f"a {kind.__name__} cannot stand in a document")


# ---- reading -------------------------------------------------------------------------------------


def _read(content: bytes) -> dict[str, Json]:
    value = loads(content)
    if not isinstance(value, dict) or not _same(value.get("v"), VERSION):
        raise DocumentError(f"not a decision document of version {VERSION}")
    return value


def _question(document: Mapping[str, Json]) -> Question:
    try:
        profiles = [_as(_PROFILE, one) for one in _list(document["profiles"])]
        question = Question(
            as_of=_as(_DATE, document["as_of"]),
            facts=_facts_from(document["facts"]),
            purpose=_as(_PURPOSE, document["purpose"]),
            profiles={ProfileId(profile.id): profile for profile in profiles},
            strata=tuple(_stratum(one) for one in _list(document["strata"])),
            donor_groups=tuple(_as(_GROUP, one) for one in _list(document["donor_groups"])),
        )
    except KeyError as error:
        raise DocumentError(f"the document has no {error}") from error
    except ValidationError as error:
        raise DocumentError(f"the document is misshapen: {error.errors()[0]['msg']}") from error
    # Whatever was read in more than one spelling, or not read at all, shows here.
    if not all(_same(document[key], value) for key, value in _asked(question).items()):
        raise DocumentError("the question does not stand in the document as it would be written")
    return question


def _as(adapter: TypeAdapter[_T], value: Json) -> _T:
    return adapter.validate_json(dumps(value), strict=True)


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise DocumentError("a list is missing")
    return value


def _dict(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise DocumentError("an object is missing")
    return value


def _stratum(value: Json) -> Stratum:
    row = _dict(value)
    return replace(_as(_STRATUM, {**row, "facts": {}}), facts=_facts_from(row["facts"]))


def _facts_from(value: Json) -> dict[str, Value]:
    return {name: _value_from(one) for name, one in _dict(value).items()}


def _value_from(value: Json) -> Value:
    match value:
        case bool() | int() | str():
            return value
        case {"date": day, **rest} if not rest:
            return _as(_DATE, day)
        case {"set": members, **rest} if not rest:
            return _as(_TEXTS, members)
        case _:
            raise DocumentError("a fact is neither a value, a date nor a set")


# ---- a decision as it was recorded ---------------------------------------------------------------


def _finding_from(
    row: Mapping[str, Json], rules: Mapping[tuple[str, str, str], Rule], day: date
) -> Finding:
    """A stored finding with the texts of its rule, or just its id where its edition is not loaded."""
    key = (str(row["pack"]), str(row["edition"]), str(row["rule"]))
    unknown = _only(key[2])
    source = SAID.get(key[2]) if key[0] == PACK else rules.get(key)
    texts: dict[str, Any] = {
        "says": source.says if source else unknown,
        "fix": source.fix if source else unknown,
        "cite": source.cited_on(day) if isinstance(source, Rule) else source.cite if source else (),
        "confidence": source.confidence if source else {},
        "owner": source.owner if source else Owner.BANK,
        "paper": source.paper if source else None,
        "ask": source.ask if source else None,
    }
    bare = _as(_BARE, {**row, "says": {}, "fix": {}, "cite": [], "confidence": {}, "owner": "bank"})
    return replace(bare, **texts)


def _obligation_from(
    row: Mapping[str, Json], duties: Mapping[str, Mapping[str, str]]
) -> Obligation:
    bare = _as(_DUTY, {**row, "says": {}})
    return replace(bare, says=duties.get(bare.id, _only(bare.rule)))


def _only(rule_id: str) -> Mapping[str, str]:
    """The texts of what nobody has a text for any more, in both languages."""
    return {"zh": rule_id, "en": rule_id}


# ---- canonical JSON ------------------------------------------------------------------------------


def dumps(value: Json) -> bytes:
    """The canonical bytes of a value. Raises DocumentError."""
    _verify(value)
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    try:
        # RFC 8785 §3.2.2.2: lone surrogates "MUST cause a compliant JCS implementation to terminate".
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DocumentError("a text holds a lone surrogate") from error


def loads(content: bytes) -> Json:
    """The value of canonical bytes; anything not canonical is refused with DocumentError."""
    try:
        value: Json = json.loads(
            content.decode("utf-8"), parse_float=_refuse_number, parse_constant=_refuse_number
        )
    except (ValueError, RecursionError) as error:
        raise DocumentError("not JSON") from error
    # Also catches duplicate keys, spaces and other spellings of the same data.
    if dumps(value) != content:
        raise DocumentError("not canonical JSON")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise DocumentError(f"`{text}` is not a whole number")


def _verify(value: Json) -> None:
    kind = type(value)  # exact types: a bool is no integer here, and nothing is half a list
    if kind in _PLAIN and kind is not int:
        return
    if isinstance(value, dict):
        for key, member in value.items():
            if not key.isascii():
                raise DocumentError(f"key `{key}` is not ASCII")
            _verify(member)
    elif isinstance(value, list):
        for member in value:
            _verify(member)
    elif not isinstance(value, int):
        raise DocumentError(f"a {kind.__name__} cannot stand in a document")
    elif abs(value) > MAX_INTEGER:
        raise DocumentError(f"`{value}` is beyond 2^53-1")
