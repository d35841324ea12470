"""Strict YAML: bytes to plain data with line numbers kept, and whether the data has its shape.

The rules it keeps: what a lawyer writes is what the machine reads. Only `true` and `false` are
booleans, so a bare `NO` stays Norway; whole numbers are integers, `2023-07-01` is a date, and
everything else is text, floats included. Duplicate keys, anchors, aliases, tags and merge keys are
refused, and size and depth are capped before anything is built. Shapes are Cerberus's, but `True` is no
integer, and every mistake of a file is told with its line.
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
    """One thing wrong in one file: `line` from 1, `key` the path to it, the sentence zh and en."""

    file: str
    line: int
    key: str
    en: str
    zh: str

    def __str__(self) -> str:
        """As printed for the author of a pack."""
        return f"{self.file}:{self.line}: {self.key}: {self.en} ({self.zh})"


class StrictError(Exception):
    """The file is not YAML of our strict kind; the author of the file is at fault."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that was read: its data, and the line (from 1) on which each path begins."""

    file: str
    data: Data
    lines: dict[Path, int]

    def mistake(self, path: Path, *, en: str, zh: str) -> Mistake:
        """Say what is wrong at `path`, or at the nearest place above it that is in the file."""
        known = path
        while known not in self.lines:
            known = known[:-1]
        return Mistake(
            file=self.file,
            line=self.lines[known],
            key=".".join(map(str, path)) or "-",
            en=en,
            zh=zh,
        )


def load(content: bytes, file: str) -> Document:
    """Read one strict YAML document; `file` is only for messages. Raises StrictError."""
    if len(content) > MAX_BYTES:
        raise _error(file, 1, f"larger than {MAX_BYTES} bytes", f"超过 {MAX_BYTES} 字节")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _error(file, 1, "not UTF-8", "不是 UTF-8 编码") from error
    reader = _Reader(file)
    try:
        data = reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _error(file, line, f"not YAML: {error.problem}", "不是合法的 YAML") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow carries no mark
        raise _error(file, 1, f"not YAML: {error}", "不是合法的 YAML") from error
    return Document(file=file, data=data, lines=reader.lines)


def _error(file: str, line: int, en: str, zh: str, path: Path = ()) -> StrictError:
    key = ".".join(map(str, path)) or "-"
    return StrictError(Mistake(file=file, line=line, key=key, en=en, zh=zh))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Reader:
    """Builds data from the parser's events; owns `lines` until the document is handed over."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}

    def document(self, events: Iterator[yaml.Event]) -> Data:
        body = (e for e in events if not isinstance(e, _FRAME))
        first = next(body, None)
        if first is None:
            raise _error(self.file, 1, "the file is empty", "文件为空")
        data = self.value(first, body, ())
        extra = next(body, None)
        if extra is not None:
            raise self.error(extra, "a second document in one file", "一个文件中有两份文档", ())
        return data

    def error(self, event: yaml.Event, en: str, zh: str, path: Path) -> StrictError:
        return _error(self.file, _line(event), en, zh, path)

    def value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Data:
        if len(path) > MAX_DEPTH:
            raise self.error(event, f"deeper than {MAX_DEPTH} levels", "嵌套过深", path[:4])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self.error(event, "anchors and aliases are refused", "不允许锚点与别名", path)
        if getattr(event, "tag", None) is not None:
            raise self.error(event, "tags are refused", "不允许类型标签", path)
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
                raise self.error(event, f"duplicate key `{key}`", f"键 `{key}` 重复", path)
            found[key] = self.value(next(events), events, (*path, key))
            self.lines[*path, key] = _line(event)
        return found

    def key(self, event: yaml.Event, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
            raise self.error(event, "a key must be plain text", "键必须是文本", path)
        if event.value in {"", "<<"}:
            raise self.error(event, f"key `{event.value}` is refused", "不允许的键", path)
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
            raise self.error(event, "a value is missing", "缺少值", path)
        if value in {"true", "false"}:
            return value == "true"
        if _INTEGER.match(value):
            return self.integer(event, value, path)
        if _DATE.match(value):
            try:
                return date.fromisoformat(value)
            except ValueError as error:
                raise self.error(event, f"`{value}` is no date", "日期不存在", path) from error
        return value

    def integer(self, event: yaml.Event, value: str, path: Path) -> int:
        if len(value) > 17 or abs(int(value)) > MAX_INTEGER:  # 17: sixteen digits and a sign
            raise self.error(event, f"`{value}` is beyond 2^53-1", "整数超出范围", path)
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
        return [document.mistake((), en="must be a mapping", zh="顶层必须是映射")]
    # Validators hold state, so each file has its own.
    validator = _StrictValidator(shape, allow_unknown=False)
    validator.validate(document.data, normalize=False)
    return [
        document.mistake(tuple(error.document_path), en=en, zh=zh)
        for error in _leaves(validator._errors)  # noqa: SLF001 - the only list that keeps paths
        for en, zh in [_sentence(error)]
    ]


def _leaves(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    for error in errors:
        if error.is_group_error:
            yield from _leaves(error.child_errors)
        else:
            yield error


def _sentence(error: ValidationError) -> tuple[str, str]:
    match error.rule:
        case "required":
            return "is missing", "缺少该键"
        case None:
            return "is not a key we know", "未知的键"
        case "type":
            return f"must be of type {error.constraint}", f"类型必须是 {error.constraint}"
        case "allowed":
            options = " | ".join(error.constraint)
            return f"`{error.value}` is not one of {options}", f"取值必须是 {options} 之一"
        case _:
            return f"`{error.value}` breaks {error.rule} {error.constraint}", "取值不符合要求"
