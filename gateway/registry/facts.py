"""The information point (PIP): everything one decision needs, gathered in one read.

The rules it keeps: a fact that nobody said and no record holds is left out, so unknown; what only a person
may find (an authority's approval, Chinese standing, CIIO) counts by determination; no
legal notion is formed here, that is `policies.derived`'s.

    gathered = gather(conn, bank, ask, "pty_shanghai_hospital", as_of=bank.today(), now=bank.now())
    decision = pdp.decide(gathered.question, bank.law)
    gathered.cohort.select(conn, decision.selection.strata)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.bank import Bank, Recall, facts_version
from gateway.errors import FieldError, ProblemError
from gateway.registry import (
    cohorts,
    counters,
    determinations,
    duties,
    intake,
    ledger,
    papers,
)
from gateway.registry.ask import Ask, named_in, purpose_of, roles_of
from gateway.registry.cohorts import Cohort, Reduced
from gateway.registry.counters import Counted, Recipient
from gateway.registry.determinations import Found
from gateway.registry.ledger import Draw
from gateway.registry.ownership import Ownership, ownership_of
from gateway.registry.papers import Fit, Paper
from gateway.registry.strata import Teller
from gateway.tables import metadata
from policies.request import Facts, Question, Value

_PROJECT = metadata.tables["project"]
_RESEARCHER = metadata.tables["researcher"]

#: Kinds of paper whose people and units have rules of their own.
_RULED = frozenset({"cooperation", "filing"})

#: Facts the vocabulary has and nothing here can know yet: no register or form asks for them.
NEVER = frozenset(
    {
        "collection.id",  # would split strata by site without any rule asking for it
    }
)

_NOTHING = Reduced(cohort=cohorts.NOBODY, strata=(), profiles={}, donor_groups=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The question for the PDP, and what only the gateway needs to give effect to its answer.

    `recipient` is whom a release counts for, `counted` what was given before. `papers` are the ids of the
    papers whose facts were used, by kind; `parties` those the request is for.
    """

    question: Question
    cohort: Cohort
    facts_version: int
    gathered_at: datetime
    draws: tuple[Draw, ...]
    recipient: Recipient
    counted: Counted
    papers: Mapping[str, str]
    parties: Mapping[str, str]  # role → party id
    rests_on: frozenset[tuple[str, str]]  # (kind, id) of every shared fact, read or passed over


