"""Strict YAML: what is read as what, and what is refused, with its line."""

from datetime import date

import pytest

from policies.strict import MAX_BYTES, MAX_DEPTH, Mistake, StrictError, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.1 would make booleans of these: Norway, and a switch.
        pytest.param("NO", "NO", id="bare NO is Norway"),
        pytest.param("on", "on", id="on is text"),
        pytest.param("yes", "yes", id="yes is text"),
        pytest.param("null", "null", id="null is text"),
        pytest.param("~", "~", id="tilde is text"),
        pytest.param("true", True, id="true"),
        pytest.param("false", False, id="false"),
        pytest.param("True", "True", id="only lower case is boolean"),
        pytest.param("12", 12, id="integer"),
        pytest.param("-5", -5, id="negative integer"),
        pytest.param("0", 0, id="nought"),
        pytest.param("010", "010", id="octal is text"),
        pytest.param("0x1F", "0x1F", id="hexadecimal is text"),
        pytest.param("1_000", "1_000", id="underscores are text"),
        pytest.param("1.5", "1.5", id="no floats"),
        pytest.param("1e3", "1e3", id="no exponents"),
        pytest.param(".inf", ".inf", id="no infinity"),
        pytest.param("12:30", "12:30", id="no sexagesimals"),
        pytest.param("9007199254740991", 2**53 - 1, id="largest integer"),
        pytest.param("2023-07-01", date(2023, 7, 1), id="date"),
        pytest.param("2023-07-01 12:00:00", "2023-07-01 12:00:00", id="a time is text"),
        pytest.param("'2023-07-01'", "2023-07-01", id="quoted date is text"),
        pytest.param('"true"', "true", id="quoted true is text"),
        pytest.param("'12'", "12", id="quoted integer is text"),
        pytest.param("''", "", id="quoted nothing is text"),
        pytest.param("|\n  a\n  b\n", "a\nb\n", id="block text"),
        pytest.param(
            "{a: [1, b], 中: {c: false}}", {"a": [1, "b"], "中": {"c": False}}, id="nested"
        ),
        pytest.param("{1: a, true: b}", {"1": "a", "true": "b"}, id="keys are text"),
        pytest.param("[]", [], id="empty list"),
        pytest.param("{}", {}, id="empty mapping"),
    ],
)
def test_values_are_read_as_written(text, value):
    read = load(text.encode(), "x.yaml").data
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        pytest.param("a: 1\na: 2\n", 2, "-", "duplicate key `a`", id="duplicate key"),
        pytest.param("b:\n  a: 1\n  'a': 2\n", 3, "b", "duplicate key `a`", id="quoted duplicate"),
        pytest.param("a: &x 1\nb: *x\n", 1, "a", "anchors", id="anchor"),
        pytest.param("a: *x\n", 1, "a", "anchors", id="alias"),
        pytest.param("a: &x [1]\n", 1, "a", "anchors", id="anchored list"),
        pytest.param("a: !!str 1\n", 1, "a", "tags", id="tag"),
        pytest.param("a: !!python/object:os.system {}\n", 1, "a", "tags", id="python tag"),
        pytest.param("<<: {a: 1}\n", 1, "-", "key `<<`", id="merge key"),
        pytest.param("? [a]\n: 1\n", 1, "-", "plain text", id="list as key"),
        pytest.param("&k a: 1\n", 1, "-", "plain text", id="anchored key"),
        pytest.param("!!str a: 1\n", 1, "-", "plain text", id="tagged key"),
        pytest.param("'': 1\n", 1, "-", "key ``", id="empty key"),
        pytest.param("a:\nb: 1\n", 1, "a", "missing", id="missing value"),
        pytest.param("[1, , 2]", 1, "-", "not YAML", id="missing item"),
        pytest.param("a: 1\n---\nb: 2\n", 3, "-", "second document", id="two documents"),
        pytest.param("", 1, "-", "empty", id="empty file"),
        pytest.param("# only a comment\n", 1, "-", "empty", id="comment only"),
        pytest.param("a: 2023-02-30\n", 1, "a", "no date", id="no such day"),
        pytest.param("a: 9007199254740992\n", 1, "a", "2^53", id="integer too large"),
        pytest.param("a: -99999999999999999999\n", 1, "a", "2^53", id="integer far too large"),
        pytest.param("a: [1\n", 2, "-", "not YAML", id="unclosed list"),
        pytest.param("a: 'x\n", 2, "-", "not YAML", id="unclosed quote"),
        pytest.param("a: \x01\n", 1, "-", "not YAML", id="control character"),
        pytest.param("{a: " * 40 + "b" + "}" * 40, 1, "a.a.a.a", "deeper", id="too deep"),
    ],
)
def test_what_is_not_strict_is_refused_with_its_line(text, line, key, words):
    with pytest.raises(StrictError) as caught:
        load(text.encode(), "x.yaml")
    mistake = caught.value.mistakes[0]
    assert (mistake.file, mistake.line, mistake.key) == ("x.yaml", line, key)
    assert mistake.code
    assert words in mistake.en
    assert mistake.zh


