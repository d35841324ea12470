"""Leaves: canonical, small, and free of what must not be in them."""

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.leaf import Draft, LeafError, LeafTooLargeError, canonical, commitment, rfc3339, seal

NOW = datetime(2026, 5, 4, 11, 2, 1, 5, tzinfo=timezone(timedelta(hours=8)))


def counted(size: int) -> bytes:
    return bytes(range(size))


def test_a_leaf_holds_digests_and_commitments_never_the_things_themselves():
    draft = Draft(
        kind="decision",
        actor="key-01",
        outcome="refer",
        rules=("R-INF-02",),
        subjects={"request": "req-1"},
        documents=(b"{}", b"{}", b"[]"),
        commitments={"donors": "HG00096"},
    )
    sealed = seal(draft, index=7, time=NOW, randomness=counted)
    salt = bytes(range(32))
    assert json.loads(sealed.leaf) == {
        "v": 1,
        "index": 7,
        "type": "decision",
        "time": "2026-05-04T03:02:01.000005Z",
        "actor": "key-01",
        "nonce": "000102030405060708090a0b0c0d0e0f",
        "outcome": "refer",
        "rules": ["R-INF-02"],
        "subjects": {"request": "req-1"},
        "docs": [hashlib.sha256(b"{}").hexdigest(), hashlib.sha256(b"[]").hexdigest()],
        "commit": {"donors": hashlib.sha256(salt + b"HG00096").hexdigest()},
    }
    assert b"HG00096" not in sealed.leaf
    assert b"\n" not in sealed.leaf
    assert [(one.name, one.salt, one.value) for one in sealed.openings] == [
        ("donors", salt, "HG00096")
    ]
    assert [one.body for one in sealed.documents] == [b"{}", b"[]"]
    assert "HG00096" not in repr(sealed.openings)


def test_an_index_fits_a_json_number():
    draft = Draft(kind="start", actor="sys")
    last = seal(draft, index=2**53 - 1, time=NOW, randomness=os.urandom)
    assert json.loads(last.leaf)["index"] == 2**53 - 1
    with pytest.raises(LeafError, match="53 bits"):
        seal(draft, index=2**53, time=NOW, randomness=os.urandom)


def test_what_is_empty_is_left_out():
    leaf = seal(Draft(kind="start", actor="sys"), index=0, time=NOW, randomness=os.urandom).leaf
    assert sorted(json.loads(leaf)) == ["actor", "index", "nonce", "time", "type", "v"]


def test_two_leaves_of_one_draft_differ_and_so_do_their_salts():
    draft = Draft(kind="start", actor="sys", commitments={"donors": "HG00096"})
    one, other = (seal(draft, index=0, time=NOW, randomness=os.urandom) for _ in range(2))
    assert one.leaf != other.leaf
    assert one.openings[0].salt != other.openings[0].salt


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("a name in Chinese", {"actor": "张三"}),
        ("a name with a space", {"actor": "Zhang San"}),
        ("a newline", {"kind": "a\nb"}),
        ("an empty outcome", {"outcome": ""}),
        ("a long rule", {"rules": ("x" * 201,)}),
        ("a sentence as subject", {"subjects": {"request": "for cancer"}}),
        ("a subject's name", {"subjects": {"请求": "r"}}),
        ("a commitment's name", {"commitments": {"捐献者": "r"}}),
        ("a lone surrogate", {"commitments": {"donors": "\ud800"}}),
    ],
)
def test_what_does_not_belong_in_a_leaf_is_refused(why, fields):
    draft = Draft(**{"kind": "decision", "actor": "key-01", **fields})
    with pytest.raises(LeafError):
        seal(draft, index=0, time=NOW, randomness=os.urandom)


def test_a_leaf_may_fill_4_kib_and_not_a_byte_more():
    def leaf_of(last: int) -> bytes:
        rules = ("R" * 96,) * 38 + ("R" * last,)
        draft = Draft(kind="decision", actor="key-01", rules=rules)
        return seal(draft, index=0, time=NOW, randomness=os.urandom).leaf

    rest = 4096 - len(leaf_of(1))
    assert len(leaf_of(1 + rest)) == 4096
    with pytest.raises(LeafTooLargeError, match="4097"):
        leaf_of(2 + rest)


def test_a_time_must_name_its_zone():
    with pytest.raises(LeafError, match="zone"):
        rfc3339(NOW.replace(tzinfo=None))
    assert rfc3339(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_a_salt_has_256_bits():
    with pytest.raises(LeafError, match="salt"):
        commitment(b"short", "value")


# RFC 8785 §3.2.2 and §3.2.3, the parts without floats; the rest are its rules one by one.
@pytest.mark.parametrize(
    ("why", "value", "want"),
    [
        ("literals", [None, True, False], "[null,true,false]"),
        ("strings", '€$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        ("short escapes", "\b\t\n\f\r", '"\\b\\t\\n\\f\\r"'),
        ("delete and line separator stay", "\x7f\u2028", '"\x7f\u2028"'),
        ("sorted names", {"b": 1, "a": {"d": (), "C": {}}}, '{"a":{"C":{},"d":[]},"b":1}'),
        ("largest integers", [2**53 - 1, 1 - 2**53], "[9007199254740991,-9007199254740991]"),
    ],
)
def test_canonical_form(why, value, want):
    assert canonical(value) == want.encode()


@pytest.mark.parametrize(
    ("why", "value"),
    [
        ("a float", 1.5),
        ("a float inside", {"a": [1.0]}),
        ("too large", 2**53),
        ("a name not in ASCII", {"é": 1}),
        ("a name that is no text", {1: 1}),
        ("a lone surrogate", "\ud800"),
        ("bytes", b"x"),
    ],
)
def test_what_has_no_canonical_form_is_refused(why, value):
    with pytest.raises(LeafError):
        canonical(value)


ascii_names = st.text(st.characters(max_codepoint=127))
trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ascii_names, inner, max_size=5),
    max_leaves=20,
)


@given(trees)
@settings(deadline=None)
def test_canonical_bytes_read_back_and_are_canonical_again(value):
    data = canonical(value)
    assert b"\n" not in data
    assert json.loads(data) == value
    assert canonical(json.loads(data)) == data
