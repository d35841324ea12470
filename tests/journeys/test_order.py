"""The order of the log is the order of the law: what lands between gathering and recording counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from audit import log
from gateway import deciding, pep
from gateway.app import create_app
from gateway.bank import Bank
from gateway.deciding import Prepared
from gateway.identity.scopes import Caller
from gateway.registry import papers
from gateway.replies import Rendered, Reply
from tests.gateway.api.cast import mint
from tests.gateway.registry.asks import PLAIN
from tests.store import execute

HOSPITAL = "pty_shanghai_hospital"
OFFICER = Caller(kind="person", id="psn_1", name="虚构", party_id="pty_bank", scopes=frozenset())
#: Aggregates at home, without a price: granted at once.
ASK = PLAIN | {"outputs": ["aggregate"], "price": {"price_fen": 0}}

Between = Callable[[Bank], Awaitable[Any]]


def for_people(codes: list[str]) -> dict[str, Any]:
    return ASK | {"items": {"kinds": ["genome"], "cohort": {"samples": codes}}}


def people_of(bank: Bank, sql: str, *values: object) -> list[str]:
    with bank.database.read() as conn:
        return [str(one) for one in execute(conn, sql, *values).scalars()]


@pytest.fixture
def codes(bank: Bank) -> list[str]:
    """Donor codes of thirty whom nothing keeps from the study."""
    query = (
        "SELECT d.code FROM donor d JOIN holding h ON h.donor_id = d.id "
        "JOIN consent c ON c.id = h.consent_id JOIN consent_profile p ON p.id = c.profile_id "
        "WHERE h.kind = 'genome' AND h.collection_id IN ('col_chb', 'col_asw', 'col_beb') "
        "AND CAST(p.ticks AS TEXT) LIKE '%\"gru\"%' AND c.written AND c.signed_on <= h.collected_on "
        "AND c.expires_on IS NULL AND d.deceased_on IS NULL "
        "AND d.id NOT IN (SELECT donor_id FROM withdrawal) ORDER BY d.code LIMIT 30"
    )
    found = people_of(bank, query)
    assert len(found) == 30
    return found


def donor_of(bank: Bank, code: str) -> str:
    return people_of(bank, "SELECT id FROM donor WHERE code = ?", code)[0]


def keep(made: list[Any]) -> Reply:
    """A reply that keeps what the act made, for what the test does not do over HTTP."""

    def render(result: Any) -> Rendered:
        made.append(result)
        return Rendered(status=200, body=b"{}")

    return Reply(client="test", key=None, route="test", body_hash="", render=render)


def withdraws(donor: str) -> tuple[Between, list[Any]]:
    """The donor withdraws from everything, through the same door as at the desk."""
    made: list[Any] = []
    asked = pep.WithdrawalAsked(donor_id=donor, scope="everything", channel="书面")

    async def act(bank: Bank) -> None:
        await pep.withdraw_consent(bank, OFFICER, asked, reply=keep(made))

    return act, made


def voids(paper_id: str) -> tuple[Between, list[Any]]:
    """A paper is voided."""
    made: list[Any] = []

    async def act(bank: Bank) -> None:
        part = partial(papers.void, paper_id=paper_id, reason="撤销（虚构）", now=bank.now())
        await pep.record_event(
            bank,
            OFFICER,
            "paper.voided",
            part,
            subjects=lambda paper: {"paper": paper.id},
            reply=keep(made),
        )

    return act, made


@pytest.fixture(params=["committed before it is recorded", "in the same batch before it"])
def meanwhile(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Between], list[Prepared]]:
    """Lets something happen once, between the gathering of the next act and its recording.

    Either it is durable by then, or it waits in the writer's queue just before the act.
    """
    real = deciding.prepare_outside

    def arrange(between: Between) -> list[Prepared]:
        seen: list[Prepared] = []
        tasks: set[asyncio.Task[Any]] = set()

        async def prepare_and_then(bank: Bank, *args: Any, **kwargs: Any) -> Prepared:
            prepared = await real(bank, *args, **kwargs)
            if seen:
                return prepared
            seen.append(prepared)
            task = asyncio.ensure_future(between(bank))
            tasks.add(task)
            if request.param.startswith("committed"):
                await task
            else:
                await asyncio.sleep(0)  # the task runs up to its wait for the writer
            return prepared

        monkeypatch.setattr(pep, "prepare_outside", prepare_and_then)
        return seen

    return arrange


def posted(bank: Bank, *calls: tuple[str, dict[str, Any] | None, str]) -> list[httpx.Response]:
    """POSTs, all at once, over the app's own HTTP: path, body, Idempotency-Key."""
    key = mint(bank, HOSPITAL).text
    app = create_app(bank)

    async def together() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
        ):
            sent = [
                http.post(
                    path,
                    json=body,
                    headers={"Authorization": f"Bearer {key}", "Idempotency-Key": one},
                )
                for path, body, one in calls
            ]
            return list(await asyncio.gather(*sent))

    return asyncio.run(together())


def asked(bank: Bank, codes: list[str]) -> dict[str, Any]:
    (answer,) = posted(bank, ("/v1/access-requests", {"ask": for_people(codes)}, "one"))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def granted_to(bank: Bank, grant: str) -> set[str]:
    live = "SELECT donor_id FROM grant_item WHERE grant_id = ? AND removed_at IS NULL"
    return set(people_of(bank, live, grant))


