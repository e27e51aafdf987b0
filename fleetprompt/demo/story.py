"""Directives of the demo: their actors, reasons and order."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from directives import operations, runner
from directives.models import Directive
from directives.outcomes import Outcome
from directives.requests import Requested, request, request_many
from fleetprompt.cli.console import progress
from fleetprompt.demo.people import ADA, HELPER, MIRA, SENTRY
from fleetprompt.demo.scenes import Mark, Scene
from fleetprompt.operators.clusters import Cluster
from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from signals.types import Actor

Status = Directive.Status
_POLL_SECONDS = 0.05
_MAX_NAMED = 3
"""The directives that an error names."""


class DemoError(Exception):
    """The demo could not be played to its end; the text says why."""


class Waiter:
    """Waits for directives, all in all at most `seconds`."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def until(self, status: Directive.Status, tenant: str, what: str, *directives: Directive) -> None:
        """Return when all directives have ended with a status, showing progress under the name `what`.

        Raises:
            DemoError: one has another end, or the time is over.
            ClusterError: the cluster has ended.
        """
        left = list(directives)
        with progress(f"{what:<25}", len(directives)) as advance, in_tenant(tenant):
            while True:
                found = list(Directive.objects.filter(pk__in=[directive.pk for directive in left]))
                ended = [directive for directive in found if directive.status in Directive.TERMINAL]
                if others := [directive for directive in ended if directive.status != status]:
                    raise DemoError(f"{len(others)} directives were to end {status}: {_named(others)}")
                advance(len(ended))
                left = [directive for directive in found if directive not in ended]
                if not left:
                    return
                self._cluster.check()
                if time.monotonic() > self._deadline:
                    raise DemoError(
                        f"{len(left)} of {len(directives)} directives did not finish within "
                        f"{self._seconds:g} s: {_named(left)}.{self._cluster.last_lines()}"
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
        hide = [("forum.post.hide", _post(post)) for post in harbor.marked(Mark.SPAM, Mark.MISJUDGED)]
        spam = request_many(hide, actor=SENTRY, reason="Looks like the spam wave of tonight")
        wave = [requested.directive for requested in spam]
        [misjudged] = harbor.marked(Mark.MISJUDGED)
        unhide = _ask(
            "forum.post.unhide", _post(misjudged), mira, "A member giving varnish away is no spam"
        )
        notice = _announce(harbor).directive
        # The agent got no answer and asks again.
        repeated = _announce(harbor)
        snoozed = _snoozed_lock(harbor, mira)
    waiter.until(Status.SUCCEEDED, harbor.tenant, "Spam", *wave, unhide, notice)
    thread = {"thread_id": str(orchard.thread.pk)}
    with in_tenant(orchard.tenant):
        mira, ada = MIRA.actor, ADA.actor
        lock = _ask("forum.thread.lock", thread, mira, "Insults; everybody sleeps on it")
        [private] = orchard.marked(Mark.PRIVATE)
        # Moderators may neither delete nor rerun.
        delete = _ask("forum.post.delete", _post(private), ada, "Gives away where a member lives")
    waiter.until(Status.SUCCEEDED, orchard.tenant, "Lock and deletion", lock, delete)
    with in_tenant(orchard.tenant):
        text = "Summary: October works where it stays above 7 degrees for three weeks."
        late = _reply(orchard, "summary", text, "Summary of a long thread").directive
    waiter.until(Status.FAILED, orchard.tenant, "Post into a locked thread", late)
    with in_tenant(orchard.tenant):
        unlock = _ask("forum.thread.unlock", thread, mira, "Everybody has apologised")
    waiter.until(Status.SUCCEEDED, orchard.tenant, "Unlocking the thread", unlock)
    with in_tenant(orchard.tenant):
        operations.rerun(late.id, actor=ada, reason="The thread is open again")
    waiter.until(Status.SUCCEEDED, orchard.tenant, "Rerun of that post", late)
    with in_tenant(orchard.tenant):
        discarded = runner.run(lock.id)
    return Story(run, harbor, orchard, wave, notice, repeated, snoozed, late, discarded)


def _ask(name: str, payload: Mapping[str, str], actor: Actor, reason: str) -> Directive:
    return request(name, payload, actor=actor, reason=reason).directive


def _post(post: Post) -> dict[str, str]:
    return {"post_id": str(post.pk)}


def _announce(scene: Scene) -> Requested:
    text = "The spam of tonight is hidden. If a post of yours went with it, tell a moderator."
    return _reply(scene, "spam-notice", text, "Members asked what happened to the thread")


def _reply(scene: Scene, key: str, text: str, reason: str) -> Requested:
    thread = str(scene.thread.pk)
    payload = {"thread_id": thread, "content": text, "author_id": HELPER.id, "client_request_id": key}
    return request("forum.post.create", payload, actor=HELPER, reason=reason)


def _snoozed_lock(scene: Scene, actor: Actor) -> Directive:
    thread, until = {"thread_id": str(scene.thread.pk)}, timezone.now() + timedelta(hours=1)
    # In one transaction, so that no worker can claim it in between.
    with transaction.atomic():
        lock = _ask("forum.thread.lock", thread, actor, "Close the thread if the wave goes on")
        return operations.snooze(lock.id, until, actor=actor, reason="Quiet for now; look again in an hour")


def _named(directives: list[Directive]) -> str:
    texts = [f"{d} is {d.status}{d.last_error and f' ({d.last_error})'}" for d in directives[:_MAX_NAMED]]
    more = len(directives) - len(texts)
    return "; ".join(texts) + (f" and {more} more" if more else "")
