"""The audit package: a zip a regulator checks offline with the `verify.py` inside it.

Rules it keeps:

- Every byte is vouched for: records by the signed checkpoint, documents by the records that name
  them, every other file by the manifest, the manifest by its own signature.
- Verbatim: leaves and documents are copied as they are stored.
- Deterministic: one log state and one set of extras give one zip, byte for byte.
- Streamed: memory grows only with the number of documents (their names), not with the records.
"""

import hashlib
import importlib.resources
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from sqlalchemy import Connection

from audit.check import checkpoint_of
from audit.log import leaves, publish
from audit.merkle import CompactRange, leaf_hash
from audit.note import Checkpoint, Signer, sign
from audit.tree import LogCorruptError, documents
from audit.verify import (
    CHECKPOINT,
    DOCUMENT_NAME,
    ENTRIES,
    FORMAT,
    HASHES,
    MANIFEST,
    MANIFEST_NOTE,
    MAX_NAME,
    MEMBER_NAME,
    RATIO_FREE,
)

README: Final = "README.txt"
VERIFIER: Final = "verify.py"
_RESERVED: Final = frozenset(
    {README, VERIFIER, MANIFEST, MANIFEST_NOTE, CHECKPOINT, ENTRIES, HASHES}
)
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the first date a zip can bear, for a log without entries

NOT_INSIDE: Final = (
    {
        "zh": "承诺值的原值与盐（捐献者、样本编号等）：属个人信息，记录中只有加盐摘要，须依法另行调取",
        "en": "what opens the commitments (donor and sample ids and their salts): personal data; "
        "the records hold salted digests only, the values are shown on lawful request",
    },
    {
        "zh": "检查点签发之后的记录：请取更新的审计包，并用 --checkpoint 与本包的检查点比对",
        "en": "records after the checkpoint: get a newer package and compare it with this "
        "package's checkpoint by --checkpoint",
    },
    {
        "zh": "密码、接口密钥、令牌与签名私钥：从不写入日志",
        "en": "passwords, API keys, tokens and signing keys: these are never logged",
    },
)

_README: Final = """\
{zh}
审计包说明

这是什么：人类遗传资源网关的完整审计日志，截至所附签名检查点。每条记录一行，逐字节保存；
记录所指的决定书等文件在 documents/ 下，文件名即其 SHA-256。

怎样验证（不联网，只需 Python 3.11 或更新，不必解压）：
  1. 从保藏单位的另一渠道（公示、函件、电话）取得验证密钥 VKEY；
  2. 运行  python verify.py 本包.zip --key VKEY
  3. 看到“验证通过”即可；否则会指出第一条不对的记录。
verify.py 只用标准库，只有一个文件，可自行审阅；更稳妥的是使用您另行取得的同一文件。
请保存 checkpoint 文件：下次用 --checkpoint 可证明历史未被改写。

里面有什么：checkpoint（签名检查点）、log/entries.jsonl（记录）、log/hashes（每条记录的哈希）、
documents/（文件）、manifest.json（清单）、manifest.note（清单的签名）及清单列出的其他文件。
里面没有什么：
{not_inside_zh}

----------------------------------------------------------------------------------------------

{en}
Audit package

What this is: the whole audit log of a human genetic resource gateway up to the signed checkpoint
beside it. One record a line, byte for byte; the documents that records refer to are in documents/,
each named by its SHA-256.

How to verify (offline, Python 3.11 or newer, no need to unpack):
  1. get the verifier key VKEY from the bank another way (publication, letter, telephone);
  2. run  python verify.py THIS.zip --key VKEY
  3. it says VERIFIED, or names the first record that is not as it was.
verify.py is one file on the standard library alone, short enough to read; safer still is a copy
you obtained elsewhere. Keep the file `checkpoint`: with --checkpoint, a later package can be shown
not to have rewritten history.

What is inside: checkpoint (signed), log/entries.jsonl (the records), log/hashes (the hash of each),
documents/, manifest.json (the list), manifest.note (its signature), and what the manifest lists.
What is not inside:
{not_inside_en}
"""


class PackageError(ValueError):
    """What was asked to go into the package cannot; the caller is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Title:
    """What the package is of, one line in each language."""

    zh: str
    en: str


class _Writer:
    """The zip being written and what its manifest must say; owned by one `write_package`."""

    def __init__(self, package: zipfile.ZipFile, created: str | None) -> None:
        self._package = package
        self._stamp = _NO_TIME
        if created is not None:
            at = datetime.fromisoformat(created)
            self._stamp = (at.year, at.month, at.day, at.hour, at.minute, at.second)
        self.members: list[dict[str, str | int]] = []
        self.tree = CompactRange()
        self.types: Counter[str] = Counter()
        self.documents: dict[str, None] = {}  # digests, in order of first mention

    def listed(self, name: str, chunks: Iterable[bytes], *, streamed: bool = False) -> None:
        """Write a member that the manifest vouches for."""
        digest = hashlib.sha256()
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        self._write(name, counted(), zipfile.ZIP_DEFLATED, streamed=streamed)
        self.members.append({"name": name, "size": size, "sha256": digest.hexdigest()})

    def listed_body(self, name: str, body: bytes) -> None:
        """Write a caller's file that the manifest vouches for."""
        self.unlisted(name, body)
        digest = hashlib.sha256(body).hexdigest()
        self.members.append({"name": name, "size": len(body), "sha256": digest})

    def unlisted(self, name: str, body: bytes) -> None:
        """Write a member that something else vouches for."""
        # The verifier takes a large body that packs very tightly for a bomb: store such plainly.
        method = zipfile.ZIP_STORED if len(body) > RATIO_FREE else zipfile.ZIP_DEFLATED
        self._write(name, [body], method)

    def _write(
        self, name: str, chunks: Iterable[bytes], method: int, *, streamed: bool = False
    ) -> None:
        about = zipfile.ZipInfo(name, self._stamp)
        about.compress_type = method
        about.create_system = 3  # always Unix, so that the machine does not show in the bytes
        about.external_attr = 0o644 << 16
        with self._package.open(about, "w", force_zip64=streamed) as member:
            for chunk in chunks:
                member.write(chunk)


