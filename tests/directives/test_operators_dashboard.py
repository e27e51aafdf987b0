"""The operators' overview: figures of every tenant, queue and clusters, also when one of them is broken."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directives.admin import dashboard
from directives.models import Directive
from directives.monitoring import stalled
from directives.queueing import clusters
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Domain, Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from tests.accounts import logged_in, make_user, within
from tests.recipes import directives, tenants
from tests.support import (
    ask_animal,
    change,
    claim,
    lose_wake_ups,
    messages,
    needs_two_roles,
    owner_cursor,
    qcluster,
    run,
    wait_until,
)

HOST = {"host": "localhost"}
LATE = timedelta(minutes=3)


@pytest.fixture
def client(database):
    cache.clear()
    yield logged_in("", make_user("", is_superuser=True))
    with within(""):
        cache.clear()


def test_each_tenant_has_its_figures(client):
    with within("alpha"):
        ask_animal("work")
        run(ask_animal("refuse", animal="owl"))
    alpha, beta = _rows(client)
    assert (alpha["tenant"].slug, beta["tenant"].slug) == ("alpha", "beta")
    assert (alpha["figures"].requested, alpha["figures"].failed) == (1, 1)
    assert (beta["figures"].requested, beta["figures"].failed) == (0, 0)
    assert alpha["missing"] == beta["missing"] == []


def test_a_stuck_tenant_is_an_alarm_and_a_suspended_one_is_not(client):
    with within("alpha"):
        change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
    with within("beta"):
        change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
    with within(""):
        Tenant.objects.filter(slug="beta").update(status=Tenant.Status.SUSPENDED)
    try:
        page = _get(client)
    finally:
        with within(""):
            Tenant.objects.filter(slug="beta").update(status=Tenant.Status.ACTIVE)
    assert 'role="alert"' in page
    assert page.count("Nothing picked up") == 1
    assert "Suspended" in page


def test_the_outcomes_of_the_last_24_hours_by_tenant_and_together(client):
    now = timezone.now()
    with within("alpha"):
        for status, age in (("succeeded", 0), ("succeeded", 3), ("failed", 3), ("failed", 30)):
            change(ask_animal("work"), status=status, completed_at=now - timedelta(hours=age))
    with within("beta"):
        for status, age in (("succeeded", 3), ("canceled", 3)):
            change(ask_animal("work"), status=status, completed_at=now - timedelta(hours=age))
    context = client.get("/admin/", headers=HOST).context
    alpha, beta = context["rows"]
    assert alpha["sums"] == {"succeeded": 2, "failed": 1, "canceled": 0}
    assert beta["sums"] == {"succeeded": 1, "failed": 0, "canceled": 1}
    assert context["chart"]["sums"] == {"succeeded": 3, "failed": 1, "canceled": 1}
    assert context["chart"]["hours"][-4].counts == {"succeeded": 2, "failed": 1, "canceled": 1}
    assert context["chart"]["highest"] == 4


class TestFailures:
    """The latest of all the tenants of the page, with what leads to them on their own hosts."""

    def test_the_newest_of_all_tenants_come_first(self, client):
        failed = {
            (slug, minutes): self._fail(slug, minutes)
            for slug, minutes in (
                ("alpha", 1),
                ("beta", 2),
                ("alpha", 3),
                *(("beta", n) for n in range(4, 14)),
            )
        }
        answer = client.get("/admin/", headers={"host": "localhost:8123"})
        shown = answer.context["failures"]
        assert [failure["directive"].pk for failure in shown] == list(failed.values())[:10]
        assert [failure["tenant"].slug for failure in shown[:4]] == ["alpha", "beta", "alpha", "beta"]
        page = answer.content.decode()
        path = f"/admin/directives/directive/{failed['beta', 2]}/change/"
        assert f'href="//beta.localhost:8123{path}"' in page
        assert "in Beta · " in page
        assert "&lt;script&gt;no beta 2" in page
        assert "<script>no" not in page

    def test_without_a_port(self, client):
        key = self._fail("alpha", 1)
        assert f'href="//alpha.localhost/admin/directives/directive/{key}/change/"' in _get(client)

    def test_no_address_where_nobody_answers(self, client):
        self._fail("beta", 1)
        with within(""):
            Tenant.objects.filter(slug="beta").update(status=Tenant.Status.SUSPENDED)
        try:
            [failure] = client.get("/admin/", headers=HOST).context["failures"]
        finally:
            with within(""):
                Tenant.objects.filter(slug="beta").update(status=Tenant.Status.ACTIVE)
        assert (failure["tenant"].slug, failure["url"]) == ("beta", "")

    def test_none_yet(self, client):
        page = _get(client)
        assert "Nothing has failed." in page
        assert "Nothing ended in the last 24 hours." in page

    def _fail(self, slug, minutes):
        with within(slug):
            run(directive := ask_animal("refuse", animal=f"owl {minutes}"))
            change(
                directive,
                completed_at=timezone.now() - timedelta(minutes=minutes),
                last_error=f"<script>no {slug} {minutes}",
            )
            return directive.pk


class TestAlarm:
    """It is about all active tenants, whichever of them the page shows."""

    @pytest.fixture
    def stuck(self, client, monkeypatch):
        monkeypatch.setattr(dashboard, "TENANTS_PER_PAGE", 1)
        with within("beta"):
            change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
        return client

    def test_a_tenant_of_another_page(self, stuck):
        answer = stuck.get("/admin/", headers=HOST)
        assert [row["tenant"].slug for row in answer.context["rows"]] == ["alpha"]
        assert answer.context["stuck"] == ["beta"]
        assert "Directives are due in beta," in answer.content.decode()
        assert stuck.get("/admin/?page=2", headers=HOST).context["stuck"] == ["beta"]

    def test_it_is_looked_for_twice_a_minute(self, stuck):
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == ["beta"]
        with within("beta"):
            run(Directive.objects.get())
        # What the page shows is of now, the others are remembered for a while.
        assert stuck.get("/admin/?page=2", headers=HOST).context["stuck"] == []
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == ["beta"]
        with within(""):
            cache.clear()
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == []

    def test_a_worker_that_was_seen_a_moment_ago(self, stuck):
        with within("beta"):
            claim(ask_animal("work", animal="dog"))
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == []

    def test_what_waits_behind_a_retry(self, stuck):
        with within("beta"):
            change(ask_animal("work"), queued_at=timezone.now() - LATE, scheduled_at=timezone.now() + LATE)
            assert Directive.objects.filter(scheduled_at__lt=timezone.now()).count() == 1
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == []

    def test_a_lease_that_ran_out_long_ago(self, stuck):
        with within("beta"):
            directive = Directive.objects.get()
            change(directive, status="running", lease_expires_at=timezone.now() - LATE)
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == ["beta"]

    def test_suspended_and_broken_tenants(self, stuck):
        with within(""):
            create_tenant("aaa", name="Aaa", domain="aaa.localhost")
            create_tenant("harbor", name="Harbor", domain="harbor.localhost")
            tenants.ghost.make()
            with owner_cursor() as cursor:
                cursor.execute(
                    "ALTER TABLE org_harbor.directives_directive DROP COLUMN lease_expires_at CASCADE"
                )
            Tenant.objects.filter(slug="beta").update(status=Tenant.Status.SUSPENDED)
        try:
            assert stuck.get("/admin/", headers=HOST).context["stuck"] == []
        finally:
            with within(""):
                Tenant.objects.filter(slug="beta").update(status=Tenant.Status.ACTIVE)
                cache.clear()
        assert stuck.get("/admin/", headers=HOST).context["stuck"] == ["beta"]

    def test_all_of_very_many(self, stuck, monkeypatch):
        monkeypatch.setattr(stalled, "MAX_STUCK", 1)
        with within("alpha"):
            change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
        with within(""):
            assert stalled.stuck_tenants() == ["alpha"]


def test_a_tenant_deleted_while_migrations_are_read_is_none(client):
    with within(""):
        create_tenant("harbor", name="Harbor", domain="harbor.localhost")

    def delete_and_execute(execute, sql, *arguments):
        if "UNION ALL" in sql and Tenant.objects.filter(slug="harbor").exists():
            # By somebody else: this connection is in the middle of a statement.
            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(_delete_harbor).result()
        return execute(sql, *arguments)

    with within(""), connection.execute_wrapper(delete_and_execute):
        found = schemas.missing_migrations(["org_alpha", "org_harbor", "org_beta"])
    assert found == {"org_alpha": [], "org_harbor": None, "org_beta": []}
    with within(""):
        create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    with connection.execute_wrapper(delete_and_execute):
        assert client.get("/admin/", headers=HOST).status_code == 200


def test_a_broken_and_a_half_migrated_tenant_break_nothing(client):
    with within(""):
        create_tenant("harbor", name="<b>Harbor</b>", domain="harbor.localhost")
        tenants.ghost.make()
        with owner_cursor() as cursor:
            cursor.execute("DELETE FROM org_harbor.django_migrations WHERE app = 'directives'")
            cursor.execute("DROP TABLE org_harbor.directives_directive CASCADE")
    page = _get(client)
    rows = {row["tenant"].slug: row for row in _rows(client)}
    assert rows["ghost"]["figures"] is None
    assert rows["ghost"]["missing"] is None
    assert rows["harbor"]["figures"] is None
    assert "directives.0001_initial" in rows["harbor"]["missing"]
    assert rows["alpha"]["figures"]
    assert "2 tenants are behind with migrations" in page
    assert "directives.0001_initial" in page
    assert "&lt;b&gt;Harbor&lt;/b&gt;" in page
    assert "<b>Harbor</b>" not in page


def test_a_schema_that_is_gone_is_not_answered_for_by_the_public_one(database):
    assert schemas.missing_migrations(["org_nobody"]) == {"org_nobody": None}


def test_tenants_come_in_pages_with_bounded_statements(client):
    with within(""):
        for n in range(60):
            tenants.ghost.make(slug=f"t{n}", name=f"T{n}", schema_name=f"org_t{n}")
    try:
        with CaptureQueriesContext(connection) as queries:
            assert len(_rows(client)) == dashboard.TENANTS_PER_PAGE
        # A row costs no more than its own figures.
        assert len(queries) < 40 + 8 * dashboard.TENANTS_PER_PAGE
        last = client.get("/admin/?page=99", headers=HOST)
        assert last.context["page"].number == 3
        assert len(last.context["rows"]) == 62 - 2 * dashboard.TENANTS_PER_PAGE
        assert client.get("/admin/?page=x", headers=HOST).status_code == 200
    finally:
        with within(""):
            Tenant.objects.filter(slug__startswith="t").delete()


def test_the_queue_is_counted(client):
    with within("alpha"):
        ask_animal("work")
        ask_animal("work", scheduled_at=timezone.now() + LATE)
    with within(""):
        found = clusters.state()
        assert (found.waiting, found.later) == (1, 1)
        assert found.next_sweep
        assert messages() == 2
        lose_wake_ups()
        assert (clusters.state().waiting, clusters.state().later) == (0, 0)


def test_without_a_cluster_it_says_how_to_start_one(client):
    page = _get(client)
    assert "No cluster is running" in page
    assert "manage.py cluster" in page


def test_a_running_cluster_is_seen_from_another_process_and_forgotten_when_killed(client, tmp_path):
    with within(""), qcluster(tmp_path / "log", workers=2) as process:
        [cluster] = wait_until(lambda: clusters.state().clusters, "the cluster reports itself")
        wait_until(lambda: len(clusters.state().clusters[0].workers) == 2, "both workers are there")
        assert cluster.pid == process.pid
        page = _get(client)
        assert cluster.host in page
        assert str(process.pid) in page
        assert "No cluster is running" not in page
        with within(""):
            os.killpg(process.pid, signal.SIGKILL)
            wait_until(lambda: not clusters.state().clusters, "the dead cluster is forgotten", 60)


def test_failed_messages_are_shown_escaped_and_linked(client):
    with within(""):
        failure = _failure("<script>boom</script>")
    page = _get(client)
    assert "&lt;script&gt;boom&lt;/script&gt;" in page
    assert "<script>boom" not in page
    address = f"/admin/django_q/failure/{failure.pk}/change/"
    assert address in page
    assert "&lt;script&gt;boom" in client.get(address, headers=HOST).content.decode()


def test_an_operator_without_permissions_sees_neither_tenants_nor_queue(database):
    client = logged_in("", make_user("", may=["view_user"]))
    answer = client.get("/admin/", headers=HOST)
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "tenants.view_tenant" in page
    assert "alpha" not in page
    assert "Clusters" not in page


class TestTenants:
    """Adding and changing tenants and their domains."""

    def test_one_is_added_with_its_schema(self, client):
        answer = _post(
            client, "tenants/tenant/add/", slug="harbor", name="Harbor", domain="Harbor.localhost"
        )
        assert answer.status_code == 302
        with within("harbor") as tenant:
            assert [domain.domain for domain in tenant.domains.all()] == ["harbor.localhost"]
            ask_animal("work")
        assert client.get("/", headers={"host": "harbor.localhost"}).status_code == 200

    @needs_two_roles
    def test_a_server_that_does_not_know_the_databases_owner_offers_to_add_none(self, client, monkeypatch):
        with monkeypatch.context() as without:
            without.delitem(connection.settings_dict, "OWNER")
            page = client.get("/admin/tenants/tenant/", headers=HOST)
            assert page.status_code == 200
            assert "/admin/tenants/tenant/add/" not in page.content.decode()
            assert client.get("/admin/tenants/tenant/add/", headers=HOST).status_code == 403
        page = client.get("/admin/tenants/tenant/", headers=HOST).content.decode()
        assert "/admin/tenants/tenant/add/" in page

    @pytest.mark.parametrize(
        ("fields", "field", "said"),
        [
            ({"slug": "Bad Slug"}, "slug", "lower-case"),
            ({"slug": "alpha"}, "slug", "already exists"),
            ({"slug": "admin"}, "slug", "reserved"),
            ({"domain": "alpha.localhost"}, "domain", "belongs to the tenant"),
            ({"domain": "http://x/"}, "domain", "host name"),
            ({"domain": "localhost"}, "domain", "operators"),
            ({"name": ""}, "name", "required"),
            ({"domain": ""}, "domain", "required"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, client, fields, field, said):
        wanted = {"slug": "harbor", "name": "Harbor", "domain": "harbor.localhost", **fields}
        answer = _post(client, "tenants/tenant/add/", **wanted)
        assert answer.status_code == 200
        assert said in str(answer.context["adminform"].form.errors[field])
        with within(""):
            assert set(Tenant.objects.values_list("slug", flat=True)) == {"alpha", "beta"}

    def test_name_and_status_change_and_nothing_else(self, client):
        with within(""):
            tenant = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
        path = f"tenants/tenant/{tenant.pk}/change/"
        fields = {"name": "Port", "status": "suspended", "slug": "port", "schema_name": "public"}
        assert _post(client, path, **fields).status_code == 302
        with within(""):
            tenant.refresh_from_db()
        assert (tenant.name, tenant.status) == ("Port", "suspended")
        assert (tenant.slug, tenant.schema_name) == ("harbor", "org_harbor")
        page = client.get(f"/admin/{path}", headers=HOST).content.decode()
        assert "manage.py tenant delete harbor" in page
        assert _post(client, f"tenants/tenant/{tenant.pk}/delete/", post="yes").status_code == 403

    def test_domains_are_added_made_primary_and_removed(self, client):
        with within(""):
            tenant = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
            first = tenant.domains.get()
        added = _post(client, "tenants/domain/add/", tenant=tenant.pk, domain="PORT.example.org.")
        assert added.status_code == 302
        listed = client.get("/admin/tenants/domain/", headers=HOST).content.decode()
        assert "ALLOWED_HOSTS does not contain port.example.org" in listed
        with within(""):
            second = Domain.objects.get(domain="port.example.org")
        assert _post(client, f"tenants/domain/{first.pk}/delete/", post="yes").status_code == 403
        kept = _post(client, f"tenants/domain/{first.pk}/change/")
        assert "one primary host" in str(kept.context["adminform"].form.errors["is_primary"])
        assert _post(client, f"tenants/domain/{second.pk}/change/", is_primary="on").status_code == 302
        assert _post(client, f"tenants/domain/{first.pk}/delete/", post="yes").status_code == 302
        with within(""):
            [left] = Domain.objects.filter(tenant=tenant)
        assert (left.domain, left.is_primary) == ("port.example.org", True)

    @pytest.mark.parametrize("domain", ["beta.localhost", "BETA.localhost", "localhost", "a b", "x/y", ""])
    def test_a_domain_that_is_wrong_or_anothers_is_refused(self, client, domain):
        with within(""):
            alpha = Tenant.objects.get(slug="alpha")
        answer = _post(client, "tenants/domain/add/", tenant=alpha.pk, domain=domain)
        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors["domain"]
        with within(""):
            assert Domain.objects.count() == 2


@pytest.mark.parametrize("model", ["ormq", "failure", "schedule"])
def test_the_queue_is_read_only(client, model):
    with within(""):
        failure = _failure("boom")
    for path in ("add/", f"{failure.pk}/delete/", "1/delete/"):
        assert _post(client, f"django_q/{model}/{path}", post="yes").status_code in (302, 403)
    with within(""):
        assert apps.get_model("django_q", "Failure").objects.count() == 1
        assert apps.get_model("django_q", "Schedule").objects.count() == 2


def _delete_harbor():
    try:
        delete_tenant("harbor")
    finally:
        connection.close()


def _get(client):
    answer = client.get("/admin/", headers=HOST)
    assert answer.status_code == 200
    return answer.content.decode()


def _rows(client):
    return client.get("/admin/", headers=HOST).context["rows"]


def _post(client, path, **fields):
    return client.post(f"/admin/{path}", fields, headers=HOST)


def _failure(text):
    now = timezone.now()
    return directives.failure.make(name="wake alpha", started=now, stopped=now, result=text)
