"""`manage.py import_posts`: bring a community's existing posts in."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from fleetprompt.cli.console import OperatorCommand, add_format, progress, refused_of
from fleetprompt.tenants.context import in_tenant
from forums.importing import Columns, Report, import_posts
from forums.models import DEFAULT_SOURCE


class Command(OperatorCommand):
    """Reads a CSV file into one thread and reports what became of its rows."""

    help = (
        "Import posts from a CSV file into one thread. Rows whose id is known already are left out, or "
        "with --update edit their posts, so an import can be repeated; bad rows are reported and do not "
        "stop the others."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the file, the place and the columns."""
        parser.set_defaults(run=self.import_file)
        parser.add_argument("file", metavar="FILE.csv", help="UTF-8, with the columns' names in a header")
        parser.add_argument("--tenant", required=True, metavar="SLUG", help="the community")
        parser.add_argument("--thread", required=True, metavar="TITLE", help="made if it is missing")
        parser.add_argument(
            "--category",
            default="general",
            metavar="SLUG",
            help="the thread's category, made if it is missing (default: general)",
        )
        parser.add_argument(
            "--source",
            default=DEFAULT_SOURCE,
            metavar="NAME",
            help="where the ids come from: two sources may use one id (default: %(default)s)",
        )
        parser.add_argument(
            "--update", action="store_true", help="edit posts whose id is known and whose text differs"
        )
        for part in ("id", "author", "content"):
            parser.add_argument(f"--{part}-column", default=part, metavar="NAME", help=f"default: {part}")
        parser.add_argument("--date-column", metavar="NAME", help="default: date, if there is one")
        add_format(parser)

    def import_file(self, options: dict[str, Any]) -> None:
        """Import the file and print the report; fail when a row was refused."""
        path = Path(options["file"])
        columns = Columns(**{part: options[f"{part}_column"] for part in Columns._fields})
        try:
            file = path.open("rb")
        except (OSError, ValueError) as error:
            raise CommandError(f"file: {path}: {getattr(error, 'strerror', error)}") from None
        chosen = {name: options[name] for name in ("thread", "category", "source", "update")}
        size = path.stat().st_size or None
        with file, in_tenant(options["tenant"]), progress("Importing", size) as advance:
            report = import_posts(file, **chosen, columns=columns, advance=advance)
        self._print(report, options)
        if report.refused:
            others = {"imported": report.imported, "edited": report.edited, "repeated": report.repeated}
            raise CommandError(refused_of(len(report.refused), "row", others, "imported"))

    def _print(self, report: Report, options: dict[str, Any]) -> None:
        if options["format"] == "json":
            self.print_json({"tenant": options["tenant"], **asdict(report)})
            return
        for row in report.refused:
            self.stderr.write(f"line {row.line}: {row.error}")
        edited = f"{report.edited} edited, " if options["update"] else ""
        others = f"{report.repeated} repeated, {len(report.refused)} refused."
        self.stdout.write(f"{report.imported} imported, {edited}{others}")
        if report.thread_id:
            self.stdout.write(f"Thread: {report.thread_id}")
