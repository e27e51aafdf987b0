"""Helpers for tests of `manage.py directive`."""

import io
import json
from types import SimpleNamespace

from django.core.management import CommandError, call_command

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal
from tests.support import ask

FIELDS = [field.name for field in Directive._meta.concrete_fields if "personal" not in field.name]
FIELDS.insert(6, "reason")


def directive(*arguments, tenant="alpha", form="json"):
    """Run a subcommand; return what it printed, parsed when it is JSON, and its error."""
    out, err, error = io.StringIO(), io.StringIO(), ""
    where = ["--tenant", tenant] if tenant else []
    try:
        call_command("directive", *arguments, *where, "--format", form, stdout=out, stderr=err)
    except CommandError as refusal:
        error = str(refusal)
    text = out.getvalue()
    printed = json.loads(text) if form == "json" and text else text + err.getvalue()
    return SimpleNamespace(printed=printed, error=error)


def hide(post):
    """Return the payload of `forum.post.hide` as the command line takes it."""
    return json.dumps({"post_id": str(post)})


def asked(post, **options):
    """Request that the post be hidden; return the directive."""
    with in_tenant("alpha"):
        directive = ask("forum.post.hide", {"post_id": post}, **options).directive
        directive.refresh_from_db()
        return directive


def reloaded(directive):
    """Return the directive as it is now."""
    with in_tenant("alpha"):
        return Directive.objects.get(pk=directive.pk)


def stored():
    """Count the directives and the lifecycle signals in the tenant alpha."""
    with in_tenant("alpha"):
        lifecycle = Signal.objects.filter(name__startswith="directive.")
        return Directive.objects.count(), lifecycle.count()
