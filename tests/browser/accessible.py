"""The accessibility check: axe-core, run in the page, from a package."""

from collections.abc import Sequence

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

BAD = ("serious", "critical")


def check_accessible(page: Page, where: str = "", rules: Sequence[str] = ()) -> None:
    """Fail with every serious or critical finding of axe on the page as it is now.

    Args:
        where: what the failure calls the page; its address by default.
        rules: names of axe's rules of which every finding counts.
    """
    # Nothing is judged halfway through its fading in.
    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished.catch(() => null)))")
    found = Axe().run(page).response["violations"]
    findings = [
        _finding(violation) for violation in found if violation["impact"] in BAD or violation["id"] in rules
    ]
    assert not findings, "\n".join([f"not accessible: {where or page.url}", *findings])


def _finding(violation: dict[str, object]) -> str:
    lines = [f"{violation['id']} ({violation['impact']}): {violation['help']}"]
    for node in violation["nodes"]:  # type: ignore[attr-defined]
        summary = " ".join(node["failureSummary"].split())
        lines.append(f"  {' '.join(map(str, node['target']))}: {summary}")
    return "\n".join(lines)
