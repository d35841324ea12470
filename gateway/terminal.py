"""What all commands of `hgr` share: where they print, how they fail, how they open a bank and record.

Exit codes everywhere: 0 as it should be, 1 something is wrong with what was looked at, 2 the command
could not do its work (settings, files, a bank that is being served).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy import Connection

from audit import verify
from audit.log import LogError
from gateway import bank as banks
from gateway import pep, settings
from gateway.bank import Bank
from gateway.errors import HeldError, ProblemError, SettingsError
from gateway.identity import people
from gateway.identity.scopes import Caller, Scope
from gateway.replies import Rendered, Reply
from policies.duos import DuosError
from policies.packs import PackError

out = Console()
err = Console(stderr=True)

T = TypeVar("T")

#: Whoever types at the bank's own machine; the log says so.
OPERATOR = Caller(kind="person", id="operator", name="operator", party_id="", scopes=frozenset())


def fail(message: str) -> NoReturn:
    """Say what went wrong and exit 2: the command could not do its work."""
    err.print(f"[red]✗[/red] {escape(message)}", highlight=False, soft_wrap=True)
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
def opened(*instead: str) -> Iterator[Bank]:
    """The bank of the settings, closed again afterwards.

    `instead` are the routes of a running gateway that do the same, in their order; named to whoever asks
    while it is being served. Without one it has to be stopped.
    """
    with explained():
        try:
            bank = banks.open_bank(settings.load())
        except HeldError as error:
            way = "须先停止网关 · stop the gateway first"
            if instead:
                way = f"请改用 · use instead: {', '.join(instead)}"
            fail(f"{error}\n  本库正在提供服务 · the bank is being served; {way}")
        try:
            yield bank
        finally:
            bank.database.close()


@contextmanager
def signed_in(bank: Bank, login: str, scope: Scope = Scope.ADMIN_LAW) -> Iterator[Caller]:
    """Somebody who may do this, by password and code, for as long as the command runs."""
    password = typer.prompt("密码 · password", hide_input=True, err=True)
    code = typer.prompt("验证码 · code", hide_input=True, err=True)
    with bank.database.read() as conn:
        proof = people.prove_password(conn, login, password)
    outcome = bank.database.write(partial(people.sign_in, bank=bank, proof=proof, code=code))
    if isinstance(outcome, people.Refused):
        raise outcome.problem()
    try:
        with bank.database.read() as conn:
            caller, _ = people.authenticate_session(conn, bank, outcome.token)
        if scope not in caller.scopes:
            raise ProblemError("scope_missing", f"`{login}` lacks `{scope}`")
        yield caller
    finally:
        ended = partial(people.sign_out, session_id=outcome.session_id, now=bank.now())
        bank.database.write(ended)


def recorded(
    bank: Bank,
    kind: str,
    part: Callable[[Connection], T],
    subjects: Callable[[T], Mapping[str, str]],
    caller: Caller = OPERATOR,
) -> T:
    """One administration act through the one door, with its entry in the log."""
    kept: list[T] = []

    def keep(result: T) -> Rendered:
        kept.append(result)
        return Rendered(status=200, body=b"")

    reply = Reply(client=caller.id, key=None, route=kind, body_hash="", render=keep)
    asyncio.run(pep.record_event(bank, caller, kind, part, subjects=subjects, reply=reply))
    return kept[0]
