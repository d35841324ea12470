"""Signed notes, checkpoints and proofs against Go's sumdb/note and the C2SP texts."""

import base64
import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.merkle import ProofError, leaf_hash, node_hash
from audit.note import (
    Checkpoint,
    Note,
    NoteError,
    Signature,
    SignatureError,
    Signer,
    TlogProof,
    Verifier,
    open_checkpoint,
    sign,
)
from tests.audit.bank import ORIGIN, OTHER, SIGNER

# golang.org/x/mod/sumdb/note note_test.go (BSD-3-Clause): keys, text and signatures.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WW"
    "d1RvMc+QQ=\n"
)

# C2SP tlog-checkpoint: the example of the specification.
CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
    "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
# C2SP signed-note: the example of the specification, whose text holds an empty line.
QUASIMODO = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU"
    "0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)


def test_go_s_key_signs_go_s_note():
    signer = Signer.from_skey(PETER_SKEY)
    assert sign(TEXT, signer) == f"{TEXT}\n{PETER_LINE}".encode()
    assert signer.skey == PETER_SKEY
    assert signer.verifier().vkey == PETER_VKEY
    assert Verifier.from_vkey(PETER_VKEY) == signer.verifier()


@pytest.mark.parametrize("vkey", [PETER_VKEY, ENOCH_VKEY])
def test_go_s_note_of_two_signatures_verifies_under_each(vkey):
    note = Note.from_bytes(f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode())
    assert note.text == TEXT
    note.verify(Verifier.from_vkey(vkey))


def test_a_secret_does_not_show():
    assert "seed" not in repr(Signer.from_skey(PETER_SKEY))


@pytest.mark.parametrize("key", [PETER_VKEY, PETER_SKEY])
def test_no_mangling_of_a_key_is_accepted(key):
    """The manglings of Go's TestNewVerifier and TestNewSigner."""
    parse = Signer.from_skey if key is PETER_SKEY else Verifier.from_vkey
    for start in range(len(key)):
        for stop in range(start + 1, len(key) + 1):
            if stop - start < len(key):
                with pytest.raises(NoteError):
                    parse(key[start:stop])
    for at in range(len(key)):
        with pytest.raises(NoteError):
            parse(key[:at] + chr(ord(key[at]) + 1) + key[at + 1 :])


@pytest.mark.parametrize(
    ("why", "vkey"),
    [
        (
            "wrong length, id adjusted",
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        ),
        (
            "unknown algorithm, id adjusted",
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ),
        ("id in capitals", PETER_VKEY.replace("c74f20a3", "C74F20A3")),
        ("two parts", "PeterNeumann+c74f20a3"),
    ],
)
def test_a_bad_key_is_refused(why, vkey):
    with pytest.raises(NoteError):
        Verifier.from_vkey(vkey)


@pytest.mark.parametrize(
    ("why", "message", "data"),
    [
        ("no signature", "blank line", TEXT.encode()),
        ("only the blank line", "must end", f"{TEXT}\n".encode()),
        ("no last newline", "must end", f"{TEXT}\n{PETER_LINE}".encode()[:-1]),
        ("a control character", "control", b"\x01" + f"{TEXT}\n{PETER_LINE}".encode()),
        ("not UTF-8", "UTF-8", b"\xff" + f"{TEXT}\n{PETER_LINE}".encode()),
        ("a line after", "must begin", f"{TEXT}\n{PETER_LINE}Unexpected line.\n".encode()),
        ("a name with a space", "base64", f"{TEXT}\n— Bad Name x08g\n".encode()),
        ("a name with a plus", "name of a key", f"{TEXT}\n— a+b x08gaaaa\n".encode()),
        ("no name", "name of a key", f"{TEXT}\n—  x08gaaaa\n".encode()),
        ("too short a signature", "too short", f"{TEXT}\n— a x08goA==\n".encode()),
        ("another spelling of base64", "canonical", f"{TEXT}\n— a x08goB==\n".encode()),
        ("too many signatures", "more than", f"{TEXT}\n{PETER_LINE * 101}".encode()),
        ("too long", "exceed", b"a" * 1_000_001),
    ],
)
def test_a_malformed_note_is_refused(why, message, data):
    with pytest.raises(NoteError, match=message):
        Note.from_bytes(data)


