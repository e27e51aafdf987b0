"""Database engine of django-tenants, with the embedded server and fewer statements."""
