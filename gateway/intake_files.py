"""Files of a sample system, row by row: CSV, TSV, Parquet or JSON Lines, each under the mapping that names its
columns.

The rules it keeps: a file is streamed, never held whole; a row that cannot be read is named with its line and
stops no other; a column nobody mapped is refused before anything is loaded, so that none is lost
without a word. A row of Parquet has no line: it is named by its number, from 1.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from gateway import intake_fhir as fhir
from gateway import intake_miabis as miabis
from gateway.errors import FieldError, ProblemError
from gateway.intake_fhir import FhirMapping
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
    "standard": {"type": "string", "allowed": ["MIABIS"]},
    **fhir.MAPPING,
}

#: By how a file ends, what stands between its cells.
_BETWEEN = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_ENDINGS = sorted({*_BETWEEN, *_JSON_LINES, ".parquet"})
_PARQUET_ROWS = 10_000  # in memory at once: as many as one transaction of `hgr import` takes
#: Bytes read of a column at a time. Without, and without `pre_buffer=False`, whole column chunks are held:
#: 345 MB instead of 137 MB for three million rows in one row group.
_PARQUET_BUFFER = 1 << 20


#: The cells of one line, or why it is none.
_Cells: TypeAlias = Sequence[str] | str


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
    """A mapping, read: our column → theirs. Without a file, columns are called what we or MIABIS call them.

    `miabis`: whether a column that is not named here is read as MIABIS says (gateway/intake_miabis.py).
    `only`: what a column of theirs must say for the row to be one of ours. `fhir`: how its lines are read, where
    they are FHIR Consents; `column` is then the name of an element.
    """

    columns: Mapping[str, Mapped]
    constants: Mapping[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    sha256: str = ""
    miabis: bool = False
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    fhir: FhirMapping | None = None

    def of(self, kind: Kind, header: Iterable[str]) -> FileMapping:
        """This mapping with what it leaves to MIABIS, for a file of these columns.

        What two columns would say is left to the one that is named, and the other is not mapped.
        """
        if not self.miabis:
            return self
        names = list(header)
        columns, ignore, only = dict(self.columns), set(self.ignore), dict(self.only)
        named = {mapped.column for mapped in columns.values()} | ignore
        given = {ours for ours, mapped in columns.items() if mapped.column in names}
        for name in names:
            found = None if name in named else miabis.attribute(kind.name, name)
            if found is None:
                continue
            if found.ours is None:
                ignore.add(name)
                if found.only:
                    only[name] = found.only
            elif found.ours not in {*given, *self.constants}:
                columns[found.ours] = Mapped(column=name, values=found.values)
                given.add(found.ours)
        return replace(self, columns=columns, ignore=frozenset(ignore), only=only)


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
    wrong += fhir.mapping_mistakes(document, kind.name)
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
        miabis=data.get("standard") == "MIABIS",
        fhir=fhir.mapping_from(data),
    )


def by_our_names(kind: Kind) -> FileMapping:
    """The mapping of a file whose columns are called what we call them, or what MIABIS does."""
    return FileMapping(columns={name: Mapped(column=name) for name in kind.columns}, miabis=True)


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
        """Raises `ProblemError` for an ending nobody knows."""
        ending = path.suffix.lower()
        if ending not in _ENDINGS:
            known = ", ".join(_ENDINGS)
            raise ProblemError("invalid_request", f"`{path.name}` must end in one of {known}")
        if mapping.fhir is not None and ending not in _JSON_LINES:
            detail = f"`{path.name}` must end in .ndjson: one FHIR resource a line"
            raise ProblemError("invalid_request", detail)
        self._kind, self._mapping, self._path = kind, mapping, path
        self._file, self._ending = file, ending
        self._text = TextIOWrapper(file, encoding="utf-8-sig", errors="strict", newline="")
        self._size, self._share = path.stat().st_size, 0.0  # the share of a Parquet file's rows

    @property
    def position(self) -> int:
        """Bytes read so far, ahead of the row last given by a buffer at the most; of Parquet by its rows."""
        if (
            self._ending == ".parquet"
        ):  # its columns lie one behind the other: no place in it says more
            return int(self._size * self._share)
        return self._file.tell()

    def rows(self, *, after: int = 0) -> Iterator[Row | list[Bad]]:
        """Every row behind line `after`, or what is wrong with it.

        Raises `ProblemError` for a file that is no UTF-8 text or no Parquet, or whose columns nobody mapped.
        """
        try:
            if self._ending in _JSON_LINES:
                read = self._json()
            elif self._ending == ".parquet":
                header, lines = self._parquet(after)
                read = self._table(header, lines)
            else:
                header, lines = self._csv()
                read = self._table(header, lines)
            for line, said in read:
                if line > after:
                    yield said
        except UnicodeDecodeError as error:
            detail = f"`{self._path.name}` is no UTF-8 text: byte {error.start} of a buffer"
            raise ProblemError("invalid_request", detail) from error

    def _csv(self) -> tuple[list[str], Iterator[tuple[int, _Cells]]]:
        reader = csv.reader(self._text, delimiter=_BETWEEN[self._ending], strict=True)
        header = [name.strip() for name in next(reader, [])]

        def lines() -> Iterator[tuple[int, _Cells]]:
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield reader.line_num, str(error)
                    continue
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    yield reader.line_num, f"{len(cells)} cells under {len(header)} columns"
                    continue
                yield reader.line_num, cells

        return header, lines()

    def _parquet(self, after: int) -> tuple[list[str], Iterator[tuple[int, _Cells]]]:
        """Batch by batch, from the row group on in which row `after` stands."""
        import pyarrow as pa  # noqa: PLC0415 - a tenth of a second that no other command waits for
        from pyarrow import parquet  # noqa: PLC0415 - as above

        def refused(error: Exception) -> ProblemError:
            detail = f"`{self._path.name}` is no Parquet that can be read: {error}"
            return ProblemError("invalid_request", detail)

        try:
            file = parquet.ParquetFile(self._file, buffer_size=_PARQUET_BUFFER, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise refused(error) from error
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        first, begun = 0, 0
        while first < len(groups) and begun + groups[first] <= after:
            begun, first = begun + groups[first], first + 1
        header = list(file.schema_arrow.names)
        mapping = self._mapping.of(self._kind, header)
        unread = mapping.ignore - mapping.only.keys()
        read = [name for name in header if name not in unread]
        wrong = [
            FieldError(
                pointer=f"/{name}", detail=f"column `{name}` holds {kind}, which no cell can say"
            )
            for name in read
            for kind in [file.schema_arrow.field(header.index(name)).type]
            if not _is_plain(kind)
        ]
        if wrong:
            raise ProblemError("invalid_request", wrong[0].detail, errors=tuple(wrong))

        def lines() -> Iterator[tuple[int, _Cells]]:
            number, whole = begun, max(sum(groups), 1)
            batches = file.iter_batches(
                _PARQUET_ROWS, row_groups=list(range(first, len(groups))), columns=read
            )
            try:
                for batch in batches:
                    if number + batch.num_rows <= after:
                        number += batch.num_rows
                        continue
                    columns = [_texts(column) for column in batch.columns]
                    for cells in zip(*columns, strict=True):
                        number += 1
                        yield number, cells
                    self._share = number / whole
            except (pa.ArrowException, OSError) as error:
                raise refused(error) from error

        return read, lines()

    def _table(
        self, header: list[str], lines: Iterator[tuple[int, _Cells]]
    ) -> Iterator[tuple[int, Row | list[Bad]]]:
        mapping = self._mapping.of(self._kind, header)
        _verify_header(self._kind, mapping, header)
        places = {
            ours: header.index(mapped.column)
            for ours, mapped in mapping.columns.items()
            if mapped.column in header
        }
        plan = [
            (ours, at, Cells(self._kind.columns[ours], mapping.columns[ours].ours))
            for ours, at in places.items()
        ]
        constants = [
            (ours, Cells(self._kind.columns[ours], str), text)
            for ours, text in mapping.constants.items()
        ]
        only = [(name, header.index(name), said) for name, said in mapping.only.items()]
        for line, cells in lines:
            if isinstance(cells, str):
                yield line, [_unread(line, cells)]
                continue
            if only and (
                wrong := [_stranger(line, name) for name, at, said in only if cells[at] not in said]
            ):
                yield line, wrong
                continue
            try:
                said = {ours: read[cells[at]] for ours, at, read in plan}
                said |= {ours: read[text] for ours, read, text in constants}
                if all(said[part] is not None for part in self._kind.key):
                    yield line, Row(line=line, cells=said)
                    continue
            except CellError:
                pass  # read once more below, for all that is wrong with it
            texts = {one: cells[at] for one, at in places.items()}
            yield line, read_row(self._kind, line, _ours(mapping, texts))

    def _json(self) -> Iterator[tuple[int, Row | list[Bad]]]:
        mapping, names = self._mapping, set[str]()
        theirs = {mapped.column: ours for ours, mapped in mapping.columns.items()}
        for line, one in enumerate(self._text, start=1):
            if not one.strip():
                continue
            try:
                said = json.loads(one, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                yield line, [_unread(line, str(error))]
                continue
            if not isinstance(said, dict):
                yield line, [_unread(line, "is no JSON object")]
                continue
            if mapping.fhir is not None:
                yield line, self._consent(mapping.fhir, said, line)
                continue
            if not said.keys() <= names:
                names |= said.keys()
                mapping = self._mapping.of(self._kind, sorted(names))
                theirs = {mapped.column: ours for ours, mapped in mapping.columns.items()}
            strange = sorted(said.keys() - theirs.keys() - mapping.ignore)
            if strange:
                yield line, [_unread(line, f"`{strange[0]}` is not mapped")]
                continue
            wrong = [
                _stranger(line, name)
                for name, ours in mapping.only.items()
                if (said.get(name) or "") not in ours
            ]
            if wrong:
                yield line, wrong
                continue
            known = {theirs[name]: said[name] for name in said if name in theirs}
            yield line, read_row(self._kind, line, _ours(mapping, known))

    def _consent(self, how: FhirMapping, said: dict[str, Any], line: int) -> Row | list[Bad]:
        try:
            cells = fhir.read(how, said, line)
        except RecursionError as error:
            return [_unread(line, str(error))]
        if isinstance(cells, list):
            return cells
        ticks = cells["ticks"]
        row = read_row(self._kind, line, _ours(self._mapping, cells))
        if (
            isinstance(row, Row) and not ticks
        ):  # a form is agreed to as it stands: nothing to tick, not unknown
            return Row(line=line, cells={**row.cells, "ticks": []})
        return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. What says a thing twice says nothing for certain (RFC 8259 §4: names should be unique)."""
    said = dict(pairs)
    if len(said) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands twice in one object")
    return said


