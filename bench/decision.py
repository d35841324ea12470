"""What a durable decision costs: one access request (10 samples, all packs, permit, grant, log entry,
COMMIT before the answer) as a ratio to a bare FastAPI JSON endpoint on the same server, in one run.

Rounds are interleaved and medians compared, because the machine's speed drifts. The cost is the server
process's own CPU time per request (the client runs in another process), throughput is given beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from gateway.demo import Stage

ROUNDS = 5
CONNECTIONS = 32
SECONDS = 3.0

BARE = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
async def hello():
    return {"hello": "world"}
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
"""


@dataclass
class Measured:
    per_second: float
    cpu_us: float


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, make_request: Callable[[], bytes], seconds: float) -> int:
    """Keep `CONNECTIONS` connections busy; counts answers, and fails on the first wrong one."""
    until = time.monotonic() + seconds
    done = 0

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            writer.write(make_request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 2"):
                raise RuntimeError(f"{head!r} {body!r}")
            done += 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return done


def measure(pid: int, port: int, make_request: Callable[[], bytes]) -> Measured:
    before, start = cpu_seconds(pid), time.monotonic()
    done = asyncio.run(load(port, make_request, SECONDS))
    took = time.monotonic() - start
    return Measured(done / took, (cpu_seconds(pid) - before) / done * 1e6)


@contextmanager
def bare_server(port: int) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder, Stage.open(Path(folder)) as stage:
        body = json.dumps(stage.bench_request()).encode()
        token = stage.token()

        def decision() -> bytes:
            return (
                b"POST /v1/access-requests HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: application/json\r\nAuthorization: Bearer "
                + token.encode()
                + b"\r\n"
                b"Idempotency-Key: " + secrets.token_hex(16).encode() + b"\r\n"
                b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
            )

        def hello() -> bytes:
            return b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

        bare_port = stage.free_port()
        with bare_server(bare_port) as bare_pid:
            rounds = []
            for n in range(ROUNDS):
                bare = measure(bare_pid, bare_port, hello)
                ours = measure(stage.pid, stage.port, decision)
                rounds.append((bare, ours))
                console.print(
                    f"round {n + 1}: bare {bare.per_second:,.0f}/s {bare.cpu_us:,.0f} µs · "
                    f"decision {ours.per_second:,.0f}/s {ours.cpu_us:,.0f} µs"
                )
    ratios = sorted(ours.cpu_us / bare.cpu_us for bare, ours in rounds)
    rates = sorted(bare.per_second / ours.per_second for bare, ours in rounds)
    table = Table("figure", "median", "low", "high", "baseline")
    for name, values in (("CPU per durable decision", ratios), ("time at full load", rates)):
        low, high = values[0], values[-1]
        table.add_row(
            name, f"{statistics.median(values):.1f}×", f"{low:.1f}×", f"{high:.1f}×", "bare GET"
        )
    console.print(table)


if __name__ == "__main__":
    main()
