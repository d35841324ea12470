"""Receipts: the C2SP tlog-proof text (c2sp.org/tlog-proof@v1), written and read strictly.

receipt = TlogProof.from_bytes(data)
receipt.verify(leaf, verifier)
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final, Self

from audit.merkle import ProofError, leaf_hash, verify_inclusion
from audit.note import Checkpoint, Verifier, open_checkpoint

_FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """That an entry stands at `index` under a checkpoint.

    `hashes` go from the leaf's sibling to the root's child; `checkpoint` is a note, verbatim;
    `extra` is opaque and, as tlog-proof says, "not authenticated".
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse; raises `ProofError` naming the line at fault."""
        top, blank, checkpoint = data.partition(b"\n\n")
        if not blank or not checkpoint:
            raise ProofError("a proof must hold a blank line and a checkpoint")
        try:
            lines = top.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise ProofError("the lines before the checkpoint must be ASCII") from None
        if lines.pop(0) != _FIRST_LINE:
            raise ProofError(f"the first line of a proof must be `{_FIRST_LINE}`")
        extra = b""
        if lines and lines[0].startswith(_EXTRA):
            extra = _decode(lines.pop(0).removeprefix(_EXTRA))
        if not lines or not lines[0].startswith(_INDEX):
            raise ProofError(f"a proof must have a line that begins with `{_INDEX}`")
        index = lines.pop(0).removeprefix(_INDEX)
        # tlog-proof: "an ASCII decimal with no leading zeroes (unless the index is `0`)"
        if not index.isdigit() or len(index) > 19 or str(int(index)) != index:
            raise ProofError(f"`{index}` is not the index of an entry")
        return cls(
            index=int(index),
            hashes=tuple(map(_decode, lines)),
            checkpoint=checkpoint,
            extra=extra,
        )

    def to_bytes(self) -> bytes:
        """The text of the proof, which `from_bytes` reads."""
        lines = [_FIRST_LINE]
        if self.extra:
            lines.append(_EXTRA + base64.b64encode(self.extra).decode())
        lines.append(f"{_INDEX}{self.index}")
        lines.extend(base64.b64encode(hashed).decode() for hashed in self.hashes)
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint

    def verify(self, leaf: bytes, verifier: Verifier) -> Checkpoint:
        """The checkpoint under which `leaf` is proven; raises `NoteError` or `ProofError`."""
        checkpoint = open_checkpoint(self.checkpoint, verifier)
        verify_inclusion(self.index, checkpoint.size, leaf_hash(leaf), self.hashes, checkpoint.root)
        return checkpoint


def _decode(line: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise ProofError(f"`{line}` is not base64") from None
    if not data or base64.b64encode(data).decode() != line:
        raise ProofError(f"`{line}` is not canonical base64")
    return data
