"""A bank with two parties and nothing else: identity reads neither the law nor what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI

from gateway import keys as key_files
from gateway.api import door
from gateway.api import oauth as oauth_routes
from gateway.bank import Bank, migrate
from gateway.database import Database
from gateway.identity import api_keys, people
from gateway.identity.api_keys import Minted, Wanted
from gateway.identity.caller import Caller, install, public, require
from gateway.identity.people import Enrolled, NewPerson
from gateway.tables import metadata
from tests.gateway.conftest import settings_in
from tests.store import copy_bank

START = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
BANK_PARTY = "pty_bank"
COMPANY = "pty_company"
PASSWORD = "correct horse battery staple"


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.instant = START

    def __call__(self) -> datetime:
        return self.instant

    def advance(self, **delta: float) -> None:
        self.instant += timedelta(**delta)


@pytest.fixture(scope="session")
def empty_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("identity")
    key_files.create(folder / "keys", "bank.example/hgr")
    (folder / "data").mkdir()
    database = Database(settings_in(folder).place)
    migrate(database)

    def parties(conn: sa.Connection) -> None:
        for party in (BANK_PARTY, COMPANY):
            conn.execute(
                sa.insert(metadata.tables["party"]).values(
                    id=party,
                    name_zh="虚构单位",
                    name_en="Invented",
                    country="CN",
                    registration="",
                    individual=False,
                    hkmo_entity=False,
                    ban_checked=False,
                    credit_flag=False,
                    invented=True,
                    created_at=START,
                )
            )

    database.write(parties)
    database.close()
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def options() -> dict[str, Any]:
    """Settings a test module wants otherwise."""
    return {}


@pytest.fixture
def bank(empty_bank: Path, tmp_path: Path, clock: Clock, options: dict[str, Any]) -> Iterator[Bank]:
    folder = tmp_path / "bank"
    copy_bank(empty_bank, folder)
    settings = settings_in(folder).model_copy(update=options)
    database = Database(settings.place)
    yield Bank(
        settings=settings,
        keys=key_files.load(settings.keys_dir),
        database=database,
        laws=None,  # type: ignore[arg-type]  # nothing here decides
        diseases=None,  # type: ignore[arg-type]  # as above
        origin="bank.example/hgr",
        party_id=BANK_PARTY,
        clock=clock,
    )
    database.close()


@pytest.fixture
def mint(bank: Bank) -> Callable[..., Minted]:
    def make(
        *scopes: str, networks: tuple[str, ...] = (), days: float = 90, party_id: str = COMPANY
    ) -> Minted:
        wanted = Wanted(
            party_id=party_id,
            label="a key",
            scopes=scopes or ("samples:query", "requests:write"),
            networks=networks,
            expires_at=bank.now() + timedelta(days=days),
        )
        return bank.database.write(
            lambda conn: api_keys.mint(conn, bank, wanted, created_by="psn_admin")
        )

    return make


@pytest.fixture
def enrol(bank: Bank) -> Callable[..., Enrolled]:
    def make(login: str = "li.officer", roles: tuple[str, ...] = ("officer",)) -> Enrolled:
        new = NewPerson(
            login=login,
            name="李 (虚构)",
            party_id=BANK_PARTY,
            roles=roles,
            password_hash=people.hash_password(PASSWORD, login=login),
        )
        return bank.database.write(lambda conn: people.create(conn, bank, new))

    return make


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """A client whose requests come from `peer`, through the real app in this process."""

    app: FastAPI
    peer: str = "127.0.0.1"

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(self.peer, 50000))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://gateway.example"
            ) as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(send())

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("POST", path, **kwargs)

    def coming_from(self, peer: str) -> Http:
        return Http(app=self.app, peer=peer)


@pytest.fixture
def http(bank: Bank) -> Http:
    app = FastAPI(openapi_url=None)
    install(app, bank)
    door.install(app)
    app.include_router(oauth_routes.router)

    @app.get("/who")
    async def who(caller: Annotated[Caller, Depends(require("samples:query"))]) -> dict[str, Any]:
        return {
            "id": caller.id,
            "kind": caller.kind,
            "party_id": caller.party_id,
            "scopes": sorted(caller.scopes),
            "roles": sorted(caller.roles),
        }

    @app.get("/open", dependencies=[Depends(public())])
    async def open_to_all() -> dict[str, str]:
        return {}

    return Http(app=app)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}
