"""Requests of the simulated requesters: plain data derived from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

THREADS, POSTS = 4, 40
HOT = ("cat", "dog", "cow")

# How often each directive is asked for. What costs a worker seconds, or its life, is rare.
NAMES = {
    "forum.thread.lock": 40,
    "forum.thread.unlock": 60,
    "forum.post.hide": 140,
    "forum.post.unhide": 140,
    "forum.post.delete": 50,
    "forum.post.restore": 50,
    "forum.thread.archive": 20,
    "forum.thread.unarchive": 30,
    "forum.thread.hide": 20,
    "forum.thread.unhide": 30,
    "forum.post.create": 150,
    "zoo.animal.work": 220,
    "zoo.animal.roam": 120,
    "zoo.animal.stumble": 40,
    "zoo.animal.hang": 3,
    "zoo.animal.refuse": 12,
    "zoo.animal.crash": 6,
    "zoo.animal.quit": 4,
    "zoo.animal.babble": 4,
    "zoo.animal.mute": 4,
    "zoo.animal.escape": 4,
    "zoo.animal.swallow": 4,
    "zoo.animal.orphan": 4,
    "zoo.animal.gorge": 4,
    "zoo.animal.pretend": 4,
    "zoo.animal.delegate": 6,
    "zoo.animal.doze": 2,
    "zoo.animal.hibernate": 2,
    "zoo.animal.die": 2,
    "zoo.animal.freeze": 1,
    "zoo.animal.procrastinate": 1,
}
EXPIRING = (
    *("forum.thread.lock", "forum.thread.archive", "forum.thread.hide"),
    *("forum.post.hide", "forum.post.delete"),
)
"""What may be asked for with an end."""
ON_RESTRICTIONS = {"undo": 4, "undo_batch": 1, "end": 3, "reschedule": 3}
"""Operations on directives of the forum."""
OPERATIONS = {"snooze": 3, "run_now": 3, "cancel": 3, "rerun": 3, "again": 3, **ON_RESTRICTIONS}


@dataclass(frozen=True)
class Item:
    """One directive to ask for.

    Args:
        key: its idempotency key; also the mark it leaves, so that every effect names its directive.
        target: which thread or post it is about; -1 for an animal.
        payload: what the payload has beside the target.
        later: seconds until it is wanted; 0 for now.
        lasts: seconds until what it begins ends by itself; 0 when it is to stay.
    """

    key: str
    name: str
    target: int
    payload: dict[str, Any] = field(hash=False)
    later: float
    lasts: float = 0.0


@dataclass(frozen=True)
class Request:
    """One request of a requester: to create directives, or to operate on one.

    Args:
        number: its place among the requester's requests.
        share: how much of the requester's directives have been asked for before it, 0 to 1.
        operation: a key of `OPERATIONS`; empty for asking.
        items: what is asked for, in one request.
        dice: 0 to 1, chooses the directive that is operated on.
    """

    number: int
    share: float
    tenant: str
    operation: str
    items: tuple[Item, ...]
    dice: float


def tenants(count: int) -> list[str]:
    """Return the slugs of the tenants."""
    return [f"town{number}" for number in range(1, count + 1)]


def requests(seed: int, requester: int, directives: int, slugs: list[str]) -> Iterator[Request]:
    """Yield one requester's requests until `directives` directives have been asked for."""
    # The text is part of what a seed means.
    random = Random(f"wishes {seed} {requester}")
    asked, number = 0, 0
    while asked < directives:
        tenant, dice = random.choice(slugs), random.random()
        operation, items = "", ()
        if random.random() < 0.35:
            operation = random.choices([*OPERATIONS], [*OPERATIONS.values()])[0]
        else:
            size = 1 if random.random() < 0.7 else random.randint(2, 25)
            mark = f"{tenant}:{requester}:{number}"
            items = tuple(
                _item(random, f"{mark}:{index}") for index in range(min(size, directives - asked))
            )
        yield Request(number, asked / directives, tenant, operation, items, dice)
        asked, number = asked + len(items), number + 1


def _item(random: Random, key: str) -> Item:
    name = random.choices([*NAMES], [*NAMES.values()])[0]
    later = random.uniform(0.5, 4) if random.random() < 0.05 else 0.0
    _, kind, _ = name.split(".")
    if kind == "animal":
        return Item(key, name, -1, _animal(random, name, key), later)
    target = random.randrange(THREADS) if kind == "thread" or name == "forum.post.create" else _post(random)
    payload = {"content": key, "author_id": "chaos", "client_request_id": key} if "create" in name else {}
    lasts = later + random.uniform(2, 6) if name in EXPIRING and random.random() < 0.4 else 0.0
    return Item(key, name, target, payload, later, lasts)


def _post(random: Random) -> int:
    return random.randrange(3) if random.random() < 0.4 else random.randrange(POSTS)


def _animal(random: Random, name: str, key: str) -> dict[str, Any]:
    animal = random.choice(HOT) if random.random() < 0.3 else f"animal {random.randrange(60)}"
    payload = {"animal": animal, "note": key}
    if name in ("zoo.animal.work", "zoo.animal.roam"):
        # Some run long enough for their lease to be cut short in the middle.
        payload["seconds"] = 1.0 if random.random() < 0.01 else random.choice([0.0, 0.0, 0.01])
    elif name == "zoo.animal.delegate":
        payload["note"] = ""
    else:
        payload["times"] = random.randrange(4)
    return payload
