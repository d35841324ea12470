"""`hgr` as an operator types it: what it prints, what it exits with, what it leaves in the log."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyotp
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from audit import log
from gateway import cli, pep
from gateway.bank import open_bank
from gateway.demo_world import World
from gateway.identity import people
from gateway.identity.scopes import Role
from gateway.registry import generations
from gateway.tables import SHANGHAI, metadata
from openapi.check import COMMITTED
from tests.gateway.conftest import ORIGIN, SettableClock, settings_in
from tests.gateway.registry.asks import FOREIGN, ask
from tests.gateway.registry.test_counters import UNIVERSITY
from tests.gateway.registry.test_generations import REFUSES
from tests.gateway.test_acts import AGGREGATE, HOSPITAL, create, run
from tests.store import copy_bank, url_in

#: What names one thing in a route.
NAMED = re.compile(r"\{\w+\}|gen_1|opn_1|abc")
INIT = ["init", "--origin", "bank.example/hgr", "--name-zh", "某库", "--name-en", "Some Biobank"]


def hgr(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place, and the settings that name it."""
    monkeypatch.setenv("HGR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HGR_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("HGR_DATABASE_URL", url_in(tmp_path))
    return tmp_path


@pytest.fixture
def filled(folder: Path, filled_bank: tuple[Path, World]) -> Path:
    copy_bank(filled_bank[0], folder)
    return folder


@pytest.mark.postgresql
def test_the_doctor_tells_an_owner_of_the_tables_that_it_is_one(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "could change tables that are only added to (docs/postgresql.md)"
    assert told in hgr("doctor").stdout
    monkeypatch.setenv("HGR_DATABASE_URL", url_in(filled))  # the gateway's role, once it is granted
    assert told not in hgr("doctor").stdout


def kinds(folder: Path) -> list[str]:
    bank = open_bank(settings_in(folder))
    try:
        with bank.database.read() as conn:
            size = log.head(conn, bank.origin).size
            return [json.loads(leaf)["type"] for leaf in log.leaves(conn, bank.origin, 0, size)]
    finally:
        bank.database.close()


def test_a_new_bank_has_one_administrator_and_says_who_is_missing(folder: Path) -> None:
    made = hgr(*INIT)
    assert made.exit_code == 0, made.output
    assert "otpauth://totp/" in made.output
    assert "bank.example/hgr+" in made.output
    assert kinds(folder) == ["law.activated", "person.created"]
    looked = hgr("doctor")
    assert looked.exit_code == 1
    assert "administrator: 1" in looked.output
    assert "officer: 0" in looked.output


def test_a_bank_is_never_made_over_another(folder: Path) -> None:
    hgr(*INIT)
    again = hgr(*INIT)
    assert again.exit_code == 2
    assert "never overwritten" in again.stderr


def test_without_a_bank_every_command_says_what_to_do(folder: Path) -> None:
    for command in (["serve"], ["doctor"], ["migrate"], ["keys", "list", "--party", "pty_bank"]):
        told = hgr(*command)
        assert told.exit_code == 2, command
        assert "hgr init" in told.stderr, command


def test_a_key_is_made_listed_and_ended(filled: Path) -> None:
    made = hgr(
        "keys", "create", "--party", "pty_shanghai_hospital", "--label", "pipeline", "--days", "5"
    )
    assert made.exit_code == 0, made.output
    key_id = made.stdout.strip().split("_")[2]
    assert "pipeline" in hgr("keys", "list", "--party", "pty_shanghai_hospital").output
    assert hgr("keys", "revoke", key_id, "--reason", "left the project").exit_code == 0
    assert hgr("keys", "revoke", key_id, "--reason", "again").exit_code == 2
    assert kinds(filled) == ["key.created", "key.revoked"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--party", "pty_nobody", "--label", "x"], "pty_nobody"),
        (
            ["--party", "pty_shanghai_hospital", "--label", "x", "--scope", "review:decide"],
            "review",
        ),
        (
            ["--party", "pty_shanghai_hospital", "--label", "x", "--network", "everywhere"],
            "everywhere",
        ),
    ],
    ids=["unknown party", "a scope no key may carry", "no network"],
)
def test_a_wrong_key_is_refused_in_a_line(filled: Path, options: list[str], said: str) -> None:
    refused = hgr("keys", "create", *options)
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert kinds(filled) == []


def test_an_export_verifies_replays_and_reads(filled: Path) -> None:
    hgr("keys", "create", "--party", "pty_shanghai_hospital", "--label", "x")
    package = filled / "export.zip"
    made = hgr("audit", "export", "--file", str(package))
    assert made.exit_code == 0, made.output
    assert kinds(filled) == ["key.created", "export.made"]
    assert hgr("audit", "verify", str(package)).exit_code == 0
    assert json.loads(hgr("audit", "replay", str(package), "--json").stdout) == []
    assert "key.created" in hgr("audit", "report", str(package)).stdout
    package.write_bytes(package.read_bytes()[:-100])
    for command in ("verify", "replay", "report"):
        assert hgr("audit", command, str(package)).exit_code == 1, command


def test_the_schema_of_a_bank_that_is_up_to_date_stays(filled: Path) -> None:
    before = kinds(filled)
    assert hgr("migrate").exit_code == 0
    assert kinds(filled) == before


def test_the_shipped_packs_have_no_mistake() -> None:
    assert hgr("packs", "check").exit_code == 0


def test_nobody_answers_where_nothing_is_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HGR_PORT", "1")
    told = hgr("doctor", "--live")
    assert told.exit_code == 2
    assert "does not answer" in told.stderr


def test_the_version_is_said() -> None:
    assert hgr("--version").stdout.strip() == "0.1.0"


# --- the law and shared facts ----------------------------------------------------------------------

PASSWORD = "a long invented passphrase"


def enrolled(folder: Path, login: str, role: Role) -> str:
    """Somebody of the bank; the secret of their code generator."""
    bank = open_bank(settings_in(folder))
    new = people.NewPerson(
        login=login,
        name=login,
        party_id=bank.party_id,
        roles=(role,),
        password_hash=people.hash_password(PASSWORD, login=login),
    )
    made = bank.database.write(partial(people.create, bank=bank, new=new))
    bank.database.close()
    return made.totp_secret


def code_of(secret: str) -> str:
    return pyotp.TOTP(secret).now()


def as_person(code: str, *arguments: str) -> Result:
    typed = f"{PASSWORD}\n{code}\n"
    return CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "200"}, input=typed)


