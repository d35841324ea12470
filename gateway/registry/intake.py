"""Intake: the bank's own collections, forms, donors, consents and holdings, from the files of its sample system.

The rules it keeps: a row is known again by its code, so the same file twice changes nothing; a column that
is not in the file leaves what is there as it is; a row that is wrong is named with its line and a stable
code and never half loaded; whoever changes a fact raises its version (`gateway.bank.bump`). What a
consent's ticks mean is not for a file to say: two people sign that.

    batch = load(conn, KINDS["holdings"], rows, diseases, now=now)
    batch.added, batch.changed, batch.same, batch.bad
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.database import insert_many
from gateway.registry.ask import KINDS as ITEM_KINDS
from gateway.registry.consents import SCOPES
from gateway.tables import SHANGHAI, metadata, new_id
from policies.disease import DiseaseTree

_FILE = metadata.tables["intake_file"]
_PROFILE = metadata.tables["consent_profile"]
_COLLECTION, _FORM = metadata.tables["collection"], metadata.tables["consent_form"]
_DONOR, _CONSENT = metadata.tables["donor"], metadata.tables["consent"]
_POSTING = metadata.tables["posting"]
_WITHDRAWAL, _PROJECT = metadata.tables["withdrawal"], metadata.tables["project"]

#: What a cell holds, read: None where it is empty.
Cell = str | int | bool | date | list[str] | None

_IN_CHUNK = 5000  # parameters of one IN: below what either database takes
_REMEMBERED = 20_000  # texts of a column that are kept read
#: Kinds of the catalogue that are data; every other is material.
_DATA = frozenset({"genome", "exome", "clinical"})


class CellError(ValueError):
    """A cell that cannot be what its column says: `code`, and the sentence in both languages."""

    def __init__(self, code: str, zh: str, en: str, *, column: str = "") -> None:
        """All are for whoever mends the file."""
        super().__init__(en)
        self.code, self.zh, self.en, self.column = code, zh, en, column


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One row that was not loaded, and why."""

    line: int
    row: str  # its code, if it has one
    column: str
    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: how a cell is read, and whether a new row needs it. `of`: the table its code stands in."""

    read: Callable[[str], Cell]
    needed: bool = False
    of: str | None = None
    default: Cell = None
    stored: str = ""  # how its table calls it, if otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of row: its table, its columns, and those by which it is known again."""

    name: str
    table: str
    columns: Mapping[str, Column]
    prefix: str
    key: tuple[str, ...] = ("code",)
    by_two: bool = False  # what is registered is corrected by two people, not by a file


class Row(NamedTuple):
    """One row of a file, its cells read. A column that the file does not have is not in `cells`."""

    line: int
    cells: Mapping[str, Cell]


