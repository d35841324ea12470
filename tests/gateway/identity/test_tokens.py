"""Access tokens and visas: what we write, and every forgery we know of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from ipaddress import ip_address

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from joserfc import jwk as peer_jwk
from joserfc import jwt as peer_jwt

from gateway.errors import ProblemError
from gateway.identity import api_keys, tokens
from gateway.identity.tokens import Verified

from .conftest import COMPANY

# Order of P-256 (FIPS 186-5, SEC 2 §2.4.2).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_of(text):
    return json.loads(unb64(text.split(".")[1]))


def header_of(text):
    return json.loads(unb64(text.split(".")[0]))


def resigned(bank, text, *, key=None, header=None, drop=(), **claims):
    """The token written anew with our own (or another) key: a forger's dream."""
    payload = {k: v for k, v in (claims_of(text) | claims).items() if k not in drop}
    head = header_of(text) | (header or {})
    head = {k: v for k, v in head.items() if v is not None}
    signing = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(payload).encode())}"
    signature = (key or bank.keys.token).sign(signing.encode(), ec.ECDSA(hashes_sha256()))
    r, s = utils.decode_dss_signature(signature)
    return f"{signing}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def hashes_sha256():
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


@pytest.fixture
def minted(mint):
    return mint("samples:query", "requests:write", networks=("203.0.113.0/24",))


@pytest.fixture
def issued(bank, minted):
    return tokens.issue(bank, minted.key, minted.key.scopes)


def authenticate(bank, text, seen=None, address="203.0.113.7"):
    seen, came_from = seen or Verified(), ip_address(address)
    if caller := tokens.remembered(bank, seen, text, address=came_from):
        return caller
    with bank.database.read() as conn:
        return tokens.authenticate(conn, bank, seen, text, address=came_from)


def code(bank, text, seen=None, address="203.0.113.7"):
    with pytest.raises(ProblemError) as refused:
        authenticate(bank, text, seen, address)
    return refused.value.code


def test_what_a_token_says(bank, minted, issued):
    claims = claims_of(issued.text)
    assert header_of(issued.text)["typ"] == "at+jwt"
    assert claims["iss"] == claims["aud"] == bank.settings.issuer
    assert claims["sub"] == claims["client_id"] == minted.key.id
    assert claims["org"] == COMPANY
    assert claims["scope"] == "requests:write samples:query"
    assert claims["exp"] - claims["iat"] == bank.settings.token_seconds
    caller = authenticate(bank, issued.text)
    assert caller.scopes == {"samples:query", "requests:write"}
    assert caller.key_id == minted.key.id


def test_another_library_verifies_it_with_the_published_keys(bank, issued):
    keys = peer_jwk.KeySet.import_key_set(tokens.jwks(bank))
    token = peer_jwt.decode(issued.text, keys, algorithms=["ES256"])
    assert token.claims["org"] == COMPANY


def test_published_keys_hold_nothing_private(bank):
    for key in tokens.jwks(bank)["keys"]:
        assert set(key) == {"kty", "crv", "x", "y", "use", "alg", "kid"}


def test_thumbprint_of_a_published_key():
    # RFC 9449 §4.1 shows the key, §6.1 its `jkt` (RFC 7638 thumbprint, SHA-256).
    x = int.from_bytes(unb64("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"), "big")
    y = int.from_bytes(unb64("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"), "big")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    assert tokens.thumbprint(key) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def unsigned(algorithm):
    def forge(bank, text):
        head = header_of(text) | {"alg": algorithm}
        return f"{b64(json.dumps(head).encode())}.{text.split('.')[1]}."

    return forge


def with_blank_signature(bank, text):
    return text.rsplit(".", 1)[0] + "." + b64(bytes(64))


def with_short_signature(bank, text):
    return text.rsplit(".", 1)[0] + "." + b64(b"\x01")


def keyed_with_public_pem(bank, text):
    pem = bank.keys.token.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = header_of(text) | {"alg": "HS256"}
    signing = f"{b64(json.dumps(head).encode())}.{text.split('.')[1]}"
    return f"{signing}.{b64(hmac.new(pem, signing.encode(), hashlib.sha256).digest())}"


def with_embedded_key(bank, text):
    other = ec.generate_private_key(ec.SECP256R1())
    own = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(other.public_key()))
    return resigned(bank, text, key=other, header={"jwk": own})


def with_rsa(bank, text):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head = header_of(text)
    return jwt.encode(
        claims_of(text), other, "RS256", headers={"typ": head["typ"], "kid": head["kid"]}
    )


