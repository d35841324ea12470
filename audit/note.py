"""C2SP signed notes, log checkpoints and proofs (receipts), byte for byte.

- signed-note (c2sp.org/signed-note@v1.0.0): a text, a blank line, signature lines. Ed25519 only.
- tlog-checkpoint (c2sp.org/tlog-checkpoint@v1.0.0): the text of a note that names a log, its size
  and its root.
- tlog-proof (c2sp.org/tlog-proof@v1): that an entry stands under such a checkpoint.
- Keys are written as Go's `sumdb/note` writes them: `name+id+key` and `PRIVATE+KEY+name+id+key`.

    note = sign(checkpoint.text(), signer)
    open_checkpoint(note, signer.verifier())
    TlogProof.from_bytes(receipt).verify(leaf, signer.verifier())
"""

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.merkle import HASH_SIZE, ProofError, leaf_hash, verify_inclusion

_ED25519: Final = b"\x01"  # signed-note: "0x01 — Ed25519 signatures"
_KEY_SIZE: Final = 32  # RFC 8032 §5.1.5, public key and seed alike
_KEY_ID_SIZE: Final = 4  # signed-note: "key ID = SHA-256(...)[:4]"
_DASH: Final = "— "  # signed-note: "em dash (U+2014), space (U+0020)"
# signed-note: "Verifiers SHOULD apply a maximum limit ... but MUST accept at least up to 16";
# 100 and a megabyte are what Go's sumdb/note allows.
MAX_SIGNATURES: Final = 100
MAX_NOTE_SIZE: Final = 1_000_000
_SKEY_PREFIX: Final = "PRIVATE+KEY+"
_PROOF: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


class NoteError(ValueError):
    """The bytes are not a note, a checkpoint or a key; whoever sent them is at fault."""


