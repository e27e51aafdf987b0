"""Checks of this machine: static files, free space on the disk."""

import shutil
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.db import connection

from fleetprompt.health.checkup import Findings, Tenants, database, setting

_GIBIBYTE = 1024**3


@setting("static files are collected", deploy=True)
def static_files() -> Findings:
    """With DEBUG off, another server than Django serves them from one folder."""
    folder = settings.STATIC_ROOT
    if settings.DEBUG or not folder:
        return
    if not Path(folder).is_dir() or not any(Path(folder).iterdir()):
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
