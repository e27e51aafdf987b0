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
from django.http import HttpRequest, HttpResponse
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


def _held_by(user: Any) -> Q:
    return Q(user=user.pk) | Q(group__user=user.pk)


class _PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Shows a permission by its own name alone."""

    def label_from_instance(self, obj: Any) -> str:
        """Return what the permission allows."""
        return str(obj.name)


_NOT_OWN = "You cannot change your own groups and permissions: ask another manager of users."


class _EditorForm(forms.ModelForm):  # type: ignore[type-arg]
    """Keeps the editing user from changing the groups and permissions that the user holds."""

    editor: Any
    """The user of the request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.kept():
            field: Any = self.fields.get(name)
            if field:
                field.help_text = _NOT_OWN
                # The widget inside the one that links to the related model.
                getattr(field.widget, "widget", field.widget).attrs["disabled"] = True

    def kept(self) -> Sequence[str]:
        """Return the fields that keep the values that are held."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        """Return the input, with the held values, also those that the form does not offer.

        Disabled boxes send nothing. Other choices are errors.
        """
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.kept():
            chosen, held = set(cleaned.get(name, ())), getattr(self.instance, name)
            offered: Any = self.fields.get(name)
            if chosen and chosen != set(offered.queryset.filter(pk__in=held.values("pk"))):
                self.add_error(name, _NOT_OWN)
            elif name in cleaned:
                cleaned[name] = held.all()
        return cleaned


class _UserForm(_EditorForm, UserChangeForm):
    """Keeps a superuser for the site; users cannot change their own groups and permissions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if active := self.fields.get("is_active"):
            active.help_text = (
                "Untick instead of deleting: an inactive user cannot log in, and the admin log keeps "
                "the user's actions."
            )

    def kept(self) -> Sequence[str]:
        """Return the user's own groups and permissions."""
        return ("groups", "user_permissions") if self.instance == self.editor else ()

    def clean(self) -> dict[str, Any]:
        """Return the input.

        Raises:
            ValidationError: no superuser would be left.
        """
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


class _GroupForm(_EditorForm):
    """Keeps the permissions of a group from changes by its members."""

    def kept(self) -> Sequence[str]:
        """Return the permissions where a member edits who is no superuser."""
        return ("permissions",) if self.instance.pk and _is_bound_by(self.instance, self.editor) else ()


_SUPERUSER_FLAGS = ("is_active", "is_staff", "is_superuser")


def _is_bound_by(group: Group, user: Any) -> bool:
    """Return whether a user holds permissions through a group; a superuser needs none."""
    return not user.is_superuser and group.user_set.filter(pk=user.pk).exists()


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

    def held(self, obj: Any) -> Q:
        """Return the filter of an account's permissions."""
        raise NotImplementedError

    def is_mightier(self, request: HttpRequest, obj: Any) -> bool:
        """Return whether an account holds a permission that the user of the request lacks."""
        user = cast(Any, request.user)
        if user.is_superuser:
            return False
        if getattr(obj, "is_superuser", False):
            return True
        mine = own(self.admin_site, user).values("pk")
        return bool(grantable(self.admin_site).filter(self.held(obj)).exclude(pk__in=mine).exists())

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may change this account, or any at all."""
        allowed = bool(super().has_change_permission(request, obj))
        return allowed and (obj is None or not self.is_mightier(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may delete this account, or any at all."""
        allowed = bool(super().has_delete_permission(request, obj))
        return allowed and (obj is None or not self.is_mightier(request, obj))

    def formfield_for_manytomany(
        self, db_field: "ManyToManyField[Any, Any]", request: Any, **kwargs: Any
    ) -> Any:
        """Return boxes for the groups and permissions that the user can grant."""
        permissions = own(self.admin_site, request.user)
        if db_field.name == "groups":
            beyond = grantable(self.admin_site).exclude(pk__in=permissions.values("pk"))
            kwargs["queryset"] = Group.objects.exclude(permissions__in=beyond.values("pk"))
            kwargs["form_class"] = forms.ModelMultipleChoiceField
        else:
            kwargs["queryset"] = permissions
            kwargs["form_class"] = _PermissionsField
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
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

    def held(self, obj: User) -> Q:
        """Return the filter of a user's permissions, also for an inactive one."""
        return _held_by(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the admin log would lose the user's actions."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Return the read-only fields: one's own flags; those of all for users who are no superusers."""
        fields = tuple(super().get_readonly_fields(request, obj))
        if obj is not None and obj == request.user:
            return (*fields, "is_active", "is_staff", "is_superuser")
        return fields if cast(Any, request.user).is_superuser else (*fields, "is_staff", "is_superuser")

    def user_change_password(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """Set a password, in one transaction with the checks of the form."""
        with transaction.atomic():
            response: HttpResponse = super().user_change_password(*args, **kwargs)
        return response

    full_name = column("full name", lambda user: user.get_full_name(), "last_name")
    seen = column("last log-in", lambda user: ago(user.last_login), "last_login")


class AccountGroupAdmin(_Account, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """Lists, adds and changes groups."""

    icon = "groups"
    form = _GroupForm

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may delete this group, or any at all; a member may not."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and not (obj and _is_bound_by(obj, request.user))

    def held(self, obj: Group) -> Q:
        """Return the filter of a group's permissions."""
        return Q(group=obj.pk)


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
