"""What the process environment may say: every setting an installation can choose, typed and checked."""

import base64
import re
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fleetprompt.validation_errors import problems

BASE_DIR = Path(__file__).resolve().parent.parent
DEVELOPMENT_SECRET_KEY = "development-only-" + "0" * 40

_LOGIN = ("USER", "PASSWORD", "HOST", "PORT", "OPTIONS")

HostList = Annotated[list[str], NoDecode]


class Environment(BaseSettings):
    """Settings read from environment variables, or from `.env` in the project's folder."""

    model_config = SettingsConfigDict(env_file=BASE_DIR / ".env", extra="ignore", frozen=True)

    debug: bool = Field(True, description="Development mode. Set it to 0 in production.")
    secret_key: str = Field(
        DEVELOPMENT_SECRET_KEY,
        min_length=32,
        description="Signs sessions and queue messages. Required when DEBUG is 0.",
    )
    allowed_hosts: HostList = Field(
        [],
        description="Host names that are served, separated by commas; `.example.org` means every "
        "subdomain. Required when DEBUG is 0; the loopback names otherwise.",
    )
    public_hosts: HostList = Field(
        ["localhost", "127.0.0.1", "[::1]"], description="Host names of the operators' site."
    )
    https: bool | None = Field(
        None,
        description="Whether people come through HTTPS: plain HTTP is sent there, cookies go nowhere "
        "else. Yes when DEBUG is 0, no otherwise.",
    )
    hsts_seconds: NonNegativeInt = Field(
        30 * 24 * 3600,
        description="How long a browser that was here once asks for nothing but HTTPS (RFC 6797).",
    )
    trusted_proxies: NonNegativeInt = Field(
        0,
        le=10,
        description="How many proxies stand before the web server and set X-Forwarded-For and "
        "X-Forwarded-Proto. 0: those headers are not believed.",
    )
    session_hours: PositiveFloat = Field(
        12, le=24 * 365, description="Hours after which people have to log in again."
    )
    database_url: str = Field(
        "",
        description="PostgreSQL to use, postgresql://user:password@host:port/name. "
        "Empty: the embedded one in var/postgres.",
    )
    database_owner_url: str = Field(
        "",
        description="DATABASE_URL's database with its owner's login, for what migrates; DATABASE_URL is "
        "then a role that cannot change tables or signals. Empty: one role is everything.",
    )
    broker_url: str = Field(
        "",
        description="redis://host:port/db makes Redis the queue's broker. Empty: PostgreSQL is the broker.",
    )
    cluster_name: str = Field("fleetprompt", description="Name of the queue that a cluster serves.")
    cluster_workers: PositiveInt = Field(2, description="Worker processes of one qcluster.")
    directives_claim_limit: PositiveInt = Field(100, description="Directives that one claim takes at most.")
    directives_lease_seconds: PositiveFloat = Field(
        60,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds that a running attempt may stay silent beyond its handler's timeout.",
    )
    directives_time_slice_seconds: PositiveFloat = Field(
        0.06,
        allow_inf_nan=False,
        description="Seconds after which a worker lets the next tenant have its turn.",
    )
    audit_folder: Path = Field(
        BASE_DIR / "var/audit",
        description="Where checkpoints of the audit log are kept, outside the database; from the project's "
        "folder, unless it begins with /.",
    )
    audit_key: str = Field(
        "",
        repr=False,
        description="Ed25519 private key that signs seals, base64 of 32 bytes or PEM. Needed to seal when "
        "DEBUG is 0; made on first use otherwise.",
    )
    audit_public_keys: HostList = Field(
        [], description="Public keys whose signatures count besides that of AUDIT_KEY, separated by commas."
    )
    time_zone: str = Field("UTC", description="Time zone in which times are shown.")
    log_level: str = Field("WARNING", description="Least severe message that is logged.")
    log_format: str = Field("line", description="Form of the logs: `line` for people, `json` for programs.")
    metrics_folder: str = Field(
        "",
        description="Folder in which this machine's processes keep metrics, such as var/metrics. "
        "Empty: nothing is counted.",
    )
    metrics_token: str = Field(
        "", description="What readers of /metrics bring as a bearer token. Empty: only this machine reads."
    )
    otel_exporter_otlp_endpoint: str = Field(
        "", description="http://host:4318 of a collector of OpenTelemetry traces. Empty: nothing is traced."
    )

    @field_validator("allowed_hosts", "public_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [host.strip().lower() for host in value.split(",") if host.strip()]
        return value

    @field_validator("audit_folder", mode="before")
    @classmethod
    def _is_named(cls, value: Any) -> Any:
        return value or cls.model_fields["audit_folder"].default

    @field_validator("audit_public_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        return [key.strip() for key in value.split(",") if key.strip()] if isinstance(value, str) else value

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
            raise ValueError("expected a user, and another one than DATABASE_URL's")
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://")):
            raise ValueError("expected a URL that starts with redis://")
        return value

    @field_validator("cluster_name")
    @classmethod
    def _is_key(cls, value: str) -> str:
        # It stands before a tenant's slug in a message's key, which has 100 characters.
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", value):
            raise ValueError("expected 1 to 40 letters, digits, dots, hyphens and underscores")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError("expected the name of a time zone, such as Europe/Paris") from None
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        if value.upper() not in levels:
            raise ValueError(f"expected one of {', '.join(levels)}")
        return value.upper()

    @field_validator("log_format")
    @classmethod
    def _is_format(cls, value: str) -> str:
        if value not in ("line", "json"):
            raise ValueError("expected line or json")
        return value

    @field_validator("metrics_token")
    @classmethod
    def _is_token(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9._~+/=-]{16,}", value):
            raise ValueError("expected 16 or more letters, digits and characters of ._~+/=-")
        return value

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _is_collector(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
            raise ValueError("expected a URL such as http://localhost:4318")
        return value

    def database(self) -> dict[str, Any]:
        """Return Django's connection settings for `database_url`, or for the embedded server.

        `OWNER` holds what is different for the owner, where there is one.
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
            settings["OWNER"] = {name: owner[name] for name in _LOGIN if name in owner}
        return settings


def _is_base64(text: str, *, size: int) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == size
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "[::1]") or host.endswith(".localhost")


def read() -> Environment:
    """Read and check the environment.

    Raises:
        ImproperlyConfigured: naming each variable that is wrong and what was expected.
    """
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
