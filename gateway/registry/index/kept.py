"""The index of one bank in one process: opened from its file or made, brought up to date, kept.

    index.open(database, origin, file, today)
    with index.under(conn, version, day) as speaks:
        if speaks is not None:
            there, behind = speaks

One asks at a time; while it is made, nobody waits for it.
"""

from __future__ import annotations

import json
import os
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from pyroaring import BitMap
from sqlalchemy import Connection

from audit.tree import head, root_at
from gateway.database import Database
from gateway.registry.index.rows import Agreed, Context, Item, Person, rows_of
from gateway.registry.index.there import Ids, Numbers, There
from gateway.tables import metadata

_BANK = metadata.tables["bank"]
_CHANGE = metadata.tables["donor_change"]

#: The layout of the file; one of another is made anew.
LAYOUT = 1
_SEEN = 1000  # times it was brought up to date that are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Of whom something was read anew, when the index came to a version and day."""

    version: int
    day: date
    donors: frozenset[str]


class Index:
    """The index of one bank in this process; of several processes each has its own."""

    def __init__(self) -> None:
        self._there: There | None = None
        self._since = (0, date.min)  # who began before is not told of all it has seen since
        self._seen: deque[_Seen] = deque()
        self._door = threading.RLock()
        self._opening = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is one to ask; while it is brought up to date, that is waited for."""
        with self._door:
            return self._there is not None

    def open(
        self,
        database: Database,
        origin: str,
        file: Path,
        day: date,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Have an index: the one in `file`, or else one made from the rows, which is then kept there.

        From here on the bank notes whose rows change, so that no index need be made anew. `progress` is
        told how many donors were read. Not to be called within a transaction.
        """
        # Not behind the door: the writer asks whether there is one, and here the writer is waited for.
        with self._opening:
            if self.is_open:
                return
            b = _BANK.c
            since = (
                sa.update(_BANK).where(b.noted_since.is_(None)).values(noted_since=b.facts_version)
            )
            fresh = database.write(lambda conn: conn.execute(since).rowcount) == 1
            with database.read() as conn:
                version = int(conn.execute(sa.select(b.facts_version)).scalar_one())
                there = None if fresh else _loaded(file, conn, origin)
                if there is None or there.version > version or there.day > day:
                    there = There(version, day)
                    there.read(rows_of(conn), progress)
                    _save(there, file, conn, origin)
            there.door = self._door
            with self._door:
                self._there, self._since = there, (there.version, there.day)
                self._seen.clear()

    @contextmanager
    def under(
        self, conn: Connection, version: int, day: date
    ) -> Iterator[tuple[There, frozenset[str]] | None]:
        """The index, and the donors it cannot speak for to whoever sees this version of the facts.

        None where it cannot speak at all: there is none, or it is long past that version or day. A reader
        brings it up to date, so that it can speak for everybody; what a write has changed may never be
        committed, so of that it learns nothing. Whoever began before what it has seen since is told of
        whom it has seen it.
        """
        with self._door:
            there = self._there
            if there is None or version < self._since[0] or day < self._since[1]:
                yield None
                return
            behind = self._behind(conn, there, version, day)
            ahead = version < there.version or day < there.day
            if not ahead and not conn.info.get("write"):
                if behind or day > there.day:
                    self._catch_up(conn, there, behind, version, day)
                there.version, behind = version, set()
            yield there, frozenset(behind)

    def _behind(self, conn: Connection, there: There, version: int, day: date) -> set[str]:
        """Donors of whom a row or a dated fact is another under this version and day."""
        found: set[str] = set()
        for seen in self._seen:
            if seen.version > version or seen.day > day:
                found |= seen.donors
        if version > there.version:
            changed = sa.select(_CHANGE.c.donor_id).where(_CHANGE.c.version > there.version)
            found |= set(conn.execute(changed).scalars())
        if day > there.day:
            turned = np.flatnonzero(there.column("turns") <= day.toordinal())
            found |= {there.ids[int(number)] for number in turned}
        return found

    def _catch_up(
        self, conn: Connection, there: There, behind: set[str], version: int, day: date
    ) -> None:
        # Should it break off in the middle, there is no index until one is made anew.
        self._there = None
        there.day = day
        there.read(rows_of(conn, sorted(behind)))
        there.version = version
        self._there = there
        if len(self._seen) == _SEEN:
            oldest = self._seen.popleft()
            self._since = (oldest.version, oldest.day)
        self._seen.append(_Seen(version=version, day=day, donors=frozenset(behind)))

    def keep(self, database: Database, origin: str, file: Path) -> None:
        """Write it down as it stands, if donors were read anew since; for the end of a process."""
        with self._door, database.read() as conn:
            there = self._there
            if there is not None and there.changed:
                _save(there, file, conn, origin)


