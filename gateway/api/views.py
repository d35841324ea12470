"""Rows and room values as the shapes of the contract: requests, grants, releases, the registers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import RowMapping

from gateway.api import answers
from gateway.api.reads import ReleaseRow
from gateway.api.schemas.parts import Words
from gateway.api.schemas.registry import (
    ControlOut,
    CorrectionOut,
    DeterminationOut,
    DutyOut,
    EdgeOut,
    FormerNameOut,
    FormOut,
    MappingOut,
    PaperOut,
    PartyOut,
    QuotaOut,
    ReachedCaseOut,
    ReachedGrantOut,
    ReachedReceiverOut,
    ReachOut,
)
from gateway.api.schemas.researcher import GrantOut, ReleaseOut, RequestOut
from gateway.effects import Released
from gateway.identity.scopes import Caller
from gateway.registry import requests
from gateway.registry.consents import Mapped
from gateway.registry.determinations import Determined
from gateway.registry.duties import Duty
from gateway.registry.ownership import Ownership
from gateway.registry.papers import Paper
from gateway.registry.requests import Request
from gateway.release.grants import Grant
from gateway.standing import Correction, Reach


def request(row: Request) -> RequestOut:
    """A request with what its current version says."""
    return RequestOut(
        id=row.id,
        project=row.project_id,
        state=row.state,
        version=row.version,
        revision=row.revision,
        ask=requests.body(row.ask),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def grant(caller: Caller, row: Grant, counts: tuple[int, int]) -> GrantOut:
    """A grant with its distinct donors and its items, as the caller may see them."""
    exact = answers.is_exact(caller)
    return GrantOut(
        id=row.id,
        request=row.request_id,
        decision=row.decision_id,
        project=row.project_id,
        state=row.state.value,
        until=row.until,
        people=answers.number(counts[0], exact=exact),
        items=answers.number(counts[1], exact=exact),
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def release(row: ReleaseRow) -> ReleaseOut:
    """A release; whoever may see it was given exactly what its manifest lists."""
    return ReleaseOut(
        id=row.id,
        grant=row.grant_id,
        decision=row.decision_id,
        state=row.state,
        manifest=row.manifest.decode(),
        manifest_sha256=row.manifest_sha256,
        visa=row.visa,
        left_out=None,
        handed_how=row.handed_how,
        handed_at=row.handed_at,
        received_by=row.received_by,
        received_at=row.received_at,
        receipt_sha256=row.receipt_sha256,
        created_at=row.created_at,
    )


def released(made: Released) -> ReleaseOut:
    """A release just authorized: nothing has left yet."""
    return ReleaseOut(
        id=made.release_id,
        grant=made.grant_id,
        decision=made.answer.decision_id,
        state="intended",
        manifest=made.manifest.decode(),
        manifest_sha256=made.manifest_sha256,
        visa=made.visa,
        left_out=answers.number(made.removed, exact=False),
        handed_how="",
        handed_at=None,
        received_by="",
        received_at=None,
        receipt_sha256="",
        created_at=made.answer.decided_at,
    )


def paper(row: Paper) -> PaperOut:
    """A paper with its quotas."""
    return PaperOut(
        id=row.id,
        kind=row.kind,
        number=row.number,
        issuer=row.issuer,
        holder=row.holder_id,
        project=row.project_id,
        collection=row.collection_id,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        open_ended=row.open_ended,
        scope=dict(row.scope),
        quotas=[
            QuotaOut(
                measure=q.measure,
                total=q.total,
                used=q.used,
                reserved=q.reserved,
                released=q.released,
                opened=q.opened,
            )
            for q in row.quotas
        ],
        document_sha256=row.document_sha256,
        documents=dict(row.documents or {}),
        issued_on=row.issued_on,
        recorded_by=row.recorded_by,
        recorded_at=row.recorded_at,
        checked_by=row.checked_by,
        checked_at=row.checked_at,
        voided_at=row.voided_at,
        void_reason=row.void_reason,
    )


def reach(found: Reach) -> ReachOut:
    """Whom a change reaches, with counts."""
    return ReachOut(
        cases=[
            ReachedCaseOut(
                case=one.case_id,
                request=one.request_id,
                party=one.party_id,
                state=one.state,
                decision=one.decision_id,
                outcome=one.outcome,
            )
            for one in found.cases
        ],
        grants=[
            ReachedGrantOut(
                grant=one.grant_id,
                request=one.request_id,
                party=one.party_id,
                state=one.state,
                decision=one.decision_id,
                outcome=one.outcome,
                removed=one.removed,
            )
            for one in found.grants
        ],
        receivers=[ReachedReceiverOut(release=r, party=p) for r, p in found.receivers],
        counts=found.counts,
    )


def correction(row: Correction, found: Reach, leaf_index: int | None) -> CorrectionOut:
    """A voiding or correction, with whom it reaches."""
    return CorrectionOut(
        id=row.id,
        kind=row.kind,
        subject=row.subject_id,
        act=row.act,
        values=dict(row.said),
        before=dict(row.before),
        reason=row.reason,
        evidence_sha256=row.evidence_sha256,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        confirmed_by=row.confirmed_by,
        applied_at=row.applied_at,
        leaf_index=leaf_index,
        reach=reach(found),
    )


def determination(row: Determined) -> DeterminationOut:
    """A finding."""
    return DeterminationOut(
        id=row.id,
        subject_kind=row.subject_kind,
        subject=row.subject_id,
        finding=row.finding,
        value=row.value,
        reason=row.reason,
        evidence_sha256=row.evidence_sha256,
        expires_on=row.expires_on,
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        confirmed_by=row.confirmed_by,
        confirmed_at=row.confirmed_at,
        revoked_at=row.revoked_at,
    )


def mapping(row: Mapped) -> MappingOut:
    """What a form's ticks mean, proposed or confirmed."""
    return MappingOut(
        id=row.id,
        form=row.form_id,
        mapping=dict(row.mapping),
        proposed_by=row.proposed_by,
        proposed_at=row.proposed_at,
        confirmed_by=row.confirmed_by,
        confirmed_at=row.confirmed_at,
    )