def _ours(mapping: FileMapping, said: dict[str, Any]) -> dict[str, Any]:
    for ours, mapped in mapping.columns.items():
        if isinstance(said.get(ours), str):
            said[ours] = mapped.ours(said[ours].strip())
    return {**said, **mapping.constants}


def _verify_header(kind: Kind, mapping: FileMapping, header: list[str]) -> None:
    mapped = {one.column for one in mapping.columns.values()}
    wrong = [
        FieldError(pointer=f"/{name}", detail=f"column `{name}` {why}")
        for name in header
        for why in [
            "stands here twice"
            if header.count(name) > 1
            else "is not mapped: name it under `columns`, or `ignore` it"
            if name not in mapped | mapping.ignore
            else ""
        ]
        if why
    ]
    given = {ours for ours, one in mapping.columns.items() if one.column in header}
    given |= mapping.constants.keys()
    wrong += [
        FieldError(pointer=f"/{name}", detail=f"no column for `{name}`, by which rows are known")
        for name in kind.key
        if name not in given
    ]
    if wrong:
        raise ProblemError("invalid_request", wrong[0].detail, errors=tuple(wrong))


def _is_plain(kind: Any) -> bool:
    """Whether a column of this Arrow type can be said in the text of a cell."""
    from pyarrow import types as t  # noqa: PLC0415 - as in `_parquet`

    def is_text(one: Any) -> bool:
        return bool(t.is_string(one) or t.is_large_string(one) or t.is_string_view(one))

    if t.is_list(kind) or t.is_large_list(kind):  # ticks
        return is_text(kind.value_type)
    if t.is_dictionary(kind):
        kind = kind.value_type
    return is_text(kind) or t.is_primitive(kind) or t.is_decimal(kind) or t.is_null(kind)


def _texts(column: Any) -> list[str]:
    """The cells of an Arrow column as a text file has them; a moment beyond all calendars says that it is one."""
    from pyarrow import string, types  # noqa: PLC0415 - as in `_parquet`

    if types.is_list(column.type) or types.is_large_list(column.type):
        return [";".join(one or "" for one in value or ()) for value in column.to_pylist()]
    said = column.cast(string()).to_pylist()
    if types.is_timestamp(column.type):
        return [(value or "").replace(" ", "T", 1) for value in said]
    return [value or "" for value in said]


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


def _stranger(line: int, name: str) -> Bad:
    return Bad(
        line=line,
        row="",
        column=name,
        code="not_ours",
        zh="不是来自人的样本",
        en="is no sample of a human being",
    )


def _refused(mistakes: Any) -> ProblemError:
    errors = tuple(
        FieldError(pointer=f"/{m.key.replace('.', '/')}", detail=str(m)) for m in mistakes
    )
    detail = errors[0].detail if errors else "the mapping is no mapping of columns"
    return ProblemError("invalid_request", detail, errors=errors)
