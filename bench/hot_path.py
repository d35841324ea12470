"""Where a durable decision's time goes: py-spy watches the gateway while 32 connections ask.

    python -m bench.hot_path [SECONDS]

Twice three tables: whose code it was, which lines, and which lines of ours had called them (what a library does for
us is ours to change only there). First of all threads at work, those included that wait to get the interpreter back
after a line that let go of it (a statement, randomness); then only of the one that holds it: that is what limits
the rate. What SQLite itself takes is only in the first. docs/performance.md says what was read in them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import beside
from bench.serving import PERMITTED, fill, measure, post
from gateway.demo import Stage

ROOT = Path(__file__).parent.parent
OURS = ("gateway/", "policies/", "audit/")
#: Whose time it is: the innermost of these in the stack.
ROOMS = (
    *OURS,
    "sqlalchemy/",
    "pydantic/",
    "fastapi/",
    "starlette/",
    "uvicorn/",
    "asyncio/",
    "concurrent/",
    "json/",
)
TITLES = ("whose code", "running", "of ours, calling")


def main() -> None:
    out = Console(width=140)
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    python = beside.python(out)
    if python is None:
        raise SystemExit(1)
    spy = (str(python.with_name("py-spy")), "record", "--format", "raw", "--full-filenames")
    often = ("--nonblocking", "--rate", "200", "--duration", str(seconds))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Stage.open(folder / "asked") as stage:
            body = json.dumps(stage.bench_request()).encode()
        bank = fill(folder)
        with bank.serving() as server:
            target = (server.port, post(body, bank.token(server)), PERMITTED)
            measure([server.pid], [target], 3, 32)  # what is read once is read
            for title, which in (("all at work", ()), ("holding the interpreter", ("--gil",))):
                raw = folder / "raw"
                where = ("--pid", str(server.pid), "--output", str(raw))
                with subprocess.Popen(
                    (*spy, *often, *which, *where), stdout=subprocess.DEVNULL
                ) as watching:
                    measure([server.pid], [target], seconds + 1, 32)
                    if watching.wait(60):
                        raise SystemExit("py-spy could not watch the server")
                out.rule(title)
                _print(raw.read_text("utf-8"), out)


def _print(raw: str, out: Console) -> None:
    told_of: dict[str, Counter[str]] = {title: Counter() for title in TITLES}
    # A frame of code that was made from text may hold a line break.
    for stack, count in re.findall(r"(.+?) (\d+)\n", raw, re.DOTALL):
        frames = [_short(frame) for frame in stack.split(";")]
        ours = [f for f in frames if _place(f).startswith(OURS)]
        rooms = [room for f in frames for room in ROOMS if _place(f).startswith(room)]
        for title, of in zip(TITLES, (rooms, frames, ours), strict=True):
            told_of[title][of[-1] if of else "none of these"] += int(count)
    for title, lines in told_of.items():
        total = sum(lines.values())
        table = Table("share", title, title=f"{total:,} samples")
        for line, count in lines.most_common(20):
            table.add_row(f"{count / total:.1%}", line)
        out.print(table)


def _place(frame: str) -> str:
    """The file of `function (file:line)`."""
    return frame.rpartition("(")[2]


def _short(frame: str) -> str:
    """A frame with its file as one imports it, not as the machine has it."""
    function, _, place = frame.rpartition("(")
    for folder in (
        f"{ROOT}/",
        "/site-packages/",
        f"/python{sys.version_info[0]}.{sys.version_info[1]}/",
    ):
        place = place.rpartition(folder)[2]
    return f"{function}({place}"


if __name__ == "__main__":
    main()
