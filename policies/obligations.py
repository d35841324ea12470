"""What a decision brings with it: duties of rules and of consents, and how long it can stand.

The rules it keeps: an oblige rule that is UNKNOWN attaches all the same; duties of several consents
are merged to the strictest; a permit stands no longer than the shortest of what it stands on.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from policies.consent import Duty
from policies.decision import Effect, Obligation, Result
from policies.rules import Rule

_ATTACHES = {
    Effect.OBLIGE: frozenset({Result.HOLDS, Result.UNKNOWN}),
}
_WHEN_HELD = frozenset({Result.HOLDS})


def of_rules(results: Iterable[tuple[Rule, Result]]) -> list[Obligation]:
    """The duties of rules that speak: an oblige that holds or is unknown, another that holds."""
    found = {
        rule.obligation.id: Obligation(
            id=rule.obligation.id,
            rule=rule.id,
            no=rule.no,
            says=rule.obligation.says or rule.says,
            before_release=rule.obligation.before_release,
            months=rule.obligation.months,
        )
        for rule, result in results
        if rule.obligation is not None and result in _ATTACHES.get(rule.effect, _WHEN_HELD)
    }
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
SAID: Mapping[str, Mapping[str, str]] = {
    kind.id: {"zh": kind.zh, "en": kind.en} for kind in _KINDS.values()
}
_PLACE, _MORATORIUM, _TIME_LIMIT = "DUO:0000022", "DUO:0000024", "DUO:0000025"


def of_consents(duties: Iterable[Duty]) -> list[Obligation]:
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
