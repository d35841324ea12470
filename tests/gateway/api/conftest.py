"""A bank with people, keys and something in every state, made once through the API, copied per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.bank import Bank, open_bank
from gateway.demo_world import World
from tests.gateway.api.cast import Cast, staged
from tests.gateway.api.door import Door
from tests.gateway.conftest import SettableClock, settings_in
from tests.store import copy_bank


@pytest.fixture(scope="session")
def staged_bank(
    filled_bank: tuple[Path, World], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Cast]:
    """The template: a closed bank in whose story every kind of thing has happened once."""
    folder = tmp_path_factory.mktemp("staged") / "bank"
    copy_bank(filled_bank[0], folder)
    bank = open_bank(settings_in(folder), SettableClock())
    try:
        cast = staged(bank, filled_bank[1])
    finally:
        bank.database.close()
    return folder, cast


@pytest.fixture(scope="session")
def cast(staged_bank: tuple[Path, Cast]) -> Cast:
    return staged_bank[1]


@pytest.fixture
def bank(staged_bank: tuple[Path, Cast], tmp_path: Path, clock: SettableClock) -> Iterator[Bank]:
    folder = tmp_path / "bank"
    copy_bank(staged_bank[0], folder)
    bank = open_bank(settings_in(folder), clock)
    yield bank
    bank.database.close()


@pytest.fixture
def door(bank: Bank) -> Iterator[Door]:
    with Door(create_app(bank)) as door:
        yield door
