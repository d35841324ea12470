"""The cohort index says what the rows say: every cohort counted both ways, whatever happened in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from gateway.bank import Bank, bump, facts_version, open_bank
from gateway.deciding import prepare
from gateway.errors import ProblemError
from gateway.registry import consents, naming
from gateway.registry.ask import CohortAsked
from gateway.registry.index.kept import Index
from gateway.registry.index.rows import age_on
from gateway.registry.index.there import There
from gateway.tables import metadata
from tests.gateway.conftest import START, SettableClock, settings_in
from tests.gateway.registry.asks import FOREIGN
from tests.gateway.registry.test_facts import ALL_KINDS, HOSPITAL, UNIVERSITY, gather, items
from tests.store import copy_bank

DONOR, CONSENT, HOLDING, COLLECTION = (
    metadata.tables[name] for name in ("donor", "consent", "holding", "collection")
)
KINDS = [*ALL_KINDS]


def rows_only(bank: Bank) -> Bank:
    """The same bank to whoever has no index: everything is read from the rows."""
    return replace(bank, index=Index())


def both(conn: Connection, bank: Bank, cohort: dict[str, Any], **how: Any) -> None:
    """One cohort counted with the index and from the rows: the same question, the same holdings."""
    kinds, each = how.pop("kinds", KINDS), how.pop("units_each", 1)
    picks = how.pop("picks", True)
    asked = {"items": {"kinds": kinds, "cohort": cohort, "units_each": each}}
    found, read = (gather(conn, one, asked, **how) for one in (bank, rows_only(bank)))
    assert found.cohort.found is not None  # it was the index that spoke
    assert read.cohort.found is None
    assert found.question == read.question
    assert found.rests_on == read.rests_on
    for strata in (list(found.cohort.strata), list(found.cohort.strata)[::2]) if picks else ():
        assert found.cohort.select(conn, strata) == read.cohort.select(conn, strata)


@pytest.fixture
def indexed(bank: Bank) -> Bank:
    """A bank with more in it than the demo world has, and its index."""
    bank.database.write(_more)
    bank.open_index()
    return bank


def _more(conn: Connection) -> None:
    """What a register may hold: little known, several consents, very many tubes, days still to come."""
    first = conn.execute(sa.select(HOLDING, CONSENT.c.profile_id).join(CONSENT)).mappings().first()
    assert first is not None
    elsewhere = conn.execute(
        sa.select(COLLECTION.c.id).where(COLLECTION.c.id != first["collection_id"])
    ).scalars().first()  # fmt: skip

    def donor(name: str, **said: Any) -> str:
        conn.execute(sa.insert(DONOR).values(id=name, code=name.upper(), created_at=START, **said))
        return name

    def consent(name: str, donor_id: str, where: str, **said: Any) -> str:
        signed = {"signed_on": date(2020, 1, 1), "by_guardian": False, "recorded_at": START} | said
        conn.execute(
            sa.insert(CONSENT).values(
                id=name, donor_id=donor_id, collection_id=where,
                profile_id=first["profile_id"], **signed,
            )
        )  # fmt: skip
        return name

    def holding(name: str, donor_id: str, consent_id: str | None, where: str, **said: Any) -> None:
        values = {
            "kind": "plasma", "item_class": "material", "units": 3, "available": True, "kept": 0,
            "reserved": 0,
        } | said  # fmt: skip
        conn.execute(
            sa.insert(HOLDING).values(
                id=name, code=name.upper(), donor_id=donor_id, consent_id=consent_id,
                collection_id=where, **values,
            )
        )  # fmt: skip

    here = first["collection_id"]
    nobody = donor("ix_unknown")
    holding("ix_u1", nobody, None, here)
    holding("ix_u2", nobody, None, here, item_class=None, kind="clinical", units=1)
    twice = donor("ix_twice", sex="female", born=date(1980, 2, 29), chinese=True)
    for number, where in enumerate((here, elsewhere, here)):
        agreed = consent(f"ix_c{number}", twice, where, expires_on=date(2026, 12, number + 1))
        holding(f"ix_t{number}", twice, agreed, where, collected_on=date(2021, 2, 28))
    holding("ix_t9", twice, None, elsewhere, kind="genome", item_class="information", units=1)
    many = donor("ix_many", sex="male", born=date(2008, 11, 23), chinese=True, pedigree=True)
    agreed = consent("ix_cm", many, here, by_guardian=True, reconsented_on=date(2026, 11, 25))
    for number in range(150):
        holding(
            f"ix_m{number:03}", many, agreed, here, units=number % 5, kept=number % 2,
            collected_on=date(2019, 6, 30) + timedelta(days=number % 3), contains_cells=number % 7 == 0,
        )  # fmt: skip
    dying = donor("ix_dying", sex="female", born=date(1950, 1, 1), deceased_on=date(2026, 11, 24))
    holding("ix_d1", dying, consent("ix_cd", dying, here), here, available=False)
    holding("ix_d2", dying, "ix_cd", here, collected_abroad=True)
    bump(conn)


# ---- what is asked for ---------------------------------------------------------------------------


def _cohorts() -> st.SearchStrategy[dict[str, Any]]:
    def some(values: list[str]) -> st.SearchStrategy[list[str]]:
        return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)

    def spans(first: int, last: int) -> st.SearchStrategy[dict[str, int]]:
        number = st.integers(first, last)
        return st.fixed_dictionaries({}, optional={"first": number, "last": number}).filter(
            lambda span: span.get("first", 0) <= span.get("last", 9999)
        )

    leaf = st.fixed_dictionaries(
        {},
        optional={
            "collections": some(["col_chb", "col_chs", "col_acb"]),
            "sex": st.sampled_from(["female", "male"]),
            "disease": st.sampled_from(["DOID:162", "DOID:9351"]),
            "kinds": some(KINDS),
            "data_classes": some(["genome", "exome", "clinical"]),
            "collected": spans(2015, 2026),
            "age": spans(0, 90),
            "flags": some(
                ["contains_cells", "extracted_nucleic_acid", "collected_abroad", "pedigree"]
            ),
        },
    )
    inner = st.one_of(
        leaf, some(["IX_MANY", "IX_T1", "IX_U2", "IX_M007"]).map(lambda listed: {"samples": listed})
    )
    part = st.lists(inner, min_size=1, max_size=3)
    nested = dict.fromkeys(("any_of", "all_of", "none_of"), part)
    deep = st.fixed_dictionaries({}, optional={"none_of": part, "any_of": part})
    return st.tuples(
        leaf,
        st.fixed_dictionaries(
            {}, optional=nested | {"all_of": st.lists(deep, min_size=1, max_size=2)}
        ),
    ).map(lambda both_: both_[0] | both_[1])


@pytest.fixture(scope="module")
def standing(
    filled_bank: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bank]:
    """One bank for many questions that change nothing."""
    folder = tmp_path_factory.mktemp("index") / "bank"
    copy_bank(filled_bank[0], folder)
    bank = open_bank(settings_in(folder), SettableClock())
    bank.database.write(_more)
    bank.open_index()
    yield bank
    bank.database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cohort=_cohorts(),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
    each=st.sampled_from([1, 4]),
)
def test_any_cohort_is_the_same_both_ways(
    standing: Bank, cohort: dict[str, Any], kinds: list[str], each: int
) -> None:
    with standing.database.read() as conn:
        both(conn, standing, cohort, kinds=kinds, units_each=each)


def test_the_whole_bank_and_nothing(indexed: Bank) -> None:
    with indexed.database.read() as conn:
        both(conn, indexed, {})
        both(conn, indexed, {}, kinds=["blood_cells"])
        both(conn, indexed, {"collected": {"last": 1900}})
        both(conn, indexed, {}, of=FOREIGN, party=UNIVERSITY)


@pytest.mark.parametrize(
    ("cohort", "code", "pointer"),
    [
        ({"any_of": [{"collections": ["nowhere"]}]}, "unknown_term", "any_of/0/collections/0"),
        ({"none_of": [{"disease": "DOID:0"}]}, "unknown_term", "none_of/0/disease"),
        ({"all_of": [{"samples": ["nobody"]}]}, "unknown_sample", "all_of/0/samples/0"),
        ({"any_of": [{"any_of": [{}] * 20}] * 6}, "invalid_request", "any_of/4/any_of/14"),
    ],
)
def test_whatever_nobody_knows_is_pointed_at(bank: Bank, cohort, code, pointer) -> None:
    with bank.database.read() as conn, pytest.raises(ProblemError) as error:
        gather(conn, bank, items(["plasma"], **cohort))
    assert error.value.code == code
    assert error.value.errors[0].pointer == f"/items/cohort/{pointer}"


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        CohortAsked.model_validate({"age": {"first": 60, "last": 40}})


def test_no_deeper_than_said(bank: Bank) -> None:
    cohort: dict[str, Any] = {"sex": "female"}
    for _ in range(naming.DEEP):
        cohort = {"all_of": [cohort]}
    with bank.database.read() as conn, pytest.raises(ProblemError) as error:
        gather(conn, bank, items(["plasma"], **cohort))
    assert error.value.code == "invalid_request"


def test_age_is_counted_alike_in_both(standing: Bank) -> None:
    """29 February, and the day before and on a birthday."""
    with standing.database.read() as conn:
        condition = naming.Naming(
            conn, standing.diseases, standing.remembered.at(conn, 0)
        ).condition(CohortAsked.model_validate({"age": {"first": 40, "last": 40}}), "")
        found = conn.execute(sa.select(HOLDING.c.id).where(naming.where(condition))).scalars()
        held = conn.execute(
            sa.select(HOLDING.c.id, HOLDING.c.collected_on, DONOR.c.born).join(DONOR)
        )
        expected = {
            row.id
            for row in held
            if row.born and row.collected_on and age_on(row.born, row.collected_on) == 40
        }
        assert set(found) == expected
        assert {"ix_t0", "ix_t2"} <= expected


# ---- what happens --------------------------------------------------------------------------------


def _withdraw(conn: Connection, donor_id: str, scope: str = "everything", **said: Any) -> None:
    consents.record_withdrawal(
        conn, donor_id, scope, channel="letter", person_id="psn_a", now=START,
        effective_at=said.pop("effective_at", START), **said,
    )  # fmt: skip


def test_whatever_changes_is_counted_in_the_next_question(
    indexed: Bank, clock: SettableClock
) -> None:
    with indexed.database.read() as conn:
        donors = sorted(conn.execute(sa.select(HOLDING.c.donor_id).distinct()).scalars())
        project = conn.execute(sa.select(metadata.tables["project"].c.id)).scalars().first()

    def tubes(conn: Connection) -> None:
        mine = HOLDING.c.donor_id == donors[3]
        conn.execute(sa.update(HOLDING).where(mine).values(reserved=HOLDING.c.units))
        bump(conn, [donors[3]])

    steps = [
        lambda conn: _withdraw(conn, donors[0]),
        lambda conn: _withdraw(conn, donors[1], "data"),
        lambda conn: _withdraw(conn, "ix_twice", "study", project_id=project),
        lambda conn: _withdraw(conn, donors[2], effective_at=START + timedelta(days=1)),
        tubes,
        bump,
    ]
    for step in steps:
        indexed.database.write(step)
        with indexed.database.read() as conn:
            both(conn, indexed, {})
            both(conn, indexed, {"sex": "female"}, kinds=["plasma"], units_each=3)
    for _ in range(5):  # births, deaths, ends of consents, a withdrawal yet to come
        clock.advance(days=1)
        with indexed.database.read() as conn:
            both(conn, indexed, {})
    clock.advance(days=-2)  # set back
    with indexed.database.read() as conn:
        both(conn, indexed, {})
    clock.advance(days=-9)  # behind all that it has seen: it says nothing
    with indexed.database.read() as conn:
        assert gather(conn, indexed, items(KINDS)).cohort.found is None


def test_what_a_write_has_not_committed_is_counted_in_it_and_nowhere_else(indexed: Bank) -> None:
    class NotMeantError(Exception):
        pass

    def unit(conn: Connection) -> None:
        _withdraw(conn, "ix_many")
        both(conn, indexed, {})
        both(conn, indexed, {"flags": ["pedigree"]}, kinds=["plasma"])
        raise NotMeantError

    with pytest.raises(NotMeantError):
        indexed.database.write(unit)
    # Another write now makes the very version that was never committed.
    indexed.database.write(lambda conn: _withdraw(conn, "ix_dying"))
    with indexed.database.read() as conn:
        both(conn, indexed, {})


def test_whoever_began_before_sees_what_was_so_before(indexed: Bank) -> None:
    """An older snapshot beside an index that has gone on: it is told of whom."""
    with indexed.database.read() as old:
        before = facts_version(old)
        indexed.database.write(lambda conn: _withdraw(conn, "ix_twice"))
        with indexed.database.read() as new:
            both(new, indexed, {})
        assert facts_version(old) == before
        both(old, indexed, {})


def test_an_index_far_ahead_says_nothing(indexed: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.registry.index.kept._SEEN", 1)
    with indexed.database.read() as old:
        facts_version(old)
        for donor in ("ix_twice", "ix_many"):
            indexed.database.write(lambda conn, donor=donor: _withdraw(conn, donor))
            with indexed.database.read() as new:
                gather(new, indexed, items(KINDS))
        assert gather(old, indexed, items(KINDS)).cohort.found is None


def test_a_row_that_is_another_by_now_is_not_picked(indexed: Bank) -> None:
    """Nothing goes out on the index alone: the rows are read again, and must be what was counted."""

    def unit(conn: Connection) -> None:
        counted = gather(conn, indexed, items(["plasma"])).cohort
        conn.execute(  # by somebody who says nothing of it
            sa.update(HOLDING).where(HOLDING.c.id == "ix_t0").values(available=False)
        )
        counted.select(conn, counted.strata)

    with pytest.raises(ProblemError) as error:
        indexed.database.write(unit)
    assert error.value.code == "decision_failed"


def test_what_was_counted_before_the_index_went_on_is_not_picked(indexed: Bank) -> None:
    with indexed.database.read() as conn:
        counted = gather(conn, indexed, items(["plasma"])).cohort
    indexed.database.write(lambda conn: _withdraw(conn, "ix_twice"))
    with indexed.database.read() as conn:
        gather(conn, indexed, items(["plasma"]))
        with pytest.raises(ProblemError) as error:
            counted.select(conn, counted.strata)
    assert error.value.code == "decision_failed"


def test_many_read_while_others_write(indexed: Bank) -> None:
    """Readers of different snapshots and a writer at once: each sees its own."""
    with indexed.database.read() as conn:
        donors = sorted(conn.execute(sa.select(HOLDING.c.donor_id).distinct()).scalars())[:24]
    wrong: list[BaseException] = []
    done = threading.Event()

    def reads() -> None:
        try:
            while not done.is_set():
                with indexed.database.read() as conn:
                    both(conn, indexed, {"sex": "female"}, kinds=["plasma", "genome"], picks=False)
        except BaseException as error:  # noqa: BLE001 - told by the test below
            wrong.append(error)

    readers = [threading.Thread(target=reads) for _ in range(3)]
    for reader in readers:
        reader.start()
    for donor in donors:
        indexed.database.write(lambda conn, donor=donor: _withdraw(conn, donor))
    done.set()
    for reader in readers:
        reader.join()
    assert [repr(one)[:2000] for one in wrong] == []


# ---- as it is kept -------------------------------------------------------------------------------


def opened_again(bank: Bank) -> Bank:
    again = replace(bank, index=Index())
    again.open_index()
    return again


def counts_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many donors were read anew, by each reading."""
    read: list[int] = []
    true = There.read

    def counting(self: There, every: Any, progress: Any = lambda _: None) -> None:
        before = [*every]
        read.append(len(before))
        true(self, before, progress)

    monkeypatch.setattr(There, "read", counting)
    return read


