"""The project's settings for the chaos harness: a zoo, short leases, and disks that are waited for."""

from fleetprompt.settings import *  # noqa: F403
from fleetprompt.settings import INSTALLED_APPS, Q_CLUSTER, TENANT_APPS

TENANT_APPS = [*TENANT_APPS, "tests.zoo", "tests.chaos"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.zoo", "tests.chaos"]

DIRECTIVES_LEASE_SECONDS = 1.0
DIRECTIVES_CLAIM_LIMIT = 10
DIRECTIVES_TIME_SLICE_SECONDS = 3.0
# The broker deletes what it takes, so `retry` only has to be greater than `timeout`.
Q_CLUSTER |= {"poll": 0.05, "guard_cycle": 0.2, "timeout": 12, "retry": 15}
