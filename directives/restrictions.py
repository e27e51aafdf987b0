"""Restrictions of subjects: base classes of directives that change or begin them, and the change itself.

The change locks the subjects, has each directive decide, and writes restrictions, columns that follow from
them and revisions, in the caller's transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, cast
from uuid import UUID

from django.db import connection
from django.db.models import Model
from pydantic import Field
from uuid_utils.compat import uuid7

from directives import registry, sql
from directives.errors import DirectiveError
from directives.handlers import Context, DirectivePayload, Handler, Identifier
from directives.models import Directive
from directives.requesting.idempotency import same_command
from directives.restricting import obstacles
from directives.restricting.ends import request_restriction_ends
from directives.restricting.reading import active_restriction, active_restrictions
from directives.restricting.values import (
    Active,
    Change,
    Plan,
    RestrictedColumn,
    State,
    Wanted,
)
from fleetprompt.postgres.direct import prepared_cursor
from fleetprompt.postgres.primary_keys import primary_key
from fleetprompt.postgres.queries import array, execute
from fleetprompt.postgres.rows import as_json
from signals.types import Personal, Subject

__all__ = [
    "ChangingHandler",
    "RestrictedColumn",
    "RestrictingHandler",
    "RestrictionPayload",
]

PUBLIC_TEXT_LENGTH = 2_000


class RestrictionPayload(DirectivePayload):
    """What the payload of every restricting directive may say about the decision."""

    policy: Identifier | None = Field(
        None, max_length=100, description="The code of the community's rule that the decision cites."
    )
    public_text: Annotated[str | None, Personal] = Field(
        None, max_length=PUBLIC_TEXT_LENGTH, description="What the affected member may read."
    )
    detected_by: Literal["person", "report", "rule", "agent"] | None = Field(
        None, description="What drew attention to the subject."
    )


PayloadT = TypeVar("PayloadT", bound=DirectivePayload)


class ChangingHandler(Handler[PayloadT]):
    """Changes the restrictions of its subject, and emits `signal` when one began or ended."""

    signal: ClassVar[str]
    """The name of the signal that says what happened."""
    kinds: ClassVar[Sequence[str]]
    """The kinds of restrictions that it begins or ends, as the model's `RESTRICTED_COLUMNS` name them."""
    can_expire = True

    def decide(self, state: State, directive: Directive, payload: PayloadT) -> Plan:
        """Return what becomes of the subject's restrictions.

        Raises:
            DirectiveError: naming what is in the way.
        """
        raise NotImplementedError

    def expected_revision(self, directive: Directive, payload: PayloadT) -> int | None:
        """Return the revision at which the subject must be; None where that does not matter."""
        return payload.expected_revision

    def decide_unrestricted(self, directive: Directive) -> Plan | None:
        """Return what `decide` gives where nothing restricts the subject; None where it looks at more."""
        return None

    def execute(self, context: Context, payload: PayloadT) -> dict[str, Any]:
        """Change the restrictions of one subject."""
        [result] = self._execute_all([(context, payload)])
        if isinstance(result, Exception):
            raise result
        return result

    def execute_many(
        self, work: Sequence[tuple[Context, PayloadT]]
    ) -> Sequence[dict[str, Any] | Exception]:
        """Change the restrictions of all their subjects together."""
        return self._execute_all(work)

    def _execute_all(
        self, work: Sequence[tuple[Context, PayloadT]]
    ) -> Sequence[dict[str, Any] | Exception]:
        wanted = [
            Wanted(
                context.directive,
                self.expected_revision(context.directive, payload),
                partial(self.decide, directive=context.directive, payload=payload),
                self.decide_unrestricted(context.directive),
            )
            for context, payload in work
        ]
        found = change_all(wanted)
        if timed := [one for one in found if isinstance(one, Change) and one.until]:
            request_restriction_ends(timed)
        return [
            change if isinstance(change, Exception) else self._result(context, change)
            for (context, _), change in zip(work, found, strict=True)
        ]

    def _result(self, context: Context, change: Change) -> dict[str, Any]:
        model = restricted_model(context.directive.subject_type)
        others = [*change.ended, *([change.rescheduled] if change.rescheduled else [])]
        followed = column(model, others[0].kind if others else self.kinds[0]).name
        facts: dict[str, Any] = {
            "before": change.before[followed],
            "after": change.after[followed],
            "revision": change.revision,
        }
        if change.version is not None:
            facts["version"] = change.version
        if change.begun:
            facts["restriction"] = str(change.begun)
        elif change.kept and change.kept.directive_id == context.directive.pk:
            # What it began in an earlier attempt is still its own, to be undone.
            facts["kept"] = str(change.kept.id)
        if change.rescheduled:
            before = change.rescheduled.until
            facts["rescheduled"] = str(change.rescheduled.id)
            facts["until_before"] = before.isoformat() if before else None
        if change.until:
            facts["until"] = change.until.isoformat()
        if change.ended:
            facts["ended"] = [str(one.id) for one in change.ended]
        if change.begun or others:
            context.emit(self.signal, {**facts, "reason": context.reason})
        if change.remaining:
            facts["still_restricted_by"] = [str(one.directive_id) for one in change.remaining]
        named = {self.subject_field: context.directive.subject_id} if self.subject_field else {}
        return {
            **named,
            "changed": change.before != change.after,
            "status": change.after[columns(model)[0].name],
            **facts,
        }


