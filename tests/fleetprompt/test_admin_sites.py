"""The two admin sites share nothing: every URL of one is requested on the hosts of the other."""

import re

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import URLPattern, get_resolver
from model_bakery import baker

from directives.models import Directive
from fleetprompt.sites import operators_site, tenant_site
from fleetprompt.tenants.models import Tenant
from signals.models import Signal
from tests.accounts import PASSWORD, host_of, logged_in, make_user, within
from tests.support import ask, make_forum

URLCONFS = {"alpha": "fleetprompt.urls", "beta": "fleetprompt.urls", "": "fleetprompt.urls_public"}
SAMPLE = "00000000-0000-0000-0000-000000000001"
# What has to answer anybody: the door itself.
OPEN = "/admin/login/"
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
_GROUP = re.compile(r"\(\?P<\w+>([^)]*)\)")


def test_a_tenants_site_has_models_of_tenants_only():
    labels = {config.label for config in apps.get_app_configs() if config.name in settings.TENANT_APPS}
    assert {model._meta.app_label for model in tenant_site._registry} <= labels
    assert not {"tenants", "django_q", "sessions", "contenttypes"} & {
        model._meta.app_label for model in tenant_site._registry
    }


def test_the_operators_site_has_no_model_that_lives_in_tenants_only():
    labels = {config.label for config in apps.get_app_configs() if config.name in settings.SHARED_APPS}
    assert {model._meta.app_label for model in operators_site._registry} <= labels


@pytest.mark.parametrize("site", ["alpha", ""])
@pytest.mark.parametrize("method", ["get", "post"])
def test_anonymous_requests_get_no_page(database, site, method):
    _refused(Client(), site, _paths(site), method)


@pytest.mark.parametrize("site", ["alpha", ""])
def test_a_user_who_is_no_staff_gets_nothing(database, site):
    client = logged_in(site, make_user(site, is_staff=False, is_superuser=True))
    _refused(client, site, _paths(site), "get")


@pytest.mark.parametrize(("home", "site"), [("alpha", "beta"), ("alpha", ""), ("", "alpha")])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_superusers_cookie_is_not_valid_on_the_other_kind_of_host(database, home, site, method):
    client = logged_in(home, make_user(home, is_superuser=True))
    assert client.get("/admin/", headers={"host": host_of(home)}).status_code == 200
    # A user with the same primary key, name and rights is there too.
    make_user(site, is_superuser=True)
    _refused(client, site, _paths(site), method)


@pytest.mark.parametrize(("site", "other"), [("alpha", ""), ("", "alpha")])
def test_a_superuser_does_not_find_the_other_sites_pages_on_his_own_host(database, site, other):
    client = logged_in(site, make_user(site, is_superuser=True))
    foreign = [path for path in _paths(other) if path not in _paths(site)]
    assert len(foreign) > 10
    for path in foreign:
        answer = client.get(path, headers={"host": host_of(site)})
        assert answer.status_code == 404, path


@pytest.mark.parametrize("site", ["alpha", ""])
def test_every_page_answers_its_superuser(database, site):
    superuser = make_user(site, is_superuser=True)
    client = logged_in(site, superuser)
    _fill(site, superuser)
    shown = 0
    for path in _paths(site, _samples(site)):
        if path == "/admin/logout/":
            continue
        answer = client.get(path, headers={"host": host_of(site)})
        assert answer.status_code in (200, 302, 400, 403, 404, 405), path
        shown += answer.status_code == 200
    assert shown > 15


@pytest.mark.parametrize("site", ["alpha", ""])
def test_records_that_do_not_exist_are_no_error(database, site):
    client = logged_in(site, make_user(site, is_superuser=True))
    samples = (SAMPLE, "1", "no-such-thing", "%00", "9" * 30)
    paths = {path for sample in samples for path in _paths(site, {"": sample})} - {"/admin/logout/"}
    for path in sorted(paths):
        answer = client.get(path, headers={"host": host_of(site)})
        assert answer.status_code in (200, 302, 400, 403, 404, 405), path


def test_an_unknown_host_has_no_admin(database):
    client = logged_in("alpha", make_user("alpha", is_superuser=True))
    for path in _paths("alpha"):
        assert client.get(path, headers={"host": "gamma.localhost"}).status_code == 404, path


def test_a_suspended_tenants_admin_is_closed(database):
    client = logged_in("alpha", make_user("alpha", is_superuser=True))
    with within(""):
        Tenant.objects.filter(slug="alpha").update(status=Tenant.Status.SUSPENDED)
    try:
        assert client.get("/admin/", headers={"host": "alpha.localhost"}).status_code == 404
    finally:
        with within(""):
            Tenant.objects.filter(slug="alpha").update(status=Tenant.Status.ACTIVE)


