"""Which directive types there are: every handler in `directive_handlers` of an installed app."""

import importlib.util
import pkgutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import module_has_submodule

from directives import subjects
from directives.errors import Refused, UnknownDirective
from directives.handlers import DirectivePayload, Handler
from fleetprompt.errors import near
from fleetprompt.postgres.primary_keys import python_type
from signals.types import check_name

AnyHandler = Handler[Any]

LONGEST_TIMEOUT_SECONDS = 7 * 24 * 3600
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
            if _is_handler_of(value, module.__name__):
                register(value)
    _check_inverses()


def register(handler_class: type[AnyHandler]) -> None:
    """Add one directive type; registering the same class again changes nothing.

    Raises:
        ImproperlyConfigured: the class lacks something, or its name belongs to another class.
    """
    _check(handler_class)
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
    return (
        text
        if (deepest, number) == (file, line)
        else f"{text} (raised in {_shown(deepest)}, line {number})"
    )


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(settings.BASE_DIR) if path.is_relative_to(settings.BASE_DIR) else path)


def _is_handler_of(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Handler) and value.__module__ == module


def _check(handler_class: type[AnyHandler]) -> None:
    where = _path(handler_class)
    try:
        check_name(getattr(handler_class, "name", None))
    except Refused as error:
        raise ImproperlyConfigured(f"{where}: {error.message}") from None
    payload = getattr(handler_class, "Payload", None)
    if not (isinstance(payload, type) and issubclass(payload, DirectivePayload)):
        raise ImproperlyConfigured(f"{where}: Payload: expected a subclass of DirectivePayload")
    if not getattr(handler_class, "label", ""):
        raise ImproperlyConfigured(f"{where}: label: expected what people call the directive")
    if handler_class.execute is Handler.execute:
        raise ImproperlyConfigured(f"{where}: execute: expected a method that makes the change")
    if handler_class.subject_field and not handler_class().subject_type:
        raise ImproperlyConfigured(
            f"{where}: subject_field: expected a field of the payload that is a Reference; "
            f"got {handler_class.subject_field!r}"
        )
    _check_references(handler_class)
    if not 0 < handler_class.timeout <= LONGEST_TIMEOUT_SECONDS:
        raise ImproperlyConfigured(
            f"{where}: timeout: expected seconds, more than 0 and at most {LONGEST_TIMEOUT_SECONDS}"
        )


def _check_references(handler_class: type[AnyHandler]) -> None:
    """Check that what a payload names can be the primary key of the record that it is about."""
    handler = handler_class()
    for field, subject_type in handler.references().items():
        model = subjects.model(subject_type)
        if model is None:
            continue
        where, wanted = f"{_path(handler_class)}: Payload.{field}", python_type(model)
        if wanted is None:
            kind = type(model._meta.pk).__name__
            raise ImproperlyConfigured(
                f"{where}: expected a subject whose primary key is an integer, a UUID, a date or a text; "
                f"that of {subject_type} is a {kind}"
            )
        if (given := _plain(handler.Payload.model_fields[field].annotation)) is not wanted:
            raise ImproperlyConfigured(
                f"{where}: expected {wanted.__name__}, as the primary key of {subject_type} is; got {given}"
            )


def _plain(annotation: Any) -> Any:
    """Return a type without "or None" and without a name of its own."""
    others = [part for part in get_args(annotation) if part is not type(None)]
    if len(others) == 1 and type(None) in get_args(annotation):
        annotation = others[0]
    return getattr(annotation, "__supertype__", annotation)


def _check_inverses() -> None:
    for handler in _handlers.values():
        if handler.inverse and handler.inverse not in _handlers:
            raise ImproperlyConfigured(
                f"{_path(type(handler))}: inverse: there is no directive {handler.inverse!r}"
            )


def _path(handler_class: type[AnyHandler]) -> str:
    return f"{handler_class.__module__}.{handler_class.__qualname__}"
