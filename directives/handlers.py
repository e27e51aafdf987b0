"""Base classes of directive types: subclass `Handler` in `<app>/directive_handlers/<name>.py`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from directives.errors import DirectiveError, InvalidPayload
from directives.executing.retry import RetryPolicy
from directives.models import REASON_LENGTH, Directive
from fleetprompt.validation_errors import problems
from signals import bus
from signals.models import Signal
from signals.types import (
    COMMITMENT,
    ID_LENGTH,
    NAME_LENGTH,
    Actor,
    Personal,
    Subject,
    bounded_key,
    is_one_line,
    keyed_digest,
    salted,
    subject_of,
)


def _in_one_line(text: str) -> str:
    if not is_one_line(text):
        raise ValueError("expected no control characters or line breaks")
    return text


Identifier = Annotated[str, Field(min_length=1, max_length=ID_LENGTH), AfterValidator(_in_one_line)]
"""A payload's field that is an id: of an author, or of a request of the client's own."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Marks a payload's field as the id of a subject: `Annotated[UUID, Reference(…)]`.

    The field has the type of the subject's primary key: `UUID`, `int`, `date` or `str`.

    Args:
        type: the subject's type, such as `forum.post`.
    """

    type: str


class SubjectReference(BaseModel):
    """A subject named in a payload, to be checked against the ids there."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: str = Field(max_length=NAME_LENGTH)
    id: str = Field(max_length=ID_LENGTH)


class DirectivePayload(BaseModel):
    """The base of every payload: unknown fields and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    reason: Annotated[str | None, Personal] = Field(
        None,
        max_length=REASON_LENGTH,
        description="Why, for people; the directive's reason unless it has one.",
    )
    subject: SubjectReference | None = Field(
        None, description="The subject, if the requester wants it compared with the ids."
    )
    expected_revision: int | None = Field(
        None, ge=0, description="Fail when the subject's revision is another one by now."
    )


PayloadT = TypeVar("PayloadT", bound=DirectivePayload)


@dataclass(slots=True)
class Context:
    """What a handler may know about the execution, and its way to say what happened.

    Args:
        directive: the directive as it was claimed; a handler reads it and leaves it alone.
        tenant: the slug of the active tenant.
    """

    directive: Directive
    tenant: str
    signals: list[Signal] = field(default_factory=list)
    repetition: DirectiveError | None = None
    """What `emit` raised; with it the attempt fails, whatever the handler made of it."""
    has_ended: bool = False
    """Whether the handler has given its result: what is emitted later is not stored."""
    _keys: set[str] = field(default_factory=set)

    @property
    def actor(self) -> Actor:
        """Who asked for the directive."""
        return self.directive.actor

    @property
    def reason(self) -> Personal | str:
        """Why it was asked for, as a value for `emit`: with the salt of the directive's own."""
        return salted(self.directive.personal, "reason")

    def emit(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        subject: Subject | None = None,
        member_id: UUID | None = None,
    ) -> None:
        """Say that something happened; it is written with the directive's success, or not at all.

        Args:
            name: a fact in the past tense, such as `forum.post.hidden`; once for each subject.
            payload: JSON-safe details; values that are `Personal` can be erased later.
            subject: what it is about; the directive's subject by default.
            member_id: whom it is about; about the directive's subject, as the directive by default.

        Raises:
            Refused: the name or the payload is not as expected.
            DirectiveError: it was emitted about that subject already; the directive fails, also when
                the handler catches this. Or the handler has given its result already, as for an
                `on_commit` hook, where no directive is left to fail.
        """
        directive = self.directive
        if self.has_ended:
            raise DirectiveError(f"emit: {name} of {directive} comes after its end; nobody would store it")
        own = directive.subject
        about = subject or own
        key = f"{name}:{self.tenant}:{about.id if about else '-'}:{directive.id}"
        if subject and subject != own:
            # At the end, where it cannot be taken for a part of an id: those may contain anything.
            key += f":{subject.type}"
        elif member_id is None:
            member_id = directive.member_id
        key = bounded_key(key, directive.earlier_successes + 1)
        signal = bus.fact(
            name,
            payload,
            dedupe_key=key,
            actor=self.actor,
            subject=about,
            source=directive.name,
            correlation_id=directive.correlation_id,
            causation_id=str(directive.id),
            member_id=member_id,
        )
        if key in self._keys:
            self.repetition = DirectiveError(f"emit: {name} was emitted about {about or 'nothing'} already")
            raise self.repetition
        self._keys.add(key)
        self.signals.append(signal)


