"""The smallest changes under which the answer would be a permit, each tried by deciding again.

The rules it keeps: nothing is advised that was not decided; nobody is told to ask for fewer, so as to
stay under a threshold, or to say what is not so: what only the world can answer is put as "if it is so".
Each blocker has its moves (a paper to obtain, a thing to say or do, a finding for two officers); the
search takes the blocker with the fewest and tries each, fewer changes before more.

    for way in advise(question, law): print(way.outcome, [move.says for move in way.moves])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from typing import assert_never

from policies.decision import Decision, Deny, Effect, Finding, Hold, Permit, Refer, Result
from policies.derived import PAPERS, STATUTORY_CLAUSES
from policies.pdp import decide
from policies.plain import in_the_way
from policies.request import Facts, Question, StratumId, Value
from policies.rules import Law
from policies.vocabulary import Fact, FactType, Level, Source, is_set_by_pdp

#: Most decisions of one search: who waits for a longer one is helped by nothing it finds.
MOST_DECISIONS = 400
#: What the applicant decides, and so may decide otherwise; the rest is as it is.
CHOICES = frozenset(
    {
        "request.leftover",
        "request.outputs",
        "request.price_fen",
        "request.material_exits",
        "request.extracts_nucleic_acid",
        "request.commercial",
        "request.cost_documented",
        "request.agreement_signed",
        "request.agreement_clauses",
        "host.place",
        "project.chinese_participation",
        "project.records_open_and_backed_up",
    }
)
_PLENTY = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change: a `paper` to obtain, a `field` to say or change, or a `determination` of officers.

    `fact` names what changes, in `strata` if it is about holdings or donors, else of the request.
    """

    kind: str
    fact: str
    value: Value
    says: Mapping[str, str] = field(compare=False)
    strata: frozenset[StratumId] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Moves that together were decided to come out as `permit`, or `refer` with nothing but judgement."""

    outcome: str
    moves: tuple[Move, ...]
    people: int  # who may go then

    @property
    def facts(self) -> frozenset[str]:
        """What it changes; of two ways that change the same, one is enough."""
        return frozenset(move.fact for move in self.moves)

    def makes_idle(self, other: Way) -> bool:
        """Whether the other one changes as much or more, and comes out no better."""
        return self.facts <= other.facts and self.outcome in {Permit.outcome, other.outcome}


def advise(question: Question, law: Law, *, most: int = 3) -> tuple[Way, ...]:
    """Up to `most` ways, permits first, fewest moves first; none if it is permitted or nothing helps."""
    first = decide(question, law)
    if isinstance(first, Permit):
        return ()
    found = sorted(_Search(question, law).ways(first), key=_order)
    return tuple(
        way
        for place, way in enumerate(found)
        if not any(one.makes_idle(way) for one in found[:place])
    )[:most]


def _order(way: Way) -> tuple[bool, int, list[str]]:
    return way.outcome != Permit.outcome, len(way.moves), [move.fact for move in way.moves]


@dataclass(slots=True)
class _Search:
    """One search, of what looks nearest first; owns the count of decisions it has made."""

    question: Question
    law: Law
    decisions: int = 0

    def ways(self, first: Decision) -> Iterator[Way]:
        """Every way that the search comes upon, with no move that could be spared."""
        fewest = first.selection.permitted.people
        turn = count(1)  # of two states as near, the older first
        waiting: list[tuple[int, int, tuple[Move, ...], Decision]] = [(0, 0, (), first)]
        seen: set[frozenset[Move]] = set()
        permits: list[frozenset[Move]] = []
        while waiting:
            _, _, done, decision = heappop(waiting)
            if any(one <= set(done) for one in permits):
                continue
            if done and _is_reached(decision):
                # A way that leaves more donors out than the question did is fewer in disguise.
                if decision.selection.permitted.people >= fewest:
                    way = self._spared(done, decision)
                    permits += [frozenset(way.moves)] if isinstance(decision, Permit) else []
                    yield way
                if isinstance(decision, Permit):
                    continue
            now = _applied(done, self.question, self.law)
            for move in self._moves(decision, now):
                after = frozenset({*done, move})
                if after in seen:
                    continue
                if self.decisions >= MOST_DECISIONS:
                    return
                seen.add(after)
                then = self._decide((*done, move))
                near = len(after) + _ahead(then)
                heappush(waiting, (near, next(turn), (*done, move), then))

    def _decide(self, moves: tuple[Move, ...]) -> Decision:
        self.decisions += 1
        return decide(_applied(moves, self.question, self.law), self.law)

    def _spared(self, moves: tuple[Move, ...], decision: Decision) -> Way:
        """The way without the moves that a later one has made idle."""
        for move in moves:
            fewer = tuple(one for one in moves if one != move)
            without = self._decide(fewer)
            if fewer and _is_reached(without) and without.outcome == decision.outcome:
                moves, decision = fewer, without
        return Way(
            outcome=decision.outcome,
            moves=tuple(sorted(moves, key=lambda move: (move.fact, str(move.value)))),
            people=decision.selection.permitted.people,
        )

    def _moves(self, decision: Decision, question: Question) -> Sequence[Move]:
        """Those of the blocker that leaves the least choice: one of them is in every way.

        What only asks for judgement comes last: it may stay.
        """
        choices: list[tuple[bool, int, Sequence[Move]]] = []
        for finding in decision.findings:
            if in_the_way(finding):
                moves = tuple(dict.fromkeys(_moves(finding, question, self.law)))
                if moves:
                    choices.append((_is_judgement(finding), len(moves), moves))
        return min(choices, key=lambda one: one[:2], default=(False, 0, ()))[2]


def _is_judgement(finding: Finding) -> bool:
    return finding.effect is Effect.REFER and finding.result is Result.HOLDS


def _ahead(decision: Decision) -> int:
    """How many moves are at least to come: one for each paper and for each thing not known."""
    standing = (one for one in decision.findings if in_the_way(one) and not _is_judgement(one))
    return len({one.missing[:1] or one.paper or one.rule for one in standing})


def _is_reached(decision: Decision) -> bool:
    """A permit; or a refer in which only rules that ask for a person's judgement are left."""
    match decision:
        case Permit():
            return True
        case Refer():
            return all(map(_is_judgement, filter(in_the_way, decision.findings)))
        case Hold() | Deny():
            return False
        case _:
            assert_never(decision)