@pytest.fixture
def proposed(tmp_path: Path) -> Path:
    """A directory of packs that differs from the shipped one in a remark."""
    directory = tmp_path / "new packs"
    for path, content in generations.shipped_files().items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    (directory / "checked.yaml").write_text("# nobody yet\nchecked: []\n")
    return directory


def test_packs_are_proposed_by_one_person_and_activated_by_another(
    filled: Path, proposed: Path
) -> None:
    li = enrolled(filled, "li.law", Role.OFFICER)
    ada = enrolled(filled, "ada.law", Role.ADMINISTRATOR)
    eve = enrolled(filled, "eve.law", Role.AUDITOR)
    propose = ["packs", "propose", str(proposed), "--login", "li.law", "--reason", "a remark"]
    made = as_person(code_of(li), *propose)
    assert made.exit_code == 0, made.output
    generation = made.stdout.split()[-1]
    activate = ["packs", "activate", generation, "--login"]
    assert "scope_missing" in as_person(code_of(eve), *activate, "eve.law").stderr
    assert "sign_in_refused" in as_person(code_of(eve), *activate, "ada.law").stderr
    code = code_of(ada)
    done = as_person(code, *activate, "ada.law")
    assert done.exit_code == 0, done.output
    listed = hgr("packs", "generations")
    assert f"* {generation}" in listed.stdout
    assert "do not decide: checked.yaml" in listed.stdout
    assert "do not decide: checked.yaml" in hgr("doctor").stdout
    again = as_person(code, *activate, "ada.law")
    assert (again.exit_code, "code is not right" in again.stderr) == (2, True), (
        "a code is good once"
    )
    assert kinds(filled)[-2:] == ["law.proposed", "law.activated"]


