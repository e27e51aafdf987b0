"""Find handlers by directive names, and models by subject types; both come from the installed apps.

A handler is a class in `<app>/directive_handlers/*.py`. A model with a `SUBJECT_TYPE`, such as
`forum.post`, can be a subject: it has a text form that people recognise (`str`), a primary key of a kind
that `fleetprompt.postgres.primary_keys` knows, and may have a `revision`, which counts its changes, a
`version`, which counts its texts, and a `status`. Lookups such as `SCOPE = "thread__category_id"` and
`MEMBER = "member_id"` say which part of the community it belongs to, and whom it is about.
"""

import importlib.util
import pkgutil
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import BigIntegerField, CharField, Model, TextField, UUIDField, Value
from django.db.models.functions import Cast
from django.utils.module_loading import module_has_submodule
from pydantic import BaseModel

from directives.errors import Refused, UnknownDirective
from directives.handlers import DirectivePayload, Handler
from fleetprompt.errors import near
from fleetprompt.postgres.primary_keys import (
    Lookup,
    look_up,
    lookup,
    primary_key,
    primary_keys,
    python_type,
)
from signals.types import Personal, Subject, check_name, stored_subject

AnyHandler = Handler[Any]

MAX_TIMEOUT_SECONDS = 7 * 24 * 3600
"""PostgreSQL counts time-outs in milliseconds, up to 2^31; with an endless one no wake-up could be made."""

_handlers: dict[str, AnyHandler] = {}


def discover() -> None:
    """Import every `<app>/directive_handlers/*.py` and register the handlers defined there.

    Raises:
        ImproperlyConfigured: a file that cannot be imported, with the line; a handler that lacks something;
            or two with one name.
    """
    for module in _modules():
        for value in list(vars(module).values()):
            is_class = isinstance(value, type) and issubclass(value, Handler)
            if is_class and value.__module__ == module.__name__:
                register(value)
    for handler in _handlers.values():
        if handler.inverse and handler.inverse not in _handlers:
            problem = f"inverse: there is no directive {handler.inverse!r}"
            raise ImproperlyConfigured(f"{_path(type(handler))}: {problem}")


def register(handler_class: type[AnyHandler]) -> None:
    """Add one directive type; registering the same class again changes nothing.

    Raises:
        ImproperlyConfigured: the class lacks something, or its name belongs to another class.
    """
    if problem := next(_problems(handler_class), ""):
        raise ImproperlyConfigured(f"{_path(handler_class)}: {problem}")
    known = _handlers.get(handler_class.name)
    if known and type(known) is not handler_class:
        raise ImproperlyConfigured(
            f"{_path(handler_class)} and {_path(type(known))} are both named {handler_class.name}"
        )
    _handlers[handler_class.name] = handler_class()


def find(name: str) -> AnyHandler | None:
    """Return the handler named `name`; None when this process does not know it."""
    # A name comes from JSON too, where it may be a list.
    return _handlers.get(name) if isinstance(name, str) else None


def get(name: str) -> AnyHandler:
    """Return the handler named `name`.

    Raises:
        UnknownDirective: none has that name; the error lists the near ones.
    """
    if handler := find(name):
        return handler
    hint = near(str(name), _handlers, otherwise="directive types")
    raise UnknownDirective(f"name: there is no directive {str(name)[:80]!r}; {hint}")


def handlers() -> list[AnyHandler]:
    """Return all handlers, by name."""
    return [_handlers[name] for name in sorted(_handlers)]


def about(subject_type: str) -> list[AnyHandler]:
    """Return the handlers whose directives are about subjects of a type, by name."""
    return [handler for handler in handlers() if handler.subject_type == subject_type]


@cache
def subject_models() -> Mapping[str, type[Model]]:
    """Return the models of all subject types, by type, such as `forum.post`."""
    return {
        found: model
        for model in sorted(apps.get_models(), key=lambda model: model._meta.label)
        if (found := getattr(model, "SUBJECT_TYPE", None))
    }


def subject_model(subject_type: str) -> type[Model] | None:
    """Return the model of a subject type; None when no installed app has one."""
    return subject_models().get(subject_type)


def subject_key(subject_type: str, text: str) -> Any:
    """Return the primary key that a text means among subjects of a type; None when it can mean none."""
    model = subject_model(subject_type)
    return primary_key(model, text) if model else None


def subject_of(record: Any) -> Subject:
    """Return a record of such a model as a subject; its id is not checked."""
    return cast(Subject, stored_subject(record.SUBJECT_TYPE, str(record.pk)))


def subject_records(subjects: Iterable[Subject]) -> dict[Subject, Model]:
    """Return the records of those subjects that exist in the active tenant, in one query per type."""
    ids = defaultdict(set)
    for subject in subjects:
        ids[subject.type].add(subject.id)
    return {
        subject_of(record): record
        for subject_type, texts in ids.items()
        if (model := subject_model(subject_type))
        for record in model._default_manager.filter(pk__in=primary_keys(model, texts))
    }


def subject_values(subject_type: str, ids: Iterable[str], field: str) -> Mapping[str, Any]:
    """Return a field of each subject that exists, by id; nothing for types without such a field.

    Args:
        field: one that is a text or an integer.
    """
    model = subject_model(subject_type)
    sql = _value_lookup(model, field) if model else None
    return dict(look_up(sql, model, ids)) if model and sql else {}


class Facts(NamedTuple):
    """What a request reads of its subject; the defaults are those of a subject that does not exist."""

    id: str = ""
    revision: int | None = None
    scope: str | None = None
    member_id: UUID | None = None


