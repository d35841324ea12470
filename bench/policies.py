"""What a decision costs: whole questions under every pack in force, all findings reported, beside the
same request-level rules as plain closures, in cedarpy and in common-expression-language (cel).

All in one process and one run, interleaved; medians of rounds, in CPU time since the machine may have more
to do. *Never heard* is what is promised: each question is asked once, and differs from every other in
several facts that rules read, so that nothing kept of a whole question could help. *Again* asks the same
question over and over; *cold* is the first question of a law just loaded, which compiles its rules.
The comparison favours the others: they are given every derived fact and find only which rules hold,
an unknown fact being false to them. We derive the facts, tell unknown from false, leave donors out, name
what is missing and weigh each finding. Only *rules* is like for like: our rules alone, given every derived
fact. Where we know an answer, all four must give the same, of the questions shown and of unheard ones.
"""

from __future__ import annotations

import operator
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

import cedarpy
import cel
from rich.console import Console
from rich.table import Table

from bench.figures import Beside, Figure, at_most
from policies import packs, strict
from policies.consent import Coverage, DuoTerm, Matching, Profile, ProfileId, Term, Told
from policies.decision import Result
from policies.hearing import Hearing
from policies.pdp import decide
from policies.request import DonorGroup, Question, Stratum, StratumId, Value
from policies.rules import Law, Rule
from policies.vocabulary import Fact, FactType, Level
from tests.policies import test_shipped_packs as shipped

ROUNDS = 15
EACH_ROUND = 40  # questions never heard before, in each round of each row
DAY = shipped.TODAY
PROFILES_MS = 1.5  # promised of two thousand
#: What was promised of a request-level decision, in µs, by the row that shows it.
PROMISED = {
    "request level only: hospital (typical)": 25,
    "request level only: nothing known (worst)": 100,
}

Fill = Mapping[str, Value]
Data = Any


# ---- the questions -------------------------------------------------------------------------------


def question(facts: Fill, item: Fill | None, people: int = 40) -> Question:
    strata = ()
    if item is not None:
        strata = (
            Stratum(
                id=StratumId("s0"),
                profile=shipped.AGREED.id,
                facts=item,
                items=people,
                units=people,
                people=people,
            ),
        )
    return Question(
        as_of=DAY,
        facts=facts,
        purpose=shipped.STUDY,
        profiles={shipped.AGREED.id: shipped.AGREED},
        strata=strata,
        donor_groups=tuple(DonorGroup(strata=(one.id,), people=one.people) for one in strata),
    )


ABROAD = {**shipped.FOREIGN_UNIVERSITY, **shipped.REPORTED}
ACT = {"request.action": "release"}
QUESTIONS = {
    "a hospital at home (typical)": question(shipped.HOSPITAL, shipped.GENOME),
    "a foreign university, all papers": question(ABROAD, shipped.GENOME),
    "the same, papers missing": question(shipped.FOREIGN_UNIVERSITY, shipped.GENOME),
    "a release of which nothing is known (worst)": question(ACT, {}),
    "request level only: hospital (typical)": question(shipped.HOSPITAL, None),
    "request level only: foreign": question(ABROAD, None),
    "request level only: nothing known (worst)": question(ACT, None),
}


# ---- the same rules in other hands ---------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A request-level rule as it stands in its file."""

    id: str
    applies: Data | None
    when: Data


def written(law: Law) -> list[Written]:
    rows = {
        (edition.pack, edition.in_force, row["id"]): row
        for edition in law.editions
        for row in document(edition.file)["rules"]
    }
    found = [(rule.id, rows[rule.pack, rule.edition, rule.id]) for rule in law.on(DAY).request]
    return [Written(name, row.get("applies"), row["when"]) for name, row in found]


def document(file: str) -> Data:
    return strict.load(packs.shipped().joinpath(file).read_bytes(), file).data


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "is": operator.eq,
    "in": lambda left, right: left in right,
    "at_least": operator.ge,
    "at_most": operator.le,
    "before": operator.lt,
    "after": operator.gt,
    "within": operator.le,
}


Closure = Callable[[Fill], bool | None]


def closure(data: Data) -> Closure:
    """A condition as one would write it by hand: a closure over a plain dict, three-valued."""
    if "all" in data or "any" in data:
        parts = tuple(closure(part) for part in data.get("any") or data["all"])
        return several(parts, deciding="any" in data)
    if "not" in data:
        inner = closure(data["not"])

        def negated(facts: Fill) -> bool | None:
            truth = inner(facts)
            return None if truth is None else not truth

        return negated
    return leaf(data)


def several(parts: tuple[Closure, ...], *, deciding: bool) -> Closure:
    def holds(facts: Fill) -> bool | None:
        answer: bool | None = not deciding
        for part in parts:
            truth = part(facts)
            if truth is deciding:
                return deciding
            if truth is None:
                answer = None
        return answer

    return holds


