"""Generations of the law: two people, kept to the byte, grants decided again, the running packs stay."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from audit import log
from gateway import deciding, pep, standing
from gateway.bank import Bank, bump, open_bank
from gateway.errors import ProblemError, SettingsError
from gateway.registry import generations
from gateway.release import grants
from gateway.reports import exports, reading
from gateway.tables import metadata
from policies import packs, pdp
from policies.document import DocumentError
from tests.gateway.conftest import settings_in
from tests.gateway.test_acts import (
    AGGREGATE,
    HOSPITAL,
    LI,
    WANG,
    create,
    kinds,
    release,
    run,
    whole,
)
from tests.store import opened, unguard

#: An edition of the institution's own that refuses every aggregate: nothing like it is law.
REFUSES = """\
pack: institution
in_force: 2026-11-01
title: {zh: 虚构机构规则, en: an invented rule of the institution}
link: https://bank.example/rules
rules:
  - id: no-aggregates-at-all
    no: INST-99
    level: request
    effect: deny
    says: {zh: 本机构暂停提供汇总结果, en: the institution gives no aggregates for now}
    fix: {zh: 不能补正, en: it cannot be mended}
    cite: [{law: Institution, article: "1", zh: 虚构规定第一条, en: invented rule 1}]
    confidence: {content: high, article: high}
    owner: bank
    when: {fact: request.outputs, within: [aggregate]}
"""
CASES = """\
cases:
  - {name: aggregates are asked for, rule: no-aggregates-at-all, as_of: 2026-11-22, facts: {request.outputs: [aggregate]}, expect: holds}
  - {name: data are asked for, rule: no-aggregates-at-all, as_of: 2026-11-22, facts: {request.outputs: [individual]}, expect: does_not_hold}
  - {name: nobody said, rule: no-aggregates-at-all, as_of: 2026-11-22, facts: {}, expect: unknown}
