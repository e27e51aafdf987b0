"""The database engine that knows tenants: django-tenants' own, with fewer statements."""
