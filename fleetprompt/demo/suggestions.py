"""Suggestions for after the demo: commands that work as they are printed."""

import shlex
import sys
from pathlib import Path

from django.conf import settings
from rich.console import Console
from rich.text import Text

from fleetprompt.cli.web_addresses import hosts_advice, local
from fleetprompt.demo.people import ADA, AKI, MIRA, OLGA, Person, log_ins
from fleetprompt.demo.story import Story
from fleetprompt.tenants.context import in_tenant


def show(console: Console, story: Story, port: int) -> None:
    """Print the log-ins and the commands, each under its purpose."""
    scenes = (story.harbor, story.orchard)
    console.print(Text("\nWhat to try next", "bold"))
    for scene in scenes:
        with in_tenant(scene.tenant):
            where = f"Moderate at {local(scene.domain, port, '/admin/')}"
            _show_log_ins(console, where, port, log_ins((MIRA, AKI, ADA)))
    _show_operators(console, port)
    console.print(f"  {hosts_advice(scene.domain for scene in scenes)}", highlight=False, soft_wrap=True)
    for what, command in _commands(story, port):
        console.print(f"  {what}:", highlight=False)
        # Not wrapped, so that it can be copied as one line.
        console.print(Text(f"    {command}", "cyan"), soft_wrap=True)


def _show_operators(console: Console, port: int) -> None:
    if not settings.DEBUG or not settings.OPERATOR_HOSTS:
        # In production no demo gives power over all communities.
        console.print(f"  Make an operator: {_manage()} createsuperuser", highlight=False)
        return
    where = f"Look after all communities at {local(settings.OPERATOR_HOSTS[0], port, '/admin/')}"
    _show_log_ins(console, where, port, log_ins([OLGA]), role="operator")


def _show_log_ins(
    console: Console, where: str, port: int, given: list[tuple[Person, str]], *, role: str | None = None
) -> None:
    console.print(f"  {where}, while `{_run(port)}` runs; log in as", highlight=False)
    for person, password in given:
        console.print(
            Text(f"    {person.username:<5} {password:<14}", "cyan").append(
                f" the {role or person.role}", "default"
            )
        )


def _commands(story: Story, port: int) -> list[tuple[str, str]]:
    harbor, orchard = story.harbor, story.orchard
    directive = f"{_manage()} directive"
    payload = shlex.quote(f'{{"thread_id": "{orchard.thread.pk}"}}')
    return [
        (f"Read the forums at {local(harbor.domain, port)} and {local(orchard.domain, port)}", _run(port)),
        (
            "See all that was asked about the heated thread",
            f"{directive} list --tenant {orchard.tenant} --subject {orchard.thread.subject}",
        ),
        (
            "Follow the directive that failed and was rerun",
            f"{directive} show {story.late.id} --tenant {orchard.tenant}",
        ),
        (
            "Cancel the snoozed one",
            f"{directive} cancel {story.snoozed.id} --tenant {harbor.tenant} --reason 'All quiet'",
        ),
        (
            "Request one yourself",
            f"{directive} request forum.thread.lock --tenant {orchard.tenant} --payload {payload}",
        ),
        ("Run what is due here and now, without a cluster", f"{directive} run --tenant {orchard.tenant}"),
    ]


def _run(port: int) -> str:
    return "make run" if port == 8000 else f"make run PORT={port}"


def _manage() -> str:
    python = Path(sys.executable)
    if python.is_relative_to(settings.BASE_DIR):
        python = python.relative_to(settings.BASE_DIR)
    return f"{shlex.quote(str(python))} manage.py"
