"""The Merkle tree of RFC 6962 §2.1: hashes, roots, proofs, and how to check them.

Rules it keeps:

- Pure: no I/O. Proofs are built through a `ReadNode`, a function the caller provides.
- Functions that check are called `verify_*` and raise `ProofError`; nothing returns a bool that
  could be forgotten.
- Hashes are 32 raw bytes (SHA-256).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

HASH_SIZE: Final = 32  # SHA-256

ReadNode = Callable[[int, int], bytes]
"""`read(level, index)` gives the root of the complete subtree over the leaves
`index << level` up to `(index + 1) << level`."""


class ProofError(ValueError):
    """The proof, the root or the sizes do not fit together; whoever sent them is at fault."""


# RFC 6962 §2.1: "The hash of an empty list is the hash of an empty string."
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry. RFC 6962 §2.1: `MTH({d(0)}) = SHA-256(0x00 || d(0))`."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node. RFC 6962 §2.1: `SHA-256(0x01 || left || right)`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The left edge of what is still to come: the roots of the complete subtrees of a tree.

    A tree of n leaves is described by one hash per set bit of n, largest subtree first. That is
    all that is needed to append and to know the root. Mutable; owned by whoever made it.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Resume at `size` leaves with the subtree roots `peaks`, largest first."""
        if size < 0 or len(peaks) != size.bit_count():
            raise ProofError(f"a tree of `{size}` leaves does not have `{len(peaks)}` peaks")
        self._size = size
        self._peaks = list(peaks)

    @property
    def size(self) -> int:
        """How many leaves."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, largest first."""
        return tuple(self._peaks)

    def append(self, hashed: bytes, height: int = 0) -> None:
        """Add one leaf by its hash, or the complete subtree of 2**height leaves by its root.

        Raises `ProofError` where such a subtree cannot begin.
        """
        # Appending is counting in binary: each trailing one bit of the old size is a complete
        # subtree that the new one completes with.
        carry = self._size >> height
        if carry << height != self._size:
            raise ProofError(f"no subtree of height `{height}` begins at leaf `{self._size}`")
        while carry & 1:
            hashed = node_hash(self._peaks.pop(), hashed)
            carry >>= 1
        self._peaks.append(hashed)
        self._size += 1 << height

    def root(self) -> bytes:
        """The RFC 6962 root of the leaves so far; of none, the hash of the empty string."""
        return _fold(self._peaks)


def root_from_leaf_hashes(hashes: Iterable[bytes]) -> bytes:
    """The root of a tree whose leaves have these hashes, in memory of log(n)."""
    tree = CompactRange()
    for hashed in hashes:
        tree.append(hashed)
    return tree.root()


def root_of_row(hashes: Sequence[bytes]) -> bytes:
    """The same root, row by row: quicker, for the few hashes of a tile. Of none, as of no leaves."""
    # RFC 6962 §2.1 splits at "the largest power of two smaller than n": so all but the last node of
    # a row have two children, and what stands alone at its end rises as it is.
    row = list(hashes)
    while len(row) > 1:
        pairs = iter(row)
        alone = row[-1:] if len(row) & 1 else []
        row = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(pairs, pairs, strict=False)
        ] + alone
    return row[0] if row else EMPTY_ROOT


def root_from_nodes(size: int, read: ReadNode) -> bytes:
    """The root of the tree of the first `size` leaves, from its complete subtrees."""
    return _fold([read(level, index) for level, index in complete_subtrees(0, size)])


def complete_subtrees(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The (level, index) of the complete subtrees that make up leaves `start` to `stop`.

    Largest first; `start` must be a multiple of the largest power of two not above the length,
    which holds for every range RFC 6962 speaks of.
    """
    while start < stop:
        level = (stop - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def inclusion_proof(index: int, size: int, read: ReadNode) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree of `size` leaves, RFC 6962 §2.1.1.

    Leaf's sibling first, root's child last. Raises `ProofError` if the leaf is not in the tree.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf `{index}` in a tree of `{size}`")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_range_root(middle, stop, read))
            stop = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, read: ReadNode) -> tuple[bytes, ...]:
    """The proof that the tree of `old` leaves is a prefix of that of `new`, RFC 6962 §2.1.2.

    Raises `ProofError` unless 0 < old <= new: about the empty tree there is nothing to prove.
    """
    if not 0 < old <= new:
        raise ProofError(f"there is no consistency proof from size `{old}` to `{new}`")
    proof: list[bytes] = []
    start, stop = 0, new
    # RFC 6962 §2.1.2 SUBPROOF(m, D[n], b): walk down to the old tree's right edge.
    while stop != old:
        middle = start + _split(stop - start)
        if old <= middle:
            proof.append(_range_root(middle, stop, read))
            stop = middle
        else:
            proof.append(_range_root(start, middle, read))
            start = middle
    if start:  # b is false: the verifier does not know this subtree yet
        proof.append(_range_root(start, stop, read))
    return tuple(reversed(proof))


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to, RFC 9162 §2.1.3.2.

    `leaf` is a leaf hash. Raises `ProofError` if the numbers or the lengths are impossible.
    """
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf `{index}` in a tree of `{size}`")
    _verify_hashes([leaf, *proof])
    fn, sn, root = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise ProofError("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            root = node_hash(sibling, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node_hash(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("the inclusion proof is too short")
    return root


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise `ProofError` unless `proof` shows leaf hash `leaf` at `index` under `root`."""
    if root_from_inclusion(index, size, leaf, proof) != root:
        raise ProofError("the inclusion proof leads to another root")


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `ProofError` unless `proof` shows the old tree to be a prefix of the new one.

    RFC 9162 §2.1.4.2. The empty tree is refused: a proof about it would prove nothing.
    """
    if not 0 < old <= new:
        raise ProofError(f"there is no consistency proof from size `{old}` to `{new}`")
    if old == new:
        if proof:
            raise ProofError("the consistency proof of a tree with itself must be empty")
        if old_root != new_root:
            raise ProofError("two trees of one size have different roots")
        return
    _verify_hashes([old_root, new_root, *proof])
    # "If first is an exact power of 2, then prepend first_hash to the consistency_path array."
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    first, second = _roots_from_consistency(old - 1, new - 1, path)
    if first != old_root:
        raise ProofError("the consistency proof leads to another old root")
    if second != new_root:
        raise ProofError("the consistency proof leads to another new root")


def _roots_from_consistency(fn: int, sn: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The old and the new root that a path leads to; names as in RFC 9162 §2.1.4.2."""
    if not path:
        raise ProofError("the consistency proof is empty")
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofError("the consistency proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofError("the consistency proof is too short")
    return first, second


def _split(size: int) -> int:
    """RFC 6962 §2.1: "let k be the largest power of two smaller than n"."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(start: int, stop: int, read: ReadNode) -> bytes:
    return _fold([read(level, index) for level, index in complete_subtrees(start, stop)])


def _fold(peaks: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, largest first: the smallest are joined first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _verify_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(hashed) != HASH_SIZE for hashed in hashes):
        raise ProofError(f"a hash must be `{HASH_SIZE}` bytes long")
