"""Hidden characters: shown in the admin and on the command line, kept in forms and exports."""

import io

import pytest
from django.core.management import call_command

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from fleetprompt.visible import visible
from signals.exporting import FORMATS
from signals.types import Actor
from tests.admin import client_of
from tests.support import ask, make_forum

OVERRIDE = "annexe\u202etxt.exe"
SHOWN = "annexe⟨U+202E⟩txt.exe"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OVERRIDE, SHOWN),
        ("\x1b[2J\x07", "⟨U+001B⟩[2J⟨U+0007⟩"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("over\rwritten\r\n", "over⟨U+000D⟩written\r\n"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\ud800", "⟨U+D800⟩"),
    ],
)
def test_hidden_characters_become_their_numbers(text, expected):
    assert visible(text) == expected


@pytest.mark.parametrize("text", ["Ünï\tcödé\n", "שלום مرحبا", "👩\u200d👧", "می\u200cخواهم", "Z\u0351"])
def test_what_scripts_and_emoji_need_stays(text):
    assert visible(text) == text


@pytest.fixture
def hidden(database):
    """A directive with a hidden character in its reason, its key and its actor."""
    with in_tenant("alpha"):
        post = make_forum().posts[0]
        actor = Actor("agent", "robo", label=f"{OVERRIDE}\x1b[31m")
        options = {"actor": actor, "reason": OVERRIDE, "idempotency_key": OVERRIDE}
        return ask("forum.post.hide", {"post_id": str(post.pk)}, **options).directive


def test_the_admin_shows_them_on_every_page_and_tells_its_length(hidden):
    client = client_of("una", superuser=True)
    for path in ("", f"{hidden.pk}/change/"):
        answer = client.get(f"/admin/directives/directive/{path}")
        assert SHOWN in answer.content.decode()
        assert "\u202e" not in answer.content.decode()
        assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_what_is_typed_comes_back_as_it_was(hidden):
    client = client_of("una", superuser=True)
    page = client.text("directives/directive/", q=OVERRIDE)
    assert f'value="{OVERRIDE}"' in page
    with in_tenant("alpha"):
        post = Directive.objects.get().payload["post_id"]
    fields = {"subjects": post, "confirm": "dry_run", "reason": OVERRIDE * 200, "when": "now"}
    answer = client.post("/admin/directives/directive/request/forum.post.hide/", fields, follow=True)
    assert OVERRIDE in answer.content.decode()


def test_exports_have_what_is_stored(hidden):
    for ending in FORMATS:
        answer = client_of(f"una-{ending}", superuser=True).get(f"/admin/signals/signal/export/{ending}/")
        assert OVERRIDE in b"".join(answer).decode()


@pytest.mark.parametrize("subcommand", ["list", "show"])
def test_the_command_line_shows_them_and_does_not_steer_the_terminal(hidden, subcommand):
    out = io.StringIO()
    arguments = [str(hidden.pk)] if subcommand == "show" else []
    call_command("directive", subcommand, *arguments, "--tenant", "alpha", stdout=out)
    assert SHOWN in "".join(out.getvalue().split("\n"))
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()
