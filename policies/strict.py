"""Strict YAML: bytes to plain data with line numbers kept, and whether the data has its shape.

The rules it keeps: what a lawyer writes is what the machine reads. Only `true` and `false` are
booleans, so a bare `NO` stays Norway; whole numbers are integers, `2023-07-01` is a date, and
everything else is text, floats included. Duplicate keys, anchors, aliases, tags and merge keys are
refused, and size and depth are capped before anything is built. Shapes are Cerberus's, but `True` is no
integer, and every mistake of a file is told with its line and a code that stays, in both languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import yaml
from cerberus import TypeDefinition, Validator
from cerberus.errors import ValidationError

#: Plain data: what a file may hold.
Data: TypeAlias = "bool | int | str | date | list[Data] | dict[str, Data]"
#: Where something stands in a file: keys and list positions from the top.
Path = tuple[str | int, ...]
#: What a file must look like, in Cerberus's own schema language.
Shape = dict[str, Any]

MAX_BYTES = 512 * 1024  # ten times the longest pack; the parser is linear in it
MAX_DEPTH = 24  # Cerberus dies at some 400 levels (RecursionError); no rule needs a dozen
MAX_INTEGER = 2**53 - 1  # RFC 8785 §3.2.2.3: what every JSON reader holds exactly

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mistake:
    """One thing wrong in one file: `line` from 1, `key` the path to it, the sentence zh and en.

    `code` says which kind of mistake it is, and never changes once released.
    """

    file: str
    line: int
    key: str
    code: str
    en: str
    zh: str

    def __str__(self) -> str:
        """As printed for the author of a pack."""
        return f"{self.file}:{self.line}: {self.key}: {self.en} ({self.zh}) [{self.code}]"


class StrictError(Exception):
    """The file is not YAML of our strict kind; the author of the file is at fault."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that was read: its data, and the line (from 1) on which each path begins."""

    file: str
    data: Data
    lines: dict[Path, int]

    def mistake(self, path: Path, *, code: str, en: str, zh: str) -> Mistake:
        """Say what is wrong at `path`, or at the nearest place above it that is in the file."""
        known = path
        while known not in self.lines:
            known = known[:-1]
        return Mistake(
            file=self.file,
            line=self.lines[known],
            key=".".join(map(str, path)) or "-",
            code=code,
            en=en,
            zh=zh,
        )


def load(content: bytes, file: str) -> Document:
    """Read one strict YAML document; `file` is only for messages.

    Raises StrictError: with everything wrong in the file, or where reading on would make no sense (it
    is too large or too deep, no YAML, or uses what we refuse of YAML), with that.
    """
    if len(content) > MAX_BYTES:
        en, zh = f"larger than {MAX_BYTES} bytes", f"文件超过 {MAX_BYTES} 字节"
        raise StrictError(_mistake(file, 1, "too_large", en, zh))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        en, zh = f"not UTF-8 at byte {error.start}", f"第 {error.start} 字节处不是 UTF-8 编码"
        raise StrictError(_mistake(file, line, "not_utf8", en, zh)) from error
    reader = _Reader(file)
    try:
        data = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise reader.stopped(line, f"{error.problem}") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow carries no mark
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise reader.stopped(line, getattr(error, "reason", str(error))) from error
    if reader.mistakes:
        raise StrictError(*reader.mistakes)
    return Document(file=file, data=data, lines=reader.lines)


