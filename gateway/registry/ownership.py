"""Who holds or steers a party, walked upward with exact fractions.

The rules it keeps: a share nobody recorded is unknown, never domestic, so every walk gives a lowest and
a highest reading, and a fact is only said where both fall on the same side of one half. Both ways of
looking through a chain are given (Implementing Rules art. 12 does not choose): *product*, shares along
a chain multiplied and summed over chains, the least fixed point where holdings run in circles; *chain*,
a holder half or more in foreign hands counts whole and any other not at all. What the numbers mean
for the law is `policies.derived`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from gateway.registry.determinations import Found
from gateway.tables import metadata
from policies.request import Value

_PARTY = metadata.tables["party"]
_EDGE = metadata.tables["control_edge"]

#: Lowest and highest reading of one number.
Bounds = tuple[Fraction, Fraction]

#: Implementing Rules art. 12(1): 百分之五十以上, one half included.
HALF = Fraction(1, 2)
INFLUENCE = ("none", "major", "dominant")
#: A hop of a path in Chinese and English, by its word; a share speaks for itself.
_HOPS = {
    "contract": ("{0} 以协议等安排控制 {1}", "{0} controls {1} by agreement"),
    "influence": ("{0} 能够重大影响 {1}", "{0} has major influence on {1}"),
}
_HELD = ("{0} 持有 {1} 的 {2}", "{0} holds {2} of {1}")
_DOMESTIC, _FOREIGN = (Fraction(0), Fraction(0)), (Fraction(1), Fraction(1))
_UNDETERMINED = (Fraction(0), Fraction(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One owner's hold on a party."""

    owner: str
    share: Fraction
    votes: Fraction
    contract_control: bool
    influence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Some parties with everybody above them, on one day."""

    parties: Mapping[str, Row[Any]]
    edges: Mapping[str, tuple[Edge, ...]]  # by the party held
    determined: Mapping[str, bool]  # officers' `party_chinese`
    as_of: date

    def facts(self, role: str, party_id: str) -> dict[str, Value]:
        """The facts of one party in one role, `<role>.…`; what is not known is left out."""
        party = self.parties[party_id]
        if party.voided_at is not None:  # there is somebody, and nobody knows who
            return {f"{role}.present": True}
        known: dict[str, Value | None] = {
            "present": True,
            "country": party.country,
            "legal_person": party.legal_person,
            "individual": party.individual,
            "hkmo_entity": party.hkmo_entity,
            "mainland_controlled": party.mainland_controlled,
            "determined_chinese": self.determined.get(party_id),
            "not_for_profit": party.not_for_profit,
            "banned_until": party.banned_until,
            "never_banned": party.banned_until is None if party.ban_checked else None,
            "credit_flag": party.credit_flag,
            "merged": party.merged_on is not None and party.merged_on <= self.as_of,
            "foreign_paths": self.foreign_paths(party_id),
            **self._control(party_id),
        }
        return {f"{role}.{name}": value for name, value in known.items() if value is not None}

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Everybody's two names by id."""
        return {id_: (party.name_zh, party.name_en) for id_, party in self.parties.items()}

    def is_chinese(self, party_id: str) -> bool | None:
        """Whether a named partner is, on record, a Chinese organisation in Chinese hands.

        None where control or a Hong Kong or Macau standing would have to be judged.
        """
        standing = self._standing(party_id)
        if standing is not None:
            return {_DOMESTIC: True, _FOREIGN: False}.get(standing)
        control = self._control(party_id)
        shares = [control.get(f"foreign_{way}") for way in ("share_product", "share_chain")]
        if any(isinstance(share, str) and Fraction(share) >= HALF for share in shares):
            return False
        clean = control.get("contract_control") is False and control.get("influence") == "none"
        return True if None not in shares and clean else None

    def group(self, party_id: str) -> str:
        """The ultimate control group: who, upward, holds half or more or steers; else itself.

        At exactly 50:50 nobody alone decides; the foreign holder is followed, so that what goes to
        a venture counts with what went to its foreign parent. Parties in a circle are one group.
        """
        path = [party_id]
        while (owner := self._controller(path[-1])) is not None:
            if owner in path:
                return min(path[path.index(owner) :])
            path.append(owner)
        return path[-1]

    def foreign_paths(self, party_id: str) -> frozenset[str]:
        """Every foreign holder above, with its strongest chain down: `pty_us > 3/5 > pty_a > contract > x`.

        A foreign party is its own path. A hop says the share, or the votes where they are more; and
        `contract` or `influence` where that is what steers, which weighs like the whole.
        """
        ahead: list[tuple[Fraction, int, str, str]] = [(Fraction(-1), 0, party_id, party_id)]
        seen: set[str] = set()
        found: set[str] = set()
        while ahead:  # the strongest first: no hop makes a chain stronger
            weight, hops, current, path = heappop(ahead)
            if current in seen:
                continue
            seen.add(current)
            standing = self._standing(current)
            if standing == _FOREIGN:
                found.add(path)
            for edge in self.edges.get(current, ()) if standing is None else ():
                part, word = _hop(edge)
                heappush(
                    ahead, (weight * part, hops + 1, edge.owner, f"{edge.owner} > {word} > {path}")
                )
        return frozenset(found)

    def _controller(self, party_id: str) -> str | None:
        steering = [
            edge
            for edge in self.edges.get(party_id, ())
            if max(edge.share, edge.votes) >= HALF
            or edge.contract_control
            or edge.influence == "dominant"
        ]
        if not steering:
            return None

        def rank(edge: Edge) -> tuple[Fraction, bool, str]:
            domestic = self.parties[edge.owner].country == "CN"
            return -max(edge.share, edge.votes), domestic, edge.owner

        return min(steering, key=rank).owner

    def _control(self, party_id: str) -> dict[str, Value | None]:
        party, edges = self.parties[party_id], self.edges.get(party_id, ())
        if not edges and (party.individual or party.not_for_profit):
            # A person has no holders; a not-for-profit body has no equity (Civil Code art. 87).
            nobody = ("foreign_share_product", "foreign_share_chain", "foreign_votes")
            return {**dict.fromkeys(nobody, "0/1"), "contract_control": False, "influence": "none"}
        if not edges:
            return {}
        low, high = (self._foreign_held(party_id, bound) for bound in (0, 1))
        shares = self._sum(party_id, "share", low, high)
        votes = self._sum(party_id, "votes", low, high)
        influence = [
            max((INFLUENCE.index(e.influence) for e in edges if e.owner in held), default=0)
            for held in (low, high)
        ]
        contract = [
            any(e.contract_control for e in edges if e.owner in held) for held in (low, high)
        ]
        return {
            "foreign_share_product": _said(self._product(party_id)),
            "foreign_share_chain": _said(shares),
            "foreign_votes": _said(votes),
            "contract_control": contract[0] if contract[0] == contract[1] else None,
            "influence": INFLUENCE[influence[0]] if influence[0] == influence[1] else None,
        }

    def _standing(self, party_id: str) -> Bounds | None:
        """How far a holder counts as foreign for being who it is; None: by who holds it in turn."""
        party, determined = self.parties[party_id], self.determined.get(party_id)
        if party.voided_at is not None:
            return _UNDETERMINED
        if determined is not None:
            return _DOMESTIC if determined else _FOREIGN
        if party.country == "CN":
            return _DOMESTIC if party.individual else None
        if party.country in {"HK", "MO"} and party.hkmo_entity:
            # Implementing Rules art. 11 asks who controls it; a claim settles nothing.
            return _FOREIGN if party.mainland_controlled is False else _UNDETERMINED
        return _FOREIGN

    def _unrecorded(self, party_id: str, measure: str) -> Fraction:
        """What nobody recorded a holder for; all of it where more than all is recorded."""
        rest = 1 - sum((_of(e, measure) for e in self.edges.get(party_id, ())), Fraction(0))
        if rest < 0:
            return Fraction(1)
        return Fraction(0) if self.parties[party_id].not_for_profit else rest

    def _product(self, party_id: str) -> Bounds:
        equations: dict[str, Equation] = {}
        ahead = [(party_id, iter(self.edges.get(party_id, ())))]
        seen = {party_id}
        while ahead:  # holders before what they hold, so that chains solve in one pass
            current, holders = ahead[-1]
            for edge in holders:
                if edge.owner not in seen and self._standing(edge.owner) is None:
                    seen.add(edge.owner)
                    ahead.append((edge.owner, iter(self.edges.get(edge.owner, ()))))
                    break
            else:
                ahead.pop()
                equations[current] = self._equation(current)
        return least(equations)[party_id]

    def _equation(self, party_id: str) -> Equation:
        unrecorded = self._unrecorded(party_id, "share")
        edges = self.edges.get(party_id, ())
        if sum((edge.share for edge in edges), Fraction(0)) > 1:
            return Equation(of={}, plus=_UNDETERMINED)
        of: dict[str, Fraction] = {}
        plus = [Fraction(0), unrecorded]
        for edge in edges:
            standing = self._standing(edge.owner)
            if standing is None:
                of[edge.owner] = of.get(edge.owner, Fraction(0)) + edge.share
            else:
                plus = [
                    sum_ + edge.share * weight for sum_, weight in zip(plus, standing, strict=True)
                ]
        return Equation(of=of, plus=(plus[0], plus[1]))

    def _foreign_held(self, party_id: str, bound: int) -> frozenset[str]:
        """Everybody above `party_id` who counts whole: foreign, or foreign-controlled in turn."""
        above, ahead = {party_id}, [party_id]
        while ahead:
            owners = {edge.owner for edge in self.edges.get(ahead.pop(), ())} - above
            above |= owners
            ahead += owners
        standings = {each: self._standing(each) for each in above}
        held = {each for each, standing in standings.items() if standing and standing[bound] == 1}
        open_ = {each for each, standing in standings.items() if standing is None}
        while grown := {each for each in open_ if self._is_held(each, held, bound)}:
            held |= grown
            open_ -= grown
        return frozenset(held)

    def _is_held(self, party_id: str, held: set[str], bound: int) -> bool:
        return any(
            sum((_of(e, measure) for e in self.edges.get(party_id, ()) if e.owner in held), rest)
            >= HALF
            for measure in ("share", "votes")
            for rest in [self._unrecorded(party_id, measure) * bound]
        ) or any(
            e.owner in held and (e.contract_control or e.influence != "none")
            for e in self.edges.get(party_id, ())
        )

    def _sum(
        self, party_id: str, measure: str, low: frozenset[str], high: frozenset[str]
    ) -> Bounds:
        edges = self.edges.get(party_id, ())
        if sum((_of(e, measure) for e in edges), Fraction(0)) > 1:
            return _UNDETERMINED
        lowest, highest = (
            sum((_of(e, measure) for e in edges if e.owner in held), Fraction(0))
            for held in (low, high)
        )
        return lowest, highest + self._unrecorded(party_id, measure)