def test_it_is_opened_from_its_file_and_caught_up(
    indexed: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed.database.write(lambda conn: _withdraw(conn, "ix_twice"))
    read = counts_rows(monkeypatch)
    again = opened_again(indexed)
    with indexed.database.read() as conn:
        both(conn, again, {})
    assert read == [1]
    assert indexed.index_file.stat().st_mode & 0o077 == 0
    again.index.keep(indexed.database, indexed.origin, indexed.index_file)
    with indexed.database.read() as conn:
        both(conn, opened_again(indexed), {"sex": "female"})
    assert read == [1]


def test_nothing_is_noted_before_there_is_an_index(bank: Bank) -> None:
    changes = metadata.tables["donor_change"]

    def noted() -> int:
        with bank.database.read() as conn:
            return int(conn.execute(sa.select(sa.func.count()).select_from(changes)).scalar_one())

    bank.database.write(lambda conn: bump(conn, ["dnr_a", "dnr_b"]))
    assert noted() == 0
    bank.open_index()
    bank.database.write(lambda conn: bump(conn, ["dnr_a", "dnr_b"]))
    bank.database.write(lambda conn: bump(conn, ["dnr_a"]))
    assert noted() == 2


@pytest.mark.parametrize("spoil", ["cut", "flip", "layout", "other"])
def test_a_file_that_is_not_whole_or_not_ours_is_made_anew(
    indexed: Bank, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    file = indexed.index_file
    content = bytearray(file.read_bytes())
    if spoil == "cut":
        content = content[:-40]
    elif spoil == "flip":
        content[len(content) // 2] ^= 1
    file.write_bytes(content)
    if spoil == "layout":
        monkeypatch.setattr("gateway.registry.index.kept.LAYOUT", 2)
    read = counts_rows(monkeypatch)
    again = replace(indexed, index=Index())
    if spoil == "other":
        again.index.open(indexed.database, indexed.origin, file.with_name("x"), indexed.today())
    else:
        again.open_index()
    assert len(read) == 1
    assert read[0] > 100
    with indexed.database.read() as conn:
        both(conn, again, {})


def test_an_index_of_another_past_is_made_anew(
    indexed: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bank restored to an older state comes to the same versions by other facts: the log tells."""
    monkeypatch.setattr("gateway.registry.index.kept.root_at", lambda *_: b"another")
    read = counts_rows(monkeypatch)
    opened_again(indexed)
    assert len(read) == 1


def test_the_writer_goes_on_while_an_index_is_made(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer asks whether there is an index; whoever makes one waits for the writer: not both."""
    read, begun, go_on = There.read, threading.Event(), threading.Event()

    def waits(self: There, *how: Any) -> None:
        begun.set()
        assert go_on.wait(30)
        read(self, *how)

    monkeypatch.setattr(There, "read", waits)
    making = threading.Thread(target=bank.open_index)
    making.start()
    assert begun.wait(30)
    found = bank.database.submit(lambda conn: gather(conn, bank, items(KINDS)).cohort.found)
    assert found.result(timeout=30) is None
    bank.database.submit(lambda conn: _withdraw(conn, _somebody(conn))).result(timeout=30)
    go_on.set()
    making.join()
    with bank.database.read() as conn:
        both(conn, bank, {})


def _somebody(conn: Connection) -> str:
    return str(conn.execute(sa.select(HOLDING.c.donor_id).limit(1)).scalar_one())


def test_progress_is_told(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.registry.index.there._TOLD", 10)
    told: list[int] = []
    bank.open_index(told.append)
    assert told[:3] == [10, 20, 30]


def test_a_reading_that_breaks_off_leaves_no_index(
    indexed: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a change is worse than none: it is made anew, and until then the rows are read."""
    indexed.database.write(lambda conn: _withdraw(conn, "ix_twice"))

    def breaks(self: There, *_: Any) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(There, "read", breaks)
        with indexed.database.read() as conn, pytest.raises(OSError, match="disk"):
            gather(conn, indexed, items(KINDS))
    assert not indexed.index.is_open
    with indexed.database.read() as conn:
        assert gather(conn, indexed, items(KINDS)).cohort.found is None
    indexed.open_index()
    with indexed.database.read() as conn:
        both(conn, indexed, {})


def test_a_grant_is_made_of_what_the_index_found(indexed: Bank) -> None:
    """What a decision selects with the index is what it selects from the rows, holding by holding."""
    from tests.gateway.registry.asks import ask

    asked = ask(items(["plasma"]))
    with indexed.database.read() as conn:
        found, read = (prepare(conn, one, asked, HOSPITAL) for one in (indexed, rows_only(indexed)))
        picked = [
            one.gathered.cohort.select(conn, one.decision.selection.strata) for one in (found, read)
        ]
    assert found.decision == read.decision
    assert picked[0] == picked[1]
    assert found.gathered.draws == read.gathered.draws
