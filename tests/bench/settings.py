"""The project's settings with the benchmark's handlers; with `BENCH_PLAIN=1`, those of plain django-q2.

Leases, batches, time slices, polling and logs are those of production.
"""

import os
import sys

from fleetprompt.settings import *  # noqa: F403
from fleetprompt.settings import (
    DATABASES,
    INSTALLED_APPS,
    MIGRATION_MODULES,
    Q_CLUSTER,
    SILENCED_SYSTEM_CHECKS,
    TENANT_APPS,
)

TENANT_APPS = [*TENANT_APPS, "tests.bench"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.bench"]

BENCH_PLAIN = os.environ.get("BENCH_PLAIN") == "1"
if BENCH_PLAIN:
    # The stock broker over PostgreSQL, tuned for throughput: workers live for ever, many messages are
    # fetched at once, results are not kept, connections stay open.
    Q_CLUSTER = {
        "name": Q_CLUSTER["name"],
        "workers": Q_CLUSTER["workers"],
        "orm": "default",
        "recycle": 1_000_000_000,
        "bulk": 50,
        "queue_limit": 100,
        "save_limit": -1,
        "ack_failures": True,
        "max_attempts": 1,
        "timeout": 300,
        "retry": 3600,
        "catch_up": False,
        "scheduler": False,
    }
    # The checks say that nobody sweeps, nobody takes wake-ups, and what our own code relies on.
    SILENCED_SYSTEM_CHECKS = [*SILENCED_SYSTEM_CHECKS, "directives.E004", "directives.E005"]
    # The search path is set when the schema changes, not with every statement.
    TENANT_LIMIT_SET_CALLS = True
    DATABASES["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}

# Migrations that the benchmark makes up, to see how long one more takes.
if _made_up := os.environ.get("BENCH_MIGRATIONS"):
    sys.path.insert(0, _made_up)
    MIGRATION_MODULES = {**MIGRATION_MODULES, "bench": "bench_migrations"}
else:
    MIGRATION_MODULES = {**MIGRATION_MODULES, "bench": None}
