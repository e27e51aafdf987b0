"""The pages of the tenants' admin that every browser check looks at: add yours to `PAGES`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import Model
from django.urls import reverse

from directives.models import Directive, Restriction
from forums.models import Category, Member, Post, Thread
from signals.models import Signal


class Look(NamedTuple):
    """How a page is looked at."""

    scheme: str
    width: int
    height: int


LOOKS = (
    Look("light", 1280, 800),
    Look("dark", 1280, 800),
    Look("light", 390, 844),
    Look("dark", 390, 844),
)


def _list(model: type[Model]) -> Callable[[], str]:
    return lambda: reverse(
        f"admin:{model._meta.label_lower.replace('.', '_')}_changelist", "fleetprompt.urls"
    )


def _first(model: Any) -> Callable[[], str]:
    """Return the address of a model's first record, found in the active tenant."""
    name = f"admin:{model._meta.label_lower.replace('.', '_')}_change"
    return lambda: reverse(name, "fleetprompt.urls", [model.objects.first().pk])


def _about_directives(name: str, *arguments: object) -> str:
    return reverse(f"admin:directives_directive_{name}", "fleetprompt.urls", arguments)


def _confirm() -> str:
    posts = ",".join(str(pk) for pk in Post.objects.values_list("pk", flat=True))
    return f"{_about_directives('request_type', 'forum.post.hide')}?subjects={posts}"


def _batch() -> str:
    return _about_directives("batch", Directive.objects.all()[0].correlation_id)


def _snooze() -> str:
    waiting = Directive.objects.filter(status="requested")[0]
    return f"{_about_directives('operate', 'snooze')}?id={waiting.pk}"


def _undo() -> str:
    return f"{_about_directives('operate', 'undo')}?id={Directive.objects.get(status='succeeded').pk}"


def _undo_batch() -> str:
    batch = Directive.objects.get(status="succeeded").correlation_id
    return f"{_about_directives('operate', 'undo')}?batch={batch}"


def _end() -> str:
    restriction = Restriction.objects.all()[0].pk
    return f"{_about_directives('request_type', 'restriction.end')}?restriction={restriction}"


def _member_user() -> str:
    return reverse("admin:forums_member_user", "fleetprompt.urls", [Member.objects.all()[0].pk])


PAGES: dict[str, Callable[[], str]] = {
    "overview": lambda: "/admin/",
    "categories": _list(Category),
    "threads": _list(Thread),
    "thread": _first(Thread),
    "posts": _list(Post),
    "posts, none found": lambda: f"{_list(Post)()}?q=nowhere",
    "post": _first(Post),
    "members": _list(Member),
    "member": _first(Member),
    "member, user": _member_user,
    "directives": _list(Directive),
    "directive": _first(Directive),
    "request, types": lambda: _about_directives("request"),
    "request, form": lambda: _about_directives("request_type", "forum.post.create"),
    "request, confirmation": _confirm,
    "batch": _batch,
    "snooze": _snooze,
    "undo": _undo,
    "undo, batch": _undo_batch,
    "request, end of a restriction": _end,
    "history": lambda: reverse(
        "admin:forums_thread_history", "fleetprompt.urls", [Thread.objects.all()[0].pk]
    ),
    "signals": _list(Signal),
    "signal": _first(Signal),
}