def ownership_of(
    conn: Connection, party_ids: Iterable[str], found: Found, *, as_of: date
) -> Ownership:
    """These parties and everybody above them; a party that does not exist is simply not there."""
    above = (
        sa.select(_PARTY.c.id)
        .where(_PARTY.c.id.in_(sorted(set(party_ids))))
        .cte("above", recursive=True)
    )
    held = sa.and_(
        _EDGE.c.valid_from <= as_of,
        sa.or_(_EDGE.c.valid_to.is_(None), _EDGE.c.valid_to >= as_of),
    )
    # UNION, not UNION ALL: holdings that run in a circle end the recursion.
    above = above.union(
        sa.select(_EDGE.c.owner_id).join(above, _EDGE.c.owned_id == above.c.id).where(held)
    )
    parties = {
        row.id: row
        for row in conn.execute(sa.select(_PARTY).where(_PARTY.c.id.in_(sa.select(above.c.id))))
    }
    edges: dict[str, list[Edge]] = {}
    rows = conn.execute(
        sa.select(_EDGE)
        .where(held, _EDGE.c.owned_id.in_(sa.select(above.c.id)))
        .order_by(_EDGE.c.owner_id, _EDGE.c.id)
    )
    for row in rows:
        edges.setdefault(row.owned_id, []).append(
            Edge(
                owner=row.owner_id,
                share=Fraction(row.share),
                votes=Fraction(row.votes),
                contract_control=row.contract_control,
                influence=row.influence,
            )
        )
    return Ownership(
        parties=parties,
        edges={owned: tuple(edges_) for owned, edges_ in edges.items()},
        determined={
            subject: value
            for (_, subject, finding), value in found.items()
            if finding == "party_chinese"
        },
        as_of=as_of,
    )


