"""The main job, told: a real server on a filled bank, driven over HTTP by four kinds of people.

Everything but the 1000 Genomes sample ids is invented. Each step checks what came back; the story ends
with exit code 0 only if every step came out as it should.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from pyotp.totp import TOTP
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from gateway import demo_world
from gateway.bank import Bank, create_bank, system_clock
from gateway.identity import people
from gateway.identity.scopes import KEY_SCOPES, Role
from gateway.reports import reading
from gateway.settings import Settings

#: login → (name, role); all invented.
STAFF = {
    "li.ming": ("李明（虚构）", Role.OFFICER),
    "wang.fang": ("王芳（虚构）", Role.OFFICER),
    "zhao.admin": ("赵管（虚构）", Role.ADMINISTRATOR),
    "zhou.inspector": ("周巡（虚构，主管部门）", Role.REGULATOR),
}
READY_SECONDS = 30  # how long a server may take to answer for the first time
DIGEST = "0" * 63 + "1"  # of documents nobody ever wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A login of the demo: shown to whoever keeps it serving."""

    login: str
    name: str
    password: str
    totp_secret: str


class UnexpectedError(Exception):
    """A step of the story came out otherwise than it should."""


@dataclass(slots=True)
class Stage:
    """A filled bank being served, and everybody who speaks to it."""

    settings: Settings
    world: demo_world.World
    accounts: Mapping[str, Account]
    process: subprocess.Popen[bytes]
    http: httpx.Client
    sessions: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, port: int | None = None) -> Iterator[Stage]:
        """Fill a new bank in `folder`, serve it, and stop serving at the end."""
        settings = Settings(
            data_dir=folder / "bank",
            keys_dir=folder / "keys",
            database_url=SecretStr(""),  # a file of its own, whatever bank the environment names
            port=port or cls.free_port(),
        )
        bank = create_bank(
            settings,
            origin="demo.invalid/hgr-log",
            name_zh="虚构人类遗传资源保藏库",
            name_en="Invented HGR Biobank",
            invented=True,
        )
        try:
            world = bank.database.write(
                lambda conn: demo_world.fill(conn, bank, now=system_clock())
            )
            accounts = {login: _enrol(bank, login) for login in STAFF}
        finally:
            bank.database.close()
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"],
            env=os.environ | _environment(settings),
            stdout=subprocess.DEVNULL,
        )
        try:
            with httpx.Client(base_url=settings.issuer, timeout=30) as http:
                _wait_until_ready(process, http)
                yield cls(settings, world, accounts, process, http)
        finally:
            process.terminate()
            process.wait(timeout=20)

    @staticmethod
    def free_port(wanted: int = 0) -> int:
        """`wanted` if nobody listens there now, or some other free port."""
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                return Stage.free_port()
            return int(probe.getsockname()[1])

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.settings.port

    def as_person(self, login: str) -> str:
        """A session of this person, opened at the first call with password and code."""
        if login not in self.sessions:
            account = self.accounts[login]
            body = {
                "login": login,
                "password": account.password,
                "code": TOTP(account.totp_secret).now(),
            }
            self.sessions[login] = self.post(None, "/v1/sessions", body, 201)["token"]
        return self.sessions[login]

    def key_of(self, party: str, label: str) -> str:
        """A new API key of an organisation, issued by the administrator."""
        body = {
            "party": self.world.parties[party],
            "label": label,
            "scopes": sorted(KEY_SCOPES),
            "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        }
        issued: str = self.post(self.as_person("zhao.admin"), "/v1/keys", body, 201)["key"]
        return issued

    def token(self, key: str | None = None) -> str:
        """An access token by client credentials (RFC 6749 §4.4)."""
        key = key or self.key_of("shanghai_hospital", "bench")
        answer = self.http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(key.split("_")[2], key),
        )
        return str(_json_of(answer, 200)["access_token"])

    def get(self, credential: str | None, path: str, status: int = 200) -> dict[str, Any]:
        """What GET answers; `UnexpectedError` for another status."""
        return _json_of(self.http.get(path, headers=_bearer(credential)), status)

    def post(
        self,
        credential: str | None,
        path: str,
        body: Mapping[str, Any] | None = None,
        status: int = 200,
        *,
        if_match: int | None = None,
    ) -> dict[str, Any]:
        """What POST answers; `UnexpectedError` for another status."""
        headers = _bearer(credential) | {"Idempotency-Key": secrets.token_hex(16)}
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        return _json_of(self.http.post(path, json=body, headers=headers), status)

    def ask(self, who: str, study: str, person: str, **changes: Any) -> dict[str, Any]:
        """A domestic, non-commercial request for blood cells of one site, changed as told."""
        party = self.world.parties[who]
        return {
            "project": self.world.projects[study],
            "recipient": party,
            "sponsor": "none",
            "beneficiary": "none",
            "host": {"operator": party, "place": "CN"},
            "users": [{"researcher": self.world.researchers[person], "access_country": "CN"}],
            "outputs": ["individual"],
            "purpose": {
                "research": "health",
                "text": "淋巴瘤免疫微环境（虚构）",
                "commercial": False,
                "genetic": True,
                "publication_planned": True,
                "publication_from": "2028-01-01",
                "collaborators": [],
            },
            "items": {
                "kinds": ["blood_cells"],
                "cohort": {"collections": [self.world.collections["chb"]]},
            },
            "price": {"price_fen": 50_000, "cost_fen": 50_000, "cost_documented": True},
            "leftover": "destroy",
            "material_exits": False,
            "extracts_nucleic_acid": False,
            "clinical_care": False,
            "research_use": True,
            "prc_authority_approval": False,
            "embryo_or_germline": "none",
            "new_biomedical_technology": False,
            "pi_form": "deidentified",
        } | changes

    def abroad(self, **changes: Any) -> dict[str, Any]:
        """The foreign university's request for genomes under its approved cooperation."""
        place = {
            "recipient_role": "partner",
            "recipient_has_access": True,
            "host": {"operator": self.world.parties["foreign_university"], "place": "GB"},
            "users": [{"researcher": self.world.researchers["smith"], "access_country": "GB"}],
            "items": {
                "kinds": ["genome"],
                "cohort": {"collections": [self.world.collections["chb"]]},
            },
            "agreement": {
                "signed": True,
                "clauses": ["records_open", "backup", "joint_patents", "benefit", "no_onward"],
            },
            "produced_in_cooperation": False,
            "site": "single",
            "changes": [],
            "quantities": {"protocol_people": 600, "protocol_units": 2000, "form_units": 2000},
        }
        return self.ask("foreign_university", "sino_foreign", "smith", **place | changes)

    def bench_request(self) -> dict[str, Any]:
        """Ten samples, aggregates only, at home: permitted and granted at once."""
        with self.database() as conn:
            rows = conn.execute(
                "SELECT d.code FROM donor d JOIN holding h ON h.donor_id = d.id "
                "JOIN consent c ON c.id = h.consent_id JOIN consent_profile p ON p.id = c.profile_id "
                "WHERE h.kind = 'genome' AND h.collection_id = ? AND p.ticks LIKE '%\"gru\"%' "
                "AND c.written AND c.signed_on <= h.collected_on AND c.expires_on IS NULL "
                "AND d.id NOT IN (SELECT donor_id FROM withdrawal) ORDER BY d.code LIMIT 10",
                (self.world.collections["chb"],),
            ).fetchall()
        cohort = {"samples": [code for (code,) in rows]}
        items = {"kinds": ["genome"], "cohort": cohort}
        ask = self.ask(
            "shanghai_hospital",
            "hospital_hmb",
            "li_wei",
            outputs=["aggregate"],
            items=items,
            host={"operator": self.world.parties["bank"], "place": "CN"},
        )
        return {"ask": ask}

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The bank's own file, read only: what its freezer list would say."""
        conn = sqlite3.connect(f"file:{self.settings.database}?mode=ro", uri=True)
        try:
            yield conn
        finally:
            conn.close()


