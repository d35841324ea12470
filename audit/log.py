"""The log: append within the caller's transaction, publish signed checkpoints, prove.

The one door to the audit tables; what reads (`audit.tree`) and what checks (`audit.check`) is
offered here too, so that callers write `log.append`, `log.inclusion`, `log.check`.

Rules it keeps:

- Nothing here commits. What a caller appends exists exactly when the caller's change does.
- INVARIANT: one head row per log; every append locks it, then compares and swaps it. Two writers
  can never both believe to have written entry n.
- INVARIANT: indices are 0 to size - 1 without holes; times strictly increase.
- A checkpoint is signed only over a root derived anew from the tiles, and only if every earlier
  checkpoint still lies on the same history.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from audit import merkle
from audit.check import check, check_head, checkpoint_of
from audit.leaf import Draft, Randomness, SealedLeaf, seal
from audit.merkle import EMPTY_ROOT, verify_inclusion
from audit.note import Checkpoint, Signer, TlogProof, sign
from audit.tiles import TILE_WIDTH, root_of_hashes
from audit.tree import (
    Head,
    LogCorruptError,
    LogError,
    NotInLogError,
    bundle,
    consistency,
    document,
    edge_tiles,
    head,
    inclusion,
    latest_checkpoint,
    leaf,
    leaves,
    log_checkpoint,
    log_document,
    log_head,
    log_leaf,
    log_opening,
    log_tile,
    metadata,
    opening,
    root_at,
    tile,
)

__all__ = [
    "Appended",
    "ClockWentBackError",
    "Draft",
    "Head",
    "HeadMovedError",
    "LogCorruptError",
    "LogError",
    "LogExistsError",
    "NotInLogError",
    "RootMismatchError",
    "append",
    "bundle",
    "check",
    "check_head",
    "consistency",
    "create",
    "document",
    "erase_opening",
    "head",
    "inclusion",
    "latest_checkpoint",
    "leaf",
    "leaves",
    "metadata",
    "opening",
    "proof",
    "publish",
    "tile",
]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# reliability: "alarm and stop if now < last - 2 s"; below that, clocks of two machines may differ.
_TOLERATED_US: Final = 2_000_000
_IN_CHUNK: Final = 500  # parameters of one IN; SQLite allows 32,766, old builds 999

# Said once: to build a statement costs more than to run it, and these run for every entry.
_LEAVES: Final = insert(log_leaf)
_KNOWN_DOCUMENTS: Final = select(log_document.c.digest).where(
    log_document.c.digest.in_(bindparam("digests", expanding=True))
)
_LENGTHEN: Final = (
    update(log_tile)
    .where(
        log_tile.c.origin == bindparam("whose"),
        log_tile.c.level == bindparam("at_level"),
        log_tile.c.n == bindparam("at_n"),
    )
    .values(data=bindparam("data"))
)
_SWAP: Final = (
    update(log_head)
    .where(
        log_head.c.origin == bindparam("whose"),
        log_head.c.size == bindparam("old_size"),
        log_head.c.epoch == bindparam("old_epoch"),
    )
    .values({n: bindparam(n) for n in ("size", "root", "frontier", "last_time_us")})
)


class LogExistsError(LogError):
    """There already is a log of this origin."""


class HeadMovedError(LogError):
    """Another writer got there first; nothing may be committed, begin again from the head."""


class ClockWentBackError(LogError):
    """The clock is more than two seconds behind the newest entry; whoever runs it is at fault."""


class RootMismatchError(LogCorruptError):
    """The tiles, the head and the checkpoints disagree; nothing was signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """An entry as it will stand once the caller commits."""

    index: int
    time: datetime
    leaf: bytes
    leaf_hash: bytes


def create(conn: Connection, origin: str, now: datetime) -> None:
    """A new, empty log, once per bank. The first entry may bear the time `now` itself.

    `origin` must be fit for the name of a key (no spaces, no plus). Raises `LogExistsError`.
    """
    known = conn.execute(select(log_head.c.size).where(log_head.c.origin == origin)).first()
    if known is not None:
        raise LogExistsError(f"there already is a log `{origin}`")
    conn.execute(
        insert(log_head).values(
            origin=origin,
            size=0,
            root=EMPTY_ROOT,
            frontier=b"",
            last_time_us=_microseconds(now) - 1,
            epoch=0,
        )
    )


