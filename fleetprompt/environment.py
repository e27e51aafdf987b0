"""Settings of an installation, read from environment variables or `.env`, typed and validated."""

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
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
AUDIT_FOLDER = BASE_DIR / "var/audit"

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


def _secret_key(value: str, info: ValidationInfo) -> str:
    if info.data.get("debug") is False and value == DEVELOPMENT_SECRET_KEY:
        raise ValueError(
            "the development key is refused while DEBUG is off; "
            "set a secret of 32 or more random characters, or DEBUG=1 on your own machine"
        )
    return value


def _allowed_hosts(names: list[str], info: ValidationInfo) -> list[str]:
    debug = info.data.get("debug")
    public = [host for host in names if host not in LOOPBACK_HOSTS and not host.endswith(".localhost")]
    if debug and public:
        raise ValueError(
            f"{public[0]} is refused while DEBUG is on, which serves this machine only; set DEBUG=0"
        )
    if debug is False and not names:
        raise ValueError("expected the host names to serve, because DEBUG is off")
    return names


def _postgresql(value: str) -> str:
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


def _owner_of_database(value: str, info: ValidationInfo) -> str:
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


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("expected the name of a time zone, such as Europe/Paris") from None


_List = Annotated[list[str], NoDecode, BeforeValidator(_split)]
_Hosts = Annotated[_List, AfterValidator(lambda names: [name.lower() for name in names])]
_Database = Annotated[str, AfterValidator(_postgresql)]
# It precedes a tenant's slug in a message's key, which has 100 characters.
_ClusterName = Annotated[
    str, _matching(r"[A-Za-z0-9._-]{1,40}", "1 to 40 letters, digits, dots, hyphens and underscores")
]
_Redis = Annotated[str, _matching("rediss?://.*", "a URL that starts with redis://")]
_PrivateKey = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9+/]{43}=|-----BEGIN PRIVATE KEY-----[\s\S]*",
        "an Ed25519 private key, base64 of 32 bytes or PEM without a password",
    ),
]
_Token = Annotated[
    str, _matching(r"[A-Za-z0-9._~+/=-]{16,}", "16 or more letters, digits and characters of ._~+/=-")
]
_Collector = Annotated[str, _matching(r"https?://[^\s/?#]+[^\s?#]*", "a URL such as http://localhost:4318")]


class Environment(BaseSettings):
    """Settings read from environment variables, or from `.env` in the project's folder."""

    model_config = SettingsConfigDict(env_file=BASE_DIR / ".env", extra="ignore", frozen=True)

    debug: bool = Field(True, description="Development mode. Set it to 0 in production.")
    secret_key: Annotated[str, AfterValidator(_secret_key)] = Field(
        DEVELOPMENT_SECRET_KEY,
        min_length=32,
        description="Signs sessions and queue messages. Required when DEBUG is 0.",
    )
    secret_key_fallbacks: _List = Field(
        [],
        description="Former secret keys, separated by commas: sessions and digests made with them count.",
    )
    allowed_hosts: Annotated[_Hosts, AfterValidator(_allowed_hosts)] = Field(
        [],
        description="Served host names, separated by commas; `.example.org` means every "
        "subdomain. Required when DEBUG is 0; the loopback names otherwise.",
    )
    operator_hosts: _Hosts = Field(LOOPBACK_HOSTS, description="Host names of the operators' site.")
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
    database_url: _Database = Field(
        "",
        description="PostgreSQL to use, postgresql://user:password@host:port/name. "
        "Empty: the embedded one in var/postgres.",
    )
    database_owner_url: Annotated[_Database, AfterValidator(_owner_of_database)] = Field(
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
    audit_folder: Annotated[Path, BeforeValidator(lambda value: value or AUDIT_FOLDER)] = Field(
        AUDIT_FOLDER,
        description="Folder of the audit log's checkpoints, outside the database; relative to the "
        "project's folder.",
    )
    audit_key: _PrivateKey = Field(
        "",
        repr=False,
        description="Ed25519 private key that signs seals, base64 of 32 bytes or PEM. Required for seals "
        "when DEBUG is 0; made on first use otherwise.",
    )
    audit_public_keys: _List = Field(
        [],
        description="Further public keys with valid signatures besides AUDIT_KEY's, separated by commas.",
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Default time zone of pages and commands."
    )
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
            login = owner.keys() & {"USER", "PASSWORD", "HOST", "PORT", "OPTIONS"}
            settings["OWNER"] = {name: owner[name] for name in login}
        return settings


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
        return Environment()
    except ValidationError as error:
        wrong = (f"{where.upper()}: {sentence}" for where, sentence in problems(error))
        raise ImproperlyConfigured("; ".join(wrong)) from None
