"""One change to any stored byte, and the check names the record."""

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import and_, delete, insert, select, update

from audit import log, merkle
from audit.check import checkpoint_of
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
    engine = bank.open_bank(Path(shutil.copy(filled, tmp_path)))
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
