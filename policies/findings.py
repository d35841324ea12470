"""How much a rule weighs: the people it touches, and those it alone keeps out; told as findings.

The rules it keeps: people are distinct donors. Of a prohibition that takes strata out, `alone` are
the people whom curing only it would bring in: they have something in a stratum that no other rule
takes out, and nothing in the selection. Of what stands against the whole request, `alone` is everyone selected if
nothing else stands against it, and nobody otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date

from policies.decision import Citation, Effect, Finding, Owner, Result
from policies.hearing import Grounds, Hearing, Verdict
from policies.request import StratumId
from policies.rules import Rule

_SPEAKING = frozenset({Result.HOLDS, Result.UNKNOWN})

#: The pack of what `combine` itself says, and the day the Regulations it rests on came into force.
PACK, _EDITION = "pdp", date(2019, 7, 1)  # 国务院令第717号第四十七条
_SURE = {"content": "high", "article": "high"}
_BASIS = tuple(
    Citation(
        law="HGR Regulations",
        article=article,
        zh=f"《人类遗传资源管理条例》{zh}",
        en=f"Regulations on HGR art. {article}",
    )
    for article, zh in (("14", "第十四条"), ("22", "第二十二条"), ("27", "第二十七条"))
)
_CONSENT = (
    Citation(
        law="HGR Regulations",
        article="12",
        zh="《人类遗传资源管理条例》第十二条",
        en="Regulations on HGR art. 12",
    ),
)


class Weights:
    """The weight of each verdict in one hearing."""

    def __init__(self, hearing: Hearing, verdicts: Collection[Verdict]) -> None:
        self._hearing = hearing
        self._blockers = {v.rule.id for v in verdicts if v.blocks}
        self._selected = hearing.census.people(hearing.selected)

    def touched(self, strata: Collection[StratumId]) -> int:
        """Distinct people with something in these strata."""
        return self._hearing.census.people(strata)

    def alone_out(self, rule_id: str) -> int:
        """Distinct people that a stratum-level prohibition keeps out by itself."""
        only = [one for one, rules in self._hearing.excluders.items() if rules == (rule_id,)]
        return self._hearing.census.people(only, outside=self._hearing.selected)

    def finding(self, verdict: Verdict) -> Finding:
        """The verdict with its weight, citation and texts."""
        rule, strata = verdict.rule, verdict.strata
        touched = alone = 0
        if verdict.result in _SPEAKING:
            touched = self.touched(strata) if strata else self._selected
        if verdict.blocks:
            alone = self._selected if self._blockers == {rule.id} else 0
        elif verdict.takes_out:
            alone = self.alone_out(rule.id)
        return Finding(
            rule=rule.id,
            no=rule.no,
            pack=rule.pack,
            edition=rule.edition,
            effect=rule.acts_as,
            result=verdict.result,
            says=rule.says,
            fix=rule.fix,
            cite=rule.cite,
            confidence=rule.confidence,
            owner=rule.owner,
            paper=rule.paper,
            strata=strata,
            touched=touched,
            alone=alone,
            missing=tuple(sorted(verdict.missing)),
            reasons=self._reasons(rule, strata),
        )

    def _reasons(self, rule: Rule, strata: Collection[StratumId]) -> tuple[str, ...]:
        """Why consents do not cover the purpose, for a rule that asks whether they do."""
        if "consent.covers" not in rule.reads:
            return ()
        return _consent_reasons(self._hearing, strata)


def _consent_reasons(hearing: Hearing, strata: Collection[StratumId]) -> tuple[str, ...]:
    profiles = {s.profile for s in hearing.question.strata if s.id in strata}
    return tuple(
        sorted({str(reason) for one in profiles for reason in hearing.coverage[one].reasons})
    )


def nothing_asked() -> Finding:
    """The finding on a release that names nothing: an empty request is never a permitted one."""
    return Finding(
        rule="nothing-asked",
        no="PDP-1",
        pack=PACK,
        edition=_EDITION,
        effect=Effect.DENY,
        result=Result.HOLDS,
        says={"zh": "申请没有包含任何样本或者数据", "en": "the request asks for no item at all"},
        fix={"zh": "列明所申请的样本或者数据", "en": "name the samples or data you ask for"},
        cite=_BASIS,
        confidence=_SURE,
        owner=Owner.RESEARCHER,
    )


def no_grounds(hearing: Hearing, grounds: Mapping[StratumId, Grounds]) -> Iterator[Finding]:
    """The findings when no rule stands in the way, but a legal basis or a consent is wanting or open."""
    if not grounds:
        yield _ungrounded(hearing, Result.HOLDS, (), basis=True)
    for result, answer in ((Result.HOLDS, False), (Result.UNKNOWN, None)):
        without = tuple(one for one, each in grounds.items() if each.basis is answer)
        if without:
            missing = frozenset[str]().union(*(grounds[one].missing for one in without))
            yield _ungrounded(
                hearing, result, without, missing if answer is None else frozenset(), basis=True
            )
        uncovered = tuple(one for one, each in grounds.items() if each.consent is answer)
        if uncovered:
            missing = frozenset({"consent.covers"}) if answer is None else frozenset[str]()
            yield _ungrounded(hearing, result, uncovered, missing, basis=False)


def _ungrounded(
    hearing: Hearing,
    result: Result,
    strata: tuple[StratumId, ...],
    missing: frozenset[str] = frozenset(),
    *,
    basis: bool,
) -> Finding:
    return replace(
        _said("no-basis" if basis else "no-consent"),
        result=result,
        strata=strata,
        touched=hearing.census.people(strata),
        missing=tuple(sorted(missing)),
        reasons=() if basis else _consent_reasons(hearing, strata),
    )


def _said(rule: str) -> Finding:
    basis = rule == "no-basis"
    return Finding(
        rule=rule,
        no="PDP-2" if basis else "PDP-3",
        pack=PACK,
        edition=_EDITION,
        effect=Effect.DENY,
        result=Result.HOLDS,
        says=_NO_BASIS if basis else _NO_CONSENT,
        fix=_FIND_BASIS if basis else _FIND_CONSENT,
        cite=_BASIS if basis else _CONSENT,
        confidence=_SURE,
        owner=Owner.INSTITUTION if basis else Owner.BANK,
    )


_NO_BASIS = {
    "zh": "没有任何规定允许提供这些样本或者数据",
    "en": "no provision allows these samples or data to be provided",
}
_FIND_BASIS = {
    "zh": "取得涵盖该样本或者数据的许可、备案，或者改变提供对象",
    "en": "obtain a licence or filing that covers these items, or change who receives them",
}
_NO_CONSENT = {
    "zh": "提供者的知情同意不涵盖该用途",
    "en": "the donors' consent does not cover this purpose",
}
_FIND_CONSENT = {
    "zh": "改变用途，或者由提供者重新同意",
    "en": "change the purpose, or let the donors consent anew",
}

#: What the PDP itself may say, by rule id: texts, citation and owner, as `decision_from` needs them.
SAID: Mapping[str, Finding] = {
    "nothing-asked": nothing_asked(),
    "no-basis": _said("no-basis"),
    "no-consent": _said("no-consent"),
}
