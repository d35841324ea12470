"""Generations of the law: the whole sets of packs a bank decided by, one after another, kept by digest.

The rules it keeps: a set decides from the moment a second person activates it, never from disk; what is
kept is what was activated, to the byte, and is refused if it is not; an edition that decided is never
changed, only corrected by another file. Floor 1: the bank opens by it.

    files = checked(packs.read_all(Path("packs")))
    made = propose(conn, files, reason="…", person_id="psn_li", now=now)
    activate(conn, made.id, person_id="psn_wang", now=now)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from hashlib import sha256
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.errors import FieldError, ProblemError, SettingsError
from gateway.tables import metadata, new_id
from policies import packs
from policies.packs import PackError
from policies.rules import Law

_GENERATION = metadata.tables["law_generation"]
_FILE = metadata.tables["law_file"]
_BANK = metadata.tables["bank"]

#: Who stands as the first person of the first generation: the packs came with the product.
PRODUCT = "product"
_NAMED = 50  # mistakes told at once at the most


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One set of packs: `files` by path and digest; decided by once `activated_at` is there."""

    id: str
    digest: str
    files: Mapping[str, str]
    reason: str
    proposed_by: str
    proposed_at: datetime
    activated_by: str | None
    activated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Packs in which nothing is wrong (`checked` makes them)."""

    files: Mapping[str, bytes]


class Laws:
    """The law of each generation, read once; owns its cache and what it saw to be in force last."""

    def __init__(self, laws: Mapping[str, Law], current: str) -> None:
        """`current` must be among `laws`."""
        self._laws = dict(laws)
        self.current = current

    @property
    def law(self) -> Law:
        """The law last seen in force: for texts, never to decide by."""
        return self._laws[self.current]

    def in_force(self, conn: Connection) -> tuple[str, Law]:
        """The generation in force in this transaction, and its law."""
        generation_id = active_id(conn)
        law = self.of(conn, generation_id)
        self.current = generation_id
        return generation_id, law

    def of(self, conn: Connection, generation_id: str) -> Law:
        """The law of any generation. Raises what `load` raises."""
        if generation_id not in self._laws:
            self._laws[generation_id] = load(conn, generation_id)
        return self._laws[generation_id]


@cache
def shipped_files() -> Mapping[str, bytes]:
    """The packs that came with this version, read once."""
    return MappingProxyType(packs.read_all(packs.shipped()))


@cache
def shipped_law() -> Law:
    """Their law: they do not change under a running process."""
    return packs.load(packs.folder_of(shipped_files()))


def opened(conn: Connection) -> Laws:
    """The laws of a bank being opened, the one in force among them. Raises as `load` does."""
    generation_id = active_id(conn)
    return Laws({generation_id: load(conn, generation_id)}, generation_id)


def active_id(conn: Connection) -> str:
    """The generation in force in this transaction.

    Raises `SettingsError` if a bank of an older version was migrated and adopted none yet.
    """
    found: str | None = conn.execute(sa.select(_BANK.c.law_generation_id)).scalar_one()
    if found is None:
        raise SettingsError("the bank decides by no packs yet: stop the gateway, run `hgr migrate`")
    return found


def has_one(conn: Connection) -> bool:
    """Whether there is a bank that some packs decide for; there is none in an empty database."""
    found = conn.execute(sa.select(_BANK.c.law_generation_id)).one_or_none()
    return found is None or found.law_generation_id is not None


def first(conn: Connection, *, by: str, now: datetime) -> Generation:
    """The shipped packs as a bank's first generation, in force at once. Raises `PackError`."""
    shipped_law()  # whatever does not hold together is never in force
    generation_id = _store(conn, shipped_files(), reason="", person_id=PRODUCT, now=now)
    return _activated(conn, generation_id, by, now)


