"""Checking a stored log against itself: everything is derived again from the leaf bytes.

`check` reads the whole log; `check_head` reads its right edge and is cheap enough for every start.
Both return nothing and raise `LogCorruptError` naming the first bad record.

How ten million entries are read in less than a minute, with nothing left out:

- A log is checked in parts of 65,536 entries, each a subtree of its own, by as many processes as are
  wanted. A part takes only what is before it (its place, the roots on its left) from elsewhere, and
  that is compared when the parts are put together, in order.
- 256 leaves that are all spelt as `audit.leaf` spells them are read at once. If anything about them
  is otherwise (an escape in a text is enough) they are read one by one, and that reading judges.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from operator import itemgetter, lt
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    Row,
    bindparam,
    create_engine,
    func,
    select,
)

from audit.leaf import LeafError, commitment
from audit.merkle import CompactRange, complete_subtrees, leaf_hash, root_of_row
from audit.note import Checkpoint, Note, NoteError
from audit.tiles import TILE_HEIGHT, TILE_WIDTH
from audit.tree import (
    CHUNK,
    LogCorruptError,
    NotInLogError,
    documents,
    from_tiles,
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

_PART: Final = TILE_WIDTH * TILE_WIDTH  # entries of a part

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")
_MICROSECOND: Final = timedelta(microseconds=1)

# A leaf as `audit.leaf` spells it, for lines of ASCII without control characters and backslashes: what
# it matches there is JSON, and its groups are what a JSON reader would find (every name once).
# Possessive throughout, so that nothing is tried twice.
_TEXT: Final = r'"[^"]*+"'
_PAIR: Final = rf"{_TEXT}:{_TEXT}"
_DIGEST: Final = r'"[0-9a-f]{64}"'
_COMMIT: Final = rf"{_TEXT}:{_DIGEST}"
_LEAF: Final = re.compile(
    (
        rf'^\{{"actor":{_TEXT}'
        rf'(?:,"commit":\{{({_COMMIT}(?:,{_COMMIT})*+)\}})?+'
        rf'(?:,"docs":\[({_DIGEST}(?:,{_DIGEST})*+)\])?+'
        rf',"index":(0|[1-9][0-9]{{0,17}}),"nonce":{_TEXT}'
        rf'(?:,"outcome":{_TEXT})?+'
        rf'(?:,"rules":\[{_TEXT}(?:,{_TEXT})*+\])?+'
        rf'(?:,"subjects":\{{{_PAIR}(?:,{_PAIR})*+\}})?+'
        r',"time":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)"'
        rf',"type":{_TEXT},"v":1\}}$'
    ).encode(),
    re.MULTILINE,
)
_COMMITS: Final = re.compile(rb'"([^"]*+)":"([0-9a-f]{64})"')
_DIGESTS: Final = re.compile(rb"[0-9a-f]{64}")
_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b"\\"))  # printable ASCII without the backslash

# Said once: to build a statement costs more than to run it.
_TILES: Final = (
    select(log_tile.c.n, log_tile.c.data)
    .where(
        log_tile.c.origin == bindparam("whose"),
        log_tile.c.level == bindparam("at_level"),
        log_tile.c.n.between(bindparam("first"), bindparam("last")),
    )
    .order_by(log_tile.c.n)
)
_OPENINGS: Final = (
    select(log_opening.c.idx, log_opening.c.name, log_opening.c.salt, log_opening.c.value)
    .where(
        log_opening.c.origin == bindparam("whose"),
        log_opening.c.idx.between(bindparam("first"), bindparam("last")),
    )
    .order_by(log_opening.c.idx)
)
_CHECKPOINTS: Final = (
    select(log_checkpoint.c.size, log_checkpoint.c.note)
    .where(
        log_checkpoint.c.origin == bindparam("whose"), log_checkpoint.c.size > bindparam("after")
    )
    .order_by(log_checkpoint.c.size)
    .limit(256)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What a leaf says about itself."""

    index: int
    time_us: int
    docs: tuple[bytes, ...]
    commit: dict[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Leaves of the right hash, place and order; what they name is still to be looked at."""

    start: int
    hashes: Sequence[bytes]
    first_us: int
    last_us: int
    docs: Mapping[bytes, int]  # digest -> the first entry that names it
    commits: Callable[[int], Mapping[str, bytes]]  # entry -> name -> commitment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What the entries of one part came to."""

    tree: CompactRange  # the tree with it
    roots: tuple[bytes, ...]  # of its full tiles
    first_us: int | None
    last_us: int | None


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
        at = newest.size - 1
        if from_tiles(conn, origin, newest.size, lambda read: read(0, at)) != leaf_hash(entry):
            raise LogCorruptError(f"entry `{last}` of `{origin}` is not the one in its tile")
        if _facts(entry, origin, newest.size - 1).time_us != newest.last_time_us:
            raise LogCorruptError(f"entry `{last}` of `{origin}` does not bear the head's time")
    note = latest_checkpoint(conn, origin)
    if note is not None:
        earlier = checkpoint_of(note, origin)
        if earlier.size > newest.size or root_at(conn, origin, earlier.size) != earlier.root:
            raise LogCorruptError(f"`{origin}` left the history of its last checkpoint")


def check(
    conn: Connection, origin: str, size: int | None = None, *, processes: int = 1, part: int = _PART
) -> None:
    """Re-derive everything from the leaf bytes and compare it with all that is stored.

    Leaf hashes, indices, times, documents, openings, tiles, the root at every checkpoint, the
    head. `size`, if given, is how many entries there must be. More `processes` than one read over
    connections of their own: give them only what is committed.
    """
    newest = head(conn, origin)
    if size is not None and newest.size != size:
        raise LogCorruptError(f"`{origin}` has `{newest.size}` entries where `{size}` must be")
    whole = _Whole(conn, origin)
    # What is complete never changes: other processes may see a later state of the log, and see the
    # same of it. What may still grow is read here, as this connection sees it.
    complete = range(0, newest.size - part + 1, part)
    if processes > 1 and len(complete) > 1:
        with ProcessPoolExecutor(min(processes, len(complete)), get_context("spawn")) as pool:
            work = partial(_check_apart, conn.engine.url, origin, part)
            try:
                for left, found in pool.map(work, complete):
                    whole.verify_left(left)
                    if isinstance(found, LogCorruptError):
                        raise found
                    if whole.add(found) < part:
                        raise LogCorruptError(f"entry `{whole.tree.size}` of `{origin}` is missing")
            finally:
                pool.shutdown(cancel_futures=True)
    while whole.add(_check_part(conn, origin, whole.tree, part)) == part:
        pass
    tree = whole.finish()
    if tree.size != newest.size:
        raise LogCorruptError(
            f"the head of `{origin}` counts `{newest.size}` entries, there are `{tree.size}`"
        )
    if tree.root() != newest.root or tree.peaks != newest.frontier:
        raise LogCorruptError(f"the entries of `{origin}` do not give the root of its head")
    if whole.last_us is not None and whole.last_us != newest.last_time_us:
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


class _Whole:
    """Puts the parts together, in order, and holds them against what is stored of the whole."""

    def __init__(self, conn: Connection, origin: str) -> None:
        self._conn = conn
        self._origin = origin
        self._open: list[list[bytes]] = []  # the growing tile of each level, from level 1 on
        self._full: list[int] = []  # how many tiles of each are full
        self.tree = CompactRange()
        self.last_us: int | None = None

    def verify_left(self, left: tuple[bytes, ...]) -> None:
        """Raise `LogCorruptError` unless these are the peaks of the parts so far."""
        if left != self.tree.peaks:
            raise LogCorruptError(
                f"the tiles of `{self._origin}` do not give the root of its first"
                f" `{self.tree.size}` entries"
            )

    def add(self, part: _Part) -> int:
        """The next part; how many entries it has."""
        start = self.tree.size
        if part.first_us is not None:
            if self.last_us is not None and part.first_us <= self.last_us:
                raise LogCorruptError(
                    f"entry `{start}` of `{self._origin}` is not after the one before"
                )
            self.last_us = part.last_us
        for root in part.roots:
            self._grow(root)
        self.tree = part.tree
        return part.tree.size - start

    def finish(self) -> CompactRange:
        """Compare the tiles that are not full, and how many there are; the tree of all parts."""
        expected = -(-self.tree.size // TILE_WIDTH)  # of level 0, each compared in its part
        for above, growing in enumerate(self._open):
            expected += self._full[above]
            if growing:
                self._compare(above)
                expected += 1
        stored = self._conn.execute(
            select(func.count()).select_from(log_tile).where(log_tile.c.origin == self._origin)
        ).scalar_one()
        if stored != expected:
            raise LogCorruptError(
                f"`{self._origin}` has `{stored}` tiles where `{expected}` belong"
            )
        return self.tree

    def _grow(self, root: bytes) -> None:
        above = 0
        while True:
            if above == len(self._open):
                self._open.append([])
                self._full.append(0)
            growing = self._open[above]
            growing.append(root)
            if len(growing) < TILE_WIDTH:
                return
            self._compare(above)
            root = root_of_row(growing)
            growing.clear()
            self._full[above] += 1
            above += 1

    def _compare(self, above: int) -> None:
        n = self._full[above]
        found = _stored_tiles(self._conn, self._origin, above + 1, n, n)
        if found.get(n) != b"".join(self._open[above]):
            raise LogCorruptError(f"tile `{above + 1}/{n}` of `{self._origin}` is missing or wrong")


def _check_apart(
    url: URL, origin: str, entries: int, start: int
) -> tuple[tuple[bytes, ...], _Part | LogCorruptError]:
    """Check one complete part in a process of its own: the peaks it began with, and what came of it."""
    with _engine(url).connect() as conn:
        peaks = tuple(complete_subtrees(0, start))
        left = from_tiles(conn, origin, start, lambda read: tuple(read(*at) for at in peaks))
        try:
            return left, _check_part(conn, origin, CompactRange(start, left), entries)
        except LogCorruptError as error:
            return left, error  # if `left` is wrong, that is what is wrong


@lru_cache
def _engine(url: URL) -> Engine:
    return create_engine(url, poolclass=NullPool, hide_parameters=True)


def _check_part(conn: Connection, origin: str, before: CompactRange, entries: int) -> _Part:
    """Check up to so many entries (a multiple of 1,024) behind those of `before`; fewer only at the end."""
    tree = CompactRange(before.size, before.peaks)
    checkpoints = _CheckpointCheck(conn, origin, tree.size)
    sound: set[bytes] = set()  # documents seen whole
    roots: list[bytes] = []
    first_us = last_us = None
    for rows in islice(stored_leaves(conn, origin, tree.size), entries // CHUNK):
        chunk = _quick(tree.size, rows) or _one_by_one(origin, tree.size, rows)
        if last_us is None:
            first_us = chunk.first_us
        elif chunk.first_us <= last_us:
            raise LogCorruptError(f"entry `{tree.size}` of `{origin}` is not after the one before")
        last_us = chunk.last_us
        _verify_documents(conn, origin, chunk, sound)
        _verify_openings(conn, origin, chunk)
        first = tree.size // TILE_WIDTH
        stored = _stored_tiles(conn, origin, 0, first, first + CHUNK // TILE_WIDTH - 1)
        for n in range(-(-len(rows) // TILE_WIDTH)):
            hashes = chunk.hashes[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
            checkpoints.reach(tree, hashes)
            if stored.get(first + n) != b"".join(hashes):
                raise LogCorruptError(f"tile `0/{first + n}` of `{origin}` is missing or wrong")
            if len(hashes) == TILE_WIDTH:
                roots.append(root_of_row(hashes))
                tree.append(roots[-1], TILE_HEIGHT)
            else:
                for hashed in hashes:
                    tree.append(hashed)
    if tree.size < before.size + entries:
        checkpoints.finish(tree)
    return _Part(tree=tree, roots=tuple(roots), first_us=first_us, last_us=last_us)


def _stored_tiles(
    conn: Connection, origin: str, level: int, first: int, last: int
) -> dict[int, bytes]:
    which = {"whose": origin, "at_level": level, "first": first, "last": last}
    return {row.n: row.data for row in conn.execute(_TILES, which).all()}


class _CheckpointCheck:
    """Compares the root with every stored checkpoint as the tree passes its size."""

    def __init__(self, conn: Connection, origin: str, start: int) -> None:
        self._rest = _stored_checkpoints(conn, origin, start)
        self._next = next(self._rest, None)

    def reach(self, tree: CompactRange, hashes: Sequence[bytes]) -> None:
        """Compare those from the size of `tree` to before it has all of `hashes`."""
        if self._next is None or self._next.size >= tree.size + len(hashes):
            return
        grown = CompactRange(tree.size, tree.peaks)
        for hashed in hashes:
            self._compare(grown)
            grown.append(hashed)

    def finish(self, tree: CompactRange) -> None:
        """Compare that of the whole tree; there must be none of a larger one."""
        self._compare(tree)
        if self._next is not None:
            raise LogCorruptError(
                f"`{self._next.origin}` has a checkpoint of `{self._next.size}` entries,"
                f" there are `{tree.size}`"
            )

    def _compare(self, tree: CompactRange) -> None:
        if self._next is not None and self._next.size == tree.size:
            if self._next.root != tree.root():
                raise LogCorruptError(
                    f"the entries of `{self._next.origin}` do not give its checkpoint"
                    f" `{self._next.size}`"
                )
            self._next = next(self._rest, None)


def _stored_checkpoints(conn: Connection, origin: str, start: int) -> Iterator[Checkpoint]:
    after = start - 1
    while rows := conn.execute(_CHECKPOINTS, {"whose": origin, "after": after}).all():
        for size, note in rows:
            found = checkpoint_of(note, origin)
            if found.size != size:
                raise LogCorruptError(f"the checkpoint `{size}` of `{origin}` names another size")
            yield found
        after = rows[-1].size


def _quick(start: int, rows: Sequence[Row[int, bytes, bytes]]) -> _Chunk | None:
    """Read leaves that are spelt as `audit.leaf` spells them; None if anything is not as it should be."""
    count = len(rows)
    places = range(start, start + count)
    indices, leaves, stored = zip(*rows, strict=True)
    hashes = [hashlib.sha256(b"\x00" + entry).digest() for entry in leaves]  # RFC 6962 §2.1
    text = b"\n".join(leaves)
    if (
        indices != tuple(places)
        or tuple(hashes) != stored
        or text.translate(None, _PLAIN) != b"\n" * (count - 1)
    ):
        return None
    # Each match is whole lines, and none is in two: as many as there are lines are one line each.
    found = _LEAF.findall(text)
    if len(found) != count:
        return None
    commits, docs, own, times = zip(*found, strict=True)
    # Times of one form are in the order of their letters.
    if list(map(int, own)) != list(places) or not all(map(lt, times, times[1:])):
        return None
    try:
        for second in {time[:19] for time in times}:
            datetime.fromisoformat(second.decode())
    except ValueError:
        return None
    first = dict(zip(reversed(docs), reversed(places), strict=True))
    named: dict[bytes, int] = {}
    for listed, index in sorted(first.items(), key=itemgetter(1)):
        for digest in _DIGESTS.findall(listed):
            named.setdefault(bytes.fromhex(digest.decode()), index)
    return _Chunk(
        start=start,
        hashes=hashes,
        first_us=_microseconds(times[0].decode()),
        last_us=_microseconds(times[-1].decode()),
        docs=named,
        commits=lambda index: {
            name.decode(): bytes.fromhex(digest.decode())
            for name, digest in _COMMITS.findall(commits[index - start])
        },
    )


def _one_by_one(origin: str, start: int, rows: Sequence[Row[int, bytes, bytes]]) -> _Chunk:
    """Read leaves as JSON; raises `LogCorruptError` naming the first that is not what it should be."""
    read: list[_Facts] = []
    named: dict[bytes, int] = {}
    for expected, (index, entry, hashed) in enumerate(rows, start):
        if index != expected:
            raise LogCorruptError(f"entry `{expected}` of `{origin}` is missing")
        if leaf_hash(entry) != hashed:
            raise LogCorruptError(f"entry `{expected}` of `{origin}` does not have its hash")
        facts = _facts(entry, origin, expected)
        if read and facts.time_us <= read[-1].time_us:
            raise LogCorruptError(f"entry `{expected}` of `{origin}` is not after the one before")
        read.append(facts)
        for digest in facts.docs:
            named.setdefault(digest, expected)
    return _Chunk(
        start=start,
        hashes=[hashed for _, _, hashed in rows],
        first_us=read[0].time_us,
        last_us=read[-1].time_us,
        docs=named,
        commits=lambda index: read[index - start].commit,
    )


def _facts(entry: bytes, origin: str, index: int) -> _Facts:
    """Read a leaf; raises `LogCorruptError` if it is not one, or not the one of `index`."""
    try:
        fields: dict[str, Any] = json.loads(entry)
        facts = _Facts(
            index=fields["index"],
            time_us=_microseconds(fields["time"]),
            docs=tuple(bytes.fromhex(one) for one in fields.get("docs", [])),
            commit={name: bytes.fromhex(one) for name, one in fields.get("commit", {}).items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LogCorruptError(f"entry `{index}` of `{origin}` is not a leaf: {error}") from error
    if facts.index != index:
        raise LogCorruptError(f"entry `{index}` of `{origin}` calls itself `{facts.index}`")
    return facts


def _microseconds(time: str) -> int:
    return (datetime.fromisoformat(time) - _EPOCH) // _MICROSECOND


def _verify_documents(conn: Connection, origin: str, chunk: _Chunk, sound: set[bytes]) -> None:
    """Check the documents that these leaves name; those in `sound` are, and the others then too."""
    asked = [digest for digest in chunk.docs if digest not in sound]
    found = documents(conn, asked)
    for digest in asked:
        try:
            whole = hashlib.sha256(next(found).body).digest() == digest
        except NotInLogError:
            whole = False
        if not whole:
            raise LogCorruptError(
                f"document `{digest.hex()}` of entry `{chunk.docs[digest]}` of `{origin}` is"
                " missing or changed"
            )
    sound.update(asked)


def _verify_openings(conn: Connection, origin: str, chunk: _Chunk) -> None:
    """Check what opens commitments of these leaves, as far as it was not erased."""
    last = chunk.start + len(chunk.hashes) - 1
    which = {"whose": origin, "first": chunk.start, "last": last}
    for index, name, salt, value in conn.execute(_OPENINGS, which).all():
        try:
            opens = chunk.commits(index).get(name) == commitment(salt, value)
        except LeafError:
            opens = False
        if not opens:
            raise LogCorruptError(
                f"the opening of `{name}` of entry `{index}` of `{origin}` is wrong"
            )