"""


def files(**changed: bytes | None) -> dict[str, bytes]:
    """The shipped packs with the refusing edition, and with some files changed or (None) gone."""
    all_ = {
        **generations.shipped_files(),
        "institution/2026-11-01.yaml": REFUSES.encode(),
        "institution/2026-11-01.cases.yaml": CASES.encode(),
        **changed,
    }
    return {path: content for path, content in all_.items() if content is not None}


def checked(**changed: bytes | None) -> generations.Checked:
    return generations.Checked(files=files(**changed))


def propose(bank: Bank, what: generations.Checked | None = None, by: Any = LI) -> Any:
    return bank.database.write(
        lambda conn: generations.propose(
            conn,
            what or checked(),
            reason="the board has so decided",
            person_id=by.id,
            now=bank.now(),
        )
    )


def activate(bank: Bank, generation_id: str, by: Any = WANG) -> pep.Activated:
    return run(lambda reply: pep.activate_law(bank, by, generation_id, reply=reply), by)


def test_the_invented_edition_is_a_good_one() -> None:
    assert generations.checked(files()).files == files()


def test_a_new_bank_decides_by_the_shipped_packs(bank: Bank) -> None:
    with bank.database.read() as conn:
        (made,) = generations.listed(conn)
        assert (made.id, bank.law) == (generations.active_id(conn), generations.shipped_law())
        assert generations.contents(conn, made) == dict(generations.shipped_files())
        assert generations.differing(conn) == ()
        assert generations.has_one(conn)
    assert made.proposed_by == generations.PRODUCT


def test_one_person_activates_nothing(bank: Bank) -> None:
    made = propose(bank)
    assert create(bank, AGGREGATE).decision.outcome == "permit"
    with pytest.raises(ProblemError) as refused:
        activate(bank, made.id, LI)
    assert refused.value.code == "same_person"
    assert create(bank, AGGREGATE).decision.outcome == "permit"


def test_what_no_longer_stands_is_suspended_and_both_generations_of_the_decision_stay(
    bank: Bank,
) -> None:
    granted = create(bank, AGGREGATE)
    before = generations.shipped_law()
    made = propose(bank)

    done = activate(bank, made.id)

    (grant,) = done.reach.grants
    assert (grant.grant_id, grant.state, grant.outcome) == (granted.grant_id, "suspended", "deny")
    assert kinds(bank)[-3:] == ["law.activated", "decision", "grant.suspended"]
    old = deciding.read_decision(bank, granted.decision_id, party_id=None).decision
    new = deciding.read_decision(bank, grant.decision_id, party_id=None).decision
    assert (old.outcome, new.outcome) == ("permit", "deny")
    assert "packs/institution/2026-11-01.yaml" in set(new.digests) - set(old.digests)
    said = {f.rule: f.says["en"] for f in new.findings}
    assert said["no-aggregates-at-all"] == "the institution gives no aggregates for now"
    assert bank.law is not before
    assert create(bank, AGGREGATE).decision.outcome == "deny"
    with pytest.raises(ProblemError, match="suspended"):
        release(bank, granted.grant_id)
    with pytest.raises(ProblemError) as refused:
        activate(bank, made.id)
    assert refused.value.code == "already_done"
    whole(bank)


def test_a_grant_that_stands_under_the_new_packs_goes_on(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    more = b"# nothing else\nchecked: []\n"
    made = propose(
        bank, generations.Checked(files={**generations.shipped_files(), "checked.yaml": more})
    )
    (grant,) = activate(bank, made.id).reach.grants
    assert (grant.state, grant.outcome, grant.removed) == ("active", "permit", 0)
    with bank.database.read() as conn:
        assert grants.get(conn, granted.grant_id).state == "active"


def test_the_packs_in_force_survive_a_restart_and_those_on_disk_do_not_decide(
    bank: Bank, tmp_path: Path
) -> None:
    activate(bank, propose(bank).id)
    bank.database.close()
    again = open_bank(settings_in(tmp_path / "bank"), bank.clock)
    try:
        assert create(again, AGGREGATE).decision.outcome == "deny"
        with again.database.read() as conn:
            assert generations.differing(conn) == (
                "institution/2026-11-01.cases.yaml",
                "institution/2026-11-01.yaml",
            )
    finally:
        again.database.close()


EDITION = "institution/2019-07-01.yaml"


@pytest.mark.parametrize(
    ("content", "said"), [(b"# other\n", "cannot be changed"), (None, "cannot be dropped")]
)
def test_an_edition_that_was_activated_is_not_changed_and_the_running_packs_stay(
    bank: Bank, content: bytes | None, said: str
) -> None:
    shipped = generations.shipped_files()
    changed = None if content is None else shipped[EDITION] + content
    with pytest.raises(ProblemError) as refused:
        propose(bank, checked(**{EDITION: changed}))
    (error,) = refused.value.errors
    assert (error.pointer, said in error.detail) == (f"/files/{EDITION}", True)
    assert "those in force stay" in refused.value.detail
    assert create(bank, AGGREGATE).decision.outcome == "permit"


def test_a_proposal_that_another_overtook_is_looked_at_again(bank: Bank) -> None:
    """It was made over packs without the edition that has come into force meanwhile."""
    more = b"# nothing else\nchecked: []\n"
    old = propose(
        bank, generations.Checked(files={**generations.shipped_files(), "checked.yaml": more})
    )
    activate(bank, propose(bank).id)
    with pytest.raises(ProblemError) as refused:
        activate(bank, old.id)
    assert [one.pointer for one in refused.value.errors] == ["/files/institution/2026-11-01.yaml"]


def test_the_same_packs_are_not_proposed_twice(bank: Bank) -> None:
    for what, said in (
        (generations.Checked(files=generations.shipped_files()), "is in force"),
        (None, "waits for its second person"),
    ):
        if what is None:
            propose(bank)
        with pytest.raises(ProblemError, match=said):
            propose(bank, what)
    with bank.database.read() as conn, pytest.raises(ProblemError) as refused:
        generations.read(conn, "gen_none")
    assert refused.value.code == "not_found"


def test_every_mistake_in_proposed_packs_is_named() -> None:
    bad = REFUSES.replace("effect: deny", "effect: perhaps").encode()
    with pytest.raises(ProblemError) as refused:
        generations.checked(files(**{"institution/2026-11-01.yaml": bad, "odd.yaml": b"a: 1\n"}))
    assert refused.value.code == "invalid_request"
    assert any(
        one.pointer == "/files/institution/2026-11-01.yaml"
        and "line 9, rules.0.effect" in one.detail
        for one in refused.value.errors
    ), refused.value.errors


@pytest.mark.parametrize("what", ["a file", "a file's absence", "the list"])
def test_packs_changed_behind_the_gateway_do_not_open_the_bank(
    bank: Bank, tmp_path: Path, what: str
) -> None:
    file, made = metadata.tables["law_file"], metadata.tables["law_generation"]
    digest = sha256(generations.shipped_files()[EDITION]).hexdigest()
    change: Any = {
        "a file": sa.update(file).where(file.c.digest == digest).values(content=b"rules: []\n"),
        "a file's absence": sa.delete(file).where(file.c.digest == digest),
        "the list": sa.update(made).values(files={EDITION: digest}),
    }[what]
    with (
        pytest.raises(sa.exc.IntegrityError, match="append-only"),
        opened(bank.settings) as owner,
    ):
        owner.execute(sa.delete(file))
    with opened(bank.settings) as owner:
        unguard(owner, "law_file")
        owner.execute(change)
    bank.database.close()
    said = "was changed since" if what == "the list" else f"`{EDITION}` of generation"
    with pytest.raises(SettingsError, match=said):
        open_bank(settings_in(tmp_path / "bank"))


def test_packs_this_version_cannot_read_are_said_to_be_so(bank: Bank) -> None:
    made = propose(bank, checked(**{"vocabulary.yaml": b"facts: {}\n"}))
    with pytest.raises(SettingsError, match="this version cannot read the packs"):
        activate(bank, made.id)
    assert create(bank, AGGREGATE).decision.outcome == "permit"


def without(name: str) -> dict[str, bytes]:
    """Packs of before a fact was known, for a product that gathers it: the fact, its rules and cases."""
    found: dict[str, bytes] = {}
    for path, content in generations.shipped_files().items():
        rows = re.split(r"(?m)^(?=  - )", content.decode())
        kept = [row for row in rows if name not in row]
        found[path] = "".join(kept).encode()
    return found


def test_packs_from_before_a_fact_was_known_decide_without_it(bank: Bank) -> None:
    """An upgrade gathers more than the packs in force have words for; they go on deciding."""
    name = "bank.annual_report_overdue"
    old = packs.load(packs.folder_of(without(name)))
    assert name not in old.vocabulary.facts
    older = replace(bank, laws=generations.Laws({bank.laws.current: old}, bank.laws.current))
    answer = create(older, AGGREGATE)
    assert answer.decision.outcome == "permit"
    read = deciding.read_decision(older, answer.decision_id, party_id=None)
    assert read.question is not None
    assert name not in read.question.facts
    found = impact(older, bank.law)
    assert found.looked_at == {"decision": 1, "case": 0, "grant": 1}
    (grant,) = [one for one in found.changed if one.kind == "grant"] or [None]
    assert grant is None, "gathered today the fact is known, and stops nothing"


def test_a_migrated_bank_that_adopted_none_says_what_to_do(bank: Bank, tmp_path: Path) -> None:
    table = metadata.tables["bank"]
    bank.database.write(lambda conn: conn.execute(sa.update(table).values(law_generation_id=None)))
    with bank.database.read() as conn:
        assert not generations.has_one(conn)
    bank.database.close()
    with pytest.raises(SettingsError, match="hgr migrate"):
        open_bank(settings_in(tmp_path / "bank"))


def test_an_export_replays_decisions_of_every_generation(bank: Bank) -> None:
    create(bank, AGGREGATE)
    activate(bank, propose(bank).id)
    create(bank, AGGREGATE)
    path = exports.path_of(bank, exports.make(bank, asked_by=HOSPITAL.id))
    results = list(reading.replay(path))
    assert [one.same for one in results] == [True, True, True], results
    with bank.database.read() as conn:
        inside = exports.law_files(bank, conn)
        told = json.loads(inside[exports.GENERATIONS])
        assert [one["id"] for one in told] == [one.id for one in generations.listed(conn)]
    assert "packs/institution/2026-11-01.yaml" in inside
    assert not [name for name in inside if name.startswith(exports.EARLIER)], "nothing was replaced"


def test_files_of_earlier_generations_go_along_under_their_digest(bank: Bank) -> None:
    """`checked.yaml` is part of every decision's digests, and may change from set to set."""
    create(bank, AGGREGATE)
    more = b"# nothing else\nchecked: []\n"
    activate(bank, propose(bank, checked(**{"checked.yaml": more})).id)
    create(bank, AGGREGATE)
    path = exports.path_of(bank, exports.make(bank, asked_by=HOSPITAL.id))
    with bank.database.read() as conn:
        inside = exports.law_files(bank, conn)
    old = sha256(generations.shipped_files()["checked.yaml"]).hexdigest()
    assert inside["packs/checked.yaml"] == more
    assert inside[f"law/files/{old}.yaml"] == generations.shipped_files()["checked.yaml"]
    assert all(one.same for one in reading.replay(path))


