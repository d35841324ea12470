"""What an officer must judge, and what no officer can pass, by effect and result."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gateway.review.dossier import Dossier, blocking, to_dispose
from gateway.review.workflow import Outcome
from policies.decision import (
    Count,
    Decision,
    Deny,
    Effect,
    Finding,
    Hold,
    Owner,
    Permit,
    Refer,
    Result,
    Selection,
)
from policies.findings import SAID
from policies.request import StratumId

SELECTED, OUT = StratumId("s1"), StratumId("s2")
NONE = Count(people=0, items=0, units=0)


def finding(
    rule: str, effect: Effect, result: Result, strata: tuple[StratumId, ...] = ()
) -> Finding:
    return Finding(
        rule=rule, no="R-X-01", pack="p", edition=date(2023, 7, 1), effect=effect, result=result,
        says={"zh": "一", "en": "a"}, fix={"zh": "一", "en": "a"}, cite=(),
        confidence={"content": "high", "article": "high"}, owner=Owner.BANK, strata=strata,
    )  # fmt: skip


BASIS = finding("basis", Effect.PERMIT, Result.HOLDS)


def decided(kind: type[Decision], *findings: Finding) -> Decision:
    selection = Selection(asked=NONE, permitted=NONE, strata=(SELECTED,), excluded=())
    return kind(findings=findings, obligations=(), selection=selection, digests={})


@pytest.mark.parametrize(
    ("effect", "result", "strata", "judged", "blocks"),
    [
        pytest.param("refer", "holds", (), True, False, id="the law leaves it to people"),
        pytest.param("refer", "unknown", (), True, False, id="whether it refers is open"),
        pytest.param("refer", "does_not_hold", (), False, False, id="nothing to judge"),
        pytest.param("refer", "not_applicable", (), False, False, id="not about this"),
        pytest.param("deny", "unknown", (), True, False, id="whether it is prohibited is open"),
        pytest.param("deny", "holds", (), False, True, id="a denial stands"),
        pytest.param("deny", "holds", (OUT,), False, False, id="what it denies is left out"),
        pytest.param("deny", "unknown", (OUT,), False, False, id="open about what is left out"),
        pytest.param("deny", "unknown", (OUT, SELECTED), True, False, id="open about both"),
        pytest.param("require", "holds", (), False, True, id="a missing paper behind a refer"),
        pytest.param("require", "unknown", (), True, False, id="whether a paper is needed is open"),
        pytest.param("oblige", "unknown", (), False, False, id="a duty attaches anyhow"),
        pytest.param("permit", "unknown", (), True, False, id="whether there is a basis is open"),
        pytest.param("permit", "does_not_hold", (), False, False, id="a basis not needed"),
    ],
)
def test_a_refer(
    effect: str, result: str, strata: tuple[StratumId, ...], *, judged: bool, blocks: bool
) -> None:
    decision = decided(Refer, BASIS, finding("x", Effect(effect), Result(result), strata))
    assert to_dispose(decision) == (("x",) if judged else ())
    assert blocking(decision) == (("x",) if blocks else ())


@pytest.mark.parametrize("want", ["no-basis", "no-consent"])
def test_no_officer_supplies_a_legal_basis_or_a_consent(want: str) -> None:
    referred = finding("x", Effect.REFER, Result.HOLDS)
    wanting = replace(SAID[want], strata=(SELECTED,))
    decision = decided(Refer, referred, wanting)
    assert blocking(decision) == (want,)
    assert not dossier(decision).may_be_approved
    is_open = decided(Refer, referred, replace(wanting, result=Result.UNKNOWN))
    assert to_dispose(is_open) == (want, "x")
    assert dossier(is_open).may_be_approved


@pytest.mark.parametrize(
    ("decision", "may"),
    [
        pytest.param(decided(Permit, BASIS), True, id="permit"),
        pytest.param(decided(Refer, BASIS, finding("x", Effect.REFER, Result.HOLDS)), True, id="refer"),
        pytest.param(decided(Hold, BASIS, finding("x", Effect.REQUIRE, Result.HOLDS)), False, id="hold"),
        pytest.param(decided(Deny, BASIS, finding("x", Effect.DENY, Result.HOLDS)), False, id="deny"),
        pytest.param(decided(Deny), False, id="deny that names nothing"),
        pytest.param(decided(Hold), False, id="hold that names nothing"),
    ],
)  # fmt: skip
def test_what_may_be_approved(decision: Decision, *, may: bool) -> None:
    assert dossier(decision).may_be_approved is may


def test_only_a_permit_stands_at_once() -> None:
    permit, refer = decided(Permit, BASIS), decided(Refer, BASIS)
    assert dossier(permit, at_once=True).outcome is Outcome.PERMIT_AT_ONCE
    assert dossier(permit).outcome is Outcome.PERMIT
    assert dossier(refer, at_once=True).outcome is Outcome.REFER


def test_to_and_fro() -> None:
    one = dossier(decided(Refer, BASIS, finding("x", Effect.REFER, Result.HOLDS)))
    assert Dossier.from_data(one.data()) == one


def test_a_dossier_without_parties_would_hide_every_conflict() -> None:
    with pytest.raises(ValueError, match="names the parties"):
        Dossier.of(decided(Permit, BASIS), decision_id="d", document_sha256="", parties=frozenset())


def dossier(decision: Decision, *, at_once: bool = False) -> Dossier:
    return Dossier.of(
        decision,
        decision_id="dec_1",
        document_sha256="ab" * 32,
        parties=frozenset({"pty_asker"}),
        at_once=at_once,
    )
