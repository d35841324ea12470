"""`hgr ledger …`: the ledger held to what happened, and what was before it, stated by two people.

Exit codes are those of every command (gateway/terminal.py).
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from gateway import pep
from gateway.bank import Bank
from gateway.identity.scopes import Scope
from gateway.registry import ledger, openings
from gateway.registry.openings import Change, Draft, Opening
from gateway.replies import Rendered, Reply
from gateway.terminal import err, explained, opened, out, recorded, signed_in

ledger_app = typer.Typer(
    no_args_is_help=True, help="Quotas and tubes in double entry, and what was before."
)

_KINDS = {"case": "未结案件 · open case", "grant": "现行授权 · live grant"}
_NAMES = {
    openings.DONORS: "已提供外显子组或者基因组等的捐献者 · donors given before",
    openings.ABROAD: "本年向境外提供的人数 · people whose data went abroad in a year",
}


@ledger_app.command("check")
def ledger_check() -> None:
    """Compare balances, postings, grants, releases and holdings; exits 1 and says where they differ."""
    with opened() as bank, bank.database.read() as conn, err.status("…") as status:
        found = ledger.differences(conn, status.update)
    for one in found:
        out.print(
            f"[red]✗[/red] {one.kind} {one.id}: {one.what}: 账载 · booked {one.booked}, "
            f"实际 · found {one.found}",
            soft_wrap=True,
        )
    mark = "[red]✗[/red]" if found else "[green]✓[/green]"
    out.print(f"{mark} {len(found)} 处不符 · differences")
    raise typer.Exit(1 if found else 0)


@ledger_app.command("settle")
def ledger_settle() -> None:
    """End grants whose last day has passed; book what went out and free what no longer can."""
    with opened() as bank:
        ended = asyncio.run(pep.end_expired(bank))
        part = partial(ledger.settle_all, now=bank.now())
        moved = recorded(bank, "ledger.settled", part, lambda many: {"movements": str(many)})
    out.print(f"[green]✓[/green] {ended} 项授权到期 · grants ended, {moved} 笔 · movements")


@ledger_app.command("open")
def ledger_open(
    file: Annotated[Path, typer.Argument(help="YAML, hgr-opening-1 (docs/openings.md)")],
    *,
    login: Annotated[str, typer.Option(help="of the first person, an officer")],
) -> None:
    """The first person's word: this is what the bank gave before (not while the bank is being served).

    Nothing counts yet. Says what would change, and the digest the second person quotes.
    """
    with explained():
        draft = openings.from_file(file.read_bytes())
    with (
        opened("POST /v1/openings") as bank,
        signed_in(bank, login, Scope.REGISTRY_WRITE) as caller,
    ):

        def propose(conn: Connection) -> Opening:
            return openings.propose(conn, draft, person_id=caller.id, now=bank.now())

        made = recorded(bank, "opening.proposed", propose, openings.named, caller)
        found = _changes(bank, made, draft)
    out.print(
        f"[green]✓[/green] 已提出，待第二人确认 · proposed, a second person confirms: {made.id}",
        soft_wrap=True,
    )
    for line in found:
        out.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    out.print(f"SHA-256 {made.sha256}", highlight=False, soft_wrap=True)


@ledger_app.command("confirm")
def ledger_confirm(
    opening: Annotated[str, typer.Argument(help="its id")],
    sha256: Annotated[str, typer.Argument(help="the digest of the file, as it was read")],
    *,
    login: Annotated[str, typer.Option(help="of the second person, an officer")],
) -> None:
    """The second person's word: from now on its lines count (not while the bank is being served)."""
    kept: list[pep.OpeningConfirmed] = []

    def keep(done: pep.OpeningConfirmed) -> Rendered:
        kept.append(done)
        return Rendered(status=200, body=b"")

    route = f"POST /v1/openings/{opening}:confirm"
    with opened(route) as bank, signed_in(bank, login, Scope.REGISTRY_WRITE) as caller:
        with bank.database.read() as conn:
            draft = openings.from_file(openings.content(conn, opening))
        reply = Reply(client=caller.id, key=None, route="confirm", body_hash="", render=keep)
        asyncio.run(pep.confirm_opening(bank, caller, opening, draft, digest=sha256, reply=reply))
    out.print(f"[green]✓[/green] 已确认，起算 · confirmed, it counts: {opening}", soft_wrap=True)
    for case in kept[0].reach.cases:
        out.print(f"  case {case.case_id} {case.state} {case.outcome or ''}", soft_wrap=True)
    for grant in kept[0].reach.grants:
        out.print(f"  grant {grant.grant_id} {grant.state} {grant.outcome or ''}", soft_wrap=True)


