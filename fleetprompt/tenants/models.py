"""Tenants and their host names, in the public schema."""

import re

from django.core.exceptions import ValidationError
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin

SCHEMA_PREFIX = "org_"
SLUG_LENGTH = 50
RESERVED_SLUGS = frozenset(
    {"admin", "api", "information_schema", "org", "postgres", "public", "root", "static", "system", "www"}
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def validate_slug(slug: str) -> None:
    """Check that `slug` can name a tenant, its schema and part of its keys.

    Raises:
        ValidationError: saying what a slug must look like, or that it is reserved.
    """
    if len(slug) > SLUG_LENGTH or not _SLUG.fullmatch(slug):
        raise ValidationError(
            f"slug: expected at most {SLUG_LENGTH} lower-case letters and digits, in groups joined "
            f"by single hyphens or underscores; got {slug[:80]!r}"
        )
    if slug in RESERVED_SLUGS or slug.startswith(SCHEMA_PREFIX):
        raise ValidationError(f"slug: {slug!r} is reserved; choose another")


class Tenant(TenantMixin):
    """One community. Its data lives in the schema `org_<slug>`, which `provisioning` makes and drops."""

    class Status(models.TextChoices):
        """State of a tenant: directives of a suspended one are neither accepted nor run."""

        ACTIVE = "active"
        SUSPENDED = "suspended"

    auto_create_schema = False

    slug = models.CharField(max_length=SLUG_LENGTH, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    def clean(self) -> None:
        """Refuse a name with control characters.

        Raises:
            ValidationError: naming the field.
        """
        if _CONTROL.search(self.name):
            raise ValidationError({"name": f"expected no control characters; got {self.name!r}"})


class Domain(DomainMixin):
    """A host name on which a tenant is served."""

    class Meta:
        ordering = ["-is_primary", "domain"]
