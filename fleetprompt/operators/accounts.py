"""Accounts of both admin sites. Users can grant only permissions that they hold."""

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ManyToManyField, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from fleetprompt.templatetags.moments import ago, moment
from fleetprompt.web.compat import registered
from fleetprompt.web.model_admin import ReadOnlyModelAdmin, column


def grantable(site: UnfoldAdminSite) -> QuerySet[Permission]:
    """Return the permissions that a site uses: those of its models."""
    wanted = Q()
    for model, shown in registered(site).items():
        # By name: ids differ between schemas, and a cached id may be another schema's.
        meta = model._meta
        allowed = Q(content_type__app_label=meta.app_label, content_type__model=meta.model_name)
        if isinstance(shown, ReadOnlyModelAdmin):
            allowed &= ~Q(codename__regex=r"^(add|change|delete)_")
        wanted |= allowed
    return Permission.objects.filter(wanted).select_related("content_type")


def own(site: UnfoldAdminSite, user: Any) -> QuerySet[Permission]:
    """Return the permissions that a user holds, and so can grant, on a site; all for a superuser."""
    permissions = grantable(site)
    return permissions if user.is_superuser else permissions.filter(_held_by(user)).distinct()


def _held_by(account: User | Group) -> Q:
    """Return the filter of an account's permissions, also of an inactive user's."""
    if isinstance(account, Group):
        return Q(group=account.pk)
    return Q(user=account.pk) | Q(group__user=account.pk)


def _beyond(site: UnfoldAdminSite, user: Any) -> QuerySet[Permission]:
    """Return the permissions of a site that a user lacks."""
    return grantable(site).exclude(pk__in=own(site, user).values("pk"))


def _is_own(account: Any, user: Any) -> bool:
    """Return whether an account gives a user permissions: the user's own, or a group of the user's.

    A superuser needs no group.
    """
    if isinstance(account, User):
        return bool(account == user)
    return bool(account.pk and not user.is_superuser and account.user_set.filter(pk=user.pk).exists())


class _PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Shows a permission by its own name alone."""

    def label_from_instance(self, obj: Any) -> str:
        """Return what the permission allows."""
        return str(obj.name)


_NOT_OWN = "You cannot change your own groups and permissions: ask another manager of users."


class _EditorForm(forms.ModelForm):  # type: ignore[type-arg]
    """Keeps users from changing their own groups and permissions, and the permissions of their groups."""

    editor: Any
    """The user of the request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.kept:
            field: Any = self.fields.get(name)
            if field:
                field.help_text = _NOT_OWN
                # The widget inside the one that links to the related model.
                getattr(field.widget, "widget", field.widget).attrs["disabled"] = True

    @cached_property
    def kept(self) -> Sequence[str]:
        """The fields that keep the values that are held."""
        fields = self.instance._meta.many_to_many
        return [field.name for field in fields] if _is_own(self.instance, self.editor) else []

    def clean(self) -> dict[str, Any]:
        """Return the input, with the held values, also those that the form does not offer.

        Disabled boxes send nothing. Other choices are errors.
        """
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.kept:
            chosen, held = set(cleaned.get(name, ())), getattr(self.instance, name)
            offered: Any = self.fields.get(name)
            if chosen and chosen != set(offered.queryset.filter(pk__in=held.values("pk"))):
                self.add_error(name, _NOT_OWN)
            elif name in cleaned:
                cleaned[name] = held.all()
        return cleaned


class _UserForm(_EditorForm, UserChangeForm):
    """Keeps a superuser for the site."""

    class Meta(UserChangeForm.Meta):
        help_texts = {
            "is_active": "Untick instead of deleting: an inactive user cannot log in, and the admin log "
            "keeps the user's actions."
        }

    def clean(self) -> dict[str, Any]:
        """Return the input; it is an error when no superuser would be left."""
        cleaned = super().clean()
        keeps_power = all(cleaned.get(flag, getattr(self.instance, flag)) for flag in _SUPERUSER_FLAGS)
        if self.instance.is_superuser and not keeps_power:
            _refuse_last_superuser(self.instance)
        return cleaned


