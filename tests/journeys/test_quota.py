"""200 concurrent requests on a quota of 100 give exactly 100 grants, over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from datetime import date
from functools import partial
from importlib.resources import as_file
from pathlib import Path
from threading import Barrier

import httpx
import pytest

from audit import log
from gateway.app import create_app
from gateway.bank import Bank, Remembered
from gateway.database import Database
from gateway.deciding import prepare
from gateway.registry import facts, ledger, papers
from gateway.registry.ask import Ask
from gateway.registry.generations import Laws
from gateway.registry.papers import PaperDraft
from policies import packs
from tests.gateway.api.cast import mint
from tests.gateway.conftest import START
from tests.gateway.registry.asks import FOREIGN, ask
from tests.store import execute

DRAWS, TOTAL = 200, 100
PARTIES = ["pty_foreign_university", "pty_partner_institute"]
SITES = [f"col_{code}" for code in ("asw", "beb", "chb", "clm", "esn", "itu", "jpt")]
#: What the foreign university may be permitted once two papers are recorded.
ABROAD = {
    "recipient_role": "partner",
    "recipient_has_access": True,
    "host": {"operator": "pty_foreign_university", "place": "GB"},
    "users": [{"researcher": "res_smith", "access_country": "GB"}],
    "agreement": {
        "signed": True,
        "clauses": ["records_open", "backup", "joint_patents", "benefit", "no_onward"],
    },
    "items": {"kinds": ["genome"], "cohort": {"collections": SITES}},
    "site": "single",
    "changes": [],
    "quantities": {"protocol_people": 10_000, "protocol_units": 100_000, "form_units": 100_000},
}


def recorded(bank: Bank, kind: str, scope: dict[str, object], **quotas: int) -> papers.Paper:
    """A paper of the cooperation, recorded by one person and checked by another."""
    draft = PaperDraft(
        kind=kind,
        number=f"虚构{kind}",
        issuer="虚构主管部门",
        holder_id="pty_partner_institute",
        project_id="prj_sino_foreign",
        valid_from=date(2026, 1, 1),
        valid_to=date(2030, 12, 31),
        scope={"purposes": ["health"], "types": ["genome"], "parties": PARTIES, **scope},
        document_sha256="0" * 64,
        quotas=quotas,
        drawn=dict.fromkeys(quotas, 0),
    )
    made = bank.database.write(partial(papers.record, draft=draft, person_id="psn_1", now=START))
    return bank.database.write(
        partial(papers.check, paper_id=made.id, person_id="psn_2", now=START)
    )


def quotas_of(bank: Bank, paper: papers.Paper) -> dict[str, int]:
    with bank.database.read() as conn:
        return {quota.measure: quota.used for quota in papers.read(conn, paper.id).quotas}


def drawn(bank: Bank, quota_id: str) -> int:
    with bank.database.read() as conn:
        query = (
            "SELECT coalesce(sum(CASE WHEN source = 'free' THEN amount ELSE -amount END), 0)"
            " FROM posting WHERE quota_id = ? AND 'free' IN (source, target)"
        )
        return int(execute(conn, query, quota_id).scalar_one())


def at_once(many: int, act: Callable[[int], bool]) -> int:
    """How many of so many concurrent acts succeeded, each in a thread of its own."""
    ready = Barrier(many)

    def one(which: int) -> bool:
        ready.wait(60)
        return act(which)

    with ThreadPoolExecutor(many) as threads:
        return sum(threads.map(one, range(many)))


def test_reading_first_and_writing_after_overdraws(tmp_path: Path) -> None:
    """The control: without the conditional update the same draws take more than there is."""
    file = tmp_path / "control.sqlite"
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("PRAGMA journal_mode=wal")
        conn.execute("CREATE TABLE quota (total INTEGER, used INTEGER)")
        conn.execute("INSERT INTO quota VALUES (?, 0)", (TOTAL,))
        conn.commit()
    have_read = Barrier(DRAWS)

    def draw(_: int) -> bool:
        with closing(sqlite3.connect(file, timeout=60)) as conn:
            total, used = conn.execute("SELECT total, used FROM quota").fetchone()
            have_read.wait(60)
            if used + 1 > total:
                return False
            conn.execute("UPDATE quota SET used = used + 1")
            conn.commit()
            return True

    assert at_once(DRAWS, draw) > TOTAL


def without_confirmation(folder: Path) -> Path:
    """The shipped packs but for the rule that lets a person confirm every permit, and its cases."""
    with as_file(packs.shipped()) as shipped:
        shutil.copytree(shipped, folder)
    for file in (folder / "institution").iterdir():
        text = file.read_text()
        block = r"(?ms)^  - (?:id|rule): officer-confirms-permit\n.*?(?=^  - |\Z)"
        file.write_text(re.sub(block, "", text))
    return folder


@pytest.fixture
def eager(bank: Bank, tmp_path: Path) -> Bank:
    """A bank whose permits are granted at once, with all papers the cooperation needs."""
    law = packs.load(without_confirmation(tmp_path / "packs"))
    eager = replace(bank, laws=Laws({bank.laws.current: law}, bank.laws.current))
    with bank.database.read() as conn:
        named = sorted(facts.asked_datasets(conn, bank, ask(ABROAD, of=FOREIGN)))
    for kind in ("prior_report", "backup"):
        recorded(bank, kind, {"dataset_sha256": named})
    return eager


def limited(bank: Bank, many: int) -> papers.Paper:
    """A cooperation licence for so many people and units, in place of the one there was."""
    with bank.database.read() as conn:
        old = papers.listed(conn, project_id="prj_sino_foreign")
    for paper in old:
        if paper.kind == "cooperation":
            void = partial(papers.void, paper_id=paper.id, reason="由新许可取代（虚构）", now=START)
            bank.database.write(void)
    return recorded(bank, "cooperation", {}, people=many, units=many)


def people_who_may(bank: Bank, many: int) -> list[str]:
    """Codes of genomes, one a person, that the decision on all of them lets go."""
    whole = ask(ABROAD, of=FOREIGN)
    with bank.database.read() as conn:
        prepared = prepare(conn, bank, whole, "pty_foreign_university")
        assert prepared.decision.outcome == "permit"
        picked = prepared.gathered.cohort.select(conn, prepared.decision.selection.strata)
        rows = execute(conn, "SELECT id, code FROM holding WHERE kind = 'genome'")
        codes = {row.id: row.code for row in rows}
    assert len(picked) >= many
    return [codes[one.holding_id] for one in picked[:many]]


def posted(bank: Bank, asks: list[Ask], *others: Bank) -> list[httpx.Response]:
    """All of them at once, over the app's own HTTP; in turn through each gateway."""
    key = mint(bank, "pty_foreign_university").text
    apps = [create_app(one) for one in (bank, *others)]

    async def all_of_them() -> list[httpx.Response]:
        async with AsyncExitStack() as stack:
            doors = []
            for app in apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
                transport = httpx.ASGITransport(app=app)
                http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
                doors.append(await stack.enter_async_context(http))
            return await asyncio.gather(
                *(
                    doors[number % len(doors)].post(
                        "/v1/access-requests",
                        json={"ask": json.loads(one.model_dump_json(exclude_unset=True))},
                        headers={
                            "Authorization": f"Bearer {key}",
                            "Idempotency-Key": f"one-{number}",
                        },
                    )
                    for number, one in enumerate(asks)
                )
            )

    return asyncio.run(all_of_them())