def test_a_changed_file_in_a_package_is_named_with_the_first_difference(
    bank: Bank,
) -> None:
    create(bank, AGGREGATE)
    law = packs.load(packs.folder_of(files()))
    record = reading._Record(
        index=0, type="decision", time="", outcome="", rules=(), subjects={}, docs=()
    )
    with bank.database.read() as conn:
        row = conn.execute(sa.select(metadata.tables["decision"])).one()
        content = log.document(conn, bytes.fromhex(row.document_sha256))
    one = reading._replayed(record, "00", content, law)
    assert not one.same
    assert one.first == (
        "/digests/packs~1institution~12026-11-01.yaml: - → "
        f'"{sha256(REFUSES.encode()).hexdigest()}"'
    )
    assert {"digests", "findings", "outcome"} <= set(one.differs)


# --- impact ------------------------------------------------------------------------------------------


def impact(bank: Bank, law: Any) -> standing.Impact:
    with bank.database.read() as conn:
        return standing.impact(conn, bank, law)


def test_the_packs_in_force_change_nothing(bank: Bank) -> None:
    create(bank, AGGREGATE)
    create(bank)
    found = impact(bank, bank.law)
    assert found.changed == ()
    assert (found.by_rule, found.by_outcome) == ({}, {})
    assert found.looked_at == {"decision": 2, "case": 1, "grant": 1}


