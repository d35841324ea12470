"""What a question about a cohort costs, beside the best SQL that answers it, as the bank grows.

An invented bank is loaded and asked for the plasma of 1 %, of 10 % and of all of it: a disease, sites, everything.
Ours is the whole of it, from the parsed request to the decision: names resolved, papers and counters read, strata
and distinct donors counted, all packs heard. Beside it stand SQLite and DuckDB with a table made for the question
(one row a holding, whole numbers only, in SQLite covering indexes beginning with what is asked) that only count
holdings and distinct donors by what tells strata apart. All is CPU time, DuckDB's in one thread of its own process.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from pydantic import SecretStr
from rich.console import Console

from bench import beside
from bench.figures import Beside, Figure, at_least, at_most
from bench.intake import KINDS, hgr
from gateway.bank import Bank, bump, open_bank
from gateway.generate import MEANING
from gateway.registry import facts
from gateway.registry.ask import Ask
from gateway.settings import Settings
from gateway.tables import metadata, new_id
from policies import pdp
from policies.decision import Decision

ROUNDS = 7
DONORS = (3_000, 30_000)
FULL_DONORS = (3_000, 30_000, 300_000)

#: What tells strata of one kind apart, as far as the invented bank has it.
_APART = "profile, withdrawn, age, deceased, pedigree, region, guardian"
_FLAT = """
CREATE TABLE flat AS SELECT
  d.rowid AS donor,
  CASE h.kind WHEN 'plasma' THEN 1 ELSE 0 END AS plasma,
  coalesce(t.n, 0) AS disease, c.rowid AS site, p.rowid AS profile,
  EXISTS (SELECT 1 FROM withdrawal w WHERE w.donor_id = d.id AND w.scope IN ('everything', 'material'))
    AS withdrawn,
  CASE WHEN d.born IS NULL THEN 0 WHEN d.born > date('now', '-14 years') THEN 1
       WHEN d.born > date('now', '-18 years') THEN 2 ELSE 3 END AS age,
  coalesce(d.deceased_on <= date('now'), 0) AS deceased, d.pedigree, c.special_region AS region,
  s.by_guardian AS guardian
FROM bank.holding h JOIN bank.donor d ON d.id = h.donor_id JOIN bank.collection c ON c.id = h.collection_id
JOIN bank.consent s ON s.id = h.consent_id JOIN bank.consent_profile p ON p.id = s.profile_id
LEFT JOIN terms t ON t.disease = h.disease
WHERE h.available AND h.units - h.kept - h.reserved > 0 ORDER BY h.donor_id
"""


def bench(*, full: bool, out: Console) -> list[Figure]:
    found: list[Figure] = []
    for donors in FULL_DONORS if full else DONORS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            start = time.monotonic()
            bank = _bank(folder, donors)
            try:
                loaded, start = time.monotonic() - start, time.monotonic()
                bank.open_index()
                took = time.monotonic() - start
                out.print(
                    f"cohorts: {donors:,} donors loaded in {loaded:.0f} s, index made in {took:.0f} s",
                    highlight=False,
                )
                found += _asked(bank, folder, donors, out)
            finally:
                bank.database.close()
    return found


def _bank(folder: Path, donors: int) -> Bank:
    hgr(
        folder,
        "init",
        "--origin",
        "bench.invalid/hgr",
        "--name-zh",
        "虚构",
        "--name-en",
        "Invented",
    )
    hgr(folder, "generate", str(folder / "files"), "--donors", str(donors))
    for kind in (*KINDS, "withdrawals"):
        hgr(folder, "import", kind, str(folder / "files" / f"{kind}.csv"))
    bank = open_bank(
        Settings(data_dir=folder / "data", keys_dir=folder / "keys", database_url=SecretStr(""))
    )
    bank.database.write(lambda conn: _signed(conn, bank))
    return bank


def _signed(conn: sa.Connection, bank: Bank) -> None:
    """What two people would: every form means what the invented bank's forms mean; and a project."""
    now, mapping, project = bank.now(), metadata.tables["form_mapping"], metadata.tables["project"]
    forms = conn.execute(sa.select(metadata.tables["consent_form"].c.id)).scalars()
    signed = {"mapping": MEANING, "proposed_by": "a", "confirmed_by": "b"}
    at = {"proposed_at": now, "confirmed_at": now}
    rows = [{"id": new_id("map"), "form_id": form, **signed, **at} for form in forms]
    conn.execute(sa.insert(mapping), rows)
    of = {"id": "prj_bench", "party_id": bank.party_id, "title": "bench", "created_at": now}
    conn.execute(sa.insert(project).values(of))
    bump(conn)


def _asked(bank: Bank, folder: Path, donors: int, out: Console) -> list[Figure]:
    flat = sqlite3.connect(folder / "flat.sqlite")
    flat.execute("ATTACH ? AS bank", (str(folder / "data" / "bank.sqlite"),))
    shares = _shares(bank, flat)
    flat.execute(_FLAT)
    for first in ("disease", "site", ""):
        named = f"plasma, {first + ', ' if first else ''}{_APART}, donor"
        flat.execute(f"CREATE INDEX by_{first or 'all'} ON flat ({named})")
    flat.execute("ANALYZE")
    flat.commit()
    found: list[Figure] = []
    with _duckdb(folder / "flat.sqlite", out) as duck:
        for share, cohort, where in shares:
            sql = (  # of names and numbers that stand here
                f"SELECT {_APART}, count(*), count(DISTINCT donor) FROM flat "  # noqa: S608
                f"WHERE plasma = 1{where} GROUP BY {_APART}"
            )
            found += _figures(bank, flat, duck, donors, share, cohort, sql)
    flat.close()
    return found


