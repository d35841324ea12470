"""Whatever is done to a package, the verifier refuses it and names the first bad record."""

import hashlib
import io
import json
import os
import random
import runpy
import stat
import sys
import warnings
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import log, verify
from audit.leaf import Draft, seal
from audit.note import Checkpoint, sign
from audit.verify import RefusedError
from tests.audit import bank
from tests.audit.bank import ORIGIN, OTHER, SIGNER, adjusted, resigned, zipped

SIZE = 30
KEY = verify.key_from_vkey(SIGNER.verifier().vkey)
ENTRIES, HASHES, MANIFEST = "log/entries.jsonl", "log/hashes", "manifest.json"


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """(package, the checkpoint of its first 12 entries, the one of all)."""
    engine = bank.new_bank(tmp_path_factory.mktemp("bank") / "bank.db")
    bank.fill(engine, 12)
    with engine.begin() as conn:
        older = log.publish(conn, ORIGIN, SIGNER)
    bank.fill(engine, SIZE - 12, start=12)
    contents = bank.members(bank.package(engine))
    engine.dispose()
    return contents, older


@pytest.fixture
def good(logs):
    return dict(logs[0])


@pytest.fixture
def older(logs):
    return logs[1]


def checked(contents: dict[str, bytes] | bytes, tmp_path: Path, **options) -> verify.Verified:
    data = contents if isinstance(contents, bytes) else zipped(contents)
    path = tmp_path / "package.zip"
    path.write_bytes(data)
    return verify.verify(path, **options)


def refused(contents: dict[str, bytes] | bytes, tmp_path: Path, **options) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        checked(contents, tmp_path, **options)
    assert caught.value.words.zh
    assert str(caught.value) == caught.value.words.en
    return caught.value


def records(contents: dict[str, bytes]) -> list[bytes]:
    return contents[ENTRIES].split(b"\n")[:-1]


def with_records(contents: dict[str, bytes], rows: list[bytes]) -> dict[str, bytes]:
    return {**contents, ENTRIES: b"".join(row + b"\n" for row in rows)}


