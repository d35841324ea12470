"""Opening balances: what a bank gave before this gateway kept count, as signed files of two people.

The rules it keeps: a file counts only once another person confirms the digest of exactly these bytes; until
a counter is declared whole it is unknown, and nothing stands on it; once it is, no second file opens it
again but one that says which it corrects, whole, and the corrected file stays.

    format: hgr-opening-1
    bank: bank.example/hgr        # the origin of its log
    through: 2026-10-31           # the last day it speaks of, in Shanghai
    whole: [donors, people_abroad]
    donors:
      - {recipient: pty_x, project: prj_y, class: genome, overseas: true, year: 2025, codes: [D1, D2]}
    people_abroad:                # people known by number only, in all that year
      - {year: 2026, sensitive: 120, all: 150}
    draws:                        # on papers' quotas, before; it cannot be corrected by another file
      - {paper: ppr_z, measure: units, amount: 40}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.registry import determinations, ledger
from gateway.registry.ownership import ownership_of
from gateway.tables import SHANGHAI, metadata, new_id
from policies import strict
from policies.strict import Document, Mistake, Path, Shape

_OPENING = metadata.tables["opening"]
_RELEASED = metadata.tables["released_donor"]
_DONOR = metadata.tables["donor"]
_BANK = metadata.tables["bank"]
_QUOTA = metadata.tables["quota"]

#: The counters a file can declare whole.
DONORS, ABROAD = "donors", "people_abroad"
#: What a line can be of; `material` for tubes, whatever is in them.
CLASSES = (
    "genome", "exome", "panel", "transcriptome", "epigenome", "ctDNA", "clinical", "imaging",
    "protein", "metabolic", "aggregate", "material",
)  # fmt: skip
_NAMED = 50  # mistakes told at once at the most
_CHUNK = 500  # ids in one IN (…): well below the 32,766 variables SQLite takes

_ID = {"type": "string", "required": True, "regex": r"[A-Za-z0-9_.:-]{1,80}"}
_YEAR = {
    "type": "integer",
    "required": True,
    "min": 1998,
    "max": 9999,
}  # 1998: the first HGR measures
_COUNT = {"type": "integer", "required": True, "min": 0}
_SHAPE: Shape = {
    "format": {"type": "string", "required": True, "allowed": ["hgr-opening-1"]},
    "bank": {"type": "string", "required": True},
    "through": {"type": "date", "required": True},
    "whole": {"type": "list", "required": True, "schema": {"allowed": [DONORS, ABROAD], "type": "string"}},
    "corrects": _ID | {"required": False},
    "note": {"type": "string"},
    "donors": {"type": "list", "schema": {"type": "dict", "schema": {
        "recipient": _ID,
        "project": _ID,
        "class": {"type": "string", "required": True, "allowed": list(CLASSES)},
        "overseas": {"type": "boolean", "required": True},
        "year": _YEAR,
        "codes": {"type": "list", "required": True, "empty": False, "schema": {"type": "string"}},
    }}},
    "people_abroad": {"type": "list", "schema": {"type": "dict", "schema": {
        "year": _YEAR, "sensitive": _COUNT, "all": _COUNT,
    }}},
    "draws": {"type": "list", "schema": {"type": "dict", "schema": {
        "paper": _ID, "measure": {"type": "string", "required": True}, "amount": _COUNT,
    }}},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """All openings that count, taken together. `corrected`: ids of those that count no more."""

    whole: frozenset[str] = frozenset()
    years_from: int | None = None  # the first year whose people abroad are known
    people_abroad: Mapping[int, tuple[int, int]]  # year → sensitive, all, known by number only
    corrected: frozenset[str] = frozenset()

    def knows_year(self, year: int) -> bool:
        """Whether all that went abroad in a year is known: the gateway itself counts what came after."""
        return self.years_from is not None and year >= self.years_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A file that has its shape; what it names is not looked up yet."""

    content: bytes
    sha256: str
    document: Document
    data: Mapping[str, Any]

    @property
    def corrects(self) -> str | None:
        """The opening it stands in place of."""
        return self.data.get("corrects")

    def lines(self, of: str) -> list[dict[str, Any]]:
        """Its lines of one kind."""
        return self.data.get(of) or []


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One opening as it is kept; counts once `confirmed_at` is there."""

    id: str
    sha256: str
    through: date
    whole: tuple[str, ...]
    corrects: str | None
    corrected_by: str | None  # a confirmed one that took its place
    proposed_by: str
    proposed_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one kind of line comes to, for the second person to compare: before, and after confirming.

    `of`: what is counted, such as a recipient, project and class; None: not known before.
    """

    counter: str
    of: tuple[str, ...]
    before: int | None
    after: int | None


