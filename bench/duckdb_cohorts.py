"""DuckDB in a process of its own, asked by `bench.cohorts`: the same table, the same questions.

python duckdb_cohorts.py SQLITE_FILE     lines of SQL in, CPU seconds and the number of rows for each out
"""

from __future__ import annotations

import sqlite3
import sys
import time

import duckdb


def main() -> None:
    there = duckdb.connect()
    there.execute("SET threads = 1")
    rows = sqlite3.connect(sys.argv[1]).execute("SELECT * FROM flat")
    names = [column[0] for column in rows.description]
    there.execute(f"CREATE TABLE flat ({', '.join(f'{name} BIGINT' for name in names)})")
    while some := rows.fetchmany(50_000):
        columns = {name: [row[at] for row in some] for at, name in enumerate(names)}
        values = ", ".join(f"unnest(${name}) AS {name}" for name in names)
        there.execute(f"INSERT INTO flat SELECT {values}", columns)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.process_time()
        found = there.execute(line).fetchall()
        print(time.process_time() - start, len(found), flush=True)


if __name__ == "__main__":
    main()
