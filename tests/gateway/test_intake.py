"""`hgr import`: a bank's own files go in whole, once, and what is wrong in them is named."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import cli_intake
from gateway.bank import open_bank
from gateway.cli_intake import BadRows
from gateway.registry import intake, ledger
from gateway.registry.intake import KINDS, Bad, Row, read_row
from gateway.tables import metadata
from tests.gateway.conftest import settings_in
from tests.gateway.test_cli import INIT, filled, folder, hgr, kinds

__all__ = ["filled", "folder"]

DIGEST = "ab" * 32
COLLECTIONS = (
    "code,name_zh,name_en,country,source_party,special_region\n"
    "chb,某医院,A hospital,CN,pty_bank,否\n"
)
FORMS = f"collection,version,title,valid_from,text_sha256\nchb,v2,知情同意书,2021-01-01,{DIGEST}\n"
DONORS = (
    "code,sex,born,chinese,pedigree\n"
    "D1,female,1980-02-29,是,\n"
    "D2,male,2012-05-01,true,false\n"
    "D3,,,,\n"
)
CONSENTS = (
    "code,donor,collection,form,ticks,signed_on,written\n"
    "C1,D1,chb,v2,gru;ds:DOID:162,2021-06-01,true\n"
    "C2,D2,chb,v2,ds:DOID:162;gru,2021-06-02,true\n"
)
HOLDINGS = (
    "code,donor,collection,kind,collected_on,units,kept,volume_ul,disease\n"
    "T1,D1,chb,plasma,2021-06-01,5,2,250,DOID:162\n"
    "T2,D2,chb,whole_blood,2021-06-02,3,,,\n"
    "G1,D1,chb,genome,2021-06-01,1,0,,\n"
    "T3,D3,chb,plasma,2021-06-03,1,,,\n"
)
FILES = {
    "collections": COLLECTIONS,
    "forms": FORMS,
    "donors": DONORS,
    "consents": CONSENTS,
    "holdings": HOLDINGS,
}


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    bank = open_bank(settings_in(folder))
    try:
        with bank.database.read() as conn:
            found = conn.execute(sa.select(metadata.tables[table])).mappings().all()
            return [dict(row) for row in found]
    finally:
        bank.database.close()


@pytest.fixture
def made(folder: Path) -> Path:
    """A new bank with all files loaded."""
    assert hgr(*INIT).exit_code == 0
    for kind, text in FILES.items():
        told = hgr("import", kind, str(put(folder, f"{kind}.csv", text)))
        assert told.exit_code == 0, told.output
    return folder


def test_a_bank_is_filled_from_its_own_files(made: Path) -> None:
    (collection,) = rows(made, "collection")
    assert (collection["source_party_id"], collection["special_region"]) == ("pty_bank", False)
    donors = {row["code"]: row for row in rows(made, "donor")}
    assert (donors["D1"]["born"], donors["D1"]["chinese"], donors["D1"]["pedigree"]) == (
        date(1980, 2, 29), True, None,
    )  # fmt: skip
    consents = {row["code"]: row for row in rows(made, "consent")}
    held = {row["code"]: row for row in rows(made, "holding")}
    assert (held["T1"]["units"], held["T1"]["kept"], held["T1"]["volume_ul"]) == (5, 2, 250)
    assert (held["T2"]["kept"], held["T2"]["available"], held["T2"]["reserved"]) == (0, True, 0)
    assert held["T1"]["consent_id"] == consents["C1"]["id"], "the only one the donor gave there"
    assert held["T3"]["consent_id"] is None, "none is known: nothing may be released"
    assert [held[one]["item_class"] for one in ("T1", "G1")] == ["material", "information"]
    assert held["G1"]["data_class"] == "genome"


def test_the_same_ticks_on_the_same_form_are_one_profile_in_any_order(made: Path) -> None:
    (profile,) = rows(made, "consent_profile")
    assert profile["ticks"] == ["ds:DOID:162", "gru"]
    assert {row["profile_id"] for row in rows(made, "consent")} == {profile["id"]}


def test_every_batch_is_an_entry_and_no_donor_is_in_it(made: Path) -> None:
    assert kinds(made)[2:] == ["intake.begun", "intake.batch", "intake.done"] * len(FILES)
    bank = open_bank(settings_in(made))
    with bank.database.read() as conn:
        leaves = [row.leaf for row in conn.execute(sa.text("SELECT leaf FROM log_leaf"))]
    bank.database.close()
    batch = json.loads(
        next(leaf for leaf in leaves if b'"intake.batch"' in leaf and b"donors" in leaf)
    )
    assert {name: batch["subjects"][name] for name in ("kind", "added", "bad", "through")} == {
        "kind": "donors", "added": "3", "bad": "0", "through": "4",
    }  # fmt: skip
    assert not any(b"D1" in leaf or b"dnr_" in leaf for leaf in leaves)


def test_the_same_file_again_changes_nothing_and_says_so(made: Path) -> None:
    before, entries = rows(made, "holding"), kinds(made)
    told = hgr("import", "holdings", str(made / "holdings.csv"))
    assert told.exit_code == 0
    assert "nothing to do" in told.output
    assert (rows(made, "holding"), kinds(made)) == (before, entries)


def test_a_later_file_says_what_has_changed_and_leaves_the_rest(made: Path) -> None:
    text = "code,units,kept,available\nT1,3,,\nT2,3,0,false\n"
    told = hgr("import", "holdings", str(put(made, "night.csv", text)))
    assert told.exit_code == 0, told.output
    assert "changed 2" in told.output
    held = {row["code"]: row for row in rows(made, "holding")}
    assert (held["T1"]["units"], held["T1"]["kept"], held["T1"]["volume_ul"]) == (3, 0, 250)
    assert (held["T2"]["available"], held["T2"]["kind"]) == (False, "whole_blood")
    assert held["T1"]["consent_id"] is not None
    again = hgr("import", "holdings", str(put(made, "night2.csv", f"{text}\n")))
    assert "same 2" in again.output


def test_a_change_raises_the_version_of_the_facts_and_no_change_does_not(made: Path) -> None:
    def version() -> int:
        (bank,) = rows(made, "bank")
        return int(bank["facts_version"])

    first = version()
    hgr("import", "holdings", str(put(made, "same.csv", "code,units\nT1,5\n")))
    assert version() == first
    hgr("import", "holdings", str(put(made, "less.csv", "code,units\nT1,4\n")))
    assert version() == first + 1


WRONG = [
    ("code,sex\nD 9,female\n", "donors", "code", "not_a_code"),
    ("code,sex\n,female\n", "donors", "code", "missing"),
    ("code,sex\nD9,F\n", "donors", "sex", "not_in_list"),
    ("code,born\nD9,1980-02-30\n", "donors", "born", "not_a_date"),
    ("code,born\nD9,19800101\n", "donors", "born", "not_a_date"),
    ("code,chinese\nD9,maybe\n", "donors", "chinese", "not_a_flag"),
    ("code,sex\nD9\n", "donors", "", "not_a_row"),
    ("code,sex\nD9,male\nD9,female\n", "donors", "code", "twice"),
    ("code,units\nT9,1\n", "holdings", "donor", "missing"),
    ("code,donor,collection,kind\nT9,D8,chb,plasma\n", "holdings", "donor", "unknown_donor"),
    ("code,donor,collection,kind\nT9,D1,chx,plasma\n", "holdings", "collection", "unknown_collection"),
    ("code,donor,collection,kind\nT9,D1,chb,spleen\n", "holdings", "kind", "not_in_list"),
    ("code,donor,collection,kind,units\nT9,D1,chb,plasma,-1\n", "holdings", "units", "not_a_number"),
    ("code,donor,collection,kind,units\nT9,D1,chb,plasma,1.5\n", "holdings", "units", "not_a_number"),
    ("code,donor,collection,kind,units\nT9,D1,chb,genome,2\n", "holdings", "units", "not_tubes"),
    ("code,donor,collection,kind,disease\nT9,D1,chb,plasma,DOID:0\n", "holdings", "disease", "unknown_disease"),
    ("code,donor,collection,kind,sha256\nT9,D1,chb,genome,ABC\n", "holdings", "sha256", "not_a_digest"),
    ("code,kind\nT1,\n", "holdings", "kind", "missing"),
    ("code,donor,collection,form,ticks,signed_on\nC9,D1,chb,v9,gru,2021-01-01\n", "consents", "form", "unknown_form"),
    ("code,form\nC1,v2\n", "consents", "form", "missing"),
    ("code,name_zh,name_en,country\npty_bank,别库,Another,CN\n", "parties", "name_zh", "registered"),
    ("code,name_zh\npty_x,某\n", "parties", "name_en", "missing"),
    ("code,name_zh,name_en,country,source_party\nx,某,x,cn,pty_bank\n", "collections", "country", "not_a_country"),
    ("code,name_zh,name_en,country,source_party\nx,某,x,CN,pty_no\n", "collections", "source_party", "unknown_source_party"),
    (f"collection,version,title,valid_from,valid_to,text_sha256\nchb,v3,x,2021-01-02,2021-01-01,{DIGEST}\n", "forms", "valid_to", "before_begin"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "column", "code"), WRONG, ids=[f"{w[3]}-{w[2]}" for w in WRONG]
)
def test_a_wrong_row_is_named_and_stops_no_other(
    made: Path, text: str, kind: str, column: str, code: str
) -> None:
    table = KINDS[kind].table
    before = rows(made, table)
    told = hgr("import", kind, str(put(made, "wrong.csv", text)))
    assert (told.exit_code, type(told.exception)) == (1, SystemExit), told.output
    with (made / "wrong.csv.bad.csv").open(encoding="utf-8") as file:
        bad = list(csv.DictReader(file))
    assert (bad[0]["column"], bad[0]["code"]) == (column, code)
    assert all(one["zh"] and one["en"] and one["line"] == bad[0]["line"] for one in bad)
    loaded = [row for row in rows(made, table) if row not in before]
    assert len(loaded) == (1 if code == "twice" else 0)


def test_good_rows_load_beside_wrong_ones_and_in_strict_none_do(made: Path) -> None:
    path = put(made, "mixed.csv", "code,sex\nD7,female\nD8,nobody\nD9,male\n")
    told = hgr("import", "donors", str(path), "--strict")
    assert told.exit_code == 1
    assert len(rows(made, "donor")) == 3
    assert "intake.begun" not in kinds(made)[2 + 3 * len(FILES) :]
    told = hgr("import", "donors", str(path), "--bad", str(made / "b.csv"))
    assert told.exit_code == 1
    assert "added 2" in told.output
    assert "wrong 1" in told.output
    assert {row["code"] for row in rows(made, "donor")} == {"D1", "D2", "D3", "D7", "D9"}
    assert (made / "b.csv").read_text("utf-8").splitlines()[1].startswith("3,D8,sex,not_in_list")


def test_a_dry_run_says_what_would_be_and_loads_nothing(made: Path) -> None:
    before, entries = rows(made, "donor"), kinds(made)
    told = hgr("import", "donors", str(put(made, "new.csv", "code\nD8\nD1\n")), "--dry-run")
    assert told.exit_code == 0
    assert "would be" in told.output
    assert "added 1" in told.output
    assert "same 1" in told.output
    assert (rows(made, "donor"), kinds(made)) == (before, entries)


def test_columns_are_named_by_a_mapping(made: Path) -> None:
    mapping = put(
        made,
        "lims.yaml",
        "columns:\n  code: 管号\n  donor: 受试者\n  kind: {column: 类型, values: {血浆: plasma}}\n  units: 管数\n"
        "constants: {collection: chb}\nignore: [备注]\n",
    )
    path = put(made, "lims.tsv", "管号\t受试者\t类型\t管数\t备注\nL1\tD1\t血浆\t4\t无\n")
    told = hgr("import", "holdings", str(path), "--mapping", str(mapping))
    assert told.exit_code == 0, told.output
    (held,) = [row for row in rows(made, "holding") if row["code"] == "L1"]
    assert (held["kind"], held["units"]) == ("plasma", 4)


def test_a_diagnosis_in_icd10_is_the_term_it_is_mapped_to_or_the_nearest_above(made: Path) -> None:
    """As MIABIS names its fields; the table of codes is the bank's."""
    mapping = put(
        made,
        "miabis.yaml",
        "columns:\n  code: Sample ID\n  donor: Donor ID\n"
        "  kind: {column: Detailed sample type, values: {Plasma: plasma, DNA: dna}}\n"
        "  collected_on: Sample creation date and time\n"
        "  disease: {column: Sample content diagnosis, icd10: {C34: DOID:1324, C34.9: DOID:162}}\n"
        "constants: {collection: chb}\nignore: [Sample storage temperature]\n",
    )
    head = "Sample ID,Donor ID,Detailed sample type,Sample creation date and time,Sample content diagnosis\n"
    lines = [
        f"M{n},D1,Plasma,2021-07-01T23:30:00{zone},{code}\n"
        for n, (zone, code) in enumerate(
            [("", "C34.1"), ("Z", "C34.9"), ("", "C34.90"), ("", "DOID:162"), ("", ""), ("", "I10")]
        )
    ]
    told = hgr(
        "import",
        "holdings",
        str(put(made, "m.csv", head + "".join(lines))),
        "--mapping",
        str(mapping),
    )
    assert told.exit_code == 1, told.output
    held = {row["code"]: row for row in rows(made, "holding")}
    terms = [held[f"M{n}"]["disease"] for n in range(5)]
    assert terms == ["DOID:1324", "DOID:162", "DOID:162", "DOID:162", None]
    days = [held[f"M{n}"]["collected_on"] for n in range(2)]
    assert days == [date(2021, 7, 1), date(2021, 7, 2)], "a legal day is a day in Shanghai"
    with (made / "m.csv.bad.csv").open(encoding="utf-8") as file:
        (bad,) = csv.DictReader(file)
    assert (bad["line"], bad["code"]) == ("7", "unknown_disease")


