"""`hgr packs …` and `hgr decide`: the policy author's commands.

Exit codes are those of every command (gateway/terminal.py); none of these needs a bank unless it says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from policies import packs

packs_app = typer.Typer(no_args_is_help=True, help="The rules, as packs.")

_PACKS = Annotated[
    Path | None,
    typer.Option("--packs", help="a directory of packs; the shipped ones if not given"),
]


@packs_app.command("check")
def packs_check(directory: _PACKS = None) -> None:
    """Every mistake in the packs and their cases, with file, line and key."""
    raise typer.Exit(packs.main([] if directory is None else [str(directory)]))