def path_in_words(path: str, names: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """A path of `foreign_paths` in Chinese and English; a party without a name is called by its id.

    `names` gives the two names of a party by its id.
    """
    parts = path.split(" > ")
    who = [names.get(part, (part, part)) for part in parts[::2]]
    if len(who) == 1:
        return f"{who[0][0]} 本身属于外方", f"{who[0][1]} is itself foreign"
    hops = list(zip(who, parts[1::2], who[1:], strict=False))
    zh, en = (
        [_HOPS.get(by, _HELD)[i].format(up[i], down[i], by) for up, by, down in hops]
        for i in (0, 1)
    )
    return "，".join(zh), ", ".join(en)


def _hop(edge: Edge) -> tuple[Fraction, str]:
    """How strong a hold is, and its word."""
    if edge.contract_control or edge.influence != "none":
        return Fraction(1), "contract" if edge.contract_control else "influence"
    part = max(edge.share, edge.votes)
    return part, f"{part.numerator}/{part.denominator}"


def _of(edge: Edge, measure: str) -> Fraction:
    return edge.share if measure == "share" else edge.votes


def _said(bounds: Bounds) -> str | None:
    """The share as "p/q", if one half lies on the same side of all it can be; the stricter end."""
    low, high = bounds
    if (low >= HALF) != (high >= HALF):
        return None
    share = low if low >= HALF else high
    return f"{share.numerator}/{share.denominator}"


# --- the least fixed point, for holdings that may run in circles -----------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """One line: `x = sum(of[y] · y) + plus`."""

    of: Mapping[str, Fraction]
    plus: Bounds


def least(equations: Mapping[str, Equation]) -> dict[str, Bounds]:
    """The least solution of x = A·x + b: by elimination in the order given.

    It is quickest where a line's unknowns come before it. Coefficients are shares: not negative, at most
    one in sum for each line, and every unknown has a line of its own. A closed circle that nothing flows
    into (A holds all of B, B all of A) then has the solution nought, as it should.
    """
    place = {name: index for index, name in enumerate(equations)}
    lines: dict[str, Equation] = {}
    for name, equation in equations.items():
        lines[name] = _eliminate(name, equation, lines, place)
    solved: dict[str, Bounds] = {}
    for name in reversed(lines):
        low, high = lines[name].plus
        for other, share in lines[name].of.items():
            low, high = low + share * solved[other][0], high + share * solved[other][1]
        solved[name] = low, high
    return solved


def _eliminate(
    name: str, equation: Equation, lines: Mapping[str, Equation], place: Mapping[str, int]
) -> Equation:
    """The line with every unknown before it put in, so that it speaks only of those after it."""
    of, (low, high) = dict(equation.of), equation.plus
    while earlier := [other for other in of if place[other] < place[name]]:
        other = min(earlier, key=place.__getitem__)
        share, line = of.pop(other), lines[other]
        for further, part in line.of.items():
            of[further] = of.get(further, Fraction(0)) + share * part
        low, high = low + share * line.plus[0], high + share * line.plus[1]
    itself = of.pop(name, Fraction(0))
    if itself == 1:  # a closed circle: nothing else is left in this line, the least solution is 0
        return Equation(of={}, plus=(Fraction(0), Fraction(0)))
    scale = 1 / (1 - itself)
    return Equation(
        of={other: share * scale for other, share in of.items()}, plus=(low * scale, high * scale)
    )
