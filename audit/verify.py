"""Verify an audit package offline, trusting neither the bank nor its software.

离线验证审计包：只用 Python 标准库（3.11 或更新），不联网，不解压，不改动任何文件。

    python verify.py PACKAGE [--key VKEY] [--checkpoint OLD_NOTE] [--lang zh|en|both] [--json]

PACKAGE is the zip or the folder it was unpacked into. Exit status: 0 verified, 1 refused (the
first bad record is named), 2 could not run. This one file stands alone: it imports nothing but
the standard library and shares no code with the software that wrote the package.

What it checks, in order:

1 the container: names, duplicates, sizes; nothing is ever extracted
2 the signature of the checkpoint (C2SP signed-note, Ed25519 of RFC 8032)
3 every record: its hash, its form, its place, its time, the documents it names
4 the root of all records (RFC 6962) against the signed checkpoint, and an older one if given
5 every document against its digest, every other file against the manifest
6 what the manifest says of all this, and its signature
"""

import argparse
import base64
import hashlib
import io
import json
import operator
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

FORMAT: Final = "hgr-audit-package/1"
MANIFEST: Final = "manifest.json"
MANIFEST_NOTE: Final = "manifest.note"
CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "log/entries.jsonl"
HASHES: Final = "log/hashes"
REQUIRED: Final = (MANIFEST, MANIFEST_NOTE, CHECKPOINT, ENTRIES, HASHES)

MAX_LEAF: Final = 4096  # bytes of a record
MAX_MEMBERS: Final = 4_000_000
MAX_NAME: Final = 200
MAX_SMALL: Final = 64 << 20  # bytes of the manifest, whole in memory
MAX_NOTE: Final = 1_000_000  # bytes of a signed note
MAX_TOTAL: Final = 256 << 30  # bytes of everything, unpacked
MAX_RATIO: Final = 200  # unpacked to packed; honest records reach about 10
RATIO_FREE: Final = 1 << 20  # bytes below which the ratio says nothing
HASH_LINE: Final = 65  # 64 hex digits and a newline
LARGE: Final = 256 << 20  # bytes of records from which on several processes read them

_HEIGHT: Final = 8  # of the subtrees that records are read by
_RUN: Final = 4 << _HEIGHT  # records read at once

MEMBER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
DOCUMENT_NAME: Final = re.compile(r"documents/[0-9a-f]{64}\.json")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One sentence in two languages."""

    zh: str
    en: str


class RefusedError(Exception):
    """The package is not what its log signed: a stable code, what is wrong, and where."""

    def __init__(
        self, code: str, words: Words, *, record: int | None = None, member: str | None = None
    ) -> None:
        """`record` counts from 0; `member` is a name inside the package."""
        super().__init__(words.en)
        self.code = code
        self.words = words
        self.record = record
        self.member = member


class CannotRunError(Exception):
    """What was asked for could not be tried; the person at the keyboard can mend it."""

    def __init__(self, words: Words) -> None:
        """The sentence to show."""
        super().__init__(words.en)
        self.words = words


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a package was found to be."""

    origin: str
    size: int
    root: str
    created: str | None
    records: dict[str, int]
    documents: int
    key: str
    fingerprint: str
    key_given: bool
    older: int | None
    not_inside: tuple[Words, ...]


# --- Ed25519, RFC 8032 §5.1: verification only, so nothing here is secret -----------------------

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_M1: Final = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]  # RFC 8032 §5.1.4: X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z
_IDENTITY: Final[_Point] = (0, 1, 1, 0)


def _add(p: _Point, q: _Point) -> _Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: _Point) -> _Point:
    result = _IDENTITY
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _decompress(data: bytes) -> _Point | None:
    """RFC 8032 §5.1.3; None for what is not the one encoding of a point on the curve."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_M1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


_BASE_Y: Final = 4 * pow(5, -1, _P) % _P
_BASE: Final = _decompress(_BASE_Y.to_bytes(32, "little")) or _IDENTITY


def ed25519_is_valid(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is the key's (32 bytes) over `message`, RFC 8032 §5.1.7.

    The strict reading: S below the group order, the key in its one encoding and not of small
    order (such a key "signs" anything), and R compared byte by byte.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    key = _decompress(public)
    if s >= _L or key is None or _compress(_multiply(8, key)) == _compress(_IDENTITY):
        return False
    k = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % _L
    minus_key = (_P - key[0], key[1], key[2], _P - key[3])
    return _compress(_add(_multiply(s, _BASE), _multiply(k, minus_key))) == r


# --- RFC 6962 §2.1 ------------------------------------------------------------------------------


class Tree:
    """The root of a growing list of leaf hashes, in memory of its logarithm."""

    def __init__(self) -> None:
        """Empty."""
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, root: bytes, height: int = 0) -> None:
        """Add a leaf hash, or the root of 2**height leaves; the size is a multiple of as many."""
        carry = self.size >> height
        while carry & 1:
            root = hashlib.sha256(b"\x01" + self._peaks.pop() + root).digest()
            carry >>= 1
        self._peaks.append(root)
        self.size += 1 << height

    def root(self) -> bytes:
        """RFC 6962: of an empty list, "the hash of an empty string"."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = hashlib.sha256(b"\x01" + peak + root).digest()
        return root


