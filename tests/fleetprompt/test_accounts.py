"""Users and groups on both sites: nobody can grant more than they hold, or lock themselves out."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from directives.authority.roles import create_permissions
from directives.models import Directive
from fleetprompt.sites import operators_site
from fleetprompt.tenants.context import in_tenant
from tests.accounts import PASSWORD, host_of, logged_in, make_user, within
from tests.support import manage, owner_cursor, wait_until

MANAGER = ("view_user", "add_user", "change_user", "delete_user", "view_group", "add_group", "change_group")
HIDE = "request_forum.post.hide"
LOCK = "request_forum.thread.lock"


@pytest.fixture
def manager(database):
    """A manager of the users of alpha who may hide posts, but not lock threads."""
    return make_user("alpha", "manager", may=[*MANAGER, HIDE])


def test_a_superuser_gives_everything_and_the_user_logs_in(database):
    boss = logged_in("alpha", make_user("alpha", "boss", is_superuser=True))
    added = _post(boss, "auth/user/add/", username="new", **_passwords())
    assert added.status_code == 302
    user = _user("new")
    fields = _fields(user, is_staff="on", groups=[_group("Auditor").pk], user_permissions=[_pk(LOCK)])
    assert _post(boss, f"auth/user/{user.pk}/change/", **fields).status_code == 302
    user = _user("new")
    with within("alpha"):
        assert user.is_staff
        assert user.has_perm(f"directives.{LOCK}")
        assert user.has_perm("signals.view_signal")
    login = Client().post(
        "/admin/login/", {"username": "new", "password": PASSWORD}, headers={"host": "alpha.localhost"}
    )
    assert login.status_code == 302


def test_a_manager_gives_what_he_has(manager):
    user = make_user("alpha", "mod")
    fields = _fields(user, user_permissions=[_pk(HIDE)])
    assert _post(logged_in("alpha", manager), f"auth/user/{user.pk}/change/", **fields).status_code == 302
    assert _rights("mod")[3] == {HIDE}


@pytest.mark.parametrize(
    "chosen",
    [
        lambda: {"user_permissions": [_pk(LOCK)]},
        lambda: {"user_permissions": [_pk(HIDE), _pk("view_session")]},
        lambda: {"groups": [_group("Moderator").pk]},
        lambda: {"groups": [_group("Auditor").pk]},
    ],
    ids=["permission", "hidden permission", "group", "auditors"],
)
@pytest.mark.parametrize("whom", ["mod", "manager"])
def test_a_manager_cannot_grant_more_than_held(manager, chosen, whom):
    make_user("alpha", "mod")
    user = _user(whom)
    before = _rights(whom)
    answer = _post(logged_in("alpha", manager), f"auth/user/{user.pk}/change/", **_fields(user, **chosen()))
    assert answer.status_code == 200
    assert "not one of the available choices" in answer.content.decode()
    assert _rights(whom) == before


@pytest.mark.parametrize("whom", ["mod", "manager"])
def test_a_manager_cannot_make_staff_or_superusers(manager, whom):
    make_user("alpha", "mod", is_staff=False)
    user = _user(whom)
    before = _rights(whom)
    fields = _fields(user, is_superuser="on", is_staff="on")
    assert _post(logged_in("alpha", manager), f"auth/user/{user.pk}/change/", **fields).status_code == 302
    assert _rights(whom)[:2] == before[:2]


def test_an_added_user_has_no_rights_whatever_the_form_says(manager):
    answer = _post(
        logged_in("alpha", manager),
        "auth/user/add/",
        username="new",
        is_superuser="on",
        is_staff="on",
        user_permissions=[_pk(HIDE)],
        **_passwords(),
    )
    assert answer.status_code == 302
    assert _rights("new") == (False, False, True, set(), set())


@pytest.mark.parametrize(
    "mightier",
    [
        {"is_superuser": True},
        {"is_superuser": True, "is_active": False},
        {"may": [LOCK]},
        {"groups": ["Moderator"]},
        {"may": [LOCK], "is_active": False},
    ],
    ids=["superuser", "inactive superuser", "by permission", "by group", "inactive"],
)
def test_a_manager_does_not_touch_who_has_more(manager, mightier):
    user = make_user("alpha", "mighty", **mightier)
    client = logged_in("alpha", manager)
    for page, fields in (
        ("change", _fields(user, username="taken")),
        ("password", {"password1": "another one 1", "password2": "another one 1"}),
        ("delete", {"post": "yes"}),
    ):
        assert _post(client, f"auth/user/{user.pk}/{page}/", **fields).status_code == 403, page
    _post(client, "auth/user/", action="delete_selected", _selected_action=[user.pk], post="yes")
    with within("alpha"):
        kept = User.objects.get(pk=user.pk)
    assert kept.username == "mighty"
    assert kept.check_password(PASSWORD)


class TestContentTypes:
    """Their ids differ between schemas, while threads of other schemas look them up as well."""

    @pytest.fixture
    def shifted(self, database):
        with within("alpha"):
            _shift_content_types(100)
        yield
        with within("alpha"):
            _shift_content_types(-100)

    def test_a_manager_does_not_touch_who_has_more(self, shifted, manager):
        user = make_user("alpha", "mighty", may=[LOCK])
        client = logged_in("alpha", manager)
        fields = {"password1": "another one 1", "password2": "another one 1"}
        with _content_types_looked_up_elsewhere() as times:
            answer = _post(client, f"auth/user/{user.pk}/password/", **fields)
        assert times
        assert answer.status_code == 403
        with within("alpha"):
            assert User.objects.get(pk=user.pk).check_password(PASSWORD)

    def test_the_admin_log_names_the_right_model(self, shifted):
        client = logged_in("alpha", make_user("alpha", "boss", is_superuser=True))
        with _content_types_looked_up_elsewhere() as times:
            assert _post(client, "auth/group/add/", name="Some").status_code == 302
        assert times
        with within("alpha"):
            assert LogEntry.objects.get().content_type.model_class() is Group

    def test_directives_permissions_are_made_for_their_own_type(self, shifted):
        with within("alpha"):
            with _content_types_looked_up_elsewhere() as times:
                Permission.objects.filter(codename=HIDE).delete()
                create_permissions(apps.get_app_config("directives"))
            assert times
            assert Permission.objects.get(codename=HIDE).content_type.model == "directive"


def test_a_manager_sets_the_password_of_who_has_less_and_deactivates_him(manager):
    user = make_user("alpha", "mod", may=[HIDE])
    client = logged_in("alpha", manager)
    fields = {"password1": "another one 1", "password2": "another one 1"}
    assert _post(client, f"auth/user/{user.pk}/password/", **fields).status_code == 302
    with within("alpha"):
        assert User.objects.get(pk=user.pk).check_password("another one 1")
    fields = {"username": "mod", "user_permissions": [_pk(HIDE)]}
    assert _post(client, f"auth/user/{user.pk}/change/", **fields).status_code == 302
    assert _rights("mod") == (False, True, False, {HIDE}, set())


@pytest.mark.parametrize("site", ["alpha", ""])
def test_users_cannot_be_deleted_and_the_page_says_what_to_do_instead(database, site):
    client = logged_in(site, make_user(site, "boss", is_superuser=True))
    user = make_user(site, "gone")
    page = client.get(f"/admin/auth/user/{user.pk}/change/", headers={"host": host_of(site)})
    assert "Untick instead of deleting" in page.content.decode()
    assert f"/admin/auth/user/{user.pk}/delete/" not in page.content.decode()
    listed = client.get("/admin/auth/user/", headers={"host": host_of(site)}).content.decode()
    assert "delete_selected" not in listed
    assert _post(client, f"auth/user/{user.pk}/delete/", site=site, post="yes").status_code == 403
    _post(client, "auth/user/", site=site, action="delete_selected", _selected_action=[user.pk], post="yes")
    with within(site):
        assert User.objects.filter(pk=user.pk, is_active=True).exists()


def test_groups_hold_no_more_than_their_manager(manager):
    client = logged_in("alpha", manager)
    made = _post(client, "auth/group/add/", name="Hiders", permissions=[_pk(HIDE)])
    assert made.status_code == 302
    group = _group("Hiders")
    answer = _post(
        client, f"auth/group/{group.pk}/change/", name="Hiders", permissions=[_pk(HIDE), _pk(LOCK)]
    )
    assert "not one of the available choices" in answer.content.decode()
    with within("alpha"):
        assert [permission.codename for permission in group.permissions.all()] == [HIDE]
    for ready_made in ("Moderator", "Auditor"):
        path = f"auth/group/{_group(ready_made).pk}/change/"
        assert _post(client, path, name="Mine").status_code == 403


@pytest.mark.parametrize("site", ["alpha", ""])
def test_users_cannot_lock_themselves_out(database, site):
    boss = make_user(site, "boss", is_superuser=True)
    client = logged_in(site, boss)
    fields = {"username": "boss", "first_name": "Bo"}
    assert _post(client, f"auth/user/{boss.pk}/change/", site=site, **fields).status_code == 302
    assert _post(client, f"auth/user/{boss.pk}/delete/", site=site, post="yes").status_code == 403
    _post(client, "auth/user/", site=site, action="delete_selected", _selected_action=[boss.pk], post="yes")
    with within(site):
        kept = User.objects.get()
    assert (kept.first_name, kept.is_active, kept.is_staff, kept.is_superuser) == ("Bo", True, True, True)


POWERS = ("is_active", "is_staff", "is_superuser")


def _without(user, power):
    """Return what the user's page submits to take one of his flags."""
    flags = {flag: "on" for flag in POWERS if flag != power}
    return {"username": user.username, **flags}


