"""Papers: recorded by one person, checked by another, and from then on counting until voided.

Licence, approval, filing, certificate, report, receipt, ethics opinion, waiver, agreement: one model.
What is wrong with a paper is not judged here: the paper of each kind that fits a question best is
chosen, and its facts are said as they are; what a paper does not state is left out, so unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import bump
from gateway.errors import FieldError, ProblemError
from gateway.registry import ledger
from gateway.tables import metadata, new_id
from policies.request import Value

_PAPER = metadata.tables["paper"]
_QUOTA = metadata.tables["quota"]

#: The kinds of which one is chosen for a whole request: `paper.<kind>.…` of the vocabulary.
KINDS = (
    "preservation",
    "cooperation",
    "filing",
    "exit",
    "prior_report",
    "backup",
    "security_review",
    "ethics",
    "standard_contract",
    "cac_assessment",
    "pia",
    "customs",
    "deposit",
    "collection",
    "waiver",
    "decree_818",
    "certification",
    "change_approval",
    "change_statement",
    "site_undertaking",
    "renewal",
)
#: A source institution's consent to one use of its collection; read per collection, like `deposit`.
OWNER_CONSENT = "owner_consent"
#: Measures that are facts of a paper.
_TOLD = frozenset({"people", "units"})
#: Kinds that may stand for several projects, if they name every party asked for.
_FOR_PARTIES = frozenset({"standard_contract", "cac_assessment", "pia"})
#: Kinds that have facts of their own, from entries in their scope, and what each entry may be.
_OWN: Mapping[str, Mapping[str, frozenset[object]]] = {
    "ethics": {
        "committee_registered": frozenset({True, False}),
        "names_embryo": frozenset({True, False}),
        "foreign_side": frozenset({"approved", "accepts_chinese", "none"}),
    },
    "filing": {"before_start": frozenset({True, False})},
}
_SCOPE_LISTS = ("purposes", "types", "parties", "sites", "collections", "dataset_sha256", "clauses")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: What the national authority itself issues or takes in.
NATIONAL = frozenset(
    {
        "collection",
        "preservation",
        "cooperation",
        "filing",
        "exit",
        "prior_report",
        "backup",
        "security_review",
        "change_approval",
        "change_statement",
        "renewal",
    }
)
#: Decree 777 (in force that day): 国务院科学技术行政部门 became 国务院卫生健康主管部门 in the Regulations.
TO_NHC = date(2024, 5, 1)
#: How an issuer's text names one of the two; a provincial commission (省卫生健康委) is neither.
_MINISTRY = re.compile(r"科技部|科学技术部|Ministry of Science and Technology|\bMOST\b")
_COMMISSION = re.compile(r"国家卫生健康委|国家卫健委|National Health Commission|\bNHC\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperDraft:
    """What a first person records; `scope` and `number` as `tables.Paper` says.

    `quotas` gives the total of each of `ledger.MEASURES` the paper allows, `drawn` how much of it was
    drawn before it is recorded here; what is not said is not zero but unknown. `documents`: whatever
    belongs to it besides its own text, by name → SHA-256. `issued_on` None: on `valid_from`.
    """

    kind: str
    number: str
    issuer: str
    holder_id: str
    valid_from: date
    document_sha256: str
    valid_to: date | None = None
    open_ended: bool = False
    project_id: str | None = None
    collection_id: str | None = None
    scope: Mapping[str, Any] = field(default_factory=dict)
    quotas: Mapping[str, int] = field(default_factory=dict)
    drawn: Mapping[str, int] = field(default_factory=dict)
    invented: bool = False
    issued_on: date | None = None
    documents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much of one measure a paper allows, what grants reserved of it, and what has gone out.

    `opened`: it is known what was drawn before it was kept here.
    """

    id: str
    measure: str
    total: int
    opened: bool
    reserved: int
    released: int

    @property
    def used(self) -> int:
        """What is not free any more."""
        return self.reserved + self.released


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper as it stands."""

    id: str
    kind: str
    number: str
    issuer: str
    holder_id: str
    project_id: str | None
    collection_id: str | None
    valid_from: date
    valid_to: date | None
    open_ended: bool
    scope: Mapping[str, Any]
    document_sha256: str
    recorded_by: str
    recorded_at: datetime
    checked_by: str | None
    checked_at: datetime | None
    voided_at: datetime | None
    void_reason: str
    invented: bool
    issued_on: date | None
    documents: Mapping[str, str] | None  # None: recorded before anybody asked
    quotas: tuple[Quota, ...] = ()

    def is_in_force(self, day: date) -> bool:
        """Whether it is valid that day, its last day included; an expiry not stated is not one."""
        ends_later = self.open_ended or (self.valid_to is not None and day <= self.valid_to)
        return self.valid_from <= day and ends_later

    def states(self, name: str) -> frozenset[str] | None:
        """One list of its scope; None where the paper does not state it."""
        listed = self.scope.get(name)
        return None if listed is None else frozenset(listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a question asks of papers: its day, project, parties, collections and data sets."""

    as_of: date
    project_id: str
    parties: frozenset[str]  # requester, recipient, sponsor, beneficiary; never the bank itself
    collections: frozenset[str]
    datasets: frozenset[str] | None  # digests (`cohorts.dataset_digests`); None: no data asked for