def released(bank: Bank, grant_id: str) -> int:
    """The status of asking for a release under a grant."""
    key = mint(bank, "pty_foreign_university").text
    app = create_app(bank)

    async def ask_for_it() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "release-1"}
            answer = await http.post(f"/v1/grants/{grant_id}/releases", headers=headers)
        return answer.status_code

    return asyncio.run(ask_for_it())


def for_samples(codes: list[str]) -> Ask:
    items = {"kinds": ["genome"], "cohort": {"samples": codes}}
    return ask(ABROAD | {"items": items}, of=FOREIGN)


@pytest.fixture(params=["one gateway", pytest.param("two", marks=pytest.mark.postgresql)])
def others(request: pytest.FixtureRequest, eager: Bank) -> Iterator[list[Bank]]:
    """Further gateways on the same bank, each with a writer and a memory of its own."""
    if request.param != "two":
        yield []
        return
    database = Database(eager.settings.place)
    laws = Laws({eager.laws.current: eager.law}, eager.laws.current)
    yield [replace(eager, database=database, remembered=Remembered(), laws=laws)]
    database.close()


def test_two_hundred_requests_on_a_hundred(eager: Bank, others: list[Bank]) -> None:
    codes = people_who_may(eager, DRAWS)
    paper = limited(eager, TOTAL)
    answers = posted(eager, [for_samples([code]) for code in codes], *others)
    assert Counter(answer.status_code for answer in answers) == {201: DRAWS}
    said = [answer.json() for answer in answers]
    granted = [one for one in said if one["grant"] is not None]
    held = [one for one in said if one["grant"] is None]
    assert (len(granted), len(held)) == (TOTAL, DRAWS - TOTAL)
    assert {one["outcome"] for one in granted} == {"permit"}
    assert {one["outcome"] for one in held} == {"hold"}
    for one in held:
        rules = {blocker["rule"] for blocker in one["blockers"]}
        assert "statement-of-up-to-a-tenth-more-is-filed" in rules
    assert quotas_of(eager, paper) == {"people": TOTAL, "units": TOTAL}
    assert [drawn(eager, quota.id) for quota in paper.quotas] == [TOTAL, TOTAL]
    # In the log the last grant stands before the first hold.
    places = {one["id"]: one["log"]["index"] for one in said}
    assert max(places[one["id"]] for one in granted) < min(places[one["id"]] for one in held)
    with eager.database.read() as conn:
        log.check(conn, eager.origin)
        grants = execute(conn, "SELECT count(*) FROM grant_").scalar_one()
    assert grants == TOTAL