def test_parties_load_and_are_named_by_what_comes_after(made: Path) -> None:
    text = "code,name_zh,name_en,country,not_for_profit\npty_h,某医院,A hospital,CN,是\n"
    assert hgr("import", "parties", str(put(made, "p.csv", text))).exit_code == 0
    (party,) = [row for row in rows(made, "party") if row["id"] == "pty_h"]
    assert (party["not_for_profit"], party["legal_person"], party["ban_checked"]) == (
        True,
        None,
        False,
    )
    text = COLLECTIONS.replace("chb", "chc").replace("pty_bank", "pty_h")
    assert hgr("import", "collections", str(put(made, "c2.csv", text))).exit_code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("columns: {code: a, colour: b}\n", "`colour` is none of"),
        ("columns: {code: a}\nconstants: {code: x}\n", "stands here twice"),
        ("columns: {code: {column: a}}\n", "columns"),
        ("columns: {}\nmore: 1\n", "more"),
        ("columns: [a]\n", "columns"),
        ("columns: {code: {column: a, icd10: {Lunge: DOID:1324}}}\n", "`Lunge` is no ICD-10 code"),
        ("columns: {code: a\n", "lims.yaml"),
    ],
)
def test_a_mapping_that_is_none_is_refused(made: Path, text: str, words: str) -> None:
    path = put(made, "x.csv", "a\nD8\n")
    told = hgr("import", "donors", str(path), "--mapping", str(put(made, "lims.yaml", text)))
    assert told.exit_code == 2
    assert words in told.stderr
    assert len(rows(made, "donor")) == 3


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"code,colour\nD8,red\n", "`colour` is not mapped"),
        ("x.csv", b"code,code\nD8,D9\n", "stands here twice"),
        ("x.csv", b"sex\nmale\n", "no column for `code`"),
        ("x.csv", b"", "no column for `code`"),
        ("x.csv", b"code,sex\nD8,m\xe4nnlich\n", "no UTF-8"),
        ("x.xlsx", b"PK", "must end in"),
    ],
)
def test_a_file_that_is_none_is_refused_before_anything_is_loaded(
    made: Path, name: str, content: bytes, words: str
) -> None:
    path = made / name
    path.write_bytes(content)
    told = hgr("import", "donors", str(path))
    assert told.exit_code == 2, told.output
    assert words in told.stderr
    assert len(rows(made, "donor")) == 3


