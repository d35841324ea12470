"""The law as pages, and what would permit: as a reader and a researcher see them."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from tests.gateway.api.cast import Cast, ask
from tests.gateway.api.door import Door, good

RULE = "/laws/cn-hgr/prior-report-needed"


class Whole(HTMLParser):
    """Counts what is opened and closed, and collects links and ids."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})

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


def page(door: Door, path: str, **headers: str) -> tuple[str, Whole]:
    answer = door.get(path, headers=headers)
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
        (f"{RULE}?lang=en", {}, "<code>paper.prior_report.in_force</code>"),
        (f"{RULE}?lang=en", {}, "the bank&#39;s records"),
        (f"{RULE}?lang=en&on=2019-06-30", {}, "Not in force on that day"),
        ("/laws/institution/ai-training-is-judged?lang=en", {}, "What an officer will ask"),
        ("/laws/eu-gdpr/eea-receiver-settles-its-gdpr-role", {}, "内容待核"),
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
    "path", ["/laws/cn-hgr/no-such-rule", "/laws/cn-pipl/prior-report-needed", "/laws/x/y"]
)
def test_a_rule_that_is_not_there(door: Door, path: str) -> None:
    assert door.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/laws?on=yesterday", "/laws?lang=fr", "/laws/CN/prior-report-needed"]
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
