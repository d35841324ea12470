"""The house stands: who may import whom, who may commit, who may read a clock (design: floors)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = sorted(
    p
    for room in ("policies", "audit", "gateway", "openapi")
    for p in (ROOT / room).rglob("*.py")
    if "versions" not in p.parts
)

#: The longest prefix wins. A module may import lower floors, its own room, and nothing else.
FLOORS = {
    "policies": 0,
    "audit": 0,
    "gateway.settings": 1,
    "gateway.errors": 1,
    "gateway.keys": 1,
    "gateway.database": 1,
    "gateway.tables": 1,
    "gateway.bank": 1,
    "gateway.migrations": 1,
    "gateway.identity": 2,
    "gateway.registry.generations": 1,  # a bank opens by its law
    "gateway.registry.index": 1,  # and keeps the index of its cohorts
    "gateway.registry": 2,
    "gateway.review": 2,
    "gateway.release.grants": 2,
    "gateway.replies": 3,
    "gateway.deciding": 3,
    "gateway.effects": 3,
    "gateway.standing": 3,
    "gateway.pep": 3,
    "gateway.release": 4,
    "gateway.intake_files": 4,
    "gateway.intake_fhir": 4,
    "gateway.intake_miabis": 4,
    "gateway.reports": 4,
    "gateway.api": 4,
    "gateway.web": 4,
    "gateway.app": 5,
    "gateway.cli": 5,
    "gateway.cli_intake": 5,
    "gateway.cli_law": 5,
    "gateway.cli_ledger": 5,
    "gateway.terminal": 5,
    "gateway.demo": 5,
    "gateway.generate": 5,
    "gateway.demo_world": 5,
    "openapi": 6,
}

#: Rooms of one floor that may not see one another, by their first two names.
APART = {"gateway.identity", "gateway.registry", "gateway.review", "gateway.release"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place(module: str) -> tuple[str, int]:
    best = max(
        (p for p in FLOORS if module == p or module.startswith(p + ".")), key=len, default=""
    )
    return best, FLOORS.get(best, -1)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return {f for f in found if f.split(".")[0] in {"policies", "audit", "gateway", "openapi"}}


def breaches(path: Path) -> list[str]:
    module = module_name(path)
    if module in {"gateway", "gateway.release"}:  # only docstrings live there
        return [f"{module} imports {i}" for i in imports(path)]
    mine, floor = place(module)
    assert floor >= 0, f"{module} stands on no floor: name it in FLOORS"
    wrong = []
    for imported in sorted(imports(path)):
        theirs, other = place(imported)
        same_room = imported.split(".")[:2] == module.split(".")[:2] or theirs == mine
        if floor == 0 and imported.split(".")[0] != module.split(".")[0]:
            wrong.append(f"{module} imports {imported}: the ground floor stands alone")
        elif other > floor:
            wrong.append(f"{module} (floor {floor}) imports {imported} (floor {other})")
        elif other == floor == 2 and not same_room:
            wrong.append(f"{module} imports {imported}: rooms of floor 2 do not see one another")
    return wrong


@pytest.mark.parametrize("path", PRODUCT, ids=module_name)
def test_imports_go_down(path: Path) -> None:
    assert breaches(path) == []


def test_a_wrong_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "policies"
    room.mkdir()
    (room / "leak.py").write_text("from gateway.database import Database\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert breaches(room / "leak.py") != []


def calls(path: Path) -> list[str]:
    return [
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def test_one_place_commits() -> None:
    where = {module_name(p) for p in PRODUCT if "commit" in calls(p)}
    assert where == {"gateway.database"}


def test_only_the_policy_authors_commands_look_at_drafts() -> None:
    """A draft of law decides nothing."""
    where = {module_name(p) for p in PRODUCT if "with_drafts" in calls(p)}
    assert where - {"policies.packs"} == {"gateway.cli_law"}  # packs runs a draft's own cases


def test_one_place_appends_to_the_log() -> None:
    where = set()
    for path in PRODUCT:
        if module_name(path).startswith("gateway"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr == "append"
                    and isinstance(node.value, ast.Name)
                    and node.value.id == "log"
                ):
                    where.add(module_name(path))
    assert where == {"gateway.deciding"}


FORBIDDEN_IN_POLICIES = {"socket", "os", "time", "random", "secrets", "subprocess", "sqlalchemy"}


@pytest.mark.parametrize(
    "path", [p for p in PRODUCT if p.is_relative_to(ROOT / "policies")], ids=module_name
)
def test_policies_are_pure(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    assert not names & FORBIDDEN_IN_POLICIES
    assert not {"now", "today", "utcnow", "getenv"} & set(calls(path)), "policies read no clock"


def test_the_verifier_runs_with_nothing_installed(tmp_path: Path) -> None:
    alone = tmp_path / "verify.py"
    alone.write_bytes((ROOT / "audit" / "verify.py").read_bytes())
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(alone), "--help"],
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()


def test_modules_stay_few() -> None:
    """A module more is a decision, taken here. Alembic's own entry point is not ours to count."""
    ours = [p for p in PRODUCT if p.name != "__init__.py" and "migrations" not in p.parts]
    assert len(ours) <= 120
