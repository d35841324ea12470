"""What the log costs as it grows: appending in batches as group commit does, proving, checking it whole, and how
soon after a commit a checkpoint covers an entry.

One log on SQLite, as durable as a bank's, grows to each size in turn; at each size the rounds take ours and
pymerkle's (a SQLite tree too, in a process of its own) one after the other. Entries are those of decisions
(348 bytes, eight rules, two subjects) without documents. Proofs are of random entries and sizes, a read of the
database each; a round's figure is the mean of its proofs. Appends take the time a caller waits, their COMMIT
included; proofs and what verifies are measured by their CPU time, for others may use the machine too, and so that
"per core" means the same on any number of cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from math import log as logarithm
from pathlib import Path

import httpx
from rich.console import Console

from audit import log
from audit.leaf import Draft
from audit.note import Checkpoint, Note, Signer
from audit.package import Title, write_package
from bench import beside
from bench.figures import Beside, Figure, at_least, at_most
from gateway.database import Database
from gateway.demo import Stage

ORIGIN = "bench.invalid/log"
SIGNER = Signer(name=ORIGIN, seed=hashlib.sha256(b"a key of the bench").digest())
BATCH = 64  # group commit takes no more at once
BATCHES, PROOFS = 20, 50  # in each round
BULK = 20_000
ROUNDS = 5
SIZES = (10_000, 100_000)
FULL_SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
PYMERKLE_MOST = 1_000_000  # beyond, a single cold proof of it takes seconds
PACKAGED_MOST = 1_000_000  # an export is of some years, not of everything

Times = dict[str, list[float]]


def bench(*, full: bool, out: Console) -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name, _pymerkle(Path(name), out) as theirs:
        folder = Path(name)
        database = Database(folder / "bank.sqlite")
        try:
            database.write(log.metadata.create_all)
            database.write(lambda conn: log.create(conn, ORIGIN, datetime.now(UTC)))
            smallest: Times = {}
            for size in FULL_SIZES if full else SIZES:
                start = time.monotonic()
                _grow(database, size)
                out.print(
                    f"log: {size:,} entries, {time.monotonic() - start:.0f} s", highlight=False
                )
                baseline = theirs if size <= PYMERKLE_MOST else None
                if baseline is not None:
                    baseline.grow(size)
                rounds = _rounds(database, size, baseline)
                smallest = smallest or rounds
                figures += _by_size(size, rounds, smallest)
                figures += _whole(database, folder, size)
        finally:
            database.close()
        figures.append(_checkpoint_age(folder))
    return figures


# ---- ours and theirs ---------------------------------------------------------------------------


def _drafts(first: int) -> Iterator[Draft]:
    rules = tuple(f"R-GEN-{n:02}" for n in range(8))
    while True:
        subjects = {"request": f"req_{first:026}", "decision": f"dec_{first:026}"}
        yield Draft(
            kind="decision", actor="key-01", outcome="permit", rules=rules, subjects=subjects
        )
        first += 1


def _append(database: Database, count: int) -> float:
    with database.read() as conn:
        size = log.head(conn, ORIGIN).size
    drafts = list(islice(_drafts(size), count))
    start = time.perf_counter()
    database.write(lambda conn: log.append(conn, ORIGIN, drafts, now=datetime.now(UTC)))
    return time.perf_counter() - start


def _grow(database: Database, size: int) -> None:
    with database.read() as conn:
        missing = size - log.head(conn, ORIGIN).size
    while missing > 0:
        _append(database, count := min(BULK, missing))
        missing -= count


def _hashed() -> float:
    """The least there is to an append: the hash of each leaf. CPU time: so short a moment is easily taken away."""
    leaves = [os.urandom(348) for _ in range(BATCH * BATCHES)]
    start = time.process_time()
    for leaf in leaves:
        hashlib.sha256(b"\0" + leaf).digest()
    return time.process_time() - start


def _proofs(database: Database, prove: Callable[..., object], places: list[int]) -> float:
    start = time.process_time()
    for place in places:
        with database.read() as conn:
            size = log.head(conn, ORIGIN).size
            prove(conn, ORIGIN, place, size)
    return time.process_time() - start


class _Pymerkle:
    """Its process, and how large its tree is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._size = 0

    def ask(self, do: str, times: int, count: int = 0) -> float:
        """Seconds for so many times."""
        assert self._process.stdin is not None  # noqa: S101 - for the reader of types
        assert self._process.stdout is not None  # noqa: S101 - as above
        self._process.stdin.write(json.dumps({"do": do, "times": times, "count": count}) + "\n")
        self._process.stdin.flush()
        if do == "append":
            self._size += times * count
        return float(self._process.stdout.readline())

    def grow(self, size: int) -> None:
        while self._size < size:
            self.ask("append", 1, min(BULK, size - self._size))


@contextmanager
def _pymerkle(folder: Path, out: Console) -> Iterator[_Pymerkle | None]:
    python = beside.python(out)
    if python is None:
        yield None
        return
    script = Path(__file__).with_name("pymerkle_log.py")
    command = (str(python), str(script), str(folder / "pymerkle.sqlite"))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield _Pymerkle(process)
        assert process.stdin is not None  # noqa: S101 - for the reader of types
        process.stdin.close()  # it ends by itself


# ---- at one size ---------------------------------------------------------------------------------


