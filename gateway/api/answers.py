"""A decision as JSON, by audience: researchers see bands, officers see figures.

The rule it keeps (design §5): nothing a researcher is shown tells whether one donor withdrew. Counts
are rounded to 10 and hidden below 20; over fewer than 20 donors every donor-level reason becomes one
`not_available`. Neither strata nor the digest of the decision document ever reach a researcher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, Literal, assert_never, cast

from gateway.api.schemas.parts import Amount, Number, PathOut, Words
from gateway.api.schemas.researcher import (
    Basis,
    Blocker,
    CitationOut,
    ControlPaths,
    DecisionLinks,
    DecisionOut,
    DifferenceOut,
    LogPlace,
    MissingFact,
    MoveOut,
    ObligationOut,
    WayOut,
    WaysOut,
)
from gateway.bank import Bank
from gateway.deciding import Answer
from gateway.identity.scopes import Caller
from gateway.registry.ask import pointer_of
from gateway.registry.ownership import path_in_words
from policies import advice, pack_pages, plain
from policies.decision import (
    Count,
    Decision,
    Deny,
    Effect,
    Finding,
    Hold,
    Obligation,
    Permit,
    Refer,
    Result,
)
from policies.findings import PACK
from policies.request import Question

#: Design §5: "rounded to 10, "<20" below 20".
STEP: Final = 10
SMALL: Final = 20

_NOT_AVAILABLE: Final = Blocker(
    rule="not_available",
    no=None,
    level="donor",
    effect="deny",
    result="holds",
    says=Words(
        zh="部分或全部所申请内容不可提供", en="Some or all of what was asked is not available"
    ),
    fix=Words(
        zh="请扩大所申请的人群;不足 20 人时不说明个人层面的原因",
        en="Ask for a larger cohort; below 20 donors no donor-level reason is given",
    ),
    ask=None,
    owner="bank",
    cite=[],
    content_pending=False,
    paper=None,
    touched=None,
    freed_if_fixed_alone=None,
    missing=[],
    reasons=[],
    law=None,
)


def is_exact(caller: Caller) -> bool:
    """Whether the caller may see figures: people of the bank and its supervisors do."""
    return caller.kind == "person"


def number(value: int, *, exact: bool) -> Number:
    """A count as the audience may see it."""
    if exact:
        return Number(value=value, shown=str(value), exact=True)
    if value < SMALL:
        return Number(value=None, shown=f"<{SMALL}", exact=False)
    # Half a step goes up; Python's round() would go to the even ten.
    rounded = (value + STEP // 2) // STEP * STEP
    return Number(value=rounded, shown=str(rounded), exact=False)


def amount(count: Count, *, exact: bool) -> Amount:
    """Donors, holdings and units as the audience may see them."""
    return Amount(
        people=number(count.people, exact=exact),
        items=number(count.items, exact=exact),
        units=number(count.units, exact=exact),
    )


def decision(bank: Bank, caller: Caller, answer: Answer) -> DecisionOut:
    """The answer as `caller` may see it."""
    exact = is_exact(caller)
    made, request = answer.decision, answer.request
    return DecisionOut(
        id=answer.decision_id,
        occasion=cast('Literal["evaluation", "submission"]', answer.occasion),
        outcome=cast('Literal["permit"]', made.outcome),
        binding=answer.occasion != "evaluation",
        donor_level="not_considered" if answer.blind else "considered",
        cohort="earlier" if answer.earlier else "asked",
        as_of=answer.as_of,
        decided_at=answer.decided_at,
        until=_until(made),
        request=request.id if request else None,
        version=request.version if request else None,
        state=request.state if request else None,
        revision=request.revision if request else None,
        case=answer.case_id,
        grant=answer.grant_id,
        asked=amount(made.selection.asked, exact=exact),
        permitted=amount(made.selection.permitted, exact=exact),
        control=_control(answer.question),
        text=_text(bank, answer, exact=exact),
        blockers=_blockers(bank, made, exact=exact),
        basis=[_basis(one) for one in made.findings if _is(one, Effect.PERMIT, Result.HOLDS)],
        obligations=[_obligation(one) for one in made.obligations],
        papers=_papers(made),
        difference=[
            DifferenceOut(pointer=d.pointer, before=d.before, after=d.after)
            for d in answer.difference
        ],
        policy=dict(made.digests),
        log=LogPlace(origin=bank.origin, index=answer.leaf_index, leaf_hash=answer.leaf_hash.hex()),
        links=DecisionLinks(
            self=f"/v1/decisions/{answer.decision_id}",
            proof=f"/v1/decisions/{answer.decision_id}/proof",
            request=_link("access-requests", request.id if request else None),
            case=_link("cases", answer.case_id) if exact else None,
            grant=_link("grants", answer.grant_id),
        ),
    )


def _control(question: Question) -> list[ControlPaths]:
    """By role, the foreign holders' paths that were found, where there are any."""
    return [
        ControlPaths(
            role=cast('Literal["host"]', name.removesuffix(".foreign_paths")),
            paths=paths(value, {}),
        )
        for name, value in question.facts.items()
        if name.endswith(".foreign_paths") and isinstance(value, frozenset) and value
    ]