class _PasswordForm(AdminPasswordChangeForm):
    """Keeps a superuser with a password: a request can disable one, though no page offers it."""

    def clean(self) -> dict[str, Any]:
        """Return the input; it is an error when no superuser would be left."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("set_usable_password") is False:
            try:
                _refuse_last_superuser(self.user)
            except ValidationError as error:
                # The page shows errors at its two fields only.
                self.add_error("password1", error)
        return cleaned


_SUPERUSER_FLAGS = ("is_active", "is_staff", "is_superuser")


def _refuse_last_superuser(user: User) -> None:
    """Refuse to demote the last superuser; in the caller's transaction.

    Concurrent changes wait for each other, in all web processes.
    """
    able = User.objects.filter(**dict.fromkeys(_SUPERUSER_FLAGS, True)).exclude(
        password__startswith=UNUSABLE_PASSWORD_PREFIX
    )
    # In one order, so that two of them cannot deadlock.
    found = [one.pk for one in able.order_by("pk").select_for_update()]
    if found == [user.pk]:
        raise ValidationError(
            f"{user.get_username()} is the last superuser here: make another user an active superuser with "
            "a password first."
        )


class _Account(BaseModelAdmin):  # type: ignore[type-arg]
    """Common parts of the pages of users and groups: an account with more permissions cannot be changed."""

    list_per_page = 50
    filter_horizontal = ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form's class for this request, with the editing user."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)  # type: ignore[misc]
        form.editor = request.user
        return form

    def is_mightier(self, request: HttpRequest, obj: Any) -> bool:
        """Return whether an account holds a permission that the user of the request lacks."""
        user = cast(Any, request.user)
        if user.is_superuser:
            return False
        if getattr(obj, "is_superuser", False):
            return True
        return bool(_beyond(self.admin_site, user).filter(_held_by(obj)).exists())

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may change this account, or any at all."""
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and (obj is None or not self.is_mightier(request, obj))

    def formfield_for_manytomany(
        self, db_field: "ManyToManyField[Any, Any]", request: Any, **kwargs: Any
    ) -> Any:
        """Return boxes for the groups and permissions that the user can grant."""
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        if db_field.name == "groups":
            beyond = _beyond(self.admin_site, request.user)
            kwargs["queryset"] = Group.objects.exclude(permissions__in=beyond.values("pk"))
        else:
            kwargs["queryset"] = own(self.admin_site, request.user)
            kwargs["form_class"] = _PermissionsField
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class AccountUserAdmin(_Account, DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """Lists, adds, changes and deactivates users."""

    icon = "person"
    form = _UserForm
    add_form = UserCreationForm
    change_password_form = _PasswordForm
    list_display = ("username", "full_name", "is_active", "is_staff", "is_superuser", "seen")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    readonly_fields = ("last_login", "date_joined")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the admin log would lose the user's actions."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the read-only fields: one's own flags; those of all for users who are no superusers."""
        fields = tuple(super().get_readonly_fields(request, obj))
        if obj is not None and obj == request.user:
            return (*fields, "is_active", "is_staff", "is_superuser")
        return fields if cast(Any, request.user).is_superuser else (*fields, "is_staff", "is_superuser")

    # The form's check and the change are one transaction.
    user_change_password = transaction.atomic(DjangoUserAdmin.user_change_password)
    full_name = column("full name", lambda user: user.get_full_name(), "last_name")
    seen = column("last log-in", lambda user: ago(user.last_login), "last_login")


class AccountGroupAdmin(_Account, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Lists, adds and changes groups."""

    icon = "groups"
    form = _EditorForm

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may delete this group, or any at all; not a member."""
        allowed = bool(super().has_delete_permission(request, obj))
        return allowed and not (obj and (_is_own(obj, request.user) or self.is_mightier(request, obj)))


class LogEntryAdmin(ReadOnlyModelAdmin):
    """Lists the changes in the admin, with their users; read-only."""

    icon = "history"
    list_display = ("time", "user", "action", "what", "get_change_message")
    list_filter = ("action_flag",)
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "user__username")
    fields = ("time", "user", "action", "content_type", "object_id", "object_repr", "get_change_message")
    readonly_fields = fields

    time = column("time", lambda entry: moment(entry.action_time), "action_time")
    action = column("action", lambda entry: str(entry.get_action_flag_display()), "action_flag")
    what = column(
        "what",
        lambda entry: f"{entry.content_type.name if entry.content_type else 'record'}: {entry.object_repr}",
    )


def register(site: UnfoldAdminSite) -> None:
    """Put users, groups and the admin log on a site."""
    site.register(User, AccountUserAdmin)
    site.register(Group, AccountGroupAdmin)
    site.register(LogEntry, LogEntryAdmin)
