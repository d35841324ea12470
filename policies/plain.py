"""A decision in plain Chinese and English: everything in the way at once, whose move it is, what to do.

The rules it keeps: nothing is said that the decision does not say; numbers are shown as the caller may
see them (`shown`), and donor-level reasons are one line where it may not see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from policies.decision import Decision, Effect, Finding, Hold, Obligation, Result
from policies.findings import months_after
from policies.vocabulary import Vocabulary

Texts = Mapping[str, str]

OUTCOMES: Mapping[str, Texts] = {
    "permit": {"zh": "可以提供", "en": "permitted"},
    "hold": {"zh": "暂缓：补齐后重新判定", "en": "held until what is missing is there"},
    "refer": {"zh": "转合规人员判断", "en": "referred to an officer"},
    "deny": {"zh": "不得提供", "en": "denied"},
}
OWNERS: Mapping[str, Texts] = {
    "researcher": {"zh": "申请人", "en": "the researcher"},
    "institution": {"zh": "申请单位", "en": "the institution"},
    "bank": {"zh": "保藏单位", "en": "the bank"},
    "government": {"zh": "主管部门", "en": "the authority"},
}
#: Who supplies a fact.
SOURCES: Mapping[str, Texts] = {
    "applicant": {"zh": "申请人", "en": "the applicant"},
    "bank": {"zh": "保藏单位的记录", "en": "the bank's records"},
    "officer": {"zh": "合规人员的认定", "en": "a determination by officers"},
}
#: In the order they are told.
_EFFECTS: Mapping[Effect, Texts] = {
    Effect.DENY: {"zh": "禁止", "en": "prohibited"},
    Effect.REQUIRE: {"zh": "缺文件", "en": "paper missing"},
    Effect.REFER: {"zh": "须判断", "en": "to be judged"},
}
#: Unknown facts named of one blocker; the decision itself has them all.
MOST_MISSING = 6
_UNKNOWN = {"zh": "（是否适用未知）", "en": " (not known whether it bites)"}
_HIDDEN = {
    "zh": "部分或者全部所申请内容不可提供；不足 20 人时不说明个人层面的原因",
    "en": "some or all of what was asked is not available; below 20 donors no donor-level reason is given",
}
_WORDS: Mapping[str, Texts] = {
    "outcome": {"zh": "结论：", "en": "Outcome: "},
    "asked": {"zh": "申请 {} 人；可提供 {} 人", "en": "Asked for: {} people; may go: {} people"},
    "blockers": {"zh": "存在的障碍：", "en": "What stands in the way:"},
    "none": {"zh": "没有障碍。", "en": "Nothing stands in the way."},
    "article": {"zh": "依据：", "en": "by "},
    "pending": {"zh": "（条号待核）", "en": " (article no. to be checked)"},
    "owner": {"zh": "由{}处理：{}", "en": "for {} to do: {}"},
    "touched": {
        "zh": "涉及 {} 人，其中仅因此项的 {} 人",
        "en": "touches {} people, {} of them only this",
    },
    "missing": {"zh": "未知：{}", "en": "not known: {}"},
    "more": {"zh": "另有 {} 项", "en": "and {} more"},
    "ask": {"zh": "合规人员将问：{}", "en": "an officer will ask: {}"},
    "duties": {"zh": "附带义务：", "en": "Obligations:"},
    "before": {"zh": "提供之前", "en": "before release"},
    "by": {"zh": "{} 前", "en": "by {}"},
    "months": {"zh": "批准后 {} 个月内（{}）", "en": "within {} months of the grant ({})"},
    "until": {"zh": "最迟至 {}", "en": "stands until {} at the latest"},
    "papers": {"zh": "等待的文件：{}", "en": "papers waited for: {}"},
}


def in_the_way(finding: Finding) -> bool:
    """Whether a finding keeps something from going: a deny, refer or requirement that is not settled."""
    return finding.effect in _EFFECTS and finding.result in {Result.HOLDS, Result.UNKNOWN}


def answer(
    decision: Decision,
    vocabulary: Vocabulary,
    *,
    as_of: date,
    shown: Callable[[int], str] = str,
    donor_level: bool = True,
) -> dict[str, str]:
    """The whole answer as one text in each language, lines ended by newlines."""
    return {
        language: "".join(
            f"{line}\n"
            for line in _Teller(vocabulary, as_of, shown, language).lines(decision, donor_level)
        )
        for language in ("zh", "en")
    }


@dataclass(frozen=True, slots=True)
class _Teller:
    """Tells one decision in one language."""

    vocabulary: Vocabulary
    as_of: date
    shown: Callable[[int], str]
    language: str

    def say(self, key: str, *values: str) -> str:
        return _WORDS[key][self.language].format(*values)

    def lines(self, decision: Decision, donor_level: bool) -> Iterator[str]:  # noqa: FBT001 - ours alone
        asked, may = decision.selection.asked.people, decision.selection.permitted.people
        yield self.say("outcome") + OUTCOMES[decision.outcome][self.language]
        yield self.say("asked", self.shown(asked), self.shown(may))
        # What bites before what may bite, prohibitions before papers before judgement.
        standing = sorted(
            (one for one in decision.findings if in_the_way(one)),
            key=lambda one: (one.result is Result.UNKNOWN, list(_EFFECTS).index(one.effect)),
        )
        told = [one for one in standing if donor_level or not one.strata]
        yield self.say("blockers" if standing else "none")
        for number, finding in enumerate(told, 1):
            yield from self.blocker(number, finding)
        if len(told) < len(standing):
            yield f"{len(told) + 1}. {_HIDDEN[self.language]}"
        if isinstance(decision, Hold) and decision.papers:
            yield self.say("papers", ", ".join(decision.papers))
        if decision.obligations:
            yield self.say("duties")
        for duty in decision.obligations:
            when = self.when(duty)
            yield f"- {duty.says[self.language]}{f' · {when}' if when else ''}"
        if decision.until is not None:
            yield self.say("until", decision.until.isoformat())

    def blocker(self, number: int, finding: Finding) -> Iterator[str]:
        open_ = _UNKNOWN[self.language] if finding.result is Result.UNKNOWN else ""
        effect = _EFFECTS[finding.effect][self.language]
        yield f"{number}. [{finding.no}] {effect}{open_} · {finding.says[self.language]}"
        pending = self.say("pending") if finding.confidence.get("article") == "low" else ""
        cited = "; ".join(one.zh if self.language == "zh" else one.en for one in finding.cite)
        yield f"   {self.say('article')}{cited}{pending}"
        owner = OWNERS[str(finding.owner)][self.language]
        yield f"   {self.say('owner', owner, finding.fix[self.language])}"
        if finding.strata:
            yield f"   {self.say('touched', self.shown(finding.touched), self.shown(finding.alone))}"
        if finding.missing:
            names = [
                f"{self.vocabulary.facts[name].says[self.language]} ({name})"
                for name in finding.missing[:MOST_MISSING]
            ]
            if len(finding.missing) > MOST_MISSING:
                names.append(self.say("more", str(len(finding.missing) - MOST_MISSING)))
            yield f"   {self.say('missing', '; '.join(names))}"
        if finding.ask is not None:
            yield f"   {self.say('ask', finding.ask[self.language])}"

    def when(self, duty: Obligation) -> str:
        if duty.before_release:
            return self.say("before")
        if duty.due is not None:
            return self.say("by", duty.due.isoformat())
        if duty.months is not None:
            last = months_after(self.as_of, duty.months)
            return self.say("months", str(duty.months), last.isoformat())
        return ""
