"""RFC 6962 against published vectors, then against its own recursive definition."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import merkle
from audit.merkle import CompactRange, ProofError

VECTORS = json.loads((Path(__file__).parent / "data" / "merkle-vectors.json").read_text())[
    "vectors"
]
INCLUSION = {name: row for name, row in VECTORS.items() if name.startswith("inclusion/")}
CONSISTENCY = {name: row for name, row in VECTORS.items() if name.startswith("consistency/")}

# The eight leaves of transparency-dev/merkle testonly/constants.go.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]


def raw(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_every_applicable_vector_is_here():
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)


@pytest.mark.parametrize("name", INCLUSION)
def test_inclusion_vector(name):
    row = INCLUSION[name]
    proof = [raw(one) for one in row["proof"] or []]
    arguments = (row["leafIdx"], row["treeSize"], raw(row["leafHash"]), proof, raw(row["root"]))
    if row["wantErr"]:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(*arguments)
    else:
        merkle.verify_inclusion(*arguments)


@pytest.mark.parametrize("name", CONSISTENCY)
def test_consistency_vector(name):
    row = CONSISTENCY[name]
    proof = [raw(one) for one in row["proof"] or []]
    arguments = (row["size1"], row["size2"], raw(row["root1"]), raw(row["root2"]), proof)
    if row["wantErr"]:
        with pytest.raises(ProofError):
            merkle.verify_consistency(*arguments)
    else:
        merkle.verify_consistency(*arguments)


# transparency-dev/merkle rfc6962/rfc6962_test.go
@pytest.mark.parametrize(
    ("what", "got", "want"),
    [
        (
            "empty root",
            merkle.EMPTY_ROOT,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "empty leaf",
            merkle.leaf_hash(b""),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            "leaf",
            merkle.leaf_hash(b"L123456"),
            "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56",
        ),
        (
            "node",
            merkle.node_hash(b"N123", b"N456"),
            "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb",
        ),
        (
            "eight leaves",
            merkle.root_from_leaf_hashes(merkle.leaf_hash(one) for one in LEAVES),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ],
)
def test_published_hashes(what, got, want):
    assert got.hex() == want, what


def naive(hashes: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + naive(hashes[:k]) + naive(hashes[k:])).digest()


def naive_path(m: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, word for word."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m < k:
        return [*naive_path(m, hashes[:k]), naive(hashes[k:])]
    return [*naive_path(m - k, hashes[k:]), naive(hashes[:k])]


def naive_proof(m: int, hashes: list[bytes], *, known: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2, word for word."""
    if m == len(hashes):
        return [] if known else [naive(hashes)]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m <= k:
        return [*naive_proof(m, hashes[:k], known=known), naive(hashes[k:])]
    return [*naive_proof(m - k, hashes[k:], known=False), naive(hashes[:k])]


def leaf_hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % at) for at in range(count)]


def reader(hashes: list[bytes]) -> merkle.ReadNode:
    return lambda level, index: naive(hashes[index << level : (index + 1) << level])


@given(st.integers(0, 300), st.data())
@settings(max_examples=150, deadline=None)
def test_roots_and_proofs_are_those_of_the_definition(size, data):
    hashes = leaf_hashes(size)
    read = reader(hashes)
    root = naive(hashes)
    assert merkle.root_from_leaf_hashes(hashes) == root
    assert merkle.root_of_row(hashes) == root
    assert merkle.root_from_nodes(size, read) == root
    if size:
        index = data.draw(st.integers(0, size - 1))
        path = merkle.inclusion_proof(index, size, read)
        assert list(path) == naive_path(index, hashes)
        merkle.verify_inclusion(index, size, hashes[index], path, root)
        old = data.draw(st.integers(1, size))
        proof = merkle.consistency_proof(old, size, read)
        assert list(proof) == naive_proof(old, hashes)
        merkle.verify_consistency(old, size, naive(hashes[:old]), root, proof)


@given(st.integers(0, 200), st.integers(0, 100))
@settings(deadline=None)
def test_a_range_resumed_from_its_peaks_grows_as_if_never_stopped(size, more):
    hashes = leaf_hashes(size + more)
    before = CompactRange()
    for hashed in hashes[:size]:
        before.append(hashed)
    resumed = CompactRange(before.size, before.peaks)
    for hashed in hashes[size:]:
        resumed.append(hashed)
    assert (resumed.size, resumed.root()) == (size + more, naive(hashes))


@given(st.integers(0, 70), st.integers(0, 4), st.integers(0, 5))
@settings(deadline=None)
def test_a_range_grows_by_whole_subtrees_where_they_begin(size, height, more):
    hashes = leaf_hashes(size + (more << height))
    grown = CompactRange()
    for hashed in hashes[:size]:
        grown.append(hashed)
    for at in range(size, len(hashes), 1 << height):
        subtree = naive(hashes[at : at + (1 << height)])
        if size % (1 << height):
            with pytest.raises(ProofError, match=f"begins at leaf `{size}`"):
                grown.append(subtree, height)
            return
        grown.append(subtree, height)
    assert (grown.size, grown.root()) == (len(hashes), naive(hashes))


@pytest.mark.parametrize(("size", "peaks"), [(-1, []), (0, [b"x"]), (3, [b"x"]), (4, [])])
def test_a_range_with_the_wrong_peaks_is_refused(size, peaks):
    with pytest.raises(ProofError, match="peaks"):
        CompactRange(size, peaks)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_no_proof_for_a_leaf_outside_the_tree(index, size):
    with pytest.raises(ProofError, match="no leaf"):
        merkle.inclusion_proof(index, size, reader(leaf_hashes(3)))


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3)])
def test_no_consistency_proof_about_nothing_or_backwards(old, new):
    with pytest.raises(ProofError, match="no consistency proof"):
        merkle.consistency_proof(old, new, reader(leaf_hashes(3)))


def test_an_empty_consistency_proof_between_ragged_sizes_is_refused():
    hashes = leaf_hashes(4)
    with pytest.raises(ProofError, match="empty"):
        merkle.verify_consistency(3, 4, naive(hashes[:3]), naive(hashes), [])