def gather(
    conn: Connection,
    bank: Bank,
    ask: Ask,
    requester_party_id: str,
    *,
    as_of: date,
    now: datetime,
    only: frozenset[str] | None = None,
    held_by: str | None = None,
) -> Gathered:
    """Gather the facts of one request as of a Shanghai date; about sixteen statements.

    1 version; 2 project, parties and past receivers with all above them, users; 3 the cohort asked for;
    4 papers; 5 what went out before; 6 strata; 7 facts and purpose. `only` narrows the cohort to these
    holdings (those under a grant); what the grant or request `held_by` holds in the ledger is room for
    it. All in the caller's one snapshot.

    Raises `ProblemError`: `not_found` for a project that is not the requester's, `unknown_term` or
    `unknown_sample` pointing at every name nobody knows, `invalid_request` for a user whose employer
    is no party of the request.
    """
    version = facts_version(conn)
    recall = bank.remembered.at(conn, version)
    found = recall(("found", as_of), lambda: determinations.in_force(conn, as_of))
    project = recall(
        ("project", ask.project, requester_party_id),
        lambda: _project(conn, ask.project, requester_party_id),
    )
    named = named_in(ask, requester_party_id)
    before = recall(
        ("past", project.id), lambda: counters.past(conn, project.id, bank.settings.counting)
    )
    ownership = _ownership(conn, bank, recall, named, project, found, as_of, before.parties)
    users = _users(conn, recall, ask, _employers(named, project, ownership, bank))
    own = ledger.own(conn, held_by, whole=only is not None)
    asked = (
        None
        if ask.items is None
        else cohorts.resolve(conn, ask.items, bank.diseases, own, recall=recall)
    )
    fit = Fit(
        as_of=as_of,
        project_id=project.id,
        parties=frozenset(id_ for role, id_ in named.items() if role != "host") - {bank.party_id},
        collections=frozenset(asked.collections if asked else ()),
        datasets=None,
    )
    counting = tuple(
        papers.with_room(paper, own.quotas)
        for paper in recall(
            ("papers", fit), lambda: papers.counting(conn, fit, bank_party_id=bank.party_id)
        )
    )
    if asked and any(paper.states("dataset_sha256") is not None for paper in counting):
        fit = replace(fit, datasets=cohorts.dataset_digests(conn, asked))
    chosen = {kind: papers.choose(counting, kind, fit) for kind in papers.KINDS}
    with_index = asked is not None and not asked.is_list and only is None and bank.index.is_open
    holdings = [] if asked is None or with_index else cohorts.read(conn, asked)
    receiving = named.get("recipient", requester_party_id)
    recipient = Recipient(party_id=receiving, group_id=ownership.group(receiving))
    counted = counters.count(
        conn,
        before,
        recipient=recipient,
        project_id=project.id,
        ownership=ownership,
        asked=None
        if asked is None
        else counters.Asked.EVERYBODY
        if with_index
        else cohorts.named_by(asked, holdings, "donor_id"),
        as_of=as_of,
        recall=recall,
    )
    reduced = _NOTHING
    if asked is not None:
        teller = Teller(
            conn,
            kinds=frozenset(asked.items.kinds),
            collections=asked.collections,
            fit=fit,
            found=found,
            papers=counting,
            counted=counted,
            purpose=ask.purpose.research.value,
            recall=recall,
        )
        by_index = (
            cohorts.reduce_by_index(conn, bank.index, asked, teller, counted, version=version)
            if with_index
            else None
        )
        reduced = by_index or cohorts.reduce(
            conn, asked, holdings or cohorts.read(conn, asked), teller, counted, only=only
        )
    facts: dict[str, Value | None] = {
        **_said(ask, reduced),
        **_determined(ask, bank, project.id, found),
        **_project_facts(project, ownership),
        **_party_facts(ask, named, ownership),
        **_user_facts(ask, users),
        **counted.facts,
    }
    changed = [chosen["change_approval"], chosen["change_statement"]]
    raised = chosen | {"cooperation": papers.raised(chosen["cooperation"], changed, as_of)}
    for kind, paper in raised.items():
        facts |= papers.facts(paper, kind, fit)
    draws = tuple(_draws(chosen, ask, reduced, as_of))
    facts["papers.quotas"] = _quotas(conn, draws, reduced)
    facts |= _reporter(conn, chosen["prior_report"], found, as_of)
    facts["holdings.feed_stale"] = _feed_stale(conn, bank, now)
    licence = chosen["preservation"]
    facts |= recall(
        ("duties", requester_party_id, project.id, licence and licence.id, as_of),
        lambda: duties.facts(
            conn,
            requester_id=requester_party_id,
            project_id=project.id,
            licence=licence,
            as_of=as_of,
        ),
    )
    return Gathered(
        question=Question(
            as_of=as_of,
            facts=_known(facts),
            purpose=purpose_of(ask, bank.diseases, named, ownership, chosen["ethics"], as_of),
            profiles=reduced.profiles,
            strata=reduced.strata,
            donor_groups=reduced.donor_groups,
        ),
        cohort=reduced.cohort,
        facts_version=version,
        gathered_at=now,
        draws=draws,
        recipient=recipient,
        counted=counted,
        papers={kind: paper.id for kind, paper in chosen.items() if paper is not None},
        parties=named,
        rests_on=frozenset(
            {
                ("project", project.id),
                *(("party", id_) for id_ in ownership.parties),
                *(("paper", paper.id) for paper in counting),
                *reduced.rests_on,
            }
        ),
    )


def asked_datasets(conn: Connection, bank: Bank, ask: Ask) -> frozenset[str]:
    """The digests of the data sets an ask reaches into: what a backup receipt or report must name."""
    if ask.items is None:
        return frozenset()
    return (
        cohorts.dataset_digests(conn, cohorts.resolve(conn, ask.items, bank.diseases))
        or frozenset()
    )


