"""`hgr`: the operator's, policy author's and regulator's commands.

Exit codes everywhere: 0 as it should be, 1 something is wrong with what was looked at, 2 the command
could not do its work (settings, files, a bank that is being served).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import httpx
import typer
import uvicorn
from rich.table import Table
from sqlalchemy import Connection

from audit import log, verify
from gateway import bank as banks
from gateway import pep, settings, standing
from gateway.app import create_app
from gateway.bank import Bank
from gateway.cli_intake import generate, load, tell_feed
from gateway.cli_law import decide, packs_app, tell_differing
from gateway.cli_ledger import ledger_app, tell_unknown
from gateway.database import rewritable
from gateway.errors import SettingsError
from gateway.identity import api_keys, people
from gateway.identity.scopes import KEY_SCOPES, Role
from gateway.registry import calendar, duties, generations, openings
from gateway.registry.generations import Generation
from gateway.replies import Rendered, Reply
from gateway.reports import exports, reading
from gateway.terminal import OPERATOR, explained, fail, opened, out, recorded
from policies import duos

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
keys_app = typer.Typer(no_args_is_help=True, help="API keys of organisations.")
audit_app = typer.Typer(
    no_args_is_help=True, help="Exports of the log: make, verify, replay, report."
)
app.add_typer(keys_app, name="keys")
app.add_typer(packs_app, name="packs")
app.add_typer(ledger_app, name="ledger")
app.add_typer(audit_app, name="audit")
duos_app = typer.Typer(no_args_is_help=True, help="Matching as DUOS does it, for comparison.")
app.add_typer(duos_app, name="duos")
app.command("decide")(decide)
app.command("import")(load)
app.command("generate")(generate)


def main() -> None:
    """The console script."""
    app()


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer hands the option over so
    if asked:
        sys.stdout.write(version("hgr-gateway") + "\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version_asked: Annotated[
        bool,
        typer.Option(
            "--version", help="which version this is", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Settings are environment variables `HGR_…`; the README lists them."""
    del version_asked


# --- operator -------------------------------------------------------------------------------------


@app.command()
def init(
    origin: Annotated[str, typer.Option(help="name of the log for ever, e.g. bank.example/log")],
    name_zh: Annotated[str, typer.Option(help="the bank's name in Chinese")],
    name_en: Annotated[str, typer.Option(help="the bank's name in English")],
    admin: Annotated[str, typer.Option(help="login of the first administrator")] = "admin",
) -> None:
    """Make a new, empty bank in HGR_DATA_DIR with keys in HGR_KEYS_DIR."""
    with explained():
        bank = banks.create_bank(settings.load(), origin=origin, name_zh=name_zh, name_en=name_en)
        try:
            password = secrets.token_urlsafe(18)
            new = people.NewPerson(
                login=admin,
                name=admin,
                party_id=bank.party_id,
                roles=(Role.ADMINISTRATOR,),
                password_hash=people.hash_password(password, login=admin),
            )
            recorded(bank, "law.activated", _in_force, generations.named)
            enrolled = recorded(
                bank,
                "person.created",
                partial(people.create, bank=bank, new=new),
                lambda _: {"by": "init"},
            )
        finally:
            bank.database.close()
    out.print(f"[green]✓[/green] 新库已建立 · a new bank: {bank.settings.data_dir}")
    out.print(f"  日志公钥 · log key: {bank.keys.log.verifier().vkey}", soft_wrap=True)
    out.print("  以下只显示一次 · shown once:")
    out.print(f"  login    {admin}")
    out.print(f"  password {password}")
    out.print(f"  TOTP     {enrolled.totp_uri}", soft_wrap=True)


def _in_force(conn: Connection) -> Generation:
    return generations.read(conn, generations.active_id(conn))


@app.command()
def serve() -> None:
    """Serve the bank until told to stop."""
    with opened() as bank:
        chosen = bank.settings
        out.print(f"{bank.origin} · {chosen.issuer}", highlight=False)
        with bank.database.read() as conn:
            tell_differing(generations.differing(conn))
            tell_unknown(openings.unknown(conn))
            tell_feed(bank, conn)
        # Before the door opens: no researcher waits for what is read once.
        bank.open_index(
            lambda donors: out.print(
                f"队列索引 · cohort index: {donors:,} 名提供者 · donors", highlight=False
            )
        )
        # The server gives a signal back once it has shut down: by then it must not kill us, for the
        # database is still to be closed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            uvicorn.run(
                create_app(bank),
                host=chosen.host,
                port=chosen.port,
                ssl_certfile=chosen.tls_certificate,
                ssl_keyfile=chosen.tls_key,
                proxy_headers=False,  # the gate reads them itself, and only from trusted proxies
                server_header=False,
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=10,
            )
        bank.keep_index()


