"""A plain Python model of directives, their lines and the forum, to compare the real ones with."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

TERMINAL = ("succeeded", "failed", "canceled")
EFFECTS = {
    "forum.thread.lock": ("locked", "forum.thread.locked"),
    "forum.thread.unlock": ("locked", "forum.thread.unlocked"),
    "forum.post.hide": ("hidden", "forum.post.hidden"),
    "forum.post.unhide": ("hidden", "forum.post.unhidden"),
    "forum.post.delete": ("deleted", "forum.post.deleted"),
}
"""The kind of restriction that each begins or, with "un" in its name, ends; and what it says."""
ATTEMPTS = {"zoo.animal.stumble": 3}
ordinals = count()


@dataclass(eq=False)
class Expected:
    """What one directive should look like."""

    id: object
    name: str
    target: str
    line: str
    note: str = ""
    times: int = 0
    status: str = "requested"
    attempt: int = 0
    max_attempts: int = 0
    due: bool = True
    begun: bool = False
    stalled: bool = False
    stalled_since: int = 0
    place: tuple = ()
    requested: int = field(default_factory=lambda: next(ordinals))
    signals: list = field(default_factory=lambda: ["directive.requested"])

    def __post_init__(self):
        self.max_attempts = ATTEMPTS.get(self.name, 5)
        self.take_place()

    def take_place(self):
        """Go to the end of those that are due, or of those that are for later."""
        self.place = (not self.due, next(ordinals))

    def come_forward(self):
        """Leave those that are for later for the end of those that are due; a retry keeps its place."""
        stands_for_later, _ = self.place
        if stands_for_later:
            self.take_place()

    def say(self, name):
        """Add a signal."""
        self.signals.append(name)


class World:
    """All directives of one tenant, and what they did to its forum."""

    def __init__(self, subjects):
        self.directives = []
        self.free = dict(subjects)
        self.revisions = dict.fromkeys(subjects, 1)
        self.restrictions = {subject: {} for subject in subjects}
        self.effects = Counter()

    @property
    def subjects(self):
        """Status and revision of each subject: the status follows from the strictest restriction."""
        return {
            subject: [([free, *sorted(kinds, reverse=True)][-1]), self.revisions[subject]]
            for (subject, kinds), free in zip(self.restrictions.items(), self.free.values(), strict=True)
        }

    def held_back(self, one):
        """Say whether something runs or stands before a directive in its line."""
        return bool(one.line) and any(
            other is not one
            and other.line == one.line
            and (other.status == "running" or (other.status == "requested" and other.place < one.place))
            for other in self.directives
        )

    def is_due(self, one):
        return one.status == "requested" and one.due and not self.held_back(one)

    def is_stalled(self, one):
        return one.status == "running" and one.stalled

    def is_exhausted(self, one):
        return self.is_stalled(one) and one.begun and one.attempt >= one.max_attempts

    def can_be_claimed(self, one):
        return self.is_due(one) or (self.is_stalled(one) and not self.is_exhausted(one))

    def claim(self, only=None):
        """Claim as a worker does; return what it claimed and what it gave up on."""
        among = [only] if only else self.directives
        stalled = sorted(filter(self.is_stalled, among), key=lambda one: one.stalled_since)
        exhausted = [one for one in stalled if self.is_exhausted(one)]
        recovered = sorted((one for one in stalled if one not in exhausted), key=lambda one: one.begun)
        for one in stalled:
            one.say("directive.recovered")
        for one in exhausted:
            self.end(one, "failed")
        due = sorted(filter(self.is_due, among), key=lambda one: one.place)
        for one in (claimed := [*due, *recovered]):
            one.max_attempts += one.status == "running" and not one.begun
            one.attempt += 1
            one.status, one.begun, one.stalled = "running", False, False
            one.say("directive.started")
        return claimed, exhausted

    def end(self, one, status):
        one.status = status
        one.say(f"directive.{status}")

    def execute(self, one):
        """Execute a claimed directive; return the kind of outcome."""
        if one.name == "zoo.animal.refuse":
            self.end(one, "failed")
        elif one.name == "zoo.animal.stumble" and one.attempt <= one.times:
            if one.attempt >= one.max_attempts:
                self.end(one, "failed")
            else:
                one.status, one.due = "requested", False
                one.say("directive.retry_scheduled")
                return "retry_scheduled"
        elif not self.change_forum(one):
            self.end(one, "failed")
        else:
            self.succeed(one)
        return one.status

    def change_forum(self, one):
        """Do what a directive of the forum does; say whether that is possible."""
        if one.name == "forum.post.create":
            return self.post(one)
        return one.name not in EFFECTS or self.restrict(one)

    def post(self, one):
        """Post, or find what was posted before; say whether there is a post."""
        if not self.effects[one.note] and self.subjects[one.target][0] == "open":
            self.effects[one.note] = 1
            one.say("forum.post.created")
        return bool(self.effects[one.note])

    def restrict(self, one):
        """Begin or end a restriction; say whether that is possible."""
        (kind, signal), active = EFFECTS[one.name], self.restrictions[one.target]
        if ".un" in one.name:
            if kind not in active:
                return False
            if active[kind] > one.requested:
                # It was requested later, and stays.
                return True
            del active[kind]
        elif one.name == "forum.post.hide" and "deleted" in active:
            return False
        elif kind in active:
            return True
        else:
            active[kind] = one.requested
        self.revisions[one.target] += 1
        one.say(signal)
        return True

    def succeed(self, one):
        if one.name.startswith("zoo."):
            self.effects[one.note] += 1
            one.say({"zoo.animal.work": "zoo.animal.worked"}.get(one.name, "zoo.animal.stumbled"))
        self.end(one, "succeeded")