# --- C2SP signed-note and tlog-checkpoint -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A verifier key, `name+id+base64(0x01 || public key)`."""

    name: str
    key_id: bytes
    public: bytes = field(repr=False)
    vkey: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the key's line of text, in groups of four, for reading over a telephone."""
        digest = hashlib.sha256(self.vkey.encode()).hexdigest()
        return " ".join(digest[at : at + 4] for at in range(0, 64, 4))


def key_from_vkey(vkey: str) -> Key:
    """Parse a key; raises `ValueError`."""
    name, key_id, encoded = vkey.split("+", 2)
    data = _base64(encoded)
    named = name.encode() + b"\n" + data
    expected = hashlib.sha256(named).digest()[:4]
    if not name or len(data) != 33 or data[0] != 1 or expected.hex() != key_id:
        raise ValueError(f"`{vkey}` is not an Ed25519 verifier key")
    return Key(name=name, key_id=expected, public=data[1:], vkey=vkey)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state a log signed."""

    origin: str
    size: int
    root: bytes


def note_text(note: bytes, key: Key) -> str | None:
    """The text of a signed note; None if the key did not sign it. Raises `ValueError` if torn."""
    whole = note.decode("utf-8")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or any(c < " " and c != "\n" for c in whole):
        raise ValueError("not a signed note")
    text += "\n"
    signed = False
    for line in lines.removesuffix("\n").split("\n"):
        dash, name, encoded = line.split(" ")
        data = _base64(encoded)
        if dash != "—" or len(data) <= 4:
            raise ValueError("not a signature line")
        if name == key.name and data[:4] == key.key_id:
            if not ed25519_is_valid(key.public, text.encode(), data[4:]):
                return None
            signed = True
    return text if signed else None


def checkpoint_from_text(text: str) -> Checkpoint:
    """Parse the text of a checkpoint; raises `ValueError`."""
    origin, size, root, *rest = text.split("\n")
    digest = _base64(root)
    if not origin or str(int(size)) != size or int(size) < 0 or len(digest) != 32 or rest != [""]:
        raise ValueError("not a checkpoint")
    return Checkpoint(origin=origin, size=int(size), root=digest)


def _base64(encoded: str) -> bytes:
    data = base64.b64decode(encoded, validate=True)
    if base64.b64encode(data).decode() != encoded:
        raise ValueError("not canonical base64")
    return data


# --- 1 the container ----------------------------------------------------------------------------


class Container(Protocol):
    """A zip or a folder: names with unpacked sizes, and a way to read one."""

    sizes: dict[str, int]

    def open(self, name: str) -> BinaryIO:
        """A stream over one member."""


class Folder:
    """An unpacked package."""

    def __init__(self, path: Path) -> None:
        """List the folder; links and devices are refused, nothing is followed."""
        self._path = path
        self.sizes: dict[str, int] = {}
        for top, folders, files in os.walk(path):
            for name in (*folders, *files):
                found = Path(top, name)
                about = found.lstat()
                if stat.S_ISDIR(about.st_mode):
                    continue
                inside = found.relative_to(path).as_posix()
                if not stat.S_ISREG(about.st_mode):
                    raise _bad_name(inside)
                self.sizes[inside] = about.st_size
        _verify_names(list(self.sizes))

    def open(self, name: str) -> BinaryIO:
        """A stream over one file."""
        return (self._path / name).open("rb")


class Zip:
    """A package as it was handed over; never unpacked to disk."""

    def __init__(self, path: Path) -> None:
        """Read the table of contents and refuse what a package never holds."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError):
            raise RefusedError(
                "incomplete",
                Words(
                    zh="这个文件不是完整的 zip：可能下载中断、被截断或已损坏。请重新取得审计包。",
                    en="this file is not a whole zip: cut short in transfer, or damaged; "
                    "obtain the package again",
                ),
            ) from None
        rows = self._zip.infolist()
        _verify_names([row.orig_filename for row in rows])
        for row in rows:
            bomb = row.file_size > RATIO_FREE and row.file_size > MAX_RATIO * row.compress_size
            plain = row.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            # Cut off at its front, a zip places members before its own first byte.
            if bomb or not plain or row.flag_bits & 1 or row.header_offset < 0:
                raise RefusedError(
                    "member-form",
                    Words(
                        zh=f"{row.filename}：压缩方式、压缩比或位置不正常（可能是压缩炸弹或已损坏），拒绝读取。",
                        en=f"{row.filename}: encrypted, misplaced, packed in an unknown way or far "
                        "too tightly (a bomb?), so it is not read",
                    ),
                    member=row.filename,
                )
        self.sizes = {row.filename: row.file_size for row in rows}

    def open(self, name: str) -> BinaryIO:
        """A stream over one member; it gives at most the size the table of contents states."""
        return io.BufferedReader(self._zip.open(name), 1 << 16)  # type: ignore[type-var]  # ZipExtFile is a BufferedIOBase, which reads as a raw stream does

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()


