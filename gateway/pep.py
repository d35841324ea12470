"""The enforcement point: the only place that decides, records and gives effect.

The rules it keeps:
- No record, no access. Decision, leaf and effect are one transaction; if the append fails all of it
  rolls back. A `Deny` is a value and is recorded like a `Permit`.
- Facts may not change under a decision. What was gathered outside the transaction counts only if the
  version of the facts is the same inside it; otherwise it is gathered and decided anew, there.
- The order of the log is the order of the law: a permit behind a withdrawal in the log saw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypedDict, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway import effects, standing
from gateway.bank import Bank, bump
from gateway.deciding import (
    Answer,
    Prepared,
    append,
    current,
    prepare,
    prepare_outside,
    record,
    stands,
)
from gateway.effects import Released
from gateway.errors import FieldError, ProblemError
from gateway.identity.scopes import Caller
from gateway.registry import (
    consents,
    duties,
    generations,
    ledger,
    openings,
    queries,
    requests,
)
from gateway.registry.ask import Ask
from gateway.registry.generations import Generation
from gateway.registry.intake import Batch
from gateway.registry.openings import Opening
from gateway.registry.requests import Request
from gateway.release import grants
from gateway.replies import Rendered, Reply, commit, replayed
from gateway.review import cases
from gateway.tables import Project, table_of

T = TypeVar("T")

#: Who acts when nobody asks: a day has passed.
GATEWAY = Caller(kind="person", id="gateway", name="gateway", party_id="", scopes=frozenset())
_projects = table_of(Project)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAnswer:
    """What a command did to a case; `answer` when it made the gateway decide again."""

    case_id: str
    state: str
    event: str
    revision: int
    leaf_index: int
    answer: Answer | None = None
    grant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalAsked:
    """A donor's withdrawal: everything, one study (named by its project), data, material, contact.

    `effective_at` None is now.
    """

    donor_id: str
    scope: str
    channel: str
    project_id: str | None = None
    effective_at: datetime | None = None


class _Reach(TypedDict):
    donor_id: str
    scope: str
    project_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """Whom a withdrawal reaches: grants cut down, and receivers of what already went out.

    A preview has neither id nor leaf.
    """

    withdrawal_id: str | None
    leaf_index: int | None
    grants: tuple[grants.Touched, ...]
    receivers: tuple[tuple[str, str], ...]  # (release, receiving party)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A shared fact voided or corrected, and whom that reached; until it counts, whom it would."""

    correction: standing.Correction
    leaf_index: int
    reach: standing.Reach


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRefused:
    """Today's decision does not let the grant stand; recorded, nothing let out."""

    grant_id: str
    answer: Answer


# --- the acts -------------------------------------------------------------------------------------


def _verify_until(bank: Bank, ask: Ask) -> None:
    if ask.until is not None and ask.until < bank.today():
        wrong = FieldError(pointer="/until", detail="this day has passed")
        raise ProblemError("invalid_request", "the last day asked for has passed", errors=(wrong,))


async def evaluate(bank: Bank, caller: Caller, ask: Ask, reply: Reply) -> Rendered:
    """A dry run: decided and recorded, without effect. `reply.render` gets an `Answer`.

    A researcher's dry run over fewer than 20 donors is decided as if every donor-level answer were
    favourable, so that it is the same whether or not one of them withdrew. A person of the bank asks
    in the place of the organisation whose project it is; the decision stays the bank's own to read.

    A researcher whose cohort differs by fewer than 20 donors from one that the organisation counted before is
    answered for that one: two counts cannot be taken one from the other. Raises `too_many_requests` once a
    key has spent the day's dry runs for the project, `busy` while one too near is counted.
    """
    _verify_until(bank, ask)
    dry = caller.kind == "key"
    asker = caller.party_id if dry else _party_of(bank, ask.project) or caller.party_id
    prepared = await prepare_outside(bank, ask, asker, dry=dry)
    newest, near = 0, None
    if dry and _tells(prepared):
        newest, near = await asyncio.to_thread(_counted_before, bank, prepared)
        if near is not None:
            prepared = await prepare_outside(bank, near, asker, dry=dry)

    def act(conn: Connection) -> Answer:
        now_so = replace(current(conn, bank, prepared), party_id=caller.party_id)
        if dry:
            queries.verify_budget(conn, bank, caller.id, ask.project)
            if near is None and _tells(now_so):
                _verify_alone(conn, bank, now_so, newest)
        answer = record(conn, bank, caller, now_so, occasion="evaluation", earlier=near is not None)
        if dry:
            queries.record(
                conn,
                ask,
                answer.decision_id,
                party_id=caller.party_id,
                key_id=caller.id,
                people=_people(now_so) if near is None and _tells(now_so) else None,
                now=bank.now(),
            )
        return answer

    return await commit(bank, reply, act)