def _able(site):
    with within(site):
        able = User.objects.filter(**dict.fromkeys(POWERS, True))
        return sorted(user.username for user in able if user.has_usable_password())


@contextmanager
def _held_at_the_admin_log(site):
    """Keep requests from ending, so that they meet: each writes to the admin's log last."""
    with within(site), transaction.atomic():
        connection.cursor().execute("LOCK TABLE django_admin_log IN EXCLUSIVE MODE")
        yield


def _waiting():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


@pytest.mark.parametrize("site", ["alpha", ""], ids=["tenant", "operators"])
@pytest.mark.parametrize("power", [*POWERS, "password"])
def test_the_last_two_superusers_cannot_both_take_the_others_power(database, site, power):
    ann, bob = (make_user(site, name, is_superuser=True) for name in ("ann", "bob"))
    clients = {ann: logged_in(site, ann), bob: logged_in(site, bob)}

    def take(mine, other):
        try:
            if power == "password":
                path, fields = "password", {"usable_password": "false", "unset-password": "1"}
            else:
                path, fields = "change", _without(other, power)
            return _post(clients[mine], f"auth/user/{other.pk}/{path}/", site=site, **fields)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=2) as threads:
        with _held_at_the_admin_log(site):
            answers = [threads.submit(take, ann, bob), threads.submit(take, bob, ann)]
            wait_until(lambda: _waiting() == 2, "both are about to end")
        statuses = sorted(answer.result().status_code for answer in answers)
    assert statuses == [200, 302]
    [refused] = [answer.result() for answer in answers if answer.result().status_code == 200]
    assert "is the last superuser here" in refused.content.decode()
    assert len(_able(site)) == 1


