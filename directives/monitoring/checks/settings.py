"""Checks of settings that would lose work, do it twice, or keep it waiting."""

from django.conf import settings
from django.core import checks

from directives import registry
from fleetprompt.health.checkup import Findings, setting

MIN_LEASE_SECONDS = 10
"""A busy machine may pause for as long."""
MAX_RESCUE_SECONDS = 3600
"""Longer than people wait for a directive whose worker was killed."""


@setting("leases outlast a pause and end in time")
def leases() -> Findings:
    """A lease is the time after a handler's timeout until another worker takes the directive over."""
    lease = settings.DIRECTIVES_LEASE_SECONDS
    if lease < MIN_LEASE_SECONDS:
        yield checks.Warning(
            f"DIRECTIVES_LEASE_SECONDS is {lease:g} s: a machine or network that pauses for as long "
            "costs an attempt, and another worker starts the same directive",
            hint=f"Set it to {MIN_LEASE_SECONDS} or more; 60 is the default.",
            id="directives.W005",
        )
    longest = max((handler.timeout for handler in registry.handlers()), default=0)
    if lease + longest > MAX_RESCUE_SECONDS:
        yield checks.Warning(
            f"DIRECTIVES_LEASE_SECONDS of {lease:g} s with a handler that may take {longest:g} s: what "
            f"a killed worker held comes back after {(lease + longest) / 60:.0f} minutes only",
            hint="Lower DIRECTIVES_LEASE_SECONDS, or that handler's timeout.",
            id="directives.W006",
        )
