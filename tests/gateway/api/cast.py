"""Who acts in the tests, and a story in which every kind of thing has happened once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pyotp
import sqlalchemy as sa

from gateway.api import examples
from gateway.app import create_app
from gateway.bank import Bank
from gateway.demo_world import World
from gateway.identity import api_keys, people
from gateway.identity.scopes import KEY_SCOPES
from gateway.tables import Holding, ReleaseItem, table_of
from tests.gateway.api.door import Door, good

PASSWORD = "a long invented passphrase"
HOSPITAL = "pty_shanghai_hospital"
OTHER = "pty_cart_domestic"

#: login → role
PEOPLE = {
    "officer.one": "officer",
    "officer.two": "officer",
    "officer.three": "officer",
    "admin.one": "administrator",
    "auditor.one": "auditor",
    "regulator.one": "regulator",
}


@dataclass(frozen=True, slots=True)
class Cast:
    """Credentials by role, and the ids of what was made."""

    key: str
    key_id: str
    token: str
    other_key: str
    sessions: Mapping[str, str]  # login → session token
    totp: Mapping[str, str]  # login → secret
    made: dict[str, str] = field(default_factory=dict)

    @property
    def officer(self) -> str:
        return self.sessions["officer.one"]

    @property
    def second(self) -> str:
        return self.sessions["officer.two"]

    @property
    def roles(self) -> dict[str, str | None]:
        """Every kind of caller by name; nobody has no credential."""
        return {
            "researcher key": self.key,
            "researcher token": self.token,
            "officer": self.officer,
            "administrator": self.sessions["admin.one"],
            "auditor": self.sessions["auditor.one"],
            "regulator": self.sessions["regulator.one"],
            "nobody": None,
        }


def ask(**changes: Any) -> dict[str, Any]:
    """The contract's own example of a request, changed."""
    return {**json.loads(json.dumps(examples.ASK)), **changes}


def code_for(bank: Bank, secret: str) -> str:
    return pyotp.TOTP(secret).at(bank.now())


def enrol(bank: Bank) -> dict[str, str]:
    """Everybody of the bank: login → secret of the code generator."""
    hashed = people.hash_password(PASSWORD, login="nobody")
    secrets = {}
    for login, role in PEOPLE.items():
        new = people.NewPerson(
            login=login, name=login, party_id=bank.party_id, roles=(role,), password_hash=hashed
        )
        made = bank.database.write(partial(people.create, bank=bank, new=new))
        secrets[login] = made.totp_secret
    return secrets


def mint(bank: Bank, party: str, scopes: tuple[str, ...] | None = None) -> api_keys.Minted:
    wanted = api_keys.Wanted(
        party_id=party,
        label="试验",
        scopes=scopes or tuple(sorted(KEY_SCOPES)),
        expires_at=bank.now() + timedelta(days=300),
    )
    return bank.database.write(partial(api_keys.mint, bank=bank, wanted=wanted, created_by="test"))


def sign_in(door: Door, bank: Bank, login: str, secret: str) -> str:
    body = {"login": login, "password": PASSWORD, "code": code_for(bank, secret)}
    return str(good(door.post("/v1/sessions", json=body), 201)["token"])


def staged(bank: Bank, world: World) -> Cast:
    """Make it all through the API, as people would."""
    secrets = enrol(bank)
    key, other = mint(bank, HOSPITAL), mint(bank, OTHER)
    with Door(create_app(bank)) as door:
        sessions = {login: sign_in(door, bank, login, secret) for login, secret in secrets.items()}
        form = {
            "grant_type": "client_credentials",
            "client_id": key.key.id,
            "client_secret": key.text,
        }
        token = good(door.post("/oauth/token", data=form))["access_token"]
        cast = Cast(key.text, key.key.id, token, other.text, sessions, secrets)
        _story(door, bank, cast)
        cast.made["spare_key"] = mint(bank, HOSPITAL).key.id
        cast.made["donor"] = (
            world.donors["NA18525"]
            if "NA18525" in world.donors
            else next(iter(world.donors.values()))
        )
    return cast


def submit(door: Door, cast: Cast, **changes: Any) -> dict[str, Any]:
    body = {"ask": ask(**changes)}
    return dict(good(door.post("/v1/access-requests", json=body, as_=cast.key), 201))