def test_a_new_bank_knows_nothing_of_its_past_until_two_officers_state_it(
    folder: Path, tmp_path: Path
) -> None:
    hgr(*INIT)
    assert "hgr ledger open" in hgr("doctor").stdout
    assert "per recipient-project" in hgr("doctor").stdout
    assert hgr("ledger", "openings").exit_code == 1
    li, ada = (enrolled(folder, f"{name}.past", Role.OFFICER) for name in ("li", "ada"))
    eve = enrolled(folder, "eve.past", Role.AUDITOR)
    file = tmp_path / "past.yaml"
    today = datetime.now(UTC).astimezone(SHANGHAI).date()
    file.write_text(
        f"format: hgr-opening-1\nbank: {ORIGIN}\nthrough: {today}\nwhole: [donors, people_abroad]\n"
        f"people_abroad:\n  - {{year: {today.year}, sensitive: 3, all: 4}}\n"
    )
    made = as_person(code_of(li), "ledger", "open", str(file), "--login", "li.past")
    assert made.exit_code == 0, made.output
    digest = made.stdout.split()[-1]
    opening = made.stdout.split("confirms: ")[1].split()[0]
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"people_abroad {today.year} all: 0 → 4" in made.stdout
    shown = hgr("ledger", "openings", "--show", opening)
    assert shown.stdout == file.read_text()
    assert "all: 0 → 4" in shown.stderr
    confirm = ["ledger", "confirm", opening, digest, "--login"]
    assert "scope_missing" in as_person(code_of(eve), *confirm, "eve.past").stderr
    other = ["ledger", "confirm", opening, "0" * 64, "--login", "ada.past"]
    code = code_of(ada)
    assert "/sha256" in as_person(code, *other).stderr
    assert "hgr ledger open" in hgr("doctor").stdout
    sam = enrolled(folder, "sam.past", Role.OFFICER)
    done = as_person(code_of(sam), *confirm, "sam.past")
    assert done.exit_code == 0, done.output
    listed = hgr("ledger", "openings")
    assert (listed.exit_code, opening in listed.stdout) == (0, True)
    assert "hgr ledger open" not in hgr("doctor").stdout
    assert [one for one in kinds(folder) if one.startswith("opening")] == [
        "opening.proposed",
        "opening.read",
        "opening.confirmed",
    ]


def test_whom_an_opening_reaches_is_told_before_it_is_confirmed(
    filled: Path, tmp_path: Path
) -> None:
    bank = open_bank(settings_in(filled), SettableClock())
    bank.database.write(lambda conn: conn.execute(sa.delete(metadata.tables["opening"])))
    who, asked = (
        replace(HOSPITAL, party_id=UNIVERSITY),
        ask(of=FOREIGN),
    )
    waiting = run(lambda reply: pep.create_request(bank, who, asked, draft=False, reply=reply), who)
    through = bank.today()
    bank.database.close()
    li, ada = (enrolled(filled, f"{name}.past", Role.OFFICER) for name in ("li", "ada"))
    file = tmp_path / "past.yaml"
    file.write_text(
        f"format: hgr-opening-1\nbank: {ORIGIN}\nthrough: {through}\nwhole: [donors, people_abroad]\n"
    )
    made = as_person(code_of(li), "ledger", "open", str(file), "--login", "li.past")
    assert made.exit_code == 0, made.output
    line = f"未结案件 · open case {waiting.case_id}: refer → "
    assert line in made.stdout
    after = made.stdout.split(line)[1].split()[0]
    opening, digest = made.stdout.split("confirms: ")[1].split()[0], made.stdout.split()[-1]
    assert line in hgr("ledger", "openings", "--show", opening).stderr
    done = as_person(code_of(ada), "ledger", "confirm", opening, digest, "--login", "ada.past")
    assert done.exit_code == 0, done.output
    (told,) = [one for one in done.stdout.splitlines() if waiting.case_id in one]
    assert told.split()[-1] == after