@ledger_app.command("openings")
def ledger_openings(
    show: Annotated[
        str,
        typer.Option(help="print the file of one, by its id; what it would change goes to stderr"),
    ] = "",
) -> None:
    """What was stated and by whom, and which counters are unknown still; exits 1 if one is."""
    if show:
        _print_file(show)
        return
    with opened("GET /v1/openings") as bank, bank.database.read() as conn:
        made, missing = openings.listed(conn), openings.unknown(conn)
    for one in made:
        state = "待确认 · proposed"
        if one.confirmed_at is not None:
            state = f"{one.confirmed_at:%Y-%m-%d %H:%M}Z"
        if one.corrected_by is not None:
            state = f"已更正 · corrected by {one.corrected_by}"
        who = " · ".join(filter(None, (one.proposed_by, one.confirmed_by)))
        whole = ", ".join(one.whole) or "-"
        out.print(
            f"{one.id}  {one.through}  {state}  {who}  {whole}", soft_wrap=True, highlight=False
        )
    tell_unknown(missing)
    raise typer.Exit(1 if missing else 0)


def _print_file(opening: str) -> None:
    with opened(f"GET /v1/openings/{opening}") as bank:
        # It names donors: that it was read is recorded.
        read = partial(openings.read, opening_id=opening)
        made = recorded(bank, "opening.read", read, openings.named)
        with bank.database.read() as conn:
            content = openings.content(conn, opening)
        draft = openings.from_file(content)
        lines = () if made.confirmed_at else _changes(bank, made, draft)
    sys.stdout.buffer.write(content)
    for line in lines:
        err.print(line, highlight=False, soft_wrap=True, markup=False)


def _changes(bank: Bank, made: Opening, draft: Draft) -> tuple[str, ...]:
    """What confirming it would change, in words: the counters, then the open cases and live grants that would
    come out otherwise. Nothing of it stays.
    """
    with bank.database.read() as conn:
        counters = tuple(_said(change) for change in openings.changes(conn, draft))
    found = bank.database.write(lambda conn: pep.opening_foreseen(conn, bank, made, draft))
    if found is None:
        return (*counters, "已不能确认 · it cannot be confirmed any more")
    live = tuple(
        f"{_KINDS[one.kind]} {one.id}: {one.before} → {one.after}"
        f"{' · 不再成立 · would stand no longer' if one.stops else ''}"
        for one in found.changed
    )
    unsure = tuple(f"{id_}: 无法再判定 · cannot be decided any more" for id_ in found.undecidable)
    return counters + live + unsure


def tell_unknown(missing: tuple[str, ...]) -> None:
    """Say which counters are unknown, and what to do about it."""
    for name in missing:
        out.print(
            f"[yellow]![/yellow] 计数器未期初建账，凡用到它的申请均转人工 · a counter was never opened, requests "
            f"that need it are referred: {_NAMES[name]}\n"
            "  两名合规人员办理 · two officers: hgr ledger open FILE, hgr ledger confirm (docs/openings.md)",
            soft_wrap=True,
            highlight=False,
        )


def _said(change: Change) -> str:
    if change.counter == "whole":
        return f"此后为已知 · known from then on: {_NAMES[change.of[0]]}"
    return f"{change.counter} {' '.join(change.of)}: {change.before} → {change.after}"
