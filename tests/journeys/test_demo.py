"""`hgr demo --data DIR`: the whole story on a real server, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest


def hgr(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that came out as it should."""
    folder = tmp_path_factory.mktemp("demo")
    run = hgr("demo", "--data", str(folder))
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def test_the_bank_the_keys_and_the_package_are_left(told: Path) -> None:
    assert sorted(each.name for each in told.iterdir()) == ["bank", "export.zip", "keys"]
    assert (told / "bank" / "bank.sqlite").stat().st_size > 0


def test_the_package_verifies_with_nothing_installed(told: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(told / "export.zip") as package:
        (tmp_path / "verify.py").write_bytes(package.read("verify.py"))
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "verify.py"), str(told / "export.zip")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_decision_is_decided_again_to_the_same_bytes(told: Path) -> None:
    run = hgr("audit", "replay", "--json", str(told / "export.zip"))
    assert run.returncode == 0, run.stdout + run.stderr
    again = json.loads(run.stdout)
    assert again
    assert all(one["same"] for one in again)


def test_the_report_counts_every_outcome(told: Path) -> None:
    run = hgr("audit", "report", str(told / "export.zip"))
    assert run.returncode == 0, run.stdout + run.stderr
    with zipfile.ZipFile(told / "export.zip") as package:
        leaves = [json.loads(line) for line in package.read("log/entries.jsonl").splitlines()]
    outcomes = Counter(leaf["outcome"] for leaf in leaves if leaf["type"] == "decision")
    assert set(outcomes) == {"permit", "hold", "refer", "deny"}
    for outcome, count in outcomes.items():
        assert f"  {outcome}  {count}" in run.stdout
    for rule in ("R-FOR-01", "R-GEN-04", "R-GEN-06"):
        assert rule in run.stdout


def test_a_second_demo_overwrites_nothing(told: Path) -> None:
    def content() -> dict[str, bytes]:
        return {
            str(each.relative_to(told)): each.read_bytes()
            for each in told.rglob("*")
            if each.is_file()
        }

    before = content()
    run = hgr("demo", "--data", str(told))
    assert run.returncode == 2
    assert "is there already; a bank is never overwritten" in run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert content() == before
