"""What directives can be about: every model that names a `SUBJECT_TYPE`, found without being listed.

Such a model has a text form that people recognise (`str`), a primary key of a kind that
`fleetprompt.postgres.primary_keys` knows, and may have
a `revision`, which counts its changes, and a `status`.
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
from fleetprompt.postgres.primary_keys import primary_key
from fleetprompt.postgres.queries import array
from signals.types import Subject, stored_subject


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


def key(subject_type: str, text: str) -> Any:
    """Return the primary key that a text means among subjects of a type; None when it can mean none."""
    found = model(subject_type)
    return primary_key(found, text) if found else None


def subject_of(record: Any) -> Subject:
    """Return a record of such a model as a subject; its id may be one that nobody could request."""
    return cast(Subject, stored_subject(record.SUBJECT_TYPE, str(record.pk)))


def find(subjects: Iterable[Subject]) -> dict[Subject, Model]:
    """Return the records of those subjects that exist in the active tenant, in one query per type."""
    ids = defaultdict(set)
    for subject in subjects:
        ids[subject.type].add(subject.id)
    return {
        cast(Subject, stored_subject(subject_type, str(record.pk))): record
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
    owner = _owner(found, field) if found else None
    if found is None or owner is None:
        return {}
    if owner is not found._meta.concrete_model:
        # The column is in a parent's table.
        rows = found._base_manager.filter(pk__in=_valid(found, ids)).values_list("pk", field)
        return {str(pk): value for pk, value in rows}
    sql, values = _values_sql(found, field), list(map(str, _valid(found, ids)))
    # One is asked for with each request of one, and found by its key however many there are.
    with prepared_cursor() if len(values) == 1 else connection.cursor() as cursor:
        cursor.execute(sql, [array(values)])
        return dict(cursor.fetchall())


@cache
def _owner(found: type[Model], field: str) -> type[Model] | None:
    """Return the model whose table has a field; None when there is no such field."""
    names = {known.name for known in found._meta.concrete_fields}
    return found._meta.get_field(field).model if field in names else None


@cache
def _values_sql(found: type[Model], field: str) -> str:
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
    return [found for text in ids if (found := primary_key(known, text)) is not None]


def uuid(text: str) -> UUID | None:
    """Return the UUID that a text is; None when it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
