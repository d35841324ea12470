"""Example bodies of the contract; a test sends each to the demo world.

Ids are those of the demo world, which are fixed. `{name}` stands for what only exists once it was made:
a request, a tube of a release, a code that is good for seconds (`tests/openapi`).
"""

from __future__ import annotations

from typing import Any, Final

#: A digest that is plainly made up.
DIGEST: Final = "0" * 63 + "1"

ASK: Final[dict[str, Any]] = {
    "project": "prj_hospital_hmb",
    "recipient": "pty_shanghai_hospital",
    "recipient_role": "partner",
    "recipient_has_access": True,
    "sponsor": "none",
    "beneficiary": "none",
    "host": {"operator": "pty_shanghai_hospital", "place": "CN"},
    "users": [{"researcher": "res_li_wei", "access_country": "CN"}],
    "outputs": ["individual"],
    "purpose": {
        "research": "health",
        "text": "外周血细胞表型与淋巴瘤预后的关系",
        "commercial": False,
        "genetic": False,
        "publication_planned": True,
        "publication_from": "2029-01-01",
        "collaborators": [],
    },
    "clinical_care": False,
    "research_use": True,
    "items": {"kinds": ["plasma"], "cohort": {"collections": ["col_chb"]}, "units_each": 1},
    "price": {"price_fen": 50000, "cost_fen": 50000, "cost_documented": True},
    "leftover": "destroy",
    "material_exits": False,
    "extracts_nucleic_acid": False,
    "produced_in_cooperation": False,
    "embryo_or_germline": "none",
    "new_biomedical_technology": False,
    "pi_form": "deidentified",
}

PAPER: Final[dict[str, Any]] = {
    "kind": "ethics",
    "number": "虚构伦审〔2026〕001号",
    "issuer": "虚构医学伦理委员会",
    "holder": "pty_shanghai_hospital",
    "project": "prj_hospital_hmb",
    "valid_from": "2026-01-01",
    "valid_to": "2030-12-31",
    "scope": {"purposes": ["health"], "committee_registered": True},
    "document_sha256": DIGEST,
}

CORRECTION: Final[dict[str, Any]] = {
    "kind": "party",
    "subject": "pty_hk_subsidiary",
    "act": "correct",
    "values": {"registration": "虚构登记号-更正"},
    "reason": "登记时抄错登记号,现按登记机关出具的证明更正。",
    "evidence_sha256": DIGEST,
}

DETERMINATION: Final[dict[str, Any]] = {
    "subject": "pty_hk_subsidiary",
    "finding": "party_chinese",
    "value": True,
    "reason": "经核对股权登记与章程,该公司由内地集团实际控制,依据《人类遗传资源管理条例实施细则》认定为中方单位。",
    "evidence_sha256": DIGEST,
}

MAPPING: Final[dict[str, Any]] = {
    "always": {
        "permissions": ["DUO:0000006"],
        "told": ["purpose", "use", "health_effect", "privacy", "voluntary", "withdrawal"],
    },
    "ticks": {},
}

PARTY: Final[dict[str, Any]] = {
    "name_zh": "虚构生物科技有限公司",
    "name_en": "Invented Biotech Co., Ltd.",
    "country": "CN",
    "legal_person": True,
    "not_for_profit": False,
}

EDGE: Final[dict[str, Any]] = {
    "owner": "pty_foreign_pharma",
    "owned": "pty_shanghai_hospital",
    "share": "1/4",
    "valid_from": "2026-01-01",
    "evidence": "虚构的股东名册第3页",
}

NAME: Final[dict[str, Any]] = {
    "name_zh": "虚构制药(更名后)公司",
    "name_en": "Invented Pharma (renamed) Inc",
    "since": "2026-01-01",
    "evidence": "虚构的变更登记通知书",
}

MERGER: Final[dict[str, Any]] = {
    "into": "pty_foreign_pharma",
    "on": "2026-10-01",
    "evidence": "虚构的吸收合并公告",
}

PACKS: Final[dict[str, Any]] = {
    "files": {"checked.yaml": "# 低置信度规则的核对记录\nchecked: []\n"},
    "reason": "改写核对记录的说明文字,规则本身不变,请第二人启用。",
}

#: The example bank has opened its counters; so this file declares none, and states nothing.
OPENING: Final[dict[str, Any]] = {
    "content": "format: hgr-opening-1\nbank: bank.example/hgr\nthrough: 2026-11-22\nwhole: []\nnote: 既往提供(虚构)\n",
}
CONFIRMATION: Final[dict[str, Any]] = {"sha256": "{opening_digest}"}

PROJECT: Final[dict[str, Any]] = {
    "party": "pty_shanghai_hospital",
    "title": "淋巴瘤血浆标志物研究(虚构)",
    "chinese_participation": True,
}

RESEARCHER: Final[dict[str, Any]] = {
    "employer": "pty_shanghai_hospital",
    "name": "张虚构",
    "nationality": "CN",
}

KEY: Final[dict[str, Any]] = {
    "party": "pty_shanghai_hospital",
    "label": "流水线",
    "scopes": ["samples:query", "requests:read"],
    "expires_at": "2027-06-30T00:00:00Z",
}

PERSON: Final[dict[str, Any]] = {
    "login": "li.xugou",
    "name": "李虚构",
    "party": "pty_bank",
    "roles": ["officer"],
    "password": "correct horse battery staple",
}

SESSION: Final[dict[str, Any]] = {
    "login": "{officer_login}",
    "password": "{officer_password}",
    "code": "{officer_code}",
}

HANDOVER: Final[dict[str, Any]] = {
    "how": "courier",
    "tubes": ["{tubes}"],
    "files": {},
}

RECEIPT: Final[dict[str, Any]] = {
    "manifest_sha256": "{manifest_sha256}",
    "statement": "已收到清单所列样本,包装完好。",
}