def edited(row: bytes, **changes: object) -> bytes:
    fields = json.loads(row) | changes
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def with_manifest(contents: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    fields = json.loads(contents[MANIFEST]) | changes
    return {**contents, MANIFEST: json.dumps(fields, ensure_ascii=False).encode()}


# --- what is right ------------------------------------------------------------------------------


def test_an_untouched_package_verifies(good, older, tmp_path):
    found = checked(good, tmp_path, key=KEY, older_note=older)
    assert (found.size, found.key_given, found.older) == (SIZE, True, 12)
    assert found.records == {"decision": 15, "release.intent": 15}
    assert found.root == json.loads(good[MANIFEST])["root"]
    assert checked(good, tmp_path).key_given is False


def test_a_package_is_consistent_with_its_own_checkpoint(good, tmp_path):
    assert checked(good, tmp_path, older_note=good["checkpoint"]).older == SIZE


def unpacked(contents: dict[str, bytes], folder: Path) -> Path:
    for name, body in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return folder


def test_an_unpacked_package_verifies(good, tmp_path):
    assert verify.verify(unpacked(good, tmp_path / "p")).size == SIZE


# --- records: changed, dropped, swapped, added --------------------------------------------------


@pytest.mark.parametrize("index", range(SIZE))
def test_one_byte_of_any_record_changed(good, tmp_path, index):
    rows = records(good)
    at = random.Random(index).randrange(len(rows[index]))
    changed = bytearray(rows[index])
    changed[at] ^= 1
    rows[index] = bytes(changed)
    error = refused(with_records(good, rows), tmp_path)
    assert (error.code, error.record) == ("record-changed", index)
    # The attacker adjusts hash list and manifest: the form, the place or the root tells.
    error = refused(adjusted(with_records(good, rows)), tmp_path)
    assert error.code in {"root", "record-malformed", "record-misplaced", "document-missing"} | {
        "record-time"
    }
    assert error.record in {None, index, index + 1}  # a later time shows at the next record


@pytest.mark.parametrize("index", [0, 1, 17, SIZE - 1])
def test_a_record_dropped(good, tmp_path, index):
    rows = records(good)
    del rows[index]
    error = refused(with_records(good, rows), tmp_path)
    assert (error.code, error.record) == ("record-dropped", index)
    error = refused(adjusted(with_records(good, rows)), tmp_path)
    last = index == SIZE - 1
    assert (error.code, error.record) == (("count", None) if last else ("record-misplaced", index))


@pytest.mark.parametrize(("one", "other"), [(0, 1), (3, 20), (0, SIZE - 1)])
def test_two_records_swapped(good, tmp_path, one, other):
    rows = records(good)
    rows[one], rows[other] = rows[other], rows[one]
    error = refused(with_records(good, rows), tmp_path)
    assert (error.code, error.record) == ("record-swapped", one)
    assert str(other) in error.words.en
    error = refused(adjusted(with_records(good, rows)), tmp_path)
    assert (error.code, error.record) == ("record-misplaced", one)


@pytest.mark.parametrize("index", [0, 17, SIZE])
def test_a_record_added(good, tmp_path, index):
    rows = records(good)
    rows.insert(index, edited(rows[0], index=index, nonce="00" * 16))
    error = refused(with_records(good, rows), tmp_path)
    assert (error.code, error.record) == ("record-added", index)
    error = refused(adjusted(with_records(good, rows)), tmp_path)
    assert error.code in {"record-misplaced", "record-time"}
    assert error.record in {index, index + 1}


def test_a_record_moved(good, tmp_path):
    rows = records(good)
    rows.insert(5, rows.pop(20))
    error = refused(with_records(good, rows), tmp_path)
    assert (error.code, error.record) == ("record-moved", 5)


def test_a_record_moved_and_the_rest_cut(good, tmp_path):
    rows = records(good)[:10]
    rows[5] = records(good)[20]
    error = refused(with_records(good, rows), tmp_path)
    assert (error.code, error.record) == ("record-moved", 5)


def test_a_record_forged_with_index_time_and_hashes_right_is_caught_by_the_root(
    good, older, tmp_path
):
    rows = records(good)
    rows[17] = edited(rows[17], outcome="deny")
    forged = adjusted(with_records(good, rows))
    error = refused(forged, tmp_path)
    assert (error.code, error.record) == ("root", None)
    assert "cannot tell which" in error.words.en
    error = refused(forged, tmp_path, older_note=older)
    assert "first 12 match" in error.words.en
    assert "前 12 条" in error.words.zh
    rows[3] = edited(rows[3], outcome="deny")
    error = refused(adjusted(with_records(good, rows)), tmp_path, older_note=older)
    assert "first" not in error.words.en


def test_a_newline_lost_or_gained(good, tmp_path):
    joined = good[ENTRIES].replace(b"\n", b" ", 1)
    assert refused({**good, ENTRIES: joined}, tmp_path).record == 0
    split = good[ENTRIES].replace(b",", b"\n", 1)
    assert refused({**good, ENTRIES: split}, tmp_path).record == 0
    cut = good[ENTRIES][:-1]
    assert refused({**good, ENTRIES: cut}, tmp_path).record == SIZE - 1
    long = b"x" * 10_000 + good[ENTRIES]
    assert refused({**good, ENTRIES: long}, tmp_path).record == 0
    assert refused({**good, ENTRIES: b""}, tmp_path).code == "record-dropped"


@pytest.mark.parametrize("line", [0, 17, SIZE - 1])
def test_a_changed_hash_line_is_not_blamed_on_the_record(good, tmp_path, line):
    lines = good[HASHES].split(b"\n")
    lines[line] = b"0" * 64
    error = refused({**good, HASHES: b"\n".join(lines)}, tmp_path)
    assert (error.code, error.member, error.record) == ("hash-list", HASHES, None)
    assert f"line {line} " in error.words.en


def test_a_hash_list_cut_or_torn(good, tmp_path):
    assert refused({**good, HASHES: good[HASHES][:-65]}, tmp_path).code == "hash-list"
    for torn in (good[HASHES][:-1], good[HASHES].upper(), b"x" + good[HASHES]):
        assert refused({**good, HASHES: torn}, tmp_path).code == "malformed"


# The bank itself, with its key, wrote what no log writes: every form is looked at.
@pytest.mark.parametrize(
    ("why", "entry", "code"),
    [
        ("not JSON", b"{", "record-malformed"),
        ("not UTF-8", b"\xff", "record-malformed"),
        ("a list", b"[]", "record-malformed"),
        ("nested past reason", b"[" * 4000, "record-malformed"),
        ("no fields", b"{}", "record-malformed"),
        ("spaces", None, "record-malformed"),
        ("a byte too long", {"more": "x" * 4096}, "record-malformed"),
        ("another version", {"v": 2}, "record-malformed"),
        ("a version that is true", {"v": True}, "record-malformed"),
        ("an index that is text", {"index": "0"}, "record-malformed"),
        ("no actor", {"actor": 1}, "record-malformed"),
        ("a time of another zone", {"time": "2026-05-04T03:02:01+08:00"}, "record-malformed"),
        ("documents that are no digests", {"docs": ["../x"]}, "record-malformed"),
        ("documents that are numbers", {"docs": [1]}, "record-malformed"),
        ("another index", {"index": 1}, "record-misplaced"),
        ("an absent document", {"docs": ["0" * 64]}, "document-missing"),
    ],
)
def test_a_record_that_no_log_writes(good, tmp_path, why, entry, code):
    rows = records(good)
    if isinstance(entry, dict):
        # 4,097 bytes is one more than a record may have
        rows[0] = edited(rows[0], **entry)
        if "more" in entry:
            rows[0] = rows[0].replace(b"x" * (len(rows[0]) - 4097), b"", 1)
    else:
        rows[0] = entry or json.dumps(json.loads(rows[0])).encode()
    error = refused(adjusted(with_records(good, rows)), tmp_path)
    assert (error.code, error.record) == (code, 0)


def test_a_record_of_an_earlier_time(good, tmp_path):
    rows = records(good)
    rows[4] = edited(rows[4], time=json.loads(rows[3])["time"])
    error = refused(adjusted(with_records(good, rows)), tmp_path)
    assert (error.code, error.record) == ("record-time", 4)


# --- documents and other members ----------------------------------------------------------------


def documents(contents: dict[str, bytes]) -> list[str]:
    return [name for name in contents if name.startswith("documents/")]


def test_a_document_changed_dropped_or_added(good, tmp_path):
    name = documents(good)[3]
    record = next(
        at
        for at, row in enumerate(records(good))
        if name[len("documents/") : -len(".json")] in json.loads(row)["docs"]
    )
    error = refused({**good, name: good[name] + b" "}, tmp_path)
    assert (error.code, error.member, error.record) == ("document-changed", name, record)
    error = refused({key: good[key] for key in good if key != name}, tmp_path)
    assert (error.code, error.member, error.record) == ("document-missing", name, record)
    more = f"documents/{hashlib.sha256(b'more').hexdigest()}.json"
    error = refused({**good, more: b"more"}, tmp_path)
    assert (error.code, error.member) == ("document-unreferenced", more)


@pytest.mark.parametrize("name", ["README.txt", "verify.py", *bank.EXTRAS])
def test_another_member_changed_dropped_or_renamed(good, tmp_path, name):
    error = refused({**good, name: good[name] + b" "}, tmp_path)
    assert (error.code, error.member) == ("member-changed", name)
    same_size = bytes([good[name][0] ^ 1]) + good[name][1:]
    assert refused({**good, name: same_size}, tmp_path).code == "member-changed"
    rest = {key: good[key] for key in good if key != name}
    error = refused(rest, tmp_path)
    assert (error.code, error.member) == ("missing", name)
    error = refused({**rest, "renamed": good[name]}, tmp_path)
    assert (error.code, error.member) == ("missing", name)
    assert "renamed" in error.words.en


@pytest.mark.parametrize("name", verify.REQUIRED)
def test_a_required_member_missing(good, tmp_path, name):
    error = refused({key: good[key] for key in good if key != name}, tmp_path)
    assert (error.code, error.member) == ("incomplete", name)


def test_an_extra_member(good, tmp_path):
    error = refused({**good, "notes.txt": b""}, tmp_path)
    assert (error.code, error.member) == ("extra", "notes.txt")


# --- manifest, checkpoint, keys -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"origin": "other"}, "manifest"),
        ({"size": 1}, "manifest"),
        ({"root": "00"}, "manifest"),
        ({"created": None}, "manifest"),
        ({"records": {"decision": SIZE}}, "manifest"),
        ({"documents": 1}, "manifest"),
        ({"title": {"zh": "别家", "en": "another"}}, "manifest-signature"),
        ({"not_inside": []}, "manifest-signature"),
        ({"format": "other/1"}, "malformed"),
        ({"members": 1}, "malformed"),
        ({"members": [{"name": "a"}]}, "malformed"),
        ({"members": [{"name": 1, "size": 1, "sha256": ""}]}, "malformed"),
        ({"members": [{"name": "a", "size": 1, "sha256": ""}] * 2}, "malformed"),
        ({"not_inside": [1]}, "malformed"),
        ({"key": None}, "malformed"),
        ({"key": "a+b"}, "malformed"),
        ({"key": "a+00000000+AAAA"}, "malformed"),
    ],
    ids=str,
)
def test_a_changed_manifest(good, tmp_path, changes, code):
    error = refused(with_manifest(good, **changes), tmp_path)
    assert (error.code, error.member) == (code, MANIFEST)


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"1", b"[" * 100_000], ids=len)
def test_a_torn_manifest(good, tmp_path, body):
    assert refused({**good, MANIFEST: body}, tmp_path).code == "malformed"