class Handler(Generic[PayloadT]):
    """One directive type: how its payload is checked, and what executing it does.

    A subclass declares at least `name`, `label`, `Payload` and `execute`. Everything else follows:
    the permission, the command line, the page in `directive types`.
    """

    name: ClassVar[str]
    """The command, such as `forum.thread.lock`."""
    label: ClassVar[str]
    """What people call it, such as `Lock thread`."""
    description: ClassVar[str] = ""
    """One sentence for people; the first line of the class' docstring when empty."""
    Payload: type[PayloadT]
    """The pydantic model of the payload."""
    timeout: ClassVar[float] = 30.0
    """Seconds that one attempt may take; running over it is a transient failure."""
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    """When a transient failure is tried again."""
    inverse: ClassVar[str | None] = None
    """The name of the directive that undoes this one."""
    ordered: ClassVar[bool] = True
    """Whether directives on one subject run one at a time, by their places among what is committed."""
    subject_field: ClassVar[str] = ""
    """The payload's field, a `Reference`, that says what it is about; it is offered on such records."""
    becomes: ClassVar[str] = ""
    """The status that the subject has afterwards, if it always is the same one."""
    for_moderators: ClassVar[bool] = True
    """Whether the ready-made group Moderator may request and snooze it."""

    @property
    def summary(self) -> str:
        """What it does, in one sentence for people."""
        return self.description or (type(self).__doc__ or "").strip().partition("\n")[0]

    @property
    def can_expire(self) -> bool:
        """Whether a request may say when its effect is to end by itself: what can be undone can."""
        return self.inverse is not None

    @cached_property
    def subject_type(self) -> str:
        """The type of subject that `subject_field` names; empty without one."""
        return self.references().get(self.subject_field, "")

    def references(self) -> Mapping[str, str]:
        """Return the payload's fields that hold ids of subjects, with the subjects' types."""
        return {
            name: mark.type
            for name, info in self.Payload.model_fields.items()
            for mark in info.metadata
            if isinstance(mark, Reference)
        }

    @cached_property
    def personal_fields(self) -> frozenset[str]:
        """The payload's fields that are marked `Annotated[…, Personal]`; their values can be erased."""
        fields = self.Payload.model_fields.items()
        return frozenset(name for name, info in fields if Personal in info.metadata)

    def personal_values(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a payload's marked fields hold, besides the reason."""
        found = self.personal_fields.intersection(payload) - {"reason"}
        return {field: payload[field] for field in sorted(found)}

    def subject(self, payload: PayloadT) -> Subject | None:
        """Return what the directive is about; None when it is not about one thing."""
        if not self.subject_field:
            return None
        value = getattr(payload, self.subject_field)
        return None if value is None else subject_of(self.subject_type, str(value))

    def idempotency_key(self, payload: PayloadT, *, tenant: str, revision: int) -> str:
        """Return the key of a request that brings none of its own; at most 512 characters.

        A key without `revision` in it is the client's: it stands for one request, whatever becomes of it.

        Args:
            tenant: the active tenant's slug.
            revision: the subject's revision, counting what is already requested for it; where there is
                none, a number from 0 that grows as the same is asked again after it has ended.
        """
        subject = self.subject(payload)
        if subject:
            return bounded_key(f"{self.name}:{tenant}:{subject.id}:{revision}")
        asked = {field: value for field, value in self.dump(payload).items() if field != "reason"}
        if marked := self.personal_values(asked):
            # Seals cover the key, so it must not reveal personal values.
            digest = keyed_digest(marked, purpose=f"{self.name}.key", tenant=tenant)
            asked = {field: asked[field] for field in asked.keys() - marked.keys()} | {COMMITMENT: digest}
        canonical = json.dumps(asked, sort_keys=True)
        return f"{self.name}:{tenant}:{hashlib.sha256(canonical.encode()).hexdigest()}:{revision}"

    def ordering_key(self, payload: PayloadT) -> str:
        """Return what orders it among others: equal keys run one at a time, in order; empty: freely."""
        subject = self.subject(payload) if self.ordered else None
        return str(subject) if subject else ""

    def scopes(self, payloads: Sequence[PayloadT]) -> Sequence[str]:
        """Return the part of the community that each directive concerns, with one query for all of them.

        By default it is the subject's, as the lookup `SCOPE` of its model gives it: for a post, the id of
        its category. `forum.thread.move` has the category in which the thread is when it is requested.

        Returns:
            one text for each, at most 255 characters; empty for the whole community, and for a subject
            that has no such part or does not exist.
        """
        from directives import registry  # it imports this module

        return [one.scope or "" for one in registry.subject_facts([self.subject(one) for one in payloads])]

    def execute(self, context: Context, payload: PayloadT) -> dict[str, Any]:
        """Make the change in the active tenant's database and return a JSON-safe result.

        Runs in a transaction that is rolled back unless everything succeeds. It must not touch
        anything outside that database: whatever should follow elsewhere hangs on a signal.

        Raises:
            DirectiveError: it can never work.
            Retry: it may work later.
        """
        raise NotImplementedError

    def execute_many(
        self, work: Sequence[tuple[Context, PayloadT]]
    ) -> Sequence[dict[str, Any] | Exception]:
        """Do what `execute` does for each, with statements for all of them together; optional.

        The runner then calls it for quick first attempts, and `execute` for all others, so both must
        come to the same. An `ordered` handler is never given two directives of one subject.

        Args:
            work: contexts and payloads.

        Returns:
            for each, in their order, what `execute` would return, or the exception that it would raise
            without having changed anything.

        Raises:
            Exception: anything; then everything is rolled back, and each is executed by itself.
        """
        raise NotImplementedError

    def inverse_payload(self, payload: PayloadT, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload of the `inverse`; by default the subject alone.

        Args:
            result: what the directive returned.
        """
        return {self.subject_field: self.dump(payload)[self.subject_field]}

    def parse(self, payload: Mapping[str, Any]) -> PayloadT:
        """Return the payload as the handler's model.

        Raises:
            InvalidPayload: naming each field that is wrong and what was expected.
        """
        try:
            # Strict types, read the way JSON writes them: an id is a text in UUID form, nothing else.
            parsed = self.Payload.model_validate_json(json.dumps(payload))
        except ValidationError as error:
            # The type's own first: they are what somebody looks for.
            fields = sorted(self.Payload.model_fields, key=DirectivePayload.model_fields.__contains__)
            wrong = problems(error, payload, fields)
            raise InvalidPayload(
                [f"payload{where and f'.{where}'}: {sentence}" for where, sentence in wrong]
            ) from None
        if named := parsed.subject:
            own = self.subject(parsed)
            if own is None or (named.type, named.id) != (own.type, own.id):
                raise InvalidPayload(f"payload.subject: expected {own or 'none'}, as the ids say")
        return parsed

    def dump(self, payload: PayloadT) -> dict[str, Any]:
        """Return the payload's normalised JSON form: what was set, ids in lower case."""
        return payload.model_dump(mode="json", exclude_none=True)
