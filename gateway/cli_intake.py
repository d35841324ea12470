"""`hgr import`: the bank's own parties, collections, forms, donors, consents, holdings and withdrawals from
files; `hgr generate`: such files of an invented bank.

Exit codes are those of every command (gateway/terminal.py): 1 where rows were wrong.
"""

from __future__ import annotations

import asyncio
import csv
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from sqlalchemy import Connection

from gateway import generate as generated
from gateway import intake_files, pep
from gateway.bank import Bank
from gateway.errors import SettingsError
from gateway.intake_files import FileMapping, Source
from gateway.registry import intake
from gateway.registry.intake import Bad, Batch, Kind, Reached, Row
from gateway.replies import Rendered, Reply
from gateway.terminal import OPERATOR, err, explained, opened, out, recorded
from policies import disease

#: Rows in one transaction, with one entry in the log.
BATCH = 10_000

_Step = Callable[["Source", "Tally"], None]


class What(StrEnum):
    """What a file holds."""

    PARTIES = "parties"
    COLLECTIONS = "collections"
    FORMS = "forms"
    DONORS = "donors"
    CONSENTS = "consents"
    HOLDINGS = "holdings"
    WITHDRAWALS = "withdrawals"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of a file so far."""

    added: int = 0
    changed: int = 0
    same: int = 0
    bad: int = 0

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.added += batch.added
        self.changed += batch.changed
        self.same += batch.same
        self.bad += batch.wrong

    @property
    def rows(self) -> int:
        """All rows."""
        return self.added + self.changed + self.same + self.bad


@dataclass(slots=True, kw_only=True)
class BadRows:
    """The file of rows that were not loaded; made when there is the first."""

    path: Path
    goes_on: bool  # a loading that was broken off: what it wrote stays
    lines: set[int] = field(default_factory=set)

    def write(self, bad: list[Bad]) -> None:
        """Add some, and have them on the disk."""
        if not bad:
            return
        fresh = not (self.path.exists() and (self.goes_on or self.lines))
        with self.path.open("w" if fresh else "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["line", "row", "column", "code", "zh", "en"])
            writer.writerows([b.line, _plain(b.row), b.column, b.code, b.zh, b.en] for b in bad)
        self.lines |= {one.line for one in bad}


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def load(
    what: Annotated[What, typer.Argument(help="what the file holds")],
    file: Annotated[Path, typer.Argument(help=".csv, .tsv, .jsonl or .parquet (docs/import.md)")],
    *,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML that says which column is which; none: ours")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="load nothing if a single row is wrong")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would become of the rows; load nothing")
    ] = False,
    written_at: Annotated[
        datetime | None,
        typer.Option(help="when the sample system wrote the file, in this machine's time"),
    ] = None,
    bad: Annotated[
        Path | None, typer.Option(help="where rows that were not loaded go; none: FILE.bad.csv")
    ] = None,
) -> None:
    """Load a file of the sample system into the bank (a SQLite one not while it is being served).

    A row is known by its code: a new one is added, a known one becomes what the file says, the same file
    twice changes nothing. A loading that was broken off goes on where it was.
    """
    with explained():
        kind = intake.WITHDRAWALS if what is What.WITHDRAWALS else intake.KINDS[what.value]
        chosen = intake_files.by_our_names(kind)
        if mapping is not None:
            chosen = intake_files.mapping_from(mapping.read_bytes(), mapping.name, kind)
        sha256 = intake_files.digest(file)
    bad_path = bad or file.with_name(f"{file.name}.bad.csv")
    with opened() as bank:
        job = _Job(
            bank=bank,
            kind=kind,
            file=file,
            mapping=chosen,
            sha256=sha256,
            written_at=None if written_at is None else written_at.astimezone(),
        )
        if written_at is not None and written_at.astimezone() > bank.now():
            raise SettingsError(f"--written-at `{written_at}` lies ahead")
        before = job.reached()
        if before is not None and before.done_at is not None:
            if not dry_run:
                job.hear_again(before)
            out.print(
                f"[green]✓[/green] 该文件已于 {before.done_at:%Y-%m-%d %H:%M}Z 载入，没有变化 · this very file was "
                f"loaded on that day: nothing to do ({before.id})",
                soft_wrap=True,
            )
            return
        if strict or dry_run:
            rows = BadRows(path=bad_path, goes_on=False)
            tally = job.run(rows, before, dry=True)
            if dry_run or tally.bad:
                _tell(tally, rows, dry=True)
                raise typer.Exit(1 if tally.bad else 0)
        rows = BadRows(path=bad_path, goes_on=before is not None and before.line > 0)
        _tell(job.run(rows, before, dry=False), rows, dry=False)
        raise typer.Exit(1 if rows.lines else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The loading of one file."""

    bank: Bank
    kind: Kind
    file: Path
    mapping: FileMapping
    sha256: str
    written_at: datetime | None

    def reached(self) -> Reached | None:
        """How far it came before."""
        with self.bank.database.read() as conn:
            return intake.reached(conn, self.kind, self.sha256, self.mapping.sha256)

    def run(self, bad: BadRows, before: Reached | None, *, dry: bool) -> Tally:
        """Load it, or (dry) see what would come of it. A kill at any line loses at most one batch."""
        gc.freeze()  # what is there by now stays: rows come and go, and it need not be walked for them
        tally, file_id = Tally(), before.id if before else ""
        after = before.line if before else 0
        if not dry and before is None:
            begun = partial(
                intake.begin, kind=self.kind, sha256=self.sha256,
                mapping_sha256=self.mapping.sha256, now=self.bank.now(),
            )  # fmt: skip
            file_id = recorded(self.bank, "intake.begun", begun, self._named).id
        with (
            intake_files.opened(self.file, self.kind, self.mapping) as source,
            _progress(self.file) as step,
        ):
            rows = source.rows(after=after)
            while some := list(islice(rows, BATCH)):
                batch = self._batch(some, file_id, dry=dry)
                bad.write(batch.bad)
                tally.add(batch)
                step(source, tally)
        if not dry:
            recorded(
                self.bank,
                "intake.done",
                partial(self._finish, file_id, tally),
                lambda _: {"file": file_id},
            )
        return tally

    def hear_again(self, before: Reached) -> None:
        """A file that was loaded whole is written again as it was: so it still stands with its rows."""
        if self.written_at is None or before.feed_at is None or self.written_at <= before.feed_at:
            return
        part = partial(intake.heard, file_id=before.id, written_at=self.written_at)
        recorded(self.bank, "intake.done", part, lambda _: {"file": before.id})

    def _batch(self, some: list[Row | list[Bad]], file_id: str, *, dry: bool) -> Batch:
        unread = [bad for one in some if isinstance(one, list) for bad in one]
        good = [one for one in some if isinstance(one, Row)]
        last = max([row.line for row in good] + [bad.line for bad in unread])
        if self.kind is intake.WITHDRAWALS:
            batch = self._withdraw(good, dry=dry)
        elif dry:
            batch = self._try(good)
        else:
            return self._take_in(good, unread, file_id, last)
        batch.bad = sorted([*unread, *batch.bad], key=lambda one: one.line)
        if not dry:
            part = partial(intake.come, file_id=file_id, line=0, wrong=batch.wrong)
            self.bank.database.write(part)  # each withdrawal is known again by what it says
        return batch

    def _take_in(self, rows: list[Row], unread: list[Bad], file_id: str, last: int) -> Batch:
        kept: list[Batch] = []

        def part(conn: Connection) -> Batch:
            batch = self._load(conn, rows)
            batch.bad = sorted([*unread, *batch.bad], key=lambda one: one.line)
            # A crash before COMMIT leaves neither rows nor line.
            intake.come(conn, file_id, last, wrong=batch.wrong)
            return batch

        def keep(batch: Batch) -> Rendered:
            kept.append(batch)
            return Rendered(status=200, body=b"")

        reply = Reply(client=OPERATOR.id, key=None, route="import", body_hash="", render=keep)
        about = partial(self._about, file_id=file_id, last=last)
        asyncio.run(pep.take_in(self.bank, OPERATOR, part, subjects=about, reply=reply))
        return kept[0]

    def _load(self, conn: Connection, rows: list[Row]) -> Batch:
        return intake.load(
            conn,
            self.kind,
            rows,
            self.bank.diseases,
            now=self.bank.now(),
            written_at=self.written_at,
        )

    def _try(self, rows: list[Row]) -> Batch:
        """What would become of some rows: loaded, and taken back."""
        kept: list[Batch] = []

        def unit(conn: Connection) -> None:
            kept.append(self._load(conn, rows))
            raise _NotMeantError

        try:
            self.bank.database.write(unit)
        except _NotMeantError:
            return kept[0]
        raise AssertionError  # pragma: no cover - the unit always raises

    def _finish(self, file_id: str, tally: Tally, conn: Connection) -> None:
        intake.finish(conn, file_id, now=self.bank.now())
        # An empty file may be an export that failed, and where every row is wrong nothing was understood.
        if self.file.stat().st_size and (tally.rows > tally.bad or not tally.rows):
            intake.heard(conn, file_id, self.written_at)

    def _named(self, made: Reached) -> dict[str, str]:
        return {"file": made.id, "kind": self.kind.name, "sha256": self.sha256}

    def _about(self, batch: Batch, file_id: str, last: int) -> dict[str, str]:
        counts = {"added": batch.added, "changed": batch.changed, "same": batch.same}
        said = {name: str(many) for name, many in counts.items()}
        return {
            "file": file_id,
            "kind": self.kind.name,
            "through": str(last),
            "bad": str(batch.wrong),
            **said,
        }

    def _withdraw(self, rows: list[Row], *, dry: bool) -> Batch:
        """Each as a withdrawal over HTTP: behind its entry nothing of it leaves, grants are cut down."""
        batch = Batch()
        for row in rows:
            try:
                with self.bank.database.read() as conn:
                    asked, there = intake.withdrawal(conn, row)
            except intake.CellError as error:
                batch.bad.append(
                    Bad(line=row.line, row=str(row.cells["donor"]), column=error.column,
                        code=error.code, zh=error.zh, en=error.en)
                )  # fmt: skip
                continue
            if there:
                batch.same += 1
                continue
            batch.added += 1
            if not dry:
                reply = Reply(
                    client=OPERATOR.id, key=None, route="import", body_hash="", render=_silent
                )
                wanted = pep.WithdrawalAsked(**asked)
                asyncio.run(pep.withdraw_consent(self.bank, OPERATOR, wanted, reply=reply))
        return batch