# ---- the moves of one blocker --------------------------------------------------------------------


def _moves(finding: Finding, question: Question, law: Law) -> Iterator[Move]:
    """Everything that might settle a finding, in a fixed order."""
    rule = law.on(question.as_of).rule(finding.rule)
    reads = law.vocabulary.base_facts(rule.reads) if rule is not None else frozenset[str]()
    if finding.paper == "agreement":
        yield _said(law, "request.agreement_clauses", STATUTORY_CLAUSES | {"no_onward"}, "field")
    elif finding.paper is not None:
        yield _paper(law, finding.paper)
    if rule is not None and finding.effect is Effect.REQUIRE:
        # Another paper may do as well: a filing for an approval, an assessment for a contract.
        others = law.vocabulary.base_facts(rule.when.reads)
        yield from (_paper(law, p) for p in PAPERS if f"paper.{p}.recorded" in others)
    if finding.effect is Effect.DENY and finding.result is Result.HOLDS:
        lapsed = (p for p in PAPERS if f"paper.{p}.recorded" in reads and _is_there(question, p))
        yield from (_paper(law, kind) for kind in lapsed)
    for name in sorted(reads | set(finding.missing)):
        fact = law.vocabulary.facts.get(name)
        if fact is None or fact.derived is not None or is_set_by_pdp(name):
            continue
        if not name.startswith("paper."):
            yield from _values(fact, finding, question, law)
        elif name in finding.missing and name.endswith(".recorded"):
            yield _said(law, name, False, "field")
            yield _paper(law, name.split(".")[1])


def _is_there(question: Question, paper: str) -> bool:
    return question.facts.get(f"paper.{paper}.recorded") is True


def _values(fact: Fact, finding: Finding, question: Question, law: Law) -> Iterator[Move]:
    if fact.level is Level.SELECTION or fact.name.startswith(
        ("donor.", "consent.", "counter.", "pi.")
    ):
        return  # who gave and how many they are is not for sale
    missing = fact.name in finding.missing
    officers = fact.source is Source.OFFICER and (missing or fact.name in _FINDINGS)
    if not (missing or officers or fact.name in CHOICES):
        return
    kind = "determination" if fact.source is Source.OFFICER else "field"
    if fact.level is Level.STRATUM:
        # What is known of a holding stays; officers find only where they are asked.
        open_ = {one.id for one in question.strata if fact.name not in one.facts}
        strata = frozenset(finding.strata or open_) if officers else frozenset(open_)
        yield from (
            _said(law, fact.name, value, kind, strata)
            for value in _candidates(fact, question)
            if strata
        )
    else:
        now = question.facts.get(fact.name)
        yield from (
            _said(law, fact.name, value, kind)
            for value in _candidates(fact, question)
            if value != now
        )


