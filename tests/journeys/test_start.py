"""What is wrong stops the start, with the file, the key and the reason; what is right serves."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import policies
from gateway.settings import Settings
from policies import packs
from policies.packs import PackError
from tests.journeys.conftest import Template
from tests.journeys.serving import environment_of, serving, start, wait_until_ready
from tests.store import execute, opened, url_in

ROOT = Path(policies.__file__).parent.parent

Wrong = Callable[[Settings, dict[str, str]], None]


def keys_are_wide(settings: Settings, _: dict[str, str]) -> None:
    (settings.keys_dir / "log.key").chmod(0o640)


def key_folder_is_wide(settings: Settings, _: dict[str, str]) -> None:
    settings.keys_dir.chmod(0o755)


def key_is_missing(settings: Settings, _: dict[str, str]) -> None:
    (settings.keys_dir / "pepper").unlink()


def keys_lie_in_the_data(settings: Settings, told: dict[str, str]) -> None:
    inside = settings.data_dir / "keys"
    settings.keys_dir.rename(inside)
    told["HGR_KEYS_DIR"] = str(inside)


def everybody_may_come(_: Settings, told: dict[str, str]) -> None:
    told["HGR_HOST"] = "0.0.0.0"  # noqa: S104 - that this is refused is what is tested


def certificate_without_key(settings: Settings, told: dict[str, str]) -> None:
    told["HGR_TLS_CERTIFICATE"] = str(settings.data_dir / "certificate.pem")


def port_is_no_number(_: Settings, told: dict[str, str]) -> None:
    told["HGR_PORT"] = "door"


def proxy_is_no_network(_: Settings, told: dict[str, str]) -> None:
    told["HGR_TRUSTED_PROXIES"] = '["the one in the cellar"]'


def there_is_no_bank(settings: Settings, told: dict[str, str]) -> None:
    elsewhere = settings.data_dir.parent / "elsewhere"
    told["HGR_DATA_DIR"], told["HGR_DATABASE_URL"] = str(elsewhere), url_in(elsewhere)


def migration_is_pending(settings: Settings, _: dict[str, str]) -> None:
    with opened(settings) as conn:
        execute(conn, "UPDATE alembic_version SET version_num = '0000'")


def keys_are_anothers(settings: Settings, _: dict[str, str]) -> None:
    from gateway import keys

    shutil.rmtree(settings.keys_dir)
    keys.create(settings.keys_dir, "bank.example/another")


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        pytest.param(keys_are_wide, ["log.key", "chmod go-rwx"], id="a key others can read"),
        pytest.param(
            key_folder_is_wide, ["keys", "chmod go-rwx"], id="a key folder others can list"
        ),
        pytest.param(key_is_missing, ["pepper", "is missing"], id="a missing key"),
        pytest.param(
            keys_lie_in_the_data, ["HGR_KEYS_DIR", "HGR_DATA_DIR", "apart"], id="keys in the data"
        ),
        pytest.param(
            everybody_may_come,
            ["HGR_HOST", "not loopback", "HGR_TLS_CERTIFICATE"],
            id="off loopback without tls",
        ),
        pytest.param(
            certificate_without_key, ["HGR_TLS_KEY", "together"], id="a certificate without its key"
        ),
        pytest.param(port_is_no_number, ["HGR_PORT"], id="a port that is no number"),
        pytest.param(proxy_is_no_network, ["HGR_TRUSTED_PROXIES"], id="a proxy that is no network"),
        pytest.param(there_is_no_bank, ["there is no bank in", "hgr init"], id="no bank"),
        pytest.param(migration_is_pending, ["schema", "hgr migrate"], id="a pending migration"),
        pytest.param(keys_are_anothers, ["bank.example/another"], id="another bank's keys"),
    ],
)
def test_what_is_wrong_stops_the_start(
    template: Template, tmp_path: Path, wrong: Wrong, names: list[str]
) -> None:
    settings = template.copy(tmp_path / "bank")
    told = environment_of(settings)
    wrong(settings, told)
    server = start(told, tmp_path / "said.txt")
    assert server.code() == 2, server.words()
    for name in names:
        assert name in server.words()
    assert "Traceback" not in server.words()


@pytest.mark.sqlite
def test_a_second_server_on_the_same_file(template: Template, tmp_path: Path) -> None:
    settings = template.copy(tmp_path / "bank")
    with serving(settings):
        second = start(environment_of(settings), tmp_path / "second.txt")
        assert second.code() == 2, second.words()
        assert "is held by another process" in second.words()
        assert str(settings.database) in second.words()
        assert httpx.get(f"{settings.issuer}/healthz").status_code == 200


def test_a_broken_pack_makes_no_bank_and_decides_in_none(
    template: Template, tmp_path: Path
) -> None:
    """A copy of the whole product in which one rule lost its citation and one fact its name."""
    product = tmp_path / "product"
    for room in ("policies", "audit", "gateway"):
        shutil.copytree(ROOT / room, product / room, ignore=shutil.ignore_patterns("__pycache__"))
    broken = product / "policies" / "packs" / "institution" / "2019-07-01.yaml"
    text = broken.read_text()
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "request.outputs" in each)
    broken.write_text(text.replace("request.outputs", "request.outputz", 1))
    # 1 the loader names file, line, key and reason, and loads nothing
    with pytest.raises(PackError) as refused:
        packs.load(product / "policies" / "packs")
    (mistake,) = refused.value.mistakes
    assert (mistake.file, mistake.line) == ("institution/2019-07-01.yaml", line)
    assert "request.outputz" in str(mistake)
    # 2 a new bank is not made of them, nothing of one is left
    made = command(product, tmp_path / "new", *INIT)
    assert made.returncode == 2, made.stdout + made.stderr
    assert f"institution/2019-07-01.yaml:{line}" in made.stderr
    assert "request.outputz" in made.stderr
    assert "Traceback" not in made.stderr
    assert not any((tmp_path / "new").rglob("*.*"))
    # 3 a bank that is there goes on by the packs that were activated, and says which do not decide
    template.copy(tmp_path / "bank")
    looked = command(product, tmp_path / "bank", "doctor")
    assert "the log is whole" in looked.stdout, looked.stderr
    assert "do not decide: institution/2019-07-01.yaml" in looked.stdout


INIT = ("init", "--origin", "bank.example/new", "--name-zh", "某库", "--name-en", "Some Bank")


def command(product: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of another copy of the product, on the bank in a folder."""
    where = {"HGR_DATA_DIR": str(folder / "data"), "HGR_KEYS_DIR": str(folder / "keys")}
    where["HGR_DATABASE_URL"] = url_in(folder)
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        cwd=product,
        env=os.environ | where | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bank.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "certificate.pem", folder / "private.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)
    return chain, private


def test_off_loopback_with_tls(template: Template, tmp_path: Path) -> None:
    chain, private = certificate(tmp_path)
    settings = template.copy(
        tmp_path / "bank",
        host="0.0.0.0",  # noqa: S104 - with TLS this is what an operator sets
        tls_certificate=chain,
        tls_key=private,
    )
    server = start(environment_of(settings), tmp_path / "said.txt")
    try:
        trusted = ssl.create_default_context(cafile=str(chain))
        url = f"https://127.0.0.1:{settings.port}"
        wait_until_ready(server, url, verify=trusted)
        with httpx.Client(base_url=url, verify=trusted) as http:
            answer = http.get("/v1/grants", headers={"Authorization": f"Bearer {template.key}"})
            assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):  # and nothing is answered in the clear
            httpx.get(f"http://127.0.0.1:{settings.port}/healthz")
    finally:
        server.end()