def checked(files: Mapping[str, bytes]) -> Checked:
    """Packs that hold together, all their cases run: seconds of work, so before the transaction.

    Raises `ProblemError` `invalid_request` naming every mistake.
    """
    _refuse(
        FieldError(
            pointer=f"/files/{one.file}",
            detail=f"line {one.line}, {one.key}: {one.en} ({one.zh}) [{one.code}]",
        )
        for one in packs.check(packs.folder_of(files))
    )
    return Checked(files=dict(files))


def propose(
    conn: Connection, packs_: Checked, *, reason: str, person_id: str, now: datetime
) -> Generation:
    """The first person's word: these packs are to decide. They do not yet.

    Raises `ProblemError`: `invalid_request` naming every edition in force that they change or drop,
    `already_done` if they are in force or wait for the second person.
    """
    files = packs_.files
    _verify_kept(conn, _digests(files))
    digest = digest_of(_digests(files))
    same = _generations(
        conn,
        _GENERATION.c.digest == digest,
        sa.or_(_GENERATION.c.activated_at.is_(None), _GENERATION.c.id == active_id(conn)),
    )
    if same:
        said = "is in force" if same[0].activated_at else "waits for its second person"
        raise ProblemError("already_done", f"the same packs: generation `{same[0].id}` {said}")
    return read(conn, _store(conn, files, reason=reason, person_id=person_id, now=now))


def activate(conn: Connection, generation_id: str, *, person_id: str, now: datetime) -> Generation:
    """The second person's word: from here on the bank decides by these packs.

    The caller bumps the version of the facts. Raises `ProblemError`: `not_found`, `same_person`,
    `already_done`, and `invalid_request` as `propose` does, for other packs may be in force by now;
    `SettingsError` as `load` does. Those in force stay.
    """
    made = read(conn, generation_id)
    if made.activated_at is not None:
        raise ProblemError("already_done", f"generation `{generation_id}` was activated already")
    if made.proposed_by == person_id:
        raise ProblemError("same_person", "whoever proposed packs cannot activate them")
    _verify_kept(conn, made.files)
    load(conn, generation_id)
    return _activated(conn, generation_id, person_id, now)


