"""All benches in one run: a table of figures, and with no bench named `results/` written anew.

python -m bench [--full] [BENCH …]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich.console import Console

from bench import cohorts, decision, figures, intake, log, policies

#: Each takes `full` (larger sizes, longer rounds) and where to say how it goes, and gives its figures.
BENCHES: dict[str, Callable[..., list[figures.Figure]]] = {
    "policies": policies.bench,
    "decision": decision.bench,
    "cohorts": cohorts.bench,
    "log": log.bench,
    "intake": intake.bench,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="larger sizes, longer rounds")
    parser.add_argument("names", nargs="*", metavar="BENCH", help=f"some of: {', '.join(BENCHES)}")
    told = parser.parse_args()
    if unknown := set(told.names) - BENCHES.keys():
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    out = Console(width=200)
    conditions = figures.conditions(full=told.full)
    out.print(conditions, highlight=False)
    run = {}
    for name in told.names or BENCHES:
        run[name] = BENCHES[name](full=told.full, out=out)
        out.print(figures.table(name, run[name]))
    conditions += f"; at its end {figures.load()}"
    out.print(f"{conditions}; {figures.tally(run)}", highlight=False)
    if told.names:
        out.print("nothing written: results/ keeps whole runs")
    else:
        figures.write(run, conditions)


if __name__ == "__main__":
    main()
