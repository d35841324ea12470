"""The least solution of x = A·x + b over exact fractions, for holdings that may run in circles.

All coefficients are shares: not negative, at most one in sum for each equation. A closed circle that
nothing flows into (A holds all of B, B all of A) then has the solution nought, as it should.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

#: Lowest and highest reading of one number.
Bounds = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equation:
    """One line: `x = sum(of[y] · y) + plus`."""

    of: Mapping[str, Fraction]
    plus: Bounds


def least(equations: Mapping[str, Equation]) -> dict[str, Bounds]:
    """Solve by elimination in the order given; quickest where a line's unknowns come before it.

    Every unknown must have a line of its own.
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
