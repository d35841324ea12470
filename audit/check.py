"""Checking a stored log against itself: everything is derived again from the leaf bytes.

`check` reads the whole log; `check_head` reads its right edge and is cheap enough for every start.
Both return nothing and raise `LogCorruptError` naming the first bad record.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select

from audit.leaf import commitment
from audit.merkle import CompactRange, leaf_hash
from audit.note import Checkpoint, Note, NoteError
from audit.tiles import TILE_WIDTH, root_of_hashes
from audit.tree import (
    LogCorruptError,
    NotInLogError,
    TileReader,
    documents,
    head,
    latest_checkpoint,
    leaf,
    log_checkpoint,
    log_leaf,
    log_opening,
    log_tile,
    root_at,
    stored_leaves,
)

_CHUNK: Final = 256  # leaves whose documents and openings are checked together


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a leaf says about itself."""

    index: int
    time_us: int
    docs: tuple[bytes, ...]
    commit: dict[str, bytes]


def check_head(conn: Connection, origin: str) -> None:
    """Check the right edge: head, frontier, tiles, last leaf, newest checkpoint agree."""
    newest = head(conn, origin)
    newest.tree()
    if root_at(conn, origin, newest.size) != newest.root:
        raise LogCorruptError(f"the tiles of `{origin}` do not give the root of its head")
    last = conn.execute(
        select(func.max(log_leaf.c.idx)).where(log_leaf.c.origin == origin)
    ).scalar_one()
    if (-1 if last is None else last) != newest.size - 1:
        raise LogCorruptError(f"the head of `{origin}` counts `{newest.size}`, its entries do not")
    if newest.size:
        entry = leaf(conn, origin, newest.size - 1)
        if TileReader(conn, origin, newest.size)(0, newest.size - 1) != leaf_hash(entry):
            raise LogCorruptError(f"entry `{last}` of `{origin}` is not the one in its tile")
        if _facts(entry, origin, newest.size - 1).time_us != newest.last_time_us:
            raise LogCorruptError(f"entry `{last}` of `{origin}` does not bear the head's time")
    note = latest_checkpoint(conn, origin)
    if note is not None:
        earlier = checkpoint_of(note, origin)
        if earlier.size > newest.size or root_at(conn, origin, earlier.size) != earlier.root:
            raise LogCorruptError(f"`{origin}` left the history of its last checkpoint")


def check(conn: Connection, origin: str, size: int | None = None) -> None:
    """Re-derive everything from the leaf bytes and compare it with all that is stored.

    Leaf hashes, indices, times, documents, openings, tiles, the root at every checkpoint, the
    head. `size`, if given, is how many entries there must be.
    """
    newest = head(conn, origin)
    if size is not None and newest.size != size:
        raise LogCorruptError(f"`{origin}` has `{newest.size}` entries where `{size}` must be")
    tree = CompactRange()
    tiles = _TileCheck(conn, origin)
    checkpoints = _CheckpointCheck(conn, origin)
    pending: list[_Facts] = []
    last_us: int | None = None
    for row in stored_leaves(conn, origin):
        checkpoints.reach(tree)
        expected = tree.size
        if row.index != expected:
            raise LogCorruptError(f"entry `{expected}` of `{origin}` is missing")
        if leaf_hash(row.leaf) != row.leaf_hash:
            raise LogCorruptError(f"entry `{expected}` of `{origin}` does not have its hash")
        facts = _facts(row.leaf, origin, expected)
        if last_us is not None and facts.time_us <= last_us:
            raise LogCorruptError(f"entry `{expected}` of `{origin}` is not after the one before")
        last_us = facts.time_us
        pending.append(facts)
        if len(pending) == _CHUNK:
            _check_beside(conn, origin, pending)
            pending = []
        tree.append(row.leaf_hash)
        tiles.append(row.leaf_hash)
    _check_beside(conn, origin, pending)
    tiles.finish()
    checkpoints.finish(tree)
    if tree.size != newest.size:
        raise LogCorruptError(
            f"the head of `{origin}` counts `{newest.size}` entries, there are `{tree.size}`"
        )
    if tree.root() != newest.root or tree.peaks != newest.frontier:
        raise LogCorruptError(f"the entries of `{origin}` do not give the root of its head")
    if last_us is not None and last_us != newest.last_time_us:
        raise LogCorruptError(f"the head of `{origin}` does not bear the time of its last entry")


def checkpoint_of(note: bytes, origin: str) -> Checkpoint:
    """The checkpoint in a note of our own store; raises `LogCorruptError` if it is torn."""
    try:
        found = Checkpoint.from_text(Note.from_bytes(note).text)
    except NoteError as error:
        raise LogCorruptError(f"a stored checkpoint of `{origin}` is torn: {error}") from error
    if found.origin != origin:
        raise LogCorruptError(f"a stored checkpoint of `{origin}` names `{found.origin}`")
    return found


