"""SIGKILL under load: no acknowledged decision is lost, none stands without its leaf."""

from __future__ import annotations

import itertools
import json
import queue
import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from audit import log
from audit.tree import log_leaf
from gateway.settings import Settings
from tests.gateway.registry.asks import PLAIN
from tests.journeys import early_ack
from tests.journeys.conftest import Template
from tests.journeys.serving import NO_AUTHORITIES, serving
from tests.store import execute, opened

KILLS = 20
CLIENTS = 6
SEED = 20261122
ORIGIN = "bank.example/journeys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server acknowledged: a decision, and its place in the log."""

    decision: str
    index: int
    leaf_hash: str


@dataclass(slots=True)
class Clients:
    """Everybody who asks, and what they were told; `rounds` of load end when the server does."""

    url: str
    headers: dict[str, str]
    bodies: tuple[tuple[str, bytes], ...]
    told: dict[str, Told] = field(default_factory=dict)  # by Idempotency-Key
    open: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # sent, never answered
    wrong: list[str] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def load(self) -> Iterator[queue.SimpleQueue[str]]:
        """Clients that ask until nobody answers; the queue gets each acknowledged key."""
        acknowledged: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.enough.clear()
        threads = [
            threading.Thread(target=self._ask, args=(one, acknowledged)) for one in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield acknowledged
        finally:
            self.enough.set()
            for thread in threads:
                thread.join()

    def _http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers=self.headers, timeout=30, verify=NO_AUTHORITIES
        )

    def _ask(self, which: int, acknowledged: queue.SimpleQueue[str]) -> None:
        with self._http() as http:
            for turn in itertools.count():
                if self.enough.is_set():
                    return
                key = secrets.token_hex(16)
                self.open[key] = self.bodies[(which + turn) % len(self.bodies)]
                try:
                    self._send(http, key)
                except httpx.TransportError:
                    return
                acknowledged.put(key)

    def _send(self, http: httpx.Client, key: str) -> None:
        path, body = self.open[key]
        answer = http.post(path, content=body, headers={"Idempotency-Key": key})
        if answer.status_code not in {200, 201}:
            self.wrong.append(f"{path}: {answer.status_code} {answer.text}")
            return
        said = answer.json()
        self.told[key] = Told(
            decision=said["id"], index=said["log"]["index"], leaf_hash=said["log"]["leaf_hash"]
        )
        del self.open[key]

    def ask_again(self) -> None:
        """What was never answered, under the same keys."""
        with self._http() as http:
            for key in list(self.open):
                self._send(http, key)

    def unread(self, keys: list[str]) -> list[str]:
        """Acknowledged decisions that a GET does not give back as they were told."""
        lost = []
        with self._http() as http:
            for key in keys:
                told = self.told[key]
                answer = http.get(f"/v1/decisions/{told.decision}")
                place = answer.json().get("log", {})
                if (place.get("index"), place.get("leaf_hash")) != (told.index, told.leaf_hash):
                    lost.append(f"{told.decision} is not at {told.index}: {answer.status_code}")
        return lost


def faults(settings: Settings, told: dict[str, Told]) -> list[str]:
    """Everything that is not as it must be in the bank's file; raises if the log is not whole."""
    with opened(settings) as conn:
        log.check(conn, ORIGIN)
        leaves: dict[int, tuple[str, dict[str, Any]]] = {
            row.idx: (row.leaf_hash.hex(), json.loads(row.leaf))
            for row in conn.execute(sa.select(log_leaf))
        }
        rows = execute(conn, "SELECT id, leaf_index, document_sha256, outcome FROM decision")
        decisions = {row.id: (row.leaf_index, row.document_sha256, row.outcome) for row in rows}
        grants = {row.id for row in execute(conn, "SELECT id FROM grant_")}
        events = execute(conn, "SELECT case_id, leaf_index FROM case_event").all()
        answers = execute(conn, "SELECT key, response FROM idempotency").all()
    found = []
    in_log = {
        leaf["subjects"]["decision"]: (index, leaf["docs"][0], leaf["outcome"])
        for index, (_, leaf) in leaves.items()
        if leaf["type"] == "decision"
    }
    if in_log != decisions:
        found.append(f"rows and leaves differ: {in_log.items() ^ decisions.items()}")
    granted = {
        leaf["subjects"]["grant"] for _, leaf in leaves.values() if leaf["type"] == "grant.created"
    }
    if granted != grants:
        found.append(f"grants and their leaves differ: {granted ^ grants}")
    found += [f"event of {case} has no leaf {at}" for case, at in events if at not in leaves]
    if len(answers) != len(decisions):
        found.append(f"{len(answers)} answers are remembered for {len(decisions)} decisions")
    found += [
        f"{one.decision} was acknowledged at {one.index} and is lost"
        for one in told.values()
        if decisions.get(one.decision, (None,))[0] != one.index
        or leaves.get(one.index, ("",))[0] != one.leaf_hash
    ]
    return found