def _verify_alone(conn: Connection, bank: Bank, prepared: Prepared, newest: int) -> None:
    """Of two too near one another that are asked at the same moment, the second is told to ask again."""
    party_id, people = prepared.party_id, _people(prepared)
    if queries.newest(conn, party_id) == newest:
        return
    if queries.earlier(conn, bank, prepared.ask, party_id, people=people) is not None:
        detail = "a cohort that is nearly this one is being counted"
        raise ProblemError("busy", detail, retry_after=1)


def _people(prepared: Prepared) -> int:
    return sum(group.people for group in prepared.question.donor_groups)


def _tells(prepared: Prepared) -> bool:
    """Whether a dry run tells anything of donors: over fewer than 20 it does not, and of nobody neither."""
    return not prepared.blind and _people(prepared) > 0


def _counted_before(bank: Bank, prepared: Prepared) -> tuple[int, Ask | None]:
    """The newest dry run of the organisation, and the same ask of a cohort it counted before that is too near."""
    ask = prepared.ask
    bank.open_index()
    with bank.database.read() as conn:
        newest = queries.newest(conn, prepared.party_id)
        found = queries.earlier(conn, bank, ask, prepared.party_id, people=_people(prepared))
    return newest, None if found is None else ask.model_copy(update={"items": found})


def _party_of(bank: Bank, project_id: str) -> str | None:
    with bank.database.read() as conn:
        query = sa.select(_projects.c.party_id).where(_projects.c.id == project_id)
        return conn.execute(query).scalar()


async def create_request(
    bank: Bank, caller: Caller, ask: Ask, *, draft: bool, reply: Reply
) -> Rendered:
    """A new request: saved as a draft (`Request`), or submitted at once (`Answer`)."""
    _verify_until(bank, ask)
    prepared = await prepare_outside(bank, ask, caller.party_id)  # also: what it names exists

    def act(conn: Connection) -> Request | Answer:
        request = requests.create(
            conn,
            ask,
            party_id=caller.party_id,
            key_id=caller.key_id or "",
            saved_by=caller.id,
            now=bank.now(),
        )
        if draft:
            return request
        return request_access(conn, bank, caller, request, prepared)

    return await commit(bank, reply, act)


async def submit_request(
    bank: Bank, caller: Caller, request_id: str, *, revision: int | None, reply: Reply
) -> Rendered:
    """Submit a draft or an amended request; `reply.render` gets an `Answer`."""
    with bank.database.read() as conn:
        seen = requests.get(conn, request_id, party_id=caller.party_id)
    _verify_until(bank, seen.ask)
    prepared = await prepare_outside(bank, seen.ask, caller.party_id, held_by=request_id)

    def act(conn: Connection) -> Answer:
        request = requests.get(conn, request_id, party_id=caller.party_id)
        requests.verify_revision(request, revision)
        if request.state != "draft":
            raise ProblemError("state_conflict", f"the request is `{request.state}`, not a draft")
        return request_access(conn, bank, caller, request, prepared)

    return await commit(bank, reply, act)


