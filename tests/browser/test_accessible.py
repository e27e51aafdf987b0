"""Every page of `tests.browser.pages` by axe-core: light and dark, on a desk and on a phone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from fleetprompt.tenants.context import in_tenant
from tests.browser.accessible import check_accessible
from tests.browser.pages import LOOKS, PAGES
from tests.browser.people import Person, enter, make_people
from tests.recipes import accounts
from tests.support import ask, make_forum, run, thinned

looks = pytest.mark.parametrize(
    "looks",
    # Each scheme and each width in any run; all four together in the long one.
    thinned([LOOKS[::3], LOOKS[1:3]], every=2),
    ids=["light desk, dark phone", "dark desk, light phone"],
)


def look_at(page, address, looks, host="alpha.localhost"):
    for look in looks:
        page.emulate_media(color_scheme=look.scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": look.width, "height": look.height})
        page.goto(f"http://{host}{address}")
        check_accessible(page, f"{address} ({look.scheme}, {look.width} px)")


@looks
def test_the_log_in_page_is_accessible(page, looks):
    look_at(page, "/admin/login/", looks)


@looks
@pytest.mark.parametrize("name", thinned(PAGES, every=5))
def test_pages_are_accessible(page, name, looks):
    people = make_people("alpha")
    with in_tenant("alpha"):
        post = make_forum().posts[0]
        run(ask("forum.post.hide", {"post_id": str(post.pk)}, reason="Spam").directive)
        later = timezone.now() + timedelta(hours=1)
        ask("forum.thread.lock", {"thread_id": str(post.thread_id)}, scheduled_at=later)
        address = PAGES[name]()
    enter(page, "alpha.localhost", people.admin)
    look_at(page, address, looks)


@looks
@pytest.mark.parametrize(
    "address", thinned(["/admin/tenants/tenant/add/", "/admin/", "/admin/tenants/tenant/"], every=3)
)
def test_the_operators_pages_are_accessible(page, address, looks):
    olga = Person("olga", "olga's password")
    accounts.with_password(accounts.superuser, olga.password, username=olga.username)
    enter(page, "localhost", olga)
    look_at(page, address, looks, "localhost")
