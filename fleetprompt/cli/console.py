"""Base of the management commands: readable errors, rows, progress."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import IO, Any, cast

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, DataError, OperationalError, ProgrammingError
from django.db.migrations.exceptions import MigrationSchemaMissing
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fleetprompt.errors import first_line, presentable, sqlstate
from fleetprompt.visible import visible

Row = dict[str, Any]

INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_TABLE = "42P01"

PIPE_COLUMNS = 240
FOLDED_COLUMNS = 30
"""Texts of several words are folded to this width before their column moves below the row."""
GAP_COLUMNS = 2
INDENT_COLUMNS = 4
BETWEEN = "   "


class OperatorCommand(BaseCommand):
    """A management command which answers bad input with one sentence and status 1.

    A subclass sets the `run` default of its parser, or of a parser per subcommand, to the function
    to call.
    """

    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, turning what went wrong outside the program into a `CommandError`."""
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            # It may quote untrusted input, which could steer the terminal.
            raise CommandError(presentable(str(error)), returncode=error.returncode) from error
        except ValidationError as error:
            raise CommandError("; ".join(map(presentable, _sentences(error)))) from error
        except UnicodeEncodeError as error:
            raise CommandError("an argument is no UTF-8 text") from error
        except OSError as error:
            # Such as a file that may not be read; a closed pipe is no mistake of the input.
            if error.filename is None:
                raise
            raise CommandError(f"{os.fsdecode(error.filename)}: {error.strerror}") from error
        except DatabaseError as error:
            if sentence := self._told(error):
                raise CommandError(sentence) from error
            raise

    def handle(self, *args: Any, **options: Any) -> None:
        """Call the function that the parser chose, with the parsed options."""
        options["run"](options)

    def subcommand(
        self, parsers: Any, name: str, run: Callable[[dict[str, Any]], None], text: str
    ) -> CommandParser:
        """Add the subcommand `name`, which calls `run(options)`, and return its parser."""
        parser: CommandParser = parsers.add_parser(name, help=text, description=text)
        parser.set_defaults(run=run)
        return parser

    def confirm(self, question: str, answer: str, refused: str) -> None:
        """Ask for `answer` to be typed before something is destroyed.

        Args:
            refused: what did not happen then, such as `Not deleted`.

        Raises:
            CommandError: something else was typed, or standard input is closed.
        """
        # Not on standard output, which may be JSON for a program.
        self.stderr.write(question, style_func=str, ending="")
        self.stderr.flush()
        try:
            typed = input().strip()
        except EOFError:
            self.stderr.write("")
            raise CommandError(f"{refused}: nobody answered. Use --yes in scripts.") from None
        if typed != answer:
            raise CommandError(f"{refused}.")

    def lacks_table(self) -> str:
        """Return what to tell when a table is missing that the command needs."""
        return "the database lacks a table; bring it up to date with `manage.py migrate_schemas`"

    def _told(self, error: DatabaseError) -> str:
        """Return what to tell of an error of the database; nothing when it is one of the program."""
        state, line = sqlstate(error), first_line(error)
        if isinstance(error, OperationalError):
            what = "does not answer" if (state or "08")[:2] in ("08", "57") else "gave up"
            return f"the database {what}: {str(error).strip()}"
        if isinstance(error, DataError):
            return f"the database has, or was given, a value that the program cannot read: {line}"
        if isinstance(error, MigrationSchemaMissing):
            return f"the database's owner lacks a right: {line}"
        if isinstance(error, ProgrammingError) and state == INSUFFICIENT_PRIVILEGE:
            return lacks_right(error)
        if isinstance(error, ProgrammingError) and state == UNDEFINED_TABLE:
            return self.lacks_table()
        return ""

    @property
    def console(self) -> Console:
        """A rich console on the command's output; wide where it is no terminal and COLUMNS is not set."""
        is_sized = self.stdout.isatty() or "COLUMNS" in os.environ
        return Console(file=cast(IO[str], self.stdout), width=None if is_sized else PIPE_COLUMNS)

    def print_json(self, value: Any) -> None:
        """Print `value` as JSON, indented by two, text as it is, keys in the order given."""
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def print_rows(self, rows: Sequence[Row], columns: Sequence[str], *, style: str, empty: str) -> None:
        """Print `rows` as a table of `columns`, or as a JSON array of whole rows.

        Where the terminal is too narrow for all columns, the last ones follow below each row, after their
        titles; none is left out.

        Args:
            rows: dictionaries with the same keys.
            columns: the keys that the table shows, in order.
            style: `table` or `json`.
            empty: the sentence in place of a table without rows.
        """
        if style == "json":
            self.print_json(rows)
        elif not rows:
            self.stdout.write(empty)
        else:
            _print_table(
                self.console,
                [column.replace("_", " ") for column in columns],
                [[_cell(row[column]) for column in columns] for row in rows],
            )


