"""The log in public: the signed checkpoint and the tiles (C2SP tlog-tiles), for anybody to verify.

Hash tiles say nothing about anyone. Entry bundles hold the leaves and need `audit:read`.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from audit import log
from audit.tiles import Tile, TileError
from gateway.api.bodies import Accepts, OpenBank, answered
from gateway.api.operation import Answer, operation
from gateway.api.schemas.regulator import EntriesOut, EntryOut
from gateway.errors import ProblemError
from gateway.identity.caller import Caller, public, require

router = APIRouter(tags=["log"])

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
    summary="The newest signed checkpoint of the log",
    purpose="A C2SP tlog-checkpoint: origin, size and root hash under the bank's Ed25519 signature. "
    "Keep it: any later log must contain this one.",
    answers={200: Answer(says="The signed note", media=(TEXT,))},
)
@router.get("/log/checkpoint", dependencies=[Depends(public()), Depends(Accepts(TEXT))])
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
@router.get("/log/tile/entries/{bundle:path}", dependencies=[Depends(Accepts(BYTES))])
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
@router.get("/log/tile/{tile:path}", dependencies=[Depends(public()), Depends(Accepts(BYTES))])
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
@router.get("/v1/log/entries", dependencies=[Depends(Accepts("application/json"))])
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


def _tile(path: str) -> Tile:
    try:
        return Tile.from_path(path)
    except TileError:
        raise _no_tile() from None


def _no_tile() -> ProblemError:
    return ProblemError("not_found", "the log has no such tile")