def _known(facts: Mapping[str, Value | None]) -> Facts:
    return {name: facts[name] for name in sorted(facts) if facts[name] is not None}  # type: ignore[misc]


def _project(conn: Connection, project_id: str, party_id: str) -> Row[Any]:
    row = conn.execute(
        sa.select(_PROJECT).where(_PROJECT.c.id == project_id, _PROJECT.c.party_id == party_id)
    ).one_or_none()
    if row is None:  # another's project and none at all are told alike
        wrong = FieldError(pointer="/project", detail=f"there is no project `{project_id}`")
        raise ProblemError("not_found", wrong.detail, errors=(wrong,))
    return row


def _ownership(
    conn: Connection,
    bank: Bank,
    recall: Recall,
    named: Mapping[str, str],
    project: Row[Any],
    found: Found,
    as_of: date,
    receivers: frozenset[str],
) -> Ownership:
    wanted = frozenset({*named.values(), project.chinese_partner_id or bank.party_id, *receivers})
    ownership = recall(
        ("ownership", wanted, as_of), lambda: ownership_of(conn, wanted, found, as_of=as_of)
    )
    pointers = {"host": "/host/operator"}
    wrong = tuple(
        FieldError(pointer=pointers.get(role, f"/{role}"), detail=f"there is no party `{id_}`")
        for role, id_ in named.items()
        if id_ not in ownership.parties
    )
    if wrong:
        raise ProblemError("unknown_term", wrong[0].detail, errors=wrong)
    return ownership


def _employers(
    named: Mapping[str, str], project: Row[Any], ownership: Ownership, bank: Bank
) -> set[str]:
    """Whose people may use what is released: the parties of the request, the bank, and the partner.

    The foreign-party test does not run on the partner, so its people only count as its own while it
    is Chinese beyond question; otherwise it must be named as a party.
    """
    partner = project.chinese_partner_id
    chinese = {partner} if partner is not None and ownership.is_chinese(partner) is True else set()
    return {*named.values(), bank.party_id, *chinese}


def _users(conn: Connection, recall: Recall, ask: Ask, employers: set[str]) -> list[Row[Any]]:
    if not ask.users:
        return []
    ids = tuple(sorted({user.researcher for user in ask.users}))
    known = recall(
        ("researchers", ids),
        lambda: {
            row.id: row
            for row in conn.execute(sa.select(_RESEARCHER).where(_RESEARCHER.c.id.in_(ids)))
        },
    )
    wrong = tuple(
        FieldError(
            pointer=f"/users/{index}/researcher",
            detail=f"there is no researcher `{user.researcher}`",
        )
        for index, user in enumerate(ask.users)
        if user.researcher not in known
    )
    if wrong:
        raise ProblemError("unknown_term", wrong[0].detail, errors=wrong)
    # The foreign-party test runs on every party named; so everybody's employer must be one.
    strangers = tuple(
        FieldError(
            pointer=f"/users/{index}/researcher",
            detail=f"the employer of `{user.researcher}` is no party of this request",
        )
        for index, user in enumerate(ask.users)
        if known[user.researcher].employer_id not in employers
    )
    if strangers:
        raise ProblemError("invalid_request", strangers[0].detail, errors=strangers)
    return [known[user.researcher] for user in ask.users]


