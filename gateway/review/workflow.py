"""The review workflow: states, commands, roles and guards, read from `workflow.yaml` at start.

The rules it keeps: what is not in the table is not allowed; a state that ends a case has no command;
no officer brings a case to `approved` but as a person other than the first (four eyes), and never
past a denial or a missing paper. A table that breaks one of these stops the start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, cast

from gateway.errors import SettingsError
from policies.strict import StrictError, load, shape_mistakes

FILE = "gateway/review/workflow.yaml"
BY_OUTCOME = "by_outcome"
BY_RECOMMENDATION = "by_recommendation"


class Command(StrEnum):
    """What may be asked of a case."""

    RECOMMEND = "recommend"
    CONCUR = "concur"
    RETURN = "return"
    REDECIDE = "redecide"
    WITHDRAW = "withdraw"


class Role(StrEnum):
    """Who asks: an officer (a person), the applicant's organisation, the gateway itself."""

    OFFICER = "officer"
    APPLICANT = "applicant"
    GATEWAY = "gateway"


class Guard(StrEnum):
    """What must be true of the case and the asker; each is one function in `cases.py`."""

    NO_CONFLICT = "no_conflict"
    ANOTHER_PERSON = "another_person"
    MAY_BE_APPROVED = "may_be_approved"
    EVERY_FINDING_DISPOSED = "every_finding_disposed"
    NEW_DECISION = "new_decision"
    OWN_REQUEST = "own_request"


class Needs(StrEnum):
    """What a command must carry."""

    REASON = "reason"
    RECOMMENDATION = "recommendation"
    DISPOSITIONS = "dispositions"


class Recommendation(StrEnum):
    """What the first officer recommends."""

    APPROVE = "approve"
    REJECT = "reject"


class Outcome(StrEnum):
    """What was decided, as far as the queue cares; `permit_at_once` needs no person."""

    PERMIT_AT_ONCE = "permit_at_once"
    PERMIT = "permit"
    REFER = "refer"
    HOLD = "hold"
    DENY = "deny"


