"""The decision as a document: canonical bytes, read back to the letter, decided again."""

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import document as documents
from policies.consent import DuoTerm, Profile, ProfileId, Purpose, Research
from policies.decision import Deny, Hold, Permit, Refer
from policies.document import (
    DocumentError,
    decision_from,
    digests_from,
    dumps,
    encode,
    loads,
    question_from,
    replay,
)
from policies.pdp import decide
from policies.rules import Law
from tests.policies.small import CLEAN, CLEAR, group, question, small_law, stratum
from tests.policies.test_pdp import REPORTED, questions

FULL = replace(
    question(
        {**REPORTED, "share": "1/2"},
        (stratum("b", 3, profile="told"), stratum("a", 2, {**CLEAN, "item.kind": "基因组"})),
        (group(1, "b", "a", already=True), group(2, "b"), group(1, "a")),
        Purpose(
            research=Research.DISEASE,
            diseases=("DOID:9119", "DOID:162"),
            disease_ancestors={"DOID:9119": frozenset({"DOID:162", "DOID:4"})},
            commercial=False,
            countries=frozenset({"US", "CN"}),
            users=("u2", "u1"),
            publication_planned=True,
            publication_from=date(2025, 1, 1),
        ),
    ),
)


def document(asked=FULL, law=None):
    return encode(asked, decide(asked, law or small_law()))


# RFC 8785: the structure, the order of keys and the literals.
@pytest.mark.parametrize(
    ("value", "content"),
    [
        pytest.param(
            {"b": 1, "a": [True, False, None]}, b'{"a":[true,false,null],"b":1}', id="order"
        ),
        # §3.2.2.2: the string of the RFC's sample, escapes only where demanded.
        pytest.param(
            '\u20ac$\u000f\nA\'B"\\\\"/',
            b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"',
            id="sample",
        ),
        pytest.param("\b\t\n\f\r\x00\x1f", b'"\\b\\t\\n\\f\\r\\u0000\\u001f"', id="controls"),
        pytest.param("\x7f\u2028\u2029", b'"\x7f\xe2\x80\xa8\xe2\x80\xa9"', id="not escaped"),
        # §3.1: "MUST preserve Unicode string data as is"; these two look alike.
        pytest.param("\u00e9", b'"\xc3\xa9"', id="composed"),
        pytest.param("e\u0301", b'"e\xcc\x81"', id="decomposed"),
        pytest.param("\U0001f9ec", b'"\xf0\x9f\xa7\xac"', id="beyond the first plane"),
        pytest.param(2**53 - 1, b"9007199254740991", id="largest"),
        pytest.param(-(2**53) + 1, b"-9007199254740991", id="smallest"),
        pytest.param(
            {"A": 1, "_": 2, "a": 3, "1": 4}, b'{"1":4,"A":1,"_":2,"a":3}', id="code units"
        ),
        pytest.param([], b"[]", id="empty list"),
        pytest.param({}, b"{}", id="empty object"),
    ],
)
def test_canonical_json(value, content):
    assert dumps(value) == content
    assert loads(content) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(1.0, "a float cannot stand", id="float"),
        pytest.param([{"a": float("nan")}], "a float cannot stand", id="not a number"),
        pytest.param(2**53, "beyond", id="too large"),
        pytest.param("\ud800", "lone surrogate", id="lone surrogate"),
        pytest.param({"中": 1}, "not ASCII", id="key"),
        pytest.param(date(2024, 1, 1), "a date cannot stand", id="date"),
        pytest.param((1, 2), "a tuple cannot stand", id="tuple"),
    ],
)
def test_what_canonical_json_cannot_hold_is_refused(value, words):
    with pytest.raises(DocumentError, match=words):
        dumps(value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b'{"b":1,"a":2}', "not canonical", id="order"),
        pytest.param(b'{"a": 1}', "not canonical", id="space"),
        pytest.param(b'{"a":1,"a":1}', "not canonical", id="duplicate key"),
        pytest.param(b'"\\u00e9"', "not canonical", id="needless escape"),
        pytest.param(b"-0", "not canonical", id="minus nought"),
        pytest.param(b"1.0", "not a whole number", id="float"),
        pytest.param(b"1e3", "not a whole number", id="exponent"),
        pytest.param(b"NaN", "not a whole number", id="not a number"),
        pytest.param(b'"\xff"', "not JSON", id="not UTF-8"),
        pytest.param(b"{", "not JSON", id="cut off"),
        pytest.param(b"[" * 100_000, "not JSON", id="deep"),
        pytest.param(b"9" * 5000, "not JSON", id="endless integer"),
        pytest.param(b"\xef\xbb\xbf{}", "not JSON", id="byte order mark"),
    ],
)
def test_bytes_that_are_not_canonical_are_refused(content, words):
    with pytest.raises(DocumentError, match=words):
        loads(content)