def test_a_manifest_note_of_another_manifest_or_key(good, tmp_path):
    changed = with_manifest(good, title={"zh": "别家", "en": "another"})
    assert refused(resigned(changed, OTHER), tmp_path).code == "manifest-signature"
    assert refused({**good, "manifest.note": good["checkpoint"]}, tmp_path).code == (
        "manifest-signature"
    )
    assert refused({**good, "manifest.note": b"torn"}, tmp_path).code == "malformed"


def test_a_note_too_long_is_not_read(good, tmp_path):
    error = refused({**good, "checkpoint": os.urandom(1_000_001)}, tmp_path)
    assert (error.code, error.member) == ("malformed", "checkpoint")


def checkpoint_of(contents: dict[str, bytes], **changes) -> str:
    manifest = json.loads(contents[MANIFEST])
    fields = {"origin": ORIGIN, "size": SIZE, "root": bytes.fromhex(manifest["root"])} | changes
    return Checkpoint(**fields).text()


@pytest.mark.parametrize(
    ("why", "note", "code"),
    [
        ("another key", lambda good: sign(checkpoint_of(good), OTHER), "signature"),
        (
            "a flipped size",
            lambda good: good["checkpoint"].replace(b"\n30\n", b"\n31\n"),
            "signature",
        ),
        (
            "another origin",
            lambda good: sign(checkpoint_of(good, origin="other"), SIGNER),
            "signature",
        ),
        ("no checkpoint", lambda _: sign("a\nb\nAAAA\n", SIGNER), "malformed"),
        ("a short root", lambda _: sign("a\n1\nAAAA\n", SIGNER), "malformed"),
        ("not base64", lambda _: sign("a\n1\nAAAB=\n", SIGNER), "malformed"),
        ("another base64", lambda _: sign("a\n1\nAB==\n", SIGNER), "malformed"),
        ("extensions", lambda good: sign(checkpoint_of(good) + "more\n", SIGNER), "malformed"),
        ("not UTF-8", lambda _: b"\xff", "malformed"),
        ("no blank line", lambda _: b"a\n", "malformed"),
        ("a signature line of no use", lambda _: b"a\n\nb\n", "malformed"),
        ("a dash of another kind", lambda _: b"a\n\n- n AAAAAAA=\n", "malformed"),
        ("a control character", lambda good: good["checkpoint"] + b"\t\n", "malformed"),
    ],
)
def test_a_changed_checkpoint(good, tmp_path, why, note, code):
    error = refused({**good, "checkpoint": note(good)}, tmp_path)
    assert (error.code, error.member) == (code, "checkpoint")


