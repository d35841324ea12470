"""The log: what is appended is there, in order, provable, and exists only with its transaction."""

import hashlib
import json
from datetime import timedelta

import pytest
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from audit import log, merkle, tiles, tree
from audit.leaf import Draft, LeafError, commitment
from audit.note import TlogProof, open_checkpoint
from audit.tree import documents
from tests.audit import bank
from tests.audit.bank import NOW, ORIGIN, SIGNER, draft


def test_a_new_log_is_empty(engine):
    with engine.begin() as conn:
        head = log.head(conn, ORIGIN)
        assert (head.size, head.root) == (0, merkle.EMPTY_ROOT)
        assert log.latest_checkpoint(conn, ORIGIN) is None
        log.check(conn, ORIGIN, 0)
        log.check_head(conn, ORIGIN)


def test_a_log_is_created_once(engine):
    with engine.begin() as conn, pytest.raises(log.LogExistsError):
        log.create(conn, ORIGIN, NOW)


def test_nothing_is_written_to_a_log_that_is_not_there(engine):
    with engine.begin() as conn, pytest.raises(log.NotInLogError, match="no log"):
        log.append(conn, "elsewhere.example/log", [draft(0)], now=NOW)


def test_no_drafts_no_entries(engine):
    with engine.begin() as conn:
        assert log.append(conn, ORIGIN, [], now=NOW) == ()
        log.check(conn, ORIGIN, 0)


def test_entries_come_out_as_they_went_in(engine):
    drafts = [draft(at) for at in range(5)]
    with engine.begin() as conn:
        appended = log.append(conn, ORIGIN, drafts, now=NOW)
    with engine.begin() as conn:
        assert [one.index for one in appended] == [0, 1, 2, 3, 4]
        assert [one.time for one in appended] == [NOW + timedelta(microseconds=i) for i in range(5)]
        assert list(log.leaves(conn, ORIGIN, 0, 5)) == [one.leaf for one in appended]
        for one, asked in zip(appended, drafts, strict=True):
            fields = json.loads(one.leaf)
            assert log.leaf(conn, ORIGIN, one.index) == one.leaf
            assert one.leaf_hash == merkle.leaf_hash(one.leaf)
            assert (fields["index"], fields["type"]) == (one.index, asked.kind)
            (body,) = asked.documents
            assert fields["docs"] == [hashlib.sha256(body).hexdigest()]
            assert log.document(conn, hashlib.sha256(body).digest()) == body
            opening = log.opening(conn, ORIGIN, one.index, "donors")
            assert opening.value == asked.commitments["donors"]
            assert commitment(opening.salt, opening.value).hex() == fields["commit"]["donors"]
        log.check(conn, ORIGIN, 5)
        log.check_head(conn, ORIGIN)


def test_a_rolled_back_caller_leaves_no_entry(engine):
    bank.fill(engine, 3)
    with engine.connect() as conn:
        log.append(conn, ORIGIN, [draft(3)], now=NOW + timedelta(hours=1))
        conn.rollback()
    with engine.begin() as conn:
        log.check(conn, ORIGIN, 3)
    bank.fill(engine, 1, start=3)


def test_a_draft_that_cannot_be_sealed_stops_the_whole_append(engine):
    with engine.begin() as conn:
        bad = Draft(kind="decision", actor="张三")
        with pytest.raises(LeafError):
            log.append(conn, ORIGIN, [draft(0), bad], now=NOW)
        log.check(conn, ORIGIN, 0)


@pytest.mark.parametrize(
    ("why", "behind"),
    [("stuck", 0), ("a little behind", 1), ("two seconds", 2)],
)
def test_times_increase_whatever_a_slightly_wrong_clock_says(engine, why, behind):
    with engine.begin() as conn:
        (first,) = log.append(conn, ORIGIN, [draft(0)], now=NOW)
        (second,) = log.append(conn, ORIGIN, [draft(1)], now=NOW - timedelta(seconds=behind))
        assert second.time == first.time + timedelta(microseconds=1)
        log.check(conn, ORIGIN, 2)


