"""The keys of a bank, in files outside the data folder, readable by their owner alone.

What each is for: `log.key` signs checkpoints (Ed25519, C2SP signed note); `token.pem` and `visa.pem`
sign access tokens and visas (ES256); `pepper` makes the HMAC of API keys; `seal` makes project-wise
pseudonyms and seals TOTP secrets. Losing `seal` loses the pseudonyms; losing `log.key` closes the log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from audit.note import Signer
from gateway.errors import SettingsError

FILES = ("log.key", "token.pem", "visa.pem", "pepper", "seal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The loaded keys of one bank. Never printed, never logged."""

    log: Signer
    token: ec.EllipticCurvePrivateKey
    visa: ec.EllipticCurvePrivateKey
    pepper: bytes
    seal: bytes

    def pseudonym(self, project: str, donor: str) -> str:
        """The name one project knows a donor by; two projects' names never join."""
        mac = hmac.new(self.seal, f"pseudonym\x00{project}\x00{donor}".encode(), hashlib.sha256)
        return "P" + base64.b32encode(mac.digest()[:10]).decode()

    def sealed(self, text: str) -> str:
        """A secret made unreadable to whoever has only the database."""
        return self._fernet().encrypt(text.encode()).decode()

    def opened(self, sealed: str) -> str:
        """What `sealed` hid; raises `SettingsError` if the seal key is another."""
        try:
            return self._fernet().decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise SettingsError("a sealed secret does not open with this `seal` key") from error

    def _fernet(self) -> Fernet:
        key = hmac.new(self.seal, b"totp", hashlib.sha256).digest()
        return Fernet(base64.urlsafe_b64encode(key))


def create(folder: Path, origin: str) -> Keys:
    """Make a new set of keys; never overwrites one. Raises `SettingsError` if any is there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for name in FILES:
        if (folder / name).exists():
            raise SettingsError(f"`{folder / name}` is there already; keys are never overwritten")
    _put(folder / "log.key", Signer.generate(origin, os.urandom).skey.encode())
    for name in ("token.pem", "visa.pem"):
        _put(folder / name, _pem(ec.generate_private_key(ec.SECP256R1())))
    for name in ("pepper", "seal"):
        _put(folder / name, secrets.token_hex(32).encode())
    return load(folder)


def load(folder: Path) -> Keys:
    """The keys in `folder`; raises `SettingsError` naming a file that is missing, wide or broken."""
    _verify_private(folder)
    content = {name: _read(folder / name) for name in FILES}
    try:
        return Keys(
            log=Signer.from_skey(content["log.key"].decode().strip()),
            token=_ec(content["token.pem"]),
            visa=_ec(content["visa.pem"]),
            pepper=bytes.fromhex(content["pepper"].decode()),
            seal=bytes.fromhex(content["seal"].decode()),
        )
    except ValueError as error:
        raise SettingsError(f"a key in `{folder}` cannot be read: {error}") from error


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _ec(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")  # noqa: TRY004 - the file is wrong
    return key


def _put(path: Path, content: bytes) -> None:
    # Created private from its first byte on; synced, because a bank without its keys is lost.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    if not path.exists():
        raise SettingsError(f"`{path}` is missing; `hgr init` makes the keys of a new bank")
    _verify_private(path)
    return path.read_bytes()


def _verify_private(path: Path) -> None:
    if not path.exists():
        raise SettingsError(f"`{path}` is missing; `hgr init` makes the keys of a new bank")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"`{path}` can be read by others than its owner; `chmod go-rwx` it")
