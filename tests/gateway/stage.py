"""A small bank for the rooms of floor 2: a real database with a few invented rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway import tables
from gateway.database import Database
from gateway.tables import table_of
from tests.store import place_in

T = TypeVar("T")

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)  # 10:00 in Shanghai
DAY = date(2026, 11, 22)

#: (holding, donor, class, kind, units, sha256)
HOLDINGS = [
    ("hld_1t", "dnr_1", "material", "plasma", 3, None),
    ("hld_1d", "dnr_1", "information", "exome", 1, "11" * 32),
    ("hld_2t", "dnr_2", "material", "plasma", 1, None),
    ("hld_2d", "dnr_2", "information", "exome", 1, "22" * 32),
    ("hld_3t", "dnr_3", "material", "plasma", 2, None),
    ("hld_3x", "dnr_3", None, "clinical", 1, "33" * 32),
]


class Stage:
    """The open file; `do` runs one unit through the writer, as the gateway does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.decisions = 0

    def do(self, unit: Callable[[Connection], T]) -> T:
        return self.database.write(unit)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self.database.read() as conn:
            yield conn

    def request(self, request_id: str, *, party: str = "pty_asker", version: int = 1) -> str:
        """A submitted request of `party`, with a version for each number up to `version`."""

        def unit(conn: Connection) -> None:
            put(
                conn,
                tables.AccessRequest,
                id=request_id,
                party_id=party,
                key_id="key_1",
                project_id="prj_1",
                state="submitted",
                version=version,
                revision=1,
                created_at=NOW,
                updated_at=NOW,
            )
            for n in range(1, version + 1):
                body = {"project": "prj_1", "purpose": {"research": "health", "text": f"v{n}"}}
                put(
                    conn,
                    tables.RequestVersion,
                    request_id=request_id,
                    n=n,
                    body=json.dumps(body).encode(),
                    submitted_at=NOW,
                    saved_by="key_1",
                    saved_at=NOW,
                )

        self.do(unit)
        return request_id

    def decision(self, request_id: str, *, outcome: str = "permit", version: int = 1) -> str:
        self.decisions += 1
        decision_id = f"dec_{self.decisions}"
        values = {
            "id": decision_id,
            "request_id": request_id,
            "version": version,
            "party_id": "pty_asker",
            "occasion": "submission",
            "outcome": outcome,
            "as_of": DAY,
            "document_sha256": "ab" * 32,
            "leaf_index": self.decisions,
            "facts_version": 1,
            "decided_at": NOW,
        }
        if "blind" in table_of(tables.DecisionRow).c:
            values["blind"] = False
        self.do(lambda conn: put(conn, tables.DecisionRow, **values))
        return decision_id


def put(conn: Connection, row: type, **values: object) -> None:
    conn.execute(sa.insert(table_of(row)).values(**values))


@contextmanager
def stage_in(folder: Path) -> Iterator[Stage]:
    database = Database(place_in(folder))
    try:
        stage = Stage(database)
        stage.do(_set)
        yield stage
    finally:
        database.close()


def _set(conn: Connection) -> None:
    tables.metadata.create_all(conn)
    for party in ("pty_bank", "pty_asker", "pty_other"):
        put(conn, tables.Party, id=party, name_zh="虚构", name_en="Invented", country="CN",
            registration="", individual=False, hkmo_entity=False, ban_checked=False,
            credit_flag=False, invented=True, created_at=NOW)  # fmt: skip
    put(conn, tables.BankRow, id=1, party_id="pty_bank", origin="stage.invalid/hgr",
        facts_version=1, created_at=NOW)  # fmt: skip
    for project in ("prj_1", "prj_2"):
        put(conn, tables.Project, id=project, party_id="pty_asker", title="x", created_at=NOW)
    for login in ("ada", "bo", "cai", "asker"):
        party = "pty_asker" if login == "asker" else "pty_bank"
        put(conn, tables.Person, id=f"psn_{login}", login=login, name=login, party_id=party,
            roles=["officer"], password_hash="-", totp_secret="-", totp_last_step=0, failures=0,
            active=True, created_at=NOW)  # fmt: skip
    put(conn, tables.Collection, id="col_1", code="C1", name_zh="虚构", name_en="Invented",
        country="CN", source_party_id="pty_bank", owner_consent_needed=False, invented=True,
        created_at=NOW)  # fmt: skip
    put(conn, tables.ConsentForm, id="frm_1", collection_id="col_1", version="1", title="x",
        valid_from=date(2020, 1, 1), text_sha256="00" * 32, created_at=NOW)  # fmt: skip
    put(conn, tables.ConsentProfile, id="cpr_1", form_id="frm_1", ticks=["gru"])
    for donor in ("dnr_1", "dnr_2", "dnr_3"):
        put(conn, tables.Donor, id=donor, code=donor.upper(), created_at=NOW)
        put(conn, tables.Consent, id=f"cns_{donor}", donor_id=donor, collection_id="col_1",
            profile_id="cpr_1", signed_on=date(2021, 1, 1), by_guardian=False,
            recorded_at=NOW)  # fmt: skip
    for holding, donor, item_class, kind, units, sha256 in HOLDINGS:
        put(conn, tables.Holding, id=holding, code=holding.upper(), donor_id=donor,
            consent_id=f"cns_{donor}", collection_id="col_1", kind=kind, item_class=item_class,
            data_class=kind if item_class == "information" else None, units=units, sha256=sha256,
            bytes=1000 if sha256 else None, available=True)  # fmt: skip


def later(**delta: int) -> datetime:
    return NOW + timedelta(**delta)