def subject_facts(subjects: Sequence[Subject | None]) -> list[Facts]:
    """Return the facts about each subject, in one query per type."""
    ids = defaultdict(set)
    for subject in subjects:
        if subject:
            ids[subject.type].add(subject.id)
    found: dict[str, dict[str, Facts]] = defaultdict(dict)
    for kind, some in ids.items():
        model = subject_model(kind)
        if model and (sql := facts_lookup(model)):
            found[kind] = {facts.id: facts for facts in map(Facts._make, look_up(sql, model, some))}
    nothing = Facts()
    return [found[one.type].get(one.id, nothing) if one else nothing for one in subjects]


@cache
def facts_lookup(model: type[Model]) -> Lookup | None:
    """Return SQL for revision, scope and member of a model's records; None where it has none of them."""
    revision = "revision" if _has_field(model, "revision") else ""
    names = (revision, getattr(model, "SCOPE", ""), getattr(model, "MEMBER", ""))
    kinds: tuple[Any, ...] = (BigIntegerField(), TextField(), UUIDField())
    columns = [Cast(name or Value(None), kind) for name, kind in zip(names, kinds, strict=True)]
    return lookup(model, *columns) if any(names) else None


@cache
def related_type(subject_type: str, attribute: str) -> str:
    """Return the type of subject whose ids `SCOPE` or `MEMBER` of a type's model gives; empty if none."""
    model: Any = subject_model(subject_type)
    if model is None or not (path := getattr(model, attribute, "")):
        return ""
    for name in path.split("__"):
        field = model._meta.get_field(name)
        model = field.related_model or (field.model if field.primary_key else None)
    return getattr(model, "SUBJECT_TYPE", "")


@cache
def _value_lookup(model: type[Model], field: str) -> Lookup | None:
    if not _has_field(model, field):
        return None
    is_text = isinstance(model._meta.get_field(field), CharField)
    return lookup(model, Cast(field, TextField() if is_text else BigIntegerField()))


def _has_field(model: type[Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.concrete_fields)


def _modules() -> Iterator[Any]:
    for app in apps.get_app_configs():
        if not module_has_submodule(app.module, "directive_handlers"):
            continue
        package = _imported(f"{app.name}.directive_handlers")
        for found in pkgutil.iter_modules(package.__path__):
            yield _imported(f"{package.__name__}.{found.name}")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ImproperlyConfigured(_cause(error, name)) from error


def _cause(error: Exception, name: str) -> str:
    """Return the line of a module that its import stopped at, the error, and where that comes from."""
    spec = importlib.util.find_spec(name)
    file = (spec and spec.origin) or name
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    line = next((number for place, number in reversed(places) if place == file), None)
    deepest, number = places[-1]
    text = f"{_shown(file)}, line {line}: {type(error).__name__}: {error}"
    if (deepest, number) != (file, line):
        text += f" (raised in {_shown(deepest)}, line {number})"
    return text


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(settings.BASE_DIR) if path.is_relative_to(settings.BASE_DIR) else path)


def _problems(handler_class: type[AnyHandler]) -> Iterator[str]:
    """Yield what a handler lacks; the later ones rely on the earlier ones."""
    try:
        check_name(getattr(handler_class, "name", None))
    except Refused as error:
        yield str(error)
    payload = getattr(handler_class, "Payload", None)
    if not (isinstance(payload, type) and issubclass(payload, DirectivePayload)):
        yield "Payload: expected a subclass of DirectivePayload"
    if not getattr(handler_class, "label", ""):
        yield "label: expected what people call the directive"
    if handler_class.execute is Handler.execute:
        yield "execute: expected a method that makes the change"
    if (field := handler_class.subject_field) and not handler_class().subject_type:
        yield f"subject_field: expected a field of the payload that is a Reference; got {field!r}"
    if not 0 < handler_class.timeout <= MAX_TIMEOUT_SECONDS:
        yield f"timeout: expected seconds, more than 0 and at most {MAX_TIMEOUT_SECONDS}"
    yield from _wrong_references(handler_class)
    for field, info in handler_class.Payload.model_fields.items():
        if _marks_within(info.annotation):
            yield (
                f"Payload.{field}: Personal is within its type, where it marks nothing; expected it around "
                "the whole, such as Annotated[str | None, Personal]"
            )


def _marks_within(annotation: Any) -> bool:
    """Return whether something inside a field's type is marked as personal."""
    # Payloads may contain themselves.
    found, seen = [annotation], set[Any]()
    while found:
        part = found.pop()
        if part is Personal:
            return True
        if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
            seen.add(part)
            for info in part.model_fields.values():
                found += [info.annotation, *info.metadata]
        found += [*get_args(part), *getattr(part, "__metadata__", ())]
    return False


def _wrong_references(handler_class: type[AnyHandler]) -> Iterator[str]:
    """Yield where what a payload names cannot be the primary key of the record that it is about."""
    for field, subject_type in handler_class().references().items():
        model = subject_model(subject_type)
        if model is None:
            continue
        wanted, given = python_type(model), _plain(handler_class.Payload.model_fields[field].annotation)
        if wanted is None:
            expected = "a subject whose primary key is an integer, a UUID, a date or a text"
            found = f"that of {subject_type} is a {type(model._meta.pk).__name__}"
            yield f"Payload.{field}: expected {expected}; {found}"
        elif given is not wanted:
            expected = f"{wanted.__name__}, as the primary key of {subject_type} is"
            yield f"Payload.{field}: expected {expected}; got {given}"


def _plain(annotation: Any) -> Any:
    """Return a type without "or None" and without a name of its own."""
    others = [part for part in get_args(annotation) if part is not type(None)]
    if len(others) == 1 and type(None) in get_args(annotation):
        annotation = others[0]
    return getattr(annotation, "__supertype__", annotation)


def _path(handler_class: type[AnyHandler]) -> str:
    return f"{handler_class.__module__}.{handler_class.__qualname__}"
