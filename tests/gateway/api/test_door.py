"""What the door does to every request, whoever sends it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.api.door import Door as Middleware
from gateway.api.door import language_of
from gateway.bank import Bank
from tests.gateway.api.cast import Cast, ask
from tests.gateway.api.door import Door
from tests.store import execute, opened

JSON = {"Content-Type": "application/json"}

#: name, method, path, request, status, code
REFUSED: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("no such path", "GET", "/v1/nothing", {}, 404, "not_found"),
    ("no such method", "PUT", "/v1/evaluations", {}, 405, "method_not_allowed"),
    ("the root", "GET", "/", {}, 404, "not_found"),
    ("their docs page", "GET", "/docs", {}, 404, "not_found"),
    (
        "not JSON",
        "POST",
        "/v1/evaluations",
        {"content": b"{", "headers": JSON},
        400,
        "malformed_body",
    ),
    (
        "not UTF-8",
        "POST",
        "/v1/evaluations",
        {"content": b'{"ask":"\xff"}', "headers": JSON},
        400,
        "malformed_body",
    ),
    (
        "too deep",
        "POST",
        "/v1/evaluations",
        {"content": b"[" * 5000, "headers": JSON},
        400,
        "malformed_body",
    ),
    (
        "empty",
        "POST",
        "/v1/evaluations",
        {"content": b"", "headers": JSON},
        400,
        "malformed_body",
    ),
    (
        "a list",
        "POST",
        "/v1/evaluations",
        {"content": b"[]", "headers": JSON},
        422,
        "invalid_request",
    ),
    (
        "unknown field",
        "POST",
        "/v1/evaluations",
        {"json": {"ask": ask(), "urgent": True}},
        422,
        "invalid_request",
    ),
    (
        "text for a truth",
        "POST",
        "/v1/access-requests",
        {"json": {"ask": ask(), "draft": "true"}},
        422,
        "invalid_request",
    ),
    (
        "seconds for a date",
        "POST",
        "/v1/evaluations",
        {"json": {"ask": ask(until="0")}},
        422,
        "invalid_request",
    ),
    (
        "wrong media type",
        "POST",
        "/v1/evaluations",
        {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
        415,
        "unsupported_media_type",
    ),
    (
        "no media type",
        "POST",
        "/v1/evaluations",
        {"content": b"{}"},
        415,
        "unsupported_media_type",
    ),
    (
        "wants HTML",
        "GET",
        "/v1/grants",
        {"headers": {"Accept": "text/html"}},
        406,
        "not_acceptable",
    ),
    (
        "too much, and says so",
        "POST",
        "/v1/evaluations",
        {"content": b" " * 1_000_001, "headers": JSON},
        413,
        "body_too_large",
    ),
    ("no such sample", "POST", "/v1/evaluations", {}, 422, "unknown_sample"),
    ("a page too long", "GET", "/v1/grants?limit=101", {}, 422, "invalid_request"),
    ("a key too long", "POST", "/v1/evaluations", {}, 422, "invalid_request"),
]


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "code"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_what_is_wrong_is_a_problem_with_a_stable_code(
    door: Door, cast: Cast, method: str, path: str, request_: dict[str, Any], status: int, code: str
) -> None:
    if code == "unknown_sample":
        items = {"kinds": ["plasma"], "cohort": {"samples": ["NOBODY-1"]}}
        request_ = {"json": {"ask": ask(items=items)}}
    elif not request_ and method == "POST":
        request_ = {"json": {"ask": ask()}, "headers": {"Idempotency-Key": "k" * 65}}
    answer = door.request(method, path, as_=cast.key, **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["Request-Id"]
    assert answer.json()["type"] == f"/problems/{code}"


def test_an_error_names_its_place_and_never_the_input(door: Door, cast: Cast) -> None:
    secret = "hgr_live_0123456789_typed_into_the_wrong_field"
    body = {"ask": {**ask(), "action": secret, "x": {secret: 1}}}
    answer = door.post("/v1/evaluations", json=body, as_=cast.key)
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/ask/action", "/ask/x"]
    assert secret not in answer.text


REPEATED = [
    ("at the top", b'{"ask": {}, "ask": {}}', "ask"),
    ("deep inside", b'{"ask": {"users": [{"researcher": "a", "researcher": "b"}]}}', "researcher"),
    ("spelt otherwise", rb'{"draft": true, "dr\u0061ft": false}', "draft"),
    ("where nothing is known", b'{"x": {"y": 1, "z": 2, "y": 1}}', "y"),
]


@pytest.mark.parametrize(
    ("body", "key"), [row[1:] for row in REPEATED], ids=[row[0] for row in REPEATED]
)
def test_a_key_given_twice_is_refused_by_name(
    door: Door, cast: Cast, body: bytes, key: str
) -> None:
    answer = door.post("/v1/access-requests", content=body, headers=JSON, as_=cast.key)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")
    assert answer.json()["detail"] == f"`{key}` is given twice in one object"


def test_a_body_that_fits_but_for_a_repeated_key_is_refused_too(door: Door, cast: Cast) -> None:
    whole = json.dumps({"ask": ask(), "draft": True})
    repeated = whole.removesuffix("}") + ', "draft": false}'
    answer = door.post("/v1/access-requests", content=repeated, headers=JSON, as_=cast.key)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")
    request = door.post("/v1/access-requests", content=whole, headers=JSON, as_=cast.key)
    changed = door.request(
        "PATCH",
        f"/v1/access-requests/{request.json()['id']}",
        content=b'{"until": null, "until": null}',
        headers={
            "Content-Type": "application/merge-patch+json",
            "If-Match": request.headers["ETag"],
        },
        as_=cast.key,
    )
    assert (changed.status_code, changed.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize(
    ("accepted", "title"),
    [("zh-CN,zh;q=0.9,en;q=0.5", "未找到"), ("en", "Not found"), ("", "Not found")],
)
def test_titles_come_in_the_language_asked_for(door: Door, accepted: str, title: str) -> None:
    answer = door.get("/v1/nothing", headers={"Accept-Language": accepted})
    assert answer.json()["title"] == title


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh", "zh"),
        ("zh-Hant-TW", "zh"),
        ("en;q=0.2, zh;q=0.1", "en"),
        ("zh;q=0", "en"),
        ("fr", "en"),
        ("zh;q=x", "en"),
        ("zh;level=1", "zh"),
        (",;,", "en"),
    ],
)
def test_the_heavier_language_wins(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


@pytest.mark.parametrize("path", ["/healthz", "/v1/nothing", "/v1/grants", "/log/checkpoint"])
def test_every_answer_has_an_id_and_safe_headers(door: Door, path: str) -> None:
    headers = door.get(path).headers
    assert re.fullmatch("[0-9a-f]{32}", headers["Request-Id"])
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers.get("Cache-Control") == {
        "/v1/nothing": "no-store",
        "/v1/grants": "no-store",
        "/log/checkpoint": "no-cache",
    }.get(path)


@pytest.mark.parametrize(
    "hidden",
    ["\x00", "\x1b[2J", "\x07", "\x85", "\u202e", "\u2066", "\u2028", "\ufeff", "\u200f"],
    ids=lambda text: f"U+{ord(text[0]):04X}",
)
def test_text_that_cannot_be_seen_is_refused_by_place(door: Door, cast: Cast, hidden: str) -> None:
    whole = ask()
    whole["purpose"] = {**whole["purpose"], "text": f"淋巴瘤{hidden}研究"}
    answer = door.post("/v1/evaluations", json={"ask": whole}, as_=cast.key)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/ask/purpose/text"]


def test_lines_and_tabs_are_text(door: Door, cast: Cast) -> None:
    whole = ask()
    whole["purpose"] = {**whole["purpose"], "text": "一\n\t二\r\n三"}
    assert door.post("/v1/evaluations", json={"ask": whole}, as_=cast.key).status_code == 200


def test_a_code_explains_itself_in_both_languages(door: Door) -> None:
    title = door.get("/problems/not_releasable").json()["title"]
    assert title == {"zh": "当前不能发放", "en": "Nothing can be released now"}


def test_what_nobody_expected_is_500_without_a_word(
    door: Door, bank: Bank, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(bank.settings) as owner:
        execute(owner, "DROP TABLE grant_item")
    answer = door.get("/v1/grants", as_=cast.key)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "grant_item" not in answer.text
    assert answer.headers["Request-Id"] in caplog.text


def test_in_doubt_nothing_is_written_and_proofs_are_still_served(door: Door, cast: Cast) -> None:
    door.app.state.doubt.reason = "the head does not hash"
    answer = door.post("/v1/evaluations", json={"ask": ask()}, as_=cast.key)
    assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
    assert door.get("/healthz").status_code == 503
    assert door.get("/log/checkpoint").status_code == 200


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    del scope
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


@pytest.mark.parametrize(
    ("chunks", "status"),
    [([b"x" * 60, b"x" * 40], 200), ([b"x" * 60, b"x" * 41], 413), ([b""], 200)],
)
def test_a_body_is_counted_as_it_comes(chunks: list[bytes], status: int) -> None:
    sent = asyncio.run(_through(Middleware(_app, body_bytes=100, in_doubt=lambda: False), chunks))
    assert sent[0]["status"] == status


def test_a_client_that_hangs_up_is_not_answered() -> None:
    door = Middleware(_app, body_bytes=100, in_doubt=lambda: False)
    assert asyncio.run(_through(door, [b"x"], hang_up=True)) == []


async def _through(
    door: Middleware, chunks: list[bytes], *, hang_up: bool = False
) -> list[Message]:
    waiting: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": hang_up or at < len(chunks) - 1}
        for at, chunk in enumerate(chunks)
    ]
    waiting.append({"type": "http.disconnect"})
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/x", "scheme": "http", "headers": []}
    await door(scope, receive, send)
    return sent
