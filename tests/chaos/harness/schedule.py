"""The schedule of faults: plain data derived from a seed."""

from random import Random
from typing import NamedTuple

# How often each kind comes, in proportion. What stops the whole database for seconds is rare, as in life.
WEIGHTS = {
    "kill_process": 16,
    "stop_process": 6,
    "kill_cluster": 3,
    "kill_requester": 6,
    "kill_sealer": 4,
    "kill_backend": 1,
    "kill_server": 1,
    "restart_fast": 1,
    "restart_immediate": 1,
    "cut_connection": 11,
    "cut_all_connections": 4,
    "cancel_statements": 8,
    "delete_wake_ups": 8,
    "double_wake_ups": 8,
    "expire_leases": 10,
    "hold_subject": 6,
    "hold_claims": 5,
}


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


def schedule(seed: int, seconds: float, count: int) -> list[Fault]:
    """Return `count` faults over `seconds`, every kind once and the others by their weights.

    Raises:
        ValueError: there are fewer faults than kinds.
    """
    kinds = sorted(WEIGHTS)
    if count < len(kinds):
        raise ValueError(f"faults: expected {len(kinds)} or more, one of each kind; got {count}")
    random = Random(f"faults {seed}")
    more = random.choices(kinds, [WEIGHTS[kind] for kind in kinds], k=count - len(kinds))
    chosen = [*kinds, *more]
    random.shuffle(chosen)
    return [
        Fault((index + random.random()) / count * seconds, kind, random.random(), random.random())
        for index, kind in enumerate(chosen)
    ]
