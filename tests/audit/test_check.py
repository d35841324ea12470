"""One change to any stored byte, and the check names the record."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import and_, delete, insert, select, update

from audit import check, log, merkle, tree
from audit.check import checkpoint_of
from audit.leaf import Draft, seal
from audit.note import Checkpoint, sign
from audit.tree import (
    log_checkpoint,
    log_document,
    log_head,
    log_leaf,
    log_opening,
    log_tile,
)
from tests.audit import bank
from tests.audit.bank import ORIGIN, SIGNER

SIZE = 300


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "bank.db"
    engine = bank.new_bank(path)
    bank.fill(engine, SIZE, batch=100)
    with engine.begin() as conn:
        log.publish(conn, ORIGIN, SIGNER)
        log.check(conn, ORIGIN, SIZE)
    engine.dispose()
    return path


@pytest.fixture
def full(filled, tmp_path):
    engine = bank.open_bank(bank.copy_bank(filled, tmp_path / "bank.db"))
    yield engine
    engine.dispose()


def edit_leaf(conn, at: int, **changes: object) -> None:
    """Change fields of a stored leaf together with its hash: only the tree can tell."""
    fields = json.loads(log.leaf(conn, ORIGIN, at)) | changes
    entry = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    values = {"leaf": entry, "leaf_hash": merkle.leaf_hash(entry)}
    conn.execute(update(log_leaf).where(log_leaf.c.idx == at).values(values))


def put_leaf(conn, index: int, entry: bytes) -> None:
    values = {"leaf": entry, "leaf_hash": merkle.leaf_hash(entry)}
    conn.execute(update(log_leaf).where(log_leaf.c.idx == index).values(values))


def checkpoint_note(**changes) -> bytes:
    fields = {"origin": ORIGIN, "size": SIZE, "root": bytes(32)} | changes
    return sign(Checkpoint(**fields).text(), SIGNER)


CORRUPTIONS = [
    (
        "a leaf changed",
        "entry `17`",
        lambda conn: conn.execute(
            update(log_leaf).where(log_leaf.c.idx == 17).values(leaf=b'{"index":17}')
        ),
    ),
    (
        "a leaf dropped",
        "entry `17`",
        lambda conn: conn.execute(delete(log_leaf).where(log_leaf.c.idx == 17)),
    ),
    (
        "the last leaf dropped",
        "tile `0/1`",
        lambda conn: conn.execute(delete(log_leaf).where(log_leaf.c.idx == SIZE - 1)),
    ),
    (
        "a leaf added",
        f"entry `{SIZE}`",
        lambda conn: conn.execute(
            insert(log_leaf).values(origin=ORIGIN, idx=SIZE, leaf=b"{}", leaf_hash=bytes(32))
        ),
    ),
    (
        "a leaf changed with its hash",
        "tile `0/0`",
        lambda conn: edit_leaf(conn, 17, outcome="deny"),
    ),
    ("a leaf that is not JSON", "entry `3`", lambda conn: put_leaf(conn, 3, b"{")),
    ("a leaf that is no object", "entry `3`", lambda conn: put_leaf(conn, 3, b"[]")),
    ("a leaf without time", "entry `3`", lambda conn: put_leaf(conn, 3, b'{"index":3}')),
    ("a leaf of another index", "calls itself `4`", lambda conn: edit_leaf(conn, 3, index=4)),
    (
        "a leaf of an earlier time",
        "entry `3`",
        lambda conn: edit_leaf(conn, 3, time="2026-01-01T00:00:00.000000Z"),
    ),
    (
        "a document changed",
        "entry `0`",
        lambda conn: conn.execute(update(log_document).values(body=b"{}")),
    ),
    ("documents dropped", "entry `0`", lambda conn: conn.execute(delete(log_document))),
    (
        "an opening changed",
        "entry `5`",
        lambda conn: conn.execute(
            update(log_opening).where(log_opening.c.idx == 5).values(value="HG99999")
        ),
    ),
    (
        "a full tile changed",
        "tile `0/0`",
        lambda conn: conn.execute(
            update(log_tile)
            .where(and_(log_tile.c.level == 0, log_tile.c.n == 0))
            .values(data=bytes(8192))
        ),
    ),
    (
        "a higher tile changed",
        "tile `1/0`",
        lambda conn: conn.execute(
            update(log_tile).where(log_tile.c.level == 1).values(data=bytes(32))
        ),
    ),
    (
        "a tile too many",
        "`4` tiles where `3`",
        lambda conn: conn.execute(
            insert(log_tile).values(origin=ORIGIN, level=2, n=0, data=bytes(32))
        ),
    ),
    (
        "the head's root changed",
        "root of its head",
        lambda conn: conn.execute(update(log_head).values(root=bytes(32))),
    ),
    (
        "the head's size changed",
        "counts `299` entries, there are `300`",
        lambda conn: conn.execute(update(log_head).values(size=299)),
    ),
    (
        "the head's time changed",
        "time of its last entry",
        lambda conn: conn.execute(update(log_head).values(last_time_us=1)),
    ),
    (
        "a checkpoint torn",
        "torn",
        lambda conn: conn.execute(update(log_checkpoint).values(note=b"torn")),
    ),
    (
        "a checkpoint of another log",
        "names `other`",
        lambda conn: conn.execute(
            update(log_checkpoint).values(note=checkpoint_note(origin="other"))
        ),
    ),
    (
        "a checkpoint of another size",
        "another size",
        lambda conn: conn.execute(update(log_checkpoint).values(note=checkpoint_note(size=2))),
    ),
    (
        "a checkpoint of another root",
        "checkpoint `300`",
        lambda conn: conn.execute(update(log_checkpoint).values(note=checkpoint_note())),
    ),
    (
        "a checkpoint in the middle",
        "checkpoint `17`",
        lambda conn: conn.execute(
            insert(log_checkpoint).values(origin=ORIGIN, size=17, note=checkpoint_note(size=17))
        ),
    ),
]


@pytest.mark.parametrize(
    ("message", "corrupt"),
    [row[1:] for row in CORRUPTIONS],
    ids=[row[0] for row in CORRUPTIONS],
)
def test_check_names_what_is_wrong(full, message, corrupt):
    with full.begin() as conn:
        corrupt(conn)
        with pytest.raises(log.LogCorruptError) as caught:
            log.check(conn, ORIGIN)
        assert message in str(caught.value)


def test_the_expected_size_is_held(full):
    with full.begin() as conn, pytest.raises(log.LogCorruptError, match="`301` must be"):
        log.check(conn, ORIGIN, SIZE + 1)


def last(conn, **values: object) -> None:
    conn.execute(update(log_leaf).where(log_leaf.c.idx == SIZE - 1).values(values))


EDGES = [
    ("frontier", lambda conn: conn.execute(update(log_head).values(frontier=b""))),
    ("last leaf gone", lambda conn: conn.execute(delete(log_leaf))),
    ("last leaf changed", lambda conn: last(conn, leaf=b"{}")),
    (
        "last leaf changed with its hash",
        lambda conn: edit_leaf(conn, SIZE - 1, outcome="deny"),
    ),
    ("head's time", lambda conn: conn.execute(update(log_head).values(last_time_us=1))),
    (
        "edge tile",
        lambda conn: conn.execute(
            update(log_tile)
            .where(and_(log_tile.c.level == 0, log_tile.c.n == 1))
            .values(data=bytes(32 * 44))
        ),
    ),
    (
        "checkpoint",
        lambda conn: conn.execute(update(log_checkpoint).values(note=checkpoint_note())),
    ),
]


@pytest.mark.parametrize("corrupt", [row[1] for row in EDGES], ids=[row[0] for row in EDGES])
def test_the_start_refuses_a_broken_edge(full, corrupt):
    with full.begin() as conn:
        log.check_head(conn, ORIGIN)
        corrupt(conn)
        with pytest.raises(log.LogCorruptError):
            log.check_head(conn, ORIGIN)


def test_a_stored_checkpoint_reads_back(full):
    with full.begin() as conn:
        note = conn.execute(select(log_checkpoint.c.note)).scalar_one()
        assert checkpoint_of(note, ORIGIN).size == SIZE


# ---- many at once, and in parts ------------------------------------------------------------------


def rows_of(*leaves: bytes) -> list[tuple[int, bytes, bytes]]:
    return [(index, leaf, merkle.leaf_hash(leaf)) for index, leaf in enumerate(leaves)]


def sealed(index: int, **fields: object) -> bytes:
    told = {"kind": "decision", "actor": "key-01"} | fields
    time = bank.NOW + timedelta(microseconds=index)
    return seal(Draft(**told), index=index, time=time, randomness=bytes).leaf


FULL = {
    "outcome": "permit",
    "rules": ("R-GEN-01", "R-CON-03"),
    "subjects": {"request": "req:{1},[2]", "time": "index"},
    "documents": (b"{}", b"[]"),
    "commitments": {"donors": "HG00096", "items": "HG00097"},
}


def same_reading(rows: list[tuple[int, bytes, bytes]]) -> bool:
    """Whether they are read at once; if so, reading them one by one must find the same."""
    quick = check._quick(0, rows)
    if quick is None:
        return False
    slow = check._one_by_one(ORIGIN, 0, rows)
    found = [
        (one.hashes, one.first_us, one.last_us, one.docs, [one.commits(at) for at, _, _ in rows])
        for one in (quick, slow)
    ]
    assert found[0] == found[1]
    assert list(quick.docs.values()) == list(slow.docs.values())
    return True


def test_what_the_log_writes_is_read_at_once():
    leaves = [sealed(0), sealed(1, **FULL), sealed(2), sealed(3, **FULL, kind="x")]
    assert same_reading(rows_of(*leaves))


def test_escapes_in_a_text_are_read_one_by_one():
    leaves = [sealed(0), sealed(1, actor='"\\')]
    assert not same_reading(rows_of(*leaves))
    assert check._one_by_one(ORIGIN, 0, rows_of(*leaves)).commits(1) == {}


ODD = [
    ("an escaped name", b'"index"', b'"\\u0069ndex"'),
    ("a name twice", b'"index":1', b'"index":1,"index":1'),
    ("a name twice, the last elsewhere", b'"v":1', b'"v":1,"index":9'),
    ("another name", b'"docs"', b'"cocs"'),
    ("a field that is not ours", b'"v":1', b'"v":1,"w":1'),
    ("another version", b'"v":1', b'"v":2'),
    ("no version", b',"v":1', b""),
    ("a space", b'"index":1', b'"index": 1'),
    ("a newline in a text", b"req:", b"req\n"),
    ("a newline between fields", b',"index"', b',\n"index"'),
    ("a control character", b"req:", b"req\x01"),
    ("a delete character", b"req:", b"req\x7f"),
    ("not ASCII", b"req:", "人类".encode()),
    ("not UTF-8", b"req:", b"\xff"),
    ("a zero before the index", b'"index":1', b'"index":01'),
    ("an index that is a text", b'"index":1', b'"index":"1"'),
    ("an index that is a fraction", b'"index":1', b'"index":1.0'),
    ("an index beyond all", b'"index":1', b'"index":' + b"1" * 5000),
    ("a day that is not in the calendar", b"2026-05-04T", b"2026-02-30T"),
    ("a second that is not on the clock", b"T03:02:01", b"T03:02:60"),
    ("an hour that is not on the clock", b"T03:02:01", b"T24:02:01"),
    ("a time elsewhere", b'000001Z"', b'000001+00:00"'),
    ("a time without a zone", b'000001Z"', b'000001"'),
    ("a list that goes on", b'"rules":["R-GEN-01",', b'"rules":["R-GEN-01",,'),
    ("a list with a number", b'"rules":["R-GEN-01",', b'"rules":[1,'),
    ("an empty list", b'"rules":["R-GEN-01","R-CON-03"]', b'"rules":[]'),
    ("a digest in capitals", b'"docs":["4', b'"docs":["A'),
    ("a digest too short", b'"docs":["4', b'"docs":["'),
    ("a brace too many", b'"v":1}', b'"v":1}}'),
    ("two leaves in one", b'"v":1}', b'"v":1}{"v":1}'),
    ("a text cut", b'"type":"decision"', b'"type":"decision'),
    ("a byte order mark", b'{"actor"', b'\xef\xbb\xbf{"actor"'),
    ("UTF-16", None, None),
]


@pytest.mark.parametrize(("old", "new"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_what_is_spelt_otherwise_is_not_read_at_once(old, new):
    leaf = sealed(1, **FULL)
    odd = leaf.decode().encode("utf-16") if old is None else leaf.replace(old, new, 1)
    assert odd != leaf
    for rows in (rows_of(sealed(0), odd, sealed(2)), rows_of(sealed(0), odd)):
        assert not same_reading(rows)


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_what_is_read_at_once_reads_the_same_one_by_one(data):
    """Any change of any bytes, the hash made to fit: it is left to the other reading, or reads alike."""
    leaves = [sealed(0, **FULL), sealed(1), sealed(2, **FULL)]
    for _ in range(data.draw(st.integers(0, 2))):
        which = data.draw(st.integers(0, 2))
        at = data.draw(st.integers(0, len(leaves[which])))
        gone = data.draw(st.integers(0, 70))
        pieces = [b'"', b"\\", b"\n", b",", b":", b"{", b"}", b"[", b"]", b"0", b"9", b"a", b"\x00"]
        pieces += [b'"index":1', b'"docs":[]', b'"commit":{}', b'"', b"Z", b" ", b"\xc3\xa9"]
        put = data.draw(st.sampled_from(pieces) | st.binary(max_size=3))
        leaves[which] = leaves[which][:at] + put + leaves[which][at + gone :]
    same_reading(rows_of(*leaves))


LONG = 2500
PART = 1024


@pytest.fixture(scope="module")
def long_filled(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("long") / "bank.db"
    engine = bank.new_bank(path)
    for first in range(0, LONG, 500):
        drafts = [bank.draft(at) for at in range(first, first + 500)]
        with engine.begin() as conn:
            log.append(conn, ORIGIN, drafts, now=bank.NOW + timedelta(seconds=first))
            log.publish(conn, ORIGIN, SIGNER)
    engine.dispose()
    return path


@pytest.fixture
def long(long_filled, tmp_path):
    engine = bank.open_bank(bank.copy_bank(long_filled, tmp_path / "bank.db"))
    yield engine
    engine.dispose()


IN_PARTS = [
    ("a leaf of a later part", "entry `1500`", lambda conn: put_leaf(conn, 1500, b"{}")),
    (
        "a leaf of the first part and one of the second",
        "entry `3`",
        lambda conn: [put_leaf(conn, at, b"{}") for at in (1500, 3)],
    ),
    (
        "the end of a part dropped",
        "entry `1000`",
        lambda conn: conn.execute(delete(log_leaf).where(log_leaf.c.idx.between(1000, 1023))),
    ),
    (
        "all from the middle of a part on dropped",
        "tile `0/7`",
        lambda conn: conn.execute(delete(log_leaf).where(log_leaf.c.idx >= 1800)),
    ),
    (
        "all from a tile on dropped, checkpoints too",
        "entry `1792`",
        lambda conn: [
            conn.execute(delete(log_leaf).where(log_leaf.c.idx >= 1792)),
            conn.execute(delete(log_checkpoint).where(log_checkpoint.c.size > 1792)),
        ],
    ),
    (
        "the roots that stand for the parts before",
        "first `1024` entries",
        lambda conn: conn.execute(
            update(log_tile).where(log_tile.c.level == 1).values(data=bytes(9 * 32))
        ),
    ),
    (
        "a checkpoint of a later part",
        "checkpoint `1500`",
        lambda conn: conn.execute(
            update(log_checkpoint)
            .where(log_checkpoint.c.size == 1500)
            .values(note=checkpoint_note(size=1500))
        ),
    ),
    (
        "a checkpoint at the beginning of a part",
        "checkpoint `2048`",
        lambda conn: conn.execute(
            insert(log_checkpoint).values(origin=ORIGIN, size=2048, note=checkpoint_note(size=2048))
        ),
    ),
    (
        "a checkpoint beyond the end",
        "there are `2500`",
        lambda conn: conn.execute(
            insert(log_checkpoint).values(origin=ORIGIN, size=2501, note=checkpoint_note(size=2501))
        ),
    ),
    (
        "an opening of a later part",
        "entry `2000`",
        lambda conn: conn.execute(
            update(log_opening).where(log_opening.c.idx == 2000).values(salt=b"short")
        ),
    ),
    (
        "a document of a later part",
        "entry `1501`",
        lambda conn: conn.execute(
            update(log_document)
            .where(log_document.c.body == b'{"decision": 1501}')
            .values(body=b"")
        ),
    ),
    (
        "a tile gone",
        "tile `0/6`",
        lambda conn: conn.execute(delete(log_tile).where(log_tile.c.n == 6)),
    ),
    (
        "a head that counts less than a part",
        "counts `3` entries, there are `2500`",
        lambda conn: conn.execute(update(log_head).values(size=3)),
    ),
]


@pytest.mark.parametrize(
    ("message", "corrupt"), [row[1:] for row in IN_PARTS], ids=[row[0] for row in IN_PARTS]
)
def test_in_parts_too_the_check_names_the_first_bad_record(long, message, corrupt):
    with long.begin() as conn:
        corrupt(conn)
    with long.connect() as conn:
        with pytest.raises(log.LogCorruptError) as caught:
            log.check(conn, ORIGIN, processes=2, part=PART)
        assert message in str(caught.value)
        with pytest.raises(log.LogCorruptError):
            log.check(conn, ORIGIN, part=PART)
        with pytest.raises(log.LogCorruptError):
            log.check(conn, ORIGIN)


def test_a_sound_log_passes_in_parts(long):
    with long.connect() as conn:
        log.check(conn, ORIGIN, LONG, processes=2, part=PART)
        log.check(conn, ORIGIN, LONG, part=PART)
        log.check(conn, ORIGIN, LONG)
        left, found = check._check_apart(long.url, ORIGIN, PART, PART)
        check._engine.cache_clear()
        assert left == (tree.root_at(conn, ORIGIN, PART),)
    assert (found.tree.size, len(found.roots)) == (2 * PART, PART // 256)


def test_what_is_wrong_apart_is_told_with_what_it_stood_on(long):
    with long.begin() as conn:
        put_leaf(conn, 1500, b"{}")
    left, found = check._check_apart(long.url, ORIGIN, PART, PART)
    check._engine.cache_clear()
    assert isinstance(found, log.LogCorruptError)
    assert len(left) == 1


def test_a_log_that_ends_with_a_part_passes(engine):
    bank.fill(engine, PART, batch=PART)
    with engine.begin() as conn:
        log.publish(conn, ORIGIN, SIGNER)
        log.check(conn, ORIGIN, PART, part=PART)


def test_tiles_above_the_full_ones_are_checked(engine):
    """More than 65,536 entries: a full tile of level 1 and one of level 2."""
    whole, more = 65_536, 256
    for first in range(0, whole + more, 8_192):
        drafts = [Draft(kind="x", actor="a") for _ in range(min(8_192, whole + more - first))]
        with engine.begin() as conn:
            log.append(conn, ORIGIN, drafts, now=bank.NOW + timedelta(seconds=first))
            if first + len(drafts) >= whole:
                log.check(conn, ORIGIN, first + len(drafts))
    for level, n in ((1, 0), (1, 1), (2, 0)):
        with engine.connect() as conn:
            stored = log_tile.c.level == level, log_tile.c.n == n
            conn.execute(update(log_tile).where(*stored).values(data=bytes(32)))
            with pytest.raises(log.LogCorruptError, match=f"tile `{level}/{n}`"):
                log.check(conn, ORIGIN)


@pytest.mark.parametrize("part", [PART, 2 * PART], ids=["between parts", "between reads"])
def test_the_order_of_times_is_held_where_one_reading_ends(engine, part):
    """A whole tree over entries whose times went back: only the times can tell."""
    bank.fill(engine, PART, batch=PART)
    with engine.begin() as conn:
        conn.execute(update(log_head).values(last_time_us=0))
        log.append(conn, ORIGIN, [bank.draft(1)], now=bank.NOW)
        with pytest.raises(log.LogCorruptError, match=f"entry `{PART}`.* not after the one before"):
            log.check(conn, ORIGIN, part=part)