@dataclass(slots=True, kw_only=True)
class Batch:
    """What became of some rows."""

    first: int = 0
    last: int = 0
    added: int = 0
    changed: int = 0
    same: int = 0
    bad: list[Bad] = field(default_factory=list)
    changed_ids: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How many rows were not loaded."""
        return len({one.line for one in self.bad})


# ---- cells ---------------------------------------------------------------------------------------

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_YES = frozenset({"true", "1", "yes", "y", "是", "有"})
_NO = frozenset({"false", "0", "no", "n", "否", "无"})
_MOST = 10**12


def _code(text: str) -> str:
    if not _CODE.match(text):
        raise CellError(
            "not_a_code",
            f"“{text}”不是编码（字母、数字和 _ . : -，至多 80 个）",
            f"`{text}` is no code: letters, digits and _ . : -, at most 80",
        )
    return text


def _text(text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise CellError(
            "not_a_text",
            "须为可显示的文本，至多 200 字",
            "must be printable, at most 200 characters",
        )
    return text


def _day(text: str) -> date:
    try:
        if len(text) == 10:  # ISO 8601 knows shorter spellings that nobody means here
            return date.fromisoformat(text)
        if text[10:11] == "T":  # MIABIS-SAMPLE-04: yyyy-mm-ddThh:mm:ss
            moment = datetime.fromisoformat(text)
            return (moment.astimezone(SHANGHAI) if moment.tzinfo else moment).date()
    except ValueError:
        pass
    raise CellError(
        "not_a_date", f"“{text}”不是日期（YYYY-MM-DD）", f"`{text}` is no date YYYY-MM-DD"
    )


def _flag(text: str) -> bool:
    said = text.lower()
    if said in _YES or said in _NO:
        return said in _YES
    raise CellError(
        "not_a_flag", f"“{text}”不是 true/false（是/否）", f"`{text}` is no true or false"
    )


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= _MOST:
        return int(text)
    raise CellError(
        "not_a_number", f"“{text}”不是非负整数", f"`{text}` is no whole number from nought up"
    )


def _shaped(pattern: re.Pattern[str], code: str, zh: str, en: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.match(text):
            raise CellError(code, f"“{text}”不是{zh}", f"`{text}` is no {en}")
        return text

    return read


_country = _shaped(_COUNTRY, "not_a_country", "两位国家代码", "country of two letters (ISO 3166-1)")
_digest = _shaped(
    _SHA256, "not_a_digest", "SHA-256（64 位小写十六进制）", "SHA-256 in 64 hex digits"
)


#: A Standard PREanalytical Code, SPREC 3.0 and 4.0 (ISBER; doi 10.1089/bio.2017.0109, 10.1089/bio.2024.0010): seven
#: elements. Of a fluid: type, primary container, pre-centrifugation, first and second centrifugation,
#: post-centrifugation, storage; of a solid: type, collection, warm and cold ischaemia, fixation, fixation time,
#: storage. The lists of its codes are ISBER's and grow, so that their shape alone is held here.
_FLUID = re.compile(r"[A-Z][A-Z0-9]{2}-[A-Z0-9]{3}(-[A-Z0-9]){5}\Z")
_SOLID = re.compile(r"[A-Z][A-Z0-9]{2}-[A-Z0-9]{3}(-[A-Z0-9]){2}-[A-Z0-9]{3}(-[A-Z0-9]){2}\Z")
#: The types of sample that are one of our kinds beyond doubt; all are fluids.
SPREC_KINDS = {
    "BLD": "whole_blood",
    "PL1": "plasma",
    "PL2": "plasma",
    "BUF": "blood_cells",
    "BFF": "blood_cells",
    "CEL": "blood_cells",
    "PEL": "blood_cells",
    "RBC": "blood_cells",
}


def _sprec(text: str) -> str:
    if _FLUID.match(text) or (_SOLID.match(text) and text[:3] not in SPREC_KINDS):
        return text
    raise CellError(
        "not_sprec",
        f"“{text}”不是 SPREC 编码（七段：液体 3-3-1-1-1-1-1，固体 3-3-1-1-3-1-1 个字符）",
        f"`{text}` is no SPREC code: seven elements, of a fluid of 3-3-1-1-1-1-1 characters, of a solid "
        "of 3-3-1-1-3-1-1",
    )


def _one_of(*values: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in values:
            known = ", ".join(values)
            raise CellError(
                "not_in_list", f"“{text}”须为以下之一：{known}", f"`{text}` is none of {known}"
            )
        return text

    return read


def _ticks(text: str) -> list[str]:
    """What was ticked, `;` between: `gru;ds:DOID:162`. As a set: sorted, each once."""
    return sorted({_code(one.strip()) for one in text.split(";") if one.strip()})


# ---- kinds ---------------------------------------------------------------------------------------


def _named(table: str, *, needed: bool = True) -> Column:
    return Column(read=_code, needed=needed, of=table)


_KINDS = (
    Kind(
        name="parties",
        table="party",
        prefix="pty",
        by_two=True,
        columns={
            "code": Column(read=_code, needed=True, stored="id"),
            "name_zh": Column(read=_text, needed=True),
            "name_en": Column(read=_text, needed=True),
            "country": Column(read=_country, needed=True),
            "registration": Column(read=_text, default=""),
            "individual": Column(read=_flag, default=False),
            "legal_person": Column(read=_flag),
            "not_for_profit": Column(read=_flag),
            "hkmo_entity": Column(read=_flag, default=False),
        },
    ),
    Kind(
        name="collections",
        table="collection",
        prefix="col",
        columns={
            "code": Column(read=_code, needed=True),
            "name_zh": Column(read=_text, needed=True),
            "name_en": Column(read=_text, needed=True),
            "country": Column(read=_country, needed=True),
            "source_party": _named("party"),
            "owner_consent_needed": Column(read=_flag, default=False),
            "special_region": Column(read=_flag),
            "source_documented": Column(read=_flag),
            "source_lawful": Column(read=_flag),
        },
    ),
    Kind(
        name="forms",
        table="consent_form",
        prefix="frm",
        key=("collection", "version"),
        columns={
            "collection": _named("collection"),
            "version": Column(read=_code, needed=True),
            "title": Column(read=_text, needed=True),
            "valid_from": Column(read=_day, needed=True),
            "valid_to": Column(read=_day),
            "text_sha256": Column(read=_digest, needed=True),
        },
    ),
    Kind(
        name="donors",
        table="donor",
        prefix="dnr",
        columns={
            "code": Column(read=_code, needed=True),
            "sex": Column(read=_one_of("female", "male")),
            "born": Column(read=_day),
            "deceased_on": Column(read=_day),
            "has_capacity": Column(read=_flag),
            "chinese": Column(read=_flag),
            "pedigree": Column(read=_flag),
        },
    ),
    Kind(
        name="consents",
        table="consent",
        prefix="cns",
        columns={
            "code": Column(read=_code, needed=True),
            "donor": _named("donor"),
            "collection": _named("collection"),
            "form": Column(read=_code, needed=True),
            "ticks": Column(read=_ticks, needed=True),
            "signed_on": Column(read=_day, needed=True),
            "written": Column(read=_flag),
            "by_guardian": Column(read=_flag, default=False),
            "guardian_consent": Column(read=_flag),
            "reconsented_on": Column(read=_day),
            "expires_on": Column(read=_day),
        },
    ),
    Kind(
        name="holdings",
        table="holding",
        prefix="hld",
        columns={
            "code": Column(read=_code, needed=True),
            "donor": _named("donor"),
            "collection": _named("collection"),
            "consent": _named("consent", needed=False),
            "kind": Column(read=_one_of(*ITEM_KINDS), needed=True),
            "sprec": Column(read=_sprec),  # says the kind; the code itself stays with the sample system
            "data_class": Column(
                read=_one_of(
                    "genome", "exome", "panel", "transcriptome", "epigenome", "ctDNA",
                    "clinical", "imaging", "protein", "metabolic", "aggregate",
                )
            ),
            "contains_cells": Column(read=_flag),
            "extracted_nucleic_acid": Column(read=_flag),
            "derived": Column(
                read=_one_of("primary", "immortalised", "CDX", "PDX", "organoid", "blank_matrix")
            ),
            "collected_on": Column(read=_day),
            "collected_abroad": Column(read=_flag),
            "disease": Column(read=_code),
            "units": Column(read=_count, default=1),
            "kept": Column(read=_count, default=0),
            "available": Column(read=_flag, default=True),
            "volume_ul": Column(read=_count),
            "sha256": Column(read=_digest),
            "bytes": Column(read=_count),
        },
    ),
)  # fmt: skip
#: What can be loaded, in the order in which one needs the other.
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
#: What donors took back. Each has effects of its own, so it is no row to load: `withdrawal` reads it.
WITHDRAWALS = Kind(
    name="withdrawals",
    table="withdrawal",
    prefix="wdr",
    key=("donor", "scope"),
    columns={
        "donor": _named("donor"),
        "scope": Column(read=_one_of(*SCOPES), needed=True),
        "project": _named("project", needed=False),
        "effective_on": Column(read=_day),
        "channel": Column(read=_text, default="import"),
    },
)


class Cells(dict[str, Cell]):
    """What each text in one column says; the same text is read once. Raises `CellError` for one that is wrong.

    `ours`: what the file's words are in ours.
    """

    def __init__(self, column: Column, ours: Callable[[str], str]) -> None:
        super().__init__()
        self._column, self._ours = column, ours

    def __missing__(self, said: str) -> Cell:
        text = self._ours(said.strip())
        if len(self) >= _REMEMBERED:
            self.clear()
        self[said] = found = self._column.read(text) if text else None
        return found


def read_row(kind: Kind, line: int, said: Mapping[str, Any]) -> Row | list[Bad]:
    """The cells of one row, read; or everything wrong with it. `said`: by column, as the file has it.

    Texts as CSV has them; JSON may also say true, false, whole numbers, null and, for ticks, a list.
    """
    cells: dict[str, Cell] = {}
    wrong: list[Bad] = []
    name = "/".join(str(said.get(part) or "") for part in kind.key)

    def bad(column: str, code: str, zh: str, en: str) -> None:
        wrong.append(Bad(line=line, row=name, column=column, code=code, zh=zh, en=en))

    for column, value in said.items():
        text = _as_text(value)
        if text is None:
            bad(
                column,
                "not_a_text",
                "须为文本、整数、true/false 或者空",
                "is no text, number, true or false",
            )
        elif text == "":
            cells[column] = None
        else:
            try:
                cells[column] = kind.columns[column].read(text)
            except CellError as error:
                bad(column, error.code, error.zh, error.en)
    for part in kind.key:
        if cells.get(part) is None and not any(one.column == part for one in wrong):
            bad(part, "missing", "缺少该值", "is missing")
    return wrong or Row(line=line, cells=cells)


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ";".join(value)
    return None


# ---- loading -------------------------------------------------------------------------------------


def load(
    conn: Connection,
    kind: Kind,
    rows: Sequence[Row],
    diseases: DiseaseTree,
    *,
    now: datetime,
    written_at: datetime | None = None,
) -> Batch:
    """Load rows in the caller's transaction: new ones are added, known ones become what the file says.

    1 the codes they name are looked up; 2 each row is held to what is there; 3 written. A wrong row is
    left out whole and named; it stops no other. `written_at`: when the sample system wrote them, if said.
    """
    batch = Batch(first=rows[0].line, last=rows[-1].line) if rows else Batch()
    known = _Known(conn, kind, rows, diseases, written_at)
    table, fresh = metadata.tables[kind.table], _Fresh(kind, now)
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    seen: set[tuple[Any, ...]] = set()
    profiles: dict[str, dict[str, Any]] = {}
    owner, donors = _OWNER.get(kind.table), set[str]()
    for row in rows:
        wrong: list[Bad] = []
        said = known.resolved(row, profiles, wrong)
        key = tuple([said.get(part) for part in known.key])
        before = known.rows.get(key)
        if not wrong:
            if key in seen:
                wrong.append(
                    _bad(kind, row, kind.key[0], "twice", "同一批中重复", "stands here twice")
                )
            elif before is None:
                wrong += fresh.missing(row, said)
            else:
                wrong += known.refused(row, said, before)
        if wrong:
            batch.bad += wrong
            continue
        seen.add(key)
        if before is None:
            new.append(fresh.row(said))
            donors |= {new[-1][owner]} if owner else set()
        elif all(before[name] == value for name, value in said.items()):
            batch.same += 1
        else:
            changed.append(
                {"at": before["id"], **{n: said.get(n, before[n]) for n in known.written}}
            )
            donors |= {before[owner], said.get(owner, before[owner])} if owner else set()
    known.intern(profiles)
    insert_many(conn, table, new)
    if changed:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in known.written}
        conn.execute(
            sa.update(table).where(table.c.id == sa.bindparam("at")).values(values), changed
        )
    batch.changed_ids = [one["at"] for one in changed]
    batch.added, batch.changed = len(new), len(changed)
    if new or changed:
        bump(conn, donors)
    return batch


#: The column of a table that names the donor its rows are of.
_OWNER = {"donor": "id", "consent": "donor_id", "holding": "donor_id"}


class _Fresh:
    """New rows of a kind: what a file need not say, and what it must."""

    def __init__(self, kind: Kind, now: datetime) -> None:
        table, self._kind = metadata.tables[kind.table], kind
        self._needed = [name for name, column in kind.columns.items() if column.needed]
        row: dict[str, Any] = {one.name: None for one in table.c}
        row |= {
            _stored(kind, name): column.default
            for name, column in kind.columns.items()
            if column.default is not None
        }
        row |= {name: now for name in ("created_at", "recorded_at") if name in row}
        row |= {
            name: value
            for name, value in {
                "invented": False,
                "reserved": 0,
                "ban_checked": False,
                "credit_flag": False,
            }.items()
            if name in row
        }
        self._row = row
        # The time first: ids made one after another stand one after another in every index, and a loading of
        # millions writes at its right edge. What is left cannot be guessed: 60 random bits of each batch.
        moment = int(now.timestamp() * 1000)
        self._id = f"{kind.prefix}_{moment:012x}{secrets.randbits(60):015x}"
        self._made = 0

    def missing(self, row: Row, resolved: Mapping[str, Any]) -> list[Bad]:
        """What a new row would have to say and does not, not even by another column."""
        said = row.cells.get
        if None not in map(said, self._needed):
            return []
        zh, en = "新增的行须有该值", "is missing, and the row is new"
        wrong = [name for name in self._needed if said(name) is None and name not in resolved]
        return [_bad(self._kind, row, name, "missing", zh, en) for name in wrong]

    def row(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """A whole row, with an id of its own."""
        self._made += 1
        return {**self._row, "id": f"{self._id}{self._made:05x}", **said}


def _bad(kind: Kind, row: Row, column: str, code: str, zh: str, en: str) -> Bad:
    name = "/".join(str(row.cells.get(part) or "") for part in kind.key)
    return Bad(line=row.line, row=name, column=column, code=code, zh=zh, en=en)


class _Known:
    """What is there already of the rows of a batch, and of what they name. Few statements, however many."""

    def __init__(
        self,
        conn: Connection,
        kind: Kind,
        rows: Sequence[Row],
        diseases: DiseaseTree,
        written_at: datetime | None,
    ) -> None:
        self._conn, self._kind, self._diseases = conn, kind, diseases
        self._ids: dict[str, dict[str, str]] = {}
        for name, column in kind.columns.items():
            if column.of is not None:
                codes = {str(row.cells[name]) for row in rows if row.cells.get(name) is not None}
                self._ids[name] = self._by_code(column.of, codes)
        self._plan = {
            name: (
                None if name in {"form", "ticks", "sprec"} else _stored(kind, name),
                column.default,
                column.needed,
                self._ids.get(name),
            )
            for name, column in kind.columns.items()
        }
        self._forms = self._all_forms() if kind.table == "consent" else {}
        unnamed = kind.table == "holding" and any("consent" not in row.cells for row in rows)
        self._only_consent = self._consents_of() if unnamed else {}
        self.key = tuple(_stored(kind, part) for part in kind.key)
        self.rows = self._existing(rows)
        table = metadata.tables[kind.table]
        fields = {_stored(kind, name) for name in kind.columns} | {"item_class", "profile_id"}
        self.written = tuple(one.name for one in table.c if one.name in fields)
        stated = kind.table == "holding" and any("units" in row.cells for row in rows)
        self._released = self._released_since(written_at) if stated else frozenset[str]()

    def resolved(
        self, row: Row, profiles: dict[str, dict[str, Any]], wrong: list[Bad]
    ) -> dict[str, Any]:
        """The row as its table has it; what it names and is not there goes to `wrong`."""
        kind, said = self._kind, dict[str, Any]()
        for name, value in row.cells.items():
            stored, default, needed, ids = self._plan[name]
            found = default if value is None else value
            if found is None:
                if needed:
                    wrong.append(_bad(kind, row, name, "missing", "缺少该值", "is missing"))
            elif ids is not None:
                found = ids.get(str(value))
                if found is None:
                    zh, en = f"没有“{value}”", f"there is no `{value}`"
                    wrong.append(_bad(kind, row, name, f"unknown_{name}", zh, en))
            if stored is not None:
                said[stored] = found
        if kind.table == "consent":
            self._profile(row, said, profiles, wrong)
        elif kind.table == "holding":
            self._holding(row, said, wrong)
        elif kind.table == "consent_form" and _ends_before(row, "valid_from", "valid_to"):
            zh, en = "早于 valid_from", "is before `valid_from`"
            wrong.append(_bad(kind, row, "valid_to", "before_begin", zh, en))
        return said

    def refused(self, row: Row, said: Mapping[str, Any], before: Mapping[str, Any]) -> list[Bad]:
        """What a file cannot say of a known row.

        Tubes that went out since it was written are not there again because it says so; and on a party much
        rests: who it is, is corrected by two people.
        """
        if self._kind.by_two:
            differs = [name for name, value in said.items() if before[name] != value]
            zh = "已登记，与文件不符；由两人更正（/v1/corrections）"
            en = "is registered otherwise; two people correct it (/v1/corrections)"
            return [_bad(self._kind, row, name, "registered", zh, en) for name in differs]
        units = row.cells.get("units")
        if before["id"] in self._released and isinstance(units, int) and units > before["units"]:
            zh = f"该文件写成后已有管放行，库存为 {before['units']}；如系盘点更正，请用 --written-at 注明文件时间"
            en = (
                f"tubes of it went out since the file was written and {before['units']} are left; if "
                "they were counted anew since, say with --written-at when"
            )
            return [_bad(self._kind, row, "units", "released_since", zh, en)]
        return []

    def _released_since(self, written_at: datetime | None) -> frozenset[str]:
        ids, p = sorted(row["id"] for row in self.rows.values()), _POSTING.c
        since = sa.true() if written_at is None else p.at >= written_at
        found: set[str] = set()
        for at in range(0, len(ids), _IN_CHUNK):
            query = sa.select(p.holding_id).where(p.target == "released", since)
            found |= set(
                self._conn.execute(
                    query.where(p.holding_id.in_(ids[at : at + _IN_CHUNK]))
                ).scalars()
            )
        return frozenset(found)

    def intern(self, profiles: Mapping[str, dict[str, Any]]) -> None:
        """Write the profiles that are not there: one for each form and set of ticks."""
        if profiles:
            ids = sorted(profiles)
            there = set(self._select(_PROFILE, "id", ids, "id"))
            missing = [profiles[one] for one in ids if one not in there]
            if missing:
                self._conn.execute(sa.insert(_PROFILE), missing)

    def _profile(
        self,
        row: Row,
        said: dict[str, Any],
        profiles: dict[str, dict[str, Any]],
        wrong: list[Bad],
    ) -> None:
        form, ticks = row.cells.get("form"), row.cells.get("ticks")
        if "form" not in row.cells and "ticks" not in row.cells:
            return
        if form is None or not isinstance(ticks, list):
            zh, en = "form 与 ticks 须同时给出", "`form` and `ticks` go together"
            wrong.append(_bad(self._kind, row, "form", "missing", zh, en))
            return
        form_id = self._forms.get((str(said.get("collection_id")), str(form)))
        if form_id is None:
            zh, en = f"该收集来源没有知情同意书“{form}”", f"the collection has no form `{form}`"
            wrong.append(_bad(self._kind, row, "form", "unknown_form", zh, en))
            return
        text = json.dumps([form_id, ticks])
        profile_id = f"cpr_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        profiles[profile_id] = {"id": profile_id, "form_id": form_id, "ticks": ticks}
        said["profile_id"] = profile_id

    def _holding(self, row: Row, said: dict[str, Any], wrong: list[Bad]) -> None:
        is_new = (row.cells["code"],) not in self.rows
        kind = self._kind_of(row, wrong, is_new=is_new)
        if kind is not None:
            said["kind"] = kind
            data = kind in _DATA
            said["item_class"] = "information" if data else "material"
            if data and "data_class" not in said:
                said["data_class"] = kind
            if data and (row.cells.get("units") not in {None, 1} or row.cells.get("kept")):
                zh, en = "数据的 units 为 1，kept 为 0", "of data, `units` is 1 and `kept` nought"
                wrong.append(_bad(self._kind, row, "units", "not_tubes", zh, en))
        disease = row.cells.get("disease")
        if disease is not None and disease not in self._diseases:
            zh, en = f"疾病本体中没有“{disease}”", f"the disease ontology has no `{disease}`"
            wrong.append(_bad(self._kind, row, "disease", "unknown_disease", zh, en))
        if is_new and "consent" not in row.cells and not wrong:
            found = self._only_consent.get(
                (said.get("donor_id", ""), said.get("collection_id", "")), ()
            )
            if len(found) > 1:
                zh, en = (
                    "该捐献者在此有多份知情同意，须指明",
                    "the donor has several consents there: name one",
                )
                wrong.append(_bad(self._kind, row, "consent", "consent_ambiguous", zh, en))
            said["consent_id"] = found[0] if len(found) == 1 else None

    def _kind_of(self, row: Row, wrong: list[Bad], *, is_new: bool) -> Cell:
        """The kind as it is said, or as the type of sample in the SPREC code says it."""
        kind, sprec = row.cells.get("kind"), row.cells.get("sprec")
        if not isinstance(sprec, str):
            return kind
        meant = SPREC_KINDS.get(sprec[:3])
        if kind is not None and meant not in {None, kind}:
            zh, en = f"与 kind“{kind}”不符", f"is of another kind than `{kind}`"
            wrong.append(_bad(self._kind, row, "sprec", "sprec_differs", zh, en))
        elif kind is None and meant is None and is_new:
            zh = f"SPREC 样本类型“{sprec[:3]}”不能确定对应何种 kind，须写明 kind"
            en = f"type `{sprec[:3]}` of its SPREC code is none of our kinds for certain: say which"
            wrong.append(_bad(self._kind, row, "kind", "sprec_type_unknown", zh, en))
        return kind or (meant if "kind" not in row.cells else None)

    def _by_code(self, table: str, codes: set[str]) -> dict[str, str]:
        """Code → id. A party is named by its id."""
        source = metadata.tables[table]
        column = "id" if table == "party" else "code"
        return {row[1]: row[0] for row in self._pairs(source, "id", column, sorted(codes))}

    def _all_forms(self) -> dict[tuple[str, str], str]:
        rows = self._conn.execute(sa.select(_FORM.c.collection_id, _FORM.c.version, _FORM.c.id))
        return {(row.collection_id, row.version): row.id for row in rows}

    def _consents_of(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Donor and collection → the consents there."""
        donors = sorted(self._ids["donor"].values())
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for at in range(0, len(donors), _IN_CHUNK):
            query = sa.select(_CONSENT.c.donor_id, _CONSENT.c.collection_id, _CONSENT.c.id)
            chunk = _CONSENT.c.donor_id.in_(donors[at : at + _IN_CHUNK])
            for row in self._conn.execute(query.where(chunk)):
                place = (row.donor_id, row.collection_id)
                found[place] = (*found.get(place, ()), row.id)
        return found

    def _existing(self, rows: Sequence[Row]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        table = metadata.tables[self._kind.table]
        last = self.key[-1]
        values = sorted({str(row.cells.get(self._kind.key[-1])) for row in rows})
        found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        for at in range(0, len(values), _IN_CHUNK):
            query = sa.select(table).where(table.c[last].in_(values[at : at + _IN_CHUNK]))
            for row in self._conn.execute(query).mappings():
                found[tuple(row[name] for name in self.key)] = dict(row)
        return found

    def _pairs(
        self, table: sa.Table, first: str, second: str, values: Sequence[str]
    ) -> Iterable[tuple[str, str]]:
        for at in range(0, len(values), _IN_CHUNK):
            chunk = table.c[second].in_(values[at : at + _IN_CHUNK])
            for row in self._conn.execute(sa.select(table.c[first], table.c[second]).where(chunk)):
                yield row[0], row[1]

    def _select(self, table: sa.Table, what: str, values: Sequence[str], by: str) -> Iterable[str]:
        return (first for first, _ in self._pairs(table, what, by, values))


def _stored(kind: Kind, name: str) -> str:
    """How the table calls a column: what names another row ends in `_id`."""
    column = kind.columns[name]
    return column.stored or (f"{name}_id" if column.of is not None else name)


def _ends_before(row: Row, begin: str, end: str) -> bool:
    first, last = row.cells.get(begin), row.cells.get(end)
    return isinstance(first, date) and isinstance(last, date) and last < first


def withdrawal(conn: Connection, row: Row) -> tuple[dict[str, Any], bool]:
    """A donor's withdrawal as `gateway.pep` is asked for it, and whether it is recorded already.

    It takes effect on the Shanghai day it names, else at once. Raises `CellError` for a donor or project
    that nobody knows, or a study without its project.
    """
    cells = row.cells
    donor = conn.execute(sa.select(_DONOR.c.id).where(_DONOR.c.code == cells["donor"])).scalar()
    if donor is None:
        code = cells["donor"]
        raise CellError("unknown_donor", f"没有“{code}”", f"there is no `{code}`", column="donor")
    project = cells.get("project")
    if (cells["scope"] == "study") != (project is not None):
        zh, en = (
            "study 须指明 project，其他不得指明",
            "`study` goes with its project, and no other does",
        )
        raise CellError("missing" if project is None else "not_in_list", zh, en, column="project")
    if project is not None:
        known = sa.select(_PROJECT.c.id).where(_PROJECT.c.id == project)
        if conn.execute(known).first() is None:
            zh, en = f"没有“{project}”", f"there is no `{project}`"
            raise CellError("unknown_project", zh, en, column="project")
    w, day = _WITHDRAWAL.c, cells.get("effective_on")
    same = sa.select(w.id).where(
        w.donor_id == donor, w.scope == cells["scope"], w.project_id.is_not_distinct_from(project)
    )
    effective = datetime.combine(day, time.min, SHANGHAI) if isinstance(day, date) else None
    asked = {
        "donor_id": donor,
        "scope": cells["scope"],
        "project_id": project,
        "channel": cells.get("channel") or "import",
        "effective_at": effective,
    }
    return asked, conn.execute(same).first() is not None


# ---- how far a file has come ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the loading of one file has come. `done_at` None: it was broken off behind `line`, or
    some of its rows were `wrong` and may be right by now.
    """

    id: str
    line: int
    wrong: int
    done_at: datetime | None
    feed_at: datetime | None


def reached(conn: Connection, kind: Kind, sha256: str, mapping_sha256: str) -> Reached | None:
    """How far a file, read by a mapping, was loaded before; None if it never was."""
    f = _FILE.c
    row = conn.execute(
        sa.select(f.id, f.line, f.wrong, f.done_at, f.feed_at).where(
            f.kind == kind.name, f.sha256 == sha256, f.mapping_sha256 == mapping_sha256
        )
    ).one_or_none()
    return None if row is None else Reached(*row)


def begin(
    conn: Connection, kind: Kind, sha256: str, mapping_sha256: str, *, now: datetime
) -> Reached:
    """Remember that a file is being loaded; of one that another process has just begun, how far that came."""
    there = reached(conn, kind, sha256, mapping_sha256)
    if there is not None:
        return there
    file_id = new_id("itk")
    row = {
        "id": file_id,
        "kind": kind.name,
        "sha256": sha256,
        "mapping_sha256": mapping_sha256,
        "line": 0,
        "wrong": 0,
        "begun_at": now,
        "done_at": None,
        "feed_at": None,
    }
    conn.execute(sa.insert(_FILE).values(row))
    return Reached(id=file_id, line=0, wrong=0, done_at=None, feed_at=None)


def come(conn: Connection, file_id: str, line: int, *, wrong: int) -> None:
    """Remember that all up to a line is loaded, but for so many more rows that are wrong.

    In the transaction that loads it, so that it is true.
    """
    said = {"line": line, "wrong": _FILE.c.wrong + wrong}
    conn.execute(sa.update(_FILE).where(_FILE.c.id == file_id).values(said))


def finish(conn: Connection, file_id: str, *, now: datetime) -> None:
    """The file is behind us: nothing of it is to be done again, unless rows were wrong.

    Those may be right once what they name is there: the next loading looks at all of it again.
    """
    of = _FILE.c.id == file_id
    whole = sa.update(_FILE).where(of, _FILE.c.wrong == 0)
    conn.execute(whole.values(done_at=now))
    again = sa.update(_FILE).where(of, _FILE.c.wrong > 0)
    conn.execute(again.values(line=0, wrong=0))


def heard(conn: Connection, file_id: str, written_at: datetime | None) -> None:
    """A file that came to its end has told how its rows stand: as of `written_at`, or of when it was begun.

    The same bytes again tell nothing new, unless it is said when they were written. It raises no version: a
    decision that did not see it yet refers where it need not, and readers keep what no row has changed.
    """
    said = _FILE.c.begun_at if written_at is None else written_at
    conn.execute(sa.update(_FILE).where(_FILE.c.id == file_id).values(feed_at=said))


def last_feed(conn: Connection) -> datetime | None:
    """Of when the newest rows of holdings speak that were loaded from a file; None: none ever was."""
    query = sa.select(sa.func.max(_FILE.c.feed_at)).where(_FILE.c.kind == "holdings")
    return conn.execute(query).scalar()


def is_stale(last: datetime | None, hours: int, *, now: datetime) -> bool:
    """Whether a feed is older than it may be. One that never came is."""
    return last is None or now - last > timedelta(hours=hours)
