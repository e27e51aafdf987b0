"""Operators' pages of tenants, domains and the queue; registration of the accounts on both sites."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from fleetprompt.operators import accounts
from fleetprompt.postgres import owner
from fleetprompt.sites import operators_site, tenant_site
from fleetprompt.templatetags.moments import ago, moment
from fleetprompt.tenants import changes, provisioning
from fleetprompt.tenants.models import Domain, Tenant
from fleetprompt.web.model_admin import ReadOnlyModelAdmin, column

accounts.register(operators_site)
accounts.register(tenant_site)


class AddTenantForm(forms.ModelForm):  # type: ignore[type-arg]
    """Form of a new tenant, which it creates as its last validation."""

    domain = forms.CharField(
        max_length=253,
        widget=UnfoldAdminTextInputWidget,
        help_text="The host name that serves it, without a port: harbor.example.org.",
    )

    class Meta:
        model = Tenant
        fields = ["slug", "name"]
        help_texts = {
            "slug": "Short name: lower-case letters and digits, in groups joined by hyphens. It cannot be "
            "changed later; the schema is named after it.",
            "name": "What people call the community.",
        }

    def full_clean(self) -> None:
        """Create the tenant after all other checks: only that tells whether its names are free."""
        super().full_clean()
        if not self.is_bound or self.errors:
            return
        data = self.cleaned_data
        try:
            # On a connection of its own: the page's transaction has the application's role.
            with ThreadPoolExecutor(max_workers=1) as thread:
                made = thread.submit(_create_tenant, data["slug"], data["name"], data["domain"])
            self.instance = made.result()
        except ValidationError as error:
            _add_errors(self, error)


def _create_tenant(slug: str, name: str, domain: str) -> Tenant:
    try:
        return provisioning.create_tenant(slug, name=name, domain=domain)
    finally:
        connection.close()


def _add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Show each sentence at the field that it names."""
    if hasattr(error, "error_dict"):
        for field, texts in error.message_dict.items():
            form.add_error(field if field in form.fields else None, texts)
        return
    for text in error.messages:
        field, _, sentence = text.partition(": ")
        named = field in form.fields
        form.add_error(field if named else None, sentence[:1].upper() + sentence[1:] if named else text)


@admin.register(Tenant, site=operators_site)
class TenantAdmin(ModelAdmin):
    """Lists, adds, renames and suspends tenants."""

    icon = "apartment"
    list_display = ("slug", "name", "status", "hosts", "created")
    list_filter = ("status",)
    search_fields = ("slug", "name", "domains__domain")
    list_per_page = 50
    readonly_fields = ("slug", "schema_name", "created")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Return the fields of the page, with the command that deletes a tenant."""
        if obj is None:
            return [(None, {"fields": ("slug", "name", "domain")})]
        text = (
            "The forum of a suspended tenant is not served, and its directives wait. To delete one with "
            f"everything in it, for good: manage.py tenant delete {obj}"
        )
        fields = ("name", "status", "slug", "schema_name", "created")
        return [(None, {"fields": fields, "description": text})]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Return the read-only fields; the form of a new tenant has none."""
        return self.readonly_fields if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form, which for a new tenant is one of its own."""
        return super().get_form(
            request, obj, change, **(kwargs if obj else {**kwargs, "form": AddTenantForm})
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        """Return the tenants with their domains."""
        return cast("QuerySet[Tenant]", super().get_queryset(request).prefetch_related("domains"))

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        """Store name and status; a new tenant is stored already, with its domain."""
        if change:
            changes.change(obj.slug, name=obj.name, status=obj.status)
        else:
            _warn_unserved(request, obj.domains.get().domain)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may, and the web process has a database role that can make schemas."""
        return bool(super().has_add_permission(request)) and owner.can_migrate()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False: `manage.py tenant delete` does that, after a question."""
        return False

    hosts = column(
        "domains",
        lambda tenant: ", ".join(domain.domain for domain in tenant.domains.all()) or "none: add one",
    )
    created = column("created", lambda tenant: ago(tenant.created_at), "created_at")


class _TenantField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A picker that accepts malformed ids as empty: Django's would query the database for them."""

    def prepare_value(self, value: Any) -> Any:
        """Return the id to show as chosen; None when it can be none."""
        found = super().prepare_value(value)
        try:
            return self.clean(found) and found
        except ValidationError:
            return None