@pytest.mark.parametrize("power", POWERS)
def test_one_of_several_superusers_loses_his_power_as_before(database, power):
    ann, bob = (make_user("alpha", name, is_superuser=True) for name in ("ann", "bob"))
    client = logged_in("alpha", ann)
    assert _post(client, f"auth/user/{bob.pk}/change/", **_without(bob, power)).status_code == 302
    assert _able("alpha") == ["ann"]


@pytest.mark.parametrize(
    "others", [{}, {"is_active": False}, {"is_staff": False}, {"is_superuser": False}], ids=str
)
def test_the_last_superuser_keeps_a_password(database, others):
    boss = make_user("alpha", "boss", is_superuser=True)
    if others:
        make_user("alpha", "other", **{"is_superuser": True, **others})
    client = logged_in("alpha", boss)
    fields = {"usable_password": "false", "unset-password": "1"}
    answer = _post(client, f"auth/user/{boss.pk}/password/", **fields)
    assert answer.status_code == 200
    assert "is the last superuser" in answer.content.decode()
    assert _able("alpha") == ["boss"]


@pytest.fixture
def member(database):
    """A manager of alpha who has everything by a group, and one permission besides."""
    with in_tenant("alpha"):
        group = Group.objects.create(name="Managers")
        group.permissions.set(Permission.objects.filter(codename__in=[*MANAGER, "delete_group", HIDE]))
        Group.objects.create(name="Empty")
    yield make_user("alpha", "member", groups=["Managers"], may=[LOCK])
    # Groups are not emptied after each test.
    with within("alpha"):
        Group.objects.filter(name__in=["Managers", "Renamed", "Empty"]).delete()


