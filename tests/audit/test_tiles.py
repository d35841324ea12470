"""C2SP tlog-tiles: paths, widths, bundles, both ways."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import merkle, tiles
from audit.tiles import Tile, TileError


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        # tlog-tiles: "index 1234067 will be encoded as x001/x234/067"
        ("tile/0/x001/x234/067", Tile(level=0, index=1234067)),
        ("tile/0/000.p/1", Tile(level=0, index=0, width=1)),
        ("tile/63/x001/000.p/255", Tile(level=63, index=1000, width=255)),
        ("tile/entries/x001/x234/067.p/5", Tile(level=None, index=1234067, width=5)),
    ],
)
def test_paths_go_to_and_fro(path, tile):
    assert tile.path() == path
    assert Tile.from_path(path) == tile


@given(
    st.none() | st.integers(0, 63),
    st.integers(0, 2**63 - 1),
    st.integers(1, 256),
)
@settings(deadline=None)
def test_every_tile_has_one_path(level, index, width):
    tile = Tile(level=level, index=index, width=width)
    assert Tile.from_path(tile.path()) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/000/",
        "tile/00/000",
        "tile/-1/000",
        "tile/64/000",
        "tile/data/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/٠٠٠",
        "tile/0/000\n",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/" + "x000/" * 100 + "000",
    ],
)
def test_other_paths_are_refused(path):
    with pytest.raises(TileError):
        Tile.from_path(path)


def test_the_tree_of_70000_of_the_specification():
    # tlog-tiles: "273 full level 0 tiles, one partial level 0 tile of width 112, one full level 1
    # tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1"
    assert [(one.level, one.index, one.width) for one in tiles.right_edge(70_000)] == [
        (0, 273, 112),
        (1, 1, 17),
        (2, 0, 1),
    ]
    widths = [tiles.width_at(70_000, 0, at) for at in (0, 272, 273, 274)]
    assert widths == [256, 256, 112, 0]


def test_the_tree_of_256_of_the_specification():
    # "a full level 0 tile and a partial level 1 tile of width 1"
    assert [one.path() for one in tiles.right_edge(256)] == ["tile/1/000.p/1"]
    assert tiles.width_at(256, 0, 0) == 256


@given(st.integers(0, 40), st.integers(0, 2**40))
@settings(deadline=None)
def test_a_node_lies_where_its_hashes_do(level, index):
    place = tiles.place_of_node(level, index)
    assert 0 <= place.start < place.stop <= 256
    first = (place.index * 256 + place.start) << (8 * place.level)
    last = (place.index * 256 + place.stop) << (8 * place.level)
    assert (first, last) == (index << level, (index + 1) << level)


def test_the_root_of_a_tile_is_that_of_its_hashes():
    hashes = [merkle.leaf_hash(b"%d" % at) for at in range(256)]
    assert tiles.root_of_hashes(b"".join(hashes)) == merkle.root_from_leaf_hashes(hashes)


@pytest.mark.parametrize("length", [0, 31, 33, 257 * 32])
def test_what_is_no_tile_is_refused(length):
    with pytest.raises(TileError):
        tiles.split_hashes(bytes(length))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
@settings(deadline=None)
def test_bundles_go_to_and_fro(entries):
    assert tiles.decode_bundle(tiles.encode_bundle(entries)) == tuple(entries)


def test_the_bytes_of_a_bundle():
    assert tiles.encode_bundle([b"a", b"", b"bc"]) == b"\x00\x01a\x00\x00\x00\x02bc"


@pytest.mark.parametrize(
    ("why", "entries"),
    [("none", []), ("too many", [b""] * 257), ("too long", [bytes(65_536)])],
)
def test_what_cannot_be_a_bundle_is_refused(why, entries):
    with pytest.raises(TileError):
        tiles.encode_bundle(entries)


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("empty", b""),
        ("cut in a length", b"\x00\x01a\x00"),
        ("cut in an entry", b"\x00\x02a"),
        ("too many", b"\x00\x00" * 257),
    ],
)
def test_a_broken_bundle_is_refused(why, data):
    with pytest.raises(TileError):
        tiles.decode_bundle(data)
