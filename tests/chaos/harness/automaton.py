"""The legal lives of a directive: an automaton over its signals, as in docs/reference/states.md."""

from dataclasses import dataclass

from tests.chaos.harness.reading import LIFE, Told

# What may follow in which state, and where it leads. `stalled` is a running attempt whose lease ran out.
STEPS = {
    ("nothing", "requested"): "requested",
    ("requested", "snoozed"): "requested",
    ("requested", "run_requested"): "requested",
    ("requested", "canceled"): "canceled",
    ("requested", "started"): "running",
    ("running", "succeeded"): "succeeded",
    ("running", "failed"): "failed",
    ("running", "retry_scheduled"): "requested",
    ("running", "recovered"): "stalled",
    ("stalled", "started"): "running",
    ("stalled", "failed"): "failed",
    ("succeeded", "rerun_requested"): "requested",
    ("failed", "rerun_requested"): "requested",
    ("canceled", "rerun_requested"): "requested",
}


class Illegal(Exception):
    """A signal that may not come here; the text says what was expected and what came."""


@dataclass
class Life:
    """Where a directive stands after the signals so far.

    Args:
        state: a state of `STEPS`.
        attempt: the number of the latest attempt.
        charged: the attempts since the latest request that count against its maximum.
        most: how many may count.
    """

    most: int
    state: str = "nothing"
    attempt: int = 0
    charged: int = 0
    began: bool = True

    def hear(self, told: Told) -> None:
        """Take the next signal.

        Raises:
            Illegal: it may not follow.
        """
        step = told.name.removeprefix(LIFE)
        if (self.state, step) not in STEPS:
            allowed = [name for state, name in STEPS if state == self.state]
            raise Illegal(f"one of {', '.join(allowed)} when {self.state}; {step}")
        self._check_attempts(step)
        if step == "started":
            self.attempt, self.charged = self.attempt + 1, self.charged + 1
        if told.attempt != self.attempt:
            raise Illegal(f"{step} of attempt {self.attempt}; attempt {told.attempt}")
        if step == "recovered":
            self.began = told.payload["began"]
            # Its worker stalled before it began, which is not the directive's fault.
            self.charged -= not self.began
        if step == "rerun_requested":
            self.charged = 0
        self.state = STEPS[self.state, step]

    def _check_attempts(self, step: str) -> None:
        used_up = self.charged >= self.most
        if step == "retry_scheduled" and used_up:
            raise Illegal(f"failed after {self.most} attempts; a retry")
        if self.state == "stalled" and (step == "failed") != (self.began and used_up):
            raise Illegal(f"failed after {self.most} attempts that began, and only then; {step}")
        if step == "started" and used_up:
            raise Illegal(f"at most {self.most} attempts; one more")


def live(told: list[Told], most: int) -> Life:
    """Return where a directive stands after all its signals.

    Args:
        most: how many attempts one request may take.

    Raises:
        Illegal: naming the first signal that may not be there.
    """
    life = Life(most)
    for one in told:
        life.hear(one)
    return life