def test_a_managers_own_page_takes_nothing_from_him(member):
    client = logged_in("alpha", member)
    before = _rights("member")
    path = f"auth/user/{member.pk}/change/"
    page = client.get(f"/admin/{path}", headers={"host": "alpha.localhost"}).content.decode()
    assert page.count("You cannot change your own groups and permissions") == 2
    boxes = re.findall(r"<input[^>]*name=\"(?:groups|user_permissions)\"[^>]*>", page)
    assert len(boxes) > 2
    assert all("disabled" in box for box in boxes)
    # Boxes that cannot be ticked submit nothing.
    assert _post(client, path, **_fields(member, first_name="Mo")).status_code == 302
    assert _rights("member") == before
    with within("alpha"):
        assert User.objects.get(username="member").first_name == "Mo"


@pytest.mark.parametrize(
    "chosen",
    [
        lambda: {"groups": [_group("Managers").pk, _group("Empty").pk]},
        lambda: {"groups": [_group("Empty").pk], "user_permissions": [_pk(LOCK)]},
        lambda: {"groups": [_group("Managers").pk], "user_permissions": [_pk(LOCK), _pk(HIDE)]},
        lambda: {"groups": [_group("Managers").pk], "user_permissions": [_pk(HIDE)]},
    ],
    ids=["joins", "leaves", "gives", "exchanges"],
)
def test_users_cannot_change_their_own_groups_and_permissions(member, chosen):
    before = _rights("member")
    fields = _fields(member, first_name="Mo", **chosen())
    answer = _post(logged_in("alpha", member), f"auth/user/{member.pk}/change/", **fields)
    assert answer.status_code == 200
    assert "You cannot change your own groups and permissions" in answer.content.decode()
    assert "errorlist" in answer.content.decode() or answer.context["adminform"].form.errors
    assert _rights("member") == before
    with within("alpha"):
        assert User.objects.get(username="member").first_name == ""


def test_what_a_page_does_not_offer_is_kept_on_ones_own(member):
    with within("alpha"):
        member.user_permissions.add(Permission.objects.get(codename="view_session"))
    before = _rights("member")
    answer = _post(logged_in("alpha", member), f"auth/user/{member.pk}/change/", **_fields(member))
    assert answer.status_code == 302
    assert _rights("member") == before


def test_users_cannot_change_or_delete_a_group_that_gives_them_rights(member):
    client = logged_in("alpha", member)
    group = _group("Managers")
    kept = set(_permissions_of(group))
    for chosen in ([_pk(HIDE)], [*map(_pk, sorted(kept)), _pk(LOCK)]):
        answer = _post(client, f"auth/group/{group.pk}/change/", name="Managers", permissions=chosen)
        assert answer.status_code == 200
        assert "You cannot change your own groups and permissions" in answer.content.decode()
    assert _post(client, f"auth/group/{group.pk}/change/", name="Renamed").status_code == 302
    assert _post(client, f"auth/group/{group.pk}/delete/", post="yes").status_code == 403
    _post(client, "auth/group/", action="delete_selected", _selected_action=[group.pk], post="yes")
    assert set(_permissions_of(_group("Renamed"))) == kept
    empty = _group("Empty")
    assert _post(client, f"auth/group/{empty.pk}/delete/", post="yes").status_code == 302


