"""What anybody may call or check: the contract, what a problem code means, health, the log itself.

The log is served as signed checkpoint and tiles (C2SP tlog-tiles). Hash tiles say nothing about anyone;
entry bundles hold the leaves and need `audit:read`, and whoever may read a decision gets its proof.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from audit import log
from audit.check import checkpoint_of
from audit.note import TlogProof
from audit.tiles import Tile, TileError
from gateway import deciding
from gateway.api import contract
from gateway.api.bodies import ACCEPTS_JSON, Accepts, OpenBank, answered
from gateway.api.contract import Answer, operation
from gateway.api.schemas.parts import Health, ProblemKind, Words
from gateway.api.schemas.researcher import ProofOut
from gateway.api.schemas.staff import EntriesOut, EntryOut
from gateway.bank import Bank
from gateway.errors import KINDS, ProblemError
from gateway.identity.caller import Caller, public, require

router = APIRouter(tags=["public"], dependencies=[Depends(public()), ACCEPTS_JSON])
log_router = APIRouter(tags=["log"])

TEXT = "text/plain"
BYTES = "application/octet-stream"

#: tlog-tiles: "The checkpoint ... SHOULD be served with a short cache"; tiles never change.
_FRESH = {"Cache-Control": "no-cache"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_FOR_READERS = {"Cache-Control": "private, max-age=31536000, immutable"}

TilePath = Annotated[
    str,
    Path(
        description="`<L>/<N>[.p/<W>]`: level, index in elements of three digits, and the width of a "
        "partial tile.",
        examples=["0/000.p/5"],
    ),
]
BundlePath = Annotated[str, Path(description="`<N>[.p/<W>]`, as for tiles.", examples=["000.p/5"])]


@operation(
    summary="This contract",
    purpose="OpenAPI 3.1, as committed with the code.",
    answers={200: Answer(says="The contract", media=("application/json",))},
)
@router.get("/openapi.json")
def read_contract(request: Request) -> Response:
    """The contract of the running code."""
    return Response(contract.text(request.app), media_type="application/json")


@operation(
    summary="What a problem code means",
    purpose="In both languages; every problem document's `type` leads here.",
    answers={200: Answer(model=ProblemKind, says="What it means")},
    errors=("not_found",),
    fill={"code": "not_releasable"},
)
@router.get("/problems/{code}")
def read_problem(code: Annotated[str, Path(examples=["not_releasable"])]) -> Response:
    """Status and title of a code."""
    kind = KINDS.get(code)
    if kind is None:
        raise ProblemError("not_found", f"no problem code `{code}`")
    return answered(ProblemKind(code=code, status=kind.status, title=Words(zh=kind.zh, en=kind.en)))


@operation(
    summary="Whether the bank can decide and record",
    purpose="For whoever watches over it: the writer answers, the log's head is whole, nothing is in "
    "doubt.",
    answers={200: Answer(model=Health, says="It can")},
    errors=("log_unavailable", "outcome_unknown", "busy"),
)
@router.get("/healthz")
async def read_health(request: Request, bank: OpenBank) -> Response:
    """200 if the writer answers and the head is whole; a problem otherwise."""
    if request.app.state.doubt.reason:
        raise ProblemError("log_unavailable", "the log is in doubt; see the operator's console")

    def look(conn: Connection) -> int:
        log.check_head(conn, bank.origin)
        return log.head(conn, bank.origin).size

    size = await bank.database.write_async(look)
    return answered(Health(status="ok", log_size=size, checked_at=bank.now()))


# --- the log --------------------------------------------------------------------------------------


@operation(
    summary="The newest signed checkpoint of the log",
    purpose="A C2SP tlog-checkpoint: origin, size and root hash under the bank's Ed25519 signature. "
    "Keep it: any later log must contain this one.",
    answers={200: Answer(says="The signed note", media=(TEXT,))},
)
@log_router.get("/log/checkpoint", dependencies=[Depends(public()), Depends(Accepts(TEXT))])
def read_checkpoint(bank: OpenBank) -> Response:
    """The stored note; there always is one, for it is published before the doors open."""
    with bank.database.read() as conn:
        note = log.latest_checkpoint(conn, bank.origin)
    if note is None:
        raise ProblemError("not_found", "no checkpoint has been published yet")
    return Response(note, media_type=TEXT, headers=_FRESH)


@operation(
    summary="A bundle of log entries",
    purpose="C2SP tlog-tiles entry bundle: each leaf after its length, big-endian uint16. For auditors "
    "and regulators.",
    answers={200: Answer(says="The bundle", media=(BYTES,))},
    errors=("not_found",),
    fill={"bundle": "000.p/1"},
)
@log_router.get("/log/tile/entries/{bundle:path}", dependencies=[Depends(Accepts(BYTES))])
def read_bundle(
    bank: OpenBank,
    bundle: BundlePath,
    _: Annotated[Caller, Depends(require("audit:read"))],
) -> Response:
    """The leaves, verbatim."""
    tile = _tile(f"tile/entries/{bundle}")
    with bank.database.read() as conn:
        try:
            data = log.bundle(conn, bank.origin, tile.index, tile.width)
        except log.NotInLogError:
            raise _no_tile() from None
    return Response(data, media_type=BYTES, headers=_FOR_READERS)


@operation(
    summary="A tile of the Merkle tree",
    purpose="C2SP tlog-tiles: up to 256 hashes of one level, to prove inclusion and consistency with "
    "any tlog client.",
    answers={200: Answer(says="The hashes, 32 bytes each", media=(BYTES,))},
    errors=("not_found",),
    fill={"tile": "0/000.p/1"},
)
@log_router.get("/log/tile/{tile:path}", dependencies=[Depends(public()), Depends(Accepts(BYTES))])
def read_tile(bank: OpenBank, tile: TilePath) -> Response:
    """The hashes; 404 for whatever is not, or not yet, a tile."""
    wanted = _tile(f"tile/{tile}")
    if wanted.level is None:
        raise _no_tile()
    with bank.database.read() as conn:
        try:
            data = log.tile(conn, bank.origin, wanted.level, wanted.index, wanted.width)
        except log.NotInLogError:
            raise _no_tile() from None
    return Response(data, media_type=BYTES, headers=_FOR_EVER)


@operation(
    summary="Entries of the log, one by one",
    purpose="Leaves with index and hash, in order, for auditors and regulators who read rather than "
    "verify; what they mean is in the leaf itself.",
    answers={200: Answer(model=EntriesOut, says="Some entries")},
)
@log_router.get("/v1/log/entries", dependencies=[Depends(Accepts("application/json"))])
def list_entries(
    bank: OpenBank,
    _: Annotated[Caller, Depends(require("audit:read"))],
    start: Annotated[int, Query(ge=0, le=2**53, description="Index of the first entry.")] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="How many at the most.")] = 20,
) -> Response:
    """Up to `limit` leaves from `start` on."""
    with bank.database.read() as conn:
        size = log.head(conn, bank.origin).size
        stop = min(start + limit, size)
        leaves = list(log.leaves(conn, bank.origin, start, stop)) if start < stop else []
    entries = [EntryOut.of(index, leaf) for index, leaf in enumerate(leaves, start)]
    return answered(EntriesOut(origin=bank.origin, size=size, data=entries, has_more=stop < size))


async def proof_of(bank: Bank, decision_id: str, *, party_id: str | None) -> ProofOut:
    """The proof of a decision's leaf under the newest checkpoint that covers it.

    Raises `not_found` for an unknown decision and for another organisation's alike.
    """
    answer = await asyncio.to_thread(deciding.read_decision, bank, decision_id, party_id=party_id)
    # A checkpoint is published every second; whoever asks sooner has it published now. `log.proof`
    # may store one, so it runs where everything is written.
    text = await bank.database.write_async(
        lambda conn: log.proof(conn, bank.origin, answer.leaf_index, bank.keys.log)
    )
    proof = TlogProof.from_bytes(text)
    return ProofOut(
        decision=decision_id,
        origin=bank.origin,
        index=proof.index,
        size=checkpoint_of(proof.checkpoint, bank.origin).size,
        leaf_hash=answer.leaf_hash.hex(),
        inclusion=[hashed.hex() for hashed in proof.hashes],
        checkpoint=proof.checkpoint.decode(),
        text=text.decode(),
    )


def _tile(path: str) -> Tile:
    try:
        return Tile.from_path(path)
    except TileError:
        raise _no_tile() from None


def _no_tile() -> ProblemError:
    return ProblemError("not_found", "the log has no such tile")