class DomainForm(forms.ModelForm):  # type: ignore[type-arg]
    """Checks a host name as creating a tenant does."""

    def clean_domain(self) -> str:
        """Return the host name in its normal form."""
        try:
            return provisioning.normalised_domain(self.cleaned_data["domain"])
        except ValidationError as error:
            raise ValidationError([text.removeprefix("domain: ") for text in error.messages]) from None

    def clean_is_primary(self) -> bool:
        """Refuse to leave a tenant without a primary host."""
        wanted: bool = self.cleaned_data["is_primary"]
        if self.instance.pk and self.instance.is_primary and not wanted:
            raise ValidationError("A tenant has one primary host: make another host primary instead.")
        return wanted


@admin.register(Domain, site=operators_site)
class DomainAdmin(ModelAdmin):
    """Lists the host names; adds some, makes one primary, removes the others."""

    icon = "language"
    form = DomainForm
    fields = ("tenant", "domain", "is_primary")
    list_display = ("domain", "tenant", "is_primary", "is_served")
    list_filter = ("is_primary",)
    list_select_related = ("tenant",)
    list_per_page = 50
    search_fields = ("domain", "tenant__slug", "tenant__name")
    autocomplete_fields = ("tenant",)

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Return the field for the tenant."""
        return super().formfield_for_foreignkey(db_field, request, form_class=_TenantField, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Return the read-only fields: a host name does not move to another tenant."""
        return ("tenant", "domain") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return whether the user may delete domains; a primary one stays until another is primary."""
        allowed = bool(super().has_delete_permission(request, obj))
        return allowed and not (obj and cast(Domain, obj).is_primary)

    def save_model(self, request: HttpRequest, obj: Domain, form: Any, change: bool) -> None:
        """Store the domain; warn when requests to it are refused."""
        changes.save_domain(obj)
        _warn_unserved(request, obj.domain)

    @admin.display(description="served", boolean=True)
    def is_served(self, domain: Domain) -> bool:
        """Show whether ALLOWED_HOSTS contains it."""
        return not provisioning.is_unserved(domain.domain)


def _warn_unserved(request: HttpRequest, domain: str) -> None:
    if provisioning.is_unserved(domain):
        messages.warning(request, f"ALLOWED_HOSTS does not contain {domain}; it is not served yet.")


class MessageAdmin(ReadOnlyModelAdmin):
    """Lists the messages in PostgreSQL's queue; those that a cluster has taken are deleted."""

    icon = "inbox"
    list_display = ("task_name", "function", "key", "visible")
    search_fields = ("key",)
    fields = readonly_fields = ("task_name", "function", "arguments", "key", "visible")
    ordering = ("-pk",)

    task_name = column("message", lambda message: message.name() or str(message.pk))
    function = column("function", lambda message: str(message.func()))
    arguments = column("arguments", lambda message: str(message.args()))
    visible = column("visible to workers", lambda message: ago(message.lock), "lock")


class FailureAdmin(ReadOnlyModelAdmin):
    """Lists the failed messages. No work is lost with them: the sweep wakes their tenants."""

    icon = "sms_failed"
    list_display = ("name", "func", "error", "ended")
    search_fields = ("name", "func")
    fields = ("name", "func", "args", "kwargs", "began", "ended", "cluster", "whole_error")
    readonly_fields = fields

    error = column("error", lambda failure: Truncator(str(failure.result)).chars(120))
    whole_error = column("error", lambda failure: str(failure.result))
    began = column("started", lambda failure: moment(failure.started), "started")
    ended = column("failed", lambda failure: ago(failure.stopped), "stopped")


class ScheduleAdmin(ReadOnlyModelAdmin):
    """Lists the schedules of clusters, which `migrate_schemas` makes."""

    icon = "schedule"
    list_display = ("title", "func", "schedule_type", "minutes", "next")
    fields = readonly_fields = ("title", "func", "schedule_type", "minutes", "repeats", "next")

    title = column("schedule", lambda schedule: str(schedule.name or schedule.func), "name")
    next = column("next run", lambda schedule: ago(schedule.next_run), "next_run")


for name, shown in (("OrmQ", MessageAdmin), ("Failure", FailureAdmin), ("Schedule", ScheduleAdmin)):
    operators_site.register(apps.get_model("django_q", name), shown)
