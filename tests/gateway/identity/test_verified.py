"""The memory of verified tokens: short, bounded, and never about what has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.identity import api_keys, tokens
from gateway.identity.tokens import GUARD, LIFE, Known, Verified

from .conftest import START


@pytest.fixture
def known(mint):
    key = mint().key
    return Known(
        caller=api_keys.caller_of(key), key=key, jti="jti", since=START, until=START + LIFE
    )


@pytest.mark.parametrize(
    ("after", "remembered"),
    [
        (timedelta(0), True),
        (LIFE - timedelta(microseconds=1), True),
        (LIFE, False),
        (timedelta(microseconds=-1), False),  # a clock set back
    ],
)
def test_how_long_it_is_remembered(known, after, remembered):
    memory = Verified()
    memory.put(b"digest", known)
    assert (memory.get(b"digest", START + after) is known) is remembered


@pytest.mark.parametrize("ended", ["jti", "key"])
def test_what_has_ended_is_forgotten(known, ended):
    memory = Verified()
    memory.put(b"digest", known)
    memory.forget(known.key.id if ended == "key" else known.jti, START)
    assert memory.get(b"digest", START) is None
    memory.put(b"digest", known)  # read before the commit, kept after it
    assert memory.get(b"digest", START) is None


def test_the_guard_of_one_end_is_not_lost_among_many(known, monkeypatch):
    monkeypatch.setattr(tokens, "CAPACITY", 3)
    memory = Verified()
    memory.forget(known.jti, START)
    for n in range(10):
        memory.forget(f"other{n}", START + GUARD - timedelta(seconds=1))
    memory.put(b"digest", known)
    assert memory.get(b"digest", START) is None


def test_the_memory_is_bounded(known, monkeypatch):
    monkeypatch.setattr(tokens, "CAPACITY", 3)
    memory = Verified()
    for n in range(4):
        memory.put(bytes([n]), known)
    assert memory.get(b"\x00", START) is None
    assert memory.get(b"\x03", START) is known