def opened(conn: Connection) -> Opened:
    """What the openings confirmed so far come to, as of this transaction."""
    rows = conn.execute(
        sa.select(
            _OPENING.c.id,
            _OPENING.c.through,
            _OPENING.c.whole,
            _OPENING.c.people_abroad,
            _OPENING.c.corrects,
        ).where(_OPENING.c.confirmed_at.is_not(None))
    ).all()
    corrected = frozenset(row.corrects for row in rows if row.corrects is not None)
    rows = [row for row in rows if row.id not in corrected]
    people: dict[int, tuple[int, int]] = {}
    for row in rows:
        for year, (sensitive, everybody) in row.people_abroad.items():
            before = people.get(int(year), (0, 0))
            people[int(year)] = (before[0] + sensitive, before[1] + everybody)
    return Opened(
        whole=frozenset(name for row in rows for name in row.whole),
        years_from=min((row.through.year for row in rows if ABROAD in row.whole), default=None),
        people_abroad=people,
        corrected=corrected,
    )


def unknown(conn: Connection) -> tuple[str, ...]:
    """The counters that nobody declared whole yet."""
    whole = opened(conn).whole
    return tuple(name for name in (DONORS, ABROAD) if name not in whole)


def from_file(content: bytes) -> Draft:
    """Read a file and hold it to its shape: no bank is needed, and none is asked.

    Raises `ProblemError` `invalid_request` naming every mistake with its line and code.
    """
    try:
        document = strict.load(content, "opening")
    except strict.StrictError as error:
        raise _refused(error.mistakes) from error
    wrong = strict.shape_mistakes(document, _SHAPE)
    if wrong or not isinstance(document.data, dict):
        raise _refused(wrong)
    return Draft(
        content=content,
        sha256=sha256(content).hexdigest(),
        document=document,
        data=document.data,
    )


def propose(conn: Connection, draft: Draft, *, person_id: str, now: datetime) -> Opening:
    """The first person's word: this is what went before. Nothing counts yet.

    Raises `ProblemError`: `invalid_request` naming every mistake, `already_done` for the same bytes.
    """
    same = conn.execute(
        sa.select(_OPENING.c.id).where(_OPENING.c.sha256 == draft.sha256)
    ).scalar_one_or_none()
    if same is not None:
        raise ProblemError("already_done", f"the same file: opening `{same}`")
    verify(conn, draft, now=now)
    opening_id = new_id("opn")
    conn.execute(
        sa.insert(_OPENING).values(
            id=opening_id,
            sha256=draft.sha256,
            content=draft.content,
            through=draft.data["through"],
            whole=sorted(set(draft.data["whole"])),
            people_abroad={
                str(line["year"]): [line["sensitive"], line["all"]] for line in draft.lines(ABROAD)
            },
            corrects=draft.corrects,
            proposed_by=person_id,
            proposed_at=now,
        )
    )
    return read(conn, opening_id)


