"""A plain Python model of restrictions, of the directives that begin and end them, and of undo."""

from dataclasses import dataclass, field
from itertools import count

RESTRICTING = {
    "forum.post.hide": ("hidden", "forum.post.hidden"),
    "forum.post.delete": ("deleted", "forum.post.deleted"),
    "forum.thread.lock": ("locked", "forum.thread.locked"),
    "forum.thread.archive": ("archived", "forum.thread.archived"),
    "forum.thread.hide": ("hidden", "forum.thread.hidden"),
}
LIFTING = {
    "forum.post.unhide": ("hidden", "forum.post.unhidden"),
    "forum.post.restore": ("deleted", "forum.post.restored"),
    "forum.thread.unlock": ("locked", "forum.thread.unlocked"),
    "forum.thread.unarchive": ("archived", "forum.thread.unarchived"),
    "forum.thread.unhide": ("hidden", "forum.thread.unhidden"),
}
END, RESCHEDULE = "restriction.end", "restriction.reschedule"
FROM_WEAK_TO_STRICT = {
    "post": {"published": None, "hidden": "hidden", "deleted": "deleted"},
    "thread": {"open": None, "locked": "locked", "archived": "archived"},
}
TERMINAL = ("succeeded", "failed", "canceled")

_ordinals = count()


class Impossible(Exception):
    """What the directive asks for cannot be done: it fails, or the operation is refused."""


@dataclass(eq=False)
class Record:
    """A post or a thread."""

    kind: str
    id: str
    revision: int = 1
    restrictions: list = field(default_factory=list)

    @property
    def active(self):
        return [one for one in self.restrictions if not one.ended_by]

    @property
    def columns(self):
        """Status, and for a thread whether it is hidden: what follows from the active restrictions."""
        kinds = {one.kind for one in self.active} | {None}
        status = [status for status, kind in FROM_WEAK_TO_STRICT[self.kind].items() if kind in kinds][-1]
        return (status, "hidden" in kinds) if self.kind == "thread" else (status,)


@dataclass(eq=False)
class Restricted:
    """A restriction of a record."""

    record: Record
    kind: str
    by: "Command"
    requested: int
    until: object = None
    ended_by: "Command | None" = None
    moved_by: "Command | None" = None
    id: object = None


@dataclass(eq=False)
class Command:
    """A directive.

    Args:
        until: when what it does ends by itself, or is to end from now on.
        about: the restriction that it ends or reschedules.
        is_timer: it is what ends a restriction by itself, at `until`.
        is_end: it is what ends a lift by itself.
        expected: the revision at which it expects its record.
        created, completed: the places of its first request and of its last success in time.
        began, kept, ended, moved: what its last success did, and `left` the revision after it.
        effect: these of the last success that did something; a rerun may have done nothing since.
        undo: what undoes that.
    """

    id: object
    name: str
    record: Record
    actor: object
    until: object = None
    about: Restricted | None = None
    is_timer: bool = False
    is_end: bool = False
    reason: str = ""
    expected: int | None = None
    status: str = "requested"
    is_due: bool = True
    requested: int = field(default_factory=lambda: next(_ordinals))
    completed: int = 0
    began: Restricted | None = None
    kept: Restricted | None = None
    ended: list = field(default_factory=list)
    moved: tuple = ()
    left: int = 0
    effect: tuple = ()
    result: dict = field(default_factory=dict)
    signals: list = field(default_factory=list)
    undo: "Command | None" = None
    crashes: int = 0

    def __post_init__(self):
        self.created = self.requested


