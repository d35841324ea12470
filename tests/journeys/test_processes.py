"""Two gateways on one PostgreSQL, behind a plain TCP balancer, while donors withdraw through a third.

Clients keep what they sent and were told, and when; the checker reads that beside the log: nothing
lost, doubled or out of order, and no permit with a donor whose withdrawal precedes it in the log.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import pep
from gateway.bank import Bank, open_bank
from gateway.settings import Settings
from tests.gateway.registry.asks import PLAIN
from tests.journeys.conftest import Template
from tests.journeys.serving import NO_AUTHORITIES, free_port, serving
from tests.journeys.test_kill import Told, faults
from tests.journeys.test_order import withdraws
from tests.store import drop_under, execute, opened

pytestmark = pytest.mark.postgresql

CLIENTS = 6
WITHDRAWALS = 25
WILLING = (
    "SELECT d.id, d.code FROM donor d JOIN holding h ON h.donor_id = d.id "
    "JOIN consent c ON c.id = h.consent_id JOIN consent_profile p ON p.id = c.profile_id "
    "WHERE h.kind = 'genome' AND h.collection_id IN ('col_chb', 'col_asw', 'col_beb') "
    "AND CAST(p.ticks AS TEXT) LIKE '%\"gru\"%' AND c.written AND c.signed_on <= h.collected_on "
    "AND c.expires_on IS NULL AND d.deceased_on IS NULL "
    "AND d.id NOT IN (SELECT donor_id FROM withdrawal) ORDER BY d.code"
)


@dataclass(slots=True)
class Balancer:
    """Hands each new connection to the next server; `handed` counts them."""

    ports: list[int]
    handed: list[int] = field(default_factory=list)
    _turn: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self._turn = itertools.cycle(range(len(self.ports)))
        self.handed = [0] * len(self.ports)

    @contextmanager
    def on(self, port: int) -> Iterator[None]:
        """Balance in a thread of its own."""
        loop, ready = asyncio.new_event_loop(), threading.Event()

        async def run() -> None:
            server = await asyncio.start_server(self._carry, "127.0.0.1", port)
            ready.set()
            async with server:
                await ended.wait()

        ended = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        assert ready.wait(20)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        which = next(self._turn)
        self.handed[which] += 1
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.ports[which])

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while octets := await source.read(65536):
                    sink.write(octets)
                    await sink.drain()
            except ConnectionError:
                pass  # whoever asks sees it as a connection that ended
            finally:
                sink.close()

        await asyncio.gather(pump(reader, to_server), pump(from_server, writer))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One acknowledged answer: what it said, when it was asked for and when it was heard."""

    told: Told
    grant: str | None
    sent: float
    heard: float