def confirm(
    conn: Connection, opening_id: str, draft: Draft, *, digest: str, person_id: str, now: datetime
) -> Opening:
    """The second person's word, quoting the digest of what was read: from here on its lines count.

    `draft` is `from_file(content(…))`. Raises `ProblemError`: `not_found`, `same_person`, `already_done`,
    `invalid_request` for another digest, or as `propose` does, for other openings may count by now.
    """
    made = read(conn, opening_id)
    if made.confirmed_at is not None:
        raise ProblemError("already_done", f"opening `{opening_id}` is confirmed already")
    if made.proposed_by == person_id:
        raise ProblemError("same_person", "whoever proposed an opening cannot confirm it")
    if not digest == made.sha256 == draft.sha256 == sha256(content(conn, opening_id)).hexdigest():
        wrong = FieldError(pointer="/sha256", detail="is not the digest of the file proposed")
        raise ProblemError("invalid_request", wrong.detail, errors=(wrong,))
    return count(conn, opening_id, draft, person_id=person_id, now=now)


def count(
    conn: Connection, opening_id: str, draft: Draft, *, person_id: str, now: datetime
) -> Opening:
    """From here on the lines of a proposed opening count: for `confirm`, and to foresee what that changes.

    Raises `ProblemError` `invalid_request` as `propose` does.
    """
    donors = verify(conn, draft, now=now)
    groups = _groups(conn, draft)
    rows = [
        {
            "source_id": opening_id,
            "party_id": line["recipient"],
            "group_id": groups[line["recipient"]],
            "project_id": line["project"],
            "data_class": line["class"],
            "donor_id": donors[code],
            "overseas": line["overseas"],
            "year": line["year"],
        }
        for line in draft.lines(DONORS)
        for code in line["codes"]
    ]
    if rows:
        conn.execute(sa.insert(_RELEASED), rows)
    quotas = _quotas(conn, draft.lines("draws"))
    for line in draft.lines("draws"):
        quota = quotas[line["paper"], line["measure"]]
        ledger.open_quota(conn, quota.id, line["amount"], cause_id=opening_id, now=now)
    conn.execute(
        sa.update(_OPENING)
        .where(_OPENING.c.id == opening_id)
        .values(confirmed_by=person_id, confirmed_at=now)
    )
    bump(conn)
    return read(conn, opening_id)


def read(conn: Connection, opening_id: str) -> Opening:
    """One opening; `ProblemError` `not_found`."""
    found = _openings(conn, _OPENING.c.id == opening_id)
    if not found:
        raise ProblemError("not_found", f"there is no opening `{opening_id}`")
    return found[0]


def listed(conn: Connection) -> tuple[Opening, ...]:
    """All openings, oldest first."""
    return _openings(conn, sa.true())


def content(conn: Connection, opening_id: str) -> bytes:
    """The file, as it was sent; `ProblemError` `not_found`."""
    found: bytes | None = conn.execute(
        sa.select(_OPENING.c.content).where(_OPENING.c.id == opening_id)
    ).scalar_one_or_none()
    if found is None:
        raise ProblemError("not_found", f"there is no opening `{opening_id}`")
    return found


def named(made: Opening) -> dict[str, str]:
    """What the log calls it."""
    return {"opening": made.id, "sha256": made.sha256}


# ---- what would be wrong, and what would change --------------------------------------------------


def verify(conn: Connection, draft: Draft, *, now: datetime) -> dict[str, str]:
    """The donor ids of its codes, if all it names is there and nothing is counted twice.

    Raises `ProblemError` `invalid_request` naming every mistake.
    """
    codes = {code for line in draft.lines(DONORS) for code in line["codes"]}
    donors = _donors(conn, codes)
    wrong = [
        draft.document.mistake(path, code=code, en=en, zh=zh)
        for path, code, en, zh in (
            *_wrong_head(conn, draft, now),
            *_wrong_donors(conn, draft, donors),
            *_wrong_years(draft),
            *_wrong_draws(conn, draft),
        )
    ]
    if wrong:
        raise _refused(wrong)
    return donors


