"""Whether what was allowed still stands: a shared fact voided or corrected, other packs activated.

The rules it keeps: what a change reaches is decided again in the transaction of the change, so nothing
stands behind it in the log that did not see it; both decisions stay; what no longer stands is suspended
or cut down, receivers of what already went out are to be told, each with its entry. Voiding takes things
away and needs one person; a correction may let more out than before and needs two.

`touched` says whom a change would reach, `reach` goes there; `impact` says what other packs would change,
`foreseen` what a change of facts would.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection

from audit import log
from gateway import effects
from gateway.bank import Bank, bump
from gateway.deciding import Prepared, append, in_words_of, prepare, record, stands
from gateway.errors import FieldError, ProblemError
from gateway.identity.scopes import Caller
from gateway.registry import duties, ledger, papers, requests
from gateway.release import grants
from gateway.review import cases
from gateway.tables import metadata, new_id
from policies import document, pdp
from policies.decision import Decision, Result
from policies.request import Question
from policies.rules import Law

_CORRECTION = metadata.tables["correction"]
_RESTS_ON = metadata.tables["decision_rests_on"]
_DECISION = metadata.tables["decision"]
_CASE = metadata.tables["review_case"]
_GRANT = metadata.tables["grant_"]
_RELEASE = metadata.tables["release"]

#: kind → its table. An ethics opinion is a paper, a cohort's home is a collection.
TABLES = MappingProxyType(
    {
        "paper": metadata.tables["paper"],
        "form": metadata.tables["consent_form"],
        "collection": metadata.tables["collection"],
        "party": metadata.tables["party"],
    }
)

_Text = Annotated[str, Field(min_length=1, max_length=200)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Paper(_Said):
    number: _Text = ""
    issuer: _Text = ""
    valid_from: date = date.min
    valid_to: date | None = None
    open_ended: bool = False
    scope: dict[str, Any] = {}
    document_sha256: _Sha256 = ""
    documents: dict[_Text, _Sha256] = {}
    issued_on: date | None = None


class _Form(_Said):
    title: _Text = ""
    ethics_paper_id: _Text | None = None
    valid_from: date = date.min
    valid_to: date | None = None
    text_sha256: _Sha256 = ""


class _Collection(_Said):
    country: _Country = ""
    source_party_id: _Text = ""
    owner_consent_needed: bool = False
    special_region: bool | None = None
    source_documented: bool | None = None
    source_lawful: bool | None = None


class _Party(_Said):
    country: _Country = ""
    registration: _Text = ""
    individual: bool = False
    legal_person: bool | None = None
    not_for_profit: bool | None = None
    hkmo_entity: bool = False
    mainland_controlled: bool | None = None
    banned_until: date | None = None
    ban_checked: bool = False
    credit_flag: bool = False


#: kind → what may be corrected in it. What binds a row to others (a paper's project, a form's version)
#: may not: that is another row, recorded anew.
CORRECTABLE: Mapping[str, type[_Said]] = MappingProxyType(
    {"paper": _Paper, "form": _Form, "collection": _Collection, "party": _Party}
)
#: Columns that name rows of other tables.
_NAMES = MappingProxyType({"ethics_paper_id": "paper", "source_party_id": "party"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A shared fact voided or corrected, as it stands; counts once `applied_at` is there."""

    id: str
    kind: str
    subject_id: str
    act: str  # void | correct
    said: Mapping[str, Any]
    before: Mapping[str, Any]
    reason: str
    evidence_sha256: str
    proposed_by: str
    proposed_at: datetime
    confirmed_by: str | None
    applied_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An open case a change reaches; `outcome` of the new decision, None before it is made."""

    case_id: str
    request_id: str
    party_id: str
    decision_id: str  # the last one
    outcome: str | None = None
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A live grant a change reaches. `state` afterwards; `removed` of its items no longer go out.

    `outcome` of the new decision: None before it is made, and where nothing is left to go out.
    """

    grant_id: str
    request_id: str
    party_id: str
    decision_id: str  # the last one
    outcome: str | None = None
    state: str = "active"
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Whom a change reaches. `receivers`: (release, receiving party) of what already went out."""

    cases: tuple[Case, ...] = ()
    grants: tuple[Granted, ...] = ()
    receivers: tuple[tuple[str, str], ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        named = ("cases", "grants", "receivers")
        return {name: len(getattr(self, name)) for name in named}


# --- whom ---------------------------------------------------------------------------------------------


def touched(conn: Connection, kind: str, subject_id: str) -> Reach:
    """Whom a change of this fact reaches, nothing decided again; by id. Writes nothing."""
    rests = sa.or_(
        _DECISION.c.id.in_(
            sa.select(_RESTS_ON.c.decision_id).where(
                _RESTS_ON.c.kind == kind, _RESTS_ON.c.subject_id == subject_id
            )
        ),
        # Of a decision from before this was written down nobody can say that it does not.
        _DECISION.c.id.not_in(sa.select(_RESTS_ON.c.decision_id)),
    )
    asked = sa.select(_DECISION.c.request_id).where(_DECISION.c.request_id.is_not(None), rests)
    gone = conn.execute(
        sa.select(_RELEASE.c.id, _GRANT.c.party_id)
        .join(_GRANT, _GRANT.c.id == _RELEASE.c.grant_id)
        .join(_DECISION, _DECISION.c.id == _RELEASE.c.decision_id)
        .where(rests)
        .order_by(_RELEASE.c.id)
    )
    return Reach(
        cases=_open_cases(conn, _CASE.c.request_id.in_(asked)),
        grants=active(conn, _GRANT.c.request_id.in_(asked)),
        receivers=tuple((row.id, row.party_id) for row in gone),
    )


def all_open(conn: Connection) -> Reach:
    """Every open case and live grant: whom a change reaches that may matter to any request."""
    return Reach(cases=_open_cases(conn, sa.true()), grants=active(conn, sa.true()))


def active(conn: Connection, which: sa.ColumnElement[bool]) -> tuple[Granted, ...]:
    """Active grants, by id; one suspended already stays so, whatever it rests on."""
    rows = conn.execute(
        sa.select(_GRANT)
        .where(_GRANT.c.state == grants.GrantState.ACTIVE, which)
        .order_by(_GRANT.c.id)
    )
    return tuple(
        Granted(
            grant_id=row.id,
            request_id=row.request_id,
            party_id=row.party_id,
            decision_id=row.decision_id,
        )
        for row in rows
    )


def _open_cases(conn: Connection, which: sa.ColumnElement[bool]) -> tuple[Case, ...]:
    requested = metadata.tables["access_request"]
    rows = conn.execute(
        sa.select(_CASE, requested.c.party_id)
        .join(requested, requested.c.id == _CASE.c.request_id)
        .where(_CASE.c.state.in_(cases.open_states()), which)
        .order_by(_CASE.c.id)
    )
    return tuple(
        Case(
            case_id=row.id,
            request_id=row.request_id,
            party_id=row.party_id,
            decision_id=row.decision_id,
            state=row.state,
        )
        for row in rows
    )


# --- going there --------------------------------------------------------------------------------------


def reach(
    conn: Connection, bank: Bank, caller: Caller, found: Reach, about: Mapping[str, str]
) -> Reach:
    """Decide again all of `found` as facts and law now are; what came of it.

    `about` names the change in every entry it leads to.
    """
    reached = Reach(
        cases=tuple(_redecide(conn, bank, caller, one, about) for one in found.cases),
        grants=tuple(judge(conn, bank, caller, one, about) for one in found.grants),
        receivers=found.receivers,
    )
    for release, party in found.receivers:
        whom = {**about, "release": release, "party": party}
        entry = append(conn, bank, caller, "receiver.to_notify", whom)
        duties.notify_receiver(
            conn,
            cause_id=f"entry_{entry.index}",
            release_id=release,
            receiver_id=party,
            bank_party_id=bank.party_id,
            today=bank.today(),
            now=bank.now(),
        )
    return reached


def judge(
    conn: Connection, bank: Bank, caller: Caller, found: Granted, about: Mapping[str, str]
) -> Granted:
    """One active grant decided again over what may still go out under it, and given effect.

    It stands, loses what is no longer selected, or is suspended. What cannot be decided any more, for
    the request names what does not fit together now, does not stand either.
    """
    grant = grants.get(conn, found.grant_id)
    left = frozenset(one.holding_id for one in grants.releasable(conn, grant.id))
    if not left:
        return found
    request, now = requests.of_decision(conn, grant.decision_id), bank.now()
    touching = {**about, "grant": grant.id}
    try:
        prepared = prepare(conn, bank, request.ask, grant.party_id, only=left, held_by=grant.id)
    except ProblemError as error:
        grants.suspend(conn, grant.id, now=now)
        append(conn, bank, caller, "grant.suspended", touching, outcome=error.code)
        return _after(conn, found, found.decision_id, None, 0)
    answer = record(conn, bank, caller, prepared, occasion="redecision", request=request)
    touching |= {"decision": answer.decision_id}
    decision = answer.decision
    if not stands(decision, frozenset(grant.accepted)):
        grants.suspend(conn, grant.id, now=now)
        append(conn, bank, caller, "grant.suspended", touching, outcome=decision.outcome)
        return _after(conn, found, answer.decision_id, decision.outcome, 0)
    picked = prepared.gathered.cohort.select(conn, decision.selection.strata)
    gone = left - {one.holding_id for one in picked}
    removed = grants.shrink(conn, grant.id, gone, reason=answer.decision_id, now=now)
    if removed:
        append(conn, bank, caller, "grant.shrunk", touching)
        ledger.settle(conn, grant.id, cause_id=answer.decision_id, now=now)
    return _after(conn, found, answer.decision_id, decision.outcome, removed)


def _after(
    conn: Connection, found: Granted, decision_id: str, outcome: str | None, removed: int
) -> Granted:
    return Granted(
        grant_id=found.grant_id,
        request_id=found.request_id,
        party_id=found.party_id,
        decision_id=decision_id,
        outcome=outcome,
        state=grants.get(conn, found.grant_id).state.value,
        removed=removed,
    )


def _redecide(
    conn: Connection, bank: Bank, caller: Caller, found: Case, about: Mapping[str, str]
) -> Case:
    """One open case decided again by the gateway, as an officer's `redecide` does.

    A case that cannot be decided any more lies where it lay: nobody can approve it without deciding
    again either. Should it now be a permit that needs nobody, a person still looks: it goes on lying
    where a permit to be confirmed does.
    """
    request = requests.get(conn, found.request_id, party_id=None)
    try:
        prepared = prepare(conn, bank, request.ask, request.party_id, held_by=request.id)
    except ProblemError as error:
        whom = {**about, "case": found.case_id, "request": request.id}
        append(conn, bank, caller, "case.undecidable", whom, outcome=error.code)
        return found
    answer = record(conn, bank, caller, prepared, occasion="redecision", request=request)
    dossier = effects.dossier_of(bank, prepared, answer, at_once=False)
    asked = cases.Asked(command=cases.Command.REDECIDE)
    step = cases.check(conn, found.case_id, asked, cases.GATEWAY, revision=None, redecided=dossier)
    entry = append(
        conn,
        bank,
        caller,
        f"case.{step.event}",
        {**step.subjects(), **about},
        outcome=step.to_state,
    )
    case = cases.record(conn, step, leaf_index=entry.index, now=bank.now())
    denied = answer.decision.outcome == "deny"
    state = "denied" if denied else effects.REQUEST_STATES[case.state]
    requests.set_state(conn, request.id, state, now=bank.now())
    return Case(
        case_id=case.id,
        request_id=request.id,
        party_id=found.party_id,
        decision_id=answer.decision_id,
        outcome=answer.decision.outcome,
        state=case.state,
    )


# --- what other packs would change --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One past decision, open case or live grant that would come out otherwise.

    `what` differs: outcome, selection, obligations; `rules` that say something else, as number and id;
    `people` that are selected, before and after. `stops`: what stands now would not.
    """

    kind: str  # decision | case | grant
    id: str
    before: str
    after: str
    what: tuple[str, ...]
    rules: tuple[tuple[str, str], ...]
    people: tuple[int, int]
    stops: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What other packs would change: how many were looked at, by kind, and each that changes.

    `undecidable`: cases and grants whose request names what does not fit together any more.
    """

    looked_at: Mapping[str, int]
    changed: tuple[Changed, ...]
    undecidable: tuple[str, ...]

    @property
    def by_rule(self) -> dict[str, dict[str, int]]:
        """Rule (number and id) → kind → how many come out otherwise where it says something else."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.changed:
            for no, rule in one.rules:
                counted[f"{no} {rule}"][one.kind] += 1
        return {rule: dict(sorted(kinds.items())) for rule, kinds in sorted(counted.items())}

    @property
    def by_outcome(self) -> dict[str, dict[str, int]]:
        """`permit → deny` and the like → kind → how many."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for one in self.changed:
            counted[f"{one.before} → {one.after}"][one.kind] += 1
        return {turn: dict(sorted(kinds.items())) for turn, kinds in sorted(counted.items())}

    def told(self) -> dict[str, Any]:
        """All of it, with the counts, as JSON has it."""
        return {**asdict(self), "by_rule": self.by_rule, "by_outcome": self.by_outcome}


def impact(conn: Connection, bank: Bank, law: Law) -> Impact:
    """What would come out otherwise under another law, from the log. Writes nothing.

    Past decisions are taken as recorded, each for its day; open cases and live grants as facts are
    today, by the packs in force and by the others.
    """
    looked_at: Counter[str] = Counter(decision=0, case=0, grant=0)
    changed: list[Changed] = []
    undecidable: list[str] = []

    def compare(
        kind: str, id_: str, before: Decision, question: Question, accepted: frozenset[str]
    ) -> None:
        looked_at[kind] += 1
        after = pdp.decide(in_words_of(question, law), law)
        found = _otherwise(kind, id_, before, after, accepted)
        if found is not None:
            changed.append(found)

    # A list, for other statements run on this connection meanwhile; documents come one by one.
    past = conn.execute(
        sa.select(
            _DECISION.c.id, _DECISION.c.document_sha256, _DECISION.c.law_generation_id
        ).order_by(_DECISION.c.leaf_index)
    ).all()
    for row in past:
        body = log.document(conn, bytes.fromhex(row.document_sha256))
        made_by = row.law_generation_id
        by = bank.law if made_by is None else bank.laws.of(conn, made_by)
        question, before = document.question_from(body), document.decision_from(body, by)
        compare("decision", row.id, before, question, frozenset())
    for kind, id_, accepted, prepared in _live(conn, bank):
        if prepared is None:
            undecidable.append(id_)
        else:
            # As gathered: the other law may have words for what the one in force has none for.
            compare(kind, id_, prepared.decision, prepared.gathered.question, accepted)
    return Impact(looked_at=dict(looked_at), changed=tuple(changed), undecidable=tuple(undecidable))


def foreseen(conn: Connection, bank: Bank, change: Callable[[Connection], object]) -> Impact:
    """Which open cases and live grants would come out otherwise if `change` were made. Nothing of it stays.

    `conn` is the writer's: the change is made in a savepoint, all is decided again as it would be, and the
    savepoint is rolled back. Raises what `change` raises.
    """
    before = {id_: prepared for _, id_, _, prepared in _live(conn, bank)}
    looked_at: Counter[str] = Counter(case=0, grant=0)
    changed: list[Changed] = []
    undecidable: list[str] = []
    savepoint = conn.begin_nested()
    try:
        change(conn)
        for kind, id_, accepted, prepared in _live(conn, bank):
            was = before[id_]
            if was is None or prepared is None:
                undecidable.append(id_)
                continue
            looked_at[kind] += 1
            found = _otherwise(kind, id_, was.decision, prepared.decision, accepted)
            changed += [] if found is None else [found]
    finally:
        savepoint.rollback()
    return Impact(looked_at=dict(looked_at), changed=tuple(changed), undecidable=tuple(undecidable))


def _live(
    conn: Connection, bank: Bank
) -> Iterator[tuple[str, str, frozenset[str], Prepared | None]]:
    """Every open case, then every live grant with something left to go out, decided as facts are now: kind, id,
    what officers accepted in it, and the decision; None where its request does not fit together any more.
    """
    for case in _open_cases(conn, sa.true()):
        request = requests.get(conn, case.request_id, party_id=None)
        prepared = _prepared(conn, bank, request, request.party_id, held_by=request.id)
        yield "case", case.case_id, frozenset(), prepared
    for one in active(conn, sa.true()):
        left = frozenset(item.holding_id for item in grants.releasable(conn, one.grant_id))
        if left:
            grant = grants.get(conn, one.grant_id)
            request = requests.of_decision(conn, grant.decision_id)
            prepared = _prepared(conn, bank, request, grant.party_id, only=left, held_by=grant.id)
            yield "grant", grant.id, frozenset(grant.accepted), prepared


def _prepared(
    conn: Connection, bank: Bank, request: requests.Request, party_id: str, **how: Any
) -> Prepared | None:
    try:
        return prepare(conn, bank, request.ask, party_id, **how)
    except ProblemError:
        return None


def _otherwise(
    kind: str, id_: str, before: Decision, after: Decision, accepted: frozenset[str]
) -> Changed | None:
    differs = {
        "outcome": before.outcome != after.outcome,
        "selection": before.selection != after.selection,
        "obligations": {one.id for one in before.obligations}
        != {one.id for one in after.obligations},
    }
    what = tuple(name for name, is_other in differs.items() if is_other)
    if not what:
        return None
    differing = said(before) ^ said(after)
    return Changed(
        kind=kind,
        id=id_,
        before=before.outcome,
        after=after.outcome,
        what=what,
        rules=tuple(sorted({(no, rule) for no, rule, *_ in differing})),
        people=(before.selection.permitted.people, after.selection.permitted.people),
        stops=stands(before, accepted) and not stands(after, accepted),
    )


def said(decision: Decision) -> set[tuple[str, str, str, str, tuple[str, ...]]]:
    """What its rules said, of those that said anything."""
    spoke = {Result.HOLDS, Result.UNKNOWN}
    return {
        (one.no, one.rule, one.effect.value, one.result.value, one.strata)
        for one in decision.findings
        if one.result in spoke
    }


# --- voiding and correcting -----------------------------------------------------------------------------


def row_of(conn: Connection, kind: str, subject_id: str) -> sa.RowMapping:
    """The row of a shared fact. Raises `ProblemError` `not_found`, `invalid_request`."""
    table = TABLES.get(kind)
    if table is None:
        detail = f"`{kind}` is not one of {', '.join(TABLES)}"
        raise ProblemError("invalid_request", detail, errors=(_at("/kind", detail),))
    row = conn.execute(sa.select(table).where(table.c.id == subject_id)).mappings().one_or_none()
    if row is None:
        detail = f"there is no {kind} `{subject_id}`"
        raise ProblemError("not_found", detail, errors=(_at("/subject", detail),))
    return row


def propose(  # noqa: PLR0913 - one row, field by field
    conn: Connection,
    *,
    kind: str,
    subject_id: str,
    act: str,
    said: Mapping[str, Any],
    reason: str,
    evidence_sha256: str,
    person_id: str,
    now: datetime,
) -> Correction:
    """One person's word that a fact is wrong. Voided, it counts no more at once.

    A correction waits for `confirm`. Raises `ProblemError`: `invalid_request` naming each value that
    cannot be, `not_found`, `already_done` if the fact is void.
    """
    verify(conn, kind, subject_id, act, said)
    correction_id = new_id("cor")
    conn.execute(
        sa.insert(_CORRECTION).values(
            id=correction_id,
            kind=kind,
            subject_id=subject_id,
            act=act,
            said=dict(said),
            before={},
            reason=reason,
            evidence_sha256=evidence_sha256,
            proposed_by=person_id,
            proposed_at=now,
        )
    )
    if act == "void":
        values: dict[str, Any] = {"voided_at": now}
        if kind == "paper":
            values["void_reason"] = reason
        _apply(conn, read(conn, correction_id), values, applied_at=now)
    return read(conn, correction_id)


def confirm(conn: Connection, correction_id: str, *, person_id: str, now: datetime) -> Correction:
    """The second person's word: the fact is from now on as corrected.

    Raises `ProblemError` `same_person`, `already_done`, and what `propose` raises, for the fact may
    have been voided since.
    """
    made = read(conn, correction_id)
    if made.applied_at is not None:
        raise ProblemError("already_done", f"`{correction_id}` counts already")
    if made.proposed_by == person_id:
        raise ProblemError("same_person", "whoever proposed a correction cannot confirm it")
    values = verify(conn, made.kind, made.subject_id, made.act, made.said)
    _apply(conn, made, values, confirmed_by=person_id, applied_at=now)
    return read(conn, correction_id)


def read(conn: Connection, correction_id: str) -> Correction:
    """One correction; `ProblemError` `not_found`."""
    query = sa.select(_CORRECTION).where(_CORRECTION.c.id == correction_id)
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        raise ProblemError("not_found", f"there is no correction `{correction_id}`")
    return Correction(**row)


def about(conn: Connection, subject_id: str) -> tuple[Correction, ...]:
    """Everything ever voided or corrected of one subject, oldest first."""
    rows = conn.execute(
        sa.select(_CORRECTION)
        .where(_CORRECTION.c.subject_id == subject_id)
        .order_by(_CORRECTION.c.proposed_at, _CORRECTION.c.id)
    ).mappings()
    return tuple(Correction(**row) for row in rows)


def verify(
    conn: Connection, kind: str, subject_id: str, act: str, said: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns a correction writes, by what it says in JSON; none for a voiding.

    Raises `ProblemError` as `propose` does.
    """
    row = row_of(conn, kind, subject_id)
    if row["voided_at"] is not None:
        raise ProblemError("already_done", f"{kind} `{subject_id}` is void already")
    if (act == "void") == bool(said):
        detail = "a correction says what is right; a voiding says nothing"
        raise ProblemError("invalid_request", detail, errors=(_at("/values", detail),))
    try:
        values = CORRECTABLE[kind].model_validate(said).model_dump(exclude_unset=True)
    except ValidationError as error:
        wrong = tuple(
            _at("/values/" + "/".join(map(str, one["loc"])), one["msg"]) for one in error.errors()
        )
        raise ProblemError("invalid_request", wrong[0].detail, errors=wrong) from error
    for column, named in _NAMES.items():
        if values.get(column) is not None:
            row_of(conn, named, values[column])
    whole = {**row, **values}
    last = whole.get("valid_to")
    if "valid_from" in whole and last is not None and last < whole["valid_from"]:
        detail = f"`{last}` is before the first day"
        raise ProblemError("invalid_request", detail, errors=(_at("/values/valid_to", detail),))
    if kind == "paper" and values:
        drafted = {n: whole[n] for n in _DRAFTED} | {"documents": whole["documents"] or {}}
        papers.verify(papers.PaperDraft(**drafted), "/values")
    return values


#: What of a paper's row `papers.verify` looks at.
_DRAFTED = (
    "kind",
    "number",
    "issuer",
    "holder_id",
    "valid_from",
    "valid_to",
    "open_ended",
    "scope",
    "document_sha256",
    "issued_on",
)


def _apply(conn: Connection, made: Correction, values: Mapping[str, Any], **signed: Any) -> None:
    table, row = TABLES[made.kind], row_of(conn, made.kind, made.subject_id)
    before = {} if made.act == "void" else {n: _json(row[n]) for n in values}
    conn.execute(sa.update(table).where(table.c.id == made.subject_id).values(dict(values)))
    conn.execute(
        sa.update(_CORRECTION).where(_CORRECTION.c.id == made.id).values(before=before, **signed)
    )
    bump(conn)


def _json(value: Any) -> Any:  # of a column: a date as ISO 8601, all others as they are
    return value.isoformat() if isinstance(value, date) else value


def _at(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer, detail=detail)