def test_json_lines_say_the_same(made: Path) -> None:
    said = [
        {"code": "J1", "donor": "D1", "collection": "chb", "form": "v2", "ticks": ["gru", "ds:DOID:162"],
         "signed_on": "2022-01-01", "written": True, "expires_on": None},
        {"code": "J2", "signed_on": 1.5},
        {"code": "J3", "colour": "red"},
        ["J4"],
    ]  # fmt: skip
    text = "\n".join(json.dumps(one) for one in said) + "\n{not json\n\n"
    told = hgr("import", "consents", str(put(made, "more.jsonl", text)))
    assert told.exit_code == 1, told.output
    assert "added 1" in told.output
    assert "wrong 4" in told.output
    assert len(rows(made, "consent_profile")) == 1


def test_of_several_consents_a_holding_must_name_one(made: Path) -> None:
    hgr("import", "consents", str(put(made, "c.csv", CONSENTS.replace("C1,D1", "C3,D1"))))
    text = "code,donor,collection,kind,consent\nT7,D1,chb,plasma,C3\n"
    assert hgr("import", "holdings", str(put(made, "t.csv", text))).exit_code == 0
    wanted = {row["code"]: row["id"] for row in rows(made, "consent")}["C3"]
    assert [r["consent_id"] for r in rows(made, "holding") if r["code"] == "T7"] == [wanted]
    told = hgr(
        "import", "holdings", str(put(made, "u.csv", "code,donor,collection,kind\nT8,D1,chb,dna\n"))
    )
    assert told.exit_code == 1
    assert "consent_ambiguous" in (made / "u.csv.bad.csv").read_text("utf-8")
    hgr("import", "holdings", str(put(made, "v.csv", "code,units\nT7,2\n")))
    assert [r["consent_id"] for r in rows(made, "holding") if r["code"] == "T7"] == [wanted]