def test_a_superuser_changes_a_group_that_he_is_in(member):
    boss = make_user("alpha", "boss", is_superuser=True, groups=["Managers"])
    group = _group("Managers")
    path = f"auth/group/{group.pk}/change/"
    assert (
        _post(logged_in("alpha", boss), path, name="Managers", permissions=[_pk(LOCK)]).status_code == 302
    )
    assert _permissions_of(group) == [LOCK]


def _permissions_of(group):
    with within("alpha"):
        return list(group.permissions.values_list("codename", flat=True))


@pytest.mark.parametrize(
    ("site", "offered", "hidden"),
    [
        (
            "alpha",
            {HIDE, "view_directive", "view_logentry", "change_user", "export_signal"},
            {"view_tenant"},
        ),
        ("", {"view_tenant", "change_domain", "view_ormq", "view_failure", "add_user"}, {"view_directive"}),
    ],
    ids=["tenant", "operators"],
)
def test_the_pickers_show_what_means_something_on_the_site(database, site, offered, hidden):
    boss = make_user(site, "boss", is_superuser=True)
    user = make_user(site, "una")
    page = logged_in(site, boss).get(f"/admin/auth/user/{user.pk}/change/", headers={"host": host_of(site)})
    choices = page.context["adminform"].form.fields["user_permissions"].queryset
    codenames = {permission.codename for permission in choices}
    assert offered <= codenames
    assert not codenames & {
        "view_session",
        "view_contenttype",
        "add_permission",
        "change_logentry",
        *hidden,
    }
    assert not codenames & {"add_directive", "delete_signal", "change_ormq", "add_schedule"}


def test_a_user_changes_his_own_password(database):
    user = make_user("alpha", "una")
    client = logged_in("alpha", user)
    fields = {
        "old_password": PASSWORD,
        "new_password1": "a new one that is long",
        "new_password2": "a new one that is long",
    }
    assert _post(client, "password_change/", **fields).status_code == 302
    with within("alpha"):
        assert User.objects.get(pk=user.pk).check_password("a new one that is long")
    assert client.get("/admin/", headers={"host": "alpha.localhost"}).status_code == 200


def test_the_admin_log_is_the_tenants_and_read_only(database):
    boss = make_user("alpha", "boss", is_superuser=True)
    client = logged_in("alpha", boss)
    _post(client, "auth/group/add/", name="<b>Some</b>")
    page = client.get("/admin/admin/logentry/", headers={"host": "alpha.localhost"}).content.decode()
    assert "&lt;b&gt;Some&lt;/b&gt;" in page
    assert "<b>Some</b>" not in page
    for path in ("add/", "1/change/", "1/delete/"):
        assert _post(client, f"admin/logentry/{path}").status_code in (302, 403)
    other = logged_in("beta", make_user("beta", "boss", is_superuser=True))
    assert (
        "Some"
        not in other.get("/admin/admin/logentry/", headers={"host": "beta.localhost"}).content.decode()
    )


