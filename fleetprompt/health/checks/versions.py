"""Check of the versions of packages whose private parts the program uses."""

from django.core import checks

from fleetprompt import versions
from fleetprompt.health.checkup import Findings, setting


@setting("private parts of other packages are the known ones")
def private_parts() -> Findings:
    """Compare the installed versions with those that the `compat` modules were written for."""
    for found in versions.mismatches():
        yield checks.Warning(
            found,
            hint="Install one of these versions; or run the tests of that module, and if they pass, add "
            "the version to its WRITTEN_FOR.",
            id="fleetprompt.W014",
        )
