"""Report of a run: a timeline per subject, and figures."""

import textwrap
from statistics import median

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rich.console import Console
from rich.table import Table
from rich.text import Text

from directives.display import labels
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.demo.scenes import Mark, Scene
from fleetprompt.demo.story import Story
from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from signals.models import Signal
from signals.types import Subject

_EXAMPLES = 3
_STYLES = {"succeeded": "green", "failed": "red", "snoozed": "yellow"}


def show(console: Console, story: Story) -> None:
    """Print the whole report."""
    with in_tenant(story.harbor.tenant):
        _show_harbor(console, story)
    with in_tenant(story.orchard.tenant):
        _show_orchard(console, story)
    _show_figures(console, story)


def _show_harbor(console: Console, story: Story) -> None:
    scene = story.harbor
    _heading(console, scene, f"The spam wave: {len(story.wave)} posts hidden by one batch of requests")
    spam = scene.marked(Mark.SPAM)
    hidden = Post.objects.filter(pk__in=[post.pk for post in spam], status=Post.Status.HIDDEN)
    for post in hidden[:_EXAMPLES]:
        console.print(f"{post.author_label}: {_excerpt(post.content)} is {post.status}")
    console.print(
        f"and {hidden.count() - _EXAMPLES} more, all under one correlation id; "
        f"{len(story.wave) - len(spam)} of the {len(story.wave)} was no spam, see below."
    )
    [misjudged] = scene.marked(Mark.MISJUDGED)
    _show_post(console, scene, "Hidden by mistake, and shown again", misjudged)
    notice = Post.objects.get(directive_id=story.notice.id)
    _show_post(console, scene, "The agent's post", notice, story.notice)
    again = "a second directive" if story.repeated.created else "the same directive and no second post"
    console.print(f"The agent asked twice with the client_request_id “spam-notice”: {again}.")
    _heading(console, scene, "Snoozed: lock this thread, but not now")
    console.print(_timeline(None, story.snoozed))
    story.snoozed.refresh_from_db()
    console.print(f"It is still {story.snoozed.status}, and has used {story.snoozed.attempt} attempts.")


def _show_orchard(console: Console, story: Story) -> None:
    scene, thread = story.orchard, story.orchard.thread
    thread.refresh_from_db()
    _heading(console, scene, f"The heated thread {_excerpt(thread.title)}: {thread.status} again")
    console.print(_timeline(thread.subject, story.late))
    summary = Post.objects.get(directive_id=story.late.id)
    console.print(
        f"The agent's post failed while the thread was locked, and is there since the rerun: "
        f"{_excerpt(summary.content)}"
    )
    console.print(f"Running the lock once more was {story.discarded.kind}: {story.discarded.reason}.")
    [private] = scene.marked(Mark.PRIVATE)
    _show_post(console, scene, "The deleted post", private)


def _show_post(console: Console, scene: Scene, title: str, post: Post, *directives: Directive) -> None:
    post.refresh_from_db()
    _heading(console, scene, f"{title}: {_excerpt(post.content)} is {post.status}")
    console.print(_timeline(Subject("forum.post", str(post.pk)), *directives))


def _show_figures(console: Console, story: Story) -> None:
    found: list[Directive] = []
    for scene in (story.harbor, story.orchard):
        with in_tenant(scene.tenant):
            subjects = [str(record.pk) for record in (scene.thread, *(post for post, _ in scene.posts))]
            found += Directive.objects.filter(subject_id__in=subjects)
    ended = [directive for directive in found if directive.completed_at]
    seconds = [(d.completed_at - d.queued_at).total_seconds() for d in ended if d.completed_at]
    console.print(Text(f"\nRun {story.run} in figures", "bold"))
    console.print(
        f"Directives: {len(found)} requested, {len(ended)} succeeded, "
        f"{sum(directive.attempt > 1 for directive in ended)} of them after it failed and was rerun, "
        f"{len(found) - len(ended)} snoozed. {int(story.discarded.kind == Kind.DISCARDED)} run discarded."
    )
    console.print(
        f"From a request to its end: median {median(seconds):.2f} s, at most {max(seconds):.2f} s."
    )


def _heading(console: Console, scene: Scene, text: str) -> None:
    console.print(Text.assemble((f"\n{scene.tenant}  ", "bold magenta"), (text, "bold")))


def _timeline(subject: Subject | None, *directives: Directive) -> Table:
    """Return the signals about a subject, and those of the directives: time, name, details."""
    wanted = Q(causation_id__in=[str(directive.id) for directive in directives])
    if subject:
        wanted |= Q(subject_type=subject.type, subject_id=subject.id)
    rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(no_wrap=True)
    for signal in Signal.objects.filter(wanted):
        app, _, event = signal.name.partition(".")
        style = _STYLES.get(event, "cyan") if app == "directive" else "bold"
        time = f"{timezone.localtime(signal.recorded_at):%H:%M:%S.%f}"[:-3]
        rows.add_row(time, Text(signal.name, style), Text(_details(signal)))
    return rows


def _details(signal: Signal) -> str:
    says = labels.gist(signal)
    if signal.payload.get("error"):
        return says
    until = parse_datetime(signal.payload.get("until", ""))
    time = f"until {timezone.localtime(until):%H:%M} " if until else ""
    return f"{time}by {signal.actor}{says and f': {says}'}"


def _excerpt(text: str) -> str:
    return f"“{textwrap.shorten(text, 40, placeholder=' …')}”"