def _silent(_result: object) -> Rendered:
    return Rendered(status=200, body=b"")


class _NotMeantError(Exception):
    """Takes back what was only tried."""


@contextmanager
def _progress(file: Path) -> Iterator[_Step]:
    """A bar with rate and time left on a terminal; elsewhere a line now and then."""
    whole = max(file.stat().st_size, 1)
    if not err.is_terminal:
        yield _Lines(whole)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("…", total=whole)

        def step(source: Source, tally: Tally) -> None:
            took = max(progress.tasks[task].elapsed or 0.0, 1e-3)
            said = f"{tally.rows:,} 行 · rows, {tally.rows / took:,.0f}/s"
            progress.update(task, completed=source.position, description=said)

        yield step


class _Lines:
    """Progress where nobody watches: a line at each tenth of the file."""

    def __init__(self, whole: int) -> None:
        self._whole, self._told = whole, 0

    def __call__(self, source: Source, tally: Tally) -> None:
        tenths = source.position * 10 // self._whole
        if tenths > self._told:
            self._told = tenths
            err.print(f"{tenths * 10} %  {tally.rows:,} 行 · rows", highlight=False)


def tell_feed(bank: Bank, conn: Connection) -> bool:
    """Say of when the newest holdings are, where a feed of them is expected; whether it is too old."""
    hours = bank.settings.feed_max_age_hours
    if hours is None:
        return False
    last = intake.last_feed(conn)
    stale = intake.is_stale(last, hours, now=bank.now())
    mark, then = "[green]✓[/green]", ""
    if stale:
        mark, then = (
            "[red]✗[/red]",
            "；放行均转人工 · releases are referred: hgr import holdings FILE",
        )
    when = "从未 · never" if last is None else f"{last:%Y-%m-%d %H:%M}Z"
    out.print(
        f"{mark} 馆藏变更最近一次 · last feed of holdings: {when} (HGR_FEED_MAX_AGE_HOURS {hours}){then}",
        soft_wrap=True,
        highlight=False,
    )
    return stale