@dataclass(slots=True)
class House:
    """Two gateways, their balancer, and the bank as the test itself opens it."""

    settings: Settings
    url: str
    key: str
    ports: list[int]
    bank: Bank
    balancer: Balancer
    heard: dict[str, Heard] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    withdrawn: dict[str, int] = field(default_factory=dict)  # donor → its leaf's index

    def http(self, url: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        return httpx.Client(
            base_url=url or self.url, headers=headers, timeout=60, verify=NO_AUTHORITIES
        )

    def ask(self, body: bytes, enough: Callable[[], bool]) -> None:
        """Ask again and again, each time over a new connection now and then, until it is enough."""
        while not enough():
            with self.http() as http:
                for _ in range(10):
                    key, sent = secrets.token_hex(16), time.monotonic()
                    answer = http.post(
                        "/v1/access-requests", content=body, headers={"Idempotency-Key": key}
                    )
                    heard = time.monotonic()
                    if answer.status_code != 201:
                        self.wrong.append(f"{answer.status_code} {answer.text}")
                        continue
                    said = answer.json()
                    place = said["log"]
                    told = Told(
                        decision=said["id"], index=place["index"], leaf_hash=place["leaf_hash"]
                    )
                    self.heard[key] = Heard(told=told, grant=said["grant"], sent=sent, heard=heard)

    def withdraw(self, donor: str) -> None:
        act, made = withdraws(donor)
        asyncio.run(act(self.bank))
        self.withdrawn[donor] = made[0].leaf_index


def found_wrong(house: House) -> list[str]:
    """Everything the histories show that must not be; raises if the log is not whole."""
    wrong = [*house.wrong, *faults(house.settings, {k: h.told for k, h in house.heard.items()})]
    places = [one.told.index for one in house.heard.values()]
    if len(set(places)) != len(places):
        wrong.append("two answers name one entry")
    # What was heard before another was asked for stands before it in the log.
    newest, by_heard = -1, iter(sorted(house.heard.values(), key=lambda one: one.heard))
    upcoming = next(by_heard, None)
    for one in sorted(house.heard.values(), key=lambda one: one.sent):
        while upcoming is not None and upcoming.heard < one.sent:
            newest = max(newest, upcoming.told.index)
            upcoming = next(by_heard, None)
        if one.told.index < newest:
            wrong.append(f"entry {one.told.index} was asked for after {newest} was told")
    with opened(house.settings) as conn:
        rows = execute(
            conn,
            "SELECT d.leaf_index, i.donor_id FROM grant_item i JOIN grant_ g ON g.id = i.grant_id "
            "JOIN decision d ON d.request_id = g.request_id AND d.occasion = 'submission'",
        ).all()
    wrong += [
        f"entry {index} permits `{donor}`, who withdrew in entry {house.withdrawn[donor]}"
        for index, donor in rows
        if donor in house.withdrawn and house.withdrawn[donor] < index
    ]
    return wrong


@contextmanager
def house_of(
    template: Template, folder: Path, fault: Callable[[], None] | None = None
) -> Iterator[House]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = template.copy(folder / "bank", public_url=url)
    others = [settings, settings.model_copy(update={"port": free_port()})]
    ports = [one.port for one in others]
    with ExitStack() as stack:
        for number, one in enumerate(others):
            said = folder / f"said-{number}.txt"
            stack.enter_context(serving(one, said=said, fault=fault))
        balancer = Balancer(ports)
        stack.enter_context(balancer.on(port))
        bank = open_bank(settings)
        stack.callback(bank.database.close)
        yield House(
            settings=settings, url=url, key=template.key, ports=ports, bank=bank, balancer=balancer
        )


def load(house: House) -> None:
    """Everybody asks for the same people, some of whom withdraw meanwhile."""
    with house.bank.database.read() as conn:
        people = [(row.id, row.code) for row in execute(conn, WILLING)]
    assert len(people) > WITHDRAWALS
    body = json.dumps({"ask": asked([code for _, code in people])}).encode()
    done = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        asking = [threads.submit(house.ask, body, done.is_set) for _ in range(CLIENTS)]
        try:
            for donor, _ in people[:WITHDRAWALS]:
                # Between two answers, so that a withdrawal falls among requests under way.
                wanted = len(house.heard) + 2
                house.withdraw(donor)
                while len(house.heard) < wanted:
                    assert not any(one.done() and one.exception() for one in asking)
                    done.wait(0.01)
        finally:
            done.set()
        for one in asking:
            one.result(120)


def asked(codes: list[str]) -> dict[str, Any]:
    items = {"kinds": ["genome"], "cohort": {"samples": codes}}
    return PLAIN | {"outputs": ["aggregate"], "price": {"price_fen": 0}, "items": items}


@pytest.mark.parametrize("seconds", [0, pytest.param(600, marks=pytest.mark.long)])
def test_two_gateways_keep_one_order(template: Template, tmp_path: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    for turn in itertools.count():
        folder = tmp_path / str(turn)
        folder.mkdir()
        with house_of(template, folder) as house:
            load(house)
            assert found_wrong(house) == []
            assert len(house.heard) >= 2 * WITHDRAWALS
            assert len(house.withdrawn) == WITHDRAWALS
            assert any(one.grant for one in house.heard.values())
            assert min(house.balancer.handed) > 0, "both were asked"
        drop_under(folder)
        if time.monotonic() >= end:
            return


def overlook() -> None:
    """What another process changed between gathering and recording is not looked at."""
    pep.current = lambda _conn, _bank, prepared: prepared  # type: ignore[assignment]


def test_gateways_that_do_not_look_again_are_found_out(template: Template, tmp_path: Path) -> None:
    """The control: the same load and the same checker."""
    with house_of(template, tmp_path, fault=overlook) as house:
        load(house)
        assert any("who withdrew in entry" in one for one in found_wrong(house))


def test_one_key_at_two_gateways_is_one_case(template: Template, tmp_path: Path) -> None:
    with house_of(template, tmp_path) as house:
        with house.bank.database.read() as conn:
            codes = [row.code for row in execute(conn, WILLING)]
        # Individual data: a permit that a person confirms, so a case.
        body = json.dumps({"ask": asked(codes) | {"outputs": ["individual"]}}).encode()
        ready = threading.Barrier(20)

        def post(which: int) -> tuple[int, bytes]:
            with house.http(f"http://127.0.0.1:{house.ports[which % 2]}") as http:
                ready.wait(60)
                answer = http.post(
                    "/v1/access-requests", content=body, headers={"Idempotency-Key": "the-same"}
                )
                return answer.status_code, answer.content

        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(post, range(20)))
        assert {status for status, _ in answers} == {201}, answers
        assert len({content for _, content in answers}) == 1
        with opened(house.settings) as conn:
            for table in ("access_request", "decision", "review_case"):
                found = execute(conn, f"SELECT count(*) FROM {table}").scalar_one()  # noqa: S608 - ours
                assert found == 1, table
