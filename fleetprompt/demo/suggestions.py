"""Suggestions for after the demo: commands that work as they are printed."""

import shlex
import sys
from pathlib import Path

from django.conf import settings
from rich.console import Console
from rich.text import Text

from fleetprompt.demo.people import ADA, AKI, MIRA, log_ins
from fleetprompt.demo.scenes import Scene
from fleetprompt.demo.story import Story
from fleetprompt.tenants.context import in_tenant

PORT = 8000


def show(console: Console, story: Story) -> None:
    """Print log-ins, and the commands under their purposes."""
    console.print(Text("\nWhat to try next", "bold"))
    for scene in (story.harbor, story.orchard):
        _show_log_ins(console, scene)
    for what, command in _commands(story):
        console.print(f"  {what}:", highlight=False)
        # Not wrapped, so that it can be copied as one line.
        console.print(Text(f"    {command}", "cyan"), soft_wrap=True)


def _show_log_ins(console: Console, scene: Scene) -> None:
    console.print(
        f"  Moderate at {_address(scene)}admin/, while `make run` runs; log in as", highlight=False
    )
    with in_tenant(scene.tenant):
        for person, password in log_ins((MIRA, AKI, ADA)):
            console.print(
                Text(f"    {person.username:<5} {password:<14}", "cyan").append(
                    f" the {person.role}", "default"
                )
            )


def _commands(story: Story) -> list[tuple[str, str]]:
    harbor, orchard = story.harbor, story.orchard
    directive = f"{_manage()} directive"
    payload = shlex.quote(f'{{"thread_id": "{orchard.thread.pk}"}}')
    return [
        (f"Read the forums at {_address(harbor)} and {_address(orchard)}", "make run"),
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


def _address(scene: Scene) -> str:
    return f"http://{scene.domain}:{PORT}/"


def _manage() -> str:
    python = Path(sys.executable)
    if python.is_relative_to(settings.BASE_DIR):
        python = python.relative_to(settings.BASE_DIR)
    return f"{shlex.quote(str(python))} manage.py"
