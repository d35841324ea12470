"""The environment of what is measured beside ours and must not be installed with it (pymerkle is GPL).

Made once in `bench/.venv` from `requirements-beside.txt`, hashes and all. Where it cannot be made, what needs it
is left out, and that is said.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).parent
WANTED = HERE / "requirements-beside.txt"
ENVIRONMENT = HERE / ".venv"
MADE = ENVIRONMENT / "made-of.txt"


def python(out: Console) -> Path | None:
    """The interpreter of that environment; None, and the reason told, if there is none to be had."""
    found = ENVIRONMENT / "bin" / "python"
    if MADE.exists() and MADE.read_bytes() == WANTED.read_bytes():
        return found
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for step in (
        (sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)),
        (str(found), *pip, "--no-deps", "--require-hashes", "-r", str(WANTED)),
    ):
        run = subprocess.run(step, capture_output=True, text=True, check=False)
        if run.returncode:
            out.print(
                f"[bold red]SKIPPED: what stands in {WANTED.name} cannot be installed, no figure of it follows"
            )
            out.print(run.stderr.strip() or run.stdout.strip(), markup=False, highlight=False)
            return None
    MADE.write_bytes(WANTED.read_bytes())
    return found
