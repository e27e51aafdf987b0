"""Outcome of the last verification on this machine, kept beside the checkpoints for the doctor."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, TypeAdapter

from fleetprompt.tenants.models import Tenant
from signals.audit.sealing import checkpoints


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a verification by this machine's clock, the number of findings, and the first sentence."""

    at: AwareDatetime
    findings: int = 0
    first: str = ""


_JSON = TypeAdapter(Outcome)


def path(tenant: Tenant) -> Path:
    """Return the file of the tenant's outcome."""
    return checkpoints.path(tenant).with_suffix(".verified.json")


def keep(tenant: Tenant, outcome: Outcome) -> None:
    """Replace the outcome that is kept.

    It is not in the database, whose owner could write there that nothing was found.

    Raises:
        OSError: the file cannot be written.
    """
    file = path(tenant)
    # No lock: its file would belong to the user that verifies, and clusters could not take it.
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_bytes(_JSON.dump_json(outcome) + b"\n")
    draft.replace(file)


def last(tenant: Tenant) -> Outcome | None:
    """Return the outcome that is kept; None where no file can be read."""
    try:
        return _JSON.validate_json(path(tenant).read_bytes())
    except (OSError, ValueError):
        return None
