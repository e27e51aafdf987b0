"""Report of a run: a timeline per subject, and figures."""

import textwrap
from collections.abc import Sequence
from statistics import median

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rich.console import Console
from rich.text import Text

from directives.display import labels
from directives.models import Directive
from fleetprompt.demo.scenes import Scene
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.models import Signal


def state(record: Post | Thread) -> str:
    """Return the beginning of a record's text, and its present status."""
    record.refresh_from_db()
    return f"“{textwrap.shorten(str(record), 40, placeholder=' …')}” is {record.status}"


def show_heading(console: Console, scene: Scene, text: str) -> None:
    """Print a heading."""
    console.print(Text.assemble((f"\n{scene.tenant}  ", "bold magenta"), (text, "bold")))


def show_timeline(
    console: Console, scene: Scene, title: str, record: Post | Thread | None, *directives: Directive
) -> None:
    """Print the signals about a record, and those of the directives: time, name, details."""
    wanted = Q(causation_id__in=[str(directive.id) for directive in directives])
    if record:
        wanted |= Q(subject_type=record.subject.type, subject_id=record.subject.id)
        title = f"{title}: {state(record)}"
    show_heading(console, scene, title)
    for signal in Signal.objects.filter(wanted):
        time = f"{timezone.localtime(signal.recorded_at):%H:%M:%S.%f}"[:-3]
        console.print(Text.assemble((time, "dim"), (f"  {signal.name:<25}  ", "cyan"), _details(signal)))


def _details(signal: Signal) -> str:
    says = labels.gist(signal)
    if signal.payload.get("error"):
        return says
    until = parse_datetime(signal.payload.get("until", ""))
    time = f"until {timezone.localtime(until):%H:%M} " if until else ""
    return f"{time}by {signal.actor}{says and f': {says}'}"


def show_figures(console: Console, run: int, scenes: Sequence[Scene]) -> None:
    """Print how many directives the run has requested, and how long they took."""
    directives: list[Directive] = []
    for scene in scenes:
        subjects = [str(record.pk) for record in (scene.thread, *(post for post, _ in scene.posts))]
        with in_tenant(scene.tenant):
            directives += Directive.objects.filter(subject_id__in=subjects)
    seconds = [(d.completed_at - d.queued_at).total_seconds() for d in directives if d.completed_at]
    console.print(Text(f"\nRun {run} in figures", "bold"))
    console.print(
        f"Directives: {len(directives)} requested, {len(seconds)} succeeded, "
        f"{sum(directive.attempt > 1 for directive in directives)} of them after it failed and was rerun, "
        f"{len(directives) - len(seconds)} snoozed.\n"
        f"From a request to its end: median {median(seconds):.2f} s, at most {max(seconds):.2f} s."
    )