def changes(conn: Connection, draft: Draft) -> tuple[Change, ...]:
    """What confirming it would change, counter by counter, gone lines of what it corrects included.

    Nothing is written.
    """
    before = opened(conn)
    gone = before.corrected | ({draft.corrects} if draft.corrects else set())

    def found() -> Iterator[Change]:
        for name in sorted(set(draft.data["whole"]) - before.whole):
            yield Change(counter="whole", of=(name,), before=None, after=None)
        lines: dict[tuple[str, ...], set[str]] = {key: set() for key in _keys(conn, draft.corrects)}
        for line in draft.lines(DONORS):
            key = (line["recipient"], line["project"], line["class"])
            lines.setdefault(key, set()).update(line["codes"])
        for whom, codes in sorted(lines.items()):
            there, stays = (_coded(conn, whom, without) for without in (before.corrected, gone))
            yield Change(counter=DONORS, of=whom, before=len(there), after=len(stays | codes))
        old = _stated(conn, draft.corrects)
        new = {line["year"]: (line["sensitive"], line["all"]) for line in draft.lines(ABROAD)}
        for year in sorted({*old, *new}):
            for place, kind in enumerate(("sensitive", "all")):
                was = before.people_abroad.get(year, (0, 0))[place]
                after = was - old.get(year, (0, 0))[place] + new.get(year, (0, 0))[place]
                yield Change(counter=ABROAD, of=(str(year), kind), before=was, after=after)
        for line in draft.lines("draws"):
            quota = (line["paper"], line["measure"])
            yield Change(counter="draws", of=quota, before=None, after=line["amount"])

    return tuple(found())


Wrong = tuple[Path, str, str, str]


def _wrong_head(conn: Connection, draft: Draft, now: datetime) -> Iterator[Wrong]:
    bank = conn.execute(sa.select(_BANK.c.origin, _BANK.c.created_at)).one()
    through, today = draft.data["through"], now.astimezone(SHANGHAI).date()
    if draft.data["bank"] != bank.origin:
        yield ("bank",), "other_bank", f"this bank is `{bank.origin}`", f"本库为 `{bank.origin}`"
    if through > today:
        yield ("through",), "not_yet", "lies ahead", "在今日之后"
    first = bank.created_at.astimezone(SHANGHAI).date()
    if through < first - timedelta(days=1):
        # What went out between the two nobody would have counted.
        en = f"leaves out the days before this gateway kept count, from {first}"
        yield ("through",), "gap", en, f"至本网关开始计数之日（{first}）之间有缺"
    for place, name in _twice(draft.data["whole"]):
        yield ("whole", place), "repeated_line", f"names `{name}` twice", f"`{name}` 重复"
    if draft.corrects is not None:
        yield from _wrong_correction(conn, draft.corrects)
    standing = opened(conn)
    # Of what it corrects nothing counts any more, so its counters are open again.
    mine = next((each.whole for each in listed(conn) if each.id == draft.corrects), ())
    for name in (DONORS, ABROAD):
        if name not in standing.whole or name in mine:
            continue
        en, zh = (
            "is opened already; a file that `corrects` it can",
            "已经期初建账；须以 corrects 更正",
        )
        if draft.lines(name) and draft.corrects is None:
            yield (name,), "already_open", f"`{name}` {en}", f"`{name}` {zh}"
        if name in draft.data["whole"]:
            place = draft.data["whole"].index(name)
            yield ("whole", place), "already_open", f"`{name}` {en}", f"`{name}` {zh}"


def _wrong_correction(conn: Connection, corrects: str) -> Iterator[Wrong]:
    found = _openings(conn, _OPENING.c.id == corrects)
    if not found:
        en, zh = f"there is no opening `{corrects}`", f"没有期初文件 `{corrects}`"
        yield ("corrects",), "unknown_opening", en, zh
    elif found[0].confirmed_at is None:
        yield ("corrects",), "not_confirmed", "was never confirmed", "尚未经第二人确认"
    elif found[0].corrected_by is not None:
        en, zh = f"`{found[0].corrected_by}` corrects it", f"已由 `{found[0].corrected_by}` 更正"
        yield ("corrects",), "corrected_already", en, zh


