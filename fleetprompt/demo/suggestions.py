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
    run = "make run" if port == 8000 else f"make run PORT={port}"
    harbor, orchard = story.harbor, story.orchard
    console.print(Text("\nWhat to try next", "bold"))
    for scene in (harbor, orchard):
        with in_tenant(scene.tenant):
            where = f"Moderate at {local(scene.domain, port, '/admin/')}"
            _show_log_ins(console, f"{where}, while `{run}` runs; log in as", MIRA, AKI, ADA)
    if settings.DEBUG and settings.OPERATOR_HOSTS:
        where = f"Look after all communities at {local(settings.OPERATOR_HOSTS[0], port, '/admin/')}"
        _show_log_ins(console, f"{where}, while `{run}` runs; log in as", OLGA)
    else:
        # In production no demo gives power over all communities.
        console.print(f"  Make an operator: {_manage()} createsuperuser", highlight=False)
    hosts = hosts_advice([harbor.domain, orchard.domain])
    console.print(f"  {hosts}", highlight=False, soft_wrap=True)
    read = f"Read the forums at {local(harbor.domain, port)} and {local(orchard.domain, port)}"
    for what, command in ((read, run), *_commands(story)):
        console.print(f"  {what}:", highlight=False)
        # Not wrapped, so that it can be copied as one line.
        console.print(Text(f"    {command}", "cyan"), soft_wrap=True)


def _show_log_ins(console: Console, where: str, *people: Person) -> None:
    console.print(f"  {where}", highlight=False)
    for person, password in log_ins(people):
        log_in = f"    {person.username:<5} {password:<14}"
        console.print(Text.assemble((log_in, "cyan"), f" the {person.role}"))


def _commands(story: Story) -> list[tuple[str, str]]:
    harbor, orchard, thread = story.harbor.tenant, story.orchard.tenant, story.orchard.thread
    payload = shlex.quote(f'{{"thread_id": "{thread.pk}"}}')
    commands = {
        "See all that was asked about the thread": f"list --tenant {orchard} --subject {thread.subject}",
        "Follow the directive that failed and was rerun": f"show {story.late.id} --tenant {orchard}",
        "Cancel the snoozed one": f"cancel {story.snoozed.id} --tenant {harbor} --reason 'All quiet'",
        "Request one yourself": f"request forum.thread.lock --tenant {orchard} --payload {payload}",
        "Run what is due here and now, without a cluster": f"run --tenant {orchard}",
    }
    return [(what, f"{_manage()} directive {command}") for what, command in commands.items()]


def _manage() -> str:
    python = Path(sys.executable)
    if python.is_relative_to(settings.BASE_DIR):
        python = python.relative_to(settings.BASE_DIR)
    return f"{shlex.quote(str(python))} manage.py"
