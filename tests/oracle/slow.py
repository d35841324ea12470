"""A second evaluator, slow and plain: it reads the packs' text itself and goes by the design's words.

Of the product it takes only what is not about evaluating rules: the legal notions (policies/derived.py),
whether a consent covers a purpose (policies/consent.py), and the shapes of question and strata. It
shares no parser, no compiled condition, no memo, no count: donors are laid out one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from policies.consent import coverage, left_out
from policies.derived import DERIVED, PROVIDING
from policies.request import Question

PACKS = Path(__file__).parents[2] / "policies" / "packs"
BLOCKING = {"deny", "refer", "require"}


def text(file: Path) -> Any:
    """A file with every scalar as its text: what it means, the vocabulary says."""
    return yaml.load(file.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - texts only


class Words:
    """The vocabulary, templates written out."""

    def __init__(self, folder: Path, confirmed: set[str]) -> None:
        content = text(folder / "vocabulary.yaml")
        templates = content.get("templates", {})
        self.facts: dict[str, dict[str, Any]] = {}
        for part in ("facts", "derived"):
            for row in content[part]:
                word = next((w for w in templates if f"<{w}>" in row["name"]), None)
                for each in templates[word] if word else [None]:
                    name = row["name"].replace(f"<{word}>", each) if word else row["name"]
                    self.facts[name] = {**row, "derived": None}
                    if part == "derived":
                        function = (
                            row["function"].replace(f"<{word}>", each) if word else row["function"]
                        )
                        trusted = row["confidence"]["content"] != "low" or name in confirmed
                        self.facts[name]["derived"] = (
                            DERIVED[function] if trusted else lambda _: None
                        )

    def value(self, name: str, raw: str) -> Any:
        """A scalar of a rule as the type of the fact it is compared with."""
        match self.facts[name]["type"]:
            case "bool":
                return {"true": True, "false": False}[raw]
            case "int":
                return int(raw)
            case "date":
                return date.fromisoformat(raw)
            case "fraction":
                return Fraction(raw)
            case _:
                return raw


@dataclass
class Law:
    words: Words
    editions: list[dict[str, Any]]
    confirmed: set[str]

    @classmethod
    def read(cls, folder: Path = PACKS) -> Law:
        confirmed = {row["rule"] for row in text(folder / "checked.yaml")["checked"]}
        editions = [
            text(file)
            for file in sorted(folder.glob("*/*.yaml"))
            if not any(part in file.name for part in (".cases", ".draft"))
        ]
        return cls(Words(folder, confirmed), editions, confirmed)

    def on(self, day: date) -> list[dict[str, Any]]:
        rules: dict[str, dict[str, Any]] = {}
        for edition in sorted(self.editions, key=lambda e: (e["in_force"], e["pack"])):
            if date.fromisoformat(edition["in_force"]) <= day:
                for rule in edition["rules"]:
                    rules[rule["id"]] = rule
                for ended in edition.get("ends", []):
                    del rules[ended]
        return list(rules.values())

    def is_tentative(self, rule: dict[str, Any]) -> bool:
        return rule["confidence"]["content"] == "low" and rule["id"] not in self.confirmed

    def acts_as(self, rule: dict[str, Any]) -> str:
        return "refer" if rule["effect"] == "deny" and self.is_tentative(rule) else rule["effect"]


class Look:
    """The facts of one place: those given, then those derived, then those of the request around it."""

    def __init__(
        self, words: Words, level: str, given: dict[str, Any], around: Look | None = None
    ) -> None:
        self.words, self.level, self.given, self.around = words, level, given, around

    def __call__(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        fact = self.words.facts[name]
        if fact["derived"] is not None and fact["level"] == self.level:
            return fact["derived"](self)
        return self.around(name) if self.around is not None else None

    def roots(self, name: str) -> set[str]:
        """The facts somebody would have to say for an unknown one to be known."""
        fact = self.words.facts[name]
        if fact["derived"] is not None and fact["level"] == self.level:
            absent: list[str] = []

            def asking(one: str) -> Any:
                value = self(one)
                if value is None:
                    absent.append(one)
                return value

            fact["derived"](asking)
            found = set().union(*(self.roots(one) for one in absent))
            return found or {name}
        if fact["level"] != self.level and self.around is not None:
            return self.around.roots(name)
        return {name}


def holds(words: Words, condition: Any, look: Look) -> tuple[bool | None, set[str]]:
    """Kleene's three values, and the unknown facts behind an unknown one."""
    if "not" in condition:
        truth, missing = holds(words, condition["not"], look)
        return (None if truth is None else not truth), missing
    for word, deciding in (("all", False), ("any", True)):
        if word in condition:
            parts = [holds(words, part, look) for part in condition[word]]
            if any(truth is deciding for truth, _ in parts):
                return deciding, set()
            missing = set().union(*(m for truth, m in parts if truth is None))
            return (None, missing) if missing else (not deciding, set())
    name = condition["fact"]
    ((operator, raw),) = ((k, v) for k, v in condition.items() if k != "fact")
    left = look(name)
    if operator == "known":
        return (left is not None) is (raw == "true"), set()
    missing = {name} if left is None else set()
    if isinstance(raw, dict):
        right = look(raw["fact"])
        missing |= {raw["fact"]} if right is None else set()
        if words.facts[raw["fact"]]["type"] == "fraction" and right is not None:
            right = Fraction(right)
    elif isinstance(raw, list):
        right = {words.value(name, one) if operator == "in" else one for one in raw}
    else:
        right = words.value(name, raw)
    if missing:
        return None, missing
    if words.facts[name]["type"] == "fraction":
        left = Fraction(left)
    return {
        "is": lambda: left == right,
        "in": lambda: left in right,
        "at_least": lambda: left >= right,
        "at_most": lambda: left <= right,
        "before": lambda: left < right,
        "after": lambda: left > right,
        "within": lambda: set(left) <= set(right),
    }[operator](), set()