def test_more_than_a_tenth_over_is_refused_not_cut(eager: Bank) -> None:
    """Nobody is left out to fit a quota (design §5): the whole request waits for a larger one."""
    codes = people_who_may(eager, 3)
    paper = limited(eager, 2)
    (answer,) = posted(eager, [for_samples(codes)])
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert (said["outcome"], said["grant"]) == ("deny", None)
    assert "over-a-tenth-more-needs-approval" in {blocker["rule"] for blocker in said["blockers"]}
    assert quotas_of(eager, paper) == {"people": 0, "units": 0}


def test_a_filed_statement_carries_what_is_over_and_no_more(eager: Bank) -> None:
    """Two of ten over: denied. One of ten over: held, and with its statement granted, drawn on it."""
    codes = people_who_may(eager, 13)
    licence = limited(eager, 10)
    (over,) = posted(eager, [for_samples(codes[:12])])
    assert over.json()["outcome"] == "deny"
    (held,) = posted(eager, [for_samples(codes[:11])])
    assert (held.json()["outcome"], held.json()["papers"]) == ("hold", ["change_statement"])
    statement = recorded(eager, "change_statement", {}, people=1, units=1)
    (granted,) = posted(eager, [for_samples(codes[:11])])
    assert granted.json()["grant"] is not None, granted.text
    assert quotas_of(eager, licence) == {"people": 10, "units": 10}
    assert quotas_of(eager, statement) == {"people": 1, "units": 1}
    # What a grant drew on a quota is room for its own release.
    assert released(eager, granted.json()["grant"]) == 201
    with eager.database.read() as conn:
        quotas = [papers.read(conn, one.id).quotas for one in (licence, statement)]
        assert ledger.differences(conn) == []
    assert [[(q.reserved, q.released) for q in each] for each in quotas] == [
        [(0, 10), (0, 10)],
        [(0, 1), (0, 1)],
    ]
    (more,) = posted(eager, [for_samples(codes[12:])])
    assert more.json()["outcome"] == "deny", "a tenth in all, not each time"