class RestrictingHandler(ChangingHandler[PayloadT]):
    """Begins a restriction of its one kind; one of the same actor is replaced, or kept as it is."""

    barred_by: ClassVar[Collection[str]] = ()
    """Kinds of restrictions that leave nothing to restrict: while one is active, the directive fails."""

    def decide_unrestricted(self, directive: Directive) -> Plan:
        """Begin a restriction."""
        [kind] = self.kinds
        return Plan(begin=kind, until=directive.expires_at)

    def decide(self, state: State, directive: Directive, payload: PayloadT) -> Plan:
        """Begin a restriction, unless one of `barred_by` is active."""
        if barring := [one for one in state.active if one.kind in self.barred_by]:
            raise obstacles.restricted(state, barring)
        [kind] = self.kinds
        own = (kind, directive.actor_type, directive.actor_id)
        replaced = [one for one in state.active if (one.kind, one.actor.type, one.actor.id) == own]
        if replaced and self._is_repeated(replaced[0], directive):
            return Plan(keep=replaced[0])
        return Plan(begin=kind, until=directive.expires_at, end=replaced)

    def _is_repeated(self, own: Active, directive: Directive) -> bool:
        """Return whether a directive asks for a restriction of its actor as it is, also for that reason."""
        if own.until != directive.expires_at:
            return False
        if own.directive_id == directive.pk:
            return True
        # As it was asked for, in every word: another reason is another decision, or one that was erased.
        earlier = Directive.objects.filter(
            pk=own.directive_id, name=directive.name, personal__isnull=False
        ).first()
        return (
            earlier is not None
            and earlier.reason == directive.reason
            and same_command(earlier.payload, directive.payload)
        )


def change_all(wanted: Sequence[Wanted]) -> list[Change | DirectiveError]:
    """Begin and end restrictions of subjects: one to four statements for each subject type.

    Each restriction that begins or ends bumps its subject's revision, once for each directive.

    Args:
        wanted: at most one for each subject; their models have `RESTRICTED_COLUMNS` and a `revision`.

    Returns:
        for each, in order, what changed, or why nothing did.
    """
    found: dict[UUID, Change | DirectiveError] = {}
    for subject_type in sorted({one.directive.subject_type for one in wanted}):
        some = [one for one in wanted if one.directive.subject_type == subject_type]
        found |= _begin(subject_type, [one for one in some if one.unrestricted])
        found |= _change(subject_type, [one for one in some if one.directive.pk not in found])
    return [found[one.directive.pk] for one in wanted]