@dataclass
class Said:
    """What a decision comes to, in plain sets."""

    outcome: str = ""
    speaking: set[tuple[str, str, tuple[str, ...]]] = field(default_factory=set)
    selected: tuple[str, ...] = ()
    people: int = 0
    papers: tuple[str, ...] = ()
    duties: set[str] = field(default_factory=set)


def decide(law: Law, question: Question) -> Said:
    words, rules = law.words, law.on(question.as_of)
    request = Look(words, "request", {**question.facts, "as_of": question.as_of})
    covers = {p: coverage(profile, question.purpose) for p, profile in question.profiles.items()}
    looks: dict[str, Look] = {}
    for stratum in question.strata:
        profile = question.profiles[stratum.profile]
        given: dict[str, Any] = {**stratum.facts, "profile.mapped": profile.mapped}
        if profile.mapped:
            given["profile.told"] = frozenset(str(one) for one in profile.told)
            given |= {f"profile.{t.split(':')[1]}": said for t, said in profile.terms.items()}
        given["consent.covers"] = covers[stratum.profile].covers
        looks[stratum.id] = Look(words, "stratum", given, request)
    # donors, one by one: (strata they stand in, counted before)
    donors = [(set(g.strata), g.already) for g in question.donor_groups for _ in range(g.people)]

    def result(rule: dict[str, Any], look: Look) -> tuple[str, set[str]]:
        gate, unsaid = holds(words, rule["applies"], look) if "applies" in rule else (True, set())
        if gate is False:
            return "not_applicable", set()
        truth, missing = holds(words, rule["when"], look)
        if truth is False:
            return "does_not_hold", set()
        if truth is None or gate is None:
            return "unknown", (missing if truth is None else set()) | unsaid
        if rule["effect"] == "permit" and law.is_tentative(rule):
            return "unknown", set()
        return "holds", set()

    of_strata = [rule for rule in rules if rule["level"] == "stratum"]
    said = {s: {rule["id"]: result(rule, look) for rule in of_strata} for s, look in looks.items()}
    denies = {rule["id"] for rule in of_strata if law.acts_as(rule) == "deny"}
    selected = sorted(s for s in looks if not any(said[s][r][0] == "holds" for r in denies))
    selection = Look(
        words, "selection", selection_facts(question, looks, selected, donors, request), request
    )

    answer = Said(selected=tuple(selected))
    answer.people = sum(bool(where & set(selected)) for where, _ in donors)
    blocking: list[tuple[str, str, set[str]]] = []  # effect, result, roots
    results: dict[str, str] = {}
    spoken: list[tuple[dict[str, Any], str]] = []
    for rule in rules:
        effect = law.acts_as(rule)
        if rule["level"] == "request":
            came, missing = result(rule, selection)
            results[rule["id"]] = came
            if came in {"holds", "unknown"}:
                answer.speaking.add((rule["id"], came, ()))
                spoken.append((rule, came))
                if effect in BLOCKING:
                    roots = set().union(*(selection.roots(m) for m in missing))
                    blocking.append((effect, came, roots))
            continue
        for came in ("holds", "unknown"):
            among = sorted(looks) if (effect, came) == ("deny", "holds") else selected
            where = tuple(s for s in among if said[s][rule["id"]][0] == came)
            if not where:
                continue
            answer.speaking.add((rule["id"], came, where))
            spoken.append((rule, came))
            if effect in BLOCKING and (effect, came) != ("deny", "holds"):
                roots: set[str] = set()
                for s in where:
                    for missing in said[s][rule["id"]][1]:
                        roots |= looks[s].roots(missing)
                    if "consent.covers" in roots:
                        open_ = left_out(covers[profile_of(question, s)], question.purpose)
                        roots = roots - {"consent.covers"} | (open_ or {"consent.covers!"})
                blocking.append((effect, came, {r.rstrip("!") for r in roots}))

    grounds = [
        grounds_of(
            law,
            rules,
            looks[s],
            selection,
            {r: c for r, (c, _) in said[s].items()} | results,
            covers[profile_of(question, s)].covers,
        )
        for s in selected
    ]
    nothing = not question.strata and request("request.action") in PROVIDING
    all_out = bool(question.strata) and not selected
    held = {(effect, came) for effect, came, _ in blocking}
    unknown = set().union(*(roots for _, came, roots in blocking if came == "unknown"))
    any_unknown = any(came == "unknown" for _, came, _ in blocking)
    by_applicant = all(words.facts[name].get("from") == "applicant" for name in unknown)
    flat = {one for pair in grounds for one in pair}
    grounded = False if False in flat or not flat else None if None in flat else True
    # the table of the design, strongest first
    if nothing or all_out or ("deny", "holds") in held:
        answer.outcome = "deny"
    elif (any_unknown and not by_applicant) or ("refer", "holds") in held:
        answer.outcome = "refer"
    elif any_unknown or ("require", "holds") in held:
        answer.outcome = "hold"
    else:
        answer.outcome = {True: "permit", None: "refer", False: "deny"}[grounded]
    if answer.outcome == "hold":
        papers = {
            rule["paper"]
            for rule, came in spoken
            if came == "holds" and "paper" in rule and law.acts_as(rule) in BLOCKING
        }
        answer.papers = tuple(sorted(papers))
    if answer.outcome != "deny":
        answer.duties = {
            rule["obligation"]["id"]
            for rule, came in spoken
            if "obligation" in rule and (came == "holds" or rule["effect"] == "oblige")
        }
    return answer