def _verify_names(names: Sequence[str]) -> None:
    if len(names) > MAX_MEMBERS:
        raise RefusedError(
            "too-large",
            Words(zh="审计包内文件过多，拒绝读取。", en="the package holds too many files"),
        )
    seen: set[str] = set()
    for name in names:
        if len(name) > MAX_NAME or not MEMBER_NAME.fullmatch(name):
            raise _bad_name(name)
        if name in seen:
            raise RefusedError(
                "duplicate",
                Words(
                    zh=f"{name} 在包内出现两次：不同的软件会读到不同的内容。",
                    en=f"{name} is in the package twice: two programs could read two contents",
                ),
                member=name,
            )
        seen.add(name)


def _bad_name(name: str) -> RefusedError:
    shown = ascii(name[:MAX_NAME])
    return RefusedError(
        "member-name",
        Words(
            zh=f"包内文件名 {shown} 不允许（路径越界、链接或特殊字符）。",
            en=f"the member name {shown} is not allowed (climbs out, links, or odd characters)",
        ),
        member=name,
    )


@contextmanager
def _reading(container: Container, name: str) -> Iterator[BinaryIO]:
    """A stream over a member; damage inside the zip becomes a refusal that names it."""
    try:
        with container.open(name) as stream:
            yield stream
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error):
        raise RefusedError(
            "member-damaged",
            Words(
                zh=f"{name} 无法读取：数据已损坏或被改动。",
                en=f"{name} cannot be read: its bytes are damaged or were changed",
            ),
            member=name,
        ) from None


def _small(container: Container, name: str, limit: int) -> bytes:
    with _reading(container, name) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise _torn(name)
    return data


def _sha256(container: Container, name: str) -> str:
    digest = hashlib.sha256()
    with _reading(container, name) as stream:
        while chunk := stream.read(1 << 18):
            digest.update(chunk)
    return digest.hexdigest()


def _torn(name: str) -> RefusedError:
    return RefusedError(
        "malformed",
        Words(
            zh=f"{name} 的格式不对：已被改动或损坏。", en=f"{name} is malformed: changed or damaged"
        ),
        member=name,
    )


# --- 2 manifest and checkpoint ------------------------------------------------------------------


def _manifest(container: Container) -> dict[str, Any]:
    for name in REQUIRED:
        if name not in container.sizes:
            raise RefusedError(
                "incomplete",
                Words(
                    zh=f"缺少 {name}：审计包不完整，或该文件被删除、改名。",
                    en=f"{name} is missing: the package is incomplete, or it was taken out or "
                    "renamed",
                ),
                member=name,
            )
    if sum(container.sizes.values()) > MAX_TOTAL:
        raise RefusedError(
            "too-large",
            Words(zh="审计包解开后过大，拒绝读取。", en="the package is too large when unpacked"),
        )
    try:
        manifest = json.loads(_small(container, MANIFEST, MAX_SMALL))
        members = {row["name"]: (row["size"], row["sha256"]) for row in manifest["members"]}
        listed = len(members) == len(manifest["members"]) and all(
            isinstance(name, str) for name in members
        )
        inside = [Words(zh=one["zh"], en=one["en"]) for one in manifest["not_inside"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _torn(MANIFEST) from None
    if manifest.get("format") != FORMAT or not listed:
        raise _torn(MANIFEST)
    return {**manifest, "members": members, "not_inside": tuple(inside)}


def _verify_listing(container: Container, manifest: dict[str, Any]) -> None:
    """Every file is either listed, a document (named by its digest), or one of the two manifests."""
    listed = {*manifest["members"], MANIFEST, MANIFEST_NOTE}
    here = {name for name in container.sizes if not DOCUMENT_NAME.fullmatch(name)}
    extra, missing = sorted(here - listed), sorted(listed - here)
    if missing:
        renamed = f"（包内另有未列出的 {extra[0]}，可能被改名）" if extra else ""
        renamed_en = f"; {extra[0]} is there and not listed, so it may be renamed" if extra else ""
        raise RefusedError(
            "missing",
            Words(
                zh=f"清单列出的 {missing[0]} 不在包内{renamed}。",
                en=f"{missing[0]} is listed in the manifest but not in the package{renamed_en}",
            ),
            member=missing[0],
        )
    if extra:
        raise RefusedError(
            "extra",
            Words(
                zh=f"{extra[0]} 不在清单内：出包之后被加入。",
                en=f"{extra[0]} is not listed in the manifest: it was added afterwards",
            ),
            member=extra[0],
        )


def _key(manifest: dict[str, Any], given: Key | None) -> Key:
    try:
        inside = key_from_vkey(manifest["key"])
    except (ValueError, KeyError, AttributeError):
        raise _torn(MANIFEST) from None
    if given is not None and given.vkey != inside.vkey:
        raise RefusedError(
            "wrong-key",
            Words(
                zh="审计包的签名密钥与您提供的密钥不同：它不是这份日志签发的，或密钥已更换。",
                en="the package is signed with another key than the one you gave: it is not of "
                "that log, or the key was replaced",
            ),
            member=MANIFEST,
        )
    return inside


def _signed_checkpoint(note: bytes, key: Key, name: str) -> Checkpoint:
    """The checkpoint in a note; refused with the code `signature` if `key` did not sign it."""
    try:
        text = note_text(note, key)
        checkpoint = None if text is None else checkpoint_from_text(text)
    except ValueError:
        raise _torn(name) from None
    # tlog-checkpoint: the log's key bears the name of its origin; ours always does.
    if checkpoint is None or checkpoint.origin != key.name:
        raise RefusedError(
            "signature",
            Words(
                zh=f"{name} 的签名无效：检查点被改动，或不是用密钥 {key.name} 签发。",
                en=f"the signature of {name} is not valid: the checkpoint was changed, or the key "
                f"{key.name} did not sign it",
            ),
            member=name,
        )
    return checkpoint


# --- 3 the records ------------------------------------------------------------------------------

# A record as the log spells it, in lines of ASCII without control characters and backslashes: what
# it matches there is the one spelling of its JSON if the names in its two objects are in order. They
# are among its groups, the others are what a JSON reader would find. Possessive: nothing is tried twice.
_NAMES: Final = 6  # more of them in one object, and it is read the other way
_TEXT: Final = r'"[^"]*+"'
_HASH: Final = r'"[0-9a-f]{64}"'


def _object(value: str) -> str:
    pair = rf'"([^"]++)":{value}'
    return r"\{" + pair + rf"(?:,{pair}" * (_NAMES - 1) + ")?+" * (_NAMES - 1) + r"\}"


_RECORD: Final = re.compile(
    (
        rf'^\{{"actor":{_TEXT}(?:,"commit":{_object(_HASH)})?+'
        rf'(?:,"docs":\[({_HASH}(?:,{_HASH})*+)\])?+'
        rf',"index":(0|[1-9][0-9]{{0,17}}),"nonce":{_TEXT}(?:,"outcome":{_TEXT})?+'
        rf'(?:,"rules":\[{_TEXT}(?:,{_TEXT})*+\])?+'
        rf'(?:,"subjects":{_object(_TEXT)})?+,"time":"({_TIME.pattern})"'
        rf',"type":"([^"]*+)","v":1\}}$'
    ).encode(),
    re.MULTILINE,
)
_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b"\\"))  # printable ASCII without the backslash


