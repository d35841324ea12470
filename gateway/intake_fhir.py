"""FHIR Consent, R4B and R5, in the terms of a consent row: one resource a line, as Bulk Data has them.

The rules it keeps: nothing is consent that does not say so. A resource counts only while it is `active`, of a
shape its release knows, without modifier extensions, and agreed to by the patient or a guardian; each thing it
permits or denies must be a code that the mapping names; what is limited to an actor, to data or to other
conditions is no tick and refuses the row; the first period that ends is the end of all.

R4B (hl7.org/fhir/R4B/consent-definitions.html): `provision.type` is the "action to take - permit or deny - when the
rule conditions are met. Not permitted in root rule, required in all nested rules." Profiles have it in the root all
the same; it is then what holds where no nested one speaks, and `policyRule` must not say the contrary. R5
(hl7.org/fhir/R5/consent-definitions.html): `decision` is the "action to take - permit or deny - as default", each
`provision` "an exception to the base policy". Exceptions to exceptions have no tick and are refused.

    fhir: R5
    columns: {code: id, donor: subject, signed_on: date, form: {column: policyBasis.url, values: {…: v2}}}
    provisions: [{system: …, code: foreign, permit: foreign, deny: no_foreign}]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gateway.registry.intake import KINDS, Bad, CellError
from policies import strict
from policies.strict import Shape

RELEASES = ("R4B", "R5")
#: What is read of the resource itself; a mapping of columns does not name it.
OURS = frozenset({"ticks", "expires_on", "by_guardian", "guardian_consent"})
#: Without these no consent is known again, or whose it is and from when.
NEEDED = frozenset({"code", "donor", "signed_on"})

_ELEMENTS = {
    "R4B": re.compile(
        r"id|dateTime|policy\.uri|policyRule|sourceReference|patient|(identifier|patient|extension):.+"
    ),
    "R5": re.compile(
        r"id|date|policyBasis\.(url|reference)|policyText|regulatoryBasis|sourceReference|subject"
        r"|(identifier|subject|extension):.+"
    ),
}
_DAY = KINDS["consents"].columns["signed_on"].read

# ---- shapes --------------------------------------------------------------------------------------
# hl7.org/fhir/R4B/consent-definitions.html, hl7.org/fhir/R5/consent-definitions.html, …/datatypes.html. Of what is
# not read here only the name is held. Left out, so that a resource which has one is refused:
# `modifierExtension` and `implicitRules`, which may turn the meaning of all else
# (hl7.org/fhir/R5/extensibility.html#modifierExtension), and the `_name` of a value that is absent for a reason.

_TEXT: Shape = {"type": "string", "empty": False}
_ANY: Shape = {}


def _part(**parts: Shape) -> Shape:
    return {"type": "dict", "schema": {"id": _TEXT, "extension": _ANY, **parts}}


def _many(of: Shape) -> Shape:
    return {"type": "list", "schema": of}


_PERIOD = _part(start=_TEXT, end=_TEXT)
_CODING = _part(
    system=_TEXT, version=_TEXT, code=_TEXT, display=_TEXT, userSelected={"type": "boolean"}
)
_CONCEPT = _part(coding=_many(_CODING), text=_TEXT)
_IDENTIFIER = _part(use=_TEXT, type=_CONCEPT, system=_TEXT, value=_TEXT, period=_ANY, assigner=_ANY)
_REFERENCE = _part(reference=_TEXT, type=_TEXT, identifier=_IDENTIFIER, display=_TEXT)
_VERIFIED: Shape = {"type": "boolean", "required": True}
_EVERY: dict[str, Shape] = {
    "resourceType": _TEXT,
    "id": _TEXT,
    "meta": _ANY,
    "language": _ANY,
    "text": _ANY,
    "contained": _ANY,
    "extension": _many(_part(url={**_TEXT, "required": True}) | {"allow_unknown": True}),
    "identifier": _many(_IDENTIFIER),
    "status": {**_TEXT, "required": True},
    "category": _many(_CONCEPT),
    "sourceAttachment": _ANY,
}
#: What both releases have in a provision. What is `_ANY` limits it, and is refused where it stands.
_PROVISION: dict[str, Shape] = {
    "period": _PERIOD,
    "code": _many(_CONCEPT),
    "action": _many(_CONCEPT),
    "purpose": _many(_CODING),
    **dict.fromkeys(("actor", "securityLabel", "dataPeriod", "data", "provision"), _ANY),
}
_R4B_NESTED = _part(type=_TEXT, **_PROVISION, **{"class": _ANY})
_SHAPES: dict[str, dict[str, Shape]] = {
    "R4B": {
        **_EVERY,
        "scope": {**_CONCEPT, "required": True},
        "patient": {**_REFERENCE, "required": True},
        "dateTime": _TEXT,
        "performer": _many(_REFERENCE),
        "organization": _ANY,
        "sourceReference": _REFERENCE,
        "policy": _many(_part(authority=_TEXT, uri=_TEXT)),
        "policyRule": _CONCEPT,
        "verification": _many(_part(verified=_VERIFIED, verifiedWith=_ANY, verificationDate=_ANY)),
        "provision": _part(
            type=_TEXT, **_PROVISION | {"class": _ANY, "provision": _many(_R4B_NESTED)}
        ),
    },
    "R5": {
        **_EVERY,
        "subject": {**_REFERENCE, "required": True},
        "date": _TEXT,
        "period": _PERIOD,
        "grantor": _many(_REFERENCE),
        **dict.fromkeys(("grantee", "manager", "controller"), _ANY),
        "sourceReference": _many(_REFERENCE),
        "regulatoryBasis": _many(_CONCEPT),
        "policyBasis": _part(reference=_REFERENCE, url=_TEXT),
        "policyText": _many(_REFERENCE),
        "verification": _many(
            _part(
                verified=_VERIFIED,
                **dict.fromkeys(
                    ("verificationType", "verifiedBy", "verifiedWith", "verificationDate"), _ANY
                ),
            )
        ),
        "decision": {"type": "string", "allowed": ["permit", "deny"]},
        "provision": _many(
            _part(
                **_PROVISION,
                **dict.fromkeys(("documentType", "resourceType", "expression"), _ANY),
            )
        ),
    },
}

# ---- the mapping ---------------------------------------------------------------------------------

_NAME: Shape = {"type": "string", "empty": False}
#: The keys of a mapping of columns that are for FHIR alone.
MAPPING: dict[str, Shape] = {
    "fhir": {"type": "string", "allowed": list(RELEASES)},
    "provisions": _many(
        {
            "type": "dict",
            "schema": {
                "system": {**_NAME, "required": True},
                "code": {**_NAME, "required": True},
                "permit": _NAME,
                "deny": _NAME,
            },
        }
    ),
    "related_person": {"type": "string", "allowed": ["guardian"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirMapping:
    """How Consents of one release are read. `ticks`: system and code → what permitting it is ticked as, and denying.

    `guardians`: whether each RelatedPerson that agrees is the guardian. `elements`: ours → what is read there.
    `agreed`: whether a constant says who agreed, so that the resource need not.
    """

    release: str
    elements: Mapping[str, str]
    ticks: Mapping[tuple[str, str], Mapping[str, str]]
    guardians: bool = False
    agreed: bool = False
    shapes: dict[object, tuple[strict.Mistake, ...]] = field(default_factory=dict, compare=False)


def mapping_mistakes(document: strict.Document, kind: str) -> list[strict.Mistake]:
    """What is wrong with a mapping of the right shape, as far as it is for FHIR."""
    data: Any = document.data
    if "fhir" not in data:
        zh, en = "须写明 fhir: R4B 或 R5", "needs `fhir`: R4B or R5"
        return [
            document.mistake((key,), code="no_release", en=en, zh=zh)
            for key in sorted(MAPPING.keys() & data.keys())
        ]
    if kind != "consents":
        zh, en = "只用于 consents", "is for consents alone"
        return [document.mistake(("fhir",), code="not_consents", en=en, zh=zh)]
    return [*_column_mistakes(document, data), *_provision_mistakes(document, data)]


def _column_mistakes(
    document: strict.Document, data: Mapping[str, Any]
) -> Iterable[strict.Mistake]:
    columns = data.get("columns", {})
    for ours in sorted(NEEDED - columns.keys()):
        zh, en = f"须写明从何处读 {ours}", f"must say where `{ours}` is read"
        yield document.mistake(("columns", ours), code="missing_key", en=en, zh=zh)
    for ours, theirs in columns.items():
        name, path = theirs if isinstance(theirs, str) else theirs["column"], ("columns", ours)
        if ours in OURS:
            zh, en = "由 provision 和 performer 读出", "is read of provisions and performers"
            yield document.mistake(path, code="read_elsewhere", en=en, zh=zh)
        elif not _ELEMENTS[data["fhir"]].fullmatch(name):
            zh, en = f"“{name}”不可读", f"`{name}` is no element that is read"
            yield document.mistake(path, code="unknown_element", en=en, zh=zh)
    for ours in sorted({"ticks", "expires_on", *NEEDED} & data.get("constants", {}).keys()):
        zh, en = "由资源读出", "is read of the resource"
        yield document.mistake(("constants", ours), code="read_elsewhere", en=en, zh=zh)


def _provision_mistakes(
    document: strict.Document, data: Mapping[str, Any]
) -> Iterable[strict.Mistake]:
    seen: set[tuple[str, str]] = set()
    for at, one in enumerate(data.get("provisions", [])):
        path, code = ("provisions", at), (one["system"], one["code"])
        if code in seen:
            zh, en = "重复", "stands here twice"
            yield document.mistake(path, code="twice", en=en, zh=zh)
        seen.add(code)
        if not one.keys() & {"permit", "deny"}:
            zh, en = "须有 permit 或 deny", "needs `permit` or `deny`"
            yield document.mistake(path, code="missing_key", en=en, zh=zh)


def mapping_from(data: Mapping[str, Any]) -> FhirMapping | None:
    """The part of a mapping without mistakes that is for FHIR; None if it is for other files."""
    if "fhir" not in data:
        return None
    return FhirMapping(
        release=data["fhir"],
        elements={
            ours: theirs if isinstance(theirs, str) else theirs["column"]
            for ours, theirs in data.get("columns", {}).items()
        },
        ticks={
            (one["system"], one["code"]): {
                way: one[way] for way in ("permit", "deny") if way in one
            }
            for one in data.get("provisions", [])
        },
        guardians=data.get("related_person") == "guardian",
        agreed="by_guardian" in data.get("constants", {}),
    )


# ---- reading -------------------------------------------------------------------------------------

#: hl7.org/fhir/R4B/valueset-consent-state-codes.html, hl7.org/fhir/R5/valueset-consent-state-codes.html.
_TAKEN_BACK = (
    "；如系捐献者撤回，须另行登记（hgr import withdrawals）；此前以该编号载入的同意不因本行失效",
    (
        "; if the donor took it back, record that (hgr import withdrawals): a consent that was loaded "
        "under this code before stands until then"
    ),
)
_NOT_ACTIVE = {
    "draft": ("尚未同意", "nobody has agreed yet"),
    "proposed": ("尚未同意", "nobody has agreed yet"),
    "not-done": ("未完成", "it was given up before anybody agreed"),
    "rejected": (f"有争议或者被拒绝{_TAKEN_BACK[0]}", f"it is disputed or refused{_TAKEN_BACK[1]}"),
    "inactive": (
        f"已终止或者被取代{_TAKEN_BACK[0]}",
        f"it has ended or was replaced{_TAKEN_BACK[1]}",
    ),
    "entered-in-error": (f"登记有误{_TAKEN_BACK[0]}", f"it was entered in error{_TAKEN_BACK[1]}"),
    "unknown": ("状态不明", "nobody knows whether it holds"),
}
#: terminology.hl7.org/CodeSystem-consentscope.html; `treatment` and `adr` are no consent to give anything away.
_SCOPES = frozenset({"research", "patient-privacy"})
#: terminology.hl7.org/CodeSystem-v3-ActCode.html: what a policy holds where no provision speaks.
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_POLICIES = {"OPTIN": "permit", "OPTINR": "permit", "OPTOUT": "deny", "OPTOUTE": "deny"}
_SAID = ("code", "purpose", "action")
_SHAPES_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Statement:
    """What is done where some codes are met, and for how long."""

    way: str  # permit | deny
    codes: tuple[tuple[tuple[str, str], ...], ...]  # each code in one or several systems
    period: Mapping[str, str]

    @property
    def permits(self) -> bool:
        """Whether it does."""
        return self.way == "permit"


class _Reading:
    """One resource being read; `wrong` is what refuses it."""

    def __init__(self, mapping: FhirMapping, said: Mapping[str, Any], line: int) -> None:
        self.mapping, self.said, self.line = mapping, said, line
        self.is_r5 = mapping.release == "R5"
        self.wrong: list[Bad] = []

    def refuse(self, column: str, code: str, zh: str, en: str) -> None:
        row = self.said.get("id")
        name = row if isinstance(row, str) else ""
        self.wrong.append(Bad(line=self.line, row=name, column=column, code=code, zh=zh, en=en))

    # ---- single elements

    def element(self, name: str) -> str | bool | int | None:
        """What stands in an element that the mapping names; None if nothing does."""
        head, _, system = name.partition(":")
        said: Any
        if head == "identifier":
            said = [one.get("value") for one in self._list(head) if one.get("system") == system]
        elif head == "extension":
            said = [_value(one) for one in self._list(head) if one["url"] == system]
        elif head in {"patient", "subject"}:
            said = [self._patient(self.said[head], system)]
        elif head == "policy.uri":
            said = [one.get("uri") for one in self._list("policy")]
        elif head == "policyBasis.url":
            said = [self.said.get("policyBasis", {}).get("url")]
        elif head == "policyBasis.reference":
            said = [self.said.get("policyBasis", {}).get("reference", {}).get("reference")]
        elif head in {"policyRule", "regulatoryBasis"}:
            said = [
                code for one in self._list(head) for code in _codes(one) or [one.get("text", "")]
            ]
        elif head in {"sourceReference", "policyText"}:
            said = [one.get("reference") for one in self._list(head)]
        else:
            said = [self.said.get(name)]
        found = [one for one in said if one is not None]
        if len(found) > 1:
            self.refuse(
                name, "several", "有多个值，不能确定", "says several things: none is certain"
            )
        return found[0] if found else None

    def _list(self, name: str) -> Sequence[Mapping[str, Any]]:
        """An element that is a list in one release and alone in the other."""
        said: Any = self.said.get(name, [])
        return said if isinstance(said, list) else [said]

    def _patient(self, reference: Mapping[str, Any], system: str) -> str | None:
        kind, id_ = _referred(reference)
        if kind not in {"Patient", None}:
            self.refuse(
                "subject", "not_a_patient", f"是 {kind}，不是一位患者", f"is a {kind}, no patient"
            )
        if not system:
            return id_
        identifier = reference.get("identifier", {})
        return identifier.get("value") if identifier.get("system") == system else None

    # ---- may it count at all

    def verify_state(self) -> bool:
        """Whether it is in force and about this; only then is it worth reading on."""
        status = self.said["status"]
        if status != "active":
            zh, en = _NOT_ACTIVE.get(status, ("无此状态", "there is no such status"))
            self.refuse("status", "not_active", f"“{status}”：{zh}", f"`{status}`: {en}")
        if not self.is_r5 and not _SCOPES & {code for _, code in _coded(self.said["scope"])}:
            zh = "不是研究或者隐私授权（诊疗、预先指示等不作数）"
            self.refuse("scope", "other_scope", zh, "is no consent to research or to sharing")
        checked = self.said.get("verification", [])
        if checked and not any(one["verified"] for one in checked):
            self.refuse(
                "verification", "not_verified", "未经核实", "was looked into and not verified"
            )
        return not self.wrong

    def agreed(self) -> dict[str, str]:
        """Who agreed: the patient, or a guardian where the mapping says that such are.

        R4B `performer`, R5 `grantor`. Who else stands there is the side that keeps to it.
        """
        if self.mapping.agreed:
            return {}
        name = "grantor" if self.is_r5 else "performer"
        patient = self.said["subject" if self.is_r5 else "patient"]
        kinds = set()
        for one in self.said.get(name, []):
            kind, id_ = _referred(one)
            kinds.add(kind)
            same = (id_ is not None and id_ == _referred(patient)[1]) or (
                one.get("identifier") is not None
                and one.get("identifier") == patient.get("identifier")
            )
            if kind == "Patient" and not same:
                zh, en = "同意人是另一位患者", "another patient agreed"
                self.refuse(name, "another_patient", zh, en)
        if "RelatedPerson" in kinds:
            if not self.mapping.guardians:
                zh = "由亲属同意：映射须写明是否为监护人（related_person: guardian）"
                en = "a related person agreed: the mapping must say whether those are guardians"
                self.refuse(name, "related_person", zh, en)
            return {"by_guardian": "true", "guardian_consent": "true"}
        if "Patient" not in kinds:
            self.refuse(name, "nobody_agreed", "未写明由谁同意", "does not say who agreed")
        return {"by_guardian": "false"}

    # ---- what it permits

    def ticks(self, statements: Sequence[_Statement]) -> list[str]:
        """What it permits and denies, in ticks; sorted, each once."""
        default = self._default()
        if not self.wrong and default != "permit" and not any(one.permits for one in statements):
            zh = "未作任何允许，不是同意；如系撤回，须另行登记（hgr import withdrawals）"
            en = "permits nothing, so it is no consent; if it takes one back, record that (hgr import withdrawals)"
            self.refuse("provision", "permits_nothing", zh, en)
        ticks: set[str] = set()
        ways: dict[tuple[str, str], str] = {}
        for way, code in [(one.way, code) for one in statements for code in one.codes]:
            known = [one for one in code if one in self.mapping.ticks]
            meant = {self.mapping.ticks[one].get(way, "") for one in known}
            shown = " ".join("|".join(one) for one in code) or "?"
            if len(meant) != 1 or "" in meant:
                zh = f"映射未写明“{shown}”的 {way}"
                en = f"the mapping does not say what to {way} `{shown}` is"
                self.refuse("provision", "unknown_provision", zh, en)
                continue
            if any(ways.setdefault(one, way) != way for one in known):
                zh, en = f"“{shown}”既允许又拒绝", f"both permits and denies `{shown}`"
                self.refuse("provision", "contradicts", zh, en)
            ticks |= meant
        return sorted(ticks)

    def _default(self) -> str | None:
        """What holds where no exception speaks; None if nothing says it."""
        if self.is_r5:
            decision = self.said.get("decision")
            return str(decision) if decision is not None else None
        root = self.said.get("provision", {}).get("type")
        rule = {
            _POLICIES[code]
            for system, code in _coded(self.said.get("policyRule", {}))
            if system == _ACT_CODE and code in _POLICIES
        }
        said = rule | ({root} if root else set())
        if len(said) > 1:
            zh, en = "provision.type 与 policyRule 矛盾", "and `policyRule` say the contrary"
            self.refuse("provision.type", "contradicts", zh, en)
        return next(iter(said)) if len(said) == 1 else None

    def statements(self) -> Iterable[_Statement]:
        if self.is_r5:
            provisions = self.said.get("provision", [])
            decision = self.said.get("decision")
            if provisions and decision is None:
                zh, en = (
                    "缺少 decision，无从知道例外是允许还是拒绝",
                    "is missing: what are provisions exceptions to",
                )
                self.refuse("decision", "missing", zh, en)
                return
            for one in provisions:
                yield from self._statement(one, "deny" if decision == "permit" else "permit")
            return
        root = self.said.get("provision")
        if root is None:
            return
        if any(root.get(name) for name in _SAID) or self._limits(root):
            yield from self._statement(root, root.get("type"))
        for one in root.get("provision", []):
            if one.get("provision"):
                zh, en = (
                    "例外的例外无法以勾选表示",
                    "has exceptions to exceptions, which no tick can say",
                )
                self.refuse("provision", "too_deep", zh, en)
            yield from self._statement(one, one.get("type"))

    def _limits(self, provision: Mapping[str, Any]) -> list[str]:
        plain = {"id", "extension", "type", "period", "provision", *_SAID}
        return sorted(provision.keys() - plain)

    def _statement(self, provision: Mapping[str, Any], way: str | None) -> Iterable[_Statement]:
        if self.is_r5 and provision.get("provision"):
            zh, en = (
                "例外的例外无法以勾选表示",
                "has exceptions to exceptions, which no tick can say",
            )
            self.refuse("provision", "too_deep", zh, en)
        said = [name for name in _SAID if provision.get(name)]
        limits = [*self._limits(provision), *said[1:]]
        if limits:
            zh = f"以 {limits[0]} 限定，勾选无法表示"
            en = f"is limited by `{limits[0]}`, which no tick can say"
            self.refuse("provision", "limited", zh, en)
        elif way not in {"permit", "deny"}:
            zh, en = "未写明 permit 或 deny", "says neither permit nor deny"
            self.refuse("provision.type", "missing", zh, en)
        elif not said:
            zh, en = "未写明允许或者拒绝什么", "does not say what it is about"
            self.refuse("provision", "no_code", zh, en)
        else:
            codes = tuple(tuple(_coded(one)) for one in provision[said[0]])
            yield _Statement(str(way), codes, provision.get("period", {}))

    def ends(self, statements: Sequence[_Statement], signed: object) -> str | None:
        """The first end of what it permits. What begins behind the day it was signed is refused."""
        whole = (self.said if self.is_r5 else self.said.get("provision", {})).get("period")
        permits = [one.period for one in statements if one.permits]
        ends: list[date] = []
        for period in [whole or {}, *permits]:
            start, end = (self._day(period.get(name)) for name in ("start", "end"))
            if end is not None:
                ends.append(end)
            if start is not None and isinstance(signed, date) and start > signed:
                zh, en = f"自 {start} 起，晚于签署日", f"begins on {start}, after it was signed"
                self.refuse("period", "begins_later", zh, en)
        return min(ends).isoformat() if ends else None

    def _day(self, text: str | None) -> date | None:
        if text is None:
            return None
        try:
            day = _DAY(text)
        except CellError as error:
            self.refuse("period", error.code, error.zh, error.en)
            return None
        return day if isinstance(day, date) else None


def read(mapping: FhirMapping, said: Mapping[str, Any], line: int) -> dict[str, Any] | list[Bad]:
    """The cells of a consent as the resource has them, by our columns; or everything that refuses it.

    `ticks` may be empty, where a form is agreed to as it stands.
    """
    reading = _Reading(mapping, said, line)
    kind = said.get("resourceType")
    if kind != "Consent":
        zh, en = f"是 {kind}，不是 Consent", f"is `{strict.shown(kind)}`, no Consent"
        if kind == "Bundle":
            zh, en = f"{zh}：每行一份资源", f"{en}: one resource a line is read (Bulk Data)"
        reading.refuse("resourceType", "not_a_consent", zh, en)
        return reading.wrong
    for mistake in _shape_mistakes(mapping, said):
        reading.refuse(
            mistake.key, "not_fhir", f"{mistake.key}：{mistake.zh}", f"{mistake.key} {mistake.en}"
        )
    if reading.wrong or not reading.verify_state():
        return reading.wrong
    cells: dict[str, Any] = {ours: reading.element(name) for ours, name in mapping.elements.items()}
    cells |= reading.agreed()
    statements = tuple(reading.statements())
    cells["ticks"] = reading.ticks(statements)
    cells["expires_on"] = reading.ends(statements, _signed(cells["signed_on"]))
    return reading.wrong or cells


def _signed(said: object) -> object:
    try:
        return _DAY(said) if isinstance(said, str) else None
    except CellError:
        return None  # the row is refused for it where its cells are read


def _shape_mistakes(mapping: FhirMapping, said: Mapping[str, Any]) -> tuple[strict.Mistake, ...]:
    """What of a resource has not the shape of its release. One answer for all of the same keys and types."""
    form = _form(said)
    if form not in mapping.shapes:
        if len(mapping.shapes) >= _SHAPES_KEPT:
            mapping.shapes.clear()
        document = strict.Document(file="", data=dict(said), lines={(): 1})
        mapping.shapes[form] = tuple(strict.shape_mistakes(document, _SHAPES[mapping.release]))
    return mapping.shapes[form]


def _form(said: object) -> object:
    """Keys and types, and whatever else its shape hangs on: empty texts, and what is allowed."""
    if isinstance(said, dict):
        return frozenset([(name, _form(one)) for name, one in said.items()])
    if isinstance(said, list):
        return (list, frozenset(map(_form, said)))
    if said in {"", "permit", "deny"}:
        return said
    return type(said)


def _coded(concept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The codes of a CodeableConcept, or of a Coding alone, with their systems."""
    codings = concept.get("coding", []) if "code" not in concept else [concept]
    return [(one.get("system", ""), one["code"]) for one in codings if "code" in one]


def _codes(concept: Mapping[str, Any]) -> list[str]:
    return [code for _, code in _coded(concept)]


def _referred(reference: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Type and id of what a reference names, as far as it says: `Patient/D1`, with or without an address before it."""
    kind, said = reference.get("type"), reference.get("reference", "")
    parts = said.partition("/_history/")[0].split("/")
    if len(parts) > 1 and parts[-2][:1].isupper():
        return parts[-2], parts[-1]
    return kind, None


def _value(extension: Mapping[str, Any]) -> str | bool | int | None:
    """The value of an extension that is one text, flag, number, code or identifier."""
    said = next((one for name, one in extension.items() if name.startswith("value")), None)
    if isinstance(said, dict):
        codes = _codes(said)
        said = codes[0] if len(codes) == 1 else said.get("value")
    return said if isinstance(said, str | bool | int) else None
