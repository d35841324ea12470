"""Parquet says what the text formats say: the same rows, the same reasons, and it goes on where it was."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway import intake_files
from gateway.errors import ProblemError
from gateway.registry.intake import KINDS, Row
from tests.gateway.test_cli import INIT, folder, hgr
from tests.gateway.test_intake import COLLECTIONS, DONORS, FORMS, made, put, rows

__all__ = ["folder", "made"]

CONSENTS = pa.table(
    {
        "code": ["C1", "C2"],
        "donor": pa.array(["D1", "D2"], pa.large_string()),
        "collection": pa.array(["chb", "chb"]).dictionary_encode(),
        "form": ["v2", "v2"],
        "ticks": [["gru", "ds:DOID:162"], ["ds:DOID:162", "gru"]],
        "signed_on": pa.array([date(2021, 6, 1), date(2021, 6, 2)]),
        "written": [True, True],
        "expires_on": pa.array([None, None], pa.date32()),
    }
)
HOLDINGS = pa.table(
    {
        "code": ["T1", "T2", "G1", "T3"],
        "donor": ["D1", "D2", "D1", "D3"],
        "collection": ["chb"] * 4,
        "kind": ["plasma", "whole_blood", "genome", "plasma"],
        # As pandas has them: a day is a moment, and whole numbers with a gap are floating.
        "collected_on": pa.array(
            [datetime(2021, 6, day) for day in (1, 2, 1, 3)],  # noqa: DTZ001 - it says no zone
            pa.timestamp("ns"),
        ),
        "units": pa.array([5.0, 3.0, 1.0, None]),
        "kept": pa.array([2, 0, None, 0], pa.int8()),
        "volume_ul": pa.array([Decimal(250), None, None, None], pa.decimal128(9, 0)),
        "disease": ["DOID:162", "", None, ""],
    }
)


def put_parquet(folder: Path, name: str, table: pa.Table, **how: Any) -> Path:
    path = folder / name
    parquet.write_table(table, path, **how)
    return path


def test_a_bank_filled_from_parquet_is_the_bank_filled_from_text(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.store import url_in

    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("HGR_DATA_DIR", str(other / "data"))
    monkeypatch.setenv("HGR_KEYS_DIR", str(other / "keys"))
    monkeypatch.setenv("HGR_DATABASE_URL", url_in(other))
    assert hgr(*INIT).exit_code == 0
    for kind, text in {"collections": COLLECTIONS, "forms": FORMS, "donors": DONORS}.items():
        assert hgr("import", kind, str(put(other, f"{kind}.csv", text))).exit_code == 0
    for kind, table in {"consents": CONSENTS, "holdings": HOLDINGS}.items():
        told = hgr("import", kind, str(put_parquet(other, f"{kind}.parquet", table)))
        assert told.exit_code == 0, told.output
    for table in ("consent", "holding"):
        one, same = (
            {
                row["code"]: {
                    name: value
                    for name, value in row.items()
                    if not name.endswith("_id") and name not in {"id", "recorded_at"}
                }
                for row in rows(place, table)
            }
            for place in (made, other)
        )
        assert one == same
        assert len(one) > 1


def test_wrong_rows_are_named_by_their_number(made: Path) -> None:
    table = pa.table(
        {
            "code": ["T7", "T 8", "T9", "T10", None],
            "donor": ["D1", "D1", "D9", "D1", "D1"],
            "collection": ["chb"] * 5,
            "kind": ["plasma"] * 5,
            "units": [1.0, 1.0, 1.0, 1.5, 1.0],
        }
    )
    told = hgr("import", "holdings", str(put_parquet(made, "x.parquet", table)))
    assert told.exit_code == 1
    assert "added 1" in told.output
    with (made / "x.parquet.bad.csv").open(encoding="utf-8") as file:
        bad = [(one["line"], one["column"], one["code"]) for one in csv.DictReader(file)]
    assert bad == [
        ("2", "code", "not_a_code"),
        ("3", "donor", "unknown_donor"),
        ("4", "units", "not_a_number"),
        ("5", "code", "missing"),
    ]


MOMENTS = [
    (pa.array([datetime(2021, 7, 1, 23, tzinfo=UTC)], pa.timestamp("us", "UTC")), date(2021, 7, 2)),
    (pa.array([datetime(2021, 7, 1, 23, tzinfo=UTC)], pa.timestamp("ms", "Asia/Shanghai")), date(2021, 7, 2)),
    (pa.array([1], pa.timestamp("ns")), date(1970, 1, 1)),
    (pa.array([18809], pa.int32()).cast(pa.date32()), date(2021, 7, 1)),
    (pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), "not_a_date"),
    (pa.array([2**62], pa.timestamp("us")), "not_a_date"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "expected"), MOMENTS, ids=[str(m[0].type) for m in MOMENTS])
def test_a_moment_is_a_day_in_shanghai_or_none(
    tmp_path: Path, array: pa.Array, expected: date | str
) -> None:
    path = put_parquet(tmp_path, "x.parquet", pa.table({"code": ["T1"], "collected_on": array}))
    (found,) = read(path, 0)
    if isinstance(expected, date):
        assert isinstance(found, Row)
        assert found.cells["collected_on"] == expected
    else:
        assert isinstance(found, list)
        assert [one.code for one in found] == [expected]


def read(path: Path, after: int) -> list[Any]:
    kind = KINDS["holdings"]
    with intake_files.opened(path, kind, intake_files.by_our_names(kind)) as source:
        return list(source.rows(after=after))


@pytest.mark.parametrize("group", [7, 10, 1000], ids=["in a group", "at its end", "one group"])
@pytest.mark.parametrize("after", [0, 1, 10, 19, 29, 30, 99])
def test_it_goes_on_behind_any_row(tmp_path: Path, group: int, after: int) -> None:
    table = pa.table({"code": [f"T{n}" for n in range(1, 31)]})
    path = put_parquet(tmp_path, "x.parquet", table, row_group_size=group)
    found = read(path, after)
    assert [(row.line, row.cells["code"]) for row in found] == [
        (n, f"T{n}") for n in range(after + 1, 31)
    ]


def test_how_far_it_is_grows_to_the_whole_file(tmp_path: Path) -> None:
    table = pa.table({"code": [f"T{n}" for n in range(25_000)]})
    path = put_parquet(tmp_path, "x.parquet", table)
    kind = KINDS["holdings"]
    with intake_files.opened(path, kind, intake_files.by_our_names(kind)) as source:
        seen = [source.position for _ in source.rows()]
    assert seen == sorted(seen)
    assert (seen[0], source.position) == (0, path.stat().st_size)


REFUSED = [
    (pa.table({"code": ["T1"], "units": [{"many": 1}]}), "column `units` holds struct"),
    (pa.table({"code": ["T1"], "sha256": [b"\x01"]}), "column `sha256` holds binary"),
    (pa.table({"code": ["T1"], "units": [[1]]}), "column `units` holds list"),
    (pa.table({"code": ["T1"], "colour": ["red"]}), "`colour` is not mapped"),
    (pa.table({"kind": ["plasma"]}), "no column for `code`"),
    (pa.table([pa.array(["T1"]), pa.array(["T2"])], names=["code", "code"]), "stands here twice"),
]


@pytest.mark.parametrize(("table", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_a_column_no_cell_can_say_is_refused(tmp_path: Path, table: pa.Table, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        read(put_parquet(tmp_path, "x.parquet", table), 0)


def test_what_is_ignored_may_be_of_any_kind(tmp_path: Path) -> None:
    table = pa.table({"管号": ["T1"], "原始": [{"a": 1}]})
    path, kind = put_parquet(tmp_path, "x.parquet", table), KINDS["holdings"]
    mapping = intake_files.mapping_from(
        "columns: {code: 管号}\nignore: [原始]\n".encode(), "m.yaml", kind
    )
    with intake_files.opened(path, kind, mapping) as source:
        (found,) = source.rows()
    assert isinstance(found, Row)
    assert found.cells == {"code": "T1"}


@pytest.mark.parametrize("cut", [0, 3, 200, -9])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, cut: int) -> None:
    path = put_parquet(tmp_path, "x.parquet", pa.table({"code": ["T1", "T2"]}))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ProblemError, match="is no Parquet that can be read"):
        read(path, 0)


def test_pages_that_are_damaged_stop_the_loading_with_the_reason(tmp_path: Path) -> None:
    path = put_parquet(
        tmp_path,
        "x.parquet",
        pa.table({"code": [f"T{n}" for n in range(2000)]}),
        use_dictionary=False,
    )
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(ProblemError, match="is no Parquet that can be read"):
        read(path, 0)
