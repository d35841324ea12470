"""What loading a bank's own files costs, as a ratio to the same rows put into a bare SQLite table.

One run: an invented bank of some donors is written, then each of its files is loaded by `hgr import` into a new
bank (checked, interned, indexed, recorded), and its rows are put by one `executemany` into a table without
an index or key, from the file read by the csv module. Wall time, as a bank would wait; both in this process.

    python -m bench.intake [DONORS]
"""

from __future__ import annotations

import csv
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from gateway import cli

KINDS = ("collections", "forms", "donors", "consents", "holdings")


def hgr(*arguments: str) -> None:
    told = CliRunner().invoke(cli.app, list(arguments))
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


def main() -> None:
    donors = sys.argv[1] if len(sys.argv) > 1 else "20000"
    table = Table("file", "rows", "rows/s", "bare rows/s", "÷ bare")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {
            "HGR_DATA_DIR": str(folder / "data"),
            "HGR_KEYS_DIR": str(folder / "keys"),
        }
        hgr("init", "--origin", "bench.invalid/hgr", "--name-zh", "虚构", "--name-en", "Invented")
        hgr("generate", str(folder / "files"), "--donors", donors)
        for kind in KINDS:
            file = folder / "files" / f"{kind}.csv"
            rows = sum(1 for _ in file.open("rb")) - 1
            start = time.perf_counter()
            hgr("import", kind, str(file))
            ours, theirs = time.perf_counter() - start, bare(file, folder / f"{kind}.sqlite")
            if rows >= 1000:  # of less, opening the bank is all there is to measure
                figures = (f"{rows:,}", f"{rows / ours:,.0f}", f"{rows / theirs:,.0f}")
                table.add_row(kind, *figures, f"{ours / theirs:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
