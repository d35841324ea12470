"""The group-commit queue at rates no test machine reaches: a small simulation, and a check of it.

    python -m bench.group_commit            # the table of docs/scale.md
    python -m bench.group_commit --check    # the same model beside the real writer, in one run

The model is `gateway.database`: decisions arrive at random (Poisson) at gateway processes that share one
log; each process's writer waits for the one write lock of the log (first come, first served), takes up to
BATCH of those who wait in it, holds the lock while it records them one after the other and commits, and
answers.
What is simulated is what happens there and nothing else: deciding runs beside it, on other cores.

Assumptions, with where they come from:

- a unit takes always the same time in the writer, its *share of the lock*: UNITS;
- a commit takes half its mean always and the rest by chance (exponential): COMMITS are the disk here, an
  ordinary cloud disk, and a majority of replicas in one region;
- the lock itself, and the way to the database and back, cost nothing more (they are in the commit).
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, event

from audit import log
from audit.leaf import Draft
from gateway.database import BATCH, Database

SEED = 20261127
ARRIVALS = 40_000  # of one simulation

#: Seconds of the lock a decision takes: today (10 ms of CPU, 45 % of it in the writer), at the goal of the
#: decision path (3.5 bare requests of 70 µs, the same share), and what two entries of the log alone take.
UNITS = {"today": 4.5e-3, "at the goal": 0.11e-3, "the log alone": 0.04e-3}
COMMITS = {"this disk": 0.2e-3, "cloud disk": 2e-3, "replicas": 5e-3}
WAKE = 50e-6  # between an answered thread and the next, as long as Python's threads take to change
RATES = (50, 200, 1_000, 2_500, 5_000, 10_000)


@dataclass(slots=True)
class Writer:
    """One gateway process: who waits in it, and the batch it took."""

    waiting: deque[float] = field(default_factory=deque)
    batch: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a simulation: seconds waited, answers a second, units in a transaction, lock in use."""

    waits: list[float]
    rate: float
    batch: float
    busy: float

    def quantile(self, share: float) -> float:
        return sorted(self.waits)[int(share * (len(self.waits) - 1))]


class Queue:
    """The writers of one log and its lock, from event to event."""

    def __init__(
        self, writers: int, unit: float, commit: float, *, batch: int = BATCH, late: bool = True
    ) -> None:
        """`late`: a writer takes who waits once it has the lock; else before it asks for it."""
        self._late = late
        self._chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
        self._writers = [Writer() for _ in range(writers)]
        self._unit, self._commit, self._most = unit, commit, batch
        self._asking: deque[Writer] = deque()  # for the lock, in order; the first has it
        self._events: list[tuple[float, int, Writer, bool]] = []
        self._numbers = iter(range(1 << 60))
        self._busy = 0.0
        self._batches: list[int] = []

    def open(self, rate: float) -> Outcome:
        """Arrivals by chance, whether or not anybody was answered."""
        now, waits = 0.0, []
        for _ in range(ARRIVALS):
            now += self._chance.expovariate(rate)
            self._at(now, self._chance.choice(self._writers), arrives=True)
        while self._events:
            now, _, writer, arrives = heapq.heappop(self._events)
            if arrives:
                self._arrive(writer, now)
            else:
                waits += self._done(writer, now)
        return self._outcome(waits, now)

    def closed(self, callers: int) -> Outcome:
        """So many callers, each of which asks again once it is awake after its answer."""
        now, waits = 0.0, []
        for n in range(callers):
            self._at(n * WAKE, self._writers[n % len(self._writers)], arrives=True)
        while len(waits) < ARRIVALS:
            now, _, writer, arrives = heapq.heappop(self._events)
            if arrives:
                self._arrive(writer, now)
                continue
            answered = self._done(writer, now)
            for n in range(len(answered)):
                self._at(now + (n + 1) * WAKE, writer, arrives=True)
            waits += answered
        return self._outcome(waits, now)

    def _outcome(self, waits: list[float], now: float) -> Outcome:
        # The first tenth finds an empty house and is not counted.
        settled = waits[len(waits) // 10 :]
        return Outcome(settled, len(waits) / now, statistics.mean(self._batches), self._busy / now)

    def _at(self, when: float, writer: Writer, *, arrives: bool = False) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), writer, arrives))

    def _arrive(self, writer: Writer, now: float) -> None:
        writer.waiting.append(now)
        if not writer.batch:
            self._take(writer, now)

    def _take(self, writer: Writer, now: float) -> None:
        """The writer takes who waits, then asks for the lock; who comes now is of its next batch."""
        writer.batch = [
            writer.waiting.popleft() for _ in range(min(self._most, len(writer.waiting)))
        ]
        self._asking.append(writer)
        if len(self._asking) == 1:
            self._begin(writer, now)

    def _begin(self, writer: Writer, now: float) -> None:
        if self._late:
            more = min(self._most - len(writer.batch), len(writer.waiting))
            writer.batch += [writer.waiting.popleft() for _ in range(more)]
        commit = self._commit * (0.5 + self._chance.expovariate(1 / 0.5))
        took = len(writer.batch) * self._unit + commit
        self._busy += took
        self._batches.append(len(writer.batch))
        self._at(now + took, writer)

    def _done(self, writer: Writer, now: float) -> list[float]:
        waits = [now - since for since in writer.batch]
        writer.batch = []
        self._asking.popleft()
        if self._asking:
            self._begin(self._asking[0], now)
        if writer.waiting:
            self._take(writer, now)
        return waits