def append(
    conn: Connection,
    origin: str,
    drafts: Sequence[Draft],
    *,
    now: datetime,
    randomness: Randomness = os.urandom,
) -> tuple[Appended, ...]:
    """Append the drafts, in order, within the caller's transaction.

    1 lock the head; 2 give each entry its time; 3 seal; 4 store leaves, documents, openings;
    5 grow the tiles; 6 swap the head. About seven statements, however many drafts.

    `now` is aware. Raises `HeadMovedError`, `ClockWentBackError`, `LogCorruptError`, `LeafError`;
    after any of them the caller must roll back. The entries are real only after the caller's
    COMMIT: until then a crash, at any line below, leaves the log as it was.
    """
    if not drafts:
        return ()

    # 1 The row stays locked until the caller's transaction ends; on SQLite the caller holds the
    #   write lock of the file (BEGIN IMMEDIATE). A crash here leaves nothing: no row is written.
    old = head(conn, origin, lock=True)
    tree = old.tree()
    edge = edge_tiles(conn, origin, old.size)

    # 2 The order of the log is the order of its times, whatever the clock does.
    now_us = _microseconds(now)
    if now_us < old.last_time_us - _TOLERATED_US:
        raise ClockWentBackError(
            f"the clock says `{now.isoformat()}`, which is before the newest entry of `{origin}`"
        )
    first_us = max(now_us, old.last_time_us + 1)
    times = [EPOCH + _MICROSECOND * (first_us + offset) for offset in range(len(drafts))]

    # 3 Sealing is pure: a draft that cannot be sealed stops the append before its first write.
    sealed = [
        seal(draft, index=old.size + offset, time=time, randomness=randomness)
        for offset, (draft, time) in enumerate(zip(drafts, times, strict=True))
    ]
    appended = tuple(
        Appended(
            index=old.size + offset,
            time=time,
            leaf=one.leaf,
            leaf_hash=merkle.leaf_hash(one.leaf),
        )
        for offset, (one, time) in enumerate(zip(sealed, times, strict=True))
    )

    # 4 The primary key (origin, idx) refuses a second entry of one index. A crash between these
    #   writes leaves nothing: they belong to one transaction with the head.
    conn.execute(
        _LEAVES,
        [
            {"origin": origin, "idx": one.index, "leaf": one.leaf, "leaf_hash": one.leaf_hash}
            for one in appended
        ],
    )
    _store_documents(conn, sealed)
    openings = [
        {"origin": origin, "idx": at.index, "name": one.name, "salt": one.salt, "value": one.value}
        for at, entry in zip(appended, sealed, strict=True)
        for one in entry.openings
    ]
    if openings:
        conn.execute(insert(log_opening), openings)

    # 5 A crash here leaves nothing. If a database ever kept tiles without their head, they would
    #   be longer than the head says, and `check` would name them.
    _grow_tiles(conn, origin, old.size, edge, [one.leaf_hash for one in appended])

    # 6 The swap is the last write: a late writer finds size or epoch changed, updates no row,
    #   and must roll everything back. A crash after it still leaves nothing until COMMIT.
    for one in appended:
        tree.append(one.leaf_hash)
    swapped = conn.execute(
        _SWAP,
        {
            "whose": origin,
            "old_size": old.size,
            "old_epoch": old.epoch,
            "size": tree.size,
            "root": tree.root(),
            "frontier": b"".join(tree.peaks),
            "last_time_us": first_us + len(drafts) - 1,
        },
    )
    if swapped.rowcount != 1:
        raise HeadMovedError(f"the head of `{origin}` is no longer at `{old.size}`")
    return appended


def erase_opening(conn: Connection, origin: str, index: int, name: str) -> None:
    """Erase what opens a commitment, for good; every proof stays valid. Erasing twice is fine."""
    conn.execute(
        delete(log_opening).where(
            log_opening.c.origin == origin,
            log_opening.c.idx == index,
            log_opening.c.name == name,
        )
    )


