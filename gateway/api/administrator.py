"""What administrators call: API keys of every organisation, people, the law. Holders see their own keys.

Packs are proposed and activated by two people, officers or administrators. A new key's text and a new
person's code secret are answered once and stored nowhere, so those calls take no `Idempotency-Key`:
remembering the answer would be keeping the secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from gateway import pep, standing
from gateway.api import examples
from gateway.api.bodies import (
    ACCEPTS_JSON,
    Body,
    IdempotencyKey,
    OpenBank,
    answered,
    rendered,
    reply,
    sent,
)
from gateway.api.contract import Answer, operation
from gateway.api.schemas.staff import (
    ActivatedOut,
    AskedGeneration,
    AskedKey,
    AskedPerson,
    AskedRevocation,
    AskedRotation,
    GenerationOut,
    GenerationsOut,
    ImpactOut,
    KeyOut,
    KeysOut,
    MintedOut,
    PersonOut,
)
from gateway.api.views import reach
from gateway.bank import Bank
from gateway.identity import api_keys, people
from gateway.identity.api_keys import Key, Minted
from gateway.identity.caller import Caller, Gate, require
from gateway.registry import generations
from gateway.registry.generations import Generation
from gateway.replies import Rendered

T = TypeVar("T")

router = APIRouter(tags=["administrator"], dependencies=[ACCEPTS_JSON])

Keeping = Annotated[Caller, Depends(require("admin:keys"))]
Enrolling = Annotated[Caller, Depends(require("admin:people"))]
OfLaw = Annotated[Caller, Depends(require("admin:law"))]
OfOwn = Annotated[Caller, Depends(require("keys:self"))]

_KEY = Answer(model=KeyOut, says="The key")
_MINTED = Answer(model=MintedOut, says="The new key, with its text")


async def _recorded(
    request: Request,
    bank: Bank,
    caller: Caller,
    kind: str,
    part: Callable[[Connection], T],
    subjects: Callable[[T], Mapping[str, str]],
    render: Callable[[T], Rendered],
) -> Response:
    how = await reply(request, caller, None, render)
    return sent(await pep.record_event(bank, caller, kind, part, subjects=subjects, reply=how))


@operation(
    summary="Issue an API key",
    purpose="For one organisation, with scopes and an end. Its text is in this answer and nowhere else.",
    answers={201: _MINTED},
    errors=("not_found",),
    example=examples.KEY,
)
@router.post("/v1/keys")
async def issue_key(
    request: Request,
    bank: OpenBank,
    caller: Keeping,
    asked: Annotated[AskedKey, Depends(Body(AskedKey))],
) -> Response:
    """201 with the key's text."""
    wanted = api_keys.Wanted(
        party_id=asked.party,
        label=asked.label,
        scopes=tuple(asked.scopes),
        expires_at=asked.expires_at,
        networks=tuple(asked.networks),
    )

    def mint(conn: Connection) -> Minted:
        return api_keys.mint(conn, bank, wanted, created_by=caller.id)

    return await _recorded(request, bank, caller, "key.issued", mint, _of_minted, _show_minted)


@operation(
    summary="API keys of an organisation",
    purpose="Newest first, the ended ones too; never their text.",
    answers={200: Answer(model=KeysOut, says="The keys")},
)
@router.get("/v1/keys")
def list_keys(
    bank: OpenBank,
    _: Keeping,
    party: Annotated[
        str, Query(pattern=r"^[A-Za-z0-9_.:-]{1,80}$", examples=["pty_shanghai_hospital"])
    ],
) -> Response:
    """All keys of `party`."""
    with bank.database.read() as conn:
        keys = api_keys.of_party(conn, party)
    return answered(KeysOut(data=[_out(key) for key in keys]))


@operation(
    summary="Your organisation's API keys",
    purpose="For key holders: newest first, the ended ones too; never their text.",
    answers={200: Answer(model=KeysOut, says="The keys")},
)
@router.get("/v1/organisation/keys")
def list_own_keys(bank: OpenBank, caller: OfOwn) -> Response:
    """All keys of the caller's organisation."""
    with bank.database.read() as conn:
        keys = api_keys.of_party(conn, caller.party_id)
    return answered(KeysOut(data=[_out(key) for key in keys]))


async def _rotate(
    request: Request,
    bank: Bank,
    caller: Caller,
    key_id: str,
    asked: AskedRotation,
    party_id: str | None,
) -> Response:
    gate: Gate = request.app.state.gate

    def rotate(conn: Connection) -> Minted:
        api_keys.get(conn, key_id, party_id=party_id)  # another's is not found
        return api_keys.rotate(
            conn,
            bank,
            key_id,
            overlap=timedelta(hours=asked.overlap_hours),
            created_by=caller.id,
            forget=gate.verified.forget,
        )

    return await _recorded(request, bank, caller, "key.rotated", rotate, _of_minted, _show_minted)


