"""The cache in the database, where forms and results, with texts of people, are kept for an hour."""

from typing import Any

from django.conf import settings
from django.db import connection

from fleetprompt.postgres.queries import execute


def remove_expired() -> int:
    """Delete the rows that have expired, and return how many; Django keeps them until it needs the room."""
    cache: Any = settings.CACHES["default"]
    if not cache["BACKEND"].endswith(".DatabaseCache"):
        return 0
    table = connection.ops.quote_name(cache["LOCATION"])
    return execute(f"DELETE FROM public.{table} WHERE expires < statement_timestamp()")  # noqa: S608 -- a setting
