"""Servers for the benches, each a process of its own, and clients that keep them busy.

What a server costs is the CPU time of its processes, read from /proc; what it answers is counted by a client in
another process, which stops at the first wrong answer.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import psycopg
from pydantic import SecretStr
from sqlalchemy import URL

from gateway import demo_world
from gateway.bank import create_bank, system_clock
from gateway.demo import Stage
from gateway.identity import api_keys
from gateway.identity.scopes import KEY_SCOPES
from gateway.settings import Settings

PATIENCE = 60.0  # seconds a busy machine may take to start a server

Make = Callable[[], bytes]
#: Where to ask, what, and what every answer must say.
Target = tuple[int, Make, bytes]
PERMITTED = b'"outcome":"permit"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    per_second: float
    cpu_us: float  # per answer
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    pid: int
    port: int


@contextmanager
def started(
    port: int, command: Sequence[str], environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """A server that answers on `port`, whatever it answers; ended at the end."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | (environment or {}),
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{command} did not start: {process.poll()}") from None
                time.sleep(0.05)
        yield Server(pid=process.pid, port=port)
    finally:
        process.terminate()
        process.wait(PATIENCE)


# ---- gateways ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledBank:
    """A closed bank of the invented world, with a key of the hospital."""

    settings: Settings
    key: str

    @contextmanager
    def serving(self, *command: str) -> Iterator[Server]:
        """Serve it, by `hgr serve` unless another command is told."""
        told = self.settings
        environment = {
            "HGR_DATA_DIR": str(told.data_dir),
            "HGR_KEYS_DIR": str(told.keys_dir),
            "HGR_DATABASE_URL": told.database_url.get_secret_value(),
            "HGR_PORT": str(port := Stage.free_port()),
        }
        with started(port, command or ("-m", "gateway.cli", "serve"), environment) as server:
            yield server

    def token(self, server: Server) -> str:
        """A fresh access token, as a client gets one; it lives ten minutes."""
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(self.key.split("_")[2], self.key),
        )
        return str(answer.raise_for_status().json()["access_token"])


def fill(folder: Path, database: URL | None = None) -> FilledBank:
    """A new bank in `folder`, or in a PostgreSQL database."""
    url = database.render_as_string(hide_password=False) if database else ""
    settings = Settings(
        data_dir=folder / "bank", keys_dir=folder / "keys", database_url=SecretStr(url)
    )
    names = {"name_zh": "虚构人类遗传资源保藏库", "name_en": "Invented HGR Biobank"}
    bank = create_bank(settings, origin="bench.invalid/hgr-log", invented=True, **names)
    try:
        world = bank.database.write(lambda conn: demo_world.fill(conn, bank, now=system_clock()))
        wanted = api_keys.Wanted(
            party_id=world.parties["shanghai_hospital"],
            label="bench",
            scopes=tuple(sorted(KEY_SCOPES)),
            expires_at=system_clock() + timedelta(days=30),
        )
        mint = partial(api_keys.mint, bank=bank, wanted=wanted, created_by="bench")
        return FilledBank(settings=settings, key=bank.database.write(mint).text)
    finally:
        bank.database.close()


def postmaster(database: URL) -> int:
    """The process all of a PostgreSQL server's others are children of."""
    url = database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    return int((Path(folder) / "postmaster.pid").read_text().split()[0])


# ---- what they cost --------------------------------------------------------------------------------


def cpu_seconds(*pids: int) -> float:
    """The CPU time of these processes and of their children, those that have ended included."""
    stats = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stats[int(folder.name)] = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended just now; its parent has counted it
    # proc(5), from field 3 on: the parent is field 4, utime stime cutime cstime are 14 to 17.
    ticks = sum(
        sum(map(int, fields[11:15])) if pid in pids else sum(map(int, fields[11:13]))
        for pid, fields in stats.items()
        if pid in pids or int(fields[1]) in pids
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def get() -> bytes:
    return b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def post(body: bytes, token: str) -> Make:
    """One access request, each time under a new Idempotency-Key."""

    def make() -> bytes:
        return (
            b"POST /v1/access-requests HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer " + token.encode() + b"\r\n"
            b"Idempotency-Key: " + secrets.token_hex(16).encode() + b"\r\n"
            b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )

    return make


def measure(
    pids: Sequence[int], targets: Sequence[Target], seconds: float, connections: int
) -> Measured:
    """Keep so many connections busy, shared among `targets`, and read what `pids` used."""
    before, start = cpu_seconds(*pids), time.monotonic()
    took_ms = sorted(asyncio.run(_load(targets, seconds, connections)))
    took = time.monotonic() - start
    return Measured(
        per_second=len(took_ms) / took,
        cpu_us=(cpu_seconds(*pids) - before) / len(took_ms) * 1e6,
        p99_ms=took_ms[min(len(took_ms) - 1, len(took_ms) * 99 // 100)],
    )


async def _load(targets: Sequence[Target], seconds: float, connections: int) -> list[float]:
    until = time.monotonic() + seconds
    took: list[float] = []

    async def one(port: int, make: Make, must: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.monotonic()) < until:
            writer.write(make())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 2") or must not in body:
                raise RuntimeError(f"{head!r} {body!r}")
            took.append((time.monotonic() - sent) * 1000)
        writer.close()

    await asyncio.gather(*(one(*targets[n % len(targets)]) for n in range(connections)))
    return took
