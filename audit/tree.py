"""The log as it is stored: its tables, and reading head, leaves, documents, tiles and proofs.

The tables are SQLAlchemy Core, on their own metadata, for SQLite and PostgreSQL; `audit.log` alone
writes them, and the gateway's migrations create them from `metadata`. Nothing here writes.

Used through `audit.log`. Every function takes the caller's SQLAlchemy `Connection` and an origin,
and sees what that connection sees. Rows are only ever added to, so a tile longer than the tree
asked for is cut to that tree.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Row,
    Select,
    SmallInteger,
    String,
    Table,
    Text,
    and_,
    bindparam,
    or_,
    select,
)

from audit import merkle
from audit.leaf import Document, Opening
from audit.merkle import HASH_SIZE, CompactRange, ReadNode
from audit.tiles import (
    TILE_WIDTH,
    encode_bundle,
    place_of_node,
    right_edge,
    root_of_hashes,
    split_hashes,
    width_at,
)

T = TypeVar("T")

CHUNK: Final = 4 * TILE_WIDTH  # leaves per statement when streaming: about 1 MB
_DOCUMENTS: Final = 64  # documents per statement: they may be large

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ORIGIN: Final = String(200)

# One row per log. Locked by every append; its compare-and-swap is what gives the order.
log_head: Final = Table(
    "log_head",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    # The complete subtrees' roots, largest first, end to end: enough to append and to know the
    # root without the tiles, so that the tiles can be checked against it.
    Column("frontier", LargeBinary, nullable=False),
    Column("last_time_us", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("epoch", BigInteger, nullable=False),
)

log_leaf: Final = Table(
    "log_leaf",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),  # verbatim, never re-serialised
    Column("leaf_hash", LargeBinary, nullable=False),
)

log_tile: Final = Table(
    "log_tile",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),  # 1 to 256 hashes
)

# The primary key is what makes two different notes of one size impossible.
log_checkpoint: Final = Table(
    "log_checkpoint",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", LargeBinary, nullable=False),
)

log_document: Final = Table(
    "log_document",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

# May be erased row by row: the commitment in the leaf then can never be opened again.
log_opening: Final = Table(
    "log_opening",
    metadata,
    Column("origin", _ORIGIN, primary_key=True),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(200), primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("value", Text, nullable=False),
)

# ---- reading -------------------------------------------------------------------------------------

# Said once: to build a statement costs more than to run it, and these run for every entry.
_HEAD: Final = select(log_head).where(log_head.c.origin == bindparam("whose"))
_LOCKED_HEAD: Final = _HEAD.with_for_update()
_ALL_LEAVES: Final = (
    select(log_leaf.c.idx, log_leaf.c.leaf, log_leaf.c.leaf_hash)
    .where(log_leaf.c.origin == bindparam("whose"), log_leaf.c.idx > bindparam("after"))
    .order_by(log_leaf.c.idx)
    .limit(CHUNK)
)
_SOME_LEAVES: Final = _ALL_LEAVES.where(log_leaf.c.idx < bindparam("before"))


@lru_cache
def _tiles(count: int) -> Select[tuple[int, int, bytes]]:
    """So many tiles of a log, the first at `level0` and `n0`."""
    # The origin stands with each: beside all of them, SQLite would read every tile the log has.
    places = [
        and_(
            log_tile.c.origin == bindparam("whose"),
            log_tile.c.level == bindparam(f"level{i}"),
            log_tile.c.n == bindparam(f"n{i}"),
        )
        for i in range(count)
    ]
    return select(log_tile.c.level, log_tile.c.n, log_tile.c.data).where(or_(*places))


class LogError(Exception):
    """Something about the log stands in the way."""


class LogCorruptError(LogError):
    """What is stored contradicts itself: stop writing, keep what there is, call someone."""


class NotInLogError(LogError, LookupError):
    """The log has no such entry, tile, document or opening; the asker is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest state of a log. `last_time_us` counts microseconds since 1970 UTC."""

    origin: str
    size: int
    root: bytes
    frontier: tuple[bytes, ...] = field(repr=False)
    last_time_us: int
    epoch: int

    def tree(self) -> CompactRange:
        """The tree to append to; raises `LogCorruptError` if frontier and root disagree."""
        try:
            tree = CompactRange(self.size, self.frontier)
        except merkle.ProofError as error:
            raise LogCorruptError(f"the frontier of `{self.origin}` is torn: {error}") from error
        if tree.root() != self.root:
            raise LogCorruptError(f"the frontier of `{self.origin}` does not give its root")
        return tree


def head(conn: Connection, origin: str, *, lock: bool = False) -> Head:
    """The head of the log; `lock` holds the row until the transaction ends (PostgreSQL).

    Raises `NotInLogError` if there is no such log.
    """
    row = conn.execute(_LOCKED_HEAD if lock else _HEAD, {"whose": origin}).one_or_none()
    if row is None:
        raise NotInLogError(f"there is no log `{origin}`")
    return Head(
        origin=row.origin,
        size=row.size,
        root=row.root,
        frontier=tuple(
            row.frontier[at : at + HASH_SIZE] for at in range(0, len(row.frontier), HASH_SIZE)
        ),
        last_time_us=row.last_time_us,
        epoch=row.epoch,
    )


def leaf(conn: Connection, origin: str, index: int) -> bytes:
    """The bytes of one leaf; raises `NotInLogError`, or `LogCorruptError` if its hash is off."""
    row = conn.execute(
        select(log_leaf.c.leaf, log_leaf.c.leaf_hash).where(
            log_leaf.c.origin == origin, log_leaf.c.idx == index
        )
    ).one_or_none()
    if row is None:
        raise NotInLogError(f"there is no entry `{index}` in `{origin}`")
    found: bytes = row.leaf
    if merkle.leaf_hash(found) != row.leaf_hash:
        raise LogCorruptError(f"entry `{index}` of `{origin}` does not have its hash")
    return found


def stored_leaves(
    conn: Connection, origin: str, start: int = 0, stop: int | None = None
) -> Iterator[Sequence[Row[int, bytes, bytes]]]:
    """The rows (index, leaf, leaf hash) from `start` to before `stop` in order, as they are.

    1,024 at a time, fewer only at the end; without `stop`, all there are.
    """
    query = _ALL_LEAVES if stop is None else _SOME_LEAVES
    after = start - 1
    while True:
        rows = conn.execute(query, {"whose": origin, "after": after, "before": stop}).all()
        if rows:
            yield rows
        if len(rows) < CHUNK:
            return
        after = rows[-1].idx


def leaves(conn: Connection, origin: str, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of the leaves from `start` to before `stop`, streamed.

    Raises `NotInLogError` if the log is shorter, `LogCorruptError` at a hole or a wrong hash.
    """
    if not 0 <= start <= stop <= head(conn, origin).size:
        raise NotInLogError(f"`{origin}` does not have the entries `{start}` to `{stop}`")
    expected = start
    for rows in stored_leaves(conn, origin, start, stop):
        for index, entry, hashed in rows:
            if index != expected or merkle.leaf_hash(entry) != hashed:
                raise LogCorruptError(f"entry `{expected}` of `{origin}` is missing or changed")
            yield entry
            expected += 1
    if expected != stop:
        raise LogCorruptError(f"entry `{expected}` of `{origin}` is missing")