def request_access(
    conn: Connection, bank: Bank, caller: Caller, request: Request, prepared: Prepared
) -> Answer:
    """One request decided, recorded and given effect, in the writer's transaction.

    1. gather: what was gathered outside, if no fact has changed since; otherwise again, here
    2. decide: pure
    3. record: the document and its leaf
    4. effect: Permit → grant, or a case where the institution wants a person to confirm;
       Hold, Refer → case; Deny → nothing
    """
    if prepared.ask != request.ask:  # amended between the reading and this transaction
        prepared = prepare(conn, bank, request.ask, request.party_id, held_by=request.id)
    prepared = current(conn, bank, prepared)  # 1, 2
    answer = record(conn, bank, caller, prepared, occasion="submission", request=request)  # 3
    requests.mark_submitted(conn, request, now=bank.now())
    answer = replace(answer, difference=requests.difference(conn, request))
    return effects.apply(conn, bank, caller, request, prepared, answer)  # 4


async def amend_request(
    bank: Bank, caller: Caller, request_id: str, patch: bytes, *, revision: int | None, reply: Reply
) -> Rendered:
    """Change a request by JSON merge patch; `reply.render` gets the `Request`, again a draft.

    A live grant stands until the amended request is decided.
    """

    def act(conn: Connection) -> Request:
        request = requests.get(conn, request_id, party_id=caller.party_id)
        requests.verify_revision(request, revision)
        amended = requests.amend(conn, request, patch, saved_by=caller.id, now=bank.now())
        prepare(
            conn, bank, amended.ask, caller.party_id, held_by=request_id
        )  # what it names exists
        _leave_queue(conn, bank, caller, request_id)
        return amended

    return await commit(bank, reply, act)


async def end_request(
    bank: Bank, caller: Caller, request_id: str, *, close: bool, reply: Reply
) -> Rendered:
    """Withdraw an open request, or close one whose work is done: case and grants end with it."""
    state = "closed" if close else "withdrawn"

    def act(conn: Connection) -> Request:
        now = bank.now()
        request = requests.get(conn, request_id, party_id=caller.party_id)
        if request.state in requests.ENDED:
            raise ProblemError("already_done", f"the request is `{request.state}`")
        append(conn, bank, caller, f"request.{state}", {"request": request_id})
        _leave_queue(conn, bank, caller, request_id)
        effects.end_grants(conn, bank, caller, request_id)
        requests.set_state(conn, request_id, state, now=now)
        return requests.get(conn, request_id, party_id=caller.party_id)

    return await commit(bank, reply, act)


async def resolve_case(
    bank: Bank,
    caller: Caller,
    case_id: str,
    asked: cases.Asked,
    *,
    revision: int | None,
    reply: Reply,
) -> Rendered:
    """One officer's command on one case; `reply.render` gets a `CaseAnswer`.

    1. check: state, role, four eyes, what the command carries (review.cases)
    2. decide again, today, in this transaction: where it is asked for, and before an approval; an
       approval that no longer stands becomes a new decision for the officers to look at, not a grant
    3. record: the command's leaf, beside the decision's
    4. effect: the grant, or the end of the request
    """
    actor = _actor(caller)

    def act(conn: Connection) -> CaseAnswer:
        request = requests.get(conn, cases.get_case(conn, case_id).request_id, party_id=None)
        decided: tuple[Prepared, Answer] | None = None
        again: cases.Dossier | None = None
        if asked.command is cases.Command.REDECIDE:
            decided = _decide_again(conn, bank, caller, request)
            again = effects.dossier_of(bank, *decided)
        step = cases.check(conn, case_id, asked, actor, revision=revision, redecided=again)  # 1
        if decided is None and step.effect is cases.Effect.APPROVE:  # 2
            decided = _decide_again(conn, bank, caller, request)
            if not stands(decided[1].decision, frozenset(step.accepted)):
                again = effects.dossier_of(bank, *decided)
                asked_anew = cases.Asked(command=cases.Command.REDECIDE)
                step = cases.check(
                    conn, case_id, asked_anew, cases.GATEWAY, revision=None, redecided=again
                )
        entry = append(  # 3
            conn, bank, caller, f"case.{step.event}", step.subjects(), outcome=step.to_state
        )
        case = cases.record(conn, step, leaf_index=entry.index, now=bank.now())
        grant_id: str | None = None
        if step.effect is cases.Effect.APPROVE and decided is not None:  # 4
            grant_id = effects.make_grant(
                conn, bank, caller, request, *decided, accepted=step.accepted
            )
        state = (
            "denied" if again and again.outcome == "deny" else effects.REQUEST_STATES[case.state]
        )
        requests.set_state(conn, request.id, state, now=bank.now())
        return CaseAnswer(
            case_id=case_id,
            state=case.state,
            event=step.event,
            revision=case.revision,
            leaf_index=entry.index,
            answer=decided[1] if decided else None,
            grant_id=grant_id,
        )

    return await commit(bank, reply, act)