def test_a_clock_that_went_back_stops_the_log(engine):
    with engine.begin() as conn:
        log.append(conn, ORIGIN, [draft(0)], now=NOW)
        back = NOW - timedelta(seconds=2, microseconds=1)
        with pytest.raises(log.ClockWentBackError):
            log.append(conn, ORIGIN, [draft(1)], now=back)
        log.check(conn, ORIGIN, 1)


def test_a_time_without_a_zone_is_refused(engine):
    with engine.begin() as conn, pytest.raises(TypeError):
        log.append(conn, ORIGIN, [draft(0)], now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize("column", ["size", "epoch"])
def test_a_late_writer_swaps_nothing(engine, column):
    """Another process moves the head between this writer's read and its swap."""

    def move_head(size: int) -> bytes:
        changed = {column: tree.log_head.c[column] + 1}
        conn.execute(update(tree.log_head).values(changed))
        return bytes(size)

    with engine.connect() as conn:
        with pytest.raises(log.HeadMovedError, match="no longer"):
            log.append(conn, ORIGIN, [Draft(kind="a", actor="b")], now=NOW, randomness=move_head)
        conn.rollback()
        log.check(conn, ORIGIN, 0)


def test_a_tile_gone_meanwhile_stops_the_writer(engine):
    bank.fill(engine, 3)

    def drop_tiles(size: int) -> bytes:
        conn.execute(delete(tree.log_tile))
        return bytes(size)

    with engine.connect() as conn:
        with pytest.raises(log.HeadMovedError, match="is gone"):
            log.append(
                conn,
                ORIGIN,
                [Draft(kind="a", actor="b")],
                now=NOW + timedelta(hours=1),
                randomness=drop_tiles,
            )
        conn.rollback()
        log.check(conn, ORIGIN, 3)


@pytest.mark.parametrize(
    ("why", "values"),
    [
        ("root flipped", {"root": bytes(32)}),
        ("frontier cut", {"frontier": bytes(32)}),
        ("frontier flipped", {"frontier": bytes(64)}),
        ("size moved", {"size": 2}),
    ],
)
def test_nothing_is_appended_to_a_torn_head(engine, why, values):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        conn.execute(update(tree.log_head).values(values))
        with pytest.raises(log.LogCorruptError):
            log.append(conn, ORIGIN, [draft(3)], now=NOW + timedelta(hours=1))


def test_nothing_is_appended_to_a_missing_edge(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        conn.execute(delete(tree.log_tile))
        with pytest.raises(log.LogCorruptError, match=r"tile/0/000\.p/3"):
            log.append(conn, ORIGIN, [draft(3)], now=NOW + timedelta(hours=1))


def test_batches_of_any_size_give_the_same_tree(engine, tmp_path):
    """The tiles of a log are those of its leaves, over two levels and both kinds of edge."""
    bank.fill(engine, 600, batch=97)
    with engine.begin() as conn:
        hashes = [merkle.leaf_hash(one) for one in log.leaves(conn, ORIGIN, 0, 600)]
        assert log.head(conn, ORIGIN).root == merkle.root_from_leaf_hashes(hashes)
        for n, width in ((0, 256), (1, 256), (2, 88), (2, 1)):
            want = b"".join(hashes[n * 256 : n * 256 + width])
            assert log.tile(conn, ORIGIN, 0, n, width) == want
        above = [tiles.root_of_hashes(b"".join(hashes[at : at + 256])) for at in (0, 256)]
        assert log.tile(conn, ORIGIN, 1, 0, 2) == b"".join(above)
        bundle = log.bundle(conn, ORIGIN, 2, 88)
        assert [merkle.leaf_hash(one) for one in tiles.decode_bundle(bundle)] == hashes[512:]


def test_documents_come_in_the_order_asked(engine):
    bank.fill(engine, 100, batch=50)
    bodies = list(dict.fromkeys(draft(at).documents[0] for at in reversed(range(100))))
    digests = [hashlib.sha256(body).digest() for body in bodies]
    with engine.begin() as conn:
        assert [one.body for one in documents(conn, digests)] == bodies
        with pytest.raises(log.NotInLogError):
            list(documents(conn, [*digests, bytes(32)]))


def test_an_append_of_many_crosses_a_tile_at_once(engine):
    with engine.begin() as conn:
        log.append(conn, ORIGIN, [draft(at) for at in range(1030)], now=NOW)
        log.check(conn, ORIGIN, 1030)
        log.check_head(conn, ORIGIN)
        assert len(list(log.leaves(conn, ORIGIN, 0, 1030))) == 1030


def test_a_tree_of_full_tiles_has_no_edge_below(engine):
    with engine.begin() as conn:
        log.append(conn, ORIGIN, [draft(at) for at in range(256)], now=NOW)
        log.check(conn, ORIGIN, 256)
        log.append(conn, ORIGIN, [draft(256)], now=NOW)
        log.check(conn, ORIGIN, 257)


def test_every_proof_verifies(engine):
    bank.fill(engine, 270, batch=90)
    with engine.begin() as conn:
        hashes = [merkle.leaf_hash(one) for one in log.leaves(conn, ORIGIN, 0, 270)]
        for size in (1, 2, 255, 256, 257, 270):
            root = merkle.root_from_leaf_hashes(hashes[:size])
            for index in {0, size // 2, size - 1}:
                proof = log.inclusion(conn, ORIGIN, index, size)
                merkle.verify_inclusion(index, size, hashes[index], proof, root)
            for old in {1, size // 2 or 1, size}:
                old_root = merkle.root_from_leaf_hashes(hashes[:old])
                proof = log.consistency(conn, ORIGIN, old, size)
                merkle.verify_consistency(old, size, old_root, root, proof)


@pytest.mark.parametrize(
    ("why", "ask"),
    [
        ("head", lambda conn: log.head(conn, "other")),
        ("leaf", lambda conn: log.leaf(conn, ORIGIN, 3)),
        ("leaves past the end", lambda conn: list(log.leaves(conn, ORIGIN, 0, 4))),
        ("leaves backwards", lambda conn: list(log.leaves(conn, ORIGIN, 2, 1))),
        ("document", lambda conn: log.document(conn, bytes(32))),
        ("opening", lambda conn: log.opening(conn, ORIGIN, 0, "samples")),
        ("tile", lambda conn: log.tile(conn, ORIGIN, 0, 1, 1)),
        ("wide tile", lambda conn: log.tile(conn, ORIGIN, 0, 0, 4)),
        ("empty tile", lambda conn: log.tile(conn, ORIGIN, 0, 0, 0)),
        ("bundle", lambda conn: log.bundle(conn, ORIGIN, 0, 4)),
        ("empty bundle", lambda conn: log.bundle(conn, ORIGIN, 0, 0)),
        ("inclusion", lambda conn: log.inclusion(conn, ORIGIN, 3, 3)),
        ("inclusion beyond", lambda conn: log.inclusion(conn, ORIGIN, 0, 4)),
        ("consistency", lambda conn: log.consistency(conn, ORIGIN, 0, 3)),
        ("consistency beyond", lambda conn: log.consistency(conn, ORIGIN, 1, 4)),
        ("proof", lambda conn: log.proof(conn, ORIGIN, 3, SIGNER)),
    ],
)
def test_what_is_not_in_the_log_is_not_answered(engine, why, ask):
    bank.fill(engine, 3)
    with engine.begin() as conn, pytest.raises(log.NotInLogError):
        ask(conn)


def test_an_erased_opening_is_gone_and_the_proof_stays(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        before = log.proof(conn, ORIGIN, 1, SIGNER)
        log.erase_opening(conn, ORIGIN, 1, "donors")
        log.erase_opening(conn, ORIGIN, 1, "donors")
        with pytest.raises(log.NotInLogError):
            log.opening(conn, ORIGIN, 1, "donors")
        assert log.opening(conn, ORIGIN, 2, "donors").value == "HG00002"
        assert log.proof(conn, ORIGIN, 1, SIGNER) == before
        log.check(conn, ORIGIN, 3)


def test_a_checkpoint_is_signed_once_per_size(engine):
    with engine.begin() as conn:
        empty = log.publish(conn, ORIGIN, SIGNER)
        assert open_checkpoint(empty, SIGNER.verifier()).root == merkle.EMPTY_ROOT
    bank.fill(engine, 3)
    with engine.begin() as conn:
        note = log.publish(conn, ORIGIN, SIGNER)
        assert log.publish(conn, ORIGIN, SIGNER) == note == log.latest_checkpoint(conn, ORIGIN)
        checkpoint = open_checkpoint(note, SIGNER.verifier())
        assert (checkpoint.size, checkpoint.root) == (3, log.head(conn, ORIGIN).root)
        # Even another key of the log's name gets the note that is already out.
        assert log.publish(conn, ORIGIN, bank.OTHER) == note
        log.check(conn, ORIGIN, 3)


def test_a_lost_publish_signs_the_same_bytes_again(engine):
    bank.fill(engine, 3)
    with engine.connect() as conn:
        lost = log.publish(conn, ORIGIN, SIGNER)
        conn.rollback()
        assert log.latest_checkpoint(conn, ORIGIN) is None
        assert log.publish(conn, ORIGIN, SIGNER) == lost


def test_a_key_of_another_name_does_not_sign(engine):
    with engine.begin() as conn, pytest.raises(log.LogError, match="does not speak"):
        log.publish(conn, ORIGIN, bank.Signer(name="other", seed=bytes(32)))


def test_nothing_is_signed_over_a_flipped_tile(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        data = bytearray(conn.execute(select(tree.log_tile.c.data)).scalar_one())
        data[40] ^= 1
        conn.execute(update(tree.log_tile).values(data=bytes(data)))
        with pytest.raises(log.RootMismatchError, match="tiles"):
            log.publish(conn, ORIGIN, SIGNER)
        with pytest.raises(log.LogCorruptError):
            log.check_head(conn, ORIGIN)


def test_a_log_restored_from_before_its_checkpoint_signs_nothing(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        log.publish(conn, ORIGIN, SIGNER)
        note = conn.execute(select(tree.log_checkpoint.c.note)).scalar_one()
        for table in (tree.log_leaf, tree.log_tile, tree.log_opening):
            conn.execute(delete(table))
        conn.execute(delete(tree.log_head))
        log.create(conn, ORIGIN, NOW)
        assert log.latest_checkpoint(conn, ORIGIN) == note
        with pytest.raises(log.RootMismatchError, match="shorter"):
            log.publish(conn, ORIGIN, SIGNER)
        with pytest.raises(log.LogCorruptError, match="history"):
            log.check_head(conn, ORIGIN)
        with pytest.raises(log.LogCorruptError, match="checkpoint of `3`"):
            log.check(conn, ORIGIN)
        log.append(conn, ORIGIN, [draft(at) for at in (7, 8, 9, 10)], now=NOW)
        with pytest.raises(log.RootMismatchError, match="history"):
            log.publish(conn, ORIGIN, SIGNER)
        with pytest.raises(log.LogCorruptError, match="history"):
            log.check_head(conn, ORIGIN)
        with pytest.raises(log.LogCorruptError, match="checkpoint `3`"):
            log.check(conn, ORIGIN)


def test_a_receipt_verifies_and_uses_the_newest_checkpoint_that_covers_it(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        first = TlogProof.from_bytes(log.proof(conn, ORIGIN, 2, SIGNER))
        assert first.verify(log.leaf(conn, ORIGIN, 2), SIGNER.verifier()).size == 3
    bank.fill(engine, 2, start=3)
    with engine.begin() as conn:
        assert TlogProof.from_bytes(log.proof(conn, ORIGIN, 0, SIGNER)).checkpoint == (
            first.checkpoint
        )
        later = TlogProof.from_bytes(log.proof(conn, ORIGIN, 4, SIGNER))
        assert later.verify(log.leaf(conn, ORIGIN, 4), SIGNER.verifier()).size == 5


def test_no_receipt_for_a_changed_entry(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        log.publish(conn, ORIGIN, SIGNER)
        row = tree.log_leaf.c.idx == 1
        changed = log.leaf(conn, ORIGIN, 1).replace(b"permit", b"refuse")
        conn.execute(update(tree.log_leaf).where(row).values(leaf=changed))
        with pytest.raises(log.LogCorruptError, match="its hash"):
            log.proof(conn, ORIGIN, 1, SIGNER)
        with pytest.raises(log.LogCorruptError, match="entry `1`"):
            list(log.leaves(conn, ORIGIN, 0, 3))
        hashed = merkle.leaf_hash(changed)
        conn.execute(update(tree.log_leaf).where(row).values(leaf_hash=hashed))
        with pytest.raises(log.LogCorruptError, match="cannot be proven"):
            log.proof(conn, ORIGIN, 1, SIGNER)


def test_a_missing_tail_is_noticed_when_streaming(engine):
    bank.fill(engine, 3)
    with engine.begin() as conn:
        conn.execute(delete(tree.log_leaf).where(tree.log_leaf.c.idx == 2))
        with pytest.raises(log.LogCorruptError, match="entry `2`"):
            list(log.leaves(conn, ORIGIN, 0, 3))


def test_a_missing_tile_is_a_corrupt_log_not_a_missing_proof(engine):
    bank.fill(engine, 300, batch=100)
    with engine.begin() as conn:
        full = (tree.log_tile.c.level == 0) & (tree.log_tile.c.n == 0)
        conn.execute(delete(tree.log_tile).where(full))
        with pytest.raises(log.LogCorruptError, match="tile `0/0`"):
            log.inclusion(conn, ORIGIN, 5, 300)


def test_a_proof_and_an_append_read_few_tiles_however_many_there_are(engine):
    bank.fill(engine, 600, batch=600)
    seen: list[str] = []
    reads = event.listens_for(engine, "before_cursor_execute")
    reads(lambda _conn, _cursor, statement, *_: seen.append(statement))
    with engine.begin() as conn:
        for act in (
            lambda: log.inclusion(conn, ORIGIN, 300, 600),
            lambda: log.consistency(conn, ORIGIN, 300, 600),
            lambda: tree.edge_tiles(conn, ORIGIN, 600),
            lambda: tree.root_at(conn, ORIGIN, 600),
        ):
            seen.clear()
            act()
            assert sum("log_tile" in statement for statement in seen) == 1


@pytest.mark.sqlite
def test_tiles_are_found_by_their_key_not_by_looking_at_all(engine):
    for count in (1, 2, 5):
        places = {"whose": ORIGIN} | {
            f"{name}{n}": 0 for n in range(count) for name in ("level", "n")
        }
        query = tree._tiles(count).compile(engine)
        told = [places[name] for name in query.positiontup]
        with engine.begin() as conn:
            plan = [
                row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", tuple(told))
            ]
        searched = [step for step in plan if step.startswith(("SEARCH", "SCAN"))]
        assert len(searched) == count
        assert all("(origin=? AND level=? AND n=?)" in step for step in searched)


def test_two_logs_in_one_database_do_not_touch(engine):
    other = "bank.example/sandbox"
    with engine.begin() as conn:
        log.create(conn, other, NOW)
        log.append(conn, other, [draft(9)], now=NOW)
    bank.fill(engine, 4)
    with engine.begin() as conn:
        log.check(conn, other, 1)
        log.check_head(conn, other)


def test_the_statements_compile_for_postgresql():
    """The head is locked there; SQLite locks the file instead."""
    locked = select(tree.log_head).with_for_update().compile(dialect=postgresql.dialect())
    assert str(locked).endswith("FOR UPDATE")
    for table in log.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert str(insert(table).compile(dialect=postgresql.dialect()))
