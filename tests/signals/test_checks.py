"""Doctor checks that protect signals: triggers, tables and the privileges of the application's role."""

import re

import pytest
from django.db import connection

from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.storage import checks
from signals.storage.triggers import expected
from tests.checks import altered, found
from tests.support import TESTER, owner_cursor

TABLE = "org_alpha.signals_signal"
TRIGGER = (
    "CREATE TRIGGER signals_append_only BEFORE UPDATE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION org_alpha.signals_refuse_all_but_erasing()"
)


def test_every_tenant_has_the_triggers_of_the_migrations(database):
    assert {"signals_append_only", "signals_never_truncated"} <= {trigger.name for trigger in expected()}
    assert all(trigger.body for trigger in expected())
    assert found(checks.unchanging) == {}


@pytest.mark.parametrize(
    "name",
    ["signals_append_only", "signals_never_truncated", "signals_only_pruned", "pruning_never_truncated"],
)
def test_the_hint_about_a_trigger_that_is_gone_makes_it_again(database, name):
    table = "signals_pruning" if name.startswith("pruning") else "signals_signal"
    with altered(f"DROP TRIGGER {name} ON org_alpha.{table}", "SET search_path = org_alpha"):
        hint = found(checks.unchanging)["signals.E001"].hint
        statement = re.search(r"CREATE OR REPLACE TRIGGER .*?;", hint)[0]
        with owner_cursor() as cursor:
            cursor.execute(f"SET search_path = org_alpha; {statement}")
    assert name in statement
    assert found(checks.unchanging) == {}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("DROP TRIGGER signals_append_only ON {table}", TRIGGER, "signals_append_only is missing"),
        (
            "ALTER TABLE {table} DISABLE TRIGGER signals_append_only",
            "ALTER TABLE {table} ENABLE TRIGGER signals_append_only",
            "signals_append_only is disabled",
        ),
        (
            "ALTER TABLE {table} ENABLE REPLICA TRIGGER signals_never_truncated",
            "ALTER TABLE {table} ENABLE TRIGGER signals_never_truncated",
            "signals_never_truncated is disabled",
        ),
        (
            TRIGGER.replace("CREATE", "CREATE OR REPLACE").replace("UPDATE", "DELETE"),
            TRIGGER.replace("CREATE", "CREATE OR REPLACE"),
            "signals_append_only differs",
        ),
    ],
)
def test_a_trigger_that_is_gone_or_sleeps(database, before, after, said):
    with altered(before.format(table=TABLE), after.format(table=TABLE)):
        finding = found(checks.unchanging)["signals.E001"]
    assert finding.obj == ("alpha",)
    assert said in finding.msg
    assert found(checks.unchanging) == {}


@pytest.mark.parametrize("function", ["signals_refuse_change()", "signals_refuse_all_but_erasing()"])
def test_a_trigger_whose_function_refuses_nothing(database, function):
    with owner_cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef(%s::regprocedure)", [f"org_alpha.{function}"])
        [original] = cursor.fetchone()
    harmless = (
        f"CREATE OR REPLACE FUNCTION org_alpha.{function} RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RETURN NEW; END $$"
    )
    with in_tenant("alpha"):
        bus.emit("forum.post.hidden", dedupe_key="key", actor=TESTER)
    with altered(harmless, original):
        assert (
            "calls another function than the migrations make"
            in found(checks.unchanging)["signals.E001"].msg
        )
    assert found(checks.unchanging) == {}


def login():
    """Return the role that the application connects as."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        return cursor.fetchone()[0]


def found_as(role):
    """Return the findings about rights of a session with another role."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        try:
            return found(checks.rights)
        finally:
            cursor.execute("RESET ROLE")


class TestRights:
    """Roles with more and less power over signals."""

    @pytest.fixture
    def role(self, database):
        """A role that may read everything; the session has it until the end of the test."""
        grants = [
            f"GRANT {what} {schema} TO doctors_patient"
            for schema in ("public", "org_alpha", "org_beta")
            for what in ("USAGE ON SCHEMA", "SELECT ON ALL TABLES IN SCHEMA")
        ]
        with altered(
            f"CREATE ROLE doctors_patient; GRANT doctors_patient TO {login()}",
            "DROP OWNED BY doctors_patient; DROP ROLE doctors_patient",
        ):
            with owner_cursor() as cursor:
                for grant in grants:
                    cursor.execute(grant)
            yield lambda: found_as("doctors_patient")

    def test_one_that_only_reads_and_inserts_is_fine(self, role):
        assert role() == {}

    def test_one_that_may_erase_is_fine(self, role):
        with owner_cursor() as cursor:
            cursor.execute(f"GRANT UPDATE (personal) ON {TABLE} TO doctors_patient")
        assert role() == {}

    @pytest.mark.parametrize("right", ["UPDATE", "DELETE", "TRUNCATE", "UPDATE (payload, personal)"])
    def test_one_that_may_change_rows(self, role, right):
        with owner_cursor() as cursor:
            cursor.execute(f"GRANT {right} ON {TABLE} TO doctors_patient")
        finding = role()["signals.W001"]
        assert finding.obj == ("alpha",)
        assert "doctors_patient may change append-only tables" in finding.msg

    def test_one_that_owns_the_table(self, role):
        with owner_cursor() as cursor:
            cursor.execute("SELECT relowner::regrole::text FROM pg_class WHERE oid = %s::regclass", [TABLE])
            [owner] = cursor.fetchone()
        with altered(
            f"ALTER TABLE {TABLE} OWNER TO doctors_patient",
            f"ALTER TABLE {TABLE} OWNER TO {owner}",
        ):
            assert [finding.obj for finding in role().values()] == [("alpha",)]

    def test_a_superuser(self, database):
        with altered(
            f"CREATE ROLE doctors_boss SUPERUSER; GRANT doctors_boss TO {login()}", "DROP ROLE doctors_boss"
        ):
            [finding] = found_as("doctors_boss").values()
        assert "doctors_boss is a superuser" in finding.msg
