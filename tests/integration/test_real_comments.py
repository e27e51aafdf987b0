"""Real comments of four communities: imported, moderated by a real cluster, and requested again."""

import csv
import json
from collections import Counter

import pytest

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums.models import Post
from signals.models import Signal
from tests.support import FORUM_DATA, manage, qcluster, wait_until

FILES = {
    "psy": "Youtube01-Psy.csv",
    "katy": "Youtube02-KatyPerry.csv",
    "lmfao": "Youtube03-LMFAO.csv",
    "eminem": "Youtube04-Eminem.csv",
}
COLUMNS = ("COMMENT_ID", "AUTHOR", "DATE", "CONTENT")
ONE_OF_EACH = {"directive.requested", "directive.started", "forum.post.hidden", "directive.succeeded"}

pytestmark = [
    pytest.mark.long,
    pytest.mark.forum_data,
    pytest.mark.skipif(
        not FORUM_DATA.is_dir(), reason="TEST_FORUM_DATA names no folder with the real comments"
    ),
]


@pytest.mark.timeout(170)
def test_exactly_the_posts_labelled_spam_end_hidden_and_once(database, tmp_path):
    reports = {slug: _import(slug) for slug in FILES}
    assert sum(r["imported"] + r["repeated"] for r in reports.values()) == 1586
    assert sum(r["imported"] for r in reports.values()) == 1584
    assert not any(r["refused"] for r in reports.values())
    labelled = {slug: _labelled(slug) for slug in FILES}
    assert sum(map(len, labelled.values())) == 829

    for slug, posts in labelled.items():
        asked = _ask(slug, posts, tmp_path, keyed=True)
        assert (asked["created"], asked["existing"]) == (len(posts), 0)
    log = tmp_path / "cluster.log"
    with qcluster(log, workers=2):
        _wait_for_the_cluster()
        for slug, posts in labelled.items():
            _assert_hidden_once(slug, posts)

        for slug, posts in labelled.items():
            asked = _ask(slug, posts, tmp_path, keyed=True)
            assert (asked["created"], asked["existing"]) == (0, len(posts))

        for slug, posts in labelled.items():
            asked = _ask(slug, posts, tmp_path, keyed=False)
            assert (asked["created"], asked["existing"]) == (len(posts), 0)
        _wait_for_the_cluster()
    for slug, posts in labelled.items():
        _assert_unchanged_by_the_second_time(slug, posts)
    assert "Traceback" not in log.read_text()


def _import(slug):
    create_tenant(slug, name=slug.title(), domain=f"{slug}.localhost")
    columns = [f"--{part}-column" for part in ("id", "author", "date", "content")]
    named = [word for pair in zip(columns, COLUMNS, strict=True) for word in pair]
    path = str(FORUM_DATA / FILES[slug])
    done = manage(
        "import_posts", path, "--tenant", slug, "--thread", "Comments", *named, "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _labelled(slug):
    """Return the ids of the posts whose first row in the file is labelled spam."""
    first = {}
    with (FORUM_DATA / FILES[slug]).open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            first.setdefault(row["COMMENT_ID"], row["CLASS"])
    with in_tenant(slug):
        known = dict(Post.objects.values_list("external_id", "pk"))
    assert set(known) == set(first)
    return {str(known[external_id]) for external_id, label in first.items() if label == "1"}


def _ask(slug, posts, folder, *, keyed):
    path = folder / f"{slug}.jsonl"
    lines = [{"payload": {"post_id": post}, "reason": "spam"} for post in sorted(posts)]
    if keyed:
        for line in lines:
            line["key"] = f"forum.post.hide:{slug}:{line['payload']['post_id']}"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = manage(
        "directive", "request", "forum.post.hide", "--tenant", slug, "--from", str(path), "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _wait_for_the_cluster():
    def done():
        for slug in FILES:
            with in_tenant(slug):
                if Directive.objects.exclude(status__in=Directive.TERMINAL).exists():
                    return False
        return True

    wait_until(done, "all directives are done", seconds=70)


def _assert_hidden_once(slug, posts):
    with in_tenant(slug):
        hidden = Post.objects.filter(status=Post.Status.HIDDEN)
        assert {str(pk) for pk in hidden.values_list("pk", flat=True)} == posts
        assert not Post.objects.filter(status=Post.Status.DELETED).exists()
        directives = dict(Directive.objects.values_list("subject_id", "id"))
        assert Directive.objects.filter(status="succeeded").count() == len(posts)
        assert set(directives) == posts
        names = Signal.objects.exclude(causation_id="").values_list("causation_id", "name")
        counts = Counter(names)
    expected = {(str(pk), name) for pk in directives.values() for name in ONE_OF_EACH}
    assert counts == Counter(expected)


def _assert_unchanged_by_the_second_time(slug, posts):
    with in_tenant(slug):
        results = Directive.objects.values_list("status", "result__changed")
        assert Counter(results) == {("succeeded", True): len(posts), ("succeeded", False): len(posts)}
        hidden = Signal.objects.filter(name="forum.post.hidden").values_list("subject_id", flat=True)
        assert Counter(hidden) == Counter(posts)
        assert set(Post.objects.filter(status="hidden").values_list("revision", flat=True)) == {2}