def _text(bank: Bank, answer: Answer, *, exact: bool) -> Words:
    """The whole answer in plain words, with the same numbers as the rest of it."""
    made = answer.decision
    said = plain.answer(
        made,
        bank.law.vocabulary,
        as_of=answer.as_of,
        shown=lambda value: number(value, exact=exact).shown,
        donor_level=exact or made.selection.asked.people >= SMALL,
    )
    return Words(zh=said["zh"], en=said["en"])


def ways(answer: Answer, found: Iterable[advice.Way], *, exact: bool) -> WaysOut:
    """The smallest changes that would permit; a researcher sees none that is about holdings or donors."""
    return WaysOut(
        decision=answer.decision_id,
        ways=[
            WayOut(
                outcome=cast('Literal["permit"]', way.outcome),
                people=number(way.people, exact=exact),
                moves=[
                    MoveOut(
                        kind=cast('Literal["paper"]', move.kind),
                        fact=move.fact,
                        says=_words(move.says),
                        pointer=f"/ask{where}" if (where := pointer_of(move.fact)) else None,
                    )
                    for move in way.moves
                ],
            )
            for way in found
            if exact or not any(move.strata for move in way.moves)
        ],
    )


def paths(found: Iterable[str], names: Mapping[str, tuple[str, str]]) -> list[PathOut]:
    """Control paths in words; parties by name where `names` has them, by id otherwise."""
    said = ((path, path_in_words(path, names)) for path in sorted(found))
    return [PathOut(path=path, says=Words(zh=zh, en=en)) for path, (zh, en) in said]


def _blockers(bank: Bank, made: Decision, *, exact: bool) -> list[Blocker]:
    standing = [one for one in made.findings if _stands_in_the_way(one)]
    if exact or made.selection.asked.people >= SMALL:
        return [_blocker(bank, one, exact=exact) for one in standing]
    shown = [_blocker(bank, one, exact=False) for one in standing if not one.strata]
    if any(one.strata for one in standing):
        shown.append(_NOT_AVAILABLE)
    return shown


def _stands_in_the_way(finding: Finding) -> bool:
    return finding.effect in {Effect.DENY, Effect.REFER, Effect.REQUIRE} and finding.result in {
        Result.HOLDS,
        Result.UNKNOWN,
    }


def _is(finding: Finding, effect: Effect, result: Result) -> bool:
    return finding.effect is effect and finding.result is result


def _blocker(bank: Bank, finding: Finding, *, exact: bool) -> Blocker:
    of_donors = bool(finding.strata)
    return Blocker(
        rule=finding.rule,
        no=finding.no,
        level="donor" if of_donors else "request",
        effect=cast('Literal["deny"]', str(finding.effect)),
        result=cast('Literal["holds"]', str(finding.result)),
        says=_words(finding.says),
        fix=_words(finding.fix),
        ask=_words(finding.ask) if finding.ask else None,
        owner=cast('Literal["bank"]', str(finding.owner)),
        cite=_citations(finding),
        content_pending=finding.confidence.get("content") == "low",
        paper=finding.paper,
        touched=number(finding.touched, exact=exact) if of_donors else None,
        freed_if_fixed_alone=number(finding.alone, exact=exact) if of_donors else None,
        missing=[_missing(bank, name) for name in finding.missing],
        reasons=list(finding.reasons),
        law=_law(finding),
    )


def _law(finding: Finding) -> str | None:
    """Where the rule is read; what the PDP itself says stands in no pack."""
    if finding.pack == PACK:
        return None
    return pack_pages.address(finding.pack, finding.rule, finding.edition)


def _basis(finding: Finding) -> Basis:
    return Basis(
        rule=finding.rule,
        no=finding.no,
        says=_words(finding.says),
        cite=_citations(finding),
        law=_law(finding),
    )


def _citations(finding: Finding) -> list[CitationOut]:
    pending = finding.confidence.get("article") == "low"
    return [
        CitationOut(law=c.law, article=c.article, text=Words(zh=c.zh, en=c.en), pending=pending)
        for c in finding.cite
    ]


def _missing(bank: Bank, name: str) -> MissingFact:
    fact = bank.law.vocabulary.facts.get(name)  # None: a name of packs that were in force before
    where = pointer_of(name)
    return MissingFact(
        fact=name,
        says=_words(fact.says) if fact else Words(zh=name, en=name),
        source=str(fact.source) if fact and fact.source else None,
        pointer=f"/ask{where}" if where else None,
    )


def _obligation(duty: Obligation) -> ObligationOut:
    return ObligationOut(
        id=duty.id,
        rule=duty.rule,
        no=duty.no,
        says=_words(duty.says),
        before_release=duty.before_release,
        due=duty.due,
        months=duty.months,
        values=list(duty.values),
    )


def _until(made: Decision) -> date | None:
    match made:
        case Permit():
            return made.until
        case Hold() | Refer() | Deny():
            return None
        case _:
            assert_never(made)


def _papers(made: Decision) -> list[str]:
    match made:
        case Hold():
            return list(made.papers)
        case Permit() | Refer() | Deny():
            return []
        case _:
            assert_never(made)


def _words(said: Mapping[str, str]) -> Words:
    return Words(zh=said["zh"], en=said["en"])


def _link(of: str, name: str | None) -> str | None:
    return f"/v1/{of}/{name}" if name else None