def test_sixteen_signatures_are_accepted():
    note = Note.from_bytes(f"{TEXT}\n{PETER_LINE * 16}".encode())
    note.verify(Verifier.from_vkey(PETER_VKEY))


@pytest.mark.parametrize(
    ("why", "note"),
    [
        ("unknown key", f"{TEXT}\n{ENOCH_LINE}"),
        ("known name, other id", f"{TEXT}\n{PETER_LINE.replace('x08g', 'xxxx')}"),
        ("known id, other name", f"{TEXT}\n{PETER_LINE.replace('Peter', 'Pieter')}"),
        ("changed text", f"{TEXT.replace('your', 'our')}\n{PETER_LINE}"),
        ("one good, one bad", f"{TEXT}\n{PETER_LINE}{PETER_LINE.replace('ZJku', 'ZJkv')}"),
    ],
)
def test_a_note_not_signed_by_the_key_is_refused(why, note):
    with pytest.raises(SignatureError):
        Note.from_bytes(note.encode()).verify(Verifier.from_vkey(PETER_VKEY))


def test_the_signed_note_example_of_c2sp():
    note = Note.from_bytes(QUASIMODO.encode())
    assert note.text.endswith("\n\ned è subito sera.\n")
    (signature,) = note.signatures
    assert signature.name == "quasimodo.example/salvatore"
    assert (len(signature.key_id), len(signature.signature)) == (4, 64)


def test_the_checkpoint_example_of_c2sp():
    note = Note.from_bytes(CHECKPOINT.encode())
    checkpoint = Checkpoint.from_text(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("two lines", "o\n1\n"),
        ("no last newline", f"o\n1\n{ROOT}"),
        ("empty origin", f"\n1\n{ROOT}\n"),
        ("leading zero", f"o\n01\n{ROOT}\n"),
        ("negative", f"o\n-1\n{ROOT}\n"),
        ("other digits", f"o\n١\n{ROOT}\n"),
        ("too large", f"o\n{10**19}\n{ROOT}\n"),
        ("short root", "o\n1\nAAAA\n"),
        ("root not base64", "o\n1\n!!!!\n"),
        ("empty extension", f"o\n1\n{ROOT}\n\nx\n"),
    ],
)
def test_a_malformed_checkpoint_is_refused(why, text):
    with pytest.raises(NoteError):
        Checkpoint.from_text(text)


def test_an_extension_line_is_kept():
    text = f"o\n0\n{ROOT}\nmore\n"
    assert Checkpoint.from_text(text).text() == text


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("two lines of origin", {"origin": "a\nb"}),
        ("negative size", {"size": -1}),
        ("extension of two lines", {"extensions": ("a\nb",)}),
    ],
)
def test_a_checkpoint_that_could_not_be_read_back_is_not_made(why, fields):
    with pytest.raises(NoteError):
        Checkpoint(**{"origin": "o", "size": 1, "root": bytes(32), **fields})


@pytest.mark.parametrize(
    ("why", "make"),
    [
        ("short public key", lambda: Verifier(name="a", public_key=b"")),
        ("short seed", lambda: Signer(name="a", seed=b"")),
        ("empty name", lambda: Signer(name="", seed=bytes(32))),
        ("name with a no-break space", lambda: Signer(name="a\u00a0b", seed=bytes(32))),
        ("no newline", lambda: sign("abc", Signer(name="a", seed=bytes(32)))),
        ("control character", lambda: sign("a\tb\n", Signer(name="a", seed=bytes(32)))),
    ],
)
def test_what_cannot_be_a_key_or_note_is_not_made(why, make):
    with pytest.raises(NoteError):
        make()