def document(conn: Connection, digest: bytes) -> bytes:
    """The document with this SHA-256; raises `NotInLogError`."""
    body: bytes | None = conn.execute(
        select(log_document.c.body).where(log_document.c.digest == digest)
    ).scalar_one_or_none()
    if body is None:
        raise NotInLogError(f"there is no document `{digest.hex()}`")
    return body


def documents(conn: Connection, digests: Iterable[bytes]) -> Iterator[Document]:
    """The documents with these digests, in this order, few statements, unchecked bodies.

    Raises `NotInLogError` at the first that is not there.
    """
    asked = list(digests)
    for at in range(0, len(asked), _DOCUMENTS):
        chunk = asked[at : at + _DOCUMENTS]
        rows = conn.execute(
            select(log_document.c.digest, log_document.c.body).where(
                log_document.c.digest.in_(chunk)
            )
        )
        bodies: dict[bytes, bytes] = {row.digest: row.body for row in rows}
        for digest in chunk:
            if digest not in bodies:
                raise NotInLogError(f"there is no document `{digest.hex()}`")
            yield Document(digest=digest, body=bodies[digest])


def opening(conn: Connection, origin: str, index: int, name: str) -> Opening:
    """What opens a commitment; raises `NotInLogError` if there is none or it was erased."""
    row = conn.execute(
        select(log_opening.c.salt, log_opening.c.value).where(
            log_opening.c.origin == origin,
            log_opening.c.idx == index,
            log_opening.c.name == name,
        )
    ).one_or_none()
    if row is None:
        raise NotInLogError(f"there is no opening of `{name}` in entry `{index}` of `{origin}`")
    return Opening(name=name, salt=row.salt, value=row.value)


def tile(conn: Connection, origin: str, level: int, n: int, width: int) -> bytes:
    """The first `width` hashes of a tile, end to end; raises `NotInLogError`."""
    data: bytes | None = conn.execute(
        select(log_tile.c.data).where(
            log_tile.c.origin == origin, log_tile.c.level == level, log_tile.c.n == n
        )
    ).scalar_one_or_none()
    if data is None or not 0 < width * HASH_SIZE <= len(data):
        raise NotInLogError(f"there is no tile `{level}/{n}` of width `{width}` in `{origin}`")
    return data[: width * HASH_SIZE]


