"""Walk: compares one seal with its entries and signals as they are stored now."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.models import Tenant
from signals import sql
from signals.audit.format import events, merkle, openings
from signals.audit.verifying.findings import Finding
from signals.models import Seal


class Walk:
    """Takes the entries of a tenant's seal in their order, and returns findings at the end.

    The seal's signature is checked elsewhere. `erased` counts signals whose personal values are gone.
    """

    def __init__(self, tenant: Tenant, seal: Seal) -> None:
        self._tenant, self._seal = tenant, seal
        self._found: list[Finding] = []
        self._expected = 0
        self._stored: list[bytes] = []
        self._computed: list[bytes] = []
        self._order: list[tuple[str, str, int, str]] = []
        self._personal: list[Finding] = []
        self.erased = 0

    def step(self, row: Sequence[Any]) -> None:
        """Take the next entry, a row of `stored.parts`."""
        pk, index, leaf, is_early, personal = row[events.WIDTH :]
        self._check_gap(index, row)
        self._expected = index + 1
        self._stored.append(bytes(leaf))
        if row[events.ID] is None:
            self._find("removed", f"signal {pk} was removed", row)
            return
        self._computed.append(events.leaf(row, self._tenant.slug))
        if self._computed[-1] != bytes(leaf):
            self._find("changed", f"{_named(row)} was changed", row)
            return
        self._order.append((row[events.RECORDED], row[events.ID], index, row[events.NAME]))
        if is_early:
            text = f"{_named(row)} was inserted with a time up to which an earlier seal is complete"
            self._find("inserted", text, row)
        if personal is None:
            self.erased += openings.is_committed(row[events.DATA])
        elif wrong := openings.stored_problem(row[events.DATA], personal):
            self._personal.append(self._finding("personal", f"{_named(row)}: {wrong}", row))

    def end(self) -> list[Finding]:
        """Return the findings in the order of places."""
        self._check_gap(self._seal.size)
        self._check_extra()
        if self._found and self._fits(self._computed):
            is_kept = "is as it was sealed, but its entry was changed"
            self._found = [
                replace(found, what="entries", text=found.text.replace("was changed", is_kept))
                if found.what == "changed"
                else found
                for found in self._found
            ]
        self._check_order()
        if not self._found and not self._fits(self._stored):
            text = (
                f"seal {self._seal.number} does not fit its entries: at least one of its {self._seal.size} "
                "signals was changed, removed, inserted or reordered together with its entry"
            )
            self._found.append(Finding("entries", text, seal=self._seal.number))
        return sorted([*self._found, *self._personal], key=lambda finding: finding.index or 0)

    def _fits(self, leaves: Sequence[bytes]) -> bool:
        return len(leaves) == self._seal.size and merkle.root(leaves).hex() == self._seal.root

    def _find(self, what: str, text: str, row: Sequence[Any]) -> None:
        self._found.append(self._finding(what, text, row))

    def _finding(self, what: str, text: str, row: Sequence[Any]) -> Finding:
        pk, index = row[events.WIDTH], row[events.WIDTH + 1]
        text = f"{text}; known by seal {self._seal.number}, place {index}"
        return Finding(what, text, pk, row[events.NAME], self._seal.number, index)

    def _check_gap(self, index: int, row: Sequence[Any] | None = None) -> None:
        """Report the places before `index` that have no entry any more."""
        first, count = self._expected, index - self._expected
        if count <= 0:
            return
        places = f"place {first}" if count == 1 else f"places {first} to {index - 1}"
        if pk := self._without_entry(row) if count == 1 else None:
            text = f"signal {pk} lost its entry; known by seal {self._seal.number}, {places}"
            self._found.append(Finding("entries", text, pk, None, self._seal.number, first))
        else:
            after = f" after signal {self._order[-1][1]}" if self._order else ""
            if index == self._seal.size:
                after += ", or before if the others were renumbered,"
            text = f"what stood at {places} of seal {self._seal.number}{after} was removed with its entry"
            self._found.append(Finding("removed", text, seal=self._seal.number, index=first))

    def _check_extra(self) -> None:
        """Report the entry that is too many: the one without which the root fits, or else the last."""
        extra = len(self._stored) - self._seal.size
        if extra <= 0:
            return
        at = self._seal.size
        if extra == 1:
            places = range(len(self._stored))
            # Up to a minute for a full seal, but only where an entry was added.
            at = next((i for i in places if self._fits(self._stored[:i] + self._stored[i + 1 :])), at)
        number = self._seal.number
        [(pk, name)] = fetch_all(sql.ENTRY_AT, number, at) or [(None, None)]
        text = f"signal {pk} ({name}) was inserted, with an entry of its own; in seal {number}, place {at}"
        self._found = [finding for finding in self._found if finding.index != at]
        self._found.append(Finding("inserted", text, pk, name, number, at))

    def _without_entry(self, following: Sequence[Any] | None) -> str | None:
        """Return the signal without an entry between the neighbours, if there is exactly one."""
        last = self._order[-1][:2] if self._order else ("-infinity", "00000000-0000-0000-0000-000000000000")
        upto = ("infinity", "ffffffff-ffff-ffff-ffff-ffffffffffff")
        if following and following[events.ID]:
            upto = (following[events.RECORDED], following[events.ID])
        found = fetch_all(sql.UNSEALED_BETWEEN, *last, *upto)
        return found[0][0] if len(found) == 1 else None

    def _check_order(self) -> None:
        if not all(time.endswith("Z") for time, *_ in self._order):
            return  # Texts of times beyond the calendar do not sort.
        known = {finding.index for finding in self._found}
        order = [entry for entry in self._order if entry[2] not in known]
        for entry, other in zip(order, sorted(order), strict=True):
            _, pk, index, name = entry
            if entry != other:
                text = (
                    f"signal {pk} ({name}) was reordered, {other[1]} belongs there; "
                    f"known by seal {self._seal.number}, place {index}"
                )
                self._found.append(Finding("reordered", text, pk, name, self._seal.number, index))


def _named(row: Sequence[Any]) -> str:
    return f"signal {row[events.ID]} ({row[events.NAME]})"
