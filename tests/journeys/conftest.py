"""Banks for the journeys: one with the clock of the world, for servers; one with a clock to set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from gateway import demo_world
from gateway.bank import create_bank, system_clock
from gateway.demo_world import World
from gateway.identity import api_keys
from gateway.identity.scopes import KEY_SCOPES
from gateway.settings import Settings
from tests.gateway.conftest import bank, clock, filled_bank, settings_in, world
from tests.journeys.serving import free_port
from tests.store import copy_bank

__all__ = ["bank", "clock", "filled_bank", "world"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A closed bank, filled today, with a key of the hospital; copied for each server."""

    folder: Path
    world: World
    key: str

    def copy(self, to: Path, **changes: object) -> Settings:
        """Settings of a copy in `to`, on a port of its own."""
        copy_bank(self.folder, to)
        return settings_in(to).model_copy(update={"port": free_port(), **changes})


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("journeys")
    made = create_bank(
        settings_in(folder),
        origin="bank.example/journeys",
        name_zh="虚构人类遗传资源保藏库",
        name_en="Invented HGR Bank",
        invented=True,
    )
    try:
        filled = made.database.write(lambda conn: demo_world.fill(conn, made, now=system_clock()))
        wanted = api_keys.Wanted(
            party_id=filled.parties["shanghai_hospital"],
            label="试验",
            scopes=tuple(sorted(KEY_SCOPES)),
            expires_at=system_clock() + timedelta(days=300),
        )
        minted = made.database.write(
            partial(api_keys.mint, bank=made, wanted=wanted, created_by="test")
        )
    finally:
        made.database.close()
    return Template(folder=folder, world=filled, key=minted.text)