async def withdraw_consent(
    bank: Bank, caller: Caller, asked: WithdrawalAsked, *, reply: Reply
) -> Rendered:
    """A donor withdraws: behind this entry nothing of the scope leaves; `render` gets `Withdrawn`.

    Decree 717 art. 12: a donor may leave at any time, without conditions.
    """

    def act(conn: Connection) -> Withdrawn:
        now = bank.now()
        withdrawal_id = consents.record_withdrawal(
            conn,
            asked.donor_id,
            asked.scope,
            project_id=asked.project_id,
            channel=asked.channel,
            person_id=caller.id,
            effective_at=asked.effective_at or now,
            now=now,
        )
        reach = _Reach(donor_id=asked.donor_id, scope=asked.scope, project_id=asked.project_id)
        touched = grants.shrink_for_withdrawal(conn, **reach, now=now)
        receivers = grants.receivers_of(conn, **reach)
        about = {"withdrawal": withdrawal_id}
        entry = append(
            conn,
            bank,
            caller,
            "withdrawal",
            about,
            outcome=asked.scope,
            commitments={"donor": asked.donor_id},
        )
        for one in touched:
            append(conn, bank, caller, "grant.shrunk", {**about, "grant": one.grant_id})
            ledger.settle(conn, one.grant_id, cause_id=withdrawal_id, now=now)
        for release, party in receivers:  # R-CON-04: notify past receivers
            whom = {**about, "release": release, "party": party}
            append(conn, bank, caller, "receiver.to_notify", whom)
            duties.notify_receiver(
                conn,
                cause_id=withdrawal_id,
                release_id=release,
                receiver_id=party,
                bank_party_id=bank.party_id,
                today=bank.today(),
                now=now,
            )
        return Withdrawn(
            withdrawal_id=withdrawal_id,
            leaf_index=entry.index,
            grants=touched,
            receivers=receivers,
        )

    return await commit(bank, reply, act)


def preview_withdrawal(bank: Bank, asked: WithdrawalAsked) -> Withdrawn:
    """Whom a withdrawal would reach, without recording it."""
    with bank.database.read() as conn:
        reach = _Reach(donor_id=asked.donor_id, scope=asked.scope, project_id=asked.project_id)
        return Withdrawn(
            withdrawal_id=None,
            leaf_index=None,
            grants=grants.touched_by(conn, **reach),
            receivers=grants.receivers_of(conn, **reach),
        )


async def correct(
    bank: Bank,
    caller: Caller,
    part: Callable[[Connection], standing.Correction],
    *,
    reply: Reply,
) -> Rendered:
    """A shared fact is voided, or proposed or confirmed to be another; `render` gets `Corrected`.

    Once it counts, all that rests on it is decided again before anything else is: open cases, live
    grants, and receivers of what went out, as for a donor's withdrawal.
    """

    def act(conn: Connection) -> Corrected:
        made = part(conn)
        counts = made.applied_at is not None
        event = "voided" if made.act == "void" else "corrected" if counts else "correction-proposed"
        about = {"correction": made.id, made.kind: made.subject_id}
        entry = append(conn, bank, caller, f"{made.kind}.{event}", about)
        found = standing.touched(conn, made.kind, made.subject_id)
        if counts:
            found = standing.reach(conn, bank, caller, found, about)
        return Corrected(correction=made, leaf_index=entry.index, reach=found)

    return await commit(bank, reply, act)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """Packs that decide from here on, and the live grants that were decided again by them."""

    generation: Generation
    leaf_index: int
    reach: standing.Reach


