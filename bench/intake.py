"""What loading a bank's own files costs, beside the same rows put into a bare SQLite table.

An invented bank of some donors is written; in each round each of its files is loaded by `hgr import` into a new
bank (checked, interned, indexed, recorded), and its rows are put by one `executemany` into a table without
an index or key, from the file read by the csv module. Wall time, as a bank would wait; both in this process.
"""

from __future__ import annotations

import csv
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from bench.figures import Beside, Figure, at_most
from gateway import cli

KINDS = ("collections", "forms", "donors", "consents", "holdings")
ROUNDS = 3
#: Promised: ten million holdings with their donors and consents in two minutes.
PROMISED_US = 120e6 / 10_000_000


def hgr(folder: Path, *arguments: str) -> None:
    bank = {
        "HGR_DATA_DIR": str(folder / "data"),
        "HGR_KEYS_DIR": str(folder / "keys"),
        "HGR_DATABASE_URL": "",
    }
    told = CliRunner().invoke(cli.app, list(arguments), env=bank)
    if told.exit_code:
        raise SystemExit(told.output)


def bare(file: Path, database: Path) -> float:
    start = time.perf_counter()
    with file.open(encoding="utf-8", newline="") as text, sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        reader = csv.reader(text)
        names = next(reader)
        connection.execute(f"CREATE TABLE t ({', '.join(f'c{n}' for n in range(len(names)))})")
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO t VALUES ({marks})", reader)  # noqa: S608 - marks alone
    return time.perf_counter() - start


def bench(*, full: bool, out: Console) -> list[Figure]:
    """Loads 30,000 donors with some 100,000 holdings, or 150,000 with half a million."""
    donors = 150_000 if full else 30_000
    ours: dict[str, list[float]] = {kind: [] for kind in KINDS}
    theirs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hgr(folder, "generate", str(folder / "files"), "--donors", str(donors))
        files = {kind: folder / "files" / f"{kind}.csv" for kind in KINDS}
        rows = {kind: sum(1 for _ in file.open("rb")) - 1 for kind, file in files.items()}
        for n in range(ROUNDS):
            bank = folder / str(n)
            names = ("--name-zh", "虚构", "--name-en", "Invented")
            hgr(bank, "init", "--origin", "bench.invalid/hgr", *names)
            for kind, file in files.items():
                start = time.perf_counter()
                hgr(bank, "import", kind, str(file))
                ours[kind].append(time.perf_counter() - start)
                theirs[kind].append(bare(file, bank / f"{kind}.sqlite"))
            out.print(f"round {n + 1}: {sum(t[n] for t in ours.values()):.1f} s", highlight=False)
            shutil.rmtree(bank)

    def each(seconds: list[float], count: int) -> list[float]:
        return [one / count * 1e6 for one in seconds]

    made = [
        Figure(
            name=f"{kind}, a row of {rows[kind]:,}",
            unit="µs",
            rounds=each(ours[kind], rows[kind]),
            beside=Beside(name="csv, executemany", rounds=each(theirs[kind], rows[kind])),
        )
        for kind in KINDS
        if rows[kind] >= 1000  # of less, opening the bank is all there is to measure
    ]
    whole = [sum(ours[kind][n] for kind in KINDS) for n in range(ROUNDS)]
    bare_whole = [sum(theirs[kind][n] for kind in KINDS) for n in range(ROUNDS)]
    count = rows["holdings"]
    made.append(
        Figure(
            name=f"the whole bank, a holding of {count:,}",
            unit="µs",
            rounds=each(whole, count),
            beside=Beside(name="csv, executemany", rounds=each(bare_whole, count)),
            target=at_most(PROMISED_US),
        )
    )
    return made