def with_other_key(bank, text):
    return resigned(bank, text, key=ec.generate_private_key(ec.SECP256R1()))


def header_says(**header):
    return lambda bank, text: resigned(bank, text, header=header)


def claims_say(**claims):
    return lambda bank, text: resigned(bank, text, **claims)


def without(name):
    return lambda bank, text: resigned(bank, text, drop=(name,))


def with_changed_claim(bank, text):
    head, _, signature = text.split(".")
    claims = claims_of(text) | {"org": "pty_bank"}
    return f"{head}.{b64(json.dumps(claims).encode())}.{signature}"


FORGERIES = {
    # T1: no signature
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg nOnE": unsigned("nOnE"),
    "blank signature": with_blank_signature,
    "short signature": with_short_signature,
    # T2: key confusion
    "HS256 over our public PEM": keyed_with_public_pem,
    "embedded jwk": with_embedded_key,
    "RS256": with_rsa,
    "another P-256 key": with_other_key,
    "jku": header_says(jku="https://attacker.example/jwks.json"),
    "x5u": header_says(x5u="https://attacker.example/chain.pem"),
    "unknown kid": header_says(kid="other"),
    "no kid": header_says(kid=None),
    "kid as a path": header_says(kid="../../etc/passwd"),
    # T3: what must be understood and is not
    "unknown crit": header_says(crit=["exp"]),
    "empty crit": header_says(crit=[]),
    "b64 false": header_says(crit=["b64"], b64=False),
    "zip": header_says(zip="DEF"),
    # T6: another kind of token, another issuer, another audience
    "typ JWT": header_says(typ="JWT"),
    "no typ": header_says(typ=None),
    "typ visa": header_says(typ="vnd.ga4gh.visa+jwt"),
    "other issuer": claims_say(iss="https://attacker.example"),
    "other audience": claims_say(aud="https://attacker.example"),
    "audience list": lambda bank, text: resigned(bank, text, aud=[bank.settings.issuer]),
    "subject is not the client": claims_say(sub="other"),
    "unknown scope": claims_say(scope="samples:query review:decide"),
    "no such scope": claims_say(scope="everything"),
    "exp as text": claims_say(exp="99999999999"),
    "exp true": claims_say(exp=True),
    "exp beyond all dates": claims_say(exp=10**30),
    "iat as float": claims_say(iat=1.5),
    "org as number": claims_say(org=1),
    "jti as number": claims_say(jti=1),
    "changed after signing": with_changed_claim,
} | {
    f"without {name}": without(name)
    for name in ("iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope", "org")
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_forgery(bank, issued, forge):
    assert code(bank, forge(bank, issued.text)) == "token_invalid"


def test_the_forger_himself_can_write_a_good_one(bank, issued):
    # The control: what `resigned` writes without a change is accepted, so the rows above are
    # refused for what they change.
    assert authenticate(bank, resigned(bank, issued.text))


@pytest.mark.parametrize(
    "respell",
    [
        lambda text: text + "=",
        lambda text: text + " ",
        lambda text: " " + text,
        lambda text: text + "\n",
        lambda text: text.replace(".", "..", 1),
        lambda text: text + ".",
        lambda text: text + "." + text.split(".")[2],
        lambda text: text.replace("_", "/").replace("-", "+") + "=",
        lambda text: "." + text,
        lambda text: text[:-1] + chr(ord(text[-1]) + 1),  # unused bits of the last octet
        lambda text: text + "A" * 4096,
        lambda _: "",
        lambda _: "..",
        lambda _: "é.é.é",
        lambda text: b64(b"[" * 2000) + "." + ".".join(text.split(".")[1:]),
    ],
)
def test_a_token_has_one_spelling(bank, issued, respell):
    text = issued.text
    assert text[-1] in "AQgw"  # 64 octets leave four unused bits
    assert code(bank, respell(text)) == "token_invalid"


def test_the_mirrored_signature_dies_with_its_token(bank, issued):
    # ECDSA: (r, n-s) verifies as (r, s) does, so the same token has two texts. The denylist goes
    # by `jti`, so both are taken back together.
    head, payload, signature = issued.text.split(".")
    r, s = unb64(signature)[:32], int.from_bytes(unb64(signature)[32:], "big")
    twin = f"{head}.{payload}.{b64(r + (ORDER - s).to_bytes(32, 'big'))}"
    seen = Verified()
    assert authenticate(bank, twin, seen)
    revoke(bank, issued, seen)
    assert code(bank, twin, seen) == "token_invalid"
    assert code(bank, issued.text, seen) == "token_invalid"


def revoke(bank, issued, seen):
    bank.database.write(
        lambda conn: tokens.revoke(conn, issued.claims, now=bank.now(), verified=seen)
    )


def test_a_token_ends_by_the_banks_clock(bank, clock, issued):
    clock.advance(seconds=bank.settings.token_seconds + 4)
    assert authenticate(bank, issued.text)
    clock.advance(seconds=1)  # the leeway is five seconds
    assert code(bank, issued.text) == "token_invalid"


def test_a_token_from_the_future(bank, clock, issued):
    clock.advance(seconds=-6)
    assert code(bank, issued.text) == "token_invalid"


def test_a_token_never_outlives_its_key(bank, mint):
    minted = mint(days=1 / 1440)
    issued = tokens.issue(bank, minted.key, minted.key.scopes)
    assert issued.claims.expires_at == minted.key.expires_at


def test_a_token_never_holds_more_than_its_key(bank, minted):
    wide = frozenset(tokens.KEY_SCOPES)
    assert tokens.issue(bank, minted.key, wide).claims.scopes == minted.key.scopes


def test_a_remembered_token_is_bound_to_the_networks_too(bank, issued):
    seen = Verified()
    assert authenticate(bank, issued.text, seen)
    assert code(bank, issued.text, seen, address="198.51.100.1") == "address_refused"
    assert authenticate(bank, issued.text, seen)


def test_revoking_the_token_reaches_the_memory(bank, issued):
    seen = Verified()
    assert authenticate(bank, issued.text, seen)
    revoke(bank, issued, seen)
    assert code(bank, issued.text, seen) == "token_invalid"
    revoke(bank, issued, seen)


def test_revoking_the_key_reaches_the_memory(bank, minted, issued):
    seen = Verified()
    assert authenticate(bank, issued.text, seen)
    bank.database.write(
        lambda conn: api_keys.revoke(
            conn, minted.key.id, reason="x", now=bank.now(), forget=seen.forget
        )
    )
    assert code(bank, issued.text, seen) == "key_revoked"


def test_what_is_read_before_the_commit_is_not_remembered_after_it(bank, minted, issued):
    seen = Verified()

    def unit(conn):
        api_keys.revoke(conn, minted.key.id, reason="x", now=bank.now(), forget=seen.forget)
        assert authenticate(bank, issued.text, seen)  # not committed yet: still good

    bank.database.write(unit)
    assert code(bank, issued.text, seen) == "key_revoked"


def test_a_revocation_rolled_back_revokes_nothing(bank, minted, issued):
    seen = Verified()

    def unit(conn):
        api_keys.revoke(conn, minted.key.id, reason="x", now=bank.now(), forget=seen.forget)
        raise LookupError

    with pytest.raises(LookupError):
        bank.database.write(unit)
    assert authenticate(bank, issued.text, seen)


def test_the_memory_of_another_process_lasts_ten_seconds(bank, clock, minted, issued):
    elsewhere = Verified()
    assert authenticate(bank, issued.text, elsewhere)
    bank.database.write(
        lambda conn: api_keys.revoke(
            conn, minted.key.id, reason="x", now=bank.now(), forget=Verified().forget
        )
    )
    clock.advance(seconds=9)
    assert authenticate(bank, issued.text, elsewhere)
    clock.advance(seconds=1)
    assert code(bank, issued.text, elsewhere) == "key_revoked"


def test_visa(bank):
    now = int(bank.now().timestamp())
    claims = {
        "iss": bank.settings.issuer,
        "sub": "pty_company",
        "iat": now,
        "exp": now + int(timedelta(days=1).total_seconds()),
        "jti": "visa_1",
        "ga4gh_visa_v1": {
            "type": "ControlledAccessGrants",
            "asserted": now,
            "value": "https://bank.example/datasets/1",
            "source": "https://bank.example",
            "by": "dac",
        },
    }
    visa = tokens.sign_visa(bank, claims)
    header = header_of(visa)
    assert header == {
        "alg": "ES256",
        "typ": "vnd.ga4gh.visa+jwt",
        "kid": tokens.thumbprint(bank.keys.visa),
        "jku": bank.settings.issuer + "/oauth/jwks.json",
    }
    keys = peer_jwk.KeySet.import_key_set(tokens.jwks(bank))
    assert peer_jwt.decode(visa, keys, algorithms=["ES256"]).claims == claims
    # T6: a visa is no access token.
    assert code(bank, visa) == "token_invalid"


def test_a_visa_signed_by_the_token_key_is_not_an_access_token(bank, issued):
    other = resigned(bank, issued.text, key=bank.keys.visa)
    assert code(bank, other) == "token_invalid"
