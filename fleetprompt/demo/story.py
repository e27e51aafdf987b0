"""Story of the demo: who asks for what, in which order, and what is told of it."""

import time
from datetime import timedelta
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone
from rich.console import Console

from directives import operations, runner
from directives.models import Directive
from directives.requests import Requested, request, request_many
from fleetprompt.demo import report
from fleetprompt.demo.people import ADA, HELPER, MIRA, SENTRY
from fleetprompt.demo.scenes import Mark, Scene
from fleetprompt.operators.clusters import Cluster
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.types import Actor

Status = Directive.Status
_POLL_SECONDS = 0.05
_EXAMPLES = 3
_NOTICE = "The spam of tonight is hidden. If a post of yours went with it, tell a moderator."
_SUMMARY = "Summary: October works where it stays above 7 degrees for three weeks."


class DemoError(Exception):
    """The demo could not be played to its end; the text says why."""


class Waiter:
    """Waits for directives, all in all at most `seconds`."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def until(self, status: Directive.Status, *directives: Directive) -> None:
        """Return when all directives, of the active tenant, have ended with a status.

        Raises:
            DemoError: one has another end, or the time is over.
            ClusterError: the cluster has ended.
        """
        ids = [directive.id for directive in directives]
        while left := list(Directive.objects.filter(pk__in=ids).exclude(status=status)):
            for directive in left:
                if directive.status in Directive.TERMINAL:
                    raise DemoError(f"{directive} was to end {status}: {directive.last_error}")
            self._cluster.check()
            if time.monotonic() > self._deadline:
                raise DemoError(
                    f"{len(left)} of {len(ids)} directives did not finish within {self._seconds:g} s, such "
                    f"as {left[0]}, which is {left[0].status}.{self._cluster.last_lines()}"
                )
            time.sleep(_POLL_SECONDS)


class Story(NamedTuple):
    """A run: its two scenes, and the directives that are looked at afterwards."""

    harbor: Scene
    orchard: Scene
    wave: list[Directive]
    snoozed: Directive
    late: Directive


def play(console: Console, run: int, harbor: Scene, orchard: Scene, waiter: Waiter) -> Story:
    """Request everything, wait for it, and tell what happened.

    Raises:
        DemoError: a directive does not end as it should.
        ClusterError: the cluster has ended.
        Refused: a tenant takes no directives, as a suspended one does not.
    """
    with in_tenant(harbor.tenant):
        wave, snoozed = _spam_wave(console, harbor, waiter)
    with in_tenant(orchard.tenant):
        late = _quarrel(console, orchard, waiter)
    report.show_figures(console, run, (harbor, orchard))
    return Story(harbor, orchard, wave, snoozed, late)


def _spam_wave(console: Console, scene: Scene, waiter: Waiter) -> tuple[list[Directive], Directive]:
    mira, spam, [misjudged] = MIRA.actor, scene.marked(Mark.SPAM), scene.marked(Mark.MISJUDGED)
    hide = [("forum.post.hide", {"post_id": str(post.pk)}) for post in (*spam, misjudged)]
    requests = request_many(hide, actor=SENTRY, reason="Looks like the spam wave of tonight")
    wave = [requested.directive for requested in requests]
    unhide = _ask("forum.post.unhide", misjudged, mira, "A member giving varnish away is no spam")
    why = "Members asked what happened to the thread"
    notice = _reply(scene, "spam-notice", _NOTICE, why).directive
    # The agent got no answer and asks again.
    repeated = _reply(scene, "spam-notice", _NOTICE, why)
    # In one transaction, so that no worker can claim it in between.
    with transaction.atomic():
        lock = _ask("forum.thread.lock", scene.thread, mira, "Close the thread if the wave goes on")
        until, why = timezone.now() + timedelta(hours=1), "Quiet for now; look again in an hour"
        snoozed = operations.snooze(lock.id, until, actor=mira, reason=why)
    waiter.until(Status.SUCCEEDED, *wave, unhide, notice)

    report.show_heading(console, scene, f"The spam wave: {len(wave)} posts hidden by one batch of requests")
    for post in spam[:_EXAMPLES]:
        console.print(f"{post.author_label}: {report.state(post)}")
    console.print(
        f"and {len(spam) - _EXAMPLES} more, all under one correlation id; "
        f"{len(wave) - len(spam)} of the {len(wave)} was no spam, see below."
    )
    report.show_timeline(console, scene, "Hidden by mistake, and shown again", misjudged)
    post = Post.objects.get(directive_id=notice.id)
    report.show_timeline(console, scene, "The agent's post", post, notice)
    again = "a second directive" if repeated.created else "the same directive and no second post"
    console.print(f"The agent asked twice with the client_request_id “spam-notice”: {again}.")
    report.show_timeline(console, scene, "Snoozed: lock this thread, but not now", None, snoozed)
    return wave, snoozed


def _quarrel(console: Console, scene: Scene, waiter: Waiter) -> Directive:
    mira, ada, [private] = MIRA.actor, ADA.actor, scene.marked(Mark.PRIVATE)
    lock = _ask("forum.thread.lock", scene.thread, mira, "Insults; everybody sleeps on it")
    # Moderators may neither delete nor rerun.
    delete = _ask("forum.post.delete", private, ada, "Gives away where a member lives")
    waiter.until(Status.SUCCEEDED, lock, delete)
    late = _reply(scene, "summary", _SUMMARY, "Summary of a long thread").directive
    waiter.until(Status.FAILED, late)
    unlock = _ask("forum.thread.unlock", scene.thread, mira, "Everybody has apologised")
    waiter.until(Status.SUCCEEDED, unlock)
    operations.rerun(late.id, actor=ada, reason="The thread is open again")
    waiter.until(Status.SUCCEEDED, late)
    discarded = runner.run(lock.id)

    report.show_timeline(console, scene, "The heated thread", scene.thread, late)
    console.print(
        "The agent's post failed while the thread was locked, and is there since the rerun.\n"
        f"Running the lock once more was {discarded.kind}: {discarded.reason}."
    )
    report.show_timeline(console, scene, "The deleted post", private)
    return late


def _ask(name: str, record: Post | Thread, actor: Actor, reason: str) -> Directive:
    payload = {f"{record._meta.model_name}_id": str(record.pk)}
    return request(name, payload, actor=actor, reason=reason).directive


def _reply(scene: Scene, key: str, text: str, reason: str) -> Requested:
    thread = str(scene.thread.pk)
    payload = {"thread_id": thread, "content": text, "author_id": HELPER.id, "client_request_id": key}
    return request("forum.post.create", payload, actor=HELPER, reason=reason)