def record(conn: Connection, draft: PaperDraft, *, person_id: str, now: datetime) -> Paper:
    """The first person's word: the paper counts for nothing until `check`ed by another.

    Raises `ProblemError` `invalid_request` naming each wrong field, `not_found` for the holder,
    project or collection.
    """
    verify(draft)
    for table, subject in (
        ("party", draft.holder_id),
        ("project", draft.project_id),
        ("collection", draft.collection_id),
    ):
        ids = metadata.tables[table].c.id
        if subject and conn.execute(sa.select(ids).where(ids == subject)).first() is None:
            raise ProblemError("not_found", f"there is no {table} `{subject}`")
    paper_id = new_id("ppr")
    conn.execute(sa.insert(_PAPER).values(row_of(draft, paper_id, person_id=person_id, now=now)))
    quotas = quota_rows(draft, paper_id)
    if quotas:
        conn.execute(sa.insert(_QUOTA), quotas)
    for quota in quotas:
        if quota["measure"] in draft.drawn:
            before = draft.drawn[quota["measure"]]
            ledger.open_quota(conn, quota["id"], before, cause_id=paper_id, now=now)
    bump(conn)
    return read(conn, paper_id)


def verify(draft: PaperDraft, under: str = "") -> None:
    """Raise `ProblemError` `invalid_request` for a paper that cannot be, naming each wrong field."""
    wrong = [
        FieldError(pointer=f"{under}/{name}", detail=detail) for name, detail in _mistakes(draft)
    ]
    if wrong:
        raise ProblemError("invalid_request", wrong[0].detail, errors=tuple(wrong))


def check(conn: Connection, paper_id: str, *, person_id: str, now: datetime) -> Paper:
    """The second person's word: from here on the paper counts.

    Raises `same_person` if it is the first's, `already_done` if checked, `state_conflict` if voided.
    """
    paper = read(conn, paper_id)
    if paper.voided_at is not None:
        raise ProblemError("state_conflict", f"paper `{paper_id}` is void")
    if paper.checked_by is not None:
        raise ProblemError("already_done", f"paper `{paper_id}` is checked already")
    if paper.recorded_by == person_id:
        raise ProblemError("same_person", "whoever recorded a paper cannot check it")
    conn.execute(
        sa.update(_PAPER)
        .where(_PAPER.c.id == paper_id)
        .values(checked_by=person_id, checked_at=now)
    )
    bump(conn)
    return read(conn, paper_id)


def void(conn: Connection, paper_id: str, *, reason: str, now: datetime) -> Paper:
    """The paper counts no more, from now on. Raises `already_done`, `not_found`."""
    if read(conn, paper_id).voided_at is not None:
        raise ProblemError("already_done", f"paper `{paper_id}` is void already")
    conn.execute(
        sa.update(_PAPER).where(_PAPER.c.id == paper_id).values(voided_at=now, void_reason=reason)
    )
    bump(conn)
    return read(conn, paper_id)


