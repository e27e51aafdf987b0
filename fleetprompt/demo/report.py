"""Report of a run: a timeline per subject, and figures."""

import textwrap
from statistics import median

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rich.console import Console
from rich.text import Text

from directives.display import labels
from directives.models import Directive
from fleetprompt.demo.scenes import Mark, Scene
from fleetprompt.demo.story import Story
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.models import Signal

_EXAMPLES = 3


def show(console: Console, story: Story) -> None:
    """Print the whole report."""
    with in_tenant(story.harbor.tenant):
        _show_harbor(console, story)
        directives = _directives(story.harbor)
    with in_tenant(story.orchard.tenant):
        _show_orchard(console, story)
        directives += _directives(story.orchard)
    seconds = [(d.completed_at - d.queued_at).total_seconds() for d in directives if d.completed_at]
    console.print(Text(f"\nRun {story.run} in figures", "bold"))
    console.print(
        f"Directives: {len(directives)} requested, {len(seconds)} succeeded, "
        f"{sum(directive.attempt > 1 for directive in directives)} of them after it failed and was rerun, "
        f"{len(directives) - len(seconds)} snoozed.\n"
        f"From a request to its end: median {median(seconds):.2f} s, at most {max(seconds):.2f} s."
    )


def _show_harbor(console: Console, story: Story) -> None:
    scene, spam = story.harbor, story.harbor.marked(Mark.SPAM)
    _heading(console, scene, f"The spam wave: {len(story.wave)} posts hidden by one batch of requests")
    for post in spam[:_EXAMPLES]:
        console.print(f"{post.author_label}: {_state(post)}")
    console.print(
        f"and {len(spam) - _EXAMPLES} more, all under one correlation id; "
        f"{len(story.wave) - len(spam)} of the {len(story.wave)} was no spam, see below."
    )
    [misjudged] = scene.marked(Mark.MISJUDGED)
    _show_timeline(console, scene, "Hidden by mistake, and shown again", misjudged)
    notice = Post.objects.get(directive_id=story.notice.id)
    _show_timeline(console, scene, "The agent's post", notice, story.notice)
    again = "a second directive" if story.repeated.created else "the same directive and no second post"
    console.print(f"The agent asked twice with the client_request_id “spam-notice”: {again}.")
    _show_timeline(console, scene, "Snoozed: lock this thread, but not now", None, story.snoozed)


def _show_orchard(console: Console, story: Story) -> None:
    scene = story.orchard
    _show_timeline(console, scene, "The heated thread", scene.thread, story.late)
    console.print(
        "The agent's post failed while the thread was locked, and is there since the rerun.\n"
        f"Running the lock once more was {story.discarded.kind}: {story.discarded.reason}."
    )
    [private] = scene.marked(Mark.PRIVATE)
    _show_timeline(console, scene, "The deleted post", private)


def _directives(scene: Scene) -> list[Directive]:
    """Return what this run has requested in the active tenant."""
    subjects = [str(record.pk) for record in (scene.thread, *(post for post, _ in scene.posts))]
    return list(Directive.objects.filter(subject_id__in=subjects))


def _show_timeline(
    console: Console, scene: Scene, title: str, record: Post | Thread | None, *directives: Directive
) -> None:
    """Print the signals about a record, and those of the directives: time, name, details."""
    wanted = Q(causation_id__in=[str(directive.id) for directive in directives])
    if record:
        wanted |= Q(subject_type=record.subject.type, subject_id=record.subject.id)
        title = f"{title}: {_state(record)}"
    _heading(console, scene, title)
    for signal in Signal.objects.filter(wanted):
        time = f"{timezone.localtime(signal.recorded_at):%H:%M:%S.%f}"[:-3]
        console.print(Text.assemble((time, "dim"), (f"  {signal.name:<25}  ", "cyan"), _details(signal)))


def _heading(console: Console, scene: Scene, text: str) -> None:
    console.print(Text.assemble((f"\n{scene.tenant}  ", "bold magenta"), (text, "bold")))


def _details(signal: Signal) -> str:
    says = labels.gist(signal)
    if signal.payload.get("error"):
        return says
    until = parse_datetime(signal.payload.get("until", ""))
    time = f"until {timezone.localtime(until):%H:%M} " if until else ""
    return f"{time}by {signal.actor}{says and f': {says}'}"


def _state(record: Post | Thread) -> str:
    record.refresh_from_db()
    return f"“{textwrap.shorten(str(record), 40, placeholder=' …')}” is {record.status}"
