"""What ticks mean, by two people; what was taken back, and from what."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import Connection

from gateway.bank import Bank, facts_version
from gateway.errors import ProblemError
from gateway.registry import consents, determinations
from policies.consent import DuoTerm, Term, Told
from tests.gateway.conftest import START

MAPPING = {
    "always": {"told": ["purpose", "use"]},
    "ticks": {
        "gru": {"permissions": ["DUO:0000042"]},
        "ds": {"permissions": ["DUO:0000007"]},
        "mor": {"modifiers": ["DUO:0000024"]},
        "ts": {"modifiers": ["DUO:0000025"]},
        "home": {"modifiers": [{"code": "DUO:0000022", "values": ["CN", "HK"]}]},
        "told": {"told": ["voluntary"]},
        "abroad": {"terms": {"hgr:foreign_sharing": True}},
        "not_abroad": {"terms": {"hgr:foreign_sharing": False}},
    },
}


@pytest.mark.parametrize(
    ("ticks", "permissions", "modifiers"),
    [
        (["gru"], [("DUO:0000042", ())], []),
        (
            ["ds:DOID:162", "ds:DOID:9351"],
            [("DUO:0000007", ("DOID:162", "DOID:9351"))],
            [],
        ),
        (
            ["gru", "mor:2027-01-01", "ts:24"],
            [("DUO:0000042", ())],
            [("DUO:0000024", ("2027-01-01",)), ("DUO:0000025", ("24",))],
        ),
        (["gru", "home"], [("DUO:0000042", ())], [("DUO:0000022", ("CN", "HK"))]),
        ([], [], []),
    ],
)
def test_what_ticks_mean(ticks, permissions, modifiers) -> None:
    profile = consents.profile_from(MAPPING, ticks)
    assert profile.mapped
    assert profile.permissions == tuple(DuoTerm(code=c, values=v) for c, v in permissions)
    assert profile.modifiers == tuple(DuoTerm(code=c, values=v) for c, v in modifiers)
    assert profile.told == {Told.PURPOSE, Told.USE}


def test_terms_not_asked_are_absent_and_contradictions_say_no() -> None:
    assert consents.profile_from(MAPPING, ["gru"]).terms == {}
    assert consents.profile_from(MAPPING, ["abroad"]).terms == {Term.FOREIGN_SHARING: True}
    for both in (["abroad", "not_abroad"], ["not_abroad", "abroad"]):
        assert consents.profile_from(MAPPING, both).terms == {Term.FOREIGN_SHARING: False}


@pytest.mark.parametrize(
    ("name", "mapping", "ticks"),
    [
        ("no mapping", None, ["gru"]),
        ("a tick it does not know", MAPPING, ["gru", "xyz"]),
        ("a value nobody reads", MAPPING, ["gru:CN"]),
        ("a value left out", MAPPING, ["ds"]),
    ],
)
def test_what_is_not_clear_is_unknown(name, mapping, ticks) -> None:
    assert consents.profile_from(mapping, ticks) is consents.UNMAPPED, name


def test_profiles_that_say_the_same_are_one() -> None:
    same = consents.profile_from(MAPPING, ["ts:24", "gru"])
    assert consents.profile_from(MAPPING, ["gru", "ts:24"]) == same
    assert consents.profile_from(MAPPING, ["gru", "ts:12"]).id != same.id
    assert consents.profile_from(MAPPING, ["gru", "told", "ts:24"]).id != same.id


def old_form(conn: Connection) -> consents.Meaning:
    return consents.meanings(conn, ["cpr_acb_0"])["cpr_acb_0"]


def test_a_form_means_nothing_until_two_people_signed(bank: Bank) -> None:
    mapping = {"always": MAPPING["always"], "ticks": {"option_a": {"permissions": ["DUO:0000006"]}}}

    def unit(conn: Connection) -> None:
        assert not old_form(conn).profile.mapped
        proposed = consents.propose_mapping(conn, "frm_acb", mapping, person_id="psn_a", now=START)
        assert not old_form(conn).profile.mapped
        before = facts_version(conn)
        with pytest.raises(ProblemError, match="same_person"):
            consents.confirm_mapping(conn, proposed.id, person_id="psn_a", now=START)
        signed = consents.confirm_mapping(conn, proposed.id, person_id="psn_b", now=START)
        assert (signed.proposed_by, signed.confirmed_by) == ("psn_a", "psn_b")
        assert old_form(conn).profile.permissions == (DuoTerm(code="DUO:0000006"),)
        assert facts_version(conn) > before
        with pytest.raises(ProblemError, match="already_done"):
            consents.confirm_mapping(conn, proposed.id, person_id="psn_c", now=START)

    bank.database.write(unit)


def test_the_mapping_confirmed_last_stands(bank: Bank) -> None:
    def unit(conn: Connection) -> None:
        for hours, code in ((1, "DUO:0000006"), (2, "DUO:0000042")):
            mapping = {"ticks": {"option_a": {"permissions": [code]}}}
            now = START + timedelta(hours=hours)
            proposed = consents.propose_mapping(
                conn, "frm_acb", mapping, person_id="psn_a", now=now
            )
            consents.confirm_mapping(conn, proposed.id, person_id="psn_b", now=now)
        assert old_form(conn).profile.permissions == (DuoTerm(code="DUO:0000042"),)

    bank.database.write(unit)


@pytest.mark.parametrize(
    ("pointer", "mapping"),
    [
        ("", {"sometimes": {}}),
        ("", {"ticks": ["gru"]}),
        ("/always", {"always": {"colour": "red"}}),
        ("/ticks/a", {"ticks": {"a": "gru"}}),
        ("/ticks/a/permissions/0", {"ticks": {"a": {"permissions": ["GRU"]}}}),
        ("/ticks/a/permissions/0", {"ticks": {"a": {"permissions": ["DUO:0000045"]}}}),
        ("/ticks/a/modifiers/0", {"ticks": {"a": {"modifiers": ["DUO:0000042"]}}}),
        ("/ticks/a/modifiers/0", {"ticks": {"a": {"modifiers": [{"values": ["CN"]}]}}}),
        ("/always/told", {"always": {"told": ["everything"]}}),
        ("/always/terms/hgr:unheard", {"always": {"terms": {"hgr:unheard": True}}}),
        (
            "/always/terms/hgr:foreign_sharing",
            {"always": {"terms": {"hgr:foreign_sharing": "yes"}}},
        ),
    ],
)
def test_a_mapping_of_nonsense_is_refused(bank: Bank, pointer, mapping) -> None:
    with pytest.raises(ProblemError) as error:
        bank.database.write(
            lambda conn: consents.propose_mapping(
                conn, "frm_acb", mapping, person_id="psn_a", now=START
            )
        )
    assert error.value.code == "unknown_term"
    assert pointer in {each.pointer for each in error.value.errors}


def test_forms_are_registered_once(bank: Bank) -> None:
    form = {
        "version": "2026-B", "title": "新版", "ethics_paper_id": None, "valid_from": date(2026, 1, 1),
        "valid_to": None, "text_sha256": "0" * 64, "now": START,
    }  # fmt: skip

    def unit(conn: Connection) -> None:
        consents.register_form(conn, collection_id="col_chb", **form)
        with pytest.raises(ProblemError, match="already_done"):
            consents.register_form(conn, collection_id="col_chb", **form)
        with pytest.raises(ProblemError, match="not_found"):
            consents.register_form(conn, collection_id="col_none", **form)
        with pytest.raises(ProblemError, match="not_found"):
            consents.propose_mapping(conn, "frm_none", MAPPING, person_id="psn_a", now=START)
        with pytest.raises(ProblemError, match="not_found"):
            consents.read_mapping(conn, "map_none")

    bank.database.write(unit)


TOUCHES = [
    ("everything", "", "material", True),
    ("everything", "", None, True),
    ("study", "prj_this", "information", True),
    ("study", "prj_that", "information", False),
    ("data", "", "information", True),
    ("data", "", "material", False),
    ("data", "", None, True),
    ("material", "", "material", True),
    ("material", "", "information", False),
    ("material", "", None, True),
    ("contact", "", "material", False),
]


@pytest.mark.parametrize(("scope", "study", "item_class", "expected"), TOUCHES)
def test_what_a_withdrawal_touches(scope, study, item_class, expected) -> None:
    touched = consents.touches(
        scope=scope, withdrawn_project=study, project_id="prj_this", item_class=item_class
    )
    assert touched is expected


@pytest.mark.parametrize(
    ("code", "donor", "scope", "project"),
    [
        ("invalid_request", "dnr_hg00403", "sometimes", None),
        ("invalid_request", "dnr_hg00403", "study", None),
        ("invalid_request", "dnr_hg00403", "data", "prj_hospital_hmb"),
        ("not_found", "dnr_none", "everything", None),
        ("not_found", "dnr_hg00403", "study", "prj_none"),
    ],
)
def test_wrong_withdrawals_are_refused(bank: Bank, code, donor, scope, project) -> None:
    with pytest.raises(ProblemError) as error:
        bank.database.write(
            lambda conn: consents.record_withdrawal(
                conn, donor, scope, project_id=project, channel="信函", person_id="psn_a",
                effective_at=START, now=START,
            )
        )  # fmt: skip
    assert error.value.code == code


def propose(conn: Connection, **changes: object) -> determinations.Determined:
    known: dict[str, object] = {
        "subject_id": "pty_hk_subsidiary", "finding": "party_chinese", "value": True,
        "reason": "内资实际控制，见股东名册", "evidence_sha256": "0" * 64, "expires_on": date(2027, 11, 22),
        "person_id": "psn_a", "now": START,
    }  # fmt: skip
    return determinations.propose(conn, **known | changes)  # type: ignore[arg-type]


def current(conn: Connection, day: date = date(2026, 11, 22)) -> bool | None:
    return determinations.current(conn, "party", "pty_hk_subsidiary", "party_chinese", day)


def test_a_determination_counts_by_two_people_until_it_ends(bank: Bank) -> None:
    def unit(conn: Connection) -> None:
        first = propose(conn)
        assert current(conn) is None
        with pytest.raises(ProblemError, match="same_person"):
            determinations.confirm(conn, first.id, person_id="psn_a", now=START)
        before = facts_version(conn)
        determinations.confirm(conn, first.id, person_id="psn_b", now=START)
        assert facts_version(conn) > before
        assert current(conn) is True
        assert current(conn, date(2027, 11, 22)) is True
        assert current(conn, date(2027, 11, 23)) is None
        with pytest.raises(ProblemError, match="already_done"):
            determinations.confirm(conn, first.id, person_id="psn_c", now=START)
        later = START + timedelta(hours=1)
        second = propose(conn, value=False, now=later)
        determinations.confirm(conn, second.id, person_id="psn_b", now=later)
        assert current(conn) is False, "the one confirmed last stands"
        determinations.revoke(conn, second.id, now=later)
        assert current(conn) is True
        with pytest.raises(ProblemError, match="already_done"):
            determinations.revoke(conn, second.id, now=later)
        third = propose(conn)
        determinations.revoke(conn, third.id, now=later)
        with pytest.raises(ProblemError, match="state_conflict"):
            determinations.confirm(conn, third.id, person_id="psn_b", now=later)
        assert [each.value for each in determinations.about(conn, "pty_hk_subsidiary")].count(
            True
        ) == 2

    bank.database.write(unit)


@pytest.mark.parametrize(
    ("code", "changes"),
    [("unknown_term", {"finding": "party_nice"}), ("not_found", {"subject_id": "pty_none"})],
)
def test_determinations_about_nothing_are_refused(bank: Bank, code, changes) -> None:
    with pytest.raises(ProblemError) as error:
        bank.database.write(lambda conn: propose(conn, **changes))
    assert error.value.code == code
    with bank.database.read() as conn, pytest.raises(ProblemError, match="not_found"):
        determinations.read(conn, "det_none")
