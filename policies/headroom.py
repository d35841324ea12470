"""How far the people counted are from where a rule begins to speak, read off the rules themselves.

The rule it keeps: no number stands here; whoever changes a bound in a pack changes it here too. It is for
officers: an applicant is never told how many may still go (design §5).

    for room in rooms(question, law):
        print(room.before, room.after, [(one.no, room.left(one)) for one in room.bounds])
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from policies.hearing import Hearing
from policies.request import Question
from policies.rules import Law, LawInForce

#: What is counted with this release in it → the same before it.
COUNTED = {
    "selection.genome_people_total": "counter.genome_people_before",
    "selection.sensitive_people_total": "pi.sensitive_people_before",
    "pi_people_total": "pi.people_before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One rule that speaks from so many people on."""

    no: str
    rule: str
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One counter: its fact, before and with this release, and where rules begin to speak. None: unknown."""

    fact: str
    before: int | None
    after: int | None
    bounds: tuple[Bound, ...]

    def left(self, bound: Bound) -> int | None:
        """How many more people there are before that rule speaks; below nought where it does."""
        return None if self.after is None else bound.least - 1 - self.after


def rooms(question: Question, law: Law) -> tuple[Room, ...]:
    """Every counter for which a rule of the day has a bound, in the order of `COUNTED`.

    Raises what a hearing raises of a question that makes no sense.
    """
    hearing = Hearing(question, law)

    def found() -> Iterator[Room]:
        for fact, before in COUNTED.items():
            held = bounds(hearing.law, fact)
            if held:
                counted = (hearing.request(before), hearing.selection(fact))
                was, is_now = (one if isinstance(one, int) else None for one in counted)
                yield Room(fact=fact, before=was, after=is_now, bounds=held)

    return tuple(found())


def bounds(law: LawInForce, fact: str) -> tuple[Bound, ...]:
    """The least number of people from which on each rule speaks, by number and rule.

    One person is no bound: it asks whether there is anybody.
    """
    return tuple(
        Bound(no=rule.no, rule=rule.id, least=least)
        for rule in law.rules
        for least in sorted({
            least
            for key in ("applies", "when")
            for least in _least(rule.written.get(key), fact, asked=True)
            if least > 1
        })
    )  # fmt: skip


def _least(condition: Any, fact: str, *, asked: bool) -> Iterator[int]:
    """The literals beside a fact from which on the condition, or under a `not` its opposite, can hold."""
    for sign, right in (condition or {}).items():
        match sign:
            case "all" | "any":
                for part in right:
                    yield from _least(part, fact, asked=asked)
            case "not":
                yield from _least(right, fact, asked=not asked)
            case "at_least" if asked and condition["fact"] == fact and type(right) is int:
                yield right
            case "at_most" if not asked and condition["fact"] == fact and type(right) is int:
                yield right + 1