#: What two officers may find in the applicant's favour.
_FINDINGS = frozenset(
    {
        "item.origin_determined",
        "item.source_determined",
        "item.anonymised_untraceable",
        "request.special_exit",
        "request.exit_use_reasonable",
    }
)


#: Where nobody need name a country to know that the mainland would do.
_AT_HOME: Mapping[str, Value] = {"host.place": "CN", "users.access_countries": frozenset({"CN"})}


def _candidates(fact: Fact, question: Question) -> Iterable[Value]:
    match fact.type:
        case FactType.BOOL:
            return (True, False)
        case FactType.TEXT if fact.values is not None:
            return sorted(fact.values)
        case FactType.TEXT | FactType.SET if fact.name in _AT_HOME:
            return (_AT_HOME[fact.name],)
        case FactType.SET if fact.values is not None:
            # The empty set first, then each alone, then all: enough for "nothing", "one", "everything".
            each = tuple(frozenset({one}) for one in sorted(fact.values))
            return (frozenset(), *each, frozenset(fact.values))
        case FactType.INT if fact.name == "request.price_fen":
            cost = question.facts.get("request.cost_fen")
            return (cost,) if isinstance(cost, int) else (0,)
        case _:
            return ()  # counts are never advised, dates and names nobody can guess


def _said(
    law: Law,
    name: str,
    value: Value,
    kind: str,
    strata: frozenset[StratumId] = frozenset(),
) -> Move:
    fact = law.vocabulary.facts[name]
    shown = {lang: _shown(value, lang) for lang in ("zh", "en")}
    return Move(
        kind=kind,
        fact=name,
        value=value,
        says={
            "zh": f"{'若经两名合规人员认定' if kind == 'determination' else '若属实，写明或者改为'}"
            f"“{fact.says['zh']}”＝{shown['zh']}",
            "en": f"{'if two officers find' if kind == 'determination' else 'if it is so, say or make it so'}: "
            f"{fact.says['en']} = {shown['en']}",
        },
        strata=strata,
    )


def _shown(value: Value, language: str) -> str:
    if isinstance(value, bool):
        return {"zh": "是" if value else "否", "en": "yes" if value else "no"}[language]
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or {"zh": "无", "en": "none"}[language]
    return str(value)


def _paper(law: Law, kind: str) -> Move:
    recorded = law.vocabulary.facts.get(f"paper.{kind}.recorded")
    name = recorded.says if recorded else {"zh": kind, "en": kind}
    return Move(
        kind="paper",
        fact=f"paper.{kind}",
        value=True,
        says={
            "zh": f"取得并登记：{name['zh'].removeprefix('是否已登记')}（与各方、种类、数据集、数量相符）",
            "en": f"obtain and record: {name['en'].removeprefix('whether a ').removesuffix(' is recorded')} "
            "(of these parties, kinds, data and quantity)",
        },
    )


def _applied(moves: Iterable[Move], question: Question, law: Law) -> Question:
    """The question after the moves."""
    for move in moves:
        if move.strata:
            strata = tuple(
                replace(one, facts={**one.facts, move.fact: move.value})
                if one.id in move.strata
                else one
                for one in question.strata
            )
            question = replace(question, strata=strata)
            continue
        said: Facts = {move.fact: move.value}
        if move.kind == "paper":
            said = _whole_paper(move.fact.removeprefix("paper."), question, law)
        elif move.fact == "request.agreement_clauses":
            said = {**said, "request.agreement_signed": True}
        question = replace(question, facts={**question.facts, **said})
    return question


def _whole_paper(kind: str, question: Question, law: Law) -> Facts:
    """The facts of a paper of this kind that says everything the question needs."""
    kinds = {one.facts.get("item.kind") for one in question.strata}
    purpose = question.facts.get("request.purpose")
    facts: dict[str, Value] = {
        "recorded": True,
        "valid_from": question.as_of,
        "open_ended": True,
        "parties_match": True,
        "matches_dataset": True,
        "exhausted": False,
        "counts": frozenset({"people", "units"}),
        "units_total": _PLENTY,
        "people_total": _PLENTY,
        "units_left": _PLENTY,
        "people_left": _PLENTY,
        "types": frozenset(str(one) for one in kinds if one is not None),
        "purposes": frozenset({str(purpose)} if purpose is not None else ()),
        "committee_registered": True,
        "before_start": True,
        "foreign_side": "approved",
        "names_embryo": True,
        "holder_chinese": True,
    }
    return {
        f"paper.{kind}.{name}": value
        for name, value in facts.items()
        if f"paper.{kind}.{name}" in law.vocabulary.facts
    }
