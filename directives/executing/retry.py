"""When a failed attempt is tried again: policy as plain data."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    Args:
        max_attempts: attempts in all, the first one included.
        first: seconds to wait after the first attempt.
        factor: how many times longer each further wait is.
        longest: seconds that no wait exceeds, before the jitter.
        jitter: the share of the wait that is added at random at most, so that directives that
            failed together do not come back together.

    Raises:
        ValueError: a number that makes no sense.
    """

    max_attempts: int = 5
    first: float = 2.0
    factor: float = 3.0
    longest: float = 600.0
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts: expected 1 or more")
        numbers = (self.first, self.factor, self.longest, self.jitter)
        if not all(map(math.isfinite, numbers)) or min(numbers) < 0 or self.factor < 1:
            raise ValueError("expected first, longest and jitter of 0 or more, and factor of 1 or more")

    def delay(self, attempt: int, dice: float | None = None) -> float:
        """Return the seconds to wait after attempt number `attempt` (1 is the first).

        Args:
            dice: where in the jitter to land, 0 to 1; at random by default.
        """
        try:
            # Without the cap on the exponent, attempt 2,000 of a patient policy would overflow a float.
            wait = min(self.first * self.factor ** min(attempt - 1, 60), self.longest)
        except OverflowError:
            wait = self.longest if self.first else 0.0
        return wait * (1 + self.jitter * (random.random() if dice is None else dice))  # noqa: S311
