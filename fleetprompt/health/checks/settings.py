"""Checks of settings that an installation chooses."""

from django.conf import settings
from django.core import checks

from fleetprompt.health.checkup import Findings, setting
from fleetprompt.tenants.provisioning import is_unserved


@setting("the operators' hosts are served", deploy=True)
def operator_hosts() -> Findings:
    """The operators' site and the probes are served on `OPERATOR_HOSTS` only."""
    if settings.DEBUG:
        return
    if all(is_unserved(host) for host in settings.OPERATOR_HOSTS):
        yield checks.Warning(
            "ALLOWED_HOSTS has none of OPERATOR_HOSTS "
            f"({', '.join(settings.OPERATOR_HOSTS) or 'which is empty'}): "
            "the operators' site, /healthz and /readyz cannot be reached",
            hint="Add the operators' hosts, and the ones that probes send, to both.",
            id="fleetprompt.W002",
        )


@setting("this is a production installation", deploy=True)
def debug() -> Findings:
    """A development installation is not checked as a production one."""
    if settings.DEBUG:
        yield checks.Info(
            "DEBUG is on: this is a development installation, and what matters in production only "
            "(cookies, HTTPS, secret key, hosts, static files) was not checked",
            hint="In production set DEBUG=0.",
            id="fleetprompt.I001",
        )
