"""The real server in a process of its own, started quickly enough to be killed twenty times.

`multiprocessing`'s fork server imports the gateway and reads the packs once; every server is then
forked from it and runs `hgr serve` as the console script would, on the settings of its environment.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx

from gateway import cli
from gateway.registry import generations
from gateway.settings import Settings
from policies import disease

PATIENCE = 60.0  # seconds a loaded machine may take to start or stop a server

#: For plain HTTP: a client would otherwise read the machine's certificates each time, for nothing.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# Loaded where this module is imported, the fork server included, and inherited by every fork.
generations.shipped_law()
disease.tree()

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment_of(settings: Settings) -> dict[str, str]:
    told = {
        "HGR_DATA_DIR": settings.data_dir,
        "HGR_KEYS_DIR": settings.keys_dir,
        "HGR_HOST": settings.host,
        "HGR_PORT": settings.port,
        "HGR_PUBLIC_URL": settings.public_url or None,
        "HGR_TLS_CERTIFICATE": settings.tls_certificate,
        "HGR_TLS_KEY": settings.tls_key,
        "HGR_DATABASE_URL": settings.database_url.get_secret_value() or None,
    }
    return {name: str(value) for name, value in told.items() if value is not None}


@dataclass(slots=True)
class Server:
    """One started `hgr serve`: its process, and the file with what it said."""

    process: BaseProcess
    said: Path

    def kill(self) -> None:
        """SIGKILL: nothing of the server runs after it."""
        self.process.kill()
        self.process.join(PATIENCE)

    def end(self) -> None:
        """SIGTERM, and SIGKILL for one that does not mind it."""
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.kill()

    def code(self) -> int | None:
        """The exit code of a server that ends by itself; None if it has not."""
        self.process.join(PATIENCE)
        return self.process.exitcode

    def words(self) -> str:
        return self.said.read_text()


def start(
    environment: Mapping[str, str], said: Path, *, fault: Callable[[], None] | None = None
) -> Server:
    """Start a server on these settings; `fault` breaks it first, for a control."""
    process = _context.Process(target=_serve, args=(dict(environment), str(said), fault))
    process.start()
    return Server(process=process, said=said)


def wait_until_ready(server: Server, url: str, *, verify: ssl.SSLContext = NO_AUTHORITIES) -> None:
    end = time.monotonic() + PATIENCE
    with httpx.Client(base_url=url, verify=verify) as http:
        while time.monotonic() < end:
            assert server.process.is_alive(), server.words()
            try:
                http.get("/healthz").raise_for_status()
            except httpx.TransportError:
                server.process.join(0.02)  # returns at once should it end
            else:
                return
    raise AssertionError(f"the server did not answer in time: {server.words()}")


@contextmanager
def serving(
    settings: Settings, *, said: Path | None = None, fault: Callable[[], None] | None = None
) -> Iterator[Server]:
    """A server that answers, ended at the end."""
    said = said or settings.data_dir.parent / "said.txt"
    server = start(environment_of(settings), said, fault=fault)
    try:
        wait_until_ready(
            server, f"http://127.0.0.1:{settings.port}" if settings.public_url else settings.issuer
        )
        yield server
    finally:
        server.end()


def _serve(environment: dict[str, str], said: str, fault: Callable[[], None] | None) -> None:
    descriptor = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    for name in [each for each in os.environ if each.startswith("HGR_")]:
        del os.environ[name]
    os.environ.update(environment)
    if fault is not None:
        fault()
    cli.app(["serve"])  # ends the process with its exit code, as the console script does
