"""Every write on the append path fails twice: lost, and stored but reported failed.

After each, the file is opened again: the log is whole, holds either none or all of the append,
and takes the next one.
"""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from audit import log
from tests.audit import bank
from tests.audit.bank import NOW, ORIGIN, SIGNER, draft

BEFORE = 254  # so that the append below fills a tile and begins two
DRAFTS = [draft(at) for at in range(BEFORE, BEFORE + 5)]
LATER = NOW + timedelta(hours=1)
WRITES = ("INSERT", "UPDATE")


class DiskError(Exception):
    """What happens when the disk fails."""


def act(conn) -> None:
    log.append(conn, ORIGIN, DRAFTS, now=LATER)
    log.publish(conn, ORIGIN, SIGNER)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "bank.db"
    engine = bank.new_bank(path)
    bank.fill(engine, BEFORE, batch=BEFORE)
    engine.dispose()
    return path


def writes_of_the_path(path) -> int:
    """How many write statements the act makes, counted on a log of the same size."""
    seen: list[str] = []
    engine = bank.open_bank(path)

    @event.listens_for(engine, "before_cursor_execute")
    def _count(_conn, _cursor, statement, *_rest) -> None:
        if statement.startswith(WRITES):
            seen.append(statement)

    with engine.begin() as conn:
        act(conn)
    engine.dispose()
    return len(seen)


def reopened_and_whole(path, sizes: tuple[int, ...]) -> None:
    engine = bank.open_bank(path)
    with engine.begin() as conn:
        size = log.head(conn, ORIGIN).size
        assert size in sizes
        log.check_head(conn, ORIGIN)
        log.check(conn, ORIGIN, size)
    with engine.begin() as conn:
        act(conn)
    with engine.begin() as conn:
        log.check(conn, ORIGIN, size + len(DRAFTS))
    engine.dispose()


@pytest.mark.parametrize("when", ["before_cursor_execute", "after_cursor_execute"])
def test_a_failed_write_leaves_nothing(tmp_path, filled, when):
    count = writes_of_the_path(bank.copy_bank(filled, tmp_path / "count.db"))
    # leaves, documents, openings, new tiles, the longer tile, the head, the checkpoint
    assert count == 7
    for number in range(count):
        path = bank.copy_bank(filled, tmp_path / f"{number}.db")
        engine = bank.open_bank(path)
        seen: list[str] = []

        @event.listens_for(engine, when)
        def _fail(_conn, _cursor, statement, *_rest, seen=seen, number=number) -> None:
            if statement.startswith(WRITES):
                seen.append(statement)
                if len(seen) == number + 1:
                    raise DiskError("disk I/O error")

        with pytest.raises(DiskError), engine.begin() as conn:
            act(conn)
        engine.dispose()
        reopened_and_whole(path, (BEFORE,))


@pytest.mark.parametrize(
    ("stored", "size"),
    [(False, BEFORE), (True, BEFORE + len(DRAFTS))],
    ids=["lost", "stored but reported failed"],
)
def test_a_failed_commit_leaves_none_or_all(tmp_path, filled, stored, size):
    path = bank.copy_bank(filled, tmp_path / "bank.db")
    engine = bank.open_bank(path)

    @event.listens_for(engine, "commit")
    def _fail(conn) -> None:
        if stored:
            conn.connection.driver_connection.commit()
        raise DiskError("disk I/O error")

    with pytest.raises(DiskError), engine.begin() as conn:
        act(conn)
    engine.dispose()
    reopened_and_whole(path, (size,))


def test_the_control_a_caller_that_commits_in_between_is_caught(tmp_path):
    """Were the leaves committed without their head, the check would say so."""
    engine = bank.new_bank(tmp_path / "bank.db")
    bank.fill(engine, 3)

    @event.listens_for(engine, "before_cursor_execute")
    def _split(conn, _cursor, statement, *_rest) -> None:
        if statement.startswith("UPDATE log_head"):
            conn.connection.driver_connection.execute("COMMIT")
            raise DiskError("disk I/O error")

    with pytest.raises(DiskError), engine.begin() as conn:
        log.append(conn, ORIGIN, [draft(3)], now=LATER)
    engine.dispose()
    engine = bank.open_bank(tmp_path / "bank.db")
    with engine.begin() as conn:
        with pytest.raises(log.LogCorruptError):
            log.check(conn, ORIGIN)
        with pytest.raises(log.LogCorruptError):
            log.check_head(conn, ORIGIN)
    engine.dispose()
