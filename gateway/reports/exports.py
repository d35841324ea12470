"""Audit exports: the whole log up to a checkpoint as one file a regulator verifies alone (floor 4).

The rules it keeps: the file holds the packs beside the decisions, so they can be decided again from
it alone; it is whole and on disk before it has a name; what was exported is itself in the log.

    export = exports.make(bank, asked_by=caller.id)     # in a thread: it may be large
    exports.record(conn, export)                        # unit part of pep.record_event
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy import Connection

from audit.log import publish
from audit.package import Title, write_package
from gateway import tables
from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.registry import generations
from gateway.registry.generations import Generation

EXPORT = tables.table_of(tables.ExportRow)

PAGE = 100  # the most a list gives at once
TITLE = Title(zh="人类遗传资源保藏库审计包", en="Audit package of a human genetic resource bank")
#: Where in the package the law lies, and the releases it leans on.
PACKS = "packs"
EARLIER = "law/files"
GENERATIONS = "law/generations.json"
DIGESTS = "law/digests.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One finished export: `size` records up to its checkpoint, the file and its SHA-256."""

    id: str
    asked_by: str
    size: int
    file_name: str
    sha256: str
    bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some exports, oldest first."""

    exports: tuple[Export, ...]
    has_more: bool


def make(bank: Bank, *, asked_by: str) -> Export:
    """Write a new export of everything recorded so far into `settings.exports`.

    Blocks while it writes; call it from a thread. `asked_by` is an opaque actor id. Raises
    `audit.log.LogError` if the log does not stand, `OSError` if the disk does not take the file.
    """
    # 1 the checkpoint is durable before anything is built on it
    note = bank.database.write(lambda conn: publish(conn, bank.origin, bank.keys.log))
    # 2 the file, under a name nobody asks for
    folder = bank.settings.exports
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    export_id = tables.new_id("exp")
    part = folder / f"{export_id}.part"
    try:
        with _new_file(part) as file, bank.database.read() as conn:
            checkpoint = write_package(
                conn,
                bank.origin,
                file,
                signer=bank.keys.log,
                title=TITLE,
                extras=law_files(bank, conn),
                note=note,
            )
            file.flush()
            os.fsync(file.fileno())
        digest, size = _digest(part)
        name = f"HGR-EXPORT-{checkpoint.size}-{export_id}.zip"
        # 3 A crash before this line leaves a `.part` that nothing refers to; after it, a whole file
        # that no row names yet, and the next export is another one.
        part.rename(folder / name)
        _sync(folder)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return Export(
        id=export_id,
        asked_by=asked_by,
        size=checkpoint.size,
        file_name=name,
        sha256=digest,
        bytes=size,
        created_at=bank.now(),
    )


def record(conn: Connection, export: Export) -> Export:
    """Write the export's row (a unit part); who may fetch it is asked of this row."""
    conn.execute(
        sa.insert(EXPORT).values(
            id=export.id,
            asked_by=export.asked_by,
            size=export.size,
            file_name=export.file_name,
            sha256=export.sha256,
            bytes=export.bytes,
            created_at=export.created_at,
        )
    )
    return export


def get(conn: Connection, export_id: str) -> Export:
    """The export; raises `ProblemError` not_found."""
    row = conn.execute(sa.select(EXPORT).where(EXPORT.c.id == export_id)).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", f"no export `{export_id}`")
    return Export(**row)


def list_exports(conn: Connection, *, limit: int = 20, starting_after: str | None = None) -> Page:
    """Exports, oldest first; raises `ProblemError` as the other lists do."""
    if not 1 <= limit <= PAGE:
        raise ProblemError("invalid_request", f"`limit` must be 1 to {PAGE}")
    query = sa.select(EXPORT).order_by(EXPORT.c.created_at, EXPORT.c.id).limit(limit + 1)
    if starting_after is not None:
        after = get(conn, starting_after)
        query = query.where(
            sa.or_(
                EXPORT.c.created_at > after.created_at,
                sa.and_(EXPORT.c.created_at == after.created_at, EXPORT.c.id > after.id),
            )
        )
    rows = conn.execute(query).mappings().all()
    return Page(exports=tuple(Export(**row) for row in rows[:limit]), has_more=len(rows) > limit)


def path_of(bank: Bank, export: Export) -> Path:
    """Where the file lies; raises `ProblemError` not_found if somebody moved it away."""
    path = bank.settings.exports / export.file_name
    if not path.is_file():
        raise ProblemError("not_found", f"the file of export `{export.id}` is not there")
    return path


def law_files(bank: Bank, conn: Connection) -> dict[str, bytes]:
    """Every generation's packs in the package, and the digests of what they lean on.

    Those in force lie under their names; of generations before, each file that has changed since lies
    under its digest, and a list says which made up which. The digests name the releases of DUO and the
    disease tree, and the versions of the derived facts and of the PDP: with another of these a decision
    may rightly come out another way.
    """
    active, law = bank.laws.in_force(conn)
    made = generations.listed(conn, activated=True)
    held = {one.id: generations.contents(conn, one) for one in made}
    files = {f"{PACKS}/{path}": content for path, content in held[active].items()}
    now = set(generations.read(conn, active).files.values())
    for one in made:
        for path, content in held[one.id].items():
            if one.files[path] not in now:
                files[f"{EARLIER}/{one.files[path]}.yaml"] = content
    files[GENERATIONS] = _json([_told(one) for one in made])
    files[DIGESTS] = _json(dict(law.on(bank.today()).digests))
    return files


def _told(made: Generation) -> dict[str, object]:
    return {
        "id": made.id,
        "digest": made.digest,
        "files": dict(made.files),
        "proposed_by": made.proposed_by,
        "activated_by": made.activated_by,
        "activated_at": None if made.activated_at is None else made.activated_at.isoformat(),
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _new_file(path: Path) -> BinaryIO:
    # Private from its first byte: it holds every decision the bank ever made.
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


def _sync(folder: Path) -> None:
    # The rename is durable only once the folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
