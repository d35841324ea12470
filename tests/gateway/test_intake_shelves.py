"""`hgr import` beside what was promised and released, when it is killed, and what it keeps of a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from gateway.bank import Bank, open_bank
from gateway.registry import intake, ledger
from gateway.registry.intake import KINDS, Row, read_row
from gateway.tables import metadata
from policies import disease
from policies.decision import Result
from tests.gateway.conftest import SettableClock, settings_in
from tests.gateway.stage import NOW, Stage, stage_in
from tests.gateway.test_acts import AGGREGATE, approve, create, release
from tests.gateway.test_cli import INIT, filled, folder, hgr, kinds
from tests.gateway.test_intake import put, rows
from tests.store import url_in

__all__ = ["filled", "folder"]


@contextmanager
def opened(folder: Path) -> Iterator[Bank]:
    bank = open_bank(settings_in(folder), SettableClock())
    try:
        yield bank
    finally:
        bank.database.close()


def granted(bank: Bank) -> str:
    """A grant over tubes, by two officers; its id."""
    grant_id = approve(bank, create(bank).case_id).grant_id
    assert grant_id is not None
    return grant_id


def removed(folder: Path) -> dict[tuple[str, str], str]:
    """(grant, holding) → why it was taken out."""
    return {
        (row["grant_id"], row["holding_id"]): row["removed_reason"]
        for row in rows(folder, "grant_item")
        if row["removed_at"] is not None
    }


def books(folder: Path) -> list[ledger.Difference]:
    with opened(folder) as bank, bank.database.read() as conn:
        return ledger.differences(conn)


def test_tubes_that_are_gone_leave_the_grant_they_were_promised_to(filled: Path) -> None:
    with opened(filled) as bank:
        grant_id = granted(bank)
    promised = [row for row in rows(filled, "holding") if row["reserved"]]
    lost, away, kept, enough = sorted(promised, key=lambda row: row["units"])[-4:]
    before = kinds(filled)
    text = (
        "code,units,kept,available\n"
        f"{lost['code']},0,0,true\n"
        f"{away['code']},{away['units']},0,false\n"
        f"{kept['code']},{kept['units']},{kept['units']},true\n"
        f"{enough['code']},{enough['reserved']},0,true\n"
    )
    told = hgr("import", "holdings", str(put(filled, "night.csv", text)))
    assert told.exit_code == 0, told.output
    assert removed(filled) == {(grant_id, one["id"]): "gone" for one in (lost, away, kept)}
    assert kinds(filled)[len(before) :] == [
        "intake.begun", "intake.batch", "grant.shrunk", "intake.done",
    ]  # fmt: skip
    left = {row["id"]: row["reserved"] for row in rows(filled, "holding")}
    assert [left[one["id"]] for one in (lost, away, kept)] == [0, 0, 0]
    assert left[enough["id"]] == enough["reserved"], "what is there still stays promised"
    assert books(filled) == []


def test_of_two_promises_the_later_one_is_not_kept(filled: Path) -> None:
    with opened(filled) as bank:
        first = granted(bank)
        bank.clock.advance(hours=1)  # type: ignore[attr-defined]
        second = granted(bank)
    items = {
        (row["grant_id"], row["holding_id"]): row["units"] for row in rows(filled, "grant_item")
    }
    both = [
        row
        for row in rows(filled, "holding")
        if (first, row["id"]) in items and (second, row["id"]) in items
    ]
    assert both
    one = both[0]
    text = f"code,units\n{one['code']},{items[first, one['id']]}\n"
    assert hgr("import", "holdings", str(put(filled, "night.csv", text))).exit_code == 0
    assert removed(filled) == {(second, one["id"]): "gone"}
    assert books(filled) == []


def test_tubes_that_went_out_do_not_come_back_by_an_old_file(filled: Path) -> None:
    with opened(filled) as bank:
        grant_id = granted(bank)
        before = {row[0]: row[1] for row in _units(bank)}
        release(bank, grant_id)
        after = {row[0]: row[1] for row in _units(bank)}
    code = next(code for code, units in before.items() if after[code] < units)
    path = put(filled, "old.csv", f"code,units\n{code},{before[code]}\n")
    told = hgr("import", "holdings", str(path))
    assert told.exit_code == 1, told.output
    assert "released_since" in (filled / "old.csv.bad.csv").read_text("utf-8")
    told = hgr("import", "holdings", str(path), "--written-at", "2026-11-21")
    assert told.exit_code == 1, "the tubes went out behind that day"
    told = hgr("import", "holdings", str(path), "--written-at", "2026-11-24")
    assert told.exit_code == 0, told.output
    assert dict(_units_in(filled))[code] == before[code], "counted anew since"
    fewer = put(filled, "fewer.csv", f"code,units\n{code},0\n")
    assert hgr("import", "holdings", str(fewer)).exit_code == 0, "fewer are believed at any time"


FEED = "code,units\n{code},{units}\n"


def feeds(folder: Path) -> list[bool]:
    """Of each file of holdings, whether it counts as a feed."""
    found = [row for row in rows(folder, "intake_file") if row["kind"] == "holdings"]
    return [row["feed_at"] is not None for row in sorted(found, key=lambda row: row["begun_at"])]


def test_the_doctor_raises_an_alarm_where_no_feed_came_in_time(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "HGR_FEED_MAX_AGE_HOURS" not in hgr("doctor").output
    monkeypatch.setenv("HGR_FEED_MAX_AGE_HOURS", "30")
    told = hgr("doctor")
    assert "✗ 馆藏变更最近一次 · last feed of holdings: 从未 · never" in told.output
    assert told.exit_code == 1
    (one, *_) = rows(filled, "holding")
    path = put(filled, "night.csv", FEED.format(code=one["code"], units=one["units"]))
    old = datetime.now(UTC).astimezone() - timedelta(hours=31)
    said = ["--written-at", f"{old:%Y-%m-%dT%H:%M:%S}"]
    assert hgr("import", "holdings", str(path), *said).exit_code == 0
    assert "✗ 馆藏变更" in hgr("doctor").output, "it is as old as its rows"
    before = kinds(filled)
    assert "nothing to do" in hgr("import", "holdings", str(path)).output
    assert "✗ 馆藏变更" in hgr("doctor").output, "the same bytes tell nothing new"
    again = f"{datetime.now(UTC).astimezone() - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}"
    told = hgr("import", "holdings", str(path), "--written-at", again, "--dry-run")
    assert kinds(filled) == before
    told = hgr("import", "holdings", str(path), "--written-at", again)
    assert "nothing to do" in told.output
    assert kinds(filled)[len(before) :] == ["intake.done"]
    told = hgr("doctor")
    assert "✓ 馆藏变更" in told.output


def test_what_is_written_tomorrow_is_not_believed(filled: Path) -> None:
    path = put(filled, "night.csv", "code,units\n")
    ahead = f"{datetime.now(UTC).astimezone() + timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
    told = hgr("import", "holdings", str(path), "--written-at", ahead)
    assert told.exit_code == 2
    assert "lies ahead" in told.stderr


def test_a_night_without_changes_is_a_feed_and_one_nobody_understood_is_none(filled: Path) -> None:
    (one, *_) = rows(filled, "holding")
    nights = [
        ("quiet.csv", "code,units\n", 0, True),
        ("failed.jsonl", "", 0, False),
        ("wrong.csv", "code,units\nnobody,-1\n", 1, False),
        ("partly.csv", f"code,units\nnobody,-1\n{one['code']},{one['units']}\n", 1, True),
    ]
    for name, text, exit_code, _ in nights:
        told = hgr("import", "holdings", str(put(filled, name, text)))
        assert told.exit_code == exit_code, told.output
    assert feeds(filled) == [counts for *_, counts in nights]


def test_a_release_is_referred_while_the_feed_is_too_old(filled: Path) -> None:
    told = settings_in(filled).model_copy(update={"feed_max_age_hours": 24})
    clock = SettableClock()
    bank = open_bank(told, clock)
    bank.database.write(lambda conn: _heard(conn, bank))
    grant_id = create(bank, AGGREGATE).grant_id
    assert type(release(bank, grant_id)).__name__ == "Released"
    clock.advance(hours=25)
    refused = release(bank, grant_id)
    bank.database.close()
    assert type(refused).__name__ == "ReleaseRefused"
    found = {one.no for one in refused.answer.decision.findings if one.result is Result.HOLDS}
    assert refused.answer.decision.outcome == "refer"
    assert "INST-08" in found


def _heard(conn: Connection, bank: Bank) -> None:
    begun = intake.begin(conn, KINDS["holdings"], "aa", "", now=bank.now())
    intake.heard(conn, begun.id, None)


def _units(bank: Bank) -> list[tuple[str, int]]:
    held = metadata.tables["holding"].c
    with bank.database.read() as conn:
        return [(row[0], row[1]) for row in conn.execute(sa.select(held.code, held.units))]


def _units_in(folder: Path) -> list[tuple[str, int]]:
    return [(row["code"], row["units"]) for row in rows(folder, "holding")]


def test_wrong_rows_load_once_what_they_name_is_there(filled: Path) -> None:
    text = "code,donor,collection,kind\nT1,D900,chb,plasma\nT2,HG00403,chb,dna\n"
    path = put(filled, "t.csv", text.replace("chb", "CHB"))
    assert hgr("import", "holdings", str(path)).exit_code == 1
    assert hgr("import", "donors", str(put(filled, "d.csv", "code\nD900\n"))).exit_code == 0
    told = hgr("import", "holdings", str(path))
    assert (told.exit_code, "added 1" in told.output, "same 1" in told.output) == (0, True, True)
    assert "nothing to do" in hgr("import", "holdings", str(path)).output


def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL behind the first batch; the control loads the same file unbroken into another bank."""
    text = "code,sex,born\n" + "".join(f"D{n:06},female,1980-01-01\n" for n in range(40_000))
    path = put(folder, "many.csv", text)
    banks = {}
    for name in ("killed", "control"):
        (folder / name).mkdir()
        monkeypatch.setenv("HGR_DATA_DIR", str(folder / name / "data"))
        monkeypatch.setenv("HGR_KEYS_DIR", str(folder / name / "keys"))
        monkeypatch.setenv("HGR_DATABASE_URL", url_in(folder / name))
        assert hgr(*INIT).exit_code == 0
        if name == "killed":
            _kill_behind_the_first_batch(path)
            (file,) = rows(folder / name, "intake_file")
            assert 0 < file["line"] < 40_001
            assert file["done_at"] is None
            loaded = len(rows(folder / name, "donor"))
            assert loaded == file["line"] - 1, "whole batches, and the line that says so"
        told = hgr("import", "donors", str(path))
        assert told.exit_code == 0, told.output
        banks[name] = {(r["code"], r["sex"], r["born"]) for r in rows(folder / name, "donor")}
        assert kinds(folder / name)[2:] == [
            "intake.begun", *["intake.batch"] * 4, "intake.done",
        ]  # fmt: skip
        assert "✓" in hgr("doctor").output
    assert banks["killed"] == banks["control"]
    assert len(banks["control"]) == 40_000