def profile_of(question: Question, stratum: str) -> Any:
    return next(one.profile for one in question.strata if one.id == stratum)


def grounds_of(
    law: Law,
    rules: list[dict[str, Any]],
    look: Look,
    selection: Look,
    results: dict[str, str],
    covers: Any,
) -> tuple[bool | None, bool | None]:
    """Whether a permit covers every tag a stratum may have; and its consent."""
    item_class = look("item.class")
    tags: set[str] = set()
    for each in [item_class] if item_class else ["information", "material"]:
        abroad = {look("any_foreign"), look(f"crosses_border_{each}")}
        goes = True if True in abroad else None if None in abroad else False
        tags |= {f"{each}.foreign"} if goes is not False else set()
        tags |= {f"{each}.domestic"} if goes is not True else set()
    answers = set()
    for tag in tags:
        came = {results[r["id"]] for r in rules if r["effect"] == "permit" and tag in r["covers"]}
        answers.add(True if "holds" in came else None if "unknown" in came else False)
    return (answers.pop() if len(answers) == 1 else None), covers


def selection_facts(
    question: Question,
    looks: dict[str, Look],
    selected: list[str],
    donors: list[tuple[set[str], bool]],
    request: Look,
) -> dict[str, Any]:
    """Every `selection.*` fact, counted donor by donor; what a stratum leaves open is left out."""
    if not question.strata:
        return {}
    chosen = [one for one in question.strata if one.id in selected]
    look = {one.id: looks[one.id] for one in chosen}

    def any_of(name: str) -> bool | None:
        values = {each(name) for each in look.values()}
        return True if True in values else None if None in values else False

    def people(among: set[str], *, new: bool = False) -> int:
        return sum(bool(where & among) and not (new and already) for where, already in donors)

    def having(classes: set[str]) -> set[str] | None:
        found = set()
        for one, each in look.items():
            if each("item.class") == "material":
                continue
            if each("item.data_class") is None:
                return None
            if each("item.data_class") in classes:
                found.add(one)
        return found

    genome = having({"genome", "exome"})
    other = having({"panel", "transcriptome", "epigenome", "ctDNA"})
    kinds = {each("item.kind") for each in look.values()}
    classes = {each("item.class") for each in look.values()}
    before, sensitive = (
        request("counter.genome_people_before"),
        request("pi.sensitive_people_before"),
    )
    form = request("pi.form")
    here = people(set(selected))
    facts = {
        "people": here,
        "items": sum(one.items for one in chosen),
        "units": sum(one.units for one in chosen),
        "kinds": None if None in kinds else frozenset(kinds),
        "material_units": None
        if None in classes
        else sum(one.units for one in chosen if look[one.id]("item.class") == "material"),
        "has_hgr_material": any_of("hgr_material"),
        "has_hgr_information": any_of("hgr_information"),
        "has_blank_matrix": any(each("item.derived") == "blank_matrix" for each in look.values()),
        "has_pedigree": any_of("donor.pedigree"),
        "has_special_region": any_of("donor.special_region"),
        "has_unknown_class": any(
            each("item.class") is None
            or (each("item.class") == "information" and each("item.data_class") is None)
            for each in look.values()
        ),
        "has_personal_information": None if form is None else form != "anonymised",
        "genome_people": None if genome is None else people(genome),
        "genome_people_total": None
        if genome is None or before is None
        else before + people(genome, new=True),
        "other_sequence_people": None if other is None else people(other),
        "sensitive_people_total": None if sensitive is None else sensitive + here,
    }
    return {f"selection.{name}": value for name, value in facts.items() if value is not None}
