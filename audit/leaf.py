"""One entry of the log: what a caller drafts, and the bytes it is sealed into.

Rules it keeps:

- A leaf is canonical JSON (RFC 8785), one line, at most 4 KiB, and never re-serialised later.
- No personal data in a leaf: ids, outcomes and rule numbers are short opaque codes (printable
  ASCII without spaces, so that a name or a sentence does not even fit), documents are named by
  digest, donors and samples stand as salted commitments.
- The salt and the value of a commitment are kept apart from the leaf (`Opening`), so they can be
  erased while every proof stays valid.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

MAX_LEAF_SIZE: Final = 4096  # bytes; design: "a leaf is at most 4 KiB"
SALT_SIZE: Final = 32  # bytes: 256 bits, so that a commitment cannot be found by guessing
NONCE_SIZE: Final = 16  # bytes: 128 bits, so that no two leaves are alike
VERSION: Final = 1
# RFC 8785 §3.2.2.3 rests on IEEE 754 doubles: beyond 2**53 an integer would not survive them.
_MAX_INTEGER: Final = 2**53 - 1
_CODE: Final = re.compile(r"[!-~]{1,200}")
# ASCII names: code point order is the UTF-16 order RFC 8785 asks for.
_SPELL: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode

Randomness = Callable[[int], bytes]
"""`randomness(n)` gives n unpredictable bytes, as `os.urandom` does."""


class LeafError(ValueError):
    """The draft cannot become a leaf; the caller is at fault."""


class LeafTooLargeError(LeafError):
    """The leaf would exceed 4 KiB: put the bulk into a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller wants recorded.

    - kind: what happened, as `decision` or `release.intent`
    - actor: the opaque id of who did it
    - outcome: how it came out, where there is an outcome
    - rules: the rule numbers that spoke, as `R-INF-02`
    - subjects: name -> opaque id of what it is about (request, case, grant)
    - documents: bodies stored verbatim beside the log; the leaf holds their SHA-256
    - commitments: name -> value to commit to without showing it
    """

    kind: str
    actor: str
    outcome: str | None = None
    rules: tuple[str, ...] = ()
    subjects: Mapping[str, str] = field(default_factory=dict)
    documents: tuple[bytes, ...] = ()
    commitments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What shows a commitment to be to `value`: kept beside the log, may be erased."""

    name: str
    salt: bytes = field(repr=False)
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A body and its SHA-256."""

    digest: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedLeaf:
    """The bytes of a leaf, with what is stored beside it."""

    leaf: bytes
    openings: tuple[Opening, ...]
    documents: tuple[Document, ...]


def seal(draft: Draft, *, index: int, time: datetime, randomness: Randomness) -> SealedLeaf:
    """The leaf of `draft` at `index`, with its documents and openings.

    `time` must be aware; it is written as RFC 3339 in UTC with microseconds. The leaf names its
    own index, so that a record dropped, added or moved shows even to someone holding only leaves.
    Raises `LeafError` and `LeafTooLargeError`.
    """
    codes = [draft.kind, draft.actor, *draft.rules, *draft.subjects.values()]
    names = [*draft.subjects, *draft.commitments]
    outcomes = [] if draft.outcome is None else [draft.outcome]
    for code in [*codes, *names, *outcomes]:
        if not _CODE.fullmatch(code):
            raise LeafError(f"`{code}` is not an opaque code of 1 to 200 printable characters")

    digests = [hashlib.sha256(body).digest() for body in draft.documents]
    documents = dict(zip(digests, draft.documents, strict=True))
    openings = tuple(
        Opening(name=name, salt=randomness(SALT_SIZE), value=value)
        for name, value in draft.commitments.items()
    )
    fields: dict[str, Any] = {
        "v": VERSION,
        "index": index,
        "type": draft.kind,
        "time": rfc3339(time),
        "actor": draft.actor,
        "nonce": randomness(NONCE_SIZE).hex(),
        "outcome": draft.outcome,
        "rules": list(draft.rules),
        "subjects": dict(draft.subjects),
        "docs": [digest.hex() for digest in documents],
        "commit": {one.name: commitment(one.salt, one.value).hex() for one in openings},
    }
    if index > _MAX_INTEGER:
        raise LeafError(f"`{index}` does not fit the 53 bits of a JSON number")
    # Nothing but short ASCII texts and that number: `canonical` would find nothing to refuse.
    told = {key: value for key, value in fields.items() if value not in (None, [], {})}
    leaf = _SPELL(told).encode()
    if len(leaf) > MAX_LEAF_SIZE:
        raise LeafTooLargeError(f"a leaf of `{len(leaf)}` bytes exceeds `{MAX_LEAF_SIZE}`")
    return SealedLeaf(
        leaf=leaf,
        openings=openings,
        documents=tuple(Document(digest=one, body=body) for one, body in documents.items()),
    )


def commitment(salt: bytes, value: str) -> bytes:
    """`SHA-256(salt || UTF-8 of value)`; the salt's fixed length keeps the two apart."""
    if len(salt) != SALT_SIZE:
        raise LeafError(f"a salt must be `{SALT_SIZE}` bytes long")
    try:
        return hashlib.sha256(salt + value.encode()).digest()
    except UnicodeEncodeError:
        raise LeafError("a committed value holds a lone surrogate") from None


def rfc3339(time: datetime) -> str:
    """`2026-05-04T03:02:01.000000Z`; raises `LeafError` for a time without a zone."""
    if time.tzinfo is None:
        raise LeafError("the time of a leaf must name its zone")
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value, RFC 8785, UTF-8.

    Takes None, bool, int within 53 bits, str, list, tuple and mappings with ASCII names. Floats
    are refused (their spelling is where implementations differ), as are lone surrogates, which
    RFC 8785 §3.2.2.2 calls an error. Raises `LeafError`.
    """
    text = _SPELL(_plain(value))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LeafError("a text holds a lone surrogate") from None


def _plain(value: object) -> object:
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > _MAX_INTEGER:
                raise LeafError(f"`{value}` does not fit the 53 bits of a JSON number")
            return value
        case list() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            for name in value:
                if not isinstance(name, str) or not name.isascii():
                    raise LeafError(f"`{name}` is not a name in ASCII")
            return {name: _plain(item) for name, item in value.items()}
        case _:
            raise LeafError(f"a `{type(value).__name__}` has no canonical form")
