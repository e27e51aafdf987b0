"""`manage.py tenant suspend|resume|rename` and `tenant domain add|remove`: what they do and refuse."""

import io
import json

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from fleetprompt.tenants import changes
from fleetprompt.tenants.models import Domain, Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from tests.accounts import OPERATORS, logged_in, make_user
from tests.support import manage

HOST, OTHER = "harbor.localhost", "port.localhost"


@pytest.fixture
def harbor(database):
    return create_tenant("harbor", name="Harbor", domain=HOST)


def tenant(*arguments, form="table"):
    """Run a subcommand; return what it printed."""
    out = io.StringIO()
    call_command("tenant", *arguments, "--format", form, stdout=out)
    return json.loads(out.getvalue()) if form == "json" else out.getvalue()


def hosts(slug="harbor"):
    """Return the tenant's host names with whether each is the primary one."""
    return list(Tenant.objects.get(slug=slug).domains.values_list("domain", "is_primary"))


def is_served(host):
    return Client(headers={"host": host}).get("/").status_code == 200


def test_a_suspended_tenant_is_not_served_until_it_is_resumed(harbor):
    assert is_served(HOST)
    assert tenant("suspend", "harbor", "--yes").startswith("Tenant harbor is suspended: ")
    assert not is_served(HOST)
    # Once more is no error: it is as it was asked for.
    [row] = tenant("suspend", "harbor", form="json")
    assert row["status"] == "suspended"
    assert tenant("resume", "harbor").startswith("Tenant harbor is active: ")
    assert is_served(HOST)


@pytest.mark.parametrize(
    ("answer", "status"), [("harbor\n", "suspended"), ("yes\n", "active"), ("", "active")]
)
def test_a_tenant_is_suspended_only_after_its_slug_was_typed(harbor, monkeypatch, answer, status):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    if status == "suspended":
        tenant("suspend", "harbor")
    else:
        with pytest.raises(CommandError, match=r"^Not suspended"):
            tenant("suspend", "harbor")
    assert Tenant.objects.get(slug="harbor").status == status


def test_a_question_leaves_standard_output_to_programs(harbor, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("harbor\n"))
    [row] = tenant("suspend", "harbor", form="json")
    assert row["status"] == "suspended"
    done = manage("tenant", "delete", "harbor")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(
        "Type the slug: \nCommandError: Not deleted: nobody answered. Use --yes in scripts.\n"
    )


def test_renaming_changes_what_people_call_it_and_nothing_else(harbor):
    assert tenant("rename", "harbor", " The Old Harbor ") == "Tenant harbor is called The Old Harbor.\n"
    [row] = tenant("rename", "harbor", "Port", form="json")
    assert (row["slug"], row["name"], row["schema"], row["domains"]) == (
        "harbor",
        "Port",
        "org_harbor",
        [HOST],
    )
    found = Tenant.objects.get(slug="harbor")
    assert (found.name, found.created_at, found.status) == ("Port", harbor.created_at, "active")


def test_a_host_name_is_added_made_primary_and_removed(harbor):
    assert (
        tenant("domain", "add", "harbor", "Port.Localhost.")
        == f"Tenant harbor has the host name {OTHER}.\n"
    )
    assert hosts() == [(HOST, True), (OTHER, False)]
    assert is_served(OTHER)
    assert tenant("domain", "add", "harbor", OTHER, "--primary").endswith(f"primary host name {OTHER}.\n")
    assert hosts() == [(OTHER, True), (HOST, False)]
    [row] = tenant("domain", "remove", "harbor", HOST, "--yes", form="json")
    assert row["domains"] == [OTHER]
    assert not is_served(HOST)


def test_a_new_host_name_can_be_the_primary_one(harbor):
    tenant("domain", "add", "harbor", OTHER, "--primary")
    assert hosts() == [(OTHER, True), (HOST, False)]


