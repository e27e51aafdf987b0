"""`manage.py doctor`: health check of this deployment, with fixes."""

from collections import Counter
from typing import Any

from django.core import checks
from django.core.management.base import CommandError, CommandParser

from fleetprompt.cli.console import OperatorCommand, Row, add_format, progress
from fleetprompt.health import doctor
from fleetprompt.health.checkup import CHECKS, Where

_LEVELS = {"error": checks.ERROR, "warning": checks.WARNING, "info": checks.INFO}


class Command(OperatorCommand):
    """Runs the checks and prints their findings."""

    help = (
        "Check this deployment: settings that would lose or double work, the database, every tenant's "
        "schema, clusters and queue. Each finding says what is wrong and how to mend it; this command "
        "changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--tenant", metavar="SLUG", help="of the tenants, look at this one only")
        parser.add_argument(
            "--fail-level",
            choices=["error", "warning"],
            default="error",
            help="end with status 1 when something this bad is found (default: error)",
        )
        parser.add_argument("--passed", action="store_true", help="also list the checks that found nothing")
        add_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the checks, print the findings and set the exit status."""
        made: list[doctor.Examined] = []
        with progress("Looking", len(CHECKS) + doctor.NUMBER_OF_OTHERS) as advance:
            for examined in doctor.examine(options["tenant"]):
                made.append(examined)
                advance(1)
        found = [(title, finding) for title, findings in made for finding in findings or ()]
        found.sort(key=lambda pair: -pair[1].level)
        bad = any(finding.level >= _LEVELS[options["fail_level"]] for _, finding in found)
        rows = [_row(title, finding) for title, finding in found]
        passed = [title for title, findings in made if findings == []]
        if options["format"] == "json":
            not_made = [title for title, findings in made if findings is None]
            self.print_json({"healthy": not bad, "passed": passed, "not_made": not_made, "findings": rows})
        else:
            for title in passed if options["passed"] else ():
                self.stdout.write(f"ok: {title}")
            shown = [{**row, "where": str(Where(row["tenants"]))} for row in rows]
            if shown:
                self.print_rows(shown, ["level", "id", "where", "what", "mend"], style="table", empty="")
        sentence = _sentence(made, rows, options["tenant"])
        if bad:
            raise CommandError(sentence)
        if options["format"] == "table":
            self.stdout.write(sentence)


def _row(title: str, finding: checks.CheckMessage) -> Row:
    where = finding.obj
    return {
        "level": next((name for name, level in _LEVELS.items() if finding.level >= level), "info"),
        "id": finding.id,
        "tenants": list(where) if isinstance(where, Where) else [],
        "what": finding.msg if where is None or isinstance(where, Where) else f"{where}: {finding.msg}",
        "mend": finding.hint or "",
        "check": title,
    }


def _sentence(made: list[doctor.Examined], rows: list[Row], tenant: str | None) -> str:
    left_out = sum(findings is None for _, findings in made)
    scope = f"the tenant {tenant}" if tenant else "all tenants"
    looked = f"{len(made) - left_out} checks of settings, machine, database, queue and {scope}"
    counts = Counter(row["level"] for row in rows)
    found = [
        f"{counts[name]} {name}{'s' * (counts[name] > 1)}" for name in ("error", "warning") if counts[name]
    ]
    if not found:
        return f"Healthy: {looked} found nothing to mend."
    rest = f"; {left_out} that need the database were not made" if left_out else ""
    return f"{' and '.join(found)} in {looked}{rest}."