class Effect(StrEnum):
    """What the end of a case asks the enforcement point to do."""

    NONE = "none"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of one state."""

    command: Command
    by: frozenset[Role]
    to: str
    event: str
    needs: frozenset[Needs]
    guards: tuple[Guard, ...]
    reason_least: int  # characters; 0 where no reason is given
    says: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state: whose turn it is, what may be asked, what its being reached gives effect to."""

    id: str
    says: Mapping[str, str]  # zh, en
    turn: str
    effect: Effect
    steps: Mapping[Command, Step]

    @property
    def is_open(self) -> bool:
        """Something can still happen to the case."""
        return bool(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """The whole table, with the SHA-256 of the file it was read from."""

    version: str
    digest: str
    states: Mapping[str, State]
    outcomes: Mapping[Outcome, str]
    recommendations: Mapping[Recommendation, str]


_SAYS = {
    "type": "dict",
    "required": True,
    "schema": {
        "zh": {"type": "string", "required": True, "empty": False},
        "en": {"type": "string", "required": True, "empty": False},
    },
}


def _names(kind: type[StrEnum], *, required: bool = True) -> dict[str, Any]:
    return {
        "type": "list",
        "required": required,
        "minlength": 1,
        "schema": {"type": "string", "allowed": [str(one) for one in kind]},
    }


def _each(kind: type[StrEnum]) -> dict[str, Any]:
    return {
        "type": "dict",
        "required": True,
        "schema": {str(one): {"type": "string", "required": True} for one in kind},
    }


_SHAPE: dict[str, Any] = {
    "version": {"type": "string", "required": True},
    "outcomes": _each(Outcome),
    "recommendations": _each(Recommendation),
    "states": {
        "type": "list",
        "required": True,
        "minlength": 1,
        "schema": {
            "type": "dict",
            "schema": {
                "id": {"type": "string", "required": True, "regex": r"[a-z_]+\Z"},
                "says": _SAYS,
                "turn": {"type": "string", "required": True},
                "effect": {"type": "string", "allowed": [str(one) for one in Effect]},
                "commands": {
                    "type": "list",
                    "minlength": 1,
                    "schema": {
                        "type": "dict",
                        "schema": {
                            "command": {
                                "type": "string",
                                "required": True,
                                "allowed": [str(one) for one in Command],
                            },
                            "says": _SAYS,
                            "by": _names(Role),
                            "to": {"type": "string", "required": True},
                            "event": {"type": "string", "required": True, "regex": r"[a-z_]+\Z"},
                            "needs": _names(Needs, required=False),
                            "guards": _names(Guard),
                            "reason_least": {"type": "integer", "min": 1, "max": 1000},
                        },
                    },
                },
            },
        },
    },
}


@cache
def shipped() -> Workflow:
    """The workflow of this version of the gateway; raises `SettingsError` if it is broken."""
    return parse((files("gateway.review") / "workflow.yaml").read_bytes(), FILE)


def parse(content: bytes, file: str) -> Workflow:
    """Read and check one workflow file; raises `SettingsError` with file, key and reason."""
    try:
        read = load(content, file)
    except StrictError as error:
        raise SettingsError(str(error)) from error
    wrong = shape_mistakes(read, _SHAPE)
    if wrong:
        raise SettingsError("; ".join(map(str, wrong)))
    data = cast("dict[str, Any]", read.data)
    workflow = _build(data, hashlib.sha256(content).hexdigest())
    _verify(workflow, data["states"], file)
    return workflow


def _build(data: dict[str, Any], digest: str) -> Workflow:
    return Workflow(
        version=data["version"],
        digest=digest,
        states=MappingProxyType({row["id"]: _state(row) for row in data["states"]}),
        outcomes=MappingProxyType({Outcome(k): v for k, v in data["outcomes"].items()}),
        recommendations=MappingProxyType(
            {Recommendation(k): v for k, v in data["recommendations"].items()}
        ),
    )


def _state(row: dict[str, Any]) -> State:
    steps = [_step(one) for one in row.get("commands", [])]
    return State(
        id=row["id"],
        says=row["says"],
        turn=row["turn"],
        effect=Effect(row.get("effect", Effect.NONE)),
        steps=MappingProxyType({step.command: step for step in steps}),
    )


def _step(row: dict[str, Any]) -> Step:
    return Step(
        command=Command(row["command"]),
        by=frozenset(Role(one) for one in row["by"]),
        to=row["to"],
        event=row["event"],
        needs=frozenset(Needs(one) for one in row.get("needs", [])),
        guards=tuple(Guard(one) for one in row["guards"]),
        reason_least=row.get("reason_least", 0),
        says=row["says"],
    )


def _verify(workflow: Workflow, rows: list[dict[str, Any]], file: str) -> None:
    """What the shape cannot say; raises `SettingsError` with the first thing wrong."""
    for key, why in _mistakes(workflow, rows):
        raise SettingsError(f"{file}: {key}: {why}")


def _mistakes(workflow: Workflow, rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    states = workflow.states
    if len(states) != len(rows):
        yield "states", "a state is there twice"
    for row in rows:
        if len(states[row["id"]].steps) != len(row.get("commands", [])):
            yield row["id"], "a command is there twice"
    for name in [*workflow.outcomes.values(), *workflow.recommendations.values()]:
        if name not in states:
            yield "outcomes and recommendations", f"no state `{name}`"
            return  # what follows looks these states up
    for outcome in set(Outcome) - {Outcome.PERMIT_AT_ONCE}:
        if states[workflow.outcomes[outcome]].effect is Effect.APPROVE:
            yield f"outcomes.{outcome}", "would be approved without any person"
    for state in states.values():
        yield from _state_mistakes(workflow, state)


def _state_mistakes(workflow: Workflow, state: State) -> Iterator[tuple[str, str]]:
    if state.is_open != (state.effect is Effect.NONE):
        yield state.id, "a state either has commands or an effect that ends the case"
    for step in state.steps.values():
        yield from _step_mistakes(workflow, f"{state.id}.{step.command}", step)


def _step_mistakes(workflow: Workflow, key: str, step: Step) -> Iterator[tuple[str, str]]:
    named = workflow.states.get(step.to)
    if named is None and step.to not in {BY_OUTCOME, BY_RECOMMENDATION}:
        yield key, f"no state `{step.to}`"
    approves = step.to == BY_RECOMMENDATION or (named and named.effect is Effect.APPROVE)
    # Four eyes: the second officer is another person, and neither is on the requester's side.
    needed = {Guard.NO_CONFLICT, Guard.ANOTHER_PERSON, Guard.MAY_BE_APPROVED}
    if approves and not (needed <= set(step.guards) and step.by == {Role.OFFICER}):
        yield key, f"what approves needs an officer and the guards {', '.join(sorted(needed))}"
    if (Needs.REASON in step.needs) != (step.reason_least > 0):
        yield key, "a reason that is needed has a least length, and no other has"