def test_a_cosignature_of_an_unknown_key_is_ignored(good, tmp_path):
    extra = good["checkpoint"] + "— witness.example AAAAAAAA\n".encode()
    manifest = json.loads(good[MANIFEST])
    for row in manifest["members"]:
        if row["name"] == "checkpoint":
            row.update(size=len(extra), sha256=hashlib.sha256(extra).hexdigest())
    contents = with_manifest({**good, "checkpoint": extra}, **manifest)
    assert checked(resigned(contents, SIGNER), tmp_path).size == SIZE


def test_a_whole_forgery_under_another_key_falls_to_the_known_key(good, tmp_path):
    """Everything made anew by someone else: only the key the reader brings can tell."""
    rows = records(good)
    rows[17] = edited(rows[17], outcome="deny")
    tree = verify.Tree()
    for row in rows:
        tree.append(hashlib.sha256(b"\x00" + row).digest())
    forged = with_records(good, rows)
    forged["checkpoint"] = sign(checkpoint_of(good, root=tree.root()), OTHER)
    forged = with_manifest(forged, key=OTHER.verifier().vkey, root=tree.root().hex())
    forged = adjusted(forged, OTHER)
    found = checked(forged, tmp_path)
    assert found.key_given is False
    assert found.fingerprint != KEY.fingerprint
    assert refused(forged, tmp_path, key=KEY).code == "wrong-key"