def _mistake(file: str, line: int, code: str, en: str, zh: str, path: Path = ()) -> Mistake:
    key = ".".join(map(str, path)) or "-"
    return Mistake(file=file, line=line, key=key, code=code, en=en, zh=zh)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def shown(value: object) -> str:
    """A value as it stands in a message: no longer than a line."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


class _Reader:
    """Builds data from the parser's events; owns `lines` and `mistakes` until it is done."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.mistakes: list[Mistake] = []

    def document(self, events: Iterator[yaml.Event]) -> Data:
        body = (e for e in events if not isinstance(e, _FRAME))
        first = next(body, None)
        if first is None:
            raise StrictError(_mistake(self.file, 1, "empty_file", "the file is empty", "文件为空"))
        data = self.value(first, body, ())
        extra = next(body, None)
        if extra is not None:
            en, zh = "a second document in one file", "一个文件中有两份文档"
            raise self.error(extra, "second_document", en, zh, ())
        return data

    def stopped(self, line: int, problem: str) -> StrictError:
        en, zh = f"not YAML: {problem}", f"不是合法的 YAML：{problem}"
        return StrictError(*self.mistakes, _mistake(self.file, line, "not_yaml", en, zh))

    def note(self, event: yaml.Event, code: str, en: str, zh: str, path: Path) -> None:
        """What is wrong with one value or key, when the rest can still be read."""
        self.mistakes.append(_mistake(self.file, _line(event), code, en, zh, path))

    def error(self, event: yaml.Event, code: str, en: str, zh: str, path: Path) -> StrictError:
        self.note(event, code, en, zh, path)
        return StrictError(*self.mistakes)

    def value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Data:
        if len(path) > MAX_DEPTH:
            en, zh = f"deeper than {MAX_DEPTH} levels", f"嵌套超过 {MAX_DEPTH} 层"
            raise self.error(event, "too_deep", en, zh, path[:4])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            en, zh = "anchors and aliases are refused", "不允许锚点与别名"
            raise self.error(event, "alias", en, zh, path)
        if getattr(event, "tag", None) is not None:
            raise self.error(event, "tag", "tags are refused", "不允许类型标签", path)
        self.lines[path] = _line(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(events, path)
        return self.scalar(event, path)

    def mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, Data]:
        found: dict[str, Data] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.key(event, path)
            if key in found:
                en, zh = f"duplicate key `{shown(key)}`", f"键 `{shown(key)}` 重复"
                self.note(event, "duplicate_key", en, zh, path)
            found[key] = self.value(next(events), events, (*path, key))
            self.lines[*path, key] = _line(event)
        return found

    def key(self, event: yaml.Event, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
            raise self.error(event, "bad_key", "a key must be plain text", "键必须是普通文本", path)
        if event.value in {"", "<<"}:
            en, zh = f"key `{event.value}` is refused", f"不允许键 `{event.value}`"
            self.note(event, "bad_key", en, zh, path)
        return str(event.value)

    def sequence(self, events: Iterator[yaml.Event], path: Path) -> list[Data]:
        found: list[Data] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(self.value(event, events, (*path, len(found))))
        return found

    def scalar(self, event: yaml.Event, path: Path) -> Data:
        # The parser gives nothing else here: start events were told apart above.
        value = str(getattr(event, "value"))  # noqa: B009 - Event has no declared value
        if getattr(event, "style", None) is not None:
            return value  # quoted or block text is text, whatever it looks like
        if not value:
            self.note(event, "missing_value", "a value is missing", "缺少值", path)
        elif value in {"true", "false"}:
            return value == "true"
        elif _INTEGER.match(value):
            return self.integer(event, value, path)
        elif _DATE.match(value):
            return self.date(event, value, path)
        return value

    def date(self, event: yaml.Event, value: str, path: Path) -> Data:
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.note(event, "bad_date", f"`{value}` is no date", f"日期 `{value}` 不存在", path)
            return value

    def integer(self, event: yaml.Event, value: str, path: Path) -> Data:
        if len(value) > 17 or abs(int(value)) > MAX_INTEGER:  # 17: sixteen digits and a sign
            en, zh = "is beyond 2^53-1", "超出 2^53-1"
            en, zh = f"`{shown(value)}` {en}", f"整数 `{shown(value)}` {zh}"
            self.note(event, "integer_too_large", en, zh, path)
            return value
        return int(value)


_FRAME = (
    yaml.StreamStartEvent,
    yaml.StreamEndEvent,
    yaml.DocumentStartEvent,
    yaml.DocumentEndEvent,
)


# ---- shapes --------------------------------------------------------------------------------------


class _StrictValidator(Validator):  # type: ignore[misc]  # Cerberus ships no types
    """Cerberus, but `True` is not an integer and a date is a date."""

    types_mapping: Mapping[str, TypeDefinition] = {
        **Validator.types_mapping,
        "integer": TypeDefinition("integer", (int,), (bool,)),
    }


def shape_mistakes(document: Document, shape: Shape) -> list[Mistake]:
    """Everything in which a document does not have a shape; empty when it has."""
    if not isinstance(document.data, dict):
        en, zh = "must be a mapping", "顶层必须是映射"
        return [document.mistake((), code="not_a_mapping", en=en, zh=zh)]
    # Validators hold state, so each file has its own.
    validator = _StrictValidator(shape, allow_unknown=False)
    validator.validate(document.data, normalize=False)
    return [
        document.mistake(tuple(error.document_path), code=code, en=en, zh=zh)
        for error in _leaves(validator._errors)  # noqa: SLF001 - the only list that keeps paths
        for code, en, zh in [_sentence(error)]
    ]


def _leaves(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    for error in errors:
        if error.is_group_error:
            yield from _leaves(error.child_errors)
        else:
            yield error


#: What Cerberus calls the types of values.
_TYPES = {
    "string": "文本",
    "integer": "整数",
    "boolean": "true 或 false",
    "date": "日期（YYYY-MM-DD）",
    "list": "列表",
    "dict": "映射",
}


def _sentence(error: ValidationError) -> tuple[str, str, str]:  # noqa: PLR0911 - one arm, one rule
    """The code, and what is wrong in English and in Chinese."""
    value, wanted = shown(error.value), error.constraint
    match error.rule:
        case "required":
            return "missing_key", "is missing", "缺少该键"
        case None:
            return "unknown_key", "is not a key we know", "未知的键"
        case "type":
            return "wrong_type", f"must be of type {wanted}", f"必须是{_TYPES[wanted]}"
        case "allowed":
            options = " | ".join(wanted)
            en, zh = f"is not one of {options}", f"不是下列之一：{options}"
            return "not_allowed", f"`{value}` {en}", f"`{value}` {zh}"
        case "empty":
            return "empty", "must not be empty", "不能为空"
        case "regex":
            en, zh = f"breaks regex {wanted}", f"不符合格式 {wanted}"
            return "bad_form", f"`{value}` {en}", f"`{value}` {zh}"
        case rule:  # the bounds of a number
            return (
                "out_of_range",
                f"`{value}` breaks {rule} {wanted}",
                f"`{value}` 超出范围（{rule} {wanted}）",
            )