def test_a_loading_that_was_broken_off_goes_on_where_it_was(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_intake, "BATCH", 10)
    text = "code,sex\n" + "".join(f"N{n},{'female' if n != 7 else 'x'}\n" for n in range(35))
    path = put(made, "long.csv", text)
    kept = intake.load
    times = 0

    def breaks(*arguments: Any, **named: Any) -> intake.Batch:
        nonlocal times
        times += 1
        batch = kept(*arguments, **named)
        if times == 3:
            raise KeyboardInterrupt
        return batch

    monkeypatch.setattr(intake, "load", breaks)
    hgr("import", "donors", str(path))
    assert len(rows(made, "donor")) == 3 + 19, (
        "two batches, but for a wrong row; nothing of the third"
    )
    monkeypatch.setattr(intake, "load", kept)
    told = hgr("import", "donors", str(path))
    assert told.exit_code == 0, told.output
    assert "added 15" in told.output
    assert len(rows(made, "donor")) == 3 + 34
    assert kinds(made)[-6:] == ["intake.begun", *["intake.batch"] * 4, "intake.done"]
    assert "7" in (made / "long.csv.bad.csv").read_text("utf-8")


def test_a_file_that_another_process_has_just_begun_is_begun_once(made: Path) -> None:
    bank = open_bank(settings_in(made))
    kind, now = KINDS["donors"], bank.now()
    first, second = (
        bank.database.write(lambda conn: intake.begin(conn, kind, "aa", "", now=now)) for _ in "12"
    )
    bank.database.close()
    assert first == second


