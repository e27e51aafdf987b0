"""The ready-made groups of a tenant, and the effect of migrations on them."""

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from directives import registry
from directives.authority import permissions
from fleetprompt.tenants.context import in_tenant, return_to_public
from fleetprompt.tenants.provisioning import create_tenant

FORUM = (
    "forum.thread.lock",
    "forum.thread.unlock",
    "forum.post.hide",
    "forum.post.unhide",
    "forum.post.create",
)
SEEN = {"view_directive", "view_signal", "view_thread", "view_post", "view_category", "view_member"}


@pytest.fixture
def harbor(database):
    """A tenant that is gone after the test, and may be changed in it."""
    return create_tenant("harbor", name="Harbor", domain="harbor.localhost")


def test_a_moderator_requests_and_snoozes_and_sees(harbor):
    names = {handler.name for handler in registry.handlers() if handler.for_moderators}
    assert names.issuperset(FORUM)
    wanted = {f"{action}_{name}" for name in names for action in ("request", "snooze")}
    books = {f"view_{model._meta.model_name}" for model in apps.get_app_config("library").get_models()}
    assert _held("Moderator") - books == wanted | SEEN


def test_a_moderator_deletes_reruns_and_cancels_nothing(harbor):
    assert "forum.post.delete" in {handler.name for handler in registry.handlers()}
    held = _held("Moderator")
    assert not {c for c in held if c.endswith("forum.post.delete") or c.startswith(("rerun", "cancel"))}


def test_an_auditor_sees_everything_and_changes_nothing(harbor):
    held = _held("Auditor")
    assert {c for c in held if not c.startswith("view_")} == {"export_signal"}
    assert SEEN | {"view_user", "view_group", "view_logentry"} <= held
    assert not held & {"view_tenant", "view_domain", "view_ormq", "view_schedule", "view_failure"}
    labels = {config.label for config in apps.get_app_configs() if config.name in settings.TENANT_APPS}
    with in_tenant("harbor"):
        seen = Permission.objects.filter(codename__startswith="view_", content_type__app_label__in=labels)
        assert held - {"export_signal"} == {permission.codename for permission in seen}


def test_what_a_community_took_from_its_moderators_stays_taken(harbor):
    _take("Moderator", "request_forum.post.hide", "view_signal")
    before = _held("Moderator")
    _migrate()
    assert _held("Moderator") == before


def test_an_auditor_gets_back_what_lets_him_see(harbor):
    before = _held("Auditor")
    _take("Auditor", "view_post", "export_signal")
    _migrate()
    assert _held("Auditor") == before


def test_a_new_directive_type_is_granted_on_the_next_migrate(harbor):
    with in_tenant("harbor"):
        # As if these two types were not there when the tenant was made.
        Permission.objects.filter(codename__endswith="forum.post.hide").delete()
        Permission.objects.filter(codename__endswith="forum.post.delete").delete()
    _take("Moderator", "request_forum.post.unhide")
    _migrate()
    held = _held("Moderator")
    assert {"request_forum.post.hide", "snooze_forum.post.hide"} <= held
    assert not held & {"rerun_forum.post.hide", "cancel_forum.post.hide", "request_forum.post.delete"}
    assert "request_forum.post.unhide" not in held
    with in_tenant("harbor"):
        for action in permissions.ACTIONS:
            assert Permission.objects.filter(codename=f"{action}_forum.post.delete").exists()


def test_a_group_that_was_renamed_is_made_anew_and_the_old_one_kept(harbor):
    with in_tenant("harbor"):
        Group.objects.filter(name="Moderator").update(name="Janitors")
    _migrate()
    assert _held("Janitors") == _held("Moderator")


def _held(name):
    with in_tenant("harbor"):
        return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


def _take(name, *codenames):
    with in_tenant("harbor"):
        taken = Permission.objects.filter(codename__in=codenames)
        assert len(taken) == len(codenames)
        Group.objects.get(name=name).permissions.remove(*taken)


def _migrate():
    call_command("migrate_schemas", schema_name="org_harbor", verbosity=0)
    return_to_public()
