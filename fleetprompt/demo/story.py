"""Directives of the demo: their actors, reasons and order."""

import time
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from directives import operations, runner
from directives.models import Directive
from directives.outcomes import Outcome
from directives.requests import Requested, request, request_many
from fleetprompt.demo.people import ADA, HELPER, MIRA, SENTRY
from fleetprompt.demo.scenes import Mark, Scene
from fleetprompt.operators.clusters import Cluster
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.types import Actor

Status = Directive.Status
_POLL_SECONDS = 0.05
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


@dataclass(frozen=True)
class Story:
    """A run: its two scenes, and the directives that the report names."""

    run: int
    harbor: Scene
    orchard: Scene
    wave: list[Directive]
    notice: Directive
    repeated: Requested
    snoozed: Directive
    late: Directive
    discarded: Outcome


def play(run: int, harbor: Scene, orchard: Scene, waiter: Waiter) -> Story:
    """Request everything, wait for it, and return what was requested.

    Raises:
        DemoError: a directive does not end as it should.
        ClusterError: the cluster has ended.
        Refused: a tenant takes no directives, as a suspended one does not.
    """
    with in_tenant(harbor.tenant):
        mira = MIRA.actor
        spam = [
            ("forum.post.hide", {"post_id": str(post.pk)})
            for post in harbor.marked(Mark.SPAM, Mark.MISJUDGED)
        ]
        requests = request_many(spam, actor=SENTRY, reason="Looks like the spam wave of tonight")
        wave = [requested.directive for requested in requests]
        [misjudged] = harbor.marked(Mark.MISJUDGED)
        unhide = _ask("forum.post.unhide", misjudged, mira, "A member giving varnish away is no spam")
        why = "Members asked what happened to the thread"
        notice = _reply(harbor, "spam-notice", _NOTICE, why).directive
        # The agent got no answer and asks again.
        repeated = _reply(harbor, "spam-notice", _NOTICE, why)
        # In one transaction, so that no worker can claim it in between.
        with transaction.atomic():
            lock = _ask("forum.thread.lock", harbor.thread, mira, "Close the thread if the wave goes on")
            until = timezone.now() + timedelta(hours=1)
            snoozed = operations.snooze(
                lock.id, until, actor=mira, reason="Quiet for now; look again in an hour"
            )
        waiter.until(Status.SUCCEEDED, *wave, unhide, notice)
    with in_tenant(orchard.tenant):
        mira, ada = MIRA.actor, ADA.actor
        lock = _ask("forum.thread.lock", orchard.thread, mira, "Insults; everybody sleeps on it")
        [private] = orchard.marked(Mark.PRIVATE)
        # Moderators may neither delete nor rerun.
        delete = _ask("forum.post.delete", private, ada, "Gives away where a member lives")
        waiter.until(Status.SUCCEEDED, lock, delete)
        late = _reply(orchard, "summary", _SUMMARY, "Summary of a long thread").directive
        waiter.until(Status.FAILED, late)
        unlock = _ask("forum.thread.unlock", orchard.thread, mira, "Everybody has apologised")
        waiter.until(Status.SUCCEEDED, unlock)
        operations.rerun(late.id, actor=ada, reason="The thread is open again")
        waiter.until(Status.SUCCEEDED, late)
        discarded = runner.run(lock.id)
    return Story(run, harbor, orchard, wave, notice, repeated, snoozed, late, discarded)


def _ask(name: str, record: Post | Thread, actor: Actor, reason: str) -> Directive:
    payload = {f"{record._meta.model_name}_id": str(record.pk)}
    return request(name, payload, actor=actor, reason=reason).directive


def _reply(scene: Scene, key: str, text: str, reason: str) -> Requested:
    payload = {
        "thread_id": str(scene.thread.pk),
        "content": text,
        "author_id": HELPER.id,
        "client_request_id": key,
    }
    return request("forum.post.create", payload, actor=HELPER, reason=reason)
