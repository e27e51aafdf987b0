"""Permissions to request: users need one for each directive type, agents and the system none."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied

from directives.errors import PermissionRefused
from directives.models import Directive
from directives.requests import request_each, request_many
from fleetprompt.tenants.context import in_tenant
from signals.types import Actor
from tests.recipes import accounts
from tests.support import ask, messages


def actor(user):
    return Actor("user", str(user.pk), user.username)


def grant(user, *codenames):
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


@pytest.fixture
def ann(alpha):
    return accounts.user.make(username="ann")


def hide(forum, who):
    return ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, actor=who)


def test_a_user_with_the_permission_may(forum, ann):
    grant(ann, "request_forum.post.hide")
    assert hide(forum, actor(ann)).directive.actor == Actor("user", str(ann.pk), "ann")


def test_a_user_whose_group_has_the_permission_may(forum, ann):
    group = accounts.group.make(name="moderators")
    group.permissions.add(Permission.objects.get(codename="request_forum.post.hide"))
    ann.groups.add(group)
    assert hide(forum, actor(ann)).created


def test_a_user_without_the_permission_may_not_and_learns_which_it_is(forum, ann):
    grant(ann, "request_forum.post.unhide")
    with pytest.raises(PermissionRefused, match=r"ann may not .*directives\.request_forum\.post\.hide"):
        hide(forum, actor(ann))
    assert not Directive.objects.exists()
    assert messages() == 0


def test_a_refused_permission_is_djangos_permission_denied(forum, ann):
    with pytest.raises(PermissionDenied):
        hide(forum, actor(ann))


def test_an_inactive_user_may_not(forum, ann):
    grant(ann, "request_forum.post.hide")
    User.objects.update(is_active=False)
    with pytest.raises(PermissionRefused, match="no active user"):
        hide(forum, actor(ann))


def test_a_superuser_may_unless_inactive(forum):
    root = accounts.superuser.make(username="root")
    assert hide(forum, actor(root)).created
    User.objects.update(is_active=False)
    with pytest.raises(PermissionRefused):
        hide(forum, actor(root))


def test_a_user_of_another_tenant_is_nobody_here(database):
    with in_tenant("beta"):
        root = accounts.superuser.make(username="root", pk=4711)
    with in_tenant("alpha"), pytest.raises(PermissionRefused, match="4711"):
        ask("zoo.animal.work", {"animal": "cat"}, actor=actor(root))


@pytest.mark.parametrize("pk", ["0", "-1", "ann", "1.0", "9" * 255, "²", "1 OR 1=1"])
def test_an_id_that_no_user_can_have_is_refused(alpha, pk):
    with pytest.raises(PermissionRefused, match="no active user"):
        ask("zoo.animal.work", {"animal": "cat"}, actor=Actor("user", pk))


@pytest.mark.parametrize("kind", ["agent", "system"])
def test_agents_and_the_system_may(forum, kind):
    assert hide(forum, Actor(kind, "anything")).created


def test_each_name_in_a_batch_needs_its_own_permission(forum, ann):
    grant(ann, "request_forum.post.hide")
    payload = {"post_id": str(forum.posts[0].pk)}
    items = [("forum.post.hide", payload), ("forum.post.delete", payload)]
    with pytest.raises(PermissionRefused, match=r"forum\.post\.delete"):
        request_many(items, actor=actor(ann))
    assert not Directive.objects.exists()
    allowed, refused = request_each(items, actor=actor(ann))
    assert allowed.created
    assert isinstance(refused, PermissionRefused)


def test_a_retracted_permission_is_gone_at_the_next_request(forum, ann):
    grant(ann, "request_forum.post.hide")
    hide(forum, actor(ann))
    ann.user_permissions.clear()
    with pytest.raises(PermissionRefused):
        hide(forum, actor(ann))


def test_every_directive_type_has_a_permission_in_every_tenant(database):
    for slug in ("alpha", "beta"):
        with in_tenant(slug):
            names = set(Permission.objects.values_list("codename", flat=True))
            assert {"request_forum.thread.lock", "request_zoo.animal.work"} <= names
            expected = {f"{action}_forum.post.hide" for action in ("snooze", "cancel", "rerun")}
            assert expected <= names
