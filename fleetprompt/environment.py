"""Settings of an installation, read from environment variables or `.env`, typed and validated."""

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from fleetprompt.validation_errors import problems

BASE_DIR = Path(__file__).resolve().parent.parent
DEVELOPMENT_SECRET_KEY = "development-only-" + "0" * 40

_LOGIN_SETTINGS = ("USER", "PASSWORD", "HOST", "PORT", "OPTIONS")

RENAMED = {
    "DIRECTIVES_BATCH": "DIRECTIVES_CLAIM_LIMIT",
    "DIRECTIVES_LEASE": "DIRECTIVES_LEASE_SECONDS",
    "DIRECTIVES_TURN": "DIRECTIVES_TIME_SLICE_SECONDS",
    "PUBLIC_HOSTS": "OPERATOR_HOSTS",
    "TRUSTED_PROXIES": "TRUSTED_PROXY_COUNT",
}
"""New names of variables and settings by their old ones, which would otherwise be ignored silently."""

_LEVELS = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _matching(pattern: str, expected: str) -> AfterValidator:
    """Return a validator of texts that may be empty."""

    def validate(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(validate)


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_List = Annotated[list[str], NoDecode, BeforeValidator(_split)]
_Hosts = Annotated[_List, AfterValidator(lambda names: [name.lower() for name in names])]
# It precedes a tenant's slug in a message's key, which has 100 characters.
_ClusterName = Annotated[
    str, _matching(r"[A-Za-z0-9._-]{1,40}", "1 to 40 letters, digits, dots, hyphens and underscores")
]
_Redis = Annotated[str, _matching("rediss?://.*", "a URL that starts with redis://")]
_Token = Annotated[
    str, _matching(r"[A-Za-z0-9._~+/=-]{16,}", "16 or more letters, digits and characters of ._~+/=-")
]
_Collector = Annotated[str, _matching(r"https?://[^\s/?#]+[^\s?#]*", "a URL such as http://localhost:4318")]


class Environment(BaseSettings):
    """Settings read from environment variables, or from `.env` in the project's folder."""

    model_config = SettingsConfigDict(env_file=BASE_DIR / ".env", extra="ignore", frozen=True)

    debug: bool = Field(True, description="Development mode. Set it to 0 in production.")
    secret_key: str = Field(
        DEVELOPMENT_SECRET_KEY,
        min_length=32,
        description="Signs sessions and queue messages. Required when DEBUG is 0.",
    )
    allowed_hosts: _Hosts = Field(
        [],
        description="Served host names, separated by commas; `.example.org` means every "
        "subdomain. Required when DEBUG is 0; the loopback names otherwise.",
    )
    operator_hosts: _Hosts = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="Host names of the operators' site."
    )
    https: bool | None = Field(
        None,
        description="Whether HTTPS is used: plain HTTP is redirected, and cookies are sent over HTTPS "
        "only. Yes when DEBUG is 0, no otherwise.",
    )
    hsts_seconds: NonNegativeInt = Field(
        30 * 24 * 3600,
        description="Seconds for which browsers remember to use HTTPS only (RFC 6797).",
    )
    trusted_proxy_count: NonNegativeInt = Field(
        0,
        le=10,
        description="Number of proxies before the web server that set X-Forwarded-For and "
        "X-Forwarded-Proto. 0: those headers are ignored.",
    )
    session_hours: PositiveFloat = Field(
        12, le=24 * 365, description="Hours after which users have to log in again."
    )
    database_url: str = Field(
        "",
        description="PostgreSQL to use, postgresql://user:password@host:port/name. "
        "Empty: the embedded one in var/postgres.",
    )
    database_owner_url: str = Field(
        "",
        description="DATABASE_URL's database with its owner's login, for migrations; DATABASE_URL is "
        "then a role that cannot change tables or signals. Empty: one role is both.",
    )
    broker_url: _Redis = Field(
        "",
        description="redis://host:port/db makes Redis the queue's broker. Empty: PostgreSQL is the broker.",
    )
    cluster_name: _ClusterName = Field(
        "fleetprompt", description="Name of the queue that a cluster serves."
    )
    cluster_workers: PositiveInt = Field(2, description="Worker processes of one qcluster.")
    directives_claim_limit: PositiveInt = Field(100, description="The most directives of one claim.")
    directives_lease_seconds: PositiveFloat = Field(
        60,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds after its handler's timeout until the lease of an attempt expires.",
    )
    directives_time_slice_seconds: PositiveFloat = Field(
        0.06,
        allow_inf_nan=False,
        description="Seconds of a worker's time slice, after which the next tenant follows.",
    )
    audit_folder: Path = Field(
        BASE_DIR / "var/audit",
        description="Folder of the audit log's checkpoints, outside the database; relative to the "
        "project's folder.",
    )
    audit_key: str = Field(
        "",
        repr=False,
        description="Ed25519 private key that signs seals, base64 of 32 bytes or PEM. Required for seals "
        "when DEBUG is 0; made on first use otherwise.",
    )
    audit_public_keys: _List = Field(
        [],
        description="Further public keys with valid signatures besides AUDIT_KEY's, separated by commas.",
    )
    time_zone: str = Field("UTC", description="Default time zone of pages and commands.")
    log_level: Annotated[_LEVELS, BeforeValidator(str.upper)] = Field(
        "WARNING", description="Lowest level that is logged."
    )
    log_format: Literal["line", "json"] = Field(
        "line", description="Format of the logs: `line` for people, `json` for programs."
    )
    metrics_folder: str = Field(
        "",
        description="Folder for the metrics of this machine's processes, such as var/metrics. "
        "Empty: metrics are off.",
    )
    metrics_token: _Token = Field(
        "", description="Bearer token for /metrics. Empty: only this machine may read."
    )
    otel_exporter_otlp_endpoint: _Collector = Field(
        "", description="http://host:4318 of a collector of OpenTelemetry traces. Empty: traces are off."
    )

    @field_validator("audit_folder", mode="before")
    @classmethod
    def _is_named(cls, value: Any) -> Any:
        return value or cls.model_fields["audit_folder"].default

    @field_validator("audit_key")
    @classmethod
    def _is_private_key(cls, value: str) -> str:
        if value and not value.startswith("-----BEGIN PRIVATE KEY-----") and not _is_base64(value, size=32):
            raise ValueError(
                "expected an Ed25519 private key, base64 of 32 bytes or PEM without a password"
            )
        return value

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _is_postgresql(cls, value: str) -> str:
        if not value:
            return value
        if not value.startswith(("postgres://", "postgresql://")):
            raise ValueError("expected a URL that starts with postgresql://")
        try:
            dj_database_url.parse(value)
        except ValueError:
            raise ValueError(
                "expected postgresql://user:password@host:port/name, special characters quoted as in URLs"
            ) from None
        return value

    @field_validator("database_owner_url")
    @classmethod
    def _is_of_the_owner(cls, value: str, info: ValidationInfo) -> str:
        if not value or "database_url" not in info.data:
            return value
        if not info.data["database_url"]:
            raise ValueError("expected DATABASE_URL too; the embedded PostgreSQL has an owner already")
        owner, application = (dj_database_url.parse(url) for url in (value, info.data["database_url"]))
        if owner.get("NAME") != application.get("NAME"):
            raise ValueError("expected the database that DATABASE_URL names")
        if not owner.get("USER") or not application.get("USER") or owner["USER"] == application["USER"]:
            raise ValueError("expected a user, and not that of DATABASE_URL")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError("expected the name of a time zone, such as Europe/Paris") from None
        return value

    def database(self) -> dict[str, Any]:
        """Return Django's connection settings for `database_url`, or for the embedded server.

        `OWNER` has the owner's differences, if there is one.
        """
        if not self.database_url:
            return {
                "NAME": "fleetprompt",
                "USER": "fleetprompt_app",
                "OWNER": {"USER": "postgres"},
                "EMBEDDED": BASE_DIR / "var/postgres",
            }
        settings = dict(dj_database_url.parse(self.database_url, conn_health_checks=True))
        if self.database_owner_url:
            owner: dict[str, Any] = dict(dj_database_url.parse(self.database_owner_url))
            settings["OWNER"] = {name: owner[name] for name in _LOGIN_SETTINGS if name in owner}
        return settings


