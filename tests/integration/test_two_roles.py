"""Two database roles: what the application's role is refused, and that it can do its work."""

import pytest
from django.core.management import call_command
from django.db import connection

from directives.models import Directive
from fleetprompt.postgres import grants, owner
from fleetprompt.postgres.owner import as_owner
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.template import TEMPLATE
from signals import bus
from signals.models import Signal
from signals.personal import Personal
from tests.attacks import ATTACKS, OTHERWISE, REFUSED
from tests.documented import attack, psql
from tests.support import (
    TESTER,
    ask,
    database_url,
    make_forum,
    manage,
    needs_two_roles,
    owner_cursor,
    qcluster,
    wait_until,
)


@pytest.mark.parametrize(
    ("where", "tenant"),
    [pytest.param("database", "alpha", marks=needs_two_roles), ("documented", "north")],
    ids=["the default", "as documented"],
)
def test_whatever_sql_the_application_runs_signals_stay(request, where, tenant):
    request.getfixturevalue(where)
    with in_tenant(tenant):
        payload = {"x": 1, "reason": Personal("Spam")}
        bus.emit("forum.post.hidden", payload, dedupe_key="attacked", actor=TESTER)
    names = {
        "owner": owner.login()["USER"],
        "database": connection.settings_dict["NAME"],
        "schema": f"org_{tenant}",
    }
    before = _guarded(tenant)
    got_through = {}
    for statement in (text.format(**names) for text in ATTACKS):
        state = attack(database_url(), f"org_{tenant}", statement)
        if state not in {REFUSED, *OTHERWISE.get(statement, ())}:
            got_through[statement] = state
    assert got_through == {}
    assert _guarded(tenant) == before
    assert grants.weaknesses() == []
    with in_tenant(tenant):
        assert Signal.objects.filter(dedupe_key="attacked").erase() == 1


def test_what_the_owner_could_do_is_told(documented):
    with as_owner():
        told = dict(grants.weaknesses())
    role = f"the database role {documented.owner['USER']}"
    assert f"{role} may create schemas" in told
    owned = (TEMPLATE, "org_north", "org_south")
    assert told[f"{role} owns append-only tables, or may become their owner"] == owned


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ("GRANT UPDATE ON org_north.signals_signal TO {role}", "may change append-only tables"),
        ("GRANT UPDATE (name) ON org_north.signals_signal TO {role}", "may change append-only tables"),
        ("GRANT UPDATE (root) ON org_north.signals_seal TO PUBLIC", "may change append-only tables"),
        ("GRANT REFERENCES (personal) ON org_north.signals_signal TO {role}", "may change append-only "),
        ("GRANT TRUNCATE ON org_north.signals_signal TO PUBLIC", "may change append-only tables"),
        ("GRANT CREATE ON SCHEMA org_north TO {role}", "may create in the schemas of "),
        ("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC", "may create temporary tables"),
    ],
)
def test_a_right_too_many_is_told_and_taken_back_by_the_next_migration(documented, right, told):
    names = {"role": documented.application["USER"], "database": documented.application["NAME"]}
    with owner_cursor() as cursor:
        cursor.execute(right.format(**names))
    [weakness] = grants.weaknesses()
    assert told in weakness.text
    assert weakness.schemas == (("org_north",) if "org_north" in right else ())
    call_command("migrate_schemas", verbosity=0)
    assert grants.weaknesses() == []


def test_what_belongs_to_another_role_is_left_alone_by_a_migration(documented):
    reconnect = f"\\connect {documented.application['NAME']}\n"
    psql(documented.server, f"{reconnect}CREATE TABLE org_north.foreign_table (id int);")
    try:
        call_command("migrate_schemas", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("SELECT relacl FROM pg_class WHERE oid = 'org_north.foreign_table'::regclass")
            assert cursor.fetchone() == (None,)
    finally:
        psql(documented.server, f"{reconnect}DROP TABLE org_north.foreign_table;")


def test_the_application_does_its_work_and_sees_who_else_is_connected(documented, tmp_path):
    with in_tenant("north"):
        forum = make_forum()
        payload = {"thread_id": str(forum.thread.pk)}
        directive = ask("forum.thread.lock", payload).directive
        with qcluster(tmp_path / "log", DATABASE_OWNER_URL=""):
            wait_until(lambda: Directive.objects.get(pk=directive.pk).status == "succeeded", "it is locked")
        names = Signal.objects.filter(subject_id=str(forum.thread.pk)).values_list("name", flat=True)
        assert list(names)[-3:] == ["directive.started", "forum.thread.locked", "directive.succeeded"]
    with owner_cursor(), connection.cursor() as cursor:
        cursor.execute("SELECT usename, query FROM pg_stat_activity WHERE datname = current_database()")
        seen = dict(cursor.fetchall())
    assert "insufficient privilege" not in seen[documented.owner["USER"]]


@pytest.mark.long
def test_without_the_owners_login_what_migrates_is_refused_in_one_sentence(documented):
    for command in (
        ("tenant", "create", "west", "--name", "West", "--domain", "west.localhost"),
        ("tenant", "delete", "north", "--yes"),
        ("migrate_schemas",),
    ):
        done = manage(*command, DATABASE_OWNER_URL="")
        assert done.returncode == 1
        assert "DATABASE_OWNER_URL: expected the login of the database's owner" in done.stderr
        assert "Traceback" not in done.stderr
    assert set(Tenant.objects.values_list("slug", "status")) == {("north", "active"), ("south", "active")}


@pytest.mark.long
def test_a_role_without_its_rights_is_told_how_to_get_them(documented):
    with owner_cursor() as cursor:
        cursor.execute(f"REVOKE ALL ON public.tenants_tenant FROM {documented.application['USER']}")
    done = manage("tenant", "list")
    assert done.returncode == 1
    assert "permission denied for table tenants_tenant; `manage.py migrate_schemas` gives" in done.stderr
    assert "Traceback" not in done.stderr
    assert manage("migrate_schemas", "--verbosity", "0").returncode == 0
    assert manage("tenant", "list").returncode == 0


def _guarded(tenant: str) -> list[object]:
    with owner_cursor() as cursor:
        cursor.execute(
            f"SELECT name, payload::text, personal::text FROM org_{tenant}.signals_signal"
            " WHERE dedupe_key = 'attacked'"
        )
        rows: list[object] = cursor.fetchall()
        cursor.execute(
            "SELECT tgname, tgenabled, pg_get_functiondef(tgfoid) FROM pg_trigger"
            f" WHERE tgrelid = 'org_{tenant}.signals_signal'::regclass ORDER BY 1"
        )
        return rows + cursor.fetchall()