def write_package(
    conn: Connection,
    origin: str,
    out: BinaryIO,
    *,
    signer: Signer,
    title: Title,
    extras: Mapping[str, bytes] | None = None,
    note: bytes | None = None,
) -> Checkpoint:
    """Write the log of `origin` to `out` as a zip; the checkpoint it proves.

    `extras` maps member names (as `packs/…`) to bytes. `out` need not be seekable. `note` is a
    checkpoint that is already stored, so that `conn` need only read; without it the newest is used,
    and published if there is none. Raises `PackageError` for a bad extra before
    anything is written, and `LogCorruptError` if the log does not give its own root: the zip is
    then left without its manifest, which the verifier calls incomplete.
    """
    extras = extras or {}
    for name in extras:
        fits = len(name) <= MAX_NAME and MEMBER_NAME.fullmatch(name)
        if not fits or name in _RESERVED or DOCUMENT_NAME.fullmatch(name):
            raise PackageError(f"`{name}` cannot be the name of an extra member")
    note = publish(conn, origin, signer) if note is None else note
    checkpoint = checkpoint_of(note, origin)
    created = _time_of_last(conn, origin, checkpoint.size)
    with zipfile.ZipFile(out, "w") as package:
        writer = _Writer(package, created)
        writer.listed_body(README, _readme(title))
        verifier = importlib.resources.files("audit").joinpath("verify.py").read_bytes()
        writer.listed_body(VERIFIER, verifier)
        writer.listed_body(CHECKPOINT, note)
        # Read twice rather than hold the hashes: a zip is written one member at a time.
        writer.listed(ENTRIES, _entries(conn, writer, checkpoint), streamed=True)
        writer.listed(HASHES, _hashes(conn, checkpoint), streamed=True)
        if writer.tree.root() != checkpoint.root:
            raise LogCorruptError(f"the entries of `{origin}` do not give its checkpoint")
        for one in documents(conn, map(bytes.fromhex, writer.documents)):
            writer.unlisted(f"documents/{one.digest.hex()}.json", one.body)
        for name, body in sorted(extras.items()):
            writer.listed_body(name, body)
        manifest = _manifest(checkpoint, signer, title, created, writer)
        writer.unlisted(MANIFEST, manifest)
        # Two lines, the second not a number: this can never be taken for a checkpoint.
        digest = hashlib.sha256(manifest).hexdigest()
        writer.unlisted(MANIFEST_NOTE, sign(f"{origin}/package\nsha256:{digest}\n", signer))
    return checkpoint


def _entries(conn: Connection, writer: _Writer, checkpoint: Checkpoint) -> Iterator[bytes]:
    for leaf in leaves(conn, checkpoint.origin, 0, checkpoint.size):
        fields: dict[str, Any] = json.loads(leaf)
        writer.types[fields["type"]] += 1
        writer.documents.update(dict.fromkeys(fields.get("docs", ())))
        writer.tree.append(leaf_hash(leaf))
        yield leaf + b"\n"


def _hashes(conn: Connection, checkpoint: Checkpoint) -> Iterator[bytes]:
    for leaf in leaves(conn, checkpoint.origin, 0, checkpoint.size):
        yield leaf_hash(leaf).hex().encode() + b"\n"


def _time_of_last(conn: Connection, origin: str, size: int) -> str | None:
    time: str | None = None
    for leaf in leaves(conn, origin, max(0, size - 1), size):
        time = json.loads(leaf)["time"]
    return time


def _readme(title: Title) -> bytes:
    return _README.format(
        zh=title.zh,
        en=title.en,
        not_inside_zh="\n".join(f"  - {one['zh']}" for one in NOT_INSIDE),
        not_inside_en="\n".join(f"  - {one['en']}" for one in NOT_INSIDE),
    ).encode()


def _manifest(
    checkpoint: Checkpoint,
    signer: Signer,
    title: Title,
    created: str | None,
    writer: _Writer,
) -> bytes:
    fields = {
        "format": FORMAT,
        "title": {"zh": title.zh, "en": title.en},
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "key": signer.verifier().vkey,
        "created": created,
        "records": dict(writer.types),
        "documents": len(writer.documents),
        "members": writer.members,
        "not_inside": NOT_INSIDE,
    }
    return json.dumps(fields, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"
