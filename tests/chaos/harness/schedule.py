"""When which fault strikes: plain data that follows from a seed."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple


class Fault(NamedTuple):
    """One fault to inject.

    Args:
        at: seconds after the start.
        kind: a key of `faults.KINDS`.
        dice: 0 to 1, chooses the target among those there are by then.
        seconds: how long it lasts, for those that last: 0 to 1 of their longest.
    """

    at: float
    kind: str
    dice: float
    seconds: float


def schedule(seed: int, seconds: float, count: int, weights: Mapping[str, int]) -> list[Fault]:
    """Return `count` faults over `seconds`, every kind once and the others by their weights.

    Args:
        weights: how often each kind comes, in proportion.

    Raises:
        ValueError: there are fewer faults than kinds.
    """
    kinds = sorted(weights)
    if count < len(kinds):
        raise ValueError(f"faults: expected {len(kinds)} or more, one of each kind; got {count}")
    random = Random(f"faults {seed}")
    more = random.choices(kinds, [weights[kind] for kind in kinds], k=count - len(kinds))
    chosen = [*kinds, *more]
    random.shuffle(chosen)
    return [
        Fault((index + random.random()) / count * seconds, kind, random.random(), random.random())
        for index, kind in enumerate(chosen)
    ]