lines = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs",)), min_size=1)


@given(origin=lines, size=st.integers(0, 2**62), root=st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_checkpoints_go_to_and_fro(origin, size, root):
    signer = Signer.generate("log.example", os.urandom)
    checkpoint = Checkpoint(origin=origin, size=size, root=root)
    assert open_checkpoint(sign(checkpoint.text(), signer), signer.verifier()) == checkpoint
    assert Signer.from_skey(signer.skey) == signer
    assert Verifier.from_vkey(signer.verifier().vkey) == signer.verifier()


def test_signature_is_what_a_line_says():
    note = Note.from_bytes(f"{TEXT}\n{PETER_LINE}".encode())
    assert note.signatures == (
        Signature(
            name="PeterNeumann",
            key_id=bytes.fromhex("c74f20a3"),
            signature=base64.b64decode(PETER_LINE.split(" ")[2])[4:],
        ),
    )
    assert hashlib.sha256(note.text.encode()).digest()


# C2SP tlog-proof: the example of the specification, its abbreviated signatures aside.
EXAMPLE = b"""\
c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

"""


def test_the_layout_of_the_specification():
    proof = TlogProof.from_bytes(EXAMPLE)
    assert (proof.index, len(proof.hashes)) == (73894, 2)
    assert proof.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.g")
    assert proof.checkpoint.startswith(b"example.com/fancylog\n109482\n")
    assert proof.to_bytes() == EXAMPLE


def proof_of_two() -> tuple[bytes, TlogProof]:
    other = leaf_hash(b"other")
    root = node_hash(other, leaf_hash(b"entry"))
    note = sign(Checkpoint(origin=ORIGIN, size=2, root=root).text(), SIGNER)
    return b"entry", TlogProof(index=1, hashes=(other,), checkpoint=note)


def test_a_receipt_verifies_for_its_entry_and_key_only():
    entry, proof = proof_of_two()
    assert TlogProof.from_bytes(proof.to_bytes()) == proof
    assert proof.verify(entry, SIGNER.verifier()).size == 2
    with pytest.raises(ProofError):
        proof.verify(b"another entry", SIGNER.verifier())
    with pytest.raises(NoteError):
        proof.verify(entry, OTHER.verifier())


HASH = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("no checkpoint", "c2sp.org/tlog-proof@v1\nindex 1\n\n"),
        ("no blank line", "c2sp.org/tlog-proof@v1\nindex 1\n"),
        ("another version", "c2sp.org/tlog-proof@v2\nindex 1\n\nx"),
        ("no index", f"c2sp.org/tlog-proof@v1\n{HASH}\n\nx"),
        ("nothing after the first line", "c2sp.org/tlog-proof@v1\n\nx"),
        ("leading zero", "c2sp.org/tlog-proof@v1\nindex 01\n\nx"),
        ("negative", "c2sp.org/tlog-proof@v1\nindex -1\n\nx"),
        ("too large", f"c2sp.org/tlog-proof@v1\nindex {10**19}\n\nx"),
        ("not base64", "c2sp.org/tlog-proof@v1\nindex 1\n!\n\nx"),
        ("not canonical", "c2sp.org/tlog-proof@v1\nindex 1\nAB==\n\nx"),
        ("empty extra", "c2sp.org/tlog-proof@v1\nextra \nindex 1\n\nx"),
        ("not ASCII", "c2sp.org/tlog-proof@v1\nindex １\n\nx"),
    ],
)
def test_a_malformed_proof_is_refused(why, text):
    with pytest.raises(ProofError):
        TlogProof.from_bytes(text.encode())


@given(
    index=st.integers(0, 2**62),
    hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    extra=st.binary(max_size=100),
)
@settings(deadline=None)
def test_proofs_go_to_and_fro(index, hashes, extra):
    proof = TlogProof(index=index, hashes=tuple(hashes), checkpoint=b"o\n1\nx\n\n", extra=extra)
    assert TlogProof.from_bytes(proof.to_bytes()) == proof