def test_what_a_draft_had_a_say_in_is_shown_by_impact_and_cannot_be_recorded(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    drafted = bank.law.with_drafts()
    found = impact(bank, drafted)
    assert (found.changed, found.looked_at["decision"]) == ((), 1)
    size = len(kinds(bank))
    assert granted.request is not None
    with bank.database.read() as conn:
        prepared = deciding.prepare(conn, bank, granted.request.ask, granted.party_id)
    shown = replace(prepared, decision=pdp.decide(prepared.question, drafted))
    assert shown.decision.outcome == prepared.decision.outcome == "permit"
    with pytest.raises(DocumentError, match="never recorded"):
        bank.database.write(
            lambda conn: deciding.record(conn, bank, HOSPITAL, shown, occasion="evaluation")
        )
    assert len(kinds(bank)) == size


def test_what_other_packs_would_change_is_told_by_rule_and_nothing_is_done(bank: Bank) -> None:
    granted = create(bank, AGGREGATE)
    create(bank)
    size = len(kinds(bank))
    found = impact(bank, packs.load(packs.folder_of(files())))
    assert {(one.kind, one.id, one.before, one.after) for one in found.changed} == {
        ("decision", granted.decision_id, "permit", "deny"),
        ("grant", granted.grant_id, "permit", "deny"),
    }
    assert found.by_rule["INST-99 no-aggregates-at-all"] == {"decision": 1, "grant": 1}
    assert found.by_outcome == {"permit → deny": {"decision": 1, "grant": 1}}
    assert all(one.stops and "outcome" in one.what for one in found.changed)
    assert found.changed[0].people[0] > found.changed[0].people[1] or "selection" not in (
        found.changed[0].what
    )
    assert len(kinds(bank)) == size
    activate(bank, propose(bank).id)
    with bank.database.read() as conn:
        assert grants.get(conn, granted.grant_id).state == "suspended", "as was foretold"


def test_an_obligation_more_is_an_impact_that_stops_nothing(bank: Bank) -> None:
    create(bank, AGGREGATE)
    duty = REFUSES.replace("effect: deny", "effect: oblige\n    obligation: {id: tell-the-board}")
    law = packs.load(packs.folder_of(files(**{"institution/2026-11-01.yaml": duty.encode()})))
    found = impact(bank, law)
    assert {one.what for one in found.changed} == {("obligations",)}
    assert not any(one.stops for one in found.changed)


def test_cases_and_grants_that_cannot_be_decided_any_more_are_named(bank: Bank) -> None:
    granted, waiting = create(bank, AGGREGATE), create(bank)
    researcher = metadata.tables["researcher"]

    def elsewhere(conn: Connection) -> None:
        conn.execute(sa.update(researcher).values(employer_id="pty_cart_jv"))
        bump(conn)

    bank.database.write(elsewhere)
    found = impact(bank, bank.law)
    assert found.undecidable == (waiting.case_id, granted.grant_id)


def test_a_grant_with_nothing_left_and_a_decision_from_before_generations(bank: Bank) -> None:
    answer = create(bank, AGGREGATE)
    item, decision = metadata.tables["grant_item"], metadata.tables["decision"]

    with opened(bank.settings) as owner:
        unguard(owner, "decision")
        owner.execute(sa.update(item).values(removed_at=bank.now(), removed_reason="x"))
        owner.execute(sa.update(decision).values(law_generation_id=None))
    found = impact(bank, bank.law)
    assert (found.changed, found.looked_at) == ((), {"decision": 1, "case": 0, "grant": 0})
    assert (
        deciding.read_decision(bank, answer.decision_id, party_id=None).decision.outcome == "permit"
    )
