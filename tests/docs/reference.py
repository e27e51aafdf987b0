"""Writes the generated pages of docs/reference: `python -m tests.docs.reference`.

With `--check` nothing is written, and the exit status is 1 when a page is not what the code says.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import django

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "fleetprompt.settings"
    django.setup()

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

from directives import errors, registry
from directives.authority.permissions import permission
from directives.handlers import DirectivePayload
from fleetprompt.environment import BASE_DIR, Environment
from fleetprompt.errors import Refused
from fleetprompt.tenants import context
from signals import bus
from tests.docs.pages import DOCS

FOLDER = DOCS / "reference"
OURS = ("fleetprompt", "fleetprompt.tenants", "signals", "directives", "forums")
EXTENDED = {
    "createsuperuser": "Make an operator's account, with Django's own options.",
    "migrate_schemas": "Bring the public schema, the template and all tenants up to date, with the options "
    "of django-tenants. [How to upgrade](../guides/upgrade.md) says which ones matter.",
}
"""Commands of other packages that the project changes; their options are theirs."""
PAGES_IN_ORDER = ("settings", "commands", "directives", "errors")
say = print

_COMMON = {action.dest for action in BaseCommand().create_parser("manage.py", "any")._actions} | {
    "skip_checks"
}
_HEAD = """[Documentation](../index.md) › Reference

# {title}

<!-- Written by `make reference`; change the code, not this page. -->

{intro}
"""


def main() -> int:
    """Write or check all generated pages; return 1 when a checked page differs."""
    status = 0
    for name in PAGES_IN_ORDER:
        path = FOLDER / f"{name}.md"
        text = globals()[f"{name}_page"]()
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            say(f"docs/reference/{name}.md is not what the code says; run `make reference`")
            status = 1
    return status


def settings_page() -> str:
    """Return the page of settings, from `fleetprompt.environment`."""
    intro = """Set these as environment variables, or as lines in a file `.env` beside `manage.py`. An
invalid value stops the start with a sentence that names the variable.
[How to run in production](../guides/run-in-production.md) says which ones an installation needs."""
    rows = [
        (f"`{name.upper()}`", _default(name, field), field.description)
        for name, field in Environment.model_fields.items()
    ]
    return _page(
        "Settings", intro, _table(("variable", "default", "meaning"), rows), "commands.md", "Commands"
    )


def commands_page() -> str:
    """Return the page of management commands, from their parsers."""
    intro = """Run them with `python manage.py COMMAND`. Each command has Django's own options, too, such as
`--help`.

- Invalid input changes nothing. One sentence names the option or the field, and the exit status is 1,
  or 2 when options are missing, unknown or malformed.
- `--format json` prints [JSON for programs](json.md).
- Without `--actor` the actor is `system:cli`, labelled with your login name.
- Times without a zone are in [`TIME_ZONE`](settings.md)."""
    parts = []
    for name, app in sorted(get_commands().items()):
        if name in EXTENDED:
            parts.append(f"## {name}\n\n{EXTENDED[name]}\n")
        elif app in OURS and name != "migrate":
            command = load_command_class(str(app), name)
            parts.append("\n".join(_command(name, command.create_parser("manage.py", name))))
    return _page("Commands", intro, "\n".join(parts), "json.md", "JSON output")


def directives_page() -> str:
    """Return the page of directive types, from the registered handlers."""
    shared = [f"`{name}`" for name in DirectivePayload.model_fields]
    intro = f"""These are the directive types of the forums. `python manage.py directive types` also lists
your own, and `directive types NAME` prints the JSON Schema of a payload. Each payload also takes
{", ".join(shared[:-1])} and {shared[-1]} ([payloads](handlers.md#payloads))."""
    parts = []
    for handler in registry.handlers():
        rows: list[tuple[Any, ...]] = [
            (f"`{name}`", "yes" if field.is_required() else "no", field.description)
            for name, field in handler.Payload.model_fields.items()
            if name not in DirectivePayload.model_fields
        ]
        facts = [
            ("permission to request", f"`{permission('request', handler.name)}`"),
            ("subject", f"`{handler.subject_type}`, from `{handler.subject_field}`"),
            ("status afterwards", f"`{handler.becomes}`" if handler.becomes else "depends"),
            (
                "signal",
                f"`{handler.signal}`" if hasattr(handler, "signal") else "see [signals](signals.md)",
            ),
            ("inverse", f"`{handler.inverse}`" if handler.inverse else "none"),
            ("for the group Moderator", "yes" if handler.for_moderators else "no"),
            ("timeout", f"{handler.timeout:g} s"),
            ("attempts", handler.retry.max_attempts),
        ]
        parts.append(
            f"## {handler.name}\n\n{handler.summary}\n\n"
            + _table(("", ""), facts)
            + "\n"
            + _table(("payload field", "required", "meaning"), rows)
        )
    return _page("Directive types", intro, "\n".join(parts), "handlers.md", "Handlers")


def errors_page() -> str:
    """Return the page of exceptions, from the modules that define them."""
    intro = """The [Python API](python-api.md) raises these. `Refused` is a Django `ValidationError` whose
messages name the field. After a refusal nothing has changed."""
    found = [
        value
        for module in (errors, context, bus)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__
    ]
    rows = [
        (
            f"`{error.__module__}.{error.__name__}`",
            ", ".join(f"`{base.__name__}`" for base in error.__bases__),
            _first_sentence(error),
        )
        for error in [Refused, *found]
    ]
    return _page("Errors", intro, _table(("exception", "is a", "meaning"), rows), "states.md", "States")


def _page(title: str, intro: str, body: str, following: str, following_title: str) -> str:
    head = _HEAD.format(title=title, intro=intro)
    return f"{head}\n{body.strip()}\n\nNext: [{following_title}]({following})\n"


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [columns, ["---" for _ in columns], *rows]
    return "".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def _default(name: str, field: Any) -> str:
    value = field.default
    if name == "secret_key":
        return "a development key"
    if isinstance(value, Path):
        return f"`{value.relative_to(BASE_DIR)}`"
    if isinstance(value, bool):
        return f"`{int(value)}`"
    if value in ("", [], None):
        return "empty"
    return f"`{','.join(value) if isinstance(value, list) else value}`"


def _command(name: str, parser: CommandParser) -> Iterator[str]:
    yield f"## {name}\n\n{_sentence(parser.description)}\n"
    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for subparser in subparsers:
        for sub, one in subparser.choices.items():
            yield f"### {name} {sub}\n\n{_sentence(one.description)}\n"
            yield from _options(one)
    if not subparsers:
        yield from _options(parser)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in parser._actions if action.dest not in _COMMON]
    if actions:
        yield _table(("option", "meaning"), [(_usage(action), _help(action)) for action in actions])


def _usage(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    if action.choices and not action.metavar:
        value = "|".join(map(str, action.choices))
    text = f"{', '.join(action.option_strings)} {value}".strip()
    return f"`{text}`{' (required)' if action.required and action.option_strings else ''}"


def _help(action: argparse.Action) -> str:
    text = action.help or ""
    return text.replace("%(default)s", str(action.default)).replace("<", "&lt;")


def _first_sentence(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.exit(main())