def _begin(subject_type: str, wanted: Sequence[Wanted]) -> dict[UUID, Change]:
    """Begin the restrictions of those subjects that nothing restricts, and return these changes.

    Most subjects are like that. One statement instead of two saves a fifth of the processor time of a hide
    (docs/explanation/performance-trials.md).
    """
    if not wanted:
        return {}
    model, rows, asked, found = restricted_model(subject_type), [], {}, {}
    for one in wanted:
        directive, plan, pk = one.directive, cast(Plan, one.unrestricted), uuid7()
        after = _values(model, {plan.begin})
        if key := _key(model, directive):
            rows.append({**_row(key, directive, plan, pk, after), "expected": one.expected_revision})
            asked[key] = directive, plan, pk, after
    for key, revision, before, version in _write(subject_type, model, rows, only_unrestricted=True):
        directive, plan, pk, after = asked[key]
        found[directive.pk] = Change(
            directive, before, after, revision + 1, begun=pk, until=plan.until, version=version
        )
    return found


def _change(subject_type: str, wanted: Sequence[Wanted]) -> dict[UUID, Change | DirectiveError]:
    """Change restrictions of subjects as decided when their rows are locked."""
    if not wanted:
        return {}
    model = restricted_model(subject_type)
    keys = {one.directive.pk: _key(model, one.directive) for one in wanted}
    states = _lock(subject_type, model, keys.values())
    found: dict[UUID, Change | DirectiveError] = {}
    rows, ended, moved = [], [], []
    for one in wanted:
        directive = one.directive
        try:
            state = _find(states.get(keys[directive.pk]), one)
            plan = one.decide(state)
        except DirectiveError as error:
            found[directive.pk] = error
            continue
        change = _changed(model, directive, state, plan, uuid7() if plan.begin else None)
        found[directive.pk] = change
        ended += [{"id": gone.id, "by": directive.pk} for gone in change.ended]
        if change.rescheduled:
            moved.append({"id": change.rescheduled.id, "until": change.until})
        if change.revision != state.revision:
            rows.append(_row(keys[directive.pk], directive, plan, change.begun, change.after))
    if moved:
        execute(sql.RESCHEDULE_RESTRICTIONS, as_json(moved))
    if ended:
        execute(sql.END_RESTRICTIONS, as_json(ended))
    if rows and len(_write(subject_type, model, rows, only_unrestricted=False)) < len(rows):
        raise RuntimeError("a restriction was not inserted, although its subject is locked")
    return found


def restricted_model(subject_type: str) -> type[Model]:
    """Return the model of a subject type whose records can be restricted.

    Raises:
        DirectiveError: there is none.
    """
    model = registry.subject_model(subject_type)
    if model is None or not hasattr(model, "RESTRICTED_COLUMNS"):
        raise DirectiveError(f"subject: {subject_type or 'nothing'} cannot be restricted")
    return model


def columns(model: type[Model]) -> Sequence[RestrictedColumn]:
    """Return the columns of a model that follow from restrictions."""
    found: Sequence[RestrictedColumn] = model.RESTRICTED_COLUMNS  # type: ignore[attr-defined]
    return found


def column(model: type[Model], kind: str) -> RestrictedColumn:
    """Return the column of a model that follows from restrictions of a kind."""
    return next(one for one in columns(model) if kind in one.kinds)


class _Statements(NamedTuple):
    lock: str
    apply: str


@cache
def _statements(model: type[Model]) -> _Statements:
    meta: Any = model._meta
    names = [column.name for column in columns(model)]
    types = {"key": meta.pk.rel_db_type(connection)}
    types |= {name: meta.get_field(name).db_type(connection) for name in names}
    read = [*names, *({"version"} & {field.name for field in meta.local_concrete_fields})]
    parts = {
        "table": connection.ops.quote_name(meta.db_table),
        "key": connection.ops.quote_name(meta.pk.column),
        "key_type": types["key"],
        "types": ", ".join(f"{name} {kind}" for name, kind in types.items()),
        "columns": "".join(f", subject.{name}" for name in read),
        "changes": "".join(f", {name} = own.{name}" for name in names),
        "before": "".join(f", found.{name}" for name in read),
        # A column has its `free` value as long as nothing restricts the subject.
        "unrestricted": " AND ".join(f"subject.{name} = %(free_{name})s" for name in names),
    }
    return _Statements(sql.LOCK_RESTRICTED.format(**parts), sql.APPLY_RESTRICTIONS.format(**parts))


def _key(model: type[Model], directive: Directive) -> str:
    """Return the primary key of a directive's subject as PostgreSQL writes it; empty when it is none."""
    key = primary_key(model, directive.subject_id)
    return "" if key is None else str(key)


