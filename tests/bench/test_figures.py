"""What the benches say: each figure is judged as its target says, and every run is written whole."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import charts, figures
from bench.figures import Beside, Figure, at_least, at_most

SVG = "{http://www.w3.org/2000/svg}"

ROUNDS = {"name": "n", "unit": "µs", "rounds": [30.0, 10.0, 20.0]}
TWICE = Beside(name="b", rounds=[15.0, 4.0, 10.0])  # ratios 2, 2.5, 2

JUDGED = [
    ("the median of its rounds", Figure(**ROUNDS, target=at_most(20)), 20, True),
    ("not its best round", Figure(**ROUNDS, target=at_most(19.9)), 20, False),
    ("its worst round where that is promised", Figure(**ROUNDS, target=at_most(29, "high")), 30, False),
    ("its least round where that is promised", Figure(**ROUNDS, target=at_least(10, "low")), 10, True),
    ("its ratio round by round", Figure(**ROUNDS, beside=TWICE, target=at_most(2, "ratio")), 2, True),
    ("its ratio, at least", Figure(**ROUNDS, beside=TWICE, target=at_least(2.1, "ratio")), 2, False),
    ("nothing without a target", Figure(**ROUNDS), None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("figure", "judged", "met"), [r[1:] for r in JUDGED], ids=[r[0] for r in JUDGED]
)
def test_a_figure_is_judged_by(figure: Figure, judged: float | None, *, met: bool | None) -> None:
    assert (figure.judged, figure.met) == (judged, met)


def test_nothing_is_rounded_before_it_is_judged() -> None:
    just_over = Figure(name="n", unit="ms", rounds=[50.0004], target=at_most(50))
    assert just_over.as_json("b")["median"] == 50.0
    assert just_over.met is False


def test_a_baseline_of_other_rounds_is_no_baseline() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = Figure(**ROUNDS, beside=Beside(name="b", rounds=[1.0])).ratios


def run() -> dict[str, list[Figure]]:
    growing = [
        Figure(name=f"f {n}", unit="µs", rounds=[n / 100], series="f", size=n)
        for n in (100, 10_000)
    ]
    missed = Figure(**ROUNDS, beside=TWICE, target=at_most(1, "ratio"))
    return {"one & only": [missed, Figure(**ROUNDS, target=at_most(100))], "other": growing}


def test_a_run_is_written_whole_and_an_earlier_one_goes(tmp_path: Path) -> None:
    (tmp_path / "earlier.svg").touch()
    figures.write(run(), "today", tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "latest.json",
        "latest.md",
        "targets.svg",
        "other-by-size.svg",
    }
    written = json.loads((tmp_path / "latest.json").read_text())
    assert written[0] | {"series": 0, "size": 0} == {
        "bench": "one & only",
        "name": "n",
        "unit": "µs",
        "median": 20.0,
        "low": 10.0,
        "high": 30.0,
        "rounds": 3,
        "baseline": {"name": "b", "median": 10.0},
        "ratio": 2.0,
        "ratio_low": 2.0,
        "ratio_high": 2.5,
        "target": {"of": "ratio", "sign": "≤", "value": 1},
        "met": False,
        "series": 0,
        "size": 0,
    }
    page = (tmp_path / "latest.md").read_text()
    assert "| n | 20 µs | 10 – 30 | b: 10 | 2× (2 – 2.5) | ≤ 1× | NO |" in page


def texts(svg: str) -> tuple[str, str, list[str]]:
    root = ET.fromstring(svg)  # noqa: S314 - our own
    title, desc = root.findtext(f"{SVG}title"), root.findtext(f"{SVG}desc")
    assert root.get("role") == "img"
    return title or "", desc or "", [each.text or "" for each in root.iter(f"{SVG}text")]


def test_bars_say_in_words_what_they_show() -> None:
    bars = [
        charts.Bar(label="a < b", value=2.0, note="4, target ≤ 2", good=False),
        charts.Bar(label="c", value=0.001, note="1, target ≤ 1,000", good=True),
    ]
    title, told, drawn = texts(charts.bars("T & U", bars))
    assert title == "T & U"
    assert told == "a < b: 2 times its target, missed; c: 0.001 times its target, met"
    assert "a < b: 4, target ≤ 2, missed (2 × target)" in drawn
    root = ET.fromstring(charts.bars("T", bars))  # noqa: S314 - our own
    missed, met = root.findall(f"{SVG}rect")[1:]
    assert float(missed.get("x", 0)) == pytest.approx(
        float(met.get("x", 0)) + float(met.get("width", 0))
    )
    assert float(met.get("width", 0)) > float(missed.get("width", 0))


def test_lines_say_in_words_what_they_show() -> None:
    lines = [charts.Line(label="f, µs", points=[(100, 1.0), (10_000, 2.0)])]
    title, told, drawn = texts(charts.lines("T", lines))
    assert (title, told) == ("T", "f, µs: 1 at 100, 2 at 10,000")
    assert {"f, µs", "2", "100", "10,000"} <= set(drawn)


def test_what_is_kept_is_a_whole_run() -> None:
    kept = json.loads((figures.RESULTS / "latest.json").read_text())
    assert {one["bench"] for one in kept} >= {"policies", "decision", "log", "intake"}
    for one in kept:
        assert one["low"] <= one["median"] <= one["high"]
        assert (one["met"] is None) == (one["target"] is None)
    names = [(one["bench"], one["name"]) for one in kept]
    assert len(names) == len(set(names))