@pytest.mark.parametrize(
    ("why", "note", "code"),
    [
        ("a fork", lambda good: sign(checkpoint_of(good, size=12, root=bytes(32)), SIGNER), "fork"),
        ("same size", lambda good: sign(checkpoint_of(good, root=bytes(32)), SIGNER), "fork"),
        ("newer", lambda good: sign(checkpoint_of(good, size=31), SIGNER), "older"),
        ("another key", lambda good: sign(checkpoint_of(good), OTHER), "signature"),
        ("torn", lambda _: b"torn", "malformed"),
    ],
)
def test_an_older_checkpoint_that_does_not_fit(good, tmp_path, why, note, code):
    assert refused(good, tmp_path, older_note=note(good)).code == code


def test_an_older_checkpoint_of_the_empty_log(good, tmp_path):
    empty = sign(checkpoint_of(good, size=0, root=hashlib.sha256(b"").digest()), SIGNER)
    assert checked(good, tmp_path, older_note=empty).older == 0


# --- the container ------------------------------------------------------------------------------


def test_a_package_cut_anywhere_is_incomplete(good, tmp_path):
    whole = zipped(good)
    for at in {0, 1, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1}:
        assert refused(whole[:at], tmp_path).code == "incomplete"


def test_a_package_cut_at_its_front(good, tmp_path):
    # Newer Pythons refuse to open it, older ones place its first member before the file.
    assert refused(zipped(good)[1000:], tmp_path).code in {"incomplete", "member-form"}


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_flipped_byte_of_the_zip_changes_what_is_read(good, tmp_path, data):
    """Flips in what a zip does not use (times, rights) may pass; content never changes unseen."""
    whole = bytearray(zipped(good))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "package.zip"
    path.write_bytes(whole)
    try:
        found = verify.verify(path)
    except RefusedError:
        return
    assert found.size == SIZE
    assert bank.members(bytes(whole)) == good


def test_a_member_twice(good, tmp_path):
    out = io.BytesIO(zipped(good))
    with warnings.catch_warnings(), zipfile.ZipFile(out, "a") as package:
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of the duplicate we want
        package.writestr(ENTRIES, b"")
    error = refused(out.getvalue(), tmp_path)
    assert (error.code, error.member) == ("duplicate", ENTRIES)


@pytest.mark.parametrize(
    "name", ["../escape", "/etc/passwd", "a/../../b", "a//b", "C:\\x", "a/", "a" * 201, "包"]
)
def test_a_name_that_climbs_or_hides(good, tmp_path, name):
    assert refused({**good, name: b""}, tmp_path).code == "member-name"


def test_a_bomb_is_not_read(good, tmp_path):
    error = refused({**good, "README.txt": bytes(4 << 20)}, tmp_path)
    assert (error.code, error.member) == ("member-form", "README.txt")


def test_another_way_of_packing_is_not_read(good, tmp_path):
    out = io.BytesIO(zipped(good))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_BZIP2) as package:
        package.writestr("notes.txt", b"notes")
    assert refused(out.getvalue(), tmp_path).code == "member-form"


def test_limits_hold(good, tmp_path, monkeypatch):
    with monkeypatch.context() as limits:
        limits.setattr(verify, "MAX_MEMBERS", 3)
        assert refused(good, tmp_path).code == "too-large"
    monkeypatch.setattr(verify, "MAX_TOTAL", 1000)
    assert refused(good, tmp_path).code == "too-large"


