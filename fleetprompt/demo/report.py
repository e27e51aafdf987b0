"""Prints what happened: a timeline per subject, the run in figures, and what to try next."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from directives.models import Directive
from fleetprompt.demo import figures, suggestions, timelines
from fleetprompt.demo.forums import Mark
from fleetprompt.demo.scenes import Scene
from fleetprompt.demo.story import Harbor, Orchard, Story
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.types import Subject

EXAMPLES = 3


def show(console: Console, story: Story, port: int) -> None:
    """Print the whole report."""
    with in_tenant(story.harbor.scene.tenant):
        _spam_wave(console, story.harbor)
        _rest_of_harbor(console, story.harbor)
    with in_tenant(story.orchard.scene.tenant):
        _orchard(console, story.orchard, story)
    _figures(console, story)
    suggestions.show(console, story, port)


def _spam_wave(console: Console, harbor: Harbor) -> None:
    _heading(
        console, harbor.scene, f"The spam wave: {len(harbor.wave)} posts hidden by one batch of requests"
    )
    rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in range(3):
        rows.add_column(no_wrap=column != 1)
    spam = harbor.scene.marked(Mark.SPAM)
    for post in spam[:EXAMPLES]:
        rows.add_row(*_example(harbor, post))
    console.print(rows)
    hidden = Post.objects.filter(pk__in=[post.pk for post in spam[EXAMPLES:]], status=Post.Status.HIDDEN)
    others = len(harbor.wave) - len(spam)
    console.print(
        f"and {hidden.count()} more, all under one correlation id; "
        f"{others} of the {len(harbor.wave)} was no spam, see below."
    )


def _example(harbor: Harbor, post: Post) -> tuple[str | Text, ...]:
    post.refresh_from_db()
    hide = next(d for d in harbor.wave if d.subject_id == str(post.pk))
    hide.refresh_from_db()
    seconds = (hide.completed_at - hide.created_at).total_seconds() if hide.completed_at else 0
    return (
        Text(post.author_label, "bold"),
        Text(timelines.excerpt(post.content, 34)),
        Text(f"{post.status} after {seconds:.2f} s", "green"),
    )


def _rest_of_harbor(console: Console, harbor: Harbor) -> None:
    scene = harbor.scene
    [misjudged] = scene.marked(Mark.MISJUDGED)
    _post(console, scene, "Hidden by mistake, and shown again", misjudged)
    harbor.notice.refresh_from_db()
    notice = Post.objects.get(directive_id=harbor.notice.id)
    _post(console, scene, "The agent's post", notice, harbor.notice)
    again = "a second directive" if harbor.repeated.created else "the same directive and no second post"
    console.print(f"The agent asked twice with the client_request_id “spam-notice”: {again}.")
    _heading(console, scene, "Snoozed: lock this thread, but not now")
    console.print(timelines.table(timelines.about(None, harbor.snoozed)))
    harbor.snoozed.refresh_from_db()
    console.print(f"It is still {harbor.snoozed.status}, and has used {harbor.snoozed.attempt} attempts.")


def _orchard(console: Console, orchard: Orchard, story: Story) -> None:
    scene = orchard.scene
    thread = Thread.objects.get(pk=scene.thread.pk)
    _heading(console, scene, f"The heated thread {timelines.excerpt(thread.title)}: {thread.status} again")
    console.print(timelines.table(timelines.about(thread.subject, story.late)))
    summary = Post.objects.get(directive_id=story.late.id)
    console.print(
        f"The agent's post failed while the thread was locked, and is there since the rerun: "
        f"{timelines.excerpt(summary.content)}"
    )
    console.print(f"Running the lock once more was {story.discarded.kind}: {story.discarded.reason}.")
    [private] = scene.marked(Mark.PRIVATE)
    _post(console, scene, "The deleted post", private)


def _post(console: Console, scene: Scene, title: str, post: Post, *directives: Directive) -> None:
    post.refresh_from_db()
    _heading(console, scene, f"{title}: {timelines.excerpt(post.content)} is {post.status}")
    console.print(timelines.table(timelines.about(Subject("forum.post", str(post.pk)), *directives)))


def _heading(console: Console, scene: Scene, text: str) -> None:
    console.print()
    console.print(Text.assemble((f"{scene.tenant}  ", "bold magenta"), (text, "bold")))


def _figures(console: Console, story: Story) -> None:
    found = figures.of(story)
    counts = (
        f"{found.counts['requested']} requested, {found.counts['succeeded']} succeeded, "
        f"{found.counts['failed']} of them after it failed and was rerun, "
        f"{found.counts['snoozed']} snoozed. {found.counts['discarded']} run discarded"
    )
    console.print()
    console.print(Text(f"Run {story.run} in figures", "bold"))
    console.print(f"Directives: {counts}.")
    console.print(f"From a request to its end: median {found.median:.2f} s, at most {found.longest:.2f} s.")
