"""The law as pages, and what would permit: as a reader and a researcher see them."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from tests.gateway.api.cast import Cast, ask
from tests.gateway.api.door import Door, good

RULE = "/laws/cn-hgr/prior-report-needed"
ENDED = "/laws/cn-hgr/information-class-open-before-implementing-rules"
HARM = "/laws/cn-hgr/no-harm-to-health-security-or-public-interest"
GDPR = "/laws/eu-gdpr/eea-receiver-settles-its-gdpr-role"
DRAFTED = "/laws/cn-hgr/non-genetic-information-is-outside"


class Whole(HTMLParser):
    """Counts what is opened and closed, and collects links and ids."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        said = dict(attrs)
        self.links += [said["href"]] if tag == "a" else []
        self.ids += [said["id"]] if "id" in said else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def page(
    door: Door, path: str, params: dict[str, str] | None = None, **headers: str
) -> tuple[str, Whole]:
    answer = door.get(path, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "script-src" not in answer.headers["content-security-policy"]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    style = re.search(r"<style>(.*)</style>", answer.text, re.DOTALL)
    assert style
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy, "the browser would refuse the style"
    assert f'<html lang="{answer.headers["content-language"]}">' in answer.text
    assert re.search(r"<title>[^<]+</title>", answer.text)
    assert ":focus-visible { outline:" in style[1]
    assert "@media print" in style[1]
    read = Whole()
    read.feed(answer.text)
    assert read.open == []
    assert len(set(read.ids)) == len(read.ids)
    return answer.text, read


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        ("/laws", {}, "法规与规则"),
        ("/laws?lang=en", {}, "The law and its rules"),
        ("/laws", {"accept-language": "en"}, "The law and its rules"),
        ("/laws", {"accept-language": "zh-CN,en;q=0.5"}, "法规与规则"),
        ("/laws?on=2018-06-01&lang=en", {}, "General Data Protection Regulation"),
        (RULE, {}, "《生物安全法》第五十七条"),
        (f"{RULE}?lang=en", {}, "Biosecurity Law art. 57"),
        (f"{RULE}?lang=en&on=2019-07-01", {}, "Effect"),
        (f"{RULE}?lang=en", {}, '<code class="quiet">paper.prior_report.in_force</code>'),
        (f"{RULE}?lang=en", {}, "the bank&#39;s records"),
        (
            f"{RULE}?lang=en&on=2019-06-30",
            {},
            "Not in force on 2019-06-30: it begins on 2019-07-01",
        ),
        (f"{RULE}?lang=en&on=2021-04-14", {}, "An old edition: replaced on 2021-04-15"),
        (f"{RULE}?on=2021-04-14", {}, "旧版本：自 2021-04-15 起"),
        (f"{RULE}?lang=en&on=", {}, "All of:"),
        (f"{RULE}?lang=en", {}, '<strong>holds</strong> · <span lang="en">genomes to a foreign'),
        (f"{RULE}?lang=en", {}, '<code class="quiet">paper.prior_report.recorded</code>: no'),
        (RULE, {}, '信息对外提供或者开放使用事先报告 <code class="quiet">prior_report</code>'),
        (f"{RULE}?lang=en", {}, 'information provision <code class="quiet">prior_report</code>'),
        (RULE, {}, '</code>：双方均可使用数据 <code class="quiet">data_use_both</code>'),
        (
            GDPR,
            {},
            '属于 奥地利 <code class="quiet">AT</code>、比利时 <code class="quiet">BE</code>',
        ),
        (f"{GDPR}?lang=en", {}, 'is among Austria <code class="quiet">AT</code>, Belgium'),
        (f"{RULE}", {}, "<strong>未知</strong>"),
        (f"{ENDED}?lang=en", {}, "Ended: no longer in force since 2023-07-01"),
        (f"{DRAFTED}?lang=en&draft=2026-05-08", {}, "A draft, not law: it decides nothing"),
        (f"{DRAFTED}?draft=2026-05-08", {}, "<title>R-SCO-01"),
        (f"{DRAFTED}?lang=en", {}, "<strong>draft, not law</strong>"),
        ("/laws/cn-criminal-law/implanting-edited-embryos-may-be-a-crime", {}, "（条号待核）"),
        ("/laws/institution/ai-training-is-judged?lang=en", {}, "What an officer will ask"),
        (GDPR, {}, "内容待核"),
        (HARM, {}, "《生物安全法》第五十五条（2021-04-15 起）"),
        (f"{HARM}?lang=en&on=2020-01-01", {}, "Biosecurity Law art. 55 (since 2021-04-15)"),
    ],
)
def test_pages(door: Door, path: str, headers: dict, said: str) -> None:
    text, _ = page(door, path, **headers)
    assert said in text


