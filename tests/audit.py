"""Finds known vulnerabilities of the pinned dependencies: `python -m tests.audit`, for `make check`.

A finding fails. Without the network one line says what was not audited, and nothing fails. Arguments are
pip-audit's own.
"""

import json
import subprocess
import sys
from typing import Any

REQUIREMENTS = "requirements/base.txt"
SECONDS = 60
ANSWER_SECONDS = 5
say = print


def main() -> int:
    """Audit the dependencies; return 1 when one has a known vulnerability."""
    found = _asked()
    audited = [dependency for dependency in found if "skip_reason" not in dependency]
    if not audited:
        say("pip-audit: nothing was audited; the vulnerability service cannot be reached.")
        return 0
    vulnerable = [dependency for dependency in audited if dependency["vulns"]]
    for dependency in vulnerable:
        for one in dependency["vulns"]:
            fixed = ", ".join(one["fix_versions"]) or "none yet"
            say(f"{dependency['name']} {dependency['version']}: {one['id']} (fixed in: {fixed})")
    unanswered = len(found) - len(audited)
    rest = f"; the service does not answer for {unanswered} others" if unanswered else ""
    say(f"pip-audit: {len(audited)} dependencies audited, {len(vulnerable)} vulnerable{rest}.")
    return int(bool(vulnerable))


def _asked() -> list[dict[str, Any]]:
    """Return what the service says of each dependency; nothing when it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", REQUIREMENTS, "--require-hashes"]
    options = ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        ended = subprocess.run(
            [*command, *options, "--timeout", str(ANSWER_SECONDS), *sys.argv[1:]],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        dependencies: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return []
    return dependencies


if __name__ == "__main__":
    sys.exit(main())
