"""Whether settings fit together that an installation may have changed."""

from django.conf import settings
from django.core import checks

from fleetprompt.health.checkup import Findings, setting
from fleetprompt.tenants.provisioning import is_unserved

_PROCESS_LOCAL = ("locmem.LocMemCache", "dummy.DummyCache")


@setting("times have time zones")
def time_zones() -> Findings:
    """Times without zones are compared as if all machines stood in one."""
    if not settings.USE_TZ:
        yield checks.Error(
            "USE_TZ is off: schedules and leases would be off by the hours between time zones",
            hint="Set USE_TZ = True.",
            id="fleetprompt.E001",
        )


@setting("web requests begin no transaction of their own")
def transactions() -> Findings:
    """A directive's transactions must be the outermost ones: others could undo what it did."""
    database = settings.DATABASES["default"]
    if database.get("ATOMIC_REQUESTS"):
        yield checks.Error(
            "ATOMIC_REQUESTS is on: what the admin runs would be refused, since the request's "
            "transaction could undo it",
            hint="Remove ATOMIC_REQUESTS from DATABASES.",
            id="fleetprompt.E002",
        )
    if not database.get("AUTOCOMMIT", True):
        yield checks.Error(
            "AUTOCOMMIT is off: nothing would be committed unless code says so",
            hint="Remove AUTOCOMMIT from DATABASES.",
            id="fleetprompt.E003",
        )


@setting("connections that are kept are looked at before they are used")
def kept_connections() -> Findings:
    """A database that was restarted leaves dead connections behind."""
    database = settings.DATABASES["default"]
    kept = database.get("CONN_MAX_AGE", 0) != 0
    if kept and not database.get("CONN_HEALTH_CHECKS") and not database.get("EMBEDDED"):
        yield checks.Warning(
            "CONN_MAX_AGE keeps connections, and CONN_HEALTH_CHECKS is off: after a restart of the "
            "database each web process answers with an error first",
            hint="Set CONN_HEALTH_CHECKS = True, or CONN_MAX_AGE = 0.",
            id="fleetprompt.W001",
        )


@setting("the cache is one for all processes")
def cache() -> Findings:
    """Clusters show themselves, and operations keep their results, in the cache."""
    backend = str(settings.CACHES["default"]["BACKEND"])
    if backend.endswith(_PROCESS_LOCAL):
        yield checks.Error(
            f"CACHES: {backend} is another one in each process: no cluster would ever be seen",
            hint="Use the database's cache, as the project's settings do, or Redis.",
            id="fleetprompt.E004",
        )


@setting("the operators' hosts are served", deploy=True)
def public_hosts() -> Findings:
    """The operators' site and the probes are only there on `PUBLIC_HOSTS`."""
    if settings.DEBUG:
        return
    if all(is_unserved(host, settings.ALLOWED_HOSTS) for host in settings.PUBLIC_HOSTS):
        yield checks.Warning(
            "ALLOWED_HOSTS has none of PUBLIC_HOSTS "
            f"({', '.join(settings.PUBLIC_HOSTS) or 'which is empty'}): "
            "nobody reaches the operators' site, /healthz and /readyz",
            hint="Name the operators' hosts, and the ones that probes send, in both.",
            id="fleetprompt.W002",
        )


@setting("this is a production installation", deploy=True)
def debug() -> Findings:
    """A development installation is not to be judged as a production one."""
    if settings.DEBUG:
        yield checks.Info(
            "DEBUG is on: this is a development installation, and what matters in production only "
            "(cookies, HTTPS, secret key, hosts, static files) was not looked at",
            hint="In production set DEBUG=0.",
            id="fleetprompt.I001",
        )