def laid_over(conn: Connection, changed: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """The packs in force with some files changed, added, or (None) left out.

    Raises `ProblemError` `invalid_request` naming every file to leave out that is not there.
    """
    now = contents(conn, read(conn, active_id(conn)))
    wrong = tuple(
        FieldError(pointer=f"/files/{path}", detail=f"there is no `{path}` to leave out")
        for path, content in sorted(changed.items())
        if content is None and path not in now
    )
    if wrong:
        raise ProblemError("invalid_request", wrong[0].detail, errors=wrong)
    files: dict[str, bytes | None] = {**now, **changed}
    return {path: content for path, content in sorted(files.items()) if content is not None}


def _verify_kept(conn: Connection, files: Mapping[str, str]) -> None:
    """Raise `ProblemError` `invalid_request` for an edition in force that is not among `files`."""

    def wrong() -> Iterator[FieldError]:
        for path, digest in sorted(read(conn, active_id(conn)).files.items()):
            if packs.is_edition(path) and files.get(path) != digest:
                done = "changed" if path in files else "dropped"
                detail = f"was activated and cannot be {done}; correct it by a file `….r2.yaml`"
                yield FieldError(pointer=f"/files/{path}", detail=detail)

    _refuse(wrong())


def _refuse(found: Iterable[FieldError]) -> None:
    wrong = tuple(found)
    if wrong:
        said = "1 mistake" if len(wrong) == 1 else f"{len(wrong)} mistakes"
        detail = f"{said} in the packs; those in force stay"
        raise ProblemError("invalid_request", detail, errors=wrong[:_NAMED])


def read(conn: Connection, generation_id: str) -> Generation:
    """One generation; `ProblemError` `not_found`."""
    found = _generations(conn, _GENERATION.c.id == generation_id)
    if not found:
        raise ProblemError("not_found", f"there is no generation `{generation_id}`")
    return found[0]


def listed(conn: Connection, *, activated: bool = False) -> tuple[Generation, ...]:
    """All generations, oldest first; or those that decided, as they came into force."""
    if not activated:
        return _generations(conn, sa.true())
    made = _generations(conn, _GENERATION.c.activated_at.is_not(None))
    return tuple(sorted(made, key=lambda one: (str(one.activated_at), one.id)))


def contents(conn: Connection, made: Generation) -> dict[str, bytes]:
    """The files of a generation by path, each as it was proposed.

    Raises `SettingsError` naming a file that is missing or is not what its digest says.
    """
    if digest_of(made.files) != made.digest:
        raise SettingsError(f"the list of files of generation `{made.id}` was changed since")
    rows = conn.execute(
        sa.select(_FILE.c.digest, _FILE.c.content).where(
            _FILE.c.digest.in_(sorted(set(made.files.values())))
        )
    )
    held = {row.digest: row.content for row in rows}
    for path, digest in sorted(made.files.items()):
        if digest not in held or sha256(held[digest]).hexdigest() != digest:
            raise SettingsError(f"`{path}` of generation `{made.id}` is not what was activated")
    return {path: held[digest] for path, digest in sorted(made.files.items())}


def load(conn: Connection, generation_id: str) -> Law:
    """The law of a generation, from what is kept of it.

    Raises `SettingsError` as `contents` does, or if this version cannot read it any more.
    """
    made = read(conn, generation_id)
    files = contents(conn, made)
    if made.digest == digest_of(_digests(shipped_files())):
        return shipped_law()
    try:
        return packs.load(packs.folder_of(files))
    except PackError as error:
        raise SettingsError(
            f"this version cannot read the packs of generation `{generation_id}`: {error}"
        ) from error


def differing(conn: Connection) -> tuple[str, ...]:
    """Files in which the packs on disk differ from those in force, by path; none decides."""
    active, disk = read(conn, active_id(conn)).files, _digests(shipped_files())
    paths = sorted({*active, *disk})
    return tuple(path for path in paths if active.get(path) != disk.get(path))


def named(made: Generation) -> dict[str, str]:
    """What the log calls it."""
    return {"generation": made.id, "digest": made.digest}


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 over the paths and digests of a set of packs."""
    return sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: sha256(content).hexdigest() for path, content in files.items()}


def _store(
    conn: Connection, files: Mapping[str, bytes], *, reason: str, person_id: str, now: datetime
) -> str:
    digests = _digests(files)
    known = set(conn.execute(sa.select(_FILE.c.digest)).scalars())
    new = {digests[path]: content for path, content in files.items()}
    rows = [{"digest": d, "content": c} for d, c in sorted(new.items()) if d not in known]
    if rows:
        conn.execute(sa.insert(_FILE), rows)
    generation_id = new_id("gen")
    conn.execute(
        sa.insert(_GENERATION).values(
            id=generation_id,
            digest=digest_of(digests),
            files=digests,
            reason=reason,
            proposed_by=person_id,
            proposed_at=now,
        )
    )
    return generation_id


def _activated(conn: Connection, generation_id: str, person_id: str, now: datetime) -> Generation:
    conn.execute(
        sa.update(_GENERATION)
        .where(_GENERATION.c.id == generation_id)
        .values(activated_by=person_id, activated_at=now)
    )
    conn.execute(sa.update(_BANK).values(law_generation_id=generation_id))
    return read(conn, generation_id)


def _generations(conn: Connection, *wanted: sa.ColumnElement[bool]) -> tuple[Generation, ...]:
    def found() -> Iterator[Generation]:
        query = sa.select(_GENERATION).where(*wanted)
        query = query.order_by(_GENERATION.c.proposed_at, _GENERATION.c.id)
        for row in conn.execute(query).mappings():
            yield Generation(**row)

    return tuple(found())