@dataclass(slots=True, kw_only=True)
class Records:
    """What was gathered on the one pass over the records; owned by that pass."""

    tree: Tree = field(default_factory=Tree)
    types: Counter[str] = field(default_factory=Counter)
    documents: dict[str, int] = field(default_factory=dict)  # member name -> first record
    last_time: str | None = None
    older_root: bytes | None = None
    digest: str = ""  # SHA-256 of the whole member


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What some records, read at once, were found to be."""

    hashes: bytes
    roots: tuple[bytes, ...]  # of each 256
    types: Counter[str]
    documents: dict[str, int]  # member name -> the first that names it
    first_time: str
    last_time: str


def _hash_list(container: Container) -> bytes:
    """The 32-byte hashes of `log/hashes`, end to end."""
    hashes = bytearray()
    with _reading(container, HASHES) as stream:
        while lines := stream.read(HASH_LINE << 12):
            count, rest = divmod(len(lines), HASH_LINE)
            digits = lines.translate(None, b"\n")
            if rest or lines[HASH_LINE - 1 :: HASH_LINE] != b"\n" * count:
                raise _torn(HASHES)
            try:
                some = bytes.fromhex(digits.decode())
            except ValueError:
                raise _torn(HASHES) from None
            if len(some) != 32 * count or some.hex().encode() != digits:  # capitals, spaces
                raise _torn(HASHES)
            hashes += some
    return bytes(hashes)


def _lines(container: Container) -> Iterator[bytes]:
    """The lines of the records, each with its newline; one too long comes in pieces, never whole."""
    with _reading(container, ENTRIES) as stream:
        yield from iter(partial(stream.readline, MAX_LEAF + 2), b"")


def _entry(line: bytes) -> bytes:
    """A record without its newline; what has none is no record and gets one, so that no hash fits."""
    return line[:-1] if line.endswith(b"\n") else line + b"\n"


def _leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def _records(
    container: Container, checkpoint: Checkpoint, older: Checkpoint | None, processes: int
) -> Records:
    """Read every record once; memory stays flat but for the hash list and document names."""
    listed = _hash_list(container)
    found = Records()
    whole = hashlib.sha256()
    with closing(_runs(_lines(container), processes)) as runs:
        for start, lines, run in runs:
            whole.update(b"".join(lines))
            cut = older is not None and start <= older.size < start + len(lines)
            if run is not None and not cut and _fits(container, found, listed, run, start):
                _take(found, run)
                continue
            # Something is wrong, or spelt in another way, or the older checkpoint is of here.
            for index, entry in enumerate(map(_entry, lines), start):
                if older is not None and older.size == index:
                    found.older_root = found.tree.root()
                if _leaf_hash(entry) != listed[32 * index : 32 * index + 32]:
                    raise _difference(container, listed, checkpoint)
                _verify_record(container, found, entry, index)
                found.tree.append(_leaf_hash(entry))
    if 32 * found.tree.size != len(listed):
        raise _difference(container, listed, checkpoint)
    if older is not None and older.size == found.tree.size:
        found.older_root = found.tree.root()
    found.digest = whole.hexdigest()
    return found


def _fits(container: Container, found: Records, listed: bytes, run: Run, start: int) -> bool:
    """Whether records read at once are those of the hash list, later than those before, and whole."""
    return (
        run.hashes == listed[32 * start : 32 * start + len(run.hashes)]
        and (found.last_time is None or run.first_time > found.last_time)
        and all(name in container.sizes for name in run.documents)
    )


def _take(found: Records, run: Run) -> None:
    """Add what was read at once."""
    for root in run.roots:
        found.tree.append(root, _HEIGHT)
    for at in range(len(run.roots) << _HEIGHT, len(run.hashes) // 32):
        found.tree.append(run.hashes[32 * at : 32 * at + 32])
    found.types += run.types
    found.last_time = run.last_time
    for name, index in run.documents.items():
        found.documents.setdefault(name, index)


def _runs(lines: Iterator[bytes], processes: int) -> Generator[tuple[int, list[bytes], Run | None]]:
    """The records some at a time, in order: where they begin, they themselves, and what was found."""
    start = 0
    if processes == 1:
        while some := list(islice(lines, _RUN)):
            yield start, some, _at_once(start, some)
            start += len(some)
        return
    # The others read while this process unpacks; few runs wait, whatever the size of the package.
    waiting: deque[tuple[int, list[bytes], AsyncResult[Run | None]]] = deque()
    with get_context("spawn").Pool(processes) as pool:
        while some := list(islice(lines, _RUN)):
            waiting.append((start, some, pool.apply_async(_at_once, (start, some))))
            start += len(some)
            if len(waiting) > 2 * processes:
                began, sent, answer = waiting.popleft()
                yield began, sent, answer.get()
        for began, sent, answer in waiting:
            yield began, sent, answer.get()


def _at_once(start: int, lines: list[bytes]) -> Run | None:
    """Read records that are spelt as the log spells them; None if anything about them is otherwise."""
    count = len(lines)
    text = b"".join(lines)
    if max(map(len, lines)) > MAX_LEAF + 1 or text.translate(None, _PLAIN) != b"\n" * count:
        return None
    # Each match is whole lines, and none is in two: as many as there are lines are one line each.
    found = _RECORD.findall(text)
    if len(found) != count:
        return None
    columns = list(zip(*found, strict=True))
    commits, (docs, indices), subjects, (times, kinds) = (
        columns[:_NAMES],
        columns[_NAMES : _NAMES + 2],
        columns[_NAMES + 2 : -2],
        columns[-2:],
    )
    for names in (set(zip(*commits, strict=True)), set(zip(*subjects, strict=True))):
        for one in names:
            told = [name for name in one if name]
            if told != sorted(set(told)):
                return None
    in_place = list(map(int, indices)) == list(range(start, start + count))
    if not in_place or not all(map(operator.lt, times, times[1:])):
        return None
    hashes = [hashlib.sha256(b"\x00" + line[:-1]).digest() for line in lines]  # RFC 6962 §2.1
    first = dict(zip(reversed(docs), reversed(range(start, start + count)), strict=True))
    documents: dict[str, int] = {}
    for listed, index in sorted(first.items(), key=operator.itemgetter(1)):
        for digest in _DIGEST.findall(listed.decode()):
            documents.setdefault(f"documents/{digest}.json", index)
    return Run(
        hashes=b"".join(hashes),
        roots=tuple(_root(hashes[at : at + 256]) for at in range(0, count - count % 256, 256)),
        types=Counter({kind.decode(): many for kind, many in Counter(kinds).items()}),
        documents=documents,
        first_time=times[0].decode(),
        last_time=times[-1].decode(),
    )


def _root(row: list[bytes]) -> bytes:
    """The root over 256 leaf hashes."""
    while len(row) > 1:
        pairs = iter(row)
        row = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(pairs, pairs, strict=True)
        ]
    return row[0]


def _verify_record(container: Container, found: Records, entry: bytes, index: int) -> None:
    """The form, place, time and documents of one record."""
    try:
        text = entry.decode("utf-8")
        leaf = json.loads(text)
        spelt = json.dumps(leaf, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        own, kind, time, docs = leaf["index"], leaf["type"], leaf["time"], leaf.get("docs", [])
        good = (
            len(entry) <= MAX_LEAF
            and spelt == text
            and (type(leaf["v"]), leaf["v"], type(own)) == (int, 1, int)
            and all(isinstance(one, str) for one in (kind, time, leaf["actor"], leaf["nonce"]))
            and _TIME.fullmatch(time) is not None
            and all(_DIGEST.fullmatch(one) is not None for one in docs)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise RefusedError(
            "record-malformed",
            Words(
                zh=f"第 {index} 号记录的格式不对：它不是日志写下的样子。",
                en=f"record {index} is malformed: it is not as the log writes records",
            ),
            record=index,
            member=ENTRIES,
        )
    if own != index:
        raise RefusedError(
            "record-misplaced",
            Words(
                zh=f"第 {index} 号位置上的记录自称第 {own} 号：从这里起有记录被删除、插入或调换。",
                en=f"in place {index} stands a record that calls itself {own}: from here on "
                "records were dropped, added or exchanged",
            ),
            record=index,
            member=ENTRIES,
        )
    if found.last_time is not None and time <= found.last_time:
        raise RefusedError(
            "record-time",
            Words(
                zh=f"第 {index} 号记录的时间不晚于前一号：次序被改动。",
                en=f"the time of record {index} is not after the one before: the order was changed",
            ),
            record=index,
            member=ENTRIES,
        )
    found.last_time = time
    found.types[kind] += 1
    for digest in docs:
        name = f"documents/{digest}.json"
        if name not in container.sizes:
            raise RefusedError(
                "document-missing",
                Words(
                    zh=f"第 {index} 号记录所指的文件 {name} 不在包内。",
                    en=f"{name}, which record {index} refers to, is not in the package",
                ),
                record=index,
                member=name,
            )
        found.documents.setdefault(name, index)


def _difference(container: Container, listed: bytes, checkpoint: Checkpoint) -> RefusedError:
    """Say how the records differ from the hash list, naming the first bad one."""
    tree = Tree()
    actual = bytearray()
    for line in _lines(container):
        hashed = _leaf_hash(_entry(line))
        actual += hashed
        tree.append(hashed)
    want = [listed[at : at + 32] for at in range(0, len(listed), 32)]
    have = [bytes(actual[at : at + 32]) for at in range(0, len(actual), 32)]
    first = next(
        (at for at, (one, other) in enumerate(zip(want, have, strict=False)) if one != other),
        min(len(want), len(have)),
    )
    if tree.size == checkpoint.size and tree.root() == checkpoint.root:
        # The signed root vouches for the records, so it is the list that is wrong.
        return RefusedError(
            "hash-list",
            Words(
                zh=f"{HASHES} 第 {first} 行被改动；记录本身与签名检查点相符。",
                en=f"line {first} of {HASHES} was changed; the records themselves match the signed "
                "checkpoint",
            ),
            member=HASHES,
        )
    return RefusedError(*_what_happened(want, have, first), record=first, member=ENTRIES)


def _what_happened(want: list[bytes], have: list[bytes], first: int) -> tuple[str, Words]:
    """Name the change at the first difference: dropped, added, exchanged, moved or changed."""
    short, over = len(want) - len(have), len(have) - len(want)
    if short > 0 and have[first:] == want[first + short :]:
        last = first + short - 1
        return "record-dropped", Words(
            zh=f"第 {first} 号记录被删除（共缺 {short} 条，至第 {last} 号）。",
            en=f"record {first} was dropped ({short} missing, up to record {last})",
        )
    if over > 0 and have[first + over :] == want[first:]:
        return "record-added", Words(
            zh=f"第 {first} 号位置被加入了日志中没有的记录（共多 {over} 条）。",
            en=f"a record that is not in the log was added in place {first} ({over} too many)",
        )
    if first < len(have) and have[first] in want:
        other = want.index(have[first])
        if other < len(have) and have[other] == want[first]:
            return "record-swapped", Words(
                zh=f"第 {first} 号与第 {other} 号记录被对调。",
                en=f"records {first} and {other} were exchanged",
            )
        return "record-moved", Words(
            zh=f"第 {first} 号位置上是第 {other} 号记录：次序被改动。",
            en=f"in place {first} stands record {other}: the order was changed",
        )
    return "record-changed", Words(
        zh=f"第 {first} 号记录被改动：内容与日志的哈希清单不符。",
        en=f"record {first} was changed: its content does not have the hash the log lists",
    )


# --- 4 roots ------------------------------------------------------------------------------------


def _verify_roots(found: Records, checkpoint: Checkpoint, older: Checkpoint | None) -> None:
    size, root = found.tree.size, found.tree.root()
    if size != checkpoint.size:
        raise RefusedError(
            "count",
            Words(
                zh=f"包内有 {size} 条记录，签名检查点为 {checkpoint.size} 条：记录被删除或加入，"
                "哈希清单也一并改过，无法指出是哪一条。",
                en=f"the package holds {size} records, the signed checkpoint counts "
                f"{checkpoint.size}: records were dropped or added and the hash list adjusted, so "
                "the culprit cannot be named",
            ),
            member=ENTRIES,
        )
    same_so_far = older is not None and found.older_root == older.root
    if root != checkpoint.root:
        older_size = older.size if older is not None else 0
        zh = f"不过前 {older_size} 条与旧检查点相符，改动在其后。" if same_so_far else ""
        en = f"; the first {older_size} match the older checkpoint, so it lies after them"
        raise RefusedError(
            "root",
            Words(
                zh="记录清单整体与签名检查点不符：至少一条记录被改动，哈希清单也一并改过。"
                f"仅凭本包无法指出是哪一条，须与日志原件或较早的审计包比对。{zh}",
                en="the list of records as a whole does not match the signed checkpoint: at least "
                "one record was changed and the hash list adjusted; this package alone cannot "
                "tell which, compare with the log itself or an earlier package"
                + (en if same_so_far else ""),
            ),
            member=ENTRIES,
        )
    if older is not None and not same_so_far:
        raise RefusedError(
            "fork",
            Words(
                zh=f"与旧检查点（{older.size} 条）不一致：日志的历史被改写过。请保留两份签名作为证据。",
                en=f"not consistent with the older checkpoint (size {older.size}): the history of "
                "the log was rewritten; keep both signatures as evidence",
            ),
            member=CHECKPOINT,
        )


# --- 5 documents and other files ----------------------------------------------------------------


def _verify_files(container: Container, manifest: dict[str, Any], found: Records) -> None:
    for name, record in found.documents.items():
        if _sha256(container, name) != name[len("documents/") : -len(".json")]:
            raise RefusedError(
                "document-changed",
                Words(
                    zh=f"第 {record} 号记录所指的文件 {name} 被改动。",
                    en=f"{name}, which record {record} refers to, was changed",
                ),
                record=record,
                member=name,
            )
    for name in container.sizes:
        if DOCUMENT_NAME.fullmatch(name) and name not in found.documents:
            raise RefusedError(
                "document-unreferenced",
                Words(
                    zh=f"{name} 没有任何记录提到：出包之后被加入。",
                    en=f"no record refers to {name}: it was added afterwards",
                ),
                member=name,
            )
    for name, (size, digest) in manifest["members"].items():
        # The records were read to their end: what was read is what is meant.
        read = found.digest if name == ENTRIES else _sha256(container, name)
        if container.sizes[name] != size or read != digest:
            raise RefusedError(
                "member-changed",
                Words(
                    zh=f"{name} 与清单不符：被改动。",
                    en=f"{name} is not as the manifest lists it: it was changed",
                ),
                member=name,
            )


# --- 6 the manifest itself ----------------------------------------------------------------------


def _verify_manifest(
    container: Container,
    manifest: dict[str, Any],
    found: Records,
    checkpoint: Checkpoint,
    key: Key,
) -> None:
    truth: dict[str, object] = {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "created": found.last_time,
        "records": dict(found.types),
        "documents": len(found.documents),
    }
    for name, value in truth.items():
        if manifest.get(name) != value:
            raise RefusedError(
                "manifest",
                Words(
                    zh=f"{MANIFEST} 的“{name}”与记录不符：清单被改动。",
                    en=f"`{name}` of {MANIFEST} does not fit the records: it was changed",
                ),
                member=MANIFEST,
            )
    # The text cannot be taken for a checkpoint, whose second line is a number.
    expected = f"{checkpoint.origin}/package\nsha256:{_sha256(container, MANIFEST)}\n"
    try:
        text = note_text(_small(container, MANIFEST_NOTE, MAX_NOTE), key)
    except ValueError:
        raise _torn(MANIFEST_NOTE) from None
    if text != expected:
        raise RefusedError(
            "manifest-signature",
            Words(
                zh=f"{MANIFEST} 的签名无效：清单（或其签名）在签发后被改动。",
                en=f"the signature of {MANIFEST} is not valid: it, or {MANIFEST_NOTE}, was changed "
                "after signing",
            ),
            member=MANIFEST,
        )


# --- the whole ----------------------------------------------------------------------------------


def verify(
    path: Path, *, key: Key | None = None, older_note: bytes | None = None, processes: int = 1
) -> Verified:
    """Verify the package at `path`; the steps are those of the module's first lines.

    A large one is read by so many `processes` beside this one. Raises `RefusedError` at the first
    thing wrong, `OSError` if the package cannot be read.
    """
    if path.is_dir():
        return _verify(Folder(path), key, older_note, processes)
    container = Zip(path)
    try:
        return _verify(container, key, older_note, processes)
    finally:
        container.close()


def _verify(
    container: Container, given: Key | None, older_note: bytes | None, processes: int
) -> Verified:
    manifest = _manifest(container)
    key = _key(manifest, given)
    checkpoint = _signed_checkpoint(_small(container, CHECKPOINT, MAX_NOTE), key, CHECKPOINT)
    older = None
    if older_note is not None:
        older = _signed_checkpoint(older_note, key, "--checkpoint")
        if older.origin != checkpoint.origin or older.size > checkpoint.size:
            raise RefusedError(
                "older",
                Words(
                    zh="旧检查点属于另一份日志，或比本包更新：本包缺少其后的记录。",
                    en="the older checkpoint is of another log, or newer than the package, which "
                    "then lacks records",
                ),
                member=CHECKPOINT,
            )
    # To start another process costs more than to read a small package.
    large = container.sizes[ENTRIES] >= LARGE
    found = _records(container, checkpoint, older, processes if large else 1)
    _verify_roots(found, checkpoint, older)
    _verify_listing(container, manifest)
    _verify_files(container, manifest, found)
    _verify_manifest(container, manifest, found, checkpoint, key)
    return Verified(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        created=found.last_time,
        records=dict(sorted(found.types.items())),
        documents=len(found.documents),
        key=key.vkey,
        fingerprint=key.fingerprint,
        key_given=given is not None,
        older=None if older is None else older.size,
        not_inside=manifest["not_inside"],
    )


def _page_zh(found: Verified) -> str:
    kinds = "、".join(f"{name} {count}" for name, count in found.records.items()) or "无"
    lines = [
        "验证通过：自检查点签发以来，没有任何一条记录被改动、删除、调换或加入。",
        f"  日志      {found.origin}",
        f"  记录      {found.size} 条（编号从 0 起）：{kinds}",
        f"  文件      {found.documents} 份，均与记录中的摘要相符",
        f"  截止      {found.created or '尚无记录'}",
        f"  根哈希    {found.root}",
        f"  签名密钥  {found.key}",
        f"  密钥指纹  {found.fingerprint}",
        "  密钥      与您提供的一致"
        if found.key_given
        else "  注意      密钥取自包内。请从保藏单位另一渠道（公示、函件、电话）核对上面的指纹，"
        "或用 --key 指定；否则只证明本包自身一致，不证明出自谁手。",
    ]
    if found.older is not None:
        lines.append(f"  历史      与旧检查点（{found.older} 条）一致，其后只有新增")
    lines += [f"  未包含    {words.zh}" for words in found.not_inside]
    return "\n".join(lines)


def _page_en(found: Verified) -> str:
    kinds = ", ".join(f"{name} {count}" for name, count in found.records.items()) or "none"
    lines = [
        "VERIFIED: since the checkpoint was signed, no record was changed, dropped, moved or added.",
        f"  log          {found.origin}",
        f"  records      {found.size} (numbered from 0): {kinds}",
        f"  documents    {found.documents}, each as its record says",
        f"  up to        {found.created or 'no record yet'}",
        f"  root         {found.root}",
        f"  signed by    {found.key}",
        f"  fingerprint  {found.fingerprint}",
        "  key          the one you gave"
        if found.key_given
        else "  NOTE         the key came with the package: compare the fingerprint with one you "
        "got from the bank another way, or use --key; without that this shows only that the "
        "package agrees with itself, not who made it",
    ]
    if found.older is not None:
        lines.append(f"  history      an extension of the older checkpoint (size {found.older})")
    lines += [f"  not inside   {words.en}" for words in found.not_inside]
    return "\n".join(lines)


def _write(lang: str, zh: str, en: str) -> None:
    page = {"zh": zh, "en": en, "both": f"{zh}\n\n{en}"}[lang]
    # Bytes, so that a console of another code page cannot turn a result into a crash.
    sys.stdout.buffer.write(f"{page}\n".encode())
    sys.stdout.buffer.flush()


def _write_json(answer: dict[str, object]) -> None:
    _write("en", "", json.dumps(answer, ensure_ascii=False, indent=2, sort_keys=True))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="verify.py", description="离线验证审计包 / verify offline"
    )
    parser.add_argument("package", type=Path, help="审计包 zip 或解开后的文件夹 / zip or folder")
    parser.add_argument("--key", help="公布的验证密钥 / the published verifier key")
    parser.add_argument(
        "--checkpoint", type=Path, help="您保存的旧检查点 / an older checkpoint you kept"
    )
    parser.add_argument("--lang", choices=("zh", "en", "both"), default="both")
    parser.add_argument("--json", action="store_true", help="机器可读输出 / for machines")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> Verified:
    try:
        key = None if options.key is None else key_from_vkey(options.key.strip())
    except ValueError:
        raise CannotRunError(
            Words(zh="--key 不是验证密钥。", en="what --key gives is not a verifier key")
        ) from None
    try:
        older = None if options.checkpoint is None else options.checkpoint.read_bytes()
        processes = os.cpu_count() or 1
        return verify(options.package, key=key, older_note=older, processes=processes)
    except OSError as error:
        named = f"{error.filename}: {error.strerror}"
        raise CannotRunError(Words(zh=f"无法读取 {named}", en=f"could not read {named}")) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Verify and print one page; the exit status: 0 verified, 1 refused, 2 could not run."""
    options = _arguments(argv)
    try:
        found = _run(options)
    except CannotRunError as error:
        if options.json:
            _write_json({"verified": None, "zh": error.words.zh, "en": error.words.en})
        else:
            _write(options.lang, f"未能验证：{error.words.zh}", f"COULD NOT RUN: {error.words.en}")
        return 2
    except RefusedError as error:
        if options.json:
            _write_json(
                {
                    "verified": False,
                    "code": error.code,
                    "record": error.record,
                    "member": error.member,
                    "zh": error.words.zh,
                    "en": error.words.en,
                }
            )
        else:
            _write(
                options.lang,
                f"验证不通过：{error.words.zh}\n  请勿采信本包；联系保藏单位并保留原件。（{error.code}）",
                f"REFUSED: {error.words.en}\n  do not rely on this package; keep it as it is and "
                f"ask the bank ({error.code})",
            )
        return 1
    if options.json:
        _write_json(
            {
                "verified": True,
                "origin": found.origin,
                "size": found.size,
                "root": found.root,
                "created": found.created,
                "records": found.records,
                "documents": found.documents,
                "key": found.key,
                "fingerprint": found.fingerprint,
                "key_given": found.key_given,
                "older_checkpoint": found.older,
            }
        )
    else:
        _write(options.lang, _page_zh(found), _page_en(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
