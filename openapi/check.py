"""The committed contract and the code say the same, and the contract is complete.

    python -m openapi.check            # exit 1 and the difference if they do not
    python -m openapi.check --write    # make the committed contract that of the code

Complete means: every operation has a summary, a purpose, says who may call it and which problems it
answers with, and, where it takes a body, an example that `tests/openapi` sends.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastapi import FastAPI

from gateway.api import contract
from gateway.api.contract import Described
from gateway.app import routes
from gateway.identity.scopes import Scope

COMMITTED = Path(__file__).with_name("openapi.json")
SHOWN = 60  # lines of difference; the rest is the same story


def main(arguments: Sequence[str]) -> int:
    """0 if contract and code agree and the contract is complete, 1 if not, 2 for a wrong call."""
    if set(arguments) - {"--write"}:
        print(__doc__, file=sys.stderr)  # noqa: T201 - a command speaks
        return 2
    app = routes()
    wrong = [*gaps(app)]
    if "--write" in arguments:
        COMMITTED.write_bytes(contract.text(app))
    else:
        wrong += difference(COMMITTED.read_bytes(), contract.text(app))
    for line in wrong:
        print(line)  # noqa: T201 - a command speaks
    return 1 if wrong else 0


def difference(committed: bytes, made: bytes) -> list[str]:
    """What the code changed against the committed contract, as a unified diff cut to a page."""
    lines = difflib.unified_diff(
        committed.decode().splitlines(),
        made.decode().splitlines(),
        "openapi/openapi.json",
        "the code",
        lineterm="",
        n=2,
    )
    shown = list(lines)
    if len(shown) > SHOWN:
        shown = [*shown[:SHOWN], f"… and {len(shown) - SHOWN} more lines"]
    return shown


def gaps(app: FastAPI) -> Iterable[str]:
    """What is missing from the contract, one line each."""
    names: dict[str, str] = {}
    used: set[str] = set()
    for row in contract.described(app):
        where = f"{row.method.upper()} {row.path}"
        used.update(row.scopes)
        yield from (f"{where}: {gap}" for gap in _of(row))
        if row.name in names:
            yield f"{where}: operation `{row.name}` is also {names[row.name]}"
        names[row.name] = where
    yield from (f"no operation needs the scope `{scope}`" for scope in sorted(set(Scope) - used))


def _of(row: Described) -> Iterable[str]:
    said = row.operation
    if said is None:
        yield "nothing is said about it; put `@operation` on the route"
        return
    if not said.summary or not said.purpose:
        yield "no summary or no purpose"
    if not any(status < 400 for status in said.answers):
        yield "no success is described"
    if row.body is not None and said.example is None:
        yield "no example of the body"
    unfilled = [
        part[1:-1] for part in row.path.replace(":", "/").split("/") if part.startswith("{")
    ]
    yield from (f"no example of `{name}`" for name in unfilled if name not in said.fill)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
