"""Compatibility: private parts of Django's admin, and undocumented ones of unfold."""

from collections.abc import Mapping
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from fleetprompt import versions

WRITTEN_FOR = {"django": ("5.2",), "django-unfold": ("0.91",)}
"""The versions whose private parts this module, the templates over unfold's and `directives.admin` use."""

versions.guard(__name__, WRITTEN_FOR)


def registered(site: AdminSite) -> Mapping[type[Model], Any]:
    """Return the admins of a site by model."""
    return site._registry


def redirect_missing(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Answer a request for a record that does not exist, as the admin's own pages do."""
    answer: HttpResponse = model_admin._get_obj_does_not_exist_redirect(
        request, model_admin.opts, object_id
    )
    return answer