class World:
    """The forum, what restricts it, and all directives of one tenant."""

    def __init__(self, records, may):
        """Begin with unrestricted records; `may(actor, name)` says who may request what."""
        self.records = records
        self.may = may
        self.commands = []
        self.wanted_timers = []
        self.wanted_ends = []

    @property
    def restrictions(self):
        return [one for record in self.records for one in record.restrictions]

    def again(self, command):
        """Have a command that ended run once more: what it asks for is asked for now."""
        command.status, command.is_due = "requested", True
        command.requested = next(_ordinals)

    def execute(self, command):
        """Execute a command whose turn has come."""
        record, before = command.record, command.record.columns
        revision = record.revision
        command.began, command.kept, command.ended, command.moved = None, None, [], ()
        try:
            if command.is_end and command.expected != revision:
                self._supersede(command)
                return
            if command.expected not in (None, revision):
                raise Impossible("the record changed since")
            self._change(command)
        except Impossible:
            command.status = "failed"
            return
        command.status, command.completed = "succeeded", next(_ordinals)
        if command.began or command.ended or command.moved:
            record.revision += 1
        command.left = record.revision
        if command.began or command.kept or command.ended or command.moved:
            command.effect = command.began or command.kept, command.ended, command.moved, command.left
            command.undo = None
        by = (
            None
            if command.ended or not command.is_timer
            else command.about.ended_by or command.about.moved_by
        )
        still = [one for one in record.active if one is not command.began]
        command.result = {"changed": before != record.columns, "still": still, "superseded_by": by}
        if command.began or command.ended or command.moved:
            # The column that is about the kind of what began, ended or moved.
            about = command.began or [*command.ended, command.about][0]
            column = 1 if (record.kind, about.kind) == ("thread", "hidden") else 0
            says = _signal(command), before[column], record.columns[column], record.revision
            command.signals.append((*says, command.began, command.ended))
        if command.name in LIFTING and command.until and command.ended:
            end = self.undoing(command)
            if end.until is None or end.until > command.until:
                self.wanted_ends.append((command, end))

    def _supersede(self, command):
        """Have an end succeed without a change, because something came since."""
        later = [
            one
            for one in self.commands
            if (one.record, one.status) == (command.record, "succeeded")
            and (one.began or one.ended or one.moved)
            and one.completed > command.created
        ]
        by = max(later, key=lambda one: one.completed, default=None)
        command.status, command.completed = "succeeded", next(_ordinals)
        command.left = command.record.revision
        command.result = {"changed": False, "still": [], "superseded_by": by}

    def _change(self, command):
        record = command.record
        if command.name in RESTRICTING:
            self._begin(command, *RESTRICTING[command.name][:1])
        elif command.name in LIFTING:
            kind, _ = LIFTING[command.name]
            there = [one for one in record.active if one.kind == kind]
            if not there:
                raise Impossible("nothing there to lift")
            self._end(command, [one for one in there if one.requested < command.requested])
        elif command.is_timer and (command.about.ended_by or command.about.until != command.until):
            pass
        elif command.about.ended_by:
            raise Impossible("it has ended")
        elif command.name == END:
            self._end(command, [command.about])
        else:
            self._move(command)

    def _begin(self, command, kind):
        record = command.record
        if command.name == "forum.post.hide" and any(one.kind == "deleted" for one in record.active):
            raise Impossible("a deleted post cannot be hidden")
        own = [one for one in record.active if (one.kind, one.by.actor) == (kind, command.actor)]
        if own and own[0].until == command.until:
            [one] = own
            if one.by is command:
                command.kept = one
            if one.by is command or (one.by.name, one.by.reason) == (command.name, command.reason):
                return
        self._end(command, own)
        command.began = Restricted(record, kind, command, command.requested, command.until)
        record.restrictions.append(command.began)
        self._want_timer(command.began)

    def _end(self, command, restrictions):
        for one in restrictions:
            self._need(command, one)
        for one in restrictions:
            one.ended_by = command
        command.ended = restrictions

    def _move(self, command):
        self._need(command, command.about)
        command.moved = (command.about.until, command.until)
        command.about.until, command.about.moved_by = command.until, command
        self._want_timer(command.about)

    def _want_timer(self, restriction):
        if restriction.until:
            self.wanted_timers.append((restriction, restriction.until))

    def _need(self, command, restriction):
        if not self.may(command.actor, restriction.by.name):
            raise Impossible("who lifts needs the permission for each name that set one")

    def undoing(self, command):
        """Return the command that puts back what a command did, without an id or an actor.

        Raises:
            Impossible: there is nothing to put back, or something came since.
        """
        if command.status not in TERMINAL or not command.effect:
            raise Impossible("it changed nothing")
        own, ended, moved, left = command.effect
        if own:
            if own.ended_by:
                raise Impossible("it has ended")
            return Command(None, END, command.record, None, about=own)
        if command.record.revision != left:
            raise Impossible("something came since")
        if moved:
            was, _ = moved
            return Command(None, RESCHEDULE, command.record, None, was, command.about, expected=left)
        [setter] = {one.by.name: one.by for one in ended}.values()
        # As long as the longest of them would have lasted.
        untils = [one.until for one in ended]
        until = None if None in untils else max(untils)
        return Command(None, setter.name, command.record, None, until, expected=left)


def _signal(command):
    known = (
        RESTRICTING
        | LIFTING
        | {END: ("", "restriction.ended"), RESCHEDULE: ("", "restriction.rescheduled")}
    )
    return known[command.name][1]