def capacity(unit: float, commit: float, batch: int = BATCH) -> float:
    """Decisions a second that one log takes at the most: full batches, one after the other."""
    return batch / (commit + batch * unit)


def table() -> Table:
    shown = Table(
        "a decision holds the lock",
        "commit",
        "one log takes",
        title="p50 / p99 in ms at so many decisions a second on one log, 4 processes",
    )
    for rate in RATES:
        shown.add_column(f"{rate:,}/s", justify="right")
    for name, unit in UNITS.items():
        for disk, commit in COMMITS.items():
            most = capacity(unit, commit)
            cells = []
            for rate in RATES:
                if rate > most:
                    cells.append("—")
                    continue
                found = Queue(4, unit, commit).open(rate)
                cells.append(f"{found.quantile(0.5) * 1e3:.1f} / {found.quantile(0.99) * 1e3:.1f}")
            shown.add_row(
                f"{unit * 1e3:.2f} ms ({name})",
                f"{commit * 1e3:.1f} ms ({disk})",
                f"{most:,.0f}/s",
                *cells,
            )
    return shown


def logs_for(rate: float) -> Table:
    """How many logs share a rate, each at most seven tenths of what it takes, and what waiting comes to."""
    shown = Table(
        "a decision holds the lock",
        "commit",
        "logs",
        "p50 ms",
        "p99 ms",
        "batch",
        "lock in use",
        title=f"{rate:,.0f} decisions a second over several logs, 4 processes each",
    )
    for name, unit in UNITS.items():
        for disk, commit in COMMITS.items():
            logs = max(1, -(-int(rate) // int(0.7 * capacity(unit, commit))))
            found = Queue(4, unit, commit).open(rate / logs)
            shown.add_row(
                f"{unit * 1e3:.2f} ms ({name})", f"{commit * 1e3:.1f} ms ({disk})", str(logs),
                f"{found.quantile(0.5) * 1e3:.1f}", f"{found.quantile(0.99) * 1e3:.1f}",
                f"{found.batch:.0f}", f"{found.busy:.0%}",
            )  # fmt: skip
    return shown


def turns() -> Table:
    """What more processes cost those who wait, and what it saves to take them once the lock is there."""
    unit, commit = UNITS["at the goal"], COMMITS["cloud disk"]
    shown = Table(
        "processes", title="p50 / p99 in ms of 1,000 decisions a second, at the goal, cloud disk"
    )
    shown.add_column("taken before the lock is asked for", justify="right")
    shown.add_column("taken once it is there", justify="right")
    for writers in (1, 2, 4, 8, 16):
        found = [Queue(writers, unit, commit, late=late).open(1_000) for late in (False, True)]
        cells = [f"{one.quantile(0.5) * 1e3:.1f} / {one.quantile(0.99) * 1e3:.1f}" for one in found]
        shown.add_row(str(writers), *cells)
    return shown


# ---- the real writer -----------------------------------------------------------------------------

ORIGIN = "bench.example/log"


def append(conn: Connection) -> None:
    """What a permitted decision appends: itself and its grant."""
    drafts = [
        Draft(kind="decision", actor="key_bench", outcome="permit"),
        Draft(kind="grant.created", actor="key_bench"),
    ]
    log.append(conn, ORIGIN, drafts, now=datetime.now(UTC))


def check(callers: int, seconds: float = 3.0) -> tuple[float, float, Outcome]:
    """Answers a second of the real writer, the mean of its batches, and the model with the same run's times."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "bank.sqlite")
        database.write(log.metadata.create_all)
        database.write(lambda conn: log.create(conn, ORIGIN, datetime.now(UTC)))
        marks: dict[str, float] = {}
        batches: list[tuple[int, float, float]] = []

        @event.listens_for(database.engine, "begin")
        def _begin(_conn: Connection) -> None:
            marks["begin"] = time.perf_counter()

        @event.listens_for(database.engine, "commit")
        def _commit(_conn: Connection) -> None:
            marks["commit"] = time.perf_counter()

        acknowledge = database.acknowledge

        def timed(done: list[tuple[Any, Any]]) -> None:
            now = time.perf_counter()
            batches.append((len(done), marks["commit"] - marks["begin"], now - marks["commit"]))
            acknowledge(done)

        database.acknowledge = timed  # type: ignore[method-assign]
        end = time.monotonic() + seconds

        def call() -> None:
            while time.monotonic() < end:
                database.write(append)

        threads = [threading.Thread(target=call) for _ in range(callers)]
        began = time.perf_counter()
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        took = time.perf_counter() - began
        database.close()
    units = sum(n for n, _, _ in batches)
    unit = sum(spent for _, spent, _ in batches) / units
    commit = statistics.mean(spent for _, _, spent in batches)
    return units / took, units / len(batches), Queue(1, unit, commit).closed(callers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="the model beside the real writer")
    console = Console(width=160)
    if not parser.parse_args().check:
        console.print(table())
        console.print(logs_for(10_000))
        console.print(turns())
        return
    shown = Table(
        "callers",
        "real, answers/s",
        "model",
        "real, batch",
        "model",
        title="closed loop, one process, SQLite here, units that append two entries",
    )
    for callers in (1, 8, 32, 128):
        rate, batch, model = check(callers)
        shown.add_row(
            str(callers), f"{rate:,.0f}", f"{model.rate:,.0f}", f"{batch:.1f}", f"{model.batch:.1f}"
        )
    console.print(shown)


if __name__ == "__main__":
    main()
