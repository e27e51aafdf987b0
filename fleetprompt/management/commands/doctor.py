"""`manage.py doctor`: health check of this deployment, with fixes."""

from collections import Counter
from typing import Any

from django.core import checks
from django.core.management.base import CommandError, CommandParser

from fleetprompt.cli.console import OperatorCommand, Row, add_format, progress
from fleetprompt.health import doctor
from fleetprompt.health.checkup import Where

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
        with progress("Looking", doctor.number_of_checks()) as advance:
            for examined in doctor.examine(options["tenant"]):
                made.append(examined)
                advance(1)
        rows = sorted(
            (_row(examined.title, finding) for examined in made for finding in examined.findings),
            key=lambda row: -row["severity"],
        )
        bad = sum(row["severity"] >= _LEVELS[options["fail_level"]] for row in rows)
        for row in rows:
            del row["severity"]
        if options["format"] == "json":
            self.print_json(
                {
                    "healthy": not bad,
                    "passed": [one.title for one in made if one.is_made and not one.findings],
                    "not_made": [one.title for one in made if not one.is_made],
                    "findings": rows,
                }
            )
        else:
            self._print_table(made, rows, passed=options["passed"])
        sentence = _sentence(made, rows, options["tenant"])
        if bad:
            raise CommandError(sentence)
        if options["format"] == "table":
            self.stdout.write(sentence)

    def _print_table(self, made: list[doctor.Examined], rows: list[Row], *, passed: bool) -> None:
        if passed:
            for examined in made:
                if examined.is_made and not examined.findings:
                    self.stdout.write(f"ok: {examined.title}")
        if rows:
            shown = [{**row, "where": str(Where(row["tenants"]))} for row in rows]
            self.print_rows(shown, ["level", "id", "where", "what", "mend"], style="table", empty="")


def _row(title: str, finding: checks.CheckMessage) -> Row:
    where = finding.obj
    return {
        "severity": finding.level,
        "level": next((name for name, level in _LEVELS.items() if finding.level >= level), "info"),
        "id": finding.id,
        "tenants": list(where) if isinstance(where, Where) else [],
        "what": finding.msg if where is None or isinstance(where, Where) else f"{where}: {finding.msg}",
        "mend": finding.hint or "",
        "check": title,
    }


def _sentence(made: list[doctor.Examined], rows: list[Row], tenant: str | None) -> str:
    scope = f"the tenant {tenant}" if tenant else "all tenants"
    looked = f"{sum(one.is_made for one in made)} checks of settings, machine, database, queue and {scope}"
    counts = Counter(row["level"] for row in rows)
    found = [
        f"{counts[name]} {name}{'s' * (counts[name] > 1)}" for name in ("error", "warning") if counts[name]
    ]
    if not found:
        return f"Healthy: {looked} found nothing to mend."
    left_out = len(made) - sum(one.is_made for one in made)
    rest = f"; {left_out} that need the database were not made" if left_out else ""
    return f"{' and '.join(found)} in {looked}{rest}."