def _said(ask: Ask, reduced: Reduced) -> dict[str, Value | None]:
    """What the applicant said, as it was said; and how much it comes to."""
    clauses, trial, taken_in = ask.agreement.clauses, ask.trial, ask.collection
    facts: dict[str, Value | None] = {
        "request.action": ask.action,
        "request.leftover": ask.leftover,
        "request.commercial": ask.purpose.commercial,
        "request.price_fen": ask.price.price_fen,
        "request.cost_fen": ask.price.cost_fen,
        "request.cost_documented": ask.price.cost_documented,
        "request.clinical_care": ask.clinical_care,
        "request.banned_care": ask.banned_care,
        "request.research_use": ask.research_use,
        "request.extracts_nucleic_acid": ask.extracts_nucleic_acid,
        "request.material_exits": _exits(ask, reduced),
        "request.outputs": None if ask.outputs is None else frozenset(ask.outputs),
        "request.agreement_signed": ask.agreement.signed,
        "request.agreement_clauses": None if clauses is None else frozenset(clauses),
        "request.purpose": ask.purpose.research.value,
        "request.asked_units": sum(stratum.units for stratum in reduced.strata),
        "request.site": ask.site,
        "request.changes": None if ask.changes is None else frozenset(ask.changes),
        "request.care_kind": ask.care_kind,
        "request.embryo_or_germline": ask.embryo_or_germline,
        "request.new_biomedical_technology": ask.new_biomedical_technology,
        "request.protocol_people": ask.quantities.protocol_people,
        "request.protocol_units": ask.quantities.protocol_units,
        "request.form_units": ask.quantities.form_units,
        "request.us_persons_genomic": ask.us_persons.genomic,
        "request.us_persons_other_omic": ask.us_persons.other_omic,
        "request.ftz_pilot": ask.ftz_pilot,
        "request.emergency_exemption": ask.emergency_exemption,
        "pi.form": ask.pi_form,
        "host.place": ask.host.place if ask.host else None,
    }
    if taken_in is not None:
        facts |= {
            "request.affected_generations": taken_in.affected_generations,
            "request.common_disease": taken_in.common_disease,
            "request.collects_special_region": taken_in.special_region,
            "request.large_population_study": taken_in.large_population_study,
            "request.people_planned": taken_in.people_planned,
        }
    if trial is not None:
        facts |= {
            "request.trial_for_marketing": trial.for_marketing,
            "request.trial_in_registered_institution": trial.in_registered_institution,
            "request.trial_collected_in_institution": trial.collected_in_institution,
            "request.trial_tested_in_institution_or_named_unit": (
                trial.tested_in_institution_or_named_unit
            ),
            "request.trial_exploratory_part": trial.exploratory_part,
        }
    return facts


def _exits(ask: Ask, reduced: Reduced) -> bool | None:
    """Whether material leaves: as said; where only data are asked for, there is none to leave."""
    if ask.material_exits is not None or not reduced.strata:
        return ask.material_exits
    only_data = all(one.facts.get("item.class") == "information" for one in reduced.strata)
    return False if only_data else None


def _determined(ask: Ask, bank: Bank, project_id: str, found: Found) -> dict[str, Value | None]:
    """What only officers may find.

    An applicant's word that an authority approved, or that data came of the cooperation, would lift a
    duty: it is unknown until two officers find it so. Its "no" stands. A flag nobody raised is down.
    """

    def claim(said: bool | None, finding: str) -> bool | None:  # noqa: FBT001 - a truth value
        officers = found.get(("project", project_id, finding))
        return officers if officers is not None else False if said is False else None

    host = ask.host.operator if ask.host else None
    return {
        "request.prc_authority_approval": claim(
            ask.prc_authority_approval, "prc_authority_approval"
        ),
        "request.produced_in_cooperation": claim(
            ask.produced_in_cooperation, "produced_in_cooperation"
        ),
        "host.is_bank": None if host is None else host == bank.party_id,
        "officer.harm_flag": found.get(("project", project_id, "harm"), False),
        "officer.security_flag": found.get(("project", project_id, "security"), False),
        "officer.shipment_flag": found.get(("project", project_id, "shipment_outside_norms")),
        "officer.forgery_flag": found.get(("project", project_id, "forged_documents")),
        "request.exit_use_reasonable": found.get(("project", project_id, "exit_use_reasonable")),
        "request.special_exit": found.get(("project", project_id, "special_exit")),
        # Found for a while: on the day of the next review it lapses, and is none again.
        "bank.emergency_plan": found.get(("party", bank.party_id, "emergency_plan"), False),
        "pi.ciio": found.get(("party", bank.party_id, "ciio")),
        "pi.important_data": found.get(("party", bank.party_id, "important_data")),
    }