class TestCreateSuperuser:
    """`manage.py tenant createsuperuser SLUG`."""

    ARGUMENTS = ("tenant", "createsuperuser", "alpha", "--no-input", "--username", "ada")

    def test_makes_a_superuser_of_that_tenant_only(self, database):
        done = manage(*self.ARGUMENTS, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        assert done.returncode == 0, done.stderr
        assert "http://alpha.localhost:8000/admin/" in done.stdout
        with in_tenant("alpha"):
            ada = User.objects.get()
            assert (ada.is_superuser, ada.is_staff, ada.check_password(PASSWORD)) == (True, True, True)
        with in_tenant("beta"):
            assert not User.objects.exists()
        assert not User.objects.exists()

    def test_refuses_a_taken_name(self, database):
        make_user("alpha", "ada")
        with within(""):
            done = manage(*self.ARGUMENTS, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        assert done.returncode == 1
        assert "already taken" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("nowhere", "--no-input", "--username", "ada"), "there is no tenant 'nowhere'"),
            (("alpha", "--no-input"), "--username"),
            (("alpha", "--no-input", "--username", "a b"), "valid username"),
            (("alpha", "--no-input", "--username", "ada", "--email", "x"), "valid email"),
        ],
    )
    def test_says_what_is_wrong(self, database, monkeypatch, arguments, said):
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
        with pytest.raises(CommandError, match=said):
            call_command("tenant", "createsuperuser", *arguments)
        assert not User.objects.exists()

    @pytest.mark.parametrize(
        ("password", "said"),
        [
            ("abc", "at least 12 characters"),
            ("123456789012345", "entirely numeric"),
            ("password1234", "too common"),
            ("ada.lovelace.ada", "too similar to the username"),
            (" " * 12, "blank"),
        ],
    )
    @pytest.mark.parametrize("where", [("tenant", "createsuperuser", "alpha"), ("createsuperuser",)])
    def test_takes_no_password_without_asking_that_it_would_not_take_when_asked(
        self, database, monkeypatch, where, password, said
    ):
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
        with pytest.raises(CommandError, match=f"^DJANGO_SUPERUSER_PASSWORD: .*{said}"):
            call_command(*where, "--no-input", "--username", "ada.lovelace", "--email", "a@example.org")
        assert not User.objects.exists()
        with in_tenant("alpha"):
            assert not User.objects.exists()

    def test_makes_no_user_without_a_password(self, database, monkeypatch):
        monkeypatch.delenv("DJANGO_SUPERUSER_PASSWORD", raising=False)
        with pytest.raises(CommandError, match="DJANGO_SUPERUSER_PASSWORD"):
            call_command(*self.ARGUMENTS)
        done = manage("tenant", "createsuperuser", "alpha", "--username", "ada")
        assert done.returncode == 1
        assert "nobody can be asked" in done.stderr
        with in_tenant("alpha"):
            assert not User.objects.exists()


@contextmanager
def _content_types_looked_up_elsewhere():
    """Before each statement of a block, have another thread look up all types of the public schema."""
    times = []

    def look_up():
        for model in (*operators_site._registry, Directive):
            ContentType.objects.get_for_model(model)
        times.append(connection.schema_name)

    def look_up_and_execute(execute, *arguments):
        elsewhere.submit(look_up).result()
        return execute(*arguments)

    with ThreadPoolExecutor(max_workers=1) as elsewhere:
        with connection.execute_wrapper(look_up_and_execute):
            yield times
        elsewhere.submit(lambda: connection.close()).result()
    assert set(times) <= {"public"}


def _shift_content_types(by):
    """Give the active tenant's content types other ids, past the foreign keys."""
    with owner_cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE django_content_type SET id = id + %s", [by])
        cursor.execute("UPDATE auth_permission SET content_type_id = content_type_id + %s", [by])
    ContentType.objects.clear_cache()


def _post(client, path, *, site="alpha", **fields):
    return client.post(f"/admin/{path}", fields, headers={"host": host_of(site)})


def _fields(user, **fields):
    return {"username": user.username, "is_active": "on", **fields}


def _passwords():
    return {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}


def _user(username):
    with within("alpha"):
        return User.objects.get(username=username)


def _group(name):
    with within("alpha"):
        return Group.objects.get(name=name)


def _pk(codename):
    with within("alpha"):
        return Permission.objects.get(codename=codename).pk


def _rights(username):
    with within("alpha"):
        user = User.objects.get(username=username)
        permissions = set(user.user_permissions.values_list("codename", flat=True))
        groups = set(user.groups.values_list("name", flat=True))
        return user.is_superuser, user.is_staff, user.is_active, permissions, groups
