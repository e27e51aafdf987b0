"""What is requested in the demo, by whom and why, and in which order."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from directives import operations, runner
from directives.models import Directive
from directives.outcomes import Outcome
from directives.requests import DirectiveRequest, Requested, request, request_many
from fleetprompt.demo.forums import Mark
from fleetprompt.demo.people import ADA, HELPER, MIRA, SENTRY, actor
from fleetprompt.demo.scenes import Scene
from fleetprompt.demo.waiting import Asked, Waiter
from fleetprompt.tenants.context import in_tenant

Status = Directive.Status


@dataclass(frozen=True)
class Harbor:
    """What was requested about the spam wave."""

    scene: Scene
    wave: list[Directive]
    unhide: Directive
    notice: Directive
    repeated: Requested
    snoozed: Directive

    @property
    def asked(self) -> list[Asked]:
        """What the cluster has to do now."""
        return [Asked(self.scene.tenant, d.id) for d in (*self.wave, self.unhide, self.notice)]


@dataclass(frozen=True)
class Orchard:
    """What was requested about the heated thread at first."""

    scene: Scene
    lock: Directive
    delete: Directive

    @property
    def asked(self) -> list[Asked]:
        """What the cluster has to do now."""
        return [Asked(self.scene.tenant, d.id) for d in (self.lock, self.delete)]


@dataclass(frozen=True)
class Story:
    """All that happened."""

    run: int
    harbor: Harbor
    orchard: Orchard
    late: Directive
    unlock: Directive
    discarded: Outcome


def play(run: int, harbor: Scene, orchard: Scene, waiter: Waiter) -> Story:
    """Request everything, wait for it, and return what was requested.

    Raises:
        DemoError: a directive does not end as it should.
        Refused: a tenant takes no directives, as a suspended one does not.
    """
    spam = _against_spam(harbor)
    heat = _against_heat(orchard)
    waiter.until(Status.SUCCEEDED, [*spam.asked, *heat.asked], "Spam, lock and deletion  ")
    late = _post_into_lock(orchard)
    waiter.until(Status.FAILED, [Asked(orchard.tenant, late.id)], "Post into a locked thread")
    unlock = _unlock(orchard)
    waiter.until(Status.SUCCEEDED, [Asked(orchard.tenant, unlock.id)], "Unlocking the thread     ")
    _rerun(orchard, late)
    waiter.until(Status.SUCCEEDED, [Asked(orchard.tenant, late.id)], "Rerun of that post       ")
    with in_tenant(orchard.tenant):
        discarded = runner.run(heat.lock.id)
    return Story(run, spam, heat, late, unlock, discarded)


def _against_spam(scene: Scene) -> Harbor:
    with in_tenant(scene.tenant):
        mira = actor(MIRA)
        wave = _hide_wave(scene)
        [misjudged] = scene.marked(Mark.MISJUDGED)
        unhide = request(
            "forum.post.unhide",
            {"post_id": str(misjudged.pk)},
            actor=mira,
            reason="A member giving varnish away is no spam",
        )
        notice = _announce(scene)
        # The agent heard no answer and asks again.
        repeated = _announce(scene)
        return Harbor(
            scene,
            wave,
            unhide.directive,
            notice.directive,
            repeated,
            _snooze_lock(scene),
        )


def _hide_wave(scene: Scene) -> list[Directive]:
    wave = request_many(
        [
            DirectiveRequest("forum.post.hide", {"post_id": str(post.pk)})
            for post in scene.marked(Mark.SPAM, Mark.MISJUDGED)
        ],
        actor=SENTRY,
        reason="Looks like the spam wave of tonight",
    )
    return [requested.directive for requested in wave]


def _announce(scene: Scene) -> Requested:
    return request(
        "forum.post.create",
        {
            "thread_id": str(scene.thread.pk),
            "content": "The spam of tonight is hidden. If a post of yours went with it, tell a moderator.",
            "author_id": HELPER.id,
            "client_request_id": "spam-notice",
        },
        actor=HELPER,
        reason="Members asked what happened to the thread",
    )


def _snooze_lock(scene: Scene) -> Directive:
    mira = actor(MIRA)
    now = timezone.now()
    # Together, so that no worker can take it in between.
    with transaction.atomic():
        lock = request(
            "forum.thread.lock",
            {"thread_id": str(scene.thread.pk)},
            actor=mira,
            reason="Close the thread if the wave goes on",
        )
        return operations.snooze(
            lock.directive.id,
            now + timedelta(hours=1),
            actor=mira,
            reason="Quiet for now; look again in an hour",
        )


def _against_heat(scene: Scene) -> Orchard:
    [private] = scene.marked(Mark.PRIVATE)
    with in_tenant(scene.tenant):
        mira = actor(MIRA)
        lock = request(
            "forum.thread.lock",
            {"thread_id": str(scene.thread.pk)},
            actor=mira,
            reason="Insults; everybody sleeps on it",
        )
        delete = request(
            "forum.post.delete",
            {"post_id": str(private.pk)},
            # Moderators may not delete, nor rerun.
            actor=actor(ADA),
            reason="Gives away where a member lives",
        )
    return Orchard(scene, lock.directive, delete.directive)


def _post_into_lock(scene: Scene) -> Directive:
    with in_tenant(scene.tenant):
        return request(
            "forum.post.create",
            {
                "thread_id": str(scene.thread.pk),
                "content": "Summary: October works where it stays above 7 degrees for three weeks.",
                "author_id": HELPER.id,
                "client_request_id": "summary",
            },
            actor=HELPER,
            reason="Summary of a long thread",
        ).directive


def _unlock(scene: Scene) -> Directive:
    with in_tenant(scene.tenant):
        return request(
            "forum.thread.unlock",
            {"thread_id": str(scene.thread.pk)},
            actor=actor(MIRA),
            reason="Everybody has apologised",
        ).directive


def _rerun(scene: Scene, late: Directive) -> None:
    with in_tenant(scene.tenant):
        operations.rerun(late.id, actor=actor(ADA), reason="The thread is open again")