class _TileCheck:
    """Builds every tile again and compares it with the stored one as soon as it is full."""

    def __init__(self, conn: Connection, origin: str) -> None:
        self._conn = conn
        self._origin = origin
        self._open: list[list[bytes]] = []  # the growing tile of each level
        self._full: list[int] = []  # how many tiles of each level are full

    def append(self, hashed: bytes) -> None:
        level = 0
        while True:
            if level == len(self._open):
                self._open.append([])
                self._full.append(0)
            growing = self._open[level]
            growing.append(hashed)
            if len(growing) < TILE_WIDTH:
                return
            self._compare(level)
            hashed = root_of_hashes(b"".join(growing))
            growing.clear()
            self._full[level] += 1
            level += 1

    def finish(self) -> None:
        expected = 0
        for level, growing in enumerate(self._open):
            expected += self._full[level]
            if growing:
                self._compare(level)
                expected += 1
        stored = self._conn.execute(
            select(func.count()).select_from(log_tile).where(log_tile.c.origin == self._origin)
        ).scalar_one()
        if stored != expected:
            raise LogCorruptError(
                f"`{self._origin}` has `{stored}` tiles where `{expected}` belong"
            )

    def _compare(self, level: int) -> None:
        n = self._full[level]
        data = self._conn.execute(
            select(log_tile.c.data).where(
                log_tile.c.origin == self._origin, log_tile.c.level == level, log_tile.c.n == n
            )
        ).scalar_one_or_none()
        if data != b"".join(self._open[level]):
            raise LogCorruptError(f"tile `{level}/{n}` of `{self._origin}` is missing or wrong")


class _CheckpointCheck:
    """Compares the root with every stored checkpoint as the tree passes its size."""

    def __init__(self, conn: Connection, origin: str) -> None:
        self._rest = _stored_checkpoints(conn, origin)
        self._next = next(self._rest, None)

    def reach(self, tree: CompactRange) -> None:
        while self._next is not None and self._next.size == tree.size:
            if self._next.root != tree.root():
                raise LogCorruptError(
                    f"the entries of `{self._next.origin}` do not give its checkpoint"
                    f" `{self._next.size}`"
                )
            self._next = next(self._rest, None)

    def finish(self, tree: CompactRange) -> None:
        self.reach(tree)
        if self._next is not None:
            raise LogCorruptError(
                f"`{self._next.origin}` has a checkpoint of `{self._next.size}` entries,"
                f" there are `{tree.size}`"
            )


def _stored_checkpoints(conn: Connection, origin: str) -> Iterator[Checkpoint]:
    after = -1
    while True:
        row = conn.execute(
            select(log_checkpoint.c.size, log_checkpoint.c.note)
            .where(log_checkpoint.c.origin == origin, log_checkpoint.c.size > after)
            .order_by(log_checkpoint.c.size)
            .limit(1)
        ).one_or_none()
        if row is None:
            return
        found = checkpoint_of(row.note, origin)
        if found.size != row.size:
            raise LogCorruptError(f"the checkpoint `{row.size}` of `{origin}` names another size")
        yield found
        after = row.size


def _facts(entry: bytes, origin: str, index: int) -> _Facts:
    """Read a leaf; raises `LogCorruptError` if it is not one, or not the one of `index`."""
    try:
        fields: dict[str, Any] = json.loads(entry)
        time = datetime.fromisoformat(fields["time"])
        facts = _Facts(
            index=fields["index"],
            time_us=(time - datetime.fromisoformat("1970-01-01T00:00:00Z"))
            // timedelta(microseconds=1),
            docs=tuple(bytes.fromhex(one) for one in fields.get("docs", [])),
            commit={name: bytes.fromhex(one) for name, one in fields.get("commit", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LogCorruptError(f"entry `{index}` of `{origin}` is not a leaf: {error}") from error
    if facts.index != index:
        raise LogCorruptError(f"entry `{index}` of `{origin}` calls itself `{facts.index}`")
    return facts


def _check_beside(conn: Connection, origin: str, rows: list[_Facts]) -> None:
    """Check the documents and openings that belong to these leaves."""
    if not rows:
        return
    first: dict[bytes, int] = {}
    for facts in rows:
        for digest in facts.docs:
            first.setdefault(digest, facts.index)
    found = documents(conn, first)
    for digest, index in first.items():
        try:
            sound = hashlib.sha256(next(found).body).digest() == digest
        except NotInLogError:
            sound = False
        if not sound:
            raise LogCorruptError(
                f"document `{digest.hex()}` of entry `{index}` of `{origin}` is missing or changed"
            )
    commits = {facts.index: facts.commit for facts in rows}
    openings = conn.execute(
        select(log_opening).where(
            log_opening.c.origin == origin,
            log_opening.c.idx.between(rows[0].index, rows[-1].index),
        )
    )
    for row in openings:
        if commits[row.idx].get(row.name) != commitment(row.salt, row.value):
            raise LogCorruptError(
                f"the opening of `{row.name}` of entry `{row.idx}` of `{origin}` is wrong"
            )
