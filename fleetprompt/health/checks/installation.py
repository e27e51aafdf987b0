"""Checks of what an installation chooses: settings, packages, this machine."""

import shutil
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.db import connection

from fleetprompt import versions
from fleetprompt.health.checkup import Findings, Tenants, database, setting
from fleetprompt.tenants.provisioning import is_unserved

_GIBIBYTE = 1024**3


@setting("static files are collected", deploy=True)
def static_files() -> Findings:
    """With DEBUG off, another server than Django serves them from one folder."""
    folder = Path(settings.STATIC_ROOT)
    if not settings.DEBUG and not (folder.is_dir() and any(folder.iterdir())):
        yield checks.Warning(
            f"{folder} is empty: the admin would have no style and no scripts",
            hint="Run `manage.py collectstatic --no-input` on each deploy.",
            id="fleetprompt.W003",
        )


@database("the embedded database has room on its disk")
def disk(tenants: Tenants) -> Findings:
    """PostgreSQL stops when it cannot write."""
    folder = connection.settings_dict.get("EMBEDDED")
    if folder and (free := shutil.disk_usage(folder).free) < _GIBIBYTE:
        yield checks.Warning(
            f"the disk of {folder} has {free / _GIBIBYTE:.1f} GiB left; PostgreSQL stops when it is full",
            hint="Make room, or move the data to a PostgreSQL of its own and set DATABASE_URL.",
            id="fleetprompt.W004",
        )


@setting("the operators' hosts are served", deploy=True)
def operator_hosts() -> Findings:
    """The operators' site and the probes are served on `OPERATOR_HOSTS` only."""
    if not settings.DEBUG and all(is_unserved(host) for host in settings.OPERATOR_HOSTS):
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


@setting("private parts of other packages are the known ones")
def private_parts() -> Findings:
    """Compare the installed versions with those that our modules were written for."""
    for found in versions.mismatches():
        yield checks.Warning(
            found,
            hint="Install one of these versions; or run the tests of that module, and if they pass, add "
            "the version to its WRITTEN_FOR.",
            id="fleetprompt.W014",
        )