def form(row: RowMapping, mapped: bool, ticks: tuple[str, ...]) -> FormOut:  # noqa: FBT001 - a fact
    """A form with the ticks found on it."""
    return FormOut(
        id=row["id"],
        collection=row["collection_id"],
        version=row["version"],
        title=row["title"],
        ethics_paper=row["ethics_paper_id"],
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        text_sha256=row["text_sha256"],
        mapped=mapped,
        ticks=list(ticks),
    )


def party(row: RowMapping, former: Sequence[RowMapping] = ()) -> PartyOut:
    """A party as registered, and what it was called before."""
    same = {name: row[name] for name in PartyOut.model_fields if name in row}
    return PartyOut(
        **same,
        name=Words(zh=row["name_zh"], en=row["name_en"]),
        former_names=[
            FormerNameOut(
                name=Words(zh=one["name_zh"], en=one["name_en"]),
                until=one["until"],
                evidence=one["evidence"],
            )
            for one in former
        ],
        merged_into=row["merged_into_id"],
    )


def duty(one: Duty, today: date) -> DutyOut:
    """A duty as it stands today."""
    return DutyOut(
        id=one.id,
        kind=one.kind,
        party=one.party_id,
        subject=one.subject_id,
        no=one.no,
        says=Words(zh=one.zh, en=one.en),
        due=one.due,
        overdue=one.is_overdue(today),
        alert=one.alert,
        done_on=one.done_on,
        evidence_sha256=one.evidence_sha256,
    )


def control(held: Ownership, party_id: str) -> ControlOut:
    """Who holds or steers a party: figures, group, and every foreign holder's path by name."""
    said = held.facts("party", party_id)
    figures = {name: said.get(f"party.{name}") for name in ControlOut.model_fields}
    return ControlOut.model_validate(
        {
            **figures,
            "object": "control",
            "party": party_id,
            "on": held.as_of,
            "group": held.group(party_id),
            "paths": answers.paths(held.foreign_paths(party_id), held.names),
        }
    )


def edge(row: RowMapping) -> EdgeOut:
    """One holding of one party in another."""
    same: dict[str, Any] = {name: row[name] for name in EdgeOut.model_fields if name in row}
    return EdgeOut(**same, owner=row["owner_id"], owned=row["owned_id"])