def test_a_document_holds_everything_and_no_rule_text():
    read = json.loads(document())
    assert set(read) == {
        "v", "as_of", "facts", "purpose", "profiles", "strata", "donor_groups",
        "outcome", "findings", "obligations", "selection", "digests", "until",
    }  # fmt: skip
    assert read["facts"]["paper.report.valid_to"] == {"date": "2025-03-01"}
    assert [one["id"] for one in read["strata"]] == ["a", "b"]
    assert read["donor_groups"][0] == {"already": False, "people": 1, "strata": ["a"]}
    assert set(read["findings"][0]) == {
        "rule", "no", "pack", "edition", "effect", "result",
        "strata", "touched", "alone", "missing", "reasons",
    }  # fmt: skip
    hold = json.loads(document(question({**CLEAR, "recipient.country": "US"}, (stratum("a", 1),))))
    assert (hold["outcome"], hold["papers"]) == ("hold", ["report"])
    deny = json.loads(document(question({**CLEAR, "request.forbidden": True}, (stratum("a", 1),))))
    assert (deny["outcome"], "papers" in deny, deny["until"]) == ("deny", False, None)


def test_a_question_is_read_back_as_it_was_asked():
    read = question_from(document())
    assert read.purpose == FULL.purpose
    assert read.profiles == FULL.profiles
    assert read.facts == FULL.facts
    assert read.as_of == FULL.as_of
    assert {s.id: s for s in read.strata} == {s.id: s for s in FULL.strata}
    assert sum(one.people for one in read.donor_groups) == 4


def test_sets_are_read_back_as_sets():
    told = replace(FULL, facts={**FULL.facts, "request.outputs": frozenset({"b", "a"}), "x": True})
    content = encode(told, decide(FULL, small_law()))
    assert question_from(content).facts["request.outputs"] == {"a", "b"}
    assert question_from(content).facts["x"] is True


def test_a_replay_under_the_same_law_gives_the_same_bytes():
    content = document()
    again = replay(content, small_law())
    assert again.same
    assert again.content == content
    assert again.digests == ()


def test_a_replay_under_another_law_says_what_differs():
    law = small_law()
    editions = [
        e if e.pack != "alpha" else replace(e, digest="0" * 64, rules=()) for e in law.editions
    ]
    again = replay(document(), Law(law.vocabulary, editions, law.digests))
    assert not again.same
    assert again.digests == ("packs/alpha/2020-01-01.yaml",)
    assert again.differs == ("digests", "findings", "obligations", "outcome", "until")
    assert again.first.startswith("/digests/packs~1alpha~12020-01-01.yaml: ")


def test_a_forged_outcome_is_found_by_deciding_again():
    forged = json.loads(
        document(question({**CLEAR, "request.forbidden": True}, (stratum("a", 1),)))
    )
    forged["outcome"] = "permit"
    again = replay(dumps(forged), small_law())
    assert again.differs == ("outcome",)
    assert again.digests == ()
    forged["digests"] = 7
    assert "digests" in replay(dumps(forged), small_law()).differs


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"~a/b": 1}, "/~0a~1b: 1 → -"),
        ({"~1": None}, "/~01: null → -"),
        ({"outcome": None}, '/outcome: null → "permit"'),
        ({"findings": []}, "/findings: [] → [{"),
    ],
)
def test_the_first_difference_is_a_pointer(change, first):
    changed = {**json.loads(document()), **change}
    assert replay(dumps(changed), small_law()).first.startswith(first)


def changed(**parts):
    read = json.loads(document())
    for path, value in parts.items():
        *above, last = path.split("__")
        place = read
        for key in above:
            place = place[int(key) if key.isdigit() else key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return dumps(read)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"[]", "not a decision document", id="no object"),
        pytest.param(changed(v=2), "of version 1", id="another version"),
        pytest.param(changed(v=True), "of version 1", id="true is not one"),
        pytest.param(changed(v=None), "of version 1", id="no version"),
        pytest.param(changed(purpose=None), "has no 'purpose'", id="no purpose"),
        pytest.param(changed(facts=[]), "an object is missing", id="facts as a list"),
        pytest.param(changed(strata={}), "a list is missing", id="strata as an object"),
        pytest.param(changed(strata=[1]), "an object is missing", id="stratum as a number"),
        pytest.param(changed(strata__0__facts=None), "has no 'facts'", id="stratum without facts"),
        pytest.param(changed(strata__0__people="2"), "misshapen", id="people as text"),
        pytest.param(changed(strata__0__people=True), "misshapen", id="people as truth"),
        pytest.param(changed(strata__0__secret="x"), "as it would be written", id="smuggled key"),
        pytest.param(changed(donor_groups__0__already=1), "misshapen", id="one is not true"),
        pytest.param(changed(as_of="2024-6-1"), "misshapen", id="date misspelt"),
        pytest.param(changed(as_of=7), "misshapen", id="date as number"),
        pytest.param(changed(purpose__research="fun"), "misshapen", id="no such research"),
        pytest.param(
            changed(purpose__countries=["US", "CN"]), "as it would be written", id="set unsorted"
        ),
        pytest.param(changed(facts__x=[1]), "neither a value", id="fact as list"),
        pytest.param(changed(facts__x={"time": "now"}), "neither a value", id="fact of no kind"),
        pytest.param(
            changed(facts__x={"date": "2024-01-01", "set": []}),
            "neither a value",
            id="fact of two kinds",
        ),
        pytest.param(
            changed(facts__x={"set": ["b", "a"]}), "as it would be written", id="fact set unsorted"
        ),
        pytest.param(changed(facts__x={"set": [1]}), "misshapen", id="set of numbers"),
    ],
)
def test_a_document_that_was_tampered_with_is_refused(content, words):
    with pytest.raises(DocumentError, match=words):
        question_from(content)