def bundle(conn: Connection, origin: str, n: int, width: int) -> bytes:
    """The entry bundle `n` with its first `width` entries; raises `NotInLogError`."""
    if not 0 < width <= TILE_WIDTH:
        raise NotInLogError(f"there is no bundle of width `{width}`")
    return encode_bundle(leaves(conn, origin, n * TILE_WIDTH, n * TILE_WIDTH + width))


def edge_tiles(conn: Connection, origin: str, size: int) -> dict[int, tuple[bytes, ...]]:
    """Level -> hashes of the partial tiles of a tree of `size` leaves, in one read.

    Raises `LogCorruptError` if one is missing or too short.
    """
    wanted = {one.level or 0: one for one in right_edge(size)}
    found = _stored_tiles(conn, origin, [(level, one.index) for level, one in wanted.items()])
    edge: dict[int, tuple[bytes, ...]] = {}
    for level, one in wanted.items():
        data = found.get((level, one.index), b"")
        if len(data) < one.width * HASH_SIZE:
            raise LogCorruptError(f"`{one.path()}` of `{origin}` is missing or short")
        edge[level] = split_hashes(data[: one.width * HASH_SIZE])
    return edge


def _stored_tiles(
    conn: Connection, origin: str, wanted: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """(level, index) -> the tile as it is stored, of those that are; in one read."""
    places: dict[str, Any] = {"whose": origin}
    count = 0
    for count, (level, n) in enumerate(wanted, 1):
        places |= {f"level{count - 1}": level, f"n{count - 1}": n}
    if not count:
        return {}
    return {(row.level, row.n): row.data for row in conn.execute(_tiles(count), places).all()}


class TileReader:
    """Reads tree nodes from the tiles of a log. Owned by one proof."""

    def __init__(
        self, conn: Connection, origin: str, size: int, tiles: Iterable[tuple[int, int]]
    ) -> None:
        """For the tree of the first `size` leaves as `conn` sees it, from these tiles (level, index)."""
        self._origin = origin
        self._size = size
        self._read = _stored_tiles(conn, origin, tiles)

    def __call__(self, level: int, index: int) -> bytes:
        """The root of node (level, index); raises `LogCorruptError` if its tile is not there."""
        place = place_of_node(level, index)
        key = (place.level, place.index)
        width = width_at(self._size, *key)
        data = self._read.get(key, b"")
        if not 0 < width * HASH_SIZE <= len(data):
            raise LogCorruptError(
                f"there is no tile `{place.level}/{place.index}` of width `{width}` in"
                f" `{self._origin}`"
            )
        hashes = data[place.start * HASH_SIZE : place.stop * HASH_SIZE]
        # Far up in the tree proofs share their nodes; few of them are all of it.
        return _shared_root(hashes) if place.level else root_of_hashes(hashes)


_shared_root: Final = lru_cache(2048)(root_of_hashes)


def from_tiles(conn: Connection, origin: str, size: int, walk: Callable[[ReadNode], T]) -> T:
    """What `walk` makes of the nodes of the tree of `size` leaves; their tiles are read at once.

    Raises `LogCorruptError` if one is not there.
    """
    wanted: dict[tuple[int, int], None] = {}

    def note(level: int, index: int) -> bytes:
        place = place_of_node(level, index)
        wanted[place.level, place.index] = None
        return b""

    walk(note)
    return walk(TileReader(conn, origin, size, wanted))


def root_at(conn: Connection, origin: str, size: int) -> bytes:
    """The root of the first `size` leaves, from the tiles alone."""
    return from_tiles(conn, origin, size, partial(merkle.root_from_nodes, size))


def inclusion(conn: Connection, origin: str, index: int, size: int) -> tuple[bytes, ...]:
    """The inclusion proof of `index` in the tree of `size`; raises `NotInLogError`."""
    if not 0 <= index < size <= head(conn, origin).size:
        raise NotInLogError(f"`{origin}` cannot prove entry `{index}` in a tree of `{size}`")
    return from_tiles(conn, origin, size, partial(merkle.inclusion_proof, index, size))


def consistency(conn: Connection, origin: str, old: int, new: int) -> tuple[bytes, ...]:
    """The consistency proof from size `old` to `new`; raises `NotInLogError`."""
    if not 0 < old <= new <= head(conn, origin).size:
        raise NotInLogError(f"`{origin}` cannot prove size `{old}` consistent with `{new}`")
    return from_tiles(conn, origin, new, partial(merkle.consistency_proof, old, new))


def latest_checkpoint(conn: Connection, origin: str) -> bytes | None:
    """The newest signed checkpoint, a note; None before the first."""
    note: bytes | None = conn.execute(
        select(log_checkpoint.c.note)
        .where(log_checkpoint.c.origin == origin)
        .order_by(log_checkpoint.c.size.desc())
        .limit(1)
    ).scalar_one_or_none()
    return note
