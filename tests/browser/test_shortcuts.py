"""Keyboard shortcuts of the admin: Ctrl+K and Cmd+K open no palette."""

import pytest

from tests.accounts import PASSWORD, host_of, make_user
from tests.browser.people import Person, enter


@pytest.mark.parametrize("site", ["alpha", ""], ids=["tenant", "operators"])
def test_control_k_opens_no_palette_without_a_search(page, site):
    make_user(site, "boss", is_superuser=True)
    enter(page, host_of(site), Person("boss", PASSWORD))
    page.goto(f"http://{host_of(site)}/admin/")
    before = page.locator("input:visible").count()
    for keys in ("Control+k", "Meta+k"):
        page.keyboard.press(keys)
        page.wait_for_timeout(300)
        assert page.locator("input:visible").count() == before
    assert page.locator("#search-input-command").count() == 0
