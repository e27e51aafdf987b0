"""Database engine of django-tenants, with fewer statements."""