async def _revoke(
    request: Request,
    bank: Bank,
    caller: Caller,
    key_id: str,
    asked: AskedRevocation,
    party_id: str | None,
) -> Response:
    gate: Gate = request.app.state.gate

    def revoke(conn: Connection) -> Key:
        api_keys.get(conn, key_id, party_id=party_id)
        return api_keys.revoke(
            conn, key_id, reason=asked.reason, now=bank.now(), forget=gate.verified.forget
        )

    return await _recorded(
        request,
        bank,
        caller,
        "key.revoked",
        revoke,
        lambda key: {"key": key.id, "party": key.party_id},
        lambda key: rendered(_out(key)),
    )


@operation(
    summary="Replace an API key",
    purpose="A successor with the same rights; the old key works on for the overlap.",
    answers={201: _MINTED},
    errors=("not_found", "state_conflict"),
    example={"overlap_hours": 24},
    fill={"key_id": "{spare_key}"},
)
@router.post("/v1/keys/{key_id}:rotate")
async def rotate_key(
    request: Request,
    bank: OpenBank,
    caller: Keeping,
    key_id: str,
    asked: Annotated[AskedRotation, Depends(Body(AskedRotation))],
) -> Response:
    """201 with the successor's text."""
    return await _rotate(request, bank, caller, key_id, asked, None)


@operation(
    summary="End an API key at once",
    purpose="The key and every token made from it stop working with this answer.",
    answers={200: _KEY},
    errors=("not_found", "already_done"),
    example={"reason": "密钥疑似泄露"},
    fill={"key_id": "{spare_key}"},
)
@router.post("/v1/keys/{key_id}:revoke")
async def revoke_key(
    request: Request,
    bank: OpenBank,
    caller: Keeping,
    key_id: str,
    asked: Annotated[AskedRevocation, Depends(Body(AskedRevocation))],
) -> Response:
    """The key as it ended."""
    return await _revoke(request, bank, caller, key_id, asked, None)


@operation(
    summary="Replace one of your organisation's API keys",
    purpose="A successor with the same rights; the old key works on for the overlap.",
    answers={201: _MINTED},
    errors=("not_found", "state_conflict"),
    example={"overlap_hours": 24},
    fill={"key_id": "{spare_key}"},
)
@router.post("/v1/organisation/keys/{key_id}:rotate")
async def rotate_own_key(
    request: Request,
    bank: OpenBank,
    caller: OfOwn,
    key_id: str,
    asked: Annotated[AskedRotation, Depends(Body(AskedRotation))],
) -> Response:
    """201 with the successor's text."""
    return await _rotate(request, bank, caller, key_id, asked, caller.party_id)


@operation(
    summary="End one of your organisation's API keys at once",
    purpose="The key and every token made from it stop working with this answer; do it when one leaks.",
    answers={200: _KEY},
    errors=("not_found", "already_done"),
    example={"reason": "密钥疑似泄露"},
    fill={"key_id": "{spare_key}"},
)
@router.post("/v1/organisation/keys/{key_id}:revoke")
async def revoke_own_key(
    request: Request,
    bank: OpenBank,
    caller: OfOwn,
    key_id: str,
    asked: Annotated[AskedRevocation, Depends(Body(AskedRevocation))],
) -> Response:
    """The key as it ended."""
    return await _revoke(request, bank, caller, key_id, asked, caller.party_id)


@operation(
    summary="Enrol a person",
    purpose="An officer, administrator, auditor or regulator. Roles that would control themselves are "
    "refused together. The code generator's secret is in this answer and nowhere else.",
    answers={201: Answer(model=PersonOut, says="The person, with the secret")},
    errors=("not_found", "already_done"),
    example=examples.PERSON,
)
@router.post("/v1/people")
async def enrol_person(
    request: Request,
    bank: OpenBank,
    caller: Enrolling,
    asked: Annotated[AskedPerson, Depends(Body(AskedPerson))],
) -> Response:
    """201 with the secret of the code generator."""
    hashed = await asyncio.to_thread(people.hash_password, asked.password, login=asked.login)
    new = people.NewPerson(
        login=asked.login,
        name=asked.name,
        party_id=asked.party,
        roles=tuple(asked.roles),
        password_hash=hashed,
    )

    def enrol(conn: Connection) -> people.Enrolled:
        return people.create(conn, bank, new)

    def show(made: people.Enrolled) -> Rendered:
        return rendered(
            PersonOut(id=made.person_id, totp_secret=made.totp_secret, totp_uri=made.totp_uri), 201
        )

    return await _recorded(
        request,
        bank,
        caller,
        "person.enrolled",
        enrol,
        lambda made: {"person": made.person_id, "roles": ",".join(sorted(asked.roles))},
        show,
    )