def test_a_file_of_mistakes_is_refused_before_anybody_signs_in(tmp_path: Path) -> None:
    file = tmp_path / "past.yaml"
    file.write_text("format: hgr-opening-1\nwhole: [donors]\nthrough: today\n")
    refused = hgr("ledger", "open", str(file), "--login", "li")
    assert refused.exit_code == 2
    assert "/content/through: line 3, through: must be of type date" in refused.stderr
    assert "[missing_key]" in refused.stderr


def test_bad_packs_are_refused_before_anybody_signs_in(filled: Path, proposed: Path) -> None:
    edition = proposed / "institution" / "2019-07-01.yaml"
    edition.write_text(edition.read_text().replace("effect: ", "effect: not-", 1))
    refused = hgr("packs", "propose", str(proposed), "--login", "li", "--reason", "x")
    assert refused.exit_code == 2
    assert "those in force stay" in refused.stderr
    assert "/files/institution/2019-07-01.yaml: line" in refused.stderr
    assert hgr("packs", "propose", "/nowhere", "--login", "li", "--reason", "x").exit_code == 2


def test_voiding_a_paper_says_whom_it_reaches_before_and_after(filled: Path) -> None:
    looked = hgr("void", "paper", "ppr_ethics_hospital_hmb", "--preview", "--json")
    assert looked.exit_code == 0, looked.output
    assert json.loads(looked.stdout)["counts"] == {"cases": 0, "grants": 0, "receivers": 0}
    assert kinds(filled) == []
    unsaid = hgr("void", "paper", "ppr_ethics_hospital_hmb")
    assert (unsaid.exit_code, "needs --reason and --evidence" in unsaid.stderr) == (2, True)
    why = ["--reason", "the committee took it back", "--evidence", "ab" * 32]
    done = hgr("void", "paper", "ppr_ethics_hospital_hmb", *why)
    assert (done.exit_code, "void, reached" in done.stdout) == (0, True), done.output
    assert kinds(filled) == ["paper.voided"]
    assert "is void already" in hgr("void", "paper", "ppr_ethics_hospital_hmb", *why).stderr


def test_a_bank_from_before_generations_adopts_the_packs_of_this_version(filled: Path) -> None:
    bank = open_bank(settings_in(filled))
    table = metadata.tables["bank"]
    bank.database.write(lambda conn: conn.execute(sa.update(table).values(law_generation_id=None)))
    bank.database.close()
    assert "hgr migrate" in hgr("doctor").stderr
    assert hgr("migrate").exit_code == 0
    assert hgr("migrate").exit_code == 0
    assert kinds(filled) == ["law.activated"]


def test_impact_counts_what_would_come_out_otherwise(filled: Path, proposed: Path) -> None:
    bank = open_bank(settings_in(filled), SettableClock())
    answer = create(bank, AGGREGATE)
    bank.database.close()
    same = hgr("packs", "impact", str(proposed))
    assert same.exit_code == 0, same.output
    assert "past decisions: 0/1" in same.stdout
    refuses = REFUSES.replace("2026-11-01", "2020-01-01")  # whatever day these tests run on
    (proposed / "institution" / "2020-01-01.yaml").write_text(refuses)
    told = hgr("packs", "impact", str(proposed))
    assert told.exit_code == 1, told.output
    assert "live grants: 1/1" in told.stdout
    assert "1 would stand no longer" in told.stdout
    assert "INST-99 no-aggregates-at-all: decision 1, grant 1" in told.stdout
    assert f"grant {answer.grant_id}: permit → deny" in told.stdout
    read = json.loads(hgr("packs", "impact", str(proposed), "--json").stdout)
    assert read["by_outcome"] == {"permit → deny": {"decision": 1, "grant": 1}}
    assert kinds(filled) == ["decision", "grant.created"]


