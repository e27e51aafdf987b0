"""Vocabulary of the benchmark: measurements, results and targets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.world import World


@dataclass(frozen=True)
class Taken:
    """One measurement, in the unit of its `Measurement`, and what a picture can show of it.

    `others` are more values of the same measurement in the same unit, such as `p95`; a `Row` names them
    after a dot.
    """

    value: float
    others: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """One thing that is measured in every round.

    Args:
        name: unique; a yardstick is one that others are compared with.
        what: for people.
        unit: of the value, such as `directives/s` or `ms`.
        measure: does it once.
        once: whether one round is enough, because it is long or counts for itself; the last one, after all
            else, since it may leave the installation another one.
        needs: why it cannot be measured here and now; empty when it can.
    """

    name: str
    what: str
    unit: str
    measure: "Callable[[World], Taken]"
    once: bool = False
    needs: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Row:
    """One line of the table: a measurement by itself, or compared with a yardstick.

    Args:
        figure: the group it belongs to, what `--only` names.
        what: for people.
        of: the measurement's name.
        over: the yardstick's name; None compares with nothing.
        at_least: the target of the ratio, or of the value without a yardstick.
        at_most: the same where less is better.
    """

    figure: str
    what: str
    of: str
    over: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def target(self) -> str:
        """The target as people write it; empty for a figure that is only shown."""
        times = " ×" if self.over else ""
        if self.at_least is not None:
            return f"≥ {self.at_least:,g}{times}"
        return f"≤ {self.at_most:,g}{times}" if self.at_most is not None else ""

    def reached(self, value: float) -> bool | None:
        """Return whether `value` is as wanted; None without a target."""
        if self.at_least is not None:
            return value >= self.at_least
        return value <= self.at_most if self.at_most is not None else None