def decided(settings: Settings) -> list[str]:
    """The ids of all decisions, in order."""
    with opened(settings) as conn:
        return [one for (one,) in execute(conn, "SELECT id FROM decision ORDER BY id")]


def count(settings: Settings, table: str) -> int:
    with opened(settings) as conn:
        return int(execute(conn, f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608 - ours


def bodies(settings: Settings) -> tuple[tuple[str, bytes], ...]:
    """A permit granted at once, a permit with a case, a denial, and a dry run, over ten donors."""
    with opened(settings) as conn:
        rows = execute(
            conn,
            "SELECT d.code FROM donor d JOIN holding h ON h.donor_id = d.id "
            "JOIN consent c ON c.id = h.consent_id JOIN consent_profile p ON p.id = c.profile_id "
            "WHERE h.kind = 'genome' AND h.collection_id = 'col_chb' AND CAST(p.ticks AS TEXT) LIKE '%\"gru\"%' "
            "AND c.written AND c.signed_on <= h.collected_on AND c.expires_on IS NULL "
            "AND d.id NOT IN (SELECT donor_id FROM withdrawal) ORDER BY d.code LIMIT 10",
        ).all()
    items = {"kinds": ["genome"], "cohort": {"samples": [code for (code,) in rows]}}
    price = {"price_fen": 90_000, "cost_fen": 50_000, "cost_documented": True}
    ask = PLAIN | {"items": items, "outputs": ["aggregate"]}
    asks = (
        ("/v1/access-requests", ask),
        ("/v1/access-requests", ask | {"outputs": ["individual"]}),
        ("/v1/access-requests", ask | {"price": price}),
        ("/v1/evaluations", ask),
    )
    return tuple((path, json.dumps({"ask": one}).encode()) for path, one in asks)


@pytest.fixture
def settings(template: Template, tmp_path: Path) -> Settings:
    return template.copy(tmp_path / "bank")


@pytest.fixture
def clients(template: Template, settings: Settings) -> Clients:
    return Clients(
        url=settings.issuer,
        headers={"Authorization": f"Bearer {template.key}", "Content-Type": "application/json"},
        bodies=bodies(settings),
    )


@pytest.mark.parametrize("kills", [KILLS, pytest.param(10 * KILLS, marks=pytest.mark.long)])
def test_twenty_kills_lose_nothing(settings: Settings, clients: Clients, kills: int) -> None:
    chance = random.Random(SEED)
    unanswered = 0
    with ExitStack() as servers:
        server = servers.enter_context(serving(settings))
        for _ in range(kills):
            with clients.load() as acknowledged:
                news = [acknowledged.get(timeout=60) for _ in range(chance.randint(1, 30))]
                server.process.join(chance.random() * 0.03)  # anywhere between two answers
                server.kill()
            while not acknowledged.empty():
                news.append(acknowledged.get())
            unanswered += len(clients.open)

            server = servers.enter_context(serving(settings))
            assert clients.unread(news) == []
            assert faults(settings, clients.told) == []
            clients.ask_again()
            assert (clients.open, clients.wrong) == ({}, [])
            # One decision for each key, whether it was answered at once or only when asked again.
            assert decided(settings) == sorted(one.decision for one in clients.told.values())
    for effect in ("grant_", "review_case"):  # the load had both, so the checks had what to check
        assert count(settings, effect) > 0
    assert unanswered >= kills  # the kills fell into the load: requests were under way


def test_acknowledging_before_commit_is_found_out(settings: Settings, clients: Clients) -> None:
    """The control: the same checks on a server that answers too early."""
    with serving(settings, fault=early_ack.install) as server, clients.load() as acknowledged:
        for _ in range(5):
            acknowledged.get(timeout=60)
        server.kill()
    with serving(settings):
        assert clients.unread(list(clients.told))
        assert any("is lost" in one for one in faults(settings, clients.told))
    assert clients.wrong == []