def leaf(data: Data) -> Closure:
    name, (sign, right) = data["fact"], next(pair for pair in data.items() if pair[0] != "fact")
    if sign == "known":
        return lambda facts: (name in facts) is right
    test = _TESTS[sign]
    if isinstance(right, dict):
        other = right["fact"]

        def beside(facts: Fill) -> bool | None:
            left, value = facts.get(name), facts.get(other)
            return None if left is None or value is None else test(left, value)

        return beside
    wanted = frozenset(map(figure, right)) if isinstance(right, list) else figure(right)

    def holds(facts: Fill) -> bool | None:
        left = facts.get(name)
        return None if left is None else test(left, wanted)

    return holds


def by_hand(rules: list[Written]) -> Callable[[Fill], list[bool | None]]:
    conditions = [(closure(r.applies) if r.applies else None, closure(r.when)) for r in rules]

    def evaluate(facts: Fill) -> list[bool | None]:
        return [
            False if applies is not None and applies(facts) is False else when(facts)
            for applies, when in conditions
        ]

    return evaluate


@dataclass(frozen=True)
class Tongue:
    """How cedar or CEL says what a leaf says; facts sit in `facts`, dates as their ordinals."""

    has: str
    get: str
    among: str
    within: str


CEDAR = Tongue(
    "context has {0}", "context.{0}", "{right}.contains({left})", "{right}.containsAll({left})"
)
CEL = Tongue('"{0}" in f', 'f["{0}"]', "{left} in {right}", "{left}.all(one, one in {right})")
_SIGNS = {"is": "==", "at_least": ">=", "at_most": "<=", "before": "<", "after": ">"}


def said(data: Data, tongue: Tongue) -> str:
    if "all" in data or "any" in data:
        sign = " || " if "any" in data else " && "
        return "(" + sign.join(said(p, tongue) for p in data.get("any") or data["all"]) + ")"
    if "not" in data:
        return f"!({said(data['not'], tongue)})"
    name = plain(data["fact"])
    sign, right = next(pair for pair in data.items() if pair[0] != "fact")
    has = tongue.has.format(name)
    if sign == "known":
        return f"({has})" if right else f"!({has})"
    if isinstance(right, dict):
        other = plain(right["fact"])
        has, value = f"{has} && {tongue.has.format(other)}", tongue.get.format(other)
    elif isinstance(right, list):
        value = "[" + ", ".join(literal(one) for one in right) + "]"
    else:
        value = literal(right)
    left = tongue.get.format(name)
    if sign in _SIGNS:
        test = f"{left} {_SIGNS[sign]} {value}"
    else:
        test = (tongue.among if sign == "in" else tongue.within).format(left=left, right=value)
    return f"({has} && {test})"


def plain(name: str) -> str:
    return name.replace(".", "_")


def figure(value: Value) -> Value:
    """A share p/q as a whole number of billionths: the others compare no fractions."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]+/[0-9]+", value):
        return int(Fraction(value) * 10**9)
    return value


def literal(written: Value) -> str:
    value = figure(written)
    if isinstance(value, bool):
        return str(value).lower()
    return str(engine_value(value)) if isinstance(value, int | date) else f'"{value}"'


def engine_value(value: Value) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return value.toordinal() if isinstance(value, date) else value


def whole(rule: Written, tongue: Tongue) -> str:
    when = said(rule.when, tongue)
    return when if rule.applies is None else f"{said(rule.applies, tongue)} && {when}"


def cedar(rules: list[Written]) -> Callable[[dict[str, object]], list[bool]]:
    """One call; every rule a permit policy, so that the reasons name each that holds."""
    each = [f"permit(principal, action, resource) when {{ {whole(r, CEDAR)} }};" for r in rules]
    policies = cedarpy.PolicySet.from_str("\n".join(each))
    entities = cedarpy.Entities.from_json_str("[]")
    asked = {"principal": 'U::"a"', "action": 'A::"a"', "resource": 'R::"a"'}

    def evaluate(context: dict[str, object]) -> list[bool]:
        found = cedarpy.is_authorized({**asked, "context": context}, policies, entities)
        held = set(found.diagnostics.reasons)
        return [f"policy{place}" in held for place in range(len(rules))]

    return evaluate


def cel_list(rules: list[Written]) -> Callable[[dict[str, object]], list[bool]]:
    """One program whose value is the list of all rules' answers: the fastest way cel offers."""
    program = cel.compile("[" + ", ".join(whole(rule, CEL) for rule in rules) + "]")

    def evaluate(facts: dict[str, object]) -> list[bool]:
        return list(program.execute({"f": facts}))

    return evaluate