def read(conn: Connection, paper_id: str) -> Paper:
    """One paper with its quotas; `ProblemError` `not_found`."""
    found = _papers(conn, _PAPER.c.id == paper_id)
    if not found:
        raise ProblemError("not_found", f"there is no paper `{paper_id}`")
    return found[0]


def listed(
    conn: Connection, *, project_id: str | None = None, holder_id: str | None = None
) -> tuple[Paper, ...]:
    """Papers of a project, a holder, or all; oldest first, unchecked and void ones included."""
    wanted: list[sa.ColumnElement[bool]] = [sa.true()]
    if project_id is not None:
        wanted.append(_PAPER.c.project_id == project_id)
    if holder_id is not None:
        wanted.append(_PAPER.c.holder_id == holder_id)
    return _papers(conn, *wanted)


def counting(conn: Connection, fit: Fit, *, bank_party_id: str) -> tuple[Paper, ...]:
    """All papers that could speak to a question: checked, not void, and bound to it.

    Bound is a paper of this project or of a collection asked for, the bank's own preservation
    licence, and what covers data leaving for exactly these parties. An ethics opinion or approval of
    another project, or of none, never is.
    """
    p = _PAPER.c
    found = _papers(
        conn,
        p.checked_by.is_not(None),
        p.voided_at.is_(None),
        sa.or_(
            p.project_id == fit.project_id,
            sa.and_(
                p.project_id.is_(None),
                sa.or_(
                    p.collection_id.in_(sorted(fit.collections)),
                    p.holder_id.in_(sorted({*fit.parties, bank_party_id})),
                ),
            ),
        ),
    )
    return tuple(paper for paper in found if _is_bound(paper, fit, bank_party_id))


def _is_bound(paper: Paper, fit: Fit, bank_party_id: str) -> bool:
    if paper.kind in {"preservation", "renewal"}:
        return paper.holder_id == bank_party_id
    if paper.collection_id is not None:
        return paper.collection_id in fit.collections
    if paper.project_id is not None:
        return True
    return paper.kind in _FOR_PARTIES and parties_match(paper, fit) is True


def choose(papers: Iterable[Paper], kind: str, fit: Fit) -> Paper | None:
    """The paper of a kind whose facts count for a question: the best by a fixed order.

    In force first, then of this very project, then with the right parties, then the right data set,
    then one with something left, then the one that lasts longest; at last by id, so that the same
    register always gives the same answer.
    """
    candidates = [paper for paper in papers if paper.kind == kind]

    def rank(paper: Paper) -> tuple[Any, ...]:
        return (
            not paper.is_in_force(fit.as_of),
            paper.project_id is None,
            parties_match(paper, fit) is not True,
            matches_dataset(paper, fit) is not True,
            is_exhausted(paper) is True,
            -(date.max if paper.open_ended else paper.valid_to or date.min).toordinal(),
            paper.id,
        )

    return min(candidates, key=rank, default=None)


def facts(paper: Paper | None, kind: str, fit: Fit) -> dict[str, Value]:
    """The facts `paper.<kind>.…` of the chosen paper; only `recorded` if there is none."""
    if paper is None:
        return {f"paper.{kind}.recorded": False}
    # Volumes and bytes are no facts of their own: whether they suffice is `papers.quotas`.
    told = [quota for quota in paper.quotas if quota.measure in _TOLD]
    total = {quota.measure: quota.total for quota in told}
    left = {quota.measure: quota.total - quota.used for quota in told if quota.opened}
    known: dict[str, Value | None] = {
        "recorded": True,
        "valid_from": paper.valid_from,
        "valid_to": paper.valid_to,
        "open_ended": paper.open_ended,
        "purposes": paper.states("purposes"),
        "types": paper.states("types"),
        "parties_match": parties_match(paper, fit),
        "matches_dataset": matches_dataset(paper, fit),
        "counts": frozenset(total),
        "units_total": total.get("units"),
        "people_total": total.get("people"),
        "units_left": left.get("units"),
        "people_left": left.get("people"),
        "exhausted": is_exhausted(paper),
    }
    known |= {name: paper.scope.get(name) for name in _OWN.get(kind, {})}
    return {f"paper.{kind}.{name}": value for name, value in known.items() if value is not None}


