"""Matching as DUOS does it: a research purpose against a dataset's data use, in DUOS's own field names.

The rules it keeps: `v4` and `v5` answer as the DUOS matchers of those versions do, oddities included, so
that a result can be compared; `safe` is never less strict than either (approve, then abstain, then deny)
and every way in which it is stricter is a row of `STRICTER`. A null is "not said", never false. Nothing
here decides about a donor: the gateway's own decision asks each donor's consent (`policies.consent`).

    match(DataUse.of({"hmbResearch": True}), DataUse.of({"generalUse": True}), {}, "safe").result
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from policies.request import PolicyError

Algorithm: TypeAlias = Literal["v4", "v5", "safe"]

#: Each purpose term with every term above it, or None where looking it up failed.
Ancestors: TypeAlias = Mapping[str, frozenset[str] | None]


class DuosError(PolicyError):
    """What was given to match is not in DUOS's form; its sender is at fault. One line a mistake."""


class Result(StrEnum):
    """The three answers of DUOS; `abstain` leaves it to a committee."""

    APPROVE = "approve"
    DENY = "deny"
    ABSTAIN = "abstain"


_STRICTNESS = (Result.APPROVE, Result.ABSTAIN, Result.DENY)

#: Flags of a purpose for which DUOS leaves the answer to a committee.
SENSITIVE = (
    "controls",
    "population",
    "pediatric",
    "vulnerablePopulations",
    "illegalBehavior",
    "sexualDiseases",
    "psychologicalTraits",
    "notHealth",
    "stigmatizeDiseases",
)
#: Conditions on a dataset that the DUOS matchers do not read.
MODIFIERS = (
    "ethicsApprovalRequired",
    "collaboratorRequired",
    "geographicalRestrictions",
    "geneticStudiesOnly",
    "publicationResults",
    "publicationMoratorium",
    "gender",
    *SENSITIVE,
)
_TEXTS = frozenset(
    {"other", "secondaryOther", "geographicalRestrictions", "publicationMoratorium", "gender"}
)
_FLAGS = frozenset(
    {
        "generalUse",
        "hmbResearch",
        "populationOriginsAncestry",
        "methodsResearch",
        "nonProfitUse",
        "ethicsApprovalRequired",
        "collaboratorRequired",
        "geneticStudiesOnly",
        "publicationResults",
        *SENSITIVE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataUse:
    """One side of a match. `said` holds what is there and not null; `unread` the fields DUOS lacks."""

    said: Mapping[str, bool | str]
    diseases: tuple[str, ...]
    unread: tuple[str, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> DataUse:
        """Read one side. Raises DuosError naming each field of the wrong type."""
        wrong = [f"`{name}` must be {kind}" for name, kind in _mistakes(data)]
        if wrong:
            raise DuosError("\n".join(wrong))
        known = _FLAGS | _TEXTS
        return cls(
            said={name: data[name] for name in sorted(known & set(data)) if data[name] is not None},
            diseases=tuple(data.get("diseaseRestrictions") or ()),
            unread=tuple(
                sorted(
                    name
                    for name in set(data) - known - {"diseaseRestrictions"}
                    if data[name] not in (None, False, "", [])
                )
            ),
        )

    def has(self, name: str) -> bool:
        """Whether a flag is set; one that is null is not."""
        return self.said.get(name) is True

    def tells(self, name: str) -> bool:
        """Whether anything is said under a name that is neither false nor blank."""
        value = self.said.get(name)
        return bool(value.strip()) if isinstance(value, str) else value is True


def _mistakes(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in sorted(data):
        value = data[name]
        if value is None:
            continue
        if name in _FLAGS and not isinstance(value, bool):
            yield name, "true, false or null"
        elif name in _TEXTS and not isinstance(value, str):
            yield name, "a text or null"
        elif name == "diseaseRestrictions" and not _is_terms(value):
            yield name, "a list of texts or null"


def _is_terms(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(term, str) for term in value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The answer with its reasons, as codes of `REASONS`, each once."""

    result: Result
    reasons: tuple[str, ...]

    def said(self) -> list[dict[str, str]]:
        """The reasons with their texts."""
        return [{"code": code, **REASONS[code]} for code in self.reasons]


#: Every reason, with its texts.
REASONS: Mapping[str, Mapping[str, str]] = {
    "disease-within-general-use": {
        "zh": "数据集允许一般研究使用，涵盖该疾病研究",
        "en": "the dataset allows general research use, which takes in research on a disease",
    },
    "disease-within-health-research": {
        "zh": "数据集允许健康、医学、生物医学研究，涵盖该疾病研究",
        "en": "the dataset allows health research, which takes in research on a disease",
    },
    "disease-not-covered": {
        "zh": "研究的疾病不是数据集所限疾病，也不是其下位疾病",
        "en": "a disease of the purpose is neither one of the dataset's nor below one",
    },
    "disease-lookup-failed": {
        "zh": "无法查询研究疾病的上位疾病",
        "en": "the terms above a disease of the purpose could not be looked up",
    },
    "health-within-general-use": {
        "zh": "数据集允许一般研究使用，涵盖健康、医学、生物医学研究",
        "en": "the dataset allows general research use, which takes in health research",
    },
    "health-within-health-research": {
        "zh": "研究目的与数据集均为健康、医学、生物医学研究",
        "en": "purpose and dataset are both for health research",
    },
    "general-purpose-on-health-dataset": {
        "zh": "一般研究目的超出数据集的健康、医学、生物医学研究限制",
        "en": "a general purpose goes beyond a dataset kept to health research",
    },
    "health-purpose-on-disease-dataset": {
        "zh": "健康、医学、生物医学研究目的超出数据集的特定疾病限制",
        "en": "a health purpose goes beyond a dataset kept to diseases",
    },
    "health-purpose-on-ancestry-dataset": {
        "zh": "数据集仅限人群起源或者祖源研究",
        "en": "the dataset is kept to population origins or ancestry",
    },
    "ancestry-within-general-use": {
        "zh": "数据集允许一般研究使用，涵盖人群起源或者祖源研究",
        "en": "the dataset allows general research use, which takes in ancestry research",
    },
    "ancestry-on-ancestry-dataset": {
        "zh": "研究目的与数据集均为人群起源或者祖源研究",
        "en": "purpose and dataset are both for population origins or ancestry",
    },
    "ancestry-not-allowed": {
        "zh": "数据集不允许人群起源或者祖源研究",
        "en": "the dataset does not allow research on population origins or ancestry",
    },
    "methods-allowed": {
        "zh": "数据集未禁止方法学研究",
        "en": "methods research is allowed where the dataset does not forbid it",
    },
    "methods-outside-disease": {
        "zh": "方法学研究超出数据集的特定疾病限制",
        "en": "methods research goes beyond a dataset kept to diseases",
    },
    "non-profit-only": {
        "zh": "数据集仅限非营利使用，研究目的未说明为非营利",
        "en": "the dataset is for non-profit use only, and the purpose does not say it is",
    },
    "purpose-needs-committee": {
        "zh": "研究目的涉及敏感领域或者未载明可自动匹配的主要用途，须由委员会判断",
        "en": "the purpose is sensitive or names no primary use that can be matched: a committee judges",
    },
    "missing-primary": {
        "zh": "数据集没有主要用途类别，须人工审查",
        "en": "the dataset has no primary category of use: a person reviews it",
    },
    "multiple-primary": {
        "zh": "数据集有多个主要用途类别，须人工审查",
        "en": "the dataset has several primary categories of use: a person reviews it",
    },
    "other-primary": {
        "zh": "数据集的主要用途类别为“其他”，须人工审查",
        "en": "the dataset's primary category of use is free text: a person reviews it",
    },
    "general-purpose-on-narrow-dataset": {
        "zh": "一般研究目的超出数据集的特定疾病或者祖源限制",
        "en": "a general purpose goes beyond a dataset kept to diseases or ancestry",
    },
    "methods-on-disease-dataset": {
        "zh": "方法学研究未说明属于数据集所限疾病，须人工审查",
        "en": "methods research that names no disease of the dataset: a person reviews it",
    },
    "modifier-to-see-to": {
        "zh": "数据集附有伦理、地域、发表、合作等条件，须由人核实",
        "en": "the dataset has conditions (ethics, place, publication, …): a person sees to them",
    },
    "free-text-to-read": {
        "zh": "研究目的或者数据集含有文字说明，须人工阅读",
        "en": "the purpose or the dataset says something in free text: a person reads it",
    },
    "unknown-field": {
        "zh": "含有 DUOS 没有的字段，须人工审查",
        "en": "a field is set that DUOS does not have: a person reviews it",
    },
}

#: The published list: why `safe` may differ from v4 or v5, and what it then answers at the least.
STRICTER: Mapping[str, Result] = {
    "general-purpose-on-narrow-dataset": Result.DENY,
    "methods-on-disease-dataset": Result.ABSTAIN,
    "modifier-to-see-to": Result.ABSTAIN,
    "free-text-to-read": Result.ABSTAIN,
    "unknown-field": Result.ABSTAIN,
    # From v4's approvals; v5 has them as well.
    "missing-primary": Result.ABSTAIN,
    "multiple-primary": Result.ABSTAIN,
    "other-primary": Result.ABSTAIN,
    # v5 abstains before it looks; where v4 looks and denies, so does `safe`.
    "disease-not-covered": Result.DENY,
    "disease-lookup-failed": Result.DENY,
    "general-purpose-on-health-dataset": Result.DENY,
    "health-purpose-on-disease-dataset": Result.DENY,
    "health-purpose-on-ancestry-dataset": Result.DENY,
    "ancestry-not-allowed": Result.DENY,
    "methods-outside-disease": Result.DENY,
    "non-profit-only": Result.DENY,
}

_Check: TypeAlias = tuple[Result, tuple[str, ...]]
_FINE: _Check = (Result.APPROVE, ())


def match(
    purpose: DataUse, dataset: DataUse, ancestors: Ancestors, algorithm: Algorithm
) -> Matched:
    """Match a purpose against a dataset.

    `ancestors` gives the terms above each disease of the purpose; a term that is not in it has none
    known, and only equals itself.
    """
    how = {"v4": _v4, "v5": _v5, "safe": _safe}[algorithm]
    return how(purpose, dataset, ancestors)


# ---- v4 ------------------------------------------------------------------------------------------


def _v4(purpose: DataUse, dataset: DataUse, ancestors: Ancestors) -> Matched:
    """Six checks; all approve, else any abstains, else deny."""
    if any(ancestors.get(term, frozenset()) is None for term in purpose.diseases):
        return Matched(result=Result.DENY, reasons=("disease-lookup-failed",))
    disease = _disease(purpose, dataset, ancestors)
    methods = _methods(purpose, dataset, disease)
    checks = [
        disease,
        _health(purpose, dataset),
        _ancestry(purpose, dataset),
        methods,
        _non_profit(purpose, dataset),
        _primary(purpose, dataset, disease, methods),
    ]
    results = {result for result, _ in checks}
    if results == {Result.APPROVE}:
        result = Result.APPROVE
    else:
        result = Result.ABSTAIN if Result.ABSTAIN in results else Result.DENY
    return Matched(
        result=result, reasons=tuple(dict.fromkeys(code for _, codes in checks for code in codes))
    )


def _disease(purpose: DataUse, dataset: DataUse, ancestors: Ancestors) -> _Check:
    if purpose.diseases and dataset.has("generalUse"):
        return Result.APPROVE, ("disease-within-general-use",)
    if purpose.diseases and dataset.has("hmbResearch"):
        return Result.APPROVE, ("disease-within-health-research",)
    # A purpose without a disease is covered by whatever the dataset lists: DUOS asks of each there is.
    if _covers(purpose, dataset, ancestors):
        return _FINE
    return Result.DENY, ("disease-not-covered",)


def _covers(purpose: DataUse, dataset: DataUse, ancestors: Ancestors) -> bool:
    allowed = set(dataset.diseases)
    return all(
        term in allowed or not allowed.isdisjoint(ancestors.get(term) or ())
        for term in purpose.diseases
    )


def _health(purpose: DataUse, dataset: DataUse) -> _Check:
    if "hmbResearch" not in purpose.said and "hmbResearch" not in dataset.said:
        return _FINE
    if dataset.has("generalUse"):
        return Result.APPROVE, ("health-within-general-use",)
    if purpose.has("hmbResearch") and dataset.has("hmbResearch"):
        return Result.APPROVE, ("health-within-health-research",)
    failures = [
        (
            "general-purpose-on-health-dataset",
            purpose.has("generalUse"),
            dataset.has("hmbResearch"),
        ),
        ("health-purpose-on-disease-dataset", purpose.has("hmbResearch"), bool(dataset.diseases)),
        (
            "health-purpose-on-ancestry-dataset",
            purpose.has("hmbResearch"),
            dataset.has("populationOriginsAncestry"),
        ),
    ]
    codes = tuple(code for code, asked, kept in failures if asked and kept)
    return (Result.DENY, codes) if codes else _FINE


def _ancestry(purpose: DataUse, dataset: DataUse) -> _Check:
    if "populationOriginsAncestry" not in purpose.said:
        return _FINE
    if dataset.has("generalUse"):
        return Result.APPROVE, ("ancestry-within-general-use",)
    if purpose.has("populationOriginsAncestry") and dataset.has("populationOriginsAncestry"):
        return Result.APPROVE, ("ancestry-on-ancestry-dataset",)
    return Result.DENY, ("ancestry-not-allowed",)


def _methods(purpose: DataUse, dataset: DataUse, disease: _Check) -> _Check:
    if not (purpose.diseases or dataset.diseases) or not purpose.has("methodsResearch"):
        return _FINE
    broad = ("generalUse", "hmbResearch", "populationOriginsAncestry")
    if any(dataset.has(name) for name in broad) or disease[0] is Result.APPROVE:
        return Result.APPROVE, ("methods-allowed",)
    return Result.DENY, ("methods-outside-disease",)


def _non_profit(purpose: DataUse, dataset: DataUse) -> _Check:
    if not dataset.has("nonProfitUse") or purpose.has("nonProfitUse"):
        return _FINE
    return Result.DENY, ("non-profit-only",)


def _primary(purpose: DataUse, dataset: DataUse, disease: _Check, methods: _Check) -> _Check:
    """DUOS's "abstain" check: sensitive purposes, else the first check that concerns the purpose."""
    to_committee: _Check = (Result.ABSTAIN, ("purpose-needs-committee",))
    if any(purpose.has(name) for name in SENSITIVE) or "gender" in purpose.said:
        return to_committee
    in_order = (
        (bool(purpose.diseases), disease),
        (purpose.has("hmbResearch") or purpose.has("generalUse"), _health(purpose, dataset)),
        (purpose.has("populationOriginsAncestry"), _ancestry(purpose, dataset)),
        (purpose.has("methodsResearch"), methods),
        ("nonProfitUse" in {*purpose.said, *dataset.said}, _non_profit(purpose, dataset)),
    )
    return next((check for concerns, check in in_order if concerns), to_committee)


# ---- v5 and ours ---------------------------------------------------------------------------------


def _v5(purpose: DataUse, dataset: DataUse, ancestors: Ancestors) -> Matched:
    """v4, once the dataset has exactly one primary category of use that is not free text."""
    primary = [
        name
        for name in ("generalUse", "hmbResearch", "populationOriginsAncestry")
        if dataset.has(name)
    ]
    primary += ["diseaseRestrictions"] if dataset.diseases else []
    primary += ["other"] if dataset.tells("other") else []
    if len(primary) == 1 and primary != ["other"]:
        return _v4(purpose, dataset, ancestors)
    code = "missing-primary" if not primary else "multiple-primary"
    return Matched(
        result=Result.ABSTAIN, reasons=("other-primary" if primary == ["other"] else code,)
    )


def _safe(purpose: DataUse, dataset: DataUse, ancestors: Ancestors) -> Matched:
    """The strictest of v4, v5 and what both overlook; its reasons are those for that answer."""
    found = [_v4(purpose, dataset, ancestors), _v5(purpose, dataset, ancestors)]
    found += [
        Matched(result=STRICTER[code], reasons=(code,))
        for code in _overlooked(purpose, dataset, ancestors)
    ]
    result = max((each.result for each in found), key=_STRICTNESS.index)
    codes = dict.fromkeys(code for each in found if each.result is result for code in each.reasons)
    return Matched(result=result, reasons=tuple(codes))


def _overlooked(purpose: DataUse, dataset: DataUse, ancestors: Ancestors) -> Iterator[str]:
    narrow = bool(dataset.diseases) or dataset.has("populationOriginsAncestry")
    if purpose.has("generalUse") and narrow and not dataset.has("generalUse"):
        yield "general-purpose-on-narrow-dataset"
    broad = dataset.has("generalUse") or dataset.has("hmbResearch")
    named = purpose.diseases and _covers(purpose, dataset, ancestors)
    if purpose.has("methodsResearch") and dataset.diseases and not broad and not named:
        yield "methods-on-disease-dataset"
    if any(dataset.tells(name) for name in MODIFIERS):
        yield "modifier-to-see-to"
    if any(side.tells(name) for side in (purpose, dataset) for name in ("other", "secondaryOther")):
        yield "free-text-to-read"
    if purpose.unread or dataset.unread:
        yield "unknown-field"


# ---- a file of pairs -----------------------------------------------------------------------------


def match_file(content: bytes, algorithm: Algorithm) -> list[dict[str, Any]]:
    """Match each pair of a JSON list; the answers in its order, ready to be written as JSON.

    A pair is `{"id", "dataset": {…}, "purpose": {…}, "disease_ancestors": {term: [terms above]}}`; a
    null list says that looking the term up failed. Raises DuosError naming everything that is wrong.
    """
    try:
        pairs = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DuosError(f"is not JSON: {error}") from error
    if not isinstance(pairs, list):
        raise DuosError("must be a list of pairs")
    read: list[tuple[str, DataUse, DataUse, Ancestors]] = []
    wrong: list[str] = []
    seen: set[str] = set()
    for place, pair in enumerate(pairs):
        try:
            read.append(_pair(pair, seen))
        except DuosError as error:
            wrong += [f"/{place}: {line}" for line in str(error).splitlines()]
    if wrong:
        raise DuosError("\n".join(wrong))
    return [
        {"id": name, "result": matched.result.value, "reasons": matched.said()}
        for name, purpose, dataset, ancestors in read
        for matched in [match(purpose, dataset, ancestors, algorithm)]
    ]


def _pair(pair: object, seen: set[str]) -> tuple[str, DataUse, DataUse, Ancestors]:
    if not isinstance(pair, dict):
        raise DuosError("must be an object")
    wrong = [f"there is no member `{name}`" for name in sorted(set(pair) - _MEMBERS)]
    name = pair.get("id")
    if not isinstance(name, str):
        wrong.append("`id` must be a text")
    elif name in seen:
        wrong.append(f"`id` `{name}` stands here twice")
    else:
        seen.add(name)
    above = {} if pair.get("disease_ancestors") is None else pair["disease_ancestors"]
    if not isinstance(above, dict) or not all(v is None or _is_terms(v) for v in above.values()):
        wrong.append("`disease_ancestors` must map terms to lists of texts")
    sides: dict[str, DataUse] = {}
    for side in ("purpose", "dataset"):
        said = {} if pair.get(side) is None else pair[side]
        try:
            if not isinstance(said, dict):
                raise DuosError("must be an object")  # noqa: TRY301 - told like its fields' mistakes
            sides[side] = DataUse.of(said)
        except DuosError as error:
            wrong += [f"{side}: {line}" for line in str(error).splitlines()]
    if wrong:
        raise DuosError("\n".join(wrong))
    ancestors = {term: None if v is None else frozenset(v) for term, v in above.items()}
    return str(name), sides["purpose"], sides["dataset"], ancestors


_MEMBERS = frozenset({"id", "dataset", "purpose", "disease_ancestors"})