def known(asked: Question, law: Law) -> dict[str, Value]:
    """Every fact the request-level rules may look at, derived ones included."""
    hearing = Hearing(asked, law)
    names = frozenset[str]().union(*(rule.reads for rule in hearing.law.request))
    found = {name: hearing.request(name) for name in names}
    return {name: figure(value) for name, value in found.items() if value is not None}


def rules_alone(facts: Fill, law: Law) -> Callable[[], object]:
    shares = {n for n, fact in law.vocabulary.facts.items() if fact.type is FactType.FRACTION}
    given: dict[str, Value | None] = {
        name: f"{facts[name]}/1000000000" if name in shares & facts.keys() else facts.get(name)
        for rule in law.on(DAY).request
        for name in rule.reads
    }
    gates = law.on(DAY).gates
    judges = [
        gates[level].judge(facts["request.action"]) for level in (Level.REQUEST, Level.SELECTION)
    ]

    def judged() -> object:
        silent: dict[int, object] = {}
        spoke: list[object] = []
        for judge in judges:
            judge(given, silent, spoke.append)
        return silent, spoke

    return judged


def verify_same(
    asked: Question, law: Law, rules: list[Written], answers: Iterable[list[bool | None]]
) -> None:
    results = {finding.rule: finding.result for finding in decide(asked, law).findings}
    for each in answers:
        for rule, answer in zip(rules, each, strict=True):
            ours = results.get(rule.id)
            if ours is not Result.UNKNOWN and (answer is True) is not (ours is Result.HOLDS):
                raise SystemExit(f"{rule.id}: {ours} here, {answer} there")


def unheard(asked: Question, law: Law, chance: random.Random) -> Iterator[Question]:
    """Questions of one day like one, each with other values of a few facts that rules read."""
    read = law.vocabulary.base_facts(name for rule in law.on(DAY).request for name in rule.reads)
    given = law.vocabulary.given[Level.REQUEST]
    pool = [given[name] for name in sorted(read & given.keys()) if name != "request.action"]
    known = [fact for fact in pool if fact.name in asked.facts]
    while True:
        # Where little is known one fact or two more are; else some are otherwise than they were.
        changed = chance.sample(known, 5) if known else chance.sample(pool, chance.randint(1, 2))
        facts = {fact.name: other(fact, chance) for fact in changed}
        yield replace(asked, facts={**asked.facts, **facts})


def other(fact: Fact, chance: random.Random) -> Value:
    match fact.type:
        case FactType.BOOL:
            return chance.random() < 0.5
        case FactType.INT:
            return chance.choice((0, 1, 100, 500, 501, 1000, chance.randrange(10**6)))
        case FactType.DATE:
            return DAY + timedelta(days=chance.randrange(-1000, 1000))
        case FactType.FRACTION:
            return f"{chance.randrange(101)}/100"
        case FactType.SET:
            pool = sorted(fact.values or {"CN", "US", "DE", "HK"})
            return frozenset(chance.sample(pool, chance.randint(0, min(3, len(pool)))))
        case FactType.TEXT:
            return chance.choice(sorted(fact.values or {"CN", "US", "DE", "HK"}))


# ---- measuring -----------------------------------------------------------------------------------


def microseconds(work: Callable[[], object], least: float = 2e-3) -> float:
    """The time of one call, over as many as fill two milliseconds."""
    count = 1
    while True:
        start = time.process_time()
        for _ in range(count):
            work()
        took = time.process_time() - start
        if took >= least:
            return took / count * 1e6
        count *= 4