def approve(door: Door, cast: Cast, case_id: str) -> dict[str, Any]:
    """Two officers approve what may be approved."""
    case = door.get(f"/v1/cases/{case_id}", as_=cast.officer)
    shape = good(case)
    body = {
        "command": "recommend",
        "recommendation": "approve",
        "reason": "经核对,研究目的与知情同意范围一致,拟同意提供所申请的样本。",
        "dispositions": dict.fromkeys(shape["dispose"], "已逐项核对,予以接受。"),
    }
    path = f"/v1/cases/{case_id}/commands"
    headers = {"If-Match": case.headers["ETag"]}
    first = door.post(path, json=body, headers=headers, as_=cast.officer)
    good(first)
    body = {"command": "concur", "reason": "复核无异议,同意一审意见,可以提供所申请的样本。"}
    headers = {"If-Match": first.headers["ETag"]}
    return dict(good(door.post(path, json=body, headers=headers, as_=cast.second)))


def release(door: Door, cast: Cast, grant: str, key: str) -> dict[str, Any]:
    headers = {"Idempotency-Key": key}
    answer = door.post(f"/v1/grants/{grant}/releases", headers=headers, as_=cast.key)
    return dict(good(answer, 201))


def tubes_of(bank: Bank, release_id: str) -> list[str]:
    """The tube codes of a release, as staff would scan them."""
    holding, item = table_of(Holding), table_of(ReleaseItem)
    query = sa.select(holding.c.code).join(item, item.c.holding_id == holding.c.id)
    with bank.database.read() as conn:
        return list(conn.execute(query.where(item.c.release_id == release_id)).scalars())


def _story(door: Door, bank: Bank, cast: Cast) -> None:
    made = cast.made
    body = {"ask": ask(), "draft": True}
    made["draft"] = good(door.post("/v1/access-requests", json=body, as_=cast.key), 201)["id"]
    waiting = submit(door, cast)
    made |= {"request": waiting["request"], "case": waiting["case"], "decision": waiting["id"]}
    made["grant"] = approve(door, cast, submit(door, cast)["case"])["grant"]
    made["released_grant"] = approve(door, cast, submit(door, cast)["case"])["grant"]
    out = release(door, cast, made["released_grant"], "story-1")
    made["release"] = out["id"]
    grant = approve(door, cast, submit(door, cast)["case"])["grant"]
    out = release(door, cast, grant, "story-2")
    made |= {"handed_release": out["id"], "manifest_sha256": out["manifest_sha256"]}
    scanned = {"how": "courier", "tubes": tubes_of(bank, out["id"])}
    path = f"/v1/releases/{out['id']}/handover"
    good(door.post(path, json=scanned, as_=cast.officer))
    paper = door.post("/v1/papers", json=examples.PAPER, as_=cast.second)
    made["unchecked_paper"] = good(paper, 201)["id"]
    finding = door.post("/v1/determinations", json=examples.DETERMINATION, as_=cast.second)
    made["proposed_determination"] = good(finding, 201)["id"]
    mapping = door.post("/v1/forms/frm_acb/mappings", json=examples.MAPPING, as_=cast.second)
    made["proposed_mapping"] = good(mapping, 201)["id"]
    correction = door.post("/v1/corrections", json=examples.CORRECTION, as_=cast.second)
    made["proposed_correction"] = good(correction, 201)["id"]
    packs = {**examples.PACKS, "files": {"checked.yaml": "# 另一说明\nchecked: []\n"}}
    proposed = door.post("/v1/law/generations", json=packs, as_=cast.sessions["admin.one"])
    made["proposed_generation"] = good(proposed, 201)["id"]
    past = {"content": f"{examples.OPENING['content']}# 另一份\n"}
    opening = good(door.post("/v1/openings", json=past, as_=cast.second), 201)
    made["proposed_opening"], made["opening_digest"] = opening["id"], opening["sha256"]
    made["duty"] = good(door.get("/v1/duties", as_=cast.officer))["data"][0]["id"]
    export = door.post("/v1/audit/exports", as_=cast.sessions["regulator.one"])
    made["export"] = good(export, 201)["id"]
