"""The public pages of a forum."""