def test_every_link_of_the_law_leads_somewhere(door: Door) -> None:
    _, read = page(door, "/laws")
    rules = [link for link in read.links if re.match(r"/laws/[^?]+/", link)]
    assert len(rules) > 100
    for link in {*rules[:5], *rules[-5:]}:
        page(door, link)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("q=R-INF-03", {"security-review-needed", "other-sequence-over-500-is-judged"}),
        ("q=r-inf-03&on=2019-06-30", set()),
        (
            "q=" + quote("安全审查 37"),
            {
                "security-review-needed",
                "other-sequence-over-500-is-judged",
                "covered-genomes-over-500-are-judged",
            },
        ),
        (
            "q=DRAFT&on=2026-05-08",
            {"non-genetic-information-is-outside", "control-below-half-is-proven"},
        ),
        ("q=no-rule-says-this", set()),
    ],
)
def test_rules_are_found_by_number_and_by_word(door: Door, asked: str, found: set[str]) -> None:
    text, read = page(door, f"/laws?lang=en&{asked}")
    assert {
        link.split("/")[3].split("?")[0] for link in read.links if re.match("/laws/.*/", link)
    } == found
    assert f": {len(found)} rule" in text


def test_what_was_looked_for_is_shown_and_never_obeyed(door: Door) -> None:
    text, _ = page(door, "/laws", params={"q": '"><b>x', "lang": "en"})
    assert "<b>" not in text
    assert 'value="&#34;&gt;&lt;b&gt;x"' in text


def test_every_field_of_the_form_says_what_it_is(door: Door) -> None:
    text, _ = page(door, "/laws")
    form = text[text.index("<form") : text.index("</form>")]
    fields = re.findall(r"<input[^>]*>", form)
    labelled = re.findall(r"<label>[^<]+ <input[^>]*></label>", form)
    hidden = [one for one in fields if 'type="hidden"' in one]
    assert (len(fields), len(hidden), len(labelled)) == (3, 1, 2)


def test_the_other_language_keeps_what_was_asked(door: Door) -> None:
    _, read = page(door, "/laws?q=R-INF-03&on=2024-01-01&lang=en")
    assert "/laws?q=R-INF-03&on=2024-01-01&lang=zh" in read.links
    _, read = page(door, f"{DRAFTED}?draft=2026-05-08&lang=zh", host="elsewhere.example")
    assert f"{DRAFTED}?draft=2026-05-08&lang=en" in read.links


def test_drafts_and_ended_rules_stand_apart(door: Door) -> None:
    text, read = page(door, "/laws?lang=en")
    law, drafts = text.split('<h2 id="drafts">')
    assert "Not law" in drafts
    assert f"{DRAFTED}?draft=2026-05-08&lang=en" in read.links
    assert "draft=" not in law
    assert law.count("<strong>ended</strong>") == 2
    before, _ = page(door, "/laws?lang=en&on=2026-05-07")
    assert "drafts" not in before
    assert "This is the law as of 2026-05-07, not of today" in before
    assert "not of today" not in text


@pytest.mark.parametrize(
    "path",
    [
        f"{RULE}?draft=2026-05-08",
        f"{DRAFTED}?draft=2026-05-09",
        "/laws/cn-hgr/no-such-rule",
        "/laws/cn-pipl/prior-report-needed",
        "/laws/x/y",
    ],
)
def test_a_rule_that_is_not_there(door: Door, path: str) -> None:
    assert door.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/laws?on=yesterday",
        f"/laws?q={'x' * 201}",
        f"{RULE}?draft=",
        "/laws?lang=fr",
        "/laws/CN/prior-report-needed",
    ],
)
def test_bad_requests_for_pages(door: Door, path: str) -> None:
    assert door.get(path).status_code == 422


def test_findings_link_to_their_rule_and_say_it_all_in_words(door: Door, cast: Cast) -> None:
    price = {"price_fen": 90000, "cost_fen": 50000, "cost_documented": True}
    made = good(door.post("/v1/evaluations", json={"ask": ask(price=price)}, as_=cast.key))
    assert "R-GEN-04" in made["text"]["zh"]
    assert made["text"]["en"].startswith("Outcome: denied")
    links = [one["law"] for one in made["blockers"] + made["basis"] if one["law"]]
    assert links
    for link in links:
        page(door, link)


def test_ways_to_a_permit(door: Door, cast: Cast) -> None:
    price = {"price_fen": 90000, "cost_fen": 50000, "cost_documented": True}
    made = good(door.post("/v1/evaluations", json={"ask": ask(price=price)}, as_=cast.key))
    ways = good(door.get(f"{made['links']['self']}/ways", as_=cast.key))["ways"]
    (move,) = ways[0]["moves"]
    assert (move["kind"], move["fact"]) == ("field", "request.price_fen")
    assert move["pointer"] == "/ask/price/price_fen"
    assert ways[0]["people"]["exact"] is False
    assert door.get(f"{made['links']['self']}/ways", as_=cast.other_key).status_code == 404
