"""Files of a sample system, row by row: CSV, TSV or JSON Lines, each under the mapping that names its columns.

The rules it keeps: a file is streamed, never held whole; a row that cannot be read is named with its line and
stops no other; a column nobody mapped is refused before anything is loaded, so that none is lost
without a word.

A mapping is strict YAML:

    columns: {code: 管号, donor: 受试者编号, kind: {column: 样本类型, values: {血浆: plasma}},
              disease: {column: 诊断, icd10: {C34: "DOID:1324"}}}
    constants: {collection: chb}
    ignore: [备注]
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from gateway.errors import FieldError, ProblemError
from gateway.registry.intake import Bad, CellError, Cells, Kind, Row, read_row
from policies import strict
from policies.strict import Shape

_NAME: Shape = {"type": "string", "empty": False}
_NAMES: Shape = {"type": "dict", "keysrules": _NAME, "valuesrules": _NAME}
#: ICD-10 (WHO) categories and what hangs under them; national versions add characters behind.
_ICD10 = re.compile(r"[A-Z][0-9][0-9A-Z](\.?[0-9A-Za-z]{1,4})?\Z")
_COLUMN: Shape = {
    "anyof": [
        _NAME,
        {
            "type": "dict",
            "schema": {
                "column": {**_NAME, "required": True},
                "values": {**_NAMES, "required": True},
            },
        },
        {
            "type": "dict",
            "schema": {
                "column": {**_NAME, "required": True},
                "icd10": {**_NAMES, "required": True},
            },
        },
    ]
}
_SHAPE: dict[str, Shape] = {
    "columns": {"type": "dict", "keysrules": _NAME, "valuesrules": _COLUMN},
    "constants": _NAMES,
    "ignore": {"type": "list", "schema": _NAME},
}

#: By how a file ends, what stands between its cells; JSON Lines has none.
_BETWEEN = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".jsonl": None, ".ndjson": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Where one of our columns stands in the file, and what its values are called there.

    `icd10`: code → DOID term; a code that is not in it is read as the nearest above it, C34.1 as C34.
    """

    column: str
    values: Mapping[str, str] = field(default_factory=dict)
    icd10: Mapping[str, str] = field(default_factory=dict)

    def ours(self, text: str) -> str:
        """What a cell says in our words; as it stands where it is not mapped."""
        if self.icd10 and _ICD10.match(text):
            for end in range(len(text), 2, -1):
                if text[:end] in self.icd10:
                    return self.icd10[text[:end]]
        return self.values.get(text, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMapping:
    """A mapping, read: our column → theirs. Without a file, columns are called what we call them."""

    columns: Mapping[str, Mapped]
    constants: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    sha256: str = ""


def mapping_from(content: bytes, name: str, kind: Kind) -> FileMapping:
    """A mapping from its bytes. Raises `ProblemError` `invalid_request` naming each mistake with its line."""
    try:
        document = strict.load(content, name)
    except strict.StrictError as error:
        raise _refused(error.mistakes) from error
    wrong = list(strict.shape_mistakes(document, _SHAPE))
    if wrong or not isinstance(document.data, dict):
        raise _refused(wrong)
    data: Any = document.data
    for part in ("columns", "constants"):
        for one in data.get(part, {}):
            if one not in kind.columns or (part == "constants" and one in data.get("columns", {})):
                known = ", ".join(kind.columns)
                en = f"`{one}` is none of {known}, or stands here twice"
                zh = f"“{one}”不是以下之一，或者重复：{known}"
                wrong.append(document.mistake((part, one), code="unknown_column", en=en, zh=zh))
    for ours, theirs in data.get("columns", {}).items():
        for code in [] if isinstance(theirs, str) else theirs.get("icd10", {}):
            if not _ICD10.match(code):
                zh, en = f"“{code}”不是 ICD-10 编码", f"`{code}` is no ICD-10 code"
                path = ("columns", ours, "icd10", code)
                wrong.append(document.mistake(path, code="not_icd10", en=en, zh=zh))
    if wrong:
        raise _refused(wrong)
    columns = {
        ours: Mapped(column=theirs) if isinstance(theirs, str) else Mapped(**theirs)
        for ours, theirs in data.get("columns", {}).items()
    }
    return FileMapping(
        columns=columns,
        constants=data.get("constants", {}),
        ignore=frozenset(data.get("ignore", [])),
        sha256=sha256(content).hexdigest(),
    )


def by_our_names(kind: Kind) -> FileMapping:
    """The mapping of a file whose columns are called what we call them."""
    return FileMapping(columns={name: Mapped(column=name) for name in kind.columns})


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    found = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


class Source:
    """One file being read. `position` is how many of its bytes are behind us."""

    def __init__(self, file: BinaryIO, path: Path, kind: Kind, mapping: FileMapping) -> None:
        """Raises `ProblemError`: for an ending nobody knows, or a header that does not fit the mapping."""
        ending = path.suffix.lower()
        if ending not in _BETWEEN:
            known = ", ".join(sorted(_BETWEEN))
            raise ProblemError("invalid_request", f"`{path.name}` must end in one of {known}")
        self._kind, self._mapping, self._path = kind, mapping, path
        self._file = file
        self._text = TextIOWrapper(file, encoding="utf-8-sig", errors="strict", newline="")
        self._between = _BETWEEN[ending]

    @property
    def position(self) -> int:
        """Bytes read so far, ahead of the row last given by a buffer at the most."""
        return self._file.tell()

    def rows(self, *, after: int = 0) -> Iterator[Row | list[Bad]]:
        """Every row behind line `after`, or what is wrong with it.

        Raises `ProblemError` for a file that is no UTF-8 text, or whose columns nobody mapped.
        """
        try:
            for line, said in self._json() if self._between is None else self._cells():
                if line <= after:
                    continue
                yield said if isinstance(said, list | Row) else read_row(self._kind, line, said)
        except UnicodeDecodeError as error:
            detail = f"`{self._path.name}` is no UTF-8 text: byte {error.start} of a buffer"
            raise ProblemError("invalid_request", detail) from error

    def _cells(self) -> Iterator[tuple[int, Row | dict[str, Any] | list[Bad]]]:
        reader = csv.reader(self._text, delimiter=str(self._between), strict=True)
        header = [name.strip() for name in next(reader, [])]
        self._verify_header(header)
        places = {
            ours: header.index(mapped.column)
            for ours, mapped in self._mapping.columns.items()
            if mapped.column in header
        }
        plan = [
            (ours, at, Cells(self._kind.columns[ours], self._mapping.columns[ours].ours))
            for ours, at in places.items()
        ]
        constants = [
            (ours, Cells(self._kind.columns[ours], str), text)
            for ours, text in self._mapping.constants.items()
        ]
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield reader.line_num, [_unread(reader.line_num, str(error))]
                continue
            if not any(cells):
                continue
            if len(cells) != len(header):
                why = f"{len(cells)} cells under {len(header)} columns"
                yield reader.line_num, [_unread(reader.line_num, why)]
                continue
            try:
                said = {ours: read[cells[at]] for ours, at, read in plan}
                said |= {ours: read[text] for ours, read, text in constants}
                if all(said[part] is not None for part in self._kind.key):
                    yield reader.line_num, Row(line=reader.line_num, cells=said)
                    continue
            except CellError:
                pass  # read once more below, for all that is wrong with it
            yield reader.line_num, self._ours({one: cells[at] for one, at in places.items()})

    def _json(self) -> Iterator[tuple[int, dict[str, Any] | list[Bad]]]:
        theirs = {mapped.column: ours for ours, mapped in self._mapping.columns.items()}
        for line, text in enumerate(self._text, start=1):
            if not text.strip():
                continue
            try:
                said = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield line, [_unread(line, str(error))]
                continue
            if not isinstance(said, dict):
                yield line, [_unread(line, "is no JSON object")]
                continue
            strange = sorted(said.keys() - theirs.keys() - self._mapping.ignore)
            if strange:
                yield line, [_unread(line, f"`{strange[0]}` is not mapped")]
                continue
            yield line, self._ours({theirs[name]: said[name] for name in said if name in theirs})

    def _ours(self, said: dict[str, Any]) -> dict[str, Any]:
        for ours, mapped in self._mapping.columns.items():
            if isinstance(said.get(ours), str):
                said[ours] = mapped.ours(said[ours].strip())
        return {**said, **self._mapping.constants}

    def _verify_header(self, header: list[str]) -> None:
        mapped = {one.column for one in self._mapping.columns.values()}
        wrong = [
            FieldError(pointer=f"/{name}", detail=f"column `{name}` {why}")
            for name in header
            for why in [
                "stands here twice"
                if header.count(name) > 1
                else "is not mapped: name it under `columns`, or `ignore` it"
                if name not in mapped | self._mapping.ignore
                else ""
            ]
            if why
        ]
        given = {ours for ours, one in self._mapping.columns.items() if one.column in header}
        given |= self._mapping.constants.keys()
        wrong += [
            FieldError(
                pointer=f"/{name}", detail=f"no column for `{name}`, by which rows are known"
            )
            for name in self._kind.key
            if name not in given
        ]
        if wrong:
            raise ProblemError("invalid_request", wrong[0].detail, errors=tuple(wrong))


@contextmanager
def opened(path: Path, kind: Kind, mapping: FileMapping) -> Iterator[Source]:
    """A file, open for as long as it is read."""
    with path.open("rb") as file:
        yield Source(file, path, kind, mapping)


def _unread(line: int, why: str) -> Bad:
    return Bad(
        line=line,
        row="",
        column="",
        code="not_a_row",
        zh=f"无法读取：{why}",
        en=f"cannot be read: {why}",
    )


def _refused(mistakes: Any) -> ProblemError:
    errors = tuple(
        FieldError(pointer=f"/{m.key.replace('.', '/')}", detail=str(m)) for m in mistakes
    )
    detail = errors[0].detail if errors else "the mapping is no mapping of columns"
    return ProblemError("invalid_request", detail, errors=errors)