def test_a_host_name_is_removed_only_after_it_was_typed(harbor, monkeypatch):
    tenant("domain", "add", "harbor", OTHER)
    monkeypatch.setattr("sys.stdin", io.StringIO("harbor\n"))
    with pytest.raises(CommandError, match=r"^Not removed"):
        tenant("domain", "remove", "harbor", OTHER)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{OTHER}\n"))
    tenant("domain", "remove", "harbor", OTHER)
    assert hosts() == [(HOST, True)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suspend", "haven"], "slug: there is no tenant 'haven'"),
        (["suspend", "habor", "--yes"], "slug: there is no tenant 'habor'; did you mean harbor?"),
        (["resume", "haven"], "slug: there is no tenant 'haven'"),
        (["rename", "haven", "Haven"], "slug: there is no tenant 'haven'"),
        (["rename", "harbor", " "], "name: This field cannot be blank."),
        (["rename", "harbor", "n" * 201], "name: Ensure this value has at most 200 characters"),
        (["rename", "harbor", "Har\nbor"], "name: expected no control characters"),
        (["domain", "add", "haven", OTHER], "slug: there is no tenant 'haven'"),
        (["domain", "add", "harbor", f"{OTHER}:8000"], "domain: expected a host name without port"),
        (
            ["domain", "add", "harbor", "ALPHA.localhost"],
            "domain: 'alpha.localhost' belongs to the tenant 'alpha'",
        ),
        (["domain", "add", "harbor", HOST], "domain: 'harbor.localhost' is its primary host name already"),
        (
            ["domain", "add", "harbor", HOST, "--primary"],
            "domain: 'harbor.localhost' is its primary host name",
        ),
        (["domain", "remove", "haven", HOST, "--yes"], "slug: there is no tenant 'haven'"),
        (
            ["domain", "remove", "harbor", OTHER, "--yes"],
            "domain: 'port.localhost' is none of tenant harbor; it has",
        ),
        (
            ["domain", "remove", "harbor", "alpha.localhost", "--yes"],
            "domain: 'alpha.localhost' is none of",
        ),
        (
            ["domain", "remove", "harbor", HOST, "--yes"],
            "domain: 'harbor.localhost' is the primary one of tenant",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(harbor, arguments, message):
    with pytest.raises(CommandError) as refused:
        tenant(*arguments)
    assert str(refused.value).startswith(message)
    found = Tenant.objects.get(slug="harbor")
    assert (found.name, found.status, hosts()) == ("Harbor", "active", [(HOST, True)])


def test_a_host_name_that_it_has_already_is_no_new_one(harbor):
    tenant("domain", "add", "harbor", OTHER)
    with pytest.raises(CommandError, match="is one of its host names already"):
        tenant("domain", "add", "harbor", OTHER)


@pytest.mark.parametrize(
    "subcommand", [["suspend"], ["resume"], ["rename"], ["domain"], ["domain", "add"], ["domain", "remove"]]
)
def test_every_subcommand_explains_itself(capsys, subcommand):
    with pytest.raises(SystemExit) as ended:
        call_command("tenant", *subcommand, "--help")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_the_operators_admin_changes_tenants_in_the_same_way(harbor):
    client = logged_in("", make_user("", is_superuser=True))
    page = f"/admin/tenants/tenant/{harbor.pk}/change/"
    answer = client.post(page, {"name": " Port ", "status": "suspended"}, headers={"host": OPERATORS})
    assert answer.status_code == 302
    fields = {"tenant": harbor.pk, "domain": "Port.localhost", "is_primary": "on"}
    answer = client.post("/admin/tenants/domain/add/", fields, headers={"host": OPERATORS})
    assert answer.status_code == 302
    found = Tenant.objects.get(slug="harbor")
    assert (found.name, found.status, hosts()) == ("Port", "suspended", [(OTHER, True), (HOST, False)])


class LateAnswer(io.StringIO):
    """A person who answers a question after somebody else has changed something."""

    def __init__(self, text, meanwhile):
        super().__init__(text)
        self.meanwhile = meanwhile

    def readline(self, *size):
        self.meanwhile()
        return super().readline(*size)


def test_a_host_name_that_became_the_primary_one_during_the_question_stays(harbor, monkeypatch):
    tenant("domain", "add", "harbor", OTHER)
    answer = LateAnswer(f"{OTHER}\n", lambda: tenant("domain", "add", "harbor", OTHER, "--primary"))
    monkeypatch.setattr("sys.stdin", answer)
    with pytest.raises(CommandError, match="is the primary one of tenant harbor"):
        tenant("domain", "remove", "harbor", OTHER)
    assert hosts() == [(OTHER, True), (HOST, False)]


def test_a_host_name_that_was_removed_meanwhile_does_not_come_back(harbor):
    tenant("domain", "add", "harbor", OTHER)
    known = changes.find_domain("harbor", OTHER)
    tenant("domain", "remove", "harbor", OTHER, "--yes")
    create_tenant("haven", name="Haven", domain=OTHER)
    known.is_primary = True
    with pytest.raises(ValidationError, match="is none of tenant harbor any more"):
        changes.save_domain(known)
    assert hosts() == [(HOST, True)]
    changes.remove_domain(known)
    assert hosts("haven") == [(OTHER, True)]


def test_a_tenant_that_was_deleted_meanwhile_gets_no_host_name(harbor):
    new = Domain(tenant=harbor, domain=OTHER)
    delete_tenant("harbor")
    with pytest.raises(ValidationError, match="slug: there is no tenant 'harbor'"):
        changes.save_domain(new)


def test_a_name_that_hides_characters_is_told_with_them(harbor):
    assert tenant("rename", "harbor", "Har\u202ebor") == "Tenant harbor is called Har⟨U+202E⟩bor.\n"
