"""What a decision tells beside its outcome: findings with their weights, then duties.

The rules it keeps: people are distinct donors. Of a prohibition that takes strata out, `alone` are
the people whom curing only it would bring in: they have something in a stratum that no other rule
takes out, and nothing in the selection. Of what stands against the whole request, `alone` is everyone
selected if nothing else stands against it, and nobody otherwise. An oblige rule that is UNKNOWN
attaches its duty all the same; duties of several consents are merged to the strictest.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

from policies.consent import Duty
from policies.decision import Citation, Effect, Finding, Obligation, Owner, Result
from policies.hearing import Grounds, Hearing, Verdict
from policies.request import StratumId
from policies.rules import PDP, Rule

#: The pack of what `combine` itself says, and the day the Regulations it rests on came into force.
PACK, _EDITION = PDP, date(2019, 7, 1)  # 国务院令第717号第四十七条
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

    def __init__(self, hearing: Hearing, verdicts: Iterable[Verdict]) -> None:
        self._hearing = hearing
        # what alone stands against the request as a whole, if it is one rule
        blockers = {v.rule for v in verdicts if v.blocks}
        self._alone = blockers.pop() if len(blockers) == 1 else None
        self._selected = hearing.census.people(hearing.selected)

    def touched(self, strata: Collection[StratumId]) -> int:
        """Distinct people with something in these strata."""
        return self._hearing.census.people(strata)

    def alone_out(self, rule_id: str) -> int:
        """Distinct people that a stratum-level prohibition keeps out by itself."""
        only = [one for one, rules in self._hearing.excluders.items() if rules == (rule_id,)]
        return self._hearing.census.people(only, outside=self._hearing.selected)

    def findings(self, verdicts: Iterable[Verdict]) -> list[Finding]:
        """Each verdict with its weight, citation and texts."""
        selected, alone = self._selected, self._alone
        return [
            self._of_strata(each)
            if each.strata
            else _of_request(each, selected, each.rule is alone)
            for each in verdicts
        ]

    def _of_strata(self, verdict: Verdict) -> Finding:
        rule, strata = verdict.rule, verdict.strata
        touched = self.touched(strata)
        alone = 0
        if verdict.blocks:
            alone = self._selected if rule is self._alone else 0
        elif verdict.takes_out:
            alone = self.alone_out(rule.id)
        reasons: tuple[str, ...] = ()
        # Why consents do not cover the purpose, for a rule that asks whether they do.
        if "consent.covers" in rule.reads:
            reasons = _consent_reasons(self._hearing, strata)
        return _finding(rule, verdict.result, strata, touched, alone, verdict.missing, reasons)


@lru_cache(maxsize=8192)  # most say again what they said of another request
def _of_request(verdict: Verdict, selected: int, is_alone: bool) -> Finding:  # noqa: FBT001 - a key
    alone = selected if is_alone else 0
    return _finding(verdict.rule, verdict.result, (), selected, alone, verdict.missing, ())


@lru_cache(maxsize=8192)
def _finding(
    rule: Rule,
    result: Result,
    strata: tuple[StratumId, ...],
    touched: int,
    alone: int,
    missing: frozenset[str],
    reasons: tuple[str, ...],
) -> Finding:
    return Finding(
        rule=rule.id,
        no=rule.no,
        pack=rule.pack,
        edition=rule.edition,
        effect=rule.acts_as,
        result=result,
        says=rule.says,
        fix=rule.fix,
        cite=rule.cite,
        confidence=rule.confidence,
        owner=rule.owner,
        paper=rule.paper,
        strata=strata,
        touched=touched,
        alone=alone,
        missing=tuple(sorted(missing)),
        reasons=reasons,
        ask=rule.ask,
    )


def _consent_reasons(hearing: Hearing, strata: Collection[StratumId]) -> tuple[str, ...]:
    profiles = {hearing.profiles[one] for one in strata}
    return tuple(
        sorted({str(reason) for one in profiles for reason in hearing.coverage[one].reasons})
    )


#: The finding on a release that names nothing: an empty request is never a permitted one.
NOTHING_ASKED = Finding(
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
            missing = frozenset[str]()
            if answer is None:
                missing = missing.union(*(hearing.open_consent(one) for one in uncovered))
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
    "nothing-asked": NOTHING_ASKED,
    "no-basis": _said("no-basis"),
    "no-consent": _said("no-consent"),
}


# ---- duties --------------------------------------------------------------------------------------


def duties_of_rules(verdicts: Iterable[Verdict]) -> list[Obligation]:
    """The duties of rules that speak: an oblige that holds or is unknown, another that holds."""
    found = {each.duty.id: each.duty for each in verdicts if each.duty is not None}
    return [found[name] for name in sorted(found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How one DUO duty reads."""

    id: str
    zh: str
    en: str


#: The obligation of DUO TS: it also bounds how long a permit can stand.
END_OF_USE = "end-use-after-months"

#: DUO release 2021-02-23: the modifiers that go on binding the receiver after release.
_KINDS: Mapping[str, _Kind] = {
    "DUO:0000019": _Kind(
        id="publish-results", zh="研究结果须公开发表", en="results must be published"
    ),
    "DUO:0000020": _Kind(
        id="collaborate-with-investigator",
        zh="须与原研究负责人合作",
        en="collaborate with the primary investigators",
    ),
    "DUO:0000022": _Kind(
        id="stay-within-place", zh="仅限在所列地区内使用", en="use only within the places named"
    ),
    "DUO:0000024": _Kind(
        id="no-publication-before", zh="所列日期之前不得发表", en="no publication before the date"
    ),
    "DUO:0000025": _Kind(
        id=END_OF_USE,
        zh="自授权之日起满所列月数须停止使用",
        en="use ends after so many months from the grant",
    ),
    "DUO:0000029": _Kind(
        id="return-derived-data",
        zh="须将衍生数据返还数据库",
        en="return derived and enriched data",
    ),
}
#: The texts of what consents oblige to, by obligation id.
DUTIES_SAID: Mapping[str, Mapping[str, str]] = {
    kind.id: {"zh": kind.zh, "en": kind.en} for kind in _KINDS.values()
}
_PLACE, _MORATORIUM, _TIME_LIMIT = "DUO:0000022", "DUO:0000024", "DUO:0000025"


def duties_of_consents(duties: Iterable[Duty]) -> list[Obligation]:
    """The duties of many consents as one list: latest moratorium, shortest term, common places."""
    by_code: dict[str, list[Duty]] = {}
    for duty in duties:
        by_code.setdefault(duty.code, []).append(duty)
    return [_merged(code, by_code[code]) for code in sorted(by_code)]


def _merged(code: str, duties: list[Duty]) -> Obligation:
    kind = _KINDS[code]
    each = [frozenset(duty.values) for duty in duties]
    values = frozenset[str]().union(*each)
    months = None
    if code == _MORATORIUM:
        values = frozenset({max(values)})  # ISO 8601 dates sort as text
    elif code == _TIME_LIMIT:
        months = min(map(int, values))
        values = frozenset()
    elif code == _PLACE:
        values = each[0].intersection(*each)
    return Obligation(
        id=kind.id,
        rule="consent",
        no=code,
        says={"zh": kind.zh, "en": kind.en},
        months=months,
        values=tuple(sorted(values)),
    )


def months_after(day: date, months: int) -> date:
    """The same day so many months on, or the last day of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
