"""Give effect: what a recorded decision changes, in the transaction that recorded it.

The rules it keeps: nothing here decides; whatever is changed has its entry; a grant covers what the
decision selected and ends with the earliest of what it stands on; a release writes down what goes out
before a byte leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import assert_never

from sqlalchemy import Connection

from gateway.bank import Bank
from gateway.deciding import Answer, Prepared, append
from gateway.identity import tokens
from gateway.identity.scopes import Caller
from gateway.registry import counters, duties, ledger, requests
from gateway.registry.requests import Request
from gateway.release import grants
from gateway.review import cases
from gateway.review.workflow import Outcome
from gateway.tables import new_id
from policies.request import Facts

#: The obligation by which the institution's pack asks for a person before a permit takes effect.
CONFIRMATION = "officer-confirmation"
#: What a request is while, or after, its case lies in a state of `workflow.yaml`.
REQUEST_STATES = {
    "first_review": "in_review",
    "second_review": "in_review",
    "awaiting_external": "held",
    "approved": "granted",
    "rejected": "rejected",
    "withdrawn": "draft",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """One release authorized: the manifest's exact bytes and the visa that opens it.

    `removed` counts the items left out since the grant.
    """

    release_id: str
    grant_id: str
    manifest: bytes
    manifest_sha256: str
    visa: str
    removed: int
    answer: Answer


def apply(
    conn: Connection,
    bank: Bank,
    caller: Caller,
    request: Request,
    prepared: Prepared,
    answer: Answer,
) -> Answer:
    """Permit → grant, or a case where the institution wants a person to confirm; Hold, Refer → case;
    Deny → nothing. The answer says which.
    """
    dossier = dossier_of(bank, prepared, answer)
    grant_id = case_id = None
    match dossier.outcome:
        case Outcome.PERMIT_AT_ONCE:
            grant_id = make_grant(conn, bank, caller, request, prepared, answer)
            state = "granted"
        case Outcome.DENY:
            state = "denied"
        case Outcome.PERMIT | Outcome.REFER | Outcome.HOLD:
            case = cases.open_case(
                conn,
                request_id=request.id,
                dossier=dossier,
                leaf_index=answer.leaf_index,
                now=bank.now(),
            )
            case_id, state = case.id, REQUEST_STATES[case.state]
        case _:
            assert_never(dossier.outcome)
    now = bank.now()
    revision = requests.set_state(conn, request.id, state, now=now)
    request = replace(request, state=state, revision=revision, updated_at=now)
    return replace(answer, request=request, grant_id=grant_id, case_id=case_id)


def dossier_of(
    bank: Bank, prepared: Prepared, answer: Answer, *, at_once: bool = True
) -> cases.Dossier:
    """The decision as the queue sees it, with every side of the request.

    `at_once` False: a person confirms, whatever the institution's pack says of such a permit.
    """
    ask = prepared.ask
    named = {prepared.party_id, ask.recipient, ask.sponsor, ask.beneficiary}
    if ask.host is not None and ask.host.operator != bank.party_id:
        named.add(ask.host.operator)  # a bank that only hosts what it gives is no side of it
    return cases.Dossier.of(
        answer.decision,
        decision_id=answer.decision_id,
        document_sha256=answer.document_sha256,
        parties=frozenset(p for p in named if p is not None and p != "none"),
        at_once=at_once and all(o.id != CONFIRMATION for o in answer.decision.obligations),
    )


def make_grant(
    conn: Connection,
    bank: Bank,
    caller: Caller,
    request: Request,
    prepared: Prepared,
    answer: Answer,
    *,
    accepted: tuple[str, ...] = (),
) -> str:
    """A grant over the selection, quotas and tubes reserved; what an earlier version was granted ends."""
    now = bank.now()
    picked = prepared.gathered.cohort.select(conn, answer.decision.selection.strata)
    ends = [bank.today() + timedelta(days=bank.settings.grant_days)]
    ends += [d for d in (answer.decision.until, request.ask.until) if d is not None]
    end_grants(conn, bank, caller, request.id)
    grant = grants.create(
        conn,
        request_id=request.id,
        decision_id=answer.decision_id,
        party_id=request.party_id,
        project_id=request.project_id,
        items=picked,
        until=min(ends),
        accepted=accepted,
        now=now,
    )
    ledger.reserve(conn, grant.id, prepared.gathered.draws, now=now)
    duties.attach(
        conn,
        answer.decision.obligations,
        bank.law.on(answer.as_of),
        grant_id=grant.id,
        party_id=request.party_id,
        bank_party_id=bank.party_id,
        today=bank.today(),
        now=now,
    )
    about = {"grant": grant.id, "request": request.id, "decision": answer.decision_id}
    items = "\n".join(sorted(p.holding_id for p in picked))
    append(conn, bank, caller, "grant.created", about, commitments={"items": items})
    return grant.id


def end_grants(conn: Connection, bank: Bank, caller: Caller, request_id: str) -> None:
    """Revoke whatever a request was granted, each with its entry."""
    for grant in grants.end_for_request(conn, request_id, state="revoked", now=bank.now()):
        about = {"grant": grant.id, "request": request_id}
        append(conn, bank, caller, "grant.revoked", about)
        ledger.settle(conn, grant.id, cause_id=grant.id, now=bank.now())


def make_release(
    conn: Connection,
    bank: Bank,
    caller: Caller,
    grant: grants.Grant,
    prepared: Prepared,
    answer: Answer,
) -> Released:
    """1. leave out what may no longer go · 2. manifest and visa · 3. write down the intent."""
    now, release_id = bank.now(), new_id("rel")
    picked = prepared.gathered.cohort.select(conn, answer.decision.selection.strata)
    gone = (prepared.only or frozenset()) - {p.holding_id for p in picked}
    removed = grants.shrink(conn, grant.id, gone, reason=answer.decision_id, now=now)  # 1
    manifest = grants.manifest(  # 2
        conn,
        release_id=release_id,
        grant=grant,
        items=picked,
        decision_id=answer.decision_id,
        leaf_index=answer.leaf_index,
        obligations=[o.id for o in answer.decision.obligations],
        pseudonym=bank.keys.pseudonym,
        now=now,
    )
    visa = tokens.sign_visa(
        bank,
        grants.visa_claims(grant, issuer=bank.settings.issuer, release_id=release_id, now=now),
    )
    grants.record_release(  # 3
        conn,
        release_id=release_id,
        grant=grant,
        decision_id=answer.decision_id,
        items=picked,
        manifest=manifest,
        visa=visa,
        pseudonym=bank.keys.pseudonym,
        now=now,
    )
    ledger.settle(conn, grant.id, cause_id=release_id, now=now)
    counters.add(
        conn,
        picked,
        source_id=release_id,
        recipient=prepared.gathered.recipient,
        project_id=grant.project_id,
        overseas=_goes_abroad(prepared.question.facts),
        now=now,
    )
    digest = sha256(manifest).hexdigest()
    about = {"release": release_id, "grant": grant.id, "decision": answer.decision_id}
    append(conn, bank, caller, "release.intent", about | {"manifest": digest}, outcome="authorized")
    return Released(
        release_id=release_id,
        grant_id=grant.id,
        manifest=manifest,
        manifest_sha256=digest,
        visa=visa,
        removed=removed,
        answer=answer,
    )


def _goes_abroad(known: Facts) -> bool:
    """Whether anything goes to, or is read from, outside the mainland; not known counts as abroad."""
    countries = known.get("users.access_countries")
    places = {known.get("host.place"), *(countries if isinstance(countries, frozenset) else [None])}
    for role in ("requester", "recipient", "sponsor", "beneficiary", "host"):
        if known.get(f"{role}.present") is not False:
            places.add(known.get(f"{role}.country"))
    return places != {"CN"} or known.get("request.material_exits") is True
