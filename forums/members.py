"""Links between members and the users of the community who they are."""

from django.contrib.auth.models import User
from django.db import transaction
from uuid_utils.compat import uuid7

from fleetprompt.tenants.context import active_tenant
from forums.models import Member
from signals import bus
from signals.types import Actor

LINKED = "forum.member.linked"


def link(member: Member, user: User | None, *, actor: Actor) -> None:
    """Say which user a member is, or that it is none; a change emits `forum.member.linked`.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        IntegrityError: the user is another member.
    """
    tenant = active_tenant().slug
    with transaction.atomic():
        before = Member.objects.select_for_update(no_key=True).get(pk=member.pk).user
        if before == user:
            return
        Member.objects.filter(pk=member.pk).update(user=user)
        names = {"before": before, "after": user}
        bus.emit(
            LINKED,
            {key: None if one is None else f"user:{one.pk}" for key, one in names.items()},
            # Linking to the user of before is another event.
            dedupe_key=f"{LINKED}:{tenant}:{member.pk}:{uuid7()}",
            actor=actor,
            subject=member.subject,
            source="forums",
            member_id=member.pk,
        )
