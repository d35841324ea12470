"""API keys: their text, their life, and what a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import pytest
import sqlalchemy as sa

from gateway.errors import ProblemError
from gateway.identity import api_keys
from gateway.identity.api_keys import BASE62, Wanted, checksum, id_of
from gateway.identity.tokens import Verified
from gateway.tables import metadata

from .conftest import COMPANY, START


def verify(bank, text, address="203.0.113.7"):
    with bank.database.read() as conn:
        caller, _ = api_keys.verify(
            conn,
            text,
            address=ip_address(address) if address else None,
            now=bank.now(),
            pepper=bank.keys.pepper,
        )
    return caller


def code(bank, text, address="203.0.113.7"):
    with pytest.raises(ProblemError) as refused:
        verify(bank, text, address)
    return refused.value.code


def test_checksum_is_crc32_in_base62():
    # The check value of CRC-32/ISO-HDLC, from the catalogue of parametrised CRC algorithms.
    value = 0xCBF43926
    text = ""
    for _ in range(6):
        text = BASE62[value % 62] + text
        value //= 62
    assert checksum("123456789") == text


def test_a_key_reads_as_published(mint):
    text = mint().text
    prefix, kind, key_id, rest = text.split("_")
    assert (prefix, kind, len(key_id), len(rest)) == ("hgr", "live", 10, 36)
    assert id_of(text) == key_id


def test_a_mistyped_key_is_refused_without_the_database(mint):
    text = mint().text
    for at in range(len("hgr_live_"), len(text)):
        for other in ("0", "z"):
            if text[at] != other:
                assert id_of(text[:at] + other + text[at + 1 :]) is None, at


@pytest.mark.parametrize("text", ["", "hgr_live_", "hgr_test_" + "a" * 47, "hgr_live_é" + "a" * 46])
def test_not_a_key(bank, text):
    assert id_of(text) is None
    assert code(bank, text) == "unauthenticated"


def test_the_caller_of_a_key(bank, mint):
    minted = mint("samples:query", "keys:self")
    caller = verify(bank, minted.text)
    assert caller.kind == "key"
    assert caller.party_id == COMPANY
    assert caller.scopes == {"samples:query", "keys:self"}
    assert caller.id == f"key_{minted.key.id}"
    assert not caller.roles


def test_the_secret_is_nowhere_in_the_database(bank, mint):
    text = mint().text
    with bank.database.read() as conn:
        row = conn.execute(sa.select(metadata.tables["api_key"])).one()
    assert text.split("_")[3] not in str(row)
    assert row.secret_hmac != text


def test_unknown_id_and_wrong_secret_answer_alike(bank, mint):
    mint_text = mint().text
    body = mint_text[:-7] + ("0" if mint_text[-7] != "0" else "1")
    wrong_secret = body + checksum(body)
    body = "hgr_live_" + "0" * 10 + "_" + "0" * 30
    unknown = body + checksum(body)
    answers = []
    for text in (wrong_secret, unknown, "nonsense"):
        with pytest.raises(ProblemError) as refused:
            verify(bank, text)
        answers.append((refused.value.code, refused.value.detail))
    assert set(answers) == {("unauthenticated", "the api key is not known")}


def test_another_pepper_knows_no_key(bank, mint):
    text = mint().text
    with bank.database.read() as conn, pytest.raises(ProblemError) as refused:
        api_keys.verify(conn, text, address=None, now=bank.now(), pepper=b"another")
    assert refused.value.code == "unauthenticated"


def test_expiry_is_exact(bank, clock, mint):
    text = mint(days=1).text
    clock.advance(days=1, microseconds=-1)
    assert verify(bank, text)
    clock.advance(microseconds=1)
    assert code(bank, text) == "key_expired"


def test_a_wrong_secret_does_not_learn_that_the_key_expired(bank, clock, mint):
    text = mint(days=1).text
    clock.advance(days=2)
    body = text[:-7] + ("0" if text[-7] != "0" else "1")
    assert code(bank, body + checksum(body)) == "unauthenticated"


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        ((), "203.0.113.7", True),
        ((), None, True),
        (("203.0.113.0/24",), "203.0.113.7", True),
        (("203.0.113.0/24",), "203.0.114.7", False),
        (("203.0.113.0/24",), None, False),
        (("203.0.113.0/24",), "2001:db8::1", False),
        (("203.0.113.0/24", "2001:db8::/32"), "2001:db8::1", True),
    ],
)
def test_networks(bank, mint, networks, address, allowed):
    text = mint(networks=networks).text
    if allowed:
        assert verify(bank, text, address)
    else:
        assert code(bank, text, address) == "address_refused"


def test_revocation_is_immediate_and_once(bank, mint):
    minted = mint()
    seen = Verified()

    def unit(conn):
        return api_keys.revoke(
            conn, minted.key.id, reason="leaked", now=bank.now(), forget=seen.forget
        )

    assert bank.database.write(unit).revoked_reason == "leaked"
    assert code(bank, minted.text) == "key_revoked"
    with pytest.raises(ProblemError) as refused:
        bank.database.write(unit)
    assert refused.value.code == "already_done"


def rotated(bank, minted, **overlap):
    return bank.database.write(
        lambda conn: api_keys.rotate(
            conn,
            bank,
            minted.key.id,
            overlap=timedelta(**overlap),
            created_by="key_x",
            forget=Verified().forget,
        )
    )


def test_rotation_overlaps_then_ends_the_old_key(bank, clock, mint):
    old = mint("samples:query", networks=("203.0.113.0/24",), days=90)
    clock.advance(days=10)
    new = rotated(bank, old, days=2)
    assert new.key.rotated_from == old.key.id
    assert (new.key.scopes, new.key.networks) == (old.key.scopes, old.key.networks)
    assert new.key.expires_at - bank.now() == timedelta(days=90)
    assert verify(bank, old.text)
    assert verify(bank, new.text)
    clock.advance(days=2)
    assert code(bank, old.text) == "key_expired"
    assert verify(bank, new.text)


def test_rotation_never_lengthens_the_old_key(bank, mint):
    old = mint(days=1)
    rotated(bank, old, days=20)
    with bank.database.read() as conn:
        assert api_keys.get(conn, old.key.id).expires_at == START + timedelta(days=1)


@pytest.mark.parametrize(
    ("overlap", "wrong"), [({"days": -1}, "invalid_request"), ({"days": 31}, "invalid_request")]
)
def test_rotation_overlap_is_bounded(bank, mint, overlap, wrong):
    with pytest.raises(ProblemError) as refused:
        rotated(bank, mint(), **overlap)
    assert refused.value.code == wrong


def test_an_ended_key_has_no_successor(bank, clock, mint):
    minted = mint(days=1)
    clock.advance(days=1)
    with pytest.raises(ProblemError) as refused:
        rotated(bank, minted, days=1)
    assert refused.value.code == "state_conflict"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": ("review:decide",)}, "/scopes/0"),
        ({"networks": ("10.0.0.1/8",)}, "/networks/0"),
        ({"networks": ("nowhere",)}, "/networks/0"),
        ({"expires_at": START}, "/expires_at"),
        ({"expires_at": START + timedelta(days=366)}, "/expires_at"),
    ],
)
def test_what_may_not_be_minted(bank, change, pointer):
    terms = {
        "party_id": COMPANY,
        "label": "x",
        "scopes": ("samples:query",),
        "expires_at": START + timedelta(days=1),
    }
    wanted = Wanted(**(terms | change))
    with pytest.raises(ProblemError) as refused:
        bank.database.write(lambda conn: api_keys.mint(conn, bank, wanted, created_by="x"))
    assert refused.value.errors[0].pointer == pointer


def test_an_unknown_party_gets_no_key(bank, mint):
    with pytest.raises(ProblemError) as refused:
        mint(party_id="pty_nobody")
    assert refused.value.code == "not_found"


def test_keys_of_another_party_are_not_found(bank, mint):
    minted = mint()
    with bank.database.read() as conn:
        assert [key.id for key in api_keys.of_party(conn, COMPANY)] == [minted.key.id]
        assert api_keys.of_party(conn, "pty_bank") == ()
        with pytest.raises(ProblemError) as refused:
            api_keys.get(conn, minted.key.id, party_id="pty_bank")
    assert refused.value.code == "not_found"


def test_use_is_noted_once_a_minute(bank, clock, mint):
    key_id = mint().key.id

    def used_at(**later):
        clock.advance(**later)
        bank.database.write(lambda conn: api_keys.touch(conn, key_id, bank.now()))
        with bank.database.read() as conn:
            return api_keys.get(conn, key_id).last_used_at

    assert used_at() == START
    assert used_at(seconds=59) == START
    assert used_at(seconds=1) == START + timedelta(minutes=1)
