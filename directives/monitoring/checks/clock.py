"""Checks that this machine and the database agree about the time."""

import time
from datetime import timedelta

from django.conf import settings
from django.core import checks
from django.utils import timezone

from fleetprompt.health.checkup import Findings, Tenants, database
from fleetprompt.postgres.queries import fetch_all

TOLERATED_SECONDS = 1.0
"""Seconds that clocks may differ by; what NTP keeps is far below."""
_SAMPLES = 5


@database("clocks agree")
def clock(tenants: Tenants) -> Findings:
    """Leases and due times go by the database's clock; wake-ups for later, and people, by this one."""
    fetch_all("SELECT 1")
    skew, doubt = min((_sample() for _ in range(_SAMPLES)), key=lambda sample: sample[1])
    if abs(skew) - doubt <= TOLERATED_SECONDS:
        return
    what = (
        f"this machine's clock is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the database's"
    )
    hint = "Have NTP set both clocks (`timedatectl`)."
    # By then what is due according to one is far from it according to the other.
    if abs(skew) - doubt > settings.DIRECTIVES_LEASE_SECONDS / 2:
        yield checks.Error(
            f"{what}, more than half of DIRECTIVES_LEASE_SECONDS: delayed wake-ups come early or late",
            hint=hint,
            id="directives.E010",
        )
    else:
        yield checks.Warning(what, hint=hint, id="directives.W010")


def _sample() -> tuple[float, float]:
    """Return by how many seconds the database is ahead, and by how many that may be wrong."""
    before, started = timezone.now(), time.monotonic()
    [(there,)] = fetch_all("SELECT clock_timestamp()")
    half = (time.monotonic() - started) / 2
    return (there - before - timedelta(seconds=half)).total_seconds(), half
