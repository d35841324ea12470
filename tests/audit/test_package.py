"""The package a regulator gets: whole, deterministic, and checked by nothing but Python."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from audit import log, tree, verify
from audit.leaf import Draft
from audit.merkle import leaf_hash
from audit.package import PackageError, Title, write_package
from tests.audit import bank
from tests.audit.bank import NOW, ORIGIN, SIGNER

TITLE = Title(zh="某市样本库", en="A city's bank")


def test_what_is_inside(engine):
    bank.fill(engine, 20)
    contents = bank.members(bank.package(engine))
    with engine.begin() as conn:
        leaves = list(log.leaves(conn, ORIGIN, 0, 20))
        assert contents["checkpoint"] == log.latest_checkpoint(conn, ORIGIN)
    assert contents["log/entries.jsonl"] == b"".join(leaf + b"\n" for leaf in leaves)
    assert contents["log/hashes"].decode().split() == [leaf_hash(one).hex() for one in leaves]
    assert contents["verify.py"] == Path(verify.__file__).read_bytes()
    readme = contents["README.txt"].decode()
    assert readme.index("审计包说明") < readme.index("How to verify")
    manifest = json.loads(contents["manifest.json"])
    assert manifest["records"] == {"decision": 10, "release.intent": 10}
    assert manifest["documents"] == sum(name.startswith("documents/") for name in contents) == 14
    assert manifest["created"] == json.loads(leaves[-1])["time"]
    assert {row["name"] for row in manifest["members"]} >= set(bank.EXTRAS)
    for name, body in bank.EXTRAS.items():
        assert contents[name] == body
    # What opens a commitment stays in the bank.
    assert not any(b"HG000" in body for body in contents.values())


def test_the_same_log_gives_the_same_bytes(engine):
    bank.fill(engine, 5)
    assert bank.package(engine) == bank.package(engine)


class OneWay(io.RawIOBase):
    """A stream that can only be written, as an HTTP answer is."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.data += data
        return len(data)


def test_it_can_be_streamed(engine, tmp_path):
    bank.fill(engine, 5)
    out = OneWay()
    with engine.begin() as conn:
        write_package(conn, ORIGIN, out, signer=SIGNER, title=TITLE)
    (tmp_path / "streamed.zip").write_bytes(out.data)
    assert verify.verify(tmp_path / "streamed.zip").size == 5


def test_it_can_be_written_up_to_a_stored_checkpoint_by_a_connection_that_only_reads(
    engine, tmp_path
):
    bank.fill(engine, 5)
    with engine.begin() as conn:
        note = log.publish(conn, ORIGIN, SIGNER)
    bank.fill(engine, 4, start=5)
    out = io.BytesIO()
    with engine.connect() as conn:
        on_file = conn.dialect.name == "sqlite"
        conn.exec_driver_sql("PRAGMA query_only=ON" if on_file else "SET TRANSACTION READ ONLY")
        write_package(conn, ORIGIN, out, signer=SIGNER, title=TITLE, note=note)
        if on_file:
            conn.exec_driver_sql("PRAGMA query_only=OFF")
    (tmp_path / "older.zip").write_bytes(out.getvalue())
    assert verify.verify(tmp_path / "older.zip").size == 5


def test_an_empty_log_makes_a_package_too(engine, tmp_path):
    (tmp_path / "empty.zip").write_bytes(bank.package(engine))
    found = verify.verify(tmp_path / "empty.zip")
    assert (found.size, found.created, found.records) == (0, None, {})


def test_a_large_document_that_packs_tightly_is_no_bomb(engine, tmp_path):
    with engine.begin() as conn:
        large = Draft(kind="decision", actor="key-01", documents=(b" " * (2 << 20) + b"{}",))
        log.append(conn, ORIGIN, [large], now=NOW)
    (tmp_path / "large.zip").write_bytes(bank.package(engine))
    assert verify.verify(tmp_path / "large.zip").documents == 1


@pytest.mark.parametrize(
    "name",
    [
        "../escape",
        "/absolute",
        "a\\b",
        "manifest.json",
        "verify.py",
        "log/entries.jsonl",
        f"documents/{'0' * 64}.json",
        "a" * 201,
        "",
        "人类",
    ],
)
def test_an_extra_that_would_not_verify_is_refused_before_writing(engine, name):
    out = io.BytesIO()
    with engine.begin() as conn, pytest.raises(PackageError):
        write_package(conn, ORIGIN, out, signer=SIGNER, title=TITLE, extras={name: b""})
    assert out.getvalue() == b""


def test_a_log_that_does_not_give_its_root_makes_no_package(engine, tmp_path):
    bank.fill(engine, 5)
    with engine.begin() as conn:
        log.publish(conn, ORIGIN, SIGNER)
        entry = log.leaf(conn, ORIGIN, 2).replace(b"permit", b"refuse")
        conn.execute(
            update(tree.log_leaf)
            .where(tree.log_leaf.c.idx == 2)
            .values(leaf=entry, leaf_hash=leaf_hash(entry))
        )
    out = io.BytesIO()
    with engine.begin() as conn, pytest.raises(log.LogCorruptError, match="checkpoint"):
        write_package(conn, ORIGIN, out, signer=SIGNER, title=TITLE)
    (tmp_path / "torn.zip").write_bytes(out.getvalue())
    with pytest.raises(verify.RefusedError) as refused:
        verify.verify(tmp_path / "torn.zip")
    assert (refused.value.code, refused.value.member) == ("incomplete", "manifest.json")


def test_a_missing_document_makes_no_package(engine):
    bank.fill(engine, 5)
    with engine.begin() as conn:
        conn.execute(delete(tree.log_document))
        with pytest.raises(log.NotInLogError):
            write_package(conn, ORIGIN, io.BytesIO(), signer=SIGNER, title=TITLE)


def test_the_verifier_inside_runs_with_nothing_installed(engine, tmp_path):
    bank.fill(engine, 20)
    contents = bank.members(bank.package(engine))
    (tmp_path / "verify.py").write_bytes(contents["verify.py"])
    (tmp_path / "good.zip").write_bytes(bank.zipped(contents))
    changed = contents["log/entries.jsonl"].replace(b'"req-17"', b'"req-71"')
    (tmp_path / "bad.zip").write_bytes(bank.zipped({**contents, "log/entries.jsonl": changed}))
    # -I: no environment, no current folder; -S: no site-packages.
    command = [sys.executable, "-I", "-S", "verify.py"]

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, check=False, env={}
        )

    good = run("good.zip", "--key", SIGNER.verifier().vkey)
    assert (good.returncode, good.stderr) == (0, b"")
    assert "验证通过".encode() in good.stdout
    bad = run("bad.zip", "--lang", "en")
    assert (bad.returncode, bad.stderr) == (1, b"")
    assert b"record 17 was changed" in bad.stdout
    assert run("absent.zip").returncode == 2
    assert run().returncode == 2
    shutil.rmtree(tmp_path)