def _wrong_donors(conn: Connection, draft: Draft, donors: Mapping[str, str]) -> Iterator[Wrong]:
    lines, through = draft.lines(DONORS), draft.data["through"]
    known = {
        table: _known(conn, table, {line[key] for line in lines})
        for key, table in (("recipient", "party"), ("project", "project"))
    }
    seen: set[tuple[Any, ...]] = set()
    for n, line in enumerate(lines):
        at: Path = (DONORS, n)
        for key, table, zh in (("recipient", "party", "单位"), ("project", "project", "项目")):
            if line[key] not in known[table]:
                said = f"`{line[key]}`"
                yield (
                    (*at, key),
                    f"unknown_{table}",
                    f"there is no {table} {said}",
                    f"没有{zh} {said}",
                )
        if line["year"] > through.year:
            yield (*at, "year"), "after_through", "is after `through`", "晚于 through"
        of = (line["recipient"], line["project"], line["class"], line["year"])
        for place, code in enumerate(line["codes"]):
            if code not in donors:
                en, zh = f"there is no donor `{code}`", f"没有捐献者 `{code}`"
                yield (*at, "codes", place), "unknown_donor", en, zh
            if (*of, code) in seen:
                en, zh = f"`{code}` stands there twice", f"`{code}` 重复"
                yield (*at, "codes", place), "repeated_donor", en, zh
            seen.add((*of, code))


def _wrong_years(draft: Draft) -> Iterator[Wrong]:
    lines = draft.lines(ABROAD)
    for n, year in _twice([line["year"] for line in lines]):
        yield (ABROAD, n), "repeated_line", f"{year} stands there twice", f"{year} 年重复"
    for n, line in enumerate(lines):
        if line["year"] > draft.data["through"].year:
            yield (ABROAD, n, "year"), "after_through", "is after `through`", "晚于 through"
        if line["sensitive"] > line["all"]:
            en, zh = "is more than all people", "多于总人数"
            yield (ABROAD, n, "sensitive"), "contradiction", en, zh


def _wrong_draws(conn: Connection, draft: Draft) -> Iterator[Wrong]:
    lines = draft.lines("draws")
    for n, (paper, measure) in _twice([(line["paper"], line["measure"]) for line in lines]):
        en, zh = f"`{paper}` {measure} stands there twice", f"`{paper}` {measure} 重复"
        yield ("draws", n), "repeated_line", en, zh
    papers = _known(conn, "paper", {line["paper"] for line in lines})
    quotas = _quotas(conn, lines)
    for n, line in enumerate(lines):
        quota = quotas.get((line["paper"], line["measure"]))
        if line["paper"] not in papers:
            en, zh = f"there is no paper `{line['paper']}`", f"没有文件 `{line['paper']}`"
            yield ("draws", n, "paper"), "unknown_paper", en, zh
        elif quota is None:
            en, zh = (
                f"it has no quota of `{line['measure']}`",
                f"该文件没有 `{line['measure']}` 数量",
            )
            yield ("draws", n, "measure"), "unknown_quota", en, zh
        elif quota.opened:
            en, zh = "what was drawn on it before is known already", "此前用量已建账"
            yield ("draws", n), "already_open", en, zh
        elif line["amount"] > (free := quota.total - quota.reserved - quota.released):
            en, zh = f"is more than the {free} that it has", f"多于尚有的 {free}"
            yield ("draws", n, "amount"), "overdrawn", en, zh


