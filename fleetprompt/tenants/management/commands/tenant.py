"""`manage.py tenant`: create, list, change and delete communities, and make their first user."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from fleetprompt.cli.console import OperatorCommand, add_format
from fleetprompt.cli.web_addresses import installed
from fleetprompt.tenants import changes, provisioning, records
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Domain, Tenant
from fleetprompt.visible import visible

PASSWORD_VARIABLE = "DJANGO_SUPERUSER_PASSWORD"  # noqa: S105 - the name of one


class Command(OperatorCommand):
    """The subcommands that make, show, change and remove tenants."""

    help = "Create, list, change and delete tenants (communities), and make their superusers."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands and their options."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
        create = self.subcommand(parsers, "create", self.create, "Create a tenant and its schema.")
        create.add_argument("slug", help="short name, also in the schema org_<slug>")
        create.add_argument("--name", required=True, help="what people call the community")
        create.add_argument("--domain", required=True, help="host name that serves it")
        text = "Register a tenant again whose schema pg_restore has brought back, as it was."
        restore = self._about_one(parsers, "restore", self.restore, text)
        text = "what `tenant list --format json` printed when the backup was made"
        restore.add_argument("--from", dest="file", required=True, metavar="FILE", help=text)
        text = "Make a user who may do everything in one tenant, and is nobody elsewhere."
        superuser = self._about_one(parsers, "createsuperuser", self.createsuperuser, text)
        superuser.add_argument("--username", help="asked for by default")
        superuser.add_argument("--email", help="asked for by default, and empty with --no-input")
        text = f"ask nothing; the password stands in the environment variable {PASSWORD_VARIABLE}"
        superuser.add_argument(
            "--no-input", "--noinput", action="store_false", dest="interactive", help=text
        )
        add_format(self.subcommand(parsers, "list", self.list, "List the tenants."))
        self._add_changes(parsers)
        self._add_domain(parsers)
        text = "Delete a tenant with everything in it, for good."
        _add_yes(self._about_one(parsers, "delete", self.delete, text))

    def _about_one(self, parsers: Any, name: str, run: Any, text: str) -> CommandParser:
        parser = self.subcommand(parsers, name, run, text)
        parser.add_argument("slug")
        return parser

    def _add_changes(self, parsers: Any) -> None:
        text = "Stop serving a tenant's forum, and let its directives wait; nothing is lost."
        suspend = self._about_one(parsers, "suspend", self.suspend, text)
        _add_yes(suspend)
        text = "Serve a suspended tenant again; its directives go on."
        resume = self._about_one(parsers, "resume", self.resume, text)
        text = "Change what people call a community; slug, schema and host names stay."
        rename = self._about_one(parsers, "rename", self.rename, text)
        rename.add_argument("name", help="the new name, 1 to 200 characters")
        for parser in (suspend, resume, rename):
            add_format(parser)

    def _add_domain(self, parsers: Any) -> None:
        text = "Add a host name to a tenant, or remove one."
        domain = parsers.add_parser("domain", help=text, description=text)
        inner = domain.add_subparsers(required=True, metavar="SUBCOMMAND")
        text = "Serve a tenant on another host name too."
        add = self._about_one(inner, "add", self.add_domain, text)
        text = "Serve a tenant no more on a host name that is not its primary one."
        remove = self._about_one(inner, "remove", self.remove_domain, text)
        for parser in (add, remove):
            parser.add_argument("host", help="a host name as browsers ask for it, without a port")
            add_format(parser)
        add.add_argument("--primary", action="store_true", help="make it the primary one, also one it has")
        _add_yes(remove)

    def create(self, options: dict[str, Any]) -> None:
        """Create the tenant."""
        tenant = provisioning.create_tenant(options["slug"], name=options["name"], domain=options["domain"])
        domain = tenant.domains.get().domain
        self.stdout.write(f"Created tenant {tenant.slug} (schema {tenant.schema_name}, {domain}).")
        self._warn_unserved([domain])

    def restore(self, options: dict[str, Any]) -> None:
        """Register the restored tenant."""
        record = records.read(Path(options["file"]), options["slug"])
        tenant = provisioning.restore_tenant(record)
        self.stdout.write(f"Restored tenant {tenant.slug} (schema {tenant.schema_name}, {tenant.status}).")
        self._warn_unserved(record.domains)

    def _warn_unserved(self, domains: Sequence[str]) -> None:
        for domain in domains:
            if provisioning.is_unserved(domain):
                self.stderr.write(f"Note: ALLOWED_HOSTS does not contain {domain}; it is not served yet.")

    def createsuperuser(self, options: dict[str, Any]) -> None:
        """Make a superuser in the tenant, as Django's command of that name does."""
        if options["interactive"] and not sys.stdin.isatty():
            raise CommandError("nobody can be asked for the password: use --no-input in scripts")
        if not options["interactive"] and not os.environ.get(PASSWORD_VARIABLE):
            raise CommandError(f"{PASSWORD_VARIABLE}: expected the password there, because of --no-input")
        with in_tenant(options["slug"]) as tenant:
            asked = options["interactive"]
            call_command(
                "createsuperuser",
                username=options["username"],
                email=options["email"] if asked else options["email"] or "",
                interactive=asked,
                verbosity=0,
            )
            domain = tenant.domains.first()
        where = f" Log in at {installed(domain.domain, '/admin/')}" if domain else ""
        self.stdout.write(f"Created a superuser of tenant {tenant.slug}.{where}")

    def suspend(self, options: dict[str, Any]) -> None:
        """Suspend the tenant, after a question unless `--yes` was given."""
        slug = options["slug"]
        question = (
            f"Suspend tenant {slug}? Its forum is not served then, and its directives wait. Type the slug: "
        )
        if changes.find_tenant(slug).status == Tenant.Status.ACTIVE and not options["yes"]:
            self.confirm(question, slug, "Not suspended")
        tenant = changes.change(slug, status=Tenant.Status.SUSPENDED)
        self._say(tenant, options, "is suspended: its forum is not served, and its directives wait")

    def resume(self, options: dict[str, Any]) -> None:
        """Make the tenant active again."""
        tenant = changes.change(options["slug"], status=Tenant.Status.ACTIVE)
        self._say(tenant, options, "is active: its forum is served, and its directives are run")

    def rename(self, options: dict[str, Any]) -> None:
        """Give the tenant another name."""
        tenant = changes.change(options["slug"], name=options["name"])
        self._say(tenant, options, f"is called {visible(tenant.name)}")

    def add_domain(self, options: dict[str, Any]) -> None:
        """Add the host name, or make one that the tenant has the primary one."""
        tenant = changes.find_tenant(options["slug"])
        host = provisioning.normalised_domain(options["host"])
        domain = tenant.domains.filter(domain=host).first()
        if domain and (domain.is_primary or not options["primary"]):
            what = "its primary host name" if domain.is_primary else "one of its host names"
            raise CommandError(f"domain: {host!r} is {what} already")
        domain = domain or Domain(tenant=tenant, domain=host)
        domain.is_primary = options["primary"]
        changes.save_domain(domain)
        self._say(tenant, options, f"has the {'primary ' * domain.is_primary}host name {domain.domain}")
        self._warn_unserved([domain.domain])

    def remove_domain(self, options: dict[str, Any]) -> None:
        """Remove the host name, after a question unless `--yes` was given."""
        domain = changes.find_domain(options["slug"], options["host"])
        question = f"Serve tenant {options['slug']} no more at {domain.domain}? Type the host name: "
        if not domain.is_primary and not options["yes"]:
            self.confirm(question, domain.domain, "Not removed")
        changes.remove_domain(domain)
        self._say(domain.tenant, options, f"has the host name {domain.domain} no more")

    def _say(self, tenant: Tenant, options: dict[str, Any], what: str) -> None:
        if options["format"] == "json":
            self.print_json([_row(tenant, "microseconds")])
        else:
            self.stdout.write(f"Tenant {tenant.slug} {what}.")

    def list(self, options: dict[str, Any]) -> None:
        """Print the tenants."""
        provisioning.ensure_shared_tables()
        # Whole in JSON: the time is part of who the tenant is, and `restore` reads it.
        precision = "microseconds" if options["format"] == "json" else "seconds"
        rows = [_row(tenant, precision) for tenant in Tenant.objects.prefetch_related("domains")]
        self.print_rows(
            rows,
            ["slug", "name", "schema", "status", "domains", "created_at"],
            style=options["format"],
            empty="There are no tenants yet. Create one: manage.py tenant create SLUG --name … --domain …",
        )

    def delete(self, options: dict[str, Any]) -> None:
        """Delete the tenant, after a question unless `--yes` was given."""
        slug = options["slug"]
        changes.find_tenant(slug)
        question = f"Delete tenant {slug} with all its posts, directives and signals? Type the slug: "
        if not options["yes"]:
            self.confirm(question, slug, "Not deleted")
        provisioning.delete_tenant(slug)
        self.stdout.write(f"Deleted tenant {slug}.")


def _add_yes(parser: CommandParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _row(tenant: Tenant, precision: str) -> dict[str, Any]:
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "schema": tenant.schema_name,
        "status": tenant.status,
        "domains": [domain.domain for domain in tenant.domains.all()],
        "created_at": tenant.created_at.isoformat(timespec=precision),
    }