#: What an index numbers, in the order of the numbers, and how each is read from JSON.
_TABLES: Mapping[str, Callable[[Any], Any]] = {
    "items": lambda one: Item(*one),
    "people": lambda one: Person._make([*one[:-1], tuple(map(tuple, one[-1]))]),
    "consents": lambda one: None if one is None else Agreed(*one),
    "collections": str,
    "contexts": lambda one: Context(*one),
    "sets": tuple,
    "patterns": tuple,
}
_MAPS = ("of_holdings", "of_sheaves")


def _save(there: There, file: Path, conn: Connection, origin: str) -> None:
    """One line of JSON, then the columns and bitmaps it names, then the SHA-256 of all that.

    Written beside and renamed: whoever reads finds the old one or the new one whole. It is bound to the
    log: whose root at that size is another is not this bank, or a bank restored to another past.
    """
    size = head(conn, origin).size
    parts: list[tuple[str, bytes | bytearray | memoryview]] = [
        ("ids", there.ids.text),
        ("ends of ids", memoryview(there.ids.ends).cast("B")),
        ("hashes of ids", memoryview(there.ids.hashes).cast("B")),
        *((name, memoryview(column).cast("B")) for name, column in there.columns.items()),
        ("shown", there.shown.serialize()),
        ("live", there.live.serialize()),
    ]
    for name in _MAPS:
        for (of, value), found in getattr(there, name).items():
            parts.append((json.dumps([name, of, value]), found.serialize()))
    first = {
        "layout": LAYOUT,
        "origin": origin,
        "size": size,
        "root": root_at(conn, origin, size).hex(),
        "version": there.version,
        "day": there.day.isoformat(),
        "tables": {name: getattr(there, name).all for name in _TABLES},
        "parts": [[name, len(content)] for name, content in parts],
    }
    digest = sha256()
    beside = file.with_suffix(f".{os.getpid()}")
    with beside.open("wb") as out:
        beside.chmod(0o600)
        for content in (json.dumps(first).encode() + b"\n", *(content for _, content in parts)):
            out.write(content)
            digest.update(content)
        out.write(digest.digest())
        out.flush()
        os.fsync(out.fileno())
    beside.rename(file)
    there.changed = 0


def _loaded(file: Path, conn: Connection, origin: str) -> There | None:
    """The index in a file; None if there is none, or none that is whole and this bank's."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    body = memoryview(content)[:-32]
    if sha256(body).digest() != content[-32:]:
        return None
    end = content.index(b"\n")
    first = json.loads(content[:end])
    if (first["layout"], first["origin"]) != (LAYOUT, origin) or first["size"] > head(
        conn, origin
    ).size:
        return None
    if root_at(conn, origin, first["size"]).hex() != first["root"]:
        return None
    there = There(first["version"], date.fromisoformat(first["day"]))
    for name, read in _TABLES.items():
        setattr(there, name, Numbers(map(read, first["tables"][name])))
    parts, at = {}, end + 1
    for name, length in first["parts"]:
        parts[name] = body[at : at + length]
        at += length
    for name, column in there.columns.items():
        column.frombytes(parts.pop(name))
    ends, hashes = array("Q"), array("Q")
    ends.frombytes(parts.pop("ends of ids"))
    hashes.frombytes(parts.pop("hashes of ids"))
    there.ids = Ids(parts.pop("ids"), ends, hashes)
    there.shown = BitMap.deserialize(bytes(parts.pop("shown")))
    there.live = BitMap.deserialize(bytes(parts.pop("live")))
    for name, part in parts.items():
        maps, of, value = json.loads(name)
        getattr(there, maps)[of, value] = BitMap.deserialize(bytes(part))
    return there