def _twice(said: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    seen: Counter[Any] = Counter()
    for place, one in enumerate(said):
        seen[one] += 1
        if seen[one] > 1:
            yield place, one


def _refused(wrong: Iterable[Mistake]) -> ProblemError:
    found = [
        FieldError(
            pointer=f"/content/{one.key.replace('.', '/')}",
            detail=f"line {one.line}, {one.key}: {one.en} ({one.zh}) [{one.code}]",
        )
        for one in wrong
    ]
    said = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return ProblemError("invalid_request", f"{said} in the opening", errors=tuple(found[:_NAMED]))


# ---- rows ----------------------------------------------------------------------------------------


def _in_chunks(wanted: Iterable[str], look: Callable[[list[str]], Iterable[Any]]) -> Iterator[Any]:
    names = sorted(wanted)
    for start in range(0, len(names), _CHUNK):
        yield from look(names[start : start + _CHUNK])


def _donors(conn: Connection, codes: Iterable[str]) -> dict[str, str]:
    d = _DONOR.c
    rows = _in_chunks(
        codes, lambda part: conn.execute(sa.select(d.code, d.id).where(d.code.in_(part)))
    )
    return {row.code: row.id for row in rows}


def _known(conn: Connection, table: str, ids: Iterable[str]) -> set[str]:
    id_ = metadata.tables[table].c.id
    return set(
        _in_chunks(ids, lambda part: conn.execute(sa.select(id_).where(id_.in_(part))).scalars())
    )


def _coded(conn: Connection, of: tuple[str, ...], without: Iterable[str]) -> set[str]:
    party, project, data_class = of
    r = _RELEASED.c
    rows = conn.execute(
        sa.select(_DONOR.c.code)
        .join(_RELEASED, r.donor_id == _DONOR.c.id)
        .where(
            r.party_id == party,
            r.project_id == project,
            r.data_class == data_class,
            r.source_id.not_in(sorted(without)),
        )
    )
    return set(rows.scalars())


def _keys(conn: Connection, opening_id: str | None) -> set[tuple[str, ...]]:
    """Of whom, for what and of which class an opening states donors."""
    r = _RELEASED.c
    rows = conn.execute(
        sa.select(r.party_id, r.project_id, r.data_class)
        .where(r.source_id == opening_id)
        .distinct()
    )
    return {tuple(row) for row in rows}


def _stated(conn: Connection, opening_id: str | None) -> dict[int, tuple[int, int]]:
    """The people an opening states by number only, by year."""
    said = conn.execute(
        sa.select(_OPENING.c.people_abroad).where(_OPENING.c.id == opening_id)
    ).scalar_one_or_none()
    return {int(year): (sensitive, all_) for year, (sensitive, all_) in (said or {}).items()}


def _quotas(
    conn: Connection, lines: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], sa.Row[Any]]:
    """The quotas of the papers named, by paper and measure."""
    papers = {line["paper"] for line in lines}
    rows = _in_chunks(
        papers, lambda part: conn.execute(sa.select(_QUOTA).where(_QUOTA.c.paper_id.in_(part)))
    )
    return {(row.paper_id, row.measure): row for row in rows}


def _groups(conn: Connection, draft: Draft) -> dict[str, str]:
    """Who controlled each recipient on the last day the file speaks of."""
    day = draft.data["through"]
    parties = {line["recipient"] for line in draft.lines(DONORS)}
    ownership = ownership_of(conn, parties, determinations.in_force(conn, day), as_of=day)
    return {each: ownership.group(each) for each in parties}


def _openings(conn: Connection, *wanted: sa.ColumnElement[bool]) -> tuple[Opening, ...]:
    instead = _OPENING.alias("instead")
    rows = conn.execute(
        sa.select(
            *(column for column in _OPENING.c if column.name not in ("content", "people_abroad")),
            instead.c.id.label("corrected_by"),
        )
        .join_from(
            _OPENING,
            instead,
            sa.and_(instead.c.corrects == _OPENING.c.id, instead.c.confirmed_at.is_not(None)),
            isouter=True,
        )
        .where(*wanted)
        .order_by(_OPENING.c.proposed_at, _OPENING.c.id)
    ).mappings()
    return tuple(Opening(**{**row, "whole": tuple(row["whole"])}) for row in rows)
