"""Exports: whole, verifiable, and enough to decide everything in them again."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from audit import log
from audit.note import Verifier
from audit.verify import RefusedError
from gateway import deciding
from gateway.bank import Bank
from gateway.deciding import Answer, prepare
from gateway.demo_world import World
from gateway.errors import ProblemError
from gateway.identity.scopes import Caller
from gateway.registry.ask import Ask
from gateway.reports import exports, reading
from gateway.reports.exports import Export
from tests.gateway.conftest import SettableClock
from tests.store import execute

REGULATOR = "psn_regulator"


def ask(project: str, recipient: str, **more: object) -> Ask:
    return Ask.model_validate_json(
        json.dumps(
            {
                "project": project,
                "recipient": recipient,
                "purpose": {"research": "health", "commercial": False},
                "items": {"kinds": ["dna", "clinical"], "cohort": {"collections": ["col_chb"]}},
                **more,
            }
        )
    )


@pytest.fixture
def decided(bank: Bank, world: World) -> list[Answer]:
    """Decisions of several kinds, recorded one after the other."""
    answers = []
    for short, project in sorted(world.projects.items())[:3]:
        with bank.database.read() as conn:
            rows = execute(conn, "SELECT party_id FROM project WHERE id = ?", project)
            party = str(rows.scalar_one())
        caller = Caller(
            kind="key", id=f"key_{short}", name=short, party_id=party, scopes=frozenset()
        )
        for more in ({}, {"action": "enforcement_request"}):
            asked = ask(project, party, **more)

            def unit(conn, asked=asked, caller=caller):
                prepared = prepare(conn, bank, asked, caller.party_id)
                return deciding.record(conn, bank, caller, prepared, occasion="evaluation")

            answers.append(bank.database.write(unit))
    bank.database.write(lambda conn: deciding.append(conn, bank, caller, "key.used", {"key": "k"}))
    return answers


@pytest.fixture
def made(bank: Bank, decided: list[Answer]) -> tuple[Export, Path]:
    export = exports.make(bank, asked_by=REGULATOR)
    bank.database.write(lambda conn: exports.record(conn, export))
    return export, exports.path_of(bank, export)


def vkey(bank: Bank) -> str:
    verifier: Verifier = bank.keys.log.verifier()
    return verifier.vkey


def test_an_export_verifies_with_the_banks_key(bank: Bank, made: tuple[Export, Path]) -> None:
    export, path = made
    found = reading.verify(path, vkey=vkey(bank))
    with bank.database.read() as conn:
        assert found.size == export.size == log.head(conn, bank.origin).size
        assert exports.get(conn, export.id) == export
    assert hashlib.sha256(path.read_bytes()).hexdigest() == export.sha256
    assert path.stat().st_size == export.bytes
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in bank.settings.exports.iterdir()] == [export.file_name]


def test_every_decision_comes_out_the_same_from_the_file_alone(
    bank: Bank, decided: list[Answer], made: tuple[Export, Path], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    with zipfile.ZipFile(made[1]) as package:
        package.extractall(alone)
    bank.database.close()
    for package in (made[1], alone):
        again = list(reading.replay(package))
        assert [(one.index, one.decision_id) for one in again] == [
            (one.leaf_index, one.decision_id) for one in decided
        ]
        assert all(one.same for one in again), again


def test_another_law_shows_as_another_law(made: tuple[Export, Path], tmp_path: Path) -> None:
    """The reading of one document under changed packs names what changed, not merely that."""
    with zipfile.ZipFile(made[1]) as package:
        package.extractall(tmp_path / "p")
    checked = tmp_path / "p" / "packs" / "checked.yaml"
    checked.write_bytes(checked.read_bytes() + b"# seen\n")
    law = reading.packs.load(tmp_path / "p" / "packs")
    with zipfile.ZipFile(made[1]) as package:
        names = [one for one in package.namelist() if one.startswith("documents/")]
        record = reading._Record(
            index=0, type="decision", time="", outcome="", rules=(), subjects={}, docs=()
        )
        for name in names:
            one = reading._replayed(record, name, package.read(name), law)
            assert (one.same, one.digests) == (False, ("checked.yaml",))
            assert set(one.differs) == {"digests"}


def test_what_is_no_document_is_said_so(made: tuple[Export, Path]) -> None:
    record = reading._Record(
        index=3, type="decision", time="", outcome="", rules=(), subjects={}, docs=()
    )
    one = reading._replayed(record, "00", b"{}", reading.packs.load())
    assert (one.index, one.same) == (3, False)
    assert "not a decision document" in one.failed


def test_nothing_is_read_before_it_is_verified(
    bank: Bank, made: tuple[Export, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.zip"
    raw = bytearray(made[1].read_bytes())
    at = raw.index(b"PK\x01\x02") // 2
    raw[at] ^= 1
    bad.write_bytes(raw)
    for act in (reading.verify, reading.report, lambda path: list(reading.replay(path))):
        with pytest.raises(RefusedError):
            act(bad)
    other = vkey(bank)[:-4] + "AAA="
    with pytest.raises((RefusedError, ValueError)):
        reading.verify(made[1], vkey=other)


def test_the_report_counts_what_was_decided(
    decided: list[Answer], made: tuple[Export, Path]
) -> None:
    page = reading.report(made[1])
    zh, en = page.split("\n\n")[:2]
    counts = Counter(one.decision.outcome for one in decided)
    names = {"permit": "准予", "hold": "暂缓", "refer": "转人工", "deny": "不予"}
    for outcome, count in counts.items():
        assert f"  {outcome}  {count}\n" in en
        assert f"  {names[outcome]}  {count}\n" in zh
    for one in decided:
        assert sum(one.decision_id in line for line in page.splitlines()) == 1
    rules = Counter(
        no
        for one in decided
        for no in {f.no for f in one.decision.findings if f.result in {"holds", "unknown"}}
    )
    for no, count in rules.items():
        assert any(line.startswith(f"  {no}  {count}") for line in en.splitlines()), no


def test_the_law_goes_along(bank: Bank) -> None:
    with bank.database.read() as conn:
        files = exports.law_files(bank, conn)
    assert {"packs/checked.yaml", "packs/vocabulary.yaml"} <= set(files)
    digests = json.loads(files[exports.DIGESTS])
    for name, content in files.items():
        inside = name.removeprefix("packs/")
        if inside in digests:
            assert digests[inside] == hashlib.sha256(content).hexdigest(), name
    assert {"duo", "disease", "derived", "pdp"} <= set(digests)


def test_what_is_appended_meanwhile_is_not_half_inside(
    bank: Bank, decided: list[Answer], world: World, clock: SettableClock
) -> None:
    """A later export holds more, and is of the same history as the earlier one."""
    first = exports.make(bank, asked_by=REGULATOR)
    clock.advance(minutes=1)
    caller = Caller(kind="person", id="psn_a", name="a", party_id="pty_bank", scopes=frozenset())
    bank.database.write(
        lambda conn: deciding.append(conn, bank, caller, "export", {"export": first.id})
    )
    second = exports.make(bank, asked_by=REGULATOR)
    assert second.size == first.size + 1
    with zipfile.ZipFile(exports.path_of(bank, first)) as package:
        note = package.read("checkpoint")
    from audit.verify import verify

    assert verify(exports.path_of(bank, second), older_note=note).older == first.size


def test_a_disk_that_takes_nothing_leaves_nothing(
    bank: Bank, decided: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        exports.make(bank, asked_by=REGULATOR)
    assert list(bank.settings.exports.iterdir()) == []


def test_the_exports_page_by_page(bank: Bank, clock: SettableClock) -> None:
    made = []
    for _ in range(3):
        export = exports.make(bank, asked_by=REGULATOR)
        made.append(bank.database.write(lambda conn, e=export: exports.record(conn, e)))
        clock.advance(seconds=1)
    with bank.database.read() as conn:
        first = exports.list_exports(conn, limit=2)
        rest = exports.list_exports(conn, starting_after=first.exports[-1].id)
        assert [*first.exports, *rest.exports] == made
        assert (first.has_more, rest.has_more) == (True, False)
        with pytest.raises(ProblemError, match="invalid_request"):
            exports.list_exports(conn, limit=0)
        with pytest.raises(ProblemError, match="not_found"):
            exports.get(conn, "exp_0")
    shutil.rmtree(bank.settings.exports)
    with pytest.raises(ProblemError, match="is not there"):
        exports.path_of(bank, made[0])