def test_damage_inside_a_member_is_named(good, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as package:
        for name, body in good.items():
            package.writestr(name, body)
    damaged = out.getvalue().replace(b"How to verify", b"How to Verify")
    error = refused(damaged, tmp_path)
    assert (error.code, error.member) == ("member-damaged", "README.txt")


@pytest.mark.parametrize("what", ["a link", "a link to a folder", "a pipe"])
def test_a_folder_with_what_is_no_file(good, tmp_path, what):
    folder = unpacked(good, tmp_path / "p")
    path = folder / "documents" / "more"
    if what == "a pipe":
        os.mkfifo(path)
        assert stat.S_ISFIFO(path.stat().st_mode)
    else:
        path.symlink_to(tmp_path if "folder" in what else folder / "README.txt")
    with pytest.raises(RefusedError) as caught:
        verify.verify(folder)
    assert caught.value.code == "member-name"


# --- Ed25519 ------------------------------------------------------------------------------------

# RFC 8032 §7.1: TEST 1, 2, 3 and SHA(abc).
RFC8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
            "6bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d"
            "8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6"
            "594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feeb"
            "bd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0"
            "303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC8032)
def test_rfc_8032_vectors(public, message, signature):
    key, text, signed = map(bytes.fromhex, (public, message, signature))
    assert verify.ed25519_is_valid(key, text, signed)
    assert not verify.ed25519_is_valid(key, text + b"x", signed)
    for at in (0, 31, 32, 63):
        flipped = bytearray(signed)
        flipped[at] ^= 1
        assert not verify.ed25519_is_valid(key, text, bytes(flipped))
    # RFC 8032 §5.1.7: S must be below the group order, or S + L would be a second signature.
    beyond = int.from_bytes(signed[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    malleable = signed[:32] + beyond.to_bytes(32, "little")
    assert not verify.ed25519_is_valid(key, text, malleable)
    assert not verify.ed25519_is_valid(key, text, signed[:63])
    assert not verify.ed25519_is_valid(key[:31], text, signed)


# ed25519-speccheck ("Taming the many EdDSAs"), cases.json 0, 1, 4 to 9: refused by the strict
# reading: small-order key, unequal without the cofactor, S out of bounds, R not canonical.
SPECCHECK = [
    (
        "0 small-order key and R",
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a" + "00" * 32,
    ),
    (
        "1 small-order key",
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        (
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
            "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
        ),
    ),
    (
        "4 valid only with the cofactor",
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        (
            "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
            "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09"
        ),
    ),
    (
        "6 S beyond the order",
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        (
            "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
            "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514"
        ),
    ),
    (
        "8 R not canonical",
        "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        (
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
            "454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607"
        ),
    ),
]


@pytest.mark.parametrize(
    ("message", "public", "signature"),
    [row[1:] for row in SPECCHECK],
    ids=[row[0] for row in SPECCHECK],
)
def test_the_strict_reading_refuses(message, public, signature):
    key, text, signed = map(bytes.fromhex, (public, message, signature))
    assert not verify.ed25519_is_valid(key, text, signed)


@pytest.mark.parametrize(
    ("why", "encoded"),
    [
        ("y = p, which is 0 spelt otherwise", (2**255 - 19).to_bytes(32, "little")),
        ("not on the curve", (2).to_bytes(32, "little")),
        ("minus zero", (1 | 1 << 255).to_bytes(32, "little")),
        ("the identity", (1).to_bytes(32, "little")),
    ],
)
def test_a_key_that_is_no_key(why, encoded):
    assert not verify.ed25519_is_valid(encoded, b"", bytes(64))


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
@settings(max_examples=30, deadline=None)
def test_what_openssl_signs_verifies(message, seed):
    signer = bank.Signer(name="a", seed=seed)
    public = signer.verifier().public_key
    assert verify.ed25519_is_valid(public, message, signer.sign(message))


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def at(good, older, tmp_path):
    (tmp_path / "good.zip").write_bytes(zipped(good))
    bad = {**good, ENTRIES: good[ENTRIES].replace(b"permit", b"refuse", 1)}
    (tmp_path / "bad.zip").write_bytes(zipped(bad))
    (tmp_path / "older").write_bytes(older)
    return tmp_path


def run(capsysbinary, *arguments: object) -> tuple[int, str]:
    code = verify.main([str(one) for one in arguments])
    return code, capsysbinary.readouterr().out.decode()


def test_the_page_of_a_good_package(at, capsysbinary):
    code, page = run(capsysbinary, at / "good.zip")
    assert code == 0
    assert page.index("验证通过") < page.index("VERIFIED")
    assert KEY.fingerprint in page
    assert "compare the fingerprint" in page
    code, page = run(
        capsysbinary, at / "good.zip", "--key", f" {KEY.vkey} ", "--checkpoint", at / "older"
    )
    assert code == 0
    assert "与您提供的一致" in page
    assert "the older checkpoint (size 12)" in page


@pytest.mark.parametrize(
    ("lang", "here", "absent"), [("zh", "验证通过", "VERIFIED"), ("en", "VERIFIED", "验证通过")]
)
def test_one_language(at, capsysbinary, lang, here, absent):
    code, page = run(capsysbinary, at / "good.zip", "--lang", lang)
    assert code == 0
    assert here in page
    assert absent not in page


def test_the_page_of_a_bad_package(at, capsysbinary):
    code, page = run(capsysbinary, at / "bad.zip")
    assert code == 1
    assert "第 0 号记录被改动" in page
    assert "record 0 was changed" in page


def test_answers_for_machines(at, capsysbinary):
    code, text = run(capsysbinary, at / "good.zip", "--json")
    answer = json.loads(text)
    assert (code, answer["verified"], answer["size"], answer["key"]) == (0, True, SIZE, KEY.vkey)
    code, text = run(capsysbinary, at / "bad.zip", "--json")
    answer = json.loads(text)
    assert (code, answer["verified"], answer["code"]) == (1, False, "record-changed")
    assert (answer["record"], answer["member"]) == (0, ENTRIES)
    code, text = run(capsysbinary, at / "absent.zip", "--json")
    assert (code, json.loads(text)["verified"]) == (2, None)


@pytest.mark.parametrize(
    ("why", "arguments", "message"),
    [
        ("no file", ["absent.zip"], "absent.zip"),
        ("no key", ["good.zip", "--key", "nonsense"], "--key"),
        ("no checkpoint", ["good.zip", "--checkpoint", "absent"], "absent"),
    ],
)
def test_what_could_not_run(at, capsysbinary, monkeypatch, why, arguments, message):
    monkeypatch.chdir(at)
    code, page = run(capsysbinary, *arguments)
    assert code == 2
    assert "未能验证" in page
    assert message in page


def test_wrong_usage(capsysbinary):
    with pytest.raises(SystemExit) as stopped:
        verify.main([])
    assert stopped.value.code == 2


def test_it_runs_as_a_program(at, capsysbinary, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["verify.py", str(at / "good.zip"), "--lang", "en"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(verify.__file__, run_name="__main__")
    assert stopped.value.code == 0
    assert b"VERIFIED" in capsysbinary.readouterr().out


# --- many records at once -----------------------------------------------------------------------


class Everything:
    """A container that holds whatever is asked for."""

    class Sizes(dict):
        def __contains__(self, name: object) -> bool:
            return True

    sizes = Sizes()


def same_reading(lines: list[bytes]) -> bool:
    """Whether they are read at once; if so, reading them one by one must find the same."""
    run = verify._at_once(0, lines)
    if run is None:
        return False
    found = verify.Records()
    hashes = []
    for index, entry in enumerate(map(verify._entry, lines)):
        verify._verify_record(Everything, found, entry, index)
        hashes.append(verify._leaf_hash(entry))
    assert run.hashes == b"".join(hashes)
    assert (run.types, run.documents) == (found.types, found.documents)
    assert list(run.documents) == list(found.documents)
    assert run.last_time == found.last_time
    assert run.first_time == json.loads(lines[0])["time"]
    return True


def line(index: int, **fields: object) -> bytes:
    told = {"kind": "decision", "actor": "key-01"} | fields
    time = bank.NOW + timedelta(microseconds=index)
    return seal(Draft(**told), index=index, time=time, randomness=bytes).leaf + b"\n"


FULL = {
    "outcome": "permit",
    "rules": ("R-GEN-01", "R-CON-03"),
    "subjects": {"time": "index", "a": "req:{1},[2]", "a!": "x"},
    "documents": (b"{}", b"[]"),
    "commitments": {"items": "HG00097", "donors": "HG00096"},
}


def test_what_the_log_writes_is_read_at_once():
    assert same_reading([line(0), line(1, **FULL), line(2), line(3, **FULL, kind="x")])


@pytest.mark.parametrize(
    "fields",
    [
        {"actor": '"\\'},
        {"subjects": {f"s{n}": "x" for n in range(verify._NAMES + 1)}},
        {"commitments": {'"': "x"}},
    ],
    ids=["escapes", "many names", "an escaped name"],
)
def test_what_is_spelt_rightly_but_not_read_at_once_is_read_one_by_one(fields):
    lines = [line(0), line(1, **fields)]
    assert not same_reading(lines)
    for index, entry in enumerate(map(verify._entry, lines)):
        verify._verify_record(Everything, verify.Records(), entry, index)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"index"', b'"\\u0069ndex"'),
        (b'"index":1', b'"index":1,"index":1'),
        (b'"v":1', b'"v":1,"w":1'),
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":true'),
        (b',"v":1', b""),
        (b'"index":1', b'"index": 1'),
        (b'"index":1', b'"index":01'),
        (b'"index":1', b'"index":2'),
        (b'"index":1', b'"index":"1"'),
        (b'"index":1', b'"index":' + b"1" * 5000),
        (b"req:", b"req\n"),
        (b"req:", b"req\x7f"),
        (b"req:", "人类".encode()),
        (b"req:", b"\xff"),
        (b'"a":', b'"b":'),
        (b'"a":', b'"a!":'),
        (b'"a":', b'"":'),
        (b'"donors"', b'"items"'),
        (b'"donors"', b'"x"'),
        (b'"docs":["', b'"docs":["A'),
        (b'000001Z"', b'000001+00:00"'),
        (b'000001Z"', b'000000Z"'),
        (b'"v":1}', b'"v":1}}'),
        (b"\n", b""),
        (b"\n", b"\n\n"),
        (b"\n", b"\r\n"),
        (b"key-01", b"k" * verify.MAX_LEAF),
    ],
    ids=lambda part: part.decode(errors="replace")[:20].strip() or "end",
)
def test_what_is_spelt_otherwise_is_not_read_at_once(old, new):
    odd = line(1, **FULL).replace(old, new, 1)
    assert odd != line(1, **FULL)
    assert not same_reading([line(0), odd, line(2)])


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_what_is_read_at_once_reads_the_same_one_by_one(data):
    """Any change of any bytes, hashes made to fit: it is left to the other reading, or reads alike."""
    whole = line(0, **FULL) + line(1) + line(2, **FULL)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(whole)))
        gone = data.draw(st.integers(0, 70))
        pieces = [b'"', b"\\", b"\n", b",", b":", b"{", b"}", b"[", b"]", b"0", b"9", b"a", b"\x00"]
        pieces += [b'"index":1', b'"docs":[]', b'"commit":{}', b'"a":"x",', b"Z", b" ", b"\xc3\xa9"]
        put = data.draw(st.sampled_from(pieces) | st.binary(max_size=3))
        whole = whole[:at] + put + whole[at + gone :]
    lines = io.BytesIO(whole).readlines()
    if lines:
        same_reading(lines)