def _tell(tally: Tally, bad: BadRows, *, dry: bool) -> None:
    meant = "将会 · would be: " if dry else ""
    mark = "[red]✗[/red]" if tally.bad else "[green]✓[/green]"
    out.print(
        f"{mark} {meant}新增 · added {tally.added:,}, 变更 · changed {tally.changed:,}, "
        f"未变 · same {tally.same:,}, 有误 · wrong {tally.bad:,}",
        soft_wrap=True,
        highlight=False,
    )
    if tally.bad:
        out.print(
            f"  有误的行及原因 · rows that are wrong, and why: {escape(str(bad.path))}",
            soft_wrap=True,
        )


def generate(
    folder: Annotated[Path, typer.Argument(help="an empty or new folder for the files")],
    *,
    donors: Annotated[
        int, typer.Option(min=1, help="how many donors; some 3.6 holdings each")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes")] = 1,
    party: Annotated[str, typer.Option(help="the party its collections come from")] = "pty_bank",
) -> None:
    """Write the files of an invented bank, for `hgr import` to load: for trials and measurements.

    Nobody in it exists. No bank is needed. `mapping.json` is what the ticks mean, for two officers to sign.
    """
    with explained(), err.status("…") as status:
        folder.mkdir(parents=True, exist_ok=True)
        rows = generated.write(
            folder,
            seed=seed,
            donors=donors,
            diseases=disease.tree(),
            party_id=party,
            progress=lambda many: status.update(f"{many:,} / {donors:,}"),
        )
    for name, many in rows.items():
        out.print(
            f"{many:>12,}  {folder / name}.csv", highlight=False, soft_wrap=True, markup=False
        )
