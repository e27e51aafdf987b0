"""A signal as a CloudEvents 1.0 object of all its columns; its canonical form is what a seal covers."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from signals.audit.format import canonical, merkle

# PostgreSQL holds times that Python does not. These texts are the same whatever the session's settings.
_TIME = """
    CASE WHEN NOT isfinite({column}) THEN {column}::text
    ELSE to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || CASE WHEN {column} < '0001-01-01Z' THEN ' BC' ELSE '' END END
"""
RECORDED_TEXT = _TIME.format(column="s.recorded_at")
"""SQL for `recorded_at` as events have it."""
COLUMNS = ", ".join(
    [
        "s.id::text, s.name, s.dedupe_key, s.payload::text, s.metadata::text",
        _TIME.format(column="s.occurred_at"),
        RECORDED_TEXT,
        "s.actor_type, s.actor_id, s.actor_label, s.subject_type, s.subject_id",
        "s.source, s.correlation_id, s.causation_id",
    ]
)
"""What a SELECT from `signals_signal AS s` must give, in this order, for `event`."""
WIDTH = 15
"""The number of these columns."""
ID, NAME, RECORDED = 0, 1, 6
"""The places of some of them."""


def event(row: Sequence[Any], tenant: str) -> bytes:
    """Return the canonical form of a signal: an RFC 8785 JSON object, a CloudEvents 1.0 event.

    Texts that are empty, and metadata without anything in it, are left out.

    Args:
        row: the values of `COLUMNS`.
        tenant: the slug of the tenant whose signal it is.
    """
    data, data_is_plain = canonical.parse(row[3])
    metadata, metadata_is_plain = canonical.parse(row[4])
    subject_type, subject_id = row[10], row[11]
    optional = {
        "actorid": row[8],
        "actorlabel": row[9],
        "subject": f"{subject_type}:{subject_id}" if subject_type or subject_id else "",
        "subjecttype": subject_type,
        "subjectid": subject_id,
        "correlationid": row[13],
        "causationid": row[14],
        "metadata": canonical.dumps(metadata, is_plain=metadata_is_plain).decode()
        if metadata != {}
        else "",
    }
    found = {
        "specversion": "1.0",
        "id": row[0],
        "type": row[1],
        "source": _source(tenant, row[12]),
        "time": row[5],
        "recordedtime": row[6],
        "dedupekey": row[2],
        "actortype": row[7],
        "datacontenttype": "application/json",
        "data": data,
        **{name: text for name, text in optional.items() if text},
    }
    return canonical.dumps(found, is_plain=data_is_plain)


def leaf(row: Sequence[Any], tenant: str) -> bytes:
    """Return the hash of a signal as a leaf of a seal's tree; the arguments are those of `event`."""
    return merkle.leaf_hash(event(row, tenant))


@lru_cache
def _source(tenant: str, source: str) -> str:
    return f"/{tenant}/{quote(source, safe='')}" if source else f"/{tenant}"
