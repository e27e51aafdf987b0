"""Waits for directives of several tenants to end, and checks how they ended."""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from directives.models import Directive
from fleetprompt.cli.console import progress
from fleetprompt.demo.cluster import Cluster, DemoError
from fleetprompt.tenants.context import in_tenant

Status = Directive.Status


class Asked(NamedTuple):
    """A directive that was requested, and where."""

    tenant: str
    id: UUID


class Waiter:
    """Waits, all in all not longer than it was given."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def until(self, status: Directive.Status, asked: Sequence[Asked], what: str) -> None:
        """Return when all that was `asked` has ended as `status`, showing progress under the name `what`.

        Raises:
            DemoError: one ended otherwise, time is over, or the cluster is gone.
        """
        ended = 0
        with progress(what, len(asked)) as advance:
            while ended < len(asked):
                found = [d for d in _look(asked) if d.status in Directive.TERMINAL]
                _check(found, status)
                advance(len(found) - ended)
                ended = len(found)
                if ended < len(asked):
                    self._pause(asked)

    def _pause(self, asked: Sequence[Asked]) -> None:
        self._cluster.check()
        if time.monotonic() > self._deadline:
            left = [d for d in _look(asked) if d.status not in Directive.TERMINAL]
            raise DemoError(
                f"{len(left)} of {len(asked)} directives did not finish within {self._seconds:g} s: "
                f"{_listed(left)}.{self._cluster.last_words()}"
            )
        time.sleep(0.05)


def _look(asked: Sequence[Asked]) -> list[Directive]:
    ids = defaultdict(list)
    for tenant, pk in asked:
        ids[tenant].append(pk)
    found: list[Directive] = []
    for tenant, pks in ids.items():
        with in_tenant(tenant):
            found += Directive.objects.filter(pk__in=pks)
    return found


def _check(ended: Sequence[Directive], status: Directive.Status) -> None:
    if others := [directive for directive in ended if directive.status != status]:
        raise DemoError(f"{len(others)} directives were to end {status}: {_listed(others)}")


def _listed(directives: Sequence[Directive]) -> str:
    texts = [f"{d} is {d.status}{d.last_error and f' ({d.last_error})'}" for d in directives[:3]]
    more = len(directives) - len(texts)
    return "; ".join(texts) + (f" and {more} more" if more else "")
