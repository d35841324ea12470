"""What every bench says its figures in, and how they are shown: a table, `results/latest.json`, a page, charts.

A figure is what was measured in interleaved rounds of one run, beside a baseline measured in the same rounds;
its ratio is ours ÷ baseline, round by round, so that a machine that drifts drifts under both. A target names
which of the numbers it is held against. Nothing is rounded before it is judged.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from bench import charts
from bench.charts import said

RESULTS = Path(__file__).parent / "results"

Of = Literal["median", "high", "low", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a number of a figure should be at most, or at least."""

    of: Of
    sign: Literal["≤", "≥"]
    value: float

    def is_met(self, got: float) -> bool:
        return got <= self.value if self.sign == "≤" else got >= self.value

    def times(self, got: float) -> float:
        """How far off: 1 is the target itself, more is a miss, whichever way it points."""
        return got / self.value if self.sign == "≤" else self.value / got


def at_most(value: float, of: Of = "median") -> Target:
    return Target(of=of, sign="≤", value=value)


def at_least(value: float, of: Of = "median") -> Target:
    return Target(of=of, sign="≥", value=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A baseline: its name, and what each round measured of it, in the figure's unit."""

    name: str
    rounds: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured. `rounds` are in `unit`; figures of one `series` differ in `size` alone."""

    name: str
    unit: str
    rounds: Sequence[float]
    beside: Beside | None = None
    target: Target | None = None
    series: str | None = None
    size: int | None = None

    @property
    def ratios(self) -> list[float]:
        if self.beside is None:
            return []
        return [o / b for o, b in zip(self.rounds, self.beside.rounds, strict=True)]

    @property
    def judged(self) -> float | None:
        """The number the target is held against."""
        if self.target is None:
            return None
        if self.target.of == "ratio":
            return statistics.median(self.ratios)
        of = {"median": statistics.median, "high": max, "low": min}[self.target.of]
        return float(of(self.rounds))

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.is_met(self.judged or 0.0)

    def as_json(self, bench: str) -> dict[str, Any]:
        ratios, beside, target = self.ratios, self.beside, self.target
        return {
            "bench": bench,
            "name": self.name,
            "unit": self.unit,
            "median": _short(statistics.median(self.rounds)),
            "low": _short(min(self.rounds)),
            "high": _short(max(self.rounds)),
            "rounds": len(self.rounds),
            "baseline": beside
            and {"name": beside.name, "median": _short(statistics.median(beside.rounds))},
            "ratio": _short(statistics.median(ratios)) if ratios else None,
            "ratio_low": _short(min(ratios)) if ratios else None,
            "ratio_high": _short(max(ratios)) if ratios else None,
            "target": target and {"of": target.of, "sign": target.sign, "value": target.value},
            "met": self.met,
            "series": self.series,
            "size": self.size,
        }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


# ---- showing ---------------------------------------------------------------------------------------

HEADINGS = ("figure", "median", "range", "baseline", "ratio", "target", "met")


def row(one: Figure) -> tuple[str, ...]:
    unit, beside, target = one.unit, one.beside, one.target
    ratios = one.ratios
    return (
        one.name,
        f"{said(statistics.median(one.rounds))} {unit}",
        f"{said(min(one.rounds))} – {said(max(one.rounds))}",
        f"{beside.name}: {said(statistics.median(beside.rounds))}" if beside else "",
        f"{said(statistics.median(ratios))}× ({said(min(ratios))} – {said(max(ratios))})"
        if ratios
        else "",
        _aim(target, unit) if target else "",
        "" if one.met is None else ("yes" if one.met else "NO"),
    )


def _aim(target: Target, unit: str) -> str:
    if target.of == "ratio":
        return f"{target.sign} {said(target.value)}×"
    which = "" if target.of == "median" else f" ({target.of})"
    return f"{target.sign} {said(target.value)} {unit}{which}"


def table(bench: str, figures: Iterable[Figure]) -> Table:
    made = Table(*HEADINGS, title=bench, title_justify="left")
    for one in figures:
        colour = {None: None, True: "green", False: "red"}[one.met]
        made.add_row(*row(one), style=colour)
    return made


def conditions(*, full: bool) -> str:
    """What a reader must know of a run that begins now."""
    size = "full sizes (`make bench-full`)" if full else "small sizes (`make bench`)"
    began = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{began}, {size}, Python {platform.python_version()}, {os.cpu_count()} cores"


def load() -> str:
    """How many processes wanted a core in the last quarter of an hour, the benches' own among them."""
    return f"the machine's load {os.getloadavg()[2]:.1f}"


def write(run: dict[str, list[Figure]], told: str, folder: Path = RESULTS) -> None:
    """Write a whole run: `latest.json`, `latest.md` and the charts; earlier charts go."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    everything = [one.as_json(bench) for bench, figures in run.items() for one in figures]
    text = json.dumps(everything, ensure_ascii=False, indent=1)
    (folder / "latest.json").write_text(text + "\n", "utf-8")
    drawn = {"targets": _targets(run)}
    for bench, figures in run.items():
        lines = _series(figures)
        if lines:
            drawn[f"{bench}-by-size"] = charts.lines(f"{bench}: cost against size", lines)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(svg, "utf-8")
    (folder / "latest.md").write_text(_page(run, told, list(drawn)), "utf-8")


def _targets(run: dict[str, list[Figure]]) -> str:
    bars = [
        charts.Bar(
            label=f"{bench}: {one.name}",
            value=one.target.times(one.judged or 0.0),
            note=f"{said(one.judged or 0.0)}{'×' if one.target.of == 'ratio' else ' ' + one.unit}, "
            f"target {_aim(one.target, one.unit)}",
            good=bool(one.met),
        )
        for bench, figures in run.items()
        for one in figures
        if one.target is not None
    ]
    return charts.bars("How many times its target each figure is (1 and less: met)", bars)


def _series(figures: list[Figure]) -> list[charts.Line]:
    made: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in figures:
        if one.series is not None and one.size is not None:
            made.setdefault((one.series, one.unit), []).append(
                (one.size, statistics.median(one.rounds))
            )
            if one.beside is not None:
                other = (f"{one.series} ({one.beside.name})", one.unit)
                made.setdefault(other, []).append((one.size, statistics.median(one.beside.rounds)))
    return [
        charts.Line(label=f"{name}, {unit}", points=sorted(points))
        for (name, unit), points in made.items()
        if len(points) > 1
    ]


def _page(run: dict[str, list[Figure]], told: str, drawn: list[str]) -> str:
    lines = ["# The last run", "", f"{told}; {tally(run)}.", ""]
    lines += [
        "Written by `python -m bench`; what the figures mean is in [README](../README.md).",
        "",
    ]
    for bench, figures in run.items():
        lines += [
            f"## {bench}",
            "",
            "| " + " | ".join(HEADINGS) + " |",
            "|---" * len(HEADINGS) + "|",
        ]
        lines += ["| " + " | ".join(row(one)) + " |" for one in figures]
        lines.append("")
    lines += [f"![{name}]({name}.svg)\n" for name in drawn]
    return "\n".join(lines)


def tally(run: dict[str, list[Figure]]) -> str:
    aims = [one.met for figures in run.values() for one in figures if one.met is not None]
    return f"{sum(aims)} of {len(aims)} targets met"