class SignatureError(NoteError):
    """The note is well formed but not signed by the key we trust."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A name and an Ed25519 public key (32 bytes) whose signatures are believed."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _verify_name(self.name)
        if len(self.public_key) != _KEY_SIZE:
            raise NoteError(f"a public key must be `{_KEY_SIZE}` bytes long")

    @classmethod
    def from_vkey(cls, vkey: str) -> Self:
        """Parse `name+id+base64(0x01 || public key)`; raises `NoteError`."""
        name, key_id, key = _parse_key(vkey)
        verifier = cls(name=name, public_key=key)
        if verifier.key_id != key_id:
            raise NoteError("the key id does not belong to the key")
        return verifier

    @property
    def key_id(self) -> bytes:
        """signed-note: "SHA-256(key name || 0x0A || signature type || public key)[:4]"."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:_KEY_ID_SIZE]

    @property
    def vkey(self) -> str:
        """The key as a line of text, the way `from_vkey` reads it."""
        encoded = base64.b64encode(_ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raise `SignatureError` unless `signature` is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except InvalidSignature:
            raise SignatureError(f"the signature of `{self.name}` does not verify") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A name and an Ed25519 seed (32 bytes). Its `repr` never shows the seed."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _verify_name(self.name)
        if len(self.seed) != _KEY_SIZE:
            raise NoteError(f"a seed must be `{_KEY_SIZE}` bytes long")

    @classmethod
    def from_skey(cls, skey: str) -> Self:
        """Parse `PRIVATE+KEY+name+id+base64(0x01 || seed)`; raises `NoteError`."""
        if not skey.startswith(_SKEY_PREFIX):
            raise NoteError(f"a signing key must begin with `{_SKEY_PREFIX}`")
        name, key_id, seed = _parse_key(skey.removeprefix(_SKEY_PREFIX))
        signer = cls(name=name, seed=seed)
        if signer.verifier().key_id != key_id:
            raise NoteError("the key id does not belong to the key")
        return signer

    @classmethod
    def generate(cls, name: str, randomness: Callable[[int], bytes]) -> Self:
        """A new key; `randomness(n)` must give n unpredictable bytes, as `os.urandom` does."""
        return cls(name=name, seed=randomness(_KEY_SIZE))

    @property
    def skey(self) -> str:
        """The secret as a line of text, the way `from_skey` reads it."""
        encoded = base64.b64encode(_ED25519 + self.seed).decode()
        return f"{_SKEY_PREFIX}{self.name}+{self.verifier().key_id.hex()}+{encoded}"

    def verifier(self) -> Verifier:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return Verifier(name=self.name, public_key=public.public_bytes_raw())

    def sign(self, text: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `text`; deterministic (RFC 8032)."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature line: who says to have signed, the 4-byte key id, the signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A parsed note. Its text means nothing until `verify` has passed."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse strictly; raises `NoteError` naming what is wrong."""
        if len(data) > MAX_NOTE_SIZE:
            raise NoteError(f"a note may not exceed `{MAX_NOTE_SIZE}` bytes")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise NoteError("a note must be UTF-8") from None
        # signed-note: "MUST NOT contain any ASCII control characters (those below U+0020) other
        # than newline"
        if any(char < " " and char != "\n" for char in whole):
            raise NoteError("a note may not hold control characters")
        # signed-note: "the text is separated from the signatures by the last empty line"
        text, blank, lines = whole.rpartition("\n\n")
        if not blank:
            raise NoteError("a note needs a blank line before its signatures")
        if not lines.endswith("\n"):
            raise NoteError("a note must end with a newline after a signature")
        rows = lines.removesuffix("\n").split("\n")
        if len(rows) > MAX_SIGNATURES:
            raise NoteError(f"a note may not have more than `{MAX_SIGNATURES}` signatures")
        return cls(text=text + "\n", signatures=tuple(map(_parse_signature, rows)))

    def verify(self, verifier: Verifier) -> None:
        """Raise `SignatureError` unless `verifier` signed, and every line under its id is good."""
        known = [
            row
            for row in self.signatures
            if row.name == verifier.name and row.key_id == verifier.key_id
        ]
        if not known:
            raise SignatureError(f"the note is not signed by `{verifier.vkey}`")
        for row in known:
            verifier.verify(self.text.encode(), row.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a log commits to: its origin, how many leaves, their root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise NoteError("the origin of a checkpoint must be one line, not empty")
        if self.size < 0:
            raise NoteError("the size of a checkpoint may not be negative")
        if len(self.root) != HASH_SIZE:
            raise NoteError(f"the root of a checkpoint must be `{HASH_SIZE}` bytes long")
        if any(not line or "\n" in line for line in self.extensions):
            raise NoteError("an extension line must be one line, not empty")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the text of a note; raises `NoteError`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:  # three lines, each ended by a newline
            raise NoteError("a checkpoint needs three lines, each ended by a newline")
        origin, size, root, *extensions = lines[:-1]
        # tlog-checkpoint: "with no leading zeroes (unless the tree is empty...)"
        digits = size.isascii() and size.isdigit() and len(size) <= 19  # sizes fit 63 bits
        if not digits or str(int(size)) != size:
            raise NoteError(f"`{size}` is not the size of a tree")
        return cls(
            origin=origin,
            size=int(size),
            root=_decode(root, "the root hash"),
            extensions=tuple(extensions),
        )

    def text(self) -> str:
        """The text to sign, three lines and the extensions."""
        root = base64.b64encode(self.root).decode()
        return "".join(
            f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions)
        )


def sign(text: str, signer: Signer) -> bytes:
    """A note with one signature. Raises `NoteError` if `text` cannot be the text of a note."""
    if not text.endswith("\n"):
        raise NoteError("the text of a note must end with a newline")
    signed = signer.sign(text.encode())
    encoded = base64.b64encode(signer.verifier().key_id + signed).decode()
    note = f"{text}\n{_DASH}{signer.name} {encoded}\n".encode()
    Note.from_bytes(note)  # what we could not read back we do not hand out
    return note


def open_checkpoint(note: bytes, verifier: Verifier) -> Checkpoint:
    """The checkpoint in `note`, after its signature; raises `NoteError` or `SignatureError`."""
    parsed = Note.from_bytes(note)
    parsed.verify(verifier)
    return Checkpoint.from_text(parsed.text)


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
        if lines.pop(0) != _PROOF:
            raise ProofError(f"the first line of a proof must be `{_PROOF}`")
        extra = b""
        if lines and lines[0].startswith(_EXTRA):
            extra = _part(lines.pop(0).removeprefix(_EXTRA))
        if not lines or not lines[0].startswith(_INDEX):
            raise ProofError(f"a proof must have a line that begins with `{_INDEX}`")
        index = lines.pop(0).removeprefix(_INDEX)
        # tlog-proof: "an ASCII decimal with no leading zeroes (unless the index is `0`)"
        if not index.isdigit() or len(index) > 19 or str(int(index)) != index:
            raise ProofError(f"`{index}` is not the index of an entry")
        return cls(
            index=int(index),
            hashes=tuple(map(_part, lines)),
            checkpoint=checkpoint,
            extra=extra,
        )

    def to_bytes(self) -> bytes:
        """The text of the proof, which `from_bytes` reads."""
        lines = [_PROOF]
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


def _verify_name(name: str) -> None:
    # signed-note: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus"
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise NoteError(f"`{name}` cannot be the name of a key")


def _parse_signature(line: str) -> Signature:
    if not line.startswith(_DASH):
        raise NoteError(f"a signature line must begin with `{_DASH}`")
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    _verify_name(name)
    data = _decode(encoded, "a signature")
    if len(data) <= _KEY_ID_SIZE:
        raise NoteError("a signature is too short")
    return Signature(name=name, key_id=data[:_KEY_ID_SIZE], signature=data[_KEY_ID_SIZE:])


def _parse_key(text: str) -> tuple[str, bytes, bytes]:
    """(name, key id, 32 bytes of key) of `name+id+key`."""
    parts = text.split("+", 2)  # the name holds no plus, but base64 may
    if len(parts) != 3:
        raise NoteError("a key must read `name+id+key`")
    name, key_id, encoded = parts
    data = _decode(encoded, "a key")
    if data[:1] != _ED25519 or len(data) != 1 + _KEY_SIZE:
        raise NoteError("a key must be an Ed25519 key")
    if len(key_id) != 2 * _KEY_ID_SIZE or set(key_id) - set("0123456789abcdef"):
        raise NoteError(f"`{key_id}` is not a key id")
    return name, bytes.fromhex(key_id), data[1:]


def _decode(encoded: str, what: str) -> bytes:
    """Strict base64 of RFC 4648 §4: one spelling only, so that no byte can change unseen."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != encoded:
        raise NoteError(f"{what} is not canonical base64")
    return data


def _part(line: str) -> bytes:
    """The bytes of one line of a proof, which is never empty."""
    try:
        data = _decode(line, f"`{line}`")
    except NoteError as error:
        raise ProofError(str(error)) from None
    if not data:
        raise ProofError(f"`{line}` is not canonical base64")
    return data
