"""Settings of Django; `fleetprompt.environment` has those that an installation chooses."""

from datetime import timedelta
from typing import Any

from fleetprompt import environment
from fleetprompt.operators.log_filters import no_query, no_result, not_enqueued, not_lost, seldom, untraced
from fleetprompt.web import content_security, theme

BASE_DIR = environment.BASE_DIR
_env = environment.read()

DEBUG = _env.debug
SECRET_KEY = _env.secret_key
SECRET_KEY_FALLBACKS = _env.secret_key_fallbacks
ALLOWED_HOSTS = _env.allowed_hosts or [".localhost", "127.0.0.1", "[::1]"]
OPERATOR_HOSTS = _env.operator_hosts

# In both kinds of schema: the operators have accounts and sessions of their own.
_ACCOUNT_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.admin",
]
SHARED_APPS = [
    "fleetprompt",
    "fleetprompt.tenants",
    "django_tenants",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    *_ACCOUNT_APPS,
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
]
TENANT_APPS = [*_ACCOUNT_APPS, "signals", "directives", "forums"]
INSTALLED_APPS = SHARED_APPS + [app for app in TENANT_APPS if app not in SHARED_APPS] + ["axes"]
# django-axes uses the cache; its tables are not needed.
MIGRATION_MODULES = {"axes": None}

TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_LIMIT_SET_CALLS = False
PUBLIC_SCHEMA_URLCONF = "fleetprompt.urls_public"
ROOT_URLCONF = "fleetprompt.urls"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **_env.database(),
        "ENGINE": "fleetprompt.postgres",
        "CONN_MAX_AGE": 60,
    }
}
# In the public schema, so that clusters on all machines can report to the operators. Keys contain the
# schema, so that tenants do not share values.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "fleetprompt_cache",
        # Results of operations in the admin are kept here for an hour, too.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
        "KEY_FUNCTION": "django_tenants.cache.make_key",
        "REVERSE_KEY_FUNCTION": "django_tenants.cache.reverse_key",
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    # Middleware that sets headers comes first, for refused hosts and redirects to HTTPS too.
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "fleetprompt.web.middleware.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "fleetprompt.tenants.middleware.TenantMiddleware",
    "fleetprompt.telemetry.middleware.RequestMiddleware",
    "fleetprompt.web.middleware.AddressMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    # After the middleware that sets Content-Length.
    "fleetprompt.web.middleware.VisibleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "fleetprompt.web.timezone.TimezoneMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "var/static"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD_TENANT = theme.TENANT
UNFOLD_OPERATORS = theme.OPERATORS
WSGI_APPLICATION = "fleetprompt.wsgi.application"

# docs/explanation/security.md says why each is as it is.
_HTTPS = not DEBUG if _env.https is None else _env.https
TRUSTED_PROXY_COUNT = _env.trusted_proxy_count
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_COUNT else None
SECURE_SSL_REDIRECT = _HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]
SECURE_HSTS_SECONDS = _env.hsts_seconds if _HTTPS else 0
# A tenant's domain belongs to its owner, who decides about subdomains and HSTS preloading.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
# With the prefix, browsers accept them from this very host only: RFC 6265bis, section 4.1.3.2.
SESSION_COOKIE_NAME = "__Host-sessionid" if _HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if _HTTPS else "csrftoken"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = int(_env.session_hours * 3600)
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": content_security.READING}

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
]
AXES_HANDLER = "fleetprompt.web.lockout.LockoutHandler"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "fleetprompt.web.client_ip.client_ip"
AXES_CLIENT_STR_CALLABLE = "fleetprompt.web.client_ip.described"
AXES_LOCKOUT_CALLABLE = "fleetprompt.web.lockout.locked_out"
AXES_ENABLE_ADMIN = False

TIME_ZONE = _env.time_zone

# The table of directives is the truth, not the queue, so django-q2 must neither retry nor keep wake-ups:
# a failed one is acknowledged, and the sweep finds the work of a lost one.
Q_CLUSTER: dict[str, Any] = {
    "name": _env.cluster_name,
    "workers": _env.cluster_workers,
    "timeout": 300,
    "retry": 3600,
    "ack_failures": True,
    "max_attempts": 1,
    "save_limit": -1,
    "catch_up": False,
    "label": "Queue",
    # Messages in the table can be merged and are taken in order; fetched ones are not. So a cluster fetches
    # one for each worker, and keeps half as many ready.
    "bulk": _env.cluster_workers,
    "queue_limit": max(_env.cluster_workers // 2, 1),
    # Replacing a worker takes half a second, which would be a tenth of all time with the default.
    "recycle": 50_000,
}
if _env.broker_url:
    Q_CLUSTER["redis"] = _env.broker_url
else:
    Q_CLUSTER |= {"orm": "default", "broker_class": "directives.queueing.broker.Broker"}

METRICS_FOLDER = str(BASE_DIR / _env.metrics_folder) if _env.metrics_folder else ""
METRICS_TOKEN = _env.metrics_token
OTEL_EXPORTER_OTLP_ENDPOINT = _env.otel_exporter_otlp_endpoint

DIRECTIVES_CLAIM_LIMIT = _env.directives_claim_limit
DIRECTIVES_LEASE_SECONDS = _env.directives_lease_seconds
DIRECTIVES_TIME_SLICE_SECONDS = _env.directives_time_slice_seconds

AUDIT_FOLDER = BASE_DIR / _env.audit_folder
AUDIT_KEY = _env.audit_key
AUDIT_KEY_FILE = BASE_DIR / "var/audit.key" if DEBUG else None
AUDIT_PUBLIC_KEYS = _env.audit_public_keys

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "fleetprompt.telemetry.logs.Line"},
        "json": {"()": "fleetprompt.telemetry.logs.Json"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": _env.log_format, "filters": [untraced]}
    },
    "root": {"handlers": ["stderr"], "level": _env.log_level},
    # Django's own handler would log everything twice.
    "loggers": {
        "django": {"handlers": []},
        # Requests for other hosts must not fill the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # `fleetprompt.web.lockout` logs lockouts.
        "axes": {"level": "ERROR"},
        "django.server": {
            "handlers": ["stderr"],
            "level": "INFO",
            "filters": [no_query],
            "propagate": False,
        },
        # At DEBUG it logs every statement with its values, payloads included.
        "django.db.backends": {"level": "INFO"},
        "django-q": {"level": "INFO", "filters": [not_enqueued, no_result, not_lost]},
        "opentelemetry.exporter.otlp.proto.http.trace_exporter": {"level": "ERROR", "filters": [seldom]},
    },
}