def test_the_deepest_level_allowed_is_read():
    text = "[" * MAX_DEPTH + "a" + "]" * MAX_DEPTH
    assert load(text.encode(), "x.yaml").lines[(0,) * MAX_DEPTH] == 1


def test_a_billion_laughs_is_refused_at_its_first_anchor():
    lines = [
        "a: &a [lol]",
        *(f"{new}: &{new} [*{old}, *{old}]" for old, new in zip("abcdef", "bcdefg", strict=True)),
    ]
    with pytest.raises(StrictError, match=r"x\.yaml:1: a: anchors"):
        load("\n".join(lines).encode(), "x.yaml")


def test_a_file_too_large_is_not_parsed():
    with pytest.raises(StrictError, match="larger than"):
        load(b"a" * (MAX_BYTES + 1), "x.yaml")


def test_bytes_that_are_not_utf_8_are_refused():
    with pytest.raises(StrictError, match="not UTF-8"):
        load("a: 中".encode("gb18030"), "x.yaml")


def test_lines_lead_to_the_key_or_the_nearest_place_above():
    document = load(b"a:\n  - b: 1\n    c: 2\n", "x.yaml")
    assert document.mistake(("a", 0, "c"), code="c", en="e", zh="z") == Mistake(
        file="x.yaml", line=3, key="a.0.c", code="c", en="e", zh="z"
    )
    assert document.mistake(("a", 0, "d", 4), code="c", en="e", zh="z").line == 2
    assert str(document.mistake((), code="c", en="e", zh="z")) == "x.yaml:1: -: e (z) [c]"


def test_all_that_can_still_be_read_is_told_at_once():
    text = "a: 1\na: 2\nb: 2023-02-30\nc:\n  d: 9007199254740992\n  '': 3\ne:\n"
    with pytest.raises(StrictError) as caught:
        load(text.encode(), "x.yaml")
    assert [(m.line, m.key, m.code) for m in caught.value.mistakes] == [
        (2, "-", "duplicate_key"),
        (3, "b", "bad_date"),
        (5, "c.d", "integer_too_large"),
        (6, "c", "bad_key"),
        (7, "e", "missing_value"),
    ]
    assert str(caught.value).count("\n") == 4


def test_what_stops_the_reading_comes_after_what_was_wrong_before_it():
    with pytest.raises(StrictError) as caught:
        load(b"a: 1\na: 2\nb: [\n", "x.yaml")
    assert [m.code for m in caught.value.mistakes] == ["duplicate_key", "not_yaml"]


def test_a_long_value_is_cut_in_a_message():
    with pytest.raises(StrictError) as caught:
        load(b"a: " + b"9" * 100_000, "x.yaml")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("content", "line", "code"),
    [
        pytest.param("a: 1\nb: 中\n".encode("gb18030"), 2, "not_utf8", id="gb18030"),
        pytest.param("a: 1\n".encode("utf-16"), 1, "not_utf8", id="utf-16"),
        pytest.param(b"a: 1\nb: \xff\n", 2, "not_utf8", id="a stray byte"),
        pytest.param(b"a: 1\nb: 2\nc: \x07\n", 3, "not_yaml", id="a control character"),
        pytest.param(b"a: 1\nb: @x\n", 2, "not_yaml", id="a reserved sign"),
        pytest.param(b"a: {b: 1\n", 2, "not_yaml", id="unclosed mapping"),
    ],
)
def test_bytes_that_cannot_be_read_are_told_with_their_line(content, line, code):
    with pytest.raises(StrictError) as caught:
        load(content, "x.yaml")
    assert [(m.line, m.code) for m in caught.value.mistakes] == [(line, code)]