@pytest.mark.sqlite  # PostgreSQL is served and asked by commands at once
@pytest.mark.parametrize(
    ("command", "routes"),
    [
        ("packs propose {dir} --login li --reason r", ["POST /v1/law/generations"]),
        ("packs activate gen_1 --login li", ["POST /v1/law/generations/gen_1:activate"]),
        ("packs generations", ["GET /v1/law/generations"]),
        (
            "packs impact {dir}",
            ["POST /v1/law/generations", "GET /v1/law/generations/{ID}/impact"],
        ),
        ("packs impact --with-draft", []),
        ("ledger check", []),
        ("ledger confirm opn_1 00 --login li", ["POST /v1/openings/opn_1:confirm"]),
        ("ledger openings", ["GET /v1/openings"]),
        ("ledger openings --show opn_1", ["GET /v1/openings/opn_1"]),
        ("void paper ppr_1 --preview", ["POST /v1/corrections"]),
        ("keys list --party pty_bank", ["GET /v1/keys"]),
        ("keys revoke abc --reason lost", ["POST /v1/keys/abc:revoke"]),
        ("duties", ["GET /v1/duties"]),
        ("audit export", ["POST /v1/audit/exports"]),
    ],
)
def test_a_command_against_a_served_bank_names_the_route_that_does_the_same(
    filled: Path, proposed: Path, command: str, routes: list[str]
) -> None:
    served = open_bank(settings_in(filled))
    try:
        words = [word.replace("{dir}", str(proposed)) for word in command.split()]
        refused = hgr(*words)
    finally:
        served.database.close()
    assert refused.exit_code == 2
    assert "is held by another process" in refused.stderr
    way = f"请改用 · use instead: {', '.join(routes)}" if routes else "须先停止网关 · stop the"
    assert f"本库正在提供服务 · the bank is being served; {way}" in refused.stderr
    offered = {
        f"{method.upper()} {re.sub(NAMED, '{}', path)}"
        for path, methods in json.loads(COMMITTED.read_bytes())["paths"].items()
        for method in methods
    }
    assert {re.sub(NAMED, "{}", route.partition("?")[0]) for route in routes} <= offered


def test_impact_of_the_draft_is_shown_and_it_decides_nothing(filled: Path) -> None:
    bank = open_bank(settings_in(filled), SettableClock())
    create(bank, AGGREGATE)
    bank.database.close()
    told = hgr("packs", "impact", "--with-draft")
    assert told.exit_code == 0, told.output
    assert "past decisions: 0/1" in told.stdout
    assert kinds(filled) == ["decision", "grant.created"]
    unsaid = hgr("packs", "impact")
    assert (unsaid.exit_code, "name a directory" in unsaid.output) == (2, True)


def test_the_ledger_is_compared_and_settled(filled: Path) -> None:
    assert hgr("ledger", "check").exit_code == 0
    bank = open_bank(settings_in(filled))
    quota = metadata.tables["quota"]
    bank.database.write(lambda conn: conn.execute(sa.update(quota).values(released=7)))
    bank.database.close()
    differs = hgr("ledger", "check")
    assert differs.exit_code == 1
    assert "qta_cooperation_sino_foreign_people: released" in differs.output
    assert "0 授权" not in differs.output
    settled = hgr("ledger", "settle")
    assert settled.exit_code == 0, settled.output
    assert kinds(filled)[-1] == "ledger.settled"


def test_duties_and_the_calendar(filled: Path) -> None:
    listed = hgr("duties")
    assert listed.exit_code == 0
    assert "duties" in listed.output
    file = filled / "2099.csv"
    file.write_text("day,working,note\n2099-01-01,no,元旦\n")
    assert "2099" in hgr("calendar", str(file)).output
    again = hgr("calendar", str(file))
    assert again.exit_code == 2
    assert "imported already" in again.stderr
    assert kinds(filled)[-1] == "calendar.imported"
