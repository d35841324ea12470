"""What all commands of `hgr` share: where they print, how they fail, how they open a bank and record.

Exit codes everywhere: 0 as it should be, 1 something is wrong with what was looked at, 2 the command
could not do its work (settings, files, a bank that is being served).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from sqlalchemy import Connection

from audit import verify
from audit.log import LogError
from gateway import bank as banks
from gateway import pep, settings
from gateway.bank import Bank
from gateway.errors import ProblemError, SettingsError
from gateway.identity.scopes import Caller
from gateway.replies import Rendered, Reply
from policies.duos import DuosError
from policies.packs import PackError

out = Console()
err = Console(stderr=True)

#: Whoever types at the bank's own machine; the log says so.
OPERATOR = Caller(kind="person", id="operator", name="operator", party_id="", scopes=frozenset())


def fail(message: str) -> NoReturn:
    """Say what went wrong and exit 2: the command could not do its work."""
    err.print(f"[red]✗[/red] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(2)


@contextmanager
def explained() -> Iterator[None]:
    """Our own errors as one line each, never a traceback."""
    try:
        yield
    except (PackError, DuosError) as error:
        fail(str(error))
    except verify.RefusedError as error:
        err.print(f"[red]✗[/red] {error}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except ProblemError as error:
        fail("; ".join([str(error), *(f"{e.pointer}: {e.detail}" for e in error.errors)]))
    except (SettingsError, LogError, OSError, ValueError) as error:
        fail(str(error))


@contextmanager
def opened() -> Iterator[Bank]:
    """The bank of the settings, closed again afterwards."""
    with explained():
        bank = banks.open_bank(settings.load())
        try:
            yield bank
        finally:
            bank.database.close()


def recorded(
    bank: Bank, kind: str, part: Callable[[Connection], Any], subjects: Mapping[str, str]
) -> Any:
    """One administration act through the one door, with its entry in the log."""
    kept: list[Any] = []

    def keep(result: object) -> Rendered:
        kept.append(result)
        return Rendered(status=200, body=b"")

    reply = Reply(client=OPERATOR.id, key=None, route=kind, body_hash="", render=keep)
    asyncio.run(
        pep.record_event(bank, OPERATOR, kind, part, subjects=lambda _: subjects, reply=reply)
    )
    return kept[0]