async def activate_law(bank: Bank, caller: Caller, generation_id: str, *, reply: Reply) -> Rendered:
    """A second person lets other packs decide; `render` gets `Activated`.

    Every live grant is decided again by them in the same transaction: what no longer stands is
    suspended, and both decisions stay.
    """

    def act(conn: Connection) -> Activated:
        made = generations.activate(conn, generation_id, person_id=caller.id, now=bank.now())
        bump(conn)
        entry = append(conn, bank, caller, "law.activated", generations.named(made))
        found = standing.Reach(grants=standing.active(conn, sa.true()))
        reached = standing.reach(conn, bank, caller, found, {"generation": made.id})
        return Activated(generation=made, leaf_index=entry.index, reach=reached)

    return await commit(bank, reply, act)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningConfirmed:
    """Opening balances that count from here on, and the live grants that were decided again by them."""

    opening: Opening
    leaf_index: int
    reach: standing.Reach


async def confirm_opening(
    bank: Bank,
    caller: Caller,
    opening_id: str,
    draft: openings.Draft,
    *,
    digest: str,
    reply: Reply,
) -> Rendered:
    """A second person lets opening balances count; `render` gets `OpeningConfirmed`.

    Every open case and live grant is decided again with them in the same transaction: what no longer stands is
    suspended.
    """

    def act(conn: Connection) -> OpeningConfirmed:
        made = openings.confirm(
            conn, opening_id, draft, digest=digest, person_id=caller.id, now=bank.now()
        )
        entry = append(conn, bank, caller, "opening.confirmed", openings.named(made))
        found = standing.all_open(conn)
        reached = standing.reach(conn, bank, caller, found, {"opening": made.id})
        return OpeningConfirmed(opening=made, leaf_index=entry.index, reach=reached)

    return await commit(bank, reply, act)


def opening_foreseen(
    conn: Connection, bank: Bank, made: openings.Opening, draft: openings.Draft
) -> standing.Impact | None:
    """Which open cases and live grants would come out otherwise if an opening were confirmed; None where it
    cannot be any more, for others count by now. `conn` is the writer's; nothing of it stays.
    """
    then = partial(
        openings.count, opening_id=made.id, draft=draft, person_id="somebody", now=bank.now()
    )  # somebody else than who proposed it
    try:
        return standing.foreseen(conn, bank, then)
    except ProblemError:
        return None


async def authorize_release(bank: Bank, caller: Caller, grant_id: str, *, reply: Reply) -> Rendered:
    """One handing-over under a live grant; `render` gets `Released` or `ReleaseRefused`.

    Decided again, today: a donor may have withdrawn or an edition come into force since the grant.
    The intent is durable before a byte leaves; what was handed over and received is recorded after.
    """
    if (before := replayed(bank, reply)) is not None:
        return before
    with bank.database.read() as conn:
        seen = _usable(conn, bank, caller, grant_id)
        request = requests.of_decision(conn, seen.decision_id)
        only = grants.live_holdings(conn, grant_id)
    prepared = await prepare_outside(bank, request.ask, seen.party_id, only=only, held_by=grant_id)

    def act(conn: Connection) -> Released | ReleaseRefused:
        grant = _usable(conn, bank, caller, grant_id)
        live = grants.live_holdings(conn, grant_id)
        # The grant may have been cut down between the gathering and this transaction.
        fresh = (
            current(conn, bank, prepared)
            if live == prepared.only
            else prepare(conn, bank, request.ask, grant.party_id, only=live, held_by=grant_id)
        )
        answer = record(conn, bank, caller, fresh, occasion="release", request=request)
        answer = replace(answer, grant_id=grant_id)
        if stands(answer.decision, frozenset(grant.accepted)):
            return effects.make_release(conn, bank, caller, grant, fresh, answer)
        grants.suspend(conn, grant_id, now=bank.now())
        about = {"grant": grant_id, "decision": answer.decision_id}
        append(conn, bank, caller, "grant.suspended", about, outcome=answer.decision.outcome)
        return ReleaseRefused(grant_id=grant_id, answer=answer)

    return await commit(bank, reply, act)