def _shares(bank: Bank, flat: sqlite3.Connection) -> list[tuple[str, dict[str, object], str]]:
    """A disease of about 1 % of the donors, sites of about 10 %, and everything; each as cohort and SQL."""
    held = "FROM bank.holding WHERE kind = 'plasma'"
    (whole,) = flat.execute(f"SELECT count(*) {held}").fetchone()
    terms = dict(
        flat.execute(f"SELECT disease, count(*) {held} AND disease IS NOT NULL GROUP BY disease")
    )

    def many(term: str) -> int:
        return sum(terms.get(one, 0) for one in {term, *bank.diseases.descendants(term)})

    term = min(terms, key=lambda one: abs(many(one) - whole / 100))
    under = sorted({term, *bank.diseases.descendants(term)} & terms.keys())
    flat.execute("CREATE TABLE terms (disease TEXT PRIMARY KEY, n INTEGER)")
    flat.executemany("INSERT INTO terms VALUES (?, ?)", [(one, 1) for one in under])
    sites = flat.execute(
        "SELECT c.rowid, c.code, count(*) FROM bank.holding h JOIN bank.collection c ON c.id = h.collection_id "
        "WHERE h.kind = 'plasma' GROUP BY c.id ORDER BY 3 DESC"
    ).fetchall()
    taken, total = [], 0
    for row in sites:
        if total + row[2] <= whole / 10:
            taken.append(row)
            total += row[2]
    numbers = ", ".join(str(row[0]) for row in taken)
    return [
        ("1 %", {"disease": term}, " AND disease = 1"),
        ("10 %", {"collections": [row[1] for row in taken]}, f" AND site IN ({numbers})"),
        ("100 %", {}, ""),
    ]


def _figures(
    bank: Bank,
    flat: sqlite3.Connection,
    duck: Callable[[str], tuple[float, int]] | None,
    donors: int,
    share: str,
    cohort: dict[str, object],
    sql: str,
) -> list[Figure]:
    body = {
        "project": "prj_bench",
        "recipient": "none",
        "purpose": {"research": "health", "diseases": [], "genetic": False, "commercial": False},
        "items": {"kinds": ["plasma"], "cohort": cohort},
    }
    ask = Ask.model_validate_json(json.dumps(body))

    def decided() -> Decision:
        with bank.database.read() as conn:
            gathered = facts.gather(
                conn, bank, ask, bank.party_id, as_of=bank.today(), now=bank.now()
            )
        return pdp.decide(gathered.question, bank.law)

    times: dict[str, list[float]] = {"ours": [], "sqlite": [], "duckdb": []}
    decided()
    holdings = sum(row[-2] for row in flat.execute(sql))
    if decided().selection.asked.items != holdings:
        raise SystemExit(
            f"SQL counts {holdings} holdings where we count {decided().selection.asked}"
        )
    for _ in range(ROUNDS):
        start = time.process_time()
        decided()
        times["ours"].append(1e3 * (time.process_time() - start))
        start = time.process_time()
        flat.execute(sql).fetchall()
        times["sqlite"].append(1e3 * (time.process_time() - start))
        if duck is not None:
            times["duckdb"].append(1e3 * duck(sql)[0])
    most = at_most(30 if share == "100 %" else 10)
    name = f"cohort of {share}, {donors:,} donors: decided"
    figures = [
        Figure(
            name=name, unit="ms", rounds=times["ours"], target=most,
            beside=Beside(name="SQLite, counted", rounds=times["sqlite"]),
            series=f"cohort of {share}", size=donors,
        )
    ]  # fmt: skip
    if share == "100 %":
        times_faster = [s / o for s, o in zip(times["sqlite"], times["ours"], strict=True)]
        figures.append(
            Figure(
                name=f"cohort of {share}, {donors:,} donors: times as fast as SQLite",
                unit="×",
                rounds=times_faster,
                target=at_least(15),
            )
        )
    if times["duckdb"]:
        figures.append(
            Figure(
                name=f"{name}, beside DuckDB", unit="ms", rounds=times["ours"],
                beside=Beside(name="DuckDB, counted", rounds=times["duckdb"]),
                target=at_most(1, "ratio") if share == "1 %" else None,
            )
        )  # fmt: skip
    return figures


@contextmanager
def _duckdb(file: Path, out: Console) -> Iterator[Callable[[str], tuple[float, int]] | None]:
    python = beside.python(out)
    if python is None:
        yield None
        return
    script = Path(__file__).with_name("duckdb_cohorts.py")
    process = subprocess.Popen(
        [str(python), str(script), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout  # noqa: S101, PT018 - asked for above
    asks, says = process.stdin, process.stdout
    if says.readline().strip() != "ready":
        raise SystemExit("DuckDB did not come up")

    def ask(sql: str) -> tuple[float, int]:
        asks.write(" ".join(sql.split()) + "\n")
        asks.flush()
        took, rows = says.readline().split()
        return float(took), int(rows)

    try:
        yield ask
    finally:
        with suppress(BrokenPipeError):
            asks.close()
        process.wait()