def test_logging_in_lives_in_the_tenant_and_leads_to_the_overview(database):
    make_user("alpha", "ada", is_superuser=True)
    client = Client()
    form = {"username": "ada", "password": PASSWORD}
    for site, status in (("beta", 200), ("", 200), ("alpha", 302)):
        answer = client.post(OPEN, form, headers={"host": host_of(site)})
        assert answer.status_code == status, site
    assert answer.headers["Location"] == "/admin/"
    for site, sessions in (("beta", 0), ("", 0), ("alpha", 1)):
        with within(site):
            assert Session.objects.count() == sessions, site


def test_a_log_in_replaces_a_session_key_that_another_person_chose(database):
    make_user("alpha", "ada", is_superuser=True)
    client = Client()
    client.cookies["sessionid"] = "a" * 32
    client.post(OPEN, {"username": "ada", "password": PASSWORD}, headers={"host": "alpha.localhost"})
    assert client.cookies["sessionid"].value != "a" * 32


def _refused(client, site, paths, method):
    assert len(paths) > 15
    for path in paths:
        if path == OPEN:
            continue
        answer = getattr(client, method)(path, headers={"host": host_of(site)})
        assert answer.status_code in (302, 403, 404, 405), path
        if answer.status_code == 302:
            # To the door, or to where the door is: never to a record.
            assert answer.headers["Location"].split("?")[0] in (OPEN, "/admin/"), path


def _paths(site, samples=None):
    """Return an address for each pattern of a site's admin, with a sample for each argument.

    Args:
        samples: the argument by `app_model`, the name that begins a pattern's; by "" for all others.
    """
    samples = samples or {}
    found = []
    for pattern in get_resolver(URLCONFS[site]).url_patterns:
        if str(pattern.pattern) == "admin/":
            found = list(_walk(pattern, "/"))
    assert found
    return sorted({_fill_in(path, name, samples) for path, name in found})


def _walk(entry, prefix):
    path = prefix + str(entry.pattern)
    if isinstance(entry, URLPattern):
        yield path, entry.name or ""
        return
    for inner in entry.url_patterns:
        yield from _walk(inner, path)


def _fill_in(path, name, samples):
    key = next((label for label in samples if label and name.startswith(label)), "")
    sample = str(samples.get(key, SAMPLE))
    path = _ARGUMENT.sub(lambda match: sample, _GROUP.sub(lambda m: _choice(m.group(1)), path))
    return path.replace("^", "").replace("$", "").replace("\\Z", "")


def _choice(pattern):
    return "nowhere/" if pattern == ".*" else pattern.split("|")[0]


def _fill(site, superuser):
    with within(site):
        if site:
            post = make_forum().posts[0]
            ask("forum.post.hide", {"post_id": str(post.pk)})
        baker.make(
            LogEntry,
            user=superuser,
            content_type=ContentType.objects.get_for_model(User),
            object_id=str(superuser.pk),
            action_flag=CHANGE,
            change_message="[]",
        )
        Group.objects.get_or_create(name="Some")


def _samples(site):
    with within(site):
        found = {}
        for model in (tenant_site if site else operators_site)._registry:
            first = model._default_manager.first()
            if first:
                found[f"{model._meta.app_label}_{model._meta.model_name}"] = first.pk
        found[""] = Directive.objects.get().pk if site else "1"
        assert not site or Signal.objects.exists()
        return found


def test_an_empty_name_of_a_field_is_a_bad_request(database):
    client = logged_in("", make_user("", "rooty", is_superuser=True))
    here = {"host": "localhost"}
    for path in ("/admin/auth/user/1/change/", "/admin/django_q/ormq/5/delete/"):
        assert client.get(path, {"_to_field": ""}, headers=here).status_code == 400
        assert client.post(path, {"_to_field": ""}, headers=here).status_code == 400


@pytest.mark.parametrize("tenant", ["<script>", "9" * 30, "-1", "\x00", ""])
def test_a_domain_of_no_tenant_is_refused_at_its_field(database, tenant):
    client = logged_in("", make_user("", "rooty", is_superuser=True))
    answer = client.post("/admin/tenants/domain/add/", {"tenant": tenant}, headers={"host": "localhost"})
    assert answer.status_code == 200
    assert "tenant" in answer.context["adminform"].form.errors
    answer = client.get("/admin/tenants/domain/add/", {"tenant": tenant[:5]}, headers={"host": "localhost"})
    assert answer.status_code in (200, 400)
