"""Report of a run: figures and all violations by name."""

import json
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.chaos.harness.checks import restrictions
from tests.chaos.harness.cuts import summary
from tests.chaos.harness.faults import KINDS, SERVER_RESTARTS
from tests.chaos.harness.reading import Town, Violation


@dataclass
class Report:
    """The figures of one run.

    Args:
        struck: how often each kind of fault struck.
        seconds: how long the faults went on; `drained` how long it took afterwards to become quiet.
        promised: directives whose request was answered; `operations` likewise.
        effects: seconds from each cut of all connections until what was asked for then had its effect.
        fenced: attempts that were kept out because another one had taken over.
        restarts: clusters that ended by themselves, as one does that finds no database at its start.
        restrictions: how many there were, by how they ended.
        audit: what the audit log's own check said; `seals` how many there were.
    """

    seed: int
    struck: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    drained: float = 0.0
    restarts: int = 0
    effects: list[float] = field(default_factory=list)
    promised: int = 0
    operations: int = 0
    fenced: int = 0
    audit: str = "not looked at"
    seals: int = 0
    tenants: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    restrictions: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add(self, town: Town) -> None:
        """Count one tenant."""
        self.tenants += 1
        self.statuses.update(one.status for one in town.directives.values())
        self.told.update(one.name for one in town.told)
        self.restrictions.update(restrictions.how_it_ended(town, one) for one in town.restrictions.values())

    def as_json(self) -> str:
        """Return the figures and the violations for programs."""
        violations = [violation._asdict() for violation in self.violations]
        return json.dumps({**vars(self), "violations": violations}, indent=2)

    def show(self, console: Console) -> None:
        """Print the figures and the violations."""
        table = Table(title=f"Chaos, seed {self.seed}", title_style="bold", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for what, figure in self._figures():
            table.add_row(what, figure)
        console.print(table)
        for violation in self.violations:
            console.print(f"VIOLATION {violation}", soft_wrap=True, markup=False, highlight=False)

    def _figures(self) -> list[tuple[str, str]]:
        directives = self.statuses.total()
        seconds = self.seconds + self.drained
        return [
            ("directives", f"{directives:,}"),
            *((f"  {status}", f"{count:,}") for status, count in sorted(self.statuses.items())),
            ("requests that were answered", f"{self.promised:,}"),
            ("operations that were answered", f"{self.operations:,}"),
            ("restrictions", f"{self.restrictions.total():,}"),
            *((f"  {how}", f"{count:,}") for how, count in sorted(self.restrictions.items())),
            ("tenants", f"{self.tenants}"),
            ("attempts", f"{self.told['directive.started']:,}"),
            ("leases recovered", f"{self.told['directive.recovered']:,}"),
            ("attempts that the fence kept out", f"{self.fenced:,}"),
            ("retries", f"{self.told['directive.retry_scheduled']:,}"),
            ("signals", f"{self.told.total():,}"),
            ("faults", f"{self.struck.total()} of {len(self.struck)} kinds"),
            *((f"  {kind}", f"{self.struck[kind]}") for kind in KINDS if self.struck[kind]),
            ("PostgreSQL restarts", f"{sum(self.struck[kind] for kind in SERVER_RESTARTS)}"),
            ("clusters that ended and were started again", f"{self.restarts}"),
            ("from a cut of all connections to the effect", summary(self.effects)),
            ("minutes of faults", f"{self.seconds / 60:.1f}"),
            ("seconds until quiet afterwards", f"{self.drained:.1f}"),
            ("directives per second", f"{directives / seconds if seconds else 0:.1f}"),
            ("audit log", f"{self.seals} seals, {self.audit}"),
            ("violations", f"{len(self.violations)}"),
        ]