def tell(folder: Path | None, out: Console) -> int:
    """The whole story; 0 if every step came out as it should. `folder` None: nothing is kept."""
    started = time.monotonic()
    with _place(folder) as place:
        out.print(Panel("人类遗传资源网关 · 演示（机构、人员、同意、文件均为虚构）"))
        try:
            with Stage.open(place) as stage:
                Story(stage, out, place).run()
        except (UnexpectedError, httpx.HTTPError, KeyError) as error:
            out.print(f"[red]✗ 与预期不符 · not as it should be:[/red] {escape(str(error))}")
            return 1
        took = time.monotonic() - started
        out.print(
            f"\n[green]✓[/green] 全部步骤符合预期 · every step as it should be ({took:.0f} s)"
        )
        if folder is None:
            out.print(
                "留存一份 · to keep one: hgr demo --data DIR;持续运行 · keep it running: make serve"
            )
        else:
            out.print(
                f"库、密钥与导出包在 · bank, keys and export.zip are in {folder}", soft_wrap=True
            )
            out.print(f"  hgr audit verify {folder / 'export.zip'}", soft_wrap=True)
            out.print(f"  hgr audit report {folder / 'export.zip'}", soft_wrap=True)
    return 0


def keep_serving(folder: Path | None, out: Console) -> int:
    """Fill a bank, print how to reach it, and serve until interrupted."""
    # A stop by `kill` must end the server too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    port = Stage.free_port(Settings.model_fields["port"].default)
    with _place(folder) as place, Stage.open(place, port) as stage:
        key = stage.key_of("cart_domestic", "make serve")
        where = stage.settings.issuer
        lines = [f"地址 · address  {where}", f"法规 · the law  {where}/laws"]
        lines += [f"密钥 · API key  {key}", ""]
        lines += [
            f"{a.login}  {a.name} · {STAFF[a.login][1]}\n  密码 · password {a.password}\n  TOTP {a.totp_secret}"
            for a in stage.accounts.values()
        ]
        lines += [
            "",
            "此刻的验证码 · the code now:",
            "  .venv/bin/python -c 'import pyotp; print(pyotp.TOTP(\"TOTP\").now())'",
            "Ctrl-C 停止 · stops it",
        ]
        out.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
        with suppress(KeyboardInterrupt):
            return stage.process.wait()
    return 0