def test_withdrawals_cut_down_what_was_granted(filled: Path) -> None:
    from tests.gateway.conftest import SettableClock
    from tests.gateway.test_acts import AGGREGATE, create

    bank = open_bank(settings_in(filled), SettableClock())
    answer = create(bank, AGGREGATE)
    with bank.database.read() as conn:
        item = metadata.tables["grant_item"]
        donors = metadata.tables["donor"]
        query = sa.select(donors.c.code).join(item, item.c.donor_id == donors.c.id)
        code = conn.execute(query.where(item.c.grant_id == answer.grant_id)).scalars().first()
    bank.database.close()
    text = f"donor,scope,channel\n{code},everything,letter\nD0,everything,letter\n{code},study,letter\n"
    path = put(filled, "left.csv", text)
    told = hgr("import", "withdrawals", str(path))
    assert told.exit_code == 1, told.output
    assert "added 1" in told.output
    assert "wrong 2" in told.output
    assert "grant.shrunk" in kinds(filled)
    again = hgr(
        "import", "withdrawals", str(put(filled, "again.csv", f"donor,scope\n{code},everything\n"))
    )
    assert "same 1" in again.output
    bank = open_bank(settings_in(filled))
    with bank.database.read() as conn:
        assert ledger.differences(conn) == []
    bank.database.close()


