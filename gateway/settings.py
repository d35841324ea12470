"""The operator's settings: `HGR_…` in the environment, all with a default that is safe.

A wrong setting stops the start with its name and the reason (`SettingsError`).
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address, ip_network
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import SettingsError


class Counting(StrEnum):
    """Over what the 500 people of art. 37(3) of the Implementing Rules are counted.

    "人数大于500例的外显子组测序、基因组测序信息资源": "Is the 500 counted per transfer, project, or recipient?"
    No official answer was read. All ways read the same rows, so another can be chosen any day.
    """

    RECIPIENT_PROJECT = "recipient-project"  # the recipient's control group, within the project
    RECIPIENT = "recipient"  # the recipient's control group, over all projects
    PROJECT = "project"  # all recipients of the project
    TRANSFER = "transfer"  # this release alone


class Settings(BaseSettings):
    """Everything an operator may set."""

    model_config = SettingsConfigDict(env_prefix="HGR_", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=Path("data/bank"), description="folder of the database and of finished exports"
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="postgresql+psycopg://role:password@host/name; empty: a SQLite file in data_dir",
    )
    keys_dir: Path = Field(
        default=Path("data/keys"), description="folder of the keys; never inside data_dir"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8400, ge=0, le=65535, description="port to listen on; 0 picks one")
    public_url: str = Field(
        default="", description="address clients use; empty: http(s)://host:port"
    )
    tls_certificate: Path | None = Field(default=None, description="PEM file with the chain")
    tls_key: Path | None = Field(default=None, description="PEM file with the private key")
    trusted_proxies: list[str] = Field(
        default_factory=list,
        description="networks (CIDR) of the proxies that end TLS; forwarded addresses count only "
        "from them",
    )
    token_seconds: int = Field(default=600, ge=60, le=900, description="life of an access token")
    key_days: int = Field(default=365, ge=1, le=365, description="longest life of an API key")
    session_idle_minutes: int = Field(default=15, ge=1, le=60)
    session_hours: int = Field(default=8, ge=1, le=12)
    grant_days: int = Field(default=365, ge=1, le=1095, description="longest life of a grant")
    counting: Counting = Field(
        default=Counting.RECIPIENT_PROJECT,
        description="over what the 500 exomes or genomes of art. 37(3) are counted: the article does not "
        "say whether per transfer, project or recipient; ask counsel",
    )
    feed_max_age_hours: int | None = Field(
        default=None,
        ge=1,
        description="how old the last completed feed of holdings may be before releases are referred; "
        "none: no feed is expected",
    )
    count_budget: int = Field(
        default=500, ge=1, description="dry runs that one API key may make for one project in a day"
    )
    body_bytes: int = Field(default=1_000_000, ge=10_000, description="largest request body")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value():
            return value
        try:
            driver = make_url(value.get_secret_value()).drivername
        except (ArgumentError, ValueError):
            driver = "no address of a database"
        if driver != "postgresql+psycopg":  # its text may hold a password: it is not repeated
            raise ValueError(f"`postgresql+psycopg://…` is needed, this is `{driver}`")
        return value

    @property
    def database(self) -> Path:
        """The SQLite file; of a bank on PostgreSQL there is none."""
        return self.data_dir / "bank.sqlite"

    @property
    def place(self) -> Path | URL:
        """Where the bank's rows are: the SQLite file, or the PostgreSQL database."""
        told = self.database_url.get_secret_value()
        return make_url(told) if told else self.database

    @property
    def exports(self) -> Path:
        """Where finished audit exports lie."""
        return self.data_dir / "exports"

    @property
    def issuer(self) -> str:
        """The address clients know us by; the `iss` of tokens and visas."""
        if self.public_url:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_certificate else "http"
        return f"{scheme}://{self.host}:{self.port}"

    def verify(self) -> None:
        """Refuse what would be unsafe; raises `SettingsError` naming the setting."""
        data, keys = self.data_dir.resolve(), self.keys_dir.resolve()
        if keys.is_relative_to(data) or data.is_relative_to(keys):
            raise SettingsError(f"HGR_KEYS_DIR `{keys}` and HGR_DATA_DIR `{data}` must lie apart")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("HGR_TLS_CERTIFICATE and HGR_TLS_KEY go together")
        if not (_is_loopback(self.host) or self.tls_certificate or self.trusted_proxies):
            raise SettingsError(
                f"HGR_HOST `{self.host}` is not loopback: set HGR_TLS_CERTIFICATE and HGR_TLS_KEY, "
                "or HGR_TRUSTED_PROXIES where a proxy ends TLS"
            )


def load() -> Settings:
    """Settings from the environment; raises `SettingsError` naming each wrong one."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"HGR_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors()
        )
        raise SettingsError(wrong) from error
    settings.verify()
    return settings


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
