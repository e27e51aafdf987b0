"""What the first page of each site shows."""

from typing import Any

from django.http import HttpRequest


def of_tenant(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the tenant's figures to the page's context."""
    return context


def of_operators(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add every tenant's figures to the page's context."""
    return context