def _project_facts(project: Row[Any], ownership: Ownership) -> dict[str, Value | None]:
    partner = project.chinese_partner_id
    return {
        "project.chinese_partner": False if partner is None else ownership.is_chinese(partner),
        "project.chinese_participation": project.chinese_participation,
        "project.records_open_and_backed_up": project.records_open_and_backed_up,
    }


def _party_facts(
    ask: Ask, named: Mapping[str, str], ownership: Ownership
) -> dict[str, Value | None]:
    facts: dict[str, Value | None] = {
        f"{role}.present": False for role, (who, _) in roles_of(ask).items() if who == "none"
    }
    for role, party_id in named.items():
        facts |= ownership.facts(role, party_id)
        if party_id == named.get("recipient"):
            facts[f"{role}.role"] = ask.recipient_role
            facts[f"{role}.has_access"] = ask.recipient_has_access
    if "sponsor" in named and named["sponsor"] != named.get("recipient"):
        facts["sponsor.role"] = "sponsor"
    if "host" in named:
        facts["host.has_access"] = True  # whoever operates the place where data lie can reach them
    return facts


def _user_facts(ask: Ask, users: Iterable[Row[Any]]) -> dict[str, Value | None]:
    if not ask.users:  # somebody uses it: a list of nobody says as little as none
        return {}
    places = [user.access_country for user in ask.users]
    return {
        "users.access_countries": (
            None if None in places else frozenset(place for place in places if place)
        ),
        "users.nationalities": frozenset(user.nationality for user in users),
        "users.individual_capacity": any(user.individual_capacity for user in users),
    }


def _feed_stale(conn: Connection, bank: Bank, now: datetime) -> bool | None:
    """Whether the sample system has been silent for too long; None where no feed is expected of it."""
    hours = bank.settings.feed_max_age_hours
    return None if hours is None else intake.is_stale(intake.last_feed(conn), hours, now=now)


def _reporter(
    conn: Connection, report: Paper | None, found: Found, as_of: date
) -> dict[str, Value | None]:
    """Whether the prior report was made by a Chinese owner (Implementing Rules art. 36)."""
    if report is None:
        return {}
    held = ownership_of(conn, [report.holder_id], found, as_of=as_of)
    return {"paper.prior_report.holder_chinese": held.is_chinese(report.holder_id)}


def _draws(
    chosen: Mapping[str, Paper | None], ask: Ask, reduced: Reduced, as_of: date
) -> Iterable[Draw]:
    material = any(stratum.facts.get("item.class") != "information" for stratum in reduced.strata)
    exits = ask.material_exits if material else False
    for kind, paper in chosen.items():
        if kind in ledger.CHANGES:
            continue  # drawn on once the licence they change is used up
        if paper and paper.is_in_force(as_of) and papers.is_drawn(paper, material_exits=exits):
            changes = [chosen[each] for each in ledger.CHANGES] if kind == "cooperation" else []
            for quota in paper.quotas:
                more = [
                    each
                    for change in changes
                    if change is not None and change.is_in_force(as_of)
                    for each in change.quotas
                    if each.measure == quota.measure
                ]
                yield Draw(
                    measure=quota.measure,
                    kind=kind,
                    paper_id=paper.id,
                    quotas=tuple((each.id, each.total - each.used) for each in (quota, *more)),
                    opened=all(each.opened for each in (quota, *more)),
                )


def _quotas(conn: Connection, draws: Iterable[Draw], reduced: Reduced) -> str | None:
    """How the quotas that a grant would draw on stand to all that is asked for; None: none would be.

    `short` is left to the rules of cooperations and filings where they count people and units: those look at
    what is selected, and a cooperation may be exceeded by a tenth.
    """
    said = set()
    for draw in draws:
        needed = reduced.amount(conn, draw.measure, draw.kind)
        free = sum(max(left, 0) for _, left in draw.quotas)
        ruled = draw.kind in _RULED and draw.measure in {"people", "units"}
        said.add(
            "unopened"
            if not draw.opened
            else "unmeasured"
            if needed is None
            else "short"
            if needed > free and not ruled
            else "suffice"
        )
    return next(
        (one for one in ("unopened", "unmeasured", "short", "suffice") if one in said), None
    )