def interleaved(works: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Rounds in which each is measured in turn: the machine's speed drifts, and all drift alike."""
    rounds = [{name: work() for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: [one[name] for one in rounds] for name in works}


def once(questions: Iterator[Question], law: Law) -> float:
    """The time of one question of many, each asked once and never before."""
    asked = [next(questions) for _ in range(EACH_ROUND)]
    start = time.process_time()
    for one in asked:
        decide(one, law)
    return (time.process_time() - start) / EACH_ROUND * 1e6


def first(asked: Question, law: Law) -> float:
    """The time of the very first question to a law made anew."""
    made = fresh(law)
    start = time.process_time()
    decide(asked, made)
    return (time.process_time() - start) * 1e6


def fresh(law: Law) -> Law:
    """The same law with nothing remembered of earlier questions."""
    rules: dict[int, Rule] = {}
    editions = []
    for edition in law.editions:
        anew = tuple(rules.setdefault(id(rule), replace(rule)) for rule in edition.rules)
        editions.append(replace(edition, rules=anew))
    made = Law(law.vocabulary, editions, law.digests)
    made.on(DAY)
    return made


def decisions(law: Law, out: Console) -> list[Figure]:
    rules = written(law)
    others = {"closures by hand": by_hand(rules), "cedarpy": cedar(rules), "cel": cel_list(rules)}
    title = f"{len(law.on(DAY).rules)} rules in force, {len(rules)} of them request-level; µs"
    columns = ("findings", "never heard", "again", "cold", "rules", *others)
    table = Table("question", *columns, title=title)
    ratio = Table("question", *(f"÷ {name}" for name in others), title="ours per rule, ratio")
    figures = []

    def given(facts: Fill) -> dict[str, Mapping[str, object]]:
        context = {plain(one): engine_value(value) for one, value in facts.items()}
        return {"closures by hand": facts, "cedarpy": context, "cel": context}

    for name, asked in QUESTIONS.items():
        chance = random.Random(name)  # noqa: S311 - questions, not secrets
        questions = unheard(asked, law, chance)
        for one in (asked, *(next(questions) for _ in range(EACH_ROUND))):
            told = given(known(one, law))
            verify_same(one, law, rules, [work(told[who]) for who, work in others.items()])
        facts = known(asked, law)
        works: dict[str, Callable[[], object]] = {
            "again": lambda asked=asked: decide(asked, law),
            "rules": rules_alone(facts, law),
        }
        for who, work in others.items():
            works[who] = partial(work, given(facts)[who])
        rounds = interleaved(
            {
                "never heard": partial(once, questions, law),
                **{which: partial(microseconds, work) for which, work in works.items()},
                "cold": partial(first, asked, law),
            }
        )
        took = {which: statistics.median(each) for which, each in rounds.items()}
        count = str(len(decide(asked, law).findings))
        shown = ("never heard", "again", "cold", "rules", *others)
        table.add_row(name, count, *(f"{took[one]:,.1f}" for one in shown))
        heard = len(law.on(DAY).rules) if asked.strata else len(rules)
        for which in ("never heard", "again", "rules"):
            each = took[which] if which == "rules" else took[which] / heard * len(rules)
            ratio.add_row(f"{name}: {which}", *(f"{each / took[one]:.2f}" for one in others))
        most = PROMISED.get(name)
        figures.append(
            Figure(
                name=f"whole answer, never heard: {name}",
                unit="µs",
                rounds=rounds["never heard"],
                beside=Beside(name="cedarpy, request-level rules", rounds=rounds["cedarpy"]),
                target=None if most is None else at_most(most),
            )
        )
        if not asked.strata:  # the rules alone are the request's, with strata or without
            figures += [
                Figure(
                    name=f"rules alone beside {who}: {name.removeprefix('request level only: ')}",
                    unit="µs",
                    rounds=rounds["rules"],
                    beside=Beside(name=who, rounds=rounds[who]),
                )
                for who in others
            ]
    out.print(table, ratio)
    return figures


# ---- consents ------------------------------------------------------------------------------------


def profiles() -> list[Profile]:
    """Two thousand that differ in permission, modifiers, what was told and what else was ticked."""
    permissions = [(DuoTerm(code=f"DUO:00000{n}"),) for n in ("04", "06", "11", "42")]
    permissions.append((DuoTerm(code="DUO:0000007", values=("DOID:9352",)),))
    modifiers = [
        (),
        (DuoTerm(code="DUO:0000018"),),
        (DuoTerm(code="DUO:0000019"), DuoTerm(code="DUO:0000021")),
        (DuoTerm(code="DUO:0000022", values=("CN",)),),
        (DuoTerm(code="DUO:0000024", values=("2020-01-01",)), DuoTerm(code="DUO:0000046")),
    ]
    answers = [{}, {Term.COMMERCIAL_USE: True}, {Term.COMMERCIAL_USE: False}]
    answers += [{**one, Term.GENETIC_ANALYSIS: genes} for one in answers for genes in (True, False)]
    told = [frozenset(list(Told)[:count]) for count in range(7)]
    told += [frozenset(list(Told)[1:3]), frozenset(list(Told)[2:4])]
    made = [
        Profile(
            id=ProfileId(f"p{place}"),
            mapped=True,
            permissions=permission,
            modifiers=modifier,
            terms=term,
            told=said,
        )
        for place, (permission, modifier, term, said) in enumerate(
            product(permissions, modifiers, answers, told)
        )
    ]
    return made[:2000]


def consents() -> Figure:
    each = profiles()

    def all_of_them() -> list[Coverage]:
        matching = Matching(shipped.STUDY)
        return [matching.coverage(profile) for profile in each]

    all_of_them()
    different = len({profile.parts for profile in each})
    return Figure(
        name=f"{len(each):,} consent profiles against one purpose, {different} of them different as to it",
        unit="ms",
        rounds=[microseconds(all_of_them) / 1e3 for _ in range(ROUNDS)],
        target=at_most(PROFILES_MS),
    )


def bench(*, full: bool, out: Console) -> list[Figure]:
    del full  # there is one size
    return [*decisions(packs.load(), out), consents()]