def parties_match(paper: Paper, fit: Fit) -> bool | None:
    """Whether every party asked for is one the paper names; None where it names none."""
    named = paper.states("parties")
    return None if named is None else fit.parties <= named


def matches_dataset(paper: Paper, fit: Fit) -> bool | None:
    """Whether every data set asked for is one the paper names by digest.

    A data item added or changed since gives another digest: "new version or added people ⇒ new
    backup" (R-INF-02). None where the paper names none, or no data are asked for.
    """
    named = paper.states("dataset_sha256")
    return None if named is None or fit.datasets is None else fit.datasets <= named


def raised(licence: Paper | None, more: Iterable[Paper | None], day: date) -> Paper | None:
    """A cooperation licence whose quotas count what papers in force add to them.

    A change approval adds its quantity to what is approved (Implementing Rules art. 46); a filed statement
    adds none, but what was drawn on it counts as drawn (art. 47: 10 % in all).
    """
    if licence is None:
        return None
    quotas = list(licence.quotas)
    for paper in more:
        for more_of in paper.quotas if paper is not None and paper.is_in_force(day) else ():
            adds = more_of.total if paper is not None and paper.kind == "change_approval" else 0
            quotas = [
                replace(
                    quota,
                    total=quota.total + adds,
                    opened=quota.opened and more_of.opened,
                    reserved=quota.reserved + more_of.reserved,
                    released=quota.released + more_of.released,
                )
                if quota.measure == more_of.measure
                else quota
                for quota in quotas
            ]
    return replace(licence, quotas=tuple(quotas))


def with_room(paper: Paper, own: Mapping[str, int]) -> Paper:
    """The paper as if `own`, what is held of its quotas by their ids, were free."""
    if not any(quota.id in own for quota in paper.quotas):
        return paper
    quotas = []
    for quota in paper.quotas:
        freed = own.get(quota.id, 0)
        reserved = max(quota.reserved - freed, 0)
        released = quota.released - (freed - (quota.reserved - reserved))
        quotas.append(replace(quota, reserved=reserved, released=released))
    return replace(paper, quotas=tuple(quotas))


def is_exhausted(paper: Paper) -> bool | None:
    """Whether one of its quotas has nothing free; a paper without quotas is not used up.

    None where that hangs on what was drawn before it was kept here, which nobody has said.
    """
    if any(quota.used >= quota.total for quota in paper.quotas):
        return True
    return False if all(quota.opened for quota in paper.quotas) else None


def is_drawn(paper: Paper, *, material_exits: bool | None) -> bool:
    """Whether a grant would draw on this paper's quotas."""
    return paper.kind not in ledger.AT_THE_BORDER or material_exits is not False


def row_of(draft: PaperDraft, paper_id: str, *, person_id: str, now: datetime) -> dict[str, Any]:
    """The row of a paper just recorded, by its first person."""
    return {
        "id": paper_id,
        "kind": draft.kind,
        "number": draft.number,
        "issuer": draft.issuer,
        "holder_id": draft.holder_id,
        "project_id": draft.project_id,
        "collection_id": draft.collection_id,
        "valid_from": draft.valid_from,
        "valid_to": draft.valid_to,
        "open_ended": draft.open_ended,
        "scope": dict(draft.scope),
        "document_sha256": draft.document_sha256,
        "recorded_by": person_id,
        "recorded_at": now,
        "void_reason": "",
        "invented": draft.invented,
        "issued_on": draft.issued_on,
        "documents": dict(draft.documents),
    }


def quota_rows(draft: PaperDraft, paper_id: str) -> list[dict[str, Any]]:
    """The rows of its quotas."""
    return [
        {"id": new_id("qta"), "paper_id": paper_id, "measure": measure, "total": total}
        | {"opened": False, "reserved": 0, "released": 0}
        for measure, total in sorted(draft.quotas.items())
    ]


