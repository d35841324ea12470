"""Keys lie apart, private and whole; settings that would be unsafe stop the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway import keys, settings
from gateway.errors import KINDS, ProblemError, SettingsError
from gateway.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    keys.create(made, "bank.example/hgr")
    return made


def test_keys_are_never_overwritten(folder: Path) -> None:
    with pytest.raises(SettingsError, match="never overwritten"):
        keys.create(folder, "bank.example/hgr")


def test_every_file_is_private(folder: Path) -> None:
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", keys.FILES)
def test_a_missing_wide_or_broken_key_is_named(folder: Path, name: str) -> None:
    path = folder / name
    path.chmod(0o640)
    with pytest.raises(SettingsError, match=f"{name}.*others than its owner"):
        keys.load(folder)
    path.chmod(0o600)
    content = path.read_bytes()
    path.write_bytes(b"not a key")
    with pytest.raises(SettingsError, match="cannot be read"):
        keys.load(folder)
    path.write_bytes(content)
    path.unlink()
    with pytest.raises(SettingsError, match=f"{name}.*missing"):
        keys.load(folder)


def test_a_wide_folder_is_refused(folder: Path) -> None:
    folder.chmod(0o755)
    with pytest.raises(SettingsError, match="others than its owner"):
        keys.load(folder)


def test_two_projects_pseudonyms_never_join(folder: Path) -> None:
    loaded = keys.load(folder)
    donors = [f"dnr_{n}" for n in range(500)]
    one = {loaded.pseudonym("prj_1", d) for d in donors}
    two = {loaded.pseudonym("prj_2", d) for d in donors}
    assert len(one) == len(two) == 500
    assert not one & two
    assert loaded.pseudonym("prj_1", "dnr_1") == keys.load(folder).pseudonym("prj_1", "dnr_1")


def test_a_sealed_secret_opens_only_with_its_seal(folder: Path, tmp_path: Path) -> None:
    loaded, other = keys.load(folder), keys.create(tmp_path / "other", "other.example/hgr")
    sealed = loaded.sealed("JBSWY3DPEHPK3PXP")
    assert "JBSWY3DPEHPK3PXP" not in sealed
    assert loaded.opened(sealed) == "JBSWY3DPEHPK3PXP"
    with pytest.raises(SettingsError, match="seal"):
        other.opened(sealed)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"HGR_HOST": "0.0.0.0"}, "HGR_HOST"),  # noqa: S104 - refused is the point
        ({"HGR_HOST": "bank.example"}, "HGR_HOST"),
        ({"HGR_TLS_KEY": "key.pem"}, "HGR_TLS_CERTIFICATE"),
        ({"HGR_PORT": "70000"}, "HGR_PORT"),
        ({"HGR_TRUSTED_PROXIES": '["not a network"]'}, "HGR_TRUSTED_PROXIES"),
        ({"HGR_COUNTING": "donor"}, "HGR_COUNTING"),
        ({"HGR_TOKEN_SECONDS": "86400"}, "HGR_TOKEN_SECONDS"),
        ({"HGR_KEYS_DIR": "data/bank/keys"}, "HGR_KEYS_DIR"),
        ({"HGR_DATA_DIR": "data/keys/bank"}, "HGR_KEYS_DIR"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.items()))[1],
)
def test_unsafe_settings_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], named: str
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=named):
        settings.load()


@pytest.mark.parametrize(
    ("given", "issuer"),
    [
        ({}, "http://127.0.0.1:8400"),
        ({"public_url": "https://hgr.example/"}, "https://hgr.example"),
        ({"tls_certificate": "c.pem", "tls_key": "k.pem", "port": 443}, "https://127.0.0.1:443"),
    ],
    ids=["plain", "public", "tls"],
)
def test_the_issuer_is_where_clients_find_us(given: dict[str, object], issuer: str) -> None:
    assert Settings(**given).issuer == issuer


@pytest.mark.parametrize(
    "told",
    [
        "postgresql://hgr:s3cret@db.example/hgr",  # another driver's
        "sqlite:///bank.sqlite?key=s3cret",
        "db.example:s3cret",
        "postgresql+psycopg://hgr:s3cret@db.example:port/hgr",
    ],
)
def test_an_address_of_no_postgresql_stops_the_start_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.setenv("HGR_DATABASE_URL", told)
    with pytest.raises(SettingsError, match="HGR_DATABASE_URL") as refused:
        settings.load()
    assert "s3cret" not in str(refused.value)


def test_the_password_of_the_database_is_never_shown() -> None:
    told = Settings(database_url=SecretStr("postgresql+psycopg://hgr:s3cret@db.example/hgr"))
    assert "s3cret" not in f"{told!r} {told} {told.place}"
    assert "s3cret" not in told.model_dump_json()


def test_off_loopback_is_served_behind_tls_or_a_declared_proxy() -> None:
    Settings(host="0.0.0.0", trusted_proxies=["10.0.0.0/8"]).verify()  # noqa: S104 - see above
    Settings(host="::1").verify()
    Settings(host="localhost").verify()


def test_every_problem_speaks_both_languages() -> None:
    for code, kind in KINDS.items():
        assert kind.zh
        assert kind.en
        assert 400 <= kind.status <= 599
        problem = ProblemError(code, "why", retry_after=3)
        for language in ("zh", "en"):
            document = problem.document(language=language, request_id="r", instance="/x")
            assert document["code"] == code
            assert document["title"] in {kind.zh, kind.en}