def publish(conn: Connection, origin: str, signer: Signer) -> bytes:
    """The signed checkpoint of the newest state, a note; signed and stored if it is new.

    Call it after the entries are committed. Raises `RootMismatchError` rather than sign over a
    tree that does not hash to its head or that left an earlier checkpoint behind. Ed25519 is
    deterministic, so doing it again after a crash gives the same bytes.
    """
    # tlog-checkpoint: "The log's key name in its signature line SHOULD match the origin line."
    if signer.name != origin:
        raise LogError(f"the key `{signer.name}` does not speak for the log `{origin}`")
    # The checkpoint is read before the head, so that one stored meanwhile cannot look like a
    # head that went back.
    latest = latest_checkpoint(conn, origin)
    newest = head(conn, origin)
    # Independent of the frontier: a flipped bit in either shows here, before it is signed over.
    root = root_at(conn, origin, newest.size)
    if root != newest.root:
        raise RootMismatchError(f"the tiles of `{origin}` do not give the root of its head")
    if latest is not None:
        # tlog-checkpoint: "A log MUST not sign any checkpoint which is inconsistent with any
        # checkpoint it previously signed."
        earlier = checkpoint_of(latest, origin)
        if earlier.size > newest.size:
            raise RootMismatchError(f"`{origin}` is shorter than its last checkpoint")
        if root_at(conn, origin, earlier.size) != earlier.root:
            raise RootMismatchError(f"`{origin}` left the history of its last checkpoint")
        if earlier.size == newest.size:
            return latest
    note = sign(Checkpoint(origin=origin, size=newest.size, root=root).text(), signer)
    # A crash before COMMIT leaves no checkpoint of this size; the next publish signs the same
    # bytes. The primary key (origin, size) refuses a second, different one.
    conn.execute(insert(log_checkpoint).values(origin=origin, size=newest.size, note=note))
    return note


def proof(conn: Connection, origin: str, index: int, signer: Signer) -> bytes:
    """The receipt of entry `index`: a tlog-proof under the newest checkpoint that covers it.

    Publishes a checkpoint if none covers the entry yet. Raises `NotInLogError`, and
    `LogCorruptError` rather than hand out a receipt that does not verify.
    """
    entry = leaf(conn, origin, index)
    note = latest_checkpoint(conn, origin)
    if note is None or checkpoint_of(note, origin).size <= index:
        note = publish(conn, origin, signer)
    checkpoint = checkpoint_of(note, origin)
    hashes = inclusion(conn, origin, index, checkpoint.size)
    try:
        verify_inclusion(index, checkpoint.size, merkle.leaf_hash(entry), hashes, checkpoint.root)
    except merkle.ProofError as error:
        raise LogCorruptError(f"entry `{index}` of `{origin}` cannot be proven: {error}") from error
    return TlogProof(index=index, hashes=hashes, checkpoint=note).to_bytes()


def _store_documents(conn: Connection, sealed: Sequence[SealedLeaf]) -> None:
    """Store each document once: the digest is its name, so storing again would change nothing."""
    bodies = {one.digest: one.body for entry in sealed for one in entry.documents}
    digests = list(bodies)
    for at in range(0, len(digests), _IN_CHUNK):
        chunk = digests[at : at + _IN_CHUNK]
        known = set(conn.execute(_KNOWN_DOCUMENTS, {"digests": chunk}).scalars().all())
        missing = [{"digest": one, "body": bodies[one]} for one in chunk if one not in known]
        if missing:
            conn.execute(insert(log_document), missing)


def _grow_tiles(
    conn: Connection,
    origin: str,
    size: int,
    edge: dict[int, tuple[bytes, ...]],
    hashes: Sequence[bytes],
) -> None:
    """Write the tiles that `hashes`, appended to a tree of `size`, begin or lengthen."""
    grown: dict[tuple[int, int], list[bytes]] = {}
    begun: set[tuple[int, int]] = set()
    for position, leaf_hashed in enumerate(hashes, start=size):
        level, place, hashed = 0, position, leaf_hashed
        while True:
            n, at = divmod(place, TILE_WIDTH)
            key = (level, n)
            if at == 0:
                begun.add(key)
                grown[key] = []
            elif key not in grown:
                grown[key] = list(edge[level])
            grown[key].append(hashed)
            if len(grown[key]) < TILE_WIDTH:
                break
            # tlog-tiles: "At level 1 and above, each hash in a tile is the Merkle Tree Hash of a
            # full tile at the level below."
            level, place, hashed = level + 1, n, root_of_hashes(b"".join(grown[key]))
    rows = [
        {"origin": origin, "level": level, "n": n, "data": b"".join(grown[level, n])}
        for level, n in sorted(begun)
    ]
    if rows:
        conn.execute(insert(log_tile), rows)
    for level, n in grown.keys() - begun:
        where = {"whose": origin, "at_level": level, "at_n": n}
        lengthened = conn.execute(_LENGTHEN, where | {"data": b"".join(grown[level, n])})
        if lengthened.rowcount != 1:
            raise HeadMovedError(f"tile `{level}/{n}` of `{origin}` is gone")


def _microseconds(time: datetime) -> int:
    """Whole microseconds since 1970 UTC; `time` must be aware, or Python raises `TypeError`."""
    return (time - EPOCH) // _MICROSECOND