def _mistakes(draft: PaperDraft) -> Iterable[tuple[str, str]]:
    if draft.kind not in {*KINDS, OWNER_CONSENT}:
        yield "kind", f"`{draft.kind}` is not a kind of paper"
    yield from _misnamed(draft)
    yield from _wrong_authority(draft)
    if draft.open_ended == (draft.valid_to is not None):
        yield "valid_to", "a paper has a last day, or none by its nature, and says which"
    if draft.valid_to is not None and draft.valid_to < draft.valid_from:
        yield "valid_to", f"`{draft.valid_to}` is before the first day"
    yield from _wrong_scope(draft)
    for measure, total in draft.quotas.items():
        if measure not in ledger.MEASURES or total < 0:
            known = ", ".join(f"`{one}`" for one in ledger.MEASURES)
            yield f"quotas/{measure}", f"must be one of {known}, and not negative"
    for measure, before in draft.drawn.items():
        if not 0 <= before <= draft.quotas.get(measure, -1):
            yield f"drawn/{measure}", "must be from 0 to the quota it was drawn on"


def _misnamed(draft: PaperDraft) -> Iterable[tuple[str, str]]:
    for name, text in (("number", draft.number), ("issuer", draft.issuer)):
        # A number is opaque: its pattern is nobody's business, but blank or unprintable it is none.
        if not text.strip() or not text.isprintable():
            yield name, "must be a printable text"
    digests = {f"documents/{name}": digest for name, digest in draft.documents.items()}
    for name, digest in {"document_sha256": draft.document_sha256, **digests}.items():
        if not _SHA256.fullmatch(digest):
            yield name, "must be a SHA-256, 64 lower-case hexadecimal digits"


def _wrong_scope(draft: PaperDraft) -> Iterable[tuple[str, str]]:
    for name in _SCOPE_LISTS:
        listed_ = draft.scope.get(name, [])
        if not isinstance(listed_, list) or not all(isinstance(each, str) for each in listed_):
            yield f"scope/{name}", "must be a list of texts"
        elif len(set(listed_)) < len(listed_):
            yield f"scope/{name}", "names something twice"
    for name in draft.scope:
        entry, allowed = draft.scope[name], _OWN.get(draft.kind, {}).get(name, frozenset())
        # 1 equals True, and is none.
        if name not in _SCOPE_LISTS and not (isinstance(entry, bool | str) and entry in allowed):
            yield f"scope/{name}", f"a `{draft.kind}` has no such entry"


def _wrong_authority(draft: PaperDraft) -> Iterable[tuple[str, str]]:
    """An issuer that was not the authority on the day: before 2024-05-01 MOST, from then on NHC."""
    if draft.kind not in NATIONAL:
        return
    issued, otherwise = draft.issued_on or draft.valid_from, "; `issued_on` says if another day"
    if issued >= TO_NHC and _MINISTRY.search(draft.issuer):
        yield "issuer", f"on `{issued}` the authority was the National Health Commission{otherwise}"
    if issued < TO_NHC and _COMMISSION.search(draft.issuer):
        yield (
            "issuer",
            f"on `{issued}` the authority was the Ministry of Science and Technology{otherwise}",
        )


def _papers(conn: Connection, *wanted: sa.ColumnElement[bool]) -> tuple[Paper, ...]:
    rows = conn.execute(
        sa.select(
            _PAPER,
            _QUOTA.c.id.label("quota_id"),
            _QUOTA.c.measure,
            _QUOTA.c.total,
            _QUOTA.c.opened,
            _QUOTA.c.reserved,
            _QUOTA.c.released,
        )
        .join_from(_PAPER, _QUOTA, isouter=True)
        .where(*wanted)
        .order_by(_PAPER.c.recorded_at, _PAPER.c.id, _QUOTA.c.measure)
    ).mappings()
    papers: dict[str, dict[str, Any]] = {}
    for row in rows:
        paper = papers.setdefault(
            row["id"], {column.name: row[column] for column in _PAPER.c} | {"quotas": ()}
        )
        if row["quota_id"] is not None:
            paper["quotas"] += (
                Quota(
                    id=row["quota_id"],
                    measure=row["measure"],
                    total=row["total"],
                    opened=row["opened"],
                    reserved=row["reserved"],
                    released=row["released"],
                ),
            )
    return tuple(Paper(**paper) for paper in papers.values())