def test_a_cell_is_never_a_formula_in_the_file_of_wrong_rows(tmp_path: Path) -> None:
    bad = BadRows(path=tmp_path / "bad.csv", goes_on=False)
    bad.write([Bad(line=2, row="=1+1", column="code", code="not_a_code", zh="不", en="no")])
    assert "\n2,'=1+1,code" in (tmp_path / "bad.csv").read_text("utf-8").replace("\r\n", "\n")


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(sorted(KINDS["holdings"].columns)),
        st.one_of(
            st.text(max_size=20), st.booleans(), st.integers(), st.none(), st.lists(st.text())
        ),
    )
)
def test_whatever_a_cell_holds_it_is_read_or_named(said: dict[str, Any]) -> None:
    found = read_row(KINDS["holdings"], 7, said)
    if isinstance(found, Row):
        assert found.cells.keys() == said.keys()
        assert found.cells["code"]
    else:
        assert found
        assert all(one.line == 7 and one.code and one.zh and one.en for one in found)


# ---- an invented bank ----------------------------------------------------------------------------

GENERATED = ("collections", "forms", "donors", "consents", "holdings", "withdrawals")


def test_an_invented_bank_is_the_same_for_a_seed_and_loads_without_a_wrong_row(
    folder: Path,
) -> None:
    assert hgr(*INIT).exit_code == 0
    for name, seed in (("one", "7"), ("again", "7"), ("other", "8")):
        told = hgr("generate", str(folder / name), "--donors", "400", "--seed", seed)
        assert told.exit_code == 0, told.output
    for kind in GENERATED:
        one, again, other = (
            (folder / name / f"{kind}.csv").read_bytes() for name in ("one", "again", "other")
        )
        assert one == again
        assert (one == other) is (kind in {"collections", "forms"})
        loaded = hgr("import", kind, str(folder / "one" / f"{kind}.csv"))
        assert loaded.exit_code == 0, loaded.output
    donors, held = rows(folder, "donor"), rows(folder, "holding")
    assert len(donors) == 400
    assert {row["kind"] for row in held} > {"plasma", "genome", "clinical"}
    assert all(row["consent_id"] for row in held)
    assert any(row["kept"] for row in held)
    assert any(row["pedigree"] for row in donors)
    assert len(rows(folder, "consent_profile")) > 10
    assert rows(folder, "withdrawal")


def test_a_donor_is_the_same_however_many_there_are(folder: Path) -> None:
    for many in ("100", "120"):  # as many sites
        hgr("generate", str(folder / many), "--donors", many)
    few, more = ((folder / n / "donors.csv").read_text("utf-8") for n in ("100", "120"))
    assert more.startswith(few)


def test_nothing_is_written_over(folder: Path) -> None:
    put(folder, "holdings.csv", "mine")
    told = hgr("generate", str(folder), "--donors", "10")
    assert told.exit_code == 2
    assert (folder / "holdings.csv").read_text("utf-8") == "mine"


def test_what_the_ticks_of_an_invented_bank_mean_can_be_signed(filled: Path) -> None:
    from gateway import generate
    from gateway.registry import consents

    for ticks in generate.PROFILES:
        profile = consents.profile_from(generate.MEANING, tuple(sorted(ticks.split(";"))))
        assert profile.mapped, ticks
    bank = open_bank(settings_in(filled))
    form = metadata.tables["consent_form"].c.id
    bank.database.write(
        lambda conn: consents.propose_mapping(
            conn,
            str(conn.execute(sa.select(form)).scalars().first()),
            generate.MEANING,
            person_id="psn_1",
            now=bank.now(),
        )
    )
    bank.database.close()