def whole(bank: Bank) -> None:
    with bank.database.read() as conn:
        log.check(conn, bank.origin)


def leaf(bank: Bank, index: int) -> dict[str, Any]:
    with bank.database.read() as conn:
        decoded: dict[str, Any] = json.loads(log.leaf(conn, bank.origin, index))
    return decoded


def document(bank: Bank, decision: str) -> dict[str, Any]:
    def read(conn: Connection) -> bytes:
        query = "SELECT document_sha256 FROM decision WHERE id = ?"
        digest = execute(conn, query, decision).scalar_one()
        return log.document(conn, bytes.fromhex(digest))

    with bank.database.read() as conn:
        decoded: dict[str, Any] = json.loads(read(conn))
    return decoded


def test_a_withdrawal_between_gathering_and_recording(
    bank: Bank, codes: list[str], meanwhile: Callable[[Between], list[Prepared]]
) -> None:
    donor = donor_of(bank, codes[0])
    between, withdrawn = withdraws(donor)
    seen = meanwhile(between)
    said = asked(bank, codes)
    assert (
        seen[0].decision.selection.permitted.people == 30
    )  # what was gathered still had the donor
    assert leaf(bank, withdrawn[0].leaf_index)["type"] == "withdrawal"
    assert withdrawn[0].leaf_index < said["log"]["index"]
    assert said["outcome"] == "permit"
    assert document(bank, said["id"])["selection"]["permitted"]["people"] == 29
    granted = granted_to(bank, said["grant"])
    assert len(granted) == 29
    assert donor not in granted
    whole(bank)


def test_a_paper_voided_between_gathering_and_recording(
    bank: Bank, codes: list[str], meanwhile: Callable[[Between], list[Prepared]]
) -> None:
    between, voided = voids("ppr_ethics_hospital_hmb")
    seen = meanwhile(between)
    said = asked(bank, codes)
    assert seen[0].decision.outcome == "permit"
    assert voided[0].voided_at is not None
    assert (said["outcome"], said["grant"]) == ("hold", None)
    assert "ethics" in said["papers"]
    whole(bank)


def test_a_withdrawal_between_gathering_and_release(
    bank: Bank, codes: list[str], meanwhile: Callable[[Between], list[Prepared]]
) -> None:
    grant = asked(bank, codes)["grant"]
    assert len(granted_to(bank, grant)) == 30
    donor = donor_of(bank, codes[0])
    between, withdrawn = withdraws(donor)
    seen = meanwhile(between)
    (answer,) = posted(bank, (f"/v1/grants/{grant}/releases", None, "two"))
    assert answer.status_code == 201, answer.text
    said = answer.json()
    assert seen[0].decision.selection.permitted.people == 30
    assert json.loads(said["manifest"])["counts"]["donors"] == 29
    out = people_of(bank, "SELECT donor_id FROM release_item WHERE release_id = ?", said["id"])
    assert len(out) == 29
    assert donor not in out
    with bank.database.read() as conn:
        query = "SELECT leaf_index FROM decision WHERE id = ?"
        place = execute(conn, query, said["decision"]).scalar_one()
    assert withdrawn[0].leaf_index < place
    whole(bank)


def test_a_paper_voided_between_gathering_and_release(
    bank: Bank, codes: list[str], meanwhile: Callable[[Between], list[Prepared]]
) -> None:
    grant = asked(bank, codes)["grant"]
    between, voided = voids("ppr_ethics_hospital_hmb")
    meanwhile(between)
    (answer,) = posted(bank, (f"/v1/grants/{grant}/releases", None, "two"))
    assert (answer.status_code, answer.json()["code"]) == (409, "not_releasable")
    assert voided[0].voided_at is not None
    assert people_of(bank, "SELECT id FROM release") == []
    assert people_of(bank, "SELECT state FROM grant_ WHERE id = ?", grant) == ["suspended"]
    whole(bank)


def test_without_a_new_look_the_donor_would_have_been_granted(
    bank: Bank,
    codes: list[str],
    meanwhile: Callable[[Between], list[Prepared]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: where the version of the facts is not looked at, the withdrawal is overrun."""
    monkeypatch.setattr(pep, "current", lambda _conn, _bank, prepared: prepared)
    donor = donor_of(bank, codes[0])
    between, withdrawn = withdraws(donor)
    meanwhile(between)
    said = asked(bank, codes)
    assert withdrawn[0].leaf_index < said["log"]["index"]
    assert donor in granted_to(bank, said["grant"])


def test_twenty_posts_under_one_key_are_one_request(bank: Bank, codes: list[str]) -> None:
    call = ("/v1/access-requests", {"ask": for_people(codes)}, "the-same")
    answers = posted(bank, *[call] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replayed = Counter(answer.headers.get("idempotent-replayed") for answer in answers)
    assert replayed == {None: 1, "true": 19}
    for table in ("access_request", "decision", "grant_"):
        assert len(people_of(bank, f"SELECT id FROM {table}")) == 1  # noqa: S608 - named above
    whole(bank)