# --- the law --------------------------------------------------------------------------------------


@operation(
    summary="Generations of the law",
    purpose="Every set of packs that was proposed or decided, oldest first; files by digest.",
    answers={200: Answer(model=GenerationsOut, says="All of them")},
)
@router.get("/v1/law/generations")
def list_generations(bank: OpenBank, _: OfLaw) -> Response:
    """All generations."""
    with bank.database.read() as conn:
        active = generations.active_id(conn)
        data = [_generation(one, active) for one in generations.listed(conn)]
    return answered(GenerationsOut(data=data))


@operation(
    summary="Propose packs",
    purpose="Files laid over the packs in force, all their cases run: the first of two people. An edition "
    "that was activated cannot be changed, only corrected by another file. They do not decide yet.",
    answers={201: Answer(model=GenerationOut, says="The generation, not yet in force")},
    errors=("already_done",),
    example=examples.PACKS,
)
@router.post("/v1/law/generations")
async def propose_packs(
    request: Request,
    bank: OpenBank,
    caller: OfLaw,
    asked: Annotated[AskedGeneration, Depends(Body(AskedGeneration))],
    key: IdempotencyKey = None,
) -> Response:
    """201 with the generation."""
    changed = {path: None if t is None else t.encode() for path, t in asked.files.items()}

    def look() -> generations.Checked:
        with bank.database.read() as conn:
            files = generations.laid_over(conn, changed)
        return generations.checked(files)

    packs = await asyncio.to_thread(look)

    def part(conn: Connection) -> Generation:
        return generations.propose(
            conn, packs, reason=asked.reason, person_id=caller.id, now=bank.now()
        )

    how = await reply(request, caller, key, lambda made: rendered(_generation(made, ""), 201))
    return sent(
        await pep.record_event(
            bank, caller, "law.proposed", part, subjects=generations.named, reply=how
        )
    )


@operation(
    summary="Impact of packs",
    purpose="Which past decisions, open cases and live grants would come out otherwise under a generation, "
    "proposed or in force, with counts by outcome and rule; nothing is recorded.",
    answers={200: Answer(model=ImpactOut, says="What would change")},
    errors=("not_found",),
    fill={"generation_id": "{proposed_generation}"},
)
@router.get("/v1/law/generations/{generation_id}/impact")
def read_impact(bank: OpenBank, _: OfLaw, generation_id: str) -> Response:
    """What the generation would change, from the log."""
    with bank.database.read() as conn:
        law = bank.laws.of(conn, generations.read(conn, generation_id).id)
        found = standing.impact(conn, bank, law).told()
    return answered(ImpactOut(generation=generation_id, **found))


@operation(
    summary="Activate packs",
    purpose="The second person's word: from this entry on they decide. Every live grant is decided again "
    "by them; what no longer stands is suspended, and both decisions stay.",
    answers={200: Answer(model=ActivatedOut, says="Whom it reached")},
    errors=("not_found", "same_person", "already_done"),
    fill={"generation_id": "{proposed_generation}"},
)
@router.post("/v1/law/generations/{generation_id}:activate")
async def activate_packs(
    request: Request,
    bank: OpenBank,
    caller: OfLaw,
    generation_id: str,
    key: IdempotencyKey = None,
) -> Response:
    """What the activation reached."""

    def show(done: pep.Activated) -> Rendered:
        return rendered(
            ActivatedOut(
                generation=done.generation.id,
                digest=done.generation.digest,
                leaf_index=done.leaf_index,
                reach=reach(done.reach),
            )
        )

    how = await reply(request, caller, key, show)
    return sent(await pep.activate_law(bank, caller, generation_id, reply=how))


def _generation(made: Generation, active: str) -> GenerationOut:
    return GenerationOut(
        id=made.id,
        digest=made.digest,
        files=dict(made.files),
        reason=made.reason,
        proposed_by=made.proposed_by,
        proposed_at=made.proposed_at,
        activated_by=made.activated_by,
        activated_at=made.activated_at,
        in_force=made.id == active,
    )


def _of_minted(minted: Minted) -> dict[str, str]:
    about = {"key": minted.key.id, "party": minted.key.party_id}
    if minted.key.rotated_from is not None:
        about["rotated_from"] = minted.key.rotated_from
    return about


def _show_minted(minted: Minted) -> Rendered:
    return rendered(MintedOut(**_members(minted.key), key=minted.text), 201)


def _out(key: Key) -> KeyOut:
    return KeyOut(**_members(key))


def _members(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "party": key.party_id,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "networks": list(key.networks),
        "created_by": key.created_by,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "rotated_from": key.rotated_from,
        "revoked_at": key.revoked_at,
        "revoked_reason": key.revoked_reason,
    }