def _rounds(database: Database, size: int, theirs: _Pymerkle | None) -> Times:
    """µs for an entry or a proof, each kind in turn in every round."""
    chance = random.Random(size)  # noqa: S311 - which proofs are asked for
    took: Times = {}

    def keep(name: str, seconds: float, count: int) -> None:
        took.setdefault(name, []).append(seconds / count * 1e6)

    entries = BATCH * BATCHES
    for _ in range(ROUNDS):
        keep("append", sum(_append(database, BATCH) for _ in range(BATCHES)), entries)
        keep("hash", _hashed(), entries)
        places = [chance.randrange(1, size) for _ in range(PROOFS)]
        keep("inclusion", _proofs(database, log.inclusion, places), PROOFS)
        keep("consistency", _proofs(database, log.consistency, places), PROOFS)
        if theirs is not None:
            keep("append, pymerkle", theirs.ask("append", BATCHES, BATCH), entries)
            keep("inclusion, pymerkle", theirs.ask("inclusion", PROOFS), PROOFS)
            keep("consistency, pymerkle", theirs.ask("consistency", PROOFS), PROOFS)
    return took


def _by_size(size: int, took: Times, smallest: Times) -> list[Figure]:
    def pymerkle(name: str) -> Beside | None:
        rounds = took.get(f"{name}, pymerkle")
        return None if rounds is None else Beside(name="pymerkle", rounds=rounds)

    made = [
        Figure(
            name=f"append in batches of {BATCH}, an entry, log of {size:,}",
            unit="µs",
            rounds=took["append"],
            beside=pymerkle("append"),
            series="append of an entry",
            size=size,
        ),
        Figure(
            name=f"the same beside its leaf hash alone, log of {size:,}",
            unit="µs",
            rounds=took["append"],
            beside=Beside(name="SHA-256 of the leaf", rounds=took["hash"]),
        ),
    ]
    for kind in ("inclusion", "consistency"):
        made.append(
            Figure(
                name=f"{kind} proof, log of {size:,}",
                unit="µs",
                rounds=took[kind],
                beside=pymerkle(kind),
                target=at_most(1000),
                series=f"{kind} proof",
                size=size,
            )
        )
        if took is not smallest:
            grown = logarithm(size) / logarithm(SIZES[0])
            made.append(
                Figure(
                    name=f"{kind} proof, {size:,} entries ÷ {SIZES[0]:,}",
                    unit="×",
                    rounds=[a / b for a, b in zip(took[kind], smallest[kind], strict=True)],
                    target=at_most(grown),
                )
            )
    return made


def _whole(database: Database, folder: Path, size: int) -> list[Figure]:
    """Checking the bank's own log, and verifying an export of it as whoever was given it does."""
    rounds = 3 if size < 1_000_000 else 1
    with database.read() as conn:
        count = log.head(conn, ORIGIN).size  # some more than `size`: those of the rounds
    bare = [BATCH * BATCHES / _hashed() for _ in range(rounds)]

    def rates(name: str, work: Callable[[], object]) -> list[Figure]:
        cpu, wall = [], []
        for _ in range(rounds):
            start, used = time.perf_counter(), sum(os.times()[:4])
            work()
            wall.append(count / (time.perf_counter() - start))
            cpu.append(count / (sum(os.times()[:4]) - used))
        return [
            Figure(
                name=f"{name}, entries for a second of CPU, log of {size:,}",
                unit="/s",
                rounds=cpu,
                beside=Beside(name="SHA-256 of the leaves", rounds=bare),
                target=at_least(500_000),
            ),
            Figure(name=f"{name}, entries a second, log of {size:,}", unit="/s", rounds=wall),
        ]

    def check() -> None:
        many = (os.cpu_count() or 1) if count > 1_000_000 else 1  # as `hgr doctor` does
        with database.read() as conn:
            log.check(conn, ORIGIN, count, processes=many)

    made = rates("full check of the stored log", check)
    if size <= PACKAGED_MOST:
        package = folder / "export.zip"
        title = Title(zh="虚构", en="Invented")

        def export(file: Path) -> None:
            with file.open("wb") as out:
                database.write(
                    partial(write_package, origin=ORIGIN, out=out, signer=SIGNER, title=title)
                )

        export(package)
        verify = (sys.executable, "-m", "audit.verify", str(package))
        made += rates(
            "full verification of an export",
            lambda: subprocess.run(verify, check=True, capture_output=True),
        )
    return made


# ---- the checkpoint --------------------------------------------------------------------------------


def _checkpoint_age(folder: Path) -> Figure:
    """From the answer to a request (its COMMIT came before) until a checkpoint covers its entry."""
    ages = []
    with Stage.open(folder / "asked") as stage:
        body = stage.bench_request()
        token = stage.token()
        for n in range(20):
            index = stage.post(token, "/v1/access-requests", body, 201)["log"]["index"]
            answered = time.monotonic()
            while _covered(stage.http) <= index:
                time.sleep(0.01)
            ages.append(time.monotonic() - answered)
            time.sleep(n / 20)  # not in step with the publisher
    return Figure(
        name="a checkpoint covers an entry, after its COMMIT",
        unit="s",
        rounds=ages,
        target=at_most(1, "high"),
    )


def _covered(http: httpx.Client) -> int:
    note = http.get("/log/checkpoint").raise_for_status().content
    return Checkpoint.from_text(Note.from_bytes(note).text).size
