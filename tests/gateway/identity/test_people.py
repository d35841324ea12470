"""People: enrolment, sign-in with two factors, locks, sessions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from pyotp.totp import TOTP

from gateway.errors import ProblemError
from gateway.identity import people
from gateway.identity.people import NewPerson, Proof, Refused, SignedIn
from gateway.tables import metadata

from .conftest import BANK_PARTY, PASSWORD, START

# RFC 6238 appendix B, SHA-1: the key is ASCII "12345678901234567890"; the last six of eight digits.
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


@pytest.mark.parametrize(("at", "code"), RFC_CODES)
def test_codes_of_rfc_6238(at, code):
    now = datetime.fromtimestamp(at, UTC)
    assert people._step(RFC_SECRET, code, now) == at // 30


@pytest.mark.parametrize("code", ["", "12345", "1234567", "28708２", "287 082", "abcdef"])
def test_not_a_code(code):
    assert people._step(RFC_SECRET, code, datetime.fromtimestamp(59, UTC)) is None


def sign_in(bank, enrolled, *, login="li.officer", password=PASSWORD, code=None):
    code = code or TOTP(enrolled.totp_secret).at(bank.now())
    with bank.database.read() as conn:
        proof = people.prove_password(conn, login, password)
    return bank.database.write(lambda conn: people.sign_in(conn, bank, proof=proof, code=code))


def session(bank, token):
    with bank.database.read() as conn:
        return people.authenticate_session(conn, bank, token)[0]


def session_code(bank, token):
    with pytest.raises(ProblemError) as refused:
        session(bank, token)
    return refused.value.code


def test_sign_in_gives_the_scopes_of_the_roles(bank, enrol):
    enrolled = enrol()
    signed_in = sign_in(bank, enrolled)
    assert isinstance(signed_in, SignedIn)
    caller = session(bank, signed_in.token)
    assert caller.kind == "person"
    assert caller.person_id == caller.id == enrolled.person_id
    assert caller.roles == {"officer"}
    assert "review:decide" in caller.scopes
    assert "admin:people" not in caller.scopes


def test_secrets_are_not_kept_readable(bank, enrol):
    enrolled = enrol()
    signed_in = sign_in(bank, enrolled)
    with bank.database.read() as conn:
        person = conn.execute(sa.select(metadata.tables["person"])).one()
        kept = conn.execute(sa.select(metadata.tables["sign_in"])).one()
    assert person.password_hash.startswith("$argon2id$")
    assert enrolled.totp_secret not in str(person)
    assert PASSWORD not in str(person)
    assert signed_in.token not in str(kept)


def test_a_code_is_good_once(bank, clock, enrol):
    enrolled = enrol()
    code = TOTP(enrolled.totp_secret).at(bank.now())
    assert isinstance(sign_in(bank, enrolled, code=code), SignedIn)
    assert isinstance(sign_in(bank, enrolled, code=code), Refused)
    clock.advance(seconds=30)  # still within the window of the old code
    assert isinstance(sign_in(bank, enrolled, code=code), Refused)
    assert isinstance(sign_in(bank, enrolled), SignedIn)


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-60, False), (-30, True), (30, True), (60, False)]
)
def test_the_window_of_a_code(bank, enrol, seconds, accepted):
    enrolled = enrol()
    code = TOTP(enrolled.totp_secret).at(int(bank.now().timestamp()) + seconds)
    assert isinstance(sign_in(bank, enrolled, code=code), SignedIn) is accepted


def test_every_refusal_reads_the_same(bank, clock, enrol):
    enrolled = enrol()
    closed = enrol("wang.gone")
    bank.database.write(lambda conn: people.close(conn, closed.person_id, now=bank.now()))
    refusals = [
        sign_in(bank, enrolled, login="nobody.here"),
        sign_in(bank, enrolled, password="wrong password entirely"),
        sign_in(bank, enrolled, password="x" * 100_000),
        sign_in(bank, enrolled, code="000000"),
        sign_in(bank, closed, login="wang.gone"),
    ]
    refusals += [sign_in(bank, enrolled, code="000000") for _ in range(people.LOCK_AFTER)]
    refusals.append(sign_in(bank, enrolled))  # right, and locked
    problems = [refusal.problem() for refusal in refusals]
    assert {(p.code, p.detail, p.retry_after) for p in problems} == {
        ("sign_in_refused", problems[0].detail, None)
    }


@pytest.mark.sqlite  # whose log of writes can be looked at
@pytest.mark.parametrize(
    "refusal", ["unknown login", "wrong password", "wrong code", "locked", "closed"]
)
def test_every_refusal_waits_for_the_disk(bank, enrol, refusal):
    enrolled = enrol()
    with bank.database.read() as conn:
        right = people.prove_password(conn, "li.officer", PASSWORD)
    proof = {
        "unknown login": Proof(person_id=None, is_right=False),
        "wrong password": Proof(person_id=enrolled.person_id, is_right=False),
    }.get(refusal, right)
    if refusal == "locked":
        wrong(bank, right, people.LOCK_AFTER)
    elif refusal == "closed":
        bank.database.write(lambda conn: people.close(conn, enrolled.person_id, now=bank.now()))
    log = bank.settings.database.with_name("bank.sqlite-wal")
    before = log.stat().st_size
    assert isinstance(wrong(bank, proof, 1), Refused)
    assert log.stat().st_size > before


def wrong(bank, proof, times):
    for _ in range(times):
        refused = bank.database.write(
            lambda conn: people.sign_in(conn, bank, proof=proof, code="000000")
        )
    return refused


def test_ten_failures_lock_with_back_off(bank, clock, enrol):
    enrolled = enrol()
    with bank.database.read() as conn:
        proof = people.prove_password(conn, "li.officer", PASSWORD)

    def right():
        code = TOTP(enrolled.totp_secret).at(bank.now())
        return bank.database.write(lambda conn: people.sign_in(conn, bank, proof=proof, code=code))

    assert wrong(bank, proof, 9).locked_until is None
    minutes = []
    for _ in range(6):
        locked_until = wrong(bank, proof, 1).locked_until
        assert isinstance(right(), Refused)
        # While it is locked nothing counts, so nobody can be kept out for ever.
        assert wrong(bank, proof, 3).locked_until == locked_until
        minutes.append((locked_until - bank.now()).total_seconds() / 60)
        clock.instant = locked_until
    assert minutes == [1, 2, 4, 8, 15, 15]
    assert isinstance(right(), SignedIn)
    assert wrong(bank, proof, 9).locked_until is None  # counted from nought again


def test_a_right_code_with_a_wrong_password_is_a_failure(bank, enrol):
    enrolled = enrol()
    sign_in(bank, enrolled, password="wrong password entirely")
    with bank.database.read() as conn:
        person = conn.execute(sa.select(metadata.tables["person"])).one()
    assert person.failures == 1
    assert person.totp_last_step == 0  # the code was not spent on a wrong password


def test_a_session_ends_when_idle(bank, clock, enrol):
    token = sign_in(bank, enrol()).token
    clock.advance(minutes=14, seconds=59)
    assert session(bank, token)
    clock.advance(seconds=1)
    assert session_code(bank, token) == "session_ended"


def test_a_used_session_ends_at_its_last_hour(bank, clock, enrol):
    signed_in = sign_in(bank, enrol())
    for _ in range(48):
        assert session(bank, signed_in.token)
        clock.advance(minutes=10)
        bank.database.write(lambda conn: people.touch(conn, signed_in.session_id, bank.now()))
    assert session_code(bank, signed_in.token) == "session_ended"


def test_sign_out(bank, enrol):
    signed_in = sign_in(bank, enrol())
    for _ in range(2):
        bank.database.write(
            lambda conn: people.sign_out(conn, signed_in.session_id, now=bank.now())
        )
    assert session_code(bank, signed_in.token) == "session_ended"


def test_closing_a_person_ends_their_sessions(bank, enrol):
    enrolled = enrol()
    token = sign_in(bank, enrolled).token
    bank.database.write(lambda conn: people.close(conn, enrolled.person_id, now=bank.now()))
    assert session_code(bank, token) == "session_ended"


def test_a_role_taken_away_is_gone_at_the_next_request(bank, enrol):
    token = sign_in(bank, enrol()).token
    person = metadata.tables["person"]
    bank.database.write(lambda conn: conn.execute(sa.update(person).values(roles=["auditor"])))
    assert "review:decide" not in session(bank, token).scopes


@pytest.mark.parametrize("token", ["", "hgr_session_", "hgr_session_" + "a" * 43, "x" * 55])
def test_an_unknown_session(bank, token):
    assert session_code(bank, token) == "unauthenticated"


@pytest.mark.parametrize(
    "password",
    ["short", "aaaaaaaaaaaaaaaa", "x" * 129, "my-LI.officer-password", "ababababababab"],
)
def test_a_weak_password(password):
    with pytest.raises(ProblemError) as refused:
        people.hash_password(password, login="li.officer")
    assert refused.value.errors[0].pointer == "/password"
    assert password not in str(refused.value)


def test_one_password_has_one_spelling(bank, enrol):
    # U+FB03 (ligature ffi) and full-width digits are other spellings of the same characters.
    new = NewPerson(
        login="zhao.officer",
        name="赵 (虚构)",
        party_id=BANK_PARTY,
        roles=("officer",),
        password_hash=people.hash_password("e\ufb03cient-１２３４-样本库", login="zhao.officer"),
    )
    enrolled = bank.database.write(lambda conn: people.create(conn, bank, new))
    signed_in = sign_in(bank, enrolled, login="zhao.officer", password="efficient-1234-样本库")
    assert isinstance(signed_in, SignedIn)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"roles": ("officer", "administrator")}, "invalid_request"),
        ({"roles": ()}, "invalid_request"),
        ({"login": "Li Officer"}, "invalid_request"),
        ({"login": "x"}, "invalid_request"),
        ({"login": "li.officer"}, "already_done"),
        ({"party_id": "pty_nobody"}, "not_found"),
    ],
)
def test_who_may_not_be_enrolled(bank, enrol, change, code):
    enrol()
    terms = {
        "login": "sun.new",
        "name": "孙",
        "party_id": BANK_PARTY,
        "roles": ("officer",),
        "password_hash": "$argon2id$",
    }
    with pytest.raises(ProblemError) as refused:
        bank.database.write(lambda conn: people.create(conn, bank, NewPerson(**(terms | change))))
    assert refused.value.code == code


def test_a_broken_hash_lets_nobody_in(bank, enrol):
    enrolled = enrol()
    person = metadata.tables["person"]
    bank.database.write(lambda conn: conn.execute(sa.update(person).values(password_hash="x")))
    assert isinstance(sign_in(bank, enrolled), Refused)


def test_closing_nobody(bank):
    with pytest.raises(ProblemError) as refused:
        bank.database.write(lambda conn: people.close(conn, "psn_nobody", now=START))
    assert refused.value.code == "not_found"


def test_the_code_generator_can_be_set_up_from_its_address(enrol):
    enrolled = enrol()
    assert enrolled.totp_uri.startswith("otpauth://totp/")
    assert f"secret={enrolled.totp_secret}" in enrolled.totp_uri