def _kill_behind_the_first_batch(path: Path) -> None:
    """It says so on stderr behind each batch."""
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "import", "donors"]
    with subprocess.Popen([*command, str(path)], stderr=subprocess.PIPE, env=os.environ) as running:
        assert running.stderr is not None
        assert b"%" in running.stderr.readline()
        running.send_signal(signal.SIGKILL)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("stage")) as made:
        yield made


FLAG = st.sampled_from([None, True, False])
DAY = st.one_of(st.none(), st.dates(min_value=date(1900, 1, 1)))
COUNT = st.integers(0, 10**12)
CELLS = {
    "collected_on": DAY,
    "collected_abroad": FLAG,
    "contains_cells": FLAG,
    "units": COUNT,
    "kept": COUNT,
    "volume_ul": st.one_of(st.none(), COUNT),
    "available": st.booleans(),
    "disease": st.sampled_from([None, "DOID:162", "DOID:1324"]),
    "derived": st.sampled_from([None, "primary", "PDX"]),
}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(said=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=5))
def test_what_a_file_says_of_a_tube_is_what_is_read_of_it(
    stage: Stage, said: list[dict[str, Any]]
) -> None:
    """Written as a file has it, loaded, read back; and the same again changes nothing."""
    texts = [
        {name: "" if value is None else str(value) for name, value in one.items()}
        | {"code": f"X{n}", "donor": "DNR_1", "collection": "C1", "kind": "plasma"}
        for n, one in enumerate(said)
    ]
    held = metadata.tables["holding"]
    kept: list[Any] = []

    class NotMeantError(Exception):
        pass

    def unit(conn: Connection) -> None:
        read = [read_row(KINDS["holdings"], n, text) for n, text in enumerate(texts, start=2)]
        good = [row for row in read if isinstance(row, Row)]
        tree = disease.tree()
        kept.append(intake.load(conn, KINDS["holdings"], good, tree, now=NOW))
        where = held.c.code.in_([text["code"] for text in texts])
        found = conn.execute(sa.select(held).where(where).order_by(held.c.code)).mappings()
        kept.append([{name: row[name] for name in CELLS} for row in found])
        kept.append(intake.load(conn, KINDS["holdings"], good, tree, now=NOW))
        raise NotMeantError

    with pytest.raises(NotMeantError):
        stage.do(unit)
    first, found, again = kept
    assert (first.added, first.bad) == (len(said), [])
    assert found == said
    assert (again.same, again.added, again.changed) == (len(said), 0, 0)