@app.command()
def migrate() -> None:
    """Bring the database of HGR_DATA_DIR to this version's schema."""
    with explained():
        database = banks.open_database(settings.load())
        try:
            banks.migrate(database)
            adopted = database.write(_adopt)
        finally:
            database.close()
    if adopted:  # the log names the packs that decide from here on, as for a new bank
        with opened() as bank:
            recorded(bank, "law.activated", _in_force, generations.named)
    out.print("[green]✓[/green] 数据库结构已是最新 · the schema is up to date")


def _adopt(conn: Connection) -> bool:
    """A bank from before generations were kept goes on deciding by the packs of this version."""
    if generations.has_one(conn):
        return False
    generations.first(conn, by="migrate", now=banks.system_clock())
    return True


@app.command()
def doctor(
    *,
    live: Annotated[bool, typer.Option(help="only ask the running gateway how it is")] = False,
) -> None:
    """Check settings, keys, schema, packs, the whole log, the feed of holdings, and who is there to do the work."""
    if live:
        with explained():
            chosen = settings.load()
        verified = str(chosen.tls_certificate) if chosen.tls_certificate else True
        try:
            answer = httpx.get(
                f"{'https' if chosen.tls_certificate else 'http'}://127.0.0.1:{chosen.port}/healthz",
                verify=verified,
                timeout=3,
            )
        except httpx.HTTPError as error:
            fail(f"the gateway does not answer: {error}")
        raise typer.Exit(0 if answer.status_code == httpx.codes.OK else 1)
    with opened() as bank:
        with bank.database.read() as conn:
            size = log.head(conn, bank.origin).size
            # Other processes take a second to start, in which one reads a hundred thousand entries.
            many = (os.cpu_count() or 1) if size > 1_000_000 else 1
            log.check(conn, bank.origin, size, processes=many)
            roles = list(conn.execute(people.active_roles()).scalars())
            differing, missing = generations.differing(conn), openings.unknown(conn)
            free = rewritable(conn)
        out.print("[green]✓[/green] 设置、密钥、结构、规则包 · settings, keys, schema, packs")
        out.print(f"[green]✓[/green] 日志完整 · the log is whole: {size} entries")
        if free:
            out.print(
                f"[yellow]![/yellow] 本数据库角色可撤除 {len(free)} 张只增表的保护,请改用受限角色 · this role "
                "of the database could change tables that are only added to (docs/postgresql.md): "
                + ", ".join(free)
            )
        way = bank.settings.counting
        out.print(f"[green]✓[/green] 五百例计数 · the 500 are counted per {way} (HGR_COUNTING)")
        tell_differing(differing)
        tell_unknown(missing)
        with bank.database.read() as conn:
            stale = tell_feed(bank, conn)
        staffed = {role: sum(role.value in each for each in roles) for role in Role}
        wanted = {Role.OFFICER: 2, Role.ADMINISTRATOR: 1, Role.AUDITOR: 0, Role.REGULATOR: 0}
        short = {role: n for role, n in wanted.items() if staffed[role] < n}
        for role, count in staffed.items():
            mark = "[red]✗[/red]" if role in short else "[green]✓[/green]"
            need = f" (至少 · at least {wanted[role]})" if role in short else ""
            out.print(f"{mark} {role}: {count}{need}")
    raise typer.Exit(1 if short or stale else 0)


