"""Recipes of a tenant without a schema and of secondary domains."""

from model_bakery.recipe import Recipe, seq

from fleetprompt.tenants.models import Domain, Tenant

# The schema is made by `create_tenant` alone, so these are what is left when it is missing.
ghost = Recipe(Tenant, slug="ghost", name="Ghost", schema_name="org_ghost")
domain = Recipe(Domain, domain=seq("domain-", suffix=".example.org"), is_primary=False)