def _is_base64(text: str, *, size: int) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == size
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "[::1]") or host.endswith(".localhost")


def refuse_renamed(names: Iterable[str]) -> None:
    """Refuse old names of settings.

    Raises:
        ImproperlyConfigured: naming each old name and the new one.
    """
    if old := sorted(RENAMED.keys() & {name.upper() for name in names}):
        raise ImproperlyConfigured("; ".join(f"{name}: renamed to {RENAMED[name]}" for name in old))


def read() -> Environment:
    """Read and validate the environment.

    Raises:
        ImproperlyConfigured: naming each variable that is wrong and what was expected.
    """
    refuse_renamed([*EnvSettingsSource(Environment).env_vars, *DotEnvSettingsSource(Environment).env_vars])
    try:
        environment = Environment()
    except ValidationError as error:
        wrong = (f"{where.upper()}: {sentence}" for where, sentence in problems(error))
        raise ImproperlyConfigured("; ".join(wrong)) from None
    if environment.debug:
        if public := [host for host in environment.allowed_hosts if not _is_loopback(host)]:
            raise ImproperlyConfigured(
                f"ALLOWED_HOSTS: {public[0]} is refused while DEBUG is on, which serves this machine "
                "only; set DEBUG=0"
            )
    else:
        if environment.secret_key == DEVELOPMENT_SECRET_KEY:
            raise ImproperlyConfigured(
                "SECRET_KEY: the development key is refused while DEBUG is off; "
                "set a secret of 32 or more random characters, or DEBUG=1 on your own machine"
            )
        if not environment.allowed_hosts:
            raise ImproperlyConfigured(
                "ALLOWED_HOSTS: expected the host names to serve, because DEBUG is off"
            )
    return environment
