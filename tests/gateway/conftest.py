"""A real bank for every test: a filled file made once, copied for each, with a clock one can set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.bank import Bank, create_bank, open_bank
from gateway.demo_world import World, fill
from gateway.settings import Settings
from tests.store import copy_bank, url_in

#: The instant every test bank starts at; 10:00 in Shanghai.
START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
ORIGIN = "bank.example/hgr"


class SettableClock:
    """A clock that stands still until told otherwise."""

    def __init__(self, instant: datetime = START) -> None:
        self.instant = instant

    def __call__(self) -> datetime:
        return self.instant

    def advance(self, **delta: int) -> None:
        """Move on by `timedelta(**delta)`."""
        self.instant += timedelta(**delta)


def settings_in(folder: Path) -> Settings:
    return Settings(
        data_dir=folder / "data", keys_dir=folder / "keys", database_url=SecretStr(url_in(folder))
    )


@pytest.fixture(scope="session")
def filled_bank(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    """The template: a closed bank's folder, filled with the invented world, and that world."""
    folder = tmp_path_factory.mktemp("template")
    bank = create_bank(
        settings_in(folder),
        origin=ORIGIN,
        name_zh="虚构人类遗传资源保藏库",
        name_en="Invented HGR Bank",
        invented=True,
        clock=SettableClock(),
    )
    try:
        world = bank.database.write(lambda conn: fill(conn, bank, now=START))
    finally:
        bank.database.close()
    return folder, world


@pytest.fixture(scope="session")
def world(filled_bank: tuple[Path, World]) -> World:
    return filled_bank[1]


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def bank(filled_bank: tuple[Path, World], tmp_path: Path, clock: SettableClock) -> Iterator[Bank]:
    """A copy of the template, open; `bank.clock` is the `clock` fixture."""
    folder = tmp_path / "bank"
    copy_bank(filled_bank[0], folder)
    bank = open_bank(settings_in(folder), clock)
    yield bank
    bank.database.close()