def refused_of(refused: int, what: str, others: Mapping[str, int], done: str) -> str:
    """Return the sentence that says how many of something were refused, and what became of the others.

    Args:
        what: such as `line`.
        others: by what became of them, how many.
        done: what was wanted, for the sentence that nothing came of it.
    """
    subject = f"{refused:,} {what} was" if refused == 1 else f"{refused:,} {what}s were"
    came = [
        f"{number:,} {'was' if number == 1 else 'were'} {fate}" for fate, number in others.items() if number
    ]
    rest = f"of the others, {' and '.join(came)}" if came else f"nothing was {done}"
    return f"{subject} refused; {rest}."


def lacks_right(error: ProgrammingError) -> str:
    """Return what to tell whose database role may not do what it tried."""
    what = first_line(error)
    return f"the database role lacks a right: {what}; `manage.py migrate_schemas` gives it what it needs"


def _sentences(error: ValidationError) -> list[str]:
    # What a model's fields refuse does not name the field; the dictionary around it does.
    if not hasattr(error, "error_dict"):
        return error.messages
    return [
        message if name == NON_FIELD_ERRORS else f"{name}: {message}"
        for name, messages in error.message_dict.items()
        for message in messages
    ]


def add_format(parser: CommandParser) -> None:
    """Give a subcommand the option `--format table|json`."""
    parser.add_argument(
        "--format", choices=["table", "json"], default="table", help="how to print (default: table)"
    )


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return "" if value is None else visible(str(value))


def _print_table(console: Console, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    columns = list(zip(titles, *rows, strict=True))
    widths = [max(map(_least_width, column)) for column in columns]
    totals = list(accumulate(widths, lambda total, width: total + GAP_COLUMNS + width))
    beside = max(sum(total <= console.width for total in totals), 1)
    room = console.width - totals[beside - 1]
    for place in range(beside):
        wider = min(max(map(cell_len, columns[place])) - widths[place], room)
        widths[place] += wider
        room -= wider
    console.print(_table(titles[:beside], widths))
    for row in rows:
        table = _table(titles[:beside], widths, show_header=False)
        table.add_row(*map(Text, row[:beside]))
        console.print(table)
        below = [
            Text.assemble((title, "dim"), " ", cell)
            for title, cell in zip(titles[beside:], row[beside:], strict=True)
            if cell
        ]
        if below:
            console.print(_in_lines(below, console.width - INDENT_COLUMNS))


def _table(titles: Sequence[str], widths: Sequence[int], *, show_header: bool = True) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, show_header=show_header)
    for title, width in zip(titles, widths, strict=False):
        table.add_column(title, overflow="fold", width=width)
    return table


def _least_width(text: str) -> int:
    """Return the columns that a cell needs: texts may be folded between words, ids and names may not."""
    return max([min(cell_len(text), FOLDED_COLUMNS), *map(cell_len, text.split())])


def _in_lines(parts: Sequence[Text], width: int) -> Padding:
    """Return the parts beside each other as far as they fit, indented; longer ones are folded."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(BETWEEN) + part.cell_len <= width:
            lines[-1] = Text(BETWEEN).join([lines[-1], part])
        else:
            lines.append(part)
    text = Text("\n").join(lines)
    text.overflow = "fold"
    return Padding(text, (0, 0, 0, INDENT_COLUMNS), expand=False)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error for a block; call the yielded function to advance it.

    Nothing is drawn when standard error is not a terminal.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda step: bar.advance(task, step)
