"""The workflow table: what ships holds together, and what does not stops the start."""

from __future__ import annotations

from importlib.resources import files

import pytest

from gateway.errors import SettingsError
from gateway.review.workflow import Command, Effect, Guard, Outcome, Role, parse, shipped

TEXT = (files("gateway.review") / "workflow.yaml").read_text("utf-8")


def test_every_state_can_be_left_or_ends_the_case() -> None:
    workflow = shipped()
    ends = {state.id: state.effect for state in workflow.states.values() if not state.is_open}
    assert ends == {
        "approved": Effect.APPROVE,
        "rejected": Effect.REJECT,
        "withdrawn": Effect.WITHDRAW,
    }
    for state in workflow.states.values():
        if state.is_open:
            assert Command.WITHDRAW in state.steps, state.id


def test_every_guard_is_used_and_has_its_function() -> None:
    from gateway.review.cases import GUARDS

    used = {
        guard
        for state in shipped().states.values()
        for step in state.steps.values()
        for guard in step.guards
    }
    assert used == set(Guard) == set(GUARDS)


def test_a_denial_leads_nowhere_but_to_the_end() -> None:
    workflow = shipped()
    assert workflow.states[workflow.outcomes[Outcome.DENY]].effect is Effect.REJECT


def test_only_officers_approve() -> None:
    step = shipped().states["second_review"].steps[Command.CONCUR]
    assert step.by == {Role.OFFICER}
    assert Guard.ANOTHER_PERSON in step.guards


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("guards: [no_conflict, another_person, may_be_approved]",
                     "guards: [no_conflict, may_be_approved]",
                     "second_review.concur: what approves needs", id="one pair of eyes"),
        pytest.param("permit: first_review", "permit: approved",
                     "outcomes.permit: would be approved without any person", id="no eyes"),
        pytest.param("to: by_outcome\n        event: returned",
                     "to: approved\n        event: returned",
                     "second_review.return: what approves needs", id="a side door"),
        pytest.param("hold: awaiting_external", "hold: nowhere", "no state `nowhere`",
                     id="no such state"),
        pytest.param("to: second_review", "to: third_review", "no state `third_review`",
                     id="no such target"),
        pytest.param("id: rejected", "id: approved", "a state is there twice", id="twice"),
        pytest.param("command: redecide", "command: recommend", "a command is there twice",
                     id="command twice"),
        pytest.param("    effect: reject\n", "", "either has commands or an effect",
                     id="a dead end"),
        pytest.param("by: [officer]", "by: [clerk]", "`clerk` is not one of", id="no such role"),
        pytest.param("reason_least: 20", "reason_least: true", "must be of type integer",
                     id="true is no integer"),
        pytest.param("        reason_least: 2\n", "", "has a least length", id="any reason"),
        pytest.param("guards: [own_request]", "guards: [own_requests]", "`own_requests` is not one of",
                     id="no such guard"),
        pytest.param("version:", "versions:", "is not a key we know", id="is not a key we know"),
        pytest.param('version: "1"', 'version: "1"\nversion: "2"', "duplicate key",
                     id="duplicate key"),
    ],
)  # fmt: skip
def test_a_broken_table_stops_the_start(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(SettingsError, match=r"^w\.yaml:") as caught:
        parse(TEXT.replace(old, new, 1).encode(), "w.yaml")
    assert said in str(caught.value)


def test_a_list_is_no_table() -> None:
    with pytest.raises(SettingsError, match="must be a mapping"):
        parse(b"- a\n", "w.yaml")
