"""Events: a signal as a CloudEvents 1.0 object of its columns; a seal covers its canonical form."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from django.core.exceptions import ImproperlyConfigured
from django.db.models import CharField, DateTimeField, Field, Model

from signals import sql
from signals.audit.format import canonical, merkle
from signals.models import Signal

ATTRIBUTES = {
    "id": "id",
    "name": "type",
    "dedupe_key": "dedupekey",
    "payload": "data",
    "metadata": "metadata",
    "occurred_at": "time",
    "recorded_at": "recordedtime",
    "actor_type": "actortype",
    "actor_id": "actorid",
    "actor_label": "actorlabel",
    "subject_type": "subjecttype",
    "subject_id": "subjectid",
    "source": "source",
    "correlation_id": "correlationid",
    "causation_id": "causationid",
    "member_id": "memberid",
}
"""The CloudEvents attribute of each column that a seal covers."""
LEFT_OUT = ("personal",)
"""Columns outside the seal: it covers the commitments in the payload."""
_ALWAYS = frozenset({"id", "type", "time", "recordedtime", "dedupekey", "actortype"})
"""Attributes that an event has even when their text is empty."""


def check_named(model: type[Model], *, sealed: Collection[str], left_out: Collection[str] = ()) -> None:
    """Check that the names are exactly the columns of a model.

    Raises:
        ImproperlyConfigured: naming a column that is new, gone or named as both. An unnamed column would
            stay outside the seal, where a change of it is not noticed.
    """
    names = [*sealed, *left_out]
    columns = {str(field.column) for field in model._meta.concrete_fields}
    if wrong := sorted(columns ^ set(names)) or sorted({name for name in names if names.count(name) > 1}):
        raise ImproperlyConfigured(
            f"{model.__name__}: expected each column once in signals.audit, as sealed or as left out; got "
            f"{', '.join(wrong)}. Old seals stay valid only if existing rows keep their bytes"
        )


check_named(Signal, sealed=ATTRIBUTES, left_out=LEFT_OUT)
_FIELDS = [field for field in Signal._meta.concrete_fields if field.column in ATTRIBUTES]
_NAMES = [ATTRIBUTES[str(field.column)] for field in _FIELDS]


def _as_text(field: "Field[Any, Any]") -> str:
    column = f"s.{field.column}"
    if isinstance(field, DateTimeField):
        return sql.TIME_TEXT.format(column=column)
    return column if isinstance(field, CharField) else f"{column}::text"


COLUMNS = ", ".join(map(_as_text, _FIELDS))
"""The columns that a SELECT from `signals_signal AS s` must give, in this order, for `event`."""
WIDTH = len(_FIELDS)
"""The number of these columns."""
ID, NAME, RECORDED, DATA = (_NAMES.index(name) for name in ("id", "type", "recordedtime", "data"))
"""The places of some of them."""
_METADATA, _SOURCE = (_NAMES.index(name) for name in ("metadata", "source"))


def event(row: Sequence[Any], tenant: str) -> bytes:
    """Return the canonical form of a signal: an RFC 8785 JSON object, a CloudEvents 1.0 event.

    Empty texts and empty metadata are left out. The row has the values of `COLUMNS`, and possibly more.
    """
    found = {name: text for name, text in zip(_NAMES, row, strict=False) if text or name in _ALWAYS}
    found["data"], is_plain = canonical.parse(row[DATA])
    metadata, metadata_is_plain = canonical.parse(row[_METADATA])
    if metadata == {}:
        del found["metadata"]
    else:
        found["metadata"] = canonical.dumps(metadata, is_plain=metadata_is_plain).decode()
    found["source"] = _source(tenant, row[_SOURCE])
    subject_type, subject_id = found.get("subjecttype", ""), found.get("subjectid", "")
    if subject_type or subject_id:
        found["subject"] = f"{subject_type}:{subject_id}"
    found |= {"specversion": "1.0", "datacontenttype": "application/json"}
    return canonical.dumps(found, is_plain=is_plain)


def leaf(row: Sequence[Any], tenant: str) -> bytes:
    """Return the hash of a signal as a leaf of a seal's tree; the arguments are those of `event`."""
    return merkle.leaf_hash(event(row, tenant))


@lru_cache
def _source(tenant: str, source: str) -> str:
    return f"/{tenant}/{quote(source, safe='')}" if source else f"/{tenant}"