LONG = 2500


@pytest.fixture(scope="module")
def long_logs(tmp_path_factory):
    """(package of several runs, size → checkpoint)."""
    engine = bank.new_bank(tmp_path_factory.mktemp("long") / "bank.db")
    notes = {}
    for first, stop in ((0, 1000), (1000, 1024), (1024, LONG)):
        bank.fill(engine, stop - first, batch=500, start=first)
        with engine.begin() as conn:
            notes[stop] = log.publish(conn, ORIGIN, SIGNER)
    contents = bank.members(bank.package(engine))
    engine.dispose()
    return contents, notes


@pytest.fixture(params=[1, 2], ids=["in one process", "in three processes"])
def processes(request, monkeypatch):
    monkeypatch.setattr(verify, "LARGE", 0)
    monkeypatch.setattr(verify, "_RUN", 256)  # more runs than may wait
    return request.param


def test_a_long_package_verifies(long_logs, processes, tmp_path):
    contents, notes = long_logs
    for size, note in notes.items():
        found = checked(contents, tmp_path, older_note=note, processes=processes)
        assert (found.size, found.older) == (LONG, size)
    assert found.records == {"decision": LONG // 2, "release.intent": LONG // 2}
    assert checked(contents, tmp_path, processes=processes) == checked(contents, tmp_path)


def test_a_long_package_that_was_changed_names_the_record(long_logs, processes, tmp_path):
    contents, _ = long_logs
    rows = records(contents)
    for change, code, record in (
        (lambda: rows[:2000] + rows[2001:], "record-dropped", 2000),
        (lambda: [*rows[:1500], rows[1501], rows[1500], *rows[1502:]], "record-swapped", 1500),
        (lambda: rows[:2499], "record-dropped", 2499),
    ):
        wrong = with_records(contents, change())
        error = refused(wrong, tmp_path, processes=processes)
        assert (error.code, error.record) == (code, record)
    moved = [*rows[:1024], edited(rows[1024], time="2026-05-04T03:02:01.000000Z"), *rows[1025:]]
    error = refused(adjusted(with_records(contents, moved)), tmp_path, processes=processes)
    assert (error.code, error.record) == ("record-time", 1024)
    named = json.loads(rows[2001])["docs"][0]
    without = {name: body for name, body in contents.items() if named not in name}
    error = refused(without, tmp_path, processes=processes)
    assert (error.code, error.record) == ("document-missing", 2001)


@pytest.mark.parametrize(
    "change",
    [
        lambda hashes: hashes[:70].upper() + hashes[70:],
        lambda hashes: hashes.replace(b"\n", b" ", 1),
        lambda hashes: b"g" + hashes[1:],
        lambda hashes: b"\n" + hashes[:64] + hashes[65:],
        lambda hashes: hashes + b"\n",
        lambda hashes: hashes[:-1],
        lambda hashes: b" " * 64 + hashes[64:],
        lambda hashes: hashes.replace(b"\n", b"\r\n"),
        lambda hashes: b"\xff" + hashes[1:],
    ],
    ids=["capitals", "a space", "no digit", "moved", "longer", "cut", "blank", "returns", "bytes"],
)
def test_a_hash_list_of_another_form(good, tmp_path, change):
    error = refused({**good, HASHES: change(good[HASHES])}, tmp_path)
    assert (error.code, error.member) == ("malformed", HASHES)
