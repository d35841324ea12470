"""The tlog-proof text, both ways."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.merkle import ProofError, leaf_hash, node_hash
from audit.note import Checkpoint, NoteError, sign
from audit.proof import TlogProof
from tests.audit.bank import ORIGIN, OTHER, SIGNER

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
