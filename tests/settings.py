"""The project's settings with a zoo of badly behaved handlers, short leases and no waiting for disks."""

import base64
import os

from fleetprompt.settings import *  # noqa: F403
from fleetprompt.settings import BASE_DIR, DATABASES, INSTALLED_APPS, Q_CLUSTER, TENANT_APPS

TENANT_APPS = [*TENANT_APPS, "tests.zoo", "tests.library"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.zoo", "tests.library"]

DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A killed worker is to be noticed while somebody waits for the test.
DIRECTIVES_LEASE_SECONDS = float(os.environ.get("DIRECTIVES_LEASE_SECONDS", "1"))
Q_CLUSTER |= {"poll": float(os.environ.get("QUEUE_POLL", "0.05")), "guard_cycle": 0.1}

# One for each process of a parallel run, like its database.
AUDIT_FOLDER = BASE_DIR / "var/tests/audit" / os.environ.get("PYTEST_XDIST_WORKER", "master")
AUDIT_KEY = base64.b64encode(b"for tests, known to everybody !!").decode()
