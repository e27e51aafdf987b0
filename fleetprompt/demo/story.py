"""Directives of the demo: who requests which, for what reason, and in which order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from directives import operations, runner
from directives.models import Directive
from directives.outcomes import Outcome
from directives.requests import DirectiveRequest, Requested, request, request_many
from fleetprompt.cli.console import progress
from fleetprompt.demo.forums import Mark
from fleetprompt.demo.people import ADA, HELPER, MIRA, SENTRY
from fleetprompt.demo.scenes import Scene
from fleetprompt.operators.clusters import Cluster
from fleetprompt.tenants.context import in_tenant

Status = Directive.Status
_POLL_SECONDS = 0.05
_NAMED = 3
"""How many directives an error names."""


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
        with progress(what, len(directives)) as advance, in_tenant(tenant):
            left = list(directives)
            while left:
                found = Directive.objects.in_bulk([directive.pk for directive in left])
                ended = [
                    directive for directive in found.values() if directive.status in Directive.TERMINAL
                ]
                if others := [directive for directive in ended if directive.status != status]:
                    raise DemoError(f"{len(others)} directives were to end {status}: {_named(others)}")
                advance(len(ended))
                left = [directive for directive in found.values() if directive not in ended]
                if left:
                    self._pause(left, len(directives))

    def _pause(self, left: Sequence[Directive], count: int) -> None:
        self._cluster.check()
        if time.monotonic() > self._deadline:
            raise DemoError(
                f"{len(left)} of {count} directives did not finish within {self._seconds:g} s: "
                f"{_named(left)}.{self._cluster.last_lines()}"
            )
        time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class Story:
    """All that was requested in a run, by tenant."""

    run: int
    harbor: Scene
    wave: list[Directive]
    unhide: Directive
    notice: Directive
    repeated: Requested
    snoozed: Directive
    orchard: Scene
    lock: Directive
    delete: Directive
    late: Directive
    unlock: Directive
    discarded: Outcome

    @property
    def directives(self) -> dict[str, list[Directive]]:
        """All directives by tenant."""
        return {
            self.harbor.tenant: [*self.wave, self.unhide, self.notice, self.snoozed],
            self.orchard.tenant: [self.lock, self.delete, self.late, self.unlock],
        }


def play(run: int, harbor: Scene, orchard: Scene, waiter: Waiter) -> Story:
    """Request everything, wait for it, and return what was requested.

    Raises:
        DemoError: a directive does not end as it should.
        ClusterError: the cluster has ended.
        Refused: a tenant takes no directives, as a suspended one does not.
    """
    with in_tenant(harbor.tenant):
        wave = _hide(harbor.marked(Mark.SPAM, Mark.MISJUDGED))
        [misjudged] = harbor.marked(Mark.MISJUDGED)
        why = "A member giving varnish away is no spam"
        unhide = request("forum.post.unhide", _post(misjudged), actor=MIRA.actor, reason=why).directive
        notice = _announce(harbor).directive
        # The agent got no answer and asks again.
        repeated = _announce(harbor)
        snoozed = _snoozed_lock(harbor)
    thread = {"thread_id": str(orchard.thread.pk)}
    with in_tenant(orchard.tenant):
        why = "Insults; everybody sleeps on it"
        lock = request("forum.thread.lock", thread, actor=MIRA.actor, reason=why).directive
        [private] = orchard.marked(Mark.PRIVATE)
        why = "Gives away where a member lives"
        # Moderators may neither delete nor rerun.
        delete = request("forum.post.delete", _post(private), actor=ADA.actor, reason=why).directive
    waiter.until(Status.SUCCEEDED, harbor.tenant, "Spam                     ", *wave, unhide, notice)
    waiter.until(Status.SUCCEEDED, orchard.tenant, "Lock and deletion        ", lock, delete)
    with in_tenant(orchard.tenant):
        text = "Summary: October works where it stays above 7 degrees for three weeks."
        late = _reply(orchard, "summary", text, "Summary of a long thread").directive
    waiter.until(Status.FAILED, orchard.tenant, "Post into a locked thread", late)
    with in_tenant(orchard.tenant):
        why = "Everybody has apologised"
        unlock = request("forum.thread.unlock", thread, actor=MIRA.actor, reason=why).directive
    waiter.until(Status.SUCCEEDED, orchard.tenant, "Unlocking the thread     ", unlock)
    with in_tenant(orchard.tenant):
        operations.rerun(late.id, actor=ADA.actor, reason="The thread is open again")
    waiter.until(Status.SUCCEEDED, orchard.tenant, "Rerun of that post       ", late)
    with in_tenant(orchard.tenant):
        discarded = runner.run(lock.id)
    return Story(
        run, harbor, wave, unhide, notice, repeated, snoozed, orchard, lock, delete, late, unlock, discarded
    )


def _post(post: object) -> dict[str, str]:
    return {"post_id": str(getattr(post, "pk", post))}


def _hide(posts: Sequence[object]) -> list[Directive]:
    hide = [DirectiveRequest("forum.post.hide", _post(post)) for post in posts]
    why = "Looks like the spam wave of tonight"
    return [requested.directive for requested in request_many(hide, actor=SENTRY, reason=why)]


def _announce(scene: Scene) -> Requested:
    text = "The spam of tonight is hidden. If a post of yours went with it, tell a moderator."
    return _reply(scene, "spam-notice", text, "Members asked what happened to the thread")


def _reply(scene: Scene, key: str, text: str, reason: str) -> Requested:
    payload = {
        "thread_id": str(scene.thread.pk),
        "content": text,
        "author_id": HELPER.id,
        "client_request_id": key,
    }
    return request("forum.post.create", payload, actor=HELPER, reason=reason)


def _snoozed_lock(scene: Scene) -> Directive:
    thread, until = {"thread_id": str(scene.thread.pk)}, timezone.now() + timedelta(hours=1)
    # In one transaction, so that no worker can claim it in between.
    with transaction.atomic():
        why = "Close the thread if the wave goes on"
        lock = request("forum.thread.lock", thread, actor=MIRA.actor, reason=why).directive
        why = "Quiet for now; look again in an hour"
        return operations.snooze(lock.id, until, actor=MIRA.actor, reason=why)


def _named(directives: Sequence[Directive]) -> str:
    texts = [f"{d} is {d.status}{d.last_error and f' ({d.last_error})'}" for d in directives[:_NAMED]]
    more = len(directives) - len(texts)
    return "; ".join(texts) + (f" and {more} more" if more else "")
