"""The smallest changes under which the answer would be a permit, each tried by deciding again.

The rules it keeps: nothing is advised that was not decided; nobody is told to ask for fewer, so as to
stay under a threshold, or to say what is not so: what only the world can answer is put as "if it is so".
Each blocker has its moves (a paper to obtain, a thing to say or do, a finding for two officers); the
search takes the first blocker and tries each of its moves, shallow answers first.

    for way in advise(question, law): print(way.outcome, [move.says for move in way.moves])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from policies.decision import Decision, Deny, Finding, Hold, Permit, Refer
from policies.derived import PAPERS, STATUTORY_CLAUSES
from policies.pdp import decide
from policies.plain import in_the_way
from policies.request import Facts, Question, Value
from policies.rules import Law
from policies.vocabulary import Fact, FactType, Level, Source, is_set_by_pdp

#: Most moves of one way, and most decisions of one search: a longer list helps nobody.
DEEPEST = 8
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

    `fact` names what changes; `donor_level` says that it is about holdings or donors.
    """

    kind: str
    fact: str
    value: Value
    says: Mapping[str, str] = field(compare=False)
    donor_level: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Moves that together were decided to come out as `permit`, or `refer` with nothing but judgement."""

    outcome: str
    moves: tuple[Move, ...]
    people: int  # who may go then


def advise(question: Question, law: Law, *, most: int = 3) -> tuple[Way, ...]:
    """Up to `most` smallest ways, fewest moves first; none if it is permitted or nothing helps."""
    search = _Search(law)
    first = decide(question, law)
    if isinstance(first, Permit):
        return ()
    found: list[Way] = []
    for depth in range(1, DEEPEST + 1):
        for way in search.ways(question, first, (), depth):
            smaller = any(set(one.moves) <= set(way.moves) for one in found)
            if not smaller:
                found.append(way)
            if len(found) == most:
                return tuple(found)
        if found or search.decisions >= MOST_DECISIONS:
            break
    return tuple(found)


class _Search:
    """One search; owns the count of decisions it may still make."""

    def __init__(self, law: Law) -> None:
        self.decisions = 0
        self._law = law

    def ways(
        self, question: Question, decision: Decision, done: tuple[Move, ...], left: int
    ) -> Iterator[Way]:
        if done and _is_reached(decision):
            yield Way(
                outcome=decision.outcome,
                moves=tuple(sorted(done, key=lambda move: move.fact)),
                people=decision.selection.permitted.people,
            )
            return
        blocker = _first_movable(decision, question, self._law)
        if left == 0 or blocker is None:
            return
        for move in _moves(blocker, question, self._law):
            if self.decisions >= MOST_DECISIONS:
                return
            self.decisions += 1
            changed = _apply(move, question, self._law)
            yield from self.ways(changed, decide(changed, self._law), (*done, move), left - 1)


def _is_reached(decision: Decision) -> bool:
    """A permit; or a refer in which only rules that ask for a person's judgement are left."""
    match decision:
        case Permit():
            return True
        case Refer():
            return all(
                finding.effect == "refer" and finding.result == "holds"
                for finding in decision.findings
                if in_the_way(finding)
            )
        case Hold() | Deny():
            return False


def _first_movable(decision: Decision, question: Question, law: Law) -> Finding | None:
    for finding in decision.findings:
        if in_the_way(finding) and any(True for _ in _moves(finding, question, law)):
            return finding
    return None


# ---- the moves of one blocker --------------------------------------------------------------------


def _moves(finding: Finding, question: Question, law: Law) -> Iterator[Move]:
    """Everything that might settle a finding, in a fixed order."""
    if finding.paper == "agreement":
        yield _said(law, "request.agreement_clauses", STATUTORY_CLAUSES | {"no_onward"}, "field")
    elif finding.paper is not None:
        yield _paper(law, finding.paper)
    rule = law.on(question.as_of).rule(finding.rule)
    reads = law.vocabulary.base_facts(rule.reads) if rule is not None else frozenset[str]()
    if finding.effect == "deny" and finding.result == "holds":
        lapsed = [p for p in PAPERS if f"paper.{p}.recorded" in reads and _is_there(question, p)]
        yield from (_paper(law, kind) for kind in lapsed)
    for name in sorted(reads | set(finding.missing)):
        fact = law.vocabulary.facts.get(name)
        if fact is not None and fact.derived is None and not name.startswith("paper."):
            yield from _values(fact, finding, question, law)


def _is_there(question: Question, paper: str) -> bool:
    return question.facts.get(f"paper.{paper}.recorded") is True


def _values(fact: Fact, finding: Finding, question: Question, law: Law) -> Iterator[Move]:
    if fact.level is Level.SELECTION or fact.name.startswith(
        ("donor.", "consent.", "counter.", "pi.")
    ):
        return  # who gave and how many they are is not for sale
    if is_set_by_pdp(fact.name):
        return  # it stands in the purpose of the question, of which there is one
    missing = fact.name in finding.missing
    officers = fact.source is Source.OFFICER and (missing or fact.name in _FINDINGS)
    if not (missing or officers or fact.name in CHOICES):
        return
    kind = "determination" if fact.source is Source.OFFICER else "field"
    now = question.facts.get(fact.name) if fact.level is Level.REQUEST else None
    for value in _candidates(fact, question):
        if value != now:
            yield _said(law, fact.name, value, kind)


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


def _said(law: Law, name: str, value: Value, kind: str) -> Move:
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
        donor_level=fact.level is Level.STRATUM,
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


def _apply(move: Move, question: Question, law: Law) -> Question:
    if move.kind == "paper":
        kind = move.fact.removeprefix("paper.")
        facts = {**question.facts, **_whole_paper(kind, question, law)}
        return replace(question, facts=facts)
    if move.donor_level:
        strata = tuple(
            replace(one, facts={**one.facts, move.fact: move.value}) for one in question.strata
        )
        return replace(question, strata=strata)
    facts = {**question.facts, move.fact: move.value}
    if move.fact == "request.agreement_clauses":
        facts["request.agreement_signed"] = True
    return replace(question, facts=facts)


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