def _lock(subject_type: str, model: type[Model], keys: Iterable[str]) -> dict[str, State]:
    """Lock records in the order of their keys, and read what restricts them."""
    with prepared_cursor() as cursor:
        cursor.execute(_statements(model).lock, [subject_type, array(filter(None, keys))])
        rows = cursor.fetchall()
    # What a concurrent transaction did while the lock was waited for: it changed the revision, and what
    # restricts the record was read as it was before.
    late = [key for key, revision, seen, *_ in rows if revision != seen]
    fresh = active_restrictions(subject_type, late) if late else {}
    return {
        key: State(
            Subject(subject_type, key),
            revision,
            before,
            fresh[key] if key in fresh else [active_restriction(row) for row in restrictions or ()],
            version,
        )
        for key, revision, _, restrictions, *values in rows
        for before, version in [_named(model, values)]
    }


def _write(
    subject_type: str, model: type[Model], rows: Sequence[Mapping[str, Any]], *, only_unrestricted: bool
) -> list[tuple[str, int, dict[str, Any], int | None]]:
    """Insert restrictions and write what follows from them on their subjects.

    Args:
        only_unrestricted: leave out subjects that something restricts, or that are at another revision than
            `expected`; otherwise they are locked already.

    Returns:
        of each subject that was changed its id, its revision and columns from before, and its version.
    """
    values = {
        "rows": as_json(rows),
        "keys": array(row["key"] for row in rows),
        "only_unrestricted": only_unrestricted,
        "subject_type": subject_type,
        **{f"free_{column.name}": column.free for column in columns(model)},
    }
    with prepared_cursor() as cursor:
        cursor.execute(_statements(model).apply, values)
        found = cursor.fetchall()
    return [(key, revision, *_named(model, values)) for key, revision, *values in found]


def _named(model: type[Model], values: Sequence[Any]) -> tuple[dict[str, Any], int | None]:
    """Return the columns that follow from restrictions, and the version of the text, if there is one."""
    names = [column.name for column in columns(model)]
    return dict(zip(names, values, strict=False)), next(iter(values[len(names) :]), None)


def _find(state: State | None, wanted: Wanted) -> State:
    directive = wanted.directive
    if state is None:
        raise obstacles.missing(directive.subject_type, directive.subject_id)
    expected = wanted.expected_revision
    if expected is not None and state.revision != expected:
        raise obstacles.changed_meanwhile(state.subject, state.revision, expected)
    return state


def _changed(
    model: type[Model], directive: Directive, state: State, plan: Plan, begun: UUID | None
) -> Change:
    gone = {one.id for one in plan.end}
    remaining = [one for one in state.active if one.id not in gone]
    kinds = {one.kind for one in remaining} | ({plan.begin} if plan.begin else set())
    has_changed = bool(plan.begin or gone or plan.reschedule)
    return Change(
        directive=directive,
        before=state.values,
        after=_values(model, kinds),
        revision=state.revision + has_changed,
        begun=begun,
        kept=plan.keep,
        rescheduled=plan.reschedule,
        until=plan.until,
        ended=list(plan.end),
        remaining=remaining,
        version=state.version,
    )


def _values(model: type[Model], active: Collection[str]) -> dict[str, Any]:
    return {column.name: value_of(column, active) for column in columns(model)}


def value_of(column: RestrictedColumn, active: Collection[str]) -> Any:
    """Return what a column holds while restrictions of these kinds are active."""
    values = [value for kind, value in column.kinds.items() if kind in active]
    return values[-1] if values else column.free


def _row(
    key: str, directive: Directive, plan: Plan, begun: UUID | None, after: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is written about a subject: its columns, and the restriction that begins, if one does."""
    row = {"key": key, **after}
    if begun is None:
        return row
    return row | {
        "id": str(begun),
        "kind": plan.begin,
        "name": directive.name,
        "directive_id": str(directive.pk),
        "actor_type": directive.actor_type,
        "actor_id": directive.actor_id,
        "actor_label": directive.actor_label,
        "requested_at": directive.requested_at,
        "until": plan.until,
    }