@app.command()
def void(
    kind: Annotated[str, typer.Argument(help="paper, form, collection or party")],
    subject: Annotated[str, typer.Argument(help="its id")],
    *,
    reason: Annotated[str, typer.Option(help="why; it stays with it")] = "",
    evidence: Annotated[str, typer.Option(help="SHA-256 of what shows it")] = "",
    preview: Annotated[bool, typer.Option(help="only say whom it would reach")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Void a shared fact: all that rests on it is decided again (not while the bank is served)."""
    with opened("POST /v1/corrections") as bank:
        if preview:
            with bank.database.read() as conn:
                standing.verify(conn, kind, subject, "void", {})
                found = standing.touched(conn, kind, subject)
        else:
            if not reason.strip() or not evidence.strip():
                raise SettingsError("a voiding needs --reason and --evidence")
            found = _voided(bank, kind, subject, reason, evidence)
    if as_json:
        sys.stdout.write(json.dumps({**asdict(found), "counts": found.counts}) + "\n")
        return
    said = "将涉及 · would reach" if preview else "[green]✓[/green] 已作废,涉及 · void, reached"
    out.print(f"{said}: {found.counts}", highlight=False, soft_wrap=True)
    for case in found.cases:
        out.print(f"  case {case.case_id} {case.state} {case.outcome or ''}", soft_wrap=True)
    for grant in found.grants:
        out.print(f"  grant {grant.grant_id} {grant.state} {grant.outcome or ''}", soft_wrap=True)
    for release, party in found.receivers:
        out.print(f"  release {release} {party}", soft_wrap=True)


def _voided(bank: Bank, kind: str, subject: str, reason: str, evidence: str) -> standing.Reach:
    kept: list[pep.Corrected] = []

    def keep(done: pep.Corrected) -> Rendered:
        kept.append(done)
        return Rendered(status=200, body=b"")

    def part(conn: Connection) -> standing.Correction:
        return standing.propose(
            conn,
            kind=kind,
            subject_id=subject,
            act="void",
            said={},
            reason=reason,
            evidence_sha256=evidence,
            person_id=OPERATOR.id,
            now=bank.now(),
        )

    reply = Reply(client=OPERATOR.id, key=None, route="void", body_hash="", render=keep)
    asyncio.run(pep.correct(bank, OPERATOR, part, reply=reply))
    return kept[0].reach


@keys_app.command("create")
def keys_create(
    party: Annotated[str, typer.Option(help="organisation the key belongs to")],
    label: Annotated[str, typer.Option(help="what it is for")],
    days: Annotated[int, typer.Option(help="life in days", min=1, max=365)] = 90,
    scope: Annotated[
        list[str] | None, typer.Option(help="scope; none given: all a key may have")
    ] = None,
    network: Annotated[list[str] | None, typer.Option(help="CIDR it may come from")] = None,
) -> None:
    """Make a key; its text is shown once."""
    with opened("POST /v1/keys") as bank:
        wanted = api_keys.Wanted(
            party_id=party,
            label=label,
            scopes=tuple(scope or sorted(KEY_SCOPES)),
            expires_at=bank.now() + timedelta(days=days),
            networks=tuple(network or ()),
        )
        minted = recorded(
            bank,
            "key.created",
            partial(api_keys.mint, bank=bank, wanted=wanted, created_by=OPERATOR.id),
            lambda _: {"party": party},
        )
        out.print(minted.text, highlight=False, soft_wrap=True)


@keys_app.command("list")
def keys_list(party: Annotated[str, typer.Option(help="organisation")]) -> None:
    """The keys of an organisation."""
    with opened("GET /v1/keys") as bank, bank.database.read() as conn:
        table = Table("id", "label", "scopes", "expires", "last used", "revoked")
        for key in api_keys.of_party(conn, party):
            table.add_row(
                key.id,
                key.label,
                " ".join(sorted(key.scopes)),
                f"{key.expires_at:%Y-%m-%d}",
                f"{key.last_used_at:%Y-%m-%d %H:%M}Z" if key.last_used_at else "–",
                f"{key.revoked_at:%Y-%m-%d %H:%M}Z" if key.revoked_at else "–",
            )
        out.print(table)


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="the public id inside the key")],
    reason: Annotated[str, typer.Option(help="why")],
) -> None:
    """End a key now."""
    with opened(f"POST /v1/keys/{key_id}:revoke") as bank:
        part = partial(
            api_keys.revoke,
            key_id=key_id,
            reason=reason,
            now=bank.now(),
            forget=lambda _key, _at: None,  # this process serves nobody
        )
        recorded(bank, "key.revoked", part, lambda _: {"key": key_id})
        out.print(f"[green]✓[/green] 已吊销 · revoked: {key_id}")


@duos_app.command("match")
def duos_match(
    file: Annotated[Path, typer.Argument(help="JSON list of pairs; docs/duos.md shows one")],
    algorithm: Annotated[
        duos.Algorithm, typer.Option(help="v4, v5 as DUOS answers; safe is never less strict")
    ],
) -> None:
    """Match research purposes against data uses: approve, deny or abstain, with reasons, as JSON."""
    with explained():
        answers = duos.match_file(file.read_bytes(), algorithm)
    sys.stdout.write(json.dumps(answers, ensure_ascii=False, indent=2) + "\n")


@app.command("duties")
def duties_list(
    party: Annotated[str, typer.Option(help="of one party; all if not given")] = "",
) -> None:
    """Duties with their due dates, soonest first; exits 1 if one is overdue."""
    with opened("GET /v1/duties") as bank, bank.database.read() as conn:
        today = bank.today()
        found = duties.listed(conn, party_id=party or None, today=today)
    for one in found:
        done = "✓" if one.done_on else "[red]![/red]" if one.is_overdue(today) else " "
        out.print(
            f"{done} {one.due or '日期未知 · not known'}  {one.party_id}  {one.id}", soft_wrap=True
        )
        out.print(f"    {one.zh} · {one.en}", highlight=False, soft_wrap=True)
    out.print(f"{len(found)} 项义务 · duties")
    raise typer.Exit(1 if any(one.is_overdue(today) for one in found) else 0)


@app.command("calendar")
def calendar_import(file: Annotated[Path, typer.Argument(help="CSV: day,working,note")]) -> None:
    """Take in the working days of one later year, from the State Council's notice."""
    with opened() as bank:
        content = file.read_bytes()
        part = partial(calendar.import_days, content=content, now=bank.now())
        digest = sha256(content).hexdigest()
        year = recorded(bank, "calendar.imported", part, lambda _: {"sha256": digest})
    out.print(f"[green]✓[/green] {year}")


# --- regulator ------------------------------------------------------------------------------------


@audit_app.command("export")
def audit_export(
    file: Annotated[Path, typer.Option(help="where to put the package")] = Path("export.zip"),
) -> None:
    """Export the whole log up to a fresh checkpoint (not while the bank is being served)."""
    with opened("POST /v1/audit/exports") as bank:
        made = exports.make(bank, asked_by=OPERATOR.id)
        recorded(
            bank, "export.made", partial(exports.record, export=made), lambda _: {"export": made.id}
        )
        file.write_bytes(exports.path_of(bank, made).read_bytes())
        out.print(f"[green]✓[/green] {file}  SHA-256 {made.sha256}", soft_wrap=True)


@audit_app.command("verify", context_settings={"ignore_unknown_options": True})
def audit_verify(
    arguments: Annotated[list[str], typer.Argument(help="as `python -m audit.verify`")],
) -> None:
    """Verify a package offline: exit 0 intact, 1 not, 2 could not look."""
    raise typer.Exit(verify.main(arguments))


@audit_app.command("replay")
def audit_replay(
    package: Annotated[Path, typer.Argument(help="the export")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """Decide every decision of a package again, with the packs inside it; the bytes must be equal."""
    with explained():
        results = list(reading.replay(package))
    wrong = [r for r in results if not r.same]
    if as_json:
        sys.stdout.write(json.dumps([asdict(r) for r in results]) + "\n")
    else:
        same = len(results) - len(wrong)
        out.print(f"{same}/{len(results)} 项判定重新得出相同字节 · decided again to the same bytes")
        for r in wrong:
            why = r.failed or f"{r.first} ({', '.join((*r.differs, *r.digests))})"
            out.print(f"[red]✗[/red] entry {r.index} {r.decision_id}: {why}", soft_wrap=True)
    raise typer.Exit(1 if wrong else 0)


@audit_app.command("report")
def audit_report(package: Annotated[Path, typer.Argument(help="the export")]) -> None:
    """What a package says, in plain words."""
    with explained():
        sys.stdout.write(reading.report(package) + "\n")


# --- newcomer -------------------------------------------------------------------------------------


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="keep the bank and the package here")] = None,
    *,
    keep_serving: Annotated[
        bool, typer.Option("--serve", help="fill a bank and keep it running instead")
    ] = False,
) -> None:
    """The main job, start to end, over HTTP against a real server; exits 0 if all came out right."""
    from gateway import demo as story  # noqa: PLC0415 - the demo's world is large; others skip it

    with explained():
        code = story.keep_serving(data, out) if keep_serving else story.tell(data, out)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