class Story:
    """The steps, in order; each says what it does and shows what came back."""

    def __init__(self, stage: Stage, out: Console, place: Path) -> None:
        self.stage = stage
        self.out = out
        self.place = place
        self.number = 0

    def run(self) -> None:
        """From the first key to the changed byte."""
        hospital = self.first_key()
        self.dry_run(hospital)
        self.permit_at_once(hospital)
        partial = self.partial_permit(hospital)
        university = self.stage.key_of("foreign_university", "demo")
        held = self.hold(university)
        self.refer(hospital)
        self.denials(hospital, university)
        self.four_eyes(partial)
        grant = self.four_eyes(held)
        self.tubes(hospital, partial)
        self.withdrawal(university, grant)
        self.regulator()

    def step(self, zh: str, en: str) -> None:
        """Begin the next step."""
        self.number += 1
        self.out.print(f"\n[bold cyan]{self.number:2}. {zh}[/bold cyan]  [dim]{en}[/dim]")

    def say(self, text: str) -> None:
        """One line of what came back."""
        self.out.print(f"    {text}", soft_wrap=True, highlight=False)

    def expect(self, *, that: bool, what: str) -> None:
        """Stop the story if it is not so."""
        if not that:
            raise UnexpectedError(f"step {self.number}: {what}")

    def show(self, answer: Mapping[str, Any], outcome: str, only: str | None = None) -> None:
        """A decision as the caller sees it, and that its outcome is the one expected.

        `only`: show blockers of this effect and of the request as a whole.
        """
        words = {"permit": "准予", "hold": "暂缓", "refer": "转人工", "deny": "不予"}
        asked, may = answer["asked"]["people"]["shown"], answer["permitted"]["people"]["shown"]
        self.say(
            f"判定 [bold]{words[answer['outcome']]}[/bold] ({answer['outcome']}) · 申请 {asked} 人,"
            f"可提供 {may} 人 · 日志第 {answer['log']['index']} 条"
        )
        shown = [
            b
            for b in answer["blockers"]
            if only is None or (b["effect"] == only and b["level"] == "request")
        ]
        for one in shown:
            open_ = "〔尚不能判断〕" if one["result"] == "unknown" else ""
            self.say(
                f"  · {one['no'] or ''} {open_}{one['says']['zh']}{_cited(one)}{_counted(one)}"
            )
        self.expect(
            that=answer["outcome"] == outcome, what=f"{answer['outcome']}, {outcome} was due"
        )

    def first_key(self) -> str:
        """Issue an API key, exchange it for a token."""
        self.step("管理员签发 API 密钥,研究者换取访问令牌", "API key → token")
        key = self.stage.key_of("shanghai_hospital", "demo")
        token = self.stage.token(key)
        self.say(f"密钥 {key[:20]}…（仅显示一次） → 令牌 {token[:24]}…（十分钟）")
        return token

    def dry_run(self, token: str) -> None:
        """Ask before asking."""
        self.step("试算:能不能批,差什么", "dry run")
        ask = self.stage.ask("shanghai_hospital", "hospital_hmb", "li_wei")
        self.show(self.stage.post(token, "/v1/evaluations", {"ask": ask}), "permit")

    def permit_at_once(self, token: str) -> None:
        """Aggregates at home need no person."""
        self.step("数据留在库内,只出汇总结果:准予,即时授权", "permit, granted at once")
        answer = self.stage.post(token, "/v1/access-requests", self.stage.bench_request(), 201)
        self.show(answer, "permit")
        self.expect(that=answer["grant"] is not None, what="no grant")
        grant = self.stage.get(token, f"/v1/grants/{answer['grant']}")
        self.say(f"授权 {grant['id']} 至 {grant['until']}")

    def partial_permit(self, token: str) -> str:
        """Donors are left out for their own reasons, and counted by reason."""
        self.step("外周血细胞:部分准予,逐项说明排除人数", "partial permit")
        ask = self.stage.ask("shanghai_hospital", "hospital_hmb", "li_wei")
        answer = self.stage.post(token, "/v1/access-requests", {"ask": ask}, 201)
        self.show(answer, "permit")
        self.expect(that=answer["state"] == "in_review", what="no person was asked to confirm")
        case = self.stage.get(self.officer(0), f"/v1/cases/{answer['case']}")
        excluded = [b for b in case["evaluation"]["blockers"] if b["level"] == "donor"]
        self.say("审查员所见的精确数字 · what an officer sees:")
        self.show(case["evaluation"], "permit")
        self.expect(that=bool(excluded), what="nobody was left out")
        return str(answer["case"])

    def hold(self, key: str) -> str:
        """Two papers are missing; two people record them; decided again."""
        self.step(
            "境外大学申请基因组数据:暂缓,缺事先报告与信息备份", "hold: two papers are missing"
        )
        answer = self.stage.post(key, "/v1/access-requests", {"ask": self.stage.abroad()}, 201)
        self.show(answer, "hold")
        self.expect(
            that=set(answer["papers"]) == {"prior_report", "backup"}, what=str(answer["papers"])
        )
        case = self.stage.get(self.officer(0), f"/v1/cases/{answer['case']}")
        world, year = self.stage.world, datetime.now(UTC).year
        for kind, number in (("prior_report", "虚构报告2026-01"), ("backup", "虚构备份2026-01")):
            paper = {
                "kind": kind,
                "number": number,
                "issuer": "虚构主管部门",
                "holder": world.parties["partner_institute"],
                "project": world.projects["sino_foreign"],
                "valid_from": f"{year}-01-01",
                "valid_to": f"{year + 3}-12-31",
                "scope": {
                    "purposes": ["health"],
                    "types": ["genome"],
                    "parties": [
                        world.parties["foreign_university"],
                        world.parties["partner_institute"],
                    ],
                    "dataset_sha256": case["datasets"],
                },
                "document_sha256": DIGEST,
            }
            made = self.stage.post(self.officer(0), "/v1/papers", paper, 201)
            self.stage.post(self.officer(0), f"/v1/papers/{made['id']}:check", status=403)
            self.stage.post(self.officer(1), f"/v1/papers/{made['id']}:check")
            self.say(f"{number}:李明登记,李明自核被拒（403）,王芳核对")
        again = self.command(self.officer(0), answer["case"], {"command": "redecide"})
        self.show(again["evaluation"], "permit")
        return str(answer["case"])

    def refer(self, key: str) -> None:
        """A form nobody has mapped is unknown; two officers say what it means."""
        self.step("旧版知情同意书未经映射:转人工", "refer: an old form nobody has mapped")
        world = self.stage.world
        items = {"kinds": ["whole_blood"], "cohort": {"collections": [world.collections["acb"]]}}
        ask = self.stage.ask("shanghai_hospital", "hospital_hmb", "li_wei", items=items)
        answer = self.stage.post(key, "/v1/access-requests", {"ask": ask}, 201)
        self.show(answer, "refer")
        form = world.forms["acb"]
        told = ["purpose", "use", "health_effect", "privacy", "voluntary", "withdrawal"]
        mapping = {
            "always": {"told": told},
            "ticks": {
                "option_a": {
                    "permissions": ["DUO:0000006"],
                    "terms": {"hgr:commercial_use": False, "hgr:separate_pi_provision": True},
                }
            },
        }
        one, two = self.officer(0), self.officer(1)
        proposed = self.stage.post(one, f"/v1/forms/{form}/mappings", mapping, 201)
        self.stage.post(one, f"/v1/form-mappings/{proposed['id']}:confirm", status=403)
        self.stage.post(two, f"/v1/form-mappings/{proposed['id']}:confirm")
        finding = {
            "subject": form,
            "finding": "form_adequate",
            "value": True,
            "reason": "旧表六项告知齐全,经查阅原件与伦理批件认定适当（虚构）",
            "evidence_sha256": DIGEST,
        }
        proposed = self.stage.post(one, "/v1/determinations", finding, 201)
        self.stage.post(two, f"/v1/determinations/{proposed['id']}:confirm")
        self.say("李明提出、王芳确认:该表勾选项的含义,以及其适当性")
        again = self.command(one, answer["case"], {"command": "redecide"})
        self.show(again["evaluation"], "permit")

    def denials(self, hospital: str, university: str) -> None:
        """What no paper and no officer can turn."""
        world = self.stage.world
        keep = self.stage.abroad(
            project=world.projects["foreign_bank"],
            action="preserve",
            leftover="keep",
            items={"kinds": ["whole_blood"], "cohort": {"collections": [world.collections["chb"]]}},
        )
        price = self.stage.ask(
            "shanghai_hospital",
            "hospital_hmb",
            "li_wei",
            price={"price_fen": 90_000, "cost_fen": 50_000, "cost_documented": True},
        )
        court = self.stage.abroad(
            action="enforcement_request", recipient=world.parties["foreign_court"]
        )
        for zh, en, key, ask, no in (
            (
                "境外方要求自行保藏",
                "a foreign party keeps samples as its own bank",
                university,
                keep,
                "R-FOR-01",
            ),
            ("价格高于有据成本", "a price above documented cost", hospital, price, "R-GEN-04"),
            ("境外法院调取", "a foreign court's demand", university, court, "R-GEN-06"),
        ):
            self.step(f"{zh}:不予", f"deny: {en}")
            answer = self.stage.post(key, "/v1/access-requests", {"ask": ask}, 201)
            self.show(answer, "deny", only="deny")
            named = {b["no"] for b in answer["blockers"] if b["effect"] == "deny"}
            self.expect(that=no in named, what=f"{no} is not among the reasons")

    def four_eyes(self, case: str) -> str:
        """A recommends, B concurs; A alone cannot."""
        self.step("李明拟批准,王芳复核同意", "four eyes: A recommends, B concurs")
        recommend = {
            "command": "recommend",
            "recommendation": "approve",
            "reason": "经核对同意书范围、伦理批件与许可范围,拟批准（虚构）",
        }
        self.command(self.officer(0), case, recommend)
        concur = {"command": "concur", "reason": "复核同意"}
        refused = self.command(self.officer(0), case, concur, status=403)
        self.say(f"李明复核自己的意见:{refused['code']} {refused['status']}")
        done = self.command(self.officer(1), case, concur)
        self.expect(that=done["grant"] is not None, what="no grant came of it")
        self.say(f"授权 · grant {done['grant']}")
        return str(done["grant"])

    def tubes(self, key: str, case: str) -> None:
        """Tubes go out once: released, handed over by somebody, received by somebody."""
        self.step("样本发放、交接与签收", "samples are released, handed over, received")
        answer = self.stage.get(self.officer(0), f"/v1/cases/{case}")
        grants = self.stage.get(key, "/v1/grants")["data"]
        grant = next(g for g in grants if g["request"] == answer["request"])
        released = self.stage.post(key, f"/v1/grants/{grant['id']}/releases", status=201)
        manifest = (
            json.loads(released["manifest"])
            if isinstance(released["manifest"], str)
            else released["manifest"]
        )
        picks = self.stage.get(self.officer(0), f"/v1/releases/{released['id']}/pick-list")["data"]
        hand = {"how": "courier", "tubes": [one["code"] for one in picks]}
        self.stage.post(self.officer(0), f"/v1/releases/{released['id']}/handover", hand)
        receipt = {
            "manifest_sha256": released["manifest_sha256"],
            "statement": "数量与清单相符（虚构）",
        }
        self.stage.post(key, f"/v1/releases/{released['id']}/receipt", receipt)
        self.say(
            f"{manifest['counts']['units']} 管,{manifest['counts']['donors']} 人,课题内化名如 "
            f"{manifest['items'][0]['donor']};李明交付,医院签收"
        )

    def withdrawal(self, key: str, grant: str) -> None:
        """A donor withdraws: the grant shrinks, the next release leaves the donor out."""
        self.step("首次发放数据,签发 GA4GH 签证", "a first release, with its visa")
        path = f"/v1/grants/{grant}/releases"
        first = self.stage.post(key, path, status=201)
        before = self._counts(first)
        self.say(f"{before['donors']} 人,清单 SHA-256 {first['manifest_sha256'][:16]}…")
        self.step("一名捐献者退出:授权立即缩减,下次发放不再包含", "a donor withdraws")
        with self.stage.database() as conn:
            (donor,) = conn.execute(
                "SELECT donor_id FROM grant_item WHERE grant_id = ? AND removed_at IS NULL "
                "ORDER BY donor_id LIMIT 1",
                (grant,),
            ).fetchone()
        where = f"/v1/donors/{donor}/withdrawals"
        body = {"scope": "everything", "channel": "书面"}
        done = self.stage.post(self.officer(1), where, body, 201)
        self.say(
            f"触及授权 {len(done['grants'])} 项,须通知已接收方 {len(done['receivers'])} 家,"
            f"日志第 {done['leaf_index']} 条"
        )
        after = self._counts(self.stage.post(key, path, status=201))
        self.say(f"再次发放:{before['donors']} → {after['donors']} 人")
        self.expect(
            that=after["donors"] == before["donors"] - 1, what="the donor is still in the release"
        )

    def _counts(self, released: Mapping[str, Any]) -> dict[str, int]:
        manifest = released["manifest"]
        decoded: dict[str, Any] = json.loads(manifest) if isinstance(manifest, str) else manifest
        return dict(decoded["counts"])

    def regulator(self) -> None:
        """Export, verify offline, decide again; then one byte is changed."""
        self.step("监管人员导出、离线验证、逐件重新判定", "export, verify offline, replay")
        inspector = self.stage.as_person("zhou.inspector")
        made = self.stage.post(inspector, "/v1/audit/exports", {}, 201)
        package = self.place / "export.zip"
        answer = self.stage.http.get(
            f"/v1/audit/exports/{made['id']}/package", headers=_bearer(inspector)
        )
        package.write_bytes(answer.content)
        with zipfile.ZipFile(package) as archive:
            verifier = self.place / "verify.py"
            verifier.write_bytes(archive.read("verify.py"))
        self.expect(that=self._verify(verifier, package) == 0, what="the package does not verify")
        results = list(reading.replay(package))
        wrong = [r for r in results if not r.same]
        self.say(f"{len(results) - len(wrong)}/{len(results)} 件判定重新得出相同字节")
        self.expect(that=bool(results) and not wrong, what="a decision came out otherwise")
        self.step("改动一个字节:验证指出是哪一条", "one byte is changed")
        broken = self.place / "changed.zip"
        with zipfile.ZipFile(package) as source, zipfile.ZipFile(broken, "w") as target:
            for info in source.infolist():
                content = bytearray(source.read(info))
                if info.filename == "log/entries.jsonl":
                    content[content.index(b'"outcome":"') + len(b'"outcome":"')] ^= 1
                target.writestr(info, bytes(content))
        code = self._verify(verifier, broken)
        broken.unlink()
        verifier.unlink()
        self.expect(that=code == 1, what="the change was not noticed")

    def _verify(self, verifier: Path, package: Path) -> int:
        # -I -S: nothing installed, nothing of ours but the file from the package itself.
        run = subprocess.run(  # noqa: S603 - the file we were given, on the package we were given
            [sys.executable, "-I", "-S", str(verifier), str(package)],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in run.stdout.splitlines():
            if line.strip():
                self.say(escape(line))
        return run.returncode

    def officer(self, which: int) -> str:
        """The first or the second officer's session."""
        return self.stage.as_person(("li.ming", "wang.fang")[which])

    def command(
        self, session: str, case: str, body: Mapping[str, Any], status: int = 200
    ) -> dict[str, Any]:
        """A command on a case as it stands now."""
        revision = self.stage.get(session, f"/v1/cases/{case}")["revision"]
        path = f"/v1/cases/{case}/commands"
        return self.stage.post(session, path, body, status, if_match=revision)


def _cited(blocker: Mapping[str, Any]) -> str:
    articles = "、".join(one["text"]["zh"] for one in blocker["cite"])
    return f"（{articles}）" if articles else ""


def _counted(blocker: Mapping[str, Any]) -> str:
    if blocker["level"] == "request" or blocker["touched"] is None:
        return ""
    touched, alone = blocker["touched"], blocker["freed_if_fixed_alone"]
    return f" 涉及 {touched['shown']} 人,仅因此项 {alone['shown'] if alone else '—'} 人"


def _enrol(bank: Bank, login: str) -> Account:
    name, role = STAFF[login]
    password = secrets.token_urlsafe(12)
    new = people.NewPerson(
        login=login,
        name=name,
        party_id=bank.party_id,
        roles=(role,),
        password_hash=people.hash_password(password, login=login),
    )
    enrolled = bank.database.write(lambda conn: people.create(conn, bank, new))
    return Account(login=login, name=name, password=password, totp_secret=enrolled.totp_secret)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "HGR_DATA_DIR": str(settings.data_dir),
        "HGR_KEYS_DIR": str(settings.keys_dir),
        "HGR_HOST": settings.host,
        "HGR_PORT": str(settings.port),
    }


def _wait_until_ready(process: subprocess.Popen[bytes], http: httpx.Client) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise UnexpectedError(f"the server ended with {process.returncode}")
        try:
            if http.get("/healthz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise UnexpectedError("the server did not answer in time")


def _bearer(credential: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"} if credential else {}


def _json_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    if answer.status_code != status:
        asked = f"{answer.request.method} {answer.request.url.path}"
        raise UnexpectedError(f"{asked}: {answer.status_code}, {status} was due: {answer.text}")
    decoded: dict[str, Any] = answer.json() if answer.content else {}
    return decoded


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hgr-demo-") as temporary:
        yield Path(temporary)
