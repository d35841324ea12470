"""A small bank's log to test on: a real SQLite file or a PostgreSQL database, a fixed clock, real keys."""

import hashlib
import io
import json
import shutil
import sqlite3
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, create_engine, event

from audit import log
from audit.leaf import Draft
from audit.note import Signer, sign
from audit.package import Title, write_package
from tests import store

ORIGIN = "bank.example/log"
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SIGNER = Signer(name=ORIGIN, seed=hashlib.sha256(b"a key for tests").digest())
OTHER = Signer(name=ORIGIN, seed=hashlib.sha256(b"another key").digest())
EXTRAS = {
    "packs/hgr/2024-07-01.yaml": b"rules: []\n",
    "law/hgr.txt": "人类遗传资源管理条例\n".encode(),
}


def open_bank(path: Path) -> Engine:
    """The engine as the gateway sets it up: transactions begin at BEGIN IMMEDIATE on SQLite.

    On PostgreSQL the database goes by the path, and it is the head's row lock that makes writers wait.
    """
    if store.is_postgresql():
        return create_engine(store.url_in(path))
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _autocommit(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(conn) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def copy_bank(path: Path, to: Path) -> Path:
    """Copy a bank that nobody has open."""
    if store.is_postgresql():
        store.copy_database(path, to)
        return to
    return Path(shutil.copy(path, to))


def new_bank(path: Path) -> Engine:
    engine = open_bank(path)
    with engine.begin() as conn:
        log.metadata.create_all(conn)
        log.create(conn, ORIGIN, NOW)
    return engine


def draft(number: int) -> Draft:
    """Every third entry shares its document with the one before."""
    body = json.dumps({"decision": number - (number % 3 == 2)}).encode()
    return Draft(
        kind="decision" if number % 2 == 0 else "release.intent",
        actor="key-01",
        outcome="permit",
        rules=("R-GEN-01", "R-CON-03"),
        subjects={"request": f"req-{number}"},
        documents=(body,),
        commitments={"donors": f"HG{number:05}"},
    )


def fill(engine: Engine, count: int, *, batch: int = 7, start: int = 0) -> None:
    """Append entries in batches and re-verify the whole tree at the end."""
    for first in range(start, start + count, batch):
        drafts = [draft(at) for at in range(first, min(first + batch, start + count))]
        with engine.begin() as conn:
            log.append(conn, ORIGIN, drafts, now=NOW + timedelta(seconds=first))
    with engine.begin() as conn:
        log.check(conn, ORIGIN, start + count)


def package(engine: Engine, signer: Signer = SIGNER) -> bytes:
    out = io.BytesIO()
    with engine.begin() as conn:
        write_package(
            conn,
            ORIGIN,
            out,
            signer=signer,
            title=Title(zh="某市样本库", en="A city's bank"),
            extras=EXTRAS,
        )
    return out.getvalue()


def members(package_bytes: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(package_bytes)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as writing:
        for name, body in contents.items():
            writing.writestr(name, body)
    return out.getvalue()


def adjusted(contents: dict[str, bytes], signer: Signer | None = None) -> dict[str, bytes]:
    """What an attacker makes of changed records: hash list, counts and digests fixed up.

    With a `signer` the manifest is signed anew (the attacker who holds the key).
    """
    fixed = dict(contents)
    lines = fixed["log/entries.jsonl"].split(b"\n")[:-1]
    fixed["log/hashes"] = b"".join(
        hashlib.sha256(b"\x00" + line).hexdigest().encode() + b"\n" for line in lines
    )
    manifest = json.loads(fixed["manifest.json"])
    for row in manifest["members"]:
        body = fixed[row["name"]]
        row["size"], row["sha256"] = len(body), hashlib.sha256(body).hexdigest()
    fixed["manifest.json"] = json.dumps(manifest, ensure_ascii=False).encode()
    if signer is not None:
        fixed = resigned(fixed, signer)
    return fixed


def resigned(contents: dict[str, bytes], signer: Signer) -> dict[str, bytes]:
    digest = hashlib.sha256(contents["manifest.json"]).hexdigest()
    note = sign(f"{ORIGIN}/package\nsha256:{digest}\n", signer)
    return {**contents, "manifest.note": note}
