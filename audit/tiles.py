"""The tiles of C2SP tlog-tiles (c2sp.org/tlog-tiles): paths, widths, entry bundles.

A tile is up to 256 hashes of one level of the tree, where a level is eight levels of RFC 6962.
Both ways are strict: what is parsed is what would have been written.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from audit.merkle import HASH_SIZE, root_of_row

TILE_HEIGHT: Final = 8  # levels of the RFC 6962 tree in one tile
TILE_WIDTH: Final = 256  # tlog-tiles: "Full tiles MUST be exactly 256 hashes wide"
MAX_LEVEL: Final = 63  # tlog-tiles: "<L> ... between 0 and 63"
MAX_ENTRY_SIZE: Final = 0xFFFF  # tlog-tiles: "big-endian uint16 length-prefixed log entries"
_PATH: Final = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)
_MAX_PATH: Final = 64  # characters: a 63-bit index is 7 elements of 5


class TileError(ValueError):
    """The path, tile or bundle is not one of tlog-tiles; whoever sent it is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Which tile: its level (None for an entry bundle), its index there, and how many it holds."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level <= MAX_LEVEL:
            raise TileError(f"there is no level `{self.level}`")
        if not 0 <= self.index < 1 << 63:
            raise TileError(f"there is no tile `{self.index}`")
        if not 1 <= self.width <= TILE_WIDTH:
            raise TileError(f"a tile cannot be `{self.width}` wide")

    @classmethod
    def from_path(cls, path: str) -> Self:
        """Parse `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`; raises `TileError`."""
        matched = _PATH.fullmatch(path) if len(path) <= _MAX_PATH else None
        if matched is None:
            raise TileError(f"`{path[:_MAX_PATH]}` is not the path of a tile")
        level, index, width = matched.groups()
        tile = cls(
            level=None if level == "entries" else int(level),
            index=int(index.replace("x", "").replace("/", "")),
            width=int(width or TILE_WIDTH),
        )
        # One tile, one address: `x000/001`, or `.p/256` for a full tile, would be a second.
        if tile.path() != path:
            raise TileError(f"`{path}` is not the only path of its tile")
        return tile

    def path(self) -> str:
        """The address below the log's prefix, as `tile/0/x001/x234/067.p/5`."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{partial}"


def index_path(index: int) -> str:
    """tlog-tiles: "zero-padded 3-digit path elements. All but the last ... begin with an x"."""
    last = f"{index % 1000:03}"
    while index := index // 1000:
        last = f"x{index % 1000:03}/{last}"
    return last


def width_at(size: int, level: int, index: int) -> int:
    """How many hashes tile `index` of `level` holds in a tree of `size` leaves; 0 if none."""
    complete = size >> (TILE_HEIGHT * level)
    return max(0, min(TILE_WIDTH, complete - index * TILE_WIDTH))


def right_edge(size: int) -> Iterator[Tile]:
    """The partial tiles of a tree of `size` leaves, lowest level first."""
    level = 0
    while complete := size >> (TILE_HEIGHT * level):
        index, width = divmod(complete, TILE_WIDTH)
        if width:
            yield Tile(level=level, index=index, width=width)
        level += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the tiles the hashes below one node of the tree lie: `[start, stop)` of a tile."""

    level: int
    index: int
    start: int
    stop: int


def place_of_node(level: int, index: int) -> Place:
    """The place of node (level, index) of the RFC 6962 tree.

    A node between two tile levels is not stored: its root is that of the hashes at its place.
    """
    tile_level, height = divmod(level, TILE_HEIGHT)
    first = index << height
    tile, start = divmod(first, TILE_WIDTH)
    return Place(level=tile_level, index=tile, start=start, stop=start + (1 << height))


def root_of_hashes(data: bytes) -> bytes:
    """The root over the concatenated hashes `data`."""
    return root_of_row(split_hashes(data))


def split_hashes(data: bytes) -> tuple[bytes, ...]:
    """The hashes of a tile; raises `TileError` if they are not 1 to 256 whole ones."""
    count, rest = divmod(len(data), HASH_SIZE)
    if rest or not 1 <= count <= TILE_WIDTH:
        raise TileError(f"`{len(data)}` bytes are not a tile")
    return tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry after its length; raises `TileError` past 256 or 65,535 bytes."""
    rows = list(entries)
    if not 1 <= len(rows) <= TILE_WIDTH:
        raise TileError(f"`{len(rows)}` entries are not a bundle")
    if any(len(row) > MAX_ENTRY_SIZE for row in rows):
        raise TileError(f"an entry may not exceed `{MAX_ENTRY_SIZE}` bytes")
    return b"".join(struct.pack(">H", len(row)) + row for row in rows)


def decode_bundle(data: bytes) -> tuple[bytes, ...]:
    """The entries of a bundle; raises `TileError` if it is cut, empty or too long."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise TileError("the bundle ends inside a length")
        (length,) = struct.unpack_from(">H", data, at)
        entry = data[at + 2 : at + 2 + length]
        if len(entry) != length:
            raise TileError("the bundle ends inside an entry")
        entries.append(entry)
        at += 2 + length
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise TileError(f"`{len(entries)}` entries are not a bundle")
    return tuple(entries)
