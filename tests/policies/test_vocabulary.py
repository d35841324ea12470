"""Scopes: derived facts that are had together, and what somebody would have to supply."""

from datetime import date
from itertools import product

import pytest

from policies import vocabulary
from policies.request import PolicyError
from policies.vocabulary import Derived, Fact, FactType, Level, Scope, Vocabulary

SAYS = {"zh": "事实", "en": "fact"}
DAY = date(2026, 1, 1)


def fact(name, derived=None, kind=FactType.BOOL):
    return Fact(name=name, type=kind, level=Level.REQUEST, says=SAYS, derived=derived)


def derived(name, inputs, function, *, trusted=True):
    return fact(name, Derived(function=function, inputs=inputs, cite="-", trusted=trusted))


def both(*names):
    """True if all are, False if one is, and no more is asked then; else None."""

    def function(look):
        unknown = False
        for name in names:
            value = look(name)
            if value is False:
                return False
            unknown = unknown or value is None
        return None if unknown else True

    return function


def words(**functions):
    """Three facts of one party, which hang on two of its facts and the day, and one beside them."""
    inputs = {
        "p.both": ("p.a", "p.b"),
        "p.again": ("p.both", "p.a"),
        "p.dated": ("as_of", "p.a"),
        "whole": ("p.again", "p.dated", "c"),
    }
    made = {
        name: functions.get(name.replace(".", "_"), both(*read)) for name, read in inputs.items()
    }
    made["p.dated"] = functions.get(
        "p_dated", lambda look: None if look("as_of") is None else look("p.a")
    )
    facts = [fact("p.a"), fact("p.b"), fact("c"), fact("as_of", kind=FactType.DATE)]
    facts += [derived(name, read, made[name]) for name, read in inputs.items()]
    return Vocabulary(version="1", facts={one.name: one for one in facts})


def scope(words, given, *, together=True):
    blank = {"p.a": None, "p.b": None, "c": None}
    families = words.families if together else {}
    return Scope({**blank, "as_of": DAY, **given}, words.derived[Level.REQUEST], families)


def test_facts_of_one_party_are_had_together_and_no_others():
    families = words().families
    assert set(families) == {"p.both", "p.again", "p.dated"}
    assert len({id(family) for family in families.values()}) == 1


@pytest.mark.parametrize(("a", "b", "c"), list(product([True, False, None], repeat=3)))
def test_had_together_they_are_what_each_is_alone(a, b, c):
    made = words()
    given = {"p.a": a, "p.b": b, "c": c}
    names = ("whole", "p.both", "p.again", "p.dated")
    alone = scope(made, given, together=False)
    for _ in range(2):  # the second time it is remembered
        one = scope(made, given)
        assert [one[name] for name in names] == [alone[name] for name in names]
        for name in names:
            if alone[name] is None:
                assert one.roots((name,)) == alone.roots((name,))


def test_what_it_would_take_is_named_by_what_is_absent():
    one = scope(words(), {"p.a": True, "c": True})
    assert one("whole") is None
    assert one.roots(("whole",)) == {"p.b"}
    assert scope(words(), {}).roots(("whole", "p.dated")) == {"p.a", "p.b", "c"}


def test_what_nobody_confirmed_is_its_own_root():
    rumoured = derived("q.rumoured", ("p.a",), lambda _look: True, trusted=False)
    made = words()
    made = Vocabulary(version="1", facts={**made.facts, "q.rumoured": rumoured})
    one = scope(made, {"p.a": True})
    assert one("q.rumoured") is None
    assert one.roots(("q.rumoured",)) == {"q.rumoured"}


@pytest.mark.parametrize("most", [0, 1, 2])
def test_no_more_than_so_many_are_remembered_together(monkeypatch, most):
    monkeypatch.setattr(vocabulary, "_KEPT", most)
    made = words()
    for a, b in product([True, False, None], repeat=2):
        one = scope(made, {"p.a": a, "p.b": b})
        assert one("p.both") is both("a", "b")({"a": a, "b": b}.get)
        assert len(made.families["p.both"].known) <= max(most, 1)


def test_one_that_comes_out_as_no_value_of_its_own_is_refused():
    with pytest.raises(PolicyError, match="came out as `1`, not a bool"):
        scope(words(p_both=lambda _look: 1), {})("p.both")


def test_a_redefined_fact_shares_nothing_with_what_it_was():
    made = words()
    assert scope(made, {"p.a": True, "p.b": True})("p.both") is True
    other = made.redefined({"p.both": lambda _look: False})
    assert scope(other, {"p.a": True, "p.b": True})("p.again") is False
    assert scope(made, {"p.a": True, "p.b": True})("p.again") is True


def test_a_fact_that_is_not_had_from_others_is_unknown_where_nobody_gave_it():
    one = Scope({}, {})
    assert one("c") is None
    assert one.roots(("c",)) == {"c"}


def test_with_one_fact_changed_only_what_rests_on_it_is_had_anew():
    made = words()
    one = scope(made, {"p.a": True, "p.b": True, "c": True})
    assert one("whole") is True
    changed = one.changed({"p.a": False}, made.resting_on["p.a"])
    assert [changed(name) for name in ("p.a", "p.b", "whole", "p.dated")] == [
        False, True, False, False,
    ]  # fmt: skip
    assert one("whole") is True
