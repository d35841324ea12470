"""What a durable decision costs: one access request (10 samples, all packs, permit, grant, log entry,
COMMIT before the answer) beside a bare FastAPI JSON endpoint, the straightforward way, and itself on other disks
and databases, all served at the same time and measured in turn.

Rounds are interleaved, because the machine's speed drifts. The cost is the server processes' own CPU time per
request (the client runs in another process); rates and latencies are of all connections busy.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from bench.figures import Beside, Figure, at_least, at_most
from bench.serving import (
    PERMITTED,
    FilledBank,
    Measured,
    Server,
    fill,
    get,
    measure,
    post,
    postmaster,
    started,
)
from gateway.demo import Stage
from tests.store import own_server

ROUNDS = 5
CONNECTIONS, MANY = 32, 128

BARE = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
async def hello():
    return {"hello": "world"}
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
"""


def bench(*, full: bool, out: Console) -> list[Figure]:
    seconds = 10.0 if full else 3.0
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        with Stage.open(folder / "asked") as stage:
            body = json.dumps(stage.bench_request()).encode()
        out.print(f"decision: a body of {len(body):,} bytes", highlight=False)
        servers = _Servers(folder, body, stack)
        for turn in servers.turns:  # what is read once is read
            turn_of(servers, turn, 0.5)
        rounds: list[dict[str, Measured]] = []
        for n in range(ROUNDS):
            rounds.append({turn: turn_of(servers, turn, seconds) for turn in servers.turns})
            said = (
                f"{turn} {m.per_second:,.0f}/s {m.cpu_us:,.0f} µs" for turn, m in rounds[-1].items()
            )
            out.print(f"round {n + 1}: {' · '.join(said)}", highlight=False)
    return _figures(rounds)


Turn = tuple[tuple[int, ...], list[tuple[Server, FilledBank | str | None]], int]


class _Servers:
    """Every server of this bench, and for each turn whose CPU counts, who is asked, by how many."""

    def __init__(self, folder: Path, body: bytes, stack: ExitStack) -> None:
        self.body = body
        bare = stack.enter_context(_script(BARE))
        plain, token = stack.enter_context(_straightforward(folder, body))
        bank, slow_bank = fill(folder / "fast"), fill(folder / "slow")
        ours = stack.enter_context(bank.serving())
        slow = stack.enter_context(slow_bank.serving("-m", "bench.slow_commits"))
        database = stack.enter_context(own_server()).place()
        shared = fill(folder / "shared", database)
        first, second = (stack.enter_context(shared.serving()) for _ in range(2))
        root = postmaster(database)
        self.turns: dict[str, Turn] = {
            "bare": ((bare.pid,), [(bare, None)], CONNECTIONS),
            "straightforward": ((plain.pid,), [(plain, token)], CONNECTIONS),
            "ours": ((ours.pid,), [(ours, bank)], CONNECTIONS),
            "ours, many": ((ours.pid,), [(ours, bank)], MANY),
            "slow disk, many": ((slow.pid,), [(slow, slow_bank)], MANY),
            "PostgreSQL, one": ((first.pid, root), [(first, shared)], CONNECTIONS),
            "PostgreSQL, two": (
                (first.pid, second.pid, root),
                [(first, shared), (second, shared)],
                CONNECTIONS,
            ),
        }


def turn_of(servers: _Servers, name: str, seconds: float) -> Measured:
    pids, asked, connections = servers.turns[name]
    targets = []
    for server, who in asked:
        token = who.token(server) if isinstance(who, FilledBank) else who
        if token is None:
            targets.append((server.port, get, b"hello"))
        else:
            targets.append((server.port, post(servers.body, token), PERMITTED))
    return measure(pids, targets, seconds, connections)


@contextmanager
def _script(source: str) -> Iterator[Server]:
    with started(port := Stage.free_port(), ("-c", source, str(port))) as server:
        yield server


@contextmanager
def _straightforward(folder: Path, body: bytes) -> Iterator[tuple[Server, str]]:
    (folder / "body.json").write_bytes(body)
    files = (str(folder / name) for name in ("plain.sqlite", "body.json", "token"))
    port = Stage.free_port()
    with started(port, ("-m", "bench.straightforward", str(port), *files)) as server:
        yield server, (folder / "token").read_text()


def _figures(rounds: list[dict[str, Measured]]) -> list[Figure]:
    def cpu(turn: str) -> list[float]:
        return [one[turn].cpu_us for one in rounds]

    def rate(turn: str) -> list[float]:
        return [one[turn].per_second for one in rounds]

    def p99(turn: str) -> list[float]:
        return [one[turn].p99_ms for one in rounds]

    bare = Beside(name="bare FastAPI GET", rounds=cpu("bare"))
    made = [
        Figure(
            name=f"CPU per durable decision, SQLite, {CONNECTIONS} connections",
            unit="µs",
            rounds=cpu("ours"),
            beside=bare,
            target=at_most(3.5, "ratio"),
        ),
        Figure(
            name="CPU per durable decision, PostgreSQL, gateway and database",
            unit="µs",
            rounds=cpu("PostgreSQL, one"),
            beside=bare,
            target=at_most(4, "ratio"),
        ),
        Figure(
            name=f"durable decisions, SQLite, {CONNECTIONS} connections",
            unit="/s",
            rounds=rate("ours"),
            beside=Beside(name="ORM session and commit each", rounds=rate("straightforward")),
            target=at_least(15, "ratio"),
        ),
        Figure(
            name="CPU per durable decision beside the straightforward way",
            unit="µs",
            rounds=cpu("ours"),
            beside=Beside(name="ORM session and commit each", rounds=cpu("straightforward")),
        ),
        Figure(
            name=f"p99 latency of a decision, SQLite, {CONNECTIONS} connections",
            unit="ms",
            rounds=p99("ours"),
            beside=Beside(name="ORM session and commit each", rounds=p99("straightforward")),
            target=at_most(50),
        ),
        Figure(
            name=f"durable decisions, 5 ms more per COMMIT, {MANY} connections",
            unit="/s",
            rounds=rate("slow disk, many"),
            beside=Beside(name="this disk as it is", rounds=rate("ours, many")),
            target=at_least(0.5, "ratio"),
        ),
        Figure(
            name="CPU per durable decision, PostgreSQL, two processes, gateways and database",
            unit="µs",
            rounds=cpu("PostgreSQL, two"),
            beside=Beside(name="one process", rounds=cpu("PostgreSQL, one")),
            target=at_most(1.15, "ratio"),
        ),
    ]
    if (
        os.cpu_count() or 1
    ) >= 4:  # with fewer the client, the database and two gateways share what there is
        made.append(
            Figure(
                name="durable decisions, PostgreSQL, two processes",
                unit="/s",
                rounds=rate("PostgreSQL, two"),
                beside=Beside(name="one process", rounds=rate("PostgreSQL, one")),
            )
        )
    return made
