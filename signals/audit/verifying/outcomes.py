"""The outcome of the last verification on this machine, kept beside the checkpoints for the doctor."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleetprompt.tenants.models import Tenant
from signals.audit.publishing import checkpoints


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification came to.

    Args:
        at: when it ended, by this machine's clock.
        seals: how many seals there were.
        findings: how many things did not fit.
        first: the sentence about the first of them.
    """

    at: datetime
    seals: int
    findings: int = 0
    first: str = ""


def path(tenant: Tenant) -> Path:
    """Return where the tenant's outcome is kept."""
    return checkpoints.path(tenant).with_suffix(".verified.json")


def keep(tenant: Tenant, outcome: Outcome) -> None:
    """Replace the outcome that is kept.

    Not in the database: its owner could write there that all is well.

    Raises:
        OSError: the file cannot be written.
    """
    file = path(tenant)
    row = {
        "at": outcome.at.isoformat(),
        "seals": outcome.seals,
        "findings": outcome.findings,
        "first": outcome.first,
    }
    # No lock: its file would belong to whoever verifies, and clusters could not take it.
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(row, ensure_ascii=False) + "\n")
    draft.replace(file)


def last(tenant: Tenant) -> Outcome | None:
    """Return the outcome that is kept; None where there is none that can be read."""
    try:
        row = json.loads(path(tenant).read_text())
        return _parsed(row)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _parsed(row: Mapping[str, object]) -> Outcome:
    at = datetime.fromisoformat(str(row["at"]))
    if at.tzinfo is None:
        raise ValueError("at: expected a time with a zone")
    return Outcome(at, int(str(row["seals"])), int(str(row["findings"])), str(row["first"]))
