"""Authority: permissions to request, view and operate, and the roles that have them."""
