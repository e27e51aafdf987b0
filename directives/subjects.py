"""What directives can be about: every model that names a `SUBJECT_TYPE`, found without being listed.

Such a model has a text form that people recognise (`str`), and may have a `revision`, which counts
its changes, and a `status`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, cast
from uuid import UUID

from django.apps import apps
from django.db import connection
from django.db.models import CharField, Model

from fleetprompt.postgres.prepared import prepared_cursor
from fleetprompt.queries import array
from signals.types import Subject


@cache
def types() -> Mapping[str, type[Model]]:
    """Return the models of all subject types, by type, such as `forum.post`."""
    return {
        found: model
        for model in sorted(apps.get_models(), key=lambda model: model._meta.label)
        if (found := getattr(model, "SUBJECT_TYPE", None))
    }


def model(subject_type: str) -> type[Model] | None:
    """Return the model of a subject type; None when no installed app has one."""
    return types().get(subject_type)


def find(subjects: Iterable[Subject]) -> dict[Subject, Model]:
    """Return the records of those subjects that exist in the active tenant, in one query per type."""
    ids = defaultdict(set)
    for subject in subjects:
        ids[subject.type].add(subject.id)
    return {
        Subject(subject_type, str(record.pk)): record
        for subject_type, wanted in ids.items()
        for record in _records(subject_type, wanted)
    }


def revisions(subject_type: str, ids: Iterable[str]) -> Mapping[str, int]:
    """Return the revision of each subject that exists, by id; nothing for types without revisions."""
    return _values(subject_type, ids, "revision")


def states(subject_type: str, ids: Iterable[str]) -> Mapping[str, str]:
    """Return the status of each subject that exists, by id; nothing for types without one."""
    return _values(subject_type, ids, "status")


def _values(subject_type: str, ids: Iterable[str], field: str) -> dict[str, Any]:
    found = model(subject_type)
    sql = _values_sql(found, field) if found else ""
    if found is None or not sql:
        return {}
    values = list(map(str, _valid(found, ids)))
    # One is asked for with each request of one, and found by its key however many there are.
    with prepared_cursor() if len(values) == 1 else connection.cursor() as cursor:
        cursor.execute(sql, [array(values)])
        return dict(cursor.fetchall())


@cache
def _values_sql(found: type[Model], field: str) -> str:
    if not any(known.name == field for known in found._meta.get_fields()):
        return ""
    quote, known = connection.ops.quote_name, cast(Any, found._meta)
    key, column = quote(known.pk.column), quote(known.get_field(field).column)
    # Of a type that no migration changes: what is prepared must give the same one for ever.
    column += "::text" if isinstance(known.get_field(field), CharField) else "::bigint"
    kind = known.pk.db_type(connection)
    return f"SELECT {key}::text, {column} FROM {quote(known.db_table)} WHERE {key} = ANY(%s::{kind}[])"  # noqa: S608


def _records(subject_type: str, ids: Iterable[str]) -> Iterable[Model]:
    found = model(subject_type)
    return found._default_manager.filter(pk__in=_valid(found, ids)) if found else ()


def _valid(known: type[Model], ids: Iterable[str]) -> Collection[Any]:
    """Return the ids that can be keys of the model: signals may carry any text."""
    if known._meta.pk.get_internal_type() != "UUIDField":
        return list(ids)
    return [found for text in ids if (found := uuid(text))]


def uuid(text: str) -> UUID | None:
    """Return the UUID that a text is; None when it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