def test_texts_that_canonical_json_cannot_hold_stop_the_encoding():
    profile = Profile(id=ProfileId("p"), mapped=True, modifiers=(DuoTerm(code="\ud800"),))
    odd = replace(FULL, profiles={**FULL.profiles, profile.id: profile})
    with pytest.raises(DocumentError, match="lone surrogate"):
        document(odd)
    odd = replace(FULL, purpose=replace(FULL.purpose, users=(1.5,)))
    with pytest.raises(DocumentError, match="a float cannot stand"):
        document(odd)


@settings(max_examples=100, deadline=None)
@given(questions())
def test_every_decision_can_be_taken_again(asked):
    content = document(asked)
    assert encode(question_from(content), decide(asked, small_law())) == content
    assert replay(content, small_law()).same


@settings(max_examples=100, deadline=None)
@given(questions())
def test_a_recorded_decision_is_read_again_with_its_texts(asked):
    decision = decide(asked, small_law())
    assert decision_from(encode(asked, decision), small_law()) == decision


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (CLEAR, Permit),
        ({**CLEAR, "recipient.country": "US"}, Hold),
        ({**CLEAR, "request.doubtful": True}, Refer),
        ({**CLEAR, "paper.licence.recorded": False}, Deny),
    ],
)
def test_each_outcome_is_read_again(facts, outcome):
    asked = question(facts, (stratum("a", 3),))
    decision = decide(asked, small_law())
    assert type(decision) is outcome
    assert decision_from(encode(asked, decision), small_law()) == decision


def test_a_rule_whose_edition_is_gone_is_told_by_its_id():
    law = small_law()
    decision = decide(FULL, law)
    bare = decision_from(encode(FULL, decision), Law(law.vocabulary, [], law.digests))
    assert type(bare) is type(decision)
    assert [(f.rule, f.result, f.touched) for f in bare.findings] == [
        (f.rule, f.result, f.touched) for f in decision.findings
    ]
    assert {(f.cite, f.owner) for f in bare.findings} == {((), "bank")}
    assert {f.rule: (f.says, f.fix) for f in bare.findings} == {
        f.rule: ({"zh": f.rule, "en": f.rule},) * 2 for f in decision.findings
    }
    assert bare.obligations
    assert [o.says for o in bare.obligations] == [
        {"zh": o.rule, "en": o.rule} for o in decision.obligations
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(changed(outcome="maybe"), "no such outcome: `maybe`", id="outcome"),
        pytest.param(changed(until=None), "has no 'until'", id="no last day"),
        pytest.param(changed(until="soon"), "misshapen", id="last day misspelt"),
        pytest.param(changed(findings__0__touched="many"), "misshapen", id="finding misshapen"),
        pytest.param(changed(findings__0__pack=None), "has no 'pack'", id="finding without pack"),
    ],
)
def test_a_misshapen_decision_is_refused(content, words):
    with pytest.raises(DocumentError, match=words):
        decision_from(content, small_law())


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
)


@given(JSON)
def test_canonical_json_there_and_back(value):
    content = dumps(value)
    assert loads(content) == value
    assert dumps(json.loads(content)) == content


def test_what_a_draft_had_a_say_in_has_no_document():
    asked = question(CLEAR, (stratum("a", 2),))
    decision = decide(asked, small_law())
    digests = {**decision.digests, "packs/beta/2024-06-01.draft.yaml": "00"}
    with pytest.raises(DocumentError, match=r"2024-06-01\.draft\.yaml.*never recorded"):
        encode(asked, replace(decision, digests=digests))


def test_a_document_without_digests_says_so():
    with pytest.raises(DocumentError, match="the document has no 'digests'"):
        digests_from(dumps({"v": 1}))


@pytest.mark.parametrize("most", [0, 2])
def test_no_more_than_so_many_findings_are_kept_written(monkeypatch, most):
    monkeypatch.setattr(documents, "_KEPT", most)
    documents._written.clear()
    first = document()
    assert document() == first
    assert len(documents._written) <= max(most, 1)


def test_a_finding_kept_written_is_that_very_one():
    decision = decide(FULL, small_law())
    encode(FULL, decision)
    other = replace(decision.findings[0], touched=decision.findings[0].touched + 7)
    changed = replace(decision, findings=(other, *decision.findings[1:]))
    told = json.loads(encode(FULL, changed))["findings"][0]
    assert told["touched"] == other.touched