async def end_expired(bank: Bank) -> int:
    """End every grant whose last good day has passed, each with its entry; how many.

    What they did not release is free again. Releases look at that day themselves, so that this may come late.
    """

    def unit(conn: Connection) -> int:
        ended = grants.expire(conn, today=bank.today(), now=bank.now())
        for grant in ended:
            append(conn, bank, GATEWAY, "grant.expired", {"grant": grant.id})
            ledger.settle(conn, grant.id, cause_id=grant.id, now=bank.now())
        return len(ended)

    return await bank.database.write_async(unit)


async def take_in(
    bank: Bank,
    caller: Caller,
    part: Callable[[Connection], Batch],
    *,
    subjects: Callable[[Batch], Mapping[str, str]],
    reply: Reply,
) -> Rendered:
    """Rows of the bank's own files go in, with one entry for the batch; `render` gets the `Batch`.

    Tubes that were promised and by these rows are there no more leave the grants they were promised to,
    each grant with its entry, in the same transaction: so the ledger agrees with the shelves.
    """

    def act(conn: Connection) -> Batch:
        batch, now = part(conn), bank.now()
        about = subjects(batch)
        append(conn, bank, caller, "intake.batch", about)
        for grant_id, holdings in ledger.unkept(conn, batch.changed_ids).items():
            grants.shrink(conn, grant_id, holdings, reason="gone", now=now)
            append(conn, bank, caller, "grant.shrunk", {"file": about["file"], "grant": grant_id})
            ledger.settle(conn, grant_id, cause_id=about["file"], now=now)
        return batch

    return await commit(bank, reply, act)


async def record_event(
    bank: Bank,
    caller: Caller,
    kind: str,
    part: Callable[[Connection], T],
    *,
    subjects: Callable[[T], Mapping[str, str]],
    reply: Reply,
    reaches: Callable[[T], tuple[str, str]] | None = None,
) -> Rendered:
    """The one door for every other entry: `part` runs and its entry is appended, or neither.

    `subjects` names opaque ids from the part's result for the leaf; `reply.render` gets the result.
    `reaches` names the shared fact (kind, id) of which something new is known: live grants that rest on
    it are decided again in the same transaction.
    """

    def act(conn: Connection) -> T:
        result = part(conn)
        about = subjects(result)
        append(conn, bank, caller, kind, about)
        if reaches is not None:
            live = standing.touched(conn, *reaches(result)).grants
            standing.reach(conn, bank, caller, standing.Reach(grants=live), about)
        return result

    return await commit(bank, reply, act)


def _decide_again(
    conn: Connection, bank: Bank, caller: Caller, request: Request
) -> tuple[Prepared, Answer]:
    prepared = prepare(conn, bank, request.ask, request.party_id, held_by=request.id)
    return prepared, record(conn, bank, caller, prepared, occasion="redecision", request=request)


def _usable(conn: Connection, bank: Bank, caller: Caller, grant_id: str) -> grants.Grant:
    grant = grants.get(conn, grant_id, party_id=caller.party_id)
    if grant.state is not grants.GrantState.ACTIVE:
        raise ProblemError("not_releasable", f"the grant is `{grant.state}`")
    if grant.until < bank.today():
        raise ProblemError("not_releasable", f"the grant ended on `{grant.until}`")
    return grant


def _actor(caller: Caller) -> cases.Actor:
    roles = {cases.Role.OFFICER} if "officer" in caller.roles else set()
    if caller.kind == "key":
        roles = {cases.Role.APPLICANT}
    return cases.Actor(
        id=caller.id,
        roles=frozenset(roles),
        party_id=caller.party_id,
        person_id=caller.person_id,
    )


def _leave_queue(conn: Connection, bank: Bank, caller: Caller, request_id: str) -> None:
    """The applicant takes the request out of the queue: amended, withdrawn or closed."""
    case_id = cases.open_case_of(conn, request_id)
    if case_id is None:
        return
    asked = cases.Asked(command=cases.Command.WITHDRAW)
    revision = cases.get_case(conn, case_id).revision
    step = cases.check(conn, case_id, asked, _actor(caller), revision=revision)
    entry = append(conn, bank, caller, f"case.{step.event}", step.subjects())
    cases.record(conn, step, leaf_index=entry.index, now=bank.now())
